package validate

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"time"

	"llmcall/llm"
)

// Report is what all checks together say of an answer. It passes when there
// are neither Complaints nor Failed checks.
type Report struct {
	Complaints []Complaint   // in the order of the checks, each with its check's name
	Failed     []*CheckError // the checks that could not be made
	Passed     []string      // the names of the checks that were made and did not complain
	Skipped    []string      // the names of the costly checks that were not made, since others complained or could not be made
	Decoded    bool          // Value and Text are set, by the first check that decoded the answer
	Value      any           // the decoded JSON value, with numbers as json.Number
	Text       string        // the cleaned text that Value was decoded from
	Repaired   []Repair      // what was changed in the answer to make JSON of it
	Advice     Advice        // the weightiest of all checks
	Usage      llm.Usage     // the tokens that the checks themselves used

	skipped []int // the places of those in Skipped
}

// Costly is what a check has that is expensive, as one is that asks a model:
// Run makes it after all others, and only of an answer that they pass. A
// combination is costly if one of its checks is.
type Costly interface {
	// Costly is the same at every call.
	Costly() bool
}

// maxAtOnce bounds how many checks of one Run are made at the same time.
const maxAtOnce = 8

// Run makes all checks, and reports them in the order of the slice. None is left
// out because another complained, but for costly checks (see Costly): they are
// made last, and are Skipped if another complained or could not be made, since
// what they cost would be wasted on an answer that is wrong anyway. A check that
// panics, returns an error or takes longer than timeout (0: no limit) is a
// CheckError and keeps no other from being made, and once ctx has ended, so is
// one that has not ended.
//
// NotEmpty, Length, Contains, JSON and the like, which can't hang, are made on
// the caller's own goroutine, one after the other, unless the text is very long.
// All others are made at the same time as each other, up to eight at once, each
// on a goroutine of its own and with the whole timeout. A check that ignores its
// context is abandoned at its timeout, or when ctx ends: its goroutine ends
// when the check returns, and the tokens that it used are not known. A check
// that calls runtime.Goexit (as testing.T.FailNow does) is a CheckError. Where
// there is only one such check, and neither a timeout nor a context that can
// end, it is made on the caller's goroutine too.
func Run(ctx context.Context, checks []Strategy, a *Answer, timeout time.Duration) Report {
	return runAll(ctx, checks, a, timeout, anyRepairs(checks))
}

// runAll is Run. repair says that one of all the checks of the answer repairs.
func runAll(ctx context.Context, checks []Strategy, a *Answer, timeout time.Duration, repair bool) Report {
	var report Report
	if len(checks) == 0 {
		return report
	}
	r := &run{checks: checks, timeout: timeout}
	r.decoded.repair = repair
	if a != nil {
		r.answer = Answer{Text: a.Text, Response: a.Response, Request: a.Request, Attempt: a.Attempt}
	}
	r.decoded.text, r.answer.decoded = r.answer.Text, &r.decoded
	var few [4]outcome // most answers have no more checks: these cost no allocation
	outcomes := few[:]
	if len(checks) > len(few) {
		outcomes = make([]outcome, len(checks))
	}
	outcomes = outcomes[:len(checks)]

	var slow, costly []int
	for i, check := range checks {
		switch {
		case isCostly(check):
			costly = append(costly, i)
		case !isInstant(check, &r.answer):
			slow = append(slow, i)
		}
	}
	begun := r.begin(ctx, slow)
	for i, check := range checks {
		if !isCostly(check) && isInstant(check, &r.answer) {
			outcomes[i].verdict, outcomes[i].failed = guard(ctx, check, &r.answer)
		}
	}
	begun.wait(outcomes)
	switch {
	case len(costly) == 0:
	case right(outcomes):
		r.begin(ctx, costly).wait(outcomes)
	default:
		for _, i := range costly {
			outcomes[i].skipped = true
		}
	}
	report.Passed = make([]string, 0, len(checks))
	for i, check := range checks {
		report.take(i, check, &outcomes[i])
	}
	return report
}

