package front_test

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/tidwall/gjson"

	"llmcall/gateway/internal/front"
	"llmcall/internal/protocol"
	"llmcall/llm"
)

func said(parts ...llm.Part) *llm.Response {
	return &llm.Response{Message: llm.Message{Role: llm.RoleAssistant, Parts: parts}, Finish: llm.FinishStop}
}

// provided is a part in a provider's own form.
func provided(provider, data string) llm.Reasoning {
	return llm.Reasoning{Provider: provider, Data: json.RawMessage(data)}
}

// What a provider says in its own form is written as it is in its own protocol, whole and as
// a stream; in others its thoughts are shown, and what can't be is named.
func TestOwnForms(t *testing.T) {
	for _, c := range []struct {
		name string
		part llm.Reasoning
		own  string   // the protocol of the form
		at   string   // where it is in that protocol's answer
		lost []string // in others
	}{
		{"thinking", provided("anthropic", `{"type":"thinking","thinking":"hm","signature":"s"}`), "anthropic", "content.0", nil},
		{"redacted thinking", provided("anthropic", `{"type":"redacted_thinking","data":"eA=="}`), "anthropic", "content.0", nil},
		{"a tool of Anthropic's", provided("anthropic", "{\"type\":\"server_tool_use\",\n \"id\":\"srv_1\",\"name\":\"web_search\",\"input\":{\"query\":\"x\"}}"), "anthropic", "content.0",
			[]string{"server_tool_use: only anthropic has it"}},
		{"a sealed item", provided("openai", `{"type":"reasoning","id":"rs_9","summary":[],"encrypted_content":"eA=="}`), "openai-responses", "output.0", nil},
		{"two summaries", provided("openai", `{"type":"reasoning","id":"rs_9","summary":[{"type":"summary_text","text":"a"},{"type":"summary_text","text":"b"}]}`), "openai-responses", "output.0", nil},
		{"a comment on the way", provided("openai", `{"type":"message","id":"msg_9","role":"assistant","phase":"commentary","content":[{"type":"output_text","text":"I look."}]}`), "openai-responses", "output.0", nil},
		{"OpenRouter's details", provided("openrouter", `{"reasoning_details":[{"type":"reasoning.text","text":"hm"}]}`), "openai", "choices.0.message", nil},
		{"vLLM's", provided("vllm", `{"reasoning":"hm"}`), "openai", "choices.0.message", nil},
		{"Gemini's thought", provided("gemini", `{"text":"hm","thought":true}`), "gemini", "candidates.0.content.parts.0", nil},
		{"Gemini's code", provided("gemini", `{"executableCode":{"language":"PYTHON","code":"1"},"thoughtSignature":"eA=="}`), "gemini", "candidates.0.content.parts.0",
			[]string{"executableCode: only gemini has it"}},
	} {
		resp := said(c.part, llm.Text("So."))
		for _, p := range protocols() {
			whole, lost := front.Whole(p, resp, options(p.Name(), true))
			stream := front.NewStream(p, options(p.Name(), true))
			sent := string(slices.Concat(pieces(stream, resp, 9, func() bool { return true })...))
			if p.Name() != c.own {
				if !reflect.DeepEqual(lost, c.lost) || !reflect.DeepEqual(stream.Lost(), c.lost) {
					t.Errorf("%s in %s: lost %q and %q, want %q", c.name, p.Name(), lost, stream.Lost(), c.lost)
				}
				continue
			}
			if lost != nil || stream.Lost() != nil {
				t.Errorf("%s in its own protocol lost %q, %q", c.name, lost, stream.Lost())
			}
			at := gjson.GetBytes(whole, c.at)
			gjson.ParseBytes(c.part.Data).ForEach(func(name, value gjson.Result) bool {
				if got := at.Get(name.String()); got.Raw != string(compact(t, value.Raw)) {
					t.Errorf("%s: %s is %s in %s", c.name, name, got.Raw, whole)
				}
				return true
			})
			if line := string(compact(t, string(c.part.Data))); !strings.Contains(sent, strings.Trim(line, "{}")) && c.name != "thinking" {
				t.Errorf("%s: not in %s", c.name, sent)
			}
		}
	}
}

func protocols() []protocol.Protocol {
	return []protocol.Protocol{protocol.Chat{}, protocol.Responses{}, protocol.Messages{}, protocol.Gemini{}}
}

func compact(t *testing.T, text string) []byte {
	line, ok := protocol.Compact([]byte(text))
	if !ok {
		t.Fatalf("%s is not JSON", text)
	}
	return line
}

