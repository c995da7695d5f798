package openai

import (
	"encoding/json"

	sdk "github.com/openai/openai-go/v3"
	"github.com/tidwall/gjson"

	"llmcall/llm"
	"llmcall/provider/internal/wire"
)

// plain is a whole answer that is a text and nothing else, as most are. The SDK's reader keeps
// what it read of every field, for which it takes more of the processor than all the rest of a
// call: four fifths of an answer of 1 KiB.
type plain struct {
	id, model, text, reason string
	usage                   sdk.CompletionUsage
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

func (p *plain) count(used gjson.Result) bool {
	return wire.EachMember(used, func(name string, value gjson.Result) bool {
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

// readPlainResponse is readPlain for the Responses API.
func readPlainResponse(body []byte) (p plain, ok bool) {
	var texts int
	ok = wire.EachMember(gjson.ParseBytes(body), func(name string, value gjson.Result) bool {
		switch name {
		case "id", "object", "created_at", "completed_at", "background", "billing", "frequency_penalty", "instructions", "max_output_tokens", "max_tool_calls", "metadata",
			"parallel_tool_calls", "presence_penalty", "previous_response_id", "prompt_cache_key", "prompt_cache_retention", "reasoning", "safety_identifier", "service_tier",
			"store", "temperature", "text", "tool_choice", "tools", "top_logprobs", "top_p", "truncation", "user":
		case "model":
			p.model = value.Str
			return value.Type == gjson.String
		case "status":
			p.reason = value.Str
			return value.Str == "completed"
		case "error", "incomplete_details":
			return value.Type == gjson.Null
		case "output":
			texts++
			return value.IsArray() && wire.OnlyValue(value, p.item)
		case "usage":
			return p.countTokens(value)
		default:
			return false
		}
		return true
	})
	return p, ok && texts == 1 && p.reason != ""
}

func (p *plain) item(item gjson.Result) bool {
	typed, texts := false, 0
	return wire.EachMember(item, func(name string, value gjson.Result) bool {
		switch name {
		case "id", "status", "role":
			return value.Type == gjson.String
		case "type":
			typed = value.Str == "message"
			return typed
		case "content":
			texts++
			return value.IsArray() && wire.OnlyValue(value, p.outputText)
		}
		return false
	}) && typed && texts == 1
}

func (p *plain) outputText(part gjson.Result) bool {
	typed, texts := false, 0
	return wire.EachMember(part, func(name string, value gjson.Result) bool {
		switch name {
		case "annotations", "logprobs":
			return value.IsArray()
		case "type":
			typed = value.Str == "output_text"
			return typed
		case "text":
			texts++
			p.text = value.Str
			return value.Type == gjson.String
		}
		return false
	}) && typed && texts == 1
}

func (p *plain) countTokens(used gjson.Result) bool {
	u := &p.usage
	return wire.EachMember(used, func(name string, value gjson.Result) bool {
		switch name {
		case "input_tokens":
			return wire.Count(value, &u.PromptTokens)
		case "output_tokens":
			return wire.Count(value, &u.CompletionTokens)
		case "total_tokens":
			return value.Type == gjson.Number
		case "input_tokens_details":
			return wire.EachMember(value, func(name string, value gjson.Result) bool {
				switch name {
				case "cached_tokens":
					return wire.Count(value, &u.PromptTokensDetails.CachedTokens)
				case "cache_write_tokens":
					return wire.Count(value, &u.PromptTokensDetails.CacheWriteTokens)
				}
				return false
			})
		case "output_tokens_details":
			return wire.EachMember(value, func(name string, value gjson.Result) bool {
				return name == "reasoning_tokens" && wire.Count(value, &u.CompletionTokensDetails.ReasoningTokens)
			})
		}
		return false
	})
}

// response returns the answer of the Responses API.
func (p *plain) response(x *wire.Exchange) (*llm.Response, error) {
	u := p.usage
	return p.read(x, llm.Usage{
		InputTokens: u.PromptTokens, OutputTokens: u.CompletionTokens, CachedTokens: u.PromptTokensDetails.CachedTokens,
		ReasoningTokens: u.CompletionTokensDetails.ReasoningTokens, CacheWriteTokens: u.PromptTokensDetails.CacheWriteTokens,
	})
}

// answer returns the answer of the chat completions API.
func (p *plain) answer(x *wire.Exchange) (*llm.Response, error) { return p.read(x, usage(p.usage)) }

func (p *plain) read(x *wire.Exchange, used llm.Usage) (*llm.Response, error) {
	answer := &llm.Response{Model: p.model, RequestID: x.RequestID("X-Request-Id"), Usage: used}
	var err error
	if answer.Finish, err = x.Finish(p.reason, "", nil); err != nil {
		return wire.Billed(answer), err
	}
	answer.Message = llm.Message{Role: llm.RoleAssistant, Parts: []llm.Part{}}
	if p.text != "" {
		answer.Message.Parts = append(answer.Message.Parts, llm.Text(p.text))
	}
	return answer, nil
}

// readPlainPiece is readPlain for an event of a streamed chat completion that has a piece of
// the text and nothing else, as nearly all have.
func readPlainPiece(data []byte) (p plain, ok bool) {
	if !json.Valid(data) {
		return p, false
	}
	choices := 0
	ok = wire.EachMember(gjson.ParseBytes(data), func(name string, value gjson.Result) bool {
		switch name {
		case "object", "created", "service_tier", "system_fingerprint", "obfuscation":
		case "id":
			p.id = value.Str
			return value.Type == gjson.String
		case "model":
			p.model = value.Str
			return value.Type == gjson.String
		case "usage":
			return value.Type == gjson.Null
		case "choices":
			choices++
			return value.IsArray() && wire.OnlyValue(value, p.piece)
		default:
			return false
		}
		return true
	})
	return p, ok && choices == 1
}

func (p *plain) piece(choice gjson.Result) bool {
	deltas := 0
	return wire.EachMember(choice, func(name string, value gjson.Result) bool {
		switch name {
		case "logprobs":
			return true
		case "index":
			return value.Raw == "0"
		case "finish_reason":
			return value.Type == gjson.Null
		case "delta":
			deltas++
			return wire.EachMember(value, p.part)
		}
		return false
	}) && deltas == 1
}
