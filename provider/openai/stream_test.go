package openai_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"llmcall/failure"
	"llmcall/llm"
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
	counted = `{"choices":[],"usage":{"prompt_tokens":19,"completion_tokens":10,"prompt_tokens_details":{"cached_tokens":4},"completion_tokens_details":{"reasoning_tokens":3}}}`
)

// streamed reads a stream to its end and puts it together. It holds every
// stream to the rules of llm.Streamer.
func streamed(t *testing.T, ctx context.Context, m llm.Streamer, request *llm.Request) (*llm.Response, error) {
	t.Helper()
	var a llm.Assembly
	var failed error
	finished := false
	for chunk, err := range m.Stream(ctx, request) {
		switch {
		case failed != nil:
			t.Errorf("behind the error came %+v, %v", chunk, err)
		case finished:
			t.Errorf("behind the reason to stop came %+v, %v", chunk, err)
		case err != nil && !reflect.DeepEqual(chunk, llm.Chunk{}):
			t.Errorf("with the error came %+v", chunk)
		}
		failed, finished = err, chunk.Finish != llm.FinishNone
		a.Add(chunk)
	}
	if failed != nil {
		var e *failure.Error
		if !errors.As(failed, &e) || e.Model != m.Name() {
			t.Errorf("the error is %#v", failed)
		}
		secretFree(t, failed)
	}
	return a.Response(), failed
}

func TestStream(t *testing.T) {
	e := newEcho(t)
	e.handle = events(`{"model":"","choices":[],"prompt_filter_results":[{"prompt_index":0}]}`, delta(""), delta("Hel"), ": OPENROUTER PROCESSING\n\n", delta("lo!"), stopped("stop"), counted, done)
	m := model(t, e.Server, nil)
	got, err := streamed(t, t.Context(), m, llm.Prompt("Hello!"))
	want := &llm.Response{
		Message: llm.Assistant("Hello!"), Finish: llm.FinishStop, Model: "gpt-6-luna-2026-08-06", RequestID: "req_1",
		Usage: llm.Usage{InputTokens: 19, OutputTokens: 10, CachedTokens: 4, ReasoningTokens: 3},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v", got, err)
	}
	if want := `{"model":"gpt-6-luna","messages":[{"role":"user","content":"Hello!"}],"stream":true,"stream_options":{"include_usage":true}}`; !same(t, string(e.body), want) {
		t.Errorf("sent %s", e.body)
	}
}

