package chaos

import (
	"encoding/json"
	"fmt"
)

// read reads a response's request
// (platform.openai.com/docs/api-reference/responses/create).
func (responsesFace) read(call *incoming) (*request, *refusal) {
	var in struct {
		Model           string          `json:"model"`
		Input           json.RawMessage `json:"input"`
		Instructions    string          `json:"instructions"`
		Stream          bool            `json:"stream"`
		MaxOutputTokens *int            `json:"max_output_tokens"`
		Previous        string          `json:"previous_response_id"`
		Text            struct {
			Format struct {
				Type   string          `json:"type"`
				Name   string          `json:"name"`
				Schema json.RawMessage `json:"schema"`
			} `json:"format"`
		} `json:"text"`
		Tools []struct {
			Type       string          `json:"type"`
			Name       string          `json:"name"`
			Parameters json.RawMessage `json:"parameters"`
		} `json:"tools"`
		ToolChoice json.RawMessage `json:"tool_choice"`

		Messages       json.RawMessage `json:"messages"`
		ResponseFormat json.RawMessage `json:"response_format"`
		MaxTokens      json.RawMessage `json:"max_tokens"`
	}
	if refused := openaiJSON(call.body, &in); refused != nil {
		return nil, refused
	}
	for _, moved := range []struct {
		field    json.RawMessage
		from, to string
	}{{in.Messages, "messages", "input"}, {in.ResponseFormat, "response_format", "text.format"}, {in.MaxTokens, "max_tokens", "max_output_tokens"}} {
		if moved.field != nil {
			return nil, &refusal{message: fmt.Sprintf("Unsupported parameter: '%s'. In the Responses API, this parameter has moved to '%s'. Try again with the new parameter.", moved.from, moved.to),
				param: moved.from, code: "unsupported_parameter"}
		}
	}
	switch {
	case in.Model == "":
		return nil, missing("model")
	case absent(in.Input):
		return nil, missing("input")
	case in.MaxOutputTokens != nil && *in.MaxOutputTokens < 16:
		return nil, &refusal{message: fmt.Sprintf("Invalid 'max_output_tokens': integer below minimum value. Expected a value >= 16, but got %d instead.", *in.MaxOutputTokens),
			param: "max_output_tokens", code: "integer_below_min_value"}
	case in.Previous != "": // no response is kept
		return nil, &refusal{message: fmt.Sprintf("Previous response with id '%s' not found.", in.Previous), param: "previous_response_id", code: "previous_response_not_found"}
	}
	req := &request{model: in.Model, stream: in.Stream, field: "text.format"}
	if in.MaxOutputTokens != nil {
		req.maxTokens = *in.MaxOutputTokens
	}
	if in.Instructions != "" {
		req.messages = append(req.messages, Message{"developer", in.Instructions})
	}
	messages, refused := inputMessages(in.Input)
	if refused != nil {
		return nil, refused
	}
	req.messages = append(req.messages, messages...)
	switch format := in.Text.Format; format.Type {
	case "", "text":
	case "json_object":
		req.json = true
	case "json_schema":
		if format.Name == "" {
			return nil, missing("text.format.name")
		}
		if absent(format.Schema) {
			return nil, missing("text.format.schema")
		}
		req.json, req.schema = true, format.Schema
	default:
		return nil, &refusal{message: fmt.Sprintf("Invalid value: '%s'. Supported values are: 'json_object', 'json_schema', and 'text'.", format.Type), param: "text.format.type", code: "invalid_value"}
	}
	must, name, ok := forcedFunction(in.ToolChoice)
	if !ok {
		return nil, &refusal{message: "Invalid value for 'tool_choice': this server takes 'none', 'auto', 'required' and a function by name.", param: "tool_choice", code: "invalid_value"}
	}
	if !must {
		return req, nil
	}
	for _, t := range in.Tools {
		if t.Type == "function" && (name == "" || t.Name == name) {
			req.mustCall(t.Name, t.Parameters, "tools")
			return req, nil
		}
	}
	return nil, &refusal{message: fmt.Sprintf("Tool choice 'function' not found in 'tools' parameter: no function '%s'.", name), param: "tool_choice", code: "invalid_value"}
}

func missing(field string) *refusal {
	return &refusal{message: fmt.Sprintf("Missing required parameter: '%s'.", field), param: field, code: "missing_required_parameter"}
}

// forcedFunction reads tool_choice, whose function is named without a wrapper.
func forcedFunction(choice json.RawMessage) (must bool, name string, ok bool) {
	var named struct {
		Type string `json:"type"`
		Name string `json:"name"`
	}
	if json.Unmarshal(choice, &named) == nil && named.Type == "function" && named.Name != "" {
		return true, named.Name, true
	}
	return forcedTool(choice)
}

// inputItem is an item of input.
type inputItem struct {
	Type    string          `json:"type"`
	Role    string          `json:"role"`
	Content json.RawMessage `json:"content"`
	CallID  string          `json:"call_id"`
	Name    string          `json:"name"`
	Args    string          `json:"arguments"`
	Output  json.RawMessage `json:"output"`
}

// inputMessages reads input: a text, or items. Each call of a function needs its
// output, and each output its call.
func inputMessages(input json.RawMessage) ([]Message, *refusal) {
	var text string
	if json.Unmarshal(input, &text) == nil {
		return []Message{{"user", text}}, nil
	}
	var items []inputItem
	if json.Unmarshal(input, &items) != nil {
		return nil, &refusal{message: "Invalid type for 'input': expected one of a list of input items or a string.", param: "input", code: "invalid_type"}
	}
	var messages []Message
	var calls, outputs []string
	for i, item := range items {
		field := fmt.Sprintf("input[%d]", i)
		m, refused := item.message(field)
		if refused != nil {
			return nil, refused
		}
		switch item.Type {
		case "function_call":
			calls = append(calls, item.CallID)
		case "function_call_output":
			outputs = append(outputs, item.CallID)
		}
		if m != nil {
			messages = append(messages, *m)
		}
	}
	if id, ok := unmatched(outputs, calls); ok {
		return nil, &refusal{message: fmt.Sprintf("No tool call found for function call output with call_id %s.", id), param: "input"}
	}
	if id, ok := unmatched(calls, outputs); ok {
		return nil, &refusal{message: fmt.Sprintf("No tool output found for function call %s.", id), param: "input"}
	}
	return messages, nil
}

// message is what an item says, or nil for one that says nothing to read, such
// as the model's reasoning.
func (item inputItem) message(field string) (*Message, *refusal) {
	invalid := &refusal{message: fmt.Sprintf("Invalid type for '%s.content': expected a string or a list of parts.", field), param: field + ".content", code: "invalid_type"}
	switch item.Type {
	case "", "message":
		text, ok := contentText(item.Content, "input_text", "output_text")
		if !ok {
			return nil, invalid
		}
		if item.Role == "" {
			return nil, missing(field + ".role")
		}
		return &Message{item.Role, text}, nil
	case "function_call":
		if item.CallID == "" {
			return nil, missing(field + ".call_id")
		}
		return &Message{"assistant", item.Args}, nil
	case "function_call_output":
		text, ok := contentText(item.Output, "input_text")
		if !ok {
			return nil, invalid
		}
		return &Message{"tool", text}, nil
	case "reasoning", "item_reference":
		return nil, nil
	}
	return nil, &refusal{message: fmt.Sprintf("Invalid value: '%s'. This server takes items of the types 'message', 'function_call', 'function_call_output', 'reasoning' and 'item_reference'.", item.Type),
		param: field, code: "invalid_value"}
}
