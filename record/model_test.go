package record_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"llmcall/endpoint"
	"llmcall/failure"
	"llmcall/llm"
	"llmcall/pace"
	"llmcall/record"
)

const name = "test/model"

// recorder returns a Recorder whose reports fail the test.
func recorder(t *testing.T, dir string) *record.Recorder {
	t.Helper()
	r, err := record.New(record.Config{Dir: dir, Report: func(err error) { t.Errorf("reported: %v", err) }})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func open(t *testing.T, dir string) *record.Player {
	t.Helper()
	p, err := record.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// only returns the only recording of a directory.
func only(t *testing.T, dir string) *record.Recording {
	t.Helper()
	var all []*record.Recording
	for r, err := range record.All(dir) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, r)
	}
	if len(all) != 1 {
		t.Fatalf("%d recordings, want one", len(all))
	}
	return all[0]
}

// answers is a model that gives one answer after another.
func answers(all ...func() (*llm.Response, error)) llm.Model {
	n := 0
	return llm.Func(name, func(context.Context, *llm.Request) (*llm.Response, error) {
		n++
		return all[n-1]()
	})
}

func says(text string) func() (*llm.Response, error) {
	return func() (*llm.Response, error) { return llm.Reply(text), nil }
}

func fails(err error) func() (*llm.Response, error) {
	return func() (*llm.Response, error) { return nil, err }
}

func TestTheSameQuestionGetsItsAnswersInTheirOrder(t *testing.T) {
	dir := t.TempDir()
	m := recorder(t, dir).Model(answers(says("one"), says("other"), says("two"), says("three")))
	for _, q := range []string{"n?", "else?", "n?", "n?"} {
		if _, err := m.Complete(t.Context(), llm.Prompt(q)); err != nil {
			t.Fatal(err)
		}
	}
	p := open(t, dir)
	if got := p.Models(); !slices.Equal(got, []string{name}) {
		t.Errorf("models: %v", got)
	}
	replay := p.Model(name)
	for i, want := range []string{"one", "two", "three"} {
		answer, err := replay.Complete(t.Context(), llm.Prompt("n?"))
		if err != nil || answer.Text() != want {
			t.Errorf("%d: got %v, %v, want %q", i, answer, err, want)
		}
	}
	_, err := replay.Complete(t.Context(), llm.Prompt("n?"))
	missing, ok := errors.AsType[*record.MissingError](err)
	if !ok || missing.Used != 3 || failure.KindOf(err) != failure.InvalidRequest || !strings.HasSuffix(err.Error(), " has 3 recordings of this request to test/model, and it was made 4 times") {
		t.Errorf("the fourth: %v", err)
	}
	if left := p.Left(); len(left) != 1 {
		t.Errorf("left: %v, want that of the other question", left)
	}
}

// Requests of one moment, of a clock that is coarse, have an order too.
func TestRequestsOfOneMomentHaveAnOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // no time passes
		dir := t.TempDir()
		m := recorder(t, dir).Model(answers(says("0"), says("1"), says("2"), says("3")))
		for range 4 {
			_, _ = m.Complete(t.Context(), llm.Prompt("?"))
		}
		replay := open(t, dir).Model(name)
		for i := range 4 {
			if answer, err := replay.Complete(t.Context(), llm.Prompt("?")); err != nil || answer.Text() != fmt.Sprint(i) {
				t.Errorf("%d: got %v, %v", i, answer, err)
			}
		}
	})
}

