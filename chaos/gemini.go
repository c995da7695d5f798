package chaos

import (
	"cmp"
	"net/http"
	"slices"
	"strings"
	"time"
)

// geminiFace is the Gemini API's generateContent
// (ai.google.dev/api/generate-content).
type geminiFace struct{}

var geminiFinish = map[finish]string{
	finishStop: "STOP", finishTool: "STOP", finishLength: "MAX_TOKENS", finishFilter: "SAFETY",
}

const safetyRatings = `[{"category":"HARM_CATEGORY_DANGEROUS_CONTENT","probability":"HIGH","blocked":true}]`

// candidate writes an answer or a part of it. members are added to it.
func (t *turn) candidate(parts []byte, members ...[]byte) []byte {
	more := slices.Concat(members...)
	return t.geminiResponse(fill(`"candidates":[{"content":{"parts":%s,"role":"model"}%s,"index":0}]`, raw(parts), raw(more)))
}

// geminiResponse writes a response around its first member. As protocol buffers
// do, it leaves out a count of 0.
func (t *turn) geminiResponse(member []byte) []byte {
	u, special := t.use, raw(nil)
	if u.cached > 0 {
		special = fill(`,"cachedContentTokenCount":%s`, u.cached)
	}
	if u.reasoning > 0 {
		special = append(special, fill(`,"thoughtsTokenCount":%s`, u.reasoning)...)
	}
	return fill(`{%s,"usageMetadata":{"promptTokenCount":%s,"candidatesTokenCount":%s,"totalTokenCount":%s,"promptTokensDetails":[{"modality":"TEXT","tokenCount":%s}]%s},"modelVersion":%s,"responseId":%s}`,
		raw(member), u.in, u.out-u.reasoning, u.in+u.out, u.in, special, t.req.model, t.id.id(""))
}

// finished are the members of a candidate that say why it ended.
func (t *turn) finished() []byte {
	reason := t.finishReason(geminiFinish)
	if t.tool != "" && t.native == "" && t.finish == finishTool {
		if _, ok := jsonObject(t.text); !ok {
			reason = "MALFORMED_FUNCTION_CALL"
		}
	}
	switch reason {
	case nil:
		return nil
	case "SAFETY":
		return fill(`,"finishReason":"SAFETY","safetyRatings":%s`, raw(safetyRatings))
	case "MALFORMED_FUNCTION_CALL":
		return fill(`,"finishReason":"MALFORMED_FUNCTION_CALL","finishMessage":%s`, "Malformed function call: "+t.text)
	}
	return fill(`,"finishReason":%s`, reason)
}

// blocked is the response to a prompt that is not answered.
func (t *turn) blocked() []byte {
	return t.geminiResponse(fill(`"promptFeedback":{"blockReason":%s}`, cmp.Or(t.native, "PROHIBITED_CONTENT")))
}

// functionCall writes a call, or nothing if the arguments are no object: Gemini
// leaves out a call that it can't read.
func (t *turn) functionCall() []byte {
	arguments, ok := jsonObject(t.text)
	if !ok {
		return []byte("[]")
	}
	return fill(`[{"functionCall":{"id":%s,"name":%s,"args":%s}}]`, t.id.id(""), t.tool, arguments)
}

func (geminiFace) whole(t *turn) []byte {
	parts := fill(`[{"text":%s}]`, t.text)
	switch {
	case t.finish == finishRefusal:
		return t.blocked()
	case t.tool != "":
		parts = t.functionCall()
	case t.text == "":
		parts = []byte("[]")
	}
	return t.candidate(parts, t.finished())
}

func (geminiFace) events(t *turn) []event {
	var out []event
	add := func(e event, response []byte) {
		// Google ends lines as HTTP does.
		e.data = slices.Concat([]byte("data: "), response, []byte("\r\n\r\n"))
		out = append(out, e)
	}
	switch {
	case t.finish == finishRefusal:
		add(event{content: true}, t.blocked())
		return out
	case t.tool != "":
		add(event{content: true}, t.candidate(t.functionCall()))
	default:
		for _, part := range chunks(t.text) {
			add(event{content: true}, t.candidate(fill(`[{"text":%s}]`, part)))
		}
	}
	add(event{last: true}, t.candidate([]byte(`[{"text":""}]`), t.finished()))
	return out
}

func (geminiFace) header(ids, time.Time) http.Header {
	return http.Header{
		"Server":                 {"scaffolding on HTTPServer2"},
		"Vary":                   {"Origin", "X-Origin", "Referer"},
		"X-Content-Type-Options": {"nosniff"},
	}
}

func (geminiFace) unlimited(time.Time) http.Header { return nil }

// waits adds nothing: Gemini tells of waits in the body.
func (geminiFace) waits(http.Header, apiError, Fault, time.Time) {}

func (geminiFace) errors() []apiError { return geminiErrors }

// kind is the canonical code of a status (google/rpc/code.proto).
func (geminiFace) kind(status int) string {
	switch status {
	case http.StatusUnauthorized:
		return "UNAUTHENTICATED"
	case http.StatusForbidden:
		return "PERMISSION_DENIED"
	case http.StatusNotFound:
		return "NOT_FOUND"
	case http.StatusConflict:
		return "ABORTED"
	case 499:
		return "CANCELLED"
	case http.StatusNotImplemented:
		return "UNIMPLEMENTED"
	}
	if status >= http.StatusInternalServerError {
		return "INTERNAL"
	}
	return "INVALID_ARGUMENT"
}

func (geminiFace) errorBody(e apiError, _ ids) []byte {
	message := e.message
	if e.param != "" {
		message = "* GenerateContentRequest." + e.param + ": " + message
	}
	var details []string
	if e.details != "" {
		details = append(details, e.details)
	}
	if told := e.told; told != "" || e.limited != "" {
		if told == "" {
			told = seconds(e.wait)
		}
		details = append(details, string(fill(`{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":%s}`, told)))
	}
	list := raw("")
	if len(details) > 0 {
		list = fill(`,"details":[%s]`, raw(strings.Join(details, ",")))
	}
	return fill(`{"error":{"code":%s,"message":%s,"status":%s%s}}`, e.number, message, e.kind, list)
}

func (geminiFace) errorEvents(body []byte, _ int, _ *turn) [][]byte {
	return [][]byte{slices.Concat([]byte("data: "), body, []byte("\r\n\r\n"))}
}
