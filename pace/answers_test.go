package pace

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// TestHowLongAnswersTook: each line is a request that ends.
func TestHowLongAnswersTook(t *testing.T) {
	const s = time.Second
	begin := time.Now()
	type line struct {
		took        time.Duration
		end         time.Duration // of the call's time, from the turn; 0: none
		answered    bool
		refused     bool
		least, most time.Duration // then
	}
	for _, c := range []struct {
		name  string
		lines []line
	}{
		{"nothing is reckoned before there is an answer", []line{
			{s, 0, false, false, 0, 0},
			{s, 0, false, true, 0, 0},
			{s, 9 * s, false, false, 0, 0},
			{3 * s, 9 * s, true, false, 3 * s, 3 * s},
			{s, 0, true, false, s, 3 * s},
		}},
		{"an answer that is cut off counts as longer", []line{
			{2 * s, 0, true, false, 2 * s, 2 * s},
			{4 * s, 4 * s, true, false, 2 * s, 6 * s},
			{6 * s, 6 * s, false, false, 2 * s, 9 * s},
			{6 * s, 6 * s, false, true, 2 * s, 9 * s}, // a refusal is no answer
		}},
	} {
		var a answerTimes
		for i, l := range c.lines {
			r := &sent{at: begin, answered: l.answered, refused: l.refused}
			if l.end > 0 {
				r.end = begin.Add(l.end)
			}
			a.ended(begin.Add(l.took), r)
			if a.least != l.least || a.most != l.most {
				t.Errorf("%s, line %d: %v to %v, want %v to %v", c.name, i, a.least, a.most, l.least, l.most)
			}
		}
	}
	var a answerTimes
	for i := range 3 * answersKept {
		a.ended(begin.Add(time.Duration(i+1)*s), &sent{at: begin, answered: true})
		if want := time.Duration(max(1, i+2-answersKept)) * s; a.least != want || a.most != time.Duration(i+1)*s {
			t.Errorf("after %d: %v to %v, want from %v", i+1, a.least, a.most, want)
		}
	}
}

func TestWhoWaitsInVain(t *testing.T) {
	const s = time.Second
	begin := time.Now()
	a := answerTimes{least: 2 * s, most: 6 * s}
	for _, c := range []struct {
		name   string
		end    time.Duration // of the call's time, from the beginning of its wait; 0: not known
		bound  time.Duration // of the wait, if that is shorter
		alone  time.Duration // until when it gets a turn if nobody else waits
		others time.Duration // and if others do
	}{
		{"the shortest answer fits, and the longest", 20 * s, 0, 18 * s, 14 * s},
		{"after half of its time only a sure answer", 8 * s, 0, 6 * s, 4 * s},
		{"a call that is shorter than any answer has a tenth of its time", s, 0, s / 10, s / 10},
		{"a wait that ends before is not shortened", 20 * s, 10 * s, 10 * s, 10 * s},
		{"no end is known", 0, 9 * s, 9 * s, 9 * s},
	} {
		w := &waiter{since: begin, bound: true, deadline: begin.Add(max(c.bound, c.end))}
		if c.end > 0 {
			w.cost.End = begin.Add(c.end)
		}
		if c.bound > 0 {
			w.deadline = begin.Add(c.bound)
		}
		if got := a.lastTurn(w).Sub(begin); got != c.alone {
			t.Errorf("%s: the last turn is at %v, want %v", c.name, got, c.alone)
		}
		for _, others := range []bool{false, true} {
			last := c.alone
			if others {
				last = c.others
			}
			waits := last != w.deadline.Sub(begin) // the end of the wait is not the pacer's
			if a.wastes(begin.Add(last), w, others) || a.wastes(begin.Add(last+1), w, others) != waits {
				t.Errorf("%s, others %v: not refused from %v on", c.name, others, last)
			}
		}
		var none answerTimes
		if none.lastTurn(w) != w.deadline || none.wastes(w.deadline.Add(-1), w, true) {
			t.Errorf("%s: something is reckoned before there are answers", c.name)
		}
	}
}

// Ten calls with 5 s each meet a learned rate of one a second, and answers of 2 s. Those that
// would be too late even at twice the rate are refused at once, the others when it turns out;
// each turn that is given is answered.
func TestATurnLeavesTimeForAnAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const takes = 2 * time.Second
		p := &Pacer{}
		p.learn.begin(time.Now(), 1, 0)
		p.learn.start = false
		p.watch()
		turn, err := p.Wait(t.Context(), Cost{})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(takes)
		p.Answered(turn, nil)

		var mu sync.Mutex
		var turns []time.Duration
		var refused []*Error
		var all sync.WaitGroup
		begin, atOnce := time.Now(), 0
		for range 10 {
			all.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
				defer cancel()
				end, _ := ctx.Deadline()
				turn, err := p.Wait(ctx, Cost{End: end})
				mu.Lock()
				defer mu.Unlock()
				if e, ok := errors.AsType[*Error](err); ok {
					if refused = append(refused, e); time.Since(begin) == 0 {
						atOnce++
					}
					return
				}
				turns = append(turns, time.Since(begin).Round(time.Second))
				time.AfterFunc(takes, func() { p.Answered(turn, nil) })
				if left := time.Until(end); left < takes {
					t.Errorf("a turn leaves %v", left)
				}
			})
		}
		all.Wait()
		if want := []time.Duration{0, 1e9, 2e9, 3e9}; !slices.Equal(turns, want) || atOnce < 2 || len(refused) != 10-len(want) {
			t.Errorf("turns at %v, want %v; %d refused, %d of them at once", turns, want, len(refused), atOnce)
		}
		for _, e := range refused {
			if e.Answers != takes || e.Left >= takes || e.Until.IsZero() || !strings.Contains(e.Error(), "by the last answers one takes 2s") {
				t.Errorf("%v: %+v", e, e)
			}
		}
		time.Sleep(takes)
	})
}
