package pace

import (
	"slices"
	"time"
)

// Told is what a provider said of its limits with one response, whether that was
// an answer or a refusal. The zero value says nothing.
type Told struct {
	// At is when the response came, which Wait and each Reset count from. The zero
	// value is the moment at which the Pacer is told.
	At time.Time
	// Wait is how long the provider asked everybody to stay away, counted from
	// the response (Retry-After in any of its forms). It means something only if
	// HasWait; a provider may ask for a wait of 0.
	Wait    time.Duration
	HasWait bool
	// Windows are the limits that the response's headers describe
	// (x-ratelimit-*, anthropic-ratelimit-*, RateLimit), of requests and of
	// tokens. What binds first counts. nil: none was described.
	Windows []Window
	// Overload says that the provider is short of capacity (529, queue full)
	// rather than that we asked too often: what helps is fewer requests at a
	// time, not fewer a second.
	Overload bool
}

// Window is one limit as a provider describes it at the moment of a response.
type Window struct {
	// Tokens says that the window counts tokens; else it counts requests.
	Tokens bool
	// Limit is how much the whole window or the full bucket holds. 0: not said.
	Limit int64
	// Remaining is how much of it was left when the response was made.
	Remaining int64
	// Reset is how long it is from the response until the window begins again or
	// the bucket is full. 0: now, or not said.
	Reset time.Duration
}

// silent says that nothing was told that keeps anybody away.
func (t *Told) silent() bool {
	return t == nil || (!t.HasWait || t.Wait <= 0) && len(t.Windows) == 0
}

// asOf returns t with its times as of now.
func (t *Told) asOf(now time.Time) *Told {
	passed := now.Sub(t.At)
	if t.At.IsZero() || passed <= 0 {
		return t
	}
	aged := *t
	aged.At = now
	aged.Wait = max(0, t.Wait-passed)
	aged.Windows = slices.Clone(t.Windows)
	for i := range aged.Windows {
		aged.Windows[i].Reset = max(0, aged.Windows[i].Reset-passed)
	}
	return &aged
}
