package validate_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"llmcall/failure"
	"llmcall/validate"
)

func TestRunMakesAllChecksInOrder(t *testing.T) {
	cause := errors.New("judge down")
	report := validate.Run(context.Background(), []validate.Strategy{
		complains("first", "a"),
		outcome{name: "broken", err: cause},
		passes("quiet"),
		outcome{name: "panics", panicked: "boom"},
		complains("last", "b"),
		outcome{name: "named", verdict: validate.Verdict{Complaints: []validate.Complaint{{Check: "inner", Problem: "c"}}}},
	}, &validate.Answer{Text: "x"}, 0)
	wantLines(t, "report", report.Complaints, "first: a", "last: b", "inner: c")
	if len(report.Failed) != 2 {
		t.Fatalf("failed checks: %v", report.Failed)
	}
	broken, panicked := report.Failed[0], report.Failed[1]
	if broken.Index != 1 || panicked.Index != 3 {
		t.Errorf("places %d and %d", broken.Index, panicked.Index)
	}
	if broken.Check != "broken" || !errors.Is(broken, cause) || broken.Panicked {
		t.Errorf("the check that returned an error: %+v", broken)
	}
	var p *validate.PanicError
	if panicked.Check != "panics" || !panicked.Panicked || !errors.As(panicked, &p) || p.Value != "boom" || len(p.Stack) == 0 {
		t.Errorf("the check that panicked: %+v", panicked)
	}
	if failure.KindOf(broken) != failure.CheckUnavailable {
		t.Errorf("kind %v", failure.KindOf(broken))
	}
	if got, want := panicked.Error(), `check "panics" could not be made: it panicked: boom`; got != want {
		t.Errorf("error %q, want %q", got, want)
	}
}

func TestPanicErrorUnwrapsToTheErrorThatCausedIt(t *testing.T) {
	cause := errors.New("index out of everything")
	report := validate.Run(context.Background(), []validate.Strategy{outcome{name: "panics", panicked: cause}}, nil, 0)
	if !errors.Is(report.Failed[0], cause) {
		t.Errorf("%v", report.Failed)
	}
}

// A verdict may be one that the check keeps for all its answers.
func TestRunDoesNotChangeAVerdict(t *testing.T) {
	shared := complains("mine", "a")
	validate.Run(context.Background(), []validate.Strategy{shared}, nil, 0)
	if got := shared.verdict.Complaints[0].Check; got != "" {
		t.Errorf("the check's own complaint was given the name %q", got)
	}
}

func TestRunKeepsTheFirstDecodedValueAndTheWeightiestAdvice(t *testing.T) {
	decoded := func(name, text string, advice validate.Advice) outcome {
		return outcome{name: name, verdict: validate.Verdict{
			Complaints: []validate.Complaint{{Problem: text}}, Decoded: true, Value: text, Text: text, Advice: advice,
		}}
	}
	report := validate.Run(context.Background(), []validate.Strategy{
		complains("none", "x"), decoded("a", "first", validate.Human), decoded("b", "second", validate.Stop),
	}, nil, 0)
	if !report.Decoded || report.Value != "first" || report.Text != "first" || report.Advice != validate.Human {
		t.Errorf("%+v", report)
	}
}

func TestAdviceWithoutAComplaintIsNotLost(t *testing.T) {
	report := validate.Run(context.Background(), []validate.Strategy{
		outcome{name: "mute", verdict: validate.Verdict{Advice: validate.Human}},
	}, nil, 0)
	wantLines(t, "report", report.Complaints, `mute: the check gave the advice "human" and no reason`)
}

func TestRunSurvivesNilAndNamelessChecks(t *testing.T) {
	var none *nameless
	for _, timeout := range []time.Duration{0, time.Second} {
		report := validate.Run(context.Background(), []validate.Strategy{nil, none}, nil, timeout)
		if len(report.Failed) != 2 || report.Failed[0].Check != "check 1" || report.Failed[1].Check != "check 2" || !report.Failed[1].Panicked {
			t.Errorf("timeout %v: %v", timeout, report.Failed)
		}
	}
	if report := validate.Run(context.Background(), nil, nil, time.Second); report.Complaints != nil || report.Failed != nil {
		t.Errorf("no checks: %+v", report)
	}
}

// nameless panics in all its methods when it is nil.
type nameless struct{ name string }

func (n *nameless) Name() string { return n.name }

func (n *nameless) Check(context.Context, *validate.Answer) (validate.Verdict, error) {
	return validate.Verdict{}, errors.New(n.name)
}

func TestACheckThatIgnoresItsContextIsLeftBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		stuck := validate.Func("stuck", func(context.Context, *validate.Answer) error {
			<-release
			return nil
		})
		begun := time.Now()
		report := validate.Run(context.Background(), []validate.Strategy{stuck, complains("after", "x"), stuck}, nil, 3*time.Second)
		if took := time.Since(begun); took != 3*time.Second {
			t.Errorf("took %v, want one limit: both checks are made at the same time", took)
		}
		wantLines(t, "the check behind it", report.Complaints, "after: x")
		if len(report.Failed) != 2 || !errors.Is(report.Failed[0], validate.ErrTimeout) || errors.Is(report.Failed[0], context.DeadlineExceeded) {
			t.Errorf("failed: %v", report.Failed)
		}
		if got, want := report.Failed[0].Error(), `check "stuck" could not be made: it took too long (the limit is 3s)`; got != want {
			t.Errorf("error %q, want %q", got, want)
		}
		close(release)
	})
}

