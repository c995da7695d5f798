package clients

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"llmcall/account"
	"llmcall/endpoint"
)

// together is what processes share: the whole of each limit, in one place.
type together struct {
	meters map[string]*meter
	purses map[string]*purse
	closed int
}

// meter has in hand what was fetched.
type meter struct {
	*together
	bucket *bucket
	here   float64
}

func (m *meter) SetLimit(perMinute float64) { m.bucket = m.bucket.changed(perMinute, time.Now()) }

func (m *meter) Fetch(n float64) {
	now := time.Now()
	if n = m.bucket.fits(n) - m.here; n > 0 && m.bucket.wait(n, now) == 0 {
		m.bucket.take(n, now)
		m.here += n
	}
}

func (m *meter) Wait(n float64) time.Duration {
	if n = m.bucket.fits(n); n <= m.here {
		return 0
	}
	return max(time.Millisecond, m.bucket.wait(n-m.here, time.Now()))
}

func (m *meter) Take(n float64) {
	m.here -= n
	m.bucket.take(-m.here, time.Now()) // what was given back, or is owed
	m.here = 0
}

func (m *meter) Left() float64 { return m.here + m.bucket.left(time.Now()) }
func (m *meter) Close()        { m.closed++ }

func (t *together) Meter(name string, perMinute float64) account.Meter {
	if t.meters[name] == nil {
		t.meters[name] = &meter{together: t, bucket: newBucket(perMinute)}
	}
	return &meter{together: t, bucket: t.meters[name].bucket}
}

// purse lends all that others have not got.
type purse struct {
	ahead time.Duration // its clock, of that of the processes
	lent  int64
	lost  error
	all   []*account.Account
}

// lender is that of one process.
type lender struct {
	*purse
	account *account.Account
}

func (l *lender) Now() time.Time { return time.Now().Add(l.ahead) }

func (l *lender) Lend(_ context.Context, want endpoint.Amount) error {
	if l.lost != nil {
		return l.lost
	}
	s := l.account.Snapshot()
	more := min(want.Nanos, s.Limit.Nanos-l.lent)
	l.lent += more
	var others endpoint.Amount
	for _, a := range l.all {
		if a != l.account {
			others.Nanos += a.Snapshot().Spent.Nanos
		}
	}
	l.account.Allot(s.Day, endpoint.Amount{Nanos: s.Open.Nanos + more}, others)
	return nil
}

func (t *together) Account(name string, limit endpoint.Amount, day *time.Location, above ...*account.Account) *account.Account {
	if t.purses[name] == nil {
		t.purses[name] = &purse{}
	}
	a := account.Daily(limit, day, above...)
	a.Name = name
	p := t.purses[name]
	a.Lender, p.all = &lender{p, a}, append(p.all, a)
	return a
}

