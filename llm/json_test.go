package llm_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"llmcall/llm"
)

// golden are values and the files that hold them. The files were written once,
// by the first version that could read them: sessions, queues and fixtures of
// other programs look like this. If this test fails, it is the code that must
// change.
var golden = map[string]any{
	"message.json": llm.Message{Role: llm.RoleAssistant, Parts: []llm.Part{
		llm.Text("Grüße <b> & \"quotes\"\n\tnext line"),
		llm.Text(""),
		llm.Image{MediaType: "image/png", Data: []byte("\x89PNG\r\n\x1a\n")},
		llm.Image{URL: "https://example.org/cat.jpg?size=1&v=2"},
		llm.ToolCall{ID: "call_1", Name: "search", Arguments: json.RawMessage(`{"query":"a < b","limit":10,"exact":1.50}`), Signature: []byte("signed")},
		llm.ToolCall{ID: "call_2", Name: "search", Arguments: json.RawMessage("{\"query\": \"cut o")},
		llm.ToolCall{ID: "call_3", Name: "search"},
		llm.ToolCall{ID: "call_4", Name: "search", Arguments: json.RawMessage("null")},
		llm.ToolResult{CallID: "call_1", Content: "Berlin"},
		llm.ToolResult{CallID: "call_2", Content: "no such city", IsError: true},
		llm.Reasoning{Provider: "anthropic", Data: json.RawMessage(`{"type":"thinking","thinking":"Hm.","signature":"c2ln"}`)},
		llm.Reasoning{Provider: "other", Data: json.RawMessage("Hm.")},
		llm.Reasoning{Provider: "other"},
	}},
	"media.json": llm.Message{Role: llm.RoleUser, Parts: []llm.Part{
		llm.Text("Compare."),
		llm.Document{MediaType: "application/pdf", Data: []byte("%PDF-1.7\n"), Name: "contract <1>.pdf"},
		llm.Document{URL: "https://example.org/contract.pdf?a=1&b=2"},
		llm.Document{},
		llm.Audio{MediaType: "audio/wav", Data: []byte("RIFF\x04\x00\x00\x00WAVE")},
		llm.Audio{MediaType: "audio/mpeg", URL: "https://example.org/call.mp3"},
	}},
	"conversation.json": []llm.Message{
		llm.System("Be brief."), llm.User("Where?"), llm.Assistant("In Berlin."),
		{Role: llm.RoleTool, Parts: []llm.Part{llm.ToolResult{CallID: "call_1", Content: "Berlin"}}},
		{Role: llm.RoleAssistant},
	},
	"request.json": llm.Request{
		Messages:  []llm.Message{llm.System("Be brief."), llm.User("Where?")},
		Tools:     []llm.Tool{{Name: "search", Description: "Searches.", Parameters: json.RawMessage(`{"type":"object"}`)}, {Name: "now"}},
		Schema:    &llm.Schema{Name: "City", JSON: json.RawMessage(`{"type":"object","properties":{"name":{"type":"string"}}}`)},
		MaxTokens: 1000, Temperature: new(0.0), Stop: []string{"END"}, Seed: new(int64(9007199254740993)),
		Extra: map[string]any{"reasoning_effort": "low", "top_k": json.Number("5"), "user": json.Number("9007199254740993"), "nested": map[string]any{"list": []any{json.Number("1.50"), true, nil}}},
	},
	"forced.json": llm.Request{Messages: []llm.Message{llm.User("Where?")}, Tools: []llm.Tool{{Name: "now"}}, ForceTool: "now"},
	"least.json":  llm.Request{Messages: []llm.Message{llm.User("Where?")}},
	"response.json": llm.Response{
		Message: llm.Message{Role: llm.RoleAssistant, Parts: []llm.Part{llm.Text("In Berlin.")}}, Finish: llm.FinishStop,
		Usage: llm.Usage{InputTokens: 12, OutputTokens: 4, CachedTokens: 8, ReasoningTokens: 2}, Model: "m-2026-01-02", RequestID: "req_1",
	},
	"priced.json": llm.Response{
		Message: llm.Assistant("In Berlin."), Finish: llm.FinishStop,
		Usage: llm.Usage{InputTokens: 40, OutputTokens: 4, CachedTokens: 8, CacheWriteTokens: 7, CacheWrite1hTokens: 3, AudioTokens: 6, CachedAudioTokens: 2},
	},
}

