package clients

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"llmcall/account"
	"llmcall/endpoint"
	"llmcall/internal/decimal"
)

// The limits of a client, by their names in the configuration, the directory of the journal,
// and the fleet: what a [Refusal] may be about.
const (
	LimitRequests   = "requests_per_minute"
	LimitTokens     = "tokens_per_minute"
	LimitConcurrent = "max_concurrent"
	LimitCost       = "max_cost_per_day"
	LimitState      = "state_dir"
	LimitFleet      = "fleet"
)

const (
	// soon is when to come back if that depends on when other requests end.
	soon = time.Second
	// lent is when to come back if other processes of the fleet hold the money: for so long a
	// share is leased to them, and what they do not need has come back by then.
	lent = 10 * time.Second
)

// Client is a client of a [Book]. It is safe for concurrent use.
type Client struct {
	name    string
	journal *journal // nil: the book has none
	shared  Shared   // nil: the limits are those of this process

	mu       sync.Mutex
	cfg      Config
	inFlight int
	requests limiter // nil: no limit
	tokens   limiter
	account  *account.Account // of the day; nil if there was never a limit of money
	admitted int64
	refused  int64
}

// Name returns the client's name.
func (c *Client) Name() string { return c.name }

// Allows reports whether the client may use a route.
func (c *Client) Allows(route string) bool {
	c.mu.Lock()
	routes := c.cfg.Routes
	c.mu.Unlock()
	return len(routes) == 0 || slices.Contains(routes, route) || slices.Contains(routes, "*")
}

// set makes the configuration that of the client. What it has used stays used. Only one
// goroutine calls it at a time.
func (c *Client) set(cfg Config) {
	requests, tokens, day := c.share(cfg)
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cfg = cfg
	c.requests = c.changed(requests, cfg.RequestsPerMinute, now)
	c.tokens = c.changed(tokens, cfg.TokensPerMinute, now)
	c.account = day
	switch limit := (endpoint.Amount{Nanos: cfg.nanos()}); {
	case c.account != nil:
		c.account.SetLimit(limit)
	case cfg.MaxCostPerDay > 0:
		c.account = c.journal.open(c.name, limit)
	}
}

// idle reports whether nothing is known of the client that a new one would not know.
func (c *Client) idle(now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, b := range []limiter{c.requests, c.tokens} {
		if b != nil && b.left(now) < b.holds() {
			return false
		}
	}
	if c.account != nil {
		if s := c.account.Snapshot(); s.Spent.Nanos != 0 || s.Reserved.Nanos != 0 {
			return false
		}
	}
	return c.inFlight == 0
}

// Account returns the account of the day, whose limit is MaxCostPerDay; nil if there is no
// limit of money. It is the same one as long as the book is open, so that what was reserved
// before a midnight or a reload is settled in it.
func (c *Client) Account() *account.Account {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cfg.MaxCostPerDay == 0 {
		return nil
	}
	return c.account
}

// Refusal says why a request is not served: because of a limit of its client, and not of a
// provider's.
type Refusal struct {
	Client string
	// Limit is [LimitRequests] and so on; [LimitState] if the journal can't be written, and
	// [LimitFleet] if the fleet can't lend what may be left.
	Limit string
	// Allowed is the limit, and Left what is left of it: requests, tokens, or US dollars.
	Allowed, Left float64
	// Held is how many US dollars other processes of the fleet hold and have not spent, for
	// LimitCost.
	Held float64
	// RetryAfter is in what time to come back, more than 0. It is exact for requests and
	// tokens a minute if nobody else comes first; a second if it depends on when other
	// requests end, or on a disk or a store; ten if other processes hold the money; and for
	// money that is spent, or would be too little with all that may come back, the time until
	// midnight in UTC.
	RetryAfter time.Duration
	// Err is the error of the account or its journal; nil for other limits.
	Err error
}

