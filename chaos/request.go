package chaos

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"
)

// Message is one turn of the conversation that a request carried.
type Message struct {
	Role string // system, developer, user, assistant or tool
	Text string // its text parts, joined by newlines
}

// chatRequest is what the server reads of a chat completion's request. Fields
// that change nothing here (temperature and the like) are left out.
type chatRequest struct {
	model        string
	messages     []Message
	stream       bool
	includeUsage bool
	maxTokens    int // 0: no limit

	json   bool            // the answer is to be JSON
	schema json.RawMessage // of the answer, or of the tool's arguments; nil: none
	tool   string          // the tool that must be called; empty: none
}

// refusal is an error of the request's, answered with status 400.
type refusal struct {
	message, param, code string
}

func (r *refusal) Error() string { return r.message }

// parseRequest reads a chat completion's request
// (platform.openai.com/docs/api-reference/chat/create).
func parseRequest(body []byte) (*chatRequest, *refusal) {
	var in struct {
		Model    string `json:"model"`
		Messages []struct {
			Role    string          `json:"role"`
			Content json.RawMessage `json:"content"`
		} `json:"messages"`
		Stream        bool `json:"stream"`
		StreamOptions struct {
			IncludeUsage bool `json:"include_usage"`
		} `json:"stream_options"`
		MaxTokens           int  `json:"max_tokens"`
		MaxCompletionTokens int  `json:"max_completion_tokens"`
		N                   *int `json:"n"`
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
	if err := json.Unmarshal(body, &in); err != nil {
		return nil, &refusal{message: "We could not parse the JSON body of your request: " + err.Error()}
	}
	switch {
	case in.Model == "":
		return nil, &refusal{message: "you must provide a model parameter"}
	case len(in.Messages) == 0:
		return nil, &refusal{message: "Missing required parameter: 'messages'.", param: "messages", code: "missing_required_parameter"}
	case in.N != nil && *in.N != 1:
		return nil, &refusal{message: fmt.Sprintf("Invalid value for 'n': got %d; this server gives 1 choice.", *in.N), param: "n"}
	case in.MaxTokens < 0 || in.MaxCompletionTokens < 0:
		return nil, &refusal{message: "Invalid value for 'max_tokens': a limit is 1 or more.", param: "max_tokens"}
	}
	req := &chatRequest{
		model:        in.Model,
		stream:       in.Stream,
		includeUsage: in.StreamOptions.IncludeUsage,
		maxTokens:    max(in.MaxTokens, in.MaxCompletionTokens),
	}
	for i, m := range in.Messages {
		text, ok := contentText(m.Content)
		if !ok {
			param := fmt.Sprintf("messages[%d].content", i)
			return nil, &refusal{message: fmt.Sprintf("Invalid type for '%s': expected a string or a list of parts.", param), param: param, code: "invalid_type"}
		}
		req.messages = append(req.messages, Message{m.Role, text})
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
			req.tool, req.json, req.schema = t.Function.Name, true, t.Function.Parameters
			if absent(req.schema) {
				req.schema = json.RawMessage(`{"type":"object","additionalProperties":false}`) // a function without parameters
			}
			return req, nil
		}
	}
	return nil, &refusal{message: fmt.Sprintf("Invalid value for 'tool_choice': no function '%s' in 'tools'.", name), param: "tool_choice", code: "invalid_value"}
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
// parts, or nothing, as in an assistant's message that only calls tools.
func contentText(content json.RawMessage) (string, bool) {
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
		if p.Type == "text" {
			texts = append(texts, p.Text)
		}
	}
	return strings.Join(texts, "\n"), true
}

// complaint returns the last answer and what the user said to it, if the
// conversation ends so.
func (r *chatRequest) complaint() (answer, feedback string, ok bool) {
	last := len(r.messages) - 1
	if r.messages[last].Role != "user" {
		return "", "", false
	}
	for i := last - 1; i >= 0; i-- {
		if r.messages[i].Role == "assistant" {
			return r.messages[i].Text, r.messages[last].Text, true
		}
	}
	return "", "", false
}

// promptTokens is a plausible count of the request's tokens.
func (r *chatRequest) promptTokens() int {
	n := 3
	for _, m := range r.messages {
		n += 4 + tokenCount(m.Text)
	}
	return n + tokenCount(string(r.schema))
}

// charsPerToken is what English text has, about.
const charsPerToken = 4

func tokenCount(text string) int {
	return (utf8.RuneCountInString(text) + charsPerToken - 1) / charsPerToken
}
