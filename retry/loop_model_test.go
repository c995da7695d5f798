package retry_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"llmcall/backoff"
	"llmcall/breaker"
	"llmcall/endpoint"
	"llmcall/failure"
	"llmcall/retry"
)

// checks sets how many cases rapid tries: n, or what the environment variable
// LLMCALL_MODEL_PLANS says.
func checks(t *testing.T, n int) {
	t.Helper()
	if v := os.Getenv("LLMCALL_MODEL_PLANS"); v != "" {
		var err error
		if n, err = strconv.Atoi(v); err != nil {
			t.Fatal(err)
		}
	}
	f := flag.Lookup("rapid.checks")
	before := f.Value.String()
	if err := f.Value.Set(strconv.Itoa(n)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Value.Set(before) })
}

// deed is what the provider does in one attempt.
type deed struct {
	took   time.Duration // ended earlier by its context
	fails  bool
	kind   failure.Kind
	status int
	told   time.Duration // -1: no Retry-After
	stop   int           // 1: NoRetry, 2: retry.Stop
	own    bool          // the error of a context of the function's own
	wrong  bool          // an answer, of which Wrong says so with kind
}

func (d deed) err() error {
	switch {
	case d.own:
		return fmt.Errorf("sdk: %w", context.DeadlineExceeded)
	case !d.fails && !d.wrong:
		return nil
	}
	var err error = &failure.Error{Kind: d.kind, Status: d.status, Told: d.told >= 0, RetryAfter: max(0, d.told), NoRetry: d.stop == 1}
	if d.stop == 2 {
		err = fmt.Errorf("wrapped: %w", retry.Stop(err))
	}
	return err
}

// plan is one call: what the provider does, and what the caller allows.
type plan struct {
	deeds    []deed // then answers
	deadline time.Duration
	cancel   time.Duration
	config   retry.Config
	delays   string // the name of the backoff
	do       bool   // by Do rather than by Call
	circuit  *breaker.Config
	open     time.Duration // how long the circuit is open at the start
}

func (p plan) String() string {
	c := p.config
	text := fmt.Sprintf("attempts %d, time %v, attempt %v, retry after %v, limits %v, wait for circuit %v, %s; deadline %v, cancel %v, do %v\n",
		c.MaxAttempts, c.MaxTime, c.AttemptTimeout, c.MaxRetryAfter, c.MaxRateLimitWait, c.WaitForCircuit, p.delays, p.deadline, p.cancel, p.do)
	if p.circuit != nil {
		text += fmt.Sprintf("circuit %+v, open for %v\n", *p.circuit, p.open)
	}
	for _, d := range p.deeds {
		text += fmt.Sprintf("  %+v\n", d)
	}
	return text
}

var delays = map[string]backoff.Strategy{
	"1 s, 2 s, 4 s":                exact,
	"0, 1 s, 2 s":                  backoff.Func(func(n int) time.Duration { return time.Duration(n) * s }),
	"none":                         backoff.Constant{},
	"300 ms, ×3, at most 1 minute": backoff.Exponential{Initial: 300 * time.Millisecond, Factor: 3, Max: time.Minute, Jitter: backoff.NoJitter},
}

