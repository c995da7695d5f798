package gateway_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"llmcall/chaos"
	"llmcall/endpoint"
	"llmcall/gateway"
	_ "llmcall/provider/all"
	"llmcall/validate"
	_ "llmcall/validate/standard"
)

// served is a gateway before providers of package chaos.
type served struct {
	*gateway.Gateway
	url       string
	providers map[string]*chaos.Server
	upstream  map[string]string // their addresses
}

// serve starts a gateway. In the configuration {NAME} is the address of a provider, which
// fails as its plan says; a name that ends in "1" is an address with /v1.
func serve(t testing.TB, config string, plans map[string]string) *served {
	t.Helper()
	s := &served{providers: map[string]*chaos.Server{}, upstream: map[string]string{}}
	for name, text := range plans {
		var plan *chaos.Plan
		if text != "" {
			var err error
			if plan, err = chaos.ParsePlan(name, []byte(text)); err != nil {
				t.Fatal(err)
			}
		}
		provider, err := chaos.New(chaos.Config{Plan: plan})
		if err != nil {
			t.Fatal(err)
		}
		server := httptest.NewServer(provider)
		t.Cleanup(server.Close)
		s.providers[name], s.upstream[name] = provider, server.URL
		config = strings.ReplaceAll(config, "{"+name+"1}", server.URL+"/v1")
		config = strings.ReplaceAll(config, "{"+name+"}", server.URL)
	}
	cfg, err := gateway.Parse("gateway.yaml", []byte(config), validate.Builder{})
	if err != nil {
		t.Fatal(err)
	}
	registry, err := endpoint.NewRegistry(endpoint.Config{})
	if err != nil {
		t.Fatal(err)
	}
	if s.Gateway, err = gateway.New(cfg, gateway.Options{Endpoints: registry}); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(s.Handler())
	t.Cleanup(func() {
		server.Close()
		if err := s.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
		http.DefaultClient.CloseIdleConnections()
	})
	s.url = server.URL
	return s
}

// fourProviders are four names of providers at one address, one for each protocol.
const fourProviders = `
providers:
  chat: {protocol: openai, base_url: "{up1}", keys: [none]}
  responses: {protocol: openai-responses, base_url: "{up1}", keys: [none]}
  claude: {protocol: anthropic, base_url: "{up}", keys: [none]}
  google: {protocol: gemini, base_url: "{up}", keys: [none]}
`

// post sends a body, and returns the status, the headers and the body of the answer.
func post(t *testing.T, url, body string, header ...string) (int, http.Header, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, string(text)
}

const hello = `{"model": %q, "messages": [{"role": "user", "content": "Hello"}]}`

// What a client of the provider's own protocol sends and gets is what it would be without a
// gateway, but for the model's name.
func TestSameProtocolPassesAsItIs(t *testing.T) {
	var got map[string]any
	var gotHeader http.Header
	const answer = `{"id":"c1","object":"chat.completion","created":1,"model":"small-2026","choices":[{"index":0,"message":{"role":"assistant","content":"Hi","annotations":[{"new":1}]},"logprobs":{"content":[]},"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":1,"total_tokens":4},"brand_new":{"a":[1,2]}}`
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got, gotHeader = nil, r.Header
		_ = json.Unmarshal(body, &got)
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, answer)
	}))
	defer upstream.Close()
	s := serve(t, fmt.Sprintf(`{providers: {acme: {protocol: openai, base_url: "%s/v1", keys: [none]}}}`, upstream.URL), nil)
	status, header, text := post(t, s.url+"/v1/chat/completions",
		`{"model": "acme/small", "messages": [{"role": "user", "content": "Hello", "extra_in_message": 5}], "brand_new_setting": {"x": true}, "logprobs": true}`,
		"Authorization", "Bearer the-clients-own")
	if status != 200 || text != answer {
		t.Errorf("got %d %s", status, text)
	}
	if got["model"] != "small" || fmt.Sprint(got["brand_new_setting"]) != "map[x:true]" || !strings.Contains(fmt.Sprint(got["messages"]), "extra_in_message:5") {
		t.Errorf("the provider got %v", got)
	}
	if strings.Contains(fmt.Sprint(gotHeader), "the-clients-own") {
		t.Errorf("the provider got the client's key: %v", gotHeader)
	}
	for name, want := range map[string]string{"X-Llmcall-Attempts": "1", "X-Llmcall-Model": "acme/small"} {
		if header.Get(name) != want {
			t.Errorf("%s is %q, not %q", name, header.Get(name), want)
		}
	}
	if len(header.Get("X-Llmcall-Trace-Id")) < 16 {
		t.Errorf("got the trace id %q", header.Get("X-Llmcall-Trace-Id"))
	}
}

