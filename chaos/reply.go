package chaos

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// reply is all that is done with one request, decided before the first byte of
// it is done.
type reply struct {
	delay time.Duration // before all else
	reset bool
	hang  bool

	status int
	header http.Header
	pieces [][]byte      // of the body
	send   int           // how many of the pieces are sent
	pause  time.Duration // between two of them
	abrupt bool          // the connection is closed behind them
}

// The JSON of an answer, platform.openai.com/docs/api-reference/chat/object and
// .../chat/streaming.
type (
	completion struct {
		ID          string   `json:"id"`
		Object      string   `json:"object"`
		Created     int64    `json:"created"`
		Model       string   `json:"model"`
		Choices     []choice `json:"choices"`
		Usage       *usage   `json:"usage,omitempty"`
		ServiceTier string   `json:"service_tier"`
	}
	choice struct {
		Index    int      `json:"index"`
		Message  *message `json:"message,omitempty"`
		Delta    *message `json:"delta,omitempty"`
		Logprobs *string  `json:"logprobs"`
		Finish   *string  `json:"finish_reason"`
	}
	message struct {
		Role      string     `json:"role,omitempty"`
		Content   *string    `json:"content,omitempty"`
		ToolCalls []toolCall `json:"tool_calls,omitempty"`
	}
	toolCall struct {
		Index    *int     `json:"index,omitempty"` // in streams only
		ID       string   `json:"id,omitempty"`
		Type     string   `json:"type,omitempty"`
		Function function `json:"function"`
	}
	function struct {
		Name      string `json:"name,omitempty"`
		Arguments string `json:"arguments"`
	}
	usage struct {
		PromptTokens     int `json:"prompt_tokens"`
		CompletionTokens int `json:"completion_tokens"`
		TotalTokens      int `json:"total_tokens"`
	}
)

// ids makes the identifiers of a reply. n makes them unique, seed the same
// again.
type ids struct {
	seed uint64
	n    int
}

func (i ids) id(prefix string) string {
	const digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	r := rand.New(rand.NewPCG(i.seed, uint64(i.n)))
	var b strings.Builder
	b.WriteString(prefix)
	for range 18 {
		b.WriteByte(digits[r.IntN(len(digits))])
	}
	return b.String() + fmt.Sprintf("%06d", i.n)
}

// answerReply sends an answer, streamed or whole.
func answerReply(req *chatRequest, a answer, f Fault, id ids, now time.Time) reply {
	r := reply{delay: f.Delay, pause: f.ChunkDelay, status: http.StatusOK, header: headersOf(id)}
	out := tokenCount(a.text)
	in := req.promptTokens()
	c := completion{ID: id.id("chatcmpl-"), Created: now.Unix(), Model: req.model, ServiceTier: "default"}
	use := &usage{in, out, in + out}
	if req.stream {
		r.header.Set("Content-Type", "text/event-stream; charset=utf-8")
		r.header.Set("Cache-Control", "no-cache")
		r.pieces = events(c, a, id, req.includeUsage, use)
		r.send = len(r.pieces)
		if f.Kind == Cut {
			// The finish must not come: what came before it may be cut anywhere.
			unfinished := 1 + len(chunks(a.text))
			r.send, r.abrupt = unfinished/2, f.End != Clean
			if f.After != nil {
				r.send = min(*f.After, unfinished)
			}
		}
		return r
	}
	c.Object, c.Usage = "chat.completion", use
	m := &message{Role: "assistant"}
	if a.tool == "" {
		m.Content = &a.text
	} else {
		m.ToolCalls = []toolCall{{ID: id.id("call_"), Type: "function", Function: function{a.tool, a.text}}}
	}
	c.Choices = []choice{{Message: m, Finish: &a.finish}}
	body := marshal(c)
	length := len(body)
	if f.Kind == Cut {
		body = body[:length/2]
		if r.abrupt = f.End != Clean; !r.abrupt {
			length = len(body)
		}
	}
	r.header.Set("Content-Type", "application/json")
	r.header.Set("Content-Length", strconv.Itoa(length))
	r.pieces = [][]byte{body}
	if f.ChunkDelay > 0 {
		r.pieces = split(body, max(1, len(body)/10))
	}
	r.send = len(r.pieces)
	return r
}

// events makes the pieces of a stream: the role, the content, the finish, the
// usage if it is asked for, and the end.
func events(c completion, a answer, id ids, includeUsage bool, use *usage) [][]byte {
	c.Object = "chat.completion.chunk"
	var out [][]byte
	add := func(delta message, finish *string) {
		c.Choices = []choice{{Delta: &delta, Finish: finish}}
		out = append(out, event(marshal(c)))
	}
	first := 0
	if a.tool == "" {
		add(message{Role: "assistant", Content: new(string)}, nil)
	} else {
		add(message{Role: "assistant", ToolCalls: []toolCall{{Index: &first, ID: id.id("call_"), Type: "function", Function: function{Name: a.tool}}}}, nil)
	}
	for _, part := range chunks(a.text) {
		if a.tool == "" {
			add(message{Content: &part}, nil)
		} else {
			add(message{ToolCalls: []toolCall{{Index: &first, Function: function{Arguments: part}}}}, nil)
		}
	}
	add(message{}, &a.finish)
	if includeUsage {
		c.Choices, c.Usage = []choice{}, use
		out = append(out, event(marshal(c)))
	}
	return append(out, event([]byte("[DONE]")))
}