// Two gateways have the limits of a client together, need no directory, and say so in the
// same words as one that is alone.
func TestLimitsThatProcessesShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fleet := &together{meters: map[string]*meter{}, purses: map[string]*purse{}}
		web := Config{Name: "web", SHA256: hashOf("a"), RequestsPerMinute: 6, TokensPerMinute: 600, MaxCostPerDay: 5}
		var both []*Client
		var books []*Book
		for range 2 {
			book, err := Open("", []Config{web}, Options{Log: quiet, Shared: fleet})
			if err != nil {
				t.Fatal(err)
			}
			both, books = append(both, only(book)), append(books, book)
		}
		one, two := both[0], both[1]
		first, r := admit(one, 400)
		if r != nil {
			t.Fatal(r)
		}
		if _, r := admit(two, 300); r == nil || r.Limit != LimitTokens || r.Left != 200 || r.RetryAfter != 10*time.Second {
			t.Errorf("%+v", r)
		}
		first.Done(100)
		if second, r := admit(two, 300); r != nil {
			t.Errorf("after tokens came back: %v", r)
		} else {
			second.Done(300)
		}
		for i := range 4 {
			ticket, r := admit(both[i%2], 0)
			if r != nil {
				t.Fatal(r)
			}
			ticket.Done(0)
		}
		for _, c := range both {
			if _, r := admit(c, 0); r == nil || r.Limit != LimitRequests || r.Allowed != 6 || r.RetryAfter != 10*time.Second {
				t.Errorf("%+v", r)
			}
		}
		time.Sleep(time.Minute)

		dollars := func(n int64) endpoint.Amount { return endpoint.Amount{Nanos: n * account.Dollar} }
		held, err := one.Account().Reserve(dollars(3), dollars(3))
		if err != nil {
			t.Fatal(err)
		}
		_, err = two.Account().Reserve(dollars(3), dollars(3))
		if r := two.Refused(err); r == nil || r.Limit != LimitCost || r.Allowed != 5 || r.Left != 2 || r.Held != 3 || r.RetryAfter != lent {
			t.Errorf("%+v", r)
		}
		_, err = two.Account().Reserve(dollars(6), dollars(6))
		if r := two.Refused(err); r == nil || r.RetryAfter <= time.Hour || r.RetryAfter > 24*time.Hour {
			t.Errorf("with all that others hold it would be too little: %+v", r)
		}
		one.Account().Settle(held, held)
		if _, err := two.Account().Reserve(dollars(2), dollars(2)); err != nil {
			t.Error(err)
		}
		_, err = one.Account().Reserve(dollars(1), dollars(1))
		if r := one.Refused(err); r == nil || r.Limit != LimitCost || r.Left != 0 || r.RetryAfter != lent ||
			r.Error() != `this gateway lets the client "web" spend $5.00 on a day in UTC, of which $0.00 are left here, and $2.00 with other gateways of its fleet: retry after 10s` {
			t.Errorf("while the other has it under way: %+v", r)
		}
		_, err = two.Account().Reserve(dollars(1), dollars(1))
		if r := two.Refused(err); r == nil || r.Left != 0 || r.Held != 0 || r.RetryAfter != soon {
			t.Errorf("while it has it under way itself: %+v", r)
		}
		if s := books[1].All()[0]; s.Spent != 0 || s.Reserved != 2*account.Dollar {
			t.Errorf("%+v", s)
		}

		if _, err := two.Account().Reserve(dollars(1), dollars(1)); err == nil {
			t.Error("more than the limit")
		}
		if s := books[1].All()[0]; s.Others != 3*account.Dollar {
			t.Errorf("%+v", s)
		}

		fleet.purses[accountName("web")].lost = errors.New("nobody answers")
		_, err = one.Account().Reserve(dollars(1), dollars(1))
		want := `this gateway can't ask its fleet what is left of the money of the client "web", and has nothing more that was lent to it: retry after 1s`
		if r := one.Refused(err); r == nil || r.Limit != LimitFleet || r.Error() != want || r.RetryAfter != soon {
			t.Errorf("%+v", r)
		}

		web.RequestsPerMinute, web.TokensPerMinute, web.MaxCostPerDay = 12, 0, 8
		if err := books[0].Reload([]Config{web}); err != nil || fleet.closed != 1 {
			t.Errorf("%v, %d meters are closed", err, fleet.closed)
		}
		if s := books[0].All()[0]; s.Requests == nil || *s.Requests < 11 || s.Tokens != nil {
			t.Errorf("%+v", s)
		}
		time.Sleep(24 * time.Hour)
		if err := books[0].Reload(nil); err != nil || fleet.closed != 2 || len(books[0].byName) != 0 {
			t.Errorf("%v, %d meters are closed", err, fleet.closed)
		}
		for _, b := range books {
			if err := b.Close(); err != nil {
				t.Error(err)
			}
		}
	})
}

// A client that has spent the money of its day is told to come back at the midnight of the
// clock that all have, and not at that of a gateway whose clock is wrong.
func TestMoneyComesBackAtTheMidnightOfAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fleet := &together{meters: map[string]*meter{}, purses: map[string]*purse{accountName("web"): {ahead: 20 * time.Hour}}}
		book, err := Open("", []Config{{Name: "web", SHA256: hashOf("a"), MaxCostPerDay: 5}}, Options{Log: quiet, Shared: fleet})
		if err != nil {
			t.Fatal(err)
		}
		c, five := only(book), endpoint.Amount{Nanos: 5 * account.Dollar}
		lent, err := c.Account().Reserve(five, five)
		if err != nil {
			t.Fatal(err)
		}
		c.Account().Settle(lent, five)
		_, err = c.Account().Reserve(five, five)
		if r := c.Refused(err); r == nil || r.Limit != LimitCost || r.RetryAfter != 4*time.Hour { // a bubble begins at midnight
			t.Errorf("%+v", r)
		}
		time.Sleep(4 * time.Hour)
		if s := book.All()[0]; s.Spent != 0 {
			t.Errorf("after that: %+v", s)
		}
		if err := book.Close(); err != nil {
			t.Error(err)
		}
	})
}