func drawPlan(rt *rapid.T) plan {
	const ms = time.Millisecond
	// Times differ by nanoseconds, so that few of them fall together.
	odd := func(label string, of ...time.Duration) time.Duration {
		d := rapid.SampledFrom(of).Draw(rt, label)
		if d == 0 {
			return 0
		}
		return d + time.Duration(rapid.IntRange(0, 2).Draw(rt, label+" odd"))
	}
	kinds := []failure.Kind{failure.Transient, failure.Transient, failure.Unknown, failure.RateLimited, failure.RateLimited, failure.Overloaded, failure.InvalidAnswer,
		failure.CutOff, failure.QuotaExhausted, failure.Unauthorized, failure.ModelNotFound, failure.InvalidRequest, failure.ContextTooLong,
		failure.ContentFiltered, failure.CheckUnavailable, failure.AttemptTimeout}
	deeds := rapid.SliceOfN(rapid.Custom(func(rt *rapid.T) deed {
		d := deed{told: -1, took: odd("took", 0, 0, 10*ms, 900*ms, 7*s, 31*s)}
		d.kind = rapid.SampledFrom(kinds).Draw(rt, "kind")
		switch rapid.IntRange(0, 11).Draw(rt, "what") {
		case 0:
			d.own, d.fails, d.kind = true, true, failure.Transient
		case 1, 2:
			d.wrong = true
			d.kind = rapid.SampledFrom([]failure.Kind{failure.InvalidAnswer, failure.CutOff, failure.ContentFiltered, failure.CheckUnavailable}).Draw(rt, "wrong")
		default:
			d.fails = true
			d.status = rapid.SampledFrom([]int{0, 400}).Draw(rt, "status")
			if k := d.kind; k == failure.Transient || k == failure.RateLimited || k == failure.Overloaded || k == failure.QuotaExhausted {
				d.told = rapid.SampledFrom([]time.Duration{-1, -1, 0, ms, 150 * ms, s, 9 * s, 10 * s, 119 * s, 121 * s, time.Hour}).Draw(rt, "told")
			}
			d.stop = rapid.SampledFrom([]int{0, 0, 0, 0, 0, 0, 0, 1, 2}).Draw(rt, "stop")
		}
		return d
	}), 0, 14).Draw(rt, "deeds")
	var p plan
	p.deeds = deeds
	if rapid.IntRange(0, 2).Draw(rt, "bounded") == 0 {
		p.deadline = odd("deadline", 0, 5*ms, s, 3*s, 29*s, 40*s, 200*s)
	}
	if rapid.IntRange(0, 3).Draw(rt, "cancelled") == 0 {
		p.cancel = odd("cancel", 0, 500*ms, 4*s, 35*s, 100*s)
	}
	p.delays = rapid.SampledFrom([]string{"1 s, 2 s, 4 s", "0, 1 s, 2 s", "none", "300 ms, ×3, at most 1 minute"}).Draw(rt, "backoff")
	p.config = retry.Config{
		MaxAttempts:      rapid.IntRange(0, 7).Draw(rt, "attempts"),
		MaxTime:          odd("time", 0, 0, 0, 2*s, 33*s, 5*time.Minute),
		AttemptTimeout:   odd("attempt", 0, 0, 800*ms, 30*s),
		MaxRetryAfter:    rapid.SampledFrom([]time.Duration{0, 0, 10 * s}).Draw(rt, "retry after"),
		MaxRateLimitWait: rapid.SampledFrom([]time.Duration{0, 0, 20 * s, 400 * ms}).Draw(rt, "limits"),
		Backoff:          delays[p.delays],
	}
	p.do = rapid.Bool().Draw(rt, "do")
	if rapid.Bool().Draw(rt, "circuit") {
		p.config.WaitForCircuit = rapid.Bool().Draw(rt, "wait for circuit")
		p.circuit = &breaker.Config{
			FailureThreshold: rapid.IntRange(1, 4).Draw(rt, "threshold"), FailureRate: -1, FailureWindow: 1000 * time.Hour,
			RecoveryTimeout:  rapid.SampledFrom([]time.Duration{100 * ms, 6 * s, 60 * s}).Draw(rt, "recovery"),
			SuccessThreshold: rapid.IntRange(1, 3).Draw(rt, "successes"),
		}
		p.open = odd("open", 0, 0, s, 30*s)
	}
	return p
}

// trace is what a call did.
type trace struct {
	at        []time.Duration // when the attempts began
	kinds     []failure.Kind  // of the failures
	uncounted int
	reason    retry.Reason // 0: an answer
	ended     time.Duration
	either    bool          // OutOfTime and RateLimitWaitExceeded are both true
	refused   time.Duration // the wait that was not begun
	waiting   retry.WaitReason
	state     breaker.State
	failures  int  // in the circuit, if it is CLOSED
	together  bool // two ends at one moment: either may come first
	known     bool // where the loop is known to differ
}

func (t trace) String() string {
	return fmt.Sprintf("at %v, %v, %d uncounted, %v at %v, refused %v %v, circuit %v %d", t.at, t.kinds, t.uncounted, t.reason, t.ended, t.refused, t.waiting, t.state, t.failures)
}

// simple is a circuit of failures that never get too old, with one caller.
type simple struct {
	c        breaker.Config
	state    breaker.State
	until    time.Duration
	failures int
	passed   int
}

func (b *simple) open(now, asked time.Duration, trips bool) {
	d := max(b.c.RecoveryTimeout, asked) // "it stays OPEN for at least that long,
	if trips {                           // and if it is one that trips, for just that long"
		if d = asked; d == 0 {
			d = 10 * b.c.RecoveryTimeout
		}
	}
	b.state, b.until, b.failures, b.passed = breaker.Open, now+min(d, time.Hour), 0, 0
}

