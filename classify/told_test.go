package classify

import (
	"fmt"
	"math"
	"net/http"
	"reflect"
	"testing"
	"time"

	"llmcall/pace"
)

func unix(d time.Duration) string      { return fmt.Sprint(noon.Add(d).Unix()) }
func unixMilli(d time.Duration) string { return fmt.Sprint(noon.Add(d).UnixMilli()) }

func TestTold(t *testing.T) {
	requests := func(size, left int64, reset time.Duration) pace.Window {
		return pace.Window{Limit: size, Remaining: left, Reset: reset}
	}
	tokens := func(size, left int64, reset time.Duration) pace.Window {
		return pace.Window{Tokens: true, Limit: size, Remaining: left, Reset: reset}
	}
	for _, step := range []struct {
		name, provider string
		header         map[string]string
		want           *pace.Told
	}{
		{"nothing", OpenAI, nil, nil},
		{"what all responses have", OpenAI, map[string]string{"Date": "Mon, 23 Nov 2026 12:00:00 GMT", "X-Request-Id": "r", "X-Ray": "1", "Server": "x"}, nil},
		{"OpenAI", OpenAI, map[string]string{
			"x-ratelimit-limit-requests": "5000", "x-ratelimit-remaining-requests": "4999", "x-ratelimit-reset-requests": "12ms",
			"x-ratelimit-limit-tokens": "160000", "x-ratelimit-remaining-tokens": "159976", "x-ratelimit-reset-tokens": "6m0s",
		}, &pace.Told{Windows: []pace.Window{requests(5000, 4999, 12*time.Millisecond), tokens(160000, 159976, 6*time.Minute)}}},
		{"Groq", "groq", map[string]string{
			"X-Ratelimit-Limit-Requests": "14400", "X-Ratelimit-Remaining-Requests": "14370", "X-Ratelimit-Reset-Requests": "2m59.56s",
		}, &pace.Told{Windows: []pace.Window{requests(14400, 14370, 2*time.Minute+59560*time.Millisecond)}}},
		{"Azure", "azure", map[string]string{
			"X-Ratelimit-Remaining-Requests": "0", "X-Ratelimit-Remaining-Tokens": "100", "X-Ratelimit-Reset-Tokens": "7", "Retry-After-Ms": "1500",
		}, &pace.Told{Wait: 1500 * time.Millisecond, HasWait: true, Windows: []pace.Window{requests(0, 0, 0), tokens(0, 100, 7*time.Second)}}},
		{"Azure, which does not know", "azure", map[string]string{"X-Ratelimit-Remaining-Tokens": "-1", "X-Ratelimit-Reset-Tokens": "-1"}, nil},
		{"OpenRouter", "openrouter", map[string]string{
			"X-RateLimit-Limit": "20", "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": unixMilli(26 * time.Second),
		}, &pace.Told{Windows: []pace.Window{requests(20, 0, 26*time.Second)}}},
		{"a gateway", "deepseek", map[string]string{
			"X-RateLimit-Limit": "20", "X-RateLimit-Remaining": "3", "X-RateLimit-Reset": unix(26 * time.Second),
		}, &pace.Told{Windows: []pace.Window{requests(20, 3, 26*time.Second)}}},
		{"Together", "together", map[string]string{
			"X-Ratelimit-Limit": "10", "X-Ratelimit-Remaining": "9", "X-Ratelimit-Reset": "1", "X-Tokenlimit-Limit": "2000", "X-Tokenlimit-Remaining": "1500",
		}, &pace.Told{Windows: []pace.Window{requests(10, 9, time.Second), tokens(2000, 1500, 0)}}},
		{"Cerebras", "cerebras", map[string]string{
			"X-Ratelimit-Limit-Requests-Day": "1000", "X-Ratelimit-Remaining-Requests-Day": "999", "X-Ratelimit-Reset-Requests-Day": "33011.38",
			"X-Ratelimit-Remaining-Tokens-Minute": "60", "X-Ratelimit-Reset-Tokens-Minute": "11.5",
		}, &pace.Told{Windows: []pace.Window{requests(1000, 999, 33011380*time.Millisecond), tokens(0, 60, 11500*time.Millisecond)}}},
		{"Kong", OpenAI, map[string]string{"X-RateLimit-Remaining-Minute": "4", "X-RateLimit-Minute-Limit": "5", "X-RateLimit-Limit-Images": "1", "X-RateLimit-Remaining-Images": "0"},
			&pace.Told{Windows: []pace.Window{requests(5, 4, 0)}}},
		{"a limit of 0 is none", OpenAI, map[string]string{"X-RateLimit-Limit-Tokens": "0", "X-RateLimit-Remaining-Tokens": "0"}, nil},
		{"a limit alone", OpenAI, map[string]string{"X-RateLimit-Limit-Tokens": "10", "X-RateLimit-Reset-Tokens": "10"}, nil},
		{"numbers that are none", OpenAI, map[string]string{"X-RateLimit-Remaining": "NaN", "Retry-After": "inf"}, nil},
		{"the window beside the count", OpenAI, map[string]string{"X-RateLimit-Limit": "100, 100;window=60, 10000;window=86400", "X-RateLimit-Remaining": "98"},
			&pace.Told{Windows: []pace.Window{requests(100, 98, 0)}}},

		{"Anthropic", Anthropic, map[string]string{
			"anthropic-ratelimit-requests-limit": "50", "anthropic-ratelimit-requests-remaining": "49", "anthropic-ratelimit-requests-reset": "2026-11-23T12:00:01Z",
			"anthropic-ratelimit-tokens-limit": "80000", "anthropic-ratelimit-tokens-remaining": "79000", "anthropic-ratelimit-tokens-reset": "2026-11-23T12:00:02Z",
			"anthropic-ratelimit-input-tokens-remaining": "0", "anthropic-ratelimit-input-tokens-reset": "2026-11-23T12:00:41Z",
			"anthropic-ratelimit-output-tokens-remaining": "7", "anthropic-ratelimit-output-tokens-reset": "2026-11-23T11:00:00Z",
			"retry-after": "41",
		}, &pace.Told{Wait: 41 * time.Second, HasWait: true, Windows: []pace.Window{
			tokens(0, 0, 41*time.Second), tokens(0, 7, 0), requests(50, 49, time.Second), tokens(80000, 79000, 2*time.Second),
		}}},
		{"a subscription that is used up", Anthropic, map[string]string{
			"Anthropic-Ratelimit-Unified-Status": "rejected", "Anthropic-Ratelimit-Unified-Reset": unix(time.Hour), "Anthropic-Ratelimit-Unified-5h-Reset": unix(time.Minute),
		}, &pace.Told{Windows: []pace.Window{requests(0, 0, time.Hour)}}},
		{"a subscription that does not say", Anthropic, map[string]string{"Anthropic-Ratelimit-Unified-Reset": unix(time.Hour)}, nil},
		{"a subscription that is not", Anthropic, map[string]string{
			"Anthropic-Ratelimit-Unified-Status": "allowed_warning", "Anthropic-Ratelimit-Unified-Reset": unix(time.Hour),
		}, nil},
		{"a subscription that goes on for money", Anthropic, map[string]string{
			"Anthropic-Ratelimit-Unified-Status": "rejected", "Anthropic-Ratelimit-Unified-Overage-Status": "allowed", "Anthropic-Ratelimit-Unified-Reset": unix(time.Hour),
		}, nil},
		{"Anthropic's limits handed on by another", OpenAI, map[string]string{
			"Anthropic-Ratelimit-Requests-Remaining": "0", "Anthropic-Ratelimit-Requests-Reset": "2026-11-23T12:00:01Z"}, nil},

		{"the draft", OpenAI, map[string]string{"RateLimit": `"default";r=0;t=30`}, &pace.Told{Windows: []pace.Window{requests(0, 0, 30*time.Second)}}},
		{"the draft and its policies", OpenAI, map[string]string{
			"RateLimit":        `"a,b;c";r=50;t=30;pk="x, y;r=0;t=99", "tpm" ; r=7 ; t=1, "calls";r=0;t=9`,
			"RateLimit-Policy": `"a,b;c";q=100;w=60, "tpm";q=10;qu="tokens", "calls";q=5;qu="concurrent-requests", "other";q=1`,
		}, &pace.Told{Windows: []pace.Window{requests(100, 50, 30*time.Second), tokens(10, 7, time.Second)}}},
		{"the draft of before", OpenAI, map[string]string{"RateLimit": `limit=100, remaining=50, reset=5`}, &pace.Told{Windows: []pace.Window{requests(100, 50, 5*time.Second)}}},
		{"the draft before that", OpenAI, map[string]string{"RateLimit-Limit": "100, 100;w=60", "RateLimit-Remaining": "50", "RateLimit-Reset": "30"},
			&pace.Told{Windows: []pace.Window{requests(100, 50, 30*time.Second)}}},
		{"a quote within quotes", OpenAI, map[string]string{"RateLimit": `"a";r=50;t=30;pk="\";r=0"`}, &pace.Told{Windows: []pace.Window{requests(0, 50, 30*time.Second)}}},
		{"the draft, cut", OpenAI, map[string]string{"RateLimit": `"default`}, nil},
	} {
		h := http.Header{}
		for name, value := range step.header {
			h.Set(name, value)
		}
		if got := Told(step.provider, h, noon); !reflect.DeepEqual(got, step.want) {
			t.Errorf("%s: got %+v, want %+v", step.name, got, step.want)
		}
	}
}

