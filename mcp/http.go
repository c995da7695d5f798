package mcp

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"time"
)

// farewell is how long the end of a session may take that the server is told of.
const farewell = 2 * time.Second

// caller sends the requests to a server's URL, with its headers.
type caller struct {
	headers map[string]string
	base    *http.Transport
}

// newHTTP returns a client for one session. Its connections are the session's own, so that
// none is left when it has ended.
func newHTTP(s *settings) (client *http.Client, end func()) {
	base := &http.Transport{Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true}
	if standard, ok := http.DefaultTransport.(*http.Transport); ok {
		base = standard.Clone()
	}
	return &http.Client{
		Transport: &caller{s.headers, base},
		CheckRedirect: func(req *http.Request, via []*http.Request) error {
			switch {
			case !sameHost(req.URL, s.url):
				return errors.New("the server redirects to another host, to which its keys are not sent")
			case len(via) >= 10:
				return errors.New("the server redirects more than 10 times")
			}
			return nil
		},
	}, base.CloseIdleConnections
}

func sameHost(a, b *url.URL) bool { return a.Scheme == b.Scheme && a.Host == b.Host }

// RoundTrip implements [http.RoundTripper].
func (c *caller) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx, cancel := req.Context(), func() {}
	if req.Method == http.MethodDelete { // the SDK waits 5 s for it
		ctx, cancel = context.WithTimeout(ctx, farewell)
	}
	sent := req.Clone(ctx)
	for name, value := range c.headers {
		sent.Header.Set(name, value)
	}
	response, err := c.base.RoundTrip(sent)
	if err != nil {
		cancel()
		return nil, err
	}
	response.Body = &ending{response.Body, cancel}
	return response, nil
}

// ending calls a function when a body is closed.
type ending struct {
	io.ReadCloser
	end func()
}

func (e *ending) Close() error {
	defer e.end()
	return e.ReadCloser.Close()
}
