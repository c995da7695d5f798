package pace

import (
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"
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
