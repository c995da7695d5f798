package anthropic

import (
	"cmp"
	"encoding/json"
	"errors"

	sdk "github.com/anthropics/anthropic-sdk-go"
	"github.com/tidwall/gjson"

	"llmcall/classify"
	"llmcall/failure"
	"llmcall/llm"
	"llmcall/provider/internal/wire"
)

// dialect reads the answers of the API. tool names the tool whose input is the
// answer; "" if there is none.
type dialect struct{ tool string }

func (d dialect) Reader(x *wire.Exchange) wire.Reader { return &stream{x: x, tool: d.tool} }

// Whole reads a whole answer, or the error that it contains.
func (d dialect) Whole(x *wire.Exchange, body []byte) (*llm.Response, error) {
	if err := x.ErrorWithin(body); err != nil {
		return nil, err
	}
	h, err := readHead(x, body)
	if err != nil {
		return nil, x.GarbledPart(body, err)
	}
	raw := gjson.GetBytes(body, "content")
	if !raw.Exists() || raw.Type == gjson.Null {
		return nil, x.Empty(body, errors.New("the answer has no content"))
	}
	usage := h.usage.usage()
	var answer llm.Assembly
	answer.Add(llm.Chunk{Usage: &usage, Model: h.model, RequestID: x.RequestID("Request-Id")})
	if h.reason == string(sdk.StopReasonRefusal) {
		return wire.Billed(answer.Response()), refusalError(x, h.details)
	}
	var end ending
	if raw.Type == gjson.String { // of a gateway
		if gjson.GetBytes(body, "stop_reason").Type != gjson.String {
			return wire.Billed(answer.Response()), x.Empty(body, errors.New("the answer has no content"))
		}
		answer.Add(llm.Chunk{Text: raw.String()})
	}
	for _, block := range blocksIn(raw) {
		if wire.CheckObject(json.RawMessage(block.raw)) != nil {
			return wire.Billed(answer.Response()), x.GarbledPart(body, errors.New("a block of the answer is not an object"))
		}
		answer.Add(end.block(block, d.tool))
	}
	finish, err := end.finish(x, h.reason)
	if err != nil {
		return wire.Billed(answer.Response()), err
	}
	answer.Add(llm.Chunk{Finish: finish})
	return answer.Response(), nil
}

// blocksIn returns the blocks of a content.
func blocksIn(list gjson.Result) []content {
	if !list.IsArray() {
		return nil
	}
	var all []content
	for _, block := range list.Array() {
		all = append(all, contentOf(block))
	}
	return all
}

func contentOf(block gjson.Result) content {
	return content{
		kind: block.Get("type").String(), text: block.Get("text").String(), id: block.Get("id").String(), name: block.Get("name").String(),
		input: json.RawMessage(block.Get("input").Raw), raw: block.Raw,
	}
}

// content is a whole block of an answer.
type content struct {
	kind, text, id, name string
	input                json.RawMessage
	raw                  string
}

// ending records what the finish reason of an answer depends on.
type ending struct {
	called   []llm.ToolCall // of the caller's tools
	answered bool           // by the tool whose input is the answer
}

// block converts a block to a chunk. Everything but text and calls of the caller's
// tools (thinking, the work of the provider's own tools) is kept as it is, to be
// sent back unchanged.
func (e *ending) block(c content, tool string) llm.Chunk {
	switch {
	case c.kind == "text":
		return llm.Chunk{Text: c.text}
	case c.kind == "tool_use" && c.name == tool && tool != "":
		e.answered = true
		return llm.Chunk{Text: string(wire.Arguments(c.input))}
	case c.kind == "tool_use":
		call := llm.ToolCall{ID: c.id, Name: c.name, Arguments: wire.Arguments(c.input)}
		e.called = append(e.called, call)
		return llm.Chunk{Part: call}
	}
	return llm.Chunk{Part: llm.Reasoning{Provider: classify.Anthropic, Data: json.RawMessage(c.raw)}}
}

// finish converts the stop reason. By pause_turn the provider interrupts a long turn of
// its own tools.
func (e *ending) finish(x *wire.Exchange, reason string) (llm.Finish, error) {
	if reason == string(sdk.StopReasonPauseTurn) {
		return llm.FinishPaused, nil
	}
	finish, err := x.Finish(reason, "", e.called)
	if finish == llm.FinishToolCall && len(e.called) == 0 {
		finish = llm.FinishNone
		if e.answered {
			finish = llm.FinishStop
		}
	}
	return finish, err
}

// refusalError returns the error of an answer that the model refused to give.
func refusalError(x *wire.Exchange, details sdk.RefusalStopDetails) error {
	why := cmp.Or(details.Explanation, "the model refused to answer")
	if details.Category != "" {
		why = string(details.Category) + ": " + why
	}
	return x.Withheld(failure.ContentFiltered, string(sdk.StopReasonRefusal), why)
}

// counts are the API's. It counts the tokens that were read from the cache, or
// written to it, apart from the other input
// (https://platform.claude.com/docs/en/build-with-claude/prompt-caching), but
// thinking as part of the output, and what is kept for an hour as part of what was
// written.
type counts struct{ input, written, writtenFor1h, read, output, thought int64 }

func (c counts) usage() llm.Usage {
	return llm.Usage{
		InputTokens: c.input + c.written + c.read, OutputTokens: c.output, ReasoningTokens: c.thought,
		CachedTokens: c.read, CacheWriteTokens: c.written, CacheWrite1hTokens: c.writtenFor1h,
	}
}
