package typeschema

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"llmcall/internal/phrase"
	"llmcall/internal/say"
)

// Fault is a place in an answer that can't be decoded, in words for the model.
type Fault struct {
	Pointer    string // a JSON pointer (RFC 6901)
	Problem    string
	Suggestion string
}

// Faults is the error of [Decode].
type Faults []Fault

func (f Faults) Error() string {
	texts := make([]string, len(f))
	for i, one := range f {
		texts[i] = one.Problem
		if one.Pointer != "" {
			texts[i] = "at " + one.Pointer + ": " + one.Problem
		}
	}
	return strings.Join(texts, "\n")
}

// below returns the faults of a part for the whole that it is in.
func (f Faults) below(place []string) Faults {
	all := slices.Clone(f)
	for i := range all {
		all[i].Pointer = say.Pointer(place...) + all[i].Pointer
	}
	return all
}

// Decode decodes JSON into what a pointer points to, as [json.Unmarshal] does. It also
// takes whole numbers with a fraction or an exponent for integers (3.0, 1e3), as JSON
// Schema does, ISO 8601 and Go's own text for a [time.Duration], and text for a
// [url.URL]. The error is [Faults], and names each place that can't be decoded.
func Decode(text []byte, to any) error {
	if t := reflect.TypeOf(to).Elem(); havingUnions.in(t) {
		// Before encoding/json calls the decoder of each union within another: where the
		// innermost fails, each of them would look again for what is wrong.
		f := &fitter{}
		if f.fit(t, text, nil); len(f.faults) > 0 {
			return f.faults
		}
	}
	return decodePart(text, to)
}

// decodePart is [Decode] for what is in a union. It looks into the unions within only if
// something is wrong: their decoders do.
func decodePart(text []byte, to any) error {
	t := reflect.TypeOf(to).Elem()
	fit := text
	if havingTexts.in(t) {
		f := &fitter{shallow: true}
		fit = f.fit(t, text, nil)
	}
	if json.Unmarshal(fit, to) == nil {
		return nil
	}
	f := &fitter{}
	fit = f.fit(t, text, nil)
	if len(f.faults) > 0 {
		return f.faults
	}
	if err := json.Unmarshal(fit, to); err != nil {
		return Faults{faultOf(err, nil)}
	}
	return nil
}

// having remembers of types whether they or types in them are of a kind.
type having struct {
	is    func(reflect.Type) bool
	known sync.Map
}

var (
	// havingTexts is of those whose values are text in an answer, and not to encoding/json.
	havingTexts  = having{is: func(t reflect.Type) bool { return t == durationType || t == urlType }}
	havingUnions = having{is: func(t reflect.Type) bool { return typesOf(t) != nil }}
)

func (h *having) in(t reflect.Type) bool {
	if known, ok := h.known.Load(t); ok {
		return known.(bool)
	}
	has := Holds(t, h.is)
	h.known.Store(t, has)
	return has
}

// Holds reports whether something is true of a type, or of a type in it that encoding/json
// decodes there. Pointers are followed.
func Holds(t reflect.Type, is func(reflect.Type) bool) bool {
	return holds(t, is, map[reflect.Type]bool{})
}

func holds(t reflect.Type, is func(reflect.Type) bool, seen map[reflect.Type]bool) bool {
	if seen[t] {
		return false
	}
	seen[t] = true
	kind := t.Kind()
	switch {
	case kind == reflect.Pointer:
		return holds(t.Elem(), is, seen)
	case is(t):
		return true
	case DecodesItself(t):
		return false
	case kind == reflect.Slice, kind == reflect.Array, kind == reflect.Map:
		return holds(t.Elem(), is, seen)
	case kind == reflect.Struct:
		return slices.ContainsFunc(Fields(t), func(f Field) bool { return holds(f.Type, is, seen) })
	}
	return false
}

// fitter rewrites the JSON of an answer for encoding/json.
type fitter struct {
	faults  Faults
	shallow bool // it leaves out what is in a union
}

func (f *fitter) wrong(want string, text []byte, place []string) []byte {
	f.faults = append(f.faults, mismatch(want, text, place))
	return text
}

// mismatch is the fault of a value that is not what it must be.
func mismatch(want string, text []byte, place []string) Fault {
	return Fault{Pointer: say.Pointer(place...), Problem: "expected " + want + ", got " + shown(text)}
}

// shown is a JSON value in a message.
func shown(text []byte) string {
	switch typeOf(text) {
	case "object":
		return phrase.Object
	case "array":
		return phrase.Array
	case "string":
		return "the string " + say.Short(string(text), 60)
	case "integer", "number":
		return "the number " + say.Short(string(text), 60)
	}
	return string(text)
}

