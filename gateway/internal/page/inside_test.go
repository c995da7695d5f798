package page

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"llmcall"
	"llmcall/breaker"
	"llmcall/endpoint"
	"llmcall/failure"
	"llmcall/llm"
	"llmcall/validate"
)

// tell makes a call's events: of as many attempts as there are outcomes.
func tell(r *Ring, number uint64, model string, end error, attempts ...llmcall.Attempt) {
	observer := r.Observer()
	ctx := context.Background()
	observer(ctx, llmcall.Event{Type: llmcall.EventCallStarted, Call: number, Model: model})
	for i, a := range attempts {
		a.Number, a.Model, a.Start = i+1, model, time.Now()
		observer(ctx, llmcall.Event{Type: llmcall.EventAttemptStarted, Call: number, Model: model, Attempt: llmcall.Attempt{Number: i + 1, Model: model, Start: a.Start}})
		observer(ctx, llmcall.Event{Type: llmcall.EventAttemptEnded, Call: number, Model: model, Attempt: a})
	}
	e := llmcall.Event{Type: llmcall.EventCallEnded, Call: number, Model: model, Duration: time.Second, Err: end}
	if end == nil {
		e.Result = &llmcall.Result{Model: model, Text: "an answer"}
	}
	observer(ctx, e)
}

// reader takes what the handler writes, with the time of each write.
type reader struct {
	header http.Header
	mu     sync.Mutex
	writes []write
	fails  bool
}

type write struct {
	at   time.Time
	text string
}

func (r *reader) Header() http.Header { return r.header }
func (r *reader) WriteHeader(int)     {}
func (r *reader) Flush()              {}
func (r *reader) Write(data []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.fails {
		return 0, io.ErrClosedPipe
	}
	r.writes = append(r.writes, write{time.Now(), string(data)})
	return len(data), nil
}

// follow reads the stream of a handler until ctx ends.
func follow(ctx context.Context, h http.Handler) (*reader, *sync.WaitGroup) {
	r := &reader{header: http.Header{}}
	var wait sync.WaitGroup
	wait.Go(func() { h.ServeHTTP(r, httptest.NewRequest("GET", "/ui/events", nil).WithContext(ctx)) })
	return r, &wait
}

func newTestHandler(t testing.TB, ring *Ring, change func(*Options)) http.Handler {
	t.Helper()
	registry, err := endpoint.NewRegistry(endpoint.Config{OnStateChange: ring.Changed})
	if err != nil {
		t.Fatal(err)
	}
	o := Options{Registry: registry, Calls: ring, Log: slog.New(slog.DiscardHandler)}
	if change != nil {
		change(&o)
	}
	return Handler(o)
}

func TestEventsComeAtMostTwiceASecondHoweverManyCallsThereAre(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ring := NewRing(10, false)
		ctx, cancel := context.WithCancel(t.Context())
		r, wait := follow(ctx, newTestHandler(t, ring, nil))
		for i := range 2000 {
			time.Sleep(5 * time.Millisecond)
			tell(ring, uint64(i+1), "acme/small", nil, llmcall.Attempt{Outcome: llmcall.OutcomeValid})
		}
		cancel()
		wait.Wait()
		events := r.writes[1:] // without the first, which has everything
		if len(events) < 18 || len(events) > 20 {
			t.Errorf("%d events in 10 s, want about 20", len(events))
		}
		for i, e := range events {
			if i > 0 && e.at.Sub(events[i-1].at) < perFrame {
				t.Errorf("an event %v after the one before", e.at.Sub(events[i-1].at))
			}
			if n := strings.Count(e.text, "<details"); n > 11 { // one may be under way
				t.Errorf("an event with %d calls of a ring of 10", n)
			}
		}
	})
}

func TestNothingIsSentWhereNothingChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ring := NewRing(10, false)
		var e *endpoint.Endpoint
		h := newTestHandler(t, ring, func(o *Options) { e = o.Registry.Get(endpoint.Key{Model: "acme/small"}) })
		for i := range 4 {
			tell(ring, uint64(i+1), "acme/small", nil, llmcall.Attempt{Outcome: llmcall.OutcomeValid})
		}
		e.Circuit(endpoint.Options{}).Trip(breaker.Failure{AskedFor: time.Hour})
		ctx, cancel := context.WithCancel(t.Context())
		r, wait := follow(ctx, h)
		time.Sleep(20 * time.Minute)
		cancel()
		wait.Wait()
		// For five minutes the time lines move, each ten seconds; after that the open
		// circuit is the same for a quarter of an hour, but for its band.
		alive := 0
		for _, w := range r.writes[1:] {
			if strings.HasPrefix(w.text, ": ") {
				alive++
				continue
			}
			if strings.Contains(w.text, "<details") {
				t.Errorf("calls that have not changed are sent: %.200s", w.text)
			}
		}
		if n := len(r.writes) - alive; n > 35 {
			t.Errorf("%d events", n)
		}
		if alive < 50 {
			t.Errorf("%d signs of life in 15 minutes without an event", alive)
		}
	})
}

func TestStreamEnds(t *testing.T) {
	for name, end := range map[string]func(cancel context.CancelFunc, done chan struct{}, r *reader){
		"with its request":     func(cancel context.CancelFunc, _ chan struct{}, _ *reader) { cancel() },
		"with the server":      func(_ context.CancelFunc, done chan struct{}, _ *reader) { close(done) },
		"when nobody reads it": func(_ context.CancelFunc, _ chan struct{}, r *reader) { r.mu.Lock(); r.fails = true; r.mu.Unlock() },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				done := make(chan struct{})
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				r, wait := follow(ctx, newTestHandler(t, NewRing(1, false), func(o *Options) { o.Done = done }))
				time.Sleep(time.Second)
				end(cancel, done, r)
				start := time.Now()
				wait.Wait() // a stream that goes on is a deadlock, or the time limit of the test
				if took := time.Since(start); took > keepAlive {
					t.Errorf("after %v", took)
				}
			})
		})
	}
}

func TestStreamsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newTestHandler(t, NewRing(1, false), nil)
		ctx, cancel := context.WithCancel(t.Context())
		var all []*sync.WaitGroup
		for range maxStreams {
			_, wait := follow(ctx, h)
			all = append(all, wait)
		}
		synctest.Wait()
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", "/ui/events", nil))
		if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" {
			t.Errorf("%d %v", w.Code, w.Header())
		}
		cancel()
		for _, wait := range all {
			wait.Wait()
		}
		ctx, cancel = context.WithCancel(t.Context())
		r, wait := follow(ctx, h)
		synctest.Wait()
		cancel()
		wait.Wait()
		if len(r.writes) == 0 {
			t.Error("there is no room after they have ended")
		}
	})
}

// Whoever applies all updates has what the last frame has.
func TestUpdatesMakeTheFrame(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rows := rapid.SliceOfNDistinct(rapid.Custom(func(t *rapid.T) row {
			return row{rapid.SampledFrom([]string{"a", "b", "c", "d", "e"}).Draw(t, "id"), rapid.SampledFrom([]string{"1", "2"}).Draw(t, "html")}
		}), 0, 5, func(r row) string { return r.ID })
		frames := rapid.SliceOfN(rows, 1, 6).Draw(t, "frames")
		var s seen
		has, order := map[string]string{}, []string(nil)
		for i, rows := range frames {
			f := &frame{Lists: []list{{"x", rows}}}
			u := s.take(f)
			if len(s.take(f)) != 0 {
				t.Error("the same frame again is an update")
			}
			text, err := json.Marshal(u)
			if err != nil {
				t.Fatal(err)
			}
			var got map[string]struct {
				Order *[]string
				Rows  map[string]string
			}
			if err := json.Unmarshal(text, &got); err != nil {
				t.Fatal(err)
			}
			changed, sent := got["x"]
			if i > 0 && sent && slices.Equal(rows, frames[i-1]) {
				t.Errorf("frame %d: nothing has changed, and %s is sent", i, text)
			}
			for id, html := range changed.Rows {
				if has[id] == html {
					t.Errorf("frame %d: row %s has not changed, and is sent", i, id)
				}
				has[id] = html
			}
			if changed.Order != nil {
				order = *changed.Order
				maps.DeleteFunc(has, func(id, _ string) bool { return !slices.Contains(order, id) })
			}
			var now []row
			for _, id := range order {
				now = append(now, row{id, has[id]})
			}
			if !slices.Equal(now, rows) {
				t.Errorf("frame %d: %s makes %v, want %v", i, text, now, rows)
			}
		}
	})
}

