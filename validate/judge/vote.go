package judge

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"runtime/debug"
	"slices"
	"strings"

	"llmcall/account"
	"llmcall/endpoint"
	"llmcall/failure"
	"llmcall/llm"
	"llmcall/retry"
	"llmcall/validate"
)

// JudgeError is the failure of one judge to give a verdict.
type JudgeError struct {
	Judge string // the model's name
	Err   error  // usually a *[retry.Error], which has all attempts
}

// Error names the judge and says why there is no verdict.
func (e *JudgeError) Error() string { return fmt.Sprintf("judge %s: %v", e.Judge, e.Err) }

// Unwrap returns e.Err.
func (e *JudgeError) Unwrap() error { return e.Err }

// NoVerdictError is the failure of a check whose vote is undecided because judges gave
// no verdict. It says nothing about the answer.
//
// The check returns it wrapped by [retry.Stop]: the judges were asked as often as
// [Options.MaxAttempts] allows, and a loop around the check must not multiply that.
type NoVerdictError struct {
	Passed, Failed int           // how many judges passed the answer, and how many did not
	Judges         []*JudgeError // those without a verdict
}

// Error returns the votes so far, and why the others are missing.
func (e *NoVerdictError) Error() string {
	why := make([]string, len(e.Judges))
	for i, j := range e.Judges {
		why[i] = j.Error()
	}
	if e.Passed+e.Failed == 0 {
		return "no verdict: " + strings.Join(why, "; ")
	}
	return fmt.Sprintf("no verdict: %d for the answer, %d against it, and the vote depends on: %s", e.Passed, e.Failed, strings.Join(why, "; "))
}

// Unwrap returns the judges' failures.
func (e *NoVerdictError) Unwrap() []error {
	errs := make([]error, len(e.Judges))
	for i, j := range e.Judges {
		errs[i] = j
	}
	return errs
}

// FailureKind returns [failure.CheckUnavailable].
func (e *NoVerdictError) FailureKind() failure.Kind { return failure.CheckUnavailable }

// tally is the state of a vote.
type tally struct {
	judges, agree        int // agree of judges must pass the answer
	passed, failed, lost int // lost gave no verdict
}

// result is the result of a vote.
type result uint8

const (
	undecided result = iota // it depends on judges that have not answered yet
	passes
	fails
	noVerdict // whatever the judges say that have not answered yet
)

// result decides as soon as nothing can change the result. A judge without a verdict
// might have said either.
func (t tally) result() result {
	open := t.judges - t.passed - t.failed - t.lost
	canPass := t.passed+open >= t.agree
	canFail := t.failed+open > t.judges-t.agree
	switch {
	case t.passed >= t.agree:
		return passes
	case t.failed > t.judges-t.agree:
		return fails
	case !canPass && !canFail:
		return noVerdict
	}
	return undecided
}

// ballot is the outcome of asking one judge.
type ballot struct {
	opinion
	usage llm.Usage
	err   error
}

var errGoexit = errors.New("it called runtime.Goexit")

// vote asks all judges at the same time, and cancels the rest once the vote is decided.
// It waits for those too: the tokens that they used are paid for.
func (p *panel) vote(ctx context.Context, brief func() []llm.Message) (validate.Verdict, error) {
	own, cancel := context.WithCancel(ctx)
	defer cancel()
	ballots := make([]ballot, len(p.judges))
	ended := make(chan int, len(p.judges))
	for i, m := range p.judges {
		go func() {
			ballots[i].err = errGoexit
			defer func() { ended <- i }()
			ballots[i] = m.judge(own, brief())
		}()
	}
	t := tally{judges: len(p.judges), agree: p.agree}
	decided := undecided
	var v validate.Verdict
	var lost []int
	for range p.judges {
		i := <-ended
		b := &ballots[i]
		v.Usage = v.Usage.Add(b.usage)
		if decided != undecided { // it was cancelled, or might as well have been
			continue
		}
		switch {
		case b.err != nil:
			t.lost++
			lost = append(lost, i)
		case b.passed:
			t.passed++
		default:
			t.failed++
		}
		if decided = t.result(); decided != undecided {
			cancel()
		}
	}
	switch {
	case decided == passes:
		return v, nil
	case decided == fails:
		v.Complaints = merge(ballots)
		return v, nil
	case ctx.Err() != nil:
		return v, ctx.Err()
	}
	e := &NoVerdictError{Passed: t.passed, Failed: t.failed}
	slices.Sort(lost)
	for _, i := range lost {
		e.Judges = append(e.Judges, &JudgeError{p.judges[i].model.Name(), ballots[i].err})
	}
	return v, retry.Stop(e)
}

