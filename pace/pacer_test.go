package pace_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"llmcall/pace"
)

const ms = time.Millisecond

// bubble runs f in virtual time.
func bubble(t *testing.T, f func(t *testing.T, p *pace.Pacer)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { f(t, &pace.Pacer{Rand: func() float64 { return 0.5 }}) })
}

// take takes a turn that must be there.
func take(t *testing.T, p *pace.Pacer) pace.Turn {
	t.Helper()
	turn, err := p.Try(pace.Cost{})
	if err != nil {
		t.Fatalf("no turn: %v", err)
	}
	return turn
}

// refuse makes a request that is refused.
func refuse(t *testing.T, p *pace.Pacer, told *pace.Told) {
	t.Helper()
	turn := take(t, p)
	p.Refused(turn, told)
	p.Done(turn)
}

func answered(p *pace.Pacer, turn pace.Turn, told *pace.Told) {
	p.Accepted(turn, told)
	p.Done(turn)
}

// wait makes n requests that are answered at once; when each went is returned.
func wait(t *testing.T, p *pace.Pacer, n int, c pace.Cost) []time.Duration {
	t.Helper()
	begin := time.Now()
	var at []time.Duration
	for range n {
		turn, err := p.Wait(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		at = append(at, time.Since(begin))
		answered(p, turn, nil)
	}
	return at
}

func toldWait(d time.Duration) *pace.Told { return &pace.Told{HasWait: true, Wait: d} }

func TestAFreePacerHoldsNobody(t *testing.T) {
	bubble(t, func(t *testing.T, p *pace.Pacer) {
		var turns []pace.Turn
		for range 1000 {
			turns = append(turns, take(t, p))
		}
		if s := p.Snapshot(); !s.Free || s.InFlight != 1000 {
			t.Errorf("%+v", s)
		}
		for i, turn := range turns {
			if i%2 == 0 {
				p.Accepted(turn, &pace.Told{})
			} else {
				p.Failed(turn, nil)
			}
			p.Done(turn)
		}
		p.Back(take(t, p))
		if s := p.Snapshot(); !s.Free || s.InFlight != 0 || s.Answers != 500 || s.Episodes != 0 {
			t.Errorf("%+v", s)
		}
	})
}

func TestAfterTheFirstRefusalTheRateStartsAtTwoASecondAndDoubles(t *testing.T) {
	bubble(t, func(t *testing.T, p *pace.Pacer) {
		refuse(t, p, nil)
		at := wait(t, p, 100, pace.Cost{})
		var counts [6]int
		for _, d := range at {
			counts[min(5, d/time.Second)]++
		}
		// 2·2^t: the integral over the second from t is 2·2^t/ln 2.
		for i, want := range []int{2, 6, 12, 23} {
			if got := counts[i]; got < want-1 || got > want+1 {
				t.Errorf("second %d: %d requests, want about %d (%v)", i, got, want, at)
			}
		}
		if at[0] < 400*ms || at[0] > 500*ms {
			t.Errorf("the first after %v", at[0])
		}
		time.Sleep(20 * time.Second)
		if s := p.Snapshot(); !s.Free {
			t.Errorf("not free again: %+v", s)
		}
	})
}

// Sixty refusals of one burst are one piece of news.
func TestABurstIsOneEpisode(t *testing.T) {
	for _, said := range []*pace.Told{nil, {Overload: true}, toldWait(time.Second)} {
		bubble(t, func(t *testing.T, p *pace.Pacer) {
			var turns []pace.Turn
			for range 60 {
				turns = append(turns, take(t, p))
			}
			for _, turn := range turns {
				time.Sleep(ms)
				p.Refused(turn, said)
				p.Done(turn)
			}
			if n := p.Snapshot().Episodes; n != 1 {
				t.Errorf("%v: %d episodes", said, n)
			}
			time.Sleep(5 * time.Second)
			refuse(t, p, said)
			if n := p.Snapshot().Episodes; n != 2 {
				t.Errorf("%v: %d episodes after another", said, n)
			}
		})
	}
}

func TestAToldTimeClosesForAll(t *testing.T) {
	bubble(t, func(t *testing.T, p *pace.Pacer) {
		begin := time.Now()
		for _, step := range []struct{ at, told, opens time.Duration }{
			{0, 10 * time.Second, 10500 * ms},                             // spread by half of 1 s, by this test's chance
			{1 * time.Second, 2 * time.Second, 10500 * ms},                // never sooner
			{2 * time.Second, 10 * time.Second, 12500 * ms},               // later
			{12600 * ms, 100 * ms, 12600*ms + 105*ms},                     // 10 % of it
			{20 * time.Second, 2 * time.Minute, 140*time.Second + 500*ms}, // two minutes are never shortened
		} {
			time.Sleep(step.at - time.Since(begin))
			p.Refused(pace.Turn{}, toldWait(step.told))
			for until := step.opens - ms; time.Since(begin) < min(until, step.at+90*time.Second); time.Sleep(max(ms, (until-time.Since(begin))/3)) {
				if _, err := p.Try(pace.Cost{}); err == nil {
					t.Fatalf("at %v: a turn before %v", time.Since(begin), step.opens)
				} else if got := err.Until.Sub(begin); got < step.opens || err.Why != pace.ToldTime || !err.Why.Told() {
					t.Fatalf("at %v: until %v, want %v; %v", time.Since(begin), got, step.opens, err)
				}
				if step.at < 12*time.Second {
					break
				}
			}
		}
		time.Sleep(140*time.Second + 500*ms - time.Since(begin))
		turn := take(t, p)
		if _, err := p.Try(pace.Cost{}); err == nil || err.Why != pace.Pacing {
			t.Errorf("the second turn is not at the rate: %v", err)
		}
		answered(p, turn, nil)
	})
}

func TestThoseWhoWaitForAToldTimeGoAtTheRate(t *testing.T) {
	bubble(t, func(t *testing.T, p *pace.Pacer) {
		refuse(t, p, toldWait(10*time.Second))
		at := wait(t, p, 4, pace.Cost{})
		if at[0] != 10500*ms || at[1] < at[0]+400*ms || at[1] > at[0]+500*ms || at[3] < at[0]+900*ms {
			t.Error(at)
		}
	})
}

func TestTheEstimateCountsThoseWhoWait(t *testing.T) {
	bubble(t, func(t *testing.T, p *pace.Pacer) {
		refuse(t, p, toldWait(10*time.Second))
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() { wait(t, p, 1, pace.Cost{}) })
		}
		synctest.Wait()
		// At 10.5 s the first goes, the others at 2 a second.
		if _, err := p.Try(pace.Cost{}); err == nil || err.Wait != 12500*ms || err.Why != pace.Pacing || err.Queue != 4 {
			t.Error(err)
		}
		all.Wait()
	})
}

