// Package transport makes the HTTP client of an SDK resilient, for those who
// keep the SDK that they have:
//
//	client := openai.NewClient(option.WithHTTPClient(transport.Client()), option.WithMaxRetries(0))
//
// A [Transport] is an [http.RoundTripper] that retries requests, waiting as long as the
// provider asks. All requests to the same model, at the same host, with the same
// credential share an endpoint (package [llmcall/endpoint]): a budget of retries, a
// pacer that keeps all callers within the rate that the provider allows, and a circuit
// breaker. A Transport reads the status and headers of a response and the body of an
// error; of the body of a success it only watches the end, and the events of a stream:
// one that ends without its last event is an [io.ErrUnexpectedEOF] to its reader, where
// SDKs take it for a whole answer. An HTML page or an empty body with status 200, where
// a model's answer should be, is a 502.
//
// A program that builds the [http.Client] itself should mind three fields:
//
//   - CheckRedirect: set it to [CheckRedirect], since http.Client follows redirects
//     above the Transport, and takes the prompt and the key along.
//   - Timeout: leave it 0, since it bounds all attempts and waits together. A provider
//     that hangs would use it up in the first attempt, which is then not retried. Set
//     [Config.AttemptTimeout], and a deadline on the request's context.
//   - Jar: leave it nil. Models need no cookies.
//
// So:
//
//	client := &http.Client{Transport: resilient, CheckRedirect: transport.CheckRedirect}
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

// Config is the configuration of a [Transport]. The zero value of each field means its
// default.
type Config struct {
	// Base sends the requests. Default [http.DefaultTransport].
	Base http.RoundTripper

	// MaxAttempts, Backoff, MaxRetryAfter, MaxRateLimitWait, Hang and Decisions are
	// those of [retry.Config], with its defaults: 3 attempts; waits of 1 s, 2 s,
	// 4 s … 60 s, ±10 %; at most 2 min if the provider asks for a wait; at most
	// 10 min of waits for rate limits and pacing; 30 s until a hang counts as a
	// failure.
	MaxAttempts      int
	Backoff          backoff.Strategy
	MaxRetryAfter    time.Duration
	MaxRateLimitWait time.Duration
	Hang             time.Duration
	Decisions        *failure.Table
	// AttemptTimeout bounds the wait for the headers of each response: an attempt
	// that has none by then fails with a *[retry.AttemptTimeoutError]. Default 0: no
	// bound but the request's context.
	AttemptTimeout time.Duration
	// IdleTimeout bounds the wait for each piece of a response's body, while it is
	// read. A body that stalls for longer ends with a *[failure.Error] of the kind
	// [failure.AttemptTimeout]; it is not requested again. Models that hide their
	// reasoning send nothing for minutes. Default 0: no bound but the request's
	// context.
	IdleTimeout time.Duration

	// Endpoints is the registry of the endpoints that requests share. Default
	// [endpoint.Default], that of the process.
	Endpoints *endpoint.Registry
	// Options say which guards are asked before each request. The zero value means
	// all of them: the budget of retries, the pacer and the circuit breaker, with
	// the defaults of breaker.Config.
	Options endpoint.Options
	// Key returns the key of a request's endpoint. Each call of open returns the
	// request's body from its beginning, to be read as far as it is needed and
	// closed, or [http.NoBody] if it has none or can't be read
	// twice (see MaxBody). Default [ByModel]; see [ByHost].
	Key func(r *http.Request, open func() io.ReadCloser) endpoint.Key

	// Repeatable reports whether a request may be sent again although the provider
	// may have carried it out. Default [Repeatable].
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

// Transport is a resilient [http.RoundTripper]; see the package documentation. It is safe
// for concurrent use, and one can serve a whole program: all state of endpoints is in
// the registry, which is bounded. [New] makes one; the zero value can't be used.
type Transport struct {
	cfg    Config
	policy *retry.Policy
}

// New returns a [Transport]. The error for a setting that is impossible, or that would
// have no effect, is a *[retry.ConfigError], or for [Config.Options] a
// *breaker.ConfigError or *[endpoint.ConfigError].
func New(cfg Config) (*Transport, error) {
	if cfg.AttemptTimeout < 0 {
		return nil, &retry.ConfigError{Field: "AttemptTimeout", Got: cfg.AttemptTimeout, Takes: "a time of at least 0"}
	}
	if cfg.IdleTimeout < 0 {
		return nil, &retry.ConfigError{Field: "IdleTimeout", Got: cfg.IdleTimeout, Takes: "a time of at least 0"}
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
	cfg.MaxBody = min(cfg.MaxBody, math.MaxInt64-1) // keep reads one byte more, to see whether there is more
	return &Transport{cfg, policy}, nil
}

// Client returns an HTTP client with [CheckRedirect] and a [Transport] with the default
// settings, which all such clients share. It may call other APIs than those of models
// too: each host has an endpoint, and a request that is not [Repeatable] is not sent again
// if the server may have carried it out.
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

// RoundTrip sends a request until it succeeds, or until another attempt would not help or
// is not allowed. It returns the last response, whatever its status. It returns an error
// only if there is no response or the request's context has ended: a *[retry.Error],
// which wraps a *breaker.OpenError for an open circuit, and a *pace.Error for a turn that
// would come too late.
//
// If the last response is a failure, its header has X-Should-Retry: false, which the SDKs
// of OpenAI and Anthropic obey: their own retries, if left on, would multiply these.
//
// A success is accepted when its headers arrive, and counted at the end of its body,
// which must be closed as usual. Until then it counts as in flight. It is a failure of
// the provider if the body breaks off, or if a stream of events has an error in it or
// ends without its last event; but not if the caller closes the body early. Reading such
// a stream ends with an error that wraps [io.ErrUnexpectedEOF].
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
