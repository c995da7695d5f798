package provider_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"llmcall/llm"
	"llmcall/provider"
)

func TestOpenPicksTheProviderByPrefix(t *testing.T) {
	var path, body string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		sent, _ := io.ReadAll(r.Body)
		path, body = r.URL.Path, string(sent)
		io.WriteString(w, `{"choices":[{"message":{"content":"Hello!"},"finish_reason":"stop"}]}`)
	}))
	defer server.Close()
	t.Setenv("OPENAI_API_KEY", "")
	for name, model := range map[string]string{"openai/gpt-6-luna": `"gpt-6-luna"`, "openai/meta/llama-4": `"meta/llama-4"`} {
		m, err := provider.Open(name, provider.Options{BaseURL: server.URL + "/v1", HTTPClient: server.Client()})
		if err != nil {
			t.Fatal(err)
		}
		answer, err := m.Complete(t.Context(), llm.Prompt("Hi!"))
		if err != nil || answer.Text() != "Hello!" || m.Name() != name {
			t.Errorf("%s: got %v, %v from %s", name, answer, err, m.Name())
		}
		if path != "/v1/chat/completions" || !strings.Contains(body, `"model":`+model) {
			t.Errorf("%s: sent %s to %s", name, body, path)
		}
	}
}

func TestOpenNamesWhatIsWrong(t *testing.T) {
	t.Setenv("OPENAI_API_KEY", "")
	t.Setenv("OPENAI_BASE_URL", "")
	for name, want := range map[string]string{
		"":                "the providers are: openai",
		"gpt-6-luna":      `model "gpt-6-luna": takes provider/model`,
		"openai":          "takes provider/model",
		"openai/":         "takes provider/model",
		"/gpt":            "the providers are: openai",
		"closedai/gpt":    `model "closedai/gpt": takes provider/model, such as openai/gpt-6-luna; the providers are: openai`,
		"OpenAI/gpt":      "the providers are: openai",
		"openai/gpt 6":    `model "gpt 6"`,
		"openai/gpt-luna": "OPENAI_API_KEY",
	} {
		m, err := provider.Open(name, provider.Options{})
		if m != nil || err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, %v; want %s", name, m, err, want)
		}
	}
}

func TestDefaultIsThatOfTheKeyInTheEnvironment(t *testing.T) {
	for key, want := range map[string]string{"sk-1": provider.DefaultOpenAI, "": "", " \n": ""} {
		name, ok := provider.Default(func(variable string) string {
			if variable == "OPENAI_API_KEY" {
				return key
			}
			return ""
		})
		if name != want || ok != (want != "") {
			t.Errorf("%q: got %q, %v", key, name, ok)
		}
	}
}

func TestDefaultsCanBeOpened(t *testing.T) {
	t.Setenv("OPENAI_API_KEY", "sk-1")
	t.Setenv("OPENAI_BASE_URL", "")
	m, err := provider.Open(provider.DefaultOpenAI, provider.Options{})
	if err != nil || m.Name() != provider.DefaultOpenAI {
		t.Errorf("got %v, %v", m, err)
	}
}
