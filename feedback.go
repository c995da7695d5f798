package llmcall

import (
	"fmt"
	"strings"
	"unicode/utf8"

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
func feedback(answer *llm.Response, text string) []llm.Message {
	turn := llm.Message{Role: llm.RoleAssistant}
	var results []llm.Part
	room, omitted := maxAnswerShown, 0
	for _, part := range answer.Message.Parts {
		if room <= 0 {
			omitted++
			continue
		}
		switch p := part.(type) {
		case llm.Text:
			if p != "" {
				shown := middle(string(p), room)
				room -= utf8.RuneCountInString(shown)
				turn.Parts = append(turn.Parts, llm.Text(shown))
			}
		case llm.ToolCall:
			// A call can't be shortened: its arguments would be no JSON any more.
			size := len(p.ID) + len(p.Name) + len(p.Arguments) + maxAnswerShown/maxCallsShown
			if size > room {
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

// complain writes the message that lists the complaints about the answer of
// attempt number of most.
func complain(complaints []validate.Complaint, number, most int, request, instruction string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "Your answer did not pass its checks (attempt %d of %d). What is wrong with it:\n", number, most)
	for i, c := range complaints {
		if i == maxComplaintsShown {
			fmt.Fprintf(&b, "\n… and %d more.\n", len(complaints)-i)
			break
		}
		fmt.Fprintf(&b, "\n%d. ", i+1)
		if c.Pointer != "" {
			fmt.Fprintf(&b, "At %s: ", middle(c.Pointer, maxComplaintShown))
		}
		switch {
		case c.Line > 0 && c.Column > 0:
			fmt.Fprintf(&b, "Line %d, column %d: ", c.Line, c.Column)
		case c.Line > 0:
			fmt.Fprintf(&b, "Line %d: ", c.Line)
		}
		b.WriteString(middle(c.Problem, maxComplaintShown))
		if c.Suggestion != "" {
			fmt.Fprintf(&b, "\n   To mend it: %s", middle(c.Suggestion, maxComplaintShown))
		}
		b.WriteString("\n")
	}
	if instruction != "" {
		fmt.Fprintf(&b, "\nIMPORTANT: %s\n", instruction)
	}
	if request != "" {
		fmt.Fprintf(&b, "\nThe original request was:\n%s\n", middle(request, maxRequestShown))
	}
	b.WriteString("\nAnswer the request again: give the whole answer, with every point above mended and all else as it was.")
	return b.String()
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

// middle returns s, with its middle left out if it has more than n code points.
func middle(s string, n int) string {
	if len(s) <= n || utf8.RuneCountInString(s) <= n {
		return s
	}
	head, tail := 0, len(s)
	for range n * 2 / 3 {
		_, size := utf8.DecodeRuneInString(s[head:])
		head += size
	}
	for range n - n*2/3 {
		_, size := utf8.DecodeLastRuneInString(s[:tail])
		tail -= size
	}
	return fmt.Sprintf("%s\n… (%d characters left out) …\n%s", s[:head], utf8.RuneCountInString(s[head:tail]), s[tail:])
}
