package account_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"llmcall/account"
	"llmcall/endpoint"
)

// naive is the model of an account: it adds up everything that has ever happened each
// time that it is asked.
type naive struct {
	limit   endpoint.Amount
	daily   bool
	above   map[*naive]bool // all, not just the nearest
	lowered bool            // the limit was below what was spent and reserved before
	history []entry
	open    []endpoint.Amount
}

type entry struct {
	day  int // since the beginning
	used endpoint.Amount
}

func (n *naive) state(day int) (spent, reserved endpoint.Amount) {
	for _, e := range n.history {
		if !n.daily || e.day == day {
			spent.Tokens, spent.Nanos = spent.Tokens+e.used.Tokens, spent.Nanos+e.used.Nanos
		}
	}
	for _, lent := range n.open {
		reserved.Tokens, reserved.Nanos = reserved.Tokens+lent.Tokens, reserved.Nanos+lent.Nanos
	}
	return spent, reserved
}

// lends returns what an account has for one unit: all that is wanted, or what is left, or
// false if that is less than the least, or nothing of something.
func lends(limit, spent, reserved, want, least int64) (int64, bool) {
	left := want
	if limit != 0 && limit-spent-reserved < want {
		left = max(0, limit-spent-reserved)
	}
	return left, left == want || left > 0 && left >= least
}

func (n *naive) each(do func(*naive)) {
	do(n)
	for other := range n.above {
		do(other)
	}
}

func (n *naive) reserve(day int, want, least endpoint.Amount) (endpoint.Amount, bool) {
	lent, possible := want, true
	n.each(func(a *naive) {
		spent, reserved := a.state(day)
		tokens, enough := lends(a.limit.Tokens, spent.Tokens, reserved.Tokens, want.Tokens, least.Tokens)
		money, rich := lends(a.limit.Nanos, spent.Nanos, reserved.Nanos, want.Nanos, least.Nanos)
		possible = possible && enough && rich
		lent = endpoint.Amount{Tokens: min(lent.Tokens, tokens), Nanos: min(lent.Nanos, money)}
	})
	if !possible {
		return endpoint.Amount{}, false
	}
	n.each(func(a *naive) { a.open = append(a.open, lent) })
	return lent, true
}

func (n *naive) settle(day int, lent, used endpoint.Amount) {
	n.each(func(a *naive) {
		for i, open := range a.open {
			if open == lent {
				a.open = append(a.open[:i], a.open[i+1:]...)
				break
			}
		}
		a.history = append(a.history, entry{day, used})
	})
}

type pair struct {
	real    *account.Account
	model   *naive
	journal *ledger // nil: it has none
}

// ledger is a journal that may be unable to keep what is reserved. It knows an account as
// the next process would.
type ledger struct {
	spent map[int64]int64 // nano-dollars by day
	open  []int64
	full  bool
}

var errFull = errors.New("no space left")

func (l *ledger) Reserved(_ int64, lent endpoint.Amount) (kept func() error) {
	l.open = append(l.open, lent.Nanos)
	return func() error {
		if l.full {
			return errFull
		}
		return nil
	}
}

func (l *ledger) Settled(day int64, lent, used endpoint.Amount) {
	if i := slices.Index(l.open, lent.Nanos); i >= 0 {
		l.open = slices.Delete(l.open, i, i+1)
	}
	l.spent[day] += used.Nanos
}

func (l *ledger) reserved() (sum int64) {
	for _, n := range l.open {
		sum += n
	}
	return sum
}

type promise struct {
	of   pair
	lent endpoint.Amount
}

// Any tree of accounts, in any order of reservations, settlements and days, does what the
// naive model does; and without overshoot no account is ever above its limit.
func TestAccountsAreLikeTheirModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var failed any
		synctest.Test(t, func(*testing.T) { // a panic of rapid must not end the bubble's goroutine
			defer func() { failed = recover() }()
			runModel(rt)
		})
		switch {
		case rt.Failed():
			rt.FailNow() // rapid tells failures apart by their places: not that of the panic below
		case failed != nil:
			panic(failed)
		}
	})
}

