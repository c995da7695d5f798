package pace_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"llmcall/pace"
)

// A turn ends once: what is said of it later takes no place from another.
func TestATurnEndsOnce(t *testing.T) {
	ends := map[string]func(*pace.Pacer, pace.Turn){"Done": (*pace.Pacer).Done, "Back": (*pace.Pacer).Back}
	for first, end := range ends {
		for second, again := range ends {
			bubble(t, func(t *testing.T, p *pace.Pacer) {
				p.Configure(pace.Limits{MaxConcurrent: 5})
				take(t, p)
				turn := take(t, p)
				end(p, turn)
				again(p, turn)
				if n := p.Snapshot().InFlight; n != 1 {
					t.Errorf("%s, then %s: %d in flight", first, second, n)
				}
			})
		}
	}
}

// Back of a request that was answered, refused or has failed is Done: its tokens
// were used.
func TestBackAfterAnAnswerGivesNothingBack(t *testing.T) {
	for name, c := range map[string]struct {
		heard func(*pace.Pacer, pace.Turn)
		next  time.Duration // when a request of 100 tokens goes
	}{
		"nothing":  {func(*pace.Pacer, pace.Turn) {}, 0},
		"accepted": {func(p *pace.Pacer, t pace.Turn) { p.Accepted(t, nil) }, time.Second},
		"failed":   {func(p *pace.Pacer, t pace.Turn) { p.Failed(t, nil) }, time.Second},
		"refused":  {func(p *pace.Pacer, t pace.Turn) { p.Refused(t, &pace.Told{Overload: true}) }, time.Second},
	} {
		bubble(t, func(t *testing.T, p *pace.Pacer) {
			p.Configure(pace.Limits{TokensPerMinute: 6000})
			turn, err := p.Try(pace.Cost{Tokens: 100})
			if err != nil {
				t.Fatal(err)
			}
			c.heard(p, turn)
			p.Back(turn)
			at := wait(t, p, 1, pace.Cost{Tokens: 100})
			if (at[0] - c.next).Abs() > 50*ms {
				t.Errorf("%s: the next went after %v", name, at[0])
			}
		})
	}
}

// Of two limits of those in flight, a configured one and one learned from overload,
// the tighter holds.
func TestTheTighterConcurrencyHolds(t *testing.T) {
	for _, c := range []struct{ configured, flying, want int }{
		{0, 8, 4}, {5, 5, 2}, {20, 8, 4}, {1, 1, 1}, {3, 2, 1},
	} {
		bubble(t, func(t *testing.T, p *pace.Pacer) {
			var turns []pace.Turn
			for range c.flying {
				turns = append(turns, take(t, p))
			}
			p.Configure(pace.Limits{MaxConcurrent: c.configured})
			p.Refused(turns[0], &pace.Told{Overload: true})
			if got := p.Snapshot().Concurrency; got != c.want {
				t.Errorf("%+v: %d", c, got)
			}
			p.Configure(pace.Limits{MaxConcurrent: 1})
			if got := p.Snapshot().Concurrency; got != 1 {
				t.Errorf("%+v, then 1: %d", c, got)
			}
		})
	}
}

// Only a wait that is said to be one, and is above 0, closes.
func TestATimeThatIsNotTold(t *testing.T) {
	for _, told := range []*pace.Told{nil, {}, {Wait: 10 * time.Second}, {HasWait: true}, {HasWait: true, Wait: -time.Second}, {Windows: []pace.Window{}}} {
		bubble(t, func(t *testing.T, p *pace.Pacer) {
			answered(p, take(t, p), told)
			if s := p.Snapshot(); !s.Free || s.SlowStart || s.Rate != 0 || !s.Until.IsZero() {
				t.Errorf("%+v: %+v", told, s)
			}
			p.Configure(pace.Limits{MaxConcurrent: 9}) // watched
			answered(p, take(t, p), told)
			if s := p.Snapshot(); s.Rate != 0 || !s.Until.IsZero() {
				t.Errorf("watched, %+v: %+v", told, s)
			}
		})
	}
}

