package chaos_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
	"google.golang.org/genai"

	"llmcall/chaos"
)

// send posts a body to a path of a Server without a plan.
func send(t *testing.T, client *http.Client, url, body string, header ...string) (int, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		request.Header.Set(header[i], header[i+1])
	}
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(text)
}

func TestWhatEachProviderRefuses(t *testing.T) {
	const (
		chat      = "/v1/chat/completions"
		responses = "/v1/responses"
		messages  = "/v1/messages"
		gemini    = "/v1beta/models/m:generateContent"
	)
	const user = `{"role":"user","content":"x"}`
	const call = `{"role":"assistant","content":[{"type":"tool_use","id":"t1","name":"f","input":{}}]}`
	const content = `"contents":[{"parts":[{"text":"x"}]}]`
	for _, c := range []struct{ path, body, want string }{
		{chat, `{"model":"m","messages":[` + user + `,{"role":"tool","tool_call_id":"c1","content":"x"}]}`, "must be a response to a preceeding message with 'tool_calls'"},
		{chat, `{"model":"m","messages":[{"role":"assistant","tool_calls":[{"id":"c1"},{"id":"c2"}]},{"role":"tool","tool_call_id":"c1","content":"x"},` + user + `]}`, "did not have response messages: c2"},
		{chat, `{"model":"m","messages":[{"role":"assistant","tool_calls":[{"id":"c1"}]}]}`, "did not have response messages: c1"},
		{chat, `{"model":"m","messages":[` + user + `],"stop":7}`, "Invalid type for 'stop'"},

		{responses, `{`, "could not parse the JSON"},
		{responses, `{"input":"x"}`, "Missing required parameter: 'model'."},
		{responses, `{"model":"m"}`, "Missing required parameter: 'input'."},
		{responses, `{"model":"m","messages":[]}`, "has moved to 'input'"},
		{responses, `{"model":"m","input":"x","response_format":{"type":"text"}}`, "has moved to 'text.format'"},
		{responses, `{"model":"m","input":"x","max_tokens":5}`, "has moved to 'max_output_tokens'"},
		{responses, `{"model":"m","input":"x","max_output_tokens":5}`, "Expected a value >= 16, but got 5"},
		{responses, `{"model":"m","input":"x","previous_response_id":"resp_1"}`, "Previous response with id 'resp_1' not found."},
		{responses, `{"model":"m","input":7}`, "Invalid type for 'input'"},
		{responses, `{"model":"m","input":[{"content":"x"}]}`, "Missing required parameter: 'input[0].role'."},
		{responses, `{"model":"m","input":[{"role":"user","content":7}]}`, "Invalid type for 'input[0].content'"},
		{responses, `{"model":"m","input":[{"type":"song"}]}`, "Invalid value: 'song'"},
		{responses, `{"model":"m","input":[{"type":"function_call","name":"f","arguments":"{}"}]}`, "'input[0].call_id'"},
		{responses, `{"model":"m","input":[{"type":"function_call","call_id":"c1","name":"f","arguments":"{}"}]}`, "No tool output found for function call c1."},
		{responses, `{"model":"m","input":[{"type":"function_call_output","call_id":"c1","output":"x"}]}`, "No tool call found for function call output with call_id c1."},
		{responses, `{"model":"m","input":"x","text":{"format":{"type":"json_schema","schema":{}}}}`, "'text.format.name'"},
		{responses, `{"model":"m","input":"x","text":{"format":{"type":"json_schema","name":"n"}}}`, "'text.format.schema'"},
		{responses, `{"model":"m","input":"x","text":{"format":{"type":"xml"}}}`, "Supported values are"},
		{responses, `{"model":"m","input":"x","tool_choice":"maybe"}`, "Invalid value for 'tool_choice'"},
		{responses, `{"model":"m","input":"x","tool_choice":{"type":"function","name":"f"}}`, "no function 'f'"},

		{messages, `{`, "The request body is not valid JSON"},
		{messages, `{"max_tokens":1,"messages":[` + user + `]}`, "model: Field required"},
		{messages, `{"model":"m","messages":[` + user + `]}`, "max_tokens: Field required"},
		{messages, `{"model":"m","max_tokens":0,"messages":[` + user + `]}`, "max_tokens: Input should be greater than or equal to 1"},
		{messages, `{"model":"m","max_tokens":1}`, "messages: Field required"},
		{messages, `{"model":"m","max_tokens":1,"messages":[]}`, "messages: at least one message is required"},
		{messages, `{"model":"m","max_tokens":1,"messages":[` + user + `],"seed":1}`, "seed: Extra inputs are not permitted"},
		{messages, `{"model":"m","max_tokens":1,"messages":[` + user + `],"temperature":1.5}`, "temperature: range: 0..1"},
		{messages, `{"model":"m","max_tokens":"many","messages":[` + user + `]}`, "cannot unmarshal"},
		{messages, `{"model":"m","max_tokens":1,"system":7,"messages":[` + user + `]}`, "system: Input should be a valid list"},
		{messages, `{"model":"m","max_tokens":1,"messages":[{"role":"tool","content":"x"}]}`, `Unexpected role \"tool\"`},
		{messages, `{"model":"m","max_tokens":1,"messages":[{"role":"user","content":[]},` + user + `]}`, "messages.0: all messages must have non-empty content"},
		{messages, `{"model":"m","max_tokens":1,"messages":[{"role":"user","content":""}]}`, "text content blocks must be non-empty"},
		{messages, `{"model":"m","max_tokens":1,"messages":[{"role":"user","content":" \n"}]}`, "must contain non-whitespace text"},
		{messages, `{"model":"m","max_tokens":1,"messages":[{"role":"user","content":7}]}`, "messages.0.content: Input should be a valid list"},
		{messages, `{"model":"m","max_tokens":1,"messages":[{"role":"user","content":[{"type":"song"}]}]}`, "messages.0.content.0: Input tag 'song'"},
		{messages, `{"model":"m","max_tokens":1,"messages":[{"role":"user","content":[{"type":"image","source":{"type":"base64","media_type":"image/bmp","data":"AA=="}}]}]}`, "messages.0.content.0.image.source.base64.media_type: Input should be 'image/jpeg'"},
		{messages, `{"model":"m","max_tokens":1,"messages":[{"role":"user","content":[{"type":"image","source":{"type":"base64","media_type":"image/png"}}]}]}`, "image cannot be empty"},
		{messages, `{"model":"m","max_tokens":1,"messages":[{"role":"user","content":[{"type":"image","source":{"type":"file"}}]}]}`, "Input tag 'file'"},
		{messages, `{"model":"m","max_tokens":1,"messages":[` + user + `,` + call + `]}`, "messages.1: `tool_use` ids were found without `tool_result` blocks immediately after: t1."},
		{messages, `{"model":"m","max_tokens":1,"messages":[` + user + `,` + call + `,` + user + `]}`, "messages.1: `tool_use` ids were found without"},
		{messages, `{"model":"m","max_tokens":1,"messages":[{"role":"user","content":[{"type":"tool_result","tool_use_id":"t1","content":"x"}]}]}`, "unexpected `tool_use_id` found in `tool_result` blocks: t1."},
		{messages, `{"model":"m","max_tokens":1,"messages":[` + user + `,{"role":"assistant","content":[{"type":"tool_use","id":"t1","name":"f","input":"x"}]}]}`, "tool_use.input: Input should be a valid dictionary"},
		{messages, `{"model":"m","max_tokens":1,"messages":[` + user + `,{"role":"assistant","content":[{"type":"tool_use","name":"f","input":{}}]}]}`, "tool_use.id: Field required"},
		{messages, `{"model":"m","max_tokens":1,"messages":[` + user + `],"tool_choice":{"type":"any"}}`, "tool_choice: may only be specified while providing tools"},
		{messages, `{"model":"m","max_tokens":1,"messages":[` + user + `],"tools":[{"name":"f"}],"tool_choice":{"type":"tool","name":"g"}}`, "Tool 'g' not found in provided tools"},
		{messages, `{"model":"m","max_tokens":1,"messages":[` + user + `],"tool_choice":{"type":"perhaps"}}`, "tool_choice: Input tag 'perhaps'"},
		{messages, `{"model":"m","max_tokens":1,"messages":[` + user + `],"output_config":{"format":{"type":"xml"}}}`, "output_config.format.type: Input should be 'json_schema'"},
		{messages, `{"model":"m","max_tokens":1,"messages":[` + user + `],"output_format":{"type":"json_schema"}}`, "output_format.schema: Field required"},

		{gemini, `{`, "Invalid JSON payload received."},
		{gemini, `{}`, "* GenerateContentRequest.contents: contents is not specified"},
		{gemini, `{"contents":[{"role":"assistant","parts":[{"text":"x"}]}]}`, "Please use a valid role: user, model."},
		{gemini, `{"contents":[{"parts":[]}]}`, "contents[0].parts: contents.parts must not be empty."},
		{gemini, `{"contents":[{"parts":[{}]}]}`, "contents[0].parts[0].data: required oneof field 'data'"},
		{gemini, `{` + content + `,"generationConfig":{"maxOutputTokens":0}}`, "max_output_tokens must be positive."},
		{gemini, `{` + content + `,"generationConfig":{"candidateCount":9}}`, "candidate_count must be from 1 to 8."},
		{gemini, `{` + content + `,"generationConfig":{"responseSchema":{"type":"STRING"}}}`, "only allowed when response_mime_type"},
		{gemini, `{` + content + `,"generationConfig":{"responseMimeType":"application/json","responseSchema":{"type":"STRING"},"responseJsonSchema":{}}}`, "only one of"},
		{gemini, `{` + content + `,"generationConfig":{"responseMimeType":"application/json","responseSchema":{"type":"OBJECT","properties":{"a":{"additionalProperties":false}}}}}`,
			`Unknown name \"additionalProperties\" at 'generation_config.response_schema.properties[a]': Cannot find field.`},
		{gemini, `{` + content + `,"generationConfig":{"responseMimeType":"application/json","responseSchema":[]}}`, "a schema is an object"},
		{gemini, `{` + content + `,"toolConfig":{"functionCallingConfig":{"mode":"ANY"}}}`, "is set without function_declarations"},
		{gemini, `{` + content + `,"toolConfig":{"functionCallingConfig":{"mode":"SOME"}}}`, "Invalid value at"},
		{gemini, `{` + content + `,"tools":[{"functionDeclarations":[{"name":"f"}]}],"toolConfig":{"functionCallingConfig":{"mode":"ANY","allowedFunctionNames":["g"]}}}`, "allowed_function_names"},
		{gemini, `{"contents":[{"parts":[{"text":"x"}]},{"role":"model","parts":[{"functionCall":{"name":"f"}}]}]}`, "function response turn comes immediately after a function call turn"},
		{gemini, `{"contents":[{"parts":[{"functionResponse":{"name":"f"}}]}]}`, "number of function response parts is equal"},
		{"/v1beta/models/m:streamGenerateContent", `{` + content + `}`, "alt=sse"},
	} {
		s, url, client := listen(t, chaos.Config{})
		status, body := send(t, client, url+c.path, c.body, "Anthropic-Version", "2023-06-01")
		if status != 400 || !strings.Contains(body, c.want) || !json.Valid([]byte(body)) {
			t.Errorf("%s %s: got %d %s\nwant %s", c.path, c.body, status, body, c.want)
		}
		kind := map[string]string{messages: `"type":"error","error":{"details":null,"type":"invalid_request_error"`, gemini: `"status":"INVALID_ARGUMENT"`}[c.path]
		if !strings.Contains(body, kind) {
			t.Errorf("%s: got %s", c.path, body)
		}
		if r := s.Requests()[0]; r.Refusal == "" || r.Fault.Kind != "" {
			t.Errorf("recorded %+v", r)
		}
	}
}

