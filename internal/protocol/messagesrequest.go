package protocol

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// anthropicFields are the fields that a request may have (MessageNewParams and
// BetaMessageNewParams of Anthropic's SDK). Anthropic refuses others.
var anthropicFields = []string{
	"cache_control", "compaction", "container", "context_management", "diagnostics", "fallback_credit_token", "fallbacks", "inference_geo",
	"max_tokens", "mcp_servers", "messages", "metadata", "model", "output_config", "output_format", "service_tier", "speed", "stop_sequences",
	"stream", "system", "temperature", "thinking", "tool_choice", "tools", "top_k", "top_p",
}

// messagesRequest is a message's request (platform.claude.com/docs/en/api/messages).
type messagesRequest struct {
	counting bool            // only the tokens are wanted
	beta     bool            // unknown blocks are taken
	keep     json.RawMessage // for a thread

	Model        string             `json:"model"`
	MaxTokens    *int               `json:"max_tokens"`
	Messages     []anthropicMessage `json:"messages"`
	System       json.RawMessage    `json:"system"`
	Stream       bool               `json:"stream"`
	Temperature  float64            `json:"temperature"`
	Stop         []string           `json:"stop_sequences"`
	OutputFormat *anthropicFormat   `json:"output_format"`
	OutputConfig struct {
		Format *anthropicFormat `json:"format"`
	} `json:"output_config"`
	Tools []struct {
		Type        string          `json:"type"`
		Name        string          `json:"name"`
		InputSchema json.RawMessage `json:"input_schema"`
	} `json:"tools"`
	ToolChoice struct {
		Type string `json:"type"`
		Name string `json:"name"`
	} `json:"tool_choice"`
	Thinking struct {
		Type    string `json:"type"`
		Budget  *int   `json:"budget_tokens"`
		Display string `json:"display"`
	} `json:"thinking"`
}

// leastBudget is the minimum of thinking.budget_tokens.
const leastBudget = 1024

type anthropicFormat struct {
	Type   string          `json:"type"`
	Schema json.RawMessage `json:"schema"`
}

// Read reads a message's request.
func (Messages) Read(call *Incoming) (*Request, *Error) { return readMessages(call, false) }

// ReadCount reads a request whose tokens are to be counted: max_tokens may be missing.
func (Messages) ReadCount(call *Incoming) (*Request, *Error) { return readMessages(call, true) }

func readMessages(call *Incoming, counting bool) (*Request, *Error) {
	if call.Header.Get("Anthropic-Version") == "" {
		return nil, &Error{Message: "anthropic-version: header is required"}
	}
	in := messagesRequest{counting: counting, beta: call.beta()}
	body := call.Body
	if in.beta {
		var refused *Error
		if body, in.keep, refused = threaded(call); refused != nil {
			return nil, refused
		}
	}
	if refused := anthropicJSON(body, &in); refused != nil {
		return nil, refused
	}
	return read(in.settings, in.conversation, in.format, in.thinking, in.tool)
}

// anthropicJSON reads a request's body. Under an anthropic-beta header it may have fields
// that are not in the reference.
func anthropicJSON(body []byte, into *messagesRequest) *Error {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(body, &fields); err != nil {
		return &Error{Message: "The request body is not valid JSON: " + err.Error()}
	}
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		if !into.beta && !slices.Contains(anthropicFields, name) {
			return &Error{Message: "Extra inputs are not permitted", Param: name}
		}
	}
	if err := unmarshal(body, into); err != nil {
		return &Error{Message: strings.TrimPrefix(err.Error(), "json: ")}
	}
	return nil
}

func fieldRequired(field string) *Error { return &Error{Message: "Field required", Param: field} }

func (in *messagesRequest) settings(req *Request) *Error {
	*req = Request{Model: in.Model, Stream: in.Stream, MaxTokens: orZero(in.MaxTokens), Stop: in.Stop, Field: "output_config.format", Keep: in.keep}
	return firstOf(
		rule{in.Model == "", fieldRequired("model")},
		rule{in.MaxTokens == nil && !in.counting, fieldRequired("max_tokens")},
		rule{in.MaxTokens != nil && *in.MaxTokens < 1, &Error{Message: "Input should be greater than or equal to 1", Param: "max_tokens"}},
		rule{in.Messages == nil, fieldRequired("messages")},
		rule{len(in.Messages) == 0, &Error{Message: "at least one message is required", Param: "messages"}},
		rule{in.Temperature < 0 || in.Temperature > 1, &Error{Message: "range: 0..1", Param: "temperature"}},
	)
}

