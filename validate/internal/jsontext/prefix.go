package jsontext

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"llmcall/internal/say"
)

// Prefix reads an answer while it is still arriving. The zero value is ready for the first
// piece. The time for all pieces together is linear in their length.
type Prefix struct {
	// Visitor is called for each part of the value as soon as it is complete. Default nil:
	// none.
	Visitor Visitor

	text  strings.Builder
	body  int    // where the text within a fence begins
	pos   int    // how much of the text has been read
	fault *Fault // why it is not JSON

	state     state
	mark      rune // of the fence that is open; 0 without one
	marks     int  // its length
	closing   int  // the marks of its closing line so far
	lineStart bool // there are only spaces and tabs since the last line break

	open    []container
	root    any
	whole   bool // the value is complete
	from    int  // where the scalar or name being read begins
	buf     []byte
	name    bool   // the string being read is a property's name
	literal string // the literal being read
	digits  int    // how many hexadecimal digits of an escape have been read
	unit    rune   // the unit of UTF-16 that they are
	high    rune   // the first half of a surrogate pair; 0 without one
}

// Visitor is called by a [Prefix] for what it reads, in the order of the answer. name is
// that of the property; it is "" for an array's item and for the whole value.
type Visitor interface {
	Open(name string, object bool) // an object begins or, if object is false, an array
	Close(name, text string)       // the innermost open object or array is complete
	Scalar(name, text string)      // a string, a number, true, false or null is complete
}

// container is an open object or array.
type container struct {
	from   int            // where it begins
	object map[string]any // nil for an array
	list   []any
	key    string // of the property being read
}

// state is what may come next.
type state uint8

const (
	atStart    state = iota // blanks, a fence, the value
	inMarks                 // the marks of the opening fence
	inLabel                 // the rest of its line
	atFirst                 // the first item of an array, or its end
	atItem                  // a value within an array or object
	atFirstKey              // the first name of an object, or its end
	atKey                   // a name
	atColon
	atNext // a comma, or the end of the array or object
	inString
	inEscape
	inHex
	inLow     // the backslash of the second half of a surrogate pair
	inLowMark // its u
	inLiteral
	inMinus
	inZero
	inInteger
	inPoint
	inFraction
	inE
	inSign
	inExponent
	atEnd      // after the value
	inClosing  // the marks of the closing fence
	inRest     // the rest of its line
	afterFence // after the fence
)

// Feed reads the next piece of the answer, which may end anywhere, even within a
// character. A fault means that no text with this beginning is JSON. From then on every
// call returns it.
func (p *Prefix) Feed(piece string) *Fault {
	if p.fault != nil {
		return p.fault
	}
	p.text.WriteString(piece)
	text := p.text.String()
	for p.pos < len(text) {
		if p.state == inString {
			p.plain(text)
			if p.pos == len(text) {
				break
			}
		}
		if text[p.pos] >= utf8.RuneSelf && !utf8.FullRuneInString(text[p.pos:]) {
			break
		}
		r, size := utf8.DecodeRuneInString(text[p.pos:])
		if r == utf8.RuneError && size == 1 || !p.step(r) {
			p.refuse()
			return p.fault
		}
		if p.fault != nil {
			return p.fault
		}
		p.pos += size
		p.lineStart = r == '\n' || p.lineStart && (r == ' ' || r == '\t')
	}
	return nil
}

// plain reads the ordinary characters of a string at once.
func (p *Prefix) plain(text string) {
	from := p.pos
	for p.pos < len(text) && text[p.pos] >= ' ' && text[p.pos] < utf8.RuneSelf && text[p.pos] != '"' && text[p.pos] != '\\' {
		p.pos++
	}
	p.buf = append(p.buf, text[from:p.pos]...)
}

// step reads one character. It returns false if JSON can't have it there.
func (p *Prefix) step(r rune) bool {
	switch p.state {
	case atStart:
		switch {
		case Blank(r):
			return true
		case (r == '`' || r == '~') && p.mark == 0:
			p.mark, p.marks, p.state = r, 1, inMarks
			return true
		}
		return p.begin(r)
	case inMarks:
		if r == p.mark {
			p.marks++
			return true
		}
		p.state = inLabel
		return p.marks >= 3 && p.label(r)
	case inLabel:
		return p.label(r)
	case atFirst:
		if r == ']' {
			return p.close(r)
		}
		return space(r) || p.begin(r)
	case atItem:
		return space(r) || p.begin(r)
	case atFirstKey:
		if r == '}' {
			return p.close(r)
		}
		return space(r) || p.quote(r)
	case atKey:
		return space(r) || p.quote(r)
	case atColon:
		if r == ':' {
			p.state = atItem
			return true
		}
		return space(r)
	case atNext:
		return p.next(r)
	case inString, inEscape, inHex, inLow, inLowMark:
		return p.within(r)
	case inLiteral:
		return p.spell(r)
	case inMinus, inZero, inInteger, inPoint, inFraction, inE, inSign, inExponent:
		return p.number(r)
	case atEnd:
		if p.mark != 0 && r == p.mark && p.lineStart {
			p.state, p.closing = inClosing, 1
			return true
		}
		return Blank(r)
	case inClosing:
		if r == p.mark {
			p.closing++
			return true
		}
		p.state = inRest
		return p.closing >= p.marks && p.rest(r)
	case inRest:
		return p.rest(r)
	case afterFence:
		return Blank(r)
	}
	return false
}

