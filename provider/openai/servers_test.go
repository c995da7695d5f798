package openai_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"llmcall/failure"
	"llmcall/llm"
	"llmcall/provider/internal/providertest"
	"llmcall/provider/openai"
)

// wired is a client that keeps the last request, and answers it with body.
type wired struct {
	request *http.Request
	sent    string
	body    string
}

func (w *wired) client() *http.Client {
	return &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
		sent, _ := io.ReadAll(r.Body)
		w.request, w.sent = r, string(sent)
		answer := httptest.NewRecorder()
		io.WriteString(answer, w.body)
		return answer.Result(), nil
	})}
}

// serverEnvironment clears what any row of the table reads.
func serverEnvironment(t *testing.T, variables map[string]string) {
	t.Helper()
	environment(t, nil)
	t.Setenv(openai.AzureAPIVersionVariable, "")
	for _, s := range openai.Servers() {
		t.Setenv(s.KeyVariable, "")
		if s.BaseURLVariable != "" {
			t.Setenv(s.BaseURLVariable, "")
		}
	}
	for name, value := range variables {
		t.Setenv(name, value)
	}
}

func TestServers(t *testing.T) {
	const ask = `"type":"json_schema"`
	for _, step := range []struct {
		server, address, keyVariable, limit, schema string
		shown, keyOptional                          bool
	}{
		{"openai", "https://api.openai.com/v1/chat/completions", "OPENAI_API_KEY", "max_completion_tokens", ask, false, false},
		{"azure", "https://mine.openai.azure.com/openai/v1/chat/completions", "AZURE_OPENAI_API_KEY", "max_completion_tokens", ask, false, false},
		{"openrouter", "https://openrouter.ai/api/v1/chat/completions", "OPENROUTER_API_KEY", "max_tokens", ask, true, false},
		{"groq", "https://api.groq.com/openai/v1/chat/completions", "GROQ_API_KEY", "max_tokens", ask, false, false},
		{"together", "https://api.together.xyz/v1/chat/completions", "TOGETHER_API_KEY", "max_tokens", ask, true, false},
		{"deepseek", "https://api.deepseek.com/chat/completions", "DEEPSEEK_API_KEY", "max_tokens", `"type":"json_object"`, true, false},
		{"vllm", "http://127.0.0.1:8000/v1/chat/completions", "VLLM_API_KEY", "max_tokens", ask, true, true},
		{"llamacpp", "http://127.0.0.1:8080/v1/chat/completions", "LLAMA_API_KEY", "max_tokens", ask, true, true},
		{"ollama", "http://127.0.0.1:11434/v1/chat/completions", "OLLAMA_API_KEY", "max_tokens", ask, true, true},
	} {
		serverEnvironment(t, map[string]string{openai.AzureEndpointVariable: "https://mine.openai.azure.com/"})
		w := &wired{body: hello}
		opts := openai.Options{Server: step.server, HTTPClient: w.client()}
		_, err := openai.New("meta-llama/llama-4", opts)
		if (err == nil) != step.keyOptional || err != nil && !strings.Contains(err.Error(), step.server+": APIKey or the environment variable "+step.keyVariable+" must be set") {
			t.Errorf("%s, without a key: %v", step.server, err)
		}
		t.Setenv(step.keyVariable, key)
		m, err := openai.New("meta-llama/llama-4", opts)
		if err != nil {
			t.Errorf("%s: %v", step.server, err)
			continue
		}
		request := &llm.Request{Messages: []llm.Message{llm.User("x")}, MaxTokens: 7, Schema: &llm.Schema{JSON: []byte(`{"type":"object"}`)}}
		if _, err := m.Complete(t.Context(), request); err != nil || m.Name() != step.server+"/meta-llama/llama-4" || w.request.URL.String() != step.address ||
			!strings.Contains(w.sent, `"model":"meta-llama/llama-4"`) || !strings.Contains(w.sent, `"`+step.limit+`":7`) || !strings.Contains(w.sent, step.schema) ||
			strings.Contains(w.sent, "Answer with JSON alone") != step.shown {
			t.Errorf("%s: %v, %s sent %s to %s", step.server, err, m.Name(), w.sent, w.request.URL)
		}
		bearer, azure := w.request.Header.Get("Authorization"), w.request.Header.Get("Api-Key")
		if step.server == "azure" && (bearer != "" || azure != key) || step.server != "azure" && (bearer != "Bearer "+key || azure != "") {
			t.Errorf("%s: keys %q, %q", step.server, bearer, azure)
		}

		// Another address, and where it is this machine, no key.
		t.Setenv(step.keyVariable, "")
		opts.BaseURL = "http://127.0.0.1:1/my/v1"
		m, err = openai.New("m", opts)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := m.Complete(t.Context(), request); err != nil || w.request.URL.String() != "http://127.0.0.1:1/my/v1/chat/completions" {
			t.Errorf("%s: %v, sent to %s", step.server, err, w.request.URL)
		}
		if got := w.request.Header.Get("Authorization") + w.request.Header.Get("Api-Key"); !strings.HasSuffix(got, "none") {
			t.Errorf("%s: key %q", step.server, got)
		}
	}
}

