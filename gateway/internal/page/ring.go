package page

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"math"
	"slices"
	"sync"
	"time"

	"llmcall"
	"llmcall/breaker"
	"llmcall/endpoint"
	"llmcall/internal/say"
	"llmcall/llm"
)

// The bounds of a Ring, beside the number of calls.
const (
	maxModels   = 200 // further ones are counted as "other"
	maxAttempts = 40  // of a call; of more, the last
	maxText     = 4000
	keptText    = 2 * maxText // of which the middle is not shown: a key may have been cut there
	maxError    = 400
	maxChanges  = 50
	maxLines    = 20       // complaints, notes, tools of an attempt
	maxCall     = 64 << 10 // bytes of the attempts' texts; what is over it is left out
	maxUnderway = 500      // calls, or as many as the ring has, if these are more
)

// Caller says on whose behalf a call is made. It is put into the call's context by [With].
type Caller struct {
	Client string       // the name of the gateway's client; "": not known
	Route  string       // the name that the client asked for
	ID     string       // of the request, as the client was told
	Prompt *llm.Request // kept only by a ring with contents
}

type callerKey struct{}

// With returns a context for a call, whose row in a [Ring] says on whose behalf it is.
func With(ctx context.Context, c Caller) context.Context {
	return context.WithValue(ctx, callerKey{}, c)
}

// Ring keeps the last calls, those under way, and how the models did in the last five
// minutes, in bounded memory. It is safe for concurrent use. [NewRing] makes one.
type Ring struct {
	contents bool

	mu         sync.Mutex
	size       int
	ended      []*callRow // a ring
	next       int
	running    map[uint64]*callRow
	left       int // calls under way that are not in running, because it is full
	models     map[string]*modelStats
	changes    []change // the oldest first
	lastChange uint64   // the number of the last of changes
}

// change is a change of a circuit's state.
type change struct {
	number   uint64
	key      endpoint.Key
	from, to breaker.State
	at       time.Time
	cause    string
	forced   bool
}

// callRow is a call. It is changed until it has ended.
type callRow struct {
	number   uint64
	caller   Caller
	start    time.Time
	attempts []attemptRow
	dropped  int // attempts before the first
	texts    int // bytes of the attempts' texts
	waiting  string
	until    time.Time // the end of the wait, as expected
	ended    bool
	duration time.Duration
	outcome  string // "valid", or the reason
	failed   bool
	errText  string
	model    string
	tokens   int64
	cost     llmcall.Cost
	prompt   string
	answer   string
}

// attemptRow is an attempt of a call.
type attemptRow struct {
	number     int
	model      string
	stage, why string
	start      time.Time
	open       bool // under way
	duration   time.Duration
	delay      time.Duration
	delayWhy   string
	outcome    llmcall.Outcome
	kind       string
	errText    string
	checks     []string // the names of the checks that complained
	complaints []string // what they said; only with contents
	answer     string   // only with contents
	notes      []string
	tools      []string
	circuit    string
	tokens     int64
	cost       llmcall.Cost
	hedge      bool // it is the second request of the attempt before
}

// NewRing returns a ring that keeps the last calls, at least 1, and those under way, of
// which it counts the 501st and further ones alone. With contents it keeps the prompts,
// answers and complaints of these too, each cut after 4,000 characters.
func NewRing(calls int, contents bool) *Ring {
	return &Ring{contents: contents, size: max(1, calls), running: map[uint64]*callRow{}, models: map[string]*modelStats{}}
}

