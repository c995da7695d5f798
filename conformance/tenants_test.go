package conformance_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"llmcall"
	"llmcall/backoff"
	"llmcall/chaos"
	"llmcall/endpoint"
	"llmcall/llm"
	"llmcall/pace"
	models "llmcall/provider" // provider is a column of the page
	"llmcall/retry"
)

// secret is in what a provider says to one tenant, which may name its
// organization and quote its prompts.
const secret = "org-9f8e7d of Acme quotes the merger of"

// refusal answers a request as a provider in trouble.
type refusal func(w http.ResponseWriter)

func says401(w http.ResponseWriter) { refuse(w, 401, "authentication_error", "invalid_api_key") }
func says503(w http.ResponseWriter) { refuse(w, 503, "server_error", "server_error") }
func says429(w http.ResponseWriter) {
	w.Header().Set("Retry-After", "1800")
	refuse(w, 429, "requests", "rate_limit_exceeded")
}

func refuse(w http.ResponseWriter, status int, kind, code string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	fmt.Fprintf(w, `{"error":{"message":"%s","type":"%s","code":"%s"}}`, secret, kind, code)
}

// tenanted is a provider that refuses the requests with one key, or all, and
// answers the others.
type tenanted struct {
	url      string
	requests atomic.Int64
}

func serve(t *testing.T, badKey string, refused refusal) *tenanted {
	t.Helper()
	s, err := chaos.New(chaos.Config{})
	if err != nil {
		t.Fatal(err)
	}
	p := &tenanted{}
	url, _, end := listen(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.requests.Add(1)
		if badKey == "*" || keyOf(r) == badKey {
			_, _ = io.Copy(io.Discard, r.Body)
			refused(w)
			return
		}
		s.ServeHTTP(w, r)
	}))
	t.Cleanup(end)
	p.url = url + "/v1"
	return p
}

// tenant is a caller with a key and a client of its own.
func tenant(t *testing.T, url, key string, cfg llmcall.RetryConfig) *llmcall.Client {
	t.Helper()
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	model, err := models.Open("vllm/llama-3", models.Options{BaseURL: url, APIKey: key, HTTPClient: &http.Client{Transport: transport}})
	if err != nil {
		t.Fatal(err)
	}
	c, err := llmcall.New([]llm.Model{model}, nil, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// shared is the configuration of tenants that share a registry of their own.
func shared(t *testing.T) llmcall.RetryConfig {
	t.Helper()
	r, err := endpoint.NewRegistry(endpoint.Config{})
	if err != nil {
		t.Fatal(err)
	}
	return llmcall.RetryConfig{Endpoints: r, Backoff: backoff.Constant{}}
}

// callBy makes a call and returns its error.
func callBy(t *testing.T, c *llmcall.Client) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), callLimit)
	defer cancel()
	_, err := c.Do(ctx, llm.Prompt("Say something about the weather."))
	return err
}

func TestABadKeyShutsOutNoOther(t *testing.T) {
	p, cfg := serve(t, "bad", says401), shared(t)
	cfg.EnableCircuitBreaker = true
	bad, good := tenant(t, p.url, "bad", cfg), tenant(t, p.url, "good", cfg)
	for n := range 3 {
		if err := callBy(t, bad); err == nil {
			t.Fatal("a bad key was answered")
		}
		if err := callBy(t, good); err != nil {
			t.Errorf("after %d failures of a bad key, with a good one: %v", n+1, err)
		}
	}
	if n := p.requests.Load(); n != 4 {
		t.Errorf("%d requests, want that of the bad key, whose circuit is open then, and 3 of the good one", n)
	}
}

func TestADeadAddressShutsOutNoOther(t *testing.T) {
	dead, well, cfg := serve(t, "*", says503), serve(t, "", nil), shared(t)
	cfg.EnableCircuitBreaker = true
	a, b := tenant(t, dead.url, "key", cfg), tenant(t, well.url, "key", cfg)
	for range 5 {
		if err := callBy(t, a); err == nil {
			t.Fatal("a dead address has answered")
		}
	}
	if n := dead.requests.Load(); n != 5 {
		t.Errorf("%d requests, want 5, which open the circuit", n)
	}
	if err := callBy(t, b); err != nil {
		t.Errorf("at the other address: %v", err)
	}
}

func TestATenantsLimitHoldsNoOther(t *testing.T) {
	p, cfg := serve(t, "told", says429), shared(t)
	a, b := tenant(t, p.url, "told", cfg), tenant(t, p.url, "other", cfg)
	for range 2 {
		start := time.Now()
		if err := callBy(t, a); err == nil || time.Since(start) > 10*time.Second {
			t.Errorf("who was told 30 min ends with %v after %v", err, time.Since(start))
		}
	}
	if n := p.requests.Load(); n != 1 {
		t.Errorf("who was told 30 min has made %d requests", n)
	}
	if err := callBy(t, b); err != nil {
		t.Errorf("the other tenant: %v", err)
	}
}

// In a gateway tenants share a provider's key, and so its endpoint. What the
// provider said to one of them is in no text of another's error.
func TestATenantReadsNothingOfAnothers(t *testing.T) {
	for name, c := range map[string]struct {
		refused refusal
		first   int                  // calls until the endpoint refuses by itself
		is      func(err error) bool // how the next call ends
	}{
		"unauthorized": {says401, 1, stopped(retry.CircuitOpen)},
		"failing":      {says503, 2, stopped(retry.CircuitOpen)},
		"told 30 min":  {says429, 1, func(err error) bool { _, ok := errors.AsType[*pace.Error](err); return ok }},
	} {
		t.Run(name, func(t *testing.T) {
			p, cfg := serve(t, "*", c.refused), shared(t)
			cfg.EnableCircuitBreaker = true
			var events []llmcall.Event
			mine := tenant(t, p.url, "gateway", cfg)
			cfg.Observer = func(_ context.Context, e llmcall.Event) context.Context {
				events = append(events, e)
				return nil
			}
			other := tenant(t, p.url, "gateway", cfg)
			for range c.first {
				if err := callBy(t, mine); err == nil || !strings.Contains(err.Error(), secret) {
					t.Fatalf("one's own error says nothing: %v", err)
				}
			}
			before := p.requests.Load()
			err := callBy(t, other)
			e, ok := errors.AsType[*llmcall.Error](err)
			if !ok || !c.is(err) || p.requests.Load() != before {
				t.Fatalf("got %v after %d requests", err, p.requests.Load()-before)
			}
			for where, text := range everywhere(t, e, events) {
				if strings.Contains(text, "Acme") {
					t.Errorf("another tenant's error is in %s: %.300s", where, text)
				}
			}
			for e := range cfg.Endpoints.All() {
				for _, verb := range []string{"%v", "%+v", "%#v"} {
					if text := fmt.Sprintf(verb, e.Snapshot()); strings.Contains(text, "Acme") {
						t.Errorf("it is in the snapshot: %.300s", text)
					}
				}
			}
		})
	}
}

func stopped(r retry.Reason) func(error) bool {
	return func(err error) bool {
		e, ok := errors.AsType[*retry.Error](err)
		return ok && e.Reason == r
	}
}