func TestToldOfRepeatedHeadersIsTheTightest(t *testing.T) {
	got := Told(OpenAI, http.Header{
		"X-Ratelimit-Limit": {"100", "60"}, "X-Ratelimit-Remaining": {"7", "3, 9"}, "X-Ratelimit-Reset": {"5s", "1m"}, "Retry-After": {"1", "2"},
	}, noon)
	want := &pace.Told{Wait: 2 * time.Second, HasWait: true, Windows: []pace.Window{{Limit: 60, Remaining: 3, Reset: time.Minute}}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v", got)
	}
}

func TestToldReadsAnySpelling(t *testing.T) {
	got := Told(OpenAI, http.Header{"x-ratelimit-remaining": {"3"}, "RETRY-AFTER": {"2"}, "ratelimit": {`"x";r=1;t=1`}}, noon)
	if got == nil || got.Wait != 2*time.Second || len(got.Windows) != 2 {
		t.Errorf("got %+v", got)
	}
}

func TestToldOfManyLimitsIsBounded(t *testing.T) {
	h := http.Header{}
	for i := range 10_000 {
		h.Set(fmt.Sprintf("X-Ratelimit-Remaining-Tokens-%d", i), "1")
		h.Add("Ratelimit", fmt.Sprintf(`"%d";r=1;t=1`, i))
	}
	if got := Told(OpenAI, h, noon); len(got.Windows) != 2*maxLimits {
		t.Errorf("%d windows", len(got.Windows))
	}
}

