package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"llmcall/chaos"
	"llmcall/review"
)

const stairOfTest = "stages: [{attempts: 1}, {attempts: 1}, human]\nchecks: [contains:Berlin]\n"

// handOver makes a call that a person must look at, and returns its review file, and the
// server, which goes on with the steps.
func handOver(t *testing.T, further string, flags ...string) (string, *chaos.Server) {
	t.Helper()
	server, args := serve(t, "steps: [{answer: Bonn}, {answer: Köln}"+further+"]")
	path := filepath.Join(t.TempDir(), "review.json")
	args = append(append(args, "--config", file(t, "c.yaml", stairOfTest), "--save", path), flags...)
	if got := command(t, "", append(args, "What is the capital?")...); got.code != 5 || !strings.Contains(got.stderr, "the conversation is in "+path) {
		t.Fatalf("exit %d: %s", got.code, got.stderr)
	}
	return path, server
}

func TestAPersonDecidesInAnotherProcess(t *testing.T) {
	for _, c := range []struct {
		name    string
		further string // steps of the plan, for a hint
		stdin   string
		args    []string
		code    int
		stdout  string
		says    string
		asked   int // requests to the provider, of which the call made two
		decided bool
	}{
		{"accept", "", "", []string{"--accept"}, 0, "Köln\n", "", 2, true},
		{"edit", "", "Berlin\n", []string{"--edit", "-"}, 0, "Berlin\n", "", 2, true},
		{"an edit of a file", "", "", []string{"--edit", file(t, "a.txt", "East Berlin")}, 0, "East Berlin\n", "", 2, true},
		{"an edit that does not pass", "", "Bonn", []string{"--edit", "-"}, 3, "", `the text "Berlin" is missing`, 2, false},
		{"hint", ", {answer: Berlin!}", "", []string{"--hint", "It is on the Spree"}, 0, "Berlin!\n", "", 3, true},
		{"a hint that does not help", ", {answer: Ulm}, {answer: Trier}", "", []string{"--hint", "?", "--review-expires", "never"}, 5, "", "a person must look", 4, false},
		{"a hint to a provider that fails", ", {kind: status, status: 401}", "", []string{"--hint", "?"}, 5, "", "invalid_api_key", 3, false},
		{"abort", "", "", []string{"--abort"}, 3, "", "a person has ended the call\n", 2, true},
		{"abort with a reason", "", "", []string{"--abort", "too late"}, 3, "", "a person has ended the call: too late", 2, true},
		{"two decisions", "", "", []string{"--abort", "--accept"}, 2, "", "expected one of --accept, --edit, --hint and --abort, got 2", 2, false},
		{"no decision, and no terminal", "", "", []string{"--human", "https://example.org"}, 2, "", "$LLMCALL_WEBHOOK_SECRET", 2, false},
		{"an edit without a file", "", "", []string{"--edit", "missing.txt"}, 2, "", "--edit: open missing.txt", 2, false},
		{"an empty hint", "", "", []string{"--hint", ""}, 2, "", "--hint must have a value", 2, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			path, server := handOver(t, c.further)
			got := command(t, c.stdin, append([]string{"resume", path}, c.args...)...)
			if got.code != c.code || got.stdout != c.stdout || !strings.Contains(got.stderr, c.says) {
				t.Errorf("exit %d, want %d, %q and %q\n%s%s", got.code, c.code, c.stdout, c.says, got.stdout, got.stderr)
			}
			if n := len(server.Requests()); n != c.asked {
				t.Errorf("%d requests, want %d", n, c.asked)
			}
			f, err := review.Read(path)
			if err != nil || (f.Decided != "") != c.decided {
				t.Errorf("decided by %q, want %v; %v", f.Decided, c.decided, err)
			}
			if left, _ := filepath.Glob(path + ".*"); len(left) > 0 {
				t.Errorf("left: %v", left)
			}
			again := command(t, "", "resume", path, "--accept")
			if want := "is decided already, by process "; c.decided && (again.code != 2 || !strings.Contains(again.stderr, want)) || !c.decided && again.code != 0 {
				t.Errorf("again: exit %d\n%s", again.code, again.stderr)
			}
		})
	}
}

