package gemini_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"google.golang.org/genai"

	"llmcall/failure"
	"llmcall/llm"
	"llmcall/provider/gemini"
)

// stream answers with events as they are.
func stream(events string) http.HandlerFunc {
	return reply(200, events, "Content-Type", "text/event-stream")
}

// data makes events.
func data(responses ...string) string {
	var b strings.Builder
	for _, r := range responses {
		b.WriteString("data: " + r + "\r\n\r\n")
	}
	return b.String()
}

// piece is an event with parts.
func piece(parts string) string {
	return `{"candidates":[{"content":{"parts":[` + parts + `],"role":"model"},"index":0}]}`
}

const stop = `{"candidates":[{"content":{"parts":[{"text":""}],"role":"model"},"finishReason":"STOP","index":0}]}`

// collect reads a stream to its end.
func collect(ctx context.Context, m *gemini.Model) ([]llm.Chunk, *llm.Response, error) {
	var chunks []llm.Chunk
	var whole llm.Assembly
	for chunk, err := range m.Stream(ctx, llm.Prompt("the prompt")) {
		if err != nil {
			return chunks, whole.Response(), err
		}
		chunks = append(chunks, chunk)
		whole.Add(chunk)
	}
	return chunks, whole.Response(), nil
}

// failedStream reads a stream that must fail.
func failedStream(t *testing.T, m *gemini.Model, ctx context.Context) *failure.Error {
	t.Helper()
	var e *failure.Error
	for chunk, err := range m.Stream(ctx, llm.Prompt("the prompt")) {
		if e != nil {
			t.Errorf("%+v, %v behind the error", chunk, err)
		}
		if err != nil && !errors.As(err, &e) {
			t.Fatalf("got %v (%T)", err, err)
		}
		if chunk.Finish != llm.FinishNone {
			t.Errorf("finish %q of a stream that fails", chunk.Finish)
		}
	}
	if e == nil {
		t.Fatal("no error")
	}
	if e.Provider != "gemini" || e.Model != "gemini/gemini-3.5-flash-lite" {
		t.Errorf("the error says it is from %q, %q", e.Provider, e.Model)
	}
	secretFree(t, e)
	return e
}

func TestStream(t *testing.T) {
	m := model(t, server(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.String() != "/v1beta/models/gemini-3.5-flash-lite:streamGenerateContent?alt=sse" || r.Header.Get("X-Goog-Api-Key") != key {
			t.Errorf("sent to %s, %v", r.URL, r.Header)
		}
		stream(data(
			`{"candidates":[{"content":{"parts":[{"text":"Hm.","thought":true}]},"index":0}],"usageMetadata":{"promptTokenCount":19,"thoughtsTokenCount":3},"modelVersion":"m-1","responseId":"r"}`,
			`{"candidates":[{"content":{"parts":[{"text":"Let "}]},"index":0}],"modelVersion":"m-1","responseId":"r"}`,
			`{"candidates":[{"content":{"parts":[{"text":"me look.","thoughtSignature":"QQ=="}]},"index":0}]}`,
			`{"candidates":[{"content":{"parts":[{"text":"!"}]},"index":0}]}`,
			`{"candidates":[{"content":{"parts":[{"functionCall":{"name":"look","args":{"b":1.0,"a":2}},"thoughtSignature":"Qg=="}]},"index":0}],"responseId":"r"}`,
			`{"candidates":[{"finishReason":"STOP","index":0}],"usageMetadata":{"promptTokenCount":19,"candidatesTokenCount":7,"thoughtsTokenCount":3},"modelVersion":"m-1","responseId":"r"}`,
		))(w, r)
	}), nil)
	chunks, got, err := collect(t.Context(), m)
	if err != nil {
		t.Fatal(err)
	}
	want := &llm.Response{
		Message: assistant(reasoning(`{"text":"Hm.","thought":true}`), llm.Text("Let me look.!"), reasoning(`{"thoughtSignature":"QQ=="}`),
			llm.ToolCall{ID: "gemini-call-r-0", Name: "look", Arguments: json.RawMessage(`{"b":1.0,"a":2}`), Signature: []byte("Qg==")}),
		Finish: llm.FinishToolCall, Model: "m-1", RequestID: "r",
		Usage: llm.Usage{InputTokens: 19, OutputTokens: 10, ReasoningTokens: 3},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v", got)
	}
	finishes, texts := 0, ""
	for i, chunk := range chunks {
		if chunk.Finish != llm.FinishNone {
			finishes++
			if i != len(chunks)-1 {
				t.Errorf("finish in chunk %d of %d", i, len(chunks))
			}
		}
		texts += chunk.Text + "|"
	}
	if finishes != 1 || !strings.Contains(texts, "Let |") {
		t.Errorf("%d finishes, texts %q", finishes, texts)
	}
}

