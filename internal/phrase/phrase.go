// Package phrase has the words in which a check says what is wrong with an answer
// and how to fix it, as far as another part acts on them. Package validate writes
// them, and the practice model of package chaos reads them: what both need to
// agree on is here, once.
//
// A phrase is written and read by one template:
//
//	phrase.LeastItems.Of(3, "an integer")  // "give it at least 3 items, each an integer"
//	args, ok := phrase.LeastItems.Read(text) // "3", "an integer"
//
// Whoever wants to say it in other words changes the template alone.
package phrase

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"sync"
)

// Phrase is a sentence, or a part of one, with places for values.
type Phrase struct {
	template string
	compiled func() form // at the first use: most programs use few of them
}

// form is a template, compiled.
type form struct {
	parts  []part
	reads  *regexp.Regexp // a whole text
	within *regexp.Regexp // a part of one
	quoted []bool         // of each place
}

// part is a text, or a place where the text is empty. An optional part is left
// out together with its place.
type part struct {
	before   string
	place    string
	noun     noun
	optional bool
}

// noun is what a number counts; the zero value is none.
type noun struct{ singular, plural string }

// The kinds of places, and what each may hold. A text is as short as it can be,
// but the last place of a phrase takes all that is left.
var kinds = map[string]string{
	"n":       `\d+`,
	"number":  `-?\d[\d.]*(?:[eE][+-]?\d+)?`,
	"quoted":  `"(?:[^"\\]|\\.)*"`,
	"pattern": "`[^`]*`|" + `"(?:[^"\\]|\\.)*"`,
	"json":    `["{[].*|true|false|null|-?\d.*`,
	"literal": `true|false|null`,
	"pointer": `/\S*`, // one with a blank in a token is not read
	"text":    `.+`,
}

// place is a place in a template: {kind}, or [text{kind}text] for an optional one.
// {n item|items} is a number and the noun that agrees with it.
var place = regexp.MustCompile(`\[([^\[\]{}]*)\{(\w+)\}([^\[\]{}]*)\]|\{(\w+)(?: (\w+)\|(\w+))?\}`)

// fixes are the phrases that say what to do, in the order in which they are
// declared.
var fixes []*Phrase

// fix makes a phrase that says what to do, from its template.
func fix(template string) *Phrase {
	p := words(template)
	fixes = append(fixes, p)
	return p
}

// words makes a phrase that says something else, or a part of one.
func words(template string) *Phrase {
	return &Phrase{template, sync.OnceValue(func() form { return compile(template) })}
}

func compile(template string) form {
	var f form
	var expr strings.Builder
	end := 0
	goesOn := "(?:;.*)?"
	places := place.FindAllStringSubmatchIndex(template, -1)
	for i, m := range places {
		text := template[end:m[0]]
		expr.WriteString(regexp.QuoteMeta(text))
		f.parts = append(f.parts, part{before: text})
		group := 8
		optional := m[2] >= 0
		if optional {
			group = 4
		}
		kind := template[m[group]:m[group+1]]
		holds, known := kinds[kind]
		if !known {
			panic("phrase: no such kind of place: " + template)
		}
		rest := template[m[1]:]
		if last := i == len(places)-1 && rest == ""; kind == "text" && !last {
			holds += "?"
		}
		if optional {
			before, after := template[m[2]:m[3]], template[m[6]:m[7]]
			f.parts = append(f.parts, part{before: before, place: kind, optional: true}, part{before: after, optional: true})
			expr.WriteString("(?:" + regexp.QuoteMeta(before) + "(" + holds + ")" + regexp.QuoteMeta(after) + ")?")
		} else {
			p := part{place: kind}
			expr.WriteString("(" + holds + ")")
			if m[10] >= 0 {
				p.noun = noun{template[m[10]:m[11]], template[m[12]:m[13]]}
				expr.WriteString(" (?:" + p.noun.singular + "|" + p.noun.plural + ")")
			}
			f.parts = append(f.parts, p)
			if (kind == "text" || kind == "json") && (rest == "" || rest[0] == '[') {
				goesOn = "" // a semicolon is the text's
			}
		}
		f.quoted = append(f.quoted, kind == "quoted" || kind == "pattern")
		end = m[1]
	}
	f.parts = append(f.parts, part{before: template[end:]})
	expr.WriteString(regexp.QuoteMeta(template[end:]))
	f.reads = regexp.MustCompile("(?s)^" + expr.String() + goesOn + "$")
	f.within = regexp.MustCompile(`(?s)\b` + expr.String())
	return f
}

// Of writes the phrase with a value for each of its places. A value for a {quoted}
// or {pattern} place is quoted. An optional place whose value is "" or missing is
// left out.
func (p *Phrase) Of(values ...any) string {
	var b strings.Builder
	next := 0
	left := false // the optional part that this one belongs to is left out
	for _, piece := range p.compiled().parts {
		if piece.place == "" {
			if !piece.optional || !left {
				b.WriteString(piece.before)
			}
			continue
		}
		value := ""
		if next < len(values) {
			value = fmt.Sprint(values[next])
		}
		next++
		if left = piece.optional && value == ""; left {
			continue
		}
		switch piece.place {
		case "quoted":
			value = strconv.Quote(value)
		case "pattern":
			value = Pattern(value)
		}
		b.WriteString(piece.before + value)
		switch {
		case piece.noun == noun{}:
		case value == "1":
			b.WriteString(" " + piece.noun.singular)
		default:
			b.WriteString(" " + piece.noun.plural)
		}
	}
	return b.String()
}

// Read reads a text that is the phrase, or that begins with it and goes on after
// a semicolon (which belongs to a text at the end of the phrase). It returns the values of the places, those in quotes without them;
// an optional place that was left out is "".
func (p *Phrase) Read(text string) (values []string, ok bool) {
	f := p.compiled()
	return f.values(f.reads.FindStringSubmatch(text))
}

// Find is [Phrase.Read] for a phrase somewhere in a text.
func (p *Phrase) Find(text string) (values []string, ok bool) {
	f := p.compiled()
	return f.values(f.within.FindStringSubmatch(text))
}

func (f form) values(groups []string) ([]string, bool) {
	if groups == nil {
		return nil, false
	}
	values := groups[1:]
	for i, quoted := range f.quoted {
		if !quoted || values[i] == "" {
			continue
		}
		value, err := strconv.Unquote(values[i])
		if err != nil {
			return nil, false
		}
		values[i] = value
	}
	return values, true
}

// String returns the template.
func (p *Phrase) String() string { return p.template }

// Pattern writes a regular expression in quotes, for a model to read. Within ""
// a backslash would have to be doubled, which is another pattern to many.
func Pattern(pattern string) string {
	if strings.ContainsAny(pattern, `\"`) && strconv.CanBackquote(pattern) {
		return "`" + pattern + "`"
	}
	return strconv.Quote(pattern)
}
