package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"llmcall/chaos"
	"llmcall/gateway"
	"llmcall/internal/servers"
)

// member is the command in a process of its own: a fleet has several.
type member struct {
	t    *testing.T
	url  string
	log  *lines
	done chan error

	operators, key string // where /ui is, and its key; "": at url, without one
}

// startMember starts llmcall serve.
func startMember(t *testing.T, args ...string) *member {
	t.Helper()
	cmd := asProcess(append([]string{"serve", "--listen", "127.0.0.1:0"}, args...)...)
	p := &member{t: t, log: &lines{got: make(chan struct{}, 1)}, done: make(chan error, 1)}
	cmd.Stderr = p.log
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("serve has ended: %v: %s", cmd.Wait(), p.log)
	}
	p.url = strings.TrimSpace(line)
	t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections()
		_ = cmd.Process.Signal(os.Interrupt)
		if err := cmd.Wait(); err != nil {
			t.Errorf("serve: %v\n%s", err, p.log)
		}
	})
	return p
}

func asProcess(args ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), "LLMCALL_TEST_AS_COMMAND=1")
	return cmd
}

// runProcess runs the command to its end.
func runProcess(t *testing.T, args ...string) outcome {
	t.Helper()
	cmd := asProcess(args...)
	var out, errs strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errs
	_ = cmd.Run()
	return outcome{cmd.ProcessState.ExitCode(), out.String(), errs.String()}
}

// request makes a request of an operator.
func (p *member) request(method, url string, body io.Reader) *http.Request {
	p.t.Helper()
	req, err := http.NewRequestWithContext(p.t.Context(), method, url, body)
	if err != nil {
		p.t.Fatal(err)
	}
	if p.key != "" {
		req.SetBasicAuth("admin", p.key)
	}
	return req
}

func (p *member) get(path string) string {
	p.t.Helper()
	resp, err := http.DefaultClient.Do(p.request(http.MethodGet, cmp.Or(p.operators, p.url)+path, nil))
	if err != nil {
		p.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	return string(text)
}

var markup = regexp.MustCompile(`<[^>]*>`)

// page returns what a reader sees of /ui.
func (p *member) page() string {
	return strings.Join(strings.Fields(markup.ReplaceAllString(p.get("/ui/"), " ")), " ")
}

// asked returns how a route has answered: "200", or the error's code.
func (p *member) asked(route string) string {
	p.t.Helper()
	resp, err := http.Post(p.url+"/v1/chat/completions", "application/json", strings.NewReader(`{"model": "`+route+`", "messages": [{"role": "user", "content": "Hello"}]}`))
	if err != nil {
		p.t.Fatal(err)
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	if code := resp.Header.Get("X-Llmcall-Error"); code != "" {
		return code
	}
	return resp.Status[:3]
}

// within waits until something is so, and fails after a time.
func within(t *testing.T, d time.Duration, what string, so func() bool) {
	t.Helper()
	for end := time.Now().Add(d); !so(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not within %v", what, d)
		}
	}
}

// outage is a provider that can be down.
type outage struct {
	down     atomic.Bool
	requests atomic.Int64
	url      string
}

func newOutage(t *testing.T) *outage {
	t.Helper()
	practice, err := chaos.New(chaos.Config{})
	if err != nil {
		t.Fatal(err)
	}
	o := &outage{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		o.requests.Add(1)
		if o.down.Load() {
			http.Error(w, `{"error": {"message": "The server had an error", "type": "server_error"}}`, http.StatusInternalServerError)
			return
		}
		practice.ServeHTTP(w, r)
	}))
	t.Cleanup(func() { practice.Close(); server.Close() })
	o.url = server.URL + "/v1"
	return o
}

