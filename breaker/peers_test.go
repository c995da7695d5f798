package breaker_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"llmcall/breaker"
)

// peers are other processes as a test plays them. They write down what they are told.
type peers struct {
	mu     sync.Mutex
	told   []string
	leases []breaker.Lease // the next answers; none: refused
	deaf   bool            // hears of nothing
	lasted time.Duration   // the last failure that they were told
	asked  func()          // while somebody waits for a lease
}

func (p *peers) write(format string, args ...any) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.told = append(p.told, fmt.Sprintf(format, args...))
	return !p.deaf
}

func (p *peers) Failed(generation uint64, f breaker.Failure, trip bool) bool {
	p.mu.Lock()
	p.lasted = f.Lasted
	p.mu.Unlock()
	return p.write("failed(%d %s trip=%t)", generation, f.Cause.Kind, trip)
}

func (p *peers) Probed(generation, lease uint64, o breaker.Outcome, f breaker.Failure) bool {
	return p.write("probed(%d #%d %s)", generation, lease, [...]string{"neither", "ok", "failed", "tripped"}[o])
}

func (p *peers) Lease(generation uint64) breaker.Lease {
	p.write("lease(%d)", generation)
	if p.asked != nil {
		p.asked()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.leases) == 0 {
		return breaker.Lease{RetryIn: 5 * time.Millisecond}
	}
	l := p.leases[0]
	p.leases = p.leases[1:]
	return l
}

// heard returns what was told since it was asked last.
func (p *peers) heard() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	text := strings.Join(p.told, " ")
	p.told = nil
	return text
}

// sharedTrace is a breaker with peers that does what the lines of a test say.
type sharedTrace struct {
	t      *testing.T
	b      *breaker.Breaker
	p      *peers
	passes map[string]breaker.Pass
}

var sharedStates = map[string]breaker.Shared{
	"closed":        {State: closed},
	"open":          {State: open, RetryIn: 60 * s, Openings: 1, Cause: boom},
	"half":          {State: open, Openings: 3, Cause: boom},
	"forced-open":   {State: open, Forced: true, Cause: breaker.Cause{Kind: "why"}},
	"forced-closed": {State: closed, Forced: true},
}

var outcomeOf = map[string]breaker.Outcome{"ok": breaker.Succeeded, "fails": breaker.Failed, "trips": breaker.Tripped, "neither": breaker.Neither}

// do does one thing, and returns what came of it.
func (x *sharedTrace) do(line string) (got string) {
	x.t.Helper()
	var a, b, c string
	fmt.Sscan(line, &a, &b, &c)
	number := func(text string) (n uint64) {
		fmt.Sscan(text, &n)
		return n
	}
	switch a {
	case "follow": // GENERATION STATE
		state, known := sharedStates[c]
		if !known {
			x.t.Fatalf("no state %q", c)
		}
		state.Generation = number(b)
		x.b.Follow(state)
	case "wait": // TIME
		d, err := time.ParseDuration(b)
		if err != nil {
			x.t.Fatal(err)
		}
		time.Sleep(d)
		synctest.Wait()
	case "lend": // ID
		x.p.leases = append(x.p.leases, breaker.Lease{ID: number(b)})
	case "alone":
		x.p.leases = append(x.p.leases, breaker.Lease{Alone: true})
		x.p.deaf = true
	case "back":
		x.p.deaf = false
	case "enter": // NAME
		pass, refusal := x.b.Enter()
		if refusal != nil {
			return fmt.Sprintf("refused for %v", time.Until(refusal.Until))
		}
		x.passes[b] = pass
	case "accept":
		x.passes[b] = x.b.Accept(x.passes[b])
	case "leave": // NAME OUTCOME
		x.b.Leave(x.passes[b], outcomeOf[c], because(boom))
	case "trip":
		x.b.Trip(because(boom))
	case "fail": // a call
		bad(x.t, x.b)
	case "reset":
		x.b.Reset()
	case "force-open":
		x.b.ForceOpen("")
	case "force-closed":
		x.b.ForceClosed()
	default:
		x.t.Fatalf("what is %q?", line)
	}
	return ""
}

