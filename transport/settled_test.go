package transport_test

import (
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"llmcall/breaker"
	"llmcall/endpoint"
	"llmcall/transport"
)

// mine is the key of all requests of a test.
var mine = endpoint.Key{Name: "mine"}

// touchy is a circuit that the first failure opens, for 10 s.
var touchy = breaker.Config{FailureThreshold: 1, RecoveryTimeout: 10 * s, SuccessThreshold: 1}

// watched is a Transport with one endpoint, and that.
func watched(t *testing.T, base http.RoundTripper, change func(*transport.Config)) (*transport.Transport, *endpoint.Endpoint) {
	t.Helper()
	cfg := transport.Config{
		Base: base, Endpoints: registry(t), Options: endpoint.Options{Breaker: touchy}, MaxAttempts: 1,
		Key: func(*http.Request, func() io.ReadCloser) endpoint.Key { return mine },
	}
	if change != nil {
		change(&cfg)
	}
	tr, err := transport.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return tr, cfg.Endpoints.Get(mine)
}

func state(e *endpoint.Endpoint) breaker.State {
	return e.Circuit(endpoint.Options{Breaker: touchy}).Snapshot().State
}

// tripped opens the circuit, and waits until it admits a probe.
func tripped(e *endpoint.Endpoint) {
	e.Circuit(endpoint.Options{Breaker: touchy}).Trip(breaker.Failure{})
	time.Sleep(11 * time.Minute) // a trip is for 10 min
}

// body is a success whose body is content, and then end.
func body(kind, content string, end error) reply {
	return func(*http.Request) (*http.Response, error) {
		rest := io.Reader(strings.NewReader(content))
		if end != nil {
			rest = io.MultiReader(rest, fault{end})
		}
		return &http.Response{StatusCode: 200, Header: http.Header{"Content-Type": {kind}}, Body: io.NopCloser(rest)}, nil
	}
}

const sse = "text/event-stream; charset=utf-8"

// leave reads so many bytes of a response, and closes it.
func leave(n int64) func(*http.Response) {
	return func(r *http.Response) {
		io.CopyN(io.Discard, r.Body, n)
		r.Body.Close()
	}
}

func whole(r *http.Response) {
	io.Copy(io.Discard, r.Body)
	r.Body.Close()
}

