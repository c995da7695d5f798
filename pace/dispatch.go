package pace

import (
	"math/rand/v2"
	"time"
)

// line gives w a turn at once, a place in the queue, or an error.
func (p *Pacer) line(w *waiter) (turn Turn, waits bool, err error) {
	c := w.cost
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	p.dispatch(now)
	if p.mayGo(now, c) {
		return p.send(now, c), false, nil
	}
	if p.queue.size >= queueMax {
		at, _ := p.earliest(now, c)
		return Turn{}, false, p.refusal(now, at, QueueFull)
	}
	w.since = now
	p.queue.push(w)
	p.learn.hold(now)
	p.queues(now)
	if w.bound && p.late(now, p.answers.lastTurn(w), c, p.queue.size-1, p.queue.tokens-c.Tokens) != nil {
		before, tokens := p.queue.before(w) // some may go after it
		if e := p.late(now, p.answers.lastTurn(w), c, before, tokens); e != nil {
			p.queue.remove(w)
			return Turn{}, false, p.explained(e, w)
		}
	}
	p.lease(now)
	p.schedule(now)
	return Turn{}, true, nil
}

// leave gives back a place in the queue, or the turn that w got meanwhile.
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

// back undoes a watched request that was not made.
func (p *Pacer) back(now time.Time, s *sent) {
	if s == nil || s.over {
		return
	}
	if !s.heard {
		p.learn.back(s)
		p.limits.back(s.tokens)
		p.windows.back(s)
		if s.look && !p.told.look.IsZero() { // otherwise a shorter time was told since
			p.told.look = now
		}
	}
	p.end(s)
}

// end frees the place in flight of a watched request, once.
func (p *Pacer) end(s *sent) {
	if !s.over {
		p.heard(s)
		s.over = true
		p.watched--
		p.word.Add(-oneInFlight)
	}
}

// heard records that the provider has answered a request, or never will.
func (p *Pacer) heard(s *sent) {
	if !s.heard {
		s.heard = true
		p.unheard.requests--
		p.unheard.tokens -= s.tokens
	}
}

// forget discards everything that was learned and told.
func (p *Pacer) forget() {
	p.learn, p.told, p.windows, p.overload, p.answers = learner{part: p.learn.part, from: p.learn.from}, closing{}, windows{}, overload{}, answerTimes{}
	p.lastAnswer, p.lastRefusal = time.Time{}, time.Time{}
	p.member.epoch, p.member.cut = 0, false // what peers know is followed again
}

// date gives the current time to answers that came while the Pacer was free.
func (p *Pacer) date(now time.Time) {
	if n := p.Mark(); n != p.seen {
		p.seen, p.lastAnswer = n, now
	}
}

func (p *Pacer) inFlight() int { return int(uint64(p.word.Load()) % oneAnswer / oneInFlight) }

// slots returns how many requests may be in flight; 0: any number.
func (p *Pacer) slots() int {
	n := p.limits.set.MaxConcurrent
	if o := p.overload.limit; o > 0 && (n == 0 || o < n) {
		n = o
	}
	return n
}

// hear records what was told with a response to s.
func (p *Pacer) hear(now time.Time, s *sent, told *Told, refused bool) {
	if told == nil {
		return
	}
	told = told.asOf(now)
	if told.HasWait && told.Wait > 0 {
		before := p.told.until
		p.close(now, told.Wait)
		if !p.learn.paced {
			p.learn.begin(now, rateStart, p.seq) // so that those who wait do not return at once
			p.cutHere()
		}
		p.learn.pause(p.told.opens, told.Wait)
		if p.told.until != before {
			p.toldHere(p.told.until, false)
		}
		p.watch()
	}
	if len(told.Windows) > 0 {
		others := p.unheard
		others.requests += int64(p.inFlight() - p.watched)
		if s == nil && others.requests > 0 {
			others.requests-- // the one that was answered, if it held a place
		}
		p.windows.hear(now, p.learn.partOf(told.Windows), s, refused, others, p.seq, p.learn.paced)
		if refused {
			p.learn.startAt(refill(told.Windows) / 2)
		}
		p.watch()
	}
	p.recheck(now)
}

// chance returns the source of chance.
func (p *Pacer) chance() func() float64 {
	if p.Rand != nil {
		return p.Rand
	}
	return rand.Float64
}

// close begins a told time. Processes with a shared rate are spread by that, and go on with
// the turns that they all count at the same moment.
func (p *Pacer) close(now time.Time, wait time.Duration) {
	chance := p.chance()
	if p.learn.shares() {
		p.told.close(now, wait, p.learn.firstLook(chance), nil)
		return
	}
	p.told.close(now, wait, lookEvery, chance)
}

// mayGo reports whether a request may go now, before those in the queue.
func (p *Pacer) mayGo(now time.Time, c Cost) bool {
	if p.queue.size > 0 {
		return false
	}
	return p.open(now, c)
}

// open reports whether the next request, of cost c, may go.
func (p *Pacer) open(now time.Time, c Cost) bool {
	if n := p.slots(); n > 0 && p.inFlight() >= n {
		return false
	}
	if p.told.shut(now) {
		return p.told.looks(now) && p.limits.open(c)
	}
	return p.learn.due() && p.windows.open(now, c) && p.limits.open(c)
}

