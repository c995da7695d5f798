package chaos_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
	"github.com/openai/openai-go/v3/packages/param"
	"github.com/openai/openai-go/v3/shared"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.uber.org/goleak"

	"llmcall/chaos"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("go.opencensus.io/stats/view.(*worker).start")) // started by a package below Gemini's SDK
}

// practice is a Server on loopback with a client of OpenAI's SDK.
type practice struct {
	*chaos.Server
	url    string
	client openai.Client
}

func start(t *testing.T, cfg chaos.Config, options ...option.RequestOption) *practice {
	t.Helper()
	s, url, client := listen(t, cfg)
	options = append([]option.RequestOption{
		option.WithBaseURL(url + "/v1"), option.WithAPIKey(secret), option.WithMaxRetries(0), option.WithHTTPClient(client),
	}, options...)
	return &practice{s, url, openai.NewClient(options...)}
}

// steps starts a Server that follows the steps.
func steps(t *testing.T, faults ...chaos.Fault) *practice {
	return start(t, chaos.Config{Plan: &chaos.Plan{Steps: faults}, Seed: 1})
}

func ask(prompts ...string) openai.ChatCompletionNewParams {
	p := openai.ChatCompletionNewParams{Model: "gpt-practice"}
	for i, text := range prompts {
		if i%2 == 0 {
			p.Messages = append(p.Messages, openai.UserMessage(text))
		} else {
			p.Messages = append(p.Messages, openai.AssistantMessage(text))
		}
	}
	return p
}

const orderSchema = `{"type":"object","properties":{
	"id":{"type":"string","format":"uuid"},
	"status":{"enum":["open","shipped"]},
	"items":{"type":"array","minItems":1,"items":{"type":"object","properties":{"name":{"type":"string"},"price":{"type":"number","minimum":0}},"required":["name","price"],"additionalProperties":false}}
	},"required":["id","status","items"],"additionalProperties":false}`

func askJSON(schema string) openai.ChatCompletionNewParams {
	p := ask("An order, please.")
	p.ResponseFormat.OfJSONSchema = &shared.ResponseFormatJSONSchemaParam{
		JSONSchema: shared.ResponseFormatJSONSchemaJSONSchemaParam{Name: "order", Schema: json.RawMessage(schema), Strict: param.NewOpt(true)},
	}
	return p
}

