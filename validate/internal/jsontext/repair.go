package jsontext

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/kaptinlin/jsonrepair"

	"llmcall/internal/phrase"
	"llmcall/internal/say"
)

// Change is one change to an answer to make it JSON.
type Change struct {
	Problem string // what was wrong there
	Line    int    // where in the answer's text, from 1; 0: not in one place
	Column  int    // in code points, from 1
	Was     string // the beginning of what was there; "" if something was inserted
	Is      string // the beginning of what replaced it; "" if it was removed
}

// maxRepair and maxStray bound the text that is repaired, and the quotes in it that seem
// neither to begin nor to end a string. The library (v0.2.15) takes time quadratic in the
// length and in the depth, and cubic in the number of such quotes: 640 of them in 4 KB
// take 2 s.
const (
	maxRepair = 32 << 10
	maxStray  = 100
)

// costly reports whether a text would take the library too long. A quote of any kind is
// stray if it neither begins a string outside of one, nor ends one within.
func costly(text string) bool {
	const near = 50
	stray, depth := 0, 0
	within, escaped := false, false
	last, before := ' ', ' ' // the character before, and the last that is not white space
	for i, r := range text {
		switch {
		case escaped:
			escaped = false
		case r == '\\':
			escaped = true
		case r == '"' || quoteMark(r):
			behind := text[i+utf8.RuneLen(r) : min(i+utf8.RuneLen(r)+near, len(text))]
			beside, _ := utf8.DecodeRuneInString(behind)
			next, _ := utf8.DecodeRuneInString(strings.TrimLeft(behind, " \t\r\n"))
			switch {
			case r == '\'' && unicode.IsLetter(last) && unicode.IsLetter(beside): // an apostrophe
			case within && strings.ContainsRune("}],:", next):
				within = false
			case !within && strings.ContainsRune("{[,:", before):
				within = true
			default:
				stray++
			}
		case !within && (r == '{' || r == '['):
			depth++
		case !within && (r == '}' || r == ']'):
			depth--
		}
		if stray > maxStray || depth > maxDepth {
			return true
		}
		last = r
		if !space(r) {
			before = r
		}
	}
	return false
}

// Repair decodes a text that was meant to be JSON, and changes what is wrong in it. A
// change must not lose or invent anything; if one would, or the text is cut off, or there
// are two values in it, the document stays broken.
//
// The library repairs too much: it closes what was cut off, turns two values into a list
// and a comment into a string. So its result is compared with the text, token by token.
func Repair(text string) *Document {
	doc := &Document{source: text, Broken: true}
	if len(text) > maxRepair || costly(text) || !utf8.ValidString(text) {
		return doc
	}
	start, end, cut, ok := locate(text, 0, len(text), 0)
	if !ok {
		if cut {
			doc.cutOff()
		}
		return doc
	}
	region := text[start:end]
	m := comparison{text: text, i: start, end: end}
	m.around("text before the JSON", 0, start)
	p := parser{text: region, end: len(region)}
	value, whole := p.document()
	switch {
	case whole:
		m.out = region
		m.anchors = append(m.anchors, anchor{0, start})
	case p.fault.cut:
		return doc.cutOff()
	default:
		if !m.escapedOnceMore(region) {
			if m.out, ok = repaired(region); !ok {
				return doc
			}
		}
		p = parser{text: m.out, end: len(m.out)}
		if value, ok = p.document(); !ok {
			return doc
		}
		if m.anchors == nil && !m.compare() {
			if m.cut {
				doc.cutOff()
			}
			return doc
		}
	}
	m.around("text after the JSON", end, len(text))
	for _, f := range p.repeated {
		f.at = m.origin(f.at)
		doc.add(f)
	}
	doc.count(p.repeats-say.MaxListed, "repeated properties")
	doc.Broken, doc.Text, doc.Value, doc.Values, doc.Depth = false, m.out, value, p.values, p.deepest
	doc.Changes = m.changes
	if m.left > 0 {
		doc.Changes = append(doc.Changes, Change{Problem: fmt.Sprintf("and %d more changes", m.left)})
	}
	return doc
}

// cutOff marks the document as one whose text ends too early.
func (d *Document) cutOff() *Document {
	d.Cut = true
	d.add(fault{at: len(strings.TrimRightFunc(d.source, Blank)), problem: endsEarly, suggestion: wholeSuggestion})
	return d
}

