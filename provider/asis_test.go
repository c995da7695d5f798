package provider_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"llmcall/chaos"
	"llmcall/endpoint"
	"llmcall/failure"
	"llmcall/internal/asis"
	"llmcall/llm"
	"llmcall/provider"
	"llmcall/record"

	"github.com/tidwall/gjson"
)

// protocols are the providers by which the four protocols are asked.
var protocols = []string{"openai", "openai-responses", "anthropic", "gemini"}

// speaks is what a model tells of its protocol.
func speaks(m llm.Model) string { return m.(interface{ Protocol() string }).Protocol() }

// baseOf returns the base URL of a provider at a server with the paths of all protocols.
func baseOf(name, server string) string {
	if name == "anthropic" || name == "gemini" {
		return server
	}
	return server + "/v1"
}

// streamed reads a stream to its end.
func streamed(ctx context.Context, m llm.Model, req *llm.Request) (*llm.Response, error) {
	var answer llm.Assembly
	for chunk, err := range m.(llm.Streamer).Stream(ctx, req) {
		if err != nil {
			return answer.Response(), err
		}
		answer.Add(chunk)
	}
	return answer.Response(), nil
}

// asked asks for a whole answer, or for a stream.
func asked(ctx context.Context, m llm.Model, req *llm.Request, stream bool) (*llm.Response, error) {
	if stream {
		return streamed(ctx, m, req)
	}
	return m.Complete(ctx, req)
}

func TestProtocolOfAllModels(t *testing.T) {
	emptyEnvironment(t)
	for _, p := range provider.All() {
		m := open(t, p.Name+"/m", provider.Options{APIKey: secret, BaseURL: "https://llm.example.com"})
		want := p.Protocol
		if strings.HasSuffix(p.Name, "-responses") {
			want = "openai-responses"
		}
		all, err := provider.OpenAll([]string{"mine/m"}, map[string]provider.Own{"mine": {Protocol: p.Name, BaseURL: "http://127.0.0.1:1", Keys: []string{"none"}}}, provider.Options{})
		if err != nil {
			t.Fatal(err)
		}
		recorder, err := record.New(record.Config{Dir: t.TempDir()})
		if err != nil {
			t.Fatal(err)
		}
		if speaks(m) != want || speaks(all[0]) != want || speaks(recorder.Model(m)) != want {
			t.Errorf("%s speaks %s, renamed %s, recorded %s, want %s", p.Name, speaks(m), speaks(all[0]), speaks(recorder.Model(m)), want)
		}
	}
}

