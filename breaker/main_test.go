package breaker_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"go.uber.org/goleak"

	"llmcall/breaker"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// known is an error that tells what may be kept of it.
type known breaker.Cause

func (e known) Error() string               { return "the service's own words" }
func (e known) CircuitCause() breaker.Cause { return breaker.Cause(e) }

var (
	boom    = breaker.Cause{Kind: "boom"}
	errBoom = known(boom)
)

// because is a failure with a cause.
func because(c breaker.Cause) breaker.Failure { return breaker.Failure{Cause: c} }

const s = time.Second

const (
	closed = breaker.Closed
	open   = breaker.Open
	half   = breaker.HalfOpen
)

func newBreaker(t testing.TB, c breaker.Config, hooks ...func(breaker.Transition)) *breaker.Breaker {
	t.Helper()
	b, err := breaker.New("test/model", c, hooks...)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// run makes a call that returns err, and reports what Do returned and whether
// the call was made.
func run(b *breaker.Breaker, err error) (made bool, got error) {
	_, got = breaker.Do(context.Background(), b, func(context.Context) (int, error) {
		made = true
		return 0, err
	})
	return made, got
}

// A call is something done to a breaker that must go as its name says.
type call func(testing.TB, *breaker.Breaker)

func ok(t testing.TB, b *breaker.Breaker) {
	t.Helper()
	if made, err := run(b, nil); !made || err != nil {
		t.Fatalf("a call that succeeds: made %v, error %v", made, err)
	}
}

func bad(t testing.TB, b *breaker.Breaker) {
	t.Helper()
	if made, err := run(b, errBoom); !made || err != errBoom {
		t.Fatalf("a call that fails: made %v, error %v", made, err)
	}
}

// hung is a call that failed and lasted d, told in an instant.
func hung(d time.Duration) call {
	return func(t testing.TB, b *breaker.Breaker) {
		t.Helper()
		b.Leave(enter(t, b), breaker.Failed, breaker.Failure{Cause: boom, Lasted: d})
	}
}

func neither(t testing.TB, b *breaker.Breaker) {
	t.Helper()
	b.Leave(enter(t, b), breaker.Neither, breaker.Failure{})
}

func reset(_ testing.TB, b *breaker.Breaker) { b.Reset() }

func refused(t testing.TB, b *breaker.Breaker) { t.Helper(); refusal(t, b) }

// refusal makes a call that must be refused, and returns the error.
func refusal(t testing.TB, b *breaker.Breaker) *breaker.OpenError {
	t.Helper()
	made, err := run(b, nil)
	e, isOpen := errors.AsType[*breaker.OpenError](err)
	if made || !isOpen {
		t.Fatalf("want a refusal: made %v, error %v", made, err)
	}
	return e
}

func enter(t testing.TB, b *breaker.Breaker) breaker.Pass {
	t.Helper()
	p, err := b.Enter()
	if err != nil {
		t.Fatalf("Enter: %v", err)
	}
	return p
}

func acquire(t testing.TB, b *breaker.Breaker) *breaker.Permit {
	t.Helper()
	p, err := b.Acquire()
	if err != nil {
		t.Fatalf("Acquire: %v", err)
	}
	return &p
}

func wantState(t testing.TB, b *breaker.Breaker, want breaker.State) {
	t.Helper()
	if got := b.State(); got != want {
		t.Fatalf("state %v, want %v", got, want)
	}
}

// halfOpen returns a breaker that is HALF_OPEN with all places free. It takes
// the recovery time.
func halfOpen(t testing.TB, c breaker.Config) *breaker.Breaker {
	t.Helper()
	b := newBreaker(t, c)
	b.Trip(because(boom))
	time.Sleep(b.Snapshot().RetryIn)
	wantState(t, b, half)
	return b
}

// A step of a trace: wait, do, and be in a state.
type step struct {
	wait time.Duration
	do   call
	want breaker.State
}

func trace(t testing.TB, b *breaker.Breaker, steps []step) {
	t.Helper()
	for i, st := range steps {
		time.Sleep(st.wait)
		st.do(t, b)
		if got := b.State(); got != st.want {
			t.Fatalf("after step %d: %v, want %v", i, got, st.want)
		}
	}
}

func repeat(n int, st step) []step {
	steps := make([]step, n)
	for i := range steps {
		steps[i] = st
	}
	return steps
}

func join(parts ...[]step) []step {
	var all []step
	for _, p := range parts {
		all = append(all, p...)
	}
	return all
}
