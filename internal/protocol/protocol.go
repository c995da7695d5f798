// Package protocol is the server's side of the protocols of OpenAI (chat
// completions and responses), Anthropic (messages) and Gemini (generateContent):
// it reads their requests, and writes their answers, streams and errors, byte for
// byte as the providers do.
//
// A server finds the protocol of a request by its path, reads the request, and
// writes what it has to say:
//
//	to, found := protocol.At(r.URL.Path)
//	req, refused := to.Protocol.Read(&protocol.Incoming{Path: ..., Body: ...})
//	body := to.Protocol.Whole(&protocol.Turn{Request: req, Answer: answer, ...})
//
// What makes the answer is the server's business: a provider that fails on
// purpose (package chaos), or a gateway to real ones. A request that the provider
// would refuse is refused by Read, in the provider's words.
package protocol

import (
	"encoding/json"
	"net/http"
	"net/url"
	"time"
)

// Protocol is the server's side of one protocol: [Chat], [Responses], [Messages]
// or [Gemini].
type Protocol interface {
	// Name is the protocol's name: "openai", "openai-responses", "anthropic" or
	// "gemini".
	Name() string
	// Read reads a request. The error is what the provider refuses it with.
	Read(in *Incoming) (*Request, *Error)

	// Whole writes an answer in one piece, of the type application/json.
	Whole(t *Turn) []byte
	// Events writes an answer as a stream of server-sent events.
	Events(t *Turn) []Event
	// Header is what the provider adds to each response.
	Header(id IDs) http.Header
	// LimitHeader is what the provider's headers tell of a limit, "requests" or
	// "tokens"; nil where it has none for it.
	LimitHeader(which string, r Room, now time.Time) http.Header

	// Kind is the provider's word ([Error.Kind]) for errors of a status of which
	// nothing more is known.
	Kind(status int) string
	// ErrorBody writes an error.
	ErrorBody(e *Error, id IDs) []byte
	// ErrorEvents writes an error, given as ErrorBody wrote it and on one line,
	// instead of the rest of a stream that has sent n events.
	ErrorEvents(body []byte, n int, t *Turn) [][]byte
}

// Incoming is a request for an answer as it came.
type Incoming struct {
	Path   string
	Query  url.Values
	Header http.Header
	Body   []byte
}

// Request is what was read of a request. Fields that change nothing but how a
// model thinks (temperature and the like) are checked and not kept.
type Request struct {
	Model        string
	Messages     []Message
	Stream       bool     // the answer is to be streamed
	IncludeUsage bool     // with the usage at the end of the stream
	MaxTokens    int      // 0: no limit
	Stop         []string // texts at which the answer is to end

	JSON   bool            // the answer is to be JSON
	Schema json.RawMessage // of the answer, or of the tool's arguments; nil: none
	Field  string          // where the request has its schema
	Tool   string          // the tool that must be called; empty: none
}

// Message is one turn of the conversation that a request carries.
type Message struct {
	Role string // system, developer, user, assistant or tool, whatever the protocol calls it
	Text string // its text parts, joined by newlines
}

// Turn is an answer to a request, ready to be written.
type Turn struct {
	Request *Request
	Answer
	ID    IDs
	Now   time.Time
	Usage Usage
}

// Answer is what the model says: a text, or a call of a tool whose arguments
// the text is.
type Answer struct {
	Text   string
	Tool   string // the tool that is called; empty: none
	Finish Finish
	Native string // the provider's own word, instead of Finish's; empty: none
	Ending string // the stop sequence that the answer came to; empty: none
}

// Finish says why an answer ended.
type Finish int

// The reasons why an answer ends.
const (
	FinishNone    Finish = iota // it did not: no reason is told
	FinishStop                  // it was complete, or came to a stop sequence
	FinishLength                // the limit of tokens
	FinishTool                  // a tool is to be called
	FinishFilter                // the provider's filter stepped in
	FinishRefusal               // the model, or the provider for it, refused
)

// Usage is the number of tokens. In includes those that were cached, Out those
// of reasoning.
type Usage struct {
	In, Out           int
	Cached, Reasoning int
}

// IDs makes the identifiers of a response from their prefixes. The same prefix
// gives the same identifier.
type IDs func(prefix string) string

// Event is a piece of a stream. The ones that say that the answer is complete
// are last.
type Event struct {
	Data    []byte
	Content bool // holds a part of the text
	Last    bool
}

// Room is how much of a limit is left.
type Room struct {
	Limit, Remaining int64
	Reset            time.Duration // until nothing of the limit is used
}

// Error is an error as a protocol tells it. What is empty is left out, or null.
type Error struct {
	Status  int    // the HTTP status. Default 400
	Kind    string // OpenAI's and Anthropic's type, Gemini's status
	Message string
	Param   string // the field of the request that it is about
	Code    string // OpenAI's code
	Details string // JSON: Anthropic's error.details, the items of Gemini's
	Wait    string // Gemini's retryDelay, such as "1.5s"
}

// Error returns the message.
func (e *Error) Error() string { return e.Message }

// HTTPStatus returns the status that the error is sent with.
func (e *Error) HTTPStatus() int {
	if e.Status == 0 {
		return http.StatusBadRequest
	}
	return e.Status
}
