package validate

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"llmcall/internal/nearest"
	"llmcall/internal/say"
)

const takesCheck = `a string ("length:3..200") or a mapping ({length: {max: 200}}, {contains: Berlin}, {type: length, max_length: 200})`

// formError is the error of a value that has not the form of a check.
type formError struct{ got string }

func (e formError) Error() string { return "must be " + takesCheck + ", got " + e.got }

// FromValue makes a check from a form in which a file may have it, as YAML or JSON decodes
// the file:
//
//	length:3..200                          a string for Builder.Parse
//	length: {max_length: 200}              the check's name and its parameters
//	contains: Berlin                       the check's name and its main argument
//	contains: [Berlin, Bonn]               or a list of it, if the check takes several
//	not_empty:                             the check's name alone
//	{type: length, max_length: 200}        the name under "type" or "name", the parameters beside it
//	{type: length, params: {max: 200}}     or under "params"
//
// The errors are those of [Builder.Build].
func (b Builder) FromValue(value any) (Strategy, error) { return b.fromValue(value, 0) }

func (b Builder) fromValue(value any, nested int) (Strategy, error) {
	switch v := value.(type) {
	case string:
		return b.parse(v, nested)
	case map[string]any:
		key, err := nameKey(v)
		if err != nil {
			return nil, err
		}
		name, argument := key, v[key]
		if text, ok := argument.(string); ok && (key == "type" || key == "name") {
			name, argument = text, nil
		}
		d, err := lookup(name)
		if err != nil {
			return nil, err
		}
		values, err := d.beside(v, key)
		if err != nil {
			return nil, err
		}
		beside, err := d.arguments(argument)
		if err != nil {
			return nil, err
		}
		for param, value := range beside {
			if _, twice := values[param]; twice {
				return nil, &ParamError{Check: d.Name, Param: param, Err: errors.New("is given twice")}
			}
			values[param] = value
		}
		return d.make(b, values, nested)
	}
	if value == nil {
		return nil, formError{"nothing"}
	}
	return nil, formError{shortJSON(value)}
}

// nameKey returns the key that names a check: type or name with a string, else the only
// one that is the name of a check.
func nameKey(v map[string]any) (string, error) {
	for _, key := range []string{"type", "name"} {
		if _, ok := v[key].(string); ok {
			return key, nil
		}
	}
	keys := slices.Sorted(maps.Keys(v))
	if len(keys) == 1 && !slices.Contains([]string{"type", "name", "params"}, keys[0]) {
		return keys[0], nil
	}
	var known, names []string
	for _, d := range definitions() {
		names = append(append(names, d.Name), d.Aliases...)
	}
	for _, key := range keys {
		if slices.Contains(names, key) {
			known = append(known, key)
		}
	}
	switch len(known) {
	case 1:
		return known[0], nil
	case 0:
		for _, key := range keys {
			if question := nearest.Question(key, names); question != "" {
				return "", fmt.Errorf("unknown check %q%s", say.Short(key, 60), question)
			}
		}
		got := "an empty mapping"
		if len(keys) > 0 {
			got = "a mapping of " + say.Short(strings.Join(keys, ", "), 60)
		}
		return "", formError{got}
	}
	return "", fmt.Errorf(`must be one check, got %s: put "- " before each`, strings.Join(known, " and "))
}

// beside returns the parameters that are beside a check's name, or under "params".
func (d *Definition) beside(v map[string]any, key string) (map[string]any, error) {
	values := maps.Clone(v)
	delete(values, key)
	params, given := values["params"]
	if !given {
		return values, nil
	}
	delete(values, "params")
	inner, ok := params.(map[string]any)
	if !ok && params != nil {
		return nil, &ParamError{Check: d.Name, Param: "params", Got: shortJSON(params), Takes: "a mapping of parameters"}
	}
	if len(values) > 0 {
		other := slices.Sorted(maps.Keys(values))[0]
		return nil, &ParamError{Check: d.Name, Param: say.Short(other, 60), Err: errors.New("must be under params, as the others are")}
	}
	return maps.Clone(inner), nil
}

// arguments returns the parameters that a check's name is followed by: a mapping of them,
// or its main argument.
func (d *Definition) arguments(value any) (map[string]any, error) {
	switch v := value.(type) {
	case nil:
		return nil, nil
	case bool:
		if d.FromMain == nil && v {
			return nil, nil // not_empty: true
		}
		return d.main(strconv.FormatBool(v))
	case string:
		return d.main(v)
	case map[string]any:
		for given := range v {
			if _, err := d.param(given); err != nil && d.takesMapping() {
				return map[string]any{d.mainParam(): v}, nil
			}
		}
		return v, nil
	case []any:
		if param := d.mainParam(); param != "" {
			return map[string]any{param: v}, nil
		}
		return d.main(shortJSON(v))
	}
	return d.main(fmt.Sprint(value))
}

// mainParam returns the parameter that the main argument is, whole; "" if it is taken
// apart, as the range of a length is.
func (d *Definition) mainParam() string {
	if d.FromMain == nil {
		return ""
	}
	values, err := d.FromMain("[]")
	if err != nil || len(values) != 1 {
		return ""
	}
	for param := range values {
		return param
	}
	return ""
}

// takesMapping reports whether the main argument may be a mapping: a check, or a schema.
func (d *Definition) takesMapping() bool {
	whole := d.mainParam()
	return slices.ContainsFunc(d.Params, func(p Param) bool {
		return p.Name == whole && (p.Type == "check" || strings.Contains(p.Type, "object"))
	})
}

// main returns the parameters of a main argument.
func (d *Definition) main(text string) (map[string]any, error) {
	if d.FromMain == nil {
		return nil, &ParamError{Check: d.Name, Param: "arguments", Got: strconv.Quote(say.Short(text, 60)), Takes: "left out, or a JSON object of parameters"}
	}
	return d.FromMain(text)
}
