package breaker

// State is where a circuit is.
type State uint8

// The states. A breaker begins CLOSED.
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

// MarshalText returns the state's name, so that JSON holds the name.
func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }
