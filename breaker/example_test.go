package breaker_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"llmcall/breaker"
)

func Example() {
	circuit, err := breaker.New("openai/gpt-5-mini", breaker.Config{FailureThreshold: 2})
	if err != nil {
		panic(err)
	}
	ask := func(context.Context) (string, error) { return "", errors.New("connection refused") }
	for range 3 {
		_, err := breaker.Do(context.Background(), circuit, ask)
		fmt.Println(err)
	}
	// Output:
	// connection refused
	// connection refused
	// circuit "openai/gpt-5-mini" is OPEN, admits a probe in 1m0s; it opened after: error
}

// A caller that knows what a failure means says so itself.
func ExampleBreaker_Enter() {
	circuit, err := breaker.New("openai/gpt-5-mini", breaker.Config{}, func(t breaker.Transition) {
		fmt.Printf("%v -> %v: %v\n", t.From, t.To, t.Cause)
	})
	if err != nil {
		panic(err)
	}
	pass, refusal := circuit.Enter()
	if refusal != nil {
		panic(refusal)
	}
	// The request is sent. When its answer begins, a probe has passed:
	pass = circuit.Accept(pass)
	// The answer breaks off, since the account has no money left:
	circuit.Leave(pass, breaker.Tripped, breaker.Failure{
		Cause:    breaker.Cause{Kind: "quota_exhausted", Status: 429, Code: "insufficient_quota"},
		AskedFor: 30 * time.Minute,
	})
	// Output:
	// CLOSED -> OPEN: quota_exhausted (HTTP 429, insufficient_quota)
}