// A success is counted at the end of its body.
func TestAnAnswerIsSettledAtItsEnd(t *testing.T) {
	const (
		claude  = "https://api.anthropic.com/v1/messages"
		answers = "https://api.example.com/v1/responses"
		gemini  = "https://generativelanguage.googleapis.com/v1beta/models/m:streamGenerateContent?alt=sse"
		others  = "https://api.example.com/v1/audio/speech"
		piece   = "data: {\"id\":\"c\",\"choices\":[{\"delta\":{\"content\":\"data: [DONE]\"},\"finish_reason\":null}]}\n\n"
		last    = "data: {\"id\":\"c\",\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n"
		done    = "data: [DONE]\n\n"
	)
	chunks := strings.Repeat(piece, 1000)
	for name, c := range map[string]struct {
		address string // default chat
		answer  reply
		read    func(*http.Response) // default whole
		failed  bool
	}{
		"whole":                           {answer: body("application/json", "{}", nil)},
		"without a body":                  {answer: status(204, "")},
		"a redirect":                      {answer: status(307, "there")},
		"broken off":                      {answer: body("application/json", "{", io.ErrUnexpectedEOF), failed: true},
		"reset":                           {answer: body("application/json", "{", syscall.ECONNRESET), failed: true},
		"left":                            {answer: body("application/json", "{}", io.ErrUnexpectedEOF), read: leave(1)},
		"left unread":                     {answer: body("application/json", "{}", nil), read: leave(0)},
		"a stream that is whole":          {answer: body(sse, chunks+last+done, nil)},
		"with CRLF":                       {answer: body(sse, strings.ReplaceAll(chunks+done, "\n", "\r\n"), nil)},
		"without the last newline":        {answer: body(sse, chunks+"data: [DONE]", nil)},
		"without blanks":                  {answer: body(sse, "data:{\"choices\":[]}\n\ndata:[DONE]\n\n", nil)},
		"without [DONE]":                  {answer: body(sse, chunks+last, nil)},
		"with a finish reason and blanks": {answer: body(sse, strings.Replace(last, `:"stop"`, `: "stop"`, 1), nil)},
		"without an end":                  {answer: body(sse, chunks, nil), failed: true},
		"without anything":                {answer: body(sse, "", nil), failed: true},
		"with comments alone":             {answer: body(sse, ": processing\n\n: processing\n\n", nil), failed: true},
		"that breaks off":                 {answer: body(sse, chunks, io.ErrUnexpectedEOF), failed: true},
		"that breaks off after its end":   {answer: body(sse, chunks+done, io.ErrUnexpectedEOF), failed: true},
		"that is left":                    {answer: body(sse, chunks, nil), read: leave(100)},
		"that says [DONE] within a text":  {answer: body(sse, piece, nil), failed: true},
		"that is compressed": {answer: func(r *http.Request) (*http.Response, error) {
			response, err := body(sse, "\x1f\x8b", nil)(r)
			response.Header.Set("Content-Encoding", "gzip")
			return response, err
		}},
		"of another kind": {address: others, answer: body(sse, "data: {\"type\":\"speech.audio.delta\"}\n\n", nil)},
		"not of events":   {answer: body("application/x-ndjson", "{}\n", nil)},

		"with an error": {answer: body(sse, piece+"data: {\"error\":{\"code\":502,\"message\":\"Provider returned error\"}}\n\n", nil), failed: true},
		"with an error, after which it is left": {answer: body(sse, "data: {\"error\":{\"code\":502,\"message\":\"Provider returned error\"}}\n\n"+piece, nil),
			read: leave(80), failed: true},
		"with an error of OpenRouter's": {answer: body(sse, piece+"data: {\"id\":\"c\",\"error\":{\"code\":\"server_error\",\"message\":\"Provider disconnected\"},\"choices\":[{\"delta\":{\"content\":\"\"},\"finish_reason\":\"error\"}]}\n\n"+done, nil), failed: true},
		"with an error that is null":    {answer: body(sse, "data: {\"error\":null,\"choices\":[]}\n\n"+done, nil)},
		"with a request that is wrong":  {answer: body(sse, "data: {\"error\":{\"type\":\"invalid_request_error\",\"message\":\"no\"}}\n\n", nil)},

		"Claude's":               {address: claude, answer: body(sse, "event: message_start\ndata: {\"type\":\"message_start\"}\n\nevent: message_stop\ndata: {\"type\":\"message_stop\"}\n\n", nil)},
		"without the event line": {address: claude, answer: body(sse, "data: {\"type\":\"message_start\"}\n\ndata: {\"type\": \"message_stop\"}\n\n", nil)},
		"Claude's, cut":          {address: claude, answer: body(sse, "event: message_start\ndata: {\"type\":\"message_start\"}\n\n", nil), failed: true},
		"Claude's, that fails": {address: claude, read: leave(200), failed: true,
			answer: body(sse, "event: message_start\ndata: {\"type\":\"message_start\"}\n\nevent: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"api_error\",\"message\":\"Internal server error\"}}\n\n"+strings.Repeat(" ", 200), nil)},
		"an error without words":             {address: claude, answer: body(sse, "event: error\ndata: oops\n\n", nil), failed: true},
		"an error without data":              {address: claude, answer: body(sse, "event: error\n\ndata: {\"x\":1}\n\nevent: message_stop\n\n", nil)},
		"that of a proxy to many":            {address: "https://proxy.example/v1/messages", answer: body(sse, "data: {}\n\n", nil)},
		"a response, named last in its data": {address: answers, answer: body(sse, "data: {\"response\": {\"status\": \"completed\"}, \"type\": \"response.incomplete\"}\n\n", nil)},
		"a response":                         {address: answers, answer: body(sse, "event: response.created\ndata: {\"type\":\"response.created\"}\n\nevent: response.completed\ndata: {\"type\":\"response.completed\"}\n\n", nil)},
		"a response, cut off":                {address: answers, answer: body(sse, "data: {\"type\":\"response.incomplete\"}\n\n", nil)},
		"a response that breaks":             {address: answers, answer: body(sse, "data: {\"type\":\"response.created\"}\n\n", nil), failed: true},
		"Gemini's":                           {address: gemini, answer: body(sse, "data: {\"candidates\":[{\"content\":\""+strings.Repeat("x", 20_000)+"\",\"finishReason\": \"STOP\"}]}\n\n", nil)},
		"Gemini's, of one that is blocked":   {address: gemini, answer: body(sse, "data: {\"promptFeedback\":{\"blockReason\":\"SAFETY\"}}\n\n", nil)},
		"Gemini's, cut":                      {address: gemini, answer: body(sse, "data: {\"candidates\":[{\"content\":\"x\"}]}\n\n", nil), failed: true},
	} {
		synctest.Test(t, func(t *testing.T) {
			if c.address == "" {
				c.address = chat
			}
			if c.read == nil {
				c.read = whole
			}
			for _, size := range []int{1 << 20, 1, 7} { // of the pieces that are read
				v := serve(func(r *http.Request) (*http.Response, error) {
					response, err := c.answer(r)
					response.Body = io.NopCloser(pieces{response.Body, size})
					return response, err
				})
				tr, e := watched(t, v, nil)
				response, err := tr.RoundTrip(post(t, c.address, "{}"))
				if err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				if got := state(e); got != breaker.Closed {
					t.Errorf("%s: %v before its end", name, got)
				}
				c.read(response)
				if got := state(e) == breaker.Open; got != c.failed {
					t.Errorf("%s, in pieces of %d: failed %v, want %v", name, size, got, c.failed)
				}
				if v.open.Load() != 0 || e.Snapshot().Pace.InFlight != 0 {
					t.Errorf("%s: %d bodies are open, %d requests in flight", name, v.open.Load(), e.Snapshot().Pace.InFlight)
				}
			}
		})
	}
}
