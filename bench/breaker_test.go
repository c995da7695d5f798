package bench

import (
	"errors"
	"sync/atomic"
	"testing"
	"time"

	cenk "github.com/cenk/backoff"
	eapache "github.com/eapache/go-resiliency/breaker"
	"github.com/failsafe-go/failsafe-go"
	"github.com/failsafe-go/failsafe-go/circuitbreaker"
	rubyist "github.com/rubyist/circuitbreaker"
	"github.com/sony/gobreaker/v2"

	"llmcall/breaker"
)

// All open after 5 failures and stay open for 60 s. Those "with a window" look
// at the calls of the last 300 s, and at the share of failures among them (80 %).

const (
	threshold = 5
	rate      = 0.8
	window    = 300 * time.Second
	openTime  = 60 * time.Second
)

func newOurs(b *testing.B, c breaker.Config) *breaker.Breaker {
	b.Helper()
	br, err := breaker.New("bench", c)
	if err != nil {
		b.Fatal(err)
	}
	return br
}

func newGobreaker() *gobreaker.CircuitBreaker[int] {
	return gobreaker.NewCircuitBreaker[int](gobreaker.Settings{Name: "bench", Timeout: openTime, ReadyToTrip: fiveInARow})
}

func fiveInARow(c gobreaker.Counts) bool { return c.ConsecutiveFailures >= threshold }

var gobreakerWindow = gobreaker.Settings{
	Name: "bench", Timeout: openTime, Interval: window, BucketPeriod: window / 10,
	ReadyToTrip: func(c gobreaker.Counts) bool {
		return c.TotalFailures >= threshold && float64(c.TotalFailures) >= rate*float64(c.Requests)
	},
}

func newFailsafe() circuitbreaker.CircuitBreaker[int] {
	return circuitbreaker.NewBuilder[int]().WithFailureThreshold(threshold).WithDelay(openTime).Build()
}

func newFailsafeWindow() circuitbreaker.CircuitBreaker[int] {
	return circuitbreaker.NewBuilder[int]().WithFailureRateThreshold(rate, threshold, window).WithDelay(openTime).Build()
}

func newRubyist() *rubyist.Breaker {
	return rubyist.NewBreakerWithOptions(&rubyist.Options{
		ShouldTrip: rubyist.ConsecutiveTripFunc(threshold), BackOff: cenk.NewConstantBackOff(openTime),
	})
}

func newRubyistWindow() *rubyist.Breaker {
	return rubyist.NewBreakerWithOptions(&rubyist.Options{
		ShouldTrip: rubyist.RateTripFunc(rate, threshold), BackOff: cenk.NewConstantBackOff(openTime),
		WindowTime: window, WindowBuckets: 10,
	})
}

// twoStep guards a call with failsafe-go's permits: all that it has to do, but
// without its executor, and without a defense against panics.
func twoStep(cb circuitbreaker.CircuitBreaker[int], fn func() error) error {
	if !cb.TryAcquirePermit() {
		return circuitbreaker.ErrOpen
	}
	err := fn()
	if err != nil {
		cb.RecordError(err)
	} else {
		cb.RecordSuccess()
	}
	return err
}

// word stands for a breaker's state in the floors.
var word atomic.Uint64

func BenchmarkClosed(b *testing.B) {
	way(b, "floor=load_and_call", loadAndCall)
	way(b, "ours=Do", func(b *testing.B) {
		br, ctx := newOurs(b, breaker.Config{}), b.Context()
		var err error
		for b.Loop() {
			_, err = breaker.Do(ctx, br, worksCtxValue)
		}
		expect(b, err, nil)
	})
	way(b, "peer=eapache", func(b *testing.B) {
		br := eapache.New(threshold, 2, openTime)
		var err error
		for b.Loop() {
			err = br.Run(works)
		}
		expect(b, err, nil)
	})
	way(b, "peer=gobreaker", func(b *testing.B) {
		br := newGobreaker()
		var err error
		for b.Loop() {
			_, err = br.Execute(worksValue)
		}
		expect(b, err, nil)
	})
	way(b, "peer=failsafe-go", func(b *testing.B) {
		br := failsafe.With(newFailsafe())
		var err error
		for b.Loop() {
			err = br.Run(works)
		}
		expect(b, err, nil)
	})
	way(b, "peer=failsafe-go,_permits", func(b *testing.B) {
		br := newFailsafe()
		var err error
		for b.Loop() {
			err = twoStep(br, works)
		}
		expect(b, err, nil)
	})
	way(b, "peer=rubyist", func(b *testing.B) {
		br := newRubyist()
		var err error
		for b.Loop() {
			err = br.Call(works, 0)
		}
		expect(b, err, nil)
	})
}

