package transport_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"llmcall/failure"
	"llmcall/retry"
	"llmcall/transport"
)

// stalling is a failed response whose body begins, and then takes its time: it
// goes on with rest after a while, or not at all if rest is "". It ends with the
// request's context, as those of net/http do.
func stalling(code int, begin string, after time.Duration, rest string, header ...string) reply {
	return func(r *http.Request) (*http.Response, error) {
		response, err := status(code, "", header...)(r)
		pipe, w := io.Pipe()
		response.Body = pipe
		context.AfterFunc(r.Context(), func() { w.CloseWithError(r.Context().Err()) })
		go func() {
			io.WriteString(w, begin)
			if rest == "" {
				return
			}
			time.Sleep(after)
			io.WriteString(w, rest)
			w.Close()
		}()
		return response, err
	}
}

// The status of a failure is known with its header: its body is not waited for
// for ever (huggingface.js#2374, llmgateway#1733).
func TestABodyOfAFailureThatStallsHoldsNothingUp(t *testing.T) {
	for name, c := range map[string]struct {
		script []reply
		change func(*transport.Config)
		want   string
		at     []time.Duration
	}{
		"a 503 without end is retried": {[]reply{stalling(503, "", 0, "")}, nil, "200 fine", []time.Duration{0, 6 * s}},
		"and one that begins":          {[]reply{stalling(503, `{"error":`, 0, "")}, nil, "200 fine", []time.Duration{0, 6 * s}},
		"a time in the header counts":  {[]reply{stalling(429, "", 0, "", "Retry-After", "30")}, nil, "200 fine", []time.Duration{0, 30 * s}},
		"what has come counts": {[]reply{stalling(429, `{"error":{"code":"insufficient_quota"}}`, 60*s, " ")},
			nil, `429 {"error":{"code":"insufficient_quota"}} `, []time.Duration{0}},
		"the rest follows":          {[]reply{stalling(400, "half ", 60*s, "whole")}, nil, "400 half whole", []time.Duration{0}},
		"just in time":              {[]reply{stalling(503, "a", 4999*time.Millisecond, "b")}, nil, "200 fine", []time.Duration{0, 5999 * time.Millisecond}},
		"a limit is for the header": {[]reply{stalling(503, "a", 0, "")}, func(c *transport.Config) { c.AttemptTimeout = 2 * s }, "200 fine", []time.Duration{0, 6 * s}},
		"and cuts no body":          {[]reply{stalling(400, "half ", 4*s, "whole")}, func(c *transport.Config) { c.AttemptTimeout = 2 * s }, "400 half whole", []time.Duration{0}},
	} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			v := serve(c.script...)
			got, err := send(newTransport(t, v, c.change), post(t, chat, `{"model":"m"}`).WithContext(ctx))
			if got != c.want || err != nil {
				t.Errorf("%s: %q, %v, want %q", name, got, err, c.want)
			}
			if !timely(v.at, c.at) {
				t.Errorf("%s: sent at %v, want %v", name, v.at, c.at)
			}
			if v.open.Load() != 0 {
				t.Errorf("%s: %d bodies are open", name, v.open.Load())
			}
		})
	}
}

func TestTheCallersContextEndsTheWaitForTheBodyOfAFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 2*s)
		defer cancel()
		v := serve(stalling(503, "a", 0, ""))
		_, err := send(newTransport(t, v, nil), post(t, chat, "{}").WithContext(ctx))
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(v.start) != 2*s || v.open.Load() != 0 {
			t.Errorf("%v after %v, %d bodies are open", err, time.Since(v.start), v.open.Load())
		}
	})
}

// A body that does not heed the context leaves the caller alone with the Read
// that it asks for, and lets it go when it closes.
func TestABodyThatStallsCanBeClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pipe, _ := io.Pipe()
		v := serve(func(*http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: 400, Header: http.Header{}, Body: pipe}, nil
		})
		response, err := newTransport(t, v, nil).RoundTrip(post(t, chat, "{}"))
		if err != nil || time.Since(v.start) != 5*s {
			t.Fatalf("%v after %v", err, time.Since(v.start))
		}
		time.AfterFunc(s, func() { response.Body.Close() })
		if _, err := io.ReadAll(response.Body); err == nil {
			t.Error("a body that was closed is whole")
		}
	})
}

// The context is minded where the body does not mind it, too.
func TestTheCallersContextEndsTheWaitForABodyThatDoesNotHeedIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pipe, _ := io.Pipe()
		v := serve(func(*http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: 400, Header: http.Header{}, Body: pipe}, nil
		})
		ctx, cancel := context.WithTimeout(t.Context(), 2*s)
		defer cancel()
		_, err := send(newTransport(t, v, nil), post(t, chat, "{}").WithContext(ctx))
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(v.start) != 2*s || v.open.Load() != 0 {
			t.Errorf("%v after %v, %d bodies are open", err, time.Since(v.start), v.open.Load())
		}
	})
}

// The connection of a failure that has come whole is free before it is read.
func TestTheBodyOfAFailureIsClosedWhenItHasCome(t *testing.T) {
	v := serve(status(400, "bad"))
	response, err := newTransport(t, v, nil).RoundTrip(post(t, chat, "{}"))
	if err != nil || v.open.Load() != 0 {
		t.Fatalf("%v, %d bodies are open", err, v.open.Load())
	}
	if text, err := io.ReadAll(response.Body); string(text) != "bad" || err != nil {
		t.Errorf("%q, %v", text, err)
	}
	response.Body.Close()
}

func TestTheBodyOfAFailureIsReadInPieces(t *testing.T) {
	text := strings.Repeat("0123456789", 300_000)
	v := serve(status(400, text))
	response, err := newTransport(t, v, nil).RoundTrip(post(t, chat, "{}"))
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	var got strings.Builder
	piece := make([]byte, 777)
	for {
		n, err := response.Body.Read(piece)
		got.Write(piece[:n])
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if got.String() != text {
		t.Errorf("%d bytes of %d", got.Len(), len(text))
	}
}

// An error at the end of a body comes to the caller after what came before it.
func TestABodyOfAFailureThatBreaksOffComesAsFarAsItCame(t *testing.T) {
	torn := errors.New("torn")
	v := serve(func(*http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: 400, Header: http.Header{}, Body: io.NopCloser(io.MultiReader(strings.NewReader("half"), fault{torn}))}, nil
	})
	got, err := send(newTransport(t, v, nil), post(t, chat, "{}"))
	if got != "400 half" || !errors.Is(err, torn) || v.open.Load() != 0 {
		t.Errorf("%q, %v, %d open", got, err, v.open.Load())
	}
}

type fault struct{ error }

func (f fault) Read([]byte) (int, error) { return 0, f.error }

type bomb struct{}

func (bomb) Read([]byte) (int, error) { panic("body") }

// A body is read on a goroutine of its own, where a panic would end the program.
func TestAPanicOfABodyEndsItAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var kind failure.Kind
		v := serve(func(*http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: 503, Header: http.Header{}, Body: io.NopCloser(bomb{})}, nil
		})
		tr := newTransport(t, v, func(c *transport.Config) { c.Observer = failures(func(e retry.Event) { kind = e.Kind }) })
		got, err := send(tr, post(t, chat, "{}"))
		if got != "200 fine" || err != nil || kind != failure.Transient || v.open.Load() != 0 {
			t.Errorf("%q, %v, %v, %d open", got, err, kind, v.open.Load())
		}
	})
}
