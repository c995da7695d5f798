package fleet

import (
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"
	"weak"

	"llmcall/breaker"
	"llmcall/endpoint"
	"llmcall/fleet/internal/store"
)

//go:embed circuit.lua
var circuitText string

var circuitScript = &store.Script{Name: "circuit", Text: circuitText}

// circuit is this process' part of a circuit that a fleet shares: the [breaker.Peers] of one
// breaker. It tells the store of failures at once, and of answers each second, and tells the
// breaker what has become of the circuit.
type circuit struct {
	f        *Fleet
	of       endpoint.Key
	me       string // this breaker, among those of this process and of others
	settings settings
	most     int // failures that are kept until the store hears of them
	breaker  weak.Pointer[breaker.Breaker]
	endpoint weak.Pointer[endpoint.Endpoint]

	clock clock // the store's: in a Cluster, that of one node

	adopted chan struct{} // closed when the store has answered for the first time
	adopt   func()

	mu        sync.Mutex
	place     string // in the store; "": not known yet
	name      string // of the endpoint there
	known     state
	lost      bool // the store does not answer
	recovered bool // closed while alone, by its own probes
	counting  bool // the processes are asked for their answers
	failures  []failed
	answers   uint64 // of the endpoint, of which the store has heard
	met       int    // the most processes that the store has lately known to share it
	metAt     time.Time
	heardAt   time.Time // when the store has last answered a report
	sent      *report   // of which it is not known whether the store has taken it
	ended     []ended   // of which it is not known either, the oldest first
	held      []lease
	asking    *asking
	spare     *lease    // one of held that came too late for the call which had asked
	full      time.Time // until then no other probe is lent, as far as is known
	decides   *time.Timer
}

// settings are those of the breaker, as the script takes them: times in ms.
type settings struct {
	Threshold int     `json:"threshold"`
	Window    int64   `json:"window"`
	Rate      float64 `json:"rate"`
	Recovery  int64   `json:"recovery"`
	Factor    float64 `json:"factor"`
	Trip      int64   `json:"trip"`
	Most      int64   `json:"most"`
	Probes    int     `json:"probes"`
	Passes    int     `json:"passes"`
	Lease     int64   `json:"lease"`
	Reporters int     `json:"reporters"` // Options.MinReporters
	Layout    int     `json:"layout"`    // of what the script keeps
}

// layout is the number of what circuit.lua keeps, and is raised when that changes: processes of
// a version of llmcall with another layout have another circuit.
const layout = 2

func settingsOf(c breaker.Config, reporters int) settings {
	return settings{
		Threshold: c.FailureThreshold, Window: atLeastOne(c.FailureWindow), Rate: c.FailureRate,
		Recovery: atLeastOne(c.RecoveryTimeout), Factor: c.RecoveryFactor, Trip: atLeastOne(c.TripTimeout),
		Most: atLeastOne(c.MaxOpen), Probes: c.HalfOpenProbes, Passes: c.SuccessThreshold,
		Lease: atLeastOne(c.ProbeLease), Reporters: reporters, Layout: layout,
	}
}

// atLeastOne returns a time in ms. The script can't grow a recovery of 0, nor lend a probe for it.
func atLeastOne(d time.Duration) int64 { return max(1, d.Milliseconds()) }

// tag tells apart the circuits of an endpoint whose callers have different settings, or keep
// them in another layout.
func (s settings) tag() string {
	s.Reporters = 0
	text, _ := json.Marshal(s) // numbers alone
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:2])
}

// state is what the store says of a circuit.
type state struct {
	Generation uint64 `json:"g,string"`
	State      string `json:"s"`    // c, o, fo or fc
	Left       int64  `json:"left"` // ms until it admits a probe
	Openings   int    `json:"n"`
	Kind       string `json:"k"`
	Status     int    `json:"ks"`
	Code       string `json:"kc"`
	By         string `json:"by"`
	Age        int64  `json:"age"` // ms since it is in that state

	at time.Time // when that was so
}

// States of a circuit in the store.
const (
	stateClosed       = "c"
	stateOpen         = "o"
	stateForcedOpen   = "fo"
	stateForcedClosed = "fc"
)

