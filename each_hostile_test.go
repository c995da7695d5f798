package llmcall_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"llmcall"
	"llmcall/failure"
)

// The end of a short time without an answer is not seen late.
func TestEachGivesUpSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newEachModel(t, func(_ context.Context, _ int, since time.Duration) error {
			if since > 60*time.Millisecond {
				return failing(failure.Transient)
			}
			return nil
		})
		m.takes = 50 * time.Millisecond
		o := each(t.Context(), t, client(t, m, checked, llmcall.RetryConfig{}), 100, llmcall.EachConfig{GiveUpAfter: 200 * time.Millisecond})
		if took := time.Since(m.start); took > s/2 {
			t.Error(o, took)
		}
	})
}
