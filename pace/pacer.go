package pace

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// Pacer holds the requests to one endpoint to what its provider accepts. The
// package's documentation says how. The zero value is free and ready; a Pacer
// must not be copied after its first use. It is safe for concurrent use.
type Pacer struct {
	// Rand gives the chance of the spread after a told time, in [0, 1). nil is
	// math/rand/v2's. It is set before the first use.
	Rand func() float64

	// word is twice the requests in flight, plus 1 if requests are watched: the
	// one word that a free request reads and writes. An odd word sends
	// everybody to the lock, so whoever sets it sees all later requests.
	word    atomic.Int64
	answers atomic.Uint64

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
	unheard     flying // of them, neither answered nor refused yet
	episodes    uint64
	seen        uint64 // of answers, when there was last a clock to date them
	lastAnswer  time.Time
	lastRefusal time.Time
}

// Cost is what a request is known to be before it is made. The zero value is a
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

// Turn is the leave to make one request. It ends with exactly one of
// [Pacer.Done] and [Pacer.Back]. The zero value is the turn of a request that
// needs no watching. It fits into an interface without an allocation.
type Turn struct{ sent *sent }

// sent is a watched request.
type sent struct {
	at      time.Time
	seq     uint64
	tokens  int64
	look    bool // it goes during a told time, to see whether that still holds
	heard   bool // accepted, refused or failed
	refused bool
	over    bool // not made, or done
}

