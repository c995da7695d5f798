package main

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/anthropics/anthropic-sdk-go"
	anthropicoption "github.com/anthropics/anthropic-sdk-go/option"
	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
	"github.com/openai/openai-go/v3/packages/param"
	"github.com/openai/openai-go/v3/responses"
	"github.com/openai/openai-go/v3/shared"
	"google.golang.org/genai"
)

// query is what a client asks with.
type query struct {
	url, model string
	header     http.Header
	http       *http.Client
	wrong      bool // without messages
}

// reply is what an official SDK made of the response.
type reply struct {
	text  string
	ended bool // the answer says that it is complete
	err   error
}

// client is one of the official SDKs, with its own retries off.
type client struct {
	name, protocol string
	ask, stream    func(ctx context.Context, a query) reply
}

var clients = []client{
	{"OpenAI", "openai", askChat, streamChat},
	{"Responses", "openai-responses", askResponses, streamResponses},
	{"Anthropic", "anthropic", askAnthropic, streamAnthropic},
	{"Gemini", "gemini", askGemini, streamGemini},
}

const (
	key      = "sk-failover-0123456789abcdef"
	question = "Where is Paris? Answer in JSON."
)

// schemaValue returns the schema as the SDKs take it.
func schemaValue() (v map[string]any) {
	if err := json.Unmarshal([]byte(schema), &v); err != nil {
		panic(err)
	}
	return v
}

func (a query) openai() openai.Client {
	options := []option.RequestOption{option.WithBaseURL(a.url + "/v1"), option.WithAPIKey(key), option.WithMaxRetries(0), option.WithHTTPClient(a.http)}
	for name, values := range a.header {
		options = append(options, option.WithHeader(name, values[0]))
	}
	return openai.NewClient(options...)
}

func (a query) chat() openai.ChatCompletionNewParams {
	p := openai.ChatCompletionNewParams{Model: a.model, Messages: []openai.ChatCompletionMessageParamUnion{openai.UserMessage(question)}}
	if a.wrong {
		p.Messages = []openai.ChatCompletionMessageParamUnion{}
	}
	p.ResponseFormat.OfJSONSchema = &shared.ResponseFormatJSONSchemaParam{
		JSONSchema: shared.ResponseFormatJSONSchemaJSONSchemaParam{Name: "place", Schema: schemaValue(), Strict: param.NewOpt(true)}}
	return p
}

func askChat(ctx context.Context, a query) (r reply) {
	c := a.openai()
	answer, err := c.Chat.Completions.New(ctx, a.chat())
	if r.err = err; err == nil && len(answer.Choices) > 0 {
		r.text, r.ended = answer.Choices[0].Message.Content, answer.Choices[0].FinishReason == "stop"
	}
	return r
}

func streamChat(ctx context.Context, a query) (r reply) {
	c := a.openai()
	s := c.Chat.Completions.NewStreaming(ctx, a.chat())
	defer s.Close()
	for s.Next() {
		for _, choice := range s.Current().Choices {
			r.text += choice.Delta.Content
			r.ended = r.ended || choice.FinishReason == "stop"
		}
	}
	r.err = s.Err()
	return r
}

func (a query) responses() responses.ResponseNewParams {
	p := responses.ResponseNewParams{Model: a.model}
	p.Input.OfString = param.NewOpt(question)
	if a.wrong {
		p.Input = responses.ResponseNewParamsInputUnion{}
	}
	p.Text.Format.OfJSONSchema = &responses.ResponseFormatTextJSONSchemaConfigParam{Name: "place", Schema: schemaValue(), Strict: param.NewOpt(true)}
	return p
}

func askResponses(ctx context.Context, a query) (r reply) {
	c := a.openai()
	answer, err := c.Responses.New(ctx, a.responses())
	if r.err = err; err == nil {
		r.text, r.ended = answer.OutputText(), answer.Status == responses.ResponseStatusCompleted
	}
	return r
}

func streamResponses(ctx context.Context, a query) (r reply) {
	c := a.openai()
	s := c.Responses.NewStreaming(ctx, a.responses())
	defer s.Close()
	for s.Next() {
		switch event := s.Current(); event.Type {
		case "response.output_text.delta":
			r.text += event.Delta
		case "response.completed":
			r.ended = true
		}
	}
	r.err = s.Err()
	return r
}

func (a query) anthropic() anthropic.Client {
	return anthropic.NewClient(anthropicoption.WithBaseURL(a.url), anthropicoption.WithAPIKey(key), anthropicoption.WithMaxRetries(0), anthropicoption.WithHTTPClient(a.http))
}

func (a query) messages() anthropic.MessageNewParams {
	p := anthropic.MessageNewParams{Model: anthropic.Model(a.model), MaxTokens: 1000, Messages: []anthropic.MessageParam{}}
	if !a.wrong {
		p.Messages = append(p.Messages, anthropic.NewUserMessage(anthropic.NewTextBlock(question)))
	}
	p.OutputConfig.Format.Schema = schemaValue()
	return p
}

func askAnthropic(ctx context.Context, a query) (r reply) {
	c := a.anthropic()
	m, err := c.Messages.New(ctx, a.messages())
	if r.err = err; err == nil {
		for _, block := range m.Content {
			r.text += block.Text
		}
		r.ended = m.StopReason == anthropic.StopReasonEndTurn
	}
	return r
}

func streamAnthropic(ctx context.Context, a query) (r reply) {
	c := a.anthropic()
	s := c.Messages.NewStreaming(ctx, a.messages())
	defer s.Close()
	for s.Next() {
		switch event := s.Current(); event.Type {
		case "content_block_delta":
			r.text += event.Delta.Text
		case "message_stop":
			r.ended = true
		}
	}
	r.err = s.Err()
	return r
}

func (a query) gemini(ctx context.Context) (*genai.Client, []*genai.Content, *genai.GenerateContentConfig, error) {
	c, err := genai.NewClient(ctx, &genai.ClientConfig{APIKey: key, Backend: genai.BackendGeminiAPI, HTTPClient: a.http, HTTPOptions: genai.HTTPOptions{BaseURL: a.url}})
	contents := []*genai.Content{genai.NewContentFromText(question, genai.RoleUser)}
	if a.wrong {
		contents = []*genai.Content{}
	}
	return c, contents, &genai.GenerateContentConfig{ResponseMIMEType: "application/json", ResponseJsonSchema: schemaValue()}, err
}

func (r *reply) generated(answer *genai.GenerateContentResponse) {
	for _, candidate := range answer.Candidates {
		r.ended = r.ended || candidate.FinishReason == genai.FinishReasonStop
		if candidate.Content == nil {
			continue
		}
		for _, part := range candidate.Content.Parts {
			r.text += part.Text
		}
	}
}

func askGemini(ctx context.Context, a query) (r reply) {
	c, contents, cfg, err := a.gemini(ctx)
	if err != nil {
		return reply{err: err}
	}
	answer, err := c.Models.GenerateContent(ctx, a.model, contents, cfg)
	if r.err = err; err == nil {
		r.generated(answer)
	}
	return r
}

func streamGemini(ctx context.Context, a query) (r reply) {
	c, contents, cfg, err := a.gemini(ctx)
	if err != nil {
		return reply{err: err}
	}
	for answer, err := range c.Models.GenerateContentStream(ctx, a.model, contents, cfg) {
		if err != nil {
			r.err = err
			return r
		}
		r.generated(answer)
	}
	return r
}
