package proxies

import (
	"errors"
	"os/exec"
	"runtime"
	"strings"
	"testing"
)

func options(t *testing.T) Options {
	return Options{Dir: t.TempDir(), Routes: []Route{{Name: "a", Protocol: "openai", Primary: "http://127.0.0.1:9/a"}}}
}

func TestAProcessThatEndsSaysWhy(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("there is no sh")
	}
	p := Plain("broken", func(int, string) *exec.Cmd { return exec.Command("sh", "-c", "echo no such port >&2; exit 1") })
	if _, err := p.Start(t.Context(), options(t)); err == nil || !strings.Contains(err.Error(), "no such port") {
		t.Errorf("%v", err)
	}
}

func TestWhatIsNotInstalledIsMissing(t *testing.T) {
	o := options(t)
	o.Command = t.TempDir() + "/llmcall"
	if _, err := Llmcall.Start(t.Context(), o); !errors.Is(err, ErrMissing) {
		t.Errorf("llmcall: %v", err)
	}
	if _, err := program("no-such-program", "no-such-package"); !errors.Is(err, ErrMissing) || !strings.Contains(err.Error(), "apt-get install no-such-package") {
		t.Errorf("a program: %v", err)
	}
}

func TestRoutesOfProxiesThatTakeThePath(t *testing.T) {
	route := func(primary, fallback string) Route { return Route{Name: "a", Primary: primary, Fallback: fallback} }
	good := route("http://p:1/a", "http://f:1/a")
	for _, c := range []struct {
		routes []Route
		says   string
	}{
		{[]Route{good, route("http://p:1/b", "http://f:1/b")}, ""},
		{[]Route{good, route("http://q:1/b", "http://f:1/b")}, "must have the same hosts"},
		{[]Route{good, route("http://p:1/b", "")}, "must have the same hosts"},
		{[]Route{good, route("http://p:1/b", "http://f:1/c")}, "must be /b, got /c"},
		{[]Route{route("http://p:1/b", "http://f:1/c")}, "must be /b, got /c"},
	} {
		primary, fallback, err := hosts(c.routes)
		if c.says == "" && (err != nil || primary != "p:1" || fallback != "f:1") || c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says)) {
			t.Errorf("%v: %s, %s, %v; want %q", c.routes, primary, fallback, err, c.says)
		}
	}
}

// A gateway that checks is told the schema's check; one that has no patience of its own,
// none.
func TestConfiguration(t *testing.T) {
	const want = `providers:
  pa: {protocol: openai, base_url: "http://127.0.0.1:9/a/v1", key: none}
  fa: {protocol: openai, base_url: "http://127.0.0.1:8/a/v1", key: none}
  pb: {protocol: gemini, base_url: "http://127.0.0.1:9/b", key: none}
routes:
  a: {models: [pa/model, fa/model], checks: [request_schema]}
  b: {models: [pb/model]}
`
	got := configuration(Options{Routes: []Route{
		{Name: "a", Protocol: "openai", Primary: "http://127.0.0.1:9/a", Fallback: "http://127.0.0.1:8/a", Schema: []byte(`{}`)},
		{Name: "b", Protocol: "gemini", Primary: "http://127.0.0.1:9/b"},
	}})
	if got != want {
		t.Errorf("%s", got)
	}
}
