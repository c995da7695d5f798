package simulate

import (
	"cmp"
	"slices"
	"strconv"
	"time"

	"llmcall/chaos"
	"llmcall/price"
)

// Scenario is a fleet of clients, a provider, and what happens to both over time. The
// comment after a field is its name in a file; see [ParseScenario]. The zero value of each
// field means its default.
type Scenario struct {
	Name  string // name: a word for tables and pictures. Default: that of the file
	About string // about: what happens, in a sentence or two
	// Seed determines all chance: arrivals, latencies, faults, jitter. Default 1.
	Seed uint64 // seed
	// Duration is how long calls arrive. They then run to their end, which the report
	// includes; those that have none within an hour are ended, and counted as
	// [Totals.Unfinished]. At most 24 h.
	Duration time.Duration // duration
	// Clients are the groups of clients; at least one.
	Clients []Clients // clients
	// Provider is how each model behaves outside of the phases.
	Provider Provider // provider
	// Models are the models, by their full names, that behave in another way. Default:
	// each model of the configuration is like Provider. Each is a provider of its own, with
	// its own limits and capacity.
	Models map[string]Provider // models
	// Phases say what is different for a time. They may overlap; of two that say something
	// about the same, the later in the list counts.
	Phases []Phase // phases
}

// Clients is a group of processes that call in the same way. A process is a program with
// one [llmcall.Client]; nothing but the provider is shared between two of them. Calls
// arrive either at a rate (CallsPerSecond), or when a worker is done with its last one
// (Workers), or all at once at the start (Calls alone).
type Clients struct {
	// Name is the group's name in the report. Default: its number, "1" for the first.
	Name string // name
	// Processes is the number of processes. Default 1.
	Processes int // processes
	// CallsPerSecond is the rate at which calls arrive in each process, independently of
	// each other (a Poisson process), whether earlier ones have ended or not.
	CallsPerSecond float64 // calls_per_second
	// Workers is how many goroutines of each process make one call after another.
	Workers int // workers
	// Pause is the time that a worker takes between two calls. Default 10 ms: calls that fail
	// at once, such as at an open circuit, would otherwise follow each other without end.
	Pause time.Duration // pause
	// Calls is the number of calls of each process in all. Default 0: as many as there are
	// until Stop.
	Calls int // calls
	// Start and Stop are when the group begins to call, and when no further call begins.
	// Default: with the scenario, and at its Duration.
	Start, Stop time.Duration // start, stop
	// Deadline is the time that a call has in all, by its context. Default 0: none.
	Deadline time.Duration // deadline
	// Key stands for the API key. Clients with the same key share the provider's limits of
	// requests and tokens. Default "": a key like any other.
	Key string // key
	// PromptTokens is the length of a prompt, from 1 to 1,000,000. Default 500.
	PromptTokens int // prompt_tokens
}

// Provider is how a model behaves. The zero value answers every request rightly and in no
// time.
type Provider struct {
	// Latency is how long an answer takes once the provider works on it.
	Latency Latency // latency
	// Network is how long a request and a response are on their way, each. It is all the
	// time that an error takes, unless its fault has a delay.
	Network Latency // network
	// PerRequest is the time by which each request in the provider's hands, the new one
	// included, makes an answer longer: the model of a server that slows down under load
	// (M. Brooker, "Simple simulations for system builders", 2022). Default 0.
	PerRequest time.Duration // per_request
	// KeepsWorking says that the provider works on a request to its end when its client
	// has left, and bills it. Default false: it stops at once.
	KeepsWorking bool // keeps_working
	// Limits are those of a chaos plan, with the same fields. Default nil: none.
	Limits *chaos.Limits // limits
	// Faults are what goes wrong, each for a share of the requests that pass the limits.
	// Default none.
	Faults []Fault // faults
	// AnswerTokens is the length of an answer, from 1 to 1,000,000. Default 200.
	AnswerTokens int // answer_tokens
	// Price is what the model's tokens cost. Default nil: what the configuration says, or
	// what is known (package [llmcall/price/known]); if neither is, no money is counted.
	Price *price.Price // price
}

