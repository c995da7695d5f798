package simulate

import (
	"cmp"
	"errors"
	"math"
	"slices"
	"time"

	"llmcall"
	"llmcall/breaker"
	"llmcall/failure"
	"llmcall/llm"
)

// Report is what a configuration did in a scenario. Its JSON is the same, byte for byte, for
// the same configuration, scenario and seed.
type Report struct {
	Scenario string
	Seed     uint64
	Duration time.Duration // as in the scenario: how long calls arrived
	End      time.Duration // when the last call ended
	// Totals are those of all clients together.
	Totals
	// Priced says that the price of every model is known. If not, Cost and Wasted are those
	// of the models whose price is.
	Priced bool
	// TimeToRecover is how long it took after the end of the last phase until calls were as
	// before the first: until the first call from which on, of every 50 that begin one after
	// the other, 90 % of the share before the first phase are well. A call is well if it is
	// answered within twice the 99th percentile of those before (at least 1 s). Without
	// calls before the first phase, every answer is well. 0: at once, or no phase ends before
	// the scenario does; [Never]: not within the scenario.
	TimeToRecover time.Duration
	// Collapsed says that the fleet does not come back by itself, although the provider does:
	// of the last fifth of the calls that begin after the last phase, less than half of the
	// share before the first phase are well, as TimeToRecover has it. N. Bronson et al.,
	// "Metastable failures in distributed systems", HotOS 2021, describe why.
	Collapsed bool
	Groups    []Group // the groups of clients, in the order of the scenario
	Models    []Model // the models, in the order of the configuration
	// Bucket is the length of the buckets of Series.
	Bucket time.Duration
	Series []Point // until End
}

// Never is [Report.TimeToRecover] of a fleet that does not recover.
const Never time.Duration = -1

// Totals are sums over all of a run, or of a group of clients.
//
//	Calls = Answered + the sum of Failed + Unfinished
type Totals struct {
	Calls      int                    // that began
	Answered   int                    // with an answer that passed its check
	Failed     map[llmcall.Reason]int // the other calls that ended, by their reason
	Unfinished int                    // calls that went on an hour after the last had begun, and were ended then
	// P50 and P99 are the 50th and the 99th percentile of how long answered calls took. 0 if
	// there is none.
	P50, P99 time.Duration
	Traffic
	// Wasted is the part of Cost, in nano-dollars, that did not pay for an answer that ended
	// a call: wrong answers, and answers that nobody waited for.
	Wasted int64
}

// Traffic is what was sent to providers.
//
//	Requests = Right + Wrong + Refused + Faults + Left
type Traffic struct {
	Requests int // that were sent
	Right    int // right answers
	Wrong    int // answers that did not pass the check
	Refused  int // for a rate limit, a quota or an overload
	Faults   int // other failures
	Left     int // whose client did not wait any longer
	Probes   int // sent while the circuit breaker was not CLOSED

	InputTokens  int64 // of the answers, also those that nobody waited for
	OutputTokens int64
	Cost         int64 // what the providers bill, in nano-dollars (1e-9 US dollars)
}

// Group has the totals of a group of clients.
type Group struct {
	Name string
	Totals
}

// Model is the traffic of one model.
type Model struct {
	Name string
	Traffic
}

// Point is a bucket of time.
type Point struct {
	At time.Duration // the beginning

	Offered    int // calls that began
	Answered   int // calls that ended with an answer
	Failed     int // calls that ended without
	Unfinished int // calls that were ended

	Sent, Right, Wrong, Refused, Faults, Left int // requests: sent, and how they ended

	// The following are as of the end of the bucket.

	InHands int     // requests that the providers work on, or have in their queues
	Open    float64 // the share of the fleet's circuits, one for each process and model, that are not CLOSED
	Paced   float64 // the share of its pacers that hold requests to a learned rate; 0 with disable_pacing
	Rate    float64 // the sum of these rates, in requests a second
}

// FailedCalls returns how many calls failed, for whatever reason.
func (t *Totals) FailedCalls() int {
	n := 0
	for _, k := range t.Failed {
		n += k
	}
	return n
}

// AnsweredShare returns the share of the calls that were answered, from 0 to 1. Without
// calls it is 1.
func (t *Totals) AnsweredShare() float64 {
	if t.Calls == 0 {
		return 1
	}
	return float64(t.Answered) / float64(t.Calls)
}

// RequestsPerAnswer returns how many requests were sent for each answered call, and
// RefusalsPerAnswer how many were refused. Without answers both are those of one answer.
func (t *Totals) RequestsPerAnswer() float64 {
	return float64(t.Requests) / float64(max(1, t.Answered))
}

