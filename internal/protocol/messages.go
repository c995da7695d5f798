package protocol

import (
	"encoding/base64"
	"net/http"
	"time"
)

// Messages is Anthropic's messages (platform.claude.com/docs/en/api/messages
// and .../build-with-claude/streaming).
type Messages struct{}

// Name returns "anthropic".
func (Messages) Name() string { return "anthropic" }

var stopReasons = map[Finish]string{
	FinishStop: "end_turn", FinishLength: "max_tokens", FinishTool: "tool_use", FinishFilter: "refusal", FinishRefusal: "refusal",
}

// stopReason returns stop_reason, stop_sequence and stop_details.
func (t *Turn) stopReason() (reason, sequence any, details raw) {
	reason, details = t.finishWord(stopReasons), raw("null")
	if t.Ending != "" && reason == "end_turn" {
		reason, sequence = "stop_sequence", t.Ending
	}
	if reason == "refusal" && t.Plays {
		details = fill(`{"type":"refusal","category":"cyber","explanation":"This request was declined by the safety classifiers of this server."}`)
	}
	return reason, sequence, details
}

// anthropicUsage counts the tokens that were read from the cache or written to it apart.
func (t *Turn) anthropicUsage(out int) raw {
	u, service := t.Usage, raw("")
	if t.Plays {
		service = raw(`,"service_tier":"standard","inference_geo":"not_available"`)
	}
	return fill(`{"input_tokens":%s,"cache_creation_input_tokens":%s,"cache_read_input_tokens":%s,"cache_creation":{"ephemeral_5m_input_tokens":%s,"ephemeral_1h_input_tokens":%s},"output_tokens":%s,"output_tokens_details":{"thinking_tokens":%s}%s}`,
		u.In-u.Cached-u.Stored, u.Stored, u.Cached, u.Stored-u.Stored1h, u.Stored1h, out, min(u.Reasoning, out), service)
}

func (t *Turn) anthropicMessage(content []byte, reason, sequence any, details, use raw) raw {
	return fill(`{"model":%s,"id":%s,"type":"message","role":"assistant","content":%s,"stop_reason":%s,"stop_sequence":%s,"stop_details":%s,"usage":%s}`,
		t.Request.Model, t.ID("msg_01"), raw(content), reason, sequence, details, use)
}

const toolUseBlock = `{"type":"tool_use","id":%s,"name":%s,"input":%s,"caller":{"type":"direct"}}`

// anthropicContent returns the blocks of the answer.
func (t *Turn) anthropicContent() [][]byte {
	if t.Finish == FinishRefusal { // classifiers leave no text
		return nil
	}
	var blocks [][]byte
	ids := t.numbered()
	for _, p := range t.Parts {
		switch p.Kind {
		case ThoughtPart:
			blocks = append(blocks, fill(`{"type":"thinking","thinking":%s,"signature":%s}`, p.Text, p.Sign))
		case CallPart:
			input, _ := jsonObject(p.Text)
			blocks = append(blocks, fill(toolUseBlock, ids.call(p, "toolu_01"), p.Name, input))
		case OwnPart:
			blocks = append(blocks, p.Own)
		default:
			blocks = append(blocks, fill(`{"type":"text","text":%s}`, p.Text))
		}
	}
	return blocks
}

// Seal returns something that looks like a thought in encrypted form, for [Part.Sign].
func Seal(id IDs) string {
	return base64.StdEncoding.EncodeToString([]byte(id("sealed_") + id("thought_")))
}

// Whole writes a message.
func (Messages) Whole(t *Turn) []byte {
	reason, sequence, details := t.stopReason()
	return t.anthropicMessage(list(t.anthropicContent()), reason, sequence, details, t.anthropicUsage(t.Usage.Out))
}

// Events writes the beginning of the message, its blocks, and its end.
func (Messages) Events(t *Turn) []Event {
	parts := t.Parts
	if t.Finish == FinishRefusal {
		parts = nil
	}
	return streamOf(&anthropicStream{t: t, ids: t.numbered()}, parts)
}

// Stream writes the events of a message.
func (Messages) Stream(t *Turn) Stream {
	return &live{streamSteps: &anthropicStream{t: t, ids: t.numbered()}}
}

// anthropicStream writes the events of a stream.
type anthropicStream struct {
	t      *Turn
	ids    *numbered
	blocks int // that have begun
}

func anthropicEvent(e Event, name, template string, args ...any) Event {
	e.Data = namedData(name, fill(template, args...))
	return e
}

func (s *anthropicStream) start() []Event {
	return []Event{anthropicEvent(Event{}, "message_start", `{"type":"message_start","message":%s}`,
		s.t.anthropicMessage([]byte("[]"), nil, nil, raw("null"), s.t.anthropicUsage(1)))}
}

func ping() Event { return anthropicEvent(Event{}, "ping", `{"type": "ping"}`) }

