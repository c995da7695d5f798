package providertest

import (
	"encoding/json"
	"errors"
	"net/http"
	"reflect"
	"strings"
	"testing"

	"llmcall/failure"
	"llmcall/llm"
)

// Loose has what an adapter's provider, and the servers and gateways that imitate it,
// send in other forms than its own. See [Adapter.Loose].
type Loose struct {
	Stop string                   // the reason to stop in Hello and End, in quotes
	Says func(text string) string // a whole answer of one text
	// Call is a whole answer that calls f with {"a":1}, and CallEvents the events of
	// the same; both have the reason to stop of Stop.
	Call, CallEvents string
	// Shapes are answers that say "Hello" and stopped, in an unusual form: whole ones,
	// and streams of the text/event-stream form.
	Shapes map[string]string
	// Billed are bodies and events of answers that can't be used, with their usage.
	Billed map[string]llm.Usage
}

// answerTolerances are those of answers, whole and streamed.
var answerTolerances = []Tolerance{
	{Of: "a reason to stop of another dialect", Does: "is read as its own; an unknown word is kept, and does not spoil a whole answer", Holds: reasonsOfOtherDialects},
	{Of: "whole tool calls with another reason to stop", Does: "are tool calls", Holds: reasonsWithCalls},
	{Of: "thoughts in tags at the beginning of the text", Does: "become reasoning, and are not part of the answer, also where the tag at their end is the only one", Holds: thoughtsInTheText},
	{Of: "a stream framed in another way", Does: "is read: single line breaks, stray lines, [DONE] missing, doubled or in the wrong place, a stream nobody asked for", Holds: framing},
	{Of: "an answer in another shape", Does: "is read: a list of parts, text in the message or in the last event, whole answers as events, arguments in a text", Holds: otherShapes},
	{Of: "an error in a success", Does: "is the error that it is, in every form", Holds: errorsInEveryForm},
	{Of: "an answer that can't be used", Does: "keeps its usage, which was billed", Holds: usageOfFailures},
	{Of: "output that the provider refuses as the model's fault", Does: "is an invalid answer, which is fed back", Holds: outputRefused},
}

// ask makes a call, by Complete if the body is to be a whole answer, else by Stream.
func (a Adapter) ask(t *testing.T, body string, whole bool) (*llm.Response, error) {
	t.Helper()
	if whole {
		return a.answeredBy(t, a.reply(200, body)).Complete(t.Context(), prompt)
	}
	return Streamed(t, t.Context(), a.answeredBy(t, a.events(body)), prompt)
}

// both makes a call to a server with a whole answer, and one to a server with a
// stream.
func (a Adapter) both(t *testing.T, body, events string, holds func(where string, got *llm.Response, err error)) {
	t.Helper()
	got, err := a.ask(t, body, true)
	holds("whole", got, err)
	got, err = a.ask(t, events, false)
	holds("streamed", got, err)
}

func reasonsOfOtherDialects(t *testing.T, a Adapter) {
	for reason, want := range map[string]llm.Finish{
		"stop": llm.FinishStop, "Stop": llm.FinishStop, "STOP": llm.FinishStop, "end_turn": llm.FinishStop, "stop_sequence": llm.FinishStop,
		"eos": llm.FinishStop, "eos_token": llm.FinishStop, "<|eot_id|>": llm.FinishStop, "</s>": llm.FinishStop,
		"complete": llm.FinishStop, "COMPLETE": llm.FinishStop, "completed": llm.FinishStop, "finish": llm.FinishStop,
		"length": llm.FinishLength, "max_tokens": llm.FinishLength, "MAX_TOKENS": llm.FinishLength, "model_length": llm.FinishLength,
		"a new one": "a new one",
	} {
		renamed := strings.NewReplacer(a.Loose.Stop, `"`+reason+`"`)
		a.both(t, renamed.Replace(a.Hello), renamed.Replace(a.hello()), func(where string, got *llm.Response, err error) {
			if err != nil || got.Finish != want || got.Finish.Known() == (want == "a new one") || !strings.HasPrefix(got.Text(), "Hello") {
				t.Errorf("%s, %s: got %+v, %v, want %q", reason, where, got, err, want)
			}
		})
	}
	for _, reason := range []string{"content_filter", "refusal", "SAFETY"} {
		renamed := strings.NewReplacer(a.Loose.Stop, `"`+reason+`"`)
		a.both(t, renamed.Replace(a.Hello), renamed.Replace(a.hello()), func(where string, got *llm.Response, err error) {
			if failure.KindOf(err) != failure.ContentFiltered {
				t.Errorf("%s, %s: got %+v, %v", reason, where, got, err)
			}
		})
	}
}

