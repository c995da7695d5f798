package recorded

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"llmcall"
	"llmcall/chaos"
	"llmcall/failure"
	"llmcall/llm"
	"llmcall/record"
	"llmcall/simulate"
)

var noon = time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)

// night is an hour of calls, ten a minute, with an outage from the 20th to the 30th minute in
// which nine of ten fail at once.
func night() []request {
	chance := rand.New(rand.NewPCG(1, 2))
	var all []request
	for i := range 600 {
		r := request{at: noon.Add(time.Duration(i) * 6 * time.Second), took: time.Duration(800+chance.IntN(900)) * time.Millisecond, first: true, prompt: 300, answer: 40}
		if minute := i / 10; minute >= 20 && minute < 30 && chance.IntN(10) > 0 {
			r.took, r.failed = 50*time.Millisecond, &failure.Error{Kind: failure.Transient, Status: 503}
		}
		all = append(all, r)
	}
	return all
}

// One attempt for each call gets what the recorded ones got, when they got it.
func TestASimulationOfARecordingIsLikeIt(t *testing.T) {
	if testing.Short() {
		t.Skip("an hour of calls")
	}
	s, err := scenario("night", night())
	if err != nil {
		t.Fatal(err)
	}
	report := simulate.Run(t, llmcall.RetryConfig{MaxAttempts: 1}, s)
	if math.Abs(float64(report.Calls)-600) > 3*math.Sqrt(600) {
		t.Errorf("%d calls, 600 were recorded", report.Calls)
	}
	if report.P50 < 1100*time.Millisecond || report.P50 > 1400*time.Millisecond {
		t.Errorf("half of the answers take %v", report.P50)
	}
	failed := map[bool]int{}
	for _, p := range report.Series {
		during := p.At >= 20*time.Minute-report.Bucket && p.At < 30*time.Minute+report.Bucket
		failed[during] += p.Failed
	}
	if failed[true] < 70 || failed[true] > 110 || failed[false] > 5 {
		t.Errorf("%d calls fail in the outage, and %d at other times", failed[true], failed[false])
	}
	// What retries would have done that night.
	patient := simulate.Run(t, llmcall.RetryConfig{MaxAttempts: 8}, s)
	if patient.AnsweredShare() <= report.AnsweredShare() {
		t.Errorf("%.3f answered with retries, %.3f without", patient.AnsweredShare(), report.AnsweredShare())
	}
}

// The shares of a part are what was recorded, and a scenario of any requests is possible.
func TestAnyRequestsAreAScenario(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var all []request
		at := noon
		for i := range rapid.IntRange(1, 120).Draw(t, "requests") {
			at = at.Add(time.Duration(rapid.Int64Range(0, int64(time.Minute)).Draw(t, "gap")))
			r := request{at: at, took: time.Duration(rapid.Int64Range(0, int64(time.Hour)).Draw(t, "took")), first: i == 0 || rapid.Bool().Draw(t, "first")}
			if rapid.IntRange(0, 2).Draw(t, "outcome") == 0 {
				r.failed = &failure.Error{Kind: failure.Kind(rapid.IntRange(0, 30).Draw(t, "kind")), Status: rapid.SampledFrom([]int{0, 408, 429, 503, 529}).Draw(t, "status")}
				if rapid.Bool().Draw(t, "told") {
					r.failed.Told, r.failed.RetryAfter = true, time.Duration(rapid.Int64Range(0, int64(time.Hour)).Draw(t, "wait"))
				}
			}
			all = append(all, r)
		}
		s, err := scenario("any", all)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Validate(); err != nil {
			t.Fatal(err)
		}
		for _, p := range s.Phases {
			sum := 0.0
			for _, f := range p.Faults {
				sum += f.Share
			}
			if p.Load == 0 && math.Abs(sum-1) > 1e-9 {
				t.Fatalf("the shares of %v to %v are %v", p.From, p.To, sum)
			}
		}
	})
}

