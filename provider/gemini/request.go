package gemini

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/url"
	"path"
	"slices"
	"strings"

	"google.golang.org/genai"

	"llmcall/llm"
	"llmcall/media"
	"llmcall/picture"
	"llmcall/provider/internal/wire"
)

// maxStop is how many stop sequences the API accepts.
const maxStop = 5

// requestBody is the body of a request.
type requestBody struct {
	fields map[string]any
	asked  wire.Feature
	note   string // what of the schema is not enforced; "" if all is
}

// content is a turn. The SDK's types would leave out an empty text, which a
// signature may need, and convert the arguments of a call to a map.
type content struct {
	Role  string `json:"role,omitempty"`
	Parts []any  `json:"parts"` // each a part, or the JSON of one
}

type part struct {
	Text             *string                 `json:"text,omitempty"`
	InlineData       *genai.Blob             `json:"inlineData,omitempty"`
	FileData         *fileData               `json:"fileData,omitempty"`
	FunctionCall     *functionCall           `json:"functionCall,omitempty"`
	FunctionResponse *genai.FunctionResponse `json:"functionResponse,omitempty"`
	ThoughtSignature string                  `json:"thoughtSignature,omitempty"` // base64, unchanged
}

type fileData struct {
	FileURI  string `json:"fileUri"`
	MIMEType string `json:"mimeType,omitempty"`
}

type functionCall struct {
	ID   string          `json:"id,omitempty"`
	Name string          `json:"name"`
	Args json.RawMessage `json:"args,omitempty"`
}

const (
	roleUser  = "user"
	roleModel = "model"
)

// noSignature is sent instead of the signature of a call that another provider's model
// made: Gemini 3 refuses a turn whose first call has none
// (https://ai.google.dev/gemini-api/docs/thought-signatures, "FAQs").
const noSignature = "skip_thought_signature_validator"

// body converts a request to the API's form. The error names the field that the
// API can't express.
func (m *Model) body(req *llm.Request, steps *wire.Steps) (*requestBody, error) {
	if req == nil || len(req.Messages) == 0 {
		return nil, errors.New("messages: must have at least one message")
	}
	messages, err := media.FitAll(req.Messages, media.Gemini)
	if err != nil {
		return nil, err
	}
	b := &requestBody{fields: map[string]any{}}
	config, err := settings(req)
	if err != nil {
		return nil, err
	}
	given := wire.Conversation(messages, providerName, isThought)
	if req.Schema != nil {
		if err := wire.CheckSchema(req.Schema.JSON); err != nil {
			return nil, fmt.Errorf("schema: %w", err)
		}
		if !b.ask(req, m.old && hasTools(req), steps, config) {
			if _, ok := req.Extra["systemInstruction"]; ok && given.HasSystem() {
				return nil, errors.New("extra: the field \"systemInstruction\" replaces the instruction that asks for this schema; use a system message instead")
			}
			given.Instruct(req.Schema.JSON, hasTools(req))
		}
	}
	if steps.Without(wire.SystemMessages) {
		given.WithoutSystem()
	} else if given.HasSystem() {
		b.asked |= wire.SystemMessages
	}
	talk := conversation{old: m.old, names: map[string]string{}}
	for i, message := range given.Messages {
		if err := talk.add(message); err != nil {
			return nil, fmt.Errorf("messages[%d] (%s): %w", given.Given[i], message.Role, err)
		}
	}
	if len(talk.turns) == 0 {
		return nil, errors.New("messages: must have at least one message that is not the system's")
	}
	b.fields["contents"] = talk.turns
	if len(req.Tools) > 0 {
		functions, err := functionTool(req.Tools)
		if err != nil {
			return nil, err
		}
		b.fields["tools"] = []any{functions}
		if req.NoToolCalls {
			b.fields["toolConfig"] = map[string]any{"functionCallingConfig": map[string]any{"mode": genai.FunctionCallingConfigModeNone}}
		}
	}
	forced, err := wire.Forced(req)
	if err != nil {
		return nil, err
	}
	if forced != "" && !steps.Without(wire.ForcedCall) {
		b.asked |= wire.ForcedCall
		calling := map[string]any{"mode": genai.FunctionCallingConfigModeAny}
		if forced != wire.AnyTool {
			calling["allowedFunctionNames"] = []string{forced}
		}
		b.fields["toolConfig"] = map[string]any{"functionCallingConfig": calling}
	}
	if len(talk.system) > 0 {
		b.fields["systemInstruction"] = content{Parts: talk.system}
	}
	if err := add(req.Extra, b.fields, config); err != nil {
		return nil, err
	}
	if len(config) > 0 {
		b.fields["generationConfig"] = config
	}
	return b, nil
}