// Of a burst some requests come late, and take what the first turns after it
// would have had: a refusal of one of these says little of the rate. Ended with
// it, a slow start leaves three a second, which grow slowly.
func TestAnEarlyRefusalDoesNotEndASlowStart(t *testing.T) {
	for _, accepted := range []int{0, 1, 2, 3, 4} {
		for _, told := range []*pace.Told{nil, toldWait(60 * ms)} {
			bubble(t, func(t *testing.T, p *pace.Pacer) {
				refuse(t, p, told)
				for n := range 6 {
					turn, err := p.Wait(t.Context(), pace.Cost{})
					if err != nil {
						t.Fatal(err)
					}
					if n == accepted {
						p.Refused(turn, told)
					} else {
						p.Accepted(turn, nil)
					}
					p.Done(turn)
				}
				begin := time.Now()
				for range 50 {
					wait(t, p, 1, pace.Cost{})
				}
				if took := time.Since(begin); took > 6*time.Second {
					t.Errorf("%d accepted, one refused, told %v: 50 more take %v", accepted, told, took)
				}
			})
		}
	}
}

// Nothing would show that such a rate is too high.
func TestARateThatHoldsNobodyDoesNotGrow(t *testing.T) {
	bubble(t, func(t *testing.T, p *pace.Pacer) {
		learned(t, p)
		time.Sleep(3 * time.Second)
		rate := p.Snapshot().Rate
		for range 10 {
			time.Sleep(5 * time.Second)
			answered(p, take(t, p), nil)
		}
		if got := p.Snapshot().Rate; got != rate {
			t.Errorf("%v, then %v", rate, got)
		}
		time.Sleep(20 * time.Second)
		if !p.Snapshot().Free {
			t.Error("it holds nobody, and stays")
		}
	})
}

func TestALongToldTimeIsLookedAtOnceAMinute(t *testing.T) {
	for name, end := range map[string]func(*pace.Pacer, pace.Turn){
		"refused":       func(p *pace.Pacer, turn pace.Turn) { p.Refused(turn, nil); p.Done(turn) },
		"refused again": func(p *pace.Pacer, turn pace.Turn) { p.Refused(turn, toldWait(time.Hour)); p.Done(turn) },
		"hangs":         func(*pace.Pacer, pace.Turn) {},
	} {
		bubble(t, func(t *testing.T, p *pace.Pacer) {
			refuse(t, p, toldWait(time.Hour))
			looks := 0
			for range 10*60 + 1 {
				turn, err := p.Try(pace.Cost{})
				if err == nil {
					looks++
					end(p, turn)
				} else if err.Wait < 49*time.Minute {
					t.Fatalf("%s: %v", name, err)
				}
				time.Sleep(time.Second)
			}
			if looks != 10 {
				t.Errorf("%s: %d looks in ten minutes", name, looks)
			}
		})
	}
	bubble(t, func(t *testing.T, p *pace.Pacer) {
		refuse(t, p, toldWait(time.Hour))
		time.Sleep(time.Minute)
		look := take(t, p)
		if _, err := p.Try(pace.Cost{}); err == nil {
			t.Error("two looks")
		}
		p.Back(look)
		answered(p, take(t, p), nil)
		if at := wait(t, p, 3, pace.Cost{}); at[2] > 2*time.Second || !p.Snapshot().Until.IsZero() {
			t.Errorf("still shut after an answer: %v", at)
		}
		time.Sleep(time.Second)
		refuse(t, p, toldWait(time.Hour))
		time.Sleep(time.Minute)
		refuse(t, p, toldWait(5*time.Second))
		if at := wait(t, p, 1, pace.Cost{}); at[0] != 5250*ms {
			t.Errorf("what was told with the look does not count: %v", at)
		}
	})
}

// The look of a time that is over is not one of the next.
func TestAToldTimeLeavesNoLookForTheNext(t *testing.T) {
	bubble(t, func(t *testing.T, p *pace.Pacer) {
		p.Configure(pace.Limits{MaxConcurrent: 9})
		refuse(t, p, toldWait(3*time.Minute))
		time.Sleep(4 * time.Minute)
		refuse(t, p, toldWait(time.Hour))
		if _, err := p.Try(pace.Cost{}); err == nil {
			t.Error("looked at once")
		}
	})
}

