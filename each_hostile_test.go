package llmcall_test

import (
	"context"
	"encoding/json"
	"runtime"
	"strconv"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"llmcall"
	"llmcall/account"
	"llmcall/endpoint"
	"llmcall/failure"
	"llmcall/llm"
	"llmcall/validate"

	"pgregory.net/rapid"
)

// talker is a model whose answers to a row call a tool so many times first.
type talker struct {
	*eachModel
	rounds int
	sent   atomic.Int64
}

func (m *talker) Complete(ctx context.Context, req *llm.Request) (*llm.Response, error) {
	m.sent.Add(1)
	select {
	case <-time.After(m.takes):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if n := len(req.Messages) / 2; n < m.rounds {
		return &llm.Response{Message: llm.Message{Role: llm.RoleAssistant, Parts: []llm.Part{calls("c"+strconv.Itoa(n), "look", `{}`)}}, Finish: llm.FinishToolCall, Usage: llm.Usage{InputTokens: 1, OutputTokens: 1}}, nil
	}
	return llm.Reply("good"), nil
}

var look = llmcall.Tool{
	Tool: llm.Tool{Name: "look", Description: "looks", Parameters: json.RawMessage(`{"type":"object"}`)},
	Run:  func(context.Context, json.RawMessage) (string, error) { return "seen", nil }, ReadOnly: true,
}

// The provider that answers each round of a long conversation answers.
func TestEachRoundsAreAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &talker{eachModel: newEachModel(t, nil), rounds: 8}
		m.takes = 2 * time.Minute
		o := each(t.Context(), t, client(t, m, checked, llmcall.RetryConfig{Tools: []llmcall.Tool{look}, MaxToolRounds: 10}), 3, llmcall.EachConfig{Concurrency: 1})
		if len(o.done) != 3 || o.end != nil {
			t.Error(o)
		}
	})
}

// A request of a round that has waited for its turn is in flight as any other is; and within
// the grace no further round begins.
func TestEachGraceInARound(t *testing.T) {
	for _, row := range []struct {
		name      string
		rounds    int
		perMinute float64 // requests; 0: any number
		after     time.Duration
		done      int
		sent      int64
	}{
		{"in the last request, which has waited", 1, 20, 3*s + s/2, 1, 2},
		{"in the last request", 1, 0, s + s/2, 1, 2},
		{"in the wait for the last", 1, 20, s + s/2, 0, 1},
		{"in the first request, before a wait", 1, 20, s / 2, 0, 1},
		{"in the first request", 1, 0, s / 2, 0, 1},
		{"in the second of four", 3, 20, 3*s + s/2, 0, 2},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := &talker{eachModel: newEachModel(t, nil), rounds: row.rounds}
				m.takes = s
				ctx, cancel := context.WithTimeout(t.Context(), row.after)
				defer cancel()
				c := client(t, m, checked, llmcall.RetryConfig{Tools: []llmcall.Tool{look}, RequestsPerMinute: row.perMinute})
				o := each(ctx, t, c, 1, llmcall.EachConfig{Grace: time.Minute})
				if len(o.done) != row.done || len(o.stopped) != 1-row.done || m.sent.Load() != row.sent {
					t.Error(o, o.errs[0], m.sent.Load())
				}
			})
		})
	}
}

// Within the grace no second request is made.
func TestEachGraceMakesNoHedge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newEachModel(t, nil)
		m.takes = 5 * s
		ctx, cancel := context.WithTimeout(t.Context(), s)
		defer cancel()
		c := client(t, m, checked, llmcall.RetryConfig{Hedge: &llmcall.Hedge{After: 2 * s, Extra: 1}})
		o := each(ctx, t, c, 20, llmcall.EachConfig{Grace: time.Minute})
		if len(o.done) != 8 || len(m.at) != 8 {
			t.Error(o, len(m.at))
		}
	})
}

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

// One row waits for a provider that refuses for now as many do.
func TestEachOneRowIsPatientToo(t *testing.T) {
	for _, kind := range []failure.Kind{failure.Overloaded, failure.RateLimited} {
		synctest.Test(t, func(t *testing.T) {
			m := newEachModel(t, func(_ context.Context, _ int, since time.Duration) error {
				if since < 5*time.Minute {
					return failing(kind)
				}
				return nil
			})
			o := each(t.Context(), t, client(t, m, checked, llmcall.RetryConfig{}), 1, llmcall.EachConfig{})
			t.Log(kind, o, len(m.at))
			if len(o.done) != 1 || o.end != nil {
				t.Error(kind, o, o.errs[0])
			}
		})
	}
}

