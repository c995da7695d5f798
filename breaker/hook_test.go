package breaker_test

import (
	"bytes"
	"context"
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
		b := newBreaker(t, breaker.Config{FailureThreshold: 2, SuccessThreshold: 1, TripTimeout: 600 * s},
			func(tr breaker.Transition) { got = append(got, tr) })
		bad(t, b)
		bad(t, b)
		time.Sleep(60 * s)
		run(b, errLate)
		b.Trip(because(boom)) // longer OPEN is no change of state
		time.Sleep(600 * s)
		ok(t, b)
		b.ForceOpen("a")
		b.ForceOpen("b")
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
			{From: closed, To: open, At: at(0), Cause: boom, Generation: 1},
			{From: open, To: half, At: at(60 * s), Cause: boom, Generation: 2},
			{From: half, To: open, At: at(60 * s), Cause: late, Generation: 3},
			{From: open, To: half, At: at(660 * s), Cause: boom, Generation: 4},
			{From: half, To: closed, At: at(660 * s), Generation: 5},
			{From: closed, To: open, At: at(660 * s), Cause: breaker.Cause{Kind: "a"}, Forced: true, Generation: 6},
			{From: open, To: open, At: at(660 * s), Cause: breaker.Cause{Kind: "b"}, Forced: true, Generation: 7},
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
	dropped := 0
	b := newBreaker(t, breaker.Config{FailureThreshold: 1, SuccessThreshold: 1, RecoveryTimeout: 1}, func(tr breaker.Transition) {
		if inside.Add(1) != 1 {
			t.Error("called twice at a time")
		}
		if tr.Generation%7 == 0 {
			runtime.Gosched()
		}
		got = append(got, tr)
		dropped += tr.Dropped
		inside.Add(-1)
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
	if n := b.Snapshot().Generation; uint64(len(got)+dropped) != n {
		t.Errorf("told of %d changes of %d, and %d dropped", len(got), n, dropped)
	}
	state, generation := closed, uint64(0)
	for i, tr := range got {
		generation += uint64(tr.Dropped) + 1
		if tr.Generation != generation || tr.Dropped == 0 && tr.From != state {
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
			b.Idle()
			if p, err := b.Acquire(); err == nil {
				p.Success()
			}
			if p, err := b.Enter(); err == nil {
				b.Leave(b.Accept(p), breaker.Failed, because(boom))
			}
			ctx, cancel := context.WithTimeout(t.Context(), s)
			defer cancel()
			if p, err := b.Wait(ctx); err == nil {
				b.Leave(p, breaker.Tripped, because(boom))
			}
			b.Trip(because(boom))
			b.ForceOpen("")
			b.ForceClosed()
			b.Reset()
		}
		b = newBreaker(t, breaker.Config{FailureThreshold: 1}, func(breaker.Transition) {
			if depth++; depth > 3 { // or its own changes would keep it going for ever
				return
			}
			everything()
			done := make(chan struct{})
			go func() { defer close(done); everything() }()
			<-done
		})
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
	b = newBreaker(t, breaker.Config{FailureThreshold: 1}, func(tr breaker.Transition) {
		if len(got) == 0 {
			b.ForceClosed()
			b.ForceOpen("")
			b.Reset()
		}
		got = append(got, tr.To)
	})
	bad(t, b)
	if want := []breaker.State{open, closed, open, closed}; !slices.Equal(got, want) {
		t.Errorf("told of %v, want %v", got, want)
	}
}

func TestHookThatPanicsHarmsNobodyAndIsLogged(t *testing.T) {
	before := slog.Default()
	defer slog.SetDefault(before)
	for name, hook := range map[string]struct {
		end    func()
		logged string
	}{
		"panic":      {func() { panic("hook") }, `msg="breaker: a hook panicked" breaker=test/model panic=hook`},
		"panic(nil)": {func() { panic(nil) }, "panic called with nil argument"},
		"return":     {func() {}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			slog.SetDefault(slog.New(slog.NewTextHandler(&log, nil)))
			synctest.Test(t, func(t *testing.T) {
				var told, toldToo []breaker.State
				b := newBreaker(t, breaker.Config{FailureThreshold: 1, SuccessThreshold: 1},
					func(tr breaker.Transition) { told = append(told, tr.To); hook.end() },
					func(tr breaker.Transition) { toldToo = append(toldToo, tr.To) })
				// Each call in this trace causes a change, and must itself go on.
				trace(t, b, []step{{0, bad, open}, {60 * s, bad, open}, {60 * s, ok, closed}, {0, bad, open}})
				if got := b.Snapshot(); got.Probes != 0 {
					t.Errorf("%+v", got)
				}
				if want := []breaker.State{open, half, open, half, closed, open}; !slices.Equal(told, want) || !slices.Equal(toldToo, want) {
					t.Errorf("told of %v and %v, want %v", told, toldToo, want)
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

// runtime.Goexit in a hook ends the goroutine that it is called on, but what that
// had to say is counted, and telling goes on with the next change.
func TestHookThatEndsItsGoroutineIsToldOfTheNextChange(t *testing.T) {
	var told []breaker.State
	b := newBreaker(t, breaker.Config{FailureThreshold: 1}, func(tr breaker.Transition) {
		if told = append(told, tr.To); len(told) == 1 {
			runtime.Goexit()
		}
	})
	done := make(chan struct{})
	went := false
	go func() {
		defer close(done)
		run(b, errBoom)
		went = true
	}()
	<-done
	wantState(t, b, open)
	b.Reset()
	if want := []breaker.State{open, closed}; went || !slices.Equal(told, want) {
		t.Errorf("told of %v, want %v; the goroutine went on: %v", told, want, went)
	}
}

// A18: 200,000 changes were kept while a hook was blocked.
func TestChangesThatWaitForAHookAreBoundedAndThoseDroppedAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		var got []breaker.Transition
		b := newBreaker(t, breaker.Config{}, func(tr breaker.Transition) { <-release; got = append(got, tr) })
		go b.ForceOpen("")
		synctest.Wait()
		for range 1000 {
			b.Reset()
			b.ForceOpen("")
		}
		close(release)
		synctest.Wait()
		b.Reset()
		if len(got) != 102 {
			t.Fatalf("told of %d changes", len(got))
		}
		generation := uint64(0)
		for i, tr := range got {
			want := 0
			if i == 1 {
				want = 1900
			}
			if generation += uint64(tr.Dropped) + 1; tr.Dropped != want || tr.Generation != generation {
				t.Errorf("%d: %+v", i, tr)
			}
		}
	})
}

// A hook that never returns holds up the one call that waits for it, and no
// other.
func TestHookThatHangsHoldsUpOneCallOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		b := newBreaker(t, breaker.Config{FailureThreshold: 1, SuccessThreshold: 1}, func(breaker.Transition) { <-release })
		go run(b, errBoom)
		synctest.Wait()
		trace(t, b, []step{{0, refused, open}, {60 * s, ok, closed}, {0, bad, open}, {0, refused, open}})
		close(release)
	})
}
