package gemini_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"google.golang.org/genai"

	"llmcall/failure"
	"llmcall/llm"
	"llmcall/provider/gemini"
)

// stream answers with events as they are.
func stream(events string) http.HandlerFunc {
	return reply(200, events, "Content-Type", "text/event-stream")
}

// data makes events.
func data(responses ...string) string {
	var b strings.Builder
	for _, r := range responses {
		b.WriteString("data: " + r + "\r\n\r\n")
	}
	return b.String()
}

// piece is an event with parts.
func piece(parts string) string {
	return `{"candidates":[{"content":{"parts":[` + parts + `],"role":"model"},"index":0}]}`
}

const stop = `{"candidates":[{"content":{"parts":[{"text":""}],"role":"model"},"finishReason":"STOP","index":0}]}`

// collect reads a stream to its end.
func collect(ctx context.Context, m *gemini.Model) ([]llm.Chunk, *llm.Response, error) {
	var chunks []llm.Chunk
	var whole llm.Assembly
	for chunk, err := range m.Stream(ctx, llm.Prompt("the prompt")) {
		if err != nil {
			return chunks, whole.Response(), err
		}
		chunks = append(chunks, chunk)
		whole.Add(chunk)
	}
	return chunks, whole.Response(), nil
}

// failedStream reads a stream that must fail.
func failedStream(t *testing.T, m *gemini.Model, ctx context.Context) *failure.Error {
	t.Helper()
	var e *failure.Error
	for chunk, err := range m.Stream(ctx, llm.Prompt("the prompt")) {
		if e != nil {
			t.Errorf("%+v, %v behind the error", chunk, err)
		}
		if err != nil && !errors.As(err, &e) {
			t.Fatalf("got %v (%T)", err, err)
		}
		if chunk.Finish != llm.FinishNone {
			t.Errorf("finish %q of a stream that fails", chunk.Finish)
		}
	}
	if e == nil {
		t.Fatal("no error")
	}
	if e.Provider != "gemini" || e.Model != "gemini/gemini-3.5-flash-lite" {
		t.Errorf("the error says it is from %q, %q", e.Provider, e.Model)
	}
	secretFree(t, e)
	return e
}

func TestStream(t *testing.T) {
	m := model(t, server(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.String() != "/v1beta/models/gemini-3.5-flash-lite:streamGenerateContent?alt=sse" || r.Header.Get("X-Goog-Api-Key") != key {
			t.Errorf("sent to %s, %v", r.URL, r.Header)
		}
		stream(data(
			`{"candidates":[{"content":{"parts":[{"text":"Hm.","thought":true}]},"index":0}],"usageMetadata":{"promptTokenCount":19,"thoughtsTokenCount":3},"modelVersion":"m-1","responseId":"r"}`,
			`{"candidates":[{"content":{"parts":[{"text":"Let "}]},"index":0}],"modelVersion":"m-1","responseId":"r"}`,
			`{"candidates":[{"content":{"parts":[{"text":"me look.","thoughtSignature":"QQ=="}]},"index":0}]}`,
			`{"candidates":[{"content":{"parts":[{"text":"!"}]},"index":0}]}`,
			`{"candidates":[{"content":{"parts":[{"functionCall":{"name":"look","args":{"b":1.0,"a":2}},"thoughtSignature":"Qg=="}]},"index":0}],"responseId":"r"}`,
			`{"candidates":[{"finishReason":"STOP","index":0}],"usageMetadata":{"promptTokenCount":19,"candidatesTokenCount":7,"thoughtsTokenCount":3},"modelVersion":"m-1","responseId":"r"}`,
		))(w, r)
	}), nil)
	chunks, got, err := collect(t.Context(), m)
	if err != nil {
		t.Fatal(err)
	}
	want := &llm.Response{
		Message: assistant(reasoning(`{"text":"Hm.","thought":true}`), llm.Text("Let me look.!"), reasoning(`{"thoughtSignature":"QQ=="}`),
			llm.ToolCall{ID: "gemini-call-r-0", Name: "look", Arguments: json.RawMessage(`{"b":1.0,"a":2}`), Signature: []byte("Qg==")}),
		Finish: llm.FinishToolCall, Model: "m-1", RequestID: "r",
		Usage: llm.Usage{InputTokens: 19, OutputTokens: 10, ReasoningTokens: 3},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v", got)
	}
	finishes, texts := 0, ""
	for i, chunk := range chunks {
		if chunk.Finish != llm.FinishNone {
			finishes++
			if i != len(chunks)-1 {
				t.Errorf("finish in chunk %d of %d", i, len(chunks))
			}
		}
		texts += chunk.Text + "|"
	}
	if finishes != 1 || !strings.Contains(texts, "Let |") {
		t.Errorf("%d finishes, texts %q", finishes, texts)
	}
}

