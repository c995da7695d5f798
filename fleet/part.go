package fleet

import (
	"encoding/json"

	"llmcall/fleet/internal/store"
)

// part is one thing that the processes of a fleet share: a circuit, a rate, a purse. Its
// methods are called by the worker or by the store, one at a time or not.
type part interface {
	// key is where it is in the store; "" if nothing is published for it.
	key() string
	// requests returns what is to be told to the store now. tick says that it is time for
	// what is exchanged each second.
	requests(tick bool) []request
	// told is called with what another process, or this one, has published.
	told(text string)
	// alone is called when the store does not answer, and when it does again. Then all
	// that was kept meanwhile is told by requests(true).
	alone(yes bool)
	// gone reports that nobody uses it any more.
	gone() bool
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
	stop func() // watching

	due   bool // for an exchange before the next second; with the fleet's lock
	alone bool // the worker's
}
