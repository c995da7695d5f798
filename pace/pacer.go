package pace

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// Pacer holds the requests to one endpoint to what its provider accepts, as the
// package's documentation describes. The zero value is free and ready; a Pacer
// must not be copied after its first use. It is safe for concurrent use.
type Pacer struct {
	// Rand returns a random number in [0, 1), by which the first turn after a
	// told time is spread. Default nil: math/rand/v2. It is set before the
	// first use, is called by one at a time, and must not call the Pacer.
	Rand func() float64

	// word counts the requests in flight and the answers, and says whether
	// requests are watched: the one word that a free request reads and writes.
	// Where they are watched everybody goes to the lock, so whoever begins that
	// sees all later requests.
	word atomic.Int64

	mu       sync.Mutex
	learn    learner
	told     closing
	windows  windows
	limits   limiter
	overload overload
	queue    queue
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

// Cost is what is known of a request before it is made. The zero value is a
// new call of the one client, of unknown size.
type Cost struct {
	// Tokens is how many tokens the request may use, prompt and answer. It
	// counts against a configured limit and a told window of tokens. 0: unknown.
	Tokens int64
	// Again says that the request goes on with a call that has begun (a later
	// attempt, a judge, a tool's round). Of one client's requests, those go
	// before new calls: what has begun is finished first.
	Again bool
	// Client is whom the turn is for. Clients take turns, whatever each of them
	// asks for. "" is a client like any other.
	Client string
}

// tokensMost bounds what one request may cost, so that sums of it don't run over.
const tokensMost = 1 << 40

// Turn is the permission to make one request. It ends with exactly one of
// [Pacer.Done], [Pacer.Back] and [Pacer.Answered]; more than one of them does
// nothing. The zero value is the turn of a request that needs no watching. It
// fits into an interface without an allocation.
type Turn struct{ sent *sent }

// sent is a watched request.
type sent struct {
	at      time.Time
	seq     uint64
	tokens  int64
	look    bool // it goes during a told time, to see whether that still holds
	heard   bool // accepted, refused or failed
	refused bool
	low     bool // it goes at a rate well below what was accepted
	over    bool // not made, or done
}

// free takes the turn of a request that needs no watching. Who gets none has not
// counted as in flight, but for an instant while watching begins: a response that
// is handled while others wait for the lock must not take them for requests.
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

// leaves takes a request that needed no watching out of those in flight, and adds
// to the answers. It reports whether requests are watched now.
func (p *Pacer) leaves(answers int64) (watched bool) {
	w := p.word.Add(answers*oneAnswer - oneInFlight)
	if w&overrun != 0 { // it had ended already
		w = p.word.Add(oneInFlight)
	}
	return w&watchedBit != 0
}

// Try takes a turn if there is one at this moment. It does not wait: the [*Error]
// says why there is none and, in Until, the earliest time known at which there
// may be one (an estimate, never zero).
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
	at, why := p.earliest(now, c)
	return Turn{}, p.refusal(now, at, why)
}