func TestAnthropicWantsItsVersion(t *testing.T) {
	_, url, client := listen(t, chaos.Config{})
	status, body := send(t, client, url+"/v1/messages", `{"model":"m","max_tokens":1,"messages":[{"role":"user","content":"x"}]}`)
	if status != 400 || !strings.Contains(body, "anthropic-version: header is required") {
		t.Errorf("got %d %s", status, body)
	}
}

func TestWhatEachProviderTakes(t *testing.T) {
	s, url, client := listen(t, chaos.Config{})
	for _, c := range []struct{ path, body, messages string }{
		{"/v1/responses", `{"model":"m","input":"x","text":{"format":{"type":"json_object"}}}`, "user: x"},
		{"/v1/responses", `{"model":"m","input":[{"type":"reasoning","id":"rs_1","summary":[]},{"role":"user","content":[{"type":"input_text","text":"a"},{"type":"input_text","text":"b"}]}]}`, "user: a\nb"},
		{"/v1/responses", `{"model":"m","input":"x","tools":[{"type":"function","name":"f"}],"tool_choice":"required"}`, "user: x"},
		// Turns of one role in a row are one turn.
		{"/v1/messages", `{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"a"},{"role":"user","content":"b"},{"role":"assistant","content":"c"},{"role":"assistant","content":[]}]}`, "user: a|user: b|assistant: c|assistant: "},
		{"/v1/messages", `{"model":"m","max_tokens":9,"messages":[{"role":"assistant","content":[{"type":"tool_use","id":"t1","name":"f","input":{"a":1}}]},{"role":"assistant","content":[{"type":"tool_use","id":"t2","name":"f","input":{}}]},
			{"role":"user","content":[{"type":"tool_result","tool_use_id":"t1","content":[{"type":"text","text":"one"}]}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"t2"},{"type":"text","text":"go on"}]}]}`,
			`assistant: {"a":1}|assistant: {}|tool: one|tool: |user: go on`},
		{"/v1/messages", `{"model":"m","max_tokens":9,"system":[{"type":"text","text":"s"}],"messages":[{"role":"user","content":[{"type":"image","source":{"type":"url","url":"https://example.com/a.png"}},{"type":"text","text":"x"}]}],"output_format":{"type":"json_schema","schema":{"type":"object","additionalProperties":false}}}`, "system: s|user: x"},
		{"/v1/messages", `{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"x"}],"tools":[{"name":"f","input_schema":{"type":"object"}}],"tool_choice":{"type":"any"}}`, "user: x"},
		{"/v1beta/models/m:generateContent", `{"contents":[{"parts":[{"text":"x"}]}],"tools":[{"functionDeclarations":[{"name":"f","parameters":{"type":"OBJECT","properties":{"n":{"type":"INTEGER","nullable":true,"format":"int32"}}}}]}],"toolConfig":{"functionCallingConfig":{"mode":"ANY"}}}`, "user: x"},
		{"/v1beta/models/m:generateContent", `{"contents":[{"parts":[{"text":"x"}]},{"role":"model","parts":[{"functionCall":{"name":"f","args":{"a":1}}}]},{"role":"user","parts":[{"functionResponse":{"name":"f","response":{"b":2}}}]}],"toolConfig":{"functionCallingConfig":{"mode":"NONE"}}}`,
			`user: x|assistant: {"a":1}|tool: {"b":2}`},
		{"/v1/models/m:generateContent", `{"contents":[{"parts":[{"fileData":{"fileUri":"x"}}]}]}`, "user: "},
	} {
		status, body := send(t, client, url+c.path, c.body, "Anthropic-Version", "2023-06-01")
		requests := s.Requests()
		var said []string
		for _, m := range requests[len(requests)-1].Messages {
			said = append(said, m.Role+": "+m.Text)
		}
		if got := strings.Join(said, "|"); status != 200 || got != c.messages {
			t.Errorf("%s %s: got %d %s\nrecorded %q, want %q", c.path, c.body, status, body, got, c.messages)
		}
	}
}

