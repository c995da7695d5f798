package openai

import (
	"encoding/json"
	"errors"

	sdk "github.com/openai/openai-go/v3"

	"llmcall/failure"
	"llmcall/llm"
	"llmcall/provider/wire"
)

// response makes an answer of a response that claims success, or the error that
// it is: OpenRouter, for one, sends what goes wrong during the generation with
// a status of 200, at the top or in the choice.
func response(x *wire.Exchange) (*llm.Response, error) {
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
	if raw := choice.JSON.ExtraFields["error"].Raw(); raw != "" {
		if err := x.ErrorWithin([]byte(`{"error":` + raw + `}`)); err != nil {
			return nil, err
		}
	}
	switch {
	case choice.Message.Refusal != "":
		return nil, x.Withheld(failure.ContentFiltered, "refusal", choice.Message.Refusal)
	case choice.FinishReason == "content_filter":
		return nil, x.Withheld(failure.ContentFiltered, choice.FinishReason, "the provider withheld the answer")
	case choice.FinishReason == "insufficient_system_resource": // DeepSeek
		return nil, x.Withheld(failure.Overloaded, choice.FinishReason, "the provider broke the answer off")
	}
	return answer(x, &completion), nil
}

// answer maps the SDK's words for a completion with at least one choice.
func answer(x *wire.Exchange, completion *sdk.ChatCompletion) *llm.Response {
	choice := completion.Choices[0]
	message := llm.Message{Role: llm.RoleAssistant, Parts: []llm.Part{}}
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
		Finish:    finish(choice),
		Model:     completion.Model,
		RequestID: x.RequestID("X-Request-Id"),
		Usage: llm.Usage{
			InputTokens:     completion.Usage.PromptTokens,
			OutputTokens:    completion.Usage.CompletionTokens,
			CachedTokens:    completion.Usage.PromptTokensDetails.CachedTokens,
			ReasoningTokens: completion.Usage.CompletionTokensDetails.ReasoningTokens,
		},
	}
}

// finish maps the reason to stop. One that is not known is none: to take an
// answer for whole that is not is the worse mistake.
func finish(choice sdk.ChatCompletionChoice) llm.Finish {
	switch choice.FinishReason {
	case "stop", "eos": // the latter is Together's
		if len(choice.Message.ToolCalls) > 0 { // vLLM, Ollama
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
