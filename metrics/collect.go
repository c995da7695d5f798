package metrics

import (
	"cmp"
	"sync"
	"time"

	"llmcall/account"
	"llmcall/breaker"
	"llmcall/endpoint"

	"github.com/prometheus/client_golang/prometheus"
)

// endpointCollector looks at endpoints, accounts and the fleet when it is scraped.
type endpointCollector struct {
	registry *endpoint.Registry
	accounts func() []account.Snapshot
	fleet    func() (connected bool, processes int)
	model    func(name string) string // the label of a model

	circuits, openings, retries, rate, waiting, episodes, spent, used, joined, size *prometheus.Desc

	mu     sync.Mutex
	seen   map[seenKey]counted // the endpoints of the last scrape
	totals map[string]counted  // by model
}

// seenKey identifies an endpoint without keeping it. A key whose endpoint was evicted has a
// later one with counts of its own.
type seenKey struct {
	endpoint.Key
	made time.Time
}

// counted is what an endpoint has counted.
type counted struct{ openings, episodes uint64 }

func newEndpointCollector(o Options, model func(string) string) *endpointCollector {
	return &endpointCollector{
		registry: o.Registry, accounts: o.Accounts, fleet: o.Fleet, model: model, totals: map[string]counted{},
		circuits: circuits.desc(), openings: openings.desc(), retries: retriesLeft.desc(), rate: rate.desc(), waiting: waiting.desc(),
		episodes: episodes.desc(), spent: accountSpent.desc(), used: accountUsed.desc(),
		joined: fleetJoined.desc(), size: fleetSize.desc(),
	}
}

func (c *endpointCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.circuits, c.openings, c.retries, c.rate, c.waiting, c.episodes, c.spent, c.used, c.joined, c.size} {
		ch <- d
	}
}

// ofModel is what the endpoints of a model are together.
type ofModel struct {
	circuits [3]int // by breaker.State
	retries  float64
	rate     float64
	waiting  int
}

var states = [3]string{breaker.Closed: "closed", breaker.Open: "open", breaker.HalfOpen: "half_open"}

func (c *endpointCollector) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	models, totals := c.look()
	for model, now := range models {
		for state, name := range states {
			gauge(c.circuits, float64(now.circuits[state]), model, name)
		}
		gauge(c.retries, now.retries, model)
		gauge(c.waiting, float64(now.waiting), model)
		if now.rate > 0 {
			gauge(c.rate, now.rate, model)
		}
	}
	for model, total := range totals {
		ch <- prometheus.MustNewConstMetric(c.openings, prometheus.CounterValue, float64(total.openings), model)
		ch <- prometheus.MustNewConstMetric(c.episodes, prometheus.CounterValue, float64(total.episodes), model)
	}
	if c.fleet != nil {
		connected, processes := c.fleet()
		joined := 0.0
		if connected {
			joined = 1
		}
		gauge(c.joined, joined)
		gauge(c.size, float64(processes))
	}
	if c.accounts == nil {
		return
	}
	for name, a := range sum(c.accounts()) {
		gauge(c.spent, float64(a.Spent.Nanos)/account.Dollar, name)
		if a.Limit.Nanos > 0 {
			gauge(c.used, float64(a.Spent.Nanos+a.Reserved.Nanos)/float64(a.Limit.Nanos), name, "dollars")
		}
		if a.Limit.Tokens > 0 {
			gauge(c.used, float64(a.Spent.Tokens+a.Reserved.Tokens)/float64(a.Limit.Tokens), name, "tokens")
		}
	}
}

// look returns what the endpoints of each model are together, and what they have counted
// since the collector was made. That does not fall when an endpoint is evicted or reset.
func (c *endpointCollector) look() (map[string]*ofModel, map[string]counted) {
	c.mu.Lock()
	defer c.mu.Unlock()
	models, seen := map[string]*ofModel{}, map[seenKey]counted{}
	for e := range c.registry.All() {
		s := e.Snapshot()
		model := c.model(cmp.Or(s.Key.Model, s.Key.Name))
		now := models[model]
		if now == nil {
			now = &ofModel{retries: s.Retries}
			models[model] = now
		}
		now.retries = min(now.retries, s.Retries)
		now.rate += s.Pace.Rate
		now.waiting += s.Pace.Queue
		is := counted{episodes: s.Pace.Episodes}
		for _, circuit := range s.Circuits {
			now.circuits[circuit.State]++
			is.openings += circuit.Opened
		}
		key := seenKey{s.Key, s.Made}
		was, total := c.seen[key], c.totals[model]
		c.totals[model] = counted{total.openings + grown(was.openings, is.openings), total.episodes + grown(was.episodes, is.episodes)}
		seen[key] = is
	}
	c.seen = seen
	totals := make(map[string]counted, len(c.totals))
	for model, total := range c.totals {
		totals[model] = total
	}
	return models, totals
}

// grown returns by how much a count has grown. It falls if an endpoint forgets one of its
// circuits; what came in between is not known then.
func grown(was, is uint64) uint64 { return max(was, is) - was }

// sum adds up the accounts with one name.
func sum(all []account.Snapshot) map[string]account.Snapshot {
	named := map[string]account.Snapshot{}
	for _, a := range all {
		name := cmp.Or(a.Name, None)
		s := named[name]
		s.Limit, s.Spent, s.Reserved = plus(s.Limit, a.Limit), plus(s.Spent, a.Spent), plus(s.Reserved, a.Reserved)
		named[name] = s
	}
	return named
}

func plus(a, b endpoint.Amount) endpoint.Amount {
	return endpoint.Amount{Tokens: a.Tokens + b.Tokens, Nanos: a.Nanos + b.Nanos}
}
