package chaos

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"llmcall/internal/protocol"
)

// Protocol names a provider's protocol.
type Protocol string

// The protocols that a Server speaks.
const (
	OpenAI          Protocol = "openai"           // POST /v1/chat/completions
	OpenAIResponses Protocol = "openai-responses" // POST /v1/responses
	Anthropic       Protocol = "anthropic"        // POST /v1/messages
	Gemini          Protocol = "gemini"           // POST /v1beta/models/{model}:generateContent, :streamGenerateContent
)

// face is a protocol, and how its provider fails and tells of its limits.
type face interface {
	protocol.Protocol

	// errors is what goes wrong, in the provider's words.
	errors() []apiError
	// unlimited is what the headers tell of limits where the plan has none.
	unlimited(now time.Time) http.Header
	// reserves reports whether a limit of tokens counts max_tokens when a request
	// comes, and not the answer when it is made.
	reserves() bool
	// overLimit is the error of a request that is over a limit of the plan's;
	// its words tell the wait, unless that is empty.
	overLimit(over excess, wait string) apiError
	// hint are the fields of a fault that tell a wait in the provider's forms.
	hint(wait time.Duration) Fault
	// waits adds what the headers of an error say of when to come back.
	waits(h http.Header, e apiError, f Fault, now time.Time)
}

// The faces. OpenAI's protocols have the errors and the limits in common.
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

// request is a request for an answer, and who gives it.
type request struct {
	*protocol.Request
	face    face
	account *account // what its client has used of the plan's limits; nil without limits
}

// Message is one turn of the conversation that a request carried.
type Message struct {
	Role string // system, developer, user, assistant or tool, whatever the protocol calls it
	Text string // its text parts, joined by newlines
}

func messagesOf(read []protocol.Message) []Message {
	var messages []Message
	for _, m := range read {
		messages = append(messages, Message(m))
	}
	return messages
}

// complaint returns the last answer and what the user said to it, if the
// conversation ends so.
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

// promptTokens is a plausible count of the request's tokens.
func (r *request) promptTokens() int {
	n := 3
	for _, m := range r.Messages {
		n += 4 + tokenCount(m.Text)
	}
	return n + tokenCount(string(r.Schema))
}

func (openaiHabits) errors() []apiError  { return openaiErrors }
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

// anthropicLimits are the limits that each response tells of.
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

// waits adds nothing: Gemini tells of waits in the body.
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
