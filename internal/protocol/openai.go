package protocol

import (
	"encoding/json"
	"fmt"
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

// toolChoice is whether a tool must be called, and which; "" means any.
type toolChoice struct {
	must, none bool
	name       string
}

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
	var named struct {
		Type     string `json:"type"`
		Function struct {
			Name string `json:"name"`
		} `json:"function"`
	}
	if json.Unmarshal(choice, &named) != nil || named.Type != "function" || named.Function.Name == "" {
		return toolChoice{}, invalid
	}
	return toolChoice{must: true, name: named.Function.Name}, nil
}

// among notes the tool that must be called or those that may be; ok is false if the one
// that must be called is not there.
func (c toolChoice) among(req *Request, tools []Tool) (ok bool) {
	switch {
	case c.none:
		return true
	case !c.must:
		req.Tools = tools
		return true
	}
	for _, t := range tools {
		if c.name == "" || t.Name == c.name {
			req.MustCall(t)
			return true
		}
	}
	return false
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