// A told time begins a slow start at two a second, but none anew of a rate that is
// learned.
func TestAToldTimeBeginsASlowStart(t *testing.T) {
	bubble(t, func(t *testing.T, p *pace.Pacer) {
		answered(p, take(t, p), toldWait(time.Second))
		if s := p.Snapshot(); s.Rate != 2 || !s.SlowStart {
			t.Errorf("%+v", s)
		}
	})
	bubble(t, func(t *testing.T, p *pace.Pacer) {
		learned(t, p)
		before := p.Snapshot().Rate
		turn, err := p.Wait(t.Context(), pace.Cost{})
		if err != nil {
			t.Fatal(err)
		}
		answered(p, turn, toldWait(time.Second))
		if s := p.Snapshot(); s.SlowStart || s.Rate < before/2 || s.Rate > 2*before {
			t.Errorf("a learned rate of %v: %+v", before, s)
		}
	})
}

// A response that says nothing of windows leaves what the one before said.
func TestWindowsStayUntilOthersAreTold(t *testing.T) {
	bubble(t, func(t *testing.T, p *pace.Pacer) {
		p.Configure(pace.Limits{MaxConcurrent: 9})
		answered(p, take(t, p), &pace.Told{Windows: []pace.Window{{Limit: 10, Remaining: 2, Reset: 30 * time.Second}}})
		answered(p, take(t, p), nil)
		answered(p, take(t, p), &pace.Told{HasWait: true})
		_, err := p.Try(pace.Cost{})
		if err == nil || err.Why != pace.ToldWindow {
			t.Errorf("the third of two goes: %v", err)
		}
	})
}

// The tokens of requests that are under way and not answered are taken from a told
// count; those of answered ones are in it.
func TestTokensUnderWayAreTakenFromAToldCount(t *testing.T) {
	for _, c := range []struct {
		answered int // of two others with 100 tokens each
		left     int64
	}{{0, 100}, {1, 200}, {2, 300}} {
		bubble(t, func(t *testing.T, p *pace.Pacer) {
			p.Configure(pace.Limits{MaxConcurrent: 9})
			try := func(tokens int64) (pace.Turn, *pace.Error) { return p.Try(pace.Cost{Tokens: tokens}) }
			var turns []pace.Turn
			for range 3 {
				turn, err := try(100)
				if err != nil {
					t.Fatal(err)
				}
				turns = append(turns, turn)
			}
			for _, turn := range turns[1 : 1+c.answered] {
				p.Accepted(turn, nil)
			}
			p.Accepted(turns[0], &pace.Told{Windows: []pace.Window{{Tokens: true, Limit: 1000, Remaining: 300, Reset: 30 * time.Second}}})
			if _, err := try(c.left + 1); err == nil {
				t.Errorf("%+v: a larger one goes", c)
			}
			if _, err := try(c.left); err != nil {
				t.Errorf("%+v: %v", c, err)
			}
		})
	}
}

// Reset forgets when there was an answer and a refusal.
func TestResetForgetsWhenItWas(t *testing.T) {
	bubble(t, func(t *testing.T, p *pace.Pacer) {
		p.Configure(pace.Limits{MaxConcurrent: 9})
		answered(p, take(t, p), nil)
		refuse(t, p, nil)
		if s := p.Snapshot(); s.LastAnswer.IsZero() || s.LastRefusal.IsZero() {
			t.Fatalf("%+v", s)
		}
		mark := p.Mark()
		p.Reset()
		if s := p.Snapshot(); !s.LastAnswer.IsZero() || !s.LastRefusal.IsZero() || p.ProgressSince(mark) {
			t.Errorf("%+v", s)
		}
	})
}

