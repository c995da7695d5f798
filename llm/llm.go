// Package llm is the vocabulary of a call to a language model. A [Request] holds
// [Message] values, which are made of a [Part] each for a text, an image, a tool call and
// so on; a [Response] holds the message that the model answers with. A [Model] takes a
// request and returns a response; a [Streamer] can also deliver it as [Chunk] values. The
// package knows no provider and imports only the standard library.
//
// Messages, requests and responses can be written as JSON and read back, by this version
// and by later ones:
//
//	{"role": "assistant", "parts": [
//		{"type": "text", "text": "Let me look."},
//		{"type": "tool_call", "id": "call_1", "name": "search", "arguments": {"query": "Berlin"}}
//	]}
//
// What is read means the same as what was written, with these differences: empty slices
// become nil, JSON inside (arguments, schemas) loses the white space between its tokens,
// and bytes that are not UTF-8 become U+FFFD, as in encoding/json. Unknown fields are
// ignored, so that a later version may add some.
package llm

import (
	"context"
	"encoding/json"
	"iter"
	"strings"
)

// Model is one language model that answers requests. Implementations are safe for
// concurrent use.
type Model interface {
	// Name returns the full name, "provider/model" ("openai/gpt-4o-mini"), for
	// errors, traces and metrics. Models of the same name share an endpoint (package
	// [llmcall/endpoint]), unless they have a method EndpointKey, as those of the
	// providers do, which tells API keys and addresses apart.
	Name() string
	// Complete sends the request once and returns the answer. It does not retry,
	// since the caller does. Errors carry a failure kind (package
	// [llmcall/failure]). With an error Complete may return a Response with the Usage
	// of a request that was billed, and without content. Complete must not modify req,
	// whose pictures, documents and recordings are the caller's data and not a copy, and
	// must return when ctx ends.
	Complete(ctx context.Context, req *Request) (*Response, error)
}

// Streamer is a [Model] that can also deliver its answer in pieces.
type Streamer interface {
	Model
	// Stream sends the request once and yields the answer as it arrives. A non-nil
	// error is the last value yielded.
	Stream(ctx context.Context, req *Request) iter.Seq2[Chunk, error]
}

// Func returns a [Model] whose method Complete is the given function, for programs with
// their own client and for tests.
func Func(name string, complete func(ctx context.Context, req *Request) (*Response, error)) Model {
	return funcModel{name, complete}
}

// StreamFunc returns a [Streamer] whose method Stream is the given function. Its method
// Complete assembles the pieces.
func StreamFunc(name string, stream func(ctx context.Context, req *Request) iter.Seq2[Chunk, error]) Streamer {
	return funcStreamer{name, stream}
}

type funcModel struct {
	name     string
	complete func(context.Context, *Request) (*Response, error)
}

func (m funcModel) Name() string { return m.name }

func (m funcModel) Complete(ctx context.Context, req *Request) (*Response, error) {
	return m.complete(ctx, req)
}

type funcStreamer struct {
	name   string
	stream func(context.Context, *Request) iter.Seq2[Chunk, error]
}

func (m funcStreamer) Name() string { return m.name }

func (m funcStreamer) Stream(ctx context.Context, req *Request) iter.Seq2[Chunk, error] {
	return m.stream(ctx, req)
}

func (m funcStreamer) Complete(ctx context.Context, req *Request) (*Response, error) {
	var answer Assembly
	for chunk, err := range m.stream(ctx, req) {
		if err != nil {
			return answer.billed(), err
		}
		answer.Add(chunk)
	}
	whole := answer.Response()
	if err := ctx.Err(); err != nil && whole.Finish == FinishNone { // the function ended for that, and did not say so
		return nil, err
	}
	return whole, nil
}

// Role says whose turn a [Message] is.
type Role string

// The roles that every provider knows in some form.
const (
	RoleSystem    Role = "system"
	RoleUser      Role = "user"
	RoleAssistant Role = "assistant"
	RoleTool      Role = "tool" // the results of tool calls
)

// Message is one turn of a conversation.
type Message struct {
	Role  Role   `json:"role"`
	Parts []Part `json:"parts"`
}

// System returns a message of role [RoleSystem] with one text part.
func System(text string) Message { return Message{RoleSystem, []Part{Text(text)}} }

// User returns a message of role [RoleUser] with one text part.
func User(text string) Message { return Message{RoleUser, []Part{Text(text)}} }

// Assistant returns a message of role [RoleAssistant] with one text part.
func Assistant(text string) Message { return Message{RoleAssistant, []Part{Text(text)}} }

