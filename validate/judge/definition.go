package judge

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"llmcall/internal/say"
	"llmcall/llm"
	"llmcall/validate"
)

func init() {
	validate.MustRegister(taskDefinition)
	validate.MustRegister(contradictionDefinition)
}

const (
	takesJudge  = `the judge's full name, "provider/model", unless judges is set`
	takesModels = `a model's full name, "provider/model", or a list of such`
	takesTime   = `a time above 0 (seconds, or a duration like "30s")`
)

// commonParams are the parameters that both checks have.
var commonParams = []validate.Param{
	{Name: "validation_model", Type: "string", Default: "the program's", Meaning: `the judge, as "provider/model"; the command asks $LLMCALL_JUDGE, else the model of the call`},
	{Name: "judges", Type: "string or list of strings", Meaning: "several judges that vote, in place of validation_model"},
	{Name: "agree", Type: "integer", Default: "the majority", Meaning: "how many judges must pass the answer"},
	{Name: "max_attempts", Type: "integer", Default: fmt.Sprint(DefaultMaxAttempts), Meaning: "how often each judge is asked at most, until its verdict can be used"},
	{Name: "attempt_timeout", Type: "number or string", Default: "60", Meaning: "the time for each call of a judge, in seconds or as a Go duration"},
	{Name: "max_tokens", Type: "integer", Default: fmt.Sprint(DefaultMaxTokens), Meaning: "the most tokens of a verdict"},
	{Name: "max_characters", Type: "integer", Default: fmt.Sprint(DefaultMaxCharacters), Meaning: "what a judge is shown of each text; the middle of a longer one is left out, and the judge is told"},
	{Name: "temperature", Type: `number or "none"`, Default: "0", Meaning: `of the judges; "none" leaves it to the provider`},
	{Name: "mcp_config", Type: "object", Refused: true},
	{Name: "required_mcp_tools", Type: "list of strings", Refused: true},
}

var taskDefinition = validate.Definition{
	Info: validate.Info{
		Name: taskName, Example: `agent_task:{"task_prompt": "The answer is polite.", "validation_model": "openai/gpt-6-luna"}`,
		Summary: "a model that judges finds that the answer does what it should",
		Params: append([]validate.Param{
			{Name: "task_prompt", Type: "string", Required: true, Meaning: "what must hold of the answer, or how to judge it"},
			{Name: "criteria", Type: "string or list of strings", Default: "none", Meaning: "what must hold too, each by itself"},
			{Name: "with_request", Type: "boolean", Default: "false", Meaning: "the judge sees the text of the user's messages too"},
		}, commonParams...),
		Main: "the task_prompt",
	},
	Build:    buildTask,
	FromMain: func(task string) (map[string]any, error) { return map[string]any{"task_prompt": task}, nil },
}

var contradictionDefinition = validate.Definition{
	Info: validate.Info{
		Name: contradictionName, Example: `ai_contradiction_check:{"topic_context": "the opening hours: 9 to 5, closed on Sundays", "validation_model": "openai/gpt-6-luna"}`,
		Summary: "a model that judges finds no contradiction in the answer, or between it and given texts",
		Params: append([]validate.Param{
			{Name: "topic_context", Type: "string", Required: true, Meaning: "what the answer is about, with what is known to hold"},
			{Name: "sources", Type: "string or list of strings", Default: "none", Meaning: "texts that the answer must not contradict"},
			{Name: "text_to_check", Type: "string", Default: "none", Meaning: "one more such text, as an earlier answer may be"},
			{Name: "from_request", Type: "boolean", Default: "false", Meaning: "the text of the user's messages is such a text too"},
		}, commonParams...),
		Main: "the topic_context",
	},
	Build:    buildContradiction,
	FromMain: func(topic string) (map[string]any, error) { return map[string]any{"topic_context": topic}, nil },
}

func buildTask(p validate.Params) (validate.Strategy, error) {
	task, err := p.Text("task_prompt", takesTask)
	if err != nil {
		return nil, err
	}
	var o TaskOptions
	if o.Criteria, err = textList(p, "criteria"); err != nil {
		return nil, err
	}
	if o.WithRequest, err = p.Flag("with_request"); err != nil {
		return nil, err
	}
	first, err := common(p, &o.Options)
	if err != nil {
		return nil, err
	}
	return Task(first, task, o)
}

