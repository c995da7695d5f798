package account_test

import (
	"errors"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"llmcall/account"
	"llmcall/endpoint"
	"llmcall/failure"
)

func nanos(n int64) endpoint.Amount  { return endpoint.Amount{Nanos: n} }
func tokens(n int64) endpoint.Amount { return endpoint.Amount{Tokens: n} }

// A purse of 100, 40 for each request, which would do with 10.
func TestWhatIsLeftIsLent(t *testing.T) {
	purse := account.New(nanos(100))
	for i, want := range []int64{40, 40, 20, 0} {
		lent, err := purse.Reserve(nanos(40), nanos(10))
		if lent != nanos(want) || (err != nil) != (want == 0) {
			t.Errorf("%d: %+v, %v", i+1, lent, err)
		}
	}
	purse.Settle(nanos(40), nanos(31))
	if lent, err := purse.Reserve(nanos(40), nanos(10)); err == nil {
		t.Errorf("of 9 that are left: %+v", lent)
	}
	purse.Settle(nanos(40), nanos(0))
	purse.Settle(nanos(20), nanos(25)) // more than was reserved counts too
	if got, want := purse.Snapshot(), (account.Snapshot{Limit: nanos(100), Spent: nanos(56)}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

func TestWhatIsReserved(t *testing.T) {
	for name, c := range map[string]struct {
		limit, want, least, lent endpoint.Amount // lent zero: refused, unless want is
	}{
		"no limit":                           {endpoint.Amount{}, endpoint.Amount{Tokens: 5, Nanos: 7}, tokens(1), endpoint.Amount{Tokens: 5, Nanos: 7}},
		"no limit, the largest amount":       {endpoint.Amount{}, tokens(math.MaxInt64), tokens(1), tokens(math.MaxInt64)},
		"a limit of money alone":             {nanos(10), endpoint.Amount{Tokens: 1000, Nanos: 20}, nanos(5), endpoint.Amount{Tokens: 1000, Nanos: 10}},
		"a limit of tokens alone":            {tokens(10), endpoint.Amount{Tokens: 20, Nanos: 1000}, tokens(5), endpoint.Amount{Tokens: 10, Nanos: 1000}},
		"both, and one is short":             {endpoint.Amount{Tokens: 10, Nanos: 10}, endpoint.Amount{Tokens: 10, Nanos: 11}, endpoint.Amount{Tokens: 10, Nanos: 11}, endpoint.Amount{}},
		"exactly the limit":                  {nanos(10), nanos(10), nanos(10), nanos(10)},
		"one above the limit":                {nanos(10), nanos(11), nanos(11), endpoint.Amount{}},
		"a larger least counts as want":      {nanos(10), nanos(5), nanos(50), nanos(5)},
		"something free":                     {nanos(10), endpoint.Amount{}, endpoint.Amount{}, endpoint.Amount{}},
		"a limit below 0 allows nothing":     {nanos(-1), nanos(1), nanos(0), endpoint.Amount{}},
		"amounts below 0 count as 0":         {nanos(10), nanos(-5), nanos(-7), endpoint.Amount{}},
		"the largest amount, where less is":  {nanos(10), nanos(math.MaxInt64), nanos(1), nanos(10)},
		"a least of 0 is something, not all": {nanos(10), nanos(20), nanos(0), nanos(10)},
	} {
		a := account.New(c.limit)
		lent, err := a.Reserve(c.want, c.least)
		free := c.want.Tokens <= 0 && c.want.Nanos <= 0
		if lent != c.lent || (err != nil) != (c.lent == endpoint.Amount{} && !free) {
			t.Errorf("%s: %+v, %v, want %+v", name, lent, err, c.lent)
		}
		if a.Snapshot().Reserved != c.lent {
			t.Errorf("%s: reserved %+v", name, a.Snapshot())
		}
	}
}

// The lowest limit allows nothing, as any below 0, whatever is spent.
func TestWhatIsSpentMakesNoRoom(t *testing.T) {
	a := account.New(nanos(math.MinInt64))
	a.Settle(endpoint.Amount{}, nanos(1))
	if lent, err := a.Reserve(nanos(1), nanos(1)); err == nil {
		t.Errorf("lent %+v", lent)
	}
}

// All above it too, or nothing, and one that two ways lead to only once.
func TestAllAboveTooOrNothing(t *testing.T) {
	process := account.New(nanos(100))
	key, day := account.New(nanos(60), process), account.New(tokens(9), process)
	call := account.New(endpoint.Amount{}, key, day)
	all := map[string]*account.Account{"process": process, "key": key, "day": day, "call": call}
	reserved := func(want endpoint.Amount) {
		t.Helper()
		for name, a := range all {
			if got := a.Snapshot().Reserved; got != want {
				t.Errorf("%s: reserved %+v, want %+v", name, got, want)
			}
		}
	}
	lent, err := call.Reserve(endpoint.Amount{Tokens: 20, Nanos: 70}, endpoint.Amount{Tokens: 9, Nanos: 60})
	if want := (endpoint.Amount{Tokens: 9, Nanos: 60}); err != nil || lent != want {
		t.Fatalf("%+v, %v", lent, err)
	}
	reserved(lent)
	if _, err := call.Reserve(nanos(1), nanos(1)); err == nil {
		t.Error("above the key's limit")
	}
	reserved(lent)
	call.Settle(lent, endpoint.Amount{Tokens: 9, Nanos: 50})
	reserved(endpoint.Amount{})
	if _, err := call.Reserve(endpoint.Amount{Tokens: 1, Nanos: 1}, endpoint.Amount{}); err == nil {
		t.Error("above the day's limit")
	}
	reserved(endpoint.Amount{})
	for name, a := range all {
		if got := a.Snapshot().Spent; got.Nanos != 50 {
			t.Errorf("%s: spent %+v", name, got)
		}
	}
}

// What is given back without having been lent is not given.
func TestNothingIsCreated(t *testing.T) {
	a := account.New(nanos(10))
	a.Settle(nanos(50), nanos(-50))
	a.Settle(nanos(-50), nanos(4))
	if got := a.Snapshot(); got.Reserved != (endpoint.Amount{}) || got.Spent != nanos(4) {
		t.Errorf("%+v", got)
	}
	a.Settle(endpoint.Amount{}, nanos(math.MaxInt64))
	if got := a.Snapshot(); got.Spent != nanos(math.MaxInt64) {
		t.Errorf("%+v", got)
	}
}

func TestErrorsInWords(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		berlin, err := time.LoadLocation("Europe/Berlin")
		if err != nil {
			t.Fatal(err)
		}
		plain, busy := account.New(nanos(5*account.Dollar)), account.New(tokens(1000))
		busy.Name = "key 7"
		if _, err := busy.Reserve(tokens(999), tokens(999)); err != nil {
			t.Fatal(err)
		}
		day := account.Daily(nanos(account.Dollar/20), berlin)
		day.Name = "the tenant's day"
		day.Settle(endpoint.Amount{}, nanos(account.Dollar/25+1))
		here := account.Daily(nanos(-1), nil)
		for _, c := range []struct {
			account     *account.Account
			want, least endpoint.Amount
			words       string
		}{
			{plain, nanos(6 * account.Dollar), nanos(5*account.Dollar + 10_000_000), `the account has $5.00 left of $5.00, and the request may use $6.00, at least $5.01`},
			{account.New(endpoint.Amount{}, busy), tokens(50), tokens(50), `key 7 has 1 token left of 1000 tokens (999 tokens more is reserved for requests under way), and the request may use 50 tokens`},
			{day, nanos(12_500_000), nanos(10_000_000), `the tenant's day has $0.009999999 left of $0.05 until midnight in Europe/Berlin, and the request may use $0.0125, at least $0.01`},
			{here, nanos(1), nanos(1), `the account has $0.00 left of $0.00 until midnight here, and the request may use $0.000000001`},
		} {
			_, err := c.account.Reserve(c.want, c.least)
			e, ok := errors.AsType[*account.Error](err)
			if !ok || e.Error() != c.words || failure.KindOf(err) != failure.AccountSpent {
				t.Errorf("got  %v\nwant %s", err, c.words)
			}
		}
	})
}

