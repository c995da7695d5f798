package providertest

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"llmcall/failure"
	"llmcall/llm"
)

// requestTolerances are those about what goes out.
var requestTolerances = []Tolerance{
	{"a schema that the provider refuses", "the same call asks a step down: strict, a hint or a forced tool, JSON mode, the prompt alone", refusedSchema, nil},
	{"a refusal that came before", "is remembered for the model, or for the schema", refusalRemembered, nil},
	{"a refusal of something else", "ends the call, after one request", otherRefusal, nil},
	{"references with keywords beside them", "are replaced by what they refer to, so that descriptions reach the model", besideReference,
		map[string]string{"gemini": "The API takes such schemas; they are sent as they are."}},
	{"optional properties", "are required or null where strict mode wants that, and the null is taken out of the answer", optionalProperties,
		map[string]string{"anthropic": "The API takes optional properties.", "gemini": "The API takes optional properties."}},
	{"a schema for the prompt, without a system message", "goes into the user's message", schemaWithoutSystem,
		map[string]string{"anthropic": "The system prompt is a field of the request, which all models take."}},
	{"a model without a system role", "gets the system message within the user's", noSystemRole,
		map[string]string{"anthropic": "The system prompt is a field of the request, which all models take."}},
	{"a turn without a text or a call", `says "(no text)"`, emptyTurn, nil},
	{"a turn of thoughts alone", `says "(no text)"; thoughts that must be followed by what they led to are left out`, thoughtsAlone, nil},
	{"the reasoning of another provider", "is left out", foreignReasoning, nil},
	{"arguments that are not a JSON object", `go back as {"INVALID_JSON": "…"}`, brokenArguments, nil},
	{"a call without an ID", "gets one, and so does its result", callWithoutID, nil},
	{"two calls with the same ID", "get IDs of their own", sameIDs, nil},
	{"a call without a result", "gets one that says so", callWithoutResult, nil},
	{"a result after another message", "goes where the provider wants it: after the call", lateResult, nil},
	{"a turn that the provider has paused", "goes back as the last message, unchanged", pausedTurn, map[string]string{
		"openai": "The API pauses no turn.", "openai-responses": "The API pauses no turn.", "gemini": "The API pauses no turn."}},
}

// sentTurn is a turn of a conversation as it went out.
type sentTurn struct {
	role    string // system, user, assistant
	texts   []string
	calls   []llm.ToolCall
	results []string // the IDs of the calls
	others  []string // the JSON of all other content
}

// turns reads the conversation in a request's body.
func (a Adapter) turns(t *testing.T, body []byte) []sentTurn {
	t.Helper()
	var b struct {
		System            json.RawMessage
		Instructions      string
		SystemInstruction *struct{ Parts []json.RawMessage }
		Messages, Input   []json.RawMessage
		Contents          []struct {
			Role  string
			Parts []json.RawMessage
		}
	}
	if err := json.Unmarshal(body, &b); err != nil {
		t.Fatalf("%s: %v", body, err)
	}
	var all []sentTurn
	add := func(role string) *sentTurn {
		role = map[string]string{"model": "assistant"}[role] + strings.TrimPrefix(role, "model")
		if n := len(all); n == 0 || all[n-1].role != role {
			all = append(all, sentTurn{role: role})
		}
		return &all[len(all)-1]
	}
	if len(b.System) > 0 || b.Instructions != "" || b.SystemInstruction != nil {
		add("system")
	}
	for _, c := range b.Contents {
		turn := add(c.Role)
		for _, part := range c.Parts {
			turn.add(t, part)
		}
	}
	for _, raw := range slices.Concat(b.Messages, b.Input) {
		var m struct {
			Role, Type       string
			Content          json.RawMessage
			ReasoningContent json.RawMessage   `json:"reasoning_content"`
			ToolCalls        []json.RawMessage `json:"tool_calls"`
			ToolCallID       string            `json:"tool_call_id"`
		}
		if err := json.Unmarshal(raw, &m); err != nil {
			t.Fatalf("%s: %v", raw, err)
		}
		switch {
		case m.Role == "tool":
			add("user").results = append(add("user").results, m.ToolCallID)
			continue
		case m.Role == "" && m.Type == "function_call_output":
			add("user").add(t, raw)
			continue
		case m.Role == "":
			add("assistant").add(t, raw)
			continue
		}
		turn := add(m.Role)
		var text string
		var parts []json.RawMessage
		if json.Unmarshal(m.Content, &text) == nil {
			turn.texts = append(turn.texts, text)
		} else if json.Unmarshal(m.Content, &parts) == nil {
			for _, part := range parts {
				turn.add(t, part)
			}
		}
		for _, call := range m.ToolCalls {
			turn.add(t, call)
		}
		if m.ReasoningContent != nil {
			turn.others = append(turn.others, string(m.ReasoningContent))
		}
	}
	return all
}

