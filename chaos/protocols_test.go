package chaos_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"llmcall/chaos"
)

func TestEachProtocolAnswersInText(t *testing.T) {
	each(t, []chaos.Fault{{CachedTokens: 5, ReasoningTokens: 7}, {CachedTokens: 1 << 20}}, func(t *testing.T, streaming bool, s *chaos.Server, ask func(question) reply) {
		q := question{system: "Be brief.", turns: []string{"The capital of France?", "Paris", "And of Spain?"}}
		r := ask(q)
		if r.err != nil || !r.ended || !strings.Contains(r.text, "invented") || r.tool != "" || r.refusal != "" {
			t.Fatalf("got %+v", r)
		}
		if streaming && r.pieces < 5 {
			t.Errorf("the answer came in %d pieces", r.pieces)
		}
		if r.in < 15 || r.cached != 5 || r.thought != 7 || r.out < 20 {
			t.Errorf("usage: %+v", r)
		}
		again := ask(q)
		if again.text != r.text || again.out != r.out-7 || again.cached != again.in || again.thought != 0 {
			t.Errorf("without reasoning: %+v", again)
		}
		rec := s.Requests()[0]
		roles := ""
		for _, m := range rec.Messages {
			roles += m.Role + "=" + m.Text + "; "
		}
		if want := "user=The capital of France?; assistant=Paris; user=And of Spain?; "; !strings.HasSuffix(roles, "=Be brief.; "+want) || rec.Stream != streaming || !strings.HasSuffix(rec.Model, "-practice") {
			t.Errorf("recorded %q of %s, streamed: %v", roles, rec.Model, rec.Stream)
		}
	})
}

func TestEachProtocolKeepsASchema(t *testing.T) {
	each(t, nil, func(t *testing.T, _ bool, _ *chaos.Server, ask func(question) reply) {
		r := ask(question{turns: []string{"An order, please."}, schema: orderSchema})
		if r.err != nil || violations(t, orderSchema, r.text) != nil {
			t.Errorf("got %+v", r)
		}
	})
}

func TestEachProtocolCallsAToolThatMustBeCalled(t *testing.T) {
	each(t, nil, func(t *testing.T, _ bool, s *chaos.Server, ask func(question) reply) {
		r := ask(question{turns: []string{"Look it up."}, tool: "lookup", schema: orderSchema})
		if r.err != nil || r.tool != "lookup" || violations(t, orderSchema, r.arguments) != nil || r.text != "" || !r.ended {
			t.Fatalf("got %+v", r)
		}
		// The answer goes back with a result, and is answered in text.
		r = ask(question{turns: []string{"Look it up."}, called: r.arguments, result: "sunny"})
		if r.err != nil || r.text == "" || r.tool != "" {
			t.Errorf("after the tool's result: %+v", r)
		}
		m := s.Requests()[1].Messages
		if last := m[len(m)-1]; last.Role != "tool" || !strings.Contains(last.Text, "sunny") || m[len(m)-2].Role != "assistant" {
			t.Errorf("recorded %+v", m)
		}
	})
}

func TestEachProtocolTakesPictures(t *testing.T) {
	each(t, nil, func(t *testing.T, _ bool, _ *chaos.Server, ask func(question) reply) {
		if r := ask(question{turns: []string{"What is this?", "What?"}, image: []byte("\x89PNG\r\n\x1a\n")}); r.err != nil || r.text == "" {
			t.Errorf("got %+v", r)
		}
	})
}

func TestEachProtocolKeepsTheTokenLimitAndStops(t *testing.T) {
	each(t, []chaos.Fault{{}, {Answer: "one, two; three"}}, func(t *testing.T, _ bool, s *chaos.Server, ask func(question) reply) {
		r := ask(question{turns: []string{"x"}, maxTokens: 16})
		if want := lengthWords[protocolOf(s)]; r.err != nil || r.finish != want || r.out != 16 {
			t.Errorf("got %+v, want %s after 16 tokens", r, want)
		}
		if protocolOf(s) == chaos.OpenAIResponses {
			return // has no stop sequences
		}
		r = ask(question{turns: []string{"x"}, stop: ";"})
		want := map[chaos.Protocol]string{chaos.OpenAI: "stop", chaos.Anthropic: "stop_sequence", chaos.Gemini: "STOP"}[protocolOf(s)]
		if r.text != "one, two" || r.finish != want {
			t.Errorf("got %+v", r)
		}
	})
}

var lengthWords = map[chaos.Protocol]string{
	chaos.OpenAI: "length", chaos.OpenAIResponses: "max_output_tokens", chaos.Anthropic: "max_tokens", chaos.Gemini: "MAX_TOKENS",
}

func protocolOf(s *chaos.Server) chaos.Protocol {
	requests := s.Requests()
	return requests[len(requests)-1].Protocol
}

