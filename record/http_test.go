package record_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"llmcall/failure"
	"llmcall/record"
)

// sends returns an http.RoundTripper that answers with a body, of a media type.
func sends(mediaType string, body io.Reader) http.RoundTripper {
	return roundTrip(func(r *http.Request) (*http.Response, error) {
		if r.Body != nil {
			if _, err := io.Copy(io.Discard, r.Body); err != nil {
				return nil, err
			}
			r.Body.Close()
		}
		return &http.Response{StatusCode: 200, Header: http.Header{"Content-Type": {mediaType}}, ContentLength: -1, Body: io.NopCloser(body), Request: r}, nil
	})
}

func ask(t *testing.T, ctx context.Context, transport http.RoundTripper, body io.Reader) *http.Response {
	t.Helper()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://acme.example/v1/ask", body)
	if err != nil {
		t.Fatal(err)
	}
	response, err := transport.RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	return response
}

func TestThePiecesOfAnHTTPStreamComeWhenTheyCame(t *testing.T) {
	for speed, want := range map[float64][]time.Duration{
		0: {0, 0, 0, 0}, 1: {250 * time.Millisecond, 300 * time.Millisecond, 350 * time.Millisecond, 350 * time.Millisecond},
		10: {25 * time.Millisecond, 30 * time.Millisecond, 35 * time.Millisecond, 35 * time.Millisecond},
	} {
		synctest.Test(t, func(t *testing.T) {
			p := open(t, filepath.Join("testdata", "format1"))
			p.Speed = speed
			begun := time.Now()
			response, err := post(t, p.Transport())
			if err != nil {
				t.Fatal(err)
			}
			var got []time.Duration
			for err == nil {
				_, err = response.Body.Read(make([]byte, 4096))
				got = append(got, time.Since(begun))
			}
			if err != io.EOF || !reflect.DeepEqual(got, want) {
				t.Errorf("at speed %v: %v, %v, want %v", speed, got, err, want)
			}
		})
	}
}

func TestAReplayedBodyEndsWithItsContextAndWhenItIsClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := open(t, filepath.Join("testdata", "format1"))
		p.Speed = 0.001
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		request, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://api.anthropic.com/v1/messages?beta=true", strings.NewReader(`{"model":"claude-haiku-5-5","stream":true,"messages":[{"role":"user","content":"Hi"}]}`))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.Transport().RoundTrip(request); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
	})
	dir := t.TempDir()
	response := ask(t, t.Context(), recorder(t, dir).Transport(sends("text/plain", strings.NewReader("whole"))), nil)
	if _, err := io.ReadAll(response.Body); err != nil {
		t.Fatal(err)
	}
	response = ask(t, t.Context(), open(t, dir).Transport(), nil)
	response.Body.Close()
	if n, err := response.Body.Read(make([]byte, 9)); n != 0 || !errors.Is(err, http.ErrBodyReadAfterClose) {
		t.Errorf("got %d, %v", n, err)
	}
}

// A reader that stops before the end has left, unless nothing was to come: SDKs don't read on
// after a stream's last event, nor decoders after a value.
func TestABodyThatIsNotReadToItsEnd(t *testing.T) {
	const done = "data: {\"a\":1}\n\ndata: [DONE]\n\n"
	for _, c := range []struct {
		mediaType, body string
		read            int
		end             error
	}{
		{"text/event-stream", done, len(done), io.EOF},
		{"text/event-stream", done, len(done) - 16, io.ErrUnexpectedEOF},
		{"text/event-stream", "event: message_stop\r\ndata: {\"type\":\"message_stop\"}\r\n\r\n", 54, io.EOF},
		{"application/json", `{"a":1} `, 7, io.EOF},
		{"application/json", `{"a":1}`, 3, io.ErrUnexpectedEOF},
	} {
		dir := t.TempDir()
		response := ask(t, t.Context(), recorder(t, dir).Transport(sends(c.mediaType, strings.NewReader(c.body))), nil)
		if _, err := io.ReadFull(response.Body, make([]byte, c.read)); err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		response.Body.Close()
		response = ask(t, t.Context(), open(t, dir).Transport(), nil)
		got, err := io.ReadAll(response.Body)
		if err == nil {
			err = io.EOF
		}
		if string(got) != c.body[:c.read] || err != c.end {
			t.Errorf("%q: got %q, %v, want %v", c.body[:c.read], got, err, c.end)
		}
	}
}

func TestABodyOfAKnownLengthIsWholeWithoutItsEnd(t *testing.T) {
	dir := t.TempDir()
	base := roundTrip(func(r *http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: 200, ContentLength: 5, Body: io.NopCloser(strings.NewReader("whole")), Request: r}, nil
	})
	response := ask(t, t.Context(), recorder(t, dir).Transport(base), nil)
	if _, err := io.ReadFull(response.Body, make([]byte, 5)); err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if only(t, dir).Left {
		t.Error("the whole body was left")
	}
}

