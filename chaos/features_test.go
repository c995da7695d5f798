package chaos_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/anthropics/anthropic-sdk-go"
	anthropicparam "github.com/anthropics/anthropic-sdk-go/packages/param"
	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/packages/param"
	"github.com/openai/openai-go/v3/responses"
	"github.com/openai/openai-go/v3/shared"
	"google.golang.org/genai"

	"llmcall/chaos"
)

// Each client gets the list of models in its own protocol's form, page by page, and a
// model by itself.
func TestModelsAreListedInTheFormOfTheClient(t *testing.T) {
	s, url, client := listen(t, chaos.Config{})
	ctx := t.Context()
	want := []string{"practice", "practice-small", "practice-embedding"}

	var got []string
	oa := openaiClient(url, client)
	for pager := oa.Models.ListAutoPaging(ctx); pager.Next(); {
		got = append(got, pager.Current().ID)
	}
	one, err := oa.Models.Get(ctx, "gpt/mine")
	if !reflect.DeepEqual(got, want) || err != nil || one.ID != "gpt/mine" || one.Object != "model" {
		t.Errorf("OpenAI: got %v, %+v, %v", got, one, err)
	}

	got = nil
	an := anthropicClient(url, client)
	pager := an.Models.ListAutoPaging(ctx, anthropic.ModelListParams{Limit: anthropic.Int(2)})
	for pager.Next() {
		m := pager.Current()
		if got = append(got, m.ID); m.Type != "model" || m.DisplayName == "" || m.CreatedAt.Year() != 2025 {
			t.Errorf("Anthropic: got %s", m.RawJSON())
		}
	}
	before, err := an.Models.List(ctx, anthropic.ModelListParams{BeforeID: anthropic.String("practice-embedding"), Limit: anthropic.Int(1)})
	if err != nil || len(before.Data) != 1 || before.Data[0].ID != "practice-small" || !before.HasMore || before.FirstID != "practice-small" {
		t.Errorf("Anthropic: before: %+v, %v", before, err)
	}
	its, err := an.Models.Get(ctx, "claude-mine", anthropic.ModelGetParams{})
	if !reflect.DeepEqual(got, want) || pager.Err() != nil || err != nil || its.ID != "claude-mine" || its.DisplayName == "" {
		t.Errorf("Anthropic: got %v, %+v, %v, %v", got, its, pager.Err(), err)
	}

	got = nil
	ge := geminiClient(ctx, url, client)
	page, err := ge.Models.List(ctx, &genai.ListModelsConfig{PageSize: 2})
	for err == nil {
		for _, m := range page.Items {
			if got = append(got, strings.TrimPrefix(m.Name, "models/")); m.DisplayName == "" || m.InputTokenLimit == 0 {
				t.Errorf("Gemini: got %+v", m)
			}
		}
		page, err = page.Next(ctx)
	}
	mine, failed := ge.Models.Get(ctx, "gemini-mine", nil)
	if !reflect.DeepEqual(got, want) || !errors.Is(err, genai.ErrPageDone) || failed != nil || mine.Name != "models/gemini-mine" {
		t.Errorf("Gemini: got %v, %v, %+v, %v", got, err, mine, failed)
	}
	for _, r := range s.Requests() {
		if r.Fault.Kind != "" || r.Status != 200 {
			t.Errorf("%s %s took a step or failed: %+v", r.Method, r.Path, r)
		}
	}
}

func TestTokensAreCounted(t *testing.T) {
	_, url, client := listen(t, chaos.Config{Plan: &chaos.Plan{Repeat: true, Steps: []chaos.Fault{{Kind: chaos.Status, Error: "server_error"}}}})
	ctx := t.Context()
	q := question{turns: []string{strings.Repeat("word ", 100)}}

	oa := openaiClient(url, client)
	o, err := oa.Responses.InputTokens.Count(ctx, responses.InputTokenCountParams{Model: param.NewOpt("m"), Input: responses.InputTokenCountParamsInputUnion{OfString: param.NewOpt(q.turns[0])}})
	if err != nil || o.InputTokens < 100 || o.Object != "response.input_tokens" {
		t.Errorf("OpenAI: %+v, %v", o, err)
	}
	an := anthropicClient(url, client)
	a, err := an.Messages.CountTokens(ctx, anthropic.MessageCountTokensParams{Model: "m", Messages: anthropicParams(q).Messages})
	if err != nil || a.InputTokens != o.InputTokens {
		t.Errorf("Anthropic: %+v, %v", a, err)
	}
	contents, _ := geminiParams(q)
	g, err := geminiClient(ctx, url, client).Models.CountTokens(ctx, "m", contents, nil)
	if err != nil || int64(g.TotalTokens) != o.InputTokens {
		t.Errorf("Gemini: %+v, %v", g, err)
	}
}

func cosine(a, b []float64) float64 {
	var dot, x, y float64
	for i := range a {
		dot, x, y = dot+a[i]*b[i], x+a[i]*a[i], y+b[i]*b[i]
	}
	return dot / math.Sqrt(x*y)
}

