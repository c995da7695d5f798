package practice

import (
	"encoding/json"
	"math/rand/v2"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"llmcall/chaos/internal/schemagen"
	"llmcall/internal/phrase"
)

// demands is what a user demands of the next answer.
type demands struct {
	contain, exclude []string
	match, mismatch  []string // regular expressions
	least, most      int      // characters
	words, sentences span
	json             bool
}

// span is a range of counts; the zero value is any count.
type span struct{ least, most int } // most 0: no limit

func (s span) has(n int) bool { return n >= s.least && (s.most == 0 || n <= s.most) }

func (d demands) none() bool {
	return len(d.contain)+len(d.exclude)+len(d.match)+len(d.mismatch) == 0 && d.least == 0 && d.most == schemagen.Unbounded &&
		d.words == span{} && d.sentences == span{} && !d.json
}

// met reports whether an answer is what was asked for.
func (d demands) met(answer string) bool {
	n := utf8.RuneCountInString(answer)
	if n < d.least || n > d.most || d.json && !json.Valid([]byte(answer)) {
		return false
	}
	if !d.words.has(len(strings.Fields(answer))) || !d.sentences.has(len(sentenceEnds.FindAllString(answer, -1))) {
		return false
	}
	found := func(s string) bool { return strings.Contains(answer, s) }
	matched := func(expr string) bool { return regexp.MustCompile(expr).MatchString(answer) }
	missed := func(s string) bool { return !found(s) }
	unmatched := func(expr string) bool { return !matched(expr) }
	return !slices.ContainsFunc(d.contain, missed) && !slices.ContainsFunc(d.exclude, found) &&
		!slices.ContainsFunc(d.match, unmatched) && !slices.ContainsFunc(d.mismatch, matched)
}

// How complaints are worded. Only the words right before a quoted text or a number matter,
// and a sentence that is not understood is skipped. If a complaint has a problem and a fix,
// the fix is used.
var (
	containWords  = quotationAfter(`\b(?:contain|include|mention)(?:s|ed|ing)?\b`)
	excludeWords  = quotationAfter(`\b(?:leave out|remove|avoid|without|(?:must not|should not|may not|do not|mustn't|shouldn't|don't) (?:contain|include|mention))\b`)
	matchWords    = quotationAfter(`(?:\bmatch(?:es|ed|ing)?\b|\bregular expression\b|\bregexp?\b|\bpattern\b)`)
	mismatchWords = quotationAfter(`\b(?:must not|should not|may not|do not|mustn't|shouldn't|don't) match\b|\bleave out what matches\b`)
	listWords     = regexp.MustCompile(`^\s*(?:,|,?\s*and|,?\s*or)\s*$`)

	lengthWords  = regexp.MustCompile(`(?i)\b(at least|no fewer than|no less than|no shorter than|not fewer than|not less than|not shorter than|minimum of|at most|no more than|no longer than|not more than|not longer than|up to|maximum of|exactly)\s+([\d,_]+)(?:\s+(\w+))?`)
	betweenWords = regexp.MustCompile(`(?i)\bbetween\s+([\d,_]+)\s+and\s+([\d,_]+)(?:\s+(\w+))?`)

	jsonWords   = regexp.MustCompile(`\bJSON\b`)
	noJSONWords = regexp.MustCompile(`(?i)\b(?:must|should|do) not (?:be|contain|use|answer with)\b[^.\n]{0,20}\bjson\b|\bwithout json\b`)
)

// quotationAfter returns an expression for words before a quoted text, with at most a few
// words between them.
func quotationAfter(words string) *regexp.Regexp {
	return regexp.MustCompile(`(?i)` + words + "[^\"'“‘`.\n]{0,40}$")
}

// The bounds on what is read, since a prompt may have megabytes.
const (
	maxFeedback = 1 << 16 // bytes
	maxQuoted   = 1000    // bytes of one quoted text
	maxDemands  = 50      // quoted texts
	maxBefore   = 100     // bytes before a quoted text
)