// ask asks for the schema by the settings of the request, as far as is known that the model
// accepts it, and reports whether that is enough: else the prompt must ask for it too.
func (b *requestBody) ask(req *llm.Request, lacking bool, steps *wire.Steps, config map[string]any) bool {
	switch {
	case lacking:
	case !steps.Without(wire.StrictSchema):
		b.asked = wire.StrictSchema
		config["responseMimeType"], config["responseJsonSchema"] = "application/json", inlined(req.Schema.JSON)
		return true
	case !steps.Without(wire.JSONMode):
		b.asked, b.note = wire.JSONMode, "the schema is in the prompt, and only JSON is enforced"
		config["responseMimeType"] = "application/json"
		return false
	}
	b.note = "the schema is in the prompt, and not enforced"
	return false
}

// inlined returns a schema without references that have other keywords beside them, where
// it can: where a $ref is, Gemini accepts only what begins with a $ beside it
// (genai.GenerateContentConfig.ResponseJsonSchema;
// https://github.com/google-gemini/gemini-cli/issues/4758).
func inlined(schema json.RawMessage) json.RawMessage {
	if copied, ok := wire.Inline(schema); ok {
		return copied
	}
	return schema
}

// hasTools reports whether the request has tools, its own or Google's.
func hasTools(req *llm.Request) bool {
	if req == nil {
		return false
	}
	_, own := req.Extra["tools"]
	return own || len(req.Tools) > 0
}

// isThought reports whether reasoning is of no use without what follows it. Signatures
// belong to the text before them, and whatever else Gemini sends is content.
func isThought(r llm.Reasoning, _ bool) bool {
	var fields struct {
		Thought bool `json:"thought"`
	}
	return json.Unmarshal(r.Data, &fields) == nil && fields.Thought
}

func settings(req *llm.Request) (map[string]any, error) {
	config := map[string]any{}
	switch {
	case req.MaxTokens < 0 || req.MaxTokens > math.MaxInt32:
		return nil, fmt.Errorf("max_tokens %d: must be a positive number up to %d, or 0 for the provider's choice", req.MaxTokens, math.MaxInt32)
	case req.MaxTokens > 0:
		config["maxOutputTokens"] = req.MaxTokens
	}
	if t := req.Temperature; t != nil {
		if math.IsNaN(*t) || math.IsInf(*t, 0) {
			return nil, fmt.Errorf("temperature %v: must be a finite number", *t)
		}
		config["temperature"] = *t
	}
	if s := req.Seed; s != nil {
		if *s < math.MinInt32 || *s > math.MaxInt32 {
			return nil, fmt.Errorf("seed %d: must be a number from %d to %d", *s, math.MinInt32, math.MaxInt32)
		}
		config["seed"] = *s
	}
	if len(req.Stop) > maxStop {
		return nil, fmt.Errorf("stop: must have at most %d sequences, has %d", maxStop, len(req.Stop))
	}
	if len(req.Stop) > 0 {
		config["stopSequences"] = req.Stop
	}
	return config, nil
}

