package chaos

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
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

// face reads and writes what is the same for all protocols in the form of one.
type face interface {
	// read reads a request.
	read(in *incoming) (*request, *refusal)
	// whole writes an answer in one piece.
	whole(t *turn) []byte
	// events writes an answer as a stream.
	events(t *turn) []event

	// header is what the provider adds to every response.
	header(id ids, now time.Time) http.Header
	// unlimited is what the headers tell of limits where the plan has none.
	unlimited(now time.Time) http.Header
	// tell is what the headers tell of a limit that the plan has.
	tell(which string, r room, now time.Time) http.Header
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

	// errors is what goes wrong, in the provider's words.
	errors() []apiError
	// kind is the word for errors of a status that is in no table.
	kind(status int) string
	// errorBody writes an error.
	errorBody(e apiError, id ids) []byte
	// errorEvents writes an error inside of a stream, as event number n.
	errorEvents(body []byte, n int, t *turn) [][]byte
}

// event is a piece of a stream. The ones that say that the answer is complete
// are last.
type event struct {
	data    []byte
	content bool // holds a part of the text
	last    bool
}

// turn is what a face needs to write an answer.
type turn struct {
	req *request
	answer
	id  ids
	now time.Time
	use usage
}

// usage is the number of tokens, reasoning and cached ones included.
type usage struct {
	in, out           int
	cached, reasoning int
}

// incoming is a request for an answer as it came.
type incoming struct {
	path   string
	query  url.Values
	header http.Header
	body   []byte
}

// request is what the server reads of a request. Fields that change nothing
// here (temperature and the like) are left out.
type request struct {
	face         face
	account      *account // what its client has used of the plan's limits; nil without limits
	model        string
	messages     []Message
	stream       bool
	includeUsage bool // at the end of a stream
	maxTokens    int  // 0: no limit
	stop         []string

	json   bool            // the answer is to be JSON
	schema json.RawMessage // of the answer, or of the tool's arguments; nil: none
	field  string          // where the request has its schema
	tool   string          // the tool that must be called; empty: none
}

// Message is one turn of the conversation that a request carried.
type Message struct {
	Role string // system, developer, user, assistant or tool, whatever the protocol calls it
	Text string // its text parts, joined by newlines
}

// noParameters is the schema of a tool without parameters.
var noParameters = json.RawMessage(`{"type":"object","additionalProperties":false}`)

// mustCall notes the tool that must be called.
func (r *request) mustCall(name string, parameters json.RawMessage, field string) {
	if absent(parameters) {
		parameters = noParameters
	}
	r.tool, r.json, r.schema, r.field = name, true, parameters, field
}

// refusal is an error of the request's. Its status is 400 if it names none.
type refusal struct {
	status               int
	message, param, code string
}

func (r *refusal) Error() string { return r.message }

// endpoint is what a path leads to.
type endpoint struct {
	method string
	proto  Protocol
	face   face // nil for the list of models
}

var (
	chatEndpoint      = endpoint{http.MethodPost, OpenAI, chatFace{}}
	responsesEndpoint = endpoint{http.MethodPost, OpenAIResponses, responsesFace{}}
	messagesEndpoint  = endpoint{http.MethodPost, Anthropic, anthropicFace{}}
	geminiEndpoint    = endpoint{http.MethodPost, Gemini, geminiFace{}}
	modelsEndpoint    = endpoint{http.MethodGet, OpenAI, nil}
)

// endpointOf finds what a path leads to, with the prefixes that the base URLs
// of OpenAI-compatible servers have.
func endpointOf(path string) (endpoint, bool) {
	if _, _, ok := geminiCall(path); ok {
		return geminiEndpoint, true
	}
	if deployment, rest, ok := strings.Cut(strings.TrimPrefix(path, azurePrefix), "/"); ok && strings.HasPrefix(path, azurePrefix) && deployment != "" {
		path = "/" + rest // Azure's, platform by deployment
	} else {
		for _, prefix := range []string{"/openai", "/api", "/v1"} {
			if rest := strings.TrimPrefix(path, prefix); strings.HasPrefix(rest, "/") {
				path = rest
			}
		}
	}
	e, ok := map[string]endpoint{
		"/chat/completions": chatEndpoint,
		"/responses":        responsesEndpoint,
		"/messages":         messagesEndpoint,
		"/models":           modelsEndpoint,
	}[path]
	return e, ok
}

// azurePrefix begins Azure's path to a deployment, which is a model by a name of
// its owner's (learn.microsoft.com/azure/ai-foundry/openai/reference).
const azurePrefix = "/openai/deployments/"

// faceAt returns the face that a path without an endpoint belongs to most
// likely, so that its error has a form that the client reads.
func faceAt(path string, header http.Header) face {
	switch {
	case strings.HasPrefix(path, "/v1beta") || header.Get("X-Goog-Api-Key") != "":
		return geminiFace{}
	case strings.Contains(path, "/messages") || header.Get("Anthropic-Version") != "":
		return anthropicFace{}
	}
	return chatFace{}
}

// complaint returns the last answer and what the user said to it, if the
// conversation ends so.
func (r *request) complaint() (answer, feedback string, ok bool) {
	last := len(r.messages) - 1
	if last < 0 || r.messages[last].Role != "user" {
		return "", "", false
	}
	for i := last - 1; i >= 0; i-- {
		if r.messages[i].Role == "assistant" {
			return r.messages[i].Text, r.messages[last].Text, true
		}
	}
	return "", "", false
}

// promptTokens is a plausible count of the request's tokens.
func (r *request) promptTokens() int {
	n := 3
	for _, m := range r.messages {
		n += 4 + tokenCount(m.Text)
	}
	return n + tokenCount(string(r.schema))
}

// raw is JSON that is written already.
type raw []byte

// fill writes JSON as a template has it: each %s becomes the JSON of an
// argument. So what goes over the wire can be read in the source.
func fill(template string, args ...any) []byte {
	written := make([]any, len(args))
	for i, a := range args {
		if text, ok := a.(raw); ok {
			written[i] = []byte(text)
		} else {
			written[i] = marshal(a)
		}
	}
	return fmt.Appendf(nil, template, written...)
}

// orNull is JSON's null in the place of an empty text.
func orNull(s string) any {
	if s == "" {
		return nil
	}
	return s
}

// jsonObject returns a tool's arguments as a JSON object, or false if they are
// none: prose, half an object, a list.
func jsonObject(text string) (raw, bool) {
	var members map[string]json.RawMessage
	if json.Unmarshal([]byte(text), &members) != nil || members == nil {
		return raw("{}"), false
	}
	return raw(text), true
}

// unmatched returns the first of some identifiers that is not among others.
func unmatched(ids, among []string) (string, bool) {
	for _, id := range ids {
		if !slices.Contains(among, id) {
			return id, true
		}
	}
	return "", false
}
