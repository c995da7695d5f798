package breaker_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"llmcall/breaker"
)

// lazy is a context whose deadline has come, and that has not noticed yet.
type lazy struct{ context.Context }

func (lazy) Deadline() (time.Time, bool) { return time.Now(), true }

// outcomes are all ways in which a call of Do made with ctx can return an error.
var outcomes = []struct {
	name   string
	ctx    func() (context.Context, context.CancelFunc)
	err    error
	counts bool
}{
	{"any error", live, errBoom, true},
	{"wrapped any error", live, fmt.Errorf("call: %w", errBoom), true},
	{"a deadline that is not the caller's", live, context.DeadlineExceeded, true},
	{"a deadline that is not the caller's, while his is still to come", yetToCome, context.DeadlineExceeded, true},
	// F2: a library's own context, the caller still there.
	{"a cancellation that is not the caller's", live, context.Canceled, true},
	{"wrapped cancellation that is not the caller's", live, fmt.Errorf("call: %w", context.Canceled), true},

	{"the caller's cancellation", gone, context.Canceled, false},
	{"any error after the caller's cancellation", gone, errBoom, false},
	{"any error after the caller's cancellation with a cause", goneBecause, errBoom, false},
	{"the caller's deadline", expired, context.DeadlineExceeded, false},
	{"any error after the caller's deadline", expired, errBoom, false},
	{"an error of a connection an instant before the context's own", justNow, errors.New("i/o timeout"), false},
}

func live() (context.Context, context.CancelFunc) { return context.Background(), func() {} }
func yetToCome() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), time.Hour)
}
func gone() (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx, cancel
}
func goneBecause() (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(errBoom)
	return ctx, func() {}
}
func expired() (context.Context, context.CancelFunc) {
	return context.WithDeadline(context.Background(), time.Now().Add(-1))
}
func justNow() (context.Context, context.CancelFunc) { return lazy{context.Background()}, func() {} }

// does makes a call with ctx that returns err.
func does(t testing.TB, ctx context.Context, b *breaker.Breaker, err error) {
	t.Helper()
	n, got := breaker.Do(ctx, b, func(context.Context) (int, error) { return 42, err })
	if n != 42 || got != err {
		t.Errorf("came back as %v, %v", n, got)
	}
}

func TestErrorInClosedCountsOrIsNeither(t *testing.T) {
	for _, o := range outcomes {
		t.Run(o.name, func(t *testing.T) {
			b := newBreaker(t, breaker.Config{FailureThreshold: 1})
			ctx, cancel := o.ctx()
			defer cancel()
			does(t, ctx, b, o.err)
			if got := b.State() == open; got != o.counts {
				t.Errorf("opened: %v, want %v", got, o.counts)
			}
		})
	}
}

func TestErrorInHalfOpenReopensOrGivesThePlaceBack(t *testing.T) {
	for _, o := range outcomes {
		t.Run(o.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := halfOpen(t, breaker.Config{})
				ok(t, b)
				ctx, cancel := o.ctx()
				defer cancel()
				does(t, ctx, b, o.err)
				got := b.Snapshot()
				if o.counts {
					if got.State != open {
						t.Errorf("%+v", got)
					}
					return
				}
				if got.State != half || got.Probes != 0 || got.Passed != 1 {
					t.Errorf("%+v", got)
				}
				ok(t, b)
				wantState(t, b, closed)
			})
		})
	}
}

func TestSuccessAfterTheCallerLeftIsASuccess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := halfOpen(t, breaker.Config{SuccessThreshold: 1})
		ctx, cancel := gone()
		defer cancel()
		does(t, ctx, b, nil)
		wantState(t, b, closed)
	})
}

