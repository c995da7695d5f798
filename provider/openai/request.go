package openai

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"unicode/utf8"

	sdk "github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/packages/param"
	"github.com/openai/openai-go/v3/shared"

	"llmcall/llm"
)

// params puts a request into the SDK's words. An error names the field that the
// protocol can't express.
func (m *Model) params(req *llm.Request) (sdk.ChatCompletionNewParams, error) {
	params := sdk.ChatCompletionNewParams{Model: m.endpoint.Model}
	if req == nil || len(req.Messages) == 0 {
		return params, errors.New("messages: takes at least one message")
	}
	for i, message := range req.Messages {
		converted, err := messages(message)
		if err != nil {
			return params, fmt.Errorf("messages[%d] (%s): %w", i, message.Role, err)
		}
		params.Messages = append(params.Messages, converted...)
	}
	for i, tool := range req.Tools {
		converted, err := function(tool)
		if err != nil {
			return params, fmt.Errorf("tools[%d]: %w", i, err)
		}
		params.Tools = append(params.Tools, converted)
	}
	if req.Schema != nil {
		format, err := responseFormat(*req.Schema)
		if err != nil {
			return params, fmt.Errorf("schema: %w", err)
		}
		params.ResponseFormat.OfJSONSchema = format
	}
	switch limit := param.NewOpt(int64(req.MaxTokens)); {
	case req.MaxTokens < 0:
		return params, fmt.Errorf("max_tokens %d: takes a positive number, or 0 for the provider's choice", req.MaxTokens)
	case req.MaxTokens > 0 && m.legacyLimit:
		params.MaxTokens = limit
	case req.MaxTokens > 0:
		params.MaxCompletionTokens = limit
	}
	if t := req.Temperature; t != nil {
		if math.IsNaN(*t) || math.IsInf(*t, 0) {
			return params, fmt.Errorf("temperature %v: takes a finite number", *t)
		}
		params.Temperature = param.NewOpt(*t)
	}
	if req.Seed != nil {
		params.Seed = param.NewOpt(*req.Seed)
	}
	if len(req.Stop) > 0 {
		params.Stop.OfStringArray = req.Stop
	}
	return params, nil
}

// messages returns the messages that one message becomes: each tool result is a
// message of its own here. Text is sent as one string where it can be: older
// servers don't know lists of parts.
func messages(message llm.Message) ([]sdk.ChatCompletionMessageParamUnion, error) {
	switch message.Role {
	case llm.RoleSystem:
		if err := only(message, isText, "text"); err != nil {
			return nil, err
		}
		return []sdk.ChatCompletionMessageParamUnion{sdk.SystemMessage(message.Text())}, nil
	case llm.RoleUser:
		user, err := userMessage(message)
		return []sdk.ChatCompletionMessageParamUnion{user}, err
	case llm.RoleAssistant:
		if err := only(message, func(p llm.Part) bool { return isText(p) || is[llm.ToolCall](p) }, "text and tool calls"); err != nil {
			return nil, err
		}
		return []sdk.ChatCompletionMessageParamUnion{assistantMessage(message)}, nil
	case llm.RoleTool:
		if err := only(message, is[llm.ToolResult], "tool results"); err != nil {
			return nil, err
		}
		var results []sdk.ChatCompletionMessageParamUnion
		for _, p := range message.Parts {
			results = append(results, toolMessage(p.(llm.ToolResult)))
		}
		return results, nil
	}
	return nil, fmt.Errorf("takes the roles %s, %s, %s, %s", llm.RoleSystem, llm.RoleUser, llm.RoleAssistant, llm.RoleTool)
}

func is[T llm.Part](p llm.Part) bool {
	_, ok := p.(T)
	return ok
}

func isText(p llm.Part) bool { return is[llm.Text](p) }

// only returns an error if a part is not of the sort that the message's role
// takes. (A message without parts is left for the provider to judge, except
// that it can't be a tool's: it would vanish.)
func only(message llm.Message, takes func(llm.Part) bool, what string) error {
	if len(message.Parts) == 0 && message.Role == llm.RoleTool {
		return fmt.Errorf("takes %s, has no part", what)
	}
	for i, p := range message.Parts {
		if !takes(p) {
			return fmt.Errorf("parts[%d]: takes %s, not a %T", i, what, p)
		}
	}
	return nil
}

