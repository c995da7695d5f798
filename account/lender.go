package account

import (
	"context"
	"errors"
	"time"

	"llmcall/endpoint"
)

// Lender lends an account parts of a limit that several processes share, such as those of
// a fleet (package [llmcall/fleet]). An account that has one may use no more of its limit
// than was opened to it by [Account.Allot]: at first, and at the beginning of each day,
// nothing.
type Lender interface {
	// Now returns the time by which the days of the account are told, so that a clock that
	// is wrong in one process does not give it a day of its own. It is called with the
	// account locked: it must not block, nor call the account.
	Now() time.Time
	// Lend is called by [Account.Reserve], outside of every lock and at most once for a
	// reservation, if less than want is left of what is open: it may open more, by
	// [Account.Allot], and returns when ctx ends at the latest. Then what is left is
	// reserved as by an account without a lender. The error says why nothing can be lent
	// now, such as that the others can't be asked; nil if all is lent that there is.
	Lend(ctx context.Context, want endpoint.Amount) error
}

// lendWait is how long a reservation waits for all lenders of its accounts.
const lendWait = 5 * time.Millisecond

// borrow asks the lenders of all accounts in which less than want is left.
func (a *Account) borrow(want endpoint.Amount) error {
	ctx, cancel := context.WithTimeout(context.Background(), lendWait)
	defer cancel()
	var all error
	for _, link := range a.chain {
		if link.Lender != nil && link.short(want) {
			all = errors.Join(all, link.Lender.Lend(ctx, want))
		}
	}
	return all
}

// short reports whether less than want is left.
func (a *Account) short(want endpoint.Amount) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.turn()
	return less(a.left(), want)
}

// less reports whether the rest is less than is wanted, of tokens or of money.
func less(rest, want endpoint.Amount) bool {
	return rest.Tokens < want.Tokens || rest.Nanos < want.Nanos
}

// Allot is for the [Lender] of an account: on a day ([Snapshot.Day]), open of the limit may
// be spent and reserved here, but not less than is spent and reserved already; and others
// is what other processes have spent of the limit. Of another day than that of the account,
// nothing is set. It returns the state afterwards, so that a lender that takes something
// back knows what remains open.
func (a *Account) Allot(day int64, open, others endpoint.Amount) Snapshot {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.turn()
	if day == a.today {
		least := plus(a.spent, a.reserved)
		a.open = endpoint.Amount{Tokens: max(open.Tokens, least.Tokens), Nanos: max(open.Nanos, least.Nanos)}
		a.others = others
	}
	return a.snapshot()
}