// shared returns the state for a breaker.
func (s *state) shared() breaker.Shared {
	b := breaker.Shared{
		Generation: s.Generation, Openings: s.Openings, Cause: breaker.Cause{Kind: s.Kind, Status: s.Status, Code: s.Code},
		RetryIn: s.left(), Forced: s.State == stateForcedOpen || s.State == stateForcedClosed,
	}
	if s.State == stateOpen || s.State == stateForcedOpen {
		b.State = breaker.Open
	}
	return b
}

// left returns how long it takes until the circuit admits a probe.
func (s *state) left() time.Duration {
	return max(0, time.Duration(s.Left)*time.Millisecond-time.Since(s.at))
}

// failed is a failure, as the script takes it.
type failed struct {
	at      time.Time
	answers uint64 // of the endpoint, before it
	Age     int64  `json:"age"` // ms
	Answers uint64 `json:"a"`   // of the report, before it
	Lasted  int64  `json:"lasted"`
	Asked   int64  `json:"asked"`
	Trip    bool   `json:"trip"`
	Kind    string `json:"k"`
	Status  int    `json:"ks"`
	Code    string `json:"kc"`
}

func failedOf(f breaker.Failure, trip bool) failed {
	c := f.Cause
	return failed{
		at: time.Now(), Lasted: f.Lasted.Milliseconds(), Asked: f.AskedFor.Milliseconds(), Trip: trip,
		Kind: c.Kind, Status: c.Status, Code: c.Code,
	}
}

// report is what a process says in one number of its sequence. It is repeated as it is until
// the store has answered.
type report struct {
	generation uint64
	sequence   uint64
	answers    uint64
	failures   []failed
}

// ended is the end of a probe, with a number as a report has one.
type ended struct {
	lease    uint64
	sequence uint64
	outcome  string // s, f or n
	failures []failed
}

// question is a request of the script.
type question struct {
	Op        string    `json:"op"`
	At        int64     `json:"at"` // ms of the store's clock, as far as it is known; 0: it is not
	Me        string    `json:"me"`
	Name      string    `json:"name"`
	Endpoint  string    `json:"endpoint"`
	Settings  settings  `json:"c"`
	Sequence  uint64    `json:"seq"`
	Answers   uint64    `json:"a"`
	Failures  []failed  `json:"f"`
	Recovered bool      `json:"recovered"`
	Met       int       `json:"met"`
	Held      []holding `json:"held"`
	Lease     string    `json:"lease"`
	Outcome   string    `json:"o"`   // s, f or n
	Why       string    `json:"why"` // of a force

	// What the process knows of the circuit, with which a store that has lost it is told.
	Generation uint64 `json:"g"`
	State      string `json:"s"`
	Left       int64  `json:"left"`
	Openings   int    `json:"n"`
	Kind       string `json:"k"`
	Status     int    `json:"ks"`
	Code       string `json:"kc"`
}

// reply is what the script returns.
type reply struct {
	Late     bool   `json:"late"` // it was asked long ago: nothing was done
	Now      int64  `json:"now,string"`
	State    string `json:"state"` // of a state, in JSON
	Deciding bool   `json:"deciding"`
	Lease    string `json:"lease"`
	Wait     int64  `json:"wait"` // ms until another lease may be had
	Living   int    `json:"living"`
}

// message is what the script publishes: a state, or that answers are to be counted.
type message struct {
	state
	Count int    `json:"count"`
	From  string `json:"from"` // whose failure began it, and who need not answer
}

// asking is the wait of one call for the lease of a probe.
type asking struct {
	done       chan struct{}
	generation uint64
	lease      breaker.Lease
	left       bool // the call has gone on
}

// holding is a lease, as the script takes it.
type holding struct {
	ID  string `json:"id"`
	Age int64  `json:"age"` // ms
}

// lease is the leave to send a probe of the known generation.
type lease struct {
	id    uint64
	since time.Time
}

// Circuit shares the circuit of an endpoint. It is called by the registry of [Fleet.Endpoints].
func (f *Fleet) Circuit(e *endpoint.Endpoint, b *breaker.Breaker) {
	if !f.shares(e.Key()) {
		return
	}
	cfg := b.Recent().Config
	c := &circuit{
		f: f, of: e.Key(), settings: settingsOf(cfg, f.options.MinReporters), most: cfg.FailureThreshold,
		breaker: weak.Make(b), endpoint: weak.Make(e), adopted: make(chan struct{}), answers: e.Answers(),
		known: state{State: stateClosed, at: time.Now()},
	}
	c.me = fmt.Sprintf("%s.%d", f.id, f.numbers.Add(1))
	c.adopt = sync.OnceFunc(func() { close(c.adopted) })
	b.Share(c)
	f.add(c)
	f.wait(context.Background(), c.adopted, callWait) // so that its first call does not go to what others know to be down
}

