package gemini

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"google.golang.org/genai"

	"llmcall/classify"
	"llmcall/failure"
	"llmcall/llm"
	"llmcall/provider/internal/wire"
)

// providerName is the Provider of this package's llm.Reasoning.
const providerName = classify.Gemini

var errNoCandidates = errors.New("the answer has no candidates")

// generated is a GenerateContentResponse, which is also the form of each event of
// a stream.
type generated struct {
	Candidates     []choice `json:"candidates"`
	PromptFeedback struct {
		BlockReason        string `json:"blockReason"`
		BlockReasonMessage string `json:"blockReasonMessage"`
	} `json:"promptFeedback"`
	UsageMetadata *usage `json:"usageMetadata"`
	ModelVersion  string `json:"modelVersion"`
	ResponseID    string `json:"responseId"`
}

type choice struct {
	Content       partList `json:"content"`
	FinishReason  string   `json:"finishReason"`
	FinishMessage string   `json:"finishMessage"`
	Index         int      `json:"index"`
}

// partList is a list of parts. Gateways also send one part, or the text alone.
type partList struct{ parts []json.RawMessage }

// UnmarshalJSON reads all forms.
func (c *partList) UnmarshalJSON(raw []byte) error {
	if bytes.HasPrefix(raw, []byte(`"`)) {
		c.parts = []json.RawMessage{slices.Concat([]byte(`{"text":`), raw, []byte(`}`))}
		return nil
	}
	var list struct {
		Parts json.RawMessage `json:"parts"`
	}
	if err := json.Unmarshal(raw, &list); err != nil {
		return err
	}
	if bytes.HasPrefix(list.Parts, []byte("{")) {
		c.parts = []json.RawMessage{list.Parts}
		return nil
	}
	if len(list.Parts) == 0 {
		return nil
	}
	return json.Unmarshal(list.Parts, &c.parts)
}

// usage counts the tokens used so far. Cached tokens are included in Prompt, but
// Candidates does not include Thoughts, and Prompt does not include ToolUse, the
// results of tools that Google ran.
type usage struct {
	Prompt     int64 `json:"promptTokenCount"`
	ToolUse    int64 `json:"toolUsePromptTokenCount"`
	Cached     int64 `json:"cachedContentTokenCount"`
	Candidates int64 `json:"candidatesTokenCount"`
	Thoughts   int64 `json:"thoughtsTokenCount"`

	PromptDetails modalities `json:"promptTokensDetails"`
	CacheDetails  modalities `json:"cacheTokensDetails"`
}

// modalities are the parts of a count by what they are tokens of
// (https://ai.google.dev/api/generate-content#ModalityTokenCount).
type modalities []struct {
	Modality string
	Tokens   int64 `json:"tokenCount"`
}

func (m modalities) audio() (n int64) {
	for _, of := range m {
		if of.Modality == "AUDIO" {
			n += of.Tokens
		}
	}
	return n
}

// received is a part of an answer.
type received struct {
	Text         *string       `json:"text"`
	Thought      bool          `json:"thought"`
	Signature    string        `json:"thoughtSignature"`
	FunctionCall *functionCall `json:"functionCall"`
}

// dialect reads the answers of the API.
type dialect struct{}

// Whole reads a whole answer, as a stream of one event.
func (dialect) Whole(x *wire.Exchange, body []byte) (*llm.Response, error) {
	if err := x.ErrorWithin(body); err != nil {
		return nil, err
	}
	r := reader{x: x}
	var answer llm.Assembly
	chunks, _, err := r.Read(body)
	if err == nil && !r.answered {
		err = x.Empty(body, errNoCandidates)
	}
	if err == nil {
		var last []llm.Chunk
		last, err = r.End()
		chunks = append(chunks, last...)
	}
	for _, chunk := range chunks {
		answer.Add(chunk)
	}
	if err != nil {
		return wire.Billed(answer.Response()), err
	}
	return answer.Response(), nil
}

func (dialect) Reader(x *wire.Exchange) wire.Reader { return &reader{x: x} }

// reader converts responses and events to chunks.
type reader struct {
	x        *wire.Exchange
	answered bool // there was a candidate
	calls    []llm.ToolCall
	reason   string // the finish reason: any event may have one, and the last one counts
	message  string // the finish message
	usage    *llm.Usage
	// signatures are those of the current text. They are held back until it ends,
	// because between its pieces they would split it.
	signatures []llm.Chunk
}

// Read reads a response, or the next event of a stream. If Extra asks for several
// candidates, only the first is used.
func (r *reader) Read(data []byte) ([]llm.Chunk, bool, error) {
	var g generated
	if !utf8.Valid(data) { // some parts are kept as they are, and sent back
		data = bytes.ToValidUTF8(data, []byte("\ufffd"))
	}
	text, plain := "", false
	if r.x.Sound(data) {
		g, text, plain = readPlain(data)
	}
	if !plain {
		g = generated{}
		if err := json.Unmarshal(data, &g); err != nil {
			return nil, true, r.x.GarbledPart(data, err)
		}
	}
	var chunks []llm.Chunk
	about := llm.Chunk{Model: g.ModelVersion, RequestID: g.ResponseID}
	if u := g.UsageMetadata; u != nil {
		r.usage = &llm.Usage{
			InputTokens: u.Prompt + u.ToolUse, OutputTokens: u.Candidates + u.Thoughts,
			CachedTokens: u.Cached, ReasoningTokens: u.Thoughts,
			AudioTokens: u.PromptDetails.audio(), CachedAudioTokens: u.CacheDetails.audio(),
		}
		about.Usage = r.usage
	}
	if about != (llm.Chunk{}) {
		chunks = append(chunks, about)
	}
	if reason := g.PromptFeedback.BlockReason; reason != "" && len(g.Candidates) == 0 {
		return chunks, true, r.x.Withheld(failure.ContentFiltered, reason, cmp.Or(strings.TrimSpace(g.PromptFeedback.BlockReasonMessage), "the provider blocked the request"))
	}
	for _, candidate := range g.Candidates {
		if candidate.Index != 0 {
			continue
		}
		r.answered = true
		if candidate.FinishReason != "" {
			r.reason, r.message = candidate.FinishReason, candidate.FinishMessage
		}
		if err := r.stopped(); err != nil {
			return chunks, true, err
		}
		if plain {
			chunks = append(chunks, r.text(received{Text: &text})...)
		}
		for _, raw := range candidate.Content.parts {
			more, err := r.part(raw, g.ResponseID)
			if err != nil {
				return chunks, true, r.x.GarbledPart(raw, err)
			}
			chunks = append(chunks, more...)
		}
		break
	}
	return chunks, false, nil
}