func (in *messagesRequest) conversation(req *Request) *Error {
	text, ok := contentText(in.System, "text")
	if !ok {
		return &Error{Message: "Input should be a valid list", Param: "system"}
	}
	if text != "" {
		req.say("system", text)
	}
	messages, refused := anthropicMessages(in.Messages, in.beta)
	req.Messages = append(req.Messages, messages...)
	return refused
}

// format reads the format of the answer, which may be in two places.
func (in *messagesRequest) format(req *Request) *Error {
	f, place := in.OutputConfig.Format, "output_config.format."
	if f == nil {
		f, place = in.OutputFormat, "output_format."
	}
	switch {
	case f == nil:
		return nil
	case f.Type != "json_schema":
		return &Error{Message: "Input should be 'json_schema'", Param: place + "type"}
	case absent(f.Schema):
		return fieldRequired(place + "schema")
	}
	req.JSON, req.Schema, req.Field = true, f.Schema, place+"schema"
	return nil
}

// thinking reads whether the model is to think, and whether its thoughts are shown or only
// sent in encrypted form
// (platform.claude.com/docs/en/build-with-claude/extended-thinking).
func (in *messagesRequest) thinking(req *Request) *Error {
	budget := orZero(in.Thinking.Budget)
	switch in.Thinking.Type {
	case "", "disabled":
		return nil
	case "adaptive":
	case "enabled":
		refused := firstOf(
			rule{in.Thinking.Budget == nil, fieldRequired("thinking.enabled.budget_tokens")},
			rule{budget < leastBudget, &Error{Message: fmt.Sprintf("Input should be greater than or equal to %d", leastBudget), Param: "thinking.enabled.budget_tokens"}},
			rule{in.MaxTokens != nil && budget >= *in.MaxTokens, &Error{Message: "`max_tokens` must be greater than `thinking.budget_tokens`. Please consult our documentation at https://docs.claude.com/en/docs/build-with-claude/extended-thinking#max-tokens-and-context-window-size"}},
			rule{in.ToolChoice.Type == "any" || in.ToolChoice.Type == "tool", &Error{Message: "Thinking may not be enabled when tool_choice forces tool use."}},
		)
		if refused != nil {
			return refused
		}
	default:
		return &Error{Message: fmt.Sprintf("Input tag '%s' found using 'type' does not match any of the expected tags: 'disabled', 'enabled', 'adaptive'", in.Thinking.Type), Param: "thinking"}
	}
	req.Encrypted = true // as a signature
	req.Thinks = in.Thinking.Display != "omitted"
	return nil
}

func (in *messagesRequest) tool(req *Request) *Error {
	choice := in.ToolChoice
	var tools []Tool
	for i, t := range in.Tools {
		if t.Type == "" || t.Type == "custom" { // the others are Anthropic's own
			tools = append(tools, Tool{t.Name, t.InputSchema, fmt.Sprintf("tools.%d.input_schema", i)})
		}
	}
	switch choice.Type {
	case "none":
		return nil
	case "", "auto":
		req.Tools = tools
		return nil
	case "any", "tool":
	default:
		return &Error{Message: fmt.Sprintf("Input tag '%s' found using 'type' does not match any of the expected tags: 'auto', 'any', 'tool', 'none'", choice.Type), Param: "tool_choice"}
	}
	if len(in.Tools) == 0 {
		return &Error{Message: "may only be specified while providing tools", Param: "tool_choice"}
	}
	for _, t := range tools {
		if choice.Type == "any" || t.Name == choice.Name {
			req.MustCall(t)
			return nil
		}
	}
	return &Error{Message: fmt.Sprintf("Tool '%s' not found in provided tools", choice.Name), Param: "tool_choice.name"}
}

type anthropicMessage struct {
	Role    string          `json:"role"`
	Content json.RawMessage `json:"content"`
}