func TestStreamYieldsTextAsItComes(t *testing.T) {
	next := make(chan struct{})
	m := model(t, server(t, func(w http.ResponseWriter, r *http.Request) {
		events(delta("a"))(w, r)
		<-next
		events(delta("b"), stopped("stop"), done)(w, r)
	}), nil)
	var texts []string
	for chunk, err := range m.Stream(t.Context(), llm.Prompt("Hello!")) {
		if err != nil {
			t.Fatal(err)
		}
		if chunk.Text != "" {
			texts = append(texts, chunk.Text)
		}
		if chunk.Text == "a" {
			close(next)
		}
	}
	if strings.Join(texts, ",") != "a,b" {
		t.Errorf("got %q", texts)
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
			got, err := streamed(t, t.Context(), m, llm.Prompt("Hello!"))
			if err != nil || got.Finish != llm.FinishToolCall || !reflect.DeepEqual(got.Message.ToolCalls(), step.want) || got.Text() != "text" {
				t.Errorf("%s: got %+v, %v", step.name, got, err)
			}
		}
	}
	m := model(t, server(t, events(call(0, "a", "f", "{}"), done)), nil)
	if got, err := streamed(t, t.Context(), m, llm.Prompt("Hello!")); err != nil || got.Finish != llm.FinishNone || len(got.Message.Parts) > 0 {
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
		{"clean end, no reason", events(delta("half")), "half", llm.FinishNone, 0},
		{"done, no reason", events(delta("half"), done), "half", llm.FinishNone, 0},
		{"a reason that is new", events(delta("half"), stopped("pause"), done), "half", llm.FinishNone, 0},
		{"a reason, not done", events(delta("whole"), stopped("stop")), "whole", llm.FinishStop, 0},
		{"at the limit", events(delta("half"), stopped("length"), done), "half", llm.FinishLength, 0},
		{"behind done", events(delta("whole"), stopped("stop"), done, delta("more"), "no JSON"), "whole", llm.FinishStop, 0},
		{"broken", cut(delta("half")), "half", "", failure.Transient},
		{"broken at once", cut(": hello\n\n"), "", "", failure.Transient},
		{"broken behind the reason", cut(delta("whole"), stopped("stop")), "whole", "", failure.Transient},
		{"broken behind done", cut(delta("whole"), stopped("stop"), done), "whole", llm.FinishStop, 0},
		{"nothing", events(), "", "", failure.Transient},
		{"comments", events(": a\n\n", ":\n\n"), "", "", failure.Transient},
		{"an event cut off", events(delta("half"), "data: {\"choices\":[{\"delta\":{\"content\":\"x\"},"), "half", "", failure.Transient},
		{"no event stream", reply(200, "hello\nworld\n", "Content-Type", "text/plain"), "", "", failure.Transient},
	} {
		got, err := streamed(t, t.Context(), model(t, server(t, step.handle), nil), llm.Prompt("the prompt"))
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

func TestErrorsInTheStreamGoByTheirCode(t *testing.T) {
	for _, step := range []struct {
		event string
		kind  failure.Kind
		code  string
	}{
		{`{"error":{"message":"No.","type":"insufficient_quota","code":"insufficient_quota"}}`, failure.QuotaExhausted, "insufficient_quota"},
		{`{"error":{"message":"Slow down.","type":"rate_limit_error","code":"slow_down"}}`, failure.Overloaded, "slow_down"},
		{"event: error\ndata: {\"error\":{\"message\":\"No.\",\"code\":\"rate_limit_exceeded\"}}\n\n", failure.RateLimited, "rate_limit_exceeded"},
		{"event: error\ndata: {\"message\":\"No.\",\"code\":\"rate_limit_exceeded\"}\n\n", failure.RateLimited, "rate_limit_exceeded"},
		{"event: error\ndata: {}\n\n", failure.Transient, ""},
		{"event: error\ndata: oops\n\n", failure.Transient, ""},
		{`{"id":"1","error":{"code":502,"message":"upstream"},"choices":[{"index":0,"delta":{"content":""},"finish_reason":"error"}]}`, failure.Transient, "502"},
		{`{"choices":[{"index":0,"delta":{},"finish_reason":"error","error":{"code":503,"message":"overloaded"}}]}`, failure.Overloaded, "503"},
		{`{"error":"server busy, please try again. maximum pending requests exceeded"}`, failure.Overloaded, ""},
		{`{"error":{"message":"` + key + ` is bad","code":"invalid_api_key"}}`, failure.Unauthorized, "invalid_api_key"},
		{`not JSON, ` + key, failure.Transient, ""},
		{`{"choices":`, failure.Transient, ""},
	} {
		for _, before := range [][]string{nil, {delta("half")}} {
			m := model(t, server(t, events(append(before, step.event, delta("more"), stopped("stop"), done)...)), nil)
			got, err := streamed(t, t.Context(), m, llm.Prompt("the prompt"))
			e, ok := errors.AsType[*failure.Error](err)
			if !ok || e.Kind != step.kind || e.Code != step.code || e.Status != 200 || e.RequestID != "req_1" || strings.Contains(got.Text(), "more") {
				t.Errorf("%s: got %+v, %#v", step.event, got, err)
			}
		}
	}
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
		got, err := streamed(t, t.Context(), m, llm.Prompt("Hello!"))
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
		got, err := streamed(t, t.Context(), m, llm.Prompt("the prompt"))
		if e, ok := errors.AsType[*failure.Error](err); !ok || e.Kind != step.kind || e.Message != step.message || got.Finish != llm.FinishNone {
			t.Errorf("got %+v, %#v", got, err)
		}
	}
}

func TestStreamOfAServerThatDoesNotStream(t *testing.T) {
	m := model(t, server(t, reply(200, hello, "X-Request-Id", "req_1")), nil)
	whole, err := m.Complete(t.Context(), llm.Prompt("Hello!"))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := streamed(t, t.Context(), m, llm.Prompt("Hello!")); err != nil || !reflect.DeepEqual(got, whole) {
		t.Errorf("got %+v, %v, want %+v", got, err, whole)
	}
	for _, handle := range []http.HandlerFunc{
		reply(200, hello, "X-Request-Id", "req_1", "Content-Type", "text/event-stream"),
		reply(200, hello, "X-Request-Id", "req_1", "Content-Type", ""),
		reply(200, "\n  \n"+hello, "X-Request-Id", "req_1"), // as OpenRouter keeps a connection alive
	} {
		if got, err := streamed(t, t.Context(), model(t, server(t, handle), nil), llm.Prompt("Hello!")); err != nil || !reflect.DeepEqual(got, whole) {
			t.Errorf("got %+v, %v, want %+v", got, err, whole)
		}
	}
	mislabelled := model(t, server(t, reply(200, "data: "+delta("hi")+"\n\ndata: "+stopped("stop")+"\n\n")), nil)
	if got, err := streamed(t, t.Context(), mislabelled, llm.Prompt("Hello!")); err != nil || got.Text() != "hi" || got.Finish != llm.FinishStop {
		t.Errorf("got %+v, %v", got, err)
	}
	for _, step := range []struct {
		body, kind string
		want       failure.Kind
	}{
		{" \n<html>sign in, " + key + "</html>", "text/html", failure.Transient},
		{"<html>sign in, " + key + "</html>", "text/html", failure.Transient},
		{`{"error":{"code":"insufficient_quota","message":"No."}}`, "application/json", failure.QuotaExhausted},
		{`{"choices":[{"message":{"content":"half"}`, "application/json", failure.Transient},
		{`{"title":"down"}`, "application/problem+json", failure.Transient},
	} {
		_, err := streamed(t, t.Context(), model(t, server(t, reply(200, step.body, "Content-Type", step.kind)), nil), llm.Prompt("the prompt"))
		if failure.KindOf(err) != step.want {
			t.Errorf("%s: got %v", step.body, err)
		}
	}
}

