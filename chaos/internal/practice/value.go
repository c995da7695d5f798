package practice

import (
	"encoding/json"
	"maps"
	"math/big"
	"math/rand/v2"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"llmcall/chaos/internal/schemagen"
	"llmcall/internal/phrase"
)

// edit is the correction of one place in a JSON value.
type edit struct {
	doc   any
	point point
	r     *rand.Rand
	fuel  int // for the schemas of complaints
}

func (e *edit) value() any {
	v, _ := schemagen.Lookup(e.doc, e.point.path)
	return v
}

func (e *edit) set(v any) bool {
	e.doc = placed(e.doc, e.point.path, func(any) any { return v })
	return true
}

// placed returns a copy of v with another value at a path, and makes missing objects on
// the way.
func placed(v any, path []string, with func(any) any) any {
	if len(path) == 0 {
		return with(v)
	}
	if c, ok := v.([]any); ok {
		if i, ok := schemagen.Index(path[0]); ok && i < len(c) {
			c = slices.Clone(c)
			c[i] = placed(c[i], path[1:], with)
			return c
		}
		return v
	}
	out := map[string]any{}
	if c, ok := v.(map[string]any); ok {
		maps.Copy(out, c)
	}
	out[path[0]] = placed(out[path[0]], path[1:], with)
	return out
}

// without returns a copy of v without the value at a path.
func without(v any, path []string) any {
	if len(path) == 0 {
		return nil
	}
	last := path[len(path)-1]
	return placed(v, path[:len(path)-1], func(v any) any {
		switch c := v.(type) {
		case map[string]any:
			c = maps.Clone(c)
			delete(c, last)
			return c
		case []any:
			if i, ok := schemagen.Index(last); ok && i < len(c) {
				return slices.Delete(slices.Clone(c), i, i+1)
			}
		}
		return v
	})
}

// valueFixes are the fixes of a value within JSON, given the values in the phrase. The first
// row that matches, and finds what it needs, is used.
var valueFixes = []struct {
	fix *phrase.Phrase
	do  func(e *edit, values []string) bool
}{
	{phrase.AddProperty, addProperties},
	{phrase.AddProperties, addProperties},
	{phrase.PutObject, putObject},
	{phrase.RenameTo, rename},
	{phrase.LeaveOut, leaveOut},
	{phrase.LeaveThemOut, leaveOut},
	{phrase.RenameOrLeave, leaveOut},
	{phrase.NumberUnquoted, unquote},
	{phrase.LiteralUnquoted, unquote},
	{phrase.JSONUnquoted, unquote},
	{phrase.Quoted, quote},
	{phrase.Put, put},
	{phrase.Add, func(e *edit, _ []string) bool { return e.set(schemagen.Words(0, schemagen.Unbounded, e.r)) }},
	{phrase.UseOneOf, setFirst},
	{phrase.MakeIt, setFirst},
	{phrase.LeastItems, moreItems},
	{phrase.MostItems, fewerItems},
	{phrase.LeaveLast, lastItems},
	{phrase.DistinctItems, distinctItems},
	{phrase.MissingItems, func(e *edit, _ []string) bool { return e.grow(1, "") }},
	{phrase.LeastProperties, moreProperties},
	{phrase.MostProperties, fewerProperties},
	{phrase.AddItem, func(e *edit, values []string) bool { return e.addFitting("1", values[0]) }},
	{phrase.AddItems, func(e *edit, values []string) bool { return e.addFitting(values[0], values[1]) }},
	{phrase.LeaveItems, removeFitting},
	{phrase.UnlikeSchema, unlike},
	{phrase.JustOne, justOne},
	{phrase.Holds, compare},
}

// setFirst sets the first of the values in the phrase.
func setFirst(e *edit, values []string) bool {
	v, ok := decoded(values[0])
	return ok && e.set(v)
}

// intoBounds brings a number between the bounds of the fix.
func (e *edit) intoBounds() bool {
	n, ok := e.value().(json.Number)
	b := boundsOf(e.point.fix)
	if !ok || b.lo == nil && b.hi == nil && b.step == nil {
		return false
	}
	n, ok = b.nearest(n)
	return ok && e.set(n)
}

