package pace

import (
	"math"
	"slices"
	"time"
)

// The constants of the learned rate. They were tuned in virtual time, against token
// buckets and fixed windows of 0.05 to 50 requests a second, and against providers
// that refuse a share of the requests at any rate. limit_test.go holds the results.
const (
	rateStart = 2.0    // a second, after the first refusal
	startMost = 100.0  // a second, where a window says how much comes back
	rateFloor = 0.02   // a second, learned
	rateProbe = 0.05   // a second, while nothing is accepted: one in 20 s
	rateFree  = 2000.0 // a second; at this rate pacing ends

	// An episode cuts the rate to what was accepted, but at least by these factors. A
	// smaller cut is back at the limit sooner, but at low rates each refusal costs more.
	cutSlow  = 0.9
	cutFast  = 0.95 // above cutAbove
	cutAbove = 15.0 // a second

	// The accepted rate is measured over spanMost, or over the last countLeast requests
	// if that is longer. After a slow start it is measured from its end, over at least
	// spanLeast: what was sent during the slow start shows the demand, not the limit.
	spanMost   = 2400 * time.Millisecond
	spanLeast  = time.Second
	countLeast = 12
	// startLeast is how many requests a slow start must have sent before a refusal
	// ends it.
	startLeast  = 6
	recentsMost = 512

	// Between episodes the rate grows by a fraction each second; above addAbove it grows
	// by a constant, so that processes that share a limit converge. Below one request a
	// second it grows with each request, not each second.
	growPart = 0.005
	growAdd  = 0.25 // a second, each second
	addAbove = 10.0 // a second

	// After a period without an episode (the calm) the rate doubles every doubleEvery
	// seconds, to find a limit that was raised. At low rates the calm is measured in
	// requests, because each search costs a refusal.
	calmLeast, calmMost, calmRequests = 8.0, 90.0, 40.0 // s, s, requests
	doubleEvery                       = 5.0             // s

	// A refusal that tells everybody to wait costs more than one request: growth is
	// slower by this factor for each second of the wait, up to 2 s.
	tollPerSecond = 2.0

	// A slow start goes on while something else than the rate holds the requests, such as a
	// window, and then ends the pacing, unless a wait of at most this was told since it began:
	// only the rate holds those for which the time that one may go has come.
	exactMost = time.Second

	// Above cutAbove and with told times of tollSmall or more, a refusal costs more than a
	// tenth of what the limit allows meanwhile. Growth is slower by dearPerSecond then, the
	// calm is calmPerToll for each second of the told time, and a cut is below what was
	// accepted, which has the burst that the provider allows: two episodes in a row cost twice.
	tollSmall     = time.Second / 2
	dearPerSecond = 4.0
	calmPerToll   = 45.0 // s, for each second

	// A limit does not refuse requests at a rate well below what it accepted. Refusals
	// below lowPart of the rate of the last cuts therefore have another cause. Their
	// share of the requests is the noise, averaged over about 1/noiseStep requests and
	// at most noiseMost: a provider that refuses more is nearly closed, and fewer
	// requests help it. Each cut lowers peak by peakStep, in case the limit has fallen.
	lowPart   = 0.7
	noiseStep = 0.05
	noiseMost = 0.5
	peakStep  = 0.05

	// Refusals are an episode when they exceed the share that noise and excessPart
	// explain. Without noise one refusal is enough; with it, excessMost times the root
	// of the noise more, which is how far chance spreads them.
	excessPart = 0.1
	excessMost = 6.0

	// unaskedFor is how long nobody must have waited for the rate to be forgotten.
	unaskedFor = time.Minute

	lateSeconds = 0.02 // a turn taken this late is not lost: timers are late
	stepMost    = 250 * time.Millisecond
)

// learner has the rate that was learned from refusals, as of the time at.
type learner struct {
	paced  bool
	start  bool          // slow start: the rate doubles each second
	shut   bool          // none of the last requests was accepted: one is sent now and then as a test
	rate   float64       // requests a second
	peak   float64       // the rate after the last cuts, of which lowPart is safely below the limit
	part   float64       // of the rate that is this process', with peers; 0: without
	from   float64       // where the part begins
	turns  float64       // of all processes, so far
	turn   float64       // the last one that was looked at
	given  float64       // requests that the slow start has allowed, of all processes
	noise  float64       // the share that is refused at any rate; kept when the rate is forgotten
	excess float64       // refusals since the last cut beyond those that noise explains
	credit float64       // a request may go when it is 1
	at     time.Time     // in the future while a told time is waited for
	known  bool          // the limit is: an episode has followed the slow start
	cut    uint64        // refusals of requests up to this one are ignored
	end    time.Time     // of the slow start
	calm   time.Time     // the last episode, plus the told times since
	held   time.Time     // when a request last waited for the rate
	asked  time.Time     // when a request last waited, for any reason
	delay  time.Duration // how long the last refusal took to come
	toll   time.Duration // the told times since the last episode
	recent []*sent       // oldest first
}

