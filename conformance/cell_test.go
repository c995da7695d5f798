package conformance_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"llmcall"
	"llmcall/backoff"
	"llmcall/breaker"
	"llmcall/chaos"
	"llmcall/failure"
	"llmcall/llm"
	"llmcall/retry"
)

// cell is what happened, as the page has it.
type cell struct {
	kind     string // what went wrong at the last attempt, and as the provider put it
	requests string // that reached the server
	waits    string // as decided
	circuit  string // what the breaker counted
	ended    string // why there was no further attempt
	once     string // what comes of it if the failure happens once, before a right answer
}

// call is one call of a model whose server fails as planned.
type call struct {
	result   *llmcall.Result
	err      error
	waits    []wait
	requests []chaos.Recorded
	breaker  breaker.Snapshot
	gated    bool
}

type wait struct {
	length time.Duration
	why    retry.Why
}

// maxAttempts and the other settings of the page; see intro.
const maxAttempts = 3

const (
	initialDelay = 20 * time.Millisecond
	callLimit    = time.Minute
)

// cellOf makes the calls of a cell.
func cellOf(t *testing.T, p provider, r row, stream bool) cell {
	t.Helper()
	always, once := &chaos.Plan{Steps: []chaos.Fault{r.faultOf(p)}, Repeat: true}, &chaos.Plan{Steps: []chaos.Fault{r.faultOf(p)}}
	first := callOf(t, p, r, stream, always, false)
	c := cell{
		kind: first.kind(), requests: strconv.Itoa(len(first.requests)), waits: first.waited(r.inexact),
		circuit: first.circuit(), ended: first.ended(), once: "the same",
	}
	if c.circuit == "" {
		// A breaker that nothing went wrong with counts no successes. In HALF_OPEN it does.
		c.circuit = callOf(t, p, r, stream, always, true).circuit()
	}
	if first.err == nil {
		c.once = ""
		return c
	}
	if second := callOf(t, p, r, stream, once, false); second.err == nil {
		c.once = fmt.Sprintf("answered, %d requests", len(second.requests))
	} else if second.ended() != c.ended || second.kind() != c.kind {
		t.Errorf("%s, %s: at first it ends with %q (%s), and if it happens once with %q (%s)", p.name, r.name, c.ended, c.kind, second.ended(), second.kind())
	}
	return c
}

func (r row) faultOf(p provider) chaos.Fault {
	f := r.fault
	if r.told > 0 {
		p.tell(&f, r.told)
	}
	return f
}

// callOf makes one call, on a server, a breaker and a gate of its own.
func callOf(t *testing.T, p provider, r row, stream bool, plan *chaos.Plan, halfOpen bool) *call {
	t.Helper()
	c := new(call)
	if r.large {
		large.Lock()
		defer large.Unlock()
	}
	s, err := chaos.New(chaos.Config{Plan: plan})
	if err != nil {
		t.Fatalf("%s: %v", r.name, err)
	}
	url, client, end := listen(t, s)
	defer end()
	if r.refused {
		url = nobody(t)
	}
	model, err := p.open(url, client)
	if err != nil {
		t.Fatal(err)
	}
	circuits, err := breaker.NewRegistry(breaker.Config{
		FailureThreshold: 10, TripTimeout: trip(halfOpen), SuccessThreshold: 10, HalfOpenProbes: 1, ProbeLease: callLimit,
	}, 0)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), callLimit)
	defer cancel()
	if halfOpen {
		b := circuits.Get(model.Name())
		b.Trip(errors.New("to be half open"))
		permit, err := b.Await(ctx)
		if err != nil {
			t.Fatal(err)
		}
		permit.Ignore()
	}
	gate := new(retry.Gate)
	cfg := llmcall.RetryConfig{
		MaxAttempts: maxAttempts, Backoff: backoff.Exponential{Initial: initialDelay, Jitter: backoff.NoJitter},
		MaxLimitTime: maxLimitTime, Breakers: circuits, Gate: gate, DisableRetryBudget: true,
		OnEvent: func(e llmcall.Event) {
			if e.Type == llmcall.WaitStarted {
				c.waits = append(c.waits, wait{e.Wait, e.Why})
			}
		},
	}
	if r.config != nil {
		r.config(&cfg)
	}
	req := llm.Prompt("Say something about the weather.")
	if stream {
		for piece, err := range llmcall.Stream(ctx, model, req, nil, cfg) {
			c.err = err
			if piece.Result != nil {
				c.result = piece.Result
			}
		}
	} else {
		c.result, c.err = llmcall.RetryWithValidation(ctx, model, req, nil, cfg)
	}
	c.requests, c.breaker, c.gated = s.Requests(), circuits.Get(model.Name()).Snapshot(), !gate.Until().IsZero()
	if (c.result == nil) == (c.err == nil) {
		t.Errorf("%s, %s: neither an answer nor an error, or both", p.name, r.name)
	}
	c.neverTooEarly(t, p, r)
	return c
}

