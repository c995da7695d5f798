package llmcall_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"unicode/utf8"

	"llmcall"
	"llmcall/failure"
	"llmcall/llm"
	"llmcall/validate"
)

// complains is a check that finds these complaints in every answer but "good".
func complains(all ...validate.Complaint) validate.Strategy {
	return validate.Func("picky", func(_ context.Context, a *validate.Answer) error {
		if a.Text == "good" {
			return nil
		}
		return validate.Complaints(all)
	})
}

func TestWhatTwoChecksSayInTheSameWordsIsSaidOnce(t *testing.T) {
	m := play(t, say("first"), say("good"))
	checks := []validate.Strategy{
		complains(validate.Complaint{Problem: "a comma too many", Line: 1}, validate.Complaint{Problem: "a comma too many", Line: 2}),
		complains(validate.Complaint{Problem: "a comma too many", Line: 1}),
	}
	r, err := llmcall.RetryWithValidation(t.Context(), m, llm.Prompt("x"), checks, llmcall.RetryConfig{})
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Attempts[0].Complaints) != 3 {
		t.Errorf("the trace has all of them: %v", r.Attempts[0].Complaints)
	}
	said := m.asked[1].Messages
	if text := said[len(said)-1].Text(); strings.Count(text, "Line 1: a comma too many") != 1 || !strings.Contains(text, "2. Line 2") || strings.Contains(text, "3. ") {
		t.Errorf("%s", text)
	}
}

func TestFeedbackIsTheFailedAnswerAndWhatIsWrongWithIt(t *testing.T) {
	m := play(t, say("first"), say("second"))
	checks := []validate.Strategy{
		complains(
			validate.Complaint{Pointer: "/city/zip", Problem: "it must be a number", Suggestion: "write 12345"},
			validate.Complaint{Line: 2, Column: 7, Problem: "a comma too many", Suggestion: "leave it out"},
			validate.Complaint{Line: 3, Problem: "an odd line"},
		),
		isGood,
	}
	req := &llm.Request{Messages: []llm.Message{
		llm.System("You are brief."), llm.User("Hello"), llm.Assistant("Hi"), llm.User("Name a city"),
	}}
	if _, err := llmcall.RetryWithValidation(t.Context(), m, req, checks, llmcall.RetryConfig{MaxAttempts: 4}); err != nil {
		t.Fatal(err)
	}
	base := `system: "You are brief."
user: "Hello"
assistant: "Hi"
user: "Name a city"
`
	feedback := func(answer string) string {
		return fmt.Sprintf(`1. At /city/zip: it must be a number
Fix: write 12345
2. Line 2, column 7: a comma too many
Fix: leave it out
3. Line 3: an odd line
4. %q is not good
Fix: say good

Try again.`, answer)
	}
	for i, want := range []string{
		base,
		base + "assistant: \"first\"\n" + fmt.Sprintf("user: %q\n", feedback("first")),
		base + "assistant: \"second\"\n" + fmt.Sprintf("user: %q\n", feedback("second")),
	} {
		if got := talk(m.asked[i].Messages); got != want {
			t.Errorf("attempt %d sent\n%s\nwant\n%s", i+1, got, want)
		}
	}
}

// It is paid for with every attempt: no word of it is for people alone.
func TestFeedbackIsShort(t *testing.T) {
	for name, c := range map[string]struct {
		answer    string
		complaint validate.Complaint
		want      string
	}{
		"one complaint has no number":    {"bad", validate.Complaint{Problem: "it is bad", Suggestion: "say good"}, "it is bad\nFix: say good"},
		"nothing to suggest":             {"bad", validate.Complaint{Problem: "it is bad"}, "it is bad"},
		"a place in JSON":                {"{}", validate.Complaint{Problem: "it is missing", Pointer: "/a"}, "At /a: it is missing"},
		"a line":                         {"a\nb", validate.Complaint{Problem: "it is odd", Line: 1, Column: 2}, "Line 1, column 2: it is odd"},
		"the beginning":                  {"a\nb", validate.Complaint{Problem: "it is odd", Line: 1, Column: 1}, "it is odd"},
		"an answer of one line":          {"ab\n", validate.Complaint{Problem: "it is odd", Line: 1, Column: 2}, "Column 2: it is odd"},
		"the same, and a place in JSON":  {"ab", validate.Complaint{Problem: "it is odd", Line: 1, Column: 2, Pointer: "/a"}, "At /a: Column 2: it is odd"},
		"the same, without a column":     {"ab", validate.Complaint{Problem: "it is odd", Line: 1}, "Line 1: it is odd"},
		"a line that the text has not":   {"ab", validate.Complaint{Problem: "it is odd", Line: 2, Column: 1}, "Line 2, column 1: it is odd"},
		"a place in JSON, the beginning": {"ab", validate.Complaint{Problem: "it is odd", Line: 1, Column: 1, Pointer: "/a"}, "At /a: it is odd"},
	} {
		m := play(t, say(c.answer))
		if _, err := llmcall.RetryWithValidation(t.Context(), m, llm.Prompt("x"), []validate.Strategy{complains(c.complaint)}, exact(llmcall.RetryConfig{})); err != nil {
			t.Fatal(err)
		}
		if got := m.last().Messages[2].Text(); got != c.want+"\n\nTry again." {
			t.Errorf("%s: %q", name, got)
		}
	}
}