func (b *simple) success() {
	if b.state == breaker.HalfOpen {
		if b.passed++; b.passed >= b.c.SuccessThreshold {
			b.state = breaker.Closed
		}
	}
}

func (b *simple) tell(now time.Duration, effect failure.Effect, asked time.Duration, answered bool) {
	switch effect {
	case failure.Healthy:
		b.success()
	case failure.HealthyIfAnswered: // "whoever got an answer has proved that the provider lives"
		if answered {
			b.success()
		}
	case failure.Count:
		if b.failures++; b.state == breaker.HalfOpen || b.failures >= b.c.FailureThreshold {
			b.open(now, asked, false)
		}
	case failure.Trip:
		b.open(now, asked, true)
	}
}

// predict follows a plan by the sentences of the design.
func predict(p plan) (tr trace) {
	const forever = time.Duration(1 << 62)
	c, table := p.config, failure.Decisions()
	or := func(d, byDefault time.Duration) time.Duration {
		if d == 0 {
			return byDefault
		}
		return d
	}
	attempts := c.MaxAttempts
	if attempts == 0 {
		attempts = 3
	}
	// "MaxTime bounds the whole: all attempts and all waits."
	deadline, cancel := min(or(p.deadline, forever), or(c.MaxTime, forever)), or(p.cancel, forever)
	tooLong, allLimits := or(c.MaxRetryAfter, 2*time.Minute), or(c.MaxRateLimitWait, 10*time.Minute)
	var b *simple
	if p.circuit != nil {
		b = &simple{c: *p.circuit}
		if p.open > 0 {
			b.open(0, p.open, true)
		}
	}
	var now, limits time.Duration
	var counted, grown, short int
	var cutOff bool
	stop := func(r retry.Reason) { tr.reason, tr.ended = r, now }
	refuse := func(r retry.Reason, wait time.Duration, why retry.WaitReason) {
		tr.refused, tr.waiting = wait, why
		stop(r)
	}
	isLimit := func(why retry.WaitReason) bool {
		return why == retry.RateLimitWait || why == retry.PaceWait || why == retry.CircuitWait
	}
	allowed := func(wait time.Duration, why retry.WaitReason) bool {
		late := wait > 0 && now+wait >= deadline // "A wait that would pass them is not begun."
		// A wait for a circuit that ends exactly with it is refused, one for a limit is not.
		tr.known = tr.known || why == retry.CircuitWait && limits+wait == allLimits
		// "only max_rate_limit_wait (10 min a call, waits for a circuit included)"
		many := isLimit(why) && limits+wait > allLimits
		switch {
		case late:
			tr.either = many
			refuse(retry.OutOfTime, wait, why)
			return false
		case many:
			refuse(retry.RateLimitWaitExceeded, wait, why)
			return false
		}
		return true
	}
	// pause waits, and says whether the call goes on.
	pause := func(wait time.Duration, why retry.WaitReason) bool {
		if now+wait == deadline && wait == 0 || now+wait == cancel {
			tr.together = true
			return false
		}
		if !allowed(wait, why) {
			return false
		}
		if b != nil && b.state == breaker.Open && b.until > now+wait {
			if !c.WaitForCircuit { // "instead of stopping with the circuit's error"
				stop(retry.CircuitOpen)
				return false
			}
			wait, why = b.until-now, retry.CircuitWait // two waits at one time are the longer one
			if !allowed(wait, why) {
				return false
			}
		}
		if now+wait > cancel { // "When ctx ends, a wait ends at once and no further attempt is made"
			now = cancel
			stop(retry.Cancelled)
			return false
		}
		if isLimit(why) {
			limits += wait
		}
		now += wait
		return true
	}
	finish := func() trace {
		if b != nil {
			if b.state == breaker.Open && now >= b.until {
				b.state = breaker.HalfOpen
			}
			if tr.state = b.state; b.state == breaker.Closed {
				tr.failures = b.failures
			}
		}
		return tr
	}
	for n := 0; ; n++ {
		if b != nil && b.state == breaker.Open {
			if now < b.until && !pause(0, retry.NoWait) {
				return finish()
			}
			b.state = breaker.HalfOpen
		}
		tr.at = append(tr.at, now)
		var d deed
		if n < len(p.deeds) {
			d = p.deeds[n]
		}
		cut := min(deadline, cancel)
		if c.AttemptTimeout > 0 {
			cut = min(cut, now+c.AttemptTimeout)
			if n := now + c.AttemptTimeout; n == deadline || n == cancel {
				tr.together = true
			}
		}
		end := now + d.took
		if tr.together = tr.together || end == cut || cancel < forever && deadline == cancel; tr.together {
			return tr
		}
		if end > cut {
			lasted := cut - now
			now = cut
			d = deed{fails: true, told: -1, kind: failure.AttemptTimeout}
			if cut == cancel { // "A caller's cancellation is never a failure."
				tr.kinds = append(tr.kinds, failure.Cancelled)
				stop(retry.Cancelled)
				return finish()
			}
			if cut == deadline {
				// "A hang that the caller's own deadline ends is a failure if the attempt had 30 s"
				if tr.kinds = append(tr.kinds, failure.DeadlineExceeded); b != nil && lasted >= 30*s {
					b.tell(now, failure.Count, 0, false)
				}
				stop(retry.OutOfTime)
				return finish()
			}
		} else {
			now = end
		}
		row := table.For(d.kind)
		if b != nil {
			effect := row.Breaker
			if !d.fails && (!p.do || !d.wrong) { // "settled, when the provider has answered or failed: counted, once"
				effect = failure.Healthy
			}
			b.tell(now, effect, max(0, d.told), d.status != 0)
		}
		if !d.fails && !d.wrong {
			tr.ended = now
			return finish()
		}
		tr.kinds = append(tr.kinds, d.kind)
		// "told refusals use neither attempt nor budget, only max_rate_limit_wait"
		refusal := row.Breaker == failure.Limit && d.told >= 0 && d.stop == 0
		if !refusal {
			counted++
		}
		switch {
		case d.stop > 0 || row.Again == failure.Never || row.Again == failure.OnceLarger && cutOff:
			stop(retry.Permanent)
			return finish()
		case refusal:
			tr.uncounted++
			wait := d.told
			if wait > tooLong { // "A told time of more than max_retry_after ends that call"
				refuse(retry.WaitTooLong, wait, retry.RateLimitWait)
				return finish()
			}
			// "at least 100 ms between two requests of one call, 1 s after ten told waits below 1 s"
			least := 100 * time.Millisecond
			if short >= 10 {
				least = s
			}
			if wait < s {
				short++
			}
			// "where we wait longer than told, the error says that it is ours"
			why := retry.RateLimitWait
			if wait < least {
				why = retry.PaceWait
			}
			if !pause(max(wait, least), why) {
				return finish()
			}
		case counted >= attempts:
			stop(retry.Exhausted)
			return finish()
		case row.Again == failure.AtOnce || row.Again == failure.OnceLarger:
			cutOff = cutOff || row.Again == failure.OnceLarger
			if !pause(0, retry.NoWait) {
				return finish()
			}
		default:
			step := grown
			if row.Again == failure.Slower { // "like Backoff, one step further on"
				step++
			}
			grown++
			wait, why := c.Backoff.Delay(step), retry.BackoffWait
			if row.Again == failure.WhenTold && wait == 0 {
				tr.known = true
			}
			if d.told > 0 { // "a told wait is obeyed, and is not stretched by our own growing backoff"
				if wait, why = d.told, retry.ProviderWait; wait > tooLong {
					refuse(retry.WaitTooLong, wait, why)
					return finish()
				}
			}
			if !pause(wait, why) {
				return finish()
			}
		}
	}
}

