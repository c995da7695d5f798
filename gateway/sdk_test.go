package gateway_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/anthropics/anthropic-sdk-go"
	anthropicoption "github.com/anthropics/anthropic-sdk-go/option"
	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
	"github.com/openai/openai-go/v3/responses"
	"github.com/openai/openai-go/v3/shared"
	"google.golang.org/genai"
)

// said is what an SDK has read of an answer.
type said struct {
	text   string
	tool   string // the name of the tool that is called
	args   string // of the call
	id     string
	out    int64 // tokens
	finish string
}

// asks is what a client asks for.
type asks struct {
	text    string
	picture []byte
	tool    bool  // offers the tool "lookup"
	result  *said // a call of the tool, whose result is given
	schema  bool
	stream  bool
}

var citySchema = map[string]any{
	"type": "object", "properties": map[string]any{"city": map[string]any{"type": "string"}}, "required": []string{"city"}, "additionalProperties": false,
}

// A sdk is an official client of a protocol.
type sdk struct {
	name string
	ask  func(ctx context.Context, url, model string, a asks) (said, error)
	// status returns that of the SDK's own error; 0 if err is not one.
	status func(err error) int
}

var sdks = []sdk{{"openai", askChat, openaiStatus}, {"openai responses", askResponses, openaiStatus}, {"anthropic", askClaude, anthropicStatus}, {"genai", askGemini, geminiStatus}}

func openaiStatus(err error) int {
	if e, ok := errors.AsType[*openai.Error](err); ok {
		return e.StatusCode
	}
	return 0
}

func anthropicStatus(err error) int {
	if e, ok := errors.AsType[*anthropic.Error](err); ok {
		return e.StatusCode
	}
	return 0
}

func geminiStatus(err error) int {
	if e, ok := errors.AsType[genai.APIError](err); ok {
		return e.Code
	}
	return 0
}

func dataURI(picture []byte) string {
	return "data:image/png;base64," + base64.StdEncoding.EncodeToString(picture)
}

func askChat(ctx context.Context, url, model string, a asks) (said, error) {
	client := openai.NewClient(option.WithBaseURL(url+"/v1"), option.WithAPIKey("k"), option.WithMaxRetries(0))
	parts := []openai.ChatCompletionContentPartUnionParam{openai.TextContentPart(a.text)}
	if a.picture != nil {
		parts = append(parts, openai.ImageContentPart(openai.ChatCompletionContentPartImageImageURLParam{URL: dataURI(a.picture)}))
	}
	params := openai.ChatCompletionNewParams{Model: model, MaxCompletionTokens: openai.Int(1000), Messages: []openai.ChatCompletionMessageParamUnion{openai.SystemMessage("Be brief."), openai.UserMessage(parts)}}
	if a.tool {
		params.Tools = []openai.ChatCompletionToolUnionParam{openai.ChatCompletionFunctionTool(shared.FunctionDefinitionParam{Name: "lookup", Description: openai.String("looks a city up"), Parameters: citySchema})}
	}
	if r := a.result; r != nil {
		params.Messages = append(params.Messages,
			openai.ChatCompletionMessageParamUnion{OfAssistant: &openai.ChatCompletionAssistantMessageParam{ToolCalls: []openai.ChatCompletionMessageToolCallUnionParam{{OfFunction: &openai.ChatCompletionMessageFunctionToolCallParam{ID: r.id, Function: openai.ChatCompletionMessageFunctionToolCallFunctionParam{Name: r.tool, Arguments: r.args}}}}}},
			openai.ToolMessage("sunny", r.id))
	}
	if a.schema {
		params.ResponseFormat.OfJSONSchema = &shared.ResponseFormatJSONSchemaParam{JSONSchema: shared.ResponseFormatJSONSchemaJSONSchemaParam{Name: "city", Schema: citySchema, Strict: openai.Bool(true)}}
	}
	var got *openai.ChatCompletion
	var err error
	if a.stream {
		params.StreamOptions.IncludeUsage = openai.Bool(true)
		stream := client.Chat.Completions.NewStreaming(ctx, params)
		var all openai.ChatCompletionAccumulator
		for stream.Next() {
			if !all.AddChunk(stream.Current()) {
				return said{}, fmt.Errorf("a chunk does not fit: %s", stream.Current().RawJSON())
			}
		}
		got, err = &all.ChatCompletion, stream.Err()
	} else {
		got, err = client.Chat.Completions.New(ctx, params)
	}
	if err != nil {
		return said{}, err
	}
	if len(got.Choices) != 1 {
		return said{}, fmt.Errorf("%d choices: %s", len(got.Choices), got.RawJSON())
	}
	c := got.Choices[0]
	out := said{text: c.Message.Content, finish: c.FinishReason, out: got.Usage.CompletionTokens}
	for _, t := range c.Message.ToolCalls {
		out.tool, out.args, out.id = t.Function.Name, t.Function.Arguments, t.ID
	}
	return out, nil
}

