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

	"llmcall/account"
	"llmcall/backoff"
	"llmcall/breaker"
	"llmcall/endpoint"
	"llmcall/failure"
	"llmcall/internal/say"
	"llmcall/llm"
	"llmcall/price"
	"llmcall/retry"
)

// The defaults of the fields of [RetryConfig] with these names.
const (
	DefaultMaxAttempts   = retry.DefaultMaxAttempts
	DefaultInitialDelay  = backoff.DefaultInitial
	DefaultBackoffFactor = backoff.DefaultFactor
	DefaultMaxDelay      = backoff.DefaultMax
	DefaultJitterRange   = 0.1
)

// RetryConfig says how a call is made dependable, and has what its requests have in
// common. The zero value of every field means its default. The comment after a field is its name in a configuration
// file; see [ParseConfig]. A field without one can only be set in Go.
type RetryConfig struct {
	// Models are the full names of the models to ask, as [llmcall/provider.Open] takes
	// them, in order of preference. In a file `model` is a single one. They are for
	// the program, which opens them and passes them to [New]. Default none.
	Models []string // models
	// Providers are names of the user's own for providers, beside the known ones. They are
	// for the program, which opens the models by [llmcall/provider.OpenAll]. Default none.
	Providers map[string]OwnProvider // providers
	// System is the system message of requests that have none. Default "": none.
	System string // system
	// MaxTokens, Temperature, Seed and Stop are those of requests that do not set
	// theirs; see [llm.Request]. Default: the provider's.
	MaxTokens   int      // max_tokens
	Temperature *float64 // temperature
	Seed        *int64   // seed
	Stop        []string // stop
	// Extra are provider's own fields that are added to those of each request, whose
	// own win. Default none.
	Extra map[string]any // extra

	// MaxAttempts is the maximum number of attempts of all stages together, for failures
	// of the provider and wrong answers. At least 1, and at least the number of Stages that
	// ask a model. Default 3; with Stages, the sum of their attempts.
	MaxAttempts int // max_attempts

	// InitialDelay is the wait after the first failed attempt. Default 1 s. For no
	// wait set Backoff to [backoff.Constant]{}, or in a file initial_delay: 0.
	InitialDelay time.Duration // initial_delay
	// BackoffFactor is the factor from each wait to the next. At least 1. Default 2.
	BackoffFactor float64 // backoff_factor
	// MaxDelay is the longest wait, jitter included. Default 60 s.
	MaxDelay time.Duration // max_delay
	// UseJitter varies the waits at random. Default nil: true.
	UseJitter *bool // use_jitter
	// JitterRange is how far the waits vary either way, as a fraction from 0 to 1.
	// Default nil: 0.1.
	JitterRange *float64 // jitter_range
	// Backoff replaces the five settings above, which must not be set then. Default
	// nil.
	Backoff backoff.Strategy
	// Rand returns 64 random bits for the jitter, and must be safe for concurrent
	// use. It must not be set together with Backoff. A simulation that must be
	// repeatable sets it, and that of [endpoint.Config]. Default nil: the runtime's
	// source.
	Rand func() uint64

	// BackoffOnInvalidAnswer makes the call wait after a wrong answer as after a
	// failure. Default false: the model is asked again at once, because a wrong
	// answer is not a sign that the provider is overloaded.
	BackoffOnInvalidAnswer bool // backoff_on_invalid_answer

	// MaxTime limits the time of the whole call. Default 0: only the context's
	// deadline does.
	MaxTime time.Duration // max_time
	// AttemptTimeout limits the time of each attempt to get an answer, calls of Tool
	// included; CheckTimeout limits the checks. Default 0: no limit.
	AttemptTimeout time.Duration // attempt_timeout
	// FirstPieceTimeout limits, in a stream, the wait from the request until the answer
	// begins to grow; then the attempt has failed as at AttemptTimeout. Models that hide
	// their reasoning send nothing for minutes. Default 0: no limit.
	FirstPieceTimeout time.Duration // first_piece_timeout
	// IdleTimeout limits, in a stream that has begun, the time in which the answer does
	// not grow: by text, reasoning, arguments of a call or a refusal. Heartbeats do not
	// count. Then the attempt has failed as at AttemptTimeout. Default 0: no limit.
	IdleTimeout time.Duration // idle_timeout
	// RestartStreams allows [Client.Stream] to begin again after it has yielded part
	// of an answer. Default false: an attempt that fails after that is the last.
	RestartStreams bool // restart_streams
	// CheckTimeout limits the time of each check of an answer. Default 0: no limit.
	CheckTimeout time.Duration // check_timeout
	// MaxRetryAfter is the longest single wait that a provider may ask for; a longer
	// one ends the call with the provider's error. Default 2 min.
	MaxRetryAfter time.Duration // max_retry_after
	// MaxRateLimitWait limits the total time that the call waits for rate limits, for
	// its turn and for open circuits, which does not use attempts. Default 10 min.
	MaxRateLimitWait time.Duration // max_rate_limit_wait

	// Hang is how long an attempt must have lasted when the call's deadline ends it
	// to count as a failure to the circuit breaker, provided that it received nothing
	// and that no other call was answered meanwhile. It must not be set without
	// EnableCircuitBreaker. Default 30 s; negative, or 0 in a file: it never counts.
	Hang time.Duration // hang
	// FallbackAfter is the longest wait for a model if another of the client's models
	// is available sooner. Waits for limits that the call has had count too. It must not be set with a single model. Default 2 s.
	FallbackAfter time.Duration // fallback_after

	// AttemptsPerModel is the number of failures of a provider after which a call leaves a
	// model for another one of its stage; sooner where the attempts that remain are just
	// enough to try each other model once. It must not be set with a single model. Default 2.
	AttemptsPerModel int // attempts_per_model

	// MaxCost is the most that a call may cost, in US dollars: all attempts, rounds of
	// tools, judges and hedges together. What a request may cost is reserved before it is
	// made, and a request for which too little is left has a lower limit of tokens, or is
	// not made: then the reason is [ReasonAccountSpent]. The price of each model must be
	// known, from Prices or package [llmcall/price/known], and Extra must not leave the
	// cost open ("n"). What a provider may bill without saying so counts in full, such as
	// an answer that was not waited for. From 0.000000001 to 1,000,000.
	// Default 0: no limit.
	MaxCost float64 // max_cost
	// MaxTokensTotal is the most tokens that a call may use, of prompts and answers
	// together. Default 0: no limit.
	MaxTokensTotal int64 // max_tokens_total
	// MinOutputTokens is the lowest limit of output tokens that a request gets if little is
	// left; for less it is not made. Default 256.
	MinOutputTokens int // min_output_tokens
	// Reserve says how much is set aside before a request. What [ReserveExpected] learns is
	// kept by the [Client], so that it has no effect on [RetryWithValidation]. Default:
	// [ReserveStrict].
	Reserve Reserve // reserve
	// Prices are the prices of models, before those that are known. Default none.
	Prices price.Table // prices
	// Account is charged for each call, beside MaxCost and MaxTokensTotal: that of the
	// process, of a key, or of a day. One without a limit only counts. Default nil.
	Account *account.Account

	// Hedge asks a second time when an answer takes unusually long. Default nil: never.
	Hedge *Hedge // hedge
	// QualityMemory passes over models whose last answers did not pass a check, while
	// another one can serve. Default nil: never.
	QualityMemory *QualityMemory // quality_memory

	// Endpoints is the registry of what calls share: the circuit breaker, the pacer
	// and the retry budget of each endpoint, that is of a model at an address with an
	// API key; see [endpoint.KeyOf]. Default nil: [endpoint.Default], that of the
	// process.
	Endpoints *endpoint.Registry
	// Fleet is where this process shares with others what it knows of its endpoints. It is
	// for the program, which opens it by package [llmcall/fleet] and sets Endpoints, without
	// which [New] refuses it. Default: this process is alone.
	Fleet Fleet // fleet, fleet_only, fleet_secret, fleet_min_reporters
	// EnableCircuitBreaker guards each model with a circuit breaker, which all calls
	// to the same endpoint with the same CircuitBreakerConfig share. Default false.
	EnableCircuitBreaker bool // enable_circuit_breaker
	// CircuitBreakerConfig has the settings of that circuit breaker. The zero value of
	// each means its default.
	CircuitBreakerConfig CircuitBreakerConfig // circuit_breaker_config
	// CountInvalidAnswers counts a wrong answer as a failure to the circuit breaker.
	// Default false: a success, because the provider did its work.
	CountInvalidAnswers bool // count_invalid_answers
	// WaitForCircuit makes the call wait until an open circuit admits a probe, instead
	// of failing at once. Default false.
	WaitForCircuit bool // wait_for_circuit

	// RetryBudget limits the retries of all calls to an endpoint together: by default
	// to 100 saved up, 0.2 for each success, and one per second in any case. If the
	// budgets of clients differ, the tightest one applies.
	RetryBudget endpoint.Budget // retry_budget
	// DisableRetryBudget lets the client's calls ignore RetryBudget. Default false.
	DisableRetryBudget bool // disable_retry_budget
	// RequestsPerMinute, TokensPerMinute and MaxConcurrent limit the calls to an
	// endpoint from the start, whatever its provider says. If the limits of clients
	// differ, the tightest one applies. They must not be set with DisablePacing.
	// Default 0: no limit.
	RequestsPerMinute float64 // requests_per_minute
	TokensPerMinute   float64 // tokens_per_minute
	MaxConcurrent     int     // max_concurrent
	// DisablePacing lets each call discover the endpoint's rate limit by itself.
	// Default false: calls wait for their turn once the provider has refused one, or
	// has said how much is left; see package [llmcall/pace].
	DisablePacing bool // disable_pacing

	// Stages are the steps of the stair that a call goes up while its answers are wrong.
	// They must not be set together with Tool and the two thresholds below, which are a
	// short form of the most common stages. Default none: one stage with all models.
	Stages []Stage // stages
	// Tools are the tools that Stages name. Without Stages, they are offered from the first
	// attempt, unless DebugToolName is set. Their names must differ. Default none.
	Tools []Tool
	// MCPServers are servers with tools, by their names. They are for the program, which
	// connects them by package [llmcall/mcp] and sets Tools. Default none.
	MCPServers map[string]MCPServer // mcp_servers

	// MaxToolRounds and MaxToolCalls limit how many times in one attempt the model may call
	// tools, and how many calls it may make in all; then it is asked once more, for an
	// answer without calls. Default 8 and 32.
	MaxToolRounds int // max_tool_rounds
	MaxToolCalls  int // max_tool_calls
	// ToolTimeout limits the time of each call of a tool. Default 30 s.
	ToolTimeout time.Duration // tool_timeout
	// MaxToolResult limits the size of a result of a tool in bytes; of a longer one the
	// middle is left out. Default 65,536.
	MaxToolResult int // max_tool_result

	// MaxAttemptsBeforeToolUse is the number of failed attempts after which the model
	// is offered Tool. Less than MaxAttempts and MaxAttemptsBeforeHuman. Default 0:
	// never.
	MaxAttemptsBeforeToolUse int // max_attempts_before_tool_use
	// Tool is the tool that the model is then offered. Either Tool or DebugToolName must be
	// set if MaxAttemptsBeforeToolUse is, and only then. Default nil.
	Tool *Tool // tool
	// DebugToolName is the name of the tool of Tools, or the group of them, such as an MCP
	// server, that the model is then offered. In a file, debug_tool_mcp_config adds servers
	// to MCPServers. Default "": Tool.
	DebugToolName string // debug_tool_name
	// MaxAttemptsBeforeHuman is the number of failed attempts after which the call
	// ends with a [*HumanReviewError]; it ends so earlier if the model makes no
	// progress. At most MaxAttempts. Default 0: never.
	MaxAttemptsBeforeHuman int // max_attempts_before_human
	// StopOnNoProgress ends the call when an answer is the same as the one before, or
	// has exactly the same complaints, and Tool is not left to try. It must not be
	// set together with MaxAttemptsBeforeHuman, which hands such a call to a person.
	// Default false.
	StopOnNoProgress bool // stop_on_no_progress

	// Feedback writes the message that tells the model what is wrong with its answer,
	// for example in another language. It is called once for each wrong answer that
	// is followed by an attempt, and its result is cut at 16,000 characters. If it
	// fails, panics or returns an empty text, this is logged, and the default message
	// is sent. In a file it is a text/template, which needs the import of package
	// [llmcall/feedbacktemplate]. Default nil: [Feedback.String].
	Feedback func(*Feedback) (string, error) // feedback_template

	// Decisions is the table of what follows from each kind of failure. In a file it
	// has only the rows, and of a row the columns, that differ from the default:
	//
	//	decisions:
	//	  content_filtered: {again: backoff, breaker: ignore}
	//
	// Default nil: [failure.Decisions].
	Decisions *failure.Table // decisions
	// Observer is told what happens in the call as it happens. Default nil.
	Observer Observer
	// Client names on whose behalf the calls are made: where calls wait for their turn at a
	// provider's rate limit, the clients of a process take turns. Default "": a client like
	// any other.
	Client string
}

