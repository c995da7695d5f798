package openai

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"testing"

	"llmcall/failure"
	"llmcall/llm"
	"llmcall/provider/internal/wire"
)

func FuzzResponse(f *testing.F) {
	for _, body := range []string{
		`{"choices":[{"message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":1}}`,
		`{"choices":[{"message":{"tool_calls":[{"id":"1","function":{"name":"f","arguments":"{}"}}]},"finish_reason":"tool_calls"}]}`,
		`{"choices":[{"error":{"code":502},"finish_reason":"error"}]}`, `{"error":{"code":429}}`, `{"Choices":[{}]}`,
		`{"choices":[null]}`, `{"choices":{"a":1}}`, `null`, `[]`, ``, `{"choices":[{"message":{"refusal":"no"}}]}`,
	} {
		f.Add([]byte(body))
	}
	m, err := New("x", Options{BaseURL: "http://127.0.0.1:1"})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, read := range []wire.Dialect{chatDialect{}, itemDialect{}} {
			x := wire.Exchange{Endpoint: m.endpoint, Status: 200, Body: body, Response: &http.Response{}}
			answer, err := x.Answer(read)
			var failed *failure.Error
			if answer == nil && err == nil || err != nil && !errors.As(err, &failed) {
				t.Errorf("%q: %v, %v", body, answer, err)
			}
		}
	})
}

// What was thought is a part of the output, however the server counts it.
func TestUsage(t *testing.T) {
	m, err := New("x", Options{BaseURL: "http://127.0.0.1:1"})
	if err != nil {
		t.Fatal(err)
	}
	for name, step := range map[string]struct {
		usage string
		want  llm.Usage
	}{
		"OpenAI": {`"prompt_tokens":9,"completion_tokens":127,"total_tokens":136,"completion_tokens_details":{"reasoning_tokens":125}`,
			llm.Usage{InputTokens: 9, OutputTokens: 127, ReasoningTokens: 125}},
		"all of it was thought": {`"prompt_tokens":9,"completion_tokens":125,"total_tokens":134,"completion_tokens_details":{"reasoning_tokens":125}`,
			llm.Usage{InputTokens: 9, OutputTokens: 125, ReasoningTokens: 125}},
		"xAI": {`"prompt_tokens":165,"completion_tokens":2,"total_tokens":292,"prompt_tokens_details":{"cached_tokens":156},"completion_tokens_details":{"reasoning_tokens":125}`,
			llm.Usage{InputTokens: 165, OutputTokens: 127, CachedTokens: 156, ReasoningTokens: 125}},
		"xAI, a long answer": {`"prompt_tokens":165,"completion_tokens":300,"total_tokens":590,"completion_tokens_details":{"reasoning_tokens":125}`,
			llm.Usage{InputTokens: 165, OutputTokens: 425, ReasoningTokens: 125}},
		"Vercel, Gemini": {`"prompt_tokens":9,"completion_tokens":2,"total_tokens":11,"completion_tokens_details":{"reasoning_tokens":25}`,
			llm.Usage{InputTokens: 9, OutputTokens: 27, ReasoningTokens: 25}},
		"without a total": {`"prompt_tokens":9,"completion_tokens":127,"completion_tokens_details":{"reasoning_tokens":125}`,
			llm.Usage{InputTokens: 9, OutputTokens: 127, ReasoningTokens: 125}},
		"nothing": {``, llm.Usage{}},
	} {
		body := `{"choices":[{"message":{"content":"hi"},"finish_reason":"stop"}],"usage":{` + step.usage + `}}`
		got, err := readCompletion(&wire.Exchange{Endpoint: m.endpoint, Status: 200, Response: &http.Response{}}, []byte(body))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got.Usage != step.want {
			t.Errorf("%s: %+v, want %+v", name, got.Usage, step.want)
		}
	}
}

