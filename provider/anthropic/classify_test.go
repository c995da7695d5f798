package anthropic_test

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	sdk "github.com/anthropics/anthropic-sdk-go"
	"github.com/anthropics/anthropic-sdk-go/option"

	"llmcall/failure"
	"llmcall/provider/anthropic"
	"llmcall/provider/internal/providertest"
)

var params = sdk.MessageNewParams{
	Model: "claude-haiku-5-5", MaxTokens: 10, Messages: []sdk.MessageParam{sdk.NewUserMessage(sdk.NewTextBlock("the prompt"))},
}

// own is a client of the SDK's as a program without the adapter makes it.
func own(baseURL string, client *http.Client) sdk.Client {
	return sdk.NewClient(option.WithBaseURL(baseURL), option.WithAPIKey(key), option.WithMaxRetries(0), option.WithHTTPClient(client),
		option.WithoutOpenTelemetry()) // another test counts who asks for a tracer
}

func TestClassify(t *testing.T) {
	providertest.RunClassifier(t, providertest.Classifier{
		Provider: "anthropic", Classify: anthropic.Classify, Home: anthropic.DefaultBaseURL, KeepsResponse: true,
		Call: func(ctx context.Context, baseURL string, client *http.Client) error {
			service := own(baseURL, client)
			_, err := service.Messages.New(ctx, params)
			return err
		},
		Refusals: []providertest.Refusal{
			{401, `{"type":"error","error":{"type":"authentication_error","message":"invalid x-api-key ` + key + `"}}`, []string{"Request-Id", "req_1"},
				failure.Error{Kind: failure.Unauthorized, Code: "authentication_error", Message: "invalid x-api-key [key]", RequestID: "req_1"}},
			{429, `{"type":"error","error":{"type":"rate_limit_error","message":"Too many."}}`, []string{"Retry-After", "2"},
				failure.Error{Kind: failure.RateLimited, Code: "rate_limit_error", Message: "Too many.", Told: true, RetryAfter: 2 * time.Second}},
			{529, `{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}`, nil,
				failure.Error{Kind: failure.Overloaded, Code: "overloaded_error", Message: "Overloaded"}},
			{500, `{"type":"error","error":{"type":"api_error","message":"No."}}`, []string{"X-Should-Retry", "false"},
				failure.Error{Kind: failure.Transient, Code: "api_error", Message: "No.", NoRetry: true}},
			{400, `{"error":{"message":"` + key + `","type":"` + key + `"}}`, []string{"Request-Id", key, "Set-Cookie", key, "Anthropic-Workspace-Id", key},
				failure.Error{Kind: failure.InvalidRequest, Code: "[key]", Message: "[key]", RequestID: "[key]"}},
		},
		Unread: map[string]error{
			"a nil of the SDK": (*sdk.Error)(nil),
			"without response": &sdk.Error{StatusCode: 401},
		},
		SDK: sdkError,
	})
}

func TestClassifyErrorsInAStream(t *testing.T) {
	for data, want := range map[string]failure.Error{
		`{"type":"error","error":{"type":"overloaded_error","message":"Overloaded, ` + key + `"}}`: {Kind: failure.Overloaded, Message: "Overloaded, [key]"},
		`{"type":"error"}`: {Kind: failure.Transient, Message: `an error that says no more: {"type":"error"}`},
	} {
		s := server(t, stream(event(oneLine(start)), event(data)))
		client := own(s.URL, s.Client())
		answer := client.Messages.NewStreaming(t.Context(), params)
		for answer.Next() {
		}
		classified := anthropic.Classify(answer.Err())
		got, ok := errors.AsType[*failure.Error](classified)
		if !ok || got.Kind != want.Kind || got.Message != want.Message || got.Status != 200 || got.RequestID != "req_123" {
			t.Errorf("got %#v of %v", got, answer.Err())
		}
		var api *sdk.Error
		if !errors.As(classified, &api) {
			t.Errorf("the SDK's error is lost: %#v", classified)
		}
		secretFree(t, classified)
	}
}

// A key may be in a word that decides: it is hidden after reading.
func TestClassifyReadsBeforeItHides(t *testing.T) {
	s := server(t, stream(event(oneLine(start)), event(`{"type":"error","error":{"type":"overloaded_error","message":"No, overloaded."}}`)))
	client := sdk.NewClient(option.WithBaseURL(s.URL), option.WithAPIKey("overloaded"), option.WithMaxRetries(0), option.WithHTTPClient(s.Client()), option.WithoutOpenTelemetry())
	answer := client.Messages.NewStreaming(t.Context(), params)
	for answer.Next() {
	}
	got, ok := errors.AsType[*failure.Error](anthropic.Classify(answer.Err()))
	if !ok || got.Kind != failure.Overloaded || got.Code != "[key]_error" || got.Message != "No, [key]." {
		t.Errorf("got %#v", got)
	}
}
