package validate

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
)

// violation is one place where a value breaks a schema.
type violation struct {
	at     []string // the tokens of its JSON pointer
	kind   any      // a jsonschema.ErrorKind, or alternatives
	schema string   // where the schema says so
	within []violation
}

// alternatives is the violation of anyOf or oneOf where none of the branches
// is clearly the one that was meant.
type alternatives struct{ branches [][]violation }

// tell puts the library's tree of errors into complaints, a violation each, in
// the order of their pointers. The library's own order changes from run to run,
// and two answers that fail in the same way must get the same complaints.
func tell(tree *jsonschema.ValidationError, value, schema any) ([]Complaint, error) {
	found := gather(tree)
	w := words{value, schema}
	var complaints []Complaint
	var last Complaint
	left := 0
	for _, v := range found {
		if cycle, ok := v.kind.(*kind.RefCycle); ok {
			return nil, fmt.Errorf("the schema's references lead back to themselves: %s and %s", cycle.KeywordLocation1, cycle.KeywordLocation2)
		}
		if len(complaints) == maxListed {
			left++
			continue
		}
		c := w.complaint(v)
		if c == last { // two ways through the schema to one violation
			continue
		}
		complaints, last = append(complaints, c), c
	}
	if len(found) == 0 {
		return nil, errors.New("the value does not fit the schema, and the library does not say why")
	}
	return append(complaints, more(left, "violations of the schema")...), nil
}

// gather returns the leaves of the tree, in order.
func gather(e *jsonschema.ValidationError) []violation {
	switch k := e.ErrorKind.(type) {
	case *kind.Schema, *kind.Group, *kind.AllOf, *kind.Reference:
		return gatherAll(e.Causes)
	case *kind.AnyOf:
		return closest(e)
	case *kind.OneOf:
		if len(k.Subschemas) == 0 {
			return closest(e)
		}
	}
	v := violation{at: e.InstanceLocation, kind: e.ErrorKind, schema: e.SchemaURL}
	switch e.ErrorKind.(type) {
	case *kind.PropertyNames:
		// The library (v6.0.3) does not copy this one path, and writes others
		// over it; complaint looks for the place.
		v.at = nil
		v.within = gatherAll(e.Causes)
	case *kind.Contains, *kind.MinContains:
		v.within = nearestCause(e.Causes)
	}
	return []violation{v}
}

func gatherAll(causes []*jsonschema.ValidationError) []violation {
	var found []violation
	for _, cause := range causes {
		found = append(found, gather(cause)...)
	}
	if len(causes) > 1 {
		slices.SortStableFunc(found, compare)
	}
	return found
}

// nearestCause returns the violations of the cause that has the fewest.
func nearestCause(causes []*jsonschema.ValidationError) []violation {
	var best []violation
	for _, cause := range causes {
		if found := gather(cause); best == nil || len(found) < len(best) {
			best = found
		}
	}
	return best
}

// How far a branch is from what was meant: a value of another type is no
// attempt at it, and one with another constant is an attempt at another member
// of a union whose members name themselves.
const (
	otherConstant = 1_000
	otherType     = 1_000_000
)

// closest returns the violations of the branch of an anyOf or oneOf that was
// clearly meant: the only one of the right type, or the nearest of those that
// have the right constants too. Where there is no such branch, it returns one
// violation that stands for all of them.
func closest(e *jsonschema.ValidationError) []violation {
	branches := make([][]violation, len(e.Causes))
	distances := make([]int, len(e.Causes))
	for i, cause := range e.Causes {
		branches[i] = gather(cause)
		distances[i] = distance(branches[i], len(e.InstanceLocation))
	}
	if len(branches) < 2 {
		return slices.Concat(branches...)
	}
	sorted := slices.Sorted(slices.Values(distances))
	if least, next := sorted[0], sorted[1]; least < next && (least < otherConstant || least < otherType && next >= otherType) {
		return branches[slices.Index(distances, least)]
	}
	if v, ok := merge(branches); ok {
		return []violation{v}
	}
	return []violation{{at: e.InstanceLocation, kind: alternatives{branches}, schema: e.SchemaURL}}
}

func distance(branch []violation, depth int) int {
	sum := len(branch)
	for _, v := range branch {
		here := len(v.at) == depth
		switch k := v.kind.(type) {
		case *kind.Type, alternatives:
			if here {
				sum += otherType
			}
		case *kind.Const:
			if here {
				sum += otherType
			} else {
				sum += otherConstant
			}
		case *kind.Enum:
			if here {
				sum += otherType
			} else if len(k.Want) == 1 {
				sum += otherConstant
			}
		case *kind.Required:
			sum += len(k.Missing) - 1
		}
	}
	return sum
}

