package failure

import (
	"math"
	"strings"
	"time"
)

// LimitReset reads when a provider's limits are whole again, counted from now,
// for a 429 that has no Retry-After, and whether they are told at all. An
// http.Header can be passed as it is. It reads
//
//   - x-ratelimit-reset-requests and -tokens, as OpenAI and Groq send them:
//     "6m0s", "20ms"; a plain number is seconds, as Azure sends them, or, of 31
//     years and more, the Unix time of some others, in seconds or milliseconds;
//   - x-ratelimit-reset, as OpenRouter sends it: a time in milliseconds since
//     1970. A number too small for that is such a time in seconds, or, below
//     1e9, seconds from now, as other gateways send them;
//   - anthropic-ratelimit-requests-reset, -tokens-, -input-tokens- and
//     -output-tokens-reset: times as in RFC 3339.
//
// Where the header beside it (…-remaining) says that a limit is used up, which
// spent reports, the longest wait of those counts; else the longest of all: to
// come too early costs more than to come late. A time in the past is 0; what is
// of no known form, or negative (Azure's -1), counts as not told.
func LimitReset(header map[string][]string, now time.Time) (wait time.Duration, told, spent bool) {
	for _, l := range limits {
		reset, ok := longest(values(header, l.reset), func(s string) (time.Duration, bool) { return l.read(s, now) })
		if !ok {
			continue
		}
		left := values(header, l.remaining)
		used := len(left) > 0 && strings.Trim(strings.TrimSpace(left[0]), "0") == "" && strings.TrimSpace(left[0]) != ""
		switch {
		case used && !spent:
			wait, told, spent = reset, true, true
		case used == spent:
			wait, told = max(wait, reset), true
		}
	}
	return wait, told, spent
}

var limits = []struct {
	reset, remaining string // canonical, as in an http.Header
	read             func(string, time.Time) (time.Duration, bool)
}{
	{"X-Ratelimit-Reset-Requests", "X-Ratelimit-Remaining-Requests", span},
	{"X-Ratelimit-Reset-Tokens", "X-Ratelimit-Remaining-Tokens", span},
	{"X-Ratelimit-Reset", "X-Ratelimit-Remaining", span},
	{"Anthropic-Ratelimit-Requests-Reset", "Anthropic-Ratelimit-Requests-Remaining", instant},
	{"Anthropic-Ratelimit-Tokens-Reset", "Anthropic-Ratelimit-Tokens-Remaining", instant},
	{"Anthropic-Ratelimit-Input-Tokens-Reset", "Anthropic-Ratelimit-Input-Tokens-Remaining", instant},
	{"Anthropic-Ratelimit-Output-Tokens-Reset", "Anthropic-Ratelimit-Output-Tokens-Remaining", instant},
}

// unixTimes is from where on a number of seconds is no wait, but a Unix time.
const unixTimes = 1_000_000_000 * time.Second

// span reads a Go duration, seconds, or a Unix time.
func span(s string, now time.Time) (time.Duration, bool) {
	if d, ok := number(s, time.Second); ok {
		if d < unixTimes {
			return d, true
		}
		if d == math.MaxInt64 {
			d, _ = number(s, time.Millisecond)
		}
		return max(0, time.Unix(0, int64(d)).Sub(now)), true
	}
	d, err := time.ParseDuration(s)
	return d, err == nil && d >= 0
}

// instant reads a time of RFC 3339.
func instant(s string, now time.Time) (time.Duration, bool) {
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return 0, false
	}
	return min(max(0, t.Sub(now)), math.MaxInt64), true
}