// add adds a part of any protocol.
func (s *sentTurn) add(t *testing.T, raw json.RawMessage) {
	t.Helper()
	var p struct {
		Type, Text, ID, Name string
		Thought              bool
		CallID               string `json:"call_id"`
		ToolUseID            string `json:"tool_use_id"`
		Input, Arguments     json.RawMessage
		Function             struct{ Name, Arguments string }
		FunctionCall         *struct {
			ID, Name string
			Args     json.RawMessage
		}
		FunctionResponse *struct{ ID string }
	}
	if err := json.Unmarshal(raw, &p); err != nil {
		t.Fatalf("%s: %v", raw, err)
	}
	written := func(text json.RawMessage) json.RawMessage {
		var arguments string
		_ = json.Unmarshal(text, &arguments)
		return json.RawMessage(arguments)
	}
	switch {
	case p.FunctionCall != nil:
		s.calls = append(s.calls, llm.ToolCall{ID: p.FunctionCall.ID, Name: p.FunctionCall.Name, Arguments: p.FunctionCall.Args})
	case p.FunctionResponse != nil:
		s.results = append(s.results, p.FunctionResponse.ID)
	case p.Type == "tool_use":
		s.calls = append(s.calls, llm.ToolCall{ID: p.ID, Name: p.Name, Arguments: p.Input})
	case p.Type == "tool_result":
		s.results = append(s.results, p.ToolUseID)
	case p.Type == "function":
		s.calls = append(s.calls, llm.ToolCall{ID: p.ID, Name: p.Function.Name, Arguments: json.RawMessage(p.Function.Arguments)})
	case p.Type == "function_call":
		s.calls = append(s.calls, llm.ToolCall{ID: p.CallID, Name: p.Name, Arguments: written(p.Arguments)})
	case p.Type == "function_call_output":
		s.results = append(s.results, p.CallID)
	case !p.Thought && (p.Type == "" || p.Type == "text" || p.Type == "input_text"):
		s.texts = append(s.texts, p.Text)
	default:
		s.others = append(s.others, string(raw))
	}
}

// legal sends a conversation, checks what all providers want of it, and returns it as it
// went out.
func (a Adapter) legal(t *testing.T, messages ...llm.Message) []sentTurn {
	t.Helper()
	e := NewEcho(t, Reply(200, a.Hello))
	request := &llm.Request{Messages: messages}
	before, _ := json.Marshal(request)
	e.Sent(t, a.model(t, e.Server, nil), request)
	if after, _ := json.Marshal(request); string(after) != string(before) {
		t.Errorf("the request was changed: %s", after)
	}
	all := a.turns(t, e.Body)
	ids := map[string]bool{}
	for i, turn := range all {
		if strings.TrimSpace(strings.Join(turn.texts, "")) == "" && len(turn.calls)+len(turn.results) == 0 && len(turn.others) == 0 {
			t.Errorf("turn %d is empty; sent %s", i, e.Body)
		}
		for _, call := range turn.calls {
			var arguments map[string]any
			if err := json.Unmarshal(call.Arguments, &arguments); err != nil || arguments == nil {
				t.Errorf("turn %d: arguments %s; sent %s", i, call.Arguments, e.Body)
			}
			if call.ID == "" || ids[call.ID] {
				t.Errorf("turn %d: the ID %q of a call; sent %s", i, call.ID, e.Body)
			}
			ids[call.ID] = true
			if i+1 == len(all) || !slices.Contains(all[i+1].results, call.ID) {
				t.Errorf("turn %d: the call %q has no result; sent %s", i, call.ID, e.Body)
			}
		}
	}
	return all
}

