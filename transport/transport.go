// Package transport makes the HTTP client of an SDK resilient, for those who
// keep the SDK that they have:
//
//	client := openai.NewClient(option.WithHTTPClient(transport.Client()), option.WithMaxRetries(0))
//
// It is an [http.RoundTripper] that shares an endpoint (package endpoint) with
// all requests to the same model, at the same host, with the same credential:
// retries that wait as the provider asks, a budget of retries, a pacer that keeps
// all callers within the rate that the provider allows, and a circuit breaker. It
// looks at status and headers, and at the body of an error; what comes in the
// body of a success is the SDK's.
//
// A program that builds the [http.Client] itself sets three fields with care:
//
//	client := &http.Client{Transport: resilient, CheckRedirect: transport.CheckRedirect}
//
// CheckRedirect, since redirects are followed above the Transport and would take
// prompt and key along. Timeout stays 0: it bounds all attempts and waits
// together, so that a provider that hangs uses it up in the first attempt, which
// is then not retried, and counted by the circuit breaker only after
// [Config.Hang]; set [Config.AttemptTimeout], and a deadline on the request's
// context. And no Jar: models need no cookies.
package transport

import (
	"io"
	"math"
	"net/http"
	"strconv"
	"time"

	"llmcall/backoff"
	"llmcall/classify"
	"llmcall/endpoint"
	"llmcall/failure"
	"llmcall/retry"
)

// DefaultMaxBody is the default of [Config.MaxBody], in bytes: 64 MiB.
const DefaultMaxBody = 64 << 20

// Config is the configuration of a Transport. The zero value of every field means
// its default.
type Config struct {
	// Base sends the requests. Default [http.DefaultTransport].
	Base http.RoundTripper

	// MaxAttempts, Backoff, MaxRetryAfter, MaxRateLimitWait, Hang and Decisions
	// are those of [retry.Config]: 3 attempts; 1 s, 2 s, 4 s … 60 s, ±10 %; a wait
	// of at most 2 min that a provider asks for; 10 min of waits for rate limits
	// and for our own pacing; a hang that the request's deadline ends counts as a
	// failure after 30 s.
	MaxAttempts      int
	Backoff          backoff.Strategy
	MaxRetryAfter    time.Duration
	MaxRateLimitWait time.Duration
	Hang             time.Duration
	Decisions        *failure.Table
	// AttemptTimeout bounds the wait for the header of each response: an attempt
	// that has none by then fails with a [*retry.AttemptTimeoutError]. Default 0:
	// the request's context alone.
	AttemptTimeout time.Duration

	// Endpoints is the registry of the endpoints that requests share. Default
	// [endpoint.Default], that of the process.
	Endpoints *endpoint.Registry
	// Options say which guards are asked before each request. The zero value is all
	// of them: the budget of retries, the pacer and the circuit breaker, with the
	// defaults of breaker.Config.
	Options endpoint.Options
	// Key says which requests share an endpoint: those of the same key. Each call
	// of open returns the request's body from its beginning, to be read as far as
	// it is needed and closed, or [http.NoBody] if it has none or can't be read
	// twice (see MaxBody). Default [ByModel]; see [ByHost].
	Key func(r *http.Request, open func() io.ReadCloser) endpoint.Key

	// Repeatable says whether a request may be sent twice though the first may
	// have been carried out. Default [Repeatable].
	Repeatable func(*http.Request) bool
	// MaxBody is how many bytes of a request's body without GetBody are kept in
	// memory, to be sent again. A request with a longer one is sent once. Default
	// [DefaultMaxBody], 64 MiB; negative: none is kept.
	//
	// A body that is kept is read whole before anything is sent, however long
	// that takes and whatever the request's context: one whose rest depends on
	// the response (a full duplex stream) would wait for ever. Set a negative
	// MaxBody for such requests.
	MaxBody int64
	// Protocol is the provider's protocol: [classify.OpenAI], [classify.Anthropic]
	// or [classify.Gemini]. Default "": it is found from the request's host and
	// headers.
	Protocol string
	// Observer, if set, is told what happens to each request, with the request's
	// context. The end of an attempt that got a response, and of its call, comes
	// with the end of the response's body, on the goroutine that reads or closes
	// it, or with the end of the context, on one of its own. Default nil.
	Observer retry.Observer
}

