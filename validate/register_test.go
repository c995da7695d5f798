package validate_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"llmcall/llm"
	"llmcall/validate"
)

// likes is a check of the test's own. The registry of the process keeps it.
func likes(name string, aliases ...string) validate.Definition {
	return validate.Definition{
		Info: validate.Info{
			Name: name, Aliases: aliases, Summary: "the answer is liked", Example: name,
			Params: []validate.Param{{Name: "who", Type: "string", Meaning: "who likes it"}},
		},
		Build: func(validate.Params) (validate.Strategy, error) { return passes(name), nil },
	}
}

func TestARegisteredCheckIsKnownByItsNamesAndListed(t *testing.T) {
	if err := validate.Register(likes("pleases", "is_liked")); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"pleases", "is_liked"} {
		s, err := validate.Build(name, nil)
		if err != nil || s.Name() != "pleases" {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := validate.Parse("not:" + name); err != nil {
			t.Errorf("%s within a combination: %v", name, err)
		}
	}
	listed := 0
	for _, info := range validate.Checks() {
		if info.Name == "pleases" {
			listed++
		}
	}
	if listed != 1 {
		t.Errorf("it is listed %d times", listed)
	}
	if _, err := validate.Parse(`pleases:{"how": "x"}`); err == nil || !strings.Contains(err.Error(), "how: unknown parameter: known are who") {
		t.Errorf("%v", err)
	}
	if _, err := validate.Parse("pleasse"); err == nil || err.Error() != `unknown check "pleasse", did you mean pleases?` {
		t.Errorf("%v", err)
	}
}

func TestRegisterRefusesWhatCouldNotBeNamed(t *testing.T) {
	build := likes("x").Build
	if err := validate.Register(likes("taken_once", "taken_too")); err != nil {
		t.Fatal(err)
	}
	before := len(validate.Checks())
	for _, test := range []struct {
		name string
		d    validate.Definition
		want string
	}{
		{"no name", validate.Definition{Build: build}, `validate: Register "": a name must not be empty or have a colon or white space, got ""`},
		{"no Build", validate.Definition{Info: validate.Info{Name: "unbuilt"}}, `validate: Register "unbuilt": Build must not be nil`},
		{"a colon in the name", likes("a:b"), `validate: Register "a:b": a name must not be empty or have a colon or white space, got "a:b"`},
		{"white space in the name", likes("a b"), `Register "a b"`},
		{"no alias", likes("fresh_1", ""), `validate: Register "fresh_1": a name must not be empty or have a colon or white space, got ""`},
		{"a colon in an alias", likes("fresh_2", "c:d"), `validate: Register "fresh_2": a name must not be empty or have a colon or white space, got "c:d"`},
		{"a built-in name", likes("json"), `Register "json": the name "json" is taken`},
		{"a built-in alias", likes("json_string"), `the name "json_string" is taken`},
		{"an alias that is built in", likes("fresh_3", "number_range"), `Register "fresh_3": the name "number_range" is taken`},
		{"a registered name", likes("taken_once"), `the name "taken_once" is taken`},
		{"a registered alias", likes("fresh_4", "fresh_5", "taken_too"), `the name "taken_too" is taken`},
		{"one name twice", likes("fresh_6", "fresh_6"), `the name "fresh_6" is taken`},
	} {
		if err := validate.Register(test.d); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %s", test.name, err, test.want)
		}
	}
	if after := len(validate.Checks()); after != before {
		t.Errorf("%d checks more are known", after-before)
	}
}

func TestMustRegisterPanicsWithTheError(t *testing.T) {
	validate.MustRegister(likes("registered_by_must"))
	defer func() {
		if err, ok := recover().(error); !ok || !strings.Contains(err.Error(), `the name "registered_by_must" is taken`) {
			t.Errorf("%v", err)
		}
	}()
	validate.MustRegister(likes("registered_by_must"))
}

