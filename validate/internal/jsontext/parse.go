package jsontext

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"llmcall/internal/phrase"
	"llmcall/internal/say"
)

// maxDepth bounds the nesting of arrays and objects in an answer. It is far more than
// answers need, and keeps a million opening brackets from taking a million stack frames.
// (Go's own decoder allows 10,000, Python's 1,000, Rust's 128, .NET's 64.)
const maxDepth = 500

// maxNumber and maxExponent bound the digits of a number and of its exponent. Beyond them
// a float64 gains nothing, and the exact arithmetic that checks a schema gets slow or runs
// out of memory.
const (
	maxNumber   = 1000
	maxExponent = 3
)

// parser decodes one JSON value (RFC 8259) from text[pos:end], which is valid UTF-8. It is
// stricter than encoding/json where that silently loses something (a duplicate property,
// half a surrogate pair, a number that overflows a float64), and it recognizes the common
// mistakes of models.
type parser struct {
	text     string
	pos, end int
	path     []step  // to the current value
	depth    int     // how many arrays and objects are open
	deepest  int     // the maximum of depth
	values   int     // how many values there are
	repeated []fault // duplicate properties, up to say.MaxListed
	repeats  int     // how many there are in all
	fault    fault   // why there is no value
}

// step is one token of a JSON pointer: a property's name, or, with index 0 or
// more, the number of an item.
type step struct {
	key   string
	index int
}

type fault struct {
	at         int // offset in the text
	pointer    string
	problem    string
	suggestion string
	cut        bool // the text ends where more must follow
}

const (
	notUTF8   = "the text is not valid UTF-8 here"
	endsEarly = "the JSON ends before it is complete"
)

var (
	utf8Suggestion   = phrase.UTF8.Of()
	aloneSuggestion  = phrase.JSONAlone.Of()
	wholeSuggestion  = phrase.WholeJSON.Of()
	numberSuggestion = phrase.NumberOrNull.Of()
	quoteSuggestion  = phrase.QuotedNames.Of()
	trueSuggestion   = phrase.Literal.Of("true")
	falseSuggestion  = phrase.Literal.Of("false")
	nullSuggestion   = phrase.Literal.Of("null")
)

// in returns the fault with its place in the text.
func (f fault) in(text string) Fault {
	line, column := Position(text, f.at)
	return Fault{Problem: f.problem, Pointer: f.pointer, Line: line, Column: column, Suggestion: f.suggestion}
}

// document reads a value with nothing after it.
func (p *parser) document() (any, bool) {
	p.space()
	if p.done() {
		return nil, p.fail(p.pos, "the text is empty: there is no JSON in it", phrase.OneJSON.Of())
	}
	if !p.begins() {
		return nil, false
	}
	v, ok := p.value()
	if !ok {
		return nil, false
	}
	if p.space(); p.done() {
		return v, true
	}
	switch rest := p.text[p.pos:p.end]; {
	case rest[0] == '{' || rest[0] == '[' || rest[0] == ',' && anotherValue.MatchString(rest):
		return nil, p.fail(p.pos, "there is more than one JSON value", phrase.SingleValue.Of())
	case rest[0] == '}' || rest[0] == ']':
		return nil, p.fail(p.pos, fmt.Sprintf("there is a %q too many after the JSON value", rest[:1]), phrase.CloseOnce.Of())
	case p.aside():
		return nil, false
	default:
		return nil, p.fail(p.pos, fmt.Sprintf("there is text after the JSON value: %q", say.FirstLine(rest, 40)), aloneSuggestion)
	}
}

// anotherValue matches a comma with an object, an array or a string after it.
var anotherValue = regexp.MustCompile(`^,[ \t\r\n]*[{\["]`)

// listItem matches the beginning of a list in prose or Markdown.
var listItem = regexp.MustCompile(`^(?:-|[0-9]+[.)])\s`)

// begins distinguishes prose from JSON at the start of the text, where the whole answer is
// wrong and not one value of it.
func (p *parser) begins() bool {
	rest := p.text[p.pos:p.end]
	c := rest[0]
	switch {
	case strings.IndexByte(`{["-0123456789`, c) >= 0 && !listItem.MatchString(rest):
		return true
	case literalBegins(rest) || borrowed[rest] != "":
		return true
	case strings.HasPrefix(rest, "//") || strings.HasPrefix(rest, "/*"):
		return !p.aside()
	case c == '\'' && len(rest) > 1 && strings.HasSuffix(rest, "'"):
		return true
	}
	if at := strings.IndexAny(rest, "{["); at >= 0 {
		return p.fail(p.pos, fmt.Sprintf("there is text before the JSON: %q", say.FirstLine(rest[:at], 40)), aloneSuggestion)
	}
	return p.fail(p.pos, fmt.Sprintf("the text is not JSON: %q", say.FirstLine(rest, 40)), aloneSuggestion)
}

