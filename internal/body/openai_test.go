package body_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"unicode"

	"llmcall/internal/body"
	"llmcall/internal/protocol"
	"llmcall/llm"
)

// A body for a model of another provider.
func Example() {
	b, err := body.Chat([]byte(`{"model": "gpt-6-luna", "messages": [{"role": "user", "content": "Hi"}], "max_completion_tokens": 10, "top_p": 0.5}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(b.Model, b.Request.Messages[0].Text(), b.Request.MaxTokens, b.Request.Extra)
	_, err = body.Chat([]byte(`{"model": "gpt-6-luna", "messages": [{"role": "user", "content": "Hi"}], "n": 3}`))
	fmt.Println(err)
	// Output:
	// gpt-6-luna Hi 10 map[top_p:0.5]
	// n can't be carried out: a request has one answer; repeat it for more
}

const hi = `"messages":[{"role":"user","content":"Hi"}]`

var greeting = []llm.Message{llm.User("Hi")}

func TestChat(t *testing.T) {
	png := "data:image/png;base64,iVBORw0KGgo="
	for _, c := range []struct {
		name, text string
		want       llm.Request
	}{
		{"the least", `{` + hi + `}`, llm.Request{Messages: greeting}},
		{"settings", `{` + hi + `,"max_tokens":5,"temperature":0,"seed":-7,"stop":["a","b"]}`,
			llm.Request{Messages: greeting, MaxTokens: 5, Temperature: new(0.0), Seed: new(int64(-7)), Stop: []string{"a", "b"}}},
		{"the newer limit", `{` + hi + `,"max_completion_tokens":6,"stop":"a"}`, llm.Request{Messages: greeting, MaxTokens: 6, Stop: []string{"a"}}},
		{"what changes nothing", `{` + hi + `,"n":1,"stream":false,"logprobs":false,"top_logprobs":null,"seed":null,"modalities":["text"],"tools":[],"stop":null,"response_format":{"type":"text"},"tool_choice":"auto"}`,
			llm.Request{Messages: greeting}},
		{"the provider's own", `{` + hi + `,"top_p":0.50,"user":"u","reasoning_effort":"low","metadata":{"a":[1]}}`,
			llm.Request{Messages: greeting, Extra: map[string]any{"top_p": json.Number("0.50"), "user": "u", "reasoning_effort": "low", "metadata": map[string]any{"a": []any{json.Number("1")}}}}},
		{"a schema, whose properties keep their order", `{` + hi + `,"response_format":{"type":"json_schema","json_schema":{"name":"city","strict":true,"schema":{"type":"object","properties":{"b":{},"a":{}}}}}}`,
			llm.Request{Messages: greeting, Schema: &llm.Schema{Name: "city", JSON: json.RawMessage(`{"type":"object","properties":{"b":{},"a":{}}}`)}}},
		{"JSON of any form", `{` + hi + `,"response_format":{"type":"json_object"}}`,
			llm.Request{Messages: greeting, Extra: map[string]any{"response_format": json.RawMessage(`{"type":"json_object"}`)}}},
		{"tools", `{` + hi + `,"tools":[{"type":"function","function":{"name":"f","description":"d","parameters":{"type":"object"},"strict":false}},{"type":"function","function":{"name":"g"}}],"tool_choice":"none"}`,
			llm.Request{Messages: greeting, Tools: []llm.Tool{{Name: "f", Description: "d", Parameters: json.RawMessage(`{"type":"object"}`)}, {Name: "g"}}, NoToolCalls: true}},
		{"a tool that must be called", `{` + hi + `,"tools":[{"type":"function","function":{"name":"g"}}],"tool_choice":{"type":"function","function":{"name":"g"}}}`,
			llm.Request{Messages: greeting, Tools: []llm.Tool{{Name: "g"}}, ForceTool: "g"}},
		{"a choice that is the provider's own", `{` + hi + `,"tools":[{"type":"function","function":{"name":"g"}}],"tool_choice":{"type":"allowed_tools"}}`,
			llm.Request{Messages: greeting, Tools: []llm.Tool{{Name: "g"}}, Extra: map[string]any{"tool_choice": json.RawMessage(`{"type":"allowed_tools"}`)}}},
		{"parts", `{"messages":[{"role":"user","content":[{"type":"text","text":"a"},{"type":"image_url","image_url":{"url":"` + png + `","detail":"low"}},{"type":"image_url","image_url":{"url":"https://x.example/a.png"}},{"type":"input_audio","input_audio":{"data":"AAEC","format":"mp3"}},{"type":"file","file":{"filename":"a.pdf","file_data":"data:application/pdf;base64,JVBERg=="}}]}]}`,
			llm.Request{Messages: []llm.Message{{Role: llm.RoleUser, Parts: []llm.Part{llm.Text("a"), llm.Image{MediaType: "image/png", Data: []byte("\x89PNG\r\n\x1a\n"), Detail: "low"}, llm.Image{URL: "https://x.example/a.png"},
				llm.Audio{MediaType: "audio/mpeg", Data: []byte{0, 1, 2}}, llm.Document{MediaType: "application/pdf", Data: []byte("%PDF"), Name: "a.pdf"}}}}}},
		{"a conversation with a tool", `{"messages":[{"role":"developer","content":"s"},{"role":"user","content":"u"},{"role":"assistant","content":null,"tool_calls":[{"id":"1","type":"function","function":{"name":"f","arguments":"{\"a\": 1}"}}]},{"role":"tool","tool_call_id":"1","content":[{"type":"text","text":"x"},{"type":"text","text":"y"}]},{"role":"assistant","content":"end","refusal":null}]}`,
			llm.Request{Messages: []llm.Message{llm.System("s"), llm.User("u"), {Role: llm.RoleAssistant, Parts: []llm.Part{llm.ToolCall{ID: "1", Name: "f", Arguments: json.RawMessage(`{"a": 1}`)}}},
				{Role: llm.RoleTool, Parts: []llm.Part{llm.ToolResult{CallID: "1", Content: "x\ny"}}}, llm.Assistant("end")}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := body.Chat([]byte(c.text))
			if err != nil || !reflect.DeepEqual(*got.Request, c.want) {
				t.Errorf("got %+v, %v", got, err)
			}
		})
	}
}

func TestResponses(t *testing.T) {
	const object = `{"type":"object","properties":{"b":{},"a":{}}}`
	for _, c := range []struct {
		name, text string
		want       llm.Request
	}{
		{"a text", `{"model":"m","input":"Hi","instructions":"s","max_output_tokens":20,"temperature":1.5,"store":false}`,
			llm.Request{Messages: []llm.Message{llm.System("s"), llm.User("Hi")}, MaxTokens: 20, Temperature: new(1.5), Extra: map[string]any{"store": false}}},
		{"items", `{"input":[{"role":"user","content":[{"type":"input_text","text":"a"},{"type":"input_image","image_url":"https://x.example/a.png","detail":"auto"},{"type":"input_file","file_url":"https://x.example/a.pdf"}]},
			{"type":"reasoning","id":"rs_1","encrypted_content":"x"},
			{"type":"message","id":"msg_1","status":"completed","role":"assistant","content":[{"type":"output_text","text":"b","annotations":[{}],"logprobs":[]}]},
			{"type":"function_call","id":"fc_1","call_id":"1","name":"f","arguments":"{}"},
			{"type":"function_call_output","call_id":"1","output":"r"}]}`,
			llm.Request{Messages: []llm.Message{
				{Role: llm.RoleUser, Parts: []llm.Part{llm.Text("a"), llm.Image{URL: "https://x.example/a.png", Detail: "auto"}, llm.Document{URL: "https://x.example/a.pdf"}}},
				{Role: llm.RoleAssistant, Parts: []llm.Part{llm.Reasoning{Provider: "openai-responses", Data: json.RawMessage(`{"type":"reasoning","id":"rs_1","encrypted_content":"x"}`)}, llm.Text("b"), llm.ToolCall{ID: "1", Name: "f", Arguments: json.RawMessage("{}")}}},
				{Role: llm.RoleTool, Parts: []llm.Part{llm.ToolResult{CallID: "1", Content: "r"}}}}}},
		{"a schema", `{"input":"Hi","text":{"format":{"type":"json_schema","name":"x","strict":true,"schema":` + object + `}}}`,
			llm.Request{Messages: greeting, Schema: &llm.Schema{Name: "x", JSON: json.RawMessage(object)}}},
		{"a schema and a verbosity", `{"input":"Hi","text":{"verbosity":"low","format":{"type":"json_schema","name":"x","schema":` + object + `}}}`,
			llm.Request{Messages: greeting, Schema: &llm.Schema{Name: "x", JSON: json.RawMessage(object)}, Extra: map[string]any{"text": json.RawMessage(`{"verbosity":"low","format":{"type":"json_schema","name":"x","schema":` + object + `}}`)}}},
		{"a format of text", `{"input":"Hi","text":{"format":{"type":"text"}},"background":false}`, llm.Request{Messages: greeting}},
		{"tools", `{"input":"Hi","tools":[{"type":"function","name":"f","parameters":{"type":"object"},"strict":true}],"tool_choice":"required","reasoning":{"effort":"low"}}`,
			llm.Request{Messages: greeting, Tools: []llm.Tool{{Name: "f", Parameters: json.RawMessage(`{"type":"object"}`)}}, ForceTool: "*", Extra: map[string]any{"reasoning": map[string]any{"effort": "low"}}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := body.Responses([]byte(c.text))
			if err != nil || !reflect.DeepEqual(*got.Request, c.want) {
				t.Errorf("got %+v, %v", got, err)
			}
		})
	}
}

// What can't be carried is an error that names the field, and never lost.
func TestWhatCantBeCarried(t *testing.T) {
	user := func(parts string) string { return `{"messages":[{"role":"user","content":[` + parts + `]}]}` }
	for text, want := range map[string]string{
		``:                                      "is not JSON",
		`[]`:                                    "must be an object, got a list",
		`{}`:                                    "messages must be a list, got nothing",
		`{` + hi + `,"n":2}`:                    "n can't be carried out: a request has one answer",
		`{` + hi + `,"stream":true}`:            "stream can't be carried out: an answer is not streamed",
		`{` + hi + `,"stream":"no"}`:            `stream must be true or false, got "no"`,
		`{` + hi + `,"logprobs":true}`:          "logprobs can't be carried out",
		`{` + hi + `,"modalities":["audio"]}`:   "modalities can't be carried out: an answer is a text",
		`{` + hi + `,"functions":[{}]}`:         "functions can't be carried out: OpenAI replaced it by tools and tool_choice",
		`{` + hi + `,"max_tokens":0}`:           "max_tokens must be a whole number >= 1, got 0",
		`{` + hi + `,"max_tokens":1e3}`:         "max_tokens must be a whole number >= 1, got 1e3",
		`{` + hi + `,"max_tokens":99999999999}`: "max_tokens must be at most 2147483647, got 99999999999",
		`{` + hi + `,"temperature":"hot"}`:      `temperature must be a number, got "hot"`,
		`{` + hi + `,"seed":1.5}`:               "seed must be a whole number, got 1.5",
		`{` + hi + `,"stop":5}`:                 "stop must be a string or a list of strings, got 5",
		`{` + hi + `,"model":5}`:                "model must be a string, got 5",
		`{` + hi + `,"tool_choice":"required"}`: "tool_choice must be left out: there are no tools",
		`{` + hi + `,"tools":[{"type":"web"}]}`: `tools[0].type must be "function": other tools are run by OpenAI, got "web"`,
		`{` + hi + `,"tools":[{"type":"function","function":{"name":"f","parameters":[]}}]}`:                     "tools[0].function.parameters must be an object, got a list",
		`{` + hi + `,"response_format":{"type":"xml"}}`:                                                          `response_format.type must be "text", "json_object" or "json_schema", got "xml"`,
		`{` + hi + `,"response_format":{"type":"json_schema"}}`:                                                  "response_format.json_schema must be an object, got nothing",
		`{` + hi + `,"response_format":{"type":"json_schema","json_schema":{"name":"x"}}}`:                       "response_format.json_schema.schema must be an object, got nothing",
		`{"messages":[{"role":"function","content":"x"}]}`:                                                       `messages[0].role must be system, developer, user, assistant or tool, got "function"`,
		`{"messages":[{"role":"user","content":"x","name":"Ann"}]}`:                                              "messages[0].name can't be carried out: known fields are ",
		`{"messages":[{"role":"user","contents":"x"}]}`:                                                          "messages[0].content must be a string or a list of parts, got nothing",
		`{"messages":[{"role":"tool","tool_call_id":"1","content":"x"}]}`:                                        `messages has a result of the tool call "1", and no such call before it`,
		`{"messages":[{"role":"assistant","tool_calls":[{"id":"1","function":{"name":"f","arguments":"{}"}}]}]}`: `messages has a tool call "1" without its result`,
		user(`{"type":"image_url","image_url":{"url":"https://x.example/a.png","detail":"lo"}}`):                 `messages[0].content[0].image_url.detail must be auto, low, high, original, got "lo"`,
		user(`{"type":"image_url","image_url":{"url":"data:image/png;base64,%%%"}}`):                             "messages[0].content[0].image_url.url is a data URI",
		user(`{"type":"file","file":{"file_id":"file-1"}}`):                                                      "messages[0].content[0].file.file_id can't be carried out: it names a file that was uploaded to OpenAI",
		user(`{"type":"video_url"}`):                                                                             `messages[0].content[0].type must be text, image_url, input_audio or file, got "video_url"`,
		user(`"x"`):                                                                                              `messages[0].content[0] must be an object, got "x"`,
	} {
		problem(t, text, want, body.Chat)
	}
	for text, want := range map[string]string{
		`{}`:                               "input must be a string or a list of items, got nothing",
		`{"input":[]}`:                     "input must have at least one item, got none",
		`{"input":"Hi","background":true}`: "background can't be carried out: an answer is waited for",
		`{"input":"Hi","messages":[]}`:     "messages is of chat completions; in responses it is input",
		`{"input":"Hi","max_tokens":5}`:    "max_tokens is of chat completions; in responses it is max_output_tokens",
		`{"input":[{"type":"item_reference","id":"x"}]}`:                               `input[0].type must be message, function_call, function_call_output or reasoning, got "item_reference"`,
		`{"input":[{"role":"user","content":[{"type":"input_image","file_id":"x"}]}]}`: "input[0].content[0].file_id can't be carried out",
		`{"input":[{"type":"function_call","call_id":"1","name":"f","arguments":{}}]}`: "input[0].arguments must be a string, got an object",
		`{"input":"Hi","text":{"format":{"type":"json_schema","name":"x"}}}`:           "text.format.schema must be an object, got nothing",
		`{"input":"Hi","tools":[{"type":"web_search"}]}`:                               `tools[0].type must be "function": other tools are run by OpenAI, got "web_search"`,
	} {
		problem(t, text, want, body.Responses)
	}
	problem(t, `[{"role":"user","content":5}]`, "messages[0].content must be a string or a list of parts, got 5", func(text []byte) (*body.Body, error) {
		_, err := body.Messages(text, "messages")
		return nil, err
	})
}

func problem(t *testing.T, text, want string, read func([]byte) (*body.Body, error)) {
	t.Helper()
	_, err := read([]byte(text))
	if e, ok := errors.AsType[*body.Error](err); !ok || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("%s: got %v (%T)", text, err, e)
	}
}

// asOneSpells returns a body without other letters than a to z: the server's side takes
// "teXt" for "text", as encoding/json does and OpenAI does not.
func asOneSpells(text []byte) []byte {
	return bytes.Map(func(r rune) rune {
		if r > unicode.MaxASCII {
			return '?'
		}
		return unicode.ToLower(r)
	}, text)
}

// What both read means the same to a server that speaks the protocol; and what a provider
// refuses is refused, but for settings that another provider takes.
func FuzzBodies(f *testing.F) {
	f.Add([]byte(`{"model":"m",` + hi + `,"max_tokens":5,"tools":[{"type":"function","function":{"name":"f"}}],"tool_choice":"required"}`))
	f.Add([]byte(`{"model":"m","messages":[{"role":"user","content":[{"type":"text","text":"a"},{"type":"image_url","image_url":{"url":"data:,x"}}]},{"role":"assistant","tool_calls":[{"id":"1","function":{"name":"f","arguments":"{}"}}]},{"role":"tool","tool_call_id":"1","content":"x"}]}`))
	f.Add([]byte(`{"model":"m","input":[{"role":"user","content":"a"},{"type":"function_call","call_id":"1","name":"f","arguments":"{}"},{"type":"function_call_output","call_id":"1","output":"x"}],"instructions":"s"}`))
	f.Add([]byte(`{"model":"m","input":"Hi","text":{"format":{"type":"json_schema","name":"x","schema":{}}}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		text = asOneSpells(text)
		for _, c := range []struct {
			path string
			read func([]byte) (*body.Body, error)
			as   protocol.Protocol
		}{{"/v1/chat/completions", body.Chat, protocol.Chat{}}, {"/v1/responses", body.Responses, protocol.Responses{}}} {
			read, err := c.read(text)
			if err != nil {
				if _, ok := errors.AsType[*body.Error](err); !ok {
					t.Fatalf("%s: %T %v", text, err, err)
				}
				continue
			}
			if written, err := json.Marshal(read.Request); err != nil {
				t.Fatalf("%s: %s, %v", text, written, err)
			}
			served, refused := c.as.Read(&protocol.Incoming{Path: c.path, Body: text})
			if refused != nil {
				continue
			}
			if read.Model != served.Model || (served.Schema != nil && served.Tool == "") != (read.Request.Schema != nil) && read.Request.ForceTool == "" {
				t.Fatalf("%s: %+v, %+v", text, read, served)
			}
			if c.path == "/v1/chat/completions" && len(served.Messages) != len(read.Request.Messages) {
				t.Fatalf("%s: %+v, %+v", text, read.Request, served)
			}
		}
	})
}
