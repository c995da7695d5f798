package providertest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"llmcall/failure"
	"llmcall/llm"
)

// Events answers with a stream, in one write for each text.
func Events(texts ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
		for _, text := range texts {
			io.WriteString(w, text)
			w.(http.Flusher).Flush()
		}
	}
}

// events is [Events] with the request's ID.
func (a Adapter) events(texts ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set(a.RequestID, "req_1")
		Events(texts...)(w, r)
	}
}

// hello returns a whole stream that says "Hello".
func (a Adapter) hello() string { return a.Begin + a.Text("Hel") + a.Text("lo") + a.End }

func stream(t *testing.T, a Adapter) {
	var asked http.Header
	m := a.answeredBy(t, func(w http.ResponseWriter, r *http.Request) {
		asked = r.Header
		a.events(a.hello())(w, r)
	})
	got, err := Streamed(t, t.Context(), m, prompt)
	if err != nil || got.Text() != "Hello" || got.Finish != llm.FinishStop || len(got.Message.Parts) != 1 || got.RequestID == "" {
		t.Errorf("got %+v, %v", got, err)
	}
	if key := asked.Get(a.Authorization); key != a.Scheme+Key {
		t.Errorf("sent the key %q", key)
	}
}

func streamComesAsItIsSent(t *testing.T, a Adapter) {
	next := make(chan struct{})
	m := a.answeredBy(t, func(w http.ResponseWriter, r *http.Request) {
		a.events(a.Begin, a.Text("a"))(w, r)
		<-next
		a.events(a.Text("b"), a.End)(w, r)
	})
	var texts []string
	for chunk, err := range m.Stream(t.Context(), prompt) {
		if err != nil {
			t.Fatal(err)
		}
		if chunk.Text != "" {
			texts = append(texts, chunk.Text)
		}
		if chunk.Text == "a" { // it arrived while the server waits to send the second
			close(next)
		}
	}
	if !reflect.DeepEqual(texts, []string{"a", "b"}) {
		t.Errorf("got %q", texts)
	}
}

func whatIsNotAnEventIsSkipped(t *testing.T, a Adapter) {
	events := a.hello()
	between := func(noise string) string {
		return noise + strings.ReplaceAll(strings.ReplaceAll(events, "\r", ""), "\n\n", "\n\n"+noise)
	}
	for name, body := range map[string]string{
		"comments":              between(": PROCESSING\n\n:\n\n"),
		"comments in events":    between(": PROCESSING\n"),
		"pings":                 between("event: ping\ndata: {\"type\": \"ping\"}\n\n"),
		"pings without data":    between("event: ping\n\n"),
		"empty data":            between("data:\n\n") + "data: \n\n",
		"data without a colon":  between("event: ping\ndata\n\n"),
		"empty lines":           between("\n\n\n"),
		"unknown events":        between("event: new\ndata: {\"type\":\"new\",\"new\":1}\n\n"),
		"unknown fields":        between("id: 1\nretry: 3\nwhat\nmore: what\n\n"),
		"events without names":  strings.ReplaceAll(events, "event: ", "x: "),
		"lines of DOS":          strings.ReplaceAll(strings.ReplaceAll(events, "\r", ""), "\n", "\r\n"),
		"no space":              strings.ReplaceAll(events, "data: ", "data:"),
		"data on several lines": strings.ReplaceAll(events, `,"`, ",\ndata: \""),
		"a mark of byte order":  "\ufeff" + events,
	} {
		for _, contentType := range []string{"text/event-stream", "text/plain", ""} {
			m := a.answeredBy(t, Reply(200, body, "Content-Type", contentType))
			got, err := Streamed(t, t.Context(), m, prompt)
			if err != nil || got.Text() != "Hello" || got.Finish != llm.FinishStop || len(got.Message.Parts) != 1 {
				t.Errorf("%s as %q: got %+v, %v", name, contentType, got, err)
			}
		}
	}
}

func streamCutOff(t *testing.T, a Adapter) {
	m := a.answeredBy(t, a.events(a.Begin, a.Text("half")))
	if got, err := Streamed(t, t.Context(), m, prompt); err != nil || got.Text() != "half" || got.Finish != llm.FinishNone {
		t.Errorf("got %+v, %v", got, err)
	}
}

