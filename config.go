package llmcall

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"

	"llmcall/backoff"
	"llmcall/breaker"
	"llmcall/endpoint"
	"llmcall/failure"
	"llmcall/internal/say"
	"llmcall/llm"
	"llmcall/retry"
)

// The defaults of the fields of [RetryConfig] that have these names.
const (
	DefaultMaxAttempts   = retry.DefaultMaxAttempts
	DefaultInitialDelay  = backoff.DefaultInitial
	DefaultBackoffFactor = backoff.DefaultFactor
	DefaultMaxDelay      = backoff.DefaultMax
	DefaultJitterRange   = 0.1
)

// RetryConfig is how a call is made dependable. The zero value of every field
// means its default. After each is its name in a configuration file; see
// [ParseConfig]. A field without such a name can be set in Go alone.
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
	// UseJitter varies the waits at random. Default nil: true.
	UseJitter *bool // use_jitter
	// JitterRange is how far the waits vary, as a fraction of the wait to either
	// side. 0 to 1. Default nil: 0.1.
	JitterRange *float64 // jitter_range
	// Backoff, if set, is used instead of the five settings above, which must be
	// left out then. Default nil.
	Backoff backoff.Strategy
	// Rand is the source of randomness for these waits, unless Backoff is set:
	// 64 random bits a call, from any goroutine. A simulation that must be
	// repeatable sets it, and that of [endpoint.Config]. Default nil: the
	// runtime's own.
	Rand func() uint64

	// BackoffOnInvalidAnswer waits before a wrong answer is asked again, as
	// after a failure. Default false: it is asked again at once, because a
	// wrong answer does not say that the provider is overloaded.
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
	// RestartStreams allows Stream to begin an answer again after part of it was
	// handed on. Default false: an attempt that fails after that is
	// the last.
	RestartStreams bool // restart_streams
	// CheckTimeout bounds each check of an answer. Default 0: none.
	CheckTimeout time.Duration // check_timeout
	// MaxRetryAfter is the longest single wait that a provider may ask for; a
	// longer one ends the call with the provider's error. Default 2 min.
	MaxRetryAfter time.Duration // max_retry_after
	// MaxRateLimitWait is how long the call waits in all for rate limits, for its
	// turn and for open circuits; these waits do not use attempts. Default 10 min.
	MaxRateLimitWait time.Duration // max_rate_limit_wait

	// Hang is how long an attempt must have had, when the deadline of the call
	// ends it, for it to count as a failure to the circuit breaker: if not one
	// byte of an answer came, and nobody else got an answer meanwhile. Default
	// 30 s; negative, or 0 in a file: never.
	Hang time.Duration // hang
	// FallbackAfter is the longest wait for a model where another one of the
	// client's could go sooner; an error where there is one model alone. Default 2 s.
	FallbackAfter time.Duration // fallback_after

	// Endpoints is where what calls share comes from: the circuit breaker, the
	// pacer and the budget of retries of each endpoint, that is of a model at an
	// address with an API key; see [endpoint.KeyOf]. Default [endpoint.Default],
	// that of the process.
	Endpoints *endpoint.Registry
	// EnableCircuitBreaker guards each model with a circuit breaker, which all
	// calls to the same endpoint with the same CircuitBreakerConfig share.
	// Default false.
	EnableCircuitBreaker bool // enable_circuit_breaker
	// CircuitBreakerConfig has the settings of that circuit breaker. The zero value
	// of each means its default.
	CircuitBreakerConfig CircuitBreakerConfig // circuit_breaker_config
	// CountInvalidAnswers makes a wrong answer a failure to the breaker.
	// Default false: the provider did its work.
	CountInvalidAnswers bool // count_invalid_answers
	// WaitForCircuit waits until an open circuit admits a probe instead of
	// failing at once. Default false.
	WaitForCircuit bool // wait_for_circuit

	// RetryBudget bounds the retries of all calls to the same endpoint together:
	// by default 100 saved up, 0.2 for each success, and one a second at least.
	// Of two clients' budgets the tighter one holds.
	RetryBudget endpoint.Budget // retry_budget
	// DisableRetryBudget lets the client's calls retry without regard to
	// RetryBudget.
	// Default false.
	DisableRetryBudget bool // disable_retry_budget
	// RequestsPerMinute, TokensPerMinute and MaxConcurrent are limits that the
	// calls to an endpoint keep to from the start, whatever its provider says;
	// of two clients' the tighter one holds. Default 0: none.
	RequestsPerMinute float64 // requests_per_minute
	TokensPerMinute   float64 // tokens_per_minute
	MaxConcurrent     int     // max_concurrent
	// DisablePacing leaves each call to find out by itself that the endpoint's
	// rate is limited. By default calls wait for their turn once the provider
	// has refused one, or told how much is left; see package
	// [llmcall/pace]. Default
	// false.
	DisablePacing bool // disable_pacing

	// MaxAttemptsBeforeToolUse is after how many failed attempts the model is
	// offered Tool. Less than MaxAttempts and MaxAttemptsBeforeHuman. Default
	// 0: never.
	MaxAttemptsBeforeToolUse int // max_attempts_before_tool_use
	// Tool is what the model is then offered. It must be set if and only if
	// MaxAttemptsBeforeToolUse is. Default nil.
	Tool *Tool // tool
	// MaxAttemptsBeforeHuman is after how many failed attempts the call ends
	// with a *[HumanReviewError]. At most MaxAttempts. Default 0: never.
	MaxAttemptsBeforeHuman int // max_attempts_before_human
	// StopOnNoProgress ends the call when an answer is the same again or fails
	// in exactly the same way again, and no stage is left that could begin early.
	// It can't be combined with MaxAttemptsBeforeHuman, since a person is such a
	// stage. Default false.
	StopOnNoProgress bool // stop_on_no_progress

	// Feedback writes the message that tells the model what is wrong with its
	// answer, for another language or other words. It is called once for each
	// wrong answer that is asked again, and what it returns is cut at 16,000
	// characters. If it fails, panics or returns an empty text, this is logged,
	// and the message is the default one. A file has the text of a text/template,
	// for which package llmcall/feedbacktemplate must be imported. Default nil:
	// [Feedback.String].
	Feedback func(*Feedback) (string, error) // feedback_template

	// Decisions is the table of what follows from each kind of failure. In a file
	// it has the rows, and of a row the columns, that are to differ from the
	// default:
	//
	//	decisions:
	//	  content_filtered: {again: backoff, breaker: ignore}
	//
	// Default [failure.Decisions].
	Decisions *failure.Table // decisions
	// Observer, if set, is told what happens in the call as it happens. Default
	// nil: nobody.
	Observer Observer
}