// textDemands are the phrases of checks about the whole text.
var textDemands = []struct {
	fix *phrase.Phrase
	ask func(d *demands, values []string)
}{
	{phrase.LeastCharacters, func(d *demands, values []string) { d.bounded("characters", values[0], "") }},
	{phrase.MostCharacters, func(d *demands, values []string) { d.bounded("characters", "", values[0]) }},
	{phrase.LeastWords, func(d *demands, values []string) { d.bounded("words", values[0], "") }},
	{phrase.MostWords, func(d *demands, values []string) { d.bounded("words", "", values[0]) }},
	{phrase.LeastSentences, func(d *demands, values []string) { d.bounded("sentences", values[0], "") }},
	{phrase.MostSentences, func(d *demands, values []string) { d.bounded("sentences", "", values[0]) }},
	{phrase.Include, func(d *demands, values []string) { d.contain = append(d.contain, values...) }},
	{phrase.Exclude, func(d *demands, values []string) { d.exclude = append(d.exclude, quotedTexts(values[0])...) }},
	{phrase.ExcludeOne, func(d *demands, values []string) { d.exclude = append(d.exclude, quotedTexts(values[0])...) }},
	{phrase.Match, func(d *demands, values []string) { d.match = append(d.match, expressions(values)...) }},
	{phrase.MatchThere, func(d *demands, values []string) { d.match = append(d.match, expressions(values)...) }},
	{phrase.Mismatch, func(d *demands, values []string) { d.mismatch = append(d.mismatch, expressions(values)...) }},
	{phrase.JSONAlone, func(d *demands, _ []string) { d.json = true }},
	{phrase.OneJSON, func(d *demands, _ []string) { d.json = true }},
	{phrase.WholeJSON, func(d *demands, _ []string) { d.json = true }},
}

// ask adds what a fix asks for in the words of a check.
func (d *demands) ask(fix string) {
	for _, row := range textDemands {
		if values, ok := row.fix.Read(fix); ok {
			row.ask(d, values)
		}
	}
}

// bounded sets the range of counts of a unit; "" means none.
func (d *demands) bounded(unit, least, most string) {
	lo, hi := 0, schemagen.Unbounded
	if n, ok := count(least); ok {
		lo = n
	}
	if n, ok := count(most); ok {
		hi = n
	}
	d.bound(unit, lo, hi)
}

// expressions leaves out what is not a regular expression.
func expressions(texts []string) []string {
	return slices.DeleteFunc(texts, func(text string) bool {
		_, err := regexp.Compile(text)
		return err != nil
	})
}

// demandsIn reads what a user's complaint asks for.
func demandsIn(feedback string) demands {
	d := demands{most: schemagen.Unbounded}
	d.read(feedback)
	return d
}

// read adds what a user's complaint asks for, in whatever words.
func (d *demands) read(feedback string) {
	feedback = feedback[:min(len(feedback), maxFeedback)]
	var list *[]string // where the last quoted text went
	end, found := 0, 0 // of the last quoted text; how many so far
	for at := 0; at < len(feedback) && found < maxDemands; {
		text, size := quotedText(feedback, at)
		if size == 0 {
			at++
			continue
		}
		words := strings.ToValidUTF8(feedback[max(end, at-maxBefore):at], "")
		switch {
		case list != nil && listWords.MatchString(words): // "A", "B" and "C"
		case mismatchWords.MatchString(words):
			list = &d.mismatch
		case matchWords.MatchString(words):
			list = &d.match
		case excludeWords.MatchString(words):
			list = &d.exclude
		case containWords.MatchString(words):
			list = &d.contain
		default:
			list = nil
		}
		if list == &d.match || list == &d.mismatch {
			if _, err := regexp.Compile(text); err != nil {
				list = nil
			}
		}
		if list != nil && text != "" && !slices.Contains(*list, text) {
			*list = append(*list, text)
		}
		at += size
		end, found = at, found+1
	}
	d.contain = slices.DeleteFunc(d.contain, func(s string) bool { return slices.Contains(d.exclude, s) })
	d.match = slices.DeleteFunc(d.match, func(s string) bool { return slices.Contains(d.mismatch, s) })

	for _, m := range lengthWords.FindAllStringSubmatch(feedback, -1) {
		n, ok := count(m[2])
		if !ok {
			continue
		}
		switch words := strings.ToLower(m[1]); {
		case words == "exactly":
			d.bound(m[3], n, n)
		case slices.Contains([]string{"at most", "up to", "maximum of"}, words), strings.HasSuffix(words, "more than"), strings.HasSuffix(words, "longer than"):
			d.bound(m[3], 0, n)
		default:
			d.bound(m[3], n, schemagen.Unbounded)
		}
	}
	for _, m := range betweenWords.FindAllStringSubmatch(feedback, -1) {
		lo, ok1 := count(m[1])
		hi, ok2 := count(m[2])
		if ok1 && ok2 {
			d.bound(m[3], lo, hi)
		}
	}
	d.json = d.json || jsonWords.MatchString(noJSONWords.ReplaceAllString(feedback, ""))
}

