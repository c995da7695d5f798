package llmcall

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"runtime"
	"runtime/debug"
	"slices"

	"llmcall/account"
	"llmcall/breaker"
	"llmcall/endpoint"
	"llmcall/failure"
	"llmcall/llm"
	"llmcall/pace"
	"llmcall/price"
	"llmcall/retry"
	"llmcall/validate"
)

// Client makes dependable calls by one configuration. [New] checks the
// configuration once, so that an impossible setting is found when the program
// starts, and not at each call.
//
// A Client is immutable, safe for concurrent use, and need not be closed. Each
// call has its own request, with its own tools, schema and limits, and may ask for
// another type of answer; see [Ask].
type Client struct {
	models   []llm.Model
	checks   []validate.Strategy
	cfg      RetryConfig
	policy   *retry.Policy
	targets  []retry.Target   // one for each model
	prices   []*price.Price   // one for each model; nil if it is not known
	ratios   []*account.Ratio // one for each model
	priced   bool             // what checks and tools ask of models is counted
	stages   []stage          // at least one
	attempts int              // of all stages together
	second   *retry.Policy    // of a hedge; nil without
	recheck  *retry.Policy    // for the checks of an answer that could not be run
	// countsWrong says that, by a row of the table, a wrong answer is not a success
	// for the circuit breaker.
	countsWrong bool
	// rows is the run of [Each] that the client is for, or nil.
	rows *eachRun
	// once says that the client is for one call: its limits and budget apply to the
	// endpoints only during the call.
	once bool
}

// New returns a client that asks the models until an answer passes all checks.
//
// There must be at least one model. Further ones are alternatives, in order of
// preference. A call goes to the next model if one can't serve it, as the table
// [failure.Decisions] says: at once if its circuit is open, its key or quota is
// refused, or the wait for it is longer than [RetryConfig.FallbackAfter]; and
// after two failures that may be temporary. After a wrong answer or a bad request
// it stays with the model. Without checks any answer that is not cut off passes,
// even an empty one; see [validate.NotEmpty].
//
// The error is a [*ConfigError], which names the setting, what it must be and what
// it is. New copies the slices and what cfg points to. The models and checks
// themselves must not be changed later.
func New(models []llm.Model, checks []validate.Strategy, cfg RetryConfig) (*Client, error) {
	c, err := newClient(models, checks, cfg)
	if err != nil {
		return nil, err
	}
	if cfg.limits() != (pace.Limits{}) || cfg.RetryBudget != (endpoint.Budget{}) {
		runtime.AddCleanup(c, func(release func()) { release() }, c.claim())
	}
	return c, nil
}

var errSingle = errors.New("has no effect with a single model")

// newClient is New without the claim of limits and budget.
func newClient(models []llm.Model, checks []validate.Strategy, cfg RetryConfig) (*Client, error) {
	if len(models) == 0 {
		takes := "at least one model"
		if len(cfg.Models) > 0 {
			takes += ", opened by provider.Open from the names in the configuration"
		}
		return nil, &ConfigError{Field: "models", Got: "none", Takes: takes}
	}
	if i := slices.Index(models, nil); i >= 0 {
		return nil, &ConfigError{Field: fmt.Sprintf("models[%d]", i), Got: nil, Takes: "a model"}
	}
	if i := slices.Index(checks, nil); i >= 0 {
		return nil, &ConfigError{Field: fmt.Sprintf("checks[%d]", i), Got: nil, Takes: "a check"}
	}
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.Fleet.Address != "" && cfg.Endpoints == nil { // not in Validate, which is for files
		return nil, &ConfigError{Field: "fleet", Err: errors.New("has no effect unless Endpoints is set: to those of the fleet, as package llmcall/fleet opens it")}
	}
	if len(models) == 1 { // not in Validate, which does not know the models
		if cfg.FallbackAfter != 0 {
			return nil, &ConfigError{Field: "fallback_after", Err: errSingle}
		}
		if cfg.AttemptsPerModel != 0 {
			return nil, &ConfigError{Field: "attempts_per_model", Err: errSingle}
		}
	}
	c := &Client{models: slices.Clone(models), checks: slices.Clip(slices.Clone(checks)), cfg: cfg}
	c.cfg.ownDefaults()
	if cfg.Tool != nil {
		tool := *cfg.Tool
		tool.Parameters = bytes.Clone(tool.Parameters)
		c.cfg.Tool = &tool
	}
	c.cfg.Tools, c.cfg.Stages = slices.Clone(cfg.Tools), slices.Clone(cfg.Stages)
	for _, m := range models {
		e := cfg.endpoints().Get(endpoint.KeyOf(m))
		c.targets = append(c.targets, retry.TargetOf(e, cfg.guards()))
	}
	var err error
	if c.stages, err = c.cfg.compile(models); err != nil {
		return nil, err
	}
	if c.policy, err = cfg.policy(); err != nil {
		return nil, err
	}
	_, c.attempts = cfg.stair()
	if c.second, err = cfg.hedgePolicy(); err != nil {
		return nil, err
	}
	if c.prices, err = c.cfg.pricing(models, checks); err != nil {
		return nil, err
	}
	c.priced = cfg.limitsAny()
	for _, p := range c.prices {
		c.ratios, c.priced = append(c.ratios, &account.Ratio{}), c.priced || p != nil
	}
	table := cfg.Table()
	for _, kind := range []failure.Kind{failure.InvalidAnswer, failure.CutOff, failure.ContentFiltered} {
		c.countsWrong = c.countsWrong || table.For(kind).Breaker != failure.Healthy
	}
	c.recheck, err = cfg.recheckPolicy(c.attempts)
	return c, err
}

