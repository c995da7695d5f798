package bench

import (
	"context"
	"errors"
	"testing"

	"llmcall/retry"
)

// The work that is guarded: a call that succeeds, one of which each tenth fails,
// and one that fails twice before it succeeds. There is one of each for every
// signature that a library takes, so that none pays for a wrapper. They are
// variables, so that the compiler can inline them into no library.
var (
	works         = func() error { return nil }
	worksCtx      = func(context.Context) error { return nil }
	worksValue    = func() (int, error) { return 1, nil }
	worksCtxValue = func(context.Context) (int, error) { return 1, nil }
	worksTry      = func(context.Context, retry.Attempt) (int, error) { return 1, nil }

	tenth      = func() error { return tenthFails() }
	tenthValue = func() (int, error) { return 1, tenthFails() }

	tenthCtxValue = func(context.Context) (int, error) { return 1, tenthFails() }

	third      = func() error { return twoOfThreeFail() }
	thirdCtx   = func(context.Context) error { return twoOfThreeFail() }
	thirdValue = func() (int, error) { return 1, twoOfThreeFail() }
	thirdTry   = func(context.Context, retry.Attempt) (int, error) { return 1, twoOfThreeFail() }
)

var errDown = errors.New("the service is down")

var untilFailure, untilSuccess = 10, 3

func tenthFails() error {
	if untilFailure--; untilFailure > 0 {
		return nil
	}
	untilFailure = 10
	return errDown
}

func twoOfThreeFail() error {
	if untilSuccess--; untilSuccess > 0 {
		return errDown
	}
	untilSuccess = 3
	return nil
}

// way is one way to do the work of a row.
func way(b *testing.B, name string, run func(*testing.B)) {
	b.Helper()
	b.Run(name, func(b *testing.B) {
		b.ReportAllocs()
		untilFailure, untilSuccess = 10, 3
		run(b)
	})
}

// expect fails a benchmark whose last call did not end as it should: it has not
// measured the work of its row.
func expect(b *testing.B, got, want error) {
	b.Helper()
	if !errors.Is(got, want) {
		b.Fatalf("the last call returned %v, not %v", got, want)
	}
}

// loadAndCall is the floor of what looks at a word and calls a function.
func loadAndCall(b *testing.B) {
	var err error
	for b.Loop() {
		if word.Load() == 0 {
			err = works()
		}
	}
	expect(b, err, nil)
}

func loadAndCallOnAllCores(b *testing.B) {
	onAllCores(b, func(pb *testing.PB) (err error) {
		for pb.Next() {
			if word.Load() == 0 {
				err = works()
			}
		}
		return err
	})
}
