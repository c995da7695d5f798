package breaker_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"llmcall/breaker"
)

type badRequest struct{ field string }

func (e badRequest) Error() string { return "bad " + e.field }

type quota struct{ left int }

func (e *quota) Error() string { return "no quota" }

// lazy is a context whose deadline has come, and that has not noticed yet.
type lazy struct{ context.Context }

func (lazy) Deadline() (time.Time, bool) { return time.Now(), true }

// outcomes are all ways in which a call made with ctx can return an error.
var outcomes = []struct {
	name   string
	ctx    func() (context.Context, context.CancelFunc)
	err    error
	counts bool
}{
	{"any error", live, errBoom, true},
	{"wrapped any error", live, fmt.Errorf("call: %w", errBoom), true},
	{"a deadline that is not the caller's", live, context.DeadlineExceeded, true},
	{"a deadline that is not the caller's, while his is still to come", later, context.DeadlineExceeded, true},
	{"an excluded type by another name", live, badResponse{"model"}, true},

	{"the caller's cancellation", gone, context.Canceled, false},
	{"any error after the caller's cancellation", gone, errBoom, false},
	{"any error after the caller's cancellation with a cause", goneBecause, errBoom, false},
	{"a cancellation with the caller still there", live, context.Canceled, false},
	{"wrapped cancellation", live, fmt.Errorf("call: %w", context.Canceled), false},
	{"the caller's deadline", over, context.DeadlineExceeded, false},
	{"any error after the caller's deadline", over, errBoom, false},
	{"an error of a connection an instant before the context's own", justNow, errors.New("i/o timeout"), false},

	{"excluded by value", live, io.EOF, false},
	{"excluded by value, wrapped", live, fmt.Errorf("read: %w", io.EOF), false},
	{"excluded by value, joined", live, errors.Join(errBoom, io.EOF), false},
	{"excluded by type", live, badRequest{"model"}, false},
	{"excluded by type, wrapped", live, fmt.Errorf("call: %w", badRequest{"model"}), false},
	{"excluded by pointer type", live, &quota{}, false},
	{"excluded by pointer type, wrapped twice", live, fmt.Errorf("a: %w", fmt.Errorf("b: %w", &quota{})), false},
	{"excluded by function", live, errors.New("not today"), false},
}

type badResponse badRequest

func (e badResponse) Error() string { return "bad response" }

