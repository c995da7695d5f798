package schemagen

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// The bounds on one invention.
const (
	maxAttempts = 30
	// A value for a place is tried up to maxTries times; a try that failed further inside
	// counts as 1 + triesInside.
	maxTries    = 24
	triesInside = 5
	maxDepth    = 2 * MaxDepth
	// maxWork bounds the visits of parts of the schema in all attempts, which take about
	// half a second.
	maxWork = 1_000_000
	// patternCost is what a text for a regular expression costs.
	patternCost = 1000
	// Deeper than calmDepth, or with more values than calmValues, only what is required is
	// invented.
	calmDepth  = 4
	calmValues = 300
)

// impossible says where in the answer, and why, no value was found.
type impossible struct {
	path []string
	why  string
}

func (e *impossible) Error() string {
	if len(e.path) == 0 {
		return e.why
	}
	return "at " + pointer(e.path) + ": " + e.why
}

func cannot(format string, args ...any) error {
	return &impossible{why: fmt.Sprintf(format, args...)}
}

var errEndless = fmt.Errorf("values nest without end: %w", errTooMuchWork)

// Invent makes a value that fits the schema, drawn from r. The same r makes the same value.
// The error says where in the value none was found, and why.
func (s *Schema) Invent(ctx context.Context, r *rand.Rand) (any, error) { return s.invent(ctx, nil, r) }

// Try makes a value as [Schema.Invent] does, in one attempt. It subtracts its work from
// fuel, in visits of parts of the schema; ok is false if it found no value, or the fuel
// was used up.
func (s *Schema) Try(r *rand.Rand, fuel *int) (v any, ok bool) {
	g := &inventor{Schema: s, ctx: context.Background(), r: r, fuel: *fuel}
	v, err := g.value([]*jsonschema.Schema{s.root}, nil, 0, "")
	*fuel = g.fuel
	return v, err == nil
}

// invent makes a value that fits the schema, drawn from r, and checks it. It has the place
// want if the schema allows it.
func (s *Schema) invent(ctx context.Context, want []string, r *rand.Rand) (any, error) {
	g := &inventor{Schema: s, ctx: ctx, r: r, fuel: maxWork}
	var last error
	for range maxAttempts {
		g.values, g.path = 0, nil
		v, err := g.value([]*jsonschema.Schema{s.root}, want, 0, "")
		if err == nil {
			v, err = plain(v)
		}
		var ok bool
		if err == nil {
			ok, err = s.holds(s.root, v, &g.fuel)
		}
		if ok {
			return v, nil
		}
		if err == nil {
			err = cannot("what its parts ask for is not right as a whole")
		}
		last = err
		if errors.Is(err, errTooMuchWork) || ctx.Err() != nil {
			break
		}
	}
	if g.stuck != nil && errors.Is(last, errTooMuchWork) {
		last = fmt.Errorf("%w; the last that did not work: %w", last, g.stuck)
	}
	return nil, last
}

// plain returns v as it is decoded from its JSON.
func plain(v any) (any, error) {
	text, err := Encode(v)
	if err != nil {
		return nil, err
	}
	return jsonschema.UnmarshalJSON(strings.NewReader(text))
}

// Encode returns a value as JSON on one line, without escaping < and >, as models do.
func Encode(v any) (string, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return "", err
	}
	return strings.TrimSuffix(b.String(), "\n"), nil
}

// inventor makes values. It descends the schema once, with all the parts that apply to a
// place, chooses where the schema allows a choice, and checks each value as soon as it is
// made, so that a bad choice is corrected where it was made.
type inventor struct {
	*Schema
	ctx    context.Context
	r      *rand.Rand
	fuel   int
	values int      // made in this attempt
	path   []string // of the value that is being made
	stuck  error    // the last *impossible
}

// calm reports whether only what is required is invented.
func (g *inventor) calm(depth int) bool { return depth > calmDepth || g.values > calmValues }

func (g *inventor) chance(p float64) bool { return g.r.Float64() < p }