func trip(halfOpen bool) time.Duration {
	if halfOpen {
		return time.Nanosecond
	}
	return time.Hour
}

// neverTooEarly holds that the requests came no earlier than was decided. A
// request that a redirect led to is not counted.
func (c *call) neverTooEarly(t *testing.T, p provider, r row) {
	t.Helper()
	var came []time.Time
	for _, request := range c.requests {
		if request.Protocol != "" {
			came = append(came, request.Time)
		}
	}
	for i, w := range c.waits {
		if i+1 < len(came) {
			if gap := came[i+1].Sub(came[i]); gap < w.length {
				t.Errorf("%s, %s: request %d came %v after the one before, though a wait of %v was decided", p.name, r.name, i+2, gap, w.length)
			}
		}
	}
}

// attempts is the trace of the call.
func (c *call) attempts() []llmcall.Attempt {
	if e, ok := errors.AsType[*llmcall.Error](c.err); ok {
		return e.Attempts
	}
	return c.result.Attempts
}

// kind is what went wrong, with the provider's status and code.
func (c *call) kind() string {
	if c.err == nil {
		return "none"
	}
	var kinds []string
	for _, a := range c.attempts() {
		if k := a.Kind.String(); len(kinds) == 0 || kinds[len(kinds)-1] != k {
			kinds = append(kinds, k)
		}
	}
	text := "`" + strings.Join(kinds, "`, then `") + "`"
	if f, ok := errors.AsType[*failure.Error](c.err); ok {
		if f.Status != 0 {
			text += fmt.Sprintf(", HTTP %d", f.Status)
		}
		if f.Code != "" {
			text += ", `" + f.Code + "`"
		}
	}
	return text
}

func (c *call) waited(inexact bool) string {
	var texts []string
	for _, w := range c.waits {
		text := w.length.String()
		switch {
		case w.why == retry.NoWait:
			continue
		case inexact && w.why != retry.BackoffWait:
			text = "as told"
		}
		texts = append(texts, text+" ("+w.why.String()+")")
	}
	return strings.Join(texts, ", ")
}

// circuit is what the breaker counted, and whether the gate was closed; "" if
// nothing of a closed circuit tells.
func (c *call) circuit() string {
	gate := ""
	if c.gated {
		gate = "gate"
	}
	switch b := c.breaker; {
	case b.State == breaker.Open:
		return "tripped"
	case b.Failures > 0:
		return plural(b.Failures, "failure")
	case b.State == breaker.HalfOpen && b.Passed > 0:
		return plural(b.Passed, "success")
	case b.State == breaker.HalfOpen && gate == "":
		return "nothing"
	}
	return gate
}

func (c *call) ended() string {
	if c.err == nil {
		return "answered"
	}
	reason := ""
	if e, ok := errors.AsType[*retry.Error](c.err); ok {
		reason = e.Reason.String()
	}
	if e, ok := errors.AsType[*llmcall.Error](c.err); ok && e.Reason != llmcall.ProviderFailed {
		reason += ": " + string(e.Reason)
	}
	return reason
}

func plural(n int, what string) string {
	switch {
	case n == 1:
		return "1 " + what
	case strings.HasSuffix(what, "s"):
		return fmt.Sprintf("%d %ses", n, what)
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// decimal writes a time as a number of units.
func decimal(d, unit time.Duration) string {
	return strconv.FormatFloat(float64(d)/float64(unit), 'f', -1, 64)
}