// A judge that refuses for now is waited for as a model is: each row that was put off would
// have paid for four answers.
func TestEachWaitsForAJudge(t *testing.T) {
	for _, kind := range []failure.Kind{failure.RateLimited, failure.Overloaded, failure.CircuitOpen, failure.RetryBudgetSpent} {
		synctest.Test(t, func(t *testing.T) {
			m := newEachModel(t, nil)
			judge := validate.Func("judge", func(context.Context, *validate.Answer) error {
				if since := time.Since(m.start); since > 10*s && since < 5*time.Minute {
					return failing(kind)
				}
				return nil
			})
			o := each(t.Context(), t, client(t, m, []validate.Strategy{judge}, llmcall.RetryConfig{}), 10_000, llmcall.EachConfig{})
			t.Logf("%v: %v; %d requests in %v", kind, o, len(m.at), time.Since(m.start))
			if len(o.done) != 10_000 || o.end != nil || len(m.at) > 11_000 {
				t.Error(o)
			}
		})
	}
}

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

// Others than the rows hold most of the account for a while.
func TestEachWithOthersAtTheAccount(t *testing.T) {
	for _, held := range []int64{99_990, 99_600, 99_000, 50_000} {
		synctest.Test(t, func(t *testing.T) {
			m := newEachModel(t, nil)
			m.answer = "good"
			all := account.New(endpoint.Amount{Tokens: 100_000})
			lent, err := all.Reserve(endpoint.Amount{Tokens: held}, endpoint.Amount{})
			if err != nil {
				t.Fatal(err)
			}
			time.AfterFunc(time.Minute, func() { all.Settle(lent, endpoint.Amount{}) })
			o := each(t.Context(), t, client(t, m, checked, llmcall.RetryConfig{Account: all, MaxTokens: 1000}), 100, llmcall.EachConfig{})
			t.Log(held, o, len(m.at), time.Since(m.start))
			if len(o.done) != 100 || o.end != nil {
				t.Error(o)
			}
		})
	}
}

// cutter answers at the token limit if that is lower than it wants.
type cutter struct {
	*eachModel
	tokens int
}

func (m *cutter) Complete(ctx context.Context, req *llm.Request) (*llm.Response, error) {
	r, err := m.eachModel.Complete(ctx, req)
	if err == nil {
		r.Usage.OutputTokens = int64(m.tokens)
		if req.MaxTokens > 0 && req.MaxTokens < m.tokens {
			r.Usage.OutputTokens, r.Finish = int64(req.MaxTokens), llm.FinishLength
		}
	}
	return r, err
}

// An answer that was cut off at what others had left of the account is asked for again when
// they have given it back.
func TestEachCutOffForOthers(t *testing.T) {
	for _, places := range []int{1, 8} {
		synctest.Test(t, func(t *testing.T) {
			m := &cutter{newEachModel(t, nil), 800}
			all := account.New(endpoint.Amount{Tokens: 100_000})
			lent, err := all.Reserve(endpoint.Amount{Tokens: 99_200}, endpoint.Amount{})
			if err != nil {
				t.Fatal(err)
			}
			time.AfterFunc(time.Minute, func() { all.Settle(lent, endpoint.Amount{}) })
			o := each(t.Context(), t, client(t, m, checked, llmcall.RetryConfig{Account: all, MaxTokens: 1000}), 20, llmcall.EachConfig{Concurrency: places})
			if len(o.done) != 20 || o.end != nil || len(m.at) > 21 { // one is paid for in vain
				t.Error(places, o, o.errs[0], len(m.at))
			}
		})
	}
}

func TestEachTenThousandPlaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newEachModel(t, nil)
		m.takes = 10 * s
		o := each(t.Context(), t, client(t, m, checked, llmcall.RetryConfig{}), 25_000, llmcall.EachConfig{Concurrency: 10_000})
		if len(o.done) != 25_000 || o.end != nil || m.most > 10_000 {
			t.Error(o, m.most)
		}
	})
}

// The memory is that of what is in flight.
func TestEachMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("100,000 calls")
	}
	heap := func() uint64 {
		runtime.GC()
		var s runtime.MemStats
		runtime.ReadMemStats(&s)
		return s.HeapAlloc
	}
	m := llm.Func(unused(t), func(context.Context, *llm.Request) (*llm.Response, error) { return llm.Reply("good"), nil })
	var before uint64
	n := 0
	for row, err := range llmcall.Each(t.Context(), client(t, m, checked, llmcall.RetryConfig{}), numbers(100_000), number, llmcall.EachConfig{}) {
		if err != nil || row.Err != nil {
			t.Fatal(err, row.Err)
		}
		if n++; n == 20_000 {
			before = heap()
		}
	}
	if after := heap(); after > before+1<<20 {
		t.Errorf("%d bytes, %d before", after, before)
	}
}

