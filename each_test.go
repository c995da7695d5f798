package llmcall_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"llmcall"
	"llmcall/account"
	"llmcall/endpoint"
	"llmcall/failure"
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
		if _, twice := o.errs[row.Row]; twice {
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

// eachModel is a model that answers each row by its number and the time since the start.
type eachModel struct {
	name  string
	takes time.Duration
	do    func(ctx context.Context, n int, since time.Duration) error // nil: a good answer

	mu           sync.Mutex
	start        time.Time
	asked        map[int]int // requests of each row
	at           []time.Duration
	flying, most int
	answer       string
}

func newEachModel(t *testing.T, do func(ctx context.Context, n int, since time.Duration) error) *eachModel {
	return &eachModel{name: unused(t), takes: 200 * time.Millisecond, do: do, start: time.Now(), asked: map[int]int{}, answer: "good"}
}

func (m *eachModel) Name() string { return m.name }

func (m *eachModel) Complete(ctx context.Context, req *llm.Request) (*llm.Response, error) {
	n, err := strconv.Atoi(req.Messages[0].Text())
	if err != nil {
		return nil, err
	}
	m.mu.Lock()
	since := time.Since(m.start)
	m.asked[n]++
	m.at = append(m.at, since)
	m.flying++
	m.most = max(m.most, m.flying)
	m.mu.Unlock()
	defer func() {
		m.mu.Lock()
		m.flying--
		m.mu.Unlock()
	}()
	if m.do != nil {
		if err := m.do(ctx, n, since); err != nil {
			return nil, err
		}
	}
	select {
	case <-time.After(m.takes):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	r := llm.Reply(m.answer)
	r.Usage = llm.Usage{InputTokens: 10, OutputTokens: 10}
	return r, nil
}

// between counts the requests from one time to another.
func (m *eachModel) between(from, to time.Duration) (n int) {
	for _, at := range m.at {
		if at >= from && at < to {
			n++
		}
	}
	return n
}

func failing(k failure.Kind) error {
	return &failure.Error{Kind: k, Provider: "test", Status: 400 + int(k), Message: "on purpose"}
}

func TestEachAnswersAllRowsAfterAnOutage(t *testing.T) {
	for _, kind := range []failure.Kind{failure.Transient, failure.Overloaded, failure.RateLimited} {
		for _, concurrency := range []int{64, 1} {
			synctest.Test(t, func(t *testing.T) {
				from, to := 10*s, 5*time.Minute+10*s
				m := newEachModel(t, func(_ context.Context, _ int, since time.Duration) error {
					if since >= from && since < to {
						return failing(kind)
					}
					return nil
				})
				rows := 100 * concurrency
				o := each(t.Context(), t, client(t, m, checked, llmcall.RetryConfig{}), rows, llmcall.EachConfig{Concurrency: concurrency})
				during := m.between(from, to)
				t.Logf("%v, %d at a time: %v; %d requests in the outage; it took %v", kind, concurrency, o, during, time.Since(m.start))
				if len(o.done) != rows || o.end != nil {
					t.Error("not all rows were answered")
				}
				if during > 64+64 {
					t.Errorf("%d requests in the outage", during)
				}
			})
		}
	}
}

func TestEachGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newEachModel(t, func(_ context.Context, n int, since time.Duration) error {
			if since > 5*s {
				return failing(failure.Transient)
			}
			return nil
		})
		o := each(t.Context(), t, client(t, m, checked, llmcall.RetryConfig{}), 10_000, llmcall.EachConfig{})
		took := time.Since(m.start)
		e, ok := errors.AsType[*llmcall.EachError](o.end)
		if !ok || e.Reason != llmcall.EachGaveUp || e.After < 10*time.Minute || e.After > 10*time.Minute+s || e.Last == nil {
			t.Fatal(o.end)
		}
		if took < 10*time.Minute || took > 10*time.Minute+10*s {
			t.Errorf("after %v", took)
		}
		if !strings.HasPrefix(e.Error(), "gave up after 10m0s without an answer: ") || failure.KindOf(e.Last) != failure.Transient {
			t.Error(e)
		}
		if len(o.done) == 0 || len(o.failed) > 0 || len(o.stopped) == 0 || len(o.stopped) > 64 {
			t.Error(o)
		}
		t.Log(o, len(m.at))
	})
}

