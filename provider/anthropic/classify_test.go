package anthropic_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	sdk "github.com/anthropics/anthropic-sdk-go"
	"github.com/anthropics/anthropic-sdk-go/option"

	"llmcall/failure"
	"llmcall/provider/anthropic"
)

// own returns a client of the SDK's as a program without the adapter makes it.
func own(t *testing.T, handle http.HandlerFunc, opts ...option.RequestOption) sdk.Client {
	t.Helper()
	s := server(t, handle)
	return sdk.NewClient(append([]option.RequestOption{
		option.WithBaseURL(s.URL), option.WithAPIKey(key), option.WithMaxRetries(0), option.WithHTTPClient(s.Client()),
		option.WithoutOpenTelemetry(), // another test counts who asks for a tracer
	}, opts...)...)
}

var params = sdk.MessageNewParams{
	Model: "claude-haiku-5-5", MaxTokens: 10, Messages: []sdk.MessageParam{sdk.NewUserMessage(sdk.NewTextBlock("the prompt"))},
}

// failedCall makes a call by the SDK, which fails.
func failedCall(t *testing.T, ctx context.Context, client sdk.Client) error {
	t.Helper()
	_, err := client.Messages.New(ctx, params)
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
		{"a bad key", 401, `{"type":"error","error":{"type":"authentication_error","message":"invalid x-api-key ` + key + `"}}`, []string{"Request-Id", "req_1"},
			failure.Error{Kind: failure.Unauthorized, Code: "authentication_error", Message: "invalid x-api-key [key]", RequestID: "req_1"}},
		{"a limit", 429, `{"type":"error","error":{"type":"rate_limit_error","message":"Too many."}}`, []string{"Retry-After", "2"},
			failure.Error{Kind: failure.RateLimited, Code: "rate_limit_error", Message: "Too many.", Told: true, RetryAfter: 2 * time.Second}},
		{"overloaded", 529, `{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}`, nil,
			failure.Error{Kind: failure.Overloaded, Code: "overloaded_error", Message: "Overloaded"}},
		{"a page", 502, "<html>Bad Gateway, " + key + "</html>", nil, failure.Error{Kind: failure.Transient, Message: "<html>Bad Gateway, [key]</html>"}},
		{"no body", 503, "", nil, failure.Error{Kind: failure.Transient, Message: "Service Unavailable"}},
		{"not again", 500, `{"type":"error","error":{"type":"api_error","message":"No."}}`, []string{"X-Should-Retry", "false"},
			failure.Error{Kind: failure.Transient, Code: "api_error", Message: "No.", NoRetry: true}},
		{"a long text", 400, `{"error":{"message":"` + strings.Repeat("x", 2000) + `"}}`, nil, failure.Error{Kind: failure.InvalidRequest, Message: strings.Repeat("x", 497) + "…"}},
		{"the key everywhere", 400, `{"error":{"message":"` + key + `","type":"` + key + `"}}`, []string{"Request-Id", key, "Set-Cookie", key, "Anthropic-Workspace-Id", key},
			failure.Error{Kind: failure.InvalidRequest, Code: "[key]", Message: "[key]", RequestID: "[key]"}},
	} {
		err := failedCall(t, t.Context(), own(t, reply(step.status, step.body, step.headers...)))
		for range 2 { // the SDK's error is left as it was
			classified := anthropic.Classify(fmt.Errorf("asking: %w", err))
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
		if !errors.As(err, &api) || api.Request.Header.Get("X-Api-Key") != key || api.RawJSON() != step.body {
			t.Errorf("%s: the program's own error was changed", step.name)
		}
	}
}

func TestClassifyNamesTheProvider(t *testing.T) {
	for base, want := range map[string]string{"https://api.anthropic.com": "anthropic", "https://gateway.example.com/anthropic": "gateway.example.com"} {
		client := &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: 503, Header: http.Header{}, Body: http.NoBody, Request: r}, nil
		})}
		err := failedCall(t, t.Context(), own(t, nil, option.WithBaseURL(base), option.WithHTTPClient(client)))
		if got, ok := errors.AsType[*failure.Error](anthropic.Classify(err)); !ok || got.Provider != want {
			t.Errorf("%s: got %+v", base, got)
		}
		client.Transport = roundTrip(func(*http.Request) (*http.Response, error) { return nil, io.ErrUnexpectedEOF })
		err = failedCall(t, t.Context(), own(t, nil, option.WithBaseURL(base), option.WithHTTPClient(client)))
		if got, ok := errors.AsType[*failure.Error](anthropic.Classify(err)); !ok || got.Provider != want || got.Kind != failure.Transient || !errors.Is(got, io.ErrUnexpectedEOF) {
			t.Errorf("%s, broken: got %+v", base, got)
		}
	}
}

func TestClassifyErrorsInAStream(t *testing.T) {
	for data, want := range map[string]failure.Error{
		`{"type":"error","error":{"type":"overloaded_error","message":"Overloaded, ` + key + `"}}`: {Kind: failure.Overloaded, Message: "Overloaded, [key]"},
		`{"type":"error"}`: {Kind: failure.Transient, Message: `an error that says no more: {"type":"error"}`},
	} {
		client := own(t, stream(event(oneLine(start)), event(data)))
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

// What Classify does not know it returns as it is.
func TestClassifyLeavesOthers(t *testing.T) {
	if err := anthropic.Classify(nil); err != nil {
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
		"classified, below": failedCall(t, t.Context(), own(t, nil, option.WithHTTPClient(&http.Client{Transport: roundTrip(func(*http.Request) (*http.Response, error) { return nil, known })}))),
	} {
		if got := anthropic.Classify(err); got != err {
			t.Errorf("%s: got %#v", name, got)
		}
	}
}