// said reports whether a turn has one text and nothing else.
func (s sentTurn) said(text string) bool {
	return len(s.texts) == 1 && s.texts[0] == text && len(s.calls)+len(s.results)+len(s.others) == 0
}

func assistant(parts ...llm.Part) llm.Message {
	return llm.Message{Role: llm.RoleAssistant, Parts: parts}
}

func toolResults(ids ...string) llm.Message {
	m := llm.Message{Role: llm.RoleTool}
	for _, id := range ids {
		m.Parts = append(m.Parts, llm.ToolResult{CallID: id, Content: "r"})
	}
	return m
}

func emptyTurn(t *testing.T, a Adapter) {
	for _, empty := range []llm.Message{assistant(), assistant(llm.Text("")), assistant(llm.Text(" \n"))} {
		if got := a.legal(t, llm.User("x"), empty, llm.User("y")); len(got) != 3 || !got[1].said("(no text)") {
			t.Errorf("sent %+v", got)
		}
	}
	if got := a.legal(t, llm.User("x"), assistant(), llm.Assistant("a"), llm.User("y")); len(got) != 3 || !got[1].said("a") {
		t.Errorf("beside another: sent %+v", got)
	}
	if got := a.legal(t, llm.User("x"), assistant()); len(got) != 1 { // the model would go on from "(no text)"
		t.Errorf("at the end: sent %+v", got)
	}
}

// thoughts are the reasoning of each provider's answers.
var thoughts = map[string]string{
	"openai":           `{"reasoning_content":"hm"}`,
	"openai-responses": `{"type":"reasoning","id":"rs_1","summary":[],"encrypted_content":"e"}`,
	"anthropic":        `{"type":"thinking","thinking":"hm","signature":"s"}`,
	"gemini":           `{"text":"hm","thought":true}`,
}

func thoughtsAlone(t *testing.T, a Adapter) {
	thought := llm.Reasoning{Provider: a.Provider, Data: json.RawMessage(thoughts[a.Provider])}
	got := a.legal(t, llm.User("x"), assistant(thought), llm.User("y"))
	if len(got) != 3 || !slices.Equal(got[1].texts, []string{"(no text)"}) || a.Provider != "openai" && len(got[1].others) > 0 {
		t.Errorf("sent %+v", got)
	}
	got = a.legal(t, llm.User("x"), assistant(thought, llm.Text("a")), llm.User("y"))
	if len(got) != 3 || len(got[1].others) != 1 || !slices.Equal(got[1].texts, []string{"a"}) {
		t.Errorf("before a text: sent %+v", got)
	}
}

func foreignReasoning(t *testing.T, a Adapter) {
	other := llm.Reasoning{Provider: "another", Data: json.RawMessage(`{"type":"thinking"}`)}
	if got := a.legal(t, llm.User("x"), assistant(other), llm.User("y")); len(got) != 3 || !got[1].said("(no text)") {
		t.Errorf("sent %+v", got)
	}
	if got := a.legal(t, llm.User("x"), assistant(other, llm.Text("a")), llm.User("y")); len(got) != 3 || !got[1].said("a") {
		t.Errorf("sent %+v", got)
	}
}

func brokenArguments(t *testing.T, a Adapter) {
	for given, want := range map[string]string{
		`{"a":`: `{"INVALID_JSON":"{\"a\":"}`, `[1]`: `{"INVALID_JSON":"[1]"}`, `"x"`: `{"INVALID_JSON":"\"x\""}`, ``: `{}`, `null`: `{}`, ` {"a":1.0}`: `{"a":1.0}`,
	} {
		call := llm.ToolCall{ID: "call_1", Name: "f", Arguments: json.RawMessage(given), Signature: []byte("Q")}
		got := a.legal(t, llm.User("x"), assistant(call), toolResults("call_1"))
		if len(got) != 3 || len(got[1].calls) != 1 || !Same(t, string(got[1].calls[0].Arguments), want) {
			t.Errorf("%q: sent %+v", given, got)
		}
	}
}

