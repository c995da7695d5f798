package transport_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/anthropics/anthropic-sdk-go"
	anthropicoption "github.com/anthropics/anthropic-sdk-go/option"
	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
	"google.golang.org/genai"

	"llmcall/backoff"
	"llmcall/breaker"
	"llmcall/endpoint"
	"llmcall/transport"
)

func Example() {
	openaiClient := openai.NewClient(option.WithHTTPClient(transport.Client()), option.WithMaxRetries(0))

	anthropicClient := anthropic.NewClient(anthropicoption.WithHTTPClient(transport.Client()), anthropicoption.WithMaxRetries(0))

	geminiClient, err := genai.NewClient(context.Background(), &genai.ClientConfig{
		APIKey: "…", Backend: genai.BackendGeminiAPI, HTTPClient: transport.Client(),
	})

	_, _, _, _ = openaiClient, anthropicClient, geminiClient, err
}

// What requests share is kept by endpoint, and can be looked at.
func ExampleNew() {
	busy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusServiceUnavailable)
	}))
	defer busy.Close()
	endpoints, err := endpoint.NewRegistry(endpoint.Config{}) // default: endpoint.Default()
	if err != nil {
		fmt.Println(err)
		return
	}
	resilient, err := transport.New(transport.Config{
		MaxAttempts: 3,
		Backoff:     backoff.Exponential{Initial: time.Millisecond},
		Endpoints:   endpoints,
		Options:     endpoint.Options{Breaker: breaker.Config{FailureThreshold: 3}},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	client := &http.Client{Transport: resilient, CheckRedirect: transport.CheckRedirect}
	defer client.CloseIdleConnections()
	response, err := client.Post(busy.URL+"/v1/chat/completions", "application/json", strings.NewReader(`{"model": "large", "messages": []}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	_ = response.Body.Close()
	fmt.Println(response.StatusCode, response.Header.Get("X-Should-Retry"))
	for e := range endpoints.All() {
		fmt.Println(e.Key().Model, e.Snapshot().Circuits[0].State)
	}
	// Output:
	// 503 false
	// large OPEN
}

// One line makes a plain HTTP client resilient: a provider that is busy for a
// moment is asked again.
func ExampleClient() {
	requests := 0
	provider := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		requests++
		if requests == 1 {
			w.Header().Set("Retry-After-Ms", "1")
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		io.WriteString(w, `{"choices": []}`)
	}))
	defer provider.Close()

	client := transport.Client()
	response, err := client.Post(provider.URL+"/v1/chat/completions", "application/json", strings.NewReader(`{"model": "small", "messages": []}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer response.Body.Close()
	fmt.Println(response.StatusCode, "after", requests, "requests")
	// Output: 200 after 2 requests
}
