package llmcall

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"sync"

	"llmcall/internal/say"
	"llmcall/internal/typeschema"
	"llmcall/validate"
)

type validator interface{ Validate() error }

var validatorType = reflect.TypeFor[validator]()

// validating maps a type to whether it or a type in it has a method Validate.
var validating sync.Map

func validates(t reflect.Type) bool {
	if known, ok := validating.Load(t); ok {
		return known.(bool)
	}
	has := typeschema.Holds(t, func(one reflect.Type) bool {
		return reflect.PointerTo(one).Implements(validatorType) || len(unpromoted(one)) > 0
	})
	validating.Store(t, has)
	return has
}

// validated calls the methods Validate of a decoded value and of all that is in it, from
// the inside out. Where a part complains, what it is in is not asked: that may rely on its
// parts, or call their methods itself.
func validated(v reflect.Value, at string) error {
	for v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return nil
		}
		v = v.Elem()
	}
	if !validates(v.Type()) {
		return nil
	}
	if err := validatedWithin(v, at); err != nil {
		return err
	}
	if own, ok := v.Addr().Interface().(validator); ok {
		return validate.FailAt(at, own.Validate())
	}
	return nil
}

// validatedWithin validates the parts of a value, as encoding/json decodes them. A type
// that decodes itself knows its own.
func validatedWithin(v reflect.Value, at string) error {
	t := v.Type()
	if typeschema.DecodesItself(t) {
		return nil
	}
	var all []error
	switch t.Kind() {
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			all = append(all, validated(v.Index(i), fmt.Sprintf("%s/%d", at, i)))
		}
	case reflect.Map:
		entries := map[string]reflect.Value{}
		for m := v.MapRange(); m.Next(); {
			key, _ := json.Marshal(m.Key().Interface())
			name := string(key)
			_ = json.Unmarshal(key, &name) // a number stays as it is
			copied := reflect.New(m.Value().Type()).Elem()
			copied.Set(m.Value())
			entries[name] = copied
		}
		for _, name := range slices.Sorted(maps.Keys(entries)) { // the complaints are in one order
			all = append(all, validated(entries[name], at+say.Pointer(name)))
		}
	case reflect.Struct:
		for _, f := range typeschema.Fields(t) {
			value, err := v.FieldByIndexErr(f.Index) // of an embedded pointer that is nil
			if err != nil || value.IsZero() && f.MayBeAbsent() {
				continue
			}
			all = append(all, validated(value, at+say.Pointer(f.Name)))
		}
		for _, i := range unpromoted(t) {
			all = append(all, validated(v.Field(i), at))
		}
	}
	return errors.Join(all...)
}

// unpromoted returns the embedded fields of a struct whose methods Validate are not those
// of the struct, because it has several and none of its own.
func unpromoted(t reflect.Type) []int {
	if t.Kind() != reflect.Struct || reflect.PointerTo(t).Implements(validatorType) {
		return nil
	}
	var all []int
	for i := range t.NumField() {
		if f := t.Field(i); f.Anonymous && f.IsExported() && f.Tag.Get("json") == "" && f.Type.Kind() != reflect.Interface && validatesItself(f.Type) {
			all = append(all, i)
		}
	}
	return all
}

func validatesItself(t reflect.Type) bool {
	return t.Implements(validatorType) || reflect.PointerTo(t).Implements(validatorType)
}
