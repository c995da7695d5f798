package typeschema

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"

	"llmcall/internal/phrase"
	"llmcall/internal/say"
)

// Discriminator is the property that says which type of a union an object is.
const Discriminator = "type"

// Union marks a struct as a union: it is the type of its first field. The types may be
// unions themselves, whose types then belong to the outer one.
type Union[A, B any] struct{}

func (Union[A, B]) alternatives() []reflect.Type {
	return []reflect.Type{reflect.TypeFor[A](), reflect.TypeFor[B]()}
}

// typesOf returns the types of a union, nil if a type is not one.
func typesOf(t reflect.Type) []reflect.Type {
	if t.Kind() != reflect.Struct || t.NumField() == 0 {
		return nil
	}
	marker, ok := reflect.Zero(t.Field(0).Type).Interface().(interface{ alternatives() []reflect.Type })
	if !ok {
		return nil
	}
	var all []reflect.Type
	for _, one := range marker.alternatives() {
		if inner := typesOf(one); inner != nil {
			all = append(all, inner...)
			continue
		}
		all = append(all, one)
	}
	return all
}

// knownUnion is what is known of a union.
type knownUnion struct {
	all []alternative
	err error
}

// unions has the unions by their types, so that the tags of their types are not read again
// for each value.
var unions sync.Map

// alternativesOf returns the types of a union, nil if a type is not one.
func alternativesOf(t reflect.Type) ([]alternative, error) {
	if loaded, ok := unions.Load(t); ok {
		known := loaded.(knownUnion)
		return known.all, known.err
	}
	types := typesOf(t)
	if types == nil {
		return nil, nil
	}
	all, err := distinct(types)
	unions.Store(t, knownUnion{all, err})
	return all, err
}

func distinct(types []reflect.Type) ([]alternative, error) {
	var all []alternative
	names := map[string]reflect.Type{}
	for _, t := range types {
		a, err := alternativeOf(t)
		if err != nil {
			return nil, err
		}
		if other, ok := names[a.name]; ok {
			return nil, fmt.Errorf("the types %v and %v of the union are both called %q: rename one", other, t, a.name)
		}
		names[a.name] = t
		all = append(all, a)
	}
	return all, nil
}

// alternative is one type of a union.
type alternative struct {
	name   string
	typ    reflect.Type
	inside bool // its object has the discriminator; else it is in the property "value"
	own    bool // the discriminator is a field of its own
}

func alternativeOf(t reflect.Type) (alternative, error) {
	to, err := pointedAt(t)
	if err != nil {
		return alternative{}, err
	}
	a := alternative{name: plainName(to.Name()), typ: t}
	if a.name == "" {
		return a, fmt.Errorf("%v has no name to tell it from the other types of the union: declare a named type", to)
	}
	if to.Kind() != reflect.Struct || describesItself(to) {
		return a, nil
	}
	a.inside = true
	for _, f := range Fields(to) {
		if f.Name != Discriminator {
			continue
		}
		rules, err := rulesOf(f)
		if err != nil {
			return a, err
		}
		values := rules.all("enum")
		if f.Type.Kind() != reflect.String || len(values) != 1 {
			return a, fmt.Errorf("%v has a field %q, as the union needs it to tell its types apart: make it a string with one value, jsonschema:\"enum=…\", or rename it", to, f.Name)
		}
		a.name, a.own = values[0], true
	}
	return a, nil
}

// describesItself reports whether a struct is not described by its fields.
func describesItself(t reflect.Type) bool {
	result, ok := schemaOf(reflect.New(t))
	return DecodesItself(t) || t == urlType || ok && !promoted(t, result, schemaOf)
}

func (g *generator) ofUnion(alternatives []alternative) (*node, error) {
	var all []any
	for _, a := range alternatives {
		n, err := g.ofAlternative(a)
		if err != nil {
			return nil, &misplaced{"(" + a.name + ")", err}
		}
		all = append(all, n)
	}
	return with("anyOf", all), nil
}

