package transport_test

import (
	"context"
	"fmt"
	"net/http"

	"github.com/anthropics/anthropic-sdk-go"
	anthropicoption "github.com/anthropics/anthropic-sdk-go/option"
	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
	"google.golang.org/genai"

	"llmcall/backoff"
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

func ExampleNew() {
	resilient, err := transport.New(transport.Config{
		MaxAttempts: 5,
		Backoff:     backoff.Exponential{Jitter: backoff.FullJitter},
		Key:         transport.ByHost,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	client := &http.Client{Transport: resilient, CheckRedirect: transport.CheckRedirect}
	_ = client
}
