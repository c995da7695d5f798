package limiter

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var epoch = time.Date(2026, 11, 25, 12, 0, 30, 0, time.UTC)

// TestAMeterAsATrace: each line is a request at a time; it is taken if it fits.
func TestAMeterAsATrace(t *testing.T) {
	type line struct {
		at        time.Duration
		n         int64
		wait      time.Duration // 0: it fits
		remaining int64         // afterwards
		reset     time.Duration
	}
	const ms = time.Millisecond
	for _, c := range []struct {
		name  string
		meter meter
		trace []line
	}{
		{"a bucket of 3 at 60 a minute", newBucket(60, 3), []line{
			{0, 1, 0, 2, 1000 * ms},
			{0, 1, 0, 1, 2000 * ms},
			{0, 1, 0, 0, 3000 * ms},
			{0, 1, 1000 * ms, 0, 3000 * ms},
			{400 * ms, 1, 600 * ms, 0, 2600 * ms},
			{999 * ms, 1, 1 * ms, 0, 2001 * ms},
			{1000 * ms, 1, 0, 0, 3000 * ms},
			{time.Hour, 3, 0, 0, 3000 * ms},
			{time.Hour, 3, 3000 * ms, 0, 3000 * ms},
		}},
		{"a bucket of 100 tokens at 100 a minute", newBucket(100, 100), []line{
			{0, 60, 0, 40, 36 * time.Second},
			{0, 60, 12 * time.Second, 40, 36 * time.Second},
			{11999 * ms, 60, 1 * ms, 59, 24001 * ms},
			{12 * time.Second, 60, 0, 0, time.Minute},
		}},
		{"an odd rate: waits are rounded up", newBucket(7, 1), []line{
			{0, 1, 0, 0, 8571429 * time.Microsecond},
			{8571428 * time.Microsecond, 1, time.Microsecond, 0, time.Microsecond},
			{8571429 * time.Microsecond, 1, 0, 0, 8571429 * time.Microsecond},
		}},
		{"time that goes backwards", newBucket(60, 1), []line{
			{time.Second, 1, 0, 0, time.Second},
			{0, 1, time.Second, 0, time.Second},
			{2 * time.Second, 1, 0, 0, time.Second},
		}},
		{"windows of a minute, from the first request", &minutes{limit: 2}, []line{
			{10 * time.Second, 1, 0, 1, time.Minute},
			{11 * time.Second, 1, 0, 0, 59 * time.Second},
			{12 * time.Second, 1, 58 * time.Second, 0, 58 * time.Second},
			{69999 * ms, 1, 1 * ms, 0, 1 * ms},
			{70 * time.Second, 1, 0, 1, time.Minute},
			{9 * time.Second, 1, 0, 0, time.Minute}, // backwards
			{5 * time.Minute, 2, 0, 0, time.Minute}, // and not at a multiple of the first
			{5*time.Minute + time.Second, 2, 59 * time.Second, 0, 59 * time.Second},
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			for i, l := range c.trace {
				now := epoch.Add(l.at)
				wait := c.meter.wait(now, l.n)
				if wait == 0 {
					c.meter.take(now, l.n)
				}
				if r := c.meter.room(now); wait != l.wait || r.Remaining != l.remaining || r.Reset != l.reset {
					t.Errorf("line %d, at %v: wait %v, then %d left, reset %v; want %+v", i, l.at, wait, r.Remaining, r.Reset, l)
				}
			}
		})
	}
}

func TestADebtIsPaidByWaiting(t *testing.T) {
	b, m := newBucket(60, 60), &minutes{limit: 60}
	for _, m := range []meter{b, m} {
		m.take(epoch, 90)
		if r := m.room(epoch); r.Remaining != 0 {
			t.Errorf("%d left", r.Remaining)
		}
	}
	if wait := b.wait(epoch, 1); wait != 31*time.Second {
		t.Errorf("the bucket: wait %v", wait)
	}
	if wait := m.wait(epoch, 1); wait != time.Minute {
		t.Errorf("the window: wait %v", wait)
	}
}

func TestTheLargestLimitsDoNotOverflow(t *testing.T) {
	for _, m := range []meter{newBucket(Max, Max), newBucket(1, Max), &minutes{limit: Max}} {
		for i := range 4 {
			m.take(epoch, math.MaxInt64/4)
			now := epoch.Add(time.Duration(i) * time.Second)
			if r, wait := m.room(now), m.wait(now, Max); r.Remaining != 0 || r.Reset <= 0 || wait <= 0 {
				t.Errorf("%T: %+v, wait %v", m, r, wait)
			}
		}
		// As long as a Duration can be: 292 years.
		if now := epoch.Add(math.MaxInt64); m.wait(now, 1) < 0 || m.room(now).Remaining < 0 {
			t.Errorf("%T: %+v", m, m.room(now))
		}
	}
}

// passage is a request that a model has let through.
type passage struct {
	at time.Duration
	n  int64
}