// A limit is waited for, and uses up none of the attempts that the feedback
// counts.
func TestFeedbackCountsTheAttemptsThatCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := play(t, append(times(5, told(failure.RateLimited, s)), say("a"))...)
		cfg := llmcall.RetryConfig{Feedback: func(f *llmcall.Feedback) (string, error) { return fmt.Sprint(f.Attempt, " of ", f.MaxAttempts), nil }}
		if _, err := llmcall.RetryWithValidation(t.Context(), m, llm.Prompt("x"), checked, exact(cfg)); err != nil {
			t.Fatal(err)
		}
		if got := talk(m.last().Messages); !strings.Contains(got, `"1 of 3"`) {
			t.Errorf("the feedback says\n%s", got)
		}
	})
}

func TestAFailureOfTheProviderKeepsTheConversation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := play(t, down, say("a"), down, down, say("b"))
		if _, err := llmcall.RetryWithValidation(t.Context(), m, llm.Prompt("x"), checked, exact(llmcall.RetryConfig{MaxAttempts: 9})); err != nil {
			t.Fatal(err)
		}
		var sent []string
		for _, r := range m.asked {
			sent = append(sent, talk(r.Messages))
		}
		if sent[1] != sent[0] || sent[3] != sent[2] || sent[4] != sent[2] || sent[2] == sent[0] || sent[5] == sent[4] {
			t.Errorf("sent\n%s", strings.Join(sent, "---\n"))
		}
	})
}

// turnsAlternate reports whether a conversation is one that every provider takes:
// after the system's turn the user's and the assistant's in turns, each call of a
// tool answered at once, no turn empty.
func turnsAlternate(messages []llm.Message) error {
	for i, m := range messages {
		if len(m.Parts) == 0 {
			return fmt.Errorf("turn %d is empty", i)
		}
		var before llm.Message
		if i > 0 {
			before = messages[i-1]
		}
		legal := map[llm.Role][]llm.Role{
			llm.RoleSystem: {""}, llm.RoleUser: {"", llm.RoleSystem, llm.RoleAssistant, llm.RoleTool},
			llm.RoleAssistant: {llm.RoleUser, llm.RoleTool}, llm.RoleTool: {llm.RoleAssistant},
		}
		if !slices.Contains(legal[m.Role], before.Role) {
			return fmt.Errorf("turn %d: %s after %s", i, m.Role, before.Role)
		}
		var open, answered []string
		for _, c := range before.ToolCalls() {
			open = append(open, c.ID)
		}
		for _, p := range m.Parts {
			if r, ok := p.(llm.ToolResult); ok {
				answered = append(answered, r.CallID)
			}
		}
		if !slices.Equal(open, answered) {
			return fmt.Errorf("turn %d answers the calls %v with %v", i, open, answered)
		}
	}
	return nil
}

