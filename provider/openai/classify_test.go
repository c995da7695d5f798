package openai_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	sdk "github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"

	"llmcall/failure"
	"llmcall/provider/openai"
)

// own returns a client of the SDK's as a program without the adapter makes it.
func own(t *testing.T, handle http.HandlerFunc, opts ...option.RequestOption) sdk.Client {
	t.Helper()
	s := server(t, handle)
	return sdk.NewClient(append([]option.RequestOption{
		option.WithBaseURL(s.URL + "/v1"), option.WithAPIKey(key), option.WithMaxRetries(0), option.WithHTTPClient(s.Client()),
	}, opts...)...)
}

// failedCall makes a call by the SDK, which fails.
func failedCall(t *testing.T, ctx context.Context, client sdk.Client) error {
	t.Helper()
	_, err := client.Chat.Completions.New(ctx, sdk.ChatCompletionNewParams{
		Model: "gpt-6-luna", Messages: []sdk.ChatCompletionMessageParamUnion{sdk.UserMessage("the prompt")},
	})
	if err == nil {
		t.Fatal("the call succeeds")
	}
	return err
}

func TestClassify(t *testing.T) {
	for _, step := range []struct {
		name    string
		status  int
		body    string
		headers []string
		want    failure.Error
	}{
		{"a bad key", 401, `{"error":{"message":"Incorrect API key provided: ` + key + `.","type":"invalid_request_error","code":"invalid_api_key"}}`, []string{"X-Request-Id", "req_1"},
			failure.Error{Kind: failure.Unauthorized, Code: "invalid_api_key", Message: "Incorrect API key provided: [key].", RequestID: "req_1"}},
		{"a limit", 429, `{"error":{"message":"Rate limit reached.","type":"requests","code":"rate_limit_exceeded"}}`, []string{"Retry-After", "2"},
			failure.Error{Kind: failure.RateLimited, Code: "rate_limit_exceeded", Message: "Rate limit reached.", Told: true, RetryAfter: 2 * time.Second}},
		{"a bill", 429, `{"error":{"message":"No.","type":"insufficient_quota","code":"insufficient_quota"}}`, nil,
			failure.Error{Kind: failure.QuotaExhausted, Code: "insufficient_quota", Message: "No."}},
		{"too long", 400, `{"error":{"message":"Too long.","type":"invalid_request_error","code":"context_length_exceeded"}}`, nil,
			failure.Error{Kind: failure.ContextTooLong, Code: "context_length_exceeded", Message: "Too long."}},
		{"a page", 502, "<html>Bad Gateway, " + key + "</html>", nil, failure.Error{Kind: failure.Transient, Message: "<html>Bad Gateway, [key]</html>"}},
		{"another form", 401, `{"detail":"Unauthorized"}`, nil, failure.Error{Kind: failure.Unauthorized, Message: "Unauthorized"}},
		{"no body", 503, "", nil, failure.Error{Kind: failure.Transient, Message: "Service Unavailable"}},
		{"no error", 500, `{"error":null}`, nil, failure.Error{Kind: failure.Transient, Message: `{"error":null}`}},
		{"not again", 500, `{"error":{"message":"No."}}`, []string{"X-Should-Retry", "false"}, failure.Error{Kind: failure.Transient, Message: "No.", NoRetry: true}},
		{"a long text", 400, `{"error":{"message":"` + strings.Repeat("x", 2000) + `"}}`, nil, failure.Error{Kind: failure.InvalidRequest, Message: strings.Repeat("x", 497) + "…"}},
		{"the key everywhere", 400, `{"error":{"message":"` + key + `","code":"` + key + `"}}`, []string{"X-Request-Id", key, "Set-Cookie", key},
			failure.Error{Kind: failure.InvalidRequest, Code: "[key]", Message: "[key]", RequestID: "[key]"}},
	} {
		err := failedCall(t, t.Context(), own(t, reply(step.status, step.body, step.headers...)))
		for range 2 { // the SDK's error is left as it was
			classified := openai.Classify(fmt.Errorf("asking: %w", err))
			got, ok := errors.AsType[*failure.Error](classified)
			if !ok {
				t.Fatalf("%s: got %T", step.name, classified)
			}
			if got.Kind != step.want.Kind || got.Status != step.status || got.Code != step.want.Code || got.Message != step.want.Message || got.RequestID != step.want.RequestID ||
				got.Told != step.want.Told || got.RetryAfter != step.want.RetryAfter || got.NoRetry != step.want.NoRetry || got.Model != "" {
				t.Errorf("%s\ngot  %#v\nwant %#v", step.name, got, step.want)
			}
			if !strings.HasPrefix(got.Provider, "127.0.0.1:") {
				t.Errorf("%s: the provider is %s", step.name, got.Provider)
			}
			secretFree(t, classified)
			var api *sdk.Error
			if !errors.As(classified, &api) || api.StatusCode != step.status || api.Response.Header.Get("Set-Cookie") != "" {
				t.Errorf("%s: the SDK's error is %+v", step.name, api)
			}
		}
		var api *sdk.Error
		if !errors.As(err, &api) || api.Request.Header.Get("Authorization") != "Bearer "+key {
			t.Errorf("%s: the program's own error was changed", step.name)
		}
		if dump := string(api.DumpResponse(true)); !strings.HasSuffix(dump, step.body) {
			t.Errorf("%s: of the program's own error the response is %q", step.name, dump)
		}
	}
}

