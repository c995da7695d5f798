package transport

import (
	"context"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"
)

const (
	// maxProblem is how many bytes are read of a response that tells of a failure.
	maxProblem = 1 << 20
	// problemTime is how long they are waited for: the status has come and tells
	// the most, and a server that is ill may never send the rest.
	problemTime = 5 * time.Second
)

// problem is the body of a response that tells of a failure: what was read of
// it, and then the rest.
type problem struct {
	body io.ReadCloser
	done chan struct{} // closed when nothing more comes into kept

	mu   sync.Mutex
	more sync.Cond
	kept []byte // the beginning: it grows, and what it holds does not change
	full bool   // nothing more comes into kept
	end  error  // what the body ended with; nil: it goes on after kept
	read int    // of kept, by the caller
}

// peek reads the beginning of a body, for as long as it takes, or until its
// time or ctx ends. The body is then read further as it comes, for a caller who
// goes on.
func peek(ctx context.Context, content io.ReadCloser) *problem {
	p := &problem{body: content, done: make(chan struct{})}
	p.more.L = &p.mu
	go p.fill()
	late := time.NewTimer(problemTime)
	defer late.Stop()
	select {
	case <-p.done:
	case <-late.C:
	case <-ctx.Done():
	}
	return p
}

// beginning returns what has come by now.
func (p *problem) beginning() []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.kept
}

// fill reads the beginning. A body that has ended is closed at once, so that its
// connection is free.
func (p *problem) fill() {
	defer close(p.done)
	for full := false; !full; {
		p.mu.Lock()
		p.kept = slices.Grow(p.kept, 512)
		length := len(p.kept)
		space := p.kept[length:min(cap(p.kept), maxProblem)]
		p.mu.Unlock()

		n, err := readSafely(p.body, space)
		if err != nil {
			p.body.Close()
		}
		full = err != nil || length+n == maxProblem

		p.mu.Lock()
		p.kept, p.end, p.full = p.kept[:length+n], err, full
		p.more.Broadcast()
		p.mu.Unlock()
	}
}

// readSafely is Read on a goroutine where nobody else recovers from a panic.
func readSafely(r io.Reader, to []byte) (n int, err error) {
	defer func() {
		if v := recover(); v != nil {
			n, err = 0, fmt.Errorf("transport: %T panicked: %v", r, v)
		}
	}()
	if n, err = r.Read(to); n < 0 || n > len(to) {
		n, err = 0, fmt.Errorf("transport: %T read %d bytes into %d", r, n, len(to))
	}
	return n, err
}

func (p *problem) Read(to []byte) (int, error) {
	p.mu.Lock()
	for p.read == len(p.kept) && !p.full {
		p.more.Wait()
	}
	n := copy(to, p.kept[p.read:])
	p.read += n
	all, end := p.read == len(p.kept) && p.full, p.end
	p.mu.Unlock()
	switch {
	case n > 0 || len(to) == 0 || !all:
		return n, nil
	case end != nil:
		return 0, end
	}
	return p.body.Read(to)
}

func (p *problem) Close() error { return p.body.Close() }