// Every response asks, and most say nothing.
func TestToldNothingCostsNoAllocation(t *testing.T) {
	h := http.Header{"Date": {"Mon, 23 Nov 2026 12:00:00 GMT"}, "Content-Type": {"application/json"}, "X-Request-Id": {"r"}, "Server": {"uvicorn"}}
	if n := testing.AllocsPerRun(100, func() { Told(OpenAI, h, noon) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkToldNothing(b *testing.B) {
	h := http.Header{}
	for i := range 15 {
		h.Set(fmt.Sprintf("X-Header-%d", i), "v")
	}
	for b.Loop() {
		Told(OpenAI, h, noon)
	}
}

func BenchmarkTold(b *testing.B) {
	h := http.Header{
		"X-Ratelimit-Limit-Requests": {"5000"}, "X-Ratelimit-Remaining-Requests": {"4999"}, "X-Ratelimit-Reset-Requests": {"12ms"},
		"X-Ratelimit-Limit-Tokens": {"160000"}, "X-Ratelimit-Remaining-Tokens": {"159976"}, "X-Ratelimit-Reset-Tokens": {"6m0s"},
	}
	for i := range 15 {
		h.Set(fmt.Sprintf("X-Header-%d", i), "v")
	}
	for b.Loop() {
		Told(OpenAI, h, noon)
	}
}

func TestWhenARefusalsLimitsAreWholeAgain(t *testing.T) {
	for _, step := range []struct {
		name, provider string
		header         http.Header
		wait           time.Duration // notTold: not told
	}{
		{"nothing", OpenAI, nil, notTold},
		{"a Go duration", OpenAI, http.Header{"X-Ratelimit-Reset-Requests": {"6m0s"}}, 6 * time.Minute},
		{"milliseconds", OpenAI, http.Header{"X-Ratelimit-Reset-Tokens": {"20ms"}}, 20 * time.Millisecond},
		{"fractions (Groq)", OpenAI, http.Header{"X-Ratelimit-Reset-Tokens": {"2m59.56s"}}, 2*time.Minute + 59560*time.Millisecond},
		{"seconds (Azure)", OpenAI, http.Header{"X-Ratelimit-Reset-Tokens": {"7"}}, 7 * time.Second},
		{"-1 (Azure)", OpenAI, http.Header{"X-Ratelimit-Reset-Tokens": {"-1"}}, notTold},
		{"no form", OpenAI, http.Header{"X-Ratelimit-Reset-Tokens": {"soon"}}, notTold},
		{"a duration beyond all times", OpenAI, http.Header{"X-Ratelimit-Reset-Tokens": {"999999999h"}}, notTold},
		{"the longest", OpenAI, http.Header{"X-Ratelimit-Reset-Requests": {"1s"}, "X-Ratelimit-Reset-Tokens": {"2s"}}, 2 * time.Second},
		{"the one that is used up, before a longer one", OpenAI, http.Header{
			"X-Ratelimit-Reset-Requests": {"1s"}, "X-Ratelimit-Remaining-Requests": {"0"},
			"X-Ratelimit-Reset-Tokens": {"1m"}, "X-Ratelimit-Remaining-Tokens": {"5"},
		}, time.Second},
		{"the one that is used up, after a longer one", OpenAI, http.Header{
			"X-Ratelimit-Reset-Requests": {"1m"}, "X-Ratelimit-Remaining-Requests": {"5"},
			"X-Ratelimit-Reset-Tokens": {"1s"}, "X-Ratelimit-Remaining-Tokens": {"0"},
		}, time.Second},
		{"the one that is used up, after one that says no count", OpenAI, http.Header{
			"X-Ratelimit-Reset-Requests": {"1m"},
			"X-Ratelimit-Reset-Tokens":   {"1s"}, "X-Ratelimit-Remaining-Tokens": {"0"},
		}, time.Second},
		{"the longest of those used up", OpenAI, http.Header{
			"X-Ratelimit-Reset-Requests": {"2s"}, "X-Ratelimit-Remaining-Requests": {"0"},
			"X-Ratelimit-Reset-Tokens": {"1s"}, "X-Ratelimit-Remaining-Tokens": {"0"},
		}, 2 * time.Second},
		{"one that is used up and says no time", OpenAI, http.Header{
			"X-Ratelimit-Remaining-Requests": {"0"}, "X-Ratelimit-Reset-Tokens": {"1s"}, "X-Ratelimit-Remaining-Tokens": {"4"},
		}, time.Second},
		{"tokens that did not suffice, beside requests of a day", OpenAI, http.Header{
			"X-Ratelimit-Reset-Requests-Day": {"33011"}, "X-Ratelimit-Remaining-Requests-Day": {"999"}, "X-Ratelimit-Limit-Requests-Day": {"1000"},
			"X-Ratelimit-Reset-Tokens-Minute": {"11.5"}, "X-Ratelimit-Remaining-Tokens-Minute": {"60"}, "X-Ratelimit-Limit-Tokens-Minute": {"60000"},
		}, 11500 * time.Millisecond},
		{"remaining is blank", OpenAI, http.Header{"X-Ratelimit-Reset-Requests": {"1s"}, "X-Ratelimit-Remaining-Requests": {" "}}, time.Second},
		{"another spelling", OpenAI, http.Header{"x-ratelimit-reset-requests": {"1s"}}, time.Second},
		{"milliseconds since 1970 (OpenRouter)", OpenAI, http.Header{"X-Ratelimit-Remaining": {"0"}, "X-Ratelimit-Reset": {unixMilli(26 * time.Second)}}, 26 * time.Second},
		{"milliseconds of the past", OpenAI, http.Header{"X-Ratelimit-Reset": {"1754667660000"}}, 0},
		{"seconds since 1970", OpenAI, http.Header{"X-Ratelimit-Reset-Requests": {unix(time.Minute)}}, time.Minute},
		{"a time before 1970", OpenAI, http.Header{"X-Ratelimit-Reset": {"-1754667660000"}}, notTold},
		{"a time beyond all numbers", OpenAI, http.Header{"X-Ratelimit-Reset": {fmt.Sprint(math.MaxInt64)}}, notTold},
		{"the draft", OpenAI, http.Header{"Ratelimit": {`"x";r=0;t=30`}}, 30 * time.Second},
		{"the draft of before", OpenAI, http.Header{"Ratelimit-Reset": {"30"}}, 30 * time.Second},

		{"RFC 3339", Anthropic, http.Header{"Anthropic-Ratelimit-Requests-Reset": {"2026-11-23T12:01:00Z"}, "Anthropic-Ratelimit-Requests-Remaining": {"0"}}, time.Minute},
		{"with an offset", Anthropic, http.Header{"Anthropic-Ratelimit-Tokens-Reset": {"2026-11-23T13:00:30+01:00"}}, 30 * time.Second},
		{"in the past", Anthropic, http.Header{"Anthropic-Ratelimit-Tokens-Reset": {"2026-11-23T11:00:00Z"}}, 0},
		{"an HTTP date", Anthropic, http.Header{"Anthropic-Ratelimit-Tokens-Reset": {"Mon, 23 Nov 2026 12:01:00 GMT"}}, time.Minute},
		{"Anthropic's with something left", Anthropic, http.Header{"Anthropic-Ratelimit-Tokens-Reset": {"2026-11-23T12:01:00Z"}, "Anthropic-Ratelimit-Tokens-Remaining": {"1"}}, notTold},
		{"a subscription", Anthropic, http.Header{"Anthropic-Ratelimit-Unified-Reset": {unix(time.Hour)}}, time.Hour},
		{"a subscription that is used up", Anthropic, http.Header{"Anthropic-Ratelimit-Unified-Reset": {unix(time.Hour)}, "Anthropic-Ratelimit-Unified-Status": {"rejected"}}, time.Hour},
		{"a subscription that is not", Anthropic, http.Header{"Anthropic-Ratelimit-Unified-Reset": {unix(time.Hour)}, "Anthropic-Ratelimit-Unified-Status": {"allowed"}}, notTold},
	} {
		got := Read(Reply{Provider: step.provider, Status: 429, Header: step.header, Body: []byte(`{}`), At: noon})
		if want := max(0, step.wait); got.RetryAfter != want || got.Told != (step.wait != notTold) {
			t.Errorf("%s: got %v, %v; want %v", step.name, got.RetryAfter, got.Told, step.wait)
		}
	}
}

func FuzzTold(f *testing.F) {
	for _, s := range []string{"6m0s", "20ms", "7", "-1", "2026-11-24T12:00:41Z", "1754667660000", "1e300", "9999999999999h", "",
		`"default";r=0;t=30`, `limit=100, remaining=50, reset=5`, `"a\",;b";r=1, x;t=`} {
		f.Add(s, "0")
	}
	f.Fuzz(func(t *testing.T, reset, left string) {
		h := http.Header{"Ratelimit": {reset, left}, "Ratelimit-Policy": {left}, "Retry-After": {left}}
		for _, l := range []string{"X-Ratelimit-%s-Requests", "X-Ratelimit-%s-Tokens", "X-Ratelimit-%s", "Anthropic-Ratelimit-Input-Tokens-%[1]s", "Anthropic-Ratelimit-Unified-%s", "Ratelimit-%s"} {
			h.Set(fmt.Sprintf(l, "Reset"), reset)
			h.Set(fmt.Sprintf(l, "Remaining"), left)
			h.Set(fmt.Sprintf(l, "Limit"), left)
		}
		for _, provider := range []string{OpenAI, Anthropic} {
			for _, w := range toldOrNothing(provider, h).Windows {
				if w.Limit < 0 || w.Remaining < 0 || w.Reset < 0 {
					t.Errorf("%q, %q: %+v", reset, left, w)
				}
			}
			if wait, told := wholeAgain(provider, limitsOf(provider, h, sending{came: noon})); wait < 0 || !told && wait != 0 {
				t.Errorf("%q, %q: %v, %v", reset, left, wait, told)
			}
		}
	})
}

func toldOrNothing(provider string, h http.Header) pace.Told {
	if told := Told(provider, h, noon); told != nil {
		return *told
	}
	return pace.Told{}
}