// bound sets the range of counts of a unit.
func (d *demands) bound(unit string, least, most int) {
	of := func(s *span) {
		s.least = max(s.least, least)
		if most < schemagen.Unbounded && (s.most == 0 || most < s.most) {
			s.most = most
		}
	}
	switch strings.TrimSuffix(strings.ToLower(unit), "s") {
	case "word":
		of(&d.words)
	case "sentence":
		of(&d.sentences)
	case "item", "line", "property", "propertie", "time", "entry", "entrie":
	default: // characters, or no unit
		d.least, d.most = max(d.least, least), min(d.most, most)
	}
}

func count(digits string) (int, bool) {
	n, err := strconv.Atoi(strings.NewReplacer(",", "", "_", "").Replace(digits))
	return n, err == nil && n <= schemagen.Longest
}

// quotedText returns the text of the quotation that begins at s[at], and its length with
// the quotes; 0 if none begins there. Text in double quotes may have escapes, as in Go or
// JSON.
func quotedText(s string, at int) (text string, size int) {
	rest := s[at:min(len(s), at+maxQuoted)]
	for _, q := range []struct{ open, close string }{{`"`, `"`}, {"`", "`"}, {"“", "”"}, {"‘", "’"}, {"'", "'"}} {
		if !strings.HasPrefix(rest, q.open) {
			continue
		}
		if q.open == `"` {
			if prefix, err := strconv.QuotedPrefix(rest); err == nil {
				if text, err := strconv.Unquote(prefix); err == nil {
					return text, len(prefix)
				}
			}
		}
		if q.open == "'" && at > 0 && letter(s[at-1]) {
			return "", 0 // an apostrophe
		}
		inside := rest[len(q.open):]
		i := strings.Index(inside, q.close)
		for q.open == "'" && i >= 0 && i+1 < len(inside) && letter(inside[i+1]) {
			next := strings.Index(inside[i+1:], q.close) // an apostrophe
			if next < 0 {
				return "", 0
			}
			i += 1 + next
		}
		if i < 0 || strings.Contains(inside[:i], "\n") {
			return "", 0
		}
		return inside[:i], len(q.open) + i + len(q.close)
	}
	return "", 0
}

func letter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }

// composed changes the previous answer so that it meets the demands, or makes a new one if
// that is not possible.
func (d demands) composed(previous string, r *rand.Rand) (answer string) {
	const tries = 60
	for i := range tries {
		base := previous
		if strings.TrimSpace(base) == "" || i >= tries/2 {
			base = Prose(r)
		}
		answer = d.compose(base, r)
		if d.met(answer) {
			break
		}
	}
	return answer
}

