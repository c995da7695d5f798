package protocol

import (
	"encoding/json"
	"fmt"
	"slices"
)

// responsesRequest is a response's request
// (platform.openai.com/docs/api-reference/responses/create).
type responsesRequest struct {
	Model           string          `json:"model"`
	Input           json.RawMessage `json:"input"`
	Instructions    string          `json:"instructions"`
	Stream          bool            `json:"stream"`
	MaxOutputTokens *int            `json:"max_output_tokens"`
	Previous        string          `json:"previous_response_id"`
	Store           *bool           `json:"store"`
	Background      bool            `json:"background"`
	Include         []string        `json:"include"`
	TopLogprobs     int             `json:"top_logprobs"`
	Reasoning       struct {
		Summary string `json:"summary"`
		Old     string `json:"generate_summary"`
	} `json:"reasoning"`
	Text struct {
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

	// The names that chat completions have for these.
	Messages       json.RawMessage `json:"messages"`
	ResponseFormat json.RawMessage `json:"response_format"`
	MaxTokens      json.RawMessage `json:"max_tokens"`
}

// leastOutputTokens is the minimum of max_output_tokens.
const leastOutputTokens = 16

// Read reads a response's request.
func (Responses) Read(call *Incoming) (*Request, *Error) {
	var in responsesRequest
	if refused := openaiJSON(call.Body, &in); refused != nil {
		return nil, refused
	}
	continued := func(*Request) *Error { return in.continued(call) }
	return read(in.settings, continued, in.conversation, in.format, in.tool)
}

func (in *responsesRequest) settings(req *Request) *Error {
	*req = Request{Model: in.Model, Stream: in.Stream, Field: "text.format", MaxTokens: orZero(in.MaxOutputTokens),
		Previous: in.Previous, Background: in.Background, Thinks: in.Reasoning.Summary+in.Reasoning.Old != "",
		Encrypted: slices.Contains(in.Include, "reasoning.encrypted_content"),
		Logprobs:  slices.Contains(in.Include, "message.output_text.logprobs"), TopLogprobs: in.TopLogprobs}
	return firstOf(
		rule{in.Messages != nil, moved("messages", "input")},
		rule{in.ResponseFormat != nil, moved("response_format", "text.format")},
		rule{in.MaxTokens != nil, moved("max_tokens", "max_output_tokens")},
		rule{in.Model == "", missing("model")},
		rule{absent(in.Input), missing("input")},
		rule{in.MaxOutputTokens != nil && *in.MaxOutputTokens < leastOutputTokens, belowMinimum("max_output_tokens", leastOutputTokens, orZero(in.MaxOutputTokens))},
		badTopLogprobs(in.TopLogprobs),
		rule{in.Background && !in.stored(), invalidValue("background", "Background mode requires 'store' to be true.")},
	)
}

// stored reports whether the server is to keep the response; it is by default.
func (in *responsesRequest) stored() bool { return in.Store == nil || *in.Store }

func moved(from, to string) *Error {
	return &Error{Message: fmt.Sprintf("Unsupported parameter: '%s'. In the Responses API, this parameter has moved to '%s'. Try again with the new parameter.", from, to),
		Param: from, Code: "unsupported_parameter"}
}

func (in *responsesRequest) conversation(req *Request) *Error {
	if in.stored() {
		req.Keep = in.Input
	}
	if in.Instructions != "" {
		req.say("developer", in.Instructions)
	}
	messages, refused := inputMessages(in.Input)
	req.Messages = append(req.Messages, messages...)
	return refused
}

func (in *responsesRequest) format(req *Request) *Error {
	f := in.Text.Format
	if f.Type == "json_schema" && f.Name == "" {
		return missing("text.format.name")
	}
	return req.openaiFormat(f.Type, f.Schema, "text.format.type", "text.format.schema")
}

func (in *responsesRequest) tool(req *Request) *Error {
	choice, refused := readToolChoice(in.ToolChoice)
	if refused != nil {
		return refused
	}
	var tools []Tool
	for _, t := range in.Tools {
		if t.Type == "function" {
			tools = append(tools, Tool{t.Name, t.Parameters, "tools"})
		}
	}
	if choice.among(req, tools) {
		return nil
	}
	return invalidValue("tool_choice", "Tool choice not found in 'tools' parameter: %s.", choice.wanted())
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

// inputMessages reads the items of input. Each call of a function needs its output, and
// each output its call.
func inputMessages(input json.RawMessage) ([]Message, *Error) {
	var items []inputItem
	if json.Unmarshal(input, &items) != nil {
		return nil, invalidType("input", "one of a list of input items or a string")
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
		return nil, &Error{Message: fmt.Sprintf("No tool call found for function call output with call_id %s.", id), Param: "input"}
	}
	if id, ok := unmatched(calls, outputs); ok {
		return nil, &Error{Message: fmt.Sprintf("No tool output found for function call %s.", id), Param: "input"}
	}
	return messages, nil
}

// message returns the message of an item, or nil for one without, such as the model's
// reasoning.
func (item inputItem) message(field string) (*Message, *Error) {
	invalid := invalidType(field+".content", "a string or a list of parts")
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
	return nil, invalidValue(field, "Invalid value: '%s'. This server takes items of the types 'message', 'function_call', 'function_call_output', 'reasoning' and 'item_reference'.", item.Type)
}
