package validate

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"

	"llmcall/endpoint"
	"llmcall/internal/say"
	"llmcall/llm"
)

// Params are the parameters of one check, as YAML or JSON decodes them: a number may
// be any Go number or a [json.Number]. A nil value means that the parameter was not
// given. The methods return a *[ParamError] for a value of the wrong type.
type Params struct {
	check   string
	values  map[string]any
	builder Builder
	nested  int // how many combinations the check is in
}

// Value returns a parameter as it was given, or nil.
func (p Params) Value(name string) any { return p.values[name] }

// Bad returns the error of an impossible parameter: "name must be takes, got got".
func (p Params) Bad(name, got, takes string) *ParamError {
	return &ParamError{Check: p.check, Param: name, Got: got, Takes: takes}
}

// Integer returns a whole number, and whether it was given. takes is what the
// parameter must be, for the error: "a whole number of at least 1".
func (p Params) Integer(name, takes string) (n int, given bool, err error) {
	value := p.values[name]
	if value == nil {
		return 0, false, nil
	}
	n, ok := integer(value)
	if !ok {
		return 0, false, p.Bad(name, shortJSON(value), takes)
	}
	return n, true, nil
}

func integer(value any) (n int, ok bool) {
	if number, ok := value.(json.Number); ok {
		if n, err := strconv.Atoi(string(number)); err == nil {
			return n, true
		}
		f, err := number.Float64()
		if err != nil {
			return 0, false
		}
		value = f
	}
	switch v := reflect.ValueOf(value); {
	case v.CanInt():
		return int(v.Int()), int64(int(v.Int())) == v.Int()
	case v.CanUint():
		return int(v.Uint()), v.Uint() <= math.MaxInt
	case v.CanFloat():
		// 1<<53 is as far as a float64 counts by ones.
		f := v.Float()
		return int(f), math.Trunc(f) == f && math.Abs(f) <= min(1<<53, math.MaxInt)
	}
	return 0, false
}

// Number returns a finite number, and whether it was given. takes is what the
// parameter must be, for the error.
func (p Params) Number(name, takes string) (n float64, given bool, err error) {
	value := p.values[name]
	if value == nil {
		return 0, false, nil
	}
	if digits, ok := value.(json.Number); ok {
		n, err = digits.Float64()
	} else {
		switch v := reflect.ValueOf(value); {
		case v.CanInt():
			n = float64(v.Int())
		case v.CanUint():
			n = float64(v.Uint())
		case v.CanFloat():
			n = v.Float()
		default:
			n = math.NaN()
		}
	}
	if err != nil || math.IsNaN(n) || math.IsInf(n, 0) {
		return 0, false, p.Bad(name, shortJSON(value), takes)
	}
	return n, true, nil
}

// Text returns a required string. takes is what the parameter must be, for the error.
func (p Params) Text(name, takes string) (string, error) {
	switch v := p.values[name].(type) {
	case nil:
		return "", p.Bad(name, "nothing", takes)
	case string:
		return v, nil
	default:
		return "", p.Bad(name, shortJSON(v), takes)
	}
}

// Optional returns a string. Default "".
func (p Params) Optional(name string) (string, error) {
	if p.values[name] == nil {
		return "", nil
	}
	return p.Text(name, "a string")
}

// Flag returns a boolean. Default false.
func (p Params) Flag(name string) (bool, error) {
	switch v := p.values[name].(type) {
	case nil:
		return false, nil
	case bool:
		return v, nil
	default:
		return false, p.Bad(name, shortJSON(v), "true or false")
	}
}

// Texts returns a required list of strings, which may be given as a single string.
func (p Params) Texts(name string) ([]string, error) {
	const takes = "a string or a list of strings"
	switch v := p.values[name].(type) {
	case nil:
		return nil, p.Bad(name, "nothing", takes)
	case string:
		return []string{v}, nil
	case []string:
		return v, nil
	case []any:
		texts := make([]string, len(v))
		for i, item := range v {
			text, ok := item.(string)
			if !ok {
				return nil, p.Bad(fmt.Sprintf("%s[%d]", name, i), shortJSON(item), "a string")
			}
			texts[i] = text
		}
		return texts, nil
	default:
		return nil, p.Bad(name, shortJSON(v), takes)
	}
}

// Model opens the model with a name ("provider/model") by [Builder.OpenModel]. param
// is the parameter for the error, with an index if it is a list ("judges[1]"). The name
// is "" where none is given.
func (p Params) Model(param, name string) (llm.Model, error) {
	const takes = `the full name of a model, "provider/model"`
	bad := p.Bad(param, strconv.Quote(say.Short(name, 60)), takes)
	if name == "" {
		bad.Got = "nothing"
	} else if strings.TrimSpace(name) == "" {
		return nil, bad
	}
	if p.builder.OpenModel == nil {
		bad.Err = errors.New("this program opens no model that a check names (see validate.Builder)")
		return nil, bad
	}
	model, err := p.builder.OpenModel(name)
	if err == nil && model == nil {
		err = errors.New("OpenModel returned neither a model nor an error")
	}
	if err != nil {
		bad.Err = err
		return nil, bad
	}
	return model, nil
}

// Endpoints returns the registry in which the check asks its models, [Builder.Endpoints]; nil
// if there is none.
func (p Params) Endpoints() *endpoint.Registry { return p.builder.Endpoints }

// Checks returns a required list of checks; see [Builder.FromValue] for their forms.
func (p Params) Checks(name string) ([]Strategy, error) {
	if p.values[name] == nil {
		return nil, p.Bad(name, "nothing", takesChecks)
	}
	list := reflect.ValueOf(p.values[name])
	if list.Kind() != reflect.Slice {
		return nil, p.Bad(name, shortJSON(p.values[name]), takesChecks)
	}
	checks := make([]Strategy, list.Len())
	for i := range checks {
		check, err := p.member(fmt.Sprintf("%s[%d]", name, i), list.Index(i).Interface())
		if err != nil {
			return nil, err
		}
		checks[i] = check
	}
	return checks, nil
}

// Check returns a required check; see [Builder.FromValue] for its forms.
func (p Params) Check(name string) (Strategy, error) {
	if p.values[name] == nil {
		return nil, p.Bad(name, "nothing", "a check")
	}
	return p.member(name, p.values[name])
}

// member makes a check that is a part of this one.
func (p Params) member(name string, value any) (Strategy, error) {
	if p.nested == maxNested {
		return nil, p.Bad(name, "more", fmt.Sprintf("nested at most %d deep", maxNested))
	}
	check, err := p.builder.fromValue(value, p.nested+1)
	if _, ok := errors.AsType[formError](err); ok {
		return nil, p.Bad(name, shortJSON(value), takesCheck)
	}
	if err != nil {
		return nil, fmt.Errorf("check %q: %s: %w", p.check, name, err)
	}
	return check, nil
}

// shortJSON returns a value as JSON, which also shows its type, shortened.
func shortJSON(value any) string {
	if text, err := json.Marshal(value); err == nil {
		return say.Short(string(text), 60)
	}
	return say.Short(strings.TrimSpace(fmt.Sprint(value)), 60)
}
