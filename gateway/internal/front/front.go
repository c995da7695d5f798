package front

import (
	"cmp"
	"encoding/json"
	"net/url"
	"strings"
	"time"

	"github.com/tidwall/gjson"

	"llmcall/internal/protocol"
	"llmcall/llm"
)

// Options are what is known of the request whose answer is written.
type Options struct {
	IncludeUsage bool         // a stream of chat completions is to end with the usage
	Model        string       // as the client named it. Default "": as the answer names it
	Query        url.Values   // of the request: without alt=sse, Gemini's streams are JSON arrays
	ID           protocol.IDs // makes the answer's identifiers; required
	Now          time.Time    // when the answer was made
	// Body is the request as the client wrote it. It says whether the client wants to see
	// thoughts, and has the settings that OpenAI's responses repeat. Default nil: it wants
	// none, and the settings are the usual.
	Body []byte
}

// Whole writes an answer in a protocol. lost names what of the answer the protocol has no
// place for.
func Whole(p protocol.Protocol, resp *llm.Response, o Options) (body []byte, lost []string) {
	w := newWriter(p, o)
	var parts []protocol.Part
	for _, part := range resp.Message.Parts {
		parts = append(parts, w.parts(part)...)
	}
	w.turn.Parts = joined(p, parts)
	w.end(resp)
	return p.Whole(w.turn), w.lost
}

// joined puts Gemini's signature of a text into the part with the text, which comes before
// it.
func joined(p protocol.Protocol, parts []protocol.Part) []protocol.Part {
	if p.Name() != gemini {
		return parts
	}
	var out []protocol.Part
	for _, part := range parts {
		if sign, alone := signatureAlone(part); alone && len(out) > 0 && out[len(out)-1].Kind == protocol.TextPart {
			last := &out[len(out)-1]
			*last = protocol.Part{Kind: protocol.OwnPart, Own: object("text", last.Text, "thoughtSignature", sign)}
			continue
		}
		out = append(out, part)
	}
	return out
}

// The names of the protocols.
const (
	chat      = "openai"
	responses = "openai-responses"
	anthropic = "anthropic"
	gemini    = "gemini"
)

// writer converts what package llm has to what a protocol writes.
type writer struct {
	name     string // of the protocol
	turn     *protocol.Turn
	thoughts bool // those of other protocols are shown
	called   bool // there was a call
	lost     []string
}

func newWriter(p protocol.Protocol, o Options) *writer {
	w := &writer{name: p.Name(), turn: &protocol.Turn{
		Request: &protocol.Request{Model: o.Model, IncludeUsage: o.IncludeUsage}, ID: o.ID, Now: o.Now,
	}}
	w.thoughts = wantsThoughts(w.name, o.Body)
	if w.name == responses {
		w.turn.Request.Settings = settings(o.Body)
		w.turn.ID = func(prefix string) string {
			// Package body knows by the prefix which thoughts are not OpenAI's own.
			if rest, ok := strings.CutPrefix(prefix, "rs_"); ok {
				prefix = "rs_llmcall_" + rest
			}
			return o.ID(prefix)
		}
	}
	return w
}

// repeated are the settings that a response repeats
// (platform.openai.com/docs/api-reference/responses/object).
var repeated = []string{"instructions", "max_output_tokens", "parallel_tool_calls", "reasoning", "temperature", "text", "tool_choice", "tools", "top_p", "truncation", "user", "metadata"}

func settings(body []byte) map[string]json.RawMessage {
	out := map[string]json.RawMessage{}
	for _, name := range repeated {
		value := gjson.GetBytes(body, name)
		if line, ok := protocol.Compact([]byte(value.Raw)); ok && value.Type != gjson.Null {
			out[name] = line
		}
	}
	return out
}

// wantsThoughts reports whether a request asks to see thoughts. A client that did not ask
// may take the first part of an answer for its text.
func wantsThoughts(name string, body []byte) bool {
	switch name {
	case chat: // clients that don't know the field don't see it
		return true
	case responses:
		reasoning := gjson.GetBytes(body, "reasoning")
		return reasoning.Get("summary").String()+reasoning.Get("generate_summary").String() != ""
	case anthropic:
		thinking := gjson.GetBytes(body, "thinking")
		kind := thinking.Get("type").String()
		return kind != "" && kind != "disabled" && thinking.Get("display").String() != "omitted"
	}
	for _, config := range []string{"generationConfig", "generation_config"} {
		for _, thinking := range []string{"thinkingConfig.includeThoughts", "thinking_config.include_thoughts"} {
			if gjson.GetBytes(body, config+"."+thinking).Bool() {
				return true
			}
		}
	}
	return false
}

// end sets what is known at the end of an answer.
func (w *writer) end(resp *llm.Response) {
	w.turn.Request.Model = cmp.Or(w.turn.Request.Model, resp.Model)
	u := resp.Usage
	w.turn.Usage = protocol.Usage{
		In: int(u.InputTokens), Out: int(u.OutputTokens), Cached: int(u.CachedTokens), Reasoning: int(u.ReasoningTokens),
		Stored: int(u.CacheWriteTokens), Stored1h: int(u.CacheWrite1hTokens), Audio: int(u.AudioTokens), CachedAudio: int(u.CachedAudioTokens),
	}
	w.turn.Finish, w.turn.Native = w.finish(resp.Finish)
	for _, c := range uncounted[w.name] {
		if c.of(u) > 0 {
			w.lose("usage: " + c.name)
		}
	}
}

// count is a count of tokens, by its name in package llm.
type count struct {
	name string
	of   func(llm.Usage) int64
}

var (
	storedTokens      = count{"cache_write_tokens", func(u llm.Usage) int64 { return u.CacheWriteTokens }}
	stored1hTokens    = count{"cache_write_1h_tokens", func(u llm.Usage) int64 { return u.CacheWrite1hTokens }}
	audioTokens       = count{"audio_tokens", func(u llm.Usage) int64 { return u.AudioTokens }}
	cachedAudioTokens = count{"cached_audio_tokens", func(u llm.Usage) int64 { return u.CachedAudioTokens }}
)

// uncounted are the counts that a protocol's usage does not have.
var uncounted = map[string][]count{
	chat:      {stored1hTokens, cachedAudioTokens},
	responses: {stored1hTokens, audioTokens, cachedAudioTokens},
	anthropic: {audioTokens, cachedAudioTokens},
	gemini:    {storedTokens, stored1hTokens},
}

// pausedWords are the protocols' words for an answer that its provider broke off to go on
// with it later. Only Anthropic has one.
var pausedWords = map[string]string{responses: "pause", anthropic: "pause_turn", gemini: "OTHER"}

// finish returns why an answer ended.
func (w *writer) finish(f llm.Finish) (protocol.Finish, string) {
	switch f {
	case llm.FinishStop:
		if w.called { // clients run tools if the answer says so
			return protocol.FinishTool, ""
		}
		return protocol.FinishStop, ""
	case llm.FinishLength:
		return protocol.FinishLength, ""
	case llm.FinishToolCall:
		return protocol.FinishTool, ""
	case llm.FinishFiltered:
		return protocol.FinishFilter, ""
	case llm.FinishNone:
		return protocol.FinishNone, ""
	case llm.FinishPaused:
		if w.name != anthropic {
			w.lose("finish: pause is told as an answer that is not whole")
		}
		if word := pausedWords[w.name]; word != "" {
			return protocol.FinishNone, word
		}
		return protocol.FinishLength, ""
	}
	return protocol.FinishNone, strings.ToValidUTF8(string(f), "\ufffd")
}

func (w *writer) lose(what string) { w.lost = append(w.lost, what) }
