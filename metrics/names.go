package metrics

import "github.com/prometheus/client_golang/prometheus"

// row is a metric: docs/metrics.md has the same table, which a test compares.
type row struct {
	name    string // without "llmcall_"
	kind    string // counter, gauge or histogram
	unit    string
	labels  []string
	meaning string
}

// The metrics, in the order of the dashboard.
var (
	calls        = row{"calls_total", "counter", "calls", []string{"model", "outcome"}, "Calls that have ended, by the model that was asked last; outcome is valid, panic, or the reason why there is no valid answer."}
	callSeconds  = row{"call_duration_seconds", "histogram", "seconds", []string{"model", "answered"}, "Duration of calls, waits included; answered is true if they ended with a valid answer."}
	callsNow     = row{"calls_in_flight", "gauge", "calls", nil, "Calls that have begun and not ended."}
	attempts     = row{"attempts_total", "counter", "attempts", []string{"model", "outcome"}, "Attempts, hedges included; outcome is valid, lost (another request was answered sooner), or the kind of failure."}
	attemptTime  = row{"attempt_duration_seconds", "histogram", "seconds", []string{"model", "answered"}, "Duration of attempts, checks and tools included; answered is true if the model has answered, valid or not."}
	complaints   = row{"complaints_total", "counter", "complaints", []string{"model", "check"}, "Complaints of checks about answers of a model."}
	hedges       = row{"hedges_total", "counter", "requests", []string{"model"}, "Second requests that were sent because an answer took long."}
	circuits     = row{"circuits", "gauge", "circuits", []string{"model", "state"}, "Circuits of the model's endpoints by state: closed, open or half_open."}
	openings     = row{"circuit_openings_total", "counter", "openings", []string{"model"}, "How often circuits of the model have opened."}
	retriesLeft  = row{"retries_left", "gauge", "retries", []string{"model"}, "Retries that the budget allows now, of the model's endpoint that has the fewest."}
	rate         = row{"pacer_allowed_rate", "gauge", "requests per second", []string{"model"}, "Rate that the pacers have learned from refusals, of the endpoints that have one; absent while none has."}
	waiting      = row{"pacer_waiting", "gauge", "requests", []string{"model"}, "Requests that wait for a turn."}
	episodes     = row{"pacer_episodes_total", "counter", "episodes", []string{"model"}, "Episodes of refusals, at each of which a pacer has become slower."}
	waits        = row{"wait_seconds_total", "counter", "seconds", []string{"reason"}, "Time that calls have waited before attempts: backoff, retry_after, rate_limit, pace or circuit."}
	tokens       = row{"tokens_total", "counter", "tokens", []string{"model", "type", "use"}, "Tokens of attempts, hedges included; type is input, cached_input, cache_write_input, output or reasoning_output, none of which includes another; use is answer, or check for what checks asked models."}
	cost         = row{"cost_dollars_total", "counter", "US dollars", []string{"model"}, "What attempts have cost, as far as it is known, their checks and tools included."}
	unpriced     = row{"unpriced_attempts_total", "counter", "attempts", []string{"model"}, "Attempts whose cost is not completely known, and so is more than cost_dollars_total has."}
	accountSpent = row{"account_spent_dollars", "gauge", "US dollars", []string{"account"}, "What is spent of an account: of the day, where the account is a day's."}
	accountUsed  = row{"account_used_ratio", "gauge", "ratio", []string{"account", "unit"}, "Share of an account's limit that is spent or reserved, from 0 to 1; unit is dollars or tokens."}
	fleetJoined  = row{"fleet_connected", "gauge", "boolean", nil, "1 while the store of the process' fleet answers, 0 while the process goes on alone; absent without a fleet."}
	fleetSize    = row{"fleet_processes", "gauge", "processes", nil, "Processes of the fleet that share circuits with this one, itself included, as last heard; absent without a fleet."}
	requests     = row{"http_requests_total", "counter", "requests", []string{"route", "client", "protocol", "outcome"}, "Requests for answers that the gateway has ended; outcome is answered, broken (an error in a stream that had begun), refused (the request was wrong), limited (a limit of the client), invalid (no valid answer), unavailable (no model can serve now), failed or left (the client went away)."}
	requestTime  = row{"http_request_duration_seconds", "histogram", "seconds", []string{"route", "protocol"}, "Duration of requests to the gateway that were answered."}
	firstByte    = row{"http_first_byte_seconds", "histogram", "seconds", []string{"route", "protocol"}, "Time until the first byte of an answer of the gateway."}
	limited      = row{"http_limited_total", "counter", "requests", []string{"client", "limit"}, "Requests that the gateway has refused for a limit of the client, by its name in the configuration; state_dir if the journal can't be written, fleet if the fleet can't be asked."}
)

// rows are all metrics.
var rows = []row{
	calls, callSeconds, callsNow,
	attempts, attemptTime, complaints, hedges,
	circuits, openings, retriesLeft,
	rate, waiting, episodes, waits,
	tokens, cost, unpriced, accountSpent, accountUsed,
	fleetJoined, fleetSize,
	requests, requestTime, firstByte, limited,
}

// namespace begins the name of each metric.
const namespace = "llmcall"

func (r row) desc() *prometheus.Desc {
	return prometheus.NewDesc(namespace+"_"+r.name, r.meaning, r.labels, nil)
}

func (r row) counters() *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Name: r.name, Help: r.meaning}, r.labels)
}

func (r row) gauge() prometheus.Gauge {
	return prometheus.NewGauge(prometheus.GaugeOpts{Namespace: namespace, Name: r.name, Help: r.meaning})
}

func (r row) histograms() *prometheus.HistogramVec {
	return prometheus.NewHistogramVec(prometheus.HistogramOpts{Namespace: namespace, Name: r.name, Help: r.meaning, Buckets: buckets}, r.labels)
}

// buckets are the upper bounds of histograms, in seconds: from what a cached answer takes
// to the ten minutes after which an attempt of a gateway ends.
var buckets = []float64{0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 80, 160, 320, 600}