// anthropicBlock is a piece of a message.
type anthropicBlock struct {
	Type      string          `json:"type"`
	Text      string          `json:"text"`
	ID        string          `json:"id"`
	Name      string          `json:"name"`
	Input     json.RawMessage `json:"input"`
	ToolUseID string          `json:"tool_use_id"`
	Content   json.RawMessage `json:"content"`
	Source    anthropicSource `json:"source"`
}

// anthropicSource is where a picture or a document is. That of a search result is a string,
// which is not read.
type anthropicSource struct {
	Type      string `json:"type"`
	MediaType string `json:"media_type"`
	Data      string `json:"data"`
	URL       string `json:"url"`
	File      string `json:"file_id"`
}

func (s *anthropicSource) UnmarshalJSON(text []byte) error {
	var name string
	if json.Unmarshal(text, &name) == nil {
		return nil
	}
	type fields anthropicSource
	return json.Unmarshal(text, (*fields)(s))
}

// anthropicBlocks are the types of blocks (ContentBlockParamUnion of Anthropic's
// SDK). Those of Anthropic's own tools are accepted and not read.
var anthropicBlocks = []string{
	"text", "image", "document", "tool_use", "tool_result", "thinking", "redacted_thinking", "search_result", "container_upload", "server_tool_use",
	"web_search_tool_result", "web_fetch_tool_result", "code_execution_tool_result", "bash_code_execution_tool_result",
	"text_editor_code_execution_tool_result", "tool_search_tool_result",
}

// blocks reads a message's content: a string, or blocks.
func (m anthropicMessage) blocks(field string) ([]anthropicBlock, *Error) {
	var text string
	if json.Unmarshal(m.Content, &text) == nil {
		return []anthropicBlock{{Type: "text", Text: text}}, nil
	}
	var blocks []anthropicBlock
	if json.Unmarshal(m.Content, &blocks) != nil {
		return nil, &Error{Message: "Input should be a valid list", Param: field + ".content"}
	}
	return blocks, nil
}

// anthropicMessages reads the conversation. Turns of the same role in a row are
// one turn for Anthropic: each call in a turn needs its result in the next, and
// each result its call in the one before.
func anthropicMessages(in []anthropicMessage, beta bool) ([]Message, *Error) {
	var out []Message
	var role string                  // of the turn
	var calls, results, due []string // of the turn; due is the previous turn's calls
	end := func(i int) *Error {
		if id, ok := unmatched(due, results); ok {
			return &Error{Message: fmt.Sprintf("`tool_use` ids were found without `tool_result` blocks immediately after: %s. Each `tool_use` block must have a corresponding `tool_result` block in the next message.", id),
				Param: fmt.Sprintf("messages.%d", max(i-2, 0))}
		}
		if id, ok := unmatched(results, due); ok {
			return &Error{Message: fmt.Sprintf("unexpected `tool_use_id` found in `tool_result` blocks: %s. Each `tool_result` block must have a corresponding `tool_use` block in the previous message.", id),
				Param: fmt.Sprintf("messages.%d", i-1)}
		}
		due, calls, results = calls, nil, nil
		return nil
	}
	for i, m := range in {
		if !slices.Contains([]string{"user", "assistant", "system"}, m.Role) {
			return nil, &Error{Message: fmt.Sprintf(`Unexpected role "%s". Allowed roles are "user" or "assistant"`, m.Role), Param: "messages"}
		}
		if m.Role != role && role != "" {
			if refused := end(i); refused != nil {
				return nil, refused
			}
		}
		role = m.Role
		field := fmt.Sprintf("messages.%d", i)
		blocks, refused := m.blocks(field)
		if refused != nil {
			return nil, refused
		}
		if last := i == len(in)-1; len(blocks) == 0 && !(last && role == "assistant") {
			return nil, &Error{Message: "all messages must have non-empty content except for the optional final assistant message", Param: field}
		}
		var said []string
		for j, b := range blocks {
			if beta && !slices.Contains(anthropicBlocks, b.Type) {
				continue
			}
			text, refused := b.read(fmt.Sprintf("%s.content.%d", field, j))
			if refused != nil {
				return nil, refused
			}
			switch b.Type {
			case "tool_use":
				calls = append(calls, b.ID)
			case "tool_result":
				results = append(results, b.ToolUseID)
				out = append(out, Message{"tool", text})
				continue
			}
			if text != "" {
				said = append(said, text)
			}
		}
		if len(said) > 0 || len(blocks) == 0 || !slices.ContainsFunc(blocks, func(b anthropicBlock) bool { return b.Type == "tool_result" }) {
			out = append(out, Message{role, strings.Join(said, "\n")})
		}
	}
	if refused := end(len(in)); refused != nil {
		return nil, refused
	}
	if id, ok := unmatched(due, nil); ok {
		return nil, &Error{Message: fmt.Sprintf("`tool_use` ids were found without `tool_result` blocks immediately after: %s. Each `tool_use` block must have a corresponding `tool_result` block in the next message.", id),
			Param: fmt.Sprintf("messages.%d", len(in)-1)}
	}
	return out, nil
}

