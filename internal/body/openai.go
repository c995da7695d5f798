package body

import (
	"bytes"
	"encoding/json"
	"slices"

	"llmcall/internal/nearest"
	"llmcall/llm"
)

// model takes the model, by which the caller finds its way.
func model(o *object, b *Body) (err error) {
	b.Model, err = o.take("model").optional()
	return err
}

func temperature(o *object, b *Body) error {
	n := o.take("temperature")
	if n.missing() {
		return nil
	}
	t, err := n.float()
	if err != nil {
		return err
	}
	b.Request.Temperature, b.path["temperature"] = &t, n.path
	return nil
}

func seed(o *object, b *Body) error {
	n := o.take("seed")
	if n.missing() {
		return nil
	}
	i, err := n.integer(-1 << 63)
	if err != nil {
		return err
	}
	b.Request.Seed, b.path["seed"] = &i, n.path
	return nil
}

// stop takes a field with the texts at which an answer ends.
func stop(name string) func(*object, *Body) error {
	return func(o *object, b *Body) error {
		n := o.take(name)
		if n.missing() {
			return nil
		}
		b.path["stop"] = n.path
		if n.isText() {
			one, err := n.text()
			b.Request.Stop = []string{one}
			return err
		}
		var all []string
		if json.Unmarshal(n.raw, &all) != nil {
			return n.wants("a string or a list of strings")
		}
		b.Request.Stop = all
		return nil
	}
}

// limit takes a field with the limit of the answer's tokens.
func limit(name string) func(*object, *Body) error {
	return func(o *object, b *Body) error { return tokens(o.take(name), b.Request) }
}

func streamed(o *object, b *Body) error {
	n := o.take("stream")
	given := o.take("stream_options")
	is, err := n.flag()
	if err != nil {
		return err
	}
	if !o.r.lenient {
		if is {
			return n.cannot("an answer is not streamed")
		}
		return nil
	}
	b.Stream = is
	if given.missing() {
		return nil
	}
	options, err := given.object()
	if err != nil {
		return err
	}
	if b.IncludeUsage, err = options.take("include_usage").flag(); err != nil {
		return err
	}
	options.drop("include_obfuscation", "pads events against eavesdroppers, and says nothing")
	return options.done("include_usage", "include_obfuscation")
}

// refused returns the reader of a field that can't be carried, for a reason.
func refused(name, why string, but ...string) func(*object, *Body) error {
	return func(o *object, _ *Body) error {
		if n := o.take(name); !n.missing() && !slices.Contains(but, string(n.raw)) {
			return n.cannot(why)
		}
		return nil
	}
}

const noProbabilities = "a result has no probabilities of tokens"

// function reads a tool's function, which chat completions have in a wrapper.
func function(o *object) (llm.Tool, error) {
	var tool llm.Tool
	name, err := o.take("name").text()
	if err != nil {
		return tool, err
	}
	description, err := o.take("description").optional()
	if err != nil {
		return tool, err
	}
	parameters := o.take("parameters")
	if !parameters.missing() {
		if _, err := parameters.object(); err != nil {
			return tool, err
		}
	}
	if err := o.enforced(); err != nil {
		return tool, err
	}
	tool = llm.Tool{Name: name, Description: description, Parameters: parameters.raw}
	return tool, o.done("name", "description", "parameters", "strict")
}

// enforced takes whether arguments are to fit their schema for sure. The adapter decides it
// by what the schema allows.
func (o *object) enforced() error {
	n := o.take("strict")
	is, err := n.flag()
	if err == nil && is {
		o.r.harmless(n.path, unenforced)
	}
	return err
}

// unenforced is why strict is harmless: the arguments are checked by who runs the tool.
const unenforced = "the arguments are asked for by their schema, and not enforced"

// uncached is why cache_control is harmless.
const uncached = "marks what the provider may cache, and changes no answer"

// tools reads a list of tools, each by read.
func tools(o *object, b *Body, read func(node) (llm.Tool, error)) error {
	n := o.take("tools")
	if n.missing() {
		return nil
	}
	list, err := n.list()
	if err != nil {
		return err
	}
	return b.within(o.r, "tools", n.raw, func() error {
		for _, n := range list {
			tool, err := read(n)
			if err != nil {
				if err = n.r.soft(err); err != nil {
					return err
				}
				continue
			}
			b.Request.Tools = append(b.Request.Tools, tool)
		}
		return nil
	})
}

// hosted is what is wanted of a tool's type.
const hosted = `"function": other tools are run by OpenAI`