func TestEachWithoutAnAnswerOneAtATimeGivesUpToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newEachModel(t, func(context.Context, int, time.Duration) error { return failing(failure.Transient) })
		o := each(t.Context(), t, client(t, m, checked, llmcall.RetryConfig{}), 1000, llmcall.EachConfig{Concurrency: 1})
		e, _ := errors.AsType[*llmcall.EachError](o.end)
		if took := time.Since(m.start); e == nil || e.Reason != llmcall.EachGaveUp || took > 11*time.Minute {
			t.Error(o, took)
		}
	})
}

// The time in which the caller is busy with a row is not one without an answer.
func TestEachDoesNotGiveUpOnASlowReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newEachModel(t, nil)
		n := 0
		for row, err := range llmcall.Each(t.Context(), client(t, m, checked, llmcall.RetryConfig{}), numbers(30), number, llmcall.EachConfig{Concurrency: 2}) {
			if err != nil || row.Err != nil {
				t.Fatal(err, row.Err)
			}
			time.Sleep(time.Hour)
			n++
		}
		if n != 30 {
			t.Error(n)
		}
	})
}

func TestEachEndsWithABadKey(t *testing.T) {
	for _, kind := range []failure.Kind{failure.Unauthorized, failure.QuotaExhausted, failure.ModelNotFound} {
		synctest.Test(t, func(t *testing.T) {
			m := newEachModel(t, nil)
			m.do = func(context.Context, int, time.Duration) error {
				m.mu.Lock()
				defer m.mu.Unlock()
				if len(m.at) > 500 {
					return failing(kind)
				}
				return nil
			}
			o := each(t.Context(), t, client(t, m, checked, llmcall.RetryConfig{}), 10_000, llmcall.EachConfig{})
			e, _ := errors.AsType[*llmcall.EachError](o.end)
			if e == nil || e.Reason != llmcall.EachNoModel || failure.KindOf(e) != kind {
				t.Fatal(o.end)
			}
			// What is in flight is answered: nothing that was paid for is lost.
			if len(o.done) != 500 || len(o.failed) != 0 || len(o.stopped) == 0 || len(o.stopped) > 64 || len(m.at) > 564 {
				t.Error(o, len(m.at))
			}
		})
	}
}

func TestEachGoesOnWithAnotherModel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bad := newEachModel(t, func(context.Context, int, time.Duration) error { return failing(failure.Unauthorized) })
		good := newEachModel(t, nil)
		c, err := llmcall.New([]llm.Model{bad, good}, checked, llmcall.RetryConfig{})
		if err != nil {
			t.Fatal(err)
		}
		if o := each(t.Context(), t, c, 200, llmcall.EachConfig{}); len(o.done) != 200 || o.end != nil {
			t.Error(o)
		}
	})
}

// With a ceiling for all rows, no request is cut short as long as others may give something
// back, and the run ends when nothing is left.
func TestEachSpendsAnAccount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newEachModel(t, nil)
		all := account.New(endpoint.Amount{Tokens: 10_000})
		all.Name = "the run"
		c := client(t, m, checked, llmcall.RetryConfig{Account: all, MaxTokens: 300})
		o := each(t.Context(), t, c, 2000, llmcall.EachConfig{})
		t.Log(o, len(m.at), all.Snapshot())
		e, _ := errors.AsType[*llmcall.EachError](o.end)
		if e == nil || e.Reason != llmcall.EachAccountSpent || len(o.failed) > 0 || len(o.stopped) != 1 {
			t.Fatal(o)
		}
		// An answer uses 20 tokens, and a request is made with 256 at least.
		if s := all.Snapshot(); s.Spent.Tokens != 20*int64(len(o.done)) || s.Reserved.Tokens != 0 || s.Limit.Tokens-s.Spent.Tokens > 300 || len(m.at) != len(o.done) {
			t.Errorf("%+v, %d requests", s, len(m.at))
		}
	})
}

func TestEachOwnCeilingIsTheRows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newEachModel(t, nil)
		c := client(t, m, checked, llmcall.RetryConfig{MaxTokensTotal: 100, Account: account.New(endpoint.Amount{Tokens: 1_000_000})})
		if o := each(t.Context(), t, c, 20, llmcall.EachConfig{}); len(o.failed) != 20 || o.end != nil {
			t.Error(o, o.errs[0])
		}
	})
}