func (p *Prefix) label(r rune) bool {
	if r == '\n' {
		p.state, p.body = atStart, p.pos+1
	}
	return !strings.ContainsRune(`{["`, r)
}

func (p *Prefix) rest(r rune) bool {
	if r == '\n' {
		p.state = afterFence
	}
	return space(r)
}

// space reports whether a character is white space in JSON.
func space(r rune) bool { return r == ' ' || r == '\t' || r == '\n' || r == '\r' }

// begin reads the first character of a value.
func (p *Prefix) begin(r rune) bool {
	p.from = p.pos
	switch {
	case (r == '{' || r == '[') && len(p.open) == maxDepth:
		return false
	case (r == '{' || r == '[') && p.Visitor != nil:
		p.Visitor.Open(p.property(), r == '{')
	}
	switch {
	case r == '{':
		p.open, p.state = append(p.open, container{from: p.pos, object: map[string]any{}}), atFirstKey
	case r == '[':
		p.open, p.state = append(p.open, container{from: p.pos, list: []any{}}), atFirst
	case r == '"':
		p.quote(r)
		p.name = false
	case r == '-':
		p.state = inMinus
	case r == '0':
		p.state = inZero
	case '1' <= r && r <= '9':
		p.state = inInteger
	case r == 't':
		p.literal, p.state = "true", inLiteral
	case r == 'f':
		p.literal, p.state = "false", inLiteral
	case r == 'n':
		p.literal, p.state = "null", inLiteral
	default:
		return false
	}
	return true
}

// quote reads the quote before a property's name.
func (p *Prefix) quote(r rune) bool {
	p.from, p.buf, p.name, p.state = p.pos, p.buf[:0], true, inString
	return r == '"'
}

// property returns the name of the property whose value is being read.
func (p *Prefix) property() string {
	if len(p.open) == 0 {
		return ""
	}
	return p.open[len(p.open)-1].key
}

// scalar takes a complete scalar, which ends before a position.
func (p *Prefix) scalar(value any, before int) bool {
	if p.Visitor != nil {
		p.Visitor.Scalar(p.property(), p.text.String()[p.from:before])
	}
	return p.end(value)
}

// end takes a complete value.
func (p *Prefix) end(value any) bool {
	if len(p.open) == 0 {
		p.root, p.whole, p.state = value, true, atEnd
		return true
	}
	c := &p.open[len(p.open)-1]
	if c.object != nil {
		c.object[c.key] = value
	} else {
		c.list = append(c.list, value)
	}
	p.state = atNext
	return true
}

// next reads what follows a value within an array or object.
func (p *Prefix) next(r rune) bool {
	switch {
	case space(r):
		return true
	case r != ',':
		return p.close(r)
	case p.open[len(p.open)-1].object != nil:
		p.state = atKey
	default:
		p.state = atItem
	}
	return true
}

// close ends the innermost array or object.
func (p *Prefix) close(r rune) bool {
	c := p.open[len(p.open)-1]
	var value any = c.list
	want := ']'
	if c.object != nil {
		value, want = c.object, '}'
	}
	if r != want {
		return false
	}
	p.open = p.open[:len(p.open)-1]
	if p.Visitor != nil {
		p.Visitor.Close(p.property(), p.text.String()[c.from:p.pos+1])
	}
	return p.end(value)
}

// within reads a character of a string.
func (p *Prefix) within(r rune) bool {
	switch p.state {
	case inString:
		switch {
		case r == '"':
			return p.unquote()
		case r == '\\':
			p.state = inEscape
		case r < ' ':
			return false
		default:
			p.buf = utf8.AppendRune(p.buf, r)
		}
		return true
	case inEscape:
		if r == 'u' {
			p.digits, p.unit, p.state = 0, 0, inHex
			return true
		}
		i := strings.IndexRune(`"\/bfnrt`, r)
		if i < 0 {
			return false
		}
		p.buf, p.state = append(p.buf, "\"\\/\b\f\n\r\t"[i]), inString
		return true
	case inLow:
		p.state = inLowMark
		return r == '\\'
	case inLowMark:
		p.digits, p.unit, p.state = 0, 0, inHex
		return r == 'u'
	}
	digit := strings.IndexRune("0123456789abcdef", unicode.ToLower(r))
	if digit < 0 || r >= utf8.RuneSelf {
		return false
	}
	p.unit = p.unit<<4 | rune(digit)
	if p.digits++; p.digits < 4 {
		return true
	}
	p.state = inString
	switch {
	case p.high != 0:
		r := utf16.DecodeRune(p.high, p.unit)
		p.buf, p.high = utf8.AppendRune(p.buf, r), 0
		return r != unicode.ReplacementChar
	case utf16.IsSurrogate(p.unit):
		p.high, p.state = p.unit, inLow
		return p.unit < 0xDC00
	}
	p.buf = utf8.AppendRune(p.buf, p.unit)
	return true
}

