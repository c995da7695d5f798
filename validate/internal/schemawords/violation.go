// Package schemawords puts what a JSON Schema finds wrong with a value into words
// that a model can act on: each place once, in an order that does not change from
// run to run, and with what was expected, what is there, and how to fix it.
//
// The checks of texts, numbers and fields say what they have in common with a
// schema (a length, a pattern, a list of allowed values) in the same words.
package schemawords

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"

	"llmcall/internal/phrase"
	"llmcall/internal/say"
)

// Fault is one place where a value breaks a schema.
type Fault struct {
	Problem    string // what is wrong
	Pointer    string // where, as a JSON pointer (RFC 6901)
	Suggestion string // what to do about it, said to the model; may be ""
}

// Schema is what the words are taken from: the names of properties, the allowed
// values. The zero value is a schema that is not ours to quote.
type Schema struct {
	URL   string // by which the library knows it
	Value any    // as JSON
}

// Faults puts the library's tree of errors into words, a violation each, in the
// order of their pointers; at most [say.MaxListed], and how many more there are.
// The library's own order changes from run to run, and two answers that fail in
// the same way must get the same words. The error is about the schema.
func Faults(tree *jsonschema.ValidationError, value any, schema Schema) ([]Fault, error) {
	w := words{value, schema}
	w.prune(tree)
	found := gather(tree)
	var faults []Fault
	var last Fault
	left := 0
	for _, v := range found {
		if cycle, ok := v.kind.(*kind.RefCycle); ok {
			return nil, fmt.Errorf("the schema's references lead back to themselves: %s and %s", cycle.KeywordLocation1, cycle.KeywordLocation2)
		}
		if len(faults) == say.MaxListed {
			left++
			continue
		}
		f := w.fault(v)
		if f == last { // two ways through the schema to one violation
			continue
		}
		faults, last = append(faults, f), f
	}
	if len(found) == 0 {
		return nil, errors.New("the value does not fit the schema, and the library does not say why")
	}
	if problem := say.More(left, "violation of the schema", "violations of the schema"); problem != "" {
		faults = append(faults, Fault{Problem: problem})
	}
	return faults, nil
}

// words puts violations into words: what is there, and what is wanted.
type words struct {
	value  any // the whole value
	schema Schema
}

func (w words) fault(v violation) Fault {
	if k, ok := v.kind.(*kind.PropertyNames); ok {
		v.at, _ = only(w.value, k.Property, nil)
	}
	problem, suggestion := w.say(v)
	return Fault{Problem: problem, Pointer: say.ShortPointer(v.at), Suggestion: suggestion}
}

func (w words) sayType(v violation, k *kind.Type) (problem, suggestion string) {
	wanted := make([]string, 0, len(k.Want))
	for _, t := range k.Want {
		if name := phrase.TypeNames[t]; !slices.Contains(wanted, name) {
			wanted = append(wanted, name)
		}
	}
	wish := phrase.Either(wanted)
	problem = Expected(wish, w.value, v.at)
	wants := func(t string) bool { return slices.Contains(k.Want, t) }
	value, _ := Find(w.value, v.at)
	schema := v.schema
	switch v := value.(type) {
	case string:
		var n json.Number
		switch {
		case (wants("number") || wants("integer")) && json.Unmarshal([]byte(v), &n) == nil && n != "":
			return problem, phrase.NumberUnquoted.Of()
		case wants("boolean") && (v == "true" || v == "false"):
			return problem, phrase.LiteralUnquoted.Of(v)
		case (wants("object") || wants("array")) && strings.IndexAny(v, "{[") == 0 && json.Valid([]byte(v)):
			return problem, phrase.JSONUnquoted.Of()
		}
	case json.Number, bool:
		switch example := w.example(schema); {
		case wants("string") && example != "":
			return problem, phrase.ExampleIn.Of(example)
		case len(k.Want) == 1 && wants("string"):
			return problem, phrase.Quoted.Of()
		}
	}
	return problem, phrase.Put.Of(wish)
}

// example returns a text of the form that a schema wants, "" if it says nothing of that.
func (w words) example(schema string) string {
	format, _ := w.keyword(schema, "format")
	examples, _ := w.keyword(schema, "examples")
	return exampleOf(format, examples)
}