// value makes a value that fits all the schemas. hint is the name of the
// property that it is for.
func (g *inventor) value(schemas []*jsonschema.Schema, want []string, depth int, hint string) (any, error) {
	if depth > maxDepth {
		return nil, errEndless
	}
	var last error
	for try, spent := 0, 0; spent < maxTries; try++ {
		g.values++
		if g.fuel--; g.fuel < 0 || g.ctx.Err() != nil {
			return nil, errTooMuchWork
		}
		v, err := g.draw(schemas, want, depth, hint, try)
		if err == nil {
			err = g.fits(v, schemas)
		}
		if err == nil || errors.Is(err, errTooMuchWork) {
			return v, err
		}
		spent++
		var e *impossible
		if errors.As(err, &e) && e.path == nil {
			e.path, g.stuck = append([]string{}, g.path...), err
		} else {
			spent += triesInside // it was tried there already
		}
		last = err
	}
	return nil, last
}

// within makes a value one step further inside: under a name or an index.
func (g *inventor) within(token string, make func() (any, error)) (any, error) {
	g.path = append(g.path, token)
	defer func() { g.path = g.path[:len(g.path)-1] }()
	return make()
}

// fits checks a value against all the schemas.
func (g *inventor) fits(v any, schemas []*jsonschema.Schema) error {
	for _, s := range schemas {
		ok, err := g.holds(s, v, &g.fuel)
		if err != nil {
			return err
		}
		if !ok {
			return cannot("found no value that fits all that the schema asks for there")
		}
	}
	return nil
}

// draw makes one try. The first tries are calm if it is time for that; the later ones are
// not, since the calm choice may be a dead end.
func (g *inventor) draw(schemas []*jsonschema.Schema, want []string, depth int, hint string, try int) (any, error) {
	calm := g.calm(depth) && try < 3
	parts, err := g.resolve(nil, schemas, calm)
	if err != nil {
		return nil, err
	}
	if given, ok, err := g.given(parts); ok || err != nil {
		return given, err
	}
	kind, err := g.kind(parts, want, calm)
	if err != nil {
		return nil, err
	}
	switch kind {
	case typeNull:
		return nil, nil
	case typeBoolean:
		return g.chance(0.5), nil
	case typeInteger, typeFraction:
		return g.number(parts, kind == typeInteger)
	case typeText:
		return g.text(parts, hint)
	case typeArray:
		return g.array(parts, want, depth, hint)
	}
	return g.object(parts, want, depth)
}

// resolve adds to parts the schemas and everything that they imply for the same place:
// references, every allOf, one choice of each anyOf and oneOf, and one way through if,
// then and else.
func (g *inventor) resolve(parts, schemas []*jsonschema.Schema, calm bool) ([]*jsonschema.Schema, error) {
	for _, s := range schemas {
		if slices.Contains(parts, s) {
			continue
		}
		if g.fuel -= 1 + len(parts); g.fuel < 0 {
			return nil, errTooMuchWork
		}
		if s.Bool != nil {
			if !*s.Bool {
				return nil, cannot("the schema allows no value there")
			}
			continue
		}
		parts = append(parts, s)
		next := conjuncts(s)
		for _, choices := range [][]*jsonschema.Schema{s.AnyOf, s.OneOf} {
			if len(choices) > 0 {
				next = append(next, g.choose(choices, calm))
			}
		}
		if s.If != nil {
			if g.chance(0.5) {
				next = append(next, s.If)
				if s.Then != nil {
					next = append(next, s.Then)
				}
			} else if s.Else != nil {
				next = append(next, s.Else)
			}
		}
		var err error
		if parts, err = g.resolve(parts, next, calm); err != nil {
			return nil, err
		}
	}
	return parts, nil
}

// choose picks one of several schemas: the lowest if it is time to end; otherwise rarely
// one that never ends, and rarely null.
func (g *inventor) choose(choices []*jsonschema.Schema, calm bool) *jsonschema.Schema {
	if calm {
		return g.lowest(choices)
	}
	good := slices.DeleteFunc(slices.Clone(choices), func(s *jsonschema.Schema) bool {
		return g.height(s) >= endless || s.Types != nil && typesOf([]*jsonschema.Schema{s}) == typeNull
	})
	if len(good) == 0 || g.chance(0.15) {
		good = choices
	}
	return good[g.r.IntN(len(good))]
}

