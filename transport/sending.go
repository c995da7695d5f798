package transport

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"
	"time"
)

// sending is one attempt's request on its way, and the limit on the wait for
// its response.
type sending struct {
	limit     time.Duration      // 0: none
	stoppable bool               // the attempt may be cancelled while its body is read
	cancel    context.CancelFunc // nil if it can't be cancelled
	timer     *time.Timer
	way       *way // nil if it does not matter
}

// way is how far a request came.
type way struct {
	traced atomic.Bool // whoever sends it tells
	wrote  atomic.Bool // it was begun to be written
}

// begin returns the request to send: the original with ctx, if that is not nil,
// and with content, if that is not nil, for its body. It shares the header with
// the original, which nobody changes, or is the original, where nothing of it is
// to be another. Whether it reaches the server is watched if watch says that it
// matters.
func (s *sending) begin(ctx context.Context, r *http.Request, content io.ReadCloser, again func() (io.ReadCloser, error), watch bool) *http.Request {
	if s.limit == 0 && !s.stoppable && !watch && content == nil && ctx == nil {
		return r
	}
	if ctx == nil {
		ctx = r.Context()
	}
	if s.limit > 0 || s.stoppable {
		ctx, s.cancel = context.WithCancel(ctx)
	}
	if s.limit > 0 {
		s.timer = time.AfterFunc(s.limit, s.cancel)
	}
	if watch {
		w := new(way)
		s.way = w
		ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
			GetConn:          func(string) { w.traced.Store(true) },
			WroteHeaderField: func(string, []string) { w.wrote.Store(true) },
			WroteHeaders:     func() { w.wrote.Store(true) },
		})
	}
	request := r.WithContext(ctx)
	if content != nil {
		request.Body, request.GetBody = content, again
	}
	return request
}

// unsent reports whether a request that failed is known not to have reached the
// server.
func (s *sending) unsent(err error) bool {
	if s.way != nil && s.way.traced.Load() {
		return !s.way.wrote.Load()
	}
	operation, ok := errors.AsType[*net.OpError](err)
	return ok && operation.Op == "dial"
}

// answered ends the wait for a response, and reports whether it was longer than
// the limit.
func (s *sending) answered() (expired bool) { return s.timer != nil && !s.timer.Stop() }

// end ends the attempt.
func (s *sending) end() {
	if s.cancel != nil {
		s.cancel()
	}
}

// until returns a body that ends the attempt when it is closed.
func (s *sending) until(content io.ReadCloser) io.ReadCloser {
	if s.cancel == nil {
		return content
	}
	return ending{content, s.cancel}
}

type ending struct {
	io.ReadCloser
	end context.CancelFunc
}

func (e ending) Close() error {
	defer e.end()
	return e.ReadCloser.Close()
}
