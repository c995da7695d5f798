package pace

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// Pacer holds the requests to one endpoint to what its provider accepts; see the package
// documentation. The zero value is ready for use, and free. A Pacer is safe for
// concurrent use and must not be copied after first use.
type Pacer struct {
	// Rand returns a random number in [0, 1), for the delay of the first turn after
	// a told time. It must be set before first use and must not call the Pacer; its
	// calls do not overlap. Default nil: [math/rand/v2].
	Rand func() float64

	// word has the numbers of requests in flight and of answers, and whether
	// requests are watched. It is all that a free request reads and writes. If
	// requests are watched, every one takes the lock.
	word atomic.Int64

	mu       sync.Mutex
	learn    learner
	told     closing
	windows  windows
	limits   limiter
	overload overload
	answers  answerTimes
	queue    queue
	member   member
	timer    *time.Timer // to the next turn; nil while nobody waits
	now      time.Time   // of the last look at the clock

	seq         uint64 // of the last request that was watched
	watched     int    // requests in flight
	unheard     amount // of them, neither answered nor refused yet
	episodes    uint64
	wave        uint64    // of refusals; see Wave
	waveAt      time.Time // when it began
	waveMark    uint64    // answers by then
	seen        uint64    // of answers, when there was last a clock to date them
	lastAnswer  time.Time
	lastRefusal time.Time
}

// A Pacer's word holds, from the lowest bit: whether requests are watched; 23 bits
// of requests in flight, of which the highest is set only when more have ended than
// began; 40 bits of answers, more than a process lives to see.
const (
	watchedBit  = 1
	oneInFlight = 1 << 1
	overrun     = 1 << 23
	oneAnswer   = 1 << 24
)

func answersOf(word int64) uint64 { return uint64(word) / oneAnswer }

// Cost describes a request before it is made. The zero value is the first request of a
// new call, of unknown size, of the client "".
type Cost struct {
	// Tokens is how many tokens the request may use, prompt and answer together. It
	// counts against configured limits and told windows of tokens. 0: unknown.
	Tokens int64
	// Again says that the request belongs to a call that has begun: it is a later
	// attempt, a judge, or a round of tool calls. Of one client's requests, these go
	// before new calls.
	Again bool
	// Client is the client that the request belongs to. Clients take turns, however
	// many requests each of them has. "" is a client like any other.
	Client string
	// End is when the caller's time is over. [Pacer.Wait] gives no turn that leaves too
	// little of it for an answer. Zero: at no known time.
	End time.Time
}

// tokensMost bounds the cost of one request, so that sums do not overflow.
const tokensMost = 1 << 40

// Turn is the permission to make one request. It ends with the first of [Pacer.Done],
// [Pacer.Back] and [Pacer.Answered], one of which must be called; a further call does
// nothing. The zero value is the turn of a request to a free Pacer. A Turn fits into an
// interface without an allocation.
type Turn struct{ sent *sent }

// sent is a watched request.
type sent struct {
	at       time.Time
	end      time.Time // when it must have ended; zero: at no known time
	seq      uint64
	tokens   int64
	rate     float64 // of all processes, when it was sent; only with a learned rate
	look     bool    // sent during a told time, to test whether that still holds
	heard    bool    // accepted, refused or failed
	refused  bool
	low      bool // sent at a rate well below what was accepted
	answered bool
	over     bool // not made, or done
}

// free takes a turn without the lock if requests are not watched. Otherwise the request
// is not counted as in flight, except for an instant while watching begins: a response
// handled while others wait for the lock must not count them as requests.
func (p *Pacer) free() bool {
	if p.word.Load()&watchedBit != 0 {
		return false
	}
	if p.word.Add(oneInFlight)&watchedBit == 0 {
		return true
	}
	p.word.Add(-oneInFlight)
	return false
}

// leaves ends an unwatched request and adds to the number of answers. It reports whether
// requests are watched now.
func (p *Pacer) leaves(answers int64) (watched bool) {
	w := p.word.Add(answers*oneAnswer - oneInFlight)
	if w&overrun != 0 { // it had ended already
		w = p.word.Add(oneInFlight)
	}
	return w&watchedBit != 0
}