func (p *practice) answer(t *testing.T, params openai.ChatCompletionNewParams) *openai.ChatCompletion {
	t.Helper()
	c, err := p.client.Chat.Completions.New(t.Context(), params)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// violations returns the places of the schema that an answer violates.
func violations(t *testing.T, schema, answer string) []string {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(schema))
	if err != nil {
		t.Fatal(err)
	}
	v, err := jsonschema.UnmarshalJSON(strings.NewReader(answer))
	if err != nil {
		t.Fatalf("the answer is not JSON: %v\n%s", err, answer)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource("test:schema", doc); err != nil {
		t.Fatal(err)
	}
	var failure *jsonschema.ValidationError
	if !errors.As(c.MustCompile("test:schema").Validate(v), &failure) {
		return nil
	}
	var places []string
	for _, unit := range failure.DetailedOutput().Errors {
		places = append(places, unit.InstanceLocation)
	}
	return places
}

func TestARequestIsAnsweredRightlyWithoutAPlan(t *testing.T) {
	p := start(t, chaos.Config{})
	c := p.answer(t, ask("What is the capital of France?"))
	choice := c.Choices[0]
	if !strings.Contains(choice.Message.Content, "invented") || choice.FinishReason != "stop" || choice.Message.Role != "assistant" {
		t.Errorf("got %+v", choice)
	}
	if c.Model != "gpt-practice" || c.Object != "chat.completion" || c.Created == 0 {
		t.Errorf("got %+v", c)
	}
	if u := c.Usage; u.PromptTokens < 5 || u.CompletionTokens < 5 || u.TotalTokens != u.PromptTokens+u.CompletionTokens {
		t.Errorf("usage %+v", u)
	}
	if again := p.answer(t, ask("What is the capital of France?")); again.Choices[0].Message.Content != choice.Message.Content || again.ID == c.ID {
		t.Errorf("the same request got %q, with the identifiers %s and %s", again.Choices[0].Message.Content, c.ID, again.ID)
	}
	if other := p.answer(t, ask("And of Spain?")); other.Choices[0].Message.Content == choice.Message.Content {
		t.Error("another request got the same answer")
	}
}

func TestASeedGivesTheSameAnswers(t *testing.T) {
	text := func(seed uint64) string {
		return start(t, chaos.Config{Seed: seed}).answer(t, askJSON(orderSchema)).Choices[0].Message.Content
	}
	if a, b := text(5), text(5); a != b {
		t.Errorf("seed 5 gave %s and %s", a, b)
	}
	if a, b := text(5), text(6); a == b {
		t.Errorf("seeds 5 and 6 gave %s", a)
	}
}

func TestAnAnswerFitsTheSchemaOfTheRequest(t *testing.T) {
	p := start(t, chaos.Config{})
	text := p.answer(t, askJSON(orderSchema)).Choices[0].Message.Content
	if places := violations(t, orderSchema, text); places != nil {
		t.Errorf("%s violates the schema at %q", text, places)
	}
	loose := ask("An object, please.")
	loose.ResponseFormat.OfJSONObject = &shared.ResponseFormatJSONObjectParam{}
	var object map[string]any
	if text := p.answer(t, loose).Choices[0].Message.Content; json.Unmarshal([]byte(text), &object) != nil {
		t.Errorf("json_object got %s", text)
	}
}

func TestAToolThatMustBeCalledIsCalledWithArgumentsThatFit(t *testing.T) {
	p := start(t, chaos.Config{})
	params := ask("Look it up.")
	params.Tools = []openai.ChatCompletionToolUnionParam{
		openai.ChatCompletionFunctionTool(shared.FunctionDefinitionParam{Name: "now"}),
		openai.ChatCompletionFunctionTool(shared.FunctionDefinitionParam{Name: "lookup", Parameters: shared.FunctionParameters{
			"type": "object", "properties": map[string]any{"city": map[string]any{"type": "string"}}, "required": []string{"city"}}}),
	}
	if m := p.answer(t, params).Choices[0].Message; len(m.ToolCalls) > 0 || m.Content == "" {
		t.Errorf("no tool must be called, got %+v", m)
	}
	params.ToolChoice.OfAuto = param.NewOpt("required")
	if c := p.answer(t, params).Choices[0]; len(c.Message.ToolCalls) != 1 || c.Message.ToolCalls[0].Function.Name != "now" || c.Message.ToolCalls[0].Function.Arguments != "{}" || c.FinishReason != "tool_calls" {
		t.Errorf("got %+v", c)
	}
	params.ToolChoice = openai.ToolChoiceOptionFunctionToolChoice(openai.ChatCompletionNamedToolChoiceFunctionParam{Name: "lookup"})
	call := p.answer(t, params).Choices[0].Message.ToolCalls[0]
	var arguments struct{ City string }
	if err := json.Unmarshal([]byte(call.Function.Arguments), &arguments); err != nil || arguments.City == "" || call.ID == "" {
		t.Errorf("got %+v, %v", call, err)
	}
	got := p.stream(t, params)
	if got.err != nil || got.tool != "lookup" || got.arguments == "" || got.finish != "tool_calls" {
		t.Errorf("streamed: %+v", got)
	}
}

// streamed is what came of a stream.
type streamed struct {
	chunks          int
	text            string
	tool, arguments string
	finish          string
	usage           openai.CompletionUsage
	err             error
}

func (p *practice) stream(t *testing.T, params openai.ChatCompletionNewParams) (got streamed) {
	t.Helper()
	s := p.client.Chat.Completions.NewStreaming(t.Context(), params)
	defer func() { _ = s.Close() }()
	for s.Next() {
		c := s.Current()
		got.chunks++
		if c.Usage.TotalTokens > 0 {
			got.usage = c.Usage
		}
		for _, choice := range c.Choices {
			got.text += choice.Delta.Content
			got.finish += choice.FinishReason
			for _, call := range choice.Delta.ToolCalls {
				got.tool += call.Function.Name
				got.arguments += call.Function.Arguments
			}
		}
	}
	got.err = s.Err()
	return got
}

func TestAStreamHasTheSameAnswerInChunks(t *testing.T) {
	p := start(t, chaos.Config{})
	params := askJSON(orderSchema)
	params.StreamOptions.IncludeUsage = param.NewOpt(true)
	got := p.stream(t, params)
	if got.err != nil || got.finish != "stop" || got.chunks < 5 {
		t.Fatalf("got %+v", got)
	}
	if places := violations(t, orderSchema, got.text); places != nil {
		t.Errorf("%s violates the schema at %q", got.text, places)
	}
	if got.usage.TotalTokens == 0 {
		t.Error("no usage came")
	}
	if plain := p.stream(t, ask("x")); plain.usage.TotalTokens != 0 {
		t.Error("usage came, and was not asked for")
	}
}

// The SDK reads past what is missing, so the stream is read by hand, too.
func TestAStreamIsWellFormedOnTheWire(t *testing.T) {
	p := start(t, chaos.Config{})
	response := post(t, p.url+"/chat/completions", `{"model":"m","messages":[{"role":"user","content":"x"}],"stream":true,"stream_options":{"include_usage":true}}`)
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	if ct := response.Header.Get("Content-Type"); !strings.HasPrefix(ct, "text/event-stream") {
		t.Errorf("content type %q", ct)
	}
	events := strings.Split(strings.TrimSuffix(string(body), "\n\n"), "\n\n")
	for i, event := range events {
		data, ok := strings.CutPrefix(event, "data: ")
		if last := i == len(events)-1; !ok || last != (data == "[DONE]") || !last && !json.Valid([]byte(data)) {
			t.Errorf("event %d of %d: %s", i, len(events), event)
		}
	}
	if !strings.Contains(events[0], `"role":"assistant"`) || !strings.Contains(events[len(events)-3], `"finish_reason":"stop"`) ||
		!strings.Contains(events[len(events)-2], `"choices":[],"usage":{`) {
		t.Errorf("got %s", body)
	}
}

func post(t *testing.T, url, body string) *http.Response {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	response, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(request)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = response.Body.Close() })
	return response
}

