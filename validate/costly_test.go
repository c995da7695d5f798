package validate_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"llmcall/llm"
	"llmcall/validate"
)

// judge is a costly check: it takes a while and some tokens.
type judge struct {
	outcome
	takes time.Duration
	made  *[]string // the names of those that were begun
	mu    *sync.Mutex
}

func (judge) Costly() bool { return true }

func (j judge) Check(ctx context.Context, a *validate.Answer) (validate.Verdict, error) {
	if j.made != nil {
		j.mu.Lock()
		*j.made = append(*j.made, j.name)
		j.mu.Unlock()
	}
	select {
	case <-ctx.Done():
		return validate.Verdict{}, ctx.Err()
	case <-time.After(j.takes):
	}
	return j.outcome.Check(ctx, a)
}

func used(o outcome, tokens int64) outcome {
	o.verdict.Usage = llm.Usage{InputTokens: tokens, OutputTokens: 1}
	return o
}

// slow is a check that is not costly and takes a while.
func slow(name string, d time.Duration, err error) validate.Strategy {
	return validate.Func(name, func(ctx context.Context, _ *validate.Answer) error {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(d):
			return err
		}
	})
}

func TestCostlyChecksAreMadeLastAndOnlyOfAnAnswerThatTheOthersPass(t *testing.T) {
	down := errors.New("down")
	for _, test := range []struct {
		name    string
		cheap   validate.Strategy
		took    time.Duration
		skipped []string
		failed  int
	}{
		{"the others pass", slow("cheap", time.Second, nil), 3 * time.Second, nil, 0},
		{"another complains", slow("cheap", time.Second, errors.New("wrong")), time.Second, []string{"first judge", "second judge"}, 0},
		{"another complains at once", validate.JSON(), time.Second, []string{"first judge", "second judge"}, 0},
		{"another gives advice alone", outcome{name: "mute", verdict: validate.Verdict{Advice: validate.Stop}}, time.Second, []string{"first judge", "second judge"}, 0},
		{"another can't be made", slow("cheap", time.Second, validate.Unavailable(down)), time.Second, []string{"first judge", "second judge"}, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var made []string
				var mu sync.Mutex
				begun := time.Now()
				report := validate.Run(t.Context(), []validate.Strategy{
					judge{used(passes("first judge"), 10), 2 * time.Second, &made, &mu},
					test.cheap,
					slow("steady", time.Second, nil),
					judge{used(passes("second judge"), 20), 2 * time.Second, &made, &mu},
				}, &validate.Answer{Text: "x"}, time.Minute)
				if took := time.Since(begun); took != test.took {
					t.Errorf("took %v, want %v", took, test.took)
				}
				if !slices.Equal(report.Skipped, test.skipped) || len(made) != 2-len(test.skipped) || len(report.Failed) != test.failed {
					t.Errorf("made %q, skipped %q, failed %v", made, report.Skipped, report.Failed)
				}
				want := llm.Usage{InputTokens: 30, OutputTokens: 2}
				if test.skipped != nil {
					want = llm.Usage{}
				}
				if report.Usage != want {
					t.Errorf("usage %+v", report.Usage)
				}
				if !slices.Contains(report.Passed, "steady") || slices.Contains(report.Passed, "first judge") != (test.skipped == nil) {
					t.Errorf("passed %q", report.Passed)
				}
			})
		})
	}
}

// A costly check that complains keeps no other costly check from being made,
// and what one that failed has used is on the bill.
func TestEveryCostlyCheckIsMadeOfAnAnswerThatTheCheapOnesPass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		report := validate.Run(t.Context(), []validate.Strategy{
			judge{outcome: used(complains("a", "wrong"), 1), takes: 3 * time.Second},
			judge{outcome: used(outcome{name: "b", err: errors.New("no verdict")}, 2), takes: 2 * time.Second},
			judge{outcome: used(passes("c"), 4), takes: time.Second},
		}, nil, 0)
		wantLines(t, "report", report.Complaints, "a: wrong")
		if len(report.Failed) != 1 || report.Failed[0].Check != "b" || !slices.Equal(report.Passed, []string{"c"}) || len(report.Skipped) != 0 {
			t.Errorf("%+v", report)
		}
		if report.Usage != (llm.Usage{InputTokens: 7, OutputTokens: 3}) {
			t.Errorf("usage %+v", report.Usage)
		}
	})
}

func TestTheReportKeepsTheOrderOfTheSlice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		report := validate.Run(t.Context(), []validate.Strategy{
			slow("third to end", 3*time.Second, errors.New("a")),
			validate.NotEmpty(),
			slow("first to end", time.Second, errors.New("b")),
			slow("no time left", time.Hour, nil),
			slow("second to end", 2*time.Second, errors.New("c")),
			outcome{name: "panics", panicked: "boom"},
			slow("passes", time.Second, nil),
			validate.JSON(),
		}, &validate.Answer{Text: "[1]"}, 5*time.Second)
		wantLines(t, "report", report.Complaints, "third to end: a", "first to end: b", "second to end: c")
		if !slices.Equal(report.Passed, []string{"not_empty", "passes", "json"}) {
			t.Errorf("passed %q", report.Passed)
		}
		if len(report.Failed) != 2 || report.Failed[0].Index != 3 || !errors.Is(report.Failed[0], validate.ErrTimeout) || report.Failed[1].Index != 5 {
			t.Errorf("failed %v", report.Failed)
		}
	})
}

