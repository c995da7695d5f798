package openai

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// readProblem reads the body that came with an error status. There is no
// telling what a server or a proxy before it sends: OpenAI's {"error": {...}},
// the same in a list (Gemini), {"error": "text"} (Ollama), the fields of the
// error at the top (older vLLM), {"detail": ...} (FastAPI), a page of HTML,
// nothing. What is no JSON becomes the message as it is.
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
	if detail := plain(top.Detail); detail != "" {
		return problem{Message: detail}
	}
	return problem{Message: string(body)}
}

// readError reads what stands under "error"; ok is false if that says nothing.
func readError(raw json.RawMessage) (p problem, ok bool) {
	var fields struct {
		Code     json.RawMessage `json:"code"`
		Type     json.RawMessage `json:"type"`
		Status   json.RawMessage `json:"status"` // Gemini's name for the type
		Message  json.RawMessage `json:"message"`
		Metadata struct {
			Raw json.RawMessage `json:"raw"` // OpenRouter: what the server behind it said
		} `json:"metadata"`
	}
	if !bytes.HasPrefix(raw, []byte("{")) {
		p.Message = plain(raw)
		return p, p.Message != ""
	}
	_ = json.Unmarshal(raw, &fields) // a field of an odd type leaves the others
	p = problem{Code: plain(fields.Code), Type: plain(fields.Type), Message: plain(fields.Message)}
	if p.Type == "" {
		p.Type = plain(fields.Status)
	}
	if behind := plain(fields.Metadata.Raw); behind != "" {
		p.Message = strings.TrimSpace(p.Message + ": " + behind)
	}
	if number, err := strconv.Atoi(p.Code); err == nil && number >= 400 && number <= 599 {
		p.Status = number
	}
	return p, p != problem{}
}

// plain returns the text of a JSON string, nothing for null or what is no JSON,
// and any other value as it stands.
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

const (
	maxMessage = 500 // bytes of the provider's words that an error keeps
	maxLabel   = 100 // bytes of a code or a request's number
)

// line makes of text from outside one printable line of at most limit bytes,
// in which the key doesn't stand.
func (m *Model) line(text string, limit int) string {
	printable := strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r // U+FFFD, which invalid UTF-8 becomes, among them
		}
		return ' '
	}, text)
	text = m.hide(strings.Join(strings.Fields(printable), " "))
	if len(text) <= limit {
		return text
	}
	cut := limit - len("…")
	for !utf8.RuneStart(text[cut]) {
		cut--
	}
	return text[:cut] + "…"
}
