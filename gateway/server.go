package gateway

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"golang.org/x/net/netutil"
)

// The bounds of connections. An answer itself has none but the route's.
const (
	headerTimeout  = 10 * time.Second
	idleTimeout    = 2 * time.Minute
	maxHeader      = 64 << 10
	maxConnections = 10_000
	// bodyTimeout is how long a client may take to send a request, and slowest how long for
	// reading a piece of what is written to it.
	bodyTimeout = 2 * time.Minute
	slowest     = 30 * time.Second
	piece       = 64 << 10
)

// Listener is where a [Gateway] listens.
type Listener struct {
	// Clients is the address for clients, Admin that for operators; nil if both are the
	// same.
	Clients, Admin net.Listener
}

// Listen opens the addresses of a configuration.
func Listen(cfg *Config) (*Listener, error) {
	clients, err := net.Listen("tcp", cmp.Or(cfg.Listen, DefaultListen))
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	l := &Listener{Clients: clients}
	if cfg.Admin.Listen == "" {
		return l, nil
	}
	if l.Admin, err = net.Listen("tcp", cfg.Admin.Listen); err != nil {
		return nil, errors.Join(fmt.Errorf("admin.listen: %w", err), clients.Close())
	}
	return l, nil
}

// Serve serves until ctx ends, and then what is in flight for at most the configuration's
// ShutdownTimeout. It returns nil if everything had ended by then.
func (g *Gateway) Serve(ctx context.Context, l *Listener) error {
	servers := []*http.Server{newServer(g.Handler())}
	listeners := []net.Listener{netutil.LimitListener(l.Clients, maxConnections)}
	if l.Admin != nil {
		servers, listeners = append(servers, newServer(g.Admin())), append(listeners, netutil.LimitListener(l.Admin, maxConnections))
	}
	failed := make(chan error, len(servers))
	for i, server := range servers {
		go func() { failed <- server.Serve(listeners[i]) }()
	}
	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), cmp.Or(g.state.Load().cfg.ShutdownTimeout, DefaultShutdownTimeout))
	defer cancel()
	err = errors.Join(err, g.Shutdown(limit))
	for _, server := range servers {
		if server.Shutdown(limit) != nil {
			_ = server.Close() // what did not end in time is cut off
		}
	}
	return err
}

// bounded is a handler whose clients can't hold it for ever by not sending the body that
// they announced, or by not reading what is written.
func bounded(h http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		out := &boundedWriter{w, http.NewResponseController(w)}
		if r.Body != nil && r.Body != http.NoBody {
			// Even of a body that no handler wants the server reads up to 256 KiB before it
			// answers. Not every ResponseWriter has deadlines, such as that of a test.
			_ = out.control.SetReadDeadline(time.Now().Add(bodyTimeout))
		}
		h(out, r)
	})
}

// boundedWriter gives its client a time for each piece.
type boundedWriter struct {
	http.ResponseWriter
	control *http.ResponseController
}

// Unwrap is for [http.ResponseController].
func (w *boundedWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *boundedWriter) WriteHeader(status int) {
	_ = w.control.SetWriteDeadline(time.Now().Add(slowest))
	w.ResponseWriter.WriteHeader(status)
}

// Write writes in pieces, so that a long answer may take longer than a short one.
func (w *boundedWriter) Write(text []byte) (n int, err error) {
	for first := true; err == nil && (first || len(text) > 0); first = false {
		_ = w.control.SetWriteDeadline(time.Now().Add(slowest))
		var m int
		m, err = w.ResponseWriter.Write(text[:min(len(text), piece)])
		n, text = n+m, text[m:]
	}
	return n, err
}

func newServer(h http.Handler) *http.Server {
	return &http.Server{Handler: h, ReadHeaderTimeout: headerTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeader}
}
