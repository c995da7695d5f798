package fleet

import (
	"slices"
	"testing"
	"time"

	"llmcall/account"
	"llmcall/endpoint"
	"llmcall/fleet/internal/store/redis"
	"llmcall/internal/servers"
)

// A reservation and its settlement, with what is open and with one question to a real Redis
// for each.
func BenchmarkPurse(b *testing.B) {
	server := servers.Redis(b)
	s, err := redis.Open(server.URL, nil)
	if err != nil {
		b.Fatal(err)
	}
	f, err := open(s, Options{Secret: "of the tests"})
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	one := money(1)
	spend := func(b *testing.B, a *account.Account, amount endpoint.Amount) {
		lent, err := a.Reserve(amount, amount)
		if err != nil {
			b.Fatal(err)
		}
		a.Settle(lent, endpoint.Amount{})
	}
	b.Run("alone", func(b *testing.B) {
		a := account.Daily(money(account.Dollar), time.UTC)
		for b.Loop() {
			spend(b, a, one)
		}
	})
	b.Run("what is open", func(b *testing.B) {
		a := f.Account("open", money(account.Dollar), time.UTC)
		for b.Loop() {
			spend(b, a, one)
		}
	})
	b.Run("what is asked for", func(b *testing.B) {
		a := f.Account("asked for", money(account.Dollar), time.UTC)
		var all []time.Duration
		late := 0
		for b.Loop() {
			began := time.Now()
			if err := a.Lender.Lend(b.Context(), one); err != nil {
				late++
				time.Sleep(callWait) // nobody waits until it is known that the store is quick again
			}
			all = append(all, time.Since(began))
		}
		slices.Sort(all)
		b.ReportMetric(float64(all[len(all)/2].Microseconds()), "µs-p50")
		b.ReportMetric(float64(all[len(all)*99/100].Microseconds()), "µs-p99")
		b.ReportMetric(float64(late)/float64(len(all)), "late/op")
	})
}
