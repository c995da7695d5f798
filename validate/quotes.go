package validate

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"llmcall/internal/phrase"
	"llmcall/internal/say"
	"llmcall/llm"
	"llmcall/validate/internal/jsontext"
)

// QuoteConfig configures [Quotes].
type QuoteConfig struct {
	// Sources are the texts that may be quoted. They may be empty if FromRequest is
	// set.
	Sources []string
	// FromRequest adds the text of the user's messages in the request to the sources.
	// Default false.
	FromRequest bool
	// MinWords is the least number of words of a quotation: fewer are taken for a
	// title, or for a word in scare quotes. Default 0: 3.
	MinWords int
	// Whole treats the whole text as one quotation without marks around it, for a
	// field of a JSON answer (see [At]). Default false.
	Whole bool
}

// Quotes returns a check, named "quotes", that passes a text whose quotations occur in
// the sources. A quotation is a text between the marks "…", “…”, „…“, «…», »…«, 「…」 or
// 『…』 within one paragraph, or a Markdown block quote. Text in single quotation marks,
// which are also apostrophes, and in code is not a quotation. In an answer that is a
// JSON object or array, each string is checked separately.
//
// A quotation occurs in a source that has its words in the same order. Case, white
// space, punctuation, emphasis, and compatible forms of a character (NFKC) are ignored.
// Three dots, or square brackets with a text in them, mean words left out: the words
// around them must occur in this order in one source. A bracketed letter ("[T]he") is
// that letter.
//
// The complaint has the quotation and the most similar passage of the sources.
//
// The error is a *[ParamError]: MinWords is negative, or there are no sources.
func Quotes(cfg QuoteConfig) (Strategy, error) {
	bad := func(param, got, takes string) (Strategy, error) {
		return nil, &ParamError{Check: "quotes", Param: param, Got: got, Takes: takes}
	}
	switch {
	case cfg.MinWords < 0:
		return bad("min_words", strconv.Itoa(cfg.MinWords), takesMost)
	case len(cfg.Sources) == 0 && !cfg.FromRequest:
		return bad("sources", "nothing", "at least one string unless from_request is set")
	case cfg.MinWords == 0:
		cfg.MinWords = 3
	}
	c := quotes{QuoteConfig: cfg}
	for i, text := range cfg.Sources {
		s := newSource(text)
		if len(s.tokens) == 0 {
			return bad(fmt.Sprintf("sources[%d]", i), strconv.Quote(say.Short(text, 60)), "a text with at least one word")
		}
		c.sources = append(c.sources, s)
	}
	return c, nil
}

type quotes struct {
	QuoteConfig
	sources []source
}

func (quotes) Name() string { return "quotes" }

func (c quotes) Check(ctx context.Context, a *Answer) (Verdict, error) {
	sources := c.sources
	if c.FromRequest {
		if a.Request == nil {
			return Verdict{}, errors.New("its sources are in the request, and there is no request")
		}
		sources = slices.Clone(sources)
		for _, m := range a.Request.Messages {
			if m.Role == llm.RoleUser {
				sources = append(sources, newSource(m.Text()))
			}
		}
	}
	var complaints []Complaint
	wrong := 0
	for _, q := range c.quotations(a) {
		if err := ctx.Err(); err != nil {
			return Verdict{}, err
		}
		pieces, n := piecesOf(q.text)
		if n < c.MinWords && !c.Whole || slices.ContainsFunc(sources, func(s source) bool { return s.has(pieces) }) {
			continue
		}
		if wrong++; wrong > say.MaxListed {
			continue
		}
		complaint := Complaint{
			Problem:    phrase.NoQuotation.Of(say.Short(q.text, 200)),
			Pointer:    q.pointer,
			Suggestion: phrase.Quote.Of(),
		}
		if q.pointer == "" && !c.Whole {
			complaint.Line, complaint.Column = jsontext.Position(a.Text, q.start)
		}
		if passage := nearestPassage(sources, slices.Concat(pieces...)); passage != "" {
			complaint.Suggestion += "; " + phrase.NearestPassage.Of(say.Short(passage, 300))
		}
		complaints = append(complaints, complaint)
	}
	return Verdict{Complaints: append(complaints, more(wrong-say.MaxListed, "quotation that is in none of the sources", "quotations that are in none of the sources")...)}, nil
}

type quotation struct {
	text    string
	start   int    // offset in the answer's text, unless it is JSON
	pointer string // the place in JSON
}

// quotations returns the quotations in an answer.
func (c quotes) quotations(a *Answer) (found []quotation) {
	if c.Whole {
		return []quotation{{text: a.Text}}
	}
	doc := a.decoded.decode(a.Text)
	switch doc.Value.(type) {
	case map[string]any, []any:
		eachString(doc.Value, nil, func(path []string, text string) {
			for _, at := range quotedSpans(text) {
				found = append(found, quotation{text: text[at[0]:at[1]], pointer: say.ShortPointer(path)})
			}
		})
		return found
	}
	for _, at := range quotedSpans(a.Text) {
		found = append(found, quotation{text: a.Text[at[0]:at[1]], start: at[0]})
	}
	return found
}