// fixValues corrects the JSON in a text, and returns the points about something else.
func fixValues(text string, points []point, r *rand.Rand) (string, []point) {
	inner, ok := jsonIn(text)
	if !ok {
		return text, points
	}
	doc, ok := decoded(inner)
	if !ok {
		return text, points
	}
	var left []point
	e := edit{doc: doc, r: r, fuel: schemaFuel}
	for _, p := range slices.Backward(points) { // a removal moves what comes after it
		e.point = p
		if !e.fix() {
			left = append(left, p)
		}
	}
	if len(left) == len(points) {
		return text, points
	}
	return encoded(e.doc, text), left
}

func (e *edit) fix() bool {
	for _, m := range valueFixes {
		if values, ok := m.fix.Read(e.point.fix); ok && m.do(e, values) {
			return true
		}
	}
	if e.intoBounds() {
		return true
	}
	if len(e.point.path) == 0 {
		return false
	}
	// A text within JSON is fixed like a whole text.
	text := ""
	switch v := e.value().(type) {
	case string:
		text = v
	case json.Number:
		text = string(v)
	case nil:
	default:
		return false
	}
	_, wasNumber := e.value().(json.Number)
	fixed, left := fixPlaces(text, []point{e.point}, e.r)
	if len(left) > 0 {
		d := demandsOf(left)
		d.json = false
		if d.none() {
			return false
		}
		fixed = d.composed(text, e.r)
	}
	if n := json.Number(fixed); wasNumber && json.Valid([]byte(n)) {
		return e.set(n)
	}
	return e.set(fixed)
}

// property is a name in a list, and the text in parentheses after it.
type property struct{ name, kind string }

func properties(list string) (found []property) {
	for at := 0; at < len(list) && len(found) < maxDemands; {
		name, size := quotedText(list, at)
		if size == 0 {
			at++
			continue
		}
		at += size
		p := property{name: name}
		if kind, ok := strings.CutPrefix(list[at:], " ("); ok {
			end := 0
			for end < len(kind) && kind[end] != ')' {
				_, quoted := quotedText(kind, end)
				end += max(quoted, 1)
			}
			p.kind = kind[:min(end, len(kind))]
			at = min(at+end+len(" ()"), len(list))
		}
		found = append(found, p)
	}
	return found
}

// addProperties adds missing properties, with the value in the complaint, or one of its
// kind.
func addProperties(e *edit, values []string) bool {
	object, _ := e.value().(map[string]any)
	if _, there := schemagen.Lookup(e.doc, e.point.path); there && object == nil {
		return false
	}
	value := ""
	if len(values) > 1 {
		value = values[1]
	}
	with := map[string]any{}
	maps.Copy(with, object)
	for _, p := range properties(values[0]) {
		if _, there := with[p.name]; !there {
			with[p.name] = valueOf(p.kind, p.name, e.r)
		}
		if v, ok := decoded(value); ok {
			with[p.name] = v
		}
	}
	return e.set(with)
}

// putObject puts an object with a property where something else is.
func putObject(e *edit, values []string) bool {
	v, ok := decoded(values[1])
	if !ok {
		v = valueOf("", values[0], e.r)
	}
	return e.set(map[string]any{values[0]: v})
}

// valueOf makes a value of a kind, in the words of complaints.
func valueOf(kind, name string, r *rand.Rand) any {
	switch phrase.FirstKind(kind) {
	case phrase.WholeNumber:
		return json.Number(strconv.Itoa(1 + r.IntN(100)))
	case phrase.Number:
		return json.Number(strconv.FormatFloat(1+r.Float64()*100, 'f', 2, 64))
	case phrase.FirstKind(phrase.Boolean):
		return true
	case phrase.Null:
		return nil
	case phrase.Array:
		return []any{}
	case phrase.Object:
		return map[string]any{}
	}
	for _, p := range []*phrase.Phrase{phrase.WithProperty, phrase.WithProperties} {
		if names, ok := p.Read(kind); ok {
			object := map[string]any{}
			for _, name := range quotedTexts(names[0]) {
				object[name] = valueOf("", name, r)
			}
			return object
		}
	}
	for _, p := range []*phrase.Phrase{phrase.OneOf, phrase.Like, phrase.OneValue} {
		if values, ok := p.Read(kind); ok {
			if v, ok := decoded(values[0]); ok {
				return v
			}
		}
	}
	if text := schemagen.Named(name, r); text != "" {
		return text
	}
	return schemagen.Words(0, schemagen.Unbounded, r)
}

