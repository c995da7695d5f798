package protocol

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
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
			i, choice.chatMessage(), choice.chatLogprobs(choice.text()), choice.finishWord(finishWords)))
	}
	return fill(`{"id":%s,"object":"chat.completion","created":%s,"model":%s,"choices":%s,"usage":%s,"service_tier":%s}`,
		t.ID("chatcmpl-"), t.Now.Unix(), t.Request.Model, list(written), raw(chatUsage(t.Usage)), t.tier())
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

// chatMessage writes the message. Thoughts are in a field that is not OpenAI's, but that of
// DeepSeek, llama.cpp and others (api-docs.deepseek.com/guides/reasoning_model).
func (t *Turn) chatMessage() raw {
	text, refusal := raw(marshal(t.text())), raw("null")
	calls, more := raw(""), raw(`,"annotations":[]`)
	switch all := t.calls(); {
	case len(all) > 0:
		var written [][]byte
		ids := t.numbered()
		for _, p := range all {
			written = append(written, fill(`{"id":%s,"type":"function","function":{"name":%s,"arguments":%s}}`, ids.call(p, "call_"), p.Name, p.Text))
		}
		calls, more = fill(`,"tool_calls":%s`, list(written)), nil
		if t.text() == "" {
			text = raw("null")
		}
	case t.Finish == FinishRefusal:
		text, refusal, more = raw("null"), text, nil
	}
	return fill(`{"role":"assistant","content":%s%s,"refusal":%s%s%s}`, text, calls, refusal, more, t.chatThoughts())
}

// chatThoughts writes the members of the message with the model's thoughts.
func (t *Turn) chatThoughts() raw {
	var thoughts []string
	var own raw
	for _, p := range t.Parts {
		switch p.Kind {
		case ThoughtPart:
			thoughts = append(thoughts, p.Text)
		case OwnPart:
			own = append(own, membersOf(p.Own)...)
		}
	}
	if len(thoughts) > 0 {
		own = append(own, fill(`,"reasoning_content":%s`, strings.Join(thoughts, "\n"))...)
	}
	return own
}

// membersOf returns the members of a JSON object, each after a comma.
func membersOf(object json.RawMessage) raw {
	inner := bytes.TrimSpace(object)
	inner = bytes.TrimSpace(bytes.TrimSuffix(bytes.TrimPrefix(inner, []byte("{")), []byte("}")))
	if len(inner) == 0 {
		return nil
	}
	return append(raw(","), inner...)
}

// chatLogprobs writes the probabilities of the tokens of the text, or of a piece of it.
// Arguments of a tool have none.
func (t *Turn) chatLogprobs(text string) raw {
	switch {
	case !t.Request.Logprobs || len(t.calls()) > 0:
		return raw("null")
	case t.Finish == FinishRefusal:
		return fill(`{"content":null,"refusal":%s}`, t.logprobs(text))
	}
	return fill(`{"content":%s,"refusal":null}`, t.logprobs(text))
}

func chatUsage(u Usage) []byte {
	return fill(`{"prompt_tokens":%s,"completion_tokens":%s,"total_tokens":%s,"prompt_tokens_details":{"cached_tokens":%s,"audio_tokens":%s%s},"completion_tokens_details":{"reasoning_tokens":%s,"audio_tokens":0,"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}}`,
		u.In, u.Out, u.In+u.Out, u.Cached, u.Audio, stored(u), u.Reasoning)
}

// stored is the member of OpenAI's usages for what was written to the cache, if anything was.
func stored(u Usage) raw {
	if u.Stored == 0 {
		return nil
	}
	return fill(`,"cache_write_tokens":%s`, u.Stored)
}

// Events writes the role, the content, the finish reason, the usage if requested, and the
// end. The pieces of several answers come by turns.
func (Chat) Events(t *Turn) []Event {
	var all []*chatStream
	var answers [][][]Event
	for i, choice := range t.choices() {
		s := newChatStream(choice, i)
		s.id = t.ID("chatcmpl-")
		all, answers = append(all, s), append(answers, rounds(s, choice.Parts))
		if len(choice.Parts) == 0 {
			answers[i] = [][]Event{s.role()}
		}
	}
	out := byTurns(answers)
	for _, s := range all {
		out = append(out, s.finish())
	}
	return append(out, all[0].last()...)
}

