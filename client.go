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

	"llmcall/breaker"
	"llmcall/endpoint"
	"llmcall/failure"
	"llmcall/llm"
	"llmcall/pace"
	"llmcall/retry"
	"llmcall/validate"
)

// Client makes dependable calls by one configuration. [New] checks and compiles
// it once, so that an impossible setting is found when a program starts, and a
// call pays for nothing but itself.
//
// A Client never changes, is safe for use from many goroutines at once, and need
// not be closed. Each of its calls has a request of its own, with its own tools,
// schema and limits, and may ask for another type of answer: [Ask].
type Client struct {
	models  []llm.Model
	checks  []validate.Strategy
	cfg     RetryConfig
	policy  *retry.Policy
	targets []retry.Target // one a model
	recheck *retry.Policy  // of the checks of an answer that could not be run
	// countsWrong says that a row of the table makes a wrong answer something
	// else than a success of the provider's.
	countsWrong bool
	// once says that the client is made for one call: what it configures of its
	// endpoints holds for as long as the call.
	once bool
}

// New returns a client that asks the models until an answer passes all checks.
//
// The models are alternatives in order of preference; at least one. A call goes to
// the next where one can't serve it, as the table of [failure.Decisions] says: at
// once where its circuit is open, its key or quota is refused, or the wait for it
// is longer than RetryConfig.FallbackAfter; and after two failures that may pass.
// Wrong answers and bad requests stay with the model that they are of. Without
// checks any answer that was not cut off will do, an empty one too: see
// [validate.NotEmpty].
//
// The error is a *[ConfigError] that names the setting, what it got, and what it
// takes. The slices and what cfg points to are copied, but for models and
// checks themselves, which must not be changed later.
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

// newClient checks a configuration and makes a client of it.
func newClient(models []llm.Model, checks []validate.Strategy, cfg RetryConfig) (*Client, error) {
	if len(models) == 0 {
		return nil, &ConfigError{Field: "models", Got: "none", Takes: "at least one model"}
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
	if cfg.FallbackAfter != 0 && len(models) == 1 { // Validate does not know the models
		return nil, &ConfigError{Field: "fallback_after", Err: errors.New("has no effect with a single model")}
	}
	c := &Client{models: slices.Clone(models), checks: slices.Clip(slices.Clone(checks)), cfg: cfg}
	if cfg.Tool != nil {
		tool := *cfg.Tool
		tool.Parameters = bytes.Clone(tool.Parameters)
		c.cfg.Tool = &tool
	}
	for _, m := range models {
		e := cfg.endpoints().Get(endpoint.KeyOf(m))
		c.targets = append(c.targets, retry.TargetOf(e, cfg.guards()))
	}
	var err error
	if c.policy, err = cfg.policy(); err != nil {
		return nil, err
	}
	table := cfg.Table()
	for _, kind := range []failure.Kind{failure.InvalidAnswer, failure.CutOff, failure.ContentFiltered} {
		c.countsWrong = c.countsWrong || table.For(kind).Breaker != failure.Healthy
	}
	waits, err := cfg.backoff()
	if err != nil {
		return nil, err
	}
	c.recheck, err = retry.New(retry.Config{
		MaxAttempts: cfg.MaxAttempts, Backoff: waits, MaxRetryAfter: cfg.MaxRetryAfter,
		Classify: func(error) (failure.Kind, bool) { return failure.Transient, true },
	})
	return c, err
}

// forOneCall returns a client that is used for one call.
func forOneCall(model llm.Model, checks []validate.Strategy, cfg RetryConfig) (*Client, error) {
	c, err := newClient([]llm.Model{model}, checks, cfg)
	if err == nil {
		c.once = true
	}
	return c, err
}

// claim makes the limits and the budget that the client configures hold at its
// endpoints, until they are released.
func (c *Client) claim() (release func()) {
	var releases []func()
	for _, t := range c.targets {
		r, _ := t.Endpoint.Limit(c.cfg.limits(), c.cfg.RetryBudget) // Validate has found them possible
		releases = append(releases, r)
	}
	return func() {
		for _, r := range releases {
			r()
		}
	}
}

// circuit returns the circuit of a target; nil without one.
func (c *Client) circuit(target int) *breaker.Breaker {
	return c.targets[target].Endpoint.Circuit(c.cfg.guards())
}

// Do asks until an answer passes all checks, and returns it. The caller's request
// is not modified; it must stay as it is until Do returns.
//
// It returns a *[ConfigError] for a request without messages, before any call of
// a model; a *[HumanReviewError] when a person must look; and else an *[Error]
// that says why there is no valid answer. Each of the last two carries the trace
// of all attempts, as a Result does.
//
// A panic in a model or the tool goes on to the caller.
func (c *Client) Do(ctx context.Context, req *llm.Request) (*Result, error) {
	return c.do(ctx, req, c.checks)
}

// do is Do with other checks.
func (c *Client) do(ctx context.Context, req *llm.Request, checks []validate.Strategy) (*Result, error) {
	k, err := c.newCall(req, checks)
	if err != nil {
		return nil, err
	}
	return k.run(ctx)
}

// Start is [Client.Do] without waiting for it. The call ends by itself, when ctx
// ends, or when it is cancelled; nothing need be done to free it. The request
// must stay as it is until then.
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

// Stream is [Client.Do] that hands on the answer as it comes. What it yields can
// only be the answer so far: the checks are run at its end, and the last piece,
// which carries the Result, says that it passed them. An error is the last thing
// yielded; it is one that Do returns too. Each range over the sequence is a call
// of its own.
//
// What fails before anything was handed on is retried like any other call. After
// that, an attempt that breaks, or whose answer does not pass its checks, is the
// last, unless RetryConfig.RestartStreams allows to begin again: then the next
// piece has Restart set.
//
// A stream ends early, and its answer is wrong, as soon as what has come can no
// longer pass a check that says so ([validate.Streaming]). One that ends without
// its terminal event was cut off, however cleanly it ends: a failure like a
// broken connection.
//
// The circuit breaker and the pacer hear of an answer at its first piece, so that
// a caller who reads slowly keeps nobody from the model, and of its end when the
// stream ends, before it is checked. A caller that leaves the loop ends the call:
// a success to the breaker if a piece had come, else nothing. Time that the
// caller takes for a piece is time of the attempt.
//
// A model that is not an [llm.Streamer] answers in one piece, once the answer has
// passed its checks; so does one whose calls of RetryConfig.Tool are carried out
// within the attempt.
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

// newCall begins a call. The checks are the client's, and before them those of
// the type that is asked for.
func (c *Client) newCall(req *llm.Request, checks []validate.Strategy) (*call, error) {
	if req == nil || len(req.Messages) == 0 {
		return nil, &ConfigError{Field: "request", Got: "none", Takes: "one with at least one message"}
	}
	return &call{client: c, cfg: &c.cfg, model: c.models[0], req: req, checks: checks, stage: StageBasic, maxTokens: req.MaxTokens}, nil
}
