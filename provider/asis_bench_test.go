package provider_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"syscall"
	"testing"

	"llmcall/internal/asis"
	"llmcall/llm"
	"llmcall/provider"
)

// BenchmarkComplete asks for 1 KiB with 1 KiB over loopback: by a bare POST, as a body as it is,
// and by the SDK.
func BenchmarkComplete(b *testing.B) {
	kib := strings.Repeat("Lorem ipsum dolor sit amet. ", 36)
	for _, p := range []struct{ name, body, answer string }{
		{
			"openai", `{"model":"m","messages":[{"role":"user","content":"` + kib + `"}]}`,
			`{"id":"chatcmpl-1","object":"chat.completion","created":1780000000,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"` + kib + `","refusal":null,"annotations":[]},"logprobs":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":250,"completion_tokens":250,"total_tokens":500,"prompt_tokens_details":{"cached_tokens":0,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":0}},"service_tier":"default"}`,
		}, {
			"openai-responses", `{"model":"m","input":"` + kib + `"}`,
			`{"id":"resp_1","object":"response","created_at":1780000000,"status":"completed","error":null,"model":"m","output":[{"type":"message","id":"msg_1","status":"completed","role":"assistant","content":[{"type":"output_text","text":"` + kib + `","annotations":[]}]}],"usage":{"input_tokens":250,"input_tokens_details":{"cached_tokens":0},"output_tokens":250,"output_tokens_details":{"reasoning_tokens":0},"total_tokens":500}}`,
		}, {
			"anthropic", `{"model":"m","max_tokens":1000,"messages":[{"role":"user","content":"` + kib + `"}]}`,
			`{"id":"msg_1","type":"message","role":"assistant","model":"m","content":[{"type":"text","text":"` + kib + `"}],"stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":250,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"output_tokens":250,"service_tier":"standard"}}`,
		}, {
			"gemini", `{"contents":[{"role":"user","parts":[{"text":"` + kib + `"}]}]}`,
			`{"candidates":[{"content":{"parts":[{"text":"` + kib + `"}],"role":"model"},"finishReason":"STOP","index":0}],"usageMetadata":{"promptTokenCount":250,"candidatesTokenCount":250,"totalTokenCount":500},"modelVersion":"m","responseId":"r1"}`,
		},
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, p.answer)
		}))
		m, err := provider.Open(p.name+"/m", provider.Options{APIKey: secret, BaseURL: baseOf(p.name, server.URL)})
		if err != nil {
			b.Fatal(err)
		}
		client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 100}}
		b.Run(p.name+"/post", func(b *testing.B) {
			defer processorTime(b)()
			for b.Loop() {
				response, err := client.Post(server.URL, "application/json", bytes.NewReader([]byte(p.body)))
				if err != nil {
					b.Fatal(err)
				}
				if _, err := io.ReadAll(response.Body); err != nil {
					b.Fatal(err)
				}
				_ = response.Body.Close()
			}
		})
		b.Run(p.name+"/as it is", func(b *testing.B) {
			defer processorTime(b)()
			for b.Loop() {
				x := &asis.Exchange{Protocol: p.name, Body: []byte(p.body)}
				if _, err := m.Complete(asis.With(context.Background(), x), nil); err != nil || len(x.Answer) != len(p.answer) {
					b.Fatal(err, len(x.Answer))
				}
			}
		})
		b.Run(p.name+"/SDK", func(b *testing.B) {
			defer processorTime(b)()
			for b.Loop() {
				if _, err := m.Complete(context.Background(), llm.Prompt(kib)); err != nil {
					b.Fatal(err)
				}
			}
		})
		target, err := url.Parse(server.URL)
		if err != nil {
			b.Fatal(err)
		}
		reverse := httputil.NewSingleHostReverseProxy(target)
		reverse.Transport = client.Transport
		for _, between := range []struct {
			name    string
			handler http.Handler
		}{{"ReverseProxy", reverse}, {"proxy of bodies as they are", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, err := io.ReadAll(r.Body)
			x := &asis.Exchange{Protocol: p.name, Body: body, Header: r.Header}
			if err == nil {
				_, err = m.Complete(asis.With(r.Context(), x), nil)
			}
			if err != nil {
				b.Error(err)
			}
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write(x.Answer)
		})}} {
			proxy := httptest.NewServer(between.handler)
			b.Run(p.name+"/"+between.name, func(b *testing.B) {
				defer processorTime(b)()
				for b.Loop() {
					response, err := client.Post(proxy.URL, "application/json", bytes.NewReader([]byte(p.body)))
					if err != nil {
						b.Fatal(err)
					}
					if _, err := io.ReadAll(response.Body); err != nil {
						b.Fatal(err)
					}
					_ = response.Body.Close()
				}
			})
			proxy.Close()
		}
		server.Close()
		// Without a network: what the adapter itself takes.
		m, err = provider.Open(p.name+"/m", provider.Options{APIKey: secret, BaseURL: baseOf(p.name, "http://127.0.0.1:1"), HTTPClient: &http.Client{Transport: canned(p.answer)}})
		if err != nil {
			b.Fatal(err)
		}
		b.Run(p.name+"/adapter alone", func(b *testing.B) {
			defer processorTime(b)()
			for b.Loop() {
				x := &asis.Exchange{Protocol: p.name, Body: []byte(p.body)}
				if _, err := m.Complete(asis.With(context.Background(), x), nil); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkStream is what the adapter takes for an event, without a network.
func BenchmarkStream(b *testing.B) {
	for _, p := range []struct{ name, event, end string }{
		{
			"openai", `{"id":"chatcmpl-1","object":"chat.completion.chunk","created":1780000000,"model":"m","service_tier":"default","choices":[{"index":0,"delta":{"content":" word"},"logprobs":null,"finish_reason":null}],"usage":null,"obfuscation":"abc"}`,
			"data: " + `{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}` + "\n\ndata: [DONE]\n\n",
		}, {
			"openai-responses", `{"type":"response.output_text.delta","sequence_number":4,"item_id":"msg_1","output_index":0,"content_index":0,"delta":" word","logprobs":[],"obfuscation":"abc"}`,
			"data: " + `{"type":"response.completed","response":{"status":"completed","output":[]}}` + "\n\n",
		}, {
			"anthropic", `{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":" word"}}`,
			"data: " + `{"type":"message_delta","delta":{"stop_reason":"end_turn"}}` + "\n\ndata: " + `{"type":"message_stop"}` + "\n\n",
		}, {
			"gemini", `{"candidates":[{"content":{"parts":[{"text":" word"}],"role":"model"},"index":0}],"usageMetadata":{"promptTokenCount":9,"candidatesTokenCount":2,"totalTokenCount":11},"modelVersion":"m","responseId":"r"}`,
			"data: " + `{"candidates":[{"finishReason":"STOP"}]}` + "\n\n",
		},
	} {
		const events = 1000
		m, err := provider.Open(p.name+"/m", provider.Options{
			APIKey: secret, BaseURL: baseOf(p.name, "http://127.0.0.1:1"), HTTPClient: &http.Client{Transport: canned(strings.Repeat("data: "+p.event+"\n\n", events) + p.end)},
		})
		if err != nil {
			b.Fatal(err)
		}
		b.Run(p.name, func(b *testing.B) {
			defer processorTime(b)()
			seen := 0
			for b.Loop() {
				x := &asis.Exchange{Protocol: p.name, Body: []byte(`{}`), Event: func(string, []byte) { seen++ }}
				if _, err := streamed(asis.With(context.Background(), x), m, nil); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(seen), "ns/event")
		})
	}
}

// canned answers every request with the same.
type canned string

func (c canned) RoundTrip(request *http.Request) (*http.Response, error) {
	_, _ = io.Copy(io.Discard, request.Body)
	return &http.Response{
		StatusCode: 200, Header: http.Header{"Content-Type": {"application/json"}}, ContentLength: int64(len(c)),
		Body: io.NopCloser(strings.NewReader(string(c))), Request: request,
	}, nil
}

// processorTime reports the time of the processor an operation, of both ends of the
// connection: other programs on the machine change it less than the time of the clock.
func processorTime(b *testing.B) func() {
	b.ReportAllocs()
	used := func() int64 {
		var usage syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
			b.Fatal(err)
		}
		return usage.Utime.Nano() + usage.Stime.Nano()
	}
	before := used()
	return func() { b.ReportMetric(float64(used()-before)/float64(b.N), "cpu-ns/op") }
}