// What a client wrote arrives, and what the provider answered comes back, byte for byte: with
// fields that nobody knows, numbers that no float has, and white space.
func TestBodiesGoAsTheyAre(t *testing.T) {
	const rest = `"new_field" : {"n":12345678901234567890, "f":1.0}, "note":"<&>\u00e9"`
	for _, step := range []struct {
		provider               string
		body, whole, streamed  string // as the client wrote it, and as it arrives
		pathWhole, pathStreams string
		answer                 string
		events                 []string // name and data
		header                 http.Header
		key                    string
	}{
		{
			"openai", `{"model":"route",` + rest + `,"messages":[]}`, `{"model":"up/stream",` + rest + `,"messages":[]}`,
			`{"stream":true,"stream_options":{"include_usage":true},"model":"up/stream",` + rest + `,"messages":[]}`, "/v1/chat/completions", "/v1/chat/completions",
			`{"choices":[{"message":{"content":"Hello!","x":1.0},"finish_reason":"stop"}], "new":9007199254740993}`,
			[]string{`:{"choices":[{"delta":{"content":"Hello!"},"finish_reason":null}], "new": 1.0}`, `:{"choices":[{"delta":{},"finish_reason":"stop"}]}`, `:[DONE]`},
			http.Header{"Openai-Beta": {"a=1"}}, "Authorization",
		}, {
			"openai-responses", `{"model":"route",` + rest + `}`, `{"model":"up/stream",` + rest + `}`, `{"stream":true,"model":"up/stream",` + rest + `}`, "/v1/responses", "/v1/responses",
			`{"status":"completed", "output":[{"type":"message","content":[{"type":"output_text","text":"Hello!"}]},{"type":"new"}]}`,
			[]string{
				`response.new:{"type":"response.new"}`, `response.output_text.delta:{"type":"response.output_text.delta","delta":"Hello!", "new":1.0}`,
				`response.completed:{"type":"response.completed","response":{"status":"completed","output":[{"type":"message","content":[{"type":"output_text","text":"Hello!"}]}]}}`,
			},
			http.Header{"Openai-Beta": {"a=1", "b=2"}}, "Authorization",
		}, {
			"anthropic", `{"model":"route",` + rest + `}`, `{"model":"up/stream",` + rest + `}`, `{"stream":true,"model":"up/stream",` + rest + `}`, "/v1/messages", "/v1/messages",
			`{"type":"message","role":"assistant","content":[{"type":"text","text":"Hello!","citations":[{"new":1.0}]}], "stop_reason":"end_turn","usage":{}}`,
			[]string{
				`message_start:{"type":"message_start","message":{"usage":{}}}`, `ping:{"type":"ping", "new":1.0}`,
				`content_block_start:{"type":"content_block_start","index":0,"content_block":{"type":"text","text":"Hello!"}}`,
				`message_delta:{"type":"message_delta","delta":{"stop_reason":"end_turn"}}`, `message_stop:{"type":"message_stop"}`,
			},
			http.Header{"Anthropic-Beta": {"fine-2026"}, "Anthropic-Version": {"2024-01-01"}}, "X-Api-Key",
		}, {
			"gemini", `{` + rest + `,"contents":[]}`, `{` + rest + `,"contents":[]}`, `{` + rest + `,"contents":[]}`,
			"/v1beta/models/up/stream:generateContent", "/v1beta/models/up/stream:streamGenerateContent?alt=sse",
			`{"candidates":[{"content":{"parts":[{"text":"Hello!"}]},"finishReason":"STOP"}], "new":1.0}`,
			[]string{`:{"candidates":[{"content":{"parts":[{"text":"Hello!"}]}}], "new":1.0}`, `:{"candidates":[{"finishReason":"STOP"}]}`},
			nil, "X-Goog-Api-Key",
		},
	} {
		for _, stream := range []bool{false, true} {
			var sent *http.Request
			var body string
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				text, _ := io.ReadAll(r.Body)
				sent, body = r, string(text)
				w.Header().Set("X-Request-Id", "r-1")
				w.Header().Set("Set-Cookie", "a=b")
				w.Header().Set("Connection", "X-Hop")
				w.Header().Set("X-Hop", "1")
				w.Header().Set("X-Echo", "key "+secret)
				w.Header().Set("Openai-Organization", "ours")
				if !stream {
					_, _ = io.WriteString(w, step.answer)
					return
				}
				w.Header().Set("Content-Type", "text/event-stream")
				for _, e := range step.events {
					name, data, _ := strings.Cut(e, ":")
					if name != "" {
						name = "event: " + name + "\n"
					}
					_, _ = fmt.Fprintf(w, "%sdata: %s\n\n", name, data)
				}
			}))
			m := open(t, step.provider+"/up/stream", provider.Options{APIKey: secret, BaseURL: baseOf(step.provider, server.URL), HTTPClient: server.Client()})
			x := &asis.Exchange{
				Protocol: step.provider, Body: []byte(step.body), Sent: true, Answer: []byte("of another request"),
				Header: http.Header{"Authorization": {"Bearer client"}, "X-Api-Key": {"client"}, "Cookie": {"c=d"}, "X-Forwarded-For": {"1.2.3.4"}},
			}
			for name, values := range step.header {
				x.Header[name] = values
			}
			var events []string
			x.Event = func(name string, data []byte) { events = append(events, name+":"+string(data)) }
			answer, err := asked(asis.With(t.Context(), x), m, llm.Prompt("not sent"), stream)
			server.Close()
			if err != nil || answer.Text() != "Hello!" || answer.Finish != llm.FinishStop {
				t.Fatalf("%s, stream %v: got %+v, %v", step.provider, stream, answer, err)
			}
			wantBody, wantPath := step.whole, step.pathWhole
			if stream {
				wantBody, wantPath = step.streamed, step.pathStreams
			}
			if body != wantBody || sent.URL.RequestURI() != wantPath || sent.Method != http.MethodPost {
				t.Errorf("%s, stream %v: sent %s %s\n%s, want %s\n%s", step.provider, stream, sent.Method, sent.URL, body, wantPath, wantBody)
			}
			for name, values := range step.header {
				if !slices.Equal(sent.Header[name], values) {
					t.Errorf("%s: %s is %q, want %q", step.provider, name, sent.Header[name], values)
				}
			}
			if got := strings.TrimPrefix(sent.Header.Get(step.key), "Bearer "); got != secret {
				t.Errorf("%s: the key is %q", step.provider, got)
			}
			if all := fmt.Sprint(sent.Header); strings.Contains(all, "client") || strings.Contains(all, "c=d") || strings.Contains(all, "1.2.3.4") {
				t.Errorf("%s: sent %s", step.provider, all)
			}
			if stream && (!slices.Equal(events, step.events) || x.Answer != nil) || !stream && (string(x.Answer) != step.answer || events != nil) {
				t.Errorf("%s: handed on %s\n%q\nwant %q", step.provider, x.Answer, events, step.events)
			}
			if !x.Sent || x.Added != (stream && step.provider == "openai") || x.Status != 200 || x.Problem != nil {
				t.Errorf("%s: reported %+v", step.provider, x)
			}
			if all := fmt.Sprint(x.Told); x.Told.Get("X-Request-Id") != "r-1" || len(x.Told["Set-Cookie"])+len(x.Told["Connection"])+len(x.Told["X-Hop"])+len(x.Told["Openai-Organization"])+len(x.Told["Content-Length"]) > 0 || strings.Contains(all, secret) {
				t.Errorf("%s: told %v", step.provider, x.Told)
			}
		}
	}
}