// toolChoice takes whether tools may be called, or must be.
func toolChoice(o *object, b *Body) error {
	n := o.take("tool_choice")
	return b.within(o.r, "tool_choice", n.raw, func() error {
		switch string(n.raw) {
		case "", `"auto"`:
			return nil
		case `"none"`:
			b.Request.NoToolCalls = true
			return nil
		case `"required"`:
			return b.force(n, anyTool)
		}
		choice, err := n.object()
		if err != nil {
			return n.wants(`"none", "auto", "required" or an object`)
		}
		switch kind := choice.take("type"); {
		case string(kind.raw) == `"function"`:
		case !n.r.lenient: // it is the provider's own
			b.keep(n.r, "tool_choice", n.raw)
			return nil
		case string(kind.raw) == `"allowed_tools"`:
			return b.allow(n, choice)
		default:
			return kind.wants(`"function" or "allowed_tools"`)
		}
		if within := choice.take("function"); !within.missing() { // of chat completions
			if choice, err = within.object(); err != nil {
				return err
			}
		}
		name := choice.take("name")
		text, err := name.text()
		if err != nil {
			return err
		}
		return b.force(name, text)
	})
}

// allow takes the tools that may be called, of all that there are. A model of the same
// protocol is told so; others get those alone.
func (b *Body) allow(n node, o *object) error {
	if within := o.take("allowed_tools"); !within.missing() { // of chat completions
		var err error
		if o, err = within.object(); err != nil {
			return err
		}
	}
	mode := o.take("mode")
	if string(mode.raw) != `"auto"` && string(mode.raw) != `"required"` {
		return mode.wants(`"auto" or "required"`)
	}
	list, err := o.take("tools").list()
	if err != nil {
		return err
	}
	var names []string
	for _, n := range list {
		tool, err := n.object()
		if err != nil {
			return err
		}
		if within := tool.take("function"); !within.missing() { // of chat completions
			if tool, err = within.object(); err != nil {
				return err
			}
		}
		name := tool.take("name")
		text, err := name.text()
		if err == nil {
			err = b.known(name, text)
		}
		if err != nil {
			return err
		}
		names = append(names, text)
	}
	b.keep(n.r, "tool_choice", n.raw)
	b.allowed, b.must, b.covered["tool_choice"] = names, string(mode.raw) == `"required"`, true
	return o.done("mode", "tools")
}

// anyTool is the ForceTool of a request whose answer must call any tool.
const anyTool = "*"

// force makes a tool one that must be called.
func (b *Body) force(n node, tool string) error {
	if len(b.Request.Tools) == 0 {
		return n.bad("must be left out: there are no tools")
	}
	if tool != anyTool {
		if err := b.known(n, tool); err != nil {
			return err
		}
	}
	b.Request.ForceTool = tool
	return nil
}

// known returns an error if no tool has a name.
func (b *Body) known(n node, tool string) error {
	var names []string
	for _, t := range b.Request.Tools {
		if names = append(names, t.Name); t.Name == tool {
			return nil
		}
	}
	return n.bad("must be the name of a tool: %s", nearest.List(tool, names))
}

// schema reads a JSON Schema with its name, which chat completions have in a wrapper.
func schema(o *object) (*llm.Schema, error) {
	name, err := o.take("name").optional()
	if err != nil {
		return nil, err
	}
	value := o.take("schema")
	if _, err := value.object(); err != nil {
		return nil, err
	}
	if _, err := o.take("strict").flag(); err != nil {
		return nil, err
	}
	description, err := o.take("description").optional()
	if err != nil {
		return nil, err
	}
	if name == "" {
		name = answerName
	}
	return &llm.Schema{Name: name, JSON: described(value.raw, description)}, o.done("name", "schema", "strict", "description")
}

// described returns a schema with a description, if it has none of its own.
func described(of json.RawMessage, description string) json.RawMessage {
	var fields map[string]json.RawMessage
	if description == "" || json.Unmarshal(of, &fields) != nil || fields["description"] != nil {
		return of
	}
	text, _ := json.Marshal(description) // can't fail for a string
	with := append([]byte(`{"description":`), text...)
	if len(fields) > 0 {
		with = append(with, ',')
	}
	return append(with, bytes.TrimSpace(of)[1:]...)
}

// details are how closely a model may look at a picture.
var details = []string{"auto", "low", "high", "original"}

// detail takes the detail of a picture.
func (o *object) detail() (string, error) {
	n := o.take("detail")
	text, err := n.optional()
	if err == nil && text != "" && !slices.Contains(details, text) {
		err = n.wants(nearest.List(text, details))
	}
	return text, err
}

// calledFunction reads the call of a tool.
func calledFunction(id node, o *object) (llm.Part, error) {
	text, err := id.text()
	if err != nil {
		return nil, err
	}
	name, err := o.take("name").text()
	if err != nil {
		return nil, err
	}
	arguments, err := o.take("arguments").text()
	if err != nil {
		return nil, err
	}
	call := llm.ToolCall{Name: name, Arguments: json.RawMessage(arguments)}
	call.ID, call.Signature = o.r.unsigned(text)
	return call, nil
}