func (c *circuit) move() string {
	there := c.f.keyThere(c.of)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.place, c.name = c.f.keyOf(c.f.tag(there), "circuit:"+c.settings.tag()), there.String()
	return c.place
}

func (c *circuit) gone() bool { return c.breaker.Value() == nil }

// Failed takes a failure for the next report. See [breaker.Peers].
func (c *circuit) Failed(generation uint64, f breaker.Failure, trip bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if generation != c.known.Generation && generation != 0 {
		return false // the circuit has changed a moment ago
	}
	if len(c.failures) >= c.most {
		c.failures = slices.Delete(c.failures, 0, 1)
	}
	fresh := failedOf(f, trip)
	if e := c.endpoint.Value(); e != nil {
		fresh.answers = e.Answers()
	}
	c.failures = append(c.failures, fresh)
	if c.lost {
		return false
	}
	c.f.wake()
	return true
}

// Lease asks the store for a probe. See [breaker.Peers].
func (c *circuit) Lease(generation uint64) breaker.Lease {
	c.mu.Lock()
	now := time.Now()
	switch {
	case c.lost:
		c.mu.Unlock()
		return breaker.Lease{Alone: true}
	case generation != c.known.Generation: // the breaker will hear of it at once
		c.mu.Unlock()
		return breaker.Lease{RetryIn: callWait}
	case c.spare != nil:
		id := c.spare.id
		c.spare = nil
		c.mu.Unlock()
		return breaker.Lease{ID: id}
	case now.Before(c.full):
		left := c.full.Sub(now)
		c.mu.Unlock()
		return breaker.Lease{RetryIn: left}
	case c.asking != nil:
		c.mu.Unlock()
		return breaker.Lease{RetryIn: callWait}
	}
	a := &asking{done: make(chan struct{}), generation: generation}
	c.asking = a
	c.mu.Unlock()
	c.f.wake()
	c.f.wait(context.Background(), a.done, callWait)
	c.mu.Lock()
	defer c.mu.Unlock()
	a.left = true
	if a.lease == (breaker.Lease{}) { // not answered yet
		return breaker.Lease{RetryIn: callWait}
	}
	return a.lease
}

// Probed tells the store how a probe has ended. See [breaker.Peers].
func (c *circuit) Probed(generation, id uint64, o breaker.Outcome, f breaker.Failure) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if generation != c.known.Generation && generation != 0 {
		return true // the circuit has changed a moment ago, and the lease has ended with that
	}
	if c.lost {
		c.release(id)
		return false
	}
	c.end(id, o, f)
	c.f.wake()
	return true
}

// end queues the end of a probe. The caller holds the lock.
func (c *circuit) end(id uint64, o breaker.Outcome, f breaker.Failure) {
	c.release(id)
	e := ended{lease: id, sequence: c.f.numbers.Add(1), outcome: "n", failures: []failed{}}
	switch o {
	case breaker.Succeeded:
		e.outcome = "s"
	case breaker.Failed, breaker.Tripped:
		e.outcome, e.failures = "f", []failed{failedOf(f, o == breaker.Tripped)}
	}
	c.full = time.Time{}
	c.ended = append(c.ended, e)
}

// release forgets a lease, of which the store hears with the next report at the latest. The
// caller holds the lock.
func (c *circuit) release(id uint64) {
	c.held = slices.DeleteFunc(c.held, func(l lease) bool { return l.id == id })
}

// question returns a request of the script. The caller holds the lock.
func (c *circuit) question(op string) question {
	k := &c.known
	at := int64(0)
	if c.clock.known() {
		at = c.clock.now().UnixMilli()
	}
	return question{
		Op: op, At: at, Me: c.me, Name: c.f.name, Endpoint: c.name, Settings: c.settings, Failures: []failed{}, Held: []holding{}, Met: c.met,
		Generation: k.Generation, State: k.State, Left: k.left().Milliseconds(), Openings: k.Openings,
		Kind: k.Kind, Status: k.Status, Code: k.Code,
	}
}

