package gateway_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"
)

// BenchmarkSameProtocol is a request through the gateway as it is, beside a reverse proxy:
// 1 KiB each way, of what a client waits for.
func BenchmarkSameProtocol(b *testing.B) {
	answer := `{"id":"c1","object":"chat.completion","created":1,"model":"small","choices":[{"index":0,"message":{"role":"assistant","content":"` + strings.Repeat("word ", 160) + `"},"finish_reason":"stop"}],"usage":{"prompt_tokens":300,"completion_tokens":160,"total_tokens":460}}`
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, answer)
	}))
	defer upstream.Close()
	to, _ := url.Parse(upstream.URL)
	proxy := httptest.NewServer(httputil.NewSingleHostReverseProxy(to))
	defer proxy.Close()
	s := serve(b, fmt.Sprintf(`{providers: {acme: {protocol: openai, base_url: "%s/v1", keys: [none]}}}`, upstream.URL), nil)
	body := `{"model":"acme/small","messages":[{"role":"user","content":"` + strings.Repeat("word ", 190) + `"}]}`
	for _, c := range []struct{ name, url string }{{"direct", upstream.URL}, {"proxy", proxy.URL}, {"gateway", s.url}} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				resp, err := http.Post(c.url+"/v1/chat/completions", "application/json", strings.NewReader(body))
				if err != nil {
					b.Fatal(err)
				}
				text, err := io.ReadAll(resp.Body)
				if resp.Body.Close(); err != nil || string(text) != answer {
					b.Fatal(err, string(text))
				}
			}
		})
	}
}
