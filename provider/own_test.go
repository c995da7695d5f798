package provider_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"llmcall/endpoint"
	"llmcall/failure"
	"llmcall/llm"
	"llmcall/provider"
)

// A name of the user's is a server with a protocol; with several keys there are several
// models of its name, each with its own endpoint.
func TestNamesOfTheUsersOwn(t *testing.T) {
	var keys []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		keys = append(keys, strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "))
		io.Copy(io.Discard, r.Body)
		w.WriteHeader(http.StatusUnauthorized)
		io.WriteString(w, `{"error":{"message":"no"}}`)
	}))
	defer server.Close()
	emptyEnvironment(t)
	t.Setenv("ACME_KEY", secret)
	file := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(file, []byte(another+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	own := map[string]provider.Own{
		"acme":   {Protocol: "openai", BaseURL: server.URL, Keys: []string{"env:ACME_KEY", "file:" + file}},
		"openai": {Keys: []string{"env:ACME_KEY"}},
		"local":  {Protocol: "vllm", BaseURL: "http://127.0.0.1:1/v1"},
	}
	models, err := provider.OpenAll([]string{"acme/small", "local/m", "openai/gpt", "acme/big/one"}, own, provider.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, m := range models {
		names = append(names, m.Name())
	}
	if got := strings.Join(names, " "); got != "acme/small acme/small local/m openai/gpt acme/big/one acme/big/one" {
		t.Errorf("opened %s", got)
	}
	if a, b := endpoint.KeyOf(models[0]), endpoint.KeyOf(models[1]); a == b || a.Address != server.URL || a.Credential != endpoint.Hash(secret) {
		t.Errorf("the endpoints are %+v and %+v", a, b)
	}
	_, err = models[1].Complete(t.Context(), llm.Prompt("Hi!"))
	e, ok := errors.AsType[*failure.Error](err)
	if !ok || e.Provider != "acme" || e.Model != "acme/small" || strings.Contains(err.Error(), another) || keys[0] != another {
		t.Errorf("%+v, sent %q", err, keys)
	}
	streamer, ok := models[0].(llm.Streamer)
	if !ok {
		t.Fatal("it can't stream")
	}
	for _, err := range streamer.Stream(t.Context(), llm.Prompt("Hi!")) {
		if e, ok := errors.AsType[*failure.Error](err); !ok || e.Provider != "acme" || strings.Contains(err.Error(), secret) {
			t.Errorf("%+v", err)
		}
	}
}

func TestImpossibleNamesOfTheUsersOwn(t *testing.T) {
	emptyEnvironment(t)
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	large := filepath.Join(t.TempDir(), "large")
	if err := os.WriteFile(large, []byte(strings.Repeat("k", 64<<10+1)), 0o600); err != nil {
		t.Fatal(err)
	}
	for want, row := range map[string]struct {
		name string
		own  provider.Own
	}{
		`providers.acme.keys[0] must be where a key is, got file:` + large + `, which is larger than 64 KiB`: {"acme/m", provider.Own{Protocol: "openai", Keys: []string{"file:" + large}}},
		`providers.acme.keys[0] can't be read: read ` + filepath.Dir(large):                                  {"acme/m", provider.Own{Protocol: "openai", Keys: []string{"file:" + filepath.Dir(large)}}},
		`providers.acme.protocol: unknown provider "opnai", did you mean openai?`:                            {"acme/m", provider.Own{Protocol: "opnai"}},
		`providers.acme.protocol must be the name of a known provider (openai,`:                              {"acme/m", provider.Own{}},
		`providers.acme.keys[0] must be where a key is, got env:NO_SUCH_KEY, in which there is none`:         {"acme/m", provider.Own{Protocol: "openai", Keys: []string{"env:NO_SUCH_KEY"}}},
		`providers.acme.keys[0] must be where a key is, got file:` + empty + `, in which there is none`:      {"acme/m", provider.Own{Protocol: "openai", Keys: []string{"file:" + empty}}},
		`providers.acme.keys[0] must be env:NAME, file:PATH or none, got something else, which is not shown`: {"acme/m", provider.Own{Protocol: "openai", Keys: []string{secret}}},
		`providers.acme.keys[0] can't be read`:                                                               {"acme/m", provider.Own{Protocol: "openai", Keys: []string{"file:" + empty + "x"}}},
		`(of the configuration: acme, did you mean acme?)`:                                                   {"acne/m", provider.Own{Protocol: "openai"}},
	} {
		_, err := provider.OpenAll([]string{row.name}, map[string]provider.Own{"acme": row.own}, provider.Options{})
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), secret) {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	}
}

// The key of a provider is not sent to another server that speaks its protocol.
func TestAKeyIsNotSentToAServerOfTheUsersOwn(t *testing.T) {
	var keys []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		keys = append(keys, r.Header.Get("Authorization"))
		w.WriteHeader(http.StatusTeapot)
	}))
	defer server.Close()
	emptyEnvironment(t)
	t.Setenv("OPENAI_API_KEY", secret)
	own := map[string]provider.Own{"acme": {Protocol: "openai", BaseURL: server.URL}}
	_, err := provider.OpenAll([]string{"acme/m"}, own, provider.Options{})
	if err == nil || !strings.Contains(err.Error(), "providers.acme.key must be env:NAME or file:PATH, where the key of this server is, or none, got nothing: the key in OPENAI_API_KEY is for another server") {
		t.Errorf("%v", err)
	}
	own["acme"] = provider.Own{Protocol: "openai", BaseURL: server.URL, Keys: []string{"none"}}
	models, err := provider.OpenAll([]string{"acme/m"}, own, provider.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := models[0].Complete(t.Context(), llm.Prompt("Hi!")); err == nil || len(keys) != 1 || strings.Contains(keys[0], secret) {
		t.Errorf("sent %q, %v", keys, err)
	}
}