// Gemini's own form of a schema is kept, too, as its SDK writes it.
func TestASchemaInGeminisFormIsKept(t *testing.T) {
	_, url, client := listen(t, chaos.Config{})
	schema := &genai.Schema{Type: genai.TypeObject, Required: []string{"id", "tags", "note", "kind"}, PropertyOrdering: []string{"id"}, Properties: map[string]*genai.Schema{
		"id":   {Type: genai.TypeInteger, Minimum: new(1.0), Maximum: new(9.0)},
		"tags": {Type: genai.TypeArray, MinItems: new(int64(2)), MaxItems: new(int64(2)), Items: &genai.Schema{Type: genai.TypeString, Enum: []string{"a", "b"}, Format: "enum"}},
		"note": {Type: genai.TypeString, Nullable: new(true), MaxLength: new(int64(12))},
		"kind": {AnyOf: []*genai.Schema{{Type: genai.TypeBoolean}, {Type: genai.TypeNumber}}},
	}}
	const same = `{"type":"object","required":["id","tags","note","kind"],"properties":{"id":{"type":"integer","minimum":1,"maximum":9},
		"tags":{"type":"array","minItems":2,"maxItems":2,"items":{"enum":["a","b"]}},"note":{"type":["string","null"],"maxLength":12},"kind":{"type":["boolean","number"]}}}`
	answer, err := geminiClient(t.Context(), url, client).Models.GenerateContent(t.Context(), "m", genai.Text("x"), &genai.GenerateContentConfig{ResponseMIMEType: "application/json", ResponseSchema: schema})
	if err != nil || violations(t, same, answer.Text()) != nil {
		t.Errorf("got %v, %v", answer, err)
	}
	// Some clients write 64-bit integers as protocol buffers do.
	_, body := send(t, client, url+"/v1beta/models/m:generateContent", `{"contents":[{"parts":[{"text":"x"}]}],"generationConfig":{"responseMimeType":"application/json","responseSchema":{"type":"ARRAY","minItems":"3","maxItems":"3","items":{"type":"BOOLEAN"}}}}`)
	if got := strings.Count(body, "true") + strings.Count(body, "false"); got != 3 {
		t.Errorf("got %s", body)
	}
}

