package provider_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"llmcall/chaos"
	"llmcall/classify"
	"llmcall/llm"
	"llmcall/provider"
	_ "llmcall/provider/all"
	"llmcall/provider/gemini"
	"llmcall/provider/openai"
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

func TestOpenKnowsEveryNameOfTheTable(t *testing.T) {
	practice, err := chaos.New(chaos.Config{})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(practice)
	defer server.Close()
	for _, p := range provider.All() {
		t.Setenv(p.KeyVariable, "")
	}
	for _, p := range provider.All() {
		model := "meta-llama/llama-4"
		base, protocol := server.URL+"/v1", chaos.OpenAI
		switch {
		case p.Protocol == classify.Anthropic:
			base, protocol = server.URL, chaos.Anthropic
		case p.Protocol == classify.Gemini:
			base, protocol, model = server.URL, chaos.Gemini, "gemini-3"
		case strings.HasSuffix(p.Name, "-responses"):
			protocol = chaos.OpenAIResponses
		}
		name := p.Name + "/" + model
		m, err := provider.Open(name, provider.Options{BaseURL: base, HTTPClient: server.Client()})
		if err != nil {
			t.Fatal(err)
		}
		practice.Reset()
		answer, err := m.Complete(t.Context(), llm.Prompt("Hi!"))
		if err != nil || answer.Text() == "" || m.Name() != name {
			t.Errorf("%s: got %v, %v from %s", name, answer, err, m.Name())
			continue
		}
		if r := practice.Requests(); len(r) != 1 || r[0].Protocol != protocol || r[0].Model != model {
			t.Errorf("%s: asked %+v", name, r)
		}
		if _, ok := m.(llm.Streamer); !ok {
			t.Errorf("%s does not stream", name)
		}
	}
}

// The known names are those that the adapters register, in an order that no
// import changes.
func TestTheNamesAreThoseOfTheAdapters(t *testing.T) {
	names := provider.Names()
	if len(names) < 4 || !slices.Equal(names[:4], []string{"openai", "openai-responses", "anthropic", "gemini"}) {
		t.Errorf("got %v", names)
	}
	_, err := provider.Open("", provider.Options{})
	if _, known, _ := strings.Cut(err.Error(), "known providers: "); known != strings.Join(names, ", ") {
		t.Errorf("known are %s, registered %v", known, names)
	}
	rows := map[string]provider.Provider{}
	for _, p := range provider.All() {
		if p.KeyVariable == "" || p.BaseURL == "" && p.BaseURLVariable == "" || p.Default != "" && !strings.HasPrefix(p.Default, p.Name+"/") {
			t.Errorf("%+v", p)
		}
		rows[p.Name] = p
	}
	for _, s := range openai.Servers() {
		if p := rows[s.Name]; p.KeyVariable != s.KeyVariable || p.BaseURL != s.BaseURL || p.BaseURLVariable != s.BaseURLVariable || p.KeyOptional != s.KeyOptional {
			t.Errorf("%s: %+v", s.Name, p)
		}
		if _, ok := rows[s.Name+"-responses"]; ok != s.Responses {
			t.Errorf("%s-responses: %v", s.Name, ok)
		}
	}
}

func TestOpenNamesWhatIsWrong(t *testing.T) {
	t.Setenv("OPENAI_API_KEY", "")
	t.Setenv("OPENAI_BASE_URL", "")
	for name, want := range map[string]string{
		"":                 "known providers: openai",
		"gpt-6-luna":       `model must be provider/model, such as openai/gpt-6-luna, got "gpt-6-luna"; known providers: openai, openai-responses, anthropic, gemini, azure`,
		"openai":           "must be provider/model",
		"openai/":          "must be provider/model",
		"/gpt":             "known providers: openai",
		"closedai/gpt":     `model "closedai/gpt": unknown provider "closedai"; known providers, the most similar first: openai, `,
		"antrhopic/claude": "did you mean anthropic?",
		"gorq/llama":       "did you mean groq?",
		"OpenAI/gpt":       `unknown provider "OpenAI", did you mean openai? Known providers: openai, `,
		"mistral/large":    `unknown provider "mistral"; known providers, the most similar first: `,
		"openai/gpt 6":     `openai: model must be a name without spaces, such as gpt-6-luna, got "gpt 6"`,
		"openai/gpt-luna":  "OPENAI_API_KEY",
	} {
		m, err := provider.Open(name, provider.Options{})
		if m != nil || err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, %v; want %s", name, m, err, want)
		}
	}
}

func TestDefaultIsThatOfTheKeyInTheEnvironment(t *testing.T) {
	for _, step := range []struct {
		environment map[string]string
		want        string // "" if there is none
	}{
		{map[string]string{"OPENAI_API_KEY": "sk-1"}, "openai/" + openai.DefaultModel},
		{map[string]string{"OPENAI_API_KEY": "sk-1", "GROQ_API_KEY": "gsk-1"}, "openai/" + openai.DefaultModel},
		{map[string]string{"GROQ_API_KEY": "gsk-1", "OPENROUTER_API_KEY": "or-1"}, "openrouter/openrouter/auto"},
		{map[string]string{"OPENAI_API_KEY": " \n", "GROQ_API_KEY": "gsk-1"}, "groq/openai/gpt-oss-120b"},
		{map[string]string{"DEEPSEEK_API_KEY": "sk-1"}, "deepseek/deepseek-v4-flash"},
		{map[string]string{"GOOGLE_API_KEY": "AIza1"}, "gemini/" + gemini.DefaultModel},
		{map[string]string{"AZURE_OPENAI_API_KEY": "x", "VLLM_API_KEY": "x"}, ""}, // whose models have names of their own
		{nil, ""},
	} {
		name, ok := provider.Default(func(variable string) string { return step.environment[variable] })
		if name != step.want || ok != (step.want != "") {
			t.Errorf("%v: got %q, %v", step.environment, name, ok)
		}
	}
}

func TestDefaultsCanBeOpened(t *testing.T) {
	t.Setenv("OPENAI_BASE_URL", "")
	for _, p := range provider.All() {
		if p.Default == "" {
			continue
		}
		t.Setenv(p.KeyVariable, "sk-1")
		m, err := provider.Open(p.Default, provider.Options{})
		if err != nil || m.Name() != p.Default {
			t.Errorf("%s: got %v, %v", p.Name, m, err)
		}
	}
}
