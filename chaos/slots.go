package chaos

import (
	"context"
	"errors"
	"sync"
)

// slots are the places of the requests that are being served, and the queue of those
// that wait for one, first come, first served.
type slots struct {
	concurrent, queue int

	mu      sync.Mutex
	taken   int
	waiting []chan struct{} // closed when its owner has a place
}

// Why a request got no place.
var (
	errQueueFull = errors.New("the queue is full")
	errLeft      = errors.New("the client went away while its request waited for a place")
)

// take gets a place, after a wait if necessary. giveBack must be called once. The error
// is errQueueFull, at once, or errLeft if ctx or closed ends first.
func (p *slots) take(ctx context.Context, closed <-chan struct{}) (giveBack func(), err error) {
	p.mu.Lock()
	if p.taken < p.concurrent {
		p.taken++
		p.mu.Unlock()
		return p.giveBack, nil
	}
	if len(p.waiting) >= p.queue {
		p.mu.Unlock()
		return nil, errQueueFull
	}
	turn := make(chan struct{})
	p.waiting = append(p.waiting, turn)
	p.mu.Unlock()
	select {
	case <-turn:
		return p.giveBack, nil
	case <-ctx.Done():
	case <-closed:
	}
	p.leave(turn)
	return nil, errLeft
}

// leave leaves the queue, and gives the place back if it has come in the meantime.
func (p *slots) leave(turn chan struct{}) {
	p.mu.Lock()
	for i, w := range p.waiting {
		if w == turn {
			p.waiting = append(p.waiting[:i], p.waiting[i+1:]...)
			p.mu.Unlock()
			return
		}
	}
	p.mu.Unlock()
	p.giveBack()
}

// giveBack hands the place to the first in the queue. It stays taken, so that a new
// request can't get it first.
func (p *slots) giveBack() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.waiting) == 0 {
		p.taken--
		return
	}
	close(p.waiting[0])
	p.waiting = append(p.waiting[:0], p.waiting[1:]...)
}