// send returns a turn for a request that goes now.
func (p *Pacer) send(now time.Time, c Cost) Turn {
	if p.word.Add(oneInFlight)&watchedBit == 0 {
		return Turn{}
	}
	p.seq++
	s := &sent{at: now, seq: p.seq, tokens: c.Tokens, look: p.told.shut(now), end: c.End}
	if s.look {
		p.told.look = now.Add(p.learn.lookIn())
	}
	p.watched++
	p.unheard.requests++
	p.unheard.tokens += c.Tokens
	p.learn.sent(s)
	p.member.took(now, c)
	p.windows.take(now, c)
	p.limits.take(c)
	return Turn{s}
}

// dispatch gives turns to the requests that may go, and sets the timer for the next
// one. It is called after every change.
func (p *Pacer) dispatch(now time.Time) {
	if now.Before(p.now) {
		p.forget() // the clock went back: what was dated before would hold forever
		p.limits.at = now
	}
	p.now = now
	p.learn.advance(now)
	p.limits.advance(now)
	p.windows.advance(now)
	p.overload.advance(now)
	for p.queue.size > 0 {
		w := p.queue.next()
		if p.answers.wastes(now, w, p.queue.size > 1) {
			at, why := p.turn(now, w.cost, 0, 0, 1)
			p.queue.remove(w)
			p.deny(w, p.refusal(now, at, why))
			continue
		}
		if !p.open(now, w.cost) {
			p.learn.hold(now)
			break
		}
		p.queue.served(w)
		w.turn = p.send(now, w.cost)
		close(w.ready)
	}
	p.lease(now)
	p.schedule(now)
	p.rest(now)
}

// tickEvery is how often the head of the queue is checked if nothing else happens,
// because rates grow meanwhile.
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

// watch makes all later requests take the lock.
func (p *Pacer) watch() {
	if p.word.Load()&watchedBit == 0 {
		p.word.Add(watchedBit)
	}
}

// rest lets requests go without the lock again if there is nothing to watch.
func (p *Pacer) rest(now time.Time) {
	if p.word.Load()&watchedBit == 0 || p.queue.size > 0 || p.learn.paced || p.told.shut(now) ||
		len(p.windows.list) > 0 || p.limits.set != (Limits{}) || p.overload.limit > 0 {
		return
	}
	p.learn, p.told, p.windows.list, p.answers = p.learn.forgotten(), closing{}, nil, answerTimes{}
	p.word.Add(-watchedBit)
}

// turn returns when a request with some requests and tokens ahead of it may go, as far
// as is known, at speed times the learned rate (0: ignoring it), and the reason for the
// longest of its waits.
func (p *Pacer) turn(now time.Time, c Cost, before int, tokens int64, speed float64) (time.Time, Why) {
	at, why := now, Pacing
	holds := func(until time.Time, reason Why) {
		if until.After(at) {
			at, why = until, reason
		}
	}
	if p.told.shut(now) {
		holds(p.told.opens, ToldTime)
	}
	holds(p.windows.turn(c, before, tokens), ToldWindow)
	holds(p.limits.turn(now, c, before, tokens), ConfiguredLimit)
	if speed > 0 && p.learn.paced {
		from := now
		if p.told.shut(now) {
			from = p.told.opens
		}
		holds(from.Add(p.learn.wait(before, speed)), Pacing)
	}
	return at, why
}

// earliest returns when a request that arrives now may go, an estimate for its caller.
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

// late returns the refusal of a request whose turn can't come before a deadline, or nil.
func (p *Pacer) late(now, deadline time.Time, c Cost, before int, tokens int64) *Error {
	speed := 2.0 * p.fairly()
	if p.learn.start || p.learn.shut {
		speed = 0 // in a slow start the rate is not yet what the provider accepts
	}
	at, why := p.turn(now, c, before, tokens, speed)
	if !at.After(deadline) {
		return nil
	}
	return p.refusal(now, at, why)
}

// recheck refuses requests whose turn can't come before their deadline any more. It
// walks through the queue only if the last one would miss the soonest deadline.
func (p *Pacer) recheck(now time.Time) {
	if p.queue.size == 0 || p.queue.soonest.IsZero() ||
		p.late(now, p.queue.soonest.Add(-p.answers.least), Cost{}, p.queue.size, p.queue.tokens) == nil {
		return
	}
	var gone []*waiter
	var refusals []*Error
	before, tokens := 0, int64(0)
	p.queue.soonest = time.Time{}
	for w := range p.queue.order() {
		if w.bound {
			if e := p.late(now, p.answers.lastTurn(w), w.cost, before, tokens); e != nil {
				gone = append(gone, w)
				refusals = append(refusals, e)
				continue
			}
			p.queue.note(w.deadline)
		}
		before++
		tokens += w.cost.Tokens
	}
	for i, w := range gone {
		p.queue.remove(w)
		p.deny(w, refusals[i])
	}
}

// deny ends a wait, of a request that is no longer in the queue.
func (p *Pacer) deny(w *waiter, e *Error) {
	w.err = p.explained(e, w)
	close(w.ready)
}

// explained adds to the refusal of w how long answers take, if that is why it is one.
func (p *Pacer) explained(e *Error, w *waiter) *Error {
	if !w.cost.End.IsZero() && e.Until.Before(w.deadline) {
		if e.Left, e.Answers = w.cost.End.Sub(e.Until), p.answers.least; e.Left >= e.Answers {
			e.Answers = p.answers.most
		}
	}
	return e
}

// refusal returns the error of a request that may go at a later time.
func (p *Pacer) refusal(now, at time.Time, why Why) *Error {
	e := &Error{Until: at, Wait: at.Sub(now), Why: why, Queue: p.queue.size}
	if p.learn.paced {
		e.Rate = p.learn.own()
	}
	if p.told.shut(now) {
		e.ToldUntil = p.told.until
	}
	return e
}
