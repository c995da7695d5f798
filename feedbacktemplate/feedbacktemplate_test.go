package feedbacktemplate_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"llmcall"
	"llmcall/backoff"
	"llmcall/feedbacktemplate"
	"llmcall/llm"
	"llmcall/validate"
)

// told returns what a model is told of the answer "schlecht".
func told(t *testing.T, cfg llmcall.RetryConfig) string {
	t.Helper()
	message := ""
	m := llm.Func(t.Name(), func(_ context.Context, req *llm.Request) (*llm.Response, error) {
		if len(req.Messages) == 1 {
			return llm.Reply("schlecht"), nil
		}
		message = req.Messages[len(req.Messages)-1].Text()
		return llm.Reply("gut"), nil
	})
	good := validate.Func("good", func(_ context.Context, a *validate.Answer) error {
		if a.Text == "gut" {
			return nil
		}
		return validate.Fail(fmt.Sprintf("%q is not good", a.Text), "say good")
	})
	cfg.Backoff = backoff.Constant{}
	if _, err := llmcall.RetryWithValidation(t.Context(), m, llm.Prompt("Sei gut"), []validate.Strategy{good}, cfg); err != nil {
		t.Fatal(err)
	}
	return message
}

const german = "Versuch {{.Attempt}} von {{.MaxAttempts}} war falsch:\n" +
	"{{range .Complaints}}{{.Number}}) {{.Where}}{{.Problem}} [{{.Suggestion}}]\n{{end}}Die Frage war: {{.Request}}\n"

func TestFeedbackInAnotherLanguage(t *testing.T) {
	const want = "Versuch 1 von 3 war falsch:\n1) \"schlecht\" is not good [say good]\nDie Frage war: Sei gut\n"
	inFile, _, err := llmcall.ParseConfig("c.yaml", []byte("feedback_template: |\n  "+strings.ReplaceAll(german, "\n", "\n  ")))
	if err != nil {
		t.Fatal(err)
	}
	var set llmcall.RetryConfig
	if err := set.Set("feedback_template", german); err != nil {
		t.Fatal(err)
	}
	write, err := feedbacktemplate.New(german)
	if err != nil {
		t.Fatal(err)
	}
	for name, cfg := range map[string]llmcall.RetryConfig{"a file": inFile, "Set": set, "New": {Feedback: write}} {
		if got := told(t, cfg); got != want {
			t.Errorf("%s: got %q", name, got)
		}
	}
}

func TestTheDefaultWordingMayBeUsed(t *testing.T) {
	write, err := feedbacktemplate.New("{{.}}\nAntworte auf Deutsch.")
	if err != nil {
		t.Fatal(err)
	}
	if got, standard := told(t, llmcall.RetryConfig{Feedback: write}), told(t, llmcall.RetryConfig{}); got != standard+"\nAntworte auf Deutsch." {
		t.Errorf("got %q", got)
	}
}

// A template that fails at some complaint does not end the call.
func TestATemplateThatFailsLateGivesWayToTheDefault(t *testing.T) {
	write, err := feedbacktemplate.New(`{{if eq (index .Complaints 0).Suggestion "say good"}}{{index .Complaints 7}}{{end}}x`)
	if err != nil {
		t.Fatal(err)
	}
	if got := told(t, llmcall.RetryConfig{Feedback: write}); got != told(t, llmcall.RetryConfig{}) {
		t.Errorf("got %q", got)
	}
}

func TestATemplateThatCannotBe(t *testing.T) {
	for text, want := range map[string]string{
		"{{.Nope}}":            "template: feedback_template:1:2: executing \"feedback_template\" at <.Nope>: can't evaluate field Nope in type *llmcall.Feedback",
		"{{":                   "template: feedback_template:1: unclosed action",
		"{{if false}}x{{end}}": "the template writes nothing",
	} {
		if _, err := feedbacktemplate.New(text); err == nil || err.Error() != want {
			t.Errorf("%s: %v", text, err)
		}
		_, _, err := llmcall.ParseConfig("c", []byte("\nfeedback_template: '"+text+"'"))
		e, ok := errors.AsType[*llmcall.ConfigError](err)
		if all := "c:2: feedback_template must be a text/template of a Feedback: " + want; !ok || err.Error() != all || e.Line != 2 {
			t.Errorf("%s: %v", text, err)
		}
	}
}
