package anthropic_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"

	sdk "github.com/anthropics/anthropic-sdk-go"
	"github.com/anthropics/anthropic-sdk-go/option"

	"llmcall/failure"
	"llmcall/llm"
	"llmcall/provider/anthropic"
)

// A program that has an SDK in place keeps it: an llm.Func asks by it, and says
// by Classify what went wrong.
func ExampleClassify() {
	busy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Retry-After", "2")
		w.WriteHeader(http.StatusTooManyRequests)
		io.WriteString(w, `{"type": "error", "error": {"type": "rate_limit_error", "message": "Too many requests."}}`)
	}))
	defer busy.Close()
	client := sdk.NewClient(option.WithBaseURL(busy.URL), option.WithAPIKey("sk-ant-…"), option.WithMaxRetries(0))

	model := llm.Func("acme/claude-haiku-5-5", func(ctx context.Context, req *llm.Request) (*llm.Response, error) {
		answer, err := client.Messages.New(ctx, sdk.MessageNewParams{
			Model:     "claude-haiku-5-5",
			MaxTokens: 1000,
			Messages:  []sdk.MessageParam{sdk.NewUserMessage(sdk.NewTextBlock(req.Messages[0].Text()))},
		})
		if err != nil {
			return nil, anthropic.Classify(err)
		}
		return llm.Reply(answer.Content[0].Text), nil
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
