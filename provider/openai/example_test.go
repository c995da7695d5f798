package openai_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"

	sdk "github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"

	"llmcall/failure"
	"llmcall/llm"
	"llmcall/provider/openai"
)

// A program that has an SDK in place keeps it: an llm.Func asks by it, and says
// by Classify what went wrong.
func ExampleClassify() {
	busy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Retry-After", "2")
		w.WriteHeader(http.StatusTooManyRequests)
		io.WriteString(w, `{"error": {"message": "Rate limit reached.", "code": "rate_limit_exceeded"}}`)
	}))
	defer busy.Close()
	client := sdk.NewClient(option.WithBaseURL(busy.URL), option.WithAPIKey("sk-…"), option.WithMaxRetries(0))

	model := llm.Func("acme/gpt-6-luna", func(ctx context.Context, req *llm.Request) (*llm.Response, error) {
		answer, err := client.Chat.Completions.New(ctx, sdk.ChatCompletionNewParams{
			Model:    "gpt-6-luna",
			Messages: []sdk.ChatCompletionMessageParamUnion{sdk.UserMessage(req.Messages[0].Text())},
		})
		if err != nil {
			return nil, openai.Classify(err)
		}
		return llm.Reply(answer.Choices[0].Message.Content), nil
	})

	_, err := model.Complete(context.Background(), llm.Prompt("Hello!"))
	fmt.Println(failure.KindOf(err))
	fmt.Println(failure.RetryAfterOf(err))
	var api *sdk.Error
	fmt.Println(errors.As(err, &api))
	// Output:
	// rate_limited
	// 2s true
	// true
}
