package otel_test

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
	"pgregory.net/rapid"

	"llmcall"
	"llmcall/failure"
	"llmcall/llm"
	"llmcall/otel"
	"llmcall/retry"
	"llmcall/validate"
)

const s = time.Second

// step is what a model does at a request.
type step func(ctx context.Context) (*llm.Response, error)

func says(text string, after time.Duration) step {
	return func(ctx context.Context) (*llm.Response, error) {
		select {
		case <-time.After(after):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		return &llm.Response{Message: llm.Assistant(text), Finish: llm.FinishStop, Usage: llm.Usage{
			InputTokens: 100, OutputTokens: 10, CachedTokens: 40, CacheWriteTokens: 30, ReasoningTokens: 5,
		}}, nil
	}
}

func fails(kind failure.Kind, text string) step {
	return func(context.Context) (*llm.Response, error) {
		return nil, &failure.Error{Kind: kind, Provider: "acme", Err: errors.New(text)}
	}
}

func wants(tools ...string) step {
	return func(context.Context) (*llm.Response, error) {
		r := &llm.Response{Message: llm.Message{Role: llm.RoleAssistant}, Finish: llm.FinishToolCall, Usage: llm.Usage{InputTokens: 7, OutputTokens: 3}}
		for _, name := range tools {
			r.Message.Parts = append(r.Message.Parts, llm.ToolCall{ID: name, Name: name, Arguments: json.RawMessage(`{}`)})
		}
		return r, nil
	}
}

// plays returns a model that takes the steps, the last one again and again.
func plays(name string, steps ...step) llm.Model {
	var asked atomic.Int64 // a hedge asks at the same time
	return llm.Func(name, func(ctx context.Context, _ *llm.Request) (*llm.Response, error) {
		return steps[min(int(asked.Add(1)), len(steps))-1](ctx)
	})
}

var isGood = validate.Func("is_good", func(_ context.Context, a *validate.Answer) error {
	if !strings.HasPrefix(a.Text, "good") {
		return validate.Fail(fmt.Sprintf("%q is wrong", a.Text), "")
	}
	return nil
})

// recorded is a provider that keeps what is traced.
func recorded(t *testing.T, opts ...sdktrace.TracerProviderOption) (*tracetest.InMemoryExporter, *sdktrace.TracerProvider) {
	t.Helper()
	kept := tracetest.NewInMemoryExporter()
	p := sdktrace.NewTracerProvider(append(opts, sdktrace.WithSyncer(kept))...)
	t.Cleanup(func() {
		if err := p.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return kept, p
}

func client(t testing.TB, cfg llmcall.RetryConfig, models ...llm.Model) *llmcall.Client {
	t.Helper()
	cfg.UseJitter, cfg.DisableRetryBudget, cfg.DisablePacing = new(false), true, true
	c, err := llmcall.New(models, []validate.Strategy{isGood}, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// drawn draws spans as a tree: when each began and how long it took, its kind, name, status
// and attributes (but those that each has), and its events.
func drawn(spans tracetest.SpanStubs) []string {
	below := map[trace.SpanID][]tracetest.SpanStub{}
	first := spans[0].StartTime
	for _, span := range spans {
		if span.StartTime.Before(first) {
			first = span.StartTime
		}
		below[span.Parent.SpanID()] = append(below[span.Parent.SpanID()], span)
	}
	var all []string
	var draw func(parent trace.SpanID, indent string)
	draw = func(parent trace.SpanID, indent string) {
		slices.SortStableFunc(below[parent], func(a, b tracetest.SpanStub) int { return a.StartTime.Compare(b.StartTime) })
		for _, span := range below[parent] {
			line := fmt.Sprintf("%s%v+%v %v %s", indent, span.StartTime.Sub(first), span.EndTime.Sub(span.StartTime), span.SpanKind, span.Name)
			if span.Status.Code == codes.Error {
				line += fmt.Sprintf(" ERROR(%s)", span.Status.Description)
			}
			for _, a := range span.Attributes {
				switch a.Key {
				case "llmcall.call.id", "gen_ai.operation.name", "gen_ai.provider.name", "gen_ai.request.model", "gen_ai.workflow.name", "llmcall.stage":
					continue
				}
				line += fmt.Sprintf(" %s=%s", strings.TrimPrefix(string(a.Key), "llmcall."), a.Value.String())
			}
			all = append(all, line)
			for _, e := range span.Events {
				line := fmt.Sprintf("%s. %v %s", indent, e.Time.Sub(first), e.Name)
				for _, a := range e.Attributes {
					line += fmt.Sprintf(" %s=%s", a.Key, a.Value.String())
				}
				all = append(all, line)
			}
			draw(span.SpanContext.SpanID(), indent+"  ")
		}
	}
	draw(trace.SpanID{}, "")
	return all
}

const used = " gen_ai.usage.input_tokens=100 gen_ai.usage.output_tokens=10 gen_ai.usage.cache_read.input_tokens=40 gen_ai.usage.cache_creation.input_tokens=30 gen_ai.usage.reasoning.output_tokens=5"

func TestWhatATraceLooksLike(t *testing.T) {
	lookUp := func(name string) llmcall.Tool {
		return llmcall.Tool{Tool: llm.Tool{Name: name}, Run: func(context.Context, json.RawMessage) (string, error) {
			time.Sleep(2 * s)
			if name == "broken" {
				return "", errors.New("the secret is not found")
			}
			return "found", nil
		}}
	}
	for name, c := range map[string]struct {
		models []llm.Model
		cfg    llmcall.RetryConfig
		leave  time.Duration // after which the caller leaves
		want   []string
	}{
		"three attempts": {
			models: []llm.Model{plays("acme/one", fails(failure.Transient, "on purpose"), says("bad", s), says("good", 2*s))},
			cfg:    llmcall.RetryConfig{InitialDelay: s},
			want: []string{
				"0s+4s internal invoke_workflow test reason=valid attempts=3 model=acme/one",
				". 0s llmcall.wait llmcall.wait.reason=backoff llmcall.wait.seconds=1",
				"  0s+0s client chat one ERROR(acme: transient: on purpose) attempt=1 outcome=failed error.type=transient",
				"  1s+1s client chat one ERROR() attempt=2 http.request.resend_count=1 delay=1 delay_reason=backoff outcome=invalid" + used + ` checks=["is_good"] error.type=invalid_answer`,
				"  2s+2s client chat one attempt=3 http.request.resend_count=2 outcome=valid" + used,
			},
		},
		"no answer": {
			models: []llm.Model{plays("acme/one", fails(failure.InvalidRequest, "no such field"))},
			want: []string{
				"0s+0s internal invoke_workflow test ERROR(not retried after 1 attempt: acme: invalid_request: no such field) reason=provider_failed attempts=1 error.type=provider_failed",
				"  0s+0s client chat one ERROR(acme: invalid_request: no such field) attempt=1 outcome=failed error.type=invalid_request",
			},
		},
		"another model": {
			models: []llm.Model{plays("acme/one", fails(failure.QuotaExhausted, "pay")), plays("gemini/two", says("good", s))},
			want: []string{
				"0s+1s internal invoke_workflow test reason=valid attempts=2 model=gemini/two",
				"  0s+0s client chat one ERROR(acme: quota_exhausted: pay) attempt=1 outcome=failed error.type=quota_exhausted",
				"  0s+1s client chat two attempt=2 http.request.resend_count=1 why=acme/one: quota_exhausted outcome=valid" + used,
			},
		},
		"a hedge that wins": {
			models: []llm.Model{plays("acme/one", says("good, late", 9*s), says("good", s))},
			cfg:    llmcall.RetryConfig{Hedge: &llmcall.Hedge{After: 2 * s, Extra: 1}},
			want: []string{
				"0s+3s internal invoke_workflow test reason=valid attempts=1 model=acme/one",
				"  0s+3s client chat one attempt=1 outcome=lost error.type=lost",
				"    2s+1s client chat one hedge=true attempt=1 outcome=valid" + used,
			},
		},
		"a hedge that loses": {
			models: []llm.Model{plays("acme/one", says("good", 3*s), says("good, late", 9*s))},
			cfg:    llmcall.RetryConfig{Hedge: &llmcall.Hedge{After: 2 * s, Extra: 1}},
			want: []string{
				"0s+3s internal invoke_workflow test reason=valid attempts=1 model=acme/one",
				"  0s+3s client chat one attempt=1 outcome=valid" + used,
				"    2s+1s client chat one hedge=true attempt=1 outcome=lost error.type=lost",
			},
		},
		"tools": {
			models: []llm.Model{plays("acme/one", wants("look", "broken"), says("good", s))},
			cfg:    llmcall.RetryConfig{Tools: []llmcall.Tool{lookUp("look"), lookUp("broken")}},
			want: []string{
				"0s+3s internal invoke_workflow test reason=valid attempts=1 model=acme/one",
				"  0s+3s client chat one attempt=1 outcome=valid gen_ai.usage.input_tokens=107 gen_ai.usage.output_tokens=13" + strings.TrimPrefix(used, " gen_ai.usage.input_tokens=100 gen_ai.usage.output_tokens=10"),
				"  . 3s llmcall.tool gen_ai.tool.name=look llmcall.tool.seconds=2 llmcall.tool.bytes=5",
				"  . 3s llmcall.tool gen_ai.tool.name=broken llmcall.tool.seconds=2 llmcall.tool.bytes=0 error.type=tool_error",
			},
		},
		"the caller leaves": {
			models: []llm.Model{plays("acme/one", says("good", 9*s))},
			leave:  4 * s,
			want: []string{
				"0s+4s internal invoke_workflow test ERROR(cancelled after 1 attempt: context canceled) reason=cancelled attempts=1 error.type=cancelled",
				"  0s+4s client chat one ERROR(context canceled) attempt=1 outcome=failed error.type=cancelled",
			},
		},
		"the caller leaves in a wait": {
			models: []llm.Model{plays("acme/one", fails(failure.Transient, "on purpose"))},
			cfg:    llmcall.RetryConfig{InitialDelay: 9 * s},
			leave:  4 * s,
			want: []string{
				"0s+4s internal invoke_workflow test ERROR(cancelled after 1 attempt: acme: transient: on purpose) reason=cancelled attempts=1 error.type=cancelled",
				". 0s llmcall.wait llmcall.wait.reason=backoff llmcall.wait.seconds=9",
				"  0s+0s client chat one ERROR(acme: transient: on purpose) attempt=1 outcome=failed error.type=transient",
			},
		},
		"a panic": {
			models: []llm.Model{plays("acme/one", func(context.Context) (*llm.Response, error) { panic("boom") })},
			want: []string{
				"0s+0s internal invoke_workflow test ERROR(the call panicked: boom) reason=panic error.type=panic",
				"  0s+0s client chat one ERROR(the call panicked: boom) attempt=1 outcome=failed error.type=unknown",
			},
		},
		"a person": {
			models: []llm.Model{plays("acme/one", says("bad", s))},
			cfg:    llmcall.RetryConfig{MaxAttemptsBeforeHuman: 1},
			want: []string{
				"0s+1s internal invoke_workflow test ERROR() reason=human_review attempts=1 error.type=human_review",
				"  0s+1s client chat one ERROR() attempt=1 outcome=invalid" + used + ` checks=["is_good"] error.type=invalid_answer`,
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				kept, p := recorded(t)
				c.cfg.Observer = otel.Observer(otel.Options{TracerProvider: p, Name: "test"})
				called := client(t, c.cfg, c.models...)
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				if c.leave > 0 {
					time.AfterFunc(c.leave, cancel)
				}
				func() {
					defer func() {
						if v := recover(); v != nil && v != "boom" {
							panic(v)
						}
					}()
					_, _ = called.Do(ctx, llm.Prompt("a secret"))
				}()
				if got := drawn(kept.GetSpans()); !slices.Equal(got, c.want) {
					t.Errorf("\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(c.want, "\n"))
				}
			})
		})
	}
}

// A stream's spans last until the stream has ended, and so they do if its reader leaves.
func TestAStreamIsTraced(t *testing.T) {
	pieces := llm.StreamFunc("acme/one", func(ctx context.Context, _ *llm.Request) iter.Seq2[llm.Chunk, error] {
		return func(yield func(llm.Chunk, error) bool) {
			for _, text := range []string{"good", " day"} {
				time.Sleep(s)
				if !yield(llm.Chunk{Text: text}, nil) {
					return
				}
			}
			yield(llm.Chunk{Finish: llm.FinishStop, Usage: &llm.Usage{InputTokens: 100, OutputTokens: 10}}, nil)
		}
	})
	for name, c := range map[string]struct {
		leave bool
		want  []string
	}{
		"to its end": {false, []string{
			"0s+2s internal invoke_workflow test reason=valid attempts=1 model=acme/one",
			"  0s+2s client chat one attempt=1 outcome=valid gen_ai.usage.input_tokens=100 gen_ai.usage.output_tokens=10",
		}},
		"left": {true, []string{
			"0s+1s internal invoke_workflow test ERROR(not retried after 1 attempt: the stream was left by its caller) reason=cancelled attempts=1 error.type=cancelled",
			"  0s+1s client chat one ERROR(the stream was left by its caller) attempt=1 outcome=failed error.type=cancelled",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				kept, p := recorded(t)
				called := client(t, llmcall.RetryConfig{Observer: otel.Observer(otel.Options{TracerProvider: p, Name: "test"})}, pieces)
				for _, err := range called.Stream(t.Context(), llm.Prompt("x")) {
					if err != nil {
						t.Error(err)
					}
					if c.leave {
						break
					}
				}
				if got := drawn(kept.GetSpans()); !slices.Equal(got, c.want) {
					t.Errorf("\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(c.want, "\n"))
				}
			})
		})
	}
}

// What a model, a tool or a check traces is below the attempt that it belongs to; a call is
// below its caller's span; and an observer that puts spans of its own above does not
// confuse this one.
func TestWhatIsBelowWhat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kept, p := recorded(t)
		tracer := p.Tracer("test")
		traced := func(ctx context.Context, name string) {
			_, span := tracer.Start(ctx, name)
			span.End()
		}
		model := llm.Func("acme/one", func(ctx context.Context, _ *llm.Request) (*llm.Response, error) {
			traced(ctx, "request")
			time.Sleep(s)
			return llm.Reply("good"), nil
		})
		check := validate.Func("check", func(ctx context.Context, _ *validate.Answer) error {
			traced(ctx, "check")
			return nil
		})
		own := func(ctx context.Context, e llmcall.Event) context.Context {
			switch e.Type {
			case llmcall.EventCallStarted, llmcall.EventAttemptStarted:
				ctx, _ = tracer.Start(ctx, "of another observer")
			}
			return ctx
		}
		var during string
		after := func(ctx context.Context, e llmcall.Event) context.Context {
			during = otel.TraceID(ctx)
			return nil
		}
		c, err := llmcall.New([]llm.Model{model}, []validate.Strategy{check}, llmcall.RetryConfig{
			Observer: llmcall.Observers(otel.Observer(otel.Options{TracerProvider: p}), own, after),
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, span := tracer.Start(t.Context(), "caller")
		if _, err := c.Do(ctx, llm.Prompt("x")); err != nil {
			t.Fatal(err)
		}
		span.End()
		names := map[trace.SpanID]string{}
		for _, span := range kept.GetSpans() {
			names[span.SpanContext.SpanID()] = span.Name
		}
		got := map[string]string{}
		for _, span := range kept.GetSpans() {
			got[span.Name] = cmp.Or(names[span.Parent.SpanID()], "an open one")
			if id := span.SpanContext.TraceID().String(); id != during || id != otel.TraceID(ctx) {
				t.Errorf("%s is in the trace %s, not in %s", span.Name, id, during)
			}
		}
		want := map[string]string{"caller": "an open one", "invoke_workflow llmcall": "caller", "chat one": "an open one", "request": "an open one", "check": "an open one"}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("got %v, want %v", got, want)
		}
	})
}

// With content switched on a span has what was asked and answered, but no key and no text
// that is longer than it may be; and otherwise it has nothing of it.
func TestContentIsOptInCutAndRedacted(t *testing.T) {
	const key = "the-key-of-this-program"
	long := "good " + strings.Repeat("long ", 200)
	for name, c := range map[string]struct {
		variable string
		content  bool
		want     bool
	}{
		"off": {}, "option": {"", true, true}, "variable": {"true", false, true}, "spans": {"SPAN_ONLY", false, true}, "events alone": {"event_only", false, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", c.variable)
			t.Setenv("ACME_API_KEY", "the-key-of-the-provider")
			kept, p := recorded(t)
			observer := otel.Observer(otel.Options{TracerProvider: p, Content: c.content, MaxContent: 80, Keys: []string{key}})
			leaky := fails(failure.Transient, "the header was Bearer abcdefghijklmnop, the key the-key-of-the-provider")
			m := plays("acme/one", leaky, says("bad sk-proj-abcdefghijklmnopqrstuvwxyz", 0), says(long, 0))
			req := &llm.Request{Messages: []llm.Message{
				llm.System("be kind"), llm.User("my question has " + key),
				{Role: llm.RoleAssistant, Parts: []llm.Part{llm.Reasoning{Data: json.RawMessage(`"thought"`)}, llm.ToolCall{ID: "1", Name: "look", Arguments: json.RawMessage(`{"token":"` + key + `"}`)}}},
				{Role: llm.RoleTool, Parts: []llm.Part{llm.ToolResult{CallID: "1", Content: "found"}}},
				{Role: llm.RoleUser, Parts: []llm.Part{llm.Text("<ok>"), llm.Image{MediaType: "image/png", Data: []byte("pixels")}, llm.Document{URL: "https://files.example/signed"}}},
			}}
			if _, err := client(t, llmcall.RetryConfig{Observer: observer, InitialDelay: time.Nanosecond}, m).Do(t.Context(), req); err != nil {
				t.Fatal(err)
			}
			all := fmt.Sprintf("%+v", kept.GetSpans())
			for _, secret := range []string{key, "the-key-of-the-provider", "abcdefghijklmnop", "thought", "pixels", "signed", strings.Repeat("long ", 20)} {
				if strings.Contains(all, secret) {
					t.Errorf("%q is in a span", secret)
				}
			}
			values := map[string]string{}
			for _, span := range kept.GetSpans() {
				for _, a := range span.Attributes {
					values[fmt.Sprintf("%v %s", span.SpanKind, a.Key)] += a.Value.String()
				}
			}
			want := map[string]string{
				"internal gen_ai.input.messages": `[{"role":"system","parts":[{"type":"text","content":"be kind"}]},` +
					`{"role":"user","parts":[{"type":"text","content":"my question has [key]"}]},` +
					`{"role":"assistant","parts":[{"type":"tool_call","id":"1","name":"look","arguments":{"token":"[key]"}}]},` +
					`{"role":"tool","parts":[{"type":"tool_call_response","id":"1","response":"found"}]},` +
					`{"role":"user","parts":[{"type":"text","content":"<ok>"},{"type":"blob","mime_type":"image/png","modality":"image","bytes":6},{"type":"uri","modality":"document"}]}]`,
				"internal gen_ai.output.messages": `[{"role":"assistant","parts":[{"type":"text","content":"good ` + strings.Repeat("long ", 9) + `lon\n… (925 characters left out) …\ng ` + strings.Repeat("long ", 5) + `"}]}]`,
				"client gen_ai.output.messages":   `[{"role":"assistant","parts":[{"type":"text","content":"bad [key]"}]}]`,
				"client llmcall.complaints":       `["is_good: \"bad [key]\" is wrong"]`,
			}
			for key, value := range want {
				if !c.want {
					value = ""
				}
				if values[key] != value {
					t.Errorf("%s: got\n%s\nwant\n%s", key, values[key], value)
				}
			}
		})
	}
}

