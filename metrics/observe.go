package metrics

import (
	"context"
	"slices"

	"llmcall"
	"llmcall/account"
	"llmcall/failure"
	"llmcall/llm"
	"llmcall/retry"

	"github.com/prometheus/client_golang/prometheus"
)

// The outcomes of calls: these, and the reasons.
const (
	valid    = "valid"
	panicked = "panic"
)

var reasons = []llmcall.Reason{
	llmcall.ReasonNoValidAnswer, llmcall.ReasonNoProgress, llmcall.ReasonCheckUnavailable, llmcall.ReasonProviderFailed,
	llmcall.ReasonRateLimited, llmcall.ReasonCircuitOpen, llmcall.ReasonRetryBudgetSpent, llmcall.ReasonAccountSpent,
	llmcall.ReasonOutOfTime, llmcall.ReasonCancelled, llmcall.ReasonAborted, llmcall.ReasonHumanReview,
}

// kinds is the number of kinds of failure.
const kinds = len(failure.Table{})

// The parts of a usage, none of which includes another.
const (
	input = iota
	cachedInput
	cacheWriteInput
	output
	reasoningOutput
	types
)

var typeNames = [types]string{"input", "cached_input", "cache_write_input", "output", "reasoning_output"}

// series are those of a model, looked up once.
type series struct {
	model string

	calls    map[llmcall.Reason]prometheus.Counter
	valid    prometheus.Counter
	panicked prometheus.Counter
	strange  prometheus.Counter // an error that is not one of llmcall's
	callTime [2]prometheus.Observer

	attempts     [kinds]prometheus.Counter // by kind of failure
	validAttempt prometheus.Counter
	lostAttempt  prometheus.Counter
	attemptTime  [2]prometheus.Observer

	hedges         prometheus.Counter
	answer, checks [types]prometheus.Counter
	cost, unpriced prometheus.Counter
}

// series makes the series of a model. They begin at 0: the first failure is an increase.
func (m *Metrics) series(model string) *series {
	s := &series{
		model: model, calls: map[llmcall.Reason]prometheus.Counter{},
		valid: m.calls.WithLabelValues(model, valid), panicked: m.calls.WithLabelValues(model, panicked), strange: m.calls.WithLabelValues(model, Other),
		callTime:     [2]prometheus.Observer{m.callTime.WithLabelValues(model, "false"), m.callTime.WithLabelValues(model, "true")},
		validAttempt: m.attempts.WithLabelValues(model, valid), lostAttempt: m.attempts.WithLabelValues(model, string(llmcall.OutcomeLost)),
		attemptTime: [2]prometheus.Observer{m.attemptTime.WithLabelValues(model, "false"), m.attemptTime.WithLabelValues(model, "true")},
		hedges:      m.hedges.WithLabelValues(model), cost: m.cost.WithLabelValues(model), unpriced: m.unpriced.WithLabelValues(model),
	}
	for _, r := range reasons {
		s.calls[r] = m.calls.WithLabelValues(model, string(r))
	}
	for k := range s.attempts {
		s.attempts[k] = m.attempts.WithLabelValues(model, failure.Kind(k).String())
	}
	for i, name := range typeNames {
		s.answer[i] = m.tokens.WithLabelValues(model, name, "answer")
		s.checks[i] = m.tokens.WithLabelValues(model, name, "check")
	}
	return s
}

// reasons returns the counters of waits, by reason.
func (m *Metrics) reasons() []prometheus.Counter {
	var all []prometheus.Counter
	for r := retry.BackoffWait; r <= retry.CircuitWait; r++ {
		all = append(all, m.waits.WithLabelValues(r.String()))
	}
	return slices.Insert(all, int(retry.NoWait), nil)
}

// Observer returns an observer that counts calls and their attempts, for
// [llmcall.RetryConfig]. Several clients may have it.
func (m *Metrics) Observer() llmcall.Observer {
	return func(_ context.Context, e llmcall.Event) context.Context {
		switch e.Type {
		case llmcall.EventCallStarted:
			m.inFlight.Inc()
		case llmcall.EventAttemptEnded:
			m.attempt(&e.Attempt)
		case llmcall.EventCallEnded:
			m.inFlight.Dec()
			m.ended(&e)
		}
		return nil
	}
}

// ended counts a call.
func (m *Metrics) ended(e *llmcall.Event) {
	s := m.of(e.Model)
	s.callTime[index(e.Err == nil)].Observe(e.Duration.Seconds())
	switch err := e.Err.(type) {
	case nil:
		s.valid.Inc()
	case *llmcall.Error:
		s.ofReason(err.Reason).Inc()
	case *llmcall.HumanReviewError:
		s.ofReason(llmcall.ReasonHumanReview).Inc()
	case *llmcall.PanicError:
		s.panicked.Inc()
	default:
		s.strange.Inc()
	}
}

func (s *series) ofReason(r llmcall.Reason) prometheus.Counter {
	if c := s.calls[r]; c != nil {
		return c
	}
	return s.strange
}

func index(b bool) int {
	if b {
		return 1
	}
	return 0
}

// attempt counts an attempt and its hedge.
func (m *Metrics) attempt(a *llmcall.Attempt) {
	s := m.of(a.Model)
	answered := true
	switch {
	case a.Outcome == llmcall.OutcomeValid:
		s.validAttempt.Inc()
	case a.Outcome == llmcall.OutcomeLost:
		s.lostAttempt.Inc()
		answered = false
	default:
		kind := a.Kind
		if int(kind) >= kinds {
			kind = failure.Unknown
		}
		s.attempts[kind].Inc()
		answered = a.Outcome != llmcall.OutcomeFailed
	}
	s.attemptTime[index(answered)].Observe(a.Duration.Seconds())
	for i := range a.Complaints {
		m.complaints.WithLabelValues(s.model, m.check(a.Complaints[i].Check)).Inc()
	}
	if r := int(a.DelayReason); r > 0 && r < len(m.waited) && a.Delay > 0 {
		m.waited[r].Add(a.Delay.Seconds())
	}
	count(&s.answer, &a.Usage)
	count(&s.checks, &a.CheckUsage)
	if a.Cost.Nanos > 0 {
		s.cost.Add(float64(a.Cost.Nanos) / account.Dollar)
	}
	if a.Cost.Partial {
		s.unpriced.Inc()
	}
	if a.Hedge != nil {
		m.of(a.Hedge.Model).hedges.Inc()
		m.attempt(a.Hedge)
	}
}

// count adds a usage. Its parts are cut to what they are parts of: a provider may report
// anything, and a counter must not fall.
func count(c *[types]prometheus.Counter, u *llm.Usage) {
	if *u == (llm.Usage{}) {
		return
	}
	in, out := max(u.InputTokens, 0), max(u.OutputTokens, 0)
	cached := part(u.CachedTokens, in)
	written := part(u.CacheWriteTokens, in-cached)
	thought := part(u.ReasoningTokens, out)
	for i, n := range [types]int64{in - cached - written, cached, written, out - thought, thought} {
		if n > 0 {
			c[i].Add(float64(n))
		}
	}
}

// part returns n as a part of a whole.
func part(n, whole int64) int64 { return min(max(n, 0), whole) }
