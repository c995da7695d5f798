package fleet

import (
	"cmp"
	"context"
	"math/rand/v2"
	"slices"
	"time"

	"llmcall/backoff"
	"llmcall/fleet/internal/store"
)

const (
	// exchangeEvery is how often a process tells and asks what is not told at once.
	exchangeEvery = time.Second
	// runTimeout is how long the store may take for an exchange before it counts as lost.
	runTimeout = 250 * time.Millisecond
	// mostRetry is the longest wait between two attempts to reach a lost store.
	mostRetry = 5 * time.Second
	// callWait is how long a call waits for the store at most.
	callWait = 5 * time.Millisecond
	// mostCalls is how many calls the store gets at once, or a few more: what a call waits for
	// comes in between.
	mostCalls = 50
	// scriptTime is how long each of them may take the store before it counts as slow.
	scriptTime = 100 * time.Microsecond
	// mostParts is how many parts exchange each second even if they have nothing to say.
	mostParts = 500
	// secretEvery is how often a process looks after the secret: a store that evicts what
	// was not used for long would lose it, as it is read at the start of a process alone.
	secretEvery = time.Minute
)

// retries are the waits between attempts to reach a lost store.
var retries = backoff.Exponential{Initial: 100 * time.Millisecond, Max: mostRetry, Jitter: backoff.EqualJitter}

// run is the one goroutine that speaks with the store, until the fleet is closed. So no
// call ever waits for a connection.
func (f *Fleet) run() {
	defer close(f.ended)
	defer f.end()
	// The first exchange of each process is at another time.
	timer := time.NewTimer(time.Duration(rand.Int64N(int64(exchangeEvery))))
	defer timer.Stop()
	looked := time.Now()
	failures := 0 // in a row
	// Who has a secret has not asked the store for it.
	if s := f.Status(); !s.Connected && s.Err == nil && !f.greet() {
		failures++
	}
	for {
		tick := false
		select {
		case <-f.closing:
			select {
			case <-f.woken: // a process that ends after a failed call tells of it
				if failures == 0 {
					f.exchange(false)
				}
			default:
			}
			return
		case <-f.woken:
			if failures > 0 {
				continue // the timer says when the store is tried again
			}
		case <-timer.C:
			tick = true
		}
		if time.Since(looked) >= secretEvery {
			looked = time.Now()
			f.doubt.Store(true)
		}
		answered := f.exchange(tick)
		switch {
		case !answered:
			timer.Reset(retries.Delay(failures))
			failures++
		case tick:
			failures = 0
			timer.Reset(exchangeEvery)
		}
	}
}

// asked is a request with the part that it is of.
type asked struct {
	*shared
	request
}

// exchange runs all that is pending, and reports whether the store has answered, or was
// asked nothing.
func (f *Fleet) exchange(tick bool) (answered bool) {
	var lost error // of anything
	if tick && !f.sure {
		lost = f.askSecret()
		f.failing = lost // what failed before was nothing else
	}
	parts, due := f.look(tick)
	var pending []asked
	asks, gone := false, false
	for i, s := range parts {
		if f.moved(s) {
			for _, r := range s.part.requests(tick || due[i]) {
				pending = append(pending, asked{s, r})
			}
		}
		if len(pending) == 0 || len(pending) < mostCalls && i < len(parts)-1 {
			continue
		}
		asks = true
		if gone { // it need not be asked again to fail
			f.take(pending, slices.Repeat([]store.Result{{Err: lost}}, len(pending)))
		} else {
			some, err := f.take(pending, f.runAll(pending))
			if some && !answered {
				f.heard(true, f.failing)
			}
			answered, gone, lost = answered || some, !some, cmp.Or(err, lost)
		}
		pending = nil
		if tick && !gone && i < len(parts)-1 && f.waiting.Load() > 0 {
			select {
			case <-f.woken:
				f.exchange(false)
			default:
			}
		}
	}
	if !asks {
		if tick && (lost != nil || !f.Status().Connected) {
			return f.greet() // operators want to know whether it is back
		}
		return true
	}
	if !tick && !answered { // of a Cluster, it may be one node that was asked
		return f.exchange(true)
	}
	if tick || lost != nil { // in between not all is asked
		f.failing = lost
	}
	f.heard(answered, f.failing)
	if !answered { // no part has failed by itself
		f.failing = nil
	}
	if answered && f.sure && f.doubt.Swap(false) {
		_ = f.askSecret() // it is asked again
	}
	return answered
}

// moved makes a part be where the secret of the fleet says, and reports whether it is there. As long
// as the secret is not known, a part that needs it is alone.
func (f *Fleet) moved(s *shared) bool {
	p, ok := s.part.(keyed)
	switch {
	case !ok || s.secret == f.secret && f.sure:
		return true
	case !f.sure:
		f.separate(s, true)
		return false
	}
	if s.secret != "" { // it tells what it knows, as to a store that has lost it
		s.stop()
		f.separate(s, true)
	}
	s.secret = f.secret
	s.stop = f.store.Watch(p.move(), p.told, func() {
		f.doubt.Store(true)
		f.again(s)
	})
	return true
}