// Text returns the message's text parts, joined by newlines. All other parts are
// left out.
func (m Message) Text() string {
	var texts []string
	for _, p := range m.Parts {
		if t, ok := p.(Text); ok {
			texts = append(texts, string(t))
		}
	}
	return strings.Join(texts, "\n")
}

// ToolCalls returns the message's tool calls, in order.
func (m Message) ToolCalls() []ToolCall {
	var calls []ToolCall
	for _, p := range m.Parts {
		if c, ok := p.(ToolCall); ok {
			calls = append(calls, c)
		}
	}
	return calls
}

// Part is a piece of a message: [Text], [Image], [Document], [Audio], [ToolCall],
// [ToolResult] or [Reasoning]. Its JSON is an object with the type "text", "image",
// "document", "audio", "tool_call", "tool_result" or "reasoning", and the fields of that
// type.
type Part interface{ part() }

// Text is a piece of plain text.
type Text string

// Image is a picture: its bytes with their media type, or an address from which the
// provider can fetch it.
type Image struct {
	MediaType string `json:"media_type,omitempty"` // "image/png"; needed with Data
	Data      []byte `json:"data,omitempty"`
	URL       string `json:"url,omitempty"` // used when Data is empty
	// Detail is how closely the model looks, and so what the picture costs: "low", "high",
	// "original" or "auto" in OpenAI's protocols. Those of other providers have no such field,
	// and ignore it. Default "": the provider's.
	// See https://developers.openai.com/api/docs/guides/images-vision.
	Detail string `json:"detail,omitempty"`
}

// Document is a document whose pages the model reads, such as a PDF: its bytes with their
// media type, or an address from which the provider can fetch it. Plain text is better
// sent as [Text], which every provider takes. Package [llmcall/media] makes one of a file.
type Document struct {
	MediaType string `json:"media_type,omitempty"` // "application/pdf"
	Data      []byte `json:"data,omitempty"`
	URL       string `json:"url,omitempty"` // used when Data is empty
	// Name is shown to the model where the provider has a field for it:
	// "contract.pdf". It says nothing about what Data is.
	Name string `json:"name,omitempty"`
}

// Audio is a recording that the model listens to: its bytes with their media type, or an
// address from which the provider can fetch it. Package [llmcall/media] makes one of a
// file.
type Audio struct {
	MediaType string `json:"media_type,omitempty"` // "audio/wav"
	Data      []byte `json:"data,omitempty"`
	URL       string `json:"url,omitempty"` // used when Data is empty
}

// ToolCall is the model's request to run a [Tool].
type ToolCall struct {
	ID        string          `json:"id"`
	Name      string          `json:"name"`
	Arguments json.RawMessage `json:"arguments"` // as the model wrote them; may not be valid JSON
	// Signature is the provider's own and must be sent back with the call: Gemini
	// refuses a conversation without its thought signatures
	// (https://ai.google.dev/gemini-api/docs/thought-signatures).
	Signature []byte `json:"signature,omitempty"`
}

// ToolResult is the result of the [ToolCall] with the same ID.
type ToolResult struct {
	CallID  string `json:"call_id"`
	Content string `json:"content"`
	IsError bool   `json:"is_error,omitempty"`
}

// Reasoning is the model's reasoning before its answer, in the form of its provider. It is
// sent back to that provider unchanged, since some refuse a conversation with tools
// without it; it is not sent to others.
type Reasoning struct {
	Provider string          `json:"provider"` // "anthropic"
	Data     json.RawMessage `json:"data"`
}

func (Text) part()       {}
func (Image) part()      {}
func (Document) part()   {}
func (Audio) part()      {}
func (ToolCall) part()   {}
func (ToolResult) part() {}
func (Reasoning) part()  {}

// Tool is a function that the model may ask to have called.
type Tool struct {
	Name        string          `json:"name"`
	Description string          `json:"description,omitempty"`
	Parameters  json.RawMessage `json:"parameters,omitempty"` // a JSON Schema of the arguments
}

// Schema asks for an answer that is JSON of a given shape, by the provider's own
// feature for it.
type Schema struct {
	Name string          `json:"name"` // letters, digits, _ and -; a provider may show it to the model
	JSON json.RawMessage `json:"schema,omitempty"`
}

