package validate

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strconv"
	"strings"

	"llmcall/internal/phrase"
	"llmcall/internal/say"
	"llmcall/validate/internal/jsontext"
	"llmcall/validate/internal/schemawords"
)

// FieldPresent returns a check, named "field_present", that passes an answer which [JSON]
// passes and which has a field, even if its value is null. The path is a dot path
// (a.b[0].c or a.b.0.c; a dot, bracket or backslash in a name is written with a backslash
// before it) or, if it begins with a slash, a JSON pointer (RFC 6901). The verdict has the
// decoded value. The error is a *[ParamError]: the path is neither.
func FieldPresent(path string) (Strategy, error) { return newField(path, field{}) }

// FieldAbsent is [FieldPresent], but passes an answer that does not have the field.
func FieldAbsent(path string) (Strategy, error) { return newField(path, field{absent: true}) }

// FieldEquals is [FieldPresent], but passes an answer whose field has the value that want
// is when it is encoded as JSON. Numbers are compared by value: 1 equals 1.0, but neither
// true nor "1". The error is a *[ParamError] also if want can't be encoded as JSON.
func FieldEquals(path string, want any) (Strategy, error) {
	text, err := json.Marshal(want)
	doc := &jsontext.Document{}
	if err == nil {
		doc = jsontext.Decode(string(text))
		err = unreadable(doc)
	}
	if err != nil {
		return nil, &ParamError{Check: fieldName, Param: "expected_value", Got: fmt.Sprintf("a %T", want), Takes: "a JSON value", Err: err}
	}
	return newField(path, field{equals: true, want: doc.Value})
}

const (
	fieldName = "field_present"
	takesPath = `a dot path such as a.b[0].c, with \. for a dot within a name, or a JSON pointer such as /a/b/0/c`
)

func newField(path string, f field) (Strategy, error) {
	var err error
	if f.path, err = parsePath(path); err != nil {
		return nil, &ParamError{Check: fieldName, Param: "field_name", Got: shortJSON(path), Takes: takesPath, Err: err}
	}
	f.name = say.Short(path, 100)
	return f, nil
}

type field struct {
	name   string // the path, as given
	path   []pathStep
	absent bool
	equals bool
	want   any
}

// pathStep is one step of a path: a property's name or, if index is not -1, an
// item's number. If only is false, it may be either.
type pathStep struct {
	name  string
	index int
	only  bool // it was written in brackets, so it is not a property
}

