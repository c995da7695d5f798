package gemini_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"

	"google.golang.org/genai"

	"llmcall/failure"
	"llmcall/llm"
	"llmcall/provider/gemini"
)

// A program that has an SDK in place keeps it: an llm.Func asks by it, and says
// by Classify what went wrong.
func ExampleClassify() {
	busy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusTooManyRequests)
		io.WriteString(w, `{"error": {"code": 429, "message": "Resource exhausted.", "status": "RESOURCE_EXHAUSTED",
			"details": [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "2s"}]}}`)
	}))
	defer busy.Close()
	client, err := genai.NewClient(context.Background(), &genai.ClientConfig{
		APIKey: "AIza…", Backend: genai.BackendGeminiAPI, HTTPOptions: genai.HTTPOptions{BaseURL: busy.URL},
	})
	if err != nil {
		log.Fatal(err)
	}

	model := llm.Func("acme/gemini-3.5-flash-lite", func(ctx context.Context, req *llm.Request) (*llm.Response, error) {
		answer, err := client.Models.GenerateContent(ctx, "gemini-3.5-flash-lite", genai.Text(req.Messages[0].Text()), nil)
		if err != nil {
			return nil, gemini.Classify(err)
		}
		return llm.Reply(answer.Text()), nil
	})

	_, err = model.Complete(context.Background(), llm.Prompt("Hello!"))
	fmt.Println(failure.KindOf(err))
	fmt.Println(failure.RetryAfterOf(err))
	var api genai.APIError
	fmt.Println(errors.As(err, &api))
	// Output:
	// rate_limited
	// 2s true
	// true
}
