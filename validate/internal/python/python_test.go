package python_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"llmcall/validate/internal/python"
)

func TestAnEndlessParseIsStoppedByItsContext(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	// The first parse may take long to load; what counts is that it ends.
	code := strings.Repeat("x = f(a)[1] + 'b' if c else lambda: (yield)\n", 2500)
	began := time.Now()
	if err := python.Parse(ctx, code); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
	if took := time.Since(began); took > 30*time.Second {
		t.Errorf("it took %v", took)
	}
	if err := python.Parse(context.Background(), "x = 1\n"); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

func TestDeepNestingIsAnError(t *testing.T) {
	for _, code := range []string{
		strings.Repeat("(", 5000), strings.Repeat("[", 2000) + strings.Repeat("]", 2000), "x = " + strings.Repeat("not ", 1000) + "1",
		"x = " + strings.Repeat("-", 1000) + "1", "x = " + strings.Repeat("1+", 500) + "1", strings.Repeat("f'{", 100),
	} {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		err := python.Parse(ctx, code)
		cancel()
		if _, ok := errors.AsType[*python.SyntaxError](err); err != nil && !ok && !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%.20q: %v", code, err)
		}
	}
}