// Try takes a turn if the request may go now. It does not wait. Otherwise the *[Error]
// says why, and when it may go; its Until is never zero.
func (p *Pacer) Try(c Cost) (Turn, *Error) {
	if p.free() {
		return Turn{}, nil
	}
	c.Tokens = max(0, min(c.Tokens, tokensMost))
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	p.dispatch(now)
	if p.mayGo(now, c) {
		return p.send(now, c), nil
	}
	p.learn.hold(now)
	p.want(now, c)
	at, why := p.earliest(now, c)
	return Turn{}, p.refusal(now, at, why)
}

// Wait waits in the queue for a turn. If ctx ends first, it returns ctx's error. It
// returns an *[Error] as soon as its turn can't come before ctx's deadline: by a told
// time, a remaining count or a configured limit; by a learned rate only if twice that
// rate would be too slow, and not during the slow start. This is checked again whenever
// one of them gets worse. With [Cost.End], the turn must also leave enough time for an
// answer: for the shortest of the last 16 or, if it has waited for half of its time and others
// wait, for the longest. Whoever has waited for less than a tenth of its time gets its turn. At
// most 10,000 requests wait; a further one gets an *Error.
func (p *Pacer) Wait(ctx context.Context, c Cost) (Turn, error) {
	if err := ctx.Err(); err != nil {
		return Turn{}, err
	}
	deadline, bound := ctx.Deadline() // without the lock: ctx may be anybody's code
	if p.free() {
		return Turn{}, nil
	}
	c.Tokens = max(0, min(c.Tokens, tokensMost))
	if !c.End.IsZero() && (!bound || c.End.Before(deadline)) {
		deadline, bound = c.End, true
	}
	w := &waiter{cost: c, deadline: deadline, bound: bound, ready: make(chan struct{})}
	if turn, waits, err := p.line(w); !waits {
		return turn, err
	}
	select {
	case <-w.ready:
		if w.err != nil {
			return Turn{}, w.err
		}
		return w.turn, nil
	case <-ctx.Done():
		p.leave(w)
		if err := ctx.Err(); err != nil {
			return Turn{}, err
		}
		return Turn{}, context.Canceled
	}
}