func TestEachGrace(t *testing.T) {
	errStop := errors.New("stop")
	for _, row := range []struct {
		name   string
		grace  time.Duration
		done   int
		within time.Duration
	}{
		{"none", 0, 0, 0},
		{"enough", 10 * s, 8, 2 * s},
		{"too little", s, 0, s},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newEachModel(t, nil)
				m.takes = 3 * s
				ctx, cancel := context.WithCancelCause(t.Context())
				time.AfterFunc(s, func() { cancel(errStop) })
				o := each(ctx, t, client(t, m, checked, llmcall.RetryConfig{}), 100, llmcall.EachConfig{Grace: row.grace})
				if took := time.Since(m.start) - s; took != row.within || len(o.done) != row.done || len(o.stopped) != 8-row.done || len(m.at) != 8 {
					t.Error(o, took, len(m.at))
				}
				if o.end != errStop {
					t.Error(o.end)
				}
			})
		})
	}
}

// Within the grace no wait goes on and nothing is asked again.
func TestEachGraceIsForRequestsInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newEachModel(t, func(_ context.Context, n int, _ time.Duration) error {
			if n == 0 {
				return &failure.Error{Kind: failure.Transient, Told: true, RetryAfter: 5 * s}
			}
			return nil
		})
		m.takes, m.answer = 3*s, "bad"
		ctx, cancel := context.WithTimeout(t.Context(), s)
		defer cancel()
		o := each(ctx, t, client(t, m, checked, llmcall.RetryConfig{}), 100, llmcall.EachConfig{Grace: 10 * s})
		if took := time.Since(m.start); took != 3*s || len(o.stopped) != 8 || len(m.at) != 8 || o.end != context.DeadlineExceeded {
			t.Error(o, took, len(m.at))
		}
	})
}

func TestEachLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newEachModel(t, nil)
		n := 0
		for row := range llmcall.Each(t.Context(), client(t, m, checked, llmcall.RetryConfig{}), numbers(1000), number, llmcall.EachConfig{}) {
			if n++; row.Err != nil {
				t.Error(row.Err)
			}
			if n == 20 {
				break
			}
		}
		if took := time.Since(m.start); m.flying != 0 || took > s {
			t.Error(m.flying, took)
		}
		at := len(m.at)
		time.Sleep(time.Hour)
		if len(m.at) != at {
			t.Error("requests were made after the loop")
		}
	})
}

func TestEachPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newEachModel(t, func(_ context.Context, n int, _ time.Duration) error {
			switch n {
			case 3:
				panic("the model")
			case 4:
				runtime.Goexit()
			}
			return nil
		})
		c := client(t, m, checked, llmcall.RetryConfig{})
		request := func(n int) (*llm.Request, error) {
			switch n {
			case 5:
				panic(errRow)
			case 6:
				return nil, errRow
			case 7:
				return nil, nil
			}
			return number(n)
		}
		o := collect(t, llmcall.Each(t.Context(), c, numbers(50), request, llmcall.EachConfig{}))
		slices.Sort(o.failed)
		if !slices.Equal(o.failed, []int{3, 4, 5, 6, 7}) || len(o.done) != 45 || o.end != nil {
			t.Fatal(o, o.failed)
		}
		for _, n := range []int{3, 5} {
			if e, ok := errors.AsType[*llmcall.PanicError](o.errs[n]); !ok || len(e.Stack) == 0 {
				t.Errorf("%d: %v", n, o.errs[n])
			}
		}
		if !errors.Is(o.errs[5], errRow) || o.errs[6] != errRow {
			t.Error(o.errs)
		}
		if _, ok := errors.AsType[*llmcall.ConfigError](o.errs[7]); !ok {
			t.Error(o.errs[7])
		}
	})
}

var errRow = errors.New("this row")

// A panic of the rows, or of the loop, comes out once nothing is in flight.
func TestEachPassesOnPanics(t *testing.T) {
	for _, where := range []string{"rows", "loop", "rows that are left"} {
		synctest.Test(t, func(t *testing.T) {
			m := newEachModel(t, nil)
			rows := func(yield func(int) bool) {
				for n := range 20 {
					if where == "rows" && n == 10 {
						panic(errRow)
					}
					if !yield(n) {
						panic(errRow)
					}
				}
			}
			defer func() {
				if v := recover(); v != errRow || m.flying != 0 {
					t.Errorf("%s: %v, %d in flight", where, v, m.flying)
				}
			}()
			for range llmcall.Each(t.Context(), client(t, m, checked, llmcall.RetryConfig{}), rows, number, llmcall.EachConfig{}) {
				switch where {
				case "loop":
					panic(errRow)
				case "rows that are left":
					return
				}
			}
			t.Error("no panic")
		})
	}
}
