package phrase

// How the complaint about an answer that broke off begins, and how it goes on where the
// reason to stop is not known.
const (
	BrokeOff      = "the answer broke off"
	UnknownReason = ": its reason to stop is not known: "
)
