package pace

import "time"

// Snapshot is the state of a [Pacer] at one moment, for an operator's page.
type Snapshot struct {
	Free        bool      // nothing is learned, told or configured
	Rate        float64   // learned, in requests a second, of this process; 0: none
	SlowStart   bool      // the rate doubles each second until a refusal
	Until       time.Time // the end of the told time; zero: none
	Queue       int       // requests that wait for a turn
	InFlight    int       // requests in flight
	Concurrency int       // requests allowed in flight, by configuration and overload; 0: any number
	Limits      Limits    // as configured
	Episodes    uint64    // of refusals, so far
	Answers     uint64    // so far
	LastAnswer  time.Time // zero: none, or none since the Pacer was free
	LastRefusal time.Time // zero: none
}

// Snapshot returns the pacer as it is now.
func (p *Pacer) Snapshot() Snapshot {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	p.dispatch(now)
	s := Snapshot{
		Free: p.word.Load()&watchedBit == 0, Queue: p.queue.size, InFlight: p.inFlight(), Concurrency: p.slots(), Limits: p.limits.set,
		Episodes: p.episodes, Answers: p.Mark(), LastAnswer: p.lastAnswer, LastRefusal: p.lastRefusal,
	}
	if p.learn.paced {
		s.Rate, s.SlowStart = p.learn.own(), p.learn.start
	}
	if p.told.until.After(now) {
		s.Until = p.told.until
	}
	return s
}

// Idle reports whether the Pacer could be replaced by a new one with the same configured
// limits: no rate is learned, nothing is told, no request waits or is in flight, and the
// limits' buckets are full. Only the counts of answers and episodes would be lost, and
// the learned share of refusals that do not depend on the rate.
func (p *Pacer) Idle() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	p.dispatch(now)
	return p.queue.size == 0 && p.inFlight() == 0 && !p.learn.paced && !p.told.shut(now) && len(p.windows.list) == 0 &&
		p.overload.limit == 0 && p.limits.full()
}
