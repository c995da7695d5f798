package pace_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"llmcall/pace"
)

// A Pacer is free until something is known. A request takes a turn, and tells
// what the provider did.
func ExamplePacer() {
	var p pace.Pacer
	turn, err := p.Wait(context.Background(), pace.Cost{})
	if err != nil {
		panic(err)
	}
	p.Refused(turn, &pace.Told{Wait: 20 * time.Second, HasWait: true}) // a 429 with Retry-After: 20
	p.Done(turn)

	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	_, err = p.Wait(ctx, pace.Cost{}) // ends at once: the deadline can't hold the wait
	refusal, ok := errors.AsType[*pace.Error](err)
	fmt.Println(ok, refusal.Why, refusal.Wait.Round(10*time.Second))

	p.Reset()
	_, refusal = p.Try(pace.Cost{})
	fmt.Println(refusal == nil, p.Snapshot().Free)
	// Output:
	// true told_time 20s
	// true true
}
