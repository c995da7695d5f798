package main

import (
	"slices"
	"strings"
	"sync"

	"llmcall/endpoint"
	"llmcall/llm"
)

// maxNames bounds the endpoints whose names are remembered: a client of a gateway may name any
// model.
const maxNames = 10_000

// modelNames are the names of the models that were opened, by their endpoints. A key has the
// name of the protocol where a configuration has a provider of its own.
type modelNames struct {
	mu    sync.Mutex
	byKey map[endpoint.Key][]string
}

// know remembers the names of models, whose endpoints are used from then on.
func (n *modelNames) know(models []llm.Model) {
	if n == nil {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.byKey == nil {
		n.byKey = map[endpoint.Key][]string{}
	}
	for _, m := range models {
		key := endpoint.KeyOf(m)
		if len(n.byKey) >= maxNames && n.byKey[key] == nil {
			continue
		}
		if !slices.Contains(n.byKey[key], m.Name()) {
			n.byKey[key] = append(n.byKey[key], m.Name())
		}
	}
}

// of returns the names of an endpoint's models.
func (n *modelNames) of(key endpoint.Key) []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.byKey[key])
}

// all returns the names of all models.
func (n *modelNames) all() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	var names []string
	for _, of := range n.byKey {
		names = append(names, of...)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// shown returns the name of an endpoint in the words of the configuration, as llmcall circuits
// has it; "" if that has no other than the key, or several.
func (n *modelNames) shown(key endpoint.Key) string {
	names := n.of(key)
	if key.Model == "" || len(names) != 1 {
		return ""
	}
	return names[0] + strings.TrimPrefix(key.String(), key.Model)
}
