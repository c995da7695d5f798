package chaos

import (
	"encoding/json"
	"math/rand/v2"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// demands are what a user asks of the next answer.
type demands struct {
	contain, exclude []string
	match, mismatch  []string // regular expressions
	least, most      int      // characters
	json             bool
}

func (d demands) none() bool {
	return len(d.contain)+len(d.exclude)+len(d.match)+len(d.mismatch) == 0 && d.least == 0 && d.most == unbounded && !d.json
}

// met reports whether an answer is what was asked for.
func (d demands) met(answer string) bool {
	n := utf8.RuneCountInString(answer)
	if n < d.least || n > d.most || d.json && !json.Valid([]byte(answer)) {
		return false
	}
	found := func(s string) bool { return strings.Contains(answer, s) }
	matched := func(expr string) bool { return regexp.MustCompile(expr).MatchString(answer) }
	missed := func(s string) bool { return !found(s) }
	unmatched := func(expr string) bool { return !matched(expr) }
	return !slices.ContainsFunc(d.contain, missed) && !slices.ContainsFunc(d.exclude, found) &&
		!slices.ContainsFunc(d.match, unmatched) && !slices.ContainsFunc(d.mismatch, matched)
}

// How complaints are worded. They are read tolerantly: only the words right
// before a quoted text or a number matter, and a sentence that isn't understood
// is passed over. Of the problem and its mending, which a complaint may hold
// both, the mending counts.
var (
	containWords  = before(`\b(?:contain|include|mention)(?:s|ed|ing)?\b`)
	excludeWords  = before(`\b(?:leave out|remove|avoid|without|(?:must not|should not|may not|do not|mustn't|shouldn't|don't) (?:contain|include|mention))\b`)
	matchWords    = before(`(?:\bmatch(?:es|ed|ing)?\b|\bregular expression\b|\bregexp?\b|\bpattern\b)`)
	mismatchWords = before(`\b(?:must not|should not|may not|do not|mustn't|shouldn't|don't) match\b`)
	listWords     = regexp.MustCompile(`^\s*(?:,|,?\s*and|,?\s*or)\s*$`)

	lengthWords  = regexp.MustCompile(`(?i)\b(at least|no fewer than|no less than|no shorter than|not fewer than|not less than|not shorter than|minimum of|at most|no more than|no longer than|not more than|not longer than|up to|maximum of|exactly)\s+([\d,_]+)(?:\s+(\w+))?`)
	betweenWords = regexp.MustCompile(`(?i)\bbetween\s+([\d,_]+)\s+and\s+([\d,_]+)(?:\s+(\w+))?`)

	// What a complaint repeats of the request is no complaint: a question about
	// JSON does not ask for JSON.
	requestWords = regexp.MustCompile(`(?im)^.*\boriginal (?:request|question|prompt)\b.*:\s*$`)

	jsonWords   = regexp.MustCompile(`\bJSON\b`)
	noJSONWords = regexp.MustCompile(`(?i)\b(?:must|should|do) not (?:be|contain|use|answer with)\b[^.\n]{0,20}\bjson\b|\bwithout json\b`)
)

// before makes an expression for words that a quoted text follows, with a few
// words between at most.
func before(words string) *regexp.Regexp {
	return regexp.MustCompile(`(?i)` + words + "[^\"'“‘`.\n]{0,40}$")
}

// notCharacters are the units of lengths that aren't a text's.
var notCharacters = []string{"word", "words", "item", "items", "line", "lines", "sentence", "sentences", "property", "properties", "time", "times", "entry", "entries"}

// The bounds on what is read, so that a prompt of megabytes takes no longer
// than it must.
const (
	maxFeedback = 1 << 16 // bytes
	maxQuoted   = 1000    // bytes of one quoted text
	maxDemands  = 50      // quoted texts
	maxBefore   = 100     // bytes before a quoted text
)

// read reads what a user's complaint asks for.
func read(feedback string) demands {
	d := demands{most: unbounded}
	feedback = feedback[:min(len(feedback), maxFeedback)]
	if at := requestWords.FindStringIndex(feedback); at != nil {
		feedback = feedback[:at[0]]
	}
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
		if !ok || slices.Contains(notCharacters, strings.ToLower(m[3])) {
			continue
		}
		switch words := strings.ToLower(m[1]); {
		case words == "exactly":
			d.least, d.most = n, n
		case slices.Contains([]string{"at most", "up to", "maximum of"}, words), strings.HasSuffix(words, "more than"), strings.HasSuffix(words, "longer than"):
			d.most = min(d.most, n)
		default:
			d.least = max(d.least, n)
		}
	}
	for _, m := range betweenWords.FindAllStringSubmatch(feedback, -1) {
		lo, ok1 := count(m[1])
		hi, ok2 := count(m[2])
		if ok1 && ok2 && !slices.Contains(notCharacters, strings.ToLower(m[3])) {
			d.least, d.most = max(d.least, lo), min(d.most, hi)
		}
	}
	d.json = jsonWords.MatchString(noJSONWords.ReplaceAllString(feedback, ""))
	return d
}