// Whatever comes: no panic, errors of a kind and last, the reason to stop once
// and last.
func FuzzStream(f *testing.F) {
	for _, body := range []string{
		"data: {\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"hi\"},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n",
		"data: {\"choices\":[{\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":\"1\",\"function\":{\"name\":\"f\",\"arguments\":\"{\"}}]}}],\"usage\":{}}\n\n",
		"data: {\"choices\":[{\"delta\":{\"reasoning_details\":[{\"index\":0,\"text\":\"a\"}],\"reasoning\":\"x\",\"refusal\":\"no\"}}]}\n\n",
		"event: error\ndata: {\"error\":{\"code\":429}}\n\n", ": ping\n\ndata:\n\ndata: null\n\ndata: []\n\ndata: {\"choices\":null}\n\n",
		"data: {\"type\":\"response.output_text.delta\",\"item_id\":\"1\",\"delta\":\"hi\"}\n\ndata: {\"type\":\"response.completed\",\"response\":{\"status\":\"completed\",\"usage\":{}}}\n\n",
		"data: {\"type\":\"response.output_item.done\",\"item\":{\"type\":\"message\",\"content\":[{\"text\":\"a\"}]}}\n\ndata: {\"type\":\"response.failed\"}\n\n",
		"data: {\"type\":\"response.output_item.added\",\"item\":{\"type\":\"message\",\"phase\":\"commentary\"}}\r\n\r\n", "\x00", "",
	} {
		f.Add([]byte(body))
	}
	c, err := connect("x", Options{BaseURL: "http://127.0.0.1:1"}, false)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, kind := range []string{"text/event-stream", "application/json"} {
			for _, a := range []wire.Dialect{chatDialect{}, itemDialect{}} {
				x := &wire.Exchange{
					Endpoint: c.endpoint, Stream: true, Sent: true, Whole: true, Status: 200,
					Response: &http.Response{Header: http.Header{"Content-Type": {kind}}, Body: io.NopCloser(bytes.NewReader(body))},
				}
				ended := false
				x.Relay(t.Context(), a, func(chunk llm.Chunk, err error) bool {
					var failed *failure.Error
					if ended || err != nil && !errors.As(err, &failed) {
						t.Errorf("%q: %+v, %v", body, chunk, err)
					}
					ended = err != nil || chunk.Finish != llm.FinishNone
					return true
				})
			}
		}
	})
}

// What is not a text, and not a part of a content either, is the answer.
func TestContentThatIsJSON(t *testing.T) {
	m, err := New("x", Options{BaseURL: "http://127.0.0.1:1"})
	if err != nil {
		t.Fatal(err)
	}
	for content, want := range map[string]string{
		`{"a":1}`: `{"a":1}`, `[{"a":1},{"b":2}]`: `[{"a":1},{"b":2}]`, `42`: "42", `[]`: "", `{"type":"text","text":"a"}`: "a",
		`[{"type":"reference"},{"type":"text","text":"a"},"b"]`: "ab",
	} {
		x := wire.Exchange{Endpoint: m.endpoint, Status: 200, Response: &http.Response{}}
		x.Body = []byte(`{"choices":[{"message":{"content":` + content + `},"finish_reason":"stop"}]}`)
		if answer, err := x.Answer(chatDialect{}); err != nil || answer.Text() != want {
			t.Errorf("%s: got %+v, %v", content, answer, err)
		}
	}
}

func TestReasonBesideError(t *testing.T) {
	m, err := New("x", Options{BaseURL: "http://127.0.0.1:1"})
	if err != nil {
		t.Fatal(err)
	}
	for native, want := range map[string]failure.Kind{
		`"MALFORMED_FUNCTION_CALL"`: failure.InvalidAnswer, `"SAFETY"`: failure.ContentFiltered, `"error"`: failure.Transient, `"stop"`: failure.Transient, `null`: failure.Transient, `7`: failure.Transient,
	} {
		choice := `"finish_reason":"error","native_finish_reason":` + native + `}]}`
		for _, body := range []string{`{"choices":[{"message":{"content":""},` + choice, `data: {"choices":[{"index":0,"delta":{},` + choice} {
			x := wire.Exchange{Endpoint: m.endpoint, Status: 200, Response: &http.Response{}, Body: []byte(body)}
			if _, err := x.Answer(chatDialect{}); failure.KindOf(err) != want {
				t.Errorf("%s: got %v", body, err)
			}
		}
	}
}
