package bench

import (
	"context"
	"net/http"
	"testing"
	"time"

	avast "github.com/avast/retry-go/v5"
	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/ratelimit"
	aws "github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/smithy-go/middleware"
	cenkalti "github.com/cenkalti/backoff/v7"
	eapache "github.com/eapache/go-resiliency/breaker"
	"github.com/eapache/go-resiliency/retrier"
	"github.com/failsafe-go/failsafe-go"
	"github.com/failsafe-go/failsafe-go/retrypolicy"
	"github.com/hashicorp/go-retryablehttp"
	sethvargo "github.com/sethvargo/go-retry"
	xrate "golang.org/x/time/rate"

	"llmcall/backoff"
	"llmcall/breaker"
	"llmcall/endpoint"
	"llmcall/failure"
	"llmcall/pace"
	"llmcall/retry"
)

// All make at most three attempts. What a library's documentation makes once and
// uses again is made outside the loop; what it makes for each call, because it
// keeps its place, is made inside.

func newPolicy(b *testing.B, c retry.Config) *retry.Policy {
	b.Helper()
	p, err := retry.New(c)
	if err != nil {
		b.Fatal(err)
	}
	return p
}

// newTarget returns an endpoint of its own, with its guards.
func newTarget(b *testing.B, o endpoint.Options) retry.Target {
	b.Helper()
	r, err := endpoint.NewRegistry(endpoint.Config{})
	if err != nil {
		b.Fatal(err)
	}
	e := r.Get(endpoint.Key{Model: "bench"})
	return retry.Target{Endpoint: e, Guards: e.Guards(o)}
}

// newHashicorp returns a client whose every request is answered by fn, without a
// network.
func newHashicorp(b *testing.B, fn *func() error) (*retryablehttp.Client, *retryablehttp.Request) {
	b.Helper()
	c := retryablehttp.NewClient()
	c.Logger, c.RetryMax = nil, 2
	c.Backoff = func(time.Duration, time.Duration, int, *http.Response) time.Duration { return 0 }
	c.HTTPClient = &http.Client{Transport: answers{fn}}
	req, err := retryablehttp.NewRequestWithContext(b.Context(), http.MethodGet, "http://127.0.0.1/", nil)
	if err != nil {
		b.Fatal(err)
	}
	return c, req
}

type answers struct{ fn *func() error }

var well, down = &http.Response{StatusCode: 200, Body: http.NoBody}, &http.Response{StatusCode: 503, Body: http.NoBody}

func (a answers) RoundTrip(*http.Request) (*http.Response, error) {
	if (*a.fn)() != nil {
		return down, nil
	}
	return well, nil
}

// newAWSLoop returns the SDK's retry loop, without its retry quota, which the
// others do not have either.
func newAWSLoop() *aws.Attempt {
	retryer := aws.NewStandard(func(o *aws.StandardOptions) {
		o.MaxAttempts, o.RateLimiter = 3, ratelimit.None
		o.Backoff = aws.BackoffDelayerFunc(func(int, error) (time.Duration, error) { return 0, nil })
		o.Retryables = append(o.Retryables, aws.IsErrorRetryableFunc(func(err error) awssdk.Ternary { return awssdk.BoolTernary(err == errDown) }))
	})
	return aws.NewAttemptMiddleware(retryer, func(req any) any { return req })
}

func awsHandler(fn *func(context.Context) error) middleware.FinalizeHandler {
	return middleware.FinalizeHandlerFunc(func(ctx context.Context, _ middleware.FinalizeInput) (
		out middleware.FinalizeOutput, metadata middleware.Metadata, err error,
	) {
		return out, metadata, (*fn)(ctx)
	})
}

