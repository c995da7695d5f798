package record

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"llmcall/failure"
)

// Player answers requests with recordings, each recording once. It is safe for concurrent
// use.
type Player struct {
	// Speed is how fast answers come: 1 as they came when they were recorded, 10 ten times
	// as fast. It must not be changed while requests are answered. Default 0: at once.
	Speed float64

	dir   string
	names map[string]bool

	lock   sync.Mutex
	queues map[identity][]string // the paths of the recordings of a request that are left, in their order
	used   map[identity]int
	all    []string
}

// Open returns a Player of the recordings in a directory. It reads them all, and keeps only
// their names. The error is that of the first file that can't be read (see [Read]), or of
// package os, or says that there are none.
func Open(dir string) (*Player, error) {
	p := &Player{dir: dir, names: map[string]bool{}, queues: map[identity][]string{}, used: map[identity]int{}}
	for r, err := range All(dir) {
		if err != nil {
			return nil, fmt.Errorf("record: %w", err)
		}
		p.all = append(p.all, r.Path)
		if r.Call != nil {
			p.names[r.Call.Model] = true
		}
		if r.cancelled() {
			continue
		}
		k, err := r.key()
		if err != nil {
			return nil, fmt.Errorf("record: %s: %w", r.Path, err)
		}
		p.queues[k] = append(p.queues[k], r.Path)
	}
	if len(p.all) == 0 {
		return nil, fmt.Errorf("record: %s holds no recordings (files ending in %s)", dir, extension)
	}
	return p, nil
}

// Models returns the full names of the recorded models, sorted.
func (p *Player) Models() []string { return slices.Sorted(maps.Keys(p.names)) }

// Left returns the paths of the recordings that no request has got, sorted by time: a test
// may want none. Those that their caller cancelled are not among them.
func (p *Player) Left() []string {
	p.lock.Lock()
	defer p.lock.Unlock()
	var left []string
	for _, queue := range p.queues {
		left = append(left, queue...)
	}
	slices.Sort(left)
	return left
}

// take returns the next recording of a request. The error is a *MissingError, or of a
// file that was changed meanwhile.
func (p *Player) take(k identity, asked *Recording) (*Recording, error) {
	p.lock.Lock()
	queue := p.queues[k]
	if len(queue) == 0 {
		used := p.used[k]
		p.lock.Unlock()
		return nil, p.missing(asked, used)
	}
	p.queues[k] = queue[1:]
	p.used[k]++
	p.lock.Unlock()
	r, err := Read(queue[0])
	if err != nil {
		return nil, &failure.Error{Kind: failure.InvalidRequest, Message: "record: " + err.Error(), Err: err}
	}
	return r, nil
}

// timing lets the pieces of an answer come when they came.
type timing struct {
	speed float64
	begun time.Time
}

func (p *Player) begin() timing { return timing{p.Speed, time.Now()} }

// until waits for a time that is counted from the request.
func (t timing) until(ctx context.Context, at time.Duration) error {
	if t.speed <= 0 || ctx.Err() != nil {
		return ctx.Err()
	}
	wait := time.Duration(float64(at)/t.speed) - time.Since(t.begun)
	if wait <= 0 {
		return nil
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
