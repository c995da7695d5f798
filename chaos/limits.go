package chaos

import (
	"slices"
	"strconv"

	"llmcall/internal/limiter"
	"llmcall/internal/nearest"
)

// Limits are the provider's limits. A request over a limit gets the provider's own
// refusal and does not take a step of the plan. A request that is wrong gets its error
// (400) and does not count. The zero value is an error: at least one of
// RequestsPerMinute, TokensPerMinute and Concurrent must be set.
//
// The limits of requests and tokens are separate for each pair of an API key and a
// model. Keys are not stored. At most 10,000 pairs are remembered; beyond that the one
// whose last request is the oldest starts again with its full limits.
type Limits struct {
	// RequestsPerMinute is the limit of requests per minute, from 1 to 1,000,000,000.
	// Default 0: none.
	RequestsPerMinute int
	// TokensPerMinute is the limit of tokens per minute, from 1 to 1,000,000,000. A
	// request counts with its prompt, estimated at four characters per token, and its
	// answer. For OpenAI the answer counts as max_tokens when the request arrives, even if
	// it is shorter, as OpenAI and Azure do. For other providers, and without max_tokens,
	// the answer counts once it is made, even beyond the limit; then the next requests
	// wait longer. A request that counts with more than TokensPerMinute when it arrives is
	// refused as too large, without a hint. Default 0: none.
	TokensPerMinute int
	// Burst is the capacity of the bucket of RequestsPerMinute: how many requests may
	// arrive at once after a pause. It needs [WindowBucket]. Default 0:
	// RequestsPerMinute.
	Burst int
	// Window is how the limits per minute are counted. Default [WindowBucket].
	Window Window
	// Concurrent is the limit of requests that are served at the same time, for all keys
	// and models together, from 1 to 1,000,000,000. A request is served until the last
	// piece of its answer is sent, or its client has gone. Default 0: none.
	Concurrent int
	// Queue is how many more requests may wait to be served, first come, first served. A
	// request beyond that gets the provider's error for an overload, without a hint: 503
	// in a local server's words (OpenAI), 529 (Anthropic), 503 UNAVAILABLE (Gemini). It
	// still counts toward the other limits, which are checked first. Default 0.
	Queue int
	// Hint is how a refusal of requests or tokens says when to retry. Default
	// [HintExact].
	Hint Hint
	// Headers adds headers with the limits that are set, and their state when it begins,
	// to each response: x-ratelimit-limit-requests, -remaining-requests and
	// -reset-requests, and likewise -tokens (OpenAI; reset is a Go duration), or
	// anthropic-ratelimit-requests-limit and so on (Anthropic; reset is a time in RFC
	// 3339, rounded up to a second). Gemini does not send any. Default nil: true, or false
	// with [HintNone].
	//
	// With [WindowBucket], limit is Burst or TokensPerMinute, remaining is the content of
	// the bucket, rounded down, and reset is when it will be full if no more requests
	// arrive; a refused request may be retried much earlier. With [WindowMinute], limit is
	// RequestsPerMinute or TokensPerMinute, remaining is what is left of it in this
	// window, and reset is the window's end.
	Headers *bool
}

// Window is how a limit per minute is counted. Default [WindowBucket].
type Window string

// The windows.
const (
	// WindowBucket is a token bucket: its capacity is [Limits.Burst] requests, or
	// [Limits.TokensPerMinute] tokens; it is full at first, and fills at a steady rate.
	// OpenAI and Anthropic count so.
	WindowBucket Window = "bucket"
	// WindowMinute counts in windows of one minute. As with the counters of most
	// gateways, a window begins with the first request when no window is open, and not
	// with the clock's minute.
	WindowMinute Window = "minute"
)

// Hint is how a refusal says when to retry. Default [HintExact].
type Hint string

// The hints.
const (
	// HintExact gives the time in milliseconds, rounded up: OpenAI in retry-after-ms and
	// in the message ("Please try again in 1.234s"), Gemini in the message and in
	// RetryInfo.retryDelay. Retry-After, which OpenAI and Anthropic send, has whole
	// seconds, rounded up.
	HintExact Hint = "exact"
	// HintSeconds gives whole seconds, rounded up, in these places, except
	// retry-after-ms, which is not sent.
	HintSeconds Hint = "seconds"
	// HintNone gives no time, neither in headers nor in the message.
	HintNone Hint = "none"
)

// maxLimit is the highest value of a limit.
const maxLimit = limiter.Max

const takesLimit = "a whole number from 1 to 1000000000, or unset"

const takesLimits = "a mapping with requests_per_minute, tokens_per_minute or concurrent"

// tellsHeaders reports whether responses have headers with the limits.
func (l *Limits) tellsHeaders() bool {
	if l.Headers != nil {
		return *l.Headers
	}
	return l.Hint != HintNone
}

// check returns what is wrong with the limits. A field without effect is wrong too:
// whoever set it expects one.
func (l *Limits) check() *problem {
	for _, n := range []struct {
		field string
		value int
		takes string
	}{
		{"requests_per_minute", l.RequestsPerMinute, takesLimit}, {"burst", l.Burst, takesLimit}, {"tokens_per_minute", l.TokensPerMinute, takesLimit},
		{"concurrent", l.Concurrent, takesLimit}, {"queue", l.Queue, "a whole number from 0 to 1000000000"},
	} {
		if n.value < 0 || n.value > maxLimit {
			return impossible(n.field, strconv.Itoa(n.value), n.takes)
		}
	}
	if windows := []Window{"", WindowBucket, WindowMinute}; !slices.Contains(windows, l.Window) {
		return impossible("window", nearest.Shown(l.Window, windows[1:]), either(windows[1:]))
	}
	if hints := []Hint{"", HintExact, HintSeconds, HintNone}; !slices.Contains(hints, l.Hint) {
		return impossible("hint", nearest.Shown(l.Hint, hints[1:]), either(hints[1:]))
	}
	rated := l.RequestsPerMinute > 0 || l.TokensPerMinute > 0
	const rates = "requests_per_minute or tokens_per_minute"
	for _, u := range []struct {
		field       string
		set, useful bool
		needs       string
	}{
		{"burst", l.Burst > 0, l.RequestsPerMinute > 0, "requests_per_minute"},
		{"window", l.Window != "", rated, rates},
		{"hint", l.Hint != "", rated, rates},
		{"headers", l.Headers != nil, rated, rates},
		{"queue", l.Queue > 0, l.Concurrent > 0, "concurrent"},
	} {
		if u.set && !u.useful {
			return impossible(u.field, "a value", "unset unless "+u.needs+" is set")
		}
	}
	if l.Burst > 0 && l.Window == WindowMinute {
		return impossible("burst", strconv.Itoa(l.Burst), "unset if window is minute")
	}
	if !rated && l.Concurrent == 0 {
		return impossible("", "none of them", takesLimits)
	}
	return nil
}