func streamThatBreaks(t *testing.T, a Adapter) {
	head := "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n" + a.RequestID + ": req_1\r\n"
	chunked := func(text string) string {
		return fmt.Sprintf("%sTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n", head, len(text), text)
	}
	begun := a.Begin + a.Text("Hel") + a.Text("lo")
	for _, step := range []struct {
		name   string
		text   string
		handle func(*net.TCPConn)
	}{
		{"before the first event", "", func(c *net.TCPConn) { io.WriteString(c, head+"Transfer-Encoding: chunked\r\n\r\n") }},
		{"after a comment", "", func(c *net.TCPConn) { io.WriteString(c, chunked(": hello\n\n")) }},
		{"cut", "Hello", func(c *net.TCPConn) { io.WriteString(c, head+"Content-Length: 100000\r\n\r\n"+begun) }},
		{"cut between chunks", "Hello", func(c *net.TCPConn) { io.WriteString(c, chunked(begun)) }},
		{"within an event", "Hello", func(c *net.TCPConn) { io.WriteString(c, chunked(begun+"data: {\"")) }},
		{"garbage for a length", "Hello", func(c *net.TCPConn) { io.WriteString(c, chunked(begun)+"xyz\r\n") }},
		{"reset", "Hello", func(c *net.TCPConn) {
			io.WriteString(c, head+"Content-Length: 100000\r\n\r\n"+begun)
			time.Sleep(10 * time.Millisecond) // else the reset may overtake what was sent
			c.SetLinger(0)
		}},
	} {
		got, err := Streamed(t, t.Context(), a.answeredBy(t, Hijack(t, step.handle)), prompt)
		if e := a.checked(t, err); e.Kind != failure.Transient || e.RequestID != "req_1" || got.Text() != step.text || got.Finish != llm.FinishNone {
			t.Errorf("%s: got %+v, %#v", step.name, got, e)
		}
	}
}

func streamWithoutEvents(t *testing.T, a Adapter) {
	for _, body := range []string{"", "\n\n\n", ": ping\n\n: ping\n\n", "hello\n\n<html>\n", "<html>sign in, " + Key + "</html>"} {
		for _, contentType := range []string{"text/event-stream", "text/html", "text/plain", ""} {
			m := a.answeredBy(t, a.reply(200, body, "Content-Type", contentType))
			if got := a.failedStream(t, m, t.Context()); got.Kind != failure.Transient || got.RequestID != "req_1" {
				t.Errorf("%q as %q: got %#v", body, contentType, got)
			}
		}
	}
}

func errorsInAStream(t *testing.T, a Adapter) {
	for _, step := range append([]Failure{
		{"data: {\"error\":\"server busy, please try again\"}\n\n", failure.Overloaded, "", ""},
		{"data: not JSON, " + Key + "\n\n", failure.Transient, "", ""},
		{"data: {\"half\":\n\n", failure.Transient, "", ""},
		{"event: error\ndata: oops, " + Key + "\n\n", failure.Transient, "", ""},
	}, a.Interrupt...) {
		for _, before := range []string{"", a.Begin, a.Begin + a.Text("half")} {
			m := a.answeredBy(t, a.events(before, step.Text, a.Text("more"), a.End))
			got, err := Streamed(t, t.Context(), m, prompt)
			e := a.checked(t, err)
			if e.Kind != step.Kind || e.Code != step.Code || step.Message != "" && e.Message != step.Message ||
				e.Status != 200 || e.RequestID != "req_1" || strings.Contains(got.Text(), "more") || got.Finish != llm.FinishNone {
				t.Errorf("%s after %q: got %+v, %#v", step.Text, before, got, e)
			}
		}
	}
}

func serverThatDoesNotStream(t *testing.T, a Adapter) {
	for name, handle := range map[string]http.HandlerFunc{
		"JSON":             a.reply(200, a.Hello),
		"as events":        a.reply(200, a.Hello, "Content-Type", "text/event-stream"),
		"without a type":   a.reply(200, a.Hello, "Content-Type", ""),
		"kept alive first": a.reply(200, "\n  \n"+a.Hello), // as OpenRouter does
	} {
		if got, err := Streamed(t, t.Context(), a.answeredBy(t, handle), prompt); err != nil || !reflect.DeepEqual(got, a.answer()) {
			t.Errorf("%s: got %+v, %v, want %+v", name, got, err, a.answer())
		}
	}
	for range a.answeredBy(t, a.reply(200, a.Hello)).Stream(t.Context(), prompt) {
		break // the loop may be left here too
	}
	mislabelled := a.answeredBy(t, a.reply(200, a.hello()))
	if got, err := Streamed(t, t.Context(), mislabelled, prompt); err != nil || got.Text() != "Hello" || got.Finish != llm.FinishStop {
		t.Errorf("events that are called JSON: got %+v, %v", got, err)
	}
	broken := a.answeredBy(t, func(w http.ResponseWriter, r *http.Request) {
		a.reply(200, a.Hello[:100], "Content-Length", "1000")(w, r)
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	})
	if got := a.failedStream(t, broken, t.Context()); got.Kind != failure.Transient || got.RequestID != "req_1" {
		t.Errorf("broken: got %#v", got)
	}
	for _, step := range []Failure{
		{" \n<html>sign in, " + Key + "</html>", failure.Transient, "text/html", ""},
		{a.Hello[:100], failure.Transient, "application/json", ""},
		{`{"title":"down"}`, failure.Transient, "application/problem+json", ""},
		{"", failure.Transient, "application/problem+json", ""},
	} {
		m := a.answeredBy(t, a.reply(200, step.Text, "Content-Type", step.Code))
		if got := a.failedStream(t, m, t.Context()); got.Kind != step.Kind || got.Status != 200 && got.Status != 0 {
			t.Errorf("%s: got %#v", step.Text, got)
		}
	}
}

