package chaos

import (
	"net/http"
	"strconv"
	"time"
)

// anthropicFace is Anthropic's messages (platform.claude.com/docs/en/api/messages
// and .../build-with-claude/streaming).
type anthropicFace struct{}

var stopReasons = map[finish]string{
	finishStop: "end_turn", finishLength: "max_tokens", finishTool: "tool_use", finishFilter: "refusal", finishRefusal: "refusal",
}

// stopReason returns stop_reason, stop_sequence and stop_details.
func (t *turn) stopReason() (reason, sequence any, details raw) {
	reason, details = t.finishReason(stopReasons), raw("null")
	if t.ending != "" && reason == "end_turn" {
		reason, sequence = "stop_sequence", t.ending
	}
	if reason == "refusal" {
		details = fill(`{"type":"refusal","category":"cyber","explanation":"This request was declined by the safety classifiers of this server."}`)
	}
	return reason, sequence, details
}

// anthropicUsage counts the cached tokens apart from the others.
func anthropicUsage(u usage, out int) raw {
	return fill(`{"input_tokens":%s,"cache_creation_input_tokens":0,"cache_read_input_tokens":%s,"cache_creation":{"ephemeral_5m_input_tokens":0,"ephemeral_1h_input_tokens":0},"output_tokens":%s,"output_tokens_details":{"thinking_tokens":%s},"service_tier":"standard","inference_geo":"not_available"}`,
		u.in-u.cached, u.cached, out, min(u.reasoning, out))
}

func (t *turn) anthropicMessage(content []byte, reason, sequence any, details, use raw) raw {
	return fill(`{"model":%s,"id":%s,"type":"message","role":"assistant","content":%s,"stop_reason":%s,"stop_sequence":%s,"stop_details":%s,"usage":%s}`,
		t.req.model, t.id.id("msg_01"), raw(content), reason, sequence, details, use)
}

const toolUseBlock = `{"type":"tool_use","id":%s,"name":%s,"input":%s,"caller":{"type":"direct"}}`

func (anthropicFace) whole(t *turn) []byte {
	content := []byte("[]")
	switch {
	case t.finish == finishRefusal: // classifiers leave no text
	case t.tool != "":
		input, _ := jsonObject(t.text)
		content = fill("["+toolUseBlock+"]", t.id.id("toolu_01"), t.tool, input)
	case t.text != "":
		content = fill(`[{"type":"text","text":%s}]`, t.text)
	}
	reason, sequence, details := t.stopReason()
	return t.anthropicMessage(content, reason, sequence, details, anthropicUsage(t.use, t.use.out))
}

func (anthropicFace) events(t *turn) []event {
	var out []event
	add := func(e event, name, template string, args ...any) {
		e.data = namedData(name, fill(template, args...))
		out = append(out, e)
	}
	add(event{}, "message_start", `{"type":"message_start","message":%s}`, t.anthropicMessage([]byte("[]"), nil, nil, raw("null"), anthropicUsage(t.use, 1)))
	block, delta := []byte(`{"type":"text","text":""}`), `{"type":"text_delta","text":%s}`
	if t.tool != "" {
		block, delta = fill(toolUseBlock, t.id.id("toolu_01"), t.tool, raw("{}")), `{"type":"input_json_delta","partial_json":%s}`
	}
	ping := func() { add(event{}, "ping", `{"type": "ping"}`) }
	if t.text == "" || t.finish == finishRefusal {
		ping()
	} else {
		add(event{}, "content_block_start", `{"type":"content_block_start","index":0,"content_block":%s}`, raw(block))
		ping()
		for _, part := range chunks(t.text) {
			add(event{content: true}, "content_block_delta", `{"type":"content_block_delta","index":0,"delta":%s}`, raw(fill(delta, part)))
		}
		add(event{}, "content_block_stop", `{"type":"content_block_stop","index":0}`)
	}
	reason, sequence, details := t.stopReason()
	u := t.use
	add(event{last: true}, "message_delta", `{"type":"message_delta","delta":{"stop_reason":%s,"stop_sequence":%s,"stop_details":%s},"usage":{"input_tokens":%s,"cache_creation_input_tokens":0,"cache_read_input_tokens":%s,"output_tokens":%s,"output_tokens_details":{"thinking_tokens":%s}}}`,
		reason, sequence, details, u.in-u.cached, u.cached, u.out, u.reasoning)
	add(event{last: true}, "message_stop", `{"type":"message_stop"}`)
	return out
}

// anthropicLimits are the limits that each response tells of.
var anthropicLimits = []struct {
	name        string
	limit, left int
}{{requestLimit, 50, 49}, {tokenLimit, 38000, 37000}, {inputLimit, 30000, 29000}, {"output-tokens", 8000, 8000}}

func (anthropicFace) header(id ids, _ time.Time) http.Header {
	return http.Header{
		"Request-Id":                {anthropicRequest(id)},
		"Anthropic-Organization-Id": {"00000000-0000-4000-8000-000000000000"},
	}
}

func (anthropicFace) unlimited(now time.Time) http.Header {
	h := http.Header{}
	for _, l := range anthropicLimits {
		h.Set("Anthropic-Ratelimit-"+l.name+"-Limit", strconv.Itoa(l.limit))
		h.Set("Anthropic-Ratelimit-"+l.name+"-Remaining", strconv.Itoa(l.left))
		h.Set("Anthropic-Ratelimit-"+l.name+"-Reset", anthropicTime(now.Add(time.Second)))
	}
	return h
}

func (anthropicFace) waits(h http.Header, e apiError, f Fault, now time.Time) {
	if which, left, ok := e.limitLeft(f); ok {
		h.Set("Anthropic-Ratelimit-"+which+"-Remaining", "0")
		h.Set("Anthropic-Ratelimit-"+which+"-Reset", anthropicTime(now.Add(left)))
	}
	retryHeaders(h, e, f, now)
}

// anthropicTime writes a time in RFC 3339, rounded up to a second.
func anthropicTime(t time.Time) string {
	return roundedUp(t).Format(time.RFC3339)
}

// anthropicRequest is the identifier of a request, in the header and in errors.
func anthropicRequest(id ids) string { return id.id("req_01") }

func (anthropicFace) errors() []apiError { return anthropicErrors }

func (anthropicFace) kind(status int) string {
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

func (anthropicFace) errorBody(e apiError, id ids) []byte {
	message, details := e.message, raw("null")
	if e.param != "" {
		message = e.param + ": " + message
	}
	if e.details != "" {
		details = raw(e.details)
	}
	return fill(`{"type":"error","error":{"details":%s,"type":%s,"message":%s},"request_id":%s}`, details, e.kind, message, anthropicRequest(id))
}

func (anthropicFace) errorEvents(body []byte, _ int, _ *turn) [][]byte {
	return [][]byte{namedData("error", body)}
}
