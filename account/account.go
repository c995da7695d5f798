package account

import (
	"cmp"
	"errors"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"llmcall/endpoint"
)

// Dollar is one US dollar in nano-dollars, the unit of [endpoint.Amount.Nanos].
const Dollar = 1_000_000_000

// Account is an account of tokens and money, made by [New] or [Daily]. It is safe for
// concurrent use, and must not be copied.
type Account struct {
	// Name is shown in errors and snapshots: "the tenant's day". It is set before the
	// account is used. Default "": "the account".
	Name string
	// Journal keeps the account where it outlives the process. It is set before the
	// account is used, but after what was spent before was settled. Default nil: the
	// account is in memory alone.
	Journal Journal
	// Lender opens the limit to this account, part by part, where several processes share
	// it. It is set before the account is used. Default nil: the limit is this account's
	// alone.
	Lender Lender

	id    uint64
	day   *time.Location // nil: the limit is for ever
	chain []*Account     // this account and all above it, the newest first

	mu       sync.Mutex
	limit    endpoint.Amount
	spent    endpoint.Amount
	reserved endpoint.Amount
	today    int64           // the day that spent is of
	before   expense         // what was charged before that
	open     endpoint.Amount // of the limit, on that day, with a Lender
	others   endpoint.Amount // what other processes have spent, with a Lender
}

// expense is what was spent on a day.
type expense struct {
	day    int64
	amount endpoint.Amount
}

// made counts the accounts. An account is newer than those above it, so that the order of
// the numbers is an order in which all lock their chains.
var made atomic.Uint64

// New returns an account with a limit, below the accounts in above: what is reserved or
// spent here counts there too, once in each, also if two of them have a common one above
// them. In the limit, 0 means no limit; less than 0, that nothing may be used.
func New(limit endpoint.Amount, above ...*Account) *Account {
	a := &Account{limit: limit, id: made.Add(1)}
	a.chain = []*Account{a}
	for _, other := range above {
		for _, link := range other.chain {
			if !slices.Contains(a.chain, link) {
				a.chain = append(a.chain, link)
			}
		}
	}
	slices.SortFunc(a.chain, func(x, y *Account) int { return cmp.Compare(y.id, x.id) })
	return a
}

// Daily is like [New], for an account whose limit is that of a day: at each midnight of
// loc by the wall clock, nothing is spent. nil is [time.Local]. What is under way at
// midnight stays reserved, and is spent on the day on which it is settled.
//
// If the clock is set back over a midnight, the day does not begin a second time: its
// account goes on. If it is set back by more than that, after it was wrong, the account
// goes on as that of the earlier day, so that the next midnight is not missed; what was
// spent on that day before the clock was wrong counts too. If it is set to the day from which it
// was set back, it was that which was wrong, and the account goes on as well.
func Daily(limit endpoint.Amount, loc *time.Location, above ...*Account) *Account {
	a := New(limit, above...)
	if a.day = loc; loc == nil {
		a.day = time.Local
	}
	a.today = dayOf(time.Now(), a.day)
	a.before.day = a.today
	return a
}

// Resume goes on with what was spent on a day before the process was started again. If the
// clock shows another day now, it is as if it had been set since: see [Daily], and
// [Snapshot.Day]. Resume is called before the account is used, and spends nothing in the
// accounts above it.
func (a *Account) Resume(day int64, amount endpoint.Amount) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.today, a.before.day, a.spent = day, day, amount
	a.turn()
}

// dayOf returns the number of the day that calendars show in loc at time t. Unlike the
// times of midnight, it is defined on days on which the clocks are changed.
func dayOf(t time.Time, loc *time.Location) int64 {
	_, offset := t.In(loc).Zone()
	seconds := t.Unix() + int64(offset)
	day := seconds / 86_400
	if seconds%86_400 < 0 {
		day--
	}
	return day
}

// turn begins a new day if there is one. The caller holds the lock.
func (a *Account) turn() {
	if a.day != nil {
		a.turnTo(a.now())
	}
}

// now is the time by which days are told.
func (a *Account) now() time.Time {
	if a.Lender != nil {
		return a.Lender.Now()
	}
	return time.Now()
}

