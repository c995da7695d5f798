package anthropic

import (
	sdk "github.com/anthropics/anthropic-sdk-go"
	"github.com/tidwall/gjson"

	"llmcall/provider/internal/wire"
)

// head is what is read of a whole answer beside its content.
type head struct {
	model, reason string
	details       sdk.RefusalStopDetails
	usage         counts
}

// readHead reads a message.
func readHead(x *wire.Exchange, body []byte) (head, error) {
	if x.Sound(body) {
		if h, ok := plainHead(body); ok {
			return h, nil
		}
	}
	var message sdk.Message
	err := x.Decode(body, &message)
	u := message.Usage
	return head{
		model: message.Model, reason: string(message.StopReason), details: message.StopDetails,
		usage: counts{
			input: u.InputTokens, written: u.CacheCreationInputTokens, writtenFor1h: u.CacheCreation.Ephemeral1hInputTokens,
			read: u.CacheReadInputTokens, output: u.OutputTokens, thought: u.OutputTokensDetails.ThinkingTokens,
		},
	}, err
}

// plainHead reads a message, which is valid JSON, if all of it is known here. ok is false if a
// field is not, or has not the type that Anthropic's have.
func plainHead(body []byte) (h head, ok bool) {
	ok = wire.EachMember(gjson.ParseBytes(body), func(name string, value gjson.Result) bool {
		switch name {
		case "id", "type", "role", "stop_sequence", "container", "context_management":
			return value.Type == gjson.String || value.Type == gjson.Null
		case "model":
			h.model = value.Str
			return value.Type == gjson.String
		case "stop_reason":
			h.reason = value.Str
			return value.Type == gjson.String
		case "stop_details":
			return value.Type == gjson.Null
		case "content":
			return value.IsArray() && plainBlocks(value)
		case "usage":
			return h.usage.plain(value)
		}
		return false
	})
	return h, ok
}

// plainBlocks reports whether all blocks are texts.
func plainBlocks(blocks gjson.Result) bool {
	ok := true
	blocks.ForEach(func(_, block gjson.Result) bool {
		ok = wire.EachMember(block, func(name string, value gjson.Result) bool {
			switch name {
			case "type":
				return value.Str == "text"
			case "text":
				return value.Type == gjson.String
			case "citations":
				return value.Type == gjson.Null
			}
			return false
		})
		return ok
	})
	return ok
}

func (c *counts) plain(usage gjson.Result) bool {
	return wire.EachMember(usage, func(name string, value gjson.Result) bool {
		switch name {
		case "input_tokens":
			return wire.Count(value, &c.input)
		case "cache_creation_input_tokens":
			return wire.Count(value, &c.written)
		case "cache_read_input_tokens":
			return wire.Count(value, &c.read)
		case "output_tokens":
			return wire.Count(value, &c.output)
		case "service_tier", "inference_geo":
			return value.Type == gjson.String || value.Type == gjson.Null
		case "server_tool_use":
			return value.Type == gjson.Null
		case "cache_creation":
			return wire.EachMember(value, func(name string, value gjson.Result) bool {
				switch name {
				case "ephemeral_1h_input_tokens":
					return wire.Count(value, &c.writtenFor1h)
				case "ephemeral_5m_input_tokens":
					return value.Type == gjson.Number
				}
				return false
			})
		}
		return false
	})
}
