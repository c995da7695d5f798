package pace_test

import (
	"context"
	"errors"
	"math"
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
		if n := p.Snapshot().Episodes; n != 1 {
			t.Errorf("%d episodes", n)
		}
	})
}

// A place in flight is reckoned to be free after as long as requests are in flight
// on the average, of which the last counts an eighth.
func TestHowLongPlacesAreHeld(t *testing.T) {
	bubble(t, func(t *testing.T, p *pace.Pacer) {
		p.Configure(pace.Limits{MaxConcurrent: 1})
		for _, c := range []struct{ lasts, reckoned time.Duration }{{time.Second, 10 * ms}, {9 * time.Second, time.Second}, {2 * time.Second, 2 * time.Second}, {0, 2 * time.Second}} {
			turn := take(t, p)
			if _, err := p.Try(pace.Cost{}); err == nil || err.Wait != c.reckoned {
				t.Errorf("before one of %v: %+v", c.lasts, err)
			}
			time.Sleep(c.lasts)
			p.Done(turn)
		}
	})
}

// What has filled up under one limit is there under the next, and less of it where
// that holds less.
func TestALimitIsReplaced(t *testing.T) {
	bubble(t, func(t *testing.T, p *pace.Pacer) {
		p.Configure(pace.Limits{RequestsPerMinute: 60, TokensPerMinute: 6000})
		if _, err := p.Try(pace.Cost{Tokens: 100}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		p.Configure(pace.Limits{RequestsPerMinute: 30, TokensPerMinute: 3000})
		if _, err := p.Try(pace.Cost{Tokens: 50}); err != nil {
			t.Fatal(err)
		}
		_, err := p.Try(pace.Cost{Tokens: 50})
		if err == nil || (err.Wait-2*time.Second).Abs() > 50*ms {
			t.Errorf("the next of 30 a minute: %+v", err)
		}
		p.Configure(pace.Limits{RequestsPerMinute: 60, TokensPerMinute: 6000})
		if _, err = p.Try(pace.Cost{Tokens: 50}); err == nil || err.Wait < 900*ms {
			t.Errorf("a limit that is raised gives nothing at once: %+v", err)
		}
	})
}

// A pacer with configured limits is idle once they have filled up.
func TestWhenAPacerIsIdle(t *testing.T) {
	for name, c := range map[string]struct {
		limits pace.Limits
		cost   pace.Cost
		after  time.Duration
	}{
		"none":                 {pace.Limits{}, pace.Cost{}, 0},
		"requests":             {pace.Limits{RequestsPerMinute: 60}, pace.Cost{}, time.Second},
		"tokens":               {pace.Limits{TokensPerMinute: 6000}, pace.Cost{Tokens: 100}, 1050 * ms},
		"tokens that are owed": {pace.Limits{TokensPerMinute: 6000}, pace.Cost{Tokens: 500}, 5150 * ms},
		"requests and tokens":  {pace.Limits{RequestsPerMinute: 600, TokensPerMinute: 6000}, pace.Cost{Tokens: 200}, 2100 * ms},
	} {
		bubble(t, func(t *testing.T, p *pace.Pacer) {
			p.Configure(c.limits)
			if !p.Idle() {
				t.Errorf("%s: not idle when new", name)
			}
			turn, err := p.Try(c.cost)
			if err != nil {
				t.Fatal(err)
			}
			if p.Idle() {
				t.Errorf("%s: idle with one in flight", name)
			}
			answered(p, turn, nil)
			if c.after > 0 {
				time.Sleep(c.after - 100*ms)
				if p.Idle() {
					t.Errorf("%s: idle before %v", name, c.after)
				}
				time.Sleep(100 * ms)
			}
			if !p.Idle() {
				t.Errorf("%s: not idle after %v", name, c.after)
			}
		})
	}
	for name, keep := range map[string]func(t *testing.T, p *pace.Pacer){
		"a told time": func(t *testing.T, p *pace.Pacer) { answered(p, take(t, p), toldWait(time.Hour)) },
		"a rate":      func(t *testing.T, p *pace.Pacer) { refuse(t, p, nil) },
		"a window": func(t *testing.T, p *pace.Pacer) {
			answered(p, take(t, p), &pace.Told{Windows: []pace.Window{{Limit: 9, Remaining: 8, Reset: time.Hour}}})
		},
		"an overload": func(t *testing.T, p *pace.Pacer) { refuse(t, p, &pace.Told{Overload: true}) },
	} {
		bubble(t, func(t *testing.T, p *pace.Pacer) {
			if keep(t, p); p.Idle() {
				t.Errorf("%s would be lost", name)
			}
		})
	}
}

// The tokens of those who wait count against a configured limit.
func TestTheEstimateCountsTheTokensBefore(t *testing.T) {
	bubble(t, func(t *testing.T, p *pace.Pacer) {
		p.Configure(pace.Limits{TokensPerMinute: 6000})
		cost := pace.Cost{Tokens: 100}
		if _, err := p.Try(cost); err != nil {
			t.Fatal(err)
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			if _, err := p.Wait(t.Context(), cost); err != nil {
				t.Error(err)
			}
		}()
		synctest.Wait()
		if _, err := p.Try(cost); err == nil || (err.Wait-2*time.Second).Abs() > 100*ms || err.Queue != 1 || err.Why != pace.ConfiguredLimit {
			t.Errorf("%+v", err)
		}
		<-done
	})
}

// queued lets one wait, with so many tokens, and says when it went.
func queued(t *testing.T, p *pace.Pacer, tokens int64) (went func() bool) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	done := make(chan struct{})
	go func() {
		defer close(done)
		if turn, err := p.Wait(ctx, pace.Cost{Tokens: tokens}); err == nil {
			p.Done(turn)
		}
	}()
	synctest.Wait()
	return func() bool {
		synctest.Wait()
		select {
		case <-done:
			return true
		default:
			return false
		}
	}
}