// fit returns the JSON that encoding/json decodes into a type for that of the answer.
func (f *fitter) fit(t reflect.Type, text []byte, place []string) []byte {
	text = bytes.TrimSpace(text)
	is := typeOf(text)
	for t.Kind() == reflect.Pointer {
		if is == "null" {
			return text
		}
		t = t.Elem()
	}
	kind := t.Kind()
	switch {
	case t == rawType, kind == reflect.Interface:
		return text
	case DecodesItself(t):
		return f.ownDecoder(t, text, place)
	case is == "null": // encoding/json leaves the zero value
		return text
	case t == durationType:
		return f.duration(text, place)
	case t == urlType:
		return f.url(text, place)
	case kind == reflect.Struct:
		return f.object(text, place, func(name string, value []byte) ([]byte, bool) { return f.field(t, name, value, place) })
	case kind == reflect.Map:
		return f.object(text, place, func(name string, value []byte) ([]byte, bool) {
			f.key(t, name, place)
			return f.fit(t.Elem(), value, append(place, name)), true
		})
	case isBytes(t) && is == "string":
		var encoded string
		if err := json.Unmarshal(text, &encoded); err != nil {
			return f.wrong(phrase.String, text, place)
		}
		if _, err := base64.StdEncoding.DecodeString(encoded); err != nil {
			return f.wrong("bytes in base64", text, place)
		}
		return text
	case kind == reflect.Slice, kind == reflect.Array:
		return f.array(t, text, place)
	case isInteger(kind):
		return f.integer(t, text, place)
	case t == numberType:
		if json.Unmarshal(text, new(json.Number)) != nil {
			return f.wrong(phrase.Number, text, place)
		}
	case kind == reflect.String && is != "string":
		return f.wrong(phrase.String, text, place)
	case kind == reflect.Bool && is != "boolean":
		return f.wrong(phrase.Boolean, text, place)
	case kind == reflect.Float32, kind == reflect.Float64:
		if _, err := strconv.ParseFloat(string(text), t.Bits()); err != nil {
			return f.wrong(wordsOf(t), text, place)
		}
	}
	return text
}

func (f *fitter) object(text []byte, place []string, member func(name string, value []byte) ([]byte, bool)) []byte {
	var all map[string]json.RawMessage
	if json.Unmarshal(text, &all) != nil {
		return f.wrong(phrase.Object, text, place)
	}
	names := make([]string, 0, len(all))
	for name := range all {
		names = append(names, name)
	}
	slices.Sort(names) // the faults are in one order
	out := []byte{'{'}
	for _, name := range names {
		value, kept := member(name, all[name])
		if !kept {
			continue
		}
		if len(out) > 1 {
			out = append(out, ',')
		}
		quotedName, _ := json.Marshal(name)
		out = append(append(append(out, quotedName...), ':'), value...)
	}
	return append(out, '}')
}

// field fits a property of a struct. It is false for null where the property may be left
// out, which some types with an UnmarshalJSON of their own refuse.
func (f *fitter) field(t reflect.Type, name string, value []byte, place []string) ([]byte, bool) {
	field, found := FieldNamed(t, name)
	if !found {
		fields := Fields(t)
		i := slices.IndexFunc(fields, func(one Field) bool { return strings.EqualFold(one.Name, name) })
		if i < 0 {
			return value, true
		}
		field = fields[i]
	}
	place = append(place, name)
	switch null := typeOf(bytes.TrimSpace(value)) == "null"; {
	case null && field.Empty:
		return nil, false
	case field.Quoted:
		value = inQuotes(field.Type, value)
		to := reflect.New(reflect.StructOf([]reflect.StructField{{Name: "X", Type: field.Type, Tag: `json:"x,string"`}}))
		if err := json.Unmarshal(slices.Concat([]byte(`{"x":`), value, []byte("}")), to.Interface()); err != nil {
			what, _ := pointedAt(field.Type)
			return f.wrong(wordsOf(what)+" in quotes", value, place), true
		}
		return value, true
	}
	return f.fit(field.Type, value, place), true
}

// inQuotes returns the JSON of a text in quotes of its own, which encoding/json wants where
// a string has the option ",string", and no model writes.
func inQuotes(t reflect.Type, value []byte) []byte {
	var text string
	if to, _ := pointedAt(t); to.Kind() != reflect.String || json.Unmarshal(value, &text) != nil || typeOf(value) != "string" {
		return value
	}
	if json.Unmarshal([]byte(text), new(string)) == nil && strings.HasPrefix(text, `"`) {
		return value // as it is marshalled
	}
	once, _ := json.Marshal(text)
	twice, _ := json.Marshal(string(once))
	return twice
}