// The first piece is there while the server still waits to send the second.
func TestStreamComesAsItIsSent(t *testing.T) {
	next := make(chan struct{})
	m := model(t, server(t, func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "text/event-stream")
		io.WriteString(w, data(piece(`{"text":"a"}`)))
		w.(http.Flusher).Flush()
		<-next
		io.WriteString(w, data(stop))
	}), nil)
	var got []string
	for chunk, err := range m.Stream(t.Context(), llm.Prompt("x")) {
		if err != nil {
			t.Fatal(err)
		}
		if chunk.Text == "a" {
			close(next)
		}
		got = append(got, chunk.Text+string(chunk.Finish))
	}
	if !reflect.DeepEqual(got, []string{"a", "stop"}) {
		t.Errorf("got %q", got)
	}
}

func TestStreamsOfOddForm(t *testing.T) {
	hi := piece(`{"text":"hi"}`)
	for name, body := range map[string]string{
		"line feeds":               strings.ReplaceAll(data(hi, stop), "\r", ""),
		"no space":                 "data:" + hi + "\n\ndata:" + stop + "\n\n",
		"no empty line at the end": "data: " + hi + "\n\ndata: " + stop,
		"comments and pings":       ": hello\n\n" + data(hi) + ":\n\n: PROCESSING\nevent: ping\n\nevent: ping\ndata\n\n" + data(stop),
		"other fields":             "event: message\nid: 7\nretry: 10\ndata: " + hi + "\n\n" + data(stop),
		"data on several lines":    "data: " + strings.ReplaceAll(hi, ":[", ":[\ndata: ") + "\n\n" + data(stop),
		"garbage between":          data(hi) + "%PDF-1.4 \x00\xff\n\n\n\n<html>\n\n" + data(stop),
		"a mark of byte order":     "\ufeff" + data(hi, stop),
		"[DONE]":                   data(hi, stop, "[DONE]"),
		"events without meaning":   data(hi, `{}`, `{"candidates":[]}`, `{"new":1}`, stop),
		"a finish with each":       data(strings.Replace(hi, `"index":0`, `"finishReason":"STOP"`, 1), stop),
		"usage behind the finish":  data(hi, stop, `{"usageMetadata":{"promptTokenCount":1}}`),
		"another candidate":        data(hi, `{"candidates":[{"index":1,"content":{"parts":[{"text":"ho"}]},"finishReason":"SAFETY"}]}`, stop),
	} {
		_, got, err := collect(t.Context(), model(t, server(t, stream(body)), nil))
		if err != nil || got.Text() != "hi" || got.Finish != llm.FinishStop {
			t.Errorf("%s: got %+v, %v", name, got, err)
		}
	}
}

// Where no events come, but one JSON document, it is the answer.
func TestStreamInOnePiece(t *testing.T) {
	_, got, err := collect(t.Context(), model(t, server(t, reply(200, hello)), nil))
	if err != nil || got.Text() != "Hello! How can I assist you today?" || got.Finish != llm.FinishStop {
		t.Errorf("got %+v, %v", got, err)
	}
	for contentType, body := range map[string]string{"text/html": "<html>sign in</html>", "application/json": hello[:100], "application/problem+json": ""} {
		if got := failedStream(t, model(t, server(t, reply(200, body, "Content-Type", contentType)), nil), t.Context()); got.Kind != failure.Transient || got.Status != 200 {
			t.Errorf("%s: got %#v", contentType, got)
		}
	}
}

// A stream that ends cleanly, but without a finish reason, was cut off: no
// Finish is made up.
func TestStreamWithoutAFinishReason(t *testing.T) {
	for _, body := range []string{data(piece(`{"text":"hi"}`)), data(piece(`{"text":"hi"}`), strings.Replace(stop, "STOP", "SOMETHING_NEW", 1))} {
		chunks, got, err := collect(t.Context(), model(t, server(t, stream(body)), nil))
		if err != nil || got.Finish != llm.FinishNone || got.Text() != "hi" {
			t.Errorf("got %+v, %v", chunks, err)
		}
	}
}

