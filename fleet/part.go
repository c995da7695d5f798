package fleet

import (
	"encoding/json"

	"llmcall/fleet/internal/store"
)

// part is one thing that the processes of a fleet share: a circuit, a rate, a purse. Its
// methods are called by the worker or by the store, one at a time or not.
type part interface {
	// requests returns what is to be told to the store now. tick says that it is time for
	// what is exchanged each second.
	requests(tick bool) []request
	// alone is called when the store does not answer, and when it does again. Then all
	// that was kept meanwhile is told by requests(true).
	alone(yes bool)
	// gone reports that nobody uses it any more.
	gone() bool
}

// keyed is a part of an endpoint. Where it is in the store follows from the secret of the
// fleet, which is not always known when the part is made, and may change.
type keyed interface {
	part
	// move makes it be where the fleet's secret says, and returns the key for which others
	// publish there. The worker calls it before anything is asked, and if the secret has
	// changed: then the part tells in the new place what it has known.
	move() (key string)
	// told is called with what another process, or this one, has published.
	told(text string)
}

// request is a call of a script. done is called once, with its result or its error.
type request struct {
	call store.Call
	done func(store.Result)
}

// callOf returns the call of a script with q in JSON, whose fields are texts and finite numbers
// alone.
func callOf(s *store.Script, key string, q any) store.Call {
	text, _ := json.Marshal(q)
	return store.Call{Script: s, Key: key, Args: []string{string(text)}}
}

// shared is a part with what the fleet knows of it.
type shared struct {
	part part
	due  bool // for an exchange before the next second; with the fleet's lock

	// The worker's:
	alone  bool
	secret string // by which it was moved; "": not yet
	stop   func() // watching
}
