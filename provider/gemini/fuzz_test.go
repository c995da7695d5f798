package gemini

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"llmcall/failure"
	"llmcall/llm"
	"llmcall/provider/internal/wire"
)

func fuzzed(f *testing.F) *Model {
	m, err := New("x", Options{BaseURL: "http://127.0.0.1:1"})
	if err != nil {
		f.Fatal(err)
	}
	return m
}

var bodies = []string{
	`{"candidates":[{"content":{"parts":[{"text":"hi","thoughtSignature":"QQ=="}]},"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":1}}`,
	`{"candidates":[{"content":{"parts":[{"functionCall":{"name":"f","args":{"a":1}}},{"thoughtSignature":"QQ=="},{"thought":true,"text":"t"}]},"finishReason":"STOP"}]}`,
	`{"promptFeedback":{"blockReason":"SAFETY"}}`, `{"error":{"code":429}}`, `{"candidates":[null]}`, `{"candidates":{"a":1}}`, `null`, `[]`, ``,
	`{"candidates":[{"content":{"parts":[null,{},{"a":"` + "\xff" + `"},{"functionCall":{"args":null}}]}}]}`,
}

func FuzzResponse(f *testing.F) {
	for _, body := range bodies {
		f.Add([]byte(body))
	}
	m := fuzzed(f)
	f.Fuzz(func(t *testing.T, body []byte) {
		x := wire.Exchange{Endpoint: m.endpoint, Status: 200, Body: body, Response: &http.Response{}}
		answer, err := x.Answer(dialect{})
		var failed *failure.Error
		if answer == nil && err == nil || err != nil && !errors.As(err, &failed) {
			t.Fatalf("%q: %v, %v", body, answer, err)
		}
		if answer == nil {
			return
		}
		// What came can be sent back.
		if _, err := m.body(&llm.Request{Messages: []llm.Message{llm.User("x"), answer.Message, llm.User("y")}}, m.lacks.alone.For(nil)); err != nil {
			t.Errorf("%q: %v", body, err)
		}
	})
}

func FuzzStream(f *testing.F) {
	for _, body := range bodies {
		f.Add("data: "+body+"\n\n", "text/event-stream")
		f.Add(": ping\r\nevent: x\r\ndata: "+body, "")
	}
	f.Add("{\n\"error\": {\n\"code\": 429}}\n\ndata\ndata: [DONE]\n\n", "text/event-stream")
	f.Add(bodies[0], "application/json")
	m := fuzzed(f)
	f.Fuzz(func(t *testing.T, body, contentType string) {
		x := &wire.Exchange{Endpoint: m.endpoint, Status: 200, Stream: true, Response: &http.Response{
			Header: http.Header{"Content-Type": {contentType}}, Body: io.NopCloser(strings.NewReader(body)),
		}}
		finished, ended := 0, false
		x.Relay(t.Context(), dialect{}, func(chunk llm.Chunk, err error) bool {
			var failed *failure.Error
			if ended || finished > 0 || err != nil && !errors.As(err, &failed) {
				t.Fatalf("%q: %+v, %v behind the end", body, chunk, err)
			}
			ended = err != nil
			if chunk.Finish != llm.FinishNone {
				finished++
			}
			return true
		})
	})
}
