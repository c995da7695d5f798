// Package conformance holds every provider's adapter to what the others do when
// something goes wrong, on the provider's official SDK and over real HTTP on
// loopback. What happens is the page docs/conformance.md.
package conformance_test

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"go.uber.org/goleak"

	"llmcall/chaos"
	"llmcall/llm"
	"llmcall/provider/anthropic"
	"llmcall/provider/gemini"
	"llmcall/provider/openai"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("go.opencensus.io/stats/view.(*worker).start")) // Gemini's SDK starts it when it is imported
}

// key is easy to find wherever it should not be.
const key = "sk-conformance-0123456789abcdef"

// provider is a column of the table.
type provider struct {
	name string
	open func(server string, client *http.Client) (llm.Model, error)
	// tell puts a wait into the finest form that the provider has for it.
	tell func(f *chaos.Fault, wait time.Duration)
}

var providers = []provider{
	{
		"OpenAI",
		func(server string, client *http.Client) (llm.Model, error) {
			return openai.New(openai.DefaultModel, openai.Options{BaseURL: server + "/v1", APIKey: key, HTTPClient: client})
		},
		inMilliseconds,
	},
	{
		"Responses",
		func(server string, client *http.Client) (llm.Model, error) {
			return openai.NewResponses(openai.DefaultModel, openai.Options{BaseURL: server + "/v1", APIKey: key, HTTPClient: client})
		},
		inMilliseconds,
	},
	{
		"Anthropic",
		func(server string, client *http.Client) (llm.Model, error) {
			return anthropic.New(anthropic.DefaultModel, anthropic.Options{BaseURL: server, APIKey: key, HTTPClient: client})
		},
		inSeconds,
	},
	{
		"Gemini",
		func(server string, client *http.Client) (llm.Model, error) {
			return gemini.New(gemini.DefaultModel, gemini.Options{BaseURL: server, APIKey: key, HTTPClient: client})
		},
		inSeconds,
	},
}

// inMilliseconds is retry-after-ms.
func inMilliseconds(f *chaos.Fault, wait time.Duration) {
	f.RetryAfterMS = decimal(wait, time.Millisecond)
}

// inSeconds is Retry-After with a fraction; RetryInfo.retryDelay for Gemini.
func inSeconds(f *chaos.Fault, wait time.Duration) { f.RetryAfter = decimal(wait, time.Second) }

// listen starts a server on loopback, with a client of its own for it.
func listen(h http.Handler) (url string, client *http.Client, end func()) {
	server := httptest.NewServer(h)
	transport := &http.Transport{}
	return server.URL, &http.Client{Transport: transport}, func() {
		transport.CloseIdleConnections()
		if s, ok := h.(*chaos.Server); ok {
			s.Close()
		}
		server.Close()
	}
}