func TestAStatusComesWithTheProvidersErrorBody(t *testing.T) {
	for _, c := range []struct {
		fault      chaos.Fault
		status     int
		code, kind string
	}{
		{chaos.Fault{Status: 429}, 429, "rate_limit_exceeded", "requests"},
		{chaos.Fault{Status: 429, Code: "insufficient_quota"}, 429, "insufficient_quota", "insufficient_quota"},
		{chaos.Fault{Code: "organization_spend_limit_exceeded"}, 429, "organization_spend_limit_exceeded", "insufficient_quota"},
		{chaos.Fault{Code: "slow_down"}, 429, "slow_down", "rate_limit_error"},
		{chaos.Fault{Status: 503, Code: "slow_down"}, 503, "slow_down", "rate_limit_error"},
		{chaos.Fault{Code: "request_too_large"}, 429, "rate_limit_exceeded", "tokens"},
		{chaos.Fault{Status: 503}, 503, "server_is_overloaded", "service_unavailable_error"},
		{chaos.Fault{Status: 500}, 500, "", "server_error"},
		{chaos.Fault{Status: 502, Code: "server_error"}, 502, "", "server_error"},
		{chaos.Fault{Status: 401}, 401, "invalid_api_key", "invalid_request_error"},
		{chaos.Fault{Status: 403}, 403, "unsupported_country_region_territory", "request_forbidden"},
		{chaos.Fault{Status: 404}, 404, "model_not_found", "invalid_request_error"},
		{chaos.Fault{Status: 400}, 400, "", "invalid_request_error"},
		{chaos.Fault{Code: "context_length_exceeded"}, 400, "context_length_exceeded", "invalid_request_error"},
		{chaos.Fault{Code: "content_filter"}, 400, "content_filter", ""},
		{chaos.Fault{Status: 402}, 402, "invalid_request_error", "unknown_error"},
		{chaos.Fault{Status: 529}, 529, "", "overloaded_error"},
		{chaos.Fault{Status: 408}, 408, "", "invalid_request_error"},
		{chaos.Fault{Status: 418}, 418, "", "invalid_request_error"},
		{chaos.Fault{Status: 599}, 599, "", "server_error"},
		{chaos.Fault{Status: 400, Body: new(`{"error":{"code":"own","message":"m","type":"t","param":null}}`)}, 400, "own", "t"},
	} {
		c.fault.Kind = chaos.Status
		p := steps(t, c.fault, c.fault)
		_, err := p.client.Chat.Completions.New(t.Context(), ask("x"))
		streaming := p.stream(t, ask("x")).err
		for _, err := range []error{err, streaming} {
			var failure *openai.Error
			if !errors.As(err, &failure) {
				t.Fatalf("%+v: got %v", c.fault, err)
			}
			if failure.StatusCode != c.status || failure.Code != c.code || failure.Type != c.kind {
				t.Errorf("%+v: got %d %q %q", c.fault, failure.StatusCode, failure.Code, failure.Type)
			}
			if id := failure.Response.Header.Get("X-Request-Id"); id == "" {
				t.Errorf("%+v: no request id", c.fault)
			}
		}
	}
}

// A code may be another provider's, or its body nothing that the SDK reads: an
// answer it is never.
func TestEveryCodeIsSentAsAnError(t *testing.T) {
	for _, code := range chaos.Codes() {
		p := steps(t, chaos.Fault{Kind: chaos.Status, Code: code})
		c, err := p.client.Chat.Completions.New(t.Context(), ask("x"))
		if err == nil && len(c.Choices) > 0 {
			t.Errorf("%s: got %+v", code, c)
		}
		if failure, ok := errors.AsType[*openai.Error](err); ok && strings.ContainsAny(failure.Message, "{}") {
			t.Errorf("%s: got %q", code, failure.Message)
		}
	}
}

func TestAProxySendsItsPage(t *testing.T) {
	for _, status := range []int{502, 504} {
		p := steps(t, chaos.Fault{Kind: chaos.Status, Status: status, RetryAfter: "3"})
		response := post(t, p.url+"/v1/chat/completions", `{"model":"m","messages":[{"role":"user","content":"x"}]}`)
		body, _ := io.ReadAll(response.Body)
		if response.StatusCode != status || response.Header.Get("Content-Type") != "text/html" || !strings.Contains(string(body), "<html>") ||
			response.Header.Get("X-Request-Id") != "" || response.Header.Get("Retry-After") != "3" {
			t.Errorf("got %d %v\n%s", response.StatusCode, response.Header, body)
		}
	}
}

func TestABodyAndHeadersOfOnesOwnAreSent(t *testing.T) {
	p := steps(t,
		chaos.Fault{Kind: chaos.Status, Status: 503, Body: new(""), Headers: http.Header{"retry-after": {"", "7"}, "X-Request-Id": {"own"}}},
		chaos.Fault{Kind: chaos.Status, Status: 500, Body: new("upstream connect error")},
		chaos.Fault{Kind: chaos.Status, Status: 500, Body: new("\xff")},
		chaos.Fault{Kind: chaos.Status, Status: 204, Body: new("no body goes with this status")},
	)
	var got []string
	for range 4 {
		response := post(t, p.url+"/v1/chat/completions", `{"model":"m","messages":[{"role":"user","content":"x"}]}`)
		body, _ := io.ReadAll(response.Body)
		got = append(got, fmt.Sprintf("%d %q %q %s", response.StatusCode, body, response.Header["Retry-After"], response.Header.Get("Content-Type")))
	}
	want := []string{`503 "" ["" "7"] text/plain; charset=utf-8`, `500 "upstream connect error" [] text/plain; charset=utf-8`, `500 "\xff" [] application/octet-stream`, `204 "" [] text/plain; charset=utf-8`}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %q\nwant %q", got, want)
	}
}

func TestRetryAfterComesInEveryForm(t *testing.T) {
	for _, c := range []struct {
		fault  chaos.Fault
		header string
		want   string
	}{
		{chaos.Fault{RetryAfter: "2"}, "Retry-After", "2"},
		{chaos.Fault{RetryAfter: "1.5"}, "Retry-After", "1.5"},
		{chaos.Fault{RetryAfter: "soon"}, "Retry-After", "soon"},
		{chaos.Fault{RetryAfter: "-1"}, "Retry-After", "-1"},
		{chaos.Fault{RetryAfter: "99999999999999999999"}, "Retry-After", "99999999999999999999"},
		{chaos.Fault{RetryAfterMS: "150"}, "Retry-After-Ms", "150"},
	} {
		c.fault.Kind, c.fault.Status = chaos.Status, 429
		_, err := steps(t, c.fault).client.Chat.Completions.New(t.Context(), ask("x"))
		var failure *openai.Error
		if !errors.As(err, &failure) || failure.Response.Header.Get(c.header) != c.want {
			t.Errorf("%+v: got %v", c.fault, err)
		}
	}
	before := time.Now()
	_, err := steps(t, chaos.Fault{Kind: chaos.Status, Status: 429, RetryAfterDate: 3 * time.Second}).client.Chat.Completions.New(t.Context(), ask("x"))
	var failure *openai.Error
	if !errors.As(err, &failure) {
		t.Fatal(err)
	}
	date, err := http.ParseTime(failure.Response.Header.Get("Retry-After"))
	if wait := date.Sub(before); err != nil || wait < 3*time.Second || wait > 5*time.Second {
		t.Errorf("got %v (%v), want a date 3 to 4 s from %v", date, err, before)
	}
}

