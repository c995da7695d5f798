package chaos

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// read reads a chat completion's request
// (platform.openai.com/docs/api-reference/chat/create).
func (chatFace) read(call *incoming) (*request, *refusal) {
	deployment, refused := azureDeployment(call)
	if refused != nil {
		return nil, refused
	}
	var in struct {
		Model    string `json:"model"`
		Messages []struct {
			Role       string          `json:"role"`
			Content    json.RawMessage `json:"content"`
			ToolCallID string          `json:"tool_call_id"`
			ToolCalls  []struct {
				ID string `json:"id"`
			} `json:"tool_calls"`
		} `json:"messages"`
		Stream        bool `json:"stream"`
		StreamOptions struct {
			IncludeUsage bool `json:"include_usage"`
		} `json:"stream_options"`
		MaxTokens           int             `json:"max_tokens"`
		MaxCompletionTokens int             `json:"max_completion_tokens"`
		N                   *int            `json:"n"`
		Stop                json.RawMessage `json:"stop"`
		ResponseFormat      struct {
			Type       string `json:"type"`
			JSONSchema struct {
				Schema json.RawMessage `json:"schema"`
			} `json:"json_schema"`
		} `json:"response_format"`
		Tools []struct {
			Type     string `json:"type"`
			Function struct {
				Name       string          `json:"name"`
				Parameters json.RawMessage `json:"parameters"`
			} `json:"function"`
		} `json:"tools"`
		ToolChoice json.RawMessage `json:"tool_choice"`
	}
	if refused := openaiJSON(call.body, &in); refused != nil {
		return nil, refused
	}
	if in.Model == "" {
		in.Model = deployment
	}
	stop, ok := stopTexts(in.Stop)
	switch {
	case in.Model == "":
		return nil, &refusal{message: "you must provide a model parameter"}
	case len(in.Messages) == 0:
		return nil, &refusal{message: "Missing required parameter: 'messages'.", param: "messages", code: "missing_required_parameter"}
	case in.N != nil && *in.N != 1:
		return nil, &refusal{message: fmt.Sprintf("Invalid value for 'n': got %d; this server gives 1 choice.", *in.N), param: "n"}
	case !ok:
		return nil, &refusal{message: "Invalid type for 'stop': expected a string or a list of strings.", param: "stop", code: "invalid_type"}
	case in.MaxTokens < 0 || in.MaxCompletionTokens < 0:
		return nil, &refusal{message: "Invalid value for 'max_tokens': a limit is 1 or more.", param: "max_tokens"}
	}
	req := &request{
		field:        "response_format",
		stop:         stop,
		model:        in.Model,
		stream:       in.Stream,
		includeUsage: in.StreamOptions.IncludeUsage,
		maxTokens:    max(in.MaxTokens, in.MaxCompletionTokens),
	}
	var due []string // calls of tools whose results are to come
	for i, m := range in.Messages {
		text, ok := contentText(m.Content, "text")
		if !ok {
			param := fmt.Sprintf("messages[%d].content", i)
			return nil, &refusal{message: fmt.Sprintf("Invalid type for '%s': expected a string or a list of parts.", param), param: param, code: "invalid_type"}
		}
		req.messages = append(req.messages, Message{m.Role, text})
		switch {
		case m.Role == "tool":
			n := slices.Index(due, m.ToolCallID)
			if n < 0 {
				return nil, &refusal{message: "Invalid parameter: messages with role 'tool' must be a response to a preceeding message with 'tool_calls'.", param: fmt.Sprintf("messages.[%d].role", i)}
			}
			due = slices.Delete(due, n, n+1)
			continue
		case len(due) > 0:
			return nil, callsWithoutResults(due, i)
		}
		for _, call := range m.ToolCalls {
			due = append(due, call.ID)
		}
	}
	if len(due) > 0 {
		return nil, callsWithoutResults(due, len(in.Messages))
	}
	switch in.ResponseFormat.Type {
	case "", "text":
	case "json_object":
		req.json = true
	case "json_schema":
		req.json, req.schema = true, in.ResponseFormat.JSONSchema.Schema
		if absent(req.schema) {
			return nil, &refusal{message: "Missing required parameter: 'response_format.json_schema.schema'.", param: "response_format.json_schema.schema", code: "missing_required_parameter"}
		}
	default:
		return nil, &refusal{message: fmt.Sprintf("Invalid value: '%s'. Supported values are: 'json_object', 'json_schema', and 'text'.", in.ResponseFormat.Type), param: "response_format.type", code: "invalid_value"}
	}

	must, name, ok := forcedTool(in.ToolChoice)
	if !ok {
		return nil, &refusal{message: "Invalid value for 'tool_choice': this server takes 'none', 'auto', 'required' and a function by name.", param: "tool_choice", code: "invalid_value"}
	}
	if !must {
		return req, nil
	}
	for _, t := range in.Tools {
		if t.Type == "function" && (name == "" || t.Function.Name == name) {
			req.mustCall(t.Function.Name, t.Function.Parameters, "tools")
			return req, nil
		}
	}
	return nil, &refusal{message: fmt.Sprintf("Invalid value for 'tool_choice': no function '%s' in 'tools'.", name), param: "tool_choice", code: "invalid_value"}
}