// What a caller has decided is what counts, whatever the cause is called.
func TestOutcomeIsWhatTheCallerDecided(t *testing.T) {
	for _, test := range []struct {
		name          string
		outcome       breaker.Outcome
		closed, inOne breaker.State // what becomes of CLOSED, and of HALF_OPEN with one success still to come
		probes        int           // still under way then
	}{
		{"failed", breaker.Failed, open, open, 0},
		{"succeeded", breaker.Succeeded, closed, closed, 0},
		{"neither", breaker.Neither, closed, half, 0},
		{"tripped", breaker.Tripped, open, open, 0},
		{"an outcome that there is not", breaker.Outcome(99), closed, half, 0},
	} {
		for _, slow := range []time.Duration{0, time.Hour} { // two ways through the code while CLOSED
			t.Run(fmt.Sprintf("%s, SlowCall %v", test.name, slow), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					c := breaker.Config{FailureThreshold: 1, SuccessThreshold: 1, SlowCall: slow}
					for b, want := range map[*breaker.Breaker]breaker.State{newBreaker(t, c): test.closed, halfOpen(t, c): test.inOne} {
						b.Leave(enter(t, b), test.outcome, because(breaker.Cause{Kind: "cancelled"}))
						if got := b.Snapshot(); got.State != want || got.Probes != test.probes {
							t.Errorf("%+v, want %v", got, want)
						}
					}
				})
			})
		}
	}
}

// The three moments: a probe has passed when its answer begins, and what becomes
// of the call counts by itself, in the state of then.
func TestProbeHasPassedWhenItsAnswerBegins(t *testing.T) {
	for _, test := range []struct {
		needed    int
		accepted  breaker.State
		end       breaker.Outcome
		then      breaker.State
		failures  int
		passed    int
		threshold int
	}{
		{1, closed, breaker.Neither, closed, 0, 0, 1},
		{1, closed, breaker.Succeeded, closed, 0, 0, 1},
		{1, closed, breaker.Failed, closed, 1, 0, 2},
		{1, closed, breaker.Failed, open, 0, 0, 1},
		{1, closed, breaker.Tripped, open, 0, 0, 2},
		{2, half, breaker.Neither, half, 0, 1, 1},
		{2, half, breaker.Succeeded, half, 0, 1, 1}, // one probe is one success
		{2, half, breaker.Failed, open, 0, 0, 2},
		{2, half, breaker.Tripped, open, 0, 0, 2},
	} {
		t.Run(fmt.Sprintf("%d needed, then %d", test.needed, test.end), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := halfOpen(t, breaker.Config{SuccessThreshold: test.needed, FailureThreshold: test.threshold})
				p := enter(t, b)
				refused(t, b)
				p = b.Accept(p)
				wantState(t, b, test.accepted)
				if got := b.Snapshot(); got.Probes != 0 {
					t.Errorf("its place is not free: %+v", got)
				}
				if again := b.Accept(p); again != p {
					t.Errorf("accepted twice: %+v, then %+v", p, again)
				}
				b.Leave(p, test.end, because(late))
				if got := b.Snapshot(); got.State != test.then || got.Failures != test.failures || got.Passed != test.passed || got.Probes != 0 {
					t.Errorf("%+v", got)
				}
			})
		})
	}
}

// A8: a thousand answers that their callers leave after a piece, or that are a
// 400, kept a circuit HALF_OPEN. They prove that the service lives.
func TestProbesThatGotAnAnswerCloseTheCircuitHoweverTheyEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := halfOpen(t, breaker.Config{})
		for range 2 {
			wantState(t, b, half)
			b.Leave(b.Accept(enter(t, b)), breaker.Neither, breaker.Failure{})
		}
		wantState(t, b, closed)
	})
}

func TestPlaceIsFreeWhileAnAcceptedAnswerIsRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := halfOpen(t, breaker.Config{SuccessThreshold: 3})
		streams := make([]breaker.Pass, 2)
		for i := range streams {
			streams[i] = b.Accept(enter(t, b))
		}
		time.Sleep(600 * s)
		ok(t, b)
		wantState(t, b, closed)
		for _, p := range streams { // admitted in HALF_OPEN, like what CLOSED has admitted late
			b.Leave(p, breaker.Failed, because(boom))
		}
		if got := b.Snapshot(); got.Failures != 0 {
			t.Errorf("%+v", got)
		}
	})
}

func TestAcceptOfACallThatIsNoProbeChangesNothing(t *testing.T) {
	for name, slow := range map[string]time.Duration{"unwatched": 0, "watched": time.Hour} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBreaker(t, breaker.Config{FailureThreshold: 2, FailureRate: 1, SlowCall: slow})
				p := enter(t, b)
				bad(t, b)
				if got := b.Accept(p); got != p {
					t.Errorf("%+v, want %+v", got, p)
				}
				b.Leave(p, breaker.Failed, because(boom)) // accepting was no success
				wantState(t, b, open)
			})
		})
	}
}