// rename renames a property that has another spelling of the name.
func rename(e *edit, values []string) bool {
	others, ok := phrase.NoProperty.Find(e.point.problem)
	object, isObject := e.value().(map[string]any)
	if !ok || !isObject {
		return false
	}
	near := quotedTexts(others[1])
	if len(near) == 0 {
		return false
	}
	with := map[string]any{}
	for key, v := range object {
		if key == near[0] {
			key = values[0]
		}
		with[key] = v
	}
	return e.set(with)
}

// notAllowed returns the properties that a problem says are not allowed.
func notAllowed(problem string) (names []string, ok bool) {
	for _, p := range []*phrase.Phrase{phrase.PropertyNotAllowed, phrase.PropertiesNotAllowed} {
		if values, ok := p.Read(problem); ok {
			return quotedTexts(values[0]), true
		}
	}
	if values, ok := phrase.NameNotAllowed.Read(problem); ok {
		return values[:1], true
	}
	return nil, false
}

func leaveOut(e *edit, _ []string) bool {
	if names, ok := notAllowed(e.point.problem); ok {
		for _, name := range names {
			e.doc = without(e.doc, append(slices.Clone(e.point.path), name))
		}
		return true
	}
	if e.point.line > 0 || len(e.point.path) == 0 {
		return false // a part of a text
	}
	e.doc = without(e.doc, e.point.path)
	return true
}

func unquote(e *edit, _ []string) bool {
	text, ok := e.value().(string)
	if !ok {
		return false
	}
	v, ok := decoded(text)
	return ok && e.set(v)
}

func quote(e *edit, _ []string) bool {
	text, err := schemagen.Encode(e.value())
	return err == nil && e.set(text)
}

func put(e *edit, values []string) bool {
	name := ""
	if n := len(e.point.path); n > 0 {
		name = e.point.path[n-1]
	}
	return e.set(valueOf(values[0], name, e.r))
}

// grow adds n items, all different, of the given kind or like the last one.
func (e *edit) grow(n int, kind string) bool {
	items, ok := e.value().([]any)
	if !ok || n > maxDemands {
		return false
	}
	items = slices.Clone(items)
	for range n {
		items = append(items, e.another(items, kind))
	}
	return e.set(items)
}

func (e *edit) another(items []any, kind string) any {
	var last any
	if len(items) > 0 && kind == "" {
		last = items[len(items)-1]
	}
	for try := 0; ; try++ {
		v := last
		switch last.(type) {
		case nil:
			v = valueOf(kind, "", e.r)
		case string:
			v = schemagen.Words(0, schemagen.Unbounded, e.r)
		case json.Number:
			v = json.Number(strconv.Itoa(e.r.IntN(10_000)))
		}
		if text := encoded(v, ""); try == 20 || !slices.ContainsFunc(items, func(item any) bool { return encoded(item, "") == text }) {
			return v
		}
	}
}

func moreItems(e *edit, values []string) bool {
	items, ok := e.value().([]any)
	n, err := strconv.Atoi(values[0])
	return ok && err == nil && e.grow(n-len(items), values[1])
}

func fewerItems(e *edit, values []string) bool {
	items, ok := e.value().([]any)
	n, err := strconv.Atoi(values[0])
	return ok && err == nil && n <= len(items) && e.set(slices.Clone(items[:n]))
}

func lastItems(e *edit, values []string) bool {
	items, ok := e.value().([]any)
	n, err := strconv.Atoi(values[0])
	return ok && err == nil && n <= len(items) && e.set(slices.Clone(items[:len(items)-n]))
}

func distinctItems(e *edit, _ []string) bool {
	items, ok := e.value().([]any)
	if !ok {
		return false
	}
	seen := map[string]bool{}
	var kept []any
	for _, item := range items {
		if text := encoded(item, ""); !seen[text] {
			seen[text] = true
			kept = append(kept, item)
		}
	}
	return e.set(kept)
}

func moreProperties(e *edit, values []string) bool {
	object, ok := e.value().(map[string]any)
	n, err := strconv.Atoi(values[0])
	if !ok || err != nil || n > maxDemands {
		return false
	}
	with := map[string]any{}
	maps.Copy(with, object)
	for i := 1; len(with) < n; i++ {
		name := "more" + strconv.Itoa(i)
		if _, taken := with[name]; !taken {
			with[name] = schemagen.Words(0, schemagen.Unbounded, e.r)
		}
	}
	return e.set(with)
}

