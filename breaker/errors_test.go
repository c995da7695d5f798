package breaker_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
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
		last := breaker.Cause{Kind: "overloaded", Status: 529}
		for _, cause := range []breaker.Cause{boom, late, last} {
			time.Sleep(s)
			run(b, fmt.Errorf("wrapped: %w", known(cause)))
		}
		time.Sleep(20 * s)
		e := refusal(t, b)
		if e.Name != "test/model" || e.State != open || e.Forced || !e.Since.Equal(began.Add(3*s)) || !e.Until.Equal(began.Add(63*s)) || e.Cause != last {
			t.Errorf("%+v", e)
		}
		if e.RetryIn() != 40*s {
			t.Errorf("RetryIn %v", e.RetryIn())
		}
		if want := `circuit "test/model" is OPEN, admits a probe in 40s; it opened after: overloaded (HTTP 529)`; e.Error() != want {
			t.Errorf("says %q, want %q", e, want)
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

func TestOpenErrorWithoutACauseSaysNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBreaker(t, breaker.Config{})
		b.Trip(breaker.Failure{AskedFor: 40 * s})
		e := refusal(t, b)
		if want := `circuit "test/model" is OPEN, admits a probe in 40s`; e.Error() != want || !e.CircuitOpen() {
			t.Errorf("says %q, want %q", e, want)
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
		want := `circuit "test/model" is HALF_OPEN with all its probes under way, admits another in at most 20s; it opened after: boom`
		if e.Error() != want {
			t.Errorf("says %q, want %q", e, want)
		}
		if e.State != half || !e.Since.Equal(since) || e.RetryIn() != 20*s || e.Cause != boom {
			t.Errorf("%+v", e)
		}
	})
}

func TestOpenErrorOfAForcedCircuitPromisesNoTime(t *testing.T) {
	b := newBreaker(t, breaker.Config{})
	for why, want := range map[string]string{
		"":                     `circuit "test/model" is forced OPEN until it is reset`,
		"maintenance at night": `circuit "test/model" is forced OPEN until it is reset: maintenance at night`,
	} {
		b.ForceOpen(why)
		if e := refusal(t, b); e.Error() != want || !e.Forced || !e.Until.IsZero() {
			t.Errorf("%q, %+v", e, e)
		}
	}
}

func TestCauseIsToldWithStatusAndCode(t *testing.T) {
	for want, c := range map[string]breaker.Cause{
		"":                           {},
		"slow":                       {Kind: "slow"},
		"overloaded (HTTP 529)":      {Kind: "overloaded", Status: 529},
		"quota_exhausted (no_money)": {Kind: "quota_exhausted", Code: "no_money"},
		"transient (HTTP 503, busy)": {Kind: "transient", Status: 503, Code: "busy"},
		"(HTTP 500)":                 {Status: 500},
	} {
		if got := c.String(); got != want {
			t.Errorf("%+v: %q, want %q", c, got, want)
		}
	}
}

// In a gateway tenants share a circuit: what the provider said to one of them
// must not reach another.
func TestNoErrorOfOneCallerReachesAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		secret := errors.New("org-123 is out of money: prompt was: my diagnosis")
		var told breaker.Transition
		b := newBreaker(t, breaker.Config{FailureThreshold: 1}, func(tr breaker.Transition) { told = tr })
		for _, fail := range []func(){
			func() { run(b, secret) },
			func() { run(b, fmt.Errorf("wrapped: %w", errors.Join(secret, secret))) },
			func() {
				defer func() { _ = recover() }()
				breaker.Do(t.Context(), b, func(context.Context) (int, error) { panic(secret) })
			},
		} {
			b.Reset()
			fail()
			e := refusal(t, b)
			if errors.Is(e, secret) || errors.Unwrap(e) != nil {
				t.Error("the error is found in the refusal")
			}
			for _, shown := range []string{e.Error(), fmt.Sprintf("%+v %+v %+v", e, b.Snapshot(), told)} {
				if strings.Contains(shown, "org-123") || strings.Contains(shown, "diagnosis") {
					t.Errorf("shown: %s", shown)
				}
			}
		}
	})
}

// A11b: 50 models with one 401 of 900 KiB each held 88 MB.
func TestCircuitHoldsNoMemoryOfItsFailures(t *testing.T) {
	const n, size = 50, 900 << 10
	circuits := make([]*breaker.Breaker, n)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for i := range circuits {
		body := strings.Repeat("x", size)
		circuits[i] = newBreaker(t, breaker.Config{FailureThreshold: 1})
		switch i % 4 {
		case 0: // a piece of the body
			run(circuits[i], known{Kind: "unauthorized", Status: 401, Code: body[:20]})
		case 1: // all of it, and once more for longer
			circuits[i].Trip(breaker.Failure{AskedFor: s})
			circuits[i].Trip(because(breaker.Cause{Kind: body, Code: body[:20]}))
		case 2:
			circuits[i].ForceOpen(body)
		case 3: // and the error itself
			run(circuits[i], errors.New(body))
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if kept := int64(after.HeapAlloc) - int64(before.HeapAlloc); kept > n*8<<10 {
		t.Errorf("%d circuits hold %d bytes", n, kept)
	}
	for _, b := range circuits {
		if e := refusal(t, b); len(e.Error()) > 400 {
			t.Errorf("says %d bytes", len(e.Error()))
		}
	}
}

func TestLongTextIsCutBetweenCharacters(t *testing.T) {
	b := newBreaker(t, breaker.Config{})
	for text, want := range map[string]string{
		strings.Repeat("x", 100):       strings.Repeat("x", 100),
		strings.Repeat("x", 101):       strings.Repeat("x", 100),
		strings.Repeat("ä", 50) + "b":  strings.Repeat("ä", 50),
		"b" + strings.Repeat("ä", 50):  "b" + strings.Repeat("ä", 49),
		strings.Repeat("\x80", 200):    "",
		strings.Repeat("x", 98) + "€x": strings.Repeat("x", 98),
	} {
		b.ForceOpen(text)
		if got := b.Snapshot().Cause.Kind; got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func TestRefusalIsWhatEnterWouldReturnAndChangesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBreaker(t, breaker.Config{})
		if e := b.Refusal(); e != nil {
			t.Errorf("new: %v", e)
		}
		bad(t, b)
		if e := b.Refusal(); e != nil {
			t.Errorf("CLOSED: %v", e)
		}
		b.Trip(because(boom))
		if e := b.Refusal(); e == nil || e != refusal(t, b) {
			t.Errorf("OPEN: %v", e)
		}
		time.Sleep(60*s - 1)
		if e := b.Refusal(); e == nil {
			t.Error("1 ns before the time: none")
		}
		time.Sleep(time.Nanosecond)
		if e := b.Refusal(); e != nil {
			t.Errorf("when the time has come: %v", e)
		}
		acquire(t, b)
		if e := b.Refusal(); e != nil {
			t.Errorf("HALF_OPEN: %v", e)
		}
		b.ForceOpen("")
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