// CircuitBreakerConfig are the settings of the circuit breaker. In a file they
// have the fields' names in small letters: failure_threshold. Set without
// EnableCircuitBreaker they are a *[ConfigError].
type CircuitBreakerConfig struct {
	breaker.Config
	// ExcludedExceptions are kinds of failure that count neither as a failure nor
	// as a success: the same as rows of [RetryConfig.Decisions] with {breaker: ignore}. A rate limit never
	// counts, and is heard by the pacer all the same.
	ExcludedExceptions []failure.Kind // excluded_exceptions
}

// Tool is what the model is offered when it could not answer alone; see
// [RetryConfig.MaxAttemptsBeforeToolUse].
type Tool struct {
	llm.Tool
	// Instruction tells the model to use the tool, after the tool's name.
	// Default: a sentence that says so.
	Instruction string
	// Run carries out a call of the tool; what it returns goes back to the
	// model within the same attempt, its error as the result of a failed call.
	// A model that calls it again after eight such rounds has given a wrong
	// answer. Default nil: a call of the tool ends the attempt, and is the
	// answer that the checks see.
	//
	// Run must be idempotent, since the same call may be carried out more than
	// once: an attempt that fails after Run has returned is followed by one that
	// begins with the model's first call again.
	Run func(ctx context.Context, arguments json.RawMessage) (string, error)
}

// ConfigError is the error of a setting that is unknown, has an impossible value, or
// does not fit the others. [New], [LoadConfig], [ParseConfig], [RetryConfig.Set] and
// [RetryConfig.Validate] return it. Its text is "FIELD must be TAKES, got GOT", or
// says what Err does.
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
	switch field := cmp.Or(e.Field, "the configuration"); {
	case e.Err == nil:
		return s + fmt.Sprintf("%s must be %s, got %v", field, e.Takes, e.Got)
	case e.Takes != "":
		return s + fmt.Sprintf("%s must be %s: %v", field, e.Takes, e.Err)
	case e.Field != "":
		s += e.Field + ": "
	}
	return s + e.Err.Error()
}

// Unwrap returns Err.
func (e *ConfigError) Unwrap() error { return e.Err }

const (
	takesCount     = "a whole number of at least 1"
	takesThreshold = "a whole number from 1 to 10,000"
	takesTime      = "a time of at least 0 (seconds, or a duration like \"30s\")"
	takesPositive  = "a time above 0 (seconds, or a duration like \"30s\")"
	takesFactor    = "a finite number of at least 1"
	takesRatio     = "a number from 0 to 1"
	takesRate      = "0 (the count alone), or a number from 0.001 to 1"
	takesAbove0    = "a number above 0"
	takesTruth     = "true or false"
	takesName      = "a non-empty string"
	takesSettings  = "a mapping of settings"
	takesTemplate  = "a text/template of a Feedback"
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
	if err := c.validateShared(); err != nil {
		return err
	}
	return c.validateEffects()
}