// What its caller cancels within a body has been left too; before it, nobody answered.
func TestAnHTTPRequestThatIsCancelled(t *testing.T) {
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	r := recorder(t, dir)
	body := io.MultiReader(strings.NewReader("some"), readFunc(func() error { cancel(); return ctx.Err() }))
	if _, err := io.ReadAll(ask(t, ctx, r.Transport(sends("text/plain", body)), nil).Body); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if rec := only(t, dir); !rec.Left || rec.Err != nil || string(rec.HTTP.Body) != "some" {
		t.Errorf("%+v", rec)
	}

	dir = t.TempDir()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://acme.example/", nil)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = recorder(t, dir).Transport(roundTrip(func(r *http.Request) (*http.Response, error) { return nil, r.Context().Err() })).RoundTrip(request)
	if rec := only(t, dir); failure.KindOf(rec.Err) != failure.Cancelled {
		t.Errorf("%+v", rec)
	}
	if p := open(t, dir); len(p.Left()) != 0 {
		t.Errorf("left: %v", p.Left())
	}
}

type readFunc func() error

func (f readFunc) Read([]byte) (int, error) { return 0, f() }

// A body is sent as it is, whether it can be read twice or not, and is recorded if it is not
// too long.
func TestTheBodyOfARequestIsSentWhole(t *testing.T) {
	for what, body := range map[string]func() io.Reader{
		"none":            func() io.Reader { return nil },
		"read twice":      func() io.Reader { return strings.NewReader(`{"a": 1}`) },
		"read once":       func() io.Reader { return io.MultiReader(strings.NewReader(`{"a":`), strings.NewReader(` 1}`)) },
		"too long":        func() io.Reader { return strings.NewReader(strings.Repeat("a", 5000)) },
		"too long, once":  func() io.Reader { return io.MultiReader(strings.NewReader(strings.Repeat("a", 5000))) },
		"not a text":      func() io.Reader { return bytes.NewReader([]byte{0xff, 0, 1, 2, 0xfe}) },
		"JSON, key twice": func() io.Reader { return strings.NewReader(`{"a": 1, "a": 2}`) },
		"JSON, a list":    func() io.Reader { return strings.NewReader("[1, 2]\n") },
	} {
		var want []byte
		if r := body(); r != nil {
			want, _ = io.ReadAll(r)
		}
		var sent []byte
		closed := false
		base := roundTrip(func(r *http.Request) (*http.Response, error) {
			if r.Body != nil {
				sent, _ = io.ReadAll(r.Body)
				closed = r.Body.Close() == nil
			}
			return &http.Response{StatusCode: 200, Body: io.NopCloser(strings.NewReader("ok")), ContentLength: 2, Request: r}, nil
		})
		var reported []error
		dir := t.TempDir()
		r, err := record.New(record.Config{Dir: dir, MaxFile: 3000, Report: func(err error) { reported = append(reported, err) }})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadAll(ask(t, t.Context(), r.Transport(base), body()).Body); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(sent, want) || want != nil && !closed {
			t.Errorf("%s: sent %q, want %q", what, sent, want)
		}
		if long := len(want) > 3000; long != (len(reported) == 1) {
			t.Errorf("%s: reported %v", what, reported)
		} else if long {
			continue
		}
		if got := only(t, dir).HTTP.RequestBody; !bytes.Equal(got, want) && !(json.Valid(want) && bytes.Equal(compact(got), compact(want))) {
			t.Errorf("%s: recorded %q, want %q", what, got, want)
		}
		if got, err := io.ReadAll(ask(t, t.Context(), open(t, dir).Transport(), body()).Body); string(got) != "ok" || err != nil {
			t.Errorf("%s: replayed %q, %v", what, got, err)
		}
	}
}

func compact(text []byte) []byte {
	var b bytes.Buffer
	_ = json.Compact(&b, text)
	return b.Bytes()
}

func TestALongBodyIsPassedOnAndNotRecorded(t *testing.T) {
	var reported []error
	r, err := record.New(record.Config{Dir: t.TempDir(), MaxFile: 1000, Report: func(err error) { reported = append(reported, err) }})
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(ask(t, t.Context(), r.Transport(sends("text/plain", strings.NewReader(strings.Repeat("a", 5000)))), nil).Body)
	if err != nil || len(got) != 5000 || len(reported) != 1 {
		t.Errorf("%d bytes, %v, reported %v", len(got), err, reported)
	}
}