func exampleOf(format, examples any) string {
	name, _ := format.(string)
	if list, _ := examples.([]any); formats[name] == "" && len(list) > 0 {
		if text, ok := list[0].(string); ok {
			return Show(text)
		}
	}
	return formats[name]
}

func (w words) sayDependent(schema, property string, missing []string) (problem, suggestion string) {
	return fmt.Sprintf("because %q is there, ", say.Short(property, 60)) +
			plural(missing, "the property %s must be too", "the properties %s must be too"),
		w.add(schema, missing)
}

// add says which properties to add, and of what kind each must be: a model that
// is not told chooses one, and is wrong once more.
func (w words) add(schema string, names []string) string {
	properties, _ := w.keyword(schema, "properties")
	of, _ := properties.(map[string]any)
	quoted := make([]string, len(names))
	for i, name := range names {
		quoted[i] = strconv.Quote(say.Short(name, 60))
		if what := w.kindOf(of[name]); what != "" {
			quoted[i] += " (" + what + ")"
		}
	}
	if len(names) == 1 {
		return phrase.AddProperty.Of(quoted[0])
	}
	return phrase.AddProperties.Of(say.List(quoted, say.MaxListed))
}

// kindOf says in a few words what a schema takes; "" where that takes more.
func (w words) kindOf(schema any) string {
	of, _ := schema.(map[string]any)
	if ref, ok := of["$ref"].(string); ok {
		at, isHere := strings.CutPrefix(ref, "#/")
		if !isHere {
			return ""
		}
		tokens := strings.Split(at, "/")
		for i, token := range tokens {
			tokens[i] = say.Unescape(token)
		}
		target, _ := Find(w.schema.Value, tokens)
		if of, _ = target.(map[string]any); of["$ref"] != nil {
			return ""
		}
	}
	if constant, ok := of["const"]; ok {
		return phrase.OneValue.Of(Show(constant))
	}
	if list, ok := of["enum"].([]any); ok && len(list) > 0 {
		return phrase.OneOf.Of(values(list))
	}
	if example := exampleOf(of["format"], of["examples"]); of["type"] == "string" && example != "" {
		return phrase.Like.Of(example)
	}
	if list, ok := of["anyOf"].([]any); ok && of["type"] == nil {
		return w.kindsOf(list)
	}
	types, ok := of["type"].([]any)
	if !ok {
		types = []any{of["type"]}
	}
	var names []string
	for _, t := range types {
		if t, _ := t.(string); phrase.TypeNames[t] != "" {
			names = append(names, phrase.TypeNames[t])
		}
	}
	what := phrase.Either(names)
	if what == phrase.Object {
		var required []string
		list, _ := of["required"].([]any)
		for _, name := range list {
			if name, ok := name.(string); ok {
				required = append(required, name)
			}
		}
		switch len(required) {
		case 0:
		case 1:
			return phrase.WithProperty.Of(List(required))
		default:
			return phrase.WithProperties.Of(List(required))
		}
	}
	return what
}

// kindsOf says in a few words what alternatives take, "" where one takes more.
func (w words) kindsOf(list []any) string {
	var kinds []string
	for _, one := range list {
		branch, _ := one.(map[string]any)
		if branch["deprecated"] == true && len(list) > 1 {
			continue
		}
		what := w.kindOf(one)
		if what == "" {
			return ""
		}
		kinds = append(kinds, what)
	}
	return phrase.Either(kinds)
}

// sayName tells why a property's name is not allowed. The violations within are
// those of the name as a value.
func (w words) sayName(name string, within []violation) string {
	why := ""
	if len(within) > 0 {
		why, _ = words{name, w.schema}.say(within[0])
	}
	return phrase.NameNotAllowed.Of(say.Short(name, 60), why)
}

func (w words) sayContains(problem string, within []violation) string {
	if len(within) > 0 {
		f := w.fault(within[0])
		problem += fmt.Sprintf("; at %s: %s", f.Pointer, f.Problem)
	}
	return problem
}

// such writes a fix with the schema of contains, or otherwise where that can't be
// shown.
func (w words) such(schema string, fix func(shown string) string, otherwise string) string {
	if contains, ok := w.keyword(schema, "contains"); ok {
		return fix(Whole(contains))
	}
	return otherwise
}

