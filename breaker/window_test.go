package breaker_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"llmcall/breaker"
)

func TestClosedOpensAtTheThresholdAndTheWindowAndTheRate(t *testing.T) {
	in := func(wait time.Duration, do call, want breaker.State) []step { return []step{{wait, do, want}} }
	for _, test := range []struct {
		name   string
		config breaker.Config
		steps  []step
	}{
		{"four failures do not open the defaults, the fifth does", breaker.Config{},
			join(repeat(4, step{0, bad, closed}), in(0, bad, open))},
		{"a threshold of one opens at once", breaker.Config{FailureThreshold: 1},
			join(repeat(100, step{0, ok, closed}), in(0, bad, open))},

		{"a failure exactly FailureWindow old still counts", breaker.Config{},
			join(in(0, bad, closed), repeat(3, step{s, bad, closed}), in(297*s, bad, open))},
		{"a failure one nanosecond older does not", breaker.Config{},
			join(in(0, bad, closed), repeat(3, step{s, bad, closed}), in(297*s+1, bad, closed))},
		{"it is the window of the last failures that counts", breaker.Config{},
			join(in(0, bad, closed), repeat(3, step{s, bad, closed}), in(297*s+1, bad, closed), in(s-1, bad, open))},
		{"failures farther apart than a quarter of the window never open", breaker.Config{},
			repeat(100, step{75*s + 1, bad, closed})},
		{"failures a quarter of the window apart do", breaker.Config{},
			join(repeat(4, step{75 * s, bad, closed}), in(75*s, bad, open))},
		{"what was counted before a reset is forgotten, in what order too", breaker.Config{FailureThreshold: 3},
			join(repeat(4, step{200 * s, bad, closed}), in(0, reset, closed), repeat(10, step{200 * s, bad, closed}))},
		{"a window of one nanosecond holds failures of one instant and the next", breaker.Config{FailureThreshold: 2, FailureWindow: 1},
			join(in(0, bad, closed), in(2, bad, closed), in(1, bad, open))},

		{"the default rate allows one success among five failures", breaker.Config{},
			join(repeat(2, step{0, bad, closed}), in(0, ok, closed), repeat(2, step{0, bad, closed}), in(0, bad, open))},
		{"and not two", breaker.Config{},
			join(repeat(2, step{0, bad, closed}), repeat(2, step{0, ok, closed}), repeat(3, step{0, bad, closed}))},
		{"successes before the first of the failures do not count", breaker.Config{},
			join(repeat(1000, step{0, ok, closed}), repeat(4, step{0, bad, closed}), in(0, bad, open))},
		{"successes since an older failure do not count", breaker.Config{},
			join(in(0, bad, closed), repeat(1000, step{0, ok, closed}), repeat(4, step{0, bad, closed}), in(0, bad, open))},
		{"exactly the rate opens", breaker.Config{FailureThreshold: 4, FailureRate: 0.5},
			join(in(0, bad, closed), repeat(4, step{0, ok, closed}), repeat(2, step{0, bad, closed}), in(0, bad, open))},
		{"one success more does not", breaker.Config{FailureThreshold: 4, FailureRate: 0.5},
			join(in(0, bad, closed), repeat(5, step{0, ok, closed}), repeat(3, step{0, bad, closed}))},
		{"a negative rate is the count alone", breaker.Config{FailureThreshold: 3, FailureRate: -1},
			join(in(0, bad, closed), repeat(10_000, step{0, ok, closed}), in(0, bad, closed), repeat(10_000, step{0, ok, closed}), in(0, bad, open))},
		{"the count alone still has its window", breaker.Config{FailureThreshold: 2, FailureRate: -0.5},
			join(in(0, bad, closed), in(300*s+1, bad, closed), in(300*s, bad, open))},
		{"a rate of 1 is failures in a row", breaker.Config{FailureThreshold: 3, FailureRate: 1},
			join(repeat(2, step{0, bad, closed}), in(0, ok, closed), repeat(2, step{0, bad, closed}), in(0, bad, open))},
		{"a call that counts for nothing does not break a row", breaker.Config{FailureThreshold: 3, FailureRate: 1},
			join(repeat(2, step{0, bad, closed}), repeat(50, step{0, neither, closed}), in(0, bad, open))},

		{"five failures of 80 s each by one sequential caller open the defaults", breaker.Config{},
			join(repeat(4, step{80 * s, hung(80 * s), closed}), in(80*s, hung(80*s), open))},
		{"so do five of ten minutes each", breaker.Config{},
			join(repeat(4, step{600 * s, hung(600 * s), closed}), in(600*s, hung(600*s), open))},
		{"the window is FailureThreshold times the longest, to the nanosecond", breaker.Config{FailureThreshold: 3},
			join(in(0, hung(s), closed), in(0, hung(120*s), closed), in(360*s, hung(2*s), open))},
		{"and no longer", breaker.Config{FailureThreshold: 3},
			join(in(0, hung(s), closed), in(0, hung(120*s), closed), in(360*s+1, hung(2*s), closed))},
		{"the first of them may be the longest", breaker.Config{FailureThreshold: 2},
			join(in(0, hung(400*s), closed), in(800*s, bad, open))},
		{"it is the longest of the failures that are counted, not of an older one", breaker.Config{FailureThreshold: 2},
			join(in(0, hung(400*s), closed), in(801*s, bad, closed), in(301*s, bad, closed))},
		{"short ones leave the window as it is", breaker.Config{},
			join(in(0, hung(60*s), closed), repeat(3, step{0, hung(60 * s), closed}), in(300*s+1, hung(60*s), closed))},
		{"of a call of a day ten minutes are reckoned", breaker.Config{FailureThreshold: 2},
			join(in(0, hung(24*time.Hour), closed), in(1200*s+1, hung(24*time.Hour), closed), in(1200*s, hung(24*time.Hour), open))},
		{"a success between slow failures still breaks a row", breaker.Config{FailureThreshold: 2, FailureRate: 1},
			join(in(0, hung(600*s), closed), in(600*s, ok, closed), in(600*s, hung(600*s), closed))},
		{"a duration below nothing is not known", breaker.Config{FailureThreshold: 2},
			join(in(0, hung(-s), closed), in(300*s+1, hung(-s), closed), in(300*s, hung(-s), open))},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { trace(t, newBreaker(t, test.config), test.steps) })
		})
	}
}

