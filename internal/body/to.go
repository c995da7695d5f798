package body

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"reflect"
	"slices"
	"strings"

	"llmcall/llm"
)

// spoken are the protocols in words.
var spoken = map[string]string{
	chatName: "OpenAI's chat completions API", responsesName: "OpenAI's Responses API", anthropicName: "Anthropic's Messages API", geminiName: "the Gemini API",
}

// translation is a body on its way to a model of another protocol.
type translation struct {
	*Body
	to     string
	req    llm.Request
	extra  map[string]any
	losses []Loss
}

// translate translates the request, and the fields that it has none for.
func (t *translation) translate() {
	for _, l := range t.lost {
		t.losses = append(t.losses, l.Loss)
	}
	t.settings()
	t.tools()
	t.conversation()
	if t.json {
		t.anyJSON()
	}
	for _, name := range slices.Sorted(maps.Keys(t.rest)) {
		t.field(name, t.rest[name])
	}
}

func (t *translation) lose(field, problem string, harmless bool) {
	t.losses = append(t.losses, Loss{field, problem, harmless})
}

// place is where a setting of the request is in the body; its name if it has another origin.
func (t *translation) place(name string) string { return cmp.Or(t.path[name], name) }

// maxStop is how many texts to end at Gemini takes
// (https://ai.google.dev/api/generate-content#GenerationConfig).
const maxStop = 5

// settings translates what the request has a field for, and the protocol may lack.
func (t *translation) settings() {
	lacks := fmt.Sprintf("%s has no such setting", spoken[t.to])
	if s := t.req.Seed; s != nil && (t.to == anthropicName || t.to == responsesName || t.to == geminiName && int64(int32(*s)) != *s) {
		t.lose(t.place("seed"), "is left out: it makes an answer likelier to repeat, and "+lacks, true)
		t.req.Seed = nil
	}
	if c := t.req.Temperature; c != nil && t.to == anthropicName && *c > 1 {
		t.lose(t.place("temperature"), fmt.Sprintf("is 1, the most that Anthropic takes, instead of %v", *c), true)
		t.req.Temperature = new(1.0)
	}
	switch n := len(t.req.Stop); {
	case n > 0 && t.to == responsesName:
		t.lose(t.place("stop"), "can't be carried out: "+lacks, false)
		t.req.Stop = nil
	case n > maxStop && t.to == geminiName:
		t.lose(t.place("stop"), fmt.Sprintf("must have at most %d texts for Gemini, got %d", maxStop, n), false)
		t.req.Stop = t.req.Stop[:maxStop]
	}
}

// tools leaves out those that must not be called.
func (t *translation) tools() {
	if t.allowed == nil {
		return
	}
	t.req.Tools = slices.DeleteFunc(slices.Clone(t.req.Tools), func(tool llm.Tool) bool {
		return t.known(node{}, tool.Name) == nil && !slices.Contains(t.allowed, tool.Name)
	})
	if t.must {
		t.req.ForceTool = anyTool
	}
}

// conversation leaves out the parts that the protocol has no place for.
func (t *translation) conversation() {
	kept := make([]llm.Message, 0, len(t.req.Messages))
	of := 0 // the message of the body that comes next
	for i, m := range t.req.Messages {
		var at []string
		if of < len(t.at) && reflect.DeepEqual(m, t.Request.Messages[of]) {
			at = t.at[of]
			of++
		}
		parts := make([]llm.Part, 0, len(m.Parts))
		for j, p := range m.Parts {
			where := fmt.Sprintf("messages[%d].parts[%d]", i, j)
			if at != nil {
				where = at[j]
			}
			if t.takes(p, where) {
				parts = append(parts, p)
			}
		}
		if len(parts) > 0 {
			kept = append(kept, llm.Message{Role: m.Role, Parts: parts})
		}
	}
	t.req.Messages = kept
	if n := len(t.at) - 1; t.Protocol == anthropicName && n >= 0 && t.Request.Messages[n].Role == llm.RoleAssistant {
		t.lose(t.at[n][0], "can't be carried out: that a model goes on with the beginning of an answer is for Anthropic's", false)
	}
}

// takes reports whether the protocol has a place for a part, and notes what it loses.
func (t *translation) takes(p llm.Part, at string) bool {
	switch p := p.(type) {
	case llm.Reasoning:
		if p.Provider != t.Protocol {
			return true // of a model that was asked since
		}
		if isThought(p.Data) {
			t.lose(at, "is a thought, which only a model of its provider understands", true)
		} else {
			t.lose(at, "is known to its provider alone", false)
		}
		return false
	case llm.Image:
		if p.Detail != "" && p.Detail != "auto" && t.to != chatName && t.to != responsesName {
			t.lose(at, "has a detail, which is for OpenAI alone", true)
		}
		return t.reachable(p.URL, at)
	case llm.Document:
		return t.reachable(p.URL, at)
	case llm.Audio:
		if t.to == anthropicName || t.to == responsesName {
			t.lose(at, fmt.Sprintf("can't be carried: %s takes no recordings", spoken[t.to]), false)
			return false
		}
		return t.reachable(p.URL, at)
	}
	return true
}

// reachable reports whether an address is one that other providers can open.
func (t *translation) reachable(address, at string) bool {
	if address == "" {
		return true
	}
	if u, err := url.Parse(address); err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "generativelanguage.googleapis.com" {
		return true
	}
	t.lose(at, uploaded, false)
	return false
}

// isThought reports whether a provider's own part is nothing but what a model thought: the
// answer is whole without it.
func isThought(data json.RawMessage) bool {
	var fields map[string]json.RawMessage
	if json.Unmarshal(data, &fields) != nil {
		return false
	}
	switch string(fields["type"]) {
	case `"thinking"`, `"redacted_thinking"`, `"reasoning"`:
		return true
	case "":
		_, signed := fields["thoughtSignature"]
		thought := string(fields["thought"]) == "true"
		for name := range fields {
			if slices.Contains(reasoningFields, name) {
				return true
			}
			if signed && !thought && name != "thoughtSignature" && name != "text" {
				return false
			}
		}
		return signed || thought
	}
	return false
}

// anyJSON asks for JSON of any form.
func (t *translation) anyJSON() {
	if t.to != geminiName {
		t.sayJSON()
	}
	switch t.to {
	case chatName:
		t.set("response_format.type", json.RawMessage(`"json_object"`))
	case responsesName:
		t.set("text.format.type", json.RawMessage(`"json_object"`))
	case geminiName:
		t.set("generationConfig.responseMimeType", json.RawMessage(`"application/json"`))
	default:
		t.lose(t.place("json"), "is left to the prompt: Anthropic has no such mode; give a schema", true)
	}
}

// sayJSON adds the word without which OpenAI refuses JSON mode, and other models do not know
// of it. In the Responses API the instructions do not count, which the first messages of the
// system become.
func (t *translation) sayJSON() {
	first := true
	for _, m := range t.req.Messages {
		first = first && m.Role == llm.RoleSystem
		if (!first || t.to != responsesName) && strings.Contains(strings.ToLower(m.Text()), "json") {
			return
		}
	}
	t.lose(t.place("json"), "is also said in a message of the system: "+answerJSON, true)
	t.req.Messages = append(t.req.Messages[:len(t.req.Messages):len(t.req.Messages)], llm.System(answerJSON))
}

const answerJSON = "Answer in JSON."

// set writes a field of the extra ones.
func (t *translation) set(path string, value any) {
	within := t.extra
	names := strings.Split(path, ".")
	for _, name := range names[:len(names)-1] {
		next, ok := within[name].(map[string]any)
		if !ok {
			next = map[string]any{}
			within[name] = next
		}
		within = next
	}
	within[names[len(names)-1]] = value
}

// groups are the fields that hold settings, each of which is looked at.
var groups = []string{"reasoning", "text", "output_config", "thinking", "tool_choice", "generationConfig", "generationConfig.thinkingConfig"}

// field translates a field that the request has none for.
func (t *translation) field(path string, raw json.RawMessage) {
	var within map[string]json.RawMessage
	switch {
	case t.covered[path] || raw == nil:
	case slices.Contains(groups, path) && json.Unmarshal(raw, &within) == nil:
		for _, name := range slices.Sorted(maps.Keys(within)) {
			t.field(path+"."+name, present(within[name]))
		}
	default:
		t.setting(path, raw)
	}
}

// setting is one that several protocols have.
type setting struct {
	at map[string]string // its field, by the protocol
	// value converts a value for a protocol, and returns its field there; ok is false if it
	// has no such value. nil: the value is the same.
	value func(t *translation, field string, raw json.RawMessage) (to string, value any, ok bool)
}

