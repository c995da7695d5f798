package validate_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"llmcall/failure"
	"llmcall/validate"
)

func TestWhatAFunctionReturnsDecides(t *testing.T) {
	plain := errors.New("that is not a capital")
	two := validate.Complaints{{Problem: "a", Pointer: "/x"}, {Problem: "b", Suggestion: "c"}}
	for _, test := range []struct {
		name       string
		err        error
		complaints []string
		advice     validate.Advice
		failed     bool
	}{
		{name: "nil passes"},
		{name: "an error is a complaint", err: plain, complaints: []string{"f: that is not a capital"}},
		{name: "an error without words is one too", err: errors.New(""), complaints: []string{"f: the answer did not pass"}},
		{name: "Fail has a suggestion", err: validate.Fail("p", "s"), complaints: []string{"f: p (s)"}},
		{name: "Complaints are several", err: two, complaints: []string{"f: at /x: a", "f: b (c)"}},
		{name: "no Complaints pass", err: validate.Complaints{}},
		{name: "nil Complaints pass", err: validate.Complaints(nil)},
		{
			name: "joined errors are several", err: errors.Join(plain, validate.Fail("p", "s"), validate.StopAsking(two)),
			complaints: []string{"f: that is not a capital", "f: p (s)", "f: at /x: a", "f: b (c)"}, advice: validate.Stop,
		},
		{name: "wrapping is put before", err: fmt.Errorf("line 3: %w", validate.Fail("p", "s")), complaints: []string{"f: line 3: p (s)"}},
		{name: "wrapping of a plain error", err: fmt.Errorf("line 3: %w", plain), complaints: []string{"f: line 3: that is not a capital"}},
		{
			name: "nothing of two wrapped is lost", err: fmt.Errorf("%w and %w", validate.Fail("p", "s"), validate.Fail("q", "")),
			complaints: []string{"f: p (s) and q"},
		},
		{name: "StopAsking", err: validate.StopAsking(plain), complaints: []string{"f: that is not a capital"}, advice: validate.Stop},
		{name: "NeedsHuman, wrapped", err: fmt.Errorf("x: %w", validate.NeedsHuman(plain)), complaints: []string{"f: x: that is not a capital"}, advice: validate.Human},
		{name: "the weightier advice counts", err: validate.StopAsking(validate.NeedsHuman(plain)), complaints: []string{"f: that is not a capital"}, advice: validate.Human},
		{name: "StopAsking of nil passes", err: validate.StopAsking(nil)},
		{name: "NeedsHuman of nil passes", err: validate.NeedsHuman(nil)},
		{name: "Unavailable of nil passes", err: validate.Unavailable(nil)},
		{name: "Unavailable says nothing of the answer", err: validate.Unavailable(plain), failed: true},
		{name: "Unavailable, wrapped", err: fmt.Errorf("judge: %w", validate.Unavailable(plain)), failed: true},
		{name: "a failed call says nothing of the answer", err: fmt.Errorf("judge: %w", &failure.Error{Kind: failure.Overloaded}), failed: true},
	} {
		f := validate.Func("f", func(context.Context, *validate.Answer) error { return test.err })
		report := validate.Run(context.Background(), []validate.Strategy{f}, nil, 0)
		wantLines(t, test.name, report.Complaints, test.complaints...)
		if report.Advice != test.advice {
			t.Errorf("%s: advice %v, want %v", test.name, report.Advice, test.advice)
		}
		if failed := len(report.Failed) > 0; failed != test.failed {
			t.Errorf("%s: failed %v", test.name, report.Failed)
		}
	}
}

func TestUnavailableKeepsItsCauseAndGetsTheName(t *testing.T) {
	cause := errors.New("judge down")
	f := validate.Func("judge", func(context.Context, *validate.Answer) error { return validate.Unavailable(cause) })
	report := validate.Run(context.Background(), []validate.Strategy{f}, nil, 0)
	if got, want := report.Failed[0].Error(), `check "judge" could not be made: judge down`; got != want || !errors.Is(report.Failed[0], cause) {
		t.Errorf("%q, want %q", got, want)
	}
	if got, want := validate.Unavailable(cause).Error(), "the check could not be made: judge down"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// The error of a context is a complaint if the context has not ended: then it
// comes from somewhere else, and is about the answer.
func TestTheErrorOfAnEndedContextIsNoComplaint(t *testing.T) {
	cause := errors.New("shutting down")
	ctx, cancel := context.WithCancelCause(context.Background())
	for _, said := range []error{context.Canceled, cause} {
		f := validate.Func("f", func(context.Context, *validate.Answer) error { return said })
		if v, err := f.Check(ctx, &validate.Answer{}); err != nil || len(v.Complaints) != 1 {
			t.Errorf("before the end: %v, %v", v, err)
		}
	}
	cancel(cause)
	for _, said := range []error{context.Canceled, cause} {
		f := validate.Func("f", func(context.Context, *validate.Answer) error { return said })
		if v, err := f.Check(ctx, &validate.Answer{}); !errors.Is(err, said) || len(v.Complaints) != 0 {
			t.Errorf("after the end: %v, %v", v, err)
		}
	}
}

func TestAFunctionThatIsMissingIsAFailedCheck(t *testing.T) {
	report := validate.Run(context.Background(), []validate.Strategy{validate.Func("", nil)}, nil, 0)
	if len(report.Failed) != 1 || report.Failed[0].Check != "func" {
		t.Errorf("%+v", report)
	}
}