// repaired calls the library. A panic, of which none is known, means that it can't repair
// the text.
func repaired(text string) (out string, ok bool) {
	defer func() {
		if recover() != nil {
			ok = false
		}
	}()
	out, err := jsonrepair.Repair(text)
	return strings.TrimFunc(out, Blank), err == nil
}

// locate finds the object or array in text[start:end], in prose or in a Markdown block. It
// is not ok unless there is exactly one; cut says that it begins there and does not
// end.
func locate(text string, start, end, nested int) (from, to int, cut, ok bool) {
	start, end = trim(text, start, end)
	if start == end || nested > 3 {
		return start, end, false, false
	}
	if c := text[start]; c == '{' || c == '[' {
		return extent(text, start, end)
	}
	var found []block
	for _, b := range blocks(text[start:end]) {
		b = block{b.start + start, b.inner + start, b.innerEnd + start, b.end + start}
		i, j := trim(text, b.inner, b.innerEnd)
		if i < j && (text[i] == '{' || text[i] == '[' || Fence(text[i:j]) != "") {
			found = append(found, b)
		}
	}
	switch len(found) {
	case 0:
		for at := start; at < end; at++ {
			if c := text[at]; c == '{' || c == '[' && !bracketed.MatchString(text[at:end]) {
				if isValue(text, start, at) {
					return start, end, false, false
				}
				return extent(text, at, end)
			}
		}
		return start, end, false, false
	case 1:
		b := found[0]
		if object.MatchString(text[start:b.start]) || object.MatchString(text[b.end:end]) {
			return start, end, false, false
		}
		return locate(text, b.inner, b.innerEnd, nested+1)
	}
	return start, end, false, false
}

// bracketed matches words of prose in square brackets.
var bracketed = regexp.MustCompile(`^\[[\pL ]*\]`)

// extent finds the end of the value that begins at start: where its JSON ends or, if it is
// damaged, at the last bracket that may close it. It is not ok if another value follows.
func extent(text string, start, end int) (from, to int, cut, ok bool) {
	p := parser{text: text, pos: start, end: end}
	if _, whole := p.value(); whole {
		to = p.pos
	} else {
		closing := strings.LastIndexByte(text[start:end], text[start]+2) // '[' and ']', '{' and '}' are two apart
		if closing < 0 || p.fault.cut {
			return start, end, true, false
		}
		to = start + closing + 1
	}
	tail := strings.TrimLeftFunc(text[to:end], Blank)
	if strings.HasPrefix(tail, ",") || isValue(text, to, end) {
		return start, end, false, false
	}
	for i := range len(tail) {
		if c := tail[i]; c == '{' || c == '[' && !bracketed.MatchString(tail[i:]) {
			return start, end, false, false
		}
	}
	return start, to, false, true
}

// isValue reports whether text[start:end] is a JSON value.
func isValue(text string, start, end int) bool {
	start, end = trim(text, start, end)
	p := parser{text: text, pos: start, end: end}
	_, ok := p.document()
	return ok
}

// object matches the beginning of an object with properties, damaged or not.
var object = regexp.MustCompile(`\{\s*(?:"[^"\n]*"|'[^'\n]*'|“[^”\n]*”|[\pL_$][\pL\d_$]*)\s*:`)

// block is a fenced Markdown block in a text, by offsets.
type block struct{ start, inner, innerEnd, end int }

// blocks finds the fenced blocks of a text (CommonMark, section 4.5, but with
// any indentation). One that is not closed goes to the end.
func blocks(text string) []block {
	var found []block
	var mark string
	for at := 0; at < len(text); {
		line, _, _ := strings.Cut(text[at:], "\n")
		next := min(at+len(line)+1, len(text))
		trimmed := strings.TrimLeft(line, " \t")
		switch {
		case mark != "":
			if Closes(line, mark) {
				last := &found[len(found)-1]
				last.innerEnd, last.end, mark = at, next, ""
			}
		case Fence(trimmed) != "":
			if strings.ContainsAny(strings.TrimPrefix(trimmed, Fence(trimmed)), "`{[\"") {
				break // code within a line of prose
			}
			mark = Fence(trimmed)
			found = append(found, block{start: at, inner: next, innerEnd: len(text), end: len(text)})
		}
		at = next
	}
	return found
}

