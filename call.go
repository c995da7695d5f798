package llmcall

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"strings"
	"time"

	"llmcall/account"
	"llmcall/endpoint"
	"llmcall/failure"
	"llmcall/internal/phrase"
	"llmcall/internal/say"
	"llmcall/llm"
	"llmcall/retry"
	"llmcall/validate"
)

// call is one call of a client, with its state.
type call struct {
	client *Client
	cfg    *RetryConfig // the client's
	model  llm.Model
	target int // the index of the model of the current attempt; the loop may have moved on
	req    *llm.Request
	checks []validate.Strategy // in Ask the type's own, then the client's
	tries  retry.Call
	ctx    context.Context // the call's, as the observer returned it
	within context.Context // the current attempt's, as the observer returned it, without the attempt's limit
	number uint64          // of the call, for the observer

	stage     int                  // the index of the current stage
	top       int                  // the index of the highest stage so far
	putOff    []int                // stages that were left out for the quality of their models,
	back      int                  // of them, how many were come back to,
	skipped   string               // and why, until an attempt says so
	came      string               // why the call came to the stage, until an attempt says so
	failed    int                  // failed attempts, as the stages count them
	stalled   bool                 // by the last answer the model made no progress,
	advised   bool                 // and a check has advised to go up a stage
	given     int                  // the token limit that the caller or the stage has set
	maxTokens int                  // of the next request; raised after an answer that was cut off,
	ceiling   int                  // up to this; 0 if it is not known
	next      []llm.Message        // the conversation to send with the next attempt
	sent      []llm.Message        // the conversation last sent
	lacks     []string             // what the request was sent without
	last      *llm.Response        // the last answer that arrived,
	lastFrom  int                  // the number of its attempt in the trace,
	lastTry   int                  // and among those that MaxAttempts counts,
	complaint []validate.Complaint // and what is wrong with it
	purse     *purse
	guard     *account.Guard    // of the call's own requests; nil without a ceiling
	measured  map[int]*reckoned // what the next request may use, by its target
	limit     int               // of output tokens of the last request
	lowered   bool              // the account has lowered the token limit of the last request
	ending    Reason            // why the next failure is the last; "" if attempts may go on
	why       string            // a person must look
	hint      string            // of a person, for the models
	report    validate.Report
	trace     Trace
	lost      *endpoint.Report    // of a request without an answer
	open      bool                // an attempt has started and not ended
	out       *outlet             // nil unless the call is by Stream
	ran       map[string][]ran    // the runs of tools that must not run twice
	hopeless  *validate.Complaint // why the stream of the last answer was stopped early, or the provider refused it
}

// run makes the call.
func (c *call) run(ctx context.Context) (*Result, error) {
	if c.client.once {
		defer c.client.claim()()
	}
	if c.cfg.MaxTime > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.cfg.MaxTime)
		defer cancel()
	}
	c.ctx = ctx
	if c.client.priced {
		c.ctx = c.purse.within(ctx)
	}
	if c.cfg.Observer == nil {
		return c.loop()
	}
	return c.observed()
}

// loop makes attempts until one has a valid answer.
func (c *call) loop() (*Result, error) {
	k := &c.tries
	if c.cfg.Observer != nil {
		k.Observer = c.observe
	}
	c.prepare()
	guard, own := c.purse.guards()
	c.guard = guard
	k.Begin(c.ctx, c.client.policy, c.client.targets, own...)
	defer k.Close()
	if len(c.cfg.Stages) > 0 || len(c.client.stages) > 1 || c.cfg.QualityMemory != nil {
		if !c.among(0, "") && !c.climb("") {
			c.among(0, "")
		}
		if c.stage > 0 {
			c.prepare()
		}
	}
	for {
		if !k.Next() {
			if c.ending == "" && c.climb(c.unserved()) && c.ending == "" {
				c.prepare()
				continue
			}
			break
		}
		if c.cfg.Observer == nil {
			c.begin()
			c.within = c.ctx
		}
		answer, err := c.attempt()
		if err != nil {
			continue
		}
		r := &Result{Response: answer, Text: answer.Text(), Model: c.model.Name(), Trace: c.trace}
		if c.report.Decoded {
			r.Text, r.Value, r.Decoded = c.report.Text, c.report.Value, true
		}
		return r, nil
	}
	if p, ok := errors.AsType[toolPanic](k.Err()); ok {
		panic(p.value)
	}
	return nil, c.failure(k.Err())
}