// merge makes one violation of branches that each want another type, or another
// constant, of one and the same value.
func merge(branches [][]violation) (violation, bool) {
	var merged violation
	for i, branch := range branches {
		j := slices.IndexFunc(branch, func(v violation) bool {
			switch v.kind.(type) {
			case *kind.Const, *kind.Enum:
				return true
			case *kind.Type:
				return len(branch) == 1
			}
			return false
		})
		if j < 0 || i > 0 && !slices.Equal(branch[j].at, merged.at) {
			return merged, false
		}
		v := branch[j]
		if c, ok := v.kind.(*kind.Const); ok {
			v.kind = &kind.Enum{Got: c.Got, Want: []any{c.Want}}
		}
		if i == 0 {
			merged = v
			continue
		}
		switch k := v.kind.(type) {
		case *kind.Enum:
			before, ok := merged.kind.(*kind.Enum)
			if !ok {
				return merged, false
			}
			merged.kind = &kind.Enum{Got: before.Got, Want: slices.Concat(before.Want, k.Want)}
		case *kind.Type:
			before, ok := merged.kind.(*kind.Type)
			if !ok {
				return merged, false
			}
			merged.kind = &kind.Type{Got: before.Got, Want: slices.Concat(before.Want, k.Want)}
		}
	}
	return merged, true
}

// compare orders violations by place: items by number, properties by name, and
// names that are numbers before those that are not.
func compare(a, b violation) int {
	byPlace := slices.CompareFunc(a.at, b.at, func(x, y string) int {
		i, errX := strconv.Atoi(x)
		j, errY := strconv.Atoi(y)
		switch {
		case errX == nil && errY == nil && i != j:
			return cmp.Compare(i, j)
		case errX == nil && errY != nil:
			return -1
		case errX != nil && errY == nil:
			return 1
		}
		return strings.Compare(x, y)
	})
	if byPlace != 0 {
		return byPlace
	}
	return cmp.Or(
		strings.Compare(a.schema, b.schema),
		strings.Compare(fmt.Sprintf("%T", a.kind), fmt.Sprintf("%T", b.kind)),
		strings.Compare(property(a.kind), property(b.kind)),
	)
}

// property tells apart violations of one kind at one place.
func property(k any) string {
	switch k := k.(type) {
	case *kind.PropertyNames:
		return k.Property
	case *kind.Dependency:
		return k.Prop
	case *kind.DependentRequired:
		return k.Prop
	}
	return ""
}

// words puts violations into words: what is there, and what is wanted.
type words struct {
	value  any // the whole value
	schema any // the schema that it breaks; nil if that is not ours
}

func (w words) complaint(v violation) Complaint {
	if k, ok := v.kind.(*kind.PropertyNames); ok {
		v.at, _ = only(w.value, k.Property, nil)
	}
	problem, suggestion := w.say(v)
	return Complaint{Problem: problem, Pointer: pointer(steps(v.at)), Suggestion: suggestion}
}