func TestEmbeddingsAreInventedAndRepeatable(t *testing.T) {
	s, url, client := listen(t, chaos.Config{Plan: &chaos.Plan{Steps: []chaos.Fault{{Kind: chaos.Right}, {Kind: chaos.Right}, {Kind: chaos.Right}, {Kind: chaos.Status, Error: "rate_limit"}}}})
	ctx := t.Context()
	texts := []string{"the weather in Berlin", "Berlin: the weather today", "an invoice of 1999"}
	oa := openaiClient(url, client)
	ask := func(format openai.EmbeddingNewParamsEncodingFormat) (*openai.CreateEmbeddingResponse, error) {
		return oa.Embeddings.New(ctx, openai.EmbeddingNewParams{Model: "e", EncodingFormat: format, Input: openai.EmbeddingNewParamsInputUnion{OfArrayOfStrings: texts}})
	}
	o, err := ask("float")
	if err != nil || len(o.Data) != 3 || len(o.Data[0].Embedding) != 1536 || o.Data[2].Index != 2 || o.Usage.PromptTokens == 0 {
		t.Fatalf("OpenAI: %+v, %v", o, err)
	}
	v := func(i int) []float64 { return o.Data[i].Embedding }
	if near, far := cosine(v(0), v(1)), cosine(v(0), v(2)); near < 0.6 || far > 0.3 || math.Abs(cosine(v(0), v(0))-1) > 1e-9 {
		t.Errorf("texts that share words are at %f, others at %f", near, far)
	}
	g, err := geminiClient(ctx, url, client).Models.EmbedContent(ctx, "e", []*genai.Content{genai.NewContentFromText(texts[0], ""), genai.NewContentFromText(texts[2], "")},
		&genai.EmbedContentConfig{OutputDimensionality: genai.Ptr[int32](1536)})
	if err != nil || len(g.Embeddings) != 2 || len(g.Embeddings[0].Values) != 1536 {
		t.Fatalf("Gemini: %+v, %v", g, err)
	}
	for i, x := range g.Embeddings[1].Values {
		if math.Abs(float64(x)-v(2)[i]) > 1e-6 {
			t.Fatalf("the same text has two vectors: %v at %d, %v", x, i, v(2)[i])
		}
	}
	response := post(t, url+"/v1/embeddings", `{"model":"e","input":[[1,2],[3]],"dimensions":2,"encoding_format":"base64"}`)
	var coded struct {
		Data []struct{ Embedding []byte }
	}
	if err := json.NewDecoder(response.Body).Decode(&coded); err != nil || len(coded.Data) != 2 || len(coded.Data[0].Embedding) != 8 {
		t.Errorf("base64: %+v, %v", coded, err)
	}
	tooMany := `{"requests":[` + strings.TrimSuffix(strings.Repeat(`{"content":{"parts":[{"text":"x"}]}},`, 101), ",") + `]}`
	if _, answer := send(t, client, url+"/v1beta/models/e:batchEmbedContents", tooMany); !strings.Contains(answer, `"* BatchEmbedContentsRequest.requests: at most 100 requests can be in one batch"`) {
		t.Errorf("101 texts: got %s", answer)
	}
	for path, body := range map[string]string{
		"/v1/embeddings":                       `{"model":"e","input":[""` + strings.Repeat(`,""`, 2048) + `]}`,
		"/v1beta/models/e:batchEmbedContents":  tooMany,
		"/v1beta/models/e:embedContent":        `{"content":{"parts":[{"text":"x"}]},"outputDimensionality":0}`,
		"/v1/embeddings?dimensions":            `{"model":"e","input":"x","dimensions":4097}`,
		"/v1/embeddings?format":                `{"model":"e","input":"x","encoding_format":"int8"}`,
		"/v1/embeddings?input":                 `{"model":"e","input":[]}`,
		"/v1beta/models/e:batchEmbedContents?": `{}`,
	} {
		if status, answer := send(t, client, url+path, body); status != 400 {
			t.Errorf("%s: got %d %.200s", path, status, answer)
		}
	}
	var failure *openai.Error
	if _, err := ask("float"); !errors.As(err, &failure) || failure.StatusCode != 429 {
		t.Errorf("the plan is not followed: %v", err)
	}
	if r := s.Requests()[0]; r.Model != "e" || len(r.Messages) != 3 || r.Protocol != chaos.OpenAI {
		t.Errorf("recorded %+v", r)
	}
}

// offering is a chat with a tool that the model may call.
func offering(text string) openai.ChatCompletionNewParams {
	p := ask(text)
	p.Tools = []openai.ChatCompletionToolUnionParam{openai.ChatCompletionFunctionTool(shared.FunctionDefinitionParam{Name: "lookup",
		Parameters: shared.FunctionParameters{"type": "object", "properties": map[string]any{"city": map[string]any{"enum": []string{"Berlin"}}}, "required": []string{"city"}}})}
	return p
}

func callsIn(c *openai.ChatCompletion) []openai.ChatCompletionMessageToolCallUnion {
	return c.Choices[0].Message.ToolCalls
}

// A tool that may be called is called for about half of the questions, with arguments
// that fit; once its result is there, the answer is a text.
// slowReader is a client that takes a second to read an answer.
type slowReader struct{ *httptest.ResponseRecorder }

func (s slowReader) Write(b []byte) (int, error) {
	time.Sleep(time.Second)
	return s.ResponseRecorder.Write(b)
}

