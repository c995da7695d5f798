package openai

import (
	"cmp"
	"context"
	"encoding/json"
	"iter"
	"net/http"
	"strings"

	sdk "github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
	"github.com/openai/openai-go/v3/packages/respjson"

	"llmcall/failure"
	"llmcall/llm"
	"llmcall/provider/internal/wire"
)

// protocol is one of OpenAI's two APIs, as the adapter uses it.
type protocol interface {
	// prepare converts the request. It returns a function that sends it by the SDK,
	// and what it asks for that the server may lack.
	prepare(req *llm.Request, stream bool, steps *wire.Steps) (send sender, asked asking, err error)
	// dialect reads the answers.
	dialect() wire.Dialect
}

type sender func(context.Context, ...option.RequestOption) error

// exchange sends the request, and sends it again without what the server refuses. It
// returns an exchange with a success, and how that was asked for.
func (c *connection) exchange(ctx context.Context, req *llm.Request, stream bool, p protocol) (x *wire.Exchange, asked asking, err error) {
	steps := c.lacks.For(wire.SchemaOf(req))
	err = steps.Send(ctx, c.endpoint, func() (wire.Try, error) {
		send, a, err := p.prepare(req, stream, steps)
		asked = a
		return wire.Try{Asked: a.features, Note: a.note, Send: func() error {
			x = &wire.Exchange{Endpoint: c.endpoint, Speaks: c.direct.Protocol, Stream: stream, Structured: req.Schema != nil}
			// x has the answer too; with these as the targets the SDK does not check the
			// Content-Type.
			into := option.WithResponseBodyInto(new([]byte))
			if stream {
				into = option.WithResponseBodyInto(new(*http.Response))
			}
			return x.Failed(ctx, send(ctx, option.WithMiddleware(x.Record), into), apiError)
		}}, err
	})
	return x, asked, err
}

// complete sends the request and reads the answer.
func (c *connection) complete(ctx context.Context, req *llm.Request, p protocol) (*llm.Response, error) {
	if own := c.direct.Takes(ctx); own != nil {
		return c.direct.Complete(ctx, own, req, p.dialect())
	}
	x, asked, err := c.exchange(ctx, req, false, p)
	if err != nil {
		return nil, err
	}
	answer, err := x.Answer(p.dialect())
	if err == nil && asked.drop != nil {
		for i, part := range answer.Message.Parts {
			if text, ok := part.(llm.Text); ok {
				answer.Message.Parts[i] = llm.Text(asked.drop.Write(string(text)) + asked.drop.Rest())
			}
		}
	}
	return answer, err
}

// stream sends the request and yields the answer as it arrives.
func (c *connection) stream(ctx context.Context, req *llm.Request, p protocol) iter.Seq2[llm.Chunk, error] {
	if own := c.direct.Takes(ctx); own != nil {
		return c.direct.Stream(ctx, own, req, p.dialect())
	}
	return func(yield func(llm.Chunk, error) bool) {
		x, asked, err := c.exchange(ctx, req, true, p)
		if err != nil {
			yield(llm.Chunk{}, err)
			return
		}
		x.Relay(ctx, p.dialect(), asked.drop.between(yield))
	}
}

// completionStream joins the pieces of the first choice of a streamed chat
// completion.
type completionStream struct {
	x         *wire.Exchange
	id        string // the completion's
	begun     bool   // the request's ID was yielded
	grown     bool   // a delta had something in it
	model     string // "" until an event names it
	refusal   strings.Builder
	reasoning reasoning
	calls     []*pieces
	latest    map[int64]*pieces // by the index that the server gives
	reason    string            // the finish reason
	native    string            // the server's own, where a gateway has translated it
}

// Read reads an event: a chunk, or a whole completion.
func (s *completionStream) Read(data []byte) (chunks []llm.Chunk, done bool, err error) {
	if p, ok := readPlainPiece(data); ok {
		chunk := s.begin(p.model)
		s.id = cmp.Or(s.id, p.id)
		chunk.Text = p.text
		if s.grown = s.grown || p.text != ""; chunk != (llm.Chunk{}) {
			chunks = append(chunks, chunk)
		}
		return chunks, false, nil
	}
	return s.read(data)
}

// begin returns a chunk with what an event says of the answer.
func (s *completionStream) begin(model string) (chunk llm.Chunk) {
	if !s.begun {
		s.begun = true
		chunk.RequestID = s.x.RequestID("X-Request-Id")
	}
	if model != "" && model != s.model { // Azure's first event has only the results of its filters
		s.model, chunk.Model = model, model
	}
	return chunk
}

