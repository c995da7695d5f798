// Package transport makes the HTTP client of an SDK resilient, for those who
// keep the SDK that they have:
//
//	client := openai.NewClient(option.WithHTTPClient(transport.Client()), option.WithMaxRetries(0))
//
// It is an http.RoundTripper with retries that wait as the provider asks, a
// budget of retries, a circuit breaker, and a gate that keeps all callers away
// from a provider that told one of them when to come back. It looks at status
// and headers, and at the body of an error; what comes in the body of a success
// is the SDK's.
//
// A program that builds the [http.Client] itself sets three fields with care:
//
//	client := &http.Client{Transport: resilient, CheckRedirect: transport.CheckRedirect}
//
// CheckRedirect, since redirects are followed above the Transport and would take
// prompt and key along. Timeout stays 0: it bounds all attempts and waits
// together, so that a provider that hangs uses it up in the first attempt, which
// is then neither retried nor counted by the circuit breaker; set
// [Config.AttemptTimeout], and a deadline on the request's context. And no Jar:
// models need no cookies.
package transport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/http"
	"sync"
	"time"

	"llmcall/backoff"
	"llmcall/breaker"
	"llmcall/classify"
	"llmcall/endpoint"
	"llmcall/failure"
	"llmcall/retry"
)

// DefaultMaxBody is how much of a request's body is kept in memory at most.
const DefaultMaxBody = 64 << 20

// Config is how a Transport works. The zero value of every field means its
// default.
type Config struct {
	// Base sends the requests. Default http.DefaultTransport.
	Base http.RoundTripper

	// MaxAttempts, Backoff, MaxRetryAfter, MaxLimitTime and Decisions are those
	// of retry.Config: 3 attempts; 1 s, 2 s, 4 s … 60 s, ±10 %; a wait of at most
	// 2 min that a provider asks for; 10 min of waits for rate limits.
	MaxAttempts   int
	Backoff       backoff.Strategy
	MaxRetryAfter time.Duration
	MaxLimitTime  time.Duration
	Decisions     *failure.Table
	// AttemptTimeout bounds the wait for the header of each response. Default 0:
	// the request's context alone.
	AttemptTimeout time.Duration

	// Key says which requests share a circuit breaker, a budget of retries and a
	// gate: those of the same key. Each call of body returns the request's body
	// from its beginning, to be read as far as it is needed and closed, or
	// http.NoBody if it has none or can't be read twice (see MaxBody). Default
	// ByModel; see ByHost.
	Key func(r *http.Request, body func() io.ReadCloser) endpoint.Key
	// Breakers is where the circuit breakers come from. Default: a registry of
	// the Transport's own, with the defaults of breaker.Config.
	Breakers *breaker.Registry
	// DisableBreaker sends requests whatever came of those before.
	DisableBreaker bool
	// DisableBudget retries without regard to the budget of ten retries, and a
	// tenth more for each success, that the requests of a key share.
	DisableBudget bool

	// Repeatable says whether a request may be sent twice though the first may
	// have been carried out. Default Repeatable.
	Repeatable func(*http.Request) bool
	// MaxBody is how many bytes of a request's body without GetBody are kept in
	// memory, to be sent again. A request with a longer one is sent once. Default
	// DefaultMaxBody, 64 MiB; negative: none is kept.
	//
	// A body that is kept is read whole before anything is sent, however long
	// that takes and whatever the request's context: one whose rest depends on
	// the response (a full duplex stream) would wait for ever. Set a negative
	// MaxBody for such requests.
	MaxBody int64
	// Protocol says whose words a response is in: classify.OpenAI, Anthropic or
	// Gemini. Default: told by the request's host and headers.
	Protocol string
	// Observe, if set, is called after each failed attempt and before each wait,
	// on the request's goroutine. A panic in it is logged with log/slog and goes
	// no further.
	Observe func(retry.Event)
}

// Transport is the http.RoundTripper. It is safe for use from many goroutines;
// one serves a whole program.
type Transport struct {
	cfg      Config
	breakers *breaker.Registry
	budgets  retry.Budgets
	gates    retry.Gates

	mu       sync.RWMutex
	policies map[endpoint.Key]*retry.Policy
}

// maxPolicies bounds how many policies are remembered: keys may come from
// outside. What they share is bounded by its own.
const maxPolicies = 10_000

