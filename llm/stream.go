package llm

import "strings"

// Chunk is a piece of a streamed answer. Fields that the provider does not set are zero; a
// chunk may be empty.
type Chunk struct {
	Text string // to be appended to the answer's text
	Part Part   // a complete part other than text: [ToolCall] or [Reasoning]
	// Progress says that the answer has grown by something that no chunk has yet: a
	// piece of the reasoning, of a call's arguments, of a refusal. It shows that the
	// model is at work, as a heartbeat of the connection does not.
	Progress bool
	// Finish is set once, after all text and parts. A stream that ends without it
	// was cut off, even if it ends without an error.
	Finish Finish
	// Usage is that of the whole call so far; it replaces earlier values.
	Usage     *Usage
	Model     string // the provider's name of the model that answers
	RequestID string // the provider's, for its support
}

// Assembly assembles the chunks of a stream to a [Response]. The zero value is ready for
// use.
type Assembly struct {
	response Response
	text     strings.Builder
}

// Grows reports whether the chunk shows that the answer grows.
func (c Chunk) Grows() bool {
	return c.Progress || c.Text != "" || c.Part != nil || c.Finish != FinishNone
}

// Add adds the next chunk.
func (a *Assembly) Add(c Chunk) {
	a.text.WriteString(c.Text)
	if c.Part != nil {
		if a.text.Len() > 0 {
			a.response.Message.Parts = append(a.response.Message.Parts, Text(a.text.String()))
			a.text.Reset()
		}
		a.response.Message.Parts = append(a.response.Message.Parts, c.Part)
	}
	if c.Finish != FinishNone {
		a.response.Finish = c.Finish
	}
	if c.Usage != nil {
		a.response.Usage = *c.Usage
	}
	if c.Model != "" {
		a.response.Model = c.Model
	}
	if c.RequestID != "" {
		a.response.RequestID = c.RequestID
	}
}

// billed returns what a response with an error may have; nil without usage.
func (a *Assembly) billed() *Response {
	r := a.response
	if r.Usage == (Usage{}) {
		return nil
	}
	return &Response{Message: Message{Role: RoleAssistant}, Usage: r.Usage, Model: r.Model, RequestID: r.RequestID}
}

// Response returns the answer as far as it has arrived. Its Finish is [FinishNone] unless
// the stream is complete.
func (a *Assembly) Response() *Response {
	r := a.response
	r.Message = Message{RoleAssistant, append([]Part{}, r.Message.Parts...)}
	if a.text.Len() > 0 {
		r.Message.Parts = append(r.Message.Parts, Text(a.text.String()))
	}
	return &r
}