func TestClassifyNamesTheProvider(t *testing.T) {
	for base, want := range map[string]string{
		"https://api.openai.com/v1": "openai", "https://API.openai.com": "openai", "https://api.groq.com/openai/v1": "api.groq.com",
	} {
		client := &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: 503, Header: http.Header{}, Body: http.NoBody, Request: r}, nil
		})}
		err := failedCall(t, t.Context(), own(t, nil, option.WithBaseURL(base), option.WithHTTPClient(client)))
		if got, ok := errors.AsType[*failure.Error](openai.Classify(err)); !ok || got.Provider != want {
			t.Errorf("%s: got %+v", base, got)
		}
		client.Transport = roundTrip(func(*http.Request) (*http.Response, error) { return nil, io.ErrUnexpectedEOF })
		err = failedCall(t, t.Context(), own(t, nil, option.WithBaseURL(base), option.WithHTTPClient(client)))
		if got, ok := errors.AsType[*failure.Error](openai.Classify(err)); !ok || got.Provider != want || got.Kind != failure.Transient || !errors.Is(got, io.ErrUnexpectedEOF) {
			t.Errorf("%s, broken: got %+v", base, got)
		}
	}
}

func TestClassifyErrorsInAStream(t *testing.T) {
	client := own(t, events(delta("half"), `{"error":{"message":"Slow down.","code":"rate_limit_exceeded"}}`))
	stream := client.Chat.Completions.NewStreaming(t.Context(), sdk.ChatCompletionNewParams{Model: "gpt-6-luna"})
	for stream.Next() {
	}
	got, ok := errors.AsType[*failure.Error](openai.Classify(stream.Err()))
	if !ok || got.Kind != failure.RateLimited || got.Message != "Slow down." || got.Err != stream.Err() {
		t.Errorf("got %#v of %v", got, stream.Err())
	}
}

// What Classify does not know it returns as it is.
func TestClassifyLeavesOthers(t *testing.T) {
	if err := openai.Classify(nil); err != nil {
		t.Errorf("nil: got %v", err)
	}
	var none *sdk.Error
	known := &failure.Error{Kind: failure.Overloaded}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for name, err := range map[string]error{
		"any other":         errors.New("no stock"),
		"a nil of the SDK":  none,
		"without response":  &sdk.Error{StatusCode: 401},
		"classified":        fmt.Errorf("asking: %w", known),
		"cancelled":         failedCall(t, ended, own(t, reply(200, hello))),
		"a deadline":        context.DeadlineExceeded,
		"not of its form":   failedCall(t, t.Context(), own(t, reply(401, `{"error":"no"}`))),
		"classified, below": failedCall(t, t.Context(), own(t, nil, option.WithHTTPClient(&http.Client{Transport: roundTrip(func(*http.Request) (*http.Response, error) { return nil, known })}))),
	} {
		if got := openai.Classify(err); got != err {
			t.Errorf("%s: got %#v", name, got)
		}
	}
}
