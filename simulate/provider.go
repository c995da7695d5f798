package simulate

import (
	"cmp"
	"container/list"
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"time"

	"llmcall/chaos"
	"llmcall/classify"
	"llmcall/internal/limiter"
	"llmcall/llm"
	"llmcall/pace"
	"llmcall/price"
)

// server is the provider of one model.
type server struct {
	run     *run
	id      uint64
	model   string
	face    face
	price   *price.Price // nil: not known
	spans   []span       // from the earliest on
	full    refusal      // of a request that finds the queue full
	traffic Traffic      // with the lock of run

	mu      sync.Mutex
	limits  *limiter.Limiter
	rates   limiter.Limits
	serving int
	queue   []*job
	hands   list.List // of *job: served, and hanging, in the order in which they began
}

// span is how a provider behaves from a time on.
type span struct {
	from time.Time
	Provider
	faults []fault
}

// fault is a compiled Fault.
type fault struct {
	Fault
	refusal refusal // of kind status
}

// job is a request in the provider's hands.
type job struct {
	timer   *time.Timer
	place   *list.Element // in the provider's hands
	service time.Duration // -1: for ever
	done    chan struct{} // closed when it is over, unless its client has left
	over    bool
	broken  bool   // by a restart
	left    bool   // its client has
	made    func() // called when the answer is made; nil: there is none
}

// newServer compiles what a scenario says about a model.
func (r *run) newServer(name string, id int) (*server, error) {
	base, ok := r.scenario.Models[name]
	if !ok {
		base = r.scenario.Provider
	}
	s := &server{run: r, id: uint64(id), model: name, face: faceOf(name), limits: limiter.New(limiter.Limits{})}
	var err error
	if s.full, err = s.face.errorOf(overloaded); err != nil {
		return nil, err
	}
	times := []time.Duration{0}
	for _, p := range r.scenario.Phases {
		times = append(times, p.From, p.To)
	}
	slices.Sort(times)
	for _, t := range slices.Compact(times) {
		next := span{from: r.start.Add(t), Provider: base}
		for _, p := range r.scenario.Phases {
			if p.lasts(t) && p.about(name) {
				p.apply(&next.Provider)
			}
		}
		if next.faults, err = s.compile(next.Faults); err != nil {
			return nil, err
		}
		s.spans = append(s.spans, next)
	}
	if p, found := r.cfg.Prices.Find(name); found {
		s.price = &p
	} else if p, found := price.Known(name); found {
		s.price = &p
	}
	return s, nil
}

func (s *server) compile(faults []Fault) (all []fault, err error) {
	for i, f := range faults {
		next := fault{Fault: f}
		next.Kind = cmp.Or(f.Kind, chaos.Right)
		next.Share = cmp.Or(f.Share, 1)
		if next.Kind == chaos.Slow {
			next.Delay = cmp.Or(f.Delay, 2*time.Second)
		}
		next.refusal = broken
		if next.Kind == chaos.Status {
			if next.refusal, err = s.face.errorOf(f.Fault); err != nil {
				return nil, fmt.Errorf("faults[%d]: %w", i, err)
			}
		}
		all = append(all, next)
	}
	return all, nil
}

// now returns how the provider behaves at the moment.
func (s *server) now() *span {
	now, i := time.Now(), len(s.spans)-1
	for i > 0 && s.spans[i].from.After(now) {
		i--
	}
	return &s.spans[i]
}

// fault draws what goes wrong with a request.
func (p *span) fault(chance float64) *fault {
	for i := range p.faults {
		if chance < p.faults[i].Share {
			return &p.faults[i]
		}
		chance -= p.faults[i].Share
	}
	return &fault{Fault: Fault{Fault: chaos.Fault{Kind: chaos.Right}}}
}

// reply is what a request gets.
type reply struct {
	ending   ending
	response *llm.Response
	refusal  *refusal
	told     *pace.Told // with an answer
}