func TestACheckThatObeysItsContextIsReportedAsLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		report := validate.Run(context.Background(), []validate.Strategy{
			validate.Func("obeys", func(ctx context.Context, _ *validate.Answer) error {
				<-ctx.Done()
				return fmt.Errorf("judge: %w", ctx.Err())
			}),
			validate.Func("words of its own", func(ctx context.Context, _ *validate.Answer) error {
				<-ctx.Done()
				return validate.Unavailable(errors.New("gave up"))
			}),
		}, nil, time.Second)
		if len(report.Complaints) != 0 || len(report.Failed) != 2 {
			t.Fatalf("%+v", report)
		}
		for _, failed := range report.Failed {
			if !errors.Is(failed, validate.ErrTimeout) {
				t.Errorf("%v", failed)
			}
		}
	})
}

func TestTheEndOfTheCallersContextIsReportedAsThat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		stuck := validate.Func("stuck", func(context.Context, *validate.Answer) error {
			<-release
			return nil
		})
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		begun := time.Now()
		report := validate.Run(ctx, []validate.Strategy{complains("before", "x"), stuck, validate.NotEmpty()}, nil, time.Minute)
		if took := time.Since(begun); took != time.Second {
			t.Errorf("took %v", took)
		}
		wantLines(t, "before the end", report.Complaints, "before: x", "not_empty: the answer is empty (answer with text)")
		if len(report.Failed) != 1 || report.Failed[0].Check != "stuck" {
			t.Fatalf("failed: %v", report.Failed)
		}
		report = validate.Run(ctx, []validate.Strategy{complains("after", "x"), validate.NotEmpty()}, nil, time.Minute)
		if len(report.Failed) != 2 || len(report.Complaints) != 0 {
			t.Fatalf("failed: %v", report.Failed)
		}
		for _, failed := range report.Failed {
			if !errors.Is(failed, context.DeadlineExceeded) || errors.Is(failed, validate.ErrTimeout) {
				t.Errorf("%v", failed)
			}
		}
		close(release)
	})
}

func TestGoexitInACheckDoesNotWedgeRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		exits := validate.Func("exits", func(context.Context, *validate.Answer) error {
			runtime.Goexit()
			return nil
		})
		report := validate.Run(context.Background(), []validate.Strategy{exits, complains("after", "x")}, nil, time.Second)
		wantLines(t, "the check behind it", report.Complaints, "after: x")
		if len(report.Failed) != 1 || report.Failed[0].Check != "exits" || !strings.Contains(report.Failed[0].Error(), "Goexit") {
			t.Errorf("failed: %v", report.Failed)
		}
		// Without a limit it ends the goroutine that called Run, as it would
		// without Run.
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			validate.Run(context.Background(), []validate.Strategy{exits}, nil, 0)
			t.Error("Run returned")
		}()
		<-ended
	})
}

// The second check must not decode what the first did, and a check that changes
// the text for another must not get the value of the first.
func TestChecksOfOneRunShareTheDecodedValue(t *testing.T) {
	var seen [3]any
	keep := func(i int, text string) validate.Strategy {
		return validate.Func("keep", func(_ context.Context, a *validate.Answer) error {
			other := *a
			if text != "" {
				other.Text = text
			}
			var err error
			seen[i], _, err = other.JSON()
			return err
		})
	}
	report := validate.Run(context.Background(), []validate.Strategy{
		validate.JSON(), keep(0, ""), keep(1, `{"b":1}`), keep(2, ""),
	}, &validate.Answer{Text: `{"a":1}`}, 0)
	if len(report.Complaints)+len(report.Failed) > 0 {
		t.Fatalf("%+v", report)
	}
	first := seen[0].(map[string]any)
	first["mark"] = true
	if report.Value.(map[string]any)["mark"] != true {
		t.Error("the text was decoded twice")
	}
	if b, ok := seen[1].(map[string]any)["b"]; !ok || b == nil {
		t.Errorf("another text got the value %v", seen[1])
	}
	if _, ok := seen[2].(map[string]any)["a"]; !ok {
		t.Errorf("the first text got the value %v", seen[2])
	}
}

func TestComplaintString(t *testing.T) {
	c := validate.Complaint{Check: "json", Problem: "p", Pointer: "/a", Line: 1, Column: 2, Suggestion: "s"}
	if got, want := c.String(), "json: at /a: line 1, column 2: p (s)"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	for advice, want := range map[validate.Advice]string{validate.Again: "again", validate.NextStage: "next_stage", validate.Stop: "stop", validate.Human: "human", 9: "advice(9)"} {
		if advice.String() != want {
			t.Errorf("%q, want %q", advice, want)
		}
	}
}

func TestMustPanicsWithTheError(t *testing.T) {
	defer func() {
		var bad *validate.ParamError
		if err, ok := recover().(error); !ok || !errors.As(err, &bad) {
			t.Errorf("%v", err)
		}
	}()
	validate.Must(validate.Length(0, 0))
}
