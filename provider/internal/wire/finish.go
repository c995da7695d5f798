package wire

import (
	"cmp"
	"encoding/json"
	"slices"
	"strings"

	"llmcall/failure"
	"llmcall/llm"
)

// The reasons to stop, in all dialects, in lower case. A server that translates from
// another protocol often leaves the reason as it was, so each adapter knows all.
var (
	stopped = []string{
		"stop", "end_turn", "stop_sequence",
		"eos", "eos_token", "stop_token", "end_of_text", "end_of_turn", // Together, TGI
		"end", "complete", "completed", "finish", "finished", "done", // Cohere; gateways
	}
	limited = []string{
		"length", "max_tokens", "max_output_tokens", "max_new_tokens", "max_completion_tokens", "max_length", "token_limit",
		"model_length",                          // Mistral
		"model_context_window_exceeded",         // Anthropic
		"continuation",                          // Gemini
		"context_length", "context_window_full", // gateways
	}
	toCall   = []string{"tool_calls", "tool_call", "tool_use", "function_call", "function_calls"}
	filtered = []string{
		"content_filter", "content_filtered", "refusal", "guardrail_intervened", "error_toxic",
		"safety", "recitation", "language", "blocklist", "prohibited_content", "spii", "model_armor", // Gemini
		"image_safety", "image_prohibited_content", "image_recitation",
	}
	broke = []string{
		"error", "abort", "aborted", "cancelled", "canceled", "timeout",
		"other", "image_other", "no_image", // Gemini
	}
	// spoilt says that what the model wrote is at fault: a call that can't be read, or of
	// a tool that there is not.
	spoilt = []string{
		"malformed_function_call", "malformed_response", "unexpected_tool_call", "too_many_tool_calls", // Gemini
	}
)

// maxReason is how much of a reason to stop that is not known is kept.
const maxReason = 60

// Finish converts the provider's reason to stop an answer with these tool calls. One
// that is not known is kept: the checks of the answer decide whether it is whole.
// Whole tool calls are tool calls, whatever the reason, unless it is a limit. The
// error is that of an answer that can't be used: withheld, or broken off; why says
// more, or is "".
func (x *Exchange) Finish(reason, why string, calls []llm.ToolCall) (llm.Finish, error) {
	reason = strings.TrimSpace(reason)
	known := plainReason(reason)
	switch {
	case slices.Contains(filtered, known):
		return "", x.Withheld(failure.ContentFiltered, reason, cmp.Or(strings.TrimSpace(why), "the provider withheld the answer"))
	case known == "insufficient_system_resource": // DeepSeek
		return "", x.Withheld(failure.Overloaded, reason, cmp.Or(strings.TrimSpace(why), "the provider broke the answer off"))
	case slices.Contains(spoilt, known):
		return "", x.spoilt(reason, strings.TrimSpace(why))
	case slices.Contains(broke, known) && (slices.Contains(spoilt, plainReason(why)) || slices.Contains(filtered, plainReason(why))):
		return x.Finish(why, "", calls) // the reason before a gateway translated it
	case slices.Contains(broke, known):
		return "", x.Withheld(failure.Transient, reason, cmp.Or(strings.TrimSpace(why), "the model broke the answer off"))
	case slices.Contains(limited, known):
		return llm.FinishLength, nil
	case known == "", known == "null", known == "finish_reason_unspecified":
		return llm.FinishNone, nil
	case len(calls) > 0 && wholeCalls(calls), slices.Contains(toCall, known):
		return llm.FinishToolCall, nil
	case slices.Contains(stopped, known), strings.HasPrefix(known, "<") && strings.HasSuffix(known, ">"): // a token of the model: <|eot_id|>, </s>
		if len(calls) > 0 {
			return llm.FinishToolCall, nil
		}
		return llm.FinishStop, nil
	}
	return llm.Finish(x.Endpoint.line(reason, maxReason)), nil
}

// wholeCalls reports whether all calls have a name, and arguments that are JSON or
// nothing.
func wholeCalls(calls []llm.ToolCall) bool {
	return !slices.ContainsFunc(calls, func(c llm.ToolCall) bool {
		return c.Name == "" || len(c.Arguments) > 0 && !json.Valid(c.Arguments)
	})
}

// plainReason returns a reason as the tables have it. Servers write it as a name of their
// language ("FinishReason.STOP"), with hyphens ("tool-calls", as the AI SDK does) or after
// what found it: "function_call_filter: MALFORMED_FUNCTION_CALL" is Gemini's API for
// OpenAI's clients.
func plainReason(reason string) string {
	last := reason[strings.LastIndexAny(reason, ".:")+1:]
	return underscores.Replace(strings.ToLower(strings.TrimSpace(last)))
}

var underscores = strings.NewReplacer("-", "_", " ", "_")

// spoilt returns the error of an answer that the provider withholds because of what the
// model wrote. why may quote that: "Malformed function call: print(f(1))".
func (x *Exchange) spoilt(reason, why string) error {
	_, written, _ := strings.Cut(why, ":")
	f := failure.Error{
		Kind: failure.InvalidAnswer, Code: reason, Message: cmp.Or(why, "what the model wrote can't be read: "+reason),
		Written: cmp.Or(strings.TrimSpace(written), why),
	}
	return x.withheld(f)
}