// carryOut makes the call of a plan.
func carryOut(p plan) (tr trace) {
	start := time.Now()
	ctx := context.Background()
	if p.deadline > 0 {
		var end context.CancelFunc
		ctx, end = context.WithTimeout(ctx, p.deadline)
		defer end()
	}
	if p.cancel > 0 {
		var end context.CancelFunc
		ctx, end = context.WithCancel(ctx)
		defer end()
		timer := time.AfterFunc(p.cancel, end)
		defer timer.Stop()
	}
	c := p.config
	var b *breaker.Breaker
	if p.circuit != nil {
		b, _ = breaker.New("model", *p.circuit)
		if p.open > 0 {
			b.Trip(breaker.Failure{AskedFor: p.open})
		}
		c.Target = retry.Target{Guards: []endpoint.Guard{endpoint.Circuit(b)}, Unpaced: true}
	}
	policy, err := retry.New(c)
	if err != nil {
		panic(err)
	}
	attempt := func(ctx context.Context) (failed, wrong error) {
		tr.at = append(tr.at, time.Since(start))
		var d deed
		if n := len(tr.at); n <= len(p.deeds) {
			d = p.deeds[n-1]
		}
		timer := time.NewTimer(d.took)
		defer timer.Stop()
		if d.took > 0 {
			select {
			case <-timer.C:
			case <-ctx.Done():
				return fmt.Errorf("sdk: %w", ctx.Err()), nil
			}
		}
		if d.wrong {
			return nil, d.err()
		}
		return d.err(), nil
	}
	counted := -1
	if p.do {
		_, err = retry.Do(ctx, policy, func(ctx context.Context, _ retry.Attempt) (int, error) {
			failed, wrong := attempt(ctx)
			return 0, errors.Join(failed, wrong)
		})
	} else {
		var call retry.Call
		call.Begin(ctx, policy, []retry.Target{c.Target})
		for call.Next() {
			failed, wrong := attempt(call.Context())
			if !call.Settle(endpoint.Outcome{Err: failed}) {
				continue
			}
			if wrong == nil {
				break
			}
			call.Wrong(wrong)
		}
		err = call.Err()
		counted = call.Counted()
		call.Close()
	}
	tr.ended = time.Since(start)
	if e, ok := errors.AsType[*retry.Error](err); ok {
		tr.reason, tr.refused, tr.waiting = e.Reason, e.RefusedWait, e.WaitReason
		for _, f := range e.Failures {
			if tr.kinds = append(tr.kinds, f.Kind); f.Uncounted {
				tr.uncounted++
			}
		}
		// An attempt that the call's own context ended is nobody's.
		byCaller := len(tr.kinds) > 0 && (tr.kinds[len(tr.kinds)-1] == failure.Cancelled || tr.kinds[len(tr.kinds)-1] == failure.DeadlineExceeded)
		if counted >= 0 && !byCaller && counted != len(tr.kinds)-tr.uncounted {
			tr.uncounted = -counted // Counted and Failures tell two stories
		}
	}
	if b != nil {
		shot := b.Snapshot()
		tr.state, tr.failures = shot.State, shot.Failures
	}
	return tr
}