func fewerProperties(e *edit, values []string) bool {
	object, ok := e.value().(map[string]any)
	n, err := strconv.Atoi(values[0])
	if !ok || err != nil || n > len(object) {
		return false
	}
	with := map[string]any{}
	for _, name := range slices.Sorted(maps.Keys(object))[:n] {
		with[name] = object[name]
	}
	return e.set(with)
}

// schemaFuel bounds the work on the schemas in one complaint, in visits of their parts.
const schemaFuel = 100_000

// addFitting adds items that fit a schema.
func (e *edit) addFitting(digits, schema string) bool {
	items, ok := e.value().([]any)
	n, counted := count(digits)
	s, err := schemagen.Compile([]byte(schema))
	if !ok || !counted || err != nil {
		return false
	}
	items = slices.Clone(items)
	for range min(n, maxDemands) {
		v, ok := s.Try(e.r, &e.fuel)
		if !ok {
			return false
		}
		items = append(items, v)
	}
	return e.set(items)
}

func removeFitting(e *edit, values []string) bool {
	items, ok := e.value().([]any)
	s, err := schemagen.Compile([]byte(values[1]))
	n, counted := count(values[0])
	if !ok || err != nil || !counted {
		return false
	}
	var kept []any
	for _, item := range items {
		if n > 0 && s.Holds(item, &e.fuel) {
			n--
			continue
		}
		kept = append(kept, item)
	}
	return e.set(kept)
}

// others are values to try where a schema must not be fitted, those of the same type
// first.
func (e *edit) others() []any {
	var like []any
	switch v := e.value().(type) {
	case string:
		like = []any{schemagen.Words(0, schemagen.Unbounded, e.r), "", v + " amber"}
	case json.Number:
		like = []any{json.Number(strconv.Itoa(1 + e.r.IntN(1000))), json.Number("0"), json.Number("-1"), json.Number("0.5")}
	case bool:
		like = []any{!v}
	case []any:
		like = []any{[]any{}}
	case map[string]any:
		like = []any{map[string]any{}}
	}
	return append(like, schemagen.Words(0, schemagen.Unbounded, e.r), json.Number("1"), true, nil, []any{}, map[string]any{})
}

func unlike(e *edit, values []string) bool {
	s, err := schemagen.Compile([]byte(values[0]))
	if err != nil {
		return false
	}
	for _, v := range e.others() {
		if !s.Holds(v, &e.fuel) {
			return e.set(v)
		}
	}
	return false
}

// justOne invents values for each of the schemas until one fits no other.
func justOne(e *edit, values []string) bool {
	var schemas []*schemagen.Schema
	for _, text := range strings.Split(values[0], "; or ") {
		s, err := schemagen.Compile([]byte(text))
		if err != nil {
			return false
		}
		schemas = append(schemas, s)
	}
	alone := func(v any) bool {
		fitting := 0
		for _, s := range schemas {
			if s.Holds(v, &e.fuel) {
				fitting++
			}
		}
		return fitting == 1
	}
	for _, v := range e.others() {
		if alone(v) {
			return e.set(v)
		}
	}
	for range 10 {
		for _, s := range schemas {
			if v, ok := s.Try(e.r, &e.fuel); ok && alone(v) {
				return e.set(v)
			}
		}
	}
	return false
}

// comparison is an expression that compares one place of the answer, or its size,
// with a value.
var comparison = regexp.MustCompile(`^(?:(size)\()?answer((?:\.\w+|\[\d+\])+)\)? (==|!=|>=?|<=?) (.+)$`)

// comparisons are the bounds that an expression writes as operators.
var comparisons = map[string]phrase.Bound{">": phrase.MoreThan, ">=": phrase.AtLeast, "<": phrase.LessThan, "<=": phrase.AtMost}