// OwnProvider is a provider under a name of the user's, with the fields of
// [llmcall/provider.Own], to which it can be converted. In a file:
//
//	providers:
//	  acme: {protocol: openai, base_url: http://127.0.0.1:9001/v1, key: env:ACME_KEY}
//	  openai: {keys: [env:FIRST_KEY, file:/run/secrets/second]}
type OwnProvider struct {
	Protocol string   // protocol
	BaseURL  string   // base_url
	Keys     []string // keys, or a single one as key: env:NAME, file:PATH, or none
}

// MCPServer is a server with tools that speaks the Model Context Protocol: a command, or an
// address. See [llmcall/mcp.Server], which has the same fields. ${NAME} in a text is the
// environment variable of that name. In a file a command may also be in the form that other
// programs have: {command: npx, args: [-y, some-server]}.
//
//	mcp_servers:
//	  memory: {command: [npx, -y, "@modelcontextprotocol/server-memory"]}
//	  issues: {url: https://mcp.example.com/mcp, headers: {Authorization: "Bearer ${TOKEN}"}, tools: [search]}
type MCPServer struct {
	Command []string          // command
	Env     map[string]string // env
	Dir     string            // dir
	URL     string            // url
	Headers map[string]string // headers
	Tools   []string          // tools; none: all
}

