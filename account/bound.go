package account

import (
	"encoding/json"
	"strings"

	"llmcall/llm"
)

// What providers add to the tokens of a prompt's own text. The tokens between messages
// and of a system message of their own are a few (OpenAI's harmony format has about 70 in
// all); Anthropic adds up to 530 to a request with tools
// (https://docs.anthropic.com/en/docs/tool-use-pricing-and-tokens) and an instruction to
// one with a schema. Rounded up to powers of two, with room.
const (
	perRequest = 256
	perMessage = 16
	withTools  = 1024
	withSchema = 1024
)

// contextWindow is the largest context window of the models in use: no prompt has more tokens.
const contextWindow = 2 << 20

// pictures has what a picture costs at most, in tokens, by the beginning of the model's
// name; the first row that fits counts.
//
//   - OpenAI: gpt-4o-mini has 2,833 and 5,667 for each of 8 tiles; others have at most
//     10,000 patches, with a factor of up to 2.46
//     (https://developers.openai.com/api/docs/guides/images-vision).
//   - Anthropic: a token for each 28 x 28 pixels of a picture that is scaled down to 2,576
//     pixels (https://platform.claude.com/docs/en/build-with-claude/vision).
//   - Gemini: 258 for each of 4 x 4 tiles of 768 pixels of a picture that is scaled down to
//     3,072; Gemini 3 has at most 2,240
//     (https://ai.google.dev/gemini-api/docs/media-resolution).
var pictures = []struct {
	model  string
	tokens int64
}{
	{"openai/gpt-4o-mini", 2833 + 8*5667},
	{"openai/", 24_600},
	{"anthropic/", 92 * 92},
	{"gemini/", 16 * 258},
}

// otherPicture is the most of pictures. Qwen2-VL, for example, has at most 16,384.
const otherPicture = 2833 + 8*5667

// A page of a document is a picture and its text, which is at most 3,000 tokens
// (https://platform.claude.com/docs/en/build-with-claude/pdf-support). Its number of pages
// is not looked at: a page takes at least 512 bytes, and no provider takes more than a
// thousand pages.
const (
	pageText  = 3000
	pageBytes = 512
	mostPages = 1000
)

// A second of a recording is at most 32 tokens (Gemini; OpenAI has 10), and has at least
// so many bytes in its format: 8 kHz of 8 bits in a WAV, the lowest bit rate of an MP3,
// and for the others a silence that was left out.
const perSecond = 32

var bytesPerSecond = map[string]int64{"audio/wav": 8000, "audio/x-wav": 8000, "audio/mpeg": 1000, "audio/mp3": 1000}

const fewestBytes = 100 // a second

// MostInput returns how many tokens the prompt of a request to a model can have at most;
// model is the full name ("openai/gpt-6"), of which the provider decides about pictures.
//
// The tokenizers of language models work on bytes, and each of their tokens has at least
// one: text has at most as many tokens as bytes. What goes through JSON on its way (tools,
// their calls and results, extra fields) is counted twice, for its escapes, and a schema
// with what adapters add to it for strict decoders.
// Pictures, documents and recordings have upper bounds by their kind that are given at
// the tables of this file; documents and recordings whose content is fetched by the
// provider count as a whole context window (2,097,152 tokens). Such bounds are far above
// what is used, a hundredfold for a document; a [Ratio] learns by how much.
//
// Tools that run at the provider, such as a search whose results are added to the prompt,
// are not seen here.
func MostInput(req *llm.Request, model string) int64 {
	n := int64(perRequest)
	for _, m := range req.Messages {
		n = add(n, perMessage)
		for _, p := range m.Parts {
			n = add(n, mostOf(p, model))
		}
	}
	for _, t := range req.Tools {
		n = add(n, perMessage+2*int64(len(t.Name)+len(t.Description))+mostOfSchema(t.Parameters))
	}
	if len(req.Tools) > 0 {
		n = add(n, withTools)
	}
	if req.Schema != nil {
		n = add(n, withSchema+2*int64(len(req.Schema.Name))+mostOfSchema(req.Schema.JSON))
	}
	if len(req.Extra) > 0 {
		if text, err := json.Marshal(req.Extra); err == nil { // else the request can't be sent
			n = add(n, 2*int64(len(text)))
		}
	}
	return n
}

// mostOf returns how many tokens a part can be at most.
func mostOf(of llm.Part, model string) int64 {
	switch p := of.(type) {
	case llm.Text:
		return int64(len(p))
	case llm.Image:
		return pictureOf(model)
	case llm.Document:
		if len(p.Data) == 0 {
			return contextWindow
		}
		pages := min(mostPages, int64(len(p.Data))/pageBytes+1)
		return min(contextWindow, int64(len(p.Name))+pages*(pageText+pictureOf(model)))
	case llm.Audio:
		if len(p.Data) == 0 {
			return contextWindow
		}
		rate, known := bytesPerSecond[p.MediaType]
		if !known {
			rate = fewestBytes
		}
		return min(contextWindow, (int64(len(p.Data))/rate+1)*perSecond)
	case llm.ToolCall:
		return perMessage + 2*int64(len(p.ID)+len(p.Name)+len(p.Arguments)+len(p.Signature))
	case llm.ToolResult:
		return perMessage + 2*int64(len(p.CallID)+len(p.Content))
	case llm.Reasoning:
		return 2 * int64(len(p.Data))
	}
	return contextWindow // a kind that is not known here
}

func pictureOf(model string) int64 {
	for _, row := range pictures {
		if strings.HasPrefix(model, row.model) {
			return row.tokens
		}
	}
	return otherPicture
}
