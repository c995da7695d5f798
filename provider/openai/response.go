package openai

import (
	"encoding/json"
	"errors"

	sdk "github.com/openai/openai-go/v3"

	"llmcall/failure"
	"llmcall/llm"
	"llmcall/provider/internal/wire"
)

// readCompletion reads the answer in a response with the status of a success, or
// the error that it contains: OpenRouter, for one, sends a failure during the
// generation with a status of 200, at the top or in the choice.
func readCompletion(x *wire.Exchange) (*llm.Response, error) {
	if !json.Valid(x.Body) {
		var any json.RawMessage
		return nil, x.Garbled(json.Unmarshal(x.Body, &any))
	}
	if err := x.ErrorWithin(x.Body); err != nil {
		return nil, err
	}
	var completion sdk.ChatCompletion
	if err := json.Unmarshal(x.Body, &completion); err != nil {
		return nil, x.Garbled(err)
	}
	if len(completion.Choices) == 0 {
		return nil, x.Garbled(errors.New("the answer has no choices"))
	}
	choice := completion.Choices[0]
	if err := choiceError(x, choice.JSON.ExtraFields["error"].Raw()); err != nil {
		return nil, err
	}
	if err := withheld(x, choice.Message.Refusal, choice.FinishReason); err != nil {
		return nil, err
	}
	return answerOf(x, &completion), nil
}

// choiceError returns the error in a choice, or nil.
func choiceError(x *wire.Exchange, raw string) error {
	if raw == "" {
		return nil
	}
	return x.ErrorWithin([]byte(`{"error":` + raw + `}`))
}

// withheld returns the error of an answer that can't be used: refused by the
// model, withheld by the provider, or broken off.
func withheld(x *wire.Exchange, refusal, reason string) error {
	switch {
	case refusal != "":
		return x.Withheld(failure.ContentFiltered, "refusal", refusal)
	case reason == "content_filter":
		return x.Withheld(failure.ContentFiltered, reason, "the provider withheld the answer")
	case reason == "insufficient_system_resource": // DeepSeek
		return x.Withheld(failure.Overloaded, reason, "the provider broke the answer off")
	}
	return nil
}

// answerOf converts a completion with at least one choice.
func answerOf(x *wire.Exchange, completion *sdk.ChatCompletion) *llm.Response {
	choice := completion.Choices[0]
	message := llm.Message{Role: llm.RoleAssistant, Parts: []llm.Part{}}
	var thought reasoning
	thought.add(choice.Message.JSON.ExtraFields)
	if part, ok := thought.part(x.Endpoint.Provider, len(choice.Message.ToolCalls) > 0); ok {
		message.Parts = append(message.Parts, part)
	}
	if choice.Message.Content != "" {
		message.Parts = append(message.Parts, llm.Text(choice.Message.Content))
	}
	for _, call := range choice.Message.ToolCalls {
		message.Parts = append(message.Parts, llm.ToolCall{
			ID: call.ID, Name: call.Function.Name, Arguments: json.RawMessage(call.Function.Arguments),
		})
	}
	return &llm.Response{
		Message:   message,
		Finish:    finish(choice.FinishReason, len(choice.Message.ToolCalls) > 0),
		Model:     completion.Model,
		RequestID: x.RequestID("X-Request-Id"),
		Usage:     usage(completion.Usage),
	}
}

// usage converts the counts. Reasoning is a part of the output. Some servers count
// it apart: xAI, as its total shows, and Vercel's gateway for Gemini, which leaves
// it out of the total but not of the price.
func usage(u sdk.CompletionUsage) llm.Usage {
	output, thought := u.CompletionTokens, u.CompletionTokensDetails.ReasoningTokens
	if thought > output || thought > 0 && u.TotalTokens == u.PromptTokens+output+thought {
		output += thought
	}
	return llm.Usage{
		InputTokens:     u.PromptTokens,
		OutputTokens:    output,
		CachedTokens:    u.PromptTokensDetails.CachedTokens,
		ReasoningTokens: thought,
	}
}

// finish converts the finish reason. An unknown one counts as missing, because it
// is worse to take a truncated answer for a complete one.
func finish(reason string, calls bool) llm.Finish {
	switch reason {
	case "stop", "eos": // the latter is Together's
		if calls { // vLLM, Ollama
			return llm.FinishToolCall
		}
		return llm.FinishStop
	case "length", "model_length": // the latter is Mistral's
		return llm.FinishLength
	case "tool_calls":
		return llm.FinishToolCall
	}
	return llm.FinishNone
}
