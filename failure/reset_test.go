package failure_test

import (
	"fmt"
	"math"
	"net/http"
	"testing"
	"time"

	"llmcall/failure"
)

func TestLimitReset(t *testing.T) {
	for name, step := range map[string]struct {
		header      map[string][]string
		wait        time.Duration
		told, spent bool
	}{
		"nothing":                     {nil, 0, false, false},
		"a Go duration":               {http.Header{"X-Ratelimit-Reset-Requests": {"6m0s"}}, 6 * time.Minute, true, false},
		"milliseconds":                {http.Header{"X-Ratelimit-Reset-Tokens": {"20ms"}}, 20 * time.Millisecond, true, false},
		"fractions (Groq)":            {http.Header{"X-Ratelimit-Reset-Tokens": {"2m59.56s"}}, 2*time.Minute + 59560*time.Millisecond, true, false},
		"seconds (Azure)":             {http.Header{"X-Ratelimit-Reset-Tokens": {"7"}}, 7 * time.Second, true, false},
		"-1 (Azure)":                  {http.Header{"X-Ratelimit-Reset-Tokens": {"-1"}}, 0, false, false},
		"no form":                     {http.Header{"X-Ratelimit-Reset-Tokens": {"soon"}}, 0, false, false},
		"a negative duration":         {http.Header{"X-Ratelimit-Reset-Tokens": {"-5s"}}, 0, false, false},
		"a duration beyond all times": {http.Header{"X-Ratelimit-Reset-Tokens": {"999999999h"}}, 0, false, false},
		"the longest":                 {http.Header{"X-Ratelimit-Reset-Requests": {"1s"}, "X-Ratelimit-Reset-Tokens": {"2s"}}, 2 * time.Second, true, false},
		"the one that is used up": {http.Header{
			"X-Ratelimit-Reset-Requests": {"1s"}, "X-Ratelimit-Remaining-Requests": {"0"},
			"X-Ratelimit-Reset-Tokens": {"2s"}, "X-Ratelimit-Remaining-Tokens": {"5"},
		}, time.Second, true, true},
		"the longest of those used up": {http.Header{
			"X-Ratelimit-Reset-Requests": {"1s"}, "X-Ratelimit-Remaining-Requests": {"0"},
			"X-Ratelimit-Reset-Tokens": {"2s"}, "X-Ratelimit-Remaining-Tokens": {"0"},
		}, 2 * time.Second, true, true},
		"another spelling": {map[string][]string{"x-ratelimit-reset-requests": {"1s"}}, time.Second, true, false},
		"RFC 3339":         {http.Header{"Anthropic-Ratelimit-Requests-Reset": {"2026-11-23T12:01:00Z"}}, time.Minute, true, false},
		"with an offset":   {http.Header{"Anthropic-Ratelimit-Tokens-Reset": {"2026-11-23T13:00:30+01:00"}}, 30 * time.Second, true, false},
		"in the past":      {http.Header{"Anthropic-Ratelimit-Tokens-Reset": {"2026-11-23T11:00:00Z"}}, 0, true, false},
		"an HTTP date":     {http.Header{"Anthropic-Ratelimit-Tokens-Reset": {"Mon, 23 Nov 2026 12:01:00 GMT"}}, 0, false, false},
		"milliseconds since 1970 (OpenRouter)": {http.Header{
			"X-Ratelimit-Limit": {"1"}, "X-Ratelimit-Remaining": {"0"}, "X-Ratelimit-Reset": {fmt.Sprint(noon.Add(26 * time.Second).UnixMilli())},
		}, 26 * time.Second, true, true},
		"milliseconds of the past":    {http.Header{"X-Ratelimit-Reset": {"1754667660000"}}, 0, true, false},
		"seconds since 1970":          {http.Header{"X-Ratelimit-Reset": {fmt.Sprint(noon.Add(time.Minute).Unix())}}, time.Minute, true, false},
		"seconds, of a gateway":       {http.Header{"X-Ratelimit-Reset": {"30"}}, 30 * time.Second, true, false},
		"a time before 1970":          {http.Header{"X-Ratelimit-Reset": {"-1754667660000"}}, 0, false, false},
		"a time beyond all numbers":   {http.Header{"X-Ratelimit-Reset": {"9223372036854775807"}}, time.Unix(0, math.MaxInt64).Sub(noon), true, false},
		"a Unix time":                 {http.Header{"X-Ratelimit-Reset-Requests": {fmt.Sprint(noon.Unix() + 30)}}, 30 * time.Second, true, false},
		"a Unix time in milliseconds": {http.Header{"X-Ratelimit-Reset-Requests": {fmt.Sprint(noon.UnixMilli() + 1500)}}, 1500 * time.Millisecond, true, false},
		"a Unix time that has passed": {http.Header{"X-Ratelimit-Reset-Requests": {fmt.Sprint(noon.Unix() - 30)}}, 0, true, false},
		"remaining is blank": {http.Header{
			"X-Ratelimit-Reset-Requests": {"1s"}, "X-Ratelimit-Remaining-Requests": {" "},
		}, time.Second, true, false},
	} {
		wait, told, spent := failure.LimitReset(step.header, noon)
		if wait != step.wait || told != step.told || spent != step.spent {
			t.Errorf("%s: got %v, %v, %v", name, wait, told, spent)
		}
	}
}

func FuzzLimitReset(f *testing.F) {
	for _, s := range []string{"6m0s", "20ms", "7", "-1", "2026-11-24T12:00:41Z", "1754667660000", "1e300", "9999999999999h", ""} {
		f.Add(s, "0")
	}
	f.Fuzz(func(t *testing.T, reset, left string) {
		for _, l := range []string{"X-Ratelimit-%s-Requests", "X-Ratelimit-%s-Tokens", "X-Ratelimit-%s", "Anthropic-Ratelimit-Input-Tokens-%s"} {
			name := func(what string) string { return http.CanonicalHeaderKey(fmt.Sprintf(l, what)) }
			wait, told, spent := failure.LimitReset(map[string][]string{name("Reset"): {reset}, name("Remaining"): {left}}, noon)
			if wait < 0 || !told && (wait != 0 || spent) {
				t.Errorf("%s: %q, %q: %v, %v, %v", l, reset, left, wait, told, spent)
			}
		}
	})
}
