package anthropic_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"testing"

	"llmcall/failure"
	"llmcall/llm"
)

// event is one of a stream's, as Anthropic writes it.
func event(data string) string {
	var kind struct{ Type string }
	_ = json.Unmarshal([]byte(data), &kind) // garbage has none
	return "event: " + kind.Type + "\ndata: " + data + "\n\n"
}

// stream answers with these events and ends cleanly.
func stream(events ...string) http.HandlerFunc {
	return reply(200, strings.Join(events, ""), "Content-Type", "text/event-stream; charset=utf-8", "Request-Id", "req_123")
}

const (
	start = `{"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant","model":"claude-haiku-5-5","content":[],
"stop_reason":null,"usage":{"input_tokens":12,"cache_creation_input_tokens":3,
"cache_creation":{"ephemeral_5m_input_tokens":2,"ephemeral_1h_input_tokens":1},"cache_read_input_tokens":4,"output_tokens":1}}}`
	ended   = `{"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"output_tokens":10}}`
	stopped = `{"type":"message_stop"}`
)

// oneLine is data that the SSE format takes.
func oneLine(data string) string { return strings.ReplaceAll(data, "\n", "") }

func begin(index int, block string) string {
	return event(fmt.Sprintf(`{"type":"content_block_start","index":%d,"content_block":%s}`, index, block))
}

func delta(index int, d string) string {
	return event(fmt.Sprintf(`{"type":"content_block_delta","index":%d,"delta":%s}`, index, d))
}

func end(index int) string {
	return event(fmt.Sprintf(`{"type":"content_block_stop","index":%d}`, index))
}

// text is a block of text in two pieces.
func text(index int, a, b string) []string {
	return []string{
		begin(index, `{"type":"text","text":""}`),
		delta(index, fmt.Sprintf(`{"type":"text_delta","text":%q}`, a)),
		delta(index, fmt.Sprintf(`{"type":"text_delta","text":%q}`, b)),
		end(index),
	}
}

// everything is a stream of the same answer as tools.
func everything() []string {
	events := []string{event(oneLine(start)), event(`{"type":"ping"}`),
		begin(0, `{"type":"thinking","thinking":"H","signature":""}`),
		delta(0, `{"type":"thinking_delta","thinking":"m"}`),
		delta(0, `{"type":"thinking_delta","thinking":"."}`),
		delta(0, `{"type":"signature_delta","signature":"c2ln"}`), end(0),
		begin(1, `{"type":"redacted_thinking","data":"RW5jcnlwdGVk"}`), end(1)}
	events = append(events, text(2, "Let", " me ")...)
	events = append(events, begin(3, `{"type":"text","text":"lo","citations":[]}`),
		delta(3, `{"type":"citations_delta","citation":{"type":"char_location"}}`),
		delta(3, `{"type":"text_delta","text":"ok."}`), end(3),
		begin(4, `{"type":"server_tool_use","id":"srvtoolu_1","name":"web_search","input":{}}`),
		delta(4, `{"type":"input_json_delta","partial_json":"{\"query\""}`),
		delta(4, `{"type":"input_json_delta","partial_json":":\"x\"}"}`), end(4),
		begin(5, `{"type":"web_search_tool_result","tool_use_id":"srvtoolu_1","content":[]}`), end(5),
		begin(6, `{"type":"tool_use","id":"toolu_1","name":"weather","input":{}}`),
		delta(6, `{"type":"input_json_delta","partial_json":""}`),
		delta(6, `{"type":"input_json_delta","partial_json":"{\"city\": \"Berlin\","}`),
		delta(6, `{"type":"input_json_delta","partial_json":" \"n\": 12345678901234567890}"}`), end(6),
		begin(7, `{"type":"tool_use","id":"toolu_2","name":"time","input":{}}`), end(7),
		event(`{"type":"message_delta","delta":{"stop_reason":"tool_use"},"usage":{"input_tokens":0,"output_tokens":10,"output_tokens_details":{"thinking_tokens":2}}}`),
		event(stopped))
	return events
}

