package recorded

import (
	"maps"
	"strings"
	"testing"

	"llmcall/internal/body"
)

// What clients have really sent is read whole, by the names that the protocols have in
// llmcall. For a model of the same protocol nothing is lost but what changes no answer, and
// for one of another what is lost is known.
func TestBodies(t *testing.T) {
	names := map[*protocol]string{chat: "openai", response: "openai-responses", messages: "anthropic", generate: "gemini"}
	counts, refused := map[string]int{}, map[string]int{}
	for _, x := range load(t) {
		by, _ := route(x.url)
		if by == nil || len(x.asked) == 0 {
			continue
		}
		b, err := body.Read(names[by], x.asked)
		if err != nil {
			t.Errorf("%s: %v", x.source, err)
			continue
		}
		counts[names[by]]++
		if model, stream := x.model(); by != generate && (b.Model != "" && b.Model != model || b.Stream != stream) { // that of Gemini is in the path
			t.Errorf("%s: the model is %q, stream %v", x.source, b.Model, b.Stream)
		}
		for _, to := range names {
			_, losses := b.To(to)
			for _, l := range losses {
				if !l.Harmless {
					field, _, _ := strings.Cut(l.Field, "[")
					refused[names[by]+" to "+to+": "+field]++
				}
			}
		}
	}
	if want := map[string]int{"openai": 412, "openai-responses": 78, "anthropic": 70, "gemini": 98}; !maps.Equal(counts, want) {
		t.Errorf("%v bodies, want %v", counts, want)
	}
	want := map[string]int{
		// A function in the form that OpenAI has replaced.
		"openai to openai: functions": 1, "openai to openai-responses: functions": 1, "openai to anthropic: functions": 1, "openai to gemini: functions": 1,
		"openai to openai-responses: stop": 3,
		// Searches on the web, and computers, that the provider runs.
		"openai-responses to openai: tools": 2, "openai-responses to anthropic: tools": 2, "openai-responses to gemini: tools": 2,
		"anthropic to openai: tools": 11, "anthropic to openai-responses: tools": 11, "anthropic to gemini: tools": 11,
		// What such a search has found.
		"anthropic to openai: messages": 2, "anthropic to openai-responses: messages": 2, "anthropic to gemini: messages": 2,
	}
	if !maps.Equal(refused, want) {
		t.Errorf("refused: %v, want %v", refused, want)
	}
}
