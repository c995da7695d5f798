package pace

import (
	"math"
	"slices"
	"time"
)

// The numbers of the learned rate. They were found in virtual time, at token
// buckets and fixed windows of 0.05 to 50 a second, and at providers that refuse
// a share whatever the rate (limit_test.go holds them to what they reach).
const (
	rateStart = 2.0    // a second, after the first refusal
	rateFloor = 0.02   // a second, learned
	rateProbe = 0.05   // a second, while nothing is accepted: one in 20 s
	rateFree  = 2000.0 // a second: such a rate paces nobody

	// An episode cuts the rate to what was accepted, and to so much of itself at
	// most. The less it has to fall, the sooner it is back at the limit; at low
	// rates a refusal weighs more.
	cutSlow  = 0.9
	cutFast  = 0.95 // above cutAbove
	cutAbove = 15.0 // a second

	// What is accepted is counted over spanMost, at least over countLeast
	// requests; after the end of a slow start over what has passed since, at least
	// spanLeast, as what was sent before says what was asked for, not what is
	// accepted.
	spanMost   = 2400 * time.Millisecond
	spanLeast  = time.Second
	countLeast = 12
	// startLeast is how many requests a slow start must have sent for a refusal to
	// end it.
	startLeast  = 6
	recentsMost = 512

	// Between episodes the rate grows by a part of itself a second, above addAbove
	// by a constant, so that processes that share a limit converge. Below one
	// a second, it is for each request rather than each second.
	growPart = 0.005
	growAdd  = 0.25 // a second, each second
	addAbove = 10.0 // a second

	// After a calm without an episode it doubles every doubleEvery seconds, to find
	// a limit that was raised. At low rates the calm is counted in requests: each
	// search costs a refusal.
	calmLeast, calmMost, calmRequests = 8.0, 90.0, 40.0 // s, s, requests
	doubleEvery                       = 5.0             // s

	// Where a refusal tells everybody to wait, it costs more than one request:
	// growth is slower by so much for each second of the wait, up to 2 s.
	tollPerSecond = 2.0

	// A limit refuses nothing of a rate that is well below what it accepted. What is
	// refused even so, below lowPart of the rate of the last cuts, is refused
	// whatever the rate: its share is the noise, an average over about
	// 1/noiseStep requests. It is at most noiseMost: what refuses more is nearly
	// closed, and helped by fewer requests. Each cut lowers the mark by peakStep,
	// in case the limit itself has fallen.
	lowPart   = 0.7
	noiseStep = 0.05
	noiseMost = 0.5
	peakStep  = 0.05

	// Refusals are an episode when they exceed the share that the noise and
	// excessPart explain: one of them if there is no noise, and so many more
	// as excessMost times its root, which is how far chance spreads them.
	excessPart = 0.1
	excessMost = 6.0

	// unaskedFor is how long nobody has to wait until the rate is gone.
	unaskedFor = time.Minute

	lateSeconds = 0.02 // a turn that is taken so late, as timers are, is not lost
	stepMost    = 250 * time.Millisecond
)

// learner is the rate that is learned from refusals, as of at.
type learner struct {
	paced  bool
	start  bool          // slow start: the rate doubles each second
	shut   bool          // of the last requests none was accepted: one is sent now and then to look
	rate   float64       // requests a second
	peak   float64       // the rate after the last cuts, of which lowPart is safely below the limit
	noise  float64       // the share that is refused whatever the rate; it outlives the rate
	excess float64       // refusals since the last cut, less those that are no news
	credit float64       // a request may go when it is 1
	at     time.Time     // in the future while a told time is waited for
	cut    uint64        // requests up to this one say nothing new
	end    time.Time     // of the slow start
	calm   time.Time     // the last episode, later by the told times since
	held   time.Time     // when it last held anybody
	asked  time.Time     // when anybody last had to wait, for whatever
	delay  time.Duration // how long the last refusal took to come
	toll   time.Duration // what was told since the last episode
	recent []*sent       // oldest first
}

// begin starts to pace at a rate that doubles each second.
func (l *learner) begin(now time.Time, rate float64, seq uint64) {
	*l = learner{noise: l.noise, paced: true, start: true, rate: rate, at: now, cut: seq, calm: now, held: now, asked: now}
}

// advance brings rate and credit up to now.
func (l *learner) advance(now time.Time) {
	l.reopen(now)
	for l.paced && now.After(l.at) {
		d := min(stepMost, now.Sub(l.at))
		before := l.rate
		l.rate = l.grown(d.Seconds())
		l.credit = min(l.credit+(before+l.rate)/2*d.Seconds(), 1+l.rate*lateSeconds)
		l.at = l.at.Add(d)
		if l.rate >= rateFree || l.at.Sub(later(l.asked, l.calm)) >= unaskedFor {
			*l = learner{noise: l.noise}
		}
	}
}

