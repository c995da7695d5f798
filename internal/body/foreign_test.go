package body_test

import (
	"testing"

	"llmcall/internal/body"
	"llmcall/llm"
)

// A thought that a gateway's answer had from the model of another protocol is left out, even
// for a model of the same one, which would refuse it; a provider's own goes back.
func TestAThoughtOfAnotherProtocolIsLeftOut(t *testing.T) {
	for _, c := range []struct {
		protocol, text string
		left           bool
	}{
		{"anthropic", `{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"q"},{"role":"assistant","content":[{"type":"thinking","thinking":"hm","signature":""},{"type":"text","text":"a"}]},{"role":"user","content":"more"}]}`, true},
		{"anthropic", `{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"q"},{"role":"assistant","content":[{"type":"thinking","thinking":"hm"},{"type":"text","text":"a"}]},{"role":"user","content":"more"}]}`, true},
		{"anthropic", `{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"q"},{"role":"assistant","content":[{"type":"thinking","thinking":"","signature":"s"},{"type":"text","text":"a"}]},{"role":"user","content":"more"}]}`, false},
		{"openai-responses", `{"model":"m","input":[{"role":"user","content":"q"},{"type":"reasoning","id":"rs_llmcall_7","summary":[]},{"role":"assistant","content":"a"},{"role":"user","content":"more"}]}`, true},
		{"openai-responses", `{"model":"m","input":[{"role":"user","content":"q"},{"type":"reasoning","id":"rs_7","summary":[]},{"role":"assistant","content":"a"},{"role":"user","content":"more"}]}`, false},
	} {
		b, err := body.Read(c.protocol, []byte(c.text))
		if err != nil {
			t.Fatal(err)
		}
		req, losses := b.To(c.protocol)
		thoughts, text := 0, ""
		for _, m := range req.Messages {
			for _, p := range m.Parts {
				if _, is := p.(llm.Reasoning); is {
					thoughts++
				}
			}
			text += m.Text() + "|"
		}
		if b.Signed != c.left || (thoughts == 0) != c.left || (len(losses) == 1 && losses[0].Harmless) != c.left || text != "q|a|more|" {
			t.Errorf("%s: signed %v, %d thoughts, %q, lost %+v", c.text, b.Signed, thoughts, text, losses)
		}
	}
}