// Two gateways of one fleet before a provider that fails: the outage that both see opens the
// circuit of both, what one has found stands on the page of the other, and what is forced
// from a shell holds for both within a second. Without the store each goes on by itself.
func TestTwoGatewaysAreOneFleet(t *testing.T) {
	store := servers.WithPassword(t, "sesame-of-the-test")
	provider := newOutage(t)
	t.Setenv("FLEET_TEST_STORE", store.URL)
	const breaker = "enable_circuit_breaker: true, circuit_breaker_config: {failure_threshold: 4, recovery_timeout: 290s}"
	config := file(t, "gateway.yaml", fmt.Sprintf(`
fleet: env:FLEET_TEST_STORE
fleet_only: [acme/*]
providers: {acme: {protocol: openai, base_url: %q, key: none}}
routes:
  chat: {models: [acme/small], max_attempts: 1, %s}
  other: {models: [acme/large], max_attempts: 1, %[2]s}
`, provider.url, breaker))
	one, two := startMember(t, "--config", config), startMember(t, "--config", config)
	var shown []string // all that anybody was shown
	circuits := func(args ...string) outcome {
		t.Helper()
		got := command(t, "", append([]string{"circuits", "--config", config}, args...)...)
		shown = append(shown, got.stdout, got.stderr)
		return got
	}
	listed := func(name string) (d circuitDocument) {
		t.Helper()
		var all circuitsDocument
		got := circuits("--json")
		if err := json.Unmarshal([]byte(got.stdout), &all); err != nil {
			t.Fatalf("exit %d: %v: %s%s", got.code, err, got.stdout, got.stderr)
		}
		for _, d := range all.Circuits {
			if strings.HasPrefix(d.Name, name+" ") {
				return d
			}
		}
		return d
	}
	within(t, 3*time.Second, "both share the circuit", func() bool { return listed("acme/small").Processes == 2 })
	if a, b := one.asked("chat"), two.asked("chat"); a != "200" || b != "200" {
		t.Fatalf("got %s and %s", a, b)
	}

	// Two failures each: neither has seen four, the fleet has.
	provider.down.Store(true)
	for range 2 {
		for _, p := range []*member{one, two} {
			if got := p.asked("chat"); got != "provider_failed" {
				t.Fatalf("got %s\n%s", got, p.log)
			}
		}
	}
	for _, p := range []*member{one, two} {
		within(t, 3*time.Second, "the circuit is open", func() bool { return strings.Contains(p.page(), "fleet open probe at") })
	}
	before := provider.requests.Load()
	for _, p := range []*member{one, two} {
		if got := p.asked("chat"); got != "circuit_open" {
			t.Errorf("the fleet's circuit is open, and the answer is %s", got)
		}
	}
	if n := provider.requests.Load() - before; n > 0 {
		t.Errorf("%d requests after the circuit has opened", n)
	}
	got := circuits()
	for _, want := range []string{"acme/small at " + provider.url, "open for ", "  2 ", "in 4m", "(HTTP 500", ", by "} {
		if !strings.Contains(got.stdout, want) {
			t.Errorf("circuits does not say %q:\n%s", want, got.stdout)
		}
	}
	if d := listed("acme/small"); d.State != "open" || d.Processes != 2 || d.RetryIn < 200 {
		t.Errorf("circuits says %+v", d)
	}

	// What only the one has met is on the page of the other; it has not stopped the other.
	for range 3 {
		one.asked("other")
	}
	within(t, 3*time.Second, "the page of the other", func() bool { return strings.Contains(two.page(), "seen by 1 process, 2 needed") })

	// A reset lets both go on, and a force stops both.
	provider.down.Store(false)
	act := func(action string, want string) {
		t.Helper()
		if got := circuits(action, "acme/small"); got.code != 0 {
			t.Fatalf("%s: exit %d: %s", action, got.code, got.stderr)
		}
		began := time.Now()
		for _, p := range []*member{one, two} {
			within(t, time.Second, action+": all are "+want, func() bool { return p.asked("chat") == want })
		}
		t.Logf("%s was heard by both within %v", action, time.Since(began).Round(time.Millisecond))
	}
	act("reset", "200")
	act("force-open", "circuit_open")
	within(t, 3*time.Second, "the page says who has forced it", func() bool { return strings.Contains(two.page(), "forced open by "+whoAmI()) })
	t.Run("a call adopts what the fleet knows", func(t *testing.T) {
		before := provider.requests.Load()
		call := file(t, "call.yaml", fmt.Sprintf("fleet: env:FLEET_TEST_STORE\nmodel: acme/small\nproviders: {acme: {protocol: openai, base_url: %q, key: none}}\nenable_circuit_breaker: true\ncircuit_breaker_config: {failure_threshold: 4, recovery_timeout: 290s}\nmax_attempts: 1\n", provider.url))
		got := runProcess(t, "call", "--config", call, "Hello")
		if n := provider.requests.Load() - before; got.code != exitCircuit || n > 0 {
			t.Errorf("exit %d after %d requests: %s", got.code, n, got.stderr)
		}
		shown = append(shown, got.stdout, got.stderr)
	})
	act("reset", "200")
	act("force-closed", "200")
	act("reset", "200")

	// The store is gone, and comes back empty.
	store.Kill()
	for _, p := range []*member{one, two} {
		within(t, 10*time.Second, "the page says that it is alone", func() bool { return strings.Contains(p.page(), "without its fleet") })
		if got := p.asked("chat"); got != "200" {
			t.Errorf("without the store: %s", got)
		}
		if !strings.Contains(p.get("/metrics"), "\nllmcall_fleet_connected 0\n") {
			t.Error("the metrics do not say that it is alone")
		}
	}
	if got := circuits(); got.code != exitProvider || !strings.Contains(got.stderr, "does not answer") {
		t.Errorf("exit %d: %s", got.code, got.stderr)
	}
	store.Start()
	for _, p := range []*member{one, two} {
		within(t, 20*time.Second, "the page says that it is back", func() bool { return strings.Contains(p.page(), "fleet of 2") })
		if metrics := p.get("/metrics"); !strings.Contains(metrics, "\nllmcall_fleet_connected 1\n") || !strings.Contains(metrics, "\nllmcall_fleet_processes 2\n") {
			t.Error("the metrics do not say that it is back")
		}
	}
	act("force-open", "circuit_open")

	for _, p := range []*member{one, two} {
		shown = append(shown, p.get("/ui/"), p.get("/metrics"), p.log.String())
	}
	for _, text := range shown {
		if strings.Contains(text, "sesame") {
			t.Errorf("the password is shown: %s", text)
		}
	}
}

