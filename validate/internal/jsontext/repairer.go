package jsontext

import (
	"encoding/json"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"llmcall/internal/nearest"
	"llmcall/internal/phrase"
	"llmcall/internal/say"
)

// repairer reads a value that was meant to be JSON, and writes it as JSON.
//
// It goes on only where the text can be read in one way. What keeps it from guessing:
//
//   - A quote ends a string if what follows it can follow a string there. Those before it
//     are part of the string if they come in pairs, each around words. So one quote that is
//     missing or too many is never made up for by another.
//   - The first quote ends the name of a property.
//   - A closing bracket is put in only where no other place for it would make JSON.
//   - A comma or bracket is not put in after a string that ends with one, nor a comma
//     between two numbers in a line.
//   - A string without quotes is one word, the value of a property, and no literal with a
//     slip in it.
type repairer struct {
	text     string // the answer
	pos, end int    // what is to be read
	from     int    // where what is not written yet begins
	out      strings.Builder
	anchors  []anchor
	changes  []Change
	left     int  // how many more changes there are
	objects  int  // how many objects are open
	arrays   int  // how many arrays are open
	bare     bool // there was a string without quotes
	cut      bool // the text ends where more must follow
}

// anchor is a place in both texts.
type anchor struct{ out, text int }

// nothing is what a value is in that is in neither an object nor an array, which are told
// apart by their opening brackets.
const nothing = 0

// closerOf is the bracket that closes what an opening one opens.
func closerOf(open byte) byte { return open + 2 }

// origin returns where in the text a place of the repaired JSON comes from.
func (m *repairer) origin(out int) int {
	var last anchor
	for _, a := range m.anchors {
		if a.out <= out {
			last = a
		}
	}
	return last.text + out - last.out
}

// replace writes the text as far as start, and in what follows to stop something else.
func (m *repairer) replace(start, stop int, is string) {
	m.anchors = append(m.anchors, anchor{m.out.Len(), m.from})
	m.out.WriteString(m.text[m.from:start])
	m.anchors = append(m.anchors, anchor{m.out.Len(), start})
	m.out.WriteString(is)
	m.from, m.pos = stop, stop
}

// change replaces what is between start and stop, and says so.
func (m *repairer) change(problem string, start, stop int, is string) {
	m.note(problem, start, m.text[start:stop], is)
	m.replace(start, stop, is)
}

func (m *repairer) note(problem string, at int, was, is string) {
	if len(m.changes) == say.MaxListed {
		m.left++
		return
	}
	line, column := Position(m.text, at)
	m.changes = append(m.changes, Change{Problem: problem, Line: line, Column: column, Was: say.Short(was, 60), Is: say.Short(is, 60)})
}

// around records what is removed around the JSON.
func (m *repairer) around(problem string, start, end int) {
	start, end = trim(m.text, start, end)
	if start < end {
		m.note(problem, start, m.text[start:end], "")
	}
}

// whole reads a value that is JSON.
func (m *repairer) whole() bool {
	p := parser{text: m.text, pos: m.pos, end: m.end}
	if _, ok := p.value(); !ok {
		return false
	}
	m.pos = p.pos
	return true
}

// escapes matches the beginning of JSON that is escaped like the content of a string.
var escapes = regexp.MustCompile(`^[{\[](?:[\s{\[]|\\[nrt])*\\"`)

// escapedOnceMore unescapes JSON that is escaped like the content of a string.
func (m *repairer) escapedOnceMore() bool {
	region := m.text[m.pos:m.end]
	if !escapes.MatchString(region) {
		return false
	}
	region = region[:strings.LastIndexByte(region, closerOf(region[0]))+1]
	asString := `"` + strings.NewReplacer("\n", `\n`, "\r", `\r`, "\t", `\t`).Replace(region) + `"`
	var is string
	if json.Unmarshal([]byte(asString), &is) != nil || !isValue(is) {
		return false
	}
	m.change("the JSON is escaped once more than it is to be", m.pos, m.pos+len(region), is)
	return true
}

// isValue reports whether a text is a JSON value.
func isValue(text string) bool {
	p := parser{text: text, end: len(text)}
	_, ok := p.document()
	return ok
}

// ended reports whether what follows the value, which began at start, is not part of it.
func (m *repairer) ended(start int) bool {
	if before, _ := trim(m.text, 0, start); before == start && m.text[start] == '{' && !m.bare && !inMidst.MatchString(m.text[start:m.pos]) {
		if at := m.skip(m.pos); at < m.end && m.text[at] == '}' {
			m.change("a closing bracket too many", at, at+1, "")
		}
	}
	after, _ := utf8.DecodeRuneInString(m.text[m.pos:m.end])
	return after != '[' && !unicode.IsLetter(after) && !unicode.IsDigit(after) && prose(m.text[m.pos:m.end])
}