// addSuch writes that n items are to be added that fit the schema of contains.
func (w words) addSuch(schema string, n int, otherwise string) string {
	return w.such(schema, func(shown string) string {
		if n == 1 {
			return phrase.AddItem.Of(shown)
		}
		return phrase.AddItems.Of(n, shown)
	}, otherwise)
}

func (w words) sayJustOne(schema string, fitting []int) string {
	branches, _ := w.keyword(schema, "oneOf")
	list, _ := branches.([]any)
	var shown []string
	for _, i := range fitting {
		if i >= len(list) {
			return phrase.JustOne.Of()
		}
		shown = append(shown, Whole(list[i]))
	}
	return phrase.JustOne.Of(strings.Join(shown, "; or "))
}

func (w words) sayAlternatives(at []string, k alternatives) (problem, suggestion string) {
	const shown = 5
	var ways []string
	for _, branch := range k.branches[:min(shown, len(k.branches))] {
		var steps []string
		for _, v := range branch[:min(shown, len(branch))] {
			f := w.fault(v)
			if f.Suggestion == "" {
				f.Suggestion = f.Problem
			}
			if len(v.at) != len(at) {
				f.Suggestion = phrase.At(f.Pointer, f.Suggestion)
			}
			steps = append(steps, say.Short(f.Suggestion, 200))
		}
		if way := phrase.Together(steps); !slices.Contains(ways, way) {
			ways = append(ways, way)
		}
	}
	problem = fmt.Sprintf("%s fits none of the %d alternatives", w.describe(at), len(k.branches))
	if n := len(k.branches) - shown; n > 0 {
		ways = append(ways, fmt.Sprintf("fit one of the %d other alternatives", n))
	}
	return problem, phrase.Choice(ways)
}

func (w words) describe(at []string) string { return Describe(w.value, at) }

// allowed returns the names that a schema has in its properties, where no
// pattern allows others.
func (w words) allowed(schema string) []string {
	if _, ok := w.keyword(schema, "patternProperties"); ok {
		return nil
	}
	properties, _ := w.keyword(schema, "properties")
	m, _ := properties.(map[string]any)
	var names []string
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// keyword returns what a part of the schema, given by the library's address of
// it, says under a keyword.
func (w words) keyword(address, name string) (any, bool) {
	fragment, ok := strings.CutPrefix(address, w.schema.URL+"#")
	if !ok || w.schema.Value == nil {
		return nil, false
	}
	var tokens []string
	if fragment != "" {
		tokens = strings.Split(fragment, "/")[1:]
	}
	for i, token := range tokens {
		token, err := url.PathUnescape(token)
		if err != nil {
			return nil, false
		}
		tokens[i] = say.Unescape(token)
	}
	return Find(w.schema.Value, append(tokens, name))
}

// only returns the path to the one object in the value that has the property.
// Where more than one has it the path is nil, which stands for the whole value.
func only(value any, property string, path []string) (found []string, n int) {
	visit := func(token string, inner any) {
		f, m := only(inner, property, append(path, token))
		if n += m; m == 1 {
			found = f
		}
	}
	switch v := value.(type) {
	case map[string]any:
		if _, ok := v[property]; ok {
			found, n = slices.Clone(path), 1
		}
		for name, inner := range v {
			visit(name, inner)
		}
	case []any:
		for i, inner := range v {
			visit(strconv.Itoa(i), inner)
		}
	}
	if n > 1 {
		found = nil
	}
	return found, n
}

// formats has an example of each format that models get wrong
// (https://json-schema.org/draft/2020-12/json-schema-validation, section 7.3).
var formats = map[string]string{
	"date-time": `"2026-01-31T09:30:00Z" (RFC 3339)`,
	"date":      `"2026-01-31"`,
	"time":      `"09:30:00Z"`,
	"duration":  `"P3DT12H" (ISO 8601)`,
	"email":     `"name@example.org"`,
	"hostname":  `"www.example.org"`,
	"ipv4":      `"192.0.2.1"`,
	"ipv6":      `"2001:db8::1"`,
	"uri":       `"https://example.org/path"`,
	"uuid":      `"123e4567-e89b-12d3-a456-426614174000"`,
}