// A call of a shell is a process of a few milliseconds: what it has met reaches the others all
// the same.
func TestAFailedCallTellsTheFleet(t *testing.T) {
	store := servers.Redis(t)
	provider := newOutage(t)
	provider.down.Store(true)
	config := file(t, "call.yaml", fmt.Sprintf("fleet: %s\nmodel: acme/small\nproviders: {acme: {protocol: openai, base_url: %q, key: none}}\nenable_circuit_breaker: true\ncircuit_breaker_config: {failure_threshold: 3, recovery_timeout: 5m}\nmax_attempts: 1\n", store.URL, provider.url))
	// Before it opens, the others are given 50 ms to say how many answers they had.
	for i := range 10 {
		got := runProcess(t, "call", "--config", config, "Hello")
		switch requests := provider.requests.Load(); {
		case got.code == exitCircuit && i >= 3 && requests == int64(i):
			return
		case got.code != exitProvider:
			t.Fatalf("call %d: exit %d after %d requests: %s", i, got.code, requests, got.stderr)
		}
	}
	t.Errorf("ten calls have failed, and the circuit is closed:\n%s", command(t, "", "circuits", "--config", config).stdout)
}

// Workers of a batch in several processes are one caller to the provider: they wait for the
// circuit together.
func TestABatchWaitsForTheFleet(t *testing.T) {
	store := servers.Redis(t)
	provider := newOutage(t)
	config := file(t, "batch.yaml", fmt.Sprintf("fleet: %s\nmodel: acme/small\nproviders: {acme: {protocol: openai, base_url: %q, key: none}}\nenable_circuit_breaker: true\n", store.URL, provider.url))
	rows := file(t, "rows.jsonl", strings.Repeat(`{"prompt": "Hello"}`+"\n", 20))
	if got := runProcess(t, "batch", rows, "--config", config); got.code != 0 {
		t.Fatalf("exit %d: %s", got.code, got.stderr)
	}
	if got := command(t, "", "circuits", "--config", config, "force-open", "acme/small"); got.code != 0 {
		t.Fatalf("exit %d: %s", got.code, got.stderr)
	}
	before := provider.requests.Load()
	var wait sync.WaitGroup
	for range 2 {
		wait.Go(func() {
			if got := runProcess(t, "batch", rows, "--config", config, "--give-up-after", "1"); got.code != exitCircuit {
				t.Errorf("exit %d: %s", got.code, got.stderr)
			}
		})
	}
	wait.Wait()
	if n := provider.requests.Load() - before; n > 0 {
		t.Errorf("%d requests to a circuit that is forced open", n)
	}
}