// What counts, and what does not, is what the package's documentation says.
func TestWhatARequestIsMatchedBy(t *testing.T) {
	half, seed := 0.5, int64(7)
	base := func() *llm.Request {
		return &llm.Request{
			Messages: []llm.Message{
				llm.System("Be short."), llm.User("Hi"),
				{Role: llm.RoleAssistant, Parts: []llm.Part{llm.ToolCall{ID: "1", Name: "f", Arguments: json.RawMessage(`{"a": 1, "b": [2, 3]}`)}}},
				{Role: llm.RoleTool, Parts: []llm.Part{llm.ToolResult{CallID: "1", Content: "ok"}}},
			},
			Tools:     []llm.Tool{{Name: "f", Parameters: json.RawMessage(`{"type": "object", "required": ["a"]}`)}},
			Schema:    &llm.Schema{Name: "s", JSON: json.RawMessage(`{"type": "object", "maxProperties": 1.0}`)},
			MaxTokens: 9, Temperature: &half, Stop: []string{"x"}, Seed: &seed,
			Extra: map[string]any{"effort": "low", "top_k": json.Number("5")},
		}
	}
	for what, c := range map[string]struct {
		change  func(*llm.Request)
		matches bool
	}{
		"nothing": {func(r *llm.Request) {}, true},
		"white space in arguments": {func(r *llm.Request) {
			r.Messages[2].Parts[0] = llm.ToolCall{ID: "1", Name: "f", Arguments: json.RawMessage("{\n\"a\":1,\"b\":[2,3]}")}
		}, true},
		"keys in another order": {func(r *llm.Request) { r.Tools[0].Parameters = json.RawMessage(`{"required":["a"],"type":"object"}`) }, true},
		"1.0 is 1":              {func(r *llm.Request) { r.Schema.JSON = json.RawMessage(`{"type":"object","maxProperties":1}`) }, true},
		"5 as a float":          {func(r *llm.Request) { r.Extra["top_k"] = 5.0 }, true},
		"a message":             {func(r *llm.Request) { r.Messages[1] = llm.User("Hi ") }, false},
		"a role":                {func(r *llm.Request) { r.Messages[1].Role = llm.RoleSystem }, false},
		"the order of messages": {func(r *llm.Request) { r.Messages[0], r.Messages[1] = r.Messages[1], r.Messages[0] }, false},
		"an argument": {func(r *llm.Request) {
			r.Messages[2].Parts[0] = llm.ToolCall{ID: "1", Name: "f", Arguments: json.RawMessage(`{"a":1,"b":[3,2]}`)}
		}, false},
		"a tool":      {func(r *llm.Request) { r.Tools[0].Name = "g" }, false},
		"the schema":  {func(r *llm.Request) { r.Schema = nil }, false},
		"max_tokens":  {func(r *llm.Request) { r.MaxTokens = 10 }, false},
		"temperature": {func(r *llm.Request) { r.Temperature = nil }, false},
		"stop":        {func(r *llm.Request) { r.Stop = nil }, false},
		"seed":        {func(r *llm.Request) { r.Seed = nil }, false},
		"extra":       {func(r *llm.Request) { r.Extra["effort"] = "high" }, false},
	} {
		dir := t.TempDir()
		if _, err := recorder(t, dir).Model(answers(says("yes"))).Complete(t.Context(), base()); err != nil {
			t.Fatal(err)
		}
		changed := base()
		c.change(changed)
		_, err := open(t, dir).Model(name).Complete(t.Context(), changed)
		if missing, ok := errors.AsType[*record.MissingError](err); ok == c.matches || ok && (missing.Diff == "" || missing.Nearest == "") {
			t.Errorf("%s: got %v, want a match: %t", what, err, c.matches)
		}
		if _, err := open(t, dir).Model("test/other").Complete(t.Context(), base()); err == nil || !strings.Contains(err.Error(), "-model: test/model\n+model: test/other") {
			t.Errorf("another model: %v", err)
		}
	}
}

