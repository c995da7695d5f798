package anthropic

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"unicode"

	sdk "github.com/anthropics/anthropic-sdk-go"
	"github.com/anthropics/anthropic-sdk-go/packages/param"

	"llmcall/classify"
	"llmcall/llm"
	"llmcall/media"
	"llmcall/provider/internal/wire"
)

// params converts a request to the SDK's types. The error names the field that
// the protocol can't express.
func (m *Model) params(req *llm.Request, steps *wire.Steps) (sdk.MessageNewParams, plan, error) {
	params := sdk.MessageNewParams{Model: m.endpoint.Model, MaxTokens: m.maxTokens()}
	if req == nil || len(req.Messages) == 0 {
		return params, plan{}, errors.New("messages: must have at least one message")
	}
	messages, err := media.FitAll(req.Messages, media.Anthropic)
	if err != nil {
		return params, plan{}, err
	}
	p, err := m.plan(req, steps)
	if err != nil {
		return params, plan{}, fmt.Errorf("schema: %w", err)
	}
	talk := wire.Conversation(messages, classify.Anthropic, isThought)
	if p.way == byPrompt {
		talk.Instruct(p.schema, p.beside)
	}
	system, turns, err := conversation(talk)
	if err != nil {
		return params, plan{}, err
	}
	params.Messages = turns
	for i, t := range req.Tools {
		converted, err := toolParam(t)
		if err != nil {
			return params, plan{}, fmt.Errorf("tools[%d]: %w", i, err)
		}
		params.Tools = append(params.Tools, converted)
	}
	extra, err := extraFields(req.Extra)
	if err != nil {
		return params, plan{}, err
	}
	if _, ok := extra["system"]; ok && p.way == byPrompt && talk.HasSystem() {
		return params, p, errors.New("extra: system: replaces the instructions that ask for this schema; use a system message instead")
	}
	if req.NoToolCalls && len(req.Tools) > 0 {
		params.ToolChoice.OfNone = new(sdk.NewToolChoiceNoneParam())
	}
	forced, err := wire.Forced(req)
	switch {
	case err != nil:
		return params, p, err
	case forced == "" || steps.Without(wire.ForcedCall):
	case forced == wire.AnyTool:
		params.ToolChoice.OfAny = new(sdk.ToolChoiceAnyParam)
		p.asked |= wire.ForcedCall
	default:
		params.ToolChoice = sdk.ToolChoiceParamOfTool(forced)
		p.asked |= wire.ForcedCall
	}
	p.ask(&params, extra)
	if system != "" {
		params.System = []sdk.TextBlockParam{{Text: system}}
	}
	switch {
	case req.MaxTokens < 0:
		return params, p, fmt.Errorf("max_tokens %d: must be a positive number, or 0 for %d", req.MaxTokens, m.maxTokens())
	case req.MaxTokens > 0:
		params.MaxTokens = int64(req.MaxTokens)
	}
	if t := req.Temperature; t != nil {
		if math.IsNaN(*t) || math.IsInf(*t, 0) {
			return params, p, fmt.Errorf("temperature %v: must be a finite number", *t)
		}
		params.Temperature = param.NewOpt(*t)
	}
	if req.Seed != nil {
		return params, p, fmt.Errorf("seed %d: Anthropic's API has none; leave it out", *req.Seed)
	}
	if len(req.Stop) > 0 {
		params.StopSequences = req.Stop
	}
	if len(extra) > 0 {
		params.SetExtraFields(extra)
	}
	return params, p, nil
}

func (m *Model) maxTokens() int64 {
	if v, ok := claude(m.endpoint.Model); ok && v >= claude4 {
		return DefaultMaxTokens
	}
	return olderMaxTokens
}

// extraFields returns the fields of Extra, each as JSON.
func extraFields(given map[string]any) (map[string]any, error) {
	for _, name := range []string{"stream", "model", "messages"} {
		if _, ok := given[name]; ok {
			return nil, fmt.Errorf("extra: %s: is set by the request itself", name)
		}
	}
	if _, ok := given[""]; ok {
		return nil, errors.New(`extra: "": must be the name of a field`)
	}
	fields := make(map[string]any, len(given))
	for name, value := range given {
		// Encoded here: the SDK would write a json.Number as a string.
		raw, err := json.Marshal(value)
		if err != nil {
			return nil, fmt.Errorf("extra: %s: %w", name, err)
		}
		fields[name] = json.RawMessage(raw)
	}
	return fields, nil
}

