package llmcall_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"llmcall"
	"llmcall/account"
	"llmcall/endpoint"
	"llmcall/failure"
	"llmcall/llm"

	"pgregory.net/rapid"
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
			var good atomic.Int32 // m.at would count requests that have not come as far as here
			m.do = func(context.Context, int, time.Duration) error {
				if good.Add(1) > 500 {
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
		if e == nil || e.Reason != llmcall.EachAccountSpent || len(o.failed) > 0 || len(o.stopped) != 2 { // one of them was taken, and never begun
			t.Fatal(o)
		}
		// An answer uses 20 tokens, and a request is made with 256 and the prompt at least.
		if s := all.Snapshot(); s.Spent.Tokens != 20*int64(len(o.done)) || s.Reserved.Tokens != 0 || s.Limit.Tokens-s.Spent.Tokens > 600 || len(m.at) != len(o.done) {
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
				return failing(failure.Transient)
			}
			return nil
		})
		m.takes, m.answer = 3*s, "bad"
		ctx, cancel := context.WithTimeout(t.Context(), s)
		defer cancel()
		o := each(ctx, t, client(t, m, checked, llmcall.RetryConfig{InitialDelay: 5 * s}), 100, llmcall.EachConfig{Grace: 10 * s})
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

// What stops a row is either its own fault or not.
func TestEachNotDone(t *testing.T) {
	for _, row := range []struct {
		kind  failure.Kind
		own   bool
		calls int // requests of the row
	}{
		{failure.Unknown, false, 6},
		{failure.Transient, false, 6},
		{failure.AttemptTimeout, false, 6},
		{failure.InvalidRequest, true, 1},
		{failure.ContextTooLong, true, 1},
		{failure.ContentFiltered, true, 1},
		{failure.InvalidAnswer, true, 3},
		{failure.CutOff, true, 2},
	} {
		t.Run(row.kind.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newEachModel(t, func(_ context.Context, n int, _ time.Duration) error {
					if n == 100 {
						return failing(row.kind)
					}
					return nil
				})
				// Others are answered all the time.
				o := each(t.Context(), t, client(t, m, checked, llmcall.RetryConfig{}), 2000, llmcall.EachConfig{})
				stopped, failed := []int{100}, []int(nil)
				if row.own {
					stopped, failed = nil, []int{100}
				}
				if !slices.Equal(o.failed, failed) || !slices.Equal(o.stopped, stopped) || len(o.done) != 1999 || o.end != nil {
					t.Fatal(o, o.errs[100])
				}
				e, ok := errors.AsType[*llmcall.Error](o.errs[100])
				if !ok || m.asked[100] != row.calls || len(e.Attempts) != row.calls || e.Attempts[row.calls-1].Number != row.calls {
					t.Errorf("%d requests, %+v", m.asked[100], e)
				}
			})
		})
	}
}

// A prompt that always makes its provider fail is not taken for an outage for long, even if
// it is the last. One at a time, nothing says that others would be answered.
func TestEachEndsAtAPoisonedRow(t *testing.T) {
	for concurrency, most := range map[int]int{1: 12, 64: 6} {
		synctest.Test(t, func(t *testing.T) {
			m := newEachModel(t, func(_ context.Context, n int, _ time.Duration) error {
				if n == 99 {
					return failing(failure.Transient)
				}
				return nil
			})
			o := each(t.Context(), t, client(t, m, checked, llmcall.RetryConfig{}), 100, llmcall.EachConfig{Concurrency: concurrency})
			if took := time.Since(m.start); len(o.done) != 99 || len(o.stopped) != 1 || o.end != nil || m.asked[99] != most || took > 9*time.Minute {
				t.Error(o, m.asked[99], took)
			}
		})
	}
}

// Several rows that always make the provider fail end soon, too, though they open the circuit
// when no other row is left, and are not an outage.
func TestEachEndsAtPoisonedRows(t *testing.T) {
	for _, poisoned := range [][]int{{7, 150}, {298, 299}, {3, 5, 7, 11, 13, 17, 19, 150}} {
		synctest.Test(t, func(t *testing.T) {
			m := newEachModel(t, func(_ context.Context, n int, _ time.Duration) error {
				if slices.Contains(poisoned, n) {
					return failing(failure.Transient)
				}
				return nil
			})
			o := each(t.Context(), t, client(t, m, checked, llmcall.RetryConfig{}), 300, llmcall.EachConfig{})
			if took := time.Since(m.start); o.end != nil || len(o.done) != 300-len(poisoned) || len(o.stopped) != len(poisoned) || took > time.Minute {
				t.Errorf("%v: %v after %v", poisoned, o, took)
			}
			for _, n := range poisoned {
				if m.asked[n] > 12 || m.asked[n] < 3 {
					t.Errorf("%v: row %d was asked %d times", poisoned, n, m.asked[n])
				}
			}
		})
	}
}

