package openai

import (
	"context"
	"encoding/json"
	"errors"
	"iter"
	"strings"

	"github.com/openai/openai-go/v3/option"
	"github.com/openai/openai-go/v3/responses"

	"llmcall/endpoint"
	"llmcall/failure"
	"llmcall/llm"
	"llmcall/provider/internal/wire"
)

// Responses is one model of one server, called by the Responses API. It is safe
// for concurrent use.
type Responses struct {
	*connection
	service responses.ResponseService
}

var (
	_ llm.Streamer   = (*Responses)(nil)
	_ endpoint.Keyed = (*Responses)(nil)
)

// NewResponses is [New] for the Responses API. By default, [Options.Name] begins
// with the server's name and "-responses": "openai-responses/gpt-6-luna".
func NewResponses(model string, opts Options) (*Responses, error) {
	c, err := connect(model, opts, true)
	if err != nil {
		return nil, err
	}
	return &Responses{c, responses.NewResponseService(c.options...)}, nil
}

// Complete sends the request. Requests and errors are those of
// [Model.Complete], with these differences:
//
// The server does not store the conversation ("store": false). The model's
// reasoning therefore arrives encrypted, as an [llm.Reasoning] in the answer, and
// is sent back with the conversation. The same holds for what the model says
// between tool calls (the phase "commentary"), which is not part of the answer's
// text. Other items, such as those of tools that the server runs itself, are left
// out.
//
// System messages at the start are sent as instructions. Stop and Seed are errors:
// the API does not support them.
func (m *Responses) Complete(ctx context.Context, req *llm.Request) (*llm.Response, error) {
	return m.complete(ctx, req, m)
}

// Stream sends the request and yields the answer as it arrives. Requests and
// errors are those of [Responses.Complete]. A stream without its last event
// (response.completed, .incomplete or .failed) was cut off. An error in the stream
// is classified by its code, not by the status.
func (m *Responses) Stream(ctx context.Context, req *llm.Request) iter.Seq2[llm.Chunk, error] {
	return m.stream(ctx, req, m)
}

func (m *Responses) prepare(req *llm.Request, stream bool, steps *wire.Steps) (sender, asking, error) {
	params, asked, err := m.params(req, stream, steps)
	return func(ctx context.Context, opts ...option.RequestOption) error {
		_, err := m.service.New(ctx, params, opts...)
		return err
	}, asked, err
}

func (m *Responses) whole(x *wire.Exchange) (*llm.Response, error) { return readResponse(x) }

func (m *Responses) events(x *wire.Exchange) reader { return &itemStream{x: x} }

// readResponse reads the answer in a response with the status of a success, or the
// error that it contains.
func readResponse(x *wire.Exchange) (*llm.Response, error) {
	if !json.Valid(x.Body) {
		var any json.RawMessage
		return nil, x.Garbled(json.Unmarshal(x.Body, &any))
	}
	if err := x.ErrorWithin(x.Body); err != nil {
		return nil, err
	}
	var response responses.Response
	if err := json.Unmarshal(x.Body, &response); err != nil {
		return nil, x.Garbled(err)
	}
	if !response.JSON.Output.Valid() {
		return nil, x.Garbled(errors.New("the answer has no output"))
	}
	answer := &llm.Response{
		Message:   llm.Message{Role: llm.RoleAssistant, Parts: []llm.Part{}},
		Model:     response.Model,
		RequestID: x.RequestID("X-Request-Id"),
		Usage:     tokens(response.Usage),
	}
	var refusal string
	for _, item := range response.Output {
		part, refused := itemPart(item, x.Endpoint.Provider)
		refusal += refused
		if part != nil {
			answer.Message.Parts = append(answer.Message.Parts, part)
		}
	}
	var err error
	answer.Finish, err = status(x, &response, refusal, len(answer.Message.ToolCalls()) > 0)
	if err != nil {
		return nil, err
	}
	return answer, nil
}

func tokens(u responses.ResponseUsage) llm.Usage {
	return llm.Usage{
		InputTokens:     u.InputTokens,
		OutputTokens:    u.OutputTokens,
		CachedTokens:    u.InputTokensDetails.CachedTokens,
		ReasoningTokens: u.OutputTokensDetails.ReasoningTokens,
	}
}

