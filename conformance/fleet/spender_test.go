package fleet

import (
	"errors"
	"time"

	"llmcall/account"
	"llmcall/endpoint"
	"llmcall/fleet"
)

// mostWait is how long a reservation waits for the store at most.
const mostWait = 5 * time.Millisecond

// A spending is what a worker spends of accounts and meters that a fleet shares, until its input
// ends: of each, each time. Beside each account it has one of its own, whose reservations all wait
// as long as one of a fleet may, so that both meet the same busy machine.
type spending struct {
	Every  time.Duration
	Purses []need
	Meters []need
	East   int // seconds from UTC, where the days of the accounts are
}

// A need is how much of a limit a worker wants each time.
type need struct {
	Name        string
	Limit, Each int64 // nano-dollars of a day, or permits of a minute
}

// secretOfTests is that of the fleets whose processes begin without a store, or are compared by
// their accounts alone.
const secretOfTests = "of the tests"

// where is the location of the days of a spending.
func (s *spending) where() *time.Location { return time.FixedZone("test", s.East) }

// whole is the Reason of what was refused because nothing is left for anybody.
const whole = "nothing is left"

// A spender is one account of a worker, with the reservation that is under way.
type spender struct {
	need
	shared, own *account.Account
	lent        endpoint.Amount
	open        int64
}

func (j job) spend(r *reporter) error {
	f, err := fleet.Open(j.Store, fleet.Options{Secret: secretOfTests})
	if err != nil {
		return err
	}
	defer f.Close()
	defer watch(f, r)()
	var purses []*spender
	for _, n := range j.Spend.Purses {
		limit := endpoint.Amount{Nanos: n.Limit}
		purses = append(purses, &spender{need: n, shared: f.Account(n.Name, limit, j.Spend.where()), own: account.Daily(limit, j.Spend.where())})
	}
	var meters []account.Meter
	for _, n := range j.Spend.Meters {
		meters = append(meters, f.Meter(n.Name, float64(n.Limit)))
	}
	ended, err := r.ready()
	if err != nil {
		return err
	}
	j.turn(true)
	tick := time.NewTicker(j.Spend.Every)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ended:
			for _, p := range purses {
				p.settle()
			}
			return nil
		}
		for _, p := range purses {
			p.settle()
			p.reserve(r)
		}
		for i, n := range j.Spend.Meters {
			take(meters[i], n, r)
		}
	}
}

// reserve takes what is wanted, or what is left, for a request that lasts until the next time.
func (p *spender) reserve(r *reporter) {
	want := endpoint.Amount{Nanos: p.Each}
	began := time.Now()
	lent, err := p.shared.Reserve(want, endpoint.Amount{})
	took := time.Since(began)
	s := p.shared.Snapshot()
	e := event{Kind: spent, Name: p.Name, At: began, Took: took, Day: s.Day}
	if err != nil {
		e.Reason = whole
		if refused, ok := errors.AsType[*account.Error](err); !ok {
			e.Reason = err.Error()
		} else if refused.Err != nil {
			e.Reason = refused.Err.Error()
		}
	}
	p.lent, e.Amount = lent, used(lent).Nanos
	r.tell(e)
	if s.Open.Nanos != p.open {
		p.open = s.Open.Nanos
		r.tell(event{Kind: opened, Name: p.Name, At: began, Amount: p.open, Day: s.Day})
	}

	began = time.Now()
	lent, err = p.own.Reserve(want, endpoint.Amount{})
	time.Sleep(mostWait)
	took = time.Since(began)
	p.own.Settle(lent, used(lent))
	e = event{Kind: spent, Alone: true, Name: p.Name, At: began, Took: took}
	if err != nil {
		e.Reason = whole
	}
	r.tell(e)
}

func (p *spender) settle() {
	p.shared.Settle(p.lent, used(p.lent))
	p.lent = endpoint.Amount{}
}

// used is how much a request uses of what was reserved for it: the rest comes back.
func used(lent endpoint.Amount) endpoint.Amount {
	return endpoint.Amount{Nanos: lent.Nanos - lent.Nanos/4}
}

func take(m account.Meter, n need, r *reporter) {
	began := time.Now()
	m.Fetch(float64(n.Each))
	wait := m.Wait(float64(n.Each))
	e := event{Kind: taken, Name: n.Name, At: began}
	if wait == 0 {
		m.Take(float64(n.Each))
		e.Amount = n.Each
	} else {
		e.Reason = wait.String()
	}
	e.Took = time.Since(began)
	r.tell(e)
}
