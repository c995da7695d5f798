package chaos

import "sync"

// Counts is the number of requests of a [Server] by outcome:
//
//	Requests = Answered + RateLimited + Overloaded + Failed + Serving + Waiting
type Counts struct {
	// Requests is how many arrived.
	Requests int
	// Answered is how many got a complete answer with status 200, whether the plan made
	// it wrong or not.
	Answered int
	// RateLimited is how many were refused by the plan's limits of requests and tokens,
	// Overloaded how many because the queue was full.
	RateLimited, Overloaded int
	// Failed is how many ended otherwise: with an error of the plan, an answer that was
	// cut off or ended in an error, an error because the request was wrong, or because the
	// client went away.
	Failed int
	// Serving is how many are being served now, MostServing the maximum of it so far;
	// [Limits.Concurrent] bounds both. Waiting is how many are still being read, or wait
	// in the queue.
	Serving, MostServing, Waiting int
}

// ending says how a request ended.
type ending int

const (
	failed ending = iota
	answered
	rateLimited
	overloaded
)

// tally counts requests.
type tally struct {
	mu     sync.Mutex
	counts Counts
}

func (t *tally) snapshot() Counts {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.counts
}

// reset forgets the requests that have ended.
func (t *tally) reset() {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.counts
	t.counts = Counts{Requests: c.Serving + c.Waiting, Serving: c.Serving, MostServing: c.Serving, Waiting: c.Waiting}
}

// visit is a request from its arrival to its end. Only the goroutine that serves it
// calls its methods.
type visit struct {
	tally      *tally
	serving    bool
	ended      bool
	leavePlace func() // nil if it has no place
}

func (t *tally) arrive() *visit {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.counts.Requests++
	t.counts.Waiting++
	return &visit{tally: t}
}

// serve notes that the request is served from now on. leavePlace, if not nil, gives its
// place back.
func (v *visit) serve(leavePlace func()) {
	v.tally.mu.Lock()
	defer v.tally.mu.Unlock()
	v.serving, v.leavePlace = true, leavePlace
	c := &v.tally.counts
	c.Waiting--
	c.Serving++
	c.MostServing = max(c.MostServing, c.Serving)
}

// end counts the request and gives its place back. Later calls do nothing.
func (v *visit) end(how ending) {
	if v.ended {
		return
	}
	v.ended = true
	v.tally.count(how, v.serving)
	if v.leavePlace != nil {
		v.leavePlace() // after the count, or MostServing would exceed the places
	}
}

func (t *tally) count(how ending, serving bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if serving {
		t.counts.Serving--
	} else {
		t.counts.Waiting--
	}
	switch how {
	case answered:
		t.counts.Answered++
	case rateLimited:
		t.counts.RateLimited++
	case overloaded:
		t.counts.Overloaded++
	case failed:
		t.counts.Failed++
	}
}