func reasonsWithCalls(t *testing.T, a Adapter) {
	for _, reason := range []string{"stop", "STOP", "end_turn", "tool_use", "tool_calls", "function_call", "FUNCTION_CALL", "function_calls", "TOOL_CALL", "eos_token", "a new one"} {
		renamed := strings.NewReplacer(a.Loose.Stop, `"`+reason+`"`)
		a.both(t, renamed.Replace(a.Loose.Call), renamed.Replace(a.Loose.CallEvents), func(where string, got *llm.Response, err error) {
			if err != nil || got.Finish != llm.FinishToolCall {
				t.Errorf("%s, %s: got %+v, %v", reason, where, got, err)
				return
			}
			calls := got.Message.ToolCalls()
			if len(calls) != 1 || calls[0].Name != "f" || string(calls[0].Arguments) != `{"a":1}` || calls[0].ID == "" {
				t.Errorf("%s, %s: got %+v", reason, where, calls)
			}
		})
	}
}

// thinking returns what an answer thought in its text.
func thinking(answer *llm.Response) string {
	said := ""
	for _, p := range answer.Message.Parts {
		var data struct{ Thinking string }
		if r, ok := p.(llm.Reasoning); ok && json.Unmarshal(r.Data, &data) == nil {
			said += data.Thinking
		}
	}
	return said
}

func thoughtsInTheText(t *testing.T, a Adapter) {
	for _, step := range []struct {
		says, text, thought string
		closedAlone         bool // see closedAloneInAStream
	}{
		{"<think>Hm, [a].</think>\n\nHello", "Hello", "Hm, [a].", false},
		{"\n<think>\nHm.\n</think>\n{\"a\": 1}", `{"a": 1}`, "Hm.", false},
		{"<thinking>Hm.</thinking>Hello", "Hello", "Hm.", false},
		{"<think>\n\n</think>\n\nHello", "Hello", "", false},
		{"<think>a</think><think>b</think>Hello", "Hello", "ab", false},
		{"[THINK]Hm.[/THINK]Hello", "Hello", "Hm.", false},
		{"Hm. So:\n</think>\n\nHello", "Hello", "Hm. So:", true},
		{`Hm.</think>{"a": 1}`, `{"a": 1}`, "Hm.", true},
		{"\n</think>\n\nHello", "Hello", "", false},

		{"Hello <think>x</think>", "Hello <think>x</think>", "", false},
		{"Use <think>\n</think>\nfor it.", "Use <think>\n</think>\nfor it.", "", false},
		{"The tag </think> ends it.", "The tag </think> ends it.", "", false},
		{"{\"a\": \"\n</think>\n\"}", "{\"a\": \"\n</think>\n\"}", "", false},
		{"<think> is a tag.", "<think> is a tag.", "", false},
		{"<b>Hello</b>", "<b>Hello</b>", "", false},
		{"<", "<", "", false},
		{"  Hello", "  Hello", "", false},
	} {
		for _, size := range []int{0, 1, 2, 3, 7, 1000} {
			if step.closedAlone && size > 0 {
				closedAloneInAStream(t, a, a.inPieces(step.says, size), step.text, step.thought)
				continue
			}
			body := a.Loose.Says(step.says)
			if size > 0 {
				body = a.inPieces(step.says, size)
			}
			got, err := a.ask(t, body, size == 0)
			if err != nil || got.Text() != step.text || thinking(got) != step.thought || got.Finish != llm.FinishStop {
				t.Errorf("%q in pieces of %d: got %+v, %v", step.says, size, got, err)
			}
		}
	}
	got, err := a.ask(t, a.Begin+a.Text("<think>Hm"), false)
	if err != nil || got.Text() != "" || thinking(got) != "Hm" {
		t.Errorf("cut off: got %+v, %v", got, err)
	}
}

// inPieces returns a stream of a text in pieces of so many characters.
func (a Adapter) inPieces(text string, size int) string {
	events := a.Begin
	for rest := []rune(text); len(rest) > 0; rest = rest[min(size, len(rest)):] {
		events += a.Text(string(rest[:min(size, len(rest))]))
	}
	return events + a.End
}

