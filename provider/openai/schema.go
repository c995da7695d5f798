package openai

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"

	"llmcall/failure"
	"llmcall/internal/nearest"
	"llmcall/llm"
)

// SchemaMode is a way of requesting an answer that fits [llm.Request.Schema].
type SchemaMode string

// The modes. All but [SchemaNative] also put the schema into the prompt, as a part
// of the system message. With [SchemaObject] and [SchemaPrompt] the answer may
// violate the schema, so check it.
const (
	SchemaNative SchemaMode = "json_schema"        // the server enforces the schema, and shows it to the model
	SchemaShown  SchemaMode = "json_schema+prompt" // the server enforces the schema
	SchemaObject SchemaMode = "json_object"        // the server enforces a JSON object
	SchemaPrompt SchemaMode = "prompt"             // the server enforces nothing
)

func (m SchemaMode) check() error {
	modes := []string{string(SchemaNative), string(SchemaShown), string(SchemaObject), string(SchemaPrompt)}
	if m == "" || slices.Contains(modes, string(m)) {
		return nil
	}
	return fmt.Errorf("openai: Schema must be one of %s, got %q%s", strings.Join(modes, ", "), m, nearest.Question(string(m), modes))
}

// native reports whether the server is asked to enforce the schema.
func (m SchemaMode) native() bool { return m == SchemaNative || m == SchemaShown }

// feature is a set of features of a request that the server may lack.
type feature uint32

const (
	nativeSchema feature = 1 << iota
	objectMode
	streamUsage        // stream_options
	encryptedReasoning // reasoning.encrypted_content
)

// lacks remembers the features that a server refused, which are not used again. It
// is safe for concurrent use.
type lacks struct{ features atomic.Uint32 }

func (l *lacks) has(f feature) bool { return feature(l.features.Load())&f != 0 }

func (l *lacks) add(f feature) { l.features.Or(uint32(f)) }

// schemaMode decides how to ask for the schema. JSON mode is only for objects: it
// would turn a list into something else.
func (c *connection) schemaMode(schema json.RawMessage) SchemaMode {
	mode := c.schema
	if mode.native() && c.lacks.has(nativeSchema) {
		mode = SchemaObject
	}
	var root struct {
		Type any `json:"type"`
	}
	if mode == SchemaObject && (c.lacks.has(objectMode) || json.Unmarshal(schema, &root) != nil || root.Type != "object") {
		mode = SchemaPrompt
	}
	return mode
}

// instruct returns the conversation with the schema in its system message.
func instruct(messages []llm.Message, schema json.RawMessage) []llm.Message {
	var compact bytes.Buffer
	_ = json.Compact(&compact, schema) // can't fail: check has parsed it
	instruction := llm.Text("Answer with JSON alone: no other text, no code fence. The JSON must be valid against this JSON Schema:\n" + compact.String())
	if len(messages) > 0 && messages[0].Role == llm.RoleSystem {
		system := llm.Message{Role: llm.RoleSystem, Parts: append(slices.Clone(messages[0].Parts), instruction)}
		return append([]llm.Message{system}, messages[1:]...)
	}
	return append([]llm.Message{{Role: llm.RoleSystem, Parts: []llm.Part{instruction}}}, messages...)
}

// refusals lists the words by which servers name the features that they lack.
var refusals = []struct {
	features feature
	words    []string
}{
	{nativeSchema | objectMode, []string{"json_schema", "response_format", "response format", "structured output", "text.format", "json_object"}},
	{streamUsage, []string{"stream_options", "include_usage"}},
	{encryptedReasoning, []string{"encrypted content", "encrypted_content"}},
}

var unknownWords = []string{
	"not support", "n't support", "unsupported", "unavailable", "unknown", "unrecogni", "not permitted", "not allowed", "should be", "must be one of",
}

// learn remembers the features that an error says the server lacks, and reports
// whether there are any: then another attempt is worthwhile, since its request
// differs. An error about an invalid schema remains the caller's fault.
func (c *connection) learn(f *failure.Error, asked feature) bool {
	message := strings.ToLower(f.Message)
	if f.Kind != failure.InvalidRequest || strings.Contains(message, "invalid schema") || !contains(message, unknownWords) {
		return false
	}
	for _, r := range refusals {
		refused := r.features & asked
		if refused == 0 || !contains(message, r.words) {
			continue
		}
		if refused&nativeSchema != 0 && !strings.Contains(message, "json_object") {
			refused |= objectMode // the server does not offer that instead
		}
		c.lacks.add(refused)
		return true
	}
	return false
}

func contains(text string, words []string) bool {
	return slices.ContainsFunc(words, func(word string) bool { return strings.Contains(text, word) })
}