// onAllCores runs a loop of calls on each core; it returns its last error.
func onAllCores(b *testing.B, loop func(*testing.PB) error) {
	b.Helper()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		if err := loop(pb); err != nil {
			b.Error(err)
		}
	})
}

func BenchmarkClosedAllCores(b *testing.B) {
	way(b, "floor=load_and_call", loadAndCallOnAllCores)
	way(b, "ours=Do", func(b *testing.B) {
		br, ctx := newOurs(b, breaker.Config{}), b.Context()
		onAllCores(b, func(pb *testing.PB) (err error) {
			for pb.Next() {
				_, err = breaker.Do(ctx, br, worksCtxValue)
			}
			return err
		})
	})
	way(b, "peer=eapache", func(b *testing.B) {
		br := eapache.New(threshold, 2, openTime)
		onAllCores(b, func(pb *testing.PB) (err error) {
			for pb.Next() {
				err = br.Run(works)
			}
			return err
		})
	})
	way(b, "peer=gobreaker", func(b *testing.B) {
		br := newGobreaker()
		onAllCores(b, func(pb *testing.PB) (err error) {
			for pb.Next() {
				_, err = br.Execute(worksValue)
			}
			return err
		})
	})
	way(b, "peer=failsafe-go", func(b *testing.B) {
		br := failsafe.With(newFailsafe())
		onAllCores(b, func(pb *testing.PB) (err error) {
			for pb.Next() {
				err = br.Run(works)
			}
			return err
		})
	})
	way(b, "peer=failsafe-go,_permits", func(b *testing.B) {
		br := newFailsafe()
		onAllCores(b, func(pb *testing.PB) (err error) {
			for pb.Next() {
				err = twoStep(br, works)
			}
			return err
		})
	})
	way(b, "peer=rubyist", func(b *testing.B) {
		br := newRubyist()
		onAllCores(b, func(pb *testing.PB) (err error) {
			for pb.Next() {
				err = br.Call(works, 0)
			}
			return err
		})
	})
}

func BenchmarkWindow(b *testing.B) {
	way(b, "floor=add_and_call", func(b *testing.B) {
		var err error
		for b.Loop() {
			word.Add(1)
			err = works()
		}
		expect(b, err, nil)
	})
	way(b, "floor=add,_call_and_clock", func(b *testing.B) {
		base := time.Now()
		var err error
		for b.Loop() {
			word.Add(1)
			err = works()
			_ = time.Since(base)
		}
		expect(b, err, nil)
	})
	way(b, "ours=Do", func(b *testing.B) {
		br, ctx := newOurs(b, breaker.Config{}), b.Context()
		var err error
		for b.Loop() {
			_, err = breaker.Do(ctx, br, worksCtxValue)
		}
		expect(b, err, nil)
	})
	way(b, "ours=Do,_count_alone", func(b *testing.B) {
		br, ctx := newOurs(b, breaker.Config{FailureRate: -1}), b.Context()
		var err error
		for b.Loop() {
			_, err = breaker.Do(ctx, br, worksCtxValue)
		}
		expect(b, err, nil)
	})
	way(b, "ours=Do,_slow_calls_watched", func(b *testing.B) {
		br, ctx := newOurs(b, breaker.Config{SlowCall: time.Hour}), b.Context()
		var err error
		for b.Loop() {
			_, err = breaker.Do(ctx, br, worksCtxValue)
		}
		expect(b, err, nil)
	})
	way(b, "peer=gobreaker", func(b *testing.B) {
		br := gobreaker.NewCircuitBreaker[int](gobreakerWindow)
		var err error
		for b.Loop() {
			_, err = br.Execute(worksValue)
		}
		expect(b, err, nil)
	})
	way(b, "peer=failsafe-go", func(b *testing.B) {
		br := failsafe.With(newFailsafeWindow())
		var err error
		for b.Loop() {
			err = br.Run(works)
		}
		expect(b, err, nil)
	})
	way(b, "peer=failsafe-go,_permits", func(b *testing.B) {
		br := newFailsafeWindow()
		var err error
		for b.Loop() {
			err = twoStep(br, works)
		}
		expect(b, err, nil)
	})
	way(b, "peer=rubyist", func(b *testing.B) {
		br := newRubyistWindow()
		var err error
		for b.Loop() {
			err = br.Call(works, 0)
		}
		expect(b, err, nil)
	})
}