func TestServersAreATable(t *testing.T) {
	seen := map[string]bool{}
	for _, s := range openai.Servers() {
		if s.Name == "" || s.KeyVariable == "" || s.MaxTokens == "" || s.Schema == "" || seen[s.Name] || s.BaseURL == "" && s.BaseURLVariable == "" {
			t.Errorf("%+v", s)
		}
		seen[s.Name] = true
	}
	openai.Servers()[0].Name = "changed"
	if openai.Servers()[0].Name != "openai" {
		t.Error("a caller changed the table")
	}
}

func TestAzureAddresses(t *testing.T) {
	for _, step := range []struct {
		endpoint, base, version, fromEnvironment string
		chat, responses                          string
	}{
		{"https://mine.openai.azure.com", "", "", "", "https://mine.openai.azure.com/openai/v1/chat/completions", "https://mine.openai.azure.com/openai/v1/responses"},
		{"", "https://mine.openai.azure.com/", "preview", "", "https://mine.openai.azure.com/openai/v1/chat/completions?api-version=preview", "https://mine.openai.azure.com/openai/v1/responses?api-version=preview"},
		{"https://other.example.com", "https://mine.openai.azure.com", "2024-10-21", "2023-01-01", "https://mine.openai.azure.com/openai/deployments/my-model/chat/completions?api-version=2024-10-21", "https://mine.openai.azure.com/openai/responses?api-version=2024-10-21"},
		{"https://mine.openai.azure.com", "", "", " 2024-10-21\n", "https://mine.openai.azure.com/openai/deployments/my-model/chat/completions?api-version=2024-10-21", "https://mine.openai.azure.com/openai/responses?api-version=2024-10-21"},
		{"https://mine.services.ai.azure.com/openai/v1/", "", "", "", "https://mine.services.ai.azure.com/openai/v1/chat/completions", "https://mine.services.ai.azure.com/openai/v1/responses"},
		{"", "https://gateway.example.com/x", "2024-10-21", "", "https://gateway.example.com/x/chat/completions?api-version=2024-10-21", "https://gateway.example.com/x/responses?api-version=2024-10-21"},
	} {
		serverEnvironment(t, map[string]string{openai.AzureEndpointVariable: step.endpoint, openai.AzureAPIVersionVariable: step.fromEnvironment})
		w := &wired{body: hello}
		opts := openai.Options{Server: "azure", APIKey: key, BaseURL: step.base, APIVersion: step.version, HTTPClient: w.client()}
		m, err := openai.New("my-model", opts)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := m.Complete(t.Context(), llm.Prompt("x")); err != nil || w.request.URL.String() != step.chat || m.Name() != "azure/my-model" {
			t.Errorf("%+v: %v, sent to %s", step, err, w.request.URL)
		}
		w.body = responded("completed", "", said("1", "x"))
		r, err := openai.NewResponses("my-model", opts)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.Complete(t.Context(), llm.Prompt("x")); err != nil || w.request.URL.String() != step.responses || r.Name() != "azure-responses/my-model" {
			t.Errorf("%+v: %v, sent to %s", step, err, w.request.URL)
		}
	}
}

func TestAzureFailures(t *testing.T) {
	serverEnvironment(t, nil)
	for _, step := range []struct {
		status  int
		body    string
		headers []string
		kind    failure.Kind
		code    string
	}{
		{400, `{"error":{"message":"The response was filtered","type":null,"param":"prompt","code":"content_filter","status":400,
			"innererror":{"code":"ResponsibleAIPolicyViolation","content_filter_result":{"hate":{"filtered":true,"severity":"high"}}}}}`, nil, failure.ContentFiltered, "content_filter"},
		{404, `{"error":{"code":"DeploymentNotFound","message":"The API deployment for this resource does not exist."}}`, nil, failure.ModelNotFound, "DeploymentNotFound"},
		{401, `{"error":{"code":"401","message":"Access denied due to invalid subscription key ` + key + ` or wrong API endpoint."}}`, nil, failure.Unauthorized, ""},
		{401, `{"statusCode":401,"message":"Unauthorized."}`, nil, failure.Unauthorized, ""},
		{429, `{"error":{"code":"429","message":"Requests have exceeded call rate limit. Please retry after 6 seconds."}}`, []string{"Retry-After-Ms", "5500", "Retry-After", "6"}, failure.RateLimited, ""},
		{429, `{"error":{"code":"429","message":"Rate limit exceeded."}}`, []string{"X-Ratelimit-Reset-Tokens", "6"}, failure.RateLimited, ""},
		{429, `{"error":{"code":"429","message":"Rate limit exceeded."}}`, []string{"X-Ratelimit-Reset-Tokens", "-1"}, failure.RateLimited, ""},
		{410, `{"error":{"code":"ServiceModelDeprecating","message":"gone"}}`, nil, failure.ModelNotFound, "ServiceModelDeprecating"},
	} {
		e := providertest.NewEcho(t, reply(200, hello))
		e.Handle = reply(step.status, step.body, append(step.headers, "Apim-Request-Id", "apim-1")...)
		m, err := openai.New("gpt-6-luna", openai.Options{Server: "azure", APIKey: key, BaseURL: e.URL, HTTPClient: e.Client()})
		if err != nil {
			t.Fatal(err)
		}
		_, err = m.Complete(t.Context(), llm.Prompt("the prompt"))
		f, ok := err.(*failure.Error)
		if !ok || f.Kind != step.kind || f.Code != step.code || f.RequestID != "apim-1" || f.Provider != "azure" {
			t.Errorf("%s: got %#v", step.body, err)
		}
		if wantTold := len(step.headers) > 0 && step.headers[1] != "-1"; ok && f.Told != wantTold {
			t.Errorf("%v: told %v, %v", step.headers, f.Told, f.RetryAfter)
		}
		secretFree(t, err)
	}
}

