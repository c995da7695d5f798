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

// Stream sends the request once, and yields the answer as it arrives; see
// [Model.Complete]. If a schema is requested by a tool, the tool's input is
// yielded as text. A stream without message_stop ends without a Finish if it ends
// cleanly, and in an error of kind Transient if it breaks or can't be read. An
// error event is classified by the type that it names, not by the status, which
// is 200. At most 64 MiB are read.
func (m *Model) Stream(ctx context.Context, req *llm.Request) iter.Seq2[llm.Chunk, error] {
	return func(yield func(llm.Chunk, error) bool) {
		params, p, err := m.params(req)
		if err != nil {
			yield(llm.Chunk{}, m.endpoint.BadRequest(err))
			return
		}
		x := &wire.Exchange{Endpoint: m.endpoint, Stream: true}
		var opened *http.Response
		err = m.messages.NewStreaming(ctx, params, option.WithMiddleware(x.Record), option.WithResponseBodyInto(&opened)).Err()
		if x.Response != nil {
			// Not opened alone: the SDK drops a response that came just before the
			// context ended.
			defer func() { x.Response.Body.Close() }()
		}
		if failed := m.failed(ctx, x, p, err); failed != nil {
			yield(llm.Chunk{}, failed)
			return
		}
		if opened == nil {
			yield(llm.Chunk{}, m.endpoint.Broken(ctx, err))
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
			if ctx.Err() != nil { // what has been read ahead is not handed on
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

// whole yields the answer, or the error, of a server that doesn't stream.
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

// stream is an answer as far as its events have come.
type stream struct {
	x    *wire.Exchange
	tool string // whose input is the answer; "" for none

	started, done bool
	open          map[int64]*openBlock // the blocks that are not whole yet, text aside
	ending        ending
	reason        sdk.StopReason
	usage         llm.Usage
	input         [3]int64 // plain, written to the cache, read from it
}

// openBlock is a block of which there is more to come.
type openBlock struct {
	content
	answer    bool
	grown     strings.Builder // of its input, or of its thought
	signature strings.Builder
}

// event reads the data of the next event, and returns what it adds to the
// answer. Unknown events are skipped; so are pings.
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

// count takes counts, which are those of the whole call so far. Some come once
// and are 0, or missing, in later events.
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

// stop ends a block, and returns what it would be in a response that is not
// streamed.
func (s *stream) stop(index int64) (llm.Chunk, error) {
	b := s.open[index]
	if b == nil {
		return llm.Chunk{}, nil // text
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
	case grown == "": // the input came with the start, if there is any
		b.input = json.RawMessage(gjson.Get(b.raw, "input").Raw)
	case b.kind == "tool_use":
		b.input = json.RawMessage(grown) // as the model wrote it
	case json.Valid([]byte(grown)): // of a tool of the provider's own
		raw, err := sjson.SetRaw(b.raw, "input", grown)
		if err != nil {
			return s.garbled([]byte(b.raw), err)
		}
		b.raw = raw
	}
	chunk := s.ending.block(b.content, s.tool)
	if b.answer && grown != "" {
		return llm.Chunk{}, nil // it has been yielded
	}
	return chunk, nil
}