// CircuitBreakerConfig has the settings of the circuit breaker. In a file each has
// the name of its field in lower case, with underscores: failure_threshold. If any
// is set without [RetryConfig.EnableCircuitBreaker], the error is a [*ConfigError].
type CircuitBreakerConfig struct {
	breaker.Config
	// ExcludedExceptions are kinds of failure that count neither as a failure nor as a
	// success, as by rows of [RetryConfig.Decisions] with {breaker: ignore}: a probe that
	// ends with one leaves the circuit as it is. Rate limits never count, and always reach the pacer. Default none.
	ExcludedExceptions []failure.Kind // excluded_exceptions
}

// Tool is a tool that the model is offered if it could not answer alone; see
// [RetryConfig.MaxAttemptsBeforeToolUse].
type Tool struct {
	llm.Tool
	// Instruction tells the model to use the tool; it follows the tool's name.
	// Default: a sentence that says so.
	Instruction string
	// Group is a name that the tool has in common with others, such as that of the server
	// that they are of: where a stage names it, all of them are offered. Default "": none.
	Group string
	// Run carries out a call of the tool. Its result is sent back to the model in the
	// same attempt, an error as the result of a failed call. After
	// [RetryConfig.MaxToolRounds] the model is asked for an answer without calls. Default nil: a
	// call of the tool ends the attempt, and is the answer that the checks see. Run is
	// not called with arguments that are not JSON or do not fit the tool's Parameters:
	// the model is told what is wrong with them.
	//
	// The calls of one answer run at the same time. Each has [RetryConfig.ToolTimeout]; no
	// Run is waited for that does not return then, though its context has ended. A result of more than [RetryConfig.MaxToolResult] bytes is cut in the middle. It is
	// delimited as data, in which a model should not look for instructions.
	//
	// Run may be called again with the same arguments: an attempt that fails after Run has
	// returned is followed by one that begins with the model's first call. Set Once for a
	// tool that must not do its work twice.
	Run func(ctx context.Context, arguments json.RawMessage) (string, error)
	// Once says that Run must not do its work twice in a call of the client. The same call
	// again, by name and arguments, gets the result, or the error, of the first; and in an
	// attempt that follows one in which it has run, it runs for no other arguments either.
	// Default false.
	Once bool
	// ReadOnly says that Run changes nothing, and may be run for a [Hedge] too. Default
	// false: a stage with the tool is not hedged.
	ReadOnly bool
}