// The counts are those of the attempts that ended in this bucket of ten seconds and the 29
// before it.
func TestRecentIsWhatEndedInTheLastFiveMinutes(t *testing.T) {
	table := failure.Decisions()
	rapid.Check(t, func(t *rapid.T) {
		type end struct {
			at int64 // seconds
			a  llmcall.Attempt
		}
		var all []end
		m := new(modelStats)
		at := int64(1_700_000_000)
		for range rapid.IntRange(0, 200).Draw(t, "attempts") {
			at += rapid.SampledFrom([]int64{0, 0, 1, 3, 9, 10, 30, 295, 300, 305, 900}).Draw(t, "pause")
			e := end{at: at, a: llmcall.Attempt{
				Outcome:  rapid.SampledFrom([]llmcall.Outcome{llmcall.OutcomeValid, llmcall.OutcomeInvalid, llmcall.OutcomeCutOff, llmcall.OutcomeFailed, llmcall.OutcomeLost}).Draw(t, "outcome"),
				Kind:     rapid.SampledFrom([]failure.Kind{failure.Transient, failure.RateLimited, failure.InvalidRequest, failure.Unauthorized}).Draw(t, "kind"),
				Duration: time.Duration(rapid.IntRange(1, 100).Draw(t, "took")) * time.Millisecond,
				Usage:    llm.Usage{InputTokens: 3, OutputTokens: 4},
			}}
			all = append(all, e)
			m.count(&e.a, time.Unix(e.at, 0))
		}
		now := at + rapid.SampledFrom([]int64{0, 1, 9, 10, 11, 290, 300, 1000}).Draw(t, "later")
		got := m.recent(now/10, &table)
		var want recent
		var laps []time.Duration
		for _, e := range all {
			want.tokens += 7
			if e.at/10 <= now/10-30 || e.a.Outcome == llmcall.OutcomeLost {
				continue
			}
			b := &want.bars[29-(now/10-e.at/10)]
			count := func(in, sum *int) { *in++; *sum++ }
			switch e.a.Outcome {
			case llmcall.OutcomeValid:
				count(&b.answered, &want.answered)
			case llmcall.OutcomeInvalid, llmcall.OutcomeCutOff:
				count(&b.wrong, &want.wrong)
			default:
				switch e.a.Kind {
				case failure.RateLimited:
					count(&b.limited, &want.limited)
				case failure.InvalidRequest:
					count(&b.other, &want.other)
				default:
					count(&b.failed, &want.failed)
				}
				continue
			}
			laps = append(laps, e.a.Duration)
		}
		slices.Sort(laps)
		if len(laps) > 0 { // the nearest rank
			want.p50, want.p95 = laps[(len(laps)*50+99)/100-1], laps[(len(laps)*95+99)/100-1]
		}
		kinds := 0
		for _, k := range got.kinds {
			kinds += k.N
		}
		if kinds != want.failed+want.limited+want.other {
			t.Errorf("%d failures by kind", kinds)
		}
		if got.bars != want.bars || got.answered != want.answered || got.wrong != want.wrong || got.failed != want.failed || got.limited != want.limited ||
			got.other != want.other || got.p50 != want.p50 || got.p95 != want.p95 || got.tokens != want.tokens {
			t.Errorf("got %+v\nwant %+v", got, &want)
		}
	})
}

