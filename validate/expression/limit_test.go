package expression

import (
	"context"
	"strings"
	"testing"
	"time"

	"llmcall/validate"
)

func TestAnExpressionEndsAtItsLimitWithoutAnyOther(t *testing.T) {
	s, err := New(Config{Expression: "answer.all(a, answer.all(b, answer.all(c, a + b + c >= 0)))"})
	if err != nil {
		t.Fatal(err)
	}
	c := s.(check)
	if c.limit != 10*time.Second {
		t.Errorf("the limit is %v", c.limit)
	}
	c.limit = time.Millisecond
	v, err := c.Check(context.Background(), &validate.Answer{Text: "[" + strings.Repeat("1, ", 20_000) + "1]"})
	if err == nil || !strings.Contains(err.Error(), "takes longer than 1ms") || len(v.Complaints) != 0 {
		t.Errorf("%v, %+v", err, v)
	}
}
