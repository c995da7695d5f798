package transport_test

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"

	"llmcall/transport"
)

type instantly struct{}

func (instantly) RoundTrip(r *http.Request) (*http.Response, error) {
	r.Body.Close()
	return &http.Response{StatusCode: 200, Body: io.NopCloser(bytes.NewReader(nil))}, nil
}

// BenchmarkRoundTrip is what the Transport adds to a request.
func BenchmarkRoundTrip(b *testing.B) {
	tr, err := transport.New(transport.Config{Base: instantly{}})
	if err != nil {
		b.Fatal(err)
	}
	prompt := []byte(`{"model":"gpt-6-luna","messages":[{"role":"user","content":"Who wrote the first program?"}],"max_tokens":100}`)
	for name, rt := range map[string]http.RoundTripper{"Transport": tr, "floor": instantly{}} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				r, _ := http.NewRequestWithContext(b.Context(), "POST", chat, bytes.NewReader(prompt))
				r.Header.Set("Authorization", "Bearer key")
				response, err := rt.RoundTrip(r)
				if err != nil {
					b.Fatal(err)
				}
				response.Body.Close()
			}
		})
	}
}

// BenchmarkLargeBody is a request with ten pictures, whose "model" stands after
// the messages: openai-go writes it so.
func BenchmarkLargeBody(b *testing.B) {
	tr, err := transport.New(transport.Config{Base: instantly{}})
	if err != nil {
		b.Fatal(err)
	}
	picture := strings.Repeat("iVBORw0K", 1<<17)
	first := []byte(`{"model":"gpt-6-luna","messages":["` + strings.Repeat(picture, 10) + `"]}`)
	last := []byte(`{"messages":["` + strings.Repeat(picture, 10) + `"],"model":"gpt-6-luna"}`)
	for name, body := range map[string][]byte{"first": first, "last": last} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				r, _ := http.NewRequestWithContext(b.Context(), "POST", chat, bytes.NewReader(body))
				response, err := tr.RoundTrip(r)
				if err != nil {
					b.Fatal(err)
				}
				response.Body.Close()
			}
		})
	}
}