// open begins a block. After the first one there is a ping.
func (s *anthropicStream) open(p Part) []Event {
	block := []byte(`{"type":"text","text":""}`)
	switch p.Kind {
	case ThoughtPart:
		block = []byte(`{"type":"thinking","thinking":"","signature":""}`)
	case CallPart:
		block = fill(toolUseBlock, s.ids.call(p, "toolu_01"), p.Name, raw("{}"))
	case OwnPart:
		block = p.Own
	}
	out := []Event{anthropicEvent(Event{}, "content_block_start", `{"type":"content_block_start","index":%s,"content_block":%s}`, s.blocks, raw(block))}
	if s.blocks++; s.blocks == 1 {
		out = append(out, ping())
	}
	return out
}

func (s *anthropicStream) piece(p Part, text string) []Event {
	switch p.Kind {
	case ThoughtPart:
		return []Event{s.delta(Event{}, `{"type":"thinking_delta","thinking":%s}`, text)}
	case CallPart:
		return []Event{s.delta(Event{Content: true}, `{"type":"input_json_delta","partial_json":%s}`, text)}
	}
	return []Event{s.delta(Event{Content: true}, `{"type":"text_delta","text":%s}`, text)}
}

func (s *anthropicStream) delta(e Event, template, part string) Event {
	return anthropicEvent(e, "content_block_delta", `{"type":"content_block_delta","index":%s,"delta":%s}`, s.blocks-1, raw(fill(template, part)))
}

func (s *anthropicStream) close(p Part) []Event {
	var out []Event
	if p.Kind == ThoughtPart && p.Sign != "" {
		out = append(out, s.delta(Event{}, `{"type":"signature_delta","signature":%s}`, p.Sign))
	}
	return append(out, anthropicEvent(Event{}, "content_block_stop", `{"type":"content_block_stop","index":%s}`, s.blocks-1))
}

func (s *anthropicStream) end() []Event {
	var out []Event
	if s.blocks == 0 {
		out = append(out, ping())
	}
	reason, sequence, details := s.t.stopReason()
	u := s.t.Usage
	return append(out,
		anthropicEvent(Event{Last: true}, "message_delta", `{"type":"message_delta","delta":{"stop_reason":%s,"stop_sequence":%s,"stop_details":%s},"usage":{"input_tokens":%s,"cache_creation_input_tokens":%s,"cache_read_input_tokens":%s,"output_tokens":%s,"output_tokens_details":{"thinking_tokens":%s}}}`,
			reason, sequence, details, u.In-u.Cached-u.Stored, u.Stored, u.Cached, u.Out, u.Reasoning),
		anthropicEvent(Event{Last: true}, "message_stop", `{"type":"message_stop"}`))
}

// Header returns the request's identifier and the organization.
func (Messages) Header(id IDs) http.Header {
	return http.Header{
		"Request-Id":                {anthropicRequest(id)},
		"Anthropic-Organization-Id": {"00000000-0000-4000-8000-000000000000"},
	}
}

// anthropicRequest returns the identifier of a request, for the header and for errors.
func anthropicRequest(id IDs) string { return id("req_01") }

// LimitHeader returns the anthropic-ratelimit headers, with the time in RFC 3339, rounded
// up to a second.
func (Messages) LimitHeader(which string, r Room, now time.Time) http.Header {
	prefix := "Anthropic-Ratelimit-" + which
	return http.Header{
		http.CanonicalHeaderKey(prefix + "-Limit"):     decimal(r.Limit),
		http.CanonicalHeaderKey(prefix + "-Remaining"): decimal(r.Remaining),
		http.CanonicalHeaderKey(prefix + "-Reset"):     {AnthropicTime(now.Add(r.Reset))},
	}
}

// AnthropicTime returns a time in the form of Anthropic's headers: RFC 3339, rounded up to
// a second.
func AnthropicTime(t time.Time) string {
	return t.Add(time.Second - 1).UTC().Truncate(time.Second).Format(time.RFC3339)
}

// Kind returns the error's type.
func (Messages) Kind(status int) string {
	switch {
	case status == http.StatusNotFound:
		return "not_found_error"
	case status == http.StatusRequestEntityTooLarge:
		return "request_too_large"
	case status >= http.StatusInternalServerError:
		return "api_error"
	}
	return "invalid_request_error"
}

// ErrorBody writes an error with the identifier of its request.
func (Messages) ErrorBody(e *Error, id IDs) []byte {
	message, details := e.Message, raw("null")
	if e.Param != "" {
		message = e.Param + ": " + message
	}
	if e.Details != "" {
		details = raw(e.Details)
	}
	return fill(`{"type":"error","error":{"details":%s,"type":%s,"message":%s},"request_id":%s}`, details, e.Kind, message, anthropicRequest(id))
}

// ErrorEvents writes the error as an event of its own.
func (Messages) ErrorEvents(body []byte, _ int, _ *Turn) [][]byte {
	return [][]byte{namedData("error", body)}
}
