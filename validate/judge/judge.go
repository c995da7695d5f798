// Package judge checks an answer by asking a model what it thinks of it: whether
// the answer does what it should (Task), or contradicts itself, its sources or
// another text (Contradiction). The judge may be another model than the one that
// is judged, and several judges may vote.
//
//	check, err := judge.Task(model, "The answer is polite, and offers a refund.", judge.TaskOptions{})
//
// What is judged is sent as data between markers that nobody can guess, with the
// instruction that nothing in it is an order; so are the sources and the request.
// A model can still be talked into a wrong verdict: what can be checked without
// one should be.
//
// A judge must answer in JSON of a fixed schema, which is asked for in the
// provider's own way and checked strictly: the text "false" is not a truth value. A
// verdict that can't be used is asked for again, with what is wrong with it, and a
// call that failed is made again after a wait, each as often as
// Options.MaxAttempts allows in all. Then the check could not be made: that says
// nothing of the answer, and the model that is judged is not asked again for it.
//
// The tokens that the judges used are in the verdict's Usage, those of failed
// attempts among them as far as the provider told them. The checks are costly (see
// validate.Costly): validate.Run makes them of answers alone that all others pass.
//
// An import of it, for its names or for its effect, makes the checks "agent_task"
// and "ai_contradiction_check" known to validate.Build and validate.Parse.
package judge

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
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

// The defaults of Options.
const (
	DefaultMaxAttempts    = 2
	DefaultAttemptTimeout = time.Minute
	DefaultMaxTokens      = 4096
	DefaultMaxCharacters  = 100_000
)

// maxJudges bounds a panel, all of whose judges are asked at the same time.
const maxJudges = 16

// Options says who judges beside the first model, and how judges are asked. The
// zero value works.
type Options struct {
	// Others are judges beside the first; all are asked at the same time, up to
	// 16 with it. The same model may stand here more than once. Default: none.
	Others []llm.Model
	// Agree is how many judges must pass an answer. As soon as it is clear
	// whether so many do, the others are cancelled. A judge that gives no
	// verdict counts neither way; where the vote depends on it, the check could
	// not be made. Default 0: the majority of all judges.
	Agree int
	// MaxAttempts is how often each judge is asked for a verdict, both because a
	// call failed and because the verdict could not be used. Waits for a rate
	// limit are no attempts. Default 2.
	MaxAttempts int
	// AttemptTimeout bounds each of these calls. The whole check is bounded by
	// its context. Default 1 min.
	AttemptTimeout time.Duration
	// MaxTokens bounds a verdict, with what a model thinks before it. One that
	// was cut off is asked for again with twice as much. Default 4096.
	MaxTokens int
	// MaxCharacters bounds what a judge is shown of each text, in Unicode code
	// points. The middle of a longer one is left out, and the judge is told how
	// much of it, and not to complain of that: what is left out is not judged.
	// At least 100. Default 100,000.
	MaxCharacters int
	// Temperature is that of the judges. A model that refuses it, with an error
	// that names it, is asked without from then on. Default nil: 0.
	Temperature *float64
	// NoTemperature leaves the temperature to the provider.
	NoTemperature bool
	// Endpoints is where what a judge shares with the other callers of its model
	// comes from: the circuit, the pace, the budget of retries. Default
	// [endpoint.Default], which all calls of the process share.
	Endpoints *endpoint.Registry
	// Guards says which of these are asked before each request to a judge, and
	// with which circuit. Default: all, with the default circuit.
	Guards endpoint.Options
}

// TaskOptions are what Task takes beside the judge and the task. The zero value
// works.
type TaskOptions struct {
	Options
	// Criteria must each hold of the answer, beside the task. What can be checked
	// exactly, such as a text that must not occur, is better left to a check
	// that needs no judge. Default: none.
	Criteria []string
	// WithRequest shows the judges what was asked: the text of the user's
	// messages in the request. Default: they see the answer alone.
	WithRequest bool
}

// ContradictionOptions are what Contradiction takes beside the judge and the
// topic. The zero value works.
type ContradictionOptions struct {
	Options
	// Sources are texts that the answer must not contradict. What they don't say
	// contradicts nothing. Default: none.
	Sources []string
	// Text is one more such text, as an earlier answer may be. Default "": none.
	Text string
	// FromRequest adds the text of the user's messages in the request to the
	// sources.
	FromRequest bool
}