func TestWhatOnceWasWrittenIsRead(t *testing.T) {
	for file, value := range golden {
		text, err := os.ReadFile(filepath.Join("testdata", "v1", file))
		if err != nil {
			t.Fatal(err)
		}
		read := reflect.New(reflect.TypeOf(value))
		if err := json.Unmarshal(text, read.Interface()); err != nil || !reflect.DeepEqual(read.Elem().Interface(), value) {
			t.Errorf("%s: read %+v, %v", file, read.Elem(), err)
		}
		written, err := json.MarshalIndent(value, "", "  ")
		if err != nil || string(append(written, '\n')) != string(text) {
			t.Errorf("%s: wrote\n%s\n%v", file, written, err)
		}
	}
}

func TestReadingIsKindToPeople(t *testing.T) {
	for text, want := range map[string]llm.Message{
		`{"role":"user","parts":["Hello",{"type":"text","text":"you"}]}`:                                          {Role: llm.RoleUser, Parts: []llm.Part{llm.Text("Hello"), llm.Text("you")}},
		`{"role":"user","parts":[]}`:                                                                              {Role: llm.RoleUser},
		`{"role":"user","parts":null}`:                                                                            {Role: llm.RoleUser},
		`{"role":"user","parts":[ "x" ],"later":{"a":1}}`:                                                         llm.User("x"),
		`{"role":"tool","parts":[{"text":"x","type":"text","later":1}]}`:                                          {Role: llm.RoleTool, Parts: []llm.Part{llm.Text("x")}},
		`{"role":"user","parts":[{"type":"tool_call","id":"1","name":"f","arguments_text":" {\"a\": [1, 2]} "}]}`: {Role: llm.RoleUser, Parts: []llm.Part{llm.ToolCall{ID: "1", Name: "f", Arguments: json.RawMessage(`{"a":[1,2]}`)}}},
		`{"role":"user","parts":[{"type":"tool_call","id":"1","name":"f","arguments":{"a": "\u003c\\u003c\u2028"}}]}`: {Role: llm.RoleUser, Parts: []llm.Part{
			llm.ToolCall{ID: "1", Name: "f", Arguments: json.RawMessage("{\"a\":\"<\\\\u003c\u2028\"}")}}},
		`{"role":"user","parts":[{"type":"document","data":"","url":"u"},{"type":"audio","data":"","later":1}]}`: {Role: llm.RoleUser, Parts: []llm.Part{
			llm.Document{URL: "u"}, llm.Audio{}}},
		`{"role":"user","parts":[{"type":"image","data":"","url":"u"}]}`: {Role: llm.RoleUser, Parts: []llm.Part{llm.Image{URL: "u"}}},
		"null": {Role: "kept"},
	} {
		got := llm.Message{Role: "kept"}
		if err := json.Unmarshal([]byte(text), &got); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %#v, %v", text, got, err)
		}
	}
}

func TestWhatIsNotAMessage(t *testing.T) {
	for text, want := range map[string]string{
		`{"role":"user","content":"Hello"}`:                                                    `llm: a message must have "parts"`,
		`{"role":"user","parts":["a",{"text":"b"}]}`:                                           `llm: parts[1]: a part must have a "type": text, image, document, audio, tool_call, tool_result, reasoning`,
		`{"role":"user","parts":[{"type":"video"}]}`:                                           `llm: parts[0]: the part's type "video" is unknown; known are text, image, document, audio, tool_call, tool_result, reasoning`,
		`{"role":"user","parts":[{"type":"text"}]}`:                                            `llm: parts[0]: a part of the type "text" must have a "text"`,
		`{"role":"user","parts":[null]}`:                                                       `llm: parts[0]: a part must have a "type": text, image, document, audio, tool_call, tool_result, reasoning`,
		`{"role":"user","parts":[7]}`:                                                          `llm: parts[0]: json: cannot unmarshal number`,
		`{"role":"user","parts":"Hello"}`:                                                      `json: cannot unmarshal string`,
		`{"role":"user","parts":[{"type":["text"]}]}`:                                          `llm: parts[0]: json: cannot unmarshal array`,
		`{"role":"user","parts":[{"type":"image","data":"?"}]}`:                                `llm: parts[0]: illegal base64`,
		`{"role":"user","parts":[{"type":"tool_call","arguments":1,"arguments_text":"2"}]}`:    `llm: parts[0]: a part must have either "arguments" or "arguments_text", got both`,
		`{"role":"user","parts":[{"type":"reasoning","data":null,"data_text":"Hm."}]}`:         `llm: parts[0]: a part must have either "data" or "data_text", got both`,
		`{"role":"user","parts":[{"type":"tool_result","call_id":"1","content":["a block"]}]}`: `llm: parts[0]: json: cannot unmarshal array`,
	} {
		got := llm.User("kept")
		if err := json.Unmarshal([]byte(text), &got); err == nil || !strings.HasPrefix(err.Error(), want) || !reflect.DeepEqual(got, llm.User("kept")) {
			t.Errorf("%s: %v, %v, want %s", text, got, err, want)
		}
	}
	if text, err := json.Marshal(llm.Message{Parts: []llm.Part{llm.Text("a"), nil}}); err == nil || !strings.Contains(err.Error(), "parts[1] of a message is nil") {
		t.Errorf("%s, %v", text, err)
	}
}

