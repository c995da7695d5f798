package breaker

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"
)

func works(context.Context) (int, error) { return 1, nil }

func fails(context.Context) (int, error) { return 0, errTest }

func mustNew(t testing.TB, c Config) *Breaker {
	t.Helper()
	b, err := New("m", c)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

var errTest = errors.New("boom")

// quiet are breakers in the CLOSED states in which a success must write
// nothing.
func quiet(t *testing.T) map[string]*Breaker {
	breakers := map[string]*Breaker{
		"new":                          mustNew(t, Config{}),
		"after recovery":               mustNew(t, Config{RecoveryTimeout: 1, TripTimeout: 1}),
		"failures that matter no more": mustNew(t, Config{}),
		"one success broke the row":    mustNew(t, Config{FailureRate: 1}),
		"the count alone, one failure": mustNew(t, Config{FailureRate: -1}),
		"forced CLOSED":                mustNew(t, Config{}),
	}
	recovered := breakers["after recovery"]
	recovered.Trip(Failure{})
	for recovered.State() != Closed {
		Do(t.Context(), recovered, works)
	}
	for _, name := range []string{"failures that matter no more", "one success broke the row"} {
		Do(t.Context(), breakers[name], fails)
		for range 2 {
			Do(t.Context(), breakers[name], works)
		}
	}
	Do(t.Context(), breakers["the count alone, one failure"], fails)
	breakers["forced CLOSED"].ForceClosed()
	return breakers
}

var closedCalls = map[string]func(context.Context, *Breaker){
	"Do": func(ctx context.Context, b *Breaker) { Do(ctx, b, works) },
	"Pass": func(_ context.Context, b *Breaker) {
		p, _ := b.Enter()
		b.Leave(p, Succeeded, Failure{})
	},
	"accepted": func(_ context.Context, b *Breaker) {
		p, _ := b.Enter()
		b.Leave(b.Accept(p), Succeeded, Failure{})
	},
	"neither": func(_ context.Context, b *Breaker) {
		p, _ := b.Enter()
		b.Leave(p, Neither, Failure{})
	},
	"Wait": func(ctx context.Context, b *Breaker) {
		p, _ := b.Wait(ctx)
		b.Leave(p, Succeeded, Failure{})
	},
	"Permit": func(ctx context.Context, b *Breaker) {
		p, _ := b.Acquire()
		defer p.Ignore()
		p.Success()
	},
}

func TestSuccessInClosedWritesNothing(t *testing.T) {
	type bytes = [unsafe.Sizeof(Breaker{})]byte
	for state, b := range quiet(t) {
		before, k := *(*bytes)(unsafe.Pointer(b)), b.book.Load()
		for name, call := range closedCalls {
			call(t.Context(), b)
			if after := *(*bytes)(unsafe.Pointer(b)); after != before || b.book.Load() != k {
				t.Errorf("%s, %s: changed", state, name)
			}
		}
		if state == "new" && k != nil {
			t.Error("a new breaker has a book")
		}
	}
}

func TestSuccessInClosedTakesNoLock(t *testing.T) {
	for state, b := range quiet(t) {
		k := b.openBook()
		k.mu.Lock()
		for name, call := range closedCalls {
			done := make(chan struct{})
			go func() {
				defer close(done)
				call(context.Background(), b)
				b.State()
				b.Refusal()
			}()
			select {
			case <-done:
			case <-time.After(10 * time.Second):
				t.Fatalf("%s, %s: waits for the lock", state, name)
			}
		}
		k.mu.Unlock()
	}
}

// Everything that can be configured is done without. That no clock is read can be
// seen of the time at which a call would have begun.
func TestSuccessInClosedReadsNoClock(t *testing.T) {
	for state, b := range quiet(t) {
		if state == "the count alone, one failure" {
			continue // how long the next one lasts may matter
		}
		b.settings = nil
		for _, call := range closedCalls {
			call(t.Context(), b)
		}
		if p, _ := b.Enter(); state != "forced CLOSED" && !b.begins(p).IsZero() {
			t.Errorf("%s: reads the clock", state)
		}
	}
}

func TestSuccessInClosedDoesNotAllocate(t *testing.T) {
	for state, b := range quiet(t) {
		for name, call := range closedCalls {
			if n := testing.AllocsPerRun(100, func() { call(t.Context(), b) }); n != 0 {
				t.Errorf("%s, %s: %v allocations", state, name, n)
			}
		}
	}
}

func TestFailureInClosedDoesNotAllocateOnceTheBookIsOpen(t *testing.T) {
	b := mustNew(t, Config{})
	call := func() {
		Do(t.Context(), b, fails)
		for range 2 {
			Do(t.Context(), b, works)
		}
	}
	for range 5 {
		call()
	}
	if n := testing.AllocsPerRun(100, call); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestRejectionByAnOpenCircuitDoesNotAllocate(t *testing.T) {
	for _, force := range []bool{false, true} {
		b := mustNew(t, Config{})
		b.Trip(Failure{})
		if force {
			b.ForceOpen("")
		}
		for name, call := range map[string]func() error{
			"Do":      func() error { _, err := Do(t.Context(), b, works); return err },
			"Enter":   func() error { _, err := b.Enter(); return err },
			"Acquire": func() error { _, err := b.Acquire(); return err },
			"Refusal": func() error { return b.Refusal() },
		} {
			if n := testing.AllocsPerRun(100, func() {
				if call() == nil {
					t.Error("admitted")
				}
			}); n != 0 {
				t.Errorf("%s: %v allocations", name, n)
			}
		}
	}
}

func TestRejectionByAnOpenCircuitTakesNoLock(t *testing.T) {
	b := mustNew(t, Config{})
	b.Trip(Failure{})
	k := b.openBook()
	k.mu.Lock()
	defer k.mu.Unlock()
	done := make(chan error, 1)
	go func() {
		_, err := Do(context.Background(), b, works)
		done <- err
	}()
	select {
	case err := <-done:
		if err == nil {
			t.Error("admitted")
		}
	case <-time.After(10 * time.Second):
		t.Error("waits for the lock")
	}
}

func TestBreakerIsTwoSmallObjectsUntilItsFirstFailure(t *testing.T) {
	if n := unsafe.Sizeof(Breaker{}) + unsafe.Sizeof(settings{}); n > 192 {
		t.Errorf("%d bytes", n)
	}
	b := mustNew(t, Config{})
	if Do(t.Context(), b, works); b.book.Load() != nil {
		t.Error("it has a book")
	}
}

// The largest number of successes to count fits the word beside the generation.
func TestLargestCreditFitsTheWord(t *testing.T) {
	b := mustNew(t, Config{FailureThreshold: maxThreshold, FailureRate: minRate})
	if credit := uint64(b.settings.limit+1) << creditShift; credit&^creditMask != 0 {
		t.Fatalf("a limit of %d does not fit", b.settings.limit)
	}
	synctest.Test(t, func(t *testing.T) {
		Do(t.Context(), b, fails)
		if w := b.word.Load(); changes(w) != 0 || stateOf(w) != Closed || w&plainMask != 0 {
			t.Errorf("word %x", w)
		}
		Do(t.Context(), b, works)
		if n := b.settings.counted(b.word.Load()); n != 1 {
			t.Errorf("%d successes counted", n)
		}
	})
}