// The bounds of one call's waits are off, but a time that the caller has set holds.
func TestEachIsPatient(t *testing.T) {
	for _, row := range []struct {
		name string
		cfg  llmcall.RetryConfig
		told time.Duration
		end  llmcall.EachReason
		took time.Duration
	}{
		{name: "five minutes", cfg: llmcall.RetryConfig{MaxRetryAfter: s, MaxRateLimitWait: s}, told: 5 * time.Minute, took: 5 * time.Minute},
		{name: "an hour", told: time.Hour, end: llmcall.EachGaveUp, took: 10 * time.Minute},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newEachModel(t, nil)
				m.do = func(_ context.Context, _ int, since time.Duration) error {
					if since < row.told {
						return &failure.Error{Kind: failure.RateLimited, Told: true, RetryAfter: row.told - since}
					}
					return nil
				}
				o := each(t.Context(), t, client(t, m, checked, row.cfg), 100, llmcall.EachConfig{})
				took := time.Since(m.start)
				e, _ := errors.AsType[*llmcall.EachError](o.end)
				if (e != nil) != (row.end != "") || e != nil && e.Reason != row.end || took < row.took || took > row.took+time.Minute {
					t.Error(o, took)
				}
				if row.end == "" && len(o.done) != 100 {
					t.Error(o)
				}
			})
		})
	}
}

func TestEachMaxTimeOfACallHolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newEachModel(t, func(ctx context.Context, n int, _ time.Duration) error {
			if n == 20 {
				<-ctx.Done()
				return ctx.Err()
			}
			return nil
		})
		o := each(t.Context(), t, client(t, m, checked, llmcall.RetryConfig{MaxTime: 5 * s}), 500, llmcall.EachConfig{})
		if !slices.Equal(o.failed, []int{20}) || len(o.done) != 499 || reasonOf(t, o.errs[20]) != llmcall.ReasonOutOfTime {
			t.Error(o, o.errs[20])
		}
	})
}

// A time of a call that is too short for the waits at a limit stops no row, unless it ends
// in the request twice.
func TestEachRowsThatWaitedInVainAreAskedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newBucket(t, 2, 2)
		o := each(t.Context(), t, client(t, m, checked, llmcall.RetryConfig{MaxTime: 5 * s}), 200, llmcall.EachConfig{})
		if len(o.done) < 190 || len(o.failed) > 0 || o.end != nil {
			t.Error(o)
		}
	})
}

// The number in flight begins with 8, and doubles after a round that was answered.
func TestEachBeginsSlowly(t *testing.T) {
	for _, row := range []struct {
		concurrency int
		rounds      []int // requests in each of the first seconds
	}{
		{64, []int{8, 16, 32, 64, 64, 64}},
		{20, []int{8, 16, 20, 20, 20, 20}},
		{3, []int{3, 3, 3, 3, 3, 3}},
		{0, []int{8, 16, 32, 64, 64, 64}},
	} {
		synctest.Test(t, func(t *testing.T) {
			m := newEachModel(t, nil)
			m.takes = s
			each(t.Context(), t, client(t, m, checked, llmcall.RetryConfig{}), 400, llmcall.EachConfig{Concurrency: row.concurrency})
			var rounds []int
			for i := range row.rounds {
				rounds = append(rounds, m.between(time.Duration(i)*s, time.Duration(i+1)*s))
			}
			if !slices.Equal(rounds, row.rounds) {
				t.Errorf("%d: %v, want %v", row.concurrency, rounds, row.rounds)
			}
		})
	}
}

func TestEachStaysWhereItIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newEachModel(t, nil)
		refused := map[int]bool{}
		m.do = func(_ context.Context, n int, _ time.Duration) error {
			m.mu.Lock()
			defer m.mu.Unlock()
			if n%8 == 0 && !refused[n] {
				refused[n] = true
				return &failure.Error{Kind: failure.RateLimited, Told: true, RetryAfter: s / 10}
			}
			return nil
		}
		o := each(t.Context(), t, client(t, m, checked, llmcall.RetryConfig{}), 200, llmcall.EachConfig{})
		if len(o.done) != 200 || m.most > 8 {
			t.Error(o, m.most)
		}
	})
}

// Rows are taken as there are places, so that they may be endless.
func TestEachTakesRowsOneByOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newEachModel(t, nil)
		taken, n := 0, 0
		endless := func(yield func(int) bool) {
			for ; yield(taken); taken++ {
			}
		}
		for row := range llmcall.Each(t.Context(), client(t, m, checked, llmcall.RetryConfig{}), endless, number, llmcall.EachConfig{Concurrency: 10}) {
			if n++; row.Err != nil {
				t.Error(row.Err)
			}
			synctest.Wait()
			if taken > n+10 {
				t.Errorf("%d rows were taken, %d are done", taken, n)
			}
			if n == 1000 {
				break
			}
		}
	})
}