func askResponses(ctx context.Context, url, model string, a asks) (said, error) {
	client := openai.NewClient(option.WithBaseURL(url+"/v1"), option.WithAPIKey("k"), option.WithMaxRetries(0))
	content := responses.ResponseInputMessageContentListParam{responses.ResponseInputContentParamOfInputText(a.text)}
	if a.picture != nil {
		content = append(content, responses.ResponseInputContentUnionParam{OfInputImage: &responses.ResponseInputImageParam{ImageURL: openai.String(dataURI(a.picture)), Detail: "auto"}})
	}
	items := responses.ResponseInputParam{responses.ResponseInputItemParamOfMessage(content, responses.EasyInputMessageRoleUser)}
	params := responses.ResponseNewParams{Model: model, Instructions: openai.String("Be brief."), MaxOutputTokens: openai.Int(1000), Store: openai.Bool(false)}
	if a.tool {
		params.Tools = []responses.ToolUnionParam{{OfFunction: &responses.FunctionToolParam{Name: "lookup", Description: openai.String("looks a city up"), Parameters: citySchema, Strict: openai.Bool(true)}}}
	}
	if r := a.result; r != nil {
		result := responses.ResponseInputItemParamOfFunctionCallOutput("sunny")
		result.OfFunctionCallOutput.CallID = openai.String(r.id)
		items = append(items, responses.ResponseInputItemParamOfFunctionCall(r.args, r.id, r.tool), result)
	}
	if a.schema {
		params.Text.Format = responses.ResponseFormatTextConfigParamOfJSONSchema("city", citySchema)
		params.Text.Format.OfJSONSchema.Strict = openai.Bool(true)
	}
	params.Input.OfInputItemList = items
	var got *responses.Response
	var err error
	if a.stream {
		stream := client.Responses.NewStreaming(ctx, params)
		text := ""
		for stream.Next() {
			e := stream.Current()
			text += map[bool]string{true: e.Delta}[e.Type == "response.output_text.delta"]
			if e.Type == "response.completed" || e.Type == "response.incomplete" {
				got = &e.Response
			}
		}
		if err = stream.Err(); err == nil && got == nil {
			err = errors.New("the stream ended without response.completed")
		}
		if err == nil && text != got.OutputText() {
			err = fmt.Errorf("the pieces are %q, the whole is %q", text, got.OutputText())
		}
	} else {
		got, err = client.Responses.New(ctx, params)
	}
	if err != nil {
		return said{}, err
	}
	out := said{text: got.OutputText(), finish: string(got.Status), out: got.Usage.OutputTokens}
	for _, item := range got.Output {
		if item.Type == "function_call" {
			out.tool, out.args, out.id = item.Name, item.Arguments.OfString, item.CallID
		}
	}
	return out, nil
}