func TestOpenAIIsServedAtTheUsualPaths(t *testing.T) {
	const chat, response = `{"model":"m","messages":[{"role":"user","content":"x"}]}`, `{"model":"m","input":"x"}`
	const noModel = `{"messages":[{"role":"user","content":"x"}]}`
	for _, c := range []struct {
		path, body string
		status     int
		protocol   chaos.Protocol
		model      string
	}{
		{"/v1/chat/completions", chat, 200, chaos.OpenAI, "m"},
		{"/chat/completions", chat, 200, chaos.OpenAI, "m"},
		{"/openai/v1/chat/completions", chat, 200, chaos.OpenAI, "m"},
		{"/api/v1/chat/completions", chat, 200, chaos.OpenAI, "m"},
		{"/openai/v1/responses", response, 200, chaos.OpenAIResponses, "m"},
		{"/responses", response, 200, chaos.OpenAIResponses, "m"},
		{"/openai/deployments/mine/chat/completions?api-version=2024-10-21", noModel, 200, chaos.OpenAI, "mine"},
		{"/openai/deployments/mine/chat/completions?api-version=2024-10-21", chat, 200, chaos.OpenAI, "m"},
		{"/openai/deployments/mine/chat/completions", chat, 404, chaos.OpenAI, ""},
		{"/openai/deployments/mine", chat, 404, "", ""},
		{"/openai/deployments//chat/completions?api-version=1", chat, 404, "", ""},
		{"/v2/chat/completions", chat, 404, "", ""},
		{"/v1beta/openai/chat/completions", chat, 200, chaos.OpenAI, "m"},
		{"/v1beta/models/m:predict", chat, 404, "", ""},
		{"/v1beta/models/a/b:generate", chat, 404, "", ""},
		{"/v1/messages/batches", chat, 404, "", ""},
	} {
		s, url, client := listen(t, chaos.Config{})
		status, body := send(t, client, url+c.path, c.body)
		if r := s.Requests()[0]; status != c.status || r.Protocol != c.protocol || r.Model != c.model {
			t.Errorf("%s: got %d %s, recorded %s %q", c.path, status, body, r.Protocol, r.Model)
		}
	}
}