// Eight checks at once, each with the whole timeout, however long it waited for
// its turn.
func TestChecksAreMadeAtTheSameTimeUpToEight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var now, most atomic.Int64
		checks := make([]validate.Strategy, 20)
		for i := range checks {
			checks[i] = validate.Func(fmt.Sprint("check ", i), func(ctx context.Context, _ *validate.Answer) error {
				defer now.Add(-1)
				for n := now.Add(1); n > most.Load(); {
					most.Store(n)
				}
				select {
				case <-ctx.Done():
					return ctx.Err()
				case <-time.After(time.Duration(1+i%2) * time.Second):
				}
				return nil
			})
		}
		begun := time.Now()
		report := validate.Run(t.Context(), checks, nil, 3*time.Second)
		if most.Load() != 8 || len(report.Failed) != 0 || len(report.Passed) != 20 {
			t.Errorf("%d at once; %v; passed %q", most.Load(), report.Failed, report.Passed)
		}
		if took := time.Since(begun); took != 5*time.Second { // 30 seconds of work, by eight, in the order of the slice
			t.Errorf("took %v", took)
		}
	})
}

// A check that ignores its context loses its place at its timeout, so that those
// behind it are made.
func TestChecksThatAreLeftBehindGiveTheirPlacesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		stuck := validate.Func("stuck", func(context.Context, *validate.Answer) error {
			<-release
			return nil
		})
		checks := append(slices.Repeat([]validate.Strategy{stuck}, 9), complains("behind", "x"))
		begun := time.Now()
		report := validate.Run(t.Context(), checks, nil, time.Second)
		if took := time.Since(begun); took != 2*time.Second || len(report.Failed) != 9 {
			t.Errorf("took %v; %v", took, report.Failed)
		}
		wantLines(t, "report", report.Complaints, "behind: x")
		close(release)
	})
}

func TestTheEndOfTheContextEndsACostlyCheck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		begun := time.Now()
		report := validate.Run(ctx, []validate.Strategy{judge{outcome: passes("judge"), takes: time.Hour}, passes("cheap")}, nil, 0)
		if took := time.Since(begun); took != time.Second || len(report.Failed) != 1 || !errors.Is(report.Failed[0], context.DeadlineExceeded) {
			t.Errorf("took %v: %v", took, report.Failed)
		}
	})
}

// Of several checks each has a goroutine of its own, so that Goexit ends that.
func TestGoexitInOneOfSeveralChecksIsItsFailure(t *testing.T) {
	exits := validate.Func("exits", func(context.Context, *validate.Answer) error {
		runtime.Goexit()
		return nil
	})
	report := validate.Run(context.Background(), []validate.Strategy{exits, complains("other", "x")}, nil, 0)
	wantLines(t, "report", report.Complaints, "other: x")
	if len(report.Failed) != 1 || report.Failed[0].Check != "exits" {
		t.Errorf("failed: %v", report.Failed)
	}
}

type unsure struct{ *judge }

func (u unsure) Costly() bool { return u.takes > 0 }

func TestACheckThatPanicsWhenAskedWhetherItIsCostlyIsAFailedCheck(t *testing.T) {
	report := validate.Run(context.Background(), []validate.Strategy{unsure{}, passes("other")}, nil, 0)
	if len(report.Failed) != 1 || !report.Failed[0].Panicked || !slices.Equal(report.Passed, []string{"other"}) {
		t.Errorf("%+v", report)
	}
}

func TestAgainMakesWhatFailedAndWhatWasSkippedForIt(t *testing.T) {
	down := errors.New("down")
	tries := 0
	shaky := validate.Func("shaky", func(context.Context, *validate.Answer) error {
		if tries++; tries == 1 {
			return validate.Unavailable(down)
		}
		return nil
	})
	expensive := judge{outcome: used(outcome{name: "expensive", err: down}, 5)}
	checks := []validate.Strategy{validate.NotEmpty(), expensive, shaky, validate.Must(validate.All(passes("inner"), expensive))}
	a := &validate.Answer{Text: "x"}
	report := validate.Run(context.Background(), checks, a, 0)
	if len(report.Failed) != 1 || report.Failed[0].Index != 2 || !slices.Equal(report.Skipped, []string{"expensive", "all"}) || !slices.Equal(report.Passed, []string{"not_empty"}) {
		t.Fatalf("%+v", report)
	}
	report.Again(context.Background(), checks, a, 0, nil)
	if len(report.Failed) != 2 || report.Failed[0].Index != 1 || report.Failed[1].Index != 3 || len(report.Skipped) != 0 || !slices.Equal(report.Passed, []string{"not_empty", "shaky"}) {
		t.Fatalf("%+v", report)
	}
	checks[1] = judge{outcome: used(complains("expensive", "wrong"), 7)}
	report.Again(context.Background(), checks, a, 0, nil)
	wantLines(t, "report", report.Complaints, "expensive: wrong")
	if tries != 2 || len(report.Failed) != 1 || report.Failed[0].Index != 3 || report.Usage.InputTokens != 5+5+7+5 {
		t.Errorf("%d tries, %+v", tries, report)
	}
}