// read reads an event of any form.
func (s *completionStream) read(data []byte) (chunks []llm.Chunk, done bool, err error) {
	var piece sdk.ChatCompletionChunk
	if err := json.Unmarshal(data, &piece); err != nil {
		return nil, true, s.x.GarbledPart(data, err)
	}
	chunk := s.begin(piece.Model)
	if piece.JSON.Usage.Valid() {
		chunk.Usage = new(usage(piece.Usage))
	}
	s.id = cmp.Or(s.id, piece.ID)
	for _, choice := range piece.Choices {
		if choice.Index != 0 {
			continue
		}
		if err = choiceError(s.x, choice.JSON.ExtraFields["error"].Raw()); err != nil {
			break
		}
		more := s.add(choice)
		chunk.Text += more.Text
		chunk.Progress = chunk.Progress || more.Progress
	}
	if chunk != (llm.Chunk{}) {
		chunks = append(chunks, chunk)
	}
	return chunks, err != nil, err
}

// add adds a choice of an event.
func (s *completionStream) add(choice sdk.ChatCompletionChunkChoice) (more llm.Chunk) {
	if choice.FinishReason != "" {
		s.reason, s.native = choice.FinishReason, native(choice.JSON.ExtraFields)
	}
	delta := choice.Delta
	more = s.piece(delta.Content, delta.JSON.Content.Raw(), delta.Refusal, delta.JSON.ExtraFields)
	for _, call := range delta.ToolCalls {
		s.call(call.ID, call.Index, call.JSON.Index.Valid(), call.Function.Name, call.Function.Arguments)
		more.Progress = true
	}
	//lint:ignore SA1019 older servers still send it
	if call := delta.FunctionCall; call.Name != "" || call.Arguments != "" { // the form before tool_calls
		s.call("", 0, true, call.Name, call.Arguments)
		more.Progress = true
	}
	if more == (llm.Chunk{}) { // the form of completions that are not a chat's
		more.Text, _, _ = contentOf(choice.JSON.ExtraFields["text"].Raw())
	}
	s.grown = s.grown || more != (llm.Chunk{})
	raw := choice.JSON.ExtraFields["message"].Raw()
	if raw == "" || s.grown { // a message after the pieces says them again
		return more
	}
	var message sdk.ChatCompletionMessage
	if json.Unmarshal([]byte(raw), &message) != nil {
		return more
	}
	return llm.Chunk{Text: s.message(message), Progress: true}
}

// message adds a whole message, and returns its text.
func (s *completionStream) message(m sdk.ChatCompletionMessage) string {
	more := s.piece(m.Content, m.JSON.Content.Raw(), m.Refusal, m.JSON.ExtraFields)
	for _, call := range m.ToolCalls {
		s.calls = append(s.calls, &pieces{id: call.ID, name: call.Function.Name})
		s.calls[len(s.calls)-1].arguments.WriteString(call.Function.Arguments)
	}
	//lint:ignore SA1019 older servers still send it
	if call := m.FunctionCall; len(m.ToolCalls) == 0 && call.Name != "" {
		s.call("", 0, true, call.Name, call.Arguments)
	}
	return more.Text
}

// piece adds the texts of a message, or of a piece of one.
func (s *completionStream) piece(text, raw, refusal string, fields map[string]respjson.Field) (more llm.Chunk) {
	thought := s.reasoning.add(fields)
	if strings.HasPrefix(raw, "[") || strings.HasPrefix(raw, "{") {
		var thinking, refused string
		text, thinking, refused = contentOf(raw)
		s.reasoning.within.WriteString(thinking)
		refusal += refused
		thought = thought || thinking != ""
	}
	s.refusal.WriteString(refusal)
	return llm.Chunk{Text: text, Progress: thought || refusal != ""}
}

// Ended reports whether a finish reason has come.
func (s *completionStream) Ended() bool { return s.reason != "" }

// End returns the reasoning and the calls, if the answer came to its end.
func (s *completionStream) End() ([]llm.Chunk, error) {
	if err := s.refused(); err != nil {
		return nil, err
	}
	calls := s.toolCalls()
	finish, err := s.x.Finish(s.reason, s.native, calls)
	if err != nil || finish == llm.FinishNone { // the calls may be incomplete
		return nil, err
	}
	var chunks []llm.Chunk
	if part, ok := s.reasoning.part(s.x.Endpoint.Provider, len(calls) > 0); ok {
		chunks = append(chunks, llm.Chunk{Part: part})
	}
	for _, call := range calls {
		chunks = append(chunks, llm.Chunk{Part: call})
	}
	return append(chunks, llm.Chunk{Finish: finish}), nil
}

// refused returns the error of an answer that the model refused to give.
func (s *completionStream) refused() error {
	if s.refusal.Len() == 0 {
		return nil
	}
	return s.x.Withheld(failure.ContentFiltered, "refusal", s.refusal.String())
}
