package provider_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"llmcall/classify"
	"llmcall/endpoint"
	"llmcall/llm"
	"llmcall/pace"
	"llmcall/provider"
)

// call is one that hears what an adapter tells it, and on which goroutines. It
// has no lock: what another goroutine told it would be a race.
type call struct {
	accepted, told []*pace.Told
	goroutines     []string
}

func (c *call) Again() bool  { return true }
func (c *call) Noted(string) {}
func (c *call) Accepted(told *pace.Told) {
	c.accepted = append(c.accepted, told)
	c.goroutines = append(c.goroutines, goroutine())
}

func (c *call) Told(told *pace.Told) {
	c.told = append(c.told, told)
	c.goroutines = append(c.goroutines, goroutine())
}

// goroutine returns the number of the one that calls it.
func goroutine() string {
	stack := make([]byte, 64)
	return string(bytes.Fields(stack[:runtime.Stack(stack, false)])[1])
}

// answers are what the protocols answer to a greeting, whole and as a stream.
func answers(p provider.Provider) (whole, stream string) {
	switch {
	case p.Protocol == classify.Anthropic:
		return `{"type":"message","role":"assistant","content":[{"type":"text","text":"Hello!"}],"stop_reason":"end_turn","usage":{}}`,
			`data: {"type":"message_start","message":{"usage":{}}}` + "\n\n" +
				`data: {"type":"content_block_start","index":0,"content_block":{"type":"text","text":"Hello!"}}` + "\n\n" +
				`data: {"type":"message_delta","delta":{"stop_reason":"end_turn"}}` + "\n\n" + `data: {"type":"message_stop"}` + "\n\n"
	case p.Protocol == classify.Gemini:
		const answer = `{"candidates":[{"content":{"parts":[{"text":"Hello!"}]},"finishReason":"STOP"}]}`
		return answer, "data: " + answer + "\n\n"
	case strings.HasSuffix(p.Name, "-responses"):
		const output = `"output":[{"type":"message","content":[{"type":"output_text","text":"Hello!"}]}]`
		return `{"status":"completed",` + output + `}`,
			`data: {"type":"response.output_text.delta","delta":"Hello!"}` + "\n\n" + `data: {"type":"response.completed","response":{"status":"completed",` + output + `}}` + "\n\n"
	}
	return `{"choices":[{"message":{"content":"Hello!"},"finish_reason":"stop"}]}`,
		`data: {"choices":[{"delta":{"content":"Hello!"},"finish_reason":"stop"}]}` + "\n\ndata: [DONE]\n\n"
}

// What an adapter learns of the provider's limits it tells the call that asks, on
// that call's goroutine: with a whole answer, which is accepted, with the header
// of a stream, and with a refusal of either.
func TestTheCallHearsOfLimitsOnItsGoroutine(t *testing.T) {
	status, kind, body := 0, "", ""
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", kind)
		w.Header().Set("Retry-After", "7")
		w.WriteHeader(status)
		io.WriteString(w, body)
	}))
	defer server.Close()
	emptyEnvironment(t)
	for _, p := range provider.All() {
		m := open(t, p.Name+"/m", provider.Options{APIKey: secret, BaseURL: server.URL, HTTPClient: server.Client()}).(llm.Streamer)
		complete := func(ctx context.Context) error {
			_, err := m.Complete(ctx, llm.Prompt("Hi!"))
			return err
		}
		stream := func(ctx context.Context) (last error) {
			for _, err := range m.Stream(ctx, llm.Prompt("Hi!")) {
				last = err
			}
			return last
		}
		whole, pieces := answers(p)
		for _, step := range []struct {
			name           string
			ask            func(context.Context) error
			status         int
			kind, body     string
			accepted, told int
		}{
			{"an answer", complete, 200, "application/json", whole, 1, 0},
			{"a stream", stream, 200, "text/event-stream", pieces, 0, 1},
			{"a stream in one piece", stream, 200, "application/json", whole, 0, 1},
			{"a refusal", complete, 429, "application/json", `{"error":{"message":"no"}}`, 0, 1},
			{"a refusal of a stream", stream, 429, "application/json", `{"error":{"message":"no"}}`, 0, 1},
		} {
			status, kind, body = step.status, step.kind, step.body
			heard := new(call)
			if err := step.ask(endpoint.Listen(t.Context(), heard)); (err == nil) != (step.status == 200) {
				t.Errorf("%s, %s: %v", p.Name, step.name, err)
			}
			if len(heard.accepted) != step.accepted || len(heard.told) != step.told {
				t.Errorf("%s, %s: accepted %v, told %v", p.Name, step.name, heard.accepted, heard.told)
			}
			for _, told := range append(heard.accepted, heard.told...) {
				if told == nil || !told.HasWait || told.Wait != 7*time.Second {
					t.Errorf("%s, %s: told %+v", p.Name, step.name, told)
				}
			}
			for _, g := range heard.goroutines {
				if g != goroutine() {
					t.Errorf("%s, %s: told on goroutine %s, the call is on %s", p.Name, step.name, g, goroutine())
				}
			}
		}
	}
}
