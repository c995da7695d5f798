// Package schemagen invents values for a JSON Schema: values that fit it, and values that
// violate it in one place. A value is checked against the schema before it is returned,
// and the same random source gives the same value.
//
// A schema may come from anybody, so all work on it is bounded: its size, the depth of its
// values, and the visits of its parts.
package schemagen

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sort"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// The bounds on a request's schema. OpenAI allows 5,000 properties and 10 levels
// (platform.openai.com/docs/guides/structured-outputs). A larger schema would take longer
// to compile than a test should wait.
const (
	maxBytes = 1 << 20
	maxNodes = 6000
	// MaxDepth bounds the nesting of a schema.
	MaxDepth = 100
)

// Schema is a request's JSON Schema, ready to check answers and to invent them.
type Schema struct {
	root    *jsonschema.Schema
	heights map[*jsonschema.Schema]int
}

// Compile reads a JSON Schema. The default draft is 2020-12. Formats are asserted. A $ref to
// a file or the network is an error.
func Compile(raw []byte) (*Schema, error) {
	if len(raw) > maxBytes {
		return nil, fmt.Errorf("the schema has %d bytes; this server takes %d", len(raw), maxBytes)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		return nil, fmt.Errorf("the schema is not JSON: %w", err)
	}
	nodes := 0
	if err := bounded(doc, 0, &nodes); err != nil {
		return nil, err
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	c.AssertFormat()
	c.UseLoader(noLoader{})
	const url = "schema:request"
	if err := c.AddResource(url, doc); err != nil {
		return nil, err
	}
	root, err := c.Compile(url)
	if err != nil {
		return nil, err
	}
	s := &Schema{root: root, heights: map[*jsonschema.Schema]int{}}
	if err := s.measure(); err != nil {
		return nil, err
	}
	return s, nil
}

// noLoader refuses what the library's own loader would read from disk.
type noLoader struct{}

func (noLoader) Load(url string) (any, error) {
	return nil, errors.New("a schema outside the request is not read")
}

// bounded refuses a schema that is too large to work on.
func bounded(v any, depth int, nodes *int) error {
	if *nodes++; *nodes > maxNodes || depth > MaxDepth {
		return fmt.Errorf("the schema is too large: this server takes %d objects, lists and numbers, %d deep", maxNodes, MaxDepth)
	}
	switch v := v.(type) {
	case map[string]any:
		for _, inner := range v {
			if err := boundedInner(inner, depth, nodes); err != nil {
				return err
			}
		}
	case []any:
		for _, inner := range v {
			if err := boundedInner(inner, depth, nodes); err != nil {
				return err
			}
		}
	case json.Number:
		// 1e999999999 takes a gigabyte to write out.
		if _, exponent, ok := strings.Cut(strings.ToLower(v.String()), "e"); ok && len(strings.TrimLeft(exponent, "+-0")) > 3 {
			return fmt.Errorf("the schema holds the number %.40s; this server takes exponents up to 999", v)
		}
	}
	return nil
}

func boundedInner(v any, depth int, nodes *int) error {
	switch v.(type) {
	case map[string]any, []any, json.Number:
		return bounded(v, depth+1, nodes)
	}
	return nil // texts and literals have no parts
}

// Fits reports whether a text is JSON that fits the schema.
func (s *Schema) Fits(text string) bool {
	v, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
	if err != nil {
		return false
	}
	fuel := maxWork
	return s.Holds(v, &fuel)
}

// Holds reports whether v, a decoded JSON value with numbers as [json.Number], fits the
// schema. It subtracts its work from fuel, in visits of parts of the schema; a value for
// which that is not enough does not fit.
func (s *Schema) Holds(v any, fuel *int) bool {
	ok, err := s.holds(s.root, v, fuel)
	return err == nil && ok
}

// holds reports whether v fits sch, which may be a part of the schema. An error means that
// checking would take too long.
func (s *Schema) holds(sch *jsonschema.Schema, v any, fuel *int) (bool, error) {
	if err := spend(sch, v, 0, fuel); err != nil {
		return false, err
	}
	return sch.Validate(v) == nil, nil
}

// violations returns the places, as JSON pointers, where v violates the schema.
func (s *Schema) violations(v any, fuel *int) ([]string, error) {
	if err := spend(s.root, v, 0, fuel); err != nil {
		return nil, err
	}
	var at []string
	var failure *jsonschema.ValidationError
	if errors.As(s.root.Validate(v), &failure) {
		var walk func(*jsonschema.ValidationError)
		walk = func(e *jsonschema.ValidationError) {
			for _, cause := range e.Causes {
				walk(cause)
			}
			if len(e.Causes) == 0 {
				at = append(at, pointer(e.InstanceLocation))
			}
		}
		walk(failure)
	}
	slices.Sort(at)
	return slices.Compact(at), nil
}

var errTooMuchWork = errors.New("it takes too much work")

// maxRecursion bounds chains of references between parts of a schema, which may be
// circular.
const maxRecursion = 10_000

// spend subtracts from fuel the most that the validator would do for v. The validator
// visits a part of the schema once for each path that leads there, so a short schema can
// keep it busy for ever (two $refs in each of forty definitions), and it can't be
// interrupted. spend walks the same paths first, and gives up.
func spend(s *jsonschema.Schema, v any, depth int, fuel *int) error {
	if *fuel--; *fuel < 0 || depth > maxRecursion {
		return errTooMuchWork
	}
	if s.Bool != nil {
		return nil
	}
	if s.Enum != nil {
		*fuel -= len(s.Enum.Values)
	}
	for _, sub := range inPlace(s) {
		if err := spend(sub, v, depth+1, fuel); err != nil {
			return err
		}
	}
	switch v := v.(type) {
	case map[string]any:
		for name, inner := range v {
			*fuel -= len(s.PatternProperties)
			if s.PropertyNames != nil {
				if err := spend(s.PropertyNames, name, depth+1, fuel); err != nil {
					return err
				}
			}
			for _, sub := range propertySchemas(s, name) {
				if err := spend(sub, inner, depth+1, fuel); err != nil {
					return err
				}
			}
			if s.UnevaluatedProperties != nil {
				if err := spend(s.UnevaluatedProperties, inner, depth+1, fuel); err != nil {
					return err
				}
			}
		}
	case []any:
		for i, inner := range v {
			subs := []*jsonschema.Schema{s.Contains, s.UnevaluatedItems, itemSchema(s, i)}
			for _, sub := range subs {
				if sub != nil {
					if err := spend(sub, inner, depth+1, fuel); err != nil {
						return err
					}
				}
			}
		}
	}
	return nil
}

// inPlace returns the parts of a schema that apply to the same value as it.
func inPlace(s *jsonschema.Schema) []*jsonschema.Schema {
	subs := append(conjuncts(s), s.AnyOf...)
	subs = append(subs, s.OneOf...)
	for _, sub := range []*jsonschema.Schema{s.Not, s.If, s.Then, s.Else} {
		if sub != nil {
			subs = append(subs, sub)
		}
	}
	for _, name := range sorted(s.DependentSchemas) {
		subs = append(subs, s.DependentSchemas[name])
	}
	for _, name := range sorted(s.Dependencies) {
		if sub, ok := s.Dependencies[name].(*jsonschema.Schema); ok {
			subs = append(subs, sub)
		}
	}
	return subs
}

// conjuncts returns the parts that every value must fit too.
func conjuncts(s *jsonschema.Schema) []*jsonschema.Schema {
	var subs []*jsonschema.Schema
	if s.Ref != nil {
		subs = append(subs, s.Ref)
	}
	if s.RecursiveRef != nil {
		subs = append(subs, s.RecursiveRef)
	}
	if s.DynamicRef != nil {
		subs = append(subs, s.DynamicRef.Ref)
	}
	return append(subs, s.AllOf...)
}

// never is the schema that nothing fits.
var never = &jsonschema.Schema{Bool: new(bool)}

// propertySchemas returns the schemas that the property called name must fit by s.
func propertySchemas(s *jsonschema.Schema, name string) []*jsonschema.Schema {
	var subs []*jsonschema.Schema
	if sub, ok := s.Properties[name]; ok {
		subs = append(subs, sub)
	}
	for _, re := range patternsOf(s) {
		if re.MatchString(name) {
			subs = append(subs, s.PatternProperties[re])
		}
	}
	if len(subs) == 0 {
		switch more := s.AdditionalProperties.(type) {
		case bool:
			if !more {
				subs = append(subs, never)
			}
		case *jsonschema.Schema:
			subs = append(subs, more)
		}
	}
	return subs
}

// patternsOf returns the expressions of patternProperties in a fixed order.
func patternsOf(s *jsonschema.Schema) []jsonschema.Regexp {
	var res []jsonschema.Regexp
	for re := range s.PatternProperties {
		res = append(res, re)
	}
	sort.Slice(res, func(i, j int) bool { return res[i].String() < res[j].String() })
	return res
}

// itemSchema returns the schema of item i in s, or nil.
func itemSchema(s *jsonschema.Schema, i int) *jsonschema.Schema {
	prefix, rest := s.PrefixItems, s.Items2020
	switch items := s.Items.(type) { // before draft 2020-12
	case []*jsonschema.Schema:
		prefix = items
		switch more := s.AdditionalItems.(type) {
		case bool:
			if !more {
				rest = never
			}
		case *jsonschema.Schema:
			rest = more
		}
	case *jsonschema.Schema:
		rest = items
	}
	if i < len(prefix) {
		return prefix[i]
	}
	return rest
}

// prefixLen is the number of items that s describes one by one.
func prefixLen(s *jsonschema.Schema) int {
	if items, ok := s.Items.([]*jsonschema.Schema); ok {
		return len(items)
	}
	return len(s.PrefixItems)
}

// endless is the height of a schema whose values would never end.
const endless = 1 << 30

// maxMeasure bounds the work of measure, in visits.
const maxMeasure = 2_000_000

// measure computes the height of each part of the schema: approximately the depth of the
// shallowest value that fits it. When values nest too deep, the inventor chooses the
// lowest part, and so a recursive schema ends.
func (s *Schema) measure() error {
	var all []*jsonschema.Schema
	var visit func(*jsonschema.Schema)
	visit = func(sch *jsonschema.Schema) {
		if _, seen := s.heights[sch]; seen {
			return
		}
		s.heights[sch] = endless
		all = append(all, sch)
		for _, sub := range append(inPlace(sch), innerSchemas(sch)...) {
			visit(sub)
		}
	}
	visit(s.root)
	fuel := maxMeasure
	for changed := true; changed; {
		changed = false
		// From the back: inner parts come after the outer ones.
		for i := len(all) - 1; i >= 0; i-- {
			if fuel -= 1 + len(all[i].Required)*(1+len(all[i].PatternProperties)); fuel < 0 {
				return fmt.Errorf("the schema is too large: %w", errTooMuchWork)
			}
			if h := s.heightNow(all[i]); h < s.heights[all[i]] {
				s.heights[all[i]], changed = h, true
			}
		}
	}
	return nil
}

// innerSchemas returns the parts of a schema that apply to what is inside a value.
func innerSchemas(s *jsonschema.Schema) []*jsonschema.Schema {
	var subs []*jsonschema.Schema
	for _, name := range sorted(s.Properties) {
		subs = append(subs, s.Properties[name])
	}
	for _, re := range patternsOf(s) {
		subs = append(subs, s.PatternProperties[re])
	}
	subs = append(subs, s.PrefixItems...)
	if items, ok := s.Items.([]*jsonschema.Schema); ok {
		subs = append(subs, items...)
	}
	for _, sub := range []any{s.AdditionalProperties, s.AdditionalItems, s.Items, s.Items2020, s.Contains,
		s.PropertyNames, s.UnevaluatedProperties, s.UnevaluatedItems} {
		if sub, ok := sub.(*jsonschema.Schema); ok && sub != nil {
			subs = append(subs, sub)
		}
	}
	return subs
}

// heightNow computes a height from those known so far.
func (s *Schema) heightNow(sch *jsonschema.Schema) int {
	if sch.Bool != nil {
		if *sch.Bool {
			return 0
		}
		return endless
	}
	h := 0
	for _, sub := range conjuncts(sch) {
		h = max(h, s.height(sub))
	}
	for _, choices := range [][]*jsonschema.Schema{sch.AnyOf, sch.OneOf} {
		if len(choices) > 0 {
			h = max(h, s.height(s.lowest(choices)))
		}
	}
	own := endless
	kinds := typesOf([]*jsonschema.Schema{sch})
	if kinds&^(typeObject|typeArray) != 0 || sch.Enum != nil || sch.Const != nil {
		own = 0
	}
	if kinds&typeObject != 0 {
		inside := 0
		for _, name := range sch.Required {
			for _, sub := range propertySchemas(sch, name) {
				inside = max(inside, s.height(sub))
			}
		}
		own = min(own, inside+1)
	}
	if kinds&typeArray != 0 {
		inside := 0
		if sch.MinItems != nil {
			for i := range min(*sch.MinItems, prefixLen(sch)+1) {
				if sub := itemSchema(sch, i); sub != nil {
					inside = max(inside, s.height(sub))
				}
			}
		}
		if sch.Contains != nil && (sch.MinContains == nil || *sch.MinContains > 0) {
			inside = max(inside, s.height(sch.Contains))
		}
		own = min(own, inside+1)
	}
	return min(max(h, own), endless)
}

func (s *Schema) height(sch *jsonschema.Schema) int {
	if sch == never {
		return endless
	}
	return s.heights[sch]
}

// lowest returns the choice with the least height.
func (s *Schema) lowest(choices []*jsonschema.Schema) *jsonschema.Schema {
	return slices.MinFunc(choices, func(a, b *jsonschema.Schema) int { return s.height(a) - s.height(b) })
}

// types is a set of JSON types. The numbers are split in two, since an integer
// is a number, too.
type types uint8

const (
	typeNull types = 1 << iota
	typeBoolean
	typeInteger
	typeFraction
	typeText
	typeArray
	typeObject

	anyType = typeNull | typeBoolean | typeInteger | typeFraction | typeText | typeArray | typeObject
)

// typesOf returns the types that fit all the schemas. If none of them names a type, it
// follows from their other keywords: {"minLength": 3} means a string, although a number
// would fit too.
func typesOf(schemas []*jsonschema.Schema) types {
	allowed, named, spoken := anyType, false, types(0)
	for _, s := range schemas {
		if s.Types != nil {
			named = true
			var t types
			for _, name := range s.Types.ToStrings() {
				t |= map[string]types{"null": typeNull, "boolean": typeBoolean, "integer": typeInteger, "number": typeInteger | typeFraction,
					"string": typeText, "array": typeArray, "object": typeObject}[name]
			}
			allowed &= t
		}
		if len(s.Properties)+len(s.PatternProperties)+len(s.Required)+len(s.DependentRequired)+len(s.DependentSchemas) > 0 ||
			s.AdditionalProperties != nil || s.MinProperties != nil || s.MaxProperties != nil || s.PropertyNames != nil {
			spoken |= typeObject
		}
		if len(s.PrefixItems) > 0 || s.Items != nil || s.Items2020 != nil || s.Contains != nil || s.MinItems != nil || s.MaxItems != nil || s.UniqueItems {
			spoken |= typeArray
		}
		if s.Pattern != nil || s.Format != nil || s.MinLength != nil || s.MaxLength != nil {
			spoken |= typeText
		}
		if s.MultipleOf != nil || s.Minimum != nil || s.Maximum != nil || s.ExclusiveMinimum != nil || s.ExclusiveMaximum != nil {
			spoken |= typeInteger | typeFraction
		}
	}
	switch {
	case named:
		return allowed
	case spoken != 0:
		return spoken
	}
	return typeText
}

// sorted returns the names of a map in order: invented values must not depend on the order
// of Go's maps.
func sorted[V any](m map[string]V) []string {
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