func (w words) say(v violation) (problem, suggestion string) {
	switch k := v.kind.(type) {
	case *kind.Type:
		return w.sayType(v.at, k)
	case *kind.Required:
		return plural(k.Missing, "the property %s is missing", "the properties %s are missing"),
			w.add(v.schema, k.Missing)
	case *kind.Dependency:
		return w.sayDependent(v.schema, k.Prop, k.Missing)
	case *kind.DependentRequired:
		return w.sayDependent(v.schema, k.Prop, k.Missing)
	case *kind.AdditionalProperties:
		names := slices.Sorted(slices.Values(k.Properties))
		suggestion = "leave it out"
		if len(names) > 1 {
			suggestion = "leave them out"
		}
		if allowed := w.allowed(v.schema); len(allowed) > 0 {
			suggestion += "; allowed are " + list(allowed)
		}
		return plural(names, "the property %s is not allowed", "the properties %s are not allowed"), suggestion
	case *kind.PropertyNames:
		return w.sayName(k.Property, v.within), "rename it or leave it out"
	case *kind.FalseSchema:
		return w.describe(v.at) + " is where nothing is allowed", "leave it out"
	case *kind.Enum:
		return w.describe(v.at) + " is not one of the allowed values", "use one of " + values(k.Want)
	case *kind.Const:
		return w.describe(v.at) + " is not the value that is wanted", "make it " + whole(k.Want)
	case *kind.Format:
		problem = fmt.Sprintf("%s is not in the format %q", show(k.Got), k.Want)
		if example := formats[k.Want]; example != "" {
			return problem, "write it like " + example
		}
		return problem + ": " + short(k.Err.Error(), 100), fmt.Sprintf("write it in the format %q", k.Want)
	case *kind.Pattern:
		pattern := quotedPattern(k.Want)
		return show(k.Got) + " does not match the regular expression " + pattern, "write text that matches the regular expression " + pattern
	case *kind.MinLength:
		return tooShort(k.Got, k.Want), fmt.Sprintf(atLeast, k.Want)
	case *kind.MaxLength:
		return tooLong(k.Got, k.Want), fmt.Sprintf(atMost, k.Want)
	case *kind.MinItems:
		suggestion = fmt.Sprintf("give it at least %d items", k.Want)
		if items, _ := w.keyword(v.schema, "items"); w.kindOf(items) != "" {
			suggestion += ", each " + w.kindOf(items)
		}
		return tooFew("items", k.Got, k.Want), suggestion
	case *kind.MaxItems:
		return tooMany("items", k.Got, k.Want), fmt.Sprintf("give it at most %d items", k.Want)
	case *kind.MinProperties:
		return tooFew("properties", k.Got, k.Want), fmt.Sprintf("give it at least %d properties", k.Want)
	case *kind.MaxProperties:
		return tooMany("properties", k.Got, k.Want), fmt.Sprintf("give it at most %d properties", k.Want)
	case *kind.Minimum:
		return number(k.Got) + " is less than " + number(k.Want), "make it at least " + number(k.Want)
	case *kind.Maximum:
		return number(k.Got) + " is more than " + number(k.Want), "make it at most " + number(k.Want)
	case *kind.ExclusiveMinimum:
		return number(k.Got) + " is not more than " + number(k.Want), "make it more than " + number(k.Want)
	case *kind.ExclusiveMaximum:
		return number(k.Got) + " is not less than " + number(k.Want), "make it less than " + number(k.Want)
	case *kind.MultipleOf:
		return number(k.Got) + " is not a multiple of " + number(k.Want), "make it a multiple of " + number(k.Want)
	case *kind.UniqueItems:
		return fmt.Sprintf("the items %d and %d, counted from 0, are equal", k.Duplicates[0], k.Duplicates[1]), "keep each item once"
	case *kind.AdditionalItems:
		return fmt.Sprintf("the array has %d items too many", k.Count), fmt.Sprintf("leave out the last %d", k.Count)
	case *kind.Contains:
		return w.sayContains("no item is as one at least must be", v.within), w.such(v.schema, "add an item that fits", "add such an item")
	case *kind.MinContains:
		return w.sayContains(fmt.Sprintf("%d items are as %d at least must be", len(k.Got), k.Want), v.within),
			w.such(v.schema, fmt.Sprintf("add %s that %s", items(k.Want-len(k.Got)), fits(k.Want-len(k.Got))), "add such items")
	case *kind.MaxContains:
		return fmt.Sprintf("%d items are as %d at most may be", len(k.Got), k.Want),
			w.such(v.schema, fmt.Sprintf("leave out %d of the items that fit", len(k.Got)-k.Want), "leave some of them out")
	case *kind.Not:
		problem = w.describe(v.at) + " is what must not be here"
		if forbidden, ok := w.keyword(v.schema, "not"); ok {
			return problem, "change it so that it does not fit the schema " + whole(forbidden)
		}
		return problem, "change it"
	case *kind.OneOf:
		return fmt.Sprintf("%s fits the alternatives %d and %d, and may fit one only", w.describe(v.at), k.Subschemas[0]+1, k.Subschemas[1]+1),
			w.sayJustOne(v.schema, k.Subschemas)
	case alternatives:
		return w.sayAlternatives(v.at, k)
	case jsonschema.ErrorKind:
		return fmt.Sprintf("%s does not fit what the schema says of it in %q", w.describe(v.at), strings.Join(k.KeywordPath(), "/")), ""
	}
	return w.describe(v.at) + " does not fit the schema", ""
}

