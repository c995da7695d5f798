package protocol

import (
	"net/http"
	"strconv"
	"time"
)

// Chat is OpenAI's chat completions
// (platform.openai.com/docs/api-reference/chat/object and .../chat/streaming),
// which many other servers speak.
type Chat struct{ openai }

// openai is what OpenAI's protocols share.
type openai struct{}

// Name returns "openai".
func (Chat) Name() string { return "openai" }

// finishWords are the words for why an answer ended.
var finishWords = map[Finish]string{
	FinishStop: "stop", FinishLength: "length", FinishTool: "tool_calls", FinishFilter: "content_filter", FinishRefusal: "stop",
}

// Whole writes a chat completion.
func (Chat) Whole(t *Turn) []byte {
	var written [][]byte
	for i, choice := range t.choices() {
		written = append(written, fill(`{"index":%s,"message":%s,"logprobs":%s,"finish_reason":%s}`,
			i, choice.chatMessage(), choice.chatLogprobs(chunks(choice.Text)...), choice.finishWord(finishWords)))
	}
	return fill(`{"id":%s,"object":"chat.completion","created":%s,"model":%s,"choices":%s,"usage":%s,"service_tier":"default"}`,
		t.ID("chatcmpl-"), t.Now.Unix(), t.Request.Model, list(written), raw(chatUsage(t.Usage)))
}

// choices returns a turn for each answer, with identifiers of its own.
func (t *Turn) choices() []*Turn {
	turns := []*Turn{t}
	for i, a := range t.More {
		further := *t
		further.Answer = a
		further.ID = func(prefix string) string { return t.ID(prefix + strconv.Itoa(i+1)) }
		turns = append(turns, &further)
	}
	return turns
}

// piece is a part of the text of one of several answers.
type piece struct {
	choice int // which answer
	text   string
	first  bool // of this answer
}

// byTurns returns the pieces of all answers' texts in the order of a stream: the first of
// each answer, then the second of each, and so on.
func byTurns(choices []*Turn) []piece {
	texts := make([][]string, len(choices))
	longest := 0
	for i, choice := range choices {
		texts[i] = chunks(choice.Text)
		longest = max(longest, len(texts[i]))
	}
	var out []piece
	for n := range longest {
		for i, parts := range texts {
			if n < len(parts) {
				out = append(out, piece{choice: i, text: parts[n], first: n == 0})
			}
		}
	}
	return out
}

func (t *Turn) chatMessage() raw {
	switch {
	case t.Tool != "":
		return fill(`{"role":"assistant","content":null,"tool_calls":[{"id":%s,"type":"function","function":{"name":%s,"arguments":%s}}],"refusal":null}`,
			t.ID("call_"), t.Tool, t.Text)
	case t.Finish == FinishRefusal:
		return fill(`{"role":"assistant","content":null,"refusal":%s}`, t.Text)
	}
	return fill(`{"role":"assistant","content":%s,"refusal":null,"annotations":[]}`, t.Text)
}

// chatLogprobs writes the probabilities of the tokens in parts of the text. Arguments of a
// tool have none.
func (t *Turn) chatLogprobs(parts ...string) raw {
	switch {
	case !t.Request.Logprobs || t.Tool != "":
		return raw("null")
	case t.Finish == FinishRefusal:
		return fill(`{"content":null,"refusal":%s}`, t.logprobs(parts))
	}
	return fill(`{"content":%s,"refusal":null}`, t.logprobs(parts))
}

func chatUsage(u Usage) []byte {
	return fill(`{"prompt_tokens":%s,"completion_tokens":%s,"total_tokens":%s,"prompt_tokens_details":{"cached_tokens":%s,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":%s,"audio_tokens":0,"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}}`,
		u.In, u.Out, u.In+u.Out, u.Cached, u.Reasoning)
}

// Events writes the role, the content, the finish reason, the usage if requested, and the
// end. The pieces of several answers come by turns.
func (Chat) Events(t *Turn) []Event {
	const chunk = `{"id":%s,"object":"chat.completion.chunk","created":%s,"model":%s,"choices":%s,"usage":%s,"service_tier":"default"}`
	chatID := t.ID("chatcmpl-")
	var out []Event
	add := func(e Event, choices, use []byte) {
		e.Data = data(fill(chunk, chatID, t.Now.Unix(), t.Request.Model, raw(choices), raw(use)))
		out = append(out, e)
	}
	delta := func(e Event, index int, delta []byte, logprobs raw, finish any) {
		add(e, fill(`[{"index":%s,"delta":%s,"logprobs":%s,"finish_reason":%s}]`, index, raw(delta), logprobs, finish), []byte("null"))
	}
	choices := t.choices()
	more := make([]string, len(choices))
	for i, choice := range choices {
		var begin []byte
		begin, more[i] = choice.chatDeltas()
		delta(Event{}, i, begin, raw("null"), nil)
	}
	for _, p := range byTurns(choices) {
		delta(Event{Content: true}, p.choice, fill(more[p.choice], p.text), choices[p.choice].chatLogprobs(p.text), nil)
	}
	for i, choice := range choices {
		delta(Event{Last: true}, i, []byte("{}"), raw("null"), choice.finishWord(finishWords))
	}
	if t.Request.IncludeUsage {
		add(Event{Last: true}, []byte("[]"), chatUsage(t.Usage))
	}
	return append(out, Event{Data: data([]byte("[DONE]")), Last: true})
}

// chatDeltas returns the first delta, and the template of those with content.
func (t *Turn) chatDeltas() (begin []byte, more string) {
	switch {
	case t.Tool != "":
		return fill(`{"role":"assistant","content":null,"tool_calls":[{"index":0,"id":%s,"type":"function","function":{"name":%s,"arguments":""}}]}`, t.ID("call_"), t.Tool),
			`{"tool_calls":[{"index":0,"function":{"arguments":%s}}]}`
	case t.Finish == FinishRefusal:
		return fill(`{"role":"assistant","content":null,"refusal":""}`), `{"refusal":%s}`
	}
	return fill(`{"role":"assistant","content":"","refusal":null}`), `{"content":%s}`
}

// Header returns the request's identifier and OpenAI's other headers.
func (openai) Header(id IDs) http.Header {
	return http.Header{
		"X-Request-Id":         {id("req_")},
		"Openai-Processing-Ms": {"12"},
		"Openai-Version":       {"2020-10-01"},
	}
}

// LimitHeader returns the x-ratelimit headers, with the time as a Go duration.
func (openai) LimitHeader(which string, r Room, _ time.Time) http.Header {
	return http.Header{
		http.CanonicalHeaderKey("X-Ratelimit-Limit-" + which):     decimal(r.Limit),
		http.CanonicalHeaderKey("X-Ratelimit-Remaining-" + which): decimal(r.Remaining),
		http.CanonicalHeaderKey("X-Ratelimit-Reset-" + which):     {rounded(r.Reset, time.Millisecond).String()},
	}
}

// Kind returns the error's type.
func (openai) Kind(status int) string {
	if status >= http.StatusInternalServerError {
		return "server_error"
	}
	return "invalid_request_error"
}

// ErrorBody writes OpenAI's error object.
func (openai) ErrorBody(e *Error, _ IDs) []byte {
	return fill("{\n  \"error\": {\n    \"message\": %s,\n    \"type\": %s,\n    \"param\": %s,\n    \"code\": %s\n  }\n}",
		e.Message, orNull(e.Kind), orNull(e.Param), orNull(e.Code))
}

// ErrorEvents writes the error object as an event.
func (Chat) ErrorEvents(body []byte, _ int, _ *Turn) [][]byte { return [][]byte{data(body)} }
