package gemini_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"google.golang.org/genai"

	"llmcall/failure"
	"llmcall/provider/gemini"
	"llmcall/provider/internal/providertest"
)

// googles is a key of the form that Google gives them.
const googles = "AIzaSyRECOGNISABLE0123456789abcdefghijk"

// own is a client of the SDK's as a program without the adapter makes it.
func own(ctx context.Context, baseURL string, client *http.Client) (*genai.Client, error) {
	return genai.NewClient(ctx, &genai.ClientConfig{
		APIKey: googles, Backend: genai.BackendGeminiAPI, HTTPClient: client, HTTPOptions: genai.HTTPOptions{BaseURL: baseURL},
	})
}

func TestClassify(t *testing.T) {
	environment(t, map[string]string{"GEMINI_API_KEY": key})
	suspended := `{"error":{"code":403,"message":"Permission denied: Consumer 'api_key:` + googles + `' has been suspended.","status":"PERMISSION_DENIED","details":[
		{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"CONSUMER_SUSPENDED","metadata":{"containerInfo":"api_key:` + googles + `"}}]}}`
	providertest.RunClassifier(t, providertest.Classifier{
		Provider: "gemini", Classify: gemini.Classify,
		Call: func(ctx context.Context, baseURL string, client *http.Client) error {
			c, err := own(ctx, baseURL, client)
			if err == nil {
				_, err = c.Models.GenerateContent(ctx, "gemini-3.5-flash-lite", genai.Text("the prompt"), nil)
			}
			return err
		},
		Refusals: []providertest.Refusal{
			{401, `{"error":{"code":401,"message":"API key not valid.","status":"UNAUTHENTICATED"}}`, nil,
				failure.Error{Kind: failure.Unauthorized, Code: "UNAUTHENTICATED", Message: "API key not valid."}},
			{403, suspended, nil,
				failure.Error{Kind: failure.Unauthorized, Code: "CONSUMER_SUSPENDED", Message: "Permission denied: Consumer 'api_key:[key]' has been suspended."}},
			{403, strings.ReplaceAll(suspended, googles, "AQ.odd-RECOGNISABLE"), nil,
				failure.Error{Kind: failure.Unauthorized, Code: "CONSUMER_SUSPENDED", Message: "Permission denied: Consumer 'api_key:[key]' has been suspended."}},
			{400, `{"error":{"code":400,"message":"not ` + key + ` nor ` + googles + `","status":"INVALID_ARGUMENT"}}`, nil,
				failure.Error{Kind: failure.InvalidRequest, Code: "INVALID_ARGUMENT", Message: "not [key] nor [key]"}},
			{429, `{"error":{"code":429,"message":"Resource exhausted.","status":"RESOURCE_EXHAUSTED","details":[{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"2s"}]}}`, nil,
				failure.Error{Kind: failure.RateLimited, Code: "RESOURCE_EXHAUSTED", Message: "Resource exhausted.", Told: true, RetryAfter: 2 * time.Second}},
			{503, `{"error":{"code":503,"message":"The model is overloaded.","status":"UNAVAILABLE"}}`, nil,
				failure.Error{Kind: failure.Overloaded, Code: "UNAVAILABLE", Message: "The model is overloaded."}},
			{400, `{"error":{"code":400,"message":"` + strings.Repeat("x", 2000) + `"}}`, nil, failure.Error{Kind: failure.InvalidRequest, Message: strings.Repeat("x", 497) + "…"}},
		},
		Unread: map[string]error{"a nil of the SDK": (*genai.APIError)(nil)},
		SDK:    sdkError,
	})
}

// Classify reads the SDK's error by pointer too, keeps its details, and hides
// keys by the form that Google gives them.
func TestClassifyKeepsTheDetailsWithoutKeys(t *testing.T) {
	environment(t, nil)
	for _, secret := range []string{googles, "AQ.odd-RECOGNISABLE"} {
		api := genai.APIError{Code: 403, Status: "PERMISSION_DENIED", Message: "Consumer 'api_key:" + secret + "' has been suspended.",
			Details: []map[string]any{{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "metadata": map[string]any{"containerInfo": "api_key:" + secret}}}}
		for _, err := range []error{api, &api} {
			classified := gemini.Classify(err)
			if clean, ok := errors.AsType[genai.APIError](classified); !ok || clean.Code != 403 || len(clean.Details) != 1 {
				t.Errorf("the SDK's error is %+v", clean)
			}
			for inner := classified; inner != nil; inner = errors.Unwrap(inner) {
				if printed := fmt.Sprintf("%v %+v %#v", inner, inner, inner); strings.Contains(printed, "RECOGNISABLE") {
					t.Errorf("shows the key: %s", printed)
				}
			}
		}
	}
}

func TestClassifyErrorsInAStream(t *testing.T) {
	environment(t, nil)
	s := server(t, stream(data(piece(`{"text":"half"}`), `{"error":{"code":503,"message":"The model is overloaded.","status":"UNAVAILABLE"}}`)))
	client, err := own(t.Context(), s.URL, s.Client())
	if err != nil {
		t.Fatal(err)
	}
	var last error
	for _, err := range client.Models.GenerateContentStream(t.Context(), "gemini-3.5-flash-lite", genai.Text("the prompt"), nil) {
		last = err
	}
	got, ok := errors.AsType[*failure.Error](gemini.Classify(last))
	if !ok || got.Kind != failure.Overloaded || got.Status != 503 {
		t.Errorf("got %#v of %v", got, last)
	}
}