// Accepted reports that an answer, or its first piece, has arrived, and what was told
// with it, or nil. A second call for the same turn only takes in told. (Turns that were
// taken while the Pacer was free can't be told apart: for these, a second call counts a
// further answer.)
func (p *Pacer) Accepted(t Turn, told *Told) {
	if t.sent == nil && p.word.Add(oneAnswer)&watchedBit == 0 && told.silent() {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	p.accepted(now, t.sent, told)
	p.dispatch(now)
}

// Answered is [Pacer.Accepted] and [Pacer.Done] in one, for an answer that has arrived
// whole.
func (p *Pacer) Answered(t Turn, told *Told) {
	simple := t.sent == nil && told.silent()
	if simple && !p.leaves(1) {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if t.sent == nil && !simple {
		p.word.Add(oneAnswer)
	}
	p.accepted(now, t.sent, told)
	if !simple {
		p.done(now, t.sent)
	}
	p.dispatch(now)
}

// accepted records an answer. That of an unwatched request is counted already. The
// caller holds the lock.
func (p *Pacer) accepted(now time.Time, s *sent, told *Told) {
	if first := s == nil || !s.heard; first {
		if s != nil {
			p.heard(s)
			s.answered = true
			p.word.Add(oneAnswer)
			if s.look {
				p.told = closing{} // the provider answers, whatever it told
				p.learn.resume(now)
				p.toldHere(now, true)
			}
		}
		p.lastAnswer, p.seen = now, p.Mark()
		p.overload.accepted()
	}
	p.learn.advance(now)
	p.hear(now, s, told, false)
}

// Refused reports that the provider refused the request because of its rate or, with
// told.Overload, for lack of capacity. told may be nil. The refusal of a request that
// was sent before the last cut does not count, but what is told with it does.
func (p *Pacer) Refused(t Turn, told *Told) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	p.date(now)
	p.learn.advance(now)
	s := t.sent
	test := s != nil && s.look && told != nil && told.HasWait
	if s != nil {
		s.refused = true
		p.heard(s)
		if test {
			p.told = closing{} // what is told now counts
			p.learn.resume(now)
		}
	}
	p.lastRefusal = now
	inFlight := p.inFlight()
	fresh := false
	if told != nil && told.Overload {
		var floor bool
		if fresh, floor = p.overload.refused(now, s, inFlight, p.seq); floor && p.learn.refused(now, s, p.seq) {
			p.cutHere()
		}
	} else if s != nil && s.look && p.learn.shares() {
		fresh = true // what a test hears in a told time says nothing of the rate
	} else if fresh = p.learn.refused(now, s, p.seq); fresh {
		p.cutHere()
	}
	if fresh {
		p.episodes++
		if answers := p.Mark(); answers != p.waveMark || now.Sub(p.waveAt) >= progressFor {
			p.wave++
			p.waveAt, p.waveMark = now, answers
		}
	}
	p.watch()
	p.hear(now, s, told, true)
	if test {
		p.toldHere(p.told.until, true)
	}
	p.recheck(now)
	p.dispatch(now)
}

// Failed reports that the request failed without being refused. To the learned rate it
// counts as accepted, since it has passed the provider's limits; for
// [Pacer.ProgressSince] it is not an answer. told may be nil.
func (p *Pacer) Failed(t Turn, told *Told) {
	if t.sent == nil && told.silent() {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if t.sent != nil {
		p.heard(t.sent)
	}
	p.learn.advance(now)
	p.hear(now, t.sent, told, false)
	p.dispatch(now)
}

// Back reports that the request was not made: its turn and its tokens are given back.
// After [Pacer.Accepted], [Pacer.Refused] or [Pacer.Failed] it is the same as
// [Pacer.Done].
func (p *Pacer) Back(t Turn) {
	if t.sent == nil {
		p.Done(t)
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	p.back(now, t.sent)
	p.dispatch(now)
}

// Done reports that the request has ended, body included, so that it is no longer in
// flight.
func (p *Pacer) Done(t Turn) {
	if t.sent == nil && !p.leaves(0) {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if t.sent != nil {
		p.done(now, t.sent)
	}
	p.dispatch(now)
}

// done records that a request has ended. The caller holds the lock.
func (p *Pacer) done(now time.Time, s *sent) {
	if s == nil {
		p.leaves(0)
		return
	}
	p.limits.held(now.Sub(s.at))
	if !s.over {
		p.answers.ended(now, s)
	}
	p.end(s)
}

// Used reports how many tokens the request has used: the difference to its [Cost] is
// given back to the configured limit, or taken from it. It must be called at most once
// for a turn. More than 2^40 count as so many, and less than 0 as none.
func (p *Pacer) Used(t Turn, tokens int64) {
	if t.sent == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	p.dispatch(now)
	p.limits.correct(max(0, min(tokens, tokensMost)) - t.sent.tokens)
	p.dispatch(now)
}

// Configure replaces the configured limits. By default there are none.
func (p *Pacer) Configure(l Limits) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	p.limits.configure(now, l)
	p.watch()
	p.recheck(now)
	p.dispatch(now)
}

// Reset forgets everything that was learned and told. Configured limits and the queue
// stay; requests that wait may go at once. What peers know is followed again with their next word
// ([Pacer.Join]).
func (p *Pacer) Reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.forget()
	p.dispatch(time.Now())
}

// Wave returns the number of the last wave of refusals, counted from 1; 0 if there was
// none. A wave is the refusals of a burst, and those of the requests that then test
// whether the provider has recovered. It ends with an answer, or after 10 s.
func (p *Pacer) Wave() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.wave
}

// progressFor is how long after an answer an endpoint still makes progress.
const progressFor = 10 * time.Second

// Mark returns the number of answers so far. Call it when a request begins, for
// [Pacer.ProgressSince].
func (p *Pacer) Mark() uint64 { return answersOf(p.word.Load()) }

// ProgressSince reports whether any request was answered since [Pacer.Mark] returned
// mark, or within the last 10 s. A free Pacer reads no clock: answers to it count as if
// they had arrived at the refusal that ended that state.
func (p *Pacer) ProgressSince(mark uint64) bool {
	if p.Mark() != mark {
		return true
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.lastAnswer.IsZero() && time.Since(p.lastAnswer) <= progressFor
}