// given picks a value that the schema itself lists: const, enum, and half of
// the time one of its examples.
func (g *inventor) given(parts []*jsonschema.Schema) (v any, ok bool, err error) {
	var listed, examples []any
	must := false
	for _, s := range parts {
		if s.Const != nil {
			listed, must = append(listed, *s.Const), true
		}
		if s.Enum != nil {
			listed, must = append(listed, s.Enum.Values...), true
		}
		examples = append(examples, s.Examples...)
	}
	if !must {
		if len(examples) == 0 || g.chance(0.5) {
			return nil, false, nil
		}
		listed = examples
	}
	for _, i := range g.r.Perm(len(listed)) {
		err := g.fits(listed[i], parts)
		if err == nil {
			return listed[i], true, nil
		}
		if errors.Is(err, errTooMuchWork) {
			return nil, false, err
		}
	}
	if must {
		return nil, false, cannot("no value that const and enum list there fits the rest of the schema")
	}
	return nil, false, nil
}

// kind picks the type of a value.
func (g *inventor) kind(parts []*jsonschema.Schema, want []string, calm bool) (types, error) {
	allowed := typesOf(parts)
	containers := allowed & (typeObject | typeArray)
	switch scalars := allowed &^ containers; {
	case allowed == 0:
		return 0, cannot("the types that the schema asks for there exclude each other")
	case len(want) > 0 && containers != 0:
		allowed = containers
	case scalars != 0 && calm:
		allowed = scalars
	}
	if allowed != typeNull && !g.chance(0.15) {
		allowed &^= typeNull
	}
	if allowed&typeFraction != 0 {
		allowed &^= typeInteger // a number may have a fraction, so it gets one
	}
	var kinds []types
	for t := typeNull; t <= typeObject; t <<= 1 {
		if allowed&t != 0 {
			kinds = append(kinds, t)
		}
	}
	return kinds[g.r.IntN(len(kinds))], nil
}

// object makes an object.
func (g *inventor) object(parts []*jsonschema.Schema, want []string, depth int) (any, error) {
	parts, names, err := g.names(parts, want, depth)
	if err != nil {
		return nil, err
	}
	out := make(map[string]any, len(names))
	for _, name := range names {
		var wantInside []string
		if len(want) > 0 && want[0] == name {
			wantInside = want[1:]
		}
		v, err := g.within(name, func() (any, error) {
			return g.value(g.property(parts, name), wantInside, depth+1, name)
		})
		if err != nil {
			return nil, err
		}
		out[name] = v
	}
	return out, nil
}

// property returns the schemas that the property called name must fit.
func (g *inventor) property(parts []*jsonschema.Schema, name string) []*jsonschema.Schema {
	var subs, unevaluated []*jsonschema.Schema
	evaluated := false
	for _, s := range parts {
		g.fuel -= 1 + len(s.PatternProperties)
		found := propertySchemas(s, name)
		subs, evaluated = append(subs, found...), evaluated || len(found) > 0
		if s.UnevaluatedProperties != nil {
			unevaluated = append(unevaluated, s.UnevaluatedProperties)
		}
	}
	if !evaluated {
		subs = append(subs, unevaluated...)
	}
	return subs
}

// possible reports whether there may be a property of that name.
func (g *inventor) possible(parts []*jsonschema.Schema, name string) bool {
	for _, s := range parts {
		if s.PropertyNames != nil && g.fits(name, []*jsonschema.Schema{s.PropertyNames}) != nil {
			return false
		}
	}
	return !slices.ContainsFunc(g.property(parts, name), func(s *jsonschema.Schema) bool { return g.height(s) >= endless })
}