// merge lists the complaints of all judges that do not pass the answer, in the order of
// the judges, without duplicates.
func merge(ballots []ballot) []validate.Complaint {
	type key struct{ pointer, problem string }
	var all []validate.Complaint
	seen := map[key]int{}
	left := 0
	for i := range ballots {
		if ballots[i].err != nil {
			continue
		}
		for _, c := range ballots[i].complaints {
			k := key{c.Pointer, strings.ToLower(strings.Join(strings.Fields(c.Problem), " "))}
			if at, again := seen[k]; again {
				if at >= 0 && all[at].Suggestion == "" {
					all[at].Suggestion = c.Suggestion
				}
				continue
			}
			if len(all) == maxReasons {
				seen[k] = -1
				left++
				continue
			}
			seen[k] = len(all)
			all = append(all, c)
		}
	}
	if left > 0 {
		all = append(all, validate.Complaint{Problem: fmt.Sprintf("and %d more that the judges list", left)})
	}
	return all
}

// judge asks one judge for its verdict, up to its maximum of attempts.
func (m *member) judge(ctx context.Context, brief []llm.Message) (b ballot) {
	defer func() {
		if v := recover(); v != nil {
			b.err = &validate.PanicError{Value: v, Stack: debug.Stack()}
		}
	}()
	req := llm.Request{Messages: brief, Schema: asked, MaxTokens: m.maxTokens}
	var c retry.Call
	var own []endpoint.Guard
	if payer := account.PayerOf(ctx); payer != nil && payer.Account != nil {
		own = append(own, payer.Account.Guard())
	}
	need := m.need(ctx, &req)
	c.Need = func(int) *endpoint.Need { return need }
	c.Begin(ctx, m.policy, m.target, own...)
	defer c.Close()
	for c.Next() {
		answer, ok := m.ask(&c, req)
		if answer != nil { // an error may have the usage of what was billed
			b.usage = b.usage.Add(answer.Usage)
		}
		if !ok {
			continue
		}
		o, err := read(ctx, m.model.Name(), answer)
		if err == nil {
			b.opinion = o
			return b
		}
		if e, ok := err.(*verdictError); ok {
			req.Messages = append(brief[:len(brief):len(brief)], e.correction()...)
		}
		if answer.Finish == llm.FinishLength {
			req.MaxTokens = min(req.MaxTokens, math.MaxInt32/2) * 2
		}
		need = m.need(ctx, &req)
		c.Wrong(err)
	}
	b.err = c.Err()
	return b
}

// ask makes one attempt, with the temperature unless the model refuses it, as many
// reasoning models do. In that case it asks once more without it, by a request that
// the guards must admit like any other.
func (m *member) ask(c *retry.Call, req llm.Request) (*llm.Response, bool) {
	if m.temperature != nil && !m.refusesTemperature.Load() {
		with := req
		with.Temperature = m.temperature
		answer, err := m.complete(c, &with)
		if err == nil || failure.KindOf(err) != failure.InvalidRequest || !strings.Contains(strings.ToLower(err.Error()), "temperature") {
			return answer, c.Settle(m.outcome(c, answer, err))
		}
		m.refusesTemperature.Store(true)
		if c.Settle(unbilled); !c.Round() { // the provider works: it refused a parameter
			return nil, false
		}
	}
	answer, err := m.complete(c, &req)
	if maximum, refused := failure.MaxTokens(err, m.maxTokens, req.MaxTokens); refused && req.MaxTokens > m.maxTokens {
		if c.Settle(unbilled); !c.Round() { // it refused the limit that judge has raised
			return nil, false
		}
		req.MaxTokens = cmp.Or(maximum, m.maxTokens)
		answer, err = m.complete(c, &req)
	}
	return answer, c.Settle(m.outcome(c, answer, err))
}

// need returns what a request may use.
func (m *member) need(ctx context.Context, req *llm.Request) *endpoint.Need {
	need := &endpoint.Need{Tokens: endpoint.Wanted(req)}
	if payer := account.PayerOf(ctx); payer != nil {
		need.Want = payer.Estimate(m.model.Name(), req)
	}
	return need
}

func (m *member) complete(c *retry.Call, req *llm.Request) (*llm.Response, error) {
	ctx, end := c.Listen(c.Context())
	defer end()
	answer, err := m.model.Complete(ctx, req)
	if err == nil && answer == nil {
		err = failure.NoAnswer(m.model.Name())
	}
	return answer, err
}

// unbilled is the outcome of a request that the provider has answered with the refusal of
// a setting.
var unbilled = endpoint.Outcome{Report: &endpoint.Report{Unbilled: true}}

// outcome is that of a request, with what it has used. The call on whose behalf it was
// made pays for it.
func (m *member) outcome(c *retry.Call, answer *llm.Response, err error) endpoint.Outcome {
	o := endpoint.Outcome{Err: err, Kind: failure.KindOf(err), Report: endpoint.Used(answer)}
	if payer := account.PayerOf(c.Context()); payer != nil && (answer != nil || o.MayBill()) {
		if answer == nil {
			answer = &llm.Response{} // whose usage is not known
		}
		o.Report = &endpoint.Report{Used: payer.Charge(m.model.Name(), answer.Usage)}
	}
	return o
}