// A part alone is what it is in a message.
func TestAPartAlone(t *testing.T) {
	type all struct {
		Text   llm.Text
		Image  *llm.Image
		Calls  []llm.ToolCall
		Result llm.ToolResult
		Hm     llm.Reasoning
		Letter llm.Document
		Call   *llm.Audio
	}
	want := all{"x", &llm.Image{URL: "u"}, []llm.ToolCall{{ID: "1", Name: "f", Arguments: json.RawMessage(`{broken`)}}, llm.ToolResult{CallID: "1"}, llm.Reasoning{Provider: "p", Data: json.RawMessage(`[1]`)}, llm.Document{URL: "u", Name: "n"}, &llm.Audio{URL: "u"}}
	text, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	var got all
	if err := json.Unmarshal(text, &got); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%s: %+v, %v", text, got, err)
	}
	if err := json.Unmarshal([]byte(`{"type":"text","text":"x"}`), &got.Hm); err == nil || !strings.Contains(err.Error(), "expected a part of the type llm.Reasoning, got llm.Text") || got.Hm.Provider != "p" {
		t.Errorf("%+v, %v", got.Hm, err)
	}
	pointers := llm.Message{Parts: []llm.Part{new(llm.Text("x")), &llm.ToolCall{Arguments: json.RawMessage("{")}}}
	values := llm.Message{Parts: []llm.Part{llm.Text("x"), llm.ToolCall{Arguments: json.RawMessage("{")}}}
	a, _ := json.Marshal(pointers)
	if b, _ := json.Marshal(values); !bytes.Equal(a, b) {
		t.Errorf("%s, and by pointers %s", b, a)
	}
}

// encoding/json refuses what is nested more than 10,000 deep: a model that writes
// it must not make the conversation unwritable.
func TestArgumentsOfAnyDepth(t *testing.T) {
	for _, depth := range []int{9_000, 9_890, 9_999, 10_000, 11_000} {
		arguments := strings.Repeat("[", depth) + strings.Repeat("]", depth)
		r := llm.Request{Messages: []llm.Message{{Role: llm.RoleAssistant, Parts: []llm.Part{llm.ToolCall{Arguments: json.RawMessage(arguments)}}}}}
		text, err := json.Marshal(map[string][]llm.Request{"requests": {r}})
		if err != nil {
			t.Fatalf("%d: %v", depth, err)
		}
		var got map[string][]llm.Request
		if err := json.Unmarshal(text, &got); err != nil || !reflect.DeepEqual(got["requests"][0], r) {
			t.Errorf("%d: %v", depth, err)
		}
	}
	if text, err := json.Marshal(llm.ToolCall{Arguments: json.RawMessage("1],[2" + strings.Repeat(" ", 10_000))}); err != nil || !strings.Contains(string(text), `"arguments_text":"1],[2`) {
		t.Errorf("%.100s, %v", text, err)
	}
}

// Bytes that are not UTF-8 become U+FFFD, in JSON within too: what is written can
// be read by anybody.
func TestWhatIsNotUTF8(t *testing.T) {
	text, err := json.Marshal(llm.Message{Role: llm.RoleUser, Parts: []llm.Part{
		llm.Text("a\xffb"), llm.ToolCall{ID: "\xc3", Arguments: json.RawMessage("{\"a\":\"\xff\"}")}, llm.Reasoning{Data: json.RawMessage("\xff")},
	}})
	var got llm.Message
	if err == nil {
		err = json.Unmarshal(text, &got)
	}
	if want := (llm.Message{Role: llm.RoleUser, Parts: []llm.Part{
		llm.Text("a\uFFFDb"), llm.ToolCall{ID: "\uFFFD", Arguments: json.RawMessage("{\"a\":\"\uFFFD\"}")}, llm.Reasoning{Data: json.RawMessage("\uFFFD")},
	}}); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%q: %+v, %v", text, got, err)
	}
}

