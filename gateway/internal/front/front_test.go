package front_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"llmcall/gateway/internal/front"
	"llmcall/internal/protocol"
	"llmcall/llm"
)

// ids makes identifiers, the same for the same prefix.
func ids(prefix string) string { return prefix + "7f3" }

var now = time.Unix(1_800_000_000, 0)

// A thought in the form of each protocol, and in that of thoughts taken out of a text.
var thoughtForms = map[string]func(text string) llm.Reasoning{
	"openai": func(text string) llm.Reasoning { return own("deepseek", "reasoning_content", text) },
	"openai-responses": func(text string) llm.Reasoning {
		return llm.Reasoning{Provider: "openai", Data: json.RawMessage(`{"id":"rs_1","type":"reasoning","summary":[{"type":"summary_text","text":` + quoted(text) + `}],"encrypted_content":"c2Vj"}`)}
	},
	"anthropic": func(text string) llm.Reasoning {
		return llm.Reasoning{Provider: "anthropic", Data: json.RawMessage(`{"type":"thinking","thinking":` + quoted(text) + `,"signature":"c2Vj"}`)}
	},
	"gemini": func(text string) llm.Reasoning {
		return llm.Reasoning{Provider: "gemini", Data: json.RawMessage(`{"text":` + quoted(text) + `,"thought":true}`)}
	},
	"text": func(text string) llm.Reasoning { return own("", "thinking", text) },
}

func own(provider, name, value string) llm.Reasoning {
	return llm.Reasoning{Provider: provider, Data: json.RawMessage(`{"` + name + `":` + quoted(value) + `}`)}
}

func quoted(text string) string {
	out, _ := json.Marshal(text)
	return string(out)
}

// wishes are requests that want to see thoughts.
var wishes = map[string]string{
	"openai":           `{}`,
	"openai-responses": `{"reasoning":{"summary":"auto"}}`,
	"anthropic":        `{"thinking":{"type":"enabled","budget_tokens":2000}}`,
	"gemini":           `{"generationConfig":{"thinkingConfig":{"includeThoughts":true}}}`,
}

// answers are random answers, and the form of their thought.
func drawAnswer(t *rapid.T) (resp *llm.Response, form string) {
	resp = &llm.Response{Message: llm.Message{Role: llm.RoleAssistant}, Model: "acme/m"}
	add := func(p llm.Part) { resp.Message.Parts = append(resp.Message.Parts, p) }
	texts := rapid.OneOf(rapid.StringN(1, 30, -1), rapid.SampledFrom([]string{"<b> & \"quoted\"\n\n", "data: x\r\n\r\n", "ünï\u2028", "[DONE]", ": x"}))
	if form = rapid.SampledFrom([]string{"", "openai", "openai-responses", "anthropic", "gemini", "text"}).Draw(t, "form"); form != "" {
		add(thoughtForms[form](texts.Draw(t, "thought")))
	}
	textMayFollow := true
	for range rapid.IntRange(0, 5).Draw(t, "parts") {
		if textMayFollow && rapid.Bool().Draw(t, "text?") {
			add(llm.Text(texts.Draw(t, "text")))
			textMayFollow = false
			continue
		}
		c := llm.ToolCall{ID: fmt.Sprintf("call_%d", len(resp.Message.Parts)), Name: rapid.SampledFrom([]string{"look", "put-it"}).Draw(t, "tool"),
			Arguments: json.RawMessage(rapid.SampledFrom([]string{``, `{}`, `{"a":1}`, `{ "a": "<ü>", "b": [null, {"c": 1.5}] }`}).Draw(t, "arguments"))}
		if rapid.Bool().Draw(t, "signed") {
			c.Signature = []byte(base64.StdEncoding.EncodeToString(rapid.SliceOfN(rapid.Byte(), 1, 20).Draw(t, "sign")))
		}
		add(c)
		textMayFollow = true
	}
	resp.Finish = rapid.SampledFrom([]llm.Finish{llm.FinishStop, llm.FinishLength, llm.FinishToolCall, llm.FinishFiltered, llm.FinishPaused, llm.FinishNone, "odd"}).Draw(t, "finish")
	if rapid.Bool().Draw(t, "usage") {
		count := func(name string, most int64) int64 { return rapid.Int64Range(0, most).Draw(t, name) }
		u := &resp.Usage
		u.InputTokens, u.OutputTokens = 1+count("in", 1e6), 1+count("out", 1e6)
		u.CachedTokens = count("cached", u.InputTokens)
		u.CacheWriteTokens = count("stored", u.InputTokens-u.CachedTokens)
		u.CacheWrite1hTokens = count("stored 1h", u.CacheWriteTokens)
		u.ReasoningTokens, u.AudioTokens = count("reasoning", u.OutputTokens), count("audio", u.InputTokens)
		u.CachedAudioTokens = count("cached audio", min(u.AudioTokens, u.CachedTokens))
	}
	return resp, form
}

