package bench

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/failsafe-go/failsafe-go/circuitbreaker"
	"github.com/failsafe-go/failsafe-go/failsafehttp"
	"github.com/hashicorp/go-retryablehttp"

	"llmcall/transport"
)

// BenchmarkTransport is one request over loopback HTTP that succeeds the first
// time, as an SDK sends it: a JSON body with GetBody, one connection kept alive.
func BenchmarkTransport(b *testing.B) {
	prompt := []byte(`{"model":"gpt-6-luna","messages":[{"role":"user","content":"Who wrote the first program?"}],"max_tokens":100}`)
	answer := []byte(`{"choices":[{"message":{"role":"assistant","content":"Ada Lovelace."},"finish_reason":"stop"}]}`)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/json")
		w.Write(answer)
	}))
	defer server.Close()

	ask := func(name string, client *http.Client) {
		way(b, name, func(b *testing.B) {
			ctx := b.Context()
			for b.Loop() {
				r, err := http.NewRequestWithContext(ctx, http.MethodPost, server.URL+"/v1/chat/completions", bytes.NewReader(prompt))
				if err != nil {
					b.Fatal(err)
				}
				r.Header.Set("Authorization", "Bearer key")
				response, err := client.Do(r)
				if err != nil {
					b.Fatal(err)
				}
				io.Copy(io.Discard, response.Body)
				response.Body.Close()
			}
		})
	}
	base := func() *http.Transport {
		t := http.DefaultTransport.(*http.Transport).Clone()
		b.Cleanup(t.CloseIdleConnections)
		return t
	}
	ours, err := transport.New(transport.Config{Base: base()})
	if err != nil {
		b.Fatal(err)
	}
	hashicorp := retryablehttp.NewClient()
	hashicorp.HTTPClient, hashicorp.Logger = &http.Client{Transport: base()}, nil

	ask("floor=plain_client", &http.Client{Transport: base()})
	ask("ours=Transport", &http.Client{Transport: ours})
	ask("peer=failsafe-go", &http.Client{Transport: failsafehttp.NewRoundTripper(base(), failsafehttp.NewRetryPolicyBuilder().Build(), circuitbreaker.NewWithDefaults[*http.Response]())})
	ask("peer=hashicorp", hashicorp.StandardClient())
}
