package validate_test

import (
	"context"
	"slices"
	"testing"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"llmcall/llm"
	"llmcall/validate"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// check runs one check on one text, and fails the test if the check can't be
// made.
func check(t rapid.TB, s validate.Strategy, text string) validate.Report {
	t.Helper()
	return checkAnswer(t, s, &validate.Answer{Text: text, Attempt: 1})
}

func checkAnswer(t rapid.TB, s validate.Strategy, a *validate.Answer) validate.Report {
	t.Helper()
	report := validate.Run(context.Background(), []validate.Strategy{s}, a, 0)
	for _, failed := range report.Failed {
		t.Fatalf("on %.200q: %v", a.Text, failed)
	}
	return report
}

// finished is the answer of a model that stopped for a reason.
func finished(text string, why llm.Finish) *validate.Answer {
	r := llm.Reply(text)
	r.Finish = why
	return &validate.Answer{Text: text, Response: r, Attempt: 1}
}

// lines are complaints as texts, to compare them.
func lines(complaints []validate.Complaint) []string {
	texts := []string{}
	for _, c := range complaints {
		texts = append(texts, c.String())
	}
	return texts
}

func wantLines(t rapid.TB, about string, got []validate.Complaint, want ...string) {
	t.Helper()
	if !slices.Equal(lines(got), append([]string{}, want...)) {
		t.Errorf("%s: complaints\n  %q\nwant\n  %q", about, lines(got), want)
	}
}

// parse makes a check from the command line's form.
func parse(t rapid.TB, spec string) validate.Strategy {
	t.Helper()
	s, err := validate.Parse(spec)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// outcome is a check that does what it is told.
type outcome struct {
	name     string
	verdict  validate.Verdict
	err      error
	panicked any
}

func (o outcome) Name() string { return o.name }

func (o outcome) Check(context.Context, *validate.Answer) (validate.Verdict, error) {
	if o.panicked != nil {
		panic(o.panicked)
	}
	return o.verdict, o.err
}

func passes(name string) outcome { return outcome{name: name} }

func complains(name, problem string) outcome {
	return outcome{name: name, verdict: validate.Verdict{Complaints: []validate.Complaint{{Problem: problem}}}}
}