func (g *generator) ofAlternative(a alternative) (*node, error) {
	to, err := pointedAt(a.typ)
	if err != nil {
		return nil, err
	}
	kind := ofType("string")
	kind.set("enum", []any{a.name})
	tag := property{Discriminator, kind}
	if !a.inside {
		n := ofType("object")
		value, err := g.of(to)
		n.set("properties", properties{tag, {"value", value}})
		n.set("required", []string{Discriminator, "value"})
		n.set("additionalProperties", false)
		return n, err
	}
	n, err := g.ofStruct(to)
	if err != nil || a.own {
		return n, err
	}
	required, _ := n.keywords["required"].([]string)
	n.set("properties", slices.Insert(n.keywords["properties"].(properties), 0, tag))
	n.set("required", slices.Insert(required, 0, Discriminator))
	return n, nil
}

// MarshalUnion returns the JSON of a value of one of the types of a union.
func MarshalUnion(union reflect.Type, value any) ([]byte, error) {
	if value == nil {
		return []byte("null"), nil
	}
	all, err := alternativesOf(union)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(all, func(a alternative) bool { return a.typ == reflect.TypeOf(value) })
	if i < 0 {
		return nil, fmt.Errorf("%T is not one of the types of %v", value, union)
	}
	a := all[i]
	text, err := json.Marshal(value)
	if err != nil || a.own {
		return text, err
	}
	name, _ := json.Marshal(a.name)
	head := `{"` + Discriminator + `":` + string(name)
	switch inner, isObject := strings.CutPrefix(string(text), "{"); {
	case !a.inside:
		return []byte(head + `,"value":` + string(text) + "}"), nil
	case !isObject: // a nil pointer
		return nil, fmt.Errorf("a nil %v can't be told from the other types of the union", a.typ)
	case inner == "}":
		return []byte(head + inner), nil
	default:
		return []byte(head + "," + inner), nil
	}
}

// UnmarshalUnion decodes the JSON of a value of one of the types of a union.
func UnmarshalUnion(union reflect.Type, text []byte) (any, error) {
	if string(text) == "null" {
		return nil, nil
	}
	all, err := alternativesOf(union)
	if err != nil {
		return nil, err
	}
	a, value, place, faults := chosen(all, text)
	if len(faults) > 0 {
		return nil, faults
	}
	to := reflect.New(a.typ)
	err = decodePart(value, to.Interface())
	if faults, ok := errors.AsType[Faults](err); ok {
		return nil, faults.below(place)
	}
	return to.Elem().Interface(), err
}

// chosen returns the type of a union that an object says it is, and the JSON that is
// decoded into that, with its place in the object.
func chosen(all []alternative, text []byte) (a alternative, value []byte, place []string, faults Faults) {
	var object map[string]json.RawMessage
	var name string
	if err := json.Unmarshal(text, &object); err != nil {
		return a, nil, nil, Faults{mismatch(phrase.Object, text, nil)}
	}
	if err := json.Unmarshal(object[Discriminator], &name); err != nil {
		return a, nil, nil, Faults{{Problem: fmt.Sprintf("the property %q must say which type it is", Discriminator)}}
	}
	i := slices.IndexFunc(all, func(a alternative) bool { return a.name == name })
	if i < 0 {
		names := make([]string, len(all))
		for i, a := range all {
			names[i] = a.name
		}
		return a, nil, nil, Faults{{Pointer: say.Pointer(Discriminator), Problem: fmt.Sprintf("%q is not one of %s", name, strings.Join(names, ", "))}}
	}
	switch a = all[i]; {
	case a.own:
		return a, text, nil, nil
	case a.inside:
		delete(object, Discriminator) // encoding/json would take it for a field Type
		value, _ = json.Marshal(object)
		return a, value, nil, nil
	}
	value, has := object["value"]
	if !has {
		return a, nil, nil, Faults{{Problem: `the property "value" is missing`}}
	}
	return a, value, []string{"value"}, nil
}
