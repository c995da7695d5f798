package llmcall

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"text/template"
	"time"
	"unicode"

	"llmcall/backoff"
	"llmcall/breaker"
	"llmcall/failure"
	"llmcall/llm"
	"llmcall/retry"
)

// The defaults of RetryConfig.
const (
	DefaultMaxAttempts   = retry.DefaultMaxAttempts
	DefaultInitialDelay  = backoff.DefaultInitial
	DefaultBackoffFactor = backoff.DefaultFactor
	DefaultMaxDelay      = backoff.DefaultMax
	DefaultJitterRange   = 0.1
)

// RetryConfig is how a call is made dependable. The zero value of every field
// means its default; the name in a configuration file stands behind each.
type RetryConfig struct {
	// MaxAttempts is how many attempts there are at most, for failures of the
	// provider and wrong answers together. At least 1. Default 3.
	MaxAttempts int // max_attempts

	// InitialDelay is the wait after the first failed attempt. Default 1 s. For
	// no wait set Backoff to backoff.Constant{}; in a file initial_delay: 0.
	InitialDelay time.Duration // initial_delay
	// BackoffFactor is what each wait is multiplied by for the next. At least
	// 1. Default 2.
	BackoffFactor float64 // backoff_factor
	// MaxDelay is the longest wait, jitter included. Default 60 s.
	MaxDelay time.Duration // max_delay
	// UseJitter spreads the waits. Default true.
	UseJitter *bool // use_jitter
	// JitterRange is how far they are spread, as a share of the wait to either
	// side. 0 to 1. Default 0.1.
	JitterRange *float64 // jitter_range
	// Backoff, if set, takes the place of the five settings above.
	Backoff backoff.Strategy

	// BackoffOnInvalidAnswer waits before a wrong answer is asked again, as
	// after a failure. Default false: it is asked again at once, because a
	// wrong answer is no sign of an overloaded provider.
	BackoffOnInvalidAnswer bool // backoff_on_invalid_answer

	// MaxTime bounds the whole call. Default 0: the context's deadline alone.
	MaxTime time.Duration // max_time
	// AttemptTimeout bounds the asking of each attempt: the model's answer, with
	// its calls of Tool. Checks have CheckTimeout. Default 0: none.
	AttemptTimeout time.Duration // attempt_timeout
	// IdleTimeout bounds, in Stream, the wait for the next piece of an answer
	// that comes in pieces; the attempt has failed then, as at AttemptTimeout.
	// Default 0: none.
	IdleTimeout time.Duration // idle_timeout
	// RestartStreams allows Stream to begin an answer anew of which something
	// was handed on already. Default false: an attempt that fails behind that
	// is the last.
	RestartStreams bool // restart_streams
	// CheckTimeout bounds each check of an answer. Default 0: none.
	CheckTimeout time.Duration // check_timeout
	// MaxRetryAfter is the longest single wait that a provider may ask for; a
	// longer one ends the call with the provider's error. Default 2 min.
	MaxRetryAfter time.Duration // max_retry_after
	// MaxRateLimitWait is how long the call waits for rate limits in all; these
	// waits use up no attempts. Default 10 min.
	MaxRateLimitWait time.Duration // max_rate_limit_wait

	// EnableCircuitBreaker guards the model with a circuit breaker that all
	// calls of the process to the same model (llm.Model's Name) with the same
	// CircuitBreakerConfig share. Default false.
	EnableCircuitBreaker bool                 // enable_circuit_breaker
	CircuitBreakerConfig CircuitBreakerConfig // circuit_breaker_config
	// Breakers, if set, is where the breaker comes from instead, whatever
	// EnableCircuitBreaker and CircuitBreakerConfig say.
	Breakers *breaker.Registry
	// CountInvalidAnswers makes a wrong answer a failure to the breaker.
	// Default false: the provider did its work.
	CountInvalidAnswers bool // count_invalid_answers
	// WaitForCircuit waits until an open circuit admits a probe instead of
	// failing at once.
	WaitForCircuit bool // wait_for_circuit

	// DisableRetryBudget lets the call retry without regard to the budget of
	// ten retries, and a tenth more for each success, that all calls of the
	// process to the same model share.
	DisableRetryBudget bool // disable_retry_budget
	// Budget, if set, is used instead of that of the process.
	Budget *retry.Budget
	// DisablePacing leaves each call to find out itself that the model's
	// rate is limited. By default, once a call was told when to come back, all
	// calls of the process to the same model name wait until then (as for their
	// own rate limits: see MaxRetryAfter and MaxRateLimitWait), and come back spread.
	DisablePacing bool // disable_pacing
	// Gate, if set, is used in the place of the one that calls to the same model
	// share.
	Gate *retry.Gate

	// MaxAttemptsBeforeToolUse is after how many failed attempts the model is
	// offered Tool. Less than MaxAttempts and MaxAttemptsBeforeHuman. Default
	// 0: never.
	MaxAttemptsBeforeToolUse int   // max_attempts_before_tool_use
	Tool                     *Tool // tool
	// MaxAttemptsBeforeHuman is after how many failed attempts the call ends
	// with a *HumanReviewError. At most MaxAttempts. Default 0: never.
	MaxAttemptsBeforeHuman int // max_attempts_before_human
	// StopOnNoProgress ends the call when an answer is the same again or fails
	// in just the same way again, and no stage is left that could begin early.
	StopOnNoProgress bool // stop_on_no_progress

	// FeedbackTemplate makes the message that tells the model what is wrong with
	// its answer, in the place of the English one: for another language, or other
	// words. Its data is a *Feedback; what it writes is cut at 16,000 characters.
	// In a file it is the text of the template. Default nil.
	FeedbackTemplate *template.Template // feedback_template

	// Decisions is the table of what follows from each kind of failure. In a file
	// it has the rows that are to be others:
	//
	//	decisions:
	//	  content_filtered: {again: backoff, breaker: ignore}
	//
	// Default failure.Decisions().
	Decisions *failure.Table // decisions
	// Observer, if set, is told what happens in the call as it happens. Default
	// nil: nobody.
	Observer Observer
}

