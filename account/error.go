package account

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"llmcall/endpoint"
	"llmcall/failure"
	"llmcall/internal/decimal"
)

// Error is the error of a request that an account does not allow.
type Error struct {
	Account string // the name of the account that refused; "": it has none
	// Money says what was short, and the unit of the numbers: nano-dollars; if false,
	// tokens.
	Money    bool
	Limit    int64
	Wanted   int64 // what the request may use
	Least    int64 // with how much it would be made
	Left     int64 // what is neither spent nor reserved
	Reserved int64 // for requests under way; what they do not use comes back
	// Shared says that other processes use the limit too ([Lender]). Reserved is then all
	// of it that is neither spent nor left here, and Err says why no more was lent; nil if
	// there is no more.
	Shared bool
	Err    error
	// Here is how much of Reserved is for requests of this process; of an account that is not
	// Shared, all.
	Here int64
	// Daily says that the limit is that of a day, until midnight in Location.
	Daily    bool
	Location string
	// Renews is in what time the next day begins, by the clock of the account: the one of
	// [Lender.Now] if it is Shared. 0 if it is not Daily.
	Renews time.Duration
	// Unknown says that the request was refused because it is not known what it may
	// use, while an account has a limit. The numbers are 0 then.
	Unknown bool
}

func (a *Account) refusal(want, least endpoint.Amount, money bool) *Error {
	now := a.left()
	e := &Error{Account: a.Name, Money: money, Limit: a.limit.Tokens, Wanted: want.Tokens, Least: least.Tokens, Left: now.Tokens, Reserved: a.reserved.Tokens}
	if money {
		e.Limit, e.Wanted, e.Least, e.Left, e.Reserved = a.limit.Nanos, want.Nanos, least.Nanos, now.Nanos, a.reserved.Nanos
	}
	e.Here = e.Reserved
	if a.Lender != nil {
		gone := plus(a.spent, a.others)
		e.Shared, e.Reserved = true, max(0, e.Limit-add(gone.Tokens, e.Left))
		if money {
			e.Reserved = max(0, e.Limit-add(gone.Nanos, e.Left))
		}
	}
	if a.day != nil {
		e.Daily, e.Location, e.Renews = true, a.day.String(), a.renews()
	}
	return e
}

// Error says what was wanted, what is left and of which account.
func (e *Error) Error() string {
	name := cmp.Or(e.Account, "the account")
	if e.Unknown {
		return fmt.Sprintf("%s has a limit, but it is not known what the request may use", name)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s has %s left of %s", name, e.amount(e.Left), e.amount(max(0, e.Limit)))
	if e.Daily {
		where := "in " + e.Location
		if e.Location == time.Local.String() {
			where = "here"
		}
		fmt.Fprintf(&b, " until midnight %s", where)
	}
	switch {
	case e.Reserved > 0 && e.Shared:
		fmt.Fprintf(&b, " (%s more is reserved for requests under way, or held by other processes)", e.amount(e.Reserved))
	case e.Reserved > 0:
		fmt.Fprintf(&b, " (%s more is reserved for requests under way)", e.amount(e.Reserved))
	}
	fmt.Fprintf(&b, ", and the request may use %s", e.amount(e.Wanted))
	if e.Least < e.Wanted {
		fmt.Fprintf(&b, ", at least %s", e.amount(e.Least))
	}
	if e.Err != nil {
		fmt.Fprintf(&b, ": %v", e.Err)
	}
	return b.String()
}

// Unwrap returns Err.
func (e *Error) Unwrap() error { return e.Err }

// FailureKind returns [failure.AccountSpent].
func (e *Error) FailureKind() failure.Kind { return failure.AccountSpent }

func (e *Error) amount(n int64) string {
	if e.Money {
		return "$" + decimal.Dollars(n, 2)
	}
	if n == 1 {
		return "1 token"
	}
	return fmt.Sprintf("%d tokens", n)
}
