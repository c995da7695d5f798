package gemini

import (
	"strings"

	"github.com/tidwall/gjson"

	"llmcall/provider/internal/wire"
)

// readPlain reads a whole answer, which is valid JSON, if all of it is known here and its
// content is one text. ok is false if a field is not, or has not the type that Gemini's have.
func readPlain(data []byte) (g generated, text string, ok bool) {
	texts := 0
	ok = wire.EachMember(gjson.ParseBytes(data), func(name string, value gjson.Result) bool {
		switch name {
		case "modelVersion":
			g.ModelVersion = value.Str
			return value.Type == gjson.String
		case "responseId":
			g.ResponseID = value.Str
			return value.Type == gjson.String
		case "createTime":
			return true
		case "usageMetadata":
			g.UsageMetadata = new(usage)
			return g.UsageMetadata.plain(value)
		case "candidates":
			texts++
			var c choice
			ok := value.IsArray() && wire.OnlyValue(value, func(only gjson.Result) bool { return c.plain(only, &text) })
			g.Candidates = []choice{c}
			return ok
		}
		return false
	})
	return g, text, ok && texts == 1
}

func (c *choice) plain(value gjson.Result, text *string) bool {
	texts := 0
	return wire.EachMember(value, func(name string, value gjson.Result) bool {
		switch name {
		case "avgLogprobs", "safetyRatings":
			return true
		case "index":
			return value.Raw == "0"
		case "finishReason":
			c.FinishReason = value.Str
			return value.Type == gjson.String
		case "content":
			return wire.EachMember(value, func(name string, value gjson.Result) bool {
				switch name {
				case "role":
					return value.Type == gjson.String
				case "parts":
					return value.IsArray() && wire.OnlyValue(value, func(only gjson.Result) bool {
						return wire.EachMember(only, func(name string, value gjson.Result) bool {
							texts++
							*text = value.Str
							// Half a surrogate pair is read as something else by encoding/json.
							return name == "text" && value.Type == gjson.String && !strings.Contains(strings.ToLower(value.Raw), `\ud`)
						})
					})
				}
				return false
			})
		}
		return false
	}) && texts == 1
}

func (u *usage) plain(value gjson.Result) bool {
	return wire.EachMember(value, func(name string, value gjson.Result) bool {
		switch name {
		case "promptTokenCount":
			return wholeCount(value, &u.Prompt)
		case "toolUsePromptTokenCount":
			return wholeCount(value, &u.ToolUse)
		case "cachedContentTokenCount":
			return wholeCount(value, &u.Cached)
		case "candidatesTokenCount":
			return wholeCount(value, &u.Candidates)
		case "thoughtsTokenCount":
			return wholeCount(value, &u.Thoughts)
		case "totalTokenCount", "trafficType", "serviceTier", "candidatesTokensDetails":
			return true
		case "promptTokensDetails":
			return value.IsArray() && wire.OnlyValue(value, func(only gjson.Result) bool {
				return only.Get("modality").Str == "TEXT" && wire.EachMember(only, func(name string, value gjson.Result) bool {
					return name == "modality" || name == "tokenCount" && wholeCount(value, new(int64))
				})
			})
		}
		return false
	})
}

// wholeCount reads a count, which encoding/json takes only in digits.
func wholeCount(value gjson.Result, count *int64) bool {
	for _, c := range value.Raw {
		if c < '0' || c > '9' {
			return false
		}
	}
	return len(value.Raw) < 19 && wire.Count(value, count)
}
