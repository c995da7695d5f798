package gemini_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"google.golang.org/genai"

	"llmcall/failure"
	"llmcall/provider/gemini"
)

// googles is a key of the form that Google gives them.
const googles = "AIzaSyRECOGNISABLE0123456789abcdefghijk"

// own returns a client of the SDK's as a program without the adapter makes it.
func own(t *testing.T, handle http.HandlerFunc, transport http.RoundTripper) *genai.Client {
	t.Helper()
	s := server(t, handle)
	client := s.Client()
	if transport != nil {
		client = &http.Client{Transport: transport}
	}
	c, err := genai.NewClient(t.Context(), &genai.ClientConfig{
		APIKey: googles, Backend: genai.BackendGeminiAPI, HTTPClient: client, HTTPOptions: genai.HTTPOptions{BaseURL: s.URL},
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// failedCall makes a call by the SDK, which fails.
func failedCall(t *testing.T, ctx context.Context, client *genai.Client) error {
	t.Helper()
	_, err := client.Models.GenerateContent(ctx, "gemini-3.5-flash-lite", genai.Text("the prompt"), nil)
	if err == nil {
		t.Fatal("the call succeeds")
	}
	return err
}

func TestClassify(t *testing.T) {
	environment(t, map[string]string{"GEMINI_API_KEY": key})
	suspended := `{"error":{"code":403,"message":"Permission denied: Consumer 'api_key:` + googles + `' has been suspended.","status":"PERMISSION_DENIED","details":[
		{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"CONSUMER_SUSPENDED","metadata":{"containerInfo":"api_key:` + googles + `"}}]}}`
	for _, step := range []struct {
		name   string
		status int
		body   string
		want   failure.Error
	}{
		{"a bad key", 401, `{"error":{"code":401,"message":"API key not valid.","status":"UNAUTHENTICATED"}}`,
			failure.Error{Kind: failure.Unauthorized, Code: "UNAUTHENTICATED", Message: "API key not valid."}},
		{"a suspended key", 403, suspended,
			failure.Error{Kind: failure.Unauthorized, Code: "CONSUMER_SUSPENDED", Message: "Permission denied: Consumer 'api_key:[key]' has been suspended."}},
		{"another form of key", 403, strings.ReplaceAll(suspended, googles, "AQ.odd-RECOGNISABLE"),
			failure.Error{Kind: failure.Unauthorized, Code: "CONSUMER_SUSPENDED", Message: "Permission denied: Consumer 'api_key:[key]' has been suspended."}},
		{"the key of the environment", 400, `{"error":{"code":400,"message":"not ` + key + ` nor ` + googles + `","status":"INVALID_ARGUMENT"}}`,
			failure.Error{Kind: failure.InvalidRequest, Code: "INVALID_ARGUMENT", Message: "not [key] nor [key]"}},
		{"a limit", 429, `{"error":{"code":429,"message":"Resource exhausted.","status":"RESOURCE_EXHAUSTED","details":[{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"2s"}]}}`,
			failure.Error{Kind: failure.RateLimited, Code: "RESOURCE_EXHAUSTED", Message: "Resource exhausted.", Told: true, RetryAfter: 2 * time.Second}},
		{"overloaded", 503, `{"error":{"code":503,"message":"The model is overloaded.","status":"UNAVAILABLE"}}`,
			failure.Error{Kind: failure.Overloaded, Code: "UNAVAILABLE", Message: "The model is overloaded."}},
		{"a page", 502, "<html>Bad Gateway</html>", failure.Error{Kind: failure.Transient, Message: "<html>Bad Gateway</html>"}},
		{"no body", 503, "", failure.Error{Kind: failure.Transient, Message: "Service Unavailable"}},
		{"another form", 401, `{"detail":"Unauthorized"}`, failure.Error{Kind: failure.Unauthorized, Message: "Unauthorized"}},
		{"a long text", 400, `{"error":{"code":400,"message":"` + strings.Repeat("x", 2000) + `"}}`, failure.Error{Kind: failure.InvalidRequest, Message: strings.Repeat("x", 497) + "…"}},
	} {
		err := failedCall(t, t.Context(), own(t, reply(step.status, step.body), nil))
		before := fmt.Sprint(err)
		api, ok := errors.AsType[genai.APIError](err)
		if !ok {
			t.Fatalf("%s: the SDK's error is %#v", step.name, err)
		}
		for _, own := range []error{fmt.Errorf("asking: %w", err), &api} {
			classified := gemini.Classify(own)
			got, ok := errors.AsType[*failure.Error](classified)
			if !ok {
				t.Fatalf("%s: got %T", step.name, classified)
			}
			if got.Kind != step.want.Kind || got.Status != step.status || got.Code != step.want.Code || got.Message != step.want.Message ||
				got.Told != step.want.Told || got.RetryAfter != step.want.RetryAfter || got.Model != "" || got.Provider != "gemini" {
				t.Errorf("%s\ngot  %#v\nwant %#v", step.name, got, step.want)
			}
			secretFree(t, classified)
			for inner := classified; inner != nil; inner = errors.Unwrap(inner) {
				if printed := fmt.Sprintf("%v %+v %#v", inner, inner, inner); strings.Contains(printed, "RECOGNISABLE") {
					t.Errorf("%s: shows the key: %s", step.name, printed)
				}
			}
			if clean, ok := errors.AsType[genai.APIError](classified); !ok || clean.Code != step.status || len(clean.Details) != len(api.Details) {
				t.Errorf("%s: the SDK's error is %+v", step.name, clean)
			}
		}
		if fmt.Sprint(err) != before {
			t.Errorf("%s: the program's own error was changed", step.name)
		}
	}
}

func TestClassifyErrorsInAStream(t *testing.T) {
	environment(t, nil)
	client := own(t, stream(data(piece(`{"text":"half"}`), `{"error":{"code":503,"message":"The model is overloaded.","status":"UNAVAILABLE"}}`)), nil)
	var last error
	for _, err := range client.Models.GenerateContentStream(t.Context(), "gemini-3.5-flash-lite", genai.Text("the prompt"), nil) {
		last = err
	}
	got, ok := errors.AsType[*failure.Error](gemini.Classify(last))
	if !ok || got.Kind != failure.Overloaded || got.Status != 503 {
		t.Errorf("got %#v of %v", got, last)
	}
}

// What Classify does not know it returns as it is.
func TestClassifyLeavesOthers(t *testing.T) {
	environment(t, nil)
	if err := gemini.Classify(nil); err != nil {
		t.Errorf("nil: got %v", err)
	}
	known := &failure.Error{Kind: failure.Overloaded}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	var none *genai.APIError
	for name, err := range map[string]error{
		"any other":         errors.New("no stock"),
		"a nil of the SDK":  none,
		"classified":        fmt.Errorf("asking: %w", known),
		"cancelled":         failedCall(t, ended, own(t, reply(200, hello), nil)),
		"a deadline":        context.DeadlineExceeded,
		"classified, below": failedCall(t, t.Context(), own(t, nil, roundTrip(func(*http.Request) (*http.Response, error) { return nil, known }))),
	} {
		if got := gemini.Classify(err); got != err {
			t.Errorf("%s: got %#v", name, got)
		}
	}
	broken := failedCall(t, t.Context(), own(t, nil, roundTrip(func(*http.Request) (*http.Response, error) { return nil, io.ErrUnexpectedEOF })))
	if got, ok := errors.AsType[*failure.Error](gemini.Classify(broken)); !ok || got.Kind != failure.Transient || !errors.Is(got, io.ErrUnexpectedEOF) {
		t.Errorf("broken: got %#v", got)
	}
}
