package protocol

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// openaiJSON reads a request's body.
func openaiJSON(body []byte, into any) *Error {
	if err := unmarshal(body, into); err != nil {
		return &Error{Message: "We could not parse the JSON body of your request: " + err.Error()}
	}
	return nil
}

func missing(field string) *Error {
	return &Error{Message: fmt.Sprintf("Missing required parameter: '%s'.", field), Param: field, Code: "missing_required_parameter"}
}

func invalidType(field, takes string) *Error {
	return &Error{Message: fmt.Sprintf("Invalid type for '%s': expected %s.", field, takes), Param: field, Code: "invalid_type"}
}

func invalidValue(field, format string, args ...any) *Error {
	return &Error{Message: fmt.Sprintf(format, args...), Param: field, Code: "invalid_value"}
}

// openaiFormat reads the format of the answer.
func (r *Request) openaiFormat(kind string, schema json.RawMessage, kindField, schemaField string) *Error {
	switch kind {
	case "", "text":
	case "json_object":
		r.JSON = true
	case "json_schema":
		if absent(schema) {
			return missing(schemaField)
		}
		r.JSON, r.Schema = true, schema
	default:
		return invalidValue(kindField, "Invalid value: '%s'. Supported values are: 'json_object', 'json_schema', and 'text'.", kind)
	}
	return nil
}

func belowMinimum(field string, least, got int) *Error {
	return &Error{Message: fmt.Sprintf("Invalid '%s': integer below minimum value. Expected a value >= %d, but got %d instead.", field, least, got), Param: field, Code: "integer_below_min_value"}
}

func aboveMaximum(field string, most, got int) *Error {
	return &Error{Message: fmt.Sprintf("Invalid '%s': integer above maximum value. Expected a value <= %d, but got %d instead.", field, most, got), Param: field, Code: "integer_above_max_value"}
}

// maxTopLogprobs is the most that top_logprobs may be.
const maxTopLogprobs = 20

func badTopLogprobs(n int) rule {
	if n < 0 {
		return rule{true, belowMinimum("top_logprobs", 0, n)}
	}
	return rule{n > maxTopLogprobs, aboveMaximum("top_logprobs", maxTopLogprobs, n)}
}

// toolChoice is whether a tool must be called, and which.
type toolChoice struct {
	must, none bool
	names      []string // of those that may be called; nil: all
}

// hostedTools are the types of tools that OpenAI runs itself. A choice of one is accepted,
// and no function is called.
var hostedTools = []string{"file_search", "web_search", "web_search_preview", "computer", "computer_use_preview", "code_interpreter", "image_generation", "mcp", "shell", "apply_patch"}

// readToolChoice reads tool_choice.
func readToolChoice(choice json.RawMessage) (toolChoice, *Error) {
	if absent(choice) {
		return toolChoice{}, nil
	}
	invalid := invalidValue("tool_choice", "Invalid value for 'tool_choice': this server takes 'none', 'auto', 'required' and a function by name.")
	var mode string
	if json.Unmarshal(choice, &mode) == nil {
		switch mode {
		case "none":
			return toolChoice{none: true}, nil
		case "auto":
			return toolChoice{}, nil
		case "required":
			return toolChoice{must: true}, nil
		}
		return toolChoice{}, invalid
	}
	var in struct {
		namedTool
		allowedTools
		Allowed *allowedTools `json:"allowed_tools"` // of chat completions
	}
	if json.Unmarshal(choice, &in) != nil {
		return toolChoice{}, invalid
	}
	switch {
	case in.Type == "function" && in.name() != "":
		return toolChoice{must: true, names: []string{in.name()}}, nil
	case in.Type == "allowed_tools" && in.Allowed != nil:
		return in.Allowed.choice(), nil
	case in.Type == "allowed_tools" && in.Tools != nil:
		return in.choice(), nil
	case slices.Contains(hostedTools, in.Type):
		return toolChoice{none: true}, nil
	}
	return toolChoice{}, invalid
}

// namedTool is a tool by its name, which chat completions have in a wrapper.
type namedTool struct {
	Type     string `json:"type"`
	Name     string `json:"name"`
	Function struct {
		Name string `json:"name"`
	} `json:"function"`
}

func (t namedTool) name() string { return cmp.Or(t.Function.Name, t.Name) }

// allowedTools are the tools of which one may or must be called.
type allowedTools struct {
	Mode  string      `json:"mode"`
	Tools []namedTool `json:"tools"`
}

func (a allowedTools) choice() toolChoice {
	c := toolChoice{must: a.Mode == "required", names: []string{}}
	for _, t := range a.Tools {
		c.names = append(c.names, t.name())
	}
	return c
}

// among notes the tool that must be called or those that may be; ok is false if one must
// be called and none is there.
func (c toolChoice) among(req *Request, tools []Tool) (ok bool) {
	if c.names != nil {
		tools = slices.DeleteFunc(slices.Clone(tools), func(t Tool) bool { return !slices.Contains(c.names, t.Name) })
	}
	switch {
	case c.none:
	case !c.must:
		req.Tools = tools
	case len(tools) == 0:
		return false
	default:
		req.MustCall(tools[0])
	}
	return true
}

// wanted says what a choice of a tool lacks, for an error.
func (c toolChoice) wanted() string {
	if c.names == nil {
		return "no function in 'tools', and this server calls no other tools"
	}
	return fmt.Sprintf("no function '%s' in 'tools'", strings.Join(c.names, ", "))
}

// errorFields is what can be read from OpenAI's error object, or from that of a server
// that imitates OpenAI.
type errorFields struct {
	Code    any    `json:"code"`
	Message string `json:"message"`
	raw     raw
}

// errorObject reads the error of a body.
func errorObject(body []byte) (errorFields, bool) {
	var in struct {
		Error json.RawMessage `json:"error"`
	}
	if json.Unmarshal(body, &in) != nil || absent(in.Error) {
		return errorFields{raw: raw("null")}, false
	}
	out := errorFields{raw: raw(in.Error)}
	_ = json.Unmarshal(in.Error, &out) // some servers' error is a string
	return out, true
}