// Six of the largest requests at once took 3.2 GB.
func TestFewLargeEmbeddingsAreServedAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := chaos.New(chaos.Config{Plan: &chaos.Plan{AnswerTime: time.Second}})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		ask := func(ctx context.Context, texts int) (code int) {
			defer func() {
				if recover() != nil {
					code = -1 // the connection was closed
				}
			}()
			body := fmt.Sprintf(`{"model":"e","dimensions":4096,"input":["x"%s]}`, strings.Repeat(`,"x"`, texts-1))
			w := slowReader{httptest.NewRecorder()}
			s.ServeHTTP(w, httptest.NewRequestWithContext(ctx, "POST", "/v1/embeddings", strings.NewReader(body)))
			return w.Code
		}
		var wg sync.WaitGroup
		began := time.Now()
		for range 6 {
			wg.Go(func() {
				if code := ask(t.Context(), 17); code != 200 {
					t.Errorf("large: %d", code)
				}
			})
			wg.Go(func() {
				if code := ask(t.Context(), 16); code != 200 || time.Since(began) != 2*time.Second {
					t.Errorf("small: %d after %v", code, time.Since(began))
				}
			})
		}
		time.Sleep(time.Millisecond) // after the others in the queue, in which they are after a second
		leaving, leave := context.WithDeadline(t.Context(), began.Add(3*time.Second/2))
		defer leave()
		if code := ask(leaving, 17); code != -1 || time.Since(began) != 3*time.Second/2 {
			t.Errorf("a client that leaves the queue: %d after %v", code, time.Since(began))
		}
		wg.Wait()
		if took := time.Since(began); took != 4*time.Second {
			t.Errorf("six large requests took %v, after the answer time of 1s two at a time take 3s", took)
		}
	})
}

func TestAToolUnderAutoIsCalledSometimesAndOnceAQuestion(t *testing.T) {
	p := start(t, chaos.Config{})
	called := 0
	for i := range 40 {
		params := offering(strings.Repeat("x", i+1))
		c := p.answer(t, params)
		if again := p.answer(t, params); len(callsIn(again)) != len(callsIn(c)) {
			t.Error("the same request is answered in two ways")
		}
		if len(callsIn(c)) == 0 {
			continue
		}
		called++
		call := callsIn(c)[0]
		if c.Choices[0].FinishReason != "tool_calls" || call.Function.Name != "lookup" || call.Function.Arguments != `{"city":"Berlin"}` {
			t.Fatalf("got %+v", c.Choices[0])
		}
		params.Messages = append(params.Messages, c.Choices[0].Message.ToParam(), openai.ToolMessage("sunny", call.ID))
		if c := p.answer(t, params); len(callsIn(c)) > 0 || c.Choices[0].Message.Content == "" {
			t.Fatalf("after the result: %+v", c.Choices[0])
		}
	}
	if called < 10 || called > 30 {
		t.Errorf("%d of 40 questions called the tool", called)
	}
}

func TestAPlanSaysWhichToolIsCalled(t *testing.T) {
	p := steps(t, chaos.Fault{Tool: "lookup"}, chaos.Fault{Tool: "any"}, chaos.Fault{Tool: "none"}, chaos.Fault{Tool: "other"},
		chaos.Fault{Tool: "lookup", Answer: `{"city": "Bonn"}`}, chaos.Fault{Kind: chaos.Break, Tool: "any", At: new("/city")})
	for i, want := range []string{`{"city":"Berlin"}`, `{"city":"Berlin"}`, "", "error", `{"city": "Bonn"}`, "broken"} {
		c, err := p.client.Chat.Completions.New(t.Context(), offering("x"))
		if (err != nil) != (want == "error") {
			t.Fatalf("step %d: %v", i, err)
		}
		switch {
		case want == "error":
			if !failsWith(err, `calls the tool "other"`) {
				t.Error(err)
			}
		case want == "" && len(callsIn(c)) > 0, want != "" && len(callsIn(c)) != 1,
			want != "" && want != "broken" && callsIn(c)[0].Function.Arguments != want,
			want == "broken" && strings.Contains(callsIn(c)[0].Function.Arguments, "Berlin"):
			t.Errorf("step %d: got %+v", i, c.Choices[0].Message)
		}
	}
	if _, err := chaos.New(chaos.Config{Plan: &chaos.Plan{Steps: []chaos.Fault{{Kind: chaos.Empty, Tool: "any"}}}}); err == nil || !strings.Contains(err.Error(), "tool must be unset unless kind is") {
		t.Error(err)
	}
}

// failsWith reports whether an error of OpenAI's SDK has the message.
func failsWith(err error, message string) bool {
	var failure *openai.Error
	return errors.As(err, &failure) && strings.Contains(failure.Message, message)
}

func TestSeveralChoices(t *testing.T) {
	p := start(t, chaos.Config{})
	params := ask("x")
	params.N = param.NewOpt[int64](3)
	c := p.answer(t, params)
	if len(c.Choices) != 3 || c.Choices[1].Message.Content == c.Choices[2].Message.Content || c.Choices[2].Index != 2 {
		t.Fatalf("got %+v", c.Choices)
	}
	var acc openai.ChatCompletionAccumulator
	stream := p.client.Chat.Completions.NewStreaming(t.Context(), params)
	for stream.Next() {
		acc.AddChunk(stream.Current())
	}
	if stream.Err() != nil || len(acc.Choices) != 3 {
		t.Fatalf("streamed: %+v, %v", acc.Choices, stream.Err())
	}
	// The body differs by "stream", so the answers do.
	for _, choice := range acc.Choices {
		if !strings.HasPrefix(choice.Message.Content, "This answer is invented") || choice.FinishReason != "stop" {
			t.Errorf("streamed: %+v", choice)
		}
	}
}

