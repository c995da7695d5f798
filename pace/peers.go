package pace

import (
	"math"
	"slices"
	"time"
)

// Peers are the pacers of other processes, with which a [Pacer] shares one rate; see
// [Pacer.Join].
type Peers interface {
	// News says that [Pacer.Report] has something that the peers should know at once: an
	// episode, a told time, a queue that the pacer's part of the rate does not serve soon, or
	// the need of a [Lease]. It is called with the Pacer locked, so it must not block, nor call
	// the Pacer.
	News()
}

// Rate is the learned rate that several processes share, and how far learning is. Times are
// ages and not dates, so that a wrong clock changes nothing.
type Rate struct {
	// Epoch numbers the changes that an episode makes, from 1; 0: no rate is known. In one
	// epoch every process lets the rate grow alike.
	Epoch     uint64
	PerSecond float64       // requests a second, of all processes together
	SlowStart bool          // it doubles each second until a refusal
	Shut      bool          // nothing was accepted: a request tests it now and then
	Known     bool          // an episode has followed the slow start
	Toll      time.Duration // the told times since the last episode
	Calm      time.Duration // since the last episode, told times left out
	Held      time.Duration // since a request last waited for the rate
	Asked     time.Duration // since a request last waited for any reason
	Turns     float64       // how many requests it has allowed so far
}

// Amount is a number of requests and of their tokens.
type Amount struct{ Requests, Tokens int64 }

// Report is what the peers of a pacer should know of it.
type Report struct {
	// Free says that there is nothing to report: nothing is learned, told or configured.
	Free bool
	// Rate is the shared rate as it is known here.
	Rate Rate
	// Cut says that an episode has changed Rate here since Rate.Epoch was followed.
	Cut bool
	// Told is the end of a time for which the provider told this process to stay away; zero:
	// it told none. It may be over.
	Told time.Time
	// ToldAt is when the provider said so.
	ToldAt time.Time
	// Replaces says that Told was heard by a test, and so counts instead of any other told
	// time, even a later one.
	Replaces bool
	// Need is how many requests a second want turns, those that wait included, and Sent how
	// many had one lately.
	Need, Sent float64
	// Hurry says that Need has grown so much that the others should know at once.
	Hurry bool
	// Limits are the configured limits, and Allowed how many requests a second they allow, by
	// the tokens of the last ones; 0: any number.
	Limits  Limits
	Allowed float64
	// Ask is how much of the limits is to be leased, at once.
	Ask Amount
	// Back is what was not used of leases that are over, and Alone what was used without one.
	Back, Alone Amount
	// Corrected is how many tokens more were used than leased, by [Pacer.Used].
	Corrected int64
}

// Shared is what several processes know together.
type Shared struct {
	// Rate is the shared rate. Epoch 0: none is known.
	Rate Rate
	// Taken says that Rate is the Cut of this pacer's last [Report].
	Taken bool
	// Part is this process' part of the rate, and of the configured limits while no lease can
	// be had, in (0, 1]. 0: as before.
	Part float64
	// Processes is how many processes share; a process that needs it has a part of at least
	// 1/Processes. 0: as before.
	Processes int
	// From is where this process' part begins, if the parts of all are laid side by side in
	// [0, 1).
	From float64
	// Told is how long the provider told its callers to stay away from now on; valid only if
	// HasTold is set. It counts if it ends later than what is known here, or if Replaces is set.
	Told     time.Duration
	HasTold  bool
	Replaces bool
}

// Lease is a part of the configured limits that only this process may use.
type Lease struct {
	Amount
	In  time.Duration // until it may be used
	For time.Duration // how long it may be used then
}

// member is a pacer's place among its peers. The zero value is a pacer on its own.
type member struct {
	peers     Peers
	processes int
	epoch     uint64 // that was followed last
	cut       bool   // since then
	until     time.Time
	untilAt   time.Time // when that was told
	replaces  bool
	turns     meter     // requests that got a turn
	tokens    meter     // and their tokens
	sent      meter     // the same requests, averaged over sentOver
	queued    time.Time // when there was last news of the queue
	needed    float64   // as it was last reported
	hurry     bool      // much more is needed now
}

