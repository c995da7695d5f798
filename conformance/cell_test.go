package conformance_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"llmcall"
	"llmcall/backoff"
	"llmcall/breaker"
	"llmcall/chaos"
	"llmcall/endpoint"
	"llmcall/failure"
	"llmcall/llm"
	"llmcall/retry"
)

// cell is what happened, as the page has it.
type cell struct {
	kind     string // what went wrong at the last attempt, and as the provider put it
	requests string // that reached the server; asManyAsFit
	waits    string // as decided
	circuit  string // what the breaker counted
	ended    string // why there was no further attempt
	once     string // what comes of it if the failure happens once, before a right answer
}

// call is one call of a model whose server fails as planned.
type call struct {
	result   *llmcall.Result
	err      error
	attempts []llmcall.Attempt
	waits    []wait
	requests []chaos.Recorded
	breaker  breaker.Snapshot
	limited  bool // the endpoint was refused for its rate or for want of capacity
}

type wait struct {
	length time.Duration
	why    retry.WaitReason
}

// maxAttempts and the other settings of the page; see intro.
const maxAttempts = 3

const (
	initialDelay = 20 * time.Millisecond
	callLimit    = time.Minute
)

// cellOf makes the calls of a cell.
func cellOf(p provider, r row, stream bool) (cell, error) {
	fault := r.fault
	if r.told > 0 {
		p.tell(&fault, r.told)
	}
	always, once := &chaos.Plan{Steps: []chaos.Fault{fault}, Repeat: true}, &chaos.Plan{Steps: []chaos.Fault{fault}}
	first, err := callOf(p, r, stream, always, false)
	if err != nil {
		return cell{}, err
	}
	means := r.means
	if other, ok := r.except[p.name]; ok {
		means = other
	}
	if got := failure.KindOf(first.err); means != failure.Unknown && got != means {
		return cell{}, fmt.Errorf("it is %v, and must be %v: %w", got, means, first.err)
	}
	c := cell{
		kind: first.kind(), requests: first.requested(), waits: first.waited(max(r.told, r.tells)),
		circuit: first.circuit(), ended: first.ended(),
	}
	if c.circuit == "" {
		// A closed circuit counts no successes while there are no failures; one
		// that is half open does.
		probe, err := callOf(p, r, stream, always, true)
		if err != nil {
			return c, err
		}
		c.circuit = probe.circuit()
	}
	if first.err == nil {
		return c, nil
	}
	second, err := callOf(p, r, stream, once, false)
	switch {
	case err != nil:
		return c, err
	case second.err == nil:
		c.once = fmt.Sprintf("answered, %d requests", len(second.requests))
	case second.ended() == c.ended && second.kind() == c.kind:
		c.once = "the same"
	default:
		return c, fmt.Errorf("where it happens once, the call ends with %q (%s)", second.ended(), second.kind())
	}
	return c, nil
}

// callOf makes one call. Where the row reaches a time limit, and the machine is
// too slow for it, the call is made again with a longer one.
func callOf(p provider, r row, stream bool, plan *chaos.Plan, halfOpen bool) (*call, error) {
	if r.large {
		large.Lock()
		defer large.Unlock()
	}
	for limit := patience; ; limit *= 2 {
		c, err := callWithin(limit, p, r, stream, plan, halfOpen)
		if err != nil || r.limit == nil || !c.hurried(r.fault.Kind) || limit >= mostPatience {
			return c, err
		}
	}
}

// callWithin makes one call, on a server and an endpoint of its own.
func callWithin(limit time.Duration, p provider, r row, stream bool, plan *chaos.Plan, halfOpen bool) (*call, error) {
	s, err := chaos.New(chaos.Config{Plan: plan})
	if err != nil {
		return nil, err
	}
	url, client, end := listen(s)
	defer end()
	if r.refused {
		end() // nobody listens there any more
	}
	model, err := p.open(url, client)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), callLimit)
	defer cancel()
	endpoints, circuit, err := endpointFor(model, halfOpen)
	if err != nil {
		return nil, err
	}
	c := new(call)
	cfg := llmcall.RetryConfig{
		MaxAttempts: maxAttempts, Backoff: backoff.Exponential{Initial: initialDelay, Jitter: backoff.NoJitter},
		MaxRateLimitWait: maxLimitTime, DisableRetryBudget: true,
		Endpoints: endpoints, EnableCircuitBreaker: true, CircuitBreakerConfig: llmcall.CircuitBreakerConfig{Config: circuit},
		Observer: func(_ context.Context, e llmcall.Event) context.Context {
			if e.Type == llmcall.EventWaiting {
				c.waits = append(c.waits, wait{e.Wait, e.WaitReason})
			}
			return nil
		},
	}
	if r.limit != nil {
		r.limit(&cfg, limit)
	}
	if r.config != nil {
		r.config(&cfg)
	}
	c.result, c.err = ask(ctx, model, stream, cfg)
	after := endpoints.Get(endpoint.KeyOf(model)).Snapshot()
	c.requests, c.breaker, c.limited = s.Requests(), after.Circuits[0], after.Pace.Episodes > 0
	switch e, ok := errors.AsType[*llmcall.Error](c.err); {
	case (c.result == nil) != ok:
		return nil, fmt.Errorf("the call ends with %v and %v", c.result, c.err)
	case ok:
		c.attempts = e.Attempts
	default:
		c.attempts = c.result.Attempts
	}
	return c, c.tooEarly()
}