// A conversation of any length has the last messages in a span, and says how many it left out.
func TestALongConversationIsCut(t *testing.T) {
	kept, p := recorded(t)
	req := &llm.Request{}
	for i := range 100 {
		req.Messages = append(req.Messages, llm.User(fmt.Sprintf("question %d.", i)))
	}
	observer := otel.Observer(otel.Options{TracerProvider: p, Content: true})
	if _, err := client(t, llmcall.RetryConfig{Observer: observer}, plays("acme/one", says("good", 0))).Do(t.Context(), req); err != nil {
		t.Fatal(err)
	}
	all := fmt.Sprintf("%+v", kept.GetSpans())
	for text, want := range map[string]bool{"(80 messages left out)": true, "question 79.": false, "question 80.": true, "question 99.": true} {
		if strings.Contains(all, text) != want {
			t.Errorf("%q is in the span: %v", text, !want)
		}
	}
}

// A wait of any reason has a name in a trace.
func TestReasonsOfWaits(t *testing.T) {
	kept, p := recorded(t)
	observe := otel.Observer(otel.Options{TracerProvider: p})
	ctx := observe(t.Context(), llmcall.Event{Type: llmcall.EventCallStarted, Call: 1})
	for _, reason := range []retry.WaitReason{retry.BackoffWait, retry.CircuitWait} {
		observe(ctx, llmcall.Event{Type: llmcall.EventWaiting, Wait: s, WaitReason: reason})
	}
	observe(ctx, llmcall.Event{Type: llmcall.EventCallEnded, Result: &llmcall.Result{}})
	var got []string
	for _, e := range kept.GetSpans()[0].Events {
		got = append(got, e.Attributes[0].Value.String())
	}
	if !slices.Equal(got, []string{"backoff", "circuit"}) {
		t.Errorf("%q", got)
	}
}

