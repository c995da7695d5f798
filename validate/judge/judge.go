// Package judge has checks that ask a model, the judge, for a verdict on an answer:
// whether it does what it should ([Task]), or contradicts itself, its sources or
// another text ([Contradiction]).
//
//	check, err := judge.Task(model, "The answer is polite, and offers a refund.", judge.TaskOptions{})
//
// A verdict is either pass, or a list of reasons, which become the complaints. Several
// judges may vote: an answer passes if as many judges as [Options.Agree] pass it.
//
// The answer, the sources and the request are sent as data between random markers,
// with the instruction to obey nothing in them. A model can still be talked into a
// wrong verdict, so use a check without a judge where one is possible.
//
// A verdict is JSON of a fixed schema, which is requested in the provider's own way and
// checked strictly. A verdict that can't be used is asked for again, with what is wrong
// with it, and a failed call is repeated after a wait. [Options.MaxAttempts] bounds both
// together. After that the check fails with a *[NoVerdictError], which says nothing
// about the answer; the model that gave the answer is not asked again.
//
// [validate.Verdict.Usage] has the tokens that the judges used, including those of
// failed attempts if the provider reported them. The checks are [validate.Costly]:
// [validate.Run] runs them only on answers that all other checks pass.
//
// An import of the package also makes the checks "agent_task" and
// "ai_contradiction_check" known to [validate.Build] and [validate.Parse].
package judge

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"llmcall/endpoint"
	"llmcall/internal/phrase"
	"llmcall/llm"
	"llmcall/retry"
	"llmcall/validate"
)

// The names of the checks.
const (
	taskName          = "agent_task"
	contradictionName = "ai_contradiction_check"
)

// The defaults of [Options].
const (
	DefaultMaxAttempts    = 2           // of each judge
	DefaultAttemptTimeout = time.Minute // for each call
	DefaultMaxTokens      = 4096        // of each verdict
	DefaultMaxCharacters  = 100_000     // of each text, in Unicode code points
)

// maxJudges bounds the judges of a panel, since all are asked at the same time.
const maxJudges = 16

// Options configures the judges of [Task] and [Contradiction]. The zero value means one
// judge and the defaults.
type Options struct {
	// Others are further judges, up to 16 with the first. All are asked at the same
	// time. A model may be given more than once. Default nil: none.
	Others []llm.Model
	// Agree is the number of judges that must pass an answer. Once the vote is
	// decided, the other judges are cancelled. A judge without a verdict counts
	// neither way; if the vote depends on it, the check fails. Default 0: the majority
	// of all judges.
	Agree int
	// MaxAttempts bounds how often each judge is asked, whether a call failed or its
	// verdict could not be used. Waits for a rate limit are not attempts. Default 0:
	// 2.
	MaxAttempts int
	// AttemptTimeout bounds each call of a judge. The context bounds the whole check.
	// Default 0: 1 min.
	AttemptTimeout time.Duration
	// MaxTokens bounds a verdict and the reasoning before it, in tokens. A verdict that
	// was cut off is asked for again with twice as many. Default 0: 4096.
	MaxTokens int
	// MaxCharacters bounds each text that a judge is shown, in Unicode code points; at
	// least 100. The middle of a longer text is left out, and so not judged; the judge
	// is told how much is missing, and not to complain about that. Default 0: 100,000.
	MaxCharacters int
	// Temperature is the judges' temperature, from 0 to 2. A model that refuses it, with
	// an error that names it, is asked without it from then on. Default nil: 0.
	Temperature *float64
	// NoTemperature leaves the temperature to the provider. Default false.
	NoTemperature bool
	// Endpoints has what a judge shares with the other callers of its model: the
	// circuit breaker, the pacer and the retry budget. Default nil: [endpoint.Default],
	// which all calls of the process share.
	Endpoints *endpoint.Registry
	// Guards selects which of these are asked before each request to a judge, and with
	// which circuit breaker. The zero value: all, with the default circuit breaker.
	Guards endpoint.Options
}

// TaskOptions are the options of [Task]. The zero value means one judge and the
// defaults.
type TaskOptions struct {
	Options
	// Criteria are further statements, each of which must be true of the answer. What
	// can be checked exactly, such as a forbidden text, is better left to a check
	// without a judge. Default nil: none.
	Criteria []string
	// WithRequest also shows the judges the text of the user's messages in the request.
	// Default false: they see only the answer.
	WithRequest bool
}