// closedAloneInAStream asks for a stream of thoughts that only a tag at their end tells
// from the answer. They are never a part of it: the first stream of a model fails when
// the tag comes, because its text has been yielded; the next ones are held back until
// then. So is the first one, if its answer is to be JSON or the model's name says that
// it thinks.
func closedAloneInAStream(t *testing.T, a Adapter, body, text, thought string) {
	t.Helper()
	right := func(answer *llm.Response) bool {
		return answer.Text() == text && thinking(answer) == thought && answer.Finish == llm.FinishStop
	}
	m := a.answeredBy(t, a.events(body))
	if got, err := Streamed(t, t.Context(), m, prompt); failure.KindOf(err) != failure.InvalidAnswer && (err != nil || !right(got)) || err != nil && got.Finish != llm.FinishNone {
		t.Errorf("%s: got %+v, %v", body, got, err)
	}
	if got, err := Streamed(t, t.Context(), m, prompt); err != nil || !right(got) {
		t.Errorf("%s again: got %+v, %v", body, got, err)
	}
	structured := *prompt
	structured.Schema = &llm.Schema{Name: "a", JSON: json.RawMessage(`{"type":"object"}`)}
	if got, err := Streamed(t, t.Context(), a.answeredBy(t, a.events(body)), &structured); err != nil || !right(got) {
		t.Errorf("%s with a schema: got %+v, %v", body, got, err)
	}
	a.Model = "qwen3-30b-a3b-thinking-2507"
	if got, err := Streamed(t, t.Context(), a.answeredBy(t, a.events(body)), prompt); err != nil || !right(got) {
		t.Errorf("%s of a model that thinks: got %+v, %v", body, got, err)
	}
}

func framing(t *testing.T, a Adapter) {
	const done = "data: [DONE]\n\n"
	events := strings.ReplaceAll(strings.ReplaceAll(a.hello(), "\r", ""), done, "")
	var list, lines []string
	for line := range strings.Lines(events) {
		if data, ok := strings.CutPrefix(line, "data:"); ok {
			lines = append(lines, strings.TrimSpace(data))
			list = append(list, strings.TrimSpace(data))
		}
	}
	for name, body := range map[string]string{
		"no [DONE]":                  events,
		"[DONE] at the end":          events + done,
		"[DONE] twice":               events + done + done,
		"[DONE] first":               done + events,
		"[DONE] everywhere":          done + strings.ReplaceAll(events, "\n\n", "\n\n"+done),
		"single line breaks":         strings.ReplaceAll(events, "\n\n", "\n"),
		"single line breaks of DOS":  strings.ReplaceAll(strings.ReplaceAll(events, "\n\n", "\n"), "\n", "\r\n"),
		"single, with [DONE]":        strings.ReplaceAll(events+done, "\n\n", "\n"),
		"stray lines":                "hello\n\n" + strings.ReplaceAll(events, "\n\n", "\n\n%PDF-1.4 \x00\xff\n\n"),
		"no line break at the end":   strings.TrimRight(events, "\n"),
		"a mark of byte order":       "\ufeff" + events,
		"a list of the events' data": "[" + strings.Join(list, ",\n") + "]",
		"the events' data in lines":  strings.Join(lines, "\n"),
	} {
		for _, whole := range []bool{false, true} { // a stream that nobody asked for too
			got, err := a.ask(t, body, whole)
			if err != nil || got.Text() != "Hello" || got.Finish != llm.FinishStop || len(got.Message.Parts) != 1 {
				t.Errorf("%s, whole: %v: got %+v, %v", name, whole, got, err)
			}
		}
	}
	if got, err := a.ask(t, a.Begin+a.Text("half"), true); err != nil || got.Text() != "half" || got.Finish != llm.FinishNone {
		t.Errorf("half a stream that nobody asked for: got %+v, %v", got, err)
	}
}

func otherShapes(t *testing.T, a Adapter) {
	for name, body := range a.Loose.Shapes {
		for _, whole := range []bool{false, true} {
			got, err := a.ask(t, body, whole)
			if err != nil || got.Text() != "Hello" || got.Finish != llm.FinishStop {
				t.Errorf("%s, whole: %v: got %+v, %v", name, whole, got, err)
			}
		}
	}
	inText := strings.NewReplacer(`:{"a":1}`, `:"{\"a\":1}"`, `:"{\"a\":1}"`, `:"\"{\\\"a\\\":1}\""`)
	a.both(t, inText.Replace(a.Loose.Call), inText.Replace(a.Loose.CallEvents), func(where string, got *llm.Response, err error) {
		if err != nil || len(got.Message.ToolCalls()) != 1 || string(got.Message.ToolCalls()[0].Arguments) != `{"a":1}` {
			t.Errorf("arguments in a text, %s: got %+v, %v", where, got, err)
		}
	})
	got, err := a.ask(t, "data: "+strings.Join(strings.Fields(a.Hello), " ")+"\n\n", false)
	if want := a.answer(); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("a whole answer as an event: got %+v, %v, want %+v", got, err, want)
	}
}

// tooLong is how a server says that the context is too long.
const tooLong = "This model's maximum context length is 4096 tokens. However, you requested 5000 tokens."

