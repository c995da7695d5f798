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
// as protocol buffers do, and a usage that is not known.
func (t *Turn) geminiResponse(member []byte) []byte {
	usage := raw(nil)
	if t.Usage != (Usage{}) {
		usage = geminiUsage(t.Usage)
	}
	return fill(`{%s%s,"modelVersion":%s,"responseId":%s}`, raw(member), usage, t.Request.Model, t.ID(""))
}

// geminiUsage writes the usage, as a member.
func geminiUsage(u Usage) raw {
	special := raw(nil)
	if u.Cached > 0 {
		special = fill(`,"cachedContentTokenCount":%s`, u.Cached)
	}
	if u.CachedAudio > 0 {
		special = append(special, fill(`,"cacheTokensDetails":%s`, modalities(u.Cached-u.CachedAudio, u.CachedAudio))...)
	}
	if u.Reasoning > 0 {
		special = append(special, fill(`,"thoughtsTokenCount":%s`, u.Reasoning)...)
	}
	return fill(`,"usageMetadata":{"promptTokenCount":%s,"candidatesTokenCount":%s,"totalTokenCount":%s,"promptTokensDetails":%s%s}`,
		u.In, u.Out-u.Reasoning, u.In+u.Out, modalities(u.In-u.Audio, u.Audio), special)
}

// modalities are the parts of a count.
func modalities(text, audio int) raw {
	all := [][]byte{fill(`{"modality":"TEXT","tokenCount":%s}`, text)}
	if audio > 0 {
		all = append(all, fill(`{"modality":"AUDIO","tokenCount":%s}`, audio))
	}
	return list(all)
}

// finished returns the members of a candidate that say why it ended.
func (t *Turn) finished(calls []Part) []byte {
	reason := t.finishWord(geminiFinish)
	malformed := ""
	if t.Native == "" && t.Finish == FinishTool {
		for _, p := range calls {
			if _, ok := jsonObject(p.Text); !ok {
				reason, malformed = "MALFORMED_FUNCTION_CALL", p.Text
			}
		}
	}
	switch {
	case reason == nil:
		return nil
	case reason == "SAFETY" && t.Plays:
		return fill(`,"finishReason":"SAFETY","safetyRatings":%s`, raw(safetyRatings))
	case reason == "MALFORMED_FUNCTION_CALL":
		return fill(`,"finishReason":"MALFORMED_FUNCTION_CALL","finishMessage":%s`, "Malformed function call: "+malformed)
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
func functionCall(p Part, ids *numbered) [][]byte {
	arguments, ok := jsonObject(p.Text)
	if !ok {
		return nil
	}
	sign := raw(nil)
	if p.Sign != "" {
		sign = fill(`,"thoughtSignature":%s`, p.Sign)
	}
	return [][]byte{fill(`{"functionCall":{"id":%s,"name":%s,"args":%s}%s}`, ids.call(p, ""), p.Name, arguments, sign)}
}

func textPart(text string) []byte    { return fill(`{"text":%s}`, text) }
func thoughtPart(text string) []byte { return fill(`{"text":%s,"thought":true}`, text) }

// geminiParts are the parts of an answer.
func (t *Turn) geminiParts() [][]byte {
	var parts [][]byte
	ids := t.numbered()
	for _, p := range t.Parts {
		switch {
		case p.Kind == CallPart:
			parts = append(parts, functionCall(p, ids)...)
		case p.Kind == OwnPart:
			parts = append(parts, p.Own)
		case p.Text == "":
		case p.Kind == ThoughtPart:
			parts = append(parts, thoughtPart(p.Text))
		default:
			parts = append(parts, textPart(p.Text))
		}
	}
	return parts
}

// logprobsResult is the member of a candidate with the probabilities of the tokens of its
// text, or of a piece of it.
func (t *Turn) logprobsResult(text string) []byte {
	if !t.Request.Logprobs || len(t.calls()) > 0 {
		return nil
	}
	var chosen, top [][]byte
	for _, token := range split(text, tokenRunes) {
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
		candidates = append(candidates, candidate(i, choice.geminiParts(), choice.finished(choice.calls()), choice.logprobsResult(choice.text())))
	}
	return t.withCandidates(candidates...)
}

// Events writes a response for each piece. The pieces of several answers come by turns,
// after the thoughts of the first.
func (Gemini) Events(t *Turn) []Event {
	if t.Finish == FinishRefusal {
		return []Event{geminiEvent(Event{Content: true}, t.blocked())}
	}
	var out, ends []Event
	var answers [][][]Event
	for i, choice := range t.choices() {
		s := &geminiStream{of: t, t: choice, choice: i, ids: choice.numbered()}
		parts := choice.Parts
		if len(parts) > 0 && parts[0].Kind == ThoughtPart {
			out = append(out, byTurns([][][]Event{rounds(s, parts[:1])})...)
			parts = parts[1:]
		}
		answers = append(answers, rounds(s, parts))
		ends = append(ends, s.end()...)
	}
	return slices.Concat(out, byTurns(answers), ends)
}

// Stream writes responses with a piece each.
func (Gemini) Stream(t *Turn) Stream {
	return &live{streamSteps: &geminiStream{of: t, t: t, ids: t.numbered()}}
}

// geminiStream writes the responses for one of several answers.
type geminiStream struct {
	of     *Turn // with all answers
	t      *Turn // with this one
	choice int
	ids    *numbered
	calls  []Part
}

// geminiEvent writes an event. Google ends lines as HTTP does.
func geminiEvent(e Event, response []byte) Event {
	e.Data = slices.Concat([]byte("data: "), response, []byte("\r\n\r\n"))
	return e
}

func (s *geminiStream) response(e Event, parts [][]byte, members ...[]byte) []Event {
	return []Event{geminiEvent(e, s.of.withCandidates(candidate(s.choice, parts, members...)))}
}

func (s *geminiStream) start() []Event { return nil }

// open writes a part that comes in one piece.
func (s *geminiStream) open(p Part) []Event {
	switch {
	case p.Kind == OwnPart:
		return s.response(Event{}, [][]byte{p.Own})
	case p.Kind == CallPart && p.Text != "":
		s.calls = append(s.calls, p)
		return s.response(Event{Content: true}, functionCall(p, s.ids))
	}
	return nil
}

func (s *geminiStream) piece(p Part, text string) []Event {
	switch p.Kind {
	case TextPart:
		return s.response(Event{Content: true}, [][]byte{textPart(text)}, s.t.logprobsResult(text))
	case ThoughtPart:
		return s.response(Event{}, [][]byte{thoughtPart(text)})
	}
	return nil
}

func (s *geminiStream) close(Part) []Event { return nil }

func (s *geminiStream) end() []Event {
	return s.response(Event{Last: true}, [][]byte{textPart("")}, s.t.finished(s.calls))
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
