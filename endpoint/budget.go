package endpoint

import (
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

// Budget bounds the retries that all callers of an endpoint make together: a
// bucket of retries that begins full. It is the budget and not the backoff that
// keeps retries from multiplying an outage (M. Brooker, "Fixing retries with
// token buckets and circuit breakers", 2022). A retry after a failure of the
// provider takes one; a wait for a rate limit and a question that is asked again
// because its answer was wrong take none.
//
// The zero value of each field is its default.
type Budget struct {
	// Saved is the largest number of retries that are saved up, from 1 to
	// 1,000,000. Default 100, as many as the AWS SDKs hold.
	Saved float64
	// PerSuccess is how many retries each success adds, at most 1. Default 0.2,
	// as in Finagle and Linkerd; negative: none.
	PerSuccess float64
	// PerSecond is how many retries are added each second, whatever happens: at
	// a call a minute no retry multiplies anything. At most 1,000. Default 1;
	// negative: none.
	PerSecond float64
}

// ConfigError is the error for a setting that is not valid.
type ConfigError struct {
	Field string // "PerSuccess"
	Got   any
	Takes string // what it must be: "a number from 1 to 1,000,000"
}

// Error names the field, what it must be and what it got.
func (e *ConfigError) Error() string {
	return fmt.Sprintf("endpoint: %s must be %s, got %v", e.Field, e.Takes, e.Got)
}

// Filled returns the budget with its defaults filled in, or a [*ConfigError].
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
			*f.value = -1 // one word for none, so that budgets compare
		case !(*f.value >= f.low && *f.value <= f.top):
			return b, &ConfigError{f.name, *f.value, f.takes}
		}
	}
	return b, nil
}

// tighter returns the budget that allows no more than either of two.
func (b Budget) tighter(c Budget) Budget {
	return Budget{min(b.Saved, c.Saved), min(b.PerSuccess, c.PerSuccess), min(b.PerSecond, c.PerSecond)}
}

// BudgetError says that a retry was not made, since this process has made as
// many retries of the endpoint as it allows itself. The provider has not said
// so.
type BudgetError struct {
	Key  Key
	Next time.Time // when there is one again; zero: after the next successes
}

// Error says whose limit it is.
func (e *BudgetError) Error() string {
	return fmt.Sprintf("this process makes no further retry of %v for now: its own budget of retries is spent (retry_budget)", e.Key)
}

// FailureKind returns [failure.RetryBudgetSpent].
func (e *BudgetError) FailureKind() failure.Kind { return failure.RetryBudgetSpent }

// bucket is a Budget at work. A success of a full bucket only reads: in good
// times successes write nothing that cores share.
type bucket struct {
	tokens atomic.Int64 // in 1/unit of a retry

	mu      sync.Mutex
	allowed Budget
	limit   atomic.Int64
	deposit atomic.Int64
	since   time.Time // until when PerSecond was added
}

// longest is how far ahead a retry is told.
const longest = 100 * 365 * 24 * time.Hour

// unit is decimal, so that five deposits of 0.2 are a whole retry.
const unit = 1_000_000_000

// allow sets the budget; what is saved up stays, up to the new limit.
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

// succeeded deposits what a success is worth.
func (b *bucket) succeeded() {
	if b.tokens.Load() < b.limit.Load() {
		b.add(b.deposit.Load())
	}
}

// fill adds what time has brought. The caller holds the lock.
func (b *bucket) fill(now time.Time) {
	brought := min(now.Sub(b.since).Seconds()*max(0, b.allowed.PerSecond), b.allowed.Saved)
	b.since = now
	b.add(int64(brought * unit))
}

// take takes a retry, or says when there is one.
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

// saved returns how many retries could be made now.
func (b *bucket) saved() float64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fill(time.Now())
	return float64(b.tokens.Load()) / unit
}

// reset fills the bucket.
func (b *bucket) reset() { b.tokens.Store(b.limit.Load()) }

// budgetGuard is the budget of an endpoint as a [Guard]. A permit of 1 is a retry
// taken; it goes back if the request was not made.
type budgetGuard struct{ e *Endpoint }

func (g *budgetGuard) Admit(a Ask) (Permit, *Refusal) {
	if !a.Retry {
		return Permit{}, nil
	}
	if ok, next := g.e.budget.take(); !ok {
		return Permit{}, &Refusal{Kind: failure.RetryBudgetSpent, Until: next, Err: &BudgetError{Key: g.e.key, Next: next}}
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
