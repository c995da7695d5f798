package classify

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// problem is what a provider says went wrong, in the words that all of them
// have in some form.
type problem struct {
	Status   int // HTTP status; or a number of that sort in the body of a 200; or 0
	Code     string
	Type     string
	Reason   string   // what is more precise than the code: Google's ErrorInfo, Anthropic's error_code
	Quotas   []string // Google's QuotaFailure: which limits
	Message  string
	Told     bool // it said when to come back
	NoCredit bool // its headers say that there is no credit left
	// Foreign says that the body is not JSON, or is empty: the words are those of a
	// proxy, say, and no provider's.
	Foreign bool
	// Delay is when the body says to come back, if it does: Google's RetryInfo.
	Delay   time.Duration
	Delayed bool
	// Written is what the model wrote, where that is the problem: Groq's
	// failed_generation.
	Written string
	// Header is what the body repeats of a header: OpenRouter's, where an error
	// comes in a stream, say.
	Header http.Header
}

// readProblem reads the body that came with an error status. There is no
// telling what a server or a proxy before it sends: OpenAI's {"error": {...}},
// the same in a list (Gemini), {"error": "text"} (Ollama), the fields of the
// error at the top (older vLLM), {"detail": ...} (FastAPI), a page of HTML,
// nothing. What is not JSON becomes the message as it is.
func readProblem(body []byte) problem {
	var top struct {
		Error  json.RawMessage `json:"error"`
		Detail json.RawMessage `json:"detail"`
	}
	text := bytes.TrimSpace(body)
	if bytes.HasPrefix(text, []byte("[")) {
		var list []json.RawMessage
		if json.Unmarshal(text, &list) == nil && len(list) > 0 {
			text = list[0]
		}
	}
	if json.Unmarshal(text, &top) != nil {
		return problem{Message: string(body)}
	}
	if p, ok := readError(top.Error); ok {
		return p
	}
	if p, ok := readError(text); ok && p.Message != "" {
		return p
	}
	if detail := cmp.Or(faults(top.Detail), plain(top.Detail)); detail != "" {
		return problem{Message: detail}
	}
	return problem{Message: string(body)}
}

// faults reads FastAPI's list of what is wrong with a request. Beside each fault
// it has the part of the request that is at fault, which is the caller's prompt.
func faults(raw json.RawMessage) string {
	var list []struct {
		Where []any  `json:"loc"`
		What  string `json:"msg"`
	}
	if json.Unmarshal(raw, &list) != nil {
		return ""
	}
	var all []string
	for _, fault := range list {
		if fault.What == "" {
			continue
		}
		var where []string
		for _, step := range fault.Where {
			where = append(where, fmt.Sprint(step))
		}
		all = append(all, strings.TrimPrefix(strings.Join(where, ".")+": "+fault.What, ": "))
	}
	return strings.Join(all, "; ")
}

// readInner reads the error that a body holds that may also be an answer: under
// "error" or "errors", or at the top of a body that says that it is one.
func readInner(body []byte) (problem, bool) {
	text := bytes.TrimSpace(body)
	if !bytes.HasPrefix(text, []byte("{")) || !mayHold(text) {
		return problem{}, false
	}
	return readTop(text)
}

// readTop reads the error that an object holds.
func readTop(text []byte) (problem, bool) {
	var top struct {
		Error  json.RawMessage   `json:"error"`
		Errors []json.RawMessage `json:"errors"` // Cloudflare
		Type   json.RawMessage   `json:"type"`
		Object json.RawMessage   `json:"object"` // older vLLM, and servers made from it
		Status json.RawMessage   `json:"status"`
	}
	// A field of an odd type leaves the others.
	if _, broken := errors.AsType[*json.SyntaxError](json.Unmarshal(text, &top)); broken {
		return problem{}, false
	}
	if flag := string(top.Error); flag != "true" && flag != "false" {
		if p, ok := readError(top.Error); ok {
			return p, true
		}
	}
	if len(top.Errors) > 0 {
		if p, ok := readError(top.Errors[0]); ok {
			return p, true
		}
	}
	// The type: OpenAI's Responses, with the error's fields at the top of the event.
	if plain(top.Type) != "error" && plain(top.Object) != "error" && plain(top.Status) != "error" && string(top.Error) != "true" {
		return problem{}, false
	}
	p, _ := readError(text)
	return p, p.Code != "" || p.Message != ""
}