// begin adds an attempt to the trace.
func (c *call) begin() {
	k := &c.tries
	c.target = k.Target()
	c.model = c.client.models[c.target]
	record := Attempt{Number: k.Number(), Model: c.model.Name(), Stage: c.at().Name, Why: c.whyHere(), Start: time.Now(), target: c.target}
	record.Delay, record.DelayReason = k.Waited()
	c.open = true
	c.trace.Attempts = append(c.trace.Attempts, record)
}

// whyHere returns why the attempt that begins came to its stage and its model.
func (c *call) whyHere() string {
	why := c.came
	c.came = ""
	if left := c.tries.Left(); left != nil {
		if why != "" {
			why += "; "
		}
		why += c.client.nameOf(left.Target) + ": " + left.Kind.String()
	}
	return why
}

// nameOf returns the name of a model, and which of those with the name it is, such as with
// one of several keys.
func (c *Client) nameOf(model int) string {
	name := c.models[model].Name()
	before, all := 0, 0
	for i, m := range c.models {
		if m.Name() != name {
			continue
		}
		all++
		if i < model {
			before++
		}
	}
	if all == 1 {
		return name
	}
	return fmt.Sprintf("%s (%d of %d)", name, before+1, all)
}

// attempt makes one attempt: it asks, checks, and ends the attempt. The guards
// learn of the answer when it has arrived, and hold nothing while it is checked or
// read. The attempt's time limit applies to asking only: a check that is cut off by
// what the model has left of it would prove nothing about either.
func (c *call) attempt() (*llm.Response, error) {
	streamed := c.streams()
	ctx, other := c.hedge(c.tries.Context())
	defer other.close()
	answer, err := c.ask(ctx)
	if err == nil {
		err = c.accept(answer)
	}
	answer, err = other.settle(answer, err)
	if err == nil && c.out != nil && !streamed {
		err = c.out.handAll(answer)
	}
	r := c.current()
	r.Duration, r.Notes = time.Since(r.Start), slices.Concat(c.lacks, c.tries.Notes())
	c.trace.Usage = c.trace.Usage.Add(r.Usage).Add(r.CheckUsage)
	r.Cost = r.Cost.Add(c.purse.takeChecks())
	c.trace.Cost = c.trace.Cost.Add(r.Cost)
	if err != nil {
		c.failedWith(err)
		return nil, err
	}
	r.Outcome = cmp.Or(r.Outcome, OutcomeValid)
	c.ended()
	return answer, nil
}

// accept settles the request of an answer, and checks the answer. If the table
// counts wrong answers, settling has to wait for the checks, but scarce resources
// are released before.
func (c *call) accept(answer *llm.Response) error {
	if !c.client.countsWrong {
		c.tries.Settle(endpoint.Outcome{Report: c.used(answer)})
		err := c.judge(c.within, answer, c.tries.Number())
		c.judged(err)
		return err
	}
	c.tries.Whole()
	err := c.judge(c.within, answer, c.tries.Number())
	c.judged(err)
	c.settle(answer, err)
	return err
}

func (c *call) settle(answer *llm.Response, err error) bool {
	return c.tries.Settle(endpoint.Outcome{Err: err, Report: c.used(answer)})
}

// prepare makes the conversation of the next attempt, and tells the guards how much
// it may use.
func (c *call) prepare() {
	c.next = c.conversation()
	req := c.pending()
	c.reckon(&req)
}

// pending returns the request of the next attempt.
func (c *call) pending() llm.Request {
	req := c.fitting()
	req.Messages, req.MaxTokens, req.Tools = c.next, c.maxTokens, c.tools()
	if len(req.Tools) == 0 {
		req.Tools = c.called()
		req.NoToolCalls = req.NoToolCalls || len(req.Tools) > 0
	}
	return req
}

// current returns the trace's record of the current attempt.
func (c *call) current() *Attempt { return &c.trace.Attempts[len(c.trace.Attempts)-1] }

// maxPauses is how many times in one attempt an answer that its provider has paused is
// continued.
const maxPauses = 8

