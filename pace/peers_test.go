package pace_test

import (
	"context"
	"fmt"
	"math"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"llmcall/pace"
)

// peers counts the news.
type peers struct{ news int }

func (p *peers) News() { p.news++ }

func joined() (*pace.Pacer, *peers) {
	p, others := &pace.Pacer{Rand: func() float64 { return 0.5 }}, &peers{}
	p.Join(others)
	return p, others
}

func steady(epoch uint64, perSecond float64) pace.Rate {
	return pace.Rate{Epoch: epoch, PerSecond: perSecond, Known: true}
}

// turnsWithin takes all turns that come within a time.
func turnsWithin(t *testing.T, p *pace.Pacer, d time.Duration) []time.Time {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	var all []time.Time
	for {
		turn, err := p.Wait(ctx, pace.Cost{})
		if err != nil {
			return all
		}
		all = append(all, time.Now())
		p.Answered(turn, nil)
	}
}

// Processes send one after the other, at the rate of all, whatever their parts are.
func TestTurnsOfAllProcessesAreSpread(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		needs := rapid.SliceOfN(rapid.IntRange(1, 10), 2, 8).Draw(rt, "parts")
		rate := rapid.Float64Range(2, 60).Draw(rt, "rate")
		sum := 0
		for _, n := range needs {
			sum += n
		}
		synctest.Test(t, func(t *testing.T) {
			const lasts = 10 * time.Second
			times := make(chan []time.Time, len(needs))
			from, counts := 0.0, make([]int, len(needs))
			for i, n := range needs {
				p, _ := joined()
				part := float64(n) / float64(sum)
				// Held so long ago that it does not grow.
				r := steady(1, rate)
				r.Toll, r.Calm = 2*time.Second, 0
				p.Follow(pace.Shared{Rate: r, Part: part, From: from, Processes: len(needs)})
				from += part
				go func() {
					all := turnsWithin(t, p, lasts)
					counts[i] = len(all)
					times <- all
				}()
			}
			var all []time.Time
			for range needs {
				all = append(all, <-times...)
			}
			slices.SortFunc(all, time.Time.Compare)
			if n, want := float64(len(all)), rate*lasts.Seconds(); n < 0.95*want-2 || n > 1.2*want+2 {
				rt.Fatalf("%v turns of %v", n, want)
			}
			for i := range all[1:] {
				if gap := all[i+1].Sub(all[i]).Seconds(); gap < 0.8/rate {
					rt.Fatalf("a gap of %.4f s at %.2f a second", gap, rate)
				}
			}
			for i, n := range needs {
				if want := float64(len(all)) * float64(n) / float64(sum); math.Abs(float64(counts[i])-want) > 3 {
					rt.Fatalf("process %d had %d turns, wants %.1f", i, counts[i], want)
				}
			}
		})
	})
}

func TestAnEpisodeIsToldToPeers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, others := joined()
		first, _ := p.Try(pace.Cost{})
		second, _ := p.Try(pace.Cost{})
		if r := p.Report(); !r.Free || others.news != 0 {
			t.Fatalf("a free pacer reports %+v, with %d news", r, others.news)
		}
		p.Refused(first, &pace.Told{HasWait: true, Wait: 2 * time.Second})
		r := p.Report()
		if !r.Cut || !r.Rate.SlowStart || r.Rate.Epoch != 0 || time.Until(r.Told) != 2*time.Second || others.news == 0 {
			t.Fatalf("got %+v, %d news", r, others.news)
		}
		r.Rate.Epoch = 7
		p.Follow(pace.Shared{Rate: r.Rate, Taken: true, Part: 0.5, Processes: 2})
		if r := p.Report(); r.Cut || r.Rate.Epoch != 7 {
			t.Fatalf("got %+v", r)
		}
		p.Refused(second, nil) // it was sent before
		if r := p.Report(); r.Cut {
			t.Errorf("the refusal of an earlier request is a cut: %+v", r)
		}
	})
}

// Of two processes that are refused at once one cuts the rate of both; the other follows.
func TestAPeersCutIsFollowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, _ := joined()
		p.Follow(pace.Shared{Rate: steady(1, 20), Part: 0.5, From: 0, Processes: 2})
		turn, err := p.Wait(t.Context(), pace.Cost{})
		if err != nil {
			t.Fatal(err)
		}
		p.Follow(pace.Shared{Rate: steady(2, 18)})
		p.Refused(turn, nil)
		if r := p.Report(); r.Cut || r.Rate.PerSecond != 18 || r.Rate.Epoch != 2 {
			t.Errorf("got %+v", r)
		}
		p.Follow(pace.Shared{Rate: steady(1, 50)})
		if r := p.Report(); r.Rate.PerSecond != 18 {
			t.Errorf("an earlier epoch counts: %+v", r)
		}
		p.Follow(pace.Shared{Rate: steady(2, 19)})
		if r := p.Report(); r.Rate.PerSecond != 19 {
			t.Errorf("the growth elsewhere does not count: %+v", r)
		}
		if s := p.Snapshot(); s.Rate != 19.0/2 {
			t.Errorf("a snapshot shows %v", s.Rate)
		}
	})
}