// inMidst matches the end of an object in the midst of another, where a bracket too many
// would make the other end too early.
var inMidst = regexp.MustCompile(`\}[\s,]*[^\s,{}\]]`)

func (m *repairer) done() bool {
	m.cut = m.cut || m.pos >= m.end
	return m.cut
}

func (m *repairer) is(c byte) bool { return m.pos < m.end && m.text[m.pos] == c }

// space steps over white space and comments, and reports whether there were any.
func (m *repairer) space() bool {
	at := m.pos
	for m.pos < m.end {
		size, problem := m.blank(m.pos)
		switch {
		case size == 0:
			return m.pos > at
		case problem == "":
			m.pos += size
		case problem == foreignSpace:
			m.change(problem, m.pos, m.pos+size, " ")
		default:
			m.change(problem, m.pos, m.pos+size, "")
		}
	}
	return m.pos > at
}

const foreignSpace = "a space that JSON does not have"

// blank returns the length of the white space or the comment at a place, and what is wrong
// with it.
func (m *repairer) blank(at int) (size int, problem string) {
	rest := m.text[at:m.end]
	r, size := utf8.DecodeRuneInString(rest)
	switch {
	case space(r):
		return size, ""
	case unicode.IsSpace(r):
		return size, foreignSpace
	case strings.HasPrefix(rest, "//"):
		line, _, _ := strings.Cut(rest, "\n")
		size = len(line)
	case strings.HasPrefix(rest, "/*"):
		comment, _, _ := strings.Cut(rest[2:], "*/")
		size = min(len(comment)+4, len(rest))
	default:
		return 0, ""
	}
	if strings.Count(rest[:size], `"`)%2 != 0 { // it may be a string that has lost its quote
		return 0, ""
	}
	return size, "a comment"
}

// skip returns where something else than white space and comments begins.
func (m *repairer) skip(at int) int {
	for at < m.end {
		size, _ := m.blank(at)
		if size == 0 {
			break
		}
		at += size
	}
	return at
}

// value reads a value that is in an object or an array.
func (m *repairer) value(in byte) bool {
	if m.done() {
		return false
	}
	r, _ := utf8.DecodeRuneInString(m.text[m.pos:m.end])
	switch {
	case r == '{' || r == '[':
		return m.container(byte(r))
	case r == '"' || quoteMark(r):
		return m.str(in)
	case r == '-' || '0' <= r && r <= '9':
		p := parser{text: m.text, pos: m.pos, end: m.end}
		if _, ok := p.number(); !ok {
			return false
		}
		m.pos = p.pos
		return m.delimited(m.pos)
	}
	return m.word(in)
}

// delimited reports whether a number or a word ends here.
func (m *repairer) delimited(at int) bool {
	size, _ := m.blank(min(at, m.end))
	return size > 0 || at >= m.end || strings.IndexByte(",]}", m.text[at]) >= 0
}

// word reads true, false or null, also as other languages write them, or a string without
// quotes.
func (m *repairer) word(in byte) bool {
	w := word(m.text[m.pos:m.end])
	stop := m.pos + len(w)
	switch is := literals[w]; {
	case w == "" || !m.delimited(stop):
		return false
	case is == w:
		m.pos = stop
	case is != "":
		m.change("a word of another language", m.pos, stop, is)
	case borrowed[w] != "" || in != '{' || misspelt(w) || !m.follows(stop, in):
		return false
	default:
		m.bare = true
		m.change("no quotes", m.pos, stop, `"`+w+`"`)
	}
	return true
}

// misspelt reports whether a word may be a literal or a number of another language with a
// slip in it, or the beginning of one.
func misspelt(w string) bool {
	w = strings.ToLower(w)
	for _, known := range []string{"true", "false", "null", "none", "nan", "inf", "infinity", "undefined"} {
		if strings.HasPrefix(known, w) || len(known) > 3 && nearest.Edits(known, w) < 2 {
			return true
		}
	}
	return false
}

// follows reports whether a string without quotes ends here: after it comes the end of its
// object, or another property.
func (m *repairer) follows(at int, in byte) bool {
	at += len(m.text[at:m.end]) - len(strings.TrimLeft(m.text[at:m.end], " \t\r\n"))
	return at < m.end && (m.text[at] == '}' || m.text[at] == ',' && m.begins(at+1, in))
}