// ask sends the request of this attempt, and carries out the calls of tools in the answer
// if it can. At the limit of rounds or calls the model is asked once more, for an answer
// without them.
func (c *call) ask(ctx context.Context) (*llm.Response, error) {
	req := c.pending()
	var begun []llm.Part // an answer that the provider has paused
	var round tooling
	for pauses := 0; ; {
		c.sent, c.lost = req.Messages, nil
		req.MaxTokens = c.maxTokens
		c.afford(&req)
		c.limit = req.MaxTokens
		sent := copyOf(&req)
		sent.Messages = goingOn(sent.Messages, begun)
		answer, err := c.request(ctx, sent)
		if written := c.writtenIn(err); written != nil {
			if answer != nil { // the request was billed
				written.Usage = answer.Usage
			}
			answer, err = written, nil
		}
		switch {
		case err != nil && c.lower(err, req.MaxTokens):
			c.tries.Settle(endpoint.Outcome{Report: &endpoint.Report{Unbilled: true}}) // the provider works: it refused a parameter
		case err != nil:
			if answer != nil { // the request was billed
				c.broke(answer)
			}
			return nil, err
		case answer == nil:
			return nil, failure.NoAnswer(c.model.Name())
		default:
			r := c.current()
			r.Usage = r.Usage.Add(answer.Usage)
			if len(begun) > 0 {
				answer.Message.Parts = append(begun[:len(begun):len(begun)], answer.Message.Parts...)
			}
			calls := c.toolCalls(answer)
			paused := answer.Finish == llm.FinishPaused
			if len(calls) == 0 && !paused || req.NoToolCalls || pauses == maxPauses {
				return answer, nil
			}
			c.settle(answer, nil) // nothing is held while the tool runs
			if begun = nil; paused {
				begun = answer.Message.Parts
				pauses++
				break
			}
			results, err := c.runTools(ctx, calls, &round)
			if err != nil {
				return nil, err
			}
			req.NoToolCalls = round.over(c.cfg)
			req.ForceTool = "" // a model that must call it again never answers
			turn := llm.Message{Role: llm.RoleAssistant, Parts: answer.Message.Parts}
			req.Messages = append(req.Messages, turn, llm.Message{Role: llm.RoleTool, Parts: results})
		}
		next := req
		next.MaxTokens, next.Messages = c.maxTokens, goingOn(req.Messages, begun)
		c.reckon(&next)
		if !c.round() {
			if err := c.tries.Err(); err != nil {
				return nil, err
			}
			last, _ := c.tries.Last() // the attempt is out of time; the call goes on
			return nil, last.Err
		}
	}
}

// round admits a further request of the attempt.
func (c *call) round() bool {
	if r := c.client.rows; r != nil {
		return r.round(c.ctx, c.tries.Round)
	}
	return c.tries.Round()
}

// goingOn returns the messages with an answer that its provider has paused.
func goingOn(messages []llm.Message, begun []llm.Part) []llm.Message {
	if len(begun) == 0 {
		return messages
	}
	return append(slices.Clip(messages), llm.Message{Role: llm.RoleAssistant, Parts: begun})
}

// writtenIn returns the answer in the error of a provider that found fault with what
// the model wrote, and not with the request: it is a wrong answer, and the model is told
// so; or one that was cut off at its token limit. It returns nil for any other error.
func (c *call) writtenIn(err error) *llm.Response {
	f, ok := errors.AsType[*failure.Error](err)
	if !ok || f.Written == "" {
		return nil
	}
	answer := llm.Reply(f.Written)
	switch f.Kind {
	case failure.InvalidAnswer:
		c.hopeless = &validate.Complaint{Check: "provider", Problem: cmp.Or(f.Message, f.Code), Suggestion: "give the whole answer again, without this fault"}
	case failure.CutOff:
		answer.Finish = llm.FinishLength
	default:
		return nil
	}
	answer.RequestID = f.RequestID
	return answer
}

// request sends one request, and listens to what its model reports meanwhile.
func (c *call) request(ctx context.Context, req *llm.Request) (*llm.Response, error) {
	ctx, end := c.tries.Listen(ctx)
	defer end()
	if c.streams() {
		return c.stream(ctx, req)
	}
	return c.model.Complete(ctx, req)
}

// conversation returns the messages to send: the caller's, the last answer and
// what is wrong with it. Earlier answers are left out, so that the conversation
// does not grow with each attempt.
func (c *call) conversation() []llm.Message {
	messages := slices.Clone(c.req.Messages)
	instruction := c.at().instruction
	if c.hint != "" {
		instruction = strings.TrimSpace(instruction + "\n\nA person who has looked at this says: " + c.hint)
	}
	if len(c.complaint) > 0 {
		f := newFeedback(c.last, c.complaint, c.report.Passed, c.lastTry, c.client.attempts, originalRequest(messages), instruction)
		text, err := f.write(c.cfg.Feedback)
		if err != nil { // no reason for the call to fail
			slog.Error("llmcall: the configured feedback failed, the message is the default one", "model", c.model.Name(), "error", err)
		}
		return append(messages, feedback(c.last, c.complaint, text)...)
	}
	if instruction == "" {
		return messages
	}
	text := llm.Text("IMPORTANT: " + instruction)
	if last := &messages[len(messages)-1]; last.Role == llm.RoleUser {
		// In the same turn: some models refuse two turns of a user in a row.
		last.Parts = append(slices.Clone(last.Parts), text)
		return messages
	}
	return append(messages, llm.User(string(text)))
}

