package gemini

import (
	"encoding/json"
	"reflect"
	"slices"
	"testing"

	"llmcall/provider/internal/providertest"

	"pgregory.net/rapid"
)

// Where the short reader reads an answer, it reads what encoding/json does.
func TestPlainAnswersAreReadAlike(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		odd := rapid.SliceOfN(rapid.SampledFrom([]string{"promptTokenCount", "promptTokensDetails", "tokenCount", "modality", "text", "parts", "role", "content", "finishReason", "index", "candidates", "usageMetadata", "modelVersion", "responseId", "new"}), 0, 2).Draw(t, "odd")
		object := func(members ...[]string) string {
			if slices.Contains(odd, "new") {
				members = append(members, []string{"new", "1"}, []string{"thought", "true"})
			}
			return providertest.DrawObject(t, odd, members...)
		}
		used := object([]string{"promptTokenCount", "12", "12", "0", "1", "1.5", "1e2", "-1", "99999999999999999999"}, []string{"candidatesTokenCount", "5"}, []string{"thoughtsTokenCount", "7"}, []string{"totalTokenCount", "24"},
			[]string{"promptTokensDetails", "[" + object([]string{"modality", `"TEXT"`, `"TEXT"`, `"TEXT"`, `"AUDIO"`}, []string{"tokenCount", "12"}) + "]"})
		part := object([]string{"text", `"Hello!"`, `""`, `"\ud83d\u0041"`, `"\u00e9\n\/"`})
		content := object([]string{"parts", "[" + part + "]", "[" + part + "]", "[" + part + "]", "[" + part + "," + part + "]"}, []string{"role", `"model"`})
		candidate := object([]string{"content", content}, []string{"finishReason", `"STOP"`, `"MAX_TOKENS"`}, []string{"index", "0", "0", "0", "0.0"}, []string{"avgLogprobs", "-0.5"})
		body := object([]string{"candidates", "[" + candidate + "]"}, []string{"usageMetadata", used}, []string{"modelVersion", `"m"`}, []string{"responseId", `"r"`})
		g, text, ok := readPlain([]byte(body))
		if !ok {
			return
		}
		var want generated
		if err := json.Unmarshal([]byte(body), &want); err != nil {
			t.Fatalf("%s: %v", body, err)
		}
		var parts []received
		for i := range want.Candidates {
			for _, raw := range want.Candidates[i].Content.parts {
				var p received
				if err := json.Unmarshal(raw, &p); err != nil {
					t.Fatalf("%s: %v", body, err)
				}
				parts = append(parts, p)
			}
			want.Candidates[i].Content.parts = nil
		}
		if want.UsageMetadata != nil {
			if want.UsageMetadata.PromptDetails.audio() != 0 {
				t.Fatalf("%s: sound was not counted", body)
			}
			want.UsageMetadata.PromptDetails = nil
		}
		if !reflect.DeepEqual(g, want) || !reflect.DeepEqual(parts, []received{{Text: &text}}) {
			t.Fatalf("%s\nread as %+v, %q\nwant %+v, %+v", body, g, text, want, parts)
		}
	})
}

// Gemini's own answer is plain.
func TestWhatIsPlain(t *testing.T) {
	const own = `{"candidates":[{"content":{"parts":[{"text":"Hello!"}],"role":"model"},"finishReason":"STOP","index":0}],"usageMetadata":{"promptTokenCount":9,"candidatesTokenCount":2,"totalTokenCount":11,"promptTokensDetails":[{"modality":"TEXT","tokenCount":9}],"serviceTier":"standard"},"modelVersion":"m","responseId":"r"}`
	if _, _, ok := readPlain([]byte(own)); !ok {
		t.Error("it is not")
	}
}