// take gives results to those who have asked, and reports whether one is an answer. The error is
// one of those that are not. A part of which one is an error is alone.
func (f *Fleet) take(all []asked, results []store.Result) (answered bool, lost error) {
	without := map[*shared]bool{}
	for i, a := range all {
		if err := results[i].Err; err != nil {
			without[a.shared], lost = true, err
		} else {
			answered = true
		}
	}
	for i, a := range all {
		f.separate(a.shared, without[a.shared])
		a.done(results[i])
	}
	return answered, lost
}

// separate tells a part whether it is alone from now on.
func (f *Fleet) separate(s *shared, alone bool) {
	if s.alone != alone {
		s.alone = alone
		s.part.alone(alone)
		f.again(s) // what was kept meanwhile
	}
}

// greeting asks for nothing but an answer.
var greeting = store.Call{Script: &store.Script{Name: "greeting", Text: "return 'hello'"}}

// greet reports whether the store answers: of a process that has nothing to tell it yet, nobody
// would know. If it does not, all parts are alone: none may take what it answers first for what it
// has always known.
func (f *Fleet) greet() (answered bool) {
	hello := greeting
	hello.Key = f.keyOf("", "greeting")
	result := f.runAll([]asked{{request: request{call: hello}}})[0]
	f.heard(result.Err == nil, cmp.Or(result.Err, f.failing))
	if result.Err == nil {
		return true
	}
	all, _ := f.look(false)
	for _, s := range all {
		f.separate(s, true)
	}
	return false
}

// runAll has the store run what is asked.
func (f *Fleet) runAll(all []asked) []store.Result {
	calls := make([]store.Call, len(all))
	for i, a := range all {
		calls[i] = a.call
	}
	ctx, cancel := context.WithTimeout(f.ctx, runTimeout)
	defer cancel()
	began := time.Now()
	results := f.store.Run(ctx, calls)
	f.slow.Store(time.Since(began) > callWait+time.Duration(len(all))*scriptTime)
	return results
}

// look returns the parts, and which of them are due for an exchange. With tick, those that
// nobody uses are forgotten.
func (f *Fleet) look(tick bool) (all []*shared, due []bool) {
	f.mu.Lock()
	all = make([]*shared, 0, len(f.parts))
	due = make([]bool, 0, len(f.parts))
	for s := range f.parts {
		if tick && s.part.gone() {
			delete(f.parts, s)
			defer s.stop()
			continue
		}
		all, due = append(all, s), append(due, s.due)
		s.due = false
	}
	f.mu.Unlock()
	f.many.Store(int64(len(all)))
	return all, due
}

// idleEvery is how often a part exchanges that has nothing to say: each second, or less often if
// there are thousands, as of a gateway's users.
func (f *Fleet) idleEvery() time.Duration {
	return exchangeEvery * time.Duration(max(1, f.many.Load()/mostParts))
}

// add begins to share a part, unless the fleet is closed: then the part is alone, and no answer
// of the store comes.
func (f *Fleet) add(p part) (shares bool) {
	f.mu.Lock()
	closed := f.closed
	if !closed {
		f.parts[&shared{part: p, due: true, stop: func() {}}] = struct{}{}
	}
	f.mu.Unlock()
	if closed {
		p.alone(true)
		return false
	}
	f.wake()
	return true
}

// leave tells the store what parts give back at the end.
func (f *Fleet) leave(parts map[*shared]struct{}) {
	var calls []store.Call
	for s := range parts {
		if p, ok := s.part.(interface{ leave() []request }); ok {
			for _, r := range p.leave() {
				calls = append(calls, r.call)
			}
		}
	}
	if len(calls) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(f.ctx, runTimeout)
	defer cancel()
	f.store.Run(ctx, calls) // if it is not heard, what is given back was lost
}

// again makes a part tell and ask everything soon, since messages may have been lost.
func (f *Fleet) again(s *shared) {
	f.mu.Lock()
	s.due = true
	f.mu.Unlock()
	f.wake()
}

// wake makes the worker ask the parts for requests.
func (f *Fleet) wake() {
	select {
	case f.woken <- struct{}{}:
	default: // it will look anyway
	}
}

// wait waits for an answer of the store until ctx ends, but no longer than atMost, which for a
// call is callWait, and not at all if the last answer was late.
func (f *Fleet) wait(ctx context.Context, done <-chan struct{}, atMost time.Duration) bool {
	if f.slow.Load() {
		select {
		case <-done:
			return true
		default:
			return false
		}
	}
	f.waiting.Add(1)
	defer f.waiting.Add(-1)
	timer := time.NewTimer(atMost)
	defer timer.Stop()
	select {
	case <-done:
		return true
	case <-ctx.Done(): // which says nothing of the store
	case <-timer.C:
		f.slow.Store(true)
	}
	return false
}
