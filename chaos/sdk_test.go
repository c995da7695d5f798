package chaos_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/anthropics/anthropic-sdk-go"
	anthropicoption "github.com/anthropics/anthropic-sdk-go/option"
	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
	"github.com/openai/openai-go/v3/packages/param"
	"github.com/openai/openai-go/v3/responses"
	"github.com/openai/openai-go/v3/shared"
	"google.golang.org/genai"

	"llmcall/chaos"
)

// question is what is asked by each SDK in its own way.
type question struct {
	system    string
	turns     []string // of the user and the assistant by turns
	schema    string
	tool      string // must be called; its parameters are the schema
	maxTokens int
	stop      string
	image     []byte
	// An earlier call of the tool, and what came of it.
	called, result string
}

// reply is what an SDK made of the answer.
type reply struct {
	text, refusal   string
	tool, arguments string
	finish          string
	in, out         int64
	cached, thought int64
	pieces          int // that came of a stream
	ended           bool
	err             error
	status          int // of an error, if the SDK knows one
	kind, message   string
}

// sdk is one of the official SDKs.
type sdk struct {
	protocol chaos.Protocol
	ask      func(ctx context.Context, url string, client *http.Client, q question) reply
	stream   func(ctx context.Context, url string, client *http.Client, q question) reply
}

var sdks = []sdk{
	{chaos.OpenAI, askChat, streamChat},
	{chaos.OpenAIResponses, askResponses, streamResponses},
	{chaos.Anthropic, askAnthropic, streamAnthropic},
	{chaos.Gemini, askGemini, streamGemini},
}

func (s sdk) do(ctx context.Context, streaming bool, url string, client *http.Client, q question) reply {
	if streaming {
		return s.stream(ctx, url, client, q)
	}
	return s.ask(ctx, url, client, q)
}

// each runs a test with each SDK, whole and streamed, against a Server that
// follows the steps.
func each(t *testing.T, faults []chaos.Fault, f func(t *testing.T, streaming bool, s *chaos.Server, ask func(question) reply)) {
	for _, sdk := range sdks {
		for _, streaming := range []bool{false, true} {
			name := string(sdk.protocol)
			if streaming {
				name += "/streamed"
			}
			t.Run(name, func(t *testing.T) {
				s, url, client := listen(t, chaos.Config{Plan: &chaos.Plan{Steps: faults}, Seed: 1})
				f(t, streaming, s, func(q question) reply { return sdk.do(t.Context(), streaming, url, client, q) })
			})
		}
	}
}

func listen(t *testing.T, cfg chaos.Config) (*chaos.Server, string, *http.Client) {
	t.Helper()
	s, err := chaos.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(s)
	transport := &http.Transport{}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		s.Close()
		server.Close()
	})
	return s, server.URL, &http.Client{Transport: transport}
}

const secret = "sk-very-secret"

func openaiClient(url string, client *http.Client) openai.Client {
	return openai.NewClient(option.WithBaseURL(url+"/v1"), option.WithAPIKey(secret), option.WithMaxRetries(0), option.WithHTTPClient(client))
}

func openaiFailure(r *reply, err error) {
	r.err = err
	if e, ok := errors.AsType[*openai.Error](err); ok {
		r.status, r.kind, r.message = e.StatusCode, e.Code, e.Message
		if r.kind == "" {
			r.kind = e.Type
		}
	} else if err != nil {
		r.message = err.Error()
	}
}

func schemaOf(q question) map[string]any {
	var schema map[string]any
	if q.schema != "" {
		if err := json.Unmarshal([]byte(q.schema), &schema); err != nil {
			panic(err)
		}
	}
	return schema
}

func dataURL(image []byte) string {
	encoded, _ := json.Marshal(image) // as base64
	return "data:image/png;base64," + string(encoded[1:len(encoded)-1])
}

