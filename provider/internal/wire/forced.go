package wire

import (
	"fmt"
	"slices"

	"llmcall/internal/nearest"
	"llmcall/llm"
)

// AnyTool is the [llm.Request.ForceTool] that leaves it to the model which of the tools it
// calls.
const AnyTool = "*"

// Forced returns the tool that the model must call, [AnyTool], or "" if it need not call one.
// A request for an answer without calls forces none. The error says that there is no such
// tool; those in Extra are the provider's own, and not known here.
func Forced(req *llm.Request) (string, error) {
	if req.ForceTool == "" || req.NoToolCalls {
		return "", nil
	}
	if _, own := req.Extra["tools"]; own {
		return req.ForceTool, nil
	}
	if len(req.Tools) == 0 {
		return "", fmt.Errorf("force_tool: must be empty without tools, got %q", req.ForceTool)
	}
	names := []string{AnyTool}
	for _, tool := range req.Tools {
		names = append(names, tool.Name)
	}
	if !slices.Contains(names, req.ForceTool) {
		return "", fmt.Errorf("force_tool: must be one of %s, got %s", nearest.List(req.ForceTool, names), nearest.Shown(req.ForceTool, names))
	}
	return req.ForceTool, nil
}