// A model takes only what is in its protocol, and hands its answer on to nobody else.
func TestExchangesOfOtherProtocolsAreIgnored(t *testing.T) {
	var body string
	var greeting string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, _ := io.ReadAll(r.Body)
		body = string(text)
		_, _ = io.WriteString(w, greeting)
	}))
	defer server.Close()
	emptyEnvironment(t)
	for _, name := range protocols {
		p := provider.All()[slices.IndexFunc(provider.All(), func(p provider.Provider) bool { return p.Name == name })]
		m := open(t, name+"/m", provider.Options{APIKey: secret, BaseURL: server.URL, HTTPClient: server.Client()})
		greeting, _ = answers(p)
		for _, protocol := range append([]string{""}, protocols...) {
			x := &asis.Exchange{Protocol: protocol, Body: []byte(`{"mine":1}`)}
			if _, err := m.Complete(asis.With(t.Context(), x), llm.Prompt("Hi!")); err != nil {
				t.Fatal(err)
			}
			if own := protocol == name; strings.Contains(body, "mine") != own || x.Sent != own || (x.Answer != nil) != own || (x.Told != nil) != own {
				t.Errorf("%s took %s: sent %s, reported %+v", name, protocol, body, x)
			}
		}
		x := &asis.Exchange{Protocol: name}
		if _, err := m.Complete(asis.With(t.Context(), x), llm.Prompt("Hi!")); err != nil || !strings.Contains(body, "Hi!") || x.Sent || string(x.Answer) != greeting {
			t.Errorf("%s without a body: sent %s, reported %+v, %v", name, body, x, err)
		}
		x = &asis.Exchange{Protocol: name, Body: []byte(`[1]`)}
		if _, err := m.Complete(asis.With(t.Context(), x), llm.Prompt("Hi!")); failure.KindOf(err) != failure.InvalidRequest || x.Sent {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// read is what is compared of an outcome.
func read(t *testing.T, answer *llm.Response, err error) map[string]any {
	t.Helper()
	got := map[string]any{}
	if answer != nil {
		text, encodeErr := json.Marshal(answer)
		if encodeErr != nil {
			t.Fatal(encodeErr)
		}
		got["answer"] = string(text)
	}
	if f, ok := errors.AsType[*failure.Error](err); ok {
		got["error"] = []any{f.Kind, f.Status, f.Code, f.RequestID, f.RetryAfter, f.NoRetry, f.Provider, f.Model}
		got["message"] = f.Message
	} else if err != nil {
		got["other"] = err.Error()
	}
	return got
}

// Each way in which chaos fails is read from an answer to a body as it is like from the
// answer to the adapter's own: four protocols, whole and streamed.
func TestFailuresAreReadAsWithout(t *testing.T) {
	faults := map[string]chaos.Fault{
		"429":             {Kind: chaos.Status, Status: 429},
		"429 Retry-After": {Kind: chaos.Status, Status: 429, RetryAfter: "7"},
		"quota":           {Kind: chaos.Status, Error: "billing"},
		"401":             {Kind: chaos.Status, Status: 401},
		"404":             {Kind: chaos.Status, Status: 404},
		"500":             {Kind: chaos.Status, Status: 500},
		"529":             {Kind: chaos.Status, Status: 529},
		"HTML":            {Kind: chaos.Status, Error: "html_in_200"},
		"error in 200":    {Kind: chaos.StreamError, Status: 500},
		"late error":      {Kind: chaos.StreamError, Status: 529, After: new(2)},
		"cut":             {Kind: chaos.Cut},
		"cut clean":       {Kind: chaos.Cut, End: chaos.Clean},
	}
	for _, kind := range chaos.Kinds() {
		switch kind {
		case chaos.Status, chaos.StreamError, chaos.Cut:
		case chaos.Hang:
			faults[string(kind)] = chaos.Fault{Kind: kind}
		case chaos.Slow:
			faults[string(kind)] = chaos.Fault{Kind: kind, Delay: time.Millisecond}
		case chaos.Drip:
			faults[string(kind)] = chaos.Fault{Kind: kind, ChunkDelay: time.Millisecond}
		case chaos.Huge:
			faults[string(kind)] = chaos.Fault{Kind: kind, Size: 65 << 20}
		default:
			faults[string(kind)] = chaos.Fault{Kind: kind}
		}
	}
	emptyEnvironment(t)
	for what, fault := range faults {
		for _, name := range protocols {
			for _, stream := range []bool{false, true} {
				if testing.Short() && fault.Kind == chaos.Huge && (name != "openai" || stream) {
					continue
				}
				compare(t, fmt.Sprintf("%s, %s, stream %v", what, name, stream), name, fault, stream)
			}
		}
	}
}

// compare asks twice for the same: by the request, and by the body that it became.
func compare(t *testing.T, what, name string, fault chaos.Fault, stream bool) {
	t.Helper()
	var outcomes []map[string]any
	var body []byte
	for range 2 {
		practice, err := chaos.New(chaos.Config{Plan: &chaos.Plan{Steps: []chaos.Fault{fault}}, Seed: 7})
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		server := httptest.NewServer(practice)
		m := open(t, name+"/m", provider.Options{APIKey: secret, BaseURL: baseOf(name, server.URL), HTTPClient: server.Client()})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		if fault.Kind == chaos.Hang {
			ctx, cancel = context.WithTimeout(t.Context(), 30*time.Millisecond)
		}
		x := &asis.Exchange{Protocol: name, Body: body}
		var events bytes.Buffer
		x.Event = func(event string, data []byte) {
			fmt.Fprintf(&events, "%s %s\n", event, data)
			if kind := gjson.GetBytes(data, "type").String(); event == "error" || kind == "error" || kind == "response.failed" || gjson.GetBytes(data, "error").IsObject() {
				t.Errorf("%s: an error was handed on: %s", what, data)
			}
		}
		answer, err := asked(asis.With(ctx, x), m, llm.Prompt("The capital of France?"), stream)
		cancel()
		outcomes = append(outcomes, read(t, answer, err))
		if sent := practice.Requests(); len(sent) > 0 {
			body = sent[0].Body
		}
		practice.Close()
		server.CloseClientConnections()
		server.Close()
		handedOn(t, what, x, events.String(), err)
	}
	for i := range outcomes { // addresses and ports of connections differ
		if message, ok := outcomes[i]["message"].(string); ok && strings.Contains(message, "127.0.0.1:") {
			outcomes[i]["message"] = "a connection"
		}
	}
	if !reflect.DeepEqual(outcomes[0], outcomes[1]) {
		t.Errorf("%s: read\n%v\nfrom the answer to the body\n%s\nand %v\nwithout", what, outcomes[1], body, outcomes[0])
	}
}

// handedOn checks what is handed on beside an outcome.
func handedOn(t *testing.T, what string, x *asis.Exchange, events string, err error) {
	t.Helper()
	ends := strings.Contains(events, "[DONE]") || strings.Contains(events, "message_stop") || strings.Contains(events, "response.completed")
	refused := failure.KindOf(err) == failure.ContentFiltered
	switch {
	case err == nil && x.Answer == nil && events == "":
		t.Errorf("%s: nothing was handed on", what)
	case err != nil && !refused && (x.Answer != nil || ends):
		t.Errorf("%s: handed on as an answer: %s%s beside %v", what, x.Answer, events, err)
	case x.Answer != nil && !json.Valid(x.Answer):
		t.Errorf("%s: the answer is %s", what, x.Answer)
	case x.Status >= 300 && err != nil && x.Status < 600 && len(x.Problem) == 0 && !strings.Contains(what, "redirect"):
		t.Errorf("%s: the refusal was not handed on", what)
	}
}

var _ endpoint.Listener = (*notes)(nil)

type notes struct {
	call
	all []string
}

func (n *notes) Noted(note string) { n.all = append(n.all, note) }

// The usage that the adapter asks for is left out where the server refuses to tell it, and the
// event that has it alone is not handed on to a client that did not ask.
func TestUsageOfAStreamAsItIs(t *testing.T) {
	var bodies []string
	refuse := false
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, _ := io.ReadAll(r.Body)
		bodies = append(bodies, string(text))
		if refuse && strings.Contains(string(text), "include_usage") {
			w.WriteHeader(422)
			_, _ = io.WriteString(w, `{"error":{"message":"stream_options: Extra inputs are not permitted"}}`)
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, `data: {"choices":[{"delta":{"content":"Hi"},"finish_reason":"stop"}],"usage":null}`+"\n\n")
		if strings.Contains(string(text), "include_usage") {
			_, _ = io.WriteString(w, `data: {"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2}}`+"\n\n")
		}
		_, _ = io.WriteString(w, "data: [DONE]\n\n")
	}))
	defer server.Close()
	emptyEnvironment(t)
	m := open(t, "openai/m", provider.Options{APIKey: secret, BaseURL: server.URL, HTTPClient: server.Client()})
	ask := func(body string) (answer *llm.Response, events int, x *asis.Exchange, n *notes) {
		bodies, n = nil, &notes{}
		x = &asis.Exchange{Protocol: "openai", Body: []byte(body), Event: func(string, []byte) { events++ }}
		answer, err := streamed(endpoint.Listen(asis.With(t.Context(), x), n), m, llm.Prompt("Hi!"))
		if err != nil {
			t.Fatal(err)
		}
		return answer, events, x, n
	}
	if answer, events, x, _ := ask(`{"messages":[]}`); events != 2 || !x.Added || answer.Usage.OutputTokens != 2 {
		t.Errorf("not asked for: %d events, added %v, usage %+v", events, x.Added, answer.Usage)
	}
	if answer, events, x, _ := ask(`{"stream_options":{"include_usage":true}}`); events != 3 || x.Added || answer.Usage.OutputTokens != 2 {
		t.Errorf("asked for: %d events, added %v, usage %+v", events, x.Added, answer.Usage)
	}
	refuse = true
	if answer, events, x, n := ask(`{"messages":[]}`); events != 2 || x.Added || answer.Usage.OutputTokens != 0 || len(bodies) != 2 || len(n.all) != 1 {
		t.Errorf("refused: %d events, added %v, usage %+v, sent %s, noted %q", events, x.Added, answer.Usage, bodies, n.all)
	}
	if _, events, _, n := ask(`{"messages":[]}`); events != 2 || len(bodies) != 1 || len(n.all) != 0 {
		t.Errorf("after the refusal: %d events, sent %s, noted %q", events, bodies, n.all)
	}
	x := &asis.Exchange{Protocol: "openai", Body: []byte(`{"stream_options":{"include_usage":true}}`)}
	if _, err := streamed(endpoint.Listen(asis.With(t.Context(), x), &notes{}), m, llm.Prompt("Hi!")); failure.KindOf(err) != failure.InvalidRequest || x.Status != 422 || !strings.Contains(string(x.Problem), "Extra inputs") {
		t.Errorf("asked for and refused: %v, reported %+v", err, x)
	}
}