func (p *parser) value() (any, bool) {
	p.values++
	if p.done() {
		return nil, p.cut(p.pos, "a value is missing")
	}
	switch c := p.text[p.pos]; {
	case c == '{':
		return p.object()
	case c == '[':
		return p.array()
	case c == '"':
		return p.str()
	case c == '-' || '0' <= c && c <= '9':
		return p.number()
	}
	return p.literal()
}

func (p *parser) object() (any, bool) {
	open := p.pos
	if !p.enter() {
		return nil, false
	}
	m := map[string]any{}
	p.space()
	if p.is('}') {
		return m, p.leave()
	}
	for {
		if p.done() {
			return nil, p.unclosed(open, "object")
		}
		at := p.pos
		if !p.is('"') {
			return nil, p.badName()
		}
		key, ok := p.str()
		if !ok {
			return nil, false
		}
		if !p.colon(open, key) {
			return nil, false
		}
		p.path = append(p.path, step{key: key, index: -1})
		v, ok := p.value()
		if !ok {
			return nil, false
		}
		if _, again := m[key]; again {
			p.again(at, key)
		}
		m[key] = v
		p.path = p.path[:len(p.path)-1]
		more, ok := p.next(open, "object", '}')
		if !ok {
			return nil, false
		}
		if !more {
			return m, p.leave()
		}
	}
}

// colon reads the colon between a property's name and its value.
func (p *parser) colon(open int, key string) bool {
	switch p.space(); {
	case p.done():
		return p.unclosed(open, "object")
	case p.is(':'):
		p.pos++
		p.space()
		return true
	case p.aside():
		return false
	}
	return p.fail(p.pos, fmt.Sprintf("a colon must follow the property name %q, and %s does", say.Short(key, 60), p.here()), phrase.ColonBetween.Of())
}

// again records that the property at the end of the path is a duplicate.
func (p *parser) again(at int, key string) {
	if p.repeats++; p.repeats > say.MaxListed {
		return
	}
	p.repeated = append(p.repeated, repeats(at, pointerTo(p.path), key))
}

func repeats(at int, pointer, key string) fault {
	return fault{
		at: at, pointer: pointer,
		problem:    fmt.Sprintf("the property %q is there more than once", say.Short(key, 60)),
		suggestion: phrase.EachOnce.Of(),
	}
}

func (p *parser) array() (any, bool) {
	open := p.pos
	if !p.enter() {
		return nil, false
	}
	list := []any{}
	p.space()
	if p.is(']') {
		return list, p.leave()
	}
	for {
		if p.done() {
			return nil, p.unclosed(open, "array")
		}
		p.path = append(p.path, step{index: len(list)})
		v, ok := p.value()
		if !ok {
			return nil, false
		}
		list = append(list, v)
		p.path = p.path[:len(p.path)-1]
		more, ok := p.next(open, "array", ']')
		if !ok {
			return nil, false
		}
		if !more {
			return list, p.leave()
		}
	}
}

// enter steps into the object or array whose opening bracket is here.
func (p *parser) enter() bool {
	if p.depth == maxDepth {
		return p.fail(p.pos, fmt.Sprintf("arrays and objects are nested more than %d deep", maxDepth), "nest them less deep")
	}
	p.depth++
	p.deepest = max(p.deepest, p.depth)
	p.pos++
	return true
}

// leave steps out of it, over its closing bracket.
func (p *parser) leave() bool {
	p.depth--
	p.pos++
	return true
}