func TestWhatWasDoneToARequest(t *testing.T) {
	second := time.Second
	for name, c := range map[string]struct {
		r    request
		want string
	}{
		"an answer":                {request{took: 1234 * time.Millisecond}, "right  0  1.2s"},
		"a wrong answer":           {request{took: second, wrong: true}, "prose  0  1s"},
		"an overload":              {request{took: second, failed: &failure.Error{Kind: failure.Overloaded, Status: 529}}, "status overloaded 529  1s"},
		"a rate limit, told":       {request{failed: &failure.Error{Kind: failure.RateLimited, Status: 429, Told: true, RetryAfter: 1500 * time.Millisecond}}, "status rate_limit 429 1.5 0s"},
		"a rate limit, untold":     {request{failed: &failure.Error{Kind: failure.RateLimited, Status: 429}}, "status rate_limit 429  0s map[Retry-After:[] Retry-After-Ms:[]]"},
		"no connection":            {request{failed: &failure.Error{Kind: failure.Transient}}, "reset  0  0s"},
		"an attempt's timeout":     {request{took: 30 * second, failed: &failure.Error{Kind: failure.AttemptTimeout}}, "hang  0  0s"},
		"an answer cut off":        {request{took: second, failed: &failure.Error{Kind: failure.CutOff}}, "length  0  1s"},
		"an account with no money": {request{failed: &failure.Error{Kind: failure.QuotaExhausted, Status: 402}}, "status billing 402  0s"},
	} {
		f, err := faultOf(&c.r)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		got := fmt.Sprintf("%s %s %d %s %s", f.Kind, f.Error, f.Status, f.RetryAfter, f.Delay)
		if len(f.Headers) > 0 {
			got += " " + fmt.Sprint(f.Headers)
		}
		if got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}

// Requests that no provider has heard of say nothing about it.
func TestWhatWasNotTheProvidersDoingIsLeftOut(t *testing.T) {
	var all []request
	for i := range 100 {
		r := request{at: noon.Add(time.Duration(i) * time.Second), took: time.Second, first: true}
		if i%2 == 0 {
			r.failed = &failure.Error{Kind: failure.CircuitOpen}
		}
		all = append(all, r)
	}
	s, err := scenario("s", all)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range s.Phases {
		for _, f := range p.Faults {
			if f.Kind != chaos.Right {
				t.Errorf("%+v", f)
			}
		}
	}
	if report := simulate.Run(t, llmcall.RetryConfig{}, s); report.Answered != report.Calls || report.Calls < 60 {
		t.Errorf("%+v", report.Totals)
	}
}

// A share of refusals is not a limit: whoever reads the figures is told.
func TestRefusalsAreSaidToBeAShare(t *testing.T) {
	all := night()
	if s, err := scenario("night", all); err != nil || strings.Contains(s.About, "refused") {
		t.Error(s, err)
	}
	all[5].failed = &failure.Error{Kind: failure.RateLimited, Status: 429}
	if s, err := scenario("night", all); err != nil || !strings.Contains(s.About, "600 requests. 1 was refused for a rate limit or an overload: here that is a share") {
		t.Error(s, err)
	}
}

// Recordings of package record: a request that is equal to one that failed is another attempt.
func TestRecordingsAreAScenario(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "calls")
	model, err := record.Model(story(t, "xooo"), dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, prompt := range []string{"one", "one", "two", "one"} {
		_, _ = model.Complete(t.Context(), llm.Prompt(prompt)) // the first fails
	}
	requests, err := read(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range requests {
		got = append(got, fmt.Sprint(r.first, r.failed != nil))
	}
	if text := strings.Join(got, " "); text != "true true false false true false true false" {
		t.Error(text)
	}
	if requests[1].prompt != 70 || requests[1].answer != 30 {
		t.Errorf("%+v", requests[1])
	}
	s, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if s.Name != "calls" || !strings.Contains(s.About, "3 calls, 4 requests") {
		t.Errorf("%s: %s", s.Name, s.About)
	}
}

func TestOpenSaysWhatIsWrong(t *testing.T) {
	empty := t.TempDir()
	text := filepath.Join(t.TempDir(), "notes.txt")
	if err := os.WriteFile(text, bytes.Repeat([]byte("x"), 10), 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		filepath.Join(empty, "missing"): "no such file",
		empty:                           "holds no recordings",
		text:                            "notes.txt:1: is not JSON",
		os.DevNull:                      "is a device",
	} {
		if _, err := Open(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", path, err, want)
		}
	}
}
