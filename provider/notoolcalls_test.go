package provider_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"llmcall/classify"
	"llmcall/llm"
	"llmcall/provider"

	"github.com/tidwall/gjson"
)

// A request for an answer without calls offers its tools all the same, and says in each
// protocol's words that none may be called.
func TestNoToolCalls(t *testing.T) {
	var sent []byte
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		sent, _ = io.ReadAll(r.Body)
		w.WriteHeader(http.StatusTeapot)
	}))
	defer server.Close()
	emptyEnvironment(t)
	for _, p := range provider.All() {
		m := open(t, p.Name+"/m", provider.Options{APIKey: secret, BaseURL: server.URL, HTTPClient: server.Client()})
		path, want := "tool_choice", "none"
		switch p.Protocol {
		case classify.Anthropic:
			path = "tool_choice.type"
		case classify.Gemini:
			path, want = "toolConfig.functionCallingConfig.mode", "NONE"
		}
		for _, row := range []struct {
			tools []llm.Tool
			none  bool
			want  string
		}{{[]llm.Tool{{Name: "f"}}, true, want}, {[]llm.Tool{{Name: "f"}}, false, ""}, {nil, true, ""}} {
			req := &llm.Request{Messages: []llm.Message{llm.User("Hi!")}, Tools: row.tools, NoToolCalls: row.none}
			if _, err := m.Complete(t.Context(), req); err == nil {
				t.Fatal("the server answers")
			}
			if got := gjson.GetBytes(sent, path).String(); got != row.want || len(row.tools) > 0 && !strings.Contains(string(sent), `"f"`) {
				t.Errorf("%s: sent %s", p.Name, sent)
			}
		}
	}
}
