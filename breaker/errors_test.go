package breaker_test

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"llmcall/breaker"
)

func TestOpenErrorSaysWhichCircuitWhyAndHowLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		b := newBreaker(t, breaker.Config{FailureThreshold: 3})
		for _, err := range []error{io.EOF, errBoom, fmt.Errorf("overloaded: %w", &quota{7})} {
			time.Sleep(s)
			run(b, err)
		}
		time.Sleep(20 * s)
		e := refusal(t, b)
		if e.Name != "test/model" || e.State != open || e.Forced || !e.Since.Equal(began.Add(3*s)) || !e.Until.Equal(began.Add(63*s)) {
			t.Errorf("%+v", e)
		}
		if e.RetryIn() != 40*s {
			t.Errorf("RetryIn %v", e.RetryIn())
		}
		if want := `circuit "test/model" is OPEN, admits a probe in 40s; it opened because of: overloaded: no quota`; e.Error() != want {
			t.Errorf("says %q, want %q", e, want)
		}
		// The last cause, and it alone, can be found in it.
		var q *quota
		if !errors.As(e, &q) || q.left != 7 || errors.Is(e, io.EOF) || errors.Is(e, errBoom) {
			t.Errorf("unwraps to %v", errors.Unwrap(e))
		}
		var asOpen *breaker.OpenError
		if !errors.As(fmt.Errorf("attempt 1: %w", e), &asOpen) || asOpen != e {
			t.Error("not found when wrapped")
		}
		time.Sleep(time.Hour)
		if e.RetryIn() != 0 {
			t.Errorf("when the time has come: RetryIn %v", e.RetryIn())
		}
	})
}

func TestOpenErrorOfHalfOpenSaysHowLongAtMost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := halfOpen(t, breaker.Config{HalfOpenProbes: 2, ProbeLease: 30 * s})
		since := time.Now()
		acquire(t, b)
		time.Sleep(10 * s)
		acquire(t, b)
		e := refusal(t, b)
		want := `circuit "test/model" is HALF_OPEN with all its probes under way, admits another in at most 20s; it opened because of: boom`
		if e.Error() != want {
			t.Errorf("says %q, want %q", e, want)
		}
		if e.State != half || !e.Since.Equal(since) || e.RetryIn() != 20*s || !errors.Is(e, errBoom) {
			t.Errorf("%+v", e)
		}
	})
}

func TestOpenErrorOfAForcedCircuitPromisesNoTime(t *testing.T) {
	b := newBreaker(t, breaker.Config{})
	b.ForceOpen(nil)
	e := refusal(t, b)
	if want := `circuit "test/model" is forced OPEN until it is reset`; e.Error() != want || !e.Forced || !e.Until.IsZero() {
		t.Errorf("%q, %+v", e, e)
	}
	if errors.Unwrap(e) != nil || errors.Is(e, errBoom) {
		t.Error("unwraps to something")
	}
	b.ForceOpen(errBoom)
	if e := refusal(t, b); !errors.Is(e, errBoom) || !strings.HasSuffix(e.Error(), "; it opened because of: boom") {
		t.Errorf("%q", e)
	}
}

func TestRefusalIsWhatRunWouldReturnAndChangesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBreaker(t, breaker.Config{})
		if e := b.Refusal(); e != nil {
			t.Errorf("new: %v", e)
		}
		bad(t, b)
		if e := b.Refusal(); e != nil {
			t.Errorf("CLOSED: %v", e)
		}
		b.Trip(errBoom)
		if e := b.Refusal(); e == nil || e != refusal(t, b) {
			t.Errorf("OPEN: %v", e)
		}
		time.Sleep(600*s - 1)
		if e := b.Refusal(); e == nil {
			t.Error("1 ns before the time: none")
		}
		time.Sleep(time.Nanosecond)
		if e := b.Refusal(); e != nil {
			t.Errorf("when the time has come: %v", e)
		}
		wantState(t, b, open)
		acquire(t, b)
		if e := b.Refusal(); e != nil {
			t.Errorf("HALF_OPEN: %v", e)
		}
		b.ForceOpen(nil)
		time.Sleep(1000 * time.Hour)
		if e := b.Refusal(); e == nil || !e.Forced {
			t.Errorf("forced OPEN: %v", e)
		}
		b.ForceClosed()
		if e := b.Refusal(); e != nil {
			t.Errorf("forced CLOSED: %v", e)
		}
	})
}

func TestStatesHaveTheirNamesInTextAndJSON(t *testing.T) {
	for state, want := range map[breaker.State]string{closed: "CLOSED", open: "OPEN", half: "HALF_OPEN"} {
		text, err := state.MarshalText()
		if state.String() != want || string(text) != want || err != nil {
			t.Errorf("%q, %q, %v, want %q", state, text, err, want)
		}
	}
}