func TestLogprobsArePartsOfTheAnswer(t *testing.T) {
	p := start(t, chaos.Config{})
	params := ask("x")
	params.Logprobs, params.TopLogprobs = param.NewOpt(true), param.NewOpt[int64](2)
	choice := p.answer(t, params).Choices[0]
	text := ""
	for _, token := range choice.Logprobs.Content {
		text += token.Token
		if token.Logprob >= 0 || len(token.TopLogprobs) != 2 || token.TopLogprobs[0].Token != token.Token || token.TopLogprobs[1].Logprob >= token.Logprob || len(token.Bytes) != len(token.Token) {
			t.Fatalf("got %s", token.RawJSON())
		}
	}
	if text != choice.Message.Content {
		t.Errorf("the tokens are %q, the answer %q", text, choice.Message.Content)
	}
	streamed, said := "", ""
	stream := p.client.Chat.Completions.NewStreaming(t.Context(), params)
	for stream.Next() {
		for _, c := range stream.Current().Choices {
			said += c.Delta.Content
			for _, token := range c.Logprobs.Content {
				streamed += token.Token
			}
		}
	}
	if streamed == "" || streamed != said {
		t.Errorf("streamed tokens %q of %q", streamed, said)
	}
	r, err := p.client.Responses.New(t.Context(), responses.ResponseNewParams{Model: "m", Include: []responses.ResponseIncludable{"message.output_text.logprobs"},
		TopLogprobs: param.NewOpt[int64](1), Input: responses.ResponseNewParamsInputUnion{OfString: param.NewOpt("x")}})
	if err != nil || len(r.Output[0].Content[0].Logprobs) < 10 || len(r.Output[0].Content[0].Logprobs[0].TopLogprobs) != 1 {
		t.Errorf("Responses: %+v, %v", r, err)
	}
}

// A model that is asked to shows its thoughts, in a stream as in a whole answer, and takes
// them back with a tool's result.
func TestThoughtsAreShown(t *testing.T) {
	_, url, client := listen(t, chaos.Config{})
	ctx := t.Context()
	const begins = "This thought is invented."

	an := anthropicClient(url, client)
	params := anthropicParams(question{turns: []string{"x"}})
	params.Thinking = anthropic.ThinkingConfigParamOfEnabled(1024)
	m, err := an.Messages.New(ctx, params)
	if err != nil || len(m.Content) != 2 || !strings.HasPrefix(m.Content[0].Thinking, begins) || m.Content[0].Signature == "" || m.Content[1].Text == "" || m.Usage.OutputTokensDetails.ThinkingTokens == 0 {
		t.Fatalf("Anthropic: %+v, %v", m, err)
	}
	var acc anthropic.Message
	stream := an.Messages.NewStreaming(ctx, params)
	for stream.Next() {
		if err := acc.Accumulate(stream.Current()); err != nil {
			t.Fatal(err)
		}
	}
	if stream.Err() != nil || len(acc.Content) != 2 || !strings.HasPrefix(acc.Content[0].Thinking, begins) || acc.Content[0].Signature == "" || acc.Content[1].Text == "" {
		t.Errorf("Anthropic, streamed: %+v, %v", acc.Content, stream.Err())
	}
	params.Messages = append(params.Messages, m.ToParam(), anthropic.NewUserMessage(anthropic.NewTextBlock("y")))
	if _, err := an.Messages.New(ctx, params); err != nil {
		t.Errorf("Anthropic does not take its thoughts back: %v", err)
	}
	params.Thinking = anthropic.ThinkingConfigParamOfEnabled(4096)
	if _, err := an.Messages.New(ctx, params); err == nil || !strings.Contains(err.Error(), "must be greater than `thinking.budget_tokens`") {
		t.Errorf("Anthropic: a budget above max_tokens: %v", err)
	}

	oa := openaiClient(url, client)
	rp := responses.ResponseNewParams{Model: "m", Input: responses.ResponseNewParamsInputUnion{OfString: param.NewOpt("x")}, Reasoning: shared.ReasoningParam{Summary: "auto"},
		Include: []responses.ResponseIncludable{"reasoning.encrypted_content"}}
	r, err := oa.Responses.New(ctx, rp)
	if err != nil || len(r.Output) != 2 || r.Output[0].Type != "reasoning" || !strings.HasPrefix(r.Output[0].Summary[0].Text, begins) || r.Output[0].EncryptedContent == "" {
		t.Errorf("Responses: %+v, %v", r, err)
	}
	summary, done := "", ""
	events := oa.Responses.NewStreaming(ctx, rp)
	for events.Next() {
		switch e := events.Current(); e.Type {
		case "response.reasoning_summary_text.delta":
			summary += e.Delta
		case "response.completed":
			done = e.Response.Output[0].Summary[0].Text
		}
	}
	if events.Err() != nil || summary == "" || summary != done {
		t.Errorf("Responses, streamed: %q, %q, %v", summary, done, events.Err())
	}

	ge := geminiClient(ctx, url, client)
	contents, cfg := geminiParams(question{turns: []string{"x"}})
	cfg.ThinkingConfig = &genai.ThinkingConfig{IncludeThoughts: true}
	g, err := ge.Models.GenerateContent(ctx, "m", contents, cfg)
	if err != nil || len(g.Candidates[0].Content.Parts) != 2 || !g.Candidates[0].Content.Parts[0].Thought || g.Candidates[0].Content.Parts[1].Text == "" || g.UsageMetadata.ThoughtsTokenCount == 0 {
		t.Errorf("Gemini: %+v, %v", g, err)
	}
	thought, text := "", ""
	for g, err := range ge.Models.GenerateContentStream(ctx, "m", contents, cfg) {
		if err != nil {
			t.Fatal(err)
		}
		for _, part := range g.Candidates[0].Content.Parts {
			if part.Thought {
				thought += part.Text
			} else {
				text += part.Text
			}
		}
	}
	if !strings.HasPrefix(thought, begins) || !strings.Contains(text, "invented") {
		t.Errorf("Gemini, streamed: %q, %q", thought, text)
	}
}

