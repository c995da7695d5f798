package fleet

import (
	"bytes"
	"cmp"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"llmcall/chaos"
)

// A request is what the provider has seen of one, by the clock that the workers have too.
type request struct {
	at, end time.Time
	alone   bool // by a client without a fleet
	broken  bool // it came in an outage
}

// A source is the provider of all workers. It has outages.
type source struct {
	*httptest.Server
	mu       sync.Mutex
	broken   bool
	requests []request
}

// answerTime is how long an answer of the provider takes, and failureTime a failure.
const (
	answerTime  = 30 * time.Millisecond
	failureTime = 10 * time.Millisecond
)

func newSource(t *testing.T) *source {
	t.Helper()
	whole, err := chaos.New(chaos.Config{Plan: &chaos.Plan{AnswerTime: answerTime}})
	if err != nil {
		t.Fatal(err)
	}
	outage, err := chaos.New(chaos.Config{Plan: &chaos.Plan{Weights: []chaos.Fault{{Kind: chaos.Status, Status: 500, Delay: failureTime, Weight: 1}}}})
	if err != nil {
		t.Fatal(err)
	}
	s := &source{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		came := time.Now()
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		var asked struct{ Model string }
		if err := json.Unmarshal(body, &asked); err != nil {
			t.Error(err)
		}
		s.mu.Lock()
		n, broken := len(s.requests), s.broken
		s.requests = append(s.requests, request{at: came.Round(0), alone: asked.Model == "alone", broken: broken})
		s.mu.Unlock()
		defer func() {
			s.mu.Lock()
			s.requests[n].end = time.Now().Round(0)
			s.mu.Unlock()
		}()
		if broken {
			outage.ServeHTTP(w, r)
		} else {
			whole.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(func() {
		whole.Close()
		outage.Close()
		s.Close()
	})
	return s
}

// breaks begins or ends an outage, and returns when.
func (s *source) breaks(yes bool) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.broken = yes
	return time.Now().Round(0)
}

// seen returns the requests of the clients that have a fleet and came from a time on, until
// another. The zero time is none.
func (s *source) seen(from, until time.Time) (seen []request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.requests {
		if !r.alone && !r.at.Before(from) && (until.IsZero() || r.at.Before(until)) {
			seen = append(seen, r)
		}
	}
	return seen
}

// answered returns when n requests of the clients that have a fleet were answered which came from
// a time on.
func (s *source) answered(from time.Time, n int) time.Time {
	var ends []time.Time
	for _, r := range s.seen(from, time.Time{}) {
		if !r.broken && !r.end.IsZero() {
			ends = append(ends, r.end)
		}
	}
	slices.SortFunc(ends, time.Time.Compare)
	return ends[n-1]
}

// most returns how many of the requests were under way at one time.
func most(requests []request) int {
	type change struct {
		at time.Time
		by int
	}
	var changes []change
	for _, r := range requests {
		changes = append(changes, change{r.at, 1})
		if !r.end.IsZero() {
			changes = append(changes, change{r.end, -1})
		}
	}
	slices.SortFunc(changes, func(a, b change) int { return cmp.Or(a.at.Compare(b.at), cmp.Compare(a.by, b.by)) })
	now, greatest := 0, 0
	for _, c := range changes {
		now += c.by
		greatest = max(greatest, now)
	}
	return greatest
}