// part returns the chunks of a part of the answer.
func (r *reader) part(raw json.RawMessage, responseID string) ([]llm.Chunk, error) {
	var p received
	if err := json.Unmarshal(raw, &p); err != nil {
		return nil, err
	}
	switch {
	case p.FunctionCall != nil:
		call := llm.ToolCall{ID: p.FunctionCall.ID, Name: p.FunctionCall.Name, Arguments: wire.Arguments(p.FunctionCall.Args)}
		if call.ID == "" {
			call.ID = madeID(responseID, len(r.calls))
		}
		if len(call.Arguments) == 0 || string(call.Arguments) == "null" {
			call.Arguments = json.RawMessage("{}")
		}
		if p.Signature != "" {
			call.Signature = []byte(p.Signature)
		}
		r.calls = append(r.calls, call)
		return append(r.textEnds(), llm.Chunk{Part: call}), nil
	case p.Text != nil && !p.Thought, p.Text == nil && isSignature(raw):
		return r.text(p), nil
	case isNothing(raw):
		return nil, nil
	}
	return append(r.textEnds(), llm.Chunk{Part: llm.Reasoning{Provider: providerName, Data: raw}}), nil
}

func (r *reader) text(p received) []llm.Chunk {
	signature := ofText
	if p.Text == nil || *p.Text == "" {
		signature = ofNothing
	}
	if p.Signature != "" {
		r.signatures = append(r.signatures, llm.Chunk{Part: llm.Reasoning{Provider: providerName, Data: signature(p.Signature)}})
	}
	if p.Text == nil || *p.Text == "" {
		return nil
	}
	return []llm.Chunk{{Text: *p.Text}}
}

// textEnds returns the signatures that were held back, and forgets them.
func (r *reader) textEnds() []llm.Chunk {
	signatures := r.signatures
	r.signatures = nil
	return signatures
}

// Ended reports whether a finish reason has come.
func (r *reader) Ended() bool { return r.reason != "" }

// End returns what is known only at the end.
func (r *reader) End() ([]llm.Chunk, error) {
	chunks := r.textEnds()
	finish, err := r.x.Finish(r.reason, r.message, r.calls)
	if err == nil && finish != llm.FinishNone {
		chunks = append(chunks, llm.Chunk{Finish: finish, Usage: r.usage})
	}
	return chunks, err
}

// stopped returns the error of an answer that was withheld or broken off.
func (r *reader) stopped() error {
	if r.reason == "MISSING_THOUGHT_SIGNATURE" {
		return r.x.Withheld(failure.InvalidRequest, r.reason, cmp.Or(strings.TrimSpace(r.message), "a call of the conversation came back without its signature"))
	}
	_, err := r.x.Finish(r.reason, r.message, r.calls)
	return err
}

// explain returns the SDK's error for an error in a response with the status of a
// success, or nil.
func explain(x *wire.Exchange) func([]byte) error {
	return func(data []byte) error {
		var within struct {
			Error *genai.APIError `json:"error"`
		}
		if json.Unmarshal([]byte(x.Endpoint.Hide(string(data))), &within) != nil || within.Error == nil {
			return nil
		}
		return *within.Error
	}
}

// made is the prefix of the IDs that madeID makes.
const made = "gemini-call-"

// madeID returns an ID for the nth call of an answer, which came without one.
func madeID(responseID string, n int) string { return fmt.Sprintf("%s%s-%d", made, responseID, n) }

// givenID returns the ID that the provider gave a call; "" if madeID made it.
func givenID(id string) string {
	if strings.HasPrefix(id, made) {
		return ""
	}
	return id
}

// The signature of a text is kept in a Reasoning after it, in one of two forms, so
// that it is sent back in a part like the one in which it came.

// ofText is the form for a text that is not empty.
func ofText(signature string) json.RawMessage {
	raw, _ := json.Marshal(map[string]string{"thoughtSignature": signature}) // can't fail for strings
	return raw
}

// ofNothing is the form for an empty text, which it includes.
func ofNothing(signature string) json.RawMessage {
	raw, _ := json.Marshal(map[string]string{"text": "", "thoughtSignature": signature}) // can't fail for strings
	return raw
}

// signatureAlone returns the signature that ofText was given.
func signatureAlone(data json.RawMessage) (string, bool) {
	var fields map[string]json.RawMessage
	var signature string
	if json.Unmarshal(data, &fields) != nil || len(fields) != 1 || json.Unmarshal(fields["thoughtSignature"], &signature) != nil {
		return "", false
	}
	return signature, true
}

// isNothing reports whether a part is null or has no fields.
func isNothing(data json.RawMessage) bool {
	var fields map[string]json.RawMessage
	return json.Unmarshal(data, &fields) == nil && len(fields) == 0
}

func isSignature(data json.RawMessage) bool {
	_, ok := signatureAlone(data)
	return ok
}
