package protocol

import (
	"cmp"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Gemini is the Gemini API's generateContent
// (ai.google.dev/api/generate-content).
type Gemini struct{}

// Name returns "gemini".
func (Gemini) Name() string { return "gemini" }

var geminiFinish = map[Finish]string{
	FinishStop: "STOP", FinishTool: "STOP", FinishLength: "MAX_TOKENS", FinishFilter: "SAFETY",
}

const safetyRatings = `[{"category":"HARM_CATEGORY_DANGEROUS_CONTENT","probability":"HIGH","blocked":true}]`

// candidate writes an answer or a part of it, with further members.
func candidate(index int, parts [][]byte, members ...[]byte) []byte {
	return fill(`{"content":{"parts":%s,"role":"model"}%s,"index":%s}`, list(parts), raw(slices.Concat(members...)), index)
}

// withCandidates writes a response.
func (t *Turn) withCandidates(candidates ...[]byte) []byte {
	return t.geminiResponse(fill(`"candidates":%s`, list(candidates)))
}

// geminiResponse writes a response around its first member. It leaves out a count of 0,
// as protocol buffers do.
func (t *Turn) geminiResponse(member []byte) []byte {
	u, special := t.Usage, raw(nil)
	if u.Cached > 0 {
		special = fill(`,"cachedContentTokenCount":%s`, u.Cached)
	}
	if u.Reasoning > 0 {
		special = append(special, fill(`,"thoughtsTokenCount":%s`, u.Reasoning)...)
	}
	return fill(`{%s,"usageMetadata":{"promptTokenCount":%s,"candidatesTokenCount":%s,"totalTokenCount":%s,"promptTokensDetails":[{"modality":"TEXT","tokenCount":%s}]%s},"modelVersion":%s,"responseId":%s}`,
		raw(member), u.In, u.Out-u.Reasoning, u.In+u.Out, u.In, special, t.Request.Model, t.ID(""))
}

// finished returns the members of a candidate that say why it ended.
func (t *Turn) finished() []byte {
	reason := t.finishWord(geminiFinish)
	if t.Tool != "" && t.Native == "" && t.Finish == FinishTool {
		if _, ok := jsonObject(t.Text); !ok {
			reason = "MALFORMED_FUNCTION_CALL"
		}
	}
	switch reason {
	case nil:
		return nil
	case "SAFETY":
		return fill(`,"finishReason":"SAFETY","safetyRatings":%s`, raw(safetyRatings))
	case "MALFORMED_FUNCTION_CALL":
		return fill(`,"finishReason":"MALFORMED_FUNCTION_CALL","finishMessage":%s`, "Malformed function call: "+t.Text)
	}
	return fill(`,"finishReason":%s`, reason)
}

// blocked returns the response to a prompt that is not answered.
func (t *Turn) blocked() []byte {
	return t.geminiResponse(fill(`"promptFeedback":{"blockReason":%s}`, cmp.Or(t.Native, "PROHIBITED_CONTENT")))
}

// functionCall writes a call, or nothing if the arguments are not an object: Gemini
// leaves out a call that it can't read. Gemini 3 wants a call back with its signature
// (ai.google.dev/gemini-api/docs/thought-signatures).
func (t *Turn) functionCall() [][]byte {
	arguments, ok := jsonObject(t.Text)
	if !ok {
		return nil
	}
	return [][]byte{fill(`{"functionCall":{"id":%s,"name":%s,"args":%s},"thoughtSignature":%s}`, t.ID(""), t.Tool, arguments, t.seal())}
}

func textPart(text string) []byte    { return fill(`{"text":%s}`, text) }
func thoughtPart(text string) []byte { return fill(`{"text":%s,"thought":true}`, text) }

// geminiParts are the parts of an answer.
func (t *Turn) geminiParts() [][]byte {
	var parts [][]byte
	if t.Thought != "" {
		parts = append(parts, thoughtPart(t.Thought))
	}
	switch {
	case t.Tool != "":
		return append(parts, t.functionCall()...)
	case t.Text != "":
		parts = append(parts, textPart(t.Text))
	}
	return parts
}

// logprobsResult is the member of a candidate with the probabilities of the tokens in
// parts of its text.
func (t *Turn) logprobsResult(parts ...string) []byte {
	if !t.Request.Logprobs || t.Tool != "" {
		return nil
	}
	var chosen, top [][]byte
	for _, token := range tokensOf(parts) {
		of := likely(token)
		chosen = append(chosen, of[0].gemini())
		var all [][]byte
		for _, other := range of[:min(len(of), t.Request.TopLogprobs)] {
			all = append(all, other.gemini())
		}
		top = append(top, fill(`{"candidates":%s}`, list(all)))
	}
	return fill(`,"logprobsResult":{"topCandidates":%s,"chosenCandidates":%s}`, list(top), list(chosen))
}

// Whole writes a response.
func (Gemini) Whole(t *Turn) []byte {
	if t.Finish == FinishRefusal {
		return t.blocked()
	}
	var candidates [][]byte
	for i, choice := range t.choices() {
		candidates = append(candidates, candidate(i, choice.geminiParts(), choice.finished(), choice.logprobsResult(chunks(choice.Text)...)))
	}
	return t.withCandidates(candidates...)
}

// Events writes a response for each piece. The pieces of several answers come by turns.
func (Gemini) Events(t *Turn) []Event {
	var out []Event
	add := func(e Event, response []byte) {
		// Google ends lines as HTTP does.
		e.Data = slices.Concat([]byte("data: "), response, []byte("\r\n\r\n"))
		out = append(out, e)
	}
	if t.Finish == FinishRefusal {
		add(Event{Content: true}, t.blocked())
		return out
	}
	for _, part := range chunks(t.Thought) {
		add(Event{}, t.withCandidates(candidate(0, [][]byte{thoughtPart(part)})))
	}
	choices := t.choices()
	for _, p := range byTurns(choices) {
		switch choice := choices[p.choice]; {
		case choice.Tool == "":
			add(Event{Content: true}, t.withCandidates(candidate(p.choice, [][]byte{textPart(p.text)}, choice.logprobsResult(p.text))))
		case p.first: // a call comes in one piece
			add(Event{Content: true}, t.withCandidates(candidate(p.choice, choice.functionCall())))
		}
	}
	for i, choice := range choices {
		add(Event{Last: true}, t.withCandidates(candidate(i, [][]byte{textPart("")}, choice.finished())))
	}
	return out
}

// Header returns the headers of Google's servers.
func (Gemini) Header(IDs) http.Header {
	return http.Header{
		"Server":                 {"scaffolding on HTTPServer2"},
		"Vary":                   {"Origin", "X-Origin", "Referer"},
		"X-Content-Type-Options": {"nosniff"},
	}
}

// LimitHeader returns nil: Gemini has no headers for limits.
func (Gemini) LimitHeader(string, Room, time.Time) http.Header { return nil }

// Kind returns the canonical code of a status (google/rpc/code.proto).
func (Gemini) Kind(status int) string {
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

// ErrorBody writes an error. The time to wait is in the details.
func (Gemini) ErrorBody(e *Error, _ IDs) []byte {
	message := e.Message
	if e.Param != "" {
		message = "* GenerateContentRequest." + e.Param + ": " + message
	}
	var details []string
	if e.Details != "" {
		details = append(details, e.Details)
	}
	if e.Wait != "" {
		details = append(details, string(fill(`{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":%s}`, e.Wait)))
	}
	member := raw("")
	if len(details) > 0 {
		member = fill(`,"details":[%s]`, raw(strings.Join(details, ",")))
	}
	return fill(`{"error":{"code":%s,"message":%s,"status":%s%s}}`, e.HTTPStatus(), message, e.Kind, member)
}

// ErrorEvents writes the error as an event.
func (Gemini) ErrorEvents(body []byte, _ int, _ *Turn) [][]byte {
	return [][]byte{slices.Concat([]byte("data: "), body, []byte("\r\n\r\n"))}
}
