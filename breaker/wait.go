package breaker

import (
	"container/list"
	"context"
	"math"
	"time"
)

// Those who wait enter one by one once the circuit is CLOSED: the first at once,
// the next after a gap that is halved each second. So 1,000 are through in 3.4
// s, never more than 8 of them within 10 ms, and however many wait, never more
// than 41: a service that has just recovered must not be hit by all of them in
// one instant.
const (
	firstGap = 10 * time.Millisecond
	leastGap = 250 * time.Microsecond
)

// untilCalled is a pause that only a call ends.
const untilCalled = time.Duration(math.MaxInt64)

// waiter is one that waits for the circuit.
type waiter struct {
	called chan struct{} // holds a token when the waiter is to look again
}

func (w *waiter) call() {
	select {
	case w.called <- struct{}{}:
	default: // it has been called and will look
	}
}

// Wait lets a call through as soon as the circuit admits it: it waits where
// [Breaker.Enter] would refuse. It returns ctx's error when ctx ends first, and
// an [*OpenError] at once when the circuit is OPEN and can't admit a probe
// before ctx's deadline, or is forced OPEN.
//
// Those in the queue are let through in the order in which they came. When the
// circuit has closed they are spread: the first is let through at once, the
// others at 100 a second, twice as many each second, up to 4,000. A caller
// whose ctx ends gives its place in the queue back. One that comes while the
// circuit is CLOSED does not queue, and Enter is not held up by those who wait.
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

// rest waits for ctx's end, a call or the end of the pause.
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

// leaveQueue calls the next if it was the first who left: only the first looks
// after the circuit.
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

// look lets the waiter through (a pause of 0), or refuses it for good (0 and an
// error), or says after what pause it is to look again if it is not called
// before.
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
		return Pass{}, refusal.Until.Sub(now), nil
	}
	if stateOf(p.word) == Closed {
		k.turn = now.Add(gap(now.Sub(k.since)))
	}
	return p, 0, nil
}

// gap returns how long after one of the queue the next may enter a circuit that
// has been CLOSED for so long.
func gap(closed time.Duration) time.Duration {
	return max(firstGap>>min(closed/time.Second, 10), leastGap)
}

// callFirst tells the first of the queue to look again.
func (k *book) callFirst() {
	if e := k.queue.Front(); e != nil {
		e.Value.(*waiter).call()
	}
}

// callAll tells all who wait to look again: what was short enough to wait for
// may have become too long.
func (k *book) callAll() {
	for e := k.queue.Front(); e != nil; e = e.Next() {
		e.Value.(*waiter).call()
	}
}
