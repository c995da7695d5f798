package record

import (
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"llmcall/failure"
	"llmcall/internal/yamlfile"
	"llmcall/llm"
)

// Plan returns a plan for package chaos, in YAML, which does to the requests of a program
// what was done to the recorded ones: a step for each recording, in the order given. Read it
// with chaos.ParsePlan, or give it to `llmcall chaos --plan`.
//
// The steps of recordings of models work in every protocol: an answer has the recorded text,
// or calls the recorded tool; a failure is the one that means the same. Those of HTTP
// recordings have the recorded status, headers and body, which suits the protocol that they
// were recorded in. All come as late as the recorded ones did. What its caller cancelled has no
// step. It is an error if there is no step.
func Plan(recordings []*Recording) ([]byte, error) {
	var plan struct {
		Steps []step `json:"steps"`
	}
	for _, r := range recordings {
		if r.cancelled() {
			continue
		}
		s := step{Kind: "right"}
		if r.HTTP != nil {
			s.exchange(r)
		} else {
			s.call(r)
		}
		plan.Steps = append(plan.Steps, s)
	}
	if len(plan.Steps) == 0 {
		return nil, errors.New("record: a plan must have at least one step, got no recording of an answer or a failure")
	}
	text, err := json.Marshal(plan)
	if err != nil {
		return nil, err
	}
	n, err := yamlfile.Parse(text)
	if err != nil {
		return nil, err
	}
	written, err := dumped(n)
	if err != nil {
		return nil, err
	}
	return []byte("# Made of recordings of llmcall: each step is what was done to a request.\n" + written), nil
}

// step is a chaos.Fault in a file.
type step struct {
	Kind       string  `json:"kind"`
	Error      string  `json:"error,omitempty"`
	Status     int     `json:"status,omitempty"`
	Delay      *span   `json:"delay,omitempty"`
	ChunkDelay *span   `json:"chunk_delay,omitempty"`
	After      *int    `json:"after,omitempty"`
	Finish     string  `json:"finish,omitempty"`
	Tool       string  `json:"tool,omitempty"`
	RetryAfter string  `json:"retry_after,omitempty"`
	Headers    headers `json:"headers,omitempty"`
	Answer     string  `json:"answer,omitempty"`
	Body       *string `json:"body,omitempty"`
}

// late sets the delays: until the first piece, and the mean between two.
func (s *step) late(r *Recording) {
	first := r.Took
	if n := len(r.Pieces); n > 0 {
		if first = r.Pieces[0].At; n > 1 {
			s.ChunkDelay = rounded((r.Pieces[n-1].At - first) / time.Duration(n-1))
		}
	}
	s.Delay = rounded(first)
}

// rounded returns a time in milliseconds; nil if it is less than one.
func rounded(d time.Duration) *span {
	if d = d.Round(time.Millisecond); d > 0 {
		return new(span(d))
	}
	return nil
}

// call makes the step of a request to a model.
func (s *step) call(r *Recording) {
	if r.Err != nil {
		s.failure(r)
		return
	}
	s.late(r)
	answer := r.Call.Response
	if calls := answer.Message.ToolCalls(); len(calls) > 0 {
		s.Tool = calls[0].Name
		return
	}
	if s.Answer = answer.Text(); len(r.Call.Request.Tools) > 0 {
		s.Tool = "none"
	}
	switch finish := answer.Finish; {
	case finish == llm.FinishLength:
		s.Kind = "length"
	case finish == llm.FinishFiltered:
		s.Kind = "filter"
	case finish == llm.FinishNone && !r.Left:
		s.Kind = "unfinished"
	case s.Answer == "":
		s.Kind, s.Tool = "empty", ""
	case !finish.Known() && headerValue(string(finish)):
		s.Finish = string(finish)
	}
}