// A refusal for want of a place says so, and is never until now.
func TestARefusalForWantOfAPlace(t *testing.T) {
	bubble(t, func(t *testing.T, p *pace.Pacer) {
		p.Configure(pace.Limits{MaxConcurrent: 2})
		first := take(t, p)
		turn := take(t, p)
		_, err := p.Try(pace.Cost{})
		if err == nil || err.Why != pace.Concurrency || err.Wait <= 0 || err.Wait > ms*10 {
			t.Errorf("%+v", err)
		}
		time.Sleep(time.Second)
		p.Done(first)
		take(t, p)
		if _, err = p.Try(pace.Cost{}); err == nil || err.Wait != 500*ms { // one of two places, each held for a second
			t.Errorf("%+v", err)
		}
		answered(p, turn, toldWait(time.Minute))
		if _, err = p.Try(pace.Cost{}); err == nil || err.Why != pace.ToldTime {
			t.Errorf("a told time is longer: %+v", err)
		}
	})
	bubble(t, func(t *testing.T, p *pace.Pacer) { // a place is free, the told time is not over
		p.Configure(pace.Limits{MaxConcurrent: 2})
		answered(p, take(t, p), &pace.Told{HasWait: true, Wait: 1})
		if _, err := p.Try(pace.Cost{}); err == nil || err.Why == pace.Concurrency || !err.Until.After(time.Now()) {
			t.Errorf("%+v", err)
		}
	})
}

// Who waits in the queue shows that the rate holds: it grows between episodes,
// also where nobody asks without waiting.
func TestARateThatHoldsThoseWhoWaitGrows(t *testing.T) {
	bubble(t, func(t *testing.T, p *pace.Pacer) {
		learned(t, p)
		before := p.Snapshot().Rate
		begin := time.Now()
		for time.Since(begin) < 20*time.Second {
			turn, err := p.Wait(t.Context(), pace.Cost{})
			if err != nil {
				t.Fatal(err)
			}
			answered(p, turn, nil)
		}
		if after := p.Snapshot().Rate; after <= before*1.05 {
			t.Errorf("a rate of %v became %v", before, after)
		}
	})
}

// One that is refused and cancelled in one instant leaves nothing.
func TestRefusedAndCancelledAtOnce(t *testing.T) {
	for range 20 {
		bubble(t, func(t *testing.T, p *pace.Pacer) {
			p.Configure(pace.Limits{MaxConcurrent: 1})
			turn := take(t, p)
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			done := make(chan error)
			go func() {
				_, err := p.Wait(ctx, pace.Cost{})
				done <- err
			}()
			synctest.Wait()
			p.Accepted(turn, toldWait(time.Hour)) // too late for it
			cancel()
			err := <-done
			if _, refused := errors.AsType[*pace.Error](err); !refused && !errors.Is(err, context.Canceled) {
				t.Errorf("ended with %v", err)
			}
			p.Done(turn)
			if s := p.Snapshot(); s.InFlight != 0 || s.Queue != 0 {
				t.Errorf("%+v", s)
			}
		})
	}
}

// waiting is one that waits: its tokens and how long it has.
type waiting struct {
	tokens int64
	has    time.Duration // 0: no deadline
	ends   time.Duration // when it gets its turn, or is refused
	turn   bool
}

// Those who wait are asked again when their turn gets later, each by what is before
// it of those who stay.
func TestWhoIsRefusedWhenItGetsLater(t *testing.T) {
	const minute, sec = time.Minute, time.Second
	for _, c := range []struct {
		name string
		told []*pace.Told // one each second, with an answer; between them nobody's turn comes
		all  []waiting
	}{
		{"by their deadlines", []*pace.Told{toldWait(30 * sec), toldWait(2 * minute)}, []waiting{
			{has: 10 * sec, ends: 1 * sec}, {has: minute, ends: 2 * sec}, {ends: 2*sec + 2*minute + sec/2, turn: true},
		}},
		{"by their place", []*pace.Told{{Windows: []pace.Window{{Limit: 9, Remaining: 2, Reset: 50 * sec}}}}, []waiting{
			{has: 30 * sec, ends: 1 * sec, turn: true}, {has: 30 * sec, ends: 1 * sec, turn: true}, {has: 30 * sec, ends: 1 * sec}, {has: 31 * sec, ends: 1 * sec},
		}},
		{"by the tokens before them", []*pace.Told{{Windows: []pace.Window{{Tokens: true, Limit: 900, Remaining: 200, Reset: 50 * sec}}}}, []waiting{
			{tokens: 150, has: 30 * sec, ends: 1 * sec, turn: true}, {tokens: 100, has: 30 * sec, ends: 1 * sec}, {tokens: 50, has: 30 * sec, ends: 1 * sec, turn: true},
		}},
		{"by no one who has gone", []*pace.Told{{Windows: []pace.Window{{Tokens: true, Limit: 900, Remaining: 100, Reset: 50 * sec}}}}, []waiting{
			{tokens: 150, has: 30 * sec, ends: 1 * sec}, {tokens: 100, has: 30 * sec, ends: 1 * sec, turn: true},
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, p *pace.Pacer) {
				p.Configure(pace.Limits{MaxConcurrent: 1})
				turn := take(t, p)
				begin := time.Now()
				done := make(chan struct{})
				for i, w := range c.all {
					ctx, cancel := t.Context(), context.CancelFunc(func() {})
					if w.has > 0 {
						ctx, cancel = context.WithTimeout(ctx, w.has)
					}
					go func() {
						defer cancel()
						got, err := p.Wait(ctx, pace.Cost{Tokens: w.tokens})
						if at := time.Since(begin); (err == nil) != w.turn || at != w.ends {
							t.Errorf("waiter %d: %v after %v, want a turn %v after %v", i, err, at, w.turn, w.ends)
						}
						if err == nil {
							p.Done(got)
						} else if _, refused := errors.AsType[*pace.Error](err); !refused {
							t.Errorf("waiter %d: %v", i, err)
						}
						done <- struct{}{}
					}()
					synctest.Wait()
				}
				for _, told := range c.told {
					time.Sleep(sec)
					p.Accepted(turn, told)
				}
				p.Done(turn)
				for range c.all {
					<-done
				}
			})
		})
	}
}

