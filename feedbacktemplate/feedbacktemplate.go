// Package feedbacktemplate writes the message that tells a model what is wrong
// with its answer by a text/template.
//
// A template's data is an [llmcall.Feedback]. [New] compiles one for
// [llmcall.RetryConfig.Feedback]. A program whose configuration files have a
// feedback_template imports the package for its effect:
//
//	import _ "llmcall/feedbacktemplate"
//
// The package is apart from llmcall because text/template keeps the linker from
// removing unused methods in every program that links it.
package feedbacktemplate

import (
	"errors"
	"strings"
	"text/template"

	"llmcall"
	"llmcall/validate"
)

func init() { llmcall.RegisterFeedbackTemplates(New) }

// New returns a function that writes the message by a template, whose data is an
// [*llmcall.Feedback]: for example
// {{range .Complaints}}{{.Where}}: {{.Problem}}{{end}}. {{.}} is the message in the
// default wording. New executes the template for a sample with one complaint, so
// that the error says what is wrong before the first call, such as a name that does
// not exist or an empty message.
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

// sample returns a Feedback with a value in every field.
func sample() *llmcall.Feedback {
	return &llmcall.Feedback{
		Attempt: 1, MaxAttempts: 3,
		Complaints: []llmcall.NumberedComplaint{{Number: 1, Complaint: validate.Complaint{
			Check: "length", Problem: "the text is too short", Pointer: "/text", Line: 1, Column: 1, Suggestion: "make it longer",
		}}},
		More: 1, Passed: []string{"json"}, Instruction: "use the tool", Request: "the request",
	}
}
