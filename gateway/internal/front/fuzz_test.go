package front_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"llmcall/gateway/internal/front"
	"llmcall/llm"
)

// Whatever a provider's own part or the arguments of a call are, answers are JSON, and
// streams are events with a line of JSON each.
func FuzzParts(f *testing.F) {
	for _, seed := range []string{`{"type":"thinking","thinking":"hm","signature":"s"}`, `{"type":"thinking","thinking":1,"signature":[]}`, `{"reasoning_content":"hm"}`, `{"reasoning_details":[{"text":1},2]}`,
		`{"type":"reasoning","summary":[{"text":"a"}],"id":7}`, `{"text":"t","thought":true}`, `{"thoughtSignature":"x"}`, "{\"a\":\r\n1\n\n}", `{"a":1}{"b":2}`, `{`, `[]`, `null`, ``, "{\"a\":\"\xff\"}", ` { } `} {
		f.Add([]byte(seed), "anthropic")
	}
	f.Fuzz(func(t *testing.T, data []byte, provider string) {
		resp := said(llm.Text("a"), llm.Reasoning{Provider: provider, Data: data}, llm.ToolCall{ID: provider, Name: provider, Arguments: data, Signature: data}, llm.Reasoning{Data: data})
		resp.Finish = llm.Finish(provider)
		for _, p := range protocols() {
			o := options(p.Name(), true)
			if whole, _ := front.Whole(p, resp, o); !json.Valid(whole) {
				t.Fatalf("%s: %s", p.Name(), whole)
			}
			stream := front.NewStream(p, o)
			sent := bytes.Join(pieces(stream, resp, 1, func() bool { return false }), nil)
			for event := range strings.SplitSeq(strings.TrimSuffix(string(sent), "\n\n"), "\n\n") {
				_, line, ok := strings.Cut("\n"+event, "\ndata: ")
				if !ok || strings.ContainsAny(line, "\r\n") || !json.Valid([]byte(line)) && line != "[DONE]" {
					t.Fatalf("%s: %q", p.Name(), event)
				}
			}
		}
	})
}