func TestEachRefusesAnImpossibleConfig(t *testing.T) {
	c := client(t, newEachModel(t, nil), nil, llmcall.RetryConfig{})
	for _, row := range []struct {
		ctx context.Context
		cfg llmcall.EachConfig
		end string
	}{
		{t.Context(), llmcall.EachConfig{Concurrency: -1}, "concurrency must be a whole number of at least 1, got -1"},
		{t.Context(), llmcall.EachConfig{Grace: -s}, "grace must be a time of at least 0, got -1s"},
		{ended(t), llmcall.EachConfig{}, "context canceled"},
	} {
		if o := each(row.ctx, t, c, 10, row.cfg); o.end == nil || o.end.Error() != row.end || len(o.errs) > 0 {
			t.Errorf("%+v: %v", row.cfg, o.end)
		}
	}
}

// By a model of what the documentation says: rows whose calls end in all ways, with others
// that are answered, end as if each were called alone, with one further call where the
// provider has failed.
func TestEachAgainstOneByOne(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		type script struct {
			fails   int          // requests that fail first,
			kind    failure.Kind // so
			request bool         // its request can't be made
		}
		kinds := []failure.Kind{failure.Transient, failure.InvalidRequest, failure.InvalidAnswer, failure.ContextTooLong}
		rows := map[int]script{}
		const n = 120
		for range rapid.IntRange(0, 12).Draw(rt, "bad") {
			rows[rapid.IntRange(16, n-60).Draw(rt, "row")] = script{
				rapid.SampledFrom([]int{1, 2, 3, 5, 99}).Draw(rt, "fails"), rapid.SampledFrom(kinds).Draw(rt, "kind"), rapid.Bool().Draw(rt, "request"),
			}
		}
		places := rapid.IntRange(2, 20).Draw(rt, "places")
		synctest.Test(t, func(t *testing.T) {
			m := newEachModel(t, nil)
			m.do = func(_ context.Context, n int, _ time.Duration) error {
				m.mu.Lock()
				defer m.mu.Unlock()
				if r := rows[n]; m.asked[n] <= r.fails {
					return failing(r.kind)
				}
				return nil
			}
			request := func(n int) (*llm.Request, error) {
				if rows[n].request {
					return nil, errRow
				}
				return number(n)
			}
			cfg := llmcall.RetryConfig{DisableRetryBudget: true}
			cfg.EnableCircuitBreaker, cfg.CircuitBreakerConfig.FailureThreshold = true, 10_000
			o := collect(t, llmcall.Each(t.Context(), client(t, m, checked, cfg), numbers(n), request, llmcall.EachConfig{Concurrency: places}))
			if o.end != nil || len(o.errs) != n || m.most > places {
				rt.Fatalf("%v, %d in flight", o, m.most)
			}
			for i := range n {
				r, want := rows[i], "done"
				switch once := r.kind == failure.InvalidRequest || r.kind == failure.ContextTooLong; {
				case r.request, r.fails > 0 && once, r.kind == failure.InvalidAnswer && r.fails >= 3:
					want = "failed"
				case r.kind == failure.Transient && r.fails >= 6:
					want = "not done"
				}
				got := "done"
				if slices.Contains(o.failed, i) {
					got = "failed"
				} else if slices.Contains(o.stopped, i) {
					got = "not done"
				}
				if got != want {
					rt.Errorf("row %d, %+v: %s, want %s: %v", i, r, got, want, o.errs[i])
				}
			}
		})
	})
}

// A share of failures that pass is not an outage: the rows go on.
func TestEachWithPassingFailures(t *testing.T) {
	for _, row := range []struct {
		share float64
		done  int
		took  time.Duration // without failures 10,000 answers take 32 s
	}{{0.005, 10_000, time.Minute}, {0.05, 10_000, time.Minute}, {0.3, 9900, 8 * time.Minute}} {
		synctest.Test(t, func(t *testing.T) {
			chance := rand.New(rand.NewPCG(1, 2))
			m := newEachModel(t, nil)
			m.do = func(context.Context, int, time.Duration) error {
				m.mu.Lock()
				defer m.mu.Unlock()
				if chance.Float64() < row.share {
					return failing(failure.Transient)
				}
				return nil
			}
			o := each(t.Context(), t, client(t, m, checked, llmcall.RetryConfig{}), 10_000, llmcall.EachConfig{})
			took := time.Since(m.start)
			t.Logf("%.1f %% fail: %v in %v, %d requests", 100*row.share, o, took, len(m.at))
			if len(o.done) < row.done || took > row.took || o.end != nil {
				t.Errorf("want %d in %v", row.done, row.took)
			}
		})
	}
}