// New makes a Transport. An impossible setting is a *retry.ConfigError.
func New(cfg Config) (*Transport, error) {
	t := &Transport{cfg: cfg, breakers: cfg.Breakers}
	if t.cfg.Base == nil {
		t.cfg.Base = http.DefaultTransport
	}
	if t.cfg.Key == nil {
		t.cfg.Key = ByModel
	}
	if t.cfg.Repeatable == nil {
		t.cfg.Repeatable = Repeatable
	}
	if t.cfg.MaxBody == 0 {
		t.cfg.MaxBody = DefaultMaxBody
	}
	t.cfg.MaxBody = min(t.cfg.MaxBody, math.MaxInt64-1) // one more than it is read, to see that there is more
	if t.cfg.AttemptTimeout < 0 {
		return nil, &retry.ConfigError{Field: "AttemptTimeout", Got: cfg.AttemptTimeout, Takes: "a time that is not negative"}
	}
	if cfg.DisableBreaker {
		t.breakers = nil
	} else if t.breakers == nil {
		var err error
		if t.breakers, err = breaker.NewRegistry(breaker.Config{RetryAfter: failure.RetryAfterOf}, 0); err != nil {
			return nil, err
		}
	}
	if cfg.Observe != nil {
		t.cfg.Observe = func(e retry.Event) {
			defer func() {
				if v := recover(); v != nil {
					slog.Error("transport: Observe panicked", "panic", v)
				}
			}()
			cfg.Observe(e)
		}
	}
	_, err := t.newPolicy(endpoint.Key{})
	return t, err
}

// Client returns an HTTP client with a Transport of the defaults, which all
// such clients share, and with [CheckRedirect].
func Client() *http.Client {
	return &http.Client{Transport: standard, CheckRedirect: CheckRedirect}
}

var standard, _ = New(Config{})

// policy returns how requests of a key are retried.
func (t *Transport) policy(key endpoint.Key) (*retry.Policy, error) {
	t.mu.RLock()
	p := t.policies[key]
	t.mu.RUnlock()
	if p != nil {
		return p, nil
	}
	p, err := t.newPolicy(key)
	if err != nil {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.policies) >= maxPolicies || t.policies == nil {
		t.policies = map[endpoint.Key]*retry.Policy{}
	}
	t.policies[key] = p
	return p, nil
}

func (t *Transport) newPolicy(key endpoint.Key) (*retry.Policy, error) {
	name := nameOf(key)
	c := retry.Config{
		MaxAttempts: t.cfg.MaxAttempts, Backoff: t.cfg.Backoff, MaxRetryAfter: t.cfg.MaxRetryAfter, MaxLimitTime: t.cfg.MaxLimitTime,
		Decisions: t.cfg.Decisions, Observe: t.cfg.Observe, Gate: t.gates.Get(name),
	}
	if t.breakers != nil {
		c.Breaker = t.breakers.Get(name)
	}
	if !t.cfg.DisableBudget {
		c.Budget = t.budgets.Get(name)
	}
	return retry.New(c)
}

// nameOf is the name of what the requests of a key share.
func nameOf(key endpoint.Key) string {
	return fmt.Sprintf("%s %016x", key, key.Credential)
}

// RoundTrip sends a request until it succeeds, or until another attempt would
// not help or is not allowed. It returns the last response, whatever its status;
// an error only where there is none, or the request's context has ended. The
// errors are *retry.Error; an open circuit is a *breaker.OpenError within.
//
// A response that was the last of its attempts says so to the SDK above: its
// header has X-Should-Retry: false, which the SDKs of OpenAI and Anthropic obey
// before all else. Their own retries, left switched on, would multiply these.
func (t *Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	x := exchange{Transport: t, request: r}
	if err := x.body.keep(r, t.cfg.MaxBody); err != nil {
		return nil, err
	}
	defer x.close() // after a panic too
	policy, err := t.policy(t.cfg.Key(r, x.body.stream))
	if err != nil {
		return nil, err
	}
	x.again = t.cfg.Repeatable(r)
	response, err := retry.Do(r.Context(), policy, x.attempt)
	if err == nil {
		return response, nil
	}
	if last := x.last; last != nil {
		if e, ok := errors.AsType[*retry.Error](err); ok && r.Context().Err() == nil && e.Reason != retry.Cancelled {
			x.last = nil
			last.Header.Set("X-Should-Retry", "false")
			return last, nil
		}
	}
	return nil, err
}

