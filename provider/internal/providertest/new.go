package providertest

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
)

// environment sets the variables that the SDK or the adapter might read.
func (a Adapter) environment(t *testing.T, variables map[string]string) {
	t.Helper()
	for name := range a.Foreign {
		t.Setenv(name, variables[name])
	}
	for _, name := range []string{a.KeyVariable, a.BaseURLVariable} {
		t.Setenv(name, variables[name])
	}
}

// sentKey returns the key that the server received.
func (a Adapter) sentKey(t *testing.T, e *Echo) string {
	t.Helper()
	got := e.Header.Values(a.Authorization)
	if len(got) != 1 || !strings.HasPrefix(got[0], a.Scheme) {
		t.Errorf("%s: %q", a.Authorization, got)
		return ""
	}
	return strings.TrimPrefix(got[0], a.Scheme)
}

func zeroOptionsReadTheEnvironment(t *testing.T, a Adapter) {
	e := NewEcho(t, Reply(200, a.Hello))
	variables := map[string]string{a.KeyVariable: " " + Key + "\n", a.BaseURLVariable: e.URL + "/base" + a.Base + "/"}
	for name, value := range a.Foreign {
		variables[name] = value
	}
	a.environment(t, variables)
	m, err := a.New(a.Model, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if m.Name() != a.Provider+"/"+a.Model {
		t.Errorf("name %q", m.Name())
	}
	e.Sent(t, m, prompt)
	if got := a.sentKey(t, e); got != Key {
		t.Errorf("sent the key %q", got)
	}
	if e.Address != "/base"+a.Path {
		t.Errorf("sent to %s", e.Address)
	}
	for _, name := range a.ForeignHeaders {
		if got := e.Header.Get(name); got != "" {
			t.Errorf("%s: %q is from the environment", name, got)
		}
	}
}

func optionsOutrankTheEnvironment(t *testing.T, a Adapter) {
	e := NewEcho(t, Reply(200, a.Hello))
	variables := map[string]string{a.KeyVariable: "sk-other", a.BaseURLVariable: "http://127.0.0.1:1"}
	for name, value := range a.Foreign {
		variables[name] = value
	}
	a.environment(t, variables)
	e.Sent(t, a.model(t, e.Server, nil), prompt)
	if got := a.sentKey(t, e); got != Key {
		t.Errorf("sent the key %q", got)
	}
}

func keyIsNotNeededInPrivate(t *testing.T, a Adapter) {
	a.environment(t, a.Foreign)
	e := NewEcho(t, Reply(200, a.Hello))
	for _, base := range []string{e.URL, strings.Replace(e.URL, "127.0.0.1", "localhost", 1)} {
		m, err := a.New("llama", Options{BaseURL: base, HTTPClient: e.Client()})
		if err != nil {
			t.Fatal(err)
		}
		e.Sent(t, m, prompt)
		if got := a.sentKey(t, e); got != "none" {
			t.Errorf("%s: sent the key %q", base, got)
		}
	}
	for _, base := range []string{"http://[::1]:1/v1", "http://LOCALHOST", "https://a.localhost", "http://127.9.9.9", "http://10.0.0.1", "http://192.168.1.20:8000/v1", "http://gpu.local/v1", "https://llm.internal", "http://vllm:8000"} {
		if _, err := a.New("llama", Options{BaseURL: base}); err != nil {
			t.Errorf("%s: %v", base, err)
		}
	}
	for _, base := range []string{"", "http://localhost.example.com", "https://10.0.0.1.example.com", "https://11.0.0.1", "https://local.example.com"} {
		if _, err := a.New("llama", Options{BaseURL: base}); err == nil {
			t.Errorf("%s: needs a key", base)
		}
	}
}

func nameOfAnotherServer(t *testing.T, a Adapter) {
	m, err := a.New("meta/llama-4", Options{APIKey: Key, Name: "proxy/meta/llama-4"})
	if err != nil || m.Name() != "proxy/meta/llama-4" {
		t.Errorf("got %v, %v", m, err)
	}
}

func printedModelHidesTheKey(t *testing.T, a Adapter) {
	m, err := a.New(a.Model, Options{APIKey: Key})
	if err != nil {
		t.Fatal(err)
	}
	MustHide(t, "model", fmt.Sprintf("%v %+v %#v %+v", m, m, m, reflect.ValueOf(m).Elem().Interface()))
}

func newNamesWhatIsWrong(t *testing.T, a Adapter) {
	for _, step := range []struct {
		model string
		opts  Options
		env   map[string]string
		want  string
	}{
		{"", Options{APIKey: Key}, nil, `, got ""`},
		{"gpt 6", Options{APIKey: Key}, nil, `, got "gpt 6"`},
		{"gpt\x00", Options{APIKey: Key}, nil, `, got "gpt\x00"`},
		{"m", Options{APIKey: Key, Name: "m"}, nil, `Name must be provider/model, without spaces, got "m"`},
		{"m", Options{APIKey: Key, Name: "/m"}, nil, `, got "/m"`},
		{"m", Options{APIKey: Key, Name: "a/ m"}, nil, `, got "a/ m"`},
		{"m", Options{}, nil, a.KeyVariable},
		{"m", Options{}, map[string]string{a.KeyVariable: " \n"}, a.KeyVariable},
		{"m", Options{APIKey: Key + "\n" + Key}, nil, "APIKey must be a key of printable ASCII"},
		{"m", Options{}, map[string]string{a.KeyVariable: Key + "é"}, "the environment variable " + a.KeyVariable + " must be a key"},
		{"m", Options{APIKey: Key, BaseURL: "localhost:8080"}, nil, "BaseURL"},
		{"m", Options{APIKey: Key, BaseURL: "/v1"}, nil, "BaseURL must be"},
		{"m", Options{APIKey: Key, BaseURL: "ftp://x"}, nil, "BaseURL must be"},
		{"m", Options{APIKey: Key, BaseURL: "http://:80"}, nil, "BaseURL must be"},
		{"m", Options{APIKey: Key, BaseURL: "https://x/v1?api-key=" + Key}, nil, "BaseURL must be"},
		{"m", Options{APIKey: Key, BaseURL: "https://me:" + Key + "@x"}, nil, "BaseURL must be"},
		{"m", Options{APIKey: Key, BaseURL: "https://x/v1#" + Key}, nil, "BaseURL must be"},
		{"m", Options{APIKey: Key, BaseURL: "https://x/%zz" + Key}, nil, "BaseURL must be"},
		{"m", Options{APIKey: Key, BaseURL: "https://me:" + Key}, nil, "BaseURL must be"},
		{"m", Options{APIKey: Key, BaseURL: Key}, nil, "BaseURL must be"},
		{"m", Options{APIKey: Key, BaseURL: "https://me:" + Key + "@x y"}, nil, "BaseURL"},
		{"m", Options{APIKey: Key}, map[string]string{a.BaseURLVariable: "x"}, "the environment variable " + a.BaseURLVariable + " must be"},
	} {
		a.environment(t, step.env)
		m, err := a.New(step.model, step.opts)
		if err == nil || m != nil || !strings.Contains(err.Error(), step.want) || !strings.HasPrefix(err.Error(), a.Prefix+": ") {
			t.Errorf("%q, %+v, %v: got %v, %v; want %s", step.model, step.opts, step.env, m, err, step.want)
		} else {
			MustHide(t, step.want, err.Error())
		}
	}
}
