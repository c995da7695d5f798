package clients

import (
	"time"

	"llmcall/account"
	"llmcall/endpoint"
)

// Shared shares what clients may use with other processes: [llmcall/fleet.Fleet] does.
type Shared interface {
	// Account returns an account of a day whose limit all processes have together that made
	// one of the same name.
	Account(name string, limit endpoint.Amount, day *time.Location, above ...*account.Account) *account.Account
	// Meter is the same for a limit of a minute.
	Meter(name string, perMinute float64) account.Meter
}

// limiter is a limit of a minute: a [bucket] of this process, or one that is [shared]. The
// caller holds the lock of its client.
type limiter interface {
	holds() float64
	left(now time.Time) float64
	fits(n float64) float64
	wait(n float64, now time.Time) time.Duration
	take(n float64, now time.Time)
}

// metered is a limit that processes share.
type metered struct {
	account.Meter
	perMinute float64
}

// share returns what the client has, with what it has to share from now on. It may wait for
// others, and so is called without the lock.
func (c *Client) share(cfg Config) (requests, tokens limiter, day *account.Account) {
	requests, tokens, day = c.requests, c.tokens, c.account
	if c.shared == nil {
		return requests, tokens, day
	}
	if n := cfg.RequestsPerMinute; n > 0 && requests == nil {
		requests = &metered{c.shared.Meter(c.name+"/"+LimitRequests, n), n}
	}
	if n := cfg.TokensPerMinute; n > 0 && tokens == nil {
		tokens = &metered{c.shared.Meter(c.name+"/"+LimitTokens, n), n}
	}
	if cfg.MaxCostPerDay > 0 && day == nil {
		day = c.shared.Account(accountName(c.name), endpoint.Amount{Nanos: cfg.nanos()}, time.UTC)
	}
	return requests, tokens, day
}

// changed returns the limiter with another limit; nil if there is none. What was used stays
// used.
func (c *Client) changed(l limiter, perMinute float64, now time.Time) limiter {
	if c.shared == nil {
		b, _ := l.(*bucket)
		if next := b.changed(perMinute, now); next != nil {
			return next
		}
		return nil
	}
	m, _ := l.(*metered)
	switch {
	case m == nil:
		return nil
	case perMinute == 0:
		m.Close()
		return nil
	case perMinute != m.perMinute:
		m.SetLimit(perMinute)
		m.perMinute = perMinute
	}
	return m
}

func (m *metered) holds() float64                            { return float64(size(m.perMinute)) }
func (m *metered) left(time.Time) float64                    { return m.Left() }
func (m *metered) fits(n float64) float64                    { return min(n, m.holds()) }
func (m *metered) wait(n float64, _ time.Time) time.Duration { return m.Wait(n) }
func (m *metered) take(n float64, _ time.Time)               { m.Take(n) }

// limiters has the limits of a client at one moment.
type limiters struct{ requests, tokens limiter }

func (c *Client) limiters() limiters {
	c.mu.Lock()
	defer c.mu.Unlock()
	return limiters{c.requests, c.tokens}
}

// fetch leases what a request uses of a limit that processes share. It waits for the others
// for 5 ms at most, and must be called without the client's lock.
func fetch(l limiter, n float64) {
	if m, ok := l.(*metered); ok {
		m.Fetch(n)
	}
}

// close ends the use of what is shared.
func (c *Client) close() {
	for _, l := range []limiter{c.requests, c.tokens} {
		if m, ok := l.(*metered); ok {
			m.Close()
		}
	}
}
