package llmcall_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"llmcall"
	"llmcall/failure"
	"llmcall/internal/npm"
	"llmcall/llm"
)

// The model, and what serves it: see testdata/model/README.md.
const realModel = "tiny-json-2.gguf"

const llamaVersion = "3.22.1" // of node-llama-cpp

// llamaBinaries are the prebuilt ones, as package node-llama-cpp names them.
var llamaBinaries = map[string]string{
	"linux/amd64": "linux-x64", "linux/arm64": "linux-arm64", "darwin/arm64": "mac-arm64-metal", "darwin/amd64": "mac-x64",
}

// installLlama returns a folder with node-llama-cpp in it.
func installLlama(t *testing.T) string {
	t.Helper()
	binary, ok := llamaBinaries[runtime.GOOS+"/"+runtime.GOARCH]
	if !ok {
		t.Skipf("no prebuilt llama.cpp for %s/%s", runtime.GOOS, runtime.GOARCH)
	}
	for _, program := range []string{"node", "npm"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Fatalf("LLMCALL_REAL=1 is set, and %s is missing: %v", program, err)
		}
	}
	dir, err := npm.Install(t, "node-llama-cpp-"+llamaVersion, nil,
		"install", "--omit=optional", "node-llama-cpp@"+llamaVersion, "@node-llama-cpp/"+binary+"@"+llamaVersion)
	if err != nil {
		t.Fatalf("npm install: %v", err)
	}
	return dir
}

// serveRealModel starts the model's server and returns its address.
func serveRealModel(t *testing.T) string {
	t.Helper()
	dir := npm.Beside(t, installLlama(t), "testdata/model/serve.mjs")
	file, err := filepath.Abs(filepath.Join("testdata", "model", realModel))
	if err != nil {
		t.Fatal(err)
	}
	var errs bytes.Buffer
	server := exec.Command("node", filepath.Join(dir, "serve.mjs"), file)
	server.Stderr = &errs
	stdin, err := server.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := server.StdoutPipe()
	if err == nil {
		err = server.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = stdin.Close() // it ends then
		_ = server.Wait()
	})
	port, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatalf("the server did not start: %v\n%s", err, errs.String())
	}
	return "http://127.0.0.1:" + strings.TrimSpace(port)
}

// realCompletion asks the server once. An adapter would do as well; with this the
// test measures the words alone.
func realCompletion(ctx context.Context, url string, req *llm.Request) (*llm.Response, error) {
	type message struct {
		Role    llm.Role `json:"role"`
		Content string   `json:"content"`
	}
	body := struct {
		Messages    []message `json:"messages"`
		Temperature *float64  `json:"temperature"`
		Seed        *int64    `json:"seed"`
	}{Temperature: req.Temperature, Seed: req.Seed}
	for _, m := range req.Messages {
		body.Messages = append(body.Messages, message{m.Role, m.Text()})
	}
	data, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	asked, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	asked.Close = true // so that no connection outlives the test
	resp, err := http.DefaultClient.Do(asked)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		return nil, &failure.Error{Kind: failure.InvalidRequest, Message: fmt.Sprintf("%s: %s %v", resp.Status, text, err)}
	}
	var got struct {
		Choices []struct{ Message message }
		Usage   struct {
			PromptTokens     int64 `json:"prompt_tokens"`
			CompletionTokens int64 `json:"completion_tokens"`
		}
	}
	if err := json.Unmarshal(text, &got); err != nil {
		return nil, err
	}
	answer := llm.Reply(got.Choices[0].Message.Content)
	answer.Usage = llm.Usage{InputTokens: got.Usage.PromptTokens, OutputTokens: got.Usage.CompletionTokens}
	return answer, nil
}

// resident is what the model knows to read out of a sentence.
type resident struct {
	Name string `json:"name"`
	Age  int    `json:"age"`
	City string `json:"city"`
}

// residents are n people of whom the model has heard the names.
func residents(n int) (all []resident) {
	r := rand.New(rand.NewPCG(1, 2))
	pick := func(from string) string {
		names := strings.Fields(from)
		return names[r.IntN(len(names))]
	}
	for range n {
		first := pick("Rosa Irene Elena Wanda Bruno Greta Vera Paula Nadia Simon Tania Zoe Farid Oscar David Alice Lukas Karin Jonas Hugo Carla Maria Yusuf Quinn")
		last := pick("Jensen Patel Tanaka Ivanov Kumar Evans Rossi Berg Silva Weber Garcia Hansen Lopez Okafor Novak Adams Meyer Dubois Fischer Chen")
		city := pick("Berlin Seoul Athens Essen Tokyo Quito Dublin Rome Lima Vienna Geneva Milan Nairobi Hanoi Warsaw Oslo Lagos Prague Cairo Paris")
		all = append(all, resident{first + " " + last, 20 + r.IntN(60), city})
	}
	return all
}

// habit is what is wrong with an answer of the model, in the words of both
// messages that it was trained on. They are those of the time of its training,
// whatever the checks say today.
type habit struct{ problem, fix, short string }

