package llmcall

import (
	"cmp"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"llmcall/internal/nearest"
	"llmcall/internal/say"
	"llmcall/llm"
	"llmcall/retry"
)

// The names of the stages that [RetryConfig.MaxAttemptsBeforeToolUse] makes. A call
// without stages has the first alone.
const (
	StageBasic = "basic" // the model alone
	StageTool  = "tool"  // the model is offered [RetryConfig.Tool]
)

// Stage is a step of the stair that a call goes up while its answers are wrong. It says
// how the model is helped: by further attempts, by tools, by other settings, or by another
// model. A call leaves a stage when its attempts are used up, when the model makes no
// progress, or when none of the stage's models can serve and a later one's can. It never
// goes down, and what was wrong with the last answer is told to the models of the next
// stage.
//
//	stages:
//	  - attempts: 2
//	  - {attempts: 2, tools: [lookup]}
//	  - {attempts: 1, models: [openai/gpt-6], temperature: 0}
//	  - human
//
// The comment after a field is its name in a configuration file.
type Stage struct {
	// Name is the stage's name in traces. Default: its number, "1" for the first.
	Name string // name
	// Attempts is the number of attempts, of which failures of the provider and wrong
	// answers count. If [RetryConfig.MaxAttempts] is less than the sum, a stage is left
	// sooner, so that each later stage has one attempt. Default 1.
	Attempts int // attempts
	// Models are the full names of the models that are alternatives in this stage, in
	// order of preference. They must be among those given to [New]; of several with one
	// name, such as with different API keys, all are meant. Default: [RetryConfig.Models]
	// if that is set, else all models.
	Models []string // models
	// Tools are the names of the tools that the model is offered, or of groups of them such
	// as MCP servers, of [RetryConfig.Tools]. Default none.
	Tools []string // tools
	// MaxTokens, Temperature, Seed, Stop and Extra replace those of the request, and
	// Extra is added to its own. Default: the request's.
	MaxTokens   int            // max_tokens
	Temperature *float64       // temperature
	Seed        *int64         // seed
	Stop        []string       // stop
	Extra       map[string]any // extra
	// Human hands the call to a person: it ends with a [*HumanReviewError]. Only the
	// last stage may have it, and nothing else then. In a file the stage is the word
	// `human`. Default false.
	Human bool
}

// stage is a compiled [Stage].
type stage struct {
	Stage
	order []int   // the indexes of its models
	later int     // how many stages after it ask a model
	tools []*Tool // what it offers
	// instruction tells the model to use the tools; "" in the first stage, whose tools
	// it is merely offered.
	instruction string
}

// AllModels returns the names of the models that the configuration names, in Models and
// in the stages, each once. A program opens them and passes them to [New].
func (c *RetryConfig) AllModels() []string {
	var all []string
	add := func(names []string) {
		for _, name := range names {
			if !slices.Contains(all, name) {
				all = append(all, name)
			}
		}
	}
	add(c.Models)
	for _, s := range c.Stages {
		add(s.Models)
	}
	return all
}

// Stair returns the stages that a call goes up, with their names and attempts filled in:
// those of Stages, or those that MaxAttemptsBeforeToolUse and MaxAttemptsBeforeHuman are a
// short form of. The attempts are at most what MaxAttempts leaves to each if all others
// use theirs up.
func (c *RetryConfig) Stair() []Stage {
	stages, left := c.stair()
	for i := range stages {
		s := &stages[i]
		if s.Human {
			continue
		}
		s.Attempts = max(1, min(s.Attempts, left-asking(stages[i+1:])))
		left -= s.Attempts
	}
	return stages
}

// asking returns how many of the stages ask a model.
func asking(stages []Stage) int {
	n := len(stages)
	if n > 0 && stages[n-1].Human { // no other may
		n--
	}
	return n
}

