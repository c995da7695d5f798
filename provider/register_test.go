package provider

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"llmcall/llm"
)

// alone runs a test with nothing registered, as in a program that imports no
// adapter.
func alone(t *testing.T) {
	before := register
	register = nil
	t.Cleanup(func() { register = before })
}

func TestOpenNamesTheImportThatIsMissing(t *testing.T) {
	alone(t)
	for _, o := range ours {
		_, err := Open(o.name+"/m", Options{})
		here := reflect.TypeFor[Provider]().PkgPath()
		want := fmt.Sprintf(`model "%s/m": the program does not import the adapter of provider "%s": `+
			`add the import _ "%s/%s", or _ "%s/all" for every provider`, o.name, o.name, here, o.folder, here)
		if err == nil || err.Error() != want {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	}
	if _, err := Open("opnai/m", Options{}); err == nil || !strings.Contains(err.Error(), "did you mean openai?") {
		t.Errorf("a name to correct: got %v", err)
	}
	if name, ok := Default(func(string) string { return "sk-1" }); ok || len(All()) != 0 || len(Names()) != 0 {
		t.Errorf("nothing is registered: got %q, %v", name, Names())
	}
}

func TestAProviderOfAnotherModule(t *testing.T) {
	alone(t)
	model := llm.Func("acme/m-1", nil)
	var asked string
	Register(Provider{Name: "zeta", KeyVariable: "ZETA_KEY", Default: "zeta/z"}, func(string, Options) (llm.Model, error) { return model, errors.New("no") })
	Register(Provider{Name: "acme", KeyVariable: "ACME_KEY", Default: "acme/m-1"}, func(name string, opts Options) (llm.Model, error) {
		asked = name + " at " + opts.BaseURL
		return model, nil
	})
	Register(Provider{Name: "groq"}, func(string, Options) (llm.Model, error) { return model, nil })
	if !slices.Equal(Names(), []string{"groq", "acme", "zeta"}) {
		t.Errorf("got %v", Names())
	}
	if m, err := Open("acme/team/m-1", Options{BaseURL: "here"}); m == nil || err != nil || asked != "team/m-1 at here" {
		t.Errorf("got %v, %v; asked for %s", m, err, asked)
	}
	if m, err := Open("zeta/z", Options{}); m != nil || err == nil {
		t.Errorf("with an error came %v, %v", m, err)
	}
	if _, err := Open("acne/m", Options{}); err == nil || !strings.Contains(err.Error(), "did you mean acme?") {
		t.Errorf("got %v", err)
	}
	if name, ok := Default(func(string) string { return "sk-1" }); !ok || name != "acme/m-1" {
		t.Errorf("the default is %q", name)
	}
}

func TestRegisterRefuses(t *testing.T) {
	alone(t)
	open := func(string, Options) (llm.Model, error) { return nil, nil }
	Register(Provider{Name: "acme"}, open)
	for _, step := range []struct {
		p    Provider
		open OpenFunc
		want string
	}{
		{Provider{}, open, `provider: Register: Name must be a name without a slash, got ""`},
		{Provider{Name: "a/b"}, open, `provider: Register: Name must be a name without a slash, got "a/b"`},
		{Provider{Name: "acme"}, open, `provider: Register: Name must be a name that is not registered yet, got "acme"`},
		{Provider{Name: "b"}, nil, `provider: Register: open must be a function that opens models of "b", got nil`},
	} {
		func() {
			defer func() {
				if text := fmt.Sprint(recover()); !strings.Contains(text, step.want) {
					t.Errorf("%+v: got %q, want %q", step.p, text, step.want)
				}
			}()
			Register(step.p, step.open)
		}()
	}
}