// callsWithoutResults refuses a conversation that goes on, at message i, without
// the results of calls. The words are OpenAI's.
func callsWithoutResults(due []string, i int) *refusal {
	return &refusal{message: "An assistant message with 'tool_calls' must be followed by tool messages responding to each 'tool_call_id'. The following tool_call_ids did not have response messages: " + list(due),
		param: fmt.Sprintf("messages.[%d].role", i)}
}

// forcedTool reads tool_choice: whether a tool must be called, and which; an
// empty name is any.
func forcedTool(choice json.RawMessage) (must bool, name string, ok bool) {
	if absent(choice) {
		return false, "", true
	}
	var mode string
	if json.Unmarshal(choice, &mode) == nil {
		return mode == "required", "", mode == "required" || mode == "auto" || mode == "none"
	}
	var named struct {
		Type     string `json:"type"`
		Function struct {
			Name string `json:"name"`
		} `json:"function"`
	}
	err := json.Unmarshal(choice, &named)
	return true, named.Function.Name, err == nil && named.Type == "function" && named.Function.Name != ""
}

// absent reports whether a field is missing or null.
func absent(field json.RawMessage) bool {
	return field == nil || bytes.Equal(field, []byte("null"))
}

// contentText returns the text of a message's content: a string, a list of
// parts, those that hold text under one of the types, or nothing, as in an
// assistant's message that only calls tools.
func contentText(content json.RawMessage, types ...string) (string, bool) {
	if absent(content) {
		return "", true
	}
	var whole string
	if json.Unmarshal(content, &whole) == nil {
		return whole, true
	}
	var parts []struct {
		Type string `json:"type"`
		Text string `json:"text"`
	}
	if json.Unmarshal(content, &parts) != nil {
		return "", false
	}
	var texts []string
	for _, p := range parts {
		if slices.Contains(types, p.Type) {
			texts = append(texts, p.Text)
		}
	}
	return strings.Join(texts, "\n"), true
}

// openaiJSON reads a request's body.
func openaiJSON(body []byte, into any) *refusal {
	if err := json.Unmarshal(body, into); err != nil {
		return &refusal{message: "We could not parse the JSON body of your request: " + err.Error()}
	}
	return nil
}

// azureDeployment returns the deployment in Azure's path, if it is one.
func azureDeployment(call *incoming) (string, *refusal) {
	rest, ok := strings.CutPrefix(call.path, azurePrefix)
	if !ok {
		return "", nil
	}
	if call.query.Get("api-version") == "" {
		// Azure says no more than this.
		return "", &refusal{status: http.StatusNotFound, message: "Resource not found", code: "404"}
	}
	deployment, _, _ := strings.Cut(rest, "/")
	return deployment, nil
}

// stopTexts reads stop: a text, or several.
func stopTexts(field json.RawMessage) ([]string, bool) {
	if absent(field) {
		return nil, true
	}
	var one string
	if json.Unmarshal(field, &one) == nil {
		return []string{one}, true
	}
	var several []string
	return several, json.Unmarshal(field, &several) == nil
}

// errorFields are what can be read of OpenAI's error object, or of another
// server's in its place.
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
	_ = json.Unmarshal(in.Error, &out) // some errors are a text
	return out, true
}
