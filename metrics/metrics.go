package metrics

import (
	"maps"
	"net/http"
	"sync"
	"sync/atomic"

	"llmcall/account"
	"llmcall/endpoint"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Options says what is counted, and which names labels may have. The zero value works, and
// calls every model "other".
type Options struct {
	// Models are the full names of the models of the configuration, such as
	// "openai/gpt-6-luna". Default nil: none.
	Models []string
	// Routes and Clients are the names of a gateway's routes and clients. Default nil: none.
	Routes, Clients []string
	// Registry has the endpoints whose circuits, pacers and budgets are shown. Default:
	// [endpoint.Default].
	Registry *endpoint.Registry
	// Accounts returns the accounts that are shown, at each scrape: [account.Account.Snapshot]
	// of each. Those with one name are added up. Their names are labels, so that they must
	// not come from users. Default nil: none.
	Accounts func() []account.Snapshot
	// Fleet returns whether the store of the fleet that the registry is shared with answers,
	// and how many processes there are, at each scrape. Default nil: there is no fleet.
	Fleet func() (connected bool, processes int)
	// Registerer is where the metrics are registered, beside the program's own, such as
	// [prometheus.DefaultRegisterer]. Default nil: nowhere but in what [Metrics.Handler]
	// serves.
	Registerer prometheus.Registerer
}

// Other is the label of a model, a route, a client, a protocol, a limit or a check whose
// name is not known.
const Other = "other"

// None is the label of the client of a gateway without clients, and of the name of
// no route.
const None = "none"

// Metrics counts calls, attempts and requests. [New] makes one. It is safe for concurrent
// use.
type Metrics struct {
	handler   http.Handler
	endpoints *endpointCollector

	calls, attempts, complaints, hedges, waits, tokens, cost, unpriced *prometheus.CounterVec
	callTime, attemptTime                                              *prometheus.HistogramVec
	inFlight                                                           prometheus.Gauge
	waited                                                             []prometheus.Counter // by retry.WaitReason

	requests, limited      *prometheus.CounterVec
	requestTime, firstByte *prometheus.HistogramVec

	mu              sync.Mutex                         // of those who change what follows
	models          atomic.Pointer[map[string]*series] // never written to once stored
	routes, clients atomic.Pointer[map[string]bool]    // likewise
	checks          atomic.Pointer[map[string]bool]    // likewise; at most maxChecks
	other           *series
}

// maxChecks bounds the names of checks. Those of a configuration are far fewer, but a
// program's own check may make up a name for each complaint.
const maxChecks = 100

// New returns the metrics of the process, and registers them. The error is that of the
// Registerer, such as that they have been registered before.
func New(o Options) (*Metrics, error) {
	if o.Registry == nil {
		o.Registry = endpoint.Default()
	}
	m := &Metrics{
		calls: calls.counters(), attempts: attempts.counters(), complaints: complaints.counters(), hedges: hedges.counters(),
		waits: waits.counters(), tokens: tokens.counters(), cost: cost.counters(), unpriced: unpriced.counters(),
		callTime: callSeconds.histograms(), attemptTime: attemptTime.histograms(), inFlight: callsNow.gauge(),
		requests: requests.counters(), limited: limited.counters(), requestTime: requestTime.histograms(), firstByte: firstByte.histograms(),
	}
	m.models.Store(&map[string]*series{})
	for _, names := range []*atomic.Pointer[map[string]bool]{&m.routes, &m.clients, &m.checks} {
		names.Store(&map[string]bool{})
	}
	m.endpoints = newEndpointCollector(o, m.model)
	m.waited = m.reasons()
	m.other = m.series(Other)
	m.Know(o.Models, o.Routes, o.Clients)

	own := prometheus.NewRegistry()
	if err := own.Register(m); err != nil {
		return nil, err
	}
	own.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	m.handler = promhttp.HandlerFor(own, promhttp.HandlerOpts{})
	if o.Registerer != nil {
		if err := o.Registerer.Register(m); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// Know adds names of models, routes and clients, such as those of a configuration that was
// read again. Names are not forgotten, so that what they have counted stays.
func (m *Metrics) Know(models, routes, clients []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	known := maps.Clone(*m.models.Load())
	for _, name := range models {
		if known[name] == nil {
			known[name] = m.series(name)
		}
	}
	m.models.Store(&known)
	add(&m.routes, routes)
	add(&m.clients, clients)
}

// add adds names to a set. The caller holds the lock of those who change sets.
func add(set *atomic.Pointer[map[string]bool], names []string) {
	known := maps.Clone(*set.Load())
	for _, name := range names {
		known[name] = true
	}
	set.Store(&known)
}

// label returns the label of a name.
func label(set *atomic.Pointer[map[string]bool], name string) string {
	switch {
	case name == "":
		return None
	case (*set.Load())[name]:
		return name
	}
	return Other
}

// model returns the label of a model.
func (m *Metrics) model(name string) string { return m.of(name).model }

// of returns the series of a model.
func (m *Metrics) of(model string) *series {
	if s := (*m.models.Load())[model]; s != nil {
		return s
	}
	return m.other
}

// check returns the label of a check, and remembers it.
func (m *Metrics) check(name string) string {
	if (*m.checks.Load())[name] {
		return name
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(*m.checks.Load()) >= maxChecks && !(*m.checks.Load())[name] {
		return Other
	}
	add(&m.checks, []string{name})
	return name
}

// Handler serves the metrics, and those of the Go runtime and the process, in the formats
// that Prometheus reads.
func (m *Metrics) Handler() http.Handler { return m.handler }

// Describe tells a registry which metrics there are.
func (m *Metrics) Describe(ch chan<- *prometheus.Desc) {
	for _, c := range m.all() {
		c.Describe(ch)
	}
}

// Collect gives a registry the metrics as they are now.
func (m *Metrics) Collect(ch chan<- prometheus.Metric) {
	for _, c := range m.all() {
		c.Collect(ch)
	}
}

func (m *Metrics) all() []prometheus.Collector {
	return []prometheus.Collector{
		m.calls, m.callTime, m.inFlight, m.attempts, m.attemptTime, m.complaints, m.hedges, m.waits, m.tokens, m.cost, m.unpriced,
		m.endpoints, m.requests, m.requestTime, m.firstByte, m.limited,
	}
}
