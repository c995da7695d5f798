package retry_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"llmcall/backoff"
	"llmcall/endpoint"
	"llmcall/failure"
	"llmcall/retry"
)

// With an endpoint, all callers share its budget of retries, its pacer and its
// circuit breaker.
func ExampleDo() {
	registry, err := endpoint.NewRegistry(endpoint.Config{}) // or endpoint.Default()
	if err != nil {
		panic(err)
	}
	payments := registry.Get(endpoint.Key{Name: "payments"})
	policy, err := retry.New(retry.Config{
		Backoff: backoff.Exponential{Initial: 10 * time.Millisecond},
		Target:  retry.Target{Endpoint: payments},
	})
	if err != nil {
		panic(err)
	}
	answer, err := retry.Do(context.Background(), policy, func(_ context.Context, a retry.Attempt) (string, error) {
		if a.Number < 3 {
			return "", errors.New("not yet")
		}
		return "paid", nil
	})
	fmt.Println(answer, err)

	_, err = retry.Do(context.Background(), policy, func(context.Context, retry.Attempt) (string, error) {
		return "", &failure.Error{Kind: failure.Unauthorized, Status: 401}
	})
	stopped, _ := errors.AsType[*retry.Error](err)
	fmt.Println(stopped.Reason, stopped.Attempts)

	_, err = retry.Do(context.Background(), policy, func(context.Context, retry.Attempt) (string, error) {
		return "never asked", nil
	})
	fmt.Println(failure.KindOf(err))
	// Output:
	// paid <nil>
	// not_retryable 1
	// circuit_open
}
