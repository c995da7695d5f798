package llmcall_test

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"

	"llmcall"
	"llmcall/llm"
)

// number is the request of a row that is a number.
func number(n int) (*llm.Request, error) { return llm.Prompt(strconv.Itoa(n)), nil }

// numbers yields the numbers below n.
func numbers(n int) func(func(int) bool) {
	return func(yield func(int) bool) {
		for i := range n {
			if !yield(i) {
				return
			}
		}
	}
}

// ran is what became of the rows of one range.
type ran struct {
	done, failed, stopped []int // the indexes of the rows
	errs                  map[int]error
	results               map[int]*llmcall.Result
	end                   error
}

// each goes through the numbers below n.
func each(ctx context.Context, t testing.TB, c *llmcall.Client, n int, cfg llmcall.EachConfig) *ran {
	t.Helper()
	return collect(t, llmcall.Each(ctx, c, numbers(n), number, cfg))
}

func collect(t testing.TB, all func(func(llmcall.EachRow[int], error) bool)) *ran {
	t.Helper()
	o := &ran{errs: map[int]error{}, results: map[int]*llmcall.Result{}}
	for row, err := range all {
		switch {
		case o.end != nil:
			t.Fatalf("%v was not the last", o.end)
		case err != nil:
			o.end = err
			continue
		case row.Index != row.Row:
			t.Fatalf("row %d has the index %d", row.Row, row.Index)
		case (row.Err == nil) != (row.Result != nil), row.NotDone && row.Err == nil:
			t.Fatalf("row %d: result %v, error %v, not done %v", row.Row, row.Result, row.Err, row.NotDone)
		case row.NotDone:
			o.stopped = append(o.stopped, row.Row)
		case row.Err != nil:
			o.failed = append(o.failed, row.Row)
		default:
			o.done = append(o.done, row.Row)
		}
		if slices.Contains(slices.Concat(o.done, o.failed, o.stopped)[:len(o.errs)], row.Row) {
			t.Fatalf("row %d was yielded twice", row.Row)
		}
		o.errs[row.Row], o.results[row.Row] = row.Err, row.Result
	}
	return o
}

func (o *ran) String() string {
	return fmt.Sprintf("%d done, %d failed, %d not done, %v", len(o.done), len(o.failed), len(o.stopped), o.end)
}

func TestEachAtALimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newBucket(t, 50, 5)
		o := each(t.Context(), t, client(t, m, checked, llmcall.RetryConfig{}), 1000, llmcall.EachConfig{})
		t.Log(o, m.failed)
		if len(o.done) != 1000 || o.end != nil {
			t.Error(o)
		}
	})
}