func TestWrongAnswersAreWrongInTheirWayInEachProtocol(t *testing.T) {
	faults := []chaos.Fault{{Kind: chaos.Empty}, {Kind: chaos.Length}, {Kind: chaos.Prose}, {Kind: chaos.Fence}, {Kind: chaos.Break, At: new("/items/0/price")},
		{Kind: chaos.Filter}, {Kind: chaos.Refuse}, {Kind: chaos.Unfinished}, {Finish: "RECITATION"}, {Kind: chaos.Refuse, Finish: "SAFETY", Answer: "Never."}}
	each(t, faults, func(t *testing.T, streaming bool, s *chaos.Server, ask func(question) reply) {
		next := func() reply { return ask(question{turns: []string{"An order, please."}, schema: orderSchema}) }
		r := next()
		p := protocolOf(s)
		stop := map[chaos.Protocol]string{chaos.OpenAI: "stop", chaos.OpenAIResponses: "completed", chaos.Anthropic: "end_turn", chaos.Gemini: "STOP"}[p]
		if r.err != nil || r.text != "" || r.finish != stop {
			t.Errorf("empty: %+v", r)
		}
		if r := next(); r.err != nil || !strings.HasPrefix(r.text, "{") || json.Valid([]byte(r.text)) || r.finish != lengthWords[p] {
			t.Errorf("length: %+v", r)
		}
		if r := next(); r.err != nil || r.text == "" || strings.Contains(r.text, "{") || r.finish != stop {
			t.Errorf("prose: %+v", r)
		}
		if r := next(); r.err != nil || !strings.HasPrefix(r.text, "```json\n") || r.finish != stop {
			t.Errorf("fence: %+v", r)
		}
		if r := next(); r.err != nil || !reflect.DeepEqual(violations(t, orderSchema, r.text), []string{"/items/0/price"}) {
			t.Errorf("break: %+v", r)
		}
		filter := map[chaos.Protocol]string{chaos.OpenAI: "content_filter", chaos.OpenAIResponses: "content_filter", chaos.Anthropic: "refusal", chaos.Gemini: "SAFETY"}[p]
		if r := next(); r.err != nil || r.text == "" || r.finish != filter {
			t.Errorf("filter: %+v", r)
		}
		refusal := map[chaos.Protocol]string{chaos.OpenAI: "stop", chaos.OpenAIResponses: "completed", chaos.Anthropic: "refusal", chaos.Gemini: "PROHIBITED_CONTENT"}[p]
		if r := next(); r.err != nil || r.text != "" || r.refusal == "" || r.finish != refusal || !r.ended {
			t.Errorf("refuse: %+v", r)
		}
		if r := next(); r.err != nil || violations(t, orderSchema, r.text) != nil || r.ended {
			t.Errorf("unfinished: %+v", r)
		}
		if r := next(); r.err != nil || r.text == "" || r.finish != "RECITATION" {
			t.Errorf("a finish of one's own: %+v", r)
		}
		if r := next(); r.err != nil || r.text != "" || r.finish != "SAFETY" {
			t.Errorf("a refusal of one's own: %+v", r)
		}
	})
}

func TestArgumentsThatAreNoObject(t *testing.T) {
	each(t, []chaos.Fault{{Kind: chaos.Prose}, {Kind: chaos.Length}}, func(t *testing.T, streaming bool, s *chaos.Server, ask func(question) reply) {
		q := question{turns: []string{"Look it up."}, tool: "lookup", schema: orderSchema}
		r := ask(q)
		switch protocolOf(s) {
		case chaos.Gemini:
			if r.err != nil || r.tool != "" || r.finish != "MALFORMED_FUNCTION_CALL" {
				t.Errorf("got %+v", r)
			}
		case chaos.Anthropic:
			if r.tool != "lookup" && r.err == nil || !streaming && r.arguments != "{}" {
				t.Errorf("got %+v", r)
			}
		default:
			if r.err != nil || r.tool != "lookup" || !strings.Contains(r.arguments, "invented") && !strings.Contains(r.arguments, "Certainly") {
				t.Errorf("got %+v", r)
			}
		}
		if r := ask(q); r.finish != lengthWords[protocolOf(s)] && r.err == nil {
			t.Errorf("cut off: %+v", r)
		}
	})
}

func TestAResponseMayFail(t *testing.T) {
	s, url, client := listen(t, chaos.Config{Plan: &chaos.Plan{Repeat: true, Steps: []chaos.Fault{{Finish: "failed"}}}})
	for _, streaming := range []bool{false, true} {
		r := sdks[1].do(t.Context(), streaming, url, client, question{turns: []string{"x"}})
		if r.kind != "server_error" && r.finish != "failed" {
			t.Errorf("got %+v", r)
		}
	}
	if protocolOf(s) != chaos.OpenAIResponses {
		t.Error(protocolOf(s))
	}
}
