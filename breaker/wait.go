package breaker

import (
	"container/list"
	"context"
	"math"
	"time"
)

// When the circuit has closed, waiters enter one by one: the first at once, each next
// one after a gap that is halved each second. A service that has just recovered must
// not be hit by all of them in one instant. 1,000 waiters enter in 3.4 s, at most 8 of
// them within 10 ms; however many wait, at most 41 enter within 10 ms.
const (
	firstGap = 10 * time.Millisecond
	leastGap = 250 * time.Microsecond
)

// untilCalled is a pause that ends only when the waiter is called.
const untilCalled = time.Duration(math.MaxInt64)

type waiter struct {
	called chan struct{} // holds a token if the waiter must look again
}

func (w *waiter) call() {
	select {
	case w.called <- struct{}{}:
	default: // it has been called already
	}
}

// Wait is [Breaker.Enter] that waits until the circuit admits the call. It returns
// ctx's error if ctx ends first, and an *[OpenError] at once if the circuit is forced
// OPEN, or is OPEN and can't admit a probe before ctx's deadline.
//
// Waiting calls are admitted in the order in which they came. When the circuit has
// closed they are spread: the first is admitted at once, the others at 100 a second,
// doubling each second up to 4,000. New calls are admitted at once by a CLOSED circuit,
// whoever waits.
func (b *Breaker) Wait(ctx context.Context) (Pass, error) {
	if ctx.Err() != nil {
		return Pass{}, ctx.Err()
	}
	if p, refusal := b.Enter(); refusal == nil {
		return p, nil
	}
	place := b.queueUp()
	defer b.leaveQueue(place)
	for {
		p, pause, err := b.look(ctx, place)
		if pause == 0 {
			return p, err
		}
		if err := rest(ctx, pause, place.Value.(*waiter).called); err != nil {
			return Pass{}, err
		}
	}
}

// rest waits until ctx ends, the waiter is called, or the pause is over.
func rest(ctx context.Context, pause time.Duration, called <-chan struct{}) error {
	var fires <-chan time.Time
	if pause != untilCalled {
		timer := time.NewTimer(pause)
		defer timer.Stop()
		fires = timer.C
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-called:
	case <-fires:
	}
	return nil
}

func (b *Breaker) queueUp() *list.Element {
	k := b.openBook()
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.queue.PushBack(&waiter{make(chan struct{}, 1)})
}

// leaveQueue calls the next waiter if the first one left: only the first one watches
// the circuit.
func (b *Breaker) leaveQueue(place *list.Element) {
	k := b.openBook()
	k.mu.Lock()
	defer k.mu.Unlock()
	first := k.queue.Front() == place
	k.queue.Remove(place)
	if first {
		k.callFirst()
	}
}

// look admits the waiter (with a pause of 0), refuses it for good (0 and an error), or
// returns the pause after which it must look again unless it is called before.
func (b *Breaker) look(ctx context.Context, place *list.Element) (p Pass, pause time.Duration, err error) {
	k, now := b.lock()
	defer b.unlock(k)
	o, first := k.opening.Load(), k.queue.Front() == place
	if o != nil {
		if deadline, bounded := ctx.Deadline(); o.Forced || bounded && !deadline.After(o.Until) {
			return Pass{}, 0, o
		}
	}
	switch {
	case !first:
		return Pass{}, untilCalled, nil
	case now.Before(k.turn):
		return Pass{}, k.turn.Sub(now), nil
	}
	p, refusal := b.admit(k, now)
	if refusal != nil {
		return Pass{}, max(time.Millisecond, refusal.Until.Sub(now)), nil
	}
	if stateOf(p.word) == Closed {
		k.turn = now.Add(gap(now.Sub(k.since)))
	}
	return p, 0, nil
}

// gap returns the time between two waiters that enter a circuit, given how long it has
// been CLOSED.
func gap(closed time.Duration) time.Duration {
	return max(firstGap>>min(closed/time.Second, 10), leastGap)
}

// callFirst makes the first waiter look again.
func (k *book) callFirst() {
	if e := k.queue.Front(); e != nil {
		e.Value.(*waiter).call()
	}
}

// callAll makes all waiters look again: the wait may have become too long for some.
func (k *book) callAll() {
	for e := k.queue.Front(); e != nil; e = e.Next() {
		e.Value.(*waiter).call()
	}
}