// Request is a request to a model. The zero value of each field but Messages leaves the
// choice to the provider.
type Request struct {
	Messages []Message `json:"messages"`
	Tools    []Tool    `json:"tools,omitempty"`
	// NoToolCalls asks for an answer without a call of a tool. The Tools are sent all the
	// same: a conversation with calls needs them, and the provider's cache of the prompt
	// stays good.
	NoToolCalls bool `json:"no_tool_calls,omitempty"`
	// ForceTool is the name of the tool that the model must call, or "*" for any of
	// Tools. Default "": the model decides. It must be in Tools, and it does nothing with
	// NoToolCalls. Where a provider can't be made to force a call, the answer may lack it.
	ForceTool   string   `json:"force_tool,omitempty"`
	Schema      *Schema  `json:"schema,omitempty"`
	MaxTokens   int      `json:"max_tokens,omitempty"` // of the answer
	Temperature *float64 `json:"temperature,omitempty"`
	Stop        []string `json:"stop,omitempty"`
	Seed        *int64   `json:"seed,omitempty"`
	// Extra are the provider's own fields, such as {"reasoning_effort": "low"}. They
	// are added to the top level of the request's body as they are, and replace what
	// the fields above set. The values must be accepted by encoding/json; numbers
	// that were read from JSON are a [json.Number].
	Extra map[string]any `json:"extra,omitempty"`
}

// Prompt returns a [Request] with one user message.
func Prompt(text string) *Request {
	return &Request{Messages: []Message{User(text)}}
}

// Finish says why the model stopped: one of the constants or, where the provider's
// reason is not known, the provider's word for it ([Finish.Known] is false). Such an
// answer may be whole or not; what it holds has to show it.
type Finish string

// Known reports whether f is one of the constants.
func (f Finish) Known() bool {
	switch f {
	case FinishStop, FinishLength, FinishToolCall, FinishFiltered, FinishPaused, FinishNone:
		return true
	}
	return false
}

// The reasons to stop, the same for all providers. An answer without one was cut off,
// but not by the provider's limits.
const (
	FinishStop     Finish = "stop"           // the answer is whole
	FinishLength   Finish = "length"         // cut off at the token limit
	FinishToolCall Finish = "tool_calls"     // the model waits for the results of its tool calls
	FinishFiltered Finish = "content_filter" // withheld by the provider, or refused by the model
	FinishPaused   Finish = "pause"          // the provider goes on when it gets the answer back as the last message, unchanged
	FinishNone     Finish = ""               // no reason came
)

// Response is a model's answer.
type Response struct {
	Message   Message `json:"message"`
	Finish    Finish  `json:"finish"`
	Usage     Usage   `json:"usage"`
	Model     string  `json:"model,omitempty"`      // the provider's name of the model that answered
	RequestID string  `json:"request_id,omitempty"` // the provider's, for its support
}

// Text returns the answer's text.
func (r *Response) Text() string { return r.Message.Text() }

// Reply returns a complete [Response] with a text, for a [Func].
func Reply(text string) *Response {
	return &Response{Message: Assistant(text), Finish: FinishStop}
}

// Usage counts the tokens of a call. All counts but the first two are parts of
// the input and output counts, not additions to them: they have prices of their own
// (package [llmcall/price]). Each is 0 if the provider does not tell it.
type Usage struct {
	InputTokens  int64 `json:"input_tokens"`
	OutputTokens int64 `json:"output_tokens"`
	// CachedTokens are the part of InputTokens that was read from the provider's cache.
	CachedTokens int64 `json:"cached_tokens,omitempty"`
	// ReasoningTokens are the part of OutputTokens that the model thought.
	ReasoningTokens int64 `json:"reasoning_tokens,omitempty"`
	// CacheWriteTokens are the part of InputTokens that was written to the provider's
	// cache; none of them is in CachedTokens.
	CacheWriteTokens int64 `json:"cache_write_tokens,omitempty"`
	// CacheWrite1hTokens are the part of CacheWriteTokens that the cache keeps for an
	// hour (Anthropic).
	CacheWrite1hTokens int64 `json:"cache_write_1h_tokens,omitempty"`
	// AudioTokens are the part of InputTokens that was sound (OpenAI, Gemini).
	AudioTokens int64 `json:"audio_tokens,omitempty"`
	// CachedAudioTokens are the part of both AudioTokens and CachedTokens (Gemini).
	CachedAudioTokens int64 `json:"cached_audio_tokens,omitempty"`
}

// Add returns the sum of two usages.
func (u Usage) Add(v Usage) Usage {
	return Usage{
		InputTokens:        u.InputTokens + v.InputTokens,
		OutputTokens:       u.OutputTokens + v.OutputTokens,
		CachedTokens:       u.CachedTokens + v.CachedTokens,
		ReasoningTokens:    u.ReasoningTokens + v.ReasoningTokens,
		CacheWriteTokens:   u.CacheWriteTokens + v.CacheWriteTokens,
		CacheWrite1hTokens: u.CacheWrite1hTokens + v.CacheWrite1hTokens,
		AudioTokens:        u.AudioTokens + v.AudioTokens,
		CachedAudioTokens:  u.CachedAudioTokens + v.CachedAudioTokens,
	}
}