// Thoughts of a model of another protocol are shown to who asks for them. Who does not may
// take the first part of an answer for its text.
func TestThoughtsAreShownOnWish(t *testing.T) {
	resp := said(provided("", `{"thinking":"hm"}`), llm.Text("So."))
	for _, c := range []struct {
		protocol string
		body     string
		shown    bool
	}{
		{"openai", ``, true}, {"openai", `{}`, true},
		{"openai-responses", `{}`, false}, {"openai-responses", `{"reasoning":{"effort":"low"}}`, false}, {"openai-responses", `{"reasoning":{"summary":"auto"}}`, true},
		{"anthropic", ``, false}, {"anthropic", `{"thinking":{"type":"disabled"}}`, false}, {"anthropic", `{"thinking":{"type":"adaptive","display":"omitted"}}`, false},
		{"anthropic", `{"thinking":{"type":"adaptive"}}`, true},
		{"gemini", `{"generationConfig":{}}`, false}, {"gemini", `{"generationConfig":{"thinkingConfig":{"includeThoughts":false}}}`, false},
		{"gemini", `{"generation_config":{"thinking_config":{"include_thoughts":true}}}`, true},
	} {
		for _, p := range protocols() {
			if p.Name() != c.protocol {
				continue
			}
			o := options(c.protocol, false)
			o.Body = []byte(c.body)
			if whole, _ := front.Whole(p, resp, o); strings.Contains(string(whole), "hm") != c.shown {
				t.Errorf("%s, %s: shown must be %v: %s", c.protocol, c.body, c.shown, whole)
			}
		}
	}
}

// Arguments that are not an object are told as they are where they can be, and never become
// an empty object.
func TestArgumentsThatAreNoObject(t *testing.T) {
	for _, arguments := range []string{`{"a":`, `[1]`, `null`, `"x"`, `a: 1`} {
		resp := said(llm.ToolCall{ID: "c", Name: "look", Arguments: json.RawMessage(arguments)})
		for _, sdk := range sdks {
			s := serve(t)
			whole, lost := front.Whole(sdk.Protocol, resp, options(sdk.Name(), false))
			stream := front.NewStream(sdk.Protocol, options(sdk.Name(), false))
			sent := pieces(stream, resp, 9, func() bool { return false })
			for _, got := range []heard{s.ask(sdk, whole), s.ask(sdk, nil, sent...)} {
				if sdk.Name() == "gemini" {
					if got.Finish != "MALFORMED_FUNCTION_CALL" || got.Calls != nil || len(lost) != 1 {
						t.Errorf("gemini, %s: %+v, lost %q", arguments, got, lost)
					}
					continue
				}
				want := called{ID: "c", Name: "look", Arguments: arguments}
				if sdk.Name() == "anthropic" {
					want.Arguments = `{"invalid_arguments":` + quoted(arguments) + `}`
				}
				if got.Err != "" || len(got.Calls) != 1 || got.Calls[0] != want || (lost != nil) != (sdk.Name() == "anthropic") {
					t.Errorf("%s, %s: %+v, lost %q", sdk.Name(), arguments, got, lost)
				}
			}
		}
	}
}

// Without alt=sse Gemini's streams are a JSON array, with signs of life and errors in it too.
func TestGeminisArray(t *testing.T) {
	o := options("gemini", false)
	o.Query = nil
	p := protocol.Gemini{}
	resp := said(llm.Text("Let me look."), llm.ToolCall{ID: "c", Name: "look"})
	whole := string(slices.Concat(pieces(front.NewStream(p, o), resp, 4, func() bool { return true })...))
	var all []struct {
		Candidates []struct{ FinishReason string }
	}
	if err := json.Unmarshal([]byte(whole), &all); err != nil || len(all) != 5 || all[4].Candidates[0].FinishReason != "STOP" {
		t.Errorf("%v: %s", err, whole)
	}
	for _, begun := range []bool{false, true} {
		s := front.NewStream(p, o)
		text := string(s.KeepAlive())
		if begun {
			text += string(s.Text("Let")) + string(s.KeepAlive())
		}
		text += string(s.Error(&protocol.Error{Status: 503, Kind: "UNAVAILABLE", Message: "gone"}))
		list := gjson.Parse(text).Array()
		if !gjson.Valid(text) || list[len(list)-1].Get("error.message").String() != "gone" {
			t.Errorf("begun %v: %s", begun, text)
		}
	}
}

