package body_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"llmcall/internal/body"
	"llmcall/internal/protocol"
	"llmcall/llm"
)

// A gateway says what of a body a model of another provider is not asked.
func ExampleBody_To() {
	b, err := body.Read("openai", []byte(`{"model": "support", "messages": [{"role": "user", "content": "Hi"}], "top_p": 0.5, "user": "ann", "logit_bias": {"7": -100}}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	req, losses := b.To("gemini")
	extra, _ := json.Marshal(req.Extra)
	fmt.Println(string(extra))
	for _, l := range losses {
		fmt.Println(l, "- harmless:", l.Harmless)
	}
	// Output:
	// {"generationConfig":{"topP":0.5}}
	// logit_bias can't be carried out: it is a field of OpenAI's chat completions API, and the Gemini API has none for it - harmless: false
	// user is for the provider's own records - harmless: true
}

const (
	asking  = `"max_tokens":9,"messages":[{"role":"user","content":"Hi"}]`
	content = `"contents":[{"role":"user","parts":[{"text":"Hi"}]}]`
)

// least are bodies of one turn, to which a field is added.
var least = map[string]string{"openai": hi, "openai-responses": `"input":"Hi"`, "anthropic": asking, "gemini": content}

// lossesOf writes losses as a trace: harmless ones in brackets.
func lossesOf(losses []body.Loss) string {
	var all []string
	for _, l := range losses {
		if l.Harmless {
			l.Field = "(" + l.Field + ")"
		}
		all = append(all, l.Field)
	}
	slices.Sort(all)
	return strings.Join(slices.Compact(all), " ")
}

// Settings in four protocols: what a model of another is asked, and what is lost.
func TestSettings(t *testing.T) {
	const chat, responses, anthropic, gemini = "openai", "openai-responses", "anthropic", "gemini"
	tool := map[string]string{
		chat: `,"tools":[{"type":"function","function":{"name":"f"}}]`, anthropic: `,"tools":[{"name":"f","input_schema":{"type":"object"}}]`,
		responses: `,"tools":[{"type":"function","name":"f"}]`, gemini: `,"tools":[{"functionDeclarations":[{"name":"f"}]}]`,
	}
	for _, c := range []struct {
		from, field, to string
		extra           string // what is added to the request
		lost            string
	}{
		{chat, `"top_p":0.50`, chat, `{"top_p":0.50}`, ""},
		{chat, `"top_p":0.50`, responses, `{"top_p":0.50}`, ""},
		{chat, `"top_p":0.50`, anthropic, `{"top_p":0.50}`, ""},
		{chat, `"top_p":0.50`, gemini, `{"generationConfig":{"topP":0.50}}`, ""},
		{anthropic, `"thread":{"type":"create"}`, chat, "", "(thread)"},
		{anthropic, `"thread":{"type":"continue","previous_message_id":"msg_1"}`, chat, "", "thread"},
		{gemini, `"generationConfig":{"topP":0.5,"topK":3}`, anthropic, `{"top_k":3,"top_p":0.5}`, ""},
		{gemini, `"generation_config":{"top_p":0.5,"top_k":3}`, chat, `{"top_p":0.5}`, "(generationConfig.topK)"},
		{gemini, `"generationConfig":{"topP":0.5}`, gemini, `{"generationConfig":{"topP":0.5}}`, ""},
		{anthropic, `"top_k":3`, gemini, `{"generationConfig":{"topK":3}}`, ""},
		{chat, `"top_k":3`, anthropic, `{"top_k":3}`, ""},
		{chat, `"frequency_penalty":0.1,"presence_penalty":0`, gemini, `{"generationConfig":{"frequencyPenalty":0.1}}`, ""},
		{chat, `"frequency_penalty":0.1,"presence_penalty":0`, anthropic, ``, "(frequency_penalty)"},

		{chat, `"reasoning_effort":"minimal"`, responses, `{"reasoning":{"effort":"minimal"}}`, ""},
		{chat, `"reasoning_effort":"low"`, gemini, `{"generationConfig":{"thinkingConfig":{"thinkingBudget":1024}}}`, ""},
		{chat, `"reasoning_effort":"none"`, gemini, ``, "(reasoning_effort)"},
		{chat, `"reasoning_effort":"high"`, anthropic, ``, "(reasoning_effort)"},
		{responses, `"reasoning":{"effort":"high","summary":"auto"}`, chat, `{"reasoning_effort":"high"}`, "(reasoning.summary)"},
		{responses, `"reasoning":{"effort":"high","summary":"auto"}`, gemini, `{"generationConfig":{"thinkingConfig":{"includeThoughts":true,"thinkingBudget":24576}}}`, ""},
		{gemini, `"generationConfig":{"thinkingConfig":{"thinkingLevel":"LOW","includeThoughts":true}}`, responses, `{"reasoning":{"effort":"low","summary":"auto"}}`, ""},
		{gemini, `"generationConfig":{"thinkingConfig":{"thinkingBudget":5}}`, chat, ``, "(generationConfig.thinkingConfig.thinkingBudget)"},
		{anthropic, `"thinking":{"type":"enabled","budget_tokens":2000}`, gemini, `{"generationConfig":{"thinkingConfig":{"includeThoughts":true,"thinkingBudget":2000}}}`, ""},
		{anthropic, `"thinking":{"type":"enabled","budget_tokens":2000}`, chat, ``, "(thinking.budget_tokens) (thinking.type)"},
		{anthropic, `"output_config":{"effort":"medium"}`, chat, `{"reasoning_effort":"medium"}`, ""},
		{anthropic, `"output_config":{"effort":"max"}`, chat, ``, "(output_config.effort)"},
		{anthropic, `"output_config":{"effort":"medium"}`, anthropic, `{"output_config":{"effort":"medium"}}`, ""},

		{chat, `"parallel_tool_calls":false` + tool[chat], responses, `{"parallel_tool_calls":false}`, ""},
		{chat, `"parallel_tool_calls":false` + tool[chat], anthropic, `{"tool_choice":{"disable_parallel_tool_use":true,"type":"auto"}}`, ""},
		{chat, `"parallel_tool_calls":false,"tool_choice":"required"` + tool[chat], anthropic, `{"tool_choice":{"disable_parallel_tool_use":true,"type":"any"}}`, ""},
		{chat, `"parallel_tool_calls":false` + tool[chat], gemini, ``, "parallel_tool_calls"},
		{chat, `"parallel_tool_calls":true` + tool[chat], gemini, ``, ""},
		{chat, `"parallel_tool_calls":false,"tool_choice":"required"` + tool[chat], gemini, ``, "(parallel_tool_calls)"},
		{chat, `"parallel_tool_calls":false,"tool_choice":"required","tools":[{"type":"function","function":{"name":"f"}},{"type":"function","function":{"name":"g"}}]`, gemini, ``, "parallel_tool_calls"},
		{anthropic, `"tool_choice":{"type":"tool","name":"f","disable_parallel_tool_use":true}` + tool[anthropic], gemini, ``, "(tool_choice.disable_parallel_tool_use)"},
		{anthropic, `"tool_choice":{"type":"tool","name":"f","disable_parallel_tool_use":true}` + tool[anthropic], chat, `{"parallel_tool_calls":false}`, ""},
		{anthropic, `"tool_choice":{"type":"tool","name":"f","disable_parallel_tool_use":true}` + tool[anthropic], anthropic, `{"tool_choice":{"type":"tool","name":"f","disable_parallel_tool_use":true}}`, ""},

		{chat, `"response_format":{"type":"json_object"}`, responses, `{"text":{"format":{"type":"json_object"}}}`, "(response_format)"},
		{chat, `"response_format":{"type":"json_object"}`, gemini, `{"generationConfig":{"responseMimeType":"application/json"}}`, ""},
		{chat, `"response_format":{"type":"json_object"}`, anthropic, ``, "(response_format)"},
		{responses, `"text":{"format":{"type":"json_object"},"verbosity":"low"}`, chat, `{"response_format":{"type":"json_object"},"verbosity":"low"}`, "(text.format)"},
		{gemini, `"generationConfig":{"responseMimeType":"application/json"}`, chat, `{"response_format":{"type":"json_object"}}`, "(generationConfig.responseMimeType)"},
		{gemini, `"generationConfig":{"responseMimeType":"application/json"}`, gemini, `{"generationConfig":{"responseMimeType":"application/json"}}`, ""},
		{gemini, `"generationConfig":{"responseMimeType":"text/x.enum","responseSchema":{"type":"STRING","enum":["a"]}}`, chat, ``, "generationConfig.responseMimeType"},
		{gemini, `"generationConfig":{"responseMimeType":"text/x.enum"}`, gemini, `{"generationConfig":{"responseMimeType":"text/x.enum"}}`, ""},
		{chat, `"response_format":{"type":"grammar","grammar":"g"}`, chat, `{"response_format":{"type":"grammar","grammar":"g"}}`, ""},
		{chat, `"response_format":{"type":"grammar","grammar":"g"}`, anthropic, ``, "response_format.type"},

		{chat, `"user":"u","metadata":{"a":"b"},"store":true,"service_tier":"flex"`, responses, `{"metadata":{"a":"b"},"service_tier":"flex","store":true,"user":"u"}`, ""},
		{chat, `"user":"u","metadata":{"a":"b"},"store":true,"service_tier":"flex"`, anthropic, ``, "(metadata) (service_tier) (store) (user)"},
		{anthropic, `"metadata":{"user_id":"u"},"service_tier":"auto"`, gemini, ``, "(metadata)"},
		{gemini, `"safetySettings":[{"category":"c","threshold":"t"}],"cachedContent":"c"`, anthropic, ``, "(safetySettings) cachedContent"},
		{gemini, `"cached_content":"c"`, gemini, `{"cachedContent":"c"}`, ""},
		{responses, `"previous_response_id":"r","truncation":"disabled"`, chat, ``, "previous_response_id"},
		{responses, `"previous_response_id":"r"`, responses, `{"previous_response_id":"r"}`, ""},
		{responses, `"include":["message.output_text.logprobs"]`, responses, ``, "include"},
		{chat, `"future":{"a":1}`, chat, `{"future":{"a":1}}`, ""},
		{chat, `"future":{"a":1}`, responses, ``, "future"},

		// The answer could not be given, so even a model of the same protocol is not asked.
		{chat, `"n":2,"logprobs":true,"modalities":["audio"],"audio":{}`, chat, ``, "audio logprobs modalities n"},
		{gemini, `"generationConfig":{"candidateCount":2,"responseLogprobs":true}`, gemini, ``, "generationConfig.candidateCount generationConfig.responseLogprobs"},
		{chat, `"temperature":"hot"`, chat, ``, "temperature"},

		// What a provider runs itself is for its own models.
		{chat, `"tools":[{"type":"custom","custom":{"name":"c"}}]`, chat, `{"tools":[{"type":"custom","custom":{"name":"c"}}]}`, ""},
		{chat, `"tools":[{"type":"custom","custom":{"name":"c"}}]`, gemini, ``, "tools[0].type"},
		{responses, `"tools":[{"type":"web_search"}],"tool_choice":"required"`, anthropic, ``, "tool_choice tools[0].type"},
		{anthropic, `"tools":[{"type":"web_search_20250305","name":"web_search"}]`, anthropic, `{"tools":[{"type":"web_search_20250305","name":"web_search"}]}`, ""},
		{anthropic, `"tools":[{"name":"f","input_schema":{},"cache_control":{"type":"ephemeral"}}]`, anthropic, `{"tools":[{"name":"f","input_schema":{},"cache_control":{"type":"ephemeral"}}]}`, ""},
		{anthropic, `"tools":[{"name":"f","input_schema":{},"cache_control":{"type":"ephemeral"}}]`, chat, ``, "(tools[0].cache_control)"},
		{gemini, `"tools":[{"googleSearch":{}}]`, gemini, `{"tools":[{"googleSearch":{}}]}`, ""},
		{gemini, `"tools":[{"googleSearch":{}}]`, chat, ``, "tools[0].googleSearch"},
	} {
		t.Run(c.from+" "+c.field+" "+c.to, func(t *testing.T) {
			b, err := body.Read(c.from, []byte("{"+least[c.from]+","+c.field+"}"))
			if err != nil {
				t.Fatal(err)
			}
			req, losses := b.To(c.to)
			extra, err := json.Marshal(req.Extra)
			if c.extra == "" {
				c.extra = "null"
			}
			if err != nil || string(extra) != c.extra || lossesOf(losses) != c.lost {
				t.Errorf("got %s, lost %s: %v", extra, lossesOf(losses), losses)
			}
			if len(req.Messages) == 0 || req.Messages[0].Text() != "Hi" {
				t.Errorf("%+v", req.Messages)
			}
		})
	}
}

// What the request has a field for, and the other protocol has none or another range.
func TestSettingsOfTheRequest(t *testing.T) {
	b, err := body.Read("openai", []byte(`{`+hi+`,"seed":5000000000,"temperature":1.5,"stop":["1","2","3","4","5","6"]}`))
	if err != nil {
		t.Fatal(err)
	}
	for to, want := range map[string]string{
		"openai": "", "openai-responses": "(seed) stop", "anthropic": "(seed) (temperature)", "gemini": "(seed) stop",
	} {
		req, losses := b.To(to)
		if lossesOf(losses) != want || (req.Seed == nil) != (to != "openai") || *req.Temperature != map[bool]float64{true: 1, false: 1.5}[to == "anthropic"] {
			t.Errorf("%s: %v %+v", to, losses, req)
		}
	}
}

func TestConversations(t *testing.T) {
	user := func(parts ...llm.Part) llm.Message { return llm.Message{Role: llm.RoleUser, Parts: parts} }
	says := func(parts ...llm.Part) llm.Message { return llm.Message{Role: llm.RoleAssistant, Parts: parts} }
	result := func(results ...llm.Part) llm.Message { return llm.Message{Role: llm.RoleTool, Parts: results} }
	call := func(id, arguments string) llm.ToolCall {
		return llm.ToolCall{ID: id, Name: "f", Arguments: json.RawMessage(arguments)}
	}
	signed := call("1", `{}`)
	signed.Signature = []byte("c2ln")
	sig := "__sig_" + base64.RawURLEncoding.EncodeToString([]byte("c2ln"))
	gif := llm.Image{MediaType: "image/gif", Data: []byte("GIF")}
	for _, c := range []struct {
		name, from, text, to string
		want                 []llm.Message
		lost                 string
	}{
		{"systems", "anthropic", `{"system":[{"type":"text","text":"a","cache_control":{"type":"ephemeral"}},{"type":"text","text":"b"}],"messages":[{"role":"user","content":"Hi"},{"role":"system","content":"c"}]}`, "openai",
			[]llm.Message{{Role: llm.RoleSystem, Parts: []llm.Part{llm.Text("a"), llm.Text("b")}}, llm.User("Hi"), llm.System("c")}, "(system[0].cache_control)"},
		{"a system in snake case, and single parts", "gemini", `{"system_instruction":{"parts":{"text":"a"}},"contents":{"parts":{"text":"Hi"}}}`, "openai",
			[]llm.Message{llm.System("a"), llm.User("Hi")}, ""},
		{"media of Anthropic", "anthropic", `{"messages":[{"role":"user","content":[
			{"type":"image","source":{"type":"base64","media_type":"image/gif","data":"R0lG"}},{"type":"image","source":{"type":"url","url":"https://x.example/a.png"}},
			{"type":"document","title":"t","source":{"type":"base64","media_type":"application/pdf","data":"JVBERg=="}},
			{"type":"document","title":"notes","context":"of May","source":{"type":"text","media_type":"text/plain","data":"n"},"citations":{"enabled":true}},
			{"type":"image","source":{"type":"file","file_id":"file_1"}},{"type":"search_result"}]}]}`, "openai",
			[]llm.Message{user(gif, llm.Image{URL: "https://x.example/a.png"}, llm.Document{MediaType: "application/pdf", Data: []byte("%PDF"), Name: "t"}, llm.Text("of May"), llm.Text("notes"), llm.Text("n"))},
			"(messages[0].content[3]) messages[0].content[3].citations.enabled messages[0].content[4].source.type messages[0].content[5].type"},
		{"media of Gemini", "gemini", `{"contents":[{"parts":[{"inline_data":{"mime_type":"image/gif","data":"R0lG"}},{"inlineData":{"mimeType":"audio/mp3","data":"AAEC"}},{"inlineData":{"mimeType":"text/plain","data":"aGk="}},
			{"fileData":{"fileUri":"gs://b/a.pdf","mimeType":"application/pdf"}},{"fileData":{"fileUri":"https://youtu.be/x"}}]}]}`, "anthropic",
			[]llm.Message{user(gif, llm.Text("hi"))},
			"(contents[0].parts[2].inlineData) contents[0].parts[1] contents[0].parts[3] contents[0].parts[4].fileData.mimeType"},
		{"an address of Google's, for Google", "gemini", `{"contents":[{"parts":[{"fileData":{"fileUri":"gs://b/a.pdf","mimeType":"application/pdf"}}]}]}`, "gemini",
			[]llm.Message{user(llm.Document{MediaType: "application/pdf", URL: "gs://b/a.pdf"})}, ""},
		{"a recording for responses", "openai", `{"messages":[{"role":"user","content":[{"type":"text","text":"Hi"},{"type":"input_audio","input_audio":{"data":"AAEC","format":"wav"}}]}]}`, "openai-responses",
			[]llm.Message{user(llm.Text("Hi"))}, "messages[0].content[1]"},
		{"names, and unknown parts", "openai", `{"messages":[{"role":"user","name":"Ann","content":[{"type":"text","text":"Hi","cache_control":{"type":"ephemeral"}},{"type":"video_url","video_url":{"url":"x"}}]},{"role":"critic","content":"x"}]}`, "openai",
			[]llm.Message{user(llm.Text("Hi"))}, "(messages[0].content[0].cache_control) (messages[0].name) messages[0].content[1].type messages[1].role"},
		{"what OpenAI's SDKs have read of answers, in responses", "openai-responses", `{"input":[{"role":"user","content":"Hi"},
			{"type":"function_call","call_id":"1","name":"f","arguments":"{}","parsed_arguments":{"a":1}},{"type":"function_call_output","call_id":"1","output":"b"},
			{"type":"message","role":"assistant","content":[{"type":"output_text","text":"{}","parsed":{"a":1}}]},{"role":"user","content":"c"}]}`, "anthropic",
			[]llm.Message{llm.User("Hi"), says(call("1", `{}`)), result(llm.ToolResult{CallID: "1", Content: "b"}), says(llm.Text("{}")), llm.User("c")}, ""},
		{"what they have read, in chat completions", "openai", `{"messages":[{"role":"user","content":"Hi"},
			{"role":"assistant","content":null,"parsed":null,"tool_calls":[{"id":"1","type":"function","function":{"name":"f","arguments":"{}","parsed_arguments":{"a":1}}}]},
			{"role":"tool","tool_call_id":"1","content":"b"},{"role":"assistant","content":"{}","parsed":{"a":1}},{"role":"user","content":"c"}]}`, "anthropic",
			[]llm.Message{llm.User("Hi"), says(call("1", `{}`)), result(llm.ToolResult{CallID: "1", Content: "b"}), says(llm.Text("{}")), llm.User("c")}, ""},

		{"thoughts go back", "anthropic", `{"messages":[{"role":"user","content":"Hi"},{"role":"assistant","content":[{"type":"thinking","thinking":"t","signature":"s"},{"type":"server_tool_use","id":"x"},{"type":"text","text":"a"}]},{"role":"user","content":"b"}]}`, "anthropic",
			[]llm.Message{llm.User("Hi"), says(llm.Reasoning{Provider: "anthropic", Data: json.RawMessage(`{"type":"thinking","thinking":"t","signature":"s"}`)}, llm.Reasoning{Provider: "anthropic", Data: json.RawMessage(`{"type":"server_tool_use","id":"x"}`)}, llm.Text("a")), llm.User("b")}, ""},
		{"thoughts are not for others", "anthropic", `{"messages":[{"role":"user","content":"Hi"},{"role":"assistant","content":[{"type":"thinking","thinking":"t","signature":"s"},{"type":"server_tool_use","id":"x"},{"type":"text","text":"a"}]},{"role":"user","content":"b"}]}`, "openai",
			[]llm.Message{llm.User("Hi"), llm.Assistant("a"), llm.User("b")}, "(messages[1].content[0]) messages[1].content[1]"},
		{"thoughts of servers", "openai", `{"messages":[{"role":"user","content":"Hi"},{"role":"assistant","content":"a","reasoning_content":"r"},{"role":"user","content":"b"}]}`, "openai",
			[]llm.Message{llm.User("Hi"), says(llm.Reasoning{Provider: "openai", Data: json.RawMessage(`{"reasoning_content":"r"}`)}, llm.Text("a")), llm.User("b")}, ""},
		{"thoughts of servers for others", "openai", `{"messages":[{"role":"user","content":"Hi"},{"role":"assistant","content":"a","reasoning_content":"r"},{"role":"user","content":"b"}]}`, "gemini",
			[]llm.Message{llm.User("Hi"), llm.Assistant("a"), llm.User("b")}, "(messages[1].reasoning_content)"},
		{"thoughts of Gemini", "gemini", `{"contents":[{"parts":[{"text":"Hi"}]},{"role":"model","parts":[{"text":"t","thought":true},{"text":"a","thoughtSignature":"s1"},{"text":"","thoughtSignature":"s2"}]},{"role":"model","parts":[{"functionCall":{"name":"f","args":{"x":1}},"thoughtSignature":"s3"}]},{"role":"user","parts":[{"functionResponse":{"name":"f","response":{"output":"o"}}}]}]}`, "gemini",
			[]llm.Message{llm.User("Hi"), says(llm.Reasoning{Provider: "gemini", Data: json.RawMessage(`{"text":"t","thought":true}`)}, llm.Text("a"), llm.Reasoning{Provider: "gemini", Data: json.RawMessage(`{"thoughtSignature":"s1"}`)},
				llm.Reasoning{Provider: "gemini", Data: json.RawMessage(`{"text":"","thoughtSignature":"s2"}`)},
				llm.ToolCall{ID: "gemini-call-1", Name: "f", Arguments: json.RawMessage(`{"x":1}`), Signature: []byte("s3")}), result(llm.ToolResult{CallID: "gemini-call-1", Content: "o"})}, ""},
		{"thoughts of Gemini for others", "gemini", `{"contents":[{"parts":[{"text":"Hi"}]},{"role":"model","parts":[{"text":"t","thought":true},{"text":"a","thoughtSignature":"s1"},{"executableCode":{}}]},{"parts":[{"text":"b"}]}]}`, "anthropic",
			[]llm.Message{llm.User("Hi"), llm.Assistant("a"), llm.User("b")}, "(contents[1].parts[0]) (contents[1].parts[1]) contents[1].parts[2]"},

		{"functions without IDs, in turn", "gemini", `{"contents":[{"parts":[{"text":"Hi"}]},{"role":"model","parts":[{"functionCall":{"name":"f","args":{"x":1}}},{"functionCall":{"name":"f","args":{"x":2}}}]},
			{"role":"function","parts":[{"functionResponse":{"name":"f","response":{"error":"e"}}},{"functionResponse":{"name":"f","response":{"a":1, "b":2}}}]}]}`, "openai",
			[]llm.Message{llm.User("Hi"), says(call("gemini-call-1", `{"x":1}`), call("gemini-call-2", `{"x":2}`)), result(llm.ToolResult{CallID: "gemini-call-1", Content: "e", IsError: true}, llm.ToolResult{CallID: "gemini-call-2", Content: `{"a":1,"b":2}`})}, ""},
		{"results first, pictures after them", "anthropic", `{"messages":[{"role":"user","content":"Hi"},{"role":"assistant","content":[{"type":"tool_use","id":"1","name":"f","input":{}}]},
			{"role":"user","content":[{"type":"text","text":"look"},{"type":"tool_result","tool_use_id":"1","is_error":true,"content":[{"type":"text","text":"r"},{"type":"image","source":{"type":"base64","media_type":"image/gif","data":"R0lG"}}]}]}]}`, "openai",
			[]llm.Message{llm.User("Hi"), says(call("1", `{}`)), result(llm.ToolResult{CallID: "1", Content: "r", IsError: true}), user(gif, llm.Text("look"))}, "(messages[2].content[1].content[1])"},
		{"pictures after all results", "openai-responses", `{"input":[{"role":"user","content":"Hi"},{"type":"function_call","call_id":"1","name":"f","arguments":"{}"},{"type":"function_call","call_id":"2","name":"f","arguments":"{}"},
			{"type":"function_call_output","call_id":"1","output":[{"type":"input_image","image_url":"data:image/gif;base64,R0lG"}]},{"type":"function_call_output","call_id":"2","output":"r"},{"role":"assistant","content":"a"}]}`, "anthropic",
			[]llm.Message{llm.User("Hi"), says(call("1", `{}`), call("2", `{}`)), result(llm.ToolResult{CallID: "1"}, llm.ToolResult{CallID: "2", Content: "r"}), user(gif), llm.Assistant("a")}, "(input[3].output[0])"},
		{"a signature within an ID", "openai", `{"messages":[{"role":"user","content":"Hi"},{"role":"assistant","tool_calls":[{"id":"1` + sig + `","index":0,"type":"function","function":{"name":"f","arguments":"{}"}}]},{"role":"tool","tool_call_id":"1` + sig + `","content":"r"}]}`, "gemini",
			[]llm.Message{llm.User("Hi"), says(signed), result(llm.ToolResult{CallID: "1", Content: "r"})}, ""},
		{"the same in Anthropic's", "anthropic", `{"messages":[{"role":"user","content":"Hi"},{"role":"assistant","content":[{"type":"tool_use","id":"1` + sig + `","name":"f","input":{}}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"1` + sig + `","content":"r"}]}]}`, "gemini",
			[]llm.Message{llm.User("Hi"), says(signed), result(llm.ToolResult{CallID: "1", Content: "r"})}, ""},
		{"the beginning of an answer", "anthropic", `{"messages":[{"role":"user","content":"Hi"},{"role":"assistant","content":"{"}]}`, "anthropic",
			[]llm.Message{llm.User("Hi"), llm.Assistant("{")}, ""},
		{"the beginning of an answer for others", "anthropic", `{"messages":[{"role":"user","content":"Hi"},{"role":"assistant","content":"{"}]}`, "openai",
			[]llm.Message{llm.User("Hi"), llm.Assistant("{")}, "messages[1].content"},
		{"JSON that is asked for", "openai", `{"messages":[{"role":"system","content":"In Json!"},{"role":"user","content":"Hi"}],"response_format":{"type":"json_object"}}`, "anthropic",
			[]llm.Message{llm.System("In Json!"), llm.User("Hi")}, "(response_format)"},
		{"JSON that is asked for in the instructions", "openai", `{"messages":[{"role":"system","content":"In Json!"},{"role":"user","content":"Hi"}],"response_format":{"type":"json_object"}}`, "openai-responses",
			[]llm.Message{llm.System("In Json!"), llm.User("Hi"), llm.System("Answer in JSON.")}, "(response_format)"},
		{"JSON that is not asked for", "gemini", `{"contents":[{"parts":[{"text":"Hi"}]}],"generationConfig":{"responseMimeType":"application/json"}}`, "openai",
			[]llm.Message{llm.User("Hi"), llm.System("Answer in JSON.")}, "(generationConfig.responseMimeType)"},
		{"a result without a call", "anthropic", `{"messages":[{"role":"user","content":[{"type":"tool_result","tool_use_id":"1"}]}]}`, "openai",
			[]llm.Message{result(llm.ToolResult{CallID: "1"})}, "messages"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b, err := body.Read(c.from, []byte(c.text))
			if err != nil {
				t.Fatal(err)
			}
			req, losses := b.To(c.to)
			got, _ := json.Marshal(req.Messages)
			want, _ := json.Marshal(c.want)
			if string(got) != string(want) || lossesOf(losses) != c.lost {
				t.Errorf("got  %s\nwant %s\nlost %v", got, want, losses)
			}
			if b.Signed != strings.Contains(c.text, sig) {
				t.Errorf("signed: %v", b.Signed)
			}
		})
	}
}

// Of several tools some may be allowed: others get those alone.
func TestAllowedTools(t *testing.T) {
	for _, c := range []struct{ from, fields, force string }{
		{"openai", `"tools":[{"type":"function","function":{"name":"f"}},{"type":"function","function":{"name":"g"}},{"type":"function","function":{"name":"h"}}],"tool_choice":{"type":"allowed_tools","allowed_tools":{"mode":"required","tools":[{"type":"function","function":{"name":"f"}},{"type":"function","function":{"name":"h"}}]}}`, "*"},
		{"openai-responses", `"tools":[{"type":"function","name":"f"},{"type":"function","name":"g"},{"type":"function","name":"h"}],"tool_choice":{"type":"allowed_tools","mode":"auto","tools":[{"type":"function","name":"f"},{"type":"function","name":"h"}]}`, ""},
		{"gemini", `"tools":[{"functionDeclarations":[{"name":"f"},{"name":"g"}]},{"function_declarations":[{"name":"h"}]}],"toolConfig":{"functionCallingConfig":{"mode":"ANY","allowedFunctionNames":["f","h"]}}`, "*"},
	} {
		b, err := body.Read(c.from, []byte("{"+least[c.from]+","+c.fields+"}"))
		if err != nil {
			t.Fatal(err)
		}
		for to := range least {
			req, losses := b.To(to)
			var names []string
			for _, tool := range req.Tools {
				names = append(names, tool.Name)
			}
			want, force := "f h", c.force
			if to == c.from {
				want, force = "f g h", "" // and Extra has the choice
			}
			if strings.Join(names, " ") != want || req.ForceTool != force || len(losses) > 0 || len(req.Extra) != map[bool]int{true: 1}[to == c.from] {
				t.Errorf("%s to %s: %v %q %v %v", c.from, to, names, req.ForceTool, req.Extra, losses)
			}
		}
	}
}

// What a call has made of the request is translated as the body is: turns that it added, and
// settings of its own.
func TestARequestThatWasMadeOfTheBody(t *testing.T) {
	b, err := body.Read("openai", []byte(`{"messages":[{"role":"user","content":[{"type":"text","text":"Hi"},{"type":"input_audio","input_audio":{"data":"AAEC","format":"wav"}}]},{"role":"assistant","content":"a","reasoning_content":"r"},{"role":"user","content":"b"}],"seed":1,"top_p":0.5,"user":"u"}`))
	if err != nil {
		t.Fatal(err)
	}
	own, _ := b.To("openai")
	wrong := llm.Message{Role: llm.RoleAssistant, Parts: []llm.Part{llm.Reasoning{Provider: "acme", Data: json.RawMessage(`{}`)}, llm.Text("wrong")}}
	req := &llm.Request{Messages: slices.Concat([]llm.Message{llm.System("s")}, own.Messages, []llm.Message{wrong, llm.User("again")}), Seed: own.Seed, MaxTokens: 7, Extra: map[string]any{"top_p": 0.9}}
	got, losses := b.For("anthropic", req)
	want := []llm.Message{llm.System("s"), llm.User("Hi"), llm.Assistant("a"), llm.User("b"), wrong, llm.User("again")}
	if !reflect.DeepEqual(got.Messages, want) || got.Seed != nil || got.MaxTokens != 7 || !reflect.DeepEqual(got.Extra, map[string]any{"top_p": 0.9}) ||
		lossesOf(losses) != "(messages[1].reasoning_content) (seed) (user) messages[0].content[1]" {
		t.Errorf("%+v %v", got, losses)
	}
	if len(req.Messages) != 6 || req.Seed == nil || len(req.Messages[1].Parts) != 2 {
		t.Errorf("the request was modified: %+v", req)
	}
	got, losses = b.For("openai", req)
	if len(losses) > 0 || len(got.Messages) != 6 || !reflect.DeepEqual(got.Extra, map[string]any{"top_p": 0.9, "user": json.RawMessage(`"u"`)}) {
		t.Errorf("%+v %v", got, losses)
	}
}

// A schema has its place in each protocol, and its properties keep their order.
func TestSchemas(t *testing.T) {
	const schema = `{"type":"object","properties":{"b":{"type":"string"},"a":{"type":"integer"}}}`
	for name, field := range map[string]string{
		"openai":           `"response_format":{"type":"json_schema","json_schema":{"name":"answer","schema":` + schema + `}}`,
		"openai-responses": `"text":{"format":{"type":"json_schema","name":"answer","schema":` + schema + `}}`,
		"anthropic":        `"output_config":{"format":{"type":"json_schema","schema":` + schema + `}}`,
		"gemini":           `"generationConfig":{"responseMimeType":"application/json","responseJsonSchema":` + schema + `}`,
	} {
		b, err := body.Read(name, []byte("{"+least[name]+","+field+"}"))
		if err != nil {
			t.Fatal(err)
		}
		for to := range least {
			if req, losses := b.To(to); req.Schema == nil || req.Schema.Name != "answer" || string(req.Schema.JSON) != schema || len(losses) > 0 || req.Extra != nil && to != name {
				t.Errorf("%s to %s: %+v %v", name, to, req, losses)
			}
		}
	}
}

// The form of Gemini's own, a part of OpenAPI 3.0, becomes a JSON Schema.
func TestSchemasOfOpenAPI(t *testing.T) {
	for own, want := range map[string]string{
		`{"type":"OBJECT","properties":{"b":{"type":"STRING","nullable":true},"a":{"type":"ARRAY","items":{"type":"INTEGER","format":"int32"},"minItems":"1"}},"propertyOrdering":["a"],"required":["b"],"example":{}}`: `{"type":"object","properties":{"a":{"type":"array","items":{"type":"integer","format":"int32"},"minItems":1},"b":{"anyOf":[{"type":"string"},{"type":"null"}]}},"required":["b"]}`,
		`{"any_of":[{"type":"STRING","format":"enum","enum":["x"]},{"type":"NUMBER","max_items":3}]}`:                                                                                                                   `{"anyOf":[{"type":"string","enum":["x"]},{"type":"number","maxItems":3}]}`,
	} {
		b, err := body.Read("gemini", []byte("{"+content+`,"generationConfig":{"responseMimeType":"application/json","responseSchema":`+own+`},"tools":[{"functionDeclarations":[{"name":"f","parameters":`+own+`}]}]}`))
		if err != nil {
			t.Fatal(err)
		}
		if req, losses := b.To("openai"); len(losses) > 0 || string(req.Schema.JSON) != want || string(req.Tools[0].Parameters) != want {
			t.Errorf("%s\ngot  %+v %v\nwant %s", own, req, losses, want)
		}
	}
}

// Only what is not of the protocol's form at all is an error.
func TestWhatIsNoBody(t *testing.T) {
	for _, c := range []struct{ protocol, text, want string }{
		{"openai", ``, "is not JSON"},
		{"openai", `[]`, "must be an object, got a list"},
		{"openai", `{}`, "messages must be a list, got nothing"},
		{"openai", `{"messages":[]}`, "messages must have at least one message, got none"},
		{"openai", `{"model":5,` + hi + `}`, "model must be a string, got 5"},
		{"openai-responses", `{}`, "input must be a string or a list of items, got nothing"},
		{"anthropic", `{"messages":"Hi"}`, `messages must be a list, got "Hi"`},
		{"anthropic", `{"messages":[]}`, "messages must have at least one message, got none"},
		{"gemini", `{"prompt":"Hi"}`, "contents must be a list, got nothing"},
		{"gemini", `{"contents":[]}`, "contents must have at least one content, got none"},
		{"cohere", `{}`, `has an unknown protocol: must be openai, openai-responses, anthropic, gemini, got "cohere"`},
	} {
		problem(t, c.text, c.want, func(text []byte) (*body.Body, error) { return body.Read(c.protocol, text) })
	}
}

func TestStreams(t *testing.T) {
	for _, c := range []struct {
		protocol, field string
		stream, usage   bool
	}{
		{"openai", `"stream":true,"stream_options":{"include_usage":true}`, true, true},
		{"openai", `"stream":true,"stream_options":null`, true, false},
		{"openai", `"stream":false`, false, false},
		{"openai-responses", `"stream":true`, true, false},
		{"anthropic", `"stream":true`, true, false},
	} {
		b, err := body.Read(c.protocol, []byte("{"+least[c.protocol]+`,"model":"m",`+c.field+"}"))
		if err != nil || b.Stream != c.stream || b.IncludeUsage != c.usage || b.Model != "m" || b.Protocol != c.protocol {
			t.Errorf("%+v: %+v, %v", c, b, err)
		}
		if _, losses := b.To("gemini"); len(losses) > 0 {
			t.Errorf("%+v: %v", c, losses)
		}
	}
}

// Nothing that is read ends in a panic or in a loss without a reason, and what is asked can
// be written. The server's side, which refuses more, understands the same.
func FuzzRead(f *testing.F) {
	for name, seeds := range map[string][]string{
		"openai": {`"n":2,"tools":[{"type":"function","function":{"name":"f","strict":true}}],"tool_choice":"required","response_format":{"type":"json_object"}`,
			`"messages":[{"role":"assistant","reasoning_content":"r","tool_calls":[{"id":"1__sig_YQ","function":{"name":"f","arguments":"{"}}]},{"role":"tool","tool_call_id":"1__sig_YQ","content":[{"type":"image_url","image_url":"data:,x"}]}]`},
		"openai-responses": {`"reasoning":{"effort":"low"},"text":{"verbosity":"low","format":{"type":"json_object"}}`,
			`"input":[{"role":"user","content":"a"},{"type":"function_call","call_id":"1","name":"f","arguments":"{}"},{"type":"function_call_output","call_id":"1","output":[{"type":"input_file","file_url":"https://x"}]},{"type":"reasoning"}]`},
		"anthropic": {`"system":[{"type":"text","text":"s"}],"thinking":{"type":"enabled","budget_tokens":1},"tool_choice":{"type":"any","disable_parallel_tool_use":true},"tools":[{"name":"f","input_schema":{}}]`,
			`"messages":[{"role":"user","content":[{"type":"document","source":{"type":"content","content":[{"type":"text","text":"x"}]}}]},{"role":"assistant","content":[{"type":"thinking"},{"type":"tool_use","id":"1","name":"f","input":{}}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"1","content":"r"}]}]`},
		"gemini": {`"generation_config":{"response_mime_type":"application/json","response_schema":{"type":"OBJECT","properties":{"a":{"nullable":true}},"propertyOrdering":["a"]},"thinkingConfig":{"thinkingLevel":"LOW"}}`,
			`"contents":[{"parts":{"text":"x"}},{"role":"model","parts":[{"functionCall":{"name":"f"}},{"text":"","thoughtSignature":"s"}]},{"parts":[{"functionResponse":{"name":"f","response":{"output":1},"parts":[{"inlineData":{"mimeType":"image/png","data":""}}]}}]}]`},
	} {
		for _, field := range seeds {
			f.Add(name, []byte("{"+least[name]+","+field+"}"))
		}
	}
	served := map[string]protocol.Protocol{"openai": protocol.Chat{}, "openai-responses": protocol.Responses{}, "anthropic": protocol.Messages{}, "gemini": protocol.Gemini{}}
	f.Fuzz(func(t *testing.T, name string, text []byte) {
		if least[name] == "" {
			return
		}
		text = asOneSpells(text)
		b, err := body.Read(name, text)
		if err != nil {
			if _, ok := errors.AsType[*body.Error](err); !ok {
				t.Fatalf("%s: %T %v", text, err, err)
			}
			return
		}
		harm := false
		for to := range least {
			req, losses := b.To(to)
			if written, err := json.Marshal(req); err != nil {
				t.Fatalf("%s: %s, %v", text, written, err)
			}
			for _, l := range losses {
				harm = harm || !l.Harmless
				if l.Field == "" || l.Problem == "" {
					t.Fatalf("%s to %s: %+v", text, to, l)
				}
			}
		}
		understood, refused := served[name].Read(&protocol.Incoming{Path: "/v1beta/models/m:generateContent", Body: text})
		if refused != nil || harm {
			return
		}
		if name != "gemini" && (b.Model != understood.Model || b.Stream != understood.Stream) ||
			b.Request.MaxTokens != understood.MaxTokens || len(b.Request.Stop) != len(understood.Stop) || understood.Tool != "" && b.Request.ForceTool == "" {
			t.Fatalf("%s: %+v, %+v", text, b.Request, understood)
		}
	})
}

// What is not as the protocol has it is lost, by its place, and the rest is read. A provider
// of the protocol says so itself, where the body is sent as it is.
func TestWhatIsMalformed(t *testing.T) {
	user := func(block string) string { return `"messages":[{"role":"user","content":["Hi",` + block + `]}]` }
	said := func(block string) string {
		return `"messages":[{"role":"user","content":"Hi"},{"role":"assistant","content":[` + block + `]}]`
	}
	part := func(part string) string { return `"contents":[{"parts":[{"text":"Hi"},` + part + `]}]` }
	answer := func(part string) string {
		return `"contents":[{"parts":[{"text":"Hi"}]},{"role":"model","parts":[` + part + `]}]`
	}
	for _, c := range []struct{ protocol, field, want string }{
		{"anthropic", `"max_tokens":0`, "max_tokens must be a whole number >= 1, got 0"},
		{"anthropic", `"stop_sequences":[5]`, "stop_sequences must be a string or a list of strings, got a list"},
		{"anthropic", `"system":[{"type":"image"}]`, `system[0].type must be "text", got "image"`},
		{"anthropic", `"output_config":{"format":{"type":"xml"}}`, `output_config.format.type must be "json_schema", got "xml"`},
		{"anthropic", `"output_format":{"type":"json_schema"}`, "output_format.schema must be an object, got nothing"},
		{"anthropic", `"tools":[{"name":"f"}]`, "tools[0].input_schema must be an object, got nothing"},
		{"anthropic", `"tools":[{"name":"f","input_schema":{},"defer_loading":true}]`, "tools[0].defer_loading can't be carried out: known fields are "},
		{"anthropic", `"tool_choice":{"type":"any"}`, "tool_choice must be left out: there are no tools"},
		{"anthropic", `"tool_choice":{"type":"all"},"tools":[{"name":"f","input_schema":{}}]`, `tool_choice.type must be "auto", "any", "tool" or "none", got "all"`},
		{"anthropic", `"tool_choice":{"type":"tool","name":"g"},"tools":[{"name":"f","input_schema":{}}]`, "tool_choice.name must be the name of a tool: f"},
		{"anthropic", `"messages":[{"role":"critic","content":"Hi"}]`, `messages[0].role must be user, assistant or system, got "critic"`},
		{"anthropic", `"messages":[{"role":"user","content":[]}]`, "messages[0].content must not be empty"},
		{"anthropic", `"messages":[{"role":"user","content":5}]`, "messages[0].content must be a string or a list of blocks, got 5"},
		{"anthropic", user(`{"type":"image"}`), `messages[0].content[0] must be an object, got "Hi"`},
		{"anthropic", user(`{"type":"image","source":{"type":"base64","media_type":"image/png","data":"%"}}`), "messages[0].content[1].source.data is a data URI"},
		{"anthropic", user(`{"type":"image","source":{"type":"url","url":"ftp://x"}}`), `messages[0].content[1].source.url must be an http(s) address or a data URI, got "ftp://x"`},
		{"anthropic", user(`{"type":"document","source":{"type":"drive"}}`), `messages[0].content[1].source.type must be base64, url, text, content or file, got "drive"`},
		{"anthropic", user(`{"type":"tool_result","tool_use_id":5}`), "messages[0].content[1].tool_use_id must be a string, got 5"},
		{"anthropic", user(`{"type":"tool_result","tool_use_id":"1","is_error":"yes"}`), `messages[0].content[1].is_error must be true or false, got "yes"`},
		{"anthropic", said(`{"type":"tool_use","id":"1","name":"f","input":"x"}`), `messages[1].content[0].input must be an object, got "x"`},
		{"anthropic", said(`{"text":"x"}`), "messages[1].content[0].type must be a string, got nothing"},
		{"gemini", `"generationConfig":[]`, "generationConfig must be an object, got a list"},
		{"gemini", `"generationConfig":{"maxOutputTokens":"many"}`, `generationConfig.maxOutputTokens must be a whole number >= 1, got "many"`},
		{"gemini", `"generationConfig":{"responseSchema":{"type":"STRING"}}`, `generationConfig.responseMimeType must be application/json with a schema, got ""`},
		{"gemini", `"generationConfig":{"responseMimeType":"application/json","responseSchema":{"properties":5}}`, "generationConfig.responseSchema.properties must be an object, got 5"},
		{"gemini", `"generationConfig":{"responseMimeType":"application/json","responseSchema":{"propertyOrdering":5}}`, "generationConfig.responseSchema.propertyOrdering must be a list of strings, got 5"},
		{"gemini", `"generationConfig":{"responseMimeType":"application/json","responseSchema":{"nullable":5}}`, "generationConfig.responseSchema.nullable must be true or false, got 5"},
		{"gemini", `"generationConfig":{"responseMimeType":"application/json","responseSchema":{"anyOf":[5]}}`, "generationConfig.responseSchema.anyOf[0] must be an object, got 5"},
		{"gemini", `"tools":[{"functionDeclarations":[{"description":"d"}]}]`, "tools[0].functionDeclarations[0].name must be a string, got nothing"},
		{"gemini", `"toolConfig":{"functionCallingConfig":{"mode":"SOME"}}`, `toolConfig.functionCallingConfig.mode must be "AUTO", "ANY", "NONE" or "VALIDATED", got "SOME"`},
		{"gemini", `"toolConfig":{"functionCallingConfig":{"allowedFunctionNames":5}}`, "toolConfig.functionCallingConfig.allowedFunctionNames must be a list of strings, got 5"},
		{"gemini", `"systemInstruction":"Be short."`, `systemInstruction must be an object, got "Be short."`},
		{"gemini", `"systemInstruction":{"parts":[{"inlineData":{}}]}`, "systemInstruction.parts[0].text must be a string, got nothing"},
		{"gemini", `"contents":[{"role":"critic","parts":[]}]`, `contents[0].role must be "user" or "model", got "critic"`},
		{"gemini", part(`{"videoMetadata":{}}`), "contents[0].parts[1] must be a part with text, inlineData, fileData or functionResponse, got an object"},
		{"gemini", part(`{"inlineData":{"mimeType":"video/mp4","data":"AAEC"}}`), `contents[0].parts[1].inlineData.mimeType must be the type of a picture, a recording or application/pdf, got "video/mp4"`},
		{"gemini", part(`{"functionResponse":{"name":"f","response":{}}}`), `contents[0].parts[1].functionResponse is of the function "f" (ID ""), and there is no such call before it`},
		{"gemini", answer(`{"functionCall":{"name":"f","args":[]}}`), "contents[1].parts[0].functionCall.args must be an object, got a list"},
		{"gemini", answer(`{"text":5}`), "contents[1].parts[0].text must be a string, got 5"},
		{"openai", `"stream_options":5`, "stream_options must be an object, got 5"},
		{"openai", `"messages":[{"role":"user","content":[{"type":"input_audio","input_audio":{"data":"AAEC"}}]}]`, "messages[0].content[0].input_audio.format must be a string, got nothing"},
		{"openai", `"tools":[{"type":"function","function":{"name":"f"}}],"tool_choice":{"type":"allowed_tools","mode":"all"}`, `tool_choice.mode must be "auto" or "required", got "all"`},
		{"openai-responses", `"instructions":5`, "instructions must be a string, got 5"},
		{"openai-responses", `"input":[{"type":"computer_call"}]`, "input[0].type must be message, function_call, function_call_output or reasoning"},
	} {
		b, err := body.Read(c.protocol, []byte("{"+least[c.protocol]+","+c.field+"}"))
		if err != nil {
			t.Errorf("%s: %v", c.field, err)
			continue
		}
		_, losses := b.To(map[bool]string{true: "openai", false: "gemini"}[c.protocol == "gemini"])
		if !slices.ContainsFunc(losses, func(l body.Loss) bool { return !l.Harmless && strings.HasPrefix(l.Error(), c.want) }) {
			t.Errorf("%s: lost %v, want %s", c.field, losses, c.want)
		}
	}
}

// A function's response may have pictures, and a schema a description beside it.
func TestWhatIsBeside(t *testing.T) {
	b, err := body.Read("gemini", []byte(`{"contents":[{"parts":[{"text":"Hi"}]},{"role":"model","parts":[{"functionCall":{"id":"7","name":"f"}}]},{"parts":[{"functionResponse":{"id":"7","name":"f","response":{"output":{"a": 1}},"parts":[{"inlineData":{"mimeType":"image/gif","data":"R0lG"}},{"text":"t"}]}}]}]}`))
	if err != nil {
		t.Fatal(err)
	}
	req, losses := b.To("openai")
	want := []llm.Message{llm.User("Hi"), {Role: llm.RoleAssistant, Parts: []llm.Part{llm.ToolCall{ID: "7", Name: "f", Arguments: json.RawMessage(`{}`)}}},
		{Role: llm.RoleTool, Parts: []llm.Part{llm.ToolResult{CallID: "7", Content: "{\"a\": 1}\nt"}}}, {Role: llm.RoleUser, Parts: []llm.Part{llm.Image{MediaType: "image/gif", Data: []byte("GIF")}}}}
	if !reflect.DeepEqual(req.Messages, want) || lossesOf(losses) != "(contents[2].parts[0].functionResponse.parts[0])" {
		t.Errorf("%+v %v", req.Messages, losses)
	}
	for schema, want := range map[string]string{
		`{"type":"object"}`:                   `{"description":"a \"city\"","type":"object"}`,
		`{}`:                                  `{"description":"a \"city\""}`,
		`{"type":"object","description":"d"}`: `{"type":"object","description":"d"}`,
	} {
		b, err := body.Read("openai", []byte(`{`+hi+`,"response_format":{"type":"json_schema","json_schema":{"name":"x","description":"a \"city\"","schema":`+schema+`}}}`))
		if err != nil {
			t.Fatal(err)
		}
		if req, losses := b.To("anthropic"); string(req.Schema.JSON) != want || len(losses) > 0 {
			t.Errorf("%s %v", req.Schema.JSON, losses)
		}
	}
}
