package price

import (
	"regexp"
	"strings"
	"sync"
)

// Table has prices by the full name of a model, "openai/gpt-6-luna". A name that ends
// in "*" is a price for all models whose names begin with the rest, "vllm/*". The nil
// table has none.
type Table map[string]Price

// Find returns the price of a model: that of its name; that of its name without the
// date at the end by which providers call a snapshot ("-2026-01-02", "-20260102"); or
// that of the longest name with a "*" that fits. A name that merely begins with a
// known one ("openai/gpt-6-luna-pro") has no price. ok is false if there is none: the
// price is unknown then, and not 0.
func (t Table) Find(model string) (p Price, ok bool) {
	if p, ok = t[model]; ok || len(t) == 0 {
		return p, ok
	}
	if p, ok = t[snapshot.ReplaceAllString(model, "")]; ok {
		return p, true
	}
	longest := -1
	for name, priced := range t {
		start, open := strings.CutSuffix(name, "*")
		if open && len(start) > longest && strings.HasPrefix(model, start) {
			p, ok, longest = priced, true, len(start)
		}
	}
	return p, ok
}

// snapshot is the date of a model's version, as OpenAI and Anthropic write it.
var snapshot = regexp.MustCompile(`-20\d\d(-(0[1-9]|1[0-2])-|(0[1-9]|1[0-2]))(0[1-9]|[12]\d|3[01])$`)

var (
	lock       sync.RWMutex
	registered []func(model string) (Price, bool)
)

// Register makes prices available to [Known]. A package with a table calls it in its
// init function. find gets the full name of a model; it is called from many
// goroutines. Register panics if find is nil.
func Register(find func(model string) (Price, bool)) {
	if find == nil {
		panic("price: Register: find must be a function that looks up a price, got nil")
	}
	lock.Lock()
	defer lock.Unlock()
	registered = append(registered, find)
}

// Known returns the price of a model, by its full name, from the tables that the
// program has imported; [llmcall/price/known] is one. The first that was registered
// counts. ok is false if none has it, or the program imports none: the price is
// unknown then, and not 0.
func Known(model string) (p Price, ok bool) {
	lock.RLock()
	tables := registered
	lock.RUnlock()
	for _, find := range tables {
		if p, ok = find(model); ok {
			return p, true
		}
	}
	return Price{}, false
}
