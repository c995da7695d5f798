package openai_test

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	sdk "github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"

	"llmcall/failure"
	"llmcall/provider/internal/providertest"
	"llmcall/provider/openai"
)

// own is a client of the SDK's as a program without the adapter makes it.
func own(baseURL string, client *http.Client) sdk.Client {
	return sdk.NewClient(option.WithBaseURL(baseURL), option.WithAPIKey(key), option.WithMaxRetries(0), option.WithHTTPClient(client))
}

func failedCall(ctx context.Context, baseURL string, client *http.Client) error {
	service := own(baseURL, client)
	_, err := service.Chat.Completions.New(ctx, sdk.ChatCompletionNewParams{
		Model: "gpt-6-luna", Messages: []sdk.ChatCompletionMessageParamUnion{sdk.UserMessage("the prompt")},
	})
	return err
}

func TestClassify(t *testing.T) {
	notOfItsForm := server(t, reply(401, `{"error":"no"}`))
	providertest.RunClassifier(t, providertest.Classifier{
		Provider: "openai", Classify: openai.Classify, Call: failedCall, Home: openai.DefaultBaseURL, KeepsResponse: true,
		Refusals: []providertest.Refusal{
			{401, `{"error":{"message":"Incorrect API key provided: ` + key + `.","type":"invalid_request_error","code":"invalid_api_key"}}`, []string{"X-Request-Id", "req_1"},
				failure.Error{Kind: failure.Unauthorized, Code: "invalid_api_key", Message: "Incorrect API key provided: [key].", RequestID: "req_1"}},
			{429, `{"error":{"message":"Rate limit reached.","type":"requests","code":"rate_limit_exceeded"}}`, []string{"Retry-After", "2"},
				failure.Error{Kind: failure.RateLimited, Code: "rate_limit_exceeded", Message: "Rate limit reached.", Told: true, RetryAfter: 2 * time.Second}},
			{429, `{"error":{"message":"No.","type":"insufficient_quota","code":"insufficient_quota"}}`, nil,
				failure.Error{Kind: failure.QuotaExhausted, Code: "insufficient_quota", Message: "No."}},
			{400, `{"error":{"message":"Too long.","type":"invalid_request_error","code":"context_length_exceeded"}}`, nil,
				failure.Error{Kind: failure.ContextTooLong, Code: "context_length_exceeded", Message: "Too long."}},
			{500, `{"error":null}`, nil, failure.Error{Kind: failure.Transient, Message: `{"error":null}`}},
			{400, `{"error":{"message":"` + key + `","code":"` + key + `"}}`, []string{"X-Request-Id", key, "Set-Cookie", key},
				failure.Error{Kind: failure.InvalidRequest, Code: "[key]", Message: "[key]", RequestID: "[key]"}},
		},
		Unread: map[string]error{
			"a nil of the SDK": (*sdk.Error)(nil),
			"without response": &sdk.Error{StatusCode: 401},
			"not of its form":  failedCall(t.Context(), notOfItsForm.URL, notOfItsForm.Client()),
		},
		SDK: sdkError,
	})
}

func TestClassifyErrorsInAStream(t *testing.T) {
	s := server(t, events(delta("half"), `{"error":{"message":"Slow down.","code":"rate_limit_exceeded"}}`))
	client := own(s.URL, s.Client())
	stream := client.Chat.Completions.NewStreaming(t.Context(), sdk.ChatCompletionNewParams{Model: "gpt-6-luna"})
	for stream.Next() {
	}
	got, ok := errors.AsType[*failure.Error](openai.Classify(stream.Err()))
	if !ok || got.Kind != failure.RateLimited || got.Message != "Slow down." || got.Err != stream.Err() {
		t.Errorf("got %#v of %v", got, stream.Err())
	}
}