// names chooses the properties of an object, and returns them in order, with
// the parts that their presence adds.
func (g *inventor) names(parts []*jsonschema.Schema, want []string, depth int) ([]*jsonschema.Schema, []string, error) {
	least, most := 0, Unbounded
	chosen := map[string]bool{}
	known := map[string]bool{}
	for _, s := range parts {
		g.fuel -= len(s.Required) + len(s.Properties)
		choose(chosen, s.Required)
		for name := range s.Properties {
			known[name] = true
		}
		least, most = max(least, orElse(s.MinProperties, 0)), min(most, orElse(s.MaxProperties, Unbounded))
	}
	if g.fuel < 0 || least > maxWork {
		return nil, nil, errTooMuchWork
	}
	if len(want) > 0 && g.possible(parts, want[0]) {
		chosen[want[0]] = true
	}
	parts, err := g.depend(parts, chosen, depth)
	if err != nil {
		return nil, nil, err
	}
	optional := sorted(known)
	if len(chosen) < least {
		g.r.Shuffle(len(optional), func(i, j int) { optional[i], optional[j] = optional[j], optional[i] })
	}
	for _, name := range optional {
		wanted := len(chosen) < least || !g.calm(depth) && g.chance(0.75)
		if chosen[name] || !wanted || len(chosen) >= most || !g.possible(parts, name) {
			continue
		}
		chosen[name] = true
		if parts, err = g.depend(parts, chosen, depth); err != nil {
			return nil, nil, err
		}
	}
	// A map is plausible with one or two entries, if the schema describes its values.
	if len(known) == 0 && least == 0 && most > 0 && !g.calm(depth) && slices.ContainsFunc(parts, func(s *jsonschema.Schema) bool {
		more, ok := s.AdditionalProperties.(*jsonschema.Schema)
		return len(s.PatternProperties) > 0 || ok && g.height(more) < endless
	}) {
		least = min(most, 1+g.r.IntN(2))
	}
	for tries := 0; len(chosen) < least; tries++ {
		if g.fuel--; g.fuel < 0 {
			return nil, nil, errTooMuchWork
		}
		if tries > 20+4*least {
			return nil, nil, cannot("found no names for the %d properties that the object must have", least)
		}
		if name := g.newName(parts, depth); !chosen[name] && g.possible(parts, name) {
			chosen[name] = true
		}
	}
	return parts, sorted(chosen), nil
}

// depend adds the names and parts that the chosen ones require: dependentRequired,
// dependentSchemas, and dependencies of old drafts.
func (g *inventor) depend(parts []*jsonschema.Schema, chosen map[string]bool, depth int) ([]*jsonschema.Schema, error) {
	for {
		known, count := len(parts), len(chosen)
		var subs []*jsonschema.Schema
		for _, s := range parts {
			g.fuel--
			for _, name := range sorted(s.DependentRequired) {
				if chosen[name] {
					choose(chosen, s.DependentRequired[name])
				}
			}
			for _, name := range sorted(s.DependentSchemas) {
				if chosen[name] {
					subs = append(subs, s.DependentSchemas[name])
				}
			}
			for _, name := range sorted(s.Dependencies) {
				if !chosen[name] {
					continue
				}
				switch d := s.Dependencies[name].(type) {
				case []string:
					choose(chosen, d)
				case *jsonschema.Schema:
					subs = append(subs, d)
				}
			}
		}
		var err error
		if parts, err = g.resolve(parts, subs, g.calm(depth)); err != nil {
			return nil, err
		}
		for _, s := range parts[known:] {
			choose(chosen, s.Required)
		}
		if len(parts) == known && len(chosen) == count {
			return parts, nil
		}
	}
}

func choose(chosen map[string]bool, names []string) {
	for _, name := range names {
		chosen[name] = true
	}
}