// CircuitBreakerConfig are the settings of a breaker that a configuration file
// names. Their meaning and defaults are those of breaker.Config. For more, give
// RetryConfig.Breakers a registry of your own.
type CircuitBreakerConfig struct {
	FailureThreshold int           // failure_threshold: 5
	RecoveryTimeout  time.Duration // recovery_timeout: 60 s
	FailureWindow    time.Duration // failure_window: 300 s
	FailureRate      *float64      // failure_rate: 0.8
	HalfOpenProbes   int           // half_open_probes: 1
	SuccessThreshold int           // success_threshold: 2
	ProbeLease       time.Duration // probe_lease: RecoveryTimeout
	SlowCall         time.Duration // slow_call: off; a call lasts until its answer is checked
	// ExcludedExceptions are the kinds of failure that count neither way, in
	// addition to those that failure.Decisions leaves out.
	ExcludedExceptions []failure.Kind // excluded_exceptions
}

// Tool is what the model is offered when it could not answer alone.
type Tool struct {
	llm.Tool
	// Instruction tells the model to use the tool, behind the tool's name.
	// Default: a sentence that says so.
	Instruction string
	// Run carries out a call of the tool; what it returns goes back to the
	// model within the same attempt, its error as the result of a failed call.
	// A model that calls it again after eight such rounds has given a wrong
	// answer. Default nil: a call of the tool ends the attempt, and is the
	// answer that the checks see.
	//
	// Run must be idempotent, since the same wish may be carried out more than
	// once: an attempt that fails after Run has returned is followed by one that
	// begins with the model's first call again.
	Run func(ctx context.Context, arguments json.RawMessage) (string, error)
}

// ConfigError is an impossible or unknown setting.
type ConfigError struct {
	File  string // the file's name; "" if it is in no file
	Line  int    // in File, from 1; 0: not known
	Field string // as a file names it: "max_attempts"
	Got   any    // nil where Err says it
	Takes string // what would be possible: "a whole number of at least 1"
	Err   error  // the cause, where another package found it, or settings do not fit together
}

// Error names the place, the field, what it must be and what it got.
func (e *ConfigError) Error() string {
	s := ""
	if e.File != "" {
		s = e.File + ":"
		if e.Line > 0 {
			s += fmt.Sprintf("%d:", e.Line)
		}
		s += " "
	}
	if e.Err == nil {
		return s + fmt.Sprintf("%s must be %s, got %v", cmp.Or(e.Field, "the configuration"), e.Takes, e.Got)
	}
	if e.Field != "" {
		s += e.Field + ": "
	}
	s += e.Err.Error()
	if e.Takes != "" {
		s += "; it must be " + e.Takes
	}
	return s
}

