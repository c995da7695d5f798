package pace

import (
	"fmt"
	"math"
	"reflect"
	"testing"
	"time"
)

// What counts as accepted, by the time of sending: requests of the last 3 s, at
// least 6, that were not refused, but for those younger than a refusal takes.
func TestWhatCountsAsAccepted(t *testing.T) {
	now := time.Now()
	for _, row := range []struct {
		name    string
		sent    string // a request each 100 ms, the last now: a(ccepted), r(efused), .: none
		delay   time.Duration
		cut     uint64
		want    int
		rate    float64
		isSince bool
	}{
		{"all accepted, one refused now", "aaaaaaaaaar", 0, 0, 11, 10, true},
		{"half refused", "rararararar", 0, 0, 11, 5, true},
		{"those too young to be refused say nothing", "aaaaaaaaaraaa", 300 * time.Millisecond, 0, 10, 10, true},
		{"none accepted", "rrrrrrr", 0, 0, 7, 0, false},
		{"none since the cut", "aaaaaarrr", 0, 6, 9, 7.5, false},
		{"one alone since the cut", "aaaaaaaar", 0, 8, 9, 10, true},
		{"one since the cut", "aaaaaarar", 0, 6, 9, 8.75, true},
		{"3 s, if there are six", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaar", 0, 0, 31, 10, true},
		{"six, if they take longer", "a.........a.........a.........a.........a.........a.........a.........r", 0, 0, 6, 1, true},
	} {
		l := learner{delay: row.delay, cut: row.cut}
		for i, c := range row.sent {
			if c != '.' {
				l.recent = append(l.recent, &sent{at: now.Add(time.Duration(i-len(row.sent)+1) * 100 * time.Millisecond), seq: uint64(i + 1), refused: c == 'r'})
			}
		}
		got := l.counted(now, spanMost)
		if got.requests != row.want || math.Abs(got.rate-row.rate) > 0.5 || got.since != row.isSince {
			t.Errorf("%s: %+v, want %d, %v, %v", row.name, got, row.want, row.rate, row.isSince)
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
		{10, count{30, 9.5, true}, 9, false},
		{10, count{30, 6, true}, 6, false},
		{100, count{300, 99, true}, 95, false},
		{10, count{30, 9, false}, 5, false},
		{10, count{30, 0, false}, 5, true},
		{0.06, count{30, 0, false}, rateProbe, true},
		{4, count{3, 0.5, true}, 2, false}, // three are too few to know
		{0.02, count{6, 0.01, true}, rateFloor, false},
		{4, count{6, 0.5, true}, 0.5, false}, // six are enough
		{cutAbove, count{60, 14.9, true}, 13.5, false},
		{cutAbove + 1, count{60, 15.9, true}, 15.2, false},
	} {
		l := learner{rate: row.rate}
		if l.cutTo(row.c); math.Abs(l.rate-row.want) > 1e-9 || l.shut != row.shut {
			t.Errorf("%v, %+v: %v, %v, want %v, %v", row.rate, row.c, l.rate, l.shut, row.want, row.shut)
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

// A rate of which nothing was accepted opens again when its look has not been
// refused for longer than a refusal takes: twice that, and 100 ms.
func TestAShutRateOpensAgain(t *testing.T) {
	const late = 2100*time.Millisecond + 1 // a refusal takes a second
	for name, c := range map[string]struct {
		shut    bool
		sent    []sent
		age     time.Duration
		refused bool
		opens   bool
	}{
		"the look is old enough":        {true, []sent{{seq: 6}}, late, false, true},
		"not yet":                       {true, []sent{{seq: 6}}, late - 1, false, false},
		"it was refused":                {true, []sent{{seq: 6, refused: true}}, late, false, false},
		"it was sent before":            {true, []sent{{seq: 5}}, late, false, false},
		"there was none":                {true, nil, late, false, false},
		"the last of two is what looks": {true, []sent{{seq: 6}, {seq: 7, refused: true}}, late, false, false},
		"it is not shut":                {false, []sent{{seq: 6}}, late, false, false},
	} {
		now := time.Now()
		l := learner{paced: true, shut: c.shut, cut: 5, delay: time.Second}
		for _, s := range c.sent {
			s.at = now.Add(-c.age)
			l.recent = append(l.recent, &s)
		}
		if l.reopen(now); l.start != c.opens || l.shut != (c.shut && !c.opens) {
			t.Errorf("%s: start %v, shut %v", name, l.start, l.shut)
		}
	}
}

// How a rate grows within a second, by its height, since when nobody was refused
// (calm), since when it held nobody (held), and by what refusals told all to wait.
func TestHowARateGrows(t *testing.T) {
	double := func(rate, seconds float64) float64 { return rate * math.Exp2(1/seconds) }
	const sec = time.Second
	for _, c := range []struct {
		name  string
		l     learner
		calm  time.Duration
		held  time.Duration
		wants float64
	}{
		{"a slow start doubles", learner{start: true, rate: 2}, 0, time.Hour, 4},
		{"one that is shut stays", learner{shut: true, rate: 2}, time.Hour, 0, 2},
		{"a part of itself", learner{rate: 5}, 0, 0, 5.025},
		{"up to ten", learner{rate: 10}, 0, 0, 10.05},
		{"above by a constant", learner{rate: 10.1}, 0, 0, 10.35},
		{"below one by less", learner{rate: 0.5}, 0, 0, 0.50125},
		{"one that held nobody for a second", learner{rate: 5}, 0, sec, 5.025},
		{"for longer", learner{rate: 5}, 0, sec + 1, 5},
		{"for two requests of a low rate", learner{rate: 0.5}, 0, 4 * sec, 0.50125},
		{"for longer than two", learner{rate: 0.5}, 0, 4*sec + 1, 0.5},
		{"after a calm it doubles in five seconds", learner{rate: 10}, 8 * sec, 0, double(10, 5)},
		{"not before", learner{rate: 10}, 8*sec - 1, 0, 10.05},
		{"a calm of fifty requests", learner{rate: 5}, 10 * sec, 0, double(5, 5)},
		{"and not less", learner{rate: 5}, 10*sec - 1, 0, 5.025},
		{"in twenty requests", learner{rate: 1}, 50 * sec, 0, double(1, 20)},
		{"a calm of two minutes at most, in one", learner{rate: 0.1}, 120 * sec, 0, double(0.1, 60)},
		{"a toll makes it slower", learner{rate: 5, toll: sec}, 0, 0, 5 * (1 + 0.005/3)},
		{"five times at most", learner{rate: 5, toll: time.Hour}, 0, 0, 5.005},
		{"and its calm longer", learner{rate: 10, toll: sec}, 24 * sec, 0, double(10, 15)},
		{"by as much", learner{rate: 10, toll: sec}, 24*sec - 1, 0, 10 * (1 + 0.005/3)},
	} {
		c.l.at = time.Now()
		c.l.calm, c.l.held = c.l.at.Add(-c.calm), c.l.at.Add(-c.held)
		if got := c.l.grown(1); math.Abs(got-c.wants) > 1e-9 {
			t.Errorf("%s: %v, want %v", c.name, got, c.wants)
		}
	}
}

// A rate is gone when nobody had to wait for a minute, or when it holds nobody.
func TestWhenARateIsGone(t *testing.T) {
	now := time.Now()
	for _, c := range []struct {
		name  string
		rate  float64
		asked time.Duration // ago
		calm  time.Duration
		gone  bool
	}{
		{"not asked for a minute", 1, time.Minute, time.Minute, true},
		{"not yet", 1, time.Minute - 1, time.Hour, false},
		{"refused since", 1, time.Hour, time.Minute - 1, false},
		{"two thousand a second", 2000, 0, 0, true},
		{"less", 1999, 0, 0, false},
	} {
		l := learner{paced: true, shut: true, rate: c.rate, at: now.Add(-1), asked: now.Add(-c.asked), calm: now.Add(-c.calm)}
		l.recent = []*sent{{refused: true, at: now}}
		if l.advance(now); l.paced == c.gone {
			t.Errorf("%s: paced %v", c.name, l.paced)
		}
		if c.gone && !reflect.DeepEqual(l, learner{}) {
			t.Errorf("%s: %+v is left", c.name, l)
		}
	}
}

// The credit of a rate is one request, and as much as timers are late.
func TestCreditIsNotSavedUp(t *testing.T) {
	now := time.Now()
	l := learner{paced: true, shut: true, rate: 10, at: now.Add(-time.Second), asked: now, calm: now, recent: []*sent{{refused: true, at: now}}}
	if l.advance(now); math.Abs(l.credit-1.2) > 1e-9 {
		t.Errorf("credit %v after a second of ten", l.credit)
	}
	s := &sent{}
	l.sent(s)
	if math.Abs(l.credit-0.2) > 1e-9 || len(l.recent) != 2 {
		t.Errorf("credit %v after one, %d recent", l.credit, len(l.recent))
	}
	l.back(&sent{}) // of another
	if math.Abs(l.credit-0.2) > 1e-9 || len(l.recent) != 2 {
		t.Errorf("credit %v, %d recent", l.credit, len(l.recent))
	}
	l.back(s)
	if math.Abs(l.credit-1.2) > 1e-9 || len(l.recent) != 1 {
		t.Errorf("credit %v after it went back, %d recent", l.credit, len(l.recent))
	}
	if got := l.wait(3, 2); got != 140*time.Millisecond {
		t.Errorf("the fourth at twice the rate waits %v", got)
	}
	for range 2 * recentsMost {
		l.sent(&sent{})
	}
	if len(l.recent) > recentsMost || len(l.recent) < recentsMost/2 || l.credit != 0 {
		t.Errorf("%d recent, credit %v", len(l.recent), l.credit)
	}
}

// What a refusal does to a rate of 100 a second: of the last requests, twelve
// accepted 0.1 to 2.9 s ago, those of the time since the slow start count, at
// least those of a second; of three, or 2.4 s at its end, where a told time has
// left a hole.
func TestWhatARefusalDoesToTheRate(t *testing.T) {
	ages := []float64{2.9, 2.5, 2.2, 1.6, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1}
	for _, c := range []struct {
		name  string
		start bool
		ended time.Duration // the slow start, ago
		toll  time.Duration
		rate  float64
	}{
		{"long after", false, time.Hour, 0, 12 / 2.9},
		{"at the end of the slow start", true, time.Hour, 0, 8 / 0.8},
		{"soon after", false, 2300 * time.Millisecond, 0, 10 / 2.2},
		{"at once after", false, 500 * time.Millisecond, 0, 8 / 0.8},
		{"after a told time", false, 500 * time.Millisecond, time.Second, 12 / 2.9},
		{"at the end, after a told time", true, time.Hour, time.Second, 10 / 2.2},
	} {
		now := time.Now()
		l := learner{paced: true, start: c.start, rate: 100, credit: 1, at: now, cut: 5, end: now.Add(-c.ended), toll: c.toll}
		for i, age := range ages {
			l.recent = append(l.recent, &sent{seq: uint64(6 + i), at: now.Add(-time.Duration(age * 1e9))})
		}
		if l.refused(now, nil, 40) || l.refused(now, &sent{seq: 5, at: now}, 40) || l.rate != 100 || l.cut != 5 || !l.calm.Equal(now) {
			t.Errorf("%s: a refusal of an earlier request is news: %+v", c.name, l)
		}
		if !l.refused(now, &sent{seq: 30, at: now}, 40) || math.Abs(l.rate-c.rate) > 1e-6 {
			t.Errorf("%s: a rate of %v, want %v", c.name, l.rate, c.rate)
		}
		if l.start || l.cut != 40 || l.credit != 0 || l.toll != 0 || l.delay != 0 || c.start != l.end.Equal(now) {
			t.Errorf("%s: %+v", c.name, l)
		}
	}
	now := time.Now()
	l := learner{paced: true, rate: 100, at: now, end: now.Add(-time.Hour)}
	if l.refused(now, &sent{seq: 1, at: now.Add(-time.Second)}, 1); l.delay != time.Second {
		t.Errorf("a refusal that took a second: %v", l.delay)
	}
	l = learner{}
	l.sent(&sent{})
	if !reflect.DeepEqual(l, learner{}) {
		t.Errorf("a free endpoint keeps %+v", l)
	}
	if !l.refused(now, nil, 7) || !l.paced || !l.start || l.rate != rateStart || l.cut != 7 {
		t.Errorf("the first refusal: %+v", l)
	}
}

// Who waits shows that a rate holds, unless it waits for something else.
func TestWhoIsHeldByTheRate(t *testing.T) {
	now := time.Now()
	for credit, held := range map[float64]bool{0: true, 0.9: true, 1 - tiny/2: false, 1: false} {
		l := learner{paced: true, rate: 1, credit: credit}
		if l.hold(now); l.held.Equal(now) != held || !l.asked.Equal(now) {
			t.Errorf("credit %v: %+v", credit, l)
		}
	}
}

// A told time stops the rate until its first turn, which is there at once; an answer
// meanwhile ends it.
func TestAToldTimeStopsTheRate(t *testing.T) {
	now := time.Now()
	for _, c := range []struct {
		name  string
		l     learner
		until time.Duration
		want  learner
	}{
		{"a rate", learner{paced: true, rate: 1, at: now, calm: now}, 10 * time.Second, learner{paced: true, rate: 1, at: now.Add(10 * time.Second), calm: now.Add(10 * time.Second), credit: 1, toll: time.Second}},
		{"no rate", learner{}, 10 * time.Second, learner{}},
		{"not later than it is", learner{paced: true, at: now.Add(10 * time.Second)}, 10 * time.Second, learner{paced: true, at: now.Add(10 * time.Second)}},
		{"the longest toll stays", learner{paced: true, at: now, calm: now.Add(time.Minute), toll: time.Hour}, time.Second, learner{paced: true, at: now.Add(time.Second), calm: now.Add(time.Minute), credit: 1, toll: time.Hour}},
	} {
		if c.l.pause(now.Add(c.until), time.Second); !reflect.DeepEqual(c.l, c.want) {
			t.Errorf("%s: %+v, want %+v", c.name, c.l, c.want)
		}
		c.l.resume(now)
		if c.want.at.After(now) {
			c.want.at, c.want.calm = now, now
		}
		if !reflect.DeepEqual(c.l, c.want) {
			t.Errorf("%s, resumed: %+v, want %+v", c.name, c.l, c.want)
		}
	}
}

// Two that were refused since the last cut, and none accepted, say that the rate is
// far too high; one may have lost its turn to a told time.
func TestTwoRefusedSinceTheCut(t *testing.T) {
	for _, c := range []struct {
		seqs  []uint64 // of those that were refused since cut 5
		since bool
	}{{nil, true}, {[]uint64{6}, true}, {[]uint64{6, 7}, false}, {[]uint64{5, 6}, true}} {
		now := time.Now()
		l := learner{cut: 5, recent: []*sent{{seq: 4, at: now.Add(-time.Second)}}}
		for _, seq := range c.seqs {
			l.recent = append(l.recent, &sent{seq: seq, refused: true, at: now})
		}
		if got := l.counted(now, spanMost); got.since != c.since || got.requests != 1+len(c.seqs) {
			t.Errorf("%v: %+v", c.seqs, got)
		}
	}
}
