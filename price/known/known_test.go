package known

import (
	"regexp"
	"testing"
	"time"

	"llmcall/llm"
	"llmcall/price"
)

func TestPrices(t *testing.T) {
	at := time.Date(2026, 10, 1, 0, 0, 0, 0, time.UTC)
	used := llm.Usage{InputTokens: 100_000, OutputTokens: 10_000}
	for model, want := range map[string]int64{ // by hand, from the providers' pages
		"openai/gpt-6-luna":                   10_000_000 + 5_000_000,
		"openai/gpt-6-luna-2026-08-06":        10_000_000 + 5_000_000,
		"openai/gpt-6-luna-20260806":          10_000_000 + 5_000_000,
		"openai-responses/GPT-6-Luna":         10_000_000 + 5_000_000,
		"openai/gpt-6-luna-pro":               -1,
		"openai/gpt-image-1":                  -1,
		"openai/gpt-4o-audio-preview":         -1,
		"openai/text-embedding-3-small":       -1,
		"anthropic/claude-haiku-4-5-20251001": 100_000_000 + 50_000_000,
		"anthropic/claude-opus-4-6":           500_000_000 + 250_000_000,
		"gemini/gemini-2.5-flash":             30_000_000 + 25_000_000,
		"gemini/gemini-2.5-flash-image":       -1,
		"gemini/gemini-2.5-flash-preview-tts": 50_000_000 + 100_000_000,
		"gemini/claude-opus-4-6":              -1,
		"gemini/gemma-3-27b-it":               -1,
		"groq/openai/gpt-oss-120b":            15_000_000 + 6_000_000,
		"azure/gpt-5":                         -1,
		"acme/gpt-5":                          -1,
		"gpt-5":                               -1,
		"":                                    -1,
	} {
		p, ok := price.Known(model)
		if got := p.Cost(used, at); ok != (want >= 0) || ok && got != want {
			t.Errorf("%q costs %d, %t, want %d", model, got, ok, want)
		}
	}
}

func TestTheTableIsWhole(t *testing.T) {
	if !regexp.MustCompile(`^@pydantic/genai-prices \d+\.\d+\.\d+, 20\d\d-\d\d-\d\d$`).MatchString(Source()) {
		t.Error(Source())
	}
	if len(read().Providers) != 4 {
		t.Errorf("%d providers", len(read().Providers))
	}
	for provider, rows := range read().Providers {
		if len(rows) < 20 {
			t.Errorf("%s has %d models", provider, len(rows))
		}
		for _, r := range rows {
			if len(r.Match) == 0 || r.Price != nil && (r.Price.Input <= 0 || r.Price.Output <= 0) {
				t.Errorf("%s: %+v", provider, r)
			}
		}
	}
}

func TestFits(t *testing.T) {
	for _, c := range []struct {
		pattern, name string
		want          bool
	}{
		{"", "", true}, {"", "a", false}, {"a", "a", true}, {"a", "ab", false}, {"a*", "a", true}, {"a*", "abc", true}, {"a*", "ba", false},
		{"*a", "ba", true}, {"*a", "ab", false}, {"*a*", "bab", true}, {"#", "7", true}, {"#", "x", false}, {"#", "", false},
		{"a-####*", "a-2026-x", true}, {"a-####*", "a-202", false}, {"*", "", true},
	} {
		if got := fits(c.pattern, c.name); got != c.want {
			t.Errorf("%q, %q: %t", c.pattern, c.name, got)
		}
	}
}

func TestARowExcludes(t *testing.T) {
	r := row{Match: []string{"!*-tts", "!*-tts-*", "pro*"}}
	for name, want := range map[string]bool{"pro": true, "pro-9": true, "pro-tts": false, "pro-tts-9": false, "pro-ttsx": true, "tts": false} {
		if got := r.fits(name); got != want {
			t.Errorf("%s: %t", name, got)
		}
	}
}
