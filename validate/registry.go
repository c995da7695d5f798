package validate

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"

	"llmcall/endpoint"
	"llmcall/internal/nearest"
	"llmcall/internal/say"
	"llmcall/llm"
	"llmcall/validate/internal/jsontext"
)

// Info describes a check by its name and parameters, for people to read; see [Checks].
type Info struct {
	Name    string   `json:"name"`              // without a colon or white space
	Aliases []string `json:"aliases,omitempty"` // other names of the check
	Summary string   `json:"summary"`           // what passes, as a sentence: "the answer has so many words"
	Params  []Param  `json:"params,omitempty"`  // all parameters; others are refused
	// Main describes the main argument, which follows the colon in NAME:ARGUMENTS.
	// Default "": there is none, and only a JSON object of parameters may follow.
	Main    string `json:"main,omitempty"`
	Example string `json:"example"` // in the form NAME or NAME:ARGUMENTS
}

// Param describes a parameter of a check.
type Param struct {
	Name     string `json:"name"`
	Type     string `json:"type"`               // in words: "list of strings"
	Default  string `json:"default,omitempty"`  // "" if there is none
	Required bool   `json:"required,omitempty"` // the check can't be made without it
	Meaning  string `json:"meaning"`
	// Refused is true for a parameter that other programs know, and whose error says what
	// to do instead. [Checks] leaves it out.
	Refused bool `json:"-"`
}

// Definition is a check that can be made from its name and parameters; see [Register].
type Definition struct {
	Info
	// Build makes the check. It is called only with parameters that Info.Params
	// names. It is required.
	Build func(Params) (Strategy, error)
	// FromMain parses the main argument into parameters. Default nil: there is no
	// main argument.
	FromMain func(text string) (map[string]any, error)
	// AnyText allows any text as the main argument, even a JSON object; see
	// [Builder.Parse]. Default false.
	AnyText bool
}

// Register makes a check known to [Build], [Parse] and [Checks]. The error says that a
// name or alias is taken, is empty, or has a colon or white space, or that Build is
// nil. Several goroutines may call it at once; most programs call it in an init
// function.
func Register(d Definition) error {
	if d.Build == nil {
		return fmt.Errorf("validate: Register %q: Build must not be nil", d.Name)
	}
	registered.Lock()
	defer registered.Unlock()
	known := append(builtIn(), registered.list...)
	names := append([]string{d.Name}, d.Aliases...)
	for i, name := range names {
		if name == "" || strings.ContainsAny(name, ": \t\r\n") {
			return fmt.Errorf("validate: Register %q: a name must not be empty or have a colon or white space, got %q", d.Name, name)
		}
		if slices.Contains(names[:i], name) || slices.ContainsFunc(known, func(k Definition) bool { return k.has(name) }) {
			return fmt.Errorf("validate: Register %q: the name %q is taken", d.Name, name)
		}
	}
	registered.list = append(registered.list, d)
	return nil
}

// MustRegister is [Register], but panics on an error.
func MustRegister(d Definition) {
	if err := Register(d); err != nil {
		panic(err)
	}
}

var registered struct {
	sync.RWMutex
	list []Definition
}

// definitions returns all known checks.
func definitions() []Definition {
	registered.RLock()
	defer registered.RUnlock()
	return append(builtIn(), registered.list...)
}

// inPackage is the packages of the checks that need large libraries. Each registers
// its checks when it is imported; others must not link its libraries.
var inPackage = map[string]string{
	"code": "code", "python": "code/python", "sql": "sql", "sql_safe": "sql", "openapi_spec": "openapi", "expression": "expression",
	"agent_task": "judge", "ai_contradiction_check": "judge",
}

// Checks describes the checks that [Build] and [Parse] know: those of this package, and
// those of the packages that the program imports.
func Checks() []Info {
	var infos []Info
	for _, d := range definitions() {
		d.Params = slices.DeleteFunc(slices.Clone(d.Params), func(p Param) bool { return p.Refused })
		infos = append(infos, d.Info)
	}
	return infos
}

// Builder makes checks from their names and parameters. The zero value makes all
// checks that don't ask a model.
type Builder struct {
	// OpenModel opens a model that a check names as its judge ("provider/model"), or,
	// for "", the one to ask where a check names none. Default nil: a check that asks
	// a model is an error.
	OpenModel func(name string) (llm.Model, error)
	// Endpoints has what judges share with the other callers of their models, such as the
	// circuits of a fleet. Default nil: [endpoint.Default].
	Endpoints *endpoint.Registry
}