// The words of a refusal: its rate while one is learned, the end of a told time
// while that lasts, and how long it is from now.
func TestTheWordsOfARefusal(t *testing.T) {
	bubble(t, func(t *testing.T, p *pace.Pacer) {
		refuse(t, p, nil)
		_, err := p.Try(pace.Cost{})
		if err == nil || err.Rate != 2 || err.Why != pace.Pacing || err.Wait != 500*ms || !err.Until.Equal(time.Now().Add(err.Wait)) || !err.ToldUntil.IsZero() {
			t.Errorf("a rate: %+v", err)
		}
	})
	bubble(t, func(t *testing.T, p *pace.Pacer) {
		refuse(t, p, toldWait(10*time.Second))
		told := time.Now().Add(10 * time.Second)
		_, err := p.Try(pace.Cost{})
		if err == nil || !err.ToldUntil.Equal(told) || err.Wait != 10*time.Second+500*ms {
			t.Errorf("a told time: %+v", err)
		}
		time.Sleep(err.Wait)
		take(t, p)
		if _, err = p.Try(pace.Cost{}); err == nil || !err.ToldUntil.IsZero() || err.Why != pace.Pacing {
			t.Errorf("after it: %+v", err)
		}
	})
	bubble(t, func(t *testing.T, p *pace.Pacer) {
		p.Configure(pace.Limits{RequestsPerMinute: 60})
		take(t, p)
		if _, err := p.Try(pace.Cost{}); err == nil || err.Rate != 0 || err.Why != pace.ConfiguredLimit {
			t.Errorf("a configured limit: %+v", err)
		}
	})
	for why, c := range map[pace.Why]struct {
		text string
		told bool
	}{
		-1: {"Why(-1)", false}, pace.Pacing: {"pacing", false}, pace.ToldTime: {"told_time", true}, pace.ToldWindow: {"told_window", true},
		pace.ConfiguredLimit: {"configured_limit", false}, pace.Concurrency: {"concurrency", false}, pace.QueueFull: {"queue_full", false}, 6: {"Why(6)", false},
	} {
		if why.String() != c.text || why.Told() != c.told {
			t.Errorf("%d is %q, told %v", int(why), why, why.Told())
		}
	}
}

// A burst at an endpoint that is watched is one episode too.
func TestABurstWhileWatchedIsOneEpisode(t *testing.T) {
	bubble(t, func(t *testing.T, p *pace.Pacer) {
		p.Configure(pace.Limits{MaxConcurrent: 100})
		var turns []pace.Turn
		for range 60 {
			turns = append(turns, take(t, p))
		}
		for _, turn := range turns {
			p.Refused(turn, nil)
			p.Done(turn)
		}
		if n := p.Episode(); n != 1 {
			t.Errorf("%d episodes", n)
		}
	})
}
