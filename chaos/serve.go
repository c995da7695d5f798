package chaos

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"
)

// DefaultAddress is where Listen listens if it is told no address: loopback, a
// free port.
const DefaultAddress = "127.0.0.1:0"

// Listen opens the listener for Serve at host:port; port 0 is a free one. It
// refuses an address without a host, which would be open to the whole network
// by an oversight: who wants that writes 0.0.0.0 or [::].
func Listen(addr string) (net.Listener, error) {
	if addr == "" {
		addr = DefaultAddress
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, fmt.Errorf("address %q: takes host:port, such as 127.0.0.1:8080: %w", addr, err)
	}
	if host == "" {
		return nil, fmt.Errorf("address %q: takes a host before the port: 127.0.0.1:%[2]s for this machine alone, 0.0.0.0:%[2]s for the whole network", addr, port)
	}
	return net.Listen("tcp", addr)
}

// The limits on connections. There is none on the time of an answer: a fault
// may take as long as its plan says.
const (
	headerTimeout = 10 * time.Second
	idleTimeout   = 2 * time.Minute
	drainTimeout  = time.Second
)

// Serve answers on ln until ctx ends, then ends all waits, closes ln, lets the
// answers that are under way go out for up to a second, and returns nil. It
// returns with an error if ln fails.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	ctx, stop := context.WithCancel(ctx)
	server := &http.Server{
		Handler:           s,
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       idleTimeout,
		BaseContext:       func(net.Listener) context.Context { return ctx },
	}
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		<-ctx.Done()
		limit, cancel := context.WithTimeout(context.Background(), drainTimeout)
		defer cancel()
		if server.Shutdown(limit) != nil {
			_ = server.Close() // what did not end in time is cut off
		}
	}()
	err := server.Serve(ln)
	stop()
	<-drained
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}