// Gemini's signature of a text is in the part with the text, or after it in a stream.
func TestTheSignatureOfATextStaysWithIt(t *testing.T) {
	resp := said(llm.Text("So."), provided("gemini", `{"thoughtSignature":"eA=="}`), llm.ToolCall{ID: "c", Name: "look"}, provided("gemini", `{"text":"","thoughtSignature":"eQ=="}`))
	p := protocol.Gemini{}
	whole, lost := front.Whole(p, resp, options("gemini", false))
	want := `[{"text":"So.","thoughtSignature":"eA=="},{"functionCall":{"id":"c","name":"look","args":{}},"thoughtSignature":"c2tpcF90aG91Z2h0X3NpZ25hdHVyZV92YWxpZGF0b3I="},{"text":"","thoughtSignature":"eQ=="}]`
	if got := gjson.GetBytes(whole, "candidates.0.content.parts").Raw; got != want || lost != nil {
		t.Errorf("got %s, lost %q", got, lost)
	}
	sent := string(slices.Concat(pieces(front.NewStream(p, options("gemini", false)), resp, 9, func() bool { return false })...))
	if strings.Count(sent, `{"text":"","thoughtSignature":"eA=="}`) != 1 || strings.Count(sent, `{"text":"","thoughtSignature":"eQ=="}`) != 1 {
		t.Errorf("streamed as %s", sent)
	}
	for _, other := range protocols()[:3] {
		if _, lost := front.Whole(other, resp, options(other.Name(), true)); lost != nil {
			t.Errorf("%s: a signature of a text is of no use to others, but lost %q", other.Name(), lost)
		}
	}
}

// A response repeats the settings of its request, each on one line, in every event.
func TestAResponseRepeatsItsSettings(t *testing.T) {
	o := options("openai-responses", false)
	o.Body = []byte(`{"model":"x","input":"q","instructions":"Be\nkind.","temperature":0.2,"metadata":{
		"a":"b"},"tools":[ {"type":"function","name":"f"} ],"user":null,"store":true}`)
	resp := said(llm.Text("So."))
	whole, _ := front.Whole(protocol.Responses{}, resp, o)
	events := string(slices.Concat(pieces(front.NewStream(protocol.Responses{}, o), resp, 9, func() bool { return false })...))
	for _, want := range []string{`"instructions":"Be\nkind."`, `"temperature":0.2`, `"metadata":{"a":"b"}`, `"tools":[{"type":"function","name":"f"}]`, `"user":null`, `"store":false`, `"tool_choice":"auto"`, `"model":"route"`} {
		if !strings.Contains(string(whole), want) || strings.Count(events, want) != 3 {
			t.Errorf("%s is missing in %s or %s", want, whole, events)
		}
	}
}

// What has no place in an answer or a usage is named.
func TestWhatIsLost(t *testing.T) {
	resp := said(llm.Image{URL: "https://example.com/a.png"}, llm.Text("So."))
	resp.Finish = llm.FinishPaused
	resp.Usage = llm.Usage{InputTokens: 9, OutputTokens: 9, CacheWriteTokens: 2, CacheWrite1hTokens: 1, AudioTokens: 3, CachedTokens: 2, CachedAudioTokens: 1}
	picture, paused := "llm.Image: no protocol has it in an answer", "finish: pause is told as an answer that is not whole"
	for name, want := range map[string][]string{
		"openai":           {picture, paused, "usage: cache_write_1h_tokens", "usage: cached_audio_tokens"},
		"openai-responses": {picture, paused, "usage: cache_write_1h_tokens", "usage: audio_tokens", "usage: cached_audio_tokens"},
		"anthropic":        {picture, "usage: audio_tokens", "usage: cached_audio_tokens"},
		"gemini":           {picture, paused, "usage: cache_write_tokens", "usage: cache_write_1h_tokens"},
	} {
		for _, p := range protocols() {
			if p.Name() != name {
				continue
			}
			if _, lost := front.Whole(p, resp, options(name, false)); !reflect.DeepEqual(lost, want) {
				t.Errorf("%s: got %q\nwant %q", name, lost, want)
			}
			if name == "anthropic" { // the end of a stream has less
				want = append(want, "usage: cache_write_1h_tokens")
			}
			stream := front.NewStream(p, options(name, false))
			if pieces(stream, resp, 9, func() bool { return false }); !reflect.DeepEqual(stream.Lost(), want) {
				t.Errorf("%s, streamed: got %q\nwant %q", name, stream.Lost(), want)
			}
		}
	}
}