func live() (context.Context, context.CancelFunc) { return context.Background(), func() {} }
func later() (context.Context, context.CancelFunc) {
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
func over() (context.Context, context.CancelFunc) {
	return context.WithDeadline(context.Background(), time.Now().Add(-1))
}
func justNow() (context.Context, context.CancelFunc) { return lazy{context.Background()}, func() {} }

func excluding() []breaker.Matcher {
	return []breaker.Matcher{
		breaker.Is(io.EOF), breaker.As[badRequest](), breaker.As[*quota](),
		func(err error) bool { return err.Error() == "not today" },
	}
}

// callers are the ways to report how a call ended.
var callers = map[string]func(context.Context, *breaker.Breaker, error) error{
	"Run": func(ctx context.Context, b *breaker.Breaker, err error) error {
		return b.Run(ctx, func(context.Context) error { return err })
	},
	"Do": func(ctx context.Context, b *breaker.Breaker, err error) error {
		n, err := breaker.Do(ctx, b, func(context.Context) (int, error) { return 42, err })
		if n != 42 {
			return fmt.Errorf("value %d lost", n)
		}
		return err
	},
	"Permit.End": func(ctx context.Context, b *breaker.Breaker, err error) error {
		p, refused := b.Acquire()
		if refused != nil {
			return refused
		}
		p.End(ctx, err)
		return err
	},
}

func TestFailureInClosedCountsOrIsNeither(t *testing.T) {
	for _, o := range outcomes {
		for caller, report := range callers {
			t.Run(o.name+"/"+caller, func(t *testing.T) {
				b := newBreaker(t, breaker.Config{FailureThreshold: 1, Exclude: excluding()})
				ctx, cancel := o.ctx()
				defer cancel()
				if err := report(ctx, b, o.err); err != o.err {
					t.Errorf("came back as %v", err)
				}
				if got := b.State() == open; got != o.counts {
					t.Errorf("opened: %v, want %v", got, o.counts)
				}
			})
		}
	}
}

func TestFailureInHalfOpenReopensOrGivesThePlaceBack(t *testing.T) {
	for _, o := range outcomes {
		for caller, report := range callers {
			t.Run(o.name+"/"+caller, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					b := halfOpen(t, breaker.Config{Exclude: excluding()})
					ok(t, b)
					ctx, cancel := o.ctx()
					defer cancel()
					if err := report(ctx, b, o.err); err != o.err {
						t.Errorf("came back as %v", err)
					}
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
}

func TestSuccessAfterTheCallerLeftIsASuccess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := halfOpen(t, breaker.Config{SuccessThreshold: 1})
		ctx, cancel := gone()
		defer cancel()
		if err := callers["Run"](ctx, b, nil); err != nil {
			t.Error(err)
		}
		wantState(t, b, closed)
	})
}

func TestPanicCountsAsAFailureAndGoesOn(t *testing.T) {
	for name, slow := range map[string]time.Duration{"unwatched": 0, "watched": time.Hour} {
		t.Run(name, func(t *testing.T) {
			b := newBreaker(t, breaker.Config{FailureThreshold: 2, SlowCall: slow})
			for _, call := range []func(){
				func() { b.Run(t.Context(), func(context.Context) error { panic(errBoom) }) },
				func() { breaker.Do(t.Context(), b, func(context.Context) (string, error) { panic(errBoom) }) },
			} {
				func() {
					defer func() {
						if r := recover(); r != errBoom {
							t.Errorf("recovered %v", r)
						}
					}()
					call()
				}()
			}
			e := refusal(t, b)
			if p, isPanic := errors.AsType[*breaker.PanicError](e); !isPanic || p.Value != errBoom || p.Error() != "panic: boom" {
				t.Errorf("cause %v", e.Cause)
			}
		})
	}
}

func TestDoAsLetsTheCallerDecideWhatAnErrorSays(t *testing.T) {
	for _, test := range []struct {
		name          string
		outcome       breaker.Outcome
		err           error
		ctx           func() (context.Context, context.CancelFunc)
		closed, inOne breaker.State // what becomes of CLOSED, and of HALF_OPEN with one success still to come
	}{
		{"failed", breaker.Failed, errBoom, live, open, open},
		{"failed, but excluded", breaker.Failed, io.EOF, live, closed, half},
		{"failed, but the caller was gone", breaker.Failed, errBoom, gone, closed, half},
		{"succeeded", breaker.Succeeded, errBoom, live, closed, closed},
		{"succeeded, though excluded", breaker.Succeeded, io.EOF, live, closed, closed},
		{"neither", breaker.Neither, errBoom, live, closed, half},
		{"tripped", breaker.Tripped, errBoom, live, open, open},
		{"tripped, but excluded", breaker.Tripped, io.EOF, live, closed, half},
		{"an outcome that there is not", breaker.Outcome(99), errBoom, live, closed, half},
		{"not asked about a success", breaker.Tripped, nil, live, closed, closed},
	} {
		for _, slow := range []time.Duration{0, time.Hour} { // two ways through the code while CLOSED
			t.Run(fmt.Sprintf("%s, SlowCall %v", test.name, slow), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					c := breaker.Config{FailureThreshold: 1, SuccessThreshold: 1, SlowCall: slow, Exclude: excluding()}
					for b, want := range map[*breaker.Breaker]breaker.State{newBreaker(t, c): test.closed, halfOpen(t, c): test.inOne} {
						ctx, cancel := test.ctx()
						defer cancel()
						decide := func(err error) breaker.Outcome {
							if err != test.err {
								t.Errorf("asked about %v", err)
							}
							return test.outcome
						}
						n, err := breaker.DoAs(ctx, b, decide, func(context.Context) (int, error) { return 42, test.err })
						if n != 42 || err != test.err {
							t.Errorf("returned %v, %v", n, err)
						}
						if got := b.Snapshot(); got.State != want || got.Probes != 0 {
							t.Errorf("%+v, want %v", got, want)
						}
					}
				})
			})
		}
	}
}

// It is the caller's fault, not the service's.
func TestPanicInAnOutcomeFunctionGoesOnAndCountsForNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := breaker.Config{FailureThreshold: 1}
		for _, b := range []*breaker.Breaker{newBreaker(t, c), halfOpen(t, c)} {
			before := b.Snapshot()
			func() {
				defer func() {
					if r := recover(); r != "fault" {
						t.Errorf("recovered %v", r)
					}
				}()
				fault := func(error) breaker.Outcome { panic("fault") }
				breaker.DoAs(t.Context(), b, fault, func(context.Context) (int, error) { return 0, errBoom })
			}()
			if after := b.Snapshot(); after != before {
				t.Errorf("changed from %+v to %+v", before, after)
			}
		}
	})
}

