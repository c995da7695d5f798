package account

import "llmcall/endpoint"

// Journal keeps the entries of one account, so that a process that has been killed can be
// followed by one that knows what was spent: the sum of what was used, and all of what was
// reserved and not settled. The next process makes an account, goes on with that sum by
// [Account.Resume], and then sets [Account.Journal].
//
// Both methods are called with the account locked, so that the order of the entries is
// that of the account: what a reservation found free was given back by an entry before it.
// So they must not block, nor call the account.
//
// The day is that of an account of [Daily] which is charged, as the number of days since 1
// January 1970 in its location; 0 for an account of [New].
type Journal interface {
	// Reserved takes an entry of what was set aside. The account calls kept once, after
	// it has unlocked: kept waits until the entry will outlive the process, or returns
	// why it may not. Then the request is not made, and the account settles the
	// reservation with nothing used.
	Reserved(day int64, lent endpoint.Amount) (kept func() error)
	// Settled takes an entry of a reservation that has ended: lent is what Reserved was
	// given, or zero if there was no reservation, and used is what was spent on the day.
	// A request whose entry is lost counts as the reservation, which was kept.
	Settled(day int64, lent, used endpoint.Amount)
}
