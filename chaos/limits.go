package chaos

import (
	"slices"
	"strconv"
)

// Limits are what a provider allows. A request that is over a limit gets the
// provider's own refusal and takes no step of the plan; those that pass are
// served as the plan says. Only requests that the provider can read are counted:
// one that is wrong gets its error (400) and uses up nothing. The zero value is
// not a valid one: at least one of RequestsPerMinute, TokensPerMinute and
// Concurrent must be set.
//
// The limits of requests and of tokens are held for each API key and model
// apart: two keys, or two models, don't use up each other's. The keys themselves
// are not kept. Of at most 10,000 pairs the use is remembered; then the one that
// was longest without a request is forgotten, and begins afresh.
type Limits struct {
	// RequestsPerMinute is how many requests are let through a minute, 1 to a
	// thousand million. Default 0: no limit of requests.
	RequestsPerMinute int
	// TokensPerMinute is how many tokens are let through a minute, 1 to a
	// thousand million. A request is counted as its prompt, estimated at four
	// characters a token, and its answer. Of OpenAI the answer is counted as
	// max_tokens when the request comes, whether it uses them or not, as OpenAI
	// and Azure do. Of the others, and without max_tokens, it is counted when it
	// is made, even if the limit has not so many left: the next requests wait
	// the longer for it. A request that asks for more than TokensPerMinute when
	// it comes is refused as too large, without a hint. Default 0: no limit of
	// tokens.
	TokensPerMinute int
	// Burst is how many requests the bucket of RequestsPerMinute holds: so many
	// may come at once after a pause. Only with WindowBucket. Default:
	// RequestsPerMinute.
	Burst int
	// Window says how a limit fills up again. Default WindowBucket.
	Window Window
	// Concurrent is how many requests are served at a time, of all keys and
	// models together. A request has its place until the last piece of its
	// answer goes out, streams included, or its client has gone. Default 0: no
	// limit.
	Concurrent int
	// Queue is how many more requests may wait for a place, in the order in
	// which they came. A request beyond them gets the provider's error for an
	// overload, without a hint when to come back: 503 in a local server's words
	// (OpenAI), 529 (Anthropic), 503 UNAVAILABLE (Gemini). It has used up the
	// other limits, which are looked at before. Default 0.
	Queue int
	// Hint says how a refusal of requests or tokens tells when to come back.
	// Default HintExact.
	Hint Hint
	// Headers says whether each response, answer or refusal, has the
	// headers of the limits that are set, as they are when it begins:
	// x-ratelimit-limit-requests, -remaining-requests and -reset-requests, and
	// -tokens likewise (OpenAI; reset is a duration as Go writes it), or
	// anthropic-ratelimit-requests-limit, ... (Anthropic; reset is a time in RFC
	// 3339, rounded up to a second). Gemini sends none. Default true, but false
	// with HintNone.
	//
	// With WindowBucket the limit is Burst, or TokensPerMinute, remaining is
	// what the bucket holds, rounded down, and reset when it will be full again
	// if no more requests come: a refused request may come back long before.
	// With WindowMinute the limit is RequestsPerMinute or TokensPerMinute,
	// remaining is what is left of it in this window, and reset when the window
	// ends.
	Headers *bool
}

// Window names a way to hold a limit of so many a minute.
type Window string

const (
	// WindowBucket is a token bucket: it holds Limits.Burst requests, or
	// Limits.TokensPerMinute tokens, is full at first, and fills at a steady
	// rate. It is the way of OpenAI and Anthropic.
	WindowBucket Window = "bucket"
	// WindowMinute counts in windows of a minute, and begins again with each.
	// A window begins with the first request that comes when none is open, as
	// with the counters of most gateways, and not with the clock's minute.
	WindowMinute Window = "minute"
)

// Hint says how a refusal tells when to come back.
type Hint string

const (
	// HintExact tells the time to the millisecond, rounded up: OpenAI in
	// retry-after-ms and in its words ("Please try again in 1.234s"), Gemini in
	// its words and RetryInfo.retryDelay. Retry-After, which OpenAI and
	// Anthropic send, has whole seconds, rounded up.
	HintExact Hint = "exact"
	// HintSeconds tells whole seconds, rounded up, in all of these places but
	// retry-after-ms, which is not sent.
	HintSeconds Hint = "seconds"
	// HintNone tells nothing, neither in headers nor in words.
	HintNone Hint = "none"
)

// maxLimit bounds the limits, so that the arithmetic of a bucket can't overflow.
const maxLimit = 1_000_000_000

const limitTakes = "a whole number from 1 to 1000000000, or nothing"

// tellsHeaders reports whether responses have the headers of the limits.
func (l *Limits) tellsHeaders() bool {
	if l.Headers != nil {
		return *l.Headers
	}
	return l.Hint != HintNone
}

// check returns what is wrong with the limits. A field that has no effect is
// wrong: who set it expects one.
func (l *Limits) check() *problem {
	for _, n := range []struct {
		field string
		value int
		takes string
	}{
		{"requests_per_minute", l.RequestsPerMinute, limitTakes}, {"burst", l.Burst, limitTakes}, {"tokens_per_minute", l.TokensPerMinute, limitTakes},
		{"concurrent", l.Concurrent, limitTakes}, {"queue", l.Queue, "a whole number from 0 to 1000000000"},
	} {
		if n.value < 0 || n.value > maxLimit {
			return &problem{n.field, strconv.Itoa(n.value), n.takes}
		}
	}
	if windows := []Window{"", WindowBucket, WindowMinute}; !slices.Contains(windows, l.Window) {
		return &problem{"window", strconv.Quote(string(l.Window)), oneOf(string(l.Window), windows[1:])}
	}
	if hints := []Hint{"", HintExact, HintSeconds, HintNone}; !slices.Contains(hints, l.Hint) {
		return &problem{"hint", strconv.Quote(string(l.Hint)), oneOf(string(l.Hint), hints[1:])}
	}
	rated := l.RequestsPerMinute > 0 || l.TokensPerMinute > 0
	const rates = "requests_per_minute or tokens_per_minute"
	for _, u := range []struct {
		field       string
		set, useful bool
		beside      string
	}{
		{"burst", l.Burst > 0, l.RequestsPerMinute > 0, "requests_per_minute"},
		{"window", l.Window != "", rated, rates},
		{"hint", l.Hint != "", rated, rates},
		{"headers", l.Headers != nil, rated, rates},
		{"queue", l.Queue > 0, l.Concurrent > 0, "concurrent"},
	} {
		if u.set && !u.useful {
			return &problem{u.field, "a value without " + u.beside, "a value only beside " + u.beside}
		}
	}
	if l.Burst > 0 && l.Window == WindowMinute {
		return &problem{"burst", "a value beside window minute", "a value only beside window bucket"}
	}
	if !rated && l.Concurrent == 0 {
		return &problem{"", "no limit", "requests_per_minute, tokens_per_minute or concurrent"}
	}
	return nil
}