// Unwrap returns the cause.
func (e *ConfigError) Unwrap() error { return e.Err }

const (
	takesCount    = "a whole number of at least 1"
	takesTime     = "a time of at least 0 (seconds, or a duration like \"30s\")"
	takesPositive = "a time above 0 (seconds, or a duration like \"30s\")"
	takesFactor   = "a finite number of at least 1"
	takesRatio    = "a number from 0 to 1"
	takesRate     = "0 (the count alone), or a number from 0.001 to 1"
	takesTruth    = "true or false"
	takesName     = "a name"
	takesSettings = "a mapping of settings"
	takesTemplate = "a text/template of a Feedback"
)

// Validate returns a *[ConfigError] that names the first setting that is
// impossible, or that would silently do nothing. [New] validates too.
func (c *RetryConfig) Validate() error {
	for _, s := range settings {
		if s.wrong == nil {
			continue
		}
		if got, wrong := s.wrong(c); wrong {
			return &ConfigError{Field: s.name, Got: got, Takes: s.takes}
		}
	}
	if _, err := c.backoff(); err != nil {
		return err
	}
	if err := c.validateStages(); err != nil {
		return err
	}
	if t := c.FeedbackTemplate; t != nil {
		if text, err := sampleFeedback.text(t); err != nil {
			return &ConfigError{Field: "feedback_template", Err: err}
		} else if strings.TrimSpace(text) == "" {
			return &ConfigError{Field: "feedback_template", Got: "one that writes nothing", Takes: takesTemplate}
		}
	}
	if _, err := c.CircuitBreakerConfig.config(); err != nil {
		return err
	}
	return c.validateEffects()
}

// validateStages holds that the stages follow each other and have what they need.
func (c *RetryConfig) validateStages() error {
	attempts := c.attempts()
	if n := c.MaxAttemptsBeforeHuman; n > attempts {
		return &ConfigError{
			Field: "max_attempts_before_human", Got: n, Takes: fmt.Sprintf("a whole number from 1 to max_attempts (%d)", attempts),
		}
	}
	if t := c.Tool; t != nil {
		if t.Name == "" {
			return &ConfigError{Field: "tool.name", Got: "an empty text", Takes: takesName}
		}
		if len(t.Parameters) > 0 && !json.Valid(t.Parameters) {
			return &ConfigError{Field: "tool.parameters", Got: middle(string(t.Parameters), maxShown), Takes: "a JSON Schema"}
		}
	}
	n := c.MaxAttemptsBeforeToolUse
	if n == 0 {
		return nil
	}
	limit, name := attempts, "max_attempts"
	if c.MaxAttemptsBeforeHuman > 0 {
		limit, name = c.MaxAttemptsBeforeHuman, "max_attempts_before_human"
	}
	if n >= limit {
		return &ConfigError{
			Field: "max_attempts_before_tool_use", Got: n, Takes: fmt.Sprintf("a whole number of at least 1 and below %s (%d)", name, limit),
		}
	}
	if c.Tool == nil {
		return &ConfigError{Field: "tool", Err: errors.New("it must be set, because max_attempts_before_tool_use is")}
	}
	return nil
}