// comparison compares a repaired text with its original.
type comparison struct {
	text    string // the answer
	i, end  int    // how far it is compared, and where its JSON ends
	out     string // the repaired JSON
	j       int
	changes []Change
	left    int // how many more changes there are
	anchors []anchor
	cut     bool // the text ends where the library went on
}

// anchor is a place in both texts.
type anchor struct{ out, text int }

// origin returns where in the text a place of the repaired JSON comes from.
func (m *comparison) origin(out int) int {
	var last anchor
	for _, a := range m.anchors {
		if a.out <= out {
			last = a
		}
	}
	return last.text + out - last.out
}

func (m *comparison) note(problem string, at int, was, is string) {
	if len(m.changes) == say.MaxListed {
		m.left++
		return
	}
	line, column := Position(m.text, at)
	m.changes = append(m.changes, Change{Problem: problem, Line: line, Column: column, Was: say.Short(was, 60), Is: say.Short(is, 60)})
}

// around records what is removed around the JSON.
func (m *comparison) around(problem string, start, end int) {
	start, end = trim(m.text, start, end)
	if start < end {
		m.note(problem, start, m.text[start:end], "")
	}
}

// escapes matches the beginning of JSON that is escaped like the content of a string.
var escapes = regexp.MustCompile(`^[{\[](?:[\s{\[]|\\[nrt])*\\"`)

// escapedOnceMore unescapes JSON that is escaped like the content of a string.
func (m *comparison) escapedOnceMore(region string) bool {
	if !escapes.MatchString(region) {
		return false
	}
	quoted := `"` + strings.NewReplacer("\n", `\n`, "\r", `\r`, "\t", `\t`).Replace(region) + `"`
	if json.Unmarshal([]byte(quoted), &m.out) != nil {
		return false
	}
	m.note("the JSON is escaped once more than it is to be", m.i, region, m.out)
	m.anchors = append(m.anchors, anchor{0, m.i})
	return true
}

// compare goes through the tokens of the repaired JSON, and records how they differ from
// the original. It is false if it can't explain a difference.
func (m *comparison) compare() bool {
	var open []byte
	last := byte(0)
	for {
		m.gap()
		if m.j >= len(m.out) {
			break
		}
		m.anchors = append(m.anchors, anchor{m.j, m.i})
		c := m.out[m.j]
		if m.at(',') && (last == '{' || last == '[' || c == '}' || c == ']') {
			m.note("a comma too many", m.i, ",", "")
			m.i++
			continue
		}
		ok := true
		switch c {
		case '{', '[':
			open = append(open, c)
			ok = m.same(c)
		case '}', ']':
			open = open[:len(open)-1]
			ok = m.same(c) || m.missing("a closing bracket is missing", string(c), m.at('}') || m.at(']'))
		case ',':
			ok = m.same(c) || m.missing("a comma is missing", ",", m.i < m.end)
		case ':':
			ok = m.same(c) || m.missing("a colon is missing", ":", m.i < m.end)
		case '"':
			ok = len(open) > 0 && m.str(open[len(open)-1] == '{' && (last == '{' || last == ','))
		default:
			ok = m.literal()
		}
		if !ok {
			m.cut = m.cut || m.i >= m.end
			return false
		}
		last = c
	}
	for ; m.at('}') || m.at(']'); m.gap() {
		m.note("a closing bracket too many", m.i, m.text[m.i:m.i+1], "")
		m.i++
	}
	return m.i >= m.end
}

func (m *comparison) at(c byte) bool { return m.i < m.end && m.text[m.i] == c }

// same steps over a character that both texts have.
func (m *comparison) same(c byte) bool {
	if !m.at(c) {
		return false
	}
	m.i++
	m.j++
	return true
}

// missing steps over an inserted character, if that is allowed.
func (m *comparison) missing(problem, is string, allowed bool) bool {
	if allowed {
		m.note(problem, m.i, "", is)
		m.j += len(is)
	}
	return allowed
}

