package simulate_test

import (
	"context"
	"fmt"

	"llmcall"
	"llmcall/simulate"
)

// What a retry buys in a brownout, and what it costs the provider.
func ExampleDo() {
	for _, attempts := range []int{1, 3} {
		brownout := simulate.Must(simulate.Named("brownout"))
		r, err := simulate.Do(context.Background(), llmcall.RetryConfig{MaxAttempts: attempts}, brownout)
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Printf("%d: %.0f %% answered, %.2f requests an answer, p99 %.0f s\n", attempts, 100*r.AnsweredShare(), r.RequestsPerAnswer(), r.P99.Seconds())
	}
	// Output:
	// 1: 84 % answered, 1.19 requests an answer, p99 8 s
	// 3: 96 % answered, 1.29 requests an answer, p99 9 s
}
