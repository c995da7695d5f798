package front

import (
	"bytes"

	"llmcall/internal/protocol"
	"llmcall/llm"
)

// Stream writes an answer as it comes. Each method returns what is to be sent at once:
// whole server-sent events, or a part of a JSON array for Gemini's clients that asked for
// one. Its methods must not be called at the same time.
type Stream struct {
	p      protocol.Protocol
	w      *writer
	stream protocol.Stream
	array  bool
	events int
}

// NewStream returns a writer of a stream.
func NewStream(p protocol.Protocol, o Options) *Stream {
	w := newWriter(p, o)
	return &Stream{p: p, w: w, stream: p.Stream(w.turn), array: p.Name() == gemini && o.Query.Get("alt") != "sse"}
}

// Begun reports whether anything of an answer, or an error, was written.
func (s *Stream) Begun() bool { return s.events > 0 }

// Lost names what of the answer the protocol had no place for, so far.
func (s *Stream) Lost() []string { return s.w.lost }

// Text writes a piece of the text.
func (s *Stream) Text(text string) []byte { return s.part(protocol.Part{Text: text}) }

// Part writes a whole part: a call, or what the provider says in its own form.
func (s *Stream) Part(part llm.Part) []byte {
	var out []byte
	for _, p := range s.w.parts(part) {
		out = append(out, s.part(p)...)
	}
	return out
}

func (s *Stream) part(p protocol.Part) []byte {
	if p.Kind == protocol.TextPart && p.Text == "" {
		return nil
	}
	if sign, alone := signatureAlone(p); alone && s.w.name == gemini {
		p.Own = object("text", "", "thoughtSignature", sign)
	}
	return s.write(s.stream.Add(p))
}

// End writes the end of the answer: why it ended, and its usage. The message of resp is not
// read.
func (s *Stream) End(resp *llm.Response) []byte {
	s.w.end(resp)
	if s.w.name == anthropic && resp.Usage.CacheWrite1hTokens > 0 { // its place was at the beginning
		s.w.lose("usage: " + stored1hTokens.name)
	}
	out := s.write(s.stream.End())
	if s.array {
		out = append(out, "\n]"...)
	}
	return out
}

// After says that n events were sent to the client as the provider wrote them, so that what
// follows continues them.
func (s *Stream) After(n int) { s.events = n }

// Error writes an error instead of the rest of the answer. Nothing may follow.
func (s *Stream) Error(e *protocol.Error) []byte {
	body := s.p.ErrorBody(e, s.w.turn.ID)
	line, _ := protocol.Compact(body) // what a protocol writes is JSON
	var events []protocol.Event
	for _, data := range s.p.ErrorEvents(line, s.events, s.w.turn) {
		events = append(events, protocol.Event{Data: data})
	}
	out := s.write(events)
	if s.array {
		out = append(out, "\n]"...)
	}
	return out
}

// KeepAlive writes what clients ignore. It may come at any time before the end, before the
// first piece too, and while another method runs.
func (s *Stream) KeepAlive() []byte {
	switch {
	case s.array:
		return []byte("\n")
	case s.w.name == anthropic:
		return []byte("event: ping\ndata: {\"type\": \"ping\"}\n\n")
	case s.w.name == gemini: // for Google's SDK for Go, a comment is an error
		return []byte("\n\n")
	}
	return []byte(": keep-alive\n\n")
}

// write returns events as they are sent.
func (s *Stream) write(events []protocol.Event) []byte {
	var out []byte
	for _, e := range events {
		switch {
		case s.array:
			if s.events == 0 {
				out = append(out, '[')
			} else {
				out = append(out, ",\n"...)
			}
			out = append(out, bytes.TrimSpace(bytes.TrimPrefix(e.Data, []byte("data: ")))...)
		case s.w.name == gemini:
			// One kind of line ends for events and for signs of life: SDKs split a stream at
			// two ends of a line, and one looks for "\n\n" first.
			out = append(append(out, bytes.TrimSpace(e.Data)...), "\n\n"...)
		default:
			out = append(out, e.Data...)
		}
		s.events++
	}
	return out
}