// A request in each protocol is answered by a provider of each.
func TestEachProtocolByEach(t *testing.T) {
	s := serve(t, fourProviders, map[string]string{"up": ""})
	for _, p := range []string{"chat", "responses", "claude", "google"} {
		model := p + "/m"
		for _, c := range []struct{ name, path, body, want string }{
			{"chat", "/v1/chat/completions", fmt.Sprintf(hello, model), `"object":"chat.completion"`},
			{"chat, streamed", "/v1/chat/completions", fmt.Sprintf(`{"model": %q, "stream": true, "messages": [{"role": "user", "content": "Hello"}]}`, model), "data: [DONE]"},
			{"responses", "/v1/responses", fmt.Sprintf(`{"model": %q, "input": "Hello"}`, model), `"object":"response"`},
			{"responses, streamed", "/v1/responses", fmt.Sprintf(`{"model": %q, "stream": true, "input": "Hello"}`, model), "response.completed"},
			{"messages", "/v1/messages", fmt.Sprintf(`{"model": %q, "max_tokens": 1000, "messages": [{"role": "user", "content": "Hello"}]}`, model), `"type":"message"`},
			{"messages, streamed", "/v1/messages", fmt.Sprintf(`{"model": %q, "stream": true, "max_tokens": 1000, "messages": [{"role": "user", "content": "Hello"}]}`, model), "message_stop"},
			{"gemini", "/v1beta/models/" + model + ":generateContent", `{"contents": [{"role": "user", "parts": [{"text": "Hello"}]}]}`, `"finishReason"`},
			{"gemini, as the SDKs of Vercel ask", "/v1beta/" + model + ":generateContent", `{"contents": [{"role": "user", "parts": [{"text": "Hello"}]}]}`, `"finishReason"`},
			{"gemini, streamed", "/v1beta/models/" + model + ":streamGenerateContent?alt=sse", `{"contents": [{"role": "user", "parts": [{"text": "Hello"}]}]}`, `"finishReason"`},
			{"gemini, array", "/v1beta/models/" + model + ":streamGenerateContent", `{"contents": [{"role": "user", "parts": [{"text": "Hello"}]}]}`, `"finishReason"`},
		} {
			t.Run(c.name+" by "+p, func(t *testing.T) {
				status, header, text := post(t, s.url+c.path, c.body)
				if status != 200 || !strings.Contains(strings.ReplaceAll(text, ": ", ":"), strings.ReplaceAll(c.want, ": ", ":")) {
					t.Errorf("got %d %v\n%s", status, header, text)
				}
				if c.name == "gemini, array" && !json.Valid([]byte(text)) {
					t.Errorf("not JSON: %s", text)
				}
			})
		}
	}
}

// A route goes to its next model when the first one can't serve, and tells what happened.
func TestARouteFallsBack(t *testing.T) {
	s := serve(t, `
providers:
  ill: {protocol: openai, base_url: "{ill1}", keys: [none]}
  well: {protocol: anthropic, base_url: "{well}", keys: [none]}
routes:
  support: {models: [ill/small, well/large], initial_delay: 0.01}
`, map[string]string{"ill": "steps: [{kind: status, error: billing}]", "well": ""})
	status, header, text := post(t, s.url+"/v1/chat/completions", fmt.Sprintf(hello, "support"), "X-Llmcall-Trace", "1")
	if status != 200 || header.Get("X-Llmcall-Model") != "well/large" || header.Get("X-Llmcall-Attempts") != "2" {
		t.Errorf("got %d %v %s", status, header, text)
	}
	var told struct {
		Llmcall struct {
			Attempts []struct{ Model, Kind string }
		}
	}
	if err := json.Unmarshal([]byte(text), &told); err != nil || !strings.Contains(text, `"llmcall":{"attempts":[`) || len(told.Llmcall.Attempts) != 2 || told.Llmcall.Attempts[0].Kind != "quota_exhausted" {
		t.Errorf("the trace is %+v: %v", told, err)
	}
}