// What the adapter leaves out of its own request after a refusal stays in the client's.
func TestRefusalsOfABodyAsItIsAreTheClients(t *testing.T) {
	asked := 0
	const refusal = `{"error":{"message":"Invalid parameter: 'response_format' of type 'json_schema' is not supported with this model.","param":"response_format","type":"invalid_request_error","new":1.0}}`
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked++
		w.WriteHeader(400)
		_, _ = io.WriteString(w, refusal)
	}))
	defer server.Close()
	emptyEnvironment(t)
	req := llm.Prompt("Hi!")
	req.Schema = &llm.Schema{Name: "s", JSON: json.RawMessage(`{"type":"object","properties":{}}`)}
	for _, name := range protocols {
		for _, stream := range []bool{false, true} {
			asked = 0
			m := open(t, name+"/m", provider.Options{APIKey: secret, BaseURL: server.URL, HTTPClient: server.Client()})
			x := &asis.Exchange{Protocol: name, Body: []byte(`{}`)}
			outcome := func() error {
				if stream {
					_, err := streamed(endpoint.Listen(asis.With(t.Context(), x), &notes{}), m, req)
					return err
				}
				_, err := m.Complete(endpoint.Listen(asis.With(t.Context(), x), &notes{}), req)
				return err
			}
			err := outcome()
			if failure.KindOf(err) != failure.InvalidRequest || asked != 1 || string(x.Problem) != refusal || x.Status != 400 || x.Answer != nil {
				t.Errorf("%s: asked %d times, got %v, reported %+v", name, asked, err, x)
			}
		}
	}
}

