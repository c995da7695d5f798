package llm

import "strings"

// Chunk is a piece of a streamed answer. What a provider does not say stays
// zero; a stream may have chunks that say nothing.
type Chunk struct {
	Text string // the next of the answer's text
	Part Part   // a part that is whole and no text: ToolCall, Reasoning
	// Finish comes once, after all text and parts. A stream that ends without
	// one was cut off, however cleanly it ends.
	Finish Finish
	// Usage is that of the whole call so far, and no addition to what came
	// before.
	Usage     *Usage
	Model     string // as the provider calls what answers
	RequestID string // the provider's, for its support
}

// Assembly puts the chunks of a stream together to the Response that they are.
// The zero value is ready.
type Assembly struct {
	response Response
	text     strings.Builder
}

// Add takes the next chunk.
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

// Response returns the answer as far as it has come. Its Finish is FinishNone
// unless the stream came to its end.
func (a *Assembly) Response() *Response {
	r := a.response
	r.Message = Message{RoleAssistant, append([]Part{}, r.Message.Parts...)}
	if a.text.Len() > 0 {
		r.Message.Parts = append(r.Message.Parts, Text(a.text.String()))
	}
	return &r
}