// A route goes to its next model when the first one's answers are not valid, also when
// they are only empty.
func TestARouteFallsBackFromWrongAnswers(t *testing.T) {
	for _, c := range []struct{ name, checks, plan string }{
		{"wrong", "checks: [json], ", "weights: [{kind: right, answer: no JSON}]"},
		{"empty", "", "weights: [empty]"},
	} {
		for _, stream := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, stream %v", c.name, stream), func(t *testing.T) {
				s := serve(t, fmt.Sprintf(`
providers:
  ill: {protocol: openai, base_url: "{ill1}", keys: [none]}
  well: {protocol: anthropic, base_url: "{well}", keys: [none]}
routes:
  r: {models: [ill/small, well/large], %sinitial_delay: 0.01}
`, c.checks), map[string]string{"ill": c.plan, "well": `weights: [{kind: right, answer: "{\"a\": 1}"}]`})
				status, header, text := post(t, s.url+"/v1/chat/completions", fmt.Sprintf(`{"model": "r", "stream": %v, "messages": [{"role": "user", "content": "Hello"}]}`, stream))
				if model := cmp.Or(header.Get("X-Llmcall-Model"), "well/large"); status != 200 || model != "well/large" || strings.Contains(text, "no JSON") || !strings.Contains(text, `\"a\"`) {
					t.Errorf("got %d %v %s", status, header, text)
				}
				if n := s.providers["ill"].Counts().Requests; n != 2 {
					t.Errorf("the first model was asked %d times", n)
				}
			})
		}
	}
}

// An answer that does not pass its checks is asked for again, whole or as a stream.
func TestAWrongAnswerIsAskedAgain(t *testing.T) {
	for _, stream := range []bool{false, true} {
		t.Run(fmt.Sprint("stream ", stream), func(t *testing.T) {
			s := serve(t, `
providers: {acme: {protocol: openai, base_url: "{up1}", keys: [none]}}
routes:
  city: {models: [acme/small], checks: [json]}
`, map[string]string{"up": `
steps:
  - {kind: right, answer: "Sure! Here it is."}
  - {kind: right, answer: "{\"city\": \"Bonn\"}"}
`})
			status, header, text := post(t, s.url+"/v1/chat/completions", fmt.Sprintf(`{"model": "city", "stream": %v, "messages": [{"role": "user", "content": "A city, as JSON"}]}`, stream))
			if status != 200 || strings.Contains(text, "Sure") || !strings.Contains(text, "Bonn") || header.Get("X-Llmcall-Attempts") != "2" {
				t.Errorf("got %d %v %s", status, header, text)
			}
		})
	}
}

// What can't be answered is an error in the client's protocol, which says why, and when to
// come back.
func TestErrors(t *testing.T) {
	const config = `
providers: {acme: {protocol: openai, base_url: "{up1}", keys: [none]}}
routes:
  r: {models: [acme/small], max_attempts: 1, checks: [json]}
`
	for _, c := range []struct {
		name, plan, body string
		status           int
		code, after      string
	}{
		{"no such route", "", fmt.Sprintf(hello, "s"), 404, "model_not_found", ""},
		{"not JSON", "", "{", 400, "invalid_request", ""},
		{"no messages", "", `{"model": "r"}`, 400, "invalid_request", ""},
		{"overloaded", "steps: [{kind: status, error: overloaded}]", fmt.Sprintf(hello, "r"), 503, "provider_overloaded", "5"},
		{"rate limited", "steps: [{kind: status, error: rate_limit, retry_after: 90}]", fmt.Sprintf(hello, "r"), 429, "provider_rate_limited", "90"},
		{"unauthorized", "steps: [{kind: status, error: bad_key}]", fmt.Sprintf(hello, "r"), 503, "provider_unauthorized", ""},
		{"quota", "steps: [{kind: status, error: billing}]", fmt.Sprintf(hello, "r"), 503, "provider_quota_exhausted", "5"},
		{"HTML under 200", "steps: [{kind: status, error: html_in_200}]", fmt.Sprintf(hello, "r"), 503, "provider_failed", "5"},
		{"wrong answer", "steps: [{kind: right, answer: no}]", fmt.Sprintf(hello, "r"), 422, "no_valid_answer", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := serve(t, config, map[string]string{"up": c.plan})
			status, header, text := post(t, s.url+"/v1/chat/completions", c.body)
			var e struct {
				Error struct{ Message, Type, Code string }
			}
			if err := json.Unmarshal([]byte(text), &e); err != nil || e.Error.Message == "" || e.Error.Type == "" {
				t.Errorf("not an error of OpenAI's: %s", text)
			}
			if status != c.status || header.Get("X-Llmcall-Error") != c.code || header.Get("Retry-After") != c.after {
				t.Errorf("got %d, %q, Retry-After %q: %s", status, header.Get("X-Llmcall-Error"), header.Get("Retry-After"), text)
			}
		})
	}
}

