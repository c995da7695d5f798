package protocol

import (
	"encoding/json"
	"strconv"
	"strings"
)

// Part is a part of an answer. Which fields it has depends on its kind.
type Part struct {
	Kind PartKind
	Text string          // the text or the thought; the arguments of a call
	Name string          // the tool that is called
	ID   string          // of the call. Default "": one of the server's
	Sign string          // the seal by which its provider knows a thought or a call again; "": none
	Own  json.RawMessage // of an OwnPart
}

// PartKind says what a part of an answer is.
type PartKind int

// The kinds of parts.
const (
	TextPart    PartKind = iota
	ThoughtPart          // what the model shows of its thoughts; the text may be empty
	CallPart             // the call of a tool
	// OwnPart is written as it is, in the protocol's own form: members of a chat completion's
	// message, an item of a response's output, a block of messages, a part of Gemini's content.
	OwnPart
)

// text returns the text parts of the answer, joined by newlines.
func (a *Answer) text() string {
	var texts []string
	for _, p := range a.Parts {
		if p.Kind == TextPart {
			texts = append(texts, p.Text)
		}
	}
	return strings.Join(texts, "\n")
}

// calls returns the calls of tools in the answer.
func (a *Answer) calls() []Part {
	var calls []Part
	for _, p := range a.Parts {
		if p.Kind == CallPart {
			calls = append(calls, p)
		}
	}
	return calls
}

// numbered makes identifiers for things of one kind in an answer: the first has that of the
// prefix alone.
type numbered struct {
	id IDs
	n  map[string]int // how many there are, by the prefix
}

func (t *Turn) numbered() *numbered { return &numbered{t.ID, map[string]int{}} }

func (n *numbered) next(prefix string) string {
	of := prefix
	if count := n.n[prefix]; count > 0 {
		of += strconv.Itoa(count)
	}
	n.n[prefix]++
	return n.id(of)
}

// call returns the identifier of a call.
func (n *numbered) call(p Part, prefix string) string {
	if p.ID != "" {
		return p.ID
	}
	return n.next(prefix)
}

// Stream writes an answer as it comes. The events that a method returns are to be sent at
// once.
type Stream interface {
	// Add writes the next piece of a text, or another part as a whole. A text that follows
	// a text continues it.
	Add(p Part) []Event
	// End closes what is open, and writes how the answer ended. Finish, Native, Ending and
	// Usage of the turn are read now.
	End() []Event
}

// streamSteps are what a protocol writes of a stream, a part after another.
type streamSteps interface {
	start() []Event                    // before everything
	open(p Part) []Event               // before the text of a part
	piece(p Part, text string) []Event // of the text
	close(p Part) []Event              // after the text
	end() []Event
}

// live is a [Stream] of a protocol's steps.
type live struct {
	streamSteps
	begun, opened bool
	text          strings.Builder // of the part that is open
}

// Add writes a piece.
func (l *live) Add(p Part) []Event {
	out := l.begin()
	if p.Kind == TextPart {
		if !l.opened {
			l.opened = true
			out = append(out, l.open(p)...)
		}
		if p.Text != "" {
			l.text.WriteString(p.Text)
			out = append(out, l.piece(p, p.Text)...)
		}
		return out
	}
	out = append(out, l.shut()...)
	out = append(out, l.open(p)...)
	if p.Text != "" {
		out = append(out, l.piece(p, p.Text)...)
	}
	return append(out, l.close(p)...)
}

// End writes the end.
func (l *live) End() []Event {
	return append(append(l.begin(), l.shut()...), l.end()...)
}

func (l *live) begin() []Event {
	if l.begun {
		return nil
	}
	l.begun = true
	return l.start()
}

func (l *live) shut() []Event {
	if !l.opened {
		return nil
	}
	p := Part{Text: l.text.String()}
	l.opened = false
	l.text.Reset()
	return l.close(p)
}

// rounds writes the parts of an answer that is whole, with their texts in the pieces in
// which models write. Each round has the events that come together.
func rounds(s streamSteps, parts []Part) [][]Event {
	var out [][]Event
	add := func(events []Event) {
		if len(events) > 0 {
			out = append(out, events)
		}
	}
	for _, p := range parts {
		add(s.open(p))
		for _, text := range chunks(p.Text) {
			add(s.piece(p, text))
		}
		add(s.close(p))
	}
	return out
}

// streamOf writes an answer that is whole as a stream.
func streamOf(s streamSteps, parts []Part) []Event {
	out := s.start()
	for _, round := range rounds(s, parts) {
		out = append(out, round...)
	}
	return append(out, s.end()...)
}

// byTurns puts the rounds of several answers in the order of a stream: the first of each
// answer, then the second of each, and so on.
func byTurns(answers [][][]Event) []Event {
	var out []Event
	for n, more := 0, true; more; n++ {
		more = false
		for _, all := range answers {
			if n < len(all) {
				out, more = append(out, all[n]...), true
			}
		}
	}
	return out
}