func TestRingKeepsTheLastCallsAndForgetsTheOthers(t *testing.T) {
	r := NewRing(3, true)
	for i := range 10 {
		tell(r, uint64(i+1), "acme/small", nil, llmcall.Attempt{Outcome: llmcall.OutcomeValid})
	}
	_, ended, _ := r.calls()
	var numbers []uint64
	for _, c := range ended {
		numbers = append(numbers, c.number)
	}
	if want := []uint64{10, 9, 8}; !slices.Equal(numbers, want) {
		t.Errorf("it has %v, want %v", numbers, want)
	}
}

// More calls under way than the ring has room for are counted, and forgotten at their end.
func TestCallsUnderWayAreBounded(t *testing.T) {
	r := NewRing(5, false)
	o := r.Observer()
	for i := range maxUnderway + 15 {
		o(t.Context(), llmcall.Event{Type: llmcall.EventCallStarted, Call: uint64(i + 1)})
	}
	if running, _, left := r.calls(); len(running) != maxUnderway || left != 15 {
		t.Errorf("%d and %d more", len(running), left)
	}
	for i := range maxUnderway + 15 {
		o(t.Context(), llmcall.Event{Type: llmcall.EventCallEnded, Call: uint64(i + 1), Err: errors.New("x")})
	}
	if running, ended, left := r.calls(); len(running) != 0 || left != 0 || len(ended) != 5 {
		t.Errorf("%d, %d more; %d have ended", len(running), left, len(ended))
	}
}

// huge is an attempt with more of everything than a page shows.
func huge() llmcall.Attempt {
	text := strings.Repeat("x", 10_000)
	a := llmcall.Attempt{Outcome: llmcall.OutcomeInvalid, Kind: failure.InvalidAnswer, Error: text, Answer: text, Stage: text, Why: text}
	for range 100 {
		a.Complaints = append(a.Complaints, validate.Complaint{Check: text, Problem: text, Suggestion: text})
		a.Notes = append(a.Notes, text)
		a.Tools = append(a.Tools, llmcall.ToolRun{Name: text})
	}
	return a
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// The worst that can be made of a call, many of them.
func TestMemoryIsBoundedAndFlat(t *testing.T) {
	r := NewRing(20, true)
	h := newTestHandler(t, r, nil)
	before := heap()
	attempts := slices.Repeat([]llmcall.Attempt{huge()}, 60)
	var sizes []uint64
	number := uint64(0)
	for range 3 {
		for range 10 {
			number++
			tell(r, number, fmt.Sprintf("acme/%d", number), nil, attempts...)
		}
		h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil))
		sizes = append(sizes, heap()-before)
	}
	if got := len(r.models); got > maxModels+1 {
		t.Errorf("%d models are kept apart", got)
	}
	// 20 calls of 64 KB, their HTML in which each quote may be five bytes, and 200 models of
	// 10 KB.
	if sizes[2] > 10<<20 {
		t.Errorf("%d MB", sizes[2]>>20)
	}
	small := llmcall.Attempt{Outcome: llmcall.OutcomeValid, Usage: llm.Usage{InputTokens: 1}}
	for range 20_000 {
		number++
		tell(r, number, "acme/1", nil, small)
	}
	first := heap()
	for range 20_000 {
		number++
		tell(r, number, "acme/1", nil, small)
	}
	if second := heap(); second > first+1<<20 {
		t.Errorf("20,000 calls more take %d KB more", (second-first)>>10)
	}
	runtime.KeepAlive(h)
}

func TestMoreModelsThanAreKeptApartAreOther(t *testing.T) {
	r := NewRing(1, false)
	for i := range maxModels + 5 {
		tell(r, uint64(i+1), fmt.Sprintf("acme/%d", i), nil, llmcall.Attempt{Outcome: llmcall.OutcomeValid})
	}
	table := failure.Decisions()
	if got := r.recentOf(time.Now(), &table)["other"]; got == nil || got.attempts != 5 {
		t.Errorf("other: %+v", got)
	}
}

