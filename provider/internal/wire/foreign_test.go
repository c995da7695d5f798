package wire

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"syscall"
	"testing"

	"llmcall/classify"
	"llmcall/failure"
)

func TestSecretsOfRequests(t *testing.T) {
	if got := Secrets(nil); got != nil {
		t.Errorf("nil: got %q", got)
	}
	for _, name := range []string{"Authorization", "X-Api-Key", "X-Goog-Api-Key", "Api-Key", "Cookie", "Proxy-Authorization"} {
		for _, value := range []string{secret, "Bearer " + secret, "Basic  " + secret} {
			if got := Secrets(&http.Request{Header: http.Header{name: {value}}}); !slices.Contains(got, secret) {
				t.Errorf("%s: %s: got %q", name, value, got)
			}
		}
	}
	for _, address := range []string{"https://x/v1?key=" + secret, "https://me:" + secret + "@x/v1"} {
		u, err := url.Parse(address)
		if err != nil {
			t.Fatal(err)
		}
		if got := Secrets(&http.Request{URL: u}); !slices.Contains(got, secret) {
			t.Errorf("%s: got %q", address, got)
		}
	}
}

func TestForeignResponses(t *testing.T) {
	request := &http.Request{Method: http.MethodPost, Header: http.Header{"Authorization": {"Bearer " + secret}}}
	f := Foreign{Protocol: classify.OpenAI, Home: "https://api.example.com/v1", Secrets: []string{secret, "", "bad"}}
	for address, provider := range map[string]string{
		"": "openai", "https://api.example.com/v1/x": "openai", "https://API.example.com": "openai",
		"https://gateway.example.com/v1": "gateway.example.com", "http://10.0.0.5:8000/v1": "10.0.0.5:8000",
	} {
		request.URL = nil
		if address != "" {
			u, err := url.Parse(address)
			if err != nil {
				t.Fatal(err)
			}
			request.URL = u
		}
		x := f.Response(request, &http.Response{StatusCode: 401, Header: http.Header{"X-Request-Id": {secret}}}, []byte(`{"error":{"message":"bad `+secret+`"}}`))
		got := failed(t, x.Refused(nil))
		if got.Kind != failure.Unauthorized || got.Provider != provider || got.Model != "" || got.Message != "bad [key]" || got.RequestID != "[key]" {
			t.Errorf("%s: got %#v", address, got)
		}
		mustHide(t, x.Refused(nil))
		if kept := x.KeptResponse(); kept.Request.Header.Get("Authorization") != "" || kept.Header.Get("X-Request-Id") != "[key]" {
			t.Errorf("%s: kept %+v", address, kept)
		} else if left, err := io.ReadAll(kept.Body); err != nil || !strings.Contains(string(left), "bad [key]") {
			t.Errorf("%s: kept %q, %v", address, left, err)
		}
	}
	x := f.Response(nil, &http.Response{StatusCode: 503}, nil)
	if got := failed(t, x.Refused(nil)); got.Kind != failure.Transient || got.Provider != "openai" || got.Status != 503 || x.KeptResponse().Request == nil {
		t.Errorf("without a request: got %#v", got)
	}
}

// What the network did has a kind; any other error is the program's.
func TestForeignFailuresOfTheNetwork(t *testing.T) {
	f := Foreign{Protocol: classify.OpenAI, Home: "https://api.example.com/v1"}
	sent := func(address string, err error) error { return &url.Error{Op: "Post", URL: address, Err: err} }
	for name, step := range map[string]struct {
		err      error
		kind     failure.Kind
		provider string
	}{
		"reset":          {sent("https://api.example.com/v1/x", syscall.ECONNRESET), failure.Transient, "openai"},
		"of another":     {fmt.Errorf("asking: %w", sent("https://gateway.example.com/v1", syscall.ECONNRESET)), failure.Transient, "gateway.example.com"},
		"bare":           {io.ErrUnexpectedEOF, failure.Transient, "openai"},
		"a bad scheme":   {sent("https://api.example.com/v1/x", http.ErrSchemeMismatch), failure.InvalidRequest, "openai"},
		"not an address": {sent("::", io.EOF), failure.Transient, "openai"},
		"a key in it":    {sent("https://api.example.com/v1?key="+secret, syscall.ECONNRESET), failure.Transient, "openai"},
	} {
		err := f.Broken(step.err)
		if got := failed(t, err); got.Kind != step.kind || got.Provider != step.provider {
			t.Errorf("%s: got %#v", name, got)
		}
		mustHide(t, err)
	}
	for name, err := range map[string]error{
		"nil": nil, "any other": errors.New("no stock"),
		"classified": sent("https://api.example.com", &failure.Error{Kind: failure.Overloaded}),
		"cancelled":  sent("https://api.example.com", context.Canceled), "a deadline": sent("https://api.example.com", context.DeadlineExceeded),
		"an open circuit": sent("https://api.example.com", open{}),
	} {
		if got := f.Broken(err); got != err {
			t.Errorf("%s: got %#v", name, got)
		}
	}
	if strings.Contains(fmt.Sprintf("%+v", f.at(&url.URL{})), secret) {
		t.Error("shows the key")
	}
}

// open is the error of a circuit breaker.
type open struct{}

func (open) Error() string     { return "open" }
func (open) CircuitOpen() bool { return true }
