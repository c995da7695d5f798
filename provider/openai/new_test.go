package openai_test

import (
	"fmt"
	"strings"
	"testing"

	"llmcall/llm"
	"llmcall/provider/openai"
)

// environment sets what the SDK or this package might read.
func environment(t *testing.T, variables map[string]string) {
	for _, name := range []string{
		"OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID", "OPENAI_ADMIN_KEY", "OPENAI_CUSTOM_HEADERS",
	} {
		t.Setenv(name, variables[name])
	}
}

func TestZeroOptionsReadTheEnvironment(t *testing.T) {
	e := newEcho(t)
	environment(t, map[string]string{
		"OPENAI_API_KEY": " " + key + "\n", "OPENAI_BASE_URL": e.URL + "/v1/",
		"OPENAI_ORG_ID": "org-1", "OPENAI_PROJECT_ID": "proj-1", "OPENAI_ADMIN_KEY": "sk-admin", "OPENAI_CUSTOM_HEADERS": "X-Custom: 1",
	})
	m, err := openai.New("gpt-6-luna", openai.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if m.Name() != "openai/gpt-6-luna" {
		t.Errorf("name %q", m.Name())
	}
	e.sent(t, m, llm.Prompt("Hello!"))
	if got := e.header.Get("Authorization"); got != "Bearer "+key {
		t.Errorf("Authorization: %q", got)
	}
	for _, name := range []string{"OpenAI-Organization", "OpenAI-Project", "X-Custom"} {
		if got := e.header.Get(name); got != "" {
			t.Errorf("%s: %q is from the environment", name, got)
		}
	}
}

func TestOptionsOutrankTheEnvironment(t *testing.T) {
	e := newEcho(t)
	environment(t, map[string]string{"OPENAI_API_KEY": "sk-other", "OPENAI_BASE_URL": "http://127.0.0.1:1"})
	e.sent(t, model(t, e.Server, nil), llm.Prompt("Hello!"))
	if got := e.header.Get("Authorization"); got != "Bearer "+key {
		t.Errorf("Authorization: %q", got)
	}
}

func TestKeyIsNotNeededOnLoopback(t *testing.T) {
	environment(t, nil)
	e := newEcho(t)
	for _, base := range []string{e.URL, strings.Replace(e.URL, "127.0.0.1", "localhost", 1)} {
		m, err := openai.New("llama", openai.Options{BaseURL: base, HTTPClient: e.Client()})
		if err != nil {
			t.Fatal(err)
		}
		e.sent(t, m, llm.Prompt("Hello!"))
		if got := e.header.Get("Authorization"); got != "Bearer none" {
			t.Errorf("%s: Authorization: %q", base, got)
		}
	}
	for _, base := range []string{"http://[::1]:1/v1", "http://LOCALHOST", "https://a.localhost", "http://127.9.9.9"} {
		if _, err := openai.New("llama", openai.Options{BaseURL: base}); err != nil {
			t.Errorf("%s: %v", base, err)
		}
	}
	for _, base := range []string{"", "http://localhost.example.com", "http://10.0.0.1", "http://mylocalhost"} {
		if _, err := openai.New("llama", openai.Options{BaseURL: base}); err == nil {
			t.Errorf("%s: needs a key", base)
		}
	}
}

func TestNameOfAnotherServer(t *testing.T) {
	m, err := openai.New("meta/llama-4", openai.Options{APIKey: key, Name: "openrouter/meta/llama-4"})
	if err != nil || m.Name() != "openrouter/meta/llama-4" {
		t.Errorf("got %v, %v", m, err)
	}
}

func TestPrintedModelHidesTheKey(t *testing.T) {
	m, err := openai.New("gpt-6-luna", openai.Options{APIKey: key})
	if err != nil {
		t.Fatal(err)
	}
	mustHide(t, "model", fmt.Sprintf("%v %+v %#v %+v", m, m, m, *m))
}

func TestNewNamesWhatIsWrong(t *testing.T) {
	for _, step := range []struct {
		model string
		opts  openai.Options
		env   map[string]string
		want  string
	}{
		{"", openai.Options{APIKey: key}, nil, `model ""`},
		{"gpt 6", openai.Options{APIKey: key}, nil, `model "gpt 6"`},
		{"gpt\x00", openai.Options{APIKey: key}, nil, `model "gpt\x00"`},
		{"m", openai.Options{APIKey: key, Name: "m"}, nil, `Name "m": takes provider/model`},
		{"m", openai.Options{APIKey: key, Name: "/m"}, nil, `Name "/m"`},
		{"m", openai.Options{APIKey: key, Name: "a/ m"}, nil, `Name "a/ m"`},
		{"m", openai.Options{}, nil, "OPENAI_API_KEY"},
		{"m", openai.Options{}, map[string]string{"OPENAI_API_KEY": " \n"}, "OPENAI_API_KEY"},
		{"m", openai.Options{APIKey: key + "\n" + key}, nil, "APIKey: takes a key of printable ASCII"},
		{"m", openai.Options{}, map[string]string{"OPENAI_API_KEY": key + "é"}, "the environment variable OPENAI_API_KEY: takes a key"},
		{"m", openai.Options{APIKey: key, BaseURL: "localhost:8080"}, nil, "BaseURL"},
		{"m", openai.Options{APIKey: key, BaseURL: "/v1"}, nil, "BaseURL: takes"},
		{"m", openai.Options{APIKey: key, BaseURL: "ftp://x"}, nil, "BaseURL: takes"},
		{"m", openai.Options{APIKey: key, BaseURL: "http://:80"}, nil, "BaseURL: takes"},
		{"m", openai.Options{APIKey: key, BaseURL: "https://x/v1?api-key=" + key}, nil, "BaseURL: takes"},
		{"m", openai.Options{APIKey: key, BaseURL: "https://me:" + key + "@x"}, nil, "BaseURL: takes"},
		{"m", openai.Options{APIKey: key, BaseURL: "https://x/v1#" + key}, nil, "BaseURL: takes"},
		{"m", openai.Options{APIKey: key, BaseURL: "https://x/%zz" + key}, nil, "BaseURL: takes"},
		{"m", openai.Options{APIKey: key, BaseURL: "https://me:" + key}, nil, "BaseURL: takes"},
		{"m", openai.Options{APIKey: key, BaseURL: key}, nil, "BaseURL: takes"},
		{"m", openai.Options{APIKey: key, BaseURL: "https://me:" + key + "@x y"}, nil, "BaseURL"},
		{"m", openai.Options{APIKey: key}, map[string]string{"OPENAI_BASE_URL": "x"}, "the environment variable OPENAI_BASE_URL: takes"},
	} {
		environment(t, step.env)
		m, err := openai.New(step.model, step.opts)
		if err == nil || m != nil || !strings.Contains(err.Error(), step.want) || !strings.HasPrefix(err.Error(), "openai: ") {
			t.Errorf("%q, %+v, %v: got %v, %v; want %s", step.model, step.opts, step.env, m, err, step.want)
		} else {
			mustHide(t, step.want, err.Error())
		}
	}
}
