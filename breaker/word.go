package breaker

// State is where a circuit is.
type State uint8

// The states. A breaker begins CLOSED.
const (
	Closed   State = iota // calls pass
	Open                  // calls are refused
	HalfOpen              // a few calls pass, as probes
)

func (s State) String() string {
	switch s {
	case Closed:
		return "CLOSED"
	case Open:
		return "OPEN"
	}
	return "HALF_OPEN"
}

// MarshalText makes a State its name in JSON.
func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// A breaker's word holds, from the lowest bit: two bits of state; forced;
// watched; 24 bits of credit; the generation. They live in one word so that a
// success can check the generation and count itself in one step: with a counter
// beside the word, a success that was late by an instant could count in the next
// generation.
//
// The credit is how many more successes are worth counting. A failure sets it
// to one more than the limit of successes that leaves FailureRate reachable.
// When it has run out, no failure up to now can help to open the circuit any
// more, so successes go by without a write: counting on would change nothing.
const (
	stateMask   = 0b11
	forcedBit   = 1 << 2 // set by hand: nothing is counted
	watchedBit  = 1 << 3 // calls are watched for slowness: never the short way
	plainMask   = stateMask | forcedBit | watchedBit
	creditShift = 4
	creditOne   = 1 << creditShift
	creditMask  = (1<<24 - 1) << creditShift
	genShift    = 28
)

func stateOf(w uint64) State       { return State(w & stateMask) }
func generationOf(w uint64) uint64 { return w >> genShift }

func (s *settings) watchBit() uint64 {
	if s.SlowCall > 0 {
		return watchedBit
	}
	return 0
}

// spendCredit counts a success of a call that was admitted under w. It reports
// whether the generation still was that of w.
func (b *Breaker) spendCredit(w uint64) bool {
	for {
		now := b.word.Load()
		if generationOf(now) != generationOf(w) {
			return false
		}
		if now&creditMask == 0 || b.word.CompareAndSwap(now, now-creditOne) {
			return true
		}
	}
}

// renewCredit sets the credit to its full height and returns how many successes
// were counted since it was last full. The caller holds the book's lock, so the
// generation stands still.
func (b *Breaker) renewCredit() int {
	if b.settings.limit < 0 {
		return 0
	}
	height := uint64(b.settings.limit+1) << creditShift
	for {
		now := b.word.Load()
		if b.word.CompareAndSwap(now, now&^creditMask|height) {
			return int((height - now&creditMask) >> creditShift)
		}
	}
}

// turn begins a new generation in state s, without credit. The caller holds the
// book's lock.
func (b *Breaker) turn(s State, forced bool) {
	for {
		now := b.word.Load()
		next := (generationOf(now)+1)<<genShift | uint64(s) | b.settings.watchBit()
		if forced {
			next |= forcedBit
		}
		if b.word.CompareAndSwap(now, next) {
			return
		}
	}
}
