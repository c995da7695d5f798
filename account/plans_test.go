package account_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"llmcall/account"
	"llmcall/backoff"
	"llmcall/endpoint"
	"llmcall/failure"
	"llmcall/retry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bank has the accounts of a process, some days and some keys, and what a provider could
// bill for all that is under way or done.
type bank struct {
	process   *account.Account
	shared    []*account.Account // with the process
	exposed   atomic.Int64       // the bill, if each request used all that it may
	billed    atomic.Int64
	above     atomic.Bool // it was above the limit
	requests  atomic.Int64
	refused   atomic.Int64
	panicked  atomic.Int64
	cancelled atomic.Int64
	policy    *retry.Policy
}

// run makes the requests of one Call of a plan: attempts, tool rounds, failures, answers
// that are wrong, a caller that leaves, a panic, a goroutine that ends.
func (b *bank) run(ctx context.Context, cancel context.CancelFunc, purse *account.Account, chance *rand.Rand) {
	var pending endpoint.Amount // of the request under way, as the provider sees it
	defer func() {
		if recover() != nil {
			b.panicked.Add(1)
		}
	}()
	most := amount(1+chance.Int64N(100), 1+chance.Int64N(1000))
	least := amount(1+chance.Int64N(most.Tokens), 1+chance.Int64N(most.Nanos))
	guard := purse.Guard()
	var c retry.Call
	need := &endpoint.Need{Want: &most, Least: &least}
	c.Need = func(int) *endpoint.Need { return need }
	c.Begin(ctx, b.policy, make([]retry.Target, 1+chance.IntN(2)), guard)
	defer c.Close()
	defer func() { b.exposed.Add(-pending.Nanos) }() // before its reservation ends
	for c.Next() {
		for {
			b.requests.Add(1)
			pending = guard.Lent()
			if b.exposed.Add(pending.Nanos) > b.process.Snapshot().Limit.Nanos {
				b.above.Store(true)
			}
			begun := chance.IntN(3) == 0
			if begun {
				c.Accepted(nil)
			}
			bill, o := b.provider(cancel, pending, begun, chance)
			b.exposed.Add(bill - pending.Nanos)
			b.billed.Add(bill)
			pending = endpoint.Amount{}
			if !c.Settle(o) {
				break
			}
			if what := chance.IntN(4); what == 0 {
				return
			} else if what == 1 {
				c.Wrong(&failure.Error{Kind: failure.InvalidAnswer})
				break
			}
			if !c.Round() {
				break
			}
		}
	}
	if failure.KindOf(c.Err()) == failure.AccountSpent {
		b.refused.Add(1)
	}
	if errors.Is(c.Err(), context.Canceled) {
		b.cancelled.Add(1)
	}
}

// provider returns what it bills for a request, and what it says of it.
func (b *bank) provider(cancel context.CancelFunc, lent endpoint.Amount, begun bool, chance *rand.Rand) (int64, endpoint.Outcome) {
	part := func(n int64) int64 { return chance.Int64N(n) + 1 }
	o := endpoint.Outcome{Report: used(part(lent.Tokens), part(lent.Nanos))}
	switch chance.IntN(24) {
	case 0:
		panic("the provider's SDK")
	case 1:
		runtime.Goexit()
	case 2:
		cancel() // the answer that has come is billed
		o.Err = context.Canceled
	case 3, 4: // in the middle of an answer
		o.Err = &failure.Error{Kind: failure.Transient}
	case 5, 6: // it bills, and does not say how much, if the answer had begun
		o.Err, o.Report = &failure.Error{Kind: failure.Overloaded}, nil
		if begun {
			return lent.Nanos, o
		}
		return 0, o
	case 7: // an answer that does not say what it cost
		o.Report = nil
		return lent.Nanos, o
	case 8: // an answer of the largest size
		o.Report = &endpoint.Report{Used: lent}
	}
	return o.Report.Used.Nanos, o
}

// plan is one call: some requests of its own, a judge and hedges at the same time, each
// with a guard of its own, and an account below those of its key and its day.
func (b *bank) plan(chance *rand.Rand) {
	above := b.shared[chance.IntN(len(b.shared))]
	limit := amount(chance.Int64N(500), chance.Int64N(5000)) // 0: none
	purse := account.New(limit, above, b.shared[0])
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var all sync.WaitGroup
	for range 1 + chance.IntN(3) {
		own := rand.New(rand.NewPCG(chance.Uint64(), 0))
		all.Go(func() { b.run(ctx, cancel, purse, own) })
	}
	all.Wait()
	if s := purse.Snapshot(); !within(s) || s.Reserved != (endpoint.Amount{}) {
		b.above.Store(true)
	}
}

// However many calls there are at once, and however they end: neither what the provider
// bills nor what it could bill for the requests under way is ever above a limit, and in
// the end nothing is reserved. 10,000 plans; all of the million by
//
//	LLMCALL_SOAK=full go test -run TestNoPlanPassesItsAccount -v ./account
func TestNoPlanPassesItsAccount(t *testing.T) {
	plans := 10_000
	if os.Getenv("LLMCALL_SOAK") == "full" {
		plans = 1_000_000
	}
	policy, err := retry.New(retry.Config{MaxAttempts: 4, Backoff: backoff.Constant{}})
	if err != nil {
		t.Fatal(err)
	}
	limit := int64(plans) * 800 // about a third of what they would spend
	b := &bank{process: account.New(amount(0, limit)), policy: policy}
	day := account.Daily(amount(0, limit), time.UTC, b.process)
	b.shared = []*account.Account{day}
	for range 8 {
		b.shared = append(b.shared, account.New(amount(int64(plans)*40, limit/6), b.process), account.Daily(amount(0, limit/6), time.UTC, day))
	}
	all := append([]*account.Account{b.process}, b.shared...)

	var left atomic.Int64
	left.Store(int64(plans))
	var workers, watcher sync.WaitGroup
	done := make(chan struct{})
	watcher.Go(func() { // any account at any moment
		for {
			for _, a := range all {
				if !within(a.Snapshot()) {
					b.above.Store(true)
				}
			}
			select {
			case <-done:
				return
			case <-time.After(50 * time.Microsecond):
			}
		}
	})
	for worker := range 4 * runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			chance := rand.New(rand.NewPCG(uint64(worker), 12))
			for left.Add(-1) >= 0 {
				b.plan(chance)
			}
		})
	}
	workers.Wait()
	close(done)
	watcher.Wait()

	if b.above.Load() {
		t.Error("an account was above its limit, or something stayed reserved")
	}
	for _, a := range all {
		if s := a.Snapshot(); !within(s) || s.Reserved != (endpoint.Amount{}) {
			t.Errorf("%+v", s)
		}
	}
	s := b.process.Snapshot()
	t.Logf("%d plans, %d requests, %d calls refused, %d cancelled, %d panics; spent %d of %d, billed %d",
		plans, b.requests.Load(), b.refused.Load(), b.cancelled.Load(), b.panicked.Load(), s.Spent.Nanos, limit, b.billed.Load())
	if b.billed.Load() > s.Spent.Nanos || s.Spent.Nanos > limit {
		t.Errorf("billed %d, spent %d of %d", b.billed.Load(), s.Spent.Nanos, limit)
	}
	if s.Spent.Nanos < limit*9/10 || b.refused.Load() == 0 || b.panicked.Load() == 0 || b.cancelled.Load() == 0 {
		t.Error("the plans do not reach the limit, or some of the ways out")
	}
}