func buildContradiction(p validate.Params) (validate.Strategy, error) {
	topic, err := p.Text("topic_context", takesTopic)
	if err != nil {
		return nil, err
	}
	var o ContradictionOptions
	if o.Sources, err = textList(p, "sources"); err != nil {
		return nil, err
	}
	if o.Text, err = p.Optional("text_to_check"); err != nil {
		return nil, err
	}
	if o.FromRequest, err = p.Flag("from_request"); err != nil {
		return nil, err
	}
	first, err := common(p, &o.Options)
	if err != nil {
		return nil, err
	}
	return Contradiction(first, topic, o)
}

func textList(p validate.Params, name string) ([]string, error) {
	if p.Value(name) == nil {
		return nil, nil
	}
	return p.Texts(name)
}

// common reads the parameters that both checks have, and opens the judges.
func common(p validate.Params, o *Options) (first llm.Model, err error) {
	for _, name := range []string{"mcp_config", "required_mcp_tools"} {
		if p.Value(name) != nil {
			return nil, p.Bad(name, "a value", "unset, since judges have no tools here (give the facts as texts, or, in Go, a model that calls its tools itself)")
		}
	}
	for _, n := range []struct {
		name string
		to   *int
	}{{"agree", &o.Agree}, {"max_attempts", &o.MaxAttempts}, {"max_tokens", &o.MaxTokens}, {"max_characters", &o.MaxCharacters}} {
		const takes = "a whole number of at least 1"
		v, given, err := p.Integer(n.name, takes)
		if err != nil {
			return nil, err
		}
		if given && v == 0 { // in Options that is the default
			return nil, p.Bad(n.name, "0", takes)
		}
		*n.to = v
	}
	if o.AttemptTimeout, err = duration(p, "attempt_timeout"); err != nil {
		return nil, err
	}
	if p.Value("temperature") == "none" {
		o.NoTemperature = true
	} else if t, given, err := p.Number("temperature", `a number from 0 to 2, or "none"`); err != nil {
		return nil, err
	} else if given {
		o.Temperature = &t
	}
	o.Endpoints = p.Endpoints()
	names, err := judges(p)
	if err != nil {
		return nil, err
	}
	for i, name := range names {
		param := "validation_model"
		if p.Value("judges") != nil {
			param = fmt.Sprintf("judges[%d]", i)
		}
		m, err := p.Model(param, name)
		if none, ok := errors.AsType[*validate.ParamError](err); ok && name == "" {
			none.Takes = takesJudge
		}
		if err != nil {
			return nil, err
		}
		if first == nil {
			first = m
		} else {
			o.Others = append(o.Others, m)
		}
	}
	return first, nil
}

// judges returns the names of the judges' models.
func judges(p validate.Params) ([]string, error) {
	if p.Value("judges") == nil {
		if p.Value("validation_model") == nil {
			return []string{""}, nil
		}
		name, err := p.Text("validation_model", takesJudge)
		if err == nil && name == "" {
			err = p.Bad("validation_model", `""`, takesJudge)
		}
		return []string{name}, err
	}
	if p.Value("validation_model") != nil {
		return nil, p.Bad("validation_model", "both", "unset if judges is set")
	}
	names, err := p.Texts("judges")
	switch {
	case err != nil:
		return nil, err
	case len(names) == 0:
		return nil, p.Bad("judges", "an empty list", takesModels)
	case len(names) > maxJudges:
		return nil, p.Bad("judges", strconv.Itoa(len(names)), fmt.Sprintf("at most %d models", maxJudges))
	}
	return names, nil
}

// duration reads seconds or a Go duration. Default 0.
func duration(p validate.Params, name string) (time.Duration, error) {
	var d time.Duration
	switch v := p.Value(name).(type) {
	case nil:
		return 0, nil
	case string:
		parsed, err := time.ParseDuration(strings.TrimSpace(v))
		if err != nil {
			return 0, p.Bad(name, strconv.Quote(say.Short(v, 60)), takesTime)
		}
		d = parsed
	default:
		seconds, _, err := p.Number(name, takesTime)
		if err != nil {
			return 0, err
		}
		if math.Abs(seconds) < float64(math.MaxInt64)/float64(time.Second) {
			d = time.Duration(math.Round(seconds * float64(time.Second)))
		}
	}
	if d <= 0 {
		return 0, p.Bad(name, fmt.Sprint(p.Value(name)), takesTime)
	}
	return d, nil
}
