package fleet

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"llmcall/account"
	"llmcall/breaker"
	"llmcall/endpoint"
	"llmcall/fleet/internal/store"
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

// A failure of one of eight processes when the store has as many as it keeps of a circuit that
// does not open, for each of some thresholds.
func BenchmarkFailureInTheStore(b *testing.B) {
	server := servers.Redis(b)
	s, err := redis.Open(server.URL, nil)
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	for _, threshold := range []int{5, 64, 1000, 10_000} {
		b.Run(fmt.Sprint(threshold), func(b *testing.B) {
			set := settingsOf(breaker.Config{
				FailureThreshold: threshold, FailureWindow: time.Hour, FailureRate: 1, RecoveryTimeout: time.Minute, MaxOpen: time.Hour,
				HalfOpenProbes: 1, SuccessThreshold: 1, ProbeLease: time.Minute, RecoveryFactor: 1,
			}, 0)
			n := uint64(0)
			fail := func(count int) {
				q := question{Op: "report", Me: fmt.Sprintf("proc%02d", n%8), Settings: set, Held: []holding{}, Generation: 1, State: stateClosed, Answers: uint64(count)}
				n++
				q.Sequence = n
				for range count {
					q.Failures = append(q.Failures, failed{Kind: "transient", Status: 503, Code: "overloaded", Lasted: 100})
				}
				ctx, cancel := context.WithTimeout(b.Context(), 10*time.Second)
				defer cancel()
				if r := s.Run(ctx, []store.Call{callOf(circuitScript, fmt.Sprintf("bench:{%d}", threshold), q)}); r[0].Err != nil {
					b.Fatal(r[0].Err)
				}
			}
			for done := 0; done < threshold+100; done += 100 {
				fail(100)
			}
			server.Do("CONFIG", "RESETSTAT")
			for b.Loop() {
				fail(1)
			}
			_, stats, _ := strings.Cut(server.Do("INFO", "commandstats"), "cmdstat_evalsha:")
			_, each, _ := strings.Cut(stats, "usec_per_call=")
			each, _, _ = strings.Cut(each, ",")
			cost, err := strconv.ParseFloat(each, 64)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(cost, "µs-store")
			size, err := strconv.ParseFloat(server.Do("MEMORY", "USAGE", fmt.Sprintf("bench:{%d}", threshold), "SAMPLES", "0"), 64)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(size, "B-store")
		})
	}
}