func TestACombinationIsCostlyIfAMemberIs(t *testing.T) {
	expensive := judge{outcome: used(passes("judge"), 5)}
	cheap := passes("cheap")
	for name, c := range map[string]struct {
		check validate.Strategy
		want  bool
	}{
		"all":        {validate.Must(validate.All(cheap, expensive)), true},
		"any":        {validate.Must(validate.Any(cheap, expensive)), true},
		"not":        {validate.Must(validate.Not(expensive, "", "")), true},
		"nested":     {validate.Must(validate.All(validate.Must(validate.Any(validate.Must(validate.Not(expensive, "", "")))))), true},
		"cheap ones": {validate.Must(validate.All(cheap, validate.Must(validate.Not(cheap, "", "")))), false},
	} {
		costly, ok := c.check.(validate.Costly)
		if got := ok && costly.Costly(); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

func TestCombinationsSkipAndCount(t *testing.T) {
	expensive := judge{outcome: used(passes("judge"), 5)}
	run := func(s validate.Strategy) validate.Report {
		return validate.Run(context.Background(), []validate.Strategy{s}, nil, 0)
	}
	// All: the costly one last, though it stands first.
	report := run(validate.Must(validate.All(expensive, complains("cheap", "x"))))
	if !slices.Equal(report.Skipped, []string{"judge"}) || report.Usage.InputTokens != 0 || len(report.Complaints) != 1 {
		t.Errorf("all, a cheap one complains: %+v", report)
	}
	report = run(validate.Must(validate.All(expensive, passes("cheap"), expensive)))
	if len(report.Skipped) != 0 || report.Usage.InputTokens != 10 || !slices.Equal(report.Passed, []string{"all"}) {
		t.Errorf("all: %+v", report)
	}
	report = run(validate.Must(validate.All(expensive, outcome{name: "cheap", err: errors.New("down")})))
	if !slices.Equal(report.Skipped, []string{"judge"}) || len(report.Failed) != 1 {
		t.Errorf("all, a cheap one fails: %+v", report)
	}
	wrong := judge{outcome: used(complains("judge", "no"), 3)}
	if report = run(validate.Must(validate.Any(wrong, expensive, expensive))); report.Usage.InputTokens != 8 {
		t.Errorf("any: %+v", report)
	}
	if report = run(validate.Must(validate.Any(wrong, wrong))); report.Usage.InputTokens != 6 || len(report.Complaints) != 1 {
		t.Errorf("any, none passes: %+v", report)
	}
	if report = run(validate.Must(validate.Not(wrong, "", ""))); report.Usage.InputTokens != 3 || len(report.Complaints) != 0 {
		t.Errorf("not: %+v", report)
	}
	failed := judge{outcome: used(outcome{name: "judge", err: errors.New("down")}, 2)}
	for name, s := range map[string]validate.Strategy{
		"all": validate.Must(validate.All(failed)), "any": validate.Must(validate.Any(failed)), "not": validate.Must(validate.Not(failed, "", "")),
	} {
		if report = run(s); report.Usage.InputTokens != 2 || len(report.Failed) != 1 {
			t.Errorf("%s of one that fails: %+v", name, report)
		}
	}
}

// What is costly is not made again for an answer that can't pass any more.
func TestAgainLeavesWhatMayNotBeMadeAgain(t *testing.T) {
	down := errors.New("down")
	tries := 0
	shaky := validate.Func("shaky", func(context.Context, *validate.Answer) error {
		if tries++; tries == 1 {
			return validate.Unavailable(down)
		}
		return nil
	})
	checks := []validate.Strategy{shaky, judge{outcome: used(passes("expensive"), 5)}, outcome{name: "final", err: down}}
	a := &validate.Answer{Text: "x"}
	report := validate.Run(context.Background(), checks, a, 0)
	if len(report.Failed) != 2 || !slices.Equal(report.Skipped, []string{"expensive"}) {
		t.Fatalf("%+v", report)
	}
	report.Again(context.Background(), checks, a, 0, func(f *validate.CheckError) bool { return f.Check != "final" })
	if tries != 2 || len(report.Failed) != 1 || report.Failed[0].Index != 2 || !slices.Equal(report.Skipped, []string{"expensive"}) || !slices.Equal(report.Passed, []string{"shaky"}) || report.Usage.InputTokens != 0 {
		t.Fatalf("%d tries, %+v", tries, report)
	}
	report.Again(context.Background(), checks, a, 0, nil)
	if len(report.Failed) != 1 || report.Usage.InputTokens != 0 || !slices.Equal(report.Skipped, []string{"expensive"}) {
		t.Fatalf("%+v", report)
	}
}
