package phrase

import (
	"regexp"
	"slices"
	"strings"
	"sync"
)

// Steps are done one after the other, and a choice is made of several ways.
var (
	choice = words("do one of these: {text}")
	atWhat = words("at {pointer} {text}")
	addIt  = words("add it: {text}")
)

const (
	nextWay  = "; or "
	nextStep = ", and "
)

// Choice writes ways to fix an answer of which one is enough.
func Choice(ways []string) string {
	if len(ways) == 1 {
		return ways[0]
	}
	return choice.Of(strings.Join(ways, nextWay))
}

// Together writes steps that must all be done.
func Together(steps []string) string { return strings.Join(steps, nextStep) }

// At writes what is to be done at another place, a JSON pointer.
func At(pointer, step string) string { return atWhat.Of(pointer, step) }

// AddAs writes that a value is to be added, and what is asked of it.
func AddAs(step string) string { return addIt.Of(step) }

// Step is one of the things to do.
type Step struct {
	Pointer string // where, if it is not where the complaint is
	Text    string
}

// Steps reads a fix: the steps of the first of the ways.
func Steps(text string) []Step {
	if ways, ok := choice.Read(text); ok {
		text, _, _ = strings.Cut(ways[0], nextWay)
	}
	var steps []Step
	for text != "" {
		step, rest := text, ""
		if at := stepBegins().FindStringSubmatchIndex(text); at != nil {
			step, rest = text[:at[0]], text[at[2]:]
		}
		next := Step{Text: step}
		if values, ok := atWhat.Read(step); ok {
			next = Step{values[0], values[1]}
		}
		if values, ok := addIt.Read(next.Text); ok {
			next.Text = values[0]
		}
		steps = append(steps, next)
		text = rest
	}
	return steps
}

// stepBegins finds where the next step begins: with the first word of a phrase,
// or with a place.
var stepBegins = sync.OnceValue(func() *regexp.Regexp {
	var verbs []string
	for _, p := range fixes {
		if verb, _, _ := strings.Cut(p.template, " "); !slices.Contains(verbs, verb) {
			verbs = append(verbs, verb)
		}
	}
	return regexp.MustCompile(regexp.QuoteMeta(nextStep) + "(" + regexp.QuoteMeta(atWhat.compiled().parts[0].before) + "/|(?:" + strings.Join(verbs, "|") + `)\b)`)
})
