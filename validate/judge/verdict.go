package judge

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"

	"llmcall/failure"
	"llmcall/internal/say"
	"llmcall/llm"
	"llmcall/validate"
)

// asked is the schema that a verdict is requested with. It is in the subset of OpenAI's
// strict mode: all properties are required, and no others are allowed. The reasons come
// first, so that the model writes them before it decides.
var asked = &llm.Schema{Name: "verdict", JSON: json.RawMessage(`{
  "type": "object",
  "properties": {
    "reasons": {
      "type": "array",
      "description": "what is wrong with the answer; empty if it passes",
      "items": {
        "type": "object",
        "properties": {
          "problem": {"type": "string", "description": "what is wrong, in one sentence"},
          "pointer": {"type": "string", "description": "where, as a JSON pointer into an answer that is JSON; else empty"},
          "suggestion": {"type": "string", "description": "how to fix it, in one sentence"}
        },
        "required": ["problem", "pointer", "suggestion"],
        "additionalProperties": false
      }
    },
    "passed": {"type": "boolean", "description": "whether the answer passes"}
  },
  "required": ["reasons", "passed"],
  "additionalProperties": false
}`)}

// shape is the schema that a verdict is checked against. A model whose provider does not
// enforce a schema may leave out what has a natural default, and add what is not read. It is
// compiled for the first verdict: most programs that can ask judges do not.
var shape = sync.OnceValue(func() validate.Strategy {
	return validate.Must(validate.JSONSchema([]byte(`{
  "type": "object",
  "properties": {
    "reasons": {
      "type": "array",
      "items": {
        "type": "object",
        "properties": {
          "problem": {"type": "string"},
          "pointer": {"type": ["string", "null"]},
          "suggestion": {"type": ["string", "null"]}
        },
        "required": ["problem"]
      }
    },
    "passed": {"type": "boolean"}
  },
  "required": ["reasons", "passed"]
}`)))
})

// How much of a verdict is kept: more would not help the model that gets it as
// feedback.
const (
	maxReasons = 20
	maxReason  = 600 // code points of a problem, a pointer, a suggestion
)

// opinion is one judge's verdict.
type opinion struct {
	passed     bool
	complaints []validate.Complaint // at least one if it does not pass
}

// verdictError is a verdict that can't be used.
type verdictError struct {
	text       string // what the judge said
	complaints []validate.Complaint
}

func (e *verdictError) Error() string {
	return "the verdict can't be used: " + validate.Complaints(e.complaints).Error()
}

// FailureKind returns [failure.InvalidAnswer]: the judge's answer is invalid, not the
// one that is judged.
func (e *verdictError) FailureKind() failure.Kind { return failure.InvalidAnswer }

// correction returns the messages that tell the judge what is wrong with its verdict.
func (e *verdictError) correction() []llm.Message {
	said := say.Short(e.text, 4*maxReason)
	if strings.TrimSpace(said) == "" {
		said = "(no text)" // providers refuse an empty turn
	}
	var b strings.Builder
	b.WriteString("Your verdict can't be used:\n")
	for i, c := range e.complaints {
		fmt.Fprintf(&b, "%d. %s\n", i+1, say.Short(c.String(), maxReason))
	}
	b.WriteString(`Judge again, and answer with the JSON object alone: {"reasons": [...], "passed": true or false}`)
	return []llm.Message{llm.Assistant(said), llm.User(b.String())}
}

// read reads a judge's answer. The error is a *verdictError, or a *[failure.Error] if
// the answer did not come to its end.
func read(ctx context.Context, model string, answer *llm.Response) (opinion, error) {
	fail := func(kind failure.Kind, message string) (opinion, error) {
		return opinion{}, &failure.Error{Kind: kind, Model: model, Message: message}
	}
	switch answer.Finish {
	case llm.FinishFiltered:
		return fail(failure.ContentFiltered, "the verdict was withheld or refused")
	case llm.FinishLength:
		return fail(failure.CutOff, "the verdict was cut off at its token limit")
	case llm.FinishNone:
		return fail(failure.CutOff, "the verdict broke off: it came without a reason to stop")
	}
	said := answer.Text()
	unusable := func(complaints ...validate.Complaint) (opinion, error) {
		return opinion{}, &verdictError{said, complaints}
	}
	v, err := shape().Check(ctx, &validate.Answer{Text: said, Response: answer})
	if err != nil {
		return opinion{}, err
	}
	if len(v.Complaints) > 0 {
		return unusable(v.Complaints...)
	}
	// Not into a struct: encoding/json would accept "Passed" for "passed".
	fields, _ := v.Value.(map[string]any)
	passed, _ := fields["passed"].(bool)
	reasons, _ := fields["reasons"].([]any)
	switch {
	case passed && len(reasons) > 0:
		return unusable(validate.Complaint{
			Problem:    "it contradicts itself: passed is true, and reasons says what is wrong",
			Suggestion: "leave reasons empty if the answer passes, else make passed false",
		})
	case !passed && len(reasons) == 0:
		return unusable(validate.Complaint{Problem: "passed is false, and reasons is empty", Suggestion: "say in reasons what is wrong with the answer"})
	}
	o := opinion{passed: passed}
	for i, r := range reasons {
		if i == maxReasons {
			o.complaints = append(o.complaints, validate.Complaint{Problem: fmt.Sprintf("and %d more that the judge lists", len(reasons)-i)})
			break
		}
		fields, _ := r.(map[string]any)
		c := complaintOf(fields)
		if c.Problem == "" {
			return unusable(validate.Complaint{
				Problem: "a problem is blank", Pointer: fmt.Sprintf("/reasons/%d/problem", i), Suggestion: "say what is wrong, or leave the reason out",
			})
		}
		o.complaints = append(o.complaints, c)
	}
	return o, nil
}

func complaintOf(reason map[string]any) validate.Complaint {
	field := func(name string) string {
		s, _ := reason[name].(string)
		return say.Short(strings.TrimSpace(s), maxReason)
	}
	c := validate.Complaint{Problem: field("problem"), Pointer: field("pointer"), Suggestion: field("suggestion")}
	if c.Problem != "" && c.Pointer != "" && !strings.HasPrefix(c.Pointer, "/") { // a place in the judge's own words
		c.Problem, c.Pointer = c.Problem+" ("+c.Pointer+")", ""
	}
	return c
}
