package llmcall

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"llmcall/breaker"
	"llmcall/endpoint"
	"llmcall/failure"
	"llmcall/llm"
	"llmcall/retry"
)

// Hedge says when an attempt asks a second time because its answer takes unusually long.
// The first valid answer counts; the other request is cancelled. The second request goes
// to the next of the stage's models that can serve, or else to the same one. It passes all
// guards and waits for none: there is none while a pacer would make it wait, or where the
// circuit of its model is not CLOSED. Answers that are streamed to the caller, and stages
// with tools that are not [Tool.ReadOnly], are not hedged. A hedge uses up no attempt.
//
// The comment after a field is its name in a configuration file, where `after` has both
// the time and the quantile: {after: p95}, {after: 2s}.
type Hedge struct {
	// After is the time after which a second request is sent. Either After or Quantile
	// must be set. Default 0: by Quantile.
	After time.Duration // after
	// Quantile is the share of the model's last 1,000 answers that came sooner than the
	// second request is sent, from 0.5 to 0.999: 0.95 for the slowest 5 %. There is no
	// second request before the 50th answer. Default 0: by After.
	Quantile float64 // after
	// Extra limits the second requests to this share of the requests to a model, of
	// which 10 can be saved up. From 0.001 to 1. Default 0.05.
	Extra float64 // extra
	// SameModel sends the second request to the same model even if there is another.
	// Default false.
	SameModel bool // same_model
}

// DefaultHedgeExtra is the default of [Hedge.Extra].
const DefaultHedgeExtra = 0.05

// validate returns an error for an impossible setting.
func (h *Hedge) validate() error {
	switch {
	case h.After < 0 || (h.After > 0) == (h.Quantile != 0):
		return &ConfigError{Field: "hedge.after", Err: errors.New("must be either a time above 0 or a quantile")}
	case h.Quantile != 0 && !(h.Quantile >= 0.5 && h.Quantile <= 0.999):
		return &ConfigError{Field: "hedge.after", Got: h.Quantile, Takes: "a quantile from 0.5 to 0.999"}
	case h.Extra != 0 && !(h.Extra >= 0.001 && h.Extra <= 1):
		return &ConfigError{Field: "hedge.extra", Got: h.Extra, Takes: takesMore}
	}
	return nil
}

// hedgePolicy returns the policy of a second request: one attempt, without waits.
func (c *RetryConfig) hedgePolicy() (*retry.Policy, error) {
	if c.Hedge == nil {
		return nil, nil
	}
	table := c.Table()
	return retry.New(retry.Config{
		MaxAttempts: 1, AttemptTimeout: c.AttemptTimeout, Hang: c.Hang, Decisions: &table, MaxRateLimitWait: 1, FallbackAfter: 1, Client: c.Client,
	})
}

// second is the second request of an attempt, which may never be made. A nil one is that
// of an attempt that is not hedged.
type second struct {
	first   *call
	own     *call // with a trace of its own
	latency *endpoint.Latency
	start   time.Time   // of the attempt
	timer   *time.Timer // nil if there is no time for a second request
	stop    func()      // ends the contexts of the first request and of its checks
	cancel  func()      // ends the context of the second
	over    bool        // there will be no second request, or it has ended
	done    chan struct{}
	made    bool // set, as what follows, before done is closed
	answer  *llm.Response
	err     error
	panic   any
}

// lostError ends a request because another one was answered sooner, which says nothing
// about the provider.
type lostError struct{}

func (lostError) Error() string             { return "another request was answered sooner" }
func (lostError) FailureKind() failure.Kind { return failure.Cancelled }

// hedge begins to wait for the time of the second request. The attempt must use the
// context that it returns, which ends when the second request has a valid answer.
func (c *call) hedge(ctx context.Context) (context.Context, *second) {
	h := c.cfg.Hedge
	if h == nil || c.streams() || c.at().acts() {
		return ctx, nil
	}
	s := &second{first: c, start: time.Now(), latency: c.client.targets[c.target].Endpoint.Latency()}
	s.latency.Earn(cmp.Or(h.Extra, DefaultHedgeExtra))
	after := h.After
	if h.Quantile > 0 {
		known := false
		if after, known = s.latency.Quantile(h.Quantile); !known {
			s.over = true
			return ctx, s
		}
	}
	candidates := []int{c.target}
	if !h.SameModel {
		candidates = append(c.tries.Alternatives(), c.target)
	}
	ctx, endAsking := context.WithCancel(ctx)
	c.tries.Narrow(ctx) // so that no turn is waited for once the second has answered
	checking, endChecking := context.WithCancel(c.within)
	within, cancel := context.WithCancel(c.within)
	c.within = checking
	s.stop = func() { endAsking(); endChecking() }
	s.own, s.cancel, s.done = c.again(within), cancel, make(chan struct{})
	s.timer = time.AfterFunc(after, func() { s.run(within, candidates) })
	return ctx, s
}