// next reads what follows a value inside an object or array: a comma with more after it,
// or the closing bracket, which it leaves.
func (p *parser) next(open int, what string, closing byte) (more, ok bool) {
	p.space()
	switch {
	case p.done():
		return false, p.unclosed(open, what)
	case p.is(closing):
		return false, true
	case p.is(','):
		comma := p.pos
		p.pos++
		if p.space(); p.is('}') || p.is(']') {
			return false, p.fail(comma, fmt.Sprintf("there is a comma before the closing %q", p.text[p.pos:p.pos+1]), phrase.NoComma.Of())
		}
		return true, true
	case p.is('}') || p.is(']'):
		return false, p.fail(p.pos, fmt.Sprintf("%q closes an %s that needs %q", p.text[p.pos:p.pos+1], what, string(closing)), "close each object with } and each array with ]")
	case p.aside():
		return false, false
	}
	suggestion := phrase.CommaBetween.Of()
	if last := strings.TrimRight(p.text[open:p.pos], " \t\r\n"); strings.HasSuffix(last, `"`) && !p.is('"') {
		suggestion = phrase.Together([]string{suggestion, phrase.EscapedQuote.Of()})
	}
	return false, p.fail(p.pos, fmt.Sprintf("a comma or %q must follow a value, and %s does", string(closing), p.here()), suggestion)
}

// badName is the fault of an object without a property's name where one must begin.
func (p *parser) badName() bool {
	switch c := p.text[p.pos]; {
	case p.aside() || p.quotes():
	case c == ',':
		p.fail(p.pos, "there is a comma with nothing before it", phrase.OneComma.Of())
	case word(p.text[p.pos:p.end]) != "":
		p.fail(p.pos, fmt.Sprintf("a property name has no quotes: %s", p.here()), quoteSuggestion)
	default:
		p.fail(p.pos, fmt.Sprintf("expected a property name in double quotes, got %s", p.here()), quoteSuggestion)
	}
	return false
}

// borrowed are the literals of other languages, with what to write instead.
var borrowed = map[string]string{
	"True": trueSuggestion, "TRUE": trueSuggestion, "False": falseSuggestion, "FALSE": falseSuggestion,
	"None": nullSuggestion, "Null": nullSuggestion, "NULL": nullSuggestion, "nil": nullSuggestion, "undefined": nullSuggestion,
	"NaN": numberSuggestion, "Infinity": numberSuggestion, "inf": numberSuggestion, "Inf": numberSuggestion,
}

// literal reads true, false or null. Anything that can't begin a JSON value ends up here
// too.
func (p *parser) literal() (any, bool) {
	w := word(p.text[p.pos:p.end])
	at := p.pos
	p.pos += len(w)
	switch w {
	case "true":
		return true, true
	case "false":
		return false, true
	case "null":
		return nil, true
	case "":
		if p.aside() || p.quotes() {
			return nil, false
		}
		if c := p.text[at]; c == '}' || c == ']' || c == ',' || c == ':' {
			return nil, p.fail(at, fmt.Sprintf("a value is missing before %q", p.text[at:at+1]), phrase.ValueThere.Of())
		}
		if c := p.text[at]; c == '+' || c == '.' {
			return nil, p.fail(at, fmt.Sprintf("a JSON number does not begin with %q", p.text[at:at+1]), "begin a number with a digit or with a minus sign")
		}
	default:
		if suggestion := borrowed[w]; suggestion != "" {
			return nil, p.fail(at, w+" is not JSON", suggestion)
		}
		if p.done() && literalBegins(w) {
			return nil, p.cut(at, "a value is cut off: "+w)
		}
	}
	p.pos = at
	return nil, p.fail(at, fmt.Sprintf("expected a value, got %s", p.here()), quoteSuggestion)
}

// literalBegins reports whether one of JSON's literals begins with s, which is
// not empty, or is it.
func literalBegins(s string) bool {
	return strings.HasPrefix("true", s) || strings.HasPrefix("false", s) || strings.HasPrefix("null", s)
}

// number reads a number, keeping its digits.
func (p *parser) number() (any, bool) {
	at := p.pos
	if p.is('-') {
		p.pos++
		if w := word(p.text[p.pos:p.end]); w != "" {
			return nil, p.fail(at, "-"+say.Short(w, 60)+" is not JSON", numberSuggestion)
		}
	}
	whole := p.digits()
	if p.done() && whole == 0 {
		return nil, p.cut(at, "a number is cut off")
	}
	if whole > 1 && strings.TrimPrefix(p.text[at:p.pos], "-")[0] == '0' {
		return nil, p.fail(at, fmt.Sprintf("the number %s begins with 0", say.Short(p.text[at:p.pos], 60)), phrase.NoLeadingZeros.Of())
	}
	ok := whole > 0
	if ok && p.is('.') {
		p.pos++
		ok = p.digits() > 0
	}
	if ok && (p.is('e') || p.is('E')) {
		p.pos++
		if p.is('+') || p.is('-') {
			p.pos++
		}
		ok = p.digits() > 0
	}
	if !ok {
		if p.done() {
			return nil, p.cut(at, "a number is cut off")
		}
		return nil, p.fail(at, fmt.Sprintf("a digit is missing in the number %q", say.Short(p.text[at:p.pos], 60)), "write digits on both sides of the point, and after e")
	}
	n := p.text[at:p.pos]
	if !holds(n) {
		p.fault = outOfRange(at, pointerTo(p.path), n)
		return nil, false
	}
	return json.Number(n), true
}

