package metrics

import (
	"net/http"
	"slices"
	"time"
)

// Request is a request for an answer that a gateway has ended.
type Request struct {
	Route    string // the name of the route; "": the name that was asked for has none
	Client   string // the name of the client; "": the gateway has no clients, or the key is unknown
	Protocol string // "openai", "openai-responses", "anthropic" or "gemini"
	Status   int    // of HTTP, as it was sent; 499 if the client went away before it got an answer
	// Failed says that the request was not answered, although the status may be 200: a
	// stream that had begun may end with an error.
	Failed bool
	// Limit is the limit of the client that refused the request, by its name in the
	// gateway's configuration: "requests_per_minute", "tokens_per_minute", "max_concurrent",
	// "max_cost_per_day", or "state_dir" if the journal can't be written. "": none.
	Limit     string
	Duration  time.Duration // of the whole request
	FirstByte time.Duration // until the first byte of an answer; 0 if there was none
}

// StatusLeft is the status of a request whose client went away. It is that of nginx, and is
// not sent.
const StatusLeft = 499

var (
	protocols = []string{"openai", "openai-responses", "anthropic", "gemini"}
	limits    = []string{"requests_per_minute", "tokens_per_minute", "max_concurrent", "max_cost_per_day", "state_dir"}
)

// Request counts a request to a gateway.
func (m *Metrics) Request(r Request) {
	route, client, protocol := label(&m.routes, r.Route), label(&m.clients, r.Client), oneOf(protocols, r.Protocol)
	outcome := r.outcome()
	m.requests.WithLabelValues(route, client, protocol, outcome).Inc()
	if r.Limit != "" {
		m.limited.WithLabelValues(client, oneOf(limits, r.Limit)).Inc()
	}
	if outcome == answered {
		m.requestTime.WithLabelValues(route, protocol).Observe(r.Duration.Seconds())
	}
	if r.FirstByte > 0 {
		m.firstByte.WithLabelValues(route, protocol).Observe(r.FirstByte.Seconds())
	}
}

const answered = "answered"

// outcome says how a request ended.
func (r *Request) outcome() string {
	switch {
	case r.Limit != "":
		return "limited"
	case r.Status == StatusLeft:
		return "left"
	case r.Status < 400 && r.Failed:
		return "broken"
	case r.Status < 400:
		return answered
	case r.Status == http.StatusUnprocessableEntity:
		return "invalid"
	case r.Status == http.StatusTooManyRequests, r.Status == http.StatusServiceUnavailable, r.Status == http.StatusGatewayTimeout:
		return "unavailable"
	case r.Status < 500:
		return "refused"
	}
	return "failed"
}

func oneOf(known []string, name string) string {
	if slices.Contains(known, name) {
		return name
	}
	return Other
}
