package anthropic_test

import (
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

	"llmcall/failure"
	"llmcall/llm"
	"llmcall/provider/anthropic"
)

// event is one of a stream's, as Anthropic writes it.
func event(data string) string {
	var kind struct{ Type string }
	_ = json.Unmarshal([]byte(data), &kind) // garbage has none
	return "event: " + kind.Type + "\ndata: " + data + "\n\n"
}

// stream answers with these events and ends cleanly.
func stream(events ...string) http.HandlerFunc {
	return reply(200, strings.Join(events, ""), "Content-Type", "text/event-stream; charset=utf-8", "Request-Id", "req_123")
}

const (
	start = `{"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant","model":"claude-haiku-5-5","content":[],
"stop_reason":null,"usage":{"input_tokens":12,"cache_creation_input_tokens":3,"cache_read_input_tokens":4,"output_tokens":1}}}`
	ended   = `{"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"output_tokens":10}}`
	stopped = `{"type":"message_stop"}`
)

// oneLine is data that the SSE format takes.
func oneLine(data string) string { return strings.ReplaceAll(data, "\n", "") }

func begin(index int, block string) string {
	return event(fmt.Sprintf(`{"type":"content_block_start","index":%d,"content_block":%s}`, index, block))
}

func delta(index int, d string) string {
	return event(fmt.Sprintf(`{"type":"content_block_delta","index":%d,"delta":%s}`, index, d))
}

func end(index int) string {
	return event(fmt.Sprintf(`{"type":"content_block_stop","index":%d}`, index))
}

// text is a block of text in two pieces.
func text(index int, a, b string) []string {
	return []string{
		begin(index, `{"type":"text","text":""}`),
		delta(index, fmt.Sprintf(`{"type":"text_delta","text":%q}`, a)),
		delta(index, fmt.Sprintf(`{"type":"text_delta","text":%q}`, b)),
		end(index),
	}
}

// everything is a stream of the same answer as tools.
func everything() []string {
	events := []string{event(oneLine(start)), event(`{"type":"ping"}`),
		begin(0, `{"type":"thinking","thinking":"H","signature":""}`),
		delta(0, `{"type":"thinking_delta","thinking":"m"}`),
		delta(0, `{"type":"thinking_delta","thinking":"."}`),
		delta(0, `{"type":"signature_delta","signature":"c2ln"}`), end(0),
		begin(1, `{"type":"redacted_thinking","data":"RW5jcnlwdGVk"}`), end(1)}
	events = append(events, text(2, "Let", " me ")...)
	events = append(events, begin(3, `{"type":"text","text":"lo","citations":[]}`),
		delta(3, `{"type":"citations_delta","citation":{"type":"char_location"}}`),
		delta(3, `{"type":"text_delta","text":"ok."}`), end(3),
		begin(4, `{"type":"server_tool_use","id":"srvtoolu_1","name":"web_search","input":{}}`),
		delta(4, `{"type":"input_json_delta","partial_json":"{\"query\""}`),
		delta(4, `{"type":"input_json_delta","partial_json":":\"x\"}"}`), end(4),
		begin(5, `{"type":"web_search_tool_result","tool_use_id":"srvtoolu_1","content":[]}`), end(5),
		begin(6, `{"type":"tool_use","id":"toolu_1","name":"weather","input":{}}`),
		delta(6, `{"type":"input_json_delta","partial_json":""}`),
		delta(6, `{"type":"input_json_delta","partial_json":"{\"city\": \"Berlin\","}`),
		delta(6, `{"type":"input_json_delta","partial_json":" \"n\": 12345678901234567890}"}`), end(6),
		begin(7, `{"type":"tool_use","id":"toolu_2","name":"time","input":{}}`), end(7),
		event(`{"type":"message_delta","delta":{"stop_reason":"tool_use"},"usage":{"input_tokens":0,"output_tokens":10,"output_tokens_details":{"thinking_tokens":2}}}`),
		event(stopped))
	return events
}

