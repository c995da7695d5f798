package transport_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anthropics/anthropic-sdk-go"
	anthropicoption "github.com/anthropics/anthropic-sdk-go/option"
	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
	"google.golang.org/genai"

	"llmcall/backoff"
	"llmcall/transport"
)

// sdk is an official SDK whose HTTP client is resilient.
type sdk struct {
	name   string
	answer string // the body of a success
	stream string
	// ask asks for one answer by the server at an address; retries switches the
	// SDK's own on.
	ask    func(ctx context.Context, client *http.Client, address string, retries bool) (string, error)
	listen func(ctx context.Context, client *http.Client, address string) (string, error)
	status func(error) int // that of the SDK's own error
}

var sdks = []sdk{
	{
		name:   "openai",
		answer: `{"id":"c","object":"chat.completion","model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"hello"},"finish_reason":"stop"}]}`,
		stream: "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"hel\"}}]}\n\ndata: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"lo\"},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n",
		ask: func(ctx context.Context, client *http.Client, address string, retries bool) (string, error) {
			answer, err := openAI(client, address, retries).Chat.Completions.New(ctx, openAIParams)
			if err != nil {
				return "", err
			}
			return answer.Choices[0].Message.Content, nil
		},
		listen: func(ctx context.Context, client *http.Client, address string) (text string, err error) {
			stream := openAI(client, address, false).Chat.Completions.NewStreaming(ctx, openAIParams)
			defer stream.Close()
			for stream.Next() {
				text += stream.Current().Choices[0].Delta.Content
			}
			return text, stream.Err()
		},
		status: func(err error) int {
			e, _ := errors.AsType[*openai.Error](err)
			if e == nil {
				return 0
			}
			return e.StatusCode
		},
	},
	{
		name:   "anthropic",
		answer: `{"id":"m","type":"message","role":"assistant","model":"m","content":[{"type":"text","text":"hello"}],"stop_reason":"end_turn","usage":{"input_tokens":1,"output_tokens":1}}`,
		stream: "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"m\",\"type\":\"message\",\"role\":\"assistant\",\"content\":[],\"model\":\"m\",\"usage\":{\"input_tokens\":1,\"output_tokens\":1}}}\n\n" +
			"event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n" +
			"event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"hello\"}}\n\n" +
			"event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
		ask: func(ctx context.Context, client *http.Client, address string, retries bool) (string, error) {
			answer, err := anthropicClient(client, address, retries).Messages.New(ctx, anthropicParams)
			if err != nil {
				return "", err
			}
			return answer.Content[0].Text, nil
		},
		listen: func(ctx context.Context, client *http.Client, address string) (text string, err error) {
			stream := anthropicClient(client, address, false).Messages.NewStreaming(ctx, anthropicParams)
			defer stream.Close()
			for stream.Next() {
				text += stream.Current().Delta.Text
			}
			return text, stream.Err()
		},
		status: func(err error) int {
			e, _ := errors.AsType[*anthropic.Error](err)
			if e == nil {
				return 0
			}
			return e.StatusCode
		},
	},
	{
		name:   "gemini",
		answer: `{"candidates":[{"content":{"role":"model","parts":[{"text":"hello"}]},"finishReason":"STOP"}]}`,
		stream: "data: {\"candidates\":[{\"content\":{\"role\":\"model\",\"parts\":[{\"text\":\"hello\"}]},\"finishReason\":\"STOP\"}]}\n\n",
		ask: func(ctx context.Context, client *http.Client, address string, _ bool) (string, error) {
			g, err := gemini(ctx, client, address)
			if err != nil {
				return "", err
			}
			answer, err := g.Models.GenerateContent(ctx, "m", genai.Text("hi"), nil)
			if err != nil {
				return "", err
			}
			return answer.Text(), nil
		},
		listen: func(ctx context.Context, client *http.Client, address string) (text string, err error) {
			g, err := gemini(ctx, client, address)
			if err != nil {
				return "", err
			}
			for chunk, err := range g.Models.GenerateContentStream(ctx, "m", genai.Text("hi"), nil) {
				if err != nil {
					return text, err
				}
				text += chunk.Text()
			}
			return text, nil
		},
		status: func(err error) int {
			var e genai.APIError
			if !errors.As(err, &e) {
				return 0
			}
			return e.Code
		},
	},
}

var openAIParams = openai.ChatCompletionNewParams{Model: "m", Messages: []openai.ChatCompletionMessageParamUnion{openai.UserMessage("hi")}}

func openAI(client *http.Client, address string, retries bool) *openai.Client {
	options := []option.RequestOption{option.WithHTTPClient(client), option.WithBaseURL(address), option.WithAPIKey("k")}
	if !retries {
		options = append(options, option.WithMaxRetries(0))
	}
	return new(openai.NewClient(options...))
}

var anthropicParams = anthropic.MessageNewParams{Model: "m", MaxTokens: 10, Messages: []anthropic.MessageParam{anthropic.NewUserMessage(anthropic.NewTextBlock("hi"))}}

func anthropicClient(client *http.Client, address string, retries bool) *anthropic.Client {
	options := []anthropicoption.RequestOption{anthropicoption.WithHTTPClient(client), anthropicoption.WithBaseURL(address), anthropicoption.WithAPIKey("k")}
	if !retries {
		options = append(options, anthropicoption.WithMaxRetries(0))
	}
	return new(anthropic.NewClient(options...))
}

