package endpoint_test

import (
	"context"
	"errors"
	"fmt"

	"llmcall/breaker"
	"llmcall/endpoint"
	"llmcall/retry"
)

// What is shared can be listed, looked at, reset and forced. A program does so
// with [endpoint.Default], the registry of the process.
func ExampleRegistry() {
	registry, err := endpoint.NewRegistry(endpoint.Config{})
	if err != nil {
		panic(err)
	}
	acme := registry.Get(endpoint.Key{Model: "acme/large", Address: "https://llm.acme.example"})
	policy, err := retry.New(retry.Config{MaxAttempts: 1, Target: retry.Target{
		Endpoint: acme, Guards: acme.Guards(endpoint.Options{Breaker: breaker.Config{FailureThreshold: 1}}),
	}})
	if err != nil {
		panic(err)
	}
	_, _ = retry.Do(context.Background(), policy, func(context.Context, retry.Attempt) (string, error) {
		return "", errors.New("the connection broke")
	})

	for e := range registry.All() {
		s := e.Snapshot()
		fmt.Println(s.Key, s.Circuits[0].State, s.Pace.Free, s.Retries)
	}
	acme.Reset() // or registry.Reset()
	fmt.Println(acme.Snapshot().Circuits[0].State)
	acme.ForceOpen("maintenance until noon") // until Reset or ForceClosed
	fmt.Println(acme.Snapshot().Circuits[0].Forced)
	// Output:
	// acme/large at https://llm.acme.example OPEN true 100
	// CLOSED
	// true
}