func TestToolCallsOfAFailedAnswerAreAnswered(t *testing.T) {
	search, weather := calls("1", "search", `{"q":"Rome"}`), calls("2", "weather", `{}`)
	m := play(t,
		wants(llm.Text("let me see"), search, weather), wants(search), finish(llm.FinishStop, ""), answers(&llm.Response{Finish: llm.FinishStop}),
	)
	if _, err := llmcall.RetryWithValidation(t.Context(), m, llm.Prompt("x"), checked, llmcall.RetryConfig{MaxAttempts: 9}); err != nil {
		t.Fatal(err)
	}
	refused := `result(%s "not carried out: the answer did not pass its checks" error=true)`
	for i, want := range []string{
		`assistant: "let me see" call(1 search {"q":"Rome"}) call(2 weather {})` + "\ntool: " + fmt.Sprintf(refused, "1") + " " + fmt.Sprintf(refused, "2"),
		`assistant: call(1 search {"q":"Rome"})` + "\ntool: " + fmt.Sprintf(refused, "1"),
		`assistant: "(no text)"`,
		`assistant: "(no text)"`,
	} {
		sent := m.asked[i+1].Messages
		if got := talk(sent); !strings.Contains(got, want+"\nuser:") {
			t.Errorf("after answer %d:\n%s\nwant\n%s", i+1, got, want)
		}
		if err := turnsAlternate(sent); err != nil {
			t.Errorf("after answer %d: %v", i+1, err)
		}
	}
}

func TestFeedbackHasTheRequestsTextAlone(t *testing.T) {
	picture := []byte("PNGPNGPNGPNG")
	req := &llm.Request{Messages: []llm.Message{{Role: llm.RoleUser, Parts: []llm.Part{
		llm.Text("What is this?"), llm.Image{MediaType: "image/png", Data: picture}, llm.Text("Be exact."),
		llm.Document{MediaType: "application/pdf", Data: []byte("%PDF-1.7"), Name: "secret.pdf"}, llm.Audio{MediaType: "audio/wav", Data: []byte("RIFF")},
	}}}}
	m := play(t, say("a"))
	cfg := llmcall.RetryConfig{Feedback: func(f *llmcall.Feedback) (string, error) { return f.Request, nil }}
	if _, err := llmcall.RetryWithValidation(t.Context(), m, req, checked, cfg); err != nil {
		t.Fatal(err)
	}
	sent := m.last().Messages
	if text := sent[2].Text(); text != "What is this?\nBe exact." {
		t.Errorf("the feedback has the request\n%s", text)
	}
	if image, ok := sent[0].Parts[1].(llm.Image); !ok || string(image.Data) != string(picture) {
		t.Errorf("the picture was not sent again: %s", talk(sent))
	}
	if !reflect.DeepEqual(sent[0], req.Messages[0]) {
		t.Errorf("a part was not sent again: %s", talk(sent))
	}
}

func TestConversationDoesNotGrowWithTheAttempts(t *testing.T) {
	for _, c := range []struct {
		name   string
		answer func(n int) *llm.Response
	}{
		{"short answers", func(n int) *llm.Response { return llm.Reply(fmt.Sprint(n)) }},
		{"answers of a megabyte", func(n int) *llm.Response { return llm.Reply(strings.Repeat(string(rune('a'+n%26)), 1<<20)) }},
		{"answers of many parts", func(n int) *llm.Response {
			r := llm.Reply("")
			r.Message.Parts = slices.Repeat([]llm.Part{llm.Text(fmt.Sprintf("%0100d", n))}, 10_000)
			return r
		}},
		{"a call of a tool with huge arguments", func(n int) *llm.Response {
			r := llm.Reply("")
			r.Message.Parts = []llm.Part{calls("1", "search", `{"q":"`+strings.Repeat("x", 1<<20)+`"}`)}
			return r
		}},
		{"very many calls of a tool", func(n int) *llm.Response {
			r := llm.Reply("")
			r.Message.Parts = slices.Repeat([]llm.Part{calls("", "", "")}, 10_000)
			return r
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			picky := validate.Func("picky", func(_ context.Context, a *validate.Answer) error {
				huge := strings.Repeat(fmt.Sprint(a.Attempt), 50_000)
				return validate.Complaints(slices.Repeat([]validate.Complaint{{Pointer: "/" + huge, Problem: huge, Suggestion: huge}}, 500))
			})
			n := 0
			most := 0
			m := llm.Func(t.Name(), func(_ context.Context, req *llm.Request) (*llm.Response, error) {
				n++
				most = max(most, len(talk(req.Messages)))
				if err := turnsAlternate(req.Messages); err != nil {
					t.Error(err)
				}
				return c.answer(n), nil
			})
			prompt := strings.Repeat("p", 10_000)
			_, err := llmcall.RetryWithValidation(t.Context(), m, llm.Prompt(prompt), []validate.Strategy{picky}, llmcall.RetryConfig{MaxAttempts: 8})
			if err == nil || n != 8 {
				t.Fatalf("%d attempts: %v", n, err)
			}
			if most > 100_000 {
				t.Errorf("%d bytes went out", most)
			}
			if len(err.Error()) > 100_000 {
				t.Errorf("the error has %d bytes", len(err.Error()))
			}
		})
	}
}