// Who waits goes in the instant in which what held it is gone, and not at the next
// look of a timer.
func TestWhoWaitsGoesAtOnce(t *testing.T) {
	window := func(remaining int64) *pace.Told {
		return &pace.Told{Windows: []pace.Window{{Limit: 9, Remaining: remaining, Reset: 30 * time.Second}}}
	}
	for name, c := range map[string]struct {
		limits pace.Limits
		tokens int64
		told   *pace.Told // with an answer before
		ends   func(p *pace.Pacer, first, second pace.Turn)
	}{
		"Done":              {pace.Limits{MaxConcurrent: 2}, 0, nil, func(p *pace.Pacer, first, _ pace.Turn) { p.Done(first) }},
		"Back":              {pace.Limits{MaxConcurrent: 2}, 0, nil, func(p *pace.Pacer, first, _ pace.Turn) { p.Back(first) }},
		"Used":              {pace.Limits{TokensPerMinute: 6000}, 100, nil, func(p *pace.Pacer, first, _ pace.Turn) { p.Used(first, 0) }},
		"Configure":         {pace.Limits{MaxConcurrent: 2}, 0, nil, func(p *pace.Pacer, _, _ pace.Turn) { p.Configure(pace.Limits{}) }},
		"Reset":             {pace.Limits{}, 0, toldWait(time.Minute), func(p *pace.Pacer, _, _ pace.Turn) { p.Reset() }},
		"Accepted, a count": {pace.Limits{}, 0, window(0), func(p *pace.Pacer, _, second pace.Turn) { p.Accepted(second, window(5)) }},
		"Failed, a count":   {pace.Limits{}, 0, window(0), func(p *pace.Pacer, _, second pace.Turn) { p.Failed(second, window(5)) }},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, p *pace.Pacer) {
				p.Configure(c.limits)
				first, err := p.Try(pace.Cost{Tokens: c.tokens})
				if err != nil {
					t.Fatal(err)
				}
				second, err := p.Try(pace.Cost{})
				if err != nil {
					t.Fatal(err)
				}
				if c.told != nil {
					p.Accepted(first, c.told)
				}
				went := queued(t, p, c.tokens)
				if went() {
					t.Fatal("it does not wait")
				}
				if c.ends(p, first, second); !went() {
					t.Error("it waits yet")
				}
			})
		})
	}
	bubble(t, func(t *testing.T, p *pace.Pacer) { // a request of a free time holds a place, too
		free := take(t, p)
		p.Configure(pace.Limits{MaxConcurrent: 1})
		went := queued(t, p, 0)
		if went() {
			t.Fatal("it does not wait")
		}
		if p.Done(free); !went() {
			t.Error("it waits yet")
		}
	})
}