// ContradictionOptions are the options of [Contradiction]. The zero value means one
// judge and the defaults.
type ContradictionOptions struct {
	Options
	// Sources are texts that the answer must not contradict. A statement that they
	// don't mention is not a contradiction. Default nil: none.
	Sources []string
	// Text is another such text, for example an earlier answer. Default "": none.
	Text string
	// FromRequest adds the text of the user's messages in the request to the sources.
	// Default false.
	FromRequest bool
}

// Task returns a check, named "agent_task", that passes an answer if the judge does.
// task is a statement that must be true of the answer, or an instruction how to judge
// it. The complaints are the judge's reasons.
//
// Only the answer's text is judged. If it is blank, as when the answer only calls a
// tool, the check complains without asking a judge.
//
// The error is a *[validate.ParamError]: the task is blank, the judge is nil, or an
// option is impossible.
func Task(judge llm.Model, task string, opts TaskOptions) (validate.Strategy, error) {
	if strings.TrimSpace(task) == "" {
		return nil, bad(taskName, "task_prompt", strconv.Quote(task), takesTask)
	}
	if err := noneBlank(taskName, "criteria", opts.Criteria); err != nil {
		return nil, err
	}
	p, err := newPanel(taskName, judge, opts.Options)
	if err != nil {
		return nil, err
	}
	return &judgeCheck{panel: p, instructions: taskInstructions(task, opts.Criteria, opts.WithRequest), request: opts.WithRequest}, nil
}

// Contradiction returns a check, named "ai_contradiction_check", that passes an answer
// in which the judge finds no contradiction: within itself, or to the topic, the
// sources or the text. topic is what the answer is about, and what is known to be true
// of it. The complaints are the contradictions.
//
// Only the answer's text is judged. A blank one is a complaint, as with [Task].
//
// The error is a *[validate.ParamError]: the topic is blank, the judge is nil, or an
// option is impossible.
func Contradiction(judge llm.Model, topic string, opts ContradictionOptions) (validate.Strategy, error) {
	if strings.TrimSpace(topic) == "" {
		return nil, bad(contradictionName, "topic_context", strconv.Quote(topic), takesTopic)
	}
	if err := noneBlank(contradictionName, "sources", opts.Sources); err != nil {
		return nil, err
	}
	if opts.Text != "" && strings.TrimSpace(opts.Text) == "" {
		return nil, bad(contradictionName, "text_to_check", strconv.Quote(opts.Text), takesText)
	}
	p, err := newPanel(contradictionName, judge, opts.Options)
	if err != nil {
		return nil, err
	}
	c := &judgeCheck{panel: p, request: opts.FromRequest}
	for i, source := range opts.Sources {
		c.texts = append(c.texts, text{fmt.Sprintf("SOURCE %d", i+1), source})
	}
	if opts.Text != "" {
		c.texts = append(c.texts, text{referenceTitle, opts.Text})
	}
	c.instructions = contradictionInstructions(topic, len(opts.Sources) > 0, opts.Text != "", opts.FromRequest)
	return c, nil
}

const (
	takesTask  = "a text that says what must be true of the answer"
	takesTopic = "a text that says what the answer is about"
	takesText  = "a text that is not blank"
)

func bad(check, param, got, takes string) *validate.ParamError {
	return &validate.ParamError{Check: check, Param: param, Got: got, Takes: takes}
}

func noneBlank(check, param string, texts []string) error {
	for i, t := range texts {
		if strings.TrimSpace(t) == "" {
			return bad(check, fmt.Sprintf("%s[%d]", param, i), strconv.Quote(t), takesText)
		}
	}
	return nil
}

// judgeCheck is both checks: instructions for the judge, and texts to show with the
// answer.
type judgeCheck struct {
	*panel
	instructions string
	texts        []text
	request      bool // the request is one of the texts
}

func (c *judgeCheck) Name() string { return c.name }

// Costly is true: a judge is paid for.
func (c *judgeCheck) Costly() bool { return true }

// Models returns the names of the models that are asked, so that a call with a ceiling of
// money can be refused before its first request if one has no known price.
func (c *judgeCheck) Models() []string {
	all := make([]string, len(c.judges))
	for i, m := range c.judges {
		all[i] = m.model.Name()
	}
	return all
}