// closed reports whether the breaker is CLOSED, and not because somebody keeps it so. It must
// not be called with the lock held: a breaker calls its peers with its own.
func (c *circuit) closed() bool {
	b := c.breaker.Value()
	return b != nil && b.State() == breaker.Closed && !b.Snapshot().Forced
}

func (c *circuit) requests(tick bool) []request {
	c.mu.Lock()
	recovered := c.recovered
	c.mu.Unlock()
	recovered = recovered && c.closed()
	c.mu.Lock()
	defer c.mu.Unlock()
	if s := c.spare; s != nil && time.Since(s.since) > exchangeEvery { // nobody wants it
		c.spare = nil
		c.end(s.id, breaker.Neither, breaker.Failure{})
	}
	var all []request
	for _, e := range c.ended {
		q := c.question("probed")
		q.Lease, q.Sequence, q.Outcome, q.Failures = strconv.FormatUint(e.lease, 10), e.sequence, e.outcome, e.failures
		all = append(all, c.request(q, func(r store.Result) { c.probed(e, r) }))
	}
	tick = tick && !c.idle()
	if c.sent != nil || tick || c.counting || len(c.failures) > 0 {
		all = append(all, c.request(c.report(recovered), c.reported))
	}
	switch a := c.asking; {
	case a == nil:
	case a.generation != c.known.Generation: // the circuit has changed
		a.lease = breaker.Lease{RetryIn: callWait}
		c.asking = nil
		close(a.done)
	default:
		all = append(all, c.request(c.question("probe"), func(r store.Result) { c.lent(a, r) }))
	}
	return all
}

// idle reports whether the circuit has nothing to say, and need not ask yet. The caller holds
// the lock.
func (c *circuit) idle() bool {
	if c.lost || c.recovered || c.known.Generation == 0 || c.known.State != stateClosed || len(c.held) > 0 {
		return false
	}
	e := c.endpoint.Value()
	every := c.f.idleEvery()
	return every > exchangeEvery && time.Since(c.heardAt) < every && e != nil && e.Answers() == c.answers
}

func (c *circuit) request(q question, done func(store.Result)) request {
	return request{callOf(circuitScript, c.place, q), done}
}

// report returns what the process has to say, or what it has said if that may not have been
// heard. The caller holds the lock.
func (c *circuit) report(recovered bool) question {
	if c.sent == nil {
		c.say()
	}
	c.full = time.Time{} // a lease may be free, and the message was lost
	q := c.question("report")
	q.Sequence, q.Answers = c.sent.sequence, c.sent.answers
	q.Recovered = c.recovered && recovered
	for _, l := range c.held {
		if age := time.Since(l.since).Milliseconds(); age < c.settings.Lease {
			q.Held = append(q.Held, holding{strconv.FormatUint(l.id, 10), age})
		}
	}
	if c.sent.generation == c.known.Generation || c.sent.generation == 0 {
		for _, f := range c.sent.failures {
			f.Age = time.Since(f.at).Milliseconds()
			q.Failures = append(q.Failures, f)
		}
	}
	return q
}

// say makes a report of what the store has not heard yet. The caller holds the lock.
func (c *circuit) say() {
	r := &report{generation: c.known.Generation, sequence: c.f.numbers.Add(1), failures: c.failures}
	from := c.answers
	if e := c.endpoint.Value(); e != nil {
		if n := e.Answers(); n > from { // it falls if an answer breaks off
			r.answers, c.answers = n-from, n
		}
	}
	for i, f := range r.failures {
		if f.answers > from {
			r.failures[i].Answers = min(f.answers-from, r.answers)
		}
	}
	c.sent, c.failures, c.counting = r, nil, false
}

// reported takes the answer to a report.
func (c *circuit) reported(r store.Result) {
	answer, ok := c.took(r)
	if !ok {
		return
	}
	c.f.met(answer.Living)
	c.mu.Lock()
	c.sent, c.heardAt = nil, time.Now()
	// A store that was restarted empty has yet to meet those who were seen in the window.
	if answer.Living >= c.met || time.Since(c.metAt).Milliseconds() > c.settings.Window {
		c.met, c.metAt = answer.Living, time.Now()
	}
	more := len(c.failures) > 0 || c.counting
	c.mu.Unlock()
	c.adopt()
	if more {
		c.f.wake()
	}
}

