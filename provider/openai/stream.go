package openai

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"iter"
	"net/http"
	"slices"
	"strings"

	sdk "github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
	"github.com/openai/openai-go/v3/packages/ssestream"

	"llmcall/endpoint"
	"llmcall/failure"
	"llmcall/llm"
	"llmcall/provider/internal/wire"
)

// dialect is one of OpenAI's two APIs, as the adapter uses it.
type dialect interface {
	// prepare converts the request. It returns a function that sends it by the SDK,
	// and what it asks for that the server may lack.
	prepare(req *llm.Request, stream bool, steps *wire.Steps) (send sender, asked asking, err error)
	// whole reads the answer in x.Body.
	whole(x *wire.Exchange) (*llm.Response, error)
	// events returns a reader for a stream.
	events(x *wire.Exchange) reader
}

type sender func(context.Context, ...option.RequestOption) error

// reader converts the events of a stream to chunks.
type reader interface {
	// read reads the data of the next event. An error or done ends the stream.
	read(data []byte) (chunks []llm.Chunk, done bool, err error)
	// end returns what is known only when the stream has ended without an error.
	end() ([]llm.Chunk, error)
}

// exchange sends the request, and sends it again without what the server refuses. It
// returns no exchange if it failed. The response is that of a stream. An error beside an
// exchange says that the context ended after the header.
func (c *connection) exchange(ctx context.Context, req *llm.Request, stream bool, d dialect) (*wire.Exchange, *http.Response, asking, error) {
	for steps := c.lacks.For(wire.SchemaOf(req)); ; {
		send, asked, err := d.prepare(req, stream, steps)
		if err != nil {
			return nil, nil, asked, c.endpoint.BadRequest(err)
		}
		if asked.note != "" && ctx != nil {
			endpoint.Noted(ctx, asked.note)
		}
		x := &wire.Exchange{Endpoint: c.endpoint, Stream: stream}
		var raw *http.Response
		var body []byte // x has it too; with bytes as the target the SDK does not check the Content-Type
		into := option.WithResponseBodyInto(&body)
		if stream {
			into = option.WithResponseBodyInto(&raw)
		}
		err = send(ctx, option.WithMiddleware(x.Record), into)
		failed := c.failed(ctx, x, err)
		if steps.Down(ctx, failed, asked.features) {
			continue
		}
		if failed != nil {
			return nil, nil, asked, failed
		}
		return x, raw, asked, err
	}
}

