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
	b.Run("what is not", func(b *testing.B) {
		var all []time.Duration
		refused := 0
		for b.Loop() {
			b.StopTimer()
			a := f.Account("not open", money(account.Dollar), time.UTC)
			b.StartTimer()
			began := time.Now()
			if _, err := a.Reserve(money(account.Dollar/2), money(account.Dollar/2)); err != nil {
				refused++
			}
			all = append(all, time.Since(began))
			a.Settle(money(account.Dollar/2), endpoint.Amount{})
			b.StopTimer()
			for range 3 { // gives all back
				a.Lender.(*purse).f.wake()
			}
			b.StartTimer()
		}
		slices.Sort(all)
		b.ReportMetric(float64(all[len(all)/2].Microseconds()), "µs-p50")
		b.ReportMetric(float64(all[len(all)*99/100].Microseconds()), "µs-p99")
		b.ReportMetric(float64(refused)/float64(len(all)), "refused/op")
	})
}
