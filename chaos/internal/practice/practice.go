// Package practice imitates a simple model: given an answer and a user's complaint about
// it, it makes the next answer. It does not know the checks, and acts on the words of
// their complaints. Tables say which words it understands and what it does then:
//
//	programs     what code is asked for                  code.go
//	syntaxFixes  what JSON must not have in it           json.go
//	valueFixes   what a value within JSON must be        value.go
//	textFixes    what a text must be, at its place       text.go
//	demands      what a text must contain, how long      text.go
//
// It can't correct a program, prove a quotation or solve an equation. For these it gives
// the simplest correct answer: a small program, the passage in the complaint, or none.
package practice

import (
	"encoding/json"
	"math/rand/v2"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"llmcall/chaos/internal/schemagen"
	"llmcall/internal/phrase"
)

// point is one thing that is wrong with an answer.
type point struct {
	path         []string // of the JSON value that it is about; nil: the whole answer
	line, column int      // in the answer, from 1; 0: not known
	problem      string
	fix          string // how to fix it, or the problem if the complaint does not say
}

var (
	// What a complaint repeats of the request is not a complaint: a question about
	// JSON does not ask for JSON.
	requestWords = regexp.MustCompile(`(?im)^.*\boriginal (?:request|question|prompt)\b.*:\s*$`)
	numberedLine = regexp.MustCompile(`(?m)^(\d+)\. `)
)

// pointsOf reads a user's complaint. One whose points are not numbered is one
// point.
func pointsOf(feedback string) []point {
	feedback = strings.ToValidUTF8(feedback[:min(len(feedback), maxFeedback)], "")
	if at := requestWords.FindStringIndex(feedback); at != nil {
		feedback = feedback[:at[0]]
	}
	var starts [][2]int // of the number, and of what comes after it
	for _, m := range numberedLine.FindAllStringSubmatchIndex(feedback, -1) {
		if feedback[m[2]:m[3]] == strconv.Itoa(len(starts)+1) {
			starts = append(starts, [2]int{m[0], m[1]})
		}
	}
	switch {
	case len(starts) > 0:
	case strings.HasSuffix(feedback, "\n"+phrase.TryAgain):
		starts = [][2]int{{0, 0}}
	default:
		return []point{{problem: feedback, fix: feedback}}
	}
	var points []point
	for i, start := range starts {
		text := feedback[start[1]:]
		if i+1 < len(starts) {
			text = feedback[start[1]:starts[i+1][0]]
		}
		text, _, _ = strings.Cut(text, "\n\n")
		place, rest := phrase.CutPlace(text)
		p := point{problem: strings.TrimSpace(rest), line: place.Line, column: place.Column}
		p.path, _ = schemagen.Tokens(place.Pointer)
		if p.column > 0 {
			p.line = max(p.line, 1)
		}
		if problem, fix, ok := phrase.CutFix(p.problem); ok {
			p.problem, p.fix = problem, fix
			points = append(points, p.steps()...)
			continue
		}
		p.fix = p.problem
		points = append(points, p)
	}
	return points
}

// steps splits a fix into what is to be done one after the other.
func (p point) steps() []point {
	var points []point
	for _, step := range phrase.Steps(p.fix) {
		next := p
		next.fix = step.Text
		if step.Pointer != "" {
			next.path, _ = schemagen.Tokens(step.Pointer)
		}
		points = append(points, next)
	}
	return points
}

// Answer returns the previous answer, corrected as the user's complaint asks, as far as it
// understands the complaint; ok is false if it does not at all. It leaves the rest of the
// answer unchanged, since otherwise a check that passed may fail. mustJSON is set if the
// request itself asks for JSON.
func Answer(previous, feedback string, mustJSON bool, r *rand.Rand) (answer string, ok bool) {
	points := pointsOf(feedback)
	text, left := previous, points
	if whole := strings.TrimSpace(text); json.Valid([]byte(whole)) {
		text, left = fixValues(text, points, r)
	} else if code, ok := programFor(points); ok { // braces in it are its own
		return code, true
	} else {
		text, left = fixValues(text, points, r)
	}
	if code, ok := programFor(left); ok {
		return code, true
	}
	text, left = fixSyntax(text, left)
	text, left = fixPlaces(text, left, r)
	if len(left) == 0 {
		return text, true
	}
	d := demandsOf(left)
	if d.none() {
		return text, len(left) < len(points)
	}
	inner, wasJSON := jsonIn(text)
	d.json = d.json || mustJSON || wasJSON && inner == text
	if d.json && wasJSON {
		if d.met(inner) {
			return inner, true
		}
		text = answerIn(inner)
	}
	return d.composed(text, r), true
}

// demandsOf returns the demands on the whole text: in the phrases of checks, and in other
// words, as users and judges write them.
func demandsOf(points []point) demands {
	d := demands{most: schemagen.Unbounded}
	var all strings.Builder
	for _, p := range points {
		d.ask(p.fix)
		all.WriteString(p.fix + "\n")
		d.json = d.json || demandsIn(p.problem).json && !noJSONWords.MatchString(p.fix)
	}
	d.read(all.String())
	return d
}

// jsonIn returns the JSON in a text, which may be in prose or a Markdown fence.
func jsonIn(text string) (string, bool) {
	if whole := strings.TrimSpace(text); json.Valid([]byte(whole)) {
		return whole, true
	}
	i, j := strings.IndexAny(text, "{["), strings.LastIndexAny(text, "}]")
	if i < 0 || j < i || !json.Valid([]byte(text[i:j+1])) {
		return "", false
	}
	return text[i : j+1], true
}

// offset returns the offset of a place in the text; ok is false if there is no place.
func offset(text string, line, column int) (at int, ok bool) {
	if line < 1 {
		return 0, false
	}
	for ; line > 1; line-- {
		n := strings.IndexByte(text[at:], '\n')
		if n < 0 {
			return 0, false
		}
		at += n + 1
	}
	for range max(column, 1) - 1 {
		n := len(firstRunes(text[at:], 1))
		if n == 0 || text[at] == '\n' {
			return 0, false
		}
		at += n
	}
	return at, true
}

// backwards orders points so that a fix does not move the places of later ones.
func backwards(points []point) []point {
	sorted := slices.Clone(points)
	slices.SortStableFunc(sorted, func(a, b point) int {
		if a.line != b.line {
			return b.line - a.line
		}
		return b.column - a.column
	})
	return sorted
}

// Prose returns an answer to a request without a schema, which says what it is.
func Prose(r *rand.Rand) string {
	word := func() string { return schemagen.Word(r) }
	return "This answer is invented: no model has read the request. In its place stand the words " +
		word() + ", " + word() + " and " + word() + "."
}

// Thought returns what a model shows of its thoughts, which says what it is.
func Thought(r *rand.Rand) string {
	return "This thought is invented. It begins with " + schemagen.Word(r) + " and ends with " + schemagen.Word(r) + "."
}
