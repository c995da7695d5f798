package protocol

// Counter is a protocol that says how many tokens a request has: [Responses],
// [Messages] or [Gemini].
type Counter interface {
	// ReadCount reads a request whose tokens are to be counted. The error is the one
	// with which the provider refuses it.
	ReadCount(in *Incoming) (*Request, *Error)
	// Count writes the number of tokens.
	Count(tokens int) []byte
}

// ReadCount reads the request of a response
// (platform.openai.com/docs/api-reference/responses/input-tokens).
func (r Responses) ReadCount(in *Incoming) (*Request, *Error) { return r.Read(in) }

// Count writes the number of tokens.
func (Responses) Count(tokens int) []byte {
	return fill(`{"object":"response.input_tokens","input_tokens":%s}`, tokens)
}

// Count writes the number of tokens
// (platform.claude.com/docs/en/api/messages-count-tokens).
func (Messages) Count(tokens int) []byte { return fill(`{"input_tokens":%s}`, tokens) }

// Count writes the number of tokens (ai.google.dev/api/tokens).
func (Gemini) Count(tokens int) []byte {
	return fill(`{"totalTokens":%s,"promptTokensDetails":[{"modality":"TEXT","tokenCount":%s}]}`, tokens, tokens)
}