// settings are those that have the same meaning in several protocols.
var settings = []setting{
	{at: map[string]string{chatName: "top_p", responsesName: "top_p", anthropicName: "top_p", geminiName: "generationConfig.topP"}},
	{at: map[string]string{anthropicName: "top_k", geminiName: "generationConfig.topK"}},
	{at: map[string]string{chatName: "frequency_penalty", geminiName: "generationConfig.frequencyPenalty"}},
	{at: map[string]string{chatName: "presence_penalty", geminiName: "generationConfig.presencePenalty"}},
	{at: map[string]string{chatName: "verbosity", responsesName: "text.verbosity"}},
	{at: map[string]string{chatName: "parallel_tool_calls", responsesName: "parallel_tool_calls", anthropicName: "tool_choice.disable_parallel_tool_use"}, value: parallel},
	{at: map[string]string{chatName: "reasoning_effort", responsesName: "reasoning.effort", anthropicName: "output_config.effort", geminiName: "generationConfig.thinkingConfig.thinkingLevel"}, value: effort},
	{at: map[string]string{chatName: "reasoning.effort", responsesName: "reasoning.effort", geminiName: "generationConfig.thinkingConfig.thinkingLevel"}, value: effort}, // OpenRouter
	{at: map[string]string{anthropicName: "thinking.budget_tokens", geminiName: "generationConfig.thinkingConfig.thinkingBudget"}, value: budget},
	{at: map[string]string{anthropicName: "thinking.type", geminiName: "generationConfig.thinkingConfig.includeThoughts"}, value: aloud},
	{at: map[string]string{responsesName: "reasoning.summary", geminiName: "generationConfig.thinkingConfig.includeThoughts"}, value: thoughts},
	{at: map[string]string{chatName: "user", responsesName: "user"}},
	{at: map[string]string{chatName: "metadata", responsesName: "metadata"}},
	{at: map[string]string{chatName: "store", responsesName: "store"}},
	{at: map[string]string{chatName: "service_tier", responsesName: "service_tier"}},
	{at: map[string]string{chatName: "safety_identifier", responsesName: "safety_identifier"}},
	{at: map[string]string{chatName: "prompt_cache_key", responsesName: "prompt_cache_key"}},
	{at: map[string]string{chatName: "prompt_cache_retention", responsesName: "prompt_cache_retention"}},
}

// parallel converts whether several tools may be called at once. Anthropic has it within
// the choice of a tool, and in the negative.
func parallel(t *translation, field string, raw json.RawMessage) (string, any, bool) {
	several := string(raw) == "true"
	if t.Protocol == anthropicName {
		several = !several
	}
	if t.to != anthropicName {
		return field, several, true
	}
	choice := map[string]any{"type": "auto", "disable_parallel_tool_use": !several}
	switch t.req.ForceTool {
	case "":
	case anyTool:
		choice["type"] = "any"
	default:
		choice["type"], choice["name"] = "tool", t.req.ForceTool
	}
	return "tool_choice", choice, true
}

// budgets are what Google makes of an effort at its address for OpenAI's protocol
// (https://ai.google.dev/gemini-api/docs/openai#thinking). Models of Gemini 3 have levels
// too, which older ones refuse; all take budgets.
var budgets = map[string]int{"minimal": 1024, "low": 1024, "medium": 8192, "high": 24576}

// effort converts how much a model should think. Which efforts Anthropic takes, and in which
// field, depends on the model.
func effort(t *translation, field string, raw json.RawMessage) (string, any, bool) {
	var word string
	if json.Unmarshal(raw, &word) != nil {
		return "", nil, false
	}
	word = strings.ToLower(word)
	most, known := budgets[word]
	switch {
	case t.to == geminiName:
		return "generationConfig.thinkingConfig.thinkingBudget", most, known
	case t.to == anthropicName:
		return "", nil, false
	case t.Protocol == chatName || t.Protocol == responsesName:
		return field, raw, true
	}
	return field, word, known || word == "xhigh"
}

// budget converts how many tokens a model may think. Anthropic's newest models refuse it.
func budget(t *translation, field string, raw json.RawMessage) (string, any, bool) {
	return field, raw, t.to == geminiName
}

// aloud converts whether a model thinks at all, which at Anthropic it shows.
func aloud(t *translation, field string, raw json.RawMessage) (string, any, bool) {
	return field, true, t.to == geminiName && (string(raw) == `"enabled"` || string(raw) == `"adaptive"`)
}

// thoughts converts whether thoughts are shown.
func thoughts(t *translation, field string, raw json.RawMessage) (string, any, bool) {
	if t.to == geminiName {
		return field, true, true
	}
	return field, "auto", string(raw) == "true"
}

// asUsual are the values of settings that say nothing.
var asUsual = map[string][]string{
	"parallel_tool_calls": {"true"}, "tool_choice.disable_parallel_tool_use": {"false"},
	"frequency_penalty": {"0", "0.0"}, "presence_penalty": {"0", "0.0"}, "generationConfig.frequencyPenalty": {"0", "0.0"}, "generationConfig.presencePenalty": {"0", "0.0"},
	"logit_bias": {"{}"}, "store": {"false"}, "truncation": {`"disabled"`}, "service_tier": {`"auto"`, `"default"`}, "include": {"[]"}, "metadata": {"{}"},
	"generationConfig.thinkingConfig.includeThoughts": {"false"}, "safetySettings": {"[]"}, "labels": {"{}"},
}

