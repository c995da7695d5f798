package front_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/tidwall/gjson"
	"pgregory.net/rapid"

	"llmcall/gateway/internal/front"
	"llmcall/internal/body"
	"llmcall/llm"
)

// sentBack is the request in which a client sends an answer back, with the results of its
// calls.
func sentBack(name string, whole []byte, calls []llm.ToolCall) []byte {
	type fields = map[string]any
	var turns, results []any
	at := func(path string) gjson.Result { return gjson.GetBytes(whole, path) }
	answer := func(path string) json.RawMessage { return json.RawMessage(at(path).Raw) }
	field := "messages"
	switch name {
	case "openai":
		turns = append(turns, fields{"role": "user", "content": "q"}, answer("choices.0.message"))
		for _, call := range at("choices.0.message.tool_calls.#.id").Array() {
			turns = append(turns, fields{"role": "tool", "tool_call_id": call.String(), "content": "r"})
		}
	case "openai-responses":
		field, turns = "input", append(turns, fields{"role": "user", "content": "q"})
		for _, item := range at("output").Array() {
			turns = append(turns, json.RawMessage(item.Raw))
		}
		for _, call := range at("output.#.call_id").Array() {
			turns = append(turns, fields{"type": "function_call_output", "call_id": call.String(), "output": "r"})
		}
	case "anthropic":
		turns = append(turns, fields{"role": "user", "content": "q"}, fields{"role": "assistant", "content": answer("content")})
		for _, call := range at("content.#.id").Array() {
			results = append(results, fields{"type": "tool_result", "tool_use_id": call.String(), "content": "r"})
		}
		turns = append(turns, fields{"role": "user", "content": append(results, fields{"type": "text", "text": "more"})})
	case "gemini":
		field, turns = "contents", append(turns, fields{"role": "user", "parts": []any{fields{"text": "q"}}}, answer("candidates.0.content"))
		for _, c := range calls {
			results = append(results, fields{"functionResponse": fields{"id": c.ID, "name": c.Name, "response": fields{"output": "r"}}})
		}
		turns = append(turns, fields{"role": "user", "parts": append(results, fields{"text": "more"})})
	}
	text, _ := json.Marshal(fields{"model": "m", "max_tokens": 9, field: turns})
	return text
}

// What a client sends back of an answer is read as the answer was: texts, calls with their
// signatures, and thoughts for the provider that had them.
func TestAnAnswerComesBack(t *testing.T) {
	for _, p := range protocols() {
		t.Run(p.Name(), func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				resp, form := drawAnswer(t)
				whole, _ := front.Whole(p, resp, options(p.Name(), rapid.Bool().Draw(t, "wanted")))
				request := sentBack(p.Name(), whole, resp.Message.ToolCalls())
				read, err := body.Read(p.Name(), request)
				if err != nil {
					t.Fatalf("%v: %s", err, request)
				}
				var got []llm.Part
				for _, m := range read.Request.Messages {
					if m.Role == llm.RoleAssistant {
						got = append(got, m.Parts...)
					}
				}
				// Chat completions and Gemini take a thought of another provider's back.
				thoughts := form == p.Name() || p.Name() == "anthropic" || p.Name() == "openai-responses"
				if got, want := told(got, thoughts), told(resp.Message.Parts, form == p.Name()); !reflect.DeepEqual(got, want) {
					t.Fatalf("got %q\nwant %q\nof %s", got, want, request)
				}
				shown := strings.Contains(string(whole), `"signature":""`) || strings.Contains(string(whole), `"rs_llmcall_`)
				signed := strings.Contains(string(whole), "__sig_")
				if read.Signed != (shown || signed) {
					t.Fatalf("must not be sent as it is: %v, of %s", read.Signed, request)
				}
			})
		})
	}
}

// told describes the parts of an answer: its thought, if that counts, its calls, and its texts.
func told(parts []llm.Part, thoughts bool) (out []string) {
	var texts []string
	for _, part := range parts {
		switch p := part.(type) {
		case llm.Text:
			texts = append(texts, string(p))
		case llm.ToolCall:
			arguments := map[string]any{}
			_ = json.Unmarshal(p.Arguments, &arguments) // nothing is an empty object
			text, _ := json.Marshal(arguments)
			sign := string(p.Signature)
			if sign == "c2tpcF90aG91Z2h0X3NpZ25hdHVyZV92YWxpZGF0b3I=" { // of a call that was not signed
				sign = ""
			}
			out = append(out, p.ID+" "+p.Name+string(text)+sign)
		case llm.Reasoning:
			if thoughts {
				out = append(out, string(compactly(p.Data)))
			}
		}
	}
	return append(out, strings.Join(texts, "\n"))
}

func compactly(data json.RawMessage) []byte {
	var value any
	_ = json.Unmarshal(data, &value)
	text, _ := json.Marshal(value)
	return text
}