// compose changes base to a text that nearly meets the demands.
func (d demands) compose(base string, r *rand.Rand) string {
	if d.json {
		const frame = len(`{"answer":""}`)
		inner := d
		inner.json, inner.least = false, max(0, d.least-frame)
		if d.most != schemagen.Unbounded {
			inner.most = max(0, d.most-frame)
		}
		text, err := schemagen.Encode(map[string]string{"answer": inner.compose(base, r)})
		if err != nil {
			return base // a text always encodes
		}
		return text
	}
	base = d.counted(base, r)
	var missing []string
	for _, s := range d.contain {
		if !strings.Contains(base, s) {
			missing = append(missing, s)
		}
	}
	lead := strings.Join(missing, ", ")
	if len(d.match) > 0 {
		text, err := schemagen.Matching(d.match[r.IntN(len(d.match))], d.least, d.most, r)
		if err != nil {
			return base
		}
		lead = strings.Join(d.contain, ", ")
		for _, s := range []string{text, text + " " + lead, lead + " " + text} {
			if d.met(s) {
				return s
			}
		}
		return text
	}
	for _, s := range d.exclude {
		base = strings.ReplaceAll(base, s, "")
	}
	for _, expr := range d.mismatch {
		base = regexp.MustCompile(expr).ReplaceAllString(base, "")
	}
	text := base
	if lead != "" {
		text = lead + ". " + base
		if d.most == schemagen.Unbounded {
			// A long answer must not get longer, since there may be a limit. A short one
			// keeps its words, since they may have been demanded.
			text = firstRunes(text, max(utf8.RuneCountInString(base), utf8.RuneCountInString(lead), 60))
		}
	}
	text = firstRunes(text, d.most)
	if n := utf8.RuneCountInString(text); n < d.least {
		text += firstRunes(" "+schemagen.Words(d.least-n, schemagen.Unbounded, r), d.least-n) // no longer: there may be a limit
	}
	if strings.TrimSpace(text) != text {
		text = strings.TrimSpace(text)
		text += strings.Repeat(".", max(0, d.least-utf8.RuneCountInString(text)))
	}
	return text
}

// sentenceEnds matches the ends of sentences, ignoring abbreviations.
var sentenceEnds = regexp.MustCompile(`[.!?]+(?:\s+|$)`)

// counted makes as many words and sentences of a text as are asked for.
func (d demands) counted(text string, r *rand.Rand) string {
	if n := len(strings.Fields(text)); !d.words.has(n) {
		if n < d.words.least {
			more := make([]string, d.words.least-n)
			for i := range more {
				more[i] = schemagen.Word(r)
			}
			text = strings.TrimRight(text, ".!? \n") + " " + strings.Join(more, " ") + "."
		} else {
			text = strings.Join(strings.Fields(text)[:d.words.most], " ")
		}
	}
	ends := sentenceEnds.FindAllStringIndex(text, -1)
	if len(ends) > d.sentences.most && d.sentences.most > 0 {
		return strings.TrimSpace(text[:ends[d.sentences.most-1][1]])
	}
	for n := len(ends); n < d.sentences.least; n++ {
		text = strings.TrimSpace(text)
		if text != "" && n == 0 {
			text += "."
			continue
		}
		sentence := schemagen.Words(0, schemagen.Unbounded, r)
		text += " " + strings.ToUpper(sentence[:1]) + sentence[1:] + "."
	}
	return strings.TrimSpace(text)
}

// answerIn returns the text of an answer in JSON as it is made here.
func answerIn(text string) string {
	var v struct {
		Answer string `json:"answer"`
	}
	if json.Unmarshal([]byte(text), &v) != nil {
		return ""
	}
	return v.Answer
}

func firstRunes(s string, n int) string {
	for i := range s {
		if n--; n < 0 {
			return s[:i]
		}
	}
	return s
}

// textFixes are the fixes of a text, or of the part of it at the complaint's place, given
// the values in the phrase.
var textFixes = []struct {
	fix *phrase.Phrase
	do  func(text string, p point, values []string, r *rand.Rand) (string, bool)
}{
	{phrase.Text, invented},
	{phrase.NoJSON, invented},
	{phrase.UTF8, func(text string, _ point, _ []string, _ *rand.Rand) (string, bool) {
		return strings.ToValidUTF8(text, ""), true
	}},
	// "write a date and nothing else, like 2026-01-31": a simple model answers with the
	// example.
	{phrase.Example, func(_ string, _ point, values []string, _ *rand.Rand) (string, bool) { return values[1], true }},
	{phrase.ExampleIn, func(_ string, _ point, values []string, _ *rand.Rand) (string, bool) {
		text, size := quotedText(values[0], 0)
		return text, size > 0
	}},
	{phrase.InFormat, func(_ string, _ point, values []string, r *rand.Rand) (string, bool) {
		return schemagen.InFormat(values[0], false, r), true
	}},
	{phrase.JustValue, func(_ string, _ point, values []string, _ *rand.Rand) (string, bool) { return values[0], true }},
	{phrase.OneOfThese, oneOfListed},
	{phrase.AnythingBut, anythingBut},
	{phrase.InDigits, inDigits},
	{phrase.Integer, inDigits},
	{phrase.Digits, inDigits},
	{phrase.LeaveOut, withoutThing("")},
	{phrase.LeaveOrEscape, withoutThing("")},
	{phrase.LeaveComment, withoutThing("")},
	{phrase.Placeholder, withoutThing("<left out>")},
	{phrase.Quote, requoted},
}