func callWithoutID(t *testing.T, a Adapter) {
	call := llm.ToolCall{Name: "f", Signature: []byte("Q")}
	got := a.legal(t, llm.User("x"), assistant(call, call), toolResults("", ""), llm.User("y"))
	if len(got) != 3 || len(got[1].calls) != 2 || len(got[2].results) != 2 {
		t.Errorf("sent %+v", got)
	}
}

func sameIDs(t *testing.T, a Adapter) {
	call := llm.ToolCall{ID: "call_0", Name: "f", Signature: []byte("Q")}
	got := a.legal(t, llm.User("x"), assistant(call), toolResults("call_0"), assistant(call), toolResults("call_0"))
	if len(got) != 5 || got[1].calls[0].ID != "call_0" || got[3].calls[0].ID == "call_0" {
		t.Errorf("sent %+v", got)
	}
	// Where an API does not take a dot, the two are the same without it.
	dotted, plain := llm.ToolCall{ID: "a.b", Name: "f", Signature: []byte("Q")}, llm.ToolCall{ID: "a_b", Name: "f", Signature: []byte("Q")}
	got = a.legal(t, llm.User("x"), assistant(dotted, plain), toolResults("a.b", "a_b"))
	if len(got) != 3 || len(got[1].calls) != 2 || got[1].calls[0].ID == got[1].calls[1].ID {
		t.Errorf("sent %+v", got)
	}
}

func callWithoutResult(t *testing.T, a Adapter) {
	one, two := llm.ToolCall{ID: "call_1", Name: "f", Signature: []byte("Q")}, llm.ToolCall{ID: "call_2", Name: "f", Signature: []byte("Q")}
	for _, after := range [][]llm.Message{{}, {llm.User("y")}, {toolResults("call_2"), llm.User("y")}, {llm.Assistant("a"), llm.User("y")}} {
		got := a.legal(t, append([]llm.Message{llm.User("x"), assistant(one, two)}, after...)...)
		if len(got) < 3 || len(got[2].results) != 2 {
			t.Errorf("%v: sent %+v", after, got)
		}
	}
}

func lateResult(t *testing.T, a Adapter) {
	call := llm.ToolCall{ID: "call_1", Name: "f", Signature: []byte("Q")}
	if got := a.legal(t, llm.User("x"), assistant(call), llm.User("Hurry."), toolResults("call_1")); len(got) != 3 || len(got[2].results) != 1 {
		t.Errorf("sent %+v", got)
	}
}

func pausedTurn(t *testing.T, a Adapter) {
	const search = `{"type":"server_tool_use","id":"srvtoolu_1","name":"web_search","input":{"query":"x"}}`
	paused := assistant(llm.Text("Let me look."), llm.Reasoning{Provider: a.Provider, Data: json.RawMessage(search)})
	if got := a.legal(t, llm.User("x"), paused); len(got) != 2 || !slices.Equal(got[1].others, []string{search}) || len(got[1].texts) != 1 {
		t.Errorf("sent %+v", got)
	}
	// After it, the API refuses a message.
	if got := a.legal(t, llm.User("x"), paused, llm.User("y")); len(got) != 3 || !got[1].said("Let me look.") {
		t.Errorf("sent %+v", got)
	}
}

// enforcing are the parts of requests by which a server is asked to enforce a schema or
// JSON.
var enforcing = []string{`"json_schema"`, `"json_object"`, `"responseJsonSchema"`, `"responseMimeType"`, `"output_config"`, `"tool_choice"`}

func enforced(body []byte) bool {
	return slices.ContainsFunc(enforcing, func(words string) bool { return strings.Contains(string(body), words) })
}

// asking is a request for an object.
func asking(schema string, messages ...llm.Message) *llm.Request {
	return &llm.Request{Messages: messages, Schema: &llm.Schema{Name: "s", JSON: json.RawMessage(schema)}}
}

const plainSchema = `{"type":"object","properties":{"a":{"type":"string"}},"required":["a"],"additionalProperties":false}`