// recheckPolicy returns the policy for checks that could not be run.
func (c *RetryConfig) recheckPolicy(attempts int) (*retry.Policy, error) {
	waits, err := c.backoff()
	if err != nil {
		return nil, err
	}
	return retry.New(retry.Config{
		MaxAttempts: attempts, Backoff: waits, MaxRetryAfter: c.MaxRetryAfter,
		Classify: func(error) (failure.Kind, bool) { return failure.Transient, true },
	})
}

// forOneCall returns a client for one call.
func forOneCall(model llm.Model, checks []validate.Strategy, cfg RetryConfig) (*Client, error) {
	c, err := newClient([]llm.Model{model}, checks, cfg)
	if err == nil {
		c.once = true
	}
	return c, err
}

// claim applies the client's limits and budget to its endpoints, until release.
func (c *Client) claim() (release func()) {
	var releases []func()
	for _, t := range c.targets {
		r, _ := t.Endpoint.Limit(c.cfg.limits(), c.cfg.RetryBudget) // can't fail: Validate has checked them
		releases = append(releases, r)
	}
	return func() {
		for _, r := range releases {
			r()
		}
	}
}

// circuit returns the circuit breaker of a target, or nil.
func (c *Client) circuit(target int) *breaker.Breaker {
	return c.targets[target].Endpoint.Circuit(c.cfg.guards())
}

// Do asks until an answer passes all checks, and returns it. It does not modify
// req, which must not be changed before Do returns.
//
// For a request without messages, the error is a [*ConfigError], and no model is
// called. If a person must look, it is a [*HumanReviewError], else an [*Error] that
// says why there is no valid answer. These two carry the [Trace] of all attempts,
// as the [Result] does.
//
// A panic in a model or in the tool is passed on to the caller.
func (c *Client) Do(ctx context.Context, req *llm.Request) (*Result, error) {
	return c.do(ctx, req, c.checks)
}

// do is Do with the given checks.
func (c *Client) do(ctx context.Context, req *llm.Request, checks []validate.Strategy) (*Result, error) {
	k, err := c.newCall(req, checks)
	if err != nil {
		return nil, err
	}
	return k.run(ctx)
}

// Start is [Client.Do] in a goroutine of its own. The call ends by itself, when ctx
// ends, or by [Pending.Cancel], and need not be waited for. The request must not
// be changed before it ends.
func (c *Client) Start(ctx context.Context, req *llm.Request) *Pending {
	return c.start(ctx, req, c.checks)
}

func (c *Client) start(ctx context.Context, req *llm.Request, checks []validate.Strategy) *Pending {
	k, err := c.newCall(req, checks)
	if err != nil {
		return ended(err)
	}
	ctx, cancel := context.WithCancel(ctx)
	p := &Pending{done: make(chan struct{}), cancel: cancel, err: errGoexit}
	go func() {
		defer close(p.done)
		defer cancel()
		defer func() {
			if v := recover(); v != nil {
				p.result, p.err = nil, &PanicError{v, debug.Stack()}
			}
		}()
		p.result, p.err = k.run(ctx)
	}()
	return p
}

// Stream is [Client.Do] that yields the answer as it arrives. The pieces are not
// checked yet: the checks run at the end of the answer, and the last piece, which
// has the Result, means that it passed them. An error, which is one that Do
// returns, is yielded last. Each range over the sequence is a call of its own.
//
// An attempt that fails before a piece was yielded is retried as in Do. If it
// fails later, or if its answer does not pass its checks, it is the last attempt,
// unless [RetryConfig.RestartStreams] is set: then the next piece has Restart set.
//
// A stream is stopped early, as a wrong answer, as soon as a check says that the
// answer can no longer pass it ([validate.Streaming]). A stream that ends without
// its terminal event was cut off, even if it ends cleanly, and has failed like a
// broken connection.
//
// The circuit breaker and the pacer learn of an answer at its first piece, so that
// a caller who reads slowly does not keep others from the model, and of its end
// when the stream ends, before the checks. A caller that leaves the loop ends the
// call, which the breaker counts as a success if there was a piece, and else not at
// all. The time that the caller takes for a piece is part of the attempt's.
//
// The answer is yielded after its checks, in one piece for each of its parts, if
// the model is not an [llm.Streamer], or if the attempt carries out calls of
// [RetryConfig.Tool].
func (c *Client) Stream(ctx context.Context, req *llm.Request) iter.Seq2[Piece, error] {
	return c.stream(ctx, req, c.checks)
}

func (c *Client) stream(ctx context.Context, req *llm.Request, checks []validate.Strategy) iter.Seq2[Piece, error] {
	return func(yield func(Piece, error) bool) {
		k, err := c.newCall(req, checks)
		if err != nil {
			yield(Piece{}, err)
			return
		}
		k.out = &outlet{yield: yield}
		result, err := k.run(ctx)
		switch {
		case k.out.panicked:
			panic(k.out.panic)
		case k.out.left:
		case err != nil:
			yield(Piece{}, err)
		default:
			yield(Piece{Result: result}, nil)
		}
	}
}

// newCall returns a call that has not begun.
func (c *Client) newCall(req *llm.Request, checks []validate.Strategy) (*call, error) {
	if req == nil || len(req.Messages) == 0 {
		return nil, &ConfigError{Field: "request", Got: "none", Takes: "one with at least one message"}
	}
	req = c.cfg.completed(req)
	if err := c.cfg.bounded("request.extra", req.Extra); err != nil {
		return nil, err
	}
	k := &call{client: c, cfg: &c.cfg, model: c.models[0], req: req, checks: checks, given: req.MaxTokens, maxTokens: req.MaxTokens}
	k.purse = c.newPurse()
	k.enter(0)
	return k, nil
}