func TestALookIsNotPutOffAndKeepsTheConfiguredLimits(t *testing.T) {
	bubble(t, func(t *testing.T, p *pace.Pacer) {
		refuse(t, p, toldWait(time.Hour))
		time.Sleep(50 * time.Second)
		p.Refused(pace.Turn{}, toldWait(2*time.Hour))
		time.Sleep(10 * time.Second)
		p.Done(take(t, p))
	})
	bubble(t, func(t *testing.T, p *pace.Pacer) {
		p.Configure(pace.Limits{RequestsPerMinute: 0.5})
		refuse(t, p, toldWait(time.Hour))
		time.Sleep(time.Minute)
		if _, err := p.Try(pace.Cost{}); err == nil {
			t.Error("a second request within two minutes")
		}
		time.Sleep(time.Minute)
		p.Done(take(t, p))
	})
}

func TestRemainingCountsCloseBeforeARefusal(t *testing.T) {
	window := func(limit, remaining int64, reset time.Duration) *pace.Told {
		return &pace.Told{Windows: []pace.Window{{Limit: 1000, Remaining: 900, Reset: time.Second}, {Limit: limit, Remaining: remaining, Reset: reset}}}
	}
	bubble(t, func(t *testing.T, p *pace.Pacer) {
		first, second, third := take(t, p), take(t, p), take(t, p)
		p.Accepted(first, window(10, 4, 20*time.Second)) // of the four, two are in flight
		p.Done(first)
		a, b := take(t, p), take(t, p)
		_, err := p.Try(pace.Cost{})
		if err == nil || err.Why != pace.ToldWindow || err.Wait != 20*time.Second {
			t.Fatalf("a fifth of four: %v", err)
		}
		p.Back(b) // not made: it used nothing
		b = take(t, p)
		for _, turn := range []pace.Turn{second, third, a, b} {
			p.Failed(turn, nil)
			p.Done(turn)
		}
		if _, err = p.Try(pace.Cost{}); err == nil {
			t.Fatal("a fifth of four")
		}
		time.Sleep(20 * time.Second)
		for range 10 {
			p.Accepted(take(t, p), nil)
		}
		if _, err = p.Try(pace.Cost{}); err == nil {
			t.Error("the window begins again with as many as it holds")
		}
	})
	bubble(t, func(t *testing.T, p *pace.Pacer) { // tokens
		answered(p, take(t, p), &pace.Told{Windows: []pace.Window{{Tokens: true, Limit: 10000, Remaining: 500, Reset: 30 * time.Second}}})
		turn, err := p.Try(pace.Cost{Tokens: 400})
		if err != nil {
			t.Fatal(err)
		}
		if _, err = p.Try(pace.Cost{Tokens: 200}); err == nil || err.Wait != 30*time.Second {
			t.Errorf("200 of 100 tokens: %v", err)
		}
		p.Back(turn)
		if _, err = p.Try(pace.Cost{Tokens: 200}); err != nil {
			t.Error(err)
		}
	})
}

// What a provider says of its windows may be nonsense.
func TestNonsenseWindowsDoNotShutForLong(t *testing.T) {
	for name, w := range map[string]pace.Window{
		"nothing remains, for a year":   {Limit: 10, Reset: 365 * 24 * time.Hour},
		"nothing remains, no limit":     {Reset: time.Hour},
		"nothing remains, for a minute": {Limit: 10, Reset: time.Minute},
		"nothing remains, until now":    {Limit: 10},
		"less than nothing":             {Limit: -1, Remaining: -1, Reset: time.Hour},
		"no tokens, ever":               {Tokens: true, Reset: 24 * time.Hour},
	} {
		bubble(t, func(t *testing.T, p *pace.Pacer) {
			begin, last := time.Now(), time.Now()
			for n := range 50 {
				turn, err := p.Wait(t.Context(), pace.Cost{Tokens: 100})
				if err != nil {
					t.Fatal(err)
				}
				if gap := time.Since(last); gap > time.Minute {
					t.Errorf("%s: shut for %v before request %d", name, gap, n)
				}
				last = time.Now()
				answered(p, turn, &pace.Told{Windows: []pace.Window{w}})
			}
			if d := time.Since(begin); d > 5*time.Minute {
				t.Errorf("%s: 50 requests took %v", name, d)
			}
		})
	}
}