// add puts the caller's own fields into the body and its generationConfig.
func add(extra map[string]any, fields, config map[string]any) error {
	for name, value := range extra {
		if name == "model" || name == "contents" || name == "stream" {
			return fmt.Errorf("extra: the field %q: must not be model, contents or stream, which the call itself sets", name)
		}
		raw, err := json.Marshal(value)
		if err != nil {
			return fmt.Errorf("extra: the field %q: %w", name, err)
		}
		if name != "generationConfig" {
			fields[name] = json.RawMessage(raw)
			continue
		}
		var within map[string]json.RawMessage
		if err := json.Unmarshal(raw, &within); err != nil {
			return fmt.Errorf("extra: the field %q: must be an object: %w", name, err)
		}
		for name, value := range within {
			config[name] = value
		}
	}
	return nil
}

func functionTool(tools []llm.Tool) (*genai.Tool, error) {
	var declared []*genai.FunctionDeclaration
	for i, tool := range tools {
		function := &genai.FunctionDeclaration{Name: tool.Name, Description: tool.Description}
		if len(tool.Parameters) > 0 {
			if err := wire.CheckSchema(tool.Parameters); err != nil {
				return nil, fmt.Errorf("tools[%d]: parameters of %q: %w", i, tool.Name, err)
			}
			function.ParametersJsonSchema = inlined(tool.Parameters)
		}
		declared = append(declared, function)
	}
	return &genai.Tool{FunctionDeclarations: declared}, nil
}

// conversation is the API's form of the messages.
type conversation struct {
	old    bool // the model is of a generation before Gemini 3
	system []any
	turns  []content
	names  map[string]string // of the called functions, by the ID of the call
}

func (c *conversation) add(message llm.Message) error {
	switch message.Role {
	case llm.RoleSystem:
		if err := wire.Only(message, wire.IsText, "text"); err != nil {
			return err
		}
		for _, p := range message.Parts {
			c.system = append(c.system, textPart(string(p.(llm.Text))))
		}
		return nil
	case llm.RoleUser:
		return c.turn(roleUser, message, userPart)
	case llm.RoleAssistant:
		return c.answer(message)
	case llm.RoleTool:
		if err := wire.Only(message, wire.Is[llm.ToolResult], "a tool result"); err != nil {
			return err
		}
		return c.turn(roleUser, message, c.result)
	}
	return wire.UnknownRole()
}

// turn adds a message, each of whose parts becomes one part.
func (c *conversation) turn(role string, message llm.Message, convert func(llm.Part) (any, error)) error {
	var parts []any
	for i, p := range message.Parts {
		converted, err := convert(p)
		if err != nil {
			return fmt.Errorf("parts[%d]: %w", i, err)
		}
		parts = append(parts, converted)
	}
	c.append(role, parts)
	return nil
}

// append adds parts to the last turn if that has the same role, else as a new turn.
func (c *conversation) append(role string, parts []any) {
	if len(parts) == 0 {
		parts = []any{textPart("")} // a turn must have parts
	}
	if last := len(c.turns) - 1; last >= 0 && c.turns[last].Role == role {
		c.turns[last].Parts = append(c.turns[last].Parts, parts...)
		return
	}
	c.turns = append(c.turns, content{role, parts})
}

func textPart(text string) part { return part{Text: &text} }

func userPart(p llm.Part) (any, error) {
	switch p := p.(type) {
	case llm.Text:
		return textPart(string(p)), nil
	case llm.Image:
		if len(p.Data) > 0 {
			return part{InlineData: &genai.Blob{MIMEType: p.MediaType, Data: p.Data}}, nil
		}
		return pictureAt(p)
	case llm.Document:
		return mediumOf(p.MediaType, p.Data, p.URL), nil
	case llm.Audio:
		return mediumOf(p.MediaType, p.Data, p.URL), nil
	}
	return nil, fmt.Errorf("must be text, an image, a document or a recording, got %T", p)
}

// mediumOf returns a document or a recording, which [media.FitAll] has checked.
func mediumOf(mediaType string, data []byte, address string) part {
	if len(data) == 0 {
		return fileAt(address, mediaType)
	}
	// The API has two names of its own (https://ai.google.dev/gemini-api/docs/audio).
	switch mediaType {
	case media.MP3:
		mediaType = "audio/mp3"
	case media.M4A:
		mediaType = "audio/m4a"
	}
	return part{InlineData: &genai.Blob{MIMEType: mediaType, Data: data}}
}