// Join makes the pacer share its learned rate, told times and configured limits with others.
// It must be called before the pacer is used, and not twice. A free pacer costs what it did.
//
// The pacer goes on to decide by itself when a request may go. The peers ask it for a
// [Report] each second while it is not free, and when there is news; they tell it with
// [Pacer.Follow] what all know, and lend it parts of the configured limits with [Pacer.Lend].
// If they are silent, it goes on with its last part of the rate and of the limits.
func (p *Pacer) Join(peers Peers) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.member = member{peers: peers, processes: 1, turns: meter{over: needOver}, tokens: meter{over: needOver}, sent: meter{over: sentOver}}
	p.learn.part = 1
	p.limits.lease = &lease{part: 1}
}

// cutHere records an episode of this process.
func (p *Pacer) cutHere() {
	if p.member.peers != nil {
		p.member.cut = true
		p.member.peers.News()
	}
}

// toldHere records that the told time was changed by a response to this process.
func (p *Pacer) toldHere(until time.Time, replaces bool) {
	if p.member.peers != nil {
		p.member.until, p.member.untilAt, p.member.replaces = until, time.Now(), replaces
		p.member.peers.News()
	}
}

const (
	// needOver is the time over which a process' need is averaged.
	needOver = 2 * time.Second
	// sentOver is the same for what it has sent, in which told times make gaps.
	sentOver = 10 * time.Second
	// newsEvery is the shortest time between two reports because of a queue, and how soon a
	// queue must be served for there to be no report.
	newsEvery = 100 * time.Millisecond
	// needGrown is how much more must be needed for that than was reported.
	needGrown = 1.2
	// slack is how much older than by one's own look the news of peers may be.
	slack = 2 * time.Second
)

// need returns how many requests a second want turns.
func (p *Pacer) need(now time.Time) float64 {
	return p.member.turns.rate(now) + float64(p.queue.size)/4
}

// took records a turn.
func (m *member) took(now time.Time, c Cost) {
	if m.peers == nil {
		return
	}
	m.turns.add(now, 1)
	m.tokens.add(now, float64(c.Tokens))
	m.sent.add(now, 1)
}

// queues tells the peers of a queue that has begun, and that this process' part of the rate does
// not serve soon.
func (p *Pacer) queues(now time.Time) {
	m := &p.member
	if m.peers == nil || !p.learn.paced || now.Sub(m.queued) < newsEvery || p.need(now) < needGrown*m.needed {
		return
	}
	if p.learn.wait(p.queue.size-1, 1) > newsEvery {
		m.queued, m.hurry = now, true
		m.peers.News()
	}
}

// Report returns what the peers of this pacer should know, and takes Back, Alone and
// Corrected for told.
func (p *Pacer) Report() Report {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	p.dispatch(now)
	m, l := &p.member, &p.learn
	r := Report{
		Free: p.word.Load()&watchedBit == 0, Cut: m.cut, Told: m.until, ToldAt: m.untilAt, Replaces: m.replaces,
		Need: p.need(now), Sent: m.sent.rate(now), Limits: p.limits.set, Rate: Rate{Epoch: m.epoch},
	}
	if l.paced {
		r.Rate = Rate{
			Epoch: m.epoch, PerSecond: l.rate, SlowStart: l.start, Shut: l.shut, Known: l.known, Toll: l.toll,
			Calm: max(0, l.at.Sub(l.calm)), Held: max(0, now.Sub(l.held)), Asked: max(0, now.Sub(l.asked)), Turns: l.turns,
		}
	}
	r.Hurry, m.hurry, m.needed = m.hurry, false, r.Need
	r.Allowed, r.Ask = p.allowed(now), p.asks(now)
	p.limits.report(&r)
	return r
}