// gap steps over what is between tokens.
func (m *comparison) gap() {
	for m.j < len(m.out) && space(rune(m.out[m.j])) {
		m.j++
	}
	for m.i < m.end {
		r, size := utf8.DecodeRuneInString(m.text[m.i:m.end])
		rest := m.text[m.i:m.end]
		switch {
		case space(r):
		case unicode.IsSpace(r):
			m.note("a space that JSON does not have", m.i, rest[:size], " ")
		case strings.HasPrefix(rest, "//"):
			size = strings.IndexByte(rest+"\n", '\n')
			m.note("a comment", m.i, rest[:size], "")
		case strings.HasPrefix(rest, "/*"):
			comment, _, _ := strings.Cut(rest[2:], "*/")
			size = min(len(comment)+4, len(rest))
			m.note("a comment", m.i, rest[:size], "")
		default:
			return
		}
		m.i += size
	}
}

// literal steps over a number, or true, false or null.
func (m *comparison) literal() bool {
	is := m.out[m.j:]
	if n := strings.IndexAny(is, ",]} \t\r\n"); n >= 0 {
		is = is[:n]
	}
	rest := m.text[m.i:m.end]
	if was := word(rest); borrowed[was] == phrase.Literal.Of(is) {
		m.note("a word of another language", m.i, was, is)
		m.i += len(was)
	} else if strings.HasPrefix(rest, is) {
		m.i += len(is)
	} else {
		return false
	}
	m.j += len(is)
	return true
}

// str steps over a string, or the name of a property.
func (m *comparison) str(name bool) bool {
	start, from := m.i, m.j
	rest := m.text[m.i:m.end]
	quote, size := utf8.DecodeRuneInString(rest)
	var problems []string
	add := func(problem string) {
		if len(problems) == 0 || problems[len(problems)-1] != problem {
			problems = append(problems, problem)
		}
	}
	switch w := word(rest); {
	case quote == '"':
		m.i += size
	case quoteMark(quote):
		add("quotes that are none of JSON's")
		m.i += size
	case w != "" && borrowed[w] == "", name && '0' <= quote && quote <= '9':
		add("no quotes")
		quote = 0
	default:
		return false
	}
	for m.j++; m.out[m.j] != '"'; {
		unit, r := firstUnit(m.out[m.j:])
		rest = m.text[m.i:m.end]
		switch {
		case strings.HasPrefix(rest, unit):
			m.i += len(unit)
		case len(unit) > 1 && unit[0] == '\\' && strings.HasPrefix(rest, string(r)) && !(r == '\\' && escaping.MatchString(rest)):
			add("a character that must be escaped")
			m.i += len(string(r))
		case strings.HasPrefix(rest, `\`+unit):
			add("an escape that JSON does not have")
			m.i += 1 + len(unit)
		default:
			return false
		}
		m.j += len(unit)
	}
	m.j++
	if quote != 0 {
		closing, size := utf8.DecodeRuneInString(m.text[m.i:m.end])
		switch {
		case closing == quote || quote >= utf8.RuneSelf && (closing == '"' || closing >= utf8.RuneSelf && quoteMark(closing)):
			m.i += size
		case !ends(m.text[m.i:m.end], quote): // it may have been cut off within the string
			m.cut = true
			return false
		case quote == '"':
			add("a quote is missing")
		default:
			return false
		}
	}
	if len(problems) > 0 {
		m.note(strings.Join(problems, ", "), start, m.text[start:m.i], m.out[from:m.j])
	}
	return true
}

// ends reports whether a string ends somewhere in its rest.
func ends(rest string, quote rune) bool {
	escaped := false
	for _, r := range rest {
		if r == quote && !escaped {
			return true
		}
		escaped = r == '\\' && !escaped
	}
	return false
}

// escaping matches an escape of JSON, whose backslash is not part of the string.
var escaping = regexp.MustCompile(`^\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})`)

// quoteMark reports whether a character is a quotation mark other than JSON's.
func quoteMark(r rune) bool {
	return r == '\'' || r == '`' || r == '´' || unicode.In(r, unicode.Pi, unicode.Pf)
}

// firstUnit returns the character or escape at the beginning of the rest of a JSON string,
// and its meaning.
func firstUnit(s string) (string, rune) {
	r, size := utf8.DecodeRuneInString(s)
	if r != '\\' {
		return s[:size], r
	}
	size = 2
	if s[1] == 'u' {
		size = 6
	}
	var decoded string
	if json.Unmarshal([]byte(`"`+s[:size]+`"`), &decoded) != nil {
		return s[:size], utf8.RuneError
	}
	r, _ = utf8.DecodeRuneInString(decoded)
	return s[:size], r
}