func (c *judgeCheck) Check(ctx context.Context, a *validate.Answer) (validate.Verdict, error) {
	if strings.TrimSpace(a.Text) == "" {
		return validate.Verdict{Complaints: []validate.Complaint{{
			Problem: "the answer has no text", Suggestion: phrase.Text.Of(),
		}}}, nil
	}
	texts := slices.Clone(c.texts)
	if c.request {
		if a.Request == nil {
			return validate.Verdict{}, errors.New("its judge is to see the request, and there is no request")
		}
		var asked []string
		for _, m := range a.Request.Messages {
			if m.Role == llm.RoleUser {
				asked = append(asked, m.Text())
			}
		}
		texts = append(texts, text{requestTitle, strings.Join(asked, "\n\n")})
	}
	texts = append(texts, text{answerTitle, a.Text})
	return c.vote(ctx, func() []llm.Message { return conversation(c.instructions, texts, c.maxCharacters) })
}

// panel is the judges of one check.
type panel struct {
	name          string
	judges        []*member
	agree         int
	maxCharacters int
}

// member is one judge.
type member struct {
	model              llm.Model
	policy             *retry.Policy
	target             []retry.Target
	maxTokens          int
	temperature        *float64
	refusesTemperature atomic.Bool
}

func newPanel(name string, first llm.Model, opts Options) (*panel, error) {
	models := append([]llm.Model{first}, opts.Others...)
	for i, m := range models {
		if m == nil {
			return nil, bad(name, judgeAt(i), "nil", "a model")
		}
	}
	switch {
	case len(models) > maxJudges:
		return nil, bad(name, "judges", strconv.Itoa(len(models)), fmt.Sprintf("at most %d models", maxJudges))
	case opts.Agree < 0 || opts.Agree > len(models):
		return nil, bad(name, "agree", strconv.Itoa(opts.Agree), fmt.Sprintf("a whole number from 1 to the number of judges (%d)", len(models)))
	case opts.MaxAttempts < 0:
		return nil, bad(name, "max_attempts", strconv.Itoa(opts.MaxAttempts), "a whole number of at least 1")
	case opts.AttemptTimeout < 0:
		return nil, bad(name, "attempt_timeout", opts.AttemptTimeout.String(), "a time above 0")
	case opts.MaxTokens < 0 || opts.MaxTokens > math.MaxInt32:
		return nil, bad(name, "max_tokens", strconv.Itoa(opts.MaxTokens), "a whole number from 1 to 2147483647")
	case opts.MaxCharacters != 0 && opts.MaxCharacters < minCharacters:
		return nil, bad(name, "max_characters", strconv.Itoa(opts.MaxCharacters), fmt.Sprintf("a whole number of at least %d", minCharacters))
	case opts.Temperature != nil && !(*opts.Temperature >= 0 && *opts.Temperature <= 2):
		return nil, bad(name, "temperature", fmt.Sprint(*opts.Temperature), "a number from 0 to 2")
	case opts.Temperature != nil && opts.NoTemperature:
		return nil, bad(name, "temperature", fmt.Sprint(*opts.Temperature), "unset if NoTemperature is set")
	}
	p := &panel{name: name, agree: opts.Agree, maxCharacters: opts.MaxCharacters}
	if p.agree == 0 {
		p.agree = len(models)/2 + 1
	}
	if p.maxCharacters == 0 {
		p.maxCharacters = DefaultMaxCharacters
	}
	endpoints := opts.Endpoints
	if endpoints == nil {
		endpoints = endpoint.Default()
	}
	if err := opts.Guards.Validate(); err != nil {
		guards := bad(name, "guards", "", "")
		guards.Err = err
		return nil, guards
	}
	for _, m := range models {
		j := &member{model: m, maxTokens: opts.MaxTokens, temperature: opts.Temperature}
		if j.maxTokens == 0 {
			j.maxTokens = DefaultMaxTokens
		}
		switch {
		case opts.NoTemperature:
			j.temperature = nil
		case j.temperature == nil:
			j.temperature = new(0.0)
		}
		config := retry.Config{MaxAttempts: opts.MaxAttempts, AttemptTimeout: opts.AttemptTimeout, Follows: true}
		if config.MaxAttempts == 0 {
			config.MaxAttempts = DefaultMaxAttempts
		}
		if config.AttemptTimeout == 0 {
			config.AttemptTimeout = DefaultAttemptTimeout
		}
		var err error
		if j.policy, err = retry.New(config); err != nil {
			return nil, err
		}
		j.target = []retry.Target{retry.TargetOf(endpoints.Get(endpoint.KeyOf(m)), opts.Guards)}
		p.judges = append(p.judges, j)
	}
	return p, nil
}

// judgeAt returns the parameter of a judge: the first has one of its own.
func judgeAt(i int) string {
	if i == 0 {
		return "judge"
	}
	return fmt.Sprintf("others[%d]", i-1)
}