// Again makes the checks again that could not be made, and the costly ones that
// were skipped for that, of the checks and the answer that r is the report of.
// It replaces what r says of them, and adds to Passed and Usage.
//
// may, if it is not nil, says which of those in Failed are made again. The others
// stay there; while one does the answer can't pass, and those in Skipped stay too.
func (r *Report) Again(ctx context.Context, checks []Strategy, a *Answer, timeout time.Duration, may func(*CheckError) bool) {
	var places []int
	var kept []*CheckError
	for _, f := range r.Failed {
		if may == nil || may(f) {
			places = append(places, f.Index)
		} else {
			kept = append(kept, f)
		}
	}
	var skipped []string
	var still []int
	for i, place := range r.skipped {
		switch {
		case len(kept) == 0:
			places = append(places, place)
		case !slices.Contains(places, place): // a combination is made again whole
			skipped, still = append(skipped, r.Skipped[i]), append(still, place)
		}
	}
	slices.Sort(places)
	places = slices.Compact(places) // a combination may both have failed and have skipped
	again := make([]Strategy, len(places))
	for i, place := range places {
		again[i] = checks[place]
	}
	second := runAll(ctx, again, a, timeout, anyRepairs(checks))
	for _, f := range second.Failed {
		f.Index = places[f.Index]
	}
	for i, place := range second.skipped {
		second.skipped[i] = places[place]
	}
	r.Complaints = append(r.Complaints, second.Complaints...)
	r.Failed, r.Skipped, r.skipped = append(kept, second.Failed...), append(skipped, second.Skipped...), append(still, second.skipped...)
	slices.SortStableFunc(r.Failed, func(a, b *CheckError) int { return a.Index - b.Index })
	r.Passed = append(r.Passed, second.Passed...)
	r.Advice = max(r.Advice, second.Advice)
	r.Usage = r.Usage.Add(second.Usage)
	if !r.Decoded {
		r.Decoded, r.Value, r.Text, r.Repaired = second.Decoded, second.Value, second.Text, second.Repaired
	}
}

// outcome is what came of one check.
type outcome struct {
	verdict Verdict
	failed  *CheckError
	skipped bool
}

// right reports whether what has been made so far passes the answer.
func right(outcomes []outcome) bool {
	for i := range outcomes {
		o := &outcomes[i]
		if o.failed != nil || len(o.verdict.Complaints) > 0 || o.verdict.Advice != Again {
			return false
		}
	}
	return true
}

// take adds what came of the check at a place.
func (r *Report) take(place int, check Strategy, o *outcome) {
	name := nameOf(check)
	r.Usage = r.Usage.Add(o.verdict.Usage)
	if o.skipped {
		r.skip(place, name)
		return
	}
	for _, inner := range o.verdict.Skipped {
		r.skip(place, inner)
	}
	if o.failed != nil {
		if o.failed.Check == "" {
			o.failed.Check = fmt.Sprintf("check %d", place+1)
		}
		o.failed.Index = place
		r.Failed = append(r.Failed, o.failed)
		return
	}
	if r.add(name, o.verdict) {
		r.Passed = append(r.Passed, name)
	}
}

func (r *Report) skip(place int, name string) {
	r.Skipped = append(r.Skipped, name)
	r.skipped = append(r.skipped, place)
}

// add adds what a check says of the answer, and reports whether it passes it.
func (r *Report) add(name string, v Verdict) bool {
	if len(v.Complaints) == 0 && v.Advice != Again {
		// Without a complaint the answer would pass, and the advice be lost.
		v.Complaints = []Complaint{{Problem: "the check gave the advice " + fmt.Sprintf("%q", v.Advice) + " and no reason"}}
	}
	for _, c := range v.Complaints {
		if c.Check == "" {
			c.Check = name
		}
		r.Complaints = append(r.Complaints, c)
	}
	r.Advice = max(r.Advice, v.Advice)
	if v.Decoded && !r.Decoded {
		r.Decoded, r.Value, r.Text, r.Repaired = true, v.Value, v.Text, v.Repaired
	}
	return len(v.Complaints) == 0
}

// run is one Run.
type run struct {
	checks  []Strategy
	answer  Answer
	decoded memo
	timeout time.Duration
}

// group are checks that are made at the same time as each other, each on a
// goroutine of its own, so that it can be abandoned.
type group struct {
	*run
	ctx     context.Context
	waiting []int     // the places of those that have not begun
	running []running // the oldest first: since all have the same time, it is the first whose time is up
	ended   chan ended
}

type running struct {
	place  int
	ctx    context.Context
	cancel context.CancelFunc
}

type ended struct {
	place int
	outcome
}

// begin begins the checks at the places; nil, if there are none.
func (r *run) begin(ctx context.Context, places []int) *group {
	if len(places) == 0 {
		return nil
	}
	g := &group{run: r, ctx: ctx, waiting: places}
	if g.alone() {
		return g
	}
	g.ended = make(chan ended, len(places)) // room for all, so that an abandoned one can end
	for range min(len(places), maxAtOnce) {
		g.next()
	}
	return g
}