// validateStages checks that the stages follow each other and have what they need.
func (c *RetryConfig) validateStages() error {
	attempts := c.attempts()
	if n := c.MaxAttemptsBeforeHuman; n > attempts {
		return &ConfigError{
			Field: "max_attempts_before_human", Got: n, Takes: fmt.Sprintf("a whole number from 1 to max_attempts (%d)", attempts),
		}
	}
	if t := c.Tool; t != nil {
		if t.Name == "" {
			return &ConfigError{Field: "tool.name", Got: `""`, Takes: takesName}
		}
		if len(t.Parameters) > 0 && !json.Valid(t.Parameters) {
			return &ConfigError{Field: "tool.parameters", Got: say.Middle(string(t.Parameters), maxShown), Takes: "a JSON Schema"}
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
		return &ConfigError{Field: "tool", Got: "nothing", Takes: "set when max_attempts_before_tool_use is set"}
	}
	return nil
}

// validateEffects checks that every setting has an effect: a threshold without its
// switch would protect nothing, and nobody would notice.
func (c *RetryConfig) validateEffects() error {
	const switchOff, switchOn = "has no effect while ", "has no effect unless enable_circuit_breaker is true"
	off, own := !c.EnableCircuitBreaker, c.Backoff != nil && !noWaits(c.Backoff)
	configured := c.CircuitBreakerConfig.Config != breaker.Config{} || len(c.CircuitBreakerConfig.ExcludedExceptions) > 0
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
		{off && configured, "circuit_breaker_config", switchOn},
		{off && c.WaitForCircuit, "wait_for_circuit", switchOn},
		{off && c.CountInvalidAnswers, "count_invalid_answers", switchOn},
		{off && c.Hang != 0, "hang", switchOn},
		{c.DisableRetryBudget && c.RetryBudget != endpoint.Budget{}, "retry_budget", switchOff + "disable_retry_budget is true"},
		{c.DisablePacing && c.RequestsPerMinute != 0, "requests_per_minute", switchOff + "disable_pacing is true"},
		{c.DisablePacing && c.TokensPerMinute != 0, "tokens_per_minute", switchOff + "disable_pacing is true"},
		{c.DisablePacing && c.MaxConcurrent != 0, "max_concurrent", switchOff + "disable_pacing is true"},
		{c.CountInvalidAnswers && effect != failure.Healthy && effect != failure.Count, "count_invalid_answers", "contradicts decisions.invalid_answer"},
		{c.CountInvalidAnswers && slices.Contains(c.CircuitBreakerConfig.ExcludedExceptions, failure.InvalidAnswer), "count_invalid_answers", "contradicts circuit_breaker_config.excluded_exceptions"},
		{c.BackoffOnInvalidAnswer && again != failure.AtOnce && again != failure.Backoff, "backoff_on_invalid_answer", "contradicts decisions.invalid_answer"},
		{c.Tool != nil && c.MaxAttemptsBeforeToolUse == 0, "tool", "has no effect unless max_attempts_before_tool_use is set"},
		{c.StopOnNoProgress && c.MaxAttemptsBeforeHuman > 0, "stop_on_no_progress", switchOff + "max_attempts_before_human is set: a call without progress goes to a person"},
		{c.JitterRange != nil && c.UseJitter != nil && !*c.UseJitter, "jitter_range", switchOff + "use_jitter is false"},
		{c.Backoff != nil && c.Rand != nil, "Rand", "has no effect while Backoff is set"},
		{own && c.InitialDelay != 0, "initial_delay", switchOff + "Backoff is set"},
		{own && c.BackoffFactor != 0, "backoff_factor", switchOff + "Backoff is set"},
		{own && c.MaxDelay != 0, "max_delay", switchOff + "Backoff is set"},
		{own && c.UseJitter != nil, "use_jitter", switchOff + "Backoff is set"},
		{own && c.JitterRange != nil, "jitter_range", switchOff + "Backoff is set"},
	} {
		if v.vain {
			return &ConfigError{Field: v.field, Err: errors.New(v.why)}
		}
	}
	return nil
}

// noWaits reports whether a strategy is the one without waits, which a file sets
// with initial_delay: 0. Bounds of waits are possible with it.
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
	waits := backoff.Exponential{Initial: c.InitialDelay, Factor: c.BackoffFactor, Max: c.MaxDelay, Jitter: jitter}
	if bits := c.Rand; bits != nil {
		return backoff.Func(func(attempt int) time.Duration { return waits.At(attempt, bits()) }), nil
	}
	return waits, nil
}

// validateShared checks the settings of what calls to an endpoint share.
func (c *RetryConfig) validateShared() error {
	if _, err := c.CircuitBreakerConfig.Filled(); err != nil {
		if e, ok := errors.AsType[*breaker.ConfigError](err); ok {
			return &ConfigError{Field: "circuit_breaker_config." + snake(e.Field), Got: e.Got, Takes: e.Takes}
		}
		return &ConfigError{Field: "circuit_breaker_config", Err: err}
	}
	if _, err := c.RetryBudget.Filled(); err != nil {
		if e, ok := errors.AsType[*endpoint.ConfigError](err); ok {
			return &ConfigError{Field: "retry_budget." + snake(e.Field), Got: e.Got, Takes: e.Takes}
		}
		return &ConfigError{Field: "retry_budget", Err: err}
	}
	return nil
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