func TestErrorsOfUnknownPathsAreInTheFormOfTheClient(t *testing.T) {
	_, url, client := listen(t, chaos.Config{})
	for path, want := range map[string]string{
		"/v1beta/cachedContents": `"status":"NOT_FOUND"`,
		"/v1/messages/batches":   `"type":"not_found_error"`,
		"/v1/moderations":        `"type": "invalid_request_error"`,
	} {
		if status, body := send(t, client, url+path, "{}"); status != 404 || !strings.Contains(body, want) {
			t.Errorf("%s: got %d %s", path, status, body)
		}
	}
}

func TestTheSDKOfAzureIsServed(t *testing.T) {
	s, url, client := listen(t, chaos.Config{})
	c := openai.NewClient(option.WithBaseURL(url+"/openai/deployments/mine"), option.WithQuery("api-version", "2024-10-21"),
		option.WithHeader("api-key", secret), option.WithAPIKey(secret), option.WithHTTPClient(client), option.WithMaxRetries(0))
	if _, err := c.Chat.Completions.New(t.Context(), ask("x")); err != nil {
		t.Fatal(err)
	}
	if r := s.Requests()[0]; r.Header.Get("Api-Key") != "REDACTED" || r.Query.Get("api-version") != "2024-10-21" {
		t.Errorf("recorded %v %v", r.Header, r.Query)
	}
}