func BenchmarkRetryFirstTry(b *testing.B) {
	way(b, "floor=call", func(b *testing.B) {
		var err error
		for b.Loop() {
			err = works()
		}
		expect(b, err, nil)
	})
	way(b, "ours=Do", func(b *testing.B) {
		p, ctx := newPolicy(b, retry.Config{}), b.Context()
		var err error
		for b.Loop() {
			_, err = retry.Do(ctx, p, worksTry)
		}
		expect(b, err, nil)
	})
	way(b, "ours=Do,_background_context", func(b *testing.B) {
		p, ctx := newPolicy(b, retry.Config{}), context.Background()
		var err error
		for b.Loop() {
			_, err = retry.Do(ctx, p, worksTry)
		}
		expect(b, err, nil)
	})
	way(b, "peer=eapache", func(b *testing.B) {
		r, ctx := retrier.New(retrier.ExponentialBackoff(2, time.Second), nil), b.Context()
		var err error
		for b.Loop() {
			err = r.RunCtx(ctx, worksCtx)
		}
		expect(b, err, nil)
	})
	way(b, "peer=avast", func(b *testing.B) {
		r := avast.NewWithData[int](avast.Attempts(3), avast.Context(b.Context()))
		var err error
		for b.Loop() {
			_, err = r.Do(worksValue)
		}
		expect(b, err, nil)
	})
	way(b, "peer=cenkalti", func(b *testing.B) {
		ctx := b.Context()
		var err error
		for b.Loop() {
			_, err = cenkalti.Retry(ctx, worksValue, cenkalti.WithBackOff(cenkalti.NewExponentialBackOff()), cenkalti.WithMaxTries(3))
		}
		expect(b, err, nil)
	})
	way(b, "peer=sethvargo", func(b *testing.B) {
		ctx := b.Context()
		var err error
		for b.Loop() {
			err = sethvargo.Do(ctx, sethvargo.WithMaxRetries(2, sethvargo.NewExponential(time.Second)), worksCtx)
		}
		expect(b, err, nil)
	})
	way(b, "peer=failsafe-go", func(b *testing.B) {
		r := failsafe.With(retrypolicy.NewBuilder[int]().WithBackoff(time.Second, time.Minute).Build()).WithContext(b.Context())
		var err error
		for b.Loop() {
			err = r.Run(works)
		}
		expect(b, err, nil)
	})
	way(b, "peer=hashicorp", func(b *testing.B) {
		c, req := newHashicorp(b, &works)
		var err error
		for b.Loop() {
			_, err = c.Do(req)
		}
		expect(b, err, nil)
	})
	way(b, "peer=aws", func(b *testing.B) {
		r, next, ctx := newAWSLoop(), awsHandler(&worksCtx), b.Context()
		var err error
		for b.Loop() {
			_, _, err = r.HandleFinalize(ctx, middleware.FinalizeInput{}, next)
		}
		expect(b, err, nil)
	})
}

