package anthropic

import (
	"cmp"
	"encoding/json"
	"errors"

	sdk "github.com/anthropics/anthropic-sdk-go"

	"llmcall/classify"
	"llmcall/failure"
	"llmcall/llm"
	"llmcall/provider/internal/wire"
)

// response reads the answer in a response with the status of a success, or the
// error that it contains. tool names the tool whose input is the answer; "" if
// there is none.
func response(x *wire.Exchange, tool string) (*llm.Response, error) {
	if !json.Valid(x.Body) {
		var any json.RawMessage
		return nil, x.Garbled(json.Unmarshal(x.Body, &any))
	}
	if err := x.ErrorWithin(x.Body); err != nil {
		return nil, err
	}
	var message sdk.Message
	if err := json.Unmarshal(x.Body, &message); err != nil {
		return nil, x.Garbled(err)
	}
	if !message.JSON.Content.Valid() {
		return nil, x.Garbled(errors.New("the answer has no content"))
	}
	if message.StopReason == sdk.StopReasonRefusal {
		return nil, refusalError(x, message.StopDetails)
	}
	var answer llm.Assembly
	var end ending
	for _, block := range message.Content {
		if isObject(json.RawMessage(block.RawJSON())) != nil {
			return nil, x.Garbled(errors.New("a block of the answer is not an object"))
		}
		answer.Add(end.block(content{
			kind: block.Type, text: block.Text, id: block.ID, name: block.Name, input: block.Input, raw: block.RawJSON(),
		}, tool))
	}
	usage := tokens(message.Usage.InputTokens, message.Usage.CacheCreationInputTokens, message.Usage.CacheReadInputTokens,
		message.Usage.OutputTokens, message.Usage.OutputTokensDetails.ThinkingTokens)
	answer.Add(llm.Chunk{
		Finish: end.finish(message.StopReason), Usage: &usage, Model: message.Model, RequestID: x.RequestID("Request-Id"),
	})
	return answer.Response(), nil
}

// content is a whole block of an answer.
type content struct {
	kind, text, id, name string
	input                json.RawMessage
	raw                  string
}

// ending records what the finish reason of an answer depends on.
type ending struct {
	called   bool // a tool of the caller
	answered bool // by the tool whose input is the answer
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
		return llm.Chunk{Text: string(c.input)}
	case c.kind == "tool_use":
		e.called = true
		return llm.Chunk{Part: llm.ToolCall{ID: c.id, Name: c.name, Arguments: c.input}}
	}
	return llm.Chunk{Part: llm.Reasoning{Provider: classify.Anthropic, Data: json.RawMessage(c.raw)}}
}

// finish converts the stop reason. An unknown one counts as missing, because it
// is worse to take a truncated answer for a complete one. By pause_turn the provider
// interrupts a long turn of its own tools.
func (e *ending) finish(reason sdk.StopReason) llm.Finish {
	switch reason {
	case sdk.StopReasonEndTurn, sdk.StopReasonStopSequence, sdk.StopReasonToolUse:
		if e.called {
			return llm.FinishToolCall
		}
		if reason != sdk.StopReasonToolUse || e.answered {
			return llm.FinishStop
		}
	case sdk.StopReasonMaxTokens, sdk.StopReasonModelContextWindowExceeded:
		return llm.FinishLength
	case sdk.StopReasonPauseTurn:
		return llm.FinishPaused
	}
	return llm.FinishNone
}

// refusalError returns the error of an answer that the model refused to give.
func refusalError(x *wire.Exchange, details sdk.RefusalStopDetails) error {
	why := cmp.Or(details.Explanation, "the model refused to answer")
	if details.Category != "" {
		why = string(details.Category) + ": " + why
	}
	return x.Withheld(failure.ContentFiltered, string(sdk.StopReasonRefusal), why)
}

// tokens converts the API's counts. It counts the tokens that were read from the
// cache, or written to it, apart from the other input
// (https://platform.claude.com/docs/en/build-with-claude/prompt-caching), but
// thinking as part of the output.
func tokens(input, written, read, output, thought int64) llm.Usage {
	return llm.Usage{InputTokens: input + written + read, CachedTokens: read, OutputTokens: output, ReasoningTokens: thought}
}