// itemPart returns the part that an item of the output becomes, or nil, and the
// text of a refusal in it.
func itemPart(item responses.ResponseOutputItemUnion, provider string) (part llm.Part, refusal string) {
	switch {
	case item.Type == "reasoning" || isCommentary(item):
		return llm.Reasoning{Provider: provider, Data: json.RawMessage(item.RawJSON())}, ""
	case item.Type == "function_call":
		return llm.ToolCall{ID: item.CallID, Name: item.Name, Arguments: json.RawMessage(item.Arguments.OfString)}, ""
	case item.Type == "message":
		var text strings.Builder
		for _, content := range item.Content {
			text.WriteString(content.Text)
			refusal += content.Refusal
		}
		if text.Len() > 0 {
			part = llm.Text(text.String())
		}
	}
	return part, refusal
}

func isCommentary(item responses.ResponseOutputItemUnion) bool {
	return item.Type == "message" && item.Phase == responses.ResponseOutputMessagePhaseCommentary
}

// status converts the status of a response.
func status(x *wire.Exchange, response *responses.Response, refusal string, calls bool) (llm.Finish, error) {
	reason := response.IncompleteDetails.Reason
	switch {
	case refusal != "":
		return "", x.Withheld(failure.ContentFiltered, "refusal", refusal)
	case response.Status == responses.ResponseStatusFailed:
		return "", x.Withheld(failure.Transient, "failed", "the provider says no more")
	case response.Status == responses.ResponseStatusIncomplete && reason == "content_filter":
		return "", x.Withheld(failure.ContentFiltered, reason, "the provider withheld the answer")
	case response.Status == responses.ResponseStatusIncomplete && reason == "max_output_tokens":
		return llm.FinishLength, nil
	case response.Status == responses.ResponseStatusCompleted && calls:
		return llm.FinishToolCall, nil
	case response.Status == responses.ResponseStatusCompleted:
		return llm.FinishStop, nil
	}
	return llm.FinishNone, nil
}

// itemStream puts the events of a streamed response together.
type itemStream struct {
	x          *wire.Exchange
	begun      bool            // the request's ID was yielded
	model      string          // "" until an event names it
	commentary map[string]bool // by ID, the items that are not part of the answer's text
	texted     string          // the ID of the last item whose text was yielded
	text       bool            // the last thing yielded was text
	refusal    strings.Builder
	calls      bool
}

func (s *itemStream) end() ([]llm.Chunk, error) { return nil, nil }

func (s *itemStream) read(data []byte) (chunks []llm.Chunk, done bool, err error) {
	var e responses.ResponseStreamEventUnion
	if err := json.Unmarshal(data, &e); err != nil {
		return nil, true, s.x.GarbledPart(data, err)
	}
	var chunk llm.Chunk
	if !s.begun {
		s.begun = true
		chunk.RequestID = s.x.RequestID("X-Request-Id")
	}
	if e.Response.Model != "" && e.Response.Model != s.model {
		s.model, chunk.Model = e.Response.Model, e.Response.Model
	}
	switch e.Type {
	case "response.output_item.added":
		if isCommentary(e.Item) {
			if s.commentary == nil {
				s.commentary = map[string]bool{}
			}
			s.commentary[e.Item.ID] = true
		}
	case "response.output_text.delta":
		if !s.commentary[e.ItemID] {
			chunk.Text = s.next(e.ItemID, e.Delta)
		}
	case "response.output_item.done":
		part, refusal := itemPart(e.Item, s.x.Endpoint.Provider)
		s.refusal.WriteString(refusal)
		switch part := part.(type) {
		case nil:
		case llm.Text:
			if s.texted != e.Item.ID { // the server did not send the text in pieces
				chunk.Text = s.next(e.Item.ID, string(part))
			}
		default:
			chunk.Part, s.text = part, false
			s.calls = s.calls || is[llm.ToolCall](part)
		}
	case "response.completed", "response.incomplete", "response.failed":
		if err := s.x.ErrorWithin([]byte(e.Response.RawJSON())); err != nil {
			return nil, true, err
		}
		chunk.Finish, err = status(s.x, &e.Response, s.refusal.String(), s.calls)
		if e.Response.JSON.Usage.Valid() {
			chunk.Usage = new(tokens(e.Response.Usage))
		}
		done = true
	}
	if chunk != (llm.Chunk{}) {
		chunks = append(chunks, chunk)
	}
	return chunks, done, err
}

// next returns the piece of text to yield. It joins the texts of two messages as
// llm.Message.Text joins those of two parts.
func (s *itemStream) next(id, text string) string {
	if s.text && s.texted != id && text != "" {
		text = "\n" + text
	}
	if text != "" {
		s.texted, s.text = id, true
	}
	return text
}