func errorsInEveryForm(t *testing.T, a Adapter) {
	for name, text := range map[string]string{
		"object":         `{"object":"error","message":"` + tooLong + `","type":"BadRequestError","param":null,"code":400}`,
		"details":        `{"error":{"details":"` + tooLong + `"}}`,
		"detail":         `{"error":{"detail":"` + tooLong + `"}}`,
		"msg":            `{"error":{"msg":"` + tooLong + `"}}`,
		"text":           `{"error":"` + tooLong + `"}`,
		"errors":         `{"success":false,"errors":[{"code":7,"message":"` + tooLong + `"}]}`,
		"a flag":         `{"error":true,"message":"` + tooLong + `"}`,
		"status":         `{"status":"error","message":"` + tooLong + `"}`,
		"lines":          "{\n\"error\": {\n\"message\": \"" + tooLong + "\"}}",
		"lines, at top":  "{\n\"object\": \"error\",\n\"message\": \"" + tooLong + "\"}",
		"Anthropic's":    `{"type":"error","error":{"type":"invalid_request_error","message":"` + tooLong + `"}}`,
		"Gemini's":       `{"error":{"code":400,"status":"INVALID_ARGUMENT","message":"` + tooLong + `"}}`,
		"the Responses'": `{"type":"error","code":"context_length_exceeded","message":"` + tooLong + `"}`,
	} {
		got := a.failed(t, a.answeredBy(t, a.reply(200, text)), t.Context())
		if got.Kind != failure.ContextTooLong || got.Message != tooLong {
			t.Errorf("%s: got %#v", name, got)
		}
		frames := []string{text + "\n\n", text}
		if !strings.Contains(text, "\n") {
			frames = append(frames, "data: "+text+"\n\n", "event: error\ndata: "+text+"\n\n", "error: "+text+"\n\n")
		}
		for _, frame := range frames {
			response, err := a.ask(t, a.Begin+a.Text("half")+frame, false)
			if e := a.checked(t, err); e.Kind != failure.ContextTooLong || e.Message != tooLong || response.Finish != llm.FinishNone {
				t.Errorf("%s, %q in a stream: got %#v", name, frame, e)
			}
		}
	}
	for _, text := range []string{`{"code":"InvalidParameter","message":"` + tooLong + `"}`, `{"msg":"` + tooLong + `"}`, `{"detail":"` + tooLong + `"}`} {
		if _, err := a.ask(t, "data: "+text+"\n\n", false); failure.KindOf(err) != failure.ContextTooLong {
			t.Errorf("%s as the only event: got %v", text, err)
		}
	}
	_, err := a.ask(t, a.Begin+a.Text("half")+"error: "+tooLong+"\n\n", false)
	if got := failure.KindOf(err); got != failure.ContextTooLong && got != failure.Transient {
		t.Errorf("a text: got %v", err)
	}
	got := a.failedWhole(t, a.answeredBy(t, a.reply(200, `{"detail":"`+tooLong+`"}`)), t.Context())
	if got.Kind != failure.ContextTooLong {
		t.Errorf("a detail alone: got %#v", got)
	}
}

func usageOfFailures(t *testing.T, a Adapter) {
	if len(a.Loose.Billed) == 0 {
		t.Error("no case")
	}
	for body, want := range a.Loose.Billed {
		got, err := a.ask(t, body, strings.HasPrefix(body, "{"))
		if _, ok := errors.AsType[*failure.Error](err); !ok || got == nil || got.Usage != want || got.Text() != "" && strings.HasPrefix(body, "{") {
			t.Errorf("%s: got %+v, %v", body, got, err)
		}
	}
}

func outputRefused(t *testing.T, a Adapter) {
	for _, code := range []string{"json_validate_failed", "tool_use_failed"} {
		body := `{"error":{"message":"Failed to generate JSON.","type":"invalid_request_error","code":"` + code + `","failed_generation":"{\"a\": ` + Key + `"}}`
		got := a.failed(t, a.answeredBy(t, a.reply(http.StatusBadRequest, body)), t.Context())
		if got.Kind != failure.InvalidAnswer || got.Code != code || got.Written != `{"a": [key]` {
			t.Errorf("got %#v", got)
		}
		_, err := a.ask(t, a.Begin+"data: "+body+"\n\n", false)
		if e, ok := errors.AsType[*failure.Error](err); !ok || e.Kind != failure.InvalidAnswer || e.Written != `{"a": [key]` {
			t.Errorf("in a stream: got %#v", err)
		}
	}
	for _, reason := range []string{"MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL", "TOO_MANY_TOOL_CALLS", "function_call_filter: MALFORMED_FUNCTION_CALL"} {
		renamed := strings.NewReplacer(a.Loose.Stop, `"`+reason+`"`)
		a.both(t, renamed.Replace(a.Hello), renamed.Replace(a.hello()), func(where string, got *llm.Response, err error) {
			if e, ok := errors.AsType[*failure.Error](err); !ok || e.Kind != failure.InvalidAnswer || e.Code != reason || e.Written == "" {
				t.Errorf("%s, %s: got %+v, %#v", reason, where, got, err)
			}
		})
	}
}