func TestPrintedModelsOfAllSortsHideTheKey(t *testing.T) {
	serverEnvironment(t, nil)
	for _, s := range openai.Servers() {
		opts := openai.Options{Server: s.Name, APIKey: key, BaseURL: "https://example.com"}
		chat, err := openai.New("m", opts)
		if err != nil {
			t.Fatal(err)
		}
		responses, err := openai.NewResponses("m", opts)
		if err != nil {
			t.Fatal(err)
		}
		mustHide(t, s.Name, fmt.Sprintf("%v %+v %#v %+v %#v", chat, chat, chat, *chat, *chat))
		mustHide(t, s.Name, fmt.Sprintf("%v %+v %#v %+v %#v", responses, responses, responses, *responses, *responses))
	}
}

// Azure tells so that its filter did not run: the answer stands.
func TestAzureAnswersThatWereNotFiltered(t *testing.T) {
	const unfiltered = `"content_filter_results":{"error":{"code":"content_filter_error","message":"The contents are not filtered"}}`
	w := &wired{body: `{"choices":[{"index":0,"finish_reason":"stop","message":{"role":"assistant","content":"Hello!"},` + unfiltered + `}],
		"prompt_filter_results":[{"prompt_index":0,` + unfiltered + `}]}`}
	m, err := openai.New("m", openai.Options{Server: "azure", APIKey: key, BaseURL: "https://mine.openai.azure.com", HTTPClient: w.client()})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := m.Complete(t.Context(), llm.Prompt("x")); err != nil || got.Text() != "Hello!" || got.Finish != llm.FinishStop {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestNewNamesWhatIsWrongWithTheServer(t *testing.T) {
	for want, opts := range map[string]openai.Options{
		`openai: Server must be one of openai, azure, openrouter, groq, together, deepseek, vllm, llamacpp, ollama, got "mistral"`:                  {Server: "mistral", APIKey: key},
		`openai: Server must be one of groq, openai, azure, openrouter, together, deepseek, vllm, llamacpp, ollama, got "Gorq", did you mean groq?`: {Server: "Gorq", APIKey: key},
		"azure: BaseURL or the environment variable AZURE_OPENAI_ENDPOINT must be set, got nothing":                                                 {Server: "azure", APIKey: key},
		`openai: APIVersion must be empty unless Server is azure, got "2024-10-21"`:                                                                 {APIVersion: "2024-10-21", APIKey: key},
		`openai: Schema must be one of json_schema, json_schema+prompt, json_object, prompt, got "xml"`:                                             {Schema: "xml", APIKey: key},
		`openai: Schema must be one of json_schema, json_schema+prompt, json_object, prompt, got "json-schema", did you mean json_schema?`:          {Schema: "json-schema", APIKey: key},
		"groq: the environment variable GROQ_API_KEY must be a key of printable ASCII characters without spaces, got one with ' '":                  {Server: "groq"},
		"groq: BaseURL must be an http or https address such as https://api.groq.com/o":                                                             {Server: "groq", APIKey: key, BaseURL: "x"},
	} {
		serverEnvironment(t, map[string]string{"GROQ_API_KEY": key + " " + key})
		for _, err := range []error{second(openai.New("m", opts)), second(openai.NewResponses("m", opts))} {
			if err == nil || !strings.HasPrefix(err.Error(), want) || strings.Contains(err.Error(), "mean") != strings.Contains(want, "mean") {
				t.Errorf("got %v, want %s", err, want)
			} else {
				mustHide(t, want, err.Error())
			}
		}
	}
}

func second[T any](_ T, err error) error { return err }