// mayHold reports whether JSON may hold an error: all forms have the word, in a name, of which
// the case does not matter, or as a value. Most answers don't, and are not parsed for it.
func mayHold(text []byte) bool {
	for i := 0; i+len("error") <= len(text); i++ {
		switch text[i] {
		case 'e', 'E':
			if bytes.EqualFold(text[i:i+len("error")], []byte("error")) {
				return true
			}
		case '\\':
			if text[i+1] == 'u' { // may write any letter
				return true
			}
		}
	}
	return false
}

// readError reads what is under "error"; ok is false if that says nothing.
func readError(raw json.RawMessage) (p problem, ok bool) {
	var fields struct {
		Code     json.RawMessage `json:"code"`
		Type     json.RawMessage `json:"type"`
		Status   json.RawMessage `json:"status"` // Gemini's name for the type
		Message  json.RawMessage `json:"message"`
		Msg      json.RawMessage `json:"msg"`
		Detail   json.RawMessage `json:"detail"`
		Failed   json.RawMessage `json:"failed_generation"`
		Metadata struct {
			Raw     json.RawMessage            `json:"raw"` // OpenRouter: what the server that it called said
			Headers map[string]json.RawMessage `json:"headers"`
		} `json:"metadata"`
		Details json.RawMessage `json:"details"`
	}
	if !bytes.HasPrefix(raw, []byte("{")) {
		p.Message = plain(raw)
		return p, p.Message != ""
	}
	_ = json.Unmarshal(raw, &fields) // a field of an odd type leaves the others
	p = problem{Code: plain(fields.Code), Type: plain(fields.Type), Written: plain(fields.Failed)}
	p.Message = cmp.Or(plain(fields.Message), plain(fields.Msg), faults(fields.Detail), plain(fields.Detail))
	if p.Message == "" && bytes.HasPrefix(fields.Details, []byte(`"`)) {
		p.Message = plain(fields.Details)
	}
	if p.Type == "" {
		p.Type = plain(fields.Status)
	}
	if p.Type == "error" {
		p.Type = "" // the type of an event, or the status: says nothing
	}
	if original := plain(fields.Metadata.Raw); original != "" {
		p.Message = strings.TrimSpace(p.Message + ": " + original)
	}
	if within := p.within(); within.Written != "" || within.says(ofTheModel...) {
		p.Code, p.Type, p.Message, p.Written = within.Code, within.Type, within.Message, within.Written
	}
	for name, value := range fields.Metadata.Headers {
		if p.Header == nil {
			p.Header = http.Header{}
		}
		p.Header.Add(name, plain(value))
	}
	if status, err := strconv.Atoi(p.Code); err == nil && status >= 400 && status <= 599 {
		p.Status = status
	}
	p.readDetails(fields.Details)
	return p, p.Code != "" || p.Type != "" || p.Message != ""
}

// within returns the problem at the end of the message, which a gateway hands on as JSON
// (OpenRouter, LiteLLM); the zero value if there is none.
func (p *problem) within() problem {
	start := strings.IndexByte(p.Message, '{')
	if start < 0 {
		return problem{}
	}
	within, _ := readInner([]byte(p.Message[start:]))
	return within
}

// readDetails reads Google's list of details
// (https://cloud.google.com/apis/design/errors#error_details), or Anthropic's
// one object.
func (p *problem) readDetails(raw json.RawMessage) {
	var anthropic struct {
		ErrorCode string `json:"error_code"`
	}
	if len(raw) == 0 {
		return
	}
	if json.Unmarshal(raw, &anthropic) == nil {
		p.Reason = anthropic.ErrorCode
		return
	}
	var list []json.RawMessage
	_ = json.Unmarshal(raw, &list) // anything else has nothing to tell
	for _, member := range list {
		var detail struct {
			Type       string `json:"@type"`
			Reason     string `json:"reason"`
			RetryDelay string `json:"retryDelay"`
			Violations []struct {
				QuotaID string `json:"quotaId"`
			} `json:"violations"`
		}
		_ = json.Unmarshal(member, &detail) // a field of an odd type leaves the others
		switch kind := detail.Type[strings.LastIndexByte(detail.Type, '.')+1:]; kind {
		case "ErrorInfo":
			p.Reason = detail.Reason
		case "RetryInfo":
			p.Delay, p.Delayed = span(detail.RetryDelay, time.Second, sending{})
		case "QuotaFailure":
			for _, v := range detail.Violations {
				p.Quotas = append(p.Quotas, v.QuotaID)
			}
		}
	}
}

// plain returns the text of a JSON string, nothing for null or what is not JSON,
// and any other value as it is written.
func plain(raw json.RawMessage) string {
	var text *string
	if json.Unmarshal(raw, &text) == nil {
		if text == nil {
			return ""
		}
		return *text
	}
	if !json.Valid(raw) {
		return ""
	}
	return string(raw)
}