func chatParams(q question) openai.ChatCompletionNewParams {
	p := ask(q.turns...)
	if q.system != "" {
		p.Messages = append([]openai.ChatCompletionMessageParamUnion{openai.SystemMessage(q.system)}, p.Messages...)
	}
	if q.image != nil {
		p.Messages = append(p.Messages, openai.UserMessage([]openai.ChatCompletionContentPartUnionParam{
			openai.ImageContentPart(openai.ChatCompletionContentPartImageImageURLParam{URL: dataURL(q.image)})}))
	}
	if q.called != "" {
		p.Messages = append(p.Messages, openai.ChatCompletionMessageParamUnion{OfAssistant: &openai.ChatCompletionAssistantMessageParam{ToolCalls: []openai.ChatCompletionMessageToolCallUnionParam{
			{OfFunction: &openai.ChatCompletionMessageFunctionToolCallParam{ID: "call_1", Function: openai.ChatCompletionMessageFunctionToolCallFunctionParam{Name: "lookup", Arguments: q.called}}}}}},
			openai.ToolMessage(q.result, "call_1"))
	}
	switch {
	case q.tool != "":
		p.Tools = []openai.ChatCompletionToolUnionParam{openai.ChatCompletionFunctionTool(shared.FunctionDefinitionParam{Name: q.tool, Parameters: schemaOf(q)})}
		p.ToolChoice = openai.ToolChoiceOptionFunctionToolChoice(openai.ChatCompletionNamedToolChoiceFunctionParam{Name: q.tool})
	case q.schema != "":
		p.ResponseFormat.OfJSONSchema = &shared.ResponseFormatJSONSchemaParam{
			JSONSchema: shared.ResponseFormatJSONSchemaJSONSchemaParam{Name: "order", Schema: schemaOf(q), Strict: param.NewOpt(true)}}
	}
	if q.maxTokens > 0 {
		p.MaxCompletionTokens = param.NewOpt(int64(q.maxTokens))
	}
	if q.stop != "" {
		p.Stop.OfString = param.NewOpt(q.stop)
	}
	return p
}

func askChat(ctx context.Context, url string, client *http.Client, q question) (r reply) {
	c := openaiClient(url, client)
	answer, err := c.Chat.Completions.New(ctx, chatParams(q))
	if openaiFailure(&r, err); err != nil {
		return r
	}
	if len(answer.Choices) > 0 {
		choice := answer.Choices[0]
		r.text, r.refusal, r.finish = choice.Message.Content, choice.Message.Refusal, choice.FinishReason
		for _, call := range choice.Message.ToolCalls {
			r.tool, r.arguments = call.Function.Name, call.Function.Arguments
		}
	}
	u := answer.Usage
	r.in, r.out, r.cached, r.thought = u.PromptTokens, u.CompletionTokens, u.PromptTokensDetails.CachedTokens, u.CompletionTokensDetails.ReasoningTokens
	r.ended = r.finish != ""
	return r
}

func streamChat(ctx context.Context, url string, client *http.Client, q question) (r reply) {
	c := openaiClient(url, client)
	params := chatParams(q)
	params.StreamOptions.IncludeUsage = param.NewOpt(true)
	s := c.Chat.Completions.NewStreaming(ctx, params)
	defer func() { _ = s.Close() }()
	for s.Next() {
		chunk := s.Current()
		for _, choice := range chunk.Choices {
			if choice.Delta.Content+choice.Delta.Refusal != "" || len(choice.Delta.ToolCalls) > 0 {
				r.pieces++
			}
			r.text += choice.Delta.Content
			r.refusal += choice.Delta.Refusal
			r.finish += choice.FinishReason
			for _, call := range choice.Delta.ToolCalls {
				r.tool += call.Function.Name
				r.arguments += call.Function.Arguments
			}
		}
		if u := chunk.Usage; u.TotalTokens > 0 {
			r.in, r.out, r.cached, r.thought = u.PromptTokens, u.CompletionTokens, u.PromptTokensDetails.CachedTokens, u.CompletionTokensDetails.ReasoningTokens
		}
	}
	r.ended = r.finish != ""
	openaiFailure(&r, s.Err())
	return r
}

