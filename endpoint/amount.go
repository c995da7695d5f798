package endpoint

import (
	"math"

	"llmcall/llm"
)

// Wanted returns what a request may use, for [Ask.Want]: four bytes of its text
// are a token, more or less, and what its answer may have counts in full. What it
// did use is told later, by [Used].
func Wanted(req *llm.Request) *Amount {
	size := int64(0)
	for _, m := range req.Messages {
		for _, part := range m.Parts {
			switch p := part.(type) {
			case llm.Text:
				size += int64(len(p))
			case llm.ToolResult:
				size += int64(len(p.Content))
			case llm.ToolCall:
				size += int64(len(p.Arguments))
			}
		}
	}
	size /= 4
	return &Amount{Tokens: size + min(max(0, int64(req.MaxTokens)), math.MaxInt64-size)}
}

// Used returns what an answer used, for [Outcome.Report]; nil without an answer.
func Used(answer *llm.Response) *Report {
	if answer == nil {
		return nil
	}
	return &Report{Used: Amount{Tokens: answer.Usage.InputTokens + answer.Usage.OutputTokens}}
}
