package protocol

import (
	"net/http"
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
	message := fill(`{"role":"assistant","content":%s,"refusal":null}`, t.Text)
	switch {
	case t.Tool != "":
		message = fill(`{"role":"assistant","content":null,"tool_calls":[{"id":%s,"type":"function","function":{"name":%s,"arguments":%s}}],"refusal":null}`,
			t.ID("call_"), t.Tool, t.Text)
	case t.Finish == FinishRefusal:
		message = fill(`{"role":"assistant","content":null,"refusal":%s}`, t.Text)
	}
	return fill(`{"id":%s,"object":"chat.completion","created":%s,"model":%s,"choices":[{"index":0,"message":%s,"logprobs":null,"finish_reason":%s}],"usage":%s,"service_tier":"default"}`,
		t.ID("chatcmpl-"), t.Now.Unix(), t.Request.Model, raw(message), t.finishWord(finishWords), raw(chatUsage(t.Usage)))
}

func chatUsage(u Usage) []byte {
	return fill(`{"prompt_tokens":%s,"completion_tokens":%s,"total_tokens":%s,"prompt_tokens_details":{"cached_tokens":%s,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":%s,"audio_tokens":0,"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}}`,
		u.In, u.Out, u.In+u.Out, u.Cached, u.Reasoning)
}

// Events writes the role, the content, the finish reason, the usage if requested, and the
// end.
func (Chat) Events(t *Turn) []Event {
	const chunk = `{"id":%s,"object":"chat.completion.chunk","created":%s,"model":%s,"choices":%s,"usage":%s,"service_tier":"default"}`
	chatID, callID := t.ID("chatcmpl-"), t.ID("call_")
	var out []Event
	add := func(e Event, choices, use []byte) {
		e.Data = data(fill(chunk, chatID, t.Now.Unix(), t.Request.Model, raw(choices), raw(use)))
		out = append(out, e)
	}
	delta := func(e Event, delta []byte, finish any) {
		add(e, fill(`[{"index":0,"delta":%s,"logprobs":null,"finish_reason":%s}]`, raw(delta), finish), []byte("null"))
	}
	begin, more := fill(`{"role":"assistant","content":"","refusal":null}`), `{"content":%s}`
	switch {
	case t.Tool != "":
		begin = fill(`{"role":"assistant","content":null,"tool_calls":[{"index":0,"id":%s,"type":"function","function":{"name":%s,"arguments":""}}]}`, callID, t.Tool)
		more = `{"tool_calls":[{"index":0,"function":{"arguments":%s}}]}`
	case t.Finish == FinishRefusal:
		begin, more = fill(`{"role":"assistant","content":null,"refusal":""}`), `{"refusal":%s}`
	}
	delta(Event{}, begin, nil)
	for _, part := range chunks(t.Text) {
		delta(Event{Content: true}, fill(more, part), nil)
	}
	delta(Event{Last: true}, []byte("{}"), t.finishWord(finishWords))
	if t.Request.IncludeUsage {
		add(Event{Last: true}, []byte("[]"), chatUsage(t.Usage))
	}
	return append(out, Event{Data: data([]byte("[DONE]")), Last: true})
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