// unquote ends a string.
func (p *Prefix) unquote() bool {
	if !p.name {
		return p.scalar(string(p.buf), p.pos+1)
	}
	c := &p.open[len(p.open)-1]
	c.key, p.state = string(p.buf), atColon
	if _, again := c.object[c.key]; again {
		p.complain(repeats(p.from, pointerTo(p.path()), c.key))
	}
	return true
}

// spell reads a letter of true, false or null.
func (p *Prefix) spell(r rune) bool {
	n := p.pos - p.from
	if rune(p.literal[n]) != r {
		return false
	}
	if n+1 < len(p.literal) {
		return true
	}
	switch p.literal {
	case "true":
		return p.scalar(true, p.pos+1)
	case "false":
		return p.scalar(false, p.pos+1)
	}
	return p.scalar(nil, p.pos+1)
}

// number reads a character of a number, or the one after it.
func (p *Prefix) number(r rune) bool {
	digit := '0' <= r && r <= '9'
	switch s := p.state; {
	case s == inMinus && r == '0':
		p.state = inZero
	case s == inMinus && digit:
		p.state = inInteger
	case (s == inInteger || s == inFraction || s == inExponent) && digit:
	case (s == inZero || s == inInteger) && r == '.':
		p.state = inPoint
	case s == inPoint && digit:
		p.state = inFraction
	case (s == inZero || s == inInteger || s == inFraction) && (r == 'e' || r == 'E'):
		p.state = inE
	case s == inE && (r == '+' || r == '-'):
		p.state = inSign
	case (s == inE || s == inSign) && digit:
		p.state = inExponent
	case s == inMinus || s == inZero && digit || s == inPoint || s == inE || s == inSign:
		return false
	default:
		n := p.text.String()[p.from:p.pos]
		if !holds(n) {
			p.complain(outOfRange(p.from, pointerTo(p.path()), n))
			return true
		}
		p.scalar(json.Number(strings.Clone(n)), p.pos)
		return p.step(r)
	}
	return true
}

// path leads to the value being read.
func (p *Prefix) path() []step {
	path := make([]step, len(p.open))
	for i, c := range p.open {
		path[i] = step{key: c.key, index: -1}
		if c.object == nil {
			path[i] = step{index: len(c.list)}
		}
	}
	return path
}

// refuse says why the character at pos can't be there, in the words of [Decode].
func (p *Prefix) refuse() {
	text := p.text.String()
	if r, size := utf8.DecodeRuneInString(text[p.pos:]); r == utf8.RuneError && size == 1 {
		p.complain(fault{at: p.pos, problem: notUTF8, suggestion: utf8Suggestion})
		return
	}
	text = strings.ToValidUTF8(text, "") // it may end within a character
	if doc := Decode(text); doc.Broken && !doc.Cut {
		p.fault = &doc.Faults[0]
		return
	}
	// A fence that is not closed yet hides what is wrong within it.
	start := len(text) - len(strings.TrimLeftFunc(text[p.body:], Blank))
	reader := parser{text: text, pos: start, end: len(text)}
	if _, ok := reader.document(); !ok && !reader.fault.cut {
		p.complain(reader.fault)
		return
	}
	p.complain(fault{
		at:         p.pos,
		problem:    fmt.Sprintf("the JSON can't go on with %q", say.FirstLine(text[p.pos:], 40)),
		suggestion: aloneSuggestion,
	})
}

func (p *Prefix) complain(f fault) {
	placed := f.in(p.text.String())
	p.fault = &placed
}

// Complete reports whether the value has ended. A number has ended only when something
// follows it, since more digits may come.
func (p *Prefix) Complete() bool { return p.whole }

// Value returns the part of the value that is complete so far, with the string
// that has not ended yet if openStrings is set. It is false while there is none.
func (p *Prefix) Value(openStrings bool) (any, bool) {
	if p.whole {
		return p.root, true
	}
	var value any
	var some bool
	if openStrings && !p.name {
		switch p.state {
		case inString, inEscape, inHex, inLow, inLowMark:
			value, some = string(p.buf), true
		}
	}
	for _, c := range slices.Backward(p.open) {
		if c.object == nil {
			list := slices.Clip(c.list)
			if some {
				list = append(list, value)
			}
			value, some = list, true
			continue
		}
		object := maps.Clone(c.object)
		if some {
			object[c.key] = value
		}
		value, some = object, true
	}
	return value, some
}