// probed takes the answer to the end of a probe.
func (c *circuit) probed(e ended, r store.Result) {
	if _, ok := c.took(r); !ok {
		return // it is told again
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended = slices.DeleteFunc(c.ended, func(other ended) bool { return other.sequence == e.sequence })
}

// lent takes the answer to a request for a probe.
func (c *circuit) lent(a *asking, r store.Result) {
	answer, ok := c.read(r)
	c.mu.Lock()
	c.asking = nil
	id, _ := strconv.ParseUint(answer.Lease, 10, 64)
	now := time.Now()
	switch {
	case !ok:
		a.lease = breaker.Lease{Alone: c.lost, RetryIn: callWait}
	case id == 0 || c.known.Generation != a.generation: // with which the lease has ended
		wait := time.Duration(answer.Wait) * time.Millisecond
		a.lease = breaker.Lease{RetryIn: max(callWait, wait)}
		c.full = now.Add(wait)
	default:
		l := lease{id: id, since: now}
		// A pass that is never given back must not be held for ever.
		c.held = slices.DeleteFunc(c.held, func(l lease) bool { return now.Sub(l.since).Milliseconds() > c.settings.Lease })
		c.held = append(c.held, l)
		if a.left {
			c.spare = &l
		} else {
			a.lease = breaker.Lease{ID: id}
		}
	}
	c.mu.Unlock()
	close(a.done)
	c.follow()
}

// took takes the answer of the script.
func (c *circuit) took(r store.Result) (answer reply, ok bool) {
	if answer, ok = c.read(r); ok && answer.Deciding {
		c.decideLater()
	}
	c.follow()
	return answer, ok
}

// decideAfter is how long the circuit waits for the answers of processes that do not report,
// and a little more.
const decideAfter = 60 * time.Millisecond

// decideLater makes the process report again if others may not.
func (c *circuit) decideLater() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.decides == nil {
		c.decides = time.AfterFunc(decideAfter, c.count)
		return
	}
	c.decides.Reset(decideAfter)
}

// count makes the process report its answers at once.
func (c *circuit) count() {
	c.mu.Lock()
	c.counting = true
	c.mu.Unlock()
	c.f.wake()
}

// read takes the state from the script's answer.
func (c *circuit) read(r store.Result) (answer reply, ok bool) {
	if r.Err != nil || json.Unmarshal([]byte(r.Text), &answer) != nil {
		return reply{}, false
	}
	c.clock.set(time.UnixMilli(answer.Now))
	if answer.Late {
		c.f.wake() // what is still worth telling is told as of now
		return reply{}, false
	}
	var s state
	if json.Unmarshal([]byte(answer.State), &s) != nil {
		return reply{}, false
	}
	c.learn(s)
	return answer, true
}

// learn keeps a state unless a later one is known.
func (c *circuit) learn(s state) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s.Generation < c.known.Generation {
		return
	}
	switch known := &c.known; {
	case s.Generation == known.Generation && s.State != known.State:
		return // the store will be told: both become one later generation
	case s.Generation == known.Generation:
	case known.Generation == 0 && s.State == stateClosed: // what was counted before counts
	default:
		c.failures, c.full, c.recovered = nil, time.Time{}, false
		c.ended, c.held, c.spare = nil, nil, nil
	}
	s.at = time.Now()
	c.known = s
}

// follow tells the breaker what is known.
func (c *circuit) follow() {
	c.mu.Lock()
	s := c.known.shared()
	c.mu.Unlock()
	if b := c.breaker.Value(); b != nil && s.Generation > 0 {
		b.Follow(s)
	}
}

func (c *circuit) told(text string) {
	var m message
	if json.Unmarshal([]byte(text), &m) != nil {
		return
	}
	if m.Count > 0 {
		if m.From != c.me {
			c.count()
		}
		return
	}
	c.learn(m.state)
	c.mu.Lock()
	c.full = time.Time{} // a lease may be free
	c.mu.Unlock()
	c.follow()
}

func (c *circuit) alone(yes bool) {
	closed := c.closed()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lost = yes
	if yes {
		c.adopt() // not now
	}
	if !yes && closed && c.known.State == stateOpen {
		c.recovered = true
	}
}
