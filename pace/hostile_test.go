package pace_test

import (
	"context"
	"math"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"llmcall/pace"
)

// Times as long as there are, told in every way: nothing runs over, one request a
// minute looks, and an answer ends it.
func TestAnEndlessToldTimeIsLookedAt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p pace.Pacer
		forever := time.Duration(math.MaxInt64)
		p.Refused(pace.Turn{}, &pace.Told{Wait: forever, HasWait: true, Windows: []pace.Window{
			{Limit: math.MaxInt64, Remaining: math.MinInt64, Reset: forever}, {Tokens: true, Limit: math.MinInt64, Remaining: math.MaxInt64, Reset: forever},
		}})
		if _, e := p.Try(pace.Cost{Tokens: math.MaxInt64}); e == nil || !e.Until.After(time.Now()) || !e.ToldUntil.After(time.Now()) {
			t.Fatalf("%+v", e)
		}
		time.Sleep(time.Minute)
		turn, e := p.Try(pace.Cost{Tokens: math.MaxInt64})
		if e != nil {
			t.Fatal(e)
		}
		p.Used(turn, math.MaxInt64)
		p.Accepted(turn, nil)
		p.Done(turn)
		time.Sleep(2 * time.Minute)
		if _, e := p.Try(pace.Cost{}); e != nil {
			t.Error(e)
		}
	})
}

// A thousand callers come, leave in their wait, are refused and told, while limits
// change: in the end nobody waits, nothing is in flight, and a new request goes.
func TestNothingIsLeftOfManyWhoLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p pace.Pacer
		var wg sync.WaitGroup
		for i := range 1000 {
			r := rand.New(rand.NewPCG(uint64(i), 7))
			wg.Go(func() {
				for range 5 {
					time.Sleep(time.Duration(r.IntN(3000)) * time.Millisecond)
					ctx, cancel := context.WithTimeout(t.Context(), time.Duration(r.IntN(5000))*time.Millisecond)
					if r.IntN(2) == 0 {
						ctx, cancel = context.WithCancel(t.Context())
						time.AfterFunc(time.Duration(r.IntN(5000))*time.Millisecond, cancel)
					}
					turn, err := p.Wait(ctx, pace.Cost{Again: r.IntN(2) == 0, Client: string(rune('a' + r.IntN(5))), Tokens: int64(r.IntN(100))})
					if err == nil {
						time.Sleep(time.Duration(r.IntN(1000)) * time.Millisecond)
						switch r.IntN(8) {
						case 0:
							p.Refused(turn, nil)
						case 1:
							p.Refused(turn, &pace.Told{Wait: time.Duration(r.IntN(2000)) * time.Millisecond, HasWait: true})
						case 2:
							p.Refused(turn, &pace.Told{Overload: true})
						case 3:
							p.Failed(turn, nil)
						case 4:
							p.Back(turn)
							cancel()
							continue
						default:
							p.Accepted(turn, &pace.Told{Windows: []pace.Window{{Limit: 50, Remaining: int64(r.IntN(50)), Reset: time.Second}}})
						}
						p.Done(turn)
					}
					cancel()
					if r.IntN(50) == 0 {
						p.Configure(pace.Limits{RequestsPerMinute: float64(r.IntN(3)) * 600, MaxConcurrent: r.IntN(5), TokensPerMinute: float64(r.IntN(2)) * 60000})
					}
				}
			})
		}
		wg.Wait()
		if s := p.Snapshot(); s.Queue != 0 || s.InFlight != 0 {
			t.Fatalf("%+v", s)
		}
		p.Configure(pace.Limits{})
		time.Sleep(5 * time.Minute)
		if !p.Idle() {
			t.Errorf("%+v", p.Snapshot())
		}
		if _, e := p.Try(pace.Cost{}); e != nil {
			t.Error(e)
		}
	})
}
