package main

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// response plays a response through a tee, as an SDK reads it.
func response(t *testing.T, status int, contentType, body string, ends error) *tee {
	t.Helper()
	wire := &tee{RoundTripper: played{status, contentType, io.MultiReader(strings.NewReader(body), failing{ends})}}
	req, err := http.NewRequest(http.MethodPost, "http://x.invalid", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := wire.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, resp.Body) // its error is kept by the tee
	return wire
}

type played struct {
	status      int
	contentType string
	body        io.Reader
}

func (p played) RoundTrip(*http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: p.status, Header: http.Header{"Content-Type": {p.contentType}}, Body: io.NopCloser(p.body)}, nil
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

func TestJudge(t *testing.T) {
	const (
		asJSON, asStream = "application/json", "text/event-stream"
		openaiError      = `{"error": {"message": "no"}}`
	)
	failed := errors.New("what an SDK says")
	half := right(primary)[:30]
	for _, c := range []struct {
		name     string
		reply    reply
		protocol string
		status   int
		as, body string
		ends     error
		gaveUp   bool
		verdict  verdict
		what     string
	}{
		{name: "of the primary", reply: reply{text: right(primary), ended: true}, verdict: answered, what: "answer"},
		{name: "of the fallback", reply: reply{text: right(fallback), ended: true}, verdict: answered, what: "answer"},
		{name: "of both", reply: reply{text: half + right(fallback), ended: true}, verdict: lied, what: "lie: wrong"},
		{name: "without an end", reply: reply{text: right(primary)}, verdict: lied, what: "lie: no end"},
		{name: "half", reply: reply{text: half}, verdict: lied, what: "lie: half"},
		{name: "half, which claims to be whole", reply: reply{text: half, ended: true}, verdict: lied, what: "lie: half"},
		{name: "nothing", reply: reply{ended: true}, verdict: lied, what: "lie: nothing"},
		{name: "wrong", reply: reply{text: `{"from": 7}`, ended: true}, verdict: lied, what: "lie: wrong"},
		{name: "nothing yet", reply: reply{err: failed}, gaveUp: true, verdict: hung, what: "hangs"},
		{name: "nothing more", reply: reply{err: failed, text: half}, gaveUp: true, verdict: hung, what: "hangs in the middle"},
		{name: "OpenAI's error", reply: reply{err: failed}, status: 503, as: asJSON, body: openaiError, ends: io.EOF, verdict: refused, what: "error 503"},
		{name: "OpenAI's error to a client of Anthropic", protocol: "anthropic", reply: reply{err: failed}, status: 503, as: asJSON, body: openaiError, ends: io.EOF, verdict: broken, what: "bare 503"},
		{name: "OpenAI's error to a client of Gemini", protocol: "gemini", reply: reply{err: failed}, status: 503, as: asJSON, body: openaiError, ends: io.EOF, verdict: broken, what: "bare 503"},
		{name: "a page", reply: reply{err: failed}, status: 502, as: "text/html", body: "<h1>Bad Gateway</h1>", ends: io.EOF, verdict: broken, what: "bare 502"},
		{name: "a page in 200", reply: reply{err: failed}, status: 200, as: "text/html", body: "<h1>Hello</h1>", ends: io.EOF, verdict: broken, what: "unreadable"},
		{name: "an error event", reply: reply{err: failed}, status: 200, as: asStream, body: "data: " + openaiError + "\n\n", ends: io.EOF, verdict: refused, what: "error event"},
		{name: "an error event after text", reply: reply{err: failed, text: half}, status: 200, as: asStream, body: "data: {}\n\ndata: " + openaiError + "\n\n", ends: io.EOF, verdict: refused, what: "error event after text"},
		{name: "an error event that the SDK does not report", reply: reply{text: half}, status: 200, as: asStream, body: "data: " + openaiError + "\n\n", ends: io.EOF, verdict: lied, what: "lie: half"},
		{name: "cut off", reply: reply{err: failed}, status: 200, as: asStream, body: "data: {}\n\n", ends: io.ErrUnexpectedEOF, verdict: broken, what: "breaks off"},
		{name: "cut off after half", reply: reply{err: failed, text: half}, status: 200, as: asStream, body: "data: {}\n\n", ends: io.ErrUnexpectedEOF, verdict: broken, what: "breaks off after text"},
	} {
		t.Run(c.name, func(t *testing.T) {
			wire := new(tee)
			if c.status != 0 {
				wire = response(t, c.status, c.as, c.body, c.ends)
			}
			if c.protocol == "" {
				c.protocol = "openai"
			}
			if got := judge(c.reply, wire, c.protocol, c.gaveUp); got.verdict != c.verdict || got.what != c.what {
				t.Errorf("%v: %q, want %v: %q", got.verdict, got.what, c.verdict, c.what)
			}
		})
	}
	if got := judge(reply{err: failed}, new(tee), "openai", false); got.what != "no response" {
		t.Errorf("without a response: %q", got.what)
	}
}

func TestOutcomeAsThePageHasIt(t *testing.T) {
	for _, c := range []struct {
		outcome
		want string
	}{
		{outcome{answered, "answer", [2]int{1, 0}, 1400 * time.Millisecond}, "✓ answer, 1+0"},
		{outcome{answered, "answer", [2]int{2, 1}, 6800 * time.Millisecond}, "✓ answer, 2+1, 6s"},
		{outcome{refused, "error 429", [2]int{29, 1}, 30 * time.Second}, "– error 429, many+1, half a minute"},
		{outcome{hung, "hangs", [2]int{1, 0}, impatience}, "✗ hangs, 1+0"},
	} {
		if got := c.outcome.String(); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
}

// What the page says about its size is so, and each row can be run.
func TestRows(t *testing.T) {
	if n := faults(); n != 20 {
		t.Errorf("%d faults, and the page says 20", n)
	}
	seen := map[string]bool{}
	for _, r := range rows {
		if seen[r.name] || r.what == "" {
			t.Errorf("the row %q is there twice, or is not explained", r.name)
		}
		seen[r.name] = true
	}
}