// literals are the words for true, false and null, with JSON's.
var literals = func() map[string]string {
	all := map[string]string{}
	for _, is := range []string{"true", "false", "null"} {
		all[is] = is
		for w, suggestion := range borrowed {
			if suggestion == phrase.Literal.Of(is) {
				all[w] = is
			}
		}
	}
	return all
}()

// container reads an object or array, whose opening bracket is here.
func (m *repairer) container(open byte) bool {
	count := &m.objects
	if open == '[' {
		count = &m.arrays
	}
	if m.objects+m.arrays == maxDepth {
		return false
	}
	*count++
	m.pos++
	last := byte(nothing) // the beginning of the last value
	m.space()
	for first := true; ; first = false {
		if m.done() {
			return false
		}
		if !m.is('}') && !m.is(']') {
			if open == '{' && !m.name() || m.done() {
				return false
			}
			last = m.text[m.pos]
			if !m.value(open) {
				return false
			}
		} else if !first {
			return false
		}
		more, ok := m.next(open, last)
		if !ok {
			return false
		}
		if !more {
			*count--
			return true
		}
	}
}

// next reads what follows a value within an object or array, which began with last.
func (m *repairer) next(open, last byte) (more, ok bool) {
	bracket := last == '{' || last == '['
	stop := m.pos
	apart := m.space()
	if m.done() {
		return false, false
	}
	if comma := m.pos; m.is(',') {
		after := m.skip(comma + 1)
		if last == nothing || after >= m.end {
			m.cut = m.cut || after >= m.end
			return false, false
		}
		if m.text[after] != '}' && m.text[after] != ']' {
			m.pos++
			m.space()
			return true, true
		}
		if m.text[after] != closerOf(open) { // a value may be missing, not a bracket
			return false, false
		}
		m.change("a comma too many", comma, comma+1, "")
		m.space()
	}
	switch c := m.text[m.pos]; {
	case c == closerOf(open):
		m.pos++
		return false, true
	case c == '}' || c == ']':
		// The last value may have lost the bracket instead, and what follows
		// its own would be in the wrong place.
		// Of an empty one the opening bracket may be too many.
		if last == open || last == nothing || m.misplaced(stop, closerOf(open)) || c == '}' && m.objects == 0 || c == ']' && m.arrays == 0 {
			return false, false
		}
		m.change("a closing bracket is missing", m.pos, m.pos, string(closerOf(open)))
		return false, true
	case (apart || bracket && (c == '{' || c == '[')) && m.begins(m.pos, open) && !m.misplaced(stop, ','):
		m.change("a comma is missing", m.pos, m.pos, ",")
		return true, true
	}
	return false, false
}

// misplaced reports whether the mark that is missing after a value, which stops here, may
// be at the end of the string that the value is, or whether the value and the next may be
// one number, with a space after its thousands.
func (m *repairer) misplaced(stop int, missing byte) bool {
	before, after := m.text[:stop], m.text[stop:m.pos]
	if content, ok := strings.CutSuffix(before, `"`); ok {
		return strings.HasSuffix(strings.TrimRight(content, " "), string(missing))
	}
	return numeral(before[stop-1:]) != "" && (numeral(m.text[m.pos:m.end]) != "" || m.is('-')) && !strings.Contains(after, "\n")
}

// begins reports whether another value of an array, or another property of an object, may
// begin here.
func (m *repairer) begins(at int, in byte) bool {
	if at = m.skip(at); at >= m.end {
		return false
	}
	rest := m.text[at:m.end]
	r, size := utf8.DecodeRuneInString(rest)
	if r == '"' || quoteMark(r) && size > 1 {
		return true
	}
	w := word(rest)
	if in == '[' {
		return r == '{' || r == '[' || r == '\'' || r == '-' || '0' <= r && r <= '9' || literals[w] != ""
	}
	if r == '\'' || r == '`' {
		return true
	}
	if w == "" {
		w = numeral(rest)
	}
	after := m.skip(at + len(w))
	return w != "" && after < m.end && m.text[after] == ':'
}

// numeral returns the digits at the beginning of a text.
func numeral(s string) string { return s[:len(s)-len(strings.TrimLeft(s, "0123456789"))] }