func invented(_ string, _ point, _ []string, r *rand.Rand) (string, bool) { return Prose(r), true }

// fixPlaces applies the fixes of a text, and returns the points about something else.
func fixPlaces(text string, points []point, r *rand.Rand) (string, []point) {
	var left []point
	for _, p := range backwards(points) {
		done := false
		for _, m := range textFixes {
			values, read := m.fix.Read(p.fix)
			if !read {
				continue
			}
			var fixed string
			if fixed, done = m.do(text, p, values, r); done {
				text = fixed
				break
			}
		}
		if !done {
			left = append(left, p)
		}
	}
	return text, left
}

// oneOfListed chooses the value that was meant, as the complaint says, or any value.
func oneOfListed(_ string, p point, values []string, r *rand.Rand) (string, bool) {
	for _, near := range []*phrase.Phrase{phrase.IfMeant, phrase.NearestText} {
		if meant, ok := near.Find(p.fix); ok {
			return meant[0], true
		}
	}
	listed := quotedTexts(values[0])
	if len(listed) == 0 {
		return "", false
	}
	return listed[r.IntN(len(listed))], true
}

// anythingBut answers with something other than the quoted texts.
func anythingBut(_ string, _ point, values []string, r *rand.Rand) (string, bool) {
	return demands{exclude: quotedTexts(values[0]), most: schemagen.Unbounded}.composed("", r), true
}

// quotedTexts returns the texts that a list quotes.
func quotedTexts(list string) (texts []string) {
	for at := 0; at < len(list) && len(texts) < maxDemands; {
		text, size := quotedText(list, at)
		if size > 0 {
			texts = append(texts, text)
		}
		at += max(size, 1)
	}
	return texts
}

// inDigits answers with the number that the complaint found in the text, or with one in the
// range that it names.
func inDigits(text string, p point, values []string, r *rand.Rand) (string, bool) {
	b := boundsOf(p.fix)
	var n json.Number
	if len(values) > 1 {
		n = json.Number(values[1])
	}
	if _, ok := rational(text); ok && n == "" {
		n = json.Number(text)
	}
	if n == "" {
		n = json.Number(strconv.Itoa(r.IntN(100)))
	}
	n, ok := b.nearest(n)
	return string(n), ok
}

// thing is what a complaint calls "it": an armoured key, a comment, digits in
// groups, or else all up to the next blank or mark.
var thing = regexp.MustCompile("^(?s:-----BEGIN.*?-----END[^\n]*-----|/\\*.*?\\*/|[A-Z]{2}[0-9]{2}(?: ?[A-Z0-9]{1,4})+|[0-9]+(?:[ -][0-9]+)+|[^\\s\"'`,;)]+)")

// withoutThing removes or replaces what is at the complaint's place.
func withoutThing(with string) func(string, point, []string, *rand.Rand) (string, bool) {
	return func(text string, p point, _ []string, _ *rand.Rand) (string, bool) {
		at, ok := offset(text, p.line, p.column)
		if !ok {
			return with, true
		}
		return text[:at] + with + text[at+len(thing.FindString(text[at:])):], true
	}
}

// requoted replaces a quotation that is not in the sources with the passage in the
// complaint, or removes it if there is none.
func requoted(text string, p point, _ []string, _ *rand.Rand) (string, bool) {
	given, ok := phrase.NoQuotation.Read(p.problem)
	if !ok {
		return "", false
	}
	passage := ""
	if near, ok := phrase.NearestPassage.Find(p.fix); ok {
		passage = near[0]
	}
	left, right, found := strings.Cut(text, strings.TrimSuffix(given[0], "…"))
	switch {
	case !found && passage == "":
		return "", false
	case !found || left == "" && right == "": // all of the text
		return passage, true
	case passage == "": // with its marks
		return strings.TrimRight(left, `"“„«»「『”`) + strings.TrimLeft(right, `"”“»«」』…`), true
	}
	return left + passage + right, true
}