func TestStream(t *testing.T) {
	m := model(t, server(t, stream(everything()...)), nil)
	got, err := streamed(t.Context(), m, prompt)
	want := &llm.Response{
		Message: llm.Message{Role: llm.RoleAssistant, Parts: toolsParts}, Finish: llm.FinishToolCall, Model: "claude-haiku-5-5", RequestID: "req_123",
		Usage: llm.Usage{InputTokens: 19, OutputTokens: 10, CachedTokens: 4, ReasoningTokens: 2},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v, %v\nwant %+v", got, err, want)
	}
}

func TestFinishComesOnceAndLast(t *testing.T) {
	m := model(t, server(t, stream(append(everything(), event(stopped), event(ended), event(`{"type":"error","error":{"type":"api_error"}}`))...)), nil)
	finished := 0
	for chunk, err := range m.Stream(t.Context(), prompt) {
		if err != nil || finished > 0 {
			t.Errorf("behind the end: %+v, %v", chunk, err)
		}
		if chunk.Finish != llm.FinishNone {
			finished++
		}
	}
	if finished != 1 {
		t.Errorf("finished %d times", finished)
	}
}

func TestCountsAreThoseOfTheWholeCall(t *testing.T) {
	m := model(t, server(t, stream(event(oneLine(start)), event(ended), event(`{"type":"message_delta","delta":{"stop_reason":"end_turn"}}`), event(stopped))), nil)
	got, err := streamed(t.Context(), m, prompt)
	if want := (llm.Usage{InputTokens: 19, OutputTokens: 10, CachedTokens: 4}); err != nil || got.Usage != want || got.Finish != llm.FinishStop {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestStreamThatEndsEarlyIsCutOff(t *testing.T) {
	events := everything()
	for n := 1; n < len(events); n++ {
		m := model(t, server(t, stream(events[:n]...)), nil)
		got, err := streamed(t.Context(), m, prompt)
		if err != nil || got.Finish != llm.FinishNone {
			t.Errorf("behind %d events: got %+v, %v", n, got, err)
		}
	}
	// An event counts with the empty line behind it.
	all := strings.Join(events, "")
	if got, err := streamed(t.Context(), model(t, server(t, stream(all[:len(all)-1])), nil), prompt); err != nil || got.Finish != llm.FinishNone {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestStreamThatBreaksIsTransient(t *testing.T) {
	begun := strings.Join(append([]string{event(oneLine(start))}, text(0, "Hel", "lo")...), "")
	for name, handle := range map[string]func(*net.TCPConn){
		"cut": func(c *net.TCPConn) {
			fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 100000\r\n\r\n%s", begun)
		},
		"cut between chunks": func(c *net.TCPConn) {
			fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n", len(begun), begun)
		},
		"reset": func(c *net.TCPConn) {
			fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 100000\r\n\r\n%s", begun)
			time.Sleep(10 * time.Millisecond) // else the reset may overtake what was sent
			c.SetLinger(0)
		},
	} {
		m := model(t, server(t, hijack(t, handle)), nil)
		var got string
		var last error
		for chunk, err := range m.Stream(t.Context(), prompt) {
			got, last = got+chunk.Text, err
		}
		if e := one(t, nil, last); e.Kind != failure.Transient || got != "Hello" {
			t.Errorf("%s: got %q, %#v", name, got, e)
		}
	}
}

func TestTextComesAsItIsSent(t *testing.T) {
	heard := make(chan struct{})
	m := model(t, server(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for _, e := range append([]string{event(oneLine(start))}, text(0, "a", "b")...) {
			io.WriteString(w, e)
			w.(http.Flusher).Flush()
			if strings.Contains(e, "text_delta") {
				<-heard // before the next is sent
			}
		}
		io.WriteString(w, event(ended)+event(stopped))
	}), nil)
	var got llm.Assembly
	for chunk, err := range m.Stream(t.Context(), prompt) {
		if err != nil {
			t.Fatal(err)
		}
		if chunk.Text != "" {
			heard <- struct{}{}
		}
		got.Add(chunk)
	}
	if r := got.Response(); r.Text() != "ab" || r.Finish != llm.FinishStop {
		t.Errorf("got %+v", r)
	}
}

func TestErrorEventsAreOfTheirOwnKind(t *testing.T) {
	for _, step := range []struct {
		data string
		want failure.Kind
		code string
	}{
		{`{"type":"error","error":{"details":null,"type":"overloaded_error","message":"Overloaded"},"request_id":"req_1"}`, failure.Overloaded, "overloaded_error"},
		{`{"type":"error","error":{"type":"rate_limit_error","message":"Slow down."}}`, failure.RateLimited, "rate_limit_error"},
		{`{"type":"error","error":{"type":"billing_error","message":"Pay."}}`, failure.QuotaExhausted, "billing_error"},
		{`{"type":"error","error":{"type":"api_error","message":"Oops"}}`, failure.Transient, "api_error"},
		{`{"type":"error","error":{"type":"timeout_error","message":"Late"}}`, failure.Transient, "timeout_error"},
		{`{"type":"error","error":{"type":"authentication_error","message":"key ` + key + `"}}`, failure.Unauthorized, "authentication_error"},
		{`{"type":"error","error":{"type":"permission_error","message":"No."}}`, failure.Unauthorized, "permission_error"},
		{`{"type":"error","error":{"type":"not_found_error","message":"No."}}`, failure.ModelNotFound, "not_found_error"},
		{`{"type":"error","error":{"type":"request_too_large","message":"No."}}`, failure.InvalidRequest, "request_too_large"},
		{`{"type":"error","error":{"type":"invalid_request_error","message":"prompt is too long"}}`, failure.ContextTooLong, "invalid_request_error"},
		{`{"error":"server busy"}`, failure.Overloaded, ""},
		{`{"type":"error"}`, failure.Transient, ""},
		{`{"type":"error","error":null}`, failure.Transient, ""},
		{`oops, ` + key, failure.Transient, ""},
		{`{"type":`, failure.Transient, ""},
		{`[DONE]`, failure.Transient, ""},
		{`{"type":"message_delta","delta":{"stop_reason":"refusal","stop_details":{"type":"refusal","category":"bio","explanation":"No."}}}`,
			failure.ContentFiltered, "refusal"},
	} {
		for _, before := range [][]string{nil, {event(oneLine(start))}, append([]string{event(oneLine(start))}, text(0, "a", "b")...)} {
			m := model(t, server(t, stream(append(before, "event: error\ndata: "+step.data+"\n\n")...)), nil)
			response, err := streamed(t.Context(), m, prompt)
			if got := one(t, response, err); got.Kind != step.want || got.Code != step.code || got.Status != 200 || got.RequestID != "req_123" {
				t.Errorf("%s behind %d events: got %#v", step.data, len(before), got)
			}
		}
	}
}

func TestBlocksThatContradictEachOther(t *testing.T) {
	const call = `{"type":"tool_use","id":"1","name":"f","input":{}}`
	for name, events := range map[string][]string{
		"ends within a call":   {event(oneLine(start)), begin(0, call), event(ended), event(stopped)},
		"begins within itself": {event(oneLine(start)), begin(0, call), begin(0, call)},
	} {
		response, err := streamed(t.Context(), model(t, server(t, stream(events...)), nil), prompt)
		if got := one(t, response, err); got.Kind != failure.Transient {
			t.Errorf("%s: got %#v", name, got)
		}
	}
}

func TestWhatIsNotAnEventIsSkipped(t *testing.T) {
	events := strings.Join(append(append([]string{event(oneLine(start))}, text(0, "Hel", "lo")...), event(ended), event(stopped)), "")
	between := func(garbage string) string { return strings.ReplaceAll(events, "\n\n", "\n\n"+garbage) }
	for name, body := range map[string]string{
		"comments":             between(": PROCESSING\n\n"),
		"pings":                between("event: ping\ndata: {\"type\": \"ping\"}\n\n"),
		"pings without data":   between("event: ping\n\n"),
		"empty data":           between("data:\n\n"),
		"empty lines":          between("\n\n\n"),
		"unknown events":       between(event(`{"type":"something_new","index":0,"x":[1]}`)),
		"unknown deltas":       between(delta(0, `{"type":"something_new_delta"}`)),
		"deltas of no block":   between(delta(9, `{"type":"input_json_delta","partial_json":"x"}`) + delta(9, `{"type":"thinking_delta","thinking":"x"}`) + end(9)),
		"unknown fields":       between("id: 1\nretry: 3\nwhat\n\n"),
		"data of no object":    between("data: 7\n\n"),
		"lines of DOS":         strings.ReplaceAll(events, "\n", "\r\n"),
		"events without names": strings.ReplaceAll(events, "event: ", "x: "),
		"data in two lines":    strings.ReplaceAll(events, `","index"`, "\",\ndata: \"index\""),
	} {
		for _, contentType := range []string{"text/event-stream", "text/plain", ""} {
			m := model(t, server(t, reply(200, body, "Content-Type", contentType)), nil)
			got, err := streamed(t.Context(), m, prompt)
			if err != nil || got.Text() != "Hello" || got.Finish != llm.FinishStop || len(got.Message.Parts) != 1 {
				t.Errorf("%s as %q: got %+v, %v", name, contentType, got, err)
			}
		}
	}
}

func TestStreamThatIsNone(t *testing.T) {
	for _, body := range []string{"<html>sign in, " + key + "</html>", "", "\n\n\n", ": only a comment\n\n", hello} {
		response, err := streamed(t.Context(), model(t, server(t, reply(200, body, "Content-Type", "text/plain")), nil), prompt)
		if got := one(t, response, err); got.Kind != failure.Transient || !strings.HasPrefix(got.Message, `the stream (Content-Type "text/plain") has no event`) {
			t.Errorf("%q: got %#v", body, got)
		}
	}
	// A page that a proxy put in its place is shown as far as it tells why.
	response, err := streamed(t.Context(), model(t, server(t, reply(200, "<html>sign in, "+key+"</html>", "Content-Type", "text/html")), nil), prompt)
	if got := one(t, response, err); got.Kind != failure.Transient || !strings.HasSuffix(got.Message, "<html>sign in, [key]</html>") {
		t.Errorf("a page: got %#v", got)
	}
}

func TestServerThatDoesNotStreamIsUnderstood(t *testing.T) {
	got, err := streamed(t.Context(), model(t, server(t, reply(200, tools)), nil), prompt)
	if err != nil || got.Finish != llm.FinishToolCall || !reflect.DeepEqual(got.Message.Parts, toolsParts) {
		t.Errorf("got %+v, %v", got, err)
	}
	got, err = streamed(t.Context(), model(t, server(t, reply(200, tools, "Content-Type", "application/vnd.proxy+json")), nil), prompt)
	if err != nil || !reflect.DeepEqual(got.Message.Parts, toolsParts) {
		t.Errorf("got %+v, %v", got, err)
	}
	cut := hijack(t, func(c *net.TCPConn) {
		fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(hello), hello[:200])
	})
	response, err := streamed(t.Context(), model(t, server(t, cut), nil), prompt)
	if e := one(t, response, err); e.Kind != failure.Transient {
		t.Errorf("got %#v", e)
	}
}

// talk is a server that sends text until the caller leaves, and then says so.
func talk(t *testing.T) (m *anthropic.Model, left chan struct{}) {
	left = make(chan struct{})
	s := server(t, func(w http.ResponseWriter, r *http.Request) {
		defer close(left)
		io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "text/event-stream")
		io.WriteString(w, event(oneLine(start))+begin(0, `{"type":"text","text":""}`)+delta(0, `{"type":"text_delta","text":"a"}`))
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	})
	return model(t, s, nil), left
}

func TestLeavingTheLoopEndsTheRequest(t *testing.T) {
	m, left := talk(t)
	for chunk, err := range m.Stream(t.Context(), prompt) {
		if err != nil {
			t.Fatal(err)
		}
		if chunk.Text == "a" {
			break
		}
	}
	<-left
	m = model(t, server(t, reply(200, tools)), nil)
	for range m.Stream(t.Context(), prompt) {
		break // of an answer that is not streamed
	}
}

func TestContextThatEndsEndsTheStream(t *testing.T) {
	for _, step := range []struct {
		context func() (context.Context, context.CancelFunc)
		kind    failure.Kind
		is      error
	}{
		{func() (context.Context, context.CancelFunc) {
			return context.WithTimeout(t.Context(), 50*time.Millisecond)
		}, failure.DeadlineExceeded, context.DeadlineExceeded},
		{func() (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(50*time.Millisecond, cancel)
			return ctx, cancel
		}, failure.Cancelled, context.Canceled},
	} {
		m, left := talk(t)
		ctx, stop := step.context()
		response, err := streamed(ctx, m, prompt)
		if got := one(t, response, err); got.Kind != step.kind || !errors.Is(err, step.is) {
			t.Errorf("got %#v", got)
		}
		<-left
		stop()
	}
}

func TestWhatWasReadAheadIsNotYieldedWhenTheContextEnded(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	m := model(t, server(t, stream(everything()...)), nil) // in one piece
	var last error
	pieces := 0
	for chunk, err := range m.Stream(ctx, prompt) {
		if last = err; chunk.Text != "" {
			pieces++
			cancel()
		}
	}
	if got := one(t, nil, last); got.Kind != failure.Cancelled || pieces != 1 {
		t.Errorf("got %#v behind %d pieces of text", got, pieces)
	}
}

func TestContextThatEndsJustBehindTheHeader(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	body := &endless{}
	client := &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
		cancel()
		return &http.Response{StatusCode: 200, Header: http.Header{}, Body: body, Request: r}, nil
	})}
	m := model(t, server(t, nil), func(o *anthropic.Options) { o.HTTPClient = client })
	response, err := streamed(ctx, m, prompt)
	if got := one(t, response, err); got.Kind != failure.Cancelled || body.read != 0 || !body.closed {
		t.Errorf("got %#v, read %d bytes, closed: %v", got, body.read, body.closed)
	}
}

