package typeschema

import (
	"reflect"
	"slices"
	"strings"
	"sync"
	"unicode"
)

// Field is a field of a struct as encoding/json sees it.
type Field struct {
	Name   string // in JSON
	Type   reflect.Type
	Tag    reflect.StructTag
	Index  []int // for [reflect.Value.FieldByIndex]
	Quoted bool  // the option ",string" applies
	Empty  bool  // it may be left out: omitempty or omitzero

	tagged bool
	within string // the name of the struct that has it, if that is embedded
}

// MayBeAbsent reports whether an answer need not have the field.
func (f Field) MayBeAbsent() bool { return f.Empty || f.Tag.Get("jsonschema") == "-" }

// Fields returns the fields of a struct in JSON by the rules of encoding/json, in
// their order: the fields of a struct that is embedded without a name belong to the
// outer one; of several with the same name the outermost wins, then the only one with
// a tag, else none. They must not be changed: they are found once for each type.
func Fields(t reflect.Type) []Field {
	if known, ok := allFields.Load(t); ok {
		return known.([]Field)
	}
	fields := fieldsOf(t)
	allFields.Store(t, fields)
	return fields
}

// FieldNamed returns the field with a name in JSON. The case of the letters matters.
func FieldNamed(t reflect.Type, name string) (Field, bool) {
	fields := Fields(t)
	i := slices.IndexFunc(fields, func(f Field) bool { return f.Name == name })
	if i < 0 {
		return Field{}, false
	}
	return fields[i], true
}

// allFields has the fields of each struct, which each decoded value asks for.
var allFields sync.Map

func fieldsOf(t reflect.Type) []Field {
	type embedded struct {
		typ   reflect.Type
		index []int
	}
	all := map[string]Field{}
	seen := map[reflect.Type]bool{}
	for level := []embedded{{typ: t}}; len(level) > 0; {
		var next []embedded
		found := map[string][]Field{}
		for _, e := range level {
			seen[e.typ] = true
		}
		for _, e := range level {
			for i := range e.typ.NumField() {
				f := e.typ.Field(i)
				index := append(slices.Clone(e.index), i)
				inner := f.Type
				if inner.Kind() == reflect.Pointer && inner.Name() == "" {
					inner = inner.Elem()
				}
				made, ok := fieldOf(f, index, inner)
				switch {
				case !ok:
				case f.Anonymous && !made.tagged && inner.Kind() == reflect.Struct:
					if !seen[inner] {
						next = append(next, embedded{inner, index})
					}
				case f.IsExported():
					if len(e.index) > 0 {
						made.within = e.typ.Name()
					}
					found[made.Name] = append(found[made.Name], made)
				}
			}
		}
		for name, those := range found {
			if _, outer := all[name]; outer {
				continue
			}
			tagged := slices.DeleteFunc(slices.Clone(those), func(f Field) bool { return !f.tagged })
			switch {
			case len(those) == 1:
				all[name] = those[0]
			case len(tagged) == 1:
				all[name] = tagged[0]
			default:
				all[name] = Field{} // it hides those further in
			}
		}
		level = next
	}
	var fields []Field
	for _, f := range all {
		if f.Index != nil {
			fields = append(fields, f)
		}
	}
	slices.SortFunc(fields, func(a, b Field) int { return slices.Compare(a.Index, b.Index) })
	return fields
}

// fieldOf reads the tag json of a field; inner is its type, or what that points to.
// It is false for one that is left out by "-".
func fieldOf(f reflect.StructField, index []int, inner reflect.Type) (Field, bool) {
	tag := f.Tag.Get("json")
	if tag == "-" {
		return Field{}, false
	}
	name, rest, _ := strings.Cut(tag, ",")
	options := strings.Split(rest, ",")
	made := Field{Name: f.Name, Type: f.Type, Tag: f.Tag, Index: index}
	if validName(name) {
		made.Name, made.tagged = name, true
	}
	made.Empty = slices.Contains(options, "omitempty") || slices.Contains(options, "omitzero")
	if slices.Contains(options, "string") {
		kind := inner.Kind()
		made.Quoted = kind == reflect.String || kind == reflect.Bool || isInteger(kind) || kind == reflect.Float32 || kind == reflect.Float64
	}
	return made, true
}

// validName reports whether encoding/json takes a name in a tag: it uses the name of
// the field for any other.
func validName(name string) bool {
	return name != "" && !strings.ContainsFunc(name, func(r rune) bool {
		return !strings.ContainsRune("!#$%&()*+-./:;<=>?@[]^_{|}~ ", r) && !unicode.IsLetter(r) && !unicode.IsDigit(r)
	})
}

func isInteger(k reflect.Kind) bool { return isSigned(k) || isUnsigned(k) }
func isSigned(k reflect.Kind) bool  { return k >= reflect.Int && k <= reflect.Int64 }
func isUnsigned(k reflect.Kind) bool {
	return k >= reflect.Uint && k <= reflect.Uintptr
}