func TestStreamThatIsRefused(t *testing.T) {
	got, err := streamed(t, t.Context(), model(t, server(t, reply(429, `{"error":{"code":"rate_limit_exceeded","message":"`+key+`"}}`, "Retry-After", "7")), nil), llm.Prompt("the prompt"))
	e, ok := errors.AsType[*failure.Error](err)
	if !ok || e.Kind != failure.RateLimited || e.Status != 429 || !e.Told || e.RetryAfter != 7*time.Second || len(got.Message.Parts) > 0 {
		t.Errorf("got %+v, %#v", got, err)
	}
	if _, err := streamed(t, t.Context(), model(t, server(t, nil), nil), &llm.Request{}); failure.KindOf(err) != failure.InvalidRequest {
		t.Errorf("got %v", err)
	}
	closed := httptest.NewServer(nil)
	m := model(t, closed, nil)
	closed.Close()
	if _, err := streamed(t, t.Context(), m, llm.Prompt("the prompt")); failure.KindOf(err) != failure.Transient {
		t.Errorf("got %v", err)
	}
}

func TestStreamOfAServerThatDoesNotStreamBreaks(t *testing.T) {
	m := model(t, server(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Request-Id", "req_1")
		reply(200, hello[:100], "Content-Length", "1000")(w, r)
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}), nil)
	_, err := streamed(t, t.Context(), m, llm.Prompt("the prompt"))
	if f, ok := errors.AsType[*failure.Error](err); !ok || f.Kind != failure.Transient || f.RequestID != "req_1" {
		t.Errorf("got %#v", err)
	}
}

func TestContextThatEndsWithTheHeader(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	body := &endless{}
	m := model(t, server(t, nil), func(o *openai.Options) {
		o.HTTPClient = &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
			cancel()
			return &http.Response{StatusCode: 200, Header: http.Header{}, Body: body, Request: r}, nil
		})}
	})
	if _, err := streamed(t, ctx, m, llm.Prompt("the prompt")); failure.KindOf(err) != failure.Cancelled || !body.closed {
		t.Errorf("got %v, closed: %v", err, body.closed)
	}
}

func TestLeavingAStreamClosesIt(t *testing.T) {
	left := make(chan struct{})
	m := model(t, server(t, func(w http.ResponseWriter, r *http.Request) {
		events(delta("a"))(w, r)
		<-r.Context().Done()
		close(left)
	}), nil)
	for chunk, err := range m.Stream(t.Context(), llm.Prompt("Hello!")) {
		if err != nil || chunk.Text != "a" {
			t.Errorf("got %+v, %v", chunk, err)
		}
		break
	}
	<-left
}

func TestStreamEndsWithTheContext(t *testing.T) {
	s := server(t, func(w http.ResponseWriter, r *http.Request) {
		events(delta("a"), delta("b"))(w, r) // in one packet, often: b is there when ctx ends
		<-r.Context().Done()
	})
	for want, end := range map[failure.Kind]func(context.Context) (context.Context, context.CancelFunc){
		failure.Cancelled: context.WithCancel,
		failure.DeadlineExceeded: func(ctx context.Context) (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
			return ctx, func() { <-ctx.Done(); cancel() }
		},
	} {
		ctx, cancel := end(t.Context())
		texts := ""
		for chunk, err := range model(t, s, nil).Stream(ctx, llm.Prompt("the prompt")) {
			texts += chunk.Text
			if chunk.Text == "a" {
				cancel()
			}
			if err != nil && (failure.KindOf(err) != want || !errors.Is(err, ctx.Err())) {
				t.Errorf("got %v", err)
			}
		}
		if texts != "a" {
			t.Errorf("%v: got %q", want, texts)
		}
		cancel()
	}
}

// feed is a body that repeats an event without end.
type feed struct {
	event []byte
	at    int
	endless
}

func (f *feed) Read(p []byte) (int, error) {
	for n := 0; n < len(p); {
		copied := copy(p[n:], f.event[f.at:])
		f.at = (f.at + copied) % len(f.event)
		n += copied
	}
	f.read += len(p)
	return len(p), nil
}

func TestStreamWithoutEndIsAnError(t *testing.T) {
	for _, event := range []string{": " + strings.Repeat("x", 1<<20) + "\n", "x"} {
		body := &feed{event: []byte(event)}
		client := &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: 200, Header: http.Header{}, Body: body, Request: r}, nil
		})}
		m := model(t, server(t, nil), func(o *openai.Options) { o.HTTPClient = client })
		_, err := streamed(t, t.Context(), m, llm.Prompt("the prompt"))
		if failure.KindOf(err) != failure.Transient || body.read > 65<<20 || !body.closed {
			t.Errorf("%.20s: got %v, read %d bytes, closed: %v", event, err, body.read, body.closed)
		}
	}
}