func TestAMissingRecordingNamesTheNearestWithADiff(t *testing.T) {
	dir := t.TempDir()
	m := recorder(t, dir).Model(answers(says("1"), says("2"), says("3")))
	for _, q := range []string{"How high is the Zugspitze in metres?", "What is the capital of France?", "Write a poem about rain."} {
		if _, err := m.Complete(t.Context(), llm.Prompt(q)); err != nil {
			t.Fatal(err)
		}
	}
	_, err := open(t, dir).Model(name).Complete(t.Context(), llm.Prompt("What is the capital of Spain?"))
	missing, ok := errors.AsType[*record.MissingError](err)
	if !ok {
		t.Fatal(err)
	}
	nearest, err := record.Read(missing.Nearest)
	if err != nil || nearest.Call.Response.Text() != "2" {
		t.Errorf("the nearest: %v, %v", missing.Nearest, err)
	}
	for _, line := range []string{"-  - What is the capital of France?", "+  - What is the capital of Spain?", "record: " + dir + " has no recording for a request to test/model. The nearest is "} {
		if !strings.Contains(missing.Error(), line) {
			t.Errorf("%q is not in: %v", line, missing)
		}
	}
}

// A failure is replayed as it was, in all that a retry loop, a log and a caller look at.
func TestFailuresAreReplayedAsTheyWere(t *testing.T) {
	all := map[string]error{
		"told":        &failure.Error{Kind: failure.RateLimited, Provider: "openai", Model: "openai/m", Status: 429, Code: "rate_limit_exceeded", Message: "slow down", RequestID: "r", RetryAfter: 1500 * time.Millisecond, Told: true},
		"told 0":      &failure.Error{Kind: failure.RateLimited, Told: true},
		"no retry":    &failure.Error{Kind: failure.Transient, Status: 500, NoRetry: true},
		"written":     &failure.Error{Kind: failure.InvalidAnswer, Status: 400, Written: "{\"a\": 1,\n"},
		"with cause":  &failure.Error{Kind: failure.Transient, Err: fmt.Errorf("read: %w", syscall.ECONNRESET)},
		"bare":        &failure.Error{Kind: failure.Overloaded},
		"wrapped":     fmt.Errorf("of the program: %w", &failure.Error{Kind: failure.QuotaExhausted, Status: 402, Message: "pay"}),
		"plain":       errors.New("plain"),
		"end":         fmt.Errorf("read: %w", io.ErrUnexpectedEOF),
		"own context": context.DeadlineExceeded,
	}
	for k := failure.Unknown; k <= failure.DeadlineExceeded; k++ {
		if k != failure.Cancelled {
			all[k.String()] = &failure.Error{Kind: k, Model: "m", Message: "of " + k.String()}
		}
	}
	for what, was := range all {
		dir := t.TempDir()
		if _, err := recorder(t, dir).Model(answers(fails(was))).Complete(t.Context(), llm.Prompt("?")); err != was {
			t.Fatalf("%s: recorded %v", what, err)
		}
		_, is := open(t, dir).Model(name).Complete(t.Context(), llm.Prompt("?"))
		if is == nil {
			t.Errorf("%s: no error", what)
			continue
		}
		wait, told := failure.RetryAfterOf(was)
		wait2, told2 := failure.RetryAfterOf(is)
		if failure.KindOf(is) != failure.KindOf(was) || is.Error() != was.Error() || wait != wait2 || told != told2 || failure.NoRetryOf(is) != failure.NoRetryOf(was) {
			t.Errorf("%s: got %#v, want %#v", what, is, was)
		}
		for _, sentinel := range []error{syscall.ECONNRESET, io.ErrUnexpectedEOF, context.DeadlineExceeded} {
			if errors.Is(is, sentinel) != errors.Is(was, sentinel) {
				t.Errorf("%s: is %v: %t", what, sentinel, errors.Is(is, sentinel))
			}
		}
		a, _ := errors.AsType[*failure.Error](was)
		b, _ := errors.AsType[*failure.Error](is)
		if (a == nil) != (b == nil) || a != nil && (a.Status != b.Status || a.Code != b.Code || a.Message != b.Message || a.Written != b.Written || a.RequestID != b.RequestID) {
			t.Errorf("%s: got %+v, want %+v", what, b, a)
		}
	}
}