// stair returns the stages of the configuration, of which MaxAttemptsBeforeToolUse and
// MaxAttemptsBeforeHuman are a short form, and the number of attempts of all together.
func (c *RetryConfig) stair() ([]Stage, int) {
	if len(c.Stages) == 0 {
		attempts := cmp.Or(c.MaxAttempts, DefaultMaxAttempts)
		if n := c.MaxAttemptsBeforeHuman; n > 0 {
			attempts = n // at most MaxAttempts
		}
		stages := []Stage{{Name: StageBasic, Attempts: attempts}}
		if n := c.MaxAttemptsBeforeToolUse; n > 0 {
			stages[0].Attempts = n
			name := c.DebugToolName
			if c.Tool != nil {
				name = c.Tool.Name
			}
			stages = append(stages, Stage{Name: StageTool, Attempts: attempts, Tools: []string{name}})
		}
		if c.MaxAttemptsBeforeHuman > 0 {
			stages = append(stages, Stage{Human: true})
		}
		return stages, attempts
	}
	stages, sum := slices.Clone(c.Stages), 0
	for i := range stages {
		s := &stages[i]
		s.Name = cmp.Or(s.Name, strconv.Itoa(i+1))
		if !s.Human {
			s.Attempts = cmp.Or(s.Attempts, 1)
			sum += s.Attempts
		}
	}
	return stages, min(cmp.Or(c.MaxAttempts, sum), sum)
}

// offered returns the tools that the stages may name.
func (c *RetryConfig) offered() []*Tool {
	tools := make([]*Tool, 0, len(c.Tools)+1)
	for i := range c.Tools {
		tools = append(tools, &c.Tools[i])
	}
	if c.Tool != nil {
		tools = append(tools, c.Tool)
	}
	return tools
}

// compile returns the stages with their models and tools.
func (c *RetryConfig) compile(models []llm.Model) ([]stage, error) {
	var names []string
	for _, m := range models {
		names = append(names, m.Name())
	}
	stages, _ := c.stair()
	tools := c.offered()
	var known []string
	for _, t := range tools {
		known = append(known, t.Name)
		if t.Group != "" && !slices.Contains(known, t.Group) {
			known = append(known, t.Group)
		}
	}
	var all []stage
	for i, s := range stages {
		next := stage{Stage: s, later: asking(stages[i+1:])}
		wanted := s.Models
		if len(wanted) == 0 && slices.ContainsFunc(stages, func(s Stage) bool { return len(s.Models) > 0 }) {
			wanted = c.Models
		}
		for j, name := range wanted {
			found := false
			for at, m := range names {
				if m == name && !slices.Contains(next.order, at) {
					next.order, found = append(next.order, at), true
				}
			}
			if !found && !slices.Contains(names, name) {
				return nil, unknownName(fmt.Sprintf("stages[%d].models[%d]", i, j), name, "a model given to New", names)
			}
		}
		if len(wanted) == 0 {
			for at := range names {
				next.order = append(next.order, at)
			}
		}
		for j, name := range s.Tools {
			named := slices.DeleteFunc(slices.Clone(tools), func(t *Tool) bool { return t.Name != name && t.Group != name })
			if len(named) == 0 {
				field := fmt.Sprintf("stages[%d].tools[%d]", i, j)
				if len(c.Stages) == 0 {
					field = "debug_tool_name"
				}
				return nil, unknownName(field, name, "a tool of the configuration", known)
			}
			for _, t := range named {
				if !slices.Contains(next.tools, t) {
					next.tools = append(next.tools, t)
				}
			}
		}
		if len(c.Stages) == 0 && len(s.Tools) == 0 && c.DebugToolName == "" {
			next.tools = tools[:len(c.Tools)]
		}
		if i > 0 {
			var texts []string
			for _, t := range next.tools {
				texts = append(texts, t.instruction())
			}
			next.instruction = strings.Join(texts, "\n\n")
		}
		all = append(all, next)
	}
	return all, nil
}

// unknownName returns the error of a name that is not known.
func unknownName(field, name, takes string, known []string) error {
	if len(known) == 0 {
		return &ConfigError{Field: field, Got: strconv.Quote(name), Takes: takes + ", of which there are none"}
	}
	known, near := nearest.Sorted(name, known)
	if near {
		return &ConfigError{Field: field, Got: strconv.Quote(name), Takes: fmt.Sprintf("%s (did you mean %s?)", takes, known[0])}
	}
	return &ConfigError{Field: field, Got: strconv.Quote(name), Takes: takes + ": " + say.List(known, maxKnown)}
}