func askClaude(ctx context.Context, url, model string, a asks) (said, error) {
	client := anthropic.NewClient(anthropicoption.WithBaseURL(url), anthropicoption.WithAPIKey("k"), anthropicoption.WithMaxRetries(0))
	content := []anthropic.ContentBlockParamUnion{anthropic.NewTextBlock(a.text)}
	if a.picture != nil {
		content = append(content, anthropic.NewImageBlockBase64("image/png", base64.StdEncoding.EncodeToString(a.picture)))
	}
	params := anthropic.MessageNewParams{Model: anthropic.Model(model), MaxTokens: 1000, System: []anthropic.TextBlockParam{{Text: "Be brief."}}, Messages: []anthropic.MessageParam{anthropic.NewUserMessage(content...)}}
	if a.tool {
		params.Tools = []anthropic.ToolUnionParam{{OfTool: &anthropic.ToolParam{Name: "lookup", Description: anthropic.String("looks a city up"), InputSchema: anthropic.ToolInputSchemaParam{Properties: citySchema["properties"], Required: []string{"city"}}}}}
	}
	if r := a.result; r != nil {
		params.Messages = append(params.Messages, anthropic.NewAssistantMessage(anthropic.NewToolUseBlock(r.id, json.RawMessage(r.args), r.tool)), anthropic.NewUserMessage(anthropic.NewToolResultBlock(r.id, "sunny", false)))
	}
	if a.schema {
		params.OutputConfig.Format = anthropic.JSONOutputFormatParam{Schema: citySchema}
	}
	var got *anthropic.Message
	var err error
	if a.stream {
		stream := client.Messages.NewStreaming(ctx, params)
		got = &anthropic.Message{}
		for stream.Next() {
			if err := got.Accumulate(stream.Current()); err != nil {
				return said{}, err
			}
		}
		err = stream.Err()
	} else {
		got, err = client.Messages.New(ctx, params)
	}
	if err != nil {
		return said{}, err
	}
	out := said{finish: string(got.StopReason), out: got.Usage.OutputTokens}
	for _, b := range got.Content {
		switch b.Type {
		case "text":
			out.text += b.Text
		case "tool_use":
			out.tool, out.args, out.id = b.Name, string(b.Input), b.ID
		}
	}
	return out, nil
}

func askGemini(ctx context.Context, url, model string, a asks) (said, error) {
	client, err := genai.NewClient(ctx, &genai.ClientConfig{APIKey: "k", Backend: genai.BackendGeminiAPI, HTTPOptions: genai.HTTPOptions{BaseURL: url}})
	if err != nil {
		return said{}, err
	}
	parts := []*genai.Part{{Text: a.text}}
	if a.picture != nil {
		parts = append(parts, genai.NewPartFromBytes(a.picture, "image/png"))
	}
	contents := []*genai.Content{genai.NewContentFromParts(parts, genai.RoleUser)}
	config := &genai.GenerateContentConfig{MaxOutputTokens: 1000, SystemInstruction: genai.NewContentFromText("Be brief.", genai.RoleUser)}
	if a.tool {
		config.Tools = []*genai.Tool{{FunctionDeclarations: []*genai.FunctionDeclaration{{Name: "lookup", Description: "looks a city up", ParametersJsonSchema: citySchema}}}}
	}
	if r := a.result; r != nil {
		var args map[string]any
		if err := json.Unmarshal([]byte(r.args), &args); err != nil {
			return said{}, err
		}
		call := &genai.Part{FunctionCall: &genai.FunctionCall{ID: r.id, Name: r.tool, Args: args}}
		answer := &genai.Part{FunctionResponse: &genai.FunctionResponse{ID: r.id, Name: r.tool, Response: map[string]any{"output": "sunny"}}}
		contents = append(contents, genai.NewContentFromParts([]*genai.Part{call}, genai.RoleModel), genai.NewContentFromParts([]*genai.Part{answer}, genai.RoleUser))
	}
	if a.schema {
		config.ResponseMIMEType, config.ResponseJsonSchema = "application/json", citySchema
	}
	var out said
	read := func(r *genai.GenerateContentResponse) error {
		if r.UsageMetadata != nil {
			out.out = int64(r.UsageMetadata.CandidatesTokenCount)
		}
		for _, c := range r.Candidates {
			if c.FinishReason != "" {
				out.finish = string(c.FinishReason)
			}
			if c.Content == nil {
				continue
			}
			for _, p := range c.Content.Parts {
				if p.FunctionCall != nil {
					args, _ := json.Marshal(p.FunctionCall.Args)
					out.tool, out.args, out.id = p.FunctionCall.Name, string(args), p.FunctionCall.ID
				} else if !p.Thought {
					out.text += p.Text
				}
			}
		}
		return nil
	}
	if a.stream {
		for r, err := range client.Models.GenerateContentStream(ctx, model, contents, config) {
			if err != nil {
				return said{}, err
			}
			if err := read(r); err != nil {
				return said{}, err
			}
		}
		return out, nil
	}
	r, err := client.Models.GenerateContent(ctx, model, contents, config)
	if err != nil {
		return said{}, err
	}
	return out, read(r)
}

