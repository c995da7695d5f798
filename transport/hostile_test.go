package transport_test

import (
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

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
