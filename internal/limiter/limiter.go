// Package limiter applies a provider's limits of requests and tokens a minute, for each
// pair of an API key and a model. It has no clock, so that it works in virtual time.
package limiter

import (
	"cmp"
	linked "container/list"
	"hash/maphash"
	"sync"
	"time"

	"llmcall/internal/protocol"
)

// Limits are what a key may use of a model. 0: no limit.
type Limits struct {
	RequestsPerMinute, TokensPerMinute int
	// Burst is the capacity of the bucket of requests. Default: RequestsPerMinute.
	Burst int
	// Windows counts in windows of a minute, from the first request on, instead of by a
	// token bucket.
	Windows bool
}

// Max is the highest limit; it keeps the arithmetic of a bucket from overflowing.
const Max = 1_000_000_000

// The names of the limits.
const (
	Requests = "requests"
	Tokens   = "tokens"
)

// Limiter applies limits to many keys and models. It is safe for concurrent use.
type Limiter struct {
	limits Limits
	seed   maphash.Seed

	mu       sync.Mutex
	accounts map[uint64]*linked.Element
	recent   *linked.List // of *Account, the most recently used first
}

// maxAccounts is how many pairs of key and model are remembered.
const maxAccounts = 10_000

// Account is what one key has used of one model. Limits that are not set are nil.
type Account struct {
	owner            uint64
	requests, tokens meter
}

// New returns a limiter of which nothing is used.
func New(l Limits) *Limiter {
	return &Limiter{limits: l, seed: maphash.MakeSeed(), accounts: map[uint64]*linked.Element{}, recent: linked.New()}
}

// Owner is a keyed hash of a key and a model, from which neither can be recovered.
func (l *Limiter) Owner(credential, model string) uint64 {
	return maphash.Comparable(l.seed, [2]string{credential, model})
}

// of returns the account of an owner, with l.mu held.
func (l *Limiter) of(owner uint64) *Account {
	if e, ok := l.accounts[owner]; ok {
		l.recent.MoveToFront(e)
		return e.Value.(*Account)
	}
	a := &Account{owner: owner, requests: l.meter(l.limits.RequestsPerMinute, l.limits.Burst), tokens: l.meter(l.limits.TokensPerMinute, 0)}
	l.accounts[owner] = l.recent.PushFront(a)
	if l.recent.Len() > maxAccounts {
		eldest := l.recent.Remove(l.recent.Back()).(*Account)
		delete(l.accounts, eldest.owner)
	}
	return a
}

func (l *Limiter) meter(perMinute, burst int) meter {
	switch {
	case perMinute == 0:
		return nil
	case l.limits.Windows:
		return &minutes{limit: int64(perMinute)}
	}
	return newBucket(int64(perMinute), int64(cmp.Or(burst, perMinute)))
}

// Excess is the limit that a request is over.
type Excess struct {
	Limit     string // [Requests] or [Tokens]
	PerMinute int
	Used      int64 // of perMinute
	Requested int64
	Wait      time.Duration
	Never     bool // it asks for more than the limit allows at once
}

// Admit counts a request with its tokens, or returns the limit that it is over without
// counting it.
func (l *Limiter) Admit(owner uint64, tokens int64, now time.Time) (*Account, *Excess) {
	l.mu.Lock()
	defer l.mu.Unlock()
	a := l.of(owner)
	var over *Excess
	if a.requests != nil {
		if wait := a.requests.wait(now, 1); wait > 0 {
			n := l.limits.RequestsPerMinute
			over = &Excess{Limit: Requests, PerMinute: n, Used: int64(n), Requested: 1, Wait: wait}
		}
	}
	if a.tokens != nil {
		n := l.limits.TokensPerMinute
		e := &Excess{Limit: Tokens, PerMinute: n, Used: int64(n) - a.tokens.room(now).Remaining, Requested: tokens, Never: tokens > int64(n)}
		if e.Never {
			return a, e
		}
		// Of two limits, the refusal names the one with the longer wait.
		if e.Wait = a.tokens.wait(now, tokens); e.Wait > 0 && (over == nil || e.Wait > over.Wait) {
			over = e
		}
	}
	if over != nil {
		return a, over
	}
	if a.requests != nil {
		a.requests.take(now, 1)
	}
	if a.tokens != nil {
		a.tokens.take(now, tokens)
	}
	return a, nil
}

// Charge counts the tokens of an answer.
func (l *Limiter) Charge(a *Account, tokens int64, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if a.tokens != nil {
		a.tokens.take(now, tokens)
	}
}

// Rooms returns the state of the limits that are set, by their names, for the headers of
// a response.
func (l *Limiter) Rooms(a *Account, now time.Time) map[string]protocol.Room {
	l.mu.Lock()
	defer l.mu.Unlock()
	rooms := map[string]protocol.Room{}
	for name, m := range map[string]meter{Requests: a.requests, Tokens: a.tokens} {
		if m != nil {
			rooms[name] = m.room(now)
		}
	}
	return rooms
}

// Reset forgets what was used.
func (l *Limiter) Reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	clear(l.accounts)
	l.recent.Init()
}

// Change sets other limits. What was used stays used, as far as the new limits have room
// for it: a bucket does not become fuller. A limit that there was not is unused.
func (l *Limiter) Change(to Limits, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.limits = to
	for e := range l.accounts {
		a := l.accounts[e].Value.(*Account)
		a.requests = l.changed(a.requests, l.meter(to.RequestsPerMinute, to.Burst), now)
		a.tokens = l.changed(a.tokens, l.meter(to.TokensPerMinute, 0), now)
	}
}

// changed returns the meter of a new limit with the use of the old one.
func (l *Limiter) changed(old, next meter, now time.Time) meter {
	switch next := next.(type) {
	case *bucket:
		if old, ok := old.(*bucket); ok {
			old.advance(now)
			next.level, next.at = min(next.level, old.level), old.at
		}
	case *minutes:
		if old, ok := old.(*minutes); ok {
			next.used, next.start = old.used, old.start
		}
	}
	return next
}
