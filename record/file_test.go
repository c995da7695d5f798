package record_test

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"llmcall/failure"
	"llmcall/llm"
	"llmcall/record"
)

const secret = "sk-of-this-test-very-secret"

var update = flag.Bool("update", false, "write the files of testdata/format1")

// The files of testdata/format1 were written by the first version. They must be read, and mean
// the same, for ever; a change of what is written must not change them but by intent.
func TestWhatTheFirstVersionWroteIsReadAndWrittenTheSame(t *testing.T) {
	made := t.TempDir()
	for name, write := range golden {
		synctest.Test(t, func(t *testing.T) { // time begins on 2000-01-01
			dir := t.TempDir()
			write(t, recorder(t, dir))
			paths, _ := filepath.Glob(filepath.Join(dir, "*"))
			if len(paths) != 1 {
				t.Fatalf("%s: %v", name, paths)
			}
			if err := os.Rename(paths[0], filepath.Join(made, name+".yaml")); err != nil {
				t.Fatal(err)
			}
		})
	}
	for name := range golden {
		kept := filepath.Join("testdata", "format1", name+".yaml")
		is, err := os.ReadFile(filepath.Join(made, name+".yaml"))
		if err != nil {
			t.Fatal(err)
		}
		if *update {
			if err := os.WriteFile(kept, is, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		was, err := os.ReadFile(kept)
		if err != nil {
			t.Fatal(err)
		}
		if string(is) != string(was) {
			t.Errorf("%s is written differently:\n%s", name, is)
		}
	}

	p := open(t, filepath.Join("testdata", "format1"))
	answer, err := p.Model("openai/gpt-6-luna").Complete(t.Context(), goldenRequest())
	if err != nil || !reflect.DeepEqual(answer, goldenAnswer()) {
		t.Errorf("got %+v, %v, want %+v", answer, err, goldenAnswer())
	}
	_, err = p.Model("openai/gpt-6-luna").Complete(t.Context(), llm.Prompt("refused"))
	if wait, told := failure.RetryAfterOf(err); failure.KindOf(err) != failure.RateLimited || wait != 1500*time.Millisecond || !told {
		t.Errorf("%v", err)
	}
	pieces, err := listened(t, p.Model(name))
	for i := range pieces {
		pieces[i].after = aStream[i].after
	}
	if err != nil || !reflect.DeepEqual(pieces, aStream) {
		t.Errorf("got %+v, %v, want %+v", pieces, err, aStream)
	}
	response, err := post(t, p.Transport())
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range goldenEvents {
		piece := make([]byte, 1000)
		n, err := response.Body.Read(piece)
		if err != nil || string(piece[:n]) != want {
			t.Errorf("got %q, %v, want %q", piece[:n], err, want)
		}
	}
	if left := p.Left(); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

func goldenRequest() *llm.Request {
	cold, seed := 0.2, int64(42)
	return &llm.Request{
		Messages: []llm.Message{
			llm.System("You know the weather.\nAnswer briefly: one sentence."),
			llm.User("How is the weather in Berlin?"),
			{Role: llm.RoleAssistant, Parts: []llm.Part{llm.ToolCall{ID: "call_1", Name: "weather", Arguments: json.RawMessage(`{"city":"Berlin","days":1}`)}}},
			{Role: llm.RoleTool, Parts: []llm.Part{llm.ToolResult{CallID: "call_1", Content: "11 °C, rain"}}},
			{Role: llm.RoleUser, Parts: []llm.Part{llm.Text("And here?"), llm.Image{MediaType: "image/png", Data: []byte("\x89PNG")}}},
		},
		Tools:     []llm.Tool{{Name: "weather", Description: "the weather of a city", Parameters: json.RawMessage(`{"type":"object","properties":{"city":{"type":"string"}},"required":["city"]}`)}},
		Schema:    &llm.Schema{Name: "report", JSON: json.RawMessage(`{"type":"object","properties":{"text":{"type":"string"}}}`)},
		MaxTokens: 200, Temperature: &cold, Seed: &seed, Stop: []string{"END"},
		Extra: map[string]any{"reasoning_effort": "low", "top_p": 0.9},
	}
}

func goldenAnswer() *llm.Response {
	return &llm.Response{
		Message: llm.Message{Role: llm.RoleAssistant, Parts: []llm.Part{
			llm.Reasoning{Provider: "openai", Data: json.RawMessage(`{"id":"rs_1","summary":[]}`)},
			llm.Text("{\"text\": \"It rains in Berlin.\"}\n"),
		}},
		Finish: llm.FinishStop, Model: "gpt-6-luna-2026-01-01", RequestID: "req_1",
		Usage: llm.Usage{InputTokens: 120, OutputTokens: 30, CachedTokens: 100, ReasoningTokens: 20},
	}
}

var goldenEvents = []string{
	"event: message_start\ndata: {\"type\":\"message_start\"}\n\n",
	"event: content_block_delta\ndata: {\"delta\":{\"text\":\"Grüße\"}}\n\n",
	"event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
}

func post(t *testing.T, transport http.RoundTripper) (*http.Response, error) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://api.anthropic.com/v1/messages?beta=true", strings.NewReader(`{"model": "claude-haiku-5-5", "stream": true, "messages": [{"role": "user", "content": "Hi"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	request.Header = http.Header{"Content-Type": {"application/json"}, "X-Api-Key": {secret}, "Anthropic-Version": {"2023-06-01"}}
	return transport.RoundTrip(request)
}

// golden writes a recording of each sort.
var golden = map[string]func(*testing.T, *record.Recorder){
	"1-answer": func(t *testing.T, r *record.Recorder) {
		m := r.Model(llm.Func("openai/gpt-6-luna", func(context.Context, *llm.Request) (*llm.Response, error) {
			time.Sleep(1234 * time.Millisecond)
			return goldenAnswer(), nil
		}))
		_, _ = m.Complete(t.Context(), goldenRequest())
	},
	"2-failure": func(t *testing.T, r *record.Recorder) {
		m := r.Model(llm.Func("openai/gpt-6-luna", func(context.Context, *llm.Request) (*llm.Response, error) {
			return nil, &failure.Error{
				Kind: failure.RateLimited, Provider: "openai", Model: "openai/gpt-6-luna", Status: 429, Code: "rate_limit_exceeded",
				Message: "Rate limit reached", RequestID: "req_2", RetryAfter: 1500 * time.Millisecond, Told: true, Err: errors.New("429 Too Many Requests"),
			}
		}))
		_, _ = m.Complete(t.Context(), llm.Prompt("refused"))
	},
	"3-stream": func(t *testing.T, r *record.Recorder) { _, _ = listened(t, r.Model(streamed(aStream, nil))) },
	"4-http": func(t *testing.T, r *record.Recorder) {
		base := roundTrip(func(request *http.Request) (*http.Response, error) {
			time.Sleep(200 * time.Millisecond)
			header := http.Header{"Content-Type": {"text/event-stream"}, "Request-Id": {"req_4"}, "Set-Cookie": {"secret=1"}, "Anthropic-Ratelimit-Requests-Remaining": {"49"}}
			return &http.Response{StatusCode: 200, Header: header, ContentLength: -1, Body: &slowly{goldenEvents}, Request: request}, nil
		})
		response, err := post(t, r.Transport(base))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, response.Body); err != nil {
			t.Fatal(err)
		}
	},
}

// slowly is a body whose pieces come 50 ms apart.
type slowly struct{ pieces []string }

func (s *slowly) Read(p []byte) (int, error) {
	if len(s.pieces) == 0 {
		return 0, io.EOF
	}
	time.Sleep(50 * time.Millisecond)
	n := copy(p, s.pieces[0])
	s.pieces = s.pieces[1:]
	return n, nil
}

func (*slowly) Close() error { return nil }

// edited replaces texts in a recording of format 1, and returns the directory with it.
func edited(t *testing.T, name string, oldnew ...string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", "format1", name+".yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(oldnew); i += 2 {
		if !strings.Contains(string(text), oldnew[i]) {
			t.Fatalf("%q is not in %s", oldnew[i], name)
		}
		text = []byte(strings.Replace(string(text), oldnew[i], oldnew[i+1], 1))
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "edited.yaml"), text, 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

// A person reads texts as they are: code has tabs, and answers have emojis.
func TestATextOfManyLinesIsWrittenAsItIs(t *testing.T) {
	for _, text := range []string{
		"func main() {\n\tfmt.Println(\"hi\")\n\n\treturn // 👩‍💻\n}", "a\n\n\nb\n\n", "# Title\n\n- one: 1\n- 'two'\n", "\ttab first\nb", "日本語\nعربى\n",
	} {
		dir := t.TempDir()
		if _, err := recorder(t, dir).Model(answers(says(text))).Complete(t.Context(), llm.Prompt("?")); err != nil {
			t.Fatal(err)
		}
		r := only(t, dir)
		file, err := os.ReadFile(r.Path)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(text) {
			if line = strings.TrimSuffix(line, "\n"); !strings.Contains(string(file), "\n    "+line+"\n") && line != "" {
				t.Errorf("%q is not in\n%s", line, file)
			}
		}
		if strings.Contains(string(file), " \n") {
			t.Errorf("an editor that cleans up the ends of lines would change\n%s", file)
		}
		if r.Call.Response.Text() != text {
			t.Errorf("%q is read as %q", text, r.Call.Response.Text())
		}
	}
}

func TestAnEditedAnswerIsReplayed(t *testing.T) {
	dir := edited(t, "1-answer", "It rains in Berlin.", "The sun shines: it is 25 °C.", "output_tokens: 30", "output_tokens: 31", "finish: stop", "finish: length")
	answer, err := open(t, dir).Model("openai/gpt-6-luna").Complete(t.Context(), goldenRequest())
	if err != nil || answer.Text() != "{\"text\": \"The sun shines: it is 25 °C.\"}\n" || answer.Usage.OutputTokens != 31 || answer.Finish != llm.FinishLength {
		t.Errorf("%+v, %v", answer, err)
	}
	for _, text := range []string{"Grüße, Welt und alle anderen, die zuhören!", "G", "''"} {
		dir := edited(t, "3-stream", "|\n    Grüße, Welt 😀\n", text+"\n")
		var all llm.Assembly
		pieces, err := listened(t, open(t, dir).Model(name))
		for _, c := range pieces {
			all.Add(c.Chunk)
		}
		want := strings.TrimPrefix(strings.Trim(text, "'")+"\nafter", "\n")
		if got := all.Response(); err != nil || got.Text() != want || len(got.Message.ToolCalls()) != 1 || got.Finish != llm.FinishToolCall {
			t.Errorf("%q: got %q %+v, %v, want %q", text, got.Text(), got, err, want)
		}
	}
	for _, text := range []string{"Hello to everybody", "G"} {
		response, err := post(t, open(t, edited(t, "4-http", "Grüße", text)).Transport())
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(response.Body)
		if want := strings.Replace(strings.Join(goldenEvents, ""), "Grüße", text, 1); err != nil || string(body) != want {
			t.Errorf("got %q, %v, want %q", body, err, want)
		}
	}
	_, err = open(t, edited(t, "2-failure", "rate_limited", "overloaded", "status: 429", "status: 529", "1.5s", "3")).Model("openai/gpt-6-luna").Complete(t.Context(), llm.Prompt("refused"))
	if wait, _ := failure.RetryAfterOf(err); failure.KindOf(err) != failure.Overloaded || wait != 3*time.Second {
		t.Errorf("%v", err)
	}
}

func TestWhatIsWrongWithAFileIsSaid(t *testing.T) {
	for _, c := range []struct {
		file     string
		old, new string
		want     string
	}{
		{"1-answer", "recording: 1", "recording: 2", "edited.yaml:2: the file has format 2, which a later version of llmcall has written; this one reads format 1: use a later version, or record again"},
		{"1-answer", "recording: 1\n", "", "edited.yaml: the file does not say which format it has (recording: 1): it is not a recording, or of a version before there was one, and must be recorded again"},
		{"1-answer", "recording: 1", "recording: one", "edited.yaml:2: recording must be the version of the file's format, 1, got one"},
		{"1-answer", "of: model", "of: modle", `edited.yaml: of must be model or http, got "modle", did you mean model?`},
		{"1-answer", "temperature:", "temprature:", "request.temprature: unknown field, did you mean temperature?"},
		{"1-answer", "  finish: stop", "  color: stop", "answer.color: unknown field: known are role, parts, finish, model, request_id"},
		{"1-answer", "max_tokens: 200", "max_tokens: many", "edited.yaml: request: max_tokens must be a whole number, got a value of another type (string)"},
		{"1-answer", "took: 1.234s", "took: soon", `a time must be a number of seconds >= 0 or a duration such as "1.5s", got "soon"`},
		{"1-answer", "at: 2000-01-01T00:00:00Z", "at: noon", "edited.yaml: at must be a time such as 2026-11-26T09:14:05Z, got"},
		{"1-answer", "\n  model: openai/gpt-6-luna", "", "request.model must be the full name of a model, got nothing"},
		{"1-answer", "type: tool_call", "type: tool_cal", `the part's type "tool_cal" is unknown`},
		{"2-failure", "kind: rate_limited", "kind: rate-limited", `a kind of failure must be one of unknown, transient`},
		{"2-failure", "failure:", "failed:", "edited.yaml:12: failed: unknown field: known are recording, of, at"},
		{"3-stream", "progress: true", "progres: true", "pieces[1].progres: unknown field, did you mean progress?"},
		{"4-http", "status: 200", "status: 20", "answer.status must be an HTTP status from 200 to 599, got 20"},
		{"4-http", "method: POST", "method: ''", "request must have method and url, got nothing"},
		{"1-answer", "finish: stop", "finish: [stop", "not YAML"},
	} {
		_, err := record.Open(edited(t, c.file, c.old, c.new))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %s", c.new, err, c.want)
		}
	}
	if _, err := record.Open(t.TempDir()); err == nil || !strings.Contains(err.Error(), "holds no recordings (files ending in .yaml)") {
		t.Errorf("an empty directory: %v", err)
	}
	if _, err := record.Open(filepath.Join(t.TempDir(), "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no directory: %v", err)
	}
}

func TestTheFailureOfAnHTTPRecordingIsClassified(t *testing.T) {
	r, err := record.Read(filepath.Join("testdata", "format1", "4-http.yaml"))
	if err != nil || r.Failure() != nil {
		t.Fatalf("%v, %v", err, r.Failure())
	}
	r.HTTP.Status, r.HTTP.Body = 529, []byte(`{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}`)
	if f := r.Failure(); f == nil || f.Kind != failure.Overloaded || f.Status != 529 {
		t.Errorf("%v", f)
	}
	r, err = record.Read(filepath.Join("testdata", "format1", "2-failure.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if f := r.Failure(); f.Kind != failure.RateLimited || f.Message != "Rate limit reached" {
		t.Errorf("%v", f)
	}
}
