package lua

import (
	"context"
	"errors"
	"slices"
	"time"

	"llmcall/backoff"
	"llmcall/fleet/internal/store"
)

// Errors of a [Client].
var (
	ErrDown   = errors.New("the server is down")
	ErrClosed = errors.New("the client is closed")
)

// Client is a process' connection to a [Server]. It is safe for concurrent use.
type Client struct {
	server *Server

	ctx context.Context // ends with Close
	end context.CancelFunc
	cut bool // under server.mu
}

// watcher is one subscription, from its beginning to its loss.
type watcher struct {
	client  *Client
	channel string
	queue   []mail        // under Server.mu
	wake    chan struct{} // the queue has something
	lost    chan struct{} // closed
}

type mail struct {
	at   time.Time
	text string
}

// Down says whether this client alone can't reach the server.
func (c *Client) Down(yes bool) {
	s := c.server
	s.mu.Lock()
	defer s.mu.Unlock()
	c.cut = yes
	if yes {
		s.part(c.watches)
	}
}

func (c *Client) watches(w *watcher) bool { return w.client == c }

// Run implements [store.Store].
func (c *Client) Run(ctx context.Context, calls []store.Call) []store.Result {
	var got []store.Result // after ask: nobody writes to it any more
	err := c.ask(ctx, func() any {
		all := make([]store.Result, len(calls))
		for i, call := range calls {
			all[i] = c.server.run(call)
		}
		return all
	}, func(answer any) { got = answer.([]store.Result) })
	if err != nil {
		return slices.Repeat([]store.Result{{Err: err}}, len(calls))
	}
	return got
}

// Secret implements [store.Store].
func (c *Client) Secret(ctx context.Context, key, first string) (string, error) {
	var text string
	err := c.ask(ctx, func() any { return c.server.secret(key, first) }, func(answer any) { text = answer.(string) })
	return text, err
}

// Keys implements [store.Store].
func (c *Client) Keys(ctx context.Context, prefix string) ([]string, error) {
	var keys []string
	err := c.ask(ctx, func() any { return c.server.begin(prefix) }, func(answer any) { keys = answer.([]string) })
	return keys, err
}

// ask has the server do something, and takes what it answers.
func (c *Client) ask(ctx context.Context, do func() any, take func(any)) error {
	s := c.server
	s.mu.Lock()
	half := s.latency / 2
	s.mu.Unlock()
	if err := wait(ctx, half); err != nil {
		return err
	}
	answered := make(chan any, 1)
	s.mu.Lock()
	err := c.reachable()
	switch {
	case err != nil:
	case s.hung:
		s.waiting = append(s.waiting, func() { answered <- do() })
	default:
		answered <- do()
	}
	s.mu.Unlock()
	if err != nil {
		return err
	}
	select {
	case answer := <-answered:
		if err := wait(ctx, half); err != nil {
			return err
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if err := c.reachable(); err != nil {
			return err // the answer was lost
		}
		take(answer)
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-c.ctx.Done():
		return ErrClosed
	}
}

// reachable says why the server can't be reached. Server.mu is held.
func (c *Client) reachable() error {
	switch {
	case c.ctx.Err() != nil:
		return ErrClosed
	case c.cut || c.server.down:
		return ErrDown
	}
	return nil
}

func wait(ctx context.Context, d time.Duration) error {
	if d <= 0 || ctx.Err() != nil {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Watch implements [store.Store]. What it calls runs on one goroutine, which ends after stop
// or Close.
func (c *Client) Watch(key string, told func(message string), again func()) (stop func()) {
	ctx, cancel := context.WithCancel(c.ctx)
	go func() {
		defer cancel()
		lost := 0 // tries in a row that failed
		for ctx.Err() == nil {
			w := c.subscribe(store.Channel(key))
			if w == nil {
				if wait(ctx, resubscribe.Delay(lost)) != nil {
					return
				}
				lost++
				continue
			}
			lost = 0
			again()
			for ctx.Err() == nil && w.next(ctx, told) {
			}
			c.server.leave(w)
		}
	}()
	return cancel
}

// resubscribe has no jitter: a simulation can be repeated.
var resubscribe = backoff.Exponential{Initial: 100 * time.Millisecond, Max: 5 * time.Second, Jitter: backoff.NoJitter}

// subscribe returns nil if the server does not answer.
func (c *Client) subscribe(channel string) *watcher {
	s := c.server
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.reachable() != nil || s.hung {
		return nil
	}
	w := &watcher{client: c, channel: channel, wake: make(chan struct{}, 1), lost: make(chan struct{})}
	s.watchers = append(s.watchers, w)
	return w
}

// next waits for a message and passes it on. It returns false if the connection is lost.
func (w *watcher) next(ctx context.Context, told func(string)) bool {
	s := w.client.server
	s.mu.Lock()
	var m mail
	some := len(w.queue) > 0
	if some {
		m, w.queue = w.queue[0], w.queue[1:]
	}
	s.mu.Unlock()
	if !some {
		select {
		case <-w.wake:
			return true
		case <-w.lost:
			return false
		case <-ctx.Done():
			return false
		}
	}
	t := time.NewTimer(time.Until(m.at))
	defer t.Stop()
	select {
	case <-t.C:
	case <-w.lost:
		return false
	case <-ctx.Done():
		return false
	}
	told(m.text)
	return true
}

// leave ends a subscription.
func (s *Server) leave(w *watcher) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.watchers = slices.DeleteFunc(s.watchers, func(other *watcher) bool { return other == w })
}

// Close implements [store.Store].
func (c *Client) Close() { c.end() }