func TestAnErrorMayComeWithStatus200(t *testing.T) {
	p := steps(t, chaos.Fault{Kind: chaos.Status, Status: 200, Code: "server_error"}, chaos.Fault{Kind: chaos.Status, Status: 200, Code: "insufficient_quota"})
	if c, err := p.client.Chat.Completions.New(t.Context(), ask("x")); err == nil && len(c.Choices) > 0 {
		t.Errorf("got an answer: %+v", c)
	}
	if got := p.stream(t, ask("x")); got.err == nil || !strings.Contains(got.err.Error(), "insufficient_quota") {
		t.Errorf("got %+v", got)
	}
}

func TestAResetIsATCPReset(t *testing.T) {
	p := steps(t, chaos.Fault{Kind: chaos.Reset})
	_, err := p.client.Chat.Completions.New(t.Context(), ask("x"))
	if !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("got %v", err)
	}
	if _, err := p.client.Chat.Completions.New(t.Context(), ask("x")); err != nil {
		t.Errorf("after the reset: %v", err)
	}
}

func TestAHangEndsWithItsClient(t *testing.T) {
	p := start(t, chaos.Config{Plan: &chaos.Plan{Steps: []chaos.Fault{{Kind: chaos.Hang}}}}, option.WithRequestTimeout(50*time.Millisecond))
	_, err := p.client.Chat.Completions.New(t.Context(), ask("x"))
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

func TestAHangEndsWithTheServer(t *testing.T) {
	for _, f := range []chaos.Fault{{Kind: chaos.Hang}, {Kind: chaos.Slow, Delay: time.Hour}, {Kind: chaos.Drip, ChunkDelay: time.Hour}} {
		p := steps(t, f)
		done := make(chan error, 1)
		go func() {
			_, err := p.client.Chat.Completions.New(context.WithoutCancel(t.Context()), ask("x"))
			done <- err
		}()
		for len(p.Requests()) == 0 {
			time.Sleep(time.Millisecond)
		}
		p.Close()
		if err := <-done; err == nil {
			t.Errorf("%s: got an answer", f.Kind)
		}
	}
}

func TestSlowHeadersComeAfterTheDelay(t *testing.T) {
	p := steps(t, chaos.Fault{Kind: chaos.Slow, Delay: 60 * time.Millisecond}, chaos.Fault{Kind: chaos.Status, Status: 500, Delay: 60 * time.Millisecond})
	begin := time.Now()
	p.answer(t, ask("x"))
	if d := time.Since(begin); d < 60*time.Millisecond {
		t.Errorf("answered after %v", d)
	}
	begin = time.Now()
	if _, err := p.client.Chat.Completions.New(t.Context(), ask("x")); err == nil || time.Since(begin) < 60*time.Millisecond {
		t.Errorf("got %v after %v", err, time.Since(begin))
	}
}

func TestADripComesWholeAndSlowly(t *testing.T) {
	drip := chaos.Fault{Kind: chaos.Drip, ChunkDelay: 5 * time.Millisecond, Answer: "eight runes in each of the four chunks"}
	p := steps(t, drip, drip)
	begin := time.Now()
	if got := p.stream(t, ask("x")); got.err != nil || got.text != drip.Answer || got.finish != "stop" {
		t.Errorf("got %+v", got)
	}
	if d := time.Since(begin); d < 25*time.Millisecond {
		t.Errorf("the stream took %v", d)
	}
	begin = time.Now()
	if c := p.answer(t, ask("x")); c.Choices[0].Message.Content != drip.Answer || time.Since(begin) < 25*time.Millisecond {
		t.Errorf("the whole answer took %v", time.Since(begin))
	}
}

func TestACutStreamEndsInTheMiddle(t *testing.T) {
	p := steps(t,
		chaos.Fault{Kind: chaos.Cut},
		chaos.Fault{Kind: chaos.Cut, End: chaos.Clean},
		chaos.Fault{Kind: chaos.Cut, After: new(0)},
		chaos.Fault{Kind: chaos.Cut, After: new(0), End: chaos.Clean},
		chaos.Fault{Kind: chaos.Cut, After: new(1000), End: chaos.Clean, Answer: "all of it"},
	)
	if got := p.stream(t, ask("x")); !errors.Is(got.err, io.ErrUnexpectedEOF) || got.text == "" || got.finish != "" {
		t.Errorf("abrupt: got %+v", got)
	}
	if got := p.stream(t, ask("x")); got.err != nil || got.text == "" || got.finish != "" {
		t.Errorf("clean: got %+v", got)
	}
	if got := p.stream(t, ask("x")); !errors.Is(got.err, io.ErrUnexpectedEOF) || got.chunks != 0 {
		t.Errorf("abrupt behind the headers: got %+v", got)
	}
	if got := p.stream(t, ask("x")); got.err != nil || got.chunks != 0 {
		t.Errorf("clean behind the headers: got %+v", got)
	}
	if got := p.stream(t, ask("x")); got.err != nil || got.text != "all of it" || got.finish != "" {
		t.Errorf("clean behind the last word: got %+v", got)
	}
}

func TestACutBodyIsShorterThanItsLength(t *testing.T) {
	p := steps(t, chaos.Fault{Kind: chaos.Cut}, chaos.Fault{Kind: chaos.Cut, ChunkDelay: time.Millisecond}, chaos.Fault{Kind: chaos.Cut, End: chaos.Clean})
	for range 2 {
		if _, err := p.client.Chat.Completions.New(t.Context(), ask("x")); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("abrupt: got %v", err)
		}
	}
	response := post(t, p.url+"/v1/chat/completions", `{"model":"m","messages":[{"role":"user","content":"x"}]}`)
	body, err := io.ReadAll(response.Body)
	if err != nil || len(body) == 0 || json.Valid(body) || int64(len(body)) != response.ContentLength {
		t.Errorf("clean: got %q, %v", body, err)
	}
}

