package anthropic

import (
	"net/http"
	"reflect"
	"slices"
	"testing"

	"llmcall/provider/internal/providertest"
	"llmcall/provider/internal/wire"

	"pgregory.net/rapid"
)

// Where the short reader reads a message, it reads what the SDK's does.
func TestPlainHeadsAreReadAlike(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		odd := rapid.SliceOfN(rapid.SampledFrom([]string{"type", "text", "citations", "input_tokens", "cache_creation", "ephemeral_1h_input_tokens", "service_tier", "model", "content", "stop_reason", "usage", "new"}), 0, 2).Draw(t, "odd")
		object := func(members ...[]string) string {
			if slices.Contains(odd, "new") {
				members = append(members, []string{"new", "1"})
			}
			return providertest.DrawObject(t, odd, members...)
		}
		block := object([]string{"type", `"text"`}, []string{"text", `"Hello!"`, `""`, `"\u00e9"`}, []string{"citations", "null"})
		usage := object([]string{"input_tokens", "12", "3e2"}, []string{"cache_creation_input_tokens", "5"}, []string{"cache_read_input_tokens", "0"}, []string{"output_tokens", "9007199254740993"},
			[]string{"cache_creation", object([]string{"ephemeral_1h_input_tokens", "2"}, []string{"ephemeral_5m_input_tokens", "3"})}, []string{"service_tier", `"standard"`})
		body := object([]string{"id", `"m"`}, []string{"role", `"assistant"`}, []string{"model", `"claude"`}, []string{"stop_sequence", "null"},
			[]string{"content", "[" + block + "]", "[]"}, []string{"stop_reason", `"end_turn"`, `"max_tokens"`, `"refusal"`, `"new"`}, []string{"usage", usage})
		h, ok := plainHead([]byte(body))
		if !ok {
			return
		}
		x := &wire.Exchange{Endpoint: &wire.Endpoint{Hide: func(text string) string { return text }}, Status: 200, Response: &http.Response{}}
		want, err := readHead(x, []byte(body))
		if err != nil || !reflect.DeepEqual(h, want) {
			t.Fatalf("%s\nread as %+v, want %+v, %v", body, h, want, err)
		}
	})
}

// Anthropic's own answer is plain.
func TestWhatIsPlain(t *testing.T) {
	const own = `{"id":"msg_1","type":"message","role":"assistant","model":"m","content":[{"type":"text","text":"Hello!"}],"stop_reason":"end_turn","stop_sequence":null,"stop_details":null,"usage":{"input_tokens":9,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"cache_creation":{"ephemeral_5m_input_tokens":0,"ephemeral_1h_input_tokens":0},"output_tokens":2,"service_tier":"standard","inference_geo":"global"}}`
	if _, ok := plainHead([]byte(own)); !ok {
		t.Error("it is not")
	}
}
