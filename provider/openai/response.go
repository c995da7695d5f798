package openai

import (
	"encoding/json"
	"errors"

	sdk "github.com/openai/openai-go/v3"

	"llmcall/failure"
	"llmcall/llm"
)

// response makes an answer of a response that claims success, or the error that
// it is: OpenRouter, for one, sends what goes wrong during the generation with
// a status of 200, at the top or in the choice.
func (m *Model) response(x *exchange) (*llm.Response, error) {
	var outer struct {
		Error json.RawMessage `json:"error"`
	}
	if err := json.Unmarshal(x.body, &outer); err != nil {
		return nil, m.garbled(x, err)
	}
	if p, ok := readError(outer.Error); ok {
		return nil, m.problem(x, p, nil)
	}
	var completion sdk.ChatCompletion
	if err := json.Unmarshal(x.body, &completion); err != nil {
		return nil, m.garbled(x, err)
	}
	if len(completion.Choices) == 0 {
		return nil, m.garbled(x, errors.New("the answer has no choices"))
	}
	choice := completion.Choices[0]
	if p, ok := readError(json.RawMessage(choice.JSON.ExtraFields["error"].Raw())); ok {
		return nil, m.problem(x, p, nil)
	}
	switch {
	case choice.Message.Refusal != "":
		return nil, m.withheld(x, failure.ContentFiltered, "refusal", choice.Message.Refusal)
	case choice.FinishReason == "content_filter":
		return nil, m.withheld(x, failure.ContentFiltered, choice.FinishReason, "the provider withheld the answer")
	case choice.FinishReason == "insufficient_system_resource": // DeepSeek
		return nil, m.withheld(x, failure.Overloaded, choice.FinishReason, "the provider broke the answer off")
	}
	return answer(x, &completion), nil
}

// withheld is a success without an answer to use.
func (m *Model) withheld(x *exchange, kind failure.Kind, code, why string) error {
	return m.fail(failure.Error{Kind: kind, Status: x.status, Code: code, Message: why, RequestID: x.requestID()})
}

// answer maps the SDK's words for a completion with at least one choice.
func answer(x *exchange, completion *sdk.ChatCompletion) *llm.Response {
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
		RequestID: x.requestID(),
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
