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

// limit returns the limiter for another limit; nil if there is none. What was used stays
// used.
func (c *Client) limit(old limiter, name string, perMinute float64, now time.Time) limiter {
	if c.shared != nil {
		before, _ := old.(*metered)
		return before.changed(c.shared, c.name+"/"+name, perMinute)
	}
	before, _ := old.(*bucket)
	if next := before.changed(perMinute, now); next != nil {
		return next
	}
	return nil
}

// metered is a limit that processes share.
type metered struct {
	account.Meter
	perMinute float64
}

// changed returns the meter with another limit; nil for 0.
func (m *metered) changed(shared Shared, name string, perMinute float64) limiter {
	switch {
	case perMinute == 0 && m == nil:
		return nil
	case perMinute == 0:
		m.Close()
		return nil
	case m == nil:
		return &metered{shared.Meter(name, perMinute), perMinute}
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