func (w words) sayType(at []string, k *kind.Type) (problem, suggestion string) {
	wanted := make([]string, 0, len(k.Want))
	for _, t := range k.Want {
		if name := typeNames[t]; !slices.Contains(wanted, name) {
			wanted = append(wanted, name)
		}
	}
	wish := strings.Join(wanted, " or ")
	problem = w.describe(at) + " stands where " + wish + " is wanted"
	wants := func(t string) bool { return slices.Contains(k.Want, t) }
	value, _ := find(w.value, at)
	switch v := value.(type) {
	case string:
		var n json.Number
		switch {
		case (wants("number") || wants("integer")) && json.Unmarshal([]byte(v), &n) == nil && n != "":
			return problem, "write it without quotes"
		case wants("boolean") && (v == "true" || v == "false"):
			return problem, "write it as " + v + ", without quotes"
		case (wants("object") || wants("array")) && strings.IndexAny(v, "{[") == 0 && json.Valid([]byte(v)):
			return problem, "write it as JSON, not as a string that holds JSON"
		}
	case json.Number, bool:
		if len(k.Want) == 1 && wants("string") {
			return problem, "write it as a string, in double quotes"
		}
	}
	return problem, "put " + wish + " there"
}

func (w words) sayDependent(schema, property string, missing []string) (problem, suggestion string) {
	return fmt.Sprintf("because %q is there, ", short(property, 60)) +
			plural(missing, "the property %s must be too", "the properties %s must be too"),
		w.add(schema, missing)
}

// add says which properties to add, and of what kind each must be: a model that
// is not told chooses one, and is wrong once more.
func (w words) add(schema string, names []string) string {
	properties, _ := w.keyword(schema, "properties")
	of, _ := properties.(map[string]any)
	items := make([]string, len(names))
	for i, name := range names {
		items[i] = strconv.Quote(short(name, 60))
		if kind := w.kindOf(of[name]); kind != "" {
			items[i] += " (" + kind + ")"
		}
	}
	if len(names) == 1 {
		return "add the property " + items[0]
	}
	return "add the properties " + cut(items)
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
			tokens[i] = unescapeToken.Replace(token)
		}
		target, _ := find(w.schema, tokens)
		if of, _ = target.(map[string]any); of["$ref"] != nil {
			return ""
		}
	}
	if constant, ok := of["const"]; ok {
		return "the value " + show(constant)
	}
	if list, ok := of["enum"].([]any); ok && len(list) > 0 {
		return "one of " + values(list)
	}
	if format, _ := of["format"].(string); of["type"] == "string" && formats[format] != "" {
		return "a string like " + formats[format]
	}
	types, ok := of["type"].([]any)
	if !ok {
		types = []any{of["type"]}
	}
	var names []string
	for _, t := range types {
		if t, _ := t.(string); typeNames[t] != "" {
			names = append(names, typeNames[t])
		}
	}
	kind := strings.Join(names, " or ")
	if kind == typeNames["object"] {
		var required []string
		list, _ := of["required"].([]any)
		for _, name := range list {
			if name, ok := name.(string); ok {
				required = append(required, name)
			}
		}
		kind += plural(required, " with the property %s", " with the properties %s")
		if len(required) == 0 {
			return typeNames["object"]
		}
	}
	return kind
}

// sayName tells why a property's name is not allowed. The violations within are
// those of the name as a value.
func (w words) sayName(name string, within []violation) string {
	problem := fmt.Sprintf("the property name %q is not allowed", short(name, 60))
	if len(within) > 0 {
		why, _ := words{name, w.schema}.say(within[0])
		problem += ": " + why
	}
	return problem
}

func (w words) sayContains(problem string, within []violation) string {
	if len(within) > 0 {
		c := w.complaint(within[0])
		problem += fmt.Sprintf("; at %s: %s", c.Pointer, c.Problem)
	}
	return problem
}

// such ends a way to mend with the schema of contains; otherwise stands where
// that can't be shown.
func (w words) such(schema, begin, otherwise string) string {
	if contains, ok := w.keyword(schema, "contains"); ok {
		return begin + " the schema " + whole(contains)
	}
	return otherwise
}

func items(n int) string {
	if n == 1 {
		return "an item"
	}
	return fmt.Sprintf("%d items", n)
}

func fits(n int) string {
	if n == 1 {
		return "fits"
	}
	return "fit"
}

func (w words) sayJustOne(schema string, fitting []int) string {
	const suggestion = "change it so that it fits just one of them"
	branches, _ := w.keyword(schema, "oneOf")
	list, _ := branches.([]any)
	var shown []string
	for _, i := range fitting {
		if i >= len(list) {
			return suggestion
		}
		shown = append(shown, whole(list[i]))
	}
	return suggestion + ": " + strings.Join(shown, "; or ")
}