func outOfRange(at int, pointer, number string) fault {
	return fault{
		at: at, pointer: pointer,
		problem:    fmt.Sprintf("the number %s is out of range", say.Short(number, 60)),
		suggestion: "use a number that a 64-bit floating-point number can hold, or a string",
	}
}

// holds reports whether a number does not overflow a float64, and has a reasonable
// length.
func holds(n string) bool {
	if len(n) > maxNumber {
		return false
	}
	if e := strings.IndexAny(n, "eE"); e >= 0 && len(strings.TrimLeft(n[e:], "eE+-")) > maxExponent {
		return false
	}
	_, err := strconv.ParseFloat(n, 64)
	return err == nil
}

func (p *parser) digits() int {
	at := p.pos
	for !p.done() && '0' <= p.text[p.pos] && p.text[p.pos] <= '9' {
		p.pos++
	}
	return p.pos - at
}

// str reads a string, without copying it if it has no escapes.
func (p *parser) str() (string, bool) {
	open := p.pos
	var b strings.Builder
	from := open + 1 // the beginning of what is not in b yet
	for p.pos = from; !p.done(); {
		switch c := p.text[p.pos]; {
		case c == '"':
			s := p.text[from:p.pos]
			p.pos++
			if b.Len() > 0 {
				b.WriteString(s)
				s = b.String()
			}
			return s, true
		case c == '\\':
			b.WriteString(p.text[from:p.pos])
			r, ok := p.escape(open)
			if !ok {
				return "", false
			}
			b.WriteRune(r)
			from = p.pos
		case c == '\n' || c == '\r':
			return "", p.fail(p.pos, "a string goes over the end of the line", phrase.LineBreak.Of())
		case c == '\t':
			return "", p.fail(p.pos, "there is a tab inside a string", phrase.Tab.Of())
		case c < 0x20:
			return "", p.fail(p.pos, "there is a control character inside a string", phrase.LeaveOrEscape.Of(fmt.Sprintf(`\u%04x`, c)))
		default:
			p.pos++
		}
	}
	return "", p.cut(open, "a string is not closed")
}