// parsePath reads a dot path or a JSON pointer.
func parsePath(path string) ([]pathStep, error) {
	if path == "" {
		return nil, fmt.Errorf("it is empty")
	}
	var tokens []pathStep
	if strings.HasPrefix(path, "/") {
		names, err := say.Tokens(path)
		if err != nil {
			return nil, fmt.Errorf("a ~ in a JSON pointer is written as ~0, and a slash as ~1")
		}
		for _, name := range names {
			tokens = append(tokens, named(name))
		}
		return tokens, nil
	}
	for at := 0; ; {
		var name strings.Builder
		start := at
	scan:
		for at < len(path) {
			switch c := path[at]; c {
			case '.', '[', ']':
				break scan
			case '\\':
				if at+1 == len(path) || strings.IndexByte(`.[]\`, path[at+1]) < 0 {
					return nil, fmt.Errorf(`the backslash at %d must have a dot, a bracket or a backslash after it`, at)
				}
				name.WriteByte(path[at+1])
				at += 2
			default:
				name.WriteByte(c)
				at++
			}
		}
		if name.Len() > 0 {
			tokens = append(tokens, named(name.String()))
		} else if at == len(path) || path[at] != '[' || start > 0 {
			return nil, fmt.Errorf("there is no name at %d; a JSON pointer can name a property whose name is empty", start)
		}
		for at < len(path) && path[at] == '[' {
			digits, _, closed := strings.Cut(path[at+1:], "]")
			n, ok := index(digits)
			if !closed || !ok {
				return nil, fmt.Errorf("there is no item's number, from 0, in the brackets at %d", at)
			}
			tokens = append(tokens, pathStep{name: digits, index: n, only: true})
			at += len(digits) + 2
		}
		if at == len(path) {
			return tokens, nil
		}
		if path[at] != '.' {
			return nil, fmt.Errorf("there is %q at %d, where a dot must be", path[at], at)
		}
		at++
	}
}

func named(name string) pathStep {
	n, ok := index(name)
	if !ok {
		n = -1
	}
	return pathStep{name: name, index: n}
}

// index reads an item's number as RFC 6901 writes it.
func index(digits string) (int, bool) {
	n, err := strconv.Atoi(digits)
	return n, err == nil && n >= 0 && strconv.Itoa(n) == digits
}

func (field) Name() string  { return fieldName }
func (field) instant() bool { return true }

func (c field) Check(_ context.Context, a *Answer) (Verdict, error) {
	doc, complaints := a.document(false)
	if len(complaints) > 0 {
		return Verdict{Complaints: complaints}, nil
	}
	v := verdictOf(doc)
	value := doc.Value
	var at []string
	for i, t := range c.path {
		inner, ok, problem, suggestion := t.of(value)
		if !ok {
			if !c.absent {
				if c.equals && i == len(c.path)-1 && t.index < 0 {
					suggestion += phrase.WithValue.Of(schemawords.Whole(c.want))
				}
				v.Complaints = []Complaint{{
					Problem: fmt.Sprintf("the field %q is missing: %s", c.name, problem), Pointer: say.ShortPointer(at), Suggestion: suggestion,
				}}
			}
			return v, nil
		}
		value, at = inner, append(at, t.name)
	}
	switch {
	case c.absent:
		v.Complaints = []Complaint{{
			Problem: fmt.Sprintf("the field %q must not be there, but is %s", c.name, schemawords.Show(value)), Pointer: say.ShortPointer(at), Suggestion: phrase.LeaveOut.Of(),
		}}
	case c.equals && !equal(value, c.want):
		v.Complaints = []Complaint{{
			Problem: schemawords.Expected(schemawords.Show(c.want), doc.Value, at), Pointer: say.ShortPointer(at), Suggestion: phrase.MakeIt.Of(schemawords.Whole(c.want)),
		}}
	}
	return v, nil
}

// of takes the step into a value, or says why it can't.
func (t pathStep) of(value any) (inner any, ok bool, problem, suggestion string) {
	switch v := value.(type) {
	case map[string]any:
		if t.only {
			return nil, false, fmt.Sprintf("expected an array with the item %d, got %s", t.index, schemawords.Describe(v, nil)), phrase.Put.Of(phrase.Array)
		}
		if inner, ok = v[t.name]; ok {
			return inner, true, "", ""
		}
		name := say.Short(t.name, 60)
		var near []string
		for _, key := range slices.Sorted(maps.Keys(v)) {
			if plainKey(key) == plainKey(t.name) {
				near = append(near, key)
			}
		}
		if len(near) > 0 {
			return nil, false, phrase.NoProperty.Of(name, schemawords.List(near)), phrase.RenameTo.Of(name)
		}
		return nil, false, phrase.NoProperty.Of(name), phrase.AddProperty.Of(strconv.Quote(name))
	case []any:
		if t.index < 0 {
			return nil, false, fmt.Sprintf("expected an object with the property %q, got %s", say.Short(t.name, 60), schemawords.Describe(v, nil)), phrase.Put.Of(phrase.Object)
		}
		if t.index < len(v) {
			return v[t.index], true, "", ""
		}
		return nil, false, fmt.Sprintf("the array has %s, so none at %d (counted from 0)", say.Count(len(v), "item", "items"), t.index), phrase.MissingItems.Of()
	}
	if t.index >= 0 {
		return nil, false, fmt.Sprintf("expected an array with the item %d, got %s", t.index, schemawords.Describe(value, nil)), phrase.Put.Of(phrase.Array)
	}
	return nil, false, fmt.Sprintf("expected an object with the property %q, got %s", say.Short(t.name, 60), schemawords.Describe(value, nil)), phrase.PutObject.Of(say.Short(t.name, 60))
}

// plainKey returns the same for all ways to write a name: userName, user_name,
// User-Name.
func plainKey(key string) string {
	return strings.Map(fold, strings.NewReplacer("_", "", "-", "", " ", "").Replace(key))
}

// equal compares JSON values, and numbers by their value.
func equal(a, b any) bool {
	switch x := a.(type) {
	case json.Number:
		y, ok := b.(json.Number)
		return ok && (x == y || sameNumber(x, y))
	case []any:
		y, ok := b.([]any)
		return ok && slices.EqualFunc(x, y, equal)
	case map[string]any:
		y, ok := b.(map[string]any)
		return ok && maps.EqualFunc(x, y, equal)
	}
	switch b.(type) {
	case []any, map[string]any:
		return false
	}
	return a == b
}

// sameNumber compares exactly. The decoder has bounded the digits of both.
func sameNumber(a, b json.Number) bool {
	x, okX := new(big.Rat).SetString(string(a))
	y, okY := new(big.Rat).SetString(string(b))
	return okX && okY && x.Cmp(y) == 0
}

func fieldDefinition() Definition {
	return Definition{
		Info: Info{
			Name: fieldName, Example: "field_present:person.emails[0]",
			Summary: "the answer is JSON that has a field, or does not have it, or has it with a given value",
			Params: []Param{
				{Name: "field_name", Type: "string", Required: true, Meaning: takesPath},
				{Name: "expected_value", Type: "any JSON value", Default: "any value", Meaning: "the value that the field must have; null is a value too"},
				{Name: "should_exist", Type: "boolean", Default: "true", Meaning: "false: the field must not be there"},
			},
			Main: "the path of the field",
		},
		Build:    buildField,
		FromMain: as("field_name"),
	}
}

func buildField(p Params) (Strategy, error) {
	path, err := p.Text("field_name", takesPath)
	if err != nil {
		return nil, err
	}
	exists := true
	if p.Value("should_exist") != nil {
		if exists, err = p.Flag("should_exist"); err != nil {
			return nil, err
		}
	}
	want, given := p.values["expected_value"] // null is a value here
	switch {
	case given && !exists:
		return nil, p.Bad("expected_value", shortJSON(want), "unset if should_exist is false")
	case given:
		return FieldEquals(path, want)
	case !exists:
		return FieldAbsent(path)
	}
	return FieldPresent(path)
}