// pouring returns a model of a server that sends a piece, and then more without
// end, or nothing, until the caller is gone.
func (a Adapter) pouring(t *testing.T, more string) (m llm.Streamer, gone <-chan struct{}) {
	left := make(chan struct{}, 1)
	return a.answeredBy(t, func(w http.ResponseWriter, r *http.Request) {
		a.events(a.Begin+a.Text("a"))(w, r)
		for more != "" && r.Context().Err() == nil {
			if _, err := io.WriteString(w, more); err != nil {
				break
			}
		}
		<-r.Context().Done()
		left <- struct{}{}
	}), left
}

func leavingTheLoop(t *testing.T, a Adapter) {
	for _, more := range []string{"", a.Text("a")} {
		m, gone := a.pouring(t, more)
		for chunk, err := range m.Stream(t.Context(), prompt) {
			if err != nil {
				t.Fatal(err)
			}
			if chunk.Text == "a" {
				break
			}
		}
		<-gone
	}
}

func contextEndsTheStream(t *testing.T, a Adapter) {
	for _, more := range []string{"", a.Text("a"), ": ping\n\n"} {
		m, gone := a.pouring(t, more)
		ctx, cancel := context.WithCancel(t.Context())
		texts := ""
		var last error
		for chunk, err := range m.Stream(ctx, prompt) {
			if texts += chunk.Text; chunk.Text != "" {
				cancel()
			}
			last = err
		}
		cancel() // where nothing came
		if got := a.checked(t, last); got.Kind != failure.Cancelled || !errors.Is(last, context.Canceled) || texts != "a" {
			t.Errorf("cancelled: got %#v after %q", got, texts)
		}
		<-gone

		m, gone = a.pouring(t, more)
		late, stop := context.WithTimeout(t.Context(), 2*briefly)
		if got := a.failedStream(t, m, late); got.Kind != failure.DeadlineExceeded || !errors.Is(got, context.DeadlineExceeded) {
			t.Errorf("late: got %#v", got)
		}
		stop()
		<-gone
	}
	// What was read ahead is not handed on when the context has ended.
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	texts := ""
	for chunk := range a.answeredBy(t, a.events(a.Begin+a.Text("a")+a.Text("b")+a.End)).Stream(ctx, prompt) {
		if texts += chunk.Text; chunk.Text != "" {
			cancel()
		}
	}
	if texts != "a" {
		t.Errorf("read ahead: got %q", texts)
	}
}

func contextEndsWithTheHeader(t *testing.T, a Adapter) {
	ctx, cancel := context.WithCancel(t.Context())
	body := &endless{text: strings.Repeat("\x00", 1<<16)}
	m := a.withClient(t, &http.Client{Transport: RoundTrip(func(r *http.Request) (*http.Response, error) {
		cancel()
		return &http.Response{StatusCode: 200, Header: http.Header{}, Body: body, Request: r}, nil
	})})
	if got := a.failedStream(t, m, ctx); got.Kind != failure.Cancelled || body.read != 0 || !body.closed {
		t.Errorf("got %#v, read %d bytes, closed: %v", got, body.read, body.closed)
	}
}

func clientTimeoutInAStream(t *testing.T, a Adapter) {
	s := Server(t, func(w http.ResponseWriter, r *http.Request) {
		a.events(a.Begin+a.Text("a"))(w, r)
		<-r.Context().Done()
	})
	m := a.model(t, s, func(o *Options) {
		o.HTTPClient = &http.Client{Timeout: 2 * briefly, Transport: &http.Transport{DisableKeepAlives: true}}
	})
	if got := a.failedStream(t, m, t.Context()); got.Kind != failure.AttemptTimeout {
		t.Errorf("got %#v", got)
	}
}

func streamWithoutEnd(t *testing.T, a Adapter) {
	long := strings.Repeat("x", 1<<20)
	for name, text := range map[string]string{
		"events": a.Text(long), "a line": long, "data": "data: " + long + "\n", "comments": ": " + long + "\n", "garbage": strings.Repeat("garbage\n", 1<<17),
	} {
		body := &endless{text: text}
		got := a.failedStream(t, a.withClient(t, body.client()), t.Context())
		if got.Kind != failure.Transient || body.read > 65<<20 || !body.closed {
			t.Errorf("%s: read %d bytes, closed: %v, got %#v", name, body.read, body.closed, got)
		}
	}
}