// CloseIdleConnections closes the connections of Config.Base that are not in
// use, if it has such a method. [http.Client.CloseIdleConnections] calls it.
func (t *Transport) CloseIdleConnections() {
	if base, ok := t.cfg.Base.(interface{ CloseIdleConnections() }); ok {
		base.CloseIdleConnections()
	}
}

// exchange is one RoundTrip.
type exchange struct {
	*Transport
	request *http.Request
	body    body
	last    *http.Response // of the last attempt, if its status was a failure
	again   bool           // it may be sent twice though the first may have been carried out
}

// close closes what was neither sent nor handed on.
func (x *exchange) close() {
	x.body.Close()
	x.drop()
}

// drop gives up the response of the attempt before.
func (x *exchange) drop() {
	if x.last != nil {
		x.last.Body.Close()
		x.last = nil
	}
}

// attempt sends the request once.
func (x *exchange) attempt(context.Context, retry.Attempt) (*http.Response, error) {
	x.drop()
	content, err := x.body.next()
	if err != nil {
		return nil, retry.Stop(&failure.Error{Kind: failure.InvalidRequest, Message: "the request's body can't be read again: " + err.Error(), Err: err})
	}
	sent := sending{limit: x.cfg.AttemptTimeout}
	request := sent.begin(x.request, content, x.body.again, x.body.replayable && !x.again)
	response, err := x.cfg.Base.RoundTrip(request)
	if response == nil && err == nil {
		err = fmt.Errorf("%T returned neither a response nor an error", x.cfg.Base)
	}
	if err != nil {
		expired := sent.answered()
		sent.end()
		return nil, x.broken(&sent, expired, err)
	}
	if response.Header == nil { // what http.Client allows, whoever is its RoundTripper
		response.Header = http.Header{}
	}
	if response.Body == nil {
		response.Body = http.NoBody
	}
	if response.StatusCode < 400 {
		if sent.answered() {
			// Its context has ended, and with it what would be read of its body.
			response.Body.Close()
			return nil, x.broken(&sent, true, request.Context().Err())
		}
		if response.StatusCode != http.StatusSwitchingProtocols { // whose body is written to
			response.Body = sent.until(response.Body)
		}
		return response, nil
	}
	return nil, x.refused(&sent, response)
}

// broken is an attempt without a response.
func (x *exchange) broken(sent *sending, expired bool, err error) error {
	if x.request.Context().Err() != nil {
		return err
	}
	f := &failure.Error{Kind: classify.Network(err), Err: err}
	if expired {
		f.Kind, f.Message = failure.AttemptTimeout, "no response came within "+x.cfg.AttemptTimeout.String()
	}
	if !x.body.replayable || !x.again && !sent.unsent(err) {
		return retry.Stop(f) // it may have been carried out
	}
	return f
}

// refused is a response that tells of a failure. Its body is read as far as it
// is needed, and comes to the caller whole all the same.
func (x *exchange) refused(sent *sending, response *http.Response) error {
	at := time.Now()
	head := peek(x.request.Context(), response.Body)
	sent.answered()
	response.Body = sent.until(head)
	x.last = response
	f := classify.Read(classify.Reply{
		Provider: x.protocol(), Status: response.StatusCode, Header: response.Header, Body: head.beginning(), At: at,
	})
	// A wait counts from the header.
	f.RetryAfter = max(0, f.RetryAfter-time.Since(at).Truncate(time.Second))
	hide := hider(x.request)
	f.Message = classify.Line(hide(f.Message), 500)
	f.Code, f.RequestID = classify.Line(hide(f.Code), 100), classify.Line(hide(f.RequestID), 100)
	switch {
	case !x.body.replayable:
		return retry.Stop(&f)
	case x.again, f.Told, response.Header.Get("X-Should-Retry") == "true",
		f.Kind == failure.RateLimited, f.Kind == failure.Overloaded:
		return &f
	}
	return retry.Stop(&f) // it may have been carried out
}

func (x *exchange) protocol() string {
	if x.cfg.Protocol != "" {
		return x.cfg.Protocol
	}
	return protocolOf(x.request)
}