func TestAWaitThatCannotEndInTimeIsRefusedAtOnce(t *testing.T) {
	for _, row := range []struct {
		name     string
		before   func(*testing.T, *pace.Pacer)
		deadline time.Duration
		why      pace.Why // of the refusal; -1: it is served
	}{
		{"told 10 s, 5 s left", func(t *testing.T, p *pace.Pacer) { refuse(t, p, toldWait(10*time.Second)) }, 5 * time.Second, pace.ToldTime},
		{"told 10 s, 11 s left", func(t *testing.T, p *pace.Pacer) { refuse(t, p, toldWait(10*time.Second)) }, 11 * time.Second, -1},
		{"nothing remains for 10 s, 5 s left", func(t *testing.T, p *pace.Pacer) {
			answered(p, take(t, p), &pace.Told{Windows: []pace.Window{{Limit: 5, Reset: 10 * time.Second}}})
		}, 5 * time.Second, pace.ToldWindow},
		{"six a minute, 5 s left", func(t *testing.T, p *pace.Pacer) {
			p.Configure(pace.Limits{RequestsPerMinute: 6})
			answered(p, take(t, p), nil)
		}, 5 * time.Second, pace.ConfiguredLimit},
		{"six a minute, 10 s left", func(t *testing.T, p *pace.Pacer) {
			p.Configure(pace.Limits{RequestsPerMinute: 6})
			answered(p, take(t, p), nil)
		}, 10100 * ms, -1},
		{"slow start, at 2 a second, 450 ms left", func(t *testing.T, p *pace.Pacer) { refuse(t, p, nil) }, 490 * ms, -1},
		{"slow start is not reckoned", func(t *testing.T, p *pace.Pacer) {
			refuse(t, p, nil)
			for range 10 { // at twice 2 a second the eleventh would go after 2.75 s
				go func() {
					if turn, err := p.Wait(t.Context(), pace.Cost{}); err == nil {
						answered(p, turn, nil)
					}
				}()
			}
			synctest.Wait()
		}, 2500 * ms, -1},
	} {
		bubble(t, func(t *testing.T, p *pace.Pacer) {
			row.before(t, p)
			ctx, cancel := context.WithTimeout(t.Context(), row.deadline)
			defer cancel()
			begin := time.Now()
			turn, err := p.Wait(ctx, pace.Cost{})
			if row.why < 0 {
				if err != nil {
					t.Errorf("%s: %v", row.name, err)
				}
				p.Done(turn)
				return
			}
			e, ok := errors.AsType[*pace.Error](err)
			if !ok || e.Why != row.why || time.Since(begin) != 0 || !e.Until.After(begin.Add(row.deadline)) || e.Wait != e.Until.Sub(begin) {
				t.Errorf("%s: %v after %v", row.name, err, time.Since(begin))
			}
		})
	}
}

// learned brings a pacer to a learned rate of about 1 a second, at a moment
// when a turn has just gone.
func learned(t *testing.T, p *pace.Pacer) {
	refuse(t, p, nil)
	for range 5 { // one less is too few to end a slow start
		turn, err := p.Wait(t.Context(), pace.Cost{})
		if err != nil {
			t.Fatal(err)
		}
		answered(p, turn, nil)
	}
	turn, err := p.Wait(t.Context(), pace.Cost{})
	if err != nil {
		t.Fatal(err)
	}
	p.Refused(turn, nil)
	p.Done(turn)
}

func TestALearnedRateIsReckonedAtTwiceItself(t *testing.T) {
	bubble(t, func(t *testing.T, p *pace.Pacer) {
		learned(t, p)
		s := p.Snapshot()
		if s.SlowStart || s.Rate == 0 {
			t.Fatalf("%+v", s)
		}
		interval := time.Duration(float64(time.Second) / s.Rate)
		for _, row := range []struct {
			deadline time.Duration
			refused  bool
		}{{interval/2 - 10*ms, true}, {interval/2 + 10*ms, false}} {
			ctx, cancel := context.WithTimeout(t.Context(), row.deadline)
			begin := time.Now()
			_, err := p.Wait(ctx, pace.Cost{})
			cancel()
			e, ok := errors.AsType[*pace.Error](err)
			if ok != row.refused || !ok && !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("interval %v, %v left: %v", interval, row.deadline, err)
			}
			if ok && (time.Since(begin) != 0 || e.Why != pace.Pacing || !strings.Contains(e.Error(), "our own pacing")) {
				t.Errorf("%v", err)
			}
		}
	})
}

// Those who wait are asked again when their turn gets later.
func TestThoseWhoWaitAreAskedAgain(t *testing.T) {
	for name, change := range map[string]func(*pace.Pacer, pace.Turn){
		"told": func(p *pace.Pacer, turn pace.Turn) { p.Refused(turn, toldWait(time.Hour)) },
		"remaining": func(p *pace.Pacer, turn pace.Turn) {
			p.Accepted(turn, &pace.Told{Windows: []pace.Window{{Limit: 5, Reset: 40 * time.Second}}})
		},
		"configured": func(p *pace.Pacer, _ pace.Turn) { p.Configure(pace.Limits{RequestsPerMinute: 0.5}) },
	} {
		bubble(t, func(t *testing.T, p *pace.Pacer) {
			p.Configure(pace.Limits{RequestsPerMinute: 3})
			turn := take(t, p)
			begin := time.Now()
			var all sync.WaitGroup
			for range 3 {
				all.Go(func() {
					ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
					defer cancel()
					turn, err := p.Wait(ctx, pace.Cost{})
					if err == nil {
						p.Done(turn)
						t.Errorf("%s: served", name)
						return
					}
					// Two of three a minute have no turn within 30 s from the first.
					if _, ok := errors.AsType[*pace.Error](err); !ok || time.Since(begin) > 5*time.Second {
						t.Errorf("%s: %v after %v", name, err, time.Since(begin))
					}
				})
			}
			synctest.Wait()
			if n := p.Snapshot().Queue; n != 1 {
				t.Fatalf("%s: %d wait", name, n)
			}
			time.Sleep(5 * time.Second)
			change(p, turn)
			all.Wait()
			p.Done(turn)
		})
	}
}