// Whatever a conversation is: what a span has of it is JSON, and has no key.
func TestAConversationIsJSONWithoutKeys(t *testing.T) {
	const key = "0123456789abcdef"
	text := rapid.Custom(func(t *rapid.T) string {
		return rapid.String().Draw(t, "before") + rapid.SampledFrom([]string{"", key, "\"" + key, key + "\n"}).Draw(t, "key") + rapid.String().Draw(t, "after")
	})
	rapid.Check(t, func(rt *rapid.T) {
		kept := tracetest.NewInMemoryExporter()
		p := sdktrace.NewTracerProvider(sdktrace.WithSyncer(kept))
		observe := otel.Observer(otel.Options{TracerProvider: p, Content: true, Keys: []string{key}, MaxContent: rapid.IntRange(1, 50).Draw(rt, "limit")})
		req := &llm.Request{}
		for range rapid.IntRange(0, 25).Draw(rt, "messages") {
			req.Messages = append(req.Messages, llm.Message{Role: llm.RoleUser, Parts: []llm.Part{
				llm.Text(text.Draw(rt, "text")), llm.ToolCall{Name: text.Draw(rt, "name"), Arguments: json.RawMessage(text.Draw(rt, "arguments"))},
			}})
		}
		ctx := observe(context.Background(), llmcall.Event{Type: llmcall.EventCallStarted, Request: req})
		observe(ctx, llmcall.Event{Type: llmcall.EventCallEnded, Result: &llmcall.Result{}})
		for _, a := range kept.GetSpans()[0].Attributes {
			if a.Key != "gen_ai.input.messages" {
				continue
			}
			if got := a.Value.AsString(); !json.Valid([]byte(got)) || strings.Contains(got, key) {
				rt.Errorf("%s", got)
			}
		}
	})
}