// A line of a trace is what is done, what the peers hear of it or what is returned, and the
// state after it.
func TestSharedCircuit(t *testing.T) {
	for name, test := range map[string]struct {
		config breaker.Config
		trace  string
	}{
		"it counts by itself, and tells": {breaker.Config{FailureThreshold: 2}, `
			fail                  | failed(0 boom trip=false) | CLOSED
			follow 1 closed       |                           | CLOSED
			fail                  | failed(1 boom trip=false) | OPEN
			wait 60s              |                           | HALF_OPEN
			enter a               |                           | HALF_OPEN
			leave a ok            |                           | HALF_OPEN
			enter b               |                           | HALF_OPEN
			leave b ok            |                           | CLOSED`},
		"peers open it, lend probes, and close it": {breaker.Config{}, `
			follow 1 closed       |                    | CLOSED
			follow 2 open         |                    | OPEN
			enter a               | refused for 1m0s   | OPEN
			wait 60s              |                    | HALF_OPEN
			enter a               | refused for 5ms lease(2) | HALF_OPEN
			lend 7                |                    | HALF_OPEN
			enter a               | lease(2)           | HALF_OPEN
			enter b               | refused for 1m0s   | HALF_OPEN
			leave a ok            | probed(2 #7 ok)    | HALF_OPEN
			follow 3 closed       |                    | CLOSED
			enter a               |                    | CLOSED
			leave a ok            |                    | CLOSED`},
		"a probe that fails waits for the peers' word": {breaker.Config{}, `
			follow 2 half         |                     | HALF_OPEN
			lend 7                |                     | HALF_OPEN
			enter a               | lease(2)            | HALF_OPEN
			leave a fails         | probed(2 #7 failed) | HALF_OPEN
			follow 3 open         |                     | OPEN`},
		"what is not newer changes nothing": {breaker.Config{}, `
			follow 5 open         |  | OPEN
			follow 5 closed       |  | OPEN
			follow 4 closed       |  | OPEN
			follow 6 closed       |  | CLOSED
			follow 5 open         |  | CLOSED`},
		"a call of an earlier state never counts": {breaker.Config{FailureThreshold: 1}, `
			follow 1 closed       |  | CLOSED
			enter a               |  | CLOSED
			follow 2 open         |  | OPEN
			follow 3 closed       |  | CLOSED
			leave a fails         |  | CLOSED`},
		"a probe of an earlier generation says nothing of a later one": {breaker.Config{HalfOpenProbes: 2}, `
			follow 2 half         |                      | HALF_OPEN
			lend 7                |                      | HALF_OPEN
			lend 8                |                      | HALF_OPEN
			enter a               | lease(2)             | HALF_OPEN
			enter b               | lease(2)             | HALF_OPEN
			leave a fails         | probed(2 #7 failed)  | HALF_OPEN
			follow 3 half         |                      | HALF_OPEN
			leave b fails         | probed(3 #8 neither) | HALF_OPEN`},
		"nor does its acceptance": {breaker.Config{HalfOpenProbes: 2}, `
			follow 2 half         |                      | HALF_OPEN
			lend 7                |                      | HALF_OPEN
			enter a               | lease(2)             | HALF_OPEN
			follow 3 half         |                      | HALF_OPEN
			accept a              | probed(3 #7 neither) | HALF_OPEN
			leave a fails         |                      | HALF_OPEN`},
		"accepted, it counts, and what follows counts by itself": {breaker.Config{}, `
			follow 2 half         |                           | HALF_OPEN
			lend 7                |                           | HALF_OPEN
			enter a               | lease(2)                  | HALF_OPEN
			accept a              | probed(2 #7 ok)           | HALF_OPEN
			accept a              |                           | HALF_OPEN
			lend 8                |                           | HALF_OPEN
			enter b               | lease(2)                  | HALF_OPEN
			leave a fails         | failed(2 boom trip=false) | HALF_OPEN
			follow 3 open         |                           | OPEN
			leave b ok            | probed(3 #8 neither)      | OPEN`},
		"accepted before the circuit closed, a failure is late": {breaker.Config{FailureThreshold: 1}, `
			follow 2 half         |                 | HALF_OPEN
			lend 7                |                 | HALF_OPEN
			enter a               | lease(2)        | HALF_OPEN
			accept a              | probed(2 #7 ok) | HALF_OPEN
			follow 3 closed       |                 | CLOSED
			leave a fails         |                 | CLOSED`},
		"alone it decides by itself": {breaker.Config{}, `
			follow 2 half         |           | HALF_OPEN
			alone                 |           | HALF_OPEN
			enter a               | lease(2)  | HALF_OPEN
			leave a ok            |           | HALF_OPEN
			alone                 |           | HALF_OPEN
			enter a               | lease(2)  | HALF_OPEN
			leave a ok            |           | CLOSED
			follow 2 half         |           | CLOSED
			follow 3 open         |           | OPEN`},
		"alone a probe that fails opens it": {breaker.Config{}, `
			follow 2 half         |                           | HALF_OPEN
			alone                 |                           | HALF_OPEN
			enter a               | lease(2)                  | HALF_OPEN
			leave a fails         | failed(2 boom trip=false) | OPEN
			wait 60s              |                           | HALF_OPEN
			back                  |                           | HALF_OPEN
			lend 9                |                           | HALF_OPEN
			enter a               | lease(2)                  | HALF_OPEN`},
		"a leased probe that ends alone is counted here": {breaker.Config{SuccessThreshold: 1}, `
			follow 2 half         |                 | HALF_OPEN
			lend 7                |                 | HALF_OPEN
			enter a               | lease(2)        | HALF_OPEN
			alone                 |                 | HALF_OPEN
			leave a ok            | probed(2 #7 ok) | CLOSED`},
		"a leased probe that is accepted alone is counted here": {breaker.Config{SuccessThreshold: 1, FailureThreshold: 1}, `
			follow 2 half         |                           | HALF_OPEN
			lend 7                |                           | HALF_OPEN
			enter a               | lease(2)                  | HALF_OPEN
			alone                 |                           | HALF_OPEN
			accept a              | probed(2 #7 ok)           | CLOSED
			leave a fails         | failed(2 boom trip=false) | OPEN`},
		"a leased probe that fails alone opens it": {breaker.Config{}, `
			follow 2 half         |                     | HALF_OPEN
			lend 7                |                     | HALF_OPEN
			enter a               | lease(2)            | HALF_OPEN
			alone                 |                     | HALF_OPEN
			leave a fails         | probed(2 #7 failed) | OPEN`},
		"its own opening stays while the peers never opened": {breaker.Config{FailureThreshold: 1}, `
			fail                  | failed(0 boom trip=false) | OPEN
			follow 1 closed       |                           | OPEN
			follow 3 closed       |                           | OPEN
			follow 4 open         |                           | OPEN
			follow 5 closed       |                           | CLOSED`},
		"a reset of the peers closes what it opened by itself": {breaker.Config{FailureThreshold: 1}, `
			follow 1 closed       |                           | CLOSED
			fail                  | failed(1 boom trip=false) | OPEN
			follow 2 closed       |                           | CLOSED`},
		"a trip opens here, and is told": {breaker.Config{}, `
			follow 1 closed       |                          | CLOSED
			enter a               |                          | CLOSED
			leave a trips         | failed(1 boom trip=true) | OPEN
			follow 2 open         |                          | OPEN`},
		"so is one without a call": {breaker.Config{}, `
			follow 1 closed       |                          | CLOSED
			trip                  | failed(1 boom trip=true) | OPEN`},
		"forced by the peers": {breaker.Config{FailureThreshold: 1}, `
			follow 2 forced-open   |                           | OPEN
			wait 1000h             |                           | OPEN
			follow 3 closed        |                           | CLOSED
			follow 4 forced-closed |                           | CLOSED
			fail                   |                           | CLOSED
			follow 5 open          |                           | OPEN
			follow 6 forced-closed |                           | CLOSED
			follow 7 closed        |                           | CLOSED
			fail                   | failed(7 boom trip=false) | OPEN`},
		"forced here, it follows nobody until it is reset": {breaker.Config{}, `
			force-open            |  | OPEN
			follow 2 closed       |  | OPEN
			force-closed          |  | CLOSED
			follow 3 open         |  | CLOSED
			follow 4 forced-open  |  | CLOSED
			reset                 |  | CLOSED
			follow 4 forced-open  |  | OPEN
			force-closed          |  | CLOSED
			reset                 |  | CLOSED
			follow 4 forced-open  |  | OPEN`},
		"reset here, it is what the peers say next": {breaker.Config{}, `
			follow 2 open         |                      | OPEN
			reset                 |                      | CLOSED
			follow 2 half         |                      | HALF_OPEN
			lend 7                |                      | HALF_OPEN
			enter a               | lease(2)             | HALF_OPEN
			reset                 |                      | CLOSED
			leave a fails         | probed(0 #7 neither) | CLOSED`},
		"a probe that is never given back": {breaker.Config{ProbeLease: 10 * s}, `
			follow 2 half         |                  | HALF_OPEN
			lend 7                |                  | HALF_OPEN
			enter a               | lease(2)         | HALF_OPEN
			enter b               | refused for 10s  | HALF_OPEN
			wait 10s              |                  | HALF_OPEN
			lend 8                |                  | HALF_OPEN
			enter b               | lease(2)         | HALF_OPEN
			leave a ok            | probed(2 #7 ok)  | HALF_OPEN`},
		"a slow probe fails at once, and is given back at its end": {breaker.Config{SlowCall: s}, `
			follow 2 half         |                           | HALF_OPEN
			lend 7                |                           | HALF_OPEN
			enter a               | lease(2)                  | HALF_OPEN
			wait 1s               | failed(2 slow trip=false) | HALF_OPEN
			leave a fails         | probed(2 #7 neither)      | HALF_OPEN
			follow 3 open         |                           | OPEN`},
		"a slow probe that is accepted": {breaker.Config{SlowCall: s}, `
			follow 2 half         |                           | HALF_OPEN
			lend 7                |                           | HALF_OPEN
			enter a               | lease(2)                  | HALF_OPEN
			accept a              | probed(2 #7 ok)           | HALF_OPEN
			wait 1s               | failed(2 slow trip=false) | HALF_OPEN
			leave a ok            |                           | HALF_OPEN`},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				x := &sharedTrace{t, newBreaker(t, test.config), &peers{}, map[string]breaker.Pass{}}
				x.b.Share(x.p)
				for line := range strings.Lines(strings.TrimSpace(test.trace)) {
					part := strings.Split(line, "|")
					for i := range part {
						part[i] = strings.TrimSpace(part[i])
					}
					got := strings.TrimSpace(x.do(part[0]) + " " + x.p.heard())
					if state := x.b.State().String(); got != part[1] || state != part[2] {
						t.Fatalf("%s: got %q, %s, want %q, %s", part[0], got, state, part[1], part[2])
					}
				}
			})
		})
	}
}