// A response can be fetched and continued; a call of a tool in it is answered by its result
// alone.
func TestResponsesAreKept(t *testing.T) {
	s, url, client := listen(t, chaos.Config{Plan: &chaos.Plan{Steps: []chaos.Fault{{}, {Tool: "any"}}}})
	ctx := t.Context()
	oa := openaiClient(url, client)
	text := func(s string) responses.ResponseNewParamsInputUnion {
		return responses.ResponseNewParamsInputUnion{OfString: param.NewOpt(s)}
	}
	first, err := oa.Responses.New(ctx, responses.ResponseNewParams{Model: "m", Input: text("one")})
	if err != nil || !first.JSON.ID.Valid() {
		t.Fatal(err)
	}
	again, err := oa.Responses.Get(ctx, first.ID, responses.ResponseGetParams{})
	if err != nil || again.OutputText() != first.OutputText() || again.Status != "completed" {
		t.Errorf("got %+v, %v", again, err)
	}
	tools := []responses.ToolUnionParam{responses.ToolParamOfFunction("lookup", map[string]any{"type": "object"}, false)}
	second, err := oa.Responses.New(ctx, responses.ResponseNewParams{Model: "m", PreviousResponseID: param.NewOpt(first.ID), Input: text("two"), Tools: tools})
	if err != nil || second.Output[0].Type != "function_call" || second.PreviousResponseID != first.ID {
		t.Fatalf("got %+v, %v", second, err)
	}
	third, err := oa.Responses.New(ctx, responses.ResponseNewParams{Model: "m", PreviousResponseID: param.NewOpt(second.ID), Tools: tools, Input: responses.ResponseNewParamsInputUnion{
		OfInputItemList: responses.ResponseInputParam{{OfFunctionCallOutput: &responses.ResponseInputItemFunctionCallOutputParam{CallID: param.NewOpt(second.Output[0].CallID),
			Output: responses.ResponseInputItemFunctionCallOutputOutputUnionParam{OfString: param.NewOpt("sunny")}}}}}})
	if err != nil || third.OutputText() == "" {
		t.Fatalf("got %+v, %v", third, err)
	}
	requests := s.Requests()
	roles := ""
	for _, m := range requests[len(requests)-1].Messages {
		roles += m.Role + " "
	}
	if roles != "user assistant user assistant tool " {
		t.Errorf("the conversation is %s", roles)
	}
	unkept, err := oa.Responses.New(ctx, responses.ResponseNewParams{Model: "m", Input: text("x"), Store: param.NewOpt(false)})
	if err != nil || unkept.JSON.ID.Raw() == "" {
		t.Fatal(err)
	}
	for _, id := range []string{unkept.ID, "resp_none"} {
		var failure *openai.Error
		if _, err := oa.Responses.Get(ctx, id, responses.ResponseGetParams{}); !errors.As(err, &failure) || failure.StatusCode != 404 {
			t.Errorf("%s: %v", id, err)
		}
		if _, err := oa.Responses.New(ctx, responses.ResponseNewParams{Model: "m", PreviousResponseID: param.NewOpt(id), Input: text("x")}); !errors.As(err, &failure) || failure.Code != "previous_response_not_found" {
			t.Errorf("%s: %v", id, err)
		}
	}
}