func gemini(ctx context.Context, client *http.Client, address string) (*genai.Client, error) {
	return genai.NewClient(ctx, &genai.ClientConfig{
		APIKey: "k", Backend: genai.BackendGeminiAPI, HTTPClient: client, HTTPOptions: genai.HTTPOptions{BaseURL: address},
	})
}

// resilient is a client for one test: nothing of it is shared, and it waits
// hardly at all.
func resilient(t *testing.T) *http.Client {
	t.Helper()
	base := http.DefaultTransport.(*http.Transport).Clone()
	t.Cleanup(base.CloseIdleConnections)
	tr, err := transport.New(transport.Config{Endpoints: registry(t), Base: base, Backoff: backoff.Constant{Interval: time.Millisecond}})
	if err != nil {
		t.Fatal(err)
	}
	return &http.Client{Transport: tr}
}

// Each official SDK, over real HTTP, survives what its provider does.
func TestEverySDKSurvives(t *testing.T) {
	for _, k := range sdks {
		for name, fault := range map[string]http.HandlerFunc{
			"503":     answer(503, "<html>busy</html>"),
			"529":     answer(529, `{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}`),
			"429":     answer(429, `{"error":{"message":"slow"}}`, "Retry-After-Ms", "20"),
			"a reset": func(w http.ResponseWriter, _ *http.Request) { hijack(w).Close() },
			"a cut header": func(w http.ResponseWriter, _ *http.Request) {
				c := hijack(w)
				io.WriteString(c, "HTTP/1.1 20")
				c.Close()
			},
			"a 500 cut": func(w http.ResponseWriter, _ *http.Request) {
				c := hijack(w)
				io.WriteString(c, "HTTP/1.1 500 X\r\nContent-Length: 100\r\n\r\nhalf")
				c.Close()
			},
		} {
			for _, streamed := range []bool{false, true} {
				var requests atomic.Int32
				var bodies [2]string
				server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					n := requests.Add(1)
					body, _ := io.ReadAll(r.Body)
					bodies[min(n, 2)-1] = string(body)
					switch {
					case n == 1:
						fault(w, r)
					case streamed:
						w.Header().Set("Content-Type", "text/event-stream")
						io.WriteString(w, k.stream)
					default:
						w.Header().Set("Content-Type", "application/json")
						io.WriteString(w, k.answer)
					}
				}))
				var got string
				var err error
				if streamed {
					got, err = k.listen(t.Context(), resilient(t), server.URL)
				} else {
					got, err = k.ask(t.Context(), resilient(t), server.URL, false)
				}
				if got != "hello" || err != nil || requests.Load() != 2 || bodies[0] != bodies[1] || bodies[0] == "" {
					t.Errorf("%s, %s, streamed %v: %q, %v after %d requests, of %q and %q", k.name, name, streamed, got, err, requests.Load(), bodies[0], bodies[1])
				}
				server.Close()
			}
		}
	}
}

// What an SDK reads of a whole answer, streamed or not, is a whole answer to the
// endpoint too; of a stream that is cut, it is not.
func TestWhatEverySDKReadsIsSettled(t *testing.T) {
	for _, k := range sdks {
		for _, c := range []struct {
			name, stream string
			failures     int
		}{
			{"whole", k.stream, 0}, {"cut", k.stream[:strings.Index(k.stream, "\n\n")/2], 1},
		} {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "text/event-stream")
				io.WriteString(w, c.stream)
			}))
			base := http.DefaultTransport.(*http.Transport).Clone()
			endpoints := registry(t)
			tr, err := transport.New(transport.Config{Endpoints: endpoints, Base: base})
			if err != nil {
				t.Fatal(err)
			}
			_, _ = k.listen(t.Context(), &http.Client{Transport: tr}, server.URL)
			seen := 0
			for e := range endpoints.All() {
				seen++
				got := e.Snapshot()
				if len(got.Circuits) != 1 || got.Circuits[0].Failures != c.failures || got.Pace.InFlight != 0 || got.Key.Model != "m" || got.Key.Credential == 0 {
					t.Errorf("%s, %s: %+v", k.name, c.name, got)
				}
			}
			if seen != 1 {
				t.Errorf("%s, %s: %d endpoints", k.name, c.name, seen)
			}
			base.CloseIdleConnections()
			server.Close()
		}
	}
}

// The SDK returns its own typed error for the last response; and its own
// retries, forgotten to be switched off, do not multiply ours.
func TestEverySDKGetsItsOwnErrorAndDoesNotRetryIt(t *testing.T) {
	for _, k := range sdks {
		for _, c := range []struct {
			status, requests int
			body             string
		}{{500, 3, `{"error":{"code":500,"message":"no"}}`}, {400, 1, `{"error":{"code":400,"message":"no"}}`}} {
			var requests atomic.Int32
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				requests.Add(1)
				answer(c.status, c.body)(w, r)
			}))
			_, err := k.ask(t.Context(), resilient(t), server.URL, true)
			if k.status(err) != c.status || int(requests.Load()) != c.requests {
				t.Errorf("%s: %d after %d requests, want %d after %d: %v", k.name, k.status(err), requests.Load(), c.status, c.requests, err)
			}
			server.Close()
		}
	}
}

func answer(status int, body string, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if strings.HasPrefix(body, "<") {
			w.Header().Set("Content-Type", "text/html")
		}
		for i := 0; i < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(status)
		io.WriteString(w, body)
	}
}

func hijack(w http.ResponseWriter) io.ReadWriteCloser {
	c, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		panic(err)
	}
	return c
}