func BenchmarkWindowAllCores(b *testing.B) {
	way(b, "floor=load_and_call", loadAndCallOnAllCores)
	way(b, "ours=Do", func(b *testing.B) {
		br, ctx := newOurs(b, breaker.Config{}), b.Context()
		onAllCores(b, func(pb *testing.PB) (err error) {
			for pb.Next() {
				_, err = breaker.Do(ctx, br, worksCtxValue)
			}
			return err
		})
	})
	way(b, "peer=gobreaker", func(b *testing.B) {
		br := gobreaker.NewCircuitBreaker[int](gobreakerWindow)
		onAllCores(b, func(pb *testing.PB) (err error) {
			for pb.Next() {
				_, err = br.Execute(worksValue)
			}
			return err
		})
	})
	way(b, "peer=failsafe-go", func(b *testing.B) {
		br := failsafe.With(newFailsafeWindow())
		onAllCores(b, func(pb *testing.PB) (err error) {
			for pb.Next() {
				err = br.Run(works)
			}
			return err
		})
	})
	way(b, "peer=failsafe-go,_permits", func(b *testing.B) {
		br := newFailsafeWindow()
		onAllCores(b, func(pb *testing.PB) (err error) {
			for pb.Next() {
				err = twoStep(br, works)
			}
			return err
		})
	})
	way(b, "peer=rubyist", func(b *testing.B) {
		br := newRubyistWindow()
		onAllCores(b, func(pb *testing.PB) (err error) {
			for pb.Next() {
				err = br.Call(works, 0)
			}
			return err
		})
	})
}

// BenchmarkTenPercentFailures is BenchmarkWindow with each tenth call failing: a
// share at which every breaker must stay closed.
func BenchmarkTenPercentFailures(b *testing.B) {
	stays := func(b *testing.B, err error) {
		b.Helper()
		if err != nil && err != errDown {
			b.Fatalf("the circuit has opened: %v", err)
		}
	}
	way(b, "floor=add_and_call,_clock_at_a_failure", func(b *testing.B) {
		base := time.Now()
		var err error
		for b.Loop() {
			word.Add(1)
			if err = tenth(); err != nil {
				_ = time.Since(base)
			}
		}
		stays(b, err)
	})
	way(b, "ours=Do", func(b *testing.B) {
		br, ctx := newOurs(b, breaker.Config{}), b.Context()
		var err error
		for b.Loop() {
			_, err = breaker.Do(ctx, br, tenthCtxValue)
		}
		stays(b, err)
	})
	way(b, "peer=gobreaker", func(b *testing.B) {
		br := gobreaker.NewCircuitBreaker[int](gobreakerWindow)
		for range 10 * threshold { // not to begin with a failure
			br.Execute(worksValue)
		}
		var err error
		for b.Loop() {
			_, err = br.Execute(tenthValue)
		}
		stays(b, err)
	})
	way(b, "peer=failsafe-go", func(b *testing.B) {
		br := failsafe.With(newFailsafeWindow())
		var err error
		for b.Loop() {
			err = br.Run(tenth)
		}
		stays(b, err)
	})
	way(b, "peer=failsafe-go,_permits", func(b *testing.B) {
		br := newFailsafeWindow()
		var err error
		for b.Loop() {
			err = twoStep(br, tenth)
		}
		stays(b, err)
	})
	way(b, "peer=rubyist", func(b *testing.B) {
		br := newRubyistWindow()
		var err error
		for b.Loop() {
			err = br.Call(tenth, 0)
		}
		stays(b, err)
	})
}

