package breaker

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"
)

func works(context.Context) error { return nil }

func worksToo(context.Context) (int, error) { return 1, nil }

// quiet are breakers in the CLOSED states in which a success must write
// nothing.
func quiet(t *testing.T) map[string]*Breaker {
	one, zero := 1.0, 0.0
	breakers := map[string]*Breaker{
		"new":                           mustNew(t, Config{}),
		"after recovery":                mustNew(t, Config{RecoveryTimeout: 1}),
		"failures that matter no more":  mustNew(t, Config{}),
		"one success broke the row":     mustNew(t, Config{FailureRate: &one}),
		"the count alone, one failure":  mustNew(t, Config{FailureRate: &zero}),
		"forced CLOSED":                 mustNew(t, Config{}),
		"in a registry, with neighbors": nil,
	}
	r, err := NewRegistry(Config{}, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"a", "b", "c"} {
		breakers["in a registry, with neighbors"] = r.Get(key)
	}
	fails := func(context.Context) error { return errTest }
	recovered := breakers["after recovery"]
	recovered.Trip(errTest)
	for recovered.State() != Closed {
		recovered.Run(t.Context(), works)
	}
	for _, name := range []string{"failures that matter no more", "one success broke the row"} {
		breakers[name].Run(t.Context(), fails)
		for range 2 {
			breakers[name].Run(t.Context(), works)
		}
	}
	breakers["the count alone, one failure"].Run(t.Context(), fails)
	breakers["forced CLOSED"].ForceClosed()
	return breakers
}

var closedCalls = map[string]func(context.Context, *Breaker){
	"Run": func(ctx context.Context, b *Breaker) { b.Run(ctx, works) },
	"Do":  func(ctx context.Context, b *Breaker) { Do(ctx, b, worksToo) },
	"DoAs": func(ctx context.Context, b *Breaker) {
		DoAs(ctx, b, func(error) Outcome { return Tripped }, worksToo)
	},
	"Permit": func(ctx context.Context, b *Breaker) {
		p, _ := b.Acquire()
		p.Success()
	},
	"Permit.End": func(ctx context.Context, b *Breaker) {
		p, _ := b.Acquire()
		defer p.Ignore()
		p.End(ctx, nil)
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

// To read the clock takes the settings, as does everything that can be
// configured: a success is done without them.
func TestSuccessInClosedReadsNoClock(t *testing.T) {
	for _, b := range quiet(t) {
		b.settings = nil
		for _, call := range closedCalls {
			call(t.Context(), b)
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
		b.Run(t.Context(), func(context.Context) error { return errTest })
		for range 2 {
			b.Run(t.Context(), works)
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
		b.Trip(errTest)
		if force {
			b.ForceOpen(errTest)
		}
		for name, call := range map[string]func() error{
			"Run":     func() error { return b.Run(t.Context(), works) },
			"Do":      func() error { _, err := Do(t.Context(), b, worksToo); return err },
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
	b.Trip(errTest)
	k := b.openBook()
	k.mu.Lock()
	defer k.mu.Unlock()
	done := make(chan error, 1)
	go func() { done <- b.Run(context.Background(), works) }()
	select {
	case err := <-done:
		if err == nil {
			t.Error("admitted")
		}
	case <-time.After(10 * time.Second):
		t.Error("waits for the lock")
	}
}

// Every key is looked up without a lock soon after it is made, at the cost of few
// copies of the map.
func TestLookupInARegistryTakesNoLock(t *testing.T) {
	r, err := NewRegistry(Config{}, 0)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	copies := 0
	for i := range 5000 {
		names = append(names, fmt.Sprint(i))
		before := r.shared.Load()
		r.Get(names[i])
		if r.shared.Load() != before {
			copies++
		}
	}
	if copies > 20 {
		t.Errorf("%d copies of the map for %d keys", copies, len(names))
	}
	for _, name := range names {
		r.Get(name)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	done := make(chan struct{})
	go func() {
		defer close(done)
		for _, name := range names {
			r.Get(name)
		}
	}()
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		t.Error("waits for the lock")
	}
}

func TestLookupInARegistryDoesNotAllocate(t *testing.T) {
	r, err := NewRegistry(Config{}, 0)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if n := testing.AllocsPerRun(100, func() { r.Get("key") }); n != 0 {
			t.Errorf("%v allocations", n)
		}
	}
}

func TestBreakerIsOneSmallObjectUntilItsFirstFailure(t *testing.T) {
	if n := unsafe.Sizeof(Breaker{}); n > 128 {
		t.Errorf("%d bytes", n)
	}
	s := mustNew(t, Config{}).settings
	var b *Breaker
	if n := testing.AllocsPerRun(100, func() { b = newBreaker("key", s); b.Run(t.Context(), works) }); n != 1 || b.book.Load() != nil {
		t.Errorf("%v objects", n)
	}
}

// The largest number of successes to count fits the word beside the generation.
func TestLargestCreditFitsTheWord(t *testing.T) {
	rate := minRate
	b := mustNew(t, Config{FailureThreshold: maxThreshold, FailureRate: &rate})
	if credit := uint64(b.settings.limit+1) << creditShift; credit&^creditMask != 0 {
		t.Fatalf("a limit of %d does not fit", b.settings.limit)
	}
	synctest.Test(t, func(t *testing.T) {
		b.Run(t.Context(), func(context.Context) error { return errTest })
		if w := b.word.Load(); generationOf(w) != 0 || stateOf(w) != Closed || w&plainMask != 0 {
			t.Errorf("word %x", w)
		}
		b.Run(t.Context(), works)
		if n := b.settings.counted(b.word.Load()); n != 1 {
			t.Errorf("%d successes counted", n)
		}
	})
}
