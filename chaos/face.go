package chaos

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"llmcall/internal/limiter"
	"llmcall/internal/protocol"
)

// Protocol is the name of a provider's protocol.
type Protocol string

// The protocols that a [Server] speaks.
const (
	OpenAI          Protocol = "openai"           // POST /v1/chat/completions
	OpenAIResponses Protocol = "openai-responses" // POST /v1/responses
	Anthropic       Protocol = "anthropic"        // POST /v1/messages
	Gemini          Protocol = "gemini"           // POST /v1beta/models/{model}:generateContent, :streamGenerateContent
)

// face is a protocol, and how its provider reports errors and limits.
type face interface {
	protocol.Protocol

	// errors returns the errors, in the provider's words.
	errors() []apiError
	// unlimited returns the headers about limits if the plan has none.
	unlimited(now time.Time) http.Header
	// reserves reports whether a limit of tokens counts max_tokens when a request
	// arrives, instead of the answer when it is made.
	reserves() bool
	// overLimit returns the error of a request over a limit of the plan; its message
	// has the wait, unless that is "".
	overLimit(over limiter.Excess, wait string) apiError
	// hint returns a fault with the fields that say a wait as the provider does.
	hint(wait time.Duration) Fault
	// waits adds the headers of an error that say when to retry.
	waits(h http.Header, e apiError, f Fault, now time.Time)
}

// The faces. OpenAI's two protocols share their errors and limits.
type (
	openaiHabits struct{}
	chatFace     struct {
		protocol.Chat
		openaiHabits
	}
	responsesFace struct {
		protocol.Responses
		openaiHabits
	}
	anthropicFace struct{ protocol.Messages }
	geminiFace    struct{ protocol.Gemini }
)

// faces are the protocols.
var faces = map[Protocol]face{OpenAI: chatFace{}, OpenAIResponses: responsesFace{}, Anthropic: anthropicFace{}, Gemini: geminiFace{}}

// faceOf returns the face of a protocol.
func faceOf(p protocol.Protocol) face { return faces[Protocol(p.Name())] }

// request is a request for an answer, with the provider that gives it.
type request struct {
	*protocol.Request
	face    face
	account *limiter.Account // what its client has used of the plan's limits; nil without limits

	embedding *protocol.Embedding // nil if it is for an answer
	embedder  protocol.Embedder
}

// readRequest reads a request for an answer or for embeddings.
func readRequest(provider face, to protocol.Endpoint, call *protocol.Incoming) (*request, *protocol.Error) {
	if to.For != protocol.Embeddings {
		read, refused := provider.Read(call)
		return &request{Request: read, face: provider}, refused
	}
	embedder := to.Protocol.(protocol.Embedder) // so At promises
	e, refused := embedder.ReadEmbedding(call)
	if refused != nil {
		return nil, refused
	}
	read := &protocol.Request{Model: e.Model}
	for _, text := range e.Texts {
		read.Messages = append(read.Messages, protocol.Message{Role: "user", Text: text})
	}
	return &request{Request: read, face: provider, embedding: e, embedder: embedder}, nil
}

// thoughts returns the part of an answer for the model's thoughts, of which text is shown.
// It is there for thoughts that are shown, or sent in encrypted form, and always in OpenAI's
// responses.
func (r *request) thoughts(text string, tokens int, id protocol.IDs) []protocol.Part {
	if text == "" && (tokens == 0 || !r.Encrypted && r.face.Name() != string(OpenAIResponses)) {
		return nil
	}
	p := protocol.Part{Kind: protocol.ThoughtPart, Text: text}
	if r.Encrypted {
		p.Sign = protocol.Seal(id)
	}
	return []protocol.Part{p}
}

// vectors is the body of the answer to a request for embeddings.
func (r *request) vectors() []byte {
	var out [][]float32
	for _, text := range r.embedding.Texts {
		out = append(out, vector(text, r.embedding.Dimensions))
	}
	return r.embedder.Vectors(r.embedding, out, r.promptTokens())
}

// Message is one turn of the conversation in a request.
type Message struct {
	Role string // system, developer, user, assistant or tool, in every protocol
	Text string // its text parts, joined by newlines
}