// With n failures and s successes after the first of them, a breaker opens if,
// and only if, n/(n+s) >= rate, whatever way the division is rounded.
func TestRateIsFailuresOverCallsSinceTheFirstOfThem(t *testing.T) {
	for _, rate := range []float64{0.001, 0.01, 0.1, 0.2, 0.3, 1.0 / 3, 0.4, 0.5, 0.6, 2.0 / 3, 0.7, 0.75, 0.8, 0.9, 0.99, 1} {
		for n := 2; n <= 12; n++ {
			edge := int(float64(n)/rate) - n
			for s := max(0, edge-2); s <= edge+2; s++ {
				b := newBreaker(t, breaker.Config{FailureThreshold: n, FailureRate: rate})
				bad(t, b)
				for range s {
					ok(t, b)
				}
				for range n - 1 {
					bad(t, b)
				}
				if got, want := b.State() == open, float64(n)/float64(n+s) >= rate; got != want {
					t.Errorf("rate %v, %d failures, %d successes: opens %v, want %v", rate, n, s, got, want)
				}
			}
		}
	}
}

// The package's comment gives the chance of opening by bad luck; it rests on
// this.
func TestDefaultsOpenWhenFourOfTheFiveCallsBeforeAFailureFailed(t *testing.T) {
	for outcomes := range 1 << 5 {
		b := newBreaker(t, breaker.Config{})
		failures := 0
		for i := range 5 {
			if outcomes>>i&1 == 1 {
				failures++
				bad(t, b)
			} else {
				ok(t, b)
			}
		}
		if failures < 5 { // five in a row have opened it
			bad(t, b)
		}
		if got, want := b.State() == open, failures >= 4; got != want {
			t.Errorf("history %05b: opens %v, want %v", outcomes, got, want)
		}
	}
}

func TestOnePercentOfErrorsHarmsNoHealthyService(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBreaker(t, breaker.Config{})
		r := rand.New(rand.NewPCG(1, 2))
		for range 10 * 3600 { // an hour at 10 calls a second
			time.Sleep(100 * time.Millisecond)
			if r.Float64() < 0.01 {
				bad(t, b)
			} else {
				ok(t, b)
			}
			wantState(t, b, closed)
		}
	})
}

