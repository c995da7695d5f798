package endpoint

import (
	"math"

	"llmcall/llm"
)

// Wanted returns an estimate of the tokens that a request will use, for [Need.Tokens]: one
// for each four bytes of its text, and its MaxTokens in full. [Used] gives the actual
// amount later.
func Wanted(req *llm.Request) int64 {
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
	return size + min(max(0, int64(req.MaxTokens)), math.MaxInt64-size)
}

// Used returns what an answer has used, for [Outcome.Report]; nil if answer is nil.
func Used(answer *llm.Response) *Report {
	if answer == nil {
		return nil
	}
	return &Report{Used: Amount{Tokens: Tokens(answer.Usage)}}
}

// Tokens returns how many tokens a usage has, for [Amount.Tokens]: a count below 0 is 0,
// and what does not fit is the largest number, whatever a provider reports.
func Tokens(u llm.Usage) int64 {
	in, out := max(0, u.InputTokens), max(0, u.OutputTokens)
	return in + min(out, math.MaxInt64-in)
}