// same compares what the design says of a call with what it did.
func same(want, got trace) bool {
	if want.reason == 0 { // an answer tells nothing of the failures before it
		want.kinds, want.uncounted = nil, 0
	}
	if want.either && got.reason == retry.RateLimitWaitExceeded {
		want.reason = got.reason
	}
	if want.reason == retry.CircuitOpen {
		got.refused, got.waiting = 0, 0
	}
	return slices.Equal(want.at, got.at) && slices.Equal(want.kinds, got.kinds) && want.uncounted == got.uncounted && want.reason == got.reason &&
		want.ended == got.ended && want.refused == got.refused && want.waiting == got.waiting && want.state == got.state && want.failures == got.failures
}

func TestTheLoopDoesWhatTheDesignSays(t *testing.T) {
	checks(t, 20_000)
	skipped, reasons := 0, map[retry.Reason]int{}
	rapid.Check(t, func(rt *rapid.T) {
		p := drawPlan(rt)
		want := predict(p)
		if want.together || want.known {
			skipped++
			return
		}
		var got trace
		synctest.Test(t, func(*testing.T) { got = carryOut(p) })
		reasons[want.reason]++
		if !same(want, got) {
			rt.Fatalf("%v\nwant %v\n got %v", p, want, got)
		}
	})
	t.Logf("%d skipped; %v", skipped, reasons)
}

// A first delay of 0 is a delay: the second retry waits for the second one,
// whatever kind of failure it follows.
func TestABackoffThatBeginsWithNothingGrows(t *testing.T) {
	for _, kind := range []failure.Kind{failure.Transient, failure.Overloaded, failure.AttemptTimeout, failure.RateLimited} {
		synctest.Test(t, func(t *testing.T) {
			f := play(repeat(fail(kind), 3)...)
			if _, err := retry.Do(t.Context(), newPolicy(t, retry.Config{MaxAttempts: 9, Backoff: delays["0, 1 s, 2 s"]}), f.call); err != nil {
				t.Fatal(err)
			}
			want := []time.Duration{0, 0, s, 3 * s}
			if kind == failure.Overloaded { // one step further on
				want = []time.Duration{0, s, 3 * s, 6 * s}
			}
			if !slices.Equal(f.at, want) {
				t.Errorf("%v: attempts began at %v, want %v", kind, f.at, want)
			}
		})
	}
}