func TestPanicMayBeExcluded(t *testing.T) {
	b := newBreaker(t, breaker.Config{FailureThreshold: 1, Exclude: []breaker.Matcher{breaker.As[*breaker.PanicError]()}})
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic ended in the breaker")
			}
		}()
		b.Run(t.Context(), func(context.Context) error { panic("ouch") })
	}()
	wantState(t, b, closed)
}

func TestGoexitInClosedCountsForNothing(t *testing.T) {
	for name, slow := range map[string]time.Duration{"unwatched": 0, "watched": time.Hour} {
		t.Run(name, func(t *testing.T) {
			b := newBreaker(t, breaker.Config{FailureThreshold: 1, SlowCall: slow})
			done := make(chan struct{})
			go func() {
				defer close(done)
				b.Run(context.Background(), func(context.Context) error { runtime.Goexit(); return nil })
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
		b.Trip(errBoom)
		got, err = breaker.Do(ctx, b, func(ctx context.Context) (any, error) { return "made", nil })
		if got != nil || err == nil {
			t.Errorf("got %v, %v", got, err)
		}
	}
}

// The slice that a caller gave stays his.
func TestChangingExcludeAfterwardsChangesNothing(t *testing.T) {
	exclude := excluding()
	b := newBreaker(t, breaker.Config{FailureThreshold: 1, Exclude: exclude})
	clear(exclude)
	run(b, io.EOF)
	wantState(t, b, closed)
}

// A function of the configuration that panics must not bring down the calls
// that it is asked about, nor lose the failure.
func TestPanicInAFunctionOfTheConfigurationHarmsNobody(t *testing.T) {
	for name, c := range map[string]breaker.Config{
		"Exclude":    {Exclude: []breaker.Matcher{func(error) bool { panic("fault") }, breaker.Is(io.EOF)}},
		"RetryAfter": {RetryAfter: func(error) (time.Duration, bool) { panic("fault") }, Exclude: excluding()},
		"Recovery":   {Recovery: func(int) time.Duration { panic("fault") }, Exclude: excluding()},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c.FailureThreshold = 1
				b := newBreaker(t, c)
				run(b, io.EOF) // excluded all the same
				wantState(t, b, closed)
				bad(t, b)
				if e := refusal(t, b); e.RetryIn() != 60*s || e.Cause != errBoom {
					t.Errorf("OPEN for %v because of %v", e.RetryIn(), e.Cause)
				}
				time.Sleep(60 * s)
				bad(t, b)
				wantState(t, b, open)
			})
		})
	}
}

func TestFunctionsOfTheConfigurationMayCallTheBreaker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b *breaker.Breaker
		asked := 0
		look := func() {
			asked++
			b.Snapshot()
			b.State()
			b.Refusal()
			if p, err := b.Acquire(); err == nil {
				p.Ignore()
			}
		}
		b = newBreaker(t, breaker.Config{
			FailureThreshold: 2,
			Exclude:          []breaker.Matcher{func(error) bool { look(); return false }},
			RetryAfter:       func(error) (time.Duration, bool) { look(); return 0, false },
			Recovery:         func(int) time.Duration { look(); return 60 * s },
		})
		bad(t, b)
		bad(t, b)
		wantState(t, b, open)
		time.Sleep(60 * s)
		bad(t, b)
		wantState(t, b, open)
		if asked != 9 {
			t.Errorf("asked %d times, want 9", asked)
		}
	})
}

// Reset comes from within the very failure that would have opened the circuit:
// that failure was admitted in an earlier state, and no longer counts.
func TestResetFromAFunctionOfTheConfigurationWins(t *testing.T) {
	var b *breaker.Breaker
	b = newBreaker(t, breaker.Config{
		FailureThreshold: 1,
		RetryAfter:       func(error) (time.Duration, bool) { b.Reset(); return 0, false },
	})
	bad(t, b)
	wantState(t, b, closed)
	if got := b.Snapshot(); got.Failures != 0 || got.Generation != 1 {
		t.Errorf("%+v", got)
	}
}
