package validate

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// Info describes a check that configuration and the command line can name.
type Info struct {
	Name    string   `json:"name"`
	Aliases []string `json:"aliases,omitempty"`
	Summary string   `json:"summary"`
	Params  []Param  `json:"params,omitempty"`
	// Main says what stands behind the colon in NAME:ARGUMENTS, beside a JSON
	// object of the parameters; "" if nothing may.
	Main    string `json:"main,omitempty"`
	Example string `json:"example"` // in the form NAME:ARGUMENTS
}

// Param is a parameter of a check.
type Param struct {
	Name     string `json:"name"`
	Type     string `json:"type"`
	Default  string `json:"default,omitempty"` // "" if there is none
	Required bool   `json:"required,omitempty"`
	Meaning  string `json:"meaning"`
}

// Checks returns what Build and Parse know, for people to read.
func Checks() []Info {
	var infos []Info
	for _, e := range entries() {
		infos = append(infos, e.Info)
	}
	return infos
}

// Build makes a check from its name, or an alias of it, and its parameters, as
// YAML or JSON decodes them. An unknown check is an error that lists the known;
// a parameter that is unknown, missing or impossible is a *ParamError.
//
// A check within a combination is either a text as Parse takes it, or a map
// with the keys "type" and "params".
func Build(name string, params map[string]any) (Strategy, error) {
	e, err := lookup(name)
	if err != nil {
		return nil, err
	}
	return e.make(params, 0)
}

// Parse makes a check from the form that the command line takes:
// NAME[:ARGUMENTS]. ARGUMENTS is the check's main argument as it is
// ("regex:^A", "length:3..200"; see Info), or a JSON object of its parameters
// (`length:{"min_length": 3}`).
//
// For regex, contains and schema, whose main argument may begin with a brace
// itself, ARGUMENTS is taken for parameters only if it is a JSON object with
// one key or more, each of them a parameter's name.
func Parse(spec string) (Strategy, error) { return parse(spec, 0) }

// entry is a check that can be named.
type entry struct {
	Info
	build func(p params) (Strategy, error)
	// main makes parameters of the main argument; nil if there is none.
	main func(text string) (map[string]any, error)
	// free: the main argument may be any text, a JSON object too.
	free bool
}

const maxNested = 16 // how deep combinations may be nested

const takesChecks = `a list of one check or more, each a text ("length:3..200") or an object with the keys "type" and "params"`

const takesSchema = "a JSON Schema: an object or a boolean"

// entries is a function and no variable, since the combinations look up their
// members in it.
func entries() []entry {
	return []entry{
		{
			Info: Info{
				Name: "not_empty", Aliases: []string{"response_not_empty"}, Example: "not_empty",
				Summary: "the answer has visible text, or calls a tool",
			},
			build: func(params) (Strategy, error) { return NotEmpty(), nil },
		},
		{
			Info: Info{
				Name: "json", Aliases: []string{"json_string"}, Example: "json",
				Summary: "the answer is one JSON value, in a Markdown fence at most",
			},
			build: func(params) (Strategy, error) { return JSON(), nil },
		},
		{
			Info: Info{
				Name: "schema", Example: `schema:{"type": "object", "required": ["name"]}`,
				Summary: "the answer is JSON that fits a JSON Schema",
				Params: []Param{{
					Name: "schema", Type: "object or boolean", Required: true,
					Meaning: "the JSON Schema, of the draft that its $schema names, else 2020-12",
				}},
				Main: "the JSON Schema",
			},
			build: buildSchema,
			main: func(text string) (map[string]any, error) {
				doc := decode(text)
				if err := doc.unreadable(); err != nil {
					return nil, &ParamError{Check: "schema", Param: "schema", Problem: fmt.Sprintf("is %q", excerpt(text)), Takes: takesSchema, Err: err}
				}
				return map[string]any{"schema": doc.value}, nil
			},
			free: true,
		},
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
			build: buildLength,
			main:  lengthRange,
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
			build: func(p params) (Strategy, error) {
				texts, err := p.texts("required_text")
				if err != nil {
					return nil, err
				}
				sensitive, err := p.flag("case_sensitive")
				if err != nil {
					return nil, err
				}
				return contains(texts, sensitive)
			},
			main: as("required_text"),
			free: true,
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
			build: func(p params) (Strategy, error) {
				pattern, err := p.text("pattern", takesPattern)
				if err != nil {
					return nil, err
				}
				return Regex(pattern)
			},
			main: as("pattern"),
			free: true,
		},
		{
			Info: Info{
				Name: "all", Example: `all:["not_empty", "length:..200"]`,
				Summary: "all of the checks pass",
				Params:  []Param{{Name: "checks", Type: "list of checks", Required: true, Meaning: "the checks that must pass"}},
				Main:    "the list of checks, as JSON",
			},
			build: func(p params) (Strategy, error) {
				checks, err := p.checks("checks")
				if err != nil {
					return nil, err
				}
				return All(checks...)
			},
			main: checkList("all"),
		},
		{
			Info: Info{
				Name: "any", Example: `any:["json", "regex:^no answer$"]`,
				Summary: "one of the checks passes",
				Params:  []Param{{Name: "checks", Type: "list of checks", Required: true, Meaning: "the checks of which one must pass"}},
				Main:    "the list of checks, as JSON",
			},
			build: func(p params) (Strategy, error) {
				checks, err := p.checks("checks")
				if err != nil {
					return nil, err
				}
				return Any(checks...)
			},
			main: checkList("any"),
		},
		{
			Info: Info{
				Name: "not", Example: "not:contains:sorry",
				Summary: "the check complains",
				Params: []Param{
					{Name: "check", Type: "check", Required: true, Meaning: "the check that must not pass"},
					{Name: "problem", Type: "string", Default: "that the check passes", Meaning: "what is wrong with an answer that passes it"},
					{Name: "suggestion", Type: "string", Meaning: "how to mend it, said to the model"},
				},
				Main: "the one check",
			},
			build: buildNot,
			main:  as("check"),
		},
	}
}

