package llmcall

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"llmcall/internal/phrase"
	"llmcall/internal/say"
	"llmcall/llm"
	"llmcall/validate"
)

// How much of each thing goes back to the model, in code points. A conversation
// that grows with every attempt is paid for at every attempt.
const (
	maxAnswerShown     = 16_000
	maxCallsShown      = 100 // calls of a tool in an answer
	maxRequestShown    = 1_000
	maxComplaintsShown = 20
	maxComplaintShown  = 600
)

// feedback is the exchange that tells the model what was wrong with its answer:
// the answer, and a message that lists the complaints. Tool calls in the answer
// are answered, because providers refuse a conversation that leaves one open.
func feedback(answer *llm.Response, complaints []validate.Complaint, text string) []llm.Message {
	turn := llm.Message{Role: llm.RoleAssistant}
	var results []llm.Part
	room, omitted, unthought := maxAnswerShown, 0, false
	if len(answer.Message.Parts) > 1 {
		complaints = nil // their lines are those of all texts together
	}
	for _, part := range answer.Message.Parts {
		if room <= 0 {
			omitted++
			continue
		}
		switch p := part.(type) {
		case llm.Text:
			if p != "" {
				shown := excerpt(string(p), complaints, room)
				room -= utf8.RuneCountInString(shown)
				turn.Parts = append(turn.Parts, llm.Text(shown))
			}
		case llm.Reasoning:
			// Some providers refuse a call of a tool without the thoughts that led
			// to it. They are not cut: they are signed.
			if len(p.Data) > room {
				unthought = true // and what came of it is left out too
				omitted++
				continue
			}
			room -= len(p.Data)
			turn.Parts = append(turn.Parts, p)
		case llm.ToolCall:
			// A call can't be shortened: its arguments would be no JSON any more.
			size := len(p.ID) + len(p.Name) + len(p.Arguments) + maxAnswerShown/maxCallsShown
			if unthought || size > room {
				omitted++
				continue
			}
			room -= size
			turn.Parts = append(turn.Parts, p)
			results = append(results, llm.ToolResult{
				CallID: p.ID, Content: "not carried out: the answer did not pass its checks", IsError: true,
			})
		}
	}
	if omitted > 0 {
		turn.Parts = append(turn.Parts, llm.Text(fmt.Sprintf("(left out: %d more parts of the answer)", omitted)))
	}
	if len(turn.Parts) == 0 { // an empty turn is refused by providers
		turn.Parts = []llm.Part{llm.Text("(no text)")}
	}
	messages := []llm.Message{turn}
	if len(results) > 0 {
		messages = append(messages, llm.Message{Role: llm.RoleTool, Parts: results})
	}
	return append(messages, llm.User(text))
}

// Feedback is the content of the message that tells the model what is wrong with
// its answer; see [RetryConfig.Feedback]. Texts are shortened, and long lists cut, with
// the number of complaints left out in More.
type Feedback struct {
	Attempt     int                 // which one failed, from 1
	MaxAttempts int                 // of how many
	Complaints  []NumberedComplaint // what is wrong with it
	More        int                 // complaints that are left out
	Passed      []string            // the names of the checks that it passed
	Instruction string              // to use the tool; "" before its stage
	Request     string              // the original request, its text alone

	oneLine bool // the answer has one line
}

// NumberedComplaint is a complaint with its number in the message, from 1.
type NumberedComplaint struct {
	Number int
	validate.Complaint
}

// Where says where the complaint is, in English: "At /a/0", "Line 3, column 7";
// "" if it is about the whole answer.
func (c NumberedComplaint) Where() string {
	p := phrase.Place{Pointer: c.Pointer, Line: c.Line, Column: c.Column}
	if p.Line == 0 {
		p.Column = 0
	}
	return p.String()
}

func newFeedback(answer *llm.Response, complaints []validate.Complaint, passed []string, number, most int, request, instruction string) *Feedback {
	complaints = distinct(complaints)
	f := &Feedback{
		Attempt: number, MaxAttempts: most, Instruction: instruction, Request: say.Middle(request, maxRequestShown),
		Passed: passed[:min(len(passed), maxComplaintsShown)], More: max(0, len(complaints)-maxComplaintsShown),
		oneLine: !strings.Contains(strings.TrimSpace(answer.Message.Text()), "\n"),
	}
	for i, c := range complaints[:len(complaints)-f.More] {
		c.Pointer, c.Problem = say.Middle(c.Pointer, maxComplaintShown), say.Middle(c.Problem, maxComplaintShown)
		c.Suggestion = say.Middle(c.Suggestion, maxComplaintShown)
		f.Complaints = append(f.Complaints, NumberedComplaint{i + 1, c})
	}
	return f
}

