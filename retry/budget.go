package retry

import (
	"math"
	"sync/atomic"
)

// The defaults of NewBudget: a success deposits a tenth of a retry, and at most
// ten are saved up.
const (
	DefaultDeposit    = 0.1
	DefaultMaxRetries = 10
)

// Budget is a token bucket of retries, shared by all callers of an endpoint. It
// begins full. A success deposits a part of a token; a retry after a failure of
// the provider takes one, and is refused when there is none. In a total outage
// the load is then the first attempts alone, however many each caller is
// allowed; in good times retries are at most the deposit's share of all calls.
//
// The deposit is made on success, not on every first try: with the latter a
// total outage would be fed for ever.
type Budget struct {
	deposited, limit int64 // in 1/unit of a token
	tokens           atomic.Int64
}

// unit is decimal, so that ten deposits of 0.7 are seven tokens and not a little
// less. A million tokens fit.
const unit = 1_000_000_000_000

// NewBudget returns a full budget. deposit is the tokens for each success,
// 0 to 1 (0: the default, 0.1); limit is the tokens saved up at most, 1 to
// 1,000,000 (0: the default, 10).
func NewBudget(deposit, limit float64) (*Budget, error) {
	if !(deposit >= 0 && deposit <= 1) {
		return nil, &ConfigError{"deposit", deposit, "a number from 0 to 1 (0 is the default)"}
	}
	if limit != 0 && !(limit >= 1 && limit <= 1e6) {
		return nil, &ConfigError{"limit", limit, "a number from 1 to 1,000,000 (0 is the default)"}
	}
	if deposit == 0 {
		deposit = DefaultDeposit
	}
	if limit == 0 {
		limit = DefaultMaxRetries
	}
	b := &Budget{deposited: int64(math.Round(deposit * unit)), limit: int64(limit * unit)}
	b.tokens.Store(b.limit)
	return b, nil
}

// Tokens returns how many retries could be made now.
func (b *Budget) Tokens() float64 { return float64(b.tokens.Load()) / unit }

// deposit is for a success. A full bucket is only read: in good times successes
// write nothing that cores share.
func (b *Budget) deposit() {
	for {
		t := b.tokens.Load()
		if t >= b.limit || b.tokens.CompareAndSwap(t, min(t+b.deposited, b.limit)) {
			return
		}
	}
}

// withdraw takes a token for a retry, or reports false.
func (b *Budget) withdraw() bool {
	for {
		t := b.tokens.Load()
		if t < unit {
			return false
		}
		if b.tokens.CompareAndSwap(t, t-unit) {
			return true
		}
	}
}

// Budgets keeps one default budget an endpoint, made on first use.
type Budgets struct{ shared[Budget] }

// Get returns the budget of a key, the same for all callers.
func (s *Budgets) Get(key string) *Budget {
	return s.get(key, func() *Budget {
		b, _ := NewBudget(0, 0)
		return b
	}, func(b *Budget) bool { return b.tokens.Load() >= b.limit }) // a full budget is like a new one
}