// Try takes a turn if there is one at this moment. It does not wait: the *Error
// says why there is none and, in Until, the earliest time known at which there
// may be one (an estimate, never zero).
func (p *Pacer) Try(c Cost) (Turn, *Error) {
	if p.word.Add(2)&1 == 0 {
		return Turn{}, nil
	}
	c.Tokens = max(0, min(c.Tokens, tokensMost))
	p.mu.Lock()
	defer p.mu.Unlock()
	p.word.Add(-2)
	now := time.Now()
	p.dispatch(now)
	if p.mayGo(now, c) {
		return p.send(now, c), nil
	}
	p.learn.held = now
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
	if p.word.Add(2)&1 == 0 {
		return Turn{}, nil
	}
	c.Tokens = max(0, min(c.Tokens, tokensMost))
	w, turn, err := p.line(ctx, c)
	if w == nil || err != nil {
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

// line gives a turn at once, or a place in the queue, or neither.
func (p *Pacer) line(ctx context.Context, c Cost) (*waiter, Turn, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.word.Add(-2)
	now := time.Now()
	p.dispatch(now)
	if p.mayGo(now, c) {
		return nil, p.send(now, c), nil
	}
	if p.queue.size >= queueMax {
		at, _ := p.earliest(now, c)
		return nil, Turn{}, p.refusal(now, at, QueueFull)
	}
	w := &waiter{cost: c, ready: make(chan struct{})}
	w.deadline, w.bound = ctx.Deadline()
	p.queue.push(w)
	p.learn.held = now
	if w.bound && p.late(now, w.deadline, c, p.queue.size-1, p.queue.tokens-c.Tokens) != nil {
		before, tokens := p.queue.before(w) // some may go after it
		if e := p.late(now, w.deadline, c, before, tokens); e != nil {
			p.queue.remove(w)
			return nil, Turn{}, e
		}
	}
	p.schedule(now)
	return w, Turn{}, nil
}

// leave gives back a place in the queue, or the turn that has come meanwhile.
func (p *Pacer) leave(w *waiter) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	switch {
	case w.list != nil:
		p.queue.remove(w)
	case w.err == nil:
		p.back(now, w.turn.sent)
	}
	p.dispatch(now)
}

// Accepted says that an answer, or its first piece, has come, and what was told
// with it (nil: nothing). Told again for the same turn, only told counts.
func (p *Pacer) Accepted(t Turn, told *Told) {
	if t.sent == nil {
		p.answers.Add(1)
		if told.silent() && p.word.Load()&1 == 0 {
			return
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if s := t.sent; s != nil && !s.heard {
		p.heard(s)
		p.answers.Add(1)
		if s.look {
			p.told = closing{} // the provider answers, whatever it told
			p.learn.resume(now)
		}
	}
	p.lastAnswer, p.seen = now, p.answers.Load()
	p.learn.advance(now)
	p.overload.accepted()
	p.hear(now, t.sent, told, false)
	p.dispatch(now)
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
	}
	p.watch()
	p.hear(now, s, told, true)
	p.recheck(now)
	p.dispatch(now)
}

// Failed says that the request failed otherwise. It was not refused, so to the
// rate it counts as accepted (a provider's own failure has passed its limits,
// and the rate is cut at an episode even if all of them had); it is no answer
// for [Pacer.ProgressSince]. told may be nil.
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

func (p *Pacer) back(now time.Time, s *sent) {
	if s == nil || s.over {
		return
	}
	if !s.heard {
		p.learn.back(s)
		p.limits.back(s.tokens)
		p.windows.back(Cost{Tokens: s.tokens})
		if s.look {
			p.told.look = now
		}
	}
	p.end(s)
}

// Done says that the request has ended, body and all: what limits concurrency
// is free.
func (p *Pacer) Done(t Turn) {
	if t.sent == nil {
		if p.word.Add(-2)&1 == 0 {
			return
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		p.dispatch(time.Now())
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	p.limits.held(now.Sub(t.sent.at))
	p.end(t.sent)
	p.dispatch(now)
}

// end frees the place of a watched request, once.
func (p *Pacer) end(s *sent) {
	if !s.over {
		p.heard(s)
		s.over = true
		p.watched--
		p.word.Add(-2)
	}
}

// heard notes that the provider has answered a request, or never will.
func (p *Pacer) heard(s *sent) {
	if !s.heard {
		s.heard = true
		p.unheard.requests--
		p.unheard.tokens -= s.tokens
	}
}

// Used says how many tokens the request has used, where its [Cost] could only
// reckon: the difference goes back to the configured limit, or is owed to it.
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

// Ramp paces a free endpoint from now on at so many requests a second, doubling
// each second until it is gone: those who waited for a circuit come back
// spread. It does nothing if the endpoint is paced already, or perSecond is not
// above 0.
func (p *Pacer) Ramp(perSecond float64) {
	if !(perSecond > 0) {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	p.dispatch(now)
	if !p.learn.paced {
		p.learn.begin(now, perSecond, p.seq)
		p.watch()
	}
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

func (p *Pacer) forget() {
	p.learn, p.told, p.windows, p.overload = learner{}, closing{}, windows{}, overload{}
	p.lastAnswer, p.lastRefusal = time.Time{}, time.Time{}
}

// Episode is the number of the last episode of refusals, from 1; 0 if there was
// none. Sixty refusals of one burst are one episode.
func (p *Pacer) Episode() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.episodes
}

// progressFor is how long an answer proves that an endpoint makes progress.
const progressFor = 10 * time.Second

// Mark is taken at the start of a try, for [Pacer.ProgressSince].
func (p *Pacer) Mark() uint64 { return p.answers.Load() }

// ProgressSince says whether anyone got an answer after mark was taken, or
// within the last 10 s. A free endpoint reads no clock: the answers of a free
// time count as of the refusal that ended it.
func (p *Pacer) ProgressSince(mark uint64) bool {
	if p.answers.Load() != mark {
		return true
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.lastAnswer.IsZero() && time.Since(p.lastAnswer) <= progressFor
}

// date gives the answers of a free time the time of now.
func (p *Pacer) date(now time.Time) {
	if n := p.answers.Load(); n != p.seen {
		p.seen, p.lastAnswer = n, now
	}
}

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
		Free: p.word.Load()&1 == 0, Queue: p.queue.size, InFlight: p.inFlight(), Concurrency: p.slots(), Limits: p.limits.set,
		Episodes: p.episodes, Answers: p.answers.Load(), LastAnswer: p.lastAnswer, LastRefusal: p.lastRefusal,
	}
	if p.learn.paced {
		s.Rate, s.SlowStart = p.learn.rate, p.learn.start
	}
	if p.told.until.After(now) {
		s.Until = p.told.until
	}
	return s
}

// Idle reports whether nothing would be lost if the pacer were forgotten, and a
// new one with the same configured limits made: nothing is learned or told,
// nobody waits or is in flight, and the limits have filled up.
func (p *Pacer) Idle() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	p.dispatch(now)
	return p.queue.size == 0 && p.inFlight() == 0 && !p.learn.paced && !p.told.shut(now) && len(p.windows.list) == 0 &&
		p.overload.limit == 0 && p.limits.full()
}

func (p *Pacer) inFlight() int { return int(p.word.Load() >> 1) }

// slots is how many requests may be in flight; 0: any number.
func (p *Pacer) slots() int {
	n := p.limits.set.MaxConcurrent
	if o := p.overload.limit; o > 0 && (n == 0 || o < n) {
		n = o
	}
	return n
}

// hear takes in what was told with a response.
func (p *Pacer) hear(now time.Time, s *sent, told *Told, refused bool) {
	if told == nil {
		return
	}
	if told.HasWait && told.Wait > 0 {
		chance := rand.Float64
		if p.Rand != nil {
			chance = p.Rand
		}
		p.told.close(now, told.Wait, chance)
		if !p.learn.paced {
			p.learn.begin(now, rateStart, p.seq) // those who wait come back spread
		}
		p.learn.pause(p.told.opens, told.Wait)
		p.watch()
	}
	if len(told.Windows) > 0 {
		others := p.unheard
		others.requests += int64(p.inFlight() - p.watched)
		if s == nil {
			others.requests = max(0, others.requests-1) // the one that was answered, if it was counted
		}
		p.windows.hear(now, told.Windows, s, refused, others, p.seq)
		p.watch()
		p.recheck(now)
	}
}

// mayGo says whether a request goes at this moment.
func (p *Pacer) mayGo(now time.Time, c Cost) bool {
	if p.queue.size > 0 {
		return false
	}
	return p.open(now, c)
}

// open says whether the next request, of that cost, may go.
func (p *Pacer) open(now time.Time, c Cost) bool {
	if n := p.slots(); n > 0 && p.inFlight() >= n {
		return false
	}
	if p.told.shut(now) {
		return p.told.looks(now) && p.limits.open(c)
	}
	return p.learn.due() && p.windows.open(now, c) && p.limits.open(c)
}

// send takes a turn for one request.
func (p *Pacer) send(now time.Time, c Cost) Turn {
	p.word.Add(2)
	if p.word.Load()&1 == 0 {
		return Turn{}
	}
	p.seq++
	s := &sent{at: now, seq: p.seq, tokens: c.Tokens, look: p.told.shut(now)}
	if s.look {
		p.told.look = now.Add(lookEvery)
	}
	p.watched++
	p.unheard.requests++
	p.unheard.tokens += c.Tokens
	p.learn.sent(s)
	p.windows.take(now, c)
	p.limits.take(c)
	return Turn{s}
}

// dispatch gives turns to those whose time has come, and sets the timer for the
// next. It is called after whatever may have changed something.
func (p *Pacer) dispatch(now time.Time) {
	if now.Before(p.now) {
		p.forget() // a clock of another kind: what was dated by the old one would hold for ever
		p.limits.at = now
	}
	p.now = now
	p.learn.advance(now)
	p.limits.advance(now)
	p.windows.advance(now)
	p.overload.advance(now)
	for p.queue.size > 0 {
		w := p.queue.next()
		if !p.open(now, w.cost) {
			p.learn.held = now
			break
		}
		p.queue.served(w)
		w.turn = p.send(now, w.cost)
		close(w.ready)
	}
	p.schedule(now)
	p.rest(now)
}

// tickEvery is how often the head of the queue is looked at if nothing else
// happens: rates grow meanwhile.
const tickEvery = 250 * time.Millisecond

// schedule sets the timer for the head of the queue.
func (p *Pacer) schedule(now time.Time) {
	if p.queue.size == 0 {
		if p.timer != nil {
			p.timer.Stop()
			p.timer = nil
		}
		return
	}
	wait := tickEvery
	if at, _ := p.turn(now, p.queue.next().cost, 0, 0, 1); at.After(now) {
		wait = min(wait, at.Sub(now))
	}
	if p.timer != nil {
		p.timer.Reset(wait)
		return
	}
	p.timer = time.AfterFunc(wait, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.dispatch(time.Now())
	})
}

// watch sends all later requests to the lock.
func (p *Pacer) watch() {
	if p.word.Load()&1 == 0 {
		p.word.Add(1)
	}
}

// rest lets requests go free again where there is nothing to watch.
func (p *Pacer) rest(now time.Time) {
	if p.word.Load()&1 == 0 || p.queue.size > 0 || p.learn.paced || p.told.shut(now) ||
		len(p.windows.list) > 0 || p.limits.set != (Limits{}) || p.overload.limit > 0 {
		return
	}
	p.learn, p.told, p.windows.list = learner{}, closing{}, nil
	p.word.Add(-1)
}

// turn returns when a request with so many requests and tokens before it may go,
// as far as is known, at so many times the learned rate (0: without regard to
// it), and what holds it longest.
func (p *Pacer) turn(now time.Time, c Cost, before int, tokens int64, speed float64) (time.Time, Why) {
	at, why := now, Pacing
	later := func(t time.Time, w Why) {
		if t.After(at) {
			at, why = t, w
		}
	}
	if p.told.shut(now) {
		later(p.told.opens, ToldTime)
	}
	later(p.windows.turn(c, before, tokens), ToldWindow)
	later(p.limits.turn(now, c, before, tokens), ConfiguredLimit)
	if speed > 0 && p.learn.paced {
		from := now
		if p.told.shut(now) {
			from = p.told.opens
		}
		later(from.Add(p.learn.wait(before, speed)), Pacing)
	}
	return at, why
}

// earliest is the turn of a request that comes now, for its caller to plan by.
func (p *Pacer) earliest(now time.Time, c Cost) (time.Time, Why) {
	at, why := p.turn(now, c, p.queue.size, p.queue.tokens, 1)
	if n := p.slots(); n > 0 && p.inFlight() >= n {
		if t := now.Add(p.limits.holds(p.queue.size, n)); t.After(at) {
			at, why = t, Concurrency
		}
	}
	if !at.After(now) {
		at = now.Add(time.Millisecond)
	}
	return at, why
}

// late is the refusal of a request whose turn can't come before its deadline.
func (p *Pacer) late(now, deadline time.Time, c Cost, before int, tokens int64) *Error {
	speed := 2.0
	if p.learn.start {
		speed = 0
	}
	at, why := p.turn(now, c, before, tokens, speed)
	if !at.After(deadline) {
		return nil
	}
	return p.refusal(now, at, why)
}

// recheck refuses those whose turn can't come any more. It walks through the
// queue only if the last of it would be late for the soonest deadline.
func (p *Pacer) recheck(now time.Time) {
	if p.queue.size == 0 || p.queue.soonest.IsZero() ||
		p.late(now, p.queue.soonest, Cost{}, p.queue.size, p.queue.tokens) == nil {
		return
	}
	var gone []*waiter
	before, tokens := 0, int64(0)
	p.queue.soonest = time.Time{}
	for w := range p.queue.order() {
		if w.bound {
			if e := p.late(now, w.deadline, w.cost, before, tokens); e != nil {
				w.err = e
				gone = append(gone, w)
				continue
			}
			p.queue.note(w.deadline)
		}
		before++
		tokens += w.cost.Tokens
	}
	for _, w := range gone {
		p.queue.remove(w)
		close(w.ready)
	}
}

func (p *Pacer) refusal(now, at time.Time, why Why) *Error {
	e := &Error{Until: at, Wait: at.Sub(now), Why: why, Queue: p.queue.size}
	if p.learn.paced {
		e.Rate = p.learn.rate
	}
	if p.told.shut(now) {
		e.ToldUntil = p.told.until
	}
	return e
}