func TestWrongAnswersAreWrongInTheirWay(t *testing.T) {
	at := "/items/0/price"
	for _, streaming := range []bool{false, true} {
		p := steps(t, chaos.Fault{Kind: chaos.Empty}, chaos.Fault{Kind: chaos.Length}, chaos.Fault{Kind: chaos.Prose}, chaos.Fault{Kind: chaos.Fence},
			chaos.Fault{Kind: chaos.Break, At: &at}, chaos.Fault{Kind: chaos.Break}, chaos.Fault{Kind: chaos.Right, Answer: "fixed"}, chaos.Fault{Kind: chaos.Length, Answer: "ab"})
		next := func() (text, finish string) {
			t.Helper()
			if streaming {
				got := p.stream(t, askJSON(orderSchema))
				if got.err != nil {
					t.Fatal(got.err)
				}
				return got.text, got.finish
			}
			c := p.answer(t, askJSON(orderSchema)).Choices[0]
			return c.Message.Content, c.FinishReason
		}
		if text, finish := next(); text != "" || finish != "stop" {
			t.Errorf("empty: %q, %s", text, finish)
		}
		if text, finish := next(); text == "" || json.Valid([]byte(text)) || !strings.HasPrefix(text, "{") || finish != "length" {
			t.Errorf("length: %q, %s", text, finish)
		}
		if text, finish := next(); text == "" || strings.Contains(text, "{") || finish != "stop" {
			t.Errorf("prose: %q, %s", text, finish)
		}
		text, _ := next()
		inner := strings.TrimSuffix(strings.TrimPrefix(text, "```json\n"), "\n```")
		if len(inner) != len(text)-len("```json\n\n```") || violations(t, orderSchema, inner) != nil {
			t.Errorf("fence: %q", text)
		}
		if text, _ := next(); !reflect.DeepEqual(violations(t, orderSchema, text), []string{at}) {
			t.Errorf("break at %s: %s", at, text)
		}
		if text, _ := next(); len(violations(t, orderSchema, text)) != 1 {
			t.Errorf("break: %s", text)
		}
		if text, _ := next(); text != "fixed" {
			t.Errorf("answer: %q", text)
		}
		if text, finish := next(); text != "a" || finish != "length" {
			t.Errorf("length of an answer: %q, %s", text, finish)
		}
		if text, _ := next(); violations(t, orderSchema, text) != nil {
			t.Errorf("after the last step: %s", text)
		}
	}
}

func TestAFenceWithoutASchemaHoldsJSON(t *testing.T) {
	text := steps(t, chaos.Fault{Kind: chaos.Fence}).answer(t, ask("x")).Choices[0].Message.Content
	if inner := strings.TrimSuffix(strings.TrimPrefix(text, "```json\n"), "\n```"); !json.Valid([]byte(inner)) {
		t.Errorf("got %q", text)
	}
}

func TestTheTokenLimitOfARequestIsKept(t *testing.T) {
	params := ask("x")
	params.MaxCompletionTokens = param.NewOpt(int64(3))
	c := start(t, chaos.Config{}).answer(t, params)
	if c.Choices[0].FinishReason != "length" || c.Usage.CompletionTokens != 3 {
		t.Errorf("got %+v, %+v", c.Choices[0], c.Usage)
	}
}

func TestAnAnswerIsMendedWhenTheUserComplains(t *testing.T) {
	p := steps(t, chaos.Fault{Kind: chaos.Break})
	params := askJSON(orderSchema)
	first := p.answer(t, params).Choices[0].Message.Content
	places := violations(t, orderSchema, first)
	if len(places) != 1 {
		t.Fatalf("the first answer is not wrong in one place: %s", first)
	}
	params.Messages = append(params.Messages, openai.AssistantMessage(first), openai.UserMessage("Your answer is wrong at "+places[0]))
	if second := p.answer(t, params).Choices[0].Message.Content; violations(t, orderSchema, second) != nil {
		t.Errorf("the second answer is wrong, too: %s", second)
	}

	complaint := `include the text "Berlin"; make it at most 30 characters long`
	got := p.answer(t, ask("A city?", "Rome", complaint)).Choices[0].Message.Content
	if !strings.Contains(got, "Berlin") || len(got) > 30 {
		t.Errorf("got %q", got)
	}
	if fault := steps(t, chaos.Fault{Kind: chaos.Empty}).answer(t, ask("A city?", "Rome", complaint)).Choices[0].Message.Content; fault != "" {
		t.Errorf("the plan asks for an empty answer, got %q", fault)
	}
}

func TestWeightsAreDrawnTheSameForTheSameSeed(t *testing.T) {
	plan := &chaos.Plan{Seed: 3, Weights: []chaos.Fault{{Kind: chaos.Right, Weight: 6}, {Kind: chaos.Empty, Weight: 3}, {Kind: chaos.Status, Status: 500, Weight: 1}}}
	draw := func(cfg chaos.Config) (kinds []chaos.Kind, counts map[chaos.Kind]int) {
		p := start(t, cfg)
		counts = map[chaos.Kind]int{}
		for range 200 {
			_, _ = p.client.Chat.Completions.New(t.Context(), ask("x"))
		}
		for _, r := range p.Requests() {
			kinds = append(kinds, r.Fault.Kind)
			counts[r.Fault.Kind]++
		}
		return kinds, counts
	}
	first, counts := draw(chaos.Config{Plan: plan})
	if again, _ := draw(chaos.Config{Plan: plan, Seed: 3}); !reflect.DeepEqual(first, again) {
		t.Errorf("seed 3 gave %v and %v", first, again)
	}
	if other, _ := draw(chaos.Config{Plan: plan, Seed: 4}); reflect.DeepEqual(first, other) {
		t.Error("seeds 3 and 4 gave the same faults")
	}
	// 200 draws at 0.6, 0.3 and 0.1: the bounds are four standard deviations away.
	for kind, want := range map[chaos.Kind][2]int{chaos.Right: {92, 148}, chaos.Empty: {34, 86}, chaos.Status: {3, 37}} {
		if n := counts[kind]; n < want[0] || n > want[1] {
			t.Errorf("%s came %d times, want %v", kind, n, want)
		}
	}
}

