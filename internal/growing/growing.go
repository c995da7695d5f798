// Package growing decodes JSON into a Go value while the JSON is still arriving.
//
// [New] takes a pointer to the value. Each [Value.Feed] takes the next piece of the text
// and adds to the value what is now complete: a field, an element of a slice, an entry
// of a map. [Value.Copy] returns the value so far.
package growing

import (
	"encoding/json"
	"reflect"
	"slices"
	"time"

	"llmcall/internal/typeschema"
	"llmcall/validate"
)

// Value is a Go value that grows as the parts of its JSON arrive. It finds the place of
// each part, and encoding/json decodes the part there. Only one goroutine may use it.
//
// It would be simpler to close what is open in the text and decode everything again for
// each partial value, but too slow: a list of 1,000 elements, each shown as it arrives,
// takes 10 to 16 times as long. Nor would that do without the types: an object appears
// by its parts in a struct, by its entries in a map, and as a whole in an element; and
// encoding/json decodes [1, "two", 3] as [1, 0, 3].
type Value struct {
	prefix  validate.Prefix
	value   reflect.Value // addressable
	open    []opened
	within  int    // how many objects and arrays are open within a part that appears as a whole
	grown   bool   // since the last Feed
	again   []part // what each copy decodes again
	opaque  map[reflect.Type]bool
	copying copying
	wrap    string // the property of the struct around a bare value; "" if there is none
	bare    bool   // the text has a bare value
}

// opened is an open object or array that appears by its parts: in a struct, or, if it is
// the innermost one, in a slice, an array or a map.
type opened struct {
	index []int        // of the struct's field that has it; nil for the whole value
	typ   reflect.Type // the type that it is decoded to
	n     int          // how many parts it has
	wrong bool         // an item could not be decoded, so those after it have no place
}

// part is a part of the value that can't be copied: its type decodes itself, and may
// hold anything.
type part struct {
	in   []opened
	name string
	text string
}

// New returns a [Value] that decodes into *to.
func New(to any) *Value {
	g := &Value{value: reflect.ValueOf(to).Elem(), opaque: map[reflect.Type]bool{}, copying: copying{}}
	g.prefix.Visitor = g
	return g
}

// NewWrapped is [New] for a struct with one property, whose JSON may also be the bare
// value of that property if it is not an object.
func NewWrapped(to any, property string) *Value {
	g := New(to)
	g.wrap = property
	return g
}

// Feed takes the next piece of the text, and reports whether the value has grown. It does
// not report invalid JSON, since the answer's checks do.
func (g *Value) Feed(text string) bool {
	g.grown = false
	_ = g.prefix.Feed(text)
	return g.grown
}

// Copy returns a pointer to a deep copy of the value so far.
func (g *Value) Copy() any {
	c := reflect.New(g.value.Type())
	c.Elem().Set(g.value)
	g.copying.of(c.Elem().Type()).detach(c.Elem())
	for _, p := range g.again {
		_ = g.put(c.Elem(), p.in, p.name, p.text) // it has succeeded before
	}
	return c.Interface()
}

// Open begins an object or array. Open, Close and Scalar implement [validate.Visitor].
func (g *Value) Open(name string, object bool) {
	name = g.unwrapped(name, object)
	if g.within == 0 && (len(g.open) == 0 || g.open[len(g.open)-1].typ.Kind() == reflect.Struct) {
		if t, index, ok := g.target(name); ok {
			for t.Kind() == reflect.Pointer {
				t = t.Elem()
			}
			if showsByParts(t, object) {
				g.open = append(g.open, opened{index: index, typ: t})
				return
			}
		}
	}
	g.within++
}

// showsByParts reports whether the parts of an object or array can be put into a value of
// a type one by one.
func showsByParts(t reflect.Type, object bool) bool {
	switch t.Kind() {
	case reflect.Struct, reflect.Map:
		return object && !typeschema.DecodesItself(t)
	case reflect.Slice, reflect.Array:
		return !object && !typeschema.DecodesItself(t)
	}
	return false
}

// Close ends the innermost object or array. If none of its parts has appeared, it is
// decoded as a whole, since it may be empty.
func (g *Value) Close(name, text string) {
	if g.within > 0 {
		if g.within--; g.within == 0 {
			g.add(g.unwrapped(name, true), text)
		}
		return
	}
	last := len(g.open) - 1
	shows := g.open[last].n > 0
	g.open = g.open[:last]
	if !shows {
		g.add(g.unwrapped(name, true), text)
	}
}