// Error says whose limit it is, what is left, and when to come back.
func (r *Refusal) Error() string {
	after := "retry after " + r.RetryAfter.Round(time.Millisecond).String()
	if r.RetryAfter < time.Millisecond {
		after = "retry at once"
	}
	left := max(0, math.Floor(r.Left))
	switch r.Limit {
	case LimitState:
		return fmt.Sprintf("this gateway can't write down what the client %q spends, so that it serves nothing that costs money: %s", r.Client, after)
	case LimitFleet:
		return fmt.Sprintf("this gateway can't ask its fleet what is left of the money of the client %q, and has nothing more that was lent to it: %s", r.Client, after)
	case LimitCost:
		held := ""
		if r.Held > 0 {
			held = fmt.Sprintf(" here, and $%s with other gateways of its fleet", dollars(r.Held))
		}
		return fmt.Sprintf("this gateway lets the client %q spend $%s on a day in UTC, of which $%s are left%s: %s", r.Client, dollars(r.Allowed), dollars(r.Left), held, after)
	case LimitConcurrent:
		return fmt.Sprintf("this gateway serves %v requests of the client %q at a time: %s", r.Allowed, r.Client, after)
	case LimitTokens:
		return fmt.Sprintf("this gateway lets the client %q use %v tokens a minute, of which %.0f are left: %s", r.Client, r.Allowed, left, after)
	}
	return fmt.Sprintf("this gateway lets the client %q make %v requests a minute, of which %.0f are left: %s", r.Client, r.Allowed, left, after)
}

// Unwrap returns Err.
func (r *Refusal) Unwrap() error { return r.Err }

func dollars(d float64) string {
	return decimal.Dollars(int64(math.Round(max(0, d)*account.Dollar)), 2)
}

// Ticket is a request that was admitted. [Ticket.Done] or [Ticket.Back] ends it.
type Ticket struct {
	client   *Client
	requests float64 // that were taken: 1, or 0 without a limit
	tokens   float64 // that were taken
	done     atomic.Bool
}

// Admit admits a request of which only the headers were read, if the client's limits have
// room for it: requests at a time and a minute, and the money of the day, which is looked at
// here only to refuse early when nothing is left, and not where processes share it; the
// attempts reserve it from
// [Client.Account]. So no client can make a gateway read more bodies than it may have
// answered. Otherwise nothing is counted, and the refusal is that of the limit for which to
// wait the longest.
func (c *Client) Admit() (*Ticket, *Refusal) {
	fetch(c.limiters().requests, 1)
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	if refusal := c.full(now); refusal != nil {
		c.refused++
		return nil, refusal
	}
	t := &Ticket{client: c}
	if c.requests != nil {
		t.requests = 1
		c.requests.take(1, now)
	}
	c.inFlight++
	c.admitted++
	return t, nil
}

// full returns the refusal for which to wait the longest; nil if there is room. The caller
// holds the lock.
func (c *Client) full(now time.Time) *Refusal {
	var longest *Refusal
	over := func(limit string, allowed, left float64, wait time.Duration) {
		if wait > 0 && (longest == nil || wait > longest.RetryAfter) {
			longest = &Refusal{Client: c.name, Limit: limit, Allowed: allowed, Left: left, RetryAfter: wait}
		}
	}
	if c.cfg.MaxConcurrent > 0 && c.inFlight >= c.cfg.MaxConcurrent {
		over(LimitConcurrent, float64(c.cfg.MaxConcurrent), 0, soon)
	}
	if c.requests != nil {
		over(LimitRequests, c.cfg.RequestsPerMinute, c.requests.left(now), c.requests.wait(1, now))
	}
	if c.cfg.MaxCostPerDay > 0 && c.shared == nil { // others may give something back: the attempt asks them
		if s := c.account.Snapshot(); s.Spent.Nanos+s.Reserved.Nanos >= s.Limit.Nanos {
			over(LimitCost, c.cfg.MaxCostPerDay, 0, comeBack(s.Reserved.Nanos > 0, now))
		}
	}
	return longest
}

// comeBack returns when there may be money again: what other requests do not use comes back
// with them, the rest at midnight in UTC.
func comeBack(reserved bool, now time.Time) time.Duration {
	if reserved {
		return soon
	}
	const day = 24 * time.Hour
	return now.Truncate(day).Add(day).Sub(now)
}

// Expect takes the tokens, of prompt and answer, that the request is expected to use. If
// they do not fit, the request ends as with [Ticket.Back].
func (t *Ticket) Expect(tokens int64) *Refusal {
	n := float64(max(0, tokens))
	c := t.client
	fetch(c.limiters().tokens, max(1, n))
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.tokens == nil {
		return nil
	}
	if wait := c.tokens.wait(max(1, n), now); wait > 0 {
		t.back(now)
		c.refused++
		return &Refusal{Client: c.name, Limit: LimitTokens, Allowed: c.cfg.TokensPerMinute, Left: c.tokens.left(now), RetryAfter: wait}
	}
	t.tokens = c.tokens.fits(n)
	c.tokens.take(t.tokens, now)
	return nil
}

