// Package protocol is the server side of the protocols of OpenAI (chat completions and
// responses), Anthropic (messages) and Gemini (generateContent). A [Protocol] reads
// requests, and writes answers, streams and errors byte for byte as the provider does.
//
// A server finds the protocol of a request and what it is for by its path ([At]), reads
// the request, and writes the answer:
//
//	to, found := protocol.At(r.URL.Path)
//	req, refused := to.Protocol.Read(&protocol.Incoming{Path: ..., Body: ...})
//	body := to.Protocol.Whole(&protocol.Turn{Request: req, Answer: answer, ...})
//
// The server makes the answer itself: it may be a provider that fails on purpose
// (package chaos), or a gateway to real ones. Read refuses a request that the provider
// would refuse, in the provider's words.
//
// A server that does not have the whole answer writes it as it comes ([Protocol.Stream]).
//
// Beside answers there are lists of models (in every protocol), numbers of tokens
// ([Counter]), embeddings ([Embedder]), and conversations that the server keeps
// ([Keeper]).
package protocol

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/url"
	"time"
)

// Protocol is the server side of one protocol: [Chat], [Responses], [Messages] or
// [Gemini].
type Protocol interface {
	// Name returns the protocol's name: "openai", "openai-responses", "anthropic" or
	// "gemini".
	Name() string
	// Read reads a request. The error is the one with which the provider refuses it.
	Read(in *Incoming) (*Request, *Error)

	// ModelList writes a page of the list of models; the query has the page.
	ModelList(models []Model, query url.Values) ([]byte, *Error)
	// ModelInfo writes a model by itself.
	ModelInfo(m Model) []byte

	// Whole writes an answer in one piece, as application/json.
	Whole(t *Turn) []byte
	// Events writes an answer as a stream of server-sent events.
	Events(t *Turn) []Event
	// Stream writes an answer as it comes, likewise: a turn without parts, whose Request, ID
	// and Now are set, and one answer.
	Stream(t *Turn) Stream
	// Header returns the headers that the provider adds to each response.
	Header(id IDs) http.Header
	// LimitHeader returns the headers about a limit, "requests" or "tokens"; nil if the
	// provider has none for it.
	LimitHeader(which string, r Room, now time.Time) http.Header

	// Kind returns the [Error.Kind] of errors of which only the HTTP status is known.
	Kind(status int) string
	// ErrorBody writes an error.
	ErrorBody(e *Error, id IDs) []byte
	// ErrorEvents writes an error instead of the rest of a stream that has sent n
	// events. body is that of ErrorBody on one line; see [Compact].
	ErrorEvents(body []byte, n int, t *Turn) [][]byte
}

// Incoming is a request for an answer, as it arrived.
type Incoming struct {
	Path   string
	Query  url.Values
	Header http.Header
	Body   []byte
	// Kept returns what [Keeper.Keep] gave to be kept under an identifier. nil: nothing
	// is kept.
	Kept func(id string) (json.RawMessage, bool)
}

// kept reads what is kept under an identifier, and reports whether it could. What another
// protocol keeps has other fields, and can't be read.
func (in *Incoming) kept(id string, into any) bool {
	if in.Kept == nil {
		return false
	}
	text, ok := in.Kept(id)
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	return ok && d.Decode(into) == nil
}

// beta reports whether the request asks for features that are not in the reference.
func (in *Incoming) beta() bool { return in.Header.Get("Anthropic-Beta") != "" }