func TestStreamsOfOddForm(t *testing.T) {
	hi := piece(`{"text":"hi"}`)
	for name, body := range map[string]string{
		"no empty line at the end": "data: " + hi + "\n\ndata: " + stop,
		"garbage between":          data(hi) + "%PDF-1.4 \x00\xff\n\n\n\n<html>\n\n" + data(stop),
		"[DONE]":                   data(hi, stop, "[DONE]"),
		"events without meaning":   data(hi, `{}`, `{"candidates":[]}`, `{"new":1}`, stop),
		"a finish with each":       data(strings.Replace(hi, `"index":0`, `"finishReason":"STOP"`, 1), stop),
		"usage behind the finish":  data(hi, stop, `{"usageMetadata":{"promptTokenCount":1}}`),
		"another candidate":        data(hi, `{"candidates":[{"index":1,"content":{"parts":[{"text":"ho"}]},"finishReason":"SAFETY"}]}`, stop),
	} {
		_, got, err := collect(t.Context(), model(t, server(t, stream(body)), nil))
		if err != nil || got.Text() != "hi" || got.Finish != llm.FinishStop {
			t.Errorf("%s: got %+v, %v", name, got, err)
		}
	}
}

// A stream that ends cleanly, but without a finish reason, was cut off: no
// Finish is made up.
func TestStreamWithoutAFinishReason(t *testing.T) {
	for _, body := range []string{data(piece(`{"text":"hi"}`)), data(piece(`{"text":"hi"}`), strings.Replace(stop, "STOP", "", 1))} {
		chunks, got, err := collect(t.Context(), model(t, server(t, stream(body)), nil))
		if err != nil || got.Finish != llm.FinishNone || got.Text() != "hi" {
			t.Errorf("got %+v, %v", chunks, err)
		}
	}
}

func TestStreamsThatFail(t *testing.T) {
	hi := data(piece(`{"text":"hi"}`))
	limited := problem(429, "RESOURCE_EXHAUSTED", "Slow down, "+key+".", `{"@type":"a.RetryInfo","retryDelay":"34s"}`)
	var lines bytes.Buffer
	if err := json.Indent(&lines, []byte(limited), "", "  "); err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		name, body string
		want       failure.Kind
		code       string
		message    string
	}{
		{"error that is no event", hi + limited, failure.RateLimited, "RESOURCE_EXHAUSTED", "Slow down, [key]."},
		{"error over several lines", hi + lines.String() + "\n", failure.RateLimited, "RESOURCE_EXHAUSTED", "Slow down, [key]."},
		{"nothing", "", failure.Transient, "", "the answer is a stream without any event"},
		{"garbage alone", "hello\n\n<html>\n", failure.Transient, "", "the answer is a stream without any event"},
		{"comments alone", ": ping\n\n: ping\n\n", failure.Transient, "", "the answer is a stream without any event"},
	} {
		handle := stream(step.body)
		m := model(t, server(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X-Request-Id", "req_1")
			handle(w, r)
		}), nil)
		got := failedStream(t, m, t.Context())
		if got.Kind != step.want || got.Code != step.code || step.message != "" && got.Message != step.message || got.Status != 200 || got.RequestID != "req_1" {
			t.Errorf("%s: got %#v", step.name, got)
		}
		if api, ok := errors.AsType[genai.APIError](got); strings.HasPrefix(step.name, "error") && !ok {
			t.Errorf("%s: the SDK's error is %+v", step.name, api)
		}
		if limited := step.want == failure.RateLimited; limited != got.Told || limited && got.RetryAfter != 34*time.Second {
			t.Errorf("%s: come back in %v, %v", step.name, got.RetryAfter, got.Told)
		}
	}
}

func TestStreamThatBreaksAfterItsLastEventIsTransient(t *testing.T) {
	last := data(stop)
	m := model(t, server(t, hijack(t, func(c *net.TCPConn) {
		fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nX-Request-Id: req_1\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n", len(last), last)
	})), nil)
	if got := failedStream(t, m, t.Context()); got.Kind != failure.Transient || got.RequestID != "req_1" {
		t.Errorf("got %#v", got)
	}
}