// A server that quotes the key tells it to nobody.
func TestNoKeyIsHandedOn(t *testing.T) {
	var whole, stream string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, _ := io.ReadAll(r.Body)
		answer := whole
		if gjson.GetBytes(text, "stream").Bool() || strings.Contains(r.URL.Path, "stream") {
			answer = stream
			w.Header().Set("Content-Type", "text/event-stream")
		}
		_, _ = io.WriteString(w, strings.ReplaceAll(answer, "Hello!", "Hello "+secret))
	}))
	defer server.Close()
	emptyEnvironment(t)
	for _, name := range protocols {
		p := provider.All()[slices.IndexFunc(provider.All(), func(p provider.Provider) bool { return p.Name == name })]
		whole, stream = answers(p)
		m := open(t, name+"/m", provider.Options{APIKey: secret, BaseURL: server.URL, HTTPClient: server.Client()})
		for _, streams := range []bool{false, true} {
			var all bytes.Buffer
			x := &asis.Exchange{Protocol: name, Body: []byte(`{}`), Event: func(_ string, data []byte) { all.Write(data) }}
			if _, err := asked(asis.With(t.Context(), x), m, llm.Prompt("Hi!"), streams); err != nil {
				t.Fatal(err)
			}
			if all.Write(x.Answer); all.Len() == 0 || strings.Contains(all.String(), secret) {
				t.Errorf("%s: handed on %s", name, all.String())
			}
		}
	}
}