// messages are any that a program or a model may make, in the form in which they
// are read.
func messages() *rapid.Generator[llm.Message] {
	name := rapid.String()
	data := rapid.Map(rapid.SliceOfN(rapid.Byte(), 0, 20), func(b []byte) []byte {
		if len(b) == 0 {
			return nil
		}
		return b
	})
	raw := rapid.Map(rapid.OneOf(
		rapid.SampledFrom([]string{"", "{}", "null", `"<a>&\\u003c"`, `{"a":[1,2.50,1e400,{"b":null}]}`, `{"a":1,"a":2}`, "{", `{"q":"cut o`, "}", " ", "\u2028", "NaN", "1],[2", `"\ud800"`}),
		rapid.Map(rapid.MapOf(name, name), func(m map[string]string) string {
			var b strings.Builder
			e := json.NewEncoder(&b)
			e.SetEscapeHTML(false)
			_ = e.Encode(m)
			return strings.NewReplacer(`\u2028`, "\u2028", `\u2029`, "\u2029").Replace(strings.TrimSpace(b.String()))
		}),
	), func(s string) json.RawMessage {
		if s == "" {
			return nil
		}
		return json.RawMessage(s)
	})
	parts := rapid.OneOf(
		rapid.Map(name, func(s string) llm.Part { return llm.Text(s) }),
		rapid.Custom(func(t *rapid.T) llm.Part {
			return llm.Image{MediaType: name.Draw(t, "media"), Data: data.Draw(t, "data"), URL: name.Draw(t, "URL")}
		}),
		rapid.Custom(func(t *rapid.T) llm.Part {
			return llm.Document{MediaType: name.Draw(t, "media"), Data: data.Draw(t, "data"), URL: name.Draw(t, "URL"), Name: name.Draw(t, "name")}
		}),
		rapid.Custom(func(t *rapid.T) llm.Part {
			return llm.Audio{MediaType: name.Draw(t, "media"), Data: data.Draw(t, "data"), URL: name.Draw(t, "URL")}
		}),
		rapid.Custom(func(t *rapid.T) llm.Part {
			return llm.ToolCall{ID: name.Draw(t, "ID"), Name: name.Draw(t, "name"), Arguments: raw.Draw(t, "arguments"), Signature: data.Draw(t, "signature")}
		}),
		rapid.Custom(func(t *rapid.T) llm.Part {
			return llm.ToolResult{CallID: name.Draw(t, "ID"), Content: name.Draw(t, "content"), IsError: rapid.Bool().Draw(t, "error")}
		}),
		rapid.Custom(func(t *rapid.T) llm.Part {
			return llm.Reasoning{Provider: name.Draw(t, "provider"), Data: raw.Draw(t, "data")}
		}),
	)
	return rapid.Custom(func(t *rapid.T) llm.Message {
		m := llm.Message{Role: rapid.SampledFrom([]llm.Role{"", llm.RoleSystem, llm.RoleUser, llm.RoleAssistant, llm.RoleTool, "critic"}).Draw(t, "role")}
		if all := rapid.SliceOfN(parts, 0, 5).Draw(t, "parts"); len(all) > 0 {
			m.Parts = all
		}
		return m
	})
}

func TestEveryMessageComesBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := messages().Draw(t, "message")
		for _, write := range []func(any) ([]byte, error){json.Marshal, func(v any) ([]byte, error) { return json.MarshalIndent(v, "> ", "\t") }} {
			text, err := write(want)
			if err != nil {
				t.Fatal(err)
			}
			text = bytes.ReplaceAll(text, []byte("\n> "), []byte("\n"))
			var got llm.Message
			if err := json.Unmarshal(text, &got); err != nil || !reflect.DeepEqual(got, want) {
				t.Fatalf("%s: %#v, %v", text, got, err)
			}
		}
	})
}

// Whatever is read can be written, and is then the same.
func FuzzUnmarshal(f *testing.F) {
	files, err := filepath.Glob(filepath.Join("testdata", "v1", "*.json"))
	if err != nil || len(files) != len(golden) {
		f.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add([]byte(`{"role":"user","parts":["x",{"type":"tool_call","arguments_text":" 1 "},{"type":"reasoning","data":"\u003c\\u003c"}]}`))
	f.Add([]byte(`{"messages":[],"tools":[{"parameters": {} }],"schema":{"schema":[ ]},"stop":[],"extra":{"a":1e999,"b":{}}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		again[llm.Message](t, text)
		again[[]llm.Message](t, text)
		again[llm.Request](t, text)
		again[llm.Response](t, text)
		again[llm.ToolCall](t, text)
	})
}

func again[T any](t *testing.T, text []byte) {
	var read, twice T
	if json.Unmarshal(text, &read) != nil {
		return
	}
	written, err := json.Marshal(read)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	if err := json.Unmarshal(written, &twice); err != nil || !reflect.DeepEqual(read, twice) {
		t.Fatalf("%s\n%+v was written as\n%s\n%+v, %v", text, read, written, twice, err)
	}
}
