package openai_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"llmcall/failure"
	"llmcall/llm"
	"llmcall/provider/internal/providertest"
	"llmcall/provider/openai"
)

// events answers with a stream: a text that stands alone is the data of an
// event, one that ends with a blank line is sent as it is.
func events(texts ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
		w.Header().Set("X-Request-Id", "req_1")
		for _, text := range texts {
			if !strings.HasSuffix(text, "\n\n") {
				text = "data: " + text + "\n\n"
			}
			io.WriteString(w, text)
			w.(http.Flusher).Flush()
		}
	}
}

// delta is an event with a piece of text.
func delta(text string) string {
	quoted, _ := json.Marshal(text)
	return `{"id":"chatcmpl-1","object":"chat.completion.chunk","model":"gpt-6-luna-2026-08-06","choices":[{"index":0,"delta":{"content":` +
		string(quoted) + `},"finish_reason":null}],"usage":null}`
}

func stopped(reason string) string {
	return `{"choices":[{"index":0,"delta":{},"finish_reason":"` + reason + `"}]}`
}

const (
	done    = "[DONE]"
	counted = `{"choices":[],"usage":{"prompt_tokens":19,"completion_tokens":10,"prompt_tokens_details":{"cached_tokens":4,"cache_write_tokens":3,"audio_tokens":2},"completion_tokens_details":{"reasoning_tokens":3}}}`
)

func TestStream(t *testing.T) {
	e := providertest.NewEcho(t, reply(200, hello))
	e.Handle = events(`{"model":"","choices":[],"prompt_filter_results":[{"prompt_index":0}]}`, delta(""), delta("Hel"), ": OPENROUTER PROCESSING\n\n", delta("lo!"), stopped("stop"), counted, done)
	m := model(t, e.Server, nil)
	got, err := providertest.Streamed(t, t.Context(), m, llm.Prompt("Hello!"))
	want := &llm.Response{
		Message: llm.Assistant("Hello!"), Finish: llm.FinishStop, Model: "gpt-6-luna-2026-08-06", RequestID: "req_1",
		Usage: llm.Usage{InputTokens: 19, OutputTokens: 10, CachedTokens: 4, ReasoningTokens: 3, CacheWriteTokens: 3, AudioTokens: 2},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v", got, err)
	}
	if want := `{"model":"gpt-6-luna","messages":[{"role":"user","content":"Hello!"}],"stream":true,"stream_options":{"include_usage":true}}`; !same(t, string(e.Body), want) {
		t.Errorf("sent %s", e.Body)
	}
}

func TestStreamedToolCallsComeWhole(t *testing.T) {
	call := func(index int, id, name, arguments string) string {
		return fmt.Sprintf(`{"choices":[{"index":0,"delta":{"tool_calls":[{"index":%d,"id":%q,"type":"function","function":{"name":%q,"arguments":%q}}]}}]}`, index, id, name, arguments)
	}
	for _, step := range []struct {
		name   string
		events []string
		want   []llm.ToolCall
	}{
		{"in pieces", []string{call(0, "call_1", "weather", ""), call(0, "", "", `{"city":`), call(0, "", "", `"Berlin"}`), call(1, "call_2", "time", "{}")},
			[]llm.ToolCall{{ID: "call_1", Name: "weather", Arguments: json.RawMessage(`{"city":"Berlin"}`)}, {ID: "call_2", Name: "time", Arguments: json.RawMessage(`{}`)}}},
		{"woven", []string{call(1, "b", "g", "{"), call(0, "a", "f", "["), call(1, "", "", "}"), call(0, "", "", "]")},
			[]llm.ToolCall{{ID: "b", Name: "g", Arguments: json.RawMessage(`{}`)}, {ID: "a", Name: "f", Arguments: json.RawMessage(`[]`)}}},
		{"all with the index 0", []string{call(0, "a", "f", "{}"), call(0, "b", "g", "[]")},
			[]llm.ToolCall{{ID: "a", Name: "f", Arguments: json.RawMessage(`{}`)}, {ID: "b", Name: "g", Arguments: json.RawMessage(`[]`)}}},
		{"the ID in each piece", []string{call(0, "a", "f", "{"), call(0, "a", "f", "}")},
			[]llm.ToolCall{{ID: "a", Name: "f", Arguments: json.RawMessage(`{}`)}}},
	} {
		for _, reason := range []string{"tool_calls", "stop"} {
			m := model(t, server(t, events(append(step.events, delta("text"), stopped(reason), done)...)), nil)
			got, err := providertest.Streamed(t, t.Context(), m, llm.Prompt("Hello!"))
			if err != nil || got.Finish != llm.FinishToolCall || !reflect.DeepEqual(got.Message.ToolCalls(), step.want) || got.Text() != "text" {
				t.Errorf("%s: got %+v, %v", step.name, got, err)
			}
		}
	}
	m := model(t, server(t, events(call(0, "a", "f", "{}"), done)), nil)
	if got, err := providertest.Streamed(t, t.Context(), m, llm.Prompt("Hello!")); err != nil || got.Finish != llm.FinishNone || len(got.Message.Parts) > 0 {
		t.Errorf("cut off: got %+v, %v", got, err)
	}
}