// full is a request with everything in it.
func full() *llm.Request {
	messages := make([]llm.Message, 0, 10) // room in which a careless append would write
	messages = append(messages,
		llm.System("system"), llm.User("hello"),
		llm.Message{Role: llm.RoleAssistant, Parts: []llm.Part{calls("0", "search", `{"q":1}`)}},
		llm.Message{Role: llm.RoleTool, Parts: []llm.Part{llm.ToolResult{CallID: "0", Content: "found"}}},
		llm.Message{Role: llm.RoleUser, Parts: append(make([]llm.Part, 0, 5), llm.Text("text"), llm.Image{MediaType: "image/png", Data: append(make([]byte, 0, 20), "picture"...)})},
		llm.Message{Role: llm.RoleUser, Parts: []llm.Part{llm.Document{Data: append(make([]byte, 0, 20), "document"...)}, llm.Audio{Data: append(make([]byte, 0, 20), "recording"...)}}},
	)
	tools := append(make([]llm.Tool, 0, 5), llm.Tool{Name: "search", Parameters: []byte(`{"type":"object"}`)})
	return &llm.Request{
		Messages: messages, Tools: tools, Schema: &llm.Schema{Name: "answer", JSON: []byte(`{"a":1}`)}, MaxTokens: 10,
		Temperature: new(0.5), Stop: append(make([]string, 0, 3), "stop"), Seed: new(int64(7)),
		Extra: map[string]any{
			"reasoning": map[string]any{"effort": "low", "of": []any{map[string]any{"n": 1}, nil}}, "metadata": map[string]string{"user": "a"},
			"raw": json.RawMessage(`{"a":1}`), "bytes": []byte("bytes"), "lists": [][]int{{1}, nil}, "none": nil, "empty": map[string]any(nil), "n": 7,
		},
	}
}

// spoil changes all that it can reach of a request.
func spoil(r *llm.Request) {
	for i := range r.Messages {
		for j, part := range r.Messages[i].Parts {
			switch p := part.(type) {
			case llm.Image:
				_ = append(p.Data, 'X')
			case llm.Document:
				_ = append(p.Data, 'X')
			case llm.Audio:
				_ = append(p.Data, 'X')
			case llm.ToolCall:
				copy(p.Arguments, "XXXXXXX")
			}
			r.Messages[i].Parts[j] = llm.Text("spoiled")
		}
		_ = append(r.Messages[i].Parts, llm.Text("spoiled"))
		r.Messages[i] = llm.User("spoiled")
	}
	_ = append(r.Messages, llm.User("spoiled"))
	for i := range r.Tools {
		copy(r.Tools[i].Parameters, "XXXXXXX")
		r.Tools[i].Name = "spoiled"
	}
	_ = append(r.Tools, llm.Tool{Name: "spoiled"})
	copy(r.Schema.JSON, "XXXXXXX")
	r.Schema.Name = "spoiled"
	*r.Temperature, *r.Seed, r.Stop[0], r.MaxTokens = 9, 9, "spoiled", 9
	reasoning := r.Extra["reasoning"].(map[string]any)
	reasoning["of"].([]any)[0].(map[string]any)["n"] = "spoiled"
	reasoning["of"].([]any)[1] = "spoiled"
	reasoning["effort"] = "spoiled"
	r.Extra["metadata"].(map[string]string)["user"] = "spoiled"
	copy(r.Extra["raw"].(json.RawMessage), "XXXXXXX")
	copy(r.Extra["bytes"].([]byte), "XXXXXXX")
	r.Extra["lists"].([][]int)[0][0] = 9
	clear(r.Extra)
}