// ConfigError is the error of a setting that is unknown, has an impossible value, or
// contradicts another one. [New], [LoadConfig], [ParseConfig], [RetryConfig.Set] and
// [RetryConfig.Validate] return it. Its text is "FIELD must be TAKES, got GOT", or
// that of Err.
type ConfigError struct {
	File  string // the file's name; "" if the setting is not in a file
	Line  int    // in File, from 1; 0 if it is not known
	Field string // as a file names it: "max_attempts"
	Got   any    // the value; nil if Err has it
	Takes string // what the field must be: "a whole number of at least 1"
	Err   error  // the cause, if another package found it or settings contradict each other; else nil
}

// Error names the place, the field, what it must be and what it is.
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
	takesModel     = "the full name of a model, such as \"openai/gpt-6-luna\""
	takesModels    = "a list of full names of models, such as [openai/gpt-6-luna]"
	takesDegree    = "a number of at least 0"
	takesWhole     = "a whole number"
	takesStop      = "a non-empty string, or a list of them"
	takesExtra     = "a mapping of the provider's own fields, such as {\"reasoning_effort\": \"low\"}"
	takesSettings  = "a mapping of settings"
	takesProviders = "a mapping of names, each to settings such as {protocol: openai, base_url: http://127.0.0.1:9001/v1, key: env:ACME_KEY}"
	takesKey       = "env:NAME or file:PATH, where the key is, or none"
	takesDollars   = "a number of dollars from 0.000000001 to 1,000,000"
	takesReserve   = "strict or expected"
	takesPrices    = "a mapping of models, each to a price in dollars per million tokens such as {input: 0.15, output: 0.60}"
	takesServers   = "a mapping of names, each to a server such as {command: [npx, -y, some-server]} or {url: https://example.com/mcp}"
	takesTexts     = "a mapping of names to strings"
	takesQuality   = "a mapping such as {answers: 20, share: 0.8, for: 5m}"
	takesAnswers   = "a whole number from 1 to 1,000"
	takesShare     = "a number from 0.1 to 1"
	takesHedge     = "a mapping such as {after: p95, extra: 0.05}"
	takesAfter     = "a quantile from p50 to p99.9, or a time above 0 (seconds, or a duration like \"30s\")"
	takesMore      = "a number from 0.001 to 1"
	takesStages    = "a list of stages, each a mapping such as {attempts: 2}, or the last `human`"
	takesStage     = "a mapping such as {attempts: 2}, or `human`"
	takesTemplate  = "a text/template of a Feedback"
)