// Follow makes the pacer follow what its peers know: a rate of a later epoch, a told time, its
// part. What it knows already changes nothing.
func (p *Pacer) Follow(s Shared) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	p.dispatch(now)
	m, l := &p.member, &p.learn
	if m.peers == nil {
		return
	}
	if s.Processes > 0 {
		m.processes = s.Processes
	}
	if s.Part > 0 {
		l.part, l.from = min(1, s.Part), s.From
		p.limits.share(now, l.part)
	}
	switch r := s.Rate; {
	case r.Epoch > m.epoch:
		if !(s.Taken && m.cut && l.paced) {
			l.adopt(now, r, p.seq)
			p.watch()
		}
		m.epoch, m.cut = r.Epoch, false
	case r.Epoch == m.epoch && l.paced && !m.cut:
		l.keepUp(now, r)
	}
	if s.HasTold {
		p.followTold(now, s)
	}
	p.recheck(now)
	p.dispatch(now)
}

func (p *Pacer) followTold(now time.Time, s Shared) {
	if s.Replaces {
		p.told = closing{}
		p.learn.resume(now)
	}
	if s.Told <= 0 {
		return
	}
	p.close(now, s.Told)
	if !p.learn.paced {
		p.learn.begin(now, rateStart, p.seq)
	}
	p.learn.pause(p.told.opens, s.Told)
	p.watch()
}

// Lend gives the pacer what it has asked for in its last [Report], or less. What it still had
// of an earlier lease goes back with the next report.
func (p *Pacer) Lend(l Lease) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if p.limits.leased() {
		p.limits.lend(now, l)
	}
	p.dispatch(now)
}

// adopt takes over the rate of a later epoch.
func (l *learner) adopt(now time.Time, r Rate, seq uint64) {
	if !l.paced {
		l.begin(now, r.PerSecond, seq)
		l.given, l.held, l.asked = startLeast, time.Time{}, time.Time{}
	}
	if l.start && !r.SlowStart {
		l.end = now
	}
	l.rate, l.start, l.shut, l.known, l.toll = max(rateFloor, r.PerSecond), r.SlowStart, r.Shut, r.Known, r.Toll
	if !r.SlowStart && !r.Shut {
		l.proved()
	}
	l.calm = l.at.Add(-r.Calm)
	l.cut, l.excess = seq, 0
	l.ask(now, r)
	l.inStep(r)
}

// keepUp takes over how far the rate of the same epoch has grown elsewhere.
func (l *learner) keepUp(now time.Time, r Rate) {
	if l.shut && r.SlowStart {
		l.shut, l.start = false, true
	}
	l.rate = max(l.rate, r.PerSecond)
	l.ask(now, r)
	l.inStep(r)
}

// ask takes over when a request of any process last waited.
func (l *learner) ask(now time.Time, r Rate) {
	l.held = later(l.held, now.Add(-r.Held))
	l.asked = later(l.asked, now.Add(-r.Asked))
}

// golden is the fraction of the golden ratio. Its multiples, without their whole part, fall
// into each part of [0, 1) as often as that is long, and as evenly as can be (Knuth, "The Art
// of Computer Programming", 6.4, theorem S).
const golden = 0.6180339887498949

// mine reports whether a turn is this process'. All processes number the turns of the rate
// alike: each turn is somebody's, so that they send one after the other, as one would.
func (l *learner) mine(turn float64) bool {
	_, at := math.Modf(turn * golden)
	at -= l.from
	return at >= 0 && at < l.part
}

// step lets turns go by, and adds those that are this process' to its credit.
func (l *learner) step(turns float64) {
	last := math.Floor(l.turns + turns + tiny)
	for k := max(l.turn, last-turnsMost) + 1; k <= last; k++ {
		if l.mine(k) {
			l.credit = 1 // it does not save more: what others send at that moment is not known
		}
	}
	l.turns += turns
	l.turn = max(l.turn, last)
}

// turnsMost bounds how many turns are looked at; a process does not save more than one.
const turnsMost = 1000

