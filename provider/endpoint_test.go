package provider_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"llmcall/endpoint"
	"llmcall/llm"
	"llmcall/provider"
)

// secret and another are keys that would be seen wherever they leak.
const (
	secret  = "sk-RECOGNISABLE-0123456789"
	another = "sk-RECOGNISABLE-9876543210"
)

// emptyEnvironment unsets what Open reads.
func emptyEnvironment(t *testing.T) {
	t.Helper()
	t.Setenv("OPENAI_API_VERSION", "")
	for _, p := range provider.All() {
		t.Setenv(p.KeyVariable, "")
		if p.BaseURLVariable != "" {
			t.Setenv(p.BaseURLVariable, "")
		}
	}
}

func open(t *testing.T, name string, opts provider.Options) llm.Model {
	t.Helper()
	m, err := provider.Open(name, opts)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// What shares a circuit breaker, a pacer and a budget is model, address and key,
// or a name. It is so for every provider.
func TestEndpointsOfAllProviders(t *testing.T) {
	emptyEnvironment(t)
	const home = "https://llm.example.com/v1"
	for _, p := range provider.All() {
		name := p.Name + "/llama-4"
		first := endpoint.KeyOf(open(t, name, provider.Options{APIKey: secret, BaseURL: home}))
		if first.Model != name || first.Address != home || first.Credential != endpoint.Hash(secret) || first.Name != "" {
			t.Errorf("%s: got %+v", name, first)
		}
		for _, step := range []struct {
			what, name string
			opts       provider.Options
			same       bool
		}{
			{"all the same", name, provider.Options{APIKey: secret, BaseURL: home}, true},
			{"another client", name, provider.Options{APIKey: secret, BaseURL: home, HTTPClient: new(http.Client)}, true},
			{"a slash at the end", name, provider.Options{APIKey: secret, BaseURL: home + "/"}, true},
			{"the scheme's own port", name, provider.Options{APIKey: secret, BaseURL: "https://llm.example.com:443/v1"}, true},
			{"capitals in the host", name, provider.Options{APIKey: secret, BaseURL: "https://LLM.Example.com/v1"}, true},
			{"a line end after the key", name, provider.Options{APIKey: secret + "\n", BaseURL: home}, true},
			{"another key", name, provider.Options{APIKey: another, BaseURL: home}, false},
			{"another model", p.Name + "/llama-5", provider.Options{APIKey: secret, BaseURL: home}, false},
			{"another host", name, provider.Options{APIKey: secret, BaseURL: "https://llm.example.org/v1"}, false},
			{"another port", name, provider.Options{APIKey: secret, BaseURL: "https://llm.example.com:8443/v1"}, false},
			{"another path", name, provider.Options{APIKey: secret, BaseURL: "https://llm.example.com/v2"}, false},
			{"another scheme", name, provider.Options{APIKey: secret, BaseURL: "http://llm.example.com/v1", AllowPlainHTTP: true}, false},
			{"a name", name, provider.Options{APIKey: secret, BaseURL: home, Endpoint: "ours"}, false},
		} {
			if got := endpoint.KeyOf(open(t, step.name, step.opts)); (got == first) != step.same {
				t.Errorf("%s, %s: got %+v, first %+v", name, step.what, got, first)
			}
		}
		ours := open(t, name, provider.Options{APIKey: another, BaseURL: home, Endpoint: "ours"})
		if got := endpoint.KeyOf(ours); got != (endpoint.Key{Name: "ours"}) || ours.Name() != name {
			t.Errorf("%s: with a name: %+v of %s", name, got, ours.Name())
		}
	}
}

func TestTheProvidersOwnAddressIsNone(t *testing.T) {
	emptyEnvironment(t)
	for _, p := range provider.All() {
		if p.BaseURL == "" {
			continue
		}
		for _, base := range []string{"", p.BaseURL, p.BaseURL + "/"} {
			m := open(t, p.Name+"/m", provider.Options{APIKey: secret, BaseURL: base})
			if got := endpoint.KeyOf(m); got.Address != "" || got.Model != p.Name+"/m" {
				t.Errorf("%s at %q: got %+v", p.Name, base, got)
			}
		}
	}
}

func TestEnvironmentAndOptionsAreOneEndpoint(t *testing.T) {
	emptyEnvironment(t)
	given := endpoint.KeyOf(open(t, "openai/m", provider.Options{APIKey: secret, BaseURL: "https://llm.example.com/v1"}))
	t.Setenv("OPENAI_API_KEY", secret)
	t.Setenv("OPENAI_BASE_URL", "https://llm.example.com/v1")
	if got := endpoint.KeyOf(open(t, "openai/m", provider.Options{})); got != given {
		t.Errorf("got %+v, given %+v", got, given)
	}
}

func TestNoKeyNoCredential(t *testing.T) {
	emptyEnvironment(t)
	m := open(t, "vllm/m", provider.Options{BaseURL: "http://127.0.0.1:1/v1"})
	if got, want := endpoint.KeyOf(m), (endpoint.Key{Model: "vllm/m", Address: "http://127.0.0.1:1/v1"}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// Two tenants with a key each open a model each, and the key of the environment
// is neither's.
func TestEachTenantSendsItsOwnKey(t *testing.T) {
	var sent []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for _, header := range []string{"Authorization", "X-Api-Key", "X-Goog-Api-Key", "Api-Key"} {
			if value := strings.TrimPrefix(r.Header.Get(header), "Bearer "); value != "" {
				sent = append(sent, value)
			}
		}
		w.WriteHeader(http.StatusTeapot)
	}))
	defer server.Close()
	emptyEnvironment(t)
	for _, p := range provider.All() {
		t.Setenv(p.KeyVariable, "sk-of-the-environment")
		sent = nil
		for _, step := range []struct{ given, want string }{{secret, secret}, {another, another}, {"", "sk-of-the-environment"}} {
			m := open(t, p.Name+"/m", provider.Options{APIKey: step.given, BaseURL: server.URL, HTTPClient: server.Client()})
			if _, err := m.Complete(t.Context(), llm.Prompt("Hi!")); err == nil {
				t.Fatal("the server answers")
			}
			if len(sent) != 1 || sent[0] != step.want {
				t.Errorf("%s: sent %q, want %q", p.Name, sent, step.want)
			}
			sent = nil
		}
	}
}