// unwrapped returns the name of a part: that of the property if it is a bare value.
func (g *Value) unwrapped(name string, object bool) string {
	switch {
	case g.wrap != "" && !object && len(g.open) == 0 && g.within == 0:
		g.bare = true
		g.open = append(g.open, opened{typ: g.value.Type()})
		return g.wrap
	case g.bare && len(g.open) == 1 && g.within == 0:
		return g.wrap
	}
	return name
}

// Scalar adds a complete scalar.
func (g *Value) Scalar(name, text string) {
	if g.within == 0 {
		g.add(g.unwrapped(name, false), text)
	}
}

// target returns the type of the next part and, in a struct, the index of its field.
func (g *Value) target(name string) (reflect.Type, []int, bool) {
	if len(g.open) == 0 {
		return g.value.Type(), nil, true
	}
	switch o := g.open[len(g.open)-1]; o.typ.Kind() {
	case reflect.Struct:
		// Other than for encoding/json, the case of the name matters: the model was asked
		// for exactly this one.
		f, ok := typeschema.FieldNamed(o.typ, name)
		return f.Type, f.Index, ok
	case reflect.Array:
		return o.typ.Elem(), nil, !o.wrong && o.n < o.typ.Len()
	default:
		return o.typ.Elem(), nil, !o.wrong
	}
}

// add adds a complete part to what is open.
func (g *Value) add(name, text string) {
	t, _, ok := g.target(name)
	if !ok {
		return
	}
	if err := g.put(g.value, g.open, name, text); err != nil {
		if last := len(g.open) - 1; last >= 0 && g.open[last].typ.Kind() != reflect.Map {
			g.open[last].wrong = true
		}
		return
	}
	if g.isOpaque(t) {
		g.again = append(g.again, part{slices.Clone(g.open), name, text})
	}
	for i := range g.open {
		g.open[i].n++
	}
	g.grown = true
}

// put decodes a part into its place in a value. After an error the place is empty.
func (g *Value) put(v reflect.Value, in []opened, name, text string) error {
	for i, o := range in {
		if i > 0 {
			v = fieldAt(v, o.index)
		}
		v = pointedTo(v)
	}
	if len(in) == 0 {
		v.SetZero()
		return unmarshal(text, v)
	}
	o := in[len(in)-1]
	switch o.typ.Kind() {
	case reflect.Struct:
		// Decode into the struct, because its tags may have options.
		f, _ := typeschema.FieldNamed(o.typ, name) // there is one: it is a target
		place := fieldAt(v, f.Index)
		place.SetZero()
		err := unmarshal(member(name, text), v)
		if err != nil {
			place.SetZero()
		}
		return err
	case reflect.Map:
		one := reflect.New(v.Type()).Elem()
		if err := unmarshal(member(name, text), one); err != nil {
			return err
		}
		if v.IsNil() {
			v.Set(reflect.MakeMap(v.Type()))
		}
		for m := one.MapRange(); m.Next(); {
			v.SetMapIndex(m.Key(), m.Value())
		}
		return nil
	}
	item := reflect.New(o.typ.Elem()).Elem()
	if err := unmarshal(text, item); err != nil {
		return err
	}
	if o.n == v.Len() {
		v.Set(reflect.Append(v, item))
		return nil
	}
	v.Index(o.n).Set(item)
	return nil
}

func unmarshal(text string, v reflect.Value) error {
	return typeschema.Decode([]byte(text), v.Addr().Interface())
}

// member returns an object with one property.
func member(name, text string) string {
	quoted, _ := json.Marshal(name)
	return "{" + string(quoted) + ":" + text + "}"
}

// pointedTo follows pointers, and allocates where they are nil.
func pointedTo(v reflect.Value) reflect.Value {
	for v.Kind() == reflect.Pointer {
		if v.IsNil() {
			v.Set(reflect.New(v.Type().Elem()))
		}
		v = v.Elem()
	}
	return v
}

// fieldAt is [reflect.Value.FieldByIndex], but allocates where embedded pointers are
// nil.
func fieldAt(v reflect.Value, index []int) reflect.Value {
	for _, i := range index {
		v = pointedTo(v).Field(i)
	}
	return v
}