func userMessage(message llm.Message) (sdk.ChatCompletionMessageParamUnion, error) {
	if only(message, isText, "") == nil {
		return sdk.UserMessage(message.Text()), nil
	}
	var parts []sdk.ChatCompletionContentPartUnionParam
	for i, p := range message.Parts {
		switch p := p.(type) {
		case llm.Text:
			parts = append(parts, sdk.TextContentPart(string(p)))
		case llm.Image:
			address, err := imageAddress(p)
			if err != nil {
				return sdk.ChatCompletionMessageParamUnion{}, fmt.Errorf("parts[%d]: %w", i, err)
			}
			parts = append(parts, sdk.ImageContentPart(sdk.ChatCompletionContentPartImageImageURLParam{URL: address}))
		default:
			return sdk.ChatCompletionMessageParamUnion{}, fmt.Errorf("parts[%d]: takes text and images, not a %T", i, p)
		}
	}
	return sdk.UserMessage(parts), nil
}

func imageAddress(image llm.Image) (string, error) {
	switch {
	case len(image.Data) > 0 && image.MediaType == "":
		return "", errors.New("media_type: an image's data needs one, such as image/png")
	case len(image.Data) > 0:
		return "data:" + image.MediaType + ";base64," + base64.StdEncoding.EncodeToString(image.Data), nil
	case image.URL == "":
		return "", errors.New("an image needs data or a url")
	}
	return image.URL, nil
}

func assistantMessage(message llm.Message) sdk.ChatCompletionMessageParamUnion {
	var assistant sdk.ChatCompletionAssistantMessageParam
	for _, call := range message.ToolCalls() {
		arguments := string(call.Arguments)
		if arguments == "" {
			arguments = "{}"
		}
		assistant.ToolCalls = append(assistant.ToolCalls, sdk.ChatCompletionMessageToolCallUnionParam{
			OfFunction: &sdk.ChatCompletionMessageFunctionToolCallParam{
				ID:       call.ID,
				Function: sdk.ChatCompletionMessageFunctionToolCallFunctionParam{Name: call.Name, Arguments: arguments},
			},
		})
	}
	// Content may be missing only beside tool calls.
	if text := message.Text(); text != "" || len(assistant.ToolCalls) == 0 {
		assistant.Content.OfString = param.NewOpt(text)
	}
	return sdk.ChatCompletionMessageParamUnion{OfAssistant: &assistant}
}

// toolMessage marks a failed tool's result in words: the protocol has no field
// for it.
func toolMessage(result llm.ToolResult) sdk.ChatCompletionMessageParamUnion {
	content := result.Content
	if result.IsError {
		content = "Error: " + content
	}
	return sdk.ToolMessage(content, result.CallID)
}

// function sends the tool as it is: its JSON names are the protocol's. The SDK's
// own type for the parameters is a map, which would sort the properties and
// round large numbers.
func function(tool llm.Tool) (sdk.ChatCompletionToolUnionParam, error) {
	if len(tool.Parameters) > 0 {
		if err := isObject(tool.Parameters); err != nil {
			return sdk.ChatCompletionToolUnionParam{}, fmt.Errorf("parameters of %q: %w", tool.Name, err)
		}
	}
	return sdk.ChatCompletionFunctionTool(param.Override[shared.FunctionDefinitionParam](tool)), nil
}

func responseFormat(schema llm.Schema) (*shared.ResponseFormatJSONSchemaParam, error) {
	if err := isObject(schema.JSON); err != nil {
		return nil, err
	}
	name := schema.Name
	if name == "" {
		name = "answer"
	}
	return &shared.ResponseFormatJSONSchemaParam{
		JSONSchema: shared.ResponseFormatJSONSchemaJSONSchemaParam{
			Name:   name,
			Schema: schema.JSON,
			Strict: param.NewOpt(strict(schema.JSON)),
		},
	}, nil
}

func isObject(raw json.RawMessage) error {
	var object map[string]json.RawMessage
	if err := json.Unmarshal(raw, &object); err != nil {
		return fmt.Errorf("takes a JSON Schema that is a JSON object: %w", err)
	}
	if object == nil {
		return errors.New("takes a JSON Schema that is a JSON object, not null")
	}
	if !utf8.Valid(raw) {
		return errors.New("takes a JSON Schema in valid UTF-8")
	}
	return nil
}
