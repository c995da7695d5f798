package transport_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"llmcall/endpoint"
	"llmcall/pace"
	"llmcall/retry"
	"llmcall/transport"
)

// A watchdog may close a stream while its reader is at the event that tells of a
// failure.
func TestAStreamMayBeClosedWhileItsErrorIsRead(t *testing.T) {
	for range 20 {
		tr, e := watched(t, base(func(*http.Request) (*http.Response, error) {
			events := io.NopCloser(strings.NewReader("data: {\"error\":{\"message\":\"busy\"}}\n\n"))
			return &http.Response{StatusCode: 200, Header: http.Header{"Content-Type": {sse}}, Body: events}, nil
		}), func(c *transport.Config) { c.MaxAttempts = 1 })
		response, err := tr.RoundTrip(post(t, chat, "{}"))
		if err != nil {
			t.Fatal(err)
		}
		var done sync.WaitGroup
		done.Go(func() { _, _ = response.Body.Read(make([]byte, 512)) })
		done.Go(func() { response.Body.Close() })
		done.Wait()
		if e.Snapshot().Pace.InFlight != 0 {
			t.Fatalf("%+v", e.Snapshot())
		}
	}
}

// An error names the host that was asked, which need not be a model's.
func TestAnErrorNamesTheHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var said []string
		v := serve(status(503, "no"), body(sse, "data: {\"error\":{\"message\":\"busy\"}}\n\n", nil))
		tr := newTransport(t, v, func(c *transport.Config) {
			c.Observer = failures(func(e retry.Event) { said = append(said, e.Err.Error()) })
		})
		for _, address := range []string{"https://pay.example.com/v1/charges", chat} {
			if _, err := send(tr, post(t, address, "{}")); err != nil {
				t.Fatal(err)
			}
		}
		if len(said) != 2 || !strings.HasPrefix(said[0], "pay.example.com: transient (HTTP 503)") || !strings.HasPrefix(said[1], "api.example.com: ") {
			t.Errorf("%q", said)
		}
	})
}

// A body that nobody closes holds its place no longer than its request's context.
func TestABodyThatIsNotClosedEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		endpoints, err := endpoint.NewRegistry(endpoint.Config{Limits: func(endpoint.Key) pace.Limits { return pace.Limits{MaxConcurrent: 1} }})
		if err != nil {
			t.Fatal(err)
		}
		var ends atomic.Int64
		v := serve(stalling(200, "half", 0, ""))
		tr, e := watched(t, v, func(c *transport.Config) {
			c.Endpoints = endpoints
			c.Observer = func(_ context.Context, e retry.Event) context.Context {
				if e.Type == retry.CallEnded {
					ends.Add(1)
				}
				return nil
			}
		})
		ctx, cancel := context.WithTimeout(t.Context(), 5*s)
		defer cancel()
		response, err := tr.RoundTrip(post(t, chat, "{}").WithContext(ctx))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := send(tr, post(t, chat, "{}")); got != "200 fine" || err != nil || v.at[1] != 5*s {
			t.Errorf("%q, %v at %v", got, err, v.at)
		}
		response.Body.Close()
		synctest.Wait()
		if n := e.Snapshot().Pace.InFlight; n != 0 || ends.Load() != 2 {
			t.Errorf("%d in flight, %d calls ended", n, ends.Load())
		}
	})
}