// The models are told the hint and what was wrong; the trace goes on.
func TestAHintIsToldAndTheTraceGoesOn(t *testing.T) {
	path, server := handOver(t, ", {answer: Berlin}", "--max-tokens", "77", "--system", "Be brief.")
	chat := filepath.Join(t.TempDir(), "chat.json")
	got := command(t, "", "resume", path, "--hint", "It is on the Spree", "--output", "json", "--trace", "--save", chat)
	var shown struct {
		Answer   string
		Model    string
		Attempts []struct {
			Number         int
			Stage, Outcome string
		}
	}
	if err := json.Unmarshal([]byte(got.stdout), &shown); err != nil || got.code != 0 || shown.Answer != "Berlin" {
		t.Fatalf("exit %d, %v: %s%s", got.code, err, got.stdout, got.stderr)
	}
	if a := shown.Attempts; len(a) != 3 || a[2].Number != 3 || a[2].Stage != "1" || a[2].Outcome != "valid" || a[1].Stage != "2" {
		t.Errorf("%+v", a)
	}
	if !strings.Contains(got.stderr, "└ ✓ valid") {
		t.Errorf("no trace: %s", got.stderr)
	}
	last := server.Requests()[2]
	var texts []string
	for _, m := range last.Messages {
		texts = append(texts, m.Text)
	}
	all := strings.Join(texts, "\n")
	for _, want := range []string{"Be brief.", "What is the capital?", "Köln", "It is on the Spree", `"Berlin"`} {
		if !strings.Contains(all, want) {
			t.Errorf("no %q in %s", want, all)
		}
	}
	if !strings.Contains(string(last.Body), "77") {
		t.Errorf("not the settings of the call: %s", last.Body)
	}
	if turns := conversation(t, chat); len(turns) != 3 || turns[2] != "assistant: Berlin" {
		t.Errorf("%q", turns)
	}
}

func TestWhatAReviewFileHolds(t *testing.T) {
	const key = "sk-this-is-the-secret-key-of-the-test"
	t.Setenv("OPENAI_API_KEY", key)
	t.Setenv("LLMCALL_JUDGE", "openai/judge")
	schemaFile := file(t, "s.yaml", schema)
	_, args := serve(t, "steps: [{answer: '{}'}]")
	path := filepath.Join(t.TempDir(), "chat.json")
	config := file(t, "c.yaml", "max_attempts_before_human: 1\nproviders: {acme: {protocol: openai, key: env:OPENAI_API_KEY}}\n")
	got := command(t, "", append(args, "--config", config, "--schema", schemaFile, "--check", "contains:x", "--review-expires", "2h", "--output", "json", "--save", path, "What?")...)
	var shown struct {
		Review       string    `json:"review_file"`
		Conversation string    `json:"conversation_file"`
		Expires      time.Time `json:"review_expires"`
	}
	if err := json.Unmarshal([]byte(got.stdout), &shown); err != nil || got.code != 5 || shown.Review != path || shown.Conversation != path {
		t.Fatalf("exit %d, %v: %s%s", got.code, err, got.stdout, got.stderr)
	}
	text, err := os.ReadFile(path)
	if err != nil || bytes.Contains(text, []byte(key)) {
		t.Errorf("it holds a key, %v:\n%s", err, text)
	}
	if in := time.Until(shown.Expires); in < 118*time.Minute || in > 2*time.Hour {
		t.Errorf("it expires in %v", in)
	}
	for _, gone := range []string{schemaFile, config} { // all that it needs is in it
		if err := os.Remove(gone); err != nil {
			t.Fatal(err)
		}
	}
	for _, answer := range []string{`{"n": 1}`, `{"n": "x"}`} {
		if got := command(t, answer, "resume", path, "--edit", "-"); got.code != 3 {
			t.Errorf("%s: exit %d\n%s", answer, got.code, got.stderr)
		}
	}
	got = command(t, `{"n": 1, "x": 2}`, "resume", path, "--edit", "-", "--output", "json")
	if got.code != 0 || !strings.Contains(got.stdout, `"person": "edit"`) || !strings.Contains(got.stdout, `"value"`) {
		t.Errorf("exit %d\n%s%s", got.code, got.stdout, got.stderr)
	}
}