// With count_invalid_answers an answer is accepted and then counted, once, as
// what it turned out to be: told as a success first, wrong answers would be a
// share of one half and never open a circuit of rate 0.8.
func TestWrongAnswersThatWereAcceptedOpen(t *testing.T) {
	b := newBreaker(t, breaker.Config{})
	for range 5 {
		wantState(t, b, closed)
		b.Leave(b.Accept(enter(t, b)), breaker.Failed, because(boom))
	}
	wantState(t, b, open)
}

func TestZeroPassCountsForNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, b := range []*breaker.Breaker{newBreaker(t, breaker.Config{FailureThreshold: 1}), halfOpen(t, breaker.Config{})} {
			before := b.Snapshot()
			for _, o := range []breaker.Outcome{breaker.Neither, breaker.Succeeded, breaker.Failed, breaker.Tripped} {
				b.Leave(b.Accept(breaker.Pass{}), o, because(boom))
			}
			if after := b.Snapshot(); after != before {
				t.Errorf("changed from %+v to %+v", before, after)
			}
		}
	})
}

func TestPassOfAnUnwatchedCallInClosedIsANumber(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := breaker.Config{FailureThreshold: 2}
		b, watched := newBreaker(t, c), newBreaker(t, breaker.Config{SlowCall: time.Hour})
		bad(t, b)
		p := enter(t, b)
		n, plain := p.Plain()
		if !plain || n == 0 || breaker.PlainPass(n) != p {
			t.Errorf("%d, %v", n, plain)
		}
		b.Leave(breaker.PlainPass(n), breaker.Failed, because(boom))
		wantState(t, b, open)
		if n, plain := (breaker.Pass{}).Plain(); n != 0 || !plain {
			t.Errorf("the zero Pass: %d, %v", n, plain)
		}
		for name, p := range map[string]breaker.Pass{"probe": enter(t, halfOpen(t, c)), "watched": enter(t, watched)} {
			if _, plain := p.Plain(); plain {
				t.Errorf("%s: is a number alone", name)
			}
		}
	})
}

func TestPanicCountsAsAFailureAndGoesOn(t *testing.T) {
	for name, slow := range map[string]time.Duration{"unwatched": 0, "watched": time.Hour} {
		t.Run(name, func(t *testing.T) {
			b := newBreaker(t, breaker.Config{FailureThreshold: 2, SlowCall: slow})
			for range 2 {
				func() {
					defer func() {
						if r := recover(); r != errBoom {
							t.Errorf("recovered %v", r)
						}
					}()
					breaker.Do(t.Context(), b, func(context.Context) (string, error) { panic(errBoom) })
				}()
			}
			if e := refusal(t, b); e.Cause != (breaker.Cause{Kind: "panic"}) {
				t.Errorf("cause %v", e.Cause)
			}
		})
	}
}

func TestGoexitInClosedCountsForNothing(t *testing.T) {
	for name, slow := range map[string]time.Duration{"unwatched": 0, "watched": time.Hour} {
		t.Run(name, func(t *testing.T) {
			b := newBreaker(t, breaker.Config{FailureThreshold: 1, SlowCall: slow})
			done := make(chan struct{})
			go func() {
				defer close(done)
				breaker.Do(context.Background(), b, func(context.Context) (int, error) { runtime.Goexit(); return 0, nil })
			}()
			<-done
			wantState(t, b, closed)
		})
	}
}

func TestRefusedCallGetsTheZeroValueAndTheContextIsPassedOn(t *testing.T) {
	type key struct{}
	ctx := context.WithValue(t.Context(), key{}, "value")
	for _, slow := range []time.Duration{0, time.Hour} {
		b := newBreaker(t, breaker.Config{SlowCall: slow})
		got, err := breaker.Do(ctx, b, func(ctx context.Context) (any, error) { return ctx.Value(key{}), nil })
		if got != "value" || err != nil {
			t.Errorf("got %v, %v", got, err)
		}
		b.Trip(because(boom))
		got, err = breaker.Do(ctx, b, func(ctx context.Context) (any, error) { return "made", nil })
		if got != nil || err == nil {
			t.Errorf("got %v, %v", got, err)
		}
	}
}