// Transport is the http.RoundTripper. It is safe for use from many goroutines;
// one serves a whole program. It holds nothing for a key: what is shared is the
// registry's, and bounded there.
type Transport struct {
	cfg    Config
	policy *retry.Policy
}

// New returns a Transport. The error for a setting that is not valid, or that would
// have no effect, is a [*retry.ConfigError]; for one of Options it is a
// [*breaker.ConfigError] or an [*endpoint.ConfigError].
func New(cfg Config) (*Transport, error) {
	if cfg.AttemptTimeout < 0 {
		return nil, &retry.ConfigError{Field: "AttemptTimeout", Got: cfg.AttemptTimeout, Takes: "a time of at least 0"}
	}
	switch cfg.Protocol {
	case "", classify.OpenAI, classify.Anthropic, classify.Gemini:
	default:
		return nil, &retry.ConfigError{Field: "Protocol", Got: strconv.Quote(cfg.Protocol), Takes: "openai, anthropic, gemini, or empty where host and headers tell"}
	}
	if err := cfg.Options.Validate(); err != nil {
		return nil, err
	}
	if cfg.Options.NoBreaker && cfg.Hang > 0 {
		return nil, &retry.ConfigError{Field: "Hang", Got: cfg.Hang, Takes: "left out with Options.NoBreaker, since it says when a hang is a failure to the circuit"}
	}
	policy, err := retry.New(retry.Config{
		MaxAttempts: cfg.MaxAttempts, Backoff: cfg.Backoff, MaxRetryAfter: cfg.MaxRetryAfter, MaxRateLimitWait: cfg.MaxRateLimitWait,
		Hang: cfg.Hang, Decisions: cfg.Decisions, Observer: cfg.Observer,
	})
	if err != nil {
		return nil, err
	}
	if cfg.Base == nil {
		cfg.Base = http.DefaultTransport
	}
	if cfg.Endpoints == nil {
		cfg.Endpoints = endpoint.Default()
	}
	if cfg.Key == nil {
		cfg.Key = ByModel
	}
	if cfg.Repeatable == nil {
		cfg.Repeatable = Repeatable
	}
	if cfg.MaxBody == 0 {
		cfg.MaxBody = DefaultMaxBody
	}
	cfg.MaxBody = min(cfg.MaxBody, math.MaxInt64-1) // one more than it is read, to see that there is more
	return &Transport{cfg, policy}, nil
}

// Client returns an HTTP client with a Transport of the defaults, which all
// such clients share, and with [CheckRedirect]. Other APIs than models' may be
// called by it: each host has an endpoint, and a request that may not be sent
// twice is not; see [Repeatable].
func Client() *http.Client {
	return &http.Client{Transport: standard, CheckRedirect: CheckRedirect}
}

var standard, _ = New(Config{})

// CloseIdleConnections closes the connections of Config.Base that are not in
// use, if it has such a method. [http.Client.CloseIdleConnections] calls it.
func (t *Transport) CloseIdleConnections() {
	if base, ok := t.cfg.Base.(interface{ CloseIdleConnections() }); ok {
		base.CloseIdleConnections()
	}
}

// RoundTrip sends a request until it succeeds, or until another attempt would
// not help or is not allowed. It returns the last response, whatever its status;
// an error only where there is none, or the request's context has ended. The
// errors are [*retry.Error]; within it, an open circuit is a *breaker.OpenError,
// a turn that would come too late a *pace.Error.
//
// A response that was the last of its attempts says so to the SDK above: its
// header has X-Should-Retry: false, which the SDKs of OpenAI and Anthropic obey
// before all else. Their own retries, left switched on, would multiply these.
//
// A success is accepted at its header, and counted at the end of its body, which
// must be closed as ever: a body that breaks off, and a stream of events in which
// the provider sends an error or that ends without its last event, is a failure
// of the provider; one that is closed early is none. A place under a limit of
// requests at a time is held as long.
func (t *Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	x := &exchange{Transport: t, request: r}
	if err := x.body.keep(r, t.cfg.MaxBody); err != nil {
		return nil, err
	}
	defer x.close()
	x.repeatable = t.cfg.Repeatable(r)
	e := t.cfg.Endpoints.Get(t.cfg.Key(r, x.body.stream))
	x.target[0] = retry.TargetOf(e, t.cfg.Options)
	x.call.Begin(r.Context(), t.policy, x.target[:])
	for x.call.Next() {
		if response := x.attempt(); response != nil {
			return response, nil
		}
	}
	return x.gaveUp()
}
