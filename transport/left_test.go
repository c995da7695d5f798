package transport_test

import (
	"context"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"llmcall/retry"
	"llmcall/transport"
)

func TestAPanicOfTheObserverEndsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := serve(status(500, strings.Repeat("y", 2<<20)))
		tr := newTransport(t, v, func(c *transport.Config) {
			c.Observer = func(context.Context, retry.Event) context.Context { panic("observer") }
		})
		got, err := send(tr, post(t, chat, "{}"))
		if got != "200 fine" || err != nil || v.open.Load() != 0 {
			t.Errorf("%q, %v, %d bodies are open", got, err, v.open.Load())
		}
	})
}

type panics struct{}

func (panics) Delay(int) time.Duration { panic("backoff") }

// A panic of what the user gave goes on, and leaves no connection behind.
func TestAPanicLeavesNoBodyOpen(t *testing.T) {
	for name, change := range map[string]func(*transport.Config){
		"Backoff":    func(c *transport.Config) { c.Backoff = panics{} },
		"Repeatable": func(c *transport.Config) { c.Repeatable = func(*http.Request) bool { panic("repeatable") } },
	} {
		v := serve(status(500, strings.Repeat("y", 2<<20)))
		body := &closing{Reader: strings.NewReader("{}")}
		r := post(t, chat, "")
		r.Body, r.GetBody, r.ContentLength = body, func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("{}")), nil }, 2
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: the panic is gone", name)
				}
			}()
			_, _ = send(newTransport(t, v, change), r)
		}()
		if v.open.Load() != 0 || !body.closed {
			t.Errorf("%s: %d bodies are open, the request's is closed: %v", name, v.open.Load(), body.closed)
		}
	}
}

func TestAResponseThatIsGivenUpIsClosedBeforeTheNextAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		long := strings.Repeat("y", 3<<20)
		v := serve()
		var open []int32
		watched := base(func(r *http.Request) (*http.Response, error) {
			open = append(open, v.open.Load())
			return v.RoundTrip(r)
		})
		v.script = slices.Repeat([]reply{status(500, long)}, 3)
		tr := newTransport(t, v, func(c *transport.Config) { c.Base = watched })
		got, err := send(tr, post(t, chat, "{}"))
		if got != "500 "+long || err != nil {
			t.Errorf("%d bytes, %v", len(got), err)
		}
		if !slices.Equal(open, []int32{0, 0, 0}) || v.open.Load() != 0 {
			t.Errorf("open before the attempts: %v, at the end: %d", open, v.open.Load())
		}
	})
}