func runModel(t *rapid.T) {
	draw := func(label string, low, high int64) endpoint.Amount {
		return endpoint.Amount{Tokens: rapid.Int64Range(low, high).Draw(t, label), Nanos: rapid.Int64Range(low, high).Draw(t, label)}
	}
	var all []pair
	for i := range rapid.IntRange(1, 6).Draw(t, "accounts") {
		p := pair{model: &naive{limit: draw("limit", 0, 60), daily: rapid.Bool().Draw(t, "daily"), above: map[*naive]bool{}}}
		var above []*account.Account
		for _, other := range all {
			if rapid.Bool().Draw(t, fmt.Sprintf("%d below", i)) {
				above = append(above, other.real)
				p.model.above[other.model] = true
				for higher := range other.model.above {
					p.model.above[higher] = true
				}
			}
		}
		if p.model.daily {
			p.real = account.Daily(p.model.limit, time.UTC, above...)
		} else {
			p.real = account.New(p.model.limit, above...)
		}
		if rapid.Bool().Draw(t, "journal") {
			p.journal = &ledger{spent: map[int64]int64{}}
			p.real.Journal = p.journal
		}
		all = append(all, p)
	}
	firstDay := time.Now().Unix() / 86_400
	day, overshot := 0, false
	var open []promise
	t.Repeat(map[string]func(*rapid.T){
		"reserve": func(t *rapid.T) {
			p := rapid.SampledFrom(all).Draw(t, "account")
			want, least := draw("want", 0, 30), draw("least", 0, 40)
			lent, err := p.real.Reserve(want, least)
			least = endpoint.Amount{Tokens: min(least.Tokens, want.Tokens), Nanos: min(least.Nanos, want.Nanos)}
			expected, ok := p.model.reserve(day, want, least)
			if full := ok && err == errFull; full {
				p.model.settle(day, expected, endpoint.Amount{})
				for _, other := range all {
					full = full && (other.journal == nil || !other.journal.full || other.model != p.model && !p.model.above[other.model])
				}
				if full {
					t.Fatal("no journal was full")
				}
				return
			}
			if lent != expected || (err == nil) != ok {
				t.Fatalf("reserved %+v, %v, want %+v, %v", lent, err, expected, ok)
			}
			if _, typed := errors.AsType[*account.Error](err); err != nil && !typed {
				t.Fatalf("%T", err)
			}
			if ok {
				open = append(open, promise{p, lent})
			}
		},
		"settle": func(t *rapid.T) {
			if len(open) == 0 {
				t.Skip()
			}
			i := rapid.IntRange(0, len(open)-1).Draw(t, "which")
			o := open[i]
			open = append(open[:i], open[i+1:]...)
			used := endpoint.Amount{Tokens: rapid.Int64Range(0, o.lent.Tokens).Draw(t, "used"), Nanos: rapid.Int64Range(0, o.lent.Nanos).Draw(t, "used")}
			if rapid.IntRange(0, 9).Draw(t, "overshoot") == 0 {
				used.Nanos += 5
				overshot = true
			}
			o.of.real.Settle(o.lent, used)
			o.of.model.settle(day, o.lent, used)
		},
		"time": func(t *rapid.T) {
			hours := rapid.IntRange(0, 60).Draw(t, "hours")
			time.Sleep(time.Duration(hours) * time.Hour)
			day = int(time.Since(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)) / (24 * time.Hour))
		},
		"limit": func(t *rapid.T) {
			p := rapid.SampledFrom(all).Draw(t, "account")
			p.model.limit = draw("limit", 0, 60)
			p.real.SetLimit(p.model.limit)
			p.model.lowered = !within(p.real.Snapshot())
		},
		"full": func(t *rapid.T) {
			if p := rapid.SampledFrom(all).Draw(t, "account"); p.journal != nil {
				p.journal.full = !p.journal.full
			}
		},
		"": func(t *rapid.T) {
			for i, p := range all {
				spent, reserved := p.model.state(day)
				got := p.real.Snapshot()
				now := int64(0)
				if p.model.daily {
					now = firstDay + int64(day)
				}
				if want := (account.Snapshot{Limit: p.model.limit, Spent: spent, Reserved: reserved, Day: now}); got != want {
					t.Fatalf("account %d: %+v, want %+v", i, got, want)
				}
				if !overshot && !p.model.lowered && !within(got) {
					t.Fatalf("account %d is above its limit: %+v", i, got)
				}
				if p.journal == nil {
					continue
				}
				if p.journal.spent[now] != spent.Nanos || p.journal.reserved() != reserved.Nanos {
					t.Fatalf("account %d: the journal has %d and %d, want %d and %d", i, p.journal.spent[now], p.journal.reserved(), spent.Nanos, reserved.Nanos)
				}
			}
		},
	})
	for _, o := range open {
		o.of.real.Settle(o.lent, endpoint.Amount{})
	}
	for i, p := range all {
		if got := p.real.Snapshot().Reserved; got != (endpoint.Amount{}) {
			t.Fatalf("account %d: still reserved: %+v", i, got)
		}
	}
}

// within reports whether what is spent and reserved is within the limits.
func within(s account.Snapshot) bool {
	return (s.Limit.Tokens == 0 || s.Spent.Tokens+s.Reserved.Tokens <= s.Limit.Tokens) &&
		(s.Limit.Nanos == 0 || s.Spent.Nanos+s.Reserved.Nanos <= s.Limit.Nanos)
}
