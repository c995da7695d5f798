package gateway_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"llmcall/gateway"
	"llmcall/llm"
)

// pipes is a listener whose connections are pipes in memory: without a buffer, and with
// deadlines, so that clients that do not read or write can be tried in virtual time.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn), done: make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.once.Do(func() { close(p.done) })
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }

// dial connects a client.
func (p *pipes) dial(t *testing.T) net.Conn {
	t.Helper()
	client, server := net.Pipe()
	select {
	case p.conns <- server:
	case <-p.done:
		t.Fatal("nobody listens")
	}
	return client
}

// onPipes serves a gateway on pipes until the function returned is called, which returns
// what Serve returned and how long it took to end.
func onPipes(g *gateway.Gateway) (p *pipes, end func() (time.Duration, error)) {
	p = newPipes()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- g.Serve(ctx, &gateway.Listener{Clients: p}) }()
	return p, func() (time.Duration, error) {
		start := time.Now()
		cancel()
		err := <-ended
		return time.Since(start), err
	}
}

func request(method, path, body string, header ...string) string {
	text := fmt.Sprintf("%s %s HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: %d\r\n", method, path, len(body))
	for _, h := range header {
		text += h + "\r\n"
	}
	return text + "\r\n" + body
}

// lasts returns how long a connection lives from now on, for a client that reads nothing.
func lasts(c net.Conn) time.Duration {
	start := time.Now()
	for {
		// A write to a pipe that the other side has closed fails at once.
		_ = c.SetWriteDeadline(time.Now().Add(time.Second))
		_, err := c.Write([]byte("x"))
		if errors.Is(err, io.ErrClosedPipe) || time.Since(start) > time.Hour {
			return time.Since(start)
		}
		time.Sleep(time.Second)
	}
}

const longAnswer = 1 << 20

// A client that does not read its answer, whatever it is, does not hold its connection, nor
// its place among the requests in flight.
func TestAClientThatDoesNotRead(t *testing.T) {
	for _, c := range []struct{ name, request string }{
		{"whole", request("POST", "/v1/chat/completions", fmt.Sprintf(hello, "r"))},
		{"stream", request("POST", "/v1/chat/completions", streams[0].body)},
		{"refused", request("POST", "/v1/chat/completions", `{"model":"nothing"}`)},
		{"models", request("GET", "/v1/models", "")},
		{"health", request("GET", "/healthz", "")},
		{"page", request("GET", "/ui/", "")},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := bubble(t, "routes: {r: {models: [a/m]}}", map[string]llm.Model{"a/m": speak("a/m", time.Second, []string{strings.Repeat("long ", longAnswer/5)})})
				p, end := onPipes(g)
				conn := p.dial(t)
				defer conn.Close()
				if _, err := io.WriteString(conn, c.request); err != nil {
					t.Fatal(err)
				}
				if took := lasts(conn); took > 3*time.Minute {
					t.Errorf("the connection lasts %v", took)
				}
				if took, err := end(); err != nil || took > time.Minute {
					t.Errorf("it ended after %v with %v", took, err)
				}
			})
		})
	}
}

// A client that does not send what it announced gets no more than bodyTimeout, whatever it
// asks for.
func TestAClientThatDoesNotSend(t *testing.T) {
	for _, c := range []struct{ name, request string }{
		{"answer", "POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"},
		{"chunked", "POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n"},
		{"not JSON", "POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: text/plain\r\nContent-Length: 100\r\n\r\n{"},
		{"unknown path", "POST /nothing HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100\r\n\r\n{"},
		{"foreign", "POST /v1/chat/completions HTTP/1.1\r\nHost: example.com\r\nContent-Length: 100\r\n\r\n{"},
		{"models", "GET /v1/models HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100\r\n\r\n{"},
		{"health", "GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100\r\n\r\n{"},
		{"page", "GET /ui/ HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100\r\n\r\n{"},
		{"header", "GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nX-A:"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := bubble(t, "routes: {r: {models: [a/m]}}", map[string]llm.Model{"a/m": speak("a/m", time.Second, []string{"Hello"})})
				p, end := onPipes(g)
				conn := p.dial(t)
				defer conn.Close()
				if _, err := io.WriteString(conn, c.request); err != nil {
					t.Fatal(err)
				}
				start := time.Now()
				_ = conn.SetReadDeadline(time.Now().Add(time.Hour))
				_, _ = io.Copy(io.Discard, bufio.NewReader(conn))
				if took := time.Since(start); took > 3*time.Minute {
					t.Errorf("the connection lasts %v", took)
				}
				if took, err := end(); err != nil || took > time.Minute {
					t.Errorf("it ended after %v with %v", took, err)
				}
			})
		})
	}
}
