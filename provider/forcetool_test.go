package provider_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"llmcall/classify"
	"llmcall/endpoint"
	"llmcall/failure"
	"llmcall/llm"
	"llmcall/provider"

	"github.com/tidwall/gjson"
)

// A request for a call says so in each protocol's words, whichever tool it is or any.
func TestForceTool(t *testing.T) {
	var sent []byte
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		sent, _ = io.ReadAll(r.Body)
		w.WriteHeader(http.StatusTeapot)
	}))
	defer server.Close()
	emptyEnvironment(t)
	tools := []llm.Tool{{Name: "search"}, {Name: "look_up"}}
	for _, p := range provider.All() {
		m := open(t, p.Name+"/m", provider.Options{APIKey: secret, BaseURL: server.URL, HTTPClient: server.Client()})
		path, named, anyOf := "tool_choice", `{"function":{"name":"search"},"type":"function"}`, `"required"`
		switch {
		case p.Protocol == classify.Anthropic:
			named, anyOf = `{"name":"search","type":"tool"}`, `{"type":"any"}`
		case p.Protocol == classify.Gemini:
			path, named, anyOf = "toolConfig.functionCallingConfig", `{"allowedFunctionNames":["search"],"mode":"ANY"}`, `{"mode":"ANY"}`
		case strings.HasSuffix(p.Name, "-responses"):
			named = `{"name":"search","type":"function"}`
		}
		for _, row := range []struct {
			tools []llm.Tool
			force string
			none  bool
			want  string // of what is sent; "" for nothing
			err   string
		}{
			{tools, "search", false, named, ""},
			{tools, "*", false, anyOf, ""},
			{tools, "", false, "", ""},
			{nil, "", false, "", ""},
			{tools, "serch", false, "", `force_tool: must be one of search, *, look_up, got "serch", did you mean search?`},
			{nil, "*", false, "", `force_tool: must be empty without tools, got "*"`},
		} {
			req := &llm.Request{Messages: []llm.Message{llm.User("Hi!")}, Tools: row.tools, ForceTool: row.force, NoToolCalls: row.none}
			sent = nil
			_, err := m.Complete(t.Context(), req)
			if got := gjson.GetBytes(sent, path).Raw; !sameJSON(got, row.want) || (sent == nil) != (row.err != "") || row.err != "" && !strings.Contains(err.Error(), row.err) {
				t.Errorf("%s, %q of %d tools: sent %s, %v", p.Name, row.force, len(row.tools), sent, err)
			}
		}
		// An answer without calls is wanted even so, and the provider's own tools are not known.
		_, _ = m.Complete(t.Context(), &llm.Request{Messages: []llm.Message{llm.User("Hi!")}, Tools: tools, ForceTool: "search", NoToolCalls: true})
		if got := gjson.GetBytes(sent, path).Raw; !strings.Contains(strings.ToLower(got), "none") {
			t.Errorf("%s: without calls: sent %s", p.Name, sent)
		}
		_, _ = m.Complete(t.Context(), &llm.Request{Messages: []llm.Message{llm.User("Hi!")}, ForceTool: "web", Extra: map[string]any{"tools": []any{}}})
		if got := gjson.GetBytes(sent, path).Raw; !strings.Contains(got, "web") {
			t.Errorf("%s: a tool of the provider: sent %s", p.Name, sent)
		}
	}
}

func sameJSON(a, b string) bool {
	left, right := gjson.Parse(a), gjson.Parse(b)
	if !left.IsObject() || !right.IsObject() {
		return a == b
	}
	fields := func(of gjson.Result) map[string]any { return of.Value().(map[string]any) }
	l, r := fields(left), fields(right)
	if len(l) != len(r) {
		return false
	}
	for name := range l {
		if !sameJSON(left.Get(name).Raw, right.Get(name).Raw) {
			return false
		}
	}
	return true
}

// A server that can't force a call is asked without, and the call is told.
func TestWhatCannotForceACallIsNoted(t *testing.T) {
	var bodies []string
	var greeting string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, _ := io.ReadAll(r.Body)
		bodies = append(bodies, string(text))
		if strings.Contains(string(text), "tool_choice") || strings.Contains(string(text), "toolConfig") {
			w.WriteHeader(http.StatusBadRequest)
			_, _ = io.WriteString(w, `{"error":{"message":"this model does not support this tool_choice"}}`)
			return
		}
		_, _ = io.WriteString(w, greeting)
	}))
	defer server.Close()
	emptyEnvironment(t)
	for _, p := range provider.All() {
		m := open(t, p.Name+"/m", provider.Options{APIKey: secret, BaseURL: server.URL, HTTPClient: server.Client()})
		req := &llm.Request{Messages: []llm.Message{llm.User("Hi!")}, Tools: []llm.Tool{{Name: "search"}}, ForceTool: "search"}
		greeting, _ = answers(p)
		for i, want := range []int{2, 1} { // the refusal is remembered
			n := &notes{}
			bodies = nil
			if _, err := m.Complete(endpoint.Listen(t.Context(), n), req); err != nil || len(bodies) != want {
				t.Fatalf("%s: sent %q, %v", p.Name, bodies, err)
			}
			if i == 0 && !strings.Contains(strings.Join(n.all, "\n"), "refused a forced call of a tool") {
				t.Errorf("%s: noted %q", p.Name, n.all)
			}
		}
	}
	n := &notes{}
	m := open(t, "ollama/m", provider.Options{BaseURL: server.URL, HTTPClient: server.Client()})
	_, err := m.Complete(endpoint.Listen(t.Context(), n), &llm.Request{Messages: []llm.Message{llm.User("Hi!")}, Tools: []llm.Tool{{Name: "search"}}, ForceTool: "*"})
	if failure.KindOf(err) == failure.InvalidRequest || len(n.all) == 0 || !strings.Contains(n.all[0], "Ollama does not force the call of a tool") {
		t.Errorf("Ollama: noted %q, %v", n.all, err)
	}
}
