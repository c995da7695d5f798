package openai

import (
	"cmp"
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

// Lacks names the settings of a request that the API does not have, as in its JSON:
// [llm.Request.Seed] and [llm.Request.Stop]. A request with one is refused; a call of llmcall leaves it out where
// the model is an alternative to another one, for which it was meant.
func (m *Responses) Lacks() []string { return []string{"seed", "stop"} }

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

func (m *Responses) dialect() wire.Dialect { return itemDialect{} }

// itemDialect reads the answers of the Responses API.
type itemDialect struct{}

func (itemDialect) Whole(x *wire.Exchange, body []byte) (*llm.Response, error) {
	return readResponse(x, body)
}

func (itemDialect) Reader(x *wire.Exchange) wire.Reader { return &itemStream{x: x} }

// readResponse reads a whole answer, or the error that it contains.
func readResponse(x *wire.Exchange, body []byte) (*llm.Response, error) {
	if x.Sound(body) && x.ErrorWithin(body) == nil {
		if p, ok := readPlainResponse(body); ok {
			return p.response(x)
		}
	}
	var response responses.Response
	err := x.Decode(body, &response)
	if failed := x.ErrorWithin(body); failed != nil {
		return wire.Billed(&llm.Response{Usage: tokens(response.Usage), Model: response.Model}), failed
	}
	if err != nil {
		return nil, x.GarbledPart(body, err)
	}
	if !response.JSON.Output.Valid() {
		return nil, x.Empty(body, errors.New("the answer has no output"))
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
	if answer.Finish, err = status(x, &response, refusal, answer.Message.ToolCalls()); err != nil {
		return wire.Billed(answer), err
	}
	return answer, nil
}

func tokens(u responses.ResponseUsage) llm.Usage {
	return llm.Usage{
		InputTokens:      u.InputTokens,
		OutputTokens:     u.OutputTokens,
		CachedTokens:     u.InputTokensDetails.CachedTokens,
		ReasoningTokens:  u.OutputTokensDetails.ReasoningTokens,
		CacheWriteTokens: u.InputTokensDetails.CacheWriteTokens,
	}
}

// itemPart returns the part that an item of the output becomes, or nil, and the
// text of a refusal in it.
func itemPart(item responses.ResponseOutputItemUnion, provider string) (part llm.Part, refusal string) {
	switch {
	case item.Type == "reasoning" || isCommentary(item):
		return llm.Reasoning{Provider: provider, Data: json.RawMessage(item.RawJSON())}, ""
	case item.Type == "function_call":
		args, _, _ := contentOf(item.JSON.Arguments.Raw())
		if raw := item.JSON.Arguments.Raw(); strings.HasPrefix(raw, "{") { // not a text, but the JSON itself
			args = raw
		}
		return llm.ToolCall{ID: cmp.Or(item.CallID, item.ID), Name: item.Name, Arguments: wire.Arguments(json.RawMessage(args))}, ""
	case item.Type == "message":
		var text string
		if text, _, refusal = contentOf(item.JSON.Content.Raw()); text != "" {
			part = llm.Text(text)
		}
	}
	return part, refusal
}

func isCommentary(item responses.ResponseOutputItemUnion) bool {
	return item.Type == "message" && item.Phase == responses.ResponseOutputMessagePhaseCommentary
}

// status converts the status of a response.
func status(x *wire.Exchange, response *responses.Response, refusal string, calls []llm.ToolCall) (llm.Finish, error) {
	reason := response.IncompleteDetails.Reason
	switch {
	case refusal != "":
		return "", x.Withheld(failure.ContentFiltered, "refusal", refusal)
	case response.Status == responses.ResponseStatusFailed:
		return "", x.Withheld(failure.Transient, "failed", "the provider says no more")
	case response.Status == responses.ResponseStatusInProgress, response.Status == responses.ResponseStatusQueued:
		return llm.FinishNone, nil
	case response.Status != responses.ResponseStatusIncomplete:
		return x.Finish(string(response.Status), "", calls)
	}
	finish, err := x.Finish(cmp.Or(reason, "incomplete"), "", nil)
	if finish == llm.FinishStop || finish == llm.FinishToolCall {
		finish = "incomplete"
	}
	return finish, err
}

// itemStream puts the events of a streamed response together.
type itemStream struct {
	x          *wire.Exchange
	begun      bool            // the request's ID was yielded
	model      string          // "" until an event names it
	commentary map[string]bool // by ID, the items that are not part of the answer's text
	texted     string          // the ID of the last item whose text was yielded
	text       bool            // the last thing yielded was text
	anyText    bool            // text was yielded
	anyPart    bool            // a part other than text was yielded
	refusal    strings.Builder
	calls      []llm.ToolCall
	ended      bool
}

// Ended reports whether the last event has come.
func (s *itemStream) Ended() bool { return s.ended }

// End returns nothing: the last event has all.
func (s *itemStream) End() ([]llm.Chunk, error) { return nil, nil }

// Read reads an event, or a whole response.
func (s *itemStream) Read(data []byte) (chunks []llm.Chunk, done bool, err error) {
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
	case "response.output_text.done":
		if !s.commentary[e.ItemID] && (!s.anyText || s.texted != e.ItemID) { // its text did not come in pieces
			chunk.Text = s.next(e.ItemID, e.Text)
		}
	case "response.content_part.done":
		if e.Part.Type == "output_text" && !s.commentary[e.ItemID] && (!s.anyText || s.texted != e.ItemID) {
			chunk.Text = s.next(e.ItemID, e.Part.Text)
		}
	case "response.output_item.done":
		more := s.item(e.Item)
		chunk.Text, chunk.Part = more.Text, more.Part
	case "response.completed", "response.incomplete", "response.failed":
		return s.last(chunk, e.Response)
	case "": // a whole answer as an event
		var whole responses.Response
		if json.Unmarshal(data, &whole) == nil && whole.JSON.Output.Valid() {
			chunk.Model = whole.Model
			return s.last(chunk, whole)
		}
	default:
		chunk.Progress = strings.HasSuffix(e.Type, ".delta")
	}
	if chunk != (llm.Chunk{}) {
		chunks = append(chunks, chunk)
	}
	return chunks, false, nil
}

// item adds a whole item of the output.
func (s *itemStream) item(item responses.ResponseOutputItemUnion) (chunk llm.Chunk) {
	part, refusal := itemPart(item, s.x.Endpoint.Provider)
	s.refusal.WriteString(refusal)
	switch part := part.(type) {
	case nil:
	case llm.Text:
		if !s.anyText || s.texted != item.ID { // the server did not send the text in pieces
			chunk.Text = s.next(item.ID, string(part))
		}
	case llm.ToolCall:
		s.calls = append(s.calls, part)
		chunk.Part, s.text, s.anyPart = part, false, true
	default:
		chunk.Part, s.text, s.anyPart = part, false, true
	}
	return chunk
}

// last reads the event that ends the stream, which has the whole output once more.
// What did not come before is taken from there: all of it, or the text, or the calls.
// IDs decide nothing, because some servers make others for this event.
func (s *itemStream) last(chunk llm.Chunk, response responses.Response) (chunks []llm.Chunk, done bool, err error) {
	s.ended = true
	if response.JSON.Usage.Valid() {
		chunk.Usage = new(tokens(response.Usage))
	}
	if chunk != (llm.Chunk{}) {
		chunks = append(chunks, chunk)
	}
	if err := s.x.ErrorWithin([]byte(response.RawJSON())); err != nil {
		return chunks, true, err
	}
	any, text, calls := s.anyText || s.anyPart, s.anyText, len(s.calls) > 0
	refused := s.refusal.Len() > 0
	for _, item := range response.Output {
		part, refusal := itemPart(item, s.x.Endpoint.Provider)
		wanted := !any || !text && wire.Is[llm.Text](part) || !calls && wire.Is[llm.ToolCall](part) || refusal != "" && !refused
		if !wanted {
			continue
		}
		if more := s.item(item); more != (llm.Chunk{}) {
			chunks = append(chunks, more)
		}
	}
	finish, err := status(s.x, &response, s.refusal.String(), s.calls)
	if finish != llm.FinishNone {
		chunks = append(chunks, llm.Chunk{Finish: finish})
	}
	return chunks, true, err
}

// next returns the piece of text to yield. It joins the texts of two messages as
// llm.Message.Text joins those of two parts.
func (s *itemStream) next(id, text string) string {
	if s.text && s.texted != id && text != "" {
		text = "\n" + text
	}
	if text != "" {
		s.texted, s.text, s.anyText = id, true, true
	}
	return text
}
