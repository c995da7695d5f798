package endpoint

import (
	"slices"
	"time"
)

// Bounds of what an endpoint remembers of its answers' quality.
const (
	qualitySets   = 16 // sets of checks; the one used longest ago is forgotten
	qualityChecks = 64 // different checks of a set
)

// Quality says when an endpoint is to be passed over for its answers: when one check has
// found fault with Share of the last Answers answers that were held to the same set of
// checks. It is then passed over for For.
type Quality struct {
	Answers int           // at least 1
	Share   float64       // above 0, at most 1
	For     time.Duration // above 0
}

// PassedOver says that an endpoint is not to be asked for a while, because its answers do
// not pass a check. It is not unavailable.
type PassedOver struct {
	Checks string // the set of checks
	Check  string // the one that its answers do not pass
	Until  time.Time
}

// memory is what an endpoint remembers of the answers that were held to one set of checks.
type memory struct {
	checks string
	names  []string // of checks that have found fault, whose index is the bit in answers
	failed []uint64 // by which checks, of each of the last answers, oldest first
	over   PassedOver
}

// Judged records an answer that was held to a set of checks, and the names of those that
// found fault with it. Sets are told apart by the text that names them. After
// the time for which an endpoint is passed over, each further answer decides again.
func (e *Endpoint) Judged(checks string, faults []string, q Quality) {
	e.mu.Lock()
	defer e.mu.Unlock()
	m := e.remembered(checks)
	if m == nil {
		m = &memory{checks: checks}
	}
	e.quality = append(slices.DeleteFunc(e.quality, func(o *memory) bool { return o == m }), m)
	if len(e.quality) > qualitySets {
		e.quality = slices.Delete(e.quality, 0, 1)
	}
	bits := uint64(0)
	for _, name := range faults {
		at := slices.Index(m.names, name)
		if at < 0 && len(m.names) < qualityChecks {
			at, m.names = len(m.names), append(m.names, name)
		}
		if at >= 0 {
			bits |= 1 << at
		}
	}
	if m.failed = append(m.failed, bits); len(m.failed) > q.Answers {
		m.failed = slices.Delete(m.failed, 0, len(m.failed)-q.Answers)
	}
	if bits == 0 || len(m.failed) < q.Answers {
		return
	}
	for at, name := range m.names {
		n := 0
		for _, f := range m.failed {
			n += int(f >> at & 1)
		}
		if float64(n) >= q.Share*float64(q.Answers) {
			m.over = PassedOver{checks, name, time.Now().Add(q.For)}
			return
		}
	}
}

// remembered returns what is known of a set of checks, or nil. e.mu must be held.
func (e *Endpoint) remembered(checks string) *memory {
	at := slices.IndexFunc(e.quality, func(m *memory) bool { return m.checks == checks })
	if at < 0 {
		return nil
	}
	return e.quality[at]
}

// PassedOver reports whether the endpoint is passed over for now, where answers are held to
// a set of checks.
func (e *Endpoint) PassedOver(checks string) (PassedOver, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if m := e.remembered(checks); m != nil && time.Now().Before(m.over.Until) {
		return m.over, true
	}
	return PassedOver{}, false
}

// passedOver returns for which sets of checks the endpoint is passed over. e.mu must be held.
func (e *Endpoint) passedOver() (all []PassedOver) {
	for _, m := range e.quality {
		if time.Now().Before(m.over.Until) {
			all = append(all, m.over)
		}
	}
	return all
}
