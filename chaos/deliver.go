package chaos

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"time"
)

// deliver sends the reply.
func (s *Server) deliver(w http.ResponseWriter, r *http.Request, rp reply, v *visit) {
	if !s.wait(r.Context(), rp.delay) {
		panic(http.ErrAbortHandler)
	}
	if rp.build != nil {
		leave, err := s.large.take(r.Context(), s.closing.Done())
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		defer leave()
		rp = rp.build()
	}
	out, free := s.sender(w)
	defer free()
	switch {
	case rp.hang:
		select {
		case <-r.Context().Done():
		case <-s.closing.Done():
		}
		panic(http.ErrAbortHandler)
	case rp.gone:
		panic(http.ErrAbortHandler)
	case rp.reset:
		resetConnection(out.control)
		return
	}
	for name, values := range rp.header {
		w.Header()[name] = values
	}
	s.tellLimits(w.Header(), rp)
	out.extend()
	w.WriteHeader(rp.status)
	flush := len(rp.pieces) > 1 || rp.abrupt
	if flush {
		_ = out.control.Flush() // a client that is gone is not a failure of the server; so below
	}
	for i, piece := range rp.pieces[:rp.send] {
		if i > 0 && !s.wait(r.Context(), rp.pause) {
			panic(http.ErrAbortHandler)
		}
		if i == rp.send-1 && rp.fill == 0 {
			// After the last piece the client may send its next request before this
			// handler returns, and must not find this one still being served.
			v.end(rp.ending)
		}
		if i == 0 && rp.fill > 0 {
			if !writeFilled(out, piece, rp.fillAt, rp.fill) {
				return
			}
		} else if _, err := out.Write(piece); err != nil {
			return
		}
		if flush {
			_ = out.control.Flush()
		}
	}
	if rp.abrupt {
		panic(http.ErrAbortHandler)
	}
	v.end(rp.ending)
}

// sender writes to a client with a deadline: one that stops reading without going away
// would keep its handler and its place for ever.
type sender struct {
	w       http.ResponseWriter
	control *http.ResponseController
	closing context.Context
}

// sendTimeout is how long a client may read nothing, as nginx's send_timeout.
const sendTimeout = time.Minute

// sender returns a sender that ends with the server. free must be called before
// the handler returns.
func (s *Server) sender(w http.ResponseWriter) (out *sender, free func()) {
	out = &sender{w, http.NewResponseController(w), s.closing}
	hurried := make(chan struct{})
	stop := context.AfterFunc(s.closing, func() {
		defer close(hurried)
		out.within(drainTimeout)
	})
	return out, func() {
		if !stop() {
			<-hurried // a ResponseWriter must not be used later
		}
	}
}

func (o *sender) Write(piece []byte) (int, error) {
	o.extend()
	return o.w.Write(piece)
}

// extend sets the deadline of the next write.
func (o *sender) extend() {
	o.within(sendTimeout)
	if o.closing.Err() != nil { // restore the deadline of Close
		o.within(drainTimeout)
	}
}

// within sets a deadline for writes, if the ResponseWriter supports it.
func (o *sender) within(d time.Duration) { _ = o.control.SetWriteDeadline(time.Now().Add(d)) }

// tellLimits adds the provider's headers about limits, except those that the plan has
// set.
func (s *Server) tellLimits(h http.Header, rp reply) {
	switch {
	case rp.provider == nil:
	case s.limiter == nil:
		addMissing(h, rp.provider.unlimited(time.Now()))
	case rp.account != nil:
		if !s.plan.Limits.tellsHeaders() {
			return
		}
		now := time.Now()
		for which, room := range s.limiter.Rooms(rp.account, now) {
			addMissing(h, rp.provider.LimitHeader(which, room, now))
		}
	}
}

func addMissing(h, more http.Header) {
	for name, values := range more {
		if _, set := h[name]; !set {
			h[name] = values
		}
	}
}

// wait waits, and reports whether neither the client nor the server has closed.
func (s *Server) wait(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return true
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
	case <-s.closing.Done():
	}
	return false
}

// resetConnection closes the connection so that the client gets a TCP RST and not an
// orderly end, by a linger of 0.
func resetConnection(control *http.ResponseController) {
	conn, _, err := control.Hijack()
	if err != nil {
		panic(http.ErrAbortHandler) // HTTP/2 resets the stream for this
	}
	inner := conn
	if t, ok := conn.(interface{ NetConn() net.Conn }); ok { // TLS
		inner = t.NetConn()
	}
	if t, ok := inner.(*net.TCPConn); ok {
		_ = t.SetLinger(0) // fails only on a connection that is closed already
	}
	_ = inner.Close()
}

// writeFilled writes a piece with size bytes of filling inserted at an offset, and reports
// whether everything was sent.
func writeFilled(w io.Writer, piece []byte, at, size int) bool {
	if _, err := w.Write(piece[:at]); err != nil {
		return false
	}
	for size > 0 {
		n, err := w.Write(filling[:min(size, len(filling))])
		if err != nil {
			return false
		}
		size -= n
	}
	_, err := w.Write(piece[at:])
	return err == nil
}

var filling = bytes.Repeat([]byte("a"), 64<<10)