// name reads the name of a property and the colon after it.
func (m *repairer) name() bool {
	at := m.pos
	rest := m.text[at:m.end]
	r, _ := utf8.DecodeRuneInString(rest)
	unquoted := word(rest)
	if unquoted == "" {
		unquoted = numeral(rest)
	}
	switch {
	case r == '"':
		p := parser{text: m.text, pos: at, end: m.end}
		if _, ok := p.str(); !ok {
			m.cut = m.cut || p.fault.cut
			return false
		}
		m.pos = p.pos
	case quoteMark(r):
		if !m.str(':') {
			return false
		}
	case unquoted != "":
		m.change("no quotes", at, at+len(unquoted), `"`+unquoted+`"`)
	default:
		return false
	}
	name := m.text[at:m.pos]
	apart := m.space()
	if m.done() {
		return false
	}
	if m.is(':') {
		m.pos++
		m.space()
		return true
	}
	// What may be a colon that the quote should have been before is left alone.
	if r != '"' || !apart || strings.Contains(name, ":") || len(name) == len(`""`) || !m.begins(m.pos, '[') {
		return false
	}
	m.change("a colon is missing", m.pos, m.pos, ":")
	return true
}

// quoted is a string while it is read.
type quoted struct {
	quote    rune // that opened it
	in       byte // what it is in: an object, an array or, ':', it is a name
	start    int
	is       strings.Builder // what it is in JSON
	problems []string
	inner    int  // how many quotes there are within
	quotes   int  // how many of its quotes are escaped
	escaped  bool // there are escapes of JSON, other than of a quote or a slash
	wild     bool // there are backslashes that begin none
}

func (q *quoted) add(problem string) {
	if len(q.problems) == 0 || q.problems[len(q.problems)-1] != problem {
		q.problems = append(q.problems, problem)
	}
}

const (
	mustEscape = "a character that must be escaped"
	noEscape   = "an escape that JSON does not have"
)

// str reads a string.
func (m *repairer) str(in byte) bool {
	q := quoted{in: in, start: m.pos}
	size := 0
	q.quote, size = utf8.DecodeRuneInString(m.text[m.pos:m.end])
	if q.quote != '"' {
		q.add("quotes that are none of JSON's")
	}
	q.is.WriteByte('"')
	at := m.pos + size
	for at < m.end {
		r, size := utf8.DecodeRuneInString(m.text[at:m.end])
		switch {
		case r == '\\':
			size = m.escape(&q, at)
		case q.closedBy(r):
			if m.closes(at+size, in) {
				return m.close(&q, at+size)
			}
			if stop := m.lostQuote(&q, at); stop > 0 {
				return m.close(&q, stop)
			}
			size = m.inner(&q, at, size)
		case r == '"':
			q.add(mustEscape)
			q.is.WriteString(`\"`)
		case r == '\n' && m.listed(&q, at):
			return false
		case r == '\n' || r == '\r' || r == '\t':
			q.add(mustEscape)
			q.is.WriteString(map[rune]string{'\n': `\n`, '\r': `\r`, '\t': `\t`}[r])
		case r < ' ':
			return false
		default:
			q.is.WriteRune(r)
		}
		if size == 0 {
			return false
		}
		at += size
	}
	m.cut = true
	return false
}

// close writes a string that ends here.
func (m *repairer) close(q *quoted, stop int) bool {
	if q.inner%2 != 0 || q.wild && (q.escaped || q.quotes%2 != 0) { // a quote may be lost after a backslash
		return false
	}
	if q.quote >= utf8.RuneSelf && q.is.Len() == 1 && m.text[stop-1] == '"' { // the end of another string
		return false
	}
	q.is.WriteByte('"')
	if len(q.problems) == 0 {
		m.pos = stop
		return true
	}
	m.change(strings.Join(q.problems, ", "), q.start, stop, q.is.String())
	return true
}

// escape reads what begins with a backslash, and returns its length; 0 if it is not clear
// what is meant.
func (m *repairer) escape(q *quoted, at int) int {
	rest := m.text[at:m.end]
	if e := escaping.FindString(rest); e != "" {
		if e[1] == '"' {
			q.quotes++
		}
		q.escaped = q.escaped || e[1] != '"' && e[1] != '/'
		q.is.WriteString(e)
		return len(e)
	}
	if foreignEscape.MatchString(rest) || len(rest) == 1 {
		return 0
	}
	before, _ := utf8.DecodeLastRuneInString(m.text[q.start:at])
	after, _ := utf8.DecodeRuneInString(rest[2:])
	if q.quote != '"' && rune(rest[1]) == q.quote || rest[1] == '\'' && (unicode.IsLetter(before) || !unicode.IsLetter(after)) {
		q.add(noEscape)
		q.is.WriteByte(rest[1])
		return 2
	}
	if mark, _ := utf8.DecodeRuneInString(rest[1:]); quoteMark(mark) { // an escape, or an accent in TeX
		return 0
	}
	q.wild = true
	q.add(mustEscape)
	q.is.WriteString(`\\`)
	return 1
}