// Fault is a fault of package chaos, and the share of the requests that get it. These kinds
// have a meaning in a simulation:
//
//   - right, slow: a right answer, after Delay in addition to its latency;
//   - empty, length, prose, break, filter, refuse: an answer that is wrong in this way;
//   - cut: an answer that breaks off in the middle of its time;
//   - status: the provider's error, by Error, Status or Code, with RetryAfter and so on;
//   - reset: a connection that is reset;
//   - hang: no answer until the client leaves.
type Fault struct {
	chaos.Fault
	// Share is the share of the requests, above 0 and at most 1. Those of all faults are
	// at most 1 together; the other requests are answered. Default 1.
	Share float64 // share
}

// Latency is a distribution of times: constant, exponential with a mean, or lognormal with
// a median and a 99th percentile, as the answers of models are. Only one of the three may
// be set. The zero value takes no time.
type Latency struct {
	Constant time.Duration // constant; in a file a time alone: "latency: 800ms"
	Mean     time.Duration // mean
	Median   time.Duration // median
	P99      time.Duration // p99: at least the median
}

// Phase says what is different from From to To. A field that is not set changes nothing.
type Phase struct {
	From time.Duration // from
	// To is the phase's end. Default: that of the scenario, so that what the phase changes
	// stays as it is.
	To time.Duration // to
	// Models are those that it is about. Default: all.
	Models []string // models
	// Load multiplies the rate at which calls arrive: 2 for twice as many. It has no effect
	// on workers. 0 does not mean that none arrive, but no change.
	Load float64 // load
	// Restart breaks all requests that the provider has in its hands when the phase begins,
	// as when its server is started again.
	Restart bool // restart

	// These replace the fields of Provider. Faults may be an empty list: none.
	Latency    Latency       // latency
	PerRequest time.Duration // per_request
	Limits     *chaos.Limits // limits
	Faults     []Fault       // faults
}

// The defaults of a [Scenario], and its bounds.
const (
	DefaultSeed         = 1
	DefaultPromptTokens = 500
	DefaultAnswerTokens = 200
	DefaultPause        = 10 * time.Millisecond
	// DefaultModel is the model of a configuration that names none.
	DefaultModel = "openai/model"

	maxDuration  = 24 * time.Hour
	maxProcesses = 100_000
	maxTokens    = 1_000_000
	maxCalls     = 1_000_000_000
)

// filled returns the scenario with its defaults.
func (s *Scenario) filled() *Scenario {
	f := *s
	f.Name, f.Seed = cmp.Or(f.Name, "scenario"), cmp.Or(f.Seed, DefaultSeed)
	f.Clients = slices.Clone(f.Clients)
	for i := range f.Clients {
		c := &f.Clients[i]
		c.Name, c.Processes = cmp.Or(c.Name, strconv.Itoa(i+1)), cmp.Or(c.Processes, 1)
		if c.Workers > 0 {
			c.Pause = cmp.Or(c.Pause, DefaultPause)
		}
		c.Stop, c.PromptTokens = cmp.Or(c.Stop, f.Duration), cmp.Or(c.PromptTokens, DefaultPromptTokens)
	}
	return &f
}

// endOf returns when a phase ends.
func (s *Scenario) endOf(p Phase) time.Duration { return cmp.Or(p.To, s.Duration) }

// lasts reports whether a phase is on at a time. One without an end also lasts while the
// last calls end.
func (p *Phase) lasts(at time.Duration) bool { return p.From <= at && (p.To == 0 || at < p.To) }

// about reports whether the phase is about a model.
func (p *Phase) about(name string) bool {
	return len(p.Models) == 0 || slices.Contains(p.Models, name)
}

// apply sets what the phase changes.
func (p *Phase) apply(to *Provider) {
	if p.Latency != (Latency{}) {
		to.Latency = p.Latency
	}
	to.PerRequest = cmp.Or(p.PerRequest, to.PerRequest)
	to.Limits = cmp.Or(p.Limits, to.Limits)
	if p.Faults != nil {
		to.Faults = p.Faults
	}
}

// bucketOf returns the length of the buckets of a report: 120 or fewer for a scenario, more
// if its last calls take long.
func bucketOf(d time.Duration) time.Duration {
	for _, b := range []time.Duration{
		100 * time.Millisecond, 200 * time.Millisecond, 500 * time.Millisecond, time.Second, 2 * time.Second, 5 * time.Second,
		10 * time.Second, 15 * time.Second, 30 * time.Second, time.Minute, 2 * time.Minute, 5 * time.Minute, 10 * time.Minute,
	} {
		if d <= 120*b {
			return b
		}
	}
	return 15 * time.Minute
}
