package anthropic

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"strings"

	sdk "github.com/anthropics/anthropic-sdk-go"
	"github.com/anthropics/anthropic-sdk-go/option"
	"github.com/anthropics/anthropic-sdk-go/packages/ssestream"
	"github.com/tidwall/gjson"
	"github.com/tidwall/sjson"

	"llmcall/llm"
	"llmcall/provider/internal/wire"
)

// Stream sends the request and yields the answer as it arrives. Requests and
// errors are those of [Model.Complete]. If a tool asks for the schema, its input
// is yielded as text. A stream that ends without message_stop yields no
// [llm.Chunk.Finish]; one that breaks or can't be read ends with an error of kind
// [failure.Transient]. An error event is classified by its type, not by the
// status, which is 200. At most 64 MiB are read; a longer stream is an error.
func (m *Model) Stream(ctx context.Context, req *llm.Request) iter.Seq2[llm.Chunk, error] {
	return func(yield func(llm.Chunk, error) bool) {
		var opened *http.Response
		var broken error
		x, p, err := m.exchange(ctx, req, true, func(params sdk.MessageNewParams, record option.RequestOption) error {
			broken = m.messages.NewStreaming(ctx, params, record, option.WithResponseBodyInto(&opened)).Err()
			return broken
		})
		if x != nil && x.Response != nil {
			// Not only if opened is set: the SDK drops a response that arrived just
			// before the context ended.
			defer func() { x.Response.Body.Close() }()
		}
		if err != nil {
			yield(llm.Chunk{}, err)
			return
		}
		if opened == nil {
			yield(llm.Chunk{}, m.endpoint.Broken(ctx, broken))
			return
		}
		var inOnePiece bool
		if opened.Body, inOnePiece = wire.InOnePiece(opened.Body, opened.Header); inOnePiece {
			whole(ctx, x, opened.Body, p.tool, yield)
			return
		}
		s := stream{x: x, tool: p.tool}
		decoder := ssestream.NewDecoder(opened)
		for !s.done && decoder.Next() {
			if ctx.Err() != nil { // the decoder may have read ahead
				yield(llm.Chunk{}, x.Broken(ctx, ctx.Err()))
				return
			}
			chunk, err := s.event(decoder.Event().Data)
			if !yield(chunk, err) || err != nil {
				return
			}
		}
		switch err := decoder.Err(); {
		case s.done:
		case err != nil:
			yield(llm.Chunk{}, x.Broken(ctx, err))
		case !s.started:
			yield(llm.Chunk{}, x.Garbled(fmt.Errorf("the stream (Content-Type %q) has no event", opened.Header.Get("Content-Type"))))
		}
	}
}

// whole yields the answer, or the error, of a server that does not stream.
func whole(ctx context.Context, x *wire.Exchange, body io.Reader, tool string, yield func(llm.Chunk, error) bool) {
	var err error
	if x.Body, err = io.ReadAll(body); err != nil {
		yield(llm.Chunk{}, x.Broken(ctx, err))
		return
	}
	answer, err := response(x, tool)
	if err != nil {
		yield(llm.Chunk{}, err)
		return
	}
	var chunks []llm.Chunk
	for _, p := range answer.Message.Parts {
		chunk := llm.Chunk{Part: p}
		if text, ok := p.(llm.Text); ok {
			chunk = llm.Chunk{Text: string(text)}
		}
		chunks = append(chunks, chunk)
	}
	chunks = append(chunks, llm.Chunk{Finish: answer.Finish, Usage: &answer.Usage, Model: answer.Model, RequestID: answer.RequestID})
	wire.YieldAll(chunks, nil, yield)
}

// stream is the state of an answer that arrives in events.
type stream struct {
	x    *wire.Exchange
	tool string // the tool whose input is the answer; "" for none

	started, done bool
	open          map[int64]*openBlock // by index; without blocks of text
	ending        ending
	reason        sdk.StopReason
	usage         llm.Usage
	input         [3]int64 // tokens: uncached, written to the cache, read from it
}

// openBlock is a block that has begun and not ended.
type openBlock struct {
	content
	answer    bool            // its input is the answer
	grown     strings.Builder // the pieces of its input or of its thinking
	signature strings.Builder
}