// conversation returns the text of the system messages, and the alternating turns
// that the others become.
func conversation(talk wire.Talk) (system string, turns []sdk.MessageParam, err error) {
	var systems []string
	for i, message := range talk.Messages {
		given := talk.Given[i]
		if message.Role == llm.RoleSystem {
			if err := wire.Only(message, wire.IsText, "text"); err != nil {
				return "", nil, fmt.Errorf("messages[%d] (%s): %w", given, message.Role, err)
			}
			if text := message.Text(); !blank(text) {
				systems = append(systems, text)
			}
			continue
		}
		turn, err := turnOf(message)
		if err != nil {
			return "", nil, fmt.Errorf("messages[%d] (%s): %w", given, message.Role, err)
		}
		switch last := len(turns) - 1; {
		case len(turn.Content) == 0:
		case last >= 0 && turns[last].Role == turn.Role:
			turns[last].Content = append(turns[last].Content, turn.Content...)
		default:
			turns = append(turns, turn)
		}
	}
	if len(turns) == 0 {
		return "", nil, errors.New("messages: must have at least one message of a user, an assistant or a tool that is not blank")
	}
	for i := range turns {
		turns[i].Content = resultsFirst(turns[i].Content)
	}
	if last := turns[len(turns)-1]; last.Role == sdk.MessageParamRoleAssistant {
		// The model continues this text. The API's rule: "final assistant content
		// cannot end with trailing whitespace".
		if text := last.Content[len(last.Content)-1].OfText; text != nil {
			text.Text = strings.TrimRightFunc(text.Text, unicode.IsSpace)
		}
	}
	return strings.Join(systems, "\n\n"), turns, nil
}

// blank reports whether the API would refuse the text as a block: "text content
// blocks must contain non-whitespace text".
func blank(text string) bool { return strings.TrimSpace(text) == "" }

// resultsFirst puts tool results before everything else in a turn: the API
// refuses a call that is not followed by its result at once.
func resultsFirst(blocks []sdk.ContentBlockParamUnion) []sdk.ContentBlockParamUnion {
	var results, others []sdk.ContentBlockParamUnion
	for _, block := range blocks {
		if block.OfToolResult != nil {
			results = append(results, block)
		} else {
			others = append(others, block)
		}
	}
	return append(results, others...)
}

func turnOf(message llm.Message) (sdk.MessageParam, error) {
	var (
		role    sdk.MessageParamRole
		convert func(llm.Part) (sdk.ContentBlockParamUnion, bool, error)
	)
	switch message.Role {
	case llm.RoleUser:
		role, convert = sdk.MessageParamRoleUser, userBlock
	case llm.RoleAssistant:
		role, convert = sdk.MessageParamRoleAssistant, assistantBlock
	case llm.RoleTool:
		if err := wire.Only(message, wire.Is[llm.ToolResult], "a tool result"); err != nil {
			return sdk.MessageParam{}, err
		}
		role, convert = sdk.MessageParamRoleUser, toolBlock
	default:
		return sdk.MessageParam{}, wire.UnknownRole()
	}
	turn := sdk.MessageParam{Role: role}
	for i, p := range message.Parts {
		block, ok, err := convert(p)
		if err != nil {
			return turn, fmt.Errorf("parts[%d]: %w", i, err)
		}
		if ok {
			turn.Content = append(turn.Content, block)
		}
	}
	return turn, nil
}

// The converters return false for a part that is to be left out.

func userBlock(p llm.Part) (sdk.ContentBlockParamUnion, bool, error) {
	switch p := p.(type) {
	case llm.Text:
		return sdk.NewTextBlock(string(p)), !blank(string(p)), nil
	case llm.Image:
		block, err := imageBlock(p)
		return block, true, err
	case llm.Document:
		return documentBlock(p), true, nil
	}
	return sdk.ContentBlockParamUnion{}, false, fmt.Errorf("must be text, an image or a document, got %T", p)
}