// eachString visits the strings in a JSON value, in the order of their names.
func eachString(value any, path []string, visit func(path []string, text string)) {
	switch v := value.(type) {
	case string:
		visit(path, v)
	case []any:
		for i, inner := range v {
			eachString(inner, append(path, strconv.Itoa(i)), visit)
		}
	case map[string]any:
		names := make([]string, 0, len(v))
		for name := range v {
			names = append(names, name)
		}
		slices.Sort(names)
		for _, name := range names {
			eachString(v[name], append(path, name), visit)
		}
	}
}

// closings are the marks that end a quotation, by the mark that begins it.
var closings = map[rune]string{
	'"': `"`, '“': `”`, '„': `“”"`, '«': `»`, '»': `«`, '「': `」`, '『': `』`, '”': `”`,
}

// quotedSpans returns the start and end of each quotation, without its marks.
func quotedSpans(text string) (spans [][2]int) {
	paragraph := 0 // where the current one begins
	end := func(at int) {
		spans = append(spans, markedSpans(text, paragraph, at)...)
	}
	block := -1 // where the current block quote begins
	fenced := ""
	for at := 0; at < len(text); {
		line, _, _ := strings.Cut(text[at:], "\n")
		next := min(at+len(line)+1, len(text))
		trimmed := strings.TrimSpace(line)
		mark := jsontext.Fence(trimmed)
		quoted := fenced == "" && strings.HasPrefix(trimmed, ">")
		if block >= 0 && !quoted {
			spans, block = append(spans, [2]int{block, at}), -1
			paragraph = at
		}
		switch {
		case fenced != "":
			if mark != "" && mark[0] == fenced[0] && len(mark) >= len(fenced) && trimmed == mark {
				fenced = ""
			}
			paragraph = next
		case mark != "":
			end(at)
			fenced, paragraph = mark, next
		case quoted:
			if block < 0 {
				end(at)
				block = at
			}
			paragraph = next
		case trimmed == "":
			end(at)
			paragraph = next
		}
		at = next
	}
	if block >= 0 {
		return append(spans, [2]int{block, len(text)})
	}
	end(len(text))
	return spans
}

// markedSpans returns the quotations between marks in one paragraph. One inside
// another is a part of it, and one that is not closed is ignored.
func markedSpans(text string, from, to int) (spans [][2]int) {
	code := false
	before := ' '
	open := "" // the marks that are not closed in the rest of the paragraph
	for at := from; at < to; {
		r, size := utf8.DecodeRuneInString(text[at:to])
		switch closing := closings[r]; {
		case r == '`':
			code = !code
		case code || closing == "" || strings.ContainsRune(open, r):
		case letterOrDigit(before) && strings.ContainsRune(`"”»`, r): // an inch, or a mark that closes
		default:
			if end, ok := closingMark(text, at+size, to, closing); ok {
				spans = append(spans, [2]int{at + size, end})
				_, size = utf8.DecodeRuneInString(text[end:])
				at, before = end+size, ' '
				continue
			}
			open += string(r) // otherwise a run of them would take quadratic time
		}
		at, before = at+size, r
	}
	return spans
}

// closingMark returns the offset of the first closing mark.
func closingMark(text string, from, to int, closing string) (int, bool) {
	before := rune(0)
	for at := from; at < to; {
		r, size := utf8.DecodeRuneInString(text[at:to])
		if strings.ContainsRune(closing, r) {
			after, _ := utf8.DecodeRuneInString(text[at+size : to])
			if r != '"' || !partOfWord(after) && !unicode.IsSpace(before) {
				return at, true
			}
		}
		before = r
		at += size
	}
	return 0, false
}

// source is a text that may be quoted.
type source struct {
	text   string
	tokens []spoken
	joined string // the tokens' words, each with a space before and after it
}

// spoken is a word of a text, in the form in which words are compared.
type spoken struct {
	text       string
	start, end int // in the text
}

func newSource(text string) source {
	s := source{text: text, tokens: wordsOf(text)}
	s.joined = joinWords(s.tokens)
	return s
}

func joinWords(tokens []spoken) string {
	var b strings.Builder
	b.WriteByte(' ')
	for _, t := range tokens {
		b.WriteString(t.text)
		b.WriteByte(' ')
	}
	return b.String()
}

// has reports whether the pieces occur in the text, in their order.
func (s source) has(pieces [][]spoken) bool {
	rest := s.joined
	for _, p := range pieces {
		words := joinWords(p)
		at := strings.Index(rest, words)
		if at < 0 {
			return false
		}
		rest = rest[at+len(words)-1:] // the space is the next word's too
	}
	return true
}

// unspaced are the scripts without spaces between words: each of their letters is
// compared as a word.
var unspaced = []*unicode.RangeTable{
	unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Thai, unicode.Lao, unicode.Khmer, unicode.Myanmar,
}

