package classify_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"llmcall/classify"
	"llmcall/failure"
)

// ask is a program's own way to call a provider.
func ask(client *http.Client, address string) (string, error) {
	response, err := client.Post(address, "application/json", strings.NewReader(`{"model":"gpt-6-luna"}`))
	if err != nil {
		return "", &failure.Error{Kind: classify.Network(err), Err: err}
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	if err != nil {
		return "", &failure.Error{Kind: classify.Network(err), Err: err}
	}
	if f := classify.Response(classify.OpenAI, response, body); f != nil {
		return "", f
	}
	return string(body), nil
}

func ExampleResponse() {
	provider := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "20")
		w.WriteHeader(http.StatusTooManyRequests)
		fmt.Fprint(w, `{"error":{"code":"rate_limit_exceeded","message":"Rate limit reached for requests."}}`)
	}))
	defer provider.Close()

	_, err := ask(provider.Client(), provider.URL)
	wait, told := failure.RetryAfterOf(err)
	fmt.Println(err)
	fmt.Println(failure.KindOf(err), wait, told)
	// Output:
	// openai: rate_limited (HTTP 429, rate_limit_exceeded, come back in 20s): Rate limit reached for requests.
	// rate_limited 20s true
}

func TestResponse(t *testing.T) {
	for _, step := range []struct {
		name   string
		status int
		body   string
		want   failure.Kind
		none   bool
	}{
		{name: "an answer", status: 200, body: `{"choices":[]}`, none: true},
		{name: "an answer that is no JSON", status: 200, body: `text`, none: true},
		{name: "an error within a success", status: 200, body: `{"error":{"code":"server_error","message":"m"}}`, want: failure.Transient},
		{name: "a refusal", status: 429, body: `{}`, want: failure.RateLimited},
		{name: "a proxy's page", status: 502, body: `<html>`, want: failure.Transient},
		{name: "a redirect", status: 307, want: failure.InvalidRequest},
	} {
		got := classify.Response(classify.OpenAI, &http.Response{StatusCode: step.status}, []byte(step.body))
		if (got == nil) != step.none || got != nil && got.Kind != step.want {
			t.Errorf("%s: got %v", step.name, got)
		}
	}
}

func TestResponseCountsFromNow(t *testing.T) {
	at := time.Now().Add(time.Hour).UTC().Format(http.TimeFormat)
	got := classify.Response(classify.OpenAI, &http.Response{StatusCode: 429, Header: http.Header{"Retry-After": {at}}}, nil)
	if !got.Told || got.RetryAfter > time.Hour || got.RetryAfter < 59*time.Minute {
		t.Errorf("got %v, %v", got.RetryAfter, got.Told)
	}
}

func TestResponseKeepsNoKeyAndNothingOfTheRequest(t *testing.T) {
	const key = "sk-proj-0123456789"
	for name, prepare := range map[string]func(*http.Request){
		"bearer":       func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+key) },
		"other scheme": func(r *http.Request) { r.Header.Set("Authorization", "Basic  "+key) },
		"no scheme":    func(r *http.Request) { r.Header.Set("Authorization", key) },
		"Anthropic":    func(r *http.Request) { r.Header.Set("X-Api-Key", key) },
		"Azure":        func(r *http.Request) { r.Header.Set("Api-Key", key) },
		"Gemini":       func(r *http.Request) { r.Header.Set("X-Goog-Api-Key", key) },
		"query":        func(r *http.Request) { r.URL.RawQuery = "key=" + key },
		"password":     func(r *http.Request) { r.URL.User = url.UserPassword("me", key) },
	} {
		r := httptest.NewRequest("POST", "/v1", strings.NewReader("the prompt"))
		prepare(r)
		for _, status := range []int{200, 401} {
			body := `{"error":{"code":"` + key + `","message":"Incorrect API key: ` + key + ` sk-proj-\n0123456789, ` + strings.Repeat("x", 480) + key + `"}}`
			got := classify.Response(classify.OpenAI, &http.Response{
				StatusCode: status, Header: http.Header{"X-Request-Id": {key}}, Request: r,
			}, []byte(body))
			for _, text := range []string{fmt.Sprintf("%#v", got), got.Error()} {
				if strings.Contains(strings.ReplaceAll(text, " ", ""), key) || strings.Contains(text, "the prompt") {
					t.Errorf("%s, %d: %s", name, status, text)
				}
			}
			if len(got.Message) > 500 || errors.Unwrap(got) != nil {
				t.Errorf("%s, %d: %d bytes, %v", name, status, len(got.Message), got.Err)
			}
		}
	}
}

// A key of one's own server may be a part of every other word.
func TestResponseLeavesWordsWhole(t *testing.T) {
	r := httptest.NewRequest("POST", "/v1?api-version=1", nil)
	r.Header.Set("Authorization", "Bearer x")
	got := classify.Response(classify.OpenAI, &http.Response{StatusCode: 400, Request: r}, []byte(`{"error":{"code":"context_length_exceeded","message":"1 token in excess"}}`))
	if got.Kind != failure.ContextTooLong || got.Code != "context_length_exceeded" || got.Message != "1 token in excess" {
		t.Errorf("got %v", got)
	}
}
