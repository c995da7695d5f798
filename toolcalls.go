package llmcall

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"llmcall/internal/say"
	"llmcall/llm"
	"llmcall/validate"
)

// tools returns the tools that the model is offered in the current stage. Those
// of the stage replace the caller's with the same names.
func (c *call) tools() []llm.Tool {
	own := c.at().tools
	if len(own) == 0 {
		return c.req.Tools
	}
	tools := slices.DeleteFunc(slices.Clone(c.req.Tools), func(t llm.Tool) bool { return c.at().tool(t.Name) != nil })
	for _, t := range own {
		tools = append(tools, t.Tool)
	}
	return tools
}

// called returns the tools that the last answer called, if it is part of the conversation:
// a stage without tools sends them too, and says that none may be called, since
// there are APIs that refuse a conversation with calls of tools that they do not know.
func (c *call) called() (tools []llm.Tool) {
	if c.last == nil || len(c.complaint) == 0 {
		return nil
	}
	calls := c.last.Message.ToolCalls()
	for _, t := range c.cfg.offered() {
		if slices.ContainsFunc(calls, func(k llm.ToolCall) bool { return k.Name == t.Name }) {
			tools = append(tools, t.Tool)
		}
	}
	return tools
}

// wrongCalls returns what is wrong with the calls of tools in an answer: a name that was
// not offered, arguments that are not JSON or do not fit the tool's schema. A request
// without Tools offers none that is known here: its tools may be in Extra.
func (c *call) wrongCalls(ctx context.Context, answer *llm.Response) []validate.Complaint {
	if len(c.req.Tools) == 0 {
		return nil
	}
	var wrong []validate.Complaint
	for _, t := range answer.Message.ToolCalls() {
		wrong = append(wrong, wrongCall(ctx, t, c.tools())...)
	}
	return wrong
}

// wrongCall returns what is wrong with one call.
func wrongCall(ctx context.Context, t llm.ToolCall, offered []llm.Tool) []validate.Complaint {
	at := slices.IndexFunc(offered, func(o llm.Tool) bool { return o.Name == t.Name })
	if at < 0 {
		names := make([]string, len(offered))
		for i, o := range offered {
			names[i] = strconv.Quote(o.Name)
		}
		return []validate.Complaint{{
			Check: "tool_call", Problem: fmt.Sprintf("there is no tool %q", say.Short(t.Name, 60)),
			Suggestion: "call only the tools " + say.List(names, say.MaxListed),
		}}
	}
	arguments := strings.TrimSpace(string(t.Arguments))
	if arguments == "" {
		arguments = "{}" // as some models write a call without arguments
	}
	var wrong []validate.Complaint
	if !json.Valid([]byte(arguments)) {
		wrong = complaintsOf(ctx, validate.JSON(), arguments)
	} else if schema := offered[at].Parameters; len(schema) > 0 {
		if check, err := validate.JSONSchema(schema); err == nil { // else it is the provider's to refuse
			wrong = complaintsOf(ctx, check, arguments)
		}
	}
	for i := range wrong {
		wrong[i].Check = "tool_call"
		wrong[i].Problem = fmt.Sprintf("in the arguments of the tool %q: %s", say.Short(t.Name, 60), wrong[i].Problem)
	}
	return wrong
}

func complaintsOf(ctx context.Context, check validate.Strategy, text string) []validate.Complaint {
	verdict, err := check.Check(ctx, &validate.Answer{Text: text})
	if err != nil {
		return nil
	}
	return verdict.Complaints
}
