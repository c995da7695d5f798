package failure_test

import (
	"context"
	"fmt"
	"io"
	"time"

	"llmcall/failure"
)

func ExampleKindOf() {
	limited := &failure.Error{Kind: failure.RateLimited, Provider: "openai", Status: 429, RetryAfter: 20 * time.Second, Told: true}
	for _, err := range []error{
		fmt.Errorf("summary of page 3: %w", limited),
		fmt.Errorf("read the answer: %w", io.ErrUnexpectedEOF),
		context.DeadlineExceeded,
		nil,
	} {
		fmt.Printf("%v: %v\n", failure.KindOf(err), err)
	}
	// Output:
	// rate_limited: summary of page 3: openai: rate_limited (HTTP 429, come back in 20s)
	// transient: read the answer: unexpected EOF
	// deadline_exceeded: context deadline exceeded
	// unknown: <nil>
}

func ExampleTable_Set() {
	table := failure.Decisions()
	row := table.For(failure.ContentFiltered)
	fmt.Println(row.Again, row.Elsewhere, row.Breaker)

	// What one provider withholds another may answer.
	row.Elsewhere = failure.ElsewhereNow
	table.Set(failure.ContentFiltered, row)
	fmt.Println(table.For(failure.ContentFiltered).Elsewhere)
	// Output:
	// never never healthy
	// now
}
