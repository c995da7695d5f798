package mcp

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"
)

const (
	// signOfLife is how long a server may take to answer a ping after a call that ran out
	// of time.
	signOfLife = 2 * time.Second
	// leaving is how long the SDK may take to leave a call whose context has ended. It
	// can't while the server does not read what is written to it.
	leaving = 100 * time.Millisecond
)

// errSessionOver is the cause of the end of a call whose session has ended.
var errSessionOver = errors.New("its session has ended")

// session is a connection to a server.
type session struct {
	client   *sdk.ClientSession // nil until it is open
	process  *process           // nil for a URL
	endHTTP  func()
	captured *captured

	life     context.Context // ends with the session
	kill     context.CancelFunc
	over     chan struct{} // closed when the connection has ended
	mu       sync.Mutex    // held to start what runs, and to end all of it
	running  sync.WaitGroup
	calls    atomic.Int64 // under way
	doubtful atomic.Bool  // a call ran out of time
	ending   sync.Once
}

// captured remembers the connection of a transport, so that it can be ended while the SDK
// waits for a server.
type captured struct {
	sdk.Transport
	made atomic.Pointer[sdk.Connection]
}

func (c *captured) Connect(ctx context.Context) (sdk.Connection, error) {
	conn, err := c.Transport.Connect(ctx)
	if err == nil {
		c.made.Store(&conn)
	}
	return conn, err
}

// openSession starts the server's command, or reaches for its URL, and shakes hands. The
// protocol's version is the newest, or the one given. With an error nothing is left running.
func openSession(ctx context.Context, s *server, version string) (*session, error) {
	n := &session{over: make(chan struct{}), endHTTP: func() {}}
	n.life, n.kill = context.WithCancel(context.Background())
	transport, err := n.transport(s)
	if err != nil {
		n.kill()
		return nil, s.told(err.Error())
	}
	client := sdk.NewClient(&sdk.Implementation{Name: "llmcall", Version: clientVersion()}, s.clientOptions())
	opened := make(chan error, 1)
	n.running.Go(func() {
		made, err := client.Connect(ctx, transport, &sdk.ClientSessionOptions{ProtocolVersion: version})
		n.client = made
		opened <- err
	})
	select {
	case err = <-opened:
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	if err != nil {
		if n.process != nil && ctx.Err() == nil {
			n.process.endsWithin(leaving) // its end is the cause, and it says more
		}
		err = s.toldIn(ctx, "it can't be connected: "+n.because(err))
		n.end(true)
		return nil, err
	}
	n.running.Go(func() {
		_ = n.client.Wait() // whoever calls hears why
		close(n.over)
	})
	return n, nil
}

func (n *session) transport(s *server) (sdk.Transport, error) {
	if s.url != nil {
		client, end := newHTTP(&s.settings)
		n.endHTTP = end
		n.captured = &captured{Transport: &sdk.StreamableClientTransport{Endpoint: s.url.String(), HTTPClient: client}}
		return n.captured, nil
	}
	var err error
	if n.process, err = startProcess(&s.settings); err != nil {
		return nil, err
	}
	n.captured = &captured{Transport: &sdk.IOTransport{Reader: keptOpen{n.process.stdout}, Writer: n.process.stdin}}
	return n.captured, nil
}

// because is an error of the session, with what its process says.
func (n *session) because(err error) string {
	if n.process == nil {
		return err.Error()
	}
	return err.Error() + "; " + n.process.said()
}

// do runs a function that asks the server. It returns when ctx or the session has ended,
// even if the function does not.
func (n *session) do(ctx context.Context, f func(context.Context) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(n.life, func() { cancel(errSessionOver) })()
	done := make(chan error, 1)
	if !n.starts(func() { done <- f(ctx) }) {
		return errSessionOver
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	n.doubtful.Store(true)
	select {
	case <-done:
	case <-time.After(leaving):
		n.kill() // it does not even read
	}
	return context.Cause(ctx)
}

// starts runs a function that asks the server, unless the session has ended.
func (n *session) starts(f func()) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.life.Err() != nil {
		return false
	}
	n.calls.Add(1)
	n.running.Go(func() {
		defer n.calls.Add(-1)
		f()
	})
	return true
}

// isOver reports whether the session can't be used any more.
func (n *session) isOver() bool {
	select {
	case <-n.over:
		return true
	case <-n.life.Done():
		return true
	default:
		return false
	}
}

// lives asks for a sign of life where there is doubt. A server that is at work on another
// call may not answer because of it, and is not asked.
func (n *session) lives(ctx context.Context) bool {
	if n.isOver() {
		return false
	}
	if !n.doubtful.Load() || n.calls.Load() > 0 {
		return true
	}
	limited, cancel := context.WithTimeout(ctx, signOfLife)
	defer cancel()
	err := n.do(limited, func(ctx context.Context) error { return n.client.Ping(ctx, nil) })
	if limited.Err() != nil && ctx.Err() == nil || n.isOver() {
		return false
	}
	n.doubtful.Store(err != nil && ctx.Err() != nil) // any answer is a sign
	return true
}

// end ends the session, and returns when nothing is left of it.
func (n *session) end(atOnce bool) {
	n.ending.Do(func() {
		n.mu.Lock()
		n.kill()
		n.mu.Unlock()
		if n.process != nil {
			n.process.end(atOnce)
		}
		if made := n.captured.made.Load(); made != nil {
			_ = (*made).Close() // there is nobody to tell
		}
		n.running.Wait()
		if n.client != nil {
			_ = n.client.Close()
		}
		n.endHTTP()
	})
}