// finishes are the words for why an answer ended: chat completions, responses, messages,
// Gemini.
var finishes = map[llm.Finish]map[string]string{
	llm.FinishStop:     {"openai": "stop", "openai-responses": "completed", "anthropic": "end_turn", "gemini": "STOP"},
	llm.FinishLength:   {"openai": "length", "openai-responses": "incomplete:max_output_tokens", "anthropic": "max_tokens", "gemini": "MAX_TOKENS"},
	llm.FinishToolCall: {"openai": "tool_calls", "openai-responses": "completed", "anthropic": "tool_use", "gemini": "STOP"},
	llm.FinishFiltered: {"openai": "content_filter", "openai-responses": "incomplete:content_filter", "anthropic": "refusal", "gemini": "SAFETY"},
	llm.FinishPaused:   {"openai": "length", "openai-responses": "incomplete:pause", "anthropic": "pause_turn", "gemini": "OTHER"},
	llm.FinishNone:     {"openai": "", "openai-responses": "incomplete", "anthropic": "", "gemini": ""},
	"odd":              {"openai": "odd", "openai-responses": "incomplete:odd", "anthropic": "odd", "gemini": "odd"},
}

// expected is what a client should hear, by what the package promises.
func expected(name string, resp *llm.Response, form string, wanted, stream bool) (h heard) {
	var texts []string
	for _, part := range resp.Message.Parts {
		switch p := part.(type) {
		case llm.Text:
			texts = append(texts, string(p))
			h.part("t")
		case llm.ToolCall:
			c := called{ID: p.ID, Name: p.Name, Arguments: string(p.Arguments)}
			if c.Arguments == "" {
				c.Arguments = "{}"
			}
			switch {
			case p.Signature == nil:
				if name == "gemini" && len(h.Calls) == 0 { // as Google says for the calls of other models
					c.Sign = "skip_thought_signature_validator"
				}
			case name == "gemini":
				sign, _ := base64.StdEncoding.DecodeString(string(p.Signature))
				c.Sign = string(sign)
			default:
				c.ID += "__sig_" + base64.RawURLEncoding.EncodeToString(p.Signature)
			}
			h.call(c)
		case llm.Reasoning:
			if form != name && !wanted && name != "openai" {
				continue
			}
			h.part("h")
			if form == name && (name == "openai-responses" || name == "anthropic") {
				h.Sealed = "c2Vj"
			}
			var data struct {
				Reasoning, Thinking, Text string
				Content                   string `json:"reasoning_content"`
				Summary                   []struct{ Text string }
			}
			if err := json.Unmarshal(p.Data, &data); err != nil {
				panic(err)
			}
			h.Thought = data.Content + data.Thinking + data.Text
			for _, s := range data.Summary {
				h.Thought += s.Text
			}
		}
	}
	h.Text = strings.Join(texts, map[bool]string{true: "\n"}[name == "openai"])
	finish := resp.Finish
	if finish == llm.FinishStop && len(h.Calls) > 0 {
		finish = llm.FinishToolCall
	}
	h.Finish = finishes[finish][name]
	u := resp.Usage
	h.Usage = counted{In: u.InputTokens, Out: u.OutputTokens, Cached: u.CachedTokens, Reasoning: u.ReasoningTokens, Stored: u.CacheWriteTokens}
	switch name {
	case "openai":
		h.Usage.Audio, h.Order = u.AudioTokens, ""
	case "anthropic":
		h.Usage.In -= u.CachedTokens + u.CacheWriteTokens
		if !stream { // only the beginning of a stream has a place for it
			h.Usage.Stored1h = u.CacheWrite1hTokens
		}
	case "gemini":
		h.Usage.Out -= u.ReasoningTokens
		h.Usage.Audio, h.Usage.Stored = u.AudioTokens, 0
	}
	return h
}

