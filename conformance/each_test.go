package conformance_test

import (
	"cmp"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"llmcall"
	"llmcall/chaos"
	"llmcall/llm"
)

// rowsAtALimit are rows of a batch at 50 requests a second, of which five may come at once.
type rowsAtALimit struct {
	name    string
	hint    chaos.Hint
	headers bool
	answer  time.Duration // how long one takes
	rows    int
	inFact  time.Duration // the way to the provider, and back, in virtual time
}

func (b rowsAtALimit) limits() *chaos.Limits {
	return &chaos.Limits{RequestsPerMinute: 3000, Burst: 5, Hint: b.hint, Headers: &b.headers}
}

// inProcess is a connection to a server without a network, with the time that a request
// takes on its way, and an answer.
type inProcess struct {
	server http.Handler
	way    time.Duration
}

func (p inProcess) RoundTrip(r *http.Request) (*http.Response, error) {
	time.Sleep(p.way)
	w := httptest.NewRecorder()
	p.server.ServeHTTP(w, r)
	time.Sleep(p.way)
	return w.Result(), r.Context().Err()
}

// run asks all rows, and returns the share of the limit that was used, and the refusals a
// row.
func (b rowsAtALimit) run(t *testing.T, s *chaos.Server, url string, client *http.Client) (share, refusals float64) {
	t.Helper()
	model, err := providers[0].open(url, client)
	if err != nil {
		t.Fatal(err)
	}
	c, err := llmcall.New([]llm.Model{model}, nil, llmcall.RetryConfig{})
	if err != nil {
		t.Fatal(err)
	}
	rows := func(yield func(int) bool) {
		for n := 0; n < b.rows && yield(n); n++ {
		}
	}
	request := func(n int) (*llm.Request, error) { return llm.Prompt(fmt.Sprintf("Row %d.", n)), nil }
	start, done := time.Now(), map[int]bool{}
	for row, err := range llmcall.Each(t.Context(), c, rows, request, llmcall.EachConfig{}) {
		if err := cmp.Or(err, row.Err); err != nil {
			t.Fatalf("row %d: %v", row.Index, err)
		}
		if done[row.Row] {
			t.Fatalf("row %d was yielded twice", row.Row)
		}
		done[row.Row] = true
	}
	took := time.Since(start)
	if counts := s.Counts(); len(done) != b.rows || counts.Answered != b.rows {
		t.Errorf("%d of %d rows are done; the provider has %+v", len(done), b.rows, counts)
	}
	share, refusals = float64(b.rows)/took.Seconds()/50, float64(s.Counts().RateLimited)/float64(b.rows)
	t.Logf("%s, answers of %v: %d rows in %v: %.1f %% of the limit, %.4f refusals a row", b.name, b.answer, b.rows, took.Round(time.Millisecond), 100*share, refusals)
	return share, refusals
}

// TestEachAtTheLimit goes through the rows in virtual time, with the defaults.
func TestEachAtTheLimit(t *testing.T) {
	rows := 10_000
	if testing.Short() {
		rows = 2000 // of which the beginning is a larger part
	}
	for _, b := range []rowsAtALimit{
		{"exact hint and headers", chaos.HintExact, true, 200 * time.Millisecond, rows, 10 * time.Millisecond},
		{"headers alone", chaos.HintNone, true, 200 * time.Millisecond, rows, 10 * time.Millisecond},
		{"seconds", chaos.HintSeconds, false, 200 * time.Millisecond, rows, 10 * time.Millisecond},
		{"no hint", chaos.HintNone, false, 200 * time.Millisecond, rows, 10 * time.Millisecond},
		{"exact hint and headers", chaos.HintExact, true, time.Second, rows, 10 * time.Millisecond},
		{"seconds", chaos.HintSeconds, false, time.Second, rows, 10 * time.Millisecond},
		{"no hint", chaos.HintNone, false, time.Second, rows, 10 * time.Millisecond},
	} {
		t.Run(fmt.Sprintf("%s, %v", b.name, b.answer), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, err := chaos.New(chaos.Config{Plan: &chaos.Plan{AnswerTime: b.answer, Limits: b.limits()}, Seed: 1})
				if err != nil {
					t.Fatal(err)
				}
				defer s.Close()
				share, refusals := b.run(t, s, "http://127.0.0.1", &http.Client{Transport: inProcess{s, b.inFact}})
				least := 0.92
				switch {
				case testing.Short():
					least = 0.7
				case b.answer == time.Second: // to begin takes longer
					least = 0.9
				}
				if share < least || refusals >= 0.1 {
					t.Errorf("want at least %.0f %% of the limit, and less than 0.1 refusals a row", 100*least)
				}
			})
		})
	}
}

// TestEachAtTheLimitOverHTTP does the same in real time, over HTTP on loopback. How long it
// takes is a matter of the machine, unless other work leaves it the cores: then with
// LLMCALL_TIMED=1.
func TestEachAtTheLimitOverHTTP(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes 40 s")
	}
	timed := os.Getenv("LLMCALL_TIMED") == "1"
	b := rowsAtALimit{"exact hint and headers, over HTTP", chaos.HintExact, true, 200 * time.Millisecond, 2000, 0}
	if !timed {
		b.rows = 500
	}
	s, err := chaos.New(chaos.Config{Plan: &chaos.Plan{AnswerTime: b.answer, Limits: b.limits()}})
	if err != nil {
		t.Fatal(err)
	}
	url, client, end := listen(s)
	defer end()
	client.Transport.(*http.Transport).MaxIdleConnsPerHost = llmcall.DefaultEachConcurrency
	share, refusals := b.run(t, s, url, client)
	if timed && share < 0.92 || refusals >= 0.1 {
		t.Error("want at least 92 % of the limit, and less than 0.1 refusals a row")
	}
}