// Build makes a check from its name or alias, and its parameters as YAML or JSON
// decodes them. A parameter that is unknown, missing or impossible is a
// *[ParamError]. A parameter may be given by a word at its beginning or end, if no other
// parameter has it there: max for max_length. The error of an unknown check names the most
// similar known one, or all of them.
//
// A check within a combination has one of the forms of [Builder.FromValue].
func (b Builder) Build(name string, params map[string]any) (Strategy, error) {
	d, err := lookup(name)
	if err != nil {
		return nil, err
	}
	return d.make(b, params, 0)
}

// Parse makes a check from the form NAME[:ARGUMENTS] of the command line. ARGUMENTS is
// the check's main argument ("regex:^A", "length:3..200"; see [Info]), or a JSON object
// of its parameters (`length:{"min_length": 3}`). The errors are those of
// [Builder.Build].
//
// The main argument of regex, contains, schema and expression may itself begin with a
// brace. For them ARGUMENTS is read as parameters only if it is a JSON object with at
// least one key, and each key is the name of a parameter.
func (b Builder) Parse(spec string) (Strategy, error) { return b.parse(spec, 0) }

// Build is [Builder.Build] of the zero [Builder].
func Build(name string, params map[string]any) (Strategy, error) {
	return Builder{}.Build(name, params)
}

// Parse is [Builder.Parse] of the zero [Builder].
func Parse(spec string) (Strategy, error) { return Builder{}.Parse(spec) }

const maxNested = 16 // how deep combinations may be nested

const takesChecks = `a list of at least one check, each a string ("length:3..200") or a mapping ({length: {max: 200}})`

const takesSchema = "a JSON Schema: an object or a boolean"

// builtIn is a function, as are the definitions in it, for two reasons: combinations
// look up their members in it, and a program that does not make checks by name links
// only those that it uses.
func builtIn() []Definition {
	return []Definition{
		{
			Info: Info{
				Name: "not_empty", Aliases: []string{"response_not_empty"}, Example: "not_empty",
				Summary: "the answer has visible text, or calls a tool",
			},
			Build: func(Params) (Strategy, error) { return NotEmpty(), nil },
		},
		{
			Info: Info{
				Name: "json", Aliases: []string{"json_string"}, Example: "json",
				Summary: "the answer is one JSON value, in a Markdown fence at most",
				Params:  []Param{repairParam},
			},
			Build: buildJSON,
		},
		{
			Info: Info{
				Name: "schema", Aliases: []string{"json_schema"}, Example: `schema:{"type": "object", "required": ["name"]}`,
				Summary: "the answer is JSON that fits a JSON Schema",
				Params: []Param{
					{
						Name: "schema", Type: "object or boolean", Required: true,
						Meaning: "the JSON Schema, of the draft that its $schema names, else 2020-12",
					},
					{Name: "documents", Type: "object", Default: "none", Meaning: "other JSON Schemas that a $ref may name, each under its URL"},
					repairParam,
				},
				Main: "the JSON Schema",
			},
			Build: buildSchema,
			FromMain: func(text string) (map[string]any, error) {
				doc := jsontext.Decode(text)
				if err := unreadable(doc); err != nil {
					return nil, &ParamError{Check: "schema", Param: "schema", Got: strconv.Quote(say.FirstLine(text, 40)), Takes: takesSchema, Err: err}
				}
				return map[string]any{"schema": doc.Value}, nil
			},
			AnyText: true,
		},
		requestSchemaDefinition(),
		fieldDefinition(),
		{
			Info: Info{
				Name: "length", Example: "length:3..200",
				Summary: "the answer has so many characters",
				Params: []Param{
					{Name: "min_length", Type: "integer", Default: "0", Meaning: "the least number of characters (Unicode code points)"},
					{Name: "max_length", Type: "integer", Default: "no limit", Meaning: "the largest number of characters; one of the two limits must be given"},
				},
				Main: "the least and the largest number: 3..200, 3.. or ..200",
			},
			Build:    func(p Params) (Strategy, error) { return p.counted("min_length", "max_length", Length) },
			FromMain: span("length", "min_length", "max_length", count),
		},
		{
			Info: Info{
				Name: "contains", Example: "contains:Berlin",
				Summary: "the answer contains a text, or several",
				Params: []Param{
					{Name: "required_text", Type: "string or list of strings", Required: true, Meaning: "what must be in the answer, all of it"},
					{Name: "case_sensitive", Type: "boolean", Default: "false", Meaning: "capital and small letters are different"},
				},
				Main: "the one text",
			},
			Build: func(p Params) (Strategy, error) {
				texts, err := p.Texts("required_text")
				if err != nil {
					return nil, err
				}
				sensitive, err := p.Flag("case_sensitive")
				if err != nil {
					return nil, err
				}
				return contains(texts, sensitive)
			},
			FromMain: as("required_text"),
			AnyText:  true,
		},
		{
			Info: Info{
				Name: "regex", Example: "regex:^A",
				Summary: "a regular expression matches somewhere in the answer",
				Params: []Param{{
					Name: "pattern", Type: "string", Required: true,
					Meaning: "the expression in Go's syntax (RE2); ^ and $ tie it to the ends, (?i) ignores case",
				}},
				Main: "the pattern",
			},
			Build: func(p Params) (Strategy, error) {
				pattern, err := p.Text("pattern", takesPattern)
				if err != nil {
					return nil, err
				}
				return Regex(pattern)
			},
			FromMain: as("pattern"),
			AnyText:  true,
		},
		{
			Info: Info{
				Name: "all", Example: `all:["not_empty", "length:..200"]`,
				Summary: "all of the checks pass",
				Params:  []Param{{Name: "checks", Type: "list of checks", Required: true, Meaning: "the checks that must pass"}},
				Main:    "the list of checks, as JSON",
			},
			Build: func(p Params) (Strategy, error) {
				checks, err := p.Checks("checks")
				if err != nil {
					return nil, err
				}
				return All(checks...)
			},
			FromMain: checkList("all"),
		},
		{
			Info: Info{
				Name: "any", Example: `any:["json", "regex:^no answer$"]`,
				Summary: "one of the checks passes",
				Params:  []Param{{Name: "checks", Type: "list of checks", Required: true, Meaning: "the checks of which one must pass"}},
				Main:    "the list of checks, as JSON",
			},
			Build: func(p Params) (Strategy, error) {
				checks, err := p.Checks("checks")
				if err != nil {
					return nil, err
				}
				return Any(checks...)
			},
			FromMain: checkList("any"),
		},
		{
			Info: Info{
				Name: "not", Example: "not:contains:sorry",
				Summary: "the check complains",
				Params: []Param{
					{Name: "check", Type: "check", Required: true, Meaning: "the check that must not pass"},
					{Name: "problem", Type: "string", Default: "that the check passes", Meaning: "what is wrong with an answer that passes it"},
					{Name: "suggestion", Type: "string", Meaning: "how to fix it, said to the model"},
				},
				Main: "the one check",
			},
			Build:    buildNot,
			FromMain: as("check"),
		},
		atDefinition(),
		oneOfDefinition(),
		numberDefinition(),
		formatDefinition(),
		wordCountDefinition(),
		sentenceCountDefinition(),
		noSecretsDefinition(),
		quotesDefinition(),
	}
}