// isWhole reports whether an answer is complete.
func isWhole(answer *llm.Response) bool {
	switch answer.Finish {
	case llm.FinishFiltered, llm.FinishLength, llm.FinishPaused, llm.FinishNone:
		return false
	}
	return true
}

// judge checks an answer. The error is an *InvalidAnswerError, or that of a check
// that could not be run.
func (c *call) judge(ctx context.Context, answer *llm.Response, number int) error {
	previous, before := c.last, c.complaint
	c.last, c.lastFrom, c.lastTry, c.complaint, c.report = answer, number, c.failed+1, nil, validate.Report{}
	kind := failure.InvalidAnswer
	complaint := func(check, problem, suggestion string) []validate.Complaint {
		return []validate.Complaint{{Check: check, Problem: problem, Suggestion: suggestion}}
	}
	switch {
	case c.hopeless != nil:
		c.complaint, c.hopeless = []validate.Complaint{*c.hopeless}, nil
	case answer.Finish == llm.FinishFiltered:
		return &failure.Error{Kind: failure.ContentFiltered, Model: c.model.Name(), Message: "the answer was withheld or refused"}
	case answer.Finish == llm.FinishLength && c.lowered:
		return &failure.Error{Kind: failure.AccountSpent, Model: c.model.Name(), Message: fmt.Sprintf(
			"the answer was cut off at %s%s, which is all that was left of what the call may spend",
			say.Count(c.limit, "token", "tokens"), thinking(answer.Usage.ReasoningTokens),
		)}
	case answer.Finish == llm.FinishLength:
		kind = failure.CutOff
		c.raise(answer.Usage.OutputTokens)
		c.complaint = complaint("complete", "the answer was cut off at its token limit before it was complete", "give the whole answer in fewer words")
	case answer.Finish == llm.FinishPaused: // after the last round
		kind = failure.CutOff
		c.complaint = complaint("complete", "the answer was interrupted by the provider before it was complete", "give the whole answer, with fewer calls of tools")
	case !isWhole(answer):
		kind = failure.CutOff
		c.complaint = complaint("complete", phrase.BrokeOff+": it came without a reason to stop", "give the whole answer")
	case !answer.Finish.Known() && slices.ContainsFunc(answer.Message.ToolCalls(), func(t llm.ToolCall) bool { return !json.Valid(t.Arguments) }):
		kind = failure.CutOff
		c.complaint = complaint("complete", phrase.BrokeOff+phrase.UnknownReason+string(answer.Finish), "give the whole answer")
	case len(c.toolCalls(answer)) > 0: // after the last round
		c.complaint = complaint("tool",
			fmt.Sprintf("the tool %q was called again, after the last call that is allowed, and no answer was given", answer.Message.ToolCalls()[0].Name),
			"answer with what you know, without a further call of a tool")
	default:
		if c.complaint = c.wrongCalls(ctx, answer); len(c.complaint) > 0 {
			break
		}
		report, err := c.check(ctx, answer, number)
		if err != nil {
			return err
		}
		c.report, c.complaint = report, report.Complaints
		if !answer.Finish.Known() && slices.ContainsFunc(c.complaint, func(c validate.Complaint) bool { return strings.HasPrefix(c.Problem, phrase.BrokeOff) }) {
			kind = failure.CutOff
		}
	}
	if len(c.complaint) == 0 {
		return nil
	}
	c.advance(stuck(previous, answer, before, c.complaint))
	return &InvalidAnswerError{c.complaint, kind}
}

// thinking says how many of the tokens of an answer its model has used to think.
func thinking(tokens int64) string {
	if tokens <= 0 {
		return ""
	}
	return fmt.Sprintf(" (of which the model has used %d to think)", tokens)
}

// larger returns the token limit of the next request after an answer that was cut
// off: twice the limit, or, if there was none, twice the tokens of the answer. If
// these are unknown too, the next request differs only in that the model is told
// to use fewer words.
func larger(limit int, used int64) int {
	if limit == 0 {
		limit = int(min(used, math.MaxInt/2))
	}
	return min(limit, math.MaxInt/2) * 2
}