func TestStepsRepeatIfAsked(t *testing.T) {
	p := start(t, chaos.Config{Plan: &chaos.Plan{Repeat: true, Steps: []chaos.Fault{{Kind: chaos.Empty}, {Answer: "b"}}}})
	var got []string
	for range 5 {
		got = append(got, p.answer(t, ask("x")).Choices[0].Message.Content)
	}
	if !reflect.DeepEqual(got, []string{"", "b", "", "b", ""}) {
		t.Errorf("got %q", got)
	}
	p.Reset()
	p.answer(t, ask("x"))
	if got := p.answer(t, ask("x")).Choices[0].Message.Content; got != "b" || len(p.Requests()) != 2 {
		t.Errorf("after Reset: %q, %d requests", got, len(p.Requests()))
	}
}

func TestRequestsAreRecordedWithoutTheirKeys(t *testing.T) {
	var seen []chaos.Recorded
	begin := time.Now()
	p := start(t, chaos.Config{OnRequest: func(r chaos.Recorded) { seen = append(seen, r) }, Plan: &chaos.Plan{Steps: []chaos.Fault{{Kind: chaos.Status, Status: 503}}}},
		option.WithHeader("Api-Key", "sk-very-secret"), option.WithHeader("Cookie", "sk-very-secret"))
	_, _ = p.client.Chat.Completions.New(t.Context(), ask("Hello?"))
	params := ask("Hello?", "No", "Please.")
	p.stream(t, params)

	requests := p.Requests()
	if len(requests) != 2 || !reflect.DeepEqual(requests, seen) {
		t.Fatalf("recorded %d, the hook saw %d", len(requests), len(seen))
	}
	r := requests[0]
	if r.Number != 1 || r.Method != "POST" || r.Path != "/v1/chat/completions" || r.Model != "gpt-practice" || r.Stream ||
		r.Fault.Kind != chaos.Status || r.Status != 503 || r.Time.Before(begin) || r.Time.After(time.Now()) || !json.Valid(r.Body) {
		t.Errorf("got %+v", r)
	}
	if r := requests[1]; r.Number != 2 || !r.Stream || r.Status != 200 || r.Fault.Kind != chaos.Right ||
		!reflect.DeepEqual(r.Messages, []chaos.Message{{Role: "user", Text: "Hello?"}, {Role: "assistant", Text: "No"}, {Role: "user", Text: "Please."}}) {
		t.Errorf("got %+v", r)
	}
	for _, r := range requests {
		if all := fmt.Sprintf("%+v", r); strings.Contains(all, "very-secret") || r.Header.Get("Authorization") != "Bearer REDACTED" {
			t.Errorf("a key is recorded: %s", all)
		}
	}
}

func TestBadRequestsAreRefusedAndTakeNoStep(t *testing.T) {
	p := steps(t, chaos.Fault{Kind: chaos.Right, Answer: "the first step"})
	const ok = `"messages":[{"role":"user","content":"x"}]`
	for _, c := range []struct {
		body   string
		status int
		want   string
	}{
		{`{`, 400, "could not parse the JSON"},
		{`[]`, 400, "could not parse the JSON"},
		{``, 400, "could not parse the JSON"},
		{`{` + ok + `}`, 400, "model"},
		{`{"model":"m"}`, 400, "messages"},
		{`{"model":"m","messages":[]}`, 400, "messages"},
		{`{"model":"m","messages":[{"role":"user","content":7}]}`, 400, "messages[0].content"},
		{`{"model":"m",` + ok + `,"n":0}`, 400, "Expected a value >= 1"},
		{`{"model":"m",` + ok + `,"n":129}`, 400, "Expected a value <= 128"},
		{`{"model":"m",` + ok + `,"top_logprobs":2}`, 400, "only allowed when 'logprobs'"},
		{`{"model":"m",` + ok + `,"logprobs":true,"top_logprobs":21}`, 400, "Expected a value <= 20"},
		{`{"model":"m",` + ok + `,"max_tokens":-1}`, 400, "max_tokens"},
		{`{"model":"m",` + ok + `,"response_format":{"type":"xml"}}`, 400, "Supported values"},
		{`{"model":"m",` + ok + `,"response_format":{"type":"json_schema"}}`, 400, "response_format.json_schema.schema"},
		{`{"model":"m",` + ok + `,"tool_choice":"maybe"}`, 400, "tool_choice"},
		{`{"model":"m",` + ok + `,"tool_choice":{"type":"function","function":{"name":"f"}}}`, 400, "no function 'f'"},
	} {
		response := post(t, p.url+"/v1/chat/completions", c.body)
		var got struct {
			Error struct{ Message, Type string }
		}
		if err := json.NewDecoder(response.Body).Decode(&got); err != nil || response.StatusCode != c.status ||
			!strings.Contains(got.Error.Message, c.want) || got.Error.Type != "invalid_request_error" {
			t.Errorf("%s: got %d %+v, %v", c.body, response.StatusCode, got, err)
		}
	}
	for path, status := range map[string]int{"/v1/moderations": 404, "/v1/embeddings": 400, "/v1/models": 405, "/v1": 404, "/": 404} {
		if response := post(t, p.url+path, "{}"); response.StatusCode != status {
			t.Errorf("POST %s: got %d, want %d", path, response.StatusCode, status)
		}
	}
	for _, r := range p.Requests() {
		if r.Refusal == "" || r.Status < 400 || r.Fault.Kind != "" {
			t.Errorf("recorded %+v", r)
		}
	}
	if got := p.answer(t, ask("x")).Choices[0].Message.Content; got != "the first step" {
		t.Errorf("got %q", got)
	}
}

