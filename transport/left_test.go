package transport_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"llmcall/breaker"
	"llmcall/endpoint"
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

// A hundred requests at once meet half a second of failures. The breaker is on
// here: it opens, and who comes then is told so.
func TestABurstThatMeetsABlipOpensTheCircuit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		endpoints, err := endpoint.NewRegistry(endpoint.Config{})
		if err != nil {
			t.Fatal(err)
		}
		tr, err := transport.New(transport.Config{Endpoints: endpoints, Base: base(func(*http.Request) (*http.Response, error) {
			status := 200
			if time.Since(start) < s/2 {
				status = 503
			}
			return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader("{}"))}, nil
		})})
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() { _, _ = send(tr, post(t, chat, `{"model":"m"}`)) })
		}
		wg.Wait()
		_, err = send(tr, post(t, chat, `{"model":"m"}`))
		if _, open := errors.AsType[*breaker.OpenError](err); !open || !strings.Contains(err.Error(), "OPEN") {
			t.Errorf("after the burst: %v", err)
		}
		time.Sleep(2 * time.Minute)
		if got, err := send(tr, post(t, chat, `{"model":"m"}`)); got != "200 {}" || err != nil {
			t.Errorf("after its recovery: %q, %v", got, err)
		}
	})
}
