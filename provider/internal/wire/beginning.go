package wire

import (
	"regexp"
	"strings"
	"sync/atomic"
)

// beginning is the text of an answer as long as it may begin within the model's thoughts:
// the templates of some servers write the tag that opens them, so that the answer has the
// one that closes them alone (DeepSeek R1, QwQ, Qwen's thinking models, at vLLM and
// llama.cpp without their parsers).
type beginning struct {
	text strings.Builder
	open bool // there is a tag that closes, and what follows decides
	over bool // it is known whether there are thoughts
}

// longestTag is at least as long as each tag, and as a code fence.
const longestTag = 12

// longestThoughts is how much of an answer is looked at.
const longestThoughts = 1 << 20

// add adds a piece. alone is true once, when thoughts have ended; before and after are
// then their text and what follows it.
func (b *beginning) add(piece string) (before, after string, alone bool) {
	if b.over || piece == "" {
		return "", "", false
	}
	recent := max(0, b.text.Len()-longestTag)
	b.text.WriteString(piece)
	text := b.text.String()
	opened := strings.Contains(text[recent:], "```")
	for _, tag := range tags {
		opened = opened || strings.Contains(text[recent:], tag[0])
		b.open = b.open || strings.Contains(text[recent:], tag[1])
	}
	if !b.open {
		b.over = opened || beginsAnswer(text) || len(text) > longestThoughts
		return "", "", false
	}
	before, after, alone = closedAlone(text)
	b.over = alone || strings.TrimSpace(afterTag(text)) != ""
	return before, after, alone
}

// afterTag returns what follows the first tag that closes.
func afterTag(text string) string {
	at, rest := len(text), ""
	for _, tag := range tags {
		if i := strings.Index(text, tag[1]); i >= 0 && i < at {
			at, rest = i, text[i+len(tag[1]):]
		}
	}
	return rest
}

// habit is how the answers of a model have begun so far. It is safe for concurrent use. A
// nil *habit keeps nothing.
type habit struct {
	name string
	seen atomic.Int32
}

// What is known of a model's answers.
const (
	habitUnknown = iota
	habitAnswers // they begin with the answer, as far as they were seen
	habitThinks  // one began within thoughts
)

func (h *habit) known() int32 {
	if h == nil {
		return habitUnknown
	}
	return h.seen.Load()
}

func (h *habit) thinks() {
	if h != nil {
		h.seen.Store(habitThinks)
	}
}

// answered says that an answer came to its end.
func (h *habit) answered() {
	if h != nil {
		h.seen.CompareAndSwap(habitUnknown, habitAnswers)
	}
}

func (x *Exchange) habit() *habit { return x.Endpoint.habit }

// waits reports whether a text that may be thoughts is held back: if that delays nothing,
// if the model's answers begin with thoughts, as was seen or as its name says, and if a
// text without a sign of JSON can't be the answer.
func (x *Exchange) waits() bool {
	if x.whole {
		return true
	}
	switch h := x.habit(); h.known() {
	case habitThinks:
		return true
	case habitUnknown:
		return h != nil && (x.Structured || thinkers.MatchString(h.name))
	}
	return false
}

// thinkers are the names of models whose templates begin the thoughts: DeepSeek R1, QwQ,
// the thinking models of Qwen and GLM, MiniMax M2, EXAONE Deep.
var thinkers = regexp.MustCompile(`(?i)(?:^|[^a-z0-9])(?:r1|qwq|thinking|minimax-m2|exaone-deep)(?:[^a-z0-9]|$)`)