// cut answers with a stream, and then breaks the connection.
func cut(texts ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		events(texts...)(w, r)
		panic(http.ErrAbortHandler)
	}
}

func TestStreamsWithoutAnEnd(t *testing.T) {
	for _, step := range []struct {
		name   string
		handle http.HandlerFunc
		text   string
		finish llm.Finish
		kind   failure.Kind // if it is an error
	}{
		{"done, no reason", events(delta("half"), done), "half", llm.FinishNone, 0},
		{"a reason that is new", events(delta("half"), stopped("pause"), done), "half", "pause", 0},
		{"a reason, not done", events(delta("whole"), stopped("stop")), "whole", llm.FinishStop, 0},
		{"at the limit", events(delta("half"), stopped("length"), done), "half", llm.FinishLength, 0},
		{"behind done", events(delta("whole"), stopped("stop"), done, delta("more"), "no JSON"), "whole", llm.FinishStop, 0},
		{"broken behind the reason", cut(delta("whole"), stopped("stop")), "whole", "", failure.Transient},
		{"broken behind done", cut(delta("whole"), stopped("stop"), done), "whole", llm.FinishStop, 0},
		{"an event cut off", events(delta("half"), "data: {\"choices\":[{\"delta\":{\"content\":\"x\"},"), "half", "", failure.Transient},
	} {
		got, err := providertest.Streamed(t, t.Context(), model(t, server(t, step.handle), nil), llm.Prompt("the prompt"))
		if got.Text() != step.text || got.Finish != step.finish || (err != nil) != (step.kind != 0) || err != nil && failure.KindOf(err) != step.kind {
			t.Errorf("%s: got %+v, %v", step.name, got, err)
		}
		if f, ok := errors.AsType[*failure.Error](err); ok && strings.HasPrefix(step.name, "broken") && f.RequestID != "req_1" {
			t.Errorf("%s: request ID %q", step.name, f.RequestID)
		}
	}
}