// escape reads what begins with a backslash.
func (p *parser) escape(open int) (rune, bool) {
	at := p.pos
	p.pos += 2
	if p.pos > p.end {
		return 0, p.cut(open, "a string is not closed")
	}
	switch c := p.text[at+1]; c {
	case '"', '\\', '/':
		return rune(c), true
	case 'b':
		return '\b', true
	case 'f':
		return '\f', true
	case 'n':
		return '\n', true
	case 'r':
		return '\r', true
	case 't':
		return '\t', true
	case 'u':
		high, ok := p.hex(open, at)
		if !ok || !utf16.IsSurrogate(high) {
			return high, ok
		}
		switch rest := p.text[p.pos:p.end]; {
		case high < 0xDC00 && (rest == "" || rest == `\`):
			return 0, p.cut(open, "a string is not closed")
		case high < 0xDC00 && strings.HasPrefix(rest, `\u`):
			p.pos += 2
			low, ok := p.hex(open, at)
			if !ok {
				return 0, false
			}
			if r := utf16.DecodeRune(high, low); r != unicode.ReplacementChar {
				return r, true
			}
		}
		return 0, p.fail(at, fmt.Sprintf("%s is half of a character", p.text[at:at+6]), `write the character itself, or both \u of its surrogate pair`)
	}
	_, size := utf8.DecodeRuneInString(p.text[at+1 : p.end])
	return 0, p.fail(at, fmt.Sprintf("%s is not a JSON escape", p.text[at:at+1+size]), `write a backslash as \\, and a single quote without one`)
}

// hex reads the four hexadecimal digits of the escape at at.
func (p *parser) hex(open, at int) (rune, bool) {
	digits := p.text[p.pos:min(p.pos+4, p.end)]
	n, err := strconv.ParseUint(digits, 16, 16)
	if err != nil && digits != "" {
		return 0, p.fail(at, `four hexadecimal digits must follow \u`, `write a backslash as \\`)
	}
	if len(digits) < 4 {
		return 0, p.cut(open, "a string is not closed")
	}
	p.pos += 4
	return rune(n), true
}

// space steps over JSON's white space.
func (p *parser) space() {
	for p.pos < p.end {
		switch p.text[p.pos] {
		case ' ', '\t', '\n', '\r':
			p.pos++
		default:
			return
		}
	}
}

func (p *parser) done() bool     { return p.pos >= p.end }
func (p *parser) is(c byte) bool { return p.pos < p.end && p.text[p.pos] == c }

// here describes what is at the current position.
func (p *parser) here() string { return strconv.Quote(say.FirstLine(p.text[p.pos:p.end], 40)) }

// aside records the fault of something that models put between the parts of JSON: a
// comment, an ellipsis, an escaped quote, a special space.
func (p *parser) aside() bool {
	rest := p.text[p.pos:p.end] // not empty
	switch {
	case strings.HasPrefix(rest, "//") || strings.HasPrefix(rest, "/*") || strings.HasPrefix(rest, "#"):
		p.fail(p.pos, "there is a comment", phrase.NoComments.Of())
	case strings.HasPrefix(rest, "...") || strings.HasPrefix(rest, "…"):
		p.fail(p.pos, "there are three dots instead of what is left out", phrase.AllOfIt.Of())
	case rest[:1] == `\`:
		p.fail(p.pos, "there is a backslash outside of a string", "write the JSON as it is, without escaping it once more")
	default:
		r, _ := utf8.DecodeRuneInString(rest)
		if r < utf8.RuneSelf || !Blank(r) && !unicode.Is(unicode.Cf, r) {
			return false
		}
		p.fail(p.pos, fmt.Sprintf("there is the character %U, which is not white space in JSON", r), "use plain spaces and line breaks, or leave it out")
	}
	return true
}

// quotes records the fault of a quotation mark that is not JSON's.
func (p *parser) quotes() bool {
	r, _ := utf8.DecodeRuneInString(p.text[p.pos:p.end])
	switch {
	case r == '\'':
		p.fail(p.pos, "there are single quotes around a name or a string", phrase.DoubleQuotes.Of())
	case r == '`' || unicode.In(r, unicode.Pi, unicode.Pf):
		p.fail(p.pos, fmt.Sprintf("%c is not a quotation mark of JSON", r), phrase.StraightQuotes.Of())
	default:
		return false
	}
	return true
}

// unclosed is the fault of an object or array without an end.
func (p *parser) unclosed(open int, what string) bool {
	line, _ := Position(p.text, open)
	return p.cut(p.pos, fmt.Sprintf("the %s begun on line %d is not closed", what, line))
}

// cut is the fault of a text that ends before its JSON does.
func (p *parser) cut(at int, how string) bool {
	p.fail(at, endsEarly+": "+how, wholeSuggestion)
	p.fault.cut = true
	return false
}

// fail records why there is no value, and returns false.
func (p *parser) fail(at int, problem, suggestion string) bool {
	p.fault = fault{at: at, pointer: pointerTo(p.path), problem: problem, suggestion: suggestion}
	return false
}

// word returns the letters, digits and underscores at the beginning of the text, unless
// the first is a digit.
func word(s string) string {
	for i, r := range s {
		if r != '_' && r != '$' && !unicode.IsLetter(r) && (i == 0 || !unicode.IsDigit(r)) {
			return s[:i]
		}
	}
	return s
}

// Position returns the line and column (in code points) of an offset, both
// from 1.
func Position(text string, at int) (line, column int) {
	before := text[:at]
	return strings.Count(before, "\n") + 1, utf8.RuneCountInString(before[strings.LastIndexByte(before, '\n')+1:]) + 1
}

// pointerTo returns a path as a JSON pointer.
func pointerTo(path []step) string {
	tokens := make([]string, len(path))
	for i, s := range path {
		tokens[i] = s.key
		if s.index >= 0 {
			tokens[i] = strconv.Itoa(s.index)
		}
	}
	return say.ShortPointer(tokens)
}