func TestWhatCannotBeInventedIsRefused(t *testing.T) {
	for _, c := range []struct {
		fault        chaos.Fault
		params       openai.ChatCompletionNewParams
		param, wants string
	}{
		{chaos.Fault{}, askJSON(`{"type":"object","properties":{"a":{"type":"string","minLength":3,"maxLength":2}},"required":["a"]}`), "response_format", "No answer could be invented for the schema of this request: at /a: "},
		{chaos.Fault{}, askJSON(`{"type":"objekt"}`), "response_format", "Invalid schema: "},
		{chaos.Fault{}, askJSON(`{"$ref":"file:///etc/passwd"}`), "response_format", "a schema outside the request is not read"},
		{chaos.Fault{Kind: chaos.Break}, ask("x"), "response_format", "the request has none"},
		{chaos.Fault{Kind: chaos.Break, At: new("/nowhere")}, askJSON(orderSchema), "response_format", "has a place /nowhere"},
	} {
		p := steps(t, c.fault)
		_, err := p.client.Chat.Completions.New(t.Context(), c.params)
		var failure *openai.Error
		if !errors.As(err, &failure) || failure.StatusCode != 400 || failure.Type != "invalid_request_error" || failure.Param != c.param || !strings.Contains(failure.Message, c.wants) {
			t.Errorf("want %q, got %v %s", c.wants, err, failure.RawJSON())
		}
		if r := p.Requests()[0]; r.Status != 400 || !strings.Contains(r.Refusal, c.wants) {
			t.Errorf("recorded %d %q", r.Status, r.Refusal)
		}
	}
}

func TestAGiantPromptIsAnswered(t *testing.T) {
	p := start(t, chaos.Config{})
	if c := p.answer(t, ask(strings.Repeat("word \xff ", 10<<20/7))); c.Usage.PromptTokens < 2<<20 {
		t.Errorf("got %+v", c.Usage)
	}
	if c := p.answer(t, ask("x", strings.Repeat("\" '", 1<<16), strings.Repeat("contain “ \" at least ", 1<<13))); c.Choices[0].Message.Content == "" {
		t.Error("no answer")
	}
}

func TestManyRequestsAtOnce(t *testing.T) {
	var hooked atomic.Int64
	p := start(t, chaos.Config{OnRequest: func(chaos.Recorded) { hooked.Add(1) }, Plan: &chaos.Plan{Seed: 9, Weights: []chaos.Fault{
		{Kind: chaos.Right, Weight: 5}, {Kind: chaos.Break, Weight: 2}, {Kind: chaos.Status, Status: 429, Weight: 1}, {Kind: chaos.Reset, Weight: 1},
		{Kind: chaos.Cut, Weight: 1}, {Kind: chaos.Hang, Weight: 1}, {Kind: chaos.Slow, Delay: 5 * time.Millisecond, Weight: 1}, {Kind: chaos.Drip, ChunkDelay: time.Millisecond, Weight: 1},
	}}})
	const requests = 200
	var wg sync.WaitGroup
	var answered atomic.Int64
	for i := range requests {
		wg.Go(func() {
			if i%2 == 0 {
				if _, err := p.client.Chat.Completions.New(t.Context(), askJSON(orderSchema)); err == nil {
					answered.Add(1)
				}
				return
			}
			if got := p.stream(t, askJSON(orderSchema)); got.err == nil {
				answered.Add(1)
			}
		})
	}
	for len(p.Requests()) < requests {
		time.Sleep(time.Millisecond)
	}
	time.Sleep(50 * time.Millisecond) // the slow ones may end; those that hang don't
	p.Close()
	wg.Wait()
	numbers := map[int]bool{}
	for _, r := range p.Requests() {
		numbers[r.Number] = true
	}
	if len(numbers) != requests || hooked.Load() != requests || answered.Load() == 0 || answered.Load() == requests {
		t.Errorf("%d numbers, %d hooks, %d answers", len(numbers), hooked.Load(), answered.Load())
	}
}

func TestTheRecordIsBounded(t *testing.T) {
	s, err := chaos.New(chaos.Config{})
	if err != nil {
		t.Fatal(err)
	}
	for range 10_010 {
		s.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/v1/models", nil))
	}
	if r := s.Requests(); len(r) != 10_000 || r[0].Number != 11 {
		t.Errorf("%d requests are kept, from number %d", len(r), r[0].Number)
	}
	big := strings.Repeat(" ", 30<<20)
	for range 3 {
		s.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/v1/models", strings.NewReader(big)))
	}
	if r := s.Requests(); len(r) != 2 {
		t.Errorf("%d requests are kept", len(r))
	}
	// Headers, paths, and the messages that are read of a body are kept, too.
	long := strings.Repeat("a", 1<<20)
	for range 70 {
		r := httptest.NewRequest(http.MethodGet, "/v1/models?a="+long[:1<<19], nil)
		r.Header.Set("User-Agent", long[:1<<19])
		s.ServeHTTP(httptest.NewRecorder(), r)
	}
	if r := s.Requests(); len(r) < 55 || len(r) > 64 {
		t.Errorf("%d requests with a MiB of headers are kept", len(r))
	}
	for range 40 {
		s.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, "/v1/responses", strings.NewReader(`{"model":"m","max_output_tokens":16,"input":"`+long+`"}`)))
	}
	if r := s.Requests(); len(r) < 28 || len(r) > 32 {
		t.Errorf("%d requests with a prompt of a MiB are kept", len(r))
	}
}

