package breaker

// A breaker's word holds, from the lowest bit: two bits of state; forced; watched; 24
// bits of credit; and the generation, which counts the changes of state from 1, so
// that the zero word belongs to no generation. They share one word so that a success
// can check the generation and count itself in one step: with a separate counter, a
// success that is an instant late could count in the next generation.
//
// The credit is how many more successes are worth counting. A failure sets it to one
// more than the limit of successes (see settings.limit). When it is used up, no failure
// so far can help to open the circuit any more, so successes need not be counted and
// write nothing. If the count alone decides, a failure sets it to 1 and no success
// spends it.
const (
	stateMask   = 0b11
	forcedBit   = 1 << 2 // forced open or closed: nothing is counted
	watchedBit  = 1 << 3 // calls are watched for slowness: never the fast path
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

// spendCredit counts a success of a call admitted under w, if the generation is still
// that of w.
func (b *Breaker) spendCredit(w uint64) {
	for {
		now := b.word.Load()
		if generationOf(now) != generationOf(w) || now&creditMask == 0 || b.settings.limit < 0 ||
			b.word.CompareAndSwap(now, now-creditOne) {
			return
		}
	}
}

// fullCredit returns the credit bits of a word after a failure.
func (s *settings) fullCredit() uint64 {
	if s.limit < 0 {
		return creditOne
	}
	return uint64(s.limit+1) << creditShift
}

// counted returns how many successes a word has counted since the last failure.
func (s *settings) counted(w uint64) int {
	return int((s.fullCredit() - w&creditMask) >> creditShift)
}

// turned returns the word that follows w: the next generation, in state st, without
// credit.
func (s *settings) turned(w uint64, st State, forced bool) uint64 {
	next := (generationOf(w)+1)<<genShift | uint64(st) | s.watchBit()
	if forced {
		next |= forcedBit
	}
	return next
}

// turn begins a new generation and returns the word before it. The caller holds
// the book's lock, so nothing but the credit can change at the same time.
func (b *Breaker) turn(s State, forced bool) (was uint64) {
	for {
		was = b.word.Load()
		if b.word.CompareAndSwap(was, b.settings.turned(was, s, forced)) {
			return was
		}
	}
}

// late reports whether the state has changed since a call was admitted under w.
func (b *Breaker) late(w uint64) bool { return generationOf(b.word.Load()) != generationOf(w) }