// Back ends a request that is not served, or costs nothing: what was taken is given back. It
// does nothing after [Ticket.Done], so that it may be deferred before it, and nothing to nil.
func (t *Ticket) Back() {
	if t == nil {
		return
	}
	t.client.mu.Lock()
	defer t.client.mu.Unlock()
	t.back(time.Now())
}

// back is Back. The caller holds the client's lock.
func (t *Ticket) back(now time.Time) {
	if t.done.Swap(true) {
		return
	}
	c := t.client
	c.inFlight--
	c.admitted--
	if c.requests != nil {
		c.requests.take(-t.requests, now)
	}
	if c.tokens != nil {
		c.tokens.take(-t.tokens, now)
	}
}

// Done ends the request, and replaces the tokens that it was expected to use by those that
// it has used; less than 0: they are not known, and the expectation counts. Only the first
// call does something, so that it may be deferred too.
func (t *Ticket) Done(usedTokens int64) {
	if t.done.Swap(true) {
		return
	}
	c := t.client
	c.mu.Lock()
	defer c.mu.Unlock()
	c.inFlight--
	if c.tokens != nil && usedTokens >= 0 {
		c.tokens.take(float64(usedTokens)-t.tokens, time.Now())
	}
}

// Refused returns the refusal of a call that has ended with err because too little is left
// of the client's account of the day, or because the journal can't be written, or the fleet
// can't be asked. nil: err has another reason, such as the ceiling of the call.
func (c *Client) Refused(err error) *Refusal {
	if e, ok := errors.AsType[*StateError](err); ok {
		return &Refusal{Client: c.name, Limit: LimitState, RetryAfter: soon, Err: e}
	}
	e, ok := errors.AsType[*account.Error](err)
	if !ok || !e.Money || e.Account != accountName(c.name) {
		return nil
	}
	if e.Err != nil {
		return &Refusal{Client: c.name, Limit: LimitFleet, RetryAfter: soon, Err: e}
	}
	return &Refusal{
		Client: c.name, Limit: LimitCost, Allowed: float64(e.Limit) / account.Dollar, Left: float64(e.Left) / account.Dollar,
		Held: float64(e.Reserved-e.Here) / account.Dollar, RetryAfter: worthwhile(e), Err: e,
	}
}

// worthwhile returns when the same request may find enough money: after requests under way here
// if what they may give back is enough, after the leases of others if that is, and else on the
// next day.
func worthwhile(e *account.Error) time.Duration {
	need := max(1, e.Least)
	switch {
	case e.Left+e.Here >= need:
		return min(soon, e.Renews)
	case e.Left+e.Reserved >= need:
		return min(lent, e.Renews)
	}
	return e.Renews
}

// accountName is the name of a client's account of the day.
func accountName(client string) string { return fmt.Sprintf("the day of the client %q", client) }

// Snapshot is the state of a client at one moment.
type Snapshot struct {
	Config            // its hash is left out
	InFlight int      // requests that are served now
	Admitted int64    // requests, since the process was started
	Refused  int64    // by Admit and Expect, likewise
	Requests *float64 // that are left at this moment; nil without a limit
	Tokens   *float64 // that are left at this moment, less than 0 if more were used; nil without a limit
	Spent    int64    // nano-dollars, of this day in UTC; 0 without a limit
	Others   int64    // nano-dollars, that other processes have spent of the limit, as far as is known
	Reserved int64    // nano-dollars, by attempts under way
}

func (c *Client) snapshot(now time.Time) Snapshot {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := Snapshot{Config: c.cfg, InFlight: c.inFlight, Admitted: c.admitted, Refused: c.refused}
	s.SHA256, s.Routes = "", slices.Clone(s.Routes)
	if c.requests != nil {
		s.Requests = new(c.requests.left(now))
	}
	if c.tokens != nil {
		s.Tokens = new(c.tokens.left(now))
	}
	if c.cfg.MaxCostPerDay > 0 {
		money := c.account.Snapshot()
		s.Spent, s.Others, s.Reserved = money.Spent.Nanos, money.Others.Nanos, money.Reserved.Nanos
	}
	return s
}