// While peers are asked for a lease, the circuit may change.
func TestLeaseThatComesWhenTheStateHasChangedIsGivenBack(t *testing.T) {
	for name, test := range map[string]struct {
		meanwhile func(*breaker.Breaker)
		admitted  bool
		heard     string
	}{
		"OPEN again":       {func(b *breaker.Breaker) { b.Follow(breaker.Shared{Generation: 3, State: open, RetryIn: s}) }, false, "lease(2) probed(2 #7 neither)"},
		"HALF_OPEN again":  {func(b *breaker.Breaker) { b.Follow(breaker.Shared{Generation: 3, State: open}) }, false, "lease(2) probed(2 #7 neither)"},
		"CLOSED":           {func(b *breaker.Breaker) { b.Follow(breaker.Shared{Generation: 3}) }, true, "lease(2) probed(2 #7 neither)"},
		"reset":            {func(b *breaker.Breaker) { b.Reset() }, true, "lease(2) probed(2 #7 neither)"},
		"forced OPEN":      {func(b *breaker.Breaker) { b.ForceOpen("") }, false, "lease(2) probed(2 #7 neither)"},
		"told the same":    {func(b *breaker.Breaker) { b.Follow(breaker.Shared{Generation: 2, State: open}) }, true, "lease(2)"},
		"looked at by all": {func(b *breaker.Breaker) { b.Snapshot(); b.Recent(); b.State(); b.Idle() }, true, "lease(2)"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := &peers{leases: []breaker.Lease{{ID: 7}}}
				b := newBreaker(t, breaker.Config{})
				b.Share(p)
				b.Follow(breaker.Shared{Generation: 2, State: open})
				p.asked = func() { test.meanwhile(b) }
				_, refusal := b.Enter()
				if admitted := refusal == nil; admitted != test.admitted {
					t.Errorf("admitted %v, want %v", admitted, test.admitted)
				}
				if got := p.heard(); got != test.heard {
					t.Errorf("peers heard %q, want %q", got, test.heard)
				}
			})
		})
	}
}

