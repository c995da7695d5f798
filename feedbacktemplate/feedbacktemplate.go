// Package feedbacktemplate writes the message that tells a model what is wrong
// with its answer by a template of text/template.
//
// [New] compiles a template for the field Feedback of [llmcall.RetryConfig]. A
// program whose configuration files have a feedback_template imports the package
// for its effect:
//
//	import _ "llmcall/feedbacktemplate"
//
// It is a package of its own because text/template keeps the linker from leaving
// out unused methods, in every program that links it.
package feedbacktemplate

import (
	"errors"
	"strings"
	"text/template"

	"llmcall"
	"llmcall/validate"
)

func init() { llmcall.RegisterFeedbackTemplates(New) }

// New returns what writes a message by a template. The template's data is a
// *[llmcall.Feedback]: {{range .Complaints}}{{.Where}}: {{.Problem}}{{end}}, for
// example; {{.}} is the message in the default wording. The error is that of the
// template, or of its use for a sample with one complaint, so that a name that
// does not exist is found here and not in the middle of a call.
func New(text string) (func(*llmcall.Feedback) (string, error), error) {
	t, err := template.New("feedback_template").Parse(text)
	if err != nil {
		return nil, err
	}
	write := func(f *llmcall.Feedback) (string, error) {
		var b strings.Builder
		err := t.Execute(&b, f)
		return b.String(), err
	}
	switch written, err := write(sample()); {
	case err != nil:
		return nil, err
	case strings.TrimSpace(written) == "":
		return nil, errors.New("the template writes nothing")
	}
	return write, nil
}

// sample has something in every field.
func sample() *llmcall.Feedback {
	return &llmcall.Feedback{
		Attempt: 1, MaxAttempts: 3,
		Complaints: []llmcall.NumberedComplaint{{Number: 1, Complaint: validate.Complaint{
			Check: "length", Problem: "the text is too short", Pointer: "/text", Line: 1, Column: 1, Suggestion: "make it longer",
		}}},
		More: 1, Passed: []string{"json"}, Instruction: "use the tool", Request: "the request",
	}
}