// A store that can't be reached is said once, and is in nobody's way.
func TestACallWithoutItsStore(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	provider := newOutage(t)
	config := file(t, "call.yaml", fmt.Sprintf("fleet: redis://:sesame@127.0.0.1:1/0\nfleet_secret: env:FLEET_TEST_SECRET\nmodel: acme/small\nproviders: {acme: {protocol: openai, base_url: %q, key: none}}\nenable_circuit_breaker: true\n", provider.url))
	t.Setenv("FLEET_TEST_SECRET", "hidden-of-the-test")
	began := time.Now()
	got := runProcess(t, "call", "--config", config, "Hello")
	if took := time.Since(began); got.code != 0 || took > 3*time.Second {
		t.Errorf("exit %d after %v: %s", got.code, took, got.stderr)
	}
	if n := strings.Count(got.stderr, "goes on alone"); n > 1 || strings.Contains(got.stderr, "sesame") || strings.Contains(got.stderr, "hidden-of-the-test") {
		t.Errorf("said %d times: %s", n, got.stderr)
	}
	t.Setenv("FLEET_TEST_SECRET", "")
	if got := runProcess(t, "call", "--config", config, "Hello"); got.code != exitUsage || !strings.Contains(got.stderr, "fleet_secret: must be where a secret is, got env:FLEET_TEST_SECRET, in which there is none") {
		t.Errorf("exit %d: %s", got.code, got.stderr)
	}
	if got := runProcess(t, "call", "--config", config, "--practice", "Hello"); got.code != 0 {
		t.Errorf("practice shares nothing: exit %d: %s", got.code, got.stderr)
	}
	if got := runProcess(t, "call", "--config", config, "--dry-run", "Hello"); got.code != 0 {
		t.Errorf("a dry run shares nothing: exit %d: %s", got.code, got.stderr)
	}
}

var formFields = regexp.MustCompile(`name="(token|endpoint)" value="([^"]+)"`)

// click sends the form of the first endpoint on /ui, and returns the answer.
func (p *member) click(do, why string) (status int, text string) {
	p.t.Helper()
	form := url.Values{"do": {do}, "why": {why}}
	for _, m := range formFields.FindAllStringSubmatch(p.get("/ui/"), 2) {
		form.Set(m[1], m[2])
	}
	req := p.request(http.MethodPost, p.operators+"/ui/act", strings.NewReader(form.Encode()))
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "text/plain")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		p.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