func TestAnAnswerBesideAnErrorKeepsItsUsage(t *testing.T) {
	dir := t.TempDir()
	billed := &llm.Response{Message: llm.Message{Role: llm.RoleAssistant}, Usage: llm.Usage{InputTokens: 5, OutputTokens: 2}}
	m := answers(func() (*llm.Response, error) { return billed, &failure.Error{Kind: failure.ContentFiltered} })
	_, _ = recorder(t, dir).Model(m).Complete(t.Context(), llm.Prompt("?"))
	got, err := open(t, dir).Model(name).Complete(t.Context(), llm.Prompt("?"))
	if failure.KindOf(err) != failure.ContentFiltered || got == nil || got.Usage != billed.Usage {
		t.Errorf("got %+v, %v", got, err)
	}
}

// Nobody answered a request that its caller cancelled; what its time limit ended did not
// answer in time.
func TestWhatEndedWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		hangs := llm.Func(name, func(ctx context.Context, _ *llm.Request) (*llm.Response, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		})
		m := recorder(t, dir).Model(hangs)
		cancelled, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		_, _ = m.Complete(cancelled, llm.Prompt("cancelled"))
		limited, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		_, _ = m.Complete(limited, llm.Prompt("limited"))

		p := open(t, dir)
		_, err := p.Model(name).Complete(t.Context(), llm.Prompt("cancelled"))
		if missing, ok := errors.AsType[*record.MissingError](err); !ok || missing.Diff != "" || !strings.HasSuffix(err.Error(), " that was answered: the caller of "+missing.Nearest+" cancelled it") {
			t.Errorf("cancelled: %v", err)
		}
		p.Speed = 1
		begun := time.Now()
		_, err = p.Model(name).Complete(t.Context(), llm.Prompt("limited"))
		if failure.KindOf(err) != failure.AttemptTimeout || time.Since(begun) != 5*time.Second {
			t.Errorf("limited: %v after %v", err, time.Since(begun))
		}
		if left := p.Left(); len(left) != 0 {
			t.Errorf("left: %v", left)
		}
	})
}

// chunk is a piece with the time that it comes after the one before.
type chunk struct {
	after time.Duration
	llm.Chunk
}

func streamed(all []chunk, end error) llm.Streamer {
	return llm.StreamFunc(name, func(ctx context.Context, _ *llm.Request) iter.Seq2[llm.Chunk, error] {
		return func(yield func(llm.Chunk, error) bool) {
			for _, c := range all {
				time.Sleep(c.after)
				if !yield(c.Chunk, nil) {
					return
				}
			}
			if end != nil {
				yield(llm.Chunk{}, end)
			}
		}
	})
}

// listened returns the pieces of a stream with their times.
func listened(t *testing.T, m llm.Model) (all []chunk, failed error) {
	last := time.Now()
	for c, err := range m.(llm.Streamer).Stream(t.Context(), llm.Prompt("?")) {
		if err != nil {
			failed = err
			continue
		}
		all = append(all, chunk{time.Since(last), c})
		last = time.Now()
	}
	return all, failed
}

var aStream = []chunk{
	{300 * time.Millisecond, llm.Chunk{Model: "m-2026", RequestID: "r1", Usage: &llm.Usage{InputTokens: 7}}},
	{10 * time.Millisecond, llm.Chunk{Progress: true}},
	{20 * time.Millisecond, llm.Chunk{Text: "Grüße, "}},
	{5 * time.Millisecond, llm.Chunk{Text: "Welt 😀\n"}},
	{0, llm.Chunk{}},
	{40 * time.Millisecond, llm.Chunk{Part: llm.ToolCall{ID: "c", Name: "f", Arguments: json.RawMessage(`{"a":1}`)}}},
	{time.Millisecond, llm.Chunk{Text: "after"}},
	{60 * time.Millisecond, llm.Chunk{Finish: llm.FinishToolCall, Usage: &llm.Usage{InputTokens: 7, OutputTokens: 9, CachedTokens: 3}}},
}

