package breaker_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"llmcall/breaker"
)

func TestHookIsToldOfEveryChangeInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		var got []breaker.Transition
		b := newBreaker(t, breaker.Config{
			FailureThreshold: 2, SuccessThreshold: 1,
			OnStateChange: func(tr breaker.Transition) { got = append(got, tr) },
		})
		late := errors.New("late")
		bad(t, b)
		bad(t, b)
		time.Sleep(60 * s)
		run(b, late)
		b.Trip(errBoom) // longer OPEN is no change of state
		time.Sleep(600 * s)
		ok(t, b)
		b.ForceOpen(errBoom)
		b.ForceOpen(late)
		b.ForceClosed()
		b.Reset()
		b.Reset() // was CLOSED
		for i := range got {
			if got[i].Name != "test/model" {
				t.Errorf("name %q", got[i].Name)
			}
			got[i].Name = ""
		}
		at := func(d time.Duration) time.Time { return began.Add(d) }
		want := []breaker.Transition{
			{From: closed, To: open, At: at(0), Cause: errBoom, Generation: 1},
			{From: open, To: half, At: at(60 * s), Cause: errBoom, Generation: 2},
			{From: half, To: open, At: at(60 * s), Cause: late, Generation: 3},
			{From: open, To: half, At: at(660 * s), Cause: errBoom, Generation: 4},
			{From: half, To: closed, At: at(660 * s), Generation: 5},
			{From: closed, To: open, At: at(660 * s), Cause: errBoom, Forced: true, Generation: 6},
			{From: open, To: open, At: at(660 * s), Cause: late, Forced: true, Generation: 7},
			{From: open, To: closed, At: at(660 * s), Forced: true, Generation: 8},
			{From: closed, To: closed, At: at(660 * s), Generation: 9},
		}
		same := func(a, b breaker.Transition) bool {
			equal := a.At.Equal(b.At)
			a.At, b.At = time.Time{}, time.Time{}
			return equal && a == b
		}
		if !slices.EqualFunc(got, want, same) {
			t.Errorf("told of\n%+v\nwant\n%+v", got, want)
		}
	})
}

// Many goroutines drive one breaker through its states as fast as they can. The
// hook, which is deliberately slow at times, must see one unbroken chain, and
// must never run twice at a time.
func TestHookSeesAnUnbrokenChainFromManyGoroutines(t *testing.T) {
	var got []breaker.Transition
	var inside atomic.Int32
	b := newBreaker(t, breaker.Config{
		FailureThreshold: 1, SuccessThreshold: 1, Recovery: func(int) time.Duration { return 0 },
		OnStateChange: func(tr breaker.Transition) {
			if inside.Add(1) != 1 {
				t.Error("called twice at a time")
			}
			if tr.Generation%7 == 0 {
				runtime.Gosched()
			}
			got = append(got, tr)
			inside.Add(-1)
		},
	})
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 500 {
				if (i+g)%3 == 0 {
					run(b, errBoom)
				} else {
					run(b, nil)
				}
			}
		})
	}
	wg.Wait()
	if n := b.Snapshot().Generation; uint64(len(got)) != n {
		t.Errorf("told of %d changes of %d", len(got), n)
	}
	state := closed
	for i, tr := range got {
		if tr.From != state || tr.Generation != uint64(i+1) {
			t.Fatalf("after %v, change %d: %+v", state, i+1, tr)
		}
		state = tr.To
	}
}

// The hook is called outside every lock: it may call anything, from its own
// goroutine and from another that it waits for.
func TestHookMayCallEveryMethodOfTheBreaker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b *breaker.Breaker
		depth := 0
		everything := func() {
			b.Name()
			b.State()
			b.Snapshot()
			b.Refusal()
			run(b, nil)
			run(b, errBoom)
			callers["Do"](t.Context(), b, errBoom)
			if p, err := b.Acquire(); err == nil {
				p.Success()
			}
			ctx, cancel := context.WithTimeout(t.Context(), s)
			defer cancel()
			if p, err := b.Await(ctx); err == nil {
				p.Failure(errBoom)
			}
			b.Trip(errBoom)
			b.ForceOpen(errBoom)
			b.ForceClosed()
			b.Reset()
		}
		b = newBreaker(t, breaker.Config{FailureThreshold: 1, OnStateChange: func(breaker.Transition) {
			if depth++; depth > 3 { // or its own changes would keep it going for ever
				return
			}
			everything()
			done := make(chan struct{})
			go func() { defer close(done); everything() }()
			<-done
		}})
		bad(t, b)
		wantState(t, b, closed) // the hook's last word
		if depth <= 3 {
			t.Errorf("called %d times", depth)
		}
	})
}

func TestChangesThatAHookCausesAreToldAfterItHasReturned(t *testing.T) {
	var b *breaker.Breaker
	var got []breaker.State
	b = newBreaker(t, breaker.Config{FailureThreshold: 1, OnStateChange: func(tr breaker.Transition) {
		if len(got) == 0 {
			b.ForceClosed()
			b.ForceOpen(nil)
			b.Reset()
		}
		got = append(got, tr.To)
	}})
	bad(t, b)
	if want := []breaker.State{open, closed, open, closed}; !slices.Equal(got, want) {
		t.Errorf("told of %v, want %v", got, want)
	}
}

// hookEndings are the ways in which a hook can end, and what is logged of it.
var hookEndings = map[string]struct {
	end    func()
	logged string
}{
	"panic":      {func() { panic("hook") }, `msg="breaker: OnStateChange panicked" breaker=test/model panic=hook`},
	"panic(nil)": {func() { panic(nil) }, "panic called with nil argument"},
	"Goexit":     {runtime.Goexit, ""},
	"return":     {func() {}, ""},
}

func TestHookThatPanicsOrEndsItsGoroutineHarmsNobodyAndAPanicIsLogged(t *testing.T) {
	before := slog.Default()
	defer slog.SetDefault(before)
	for name, hook := range hookEndings {
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			slog.SetDefault(slog.New(slog.NewTextHandler(&log, nil)))
			synctest.Test(t, func(t *testing.T) {
				var told []breaker.State
				b := newBreaker(t, breaker.Config{
					FailureThreshold: 1, SuccessThreshold: 1,
					OnStateChange: func(tr breaker.Transition) { told = append(told, tr.To); hook.end() },
				})
				// Each call in this trace causes a change, and must itself go on.
				trace(t, b, []step{{0, bad, open}, {60 * s, bad, open}, {60 * s, ok, closed}, {0, bad, open}})
				if got := b.Snapshot(); got.Probes != 0 {
					t.Errorf("%+v", got)
				}
				if want := []breaker.State{open, half, open, half, closed, open}; !slices.Equal(told, want) {
					t.Errorf("told of %v, want %v", told, want)
				}
			})
			lines := 0 // a panic is logged, each time, and nothing else is
			if hook.logged != "" {
				lines = 6
			}
			if strings.Count(log.String(), "\n") != lines || strings.Count(log.String(), hook.logged) < lines {
				t.Errorf("logged, not %d times %q:\n%s", lines, hook.logged, &log)
			}
		})
	}
}

// A hook that never returns holds up the one call that waits for it, and no
// other.
func TestHookThatHangsHoldsUpOneCallOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		b := newBreaker(t, breaker.Config{FailureThreshold: 1, SuccessThreshold: 1, OnStateChange: func(breaker.Transition) { <-release }})
		go run(b, errBoom)
		synctest.Wait()
		trace(t, b, []step{{0, refused, open}, {60 * s, ok, closed}, {0, bad, open}, {0, refused, open}})
		close(release)
	})
}