// Stream writes chunks of a completion.
func (Chat) Stream(t *Turn) Stream { return &live{streamSteps: newChatStream(t, 0)} }

// chatStream writes the chunks of one of several answers.
type chatStream struct {
	t      *Turn
	id     string // of the completion
	choice int
	ids    *numbered
	begun  bool
	calls  int
	texts  int
	joint  string // between the text before and the next piece
}

func newChatStream(t *Turn, choice int) *chatStream {
	return &chatStream{t: t, id: t.ID("chatcmpl-"), choice: choice, ids: t.numbered()}
}

func (s *chatStream) chunk(e Event, choices, use []byte) Event {
	e.Data = data(fill(`{"id":%s,"object":"chat.completion.chunk","created":%s,"model":%s,"choices":%s,"usage":%s,"service_tier":%s}`,
		s.id, s.t.Now.Unix(), s.t.Request.Model, raw(choices), raw(use), s.t.tier()))
	return e
}

func (s *chatStream) delta(e Event, delta []byte, logprobs raw, finish any) Event {
	return s.chunk(e, fill(`[{"index":%s,"delta":%s,"logprobs":%s,"finish_reason":%s}]`, s.choice, raw(delta), logprobs, finish), []byte("null"))
}

func (s *chatStream) start() []Event { return nil } // the role comes with the first part

// role writes the first delta of an answer without a call.
func (s *chatStream) role() []Event {
	if s.begun {
		return nil
	}
	s.begun = true
	delta := `{"role":"assistant","content":"","refusal":null}`
	if s.t.Finish == FinishRefusal {
		delta = `{"role":"assistant","content":null,"refusal":""}`
	}
	return []Event{s.delta(Event{}, []byte(delta), raw("null"), nil)}
}

func (s *chatStream) open(p Part) []Event {
	switch p.Kind {
	case CallPart:
		role := raw("")
		if !s.begun {
			s.begun, role = true, raw(`"role":"assistant","content":null,`)
		}
		return []Event{s.delta(Event{}, fill(`{%s"tool_calls":[{"index":%s,"id":%s,"type":"function","function":{"name":%s,"arguments":""}}]}`,
			role, s.calls, s.ids.call(p, "call_"), p.Name), raw("null"), nil)}
	case OwnPart:
		if more := membersOf(p.Own); len(more) > 0 {
			return append(s.role(), s.delta(Event{}, fill(`{%s}`, more[1:]), raw("null"), nil))
		}
	case TextPart:
		if s.texts++; s.texts > 1 {
			s.joint = "\n"
		}
	}
	return s.role()
}

func (s *chatStream) piece(p Part, text string) []Event {
	switch {
	case p.Kind == CallPart:
		return []Event{s.delta(Event{Content: true}, fill(`{"tool_calls":[{"index":%s,"function":{"arguments":%s}}]}`, s.calls, text), raw("null"), nil)}
	case p.Kind == ThoughtPart:
		return []Event{s.delta(Event{}, fill(`{"reasoning_content":%s}`, text), raw("null"), nil)}
	}
	text, s.joint = s.joint+text, ""
	delta := `{"content":%s}`
	if s.t.Finish == FinishRefusal {
		delta = `{"refusal":%s}`
	}
	return []Event{s.delta(Event{Content: true}, fill(delta, text), s.t.chatLogprobs(text), nil)}
}

func (s *chatStream) close(p Part) []Event {
	if p.Kind == CallPart {
		s.calls++
	}
	return nil
}

// finish writes why the answer ended.
func (s *chatStream) finish() Event {
	return s.delta(Event{Last: true}, []byte("{}"), raw("null"), s.t.finishWord(finishWords))
}

// last writes what follows the last answer.
func (s *chatStream) last() []Event {
	var out []Event
	if s.t.Request.IncludeUsage {
		out = append(out, s.chunk(Event{Last: true}, []byte("[]"), chatUsage(s.t.Usage)))
	}
	return append(out, Event{Data: data([]byte("[DONE]")), Last: true})
}

func (s *chatStream) end() []Event {
	return append(append(s.role(), s.finish()), s.last()...)
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