func TestStream(t *testing.T) {
	m := model(t, server(t, stream(everything()...)), nil)
	got, err := streamed(t.Context(), m, prompt)
	want := &llm.Response{
		Message: llm.Message{Role: llm.RoleAssistant, Parts: toolsParts}, Finish: llm.FinishToolCall, Model: "claude-haiku-5-5", RequestID: "req_123",
		Usage: llm.Usage{InputTokens: 19, OutputTokens: 10, CachedTokens: 4, ReasoningTokens: 2, CacheWriteTokens: 3, CacheWrite1hTokens: 1},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v, %v\nwant %+v", got, err, want)
	}
}

func TestFinishComesOnceAndLast(t *testing.T) {
	m := model(t, server(t, stream(append(everything(), event(stopped), event(ended), event(`{"type":"error","error":{"type":"api_error"}}`))...)), nil)
	finished := 0
	for chunk, err := range m.Stream(t.Context(), prompt) {
		if err != nil || finished > 0 {
			t.Errorf("behind the end: %+v, %v", chunk, err)
		}
		if chunk.Finish != llm.FinishNone {
			finished++
		}
	}
	if finished != 1 {
		t.Errorf("finished %d times", finished)
	}
}

func TestCountsAreThoseOfTheWholeCall(t *testing.T) {
	m := model(t, server(t, stream(event(oneLine(start)), event(ended), event(`{"type":"message_delta","delta":{"stop_reason":"end_turn"}}`), event(stopped))), nil)
	got, err := streamed(t.Context(), m, prompt)
	if want := (llm.Usage{InputTokens: 19, OutputTokens: 10, CachedTokens: 4, CacheWriteTokens: 3, CacheWrite1hTokens: 1}); err != nil || got.Usage != want || got.Finish != llm.FinishStop {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestStreamThatEndsEarlyIsCutOff(t *testing.T) {
	events := everything()
	for n := 1; n < len(events)-1; n++ {
		m := model(t, server(t, stream(events[:n]...)), nil)
		got, err := streamed(t.Context(), m, prompt)
		if err != nil || got.Finish != llm.FinishNone {
			t.Errorf("behind %d events: got %+v, %v", n, got, err)
		}
	}
	// The stop reason is enough: some gateways send no message_stop.
	if got, err := streamed(t.Context(), model(t, server(t, stream(events[:len(events)-1]...)), nil), prompt); err != nil || got.Finish != llm.FinishToolCall {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestBlocksThatContradictEachOther(t *testing.T) {
	const call = `{"type":"tool_use","id":"1","name":"f","input":{}}`
	for name, events := range map[string][]string{
		"ends within a call":   {event(oneLine(start)), begin(0, call), event(ended), event(stopped)},
		"begins within itself": {event(oneLine(start)), begin(0, call), begin(0, call)},
	} {
		response, err := streamed(t.Context(), model(t, server(t, stream(events...)), nil), prompt)
		if got := one(t, response, err); got.Kind != failure.Transient {
			t.Errorf("%s: got %#v", name, got)
		}
	}
}

func TestUnknownDeltasAreSkipped(t *testing.T) {
	events := strings.Join(append(append([]string{event(oneLine(start))}, text(0, "Hel", "lo")...), event(ended), event(stopped)), "")
	between := func(garbage string) string { return strings.ReplaceAll(events, "\n\n", "\n\n"+garbage) }
	for name, body := range map[string]string{
		"unknown deltas":     between(delta(0, `{"type":"something_new_delta"}`)),
		"deltas of no block": between(delta(9, `{"type":"input_json_delta","partial_json":"x"}`) + delta(9, `{"type":"thinking_delta","thinking":"x"}`) + end(9)),
		"data of no object":  between("data: 7\n\n"),
	} {
		got, err := streamed(t.Context(), model(t, server(t, stream(body)), nil), prompt)
		if err != nil || got.Text() != "Hello" || got.Finish != llm.FinishStop || len(got.Message.Parts) != 1 {
			t.Errorf("%s: got %+v, %v", name, got, err)
		}
	}
}

func TestStreamWithoutEvents(t *testing.T) {
	for _, body := range []string{"", "\n\n\n", ": only a comment\n\n"} {
		response, err := streamed(t.Context(), model(t, server(t, stream(body)), nil), prompt)
		if got := one(t, response, err); got.Kind != failure.Transient || got.Message != "the answer is a stream without any event" {
			t.Errorf("%q: got %#v", body, got)
		}
	}
}
