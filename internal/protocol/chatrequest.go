package protocol

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// chatRequest is a chat completion's request
// (platform.openai.com/docs/api-reference/chat/create).
type chatRequest struct {
	Model         string        `json:"model"`
	Messages      []chatMessage `json:"messages"`
	Stream        bool          `json:"stream"`
	StreamOptions struct {
		IncludeUsage bool `json:"include_usage"`
	} `json:"stream_options"`
	MaxTokens           int             `json:"max_tokens"`
	MaxCompletionTokens int             `json:"max_completion_tokens"`
	N                   *int            `json:"n"`
	Logprobs            bool            `json:"logprobs"`
	TopLogprobs         int             `json:"top_logprobs"`
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

type chatMessage struct {
	Role       string          `json:"role"`
	Content    json.RawMessage `json:"content"`
	ToolCallID string          `json:"tool_call_id"`
	ToolCalls  []struct {
		ID string `json:"id"`
	} `json:"tool_calls"`
}

// Read reads a chat completion's request.
func (Chat) Read(call *Incoming) (*Request, *Error) {
	deployment, refused := azureDeployment(call)
	if refused != nil {
		return nil, refused
	}
	var in chatRequest
	if refused := openaiJSON(call.Body, &in); refused != nil {
		return nil, refused
	}
	if in.Model == "" {
		in.Model = deployment
	}
	return read(in.settings, in.conversation, in.format, in.tool)
}

func (in *chatRequest) settings(req *Request) *Error {
	stop, ok := stopTexts(in.Stop)
	*req = Request{
		Field: "response_format", Stop: stop, Model: in.Model, Stream: in.Stream, IncludeUsage: in.StreamOptions.IncludeUsage,
		MaxTokens: max(in.MaxTokens, in.MaxCompletionTokens),
		Choices:   orZero(in.N), Logprobs: in.Logprobs, TopLogprobs: in.TopLogprobs,
	}
	return firstOf(
		rule{in.Model == "", &Error{Message: "you must provide a model parameter"}},
		rule{len(in.Messages) == 0, missing("messages")},
		rule{in.N != nil && *in.N < 1, belowMinimum("n", 1, orZero(in.N))},
		rule{orZero(in.N) > maxChoices, aboveMaximum("n", maxChoices, orZero(in.N))},
		rule{in.TopLogprobs != 0 && !in.Logprobs, invalidValue("top_logprobs", "The 'top_logprobs' parameter is only allowed when 'logprobs' is enabled.")},
		badTopLogprobs(in.TopLogprobs),
		rule{!ok, invalidType("stop", "a string or a list of strings")},
		rule{in.MaxTokens < 0 || in.MaxCompletionTokens < 0, &Error{Message: "Invalid value for 'max_tokens': a limit is 1 or more.", Param: "max_tokens"}},
	)
}

// maxChoices is the most that n may be.
const maxChoices = 128

// conversation reads the messages. Each call of a tool needs its result in the
// messages that follow it.
func (in *chatRequest) conversation(req *Request) *Error {
	var due []string // calls of tools whose results must follow
	for i, m := range in.Messages {
		text, ok := contentText(m.Content, "text")
		if !ok {
			return invalidType(fmt.Sprintf("messages[%d].content", i), "a string or a list of parts")
		}
		req.say(m.Role, text)
		switch {
		case m.Role == "tool":
			n := slices.Index(due, m.ToolCallID)
			if n < 0 {
				return &Error{Message: "Invalid parameter: messages with role 'tool' must be a response to a preceeding message with 'tool_calls'.", Param: fmt.Sprintf("messages.[%d].role", i)}
			}
			due = slices.Delete(due, n, n+1)
			continue
		case len(due) > 0:
			return callsWithoutResults(due, i)
		}
		for _, call := range m.ToolCalls {
			due = append(due, call.ID)
		}
	}
	if len(due) > 0 {
		return callsWithoutResults(due, len(in.Messages))
	}
	return nil
}

func (in *chatRequest) format(req *Request) *Error {
	f := in.ResponseFormat
	return req.openaiFormat(f.Type, f.JSONSchema.Schema, "response_format.type", "response_format.json_schema.schema")
}

func (in *chatRequest) tool(req *Request) *Error {
	choice, refused := readToolChoice(in.ToolChoice)
	if refused != nil {
		return refused
	}
	var tools []Tool
	for _, t := range in.Tools {
		if t.Type == "function" {
			tools = append(tools, Tool{t.Function.Name, t.Function.Parameters, "tools"})
		}
	}
	if choice.among(req, tools) {
		return nil
	}
	return invalidValue("tool_choice", "Invalid value for 'tool_choice': %s.", choice.wanted())
}

// callsWithoutResults refuses a conversation that continues at message i without the
// results of calls, in OpenAI's words.
func callsWithoutResults(due []string, i int) *Error {
	return &Error{Message: "An assistant message with 'tool_calls' must be followed by tool messages responding to each 'tool_call_id'. The following tool_call_ids did not have response messages: " + strings.Join(due, ", "),
		Param: fmt.Sprintf("messages.[%d].role", i)}
}

// azureDeployment returns the deployment in Azure's path, or "" in another.
func azureDeployment(call *Incoming) (string, *Error) {
	deployment, _, ok := azureCall(call.Path)
	if ok && call.Query.Get("api-version") == "" {
		// Azure says no more than this.
		return "", &Error{Status: http.StatusNotFound, Message: "Resource not found", Code: "404"}
	}
	return deployment, nil
}

// stopTexts reads stop: a string or a list of strings.
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