// ask asks for an answer, whole or as a stream.
func ask(ctx context.Context, model llm.Model, stream bool, cfg llmcall.RetryConfig) (result *llmcall.Result, err error) {
	req := llm.Prompt("Say something about the weather.")
	if !stream {
		return llmcall.RetryWithValidation(ctx, model, req, nil, cfg)
	}
	for piece, failed := range llmcall.Stream(ctx, model, req, nil, cfg) {
		result, err = piece.Result, failed
	}
	return result, err
}

// endpointFor returns a registry for one call, and the settings of a circuit that
// opens only if it is tripped; halfOpen, that of the model is, and counts
// successes.
func endpointFor(model llm.Model, halfOpen bool) (*endpoint.Registry, breaker.Config, error) {
	settings := breaker.Config{FailureThreshold: 10, TripTimeout: time.Hour, SuccessThreshold: 10, ProbeLease: callLimit}
	if halfOpen {
		settings.TripTimeout = time.Nanosecond
	}
	endpoints, err := endpoint.NewRegistry(endpoint.Config{})
	if err != nil || !halfOpen {
		return endpoints, settings, err
	}
	// The options of the client that is tried: those share a circuit.
	endpoints.Get(endpoint.KeyOf(model)).Circuit(endpoint.Options{Breaker: settings, NoBudget: true}).Trip(breaker.Failure{})
	return endpoints, settings, nil
}

// hurried reports whether an attempt was out of time without the fault's doing:
// before its request had come, or where the answer was right.
func (c *call) hurried(fault chaos.Kind) bool {
	late, meant := 0, 0
	for _, a := range c.attempts {
		if a.Outcome != llmcall.OutcomeValid && a.Kind == failure.AttemptTimeout {
			late++
		}
	}
	for _, request := range c.requests {
		if request.Fault.Kind == fault {
			meant++
		}
	}
	return late > meant
}

// tooEarly reports a request that came earlier than was decided, but for our own
// pace: its rate may rise meanwhile. Those that a redirect led to are not counted.
func (c *call) tooEarly() error {
	var came []time.Time
	for _, request := range c.requests {
		if request.Protocol != "" {
			came = append(came, request.Time)
		}
	}
	for i, w := range c.waits {
		if w.why != retry.PaceWait && i+1 < len(came) && came[i+1].Sub(came[i]) < w.length {
			return fmt.Errorf("request %d came %v after the one before, and a wait of %v was decided", i+2, came[i+1].Sub(came[i]), w.length)
		}
	}
	return nil
}

// kind is what went wrong, with the provider's status and code.
func (c *call) kind() string {
	if c.err == nil {
		return "none"
	}
	var kinds []string
	for _, a := range c.attempts {
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

// asManyAsFit is the number of requests of a call that ended with
// max_rate_limit_wait.
const asManyAsFit = "as fit"

// requested is how many requests reached the server.
func (c *call) requested() string {
	if c.stop() == retry.RateLimitWaitExceeded && len(c.requests) > 1 {
		return asManyAsFit
	}
	return strconv.Itoa(len(c.requests))
}

// waited is what was decided about the waits; of those of as many requests as
// fit, the first. How long one for a limit is, is told: as exactly as the
// row knows it, with the spread of the first turn after it. Our own pace depends
// on when the refusals came.
func (c *call) waited(told time.Duration) string {
	var texts []string
	for _, w := range c.waits {
		text := w.length.String()
		switch w.why {
		case retry.NoWait:
			continue
		case retry.PaceWait:
			text = "our own"
		case retry.ProviderWait, retry.RateLimitWait:
			if text = "as told"; told > 0 && w.length > told-spread && w.length <= told+told/10 {
				text = told.String()
			}
		}
		texts = append(texts, text+" ("+w.why.String()+")")
	}
	if c.requested() == asManyAsFit {
		texts = append(texts[:1], "…")
	}
	return strings.Join(texts, ", ")
}

// spread is by how much a wait may be shorter where it begins than it was when
// it was told.
const spread = 100 * time.Millisecond

// circuit is what the breaker counted, or that the endpoint is held to a limit
// from now on; "" if nothing of a closed circuit tells.
func (c *call) circuit() string {
	limit := ""
	if c.limited {
		limit = "limit"
	}
	switch b := c.breaker; {
	case b.State == breaker.Open:
		return "tripped"
	case b.Failures > 0:
		return plural(b.Failures, "failure")
	case b.State == breaker.HalfOpen && b.Passed > 0:
		return plural(b.Passed, "success")
	case b.State == breaker.HalfOpen && limit == "":
		return "nothing"
	}
	return limit
}

func (c *call) ended() string {
	if c.err == nil {
		return "answered"
	}
	reason := c.stop().String()
	if e, ok := errors.AsType[*llmcall.Error](c.err); ok && e.Reason != llmcall.ReasonProviderFailed && e.Reason != llmcall.ReasonRateLimited {
		reason += ": " + string(e.Reason)
	}
	return reason
}

// stop is why there was no further attempt.
func (c *call) stop() retry.Reason {
	if e, ok := errors.AsType[*retry.Error](c.err); ok {
		return e.Reason
	}
	return 0
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
