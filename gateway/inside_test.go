package gateway

import (
	"testing"

	"llmcall/internal/body"
	"llmcall/llm"
)

// A request of another protocol is translated once, to see who can take it, and sent so,
// unless the call has changed it.
func TestATranslationIsUsed(t *testing.T) {
	b, err := body.Read("anthropic", []byte(`{"model": "r", "max_tokens": 100, "top_k": 5, "messages": [{"role": "user", "content": "Hello"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	base := *b.Request
	base.Extra = nil
	x := &exchange{body: b, base: &base}
	if loss := x.refused("openai"); loss != nil {
		t.Fatal(loss)
	}
	model := &seat{Model: llm.Func("openai/m", nil), protocol: "openai"}
	asked := func(change func(*llm.Request)) *llm.Request {
		t.Helper()
		req := base
		change(&req)
		sent, own, err := x.request(t.Context(), model, &req)
		if err != nil || own.Body != nil {
			t.Fatal(err, own)
		}
		return sent
	}
	first, second := asked(func(*llm.Request) {}), asked(func(*llm.Request) {})
	if ready := x.translated["openai"].request; &first.Messages[0] != &ready.Messages[0] || first == second || first == ready {
		t.Error("it was translated again, or shared")
	}
	if more := asked(func(req *llm.Request) {
		req.Messages = append(req.Messages[:1:1], llm.Assistant("wrong"), llm.User("again"))
	}); len(more.Messages) != 3 {
		t.Errorf("messages that were added are left out: %v", more.Messages)
	}
	if more := asked(func(req *llm.Request) { req.MaxTokens = 200 }); more.MaxTokens != 200 {
		t.Errorf("another limit of tokens is left out: %d", more.MaxTokens)
	}
}