// A sequence is for any number of ranges at once.
func TestEachTwiceAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newEachModel(t, nil)
		all := llmcall.Each(t.Context(), client(t, m, checked, llmcall.RetryConfig{}), numbers(200), number, llmcall.EachConfig{})
		second := make(chan *ran)
		go func() { second <- collect(t, all) }()
		for _, o := range []*ran{collect(t, all), <-second} {
			if len(o.done) != 200 || o.end != nil {
				t.Error(o)
			}
		}
	})
}

// Whatever ends a range, and whenever: rows are yielded once, what was answered is yielded as
// done, the reason comes last, and nothing is left.
func TestEachEndsAtAnyMoment(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		how := rapid.SampledFrom([]string{"break", "context", "rows panic", "loop panic", "key"}).Draw(rt, "how")
		at := time.Duration(rapid.IntRange(0, 4000).Draw(rt, "at")) * time.Millisecond
		grace := time.Duration(rapid.SampledFrom([]int{0, 100, 1000, 100_000}).Draw(rt, "grace")) * time.Millisecond
		places := rapid.IntRange(1, 40).Draw(rt, "places")
		n := rapid.IntRange(0, 150).Draw(rt, "rows")
		deaf := rapid.Bool().Draw(rt, "deaf")
		slowRows := rapid.Bool().Draw(rt, "slow rows")
		slowLoop := rapid.Bool().Draw(rt, "slow loop")
		slowRequest := rapid.Bool().Draw(rt, "slow request")
		fail := rapid.IntRange(0, 3).Draw(rt, "fail")
		money := rapid.Bool().Draw(rt, "money")
		hedged := rapid.Bool().Draw(rt, "hedged")
		synctest.Test(t, func(t *testing.T) {
			m := newEachModel(t, nil)
			var inside atomic.Int64
			model := llm.Func(m.name, func(ctx context.Context, req *llm.Request) (*llm.Response, error) {
				inside.Add(1)
				defer inside.Add(-1)
				if how == "key" && time.Since(m.start) > at {
					return nil, failing(failure.Unauthorized)
				}
				i, _ := strconv.Atoi(req.Messages[0].Text())
				m.mu.Lock()
				m.asked[i]++
				first := m.asked[i] == 1
				m.mu.Unlock()
				if deaf {
					time.Sleep(300 * time.Millisecond)
				} else {
					select {
					case <-ctx.Done():
						return nil, ctx.Err()
					case <-time.After(time.Duration(100+i%7*50) * time.Millisecond):
					}
				}
				if fail > 0 && i%fail == 0 && first {
					return nil, failing([]failure.Kind{failure.Transient, failure.RateLimited, failure.Overloaded}[i%3])
				}
				return llm.Reply("good"), nil
			})
			cfg := llmcall.RetryConfig{MaxTokens: 300}
			if money {
				cfg.Account = account.New(endpoint.Amount{Tokens: 4000})
			}
			if hedged {
				cfg.Hedge = &llmcall.Hedge{After: 200 * time.Millisecond, Extra: 0.5}
			}
			ctx, cancel := context.WithCancelCause(t.Context())
			defer cancel(nil)
			if how == "context" {
				time.AfterFunc(at, func() { cancel(errRow) })
			}
			taken := 0
			rows := func(yield func(int) bool) {
				for i := range n {
					if slowRows {
						time.Sleep(37 * time.Millisecond)
					}
					if how == "rows panic" && time.Since(m.start) >= at {
						panic(errRow)
					}
					if taken++; !yield(i) {
						return
					}
				}
			}
			request := func(i int) (*llm.Request, error) {
				if slowRequest {
					time.Sleep(20 * time.Millisecond)
				}
				return number(i)
			}
			seen := map[int]bool{}
			var end error
			stopped := 0
			var panicked any
			broke := false
			func() {
				defer func() { panicked = recover() }()
				for row, err := range llmcall.Each(ctx, client(t, model, checked, cfg), rows, request, llmcall.EachConfig{Concurrency: places, Grace: grace}) {
					if end != nil {
						rt.Fatal("after the end")
					}
					if err != nil {
						end = err
						continue
					}
					if seen[row.Row] {
						rt.Fatal("twice", row.Row)
					}
					seen[row.Row] = true
					if row.NotDone {
						stopped++
					} else if row.Err != nil {
						rt.Fatalf("row %d failed: %v", row.Row, row.Err)
					}
					if slowLoop {
						time.Sleep(11 * time.Millisecond)
					}
					if time.Since(m.start) >= at && how == "break" {
						broke = true
						break
					}
					if time.Since(m.start) >= at && how == "loop panic" {
						panic(errRow)
					}
				}
			}()
			if inside.Load() != 0 {
				rt.Fatal("in flight after the loop")
			}
			if panicked != nil && panicked != any(errRow) {
				rt.Fatal(panicked)
			}
			if !broke && panicked == nil {
				if len(seen) != taken {
					rt.Fatalf("%d of %d that were taken, %v", len(seen), taken, end)
				}
				if end == nil && (taken != n || stopped > 0 && how != "key") {
					rt.Fatalf("no reason: %d of %d, %d stopped", taken, n, stopped)
				}
				if how == "context" && end != nil && end != errRow && !money {
					rt.Fatal(end)
				}
			}
			now := len(m.asked)
			time.Sleep(time.Hour)
			if len(m.asked) != now {
				rt.Fatal("asked later")
			}
		})
	})
}

