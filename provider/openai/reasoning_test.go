package openai_test

import (
	"cmp"
	"encoding/json"
	"strings"
	"testing"

	"llmcall/llm"
	"llmcall/provider/internal/providertest"
	"llmcall/provider/openai"
)

func TestWhatAModelThoughtGoesBackToItsServer(t *testing.T) {
	const call = `"tool_calls":[{"index":0,"id":"1","type":"function","function":{"name":"f","arguments":"{}"}}]`
	for _, step := range []struct {
		name    string
		message string   // in one piece
		deltas  []string // in a stream
		want    string   // the fields that go back; "" if there are none
	}{
		{"DeepSeek", `"content":"x","reasoning_content":"Hm, well."`, []string{`"reasoning_content":"Hm, "`, `"reasoning_content":"well."`, `"content":"x","reasoning_content":null`}, `{"reasoning_content":"Hm, well."}`},
		{"vLLM, Groq, Ollama", `"content":"x","reasoning":"Hm."`, []string{`"reasoning":"H"`, `"reasoning":"m."`, `"content":"x"`}, `{"reasoning":"Hm."}`},
		{"OpenRouter", `"content":"x","reasoning":"Hm.","reasoning_details":[{"type":"reasoning.text","text":"Hm.","signature":"s1","format":"f","index":0},{"type":"reasoning.encrypted","data":"abcd","id":"r","index":1},{"type":"reasoning.summary","summary":"No."}]`,
			[]string{`"reasoning":"H","reasoning_details":[{"type":"reasoning.text","text":"H","signature":null,"format":"f","index":0}]`,
				`"reasoning":"m.","reasoning_details":[{"type":"reasoning.text","text":"m.","format":null,"index":0}]`,
				`"reasoning_details":[{"type":"reasoning.text","text":"","signature":"s1","index":0},{"type":"reasoning.encrypted","data":"ab","id":"r","index":1}]`,
				`"reasoning_details":[{"type":"reasoning.encrypted","data":"cd","index":1}]`, `"reasoning_details":[{"type":"reasoning.summary","summary":"No."}]`, `"content":"x"`},
			`{"reasoning_details":[{"type":"reasoning.text","text":"Hm.","signature":"s1","format":"f","index":0},{"type":"reasoning.encrypted","data":"abcd","id":"r","index":1},{"type":"reasoning.summary","summary":"No."}]}`},
		{"nothing thought", `"content":"x","reasoning_content":""`, []string{`"reasoning_content":""`, `"content":"x"`}, ""},
		{"nothing thought, and a call", `"content":"x","reasoning_content":"",` + call, []string{`"reasoning_content":""`, `"content":"x",` + call}, `{"reasoning_content":""}`},
		{"null", `"content":"x","reasoning_content":null,"reasoning_details":null,` + call, []string{`"reasoning":null`, `"content":"x",` + call}, ""},
		{"odd types", `"content":"x","reasoning_content":{"a":1},"reasoning":7,"reasoning_details":"x"`, []string{`"reasoning_details":[7]`, `"reasoning_details":[null,{}]`, `"content":"x","reasoning":[]`}, ""},
	} {
		e := providertest.NewEcho(t, reply(200, hello))
		m, err := openai.New("m", openai.Options{Server: "deepseek", BaseURL: e.URL, HTTPClient: e.Client()})
		if err != nil {
			t.Fatal(err)
		}
		e.Handle = reply(200, `{"choices":[{"message":{"role":"assistant",`+step.message+`},"finish_reason":"stop"}]}`)
		whole, err := m.Complete(t.Context(), llm.Prompt("x"))
		if err != nil {
			t.Fatal(err)
		}
		var texts []string
		for _, d := range step.deltas {
			texts = append(texts, `{"choices":[{"index":0,"delta":{`+d+`}}]}`)
		}
		e.Handle = events(append(texts, stopped("stop"), done)...)
		pieces, err := providertest.Streamed(t, t.Context(), m, llm.Prompt("x"))
		if err != nil {
			t.Fatal(err)
		}
		e.Handle = reply(200, hello)
		for _, answer := range []*llm.Response{whole, pieces} {
			if answer.Text() != "x" {
				t.Errorf("%s: got %+v", step.name, answer)
			}
			_, err := m.Complete(t.Context(), &llm.Request{Messages: []llm.Message{llm.User("x"), answer.Message}})
			var sent struct {
				Messages []map[string]json.RawMessage `json:"messages"`
			}
			if json.Unmarshal(e.Body, &sent) != nil || err != nil {
				t.Fatalf("%v, sent %s", err, e.Body)
			}
			back := sent.Messages[1]
			delete(back, "role")
			delete(back, "content")
			delete(back, "tool_calls")
			got, _ := json.Marshal(back)
			if !same(t, string(got), cmp.Or(step.want, "{}")) {
				t.Errorf("%s: went back: %s", step.name, got)
			}
			other, err := openai.New("m", openai.Options{Server: "vllm", BaseURL: e.URL, HTTPClient: e.Client()})
			if err != nil {
				t.Fatal(err)
			}
			if got := e.Sent(t, other, &llm.Request{Messages: []llm.Message{answer.Message}}); strings.Contains(got, "reasoning") {
				t.Errorf("%s: another server was told: %s", step.name, got)
			}
		}
	}
}