func TestAModelThatSpoilsItsRequestHarmsNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tool := &llmcall.Tool{Tool: llm.Tool{Name: "lookup", Parameters: []byte(`{"type":"object"}`)}, Run: func(_ context.Context, arguments json.RawMessage) (string, error) {
			copy(arguments, "XXXXXXX")
			return "found", nil
		}}
		cfg := exact(llmcall.RetryConfig{MaxAttempts: 6, MaxAttemptsBeforeToolUse: 2, Tool: tool})
		steps := func(spoils bool) []step {
			all := []step{say("a"), down, say("b"), wants(calls("1", "lookup", `{"x":1}`)), finish(llm.FinishLength, "c")}
			if !spoils {
				return all
			}
			for i, st := range all {
				all[i] = func(ctx context.Context, r *llm.Request) (*llm.Response, error) {
					spoil(r)
					return st(ctx, r)
				}
			}
			return all
		}
		req := full()
		honest, spoiler := play(t, steps(false)...), play(t, steps(true)...)
		_, err := llmcall.RetryWithValidation(t.Context(), honest, full(), checked, cfg)
		_, spoiled := llmcall.RetryWithValidation(t.Context(), spoiler, req, checked, cfg)
		if err != nil || spoiled != nil {
			t.Fatal(err, spoiled)
		}
		if !reflect.DeepEqual(req, full()) {
			t.Errorf("the caller's request is now %s", talk(req.Messages))
		}
		if extra := req.Messages[:cap(req.Messages)][len(req.Messages)]; extra.Role != "" {
			t.Errorf("the caller's slice was written to: %v", extra)
		}
		if sent := talk(honest.asked[4].Messages); !strings.Contains(sent, `call(1 lookup {"x":1})`) {
			t.Errorf("the tool changed what the model had said:\n%s", sent)
		}
		if string(tool.Parameters) != `{"type":"object"}` || tool.Name != "lookup" {
			t.Errorf("the tool is now %v", tool.Tool)
		}
		last := len(honest.asked) - 1
		if len(spoiler.asked) != last+1 || !reflect.DeepEqual(honest.asked[last], spoiler.asked[last]) {
			t.Errorf("what was sent last is not what it would have been:\n%s\nwant\n%s", talk(spoiler.asked[last].Messages), talk(honest.asked[last].Messages))
		}
	})
}