// What is written into a configuration for a server may be a key.
func TestAReviewFileHoldsNoKeyOfAServer(t *testing.T) {
	_, args := serve(t, "steps: [{answer: Bonn}]")
	path := filepath.Join(t.TempDir(), "review.json")
	config := file(t, "c.yaml", "max_attempts_before_human: 1\nmax_attempts: 1\nchecks: [contains:Berlin]\n"+
		"mcp_servers: {facts: {command: ["+os.Args[0]+"], env: {LLMCALL_TEST_AS_SERVER: 'a-literal-key'}}}\n")
	if got := command(t, "", append(args, "--config", config, "--save", path, "?")...); got.code != 5 {
		t.Fatalf("exit %d: %s", got.code, got.stderr)
	}
	if text, err := os.ReadFile(path); err != nil || strings.Contains(string(text), "a-literal-key") || !strings.Contains(string(text), config) {
		t.Errorf("%v: %s", err, text)
	}
	if got := command(t, "Bonn", "resume", path, "--edit", "-"); got.code != 3 {
		t.Errorf("exit %d: %s", got.code, got.stderr)
	}
	if err := os.Rename(config, config+".gone"); err != nil {
		t.Fatal(err)
	}
	if got := command(t, "Berlin", "resume", path, "--edit", "-"); got.code != 2 || !strings.Contains(got.stderr, "the configuration of the call: open "+config) {
		t.Errorf("exit %d: %s", got.code, got.stderr)
	}
}

func TestAReviewFileThatIsTooLateOrAnother(t *testing.T) {
	path, _ := handOver(t, "")
	f, err := review.Read(path)
	if err != nil {
		t.Fatal(err)
	}
	f.Expires = time.Now().Add(-time.Second)
	if err := review.Write(path, f); err != nil {
		t.Fatal(err)
	}
	if got := command(t, "", "resume", path, "--accept"); got.code != 2 || !strings.Contains(got.stderr, "has expired at") {
		t.Errorf("exit %d: %s", got.code, got.stderr)
	}
	for name, content := range map[string]string{"must be the JSON of a call that waits for a person": "[]", "got other JSON": "{}"} {
		if got := command(t, "", "resume", file(t, "f.json", content), "--accept"); got.code != 2 || !strings.Contains(got.stderr, name) || strings.Contains(got.stderr, "review: ") {
			t.Errorf("exit %d: %s", got.code, got.stderr)
		}
	}
	for want, args := range map[string][]string{
		"llmcall: FILE: open missing.json: no such file or directory\n":   {"missing.json", "--accept"},
		"llmcall: --edit: open missing.json: no such file or directory\n": {path, "--edit", "missing.json"},
	} {
		if got := command(t, "", append([]string{"resume"}, args...)...); got.code != 2 || got.stderr != want {
			t.Errorf("exit %d: %swant %s", got.code, got.stderr, want)
		}
	}
	for _, wrong := range []string{"0", "-1", "soon"} {
		if got := command(t, "", "resume", path, "--accept", "--review-expires", wrong); got.code != 2 || !strings.Contains(got.stderr, "--review-expires must be a time above 0") {
			t.Errorf("%s: exit %d: %s", wrong, got.code, got.stderr)
		}
	}
}

// process starts the command in a process of its own, without a terminal.
func process(t *testing.T, args ...string) (*exec.Cmd, *bytes.Buffer) {
	t.Helper()
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), "LLMCALL_TEST_AS_COMMAND=1")
	var errs bytes.Buffer
	cmd.Stderr = &errs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd, &errs
}

func TestOfTwoProcessesThatResumeOneDoes(t *testing.T) {
	path, server := handOver(t, ", {kind: slow, delay: 300ms, answer: Berlin}, {answer: Berlin}")
	const n = 5
	var codes [n]int
	var errs [n]string
	var all sync.WaitGroup
	for i := range n {
		cmd, text := process(t, "resume", path, "--hint", "It is on the Spree")
		all.Go(func() {
			err := cmd.Wait()
			if e, ok := errors.AsType[*exec.ExitError](err); ok {
				codes[i] = e.ExitCode()
			}
			errs[i] = text.String()
		})
	}
	all.Wait()
	done := 0
	for i, code := range codes {
		switch {
		case code == 0:
			done++
		case code != 2 || !strings.Contains(errs[i], "is claimed by process ") && !strings.Contains(errs[i], "is decided already, by process "):
			t.Errorf("exit %d: %s", code, errs[i])
		}
	}
	if done != 1 || len(server.Requests()) != 3 {
		t.Errorf("%d have resumed it, %d requests", done, len(server.Requests()))
	}
}