// compare makes a comparison true. It does not read other expressions.
func compare(e *edit, values []string) bool {
	m := comparison.FindStringSubmatch(values[0])
	if m == nil {
		return false
	}
	size, path, sign := m[1] != "", m[2], m[3]
	e.point.path = strings.FieldsFunc(path, func(r rune) bool { return strings.ContainsRune(".[]", r) })
	want, ok := decoded(m[4])
	if !ok {
		return false
	}
	if sign == "==" && !size {
		return e.set(want)
	}
	n, isNumber := want.(json.Number)
	if !isNumber {
		return false
	}
	var b bounds
	if bound, ok := comparisons[sign]; ok {
		b = boundsOf(bound.Of(string(n)))
	}
	if !size {
		at, ok := e.value().(json.Number)
		if ok {
			at, ok = b.nearest(at)
		}
		return ok && e.set(at)
	}
	items, ok := e.value().([]any)
	if !ok {
		return false
	}
	wanted, ok := b.nearest(json.Number(strconv.Itoa(len(items))))
	k, whole := count(string(wanted))
	switch {
	case !ok || !whole:
		return false
	case k < len(items):
		return e.set(slices.Clone(items[:k]))
	}
	return e.grow(k-len(items), "")
}

// bounds is the range of a number in a complaint.
type bounds struct {
	lo, hi, step *big.Rat // nil: none
	above, below bool     // the bound itself is excluded
}

func boundsOf(text string) bounds {
	var b bounds
	if _, integer := phrase.Integer.Read(text); integer || strings.Contains(text, phrase.WholeNumber) {
		b.step = big.NewRat(1, 1)
	}
	for _, bound := range phrase.Bounds {
		digits, _ := bound.Find(text)
		n, ok := rational(digits)
		if !ok {
			continue
		}
		switch bound {
		case phrase.AtLeast, phrase.MoreThan:
			b.lo, b.above = n, bound == phrase.MoreThan
		case phrase.AtMost, phrase.LessThan:
			b.hi, b.below = n, bound == phrase.LessThan
		default:
			b.step = n
		}
	}
	return b
}

// rational reads a number of a reasonable length, since 1e999999999 would take gigabytes.
func rational(digits string) (*big.Rat, bool) {
	if f, err := strconv.ParseFloat(strings.TrimRight(digits, "."), 64); err != nil || len(digits) > 60 || f != 0 && (f > 1e60 || f < -1e60 || f < 1e-60 && f > -1e-60) {
		return nil, false
	}
	return new(big.Rat).SetString(strings.TrimRight(digits, "."))
}

// nearest returns the number within the bounds that is nearest to n, or near.
func (b bounds) nearest(given json.Number) (json.Number, bool) {
	n, ok := rational(string(given))
	if !ok {
		n = new(big.Rat)
	}
	one := b.step
	if one == nil || one.Sign() <= 0 {
		one = big.NewRat(1, 1)
	}
	if b.lo != nil && (n.Cmp(b.lo) < 0 || b.above && n.Cmp(b.lo) == 0) {
		if n = b.lo; b.above {
			n = stepInside(n, new(big.Rat).Add(n, one), b.hi)
		}
	}
	if b.hi != nil && (n.Cmp(b.hi) > 0 || b.below && n.Cmp(b.hi) == 0) {
		if n = b.hi; b.below {
			n = stepInside(n, new(big.Rat).Sub(n, one), b.lo)
		}
	}
	if b.step != nil && b.step.Sign() > 0 {
		times := floor(new(big.Rat).Quo(n, b.step))
		low := new(big.Rat).Mul(new(big.Rat).SetInt(times), b.step)
		if low.Cmp(n) < 0 && b.lo != nil && low.Cmp(b.lo) < 0 {
			low.Add(low, b.step)
		}
		n = low
	}
	decimals, exact := n.FloatPrec()
	return json.Number(n.FloatString(decimals)), exact
}

func floor(x *big.Rat) *big.Int { return new(big.Int).Div(x.Num(), x.Denom()) }

// stepInside returns what is one step from a bound, or half way to the other bound if that
// is nearer.
func stepInside(bound, stepped, other *big.Rat) *big.Rat {
	half := new(big.Rat)
	if other != nil {
		half.Quo(half.Add(bound, other), big.NewRat(2, 1))
	}
	distance := func(n *big.Rat) *big.Rat { d := new(big.Rat).Sub(n, bound); return d.Abs(d) }
	if other != nil && distance(half).Cmp(distance(stepped)) < 0 {
		return half
	}
	return stepped
}