// Of more endpoints than are shown, those in trouble are.
func TestEndpointsInTroubleAreShownFirst(t *testing.T) {
	ring := NewRing(1, false)
	var registry *endpoint.Registry
	h := newTestHandler(t, ring, func(o *Options) { registry = o.Registry })
	var hold []*endpoint.Endpoint
	for i := range maxEndpoints + 30 {
		e := registry.Get(endpoint.Key{Model: fmt.Sprintf("acme/m%03d", i)})
		hold = append(hold, e)
		if i >= maxEndpoints+20 {
			e.Circuit(endpoint.Options{}).Trip(breaker.Failure{})
		}
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
	if n := strings.Count(w.Body.String(), "tone-open"); n != 10 {
		t.Errorf("%d of 10 open endpoints are shown", n)
	}
	if !strings.Contains(w.Body.String(), "and 30 more, which are well") {
		t.Error("it does not say how many are not shown")
	}
	runtime.KeepAlive(hold)
}

func TestTexts(t *testing.T) {
	for got, want := range map[string]string{
		took(0): "< 0.1 ms", took(1500 * time.Microsecond): "1.5 ms", took(820 * time.Millisecond): "820 ms", took(996 * time.Millisecond): "1.00 s",
		took(2310 * time.Millisecond): "2.31 s", took(45 * time.Second): "45.0 s", took(65 * time.Second): "1 min 5 s", took(2*time.Hour + 5*time.Minute): "2 h 5 min",
		dollars(0): "$0", dollars(1): "< $0.0001", dollars(4_200_000): "$0.0042", dollars(12_300_000_000): "$12.30", dollars(1_234_567_000_000_000): "$1,234,567",
		cost(llmcall.Cost{Nanos: 120_000_000, Partial: true}): "≥ $0.1200", cost(llmcall.Cost{Nanos: 5, Partial: true}): "", cost(llmcall.Cost{}): "$0",
		thousands(0): "0", thousands(999): "999", thousands(1204): "1,204", thousands(1234567): "1,234,567", thousands(-1204): "-1,204", thousands(-999): "-999",
		rate(0.05): "0.05", rate(2.44): "2.4", rate(0.5): "0.5", rate(120): "120", rate(9.96): "10", rate(1200): "1,200", rate(0): "0",
		percent(0, 0): "", percent(1, 1): "100 %", percent(99_999, 100_000): "99.9 %", percent(1, 3): "33.3 %", percent(0, 5): "0 %",
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func BenchmarkObserver(b *testing.B) {
	r := NewRing(200, false)
	a := llmcall.Attempt{Outcome: llmcall.OutcomeValid, Usage: llm.Usage{InputTokens: 10, OutputTokens: 10}}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		tell(r, uint64(i+1), "acme/small", nil, a)
	}
}

func BenchmarkFrame(b *testing.B) {
	r := NewRing(200, false)
	var registry *endpoint.Registry
	h := newTestHandler(b, r, func(o *Options) { registry = o.Registry }).(*handler)
	var hold []*endpoint.Endpoint
	for i := range 20 {
		model := fmt.Sprintf("acme/%d", i)
		hold = append(hold, registry.Get(endpoint.Key{Model: model}))
		for range 20 {
			tell(r, uint64(len(hold)*1000+i), model, nil, llmcall.Attempt{Outcome: llmcall.OutcomeValid})
		}
	}
	var last *frame
	for b.Loop() {
		last = h.frame(time.Now(), false, last)
	}
	runtime.KeepAlive(hold)
}

// A machine whose clock nobody has set shows its calls too.
func TestTheFirstMinutesOf1970(t *testing.T) {
	r := NewRing(1, false)
	table := failure.Decisions()
	for _, at := range []time.Time{time.Unix(-60, 0), time.Unix(0, 0), time.Unix(60, 0)} {
		r.count(&llmcall.Attempt{Model: "m", Outcome: llmcall.OutcomeValid}, at)
		if got := r.recentOf(at, &table)["m"]; got == nil || got.answered == 0 {
			t.Errorf("%v: %+v", at, got)
		}
	}
}