// renews returns in what time the next day begins.
func (a *Account) renews() time.Duration {
	now := a.now().In(a.day)
	year, month, day := now.Date()
	return time.Date(year, month, day+1, 0, 0, 0, 0, a.day).Sub(now)
}

func (a *Account) turnTo(now time.Time) {
	none := endpoint.Amount{}
	switch day := dayOf(now, a.day); {
	case day > a.today:
		before := expense{a.today, none}
		if day != a.before.day { // to which the clock would come back
			before.amount, a.spent = a.spent, none
		}
		a.before, a.today, a.open, a.others = before, day, none, none
	case day < a.today-1:
		if a.before.day >= day {
			a.spent = plus(a.spent, a.before.amount)
		}
		a.before, a.today, a.open, a.others = expense{a.today, none}, day, none, none
	case day < a.today && a.Lender != nil && a.open == none && a.spent == none:
		a.before, a.today, a.others = expense{day, none}, day, none // it was the day of a wrong clock, until the lender knew the time
	}
}

// Reserve sets aside want for a request, in this account and in all above it, or if less
// is left in one of them, what is left there, but not below least; tokens and money are
// looked at separately. It returns what it has set aside, for [Account.Settle]. If an
// account has less left than least, or nothing, Reserve returns an *[Error] of that
// account, and nothing is set aside. Negative amounts count as 0, and a larger least as
// want. With a [Journal], Reserve returns when that has kept the reservation; if it can't,
// nothing is set aside, and the error is the journal's. With a [Lender] that is to open more,
// Reserve waits for it for 5 ms at most.
func (a *Account) Reserve(want, least endpoint.Amount) (lent endpoint.Amount, err error) {
	want = endpoint.Amount{Tokens: max(0, want.Tokens), Nanos: max(0, want.Nanos)}
	least = endpoint.Amount{Tokens: atLeast(least.Tokens, want.Tokens), Nanos: atLeast(least.Nanos, want.Nanos)}
	lent, entries, err := a.setAside(want, least, true)
	if err == errAsk {
		why := a.borrow(want)
		lent, entries, err = a.setAside(want, least, false)
		if e, ok := err.(*Error); ok && e.Shared {
			e.Err = why
		}
	}
	if err != nil {
		return endpoint.Amount{}, err
	}
	for _, kept := range entries {
		if err := kept(); err != nil {
			a.Settle(lent, endpoint.Amount{})
			return endpoint.Amount{}, err
		}
	}
	return lent, nil
}

// errAsk is the error of a reservation for which a lender must be asked first.
var errAsk = errors.New("a lender must be asked")

// setAside reserves in memory, and returns what to wait for until it is kept. ask says that
// nothing is to be reserved if a lender might open more than is left.
func (a *Account) setAside(want, least endpoint.Amount, ask bool) (lent endpoint.Amount, entries []func() error, err error) {
	a.lock()
	defer a.unlock()
	lent = want
	for _, link := range a.chain {
		rest := link.left()
		if ask && link.Lender != nil && less(rest, want) {
			return lent, nil, errAsk
		}
		lent.Tokens, lent.Nanos = min(lent.Tokens, rest.Tokens), min(lent.Nanos, rest.Nanos)
		if lent.Tokens < least.Tokens || lent.Nanos < least.Nanos {
			return lent, nil, link.refusal(want, least, lent.Nanos < least.Nanos)
		}
	}
	for _, link := range a.chain {
		link.reserved = plus(link.reserved, lent)
		if link.Journal != nil {
			entries = append(entries, link.Journal.Reserved(link.today, lent))
		}
	}
	return lent, entries, nil
}

// atLeast returns what a request needs of what it wants: something, if it wants anything.
func atLeast(least, want int64) int64 { return min(max(least, 1), want) }