var (
	// escaping matches an escape of JSON.
	escaping = regexp.MustCompile(`^\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})`)
	// foreignEscape matches one of other languages, which is not a backslash and
	// what follows it, or the end of a line.
	foreignEscape = regexp.MustCompile(`^\\(?:x[0-9a-fA-F]{2}|u[0-9a-fA-F]|[0-7]|U[0-9a-fA-F]{8}|u\{|N\{|[\r\n])`)
)

// closedBy reports whether a character may close a string.
func (q *quoted) closedBy(r rune) bool {
	return r == q.quote || q.quote >= utf8.RuneSelf && (r == '"' || r >= utf8.RuneSelf && quoteMark(r))
}

// closes reports whether a string that is in an object or array may end here.
func (m *repairer) closes(at int, in byte) bool {
	after := m.skip(at)
	if after >= m.end {
		return false
	}
	c := m.text[after]
	switch {
	case in == ':':
		return c == ':'
	case c == '}' || c == ']':
		return true
	case c == ',':
		next := m.skip(after + 1)
		return next >= m.end || m.text[next] == '}' || m.text[next] == ']' || m.begins(next, in)
	}
	return after > at && (c == '"' || in == '[' && strings.IndexByte(`{['`, c) >= 0) // a comma is missing
}

// inner reads a quote that does not end its string, and returns its length; 0 if it is not
// clear that it is part of the string.
func (m *repairer) inner(q *quoted, at, size int) int {
	before, _ := utf8.DecodeLastRuneInString(m.text[q.start:at])
	after, _ := utf8.DecodeRuneInString(m.text[min(at+size, m.end):m.end])
	switch {
	case q.quote == '\'' && unicode.IsLetter(before) && unicode.IsLetter(after): // an apostrophe
		q.is.WriteByte('\'')
		return size
	case q.quote != '"':
		return 0
	case q.inner%2 == 0: // one that opens
		first := at == q.start+1
		if first && q.in == '[' && m.begins(at+size, q.in) { // a comma may be missing after an empty string
			return 0
		}
		if !first && !unicode.IsSpace(before) && !strings.ContainsRune("(=>*_/-–—", before) || unicode.IsSpace(after) || strings.ContainsRune(`",:{}[]`, after) || m.listed(q, at) {
			return 0
		}
	default:
		if unicode.IsSpace(before) || strings.ContainsRune(":{[", before) || !unicode.IsSpace(after) && !strings.ContainsRune(`.,;!?)<>*_/-–—…"`, after) {
			return 0
		}
	}
	q.inner++
	q.add(mustEscape)
	q.is.WriteString(`\"`)
	return size
}

// listed reports whether what is here, in a string, may be outside of it: it follows a
// bracket, or a comma after one or after a quote, or any comma if the string is in an array.
func (m *repairer) listed(q *quoted, at int) bool {
	before := strings.TrimRight(m.text[q.start+1:at], " \t\r\n")
	before, comma := strings.CutSuffix(before, ",")
	return comma && (q.in == '[' || strings.HasSuffix(before, `"`)) || before != "" && strings.IndexByte("{[]}", before[len(before)-1]) >= 0
}

// lostQuote returns where a string of an object ends that has lost its closing quote: at
// the comma before the quote at a place, which begins the next property. It returns 0 if
// that is not clear.
func (m *repairer) lostQuote(q *quoted, at int) int {
	content := strings.TrimRight(m.text[q.start+1:at], " \t\r\n")
	text, ok := strings.CutSuffix(content, ",")
	if q.in != '{' || q.quote != '"' || len(q.problems) > 0 || !ok || strings.ContainsAny(text, `:{}[]\`) || strings.TrimSpace(text) != text || text == "" ||
		!property.MatchString(m.text[at:m.end]) {
		return 0
	}
	q.add("a quote is missing")
	q.is.Reset()
	q.is.WriteString(`"` + text)
	return q.start + 1 + len(text)
}

// property matches the name of a property, and the colon after it.
var property = regexp.MustCompile(`^"[^"\\\n,:{}\[\]]*"\s*:`)

// quoteMark reports whether a character is a quotation mark other than JSON's.
func quoteMark(r rune) bool {
	return r == '\'' || r == '`' || r == '´' || unicode.In(r, unicode.Pi, unicode.Pf)
}
