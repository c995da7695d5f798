package gemini_test

import (
	"fmt"
	"strings"
	"testing"

	"llmcall/llm"
	"llmcall/provider/gemini"
)

// environment sets what the SDK or this package might read.
func environment(t *testing.T, variables map[string]string) {
	for _, name := range []string{
		"GEMINI_API_KEY", "GOOGLE_API_KEY", "GOOGLE_GEMINI_BASE_URL", "GOOGLE_VERTEX_BASE_URL", "GOOGLE_GENAI_USE_VERTEXAI",
		"GOOGLE_GENAI_USE_ENTERPRISE", "GOOGLE_CLOUD_PROJECT", "GOOGLE_CLOUD_LOCATION",
	} {
		t.Setenv(name, variables[name])
	}
}

func TestZeroOptionsReadTheEnvironment(t *testing.T) {
	e := newEcho(t)
	environment(t, map[string]string{
		"GEMINI_API_KEY": " " + key + "\n", "GOOGLE_GEMINI_BASE_URL": e.URL + "/base/",
		"GOOGLE_API_KEY": "other", "GOOGLE_VERTEX_BASE_URL": "http://127.0.0.1:1", "GOOGLE_GENAI_USE_VERTEXAI": "true",
		"GOOGLE_GENAI_USE_ENTERPRISE": "1", "GOOGLE_CLOUD_PROJECT": "p", "GOOGLE_CLOUD_LOCATION": "eu",
	})
	m, err := gemini.New("gemini-3.5-flash-lite", gemini.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if m.Name() != "gemini/gemini-3.5-flash-lite" {
		t.Errorf("name %q", m.Name())
	}
	e.sent(t, m, llm.Prompt("Hello!"))
	if got := e.header.Values("X-Goog-Api-Key"); len(got) != 1 || got[0] != key {
		t.Errorf("x-goog-api-key: %q", got)
	}
	if e.address != "/base/v1beta/models/gemini-3.5-flash-lite:generateContent" {
		t.Errorf("sent to %s", e.address)
	}
}

func TestOptionsOutrankTheEnvironment(t *testing.T) {
	e := newEcho(t)
	environment(t, map[string]string{"GEMINI_API_KEY": "other", "GOOGLE_API_KEY": "other", "GOOGLE_GEMINI_BASE_URL": "http://127.0.0.1:1"})
	e.sent(t, model(t, e.Server, nil), llm.Prompt("Hello!"))
	if got := e.header.Get("X-Goog-Api-Key"); got != key {
		t.Errorf("x-goog-api-key: %q", got)
	}
}

func TestKeyIsNotNeededOnLoopback(t *testing.T) {
	environment(t, map[string]string{"GOOGLE_API_KEY": "other"})
	e := newEcho(t)
	for _, base := range []string{e.URL, strings.Replace(e.URL, "127.0.0.1", "localhost", 1)} {
		m, err := gemini.New("llama", gemini.Options{BaseURL: base, HTTPClient: e.Client()})
		if err != nil {
			t.Fatal(err)
		}
		e.sent(t, m, llm.Prompt("Hello!"))
		if got := e.header.Get("X-Goog-Api-Key"); got != "none" {
			t.Errorf("%s: x-goog-api-key: %q", base, got)
		}
	}
	for _, base := range []string{"http://[::1]:1/v1", "http://LOCALHOST", "https://a.localhost", "http://127.9.9.9"} {
		if _, err := gemini.New("llama", gemini.Options{BaseURL: base}); err != nil {
			t.Errorf("%s: %v", base, err)
		}
	}
	for _, base := range []string{"", "http://localhost.example.com", "http://10.0.0.1", "http://mylocalhost"} {
		if _, err := gemini.New("llama", gemini.Options{BaseURL: base}); err == nil {
			t.Errorf("%s: needs a key", base)
		}
	}
}

func TestNameOfAnotherServer(t *testing.T) {
	m, err := gemini.New("tunedModels/a", gemini.Options{APIKey: key, Name: "proxy/tunedModels/a"})
	if err != nil || m.Name() != "proxy/tunedModels/a" {
		t.Errorf("got %v, %v", m, err)
	}
}

func TestPrintedModelHidesTheKey(t *testing.T) {
	m, err := gemini.New("gemini-3.5-flash-lite", gemini.Options{APIKey: key})
	if err != nil {
		t.Fatal(err)
	}
	mustHide(t, "model", fmt.Sprintf("%v %+v %#v %+v", m, m, m, *m))
}

func TestNewNamesWhatIsWrong(t *testing.T) {
	for _, step := range []struct {
		model string
		opts  gemini.Options
		env   map[string]string
		want  string
	}{
		{"", gemini.Options{APIKey: key}, nil, `model ""`},
		{"m?key=" + key[:4], gemini.Options{APIKey: key}, nil, "can stand in an address"},
		{"a/../b", gemini.Options{APIKey: key}, nil, "can stand in an address"},
		{"m#", gemini.Options{APIKey: key}, nil, "can stand in an address"},
		{"m%2f", gemini.Options{APIKey: key}, nil, "can stand in an address"},
		{"gpt 6", gemini.Options{APIKey: key}, nil, `model "gpt 6"`},
		{"gpt\x00", gemini.Options{APIKey: key}, nil, `model "gpt\x00"`},
		{"m", gemini.Options{APIKey: key, Name: "m"}, nil, `Name "m": takes provider/model`},
		{"m", gemini.Options{APIKey: key, Name: "/m"}, nil, `Name "/m"`},
		{"m", gemini.Options{APIKey: key, Name: "a/ m"}, nil, `Name "a/ m"`},
		{"m", gemini.Options{}, nil, "GEMINI_API_KEY"},
		{"m", gemini.Options{}, map[string]string{"GEMINI_API_KEY": " \n"}, "GEMINI_API_KEY"},
		{"m", gemini.Options{APIKey: key + "\n" + key}, nil, "APIKey: takes a key of printable ASCII"},
		{"m", gemini.Options{}, map[string]string{"GEMINI_API_KEY": key + "é"}, "the environment variable GEMINI_API_KEY: takes a key"},
		{"m", gemini.Options{APIKey: key, BaseURL: "localhost:8080"}, nil, "BaseURL"},
		{"m", gemini.Options{APIKey: key, BaseURL: "/v1"}, nil, "BaseURL: takes"},
		{"m", gemini.Options{APIKey: key, BaseURL: "ftp://x"}, nil, "BaseURL: takes"},
		{"m", gemini.Options{APIKey: key, BaseURL: "http://:80"}, nil, "BaseURL: takes"},
		{"m", gemini.Options{APIKey: key, BaseURL: "https://x/v1?api-key=" + key}, nil, "BaseURL: takes"},
		{"m", gemini.Options{APIKey: key, BaseURL: "https://me:" + key + "@x"}, nil, "BaseURL: takes"},
		{"m", gemini.Options{APIKey: key, BaseURL: "https://x/v1#" + key}, nil, "BaseURL: takes"},
		{"m", gemini.Options{APIKey: key, BaseURL: "https://x/%zz" + key}, nil, "BaseURL: takes"},
		{"m", gemini.Options{APIKey: key, BaseURL: "https://me:" + key}, nil, "BaseURL: takes"},
		{"m", gemini.Options{APIKey: key, BaseURL: key}, nil, "BaseURL: takes"},
		{"m", gemini.Options{APIKey: key, BaseURL: "https://me:" + key + "@x y"}, nil, "BaseURL"},
		{"m", gemini.Options{APIKey: key}, map[string]string{"GOOGLE_GEMINI_BASE_URL": "x"}, "the environment variable GOOGLE_GEMINI_BASE_URL: takes"},
	} {
		environment(t, step.env)
		m, err := gemini.New(step.model, step.opts)
		if err == nil || m != nil || !strings.Contains(err.Error(), step.want) || !strings.HasPrefix(err.Error(), "gemini: ") {
			t.Errorf("%q, %+v, %v: got %v, %v; want %s", step.model, step.opts, step.env, m, err, step.want)
		} else {
			mustHide(t, step.want, err.Error())
		}
	}
}