func TestStreamsThatFail(t *testing.T) {
	hi := data(piece(`{"text":"hi"}`))
	overloaded := problem(503, "UNAVAILABLE", "The model is overloaded.", "")
	limited := problem(429, "RESOURCE_EXHAUSTED", "Slow down, "+key+".", `{"@type":"a.RetryInfo","retryDelay":"34s"}`)
	var lines bytes.Buffer
	if err := json.Indent(&lines, []byte(limited), "", "  "); err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		name, body string
		want       failure.Kind
		code       string
		message    string
	}{
		{"error first", data(overloaded), failure.Overloaded, "UNAVAILABLE", "The model is overloaded."},
		{"error behind text", hi + data(overloaded), failure.Overloaded, "UNAVAILABLE", "The model is overloaded."},
		{"error of the event's kind", hi + "event: error\ndata: " + limited + "\n\n", failure.RateLimited, "RESOURCE_EXHAUSTED", "Slow down, [key]."},
		{"error that is no event", hi + limited, failure.RateLimited, "RESOURCE_EXHAUSTED", "Slow down, [key]."},
		{"error over several lines", hi + lines.String() + "\n", failure.RateLimited, "RESOURCE_EXHAUSTED", "Slow down, [key]."},
		{"error without a code", hi + data(`{"error":{"message":"No."}}`), failure.Unknown, "", "No."},
		{"error that is a text", hi + data(`{"error":"server is busy"}`), failure.Overloaded, "", "server is busy"},
		{"filter", hi + data(strings.Replace(stop, "STOP", "SAFETY", 1)), failure.ContentFiltered, "SAFETY", ""},
		{"malformed call", hi + data(strings.Replace(stop, "STOP", "MALFORMED_FUNCTION_CALL", 1)), failure.Transient, "MALFORMED_FUNCTION_CALL", ""},
		{"blocked prompt", data(`{"promptFeedback":{"blockReason":"SAFETY"}}`), failure.ContentFiltered, "SAFETY", "the provider blocked the request"},
		{"no JSON", hi + data("<html>"+key), failure.Transient, "", "invalid character '<' looking for beginning of value: <html>[key]"},
		{"half an event", hi + "data: {\"cand", failure.Transient, "", ""},
		{"candidates that are no list", data(`{"candidates":{"a":1}}`), failure.Transient, "", ""},
		{"a part that is no object", data(`{"candidates":[{"content":{"parts":["x"]}}]}`), failure.Transient, "", ""},
		{"nothing", "", failure.Transient, "", "the answer is a stream without any event"},
		{"garbage alone", "hello\n\n<html>\n", failure.Transient, "", "the answer is a stream without any event"},
		{"comments alone", ": ping\n\n: ping\n\n", failure.Transient, "", "the answer is a stream without any event"},
	} {
		handle := stream(step.body)
		m := model(t, server(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X-Request-Id", "req_1")
			handle(w, r)
		}), nil)
		got := failedStream(t, m, t.Context())
		if got.Kind != step.want || got.Code != step.code || step.message != "" && got.Message != step.message || got.Status != 200 || got.RequestID != "req_1" {
			t.Errorf("%s: got %#v", step.name, got)
		}
		if api, ok := errors.AsType[genai.APIError](got); strings.HasPrefix(step.name, "error") && step.name != "error that is a text" && !ok {
			t.Errorf("%s: the SDK's error is %+v", step.name, api)
		}
		if limited := step.want == failure.RateLimited; limited != got.Told || limited && got.RetryAfter != 34*time.Second {
			t.Errorf("%s: come back in %v, %v", step.name, got.RetryAfter, got.Told)
		}
	}
}

func TestStreamsThatBreakAreTransient(t *testing.T) {
	head := "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nX-Request-Id: req_1\r\nTransfer-Encoding: chunked\r\n\r\n"
	chunk := func(text string) string { return fmt.Sprintf("%x\r\n%s\r\n", len(text), text) }
	for name, handle := range map[string]func(*net.TCPConn){
		"before the header":    func(c *net.TCPConn) { c.SetLinger(0) },
		"before the first":     func(c *net.TCPConn) { io.WriteString(c, head) },
		"behind the first":     func(c *net.TCPConn) { io.WriteString(c, head+chunk(data(piece(`{"text":"a"}`)))) },
		"within an event":      func(c *net.TCPConn) { io.WriteString(c, head+chunk(`data: {"candidates":[{`)) },
		"behind the last":      func(c *net.TCPConn) { io.WriteString(c, head+chunk(data(stop))) },
		"garbage for a length": func(c *net.TCPConn) { io.WriteString(c, head+"xyz\r\n") },
	} {
		if got := failedStream(t, model(t, server(t, hijack(t, handle)), nil), t.Context()); got.Kind != failure.Transient || (got.RequestID != "req_1") != (name == "before the header") {
			t.Errorf("%s: got %#v", name, got)
		}
	}
}