// reopen begins a slow start when the first request after a time without any
// that was accepted has not been refused for longer than a refusal takes. (Its
// answer may take minutes.)
func (l *learner) reopen(now time.Time) {
	if !l.shut || len(l.recent) == 0 {
		return
	}
	s := l.recent[len(l.recent)-1]
	if s.seq > l.cut && !s.refused && now.Sub(s.at) > 2*l.delay+100*time.Millisecond {
		l.shut, l.start = false, true
	}
}

// grown is the rate after so many seconds more.
func (l *learner) grown(s float64) float64 {
	switch {
	case l.start:
		return l.rate * math.Exp2(s)
	case l.shut, l.at.Sub(l.held).Seconds() > max(1, 2/l.rate):
		return l.rate
	}
	toll := 1 + tollPerSecond*min(2, l.toll.Seconds())
	s /= toll
	switch {
	case l.at.Sub(l.calm).Seconds() >= max(calmLeast, min(calmRequests/l.rate, calmMost)):
		return l.rate * math.Exp2(s/doubleEvery)
	case l.rate > addAbove:
		return l.rate + growAdd*s
	}
	return l.rate * (1 + growPart*min(1, l.rate)*s)
}

// due says whether a request may go.
func (l *learner) due() bool { return !l.paced || l.credit >= 1-tiny }

// hold notes that somebody waits, maybe for the rate. A rate that holds nobody
// does not grow: nothing would show that it is too high.
func (l *learner) hold(now time.Time) {
	l.asked = now
	if !l.due() {
		l.held = now
	}
}

// wait is how long it is from at, at so many times the rate, until a request
// with so many before it may go.
func (l *learner) wait(before int, speed float64) time.Duration {
	return seconds((float64(before) + 1 - l.credit) / (l.rate * speed))
}

// sent takes in a request that goes now.
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
	l.recent = append(l.recent, s)
}

// back takes it out.
func (l *learner) back(s *sent) {
	if i := slices.Index(l.recent, s); i >= 0 {
		l.recent = slices.Delete(l.recent, i, i+1)
		l.credit = min(l.credit+1, 1+l.rate*lateSeconds)
	}
}

// refused takes in that a request was refused, and says whether it is a new
// episode. last is the last request that was sent.
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
	if l.start && len(l.recent) < startLeast {
		// Of the burst before it some requests come late, and take what is there.
		l.rate = max(rateProbe, l.rate/2)
		l.excess, l.credit, l.cut = 0, 0, last
		return true
	}
	if l.start {
		l.start, l.end = false, now
	}
	span := spanMost
	if l.toll == 0 { // a told time leaves a hole in what was sent
		span = min(span, max(spanLeast, now.Sub(l.end)))
	}
	l.cutTo(l.counted(now, span))
	l.calm = later(l.calm, now)
	l.excess, l.credit, l.cut, l.toll = 0, 0, last, 0
	return true
}

// learnNoise takes in the refusal of a request that was sent at a low rate. One
// that follows another is not counted: a closed window refuses all, and says
// nothing of the rest of the time.
func (l *learner) learnNoise(s *sent) {
	step := noiseStep
	if i := slices.Index(l.recent, s); i <= 0 || l.recent[i-1].refused {
		step *= l.noise
	}
	l.noise = min(noiseMost, l.noise+step)
}

// count is what became of the last requests.
type count struct {
	requests int     // that were counted
	rate     float64 // of those that were accepted, a second; 0: none was
}

// cutTo lowers the rate to what was accepted.
func (l *learner) cutTo(c count) {
	if l.shut = c.rate == 0; l.shut {
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
	l.rate = min(most, c.rate)
	l.peak = max(l.rate, l.peak*(1-peakStep))
	l.rate = max(rateFloor, l.rate)
}

// counted looks at the requests of the time span, at least countLeast of them,
// by the time of their sending: the header of a whole answer comes with the
// answer, and its length is none of the rate's business. Not refused is
// accepted, but of those that are younger than a refusal takes to come.
func (l *learner) counted(now time.Time, span time.Duration) count {
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

// pause stops the rate, its growth and its calm until t, when the first turn
// comes, since the provider told everybody to wait.
func (l *learner) pause(t time.Time, wait time.Duration) {
	if l.paced && t.After(l.at) {
		l.at, l.calm, l.credit = t, l.calm.Add(t.Sub(l.at)), 1
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