func BenchmarkRetryTwoFailures(b *testing.B) {
	way(b, "floor=three_calls", func(b *testing.B) {
		var err error
		for b.Loop() {
			for range 3 {
				if err = third(); err == nil {
					break
				}
			}
		}
		expect(b, err, nil)
	})
	way(b, "ours=Do", func(b *testing.B) {
		p, ctx := newPolicy(b, retry.Config{Backoff: backoff.Constant{}}), b.Context()
		var err error
		for b.Loop() {
			_, err = retry.Do(ctx, p, thirdTry)
		}
		expect(b, err, nil)
	})
	way(b, "ours=Do,_classified_error", func(b *testing.B) {
		p, ctx := newPolicy(b, retry.Config{Backoff: backoff.Constant{}}), b.Context()
		classified := &failure.Error{Kind: failure.Transient, Err: errDown}
		fn := func(context.Context, retry.Attempt) (int, error) {
			if twoOfThreeFail() != nil {
				return 0, classified
			}
			return 1, nil
		}
		var err error
		for b.Loop() {
			_, err = retry.Do(ctx, p, fn)
		}
		expect(b, err, nil)
	})
	way(b, "peer=eapache", func(b *testing.B) {
		r, ctx := retrier.New(retrier.ConstantBackoff(2, 0), nil), b.Context()
		var err error
		for b.Loop() {
			err = r.RunCtx(ctx, thirdCtx)
		}
		expect(b, err, nil)
	})
	way(b, "peer=avast", func(b *testing.B) {
		r := avast.NewWithData[int](avast.Attempts(3), avast.Context(b.Context()), avast.Delay(0), avast.DelayType(avast.FixedDelay))
		var err error
		for b.Loop() {
			_, err = r.Do(thirdValue)
		}
		expect(b, err, nil)
	})
	way(b, "peer=cenkalti", func(b *testing.B) {
		ctx := b.Context()
		var err error
		for b.Loop() {
			_, err = cenkalti.Retry(ctx, thirdValue, cenkalti.WithBackOff(&cenkalti.ZeroBackOff{}), cenkalti.WithMaxTries(3))
		}
		expect(b, err, nil)
	})
	way(b, "peer=sethvargo", func(b *testing.B) {
		ctx := b.Context()
		noWait := sethvargo.BackoffFunc(func() (time.Duration, bool) { return 0, false })
		fn := func(ctx context.Context) error {
			if err := twoOfThreeFail(); err != nil {
				return sethvargo.RetryableError(err)
			}
			return nil
		}
		var err error
		for b.Loop() {
			err = sethvargo.Do(ctx, sethvargo.WithMaxRetries(2, noWait), fn)
		}
		expect(b, err, nil)
	})
	way(b, "peer=failsafe-go", func(b *testing.B) {
		r := failsafe.With(retrypolicy.NewWithDefaults[int]()).WithContext(b.Context())
		var err error
		for b.Loop() {
			err = r.Run(third)
		}
		expect(b, err, nil)
	})
	way(b, "peer=hashicorp", func(b *testing.B) {
		c, req := newHashicorp(b, &third)
		var err error
		for b.Loop() {
			_, err = c.Do(req)
		}
		expect(b, err, nil)
	})
	way(b, "peer=aws", func(b *testing.B) {
		r, next, ctx := newAWSLoop(), awsHandler(&thirdCtx), b.Context()
		var err error
		for b.Loop() {
			_, _, err = r.HandleFinalize(ctx, middleware.FinalizeInput{}, next)
		}
		expect(b, err, nil)
	})
}

// BenchmarkRetryWithBreaker guards each attempt with a circuit breaker.
func BenchmarkRetryWithBreaker(b *testing.B) {
	way(b, "floor=load_and_call", loadAndCall)
	way(b, "ours=Do", func(b *testing.B) {
		p, ctx := newPolicy(b, retry.Config{Target: retry.Target{Guards: []endpoint.Guard{endpoint.Circuit(newOurs(b, breaker.Config{}))}}}), b.Context()
		var err error
		for b.Loop() {
			_, err = retry.Do(ctx, p, worksTry)
		}
		expect(b, err, nil)
	})
	way(b, "peer=eapache_retrier_and_breaker", func(b *testing.B) {
		r, br := retrier.New(retrier.ExponentialBackoff(2, time.Second), nil), eapache.New(threshold, 2, openTime)
		ctx := b.Context()
		fn := func(context.Context) error { return br.Run(works) }
		var err error
		for b.Loop() {
			err = r.RunCtx(ctx, fn)
		}
		expect(b, err, nil)
	})
	way(b, "peer=avast_and_eapache", func(b *testing.B) {
		r, br := avast.New(avast.Attempts(3), avast.Context(b.Context())), eapache.New(threshold, 2, openTime)
		fn := func() error { return br.Run(works) }
		var err error
		for b.Loop() {
			err = r.Do(fn)
		}
		expect(b, err, nil)
	})
	way(b, "peer=avast_and_gobreaker", func(b *testing.B) {
		r, br := avast.NewWithData[int](avast.Attempts(3), avast.Context(b.Context())), newGobreaker()
		fn := func() (int, error) { return br.Execute(worksValue) }
		var err error
		for b.Loop() {
			_, err = r.Do(fn)
		}
		expect(b, err, nil)
	})
	way(b, "peer=cenkalti_and_gobreaker", func(b *testing.B) {
		br, ctx := newGobreaker(), b.Context()
		fn := func() (int, error) { return br.Execute(worksValue) }
		var err error
		for b.Loop() {
			_, err = cenkalti.Retry(ctx, fn, cenkalti.WithBackOff(cenkalti.NewExponentialBackOff()), cenkalti.WithMaxTries(3))
		}
		expect(b, err, nil)
	})
	way(b, "peer=failsafe-go", func(b *testing.B) {
		r := failsafe.With[int](
			retrypolicy.NewBuilder[int]().WithBackoff(time.Second, time.Minute).Build(), newFailsafeWindow(),
		).WithContext(b.Context())
		var err error
		for b.Loop() {
			err = r.Run(works)
		}
		expect(b, err, nil)
	})
}

