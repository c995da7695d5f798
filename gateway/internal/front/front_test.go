package front_test

import (
	"testing"
	"time"

	"llmcall/gateway/internal/front"
	"llmcall/internal/protocol"
	"llmcall/llm"
)

func ids(prefix string) string { return prefix + "1" }

var protocols = []protocol.Protocol{protocol.Chat{}, protocol.Responses{}, protocol.Messages{}, protocol.Gemini{}}

func TestSketch(t *testing.T) {
	resp := &llm.Response{Message: llm.Message{Role: llm.RoleAssistant, Parts: []llm.Part{
		llm.Reasoning{Provider: "anthropic", Data: []byte(`{"type":"thinking","thinking":"hm","signature":"s"}`)},
		llm.Text("Let me look."), llm.ToolCall{ID: "a", Name: "f", Arguments: []byte(`{"a":1}`), Signature: []byte("x")}, llm.ToolCall{ID: "b", Name: "g"}}},
		Finish: llm.FinishToolCall, Usage: llm.Usage{InputTokens: 10, OutputTokens: 7, CachedTokens: 3, CacheWriteTokens: 2, ReasoningTokens: 1}}
	for _, p := range protocols {
		o := front.Options{Model: "m", ID: ids, Now: time.Unix(1, 0), IncludeUsage: true}
		body, lost := front.Whole(p, resp, o)
		t.Logf("%s %v\n", body, lost)
		s := front.NewStream(p, o)
		out := string(s.KeepAlive()) + string(s.Text("Let me")) + string(s.Text(" look.")) + string(s.Part(resp.Message.Parts[0])) + string(s.Part(resp.Message.Parts[2])) + string(s.Part(resp.Message.Parts[3])) + string(s.End(resp))
		t.Log(out)
	}
}