func options(name string, wanted bool) front.Options {
	o := front.Options{IncludeUsage: true, Model: "route", Query: map[string][]string{"alt": {"sse"}}, ID: ids, Now: now}
	if wanted {
		o.Body = []byte(wishes[name])
	}
	return o
}

// pieces writes an answer as a stream, with its texts in pieces of a size and signs of life
// in between.
func pieces(s *front.Stream, resp *llm.Response, size int, alive func() bool) (out [][]byte) {
	add := func(b []byte) {
		if alive() {
			out = append(out, s.KeepAlive())
		}
		out = append(out, b)
	}
	for _, p := range resp.Message.Parts {
		text, ok := p.(llm.Text)
		if !ok {
			add(s.Part(p))
			continue
		}
		for len(text) > 0 {
			n := min(size, len(text))
			for n < len(text) && text[n]&0xC0 == 0x80 { // between two runes
				n++
			}
			add(s.Text(string(text[:n])))
			text = text[n:]
		}
	}
	add(s.End(resp))
	return out
}

// Each official SDK reads every answer as it was, whole and as a stream.
func TestSDKsReadWhatIsWritten(t *testing.T) {
	for _, sdk := range sdks {
		t.Run(sdk.Name(), func(t *testing.T) {
			s := serve(t)
			rapid.Check(t, func(t *rapid.T) {
				resp, form := drawAnswer(t)
				wanted := rapid.Bool().Draw(t, "wants thoughts")
				o := options(sdk.Name(), wanted)
				body, _ := front.Whole(sdk.Protocol, resp, o)
				if got, want := s.ask(sdk, body), expected(sdk.Name(), resp, form, wanted, false); !same(got, want) {
					t.Fatalf("whole:\n got %+v\nwant %+v\nfrom %s", got, want, body)
				}
				stream := front.NewStream(sdk.Protocol, o)
				alive := rapid.Bool()
				sent := pieces(stream, resp, rapid.IntRange(1, 9).Draw(t, "size"), func() bool { return alive.Draw(t, "alive") })
				got, want := s.ask(sdk, nil, sent...), expected(sdk.Name(), resp, form, wanted, true)
				if got.Usage.Stored1h = 0; !same(got, want) {
					t.Fatalf("stream:\n got %+v\nwant %+v\nfrom %s", got, want, sent)
				}
			})
		})
	}
}

func same(a, b heard) bool { return fmt.Sprintf("%+v", a) == fmt.Sprintf("%+v", b) }

// An error ends a stream at any place, before its first piece too, and the SDK says it.
func TestAnErrorWithinAStreamIsHeard(t *testing.T) {
	resp := &llm.Response{Message: llm.Message{Parts: []llm.Part{own("deepseek", "reasoning_content", "hm"), llm.Text("Let me look."),
		llm.ToolCall{ID: "a", Name: "look", Arguments: json.RawMessage(`{"a":1}`)}, llm.Text("So.")}}}
	for _, sdk := range sdks {
		s := serve(t)
		for n := range 5 {
			stream := front.NewStream(sdk.Protocol, options(sdk.Name(), true))
			sent := [][]byte{stream.KeepAlive(), stream.KeepAlive()}
			for _, p := range resp.Message.Parts[:min(n, 4)] {
				if text, ok := p.(llm.Text); ok {
					sent = append(sent, stream.Text(string(text)))
				} else {
					sent = append(sent, stream.Part(p), stream.KeepAlive())
				}
			}
			e := &protocol.Error{Status: 503, Kind: sdk.Kind(503), Message: "nobody\nanswers", Code: "provider_failed"}
			sent = append(sent, stream.KeepAlive(), stream.Error(e))
			if got := s.ask(sdk, nil, sent...); !strings.Contains(got.Err, "nobody") || got.Finish != "" {
				t.Errorf("%s, after %d parts: %+v\n%s", sdk.Name(), n, got, sent)
			}
			if !stream.Begun() {
				t.Errorf("%s: an error is no beginning", sdk.Name())
			}
		}
	}
}