// BenchmarkRetryPaced is a first try behind the pacer and the circuit, without a
// budget of retries, which no peer has.
func BenchmarkRetryPaced(b *testing.B) {
	way(b, "floor=load_and_call", loadAndCall)
	way(b, "ours=Do,_pacer_and_circuit", func(b *testing.B) {
		p, ctx := newPolicy(b, retry.Config{Target: newTarget(b, endpoint.Options{NoBudget: true})}), b.Context()
		var err error
		for b.Loop() {
			_, err = retry.Do(ctx, p, worksTry)
		}
		expect(b, err, nil)
	})
}

// BenchmarkAttempt is what an attempt costs in all, with everything that stands
// before it by default: the budget, the pacer and the circuit of its endpoint.
func BenchmarkAttempt(b *testing.B) {
	way(b, "floor=load_and_call", loadAndCall)
	way(b, "ours=Do,_budget,_pacer_and_circuit", func(b *testing.B) {
		p, ctx := newPolicy(b, retry.Config{Target: newTarget(b, endpoint.Options{})}), b.Context()
		var err error
		for b.Loop() {
			_, err = retry.Do(ctx, p, worksTry)
		}
		expect(b, err, nil)
	})
	way(b, "ours=the_same_with_a_deadline", func(b *testing.B) {
		ctx, cancel := context.WithTimeout(b.Context(), time.Hour)
		defer cancel()
		p := newPolicy(b, retry.Config{Target: newTarget(b, endpoint.Options{})})
		var err error
		for b.Loop() {
			_, err = retry.Do(ctx, p, worksTry)
		}
		expect(b, err, nil)
	})
	way(b, "ours=and_an_observer", func(b *testing.B) {
		observe := func(context.Context, retry.Event) context.Context { return nil }
		p, ctx := newPolicy(b, retry.Config{Target: newTarget(b, endpoint.Options{}), Observer: observe}), b.Context()
		var err error
		for b.Loop() {
			_, err = retry.Do(ctx, p, worksTry)
		}
		expect(b, err, nil)
	})
	way(b, "peer=failsafe-go,_a_window", func(b *testing.B) {
		r := failsafe.With[int](
			retrypolicy.NewBuilder[int]().WithBackoff(time.Second, time.Minute).Build(), newFailsafeWindow(),
		).WithContext(b.Context())
		var err error
		for b.Loop() {
			err = r.Run(works)
		}
		expect(b, err, nil)
	})
}

// BenchmarkAttemptAllCores is the same, on all cores.
func BenchmarkAttemptAllCores(b *testing.B) {
	way(b, "floor=load_and_call", loadAndCallOnAllCores)
	way(b, "ours=Do,_budget,_pacer_and_circuit", func(b *testing.B) {
		p, ctx := newPolicy(b, retry.Config{Target: newTarget(b, endpoint.Options{})}), b.Context()
		onAllCores(b, func(pb *testing.PB) (err error) {
			for pb.Next() {
				_, err = retry.Do(ctx, p, worksTry)
			}
			return err
		})
	})
}

// BenchmarkPacer is what the pacer costs while nobody was refused: a turn, an
// answer, and the end of the request.
func BenchmarkPacer(b *testing.B) {
	way(b, "floor=load", func(b *testing.B) {
		for b.Loop() {
			word.Load()
		}
	})
	way(b, "ours=Try,_Accepted,_Done", func(b *testing.B) {
		var p pace.Pacer
		for b.Loop() {
			turn, refusal := p.Try(pace.Cost{})
			if refusal != nil {
				b.Fatal(refusal)
			}
			p.Accepted(turn, nil)
			p.Done(turn)
		}
	})
	way(b, "peer=time-rate", func(b *testing.B) {
		l := xrate.NewLimiter(xrate.Inf, 1)
		for b.Loop() {
			if !l.Allow() {
				b.Fatal("refused")
			}
		}
	})
}
