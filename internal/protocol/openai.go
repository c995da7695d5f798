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

// forcedTool reads tool_choice: whether a tool must be called, and which; "" means any.
func forcedTool(choice json.RawMessage) (must bool, name string, refused *Error) {
	if absent(choice) {
		return false, "", nil
	}
	invalid := invalidValue("tool_choice", "Invalid value for 'tool_choice': this server takes 'none', 'auto', 'required' and a function by name.")
	var mode string
	if json.Unmarshal(choice, &mode) == nil {
		switch mode {
		case "none", "auto":
			return false, "", nil
		case "required":
			return true, "", nil
		}
		return false, "", invalid
	}
	var named struct {
		Type     string `json:"type"`
		Function struct {
			Name string `json:"name"`
		} `json:"function"`
	}
	if json.Unmarshal(choice, &named) != nil || named.Type != "function" || named.Function.Name == "" {
		return false, "", invalid
	}
	return true, named.Function.Name, nil
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