// Whoever is killed in between leaves a whole file, and a claim that says whose it is.
func TestAResumeThatIsKilled(t *testing.T) {
	path, server := handOver(t, ", {kind: hang}")
	cmd, _ := process(t, "resume", path, "--hint", "?")
	for deadline := time.Now().Add(20 * time.Second); len(server.Requests()) < 3; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("no request came")
		}
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	got := command(t, "Berlin", "resume", path, "--edit", "-")
	claim := path + ".claim"
	if got.code != 2 || !strings.Contains(got.stderr, "is claimed by process ") || !strings.Contains(got.stderr, "if that process is gone, remove "+claim) {
		t.Fatalf("exit %d: %s", got.code, got.stderr)
	}
	if err := os.Remove(claim); err != nil {
		t.Fatal(err)
	}
	if got := command(t, "Berlin", "resume", path, "--edit", "-"); got.code != 0 || got.stdout != "Berlin\n" {
		t.Errorf("exit %d: %s", got.code, got.stderr)
	}
}

// An interrupt gives the claim back.
func TestAResumeThatIsInterrupted(t *testing.T) {
	path, server := handOver(t, ", {kind: hang}")
	cmd, errs := process(t, "resume", path, "--hint", "?")
	for deadline := time.Now().Add(20 * time.Second); len(server.Requests()) < 3; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("no request came")
		}
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil || cmd.ProcessState.ExitCode() != 130 {
		t.Errorf("%v: %s", err, errs)
	}
	if got := command(t, "", "resume", path, "--accept"); got.code != 0 {
		t.Errorf("exit %d: %s", got.code, got.stderr)
	}
}

func TestAWebhookIsToldOfACall(t *testing.T) {
	const secret = "a secret of at least 24 bytes"
	var got []review.File
	status := 200
	hook := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		if err := review.Verify(r.Header, body, secret); err != nil {
			t.Error(err)
		}
		var f review.File
		if err := json.Unmarshal(body, &f); err != nil {
			t.Error(err)
		}
		got = append(got, f)
		w.WriteHeader(status)
	}))
	defer hook.Close()
	address := hook.URL + "/?token=private"
	t.Setenv("LLMCALL_WEBHOOK_SECRET", secret)
	path, _ := handOver(t, "", "--human", address)
	f, err := review.Read(path)
	if err != nil || len(got) != 1 || got[0].ID != f.ID || got[0].Review.Last.Text() != "Köln" {
		t.Fatalf("%+v, %v", got, err)
	}
	if text, _ := os.ReadFile(path); strings.Contains(string(text), "private") || strings.Contains(string(text), secret) {
		t.Errorf("the file holds the address or the secret: %s", text)
	}

	// The call waits all the same if nobody could be told.
	status = 404
	server, args := serve(t, "repeat: true\nsteps: [{answer: Bonn}]")
	config := file(t, "c.yaml", stairOfTest)
	again := command(t, "", append(args, "--config", config, "--save", path, "--human", address, "?")...)
	if again.code != 5 || !strings.Contains(again.stderr, "nobody was told: ") || !strings.Contains(again.stderr, "the conversation is in "+path) || strings.Contains(again.stderr, "private") {
		t.Errorf("exit %d: %s", again.code, again.stderr)
	}
	n := len(server.Requests())
	for want, c := range map[string]struct{ human, secret string }{
		"needs a secret of at least 24 bytes in $LLMCALL_WEBHOOK_SECRET": {address, ""},
		"$LLMCALL_WEBHOOK_SECRET must have at least 24 bytes, got 5":     {address, "short"},
		"the address must be https, because":                             {"http://example.org", secret},
		`--human must be terminal or an https address, got "me"`:         {"me", secret},
	} {
		t.Setenv("LLMCALL_WEBHOOK_SECRET", c.secret)
		if got := command(t, "", append(args, "--config", config, "--human", c.human, "?")...); got.code != 2 || !strings.Contains(got.stderr, want) || strings.Contains(got.stderr, "private") {
			t.Errorf("%s: exit %d: %s", c.human, got.code, got.stderr)
		}
	}
	if len(server.Requests()) != n {
		t.Error("a call was made")
	}
}

// A review file is a conversation that can be continued.
func TestACallThatWaitsIsContinued(t *testing.T) {
	path, _ := handOver(t, "")
	server, args := serve(t, "steps: [{answer: Yes}]")
	if got := command(t, "", append(args, "--continue", path, "Are you sure?")...); got.code != 0 {
		t.Fatalf("exit %d: %s", got.code, got.stderr)
	}
	m := server.Requests()[0].Messages
	if len(m) != 5 || m[3].Text != "Köln" || m[4].Text != "Are you sure?" {
		t.Errorf("%+v", m)
	}
}
