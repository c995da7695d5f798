package account_test

import (
	"context"
	"testing"
	"time"

	"llmcall/account"
	"llmcall/endpoint"
	"llmcall/retry"
)

func BenchmarkReserveAndSettle(b *testing.B) {
	for _, c := range []struct {
		name string
		make func() *account.Account
	}{
		{"one", func() *account.Account { return account.New(endpoint.Amount{}) }},
		{"call and process", func() *account.Account {
			return account.New(endpoint.Amount{}, account.New(endpoint.Amount{}))
		}},
		{"call below one of several processes", func() *account.Account {
			day := account.Daily(amount(0, 1_000_000), time.UTC)
			day.Lender = &lender{}
			day.Allot(day.Snapshot().Day, amount(0, 1_000_000), endpoint.Amount{})
			return account.New(endpoint.Amount{}, day)
		}},
		{"call, key, day and process", func() *account.Account {
			process := account.New(endpoint.Amount{})
			return account.New(endpoint.Amount{}, account.New(endpoint.Amount{}, process), account.Daily(endpoint.Amount{}, time.UTC, process))
		}},
	} {
		a := c.make()
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				lent, _ := a.Reserve(amount(100, 100), amount(1, 1))
				a.Settle(lent, amount(50, 0))
			}
		})
		b.Run(c.name+", all cores", func(b *testing.B) {
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					lent, _ := a.Reserve(amount(100, 100), amount(1, 1))
					a.Settle(lent, amount(50, 0))
				}
			})
		})
	}
}

// BenchmarkCall is a whole call that succeeds at once: retry.Do alone, and the same by a
// retry.Call with an account of its own below that of the process.
func BenchmarkCall(b *testing.B) {
	p, err := retry.New(retry.Config{})
	if err != nil {
		b.Fatal(err)
	}
	b.Run("Do", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_, _ = retry.Do(context.Background(), p, func(context.Context, retry.Attempt) (int, error) { return 1, nil })
		}
	})
	process := account.New(endpoint.Amount{})
	want, least, cost := amount(100, 100), amount(1, 1), used(50, 50)
	price := &endpoint.Need{Want: &want, Least: &least}
	need := func(int) *endpoint.Need { return price }
	targets := make([]retry.Target, 1)
	one := func(g *account.Guard) {
		var c retry.Call
		c.Need = need
		c.Begin(context.Background(), p, targets, g)
		defer c.Close()
		for c.Next() {
			if c.Settle(endpoint.Outcome{Report: cost}) {
				return
			}
		}
	}
	b.Run("with the process's account", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			one(process.Guard())
		}
	})
	b.Run("with an account of its own below it", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			one(account.New(amount(1000, 1000), process).Guard())
		}
	})
}
