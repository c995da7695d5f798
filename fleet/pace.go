package fleet

import (
	_ "embed"
	"encoding/json"
	"maps"
	"math"
	"slices"
	"sync"
	"time"
	"weak"

	"llmcall/endpoint"
	"llmcall/fleet/internal/store"
	"llmcall/pace"
)

//go:embed pace.lua
var paceText string

//go:embed limits.lua
var limitsText string

var (
	paceScript   = &store.Script{Name: "pace", Text: paceText}
	limitsScript = &store.Script{Name: "limits", Text: limitsText}
)

const (
	// livingFor is how old the last report of a process may be for it to have a part.
	livingFor = 2 * time.Second
	// settlesFor is how long the processes that were known before the store was lost have a
	// part after its return, until all have reached it.
	settlesFor = mostRetry + livingFor
	// lateMost is how late a message may come, in ms. What is older was made by another server,
	// with another clock.
	lateMost = 2000
	// leaseFor is how long leased requests and tokens may be used. So much longer than a
	// minute is what the limit of a minute is held over.
	leaseFor = 500 * time.Millisecond
)

// pacing is this process' part of a rate that a fleet shares: the [pace.Peers] of one pacer.
type pacing struct {
	f     *Fleet
	of    endpoint.Key
	pacer weak.Pointer[pace.Pacer]

	// In the store, where the rate and the configured limits are; the worker's.
	place, limits string

	mu      sync.Mutex
	urgent  bool      // there is something that others should know at once
	met     bool      // the store has answered
	sent    time.Time // the last told time that the store has heard of
	settles time.Time // until then nobody is dead
	state   int64     // when the store's last state was made, in its ms
	heard   int64     // when the last told time was told, in its ms
	rate    float64   // that is shared by need
	part    float64   // of it
	lost    bool      // the store has not answered since
	need    float64   // of this process
	peers   map[string]peer
	without pace.Amount // used while the store was lost, not yet told
	failed  bool        // the last lease was not answered
	used    int64       // not yet told
	epoch   time.Time   // when the store's clock was 0, by this process'
}

// peer is another process.
type peer struct {
	need float64 // requests a second
	seen time.Time
}

// pacingReport is what a process says, as the script takes it. Times are ages or waits in ms.
type pacingReport struct {
	Me        string  `json:"me"`
	TakesPart bool    `json:"takes_part"`
	Need      float64 `json:"need"`
	Urgent    bool    `json:"urgent"`

	Epoch uint64  `json:"epoch"`
	Cut   bool    `json:"cut"`
	Rate  float64 `json:"rate"` // 0: none
	Phase string  `json:"phase"`
	Known bool    `json:"known"`
	Toll  int64   `json:"toll"`
	Calm  int64   `json:"calm"`
	Held  int64   `json:"held"`
	Asked int64   `json:"asked"`
	Turns float64 `json:"turns"`

	Told     *int64 `json:"told,omitempty"`
	ToldAge  int64  `json:"told_age"` // since the provider said it
	Replaces bool   `json:"replaces"`

	Part float64 `json:"part,omitempty"` // of a process that comes back with a rate of its own
}

// pacingState is what the script returns and publishes.
type pacingState struct {
	At    int64   `json:"at,string"` // the store's time
	Epoch uint64  `json:"epoch,string"`
	Rate  float64 `json:"rate"`
	Phase string  `json:"phase"`
	Known bool    `json:"known"`
	By    string  `json:"by"`
	Toll  int64   `json:"toll"`
	Calm  int64   `json:"calm,string"`
	Held  int64   `json:"held,string"`
	Asked int64   `json:"asked,string"`
	Turns float64 `json:"turns"`

	Told     int64  `json:"told,string"` // left of it
	ToldAt   int64  `json:"told_at"`
	ToldBy   string `json:"told_by"`
	Replaces bool   `json:"replaces"`

	Needs map[string][2]float64 `json:"needs"` // requests a second, and age
}