func messagesOf(read []protocol.Message) []Message {
	var messages []Message
	for _, m := range read {
		messages = append(messages, Message(m))
	}
	return messages
}

// complaint returns the last answer and the user's message after it, if the conversation
// ends with one.
func (r *request) complaint() (answer, feedback string, ok bool) {
	last := len(r.Messages) - 1
	if last < 0 || r.Messages[last].Role != "user" {
		return "", "", false
	}
	for i := last - 1; i >= 0; i-- {
		if r.Messages[i].Role == "assistant" {
			return r.Messages[i].Text, r.Messages[last].Text, true
		}
	}
	return "", "", false
}

// promptTokens is a plausible number of tokens of the request.
func (r *request) promptTokens() int {
	n := 3
	for _, m := range r.Messages {
		n += 4 + tokenCount(m.Text)
	}
	for _, t := range r.Tools {
		n += tokenCount(t.Name) + tokenCount(string(t.Parameters))
	}
	return n + tokenCount(string(r.Schema))
}

func (openaiHabits) errors() []apiError  { return openaiErrors }
func (responsesFace) errors() []apiError { return responsesErrors }
func (anthropicFace) errors() []apiError { return anthropicErrors }
func (geminiFace) errors() []apiError    { return geminiErrors }

func (openaiHabits) unlimited(time.Time) http.Header {
	return http.Header{
		"X-Ratelimit-Limit-Requests":     {"500"},
		"X-Ratelimit-Limit-Tokens":       {"200000"},
		"X-Ratelimit-Remaining-Requests": {"499"},
		"X-Ratelimit-Remaining-Tokens":   {"199000"},
		"X-Ratelimit-Reset-Requests":     {"120ms"}, // as Go writes durations
		"X-Ratelimit-Reset-Tokens":       {"300ms"},
	}
}

// anthropicLimits are the limits in the headers of each response.
var anthropicLimits = []struct {
	name        string
	limit, left int64
}{{requestLimit, 50, 49}, {tokenLimit, 38000, 37000}, {inputLimit, 30000, 29000}, {"output-tokens", 8000, 8000}}

func (f anthropicFace) unlimited(now time.Time) http.Header {
	h := http.Header{}
	for _, l := range anthropicLimits {
		addMissing(h, f.LimitHeader(l.name, protocol.Room{Limit: l.limit, Remaining: l.left, Reset: time.Second}, now))
	}
	return h
}

func (geminiFace) unlimited(time.Time) http.Header { return nil }

func (openaiHabits) waits(h http.Header, e apiError, f Fault, now time.Time) {
	if which, left, ok := e.limitLeft(f); ok {
		name := "Requests"
		if which != requestLimit {
			name = "Tokens"
		}
		h.Set("X-Ratelimit-Remaining-"+name, "0")
		h.Set("X-Ratelimit-Reset-"+name, left.String())
	}
	retryHeaders(h, e, f, now)
}

func (anthropicFace) waits(h http.Header, e apiError, f Fault, now time.Time) {
	if which, left, ok := e.limitLeft(f); ok {
		h.Set("Anthropic-Ratelimit-"+which+"-Remaining", "0")
		h.Set("Anthropic-Ratelimit-"+which+"-Reset", protocol.AnthropicTime(now.Add(left)))
	}
	retryHeaders(h, e, f, now)
}

// waits adds nothing: Gemini says the wait in the body.
func (geminiFace) waits(http.Header, apiError, Fault, time.Time) {}

func (openaiHabits) reserves() bool  { return true }
func (anthropicFace) reserves() bool { return false }
func (geminiFace) reserves() bool    { return false }

func (openaiHabits) hint(wait time.Duration) Fault {
	return Fault{RetryAfter: wholeSeconds(wait), RetryAfterMS: strconv.FormatInt(wait.Milliseconds(), 10)}
}

func (anthropicFace) hint(wait time.Duration) Fault { return Fault{RetryAfter: wholeSeconds(wait)} }

func (geminiFace) hint(wait time.Duration) Fault {
	return Fault{RetryAfter: strings.TrimSuffix(inSeconds(wait), "s")}
}