// chunkRunes is the size of a piece of a stream; a model's tokens are about
// half as long.
const chunkRunes = 8

func chunks(text string) []string {
	var parts []string
	for text != "" {
		part := firstRunes(text, chunkRunes)
		parts, text = append(parts, part), text[len(part):]
	}
	return parts
}

func event(data []byte) []byte { return fmt.Appendf(nil, "data: %s\n\n", data) }

func split(body []byte, size int) [][]byte {
	var pieces [][]byte
	for len(body) > size {
		pieces, body = append(pieces, body[:size]), body[size:]
	}
	return append(pieces, body)
}

// statusReply sends an error of the provider's.
func statusReply(model string, stream bool, f Fault, id ids, now time.Time) reply {
	r := reply{delay: f.Delay, status: f.Status, header: headersOf(id)}
	e := providerErrorOf(f.Status, f.Code)
	if e.name == proxyPage {
		r.header = http.Header{} // the provider never saw the request
	}
	wait := "20s"
	if f.RetryAfterMS != "" {
		r.header.Set("Retry-After-Ms", f.RetryAfterMS)
		wait = waitOr(wait, f.RetryAfterMS+"ms")
	}
	if f.RetryAfterDate > 0 {
		r.header.Set("Retry-After", httpDate(now.Add(f.RetryAfterDate)))
		wait = f.RetryAfterDate.String()
	}
	if f.RetryAfter != "" {
		r.header.Set("Retry-After", f.RetryAfter)
		wait = waitOr(wait, f.RetryAfter+"s")
	}
	if e.limited {
		r.header.Set("X-Ratelimit-Remaining-Requests", "0")
		r.header.Set("X-Ratelimit-Reset-Requests", wait)
	}
	body, mediaType := e.body(model, wait)
	if f.Body != nil {
		body, mediaType = []byte(*f.Body), typeOfBody(*f.Body)
	}
	var line bytes.Buffer
	if stream && f.Status == http.StatusOK && f.Body == nil && json.Compact(&line, body) == nil {
		// A stream that fails when it has begun can no longer change its status.
		body, mediaType = event(line.Bytes()), "text/event-stream; charset=utf-8"
	}
	r.header.Set("Content-Type", mediaType)
	for name, values := range f.Headers {
		r.header[http.CanonicalHeaderKey(name)] = values
	}
	r.pieces, r.send = [][]byte{body}, 1
	return r
}

// refusalReply sends an error of the request's.
func refusalReply(status int, body []byte, id ids) reply {
	r := reply{status: status, header: headersOf(id), pieces: [][]byte{body}, send: 1}
	r.header.Set("Content-Type", "application/json")
	return r
}

// headersOf are the headers that the provider adds to every response.
func headersOf(id ids) http.Header {
	return http.Header{
		"X-Request-Id":                   {id.id("req_")},
		"Openai-Processing-Ms":           {"12"},
		"Openai-Version":                 {"2020-10-01"},
		"X-Ratelimit-Limit-Requests":     {"500"},
		"X-Ratelimit-Limit-Tokens":       {"200000"},
		"X-Ratelimit-Remaining-Requests": {"499"},
		"X-Ratelimit-Remaining-Tokens":   {"199000"},
		"X-Ratelimit-Reset-Requests":     {"120ms"}, // as Go writes durations
		"X-Ratelimit-Reset-Tokens":       {"300ms"},
	}
}

// httpDate writes a time for Retry-After, rounded up: rounded down it would
// bring clients back too early.
func httpDate(t time.Time) string {
	return t.Add(time.Second - 1).UTC().Truncate(time.Second).Format(http.TimeFormat)
}

// waitOr returns a wait in Go's form, or another if it is nonsense.
func waitOr(otherwise, wait string) string {
	if d, err := time.ParseDuration(wait); err != nil || d < 0 {
		return otherwise
	}
	return wait
}

func typeOfBody(body string) string {
	switch {
	case json.Valid([]byte(body)):
		return "application/json"
	case strings.HasPrefix(strings.TrimSpace(body), "<"):
		return "text/html"
	case utf8.ValidString(body):
		return "text/plain; charset=utf-8"
	}
	return "application/octet-stream"
}

func marshal(v any) []byte {
	text, err := encode(v)
	if err != nil {
		panic(err) // the types above always marshal
	}
	return []byte(text)
}