// A caller that waits is woken when a lease may be free, long before it would look again.
func TestWaiterIsWokenByWhatIsNotNew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &peers{leases: []breaker.Lease{{}, {RetryIn: time.Hour}, {RetryIn: time.Hour}, {ID: 7}, {ID: 8}}}
		b := newBreaker(t, breaker.Config{})
		b.Share(p)
		half := breaker.Shared{Generation: 2, State: open}
		b.Follow(half)
		var order []int
		for i := range 2 {
			go func() {
				pass, err := b.Wait(t.Context())
				if err != nil {
					t.Error(err)
				}
				order = append(order, i)
				b.Leave(pass, breaker.Succeeded, breaker.Failure{})
			}()
			synctest.Wait()
		}
		if got := p.heard(); got != "lease(2) lease(2) lease(2)" {
			t.Fatalf("peers heard %q: each asks when it comes, and then only the first one", got)
		}
		time.Sleep(time.Minute)
		b.Follow(half)
		synctest.Wait()
		if got := p.heard(); got != "lease(2) probed(2 #7 ok) lease(2) probed(2 #8 ok)" && got != "lease(2) lease(2) probed(2 #7 ok) probed(2 #8 ok)" {
			t.Errorf("peers heard %q", got)
		}
		if fmt.Sprint(order) != "[0 1]" {
			t.Errorf("admitted in the order %v", order)
		}
	})
}

