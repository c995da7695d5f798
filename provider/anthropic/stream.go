package anthropic

import (
	"context"
	"encoding/json"
	"errors"
	"iter"
	"maps"
	"net/http"
	"slices"
	"strings"

	sdk "github.com/anthropics/anthropic-sdk-go"
	"github.com/anthropics/anthropic-sdk-go/option"
	"github.com/tidwall/gjson"
	"github.com/tidwall/sjson"

	"llmcall/llm"
	"llmcall/provider/internal/wire"
)

// Stream sends the request and yields the answer as it arrives. Requests and
// errors are those of [Model.Complete]. If a tool asks for the schema, its input
// is yielded as text. A stream that ends without a stop reason yields no
// [llm.Chunk.Finish]; one that breaks or can't be read ends with an error of kind
// [failure.Transient]. An error event is classified by its type, not by the
// status, which is 200. At most 64 MiB are read; a longer stream is an error.
func (m *Model) Stream(ctx context.Context, req *llm.Request) iter.Seq2[llm.Chunk, error] {
	if own := m.direct.Takes(ctx); own != nil {
		return m.direct.Stream(ctx, own, req, dialect{})
	}
	return func(yield func(llm.Chunk, error) bool) {
		x, p, err := m.exchange(ctx, req, true, func(params sdk.MessageNewParams, record option.RequestOption) error {
			return m.messages.NewStreaming(ctx, params, record, option.WithResponseBodyInto(new(*http.Response))).Err()
		})
		if err != nil {
			yield(llm.Chunk{}, err)
			return
		}
		x.Relay(ctx, dialect{p.tool}, yield)
	}
}

// stream is the state of an answer that arrives in events.
type stream struct {
	x    *wire.Exchange
	tool string // the tool whose input is the answer; "" for none

	started bool                 // a block has begun
	first   gjson.Result         // the content of message_start
	open    map[int64]*openBlock // by index; without blocks of text
	ending  ending
	reason  string
	counts  counts
}

// openBlock is a block that has begun and not ended.
type openBlock struct {
	content
	answer    bool            // its input is the answer
	grown     strings.Builder // the pieces of its input or of its thinking
	signature strings.Builder
}

// Read reads the data of the next event and returns what it adds to the answer.
// Unknown events and pings add nothing.
func (s *stream) Read(data []byte) (chunks []llm.Chunk, done bool, err error) {
	if !json.Valid(data) {
		return nil, true, s.x.GarbledPart(data, errors.New("an event is not JSON"))
	}
	var e sdk.MessageStreamEventUnion
	if err := json.Unmarshal(data, &e); err != nil {
		return nil, true, s.x.GarbledPart(data, err)
	}
	var chunk llm.Chunk
	switch e.Type {
	case "message_start":
		u := e.Message.Usage
		chunk = s.count(counts{
			input: u.InputTokens, written: u.CacheCreationInputTokens, writtenFor1h: u.CacheCreation.Ephemeral1hInputTokens,
			read: u.CacheReadInputTokens, output: u.OutputTokens, thought: u.OutputTokensDetails.ThinkingTokens,
		})
		chunk.Model, chunk.RequestID = e.Message.Model, s.x.RequestID("Request-Id")
		s.first = gjson.ParseBytes(slices.Clone(data)).Get("message.content")
	case "content_block_start":
		s.started = true
		chunk, err = s.start(data, e)
	case "content_block_delta":
		s.started = true
		chunk = s.grow(e)
	case "content_block_stop":
		chunk, err = s.stop(e.Index)
	case "message_delta":
		u := e.Usage
		chunk = s.count(counts{
			input: u.InputTokens, written: u.CacheCreationInputTokens,
			read: u.CacheReadInputTokens, output: u.OutputTokens, thought: u.OutputTokensDetails.ThinkingTokens,
		})
		if reason := string(e.Delta.StopReason); reason != "" {
			s.reason = reason
		}
		if s.reason == string(sdk.StopReasonRefusal) {
			err = refusalError(s.x, e.Delta.StopDetails)
		}
	case "message_stop":
		return nil, true, nil
	case "message": // a whole answer as an event
		return s.whole(data)
	}
	if chunk != (llm.Chunk{}) {
		chunks = append(chunks, chunk)
	}
	return chunks, err != nil, err
}

// whole reads an event that is a whole answer.
func (s *stream) whole(data []byte) ([]llm.Chunk, bool, error) {
	answer, err := dialect{s.tool}.Whole(s.x, data)
	chunks := wire.Pieces(answer)
	return chunks, true, err
}

// Ended reports whether the stop reason has come.
func (s *stream) Ended() bool { return s.reason != "" }

// End returns the reason to stop, which some gateways send without message_stop
// after it, and what they do not send in blocks or do not end.
func (s *stream) End() ([]llm.Chunk, error) {
	var chunks []llm.Chunk
	if s.reason == "" {
		return nil, nil
	}
	if !s.started {
		if s.first.Type == gjson.String {
			chunks = append(chunks, llm.Chunk{Text: s.first.String()})
		}
		for _, block := range blocksIn(s.first) {
			chunks = append(chunks, s.ending.block(block, s.tool))
		}
	}
	for _, index := range slices.Sorted(maps.Keys(s.open)) {
		b := s.open[index]
		if b.kind == "tool_use" && !b.complete() {
			return chunks, s.x.GarbledPart([]byte(b.raw), errors.New("the stream ends within a block"))
		}
		chunk, err := s.stop(index)
		if err != nil {
			return chunks, err
		}
		chunks = append(chunks, chunk)
	}
	finish, err := s.ending.finish(s.x, s.reason)
	if finish != llm.FinishNone {
		chunks = append(chunks, llm.Chunk{Finish: finish})
	}
	return chunks, err
}

// complete reports whether the input of a call that was not ended is whole.
func (b *openBlock) complete() bool {
	if grown := b.grown.String(); grown != "" {
		return json.Valid([]byte(grown))
	}
	return len(gjson.Get(b.raw, "input").Map()) > 0 // {} is what a call begins with
}

func (s *stream) garbled(data []byte, err error) (llm.Chunk, error) {
	return llm.Chunk{}, s.x.GarbledPart(data, err)
}

// count updates the usage. Each event has the counts of the whole call so far, but
// some counts are present in one event and 0 or missing in later ones.
func (s *stream) count(c counts) llm.Chunk {
	s.counts = counts{
		input: max(s.counts.input, c.input), written: max(s.counts.written, c.written), writtenFor1h: max(s.counts.writtenFor1h, c.writtenFor1h),
		read: max(s.counts.read, c.read), output: max(s.counts.output, c.output), thought: max(s.counts.thought, c.thought),
	}
	usage := s.counts.usage()
	return llm.Chunk{Usage: &usage}
}

func (s *stream) start(data []byte, e sdk.MessageStreamEventUnion) (llm.Chunk, error) {
	c := e.ContentBlock
	switch {
	case c.Type == "text":
		return llm.Chunk{Text: c.Text}, nil
	case s.open[e.Index] != nil:
		return s.garbled(data, errors.New("a block begins within itself"))
	case wire.CheckObject(json.RawMessage(c.RawJSON())) != nil:
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
			return llm.Chunk{Progress: e.Delta.PartialJSON != ""}
		}
	case "thinking_delta":
		if b != nil {
			b.grown.WriteString(e.Delta.Thinking)
			return llm.Chunk{Progress: e.Delta.Thinking != ""}
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