// A click on one gateway's page acts on all; another acts on that gateway alone.
func TestAClickActsOnTheFleet(t *testing.T) {
	store := servers.Redis(t)
	provider := newOutage(t)
	key, hash := gateway.NewKey()
	config := file(t, "gateway.yaml", fmt.Sprintf("fleet: %s\nadmin: {listen: 127.0.0.1:0, sha256: %s}\nproviders: {acme: {protocol: openai, base_url: %q, key: none}}\nroutes: {chat: {models: [acme/small], max_attempts: 1}}\n", store.URL, hash, provider.url))
	one, two := startMember(t, "--config", config), startMember(t, "--config", config)
	for _, p := range []*member{one, two} {
		p.key = key
		within(t, 3*time.Second, "it serves", func() bool { return strings.Contains(p.log.String(), "operators=") })
		_, at, _ := strings.Cut(p.log.String(), "operators=")
		p.operators, _, _ = strings.Cut(at, "/ui")
	}
	within(t, 3*time.Second, "both share the circuit", func() bool {
		return strings.Contains(one.page(), "fleet of 2") && strings.Contains(two.page(), "fleet of 2")
	})
	if a, b := one.asked("chat"), two.asked("chat"); a != "200" || b != "200" {
		t.Fatalf("got %s and %s", a, b)
	}
	var took []time.Duration
	for i := range 40 {
		do, want := []string{"fleet-open", "fleet-reset"}[i%2], []string{"circuit_open", "200"}[i%2]
		began := time.Now()
		if status, text := one.click(do, "a test"); status != 200 || !strings.Contains(text, "in the whole fleet") {
			t.Fatalf("%d %s", status, text)
		}
		clicked := time.Now() // the other may know before the answer is here
		for two.asked("chat") != want {
			if time.Since(began) > 5*time.Second {
				t.Fatalf("%s: the other does not follow\n%s", do, two.log)
			}
			time.Sleep(time.Millisecond)
		}
		took = append(took, time.Since(clicked))
	}
	slices.Sort(took)
	t.Logf("after the answer to a click the other was asked, and had followed, within %v (p50), %v (p99)", took[20], took[39])
	if took[39] > time.Second {
		t.Errorf("one click was seen after %v", took[39])
	}
	if status, text := one.click("fleet-reset", ""); status != 200 || !strings.Contains(text, "closed already in the whole fleet") {
		t.Errorf("a second reset: %d %s", status, text)
	}
	if status, text := one.click("open", "here"); status != 200 || !strings.Contains(text, "forced open in this gateway") {
		t.Errorf("%d %s", status, text)
	}
	if a, b := one.asked("chat"), two.asked("chat"); a != "circuit_open" || b != "200" {
		t.Errorf("one is forced by itself: got %s and %s", a, b)
	}
	if status, _ := one.click("reset", ""); status != 200 || one.asked("chat") != "200" {
		t.Errorf("it is not reset: %d", status)
	}
	store.Kill()
	if status, text := two.click("fleet-open", ""); status != 502 || !strings.Contains(text, "fleet's") {
		t.Errorf("without the store: %d %s", status, text)
	}
	if got := two.asked("chat"); got != "200" {
		t.Errorf("without the store: %s", got)
	}
}

// A pattern that fits no model is a mistake that no answer would show.
func TestAPatternOfAFleetThatFitsNoModel(t *testing.T) {
	t.Setenv("FLEET_TEST_KEY", "one-of-the-test")
	t.Setenv("FLEET_TEST_KEY_2", "two-of-the-test")
	store := servers.Redis(t)
	provider := newOutage(t)
	base := fmt.Sprintf("fleet: %s\nproviders: {acme: {protocol: openai, base_url: %q, keys: [env:FLEET_TEST_KEY, env:FLEET_TEST_KEY_2]}, judges: {protocol: openai, base_url: %[2]q, key: none}}\n", store.URL, provider.url)
	rows := file(t, "rows.jsonl", `{"prompt": "Hello"}`+"\n")
	for _, c := range []struct{ only, warns string }{
		{"[acme/*]", ""},
		{"[acme/small, judges/one]", ""},
		{"['*/small', '*/*']", ""},
		{"[acm/small]", `fleet_only[0]: no model is "acm/small", did you mean acme/small?: nothing is shared by it`},
		{"[acme/*, openai/*]", `fleet_only[1]: no model is "openai/*"`},
		{"[acme]", `fleet_only[0]: no model is "acme"`},
	} {
		only := base + "fleet_only: " + c.only + "\n"
		call := file(t, "call.yaml", only+"model: acme/small\nenable_circuit_breaker: true\nchecks: [{agent_task: {task_prompt: It is polite., validation_model: judges/one}}]\n")
		gate := file(t, "gateway.yaml", only+"routes: {chat: {models: [acme/small], checks: [{agent_task: {task_prompt: It is polite., validation_model: judges/one}}]}}\n")
		open := file(t, "open.yaml", only+"routes: {'*': {}}\n")
		for _, run := range [][]string{{"config", "check", call}, {"call", "--config", call, "--max-attempts", "1", "Hello"}, {"batch", rows, "--config", call}} {
			got := runProcess(t, run...)
			if text := got.stdout + got.stderr; c.warns == "" && strings.Contains(text, "no model is") || !strings.Contains(text, c.warns) {
				t.Errorf("%s: %s: exit %d: %s", c.only, run[0], got.code, text)
			}
		}
		for path, warns := range map[string]string{gate: c.warns, open: ""} {
			log := startMember(t, "--config", path).log
			within(t, 5*time.Second, "it serves", func() bool { return strings.Contains(log.String(), "msg=serving") })
			if text := strings.ReplaceAll(log.String(), `\"`, `"`); warns == "" && strings.Contains(text, "no model is") || !strings.Contains(text, warns) {
				t.Errorf("%s: serve: %s", c.only, text)
			}
		}
	}
}