// The refusal of a lease ends when peers said, for those who wait too.
func TestWaiterAsksAgainWhenALeaseMayBeHad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &peers{leases: []breaker.Lease{{RetryIn: 3 * s}, {RetryIn: 3 * s}, {ID: 7}}} // it is asked twice after 10 s
		b := newBreaker(t, breaker.Config{})
		b.Share(p)
		b.Follow(breaker.Shared{Generation: 2, State: open, RetryIn: 10 * s})
		began := time.Now()
		if _, err := b.Wait(t.Context()); err != nil || time.Since(began) != 13*s {
			t.Errorf("%v after %v", err, time.Since(began))
		}
	})
}

func TestWaitForALeaseEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &peers{leases: []breaker.Lease{{}, {RetryIn: time.Hour}}}
		b := newBreaker(t, breaker.Config{})
		b.Share(p)
		b.Follow(breaker.Shared{Generation: 2, State: open})
		ctx, cancel := context.WithTimeout(t.Context(), 10*s)
		defer cancel()
		began := time.Now()
		if _, err := b.Wait(ctx); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != 10*s {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		if n := b.Snapshot().Waiting; n != 0 {
			t.Errorf("%d still wait", n)
		}
	})
}

// A lease that comes when the caller has just given up is its pass: it is given back by the
// caller, and not lost.
func TestLeaseOfACallerThatWasCancelledIsNotLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &peers{leases: []breaker.Lease{{ID: 7}}}
		b := newBreaker(t, breaker.Config{})
		b.Share(p)
		b.Follow(breaker.Shared{Generation: 2, State: open})
		ctx, cancel := context.WithCancel(t.Context())
		p.asked = cancel
		pass, err := b.Wait(ctx)
		if err == nil {
			b.Leave(pass, breaker.Neither, breaker.Failure{})
		}
		if got := p.heard(); got != "lease(2) probed(2 #7 neither)" {
			t.Errorf("%v, peers heard %q", err, got)
		}
	})
}

// Peers are told no more of a failure than the breaker keeps of it.
func TestPeersAreToldOfAFailureWhatIsKept(t *testing.T) {
	b := newBreaker(t, breaker.Config{})
	p := &peers{}
	b.Share(p)
	b.Leave(enter(t, b), breaker.Failed, because(breaker.Cause{Kind: strings.Repeat("x", 1<<20)}))
	if got := p.heard(); len(got) > 200 {
		t.Errorf("peers heard %d bytes", len(got))
	}
	b.Leave(enter(t, b), breaker.Failed, breaker.Failure{Lasted: 24 * time.Hour})
	if p.lasted != 10*time.Minute { // or failures of five days would count together
		t.Errorf("peers heard that it lasted %v", p.lasted)
	}
}

