package pace

import (
	"slices"
	"time"
)

const (
	// answersKept is how many of the last answers say how long the next one takes.
	answersKept = 16
	// cutOffTook is how long an answer that the end of its call cut off counts as, as a
	// multiple of the time that it had: longer, so that what is reckoned with grows until
	// there are answers.
	cutOffTook = 1.5
	// wholePart is the part of its time with which a call always gets a turn, however long
	// answers took: otherwise none would be left to tell that they are shorter again.
	wholePart = 0.9
	// halfPart is the same, where other calls could use the turn.
	halfPart = 0.5
)

// answerTimes has how long the last answers took, from the turn to the end of the body. A turn
// is not given to a call that has less time left.
type answerTimes struct {
	took        []time.Duration
	next        int           // of took, to be replaced
	least, most time.Duration // of took; 0 before there are answers
}

// ended records how long the answer to s took, or that the end of its call cut it off.
func (a *answerTimes) ended(now time.Time, s *sent) {
	took := now.Sub(s.at)
	switch {
	case !s.end.IsZero() && !now.Before(s.end) && !s.refused:
		took = time.Duration(float64(took) * cutOffTook)
	case !s.answered:
		return
	}
	if len(a.took) < answersKept {
		a.took = append(a.took, took)
	} else {
		a.took[a.next] = took
		a.next = (a.next + 1) % answersKept
	}
	a.least, a.most = slices.Min(a.took), slices.Max(a.took)
}

// lastTurn returns when w must have its turn, if it is not to wait in vain.
func (a *answerTimes) lastTurn(w *waiter) time.Time {
	return w.before(a.least, wholePart)
}

// wastes reports whether a turn that w gets now is of no use: all answers took longer than w
// has left. If others could use it, it is enough that one did, and that w has waited for half
// of its time.
func (a *answerTimes) wastes(now time.Time, w *waiter, others bool) bool {
	if w.cost.End.IsZero() || !now.Before(w.deadline) {
		return false
	}
	return now.After(a.lastTurn(w)) || others && now.After(w.before(a.most, halfPart))
}

// before returns the time of a turn that leaves w so much time for an answer, or this part
// of the time that it had when it began to wait; at most its deadline.
func (w *waiter) before(answer time.Duration, part float64) time.Time {
	if w.cost.End.IsZero() {
		return w.deadline
	}
	whole := time.Duration(float64(w.cost.End.Sub(w.since)) * part)
	if t := w.cost.End.Add(-min(answer, whole)); t.Before(w.deadline) {
		return t
	}
	return w.deadline
}