func TestAToldTimeOfPeers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, _ := joined()
		until := func() time.Duration {
			if s := p.Snapshot(); !s.Until.IsZero() {
				return time.Until(s.Until)
			}
			return 0
		}
		for i, row := range []struct {
			shared pace.Shared
			want   time.Duration
		}{
			{pace.Shared{Told: time.Minute}, 0}, // it is not set
			{pace.Shared{Told: 20 * time.Second, HasTold: true}, 20 * time.Second},
			{pace.Shared{Told: 10 * time.Second, HasTold: true}, 20 * time.Second},
			{pace.Shared{Told: 10 * time.Second, HasTold: true, Replaces: true}, 10 * time.Second},
			{pace.Shared{Told: 30 * time.Second, HasTold: true}, 30 * time.Second},
			{pace.Shared{HasTold: true, Replaces: true}, 0},
		} {
			p.Follow(row.shared)
			if got := until(); got != row.want {
				t.Errorf("row %d: %v, want %v", i, got, row.want)
			}
		}
		if r := p.Report(); !r.Told.IsZero() {
			t.Errorf("what peers have told is told to them: %+v", r)
		}
	})
}

func TestLimitsAreLeased(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, others := joined()
		p.Configure(pace.Limits{RequestsPerMinute: 600})
		began := time.Now()
		got := make(chan string, 10)
		for range 4 {
			go func() {
				turn, err := p.Wait(t.Context(), pace.Cost{})
				if err == nil {
					p.Answered(turn, nil)
				}
				got <- fmt.Sprint(time.Since(began), err)
			}()
		}
		synctest.Wait()
		r := p.Report()
		if others.news == 0 || r.Ask.Requests != 2 || r.Allowed != 10 { // a fifth of a second of 600 a minute
			t.Fatalf("%d news, %+v", others.news, r)
		}
		p.Lend(pace.Lease{Amount: r.Ask, In: time.Second, For: time.Second})
		synctest.Wait()
		if len(got) > 0 {
			t.Fatal(<-got)
		}
		time.Sleep(time.Second + time.Millisecond)
		if a, b := <-got, <-got; a != "1s <nil>" || b != a || len(got) > 0 {
			t.Fatalf("got %s, %s, and %d more", a, b, len(got))
		}
		r = p.Report()
		if r.Ask.Requests == 0 {
			t.Fatalf("no more is asked for: %+v", r)
		}
		p.Lend(pace.Lease{Amount: pace.Amount{Requests: 5}, For: time.Second})
		synctest.Wait()
		if len(got) != 2 {
			t.Fatalf("%d turns", len(got))
		}
		time.Sleep(2 * time.Second)
		if r := p.Report(); r.Back.Requests != 3 || r.Alone != (pace.Amount{}) {
			t.Errorf("what was not used does not go back: %+v", r)
		}
		if r := p.Report(); r.Back.Requests != 0 {
			t.Errorf("it goes back twice: %+v", r)
		}
	})
}

// Who waits alone asks for a lease at once: nobody comes after it who would.
func TestWhoWaitsAloneAsksForALease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, others := joined()
		p.Configure(pace.Limits{RequestsPerMinute: 600})
		began := time.Now()
		got := make(chan string, 1)
		go func() {
			_, err := p.Wait(t.Context(), pace.Cost{})
			got <- fmt.Sprint(time.Since(began), err)
		}()
		synctest.Wait()
		if others.news != 1 {
			t.Fatalf("%d news", others.news)
		}
		p.Lend(pace.Lease{Amount: p.Report().Ask, For: time.Second})
		if a := <-got; a != "0s <nil>" {
			t.Errorf("got %s", a)
		}
	})
}

// What providers say was used does not overflow where it is added up for the peers.
func TestTheLargestUseIsCorrected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, _ := joined()
		p.Configure(pace.Limits{TokensPerMinute: 60_000})
		var turns []pace.Turn
		for range 2 {
			turn, err := p.Wait(t.Context(), pace.Cost{Tokens: 1})
			if err != nil {
				t.Fatal(err)
			}
			turns = append(turns, turn)
		}
		for _, turn := range turns {
			p.Used(turn, math.MaxInt64)
		}
		if r := p.Report(); r.Corrected <= 0 {
			t.Errorf("%d are told", r.Corrected)
		}
	})
}

// While no lease can be had, a process goes on with its part of the limits, and says so.
func TestWithoutALease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, _ := joined()
		p.Follow(pace.Shared{Part: 0.25, Processes: 4})
		p.Configure(pace.Limits{RequestsPerMinute: 600})
		n := len(turnsWithin(t, p, 20*time.Second))
		if n < 45 || n > 51 {
			t.Errorf("%d turns, want a quarter of 200", n)
		}
		if r := p.Report(); r.Alone.Requests != int64(n) {
			t.Errorf("%d turns, and %+v", n, r)
		}
	})
}

func TestAPacerWithoutPeersIgnoresThem(t *testing.T) {
	var p pace.Pacer
	p.Follow(pace.Shared{Rate: steady(1, 1), Part: 0.1, Processes: 10, Told: time.Minute, HasTold: true})
	p.Lend(pace.Lease{Amount: pace.Amount{Requests: 1}, For: time.Minute})
	if s := p.Snapshot(); !s.Free {
		t.Errorf("%+v", s)
	}
}

// A rate that nobody needs in any process is forgotten; one that somebody needs is not.
func TestARateIsForgottenByAll(t *testing.T) {
	for _, elsewhere := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			p, _ := joined()
			p.Follow(pace.Shared{Rate: steady(1, 10), Part: 0.5, Processes: 2})
			for range 120 {
				time.Sleep(time.Second)
				if elsewhere {
					r := steady(1, 10)
					r.Held = time.Minute // something else than the rate
					p.Follow(pace.Shared{Rate: r})
				}
			}
			if s := p.Snapshot(); s.Free == elsewhere {
				t.Errorf("needed elsewhere: %v, free: %v", elsewhere, s.Free)
			}
		})
	}
}

// Once joined, a free turn costs what it did.
func BenchmarkFreeWithPeers(b *testing.B) {
	p, _ := joined()
	for b.Loop() {
		turn, _ := p.Try(pace.Cost{})
		p.Answered(turn, nil)
	}
}
