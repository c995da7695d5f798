package endpoint

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"llmcall/failure"
	"llmcall/pace"
)

// The defaults of [Budget].
const (
	DefaultSaved      = 100
	DefaultPerSuccess = 0.2
	DefaultPerSecond  = 1
)

// Budget bounds the retries that all callers of an endpoint make together. It is a token
// bucket that begins full. A retry after a failure of the provider takes one token; a
// retry after a wait for a rate limit, or because the answer was wrong, takes none.
// Backoff alone does not keep retries from multiplying an outage, a budget does
// (M. Brooker, "Fixing retries with token buckets and circuit breakers", 2022).
//
// The zero value of each field means its default.
type Budget struct {
	// Saved is the size of the bucket in retries, from 1 to 1,000,000. Default 100,
	// as in the AWS SDKs.
	Saved float64
	// PerSuccess is how many retries each success adds, at most 1. Default 0.2, as
	// in Finagle and Linkerd; negative: none.
	PerSuccess float64
	// PerSecond is how many retries each second adds, at most 1,000, so that slow
	// traffic always has some. Default 1; negative: none.
	PerSecond float64
}

// ConfigError is the error for an impossible setting of this package.
type ConfigError struct {
	Field string // "PerSuccess"
	Got   any    // its value
	Takes string // what it must be: "a number from 1 to 1,000,000"
}

// Error names the field, what it must be and what it got.
func (e *ConfigError) Error() string {
	return fmt.Sprintf("endpoint: %s must be %s, got %v", e.Field, e.Takes, e.Got)
}

// Filled returns the budget with its defaults filled in, or a *[ConfigError].
func (b Budget) Filled() (Budget, error) {
	for _, f := range []struct {
		name               string
		value              *float64
		fallback, low, top float64
		takes              string
	}{
		{"Saved", &b.Saved, DefaultSaved, 1, 1e6, "a number from 1 to 1,000,000 (0 is the default)"},
		{"PerSuccess", &b.PerSuccess, DefaultPerSuccess, 0, 1, "a number up to 1 (0 is the default, a negative number is none)"},
		{"PerSecond", &b.PerSecond, DefaultPerSecond, 0, 1000, "a number up to 1,000 (0 is the default, a negative number is none)"},
	} {
		switch {
		case *f.value == 0:
			*f.value = f.fallback
		case *f.value < 0 && f.low == 0:
			*f.value = -1 // one value for none, so that equal budgets compare as equal
		case !(*f.value >= f.low && *f.value <= f.top):
			return b, &ConfigError{f.name, *f.value, f.takes}
		}
	}
	return b, nil
}

// tighter returns the smaller of each field.
func (b Budget) tighter(c Budget) Budget {
	return Budget{min(b.Saved, c.Saved), min(b.PerSuccess, c.PerSuccess), min(b.PerSecond, c.PerSecond)}
}

// BudgetError is the error of a retry that was not made because the endpoint's [Budget]
// is spent. It is a limit of this process, not of the provider.
type BudgetError struct {
	Key  Key
	Name string    // of the endpoint ([Endpoint.Name]); "": that of the Key
	Next time.Time // when a retry is available; zero: only after further successes
}

// Error says whose limit it is.
func (e *BudgetError) Error() string {
	return fmt.Sprintf("this process makes no further retry of %v for now: its own budget of retries is spent (retry_budget)", cmp.Or(e.Name, e.Key.String()))
}

// FailureKind returns [failure.RetryBudgetSpent].
func (e *BudgetError) FailureKind() failure.Kind { return failure.RetryBudgetSpent }

// bucket is the state of a Budget. A success only reads while the bucket is full, so
// that in normal operation nothing is written to memory that cores share.
type bucket struct {
	tokens atomic.Int64 // in 1/unit of a retry

	mu      sync.Mutex
	allowed Budget
	limit   atomic.Int64
	deposit atomic.Int64
	since   time.Time // PerSecond was added up to then
}

// longest bounds BudgetError.Next.
const longest = 100 * 365 * 24 * time.Hour

// unit is decimal, so that five deposits of 0.2 are a whole retry.
const unit = 1_000_000_000

// allow sets the budget. What is saved stays, up to the new size.
func (b *bucket) allow(budget Budget) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fill(time.Now())
	first := b.limit.Load() == 0
	b.allowed = budget
	b.limit.Store(int64(budget.Saved * unit))
	b.deposit.Store(int64(math.Round(max(0, budget.PerSuccess) * unit)))
	if first {
		b.tokens.Store(b.limit.Load())
	}
}

// add deposits n, up to the limit.
func (b *bucket) add(n int64) {
	for {
		t, limit := b.tokens.Load(), b.limit.Load()
		if b.tokens.CompareAndSwap(t, min(t+n, limit)) {
			return
		}
	}
}

func (b *bucket) succeeded() {
	if b.tokens.Load() < b.limit.Load() {
		b.add(b.deposit.Load())
	}
}

// fill adds PerSecond for the time since the last call. The caller holds the lock.
func (b *bucket) fill(now time.Time) {
	brought := min(now.Sub(b.since).Seconds()*max(0, b.allowed.PerSecond), b.allowed.Saved)
	b.since = now
	b.add(int64(brought * unit))
}

// take takes a retry, or returns when one is available.
func (b *bucket) take() (ok bool, next time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	b.fill(now)
	for {
		t := b.tokens.Load()
		switch {
		case t >= unit:
			if b.tokens.CompareAndSwap(t, t-unit) {
				return true, time.Time{}
			}
		case b.allowed.PerSecond > 0:
			short := min(float64(unit-t)/unit/b.allowed.PerSecond, longest.Seconds())
			return false, now.Add(time.Duration(short * float64(time.Second)))
		default:
			return false, time.Time{}
		}
	}
}

// saved returns how many retries are available now.
func (b *bucket) saved() float64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fill(time.Now())
	return float64(b.tokens.Load()) / unit
}

// reset fills the bucket.
func (b *bucket) reset() { b.tokens.Store(b.limit.Load()) }

// budgetGuard is the budget of an endpoint as a [Guard]. A permit with N = 1 is a retry,
// which is given back if the request was not made.
type budgetGuard struct{ e *Endpoint }

func (g *budgetGuard) Admit(a Ask) (Permit, *Refusal) {
	if !a.Retry {
		return Permit{}, nil
	}
	if ok, next := g.e.budget.take(); !ok {
		return Permit{}, &Refusal{Kind: failure.RetryBudgetSpent, Until: next, Err: &BudgetError{Key: g.e.key, Name: g.e.Name(), Next: next}}
	}
	return Permit{N: 1}, nil
}

func (g *budgetGuard) Wait(ctx context.Context, a Ask) (Permit, *Refusal) {
	for {
		p, refusal := g.Admit(a)
		if refusal == nil || refusal.Until.IsZero() {
			return p, refusal
		}
		if deadline, ok := ctx.Deadline(); ok && !deadline.After(refusal.Until) {
			return p, refusal
		}
		select {
		case <-ctx.Done():
			return Permit{}, &Refusal{Kind: refusal.Kind, Err: ctx.Err()}
		case <-time.After(time.Until(refusal.Until)):
		}
	}
}

func (g *budgetGuard) Accept(p Permit, _ *pace.Told) Permit { return p }

func (g *budgetGuard) Settle(p Permit, o Outcome) {
	switch {
	case o.Effect == failure.Healthy:
		g.e.budget.succeeded()
	case p.N > 0 && !o.Made():
		g.e.budget.add(unit)
	}
}