// read returns the text of a block, or why the block is refused.
func (b anthropicBlock) read(field string) (string, *Error) {
	switch b.Type {
	case "text":
		if b.Text == "" {
			return "", &Error{Message: "text content blocks must be non-empty", Param: "messages"}
		}
		if strings.TrimSpace(b.Text) == "" {
			return "", &Error{Message: "text content blocks must contain non-whitespace text", Param: "messages"}
		}
		return b.Text, nil
	case "image":
		return "", b.readImage(field + ".image.source")
	case "document":
		return "", b.readDocument(field + ".document.source")
	case "tool_use":
		if b.ID == "" || b.Name == "" {
			return "", fieldRequired(field + ".tool_use.id")
		}
		if _, ok := jsonObject(string(b.Input)); !ok {
			return "", &Error{Message: "Input should be a valid dictionary", Param: field + ".tool_use.input"}
		}
		return string(b.Input), nil
	case "tool_result":
		text, ok := contentText(b.Content, "text")
		if !ok {
			return "", &Error{Message: "Input should be a valid list", Param: field + ".tool_result.content"}
		}
		return text, nil
	}
	if !slices.Contains(anthropicBlocks, b.Type) {
		return "", &Error{Message: fmt.Sprintf("Input tag '%s' found using 'type' does not match any of the expected tags: %s", b.Type, strings.Join(anthropicBlocks, ", ")), Param: field}
	}
	return "", nil
}

func (b anthropicBlock) readImage(field string) *Error {
	mediaTypes := []string{"image/jpeg", "image/png", "image/gif", "image/webp"}
	switch {
	case b.Source.Type == "url" && b.Source.URL != "", b.Source.Type == "file" && b.Source.File != "":
	case b.Source.Type != "base64":
		return &Error{Message: fmt.Sprintf("Input tag '%s' found using 'type' does not match any of the expected tags: 'base64', 'url', 'file'", b.Source.Type), Param: field}
	case !slices.Contains(mediaTypes, b.Source.MediaType):
		return &Error{Message: "Input should be 'image/jpeg', 'image/png', 'image/gif' or 'image/webp'", Param: field + ".base64.media_type"}
	case b.Source.Data == "":
		return &Error{Message: "image cannot be empty", Param: field + ".base64"}
	}
	return nil
}

// readDocument checks the sources that have bytes or an address; the others are accepted
// and not read.
func (b anthropicBlock) readDocument(field string) *Error {
	sources := []string{"base64", "text", "content", "url", "file"}
	switch {
	case !slices.Contains(sources, b.Source.Type):
		return &Error{Message: fmt.Sprintf("Input tag '%s' found using 'type' does not match any of the expected tags: '%s'", b.Source.Type, strings.Join(sources, "', '")), Param: field}
	case b.Source.Type == "url" && b.Source.URL == "":
		return fieldRequired(field + ".url.url")
	case b.Source.Type == "base64" && b.Source.MediaType != "application/pdf":
		return &Error{Message: "Input should be 'application/pdf'", Param: field + ".base64.media_type"}
	case b.Source.Type == "base64" && b.Source.Data == "":
		return &Error{Message: "document cannot be empty", Param: field + ".base64"}
	}
	return nil
}
