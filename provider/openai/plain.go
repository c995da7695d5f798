package openai

import (
	sdk "github.com/openai/openai-go/v3"
	"github.com/tidwall/gjson"

	"llmcall/provider/internal/wire"
)

// plain is a whole answer that is a text and nothing else, as most are. The SDK's reader keeps
// what it read of every field, for which it takes more of the processor than all the rest of a
// call: four fifths of an answer of 1 KiB.
type plain struct {
	model, text, reason string
	usage               sdk.CompletionUsage
}

// readPlain reads a chat completion, which is valid JSON, if all of it is known here. ok is
// false if a field is not, or has not the type that OpenAI's have: servers differ, and then
// the whole reader decides.
func readPlain(body []byte) (p plain, ok bool) {
	choices := 0
	ok = wire.EachMember(gjson.ParseBytes(body), func(name string, value gjson.Result) bool {
		switch name {
		case "id", "object", "created", "service_tier", "system_fingerprint":
		case "model":
			p.model = value.Str
			return value.Type == gjson.String
		case "choices":
			choices = 1
			return value.IsArray() && wire.OnlyValue(value, p.choice)
		case "usage":
			return p.count(value)
		default:
			return false
		}
		return true
	})
	return p, ok && choices == 1 && p.reason != ""
}

func (p *plain) choice(choice gjson.Result) bool {
	messages := 0
	return wire.EachMember(choice, func(name string, value gjson.Result) bool {
		switch name {
		case "logprobs":
		case "index":
			return value.Type == gjson.Number
		case "finish_reason":
			p.reason = value.Str
			return value.Type == gjson.String
		case "message":
			messages++
			return wire.EachMember(value, p.part)
		default:
			return false
		}
		return true
	}) && messages == 1
}

func (p *plain) part(name string, value gjson.Result) bool {
	switch name {
	case "role", "annotations":
	case "content":
		p.text = value.Str
		return value.Type == gjson.String
	case "refusal", "audio", "function_call", "tool_calls":
		return value.Type == gjson.Null
	default:
		return false
	}
	return true
}

func (p *plain) count(usage gjson.Result) bool {
	return wire.EachMember(usage, func(name string, value gjson.Result) bool {
		switch name {
		case "prompt_tokens":
			return wire.Count(value, &p.usage.PromptTokens)
		case "completion_tokens":
			return wire.Count(value, &p.usage.CompletionTokens)
		case "total_tokens":
			return wire.Count(value, &p.usage.TotalTokens)
		case "prompt_tokens_details":
			return wire.EachMember(value, func(name string, value gjson.Result) bool {
				switch name {
				case "cached_tokens":
					return wire.Count(value, &p.usage.PromptTokensDetails.CachedTokens)
				case "cache_write_tokens":
					return wire.Count(value, &p.usage.PromptTokensDetails.CacheWriteTokens)
				case "audio_tokens":
					return wire.Count(value, &p.usage.PromptTokensDetails.AudioTokens)
				}
				return false
			})
		case "completion_tokens_details":
			return wire.EachMember(value, func(name string, value gjson.Result) bool {
				switch name {
				case "reasoning_tokens":
					return wire.Count(value, &p.usage.CompletionTokensDetails.ReasoningTokens)
				case "audio_tokens", "accepted_prediction_tokens", "rejected_prediction_tokens":
					return true
				}
				return false
			})
		}
		return false
	})
}