// begin starts pacing, with a slow start from rate.
func (l *learner) begin(now time.Time, rate float64, seq uint64) {
	*l = learner{noise: l.noise, part: l.part, from: l.from, paced: true, start: true, rate: rate, at: now, cut: seq, calm: now, held: now, asked: now}
}

// startAt raises the rate of a slow start that no request has tried yet.
func (l *learner) startAt(rate float64) {
	if l.paced && l.start && len(l.recent) == 0 {
		l.rate = max(l.rate, min(rate, startMost))
	}
}

// advance updates rate and credit to now.
func (l *learner) advance(now time.Time) {
	l.reopen(now)
	for l.paced && now.After(l.at) {
		d := min(stepMost, now.Sub(l.at))
		before := l.rate
		l.rate = l.grown(d.Seconds())
		more := (before + l.rate) / 2 * d.Seconds()
		l.given += more
		if l.shares() {
			l.step(more)
		} else {
			l.credit = min(l.credit+more, 1+l.rate*lateSeconds)
		}
		l.at = l.at.Add(d)
		if l.rate >= rateFree || l.at.Sub(later(l.asked, l.calm)) >= unaskedFor {
			*l = l.forgotten()
		}
	}
}

// forgotten is what is left when the rate is forgotten.
func (l *learner) forgotten() learner { return learner{noise: l.noise, part: l.part, from: l.from} }

// reopen begins a slow start when a request that a shut learner has sent has not been
// refused within the time that refusals take. It does not wait for the answer, which
// may take minutes.
func (l *learner) reopen(now time.Time) {
	if !l.shut {
		return
	}
	for _, s := range slices.Backward(l.recent) {
		if s.seq <= l.cut {
			return
		}
		if !s.refused && now.Sub(s.at) > 2*l.delay+100*time.Millisecond {
			l.shut, l.start = false, true
			return
		}
	}
}

// grown returns the rate s seconds from now.
func (l *learner) grown(s float64) float64 {
	unheld := l.at.Sub(l.held).Seconds() > max(1, 2/l.rate)
	if l.shares() {
		unheld = l.at.Sub(l.held) > max(slack, seconds(2/l.rate))
	}
	exact := l.toll > 0 && l.toll <= exactMost
	switch {
	case l.start && !(unheld && exact):
		return l.rate * math.Exp2(s)
	case l.shut, unheld:
		return l.rate
	}
	perSecond, calm := tollPerSecond, calmRequests/l.rate
	if l.dear() {
		perSecond, calm = dearPerSecond, calmPerToll*l.toll.Seconds()
	}
	s /= 1 + perSecond*min(2, l.toll.Seconds())
	switch {
	case l.at.Sub(l.calm).Seconds() >= max(calmLeast, min(calm, calmMost)):
		return l.rate * math.Exp2(s/doubleEvery)
	case l.rate > addAbove:
		return l.rate + growAdd*s
	}
	return l.rate * (1 + growPart*min(1, l.rate)*s)
}

// dear reports whether a refusal costs many requests, all that could be sent in the told
// time, and the limit is known.
func (l *learner) dear() bool { return l.known && l.rate > cutAbove && l.toll >= tollSmall }

// due reports whether a request may go.
func (l *learner) due() bool { return !l.paced || l.credit >= 1-tiny }

// hold records that a request waits, perhaps for the rate. A rate that nobody waits
// for does not grow, because no refusal would show that it is too high.
func (l *learner) hold(now time.Time) {
	l.asked = now
	if !l.due() {
		l.held = now
	}
}

// wait returns how long it takes from l.at, at speed times the rate, until a request
// with before others ahead of it may go.
func (l *learner) wait(before int, speed float64) time.Duration {
	if l.shares() {
		if l.due() {
			before-- // it has a turn
		}
		if before < 0 {
			return 0
		}
		return seconds((l.until() + float64(before)/l.part) / (l.rate * speed))
	}
	return seconds((float64(before) + 1 - l.credit) / (l.rate * speed))
}

// sent records a request that is sent now.
func (l *learner) sent(s *sent) {
	if !l.paced {
		return
	}
	l.credit = max(0, l.credit-1)
	l.excess = max(0, l.excess-l.noise-excessPart)
	if s.low = l.rate <= lowPart*l.peak; s.low {
		l.noise -= l.noise * noiseStep // until it is refused
	}
	if len(l.recent) == recentsMost {
		l.recent = slices.Delete(l.recent, 0, recentsMost/2)
	}
	s.rate = l.rate
	l.recent = append(l.recent, s)
}

