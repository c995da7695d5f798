package backoff_test

import (
	"fmt"
	"time"

	"llmcall/backoff"
)

// The delays double from Initial to Max. Without jitter they are exact, which
// is for tests; many clients of one service should keep the default jitter.
func ExampleExponential() {
	delays := backoff.Exponential{
		Initial: 500 * time.Millisecond,
		Max:     5 * time.Second,
		Jitter:  backoff.NoJitter,
	}
	for attempt := range 5 {
		fmt.Println(delays.Delay(attempt))
	}
	// Output:
	// 500ms
	// 1s
	// 2s
	// 4s
	// 5s
}

// The same 64 random bits give the same delay, so a simulation can be repeated.
func ExampleExponential_At() {
	delays := backoff.Exponential{Jitter: backoff.FullJitter}
	fmt.Println(delays.At(3, 0), delays.At(3, 1<<63))
	// Output: 0s 4s
}