// harmless are the fields without which an answer means the same, and why.
var harmless = map[string]string{
	"user": identity, "safety_identifier": identity, "metadata": identity, "labels": identity,
	"store": keeping, "prompt_cache_key": keeping, "prompt_cache_retention": keeping, "prompt_cache_options": keeping, "cache_control": keeping,
	"service_tier": tier, "speed": tier, "serviceTier": tier, "prediction": tier,
	"reasoning_effort": thinking, "reasoning.effort": thinking, "reasoning.summary": thinking, "reasoning.generate_summary": thinking, "reasoning.context": thinking,
	"reasoning.enabled": thinking, "reasoning.max_tokens": thinking, "reasoning.exclude": thinking, // OpenRouter
	"thinking": thinking, "thinking.type": thinking, "thinking.budget_tokens": thinking, "thinking.display": thinking,
	"output_config.effort": thinking, "output_config.task_budget": thinking,
	"generationConfig.thinkingConfig.thinkingLevel": thinking, "generationConfig.thinkingConfig.thinkingBudget": thinking, "generationConfig.thinkingConfig.includeThoughts": thinking,
	"top_k": sampling, "generationConfig.topK": sampling, "min_p": sampling, "repetition_penalty": sampling,
	"frequency_penalty": sampling, "presence_penalty": sampling, "generationConfig.frequencyPenalty": sampling, "generationConfig.presencePenalty": sampling,
	"verbosity": "is how long an answer is, and other protocols have no such setting", "text.verbosity": "is how long an answer is, and other protocols have no such setting",
	"usage":                            "adds details to an answer that others do not have", // OpenRouter
	"anthropic_version":                "is the version of the protocol",                    // Amazon and Google
	"truncation":                       "is what becomes of a conversation that is too long: here it is refused",
	"context_management":               "is what becomes of a conversation that is too long: here it is refused",
	"include":                          "adds details to an answer that others do not have",
	"max_tool_calls":                   "is about tools that OpenAI runs",
	"safetySettings":                   "are filters of Google's; others have their own",
	"generationConfig.mediaResolution": "is how closely Gemini looks at pictures",
}

const (
	identity = "is for the provider's own records"
	keeping  = "is about what the provider keeps"
	tier     = "is about the provider's speed and price"
	thinking = "is how much the model thinks; there is no setting that all models of the other protocol take"
	sampling = "is how words are drawn, and the other protocol has no such setting"
)

// mustCallOne reports whether the model must call a tool, and which one is certain. The
// SDKs of Vercel ask Anthropic's models so for an answer in a form.
func (t *translation) mustCallOne() bool {
	return t.req.ForceTool != "" && (t.req.ForceTool != anyTool || len(t.req.Tools) == 1)
}

// begins reports whether the field "thread" asks Anthropic to keep a new conversation.
func begins(raw json.RawMessage) bool {
	var thread struct{ Type string }
	return json.Unmarshal(raw, &thread) == nil && thread.Type == "create"
}

// setting translates a field with a value.
func (t *translation) setting(path string, raw json.RawMessage) {
	if slices.Contains(asUsual[path], string(raw)) {
		return
	}
	for _, s := range settings {
		field := s.at[t.to]
		if s.at[t.Protocol] != path || field == "" {
			continue
		}
		if s.value == nil {
			t.set(field, raw)
			return
		}
		if to, value, ok := s.value(t, field, raw); ok {
			t.set(to, value)
			return
		}
	}
	if path == "top_k" && t.to == geminiName { // servers of OpenAI's protocol take it, and OpenAI does not
		t.set("generationConfig.topK", raw)
		return
	}
	if path == "top_k" && t.to == anthropicName {
		t.set("top_k", raw)
		return
	}
	if t.to == geminiName && strings.Contains(path, "parallel_tool") && t.mustCallOne() {
		t.lose(path, "can't be said to Gemini, whose models call the one tool that they must call once as a rule", true)
		return
	}
	// A conversation that Anthropic is to keep begins like any other. What continues one has
	// only its last messages.
	if path == "thread" && begins(raw) {
		t.lose(path, keeping, true)
		return
	}
	if why := harmless[path]; why != "" {
		t.lose(path, why, true)
		return
	}
	t.lose(path, fmt.Sprintf("can't be carried out: it is a field of %s, and %s has none for it", spoken[t.Protocol], spoken[t.to]), false)
}