// Who brings news does not wait for the hooks, which may be slow, or call the breaker.
func TestFollowDoesNotWaitForHooks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told []string
		var b *breaker.Breaker
		b = newBreaker(t, breaker.Config{}, func(tr breaker.Transition) {
			time.Sleep(time.Hour)
			told = append(told, tr.To.String())
			if len(told) == 1 {
				b.Follow(breaker.Shared{Generation: 9, State: open, RetryIn: time.Minute})
			}
		})
		b.Share(&peers{})
		began := time.Now()
		b.Follow(breaker.Shared{Generation: 2, State: open, RetryIn: time.Minute})
		b.Follow(breaker.Shared{Generation: 3})
		if took := time.Since(began); took > 0 {
			t.Errorf("news took %v", took)
		}
		time.Sleep(100 * time.Hour)
		synctest.Wait()
		if got := fmt.Sprint(told); got != "[OPEN CLOSED OPEN]" {
			t.Errorf("told of %v", got)
		}
	})
}

// lender is peers whose own lock is held when they are called and when they call, as those
// of a fleet do. It lends at most the breaker's HalfOpenProbes.
type lender struct {
	mu     sync.Mutex
	b      *breaker.Breaker
	shared breaker.Shared
	lent   map[uint64]uint64 // lease: generation
	last   uint64
	most   int
	wrong  []string
}

func (l *lender) Failed(generation uint64, _ breaker.Failure, _ bool) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return generation == l.shared.Generation
}

func (l *lender) Lease(generation uint64) breaker.Lease {
	l.mu.Lock()
	defer l.mu.Unlock()
	if generation != l.shared.Generation || len(l.lent) >= l.most {
		return breaker.Lease{RetryIn: time.Millisecond}
	}
	l.last++
	l.lent[l.last] = generation
	return breaker.Lease{ID: l.last}
}

func (l *lender) Probed(generation, lease uint64, o breaker.Outcome, _ breaker.Failure) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if o != breaker.Neither && l.lent[lease] != generation && generation == l.shared.Generation {
		l.wrong = append(l.wrong, fmt.Sprintf("the probe %d ended with %d in generation %d, and was not lent in it", lease, o, generation))
	}
	delete(l.lent, lease)
	return true
}

// turn changes the circuit of all, and tells the breaker.
func (l *lender) turn(s breaker.Shared) {
	l.mu.Lock()
	s.Generation = l.shared.Generation + 1
	l.shared = s
	clear(l.lent)
	l.mu.Unlock()
	l.b.Follow(s)
}

// Whatever several goroutines do, nothing hangs, no lease is lost, and what was lent in one
// generation never counts in another.
func TestSharedCircuitUnderLoad(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		most := rapid.IntRange(1, 3).Draw(r, "probes")
		b, err := breaker.New("x", breaker.Config{HalfOpenProbes: most, FailureThreshold: 3, SuccessThreshold: 1, ProbeLease: time.Hour})
		if err != nil {
			r.Fatal(err)
		}
		l := &lender{b: b, lent: map[uint64]uint64{}, most: most}
		b.Share(l)
		l.turn(breaker.Shared{})
		callers := rapid.SliceOfN(rapid.SliceOfN(rapid.IntRange(0, 7), 1, 40), 1, 6).Draw(r, "callers")
		turns := rapid.SliceOfN(rapid.IntRange(0, 3), 1, 40).Draw(r, "turns")
		var group sync.WaitGroup
		for _, calls := range callers {
			group.Go(func() {
				for _, c := range calls {
					ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
					pass, err := breaker.Pass{}, error(nil)
					if c%2 == 0 {
						pass, err = b.Wait(ctx)
					} else if p, refusal := b.Enter(); refusal != nil {
						err = refusal
					} else {
						pass = p
					}
					cancel()
					if err != nil {
						continue
					}
					if c > 4 {
						pass = b.Accept(pass)
					}
					b.Leave(pass, breaker.Outcome(c%4), breaker.Failure{})
				}
			})
		}
		group.Go(func() {
			for _, to := range turns {
				l.turn([]breaker.Shared{{}, {State: open}, {State: open, RetryIn: 50 * time.Microsecond}, {State: open, Forced: true}}[to])
			}
		})
		group.Wait()
		l.turn(breaker.Shared{State: open})
		if len(l.wrong) > 0 {
			r.Fatal(l.wrong)
		}
		if len(l.lent) > 0 {
			r.Fatalf("lost leases: %v", l.lent)
		}
		for i := range most {
			if _, refusal := b.Enter(); refusal != nil {
				r.Fatalf("the probe %d was refused: %v", i, refusal)
			}
		}
	})
}