// An answer counts once for its turn, and no turn at all for nobody's tokens.
func TestAnAnswerCountsOnce(t *testing.T) {
	bubble(t, func(t *testing.T, p *pace.Pacer) {
		mark := p.Mark()
		answered(p, take(t, p), nil) // free: it has no time
		if !p.ProgressSince(mark) || p.ProgressSince(p.Mark()) {
			t.Error("an answer of a free time is progress since, and no more")
		}
		p.Configure(pace.Limits{TokensPerMinute: 6000})
		turn := take(t, p)
		p.Accepted(turn, nil)
		p.Accepted(turn, &pace.Told{HasWait: true})
		p.Done(turn)
		p.Used(pace.Turn{}, 1000)
		if s := p.Snapshot(); s.Answers != 2 {
			t.Errorf("%d answers of two", s.Answers)
		}
		if _, err := p.Try(pace.Cost{Tokens: 100}); err != nil {
			t.Errorf("tokens of no turn are used: %v", err)
		}
	})
}

// What a rate has grown to is not lost by a told time.
func TestAToldTimeKeepsTheRate(t *testing.T) {
	for name, tell := range map[string]func(*pace.Pacer, pace.Turn){
		"accepted": func(p *pace.Pacer, turn pace.Turn) { p.Accepted(turn, toldWait(time.Second)) },
		"failed":   func(p *pace.Pacer, turn pace.Turn) { p.Failed(turn, toldWait(time.Second)) },
		"refused":  func(p *pace.Pacer, turn pace.Turn) { p.Refused(turn, toldWait(time.Second)) }, // one of before the rate
	} {
		bubble(t, func(t *testing.T, p *pace.Pacer) {
			p.Configure(pace.Limits{MaxConcurrent: 9})
			turn := take(t, p)
			refuse(t, p, nil)
			time.Sleep(2 * time.Second)
			tell(p, turn)
			if s := p.Snapshot(); math.Abs(s.Rate-8) > 0.01 {
				t.Errorf("%s: a rate of %v, want 2 doubled twice", name, s.Rate)
			}
		})
	}
}

// Of several told times the longest holds, unless it was the look at a long one
// that was told another.
func TestWhichToldTimeHolds(t *testing.T) {
	left := func(p *pace.Pacer) time.Duration { return time.Until(p.Snapshot().Until) }
	bubble(t, func(t *testing.T, p *pace.Pacer) {
		p.Configure(pace.Limits{MaxConcurrent: 9})
		first, second := take(t, p), take(t, p)
		p.Refused(first, toldWait(time.Minute))
		p.Refused(second, toldWait(time.Second))
		if d := left(p); d != time.Minute {
			t.Errorf("a shorter one of another request: %v", d)
		}
	})
	for _, c := range []struct {
		told *pace.Told
		want time.Duration
	}{{toldWait(10 * time.Second), 10 * time.Second}, {nil, 9 * time.Minute}, {&pace.Told{Overload: true}, 9 * time.Minute}} {
		bubble(t, func(t *testing.T, p *pace.Pacer) {
			refuse(t, p, toldWait(10*time.Minute))
			time.Sleep(time.Minute)
			refuse(t, p, c.told) // looks
			if d := left(p); d != c.want {
				t.Errorf("the look is told %+v: %v left", c.told, d)
			}
		})
	}
	bubble(t, func(t *testing.T, p *pace.Pacer) { // also with a request of a free time that failed
		turn := take(t, p)
		if p.Failed(turn, toldWait(10*time.Second)); left(p) != 10*time.Second {
			t.Errorf("%v left", left(p))
		}
	})
}

// Three answers or failures in a row that say that nothing remains are not
// believed; three refusals are.
func TestWhoIsBelievedThatNothingRemains(t *testing.T) {
	for name, c := range map[string]struct {
		end      func(*pace.Pacer, pace.Turn, *pace.Told)
		believed bool
	}{
		"accepted": {(*pace.Pacer).Accepted, false}, "failed": {(*pace.Pacer).Failed, false}, "refused": {(*pace.Pacer).Refused, true},
	} {
		bubble(t, func(t *testing.T, p *pace.Pacer) {
			p.Configure(pace.Limits{MaxConcurrent: 9})
			for range 3 {
				turn, err := p.Wait(t.Context(), pace.Cost{})
				if err != nil {
					t.Fatal(err)
				}
				c.end(p, turn, &pace.Told{Windows: []pace.Window{{Limit: 9, Remaining: 0, Reset: 40 * time.Second}}})
				p.Done(turn)
			}
			_, err := p.Try(pace.Cost{})
			if believed := err != nil && err.Why == pace.ToldWindow; believed != c.believed {
				t.Errorf("%s: %v", name, err)
			}
		})
	}
}