// The code of an error is OpenAI's own for clients and providers that have these codes,
// and never a word of another provider's. The header is always the gateway's.
func TestCodesOfErrors(t *testing.T) {
	for _, c := range []struct{ model, fault, code, header string }{
		{"chat/m", "error: unsupported_parameter", "unsupported_parameter", "invalid_request"},
		{"claude/m", "error: unsupported_parameter", "invalid_request", "invalid_request"},
		{"google/m", "error: context_too_long", "context_length_exceeded", "context_length_exceeded"},
	} {
		t.Run(c.model, func(t *testing.T) {
			s := serve(t, fourProviders, map[string]string{"up": "steps: [{kind: status, " + c.fault + "}]"})
			status, header, text := post(t, s.url+"/v1/chat/completions", fmt.Sprintf(hello, c.model))
			var e struct{ Error struct{ Code string } }
			if err := json.Unmarshal([]byte(text), &e); err != nil || status != 400 || e.Error.Code != c.code || header.Get("X-Llmcall-Error") != c.header {
				t.Errorf("got %d, %q, %s", status, header.Get("X-Llmcall-Error"), text)
			}
		})
	}
}

// What follows events that were passed on as they came continues them: an array of Gemini's
// stays JSON, and the events of a response are numbered.
func TestEventsAreContinued(t *testing.T) {
	s := serve(t, fourProviders+`
routes: {"*": {max_attempts: 1}, checked: {models: [google/m], checks: [json], initial_delay: 0}}
`, map[string]string{"up": "steps: [{answer: no}, {answer: '{}'}, {kind: cut}, {kind: cut}]"})
	const prompt = `{"contents": [{"role": "user", "parts": [{"text": "Hello"}]}]}`
	for _, c := range []struct{ name, model, want string }{
		{"an answer that was asked for again", "checked", `"finishReason"`},
		{"a failure", "google/m", `"code": 503`},
	} {
		status, _, text := post(t, s.url+"/v1beta/models/"+c.model+":streamGenerateContent", prompt)
		var events []json.RawMessage
		if err := json.Unmarshal([]byte(text), &events); status != 200 || err != nil || len(events) < 2 || !strings.Contains(strings.ReplaceAll(text, `":5`, `": 5`), c.want) {
			t.Errorf("%s: got %d %v\n%s", c.name, status, err, text)
		}
	}
	_, _, text := post(t, s.url+"/v1/responses", `{"model": "responses/m", "stream": true, "input": "Hello"}`)
	last := -1
	for line := range strings.Lines(text) {
		data, ok := strings.CutPrefix(line, "data: ")
		if !ok {
			continue
		}
		var e struct {
			Type   string
			Number int `json:"sequence_number"`
		}
		if err := json.Unmarshal([]byte(data), &e); err != nil || e.Number != last+1 {
			t.Errorf("after %d came %s: %v", last, data, err)
		}
		last = e.Number
	}
	if !strings.Contains(text, "event: response.failed") || last < 4 {
		t.Errorf("got %s", text)
	}
}

// What a provider says of a client's request goes to that client as it was said, and opens
// no circuit, however often.
func TestTheProvidersOwnWords(t *testing.T) {
	const problem = `{"error":{"message":"Unknown parameter: 'colour'.","type":"invalid_request_error","param":"colour","code":"unknown_parameter","new":1}}`
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("Content-Type", "application/json")
		if strings.Contains(string(body), "colour") {
			w.WriteHeader(400)
			_, _ = io.WriteString(w, problem)
			return
		}
		_, _ = io.WriteString(w, `{"id":"c1","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":null,"refusal":"I'd rather not."},"finish_reason":"stop"}],"new":1}`)
	}))
	defer upstream.Close()
	s := serve(t, fmt.Sprintf(`{providers: {acme: {protocol: openai, base_url: "%s/v1", keys: [none]}}}`, upstream.URL), nil)
	for range 30 {
		status, header, text := post(t, s.url+"/v1/chat/completions", `{"model": "acme/m", "colour": "red", "messages": [{"role": "user", "content": "Hello"}]}`)
		if status != 400 || text != problem || header.Get("X-Should-Retry") != "false" || header.Get("X-Llmcall-Error") != "invalid_request" {
			t.Fatalf("got %d %v %s", status, header, text)
		}
	}
	if status, header, text := post(t, s.url+"/v1/chat/completions", fmt.Sprintf(hello, "acme/m")); status != 200 || !strings.Contains(text, `"refusal":"I'd rather not."`) || !strings.Contains(text, `"new":1`) {
		t.Errorf("a refusal of the model: %d %v %s", status, header, text)
	}
}