// schemaRefusals are what servers say of a schema that they can't enforce; for those that
// run models see the issues of vLLM (16321) and llama.cpp (19051).
var schemaRefusals = []struct {
	status int
	words  string
}{
	{400, "Invalid schema for response_format 's': context=('properties', 'a'), $ref cannot have keywords {'description'}."},
	{400, "Invalid schema for response_format 's': 6 levels of nesting exceeds limit of 5."},
	{400, "Invalid parameter: 'response_format' of type 'json_schema' is not supported with this model."},
	{400, "response_format value as json_schema is enabled only for api versions 2024-08-01-preview and later"},
	{400, "This response_format type is unavailable now"},
	{422, "response_format: Input should be 'text'"},
	{400, "The provided JSON schema contains features not supported by xgrammar."},
	{400, "Grammar error: Unknown format: uri"},
	{400, "Failed to initialize samplers: failed to parse grammar"},
	{500, "failed to parse grammar"},
	{400, "JSON schema conversion failed:\nUnrecognized schema: true"},
	{400, "The specified schema produces a constraint that has too many states for serving."},
	{400, "A schema in GenerationConfig in the request exceeds the maximum allowed nesting depth."},
	{400, "JSON mode is not enabled for models/gemma"},
	{400, "Schema is too complex"},
	{400, "output_config: Extra inputs are not permitted. tool_choice: this model does not support a forced tool"},
}

// refusing is a server that refuses what enforces a schema, and counts its requests.
func (a Adapter) refusing(t *testing.T, status int, words string, refused func(body []byte) bool) (m llm.Streamer, requests *[]string) {
	e, requests := NewEcho(t, nil), new([]string)
	e.Handle = func(w http.ResponseWriter, r *http.Request) {
		*requests = append(*requests, string(e.Body))
		if refused(e.Body) {
			body, _ := json.Marshal(map[string]any{"error": map[string]any{"code": status, "message": words}})
			Reply(status, string(body))(w, r)
			return
		}
		if strings.Contains(string(e.Body), `"stream":true`) || strings.Contains(r.URL.Path, ":stream") {
			w.Header().Set("Content-Type", "text/event-stream")
			io.WriteString(w, a.Begin+a.Text("hi")+a.End)
			return
		}
		Reply(200, a.Hello)(w, r)
	}
	return a.model(t, e.Server, nil), requests
}

func refusedSchema(t *testing.T, a Adapter) {
	for _, refusal := range schemaRefusals {
		for _, streamed := range []bool{false, true} {
			m, requests := a.refusing(t, refusal.status, refusal.words, enforced)
			var err error
			if streamed {
				_, err = Streamed(t, t.Context(), m, asking(plainSchema, llm.User("x")))
			} else {
				_, err = m.Complete(t.Context(), asking(plainSchema, llm.User("x")))
			}
			n := len(*requests)
			if err != nil || n < 2 || n > 4 || !strings.Contains((*requests)[n-1], "JSON Schema:") {
				t.Errorf("%s, streamed %v: %v; sent %s", refusal.words, streamed, err, *requests)
			}
			for i := range n - 1 {
				if (*requests)[i] == (*requests)[i+1] {
					t.Errorf("%s: sent twice: %s", refusal.words, (*requests)[i])
				}
			}
		}
	}
}

func refusalRemembered(t *testing.T, a Adapter) {
	for _, refusal := range schemaRefusals {
		m, requests := a.refusing(t, refusal.status, refusal.words, enforced)
		for i := range 2 {
			*requests = nil
			if _, err := m.Complete(t.Context(), asking(plainSchema, llm.User("x"))); err != nil || i == 1 && len(*requests) != 1 {
				t.Errorf("%s, call %d: %v; sent %s", refusal.words, i, err, *requests)
			}
		}
	}
}

func otherRefusal(t *testing.T, a Adapter) {
	for _, words := range []string{"temperature: does not support 0.5 with this model", "Unknown parameter: 'x'", "tools.0.custom.input_schema: JSON schema is invalid", ""} {
		m, requests := a.refusing(t, 400, words, func([]byte) bool { return true })
		if _, err := m.Complete(t.Context(), asking(plainSchema, llm.System("Be brief."), llm.User("x"))); failure.KindOf(err) != failure.InvalidRequest || len(*requests) != 1 {
			t.Errorf("%s: %v; sent %s", words, err, *requests)
		}
	}
	// A refusal of everything is the one that is returned, and nothing is learned from it.
	m, requests := a.refusing(t, 400, "the schema is not supported", func([]byte) bool { return true })
	for range 2 {
		*requests = nil
		if _, err := m.Complete(t.Context(), asking(plainSchema, llm.User("x"))); failure.KindOf(err) != failure.InvalidRequest || len(*requests) < 2 || !enforced([]byte((*requests)[0])) {
			t.Errorf("%v; sent %s", err, *requests)
		}
	}
}