// Of many goroutines that register one name, one does it.
func TestOneOfManyRegistersAName(t *testing.T) {
	var wg sync.WaitGroup
	errs := make(chan error, 20)
	for range 20 {
		wg.Go(func() {
			errs <- validate.Register(likes("raced_for"))
			_, _ = validate.Parse("raced_for")
			validate.Checks()
		})
	}
	wg.Wait()
	close(errs)
	refused := 0
	for err := range errs {
		if err != nil {
			refused++
		}
	}
	if refused != 19 {
		t.Errorf("%d were refused", refused)
	}
}

// A check whose package is not imported is not unknown: the error says where it
// is.
func TestACheckInAPackageThatIsNotImportedIsPointedTo(t *testing.T) {
	for name, at := range map[string]string{"sql_safe": "sql", "python": "code/python", "expression": "expression", "agent_task": "judge", "openapi_spec": "openapi"} {
		want := fmt.Sprintf("check %q is in package llmcall/validate/%s, which this program does not import (llmcall/validate/standard is all of them)", name, at)
		for _, spec := range []string{name, name + ":x", "not:" + name} {
			if _, err := validate.Parse(spec); err == nil || !strings.HasSuffix(err.Error(), want) {
				t.Errorf("%s: %v", spec, err)
			}
		}
	}
}

func TestBuilderMakesChecksAtEachDepth(t *testing.T) {
	var b validate.Builder
	built, err := b.Build("all", map[string]any{"checks": []any{
		"length:3..", map[string]any{"type": "not", "params": map[string]any{"check": map[string]any{"type": "contains", "params": map[string]any{"required_text": "x"}}}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := b.Parse(`all:["length:3..", "not:contains:x"]`)
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]int{"abc": 0, "ab": 1, "x": 2} {
		one, other := check(t, built, text).Complaints, check(t, parsed, text).Complaints
		if len(one) != want || strings.Join(lines(one), "\n") != strings.Join(lines(other), "\n") {
			t.Errorf("%s: built %v, parsed %v", text, one, other)
		}
	}
	if _, err := b.Build("nope", nil); err == nil || !strings.Contains(err.Error(), `unknown check "nope"`) {
		t.Errorf("%v", err)
	}
}

func TestModelOpensWhatAParameterNames(t *testing.T) {
	err := validate.Register(validate.Definition{
		Info: validate.Info{
			Name: "modelled", Summary: "a model likes it", Example: "modelled",
			Params: []validate.Param{{Name: "model", Type: "string", Meaning: "the model"}},
		},
		Build: func(p validate.Params) (validate.Strategy, error) {
			name, given := p.Value("model").(string)
			if !given {
				return passes("modelled"), nil
			}
			m, err := p.Model("model", name)
			if err != nil {
				return nil, err
			}
			return passes(m.Name()), nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	opens := func(m llm.Model, err error) validate.Builder {
		return validate.Builder{OpenModel: func(string) (llm.Model, error) { return m, err }}
	}
	s, err := opens(llm.Func("acme/a", nil), nil).Parse(`not:modelled:{"model": "acme/a"}`)
	if err != nil || s == nil {
		t.Error(err)
	}
	for want, b := range map[string]validate.Builder{
		`model must be the full name of a model, "provider/model", got "acme/a": this program opens no model that a check names (see validate.Builder)`: {},
		`model must be the full name of a model, "provider/model", got "acme/a": no key`:                                                                opens(nil, errors.New("no key")),
		`model must be the full name of a model, "provider/model", got "acme/a": OpenModel returned neither a model nor an error`:                       opens(nil, nil),
	} {
		if _, err := b.Build("modelled", map[string]any{"model": "acme/a"}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	if _, err := opens(llm.Func("x", nil), nil).Build("modelled", map[string]any{"model": " "}); err == nil || !strings.Contains(err.Error(), `"provider/model", got " "`) {
		t.Error(err)
	}
}