// Settle ends a reservation: lent is what [Account.Reserve] returned, and used is what
// the request has used. All of used is spent, also what is above lent. If used is zero
// the reservation is released. If lent is zero, used is spent without a reservation. What
// was spent before the process was started again is for [Account.Resume].
func (a *Account) Settle(lent, used endpoint.Amount) {
	used = endpoint.Amount{Tokens: max(0, used.Tokens), Nanos: max(0, used.Nanos)}
	a.lock()
	defer a.unlock()
	for _, link := range a.chain {
		link.reserved = minus(link.reserved, lent)
		link.spent = plus(link.spent, used)
		if link.Journal != nil {
			link.Journal.Settled(link.today, lent, used)
		}
	}
}

// SetLimit changes the limit, whose zero values are as for [New]. What is spent and
// reserved remains; if that is more than the new limit, nothing is left.
func (a *Account) SetLimit(limit endpoint.Amount) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.limit = limit
}

func (a *Account) limits() endpoint.Amount {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.limit
}

// lock locks the account and all above it, and begins their new days. All chains are
// locked from the newest account to the oldest, so that no two callers wait for each
// other, and the account that most callers share is held the shortest.
func (a *Account) lock() {
	for _, link := range a.chain {
		link.mu.Lock()
		link.turn()
	}
}

func (a *Account) unlock() {
	for _, link := range a.chain {
		link.mu.Unlock()
	}
}

// left returns what may still be reserved. The caller holds the lock.
func (a *Account) left() endpoint.Amount {
	rest := endpoint.Amount{
		Tokens: left(a.limit.Tokens, a.spent.Tokens, a.reserved.Tokens),
		Nanos:  left(a.limit.Nanos, a.spent.Nanos, a.reserved.Nanos),
	}
	if a.Lender == nil {
		return rest
	}
	if a.limit.Tokens != 0 {
		rest.Tokens = min(rest.Tokens, max(0, a.open.Tokens-add(a.spent.Tokens, a.reserved.Tokens)))
	}
	if a.limit.Nanos != 0 {
		rest.Nanos = min(rest.Nanos, max(0, a.open.Nanos-add(a.spent.Nanos, a.reserved.Nanos)))
	}
	return rest
}

func left(limit, spent, reserved int64) int64 {
	if limit == 0 {
		return math.MaxInt64
	}
	return max(0, max(0, limit)-add(spent, reserved))
}

// Snapshot is the state of an account at one moment.
type Snapshot struct {
	Name     string
	Limit    endpoint.Amount // 0: none
	Spent    endpoint.Amount // by what was settled; of a daily account, on this day
	Reserved endpoint.Amount // by requests under way
	// Open is what may be spent and reserved here, of a limit that processes share, and
	// Others what the others have spent, as far as it is known. Zero without a [Lender].
	Open, Others endpoint.Amount
	// Day is the day that is charged, as for a [Journal].
	Day int64
}

// Snapshot returns the state of this account. Those above it have their own.
func (a *Account) Snapshot() Snapshot {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.turn()
	return a.snapshot()
}

func (a *Account) snapshot() Snapshot {
	return Snapshot{a.Name, a.limit, a.spent, a.reserved, a.open, a.others, a.today}
}

// Limited reports whether this account or one above it has a limit.
func (a *Account) Limited() bool {
	return slices.ContainsFunc(a.chain, func(link *Account) bool { return link.limits() != endpoint.Amount{} })
}

// LimitsMoney reports whether this account or one above it has a limit of money, so that
// what a request may cost must be known.
func (a *Account) LimitsMoney() bool {
	return slices.ContainsFunc(a.chain, func(link *Account) bool { return link.limits().Nanos != 0 })
}

func plus(a, b endpoint.Amount) endpoint.Amount {
	return endpoint.Amount{Tokens: add(a.Tokens, b.Tokens), Nanos: add(a.Nanos, b.Nanos)}
}

// minus is at least 0: what was never reserved can't be given back.
func minus(a, b endpoint.Amount) endpoint.Amount {
	return endpoint.Amount{Tokens: max(0, a.Tokens-max(0, b.Tokens)), Nanos: max(0, a.Nanos-max(0, b.Nanos))}
}

// add returns the sum of two numbers of at least 0, or the largest number.
func add(a, b int64) int64 {
	if a > math.MaxInt64-b {
		return math.MaxInt64
	}
	return a + b
}