func TestTimeoutOfTheClientWithinTheStreamIsNotTheCallersDeadline(t *testing.T) {
	s := server(t, func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		io.WriteString(w, event(oneLine(start)))
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	})
	m := model(t, s, func(o *anthropic.Options) {
		o.HTTPClient = &http.Client{Timeout: 50 * time.Millisecond, Transport: &http.Transport{DisableKeepAlives: true}}
	})
	response, err := streamed(t.Context(), m, prompt)
	if got := one(t, response, err); got.Kind != failure.AttemptTimeout {
		t.Errorf("got %#v", got)
	}
}

// repeat is a body of the same piece without end.
type repeat struct {
	endless
	piece, rest string
}

func (r *repeat) Read(p []byte) (int, error) {
	if r.rest == "" {
		r.rest = r.piece
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	r.read += n
	return n, nil
}

func TestStreamWithoutEndIsAnError(t *testing.T) {
	long := strings.Repeat("x", 1<<20)
	for name, piece := range map[string]string{
		"events": delta(0, `{"type":"text_delta","text":"`+long+`"}`),
		"a line": long,
		"data":   "data: " + long + "\n",
	} {
		body := &repeat{piece: piece}
		client := &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: 200, Header: http.Header{}, Body: body, Request: r}, nil
		})}
		m := model(t, server(t, nil), func(o *anthropic.Options) { o.HTTPClient = client })
		var last error
		for _, err := range m.Stream(t.Context(), prompt) {
			last = err
		}
		if got := one(t, nil, last); got.Kind != failure.Transient {
			t.Errorf("%s: got %#v", name, got)
		}
		if body.read > 65<<20 || !body.closed {
			t.Errorf("%s: read %d bytes, closed: %v", name, body.read, body.closed)
		}
	}
}