// Phases of a shared rate in the store.
const (
	phaseStart  = "start"
	phaseShut   = "shut"
	phaseSteady = "steady"
)

// limitOf is one of the limits, as the script takes it.
type limitOf struct {
	Rate      float64 `json:"rate"` // a microsecond; 0: none
	Burst     float64 `json:"burst"`
	Ask       int64   `json:"ask"`
	Back      int64   `json:"back"`
	Alone     int64   `json:"alone"`
	Corrected int64   `json:"corrected"`
}

// gcra returns a limit such that no minute has more than perMinute, of which a sixtieth, but
// at least unit, may be used at once; the unit may be taken in the minute's last instant.
func gcra(perMinute, unit float64) limitOf {
	if perMinute == 0 {
		return limitOf{}
	}
	burst := max(unit, perMinute/60)
	return limitOf{Rate: (perMinute - (burst - unit)) / float64((time.Minute + leaseFor).Microseconds()), Burst: burst}
}

// Pacer shares the pacer of an endpoint. It is called by the registry of [Fleet.Endpoints].
func (f *Fleet) Pacer(e *endpoint.Endpoint, p *pace.Pacer) {
	if !f.shares(e.Key()) {
		return
	}
	f.sharePacer(e.Key(), p)
}

// sharePacer shares a pacer with those of the same key.
func (f *Fleet) sharePacer(k endpoint.Key, p *pace.Pacer) {
	s := &pacing{f: f, of: k, pacer: weak.Make(p), peers: map[string]peer{}}
	p.Join(s)
	f.add(s)
}

func (s *pacing) move() string {
	tag := s.f.tag(s.f.keyThere(s.of))
	s.place, s.limits = s.f.keyOf(tag, "pace"), s.f.keyOf(tag, "limits")
	return s.place
}

func (s *pacing) gone() bool { return s.pacer.Value() == nil }

// News wakes the worker. See [pace.Peers].
func (s *pacing) News() {
	s.mu.Lock()
	s.urgent = true
	s.mu.Unlock()
	s.f.wake()
}

// alone says that the store is lost, or back. The pacer needs no word of it: what it does not
// hear it does not follow.
func (s *pacing) alone(yes bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lost = s.lost || yes && s.met
	if !yes && s.met {
		s.settles = time.Now().Add(settlesFor)
	}
}

// requests tells the store what the pacer reports, unless it is free.
func (s *pacing) requests(tick bool) []request {
	p := s.pacer.Value()
	if p == nil {
		return nil
	}
	s.mu.Lock()
	urgent := s.urgent
	due := tick || urgent || !s.met
	s.urgent = false
	s.mu.Unlock()
	if !due {
		return nil
	}
	r := p.Report()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.need = r.Need
	var pending []request
	learned := r.Rate.PerSecond > 0
	limited := r.Limits.RequestsPerMinute > 0 || r.Limits.TokensPerMinute > 0
	told := r.Told.After(s.sent) || r.Replaces && r.Told != s.sent
	exchange := tick && (learned || limited && r.Need > idle)
	if exchange || !s.met || r.Cut || told || r.Hurry {
		pending = append(pending, s.report(r, told))
	}
	if limited {
		s.rate = r.Allowed
		pending = append(pending, s.lease(p, r)...)
	}
	return pending
}

// idle is a need that is too small to tell.
const idle = 0.001

