package openai

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"math"

	sdk "github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/packages/param"
	"github.com/openai/openai-go/v3/shared"

	"llmcall/llm"
	"llmcall/media"
	"llmcall/provider/internal/wire"
)

// params converts a request to the SDK's types, and returns what it asks for that the
// server may lack. The error names the field that the protocol can't express.
func (m *Model) params(req *llm.Request, stream bool, steps *wire.Steps) (sdk.ChatCompletionNewParams, asking, error) {
	params := sdk.ChatCompletionNewParams{Model: m.endpoint.Model}
	conversation, asked, err := m.conversation(req, steps, noThought)
	if err != nil {
		return params, asked, err
	}
	switch {
	case asked.mode.native():
		params.ResponseFormat.OfJSONSchema = responseFormat(*req.Schema, asked)
	case asked.mode == SchemaObject:
		params.ResponseFormat.OfJSONObject = new(shared.NewResponseFormatJSONObjectParam())
	}
	for i, message := range conversation.Messages {
		converted, err := messagesOf(message)
		if err != nil {
			return params, asked, fmt.Errorf("messages[%d] (%s): %w", conversation.Given[i], message.Role, err)
		}
		params.Messages = append(params.Messages, converted...)
	}
	for i, tool := range req.Tools {
		converted, err := function(tool)
		if err != nil {
			return params, asked, fmt.Errorf("tools[%d]: %w", i, err)
		}
		params.Tools = append(params.Tools, converted)
	}
	if req.NoToolCalls && len(req.Tools) > 0 { // servers refuse the field without tools
		params.ToolChoice.OfAuto = param.NewOpt(string(sdk.ChatCompletionToolChoiceOptionAutoNone))
	}
	switch asked.forced {
	case "":
	case wire.AnyTool:
		params.ToolChoice.OfAuto = param.NewOpt(string(sdk.ChatCompletionToolChoiceOptionAutoRequired))
	default:
		params.ToolChoice = sdk.ToolChoiceOptionFunctionToolChoice(sdk.ChatCompletionNamedToolChoiceFunctionParam{Name: asked.forced})
	}
	switch limit := param.NewOpt(int64(req.MaxTokens)); {
	case req.MaxTokens > 0 && m.server.MaxTokens == legacy:
		params.MaxTokens = limit
	case req.MaxTokens > 0:
		params.MaxCompletionTokens = limit
	}
	if req.Temperature != nil {
		params.Temperature = param.NewOpt(*req.Temperature)
	}
	if req.Seed != nil {
		params.Seed = param.NewOpt(*req.Seed)
	}
	if len(req.Stop) > 0 {
		params.Stop.OfStringArray = req.Stop
	}
	if stream && !steps.Without(wire.StreamUsage) {
		asked.features |= wire.StreamUsage
		params.StreamOptions.IncludeUsage = param.NewOpt(true)
	}
	more, err := extra(req.Extra, stream, "messages")
	if err != nil {
		return params, asked, err
	}
	if len(more) > 0 {
		params.SetExtraFields(more)
	}
	return params, asked, nil
}

// conversation returns the messages to send, the same for both APIs, and how to ask for
// the schema if there is one. thought is that of [wire.Conversation].
func (c *connection) conversation(req *llm.Request, steps *wire.Steps, thought func(r llm.Reasoning, last bool) bool) (talk wire.Talk, a asking, err error) {
	if err := check(req); err != nil {
		return talk, a, err
	}
	messages, err := media.FitAll(req.Messages, c.takes)
	if err != nil {
		return talk, a, err
	}
	talk = wire.Conversation(messages, c.endpoint.Provider, thought)
	if req.Schema != nil {
		a = c.ask(req.Schema.JSON, steps)
		if a.mode != SchemaNative {
			talk.Instruct(req.Schema.JSON, len(req.Tools) > 0)
		}
	}
	if err := c.force(req, steps, &a); err != nil {
		return talk, a, err
	}
	if steps.Without(wire.SystemMessages) {
		talk.WithoutSystem()
	} else if talk.HasSystem() {
		a.features |= wire.SystemMessages
	}
	return talk, a, nil
}

// noThought is for the chat completions API, where reasoning is a field of the message,
// so that nothing need follow it.
func noThought(llm.Reasoning, bool) bool { return false }

// check returns an error for a request that no server accepts by either API.
func check(req *llm.Request) error {
	if req == nil || len(req.Messages) == 0 {
		return errors.New("messages: must have at least one message")
	}
	if req.Schema != nil {
		if err := wire.CheckSchema(req.Schema.JSON); err != nil {
			return fmt.Errorf("schema: %w", err)
		}
	}
	if req.MaxTokens < 0 {
		return fmt.Errorf("max_tokens %d: must be a positive number, or 0 for the provider's choice", req.MaxTokens)
	}
	if t := req.Temperature; t != nil && (math.IsNaN(*t) || math.IsInf(*t, 0)) {
		return fmt.Errorf("temperature %v: must be a finite number", *t)
	}
	return nil
}

// extra returns the fields to add to a request's body: the caller's, which replace
// those of the same name, and stream. messages is the API's name for the
// conversation.
func extra(given map[string]any, stream bool, messages string) (map[string]any, error) {
	fields := map[string]any{}
	for name, value := range given {
		if name == "" || name == "stream" || name == "model" || name == messages {
			return nil, fmt.Errorf("extra: the field %q: must not be model, %s or stream, which the call itself sets", name, messages)
		}
		// Encoded here: the SDK would write bytes and some numbers differently.
		raw, err := json.Marshal(value)
		if err != nil {
			return nil, fmt.Errorf("extra: the field %q: %w", name, err)
		}
		fields[name] = json.RawMessage(raw)
	}
	if stream {
		fields["stream"] = true
	}
	return fields, nil
}