func TestAStreamIsReplayedPieceByPieceWithItsTimes(t *testing.T) {
	for _, c := range []struct {
		name string
		end  error
		all  []chunk
	}{
		{"whole", nil, aStream},
		{"broken", &failure.Error{Kind: failure.Transient, Err: io.ErrUnexpectedEOF}, aStream[:4]},
		{"refused", &failure.Error{Kind: failure.Overloaded, Status: 529}, nil},
		{"cut off", nil, aStream[:6]},
	} {
		for _, speed := range []float64{1, 10, 0} {
			synctest.Test(t, func(t *testing.T) {
				dir := t.TempDir()
				was, failedThen := listened(t, recorder(t, dir).Model(streamed(c.all, c.end)))
				p := open(t, dir)
				p.Speed = speed
				is, failed := listened(t, p.Model(name))
				for i := range was {
					if speed == 0 {
						was[i].after = 0
					} else {
						was[i].after = time.Duration(float64(was[i].after) / speed)
					}
				}
				if !reflect.DeepEqual(is, was) {
					t.Errorf("%s at %v: got\n%+v\nwant\n%+v", c.name, speed, is, was)
				}
				if failure.KindOf(failed) != failure.KindOf(failedThen) || (failed == nil) != (failedThen == nil) {
					t.Errorf("%s: got %v, want %v", c.name, failed, failedThen)
				}
			})
		}
	}
}

func TestAStreamThatIsLeftIsReplayedAsFarAsItWasRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		for range recorder(t, dir).Model(streamed(aStream, nil)).(llm.Streamer).Stream(t.Context(), llm.Prompt("?")) {
			break
		}
		if r := only(t, dir); !r.Left || len(r.Pieces) != 1 {
			t.Errorf("%+v", r)
		}
		if all, err := listened(t, open(t, dir).Model(name)); len(all) != 1 || err != nil {
			t.Errorf("%v, %v", all, err)
		}
	})
}

// How an answer is asked for does not count: a stream is replayed whole, and the other way.
func TestAStreamIsReplayedWholeAndAWholeAnswerAsAStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		r := recorder(t, dir)
		_, _ = listened(t, r.Model(streamed(aStream, nil)))
		var want llm.Assembly
		for _, c := range aStream {
			want.Add(c.Chunk)
		}
		whole, err := open(t, dir).Model(name).Complete(t.Context(), llm.Prompt("?"))
		if err != nil || !reflect.DeepEqual(whole, want.Response()) {
			t.Errorf("got %+v, %v, want %+v", whole, err, want.Response())
		}

		other := t.TempDir()
		_, _ = recorder(t, other).Model(answers(func() (*llm.Response, error) { return whole, nil })).Complete(t.Context(), llm.Prompt("?"))
		pieces, err := listened(t, open(t, other).Model(name))
		var got llm.Assembly
		for _, c := range pieces {
			got.Add(c.Chunk)
		}
		if err != nil || !reflect.DeepEqual(got.Response(), whole) {
			t.Errorf("got %+v, %v, want %+v", got.Response(), err, whole)
		}
	})
}

func TestARecordedModelStreamsIfTheModelDoes(t *testing.T) {
	r := recorder(t, t.TempDir())
	if _, able := r.Model(answers()).(llm.Streamer); able {
		t.Error("a model that can't stream does")
	}
	m := keyed{llm.StreamFunc(name, nil)}
	got := r.Model(m)
	if _, able := got.(llm.Streamer); !able || got.Name() != name || endpoint.KeyOf(got) != m.EndpointKey() {
		t.Errorf("%T %q %v", got, got.Name(), endpoint.KeyOf(got))
	}
}

type keyed struct{ llm.Streamer }

func (keyed) EndpointKey() endpoint.Key { return endpoint.Key{Name: "mine"} }