// A process that lives for weeks, and a day of 25 hours (29 October 2000 in Berlin).
func TestADayIsThatOfItsPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		berlin, err := time.LoadLocation("Europe/Berlin")
		if err != nil {
			t.Fatal(err)
		}
		process := account.New(nanos(1000))
		day := account.Daily(nanos(10), berlin, process)
		until := func(at string) {
			t.Helper()
			then, err := time.ParseInLocation("2006-01-02 15:04:05", at, berlin)
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Until(then))
		}
		spend := func(n int64, allowed bool) {
			t.Helper()
			lent, err := day.Reserve(nanos(n), nanos(n))
			if (err == nil) != allowed {
				t.Errorf("%v: %d: %v", time.Now().In(berlin), n, err)
			}
			if err == nil {
				day.Settle(lent, lent)
			}
		}
		spend(10, true)
		until("2000-01-01 23:59:59")
		spend(1, false)
		until("2000-01-02 00:00:00")
		spend(10, true)
		until("2000-10-29 00:00:00")
		spend(10, true)
		until("2000-10-29 23:59:59") // 24 hours and 59 minutes later
		spend(1, false)
		lent, err := account.New(endpoint.Amount{}, day).Reserve(nanos(1), nanos(1))
		if err == nil {
			t.Errorf("lent %+v", lent)
		}
		until("2000-10-30 00:00:00")
		over, err := day.Reserve(nanos(8), nanos(8))
		if err != nil {
			t.Fatal(err)
		}
		until("2000-10-31 00:00:00") // under way at midnight: the next day's
		spend(3, false)
		day.Settle(over, nanos(5))
		spend(5, true)
		spend(1, false)
		if got := day.Snapshot(); got.Spent != nanos(10) || got.Reserved != (endpoint.Amount{}) {
			t.Errorf("%+v", got)
		}
		if got := process.Snapshot().Spent; got != nanos(40) {
			t.Errorf("the process has spent %+v", got)
		}
	})
}