// Costs that mean nothing take nothing, or as much as can be reckoned with.
func TestCostsThatMeanNothing(t *testing.T) {
	bubble(t, func(t *testing.T, p *pace.Pacer) {
		p.Configure(pace.Limits{TokensPerMinute: 6000})
		for _, wait := range []bool{false, true} {
			turn, err := p.Wait(t.Context(), pace.Cost{Tokens: 100})
			if err != nil {
				t.Fatal(err)
			}
			p.Done(turn)
			time.Sleep(100 * ms)
			if wait {
				turn, err = p.Wait(t.Context(), pace.Cost{Tokens: -1000})
			} else if turn, err = p.Try(pace.Cost{Tokens: -1000}); err == (*pace.Error)(nil) {
				err = nil
			}
			if err != nil {
				t.Fatal(err)
			}
			p.Done(turn)
			if _, err := p.Try(pace.Cost{Tokens: 100}); err == nil {
				t.Error("a request of less than nothing has brought tokens")
			}
			time.Sleep(10 * time.Second)
		}
		for range 2 { // two that are owed for ages, reckoned together
			queued(t, p, 1<<62)
		}
		if _, err := p.Try(pace.Cost{Tokens: 100}); err == nil || err.Wait < 24*time.Hour {
			t.Errorf("after two of %d tokens: %+v", int64(1)<<62, err)
		}
	})
}

// Who polls without waiting is held by the rate as well: it grows.
func TestARateThatHoldsThoseWhoPollGrows(t *testing.T) {
	bubble(t, func(t *testing.T, p *pace.Pacer) {
		learned(t, p)
		before := p.Snapshot().Rate
		for range 400 {
			if turn, err := p.Try(pace.Cost{}); err == nil {
				answered(p, turn, nil)
			}
			time.Sleep(50 * ms)
		}
		if after := p.Snapshot().Rate; after <= before*1.05 {
			t.Errorf("a rate of %v became %v", before, after)
		}
	})
}

// A limit that is lifted for an instant keeps what was taken, a higher one is full
// if the last was, and one that is off takes nothing.
func TestALimitIsLifted(t *testing.T) {
	sixty := pace.Limits{RequestsPerMinute: 60}
	bubble(t, func(t *testing.T, p *pace.Pacer) {
		p.Configure(sixty)
		take(t, p)
		p.Configure(pace.Limits{})
		for range 100 {
			take(t, p)
		}
		p.Configure(sixty)
		if _, err := p.Try(pace.Cost{}); err == nil || err.Wait != time.Second {
			t.Errorf("%+v", err)
		}
	})
	bubble(t, func(t *testing.T, p *pace.Pacer) {
		p.Configure(sixty)
		p.Configure(pace.Limits{RequestsPerMinute: 600})
		for range 10 {
			take(t, p)
		}
		if _, err := p.Try(pace.Cost{}); err == nil {
			t.Error("eleven at once of 600 a minute")
		}
	})
	bubble(t, func(t *testing.T, p *pace.Pacer) {
		try := func(tokens int64) *pace.Error { _, err := p.Try(pace.Cost{Tokens: tokens}); return err }
		p.Configure(pace.Limits{TokensPerMinute: 6000})
		if err := try(20); err != nil {
			t.Fatal(err)
		}
		p.Configure(pace.Limits{TokensPerMinute: 3000})
		if err := try(50); err != nil {
			t.Fatal(err)
		}
		if err := try(30); err == nil {
			t.Error("80 tokens at once, where 50 are allowed")
		}
	})
}

// The smallest limit is one.
func TestTheSmallestLimit(t *testing.T) {
	for _, limits := range []pace.Limits{{RequestsPerMinute: 1e-300}, {TokensPerMinute: 1e-300}} {
		p := &pace.Pacer{}
		p.Configure(limits)
		turn, refusal := p.Try(pace.Cost{Tokens: 1})
		if refusal != nil {
			t.Fatal(refusal)
		}
		p.Answered(turn, nil)
		if _, refusal := p.Try(pace.Cost{Tokens: 1}); refusal == nil {
			t.Errorf("%+v: a second request went", limits)
		}
	}
}
