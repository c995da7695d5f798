package anthropic_test

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"llmcall/llm"
	"llmcall/provider/anthropic"
)

// environment sets what the SDK or this package might read.
func environment(t *testing.T, variables map[string]string) {
	for _, name := range []string{
		"ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL", "ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_CUSTOM_HEADERS", "ANTHROPIC_PROFILE",
		"ANTHROPIC_FEDERATION_RULE_ID", "ANTHROPIC_ORGANIZATION_ID", "ANTHROPIC_IDENTITY_TOKEN", "ANTHROPIC_WORKSPACE_ID",
	} {
		t.Setenv(name, variables[name])
	}
}

func TestZeroOptionsReadTheEnvironment(t *testing.T) {
	e := newEcho(t)
	environment(t, map[string]string{
		"ANTHROPIC_API_KEY": " " + key + "\n", "ANTHROPIC_BASE_URL": e.URL + "/",
		"ANTHROPIC_AUTH_TOKEN": "token", "ANTHROPIC_CUSTOM_HEADERS": "X-Custom: 1", "ANTHROPIC_PROFILE": "none such",
		"ANTHROPIC_FEDERATION_RULE_ID": "rule", "ANTHROPIC_ORGANIZATION_ID": "org", "ANTHROPIC_IDENTITY_TOKEN": "token", "ANTHROPIC_WORKSPACE_ID": "w",
	})
	m, err := anthropic.New("claude-haiku-5-5", anthropic.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if m.Name() != "anthropic/claude-haiku-5-5" {
		t.Errorf("name %q", m.Name())
	}
	e.sent(t, m, llm.Prompt("Hello!"))
	if got := e.header.Get("X-Api-Key"); got != key {
		t.Errorf("x-api-key: %q", got)
	}
	for _, name := range []string{"Authorization", "Anthropic-Workspace-Id", "Anthropic-Organization-Id", "X-Custom", "Traceparent"} {
		if got := e.header.Get(name); got != "" {
			t.Errorf("%s: %q is from the environment", name, got)
		}
	}
}

func TestOptionsOutrankTheEnvironment(t *testing.T) {
	e := newEcho(t)
	environment(t, map[string]string{"ANTHROPIC_API_KEY": "sk-other", "ANTHROPIC_BASE_URL": "http://127.0.0.1:1"})
	e.sent(t, model(t, e.Server, nil), llm.Prompt("Hello!"))
	if got := e.header.Get("X-Api-Key"); got != key {
		t.Errorf("x-api-key: %q", got)
	}
}

func TestKeyIsNotNeededOnLoopback(t *testing.T) {
	environment(t, nil)
	e := newEcho(t)
	for _, base := range []string{e.URL, strings.Replace(e.URL, "127.0.0.1", "localhost", 1)} {
		m, err := anthropic.New("llama", anthropic.Options{BaseURL: base, HTTPClient: e.Client()})
		if err != nil {
			t.Fatal(err)
		}
		e.sent(t, m, llm.Prompt("Hello!"))
		if got := e.header.Get("X-Api-Key"); got != "none" {
			t.Errorf("%s: x-api-key: %q", base, got)
		}
	}
	for _, base := range []string{"http://[::1]:1/v1", "http://LOCALHOST", "https://a.localhost", "http://127.9.9.9"} {
		if _, err := anthropic.New("llama", anthropic.Options{BaseURL: base}); err != nil {
			t.Errorf("%s: %v", base, err)
		}
	}
	for _, base := range []string{"", "http://localhost.example.com", "http://10.0.0.1", "http://mylocalhost"} {
		if _, err := anthropic.New("llama", anthropic.Options{BaseURL: base}); err == nil {
			t.Errorf("%s: needs a key", base)
		}
	}
}

func TestNameOfAnotherServer(t *testing.T) {
	m, err := anthropic.New("meta/llama-4", anthropic.Options{APIKey: key, Name: "openrouter/meta/llama-4"})
	if err != nil || m.Name() != "openrouter/meta/llama-4" {
		t.Errorf("got %v, %v", m, err)
	}
}

func TestPrintedModelHidesTheKey(t *testing.T) {
	m, err := anthropic.New("claude-haiku-5-5", anthropic.Options{APIKey: key})
	if err != nil {
		t.Fatal(err)
	}
	mustHide(t, "model", fmt.Sprintf("%v %+v %#v %+v", m, m, m, *m))
}

func TestNewNamesWhatIsWrong(t *testing.T) {
	for _, step := range []struct {
		model string
		opts  anthropic.Options
		env   map[string]string
		want  string
	}{
		{"", anthropic.Options{APIKey: key}, nil, `model ""`},
		{"claude 5", anthropic.Options{APIKey: key}, nil, `model "claude 5"`},
		{"claude\x00", anthropic.Options{APIKey: key}, nil, `model "claude\x00"`},
		{"m", anthropic.Options{APIKey: key, Name: "m"}, nil, `Name "m": takes provider/model`},
		{"m", anthropic.Options{APIKey: key, Name: "/m"}, nil, `Name "/m"`},
		{"m", anthropic.Options{APIKey: key, Name: "a/ m"}, nil, `Name "a/ m"`},
		{"m", anthropic.Options{}, nil, "ANTHROPIC_API_KEY"},
		{"m", anthropic.Options{}, map[string]string{"ANTHROPIC_API_KEY": " \n"}, "ANTHROPIC_API_KEY"},
		{"m", anthropic.Options{APIKey: key + "\n" + key}, nil, "APIKey: takes a key of printable ASCII"},
		{"m", anthropic.Options{}, map[string]string{"ANTHROPIC_API_KEY": key + "é"}, "the environment variable ANTHROPIC_API_KEY: takes a key"},
		{"m", anthropic.Options{APIKey: key, BaseURL: "localhost:8080"}, nil, "BaseURL"},
		{"m", anthropic.Options{APIKey: key, BaseURL: "/v1"}, nil, "BaseURL: takes"},
		{"m", anthropic.Options{APIKey: key, BaseURL: "ftp://x"}, nil, "BaseURL: takes"},
		{"m", anthropic.Options{APIKey: key, BaseURL: "http://:80"}, nil, "BaseURL: takes"},
		{"m", anthropic.Options{APIKey: key, BaseURL: "https://x/v1?api-key=" + key}, nil, "BaseURL: takes"},
		{"m", anthropic.Options{APIKey: key, BaseURL: "https://me:" + key + "@x"}, nil, "BaseURL: takes"},
		{"m", anthropic.Options{APIKey: key, BaseURL: "https://x/v1#" + key}, nil, "BaseURL: takes"},
		{"m", anthropic.Options{APIKey: key, BaseURL: "https://x/%zz" + key}, nil, "BaseURL: takes"},
		{"m", anthropic.Options{APIKey: key, BaseURL: "https://me:" + key}, nil, "BaseURL: takes"},
		{"m", anthropic.Options{APIKey: key, BaseURL: key}, nil, "BaseURL: takes"},
		{"m", anthropic.Options{APIKey: key, BaseURL: "https://me:" + key + "@x y"}, nil, "BaseURL"},
		{"m", anthropic.Options{APIKey: key}, map[string]string{"ANTHROPIC_BASE_URL": "x"}, "the environment variable ANTHROPIC_BASE_URL: takes"},
	} {
		environment(t, step.env)
		m, err := anthropic.New(step.model, step.opts)
		if err == nil || m != nil || !strings.Contains(err.Error(), step.want) || !strings.HasPrefix(err.Error(), "anthropic: ") {
			t.Errorf("%q, %+v, %v: got %v, %v; want %s", step.model, step.opts, step.env, m, err, step.want)
		} else {
			mustHide(t, step.want, err.Error())
		}
	}
}

// tracers counts who asks for a tracer.
type tracers struct {
	noop.TracerProvider
	asked atomic.Int32
}

func (p *tracers) Tracer(name string, opts ...trace.TracerOption) trace.Tracer {
	p.asked.Add(1)
	return p.TracerProvider.Tracer(name, opts...)
}

// The SDK's spans may hold the prompt, and go by variables of its own.
func TestSpansOfTheSDKAreOff(t *testing.T) {
	t.Setenv("ANTHROPIC_OPEN_TELEMETRY", "true")
	t.Setenv("ANTHROPIC_OPEN_TELEMETRY_TRACES_CONTENT_MODE", "content")
	before, counted := otel.GetTracerProvider(), &tracers{}
	otel.SetTracerProvider(counted)
	defer otel.SetTracerProvider(before)
	e := newEcho(t)
	m := model(t, e.Server, nil)
	e.sent(t, m, llm.Prompt("Hello!"))
	if _, err := streamed(t.Context(), m, llm.Prompt("Hello!")); err != nil {
		t.Fatal(err)
	}
	if n := counted.asked.Load(); n != 0 {
		t.Errorf("%d tracers were asked for", n)
	}
}
