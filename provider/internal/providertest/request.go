package providertest

import (
	"encoding/json"
	"math"
	"strings"
	"testing"

	"llmcall/failure"
	"llmcall/llm"
)

// Said returns a conversation that ends with a message of this role and these
// parts.
func Said(role llm.Role, parts ...llm.Part) *llm.Request {
	return &llm.Request{Messages: []llm.Message{llm.User("x"), {Role: role, Parts: parts}}}
}

// With returns a request changed by change.
func With(change func(*llm.Request)) *llm.Request {
	request := llm.Prompt("x")
	change(request)
	return request
}

// WithExtra returns a request with a field in Extra.
func WithExtra(name string, value any) *llm.Request {
	return With(func(r *llm.Request) { r.Extra = map[string]any{name: value} })
}

func whatCannotBeExpressedIsNotSent(t *testing.T, a Adapter) {
	schema := func(text string) *llm.Request {
		return With(func(r *llm.Request) { r.Schema = &llm.Schema{JSON: json.RawMessage(text)} })
	}
	for _, step := range append([]Rejected{
		{"messages: must have at least one message", nil},
		{"messages: must have at least one message", &llm.Request{}},
		{"messages[1] (judge): role must be", Said("judge", llm.Text("x"))},
		{"messages[1] (system): parts[1]: must be text, got llm.Image", Said(llm.RoleSystem, llm.Text("x"), llm.Image{})},
		{"messages[1] (user): parts[0]: must be text, an image", Said(llm.RoleUser, llm.ToolResult{})},
		{"messages[1] (user): parts[0]: must be text, an image", Said(llm.RoleUser, nil)},
		{"messages[1].parts[0]: ", Said(llm.RoleUser, llm.Image{Data: []byte("x")})},
		{"messages[1] (user): parts[0]: an image needs data or a url", Said(llm.RoleUser, llm.Image{MediaType: "image/png"})},
		{"messages[1] (assistant): parts[0]: must be text", Said(llm.RoleAssistant, llm.Image{})},
		{"messages[1] (tool): parts[0]: must be a tool result", Said(llm.RoleTool, llm.Text("x"))},
		{"messages[1] (tool): must have a tool result, has no parts", Said(llm.RoleTool)},
		{"max_tokens -1", With(func(r *llm.Request) { r.MaxTokens = -1 })},
		{"temperature NaN", With(func(r *llm.Request) { r.Temperature = new(math.NaN()) })},
		{`tools[0]: parameters of "f": must be a JSON Schema that is a JSON object: `, With(func(r *llm.Request) { r.Tools = []llm.Tool{{Name: "f", Parameters: json.RawMessage(`{`)}} })},
		{"schema: must be a JSON Schema that is a JSON object, not a JSON array", schema(`[]`)},
		{"schema: must be a JSON Schema that is a JSON object: unexpected end", schema(``)},
		{"schema: must be a JSON Schema that is a JSON object, not null", schema(`null`)},
		{"schema: must be a JSON Schema that is a JSON object in valid UTF-8", schema("{\"a\":\"\xff\"}")},
	}, a.Requests...) {
		e := NewEcho(t, Reply(200, a.Hello))
		m := a.model(t, e.Server, nil)
		_, err := m.Complete(t.Context(), step.Request)
		if failure.KindOf(err) != failure.InvalidRequest || !strings.Contains(err.Error(), step.Want) {
			t.Errorf("got %v, want %s", err, step.Want)
			continue
		}
		if _, streamErr := Streamed(t, t.Context(), m, step.Request); streamErr == nil || streamErr.Error() != err.Error() {
			t.Errorf("streamed: got %v, want %v", streamErr, err)
		}
		if e.Body != nil {
			t.Errorf("%s: was sent: %s", step.Want, e.Body)
		}
	}
}

func promptOfTenMegabytes(t *testing.T, a Adapter) {
	e := NewEcho(t, Reply(200, a.Hello))
	text := strings.Repeat("0123456789", 1<<20)
	if body := e.Sent(t, a.model(t, e.Server, nil), llm.Prompt(text)); !strings.Contains(body, text) {
		t.Error("the prompt did not arrive whole")
	}
}

func schemasKeepTheirOrder(t *testing.T, a Adapter) {
	const schema = `{"type":"object","properties":{"z":{"type":"number","maximum":12345678901234567890},"a":{"type":"number","const":1.0}},"required":["z","a"],"additionalProperties":false}`
	e := NewEcho(t, Reply(200, a.Hello))
	m := a.model(t, e.Server, nil)
	request := With(func(r *llm.Request) { r.Tools = []llm.Tool{{Name: "f", Parameters: json.RawMessage(schema)}} })
	if got := e.Sent(t, m, request); strings.Count(got, schema) != 1 {
		t.Errorf("the tool's: sent %s", got)
	}
	if a.RewritesSchemas {
		return
	}
	request.Schema = &llm.Schema{Name: "s", JSON: json.RawMessage(schema)}
	if got := e.Sent(t, m, request); strings.Count(got, schema) != 2 {
		t.Errorf("the answer's: sent %s", got)
	}
}

func invalidUTF8IsReplaced(t *testing.T, a Adapter) {
	e := NewEcho(t, Reply(200, a.Hello))
	request := &llm.Request{
		Messages: []llm.Message{
			llm.User("a\xffb\x00\xc3"),
			{Role: llm.RoleAssistant, Parts: []llm.Part{llm.ToolCall{ID: "\xfe", Name: "f", Arguments: json.RawMessage("{\"a\":\"\xff\"}"), Signature: []byte("Q")}}},
			{Role: llm.RoleTool, Parts: []llm.Part{llm.ToolResult{CallID: "\xfe", Content: "\xed\xa0\x80"}}},
		},
		Tools: []llm.Tool{{Name: "f", Description: "\xff"}},
	}
	if !a.NoStop {
		request.Stop = []string{"\xff"}
	}
	if got := e.Sent(t, a.model(t, e.Server, nil), request); !Same(t, got, a.InvalidUTF8) {
		t.Errorf("sent %q", got)
	}
}