// wordsOf returns the words of a text: runs of letters, marks and digits, with
// apostrophes, soft hyphens and joiners within them left out.
func wordsOf(text string) (list []spoken) {
	var word []rune
	start, end := 0, 0
	flush := func() {
		if len(word) > 0 {
			folded := strings.Map(fold, norm.NFKC.String(string(word)))
			list = append(list, spoken{norm.NFKC.String(folded), start, end})
			word = word[:0]
		}
	}
	for at, r := range text {
		size := utf8.RuneLen(r)
		if size < 0 || r == utf8.RuneError {
			size = 1
		}
		switch {
		case unicode.IsLetter(r) || unicode.IsDigit(r):
			alone := unicode.In(r, unspaced...)
			if alone {
				flush()
			}
			if len(word) == 0 {
				start = at
			}
			word, end = append(word, r), at+size
			if alone {
				flush()
			}
		case len(word) > 0 && (unicode.Is(unicode.M, r) || unicode.Is(unicode.Cf, r) || r == '\'' || r == '’' || r == 'ʼ'):
			if unicode.Is(unicode.M, r) {
				word, end = append(word, r), at+size
			}
		default:
			flush()
		}
	}
	flush()
	return list
}

// piecesOf splits a quotation where words are left out, and counts its words.
func piecesOf(text string) (list [][]spoken, words int) {
	for _, piece := range strings.Split(omissions(text), "\x00") {
		if t := wordsOf(piece); len(t) > 0 {
			list, words = append(list, t), words+len(t)
		}
	}
	return list, words
}

// omissions replaces what means words left out with a NUL.
func omissions(text string) string {
	var b strings.Builder
	for text != "" {
		switch {
		case strings.HasPrefix(text, "..."):
			b.WriteByte(0)
			text = strings.TrimLeft(text, ".")
		case strings.HasPrefix(text, "…"):
			b.WriteByte(0)
			text = text[len("…"):]
		case text[0] == '[':
			inside, rest, ok := strings.Cut(text[1:], "]")
			if !ok {
				b.WriteByte('[')
				text = text[1:]
				continue
			}
			if r, size := utf8.DecodeRuneInString(inside); size == len(inside) && unicode.IsLetter(r) {
				b.WriteString(inside)
			} else {
				b.WriteByte(0)
			}
			text = rest
		default:
			_, size := utf8.DecodeRuneInString(text)
			b.WriteString(text[:size])
			text = text[size:]
		}
	}
	return b.String()
}

// nearestPassage returns the passage that begins with a word of the quotation, has
// as many words, and has the most words in common with it; "" if none has half of
// them.
func nearestPassage(sources []source, quoted []spoken) string {
	best, passage := (len(quoted)+1)/2-1, ""
	for _, s := range sources {
		wanted := map[string]int{} // how often each word of the quotation is still to be found
		for _, t := range quoted {
			wanted[t.text]++
		}
		shared, end := 0, 0 // of the passage that ends before s.tokens[end]
		for first, t := range s.tokens {
			for ; end < min(first+len(quoted), len(s.tokens)); end++ {
				word := s.tokens[end].text
				if n, ok := wanted[word]; ok {
					if wanted[word]--; n > 0 {
						shared++
					}
				}
			}
			n, ok := wanted[t.text]
			if !ok {
				continue
			}
			if shared > best {
				best, passage = shared, s.text[t.start:s.tokens[end-1].end]
			}
			if wanted[t.text]++; n >= 0 {
				shared--
			}
		}
	}
	return strings.Join(strings.Fields(passage), " ")
}

func quotesDefinition() Definition {
	return Definition{
		Info: Info{
			Name: "quotes", Example: `quotes:{"from_request": true}`,
			Summary: "the quotations in the answer occur in the sources, word for word",
			Params: []Param{
				{Name: "sources", Type: "string or list of strings", Meaning: "the texts that may be quoted; needed unless from_request is set"},
				{Name: "from_request", Type: "boolean", Default: "false", Meaning: "the user's messages may be quoted"},
				{Name: "min_words", Type: "integer", Default: "3", Meaning: "a quotation of fewer words is not looked at"},
				{Name: "whole", Type: "boolean", Default: "false", Meaning: "the whole text is one quotation, as a field of JSON may be (at:/quote …)"},
			},
		},
		Build: func(p Params) (Strategy, error) {
			var cfg QuoteConfig
			var err error
			if p.Value("sources") != nil {
				if cfg.Sources, err = p.Texts("sources"); err != nil {
					return nil, err
				}
			}
			if cfg.FromRequest, err = p.Flag("from_request"); err != nil {
				return nil, err
			}
			if cfg.Whole, err = p.Flag("whole"); err != nil {
				return nil, err
			}
			var given bool
			if cfg.MinWords, given, err = p.Integer("min_words", takesMost); err != nil {
				return nil, err
			}
			if given && cfg.MinWords == 0 {
				return nil, p.Bad("min_words", "0", takesMost)
			}
			return Quotes(cfg)
		},
	}
}
