package openai

import (
	"errors"
	"net/http"
	"testing"

	"llmcall/failure"
	"llmcall/provider/wire"
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
		answer, err := response(&wire.Exchange{Endpoint: m.endpoint, Status: 200, Body: body, Response: &http.Response{}})
		var failed *failure.Error
		if (answer == nil) == (err == nil) || err != nil && !errors.As(err, &failed) {
			t.Errorf("%q: %v, %v", body, answer, err)
		}
	})
}