// validateEffects holds that no setting is given in vain: who sets a threshold and
// forgets the switch is protected by nothing, and is not told.
func (c *RetryConfig) validateEffects() error {
	circuit, own := c.EnableCircuitBreaker || c.Breakers != nil, c.Backoff != nil && !noWaits(c.Backoff)
	configured := !reflect.ValueOf(c.CircuitBreakerConfig).IsZero()
	again, effect := failure.AtOnce, failure.Healthy
	if c.Decisions != nil {
		row := c.Decisions.For(failure.InvalidAnswer)
		again, effect = row.Again, row.Breaker
	}
	for _, v := range []struct {
		vain  bool
		field string
		why   string
	}{
		{configured && c.Breakers != nil, "circuit_breaker_config", "it has no effect while Breakers is set"},
		{configured && !circuit, "circuit_breaker_config", "it has no effect unless enable_circuit_breaker is true"},
		{c.WaitForCircuit && !circuit, "wait_for_circuit", "it has no effect unless enable_circuit_breaker is true"},
		{c.CountInvalidAnswers && !circuit, "count_invalid_answers", "it has no effect unless enable_circuit_breaker is true"},
		{c.CountInvalidAnswers && effect != failure.Healthy && effect != failure.Count, "count_invalid_answers", "it contradicts decisions.invalid_answer"},
		{c.BackoffOnInvalidAnswer && again != failure.AtOnce && again != failure.Backoff, "backoff_on_invalid_answer", "it contradicts decisions.invalid_answer"},
		{c.Tool != nil && c.MaxAttemptsBeforeToolUse == 0, "tool", "it has no effect unless max_attempts_before_tool_use is set"},
		{c.JitterRange != nil && c.UseJitter != nil && !*c.UseJitter, "jitter_range", "it has no effect while use_jitter is false"},
		{own && c.InitialDelay != 0, "initial_delay", "it has no effect while Backoff is set"},
		{own && c.BackoffFactor != 0, "backoff_factor", "it has no effect while Backoff is set"},
		{own && c.MaxDelay != 0, "max_delay", "it has no effect while Backoff is set"},
		{own && c.UseJitter != nil, "use_jitter", "it has no effect while Backoff is set"},
		{own && c.JitterRange != nil, "jitter_range", "it has no effect while Backoff is set"},
	} {
		if v.vain {
			return &ConfigError{Field: v.field, Err: errors.New(v.why)}
		}
	}
	return nil
}

// noWaits reports whether a strategy is the one without waits, of which a file
// says initial_delay: 0. Bounds of waits are possible beside it.
func noWaits(s backoff.Strategy) bool {
	constant, ok := s.(backoff.Constant)
	return ok && constant == backoff.Constant{}
}

func (c *RetryConfig) attempts() int {
	if c.MaxAttempts == 0 {
		return DefaultMaxAttempts
	}
	return c.MaxAttempts
}

// backoff returns the strategy for the waits, of settings that are possible.
func (c *RetryConfig) backoff() (backoff.Strategy, error) {
	if c.Backoff != nil {
		if v, ok := c.Backoff.(interface{ Validate() error }); ok {
			if err := v.Validate(); err != nil {
				return nil, &ConfigError{Field: "backoff", Err: err}
			}
		}
		return c.Backoff, nil
	}
	ratio := DefaultJitterRange
	if c.JitterRange != nil {
		ratio = *c.JitterRange
	}
	jitter := backoff.Proportional(ratio)
	if c.UseJitter != nil && !*c.UseJitter {
		jitter = backoff.NoJitter
	}
	return backoff.Exponential{Initial: c.InitialDelay, Factor: c.BackoffFactor, Max: c.MaxDelay, Jitter: jitter}, nil
}

// config returns the breaker's own form of the settings.
func (c *CircuitBreakerConfig) config() (breaker.Config, error) {
	b := breaker.Config{
		FailureThreshold: c.FailureThreshold, RecoveryTimeout: c.RecoveryTimeout, FailureWindow: c.FailureWindow,
		FailureRate: c.FailureRate, HalfOpenProbes: c.HalfOpenProbes, SuccessThreshold: c.SuccessThreshold,
		ProbeLease: c.ProbeLease, SlowCall: c.SlowCall, RetryAfter: failure.RetryAfterOf,
	}
	for _, kind := range c.ExcludedExceptions {
		b.Exclude = append(b.Exclude, func(err error) bool { return failure.KindOf(err) == kind })
	}
	if _, err := breaker.New("", b); err != nil {
		if e, ok := errors.AsType[*breaker.ConfigError](err); ok {
			return b, &ConfigError{Field: "circuit_breaker_config." + snake(e.Field), Got: e.Got, Takes: e.Takes}
		}
		return b, &ConfigError{Field: "circuit_breaker_config", Err: err}
	}
	return b, nil
}

// snake returns a field's name as a configuration file has it.
func snake(name string) string {
	var b strings.Builder
	for i, r := range name {
		if unicode.IsUpper(r) && i > 0 {
			b.WriteByte('_')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}