func BenchmarkOpen(b *testing.B) {
	way(b, "floor=load", func(b *testing.B) {
		for b.Loop() {
			word.Load()
		}
	})
	way(b, "floor=load_and_clock", func(b *testing.B) {
		base := time.Now()
		for b.Loop() {
			word.Load()
			_ = time.Since(base)
		}
	})
	way(b, "ours=Do", func(b *testing.B) {
		br, ctx := newOurs(b, breaker.Config{}), b.Context()
		br.Trip(breaker.Failure{})
		var err error
		for b.Loop() {
			_, err = breaker.Do(ctx, br, worksCtxValue)
		}
		if !errors.As(err, new(*breaker.OpenError)) {
			b.Fatal("not open")
		}
	})
	way(b, "peer=eapache", func(b *testing.B) {
		br := eapache.New(1, 2, openTime)
		br.Run(func() error { return errDown })
		var err error
		for b.Loop() {
			err = br.Run(works)
		}
		expect(b, err, eapache.ErrBreakerOpen)
	})
	way(b, "peer=gobreaker", func(b *testing.B) {
		br := newGobreaker()
		for range threshold {
			br.Execute(func() (int, error) { return 0, errDown })
		}
		var err error
		for b.Loop() {
			_, err = br.Execute(worksValue)
		}
		expect(b, err, gobreaker.ErrOpenState)
	})
	way(b, "peer=failsafe-go", func(b *testing.B) {
		cb := newFailsafe()
		cb.Open()
		br := failsafe.With(cb)
		var err error
		for b.Loop() {
			err = br.Run(works)
		}
		expect(b, err, circuitbreaker.ErrOpen)
	})
	way(b, "peer=failsafe-go,_permits", func(b *testing.B) {
		br := newFailsafe()
		br.Open()
		var err error
		for b.Loop() {
			err = twoStep(br, works)
		}
		expect(b, err, circuitbreaker.ErrOpen)
	})
	way(b, "peer=rubyist", func(b *testing.B) {
		br := newRubyist()
		br.Trip()
		var err error
		for b.Loop() {
			err = br.Call(works, 0)
		}
		expect(b, err, rubyist.ErrBreakerOpen)
	})
}

// BenchmarkPermit asks for leave and reports the outcome in a second step. There
// is no call between the two.
func BenchmarkPermit(b *testing.B) {
	way(b, "floor=two_loads", func(b *testing.B) {
		for b.Loop() {
			word.Load()
			word.Load()
		}
	})
	way(b, "ours=Enter,_Leave", func(b *testing.B) {
		br := newOurs(b, breaker.Config{})
		for b.Loop() {
			pass, refusal := br.Enter()
			if refusal != nil {
				b.Fatal(refusal)
			}
			br.Leave(pass, breaker.Succeeded, breaker.Failure{})
		}
	})
	way(b, "ours=Acquire,_Success", func(b *testing.B) {
		br := newOurs(b, breaker.Config{})
		for b.Loop() {
			p, err := br.Acquire()
			if err != nil {
				b.Fatal(err)
			}
			p.Success()
		}
	})
	way(b, "peer=gobreaker", func(b *testing.B) {
		br := gobreaker.NewTwoStepCircuitBreaker[int](gobreakerWindow)
		for b.Loop() {
			done, err := br.Allow()
			if err != nil {
				b.Fatal(err)
			}
			done(nil)
		}
	})
	way(b, "peer=failsafe-go", func(b *testing.B) {
		br := newFailsafeWindow()
		for b.Loop() {
			if !br.TryAcquirePermit() {
				b.Fatal("refused")
			}
			br.RecordSuccess()
		}
	})
	way(b, "peer=rubyist", func(b *testing.B) {
		br := newRubyistWindow()
		for b.Loop() {
			if !br.Ready() {
				b.Fatal("refused")
			}
			br.Success()
		}
	})
}