func count(digits string) (int, bool) {
	n, err := strconv.Atoi(strings.NewReplacer(",", "", "_", "").Replace(digits))
	return n, err == nil && n <= longest
}

// quotedText returns the text of the quotation that begins at s[at], and its
// length with the quotes; 0 if none begins there. Text in double quotes may be
// written as in Go or JSON, with escapes, or as it is.
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

// mended returns an answer as the user's complaint about the previous one asks
// for, as far as it is understood; ok is false if nothing of it is. What the
// complaint does not speak of stays as it was: a check that passed may fail
// otherwise. mustJSON is set where the request itself asks for JSON.
func mended(previous, feedback string, mustJSON bool, r *rand.Rand) (answer string, ok bool) {
	d := read(feedback)
	if d.none() {
		return "", false
	}
	inner, wasJSON := jsonIn(previous)
	d.json = d.json || mustJSON || wasJSON && inner == previous
	if d.json && wasJSON {
		if d.met(inner) {
			return inner, true
		}
		previous = answerIn(inner)
	}
	const tries = 60
	for i := range tries {
		base := previous
		if strings.TrimSpace(base) == "" || i >= tries/2 {
			base = prose(r)
		}
		answer = d.compose(base, r)
		if d.met(answer) {
			break
		}
	}
	return answer, true
}

// compose makes a text of base that is near to what is asked for.
func (d demands) compose(base string, r *rand.Rand) string {
	if d.json {
		const frame = len(`{"answer":""}`)
		inner := d
		inner.json, inner.least = false, max(0, d.least-frame)
		if d.most != unbounded {
			inner.most = max(0, d.most-frame)
		}
		text, err := encode(map[string]string{"answer": inner.compose(base, r)})
		if err != nil {
			return base // a text always encodes
		}
		return text
	}
	var missing []string
	for _, s := range d.contain {
		if !strings.Contains(base, s) {
			missing = append(missing, s)
		}
	}
	lead := strings.Join(missing, ", ")
	if len(d.match) > 0 {
		text, err := matching(d.match[r.IntN(len(d.match))], d.least, d.most, r)
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
	text := base
	if lead != "" {
		text = lead + ". " + base
		if d.most == unbounded {
			// A long answer gets no longer: there may be a limit that was kept so
			// far. A short one keeps its words: they may have been asked for.
			text = firstRunes(text, max(utf8.RuneCountInString(base), utf8.RuneCountInString(lead), 60))
		}
	}
	text = firstRunes(text, d.most)
	if n := utf8.RuneCountInString(text); n < d.least {
		text += firstRunes(" "+phrase(d.least-n, unbounded, r), d.least-n) // no longer: there may be a limit
	}
	if strings.TrimSpace(text) != text {
		text = strings.TrimSpace(text)
		text += strings.Repeat(".", max(0, d.least-utf8.RuneCountInString(text)))
	}
	return text
}

// jsonIn returns the JSON that prose or a Markdown fence holds.
func jsonIn(text string) (string, bool) {
	i, j := strings.IndexAny(text, "{["), strings.LastIndexAny(text, "}]")
	if i < 0 || j < i || !json.Valid([]byte(text[i:j+1])) {
		return "", false
	}
	return text[i : j+1], true
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

// prose is an answer to a request without a schema. It says what it is.
func prose(r *rand.Rand) string {
	word := func() string { return words[r.IntN(len(words))] }
	return "This answer is invented: no model has read the request. In its place stand the words " +
		word() + ", " + word() + " and " + word() + "."
}
