package chaos

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"
)

// DefaultAddress is the default address of [Listen]: a free port on loopback.
const DefaultAddress = "127.0.0.1:0"

// Listen opens a listener for [Server.Serve] at host:port. Default "":
// [DefaultAddress]. Port 0 is a free one. An address without a host is an error, since
// it would expose the server to the whole network by mistake; for that write 0.0.0.0
// or [::].
func Listen(addr string) (net.Listener, error) {
	if addr == "" {
		addr = DefaultAddress
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, fmt.Errorf("the address must be host:port, such as 127.0.0.1:8080, got %q: %w", addr, err)
	}
	if host == "" {
		return nil, fmt.Errorf("the address must have a host (127.0.0.1:%[2]s for this machine alone, 0.0.0.0:%[2]s for the whole network), got %[1]q", addr, port)
	}
	return net.Listen("tcp", addr)
}

// The timeouts of connections. There is none for an answer, since a fault may take as
// long as the plan says.
const (
	headerTimeout = 10 * time.Second
	idleTimeout   = 2 * time.Minute
	drainTimeout  = time.Second
)

// Serve serves requests on ln until ctx ends. Then it ends all waits, closes ln, gives
// the answers that are being sent up to a second, and returns nil. It returns an error
// only if ln fails.
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
