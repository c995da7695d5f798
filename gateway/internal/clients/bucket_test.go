package clients

import (
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// Each line is a request at a time; what it takes fits then, or it has to wait.
func TestABucketAsATrace(t *testing.T) {
	type line struct {
		at   time.Duration
		n    float64
		wait time.Duration // 0: it fits, and is taken
		left float64       // afterwards
	}
	const ms = time.Millisecond
	for _, c := range []struct {
		name      string
		perMinute float64
		trace     []line
	}{
		{"60 a minute", 60, []line{
			{0, 58, 0, 2}, {0, 1, 0, 1}, {0, 1, 0, 0}, {0, 1, 1000 * ms, 0}, {400 * ms, 1, 600 * ms, 0.4},
			{999 * ms, 1, ms, 0.999}, {1000 * ms, 1, 0, 0}, {time.Hour, 60, 0, 0}, {time.Hour, 60, time.Minute, 0},
		}},
		{"one in two minutes", 0.5, []line{{0, 1, 0, 0}, {time.Minute, 1, time.Minute, 0.5}, {2 * time.Minute, 1, 0, 0}}},
		{"more than a minute's worth waits for a full bucket, and takes all that it holds", 100, []line{
			{0, 40, 0, 60}, {0, 250, 24 * time.Second, 60}, {24 * time.Second, 250, 0, 0}, {24 * time.Second, 1, 600 * ms, 0},
		}},
		{"time that goes backwards", 60, []line{{time.Second, 60, 0, 0}, {0, 1, time.Second, 0}, {2 * time.Second, 1, 0, 0}}},
		{"a limit like none", 1e-300, []line{{0, 1, 0, 0}, {time.Hour, 1, math.MaxInt64, 0}}},
	} {
		begin := time.Now()
		b := newBucket(c.perMinute)
		for i, l := range c.trace {
			now := begin.Add(l.at)
			wait := b.wait(l.n, now)
			if wait == 0 {
				b.take(b.fits(l.n), now)
			}
			if left := b.left(now); (wait-l.wait).Abs() > time.Microsecond || math.Abs(left-l.left) > 1e-6 {
				t.Errorf("%s: line %d: wait %v, left %v, want %v, %v", c.name, i, wait, left, l.wait, l.left)
			}
		}
	}
}

// What rate.Limiter does not document: it gives back, never above what the bucket holds,
// and it may owe any number, in one step.
func TestABucketGivesBackAndOwes(t *testing.T) {
	now := time.Now()
	b := newBucket(60)
	for i, step := range []struct{ take, left float64 }{
		{20, 40}, {-15, 55}, {-1000, 60}, {60, 0}, {500, -500}, {-100, -400}, {-450, 50}, {-math.MaxInt64, 60},
	} {
		b.take(step.take, now)
		if left := b.left(now); math.Abs(left-step.left) > 1e-6 {
			t.Fatalf("step %d: left %v, want %v", i, left, step.left)
		}
	}
	b.take(120, now)
	if wait := b.wait(1, now); (wait - 61*time.Second).Abs() > time.Microsecond {
		t.Errorf("wait %v after a minute's worth that is owed", wait)
	}
	b.take(1e18, now)
	if left := b.left(now); left > -math.MaxInt32 {
		t.Errorf("left %v", left)
	}
}

// What was used stays used under another limit.
func TestABucketOfAnotherLimit(t *testing.T) {
	now := time.Now()
	for _, c := range []struct {
		from, used, to, left float64
	}{
		{60, 0, 600, 600}, {60, 10, 600, 590}, {60, 10, 20, 10}, {60, 50, 20, 0}, {60, 100, 20, -40}, {60, 100, 600, 500}, {60, 5, 60, 55},
	} {
		b := newBucket(c.from)
		b.take(c.used, now)
		if left := b.changed(c.to, now).left(now); math.Abs(left-c.left) > 1e-6 {
			t.Errorf("%v used of %v: %v are left of %v, want %v", c.used, c.from, left, c.to, c.left)
		}
	}
	b := newBucket(60)
	b.take(10, now)
	if b.changed(0, now) != nil {
		t.Error("there is a bucket without a limit")
	}
	if left := (*bucket)(nil).changed(60, now).left(now); left != 60 {
		t.Errorf("left %v of a new limit", left)
	}
}

// Whoever comes back exactly when told to is served.
func TestComingBackInTime(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		perMinute := rapid.Float64Range(1e-3, maxNumber).Draw(t, "a minute")
		b, now := newBucket(perMinute), time.Now()
		b.take(rapid.Float64Range(0, 2*perMinute+1).Draw(t, "used"), now)
		for range 5 {
			now = now.Add(time.Duration(rapid.Int64Range(0, 1e9).Draw(t, "later")))
			n := rapid.Float64Range(1, b.holds()).Draw(t, "wanted")
			now = now.Add(b.wait(n, now))
			if again := b.wait(n, now); again != 0 {
				t.Fatalf("then %v more: %v are left of %v", again, b.left(now), n)
			}
			b.take(n, now)
		}
	})
}