// handle takes a request that has arrived, and returns what it gets when it leaves the
// provider.
func (s *server) handle(ctx context.Context, a *asked, chance *rand.Rand, req *llm.Request) reply {
	p := s.now()
	f := p.fault(chance.Float64())
	service := p.Latency.draw(chance) + apart(chance)
	t, over := s.admit(a, p, req)
	if over != nil {
		return reply{ending: refused, refusal: over}
	}
	if f.Kind == chaos.Status || f.Kind == chaos.Reset {
		if f.Delay > 0 && !s.run.sleep(ctx, f.Delay) {
			return reply{ending: left}
		}
		return reply{ending: endingOf(f.refusal), refusal: &f.refusal}
	}
	j := &job{service: service + f.Delay, done: make(chan struct{})}
	out := s.answer(f, a, p, req, chance)
	switch f.Kind {
	case chaos.Hang:
		j.service = -1
	case chaos.Cut:
		j.service = service/2 + f.Delay
		out = reply{ending: failed, refusal: &cutOff}
	default:
		j.made = func() {
			s.bill(a, out.response.Usage)
			if t != nil {
				out.told = t.answered(out.response.Usage)
			}
		}
	}
	switch s.serve(ctx, j, p) {
	case queueFull:
		return reply{ending: refused, refusal: &s.full}
	case gone:
		return reply{ending: left}
	case restarted:
		return reply{ending: failed, refusal: &broken}
	}
	return out
}

// answer makes the answer of a request with a fault.
func (s *server) answer(f *fault, a *asked, p *span, req *llm.Request, chance *rand.Rand) reply {
	r := &llm.Response{Finish: llm.FinishStop, Model: s.model}
	r.Usage = llm.Usage{InputTokens: a.group.tokens(), OutputTokens: p.answerTokens()}
	out, text := reply{ending: wrong, response: r}, fmt.Sprintf("%s %x", f.Kind, chance.Uint64()) // a model seldom gives the same wrong answer twice
	switch f.Kind {
	case chaos.Right, chaos.Slow:
		out.ending, text = right, rightText
	case chaos.Empty:
		text = ""
	case chaos.Length:
		r.Finish = llm.FinishLength
	case chaos.Filter, chaos.Refuse:
		r.Finish = llm.FinishFiltered
	}
	if n := int64(req.MaxTokens); n > 0 && r.Usage.OutputTokens > n {
		out.ending, r.Finish, r.Usage.OutputTokens = wrong, llm.FinishLength, n
	}
	r.Message = llm.Assistant(text)
	return out
}

// rightText is the text of a right answer.
const rightText = "right"

func (p *Provider) answerTokens() int64 { return int64(cmp.Or(p.AnswerTokens, DefaultAnswerTokens)) }

// The ways out of the provider's hands.
const (
	served = iota
	queueFull
	gone
	restarted
)

// serve gives a request a place, after a wait in the queue if necessary, and returns when it
// is over, or its client leaves.
func (s *server) serve(ctx context.Context, j *job, p *span) int {
	s.mu.Lock()
	switch l := p.Limits; {
	case l == nil || l.Concurrent == 0 || s.serving < l.Concurrent:
		s.begin(j, p)
	case len(s.queue) >= l.Queue:
		s.mu.Unlock()
		return queueFull
	default:
		s.queue = append(s.queue, j)
	}
	s.mu.Unlock()
	select {
	case <-j.done:
		if j.broken {
			return restarted
		}
		return served
	case <-ctx.Done():
		s.leave(j)
		return gone
	}
}

// begin begins to work on a request. The caller holds the lock.
func (s *server) begin(j *job, p *span) {
	s.serving++
	j.place = s.hands.PushBack(j)
	if j.service < 0 {
		return
	}
	at := s.run.clock.after(j.service + p.PerRequest*time.Duration(s.serving))
	j.timer = time.AfterFunc(time.Until(at), func() { s.finish(j) })
}