// Observer returns the observer that fills the ring.
func (r *Ring) Observer() llmcall.Observer {
	return func(ctx context.Context, e llmcall.Event) context.Context {
		now := time.Now()
		var made, second *attemptRow // without the lock
		if e.Type == llmcall.EventAttemptStarted || e.Type == llmcall.EventAttemptEnded {
			made = r.attempt(&e.Attempt, now)
			if e.Attempt.Hedge != nil && e.Type == llmcall.EventAttemptEnded {
				second = r.attempt(e.Attempt.Hedge, now)
			}
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		if e.Type == llmcall.EventCallStarted {
			r.begin(ctx, e, now)
			return nil
		}
		if e.Type == llmcall.EventAttemptEnded {
			r.count(&e.Attempt, now)
		}
		c := r.running[e.Call]
		if c == nil {
			if e.Type == llmcall.EventCallEnded {
				r.left = max(0, r.left-1)
			}
			return nil
		}
		c.waiting = ""
		switch e.Type {
		case llmcall.EventWaiting:
			c.waiting = e.WaitReason.String()
			c.until = time.Time{}
			if e.Wait > 0 && e.Wait < math.MaxInt64 {
				c.until = now.Add(e.Wait)
			}
		case llmcall.EventAttemptStarted:
			c.add(*made)
		case llmcall.EventAttemptEnded:
			c.end(made, second)
		case llmcall.EventCallEnded:
			r.finish(c, e)
		}
		return nil
	}
}

// Changed records a change of a circuit's state, as
// [llmcall/endpoint.Config.OnStateChange] reports it.
func (r *Ring) Changed(e *endpoint.Endpoint, t breaker.Transition) {
	c := change{key: e.Key(), from: t.From, to: t.To, at: t.At, forced: t.Forced}
	if t.Cause != (breaker.Cause{}) {
		c.cause = t.Cause.String()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lastChange++
	c.number = r.lastChange
	if len(r.changes) == maxChanges {
		r.changes = slices.Delete(r.changes, 0, 1)
	}
	r.changes = append(r.changes, c)
}

func (r *Ring) begin(ctx context.Context, e llmcall.Event, now time.Time) {
	if len(r.running) >= max(r.size, maxUnderway) {
		r.left++
		return
	}
	c := &callRow{number: e.Call, start: now, model: line(e.Model, 200)}
	caller, _ := ctx.Value(callerKey{}).(Caller)
	if r.contents && caller.Prompt != nil {
		c.prompt = promptOf(caller.Prompt)
	}
	caller.Prompt = nil // not to keep the request
	caller.Client, caller.Route, caller.ID = line(caller.Client, 100), line(caller.Route, 100), line(caller.ID, 100)
	c.caller = caller
	r.running[e.Call] = c
}

// promptOf returns what is shown of a request: its last message.
func promptOf(q *llm.Request) string {
	if len(q.Messages) == 0 {
		return ""
	}
	return say.Middle(q.Messages[len(q.Messages)-1].Text(), keptText)
}

// add adds an attempt that has started.
func (c *callRow) add(a attemptRow) {
	if len(c.attempts) >= maxAttempts {
		c.texts -= c.attempts[0].size()
		c.attempts = slices.Delete(c.attempts, 0, 1)
		c.dropped++
	}
	if n := a.size(); c.texts+n <= maxCall {
		c.texts += n
	} else {
		a.answer, a.complaints, a.checks, a.notes, a.tools = "", nil, nil, nil, nil
		c.texts += a.size()
	}
	c.attempts = append(c.attempts, a)
}

// size returns how many bytes the texts of an attempt have.
func (a *attemptRow) size() int {
	n := len(a.model) + len(a.stage) + len(a.why) + len(a.errText) + len(a.answer)
	for _, all := range [][]string{a.checks, a.complaints, a.notes, a.tools} {
		for _, text := range all {
			n += len(text)
		}
	}
	return n
}

// end completes the attempt that is under way, and adds its second request, if it had one.
func (c *callRow) end(made, second *attemptRow) {
	made.open = false
	if n := len(c.attempts); n > 0 && c.attempts[n-1].number == made.number {
		c.texts -= c.attempts[n-1].size()
		c.attempts = c.attempts[:n-1]
	}
	c.add(*made)
	if second != nil {
		second.open, second.hedge, second.number = false, true, made.number
		c.add(*second)
	}
}

// attempt copies what is shown of an attempt.
func (r *Ring) attempt(a *llmcall.Attempt, now time.Time) *attemptRow {
	made := &attemptRow{
		number: a.Number, model: line(a.Model, 200), stage: line(a.Stage, 100), start: a.Start, open: true, duration: a.Duration,
		delay: a.Delay, outcome: a.Outcome, circuit: a.Circuit, tokens: a.Usage.InputTokens + a.Usage.OutputTokens + a.CheckUsage.InputTokens + a.CheckUsage.OutputTokens, cost: a.Cost,
		why: line(a.Why, 200),
	}
	if made.start.IsZero() {
		made.start = now
	}
	if a.Delay > 0 {
		made.delayWhy = a.DelayReason.String()
	}
	if a.Outcome != "" && a.Outcome != llmcall.OutcomeValid && a.Outcome != llmcall.OutcomeLost {
		made.kind = a.Kind.String()
	}
	if a.Error != "" {
		made.errText = harmless(a.LogValue())
	}
	for _, c := range a.Complaints[:min(len(a.Complaints), 5*maxLines)] {
		if check := line(c.Check, 100); !slices.Contains(made.checks, check) && len(made.checks) < maxLines {
			made.checks = append(made.checks, check)
		}
	}
	for _, n := range a.Notes[:min(len(a.Notes), maxLines)] {
		made.notes = append(made.notes, line(n, 200))
	}
	for _, t := range a.Tools[:min(len(a.Tools), maxLines)] {
		made.tools = append(made.tools, line(t.Name, 100)+" "+took(t.Duration))
	}
	if r.contents {
		made.answer = say.Middle(a.Answer, keptText)
		for _, c := range a.Complaints[:min(len(a.Complaints), maxLines)] {
			made.complaints = append(made.complaints, say.Short(c.String(), maxError))
		}
	}
	return made
}

// finish moves a call to those that have ended.
func (r *Ring) finish(c *callRow, e llmcall.Event) {
	c.ended, c.duration = true, e.Duration
	switch {
	case e.Result != nil:
		c.outcome, c.model = "valid", line(e.Result.Model, 200)
		if e.Result.Person != "" {
			c.outcome = line(string(e.Result.Person), 100)
		}
		c.take(&e.Result.Trace)
		if r.contents {
			c.answer = say.Middle(e.Result.Text, keptText)
		}
	default:
		c.failed = true
		c.refused(e.Err)
	}
	delete(r.running, c.number)
	if len(r.ended) < r.size {
		r.ended = append(r.ended, c)
		return
	}
	r.ended[r.next] = c
	r.next = (r.next + 1) % r.size
}

func (c *callRow) take(t *llmcall.Trace) {
	c.tokens, c.cost = t.Usage.InputTokens+t.Usage.OutputTokens, t.Cost
}

// refused records the error of a call.
func (c *callRow) refused(err error) {
	if e, ok := errors.AsType[*llmcall.HumanReviewError](err); ok {
		c.outcome, c.errText = string(llmcall.ReasonHumanReview), say.Short(e.Why, maxError)
		c.take(&e.Trace)
		return
	}
	if e, ok := errors.AsType[*llmcall.Error](err); ok {
		c.outcome, c.errText = string(e.Reason), harmless(e.LogValue())
		c.take(&e.Trace)
		return
	}
	c.outcome = "failed"
	if _, ok := errors.AsType[*llmcall.PanicError](err); ok {
		c.outcome = "panicked"
	}
}

// harmless returns the text of the error in what is logged of an attempt or a call: it
// is left out where it may quote an answer.
func harmless(v slog.Value) string {
	if v.Kind() != slog.KindGroup {
		return ""
	}
	for _, a := range v.Group() {
		if a.Key == "error" {
			return say.Short(a.Value.String(), maxError)
		}
	}
	return ""
}

// calls returns the calls as they are now: those under way, the oldest first, and those
// that have ended, that ended last first; and how many are under way besides.
func (r *Ring) calls() (running []callRow, ended []*callRow, left int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.running {
		now := *c
		now.attempts = slices.Clone(c.attempts)
		running = append(running, now)
	}
	slices.SortFunc(running, func(a, b callRow) int { return cmp.Compare(a.number, b.number) })
	for i := range r.ended {
		ended = append(ended, r.ended[(r.next+len(r.ended)-1-i)%len(r.ended)])
	}
	return running, ended, r.left
}

// changed returns the last changes of state, the oldest first.
func (r *Ring) changed() []change {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.changes)
}

// line writes a text in one line of at most n bytes. It reads no more of a long one.
func line(s string, n int) string { return say.Line(say.Short(s, n), n) }
