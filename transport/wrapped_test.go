package transport_test

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"llmcall/transport"
)

type pool struct {
	http.RoundTripper
	closed int
}

func (p *pool) CloseIdleConnections() { p.closed++ }

func TestIdleConnectionsAreClosedThroughIt(t *testing.T) {
	base := &pool{RoundTripper: serve()}
	resilient, err := transport.New(transport.Config{Endpoints: registry(t), Base: base})
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: resilient}
	client.CloseIdleConnections()
	if base.closed != 1 {
		t.Errorf("the base heard of it %d times", base.closed)
	}
	client.Transport = newTransport(t, serve(), nil) // whose base has no such method
	client.CloseIdleConnections()
}

func TestAnUpgradedConnectionIsHandedOnAsItIs(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		c := hijack(w)
		defer c.Close()
		io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
		line, _ := bufio.NewReader(c).ReadString('\n')
		fmt.Fprint(c, "got ", line)
	}))
	defer server.Close()
	for name, change := range map[string]func(*transport.Config){
		"on defaults":              func(*transport.Config) {},
		"with a limit on attempts": func(c *transport.Config) { c.AttemptTimeout = 60 * s },
	} {
		base := http.DefaultTransport.(*http.Transport).Clone()
		defer base.CloseIdleConnections()
		cfg := transport.Config{Endpoints: registry(t), Base: base}
		change(&cfg)
		tr, err := transport.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		r, err := http.NewRequestWithContext(t.Context(), "GET", server.URL+"/v1/realtime", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Connection", "Upgrade")
		r.Header.Set("Upgrade", "echo")
		response, err := tr.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		connection, ok := response.Body.(interface {
			io.ReadWriteCloser
			CloseWrite() error
		})
		if !ok {
			t.Errorf("%s: a %T can't be written to and half closed", name, response.Body)
			response.Body.Close()
			continue
		}
		io.WriteString(connection, "hello\n")
		got, err := io.ReadAll(connection)
		if string(got) != "got hello\n" || err != nil {
			t.Errorf("%s: %q, %v", name, got, err)
		}
		connection.Close()
	}
}
