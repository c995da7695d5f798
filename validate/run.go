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

// Report is the result of [Run]. The answer passes if both Complaints and Failed
// are empty.
type Report struct {
	Complaints []Complaint   // in the order of the checks, each with its check's name
	Failed     []*CheckError // the checks that failed, by index
	Passed     []string      // the names of the checks that ran and did not complain
	Skipped    []string      // the names of the costly checks that did not run, because others complained or failed
	Decoded    bool          // Value and Text are set, by the first check that decoded the answer
	Value      any           // the decoded JSON value, with numbers as [json.Number]
	Text       string        // the text that Value was decoded from
	Repaired   []Repair      // what was changed in the answer to make it JSON
	Advice     Advice        // the largest of all checks
	Usage      llm.Usage     // the tokens that the checks themselves used

	skipped []int // the places of those in Skipped
}

// Costly is implemented by expensive checks, such as those that ask a model. [Run]
// runs them after all others, and only if those pass the answer. [All], [Any], [Not]
// and [At] are costly if one of their checks is.
//
// A check that asks models should also have a method Models() []string with their full
// names, so that a call with a ceiling of money is refused, if one has no known price, before
// its first request. Those of judges, [All], [Any], [Not] and [At] have it.
type Costly interface {
	// Costly reports whether the check is expensive. It always returns the same.
	Costly() bool
}

// maxAtOnce bounds how many checks of one Run run at the same time.
const maxAtOnce = 8

// Run runs all checks and reports their results in the order of the slice. A
// complaint of one check does not stop the others, so that the model hears of all
// its mistakes at once. Only [Costly] checks run last, and are skipped if another
// check complained or failed: their cost would be wasted on an answer that is wrong
// anyway. A check that panics, returns an error or takes longer than timeout (0: no
// limit) becomes a [CheckError] and does not stop the others. So does each check
// that has not ended when ctx ends.
//
// Checks that can't hang, such as [NotEmpty], [Length] and [JSON], run one after the
// other on the caller's goroutine, unless the text is longer than 64 KiB. The others
// run concurrently, up to eight at a time, each on its own goroutine and with the
// whole timeout. A check that ignores its context is abandoned at its timeout, or
// when ctx ends: its goroutine lives until the check returns, and the tokens that it
// used are not counted. A check that calls [runtime.Goexit] (as testing.T.FailNow
// does) becomes a CheckError. If there is only one such check, no timeout, and a
// context that can't end, it runs on the caller's goroutine too.
func Run(ctx context.Context, checks []Strategy, a *Answer, timeout time.Duration) Report {
	return runAll(ctx, checks, a, timeout, anyRepairs(checks))
}

// runAll is [Run]; repair reports whether one of the answer's checks repairs it,
// which may not be among these checks.
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

// Again runs again the checks in Failed, and then those in Skipped. checks and a are
// those that [Run] was called with. Again updates Failed and Skipped, and adds the
// new results to the report.
//
// may selects which of the failed checks run again. Default nil: all. The others
// stay in Failed, and while there are any the answer can't pass, so that the skipped
// checks stay skipped.
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

// outcome is the result of one check.
type outcome struct {
	verdict Verdict
	failed  *CheckError
	skipped bool
}

// right reports whether the checks that have run so far pass the answer.
func right(outcomes []outcome) bool {
	for i := range outcomes {
		o := &outcomes[i]
		if o.failed != nil || len(o.verdict.Complaints) > 0 || o.verdict.Advice != Again {
			return false
		}
	}
	return true
}

// take adds the outcome of the check at an index.
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

// add adds a verdict, and reports whether it passes the answer.
func (r *Report) add(name string, v Verdict) bool {
	if len(v.Complaints) == 0 && v.Advice != Again {
		// Without a complaint the answer would pass, and the advice would be lost.
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

// run is one call of [Run].
type run struct {
	checks  []Strategy
	answer  Answer
	decoded memo
	timeout time.Duration
}

// group is the checks that run concurrently, each on a goroutine of its own, so that
// it can be abandoned.
type group struct {
	*run
	ctx     context.Context
	waiting []int     // the indexes of those that have not begun
	running []running // the oldest first: all have the same timeout, so its time is up first
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

// begin begins the checks at the indexes; it returns nil if there are none.
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

// next begins the first of the waiting checks.
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

// explain adds the check's name to its failure, and the timeout if that is the
// cause.
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

// modelsOf returns the full names of the models that checks ask.
func modelsOf(checks ...Strategy) []string {
	var all []string
	for _, check := range checks {
		if asks, ok := check.(interface{ Models() []string }); ok {
			all = append(all, asks.Models()...)
		}
	}
	return all
}

// isCostly asks the check. One that panics is not costly: the panic will be reported
// when it runs.
func isCostly(check Strategy) (costly bool) {
	c, ok := check.(Costly)
	if !ok {
		return false
	}
	defer func() { _ = recover() }()
	return c.Costly()
}

// instant is implemented by checks that take microseconds per kilobyte of text,
// whatever the text. A goroutine would cost more than the check.
type instant interface{ instant() bool }

func isInstant(check Strategy, a *Answer) bool {
	const longest = 64 << 10
	i, ok := check.(instant)
	return ok && len(a.Text) <= longest && i.instant() && !a.decoded.repairs()
}

// guard runs one check on this goroutine and turns a panic, an error and a
// context that has ended into a [CheckError].
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
	v = Verdict{Usage: v.Usage, Skipped: v.Skipped} // the rest of a failed check means nothing
	if own, ok := err.(*CheckError); ok && own != nil && (own.Check == "" || own.Check == failed.Check) {
		failed.Err, failed.Panicked = own.Err, own.Panicked
	}
	return v, failed
}

// nameOf returns the check's name, or "" if Name panics: a check that panics may do
// so there too.
func nameOf(check Strategy) (name string) {
	defer func() { _ = recover() }()
	if check == nil {
		return ""
	}
	return check.Name()
}
