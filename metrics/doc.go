// Package metrics counts calls for Prometheus.
//
// A [Metrics] observes clients ([Metrics.Observer]), looks at the endpoints that they
// share when it is scraped, and is told of the requests to a gateway ([Metrics.Request]).
// It is served by [Metrics.Handler], or is part of a program's own registry
// ([Options].Registerer).
//
// Calls and attempts are counted apart. A call (llmcall_calls_total) is what the program
// has asked for, and has one outcome. It consists of attempts (llmcall_attempts_total), each
// of which a provider may bill: tokens and money are those of attempts, also of such
// whose answers were wrong, and are counted once.
//
// Each metric, with its labels, its unit and its meaning, is in the table of
// docs/metrics.md. All names begin with llmcall_. A dashboard for Grafana is
// deploy/grafana/llmcall.json, and rules for alerts are deploy/prometheus/alerts.yml.
//
// # Labels
//
// The number of series is bounded, whatever users send: a model, a route or a client that is
// not one of [Options] is "other". So is a check after the first hundred. No label has a key,
// a prompt or an answer in it, nor the error text of a provider. Names should be few: a
// model has about 130 series.
//
// # Cost
//
// Counting a call with one attempt costs less than a microsecond and no allocation. A
// scrape looks at each endpoint of the registry.
package metrics