// Wait waits for a turn in the queue. It holds nothing but its place, and gives
// that back when ctx ends: the error is then ctx's. It returns an *Error as soon
// as its turn can't come before ctx's deadline, as far as is certain: for a told
// time, a remaining count and a configured limit, strictly; for a learned rate,
// if not even twice the rate would do, and not at all during the slow start. It
// is asked again whenever one of them gets worse. At most 10,000 wait; there is
// an *Error for more.
func (p *Pacer) Wait(ctx context.Context, c Cost) (Turn, error) {
	if err := ctx.Err(); err != nil {
		return Turn{}, err
	}
	deadline, bound := ctx.Deadline() // not under the lock: it may be anybody's code
	if p.free() {
		return Turn{}, nil
	}
	c.Tokens = max(0, min(c.Tokens, tokensMost))
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

// Accepted says that an answer, or its first piece, has come, and what was told
// with it (nil: nothing). A second call for the same turn counts only told. (A turn
// that was taken while the Pacer was free is not known again: there, a second call
// counts a further answer.)
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

// Answered is [Pacer.Accepted] and [Pacer.Done] in one: an answer has come whole.
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

// accepted takes in an answer; one of a free time has been counted. The caller
// holds the lock.
func (p *Pacer) accepted(now time.Time, s *sent, told *Told) {
	if first := s == nil || !s.heard; first {
		if s != nil {
			p.heard(s)
			p.word.Add(oneAnswer)
			if s.look {
				p.told = closing{} // the provider answers, whatever it told
				p.learn.resume(now)
			}
		}
		p.lastAnswer, p.seen = now, p.Mark()
		p.overload.accepted()
	}
	p.learn.advance(now)
	p.hear(now, s, told, false)
}

// Refused says that the provider refused the request for its rate, or, with
// told.Overload, for want of capacity. told may be nil. A request that was sent
// before the last episode's cut says nothing new, but what is told with it holds.
func (p *Pacer) Refused(t Turn, told *Told) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	p.date(now)
	p.learn.advance(now)
	s := t.sent
	if s != nil {
		s.refused = true
		p.heard(s)
		if s.look && told != nil && told.HasWait {
			p.told = closing{} // what is told now counts
			p.learn.resume(now)
		}
	}
	p.lastRefusal = now
	inFlight := p.inFlight()
	fresh := false
	if told != nil && told.Overload {
		var floor bool
		if fresh, floor = p.overload.refused(now, s, inFlight, p.seq); floor {
			p.learn.refused(now, s, p.seq)
		}
	} else {
		fresh = p.learn.refused(now, s, p.seq)
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
	p.recheck(now)
	p.dispatch(now)
}

// Failed says that the request failed without being refused. To the rate
// it counts as accepted (a provider's own failure has passed its limits,
// and the rate is cut at an episode even if all of them had); it is not an
// answer for [Pacer.ProgressSince]. told may be nil.
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

// Back says that the request was not made: the turn, its tokens and its place
// among those in flight go back. After [Pacer.Accepted], [Pacer.Refused] or
// [Pacer.Failed] it is [Pacer.Done].
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

// Done says that the request has ended, body and all: what limits concurrency
// is free.
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

// done takes in that a request has ended. The caller holds the lock.
func (p *Pacer) done(now time.Time, s *sent) {
	if s == nil {
		p.leaves(0)
		return
	}
	p.limits.held(now.Sub(s.at))
	p.end(s)
}

// Used says how many tokens the request has used, where its [Cost] was an
// estimate: the difference goes back to the configured limit, or is owed to it. It
// is told once.
func (p *Pacer) Used(t Turn, tokens int64) {
	if t.sent == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	p.dispatch(now)
	p.limits.tokens.take(float64(tokens - t.sent.tokens))
	p.dispatch(now)
}

// Configure replaces the configured limits.
func (p *Pacer) Configure(l Limits) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	p.limits.configure(now, l)
	p.watch()
	p.recheck(now)
	p.dispatch(now)
}

// Reset forgets all that was learned and told. Configured limits and the queue
// stay; those who wait go on at once.
func (p *Pacer) Reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.forget()
	p.dispatch(time.Now())
}

// Wave returns the number of the last wave of refusals, from 1; 0 if there was
// none. The sixty refusals of one burst are one wave, and so are those of the
// requests that the Pacer sends now and then to see whether the provider is well
// again: a wave ends with an answer, or after 10 s.
func (p *Pacer) Wave() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.wave
}

// progressFor is how long an answer proves that an endpoint makes progress.
const progressFor = 10 * time.Second

// Mark returns the number of answers so far. It is taken when a request begins, for
// [Pacer.ProgressSince] when it has failed.
func (p *Pacer) Mark() uint64 { return answersOf(p.word.Load()) }

// ProgressSince reports whether anybody has got an answer since [Pacer.Mark]
// returned mark, or within the last 10 s. A free endpoint reads no clock: the
// answers of a free time count as of the refusal that ended it.
func (p *Pacer) ProgressSince(mark uint64) bool {
	if p.Mark() != mark {
		return true
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.lastAnswer.IsZero() && time.Since(p.lastAnswer) <= progressFor
}
