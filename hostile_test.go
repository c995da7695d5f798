package llmcall_test

import (
	"context"
	"testing"
	"testing/synctest"

	"llmcall"
	"llmcall/llm"
)

// odd is the error of a context, of a type that can't be compared.
type odd []error

func (odd) Error() string { return "odd" }

type oddContext struct{ context.Context }

func (oddContext) Err() error { return odd{context.Canceled} }

func (oddContext) Done() <-chan struct{} {
	done := make(chan struct{})
	close(done)
	return done
}

// A context may end with an error of any type: that of Wait's panicked where it
// could not be compared.
func TestAWaitersContextMayEndWithAnyError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := client(t, play(t, hang), checked, exact(llmcall.RetryConfig{})).Start(t.Context(), llm.Prompt("x"))
		defer p.Cancel()
		if _, err := p.Wait(oddContext{t.Context()}); err == nil || err.Error() != "odd" {
			t.Errorf("%v", err)
		}
		p.Cancel()
		<-p.Done()
	})
}