// documentBlock returns a PDF, which [media.FitAll] has checked.
func documentBlock(document llm.Document) sdk.ContentBlockParamUnion {
	block := sdk.NewDocumentBlock(sdk.URLPDFSourceParam{URL: document.URL})
	if len(document.Data) > 0 {
		block = sdk.NewDocumentBlock(sdk.Base64PDFSourceParam{Data: base64.StdEncoding.EncodeToString(document.Data)})
	}
	if document.Name != "" {
		block.OfDocument.Title = param.NewOpt(document.Name)
	}
	return block
}

func imageBlock(image llm.Image) (sdk.ContentBlockParamUnion, error) {
	switch {
	case len(image.Data) > 0 && image.MediaType == "":
		return sdk.ContentBlockParamUnion{}, errors.New("media_type: an image's data needs one, such as image/png")
	case len(image.Data) > 0:
		return sdk.NewImageBlockBase64(image.MediaType, base64.StdEncoding.EncodeToString(image.Data)), nil
	case image.URL == "":
		return sdk.ContentBlockParamUnion{}, errors.New("an image needs data or a url")
	}
	return sdk.NewImageBlock(sdk.URLImageSourceParam{URL: image.URL}), nil
}

func assistantBlock(p llm.Part) (sdk.ContentBlockParamUnion, bool, error) {
	switch p := p.(type) {
	case llm.Text:
		return sdk.NewTextBlock(string(p)), !blank(string(p)), nil
	case llm.ToolCall:
		return sdk.NewToolUseBlock(wire.PlainID(p.ID), p.Arguments, p.Name), true, nil
	case llm.Reasoning:
		if err := wire.CheckObject(p.Data); err != nil {
			return sdk.ContentBlockParamUnion{}, false, fmt.Errorf("data of %s's reasoning: %w", classify.Anthropic, err)
		}
		// It is sent back unchanged, whatever kind of block it is.
		block := param.Override[sdk.ThinkingBlockParam](p.Data)
		return sdk.ContentBlockParamUnion{OfThinking: &block}, true, nil
	}
	return sdk.ContentBlockParamUnion{}, false, fmt.Errorf("must be text, a tool call or reasoning, got %T", p)
}

// isThought reports whether a block must be followed by others: "The final block in an
// assistant message cannot be `thinking`". A call of a tool of the provider's own must be
// followed by its result, unless the turn is the last: then the provider goes on with it.
func isThought(r llm.Reasoning, last bool) bool {
	var block struct {
		Type string `json:"type"`
	}
	_ = json.Unmarshal(r.Data, &block) // what is not a block is refused in assistantBlock
	switch block.Type {
	case "thinking", "redacted_thinking":
		return true
	case "server_tool_use", "mcp_tool_use":
		return !last
	}
	return false
}

func toolBlock(p llm.Part) (sdk.ContentBlockParamUnion, bool, error) {
	result := p.(llm.ToolResult) // see turnOf
	block := sdk.ToolResultBlockParam{ToolUseID: wire.PlainID(result.CallID)}
	text := result.Content
	if result.IsError {
		block.IsError = param.NewOpt(true)
		if blank(text) { // "content cannot be empty if `is_error` is true"
			text = "the tool failed and gave no details"
		}
	}
	if !blank(text) {
		block.Content = []sdk.ToolResultBlockParamContentUnion{{OfText: &sdk.TextBlockParam{Text: text}}}
	}
	return sdk.ContentBlockParamUnion{OfToolResult: &block}, true, nil
}

// toolParam keeps the schema of the parameters as it is: the SDK's type for it has
// maps, which would sort the properties and round large numbers.
func toolParam(t llm.Tool) (sdk.ToolUnionParam, error) {
	parameters := t.Parameters
	if len(parameters) == 0 {
		parameters = json.RawMessage(`{"type":"object"}`)
	}
	if err := wire.CheckSchema(parameters); err != nil {
		return sdk.ToolUnionParam{}, fmt.Errorf("parameters of %q: %w", t.Name, err)
	}
	converted := sdk.ToolUnionParamOfTool(param.Override[sdk.ToolInputSchemaParam](parameters), t.Name)
	if t.Description != "" {
		converted.OfTool.Description = param.NewOpt(t.Description)
	}
	return converted, nil
}