// Validate returns a [*ConfigError] that names the first setting that is
// impossible or would have no effect, or nil. [New] calls it.
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
	if err := c.Fleet.validate(); err != nil {
		return err
	}
	if err := c.validateMoney(); err != nil {
		return err
	}
	if c.QualityMemory != nil {
		if err := c.QualityMemory.validate(); err != nil {
			return err
		}
	}
	if c.Hedge != nil {
		if err := c.Hedge.validate(); err != nil {
			return err
		}
	}
	return c.validateEffects()
}

// validateThresholds checks the short form of the stages.
func (c *RetryConfig) validateThresholds() error {
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
	switch {
	case c.Tool == nil && c.DebugToolName == "":
		return &ConfigError{Field: "tool", Got: "nothing", Takes: "set when max_attempts_before_tool_use is set (or debug_tool_name)"}
	case c.Tool != nil && c.DebugToolName != "":
		return &ConfigError{Field: "debug_tool_name", Err: errors.New("must not be set together with tool")}
	}
	return nil
}

// validateEffects checks that every setting has an effect: a threshold without its
// switch would silently protect nothing.
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
		wrong bool
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
		{c.DebugToolName != "" && c.MaxAttemptsBeforeToolUse == 0, "debug_tool_name", "has no effect unless max_attempts_before_tool_use is set"},
		{c.StopOnNoProgress && c.MaxAttemptsBeforeHuman > 0, "stop_on_no_progress", switchOff + "max_attempts_before_human is set: a call without progress goes to a person"},
		{c.StopOnNoProgress && len(c.Stages) > 0 && c.Stages[len(c.Stages)-1].Human, "stop_on_no_progress", switchOff + "the last stage is a person, to whom a call without progress goes"},
		{c.JitterRange != nil && c.UseJitter != nil && !*c.UseJitter, "jitter_range", switchOff + "use_jitter is false"},
		{c.Backoff != nil && c.Rand != nil, "Rand", "has no effect while Backoff is set"},
		{c.Backoff != nil && c.InitialDelay != 0, "initial_delay", switchOff + "Backoff is set"},
		{own && c.BackoffFactor != 0, "backoff_factor", switchOff + "Backoff is set"},
		{own && c.MaxDelay != 0, "max_delay", switchOff + "Backoff is set"},
		{own && c.UseJitter != nil, "use_jitter", switchOff + "Backoff is set"},
		{own && c.JitterRange != nil, "jitter_range", switchOff + "Backoff is set"},
	} {
		if v.wrong {
			return &ConfigError{Field: v.field, Err: errors.New(v.why)}
		}
	}
	return nil
}

// noWaits reports whether a strategy is the one that a file sets by
// initial_delay: 0, beside which the other settings of waits are allowed.
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

// backoff returns the strategy for the waits.
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

// validateShared checks the settings of the circuit breaker and the retry budget.
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

// snake returns a field's name as it is in a configuration file.
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