// complete sends the request and reads the answer.
func (c *connection) complete(ctx context.Context, req *llm.Request, d dialect) (*llm.Response, error) {
	x, _, asked, err := c.exchange(ctx, req, false, d)
	if x == nil {
		return nil, err
	}
	answer, err := d.whole(x)
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
func (c *connection) stream(ctx context.Context, req *llm.Request, d dialect) iter.Seq2[llm.Chunk, error] {
	return func(yield func(llm.Chunk, error) bool) {
		x, raw, asked, err := c.exchange(ctx, req, true, d)
		if x == nil {
			yield(llm.Chunk{}, err)
			return
		}
		c.relay(ctx, x, raw, err, d, asked.drop.between(yield))
	}
}

// relay yields the chunks of a requested stream. raw and err are what the SDK
// returned. Events are read with the SDK's decoder, not with its Stream, which
// takes "error": null for an error and hides whether there was a "[DONE]".
func (c *connection) relay(ctx context.Context, x *wire.Exchange, raw *http.Response, err error, d dialect, yield func(llm.Chunk, error) bool) {
	if err != nil { // ctx ended after the header arrived
		yield(llm.Chunk{}, x.Broken(ctx, err))
		return
	}
	defer raw.Body.Close()
	var inOnePiece bool
	if raw.Body, inOnePiece = wire.InOnePiece(raw.Body, raw.Header); inOnePiece {
		relayWhole(ctx, x, raw, d, yield)
		return
	}
	r, events, done := d.events(x), 0, false
	decoder := ssestream.NewDecoder(raw)
	for !done && decoder.Next() {
		if ctx.Err() != nil { // the decoder may have more events in its buffer
			break
		}
		var chunks []llm.Chunk
		events++
		chunks, done, err = readEvent(x, decoder.Event(), r)
		if !wire.YieldAll(chunks, err, yield) {
			return
		}
	}
	switch {
	case done:
	case decoder.Err() != nil || ctx.Err() != nil:
		yield(llm.Chunk{}, x.Broken(ctx, decoder.Err()))
		return
	case events == 0:
		yield(llm.Chunk{}, x.Withheld(failure.Transient, "", "the answer is a stream without any event"))
		return
	}
	chunks, err := r.end()
	wire.YieldAll(chunks, err, yield)
}

func relayWhole(ctx context.Context, x *wire.Exchange, raw *http.Response, d dialect, yield func(llm.Chunk, error) bool) {
	var err error
	if x.Body, err = io.ReadAll(raw.Body); err != nil {
		yield(llm.Chunk{}, x.Broken(ctx, err))
		return
	}
	answer, err := d.whole(x)
	if err != nil {
		yield(llm.Chunk{}, err)
		return
	}
	chunks := []llm.Chunk{{Model: answer.Model, RequestID: answer.RequestID, Usage: &answer.Usage}}
	text := false
	for _, part := range answer.Message.Parts {
		t, ok := part.(llm.Text)
		switch {
		case ok && text:
			chunks = append(chunks, llm.Chunk{Text: "\n" + string(t)}) // as Message.Text joins them
		case ok:
			chunks = append(chunks, llm.Chunk{Text: string(t)})
		default:
			chunks = append(chunks, llm.Chunk{Part: part})
		}
		text = ok
	}
	if answer.Finish != llm.FinishNone {
		chunks = append(chunks, llm.Chunk{Finish: answer.Finish})
	}
	wire.YieldAll(chunks, nil, yield)
}

// readEvent handles what both APIs have in common, and leaves the rest to r.
func readEvent(x *wire.Exchange, event ssestream.Event, r reader) (chunks []llm.Chunk, done bool, err error) {
	switch data := bytes.TrimSpace(event.Data); {
	case len(data) == 0:
		return nil, false, nil
	case string(data) == "[DONE]":
		return nil, true, nil
	}
	if err := errorEvent(x, event); err != nil {
		return nil, true, err
	}
	return r.read(event.Data)
}

// errorEvent returns the error that an event reports, or nil.
func errorEvent(x *wire.Exchange, event ssestream.Event) error {
	if bytes.Contains(event.Data, []byte(`"error"`)) { // so that most events are parsed only once
		if err := x.ErrorWithin(event.Data); err != nil {
			return err
		}
	}
	if event.Type != "error" {
		return nil
	}
	if err := x.ErrorWithin(slices.Concat([]byte(`{"error":`), event.Data, []byte(`}`))); err != nil {
		return err
	}
	return x.GarbledPart(event.Data, errors.New("an error in the stream"))
}

// completionStream joins the pieces of the first choice of a streamed chat
// completion.
type completionStream struct {
	x         *wire.Exchange
	begun     bool   // the request's ID was yielded
	model     string // "" until an event names it
	refusal   strings.Builder
	reasoning reasoning
	calls     []*pieces
	latest    map[int64]*pieces // by the index that the server gives
	reason    string            // the finish reason
}

// pieces are the pieces of one tool call.
type pieces struct {
	id, name  string
	arguments strings.Builder
}

func (s *completionStream) read(data []byte) (chunks []llm.Chunk, done bool, err error) {
	var piece sdk.ChatCompletionChunk
	if err := json.Unmarshal(data, &piece); err != nil {
		return nil, true, s.x.GarbledPart(data, err)
	}
	var chunk llm.Chunk
	if !s.begun {
		s.begun = true
		chunk.RequestID = s.x.RequestID("X-Request-Id")
	}
	if piece.Model != s.model { // Azure's first event has only the results of its filters
		s.model, chunk.Model = piece.Model, piece.Model
	}
	if piece.JSON.Usage.Valid() {
		chunk.Usage = new(usage(piece.Usage))
	}
	for _, choice := range piece.Choices {
		if choice.Index == 0 {
			if err := choiceError(s.x, choice.JSON.ExtraFields["error"].Raw()); err != nil {
				return nil, true, err
			}
			chunk.Text += choice.Delta.Content
			s.add(choice)
		}
	}
	if chunk != (llm.Chunk{}) {
		chunks = append(chunks, chunk)
	}
	return chunks, false, nil
}

func (s *completionStream) add(choice sdk.ChatCompletionChunkChoice) {
	s.refusal.WriteString(choice.Delta.Refusal)
	s.reasoning.add(choice.Delta.JSON.ExtraFields)
	for _, delta := range choice.Delta.ToolCalls {
		call := s.latest[delta.Index]
		// Some servers give every call the index 0.
		if call == nil || delta.ID != "" && call.id != "" && delta.ID != call.id {
			if call = new(pieces); s.latest == nil {
				s.latest = map[int64]*pieces{}
			}
			s.latest[delta.Index] = call
			s.calls = append(s.calls, call)
		}
		if call.id == "" {
			call.id = delta.ID
		}
		if call.name == "" {
			call.name = delta.Function.Name
		}
		call.arguments.WriteString(delta.Function.Arguments)
	}
	if choice.FinishReason != "" {
		s.reason = choice.FinishReason
	}
}

func (s *completionStream) end() ([]llm.Chunk, error) {
	if err := withheld(s.x, s.refusal.String(), s.reason); err != nil {
		return nil, err
	}
	end := finish(s.reason, len(s.calls) > 0)
	if end == llm.FinishNone {
		return nil, nil // the calls may be incomplete
	}
	var chunks []llm.Chunk
	if part, ok := s.reasoning.part(s.x.Endpoint.Provider, len(s.calls) > 0); ok {
		chunks = append(chunks, llm.Chunk{Part: part})
	}
	for _, call := range s.calls {
		chunks = append(chunks, llm.Chunk{Part: llm.ToolCall{ID: call.id, Name: call.name, Arguments: []byte(call.arguments.String())}})
	}
	return append(chunks, llm.Chunk{Finish: end}), nil
}