// Calls of one request may run at the same time, and a model may go on reading
// what it got. The race detector watches.
func TestRequestsMayBeSharedAndKept(t *testing.T) {
	req := full()
	var wait sync.WaitGroup
	for range 8 {
		wait.Go(func() {
			m := play(t, say("a"), say("b"))
			for i, st := range m.steps {
				m.steps[i] = func(ctx context.Context, r *llm.Request) (*llm.Response, error) {
					wait.Go(func() { _ = talk(r.Messages) })
					return st(ctx, r)
				}
			}
			if _, err := llmcall.RetryWithValidation(t.Context(), m, req, checked, llmcall.RetryConfig{}); err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
}

// FuzzFeedback holds that whatever the answer and the complaints, what goes out
// is bounded, in legal order, and valid UTF-8 if what came in is.
func FuzzFeedback(f *testing.F) {
	f.Add("an answer", "a problem", "a suggestion", "/a/b", 3, 7, 2, "a prompt", `{"x":1}`)
	f.Add("", "", "", "", 0, 0, 0, "", "")
	f.Add(strings.Repeat("ä", 20_000), strings.Repeat("€", 601), "\xff", "/\x00", -1, 1<<40, 25, strings.Repeat("🙂", 1001), "not JSON")
	f.Add("\xff\xfe", "\n\n1. At", "%d%s", "~1", 1, 0, 1000, "\u202e", strings.Repeat("1", 17_000))
	f.Fuzz(func(t *testing.T, answer, problem, suggestion, pointer string, line, column, n int, prompt, arguments string) {
		n = min(max(n, 1), 1000)
		picky := validate.Func("picky", func(context.Context, *validate.Answer) error {
			return validate.Complaints(slices.Repeat([]validate.Complaint{
				{Problem: problem, Suggestion: suggestion, Pointer: pointer, Line: line, Column: column},
			}, n))
		})
		var sent []llm.Message
		m := llm.Func("fuzz", func(_ context.Context, req *llm.Request) (*llm.Response, error) {
			sent = req.Messages[1:]
			r := llm.Reply(answer)
			if arguments != "" {
				r.Message.Parts = append(r.Message.Parts, calls("1", "t", arguments), llm.Text(answer))
			}
			return r, nil
		})
		_, err := llmcall.RetryWithValidation(t.Context(), m, llm.Prompt(prompt), []validate.Strategy{picky}, llmcall.RetryConfig{MaxAttempts: 3})
		if err == nil {
			t.Fatal("no complaint")
		}
		if err := turnsAlternate(append([]llm.Message{llm.User("x")}, sent...)); err != nil {
			t.Error(err)
		}
		runes := 0
		for _, m := range sent {
			for _, p := range m.Parts {
				runes += utf8.RuneCountInString(fmt.Sprint(p))
			}
		}
		if runes > 80_000 {
			t.Errorf("%d characters go out", runes)
		}
		valid := true
		for _, in := range []string{answer, problem, suggestion, pointer, prompt} {
			valid = valid && utf8.ValidString(in)
		}
		last := sent[len(sent)-1].Text()
		if valid && !utf8.ValidString(last) {
			t.Errorf("%q is not valid UTF-8", last)
		}
		if !strings.HasSuffix(last, "\nTry again.") {
			t.Errorf("the feedback says\n%s", last)
		}
	})
}

// A message that cannot be written does not end the call.
func TestFeedbackInTheCallersOwnWords(t *testing.T) {
	for name, c := range map[string]struct {
		write func(f *llmcall.Feedback) (string, error)
		want  string
	}{
		"their words": {func(f *llmcall.Feedback) (string, error) {
			return fmt.Sprintf("%d/%d falsch: %s", f.Attempt, f.MaxAttempts, f.Complaints[0].Problem), nil
		}, `1/3 falsch: "bad" is not good`},
		"around the default": {func(f *llmcall.Feedback) (string, error) { return "Sorry. " + f.String(), nil }, "Sorry. \"bad\" is not good"},
		"cut":                {func(*llmcall.Feedback) (string, error) { return strings.Repeat("long ", 10_000), nil }, "(34000 characters left out)"},
		"an error":           {func(*llmcall.Feedback) (string, error) { return "half", errors.New("late") }, "\"bad\" is not good\nFix: say good"},
		"nothing":            {func(*llmcall.Feedback) (string, error) { return " \n", nil }, "\"bad\" is not good\nFix: say good"},
		"a panic after a change": {func(f *llmcall.Feedback) (string, error) {
			f.Complaints[0].Problem = "spoiled"
			panic("late")
		}, "\"bad\" is not good\nFix"},
	} {
		m := play(t, say("bad"))
		r, err := llmcall.RetryWithValidation(t.Context(), m, llm.Prompt("x"), checked, exact(llmcall.RetryConfig{Feedback: c.write}))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		messages := m.last().Messages
		if got := messages[len(messages)-1].Text(); !strings.Contains(got, c.want) || strings.Contains(got, "spoiled") {
			t.Errorf("%s: got %q", name, got)
		}
		if a := r.Attempts[0]; a.Complaints[0].Problem != `"bad" is not good` {
			t.Errorf("%s: the trace has %+v", name, a)
		}
	}
}

// A long answer is shown around the places complained of, not by its middle
// left out.
func TestALongAnswerIsShownWhereItIsWrong(t *testing.T) {
	var b strings.Builder
	b.WriteString("```json\n{\"items\": [")
	for i := range 3000 {
		price := fmt.Sprint(i)
		if i == 1234 || i == 2345 {
			price = `"WRONG` + price + `"`
		}
		fmt.Fprintf(&b, "{\"name\": \"item %d\", \"price\": %s},\n", i, price)
	}
	b.WriteString("{}]}\n```")
	check := validate.Must(validate.JSONSchema([]byte(`{"properties": {"items": {"items": {"properties": {"price": {"type": "integer"}}}}}}`)))
	m := play(t, say(b.String()), say("{}"))
	if _, err := llmcall.RetryWithValidation(t.Context(), m, llm.Prompt("x"), []validate.Strategy{check}, exact(llmcall.RetryConfig{})); err != nil {
		t.Fatal(err)
	}
	shown := m.last().Messages[1].Text()
	for _, want := range []string{"```json\n{\"items\": [", "WRONG1234", "WRONG2345", "characters left out", "{}]}\n```"} {
		if !strings.Contains(shown, want) {
			t.Errorf("%q is not shown", want)
		}
	}
	if len(shown) > 5000 || strings.Contains(shown, "item 1800") {
		t.Errorf("%d bytes are shown", len(shown))
	}
}

func TestALongTextIsShownAroundALine(t *testing.T) {
	long := strings.Repeat("ä line of text\n", 2000) + "HERE it is\n" + strings.Repeat("ä line of text\n", 2000)
	check := validate.Func("line", func(_ context.Context, a *validate.Answer) error {
		if len(a.Text) > 10 {
			return validate.Complaints{{Problem: "wrong", Line: 2001, Column: 3}}
		}
		return nil
	})
	m := play(t, say(long), say("short"))
	if _, err := llmcall.RetryWithValidation(t.Context(), m, llm.Prompt("x"), []validate.Strategy{check}, exact(llmcall.RetryConfig{})); err != nil {
		t.Fatal(err)
	}
	if shown := m.last().Messages[1].Text(); !strings.Contains(shown, "HERE it is") || !utf8.ValidString(shown) || len(shown) > 3000 {
		t.Errorf("%d bytes are shown: %q", len(shown), shown)
	}
}

// What a model thought goes back with the call of a tool that came of it.
func TestThoughtsGoBackWithTheCallOfATool(t *testing.T) {
	thought := llm.Reasoning{Provider: "anthropic", Data: []byte(`{"signature":"s"}`)}
	m := play(t, wants(thought, calls("1", "look", "{}")), say("good"))
	if _, err := llmcall.RetryWithValidation(t.Context(), m, llm.Prompt("x"), checked, exact(llmcall.RetryConfig{})); err != nil {
		t.Fatal(err)
	}
	turn := m.last().Messages[1]
	if len(turn.Parts) != 2 || !reflect.DeepEqual(turn.Parts[0], llm.Part(thought)) {
		t.Errorf("got %#v", turn)
	}
}

// A call that goes back without the thought that led to it is refused by
// providers that sign their thoughts.
func TestACallWhoseThoughtIsTooLongDoesNotGoBackAlone(t *testing.T) {
	thought := llm.Reasoning{Provider: "anthropic", Data: []byte(`{"thinking":"` + strings.Repeat("x", 20_000) + `"}`)}
	m := play(t, wants(thought, calls("1", "look", "{}")), say("good"))
	if _, err := llmcall.RetryWithValidation(t.Context(), m, llm.Prompt("x"), checked, exact(llmcall.RetryConfig{})); err != nil {
		t.Fatal(err)
	}
	thoughts, called, results := 0, 0, 0
	for _, message := range m.last().Messages {
		for _, p := range message.Parts {
			switch p.(type) {
			case llm.Reasoning:
				thoughts++
			case llm.ToolCall:
				called++
			case llm.ToolResult:
				results++
			}
		}
	}
	if called > thoughts || called != results {
		t.Errorf("%d thoughts, %d calls, %d results go back", thoughts, called, results)
	}
}

func TestWhatPassedIsSaidToStay(t *testing.T) {
	m := play(t, say("bad"))
	checks := []validate.Strategy{validate.NotEmpty(), isGood, validate.Must(validate.Length(1, 10))}
	if _, err := llmcall.RetryWithValidation(t.Context(), m, llm.Prompt("x"), checks, exact(llmcall.RetryConfig{})); err != nil {
		t.Fatal(err)
	}
	messages := m.last().Messages
	if got := messages[len(messages)-1].Text(); !strings.Contains(got, "\nThese checks passed, and must still pass: not_empty, length.\n") {
		t.Errorf("got %q", got)
	}
}

func FuzzExcerpt(f *testing.F) {
	f.Add(strings.Repeat(`{"a": [1, {"b": "ü"}]}`, 2000), "/a/1/b", 1, 7)
	f.Add("x", "", 0, 0)
	f.Fuzz(func(t *testing.T, text, pointer string, line, column int) {
		text = strings.Repeat(text, 40_000/(len(text)+1))
		check := validate.Func("any", func(_ context.Context, a *validate.Answer) error {
			if a.Text == "good" {
				return nil
			}
			return validate.Complaints{{Problem: "p", Pointer: pointer, Line: line % 10_000, Column: column % 10_000}}
		})
		m := &player{name: "fuzz", steps: []step{say(text)}}
		_, err := llmcall.RetryWithValidation(context.Background(), m, llm.Prompt("x"), []validate.Strategy{check}, exact(llmcall.RetryConfig{}))
		if err != nil {
			t.Fatal(err)
		}
		if shown := m.last().Messages[1].Text(); utf8.RuneCountInString(shown) > 17_000 || utf8.ValidString(text) && !utf8.ValidString(shown) {
			t.Errorf("%d bytes are shown", len(shown))
		}
	})
}
