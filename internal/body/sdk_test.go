package body_test

import (
	"encoding/json"
	"reflect"
	"testing"

	"github.com/anthropics/anthropic-sdk-go"
	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/responses"
	"github.com/openai/openai-go/v3/shared"
	"google.golang.org/genai"

	"llmcall/internal/body"
	"llmcall/llm"
)

const object = `{"type":"object","properties":{"city":{"type":"string"}},"required":["city"],"additionalProperties":false}`

func encoded(t *testing.T, v any) []byte {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// The bodies are those of the official SDKs, as they encode them.
func TestWhatTheSDKsSend(t *testing.T) {
	var asMap map[string]any
	if err := json.Unmarshal([]byte(object), &asMap); err != nil {
		t.Fatal(err)
	}
	asked := []llm.Message{
		llm.System("Be short."),
		{Role: llm.RoleUser, Parts: []llm.Part{llm.Text("Where?"), llm.Image{MediaType: "image/png", Data: picture()}}},
		{Role: llm.RoleAssistant, Parts: []llm.Part{llm.Text("Let me look."), llm.ToolCall{ID: "call_1", Name: "look", Arguments: json.RawMessage(`{"city":"Berlin"}`)}}},
		{Role: llm.RoleTool, Parts: []llm.Part{llm.ToolResult{CallID: "call_1", Content: "rain"}}},
		llm.User("And now?"),
	}
	common := llm.Request{Messages: asked, MaxTokens: 100, Temperature: new(0.5), ForceTool: "look", Tools: []llm.Tool{{Name: "look", Description: "d", Parameters: json.RawMessage(object)}}}
	dataURI := "data:image/png;base64," + base64Of(picture())
	for name, text := range map[string][]byte{
		"openai": encoded(t, openai.ChatCompletionNewParams{
			Model: "m", MaxCompletionTokens: openai.Int(100), Temperature: openai.Float(0.5),
			Messages: []openai.ChatCompletionMessageParamUnion{
				openai.DeveloperMessage("Be short."),
				openai.UserMessage([]openai.ChatCompletionContentPartUnionParam{openai.TextContentPart("Where?"), openai.ImageContentPart(openai.ChatCompletionContentPartImageImageURLParam{URL: dataURI})}),
				{OfAssistant: &openai.ChatCompletionAssistantMessageParam{
					Content: openai.ChatCompletionAssistantMessageParamContentUnion{OfString: openai.String("Let me look.")},
					ToolCalls: []openai.ChatCompletionMessageToolCallUnionParam{{OfFunction: &openai.ChatCompletionMessageFunctionToolCallParam{
						ID: "call_1", Function: openai.ChatCompletionMessageFunctionToolCallFunctionParam{Name: "look", Arguments: `{"city":"Berlin"}`}}}}}},
				openai.ToolMessage("rain", "call_1"),
				openai.UserMessage("And now?"),
			},
			Tools:      []openai.ChatCompletionToolUnionParam{openai.ChatCompletionFunctionTool(shared.FunctionDefinitionParam{Name: "look", Description: openai.String("d"), Parameters: asMap})},
			ToolChoice: openai.ToolChoiceOptionFunctionToolChoice(openai.ChatCompletionNamedToolChoiceFunctionParam{Name: "look"}),
		}),
		"openai-responses": encoded(t, responses.ResponseNewParams{
			Model: "m", MaxOutputTokens: openai.Int(100), Temperature: openai.Float(0.5), Instructions: openai.String("Be short."),
			Input: responses.ResponseNewParamsInputUnion{OfInputItemList: responses.ResponseInputParam{
				responses.ResponseInputItemParamOfMessage(responses.ResponseInputMessageContentListParam{
					responses.ResponseInputContentParamOfInputText("Where?"),
					{OfInputImage: &responses.ResponseInputImageParam{ImageURL: openai.String(dataURI)}}}, responses.EasyInputMessageRoleUser),
				responses.ResponseInputItemParamOfOutputMessage([]responses.ResponseOutputMessageContentUnionParam{
					{OfOutputText: &responses.ResponseOutputTextParam{Text: "Let me look."}}}, "msg_1", responses.ResponseOutputMessageStatusCompleted),
				responses.ResponseInputItemParamOfFunctionCall(`{"city":"Berlin"}`, "call_1", "look"),
				func() responses.ResponseInputItemUnionParam {
					output := responses.ResponseInputItemParamOfFunctionCallOutput("rain")
					output.OfFunctionCallOutput.CallID = openai.String("call_1")
					return output
				}(),
				responses.ResponseInputItemParamOfMessage("And now?", responses.EasyInputMessageRoleUser),
			}},
			Tools:      []responses.ToolUnionParam{{OfFunction: &responses.FunctionToolParam{Name: "look", Description: openai.String("d"), Parameters: asMap}}},
			ToolChoice: responses.ResponseNewParamsToolChoiceUnion{OfFunctionTool: &responses.ToolChoiceFunctionParam{Name: "look"}},
		}),
		"anthropic": encoded(t, anthropic.MessageNewParams{
			Model: "m", MaxTokens: 100, Temperature: anthropic.Float(0.5), System: []anthropic.TextBlockParam{{Text: "Be short."}},
			Messages: []anthropic.MessageParam{
				anthropic.NewUserMessage(anthropic.NewTextBlock("Where?"), anthropic.NewImageBlockBase64("image/png", base64Of(picture()))),
				anthropic.NewAssistantMessage(anthropic.NewTextBlock("Let me look."), anthropic.NewToolUseBlock("call_1", json.RawMessage(`{"city":"Berlin"}`), "look")),
				anthropic.NewUserMessage(anthropic.NewToolResultBlock("call_1", "rain", false), anthropic.NewTextBlock("And now?")),
			},
			Tools: []anthropic.ToolUnionParam{{OfTool: &anthropic.ToolParam{Name: "look", Description: anthropic.String("d"), InputSchema: anthropic.ToolInputSchemaParam{
				Properties: asMap["properties"], Required: []string{"city"}, ExtraFields: map[string]any{"additionalProperties": false}}}}},
			ToolChoice: anthropic.ToolChoiceParamOfTool("look"),
		}),
		"gemini": encoded(t, map[string]any{
			"systemInstruction": &genai.Content{Parts: []*genai.Part{{Text: "Be short."}}},
			"contents": []*genai.Content{
				{Role: "user", Parts: []*genai.Part{{Text: "Where?"}, genai.NewPartFromBytes(picture(), "image/png")}},
				{Role: "model", Parts: []*genai.Part{{Text: "Let me look."}, {FunctionCall: &genai.FunctionCall{ID: "call_1", Name: "look", Args: map[string]any{"city": "Berlin"}}}}},
				{Role: "user", Parts: []*genai.Part{{FunctionResponse: &genai.FunctionResponse{ID: "call_1", Name: "look", Response: map[string]any{"output": "rain"}}}, {Text: "And now?"}}},
			},
			"tools":            []*genai.Tool{{FunctionDeclarations: []*genai.FunctionDeclaration{{Name: "look", Description: "d", ParametersJsonSchema: json.RawMessage(object)}}}},
			"toolConfig":       &genai.ToolConfig{FunctionCallingConfig: &genai.FunctionCallingConfig{Mode: genai.FunctionCallingConfigModeAny, AllowedFunctionNames: []string{"look"}}},
			"generationConfig": &genai.GenerationConfig{MaxOutputTokens: 100, Temperature: genai.Ptr[float32](0.5)},
		}),
	} {
		t.Run(name, func(t *testing.T) {
			b, err := body.Read(name, text)
			if err != nil {
				t.Fatalf("%s: %v", text, err)
			}
			for other := range models {
				got, losses := b.To(other)
				if len(losses) > 0 {
					t.Errorf("to %s: lost %v", other, losses)
				}
				// Only the order of a schema's fields is lost, by the maps of the SDKs.
				if !same([]byte(object), got.Tools[0].Parameters) {
					t.Errorf("%s", got.Tools[0].Parameters)
				}
				with := *got
				with.Tools = common.Tools
				if !reflect.DeepEqual(with, common) {
					t.Errorf("%s to %s: got %+v, want %+v", text, other, with, common)
				}
			}
		})
	}
}