// pouring is a server that sends a piece, and then nothing, or pieces without
// end, until the client is gone.
func pouring(t *testing.T, more string) (*gemini.Model, <-chan struct{}) {
	gone := make(chan struct{}, 1)
	return model(t, server(t, func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "text/event-stream")
		io.WriteString(w, data(piece(`{"text":"a"}`)))
		w.(http.Flusher).Flush()
		for more != "" && r.Context().Err() == nil {
			if _, err := io.WriteString(w, more); err != nil {
				break
			}
		}
		<-r.Context().Done()
		gone <- struct{}{}
	}), nil), gone
}

func TestLeavingTheLoopClosesTheConnection(t *testing.T) {
	for _, more := range []string{"", data(piece(`{"text":"a"}`))} {
		m, gone := pouring(t, more)
		for chunk, err := range m.Stream(t.Context(), llm.Prompt("x")) {
			if err != nil || chunk.Text != "a" {
				t.Fatalf("got %+v, %v", chunk, err)
			}
			break
		}
		<-gone
	}
}

func TestContextThatEndsEndsTheStream(t *testing.T) {
	for _, more := range []string{"", data(piece(`{"text":"a"}`)), ": ping\n\n"} {
		m, gone := pouring(t, more)
		ctx, cancel := context.WithCancel(t.Context())
		var last error
		for _, err := range m.Stream(ctx, llm.Prompt("x")) {
			cancel()
			last = err
		}
		cancel() // where nothing came
		if failure.KindOf(last) != failure.Cancelled || !errors.Is(last, context.Canceled) {
			t.Errorf("cancelled: got %v", last)
		}
		<-gone

		m, gone = pouring(t, more)
		late, done := context.WithTimeout(t.Context(), 30*time.Millisecond)
		if got := failedStream(t, m, late); got.Kind != failure.DeadlineExceeded {
			t.Errorf("late: got %#v", got)
		}
		done()
		<-gone
	}
}

func TestTimeoutOfTheClientEndsTheStream(t *testing.T) {
	release := make(chan struct{})
	s := server(t, func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "text/event-stream")
		io.WriteString(w, data(piece(`{"text":"a"}`)))
		w.(http.Flusher).Flush()
		<-release
	})
	defer close(release)
	m := model(t, s, func(o *gemini.Options) {
		o.HTTPClient = &http.Client{Timeout: 50 * time.Millisecond, Transport: &http.Transport{DisableKeepAlives: true}}
	})
	if got := failedStream(t, m, t.Context()); got.Kind != failure.AttemptTimeout {
		t.Errorf("got %#v", got)
	}
}

func TestStreamWithoutEndIsAnError(t *testing.T) {
	for name, filling := range map[string]string{
		"one line":    "x",
		"one event":   "data: x\n",
		"many events": data(piece(`{"text":"0123456789"}`)),
		"garbage":     "garbage\n",
	} {
		body := &endlessly{filling: strings.Repeat(filling, 1+(1<<16)/len(filling))}
		client := &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: 200, Header: http.Header{"Content-Type": {"text/event-stream"}}, Body: body, Request: r}, nil
		})}
		m := model(t, server(t, nil), func(o *gemini.Options) { o.HTTPClient = client })
		if got := failedStream(t, m, t.Context()); got.Kind != failure.Transient || got.Message != "the answer is longer than 64 MiB" {
			t.Errorf("%s: got %#v", name, got)
		}
		if body.read > 65<<20 || !body.closed {
			t.Errorf("%s: read %d bytes, closed: %v", name, body.read, body.closed)
		}
	}
}

// endlessly is a body that is the same again and again.
type endlessly struct {
	filling string
	at      int
	read    int
	closed  bool
}

func (e *endlessly) Read(p []byte) (int, error) {
	n := copy(p, e.filling[e.at:])
	e.at = (e.at + n) % len(e.filling)
	e.read += n
	return n, nil
}

func (e *endlessly) Close() error {
	e.closed = true
	return nil
}

func TestStreamOfABadRequestIsNotSent(t *testing.T) {
	e := newEcho(t)
	m := model(t, e.Server, nil)
	for chunk, err := range m.Stream(t.Context(), &llm.Request{}) {
		if failure.KindOf(err) != failure.InvalidRequest || !reflect.DeepEqual(chunk, llm.Chunk{}) {
			t.Errorf("got %+v, %v", chunk, err)
		}
	}
	if e.body != nil {
		t.Errorf("sent %s", e.body)
	}
}