// finish ends the work on a request.
func (s *server) finish(j *job) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if j.over {
		return
	}
	if j.made != nil {
		j.made()
	}
	s.release(j)
	if !j.left {
		close(j.done)
	}
}

// release takes a request out of the provider's hands, and begins with the next of the
// queue. The caller holds the lock.
func (s *server) release(j *job) {
	j.over = true
	s.serving--
	s.hands.Remove(j.place)
	p := s.now()
	for len(s.queue) > 0 && (p.Limits == nil || p.Limits.Concurrent == 0 || s.serving < p.Limits.Concurrent) {
		next := s.queue[0]
		s.queue = s.queue[1:]
		s.begin(next, p)
	}
}

// leave is called when a client does not wait any longer.
func (s *server) leave(j *job) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if j.over {
		return
	}
	j.left = true
	if s.now().KeepsWorking && j.service >= 0 {
		return
	}
	if i := slices.Index(s.queue, j); i >= 0 {
		s.queue, j.over = slices.Delete(s.queue, i, i+1), true
		return
	}
	if j.timer != nil {
		j.timer.Stop()
	}
	s.release(j)
}

// restart breaks all requests that are in the provider's hands, each at its own time.
func (s *server) restart() {
	s.mu.Lock()
	var all []*job
	for e := s.hands.Front(); e != nil; e = e.Next() {
		all = append(all, e.Value.(*job))
	}
	all = append(all, s.queue...)
	s.hands.Init()
	s.queue, s.serving = nil, 0
	for _, j := range all {
		j.over, j.broken = true, true
		if j.timer != nil {
			j.timer.Stop()
		}
	}
	s.mu.Unlock()
	for _, j := range all {
		if !j.left {
			close(j.done)
			time.Sleep(time.Until(s.run.clock.after(0)))
		}
	}
}

// ticket is a request that the limits have admitted.
type ticket struct {
	server  *server
	account *limiter.Account
	limits  *chaos.Limits
	charged bool // with the answer's tokens too
}

// admit counts a request toward the limits, or refuses it. Without limits both results are
// nil.
func (s *server) admit(a *asked, p *span, req *llm.Request) (*ticket, *refusal) {
	var rates limiter.Limits
	if l := p.Limits; l != nil {
		rates = limiter.Limits{RequestsPerMinute: l.RequestsPerMinute, TokensPerMinute: l.TokensPerMinute, Burst: l.Burst, Windows: l.Window == chaos.WindowMinute}
	}
	now := time.Now()
	s.mu.Lock()
	if rates != s.rates {
		s.limits.Change(rates, now)
		s.rates = rates
	}
	s.mu.Unlock()
	if rates == (limiter.Limits{}) {
		return nil, nil
	}
	t := &ticket{server: s, limits: p.Limits, charged: req.MaxTokens > 0 && s.face.name == classify.OpenAI}
	tokens := a.group.tokens()
	if t.charged {
		tokens += int64(req.MaxTokens)
	}
	var over *limiter.Excess
	if t.account, over = s.limits.Admit(s.limits.Owner(a.group.Key, s.model), tokens, now); over != nil {
		r := s.face.overLimit(over, p.Limits, t.header(now), now)
		return nil, &r
	}
	return t, nil
}

// header returns the headers about limits.
func (t *ticket) header(now time.Time) http.Header {
	return t.server.face.limitHeader(t.limits, t.server.limits.Rooms(t.account, now), now)
}

// answered counts the tokens of an answer, and returns what its headers say.
func (t *ticket) answered(u llm.Usage) *pace.Told {
	now := time.Now()
	if !t.charged {
		t.server.limits.Charge(t.account, u.OutputTokens, now)
	}
	return classify.Told(t.server.face.name, t.header(now), now)
}

// inHands returns how many requests the provider works on, or has in its queue.
func (s *server) inHands() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.serving + len(s.queue)
}