func lookup(name string) (*Definition, error) {
	var known []string
	for _, d := range definitions() {
		if d.has(name) {
			return &d, nil
		}
		known = append(append(known, d.Name), d.Aliases...)
	}
	if at, ok := inPackage[name]; ok {
		return nil, fmt.Errorf("check %q is in package llmcall/validate/%s, which this program does not import "+
			"(llmcall/validate/standard is all of them)", name, at)
	}
	if question := nearest.Question(name, known); question != "" {
		return nil, fmt.Errorf("unknown check %q%s", say.Short(name, 60), question)
	}
	slices.Sort(known)
	return nil, fmt.Errorf("unknown check %q: known are %s", say.Short(name, 60), strings.Join(known, ", "))
}

func (d *Definition) has(name string) bool { return d.Name == name || slices.Contains(d.Aliases, name) }

func (d *Definition) names() []string {
	var names []string
	for _, p := range d.Params {
		names = append(names, p.Name)
	}
	return names
}

// make makes the check if the names of all parameters are known.
func (d *Definition) make(b Builder, values map[string]any, nested int) (Strategy, error) {
	spelled := make(map[string]any, len(values))
	for _, given := range slices.Sorted(maps.Keys(values)) {
		name, err := d.param(given)
		if err != nil {
			return nil, &ParamError{Check: d.Name, Param: say.Short(given, 60), Err: err}
		}
		if _, twice := spelled[name]; twice {
			return nil, &ParamError{Check: d.Name, Param: say.Short(given, 60), Err: fmt.Errorf("%s is given twice", name)}
		}
		spelled[name] = values[given]
	}
	return d.Build(Params{d.Name, spelled, b, nested})
}

// param returns the name of the parameter that is given by its name, or by a word at its
// beginning or end that no other parameter has there.
func (d *Definition) param(given string) (string, error) {
	var meant []string
	for _, name := range d.names() {
		if name == given {
			return name, nil
		}
		if strings.HasPrefix(name, given+"_") || strings.HasSuffix(name, "_"+given) {
			meant = append(meant, name)
		}
	}
	switch len(meant) {
	case 0:
		return "", unknownParam(given, d.names())
	case 1:
		return meant[0], nil
	}
	last := len(meant) - 1
	return "", fmt.Errorf("unknown parameter: it may be %s or %s", strings.Join(meant[:last], ", "), meant[last])
}

