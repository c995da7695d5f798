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

// The limits of what is sent back to the model, in code points unless a comment
// says otherwise. Every attempt pays for the whole conversation.
const (
	maxAnswerShown     = 16_000
	maxCallsShown      = 100 // calls of tools
	maxRequestShown    = 1_000
	maxComplaintsShown = 20 // complaints
	maxComplaintShown  = 600
)

// feedback returns the messages that tell the model what is wrong with its answer:
// the answer, and a message with the complaints. Tool calls in the answer get a
// result, because providers refuse a conversation in which one has none.
func feedback(answer *llm.Response, complaints []validate.Complaint, text string) []llm.Message {
	turn := llm.Message{Role: llm.RoleAssistant}
	var results []llm.Part
	room, omitted, unthought := maxAnswerShown, 0, false
	if len(answer.Message.Parts) > 1 {
		complaints = nil // their lines count through all parts
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
			// Some providers refuse a tool call without the reasoning that led to it,
			// which can't be shortened because it is signed.
			if len(p.Data) > room {
				unthought = true // so the calls after it are left out too
				omitted++
				continue
			}
			room -= len(p.Data)
			turn.Parts = append(turn.Parts, p)
		case llm.ToolCall:
			// A call can't be shortened, because its arguments must be JSON.
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
	if len(turn.Parts) == 0 { // providers refuse an empty turn
		turn.Parts = []llm.Part{llm.Text("(no text)")}
	}
	messages := []llm.Message{turn}
	if len(results) > 0 {
		messages = append(messages, llm.Message{Role: llm.RoleTool, Parts: results})
	}
	return append(messages, llm.User(text))
}

// Feedback is the content of the message that tells the model what is wrong with
// its answer; see [RetryConfig.Feedback]. Long texts and lists are shortened.
type Feedback struct {
	Attempt     int                 // the number of the failed attempt, from 1
	MaxAttempts int                 // the maximum number of attempts
	Complaints  []NumberedComplaint // at most 20
	More        int                 // how many complaints are left out
	Passed      []string            // the names of the checks that the answer passed
	Instruction string              // to use the tool; "" before [StageTool]
	Request     string              // the text of the original request

	oneLine bool // the answer has one line
}

// NumberedComplaint is a complaint with its number in the message, from 1.
type NumberedComplaint struct {
	Number int
	validate.Complaint
}

// Where returns the place of the complaint in English: "At /a/0", "Line 3, column
// 7"; "" if it is about the whole answer.
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

// distinct removes complaints that another check has made in the same words: two
// checks of JSON have the same complaint about text that is not JSON.
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

// write returns the message made by own. If own is nil or fails, it is the default
// message.
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

// String returns the message in the default wording: each complaint with its place
// and its fix, then the request to try again. It is short, because every further
// attempt pays for it: it does not repeat the request, which the conversation has,
// or give the number of the attempt, which does not help a model.
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

// place is [NumberedComplaint.Where] without what does not help: the beginning of
// the answer as a place, and the line in an answer of one line.
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
// template. It is nil until RegisterFeedbackTemplates is called.
var compileTemplate func(text string) (func(*Feedback) (string, error), error)

const noTemplates = `a template needs the package that compiles it: import _ "llmcall/feedbacktemplate"`

// RegisterFeedbackTemplates sets the function that compiles a feedback_template for
// [ParseConfig] and [RetryConfig.Set]. Package [llmcall/feedbacktemplate] calls it
// when it is imported. (This package does not import text/template, because it
// keeps the linker from removing unused methods, which adds 2.5 MB to a program.)
// It must be called from an init function.
func RegisterFeedbackTemplates(compile func(text string) (func(*Feedback) (string, error), error)) {
	compileTemplate = compile
}

// originalRequest returns the text of the last user message, without its pictures.
func originalRequest(messages []llm.Message) string {
	for i := len(messages) - 1; i >= 0; i-- {
		if messages[i].Role == llm.RoleUser {
			return messages[i].Text()
		}
	}
	return ""
}

// instruction returns the text that tells the model to use the tool.
func (t *Tool) instruction() string {
	if t.Instruction != "" {
		return fmt.Sprintf("you may use the tool %q. %s", t.Name, t.Instruction)
	}
	return fmt.Sprintf("use the tool %q to find what you need for a right answer before you answer again.", t.Name)
}