func (w words) sayAlternatives(at []string, k alternatives) (problem, suggestion string) {
	const shown = 5
	var ways []string
	for _, branch := range k.branches[:min(shown, len(k.branches))] {
		var steps []string
		for _, v := range branch[:min(shown, len(branch))] {
			c := w.complaint(v)
			if c.Suggestion == "" {
				c.Suggestion = c.Problem
			}
			if len(v.at) != len(at) {
				c.Suggestion = "at " + c.Pointer + " " + c.Suggestion
			}
			steps = append(steps, short(c.Suggestion, 200))
		}
		if way := strings.Join(steps, ", and "); !slices.Contains(ways, way) {
			ways = append(ways, way)
		}
	}
	problem = fmt.Sprintf("%s fits none of the %d alternatives", w.describe(at), len(k.branches))
	if n := len(k.branches) - shown; n > 0 {
		ways = append(ways, fmt.Sprintf("fit one of the %d other alternatives", n))
	}
	if len(ways) == 1 {
		return problem, ways[0]
	}
	return problem, "do one of these: " + strings.Join(ways, "; or ")
}

// describe tells what is at the place.
func (w words) describe(at []string) string {
	value, ok := find(w.value, at)
	if !ok {
		return "the value"
	}
	switch v := value.(type) {
	case string:
		return "the string " + show(v)
	case json.Number:
		return "the number " + show(v)
	case []any:
		return fmt.Sprintf("an array (of %d items)", len(v))
	case map[string]any:
		return fmt.Sprintf("an object (of %d properties)", len(v))
	}
	return show(value)
}

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
	fragment, ok := strings.CutPrefix(address, schemaURL+"#")
	if !ok || w.schema == nil {
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
		tokens[i] = unescapeToken.Replace(token)
	}
	return find(w.schema, append(tokens, name))
}

var unescapeToken = strings.NewReplacer("~1", "/", "~0", "~")

// find returns what a path of tokens leads to.
func find(value any, path []string) (any, bool) {
	for _, token := range path {
		switch v := value.(type) {
		case map[string]any:
			next, ok := v[token]
			if !ok {
				return nil, false
			}
			value = next
		case []any:
			i, err := strconv.Atoi(token)
			if err != nil || i < 0 || i >= len(v) {
				return nil, false
			}
			value = v[i]
		default:
			return nil, false
		}
	}
	return value, true
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

// show writes a value as JSON, shortened.
func show(value any) string {
	switch v := value.(type) {
	case string:
		return strconv.Quote(short(v, 60))
	case json.Number:
		return short(string(v), 60)
	}
	text, err := json.Marshal(value)
	if err != nil {
		return "a value"
	}
	return short(string(text), 120)
}

// whole is show for what the model must write or read as it is: a part of it
// is of no use.
func whole(value any) string {
	const longest = 400
	if text, ok := value.(string); ok {
		return strconv.Quote(short(text, longest))
	}
	text, err := json.Marshal(value)
	if err != nil {
		return "a value"
	}
	return short(string(text), longest)
}

func number(n *big.Rat) string {
	if n.IsInt() {
		return short(n.Num().String(), 60)
	}
	f, _ := n.Float64()
	return strconv.FormatFloat(f, 'g', -1, 64)
}

func tooFew(what string, got, want int) string {
	return fmt.Sprintf("there are too few %s: %d, where %d is the least", what, got, want)
}

func tooMany(what string, got, want int) string {
	return fmt.Sprintf("there are too many %s: %d, where %d is the most", what, got, want)
}

func plural(names []string, one, many string) string {
	if len(names) == 1 {
		return fmt.Sprintf(one, list(names))
	}
	return fmt.Sprintf(many, list(names))
}

func list(names []string) string {
	quoted := make([]string, len(names))
	for i, name := range names {
		quoted[i] = strconv.Quote(short(name, 60))
	}
	return cut(quoted)
}

func values(wanted []any) string {
	shown := make([]string, len(wanted))
	for i, v := range wanted {
		shown[i] = show(v)
	}
	return cut(shown)
}

func cut(items []string) string {
	if n := len(items) - maxListed; n > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(items[:maxListed], ", "), n)
	}
	return strings.Join(items, ", ")
}

var typeNames = map[string]string{
	"array": "an array", "boolean": "true or false", "integer": "an integer", "null": "null",
	"number": "a number", "object": "an object", "string": "a string",
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
