package transport

import (
	"bytes"
	"io"
	"mime"
	"net/http"
	"strings"
	"sync"

	"llmcall/classify"
	"llmcall/failure"
	"llmcall/internal/say"
)

// lastEvent is how a stream of events says that it is whole. A stream that says so
// in any of these ways is; [DONE] counts in all.
type lastEvent struct {
	events []string // by an event of this name,
	marks  []string // by this text, in any event: with its quotes it can't be a model's words
}

// endings are those of the providers' streams, by what the request's path ends
// in. Of other streams nothing is expected: to take a whole one for a broken one
// would open the circuit of a provider that is well.
var endings = []struct {
	path     string
	protocol string // "": any
	lastEvent
}{
	{"/chat/completions", "", lastEvent{marks: []string{`"finish_reason":"`, `"finish_reason": "`}}},
	{"/completions", "", lastEvent{marks: []string{`"finish_reason":"`, `"finish_reason": "`}}},
	{"/responses", "", lastEvent{events: responseEnds, marks: typed(responseEnds)}},
	{"/messages", classify.Anthropic, lastEvent{events: messageEnds, marks: typed(messageEnds)}},
	{":streamGenerateContent", "", lastEvent{marks: []string{`"finishReason":`, `"blockReason":`}}},
}

var (
	responseEnds = []string{"response.completed", "response.incomplete", "response.failed"}
	messageEnds  = []string{"message_stop"}
)

// typed returns the marks of events that are named in their data alone, wherever their
// type is in it.
func typed(names []string) (marks []string) {
	for _, name := range names {
		marks = append(marks, `"type":"`+name+`"`, `"type": "`+name+`"`)
	}
	return marks
}

// endingOf returns how the answers to a request end; nil if that is not known, as of
// requests to anything but a model.
func endingOf(r *http.Request) *lastEvent {
	path, protocol := strings.TrimRight(r.URL.Path, "/"), protocolOf(r)
	for i, known := range endings {
		if strings.HasSuffix(path, known.path) && (known.protocol == "" || known.protocol == protocol) {
			return &endings[i].lastEvent
		}
	}
	return nil
}

// isNoAnswer reports whether a success that should be a model's answer is nothing, or an
// HTML page, such as that of a proxy or a login.
func isNoAnswer(r *http.Request, response *http.Response) bool {
	if response.StatusCode != http.StatusOK || endingOf(r) == nil && !strings.HasSuffix(r.URL.Path, ":generateContent") {
		return false
	}
	kind, _, _ := mime.ParseMediaType(response.Header.Get("Content-Type"))
	return response.Body == http.NoBody || kind == "text/html" || kind == "application/xhtml+xml"
}

// longestMark is at least as long as each mark.
const longestMark = 32

// maxEvent is how much is kept of a line of a stream. The data of an error is
// shorter.
const maxEvent = 4 << 10

// events looks for the end, and for an error, in a stream of events as it is
// read (https://html.spec.whatwg.org/multipage/server-sent-events.html).
type events struct {
	lastEvent
	failed func(data []byte) *failure.Error // nil if data is not an error

	mu    sync.Mutex // a body may be closed while it is read
	line  []byte     // the beginning of the line under way
	tail  []byte     // the last bytes of it
	event string     // the name of the event under way
	whole bool
	fault *failure.Error // what the provider sent for the rest of the answer
}

// eventsOf returns what watches a response's body; nil if it is not a
// stream, or is one whose end is not known.
func eventsOf(r *http.Request, response *http.Response) *events {
	kind, _, err := mime.ParseMediaType(response.Header.Get("Content-Type"))
	if err != nil || kind != "text/event-stream" || response.Header.Get("Content-Encoding") != "" {
		return nil
	}
	known := endingOf(r)
	if known == nil {
		return nil
	}
	return &events{lastEvent: *known, failed: func(data []byte) *failure.Error {
		f := classify.Response(protocolOf(r), response, data)
		if f != nil {
			f.Provider = r.URL.Host
		}
		return f
	}}
}

// see takes the bytes that were read.
func (e *events) see(piece []byte) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for (!e.whole || len(e.line) > 0) && e.fault == nil {
		part, rest, ended := bytes.Cut(piece, []byte("\n"))
		e.search(part)
		e.line = append(e.line, part[:min(len(part), maxEvent-len(e.line))]...)
		if !ended {
			return
		}
		e.take()
		piece = rest
	}
}

// search looks for the marks in a further part of the line.
func (e *events) search(part []byte) {
	across := append(e.tail, part[:min(len(part), longestMark)]...)
	for _, mark := range e.marks {
		if bytes.Contains(across, []byte(mark)) || bytes.Contains(part, []byte(mark)) {
			e.whole = true
		}
	}
	if len(part) >= longestMark {
		across = part
	}
	e.tail = append(e.tail[:0], across[max(0, len(across)-longestMark):]...)
}

// take takes the line that has ended.
func (e *events) take() {
	line := bytes.TrimSuffix(e.line, []byte("\r"))
	field, value, _ := bytes.Cut(line, []byte(":"))
	value = bytes.TrimPrefix(value, []byte(" "))
	switch string(field) {
	case "":
		if len(line) == 0 { // the event ends; else it is a comment
			e.event = ""
		}
	case "event":
		e.event = string(value)
		e.whole = e.whole || e.ends(e.event)
	case "data":
		e.data(value)
	}
	e.line, e.tail = e.line[:0], e.tail[:0]
}

// data takes the data of an event.
func (e *events) data(data []byte) {
	switch {
	case string(bytes.TrimSpace(data)) == "[DONE]", e.ends(typeOf(data)):
		e.whole = true
	case e.event == "error", typeOf(data) == "error", bytes.HasPrefix(data, []byte(`{"error"`)),
		bytes.Contains(data, []byte(`"finish_reason":"error"`)): // OpenRouter's
		if e.fault = e.failed(data); e.fault == nil && e.event == "error" {
			e.fault = &failure.Error{Kind: failure.Transient, Message: "the provider sent an error in the stream: " + say.Line(string(data), 200)}
		}
	}
}

func (e *events) ends(name string) bool {
	for _, known := range e.events {
		if name == known {
			return true
		}
	}
	return false
}

// typeOf returns the type at the beginning of an event's data, for servers that
// leave the line with the event's name out.
func typeOf(data []byte) string {
	rest, ok := bytes.CutPrefix(data, []byte(`{"type":`))
	if !ok {
		return ""
	}
	rest, ok = bytes.CutPrefix(bytes.TrimLeft(rest, " "), []byte(`"`))
	name, _, found := bytes.Cut(rest, []byte(`"`))
	if !ok || !found {
		return ""
	}
	return string(name)
}

// errCutOff is the failure of a stream that ended without its last event.
var errCutOff = &failure.Error{
	Kind: failure.Transient, Code: "no_terminal_event", Message: "the stream ended without its last event", Err: io.ErrUnexpectedEOF,
}

// failure is what the stream failed by, at its end or, if that has not come, when
// its reader leaves; nil if it did not.
func (e *events) failure(ended bool) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if ended && !e.whole && e.fault == nil {
		e.take() // a last line without its end
	}
	switch {
	case e.fault != nil:
		return e.fault
	case ended && !e.whole:
		return errCutOff
	}
	return nil
}