// event reads the data of the next event and returns what it adds to the answer.
// Unknown events and pings add nothing.
func (s *stream) event(data []byte) (llm.Chunk, error) {
	if strings.TrimSpace(string(data)) == "" {
		return llm.Chunk{}, nil
	}
	if !json.Valid(data) {
		return s.garbled(data, errors.New("an event is not JSON"))
	}
	if gjson.GetBytes(data, "error").Exists() {
		if err := s.x.ErrorWithin(data); err != nil {
			return llm.Chunk{}, err
		}
	}
	var e sdk.MessageStreamEventUnion
	if err := json.Unmarshal(data, &e); err != nil {
		return s.garbled(data, err)
	}
	s.started = true
	switch e.Type {
	case "error":
		return s.garbled(data, errors.New("an error that says no more"))
	case "message_start":
		u := e.Message.Usage
		chunk := s.count(u.InputTokens, u.CacheCreationInputTokens, u.CacheReadInputTokens, u.OutputTokens, u.OutputTokensDetails.ThinkingTokens)
		chunk.Model, chunk.RequestID = e.Message.Model, s.x.RequestID("Request-Id")
		return chunk, nil
	case "content_block_start":
		return s.start(data, e)
	case "content_block_delta":
		return s.grow(e), nil
	case "content_block_stop":
		return s.stop(e.Index)
	case "message_delta":
		if s.reason = e.Delta.StopReason; s.reason == sdk.StopReasonRefusal {
			return llm.Chunk{}, refusalError(s.x, e.Delta.StopDetails)
		}
		u := e.Usage
		return s.count(u.InputTokens, u.CacheCreationInputTokens, u.CacheReadInputTokens, u.OutputTokens, u.OutputTokensDetails.ThinkingTokens), nil
	case "message_stop":
		if len(s.open) > 0 {
			return s.garbled(data, errors.New("the stream ends within a block"))
		}
		s.done = true
		return llm.Chunk{Finish: s.ending.finish(s.reason)}, nil
	}
	return llm.Chunk{}, nil
}

func (s *stream) garbled(data []byte, err error) (llm.Chunk, error) {
	s.x.Body = data
	return llm.Chunk{}, s.x.Garbled(err)
}

// count updates the usage. Each event has the counts of the whole call so far, but
// some counts are present in one event and 0 or missing in later ones.
func (s *stream) count(input, written, read, output, thought int64) llm.Chunk {
	s.input = [3]int64{max(s.input[0], input), max(s.input[1], written), max(s.input[2], read)}
	s.usage = tokens(s.input[0], s.input[1], s.input[2], max(s.usage.OutputTokens, output), max(s.usage.ReasoningTokens, thought))
	usage := s.usage
	return llm.Chunk{Usage: &usage}
}

func (s *stream) start(data []byte, e sdk.MessageStreamEventUnion) (llm.Chunk, error) {
	c := e.ContentBlock
	switch {
	case c.Type == "text":
		return llm.Chunk{Text: c.Text}, nil
	case s.open[e.Index] != nil:
		return s.garbled(data, errors.New("a block begins within itself"))
	case isObject(json.RawMessage(c.RawJSON())) != nil:
		return s.garbled(data, errors.New("a block of the answer is not an object"))
	}
	if s.open == nil {
		s.open = make(map[int64]*openBlock)
	}
	s.open[e.Index] = &openBlock{
		content: content{kind: c.Type, id: c.ID, name: c.Name, raw: c.RawJSON()},
		answer:  c.Type == "tool_use" && c.Name == s.tool && s.tool != "",
	}
	return llm.Chunk{}, nil
}

func (s *stream) grow(e sdk.MessageStreamEventUnion) llm.Chunk {
	b := s.open[e.Index]
	switch e.Delta.Type {
	case "text_delta":
		return llm.Chunk{Text: e.Delta.Text}
	case "input_json_delta":
		if b != nil {
			b.grown.WriteString(e.Delta.PartialJSON)
			if b.answer {
				return llm.Chunk{Text: e.Delta.PartialJSON}
			}
		}
	case "thinking_delta":
		if b != nil {
			b.grown.WriteString(e.Delta.Thinking)
		}
	case "signature_delta":
		if b != nil {
			b.signature.WriteString(e.Delta.Signature)
		}
	}
	return llm.Chunk{}
}

// stop ends a block and returns it as a response that is not streamed would have
// it.
func (s *stream) stop(index int64) (llm.Chunk, error) {
	b := s.open[index]
	if b == nil {
		return llm.Chunk{}, nil // a block of text
	}
	delete(s.open, index)
	grown := b.grown.String()
	switch {
	case b.kind == "thinking":
		raw, err := sjson.Set(b.raw, "thinking", gjson.Get(b.raw, "thinking").String()+grown)
		if err == nil && b.signature.Len() > 0 {
			raw, err = sjson.Set(raw, "signature", b.signature.String())
		}
		if err != nil {
			return s.garbled([]byte(b.raw), err)
		}
		b.raw = raw
	case grown == "": // the input, if any, came with the start
		b.input = json.RawMessage(gjson.Get(b.raw, "input").Raw)
	case b.kind == "tool_use":
		b.input = json.RawMessage(grown)
	case json.Valid([]byte(grown)): // the input of one of the provider's own tools
		raw, err := sjson.SetRaw(b.raw, "input", grown)
		if err != nil {
			return s.garbled([]byte(b.raw), err)
		}
		b.raw = raw
	}
	chunk := s.ending.block(b.content, s.tool)
	if b.answer && grown != "" {
		return llm.Chunk{}, nil // yielded piece by piece
	}
	return chunk, nil
}
