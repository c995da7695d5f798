package openai

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/openai/openai-go/v3/packages/param"
	"github.com/openai/openai-go/v3/responses"
	"github.com/openai/openai-go/v3/shared"

	"llmcall/llm"
	"llmcall/provider/internal/wire"
)

// params converts a request to the SDK's types; see Model.params.
func (m *Responses) params(req *llm.Request, stream bool, steps *wire.Steps) (responses.ResponseNewParams, asking, error) {
	params := responses.ResponseNewParams{Model: m.endpoint.Model, Store: param.NewOpt(false)}
	conversation, asked, err := m.conversation(req, steps, isThought)
	switch {
	case err != nil:
		return params, asked, err
	case len(req.Stop) > 0:
		return params, asked, errors.New("stop: the Responses API has no such setting")
	case req.Seed != nil:
		return params, asked, errors.New("seed: the Responses API has no such setting")
	case asked.mode.native():
		params.Text.Format.OfJSONSchema = new(textFormat(*req.Schema, asked))
	case asked.mode == SchemaObject:
		params.Text.Format.OfJSONObject = new(shared.NewResponseFormatJSONObjectParam())
	}
	// JSON mode requires the word JSON in the input, where instructions don't count.
	instructs := asked.mode != SchemaObject
	var instructions []string
	for i, message := range conversation.Messages {
		if instructs && message.Role == llm.RoleSystem && len(instructions) == i && wire.Only(message, wire.IsText, "text") == nil {
			instructions = append(instructions, message.Text())
			continue
		}
		items, err := input(message)
		if err != nil {
			return params, asked, fmt.Errorf("messages[%d] (%s): %w", conversation.Given[i], message.Role, err)
		}
		params.Input.OfInputItemList = append(params.Input.OfInputItemList, items...)
	}
	if len(params.Input.OfInputItemList) == 0 {
		return params, asked, errors.New("messages: the Responses API needs at least one message that is not the system's")
	}
	if len(instructions) > 0 {
		params.Instructions = param.NewOpt(strings.Join(instructions, "\n"))
	}
	for i, tool := range req.Tools {
		if err := checkTool(tool); err != nil {
			return params, asked, fmt.Errorf("tools[%d]: %w", i, err)
		}
		params.Tools = append(params.Tools, responses.ToolUnionParam{OfFunction: new(functionTool(tool))})
	}
	if req.NoToolCalls && len(req.Tools) > 0 {
		params.ToolChoice.OfToolChoiceMode = param.NewOpt(responses.ToolChoiceOptionsNone)
	}
	switch asked.forced {
	case "":
	case wire.AnyTool:
		params.ToolChoice.OfToolChoiceMode = param.NewOpt(responses.ToolChoiceOptionsRequired)
	default:
		params.ToolChoice.OfFunctionTool = &responses.ToolChoiceFunctionParam{Name: asked.forced}
	}
	if req.MaxTokens > 0 {
		params.MaxOutputTokens = param.NewOpt(int64(req.MaxTokens))
	}
	if req.Temperature != nil {
		params.Temperature = param.NewOpt(*req.Temperature)
	}
	if thinks(m.endpoint.Model) && !steps.Without(wire.EncryptedReasoning) {
		asked.features |= wire.EncryptedReasoning
		params.Include = []responses.ResponseIncludable{responses.ResponseIncludableReasoningEncryptedContent}
	}
	more, err := extra(req.Extra, stream, "input")
	if err != nil {
		return params, asked, err
	}
	if len(more) > 0 {
		params.SetExtraFields(more)
	}
	return params, asked, nil
}

// thinks reports whether a model may be a reasoning model. For others, whose names
// are known because they are old, OpenAI refuses a request for encrypted reasoning
// with a 400 ("Encrypted content is not supported with this model").
func thinks(model string) bool {
	name := strings.TrimPrefix(model, "ft:")
	for _, old := range []string{"gpt-3", "gpt-4", "chatgpt-"} {
		if strings.HasPrefix(name, old) {
			return false
		}
	}
	return !strings.Contains(name, "-chat")
}

// input returns the items that one message becomes, in the order of its parts.
func input(message llm.Message) ([]responses.ResponseInputItemUnionParam, error) {
	switch message.Role {
	case llm.RoleSystem:
		if err := wire.Only(message, wire.IsText, "text"); err != nil {
			return nil, err
		}
		return []responses.ResponseInputItemUnionParam{said(message.Text(), responses.EasyInputMessageRoleSystem)}, nil
	case llm.RoleUser:
		user, err := userInput(message)
		return []responses.ResponseInputItemUnionParam{user}, err
	case llm.RoleAssistant:
		if err := wire.Only(message, isAnswer, "text or a tool call"); err != nil {
			return nil, err
		}
		return answerItems(message), nil
	case llm.RoleTool:
		if err := wire.Only(message, wire.Is[llm.ToolResult], "a tool result"); err != nil {
			return nil, err
		}
		var outputs []responses.ResponseInputItemUnionParam
		for _, p := range message.Parts {
			result := p.(llm.ToolResult)
			output := responses.ResponseInputItemParamOfFunctionCallOutput(resultText(result))
			output.OfFunctionCallOutput.CallID = param.NewOpt(result.CallID)
			outputs = append(outputs, output)
		}
		return outputs, nil
	}
	return nil, wire.UnknownRole()
}