// faults has the error of package chaos that means the same as a kind, or the kind of fault.
var faults = map[failure.Kind]step{
	failure.Unknown:          {Kind: "status", Error: "server_error"},
	failure.Transient:        {Kind: "status", Error: "server_error"},
	failure.Overloaded:       {Kind: "status", Error: "overloaded"},
	failure.RateLimited:      {Kind: "status", Error: "rate_limit"},
	failure.QuotaExhausted:   {Kind: "status", Error: "billing"},
	failure.AttemptTimeout:   {Kind: "hang"},
	failure.DeadlineExceeded: {Kind: "hang"},
	failure.Unauthorized:     {Kind: "status", Error: "bad_key"},
	failure.ModelNotFound:    {Kind: "status", Error: "model_not_found"},
	failure.InvalidRequest:   {Kind: "status", Error: "invalid_request"},
	failure.ContextTooLong:   {Kind: "status", Error: "context_too_long"},
	failure.ContentFiltered:  {Kind: "refuse"},
	failure.CutOff:           {Kind: "unfinished"},
	failure.InvalidAnswer:    {Kind: "prose"},
}

// failure makes the step of a failed request to a model.
func (s *step) failure(r *Recording) {
	f := r.failed()
	known, ok := faults[f.Kind]
	if !ok { // no provider says so: as good as any
		known = faults[failure.Unknown]
	}
	grown := 0
	for _, p := range r.Pieces {
		if p.Size > 0 || p.Part || p.Progress {
			grown++
		}
	}
	*s = known
	if s.Kind == "status" && f.Status == 0 && (f.Kind == failure.Transient || f.Kind == failure.Unknown) {
		*s = step{Kind: "reset"} // there was no response
		if grown > 0 {
			s.Kind, s.After = "cut", new(grown)
		}
	}
	s.late(r)
	if s.Kind != "status" {
		if s.Kind == "hang" || s.Kind == "reset" {
			s.ChunkDelay = nil
		}
		if s.Kind == "hang" {
			s.Delay = nil
		}
		return
	}
	if grown > 0 {
		s.Kind, s.After = "stream_error", new(grown)
	}
	if s.ChunkDelay = nil; f.Status >= http.StatusBadRequest && f.Status <= 599 {
		s.Status = f.Status
	}
	if f.NoRetry {
		s.Headers = headers{"X-Should-Retry": {"false"}}
	}
	switch {
	case f.Told:
		s.RetryAfter = strconv.FormatFloat(f.RetryAfter.Seconds(), 'f', -1, 64)
	case f.Kind == failure.RateLimited: // without this it says a second
		s.Headers = headers{"Retry-After": {}, "Retry-After-Ms": {}}
	}
}

// exchange makes the step of an HTTP request.
func (s *step) exchange(r *Recording) {
	switch {
	case r.Err != nil && failure.KindOf(r.Err) == failure.AttemptTimeout && r.HTTP.Status == 0:
		s.Kind = "hang"
		return
	case r.Err != nil && r.HTTP.Status == 0:
		s.Kind = "reset"
		s.Delay = rounded(r.Took)
		return
	case r.Err != nil:
		s.Kind = "cut"
		if s.late(r); len(r.Pieces) > 0 {
			s.After = new(strings.Count(strings.ReplaceAll(string(r.HTTP.Body), "\r\n", "\n"), "\n\n"))
		}
		return
	}
	s.late(r)
	body := r.HTTP.Body
	if r.HTTP.Status < http.StatusBadRequest && (r.Left || !utf8.Valid(body)) {
		return // a correct one: the recorded one is not whole, or compressed
	}
	if s.Kind, s.Status, s.ChunkDelay = "status", r.HTTP.Status, nil; !utf8.Valid(body) {
		return
	}
	s.Body = new(string(body))
	for name, values := range r.HTTP.Header {
		if !slices.Contains([]string{"Content-Encoding", "Server"}, name) && !slices.ContainsFunc(values, func(v string) bool { return !headerValue(v) }) {
			if s.Headers == nil {
				s.Headers = headers{}
			}
			s.Headers[name] = values
		}
	}
}

// headerValue reports whether a text may be the value of a header.
func headerValue(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f })
}