func responsesParams(q question) responses.ResponseNewParams {
	p := responses.ResponseNewParams{Model: "gpt-practice"}
	if q.system != "" {
		p.Instructions = param.NewOpt(q.system)
	}
	var items responses.ResponseInputParam
	for i, text := range q.turns {
		role := responses.EasyInputMessageRoleUser
		if i%2 == 1 {
			role = responses.EasyInputMessageRoleAssistant
		}
		items = append(items, responses.ResponseInputItemParamOfMessage(text, role))
	}
	if q.image != nil {
		items = append(items, responses.ResponseInputItemParamOfMessage(responses.ResponseInputMessageContentListParam{
			{OfInputImage: &responses.ResponseInputImageParam{ImageURL: param.NewOpt(dataURL(q.image))}}}, responses.EasyInputMessageRoleUser))
	}
	if q.called != "" {
		items = append(items, responses.ResponseInputItemParamOfFunctionCall(q.called, "call_1", "lookup"),
			responses.ResponseInputItemUnionParam{OfFunctionCallOutput: &responses.ResponseInputItemFunctionCallOutputParam{CallID: param.NewOpt("call_1"),
				Output: responses.ResponseInputItemFunctionCallOutputOutputUnionParam{OfString: param.NewOpt(q.result)}}})
	}
	p.Input.OfInputItemList = items
	switch {
	case q.tool != "":
		p.Tools = []responses.ToolUnionParam{responses.ToolParamOfFunction(q.tool, schemaOf(q), true)}
		p.ToolChoice.OfFunctionTool = &responses.ToolChoiceFunctionParam{Name: q.tool}
	case q.schema != "":
		p.Text.Format.OfJSONSchema = &responses.ResponseFormatTextJSONSchemaConfigParam{Name: "order", Schema: schemaOf(q), Strict: param.NewOpt(true)}
	}
	if q.maxTokens > 0 {
		p.MaxOutputTokens = param.NewOpt(int64(q.maxTokens))
	}
	return p
}

func (r *reply) response(answer responses.Response) {
	r.finish = string(answer.Status)
	if answer.IncompleteDetails.Reason != "" {
		r.finish = answer.IncompleteDetails.Reason
	}
	r.kind = string(answer.Error.Code)
	for _, item := range answer.Output {
		if item.Type == "function_call" {
			r.tool, r.arguments = item.Name, item.Arguments.OfString
		}
		for _, part := range item.Content {
			r.text += part.Text
			r.refusal += part.Refusal
		}
	}
	u := answer.Usage
	r.in, r.out, r.cached, r.thought = u.InputTokens, u.OutputTokens, u.InputTokensDetails.CachedTokens, u.OutputTokensDetails.ReasoningTokens
}

func askResponses(ctx context.Context, url string, client *http.Client, q question) (r reply) {
	c := openaiClient(url, client)
	answer, err := c.Responses.New(ctx, responsesParams(q))
	if openaiFailure(&r, err); err == nil {
		r.response(*answer)
		r.ended = r.finish != "in_progress" && r.finish != ""
	}
	return r
}

func streamResponses(ctx context.Context, url string, client *http.Client, q question) (r reply) {
	c := openaiClient(url, client)
	s := c.Responses.NewStreaming(ctx, responsesParams(q))
	defer func() { _ = s.Close() }()
	var text, arguments, refusal string
	items := 0
	for next := int64(0); s.Next(); next++ {
		event := s.Current()
		if event.SequenceNumber != next {
			r.err = errors.New("the sequence is broken at " + event.RawJSON())
			return r
		}
		switch event.Type {
		case "response.output_text.delta":
			text += event.Delta
			r.pieces++
		case "response.function_call_arguments.delta":
			arguments += event.Delta
			r.pieces++
		case "response.refusal.delta":
			refusal += event.Delta
			r.pieces++
		case "response.output_item.added":
			r.tool = event.Item.Name
			if int(event.OutputIndex) != items {
				r.err = errors.New("an item out of its place: " + event.RawJSON())
				return r
			}
			items++
		case "response.completed", "response.incomplete", "response.failed":
			r.response(event.Response)
			if r.ended = true; r.text != text || r.arguments != arguments || r.refusal != refusal {
				r.err = errors.New("the pieces are not the whole: " + event.RawJSON())
				return r
			}
		}
	}
	r.text, r.arguments, r.refusal = text, arguments, refusal
	openaiFailure(&r, s.Err())
	return r
}

func anthropicClient(url string, client *http.Client) anthropic.Client {
	return anthropic.NewClient(anthropicoption.WithBaseURL(url), anthropicoption.WithAPIKey(secret), anthropicoption.WithMaxRetries(0), anthropicoption.WithHTTPClient(client))
}

func anthropicFailure(r *reply, err error) {
	r.err = err
	if e, ok := errors.AsType[*anthropic.Error](err); ok {
		r.status, r.kind, r.message = e.StatusCode, string(e.Type()), e.RawJSON()
	} else if err != nil {
		r.message = err.Error()
	}
}

func anthropicParams(q question) anthropic.MessageNewParams {
	p := anthropic.MessageNewParams{Model: "claude-practice", MaxTokens: 4096}
	if q.system != "" {
		p.System = []anthropic.TextBlockParam{{Text: q.system}}
	}
	for i, text := range q.turns {
		m := anthropic.NewUserMessage
		if i%2 == 1 {
			m = anthropic.NewAssistantMessage
		}
		p.Messages = append(p.Messages, m(anthropic.NewTextBlock(text)))
	}
	if q.image != nil {
		p.Messages = append(p.Messages, anthropic.NewUserMessage(anthropic.NewImageBlockBase64("image/png", dataURL(q.image)[len("data:image/png;base64,"):])))
	}
	if q.called != "" {
		p.Messages = append(p.Messages, anthropic.NewAssistantMessage(anthropic.NewToolUseBlock("toolu_1", json.RawMessage(q.called), "lookup")),
			anthropic.NewUserMessage(anthropic.NewToolResultBlock("toolu_1", q.result, false)))
	}
	switch {
	case q.tool != "":
		tool := anthropic.ToolUnionParamOfTool(anthropic.ToolInputSchemaParam{ExtraFields: schemaOf(q)}, q.tool)
		p.Tools = []anthropic.ToolUnionParam{tool}
		p.ToolChoice = anthropic.ToolChoiceParamOfTool(q.tool)
	case q.schema != "":
		p.OutputConfig.Format.Schema = schemaOf(q)
	}
	if q.maxTokens > 0 {
		p.MaxTokens = int64(q.maxTokens)
	}
	if q.stop != "" {
		p.StopSequences = []string{q.stop}
	}
	return p
}

func (r *reply) spoken(m anthropic.Message) {
	for _, block := range m.Content {
		r.text += block.Text
		if block.Type == "tool_use" {
			r.tool, r.arguments = block.Name, string(block.Input)
		}
	}
	if r.finish = string(m.StopReason); r.finish == "refusal" {
		r.refusal = m.StopDetails.Explanation
	}
	u := m.Usage
	r.in, r.out, r.cached, r.thought = u.InputTokens+u.CacheReadInputTokens, u.OutputTokens, u.CacheReadInputTokens, u.OutputTokensDetails.ThinkingTokens
}

func askAnthropic(ctx context.Context, url string, client *http.Client, q question) (r reply) {
	c := anthropicClient(url, client)
	m, err := c.Messages.New(ctx, anthropicParams(q))
	if anthropicFailure(&r, err); err == nil {
		r.spoken(*m)
		r.ended = r.finish != ""
	}
	return r
}

func streamAnthropic(ctx context.Context, url string, client *http.Client, q question) (r reply) {
	c := anthropicClient(url, client)
	s := c.Messages.NewStreaming(ctx, anthropicParams(q))
	defer func() { _ = s.Close() }()
	var m anthropic.Message
	for s.Next() {
		event := s.Current()
		if err := m.Accumulate(event); err != nil {
			r.err = err
			return r
		}
		switch event.Type {
		case "content_block_delta":
			r.pieces++
		case "message_stop":
			r.ended = true
		}
	}
	r.spoken(m)
	anthropicFailure(&r, s.Err())
	return r
}

func geminiClient(ctx context.Context, url string, client *http.Client) *genai.Client {
	c, err := genai.NewClient(ctx, &genai.ClientConfig{APIKey: secret, Backend: genai.BackendGeminiAPI, HTTPClient: client, HTTPOptions: genai.HTTPOptions{BaseURL: url}})
	if err != nil {
		panic(err)
	}
	return c
}