func said(text string, role responses.EasyInputMessageRole) responses.ResponseInputItemUnionParam {
	return responses.ResponseInputItemParamOfMessage(text, role)
}

func userInput(message llm.Message) (responses.ResponseInputItemUnionParam, error) {
	if wire.Only(message, wire.IsText, "") == nil {
		return said(message.Text(), responses.EasyInputMessageRoleUser), nil
	}
	var parts responses.ResponseInputMessageContentListParam
	for i, p := range message.Parts {
		switch p := p.(type) {
		case llm.Text:
			parts = append(parts, responses.ResponseInputContentParamOfInputText(string(p)))
		case llm.Image:
			address, err := imageAddress(p)
			if err != nil {
				return responses.ResponseInputItemUnionParam{}, fmt.Errorf("parts[%d]: %w", i, err)
			}
			part := responses.ResponseInputContentParamOfInputImage(responses.ResponseInputImageDetail(cmp.Or(p.Detail, "auto")))
			part.OfInputImage.ImageURL = param.NewOpt(address)
			parts = append(parts, part)
		case llm.Document:
			parts = append(parts, inputFile(p))
		default:
			return responses.ResponseInputItemUnionParam{}, fmt.Errorf("parts[%d]: must be text, an image or a document, got %T", i, p)
		}
	}
	return responses.ResponseInputItemParamOfMessage(parts, responses.EasyInputMessageRoleUser), nil
}

// answerItems returns an answer's parts as the items that they were. Consecutive
// texts become one message.
func answerItems(message llm.Message) []responses.ResponseInputItemUnionParam {
	var items []responses.ResponseInputItemUnionParam
	var texts []string
	flush := func() {
		if len(texts) > 0 {
			items = append(items, said(strings.Join(texts, "\n"), responses.EasyInputMessageRoleAssistant))
			texts = nil
		}
	}
	for _, p := range message.Parts {
		switch p := p.(type) {
		case llm.Text:
			texts = append(texts, string(p))
		case llm.ToolCall:
			flush()
			items = append(items, responses.ResponseInputItemParamOfFunctionCall(string(p.Arguments), p.ID, p.Name))
		case llm.Reasoning:
			if selfContained(p.Data) {
				flush()
				items = append(items, param.Override[responses.ResponseInputItemUnionParam](p.Data))
			}
		}
	}
	flush()
	return items
}

// isThought reports whether the API refuses reasoning without what follows it: "Item 'rs_…'
// of type 'reasoning' was provided without its required following item". An item that is
// not sent back has to go too, for the turn not to be empty.
func isThought(r llm.Reasoning, _ bool) bool {
	var item struct {
		Type string `json:"type"`
	}
	return json.Unmarshal(r.Data, &item) != nil || item.Type != "message" || !selfContained(r.Data)
}

// selfContained reports whether reasoning can be sent back: it is an item of this
// API with its content, encrypted or not. An item without content refers to what
// the server did not store.
func selfContained(item json.RawMessage) bool {
	var fields struct {
		Type      string            `json:"type"`
		Encrypted string            `json:"encrypted_content"`
		Content   []json.RawMessage `json:"content"`
	}
	if json.Unmarshal(item, &fields) != nil {
		return false
	}
	return fields.Type == "reasoning" && fields.Encrypted != "" || (fields.Type == "reasoning" || fields.Type == "message") && len(fields.Content) > 0
}

// The SDK's types have a schema as a map, which would sort the properties and
// round large numbers; hence the overrides.

// functionTool sends a tool as it is, with the defaults of the chat completions
// API: without parameters, an object without properties; and strict is false,
// where this API's default is true.
func functionTool(tool llm.Tool) responses.FunctionToolParam {
	if len(tool.Parameters) == 0 {
		tool.Parameters = json.RawMessage(`{"type":"object","properties":{}}`)
	}
	return param.Override[responses.FunctionToolParam](struct {
		Type string `json:"type"`
		llm.Tool
		Strict bool `json:"strict"`
	}{"function", tool, false})
}

func textFormat(schema llm.Schema, a asking) responses.ResponseFormatTextJSONSchemaConfigParam {
	sent, enforced := a.schema(schema.JSON)
	return param.Override[responses.ResponseFormatTextJSONSchemaConfigParam](struct {
		Type   string          `json:"type"`
		Name   string          `json:"name"`
		Strict bool            `json:"strict"`
		Schema json.RawMessage `json:"schema"`
	}{"json_schema", cmp.Or(schema.Name, schemaName), enforced, sent})
}
