package main

import (
	"encoding/json"
	"net/http"
	"time"

	"llmcall/chaos"
)

// content is what a provider answers if all is well: who answers, and a text.
type content struct {
	From string `json:"from"`
	Text string `json:"text"`
}

// schema is what each request asks for.
const schema = `{"type": "object", "properties": {"from": {"type": "string"}, "text": {"type": "string"}},
	"required": ["from", "text"], "additionalProperties": false}`

// right returns the answer of a provider.
func right(from string) string {
	text, err := json.Marshal(content{from, "Paris is the capital of France, and lies on the river Seine in the north of it."})
	if err != nil {
		panic(err) // it has strings alone
	}
	return string(text)
}

const primary, fallback = "primary", "fallback"

// row is what the primary does with each request.
type row struct {
	name  string
	what  string // for a reader who does not know the name
	fault chaos.Fault
	// control rows are no fault of the provider.
	control bool
	// wrong is a request that the provider must refuse: it has no messages.
	wrong bool
}

// patience is how long each gateway is told that a provider may be silent, and impatience
// when a client goes away.
const (
	patience   = 3 * time.Second
	impatience = 15 * patience
)

// forEver is longer than anybody waits.
const forEver = time.Hour

var rows = []row{
	{name: "no fault", what: "the provider answers", control: true},
	{name: "slow pieces", what: "a right answer that drips: a piece, a wait, the next piece", fault: chaos.Fault{Kind: chaos.Drip, ChunkDelay: 30 * time.Millisecond}, control: true},
	{name: "wrong request", what: "the client's own mistake: the provider refuses it with 400", wrong: true, control: true},

	{name: "error 500", what: "the provider's own error object", fault: chaos.Fault{Kind: chaos.Status, Status: http.StatusInternalServerError}},
	{name: "overloaded", what: "503, Anthropic's 529", fault: chaos.Fault{Kind: chaos.Status, Error: "overloaded"}},
	{name: "rate limit, a minute", what: "429 that says: come back in a minute", fault: chaos.Fault{Kind: chaos.Status, Error: "rate_limit", RetryAfter: "60"}},
	{name: "rate limit, a second", what: "429 that says: come back in a second, however often one does", fault: chaos.Fault{Kind: chaos.Status, Error: "rate_limit", RetryAfter: "1"}},
	{name: "rate limit, untold", what: "429 without a hint", fault: chaos.Fault{Kind: chaos.Status, Status: http.StatusTooManyRequests, Body: new(untold), Headers: noHints()}},
	{name: "quota used up", what: "429, 402 or 403 with the code that says so", fault: chaos.Fault{Kind: chaos.Status, Error: "billing"}},
	{name: "bad key", what: "the provider does not know the gateway's key", fault: chaos.Fault{Kind: chaos.Status, Error: "bad_key"}},
	{name: "reset", what: "the connection is reset before any header", fault: chaos.Fault{Kind: chaos.Reset}},
	{name: "hang", what: "the request is taken, and nothing comes", fault: chaos.Fault{Kind: chaos.Hang}},

	{name: "HTML in 200", what: "a proxy's page under status 200", fault: chaos.Fault{Kind: chaos.Status, Status: http.StatusOK, Body: new("<!doctype html><title>Please wait</title><h1>We'll be back soon</h1>\n"), Headers: http.Header{"Content-Type": {"text/html"}}}},
	{name: "error in 200", what: "an error object under status 200", fault: chaos.Fault{Kind: chaos.Status, Status: http.StatusOK, Error: "server_error"}},
	{name: "empty", what: "an answer without text", fault: chaos.Fault{Kind: chaos.Empty}},
	{name: "bad JSON", what: "an answer with bytes in it that are neither JSON nor an event", fault: chaos.Fault{Kind: chaos.Garbage}},
	{name: "wrong answer", what: "JSON that does not fit the schema that the request asks for", fault: chaos.Fault{Answer: `{"from": 7}`}},

	{name: "error at first", what: "an error before the first piece of a stream; of a whole answer, 503", fault: chaos.Fault{Kind: chaos.StreamError, Error: "overloaded", After: new(0)}},
	{name: "error within", what: "an error in the middle of a stream; of a whole answer, 503", fault: chaos.Fault{Kind: chaos.StreamError, Error: "overloaded"}},
	{name: "cut off", what: "the connection is closed in the middle of an answer", fault: chaos.Fault{Kind: chaos.Cut}},
	{name: "cut clean", what: "half an answer, and a clean end of the response", fault: chaos.Fault{Kind: chaos.Cut, End: chaos.Clean}},
	{name: "stalled", what: "the response begins, and then nothing comes; in Gemini's streams after a piece of the text", fault: chaos.Fault{Kind: chaos.Drip, ChunkDelay: forEver}},
	{name: "unfinished", what: "all of the text, without the end that says so", fault: chaos.Fault{Kind: chaos.Unfinished}},
}

// untold is an error that all protocols have a form for.
const untold = `{"type": "error", "error": {"type": "rate_limit_error", "code": 429, "status": "RESOURCE_EXHAUSTED", "message": "Too many requests."}}`

// noHints takes away the headers that tell a wait or what is left.
func noHints() http.Header {
	h := http.Header{"Retry-After": nil}
	for _, of := range []string{"Requests", "Tokens", "Input-Tokens", "Output-Tokens"} {
		for _, what := range []string{"Limit", "Remaining", "Reset"} {
			h["X-Ratelimit-"+what+"-"+of] = nil
			h["Anthropic-Ratelimit-"+of+"-"+what] = nil
		}
	}
	return h
}

// planned returns what the primary does: the row's fault with each request.
func (r row) planned() *chaos.Plan {
	f := r.fault
	switch f.Kind {
	case "", chaos.Drip, chaos.Garbage, chaos.StreamError, chaos.Cut, chaos.Unfinished:
		if f.Answer == "" {
			f.Answer = right(primary)
		}
	}
	return &chaos.Plan{Steps: []chaos.Fault{f}, Repeat: true}
}

// faults is how many rows are faults.
func faults() (n int) {
	for _, r := range rows {
		if !r.control {
			n++
		}
	}
	return n
}
