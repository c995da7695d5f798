package openai

import (
	"cmp"
	"encoding/json"
	"errors"
	"slices"

	sdk "github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/packages/respjson"
	"github.com/tidwall/gjson"

	"llmcall/llm"
	"llmcall/provider/internal/wire"
)

// readCompletion reads a whole answer, or the error that it contains: OpenRouter, for
// one, sends a failure during the generation with a status of 200, at the top or in
// the choice.
func readCompletion(x *wire.Exchange, body []byte) (*llm.Response, error) {
	if err := x.ErrorWithin(body); err != nil {
		return nil, err
	}
	if x.Sound(body) {
		if p, ok := readPlain(body); ok {
			return p.answer(x)
		}
	}
	var completion sdk.ChatCompletion
	if err := x.Decode(body, &completion); err != nil {
		return nil, x.GarbledPart(body, err)
	}
	if len(completion.Choices) == 0 {
		return nil, x.Empty(body, errors.New("the answer has no choices"))
	}
	answer := &llm.Response{Model: completion.Model, RequestID: x.RequestID("X-Request-Id"), Usage: usage(completion.Usage)}
	choice := completion.Choices[0]
	if err := choiceError(x, choice.JSON.ExtraFields["error"].Raw()); err != nil {
		return wire.Billed(answer), err
	}
	s := completionStream{x: x, id: completion.ID, reason: choice.FinishReason, native: native(choice.JSON.ExtraFields)}
	text := s.message(choice.Message)
	if !choice.JSON.Message.Valid() {
		text, _, _ = contentOf(choice.JSON.ExtraFields["text"].Raw())
	}
	if err := s.refused(); err != nil {
		return wire.Billed(answer), err
	}
	calls := s.toolCalls()
	var err error
	if answer.Finish, err = x.Finish(s.reason, s.native, calls); err != nil {
		return wire.Billed(answer), err
	}
	answer.Message = llm.Message{Role: llm.RoleAssistant, Parts: []llm.Part{}}
	if part, ok := s.reasoning.part(x.Endpoint.Provider, len(calls) > 0); ok {
		answer.Message.Parts = append(answer.Message.Parts, part)
	}
	if text != "" {
		answer.Message.Parts = append(answer.Message.Parts, llm.Text(text))
	}
	for _, call := range calls {
		answer.Message.Parts = append(answer.Message.Parts, call)
	}
	return answer, nil
}

// choiceError returns the error in a choice, or nil.
func choiceError(x *wire.Exchange, raw string) error {
	if raw == "" {
		return nil
	}
	return x.ErrorWithin([]byte(`{"error":` + raw + `}`))
}

// native returns the server's own reason to stop, which OpenRouter keeps beside OpenAI's.
func native(fields map[string]respjson.Field) string {
	var reason string
	_ = json.Unmarshal([]byte(fields["native_finish_reason"].Raw()), &reason) // anything else has nothing to tell
	return reason
}

// contentOf returns what is in a field that the SDK reads as a text, and that some
// servers send as a list of parts: the text, the model's thoughts, and a refusal.
// Mistral's reasoning models have a part of the type thinking before the text, and
// its answers with references have several parts for one sentence
// (https://docs.mistral.ai/capabilities/reasoning).
func contentOf(raw string) (text, thinking, refusal string) {
	switch value := gjson.Parse(raw); {
	case value.IsArray() && len(value.Array()) > 0 && !slices.ContainsFunc(value.Array(), isPart):
		text = value.Raw
	case value.IsArray():
		for _, part := range value.Array() {
			t, th, r := contentOf(part.Raw)
			text, thinking, refusal = text+t, thinking+th, refusal+r
		}
	case value.IsObject() && !isPart(value):
		text = value.Raw
	case value.IsObject():
		switch kind := value.Get("type").String(); kind {
		case "thinking", "reasoning":
			for _, field := range []string{"thinking", "reasoning", "text", "summary"} {
				t, th, _ := contentOf(value.Get(field).Raw)
				thinking += t + th
			}
		case "refusal":
			refusal = value.Get("refusal").String()
		case "", "text", "output_text":
			text, thinking, refusal = contentOf(cmp.Or(value.Get("text.value").Raw, value.Get("text").Raw))
		}
	case value.Type != gjson.Null:
		text = value.String()
	}
	return text, thinking, refusal
}

// isPart reports whether a value is a part of a content: a text, or an object with a type
// or a text. Other JSON is an answer that the server did not write as a text.
func isPart(value gjson.Result) bool {
	return !value.IsObject() && !value.IsArray() || value.Get("type").Exists() || value.Get("text").Exists()
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
		InputTokens:      u.PromptTokens,
		OutputTokens:     output,
		CachedTokens:     u.PromptTokensDetails.CachedTokens,
		ReasoningTokens:  thought,
		CacheWriteTokens: u.PromptTokensDetails.CacheWriteTokens,
		AudioTokens:      u.PromptTokensDetails.AudioTokens,
	}
}