// A server may answer in one piece where a stream was asked for.
func TestAStreamAnsweredInOnePiece(t *testing.T) {
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"id":"c1","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"Hi"},"finish_reason":"stop"}]}`)
	}))
	defer upstream.Close()
	s := serve(t, fmt.Sprintf(`{providers: {acme: {protocol: openai, base_url: "%s/v1", keys: [none]}}}`, upstream.URL), nil)
	status, _, text := post(t, s.url+"/v1/chat/completions", `{"model": "acme/m", "stream": true, "messages": [{"role": "user", "content": "Hello"}]}`)
	if status != 200 || !strings.Contains(text, `"content":"Hi"`) || !strings.Contains(text, "data: [DONE]") {
		t.Errorf("got %d %s", status, text)
	}
}

// A client that leaves ends the provider's work, before or after the first piece.
func TestAClientThatLeaves(t *testing.T) {
	left := make(chan struct{}, 1)
	for _, piece := range []string{"", "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"a\"}}]}\n\n"} {
		for _, stream := range []bool{false, true} {
			t.Run(fmt.Sprintf("after %d bytes, stream %v", len(piece), stream), func(t *testing.T) {
				arrived := make(chan struct{}, 1)
				upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					_, _ = io.Copy(io.Discard, r.Body)
					if stream && piece != "" {
						w.Header().Set("Content-Type", "text/event-stream")
						_, _ = io.WriteString(w, piece)
						w.(http.Flusher).Flush()
					}
					arrived <- struct{}{}
					<-r.Context().Done()
					left <- struct{}{}
				}))
				defer upstream.Close()
				s := serve(t, fmt.Sprintf(`{providers: {acme: {protocol: openai, base_url: "%s/v1", keys: [none]}}}`, upstream.URL), nil)
				ctx, leave := context.WithCancel(t.Context())
				body := fmt.Sprintf(`{"model": "acme/small", "stream": %v, "messages": [{"role": "user", "content": "Hello"}]}`, stream)
				req, _ := http.NewRequestWithContext(ctx, http.MethodPost, s.url+"/v1/chat/completions", strings.NewReader(body))
				req.Header.Set("Content-Type", "application/json")
				done := make(chan struct{})
				go func() {
					defer close(done)
					if resp, err := http.DefaultClient.Do(req); err == nil {
						_, _ = io.Copy(io.Discard, resp.Body)
						resp.Body.Close()
					}
				}()
				<-arrived
				start := time.Now()
				leave()
				select {
				case <-left:
					if took := time.Since(start); took > 100*time.Millisecond {
						t.Errorf("took %v", took)
					}
				case <-time.After(10 * time.Second):
					t.Error("the provider works on")
				}
				<-done
			})
		}
	}
}

// A browser must not be made to spend the user's money.
func TestForeignRequestsAreRefused(t *testing.T) {
	s := serve(t, fourProviders, map[string]string{"up": ""})
	body := fmt.Sprintf(hello, "chat/m")
	for _, c := range []struct {
		name, header, value string
		status              int
	}{
		{"of a page", "Origin", "https://evil.example", 403},
		{"of a page on this machine", "Origin", "http://localhost:3000", 200},
		{"as a form", "Content-Type", "application/x-www-form-urlencoded", 415},
		{"as text", "Content-Type", "text/plain", 415},
	} {
		t.Run(c.name, func(t *testing.T) {
			if status, _, text := post(t, s.url+"/v1/chat/completions", body, c.header, c.value); status != c.status {
				t.Errorf("got %d %s", status, text)
			}
		})
	}
	req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, s.url+"/v1/chat/completions", bytes.NewReader([]byte(body)))
	req.Host = "rebound.example"
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != 403 {
		t.Errorf("a foreign host: %d", resp.StatusCode)
	}
}
