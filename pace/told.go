package pace

import (
	"slices"
	"time"
)

// Told is what a provider said about its limits with one response, an answer or a
// refusal. The zero value means that it said nothing.
type Told struct {
	// At is when the response came; Wait and Reset are counted from it. Zero: now,
	// when the [Pacer] is told.
	At time.Time
	// Wait is how long the provider asked not to be called (Retry-After in any of
	// its forms). It is valid only if HasWait is set; a provider may ask for a wait
	// of 0.
	Wait    time.Duration
	HasWait bool
	// Windows are the limits of requests and of tokens that the response's headers
	// describe (x-ratelimit-*, anthropic-ratelimit-*, RateLimit). The tightest one
	// counts. nil: none.
	Windows []Window
	// Overload says that the provider refused for lack of capacity (529, queue
	// full), not because of our rate: fewer requests in flight help, not a lower
	// rate.
	Overload bool
}

// Window is one limit as a provider describes it at the moment of a response.
type Window struct {
	// Tokens says that the window counts tokens; otherwise it counts requests.
	Tokens bool
	// Limit is the size of the whole window, or of the full bucket. 0: not said.
	Limit int64
	// Remaining is how much of it was left at the response.
	Remaining int64
	// Reset is the time from the response until the window begins again, or the
	// bucket is full. 0: now, or not said.
	Reset time.Duration
}

// silent reports whether nothing that makes requests wait was told.
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