// back removes a request that was not made.
func (l *learner) back(s *sent) {
	if i := slices.Index(l.recent, s); i >= 0 {
		l.recent = slices.Delete(l.recent, i, i+1)
		l.credit = min(l.credit+1, 1+l.rate*lateSeconds)
	}
}

// refused records a refusal and reports whether it begins a new episode. last is the
// number of the last request that was sent.
func (l *learner) refused(now time.Time, s *sent, last uint64) bool {
	if !l.paced {
		l.begin(now, rateStart, last)
		return true
	}
	if s == nil || s.seq <= l.cut {
		return false
	}
	l.delay = now.Sub(s.at)
	if s.low {
		l.learnNoise(s)
	}
	l.excess++
	if l.excess < 1+excessMost*math.Sqrt(l.noise) {
		return false
	}
	if l.start && l.early() {
		// Some requests of the burst before it arrive late, and use up what is there.
		l.rate = max(rateProbe, l.rate/2)
		l.excess, l.credit, l.cut = 0, 0, last
		return true
	}
	began := l.start
	if l.start {
		l.start, l.end = false, now
	}
	span := spanMost
	if l.toll == 0 { // during a told time nothing was sent, which would distort the count
		span = min(span, max(spanLeast, now.Sub(l.end)))
	}
	c := l.counted(now, span)
	if began && c.rate > cutAbove { // most of what was sent before was sent at a much lower rate
		c = l.counted(now, spanLeast)
	}
	l.cutTo(c)
	l.known = l.known || !began
	l.calm = later(l.calm, now)
	l.excess, l.credit, l.cut, l.toll = 0, 0, last, 0
	return true
}

// early reports whether a slow start has sent too little for a refusal to end it.
func (l *learner) early() bool {
	if l.shares() {
		return l.given < startLeast
	}
	return len(l.recent) < startLeast
}

// learnNoise records the refusal of a request that was sent at a low rate. One that
// follows another is not counted: a closed window refuses everything, which says
// nothing about the rest of the time.
func (l *learner) learnNoise(s *sent) {
	step := noiseStep
	if i := slices.Index(l.recent, s); i <= 0 || l.recent[i-1].refused {
		step *= l.noise
	}
	l.noise = min(noiseMost, l.noise+step)
}

// count summarizes the last requests.
type count struct {
	requests int     // how many were counted
	rate     float64 // accepted requests a second; 0: none was accepted
}

// cutTo lowers the rate to the accepted rate.
func (l *learner) cutTo(c count) {
	if l.shut = c.rate == 0 || l.shares() && c.requests == 1 && l.rate <= 2*rateProbe; l.shut {
		l.rate = max(rateProbe, l.rate/2)
		return
	}
	most := l.rate * cutSlow
	if l.rate > cutAbove {
		most = l.rate * cutFast
	}
	if c.requests < countLeast {
		c.rate = max(c.rate, l.rate/2)
	}
	if l.rate > cutAbove && l.toll >= tollSmall {
		c.rate *= cutFast // which has the burst that the provider allows
	}
	l.rate = min(most, c.rate)
	l.proved()
	l.rate = max(rateFloor, l.rate)
}

// proved takes the rate after a cut for one that was accepted. With peers it is an estimate: if
// it is cut again soon, it was too high.
func (l *learner) proved() {
	if l.shares() && l.at.Sub(l.calm).Seconds() < calmLeast {
		l.peak = l.rate
	}
	l.peak = max(l.rate, l.peak*(1-peakStep))
}

// counted counts the requests of the time span, at least countLeast of them, by the
// time at which they were sent: the header of a whole answer arrives with the answer,
// whose length must not affect the rate. A request that was not refused counts as
// accepted, unless it is younger than a refusal takes to arrive.
func (l *learner) counted(now time.Time, span time.Duration) count {
	if l.shares() {
		return l.countedOfAll(now, span)
	}
	var c count
	accepted, oldest := 0, time.Duration(0)
	for _, s := range slices.Backward(l.recent) {
		age := now.Sub(s.at) - l.delay
		if age < 0 {
			continue
		}
		if age > span && c.requests >= countLeast {
			break
		}
		c.requests++
		oldest = age
		if !s.refused {
			accepted++
		}
	}
	c.rate = float64(accepted) / max(oldest.Seconds(), 0.01)
	return c
}

// pause stops the rate, its growth and its calm until t, the time of the first turn
// after a told time.
func (l *learner) pause(t time.Time, wait time.Duration) {
	if l.paced && t.After(l.at) {
		l.at, l.calm = t, l.calm.Add(t.Sub(l.at))
		switch {
		case !l.shares():
			l.credit = 1
		case wait > exactMost:
			l.credit = 0 // what all have saved would come at once
		}
		l.toll = max(l.toll, wait)
	}
}

// resume ends a pause.
func (l *learner) resume(now time.Time) {
	if l.at.After(now) {
		l.at, l.calm = now, now
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
