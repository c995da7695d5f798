package transport_test

import (
	"context"
	"io"
	"math"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"llmcall/endpoint"
	"llmcall/transport"
)

func TestABodyIsWholeWithoutALimitOnItsLength(t *testing.T) {
	v := serve()
	r := post(t, chat, `{"model":"m"}`)
	r.GetBody, r.ContentLength = nil, -1
	var key endpoint.Key
	tr := newTransport(t, v, func(c *transport.Config) {
		c.MaxBody = math.MaxInt64
		c.Key = func(r *http.Request, body func() io.ReadCloser) endpoint.Key {
			key = transport.ByModel(r, body)
			return key
		}
	})
	if got, err := send(tr, r); got != "200 fine" || err != nil || v.got[0] != `{"model":"m"}` || key.Model != "m" {
		t.Errorf("%q, %v; sent %q for %v", got, err, v.got, key)
	}
}

// A response that comes as the limit ends has a body whose context has ended: it
// is one that did not come.
func TestAResponseThatComesTooLateIsNotHandedOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		late := func(r *http.Request) (*http.Response, error) {
			time.Sleep(3 * s)
			return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(ended{r.Context()})}, nil
		}
		v := serve(late)
		got, err := send(newTransport(t, v, func(c *transport.Config) { c.AttemptTimeout = 2 * s }), post(t, chat, "{}"))
		if got != "200 fine" || err != nil || len(v.at) != 2 || v.open.Load() != 0 {
			t.Errorf("%q, %v after %d requests, %d bodies open", got, err, len(v.at), v.open.Load())
		}
	})
}

// ended is a body that can be read as long as the request's context lives.
type ended struct{ ctx context.Context }

func (e ended) Read([]byte) (int, error) {
	if err := e.ctx.Err(); err != nil {
		return 0, err
	}
	return 0, io.EOF
}

type base func(*http.Request) (*http.Response, error)

func (b base) RoundTrip(r *http.Request) (*http.Response, error) { return b(r) }

// What http.Client takes from a RoundTripper, or calls an error, is no panic
// here either.
func TestABaseThatLeavesThingsOutIsNoPanic(t *testing.T) {
	for name, c := range map[string]struct {
		answer *http.Response
		want   string
	}{
		"no header":         {&http.Response{StatusCode: 400, Body: io.NopCloser(strings.NewReader("odd"))}, "400 odd"},
		"no body":           {&http.Response{StatusCode: 204, Header: http.Header{}}, "204 "},
		"neither, a failed": {&http.Response{StatusCode: 400}, "400 "},
		"nothing":           {nil, ""},
	} {
		synctest.Test(t, func(t *testing.T) {
			b := base(func(*http.Request) (*http.Response, error) { return c.answer, nil })
			tr, err := transport.New(transport.Config{Endpoints: registry(t), Base: b, AttemptTimeout: s})
			if err != nil {
				t.Fatal(err)
			}
			got, err := send(tr, post(t, chat, "{}"))
			if got != c.want || (err != nil) != (c.answer == nil) {
				t.Errorf("%s: %q, %v", name, got, err)
			}
		})
	}
}