// newName makes a name for a property that the schema doesn't name.
func (g *inventor) newName(parts []*jsonschema.Schema, depth int) string {
	var rules []*jsonschema.Schema
	for _, s := range parts {
		if res := patternsOf(s); len(res) > 0 {
			g.fuel -= patternCost
			// A length by chance: ^x- alone would give one name only.
			if name, err := Matching(res[g.r.IntN(len(res))].String(), g.r.IntN(12), Unbounded, g.r); err == nil {
				return name
			}
		}
		if s.PropertyNames != nil {
			rules = append(rules, s.PropertyNames)
		}
	}
	if len(rules) > 0 {
		if v, err := g.value(append(rules, textSchema), nil, depth+1, ""); err == nil {
			if name, ok := v.(string); ok {
				return name
			}
		}
	}
	return Word(g.r) + "_" + strconv.Itoa(1+g.r.IntN(1000))
}

// textSchema is {"type": "string"}.
var textSchema = func() *jsonschema.Schema {
	var t jsonschema.Types
	t.Add("string")
	return &jsonschema.Schema{Types: &t}
}()

// array makes an array.
func (g *inventor) array(parts []*jsonschema.Schema, want []string, depth int, hint string) (any, error) {
	least, most, prefix, unique := 0, Unbounded, 0, false
	var contains []*jsonschema.Schema
	for _, s := range parts {
		least, most = max(least, orElse(s.MinItems, 0)), min(most, orElse(s.MaxItems, Unbounded))
		prefix = max(prefix, prefixLen(s))
		unique = unique || s.UniqueItems
		if s.Contains != nil {
			for range min(orElse(s.MinContains, 1), maxWork) {
				if g.fuel--; g.fuel < 0 {
					return nil, errTooMuchWork
				}
				contains = append(contains, s.Contains)
			}
		}
	}
	if least > maxWork {
		return nil, errTooMuchWork
	}
	// Items for contains come after those that are described one by one.
	if len(contains) > 0 {
		least = max(least, min(prefix, most-len(contains))+len(contains))
	}
	size := least
	if !g.calm(depth) {
		size = max(size, min(prefix, most))
		size = min(max(size, 1)+g.r.IntN(3), max(most, size))
	}
	if len(want) > 0 {
		if i, ok := Index(want[0]); ok && i < most && i < maxWork {
			size = max(size, i+1)
		}
	}
	out := make([]any, 0, min(size, 100))
	seen := map[string]bool{}
	for i := range size {
		subs := g.item(parts, i)
		if fromEnd := size - 1 - i; fromEnd < len(contains) {
			subs = append(subs, contains[fromEnd])
		}
		var wantInside []string
		if len(want) > 0 && want[0] == strconv.Itoa(i) {
			wantInside = want[1:]
		}
		v, err := g.within(strconv.Itoa(i), func() (any, error) {
			return g.distinct(subs, wantInside, depth+1, hint, unique, seen)
		})
		if err != nil {
			if i >= least && !errors.Is(err, errTooMuchWork) {
				break // fewer will do
			}
			return nil, err
		}
		out = append(out, v)
	}
	return out, nil
}

// distinct makes an item that was not seen yet, if that matters.
func (g *inventor) distinct(subs []*jsonschema.Schema, want []string, depth int, hint string, unique bool, seen map[string]bool) (any, error) {
	for range 50 {
		v, err := g.value(subs, want, depth, hint)
		if err != nil || !unique {
			return v, err
		}
		text, err := Encode(v)
		if err != nil {
			return nil, err
		}
		if !seen[text] {
			seen[text] = true
			return v, nil
		}
	}
	return nil, cannot("found no further item that differs from the others")
}

// item returns the schemas that item i must fit.
func (g *inventor) item(parts []*jsonschema.Schema, i int) []*jsonschema.Schema {
	var subs, unevaluated []*jsonschema.Schema
	for _, s := range parts {
		if sub := itemSchema(s, i); sub != nil {
			subs = append(subs, sub)
		}
		if s.UnevaluatedItems != nil {
			unevaluated = append(unevaluated, s.UnevaluatedItems)
		}
	}
	if len(subs) == 0 {
		subs = unevaluated
	}
	return subs
}

func orElse(n *int, otherwise int) int {
	if n == nil {
		return otherwise
	}
	return *n
}
