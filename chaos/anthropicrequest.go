package chaos

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// anthropicFields are those that a request may have (MessageNewParams and
// BetaMessageNewParams of Anthropic's SDK). Anthropic refuses others.
var anthropicFields = []string{
	"cache_control", "compaction", "container", "context_management", "diagnostics", "fallback_credit_token", "fallbacks", "inference_geo",
	"max_tokens", "mcp_servers", "messages", "metadata", "model", "output_config", "output_format", "service_tier", "speed", "stop_sequences",
	"stream", "system", "temperature", "thinking", "tool_choice", "tools", "top_k", "top_p",
}

// read reads a message's request (platform.claude.com/docs/en/api/messages).
func (anthropicFace) read(call *incoming) (*request, *refusal) {
	if call.header.Get("Anthropic-Version") == "" {
		return nil, &refusal{message: "anthropic-version: header is required"}
	}
	type format struct {
		Type   string          `json:"type"`
		Schema json.RawMessage `json:"schema"`
	}
	var in struct {
		Model        string             `json:"model"`
		MaxTokens    *int               `json:"max_tokens"`
		Messages     []anthropicMessage `json:"messages"`
		System       json.RawMessage    `json:"system"`
		Stream       bool               `json:"stream"`
		Temperature  float64            `json:"temperature"`
		Stop         []string           `json:"stop_sequences"`
		OutputFormat *format            `json:"output_format"`
		OutputConfig struct {
			Format *format `json:"format"`
		} `json:"output_config"`
		Tools []struct {
			Name        string          `json:"name"`
			InputSchema json.RawMessage `json:"input_schema"`
		} `json:"tools"`
		ToolChoice struct {
			Type string `json:"type"`
			Name string `json:"name"`
		} `json:"tool_choice"`
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(call.body, &fields); err != nil {
		return nil, &refusal{message: "The request body is not valid JSON: " + err.Error()}
	}
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		if !slices.Contains(anthropicFields, name) {
			return nil, &refusal{message: "Extra inputs are not permitted", param: name}
		}
	}
	if err := json.Unmarshal(call.body, &in); err != nil {
		return nil, &refusal{message: strings.TrimPrefix(err.Error(), "json: ")}
	}
	required := func(field string) *refusal { return &refusal{message: "Field required", param: field} }
	switch {
	case in.Model == "":
		return nil, required("model")
	case in.MaxTokens == nil:
		return nil, required("max_tokens")
	case *in.MaxTokens < 1:
		return nil, &refusal{message: "Input should be greater than or equal to 1", param: "max_tokens"}
	case in.Messages == nil:
		return nil, required("messages")
	case len(in.Messages) == 0:
		return nil, &refusal{message: "at least one message is required", param: "messages"}
	case in.Temperature < 0 || in.Temperature > 1:
		return nil, &refusal{message: "range: 0..1", param: "temperature"}
	}
	req := &request{model: in.Model, stream: in.Stream, maxTokens: *in.MaxTokens, stop: in.Stop, field: "output_config.format"}
	if text, ok := contentText(in.System, "text"); !ok {
		return nil, &refusal{message: "Input should be a valid list", param: "system"}
	} else if text != "" {
		req.messages = append(req.messages, Message{"system", text})
	}
	messages, refused := anthropicMessages(in.Messages)
	if refused != nil {
		return nil, refused
	}
	req.messages = append(req.messages, messages...)

	outputFormat, field := in.OutputConfig.Format, "output_config.format.schema"
	if outputFormat == nil {
		outputFormat, field = in.OutputFormat, "output_format.schema"
	}
	if outputFormat != nil {
		if outputFormat.Type != "json_schema" {
			return nil, &refusal{message: "Input should be 'json_schema'", param: strings.TrimSuffix(field, "schema") + "type"}
		}
		if absent(outputFormat.Schema) {
			return nil, required(field)
		}
		req.json, req.schema, req.field = true, outputFormat.Schema, field
	}

	switch choice := in.ToolChoice; choice.Type {
	case "", "auto", "none":
		return req, nil
	case "any", "tool":
		if len(in.Tools) == 0 {
			return nil, &refusal{message: "may only be specified while providing tools", param: "tool_choice"}
		}
		for i, t := range in.Tools {
			if choice.Type == "any" || t.Name == choice.Name {
				req.mustCall(t.Name, t.InputSchema, fmt.Sprintf("tools.%d.input_schema", i))
				return req, nil
			}
		}
		return nil, &refusal{message: fmt.Sprintf("Tool '%s' not found in provided tools", choice.Name), param: "tool_choice.name"}
	}
	return nil, &refusal{message: fmt.Sprintf("Input tag '%s' found using 'type' does not match any of the expected tags: 'auto', 'any', 'tool', 'none'", in.ToolChoice.Type), param: "tool_choice"}
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
	Source    struct {
		Type      string `json:"type"`
		MediaType string `json:"media_type"`
		Data      string `json:"data"`
		URL       string `json:"url"`
	} `json:"source"`
}

