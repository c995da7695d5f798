package pace_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"llmcall/pace"
)

// modelWaiter is one that waits, as the design's sentences have it: round-robin
// over clients, later attempts before new calls, first come, first served.
type modelWaiter struct {
	name   string
	client string
	again  bool
}

// modelQueue is a list in order of arrival and the clients in the order of
// their turns.
type modelQueue struct {
	waiting []modelWaiter
	turns   []string
}

func (q *modelQueue) arrive(w modelWaiter) {
	q.waiting = append(q.waiting, w)
	if !slices.Contains(q.turns, w.client) {
		q.turns = append(q.turns, w.client)
	}
}

func (q *modelQueue) leave(name string) {
	i := slices.IndexFunc(q.waiting, func(w modelWaiter) bool { return w.name == name })
	client := q.waiting[i].client
	q.waiting = slices.Delete(q.waiting, i, i+1)
	if !slices.ContainsFunc(q.waiting, func(w modelWaiter) bool { return w.client == client }) {
		q.turns = slices.DeleteFunc(q.turns, func(c string) bool { return c == client })
	}
}

// serve takes out who goes next.
func (q *modelQueue) serve() string {
	client := q.turns[0]
	q.turns = append(q.turns[1:], client)
	best := -1
	for i, w := range q.waiting {
		if w.client == client && (best < 0 || w.again && !q.waiting[best].again) {
			best = i
		}
	}
	name := q.waiting[best].name
	q.leave(name)
	return name
}

// step is one thing that happens.
type step struct {
	kind   string // try, wait, leave, done, back
	client string
	again  bool
	which  int // of those that it may happen to
}

var anySteps = rapid.SliceOfN(rapid.Custom(func(r *rapid.T) step {
	return step{
		kind:   rapid.SampledFrom([]string{"try", "wait", "wait", "wait", "leave", "done", "done", "back"}).Draw(r, "kind"),
		client: rapid.SampledFrom([]string{"", "a", "b", "c"}).Draw(r, "client"),
		again:  rapid.Bool().Draw(r, "again"),
		which:  rapid.IntRange(0, 1000).Draw(r, "which"),
	}
}), 60, 200)

// The queue's order, the concurrency limit, and what goes back, against the
// model: whatever comes, waits, leaves, goes back and ends.
func TestTheQueueDoesWhatTheModelDoes(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		places := rapid.IntRange(1, 3).Draw(r, "places")
		do := anySteps.Draw(r, "steps")
		var wrong error
		synctest.Test(t, func(t *testing.T) { wrong = playQueue(t, places, do) })
		if wrong != nil {
			r.Fatal(wrong)
		}
	})
}

func playQueue(t *testing.T, places int, do []step) error {
	var p pace.Pacer
	p.Configure(pace.Limits{MaxConcurrent: places})
	var model modelQueue
	cancels := map[string]context.CancelFunc{}
	type result struct {
		name string
		turn pace.Turn
		err  error
	}
	results := make(chan result, 1000)
	var held []pace.Turn
	left := map[string]bool{}
	settle := func() error { // what the model says of those who wait now
		for len(held) < places && len(model.waiting) > 0 {
			want := model.serve()
			synctest.Wait()
			got := <-results
			if got.name != want || got.err != nil {
				return fmt.Errorf("%s went (%v), not %s", got.name, got.err, want)
			}
			held = append(held, got.turn)
		}
		synctest.Wait()
		for len(results) > 0 {
			got := <-results
			if !left[got.name] || !errors.Is(got.err, context.Canceled) {
				return fmt.Errorf("%s: %v", got.name, got.err)
			}
		}
		if s := p.Snapshot(); s.InFlight != len(held) || s.Queue != len(model.waiting) {
			return fmt.Errorf("%d in flight, %d wait; want %d, %d", s.InFlight, s.Queue, len(held), len(model.waiting))
		}
		return nil
	}
	end := func(which int, how func(pace.Turn)) {
		if len(held) > 0 {
			i := which % len(held)
			turn := held[i]
			held = slices.Delete(held, i, i+1)
			how(turn)
		}
	}
	for i, s := range do {
		cost := pace.Cost{Client: s.client, Again: s.again}
		switch s.kind {
		case "try":
			turn, err := p.Try(cost)
			if free := len(held) < places && len(model.waiting) == 0; free != (err == nil) {
				return fmt.Errorf("step %d: %v, free: %v", i, err, free)
			}
			if err == nil {
				held = append(held, turn)
			}
		case "wait":
			ctx, cancel := context.WithCancel(t.Context())
			name := fmt.Sprint(i)
			cancels[name] = cancel
			model.arrive(modelWaiter{name, s.client, s.again})
			go func() {
				turn, err := p.Wait(ctx, cost)
				results <- result{name, turn, err}
			}()
			synctest.Wait()
		case "leave":
			if len(model.waiting) > 0 {
				name := model.waiting[s.which%len(model.waiting)].name
				model.leave(name)
				left[name] = true
				cancels[name]()
				synctest.Wait()
			}
		case "done":
			end(s.which, p.Done)
		case "back":
			end(s.which, p.Back)
		}
		if err := settle(); err != nil {
			return fmt.Errorf("step %d, %+v: %w", i, s, err)
		}
	}
	for _, cancel := range cancels {
		cancel()
	}
	synctest.Wait()
	for len(results) > 0 {
		if got := <-results; got.err == nil {
			p.Done(got.turn)
		}
	}
	for _, turn := range held {
		p.Done(turn)
	}
	p.Configure(pace.Limits{})
	if s := p.Snapshot(); !s.Free || s.InFlight != 0 || s.Queue != 0 {
		return fmt.Errorf("something is left: %+v", s)
	}
	return nil
}