// Whatever is answered is answered again, and a file says it.
func TestAnyAnswerIsReplayed(t *testing.T) {
	text := rapid.OneOf(rapid.String(), rapid.StringMatching(`[ -~\n\t]{0,40}`), rapid.SampledFrom([]string{
		"", "\n", " ", "a\n", "\na", "a \nb", "- a", "a: b", "# no", "null", "yes", "1.0", "2026-11-26", "\u0085\u2028\ufeff", "a\r\nb\r\n", "\x00", "'", `"`, "|", "---\n", "...", "<<", "é\ta\n\tb", "\ue000😀\n\ta",
	}))
	part := rapid.Custom(func(t *rapid.T) llm.Part {
		switch rapid.IntRange(0, 4).Draw(t, "part") {
		case 0:
			return llm.Text(text.Draw(t, "text"))
		case 1:
			return llm.ToolCall{ID: text.Draw(t, "id"), Name: text.Draw(t, "name"), Arguments: json.RawMessage(`{"a":[1,2.50,{"text":"x","type":"text"}],"at":"12","parts":[{"type":"text","text":"y"}]}`)}
		case 2:
			return llm.Reasoning{Provider: text.Draw(t, "provider"), Data: json.RawMessage(`{"signature":"abc"}`)}
		case 3:
			return llm.Image{MediaType: "image/png", Data: append([]byte{1}, rapid.SliceOf(rapid.Byte()).Draw(t, "data")...)}
		}
		return llm.ToolResult{CallID: "1", Content: text.Draw(t, "content")}
	})
	rapid.Check(t, func(t *rapid.T) {
		dir, err := os.MkdirTemp("", "recordings")
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(dir)
		was := &llm.Response{
			Message:   llm.Message{Role: llm.RoleAssistant, Parts: rapid.SliceOfN(part, 1, 4).Draw(t, "parts")},
			Finish:    llm.Finish(text.Draw(t, "finish")),
			Usage:     llm.Usage{InputTokens: rapid.Int64().Draw(t, "tokens")},
			RequestID: text.Draw(t, "request"),
		}
		req := &llm.Request{Messages: []llm.Message{{Role: llm.RoleUser, Parts: rapid.SliceOfN(part, 1, 3).Draw(t, "asked")}}}
		if rapid.Bool().Draw(t, "extra") {
			req.Extra = map[string]any{text.Draw(t, "field"): text.Draw(t, "value"), "n": rapid.Float64().Draw(t, "n")}
		}
		recorder, err := record.New(record.Config{Dir: dir, Report: func(err error) { t.Errorf("reported: %v", err) }})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := recorder.Model(answers(func() (*llm.Response, error) { return was, nil })).Complete(context.Background(), req); err != nil {
			t.Fatal(err)
		}
		p, err := record.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		is, err := p.Model(name).Complete(context.Background(), req)
		if err != nil || !reflect.DeepEqual(is, was) {
			t.Errorf("got %#v, %v, want %#v", is, err, was)
		}
	})
}

// What an adapter tells its call beside the answer is told by a replay too.
func TestNotesAndAcceptanceAreReplayed(t *testing.T) {
	dir := t.TempDir()
	for _, m := range []func() llm.Model{
		func() llm.Model {
			return recorder(t, dir).Model(llm.Func(name, func(ctx context.Context, _ *llm.Request) (*llm.Response, error) {
				endpoint.Noted(ctx, "the schema is not enforced")
				endpoint.Accepted(ctx, nil)
				return llm.Reply("yes"), nil
			}))
		},
		func() llm.Model { return open(t, dir).Model(name) },
	} {
		heard := &ear{}
		if _, err := m().Complete(endpoint.Listen(t.Context(), heard), llm.Prompt("?")); err != nil {
			t.Fatal(err)
		}
		if heard.accepted != 1 || !slices.Equal(heard.notes, []string{"the schema is not enforced"}) {
			t.Errorf("%+v", heard)
		}
	}
}

type ear struct {
	accepted int
	notes    []string
}

func (e *ear) Accepted(*pace.Told) { e.accepted++ }
func (e *ear) Told(*pace.Told)     {}
func (e *ear) Again() bool         { return true }
func (e *ear) Noted(note string)   { e.notes = append(e.notes, note) }