// messagesOf returns the messages that one message becomes: each tool result
// becomes one of its own. Text is sent as one string if possible, because older
// servers do not accept lists of parts.
func messagesOf(message llm.Message) ([]sdk.ChatCompletionMessageParamUnion, error) {
	switch message.Role {
	case llm.RoleSystem:
		if err := wire.Only(message, wire.IsText, "text"); err != nil {
			return nil, err
		}
		return []sdk.ChatCompletionMessageParamUnion{sdk.SystemMessage(message.Text())}, nil
	case llm.RoleUser:
		user, err := userMessage(message)
		return []sdk.ChatCompletionMessageParamUnion{user}, err
	case llm.RoleAssistant:
		if err := wire.Only(message, isAnswer, "text or a tool call"); err != nil {
			return nil, err
		}
		return []sdk.ChatCompletionMessageParamUnion{assistantMessage(message)}, nil
	case llm.RoleTool:
		if err := wire.Only(message, wire.Is[llm.ToolResult], "a tool result"); err != nil {
			return nil, err
		}
		var results []sdk.ChatCompletionMessageParamUnion
		for _, p := range message.Parts {
			results = append(results, toolMessage(p.(llm.ToolResult)))
		}
		return results, nil
	}
	return nil, wire.UnknownRole()
}

func isAnswer(p llm.Part) bool {
	return wire.IsText(p) || wire.Is[llm.ToolCall](p) || wire.Is[llm.Reasoning](p)
}

func userMessage(message llm.Message) (sdk.ChatCompletionMessageParamUnion, error) {
	if wire.Only(message, wire.IsText, "") == nil {
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
			parts = append(parts, sdk.ImageContentPart(sdk.ChatCompletionContentPartImageImageURLParam{URL: address, Detail: p.Detail}))
		case llm.Document:
			parts = append(parts, filePart(p))
		case llm.Audio:
			parts = append(parts, audioPart(p))
		default:
			return sdk.ChatCompletionMessageParamUnion{}, fmt.Errorf("parts[%d]: must be text, an image, a document or a recording, got %T", i, p)
		}
	}
	return sdk.UserMessage(parts), nil
}

func imageAddress(image llm.Image) (string, error) {
	switch {
	case len(image.Data) > 0 && image.MediaType == "":
		return "", errors.New("media_type: an image's data needs one, such as image/png")
	case len(image.Data) > 0:
		return dataURI(image.MediaType, image.Data), nil
	case image.URL == "":
		return "", errors.New("an image needs data or a url")
	}
	return image.URL, nil
}

func assistantMessage(message llm.Message) sdk.ChatCompletionMessageParamUnion {
	var assistant sdk.ChatCompletionAssistantMessageParam
	for _, call := range message.ToolCalls() {
		assistant.ToolCalls = append(assistant.ToolCalls, sdk.ChatCompletionMessageToolCallUnionParam{
			OfFunction: &sdk.ChatCompletionMessageFunctionToolCallParam{
				ID:       call.ID,
				Function: sdk.ChatCompletionMessageFunctionToolCallFunctionParam{Name: call.Name, Arguments: string(call.Arguments)},
			},
		})
	}
	// Content may be missing only if there are tool calls.
	if text := message.Text(); text != "" || len(assistant.ToolCalls) == 0 {
		assistant.Content.OfString = param.NewOpt(text)
	}
	if back := reasoningBack(message); back != nil {
		assistant.SetExtraFields(back)
	}
	return sdk.ChatCompletionMessageParamUnion{OfAssistant: &assistant}
}

func toolMessage(result llm.ToolResult) sdk.ChatCompletionMessageParamUnion {
	return sdk.ToolMessage(resultText(result), result.CallID)
}

// resultText marks the result of a failed tool in words, because the protocol has
// no field for that.
func resultText(result llm.ToolResult) string {
	if result.IsError {
		return "Error: " + result.Content
	}
	return result.Content
}

// function sends the tool as it is, since its JSON names are the protocol's. The
// SDK's type for the parameters is a map, which would sort the properties and
// round large numbers.
func function(tool llm.Tool) (sdk.ChatCompletionToolUnionParam, error) {
	if err := checkTool(tool); err != nil {
		return sdk.ChatCompletionToolUnionParam{}, err
	}
	return sdk.ChatCompletionFunctionTool(param.Override[shared.FunctionDefinitionParam](tool)), nil
}

func checkTool(tool llm.Tool) error {
	if len(tool.Parameters) == 0 {
		return nil
	}
	if err := wire.CheckSchema(tool.Parameters); err != nil {
		return fmt.Errorf("parameters of %q: %w", tool.Name, err)
	}
	return nil
}

// schemaName is the name of a schema without one: the protocol requires a name.
const schemaName = "answer"

func responseFormat(schema llm.Schema, a asking) *shared.ResponseFormatJSONSchemaParam {
	sent, enforced := a.schema(schema.JSON)
	return &shared.ResponseFormatJSONSchemaParam{
		JSONSchema: shared.ResponseFormatJSONSchemaJSONSchemaParam{
			Name:   cmp.Or(schema.Name, schemaName),
			Schema: sent,
			Strict: param.NewOpt(enforced),
		},
	}
}