func habitOf(answer string, f *llmcall.Feedback) habit {
	c := f.Complaints[0]
	place := ""
	if c.Line > 0 {
		place = fmt.Sprintf("Line %d, column %d: ", c.Line, c.Column)
	}
	var fields map[string]any
	switch err := json.Unmarshal([]byte(answer), &fields); {
	case err == nil:
		for name, kind := range map[string]string{"name": "a string", "age": "an integer", "city": "a string"} {
			if fields[name] == nil {
				return habit{fmt.Sprintf("the property %q is missing", name), fmt.Sprintf("add the property %q (%s)", name, kind), "missing property " + name}
			}
		}
		if age, ok := fields["age"].(string); ok {
			return habit{fmt.Sprintf("At /age: the string %q is where an integer is wanted", age), "write it as a number, without quotes", "age: expected integer, got string"}
		}
	case strings.HasSuffix(answer, ",}"):
		return habit{place + `there is a comma before the closing "}"`, "leave out the comma after the last one", "invalid JSON"}
	case !strings.HasPrefix(answer, "{") && strings.Contains(answer, "{"):
		return habit{place + fmt.Sprintf("there is text before the JSON: %q", answer[:min(len(answer), 39)]+"…"), "answer with JSON alone, without prose around it", "invalid JSON"}
	}
	return habit{place + c.Problem, c.Suggestion, "invalid JSON"}
}

// longFeedback is the message that was sent at first.
func longFeedback(answer string, f *llmcall.Feedback) string {
	h := habitOf(answer, f)
	return fmt.Sprintf("Your answer did not pass its checks (attempt %d of %d). What is wrong with it:\n\n1. %s\n   To mend it: %s\n"+
		"\nThe original request was:\n%s\n\nAnswer the request again: give the whole answer, with every point above mended and all else as it was.",
		f.Attempt, f.MaxAttempts, h.problem, h.fix, f.Request)
}

// shortFeedback has the short words that the model was trained on.
func shortFeedback(answer string, f *llmcall.Feedback) string {
	return "Error: " + habitOf(answer, f).short + ". Try again."
}

// tally is how 300 questions ended.
type tally struct {
	first, later, wrong, failed int   // answers: right at once, right after a retry, wrong but passed, none
	retried                     int   // questions that were asked again: the same ones, whatever the message
	tokens                      int64 // in the first of these requests
}

func (t tally) perRetry() int64 { return t.tokens / int64(max(1, t.retried)) }

func (t *tally) add(more tally) {
	t.first, t.later, t.wrong, t.failed = t.first+more.first, t.later+more.later, t.wrong+more.wrong, t.failed+more.failed
	t.retried, t.tokens = t.retried+more.retried, t.tokens+more.tokens
}

func askRealModel(t *testing.T, url string, temperature float64, write func(answer string, f *llmcall.Feedback) string) (sum tally) {
	t.Helper()
	attempt, last := 0, ""
	m := llm.Func(t.Name(), func(ctx context.Context, req *llm.Request) (*llm.Response, error) {
		answer, err := realCompletion(ctx, url, req)
		if attempt++; err == nil && attempt == 2 {
			sum.retried++
			sum.tokens += answer.Usage.InputTokens
		}
		if err == nil {
			last = answer.Text()
		}
		return answer, err
	})
	cfg := exact(llmcall.RetryConfig{DisableRetryBudget: true, MaxAttempts: 2}) // the default is not known to the model
	if write != nil {
		cfg.MaxAttempts = 3
		cfg.Feedback = func(f *llmcall.Feedback) (string, error) { return write(last, f), nil }
	}
	c, err := llmcall.New([]llm.Model{m}, nil, cfg)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range residents(300) {
		req := llm.Prompt(fmt.Sprintf("%s is %d years old and lives in %s.", want.Name, want.Age, want.City))
		req.Temperature, req.Seed = &temperature, new(int64(i))
		attempt = 0
		got, result, err := llmcall.Ask[resident](t.Context(), c, req)
		switch {
		case err != nil && reasonOf(t, err) != llmcall.ReasonNoValidAnswer:
			t.Fatal(err)
		case err != nil:
			sum.failed++
		case got != want:
			sum.wrong++
		case len(result.Attempts) > 1:
			sum.later++
		default:
			sum.first++
		}
	}
	return sum
}

// What a wrong answer costs. With the long message, and the complaints of its time,
// a retried call of these questions had 498 tokens, of one character each. Right
// and wrong values are compared where the model knows both messages; it does not
// know the default.
func TestFeedbackOnARealModel(t *testing.T) {
	if os.Getenv("LLMCALL_REAL") != "1" {
		t.Skip("needs node, and 85 MB from npm at the first time: set LLMCALL_REAL=1")
	}
	url := serveRealModel(t)
	var long, short, standard tally
	for _, temperature := range []float64{1, 1.4} {
		for name, c := range map[string]struct {
			write func(string, *llmcall.Feedback) string
			sum   *tally
		}{"the long message": {longFeedback, &long}, "the short words": {shortFeedback, &short}, "the default": {nil, &standard}} {
			got := askRealModel(t, url, temperature, c.write)
			t.Logf("T=%v, %s: %d right at once, %d later, %d wrong, %d failed; %d retried, the first time with %d tokens each",
				temperature, name, got.first, got.later, got.wrong, got.failed, got.retried, got.perRetry())
			c.sum.add(got)
		}
	}
	if got, before := standard.perRetry(), long.perRetry(); got*100 > before*40 {
		t.Errorf("a retried call costs %d tokens, want at most 40 %% of %d", got, before)
	}
	if short.wrong > long.wrong || short.first+short.later < long.first+long.later-3 {
		t.Errorf("short words: %d right and %d wrong; the long message: %d right and %d wrong",
			short.first+short.later, short.wrong, long.first+long.later, long.wrong)
	}
}