// validateStages checks that the stages are in order and complete. Whether their models
// and tools exist is known to New alone.
func (c *RetryConfig) validateStages() error {
	for i, t := range c.Tools {
		field := fmt.Sprintf("tools[%d].name", i)
		if t.Name == "" {
			return &ConfigError{Field: field, Got: `""`, Takes: takesName}
		}
		if slices.ContainsFunc(c.Tools[:i], func(o Tool) bool { return o.Name == t.Name }) || c.Tool != nil && c.Tool.Name == t.Name {
			return &ConfigError{Field: field, Got: strconv.Quote(t.Name), Takes: "a name that no other tool has"}
		}
	}
	if len(c.Stages) == 0 {
		return c.validateThresholds()
	}
	for _, v := range []struct {
		set   bool
		field string
	}{
		{c.MaxAttemptsBeforeToolUse != 0, "max_attempts_before_tool_use"},
		{c.MaxAttemptsBeforeHuman != 0, "max_attempts_before_human"},
		{c.Tool != nil, "tool"},
		{c.DebugToolName != "", "debug_tool_name"},
	} {
		if v.set {
			return &ConfigError{Field: v.field, Err: errors.New("must not be set together with stages, of which it is a short form")}
		}
	}
	taken := map[string]bool{}
	for i, s := range c.Stages {
		field := fmt.Sprintf("stages[%d]", i)
		switch {
		case s.Human && i < len(c.Stages)-1:
			return &ConfigError{Field: field, Got: "human", Takes: "a stage that asks a model: a person is the last"}
		case s.Human && i == 0:
			return &ConfigError{Field: "stages", Got: "[human]", Takes: "a list with at least one stage that asks a model"}
		case s.Human:
			if !reflect.DeepEqual(s, Stage{Human: true}) {
				return &ConfigError{Field: field, Err: errors.New("human must be set alone")}
			}
			continue
		}
		if s.Attempts < 0 || s.Attempts > maxAttempts {
			return &ConfigError{Field: field + ".attempts", Got: s.Attempts, Takes: takesThreshold}
		}
		for j, name := range s.Models {
			if slices.Contains(s.Models[:j], name) {
				return &ConfigError{Field: fmt.Sprintf("%s.models[%d]", field, j), Got: strconv.Quote(name), Takes: "a model that the stage does not name already"}
			}
		}
		name := cmp.Or(s.Name, strconv.Itoa(i+1))
		if taken[name] {
			return &ConfigError{Field: field + ".name", Got: strconv.Quote(name), Takes: "a name that no other stage has"}
		}
		taken[name] = true
	}
	if n, least := c.MaxAttempts, asking(c.Stages); n != 0 && n < least {
		return &ConfigError{
			Field: "max_attempts", Got: n, Takes: fmt.Sprintf("a whole number of at least %d, the number of stages that ask a model", least),
		}
	}
	return nil
}

// maxAttempts is the largest number of attempts of a stage.
const maxAttempts = 10_000

// climb goes up to the next stage that can go on, or to a person. It returns false if
// there is none. Stages that were put off for the quality of their models come last, and only
// if the others can't serve.
func (c *call) climb(why string) bool {
	unserved := c.tries.Err() != nil && !c.exhausted()
	human := false
	for next := c.top + 1; next < len(c.client.stages); next++ {
		if human = c.client.stages[next].Human; !human && c.among(next, why) {
			return true
		}
	}
	for unserved && c.back < len(c.putOff) {
		c.back++
		if c.among(c.putOff[c.back-1], why) {
			return true
		}
	}
	if human && c.forPerson() {
		c.handOver(why)
	}
	return false
}

// forPerson reports whether a person can help a call that no model can answer: its
// attempts are used up, or there is a wrong answer to look at. A bad key alone is not for a
// person.
func (c *call) forPerson() bool {
	return c.tries.Err() == nil || c.exhausted() || len(c.complaint) > 0
}