// key looks at a key of a map.
func (f *fitter) key(t reflect.Type, name string, place []string) {
	quotedName, _ := json.Marshal(name)
	one := slices.Concat([]byte("{"), quotedName, []byte(":null}"))
	to := reflect.New(reflect.MapOf(t.Key(), reflect.TypeFor[any]()))
	if err := json.Unmarshal(one, to.Interface()); err != nil {
		fault := Fault{Pointer: say.Pointer(append(place, name)...), Problem: fmt.Sprintf("the property name %s must be %s", quotedName, wordsOf(t.Key()))}
		switch {
		case ofTime(err):
			fault.Problem = fmt.Sprintf("the property name %s must be %s", quotedName, aTime)
		case !isInteger(t.Key().Kind()):
			fault.Problem = fmt.Sprintf("the property name %s is not allowed: %s", quotedName, faultOf(err, nil).Problem)
		}
		f.faults = append(f.faults, fault)
	}
}

func (f *fitter) array(t reflect.Type, text []byte, place []string) []byte {
	var all []json.RawMessage
	if json.Unmarshal(text, &all) != nil {
		return f.wrong(phrase.Array, text, place)
	}
	out := []byte{'['}
	for i, item := range all {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(out, f.fit(t.Elem(), item, append(place, strconv.Itoa(i)))...)
	}
	return append(out, ']')
}

// integer writes a whole number without fraction and exponent.
func (f *fitter) integer(t reflect.Type, text []byte, place []string) []byte {
	whole, ok := wholeNumber(text)
	if !ok {
		return f.wrong(wordsOf(t), text, place)
	}
	var err error
	if isSigned(t.Kind()) {
		_, err = strconv.ParseInt(whole, 10, t.Bits())
	} else {
		_, err = strconv.ParseUint(whole, 10, t.Bits())
	}
	if err != nil {
		return f.wrong(wordsOf(t), text, place)
	}
	return []byte(whole)
}

// wholeNumber returns a whole number in digits. One with an exponent of more than three
// digits is refused: it would need megabytes.
func wholeNumber(text []byte) (string, bool) {
	if is := typeOf(text); is != "integer" && is != "number" {
		return "", false
	}
	if i := bytes.IndexAny(text, "eE"); i >= 0 && len(bytes.TrimLeft(text[i+1:], "+-0")) > 3 {
		return "", false
	}
	n, ok := new(big.Rat).SetString(string(text))
	if !ok || !n.IsInt() {
		return "", false
	}
	return n.Num().String(), true
}

// wordsOf says what a number, a text or a truth value of a type is.
func wordsOf(t reflect.Type) string {
	switch kind := t.Kind(); {
	case isInteger(kind) && t != durationType:
		least, most := bounds(t)
		return fmt.Sprintf("an integer from %s to %s", least, most)
	case kind == reflect.Bool:
		return phrase.Boolean
	case kind == reflect.Float32:
		return "a number from -3.4e38 to 3.4e38"
	case kind == reflect.Float64:
		return phrase.Number
	}
	return phrase.String
}

// union looks at what a union holds, which its decoder fits itself. To try that would take
// twice as long for each union within another.
func (f *fitter) union(all []alternative, text []byte, place []string) []byte {
	a, value, at, faults := chosen(all, text)
	if len(faults) > 0 {
		f.faults = append(f.faults, faults.below(place)...)
		return text
	}
	f.fit(a.typ, value, append(place, at...))
	return text
}

// ownDecoder tries a type's own decoder, because its error has no place.
func (f *fitter) ownDecoder(t reflect.Type, text []byte, place []string) []byte {
	if all, err := alternativesOf(t); err == nil && all != nil && typeOf(text) != "null" {
		if f.shallow {
			return text
		}
		return f.union(all, text, place)
	}
	err := json.Unmarshal(text, reflect.New(t).Interface())
	if err == nil {
		return text
	}
	if whole, ok := wholeNumber(text); ok && json.Unmarshal([]byte(whole), reflect.New(t).Interface()) == nil {
		return []byte(whole)
	}
	if faults, ok := errors.AsType[Faults](err); ok {
		f.faults = append(f.faults, faults.below(place)...)
		return text
	}
	if t == timeType || ofTime(err) {
		return f.wrong(aTime, text, place)
	}
	if wanted := accepted(t); len(wanted) > 0 && speaksOfGo(err) {
		for i, name := range wanted {
			wanted[i] = phrase.TypeNames[name]
		}
		return f.wrong(phrase.Either(wanted), text, place)
	}
	f.faults = append(f.faults, faultOf(err, place))
	return text
}

