package llmcall_test

import (
	"testing"
	"testing/synctest"

	"llmcall"
	"llmcall/account"
	"llmcall/endpoint"
)

// What was taken from the rows is yielded: a queue would not give it again.
func TestEachYieldsWhatItTook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newEachModel(t, nil)
		c := client(t, m, checked, llmcall.RetryConfig{Account: account.New(endpoint.Amount{Tokens: 10_000}), MaxTokens: 300})
		taken := 0
		rows := func(yield func(int) bool) {
			for n := range 2000 {
				if taken++; !yield(n) {
					return
				}
			}
		}
		o := collect(t, llmcall.Each(t.Context(), c, rows, number, llmcall.EachConfig{}))
		if len(o.errs) != taken {
			t.Errorf("%v: %d were taken", o, taken)
		}
	})
}