// A clean end is handed on only with an answer: a client must not take for whole what the
// call ends with an error. A refusal is an answer in its protocol.
func TestTheEndIsHandedOnWithAnAnswer(t *testing.T) {
	const begun = `{"choices":[{"delta":{"content":"Hello!"}}]}`
	for _, step := range []struct {
		what, provider string
		events         []string
		kind           failure.Kind
		handed         int // how many of the events
	}{
		{"an answer", "openai", []string{begun, `{"choices":[{"delta":{},"finish_reason":"stop"}]}`, `[DONE]`}, answered, 3},
		{"a mark before the end, and twice", "openai", []string{begun, `[DONE]`, `{"choices":[{"delta":{},"finish_reason":"stop"}]}`, `[DONE]`, `[DONE]`}, answered, 3},
		{"the model broke off", "openai", []string{begun, `{"choices":[{"delta":{},"finish_reason":"error"}]}`, `[DONE]`}, failure.Transient, 2},
		{"an error", "openai", []string{begun, `{"error":{"message":"no","code":"server_error"}}`, `[DONE]`}, failure.Transient, 1},
		{"an error in a choice", "openai", []string{begun, `{"choices":[{"error":{"message":"no","code":502},"delta":{},"finish_reason":"error"}]}`, `[DONE]`}, failure.Transient, 1},
		{"garbage", "openai", []string{begun, `{"choices":7`, `[DONE]`}, failure.Transient, 1},
		{"a refusal", "openai", []string{`{"choices":[{"delta":{"refusal":"No."}}]}`, `{"choices":[{"delta":{},"finish_reason":"stop"}]}`, `[DONE]`}, failure.ContentFiltered, 3},
		{"filtered", "openai", []string{begun, `{"choices":[{"delta":{},"finish_reason":"content_filter"}]}`, `[DONE]`}, failure.ContentFiltered, 3},
		{"an error of a filter", "openai", []string{`{"error":{"message":"filtered","code":"content_filter"}}`}, failure.ContentFiltered, 0},
		{"failed", "openai-responses", []string{`{"type":"response.output_text.delta","delta":"Hello!"}`, `{"type":"response.failed","response":{"status":"failed","output":[],"error":{"code":"server_error","message":"no"}}}`}, failure.Transient, 1},
		{"refused", "openai-responses", []string{`{"type":"response.completed","response":{"status":"completed","output":[{"type":"message","content":[{"type":"refusal","refusal":"No."}]}]}}`}, failure.ContentFiltered, 1},
		{"overloaded", "anthropic", []string{`{"type":"message_start","message":{"usage":{}}}`, `{"type":"error","error":{"type":"overloaded_error","message":"no"}}`, `{"type":"message_stop"}`}, failure.Overloaded, 1},
		{"broke off", "anthropic", []string{`{"type":"message_start","message":{"usage":{}}}`, `{"type":"message_delta","delta":{"stop_reason":"error"}}`, `{"type":"message_stop"}`}, failure.Transient, 2},
		{"a refusal", "anthropic", []string{`{"type":"message_delta","delta":{"stop_reason":"refusal"}}`}, failure.ContentFiltered, 1},
		{"blocked", "gemini", []string{`{"promptFeedback":{"blockReason":"SAFETY"}}`}, failure.ContentFiltered, 1},
		{"a malformed call", "gemini", []string{`{"candidates":[{"finishReason":"MALFORMED_FUNCTION_CALL"}]}`}, failure.InvalidAnswer, 0},
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/event-stream")
			for _, e := range step.events {
				_, _ = io.WriteString(w, "data: "+e+"\n\n")
			}
		}))
		m := open(t, step.provider+"/m", provider.Options{APIKey: secret, BaseURL: server.URL, HTTPClient: server.Client()})
		var handed []string
		x := &asis.Exchange{Protocol: step.provider, Body: []byte(`{}`), Event: func(_ string, data []byte) { handed = append(handed, string(data)) }}
		_, err := streamed(asis.With(t.Context(), x), m, llm.Prompt("Hi!"))
		server.Close()
		want := step.kind
		if got := failure.KindOf(err); err == nil != (want == answered) || err != nil && got != want || len(handed) != step.handed || x.Answer != nil {
			t.Errorf("%s, %s: got %v, handed on %d of %q", step.provider, step.what, err, len(handed), handed)
		}
	}
}