// RefusalsPerAnswer is described at [Totals.RequestsPerAnswer].
func (t *Totals) RefusalsPerAnswer() float64 { return float64(t.Refused) / float64(max(1, t.Answered)) }

// ending is how a request ended.
type ending int

const (
	right ending = iota
	wrong
	refused
	failed
	left
)

// endingOf returns how a request ended that the provider refused.
func endingOf(r refusal) ending {
	switch r.err.Kind {
	case failure.RateLimited, failure.Overloaded, failure.QuotaExhausted:
		return refused
	}
	return failed
}

// count counts a request that ended.
func (t *Traffic) count(e ending) {
	*[...]*int{right: &t.Right, wrong: &t.Wrong, refused: &t.Refused, failed: &t.Faults, left: &t.Left}[e]++
}

func (t *Traffic) add(o Traffic) {
	t.Requests += o.Requests
	t.Right += o.Right
	t.Wrong += o.Wrong
	t.Refused += o.Refused
	t.Faults += o.Faults
	t.Left += o.Left
	t.Probes += o.Probes
	t.InputTokens += o.InputTokens
	t.OutputTokens += o.OutputTokens
	t.Cost += o.Cost
}

// lived is a call that has ended.
type lived struct {
	begun, took time.Duration
	answered    bool
}

// point returns the bucket of now. The caller holds the lock.
func (r *run) point() *Point {
	i := int(time.Since(r.start) / r.bucket)
	for len(r.series) <= i {
		r.series = append(r.series, Point{At: time.Duration(len(r.series)) * r.bucket})
	}
	return &r.series[i]
}

// offered counts a call that begins.
func (r *run) offered(g *group) {
	r.mu.Lock()
	defer r.mu.Unlock()
	g.totals.Calls++
	r.point().Offered++
}

// done counts a call that has ended.
func (r *run) done(a *asked, begun time.Duration, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	t, p, now := &a.group.totals, r.point(), time.Since(r.start)
	r.end = max(r.end, now)
	a.group.lived = append(a.group.lived, lived{begun, now - begun, err == nil})
	switch reason := reasonOf(err); {
	case err == nil:
		t.Answered++
		t.Wasted -= a.last // the cost of the last answer was not wasted
		p.Answered++
	case r.over.Load():
		t.Unfinished++
		p.Unfinished++
	case reason == "":
		r.err = cmp.Or(r.err, err)
	default:
		if t.Failed == nil {
			t.Failed = map[llmcall.Reason]int{}
		}
		t.Failed[reason]++
		p.Failed++
	}
}

// reasonOf returns the reason of a call's error; "" if it has none.
func reasonOf(err error) llmcall.Reason {
	if e, ok := errors.AsType[*llmcall.Error](err); ok {
		return e.Reason
	}
	if _, ok := errors.AsType[*llmcall.HumanReviewError](err); ok {
		return llmcall.ReasonHumanReview
	}
	return ""
}

// sent counts a request.
func (s *server) sent(a *asked, probe bool) {
	r := s.run
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, t := range []*Traffic{&a.group.totals.Traffic, &s.traffic} {
		t.Requests++
		if probe {
			t.Probes++
		}
	}
	r.point().Sent++
}

// ended counts how a request ended.
func (s *server) ended(a *asked, e ending) {
	r := s.run
	r.mu.Lock()
	defer r.mu.Unlock()
	a.group.totals.Traffic.count(e)
	s.traffic.count(e)
	p := r.point()
	*[...]*int{right: &p.Right, wrong: &p.Wrong, refused: &p.Refused, failed: &p.Faults, left: &p.Left}[e]++
}

// bill counts what an answer costs.
func (s *server) bill(a *asked, u llm.Usage) {
	r := s.run
	r.mu.Lock()
	defer r.mu.Unlock()
	cost := int64(0)
	if s.price != nil {
		cost = s.price.Cost(u, time.Now())
	}
	a.last = cost
	a.group.totals.Wasted += cost
	for _, t := range []*Traffic{&a.group.totals.Traffic, &s.traffic} {
		t.InputTokens += u.InputTokens
		t.OutputTokens += u.OutputTokens
		t.Cost += cost
	}
}

// watch looks at the fleet at the end of each bucket, until stop.
func (r *run) watch(stop <-chan struct{}) {
	for i := 1; ; i++ {
		timer := time.NewTimer(time.Until(r.clock.after(time.Duration(i)*r.bucket - time.Since(r.start))))
		select {
		case <-timer.C:
			r.noticed()
			r.look(i - 1)
		case <-stop:
			timer.Stop()
			r.look(i - 1)
			return
		}
	}
}

