package simulate

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"time"

	"llmcall/chaos"
	"llmcall/classify"
	"llmcall/endpoint"
	"llmcall/failure"
	"llmcall/internal/limiter"
	"llmcall/internal/protocol"
	"llmcall/pace"
)

// face is a provider's protocol: errors and limits arrive as its adapter would read them.
type face struct {
	protocol.Protocol
	name string // for classify
	path string // of a request for an answer
	body string // of one
}

// faceOf returns the protocol of a model, by the provider in its name: OpenAI's unless it
// is Anthropic or Gemini.
func faceOf(name string) face {
	switch provider, _, _ := strings.Cut(name, "/"); provider {
	case classify.Anthropic:
		return face{protocol.Messages{}, classify.Anthropic, "/v1/messages", `{"model": "m", "max_tokens": 100, "messages": [{"role": "user", "content": "x"}]}`}
	case classify.Gemini:
		return face{protocol.Gemini{}, classify.Gemini, "/v1beta/models/m:generateContent", `{"contents": [{"role": "user", "parts": [{"text": "x"}]}]}`}
	}
	return face{protocol.Chat{}, classify.OpenAI, "/v1/chat/completions", `{"model": "m", "messages": [{"role": "user", "content": "x"}]}`}
}

// refusal is an error of the provider, as its adapter reports it.
type refusal struct {
	err  failure.Error
	told *pace.Told
}

// by returns the error of a request to a model, and tells its call what the headers said.
func (r refusal) by(ctx context.Context, name string) error {
	if r.told != nil {
		told := *r.told
		told.At = time.Now()
		endpoint.Told(ctx, &told)
	}
	e := r.err
	e.Model = name
	return &e
}

// response is where a handler writes to.
type response struct {
	status int
	header http.Header
	body   bytes.Buffer
}

func (r *response) Header() http.Header { return r.header }

func (r *response) WriteHeader(status int) {
	if r.status == 0 {
		r.status = status
	}
}

func (r *response) Write(p []byte) (int, error) {
	r.WriteHeader(http.StatusOK)
	return r.body.Write(p)
}

// errorOf returns the provider's error for a fault of kind status. It is the one that
// package chaos sends, and package classify reads.
func (f face) errorOf(cause chaos.Fault) (refusal, error) {
	cause.Weight, cause.Delay = 0, 0
	s, err := chaos.New(chaos.Config{Plan: &chaos.Plan{Steps: []chaos.Fault{cause}}})
	if err != nil {
		return refusal{}, err
	}
	req, err := http.NewRequest(http.MethodPost, "http://localhost"+f.path, strings.NewReader(f.body))
	if err != nil {
		return refusal{}, err
	}
	req.Header.Set("Content-Type", "application/json")
	if f.name == classify.Anthropic {
		req.Header.Set("Anthropic-Version", "2023-06-01")
	}
	w := response{header: http.Header{}}
	s.ServeHTTP(&w, req)
	r, found := f.read(w.status, w.header, w.body.Bytes(), time.Now())
	if !found {
		return refusal{}, fmt.Errorf("a status of %d is not an error", w.status)
	}
	return r, nil
}

// read classifies an error as an adapter does.
func (f face) read(status int, header http.Header, body []byte, at time.Time) (refusal, bool) {
	resp := &http.Response{StatusCode: status, Header: header}
	e := classify.Response(f.name, resp, body)
	if e == nil {
		return refusal{}, false
	}
	return refusal{*e, classify.Told(f.name, header, at)}, true
}

// The errors of connections.
var (
	broken = refusal{err: failure.Error{Kind: failure.Transient, Err: syscall.ECONNRESET}}
	cutOff = refusal{err: failure.Error{Kind: failure.Transient, Err: io.ErrUnexpectedEOF}}
)

// overloaded is the error of a request that finds the queue full, as package chaos sends it.
var overloaded = chaos.Fault{Kind: chaos.Status, Code: "ollama_busy"}

// overLimit returns the refusal of a request over a limit, with the hint and the headers
// that the limits say.
func (f face) overLimit(over *limiter.Excess, l *chaos.Limits, header http.Header, now time.Time) refusal {
	e := protocol.Error{Status: http.StatusTooManyRequests, Kind: f.Kind(http.StatusTooManyRequests)}
	e.Message = fmt.Sprintf("Rate limit reached for %s: limit %d a minute", over.Limit, over.PerMinute)
	if f.name == classify.OpenAI {
		e.Kind, e.Code = over.Limit, "rate_limit_exceeded"
	}
	unit := time.Millisecond
	if l.Hint == chaos.HintSeconds {
		unit = time.Second
	}
	switch wait := roundUp(over.Wait, unit); {
	case over.Never:
		e.Message = fmt.Sprintf("Request too large: limit %d %s a minute, requested %d", over.PerMinute, over.Limit, over.Requested)
	case l.Hint == chaos.HintNone:
	case f.name == classify.Gemini:
		e.Wait = strconv.FormatFloat(wait.Seconds(), 'f', -1, 64) + "s"
	default:
		header.Set("Retry-After", strconv.FormatInt(int64(roundUp(wait, time.Second)/time.Second), 10))
		if f.name == classify.OpenAI && unit == time.Millisecond {
			header.Set("Retry-After-Ms", strconv.FormatInt(wait.Milliseconds(), 10))
		}
	}
	r, _ := f.read(e.Status, header, f.ErrorBody(&e, func(prefix string) string { return prefix + "simulated" }), now)
	return r
}

// roundUp rounds up, so that clients don't come back too early.
func roundUp(d, unit time.Duration) time.Duration { return (d + unit - 1).Truncate(unit) }

// limitHeader returns the headers that say what is left of the limits.
func (f face) limitHeader(l *chaos.Limits, rooms map[string]protocol.Room, now time.Time) http.Header {
	h := http.Header{}
	if l.Headers != nil && !*l.Headers || l.Headers == nil && l.Hint == chaos.HintNone {
		return h
	}
	for which, room := range rooms {
		for name, values := range f.LimitHeader(which, room, now) {
			h[name] = values
		}
	}
	return h
}

// Kinds that a simulation gives a meaning; see [Fault].
var faultKinds = []chaos.Kind{
	chaos.Right, chaos.Slow, chaos.Empty, chaos.Length, chaos.Prose, chaos.Break, chaos.Filter, chaos.Refuse, chaos.Cut, chaos.Status, chaos.Reset, chaos.Hang,
}