func TestAResponseInTheBackgroundIsCompleteWhenItIsReady(t *testing.T) {
	plan := chaos.Plan{Steps: []chaos.Fault{{Delay: time.Minute}, {}, {Delay: time.Minute}}}
	inBubble(t, plan, func(t *testing.T, b *bubble) {
		oa := openaiClient(bubbleURL, b.client)
		p := responses.ResponseNewParams{Model: "m", Background: param.NewOpt(true), Input: responses.ResponseNewParamsInputUnion{OfString: param.NewOpt("x")}}
		r, err := oa.Responses.New(t.Context(), p)
		if err != nil || r.Status != "queued" || len(r.Output) > 0 || !r.Background {
			t.Fatalf("got %+v, %v", r, err)
		}
		for _, want := range []responses.ResponseStatus{"queued", "completed"} {
			if got, err := oa.Responses.Get(t.Context(), r.ID, responses.ResponseGetParams{}); err != nil || got.Status != want || got.ID != r.ID || (want == "completed") != (got.OutputText() != "") {
				t.Errorf("want %s, got %+v, %v", want, got, err)
			}
			time.Sleep(time.Minute)
			synctest.Wait()
		}
		// Without a delay it is complete when it is asked for.
		r, err = oa.Responses.New(t.Context(), p)
		if err != nil || r.Status != "queued" {
			t.Fatalf("got %+v, %v", r, err)
		}
		if got, err := oa.Responses.Get(t.Context(), r.ID, responses.ResponseGetParams{}); err != nil || got.Status != "completed" {
			t.Errorf("got %+v, %v", got, err)
		}
		if got, err := oa.Responses.Cancel(t.Context(), r.ID); err != nil || got.Status != "completed" {
			t.Errorf("cancelled too late: %+v, %v", got, err)
		}
		if err := oa.Responses.Delete(t.Context(), r.ID); err != nil {
			t.Error(err)
		}
		if _, err := oa.Responses.Get(t.Context(), r.ID, responses.ResponseGetParams{}); !failsWith(err, "not found") {
			t.Errorf("deleted: %v", err)
		}
		if err := oa.Responses.Delete(t.Context(), r.ID); !failsWith(err, "not found") {
			t.Errorf("deleted twice: %v", err)
		}
		r, err = oa.Responses.New(t.Context(), p) // takes a minute
		if err != nil {
			t.Fatal(err)
		}
		if got, err := oa.Responses.Cancel(t.Context(), r.ID); err != nil || got.Status != "cancelled" {
			t.Errorf("got %+v, %v", got, err)
		}
		time.Sleep(time.Minute)
		if got, err := oa.Responses.Get(t.Context(), r.ID, responses.ResponseGetParams{}); err != nil || got.Status != "cancelled" {
			t.Errorf("after a minute: %+v, %v", got, err)
		}
		p.Background = param.NewOpt(false)
		if r, err = oa.Responses.New(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		if _, err := oa.Responses.Cancel(t.Context(), r.ID); !failsWith(err, "Cannot cancel a synchronous response.") {
			t.Error(err)
		}
		p.Background = param.NewOpt(true)
		p.Store = param.NewOpt(false)
		if _, err := oa.Responses.New(t.Context(), p); !failsWith(err, "Background mode requires") {
			t.Error(err)
		}
	})
}

// The tool runner of Anthropic's SDK for TypeScript (1.12) keeps its conversation on the
// server: {"thread": {"type": "create"}}, then only what is new.
func TestUnknownFieldsPassUnderABetaHeader(t *testing.T) {
	s, url, client := listen(t, chaos.Config{Plan: &chaos.Plan{Steps: []chaos.Fault{{Tool: "any"}}}})
	send := func(body, beta string) (*http.Response, map[string]any) {
		r, err := http.NewRequestWithContext(t.Context(), "POST", url+"/v1/messages?beta=true", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Anthropic-Version", "2023-06-01")
		if beta != "" {
			r.Header.Set("Anthropic-Beta", beta)
		}
		response, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		var got map[string]any
		if err := json.NewDecoder(response.Body).Decode(&got); err != nil {
			t.Fatal(err)
		}
		return response, got
	}
	const begin = `{"model":"m","max_tokens":99,"system":"Be brief.","tools":[{"name":"lookup","input_schema":{"type":"object"}}],"messages":[{"role":"user","content":"x"}],"thread":{"type":"create"}}`
	if response, got := send(begin, ""); response.StatusCode != 400 {
		t.Errorf("without the header: %v", got)
	}
	_, first := send(begin, "message-threads-2026-08-12")
	if first["stop_reason"] != "tool_use" {
		t.Fatalf("got %v", first)
	}
	call := first["content"].([]any)[0].(map[string]any)["id"].(string)
	id := first["id"].(string)
	more := func(id string) string {
		return `{"model":"m","max_tokens":99,"messages":[{"role":"user","content":[{"type":"tool_result","tool_use_id":"` + call + `","content":"sunny"}]}],"thread":{"type":"continue","previous_message_id":"` + id + `"}}`
	}
	if _, second := send(more(id), "message-threads-2026-08-12"); second["stop_reason"] != "end_turn" {
		t.Fatalf("got %v", second)
	}
	requests := s.Requests()
	var roles []string
	for _, m := range requests[len(requests)-1].Messages {
		roles = append(roles, m.Role)
	}
	if !slices.Equal(roles, []string{"system", "user", "assistant", "tool"}) {
		t.Errorf("the conversation is %v", roles)
	}
	response, got := send(more("msg_none"), "message-threads-2026-08-12")
	if details, _ := got["error"].(map[string]any)["details"].(map[string]any); response.StatusCode != 404 || details["error_code"] != "thread_not_found" {
		t.Errorf("an unknown thread: %v", got)
	}
	if _, got := send(`{"model":"m","max_tokens":9,"invented":1,"messages":[{"role":"user","content":[{"type":"hologram"},{"type":"text","text":"x"}]}]}`, "any-2026"); got["type"] != "message" {
		t.Errorf("got %v", got)
	}
}

func TestWhatOneProtocolKeepsIsNotFoundInAnother(t *testing.T) {
	_, url, client := listen(t, chaos.Config{})
	oa := openaiClient(url, client)
	text := responses.ResponseNewParamsInputUnion{OfString: param.NewOpt("x")}
	thread := func(of string) (int, string) {
		return send(t, client, url+"/v1/messages", `{"model":"m","max_tokens":99,"messages":[{"role":"user","content":"x"}],"thread":`+of+`}`,
			"Anthropic-Version", "2023-06-01", "Anthropic-Beta", "message-threads-2026-08-12")
	}

	_, begun := thread(`{"type":"create"}`)
	var message struct{ ID string }
	if err := json.Unmarshal([]byte(begun), &message); err != nil || message.ID == "" {
		t.Fatal(begun, err)
	}
	if _, err := oa.Responses.Get(t.Context(), message.ID, responses.ResponseGetParams{}); !failsWith(err, "not found") {
		t.Errorf("a message is fetched as a response: %v", err)
	}
	if _, err := oa.Responses.New(t.Context(), responses.ResponseNewParams{Model: "m", Input: text, PreviousResponseID: param.NewOpt(message.ID)}); !failsWith(err, "not found") {
		t.Errorf("a message is continued as a response: %v", err)
	}
	if err := oa.Responses.Delete(t.Context(), message.ID); !failsWith(err, "not found") {
		t.Errorf("a message is deleted as a response: %v", err)
	}
	if status, answer := thread(`{"type":"continue","previous_message_id":"` + message.ID + `"}`); status != 200 {
		t.Errorf("the thread is gone: %d %s", status, answer)
	}

	r, err := oa.Responses.New(t.Context(), responses.ResponseNewParams{Model: "m", Input: text})
	if err != nil {
		t.Fatal(err)
	}
	if status, answer := thread(`{"type":"continue","previous_message_id":"` + r.ID + `"}`); status != 404 || !strings.Contains(answer, "thread_not_found") {
		t.Errorf("a response is continued as a thread: %d %s", status, answer)
	}
}

func TestContextTooLongNamesTheFieldOfItsProtocol(t *testing.T) {
	for p, want := range map[chaos.Protocol]string{chaos.OpenAI: "messages", chaos.OpenAIResponses: "input"} {
		_, body := raw(t, []chaos.Fault{{Kind: chaos.Status, Error: "context_too_long"}}, p, false)
		var got struct{ Error struct{ Param, Code string } }
		if err := json.Unmarshal([]byte(body), &got); err != nil || got.Error.Param != want || got.Error.Code != "context_length_exceeded" {
			t.Errorf("%s: %s, %v", p, body, err)
		}
	}
}

// Reset forgets what is kept, and the oldest is forgotten when there is too much.
func TestOnlySoMuchIsKept(t *testing.T) {
	s, url, client := listen(t, chaos.Config{})
	oa := openaiClient(url, client)
	ask := func(n int) string {
		r, err := oa.Responses.New(t.Context(), responses.ResponseNewParams{Model: "m", Input: responses.ResponseNewParamsInputUnion{OfString: param.NewOpt(strings.Repeat("x", n))}})
		if err != nil {
			t.Fatal(err)
		}
		return r.ID
	}
	there := func(id string) bool {
		_, err := oa.Responses.Get(context.Background(), id, responses.ResponseGetParams{})
		return err == nil
	}
	old := ask(17 << 20)
	if !there(old) {
		t.Error("a large one is not kept")
	}
	recent := ask(17 << 20)
	if there(old) || !there(recent) {
		t.Error("the oldest is still kept, or the newest is not")
	}
	if s.Reset(); there(recent) {
		t.Error("it is kept after Reset")
	}
}

// A choice among some of the tools offers or requires those, and one of a tool that the
// provider runs calls no function.
func TestAllowedTools(t *testing.T) {
	p := steps(t, chaos.Fault{}, chaos.Fault{Tool: "any"}, chaos.Fault{Tool: "lookup"})
	const both = `"tools":[{"type":"function","name":"lookup"},{"type":"function","name":"other"}]`
	for _, c := range []struct{ choice, want string }{
		{`{"type":"allowed_tools","mode":"required","tools":[{"type":"function","name":"other"}]}`, `"name":"other"`},
		{`{"type":"allowed_tools","mode":"auto","tools":[{"type":"function","name":"other"}]}`, `"name":"other"`},
		{`{"type":"allowed_tools","mode":"auto","tools":[{"type":"function","name":"other"}]}`, `does not offer it`},
		{`{"type":"allowed_tools","mode":"required","tools":[{"type":"function","name":"third"}]}`, `no function 'third'`},
		{`{"type":"web_search"}`, `"type":"output_text"`},
	} {
		if status, body := send(t, http.DefaultClient, p.url+"/v1/responses", `{"model":"m","input":"x",`+both+`,"tool_choice":`+c.choice+`}`); !strings.Contains(body, c.want) {
			t.Errorf("%s: got %d %s", c.choice, status, body)
		}
	}
	http.DefaultClient.CloseIdleConnections()
	params := offering("x")
	params.ToolChoice = openai.ToolChoiceOptionAllowedTools(openai.ChatCompletionAllowedToolsParam{Mode: "required", Tools: []map[string]any{{"type": "function", "function": map[string]any{"name": "lookup"}}}})
	if c := p.answer(t, params); len(callsIn(c)) != 1 {
		t.Errorf("got %+v", c.Choices[0])
	}
}

func TestGeminiHasCandidatesAndLogprobs(t *testing.T) {
	_, url, client := listen(t, chaos.Config{})
	ctx := t.Context()
	ge := geminiClient(ctx, url, client)
	contents, cfg := geminiParams(question{turns: []string{"x"}})
	cfg.CandidateCount, cfg.ResponseLogprobs, cfg.Logprobs = 2, true, genai.Ptr[int32](3)
	g, err := ge.Models.GenerateContent(ctx, "m", contents, cfg)
	if err != nil || len(g.Candidates) != 2 || g.Candidates[1].Index != 1 {
		t.Fatalf("got %+v, %v", g, err)
	}
	text := ""
	for i, token := range g.Candidates[1].LogprobsResult.ChosenCandidates {
		text += token.Token
		if top := g.Candidates[1].LogprobsResult.TopCandidates[i].Candidates; len(top) != 3 || top[0].Token != token.Token {
			t.Fatalf("got %+v", top)
		}
	}
	if text != g.Candidates[1].Content.Parts[0].Text {
		t.Errorf("the tokens are %q", text)
	}
	finished := 0
	for g, err := range ge.Models.GenerateContentStream(ctx, "m", contents, cfg) {
		if err != nil {
			t.Fatal(err)
		}
		if g.Candidates[0].FinishReason == "STOP" {
			finished++
		}
	}
	if finished != 2 {
		t.Errorf("%d candidates came to their end", finished)
	}
}

// The loop of tools in @google/genai gives back each piece of a stream as a turn of its own.
func TestGeminiTakesAnAnswerBackInPieces(t *testing.T) {
	_, url, client := listen(t, chaos.Config{})
	const call = `{"role":"model","parts":[{"functionCall":{"name":"lookup","args":{}}}]}`
	const result = `{"role":"user","parts":[{"functionResponse":{"name":"lookup","response":{}}}]}`
	for contents, want := range map[string]int{
		`{"parts":[{"text":"x"}]},{"role":"model","parts":[{"text":"hm","thought":true}]},` + call + `,{"role":"model","parts":[{"text":""}]},` + result: 200,
		`{"parts":[{"text":"x"}]},` + call + `,` + call + `,` + result + `,` + result:                                                                    200,
		`{"parts":[{"text":"x"}]},` + call + `,` + call + `,` + result:                                                                                   400,
		`{"parts":[{"text":"x"}]},` + call + `,{"role":"user","parts":[{"text":"y"}]}`:                                                                   400,
		`{"parts":[{"text":"x"}]},` + call: 400,
	} {
		if status, body := send(t, client, url+"/v1beta/models/m:generateContent", `{"contents":[`+contents+`]}`); status != want {
			t.Errorf("%s: got %d %s", contents, status, body)
		}
	}
}

func TestAnthropicTakesAPictureByItsFile(t *testing.T) {
	_, url, client := listen(t, chaos.Config{})
	an := anthropicClient(url, client)
	params := anthropicParams(question{turns: []string{"x"}})
	params.Messages = append(params.Messages, anthropic.NewUserMessage(anthropic.ContentBlockParamUnion{OfImage: &anthropic.ImageBlockParam{
		Source: anthropicparam.Override[anthropic.ImageBlockParamSourceUnion](json.RawMessage(`{"type":"file","file_id":"file_1"}`))}}))
	if _, err := an.Messages.New(t.Context(), params); err != nil {
		t.Error(err)
	}
}

// A value of an enumeration, without quotes (text/x.enum).
func TestGeminiAnswersWithAValueOfAnEnum(t *testing.T) {
	_, url, client := listen(t, chaos.Config{})
	contents, cfg := geminiParams(question{turns: []string{"x"}})
	cfg.ResponseMIMEType, cfg.ResponseSchema = "text/x.enum", &genai.Schema{Type: genai.TypeString, Enum: []string{"red", "green"}}
	got, err := geminiClient(t.Context(), url, client).Models.GenerateContent(t.Context(), "m", contents, cfg)
	if err != nil || got.Text() != "red" && got.Text() != "green" {
		t.Errorf("got %q, %v", got.Text(), err)
	}
}

// What clients send that once was refused, or in words of something else.
func TestWhatClientsSendIsRead(t *testing.T) {
	_, url, _ := listen(t, chaos.Config{})
	for _, c := range []struct{ path, body, says string }{
		{"/v1/messages", `{"model":"m","max_tokens":9,"messages":[{"role":"user","content":[{"type":"search_result","source":"https://example.org","title":"t","content":[{"type":"text","text":"x"}]},{"type":"text","text":"x"}]}]}`, `"type":"message"`},
		{"/v1/messages", `{"model":"m","max_tokens":9,"messages":[{"role":"user","content":[{"type":"document","source":"x"}]}]}`, "messages.0.content.0.document.source"},
		{"/v1/responses", `{"model":"m","input":"x","tools":[{"type":"custom","name":"f"}],"tool_choice":"required"}`, "no function in 'tools', and this server calls no other tools"},
		{"/v1/chat/completions", `{"model":"m","messages":[{"role":"user","content":"x"}],"tools":[{"type":"custom","custom":{"name":"f"}}],"tool_choice":"required"}`, "no function in 'tools', and this server calls no other tools"},
		{"/v1/responses/resp_1/input_items", "", "Invalid URL (GET /v1/responses/resp_1/input_items)"},
		{"/v1/responses/resp_1/input_items/cancel", "{}", "Invalid URL (POST"},
		{"/v1/models/openai/gpt-x", "", `"id":"openai/gpt-x"`},
	} {
		method := http.MethodPost
		if c.body == "" {
			method = http.MethodGet
		}
		r, err := http.NewRequestWithContext(t.Context(), method, url+c.path, strings.NewReader(c.body))
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(c.path, "/messages") {
			r.Header.Set("Anthropic-Version", "2023-06-01")
		}
		response, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(response.Body)
		if err != nil || !strings.Contains(string(body), c.says) {
			t.Errorf("%s %s: %s, %v; want %q", method, c.path, body, err, c.says)
		}
		_ = response.Body.Close() // read to its end
	}
}