func TestNoKeyIsRecorded(t *testing.T) {
	for _, sdk := range sdks {
		s, url, client := listen(t, chaos.Config{})
		if r := sdk.ask(t.Context(), url, client, question{turns: []string{"x"}}); r.err != nil {
			t.Fatal(r.err)
		}
		if all := fmt.Sprintf("%+v", s.Requests()); strings.Contains(all, "very-secret") || !strings.Contains(all, "REDACTED") {
			t.Errorf("%s: a key is recorded: %s", sdk.protocol, all)
		}
	}
	s, url, client := listen(t, chaos.Config{})
	if status, body := send(t, client, url+"/v1beta/models/m:generateContent?key="+secret, `{"contents":[{"parts":[{"text":"x"}]}]}`); status != 200 || strings.Contains(body, secret) {
		t.Errorf("got %d %s", status, body)
	}
	if all := fmt.Sprintf("%+v", s.Requests()); strings.Contains(all, "very-secret") || s.Requests()[0].Query.Get("key") != "REDACTED" {
		t.Errorf("the key of the query is recorded: %s", all)
	}
}

func TestRequestsAreCountedByProtocol(t *testing.T) {
	s, url, client := listen(t, chaos.Config{})
	for i, sdk := range sdks {
		for range i + 1 {
			if r := sdk.do(t.Context(), i%2 == 0, url, client, question{turns: []string{"x"}}); r.err != nil {
				t.Fatal(r.err)
			}
		}
	}
	count := map[chaos.Protocol]int{}
	for _, r := range s.Requests() {
		count[r.Protocol]++
	}
	for i, sdk := range sdks {
		if count[sdk.protocol] != i+1 {
			t.Errorf("%s was asked %d times, want %d", sdk.protocol, count[sdk.protocol], i+1)
		}
	}
}

// One plan for all: the steps are taken in the order in which requests come,
// whatever their protocol.
func TestOnePlanServesEveryProtocol(t *testing.T) {
	_, url, client := listen(t, chaos.Config{Plan: &chaos.Plan{Steps: []chaos.Fault{{Kind: chaos.Status, Error: "overloaded"}, {Answer: "two"}, {Kind: chaos.Status, Error: "overloaded"}, {Answer: "four"}}}})
	var got []string
	for _, sdk := range sdks {
		r := sdk.ask(t.Context(), url, client, question{turns: []string{"x"}})
		got = append(got, fmt.Sprintf("%d %s", r.status, r.text))
	}
	if want := "503 |0 two|529 |0 four"; strings.Join(got, "|") != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