// alone reports whether there is only one check, which never has to be
// abandoned.
func (g *group) alone() bool {
	return len(g.waiting) == 1 && len(g.running) == 0 && g.timeout <= 0 && g.ctx.Done() == nil
}

// next begins the first of the checks that wait.
func (g *group) next() {
	place := g.waiting[0]
	g.waiting = g.waiting[1:]
	own, cancel := g.ctx, context.CancelFunc(func() {})
	if g.timeout > 0 {
		own, cancel = context.WithTimeout(g.ctx, g.timeout)
	}
	g.running = append(g.running, running{place, own, cancel})
	go func() {
		e := ended{place, outcome{failed: &CheckError{Err: errors.New("it called runtime.Goexit")}}}
		defer func() { g.ended <- e }()
		e.verdict, e.failed = guard(own, g.checks[place], &g.answer)
	}()
}

// wait waits until each check has ended or has to be abandoned.
func (g *group) wait(outcomes []outcome) {
	if g == nil {
		return
	}
	if g.ended == nil {
		place := g.waiting[0]
		outcomes[place].verdict, outcomes[place].failed = guard(g.ctx, g.checks[place], &g.answer)
		return
	}
	for len(g.running) > 0 {
		oldest := g.running[0]
		var e ended
		select {
		case e = <-g.ended:
		case <-oldest.ctx.Done():
			select {
			case e = <-g.ended: // in time after all, if it is the oldest's
			default:
				e = ended{oldest.place, outcome{failed: &CheckError{Err: oldest.ctx.Err()}}}
			}
		}
		i := slices.IndexFunc(g.running, func(r running) bool { return r.place == e.place })
		if i < 0 { // it was abandoned, and its goroutine has ended now
			continue
		}
		g.explain(e.failed, g.running[i])
		outcomes[e.place] = e.outcome
		g.running[i].cancel()
		g.running = slices.Delete(g.running, i, i+1)
		if len(g.waiting) > 0 {
			g.next()
		}
	}
}

// explain names the check that failed, and says so if it was its time that was
// up.
func (g *group) explain(failed *CheckError, r running) {
	if failed == nil {
		return
	}
	if failed.Check == "" {
		failed.Check = nameOf(g.checks[r.place])
	}
	why := r.ctx.Err()
	if why == nil || failed.Panicked {
		return
	}
	if g.ctx.Err() == nil {
		why = fmt.Errorf("%w (the limit is %v)", ErrTimeout, g.timeout)
	}
	if !errors.Is(failed.Err, r.ctx.Err()) {
		why = fmt.Errorf("%w: %w", why, failed.Err)
	}
	failed.Err = why
}

// isCostly asks the check; one that panics is not: it will be seen to panic when
// it is made.
func isCostly(check Strategy) (costly bool) {
	c, ok := check.(Costly)
	if !ok {
		return false
	}
	defer func() { _ = recover() }()
	return c.Costly()
}

// instant is what a check has that ends within microseconds for each kilobyte
// of text, whatever the text. A goroutine would cost more than the check.
type instant interface{ instant() bool }

func isInstant(check Strategy, a *Answer) bool {
	const longest = 64 << 10
	i, ok := check.(instant)
	return ok && len(a.Text) <= longest && i.instant() && !a.decoded.repairs()
}

// guard makes one check on this goroutine and turns a panic, an error and a
// context that has ended into a CheckError.
func guard(ctx context.Context, check Strategy, a *Answer) (v Verdict, failed *CheckError) {
	if check == nil {
		return Verdict{}, &CheckError{Err: errors.New("it is nil")}
	}
	defer func() {
		if p := recover(); p != nil {
			v = Verdict{}
			failed = &CheckError{Check: nameOf(check), Err: &PanicError{p, debug.Stack()}, Panicked: true}
		}
	}()
	if err := ctx.Err(); err != nil {
		return Verdict{}, &CheckError{Check: check.Name(), Err: err}
	}
	v, err := check.Check(ctx, a)
	if err == nil {
		return v, nil
	}
	failed = &CheckError{Check: check.Name(), Err: err}
	v = Verdict{Usage: v.Usage, Skipped: v.Skipped} // of a check that failed nothing else counts
	if own, ok := err.(*CheckError); ok && own != nil && (own.Check == "" || own.Check == failed.Check) {
		failed.Err, failed.Panicked = own.Err, own.Panicked
	}
	return v, failed
}

// nameOf returns the check's name; "" if there is none to be had, since a
// check that panics may do so in Name too.
func nameOf(check Strategy) (name string) {
	defer func() { _ = recover() }()
	if check == nil {
		return ""
	}
	return check.Name()
}