// In no minute are there more requests than the limit a minute, whenever they
// come, and none that could go is held.
func TestNoMinuteHasMoreThanItsLimit(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		limit := rapid.SampledFrom([]float64{0.5, 1, 2, 7, 60, 100, 600, 1234}).Draw(r, "limit")
		pauses := rapid.SliceOfN(rapid.IntRange(0, 20_000), 100, 300).Draw(r, "pauses")
		back := rapid.SliceOfN(rapid.Bool(), len(pauses), len(pauses)).Draw(r, "back")
		var wrong error
		synctest.Test(t, func(t *testing.T) {
			var p pace.Pacer
			p.Configure(pace.Limits{RequestsPerMinute: limit})
			var sent []time.Time
			for i, pause := range pauses {
				if pause > 10_000 {
					time.Sleep(time.Duration(pause-10_000) * ms)
				}
				turn, err := p.Wait(t.Context(), pace.Cost{})
				if err != nil {
					wrong = err
					return
				}
				if back[i] {
					p.Back(turn)
					continue
				}
				p.Done(turn)
				sent = append(sent, time.Now())
				first := slices.IndexFunc(sent, func(at time.Time) bool { return time.Since(at) < time.Minute })
				if n := len(sent) - first; float64(n) > max(1, limit) {
					wrong = fmt.Errorf("%d requests within a minute, of %v", n, limit)
				}
			}
		})
		if wrong != nil {
			r.Fatal(wrong)
		}
	})
}

// Whatever providers answer and callers do, nothing is left over, nobody waits
// for ever, and an idle endpoint is free again.
func TestNothingIsLeftWhateverIsTold(t *testing.T) {
	anyTold := rapid.Custom(func(r *rapid.T) *pace.Told {
		if rapid.Bool().Draw(r, "nothing") {
			return nil
		}
		told := &pace.Told{
			Wait:     time.Duration(rapid.Int64().Draw(r, "wait")) / time.Duration(rapid.SampledFrom([]int64{1, 1e6, 1e9}).Draw(r, "part")),
			HasWait:  rapid.Bool().Draw(r, "hasWait"),
			Overload: rapid.Bool().Draw(r, "overload"),
		}
		for range rapid.IntRange(0, 10).Draw(r, "windows") {
			told.Windows = append(told.Windows, pace.Window{
				Tokens: rapid.Bool().Draw(r, "tokens"), Limit: rapid.Int64().Draw(r, "limit"),
				Remaining: rapid.Int64Range(-5, 50).Draw(r, "remaining"), Reset: time.Duration(rapid.Int64().Draw(r, "reset")),
			})
		}
		return told
	})
	rapid.Check(t, func(r *rapid.T) {
		type request struct {
			end    int
			told   *pace.Told
			tokens int64
			pause  int
		}
		requests := rapid.SliceOfN(rapid.Custom(func(r *rapid.T) request {
			return request{rapid.IntRange(0, 4).Draw(r, "end"), anyTold.Draw(r, "told"), rapid.Int64().Draw(r, "size"), rapid.IntRange(0, 3000).Draw(r, "pause")}
		}), 10, 60).Draw(r, "requests")
		var wrong error
		synctest.Test(t, func(t *testing.T) {
			p := new(pace.Pacer)
			done := make(chan error, len(requests))
			for _, q := range requests {
				go func() {
					time.Sleep(time.Duration(q.pause) * ms)
					ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
					defer cancel()
					turn, err := p.Wait(ctx, pace.Cost{Tokens: q.tokens})
					if err != nil {
						done <- err
						return
					}
					time.Sleep(time.Duration(q.pause) * ms / 2)
					switch q.end {
					case 0, 1:
						p.Accepted(turn, q.told)
					case 2:
						p.Refused(turn, q.told)
					case 3:
						p.Failed(turn, q.told)
					case 4:
						p.Back(turn)
						done <- nil
						return
					}
					p.Done(turn)
					done <- nil
				}()
			}
			for range requests {
				if err := <-done; errors.Is(err, context.DeadlineExceeded) {
					wrong = errors.New("somebody waited for an hour")
				}
			}
			for range 10 { // what was told for a hundred years is looked at
				time.Sleep(2 * time.Minute)
				if turn, err := p.Try(pace.Cost{}); err == nil {
					p.Accepted(turn, nil)
					p.Done(turn)
				}
			}
			time.Sleep(5 * time.Minute)
			windows := slices.ContainsFunc(requests, func(q request) bool { return q.told != nil && len(q.told.Windows) > 0 })
			if s := p.Snapshot(); !s.Free && !windows || s.InFlight != 0 || s.Queue != 0 || s.Rate != 0 {
				wrong = fmt.Errorf("something is left: %+v", s)
			}
		})
		if wrong != nil {
			r.Fatal(wrong)
		}
	})
}