// again returns a call that makes the same request, without an observer, which is called
// on the goroutine of its call.
func (c *call) again(ctx context.Context) *call {
	quiet := *c.cfg
	quiet.Observer, quiet.Hedge = nil, nil
	return &call{
		client: c.client, cfg: &quiet, model: c.model, req: c.req, checks: c.checks, ctx: ctx, within: ctx, stage: c.stage,
		purse: c.purse, failed: c.failed, given: c.given, maxTokens: c.maxTokens, ceiling: c.ceiling, next: c.next,
	}
}

// run makes the second request at the first of the candidates that admits it.
func (s *second) run(ctx context.Context, candidates []int) {
	defer close(s.done)
	defer func() {
		if s.panic = recover(); s.panic != nil || s.made && s.err == nil {
			s.stop()
		}
	}()
	if r := s.own.client.rows; r != nil && r.isOver() {
		return
	}
	for _, target := range candidates {
		if b := s.own.client.circuit(target); b != nil && b.State() != breaker.Closed {
			continue
		}
		if !s.latency.Spend() {
			return
		}
		s.own.tries = retry.Call{}
		if s.ask(ctx, target); s.made {
			return
		}
		s.latency.Back()
	}
}

// ask makes the request at a target, unless a guard refuses it.
func (s *second) ask(ctx context.Context, target int) {
	k := &s.own.tries
	guard, own := s.own.purse.guards()
	s.own.guard, s.own.measured = guard, nil
	req := s.own.pending()
	s.own.reckon(&req)
	k.Begin(ctx, s.own.client.second, s.own.client.targets, own...)
	defer k.Close()
	if !k.Among([]int{target}, 1) || !k.Next() {
		return
	}
	s.own.begin()
	s.made, s.err = true, errGoexit
	s.answer, s.err = s.own.attempt()
}

// settle ends the second request, and returns the answer of the attempt: that of the
// first request if it is valid, else that of the second.
func (s *second) settle(answer *llm.Response, err error) (*llm.Response, error) {
	if s == nil {
		return answer, err
	}
	s.over = s.over || s.timer.Stop()
	if !s.over {
		if err == nil {
			s.cancel()
		}
		<-s.done
		s.over = true
		if s.panic != nil {
			panic(s.panic)
		}
	}
	took := time.Since(s.start)
	if !s.made {
		if err == nil {
			s.latency.Add(took)
		}
		return answer, err
	}
	c := s.first
	r, other := c.current(), s.own.current()
	other.Number, other.Why = r.Number, ""
	c.trace.Usage = c.trace.Usage.Add(other.Usage).Add(other.CheckUsage)
	c.trace.Cost = c.trace.Cost.Add(other.Cost)
	r.Hedge = other
	if err == nil {
		s.latency.Add(took)
		if errors.Is(s.err, context.Canceled) {
			other.lose()
		}
		return answer, nil
	}
	if s.err != nil {
		return answer, err
	}
	// The second answer is not kept: those that are sooner than another are quick ones, and
	// would make the quantile too short.
	if errors.Is(err, context.Canceled) {
		s.latency.Add(took) // it would have taken longer
		err = lostError{}
	}
	c.tries.Settle(endpoint.Outcome{Err: err, Report: c.lost})
	c.describe(err)
	if err == (lostError{}) {
		r.lose()
	}
	c.report, c.model, c.last = s.own.report, s.own.model, s.own.last
	return s.answer, nil
}

// lose makes the record that of a request that was cancelled.
func (a *Attempt) lose() {
	a.Outcome, a.Kind, a.Error = OutcomeLost, failure.Cancelled, lostError{}.Error()
}

// close ends what the second request needed, and that itself if the attempt has panicked.
func (s *second) close() {
	if s == nil || s.timer == nil {
		return
	}
	s.stop()
	s.cancel()
	if !s.over && !s.timer.Stop() {
		<-s.done
	}
}

// acts reports whether the stage has tools that may change something, or must not run twice.
func (s *stage) acts() bool {
	return slices.ContainsFunc(s.tools, func(t *Tool) bool { return t.Run != nil && (!t.ReadOnly || t.Once) })
}