// pictureAt returns a picture that Google fetches, or already has in its Files API
// or in Cloud Storage.
func pictureAt(image llm.Image) (any, error) {
	if image.URL == "" {
		return nil, errors.New("an image needs data or a url")
	}
	address, err := url.Parse(image.URL)
	if err != nil || !slices.Contains([]string{"http", "https", "gs"}, address.Scheme) {
		return nil, errors.New("url: must be an http, https or gs address; put a picture that you have into data")
	}
	return fileAt(image.URL, image.MediaType), nil
}

// fileAt returns a file at an address that can be parsed.
func fileAt(address, mediaType string) part {
	if parsed, err := url.Parse(address); err == nil && mediaType == "" { // if it stays empty, Google determines it
		mediaType = mediaTypes[strings.ToLower(path.Ext(parsed.Path))]
	}
	return part{FileData: &fileData{address, mediaType}}
}

var mediaTypes = map[string]string{
	".png": picture.PNG, ".jpg": picture.JPEG, ".jpeg": picture.JPEG, ".webp": picture.WebP, ".heic": "image/heic", ".heif": "image/heif",
	".pdf": media.PDF,
	".wav": media.WAV, ".mp3": "audio/mp3", ".flac": media.FLAC, ".ogg": media.OGG, ".oga": media.OGG, ".opus": media.OGG, ".aac": media.AAC,
	".aiff": media.AIFF, ".aif": media.AIFF, ".m4a": "audio/m4a",
}

// result converts a tool result. The API assigns it by the function's name.
func (c *conversation) result(p llm.Part) (any, error) {
	result := p.(llm.ToolResult) // see add
	name, ok := c.names[result.CallID]
	if !ok {
		return nil, fmt.Errorf("call_id %q: must be that of a tool call in an earlier message", result.CallID)
	}
	under := "output"
	if result.IsError {
		under = "error"
	}
	return part{FunctionResponse: &genai.FunctionResponse{
		ID: givenID(result.CallID), Name: name, Response: map[string]any{under: result.Content},
	}}, nil
}

// answer adds a message of the assistant.
func (c *conversation) answer(message llm.Message) error {
	var parts []any
	firstCall, signed := -1, false
	for i, p := range message.Parts {
		switch p := p.(type) {
		case llm.Text:
			parts = append(parts, textPart(string(p)))
		case llm.ToolCall:
			c.names[p.ID] = p.Name
			if firstCall < 0 {
				firstCall = len(parts)
			}
			signed = signed || len(p.Signature) > 0
			parts = append(parts, part{
				FunctionCall:     &functionCall{givenID(p.ID), p.Name, p.Arguments},
				ThoughtSignature: string(p.Signature),
			})
		case llm.Reasoning:
			if err := wire.CheckObject(p.Data); err != nil {
				return fmt.Errorf("parts[%d]: data: %w", i, err)
			}
			parts = withReasoning(parts, p.Data)
		default:
			return fmt.Errorf("parts[%d]: must be text, a tool call or reasoning, got %T", i, p)
		}
	}
	if firstCall >= 0 && !signed && !c.old {
		call := parts[firstCall].(part)
		call.ThoughtSignature = noSignature
		parts[firstCall] = call
	}
	c.append(roleModel, parts)
	return nil
}

// withReasoning adds a part unchanged, or a signature to the text before it.
func withReasoning(parts []any, data json.RawMessage) []any {
	signature, ok := signatureAlone(data)
	if !ok {
		return append(parts, data)
	}
	if last := len(parts) - 1; last >= 0 {
		if text, ok := parts[last].(part); ok && text.Text != nil && text.ThoughtSignature == "" {
			text.ThoughtSignature = signature
			parts[last] = text
			return parts
		}
	}
	return append(parts, part{Text: new(""), ThoughtSignature: signature})
}
