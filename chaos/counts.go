package chaos

import "sync"

// Counts is what has become of the requests that a Server got:
//
//	Requests = Answered + RateLimited + Overloaded + Failed + Serving + Waiting
type Counts struct {
	// Requests is how many came.
	Requests int
	// Answered is how many got what they asked for, with status 200 and to the
	// last piece: an answer that is right, or wrong as the plan has it.
	Answered int
	// RateLimited is how many were refused by the plan's limits of requests and
	// tokens, Overloaded how many because the queue was full.
	RateLimited, Overloaded int
	// Failed is how many ended in another way: with an error of the plan's, an
	// answer that was cut off or ended in an error, a request that was wrong, or
	// a client that went away.
	Failed int
	// Serving is how many are being served at this moment, MostServing the most
	// that ever were; Limits.Concurrent bounds both. Waiting is how many have
	// come and not got so far: they are being read, or wait for a place.
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

// reset forgets all but the requests that are here.
func (t *tally) reset() {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.counts
	t.counts = Counts{Requests: c.Serving + c.Waiting, Serving: c.Serving, MostServing: c.Serving, Waiting: c.Waiting}
}

// visit is a request from its arrival to its end. Only the goroutine that serves
// it calls its methods.
type visit struct {
	tally      *tally
	serving    bool
	ended      bool
	leavePlace func() // nil where it holds none
}

func (t *tally) arrive() *visit {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.counts.Requests++
	t.counts.Waiting++
	return &visit{tally: t}
}

// serve notes that the request is served from now on, in a place that leavePlace
// gives back.
func (v *visit) serve(leavePlace func()) {
	v.tally.mu.Lock()
	defer v.tally.mu.Unlock()
	v.serving, v.leavePlace = true, leavePlace
	c := &v.tally.counts
	c.Waiting--
	c.Serving++
	c.MostServing = max(c.MostServing, c.Serving)
}

// end counts the request and gives its place back. Only the first call does.
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
