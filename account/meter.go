package account

import "time"

// Meter is what may be used in a minute, such as requests or tokens, of a limit that several
// processes share (package [llmcall/fleet]). It holds a minute's worth, at least 1, and fills
// evenly. Each process has leased a part of it, of which it takes. It is safe for concurrent
// use.
type Meter interface {
	// SetLimit changes how much may be used in a minute, more than 0. What is used stays
	// used.
	SetLimit(perMinute float64)
	// Fetch leases n from the others, or all that the meter holds if that is less, unless so
	// much is here already or is not left. It waits for 5 ms at most.
	Fetch(n float64)
	// Wait returns in what time n, or all that the meter holds, may be here; 0: it is here.
	Wait(n float64) time.Duration
	// Take takes n of what is here, also more; that is waited for afterwards. Less than 0
	// gives back.
	Take(n float64)
	// Left returns what is left of the limit as far as is known, less than 0 if more was
	// taken.
	Left() float64
	// Close ends the use of the meter.
	Close()
}
