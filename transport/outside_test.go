package transport_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"

	"llmcall/transport"
)

// What a Transport is given, and what it hands on, is of types that it does not
// know.

// bare is a body of a type that can't be compared.
type bare struct {
	io.Reader
	done func() error
}

func (b bare) Close() error { return b.done() }

// listed is a context of a type that can't be compared.
type listed struct {
	context.Context
	values map[string]string
}

// golang/go#29768, golang/go#70535
func TestBodiesAndContextsNeedNotBeComparable(t *testing.T) {
	for name, c := range map[string]struct {
		maxBody int64
		again   bool
		context bool
	}{
		"a body with GetBody": {again: true},
		"a body that is kept": {},
		"a body that is not":  {maxBody: -1},
		"a context":           {again: true, context: true},
		"both":                {maxBody: -1, context: true},
	} {
		v := serve()
		closed := 0
		content := func() (io.ReadCloser, error) {
			return bare{strings.NewReader(`{"model":"m"}`), func() error { closed++; return nil }}, nil
		}
		r := post(t, chat, "")
		r.Body, _ = content()
		r.GetBody, r.ContentLength = nil, -1
		if c.again {
			r.GetBody = content
		}
		if c.context {
			r = r.WithContext(listed{r.Context(), map[string]string{"a": "b"}})
		}
		got, err := send(newTransport(t, v, func(cfg *transport.Config) { cfg.MaxBody = c.maxBody }), r)
		if got != "200 fine" || err != nil || v.got[0] != `{"model":"m"}` || closed == 0 {
			t.Errorf("%s: %q, %v, sent %q, closed %d", name, got, err, v.got, closed)
		}
	}
}

// A connection that was upgraded is written to, and half closed.
// What net/http sends again by itself, after GOAWAY for one, it takes from
// GetBody.
func TestTheBaseCanSendTheBodyAgain(t *testing.T) {
	for name, c := range map[string]struct {
		body    io.Reader
		maxBody int64
		want    string // what GetBody gives; "" if there is none
	}{
		"given with GetBody": {strings.NewReader("prompt"), 0, "prompt"},
		"kept":               {io.MultiReader(strings.NewReader("prompt")), 0, "prompt"},
		"not kept":           {io.MultiReader(strings.NewReader("prompt")), -1, ""},
		"too large":          {io.MultiReader(strings.NewReader("prompt")), 3, ""},
	} {
		var got string
		tr, err := transport.New(transport.Config{Endpoints: registry(t), MaxBody: c.maxBody, Base: base(func(r *http.Request) (*http.Response, error) {
			io.Copy(io.Discard, r.Body)
			r.Body.Close()
			if r.GetBody != nil {
				again, err := r.GetBody()
				if err != nil {
					return nil, err
				}
				content, _ := io.ReadAll(again)
				got = string(content)
			}
			return status(200, "fine")(r)
		})})
		if err != nil {
			t.Fatal(err)
		}
		r, err := http.NewRequestWithContext(t.Context(), "POST", chat, c.body)
		if err != nil {
			t.Fatal(err)
		}
		if answer, err := send(tr, r); answer != "200 fine" || err != nil || got != c.want {
			t.Errorf("%s: %q, %v, GetBody gives %q", name, answer, err, got)
		}
		if _, isReader := c.body.(*strings.Reader); !isReader && r.GetBody != nil {
			t.Errorf("%s: the caller's request was changed", name)
		}
	}
}