// Task makes a check, named "agent_task", that passes an answer which the judge
// finds to do what the task says: a statement of what must hold, or an
// instruction how to judge. Its complaints are the judge's reasons.
//
// Only the answer's text is judged. Where it is blank, as that of an answer that
// only calls a tool is, the check complains of that, and no judge is asked.
//
// What is impossible is a *validate.ParamError.
func Task(judge llm.Model, task string, opts TaskOptions) (validate.Strategy, error) {
	if strings.TrimSpace(task) == "" {
		return nil, bad(taskName, "task_prompt", "is empty", takesTask)
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

// Contradiction makes a check, named "ai_contradiction_check", that passes an
// answer in which the judge finds no contradiction: of itself, of what topic
// says, of the sources, or of the text. topic is what the answer is about, with
// what is known to hold. Its complaints are the contradictions.
//
// Only the answer's text is judged, as with Task; a blank one is a complaint here
// too, since it says nothing of the topic.
//
// What is impossible is a *validate.ParamError.
func Contradiction(judge llm.Model, topic string, opts ContradictionOptions) (validate.Strategy, error) {
	if strings.TrimSpace(topic) == "" {
		return nil, bad(contradictionName, "topic_context", "is empty", takesTopic)
	}
	if err := noneBlank(contradictionName, "sources", opts.Sources); err != nil {
		return nil, err
	}
	if opts.Text != "" && strings.TrimSpace(opts.Text) == "" {
		return nil, bad(contradictionName, "text_to_check", "is blank", "a text")
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
	takesTask  = "what must hold of the answer, as a text"
	takesTopic = "what the answer is about, as a text"
)

func bad(check, param, problem, takes string) *validate.ParamError {
	return &validate.ParamError{Check: check, Param: param, Problem: problem, Takes: takes}
}

func noneBlank(check, param string, texts []string) error {
	for i, t := range texts {
		if strings.TrimSpace(t) == "" {
			return bad(check, fmt.Sprintf("%s[%d]", param, i), "is blank", "a text")
		}
	}
	return nil
}

// judgeCheck is what both checks are: instructions, and texts beside the answer.
type judgeCheck struct {
	*panel
	instructions string
	texts        []text
	request      bool // the request is one of the texts
}

func (c *judgeCheck) Name() string { return c.name }

// Costly is true: a judge is paid for.
func (c *judgeCheck) Costly() bool { return true }

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

// panel are the judges of one check.
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
			return nil, bad(name, judgeAt(i), "is nil", "a model")
		}
	}
	const temperatures = "a number from 0 to 2, or none"
	switch {
	case len(models) > maxJudges:
		return nil, bad(name, "judges", fmt.Sprintf("are %d", len(models)), fmt.Sprintf("at most %d models", maxJudges))
	case opts.Agree < 0 || opts.Agree > len(models):
		return nil, bad(name, "agree", fmt.Sprintf("is %d", opts.Agree), fmt.Sprintf("a number from 1 to that of the judges (%d)", len(models)))
	case opts.MaxAttempts < 0:
		return nil, bad(name, "max_attempts", fmt.Sprintf("is %d", opts.MaxAttempts), "a whole number of at least 1")
	case opts.AttemptTimeout < 0:
		return nil, bad(name, "attempt_timeout", fmt.Sprintf("is %v", opts.AttemptTimeout), "a time that is not negative")
	case opts.MaxTokens < 0 || opts.MaxTokens > math.MaxInt32:
		return nil, bad(name, "max_tokens", fmt.Sprintf("is %d", opts.MaxTokens), "a whole number of at least 1, below 2147483648")
	case opts.MaxCharacters != 0 && opts.MaxCharacters < minCharacters:
		return nil, bad(name, "max_characters", fmt.Sprintf("is %d", opts.MaxCharacters), fmt.Sprintf("a whole number of at least %d", minCharacters))
	case opts.Temperature != nil && !(*opts.Temperature >= 0 && *opts.Temperature <= 2):
		return nil, bad(name, "temperature", fmt.Sprintf("is %v", *opts.Temperature), temperatures)
	case opts.Temperature != nil && opts.NoTemperature:
		return nil, bad(name, "temperature", "is both set and left out", temperatures)
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
		return nil, bad(name, "guards", err.Error(), "a possible circuit")
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

// judgeAt names a judge by its place: the first is given by itself.
func judgeAt(i int) string {
	if i == 0 {
		return "judge"
	}
	return fmt.Sprintf("others[%d]", i-1)
}