// anthropicBlocks are the types of blocks (ContentBlockParamUnion of Anthropic's
// SDK). Those of Anthropic's own tools are taken and not read.
var anthropicBlocks = []string{
	"text", "image", "document", "tool_use", "tool_result", "thinking", "redacted_thinking", "search_result", "container_upload", "server_tool_use",
	"web_search_tool_result", "web_fetch_tool_result", "code_execution_tool_result", "bash_code_execution_tool_result",
	"text_editor_code_execution_tool_result", "tool_search_tool_result",
}

// blocks reads a message's content: a text, or blocks.
func (m anthropicMessage) blocks(field string) ([]anthropicBlock, *refusal) {
	var text string
	if json.Unmarshal(m.Content, &text) == nil {
		return []anthropicBlock{{Type: "text", Text: text}}, nil
	}
	var blocks []anthropicBlock
	if json.Unmarshal(m.Content, &blocks) != nil {
		return nil, &refusal{message: "Input should be a valid list", param: field + ".content"}
	}
	return blocks, nil
}

// anthropicMessages reads the conversation. Turns of the same role in a row are
// one turn for Anthropic: each call in a turn needs its result in the next, and
// each result its call in the one before.
func anthropicMessages(in []anthropicMessage) ([]Message, *refusal) {
	var out []Message
	var role string                  // of the turn
	var calls, results, due []string // of the turn; due is of the one before
	end := func(i int) *refusal {
		if id, ok := unmatched(due, results); ok {
			return &refusal{message: fmt.Sprintf("`tool_use` ids were found without `tool_result` blocks immediately after: %s. Each `tool_use` block must have a corresponding `tool_result` block in the next message.", id),
				param: fmt.Sprintf("messages.%d", max(i-2, 0))}
		}
		if id, ok := unmatched(results, due); ok {
			return &refusal{message: fmt.Sprintf("unexpected `tool_use_id` found in `tool_result` blocks: %s. Each `tool_result` block must have a corresponding `tool_use` block in the previous message.", id),
				param: fmt.Sprintf("messages.%d", i-1)}
		}
		due, calls, results = calls, nil, nil
		return nil
	}
	for i, m := range in {
		if !slices.Contains([]string{"user", "assistant", "system"}, m.Role) {
			return nil, &refusal{message: fmt.Sprintf(`Unexpected role "%s". Allowed roles are "user" or "assistant"`, m.Role), param: "messages"}
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
			return nil, &refusal{message: "all messages must have non-empty content except for the optional final assistant message", param: field}
		}
		var said []string
		for j, b := range blocks {
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
		return nil, &refusal{message: fmt.Sprintf("`tool_use` ids were found without `tool_result` blocks immediately after: %s. Each `tool_use` block must have a corresponding `tool_result` block in the next message.", id),
			param: fmt.Sprintf("messages.%d", len(in)-1)}
	}
	return out, nil
}

// read returns the text of a block, if it is right.
func (b anthropicBlock) read(field string) (string, *refusal) {
	switch b.Type {
	case "text":
		if b.Text == "" {
			return "", &refusal{message: "text content blocks must be non-empty", param: "messages"}
		}
		if strings.TrimSpace(b.Text) == "" {
			return "", &refusal{message: "text content blocks must contain non-whitespace text", param: "messages"}
		}
		return b.Text, nil
	case "image":
		return "", b.readImage(field + ".image.source")
	case "tool_use":
		if b.ID == "" || b.Name == "" {
			return "", &refusal{message: "Field required", param: field + ".tool_use.id"}
		}
		if _, ok := jsonObject(string(b.Input)); !ok {
			return "", &refusal{message: "Input should be a valid dictionary", param: field + ".tool_use.input"}
		}
		return string(b.Input), nil
	case "tool_result":
		text, ok := contentText(b.Content, "text")
		if !ok {
			return "", &refusal{message: "Input should be a valid list", param: field + ".tool_result.content"}
		}
		return text, nil
	}
	if !slices.Contains(anthropicBlocks, b.Type) {
		return "", &refusal{message: fmt.Sprintf("Input tag '%s' found using 'type' does not match any of the expected tags: %s", b.Type, list(anthropicBlocks)), param: field}
	}
	return "", nil
}

func (b anthropicBlock) readImage(field string) *refusal {
	mediaTypes := []string{"image/jpeg", "image/png", "image/gif", "image/webp"}
	switch {
	case b.Source.Type == "url" && b.Source.URL != "":
	case b.Source.Type != "base64":
		return &refusal{message: fmt.Sprintf("Input tag '%s' found using 'type' does not match any of the expected tags: 'base64', 'url'", b.Source.Type), param: field}
	case !slices.Contains(mediaTypes, b.Source.MediaType):
		return &refusal{message: "Input should be 'image/jpeg', 'image/png', 'image/gif' or 'image/webp'", param: field + ".base64.media_type"}
	case b.Source.Data == "":
		return &refusal{message: "image cannot be empty", param: field + ".base64"}
	}
	return nil
}
