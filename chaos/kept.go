package chaos

import (
	"encoding/json"
	"slices"
	"sync"
	"time"
)

// The limits of what is kept; beyond them the oldest is forgotten.
const (
	maxKept      = 1000
	maxKeptBytes = 32 << 20
)

// keptAnswers are the conversations that a request can continue, by the identifier of
// their last answer.
type keptAnswers struct {
	mu    sync.Mutex
	byID  map[string]keptAnswer
	order []string // the oldest first
	bytes int
}

type keptAnswer struct {
	text  json.RawMessage
	ready time.Time // when an answer in the background is complete
}

func (k *keptAnswers) add(id string, a keptAnswer) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.byID == nil {
		k.byID = map[string]keptAnswer{}
	}
	k.order = append(k.order, id)
	k.put(id, a)
}

// put keeps an answer that has a place in the order, with k.mu held.
func (k *keptAnswers) put(id string, a keptAnswer) {
	k.bytes += len(a.text) - len(k.byID[id].text)
	k.byID[id] = a
	for len(k.order) > maxKept || k.bytes > maxKeptBytes && len(k.order) > 1 {
		k.bytes -= len(k.byID[k.order[0]].text)
		delete(k.byID, k.order[0])
		k.order = k.order[1:]
	}
}

// get returns what is kept under an identifier.
func (k *keptAnswers) get(id string) (json.RawMessage, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	a, ok := k.byID[id]
	return a.text, ok
}

// ready reports whether an answer is complete.
func (k *keptAnswers) ready(id string, now time.Time) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return !now.Before(k.byID[id].ready)
}

// replace keeps something else under an identifier, unless that was removed in the
// meantime.
func (k *keptAnswers) replace(id string, a keptAnswer) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if _, ok := k.byID[id]; ok {
		k.put(id, a)
	}
}

func (k *keptAnswers) remove(id string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.bytes -= len(k.byID[id].text)
	delete(k.byID, id)
	k.order = slices.DeleteFunc(k.order, func(other string) bool { return other == id })
}

func (k *keptAnswers) reset() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.byID, k.order, k.bytes = nil, nil, 0
}
