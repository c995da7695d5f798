package pace

import "time"

// Snapshot is a pacer at one moment, for an operator's page.
type Snapshot struct {
	Free        bool      // neither paced, nor told anything, nor limited by configuration
	Rate        float64   // requests a second, learned; 0: not paced
	SlowStart   bool      // the rate doubles each second, until a refusal
	Until       time.Time // told; zero: nothing
	Queue       int       // requests that wait for a turn
	InFlight    int       // requests on their way
	Concurrency int       // of requests in flight allowed, by configuration and overload; 0: any number
	Limits      Limits    // as configured
	Episodes    uint64    // of refusals
	Answers     uint64    // ever accepted
	LastAnswer  time.Time // zero: none, or none since the endpoint was free
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
		s.Rate, s.SlowStart = p.learn.rate, p.learn.start
	}
	if p.told.until.After(now) {
		s.Until = p.told.until
	}
	return s
}

// Idle reports whether the pacer could be forgotten, and a new one with the same
// configured limits take its place: no rate is learned and nothing told, nobody
// waits or is in flight, and the limits have filled up. Lost would be the counts of
// answers and episodes, and how often the provider refuses whatever the rate.
func (p *Pacer) Idle() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	p.dispatch(now)
	return p.queue.size == 0 && p.inFlight() == 0 && !p.learn.paced && !p.told.shut(now) && len(p.windows.list) == 0 &&
		p.overload.limit == 0 && p.limits.full()
}
