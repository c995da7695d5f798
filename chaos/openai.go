package chaos

import (
	"net/http"
	"time"
)

// chatFace is OpenAI's chat completions
// (platform.openai.com/docs/api-reference/chat/object and .../chat/streaming).
type chatFace struct{ openaiFace }

// openaiFace is what OpenAI's protocols have in common.
type openaiFace struct{}

// finishWords are the words for why an answer ended.
var finishWords = map[finish]string{
	finishStop: "stop", finishLength: "length", finishTool: "tool_calls", finishFilter: "content_filter", finishRefusal: "stop",
}

func (t *turn) finishReason(words map[finish]string) any {
	if t.native != "" {
		return t.native
	}
	return orNull(words[t.finish])
}

func (chatFace) whole(t *turn) []byte {
	message := fill(`{"role":"assistant","content":%s,"refusal":null}`, t.text)
	switch {
	case t.tool != "":
		message = fill(`{"role":"assistant","content":null,"tool_calls":[{"id":%s,"type":"function","function":{"name":%s,"arguments":%s}}],"refusal":null}`,
			t.id.id("call_"), t.tool, t.text)
	case t.finish == finishRefusal:
		message = fill(`{"role":"assistant","content":null,"refusal":%s}`, t.text)
	}
	return fill(`{"id":%s,"object":"chat.completion","created":%s,"model":%s,"choices":[{"index":0,"message":%s,"logprobs":null,"finish_reason":%s}],"usage":%s,"service_tier":"default"}`,
		t.id.id("chatcmpl-"), t.now.Unix(), t.req.model, raw(message), t.finishReason(finishWords), raw(chatUsage(t.use)))
}

func chatUsage(u usage) []byte {
	return fill(`{"prompt_tokens":%s,"completion_tokens":%s,"total_tokens":%s,"prompt_tokens_details":{"cached_tokens":%s,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":%s,"audio_tokens":0,"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}}`,
		u.in, u.out, u.in+u.out, u.cached, u.reasoning)
}

// events makes the role, the content, the finish, the usage if it is asked for,
// and the end.
func (chatFace) events(t *turn) []event {
	const chunk = `{"id":%s,"object":"chat.completion.chunk","created":%s,"model":%s,"choices":%s,"usage":%s,"service_tier":"default"}`
	chatID, callID := t.id.id("chatcmpl-"), t.id.id("call_")
	var out []event
	add := func(e event, choices, use []byte) {
		e.data = data(fill(chunk, chatID, t.now.Unix(), t.req.model, raw(choices), raw(use)))
		out = append(out, e)
	}
	delta := func(e event, delta []byte, finish any) {
		add(e, fill(`[{"index":0,"delta":%s,"logprobs":null,"finish_reason":%s}]`, raw(delta), finish), []byte("null"))
	}
	begin, more := fill(`{"role":"assistant","content":"","refusal":null}`), `{"content":%s}`
	switch {
	case t.tool != "":
		begin = fill(`{"role":"assistant","content":null,"tool_calls":[{"index":0,"id":%s,"type":"function","function":{"name":%s,"arguments":""}}]}`, callID, t.tool)
		more = `{"tool_calls":[{"index":0,"function":{"arguments":%s}}]}`
	case t.finish == finishRefusal:
		begin, more = fill(`{"role":"assistant","content":null,"refusal":""}`), `{"refusal":%s}`
	}
	delta(event{}, begin, nil)
	for _, part := range chunks(t.text) {
		delta(event{content: true}, fill(more, part), nil)
	}
	delta(event{last: true}, []byte("{}"), t.finishReason(finishWords))
	if t.req.includeUsage {
		add(event{last: true}, []byte("[]"), chatUsage(t.use))
	}
	return append(out, event{data: data([]byte("[DONE]")), last: true})
}

func (openaiFace) header(id ids, _ time.Time) http.Header {
	return http.Header{
		"X-Request-Id":         {id.id("req_")},
		"Openai-Processing-Ms": {"12"},
		"Openai-Version":       {"2020-10-01"},
	}
}

func (openaiFace) unlimited(time.Time) http.Header {
	return http.Header{
		"X-Ratelimit-Limit-Requests":     {"500"},
		"X-Ratelimit-Limit-Tokens":       {"200000"},
		"X-Ratelimit-Remaining-Requests": {"499"},
		"X-Ratelimit-Remaining-Tokens":   {"199000"},
		"X-Ratelimit-Reset-Requests":     {"120ms"}, // as Go writes durations
		"X-Ratelimit-Reset-Tokens":       {"300ms"},
	}
}

func (openaiFace) waits(h http.Header, e apiError, f Fault, now time.Time) {
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

func (openaiFace) errors() []apiError { return openaiErrors }

func (openaiFace) kind(status int) string {
	if status >= http.StatusInternalServerError {
		return "server_error"
	}
	return "invalid_request_error"
}

// errorBody writes OpenAI's error object.
func (openaiFace) errorBody(e apiError, _ ids) []byte {
	return fill("{\n  \"error\": {\n    \"message\": %s,\n    \"type\": %s,\n    \"param\": %s,\n    \"code\": %s\n  }\n}",
		e.message, orNull(e.kind), orNull(e.param), orNull(e.wire))
}

func (chatFace) errorEvents(body []byte, _ int, _ *turn) [][]byte { return [][]byte{data(body)} }

// data writes a server-sent event without a name.
func data(text []byte) []byte { return append(append([]byte("data: "), text...), "\n\n"...) }

// namedData writes a server-sent event with a name.
func namedData(name string, text []byte) []byte {
	return append([]byte("event: "+name+"\n"), data(text)...)
}
