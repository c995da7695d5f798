package account_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"llmcall/account"
	"llmcall/endpoint"
)

// lender opens more when it is asked, in some time, of what it has.
type lender struct {
	of    *account.Account
	late  time.Duration // how far its clock is behind that of the process
	takes time.Duration // an answer
	has   endpoint.Amount
	err   error

	mu    sync.Mutex
	asked int
}

func (l *lender) Now() time.Time { return time.Now().Add(-l.late) }

func (l *lender) Lend(ctx context.Context, want endpoint.Amount) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.asked++
	if ctx.Err() != nil {
		return ctx.Err()
	}
	select {
	case <-time.After(l.takes):
	case <-ctx.Done():
		return ctx.Err()
	}
	s := l.of.Snapshot() // would wait for ever if the account were locked
	more := endpoint.Amount{Tokens: min(want.Tokens, l.has.Tokens), Nanos: min(want.Nanos, l.has.Nanos)}
	l.has = endpoint.Amount{Tokens: l.has.Tokens - more.Tokens, Nanos: l.has.Nanos - more.Nanos}
	l.of.Allot(s.Day, endpoint.Amount{Tokens: s.Open.Tokens + more.Tokens, Nanos: s.Open.Nanos + more.Nanos}, s.Others)
	return l.err
}

// A limit of 100 that is opened part by part; each line is a reservation of 40 that would do
// with 10.
func TestWhatIsOpenIsLent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		purse := account.Daily(nanos(100), time.UTC)
		bank := &lender{of: purse, has: nanos(95), takes: time.Millisecond}
		purse.Lender = bank
		call := account.New(endpoint.Amount{}, purse)
		begun := time.Now()
		for i, line := range []struct{ lent, asked int64 }{{40, 1}, {40, 2}, {15, 3}, {0, 4}} {
			lent, err := call.Reserve(nanos(40), nanos(10))
			if lent != nanos(line.lent) || (err != nil) != (line.lent == 0) || int64(bank.asked) != line.asked {
				t.Errorf("%d: %+v, %v, asked %d times", i+1, lent, err, bank.asked)
			}
		}
		if waited := time.Since(begun); waited != 4*time.Millisecond {
			t.Errorf("waited %v", waited)
		}
		call.Settle(nanos(40), nanos(10))
		if _, err := call.Reserve(nanos(30), nanos(30)); err != nil || bank.asked != 4 {
			t.Errorf("what came back: %v, asked %d times", err, bank.asked)
		}
	})
}

// Nobody waits for a lender for more than 5 ms, not for two of them either, and the account
// says why nothing was lent.
func TestALenderThatDoesNotAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		process := account.New(nanos(1000))
		process.Lender = &lender{of: process, takes: time.Hour}
		day := account.Daily(nanos(5*account.Dollar), time.UTC, process)
		day.Name = "the tenant's day"
		day.Lender = &lender{of: day, takes: time.Hour}
		begun := time.Now()
		_, err := day.Reserve(nanos(40), nanos(10))
		if waited := time.Since(begun); waited != 5*time.Millisecond {
			t.Errorf("waited %v", waited)
		}
		e, ok := errors.AsType[*account.Error](err)
		if !ok || !errors.Is(err, context.DeadlineExceeded) || !e.Shared || e.Limit != 5*account.Dollar || e.Left != 0 || e.Reserved != 5*account.Dollar {
			t.Errorf("%+v", err)
		}
		want := `the tenant's day has $0.00 left of $5.00 until midnight in UTC ($5.00 more is reserved for requests under way, or held by other processes), and the request may use $0.00000004, at least $0.00000001: `
		if !strings.HasPrefix(err.Error(), want) {
			t.Error(err)
		}
	})
}

// What is open is opened for a day, and not below what is spent and reserved.
func TestWhatIsOpenIsThatOfADay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		purse := account.Daily(nanos(100), time.UTC)
		purse.Lender = &lender{of: purse}
		today := purse.Snapshot().Day
		if s := purse.Allot(today, nanos(50), nanos(20)); s.Open != nanos(50) || s.Others != nanos(20) {
			t.Fatalf("%+v", s)
		}
		if _, err := purse.Reserve(nanos(30), nanos(30)); err != nil {
			t.Fatal(err)
		}
		purse.Settle(nanos(10), nanos(5))
		for i, c := range []struct{ open, left int64 }{{40, 40}, {10, 25}, {0, 25}, {70, 70}} {
			if s := purse.Allot(today, nanos(c.open), nanos(20)); s.Open != nanos(c.left) {
				t.Errorf("%d: %+v", i, s)
			}
		}
		_, err := purse.Reserve(nanos(60), nanos(60))
		if e, ok := errors.AsType[*account.Error](err); !ok || e.Left != 45 || e.Reserved != 100-20-5-45 || e.Err != nil {
			t.Errorf("%+v", err)
		}
		purse.SetLimit(nanos(35))
		if _, err := purse.Reserve(nanos(20), nanos(11)); err == nil {
			t.Error("more than a lower limit is lent")
		}
		purse.SetLimit(endpoint.Amount{})
		if _, err := purse.Reserve(nanos(1000), nanos(1000)); err != nil {
			t.Error(err)
		}
		purse.SetLimit(nanos(100))
		time.Sleep(24 * time.Hour)
		if s := purse.Snapshot(); s.Day != today+1 || s.Open != (endpoint.Amount{}) || s.Spent != (endpoint.Amount{}) || s.Others != (endpoint.Amount{}) {
			t.Errorf("on the next day %+v", s)
		}
		if s := purse.Allot(today, nanos(50), endpoint.Amount{}); s.Open != (endpoint.Amount{}) {
			t.Errorf("what was opened the day before is open: %+v", s)
		}
	})
}

// The day is that of the lender's clock, also if it turns out to be the day before; but
// what was opened or spent is not forgotten.
func TestTheDayOfTheLendersClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // begins at midnight in UTC
		purse := account.Daily(nanos(100), time.UTC)
		wrong := purse.Snapshot().Day
		bank := &lender{of: purse, late: time.Hour}
		purse.Lender = bank
		if s := purse.Snapshot(); s.Day != wrong-1 {
			t.Errorf("day %d, want %d", s.Day, wrong-1)
		}
		purse.Allot(wrong-1, nanos(10), endpoint.Amount{})
		time.Sleep(time.Hour)
		if s := purse.Snapshot(); s.Day != wrong || s.Open != (endpoint.Amount{}) {
			t.Errorf("%+v", s)
		}
		purse.Settle(endpoint.Amount{}, nanos(1))
		bank.late = 2 * time.Hour
		if s := purse.Snapshot(); s.Day != wrong || s.Spent != nanos(1) {
			t.Errorf("%+v", s)
		}
	})
}
