package pace

import (
	"math"
	"time"
)

// The numbers of the learned rate.
const (
	rateStart  = 2.0    // a second, after the first refusal
	rateFloor  = 0.05   // a second: one in 20 s
	rateFree   = 2000.0 // a second: it paces nobody
	rateCut    = 0.9    // of the rate, at most, after an episode
	rateGrows  = 0.005  // a second, of the rate
	rateSteady = 10.0   // a second: above it, the rate grows
	rateAdds   = 0.25   // by so many a second each second

	calm       = 8 * time.Second // without a refusal, and the rate
	calmDouble = 5 * time.Second // doubles in each such time

	acceptedSpan  = 3 * time.Second // what is counted to know what is accepted
	acceptedLeast = 6               // requests, at least
	recentMost    = 512             // requests that are remembered

	late = 0.02 // s: a turn that is taken so late is not lost
	step = 250 * time.Millisecond
)

// learner is the rate that is learned from refusals, as of at.
type learner struct {
	paced  bool
	start  bool    // the slow start: doubling each second
	rate   float64 // requests a second
	credit float64 // a request may go if it is 1
	at     time.Time
	cut    uint64        // requests up to this one say nothing new
	last   time.Time     // the last refusal, or the end of the closing after it
	delay  time.Duration // how long that refusal took to come
	recent []*sent       // oldest first
}

// begin starts to pace at a rate that doubles each second.
func (l *learner) begin(now time.Time, rate float64, seq uint64) {
	*l = learner{paced: true, start: true, rate: rate, at: now, cut: seq, last: now}
}

// advance brings rate and credit up to now.
func (l *learner) advance(now time.Time) {
	for l.paced && now.After(l.at) {
		d := min(step, now.Sub(l.at))
		before := l.rate
		l.rate = l.grown(d.Seconds())
		l.credit = min(l.credit+(before+l.rate)/2*d.Seconds(), 1+l.rate*late)
		l.at = l.at.Add(d)
		if l.rate >= rateFree {
			*l = learner{}
		}
	}
}

// grown is the rate after so many seconds more.
func (l *learner) grown(s float64) float64 {
	switch {
	case l.start:
		return l.rate * math.Exp2(s)
	case l.at.Sub(l.last) >= calm:
		return l.rate * math.Exp2(s/calmDouble.Seconds())
	case l.rate > rateSteady:
		return l.rate + rateAdds*s
	}
	return l.rate * (1 + rateGrows*s)
}

// due says whether a request may go.
func (l *learner) due() bool { return !l.paced || l.credit >= 1-tiny }

// wait is how long it is, at so many times the rate, until a request with so
// many before it may go.
func (l *learner) wait(before int, speed float64) time.Duration {
	return seconds((float64(before) + 1 - l.credit) / (l.rate * speed))
}

// sent takes in a request that goes now.
func (l *learner) sent(s *sent) {
	if !l.paced {
		return
	}
	l.credit = max(0, l.credit-1)
	if len(l.recent) == recentMost {
		l.recent = l.recent[:copy(l.recent, l.recent[1:])]
	}
	l.recent = append(l.recent, s)
}

// back takes it out.
func (l *learner) back(s *sent) {
	for i, other := range l.recent {
		if other == s {
			l.recent = append(l.recent[:i], l.recent[i+1:]...)
			l.credit++
			return
		}
	}
}

// refused takes in that request s was refused, and says whether it is a new
// episode. seq is the last request that was sent.
func (l *learner) refused(now time.Time, s *sent, seq uint64) bool {
	if !l.paced {
		l.begin(now, rateStart, seq)
		return true
	}
	if l.at.Before(now) {
		l.at = now
	}
	l.last = later(l.last, now)
	if s == nil || s.seq <= l.cut {
		return false
	}
	l.delay = now.Sub(s.at)
	l.start = false
	l.rate = max(rateFloor, min(rateCut*l.rate, l.accepted(now)))
	l.credit = 0
	l.cut = seq
	return true
}

// accepted is how many requests a second were accepted, by the time of sending.
func (l *learner) accepted(now time.Time) float64 {
	end := now.Add(-l.delay)
	n, accepted, span := 0, 0, time.Duration(0)
	for i := len(l.recent) - 1; i >= 0; i-- {
		s := l.recent[i]
		age := end.Sub(s.at)
		if age < 0 {
			continue
		}
		if age > acceptedSpan && n >= acceptedLeast {
			break
		}
		n++
		if !s.refused {
			accepted++
		}
		span = age
	}
	if accepted == 0 {
		return 0
	}
	return float64(accepted) / max(span.Seconds(), 0.01)
}

// pause stops the rate, and its growth, until t, when the first turn comes.
func (l *learner) pause(t time.Time) {
	if l.paced && t.After(l.at) {
		l.at, l.last, l.credit = t, later(l.last, t), 1
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