// distinct leaves out what another check has said in the same words: two checks
// of JSON have the same complaint about text that isn't JSON.
func distinct(complaints []validate.Complaint) []validate.Complaint {
	seen := map[validate.Complaint]bool{}
	var kept []validate.Complaint
	for _, c := range complaints {
		said := c
		said.Check = ""
		if !seen[said] {
			seen[said] = true
			kept = append(kept, c)
		}
	}
	return kept
}

// write returns the message by the caller's own function, if there is one. With an
// error it is the default one.
func (f *Feedback) write(own func(*Feedback) (string, error)) (text string, err error) {
	if own == nil {
		return f.String(), nil
	}
	fallback := f.String() // own may change f
	defer func() {
		if v := recover(); v != nil {
			text, err = fallback, fmt.Errorf("it panicked: %v", v)
		}
	}()
	text, err = own(f)
	if err == nil && strings.TrimSpace(text) == "" {
		err = errors.New("it returned an empty text")
	}
	if err != nil {
		return fallback, err
	}
	return say.Middle(text, maxAnswerShown), nil
}

// String returns the message in the default wording: each complaint with its
// place and what to do about it, then the request to try again. It is paid for at
// every further attempt, and says nothing that the conversation already has: the
// original request is in it, and the number of the attempt helps no model.
func (f *Feedback) String() string {
	var b strings.Builder
	for _, c := range f.Complaints {
		if len(f.Complaints) > 1 {
			fmt.Fprintf(&b, "%d. ", c.Number)
		}
		if place := f.place(c); place != "" {
			b.WriteString(place + ": ")
		}
		b.WriteString(c.Problem + "\n")
		if c.Suggestion != "" {
			b.WriteString(phrase.FixLabel + c.Suggestion + "\n")
		}
	}
	if f.More > 0 {
		fmt.Fprintf(&b, "… and %d more.\n", f.More)
	}
	b.WriteString("\n")
	if len(f.Passed) > 0 {
		fmt.Fprintf(&b, "These checks passed, and must still pass: %s.\n", strings.Join(f.Passed, ", "))
	}
	if f.Instruction != "" {
		fmt.Fprintf(&b, "IMPORTANT: %s\n", f.Instruction)
	}
	b.WriteString(phrase.TryAgain)
	return b.String()
}

// place is [NumberedComplaint.Where] without what says nothing: the beginning of
// the answer, and the line of an answer that has only one.
func (f *Feedback) place(c NumberedComplaint) string {
	switch {
	case c.Line == 1 && c.Column == 1:
		c.Line, c.Column = 0, 0
	case f.oneLine && c.Line == 1 && c.Column > 1:
		return phrase.Place{Pointer: c.Pointer, Column: c.Column}.String()
	}
	return c.Where()
}

// compileTemplate makes a function for RetryConfig.Feedback from the text of a
// template in a configuration file; nil: no package has registered it.
var compileTemplate func(text string) (func(*Feedback) (string, error), error)

const noTemplates = `a template needs the package that compiles it: import _ "llmcall/feedbacktemplate"`

// RegisterFeedbackTemplates sets what compiles the feedback_template of configuration
// files, for [ParseConfig] and [RetryConfig.Set]. Package llmcall/feedbacktemplate
// does this when it is imported. It is not done here because text/template keeps
// the linker from leaving out unused methods in every program that links it:
// 2.5 MB for a program that needs no template. It must be called from an init
// function.
func RegisterFeedbackTemplates(compile func(text string) (func(*Feedback) (string, error), error)) {
	compileTemplate = compile
}

// originalRequest returns the text of the last user message: its text parts
// alone, never a picture's bytes.
func originalRequest(messages []llm.Message) string {
	for i := len(messages) - 1; i >= 0; i-- {
		if messages[i].Role == llm.RoleUser {
			return messages[i].Text()
		}
	}
	return ""
}

// instruction returns what tells the model to use the tool.
func (t *Tool) instruction() string {
	if t.Instruction != "" {
		return fmt.Sprintf("you may use the tool %q. %s", t.Name, t.Instruction)
	}
	return fmt.Sprintf("use the tool %q to find what you need for a right answer before you answer again.", t.Name)
}
