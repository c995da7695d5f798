package openai

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"

	"llmcall/failure"
	"llmcall/llm"
)

// SchemaMode is how an answer of a given shape (Schema of [llm.Request]) is
// requested from a server.
type SchemaMode string

// The modes. All but the first also put the schema into the prompt, as a part of
// the system message. With the last two nothing forces the model to follow the
// schema: check the answer.
const (
	SchemaNative SchemaMode = "json_schema"        // the server enforces the schema, and the model knows it
	SchemaShown  SchemaMode = "json_schema+prompt" // the server enforces the schema
	SchemaObject SchemaMode = "json_object"        // the server enforces that it is a JSON object
	SchemaPrompt SchemaMode = "prompt"             // the server enforces nothing
)

func (m SchemaMode) check() error {
	if modes := []SchemaMode{"", SchemaNative, SchemaShown, SchemaObject, SchemaPrompt}; !slices.Contains(modes, m) {
		return fmt.Errorf("openai: Schema %q: must be %s, %s, %s or %s", m, SchemaNative, SchemaShown, SchemaObject, SchemaPrompt)
	}
	return nil
}

// native reports whether the server is asked to enforce the schema.
func (m SchemaMode) native() bool { return m == SchemaNative || m == SchemaShown }

// feature is something that a request asks for and the server may lack.
type feature uint32

const (
	nativeSchema feature = 1 << iota
	objectMode
	streamUsage        // stream_options
	encryptedReasoning // reasoning.encrypted_content
)

// lacks is what a server refused, which it is not asked again. It is safe for
// use from many goroutines.
type lacks struct{ features atomic.Uint32 }

func (l *lacks) has(f feature) bool { return feature(l.features.Load())&f != 0 }

func (l *lacks) add(f feature) { l.features.Or(uint32(f)) }

// schemaMode decides how the schema is asked for. A server that takes only
// objects in its JSON mode would turn the answer to a list into something else.
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
	_ = json.Compact(&compact, schema) // it is known to be JSON
	instruction := llm.Text("Answer with JSON alone: no other text, no code fence. The JSON must be valid against this JSON Schema:\n" + compact.String())
	if len(messages) > 0 && messages[0].Role == llm.RoleSystem {
		system := llm.Message{Role: llm.RoleSystem, Parts: append(slices.Clone(messages[0].Parts), instruction)}
		return append([]llm.Message{system}, messages[1:]...)
	}
	return append([]llm.Message{{Role: llm.RoleSystem, Parts: []llm.Part{instruction}}}, messages...)
}

// refusals is how servers name what they lack. A schema that the server finds
// wrong, and says so, is not one of these.
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

// learn takes note of a refusal, and reports whether the same request would be
// sent in another way now. Before it the failure is the caller's fault; now
// another attempt is worth it.
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
			refused |= objectMode // it does not offer that in its place
		}
		c.lacks.add(refused)
		return true
	}
	return false
}

func contains(text string, words []string) bool {
	return slices.ContainsFunc(words, func(word string) bool { return strings.Contains(text, word) })
}
