package pace

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// Requests that only wait for the lock are not in flight: a response that is
// handled while a burst asks for its turns counts none of them.
func TestABurstThatAsksIsNotInFlight(t *testing.T) {
	for _, wait := range []bool{false, true} {
		var p Pacer
		p.Refused(Turn{}, nil) // from here on requests are watched
		p.mu.Lock()
		var burst sync.WaitGroup
		for range 100 {
			burst.Go(func() {
				if wait {
					_, _, _ = p.line(&waiter{ready: make(chan struct{})})
				} else {
					_, _ = p.Try(Cost{})
				}
			})
		}
		time.Sleep(10 * time.Millisecond)
		if n := p.inFlight(); n != 0 {
			t.Errorf("wait %v: %d in flight", wait, n)
		}
		p.mu.Unlock()
		burst.Wait()
	}
}

// A turn that is ended twice takes no other request's place, and none of the answers.
func TestAFreeTurnThatEndsTwice(t *testing.T) {
	for name, end := range map[string]func(*Pacer){
		"Done":     func(p *Pacer) { p.Done(Turn{}) },
		"Back":     func(p *Pacer) { p.Back(Turn{}) },
		"Answered": func(p *Pacer) { p.Answered(Turn{}, nil) },
	} {
		var p Pacer
		turn, _ := p.Try(Cost{})
		p.Answered(turn, nil)
		answers := p.Mark()
		end(&p)
		if n := p.inFlight(); n != 0 || p.Mark() < answers {
			t.Errorf("%s: %d in flight, %d answers", name, n, p.Mark())
		}
	}
}

// What is told of an answer a second time is heard, and is not another answer.
func TestAnAnswerToldTwiceIsOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p Pacer
		turns := make([]Turn, 8)
		for i := range turns {
			turns[i], _ = p.Try(Cost{})
		}
		p.Refused(turns[0], &Told{Overload: true})
		p.Done(turns[0])
		for p.overload.limit > 2 {
			p.Refused(Turn{}, &Told{Overload: true})
			p.overload.limit--
		}
		for _, turn := range turns[1:] {
			p.Done(turn)
		}
		time.Sleep(2 * time.Second)
		turn, refusal := p.Try(Cost{})
		if refusal != nil {
			t.Fatal(refusal)
		}
		before := p.overload
		for range 20 {
			p.Accepted(turn, &Told{HasWait: true})
		}
		if got := p.overload.limit*100 + p.overload.answers; got != before.limit*100+before.answers+1 {
			t.Errorf("the limit is %d after %d answers; it was %d after %d", p.overload.limit, p.overload.answers, before.limit, before.answers)
		}
	})
}

// A response to a request that held no place (its caller has pacing off) is not
// subtracted from those in flight.
func TestAResponseWithoutAPlace(t *testing.T) {
	var p Pacer
	p.Accepted(Turn{}, &Told{Windows: []Window{{Limit: 9, Remaining: 0, Reset: time.Second}}})
	if w := p.windows.list[0]; w.left != 0 || w.used != 0 {
		t.Errorf("%d left, %d used", w.left, w.used)
	}
	if _, refusal := p.Try(Cost{}); refusal == nil {
		t.Error("a turn where nothing remains")
	}
}

// A look that is given back late opens nothing of a told time that began since.
func TestALateLookOpensNoOtherTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := Pacer{Rand: func() float64 { return 0 }}
		p.Refused(Turn{}, &Told{Wait: 3 * time.Minute, HasWait: true})
		time.Sleep(lookEvery)
		look, refusal := p.Try(Cost{})
		if refusal != nil || !look.sent.look {
			t.Fatal("no look after a minute", refusal)
		}
		time.Sleep(2*time.Minute + time.Second)
		p.Refused(Turn{}, &Told{Wait: time.Minute, HasWait: true})
		p.Back(look)
		if _, refusal := p.Try(Cost{}); refusal == nil {
			t.Error("a turn in a told minute")
		}
	})
}

// What is given back to a window that has begun again since is not given back.
func TestAWindowThatBeganAgainIsNotGivenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p Pacer
		p.Accepted(Turn{}, &Told{Windows: []Window{{Limit: 5, Remaining: 5, Reset: 10 * time.Second}}})
		late, _ := p.Try(Cost{})
		time.Sleep(10 * time.Second)
		if _, refusal := p.Try(Cost{}); refusal != nil {
			t.Fatal(refusal)
		}
		p.Back(late)
		if w := p.windows.list[0]; w.left != 4 || w.used != 1 {
			t.Errorf("%d left, %d used, want 4 and 1", w.left, w.used)
		}
	})
}

// Where no tokens are limited, what a request has used changes nothing.
func TestTokensUsedOfNoLimit(t *testing.T) {
	var p Pacer
	p.Configure(Limits{RequestsPerMinute: 60})
	turn, _ := p.Try(Cost{Tokens: 10})
	before := p.limits.tokens.level
	p.Used(turn, 500)
	if got := p.limits.tokens.level; got != before {
		t.Errorf("the level is %v, was %v", got, before)
	}
}
