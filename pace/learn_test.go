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