func TestMostlyFailingServiceIsCutOffSoon(t *testing.T) {
	b := newBreaker(t, breaker.Config{})
	r := rand.New(rand.NewPCG(1, 2))
	calls := 0
	for ; b.State() == closed; calls++ {
		var err error
		if r.Float64() < 0.9 {
			err = errBoom
		}
		run(b, err)
	}
	if calls > 20 {
		t.Errorf("opened after %d calls", calls)
	}
}

// What counts is when a call ended, not when it began, in whichever way it was
// made.
func TestSuccessThatEndsAfterTheFirstFailureCounts(t *testing.T) {
	rate := 1.0
	for name, succeed := range map[string]func(b *breaker.Breaker, during func()){
		"Do": func(b *breaker.Breaker, during func()) {
			breaker.Do(t.Context(), b, func(context.Context) (int, error) { during(); return 1, nil })
		},
		"permit": func(b *breaker.Breaker, during func()) {
			p := acquire(t, b)
			during()
			p.Success()
		},
		"pass": func(b *breaker.Breaker, during func()) {
			p := enter(t, b)
			during()
			b.Leave(p, breaker.Succeeded, breaker.Failure{})
		},
	} {
		for _, test := range []struct {
			name                  string
			before, during, after int // failures
			want                  breaker.State
		}{
			{"before both failures", 0, 0, 2, open},
			{"begins before them and ends between", 0, 1, 1, closed},
			{"between them", 1, 0, 1, closed},
		} {
			t.Run(name+", "+test.name, func(t *testing.T) {
				b := newBreaker(t, breaker.Config{FailureThreshold: 2, FailureRate: rate})
				fails := func(n int) {
					for range n {
						bad(t, b)
					}
				}
				fails(test.before)
				succeed(b, func() { fails(test.during) })
				fails(test.after)
				wantState(t, b, test.want)
			})
		}
	}
}

func TestSnapshotCountsTheFailuresInTheWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBreaker(t, breaker.Config{})
		for want := 1; want <= 4; want++ {
			bad(t, b)
			if got := b.Snapshot().Failures; got != want {
				t.Errorf("%d failures, want %d", got, want)
			}
			time.Sleep(s)
		}
		time.Sleep(296 * s) // the first is 300 s old
		if got := b.Snapshot().Failures; got != 4 {
			t.Errorf("with one exactly as old as the window: %d failures, want 4", got)
		}
		time.Sleep(time.Nanosecond)
		if got := b.Snapshot().Failures; got != 3 {
			t.Errorf("with one older than the window: %d failures, want 3", got)
		}
	})
}

// Do measures its calls itself, and reads no clock while all is well: it does
// not know how long the first failure lasted, and needs not.
func TestFiveSlowFailuresOfOneCallerOpen(t *testing.T) {
	for _, lasts := range []time.Duration{s, 80 * s, 600 * s} {
		for name, fails := range map[string]func(b *breaker.Breaker){
			"Do": func(b *breaker.Breaker) {
				breaker.Do(t.Context(), b, func(context.Context) (int, error) { time.Sleep(lasts); return 0, errBoom })
			},
			"Do that panics": func(b *breaker.Breaker) {
				defer func() { _ = recover() }()
				breaker.Do(t.Context(), b, func(context.Context) (int, error) { time.Sleep(lasts); panic("ouch") })
			},
			"permit": func(b *breaker.Breaker) {
				p := acquire(t, b)
				time.Sleep(lasts)
				p.Failure(because(boom))
			},
		} {
			for _, rate := range []float64{-1, 0.8, 1} {
				t.Run(fmt.Sprintf("%s, %v, rate %v", name, lasts, rate), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						b := newBreaker(t, breaker.Config{FailureRate: rate})
						time.Sleep(time.Hour)
						for range 4 {
							fails(b)
							wantState(t, b, closed)
						}
						fails(b)
						wantState(t, b, open)
					})
				})
			}
		}
	}
}

func TestSnapshotCountsTheFailuresInALongerWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBreaker(t, breaker.Config{})
		bad(t, b)
		time.Sleep(400 * s)
		if got := b.Snapshot().Failures; got != 0 {
			t.Errorf("%d failures, want 0", got)
		}
		hung(200*s)(t, b)
		if got := b.Snapshot().Failures; got != 2 {
			t.Errorf("with a window of 1,000 s: %d failures, want 2", got)
		}
		time.Sleep(600*s + 1)
		if got := b.Snapshot().Failures; got != 1 {
			t.Errorf("when the first is older than that: %d failures, want 1", got)
		}
	})
}