// until returns how many turns go by until the next one of this process.
func (l *learner) until() float64 {
	for k := l.turn + 1; k < l.turn+turnsMost; k++ {
		if l.mine(k) {
			return max(0, k-l.turns)
		}
	}
	return turnsMost
}

// inStep takes over how many turns all have counted.
func (l *learner) inStep(r Rate) {
	if l.turn-r.Turns > 2 { // those that count are others
		l.turn = math.Floor(r.Turns)
	}
	l.turns = r.Turns
}

// own is this process' part of the rate.
func (l *learner) own() float64 {
	if l.part == 0 {
		return l.rate
	}
	return l.rate * l.part
}

// shares reports whether others have a part of the rate too.
func (l *learner) shares() bool { return l.part > 0 && l.part < 1 }

// partOf returns this process' part of windows that were told. Small ones that begin again
// within a second are left to the learned rate: most of what remains is sent by others before
// the count is known.
func (l *learner) partOf(told []Window) []Window {
	if !l.shares() {
		return told
	}
	parts := make([]Window, 0, min(len(told), windowsKept))
	for _, w := range told[:min(len(told), windowsKept)] {
		if l.paced && w.Reset <= windowLeast {
			continue
		}
		w.Limit = int64(math.Ceil(float64(w.Limit) * l.part))
		w.Remaining = int64(math.Ceil(float64(max(0, w.Remaining)) * l.part))
		parts = append(parts, w)
	}
	return parts
}

// fairly returns how much faster than with its part of the rate this process goes at least if
// it needs to.
func (p *Pacer) fairly() float64 {
	if l := &p.learn; l.shares() {
		return max(1, 1/(float64(p.member.processes)*l.part))
	}
	return 1
}

// lookIn is the time between two tests of a long told time, of which all processes together
// make one in lookEvery.
func (l *learner) lookIn() time.Duration {
	if !l.shares() {
		return lookEvery
	}
	return seconds(lookEvery.Seconds() / l.part)
}

// firstLook is the time until the first of them.
func (l *learner) firstLook(chance func() float64) time.Duration {
	return lookEvery + time.Duration(chance()*float64(l.lookIn()-lookEvery))
}

// refusedShare is the share of a process' own requests that must be refused for it to take
// those of the others for refused too.
const refusedShare = 0.25

// rowMost is how many of a process' own requests must be refused in a row for the rate to be
// halved.
const rowMost = 3

// countedOfAll estimates how many requests a second of all processes were accepted: the rate
// at which this process' last requests were sent, less the refusals. Those of the others are
// not known: only if many of its own requests were refused it takes theirs to be.
func (l *learner) countedOfAll(now time.Time, span time.Duration) count {
	var c count
	refused, inARow, accepted := 0.0, 0, false
	for _, s := range slices.Backward(l.recent) {
		age := now.Sub(s.at) - l.delay
		if age < 0 {
			continue
		}
		if accepted = accepted || !s.refused; !accepted {
			inARow++
		}
		if age > span {
			if accepted || inARow >= rowMost {
				break
			}
			continue
		}
		c.requests++
		c.rate += s.rate
		if s.refused {
			refused++
		}
	}
	n := float64(max(1, c.requests))
	c.rate /= n
	switch share := refused / n; {
	case c.requests >= countLeast && share >= refusedShare:
		c.rate *= 1 - share
	case inARow >= rowMost:
		c.rate /= 2
	default:
		c.rate *= 1 - share*l.part
	}
	return c
}

// meter has a rate, averaged over a time.
type meter struct {
	over  time.Duration
	level float64
	at    time.Time
}

func (m *meter) rate(now time.Time) float64 {
	if now.Before(m.at) || m.level == 0 {
		return m.level
	}
	return m.level * math.Exp(-now.Sub(m.at).Seconds()/m.over.Seconds())
}

func (m *meter) add(now time.Time, n float64) {
	m.level = m.rate(now) + n/m.over.Seconds()
	m.at = now
}
