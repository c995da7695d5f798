package openai

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"llmcall/internal/nearest"
	"llmcall/llm"
	"llmcall/provider/internal/wire"
)

// SchemaMode is a way of requesting an answer that fits [llm.Request.Schema].
type SchemaMode string

// The modes. All but [SchemaNative] also put the schema into the prompt: into the system
// message or, if the request does not begin with one, into the user's first message. With
// all but [SchemaNative] the answer may violate the schema, so check it.
const (
	SchemaNative SchemaMode = "json_schema"        // the server is asked to enforce the schema, and shows it to the model
	SchemaShown  SchemaMode = "json_schema+prompt" // the server is asked to enforce the schema; some ignore it
	SchemaObject SchemaMode = "json_object"        // the server enforces a JSON object
	SchemaPrompt SchemaMode = "prompt"             // the server enforces nothing
)

func (m SchemaMode) check() error {
	modes := []string{string(SchemaNative), string(SchemaShown), string(SchemaObject), string(SchemaPrompt)}
	if m == "" || slices.Contains(modes, string(m)) {
		return nil
	}
	return fmt.Errorf("openai: Schema must be one of %s, got %s", nearest.List(string(m), modes), nearest.Shown(string(m), modes))
}

// native reports whether the server is asked to enforce the schema.
func (m SchemaMode) native() bool { return m == SchemaNative || m == SchemaShown }

// asking is how a request asks for what the server may lack.
type asking struct {
	mode     SchemaMode // "" without a schema
	copy     *strict    // of the schema, if the server is to enforce that
	features wire.Feature
	drop     *nullDropper // of what the copy added; nil if it added nothing
	note     string       // what is not enforced; "" if all is
	forced   string       // the tool that must be called, as of [wire.Forced]
}

// force decides whether a tool must be called.
func (c *connection) force(req *llm.Request, steps *wire.Steps, a *asking) (err error) {
	a.forced, err = wire.Forced(req)
	switch {
	case err != nil || a.forced == "":
	case steps.Without(wire.ForcedCall):
		a.forced = ""
	default:
		a.features |= wire.ForcedCall
		if c.server.Name == "ollama" { // https://github.com/ollama/ollama/issues/17921
			a.note = strings.TrimPrefix(a.note+"; ", "; ") + "Ollama does not force the call of a tool"
		}
	}
	return err
}

// ask decides how to ask for the schema.
func (c *connection) ask(schema json.RawMessage, steps *wire.Steps) asking {
	a := asking{mode: c.schema}
	why := "refused before"
	if a.mode.native() && !steps.Without(wire.StrictSchema) {
		var copied strict
		if copied, why = strictCopy(schema); why == "" {
			a.copy, a.features, a.drop = &copied, wire.StrictSchema, newNullDropper(copied)
			return a
		}
	}
	if a.mode.native() && !steps.Without(wire.LooseSchema) {
		a.features, a.note = wire.LooseSchema, "the schema is not strict: "+why
		return a
	}
	// JSON mode is only for objects: it would turn a list into something else.
	var root struct {
		Type any `json:"type"`
	}
	if a.mode != SchemaPrompt && !steps.Without(wire.JSONMode) && json.Unmarshal(schema, &root) == nil && root.Type == "object" {
		a.mode, a.features, a.note = SchemaObject, wire.JSONMode, "the schema is in the prompt, and only JSON is enforced"
		return a
	}
	a.mode, a.note = SchemaPrompt, "the schema is in the prompt, and not enforced"
	return a
}

// schema returns the schema as it is sent, and whether the server is to enforce it.
func (a *asking) schema(given json.RawMessage) (sent json.RawMessage, enforced bool) {
	if a.copy != nil {
		return a.copy.schema, true
	}
	return given, false
}