// flat reports whether an assignment copies a value of a type completely.
func flat(t reflect.Type) bool {
	if t == reflect.TypeFor[time.Time]() {
		return true // it has a pointer, but nothing is written through it
	}
	switch t.Kind() {
	case reflect.Array:
		return flat(t.Elem())
	case reflect.Struct:
		for i := range t.NumField() {
			if !flat(t.Field(i).Type) {
				return false
			}
		}
		return true
	case reflect.Pointer, reflect.Slice, reflect.Map, reflect.Interface, reflect.Func, reflect.Chan, reflect.UnsafePointer:
		return false
	}
	return true
}

// opaque reports whether a type decodes itself, and can't be copied without knowing
// it.
func opaque(t reflect.Type) bool {
	return typeschema.DecodesItself(t) && !flat(t) && !(t.Kind() == reflect.Slice && flat(t.Elem()))
}

// copying is how values of each type are copied.
type copying map[reflect.Type]*copier

type copier struct {
	// detach copies what an assigned value shares with its source.
	detach func(v reflect.Value)
	flat   bool // it shares nothing
}

// of returns the copier of a type.
func (c copying) of(t reflect.Type) *copier {
	if known, ok := c[t]; ok {
		return known
	}
	made := &copier{flat: flat(t), detach: func(reflect.Value) {}}
	c[t] = made // before the types within it, which may be the same
	if made.flat || opaque(t) {
		return made
	}
	switch t.Kind() {
	case reflect.Pointer:
		elem := c.of(t.Elem())
		made.detach = func(v reflect.Value) {
			if !v.IsNil() {
				own := reflect.New(t.Elem())
				own.Elem().Set(v.Elem())
				elem.detach(own.Elem())
				v.Set(own)
			}
		}
	case reflect.Slice:
		elem := c.of(t.Elem())
		made.detach = func(v reflect.Value) {
			if v.IsNil() {
				return
			}
			own := reflect.MakeSlice(t, v.Len(), v.Len())
			reflect.Copy(own, v)
			v.Set(own)
			for i := 0; !elem.flat && i < own.Len(); i++ {
				elem.detach(own.Index(i))
			}
		}
	case reflect.Array:
		elem := c.of(t.Elem())
		made.detach = func(v reflect.Value) {
			for i := range v.Len() {
				elem.detach(v.Index(i))
			}
		}
	case reflect.Map:
		elem := c.of(t.Elem())
		made.detach = func(v reflect.Value) {
			if v.IsNil() {
				return
			}
			own := reflect.MakeMapWithSize(t, v.Len())
			for m := v.MapRange(); m.Next(); {
				one := reflect.New(t.Elem()).Elem()
				one.Set(m.Value())
				elem.detach(one)
				own.SetMapIndex(m.Key(), one)
			}
			v.Set(own)
		}
	case reflect.Interface:
		made.detach = func(v reflect.Value) {
			if !v.IsNil() {
				own := reflect.New(v.Elem().Type()).Elem()
				own.Set(v.Elem())
				c.of(own.Type()).detach(own)
				v.Set(own)
			}
		}
	case reflect.Struct:
		for i := range t.NumField() {
			f := t.Field(i)
			if !f.IsExported() && !(f.Anonymous && f.Type.Kind() == reflect.Struct) {
				continue // encoding/json does not write there
			}
			if inner := c.of(f.Type); !inner.flat {
				outer := made.detach
				made.detach = func(v reflect.Value) {
					outer(v)
					inner.detach(v.Field(i))
				}
			}
		}
	}
	return made
}

// isOpaque reports whether a type has an opaque type in it.
func (g *Value) isOpaque(t reflect.Type) bool {
	is, known := g.opaque[t]
	if !known {
		is = holdsOpaque(t, map[reflect.Type]bool{})
		g.opaque[t] = is
	}
	return is
}

func holdsOpaque(t reflect.Type, seen map[reflect.Type]bool) bool {
	if seen[t] || flat(t) {
		return false
	}
	seen[t] = true
	if opaque(t) {
		return true
	}
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Array, reflect.Map:
		return holdsOpaque(t.Elem(), seen)
	case reflect.Struct:
		for i := range t.NumField() {
			if holdsOpaque(t.Field(i).Type, seen) {
				return true
			}
		}
	}
	return false
}
