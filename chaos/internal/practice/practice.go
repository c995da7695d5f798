// Package practice is a model without a model: given an answer and what a user
// complains of in it, it makes the next answer. It corrects as a simple model
// would. It knows nothing of the checks, and acts on the words of their
// complaints. Tables say which words it understands and what it does then:
//
//	programs     what code is asked for                  code.go
//	syntaxFixes  what JSON must not have in it           json.go
//	valueFixes   what a value within JSON must be        value.go
//	textFixes    what a text must be, at its place       text.go
//	demands      what a text must contain, how long      text.go
//
// It can't correct a program, prove a quotation or solve an equation. There it
// does the least that is right: a small program, the quoted passage that the
// complaint shows, no answer.
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
	path         []string // of the JSON value that it is about; nil is the whole answer
	line, column int      // in the answer, from 1; 0 is unknown
	problem      string
	fix          string // how to fix it, or the problem where that is not said
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

// Answer returns an answer as the user's complaint about the previous one asks
// for, as far as it is understood; ok is false if nothing of it is. What the
// complaint does not speak of stays as it was: a check that passed may fail
// otherwise. mustJSON is set where the request itself asks for JSON.
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

// demandsOf gathers what is asked for of the whole text: in the phrases of checks,
// and in other words, as users and judges write them.
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

// jsonIn returns the JSON that a text is, or that prose or a Markdown fence holds.
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

// offset is where in the text a place is; ok is false where there is none.
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

// backwards orders points so that what is done at one does not move the places
// of those that are still to come.
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

// Prose returns an answer to a request without a schema. It says what it is.
func Prose(r *rand.Rand) string {
	word := func() string { return schemagen.Word(r) }
	return "This answer is invented: no model has read the request. In its place stand the words " +
		word() + ", " + word() + " and " + word() + "."
}
