package breaker

// State is the state of a circuit. The zero value is [Closed].
type State uint8

// The states.
const (
	Closed   State = iota // calls pass
	Open                  // calls are refused
	HalfOpen              // a few calls pass, as probes
)

// String returns the name: CLOSED, OPEN or HALF_OPEN.
func (s State) String() string {
	switch s {
	case Closed:
		return "CLOSED"
	case Open:
		return "OPEN"
	}
	return "HALF_OPEN"
}

// MarshalText returns [State.String], so that JSON holds the name.
func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }
