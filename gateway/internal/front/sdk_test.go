package front_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/anthropics/anthropic-sdk-go"
	anthropicoption "github.com/anthropics/anthropic-sdk-go/option"
	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
	"github.com/openai/openai-go/v3/packages/param"
	"github.com/openai/openai-go/v3/responses"
	"google.golang.org/genai"

	"llmcall/internal/protocol"
)

// heard is what an official SDK made of an answer.
type heard struct {
	Text    string
	Thought string
	Sealed  string // what only the provider reads: signatures, encrypted contents
	Calls   []called
	Order   string // of the parts: t text, h thought, c call; a text in pieces is one
	Finish  string
	Usage   counted
	Err     string
}

type called struct{ ID, Name, Arguments, Sign string }

type counted struct{ In, Out, Cached, Reasoning, Stored, Stored1h, Audio int64 }

func (h *heard) part(kind string) {
	if kind != "t" || !strings.HasSuffix(h.Order, "t") {
		h.Order += kind
	}
}

func (h *heard) call(c called) {
	var value any
	if json.Unmarshal([]byte(c.Arguments), &value) == nil { // white space is nobody's business
		text, _ := json.Marshal(value)
		c.Arguments = string(text)
	}
	h.part("c")
	h.Calls = append(h.Calls, c)
}

// sdk reads an answer with an official SDK.
type sdk struct {
	protocol.Protocol
	read func(ctx context.Context, url string, client *http.Client, stream bool) heard
}

var sdks = []sdk{{protocol.Chat{}, readChat}, {protocol.Responses{}, readResponses}, {protocol.Messages{}, readAnthropic}, {protocol.Gemini{}, readGemini}}

// served is a server on loopback whose answer is set before each request.
type served struct {
	*httptest.Server
	client *http.Client
	// whole is the answer; if nil, pieces are sent one by one as a stream.
	whole  []byte
	pieces [][]byte
}

func serve(t *testing.T) *served {
	s := &served{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.whole != nil {
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write(s.whole)
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		for _, piece := range s.pieces {
			_, _ = w.Write(piece)
			w.(http.Flusher).Flush()
		}
	}))
	transport := &http.Transport{}
	s.client = &http.Client{Transport: transport}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		s.Close()
	})
	return s
}

// ask has an SDK read what the server sends.
func (s *served) ask(sdk sdk, whole []byte, pieces ...[]byte) heard {
	s.whole, s.pieces = whole, pieces
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	return sdk.read(ctx, s.URL, s.client, whole == nil)
}

func openaiClient(url string, client *http.Client) openai.Client {
	return openai.NewClient(option.WithBaseURL(url+"/v1"), option.WithAPIKey("k"), option.WithMaxRetries(0), option.WithHTTPClient(client))
}

func message(err error) string {
	if err == nil {
		return ""
	}
	if e, ok := errors.AsType[genai.APIError](err); ok {
		return e.Message
	}
	return err.Error()
}

func readChat(ctx context.Context, url string, client *http.Client, stream bool) (h heard) {
	c := openaiClient(url, client)
	params := openai.ChatCompletionNewParams{Model: "m", Messages: []openai.ChatCompletionMessageParamUnion{openai.UserMessage("q")}}
	if !stream {
		answer, err := c.Chat.Completions.New(ctx, params)
		if err != nil {
			return heard{Err: message(err)}
		}
		h.completion(answer)
		_ = json.Unmarshal([]byte(answer.Choices[0].Message.JSON.ExtraFields["reasoning_content"].Raw()), &h.Thought)
		return h
	}
	s := c.Chat.Completions.NewStreaming(ctx, params)
	defer func() { _ = s.Close() }()
	var all openai.ChatCompletionAccumulator
	var last openai.CompletionUsage
	for s.Next() {
		chunk := s.Current()
		if !all.AddChunk(chunk) {
			return heard{Err: "the SDK can't accumulate " + chunk.RawJSON()}
		}
		if chunk.Usage.TotalTokens > 0 { // the accumulator leaves out some counts
			last = chunk.Usage
		}
		for _, choice := range chunk.Choices {
			var piece string
			_ = json.Unmarshal([]byte(choice.Delta.JSON.ExtraFields["reasoning_content"].Raw()), &piece)
			h.Thought += piece
		}
	}
	if s.Err() != nil {
		h.Err = message(s.Err())
	}
	all.Usage = last
	if len(all.Choices) > 0 {
		h.completion(&all.ChatCompletion)
	}
	return h
}

func (h *heard) completion(answer *openai.ChatCompletion) {
	choice := answer.Choices[0]
	h.Text, h.Finish = choice.Message.Content, choice.FinishReason
	for _, call := range choice.Message.ToolCalls {
		h.call(called{ID: call.ID, Name: call.Function.Name, Arguments: call.Function.Arguments})
	}
	u := answer.Usage
	h.Usage = counted{In: u.PromptTokens, Out: u.CompletionTokens, Cached: u.PromptTokensDetails.CachedTokens, Reasoning: u.CompletionTokensDetails.ReasoningTokens,
		Stored: u.PromptTokensDetails.CacheWriteTokens, Audio: u.PromptTokensDetails.AudioTokens}
	h.Order = "" // the fields of a message have none
}

func readResponses(ctx context.Context, url string, client *http.Client, stream bool) (h heard) {
	c := openaiClient(url, client)
	params := responses.ResponseNewParams{Model: "m", Input: responses.ResponseNewParamsInputUnion{OfString: param.NewOpt("q")}}
	if !stream {
		answer, err := c.Responses.New(ctx, params)
		if err != nil {
			return heard{Err: message(err)}
		}
		h.response(answer)
		return h
	}
	s := c.Responses.NewStreaming(ctx, params)
	defer func() { _ = s.Close() }()
	var text, arguments, thought string
	items := int64(-1)
	ended := false
	for next := int64(0); s.Next(); next++ {
		e := s.Current()
		if e.SequenceNumber != next || ended && e.Type != "" {
			return heard{Err: fmt.Sprintf("event %d out of its place: %s", next, e.RawJSON())}
		}
		switch e.Type {
		case "response.output_item.added":
			if items++; e.OutputIndex != items {
				return heard{Err: "an item out of its place: " + e.RawJSON()}
			}
		case "response.output_text.delta":
			text += e.Delta
		case "response.function_call_arguments.delta":
			arguments += e.Delta
		case "response.reasoning_summary_text.delta":
			thought += e.Delta
		case "response.completed", "response.incomplete":
			ended = true
			h.response(&e.Response)
			var of string
			for _, item := range e.Response.Output {
				of += item.Arguments.OfString
			}
			if text != h.Text || arguments != of || int(items)+1 != len(e.Response.Output) || thought != h.Thought {
				return heard{Err: "the pieces are not the whole: " + e.RawJSON()}
			}
		case "response.failed":
			ended = true
			h.Err += e.Response.Error.Message
		}
	}
	h.Err += message(s.Err())
	if h.Err == "" && !ended {
		h.Err = "unfinished"
	}
	return h
}

func (h *heard) response(answer *responses.Response) {
	for _, item := range answer.Output {
		switch item.Type {
		case "message":
			for _, c := range item.Content {
				h.Text += c.Text
			}
			h.part("t")
		case "reasoning":
			for _, s := range item.Summary {
				h.Thought += s.Text
			}
			h.Sealed += item.EncryptedContent
			h.part("h")
		case "function_call":
			h.call(called{ID: item.CallID, Name: item.Name, Arguments: item.Arguments.OfString})
		}
	}
	h.Finish = string(answer.Status)
	if reason := answer.IncompleteDetails.Reason; reason != "" {
		h.Finish += ":" + string(reason)
	}
	u := answer.Usage
	h.Usage = counted{In: u.InputTokens, Out: u.OutputTokens, Cached: u.InputTokensDetails.CachedTokens, Reasoning: u.OutputTokensDetails.ReasoningTokens, Stored: u.InputTokensDetails.CacheWriteTokens}
}

func readAnthropic(ctx context.Context, url string, client *http.Client, stream bool) (h heard) {
	c := anthropic.NewClient(anthropicoption.WithBaseURL(url), anthropicoption.WithAPIKey("k"), anthropicoption.WithMaxRetries(0), anthropicoption.WithHTTPClient(client))
	params := anthropic.MessageNewParams{Model: "m", MaxTokens: 9, Messages: []anthropic.MessageParam{anthropic.NewUserMessage(anthropic.NewTextBlock("q"))}}
	if !stream {
		answer, err := c.Messages.New(ctx, params)
		if err != nil {
			return heard{Err: message(err)}
		}
		h.blocks(answer)
		return h
	}
	s := c.Messages.NewStreaming(ctx, params)
	defer func() { _ = s.Close() }()
	var answer anthropic.Message
	ended := false
	for s.Next() {
		if err := answer.Accumulate(s.Current()); err != nil {
			return heard{Err: err.Error()}
		}
		ended = s.Current().Type == "message_stop"
	}
	h.blocks(&answer)
	if h.Err = message(s.Err()); h.Err == "" && !ended {
		h.Err = "unfinished"
	}
	return h
}

func (h *heard) blocks(answer *anthropic.Message) {
	for _, block := range answer.Content {
		switch block.Type {
		case "text":
			h.Text += block.Text
			h.part("t")
		case "thinking":
			h.Thought += block.Thinking
			h.Sealed += block.Signature
			h.part("h")
		case "tool_use":
			h.call(called{ID: block.ID, Name: block.Name, Arguments: string(block.Input)})
		default:
			h.part("(" + block.Type + ")")
		}
	}
	h.Finish = string(answer.StopReason)
	u := answer.Usage
	h.Usage = counted{In: u.InputTokens, Out: u.OutputTokens, Cached: u.CacheReadInputTokens, Reasoning: u.OutputTokensDetails.ThinkingTokens, Stored: u.CacheCreationInputTokens, Stored1h: u.CacheCreation.Ephemeral1hInputTokens}
}

func readGemini(ctx context.Context, url string, client *http.Client, stream bool) (h heard) {
	c, err := genai.NewClient(ctx, &genai.ClientConfig{APIKey: "k", Backend: genai.BackendGeminiAPI, HTTPClient: client, HTTPOptions: genai.HTTPOptions{BaseURL: url}})
	if err != nil {
		return heard{Err: err.Error()}
	}
	if !stream {
		answer, err := c.Models.GenerateContent(ctx, "m", genai.Text("q"), nil)
		if err != nil {
			return heard{Err: message(err)}
		}
		h.content(answer)
		return h
	}
	for answer, err := range c.Models.GenerateContentStream(ctx, "m", genai.Text("q"), nil) {
		if err != nil {
			h.Err = message(err)
			return h
		}
		h.content(answer)
	}
	return h
}

func (h *heard) content(answer *genai.GenerateContentResponse) {
	for _, p := range answer.Candidates[0].Content.Parts {
		switch {
		case p.FunctionCall != nil:
			arguments, _ := json.Marshal(p.FunctionCall.Args)
			h.call(called{ID: p.FunctionCall.ID, Name: p.FunctionCall.Name, Arguments: string(arguments), Sign: string(p.ThoughtSignature)})
			continue
		case p.Thought:
			h.Thought += p.Text
			h.part("h")
		case p.Text != "":
			h.Text += p.Text
			h.part("t")
		}
		h.Sealed += string(p.ThoughtSignature)
	}
	h.Finish += string(answer.Candidates[0].FinishReason)
	if u := answer.UsageMetadata; u != nil {
		h.Usage = counted{In: int64(u.PromptTokenCount), Out: int64(u.CandidatesTokenCount), Cached: int64(u.CachedContentTokenCount), Reasoning: int64(u.ThoughtsTokenCount)}
		for _, of := range u.PromptTokensDetails {
			if of.Modality == genai.MediaModalityAudio {
				h.Usage.Audio = int64(of.TokenCount)
			}
		}
	}
}