// report returns the call that tells the store of the rate and of told times.
func (s *pacing) report(r pace.Report, told bool) request {
	q := pacingReport{
		Me: s.f.id, Need: r.Need, Urgent: r.Hurry, TakesPart: !r.Free, Epoch: r.Rate.Epoch, Cut: r.Cut,
		Rate: r.Rate.PerSecond, Phase: phaseSteady, Known: r.Rate.Known,
		Toll: r.Rate.Toll.Milliseconds(), Calm: r.Rate.Calm.Milliseconds(), Held: r.Rate.Held.Milliseconds(), Asked: r.Rate.Asked.Milliseconds(), Turns: r.Rate.Turns,
	}
	switch {
	case r.Rate.SlowStart:
		q.Phase = phaseStart
	case r.Rate.Shut:
		q.Phase = phaseShut
	}
	if told {
		left := max(0, time.Until(r.Told).Milliseconds())
		q.Told, q.ToldAge, q.Replaces = &left, time.Since(r.ToldAt).Milliseconds(), r.Replaces
	}
	if s.lost && q.Rate > 0 {
		q.Part = max(s.part, leastPart)
		if r.Rate.Held < livingFor { // what it has used tells more than what it might have
			q.Rate = min(q.Rate, r.Sent/q.Part)
		}
	}
	return request{
		call: callOf(paceScript, s.place, q),
		done: func(result store.Result) {
			if result.Err != nil {
				return
			}
			s.mu.Lock()
			s.met, s.lost = true, false
			if told {
				s.sent = r.Told
			}
			s.mu.Unlock()
			s.follow(result.Text, r.Cut)
		},
	}
}

// told follows what another process has published, or this one.
func (s *pacing) told(text string) { s.follow(text, false) }

// follow makes the pacer follow a state of the store. cut says that it is the answer to a
// report of a cut.
func (s *pacing) follow(text string, cut bool) {
	var known pacingState
	p := s.pacer.Value()
	if p == nil || json.Unmarshal([]byte(text), &known) != nil {
		return
	}
	s.mu.Lock()
	if known.At < s.state && s.state-known.At < lateMost {
		s.mu.Unlock()
		return // it has come late
	}
	now := time.Now()
	s.state = known.At
	all := pace.Shared{
		Taken: cut && known.By == s.f.id,
		Rate: pace.Rate{
			Epoch: known.Epoch, PerSecond: known.Rate, SlowStart: known.Phase == phaseStart, Shut: known.Phase == phaseShut,
			Known: known.Known, Toll: ms(known.Toll), Calm: ms(known.Calm), Held: ms(known.Held), Asked: ms(known.Asked), Turns: known.Turns,
		},
	}
	if known.ToldAt != s.heard {
		s.heard = known.ToldAt
		all.Told, all.HasTold, all.Replaces = ms(known.Told), known.ToldBy != s.f.id && known.ToldAt != 0, known.Replaces
	}
	rate := known.Rate
	if rate == 0 {
		rate = s.rate
	}
	s.meet(now, known.Needs)
	if rate > 0 {
		all.Part, all.From, all.Processes = s.mine(rate)
		s.part = all.Part
	}
	s.mu.Unlock()
	p.Follow(all)
}

func ms(n int64) time.Duration { return time.Duration(n) * time.Millisecond }

// meet takes in what the other processes need, and forgets those that are silent.
func (s *pacing) meet(now time.Time, needs map[string][2]float64) {
	for id, n := range needs {
		if seen := now.Add(-ms(int64(n[1]))); id != s.f.id && !seen.Before(s.peers[id].seen) {
			s.peers[id] = peer{n[0], seen}
		}
	}
	if now.Before(s.settles) {
		return
	}
	for id, other := range s.peers {
		if now.Sub(other.seen) > livingFor {
			delete(s.peers, id)
		}
	}
}

// leastPart is what every process has, as a part of an equal part: its first request does not
// wait for the others to hear of it.
const leastPart = 0.05

// mine returns this process' part of a rate, where it begins among those of all, and their
// number.
func (s *pacing) mine(rate float64) (own, from float64, processes int) {
	ids := append(slices.Collect(maps.Keys(s.peers)), s.f.id)
	slices.Sort(ids)
	needs := make([]float64, len(ids))
	mine := 0
	for i, id := range ids {
		needs[i] = s.peers[id].need
		if id == s.f.id {
			mine, needs[i] = i, s.need
		}
	}
	parts := fair(rate, needs)
	for _, p := range parts[:mine] {
		from += p
	}
	return parts[mine], from, len(parts)
}