// Request is a request as [Protocol.Read] returns it. Fields that only affect how a
// model generates (temperature and the like) are checked but not kept.
type Request struct {
	Model        string
	Messages     []Message
	Stream       bool     // the answer is to be streamed
	IncludeUsage bool     // the stream is to end with the usage
	MaxTokens    int      // 0: no limit
	Stop         []string // stop sequences

	JSON   bool            // the answer is to be JSON
	Bare   bool            // the answer is the string that the schema describes, without its quotes
	Schema json.RawMessage // of the answer, or of the tool's arguments; nil: none
	Field  string          // the field of the request that has the schema
	Tool   string          // the tool that must be called; "": none
	Tools  []Tool          // tools that may be called; none if one must be

	Choices     int  // how many answers are wanted; 0 is 1
	Thinks      bool // the model's thoughts are to be shown
	Encrypted   bool // the thoughts are to be sent in encrypted form too
	Logprobs    bool // the probabilities of the answer's tokens are wanted
	TopLogprobs int  // with those of this many of the most probable tokens at each place

	// Settings are fields of the request as the client wrote them, each on one line, which
	// the answer in OpenAI's responses repeats. Default nil: it has what is usual. [Protocol.Read] leaves it
	// empty.
	Settings map[string]json.RawMessage

	Previous   string          // the answer that the server kept and the request continues; "": none
	Background bool            // the answer is to be fetched later
	Keep       json.RawMessage // what to keep of the request, for [Keeper.Keep]; nil: nothing
}

// Tool is a function that a request offers to the model.
type Tool struct {
	Name       string
	Parameters json.RawMessage // the JSON Schema of its arguments; nil: it has none
	Field      string          // the field of the request that has the parameters
}

// MustCall makes a tool the one that must be called.
func (r *Request) MustCall(t Tool) {
	if absent(t.Parameters) {
		t.Parameters = noParameters
	}
	r.Tool, r.JSON, r.Bare, r.Schema, r.Field, r.Tools = t.Name, true, false, t.Parameters, t.Field, nil
}

// noParameters is the schema of a tool without parameters.
var noParameters = json.RawMessage(`{"type":"object","additionalProperties":false}`)

// Message is one turn of the conversation in a request.
type Message struct {
	Role string // system, developer, user, assistant or tool, in every protocol
	Text string // its text parts, joined by newlines
}

// Turn is an answer to a request, ready to be written.
type Turn struct {
	Request *Request
	Answer
	More  []Answer // further answers, if the request wants several
	ID    IDs
	Now   time.Time
	Usage Usage
	// Plays says that the server plays the provider: it invents what only the provider can
	// know, such as why it refuses and in which tier it serves.
	Plays bool
}

// Answer is the model's answer: its parts, in the order in which the model said them.
type Answer struct {
	Parts  []Part
	Finish Finish
	Native string // the provider's own word instead of Finish's; "": none
	Ending string // the stop sequence that ended the answer; "": none
}

// Finish is the reason why an answer ended.
type Finish int

// The reasons.
const (
	FinishNone    Finish = iota // the answer has no reason
	FinishStop                  // it was complete, or reached a stop sequence
	FinishLength                // the token limit
	FinishTool                  // a tool is to be called
	FinishFilter                // the provider's content filter
	FinishRefusal               // a refusal by the model, or the provider for it
)

// Usage is numbers of tokens. In includes those that were Cached and those of Audio, and
// those that were written to the cache, Stored; Stored includes Stored1h, which it keeps
// for an hour. Out includes those of Reasoning.
type Usage struct {
	In, Out           int
	Cached, Reasoning int
	Stored, Stored1h  int
	Audio             int
	CachedAudio       int // of both Audio and Cached
}

// IDs returns an identifier of a response, by its prefix. The same prefix gives the same
// identifier.
type IDs func(prefix string) string

// Event is one event of a stream.
type Event struct {
	Data    []byte
	Content bool // it has a part of the text
	Last    bool // it says that the answer is complete
}

// Room is the state of a limit.
type Room struct {
	Limit, Remaining int64
	Reset            time.Duration // until nothing of the limit is used
}

// Error is an error in terms of a protocol. Empty fields are left out, or null.
type Error struct {
	Status  int    // the HTTP status. Default 0: 400
	Kind    string // OpenAI's and Anthropic's type, Gemini's status
	Message string
	Param   string // the field of the request that it is about
	Code    string // OpenAI's code
	Details string // JSON: Anthropic's error.details, the items of Gemini's error.details
	Wait    string // Gemini's retryDelay, such as "1.5s"
}

// Error returns the message.
func (e *Error) Error() string { return e.Message }

// HTTPStatus returns e.Status, or its default.
func (e *Error) HTTPStatus() int {
	if e.Status == 0 {
		return http.StatusBadRequest
	}
	return e.Status
}
