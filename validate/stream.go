package validate

import (
	"errors"
	"unicode/utf8"

	"llmcall/internal/phrase"
	"llmcall/llm"
	"llmcall/validate/internal/schemawords"
)

// Streaming is a [Strategy] that can report, while an answer is still arriving, that it
// can no longer pass. The call then stops the stream early, and neither waits nor
// pays for the rest. [JSON], [JSONSchema] (only for the syntax), [Length] (only for
// its maximum) and [All] (for its members) are such checks.
type Streaming interface {
	Strategy
	// Begin begins to watch the answer to a request, which may be nil. It returns
	// nil if there is nothing to watch.
	Begin(req *llm.Request) Watcher
}

// Watcher watches one answer while it arrives. Only one goroutine may use it at a
// time.
type Watcher interface {
	// Feed takes the next piece of the answer's text, which may end anywhere, even
	// within a character. A complaint means that Check will complain about the
	// answer, whatever follows; it names its check, and every later call returns
	// the same. Nil does not mean that Check will pass the answer.
	Feed(text string) *Complaint
}

// Watch returns a watcher for all those checks that are [Streaming]. It complains as
// soon as one of them does. It is nil if there is nothing to watch.
func Watch(checks []Strategy, req *llm.Request) Watcher {
	return watch(checks, req, anyRepairs(checks))
}

// watch leaves out the checks of JSON if a text that is not JSON may be repaired at
// the end.
func watch(checks []Strategy, req *llm.Request, repair bool) Watcher {
	var w watchers
	for _, check := range checks {
		var begun Watcher
		if a, ok := check.(allCheck); ok {
			begun = watch(a.checks, req, repair)
		} else if s, ok := check.(Streaming); ok {
			begun = s.Begin(req)
		}
		// A check around one of JSON may return its watcher, so look at that.
		if _, ofJSON := begun.(*syntax); begun != nil && !(ofJSON && repair) {
			w = append(w, begun)
		}
	}
	if len(w) == 0 {
		return nil
	}
	return w
}

type watchers []Watcher

func (w watchers) Feed(text string) *Complaint {
	for _, one := range w {
		if c := one.Feed(text); c != nil {
			return c
		}
	}
	return nil
}

// Begin watches for what can't become JSON, unless it may be repaired.
func (c jsonCheck) Begin(*llm.Request) Watcher {
	if c.repair {
		return nil
	}
	return &syntax{check: c.Name()}
}

// Begin watches for what can't become JSON, unless it may be repaired. The schema is
// checked at the end.
func (c *schemaCheck) Begin(*llm.Request) Watcher {
	if c.repair {
		return nil
	}
	return &syntax{check: c.Name()}
}

type syntax struct {
	check  string
	prefix Prefix
}

func (s *syntax) Feed(text string) *Complaint {
	complaints, wrong := errors.AsType[Complaints](s.prefix.Feed(text))
	if !wrong {
		return nil
	}
	c := complaints[0]
	c.Check = s.check
	return &c
}

// Begin watches for a text that is longer than the maximum.
func (c lengthCheck) Begin(*llm.Request) Watcher {
	if c.max == 0 {
		return nil
	}
	return &tooMuch{check: c.Name(), max: c.max}
}

type tooMuch struct {
	check string
	max   int
	n     int // characters so far
	said  *Complaint
}

func (w *tooMuch) Feed(text string) *Complaint {
	if w.said != nil {
		return w.said
	}
	// A character may come in two pieces: only its first byte is counted.
	for i := range len(text) {
		if utf8.RuneStart(text[i]) {
			w.n++
		}
	}
	if w.n <= w.max {
		return nil
	}
	w.said = &Complaint{
		Check:      w.check,
		Problem:    schemawords.TooMany("characters", w.n, w.max) + " so far",
		Suggestion: phrase.MostCharacters.Of(w.max),
	}
	return w.said
}

// Begin watches for all members that can be watched.
func (c allCheck) Begin(req *llm.Request) Watcher { return watch(c.checks, req, c.repairs()) }