// check runs all checks. It repeats those that could not be run, if they may be,
// with waits between, as many times as there are attempts: the model is not to
// blame and is not asked again. Once another check finds the answer wrong, these
// no longer matter.
func (c *call) check(ctx context.Context, answer *llm.Response, number int) (validate.Report, error) {
	a := &validate.Answer{Text: answer.Text(), Response: answer, Request: c.req, Attempt: number}
	report := validate.Run(ctx, c.checks, a, c.cfg.CheckTimeout)
	defer func() {
		r := c.current()
		r.CheckUsage, r.Repaired, r.Skipped = report.Usage, report.Repaired, report.Skipped
	}()
	if len(report.Failed) == 0 {
		return report, nil
	}
	_, err := retry.Do(ctx, c.client.recheck, func(ctx context.Context, try retry.Attempt) (struct{}, error) {
		if try.Number > 1 {
			report.Again(ctx, c.checks, a, c.cfg.CheckTimeout, c.mayRecheck)
		}
		if len(report.Failed) == 0 || len(report.Complaints) > 0 {
			return struct{}{}, nil
		}
		var slowest *validate.CheckError // all that may be run again wait for this one
		var longest time.Duration
		for _, f := range report.Failed {
			if f.Panicked {
				return struct{}{}, retry.Stop(f)
			}
			wait, _ := failure.RetryAfterOf(f)
			if c.mayRecheck(f) && (slowest == nil || wait > longest) {
				slowest, longest = f, wait
			}
		}
		if slowest == nil {
			return struct{}{}, retry.Stop(report.Failed[0])
		}
		return struct{}{}, slowest
	})
	e, ok := errors.AsType[*retry.Error](err)
	if !ok {
		return report, err
	}
	last, ok := errors.AsType[*validate.CheckError](e.Last())
	switch {
	case !ok: // ctx has ended since; the loop will notice
		return report, report.Failed[0]
	case e.Reason == retry.OutOfTime:
		c.ending = ReasonOutOfTime
		return report, &validate.CheckError{Check: last.Check, Index: last.Index, Err: fmt.Errorf(
			"%w; the deadline can't hold the wait of %v before it is run again: %w",
			last.Err, e.RefusedWait.Round(time.Millisecond), context.DeadlineExceeded,
		)}
	}
	return report, last
}

// mayRecheck reports whether a check that could not be run may be run again. The
// error of a judge without attempts left says that it may not.
func (c *call) mayRecheck(f *validate.CheckError) bool {
	wait, _ := failure.RetryAfterOf(f)
	longest := cmp.Or(c.cfg.MaxRetryAfter, retry.DefaultMaxRetryAfter)
	return !retry.Stopped(f) && !failure.NoRetryOf(f) && wait <= longest
}

// stuck reports whether an answer makes no progress: it is the same as the one
// before, or has the same complaints.
func stuck(previous, answer *llm.Response, before, now []validate.Complaint) bool {
	if previous == nil || len(before) == 0 {
		return false
	}
	same := strings.TrimSpace(previous.Text()) == strings.TrimSpace(answer.Text()) &&
		len(previous.Message.ToolCalls()) == 0 && len(answer.Message.ToolCalls()) == 0
	return same || slices.Equal(before, now)
}

// advance notes what a wrong answer says about the next attempt; failedWith decides.
func (c *call) advance(noProgress bool) {
	switch c.report.Advice {
	case validate.Stop:
		c.ending = ReasonNoValidAnswer
		return
	case validate.Human:
		c.handOver("a check asked for it")
		return
	}
	c.stalled, c.advised = noProgress, c.report.Advice == validate.NextStage
}

func (c *call) handOver(why string) {
	c.ending, c.why = ReasonHumanReview, why
}

// failedWith ends a failed attempt: it reports it to the loop, which decides what
// follows, completes its record in the trace, and counts it.
func (c *call) failedWith(err error) {
	k := &c.tries
	if k.Err() == nil { // else the call ended before a further request of the attempt
		// Only one of these has an effect: Settle if the request is in progress, Wrong
		// if its answer was settled.
		k.Settle(endpoint.Outcome{Err: err, Report: c.lost})
		k.Wrong(err)
	}
	c.describe(err)
	c.failed = k.Counted()
	last := c.out != nil && c.out.handed && !c.cfg.RestartStreams // what was yielded can't be taken back
	if c.ending == "" {
		c.rise(last)
	}
	if last {
		k.Stop()
	}
	if c.out != nil {
		c.out.restart()
	}
	if c.ending != "" {
		k.Stop()
	}
	if k.Err() == nil {
		c.prepare()
	}
	c.ended()
}

