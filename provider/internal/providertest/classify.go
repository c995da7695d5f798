package providertest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"llmcall/failure"
)

// Classifier is an adapter's function Classify under test, with the SDK whose
// errors it reads.
type Classifier struct {
	Provider string // the provider of the SDK
	Classify func(error) error
	// Call sends "the prompt" by the SDK, with [Key] and without retries, as a
	// program without the adapter does.
	Call func(ctx context.Context, baseURL string, client *http.Client) error
	// Home is the provider's own address. For servers at other addresses, the
	// provider in errors is the name of their host. Default "": it is always
	// Provider, because the SDK's error does not say where it is from.
	Home string
	// KeepsResponse says that the SDK's error has the response's header.
	KeepsResponse bool

	Refusals []Refusal // the provider's own; Want includes the request's ID
	// Unread are errors of the SDK's types that Classify can't read.
	Unread map[string]error
	SDK    func(err error) (told SDKError, ok bool)
}

// RunClassifier tests a Classify function against the contract.
func RunClassifier(t *testing.T, c Classifier) {
	t.Run("errors of the SDK are classified", func(t *testing.T) { errorsOfTheSDK(t, c) })
	t.Run("the provider is named", func(t *testing.T) { providerIsNamed(t, c) })
	t.Run("all others are left as they are", func(t *testing.T) { othersAreLeft(t, c) })
}

func (c Classifier) call(t *testing.T, handle http.HandlerFunc) error {
	t.Helper()
	s := Server(t, handle)
	return c.failed(t, t.Context(), s.URL, s.Client())
}

func (c Classifier) failed(t *testing.T, ctx context.Context, baseURL string, client *http.Client) error {
	t.Helper()
	err := c.Call(ctx, baseURL, client)
	if err == nil {
		t.Fatal("the call succeeds")
	}
	return err
}

func errorsOfTheSDK(t *testing.T, c Classifier) {
	refusals := append([]Refusal{
		{502, "<html>Bad Gateway</html>", nil, failure.Error{Kind: failure.Transient, Message: "<html>Bad Gateway</html>"}},
		{503, "", nil, failure.Error{Kind: failure.Transient, Message: "Service Unavailable"}},
		{401, `{"detail":"Unauthorized"}`, nil, failure.Error{Kind: failure.Unauthorized, Message: "Unauthorized"}},
	}, c.Refusals...)
	if c.KeepsResponse {
		refusals = append(refusals,
			Refusal{502, "<html>" + Key + "</html>", []string{"Set-Cookie", Key}, failure.Error{Kind: failure.Transient, Message: "<html>[key]</html>"}},
			Refusal{500, `{"error":{"message":"No."}}`, []string{"X-Should-Retry", "false"}, failure.Error{Kind: failure.Transient, Message: "No.", NoRetry: true}},
			Refusal{400, `{"error":{"message":"` + strings.Repeat("x", 2000) + `"}}`, nil, failure.Error{Kind: failure.InvalidRequest, Message: strings.Repeat("x", 497) + "…"}})
	}
	for _, step := range refusals {
		err := c.call(t, Reply(step.Status, step.Body, step.Headers...))
		before, _ := c.SDK(err)
		for range 2 { // the SDK's error is left as it was
			classified := c.Classify(fmt.Errorf("asking: %w", err))
			got, ok := errors.AsType[*failure.Error](classified)
			if !ok {
				t.Fatalf("%s: got %T", step.Body, classified)
			}
			if got.Kind != step.Want.Kind || got.Status != step.Status || got.Code != step.Want.Code || got.Message != step.Want.Message || got.RequestID != step.Want.RequestID ||
				got.Told != step.Want.Told || got.RetryAfter != step.Want.RetryAfter || got.NoRetry != step.Want.NoRetry || got.Model != "" {
				t.Errorf("%s\ngot  %#v\nwant %#v", step.Body, got, step.Want)
			}
			if got.Provider != c.Provider && (c.Home == "" || !strings.HasPrefix(got.Provider, "127.0.0.1:")) {
				t.Errorf("%s: the provider is %s", step.Body, got.Provider)
			}
			SecretFree(t, classified)
			told, ok := c.SDK(classified)
			if !ok || told.Status != step.Status || strings.Contains(told.Response, "Set-Cookie") {
				t.Errorf("%s: the SDK's error is %+v", step.Body, told)
			}
			MustHide(t, "the SDK's error", told.Printed+told.Request+told.Response)
		}
		after, ok := c.SDK(err)
		if !ok || after != before || c.KeepsResponse && !(strings.Contains(after.Printed, Key) && strings.HasSuffix(after.Response, step.Body)) {
			t.Errorf("%s: the program's own error was changed: %+v", step.Body, after)
		}
	}
}

func providerIsNamed(t *testing.T, c Classifier) {
	addresses := map[string]string{c.Home: c.Provider, "https://gateway.example.com/v1": "gateway.example.com"}
	if c.Home == "" {
		addresses = map[string]string{"https://gateway.example.com/v1": c.Provider}
	} else {
		addresses[strings.Replace(c.Home, "api.", "API.", 1)] = c.Provider
	}
	for base, want := range addresses {
		unavailable := RoundTrip(func(r *http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: 503, Header: http.Header{}, Body: http.NoBody, Request: r}, nil
		})
		err := c.failed(t, t.Context(), base, &http.Client{Transport: unavailable})
		if got, ok := errors.AsType[*failure.Error](c.Classify(err)); !ok || got.Provider != want {
			t.Errorf("%s: got %+v", base, got)
		}
		broken := RoundTrip(func(*http.Request) (*http.Response, error) { return nil, io.ErrUnexpectedEOF })
		err = c.failed(t, t.Context(), base, &http.Client{Transport: broken})
		got, ok := errors.AsType[*failure.Error](c.Classify(err))
		if !ok || c.Home != "" && got.Provider != want || got.Kind != failure.Transient || !errors.Is(got, io.ErrUnexpectedEOF) {
			t.Errorf("%s, broken: got %+v", base, got)
		}
	}
}

func othersAreLeft(t *testing.T, c Classifier) {
	if err := c.Classify(nil); err != nil {
		t.Errorf("nil: got %v", err)
	}
	known := &failure.Error{Kind: failure.Overloaded}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	s := Server(t, Reply(200, "{}"))
	below := RoundTrip(func(*http.Request) (*http.Response, error) { return nil, known })
	others := map[string]error{
		"any other":         errors.New("no stock"),
		"classified":        fmt.Errorf("asking: %w", known),
		"cancelled":         c.failed(t, ended, s.URL, s.Client()),
		"a deadline":        context.DeadlineExceeded,
		"classified, below": c.failed(t, t.Context(), s.URL, &http.Client{Transport: below}),
	}
	for name, err := range c.Unread {
		others[name] = err
	}
	for name, err := range others {
		if got := c.Classify(err); got != err {
			t.Errorf("%s: got %#v", name, got)
		}
	}
}