func besideReference(t *testing.T, a Adapter) {
	const schema = `{"type":"object","properties":{"home":{"$ref":"#/$defs/Address","description":"where they live"},"work":{"$ref":"#/properties/home"}},
		"required":["home","work"],"additionalProperties":false,
		"$defs":{"Address":{"type":"object","properties":{"city":{"type":"string"}},"required":["city"],"additionalProperties":false}}}`
	e := NewEcho(t, Reply(200, a.Hello))
	if got := e.Sent(t, a.model(t, e.Server, nil), asking(schema, llm.User("x"))); strings.Contains(got, "$ref") || strings.Count(got, "where they live") != 2 || !enforced([]byte(got)) {
		t.Errorf("sent %s", got)
	}
}

func optionalProperties(t *testing.T, a Adapter) {
	const schema = `{"type":"object","properties":{"a":{"type":"string","minLength":3},"b":{"type":"integer"}},"required":["b"]}`
	e := NewEcho(t, Reply(200, a.Hello))
	got := e.Sent(t, a.model(t, e.Server, nil), asking(schema, llm.User("x")))
	if !strings.Contains(got, `"strict":true`) || !strings.Contains(got, `"required":["a","b"]`) || !strings.Contains(got, `"type":["string","null"]`) || !strings.Contains(got, `minLength`) {
		t.Errorf("sent %s", got)
	}
	text, _ := json.Marshal(a.Answer.Text())
	answer := strings.Replace(a.Hello, string(text), `"{\"a\":null,\"b\":1}"`, 1)
	if got, err := a.answeredBy(t, Reply(200, answer)).Complete(t.Context(), asking(schema, llm.User("x"))); err != nil || got.Text() != `{"b":1}` {
		t.Errorf("got %v, %v", got, err)
	}
	m := a.answeredBy(t, Reply(200, a.Begin+a.Text(`{"a":nu`)+a.Text(`ll,"b":`)+a.Text(`1}`)+a.End, "Content-Type", "text/event-stream"))
	if got, err := Streamed(t, t.Context(), m, asking(schema, llm.User("x"))); err != nil || got.Text() != `{"b":1}` {
		t.Errorf("streamed: got %v, %v", got, err)
	}
}

func schemaWithoutSystem(t *testing.T, a Adapter) {
	m, requests := a.refusing(t, 400, "the schema is not supported", enforced)
	if _, err := m.Complete(t.Context(), asking(plainSchema, llm.User("x"))); err != nil {
		t.Fatal(err)
	}
	last := (*requests)[len(*requests)-1]
	if got := a.turns(t, []byte(last)); len(got) != 1 || got[0].role != "user" || !strings.Contains(strings.Join(got[0].texts, "\n"), "JSON Schema:") {
		t.Errorf("sent %s", last)
	}
}

func noSystemRole(t *testing.T, a Adapter) {
	for _, refusal := range []struct {
		status int
		words  string
	}{
		{400, "System role not supported"},
		{400, "Developer instruction is not enabled for models/gemma-3-27b-it"},
		{400, "Conversation roles must alternate user/assistant/user/assistant/..."},
		{500, "Jinja Exception: Only user and assistant roles are supported!; check the chat template"},
	} {
		m, requests := a.refusing(t, refusal.status, refusal.words, func(body []byte) bool { return a.turns(t, body)[0].role == "system" })
		for i := range 2 {
			*requests = nil
			_, err := m.Complete(t.Context(), &llm.Request{Messages: []llm.Message{llm.System("Be brief."), llm.User("x")}})
			if err != nil || len(*requests) != 2-i {
				t.Fatalf("%s, call %d: %v; sent %s", refusal.words, i, err, *requests)
			}
			last := (*requests)[len(*requests)-1]
			if got := a.turns(t, []byte(last)); len(got) != 1 || fmt.Sprint(strings.Join(got[0].texts, "\n")) != "Be brief.\nx" {
				t.Errorf("%s: sent %s", refusal.words, last)
			}
		}
	}
}
