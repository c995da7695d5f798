package anthropic

import (
	"encoding/json"
	"regexp"
	"slices"
	"strconv"
	"strings"

	sdk "github.com/anthropics/anthropic-sdk-go"
	"github.com/anthropics/anthropic-sdk-go/packages/param"
	"github.com/tidwall/gjson"

	"llmcall/llm"
	"llmcall/provider/internal/wire"
)

// way is a way of asking for an answer.
type way int

const (
	asText   way = iota // without a schema
	byFormat            // by output_config.format
	byTool              // by the input of a tool
	byPrompt            // by instructions
)

// plan says how a request asks for its answer.
type plan struct {
	way    way
	schema json.RawMessage // as it is sent
	asked  wire.Feature
	note   string // what is not enforced; "" if all is
	tool   string // the tool whose input is the answer, for byTool
	beside bool   // the request has tools of its own
}

// version is the version of a Claude model: 406 for claude-opus-4-6.
type version int

const (
	claude4  version = 400
	claude45 version = 405
	claude5  version = 500
	newest   version = 1 << 30
)

// claude reads the version from a model's name, as Anthropic, Amazon and Google
// write it: claude-3-5-haiku-20241022, claude-opus-4-20250514, claude-haiku-5-5,
// anthropic.claude-sonnet-4-5-20250929-v1:0, claude-opus-4-1@20250805. A name
// without a version (claude-mythos-preview) counts as the newest; ok is false for
// a model of another vendor.
func claude(model string) (v version, ok bool) {
	if !strings.Contains(model, "claude") {
		return 0, false
	}
	found := claudeVersion.FindStringSubmatch(model)
	if found == nil {
		return newest, true
	}
	major, _ := strconv.Atoi(found[1]) // at most two digits
	minor, _ := strconv.Atoi(found[2]) // 0 if there is none
	return version(100*major + minor), true
}

var claudeVersion = regexp.MustCompile(`claude-(?:[a-z]+-)?([0-9]{1,2})(?:[-.]([0-9]{1,2}))?(?:[^0-9]|$)`)

// plan decides how to ask for the answer.
func (m *Model) plan(req *llm.Request, steps *wire.Steps) (plan, error) {
	if req.Schema == nil {
		return plan{}, nil
	}
	given := req.Schema.JSON
	if err := wire.CheckSchema(given); err != nil {
		return plan{}, err
	}
	v, known := claude(m.endpoint.Model)
	beside := len(req.Tools) > 0 && !req.NoToolCalls
	if known && v >= claude45 && !steps.Without(wire.StrictSchema) {
		if fitted, ok := fit(given); ok {
			return plan{way: byFormat, schema: fitted, asked: wire.StrictSchema, beside: beside}, nil
		}
	}
	// "Thinking may not be enabled when tool_choice forces tool use": since
	// Claude 5 it is on by default, and can't be switched off in some.
	if v < claude5 && (req.ForceTool == "" || req.NoToolCalls) && !forbidsForcing(req.Extra) && gjson.GetBytes(given, "type").String() == "object" && !steps.Without(wire.ForcedTool) {
		return plan{
			way: byTool, schema: given, asked: wire.ForcedTool, tool: toolName(req), beside: beside,
			note: "the schema is that of a forced tool's input, and not enforced",
		}, nil
	}
	return plan{way: byPrompt, schema: given, beside: beside, note: "the schema is in the prompt, and not enforced"}, nil
}

// forbidsForcing reports whether the fields in Extra rule out a tool that the
// model has to call.
func forbidsForcing(extra map[string]any) bool {
	for _, name := range []string{"tools", "tool_choice"} {
		if _, ok := extra[name]; ok {
			return true
		}
	}
	thinking, ok := extra["thinking"]
	if !ok {
		return false
	}
	raw, err := json.Marshal(thinking)
	return err != nil || gjson.GetBytes(raw, "type").String() != "disabled"
}

// toolName returns the name of the tool whose input is the answer: that of the
// schema, made longer if a tool of the caller has the same name.
func toolName(req *llm.Request) string {
	name := req.Schema.Name
	if !legalName.MatchString(name) {
		name = "answer"
	}
	for slices.ContainsFunc(req.Tools, func(t llm.Tool) bool { return t.Name == name }) {
		name += "_"
	}
	return name
}

// legalName leaves room for what toolName adds: the API accepts 128 characters.
var legalName = regexp.MustCompile(`^[a-zA-Z0-9_-]{1,64}$`)

// ask puts the schema into params or into the extra fields.
func (p plan) ask(params *sdk.MessageNewParams, extra map[string]any) {
	switch p.way {
	case byFormat:
		format, _ := json.Marshal(struct { // valid JSON: see params
			Type   string          `json:"type"`
			Schema json.RawMessage `json:"schema"`
		}{"json_schema", p.schema})
		if own, ok := extra["output_config"]; ok {
			extra["output_config"] = withFormat(own, format)
			break
		}
		// The SDK's own type for the schema is a map, which would sort the
		// properties and round large numbers.
		params.OutputConfig.Format = param.Override[sdk.JSONOutputFormatParam](json.RawMessage(format))
	case byTool:
		answer := sdk.ToolUnionParamOfTool(param.Override[sdk.ToolInputSchemaParam](p.schema), p.tool)
		answer.OfTool.Description = param.NewOpt("Gives the final answer, which is this tool's input. It is the only way to answer.")
		params.Tools = append(params.Tools, answer)
		if p.beside {
			params.ToolChoice.OfAny = &sdk.ToolChoiceAnyParam{}
			break
		}
		params.ToolChoice = sdk.ToolChoiceParamOfTool(p.tool)
		params.ToolChoice.OfTool.DisableParallelToolUse = param.NewOpt(true)
	}
}

// withFormat adds the format to the caller's output_config, unless that has one
// or is not an object.
func withFormat(own any, format json.RawMessage) any {
	raw, err := json.Marshal(own)
	var fields map[string]json.RawMessage
	if err != nil || json.Unmarshal(raw, &fields) != nil || fields == nil || fields["format"] != nil {
		return own
	}
	fields["format"] = format
	return fields
}