// fits is the law of a token bucket, from its definition alone: in no interval
// that ends now have more been let through than the bucket holds and what has
// come since its begin.
func fits(log []passage, at time.Duration, n, perMinute, size int64) bool {
	if n > size {
		return false
	}
	sum := n
	for i := len(log) - 1; i >= 0; i-- {
		sum += log[i].n
		if sum*int64(time.Minute) > size*int64(time.Minute)+perMinute*int64(at-log[i].at) {
			return false
		}
	}
	return true
}

func TestABucketLetsThroughWhatAListOfTimestampsWould(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		perMinute, size := rapid.Int64Range(1, 6000).Draw(t, "per minute"), rapid.Int64Range(1, 20).Draw(t, "size")
		b := newBucket(perMinute, size)
		var log []passage
		at := time.Duration(0)
		for range rapid.IntRange(1, 60).Draw(t, "requests") {
			at += time.Duration(rapid.Int64Range(0, 3*60e6/perMinute).Draw(t, "pause")) * time.Microsecond
			n := rapid.Int64Range(1, size).Draw(t, "n")
			now := epoch.Add(at)
			wait := b.wait(now, n)
			if want := fits(log, at, n, perMinute, size); (wait == 0) != want {
				t.Fatalf("at %v, %d of %d at %d a minute: wait %v, the list lets it through: %v\n%v", at, n, size, perMinute, wait, want, log)
			}
			if wait == 0 {
				b.take(now, n)
				log = append(log, passage{at, n})
				continue
			}
			// The wait is exact.
			if fits(log, at+wait-time.Microsecond, n, perMinute, size) || !fits(log, at+wait, n, perMinute, size) {
				t.Fatalf("at %v, %d: the wait of %v is not the shortest\n%v", at, n, wait, log)
			}
		}
	})
}

// Between two microseconds it may be early or late by less than one.
func TestABucketIsEarlyOrLateByLessThanAMicrosecond(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		perMinute, size := rapid.Int64Range(1, 60_000_000).Draw(t, "per minute"), rapid.Int64Range(1, 20).Draw(t, "size")
		b := newBucket(perMinute, size)
		var log []passage
		at := time.Duration(0)
		for range rapid.IntRange(1, 60).Draw(t, "requests") {
			at += time.Duration(rapid.Int64Range(0, 3*60e9/perMinute).Draw(t, "pause"))
			now := epoch.Add(at)
			switch wait := b.wait(now, 1); {
			case wait == 0 && !fits(log, at+time.Microsecond, 1, perMinute, size):
				t.Fatalf("early at %v: %v", at, log)
			case wait > 0 && fits(log, at-time.Microsecond, 1, perMinute, size):
				t.Fatalf("late at %v: %v", at, log)
			case wait == 0:
				b.take(now, 1)
				log = append(log, passage{at, 1})
			}
		}
	})
}

func TestAWindowLetsThroughItsLimitAndNoMore(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limit := rapid.Int64Range(1, 20).Draw(t, "limit")
		m := &minutes{limit: limit}
		var window []passage // that is open
		at := time.Duration(0)
		for range rapid.IntRange(1, 60).Draw(t, "requests") {
			at += time.Duration(rapid.Int64Range(0, int64(20*time.Second)).Draw(t, "pause"))
			n, now := rapid.Int64Range(1, limit).Draw(t, "n"), epoch.Add(at)
			if len(window) > 0 && at-window[0].at >= time.Minute {
				window = nil
			}
			sum := n
			for _, w := range window {
				sum += w.n
			}
			wait := m.wait(now, n)
			if (wait == 0) != (sum <= limit) {
				t.Fatalf("at %v: wait %v, with %d of %d", at, wait, sum, limit)
			}
			if wait == 0 {
				m.take(now, n)
				window = append(window, passage{at, n})
			} else if at+wait != window[0].at+time.Minute {
				t.Fatalf("at %v: wait %v, and the window began at %v", at, wait, window[0].at)
			}
		}
	})
}

func TestOfManyKeysTheUseOfTheLastIsRemembered(t *testing.T) {
	l := New(Limits{RequestsPerMinute: 1})
	admit := func(key int) *Excess {
		_, over := l.Admit(l.Owner(fmt.Sprint("key-", key), "m"), 0, epoch)
		return over
	}
	for i := range maxAccounts + 10 {
		if over := admit(i); over != nil {
			t.Fatalf("key %d is refused: %+v", i, over)
		}
	}
	if len(l.accounts) != maxAccounts || l.recent.Len() != maxAccounts {
		t.Errorf("%d accounts, %d in the list", len(l.accounts), l.recent.Len())
	}
	if admit(maxAccounts) == nil {
		t.Error("the use of a late key was forgotten")
	}
	if admit(0) != nil {
		t.Error("the first key was remembered")
	}
	if l.Owner("ab", "c") == l.Owner("a", "bc") || l.Owner("a", "m") == l.Owner("a", "n") {
		t.Error("two owners are one")
	}
	if shown := fmt.Sprintf("%+v", l); strings.Contains(shown, "key-") {
		t.Error("a key is kept")
	}
}