func lookup(name string) (*entry, error) {
	var known []string
	for _, e := range entries() {
		if e.Name == name || slices.Contains(e.Aliases, name) {
			return &e, nil
		}
		known = append(append(known, e.Name), e.Aliases...)
	}
	slices.Sort(known)
	return nil, fmt.Errorf("unknown check %q: takes one of %s", short(name, 60), strings.Join(known, ", "))
}

func (e *entry) names() []string {
	var names []string
	for _, p := range e.Params {
		names = append(names, p.Name)
	}
	return names
}

// make makes the check of parameters whose names are known.
func (e *entry) make(values map[string]any, nested int) (Strategy, error) {
	names := e.names()
	for _, given := range slices.Sorted(maps.Keys(values)) {
		if !slices.Contains(names, given) {
			takes := "no parameters"
			if len(names) > 0 {
				takes = "the parameters " + strings.Join(names, ", ")
			}
			return nil, &ParamError{Check: e.Name, Param: short(given, 60), Problem: "is unknown", Takes: takes}
		}
	}
	return e.build(params{e.Name, values, nested})
}

func parse(spec string, nested int) (Strategy, error) {
	name, arguments, given := strings.Cut(spec, ":")
	e, err := lookup(strings.TrimSpace(name))
	if err != nil {
		return nil, err
	}
	if !given {
		return e.make(nil, nested)
	}
	if values, ok := e.object(arguments); ok {
		return e.make(values, nested)
	}
	if e.main == nil {
		return nil, &ParamError{Check: e.Name, Param: "arguments", Problem: fmt.Sprintf("are %q", short(arguments, 60)), Takes: "none"}
	}
	values, err := e.main(arguments)
	if err != nil {
		return nil, err
	}
	return e.make(values, nested)
}

// object returns the parameters that the arguments are, if they are a JSON
// object of such.
func (e *entry) object(arguments string) (map[string]any, bool) {
	if !strings.HasPrefix(strings.TrimSpace(arguments), "{") {
		return nil, false
	}
	doc := decode(arguments)
	values, ok := doc.value.(map[string]any)
	if !ok || len(doc.complaints) > 0 {
		return nil, false
	}
	if !e.free {
		return values, true
	}
	names := e.names()
	for given := range values {
		if !slices.Contains(names, given) {
			return nil, false
		}
	}
	return values, len(values) > 0
}

// as makes the main argument one parameter, as it is.
func as(name string) func(string) (map[string]any, error) {
	return func(text string) (map[string]any, error) { return map[string]any{name: text}, nil }
}

func checkList(check string) func(string) (map[string]any, error) {
	return func(text string) (map[string]any, error) {
		doc := decode(text)
		err := doc.unreadable()
		if list, ok := doc.value.([]any); ok && err == nil {
			return map[string]any{"checks": list}, nil
		}
		return nil, &ParamError{Check: check, Param: "checks", Problem: fmt.Sprintf("is %q", excerpt(text)), Takes: takesChecks, Err: err}
	}
}

// lengthRange reads 3..200, 3.. and ..200. A number alone is refused: it could
// be meant as the least, the largest or the exact length.
func lengthRange(text string) (map[string]any, error) {
	bad := &ParamError{
		Check: "length", Param: "range", Problem: fmt.Sprintf("is %q", short(text, 60)),
		Takes: `3..200, 3.. or ..200, or a JSON object such as {"min_length": 3, "max_length": 200}`,
	}
	least, most, ok := strings.Cut(strings.TrimSpace(text), "..")
	if !ok || least == "" && most == "" {
		return nil, bad
	}
	values := map[string]any{}
	for name, digits := range map[string]string{"min_length": least, "max_length": most} {
		if digits == "" {
			continue
		}
		n, err := strconv.Atoi(digits)
		if err != nil || n < 0 {
			return nil, bad
		}
		values[name] = n
	}
	return values, nil
}

func buildLength(p params) (Strategy, error) {
	least, _, err := p.integer("min_length", "an integer of 0 or more")
	if err != nil {
		return nil, err
	}
	most, given, err := p.integer("max_length", "an integer of 1 or more")
	if err != nil {
		return nil, err
	}
	if given && most == 0 {
		// Length takes 0 for no limit, which is not what was written.
		return nil, p.bad("max_length", "is 0", "an integer of 1 or more")
	}
	return Length(least, most)
}

func buildSchema(p params) (Strategy, error) {
	value, given := p.values["schema"]
	if !given || value == nil {
		return nil, p.bad("schema", "is missing", takesSchema)
	}
	if k := reflect.ValueOf(value).Kind(); k != reflect.Map && k != reflect.Bool {
		return nil, p.bad("schema", "is "+shown(value), takesSchema)
	}
	text, err := json.Marshal(value)
	if err != nil {
		bad := p.bad("schema", "can't be written as JSON", takesSchema)
		bad.Err = err
		return nil, bad
	}
	return JSONSchema(text)
}

func buildNot(p params) (Strategy, error) {
	value, given := p.values["check"]
	if !given || value == nil {
		return nil, p.bad("check", "is missing", "a check")
	}
	check, err := p.member("check", value)
	if err != nil {
		return nil, err
	}
	problem, err := p.optional("problem")
	if err != nil {
		return nil, err
	}
	suggestion, err := p.optional("suggestion")
	if err != nil {
		return nil, err
	}
	return Not(check, problem, suggestion)
}
