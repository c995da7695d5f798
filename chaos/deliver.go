package chaos

import (
	"bytes"
	"context"
	"net"
	"net/http"
	"time"
)

// deliver does what was decided.
func (s *Server) deliver(w http.ResponseWriter, r *http.Request, rp reply, v *visit) {
	if !s.wait(r.Context(), rp.delay) {
		panic(http.ErrAbortHandler)
	}
	control := http.NewResponseController(w)
	switch {
	case rp.hang:
		select {
		case <-r.Context().Done():
		case <-s.closed:
		}
		panic(http.ErrAbortHandler)
	case rp.gone:
		panic(http.ErrAbortHandler)
	case rp.reset:
		reset(control)
		return
	}
	for name, values := range rp.header {
		w.Header()[name] = values
	}
	s.tellLimits(w.Header(), rp)
	w.WriteHeader(rp.status)
	flush := len(rp.pieces) > 1 || rp.abrupt
	if flush {
		_ = control.Flush() // a client that is gone is no failure of the server's; so below
	}
	for i, piece := range rp.pieces[:rp.send] {
		if i > 0 && !s.wait(r.Context(), rp.pause) {
			panic(http.ErrAbortHandler)
		}
		if i == rp.send-1 && rp.fill == 0 {
			// With the last piece the client has all, and may ask again before this
			// handler returns: it must not meet its own request.
			v.end(rp.ending)
		}
		if i == 0 && rp.fill > 0 {
			if !writeFilled(w, piece, rp.fillAt, rp.fill) {
				return
			}
		} else if _, err := w.Write(piece); err != nil {
			return
		}
		if flush {
			_ = control.Flush()
		}
	}
	if rp.abrupt {
		panic(http.ErrAbortHandler)
	}
	v.end(rp.ending)
}

// tellLimits adds what the provider's headers say of limits at this moment.
// What is there already is the plan's and stays.
func (s *Server) tellLimits(h http.Header, rp reply) {
	switch {
	case rp.provider == nil:
	case s.limiter == nil:
		addMissing(h, rp.provider.unlimited(time.Now()))
	case rp.account != nil:
		s.limiter.tell(rp.account, rp.provider, h, time.Now())
	}
}

func addMissing(h, more http.Header) {
	for name, values := range more {
		if _, set := h[name]; !set {
			h[name] = values
		}
	}
}

// wait waits, and reports whether the client and the server are still there.
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
	case <-s.closed:
	}
	return false
}

// reset closes the connection so that the client gets a TCP RST and not an
// orderly end: with a linger of 0 what is not sent yet is thrown away.
func reset(control *http.ResponseController) {
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

// writeFilled writes a piece with many bytes at one of its places, a block at a
// time, and reports whether all went out.
func writeFilled(w http.ResponseWriter, piece []byte, at, size int) bool {
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
