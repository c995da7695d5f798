package pace

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// What counts as accepted, by the time of sending: requests of the span, at least
// 12, that were not refused, but for those younger than a refusal takes.
func TestWhatCountsAsAccepted(t *testing.T) {
	now := time.Now()
	for _, row := range []struct {
		name  string
		sent  string // a request each 100 ms, the last now: a(ccepted), r(efused), .: none
		delay time.Duration
		want  int
		rate  float64
	}{
		{"all accepted, one refused now", "aaaaaaaaaar", 0, 11, 10},
		{"half refused", "rararararar", 0, 11, 5},
		{"those too young to be refused say nothing", "aaaaaaaaaraaa", 300 * time.Millisecond, 10, 10},
		{"none accepted", "rrrrrrr", 0, 7, 0},
		{"the span, if there are twelve", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaar", 0, 25, 10},
		{"twelve, if they take longer", "a...a...a...a...a...a...a...a...a...a...a...a...a...a...r", 0, 12, 2.5},
	} {
		l := learner{delay: row.delay}
		for i, c := range row.sent {
			if c != '.' {
				l.recent = append(l.recent, &sent{at: now.Add(time.Duration(i-len(row.sent)+1) * 100 * time.Millisecond), seq: uint64(i + 1), refused: c == 'r'})
			}
		}
		got := l.counted(now, spanMost)
		if got.requests != row.want || math.Abs(got.rate-row.rate) > 0.5 {
			t.Errorf("%s: %+v, want %d, %v", row.name, got, row.want, row.rate)
		}
	}
}

func TestAnEpisodeCutsTheRate(t *testing.T) {
	for _, row := range []struct {
		rate float64
		c    count
		want float64
		shut bool
	}{
		{10, count{30, 9.5}, 9, false},
		{10, count{30, 6}, 6, false},
		{100, count{300, 99}, 95, false},
		{10, count{30, 0}, 5, true},
		{0.06, count{30, 0}, rateProbe, true},
		{4, count{3, 0.5}, 2, false}, // three are too few to know
		{0.02, count{12, 0.01}, rateFloor, false},
	} {
		l := learner{rate: row.rate}
		if l.cutTo(row.c); math.Abs(l.rate-row.want) > 1e-9 || l.shut != row.shut {
			t.Errorf("%v, %+v: %v, %v, want %v, %v", row.rate, row.c, l.rate, l.shut, row.want, row.shut)
		}
	}
}

// Requests that go at a low rate and are refused, each after an accepted one,
// teach the share that no rate helps against; after it is known, refusals in
// proportion to it are no episode, and many together are one.
func TestTheShareThatIsRefusedWhateverTheRate(t *testing.T) {
	now := time.Now()
	for _, row := range []struct {
		name    string
		rate    float64 // now; what was accepted at the last cut is 10 a second
		sent    string  // a request each second: a(ccepted), r(efused)
		least   float64 // of the share
		most    float64
		episode bool // among the last five
	}{
		{"none at all", 5, strings.Repeat("a", 50), 0, 0, false},
		{"one in five, at half the rate", 5, strings.Repeat("aaaar", 20), 0.15, 0.25, false},
		{"one in five, the first at once", 5, strings.Repeat("raaaa", 20), 0.15, 0.25, false},
		{"one in five, near the limit", 9, strings.Repeat("aaaar", 20), 0, 0, true},
		{"all together, at half the rate", 5, strings.Repeat("a", 50) + strings.Repeat("r", 50), 0, 0.06, true},
		{"one in five, then all", 5, strings.Repeat("aaaar", 20) + "rrrrr", 0.1, 0.25, true},
	} {
		l := learner{paced: true, at: now, peak: 10}
		episode := false
		for i, c := range row.sent {
			now = now.Add(time.Second)
			s := &sent{at: now, seq: uint64(i + 1), refused: c == 'r'}
			l.at, l.rate, l.peak = now, row.rate, 10
			l.sent(s)
			if s.refused && l.refused(now, s, s.seq) && i >= len(row.sent)-5 {
				episode = true
			}
		}
		if l.noise < row.least || l.noise > row.most || episode != row.episode {
			t.Errorf("%s: a share of %.3f, an episode at the end: %v", row.name, l.noise, episode)
		}
	}
}

// What names clients may come from outside: an empty queue holds nothing of it.
func TestAnEmptyQueueHoldsNoMemory(t *testing.T) {
	var q queue
	var all []*waiter
	for i := range 1000 {
		w := &waiter{cost: Cost{Client: fmt.Sprint("a name from outside ", i), Tokens: 3, Again: i%2 == 0}, deadline: time.Now(), bound: true}
		q.push(w)
		all = append(all, w)
		if w.cost.Client != "" {
			t.Fatal("a name is kept")
		}
	}
	for _, w := range all[:500] {
		q.remove(w)
	}
	for q.size > 0 {
		q.served(q.next())
	}
	if !reflect.DeepEqual(q, queue{}) {
		t.Errorf("%+v", q)
	}
}

// How an overload limits those in flight.
func TestHowAnOverloadLimits(t *testing.T) {
	now := time.Now()
	for _, c := range []struct {
		name     string
		before   overload
		s        *sent
		inFlight int
		limit    int
		fresh    bool
		floor    bool
	}{
		{"to a half", overload{}, &sent{seq: 5}, 8, 4, true, false},
		{"of an odd number", overload{}, &sent{seq: 5}, 9, 4, true, false},
		{"at least one", overload{}, &sent{seq: 5}, 1, 1, true, false},
		{"of a free time", overload{}, nil, 8, 4, true, false},
		{"one of the same burst, to the others", overload{limit: 4, cut: 5}, &sent{seq: 5}, 4, 3, false, false},
		{"where they are more, it stays", overload{limit: 4, cut: 5}, &sent{seq: 5}, 9, 4, false, false},
		{"one of a free time, late", overload{limit: 4, cut: 5}, nil, 3, 2, false, false},
		{"a new one", overload{limit: 4, cut: 5}, &sent{seq: 6}, 4, 2, true, false},
		{"of one alone", overload{limit: 1, cut: 5}, &sent{seq: 6}, 1, 1, true, true},
		{"of two", overload{limit: 2, cut: 5}, &sent{seq: 6}, 2, 1, true, false},
	} {
		o := c.before
		o.answers = 1
		fresh, floor := o.refused(now, c.s, c.inFlight, 40)
		want := overload{limit: c.limit, cut: c.before.cut, last: now}
		if c.fresh {
			want.cut = 40
		}
		if o != want || fresh != c.fresh || floor != c.floor {
			t.Errorf("%s: %+v, fresh %v, floor %v", c.name, o, fresh, floor)
		}
	}
	var o overload
	if o.accepted(); o != (overload{}) {
		t.Errorf("without a limit an answer made %+v", o)
	}
	o = overload{limit: 2, last: now}
	grown := ""
	for range 6 {
		o.accepted()
		grown += fmt.Sprint(o.limit, " ")
	}
	if grown != "2 3 3 3 4 4 " {
		t.Errorf("answers made it %s", grown)
	}
	if o.advance(now.Add(overloadFor - 1)); o.limit != 4 {
		t.Errorf("gone before %v", overloadFor)
	}
	if o.advance(now.Add(overloadFor)); o != (overload{}) {
		t.Errorf("after %v there is %+v", overloadFor, o)
	}
}

func TestSecondsAreRoundedUpAndBounded(t *testing.T) {
	const century = 100 * 365 * 24 * time.Hour
	for s, want := range map[float64]time.Duration{
		0: 0, -1: 0, 1e-10: 1, 1.5: 1500 * time.Millisecond, math.Inf(1): century, math.Inf(-1): 0, 1e300: century, century.Seconds(): century, century.Seconds() - 1: century - time.Second,
	} {
		if got := seconds(s); got != want {
			t.Errorf("%v seconds are %v, want %v", s, got, want)
		}
	}
	if got := seconds(math.NaN()); got != century {
		t.Errorf("no number of seconds is %v", got)
	}
}

// How a rate grows within a second, by its height, since when nobody was refused
// (calm) and since when it held nobody (held).
func TestHowARateGrows(t *testing.T) {
	const sec = time.Second
	doubled := math.Exp2(1 / doubleEvery)
	for _, c := range []struct {
		name       string
		l          learner
		calm, held time.Duration // ago
		want       float64
	}{
		{"a slow start doubles", learner{start: true, rate: 2}, 0, time.Hour, 4},
		{"one that is shut stays", learner{shut: true, rate: 2}, time.Hour, 0, 2},
		{"a part of itself", learner{rate: 5}, 0, 0, 5 * (1 + growPart)},
		{"up to ten", learner{rate: 10}, 0, 0, 10 * (1 + growPart)},
		{"above by a constant", learner{rate: 10.1}, 0, 0, 10.1 + growAdd},
		{"below one by less", learner{rate: 0.5}, 0, 0, 0.5 * (1 + growPart/2)},
		{"one that held nobody for a second", learner{rate: 5}, 0, sec, 5 * (1 + growPart)},
		{"for longer", learner{rate: 5}, 0, sec + 1, 5},
		{"for two requests of a low rate", learner{rate: 0.5}, 0, 4 * sec, 0.5 * (1 + growPart/2)},
		{"for longer than two", learner{rate: 0.5}, 0, 4*sec + 1, 0.5},
		{"after a calm it doubles", learner{rate: 100}, 8 * sec, 0, 100 * doubled},
		{"not before", learner{rate: 100}, 8*sec - 1, 0, 100 + growAdd},
		{"a calm of forty requests", learner{rate: 4}, 10 * sec, 0, 4 * doubled},
		{"and not less", learner{rate: 4}, 10*sec - 1, 0, 4 * (1 + growPart)},
		{"a minute and a half at most", learner{rate: 0.1}, 90 * sec, 0, 0.1 * doubled},
		{"and no less", learner{rate: 0.1}, 90*sec - 1, 0, 0.1 * (1 + growPart/10)},
		{"a toll makes it slower", learner{rate: 5, toll: sec}, 0, 0, 5 * (1 + growPart/3)},
		{"five times at most", learner{rate: 5, toll: time.Hour}, 0, 0, 5 * (1 + growPart/5)},
	} {
		c.l.at = time.Now()
		c.l.calm, c.l.held = c.l.at.Add(-c.calm), c.l.at.Add(-c.held)
		if got := c.l.grown(1); math.Abs(got-c.want) > 1e-9 {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

// Answers that say that nothing remains, each with the number of its request and of
// the last that was sent: how many of them count, one of a burst, and three in a row
// are not believed.
func TestStrikesOfABurstAreOne(t *testing.T) {
	now := time.Now()
	type answer struct {
		seq, last uint64
		remaining int64
	}
	for _, c := range []struct {
		name    string
		answers []answer
		strikes int
	}{
		{"one after the other", []answer{{1, 1, 0}, {2, 2, 0}}, 2},
		{"three", []answer{{1, 1, 0}, {2, 2, 0}, {3, 3, 0}}, 3},
		{"three of one burst", []answer{{1, 3, 0}, {2, 3, 0}, {3, 3, 0}}, 1},
		{"the first after a burst", []answer{{1, 3, 0}, {3, 3, 0}, {4, 4, 0}}, 2},
		{"something remains of a later one", []answer{{1, 3, 0}, {4, 4, 7}}, 0},
		{"of one of the burst", []answer{{1, 3, 0}, {2, 3, 7}}, 1},
		{"a late one of the burst begins again", []answer{{1, 3, 0}, {4, 4, 7}, {2, 4, 0}}, 1},
	} {
		var ws windows
		for _, a := range c.answers {
			ws.hear(now, []Window{{Limit: 9, Remaining: a.remaining, Reset: time.Second}}, &sent{seq: a.seq}, false, amount{}, a.last, false)
		}
		if ws.strikes != c.strikes || (len(ws.list) == 0) != (c.strikes >= windowStrikes) {
			t.Errorf("%s: %d strikes, want %d; %d windows", c.name, ws.strikes, c.strikes, len(ws.list))
		}
	}
}

// What a request takes of a window is never more than the window ever holds.
func TestWhatARequestTakesOfAWindow(t *testing.T) {
	for _, c := range []struct {
		w      window
		tokens int64
		want   int64
	}{
		{window{limit: 9}, 50, 1}, {window{tokens: true, limit: 10}, 50, 10}, {window{tokens: true, limit: 100}, 50, 50},
		{window{tokens: true}, 50, 50}, {window{tokens: true}, 0, 1}, {window{tokens: true, limit: 10}, 0, 1},
	} {
		if got := c.w.need(Cost{Tokens: c.tokens}); got != c.want {
			t.Errorf("%+v, %d tokens: %d, want %d", c.w, c.tokens, got, c.want)
		}
	}
}

// After a time in which nothing was accepted, the slow start begins when the first
// request since has not been refused for longer than a refusal takes.
func TestWhenARateOpensAgain(t *testing.T) {
	const delay = 300 * time.Millisecond
	now := time.Now()
	for _, c := range []struct {
		name string
		s    *sent
		want bool
	}{
		{"nothing was sent", nil, false},
		{"sent before the cut", &sent{seq: 7, at: now.Add(-time.Hour)}, false},
		{"refused", &sent{seq: 8, at: now.Add(-time.Hour), refused: true}, false},
		{"not long ago", &sent{seq: 8, at: now.Add(-2*delay - 100*time.Millisecond)}, false},
		{"long ago", &sent{seq: 8, at: now.Add(-2*delay - 101*time.Millisecond)}, true},
	} {
		l := learner{paced: true, shut: true, rate: 1, cut: 7, delay: delay}
		if c.s != nil {
			l.recent = append(l.recent, c.s)
		}
		if l.reopen(now); l.shut == c.want || l.start != c.want {
			t.Errorf("%s: shut %v, slow start %v", c.name, l.shut, l.start)
		}
	}
}

// A turn that is given back is no more than what may be saved up.
func TestATurnGivenBackIsNotSavedUp(t *testing.T) {
	one := &sent{seq: 1}
	for _, c := range []struct{ credit, want float64 }{{0, 1}, {0.5, 1.2}, {1.2, 1.2}} {
		l := learner{paced: true, rate: 10, credit: c.credit, recent: []*sent{one}}
		if l.back(one); math.Abs(l.credit-c.want) > 1e-9 || len(l.recent) != 0 {
			t.Errorf("from %v: %v, want %v", c.credit, l.credit, c.want)
		}
		if l.back(one); math.Abs(l.credit-c.want) > 1e-9 {
			t.Errorf("a second time: %v", l.credit)
		}
	}
}

func TestHowLongAPlaceIsWaitedFor(t *testing.T) {
	l := limiter{hold: 6 * time.Second}
	for _, c := range []struct {
		before, places int
		want           time.Duration
	}{{0, 1, 6 * time.Second}, {1, 1, 12 * time.Second}, {1, 4, 3 * time.Second}} {
		if got := l.holds(c.before, c.places); got != c.want {
			t.Errorf("%d before, %d places: %v, want %v", c.before, c.places, got, c.want)
		}
	}
}

// A window that begins again has its whole size, or is forgotten where nothing was
// used of it, or where its size is not known.
func TestAWindowThatBeginsAgain(t *testing.T) {
	now := time.Now()
	for _, c := range []struct {
		name string
		w    window
		left int64 // -1: it is forgotten
	}{
		{"used up", window{limit: 5, left: 0, used: 5}, 5},
		{"used by another process", window{limit: 5, left: 0, used: 0}, 5},
		{"used a little", window{limit: 5, left: 4, used: 1}, 5},
		{"not used", window{limit: 5, left: 5, used: 0}, -1},
		{"of unknown size", window{limit: 0, left: 0, used: 5}, -1},
	} {
		for late, forgotten := range map[time.Duration]bool{0: false, time.Minute - 1: false, time.Minute: true} {
			c.w.begins, c.w.period = now, time.Minute
			ws := windows{list: []window{c.w}}
			ws.advance(now.Add(late))
			left := int64(-1)
			if len(ws.list) > 0 {
				left = ws.list[0].left
			}
			if want := c.left; left != want && !forgotten || forgotten && left != -1 {
				t.Errorf("%s, %v late: %d left, want %d", c.name, late, left, want)
			}
		}
	}
}

// Where nothing is left, one request a minute tests the provider: the minute begins
// with the response that told so, and then with each test.
func TestWhenAWindowIsTested(t *testing.T) {
	now := time.Now()
	var ws windows
	ws.hear(now, []Window{{Limit: 9, Remaining: 1, Reset: time.Hour}}, nil, true, amount{}, 0, false)
	ws.take(now.Add(50*time.Second), Cost{})
	for at, open := range map[time.Duration]bool{50 * time.Second: false, time.Minute - 1: false, time.Minute: true} {
		if ws.open(now.Add(at), Cost{}) != open {
			t.Errorf("after %v: open %v, want %v", at, !open, open)
		}
	}
	ws.take(now.Add(time.Minute), Cost{})
	for at, open := range map[time.Duration]bool{time.Minute: false, 2*time.Minute - 1: false, 2 * time.Minute: true} {
		if ws.open(now.Add(at), Cost{}) != open {
			t.Errorf("after a test and %v: open %v, want %v", at, !open, open)
		}
	}
}

// The order in which requests wait is that in which they are served, and of each
// request it is known how many go before it, and with how many tokens.
func TestTheOrderOfTheQueueIsThatOfItsTurns(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		var q queue
		all := map[*waiter]bool{}
		for range rapid.IntRange(1, 12).Draw(r, "waiters") {
			w := &waiter{cost: Cost{
				Client: rapid.SampledFrom([]string{"a", "b", "c"}).Draw(r, "client"),
				Again:  rapid.Bool().Draw(r, "again"),
				Tokens: rapid.Int64Range(0, 9).Draw(r, "tokens"),
			}}
			q.push(w)
			all[w] = true
		}
		ahead := map[*waiter]amount{}
		for w := range all {
			ahead[w] = amount{}
			n, tokens := q.before(w)
			ahead[w] = amount{int64(n), tokens}
		}
		order := slices.Collect(q.order())
		var gone amount
		for i := range order {
			w := q.next()
			if w != order[i] {
				r.Fatalf("turn %d is not that of the order", i)
			}
			if ahead[w] != gone {
				r.Fatalf("before turn %d of %d: %+v, want %+v", i, len(order), ahead[w], gone)
			}
			gone.requests++
			gone.tokens += w.cost.Tokens
			q.served(w)
		}
		if len(order) != len(all) || q.size != 0 {
			r.Fatalf("%d of %d in the order, %d left", len(order), len(all), q.size)
		}
	})
}

// A wave is the refusals until an answer comes, or 10 s have passed.
func TestAWaveOfRefusals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p Pacer
		refused := func() uint64 {
			p.Refused(Turn{}, &Told{Overload: true})
			return p.Wave()
		}
		if n := p.Wave(); n != 0 {
			t.Errorf("before any: %d", n)
		}
		if n := refused(); n != 1 {
			t.Errorf("the first: %d", n)
		}
		time.Sleep(progressFor - 1)
		if turn, err := p.Wait(t.Context(), Cost{}); err != nil {
			t.Fatal(err)
		} else if p.Refused(turn, &Told{Overload: true}); p.Wave() != 1 {
			t.Errorf("within its time: %d", p.Wave())
		}
		time.Sleep(time.Nanosecond)
		if turn, err := p.Wait(t.Context(), Cost{}); err != nil {
			t.Fatal(err)
		} else if p.Refused(turn, &Told{Overload: true}); p.Wave() != 2 {
			t.Errorf("after its time: %d", p.Wave())
		}
		if turn, err := p.Wait(t.Context(), Cost{}); err != nil {
			t.Fatal(err)
		} else {
			p.Answered(turn, nil)
		}
		if turn, err := p.Wait(t.Context(), Cost{}); err != nil {
			t.Fatal(err)
		} else if p.Refused(turn, &Told{Overload: true}); p.Wave() != 3 {
			t.Errorf("after an answer: %d", p.Wave())
		}
	})
}