// exhausted reports whether the call has ended because its attempts are used up.
func (c *call) exhausted() bool {
	e, ok := errors.AsType[*retry.Error](c.tries.Err())
	return ok && e.Reason == retry.Exhausted
}

// unserved says why the call leaves a stage in which nothing was wrong with an answer.
func (c *call) unserved() string { return "no model of stage " + c.at().Name + " can serve" }

// allowed returns how many attempts a stage may make: its own, less what is needed to
// keep one for each later stage that asks a model.
func (c *call) allowed(at int) int {
	s := &c.client.stages[at]
	return max(1, min(s.Attempts, c.client.attempts-c.tries.Counted()-s.later))
}

// enter begins a stage.
func (c *call) enter(at int) {
	c.stage, c.top = at, max(c.top, at)
	s := c.at()
	if s.MaxTokens > 0 {
		c.given, c.ceiling = s.MaxTokens, 0
		c.maxTokens = max(s.MaxTokens, c.maxTokens)
	}
}

// at returns the current stage.
func (c *call) at() *stage { return &c.client.stages[c.stage] }

// fitting returns the caller's request with the settings of the stage, as far as the model
// of the attempt takes them. Settings are meant for the first model of the first stage, or
// those of a stage for its first: what another one can't take is left out, with a note, since
// the call would otherwise fail where it was to be saved. These are Extra, whose fields are
// those of one provider, and Seed and Stop where an API has none.
func (c *call) fitting() llm.Request {
	s, first := c.at(), &c.client.stages[0]
	r := *c.req
	c.lacks = nil
	r.Extra = nil
	if len(c.req.Extra) > 0 && c.takesExtra(first, "of the request") {
		r.Extra = c.req.Extra
	}
	if len(s.Extra) > 0 && c.takesExtra(s, "of the stage") {
		r.Extra = with(r.Extra, s.Extra)
	}
	if s.Temperature != nil {
		r.Temperature = s.Temperature
	}
	seedFor, stopFor := first, first
	if s.Seed != nil {
		r.Seed, seedFor = s.Seed, s
	}
	if len(s.Stop) > 0 {
		r.Stop, stopFor = s.Stop, s
	}
	if r.Seed != nil && c.lacking(seedFor, "seed") {
		r.Seed = nil
	}
	if len(r.Stop) > 0 && c.lacking(stopFor, "stop") {
		r.Stop = nil
	}
	return r
}

// takesExtra reports whether the model of the attempt is of the provider of a stage's first
// model.
func (c *call) takesExtra(s *stage, whose string) bool {
	meant, own := providerOf(c.client.models[s.order[0]]), providerOf(c.model)
	if meant != own {
		c.lacks = append(c.lacks, fmt.Sprintf("extra %s left out: its fields are those of %s", whose, cmp.Or(meant, "another provider")))
	}
	return meant == own
}

// lacking reports whether a setting must be left out: the API of the attempt's model has
// none, and the setting was meant for the first model of a stage, which is another.
func (c *call) lacking(s *stage, name string) bool {
	m, ok := c.model.(interface{ Lacks() []string })
	if !ok || s.order[0] == c.target || !slices.Contains(m.Lacks(), name) {
		return false
	}
	c.lacks = append(c.lacks, name+" left out: the API of "+c.model.Name()+" has none")
	return true
}

// providerOf returns the provider of a model by its name, "openai" of "openai/gpt-6"; ""
// if it names none.
func providerOf(m llm.Model) string {
	provider, _, ok := strings.Cut(m.Name(), "/")
	if !ok {
		return ""
	}
	return provider
}

// tool returns the tool of the stage with a name, or nil.
func (s *stage) tool(name string) *Tool {
	at := slices.IndexFunc(s.tools, func(t *Tool) bool { return t.Name == name })
	if at < 0 {
		return nil
	}
	return s.tools[at]
}

// runs reports whether the stage carries out calls of tools: it has some, and each has a
// Run.
func (s *stage) runs() bool {
	return len(s.tools) > 0 && !slices.ContainsFunc(s.tools, func(t *Tool) bool { return t.Run == nil })
}