// The smallest PNG.
var pixel, _ = base64.StdEncoding.DecodeString("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==")

// finishes are the words of the protocols for an answer that is whole, and for one that
// calls a tool.
var finishes = map[string][2]string{
	"openai": {"stop", "tool_calls"}, "openai responses": {"completed", "completed"}, "anthropic": {"end_turn", "tool_use"}, "genai": {"STOP", "STOP"},
}

// Each official SDK gets what it asks for from a provider of each protocol, whole and
// streamed: texts, pictures, tools and their results, structured output.
func TestSDKs(t *testing.T) {
	for _, client := range sdks {
		for _, p := range []string{"chat", "responses", "claude", "google"} {
			for _, stream := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s by %s, stream %v", client.name, p, stream), func(t *testing.T) {
					s := serve(t, fourProviders, map[string]string{"up": `
steps:
  - {kind: right, answer: "It is Berlin."}
  - {kind: right, tool: lookup}
  - {kind: right, answer: "Sunny."}
  - right
`})
					model := p + "/gpt-6-luna"
					text, err := client.ask(t.Context(), s.url, model, asks{text: "Which city is this?", picture: pixel, stream: stream})
					if err != nil || text.text != "It is Berlin." || text.finish != finishes[client.name][0] || text.out == 0 {
						t.Errorf("a text: %+v, %v", text, err)
					}
					call, err := client.ask(t.Context(), s.url, model, asks{text: "What is the weather?", tool: true, stream: stream})
					var args struct{ City string }
					if err != nil || call.tool != "lookup" || json.Unmarshal([]byte(call.args), &args) != nil || args.City == "" || call.finish != finishes[client.name][1] {
						t.Fatalf("a call: %+v, %v", call, err)
					}
					if call.id == "" && client.name != "genai" {
						t.Error("the call has no ID")
					}
					after, err := client.ask(t.Context(), s.url, model, asks{text: "What is the weather?", tool: true, result: &call, stream: stream})
					if err != nil || after.text != "Sunny." {
						t.Errorf("after the call: %+v, %v", after, err)
					}
					city, err := client.ask(t.Context(), s.url, model, asks{text: "A city, please", schema: true, stream: stream})
					if err != nil || json.Unmarshal([]byte(city.text), &args) != nil || args.City == "" {
						t.Errorf("a schema: %+v, %v", city, err)
					}
				})
			}
		}
	}
}

// Each official SDK reads an error as its own, with the status, whole and streamed.
func TestSDKErrors(t *testing.T) {
	for _, client := range sdks {
		for _, stream := range []bool{false, true} {
			for _, c := range []struct {
				name, plan, model string
				status            int
			}{
				{"no such model", "", "nobody/m", 404},
				{"rate limit", "steps: [{kind: status, error: rate_limit, retry_after: 300}]", "chat/m", 429},
				{"overloaded", "weights: [{kind: status, error: overloaded}]", "r", 503},
				{"wrong", "weights: [{kind: right, answer: no}]", "r", 422},
			} {
				t.Run(fmt.Sprintf("%s, stream %v: %s", client.name, stream, c.name), func(t *testing.T) {
					s := serve(t, fourProviders+"\nroutes: {\"*\": {}, r: {models: [chat/m], checks: [json], max_attempts: 2, initial_delay: 0}}", map[string]string{"up": c.plan})
					_, err := client.ask(t.Context(), s.url, c.model, asks{text: "Hello", stream: stream})
					if client.status(err) != c.status {
						t.Errorf("got %T %v", err, err)
					}
					if err != nil && strings.Contains(err.Error(), "127.0.0.1") && !strings.Contains(err.Error(), s.url) {
						t.Errorf("the address of the provider is shown: %v", err)
					}
				})
			}
		}
	}
}
