package provider_test

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"

	"llmcall/llm"
	"llmcall/provider"
)

// What an adapter says that its API lacks is refused before anything is sent, and nothing
// else is.
func TestLacks(t *testing.T) {
	asked := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked++
		w.WriteHeader(http.StatusTeapot)
	}))
	defer server.Close()
	emptyEnvironment(t)
	for _, p := range provider.All() {
		m := open(t, p.Name+"/m", provider.Options{APIKey: secret, BaseURL: server.URL, HTTPClient: server.Client()})
		var lacks []string
		if l, ok := m.(interface{ Lacks() []string }); ok {
			lacks = l.Lacks()
		}
		for setting, set := range map[string]func(*llm.Request){
			"seed": func(r *llm.Request) { r.Seed = new(int64(1)) },
			"stop": func(r *llm.Request) { r.Stop = []string{"END"} },
		} {
			req, before := llm.Prompt("Hi!"), asked
			set(req)
			if _, err := m.Complete(t.Context(), req); err == nil || (asked > before) == slices.Contains(lacks, setting) {
				t.Errorf("%s: %s was sent: %v, and the API lacks %q: %v", p.Name, setting, asked > before, lacks, err)
			}
		}
	}
}
