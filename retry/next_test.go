package retry

import (
	"math"
	"testing"
	"time"

	"llmcall/backoff"
	"llmcall/failure"
)

const (
	second = time.Second
	never  = time.Duration(math.MaxInt64) // no deadline; forced open
)

// The decision as a table: what is known, and what follows. The policy of each
// row has three attempts and a backoff of 1 s, 2 s, 4 s …; where a row says
// nothing of the deadline, there is none.
func TestNext(t *testing.T) {
	again := func(a failure.Again) failure.Decision { return failure.Decision{Again: a, Breaker: failure.Count} }
	limit := failure.Decision{Again: failure.WhenTold, Breaker: failure.Ignore}
	healthy := failure.Decision{Again: failure.AtOnce, Breaker: failure.Healthy}
	for _, c := range []struct {
		name   string
		config Config
		in     situation
		want   step
	}{
		// Whether another attempt would help.
		{"never", Config{}, situation{decision: again(failure.Never)}, step{verdict: verdict{stop: Permanent, counts: true}}},
		{"never outweighs the provider's time", Config{}, situation{decision: again(failure.Never), told: true, toldWait: second}, step{verdict: verdict{stop: Permanent, counts: true}}},
		{"never outweighs the open circuit", Config{}, situation{decision: again(failure.Never), openFor: second}, step{verdict: verdict{stop: Permanent, counts: true}}},
		{"larger, once", Config{}, situation{decision: failure.Decision{Again: failure.OnceLarger, Breaker: failure.Healthy}}, step{verdict: verdict{counts: true}}},
		{"larger, not twice", Config{}, situation{decision: again(failure.OnceLarger), cutOff: true}, step{verdict: verdict{stop: Permanent, counts: true}}},
		{"what is not OnceLarger does not mind the cut", Config{}, situation{decision: again(failure.Backoff), cutOff: true}, step{wait: second, verdict: verdict{why: BackoffWait, counts: true, spends: true}}},

		// How long the backoff is.
		{"backoff", Config{}, situation{decision: again(failure.Backoff)}, step{wait: second, verdict: verdict{why: BackoffWait, counts: true, spends: true}}},
		{"backoff grows with the waits, not the attempts", Config{}, situation{decision: again(failure.Backoff), counted: 1, retries: 3}, step{wait: 8 * second, verdict: verdict{why: BackoffWait, counts: true, spends: true}}},
		{"slower is one step further on", Config{}, situation{decision: again(failure.Slower), retries: 1}, step{wait: 4 * second, verdict: verdict{why: BackoffWait, counts: true, spends: true}}},
		{"at once", Config{}, situation{decision: again(failure.AtOnce)}, step{verdict: verdict{counts: true, spends: true}}},
		{"a backoff of nothing is no wait", Config{Backoff: backoff.Constant{}}, situation{decision: again(failure.Backoff)}, step{verdict: verdict{counts: true, spends: true}}},
		{"a limit without a time is a backoff", Config{}, situation{decision: limit}, step{wait: second, verdict: verdict{why: BackoffWait, counts: true, spends: true}}},

		// The provider's time.
		{"told more than the backoff", Config{}, situation{decision: again(failure.Backoff), told: true, toldWait: 5 * second}, step{wait: 5 * second, verdict: verdict{why: ProviderWait, counts: true, spends: true}}},
		{"told as much as the backoff", Config{}, situation{decision: again(failure.Backoff), told: true, toldWait: second}, step{wait: second, verdict: verdict{why: ProviderWait, counts: true, spends: true}}},
		{"told less than the backoff", Config{}, situation{decision: again(failure.Backoff), told: true, toldWait: second - 1}, step{wait: second, verdict: verdict{why: BackoffWait, counts: true, spends: true}}},
		{"told, where there would be no wait", Config{}, situation{decision: again(failure.AtOnce), told: true, toldWait: 5 * second}, step{wait: 5 * second, verdict: verdict{why: ProviderWait, counts: true, spends: true}}},
		{"told 0, where there would be no wait", Config{}, situation{decision: again(failure.AtOnce), told: true}, step{verdict: verdict{counts: true, spends: true}}},
		{"a time that was not told is none", Config{}, situation{decision: again(failure.Backoff), toldWait: 5 * second}, step{wait: second, verdict: verdict{why: BackoffWait, counts: true, spends: true}}},
		{"told just as much as is allowed", Config{MaxRetryAfter: 5 * second}, situation{decision: again(failure.Backoff), told: true, toldWait: 5 * second}, step{wait: 5 * second, verdict: verdict{why: ProviderWait, counts: true, spends: true}}},
		{"told too much", Config{MaxRetryAfter: 5 * second}, situation{decision: again(failure.Backoff), told: true, toldWait: 5*second + 1}, step{wait: 5*second + 1, verdict: verdict{stop: WaitTooLong, why: ProviderWait, counts: true, spends: true}}},
		{"the backoff may be longer than MaxRetryAfter", Config{MaxRetryAfter: second}, situation{decision: again(failure.Backoff), retries: 3, told: true, toldWait: second}, step{wait: 8 * second, verdict: verdict{why: BackoffWait, counts: true, spends: true}}},

		// Rate limits.
		{"a limit counts for nothing", Config{}, situation{decision: limit, told: true, toldWait: 5 * second}, step{wait: 5 * second, limit: 5 * second, verdict: verdict{why: RateLimitWait}}},
		{"nor behind the last attempt", Config{}, situation{decision: limit, counted: 2, told: true, toldWait: 5 * second}, step{wait: 5 * second, limit: 5 * second, verdict: verdict{why: RateLimitWait}}},
		{"a limit of less than the backoff waits for the backoff", Config{}, situation{decision: limit, retries: 3, told: true, toldWait: second}, step{wait: 8 * second, limit: 8 * second, verdict: verdict{why: RateLimitWait}}},
		{"a limit that says 0 waits for the backoff", Config{}, situation{decision: limit, told: true}, step{wait: second, limit: second, verdict: verdict{why: RateLimitWait}}},
		{"a limit that is not waited for counts", Config{Backoff: backoff.Constant{}}, situation{decision: limit, told: true}, step{verdict: verdict{counts: true, spends: true}}},
		{"and is the last at the last", Config{Backoff: backoff.Constant{}}, situation{decision: limit, counted: 2, told: true}, step{verdict: verdict{stop: Exhausted, why: BackoffWait, counts: true, spends: true}}},
		{"limits as long as is allowed", Config{MaxLimitTime: 10 * second}, situation{decision: limit, told: true, toldWait: 5 * second, limitTime: 5 * second}, step{wait: 5 * second, limit: 5 * second, verdict: verdict{why: RateLimitWait}}},
		{"limits longer than is allowed", Config{MaxLimitTime: 10 * second}, situation{decision: limit, told: true, toldWait: 5 * second, limitTime: 5*second + 1}, step{wait: 5 * second, verdict: verdict{stop: LimitTimePassed, why: RateLimitWait}}},
		{"the sum of limits does not overflow", Config{MaxRetryAfter: never}, situation{decision: limit, told: true, toldWait: never, limitTime: 1}, step{wait: never, verdict: verdict{stop: LimitTimePassed, why: RateLimitWait}}},
		{"a time that is no limit does not count as one", Config{MaxLimitTime: second}, situation{decision: again(failure.Backoff), told: true, toldWait: 5 * second}, step{wait: 5 * second, verdict: verdict{why: ProviderWait, counts: true, spends: true}}},

		// The attempts.
		{"one attempt left", Config{}, situation{decision: again(failure.Backoff), counted: 1}, step{wait: second, verdict: verdict{why: BackoffWait, counts: true, spends: true}}},
		{"the last attempt", Config{}, situation{decision: again(failure.Backoff), counted: 2}, step{wait: second, verdict: verdict{stop: Exhausted, why: BackoffWait, counts: true, spends: true}}},
		{"one attempt in all", Config{MaxAttempts: 1}, situation{decision: again(failure.AtOnce)}, step{verdict: verdict{stop: Exhausted, counts: true, spends: true}}},
		{"the last attempt outweighs a time that is too long", Config{}, situation{decision: again(failure.Backoff), counted: 2, told: true, toldWait: never}, step{wait: second, verdict: verdict{stop: Exhausted, why: BackoffWait, counts: true, spends: true}}},

		// The budget.
		{"a provider that did its work is not charged for", Config{}, situation{decision: healthy}, step{verdict: verdict{counts: true}}},
		{"nor is an answer that the table counts as a failure", Config{}, situation{decision: again(failure.AtOnce), answered: true}, step{verdict: verdict{counts: true}}},

		// The circuit.
		{"the wait outlasts the open circuit", Config{}, situation{decision: again(failure.Backoff), openFor: second}, step{wait: second, verdict: verdict{why: BackoffWait, counts: true, spends: true}}},
		{"the open circuit outlasts the wait", Config{}, situation{decision: again(failure.Backoff), openFor: second + 1}, step{wait: second + 1, verdict: verdict{stop: CircuitOpen, why: CircuitWait, counts: true, spends: true}}},
		{"and is waited for", Config{WaitForCircuit: true}, situation{decision: again(failure.Backoff), openFor: second + 1}, step{wait: second + 1, verdict: verdict{why: CircuitWait, counts: true, spends: true}}},
		{"forced open is not", Config{WaitForCircuit: true}, situation{decision: again(failure.Backoff), openFor: never}, step{wait: never, verdict: verdict{stop: CircuitOpen, why: CircuitWait, counts: true, spends: true}}},
		{"of a wait for the circuit, only the limit's part is the limit's", Config{WaitForCircuit: true}, situation{decision: limit, told: true, toldWait: 5 * second, openFor: 60 * second}, step{wait: 60 * second, limit: 5 * second, verdict: verdict{why: CircuitWait}}},

		// The deadline.
		{"the deadline holds the wait", Config{}, situation{decision: again(failure.Backoff), left: second + 1}, step{wait: second, verdict: verdict{why: BackoffWait, counts: true, spends: true}}},
		{"a wait up to the deadline leaves no time", Config{}, situation{decision: again(failure.Backoff), left: second}, step{wait: second, verdict: verdict{stop: OutOfTime, why: BackoffWait, counts: true, spends: true}}},
		{"the deadline can't hold the provider's time", Config{}, situation{decision: limit, told: true, toldWait: 5 * second, left: second}, step{wait: 5 * second, verdict: verdict{stop: OutOfTime, why: RateLimitWait}}},
		{"the deadline can't hold the circuit", Config{WaitForCircuit: true}, situation{decision: again(failure.Backoff), openFor: 5 * second, left: second}, step{wait: 5 * second, verdict: verdict{stop: OutOfTime, why: CircuitWait, counts: true, spends: true}}},
		{"without a wait there is nothing to hold", Config{}, situation{decision: again(failure.AtOnce), left: 1}, step{verdict: verdict{counts: true, spends: true}}},
	} {
		if c.config.Backoff == nil {
			c.config.Backoff = backoff.Exponential{Jitter: backoff.NoJitter}
		}
		if c.in.left == 0 {
			c.in.left = never
		}
		p, err := New(c.config)
		if err != nil {
			t.Fatal(err)
		}
		got := p.next(&c.in)
		if got.stop != Going { // of what would have been spent, nothing is
			got.limit = 0
		}
		if got != c.want {
			t.Errorf("%s: got %+v, want %+v", c.name, got, c.want)
		}
	}
}