// In an outage at the start all rows are answered after it, however many places there may be
// later: it begins with eight.
func TestEachBeginsInAnOutage(t *testing.T) {
	for _, places := range []int{2, 8, 64, 1000, 10_000} {
		synctest.Test(t, func(t *testing.T) {
			m := newEachModel(t, func(_ context.Context, _ int, since time.Duration) error {
				if since < 5*time.Minute {
					return failing(failure.Transient)
				}
				return nil
			})
			o := each(t.Context(), t, client(t, m, checked, llmcall.RetryConfig{}), 3000, llmcall.EachConfig{Concurrency: places})
			if during := m.between(0, 5*time.Minute); len(o.done) != 3000 || o.end != nil || during > 80 {
				t.Errorf("%d: %v, %d requests in the outage", places, o, during)
			}
		})
	}
}

// A row that has left a model for its failures does not wait without end for another whose
// circuit stays open: it begins again with all models, but one that always fails is stopped.
func TestEachGoesBackToAModel(t *testing.T) {
	for _, row := range []struct {
		name  string
		fails func(n int, since time.Duration) bool
		done  int // at least: those that have tried the circuit most often may be stopped
		took  time.Duration
	}{
		{"an outage", func(_ int, since time.Duration) bool { return since > 10*s && since < 5*time.Minute }, 9_990, 8 * time.Minute},
		{"a poisoned row", func(n int, _ time.Duration) bool { return n == 5000 }, 9_999, 8 * time.Minute},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				spent := newEachModel(t, func(context.Context, int, time.Duration) error { return failing(failure.QuotaExhausted) })
				other := newEachModel(t, func(_ context.Context, n int, since time.Duration) error {
					if row.fails(n, since) {
						return failing(failure.Transient)
					}
					return nil
				})
				c, err := llmcall.New([]llm.Model{spent, other}, checked, llmcall.RetryConfig{})
				if err != nil {
					t.Fatal(err)
				}
				o := each(t.Context(), t, c, 10_000, llmcall.EachConfig{})
				took := time.Since(other.start)
				t.Log(o, took, other.asked[5000])
				if len(o.done) < row.done || len(o.done)+len(o.stopped) != 10_000 || o.end != nil || took > row.took {
					t.Error(o, took)
				}
			})
		})
	}
}

// The number of rows in flight, by a model of the sentence about it: it begins with 8, or
// Concurrency if that is less, and doubles whenever as many rows have ended without a failure
// of the provider among them.
func TestEachPlacesByAModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		places := rapid.IntRange(1, 100).Draw(rt, "places")
		total := rapid.IntRange(1, 400).Draw(rt, "rows")
		fails := map[int]bool{}
		for _, n := range rapid.SliceOfN(rapid.IntRange(0, total-1), 0, 6).Draw(rt, "fail") {
			fails[n] = true
		}
		synctest.Test(t, func(t *testing.T) {
			m := newEachModel(t, nil)
			m.do = func(_ context.Context, n int, _ time.Duration) error {
				time.Sleep(time.Duration(n) * 1009 * time.Microsecond) // no two rows end together
				m.mu.Lock()
				defer m.mu.Unlock()
				if fails[n] && m.asked[n] == 1 {
					return failing(failure.Transient)
				}
				return nil
			}
			var taken atomic.Int64
			rows := func(yield func(int) bool) {
				for n := range total {
					if taken.Add(1); !yield(n) {
						return
					}
				}
			}
			done := 0
			limit, round, failed := min(8, places), 0, false
			for row, err := range llmcall.Each(t.Context(), client(t, m, checked, exact(llmcall.RetryConfig{})), rows, number, llmcall.EachConfig{Concurrency: places}) {
				if err != nil || row.Err != nil {
					rt.Fatal(err, row.Err)
				}
				done++
				round++
				if failed = failed || fails[row.Row]; round == limit {
					if !failed {
						limit = min(2*limit, places)
					}
					round, failed = 0, false
				}
				synctest.Wait()
				if got, want := int(taken.Load())-done, min(limit, total-done); got != want {
					rt.Fatalf("%d in flight after %d rows, want %d", got, done, want)
				}
			}
			if done != total {
				rt.Fatalf("%d of %d", done, total)
			}
		})
	})
}