// fair divides a rate by max-min fairness (Bertsekas, Gallager, "Data Networks", 6.5.2): nobody
// gets more than it needs as long as others need more, and those who need more get the same.
// What is left is shared equally. The sum of the parts is 1.
func fair(rate float64, needs []float64) []float64 {
	n := float64(len(needs))
	floor := leastPart * rate / n
	sorted := slices.Clone(needs)
	slices.Sort(sorted)
	ceiling, left := math.Inf(1), rate
	for i, need := range sorted {
		equal := left / float64(len(sorted)-i)
		if max(need, floor) >= equal {
			ceiling, left = equal, 0 // all that follow get as much
			break
		}
		left -= max(need, floor)
	}
	parts := make([]float64, len(needs))
	for i, need := range needs {
		parts[i] = (min(max(need, floor), ceiling) + left/n) / rate
	}
	return parts
}

// lease returns the call that asks for a part of the configured limits, and gives back what
// was not used, if there is any of it.
func (s *pacing) lease(p *pace.Pacer, r pace.Report) []request {
	var late pace.Amount // used because the store was slow: it has come in for nobody meanwhile
	if s.failed {
		s.without.Requests += r.Alone.Requests
		s.without.Tokens += r.Alone.Tokens
	} else {
		late = r.Alone
	}
	s.used += r.Corrected
	if r.Ask == (pace.Amount{}) && r.Back == (pace.Amount{}) && s.without == (pace.Amount{}) && late == (pace.Amount{}) && s.used == 0 {
		return nil
	}
	alone, used := s.without, s.used
	s.used = max(0, used) // what comes back is lost, as below, if this fails
	q := struct {
		Requests limitOf `json:"requests"`
		Tokens   limitOf `json:"tokens"`
		At       int64   `json:"at"`
	}{gcra(r.Limits.RequestsPerMinute, 1), gcra(r.Limits.TokensPerMinute, 0), 0}
	q.Requests.Ask, q.Requests.Back, q.Requests.Alone, q.Requests.Corrected = r.Ask.Requests, r.Back.Requests, alone.Requests, late.Requests
	q.Tokens.Ask, q.Tokens.Back, q.Tokens.Alone, q.Tokens.Corrected = r.Ask.Tokens, r.Back.Tokens, alone.Tokens, late.Tokens+used
	at := time.Now()
	if !s.epoch.IsZero() {
		q.At = at.Sub(s.epoch).Microseconds()
	}
	return []request{{
		call: callOf(limitsScript, s.limits, q),
		done: func(result store.Result) {
			// What goes back is lost if this has failed: it may have come back, and must not twice.
			var lent struct {
				Wait int64 `json:"wait"` // microseconds; below 0: nothing is lent
				Now  int64 `json:"now,string"`
			}
			err := result.Err
			if err == nil {
				err = json.Unmarshal([]byte(result.Text), &lent)
			}
			s.mu.Lock()
			if s.failed = err != nil; s.failed {
				s.without.Requests += late.Requests
				s.without.Tokens += late.Tokens
				s.mu.Unlock()
				return
			}
			s.without.Requests -= alone.Requests
			s.without.Tokens -= alone.Tokens
			s.used -= max(0, used)
			s.epoch = at.Add(-time.Duration(lent.Now) * time.Microsecond)
			s.mu.Unlock()
			switch {
			case r.Ask == (pace.Amount{}):
			case lent.Wait < 0:
				s.News() // it asks again
			default:
				p.Lend(pace.Lease{
					Amount: r.Ask, In: time.Duration(lent.Wait) * time.Microsecond,
					For: leaseFor - time.Since(at), // it has begun when the store was at, at the earliest
				})
			}
		},
	}}
}