// However an answer is cut into events, and whatever stands between them, it
// comes out whole.
func TestStreamsArePutTogether(t *testing.T) {
	noise := []string{"", ": ping\n\n", "data:\n\n", "event: ping\ndata: {}\n\n", ":\n", "retry: 5\r\n\r\n", "data: {\"choices\":[]}\r\n\r\n"}
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.String().Draw(t, "text")
		thought := rapid.String().Draw(t, "thought")
		arguments := rapid.SliceOfN(rapid.String(), 0, 3).Draw(t, "arguments")
		var body strings.Builder
		send := func(delta map[string]any) {
			event, _ := json.Marshal(map[string]any{"choices": []any{map[string]any{"index": 0, "delta": delta}}})
			body.WriteString(rapid.SampledFrom(noise).Draw(t, "noise") + "data: " + string(event) + "\n\n")
		}
		pieces := func(whole string, each func(piece string)) {
			for runes := []rune(whole); len(runes) > 0; {
				n := rapid.IntRange(1, len(runes)).Draw(t, "piece")
				each(string(runes[:n]))
				runes = runes[n:]
			}
		}
		pieces(thought, func(piece string) { send(map[string]any{"reasoning_content": piece}) })
		pieces(text, func(piece string) { send(map[string]any{"content": piece}) })
		want := llm.Message{Role: llm.RoleAssistant, Parts: []llm.Part{}}
		if text != "" {
			want.Parts = append(want.Parts, llm.Text(text))
		}
		if thought != "" {
			data, _ := json.Marshal(map[string]string{"reasoning_content": thought})
			want.Parts = append(want.Parts, llm.Reasoning{Provider: "openai", Data: data})
		}
		for i, whole := range arguments {
			call := func(arguments string) map[string]any {
				return map[string]any{"index": i, "id": fmt.Sprint("call_", i), "function": map[string]any{"name": "f", "arguments": arguments}}
			}
			send(map[string]any{"tool_calls": []any{call("")}})
			pieces(whole, func(piece string) { send(map[string]any{"tool_calls": []any{call(piece)}}) })
			want.Parts = append(want.Parts, llm.ToolCall{ID: fmt.Sprint("call_", i), Name: "f", Arguments: json.RawMessage(whole)})
		}
		w := &wired{body: body.String() + "data: " + stopped("stop") + "\n\ndata: [DONE]\n\n"}
		m, err := openai.New("m", openai.Options{APIKey: key, HTTPClient: w.client()})
		if err != nil {
			t.Fatal(err)
		}
		var a llm.Assembly
		for chunk, err := range m.Stream(context.Background(), llm.Prompt("x")) {
			if err != nil {
				t.Fatal(err)
			}
			a.Add(chunk)
		}
		got := a.Response().Message
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("got %+v, want %+v", got, want)
		}
	})
}

func TestWhatIsNoErrorInTheStream(t *testing.T) {
	for _, event := range []string{
		`{"error":null,"choices":[{"index":0,"delta":{"content":"x"},"finish_reason":null}]}`,
		"event: ping\ndata: {}\n\n", "data:\n\n", "data: \n\n", "event: new\ndata: {\"new\":1}\n\n", "id: 1\nretry: 5\n\n", "\ufeff\n\n", "nonsense\nmore: nonsense\n\n",
		"data: {\"choices\":[]\ndata: }\n\n", "data: {}\r\n\r\n\n\n",
		`{"choices":[{"index":1,"delta":{"content":"another answer"},"finish_reason":"content_filter"}]}`,
		// Azure's filter did not run: the answer stands.
		`{"choices":[{"index":0,"delta":{"content":""},"content_filter_results":{"error":{"code":"content_filter_error","message":"The contents are not filtered"}}}]}`,
	} {
		m := model(t, server(t, events(event, delta("whole"), event, stopped("stop"), done)), nil)
		got, err := providertest.Streamed(t, t.Context(), m, llm.Prompt("Hello!"))
		if err != nil || strings.Trim(got.Text(), "x") != "whole" || got.Finish != llm.FinishStop {
			t.Errorf("%q: got %+v, %v", event, got, err)
		}
	}
}

func TestStreamWithheld(t *testing.T) {
	for _, step := range []struct {
		events  []string
		kind    failure.Kind
		message string
	}{
		{[]string{`{"choices":[{"index":0,"delta":{"refusal":"I "}}]}`, `{"choices":[{"index":0,"delta":{"refusal":"can't."}}]}`, stopped("stop")}, failure.ContentFiltered, "I can't."},
		{[]string{delta("half"), stopped("content_filter")}, failure.ContentFiltered, "the provider withheld the answer"},
		{[]string{delta("half"), stopped("insufficient_system_resource")}, failure.Overloaded, "the provider broke the answer off"},
	} {
		m := model(t, server(t, events(append(step.events, done)...)), nil)
		got, err := providertest.Streamed(t, t.Context(), m, llm.Prompt("the prompt"))
		if e, ok := errors.AsType[*failure.Error](err); !ok || e.Kind != step.kind || e.Message != step.message || got.Finish != llm.FinishNone {
			t.Errorf("got %+v, %#v", got, err)
		}
	}
}