const aTime = `a date and time with its offset, such as "2026-01-31T09:30:00Z"`

// ofTime reports whether an error is that of a [time.Time], which speaks of Go's layout.
func ofTime(err error) bool {
	e, ok := errors.AsType[*time.ParseError](err)
	return ok && e.Layout == time.RFC3339
}

// speaksOfGo reports whether an error is that of encoding/json, or in its manner.
func speaksOfGo(err error) bool {
	text := err.Error()
	return strings.HasPrefix(text, "json: ") || strings.Contains(text, "cannot unmarshal") || strings.Contains(text, "Unmarshal")
}

// faultOf puts an error of a decoder into words. That of a type's own is left as it is.
func faultOf(err error, place []string) Fault {
	fault := Fault{Pointer: say.Pointer(place...), Problem: err.Error()}
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		fault.Problem = "expected " + nounOf(wrong.Type) + ", got another value: " + wrong.Value
	} else if _, ok := errors.AsType[*json.SyntaxError](err); ok || speaksOfGo(err) {
		fault.Problem = "the value is not in the form that is needed there"
	}
	return fault
}

func nounOf(t reflect.Type) string {
	switch to, _ := pointedAt(t); {
	case to == nil:
		return "another value"
	case to.Kind() == reflect.Struct, to.Kind() == reflect.Map:
		return phrase.Object
	case to.Kind() == reflect.Slice, to.Kind() == reflect.Array:
		return phrase.Array
	default:
		return wordsOf(to)
	}
}

func (f *fitter) url(text []byte, place []string) []byte {
	var s string
	if json.Unmarshal(text, &s) != nil {
		return f.wrong("a URL", text, place)
	}
	u, err := url.Parse(s)
	if err != nil {
		return f.wrong("a URL", text, place)
	}
	if u.User != nil {
		f.faults = append(f.faults, Fault{Pointer: say.Pointer(place...), Problem: "the URL has a user name in it", Suggestion: "leave the user name and the password out"})
		return text
	}
	made, err := json.Marshal(u)
	if err != nil {
		return f.wrong("a URL", text, place)
	}
	return made
}

func (f *fitter) duration(text []byte, place []string) []byte {
	const example = `a duration such as "PT1H30M" (ISO 8601)`
	var s string
	if json.Unmarshal(text, &s) != nil {
		return f.wrong(example, text, place)
	}
	d, err := parseDuration(s)
	if err != nil {
		f.faults = append(f.faults, Fault{Pointer: say.Pointer(place...), Problem: "expected " + example + ", got " + shown(text), Suggestion: err.Error()})
		return text
	}
	return strconv.AppendInt(nil, int64(d), 10)
}

// parseDuration reads a duration of ISO 8601, or as Go writes it. Years and months have
// no fixed length.
func parseDuration(s string) (time.Duration, error) {
	rest := strings.ToUpper(s)
	rest, negative := strings.CutPrefix(rest, "-")
	rest, iso := strings.CutPrefix(rest, "P")
	if !iso {
		if d, err := time.ParseDuration(s); err == nil {
			return d, nil
		}
		return 0, errors.New(`write hours, minutes and seconds after "PT"`)
	}
	total := new(big.Rat)
	units := map[byte]time.Duration{'W': 7 * 24 * time.Hour, 'D': 24 * time.Hour}
	for read := 0; rest != "" || read == 0; read++ {
		if after, ok := strings.CutPrefix(rest, "T"); ok {
			rest, units = after, map[byte]time.Duration{'H': time.Hour, 'M': time.Minute, 'S': time.Second}
		}
		i := strings.IndexFunc(rest, func(r rune) bool { return (r < '0' || r > '9') && r != '.' && r != ',' })
		if i <= 0 {
			return 0, errors.New("write each number with its unit after it")
		}
		unit, known := units[rest[i]]
		if !known {
			return 0, errors.New("use weeks (W), days (D), hours (H), minutes (M) and seconds (S): years and months have no fixed length")
		}
		n, ok := new(big.Rat).SetString(strings.Replace(rest[:i], ",", ".", 1))
		if !ok {
			return 0, errors.New("write each number with its unit after it")
		}
		total.Add(total, n.Mul(n, new(big.Rat).SetInt64(int64(unit))))
		rest = rest[i+1:]
	}
	if negative {
		total.Neg(total)
	}
	nanoseconds := new(big.Int).Quo(total.Num(), total.Denom())
	if !nanoseconds.IsInt64() {
		return 0, errors.New("the longest duration is 290 years")
	}
	return time.Duration(nanoseconds.Int64()), nil
}

// decode decodes JSON with its numbers as they are written.
func decode(text []byte, to any) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	return d.Decode(to)
}