// describe completes the trace's record of a failed attempt.
func (c *call) describe(err error) {
	r := c.current()
	kind, cause := failure.KindOf(err), err
	if last, ok := c.tries.Last(); ok && last.Number == r.Number {
		kind, cause = last.Kind, last.Err // the loop knows whether the attempt's own limit ended it
	}
	r.Kind, r.Error = kind, cause.Error()
	c.unanswered(kind, cause)
	if c.last != nil && c.lastFrom == r.Number {
		r.Answer = c.last.Text()
	}
	r.Outcome = OutcomeFailed
	switch e := err.(type) {
	case *InvalidAnswerError:
		r.Outcome, r.Complaints = OutcomeInvalid, e.Complaints
		if e.kind == failure.CutOff {
			r.Outcome = OutcomeCutOff
		}
	case *validate.CheckError:
		r.Outcome = OutcomeChecks
	default:
		r.quotes = quotes(cause)
	}
}

// rise goes up a stage after a failed attempt, if its attempts are used up or the model
// makes no progress. Only a person can follow the last attempt.
func (c *call) rise(last bool) {
	why, stalled, advised := "", c.stalled, c.advised
	c.stalled, c.advised = false, false
	next := c.stage + 1
	human := next < len(c.client.stages) && c.client.stages[next].Human
	switch n := c.failed; {
	case c.exhausted():
		why = say.Count(n, "attempt has", "attempts have") + " failed"
	case c.tries.Err() != nil:
		why = c.unserved()
	case advised:
		why = "a check advised it"
	case stalled:
		why = "the model keeps giving the same wrong answer"
	default:
		return
	}
	above := human || !last && next < len(c.client.stages)
	if !(above && c.climb(why)) && c.ending == "" && stalled && c.cfg.StopOnNoProgress {
		c.ending = ReasonNoProgress
	}
}

// ended reports that the current attempt has ended.
func (c *call) ended() {
	r := c.current()
	c.open = false
	if b := c.client.circuit(c.target); b != nil {
		r.Circuit = b.State().String()
	}
	c.tell(c.within, Event{Type: EventAttemptEnded, Attempt: *r})
}

// failure makes the error that the call ends with.
func (c *call) failure(err error) error {
	e, ok := errors.AsType[*retry.Error](err)
	if !ok {
		return err
	}
	reason := c.reasonOf(e)
	if reason == ReasonHumanReview {
		conversation := slices.Clone(c.sent)
		if c.last != nil && c.lastFrom == len(c.trace.Attempts) {
			conversation = append(conversation, c.last.Message)
		}
		return &HumanReviewError{c.req, conversation, c.last, c.complaint, c.why, e.Last(), c.trace}
	}
	return &Error{reason, c.last, c.complaint, err, c.trace}
}

// reasonOf returns why the call ended.
func (c *call) reasonOf(e *retry.Error) Reason {
	if c.out != nil && (c.out.left || c.out.panicked) { // before any reason of the stages
		return ReasonCancelled
	}
	if _, ok := errors.AsType[*account.Error](e); ok { // that of a judge, too
		return ReasonAccountSpent
	}
	switch e.Reason {
	case retry.OutOfTime:
		return ReasonOutOfTime
	case retry.Cancelled:
		return ReasonCancelled
	case retry.AccountSpent:
		return ReasonAccountSpent
	}
	if c.ending != "" {
		return c.ending
	}
	switch e.Reason {
	case retry.CircuitOpen:
		return ReasonCircuitOpen
	case retry.BudgetSpent:
		return ReasonRetryBudgetSpent
	}
	if e.Reason == retry.RateLimitWaitExceeded && e.WaitReason == retry.CircuitWait {
		return ReasonCircuitOpen
	}
	switch failure.KindOf(e) { // includes breakers and accounts within the model itself
	case failure.CircuitOpen:
		return ReasonCircuitOpen
	case failure.RetryBudgetSpent:
		return ReasonRetryBudgetSpent
	case failure.AccountSpent:
		return ReasonAccountSpent
	case failure.RateLimited:
		return ReasonRateLimited
	case failure.InvalidAnswer, failure.CutOff:
		return ReasonNoValidAnswer
	case failure.CheckUnavailable:
		return ReasonCheckUnavailable
	}
	return ReasonProviderFailed
}