// unknownParam names the nearest known parameter, or, if none is near, all of them.
func unknownParam(given string, known []string) error {
	if question := nearest.Question(given, known); question != "" {
		return errors.New("unknown parameter" + question)
	}
	if len(known) == 0 {
		return errors.New("unknown parameter: the check has none")
	}
	return fmt.Errorf("unknown parameter: known are %s", strings.Join(known, ", "))
}

func (b Builder) parse(spec string, nested int) (Strategy, error) {
	name, arguments, given := strings.Cut(spec, ":")
	d, err := lookup(strings.TrimSpace(name))
	if err != nil {
		return nil, err
	}
	if !given {
		return d.make(b, nil, nested)
	}
	if values, ok := d.object(arguments); ok {
		return d.make(b, values, nested)
	}
	values, err := d.main(arguments)
	if err != nil {
		return nil, err
	}
	return d.make(b, values, nested)
}

// object returns the parameters if the arguments are a JSON object of them.
func (d *Definition) object(arguments string) (map[string]any, bool) {
	if !strings.HasPrefix(strings.TrimSpace(arguments), "{") {
		return nil, false
	}
	doc := jsontext.Decode(arguments)
	values, ok := doc.Value.(map[string]any)
	if !ok || len(doc.Faults) > 0 {
		return nil, false
	}
	if !d.AnyText {
		return values, true
	}
	names := d.names()
	for given := range values {
		if !slices.Contains(names, given) {
			return nil, false
		}
	}
	return values, len(values) > 0
}

// as makes the main argument one parameter, unchanged.
func as(name string) func(string) (map[string]any, error) {
	return func(text string) (map[string]any, error) { return map[string]any{name: text}, nil }
}

func checkList(check string) func(string) (map[string]any, error) {
	return func(text string) (map[string]any, error) {
		doc := jsontext.Decode(text)
		err := unreadable(doc)
		if list, ok := doc.Value.([]any); ok && err == nil {
			return map[string]any{"checks": list}, nil
		}
		return nil, &ParamError{Check: check, Param: "checks", Got: strconv.Quote(say.FirstLine(text, 40)), Takes: takesChecks, Err: err}
	}
}

// repairParam is the parameter of the checks that can repair the answer's JSON.
var repairParam = Param{
	Name: "repair", Type: "boolean", Default: "false",
	Meaning: "take the JSON out of prose and fix commas, quotes, comments and the like; never an answer that was cut off",
}

func buildJSON(p Params) (Strategy, error) {
	repair, err := p.Flag("repair")
	if err != nil {
		return nil, err
	}
	if repair {
		return JSONWithRepair(), nil
	}
	return JSON(), nil
}

func buildSchema(p Params) (Strategy, error) {
	value, given := p.values["schema"]
	if !given || value == nil {
		return nil, p.Bad("schema", "nothing", takesSchema)
	}
	text, err := p.schema("schema", value)
	if err != nil {
		return nil, err
	}
	var options SchemaOptions
	if options.Repair, err = p.Flag("repair"); err != nil {
		return nil, err
	}
	switch documents := p.Value("documents").(type) {
	case nil:
	case map[string]any:
		options.Documents = map[string][]byte{}
		for name, value := range documents {
			if options.Documents[name], err = p.schema(fmt.Sprintf("documents[%q]", say.Short(name, 60)), value); err != nil {
				return nil, err
			}
		}
	default:
		return nil, p.Bad("documents", shortJSON(documents), "an object of JSON Schemas by their URL")
	}
	return JSONSchemaWith(text, options)
}

// schema writes a schema as JSON.
func (p Params) schema(name string, value any) ([]byte, error) {
	if k := reflect.ValueOf(value).Kind(); k != reflect.Map && k != reflect.Bool {
		return nil, p.Bad(name, shortJSON(value), takesSchema)
	}
	text, err := json.Marshal(value)
	if err != nil {
		bad := p.Bad(name, fmt.Sprintf("a %T", value), takesSchema)
		bad.Err = err
		return nil, bad
	}
	return text, nil
}

func buildNot(p Params) (Strategy, error) {
	check, err := p.Check("check")
	if err != nil {
		return nil, err
	}
	problem, err := p.Optional("problem")
	if err != nil {
		return nil, err
	}
	suggestion, err := p.Optional("suggestion")
	if err != nil {
		return nil, err
	}
	return Not(check, problem, suggestion)
}