// Nothing that a program prints has the key: no endpoint's key, no model, no
// error of a server that quotes what it was sent.
func TestNothingPrintedHasTheKey(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Request-Id", secret)
		w.WriteHeader(http.StatusUnauthorized)
		fmt.Fprintf(w, `{"error":{"message":"Incorrect API key: %s","code":"%s"}}`, secret, secret)
	}))
	defer server.Close()
	emptyEnvironment(t)
	for _, p := range provider.All() {
		m := open(t, p.Name+"/m", provider.Options{APIKey: secret, BaseURL: server.URL, HTTPClient: server.Client()})
		printed := fmt.Sprintf("%+v %#v %v %+v", endpoint.KeyOf(m), endpoint.KeyOf(m), endpoint.KeyOf(m), m)
		_, err := m.Complete(t.Context(), llm.Prompt("Hi!"))
		if err == nil {
			t.Fatal("the server answers")
		}
		for ; err != nil; err = errors.Unwrap(err) {
			printed += fmt.Sprintf(" %v %+v %#v", err, err, err)
		}
		if strings.Contains(printed, secret) {
			t.Errorf("%s: %s", p.Name, printed)
		}
	}
	for _, opts := range []provider.Options{
		{APIKey: secret, Endpoint: "tenant " + secret}, {APIKey: secret + " " + secret}, {APIKey: secret, BaseURL: secret},
		{APIKey: secret, BaseURL: "http://api.example.com/" + secret},
	} {
		if _, err := provider.Open("openai/m", opts); err == nil || strings.Contains(err.Error(), secret) {
			t.Errorf("%+v: got %v", opts, err)
		}
	}
}

// A key goes in plain to this machine and to private networks; to the internet
// only where the program says so.
func TestKeysOverPlainHTTP(t *testing.T) {
	emptyEnvironment(t)
	for _, p := range provider.All() {
		variable := p.BaseURLVariable
		for base, allowed := range map[string]bool{"http://10.0.0.5:8000/v1": true, "http://llm.example.com/v1": false} {
			_, err := provider.Open(p.Name+"/m", provider.Options{APIKey: secret, BaseURL: base})
			if (err == nil) != allowed || err != nil && !strings.Contains(err.Error(), "BaseURL must be an https address unless AllowPlainHTTP is set, got plain http to llm.example.com") {
				t.Errorf("%s, %s: got %v", p.Name, base, err)
			}
			if variable == "" {
				continue
			}
			t.Setenv(variable, base)
			_, err = provider.Open(p.Name+"/m", provider.Options{APIKey: secret})
			if (err == nil) != allowed || err != nil && !strings.Contains(err.Error(), "the environment variable "+variable+" must be an https address") {
				t.Errorf("%s, %s=%s: got %v", p.Name, variable, base, err)
			}
			t.Setenv(variable, "")
		}
		if _, err := provider.Open(p.Name+"/m", provider.Options{APIKey: secret, BaseURL: "http://llm.example.com/v1", AllowPlainHTTP: true}); err != nil {
			t.Errorf("%s: %v", p.Name, err)
		}
	}
}