func geminiFailure(r *reply, err error) {
	r.err = err
	if e, ok := errors.AsType[genai.APIError](err); ok {
		r.status, r.kind, r.message = e.Code, e.Status, e.Message
	} else if err != nil {
		r.message = err.Error()
	}
}

func geminiParams(q question) ([]*genai.Content, *genai.GenerateContentConfig) {
	cfg := &genai.GenerateContentConfig{MaxOutputTokens: int32(q.maxTokens)}
	if q.system != "" {
		cfg.SystemInstruction = genai.NewContentFromText(q.system, genai.RoleUser)
	}
	var contents []*genai.Content
	for i, text := range q.turns {
		contents = append(contents, genai.NewContentFromText(text, []genai.Role{genai.RoleUser, genai.RoleModel}[i%2]))
	}
	if q.image != nil {
		contents = append(contents, genai.NewContentFromBytes(q.image, "image/png", genai.RoleUser))
	}
	if q.called != "" {
		var args map[string]any
		if err := json.Unmarshal([]byte(q.called), &args); err != nil {
			panic(err)
		}
		contents = append(contents, genai.NewContentFromFunctionCall("lookup", args, genai.RoleModel),
			genai.NewContentFromFunctionResponse("lookup", map[string]any{"result": q.result}, genai.RoleUser))
	}
	switch {
	case q.tool != "":
		cfg.Tools = []*genai.Tool{{FunctionDeclarations: []*genai.FunctionDeclaration{{Name: q.tool, ParametersJsonSchema: schemaOf(q)}}}}
		cfg.ToolConfig = &genai.ToolConfig{FunctionCallingConfig: &genai.FunctionCallingConfig{Mode: genai.FunctionCallingConfigModeAny, AllowedFunctionNames: []string{q.tool}}}
	case q.schema != "":
		cfg.ResponseMIMEType, cfg.ResponseJsonSchema = "application/json", schemaOf(q)
	}
	if q.stop != "" {
		cfg.StopSequences = []string{q.stop}
	}
	return contents, cfg
}

func (r *reply) content(answer *genai.GenerateContentResponse) {
	if answer.PromptFeedback != nil {
		r.finish, r.refusal, r.ended = string(answer.PromptFeedback.BlockReason), string(answer.PromptFeedback.BlockReason), true
	}
	for _, candidate := range answer.Candidates {
		if candidate.FinishReason != "" {
			r.finish, r.ended = string(candidate.FinishReason), true
		}
		if candidate.Content == nil {
			continue
		}
		for _, part := range candidate.Content.Parts {
			if part.Text != "" || part.FunctionCall != nil {
				r.pieces++
			}
			r.text += part.Text
			if part.FunctionCall != nil {
				arguments, err := json.Marshal(part.FunctionCall.Args)
				if err != nil {
					panic(err)
				}
				r.tool, r.arguments = part.FunctionCall.Name, string(arguments)
			}
		}
	}
	if u := answer.UsageMetadata; u != nil {
		r.in, r.out, r.cached, r.thought = int64(u.PromptTokenCount), int64(u.CandidatesTokenCount+u.ThoughtsTokenCount), int64(u.CachedContentTokenCount), int64(u.ThoughtsTokenCount)
	}
}

func askGemini(ctx context.Context, url string, client *http.Client, q question) (r reply) {
	contents, cfg := geminiParams(q)
	answer, err := geminiClient(ctx, url, client).Models.GenerateContent(ctx, "gemini-practice", contents, cfg)
	if geminiFailure(&r, err); err == nil {
		r.content(answer)
		r.pieces = 0
	}
	return r
}

func streamGemini(ctx context.Context, url string, client *http.Client, q question) (r reply) {
	contents, cfg := geminiParams(q)
	for answer, err := range geminiClient(ctx, url, client).Models.GenerateContentStream(ctx, "gemini-practice", contents, cfg) {
		if err != nil {
			geminiFailure(&r, err)
			return r
		}
		r.content(answer)
	}
	return r
}
