package retry

import (
	"testing"
	"time"
)

// The bounds of a wait at the gate, each at its edge.
func TestWhatIsDecidedAtTheGate(t *testing.T) {
	p, err := New(Config{MaxRetryAfter: 10, MaxLimitTime: 20})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		told, place, limitTime, left time.Duration
		wait                         time.Duration
		stop                         Reason
	}{
		{10, 10, 0, 100, 10, Going},
		{11, 11, 0, 100, 11, WaitTooLong},
		{11, 30, 0, 5, 11, WaitTooLong},
		{5, 8, 0, 100, 8, Going},
		{5, 4, 0, 100, 5, Going},
		{5, 20, 0, 100, 20, Going},
		{5, 21, 0, 100, 5, Going},
		{5, 8, 12, 100, 8, Going},
		{5, 9, 12, 100, 5, Going},
		{5, 5, 15, 100, 5, Going},
		{5, 5, 16, 100, 5, LimitTimePassed},
		{5, 5, 0, 6, 5, Going},
		{5, 5, 0, 5, 5, OutOfTime},
		{5, 6, 0, 7, 6, Going},
		{5, 7, 0, 7, 5, Going},
	} {
		d := p.atGate(c.told, c.place, c.limitTime, c.left)
		if d.wait != c.wait || d.stop != c.stop || d.why != RateLimitWait || d.stop != WaitTooLong && d.limit != d.wait {
			t.Errorf("told %v, place %v, %v waited, %v left: %+v, want %v, %v", c.told, c.place, c.limitTime, c.left, d, c.wait, c.stop)
		}
	}
}