// However many ask at once, each recording is given once.
func TestEachRecordingIsGivenOnce(t *testing.T) {
	dir := t.TempDir()
	n := 0
	m := recorder(t, dir).Model(llm.Func(name, func(context.Context, *llm.Request) (*llm.Response, error) {
		n++
		return llm.Reply(fmt.Sprint(n)), nil
	}))
	const all, callers = 60, 8
	for range all {
		if _, err := m.Complete(t.Context(), llm.Prompt("?")); err != nil {
			t.Fatal(err)
		}
	}
	replay := open(t, dir).Model(name)
	var lock sync.Mutex
	given := map[string]int{}
	var group sync.WaitGroup
	for range callers {
		group.Go(func() {
			for {
				answer, err := replay.Complete(t.Context(), llm.Prompt("?"))
				if err != nil {
					return
				}
				lock.Lock()
				given[answer.Text()]++
				lock.Unlock()
			}
		})
	}
	group.Wait()
	for text, times := range given {
		if times != 1 {
			t.Errorf("%s was given %d times", text, times)
		}
	}
	if len(given) != all {
		t.Errorf("%d were given, want %d", len(given), all)
	}
}

func TestSeveralWriteToOneDirectory(t *testing.T) {
	dir := t.TempDir()
	const processes, callers, each = 3, 4, 10
	var group sync.WaitGroup
	for range processes {
		group.Go(func() {
			cmd := exec.Command(os.Args[0])
			cmd.Env = append(os.Environ(), recordInto+"="+dir)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
	m := recorder(t, dir).Model(llm.Func(name, func(context.Context, *llm.Request) (*llm.Response, error) { return llm.Reply("here"), nil }))
	for range callers {
		group.Go(func() {
			for range each {
				if _, err := m.Complete(t.Context(), llm.Prompt("?")); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	n, last := 0, time.Time{}
	for r, err := range record.All(dir) {
		if err != nil {
			t.Fatal(err)
		}
		if r.At.Before(last) {
			t.Errorf("%s is before %v", r.Path, last)
		}
		last, n = r.At, n+1
	}
	if want := processes*each + callers*each; n != want {
		t.Errorf("%d recordings, want %d", n, want)
	}
	if rest, _ := filepath.Glob(filepath.Join(dir, ".*")); len(rest) > 0 {
		t.Errorf("left: %v", rest)
	}
}

// recordInto is the variable with the directory that another process of the test writes to.
const recordInto = "RECORD_TEST_INTO"

func recordSome(dir string) {
	m, err := record.Model(llm.Func(name, func(context.Context, *llm.Request) (*llm.Response, error) { return llm.Reply("there"), nil }), dir)
	if err != nil {
		panic(err)
	}
	for range 10 {
		if _, err := m.Complete(context.Background(), llm.Prompt("?")); err != nil {
			panic(err)
		}
	}
}

func TestBounds(t *testing.T) {
	var reported []error
	r, err := record.New(record.Config{Dir: t.TempDir(), MaxFile: 2000, MaxTotal: 2500, Report: func(err error) { reported = append(reported, err) }})
	if err != nil {
		t.Fatal(err)
	}
	m := r.Model(llm.Func(name, func(_ context.Context, req *llm.Request) (*llm.Response, error) {
		return llm.Reply(req.Messages[0].Text()), nil
	}))
	for _, n := range []int{10, 1000, 500, 500, 500, 500} {
		if a, err := m.Complete(t.Context(), llm.Prompt(strings.Repeat("a", n))); err != nil || len(a.Text()) != n {
			t.Errorf("%d: %v, %v", n, a, err)
		}
	}
	var said []string
	for _, err := range reported {
		said = append(said, err.Error())
	}
	if len(said) != 2 || !strings.Contains(said[0], "it is longer than MaxFile, 2000 bytes") || !strings.Contains(said[1], "and MaxTotal is 2500: no more are") {
		t.Errorf("%q", said)
	}
	for _, c := range []record.Config{{}, {Dir: "x", MaxFile: -1}, {Dir: "x", MaxFile: 1 << 40}, {Dir: "x", MaxTotal: -1}, {Dir: "/dev/null/x"}} {
		if _, err := record.New(c); err == nil {
			t.Errorf("%+v: no error", c)
		}
	}
}