// look notes the state of the fleet in a bucket.
func (r *run) look(bucket int) {
	hands, open, paced, rate := 0, 0, 0, 0.0
	for _, s := range r.servers {
		hands += s.inHands()
	}
	for _, c := range r.circuits {
		if breaker.State(c.state.Load()) != breaker.Closed {
			open++
		}
		if p := c.endpoint.Snapshot().Pace; p.Rate > 0 && !r.cfg.DisablePacing {
			paced++
			rate += p.Rate
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.point()
	if bucket >= len(r.series) {
		return
	}
	p, all := &r.series[bucket], float64(len(r.circuits))
	p.InHands, p.Open, p.Paced, p.Rate = hands, float64(open)/all, float64(paced)/all, rate
}

// summarize makes the report.
func (r *run) summarize() {
	sc := r.scenario
	report := &Report{
		Scenario: sc.Name, Seed: sc.Seed, Duration: sc.Duration, End: r.end, Bucket: r.bucket, Series: r.series, Priced: true,
	}
	var all []lived
	for _, g := range r.groups {
		t := &g.totals
		t.P50, t.P99 = percentiles(g.lived)
		all = append(all, g.lived...)
		report.Groups = append(report.Groups, Group{g.Name, *t})
		report.Calls += t.Calls
		report.Answered += t.Answered
		report.Unfinished += t.Unfinished
		report.Wasted += t.Wasted
		report.Traffic.add(t.Traffic)
		for reason, n := range t.Failed {
			if report.Failed == nil {
				report.Failed = map[llmcall.Reason]int{}
			}
			report.Failed[reason] += n
		}
	}
	report.P50, report.P99 = percentiles(all)
	for _, s := range r.servers {
		report.Models = append(report.Models, Model{s.model, s.traffic})
		report.Priced = report.Priced && s.price != nil
	}
	report.TimeToRecover, report.Collapsed = sc.recovery(all)
	r.report = report
}

// percentiles returns the 50th and 99th percentile of how long answered calls took, by the
// nearest rank.
func percentiles(calls []lived) (p50, p99 time.Duration) {
	var took []time.Duration
	for _, c := range calls {
		if c.answered {
			took = append(took, c.took)
		}
	}
	slices.Sort(took)
	at := func(q float64) time.Duration {
		if len(took) == 0 {
			return 0
		}
		return took[max(0, int(math.Ceil(q*float64(len(took))))-1)]
	}
	return at(0.50), at(0.99)
}

// The terms of [Report.TimeToRecover] and [Report.Collapsed].
const (
	recoveredOf    = 50
	recoveredShare = 0.9
	collapsedPart  = 0.2
	collapsedShare = 0.5
	leastWell      = time.Second
)

// recovery returns how long it took after the last phase until calls were as before the
// first, and whether the fleet has collapsed.
func (s *Scenario) recovery(calls []lived) (took time.Duration, collapsed bool) {
	first, end := s.Duration, time.Duration(0)
	for _, p := range s.Phases {
		first = min(first, p.From)
		if e := s.endOf(p); e < s.Duration {
			end = max(end, e)
		}
	}
	if end == 0 {
		return 0, false
	}
	slices.SortFunc(calls, func(a, b lived) int { return cmp.Compare(a.begun, b.begun) })
	from := func(t time.Duration) int {
		i, _ := slices.BinarySearchFunc(calls, t, func(c lived, t time.Duration) int { return cmp.Compare(c.begun, t) })
		return i
	}
	before, after := calls[:from(first)], calls[from(end):]
	share, limit := 1.0, time.Duration(math.MaxInt64)
	if len(before) > 0 {
		_, p99 := percentiles(before)
		limit = max(2*p99, leastWell)
		share = well(before, limit)
	}
	n := min(recoveredOf, len(after))
	if n == 0 {
		return 0, false
	}
	last := after[len(after)-max(1, int(collapsedPart*float64(len(after)))):]
	collapsed = well(last, limit) < collapsedShare*share
	for i := len(after) - n; i >= 0; i-- {
		if well(after[i:i+n], limit) >= recoveredShare*share {
			continue
		}
		if i == len(after)-n {
			return Never, collapsed
		}
		return after[i+1].begun - end, collapsed
	}
	return 0, collapsed
}

// well returns the share of the calls that were answered in a time.
func well(calls []lived, limit time.Duration) float64 {
	n := 0
	for _, c := range calls {
		if c.answered && c.took <= limit {
			n++
		}
	}
	return float64(n) / float64(len(calls))
}