// The page's example is one that can be typed.
func TestTheExampleOfAFleet(t *testing.T) {
	text, err := os.ReadFile("../../examples/fleet.yaml")
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := gateway.Parse("fleet.yaml", text, noJudges)
	if err != nil || cfg.Fleet.Address != "redis://127.0.0.1:6379/0" {
		t.Fatalf("%+v, %v", cfg, err)
	}
	plan, err := readPlan("../../examples/outage.yaml")
	if err != nil {
		t.Fatal(err)
	}
	store := servers.Redis(t)
	practice, err := chaos.New(chaos.Config{Plan: plan})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(practice)
	t.Cleanup(func() { practice.Close(); server.Close() })
	config := file(t, "fleet.yaml", strings.NewReplacer("redis://127.0.0.1:6379/0", store.URL, "http://127.0.0.1:8090", server.URL).Replace(string(text)))
	one, two := startMember(t, "--config", config), startMember(t, "--config", config)
	for _, p := range []*member{one, two, one, two} {
		p.asked("chat")
	}
	within(t, 3*time.Second, "the circuit is open", func() bool {
		return strings.Contains(command(t, "", "circuits", "--config", config).stdout, " open for ")
	})
}

// What a client may use is one limit for all gateways: two do not let twice as much pass. No
// state_dir is needed for money.
func TestTheLimitsOfAClientAreTheFleets(t *testing.T) {
	store := servers.Redis(t)
	provider := newOutage(t)
	key, hash := gateway.NewKey()
	config := file(t, "gateway.yaml", fmt.Sprintf(`
fleet: %s
providers: {acme: {protocol: openai, base_url: %q, key: none}}
clients: [{name: web, sha256: %s, requests_per_minute: 6, max_cost_per_day: 5}]
routes: {chat: {models: [acme/small], prices: {acme/small: {input: 1, output: 1}}}}
`, store.URL, provider.url, hash))
	members := []*member{startMember(t, "--config", config), startMember(t, "--config", config)}
	answered := 0
	for i := range 16 {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, members[i%2].url+"/v1/chat/completions", strings.NewReader(`{"model": "chat", "messages": [{"role": "user", "content": "Hello"}]}`))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Authorization", "Bearer "+key)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		switch code := resp.Header.Get("X-Llmcall-Error"); {
		case resp.StatusCode == 200:
			answered++
		case code != "client_limit":
			t.Fatalf("request %d: %d %s: %s", i, resp.StatusCode, code, text)
		}
	}
	if answered < 5 || answered > 7 { // one may come back meanwhile
		t.Errorf("%d requests were answered, want 6", answered)
	}
	// Practice joins no fleet, and has somewhere to write.
	if p := startMember(t, "--config", config, "--practice"); strings.Contains(p.log.String(), "joined the fleet") {
		t.Errorf("practice: %s", p.log)
	}
}