func TestServeEndsWithItsContext(t *testing.T) {
	s, err := chaos.New(chaos.Config{Plan: &chaos.Plan{Steps: []chaos.Fault{{}, {Kind: chaos.Hang}}}})
	if err != nil {
		t.Fatal(err)
	}
	ln, err := chaos.Listen("")
	if err != nil {
		t.Fatal(err)
	}
	if ip := ln.Addr().(*net.TCPAddr).IP; !ip.IsLoopback() {
		t.Errorf("listens on %v by default", ip)
	}
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx, ln) }()
	url := "http://" + ln.Addr().String() + "/v1/chat/completions"
	const body = `{"model":"m","messages":[{"role":"user","content":"x"}]}`
	if response := post(t, url, body); response.StatusCode != 200 {
		t.Errorf("got %d", response.StatusCode)
	}
	hung := make(chan error, 1)
	go func() {
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		response, err := client.Post(url, "application/json", strings.NewReader(body))
		if err == nil {
			_ = response.Body.Close()
		}
		hung <- err
	}()
	for len(s.Requests()) < 2 {
		time.Sleep(time.Millisecond)
	}
	cancel()
	if err := <-served; err != nil {
		t.Errorf("Serve returned %v", err)
	}
	if err := <-hung; err == nil {
		t.Error("the request that hung was answered")
	}
	if err := s.Serve(t.Context(), ln); err == nil {
		t.Error("Serve on a closed listener returned nil")
	}
}

func TestListenRefusesToBePublicByOversight(t *testing.T) {
	for addr, want := range map[string]string{
		":8080":     "0.0.0.0:8080 for the whole network",
		"8080":      "must be host:port",
		"127.0.0.1": "must be host:port",
	} {
		if ln, err := chaos.Listen(addr); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, %v", addr, ln, err)
		}
	}
	ln, err := chaos.Listen("0.0.0.0:0")
	if err != nil {
		t.Fatalf("an address given explicitly: %v", err)
	}
	_ = ln.Close()
}

func FuzzServeHTTP(f *testing.F) {
	f.Add([]byte(`{"model":"m","messages":[{"role":"user","content":"x"}],"stream":true}`))
	f.Add([]byte(`{"model":"m","messages":[{"role":"user","content":[{"type":"text","text":"x"}]},{"role":"assistant","content":null},{"role":"user","content":"include \"a\""}],"response_format":{"type":"json_object"}}`))
	f.Add([]byte(`{"model":"m","messages":[{}],"response_format":{"type":"json_schema","json_schema":{"schema":` + orderSchema + `}}}`))
	f.Add([]byte(`{"model":"m","messages":[{}],"tools":[{"type":"function","function":{"name":"f"}}],"tool_choice":"required"}`))
	f.Add([]byte(`{"model":"m","input":[{"type":"function_call","call_id":"c","name":"f","arguments":"{}"},{"type":"function_call_output","call_id":"c","output":[{"type":"input_text","text":"x"}]}],"stream":true,"text":{"format":{"type":"json_schema","name":"n","schema":{}}}}`))
	f.Add([]byte(`{"model":"m","max_tokens":20,"stop_sequences":["a"],"messages":[{"role":"user","content":[{"type":"text","text":"x"}]}],"stream":true,"tools":[{"name":"f","input_schema":` + orderSchema + `}],"tool_choice":{"type":"any"}}`))
	f.Add([]byte(`{"contents":[{"parts":[{"text":"x"}]}],"generationConfig":{"stopSequences":["T"],"responseMimeType":"application/json","responseSchema":{"type":"OBJECT","properties":{"a":{"type":"STRING","nullable":true,"minLength":"2"}}}}}`))
	f.Add([]byte(`{"model":"m","n":3,"logprobs":true,"top_logprobs":20,"messages":[{"role":"user","content":"x"}],"tools":[{"type":"function","function":{"name":"f"}}]}`))
	f.Add([]byte(`{"model":"m","max_tokens":2000,"thinking":{"type":"enabled","budget_tokens":1024},"thread":{"type":"create"},"messages":[{"role":"user","content":[{"type":"later"}]}]}`))
	f.Add([]byte(`{"model":"m","input":["x",""],"dimensions":3,"encoding_format":"base64","background":true,"reasoning":{"summary":"auto"},"include":["reasoning.encrypted_content","message.output_text.logprobs"]}`))
	f.Add([]byte(`{"generateContentRequest":{"contents":[{"parts":[{"text":"x"}]}]},"requests":[{"content":{"parts":[{"text":"x"}]},"outputDimensionality":2}],"content":{"parts":[{"text":"x"}]}}`))
	paths := []string{"/v1/chat/completions", "/v1/responses", "/v1/messages", "/v1/messages?beta=true", "/v1beta/models/m:generateContent", "/v1beta/models/m:streamGenerateContent?alt=sse",
		"/v1/embeddings", "/v1beta/models/m:embedContent", "/v1beta/models/m:batchEmbedContents", "/v1/responses/input_tokens", "/v1/messages/count_tokens", "/v1beta/models/m:countTokens"}
	f.Fuzz(func(t *testing.T, body []byte) {
		s, err := chaos.New(chaos.Config{Plan: &chaos.Plan{Repeat: true, Steps: []chaos.Fault{{}, {Kind: chaos.Fence}, {Kind: chaos.Break}, {Kind: chaos.Length}, {Kind: chaos.Garbage}, {Kind: chaos.StreamError, Status: 400}}}})
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range paths {
			for range 6 {
				w := httptest.NewRecorder()
				r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(string(body)))
				r.Header.Set("Anthropic-Version", "2023-06-01")
				if strings.Contains(path, "beta=true") {
					r.Header.Set("Anthropic-Beta", "threads")
				}
				s.ServeHTTP(w, r)
				// 404 is a thread that is not kept.
				if w.Code != 200 && w.Code != 400 && (w.Code != 404 || !strings.Contains(path, "beta")) || w.Body.Len() == 0 {
					t.Errorf("%s: got %d %q", path, w.Code, w.Body)
				}
			}
		}
	})
}