func TestTheCancelledLeaveTheOthersUndisturbed(t *testing.T) {
	bubble(t, func(t *testing.T, p *pace.Pacer) {
		refuse(t, p, toldWait(30*time.Second))
		ctx, cancel := context.WithCancelCause(t.Context())
		var all sync.WaitGroup
		for range 100 {
			all.Go(func() {
				if _, err := p.Wait(ctx, pace.Cost{}); !errors.Is(err, context.Canceled) {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		var at time.Duration
		begin := time.Now()
		all.Go(func() { at = wait(t, p, 1, pace.Cost{})[0] })
		synctest.Wait()
		time.Sleep(ms)
		cancel(errors.New("gone"))
		all.Wait()
		if at != 31*time.Second-500*ms || p.Snapshot().Queue != 0 {
			t.Errorf("the one that is left went after %v (%v)", at, time.Since(begin))
		}
	})
}

// A turn that comes between a cancellation and the leaving is not lost.
func TestATurnForOneWhoHasLeftGoesBack(t *testing.T) {
	bubble(t, func(t *testing.T, p *pace.Pacer) {
		p.Configure(pace.Limits{MaxConcurrent: 1, RequestsPerMinute: 1})
		turn := take(t, p)
		time.Sleep(time.Minute)
		ctx, cancel := context.WithCancel(t.Context())
		var all sync.WaitGroup
		all.Go(func() {
			if _, err := p.Wait(ctx, pace.Cost{}); !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		})
		synctest.Wait()
		cancel()
		p.Done(turn)
		all.Wait()
		if s := p.Snapshot(); s.InFlight != 0 || s.Queue != 0 {
			t.Errorf("%+v", s)
		}
		p.Done(take(t, p)) // the one of this minute
	})
}

// One that can't go yet does not hold those after it once it has left.
func TestWhenTheHeadLeavesTheNextGoes(t *testing.T) {
	bubble(t, func(t *testing.T, p *pace.Pacer) {
		answered(p, take(t, p), &pace.Told{Windows: []pace.Window{{Tokens: true, Limit: 1000, Remaining: 100, Reset: 50 * time.Second}}})
		ctx, cancel := context.WithCancel(t.Context())
		var all sync.WaitGroup
		all.Go(func() { _, _ = p.Wait(ctx, pace.Cost{Tokens: 500}) })
		synctest.Wait()
		all.Go(func() {
			if at := wait(t, p, 1, pace.Cost{Tokens: 50}); at[0] != 100*ms {
				t.Error(at)
			}
		})
		time.Sleep(100 * ms)
		cancel()
		all.Wait()
	})
}

// What is not made gives back its place in the rate.
func TestATurnThatGoesBackIsThereForTheNext(t *testing.T) {
	bubble(t, func(t *testing.T, p *pace.Pacer) {
		refuse(t, p, nil)
		turn, err := p.Wait(t.Context(), pace.Cost{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.Try(pace.Cost{}); err == nil {
			t.Error("two at once")
		}
		p.Back(turn)
		answered(p, take(t, p), nil)
	})
}

func TestAQueueOfTenThousandTakesNoMore(t *testing.T) {
	bubble(t, func(t *testing.T, p *pace.Pacer) {
		refuse(t, p, toldWait(time.Minute))
		ctx, cancel := context.WithCancel(t.Context())
		var all sync.WaitGroup
		for i := range 10_000 {
			all.Go(func() { _, _ = p.Wait(ctx, pace.Cost{Client: fmt.Sprint(i)}) })
		}
		synctest.Wait()
		_, err := p.Wait(ctx, pace.Cost{})
		if e, ok := errors.AsType[*pace.Error](err); !ok || e.Why != pace.QueueFull || e.Queue != 10_000 {
			t.Error(err)
		}
		cancel()
		all.Wait()
		time.Sleep(3 * time.Minute)
		if s := p.Snapshot(); s.Queue != 0 || !s.Free {
			t.Errorf("%+v", s)
		}
	})
}

func TestClientsTakeTurnsAndWhatHasBegunGoesFirst(t *testing.T) {
	bubble(t, func(t *testing.T, p *pace.Pacer) {
		p.Configure(pace.Limits{MaxConcurrent: 1})
		held := take(t, p)
		var order []string
		var all sync.WaitGroup
		for _, c := range []string{"a1", "a2", "a3", "b1", "a4+", "b2", "c1", "b3+", "a5+"} {
			all.Go(func() {
				turn, err := p.Wait(t.Context(), pace.Cost{Client: c[:1], Again: strings.HasSuffix(c, "+")})
				if err != nil {
					t.Error(err)
				}
				order = append(order, c)
				p.Done(turn)
			})
			synctest.Wait()
		}
		p.Done(held)
		all.Wait()
		if want := []string{"a4+", "b3+", "c1", "a5+", "b1", "a1", "b2", "a2", "a3"}; !slices.Equal(order, want) {
			t.Errorf("%v, want %v", order, want)
		}
	})
}

func TestConcurrencyIsHeldToTheEndOfTheBody(t *testing.T) {
	bubble(t, func(t *testing.T, p *pace.Pacer) {
		p.Configure(pace.Limits{MaxConcurrent: 2})
		a, b := take(t, p), take(t, p)
		p.Accepted(a, nil)
		if _, err := p.Try(pace.Cost{}); err == nil || err.Why != pace.Concurrency || err.Wait <= 0 || !strings.Contains(err.Error(), "our own") {
			t.Errorf("a third of two: %v", err)
		}
		var all sync.WaitGroup
		begin := time.Now()
		all.Go(func() {
			if at := wait(t, p, 1, pace.Cost{}); at[0] != 3*time.Second {
				t.Errorf("after %v", time.Since(begin))
			}
		})
		time.Sleep(3 * time.Second)
		p.Done(a)
		all.Wait()
		p.Back(b)
		p.Back(b) // twice is once
		if s := p.Snapshot(); s.InFlight != 0 || s.Concurrency != 2 || s.Free {
			t.Errorf("%+v", s)
		}
		p.Configure(pace.Limits{})
		if s := p.Snapshot(); !s.Free {
			t.Errorf("%+v", s)
		}
	})
}

func TestOverloadLimitsThoseInFlight(t *testing.T) {
	overload := &pace.Told{Overload: true}
	bubble(t, func(t *testing.T, p *pace.Pacer) {
		var turns []pace.Turn
		for range 20 {
			turns = append(turns, take(t, p))
		}
		steps := []int{10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 9, 8, 7, 6, 5}
		for i, want := range steps { // fifteen are refused: five are in flight
			p.Refused(turns[i], overload)
			p.Done(turns[i])
			if got := p.Snapshot().Concurrency; got != want {
				t.Errorf("after %d refusals: %d, want %d", i+1, got, want)
			}
		}
		for _, turn := range turns[15:] {
			answered(p, turn, nil)
		}
		if got := p.Snapshot(); got.Concurrency != 6 || got.Rate != 0 || got.Episodes != 1 {
			t.Errorf("five answers at a limit of five: %+v", got)
		}
		time.Sleep(59 * time.Second)
		if p.Snapshot().Concurrency != 6 {
			t.Error("gone too soon")
		}
		time.Sleep(time.Second)
		if s := p.Snapshot(); s.Concurrency != 0 || !s.Free {
			t.Errorf("not gone after a minute: %+v", s)
		}
	})
	bubble(t, func(t *testing.T, p *pace.Pacer) { // one alone is refused too: then fewer a second
		refuse(t, p, overload)
		if s := p.Snapshot(); s.Concurrency != 1 || s.Rate != 0 {
			t.Errorf("%+v", s)
		}
		refuse(t, p, overload)
		if s := p.Snapshot(); s.Concurrency != 1 || s.Rate != 2 || s.Episodes != 2 {
			t.Errorf("%+v", s)
		}
	})
}

func TestConfiguredLimits(t *testing.T) {
	bubble(t, func(t *testing.T, p *pace.Pacer) {
		p.Configure(pace.Limits{RequestsPerMinute: 60})
		at := wait(t, p, 5, pace.Cost{})
		if !slices.Equal(at, []time.Duration{0, time.Second, 2 * time.Second, 3 * time.Second, 4 * time.Second}) {
			t.Error(at)
		}
	})
	bubble(t, func(t *testing.T, p *pace.Pacer) { // ten at once, and still no more than 600 in any minute
		p.Configure(pace.Limits{RequestsPerMinute: 600})
		at := wait(t, p, 1500, pace.Cost{})
		if at[9] != 0 || at[10] == 0 {
			t.Error(at[:12])
		}
		for i := 600; i < len(at); i++ {
			if d := at[i] - at[i-600]; d < time.Minute || d > 61*time.Second {
				t.Fatalf("601 requests within %v", d)
			}
		}
	})
	bubble(t, func(t *testing.T, p *pace.Pacer) { // 100 a second, 100 at once
		p.Configure(pace.Limits{TokensPerMinute: 6000})
		if at := wait(t, p, 3, pace.Cost{Tokens: 50}); at[1] != 0 || at[2] < 500*ms || at[2] > 520*ms {
			t.Error(at)
		}
		at := wait(t, p, 2, pace.Cost{Tokens: 1000}) // larger than what may go at once: goes when full, and owes
		if at[1]-at[0] < 10*time.Second || at[1]-at[0] > 10300*ms {
			t.Error(at)
		}
		turn, err := p.Wait(t.Context(), pace.Cost{Tokens: 1000})
		if err != nil {
			t.Fatal(err)
		}
		p.Used(turn, 10)
		answered(p, turn, nil)
		if at := wait(t, p, 1, pace.Cost{Tokens: 50}); at[0] != 0 {
			t.Errorf("what was not used does not go back: %v", at)
		}
	})
	for _, row := range []struct{ a, b, want pace.Limits }{
		{pace.Limits{}, pace.Limits{}, pace.Limits{}},
		{pace.Limits{RequestsPerMinute: 5}, pace.Limits{TokensPerMinute: 7, MaxConcurrent: 2}, pace.Limits{RequestsPerMinute: 5, TokensPerMinute: 7, MaxConcurrent: 2}},
		{pace.Limits{RequestsPerMinute: 5, MaxConcurrent: 3}, pace.Limits{RequestsPerMinute: 4, MaxConcurrent: 9}, pace.Limits{RequestsPerMinute: 4, MaxConcurrent: 3}},
		{pace.Limits{RequestsPerMinute: -5, MaxConcurrent: -1}, pace.Limits{RequestsPerMinute: 4}, pace.Limits{RequestsPerMinute: 4}},
		{pace.Limits{RequestsPerMinute: math.Inf(1), TokensPerMinute: math.NaN()}, pace.Limits{TokensPerMinute: math.Inf(-1)}, pace.Limits{}},
	} {
		if got := row.a.Tighter(row.b); got != row.want {
			t.Errorf("%+v", got)
		}
		if got := row.b.Tighter(row.a); got != row.want {
			t.Errorf("%+v", got)
		}
	}
}

func TestProgressIsAnAnswerToAnyone(t *testing.T) {
	bubble(t, func(t *testing.T, p *pace.Pacer) {
		mark := p.Mark()
		refuse(t, p, nil)
		if p.ProgressSince(mark) {
			t.Error("an endpoint that never answered makes no progress")
		}
		time.Sleep(5 * time.Second)
		mark = p.Mark()
		answered(p, take(t, p), nil)
		if !p.ProgressSince(mark) {
			t.Error("an answer since the mark")
		}
		mark = p.Mark()
		time.Sleep(10 * time.Second)
		if !p.ProgressSince(mark) {
			t.Error("an answer within 10 s")
		}
		time.Sleep(ms)
		if p.ProgressSince(mark) {
			t.Error("no answer for more than 10 s")
		}
		time.Sleep(time.Hour)
		turn := take(t, p)
		if !p.Snapshot().Free {
			t.Fatal("not free")
		}
		answered(p, turn, nil)
		mark = p.Mark()
		refuse(t, p, nil)
		if !p.ProgressSince(mark) {
			t.Error("the answers of a free time count as of the refusal that ended it")
		}
		p.Failed(pace.Turn{}, nil)
		time.Sleep(11 * time.Second)
		if p.ProgressSince(mark) {
			t.Error("a failure is no answer")
		}
	})
}

func TestResetForgetsAndLetsThoseWhoWaitGo(t *testing.T) {
	bubble(t, func(t *testing.T, p *pace.Pacer) {
		refuse(t, p, toldWait(time.Hour))
		var all sync.WaitGroup
		for range 5 {
			all.Go(func() {
				if at := wait(t, p, 1, pace.Cost{}); at[0] != time.Second {
					t.Error(at)
				}
			})
		}
		time.Sleep(time.Second)
		p.Reset()
		all.Wait()
		if s := p.Snapshot(); !s.Free || !s.Until.IsZero() || s.InFlight != 0 {
			t.Errorf("%+v", s)
		}
	})
}

// A clock of another kind (a test's bubble begins in the year 2000) is no wedge.
func TestAClockThatGoesBackwards(t *testing.T) {
	var p pace.Pacer
	p.Configure(pace.Limits{RequestsPerMinute: 600})
	p.Refused(pace.Turn{}, toldWait(time.Hour))
	synctest.Test(t, func(t *testing.T) {
		if at := wait(t, &p, 20, pace.Cost{}); at[19] > 5*time.Second {
			t.Error(at)
		}
		time.Sleep(time.Second)
		refuse(t, &p, nil)
	})
}

// oddContext can't be compared, and says what it likes.
type oddContext struct {
	context.Context
	_ map[string]int
}

type deadlineOnly struct{ context.Context }

func (deadlineOnly) Deadline() (time.Time, bool) { return time.Now().Add(time.Second), true }

type silent struct {
	context.Context
	done chan struct{}
}

func (s silent) Done() <-chan struct{} { return s.done }
func (silent) Err() error              { return nil }

func TestOddContexts(t *testing.T) {
	bubble(t, func(t *testing.T, p *pace.Pacer) {
		refuse(t, p, nil)
		if turn, err := p.Wait(oddContext{Context: t.Context()}, pace.Cost{}); err != nil {
			t.Error(err)
		} else {
			p.Done(turn)
		}
		if turn, err := p.Wait(deadlineOnly{context.Background()}, pace.Cost{}); err != nil {
			t.Error(err)
		} else {
			p.Done(turn)
		}
		done := make(chan struct{})
		close(done)
		if _, err := p.Wait(silent{t.Context(), done}, pace.Cost{}); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		over, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := p.Wait(over, pace.Cost{}); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		if s := p.Snapshot(); s.Queue != 0 || s.InFlight != 0 {
			t.Errorf("%+v", s)
		}
	})
}

func TestErrorsSayWhoseWaitItIs(t *testing.T) {
	for why, want := range map[pace.Why]string{
		pace.Pacing:   "our own pacing (2 requests a second, learned from refusals), with 7 waiting, gives a turn in 3s; the provider told no such time",
		pace.ToldTime: "the provider told", pace.ToldWindow: "the provider told", pace.ConfiguredLimit: "configured limit",
		pace.Concurrency: "our own limit", pace.QueueFull: "our own queue",
	} {
		e := &pace.Error{Wait: 3 * time.Second, Why: why, Rate: 2, Queue: 7}
		if !strings.Contains(e.Error(), want) {
			t.Errorf("%v: %v", why, e)
		}
	}
	if pace.Pacing.String() != "pacing" || pace.Why(99).String() != "Why(99)" {
		t.Error("names")
	}
}

func BenchmarkFree(b *testing.B) {
	var p pace.Pacer
	told := &pace.Told{}
	b.ReportAllocs()
	for b.Loop() {
		turn, err := p.Try(pace.Cost{})
		if err != nil {
			b.Fatal(err)
		}
		p.Accepted(turn, told)
		p.Done(turn)
	}
}

func BenchmarkFreeOnAllCores(b *testing.B) {
	var p pace.Pacer
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			turn, _ := p.Try(pace.Cost{})
			p.Accepted(turn, nil)
			p.Done(turn)
		}
	})
}

// A turn in an interface, as a guard holds it.
func BenchmarkWatched(b *testing.B) {
	var p pace.Pacer
	p.Configure(pace.Limits{MaxConcurrent: 1000})
	b.ReportAllocs()
	for b.Loop() {
		turn, err := p.Try(pace.Cost{})
		if err != nil {
			b.Fatal(err)
		}
		var held any = turn
		p.Accepted(held.(pace.Turn), nil)
		p.Done(held.(pace.Turn))
	}
}

// A window of which something was used, and then nothing for longer than it lasts,
// is forgotten at the first look.
func TestAWindowThatNobodyUsesIsForgotten(t *testing.T) {
	bubble(t, func(t *testing.T, p *pace.Pacer) {
		answered(p, take(t, p), &pace.Told{Windows: []pace.Window{{Limit: 50, Remaining: 40, Reset: time.Second}}})
		answered(p, take(t, p), nil)
		time.Sleep(5 * time.Minute)
		if !p.Idle() {
			t.Errorf("%+v", p.Snapshot())
		}
	})
}

// What a header tells counts from the header, though the answer begins, and the
// pacer hears of it, later.
func TestWhatIsToldCountsFromTheResponse(t *testing.T) {
	for _, row := range []struct {
		name string
		told pace.Told
		want time.Duration // from the response
	}{
		{"a time", pace.Told{HasWait: true, Wait: 30 * time.Second}, 30*time.Second + 500*ms},
		{"a window", pace.Told{Windows: []pace.Window{{Limit: 5, Reset: 30 * time.Second}}}, 30 * time.Second},
		{"a time that is over", pace.Told{HasWait: true, Wait: 5 * time.Second}, 20 * time.Second},
		{"a window that is over", pace.Told{Windows: []pace.Window{{Limit: 5, Reset: 5 * time.Second}}}, 20 * time.Second},
	} {
		bubble(t, func(t *testing.T, p *pace.Pacer) {
			turn, told := take(t, p), row.told
			told.At = time.Now()
			time.Sleep(20 * time.Second)
			answered(p, turn, &told)
			wait(t, p, 1, pace.Cost{})
			if got := time.Since(told.At); got < row.want-ms || got > row.want+ms {
				t.Errorf("%s: a turn after %v, want %v", row.name, got, row.want)
			}
		})
	}
}

// "Answered is Accepted and Done in one": two pacers that live through the same,
// one told the one and one told the other, are the same at every moment.
func TestAnsweredIsAcceptedAndDone(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		synctest.Test(t, func(*testing.T) {
			half := func() float64 { return 0.5 }
			one, two := &pace.Pacer{Rand: half}, &pace.Pacer{Rand: half}
			both := func(do func(*pace.Pacer)) { do(one); do(two) }
			type turns struct{ one, two pace.Turn }
			var held []turns
			for range rapid.IntRange(1, 60).Draw(rt, "steps") {
				var told *pace.Told
				switch rapid.IntRange(0, 3).Draw(rt, "told") {
				case 0:
					told = &pace.Told{Wait: time.Duration(rapid.IntRange(0, 3).Draw(rt, "wait")) * time.Second, HasWait: true}
				case 1:
					told = &pace.Told{Windows: []pace.Window{{Limit: 9, Remaining: rapid.Int64Range(0, 9).Draw(rt, "remaining"), Reset: time.Second}}}
				}
				step := rapid.SampledFrom([]string{"take", "take", "take", "answer", "answer", "refuse", "sleep", "limit"}).Draw(rt, "step")
				switch {
				case step == "take":
					a, no := one.Try(pace.Cost{Tokens: 10})
					b, neither := two.Try(pace.Cost{Tokens: 10})
					if (no == nil) != (neither == nil) {
						rt.Fatalf("one says %v, the other %v", no, neither)
					}
					if no == nil {
						held = append(held, turns{a, b})
					}
				case step == "sleep":
					time.Sleep(time.Duration(rapid.IntRange(1, 3000).Draw(rt, "ms")) * time.Millisecond)
				case step == "limit":
					both(func(p *pace.Pacer) { p.Configure(pace.Limits{MaxConcurrent: 3, TokensPerMinute: 60}) })
				case len(held) == 0:
				case step == "answer":
					h := held[0]
					held = held[1:]
					one.Answered(h.one, told)
					two.Accepted(h.two, told)
					two.Done(h.two)
				case step == "refuse":
					h := held[0]
					held = held[1:]
					one.Refused(h.one, told)
					two.Refused(h.two, told)
					one.Done(h.one)
					two.Done(h.two)
				}
				if a, b := one.Snapshot(), two.Snapshot(); a != b {
					rt.Fatalf("after %s:\n%+v\n%+v", step, a, b)
				}
			}
		})
	})
}

// However many answers there were, the requests in flight are counted beside them.
func TestAnswersDoNotReachTheCountInFlight(t *testing.T) {
	var p pace.Pacer
	turns := []pace.Turn{take(t, &p), take(t, &p), take(t, &p)}
	const many = 1 << 20
	for range many {
		p.Answered(take(t, &p), nil)
	}
	if s := p.Snapshot(); s.InFlight != len(turns) || s.Answers != many || p.Mark() != many || !s.Free {
		t.Errorf("%+v", s)
	}
	for _, turn := range turns {
		p.Done(turn)
	}
	if s := p.Snapshot(); s.InFlight != 0 || s.Answers != many {
		t.Errorf("%+v", s)
	}
}

// Processes that were told the same time do not come back in the same instant
// (finding C4: 30 of them, 30 requests in one nanosecond).
func TestProcessesComeBackApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		told := time.Now()
		var back []time.Duration
		for range 100 {
			var p pace.Pacer // of a process of its own, with its own chance
			p.Refused(pace.Turn{}, toldWait(20*time.Second))
			_, refusal := p.Try(pace.Cost{})
			if refusal == nil {
				t.Fatal("a turn in a told time")
			}
			back = append(back, refusal.Until.Sub(told))
		}
		slices.Sort(back)
		if back[0] < 20*time.Second || back[99] > 21*time.Second {
			t.Errorf("they come back from %v to %v", back[0], back[99])
		}
		for i := range back[:90] {
			if back[i+10]-back[i] < 10*ms {
				t.Errorf("ten of a hundred come back within %v", back[i+10]-back[i])
				break
			}
		}
	})
}