// The same for whole answers.
func TestAWholeAnswerIsHandedOnUnlessItIsAnError(t *testing.T) {
	for _, step := range []struct {
		provider, body string
		kind           failure.Kind
		handed         bool
	}{
		{"openai", `{"choices":[{"message":{"content":null,"refusal":"No."},"finish_reason":"stop"}]}`, failure.ContentFiltered, true},
		{"openai", `{"choices":[{"message":{"content":"Hel"},"finish_reason":"content_filter"}]}`, failure.ContentFiltered, true},
		{"openai", `{"error":{"message":"filtered","code":"content_filter"}}`, failure.ContentFiltered, false},
		{"openai", `{"choices":[{"message":{"content":"Hel"},"finish_reason":"error"}]}`, failure.Transient, false},
		{"openai", `{"choices":[]}`, failure.Transient, false},
		{"openai", `<html>Sign in</html>`, failure.Transient, false},
		{"openai", ``, failure.Transient, false},
		{"openai", "data: " + `{"choices":[{"delta":{"content":"Hi"},"finish_reason":"stop"}]}` + "\n\ndata: [DONE]\n\n", answered, false}, // a stream: its events
		{"anthropic", `{"type":"message","content":[],"stop_reason":"refusal","usage":{}}`, failure.ContentFiltered, true},
		{"gemini", `{"promptFeedback":{"blockReason":"SAFETY"}}`, failure.ContentFiltered, true},
		{"gemini", `[{"candidates":[{"content":{"parts":[{"text":"Hi"}]},"finishReason":"STOP"}]}]`, answered, false},
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, step.body) }))
		m := open(t, step.provider+"/m", provider.Options{APIKey: secret, BaseURL: server.URL, HTTPClient: server.Client()})
		x := &asis.Exchange{Protocol: step.provider, Body: []byte(`{}`)}
		_, err := m.Complete(asis.With(t.Context(), x), llm.Prompt("Hi!"))
		if got := failure.KindOf(err); err == nil != (step.kind == answered) || err != nil && got != step.kind || (x.Answer != nil) != step.handed {
			t.Errorf("%s, %s: got %v, handed on %s", step.provider, step.body, err, x.Answer)
		}
		// A whole answer to a request for a stream is handed on before what was read of it.
		if step.handed || step.kind != answered {
			x = &asis.Exchange{Protocol: step.provider, Body: []byte(`{}`), Event: func(_ string, data []byte) { t.Errorf("%s: an event: %s", step.body, data) }}
			if _, err := streamed(asis.With(t.Context(), x), m, llm.Prompt("Hi!")); failure.KindOf(err) != step.kind || (x.Answer != nil) != step.handed {
				t.Errorf("%s, %s, streamed: got %v, handed on %s", step.provider, step.body, err, x.Answer)
			}
		}
		server.Close()
	}
}

// answered is the kind of no failure.
const answered = failure.Kind(255)
