package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"llmcall"
	"llmcall/breaker"
	"llmcall/fleet"

	"github.com/charmbracelet/x/ansi"
)

// storeOfTest is a fleet without a store.
type storeOfTest struct {
	mu       sync.Mutex
	circuits []fleet.Circuit
	err      error
	did      []string
	asked    func() // upon each look
	closed   int
	already  bool // what is asked for is so
}

func (s *storeOfTest) Circuits(context.Context) ([]fleet.Circuit, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.asked != nil {
		s.asked()
	}
	return slices.Clone(s.circuits), s.err
}

func (s *storeOfTest) Force(_ context.Context, id string, to breaker.State, why string) (bool, error) {
	s.did = append(s.did, fmt.Sprintf("force %s %v %q", id, to, why))
	return !s.already, nil
}

func (s *storeOfTest) Reset(_ context.Context, id string) (bool, error) {
	s.did = append(s.did, "reset "+id)
	return !s.already, nil
}

func (s *storeOfTest) Close() error { s.closed++; return nil }

// do runs the command as a user does.
func (s *storeOfTest) do(ctx context.Context, args ...string) outcome {
	var out, errs bytes.Buffer
	cmd := newCircuits(func(f llmcall.Fleet) (fleetStore, string, error) {
		return s, f.String(), nil
	})
	cmd.SetArgs(args)
	cmd.SetOut(stdoutWriter{&out})
	cmd.SetErr(&errs)
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	err := cmd.ExecuteContext(ctx)
	if err != nil {
		fmt.Fprintf(&errs, "llmcall: %s\n", printable(err.Error()))
	}
	return outcome{exitCode(err), out.String(), errs.String()}
}

// fleetOfTest has a circuit in each state.
func fleetOfTest() *storeOfTest {
	return &storeOfTest{circuits: []fleet.Circuit{
		{ID: "0a1b2c3d4e5f-07dd", Name: "anthropic/claude-haiku-4-5 #12ab", Threshold: 5, MinReporters: 2, MaxProbes: 1, Processes: 8, Generation: 1},
		{ID: "1304406f5aae-07dd", Name: "openai/small at http://127.0.0.1:9001/v1 #a99d", State: breaker.Open, Cause: breaker.Cause{Kind: "overloaded", Status: 529}, By: "web-1:17",
			Failures: 5, Threshold: 5, Reporters: 2, MinReporters: 2, MaxProbes: 1, Processes: 8, Generation: 4, RetryIn: 18 * time.Second, For: 12 * time.Second},
		{ID: "1304406f5aae-9e01", Name: "openai/small at http://127.0.0.1:9001/v1 #a99d", State: breaker.HalfOpen, Failures: 5, Threshold: 5, Reporters: 2, MinReporters: 2, Probes: 1, MaxProbes: 2, Processes: 3, For: 90 * time.Second, Generation: 2},
		{ID: "5555406f5aae-07dd", Name: "gemini/gemini-test", State: breaker.Open, Forced: true, Cause: breaker.Cause{Kind: "until \x1b[31mnoon"}, By: "ops:4", Threshold: 5, MinReporters: 1, MaxProbes: 1, Processes: 1, For: 26 * time.Hour, Generation: 9},
		{ID: "6655406f5aae-07dd", Name: "acme/m", Failures: 3, Threshold: 5, Reporters: 1, MinReporters: 2, MaxProbes: 1, Processes: 8, Generation: 1},
	}}
}

const redisFlag = "--fleet=redis://u:sesame@store:6379/0"

func TestCircuitsAreListedWithTheirTrouble(t *testing.T) {
	got := fleetOfTest().do(t.Context(), redisFlag)
	want := strings.TrimPrefix(`
KEY                MODEL                                           STATE                    FAILURES  REPORTERS  PROBES  PROCESSES  NEXT PROBE  WHY
5555406f5aae-07dd  gemini/gemini-test                              forced open for 1d02h    -    -     0 of 1  1          -           until �[31mnoon, by ops:4
1304406f5aae-07dd  openai/small at http://127.0.0.1:9001/v1 #a99d  open for 12s             -    -     0 of 1  8          in 18s      overloaded (HTTP 529), by web-1:17
1304406f5aae-9e01  openai/small at http://127.0.0.1:9001/v1 #a99d  half-open for 1m30s      -    -     1 of 2  3          now         -
6655406f5aae-07dd  acme/m                                          closed                   3 of 5    1 of 2     0 of 1  8          -           -
0a1b2c3d4e5f-07dd  anthropic/claude-haiku-4-5 #12ab                closed                   0 of 5    0 of 2     0 of 1  8          -           -
`, "\n")
	if spaces := regexp.MustCompile(` {2,}`); got.code != 0 || got.stderr != "" || spaces.ReplaceAllString(got.stdout, "  ") != spaces.ReplaceAllString(want, "  ") {
		t.Errorf("exit %d %s\n%s\nwant\n%s", got.code, got.stderr, got.stdout, want)
	}
	none := (&storeOfTest{}).do(t.Context(), redisFlag)
	const hint = "llmcall: redis://u@store:6379/0 has no circuit: no process that uses this address and database number has made a call yet, or fleet_only or enable_circuit_breaker leaves its circuits out\n"
	if none.code != 0 || none.stdout != "" || none.stderr != hint {
		t.Errorf("without any: exit %d %q %q", none.code, none.stdout, none.stderr)
	}
	if asJSON := (&storeOfTest{}).do(t.Context(), redisFlag, "--json"); asJSON.code != 0 || !strings.Contains(asJSON.stdout, `"circuits": []`) || asJSON.stderr != hint {
		t.Errorf("without any, as JSON: exit %d %q %q", asJSON.code, asJSON.stdout, asJSON.stderr)
	}
}

func TestCircuitsFitATerminal(t *testing.T) {
	for _, width := range []int{40, 60, 80, 120, 200} {
		text := circuitTable(fleetOfTest().circuits, width)
		for line := range strings.Lines(text) {
			if w := ansi.StringWidth(strings.TrimSuffix(line, "\n")); w > width {
				t.Errorf("at %d columns a line has %d: %q", width, w, line)
			}
		}
		shown := strings.Join(strings.Fields(ansi.Strip(text)), " ")
		for _, want := range []string{"1304406f5aae-07dd", "openai/small at http://127.0.0.1:9001/v1 #a99d", "open for 12s", "in 18s", "overloaded (HTTP 529), by web-1:17", "3 of 5", "1 of 2"} {
			if !strings.Contains(shown, want) {
				t.Errorf("at %d columns it lacks %q: %s", width, want, shown)
			}
		}
	}
}

func TestCircuitsAsJSON(t *testing.T) {
	got := fleetOfTest().do(t.Context(), redisFlag, "--json")
	var d circuitsDocument
	if err := json.Unmarshal([]byte(got.stdout), &d); err != nil || got.code != 0 {
		t.Fatalf("exit %d: %v: %s", got.code, err, got.stdout)
	}
	want := circuitDocument{
		ID: "1304406f5aae-07dd", Name: "openai/small at http://127.0.0.1:9001/v1 #a99d", State: "open", ForSeconds: 12, Failures: 5, Threshold: 5,
		Reporters: 2, MinReporters: 2, MaxProbes: 1, Processes: 8, Generation: 4, RetryIn: 18, Why: "overloaded (HTTP 529)", By: "web-1:17",
	}
	if d.Store != "redis://u@store:6379/0" || len(d.Circuits) != 5 || d.Circuits[1] != want || !d.Circuits[0].Forced {
		t.Errorf("got %+v", d)
	}
	if none := (&storeOfTest{}).do(t.Context(), redisFlag, "--json"); !strings.Contains(none.stdout, `"circuits": []`) {
		t.Errorf("without any: %s", none.stdout)
	}
}

// A circuit is named by its key, by as much of it as is its own, or by its model.
func TestWhichCircuitIsMeant(t *testing.T) {
	for _, c := range []struct {
		args      []string
		did, says string
	}{
		{[]string{"force-open", "0a1b2c3d4e5f-07dd", "--why", "until noon"}, `force 0a1b2c3d4e5f-07dd OPEN "until noon"`, "anthropic/claude-haiku-4-5 #12ab was forced open, for all processes of redis://u@store:6379/0"},
		{[]string{"force-open", "0a1"}, `force 0a1b2c3d4e5f-07dd OPEN "forced open by ` + whoAmI() + `"`, "was forced open"},
		{[]string{"force-closed", "anthropic/claude-haiku-4-5"}, `force 0a1b2c3d4e5f-07dd CLOSED ""`, "was forced closed"},
		{[]string{"reset", "gemini/gemini-test"}, "reset 5555406f5aae-07dd", "was reset"},
		{[]string{"reset", "1304406f5aae-9"}, "reset 1304406f5aae-9e01", "was reset"},
		{[]string{"reset", "1304"}, "", `KEY "1304" is that of 2 circuits: 1304406f5aae-07dd (openai/small at http://127.0.0.1:9001/v1 #a99d), 1304406f5aae-9e01 (openai/small`},
		{[]string{"reset", "openai/small"}, "", `KEY "openai/small" is that of 2 circuits`},
		{[]string{"reset", "gemini/gemni-test"}, "", `KEY must be that of a circuit (llmcall circuits lists them), got "gemini/gemni-test", did you mean gemini/gemini-test?`},
		{[]string{"reset", "6655406f5aae-07dx"}, "", `got "6655406f5aae-07dx", did you mean 6655406f5aae-07dd?`},
		{[]string{"reset", "x"}, "", `KEY must be that of a circuit (llmcall circuits lists them), got "x"`},
	} {
		s := fleetOfTest()
		got := s.do(t.Context(), append([]string{redisFlag}, c.args...)...)
		if (c.did == "") != (len(s.did) == 0) || c.did != "" && s.did[0] != c.did || s.closed != 1 {
			t.Errorf("%q: did %q, want %s; closed %d times", c.args, s.did, c.did, s.closed)
		}
		if wantCode := map[bool]int{true: exitUsage}[c.did == ""]; got.code != wantCode || !strings.Contains(got.stdout+got.stderr, c.says) {
			t.Errorf("%q: exit %d: %s%s\nwant %s", c.args, got.code, got.stdout, got.stderr, c.says)
		}
	}
	if got := (&storeOfTest{}).do(t.Context(), redisFlag, "reset", "x"); !strings.Contains(got.stderr, `got "x", and there is none: no process that uses this address`) {
		t.Error(got.stderr)
	}
}

// Whoever is told that it was so already knows that somebody else was here first, and that
// nothing has changed.
func TestWhatIsSoAlready(t *testing.T) {
	for _, c := range []struct {
		args      []string
		did, says string
	}{
		{[]string{"reset", "0a1"}, "reset 0a1b2c3d4e5f-07dd", "0a1b2c3d4e5f-07dd  anthropic/claude-haiku-4-5 #12ab was closed already, without failures to forget, for all processes of redis://u@store:6379/0\n"},
		{[]string{"force-closed", "0a1"}, `force 0a1b2c3d4e5f-07dd CLOSED ""`, "was forced closed already, for all processes"},
		{[]string{"force-open", "5555"}, `force 5555406f5aae-07dd OPEN ""`, "was forced open already, for all processes"}, // its reason stays
		{[]string{"force-open", "5555", "--why", "until one"}, `force 5555406f5aae-07dd OPEN "until one"`, "was forced open already"},
		{[]string{"force-open", "5555", "--json"}, `force 5555406f5aae-07dd OPEN ""`, `"changed": false`},
	} {
		s := fleetOfTest()
		s.already = true
		got := s.do(t.Context(), append([]string{redisFlag}, c.args...)...)
		if got.code != 0 || len(s.did) != 1 || s.did[0] != c.did || !strings.Contains(got.stdout, c.says) {
			t.Errorf("%q: exit %d, did %q: %s%s", c.args, got.code, s.did, got.stdout, got.stderr)
		}
	}
}

// Of two providers with one address and two keys it is not known whose endpoint it is.
func TestCircuitsOfProvidersWithOneAddress(t *testing.T) {
	path := file(t, "two.yaml", `fleet: redis://store:6379/0
providers:
  acme: {protocol: openai, base_url: http://127.0.0.1:9001/v1, key: env:ACME}
  beta: {protocol: openai, base_url: http://127.0.0.1:9001/v1, key: env:BETA}
`)
	got := fleetOfTest().do(t.Context(), "--config", path)
	if got.code != 0 || !strings.Contains(got.stdout, "openai/small at http://127.0.0.1:9001/v1 #a99d") || strings.Contains(got.stdout, "acme/small") {
		t.Errorf("exit %d: %s%s", got.code, got.stdout, got.stderr)
	}
}

// What is wrong is said before a store is asked, and no password is in it.
func TestCircuitsRefuses(t *testing.T) {
	gone := file(t, "alone.yaml", "routes: {}\n")
	typo := file(t, "typo.yaml", "listen: 127.0.0.1:1\nflet: redis://:sesame@store\n")
	both := file(t, "both.yaml", "fleet: http://:sesame@store\n")
	broken := file(t, "broken.yaml", "fleet: [redis://:sesame@store\n")
	for _, c := range []struct {
		args []string
		want string
	}{
		{nil, "expected either --config FILE or --fleet URL, got neither"},
		{[]string{redisFlag, "--config", gone}, "expected either --config FILE or --fleet URL, got both"},
		{[]string{redisFlag, "force-opne", "x"}, `unknown action "force-opne", did you mean force-open?`},
		{[]string{redisFlag, "explode", "x"}, `unknown action "explode"; the actions are force-open, force-closed, reset`},
		{[]string{redisFlag, "reset"}, "reset needs the KEY of a circuit: the first column of llmcall circuits"},
		{[]string{redisFlag, "force-open", ""}, "force-open needs the KEY of a circuit, got an empty one"},
		{[]string{redisFlag, "reset", "a", "b"}, "reset takes one KEY, got 2; quote a name that has spaces"},
		{[]string{redisFlag, "--watch", "reset", "a"}, "--watch shows circuits, and can't be combined with reset"},
		{[]string{redisFlag, "--why", "x", "reset", "a"}, "--why is the reason of force-open, and has no effect without it"},
		{[]string{"--fleet", "redsi://:sesame@store"}, `--fleet must be the address of a Redis or Valkey server, such as redis://127.0.0.1:6379/0 (rediss:// for TLS), or env:NAME or file:PATH, where the address is, got "redsi" before ://, did you mean redis?`},
		{[]string{"--fleet", "store:6379"}, `got "store:6379", without redis://`},
		{[]string{"--config", "missing.yaml"}, "--config: open missing.yaml"},
		{[]string{"--config", gone}, "alone.yaml: fleet must be set, to where processes share their circuits: redis://127.0.0.1:6379/0, got nothing"},
		{[]string{"--config", typo}, "typo.yaml:2: flet: unknown field, did you mean fleet?"},
		{[]string{"--config", both}, `both.yaml:1: fleet must be the address of a Redis or Valkey server`},
		{[]string{"--config", broken}, "broken.yaml:"},
	} {
		s := &storeOfTest{asked: func() { t.Errorf("%q: the store was asked", c.args) }}
		got := s.do(t.Context(), c.args...)
		if got.code != exitUsage || !strings.Contains(got.stderr, c.want) || got.stdout != "" {
			t.Errorf("%q: exit %d %q\nwant %s", c.args, got.code, got.stderr, c.want)
		}
		if strings.Contains(got.stderr, "sesame") {
			t.Errorf("%q: the password is shown: %s", c.args, got.stderr)
		}
	}
}

// The file's other parts may be broken when somebody must act; its own names of providers are
// those that the operator knows.
func TestCircuitsOfAFile(t *testing.T) {
	path := file(t, "gateway.yaml", `
fleet: redis://store
fleet_secret: env:NOT_SET_HERE
routes: {a: {max_attemps: 3}}
providers: {acme: {protocol: openai, base_url: "http://127.0.0.1:9001/v1/"}}
`)
	s := fleetOfTest()
	if got := s.do(t.Context(), "--config", path); got.code != 0 || !strings.Contains(got.stdout, "acme/small at http://127.0.0.1:9001/v1 #a99d") || strings.Contains(got.stdout, "openai/small") {
		t.Errorf("exit %d\n%s%s", got.code, got.stdout, got.stderr)
	}
	s.circuits = slices.Delete(s.circuits, 2, 3)
	if got := s.do(t.Context(), "--config", path, "reset", "acme/small"); got.code != 0 || len(s.did) != 1 || s.did[0] != "reset 1304406f5aae-07dd" {
		t.Errorf("exit %d: %q %s", got.code, s.did, got.stderr)
	}
}

func TestAStoreThatDoesNotAnswer(t *testing.T) {
	s := &storeOfTest{err: errors.New("dial tcp 10.0.0.7:6379: connect: connection refused")}
	for _, args := range [][]string{{redisFlag}, {redisFlag, "--json"}, {redisFlag, "reset", "x"}} {
		if got := s.do(t.Context(), args...); got.code != exitProvider || got.stdout != "" || got.stderr != "llmcall: the store redis://u@store:6379/0 does not answer: dial tcp 10.0.0.7:6379: connect: connection refused\n" {
			t.Errorf("%q: exit %d %q %q", args, got.code, got.stdout, got.stderr)
		}
	}
	s.err = context.DeadlineExceeded
	if got := s.do(t.Context(), redisFlag); !strings.Contains(got.stderr, "does not answer: no answer within 3s") {
		t.Error(got.stderr)
	}
	for says, want := range map[string]string{
		"NOAUTH HELLO must be called with the client already authenticated": "the store redis://u@store:6379/0 can't be used: it wants a password, redis://USER:PASSWORD@HOST:PORT: NOAUTH",
		"WRONGPASS invalid username-password pair or user is disabled.":     "can't be used: the user or the password is wrong: WRONGPASS",
		"NOPERM this user has no permissions to run the 'scan' command":     "can't be used: its user may not do that: NOPERM",
		"DB index is out of range":                                          "can't be used: it has no database of that number: DB index",
		"This instance has cluster support disabled":                        "can't be used: addr= is for the servers of a Cluster, and it is none: This",
		"received unknown message type: 72":                                 "can't be used: what answers there is not a Redis server: received",
	} {
		s.err = errors.New(says)
		if got := s.do(t.Context(), redisFlag); got.code != exitProvider || !strings.Contains(got.stderr, want) {
			t.Errorf("exit %d: %s", got.code, got.stderr)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s.err = ctx.Err()
	if got := s.do(ctx, redisFlag); got.code != exitSignal {
		t.Errorf("interrupted: exit %d", got.code)
	}
}

// Where nobody looks at a terminal, each change is a line. Ctrl-C is how it ends.
func TestCircuitsAreWatched(t *testing.T) {
	for _, asJSON := range []bool{false, true} {
		s := fleetOfTest()
		ctx, cancel := context.WithCancel(t.Context())
		looks := 0
		s.asked = func() {
			looks++
			switch looks {
			case 2:
				c := &s.circuits[1]
				c.State, c.Cause, c.By, c.Generation, c.For = breaker.Closed, breaker.Cause{}, "", 5, 0
			case 3:
				s.err = errors.New("gone")
			case 4:
				s.err = nil
			case 5:
				cancel()
			}
		}
		args := []string{redisFlag, "--watch"}
		if asJSON {
			args = append(args, "--json")
		}
		got := s.do(ctx, args...)
		lines := strings.Split(strings.TrimSpace(got.stdout), "\n")
		if got.code != 0 || len(lines) != 6 || !strings.Contains(got.stderr, "does not answer: gone") || !strings.Contains(got.stderr, "answers again") {
			t.Fatalf("exit %d: %d lines\n%s%s", got.code, len(lines), got.stdout, got.stderr)
		}
		if !asJSON {
			if last := lines[5]; !strings.HasSuffix(last, "Z  1304406f5aae-07dd  openai/small at http://127.0.0.1:9001/v1 #a99d  closed") {
				t.Errorf("the change is %q", last)
			}
			continue
		}
		var d circuitDocument
		if err := json.Unmarshal([]byte(lines[5]), &d); err != nil || d.State != "closed" || d.ID != "1304406f5aae-07dd" || d.Time == nil {
			t.Errorf("the change is %s: %v", lines[5], err)
		}
	}
}

func TestAShellCompletesCircuits(t *testing.T) {
	s := fleetOfTest()
	for _, c := range []struct {
		typed []string
		want  []string
	}{
		{[]string{""}, []string{"force-open\trefuse all calls", "force-closed\t", "reset\t", ":4"}},
		{[]string{redisFlag, "reset", ""}, []string{"1304406f5aae-07dd\topenai/small at http://127.0.0.1:9001/v1 #a99d, open", "5555406f5aae-07dd\tgemini/gemini-test, forced open", ":4"}},
		{[]string{redisFlag, "reset", "0a"}, []string{"0a1b2c3d4e5f-07dd\t", ":4"}},
		{[]string{"reset", ""}, []string{":4"}}, // which fleet is not known yet
		{[]string{redisFlag, "reset", "0a", ""}, []string{":4"}},
	} {
		var out bytes.Buffer
		root := newCircuits(func(f llmcall.Fleet) (fleetStore, string, error) { return s, f.String(), nil })
		root.SetArgs(append([]string{"__complete"}, c.typed...))
		root.SetOut(&out)
		root.SetErr(&bytes.Buffer{})
		if err := root.ExecuteContext(t.Context()); err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(strings.TrimSpace(out.String()), "\n")
		for _, want := range c.want {
			if !slices.ContainsFunc(lines, func(line string) bool { return strings.HasPrefix(line, want) }) || lines[len(lines)-1] != c.want[len(c.want)-1] {
				t.Errorf("%q: no %q in %q", c.typed, want, lines)
			}
		}
		if len(c.typed) == 3 && c.typed[2] == "0a" && len(lines) != 2 {
			t.Errorf("%q: %q", c.typed, lines)
		}
	}
	for _, c := range []struct {
		typed []string
		want  string
	}{{[]string{"circ"}, "circuits\t"}, {[]string{"circuits", "--fleet", ""}, "redis://\t"}, {[]string{"circuits", "--config", ""}, "yaml"}} {
		if got := command(t, "", append([]string{"__complete"}, c.typed...)...); !strings.Contains(got.stdout, c.want) {
			t.Errorf("%q: %s", c.typed, got.stdout)
		}
	}
}

// A configuration that holds a password is not copied into a review file.
func TestAReviewFileHasNoPasswordOfAFleet(t *testing.T) {
	config := "max_attempts_before_human: 1\nmax_attempts: 1\nfleet: redis://u:sesame@127.0.0.1:1/0\n"
	path, review := file(t, "call.yaml", config), file(t, "review.json", "")
	if err := os.Remove(review); err != nil {
		t.Fatal(err)
	}
	got := command(t, "", "call", "--practice", "--config", path, "--check", "contains:never said", "--save", review, "Hello")
	text, err := os.ReadFile(review)
	if got.code != exitHuman || err != nil {
		t.Fatalf("exit %d: %v: %s", got.code, err, got.stderr)
	}
	if strings.Contains(string(text)+got.stdout+got.stderr, "sesame") || !strings.Contains(string(text), "call.yaml") {
		t.Errorf("the password is kept: %s", text)
	}
}

// The fleet is about how a row is asked, and not what: nothing is asked again for it.
func TestAFleetDoesNotChangeWhatABatchHasAnswered(t *testing.T) {
	rows, out := file(t, "rows.jsonl", `{"prompt": "Hello"}`+"\n"), file(t, "out.jsonl", "")
	for i, config := range []string{"max_attempts: 2\n", "max_attempts: 2\nfleet: redis://:sesame@127.0.0.1:1/0\nfleet_only: [openai/*]\nfleet_min_reporters: 3\n"} {
		got := command(t, "", "batch", rows, "-o", out, "--practice", "--config", file(t, "call.yaml", config))
		if done := strings.Contains(got.stderr, "nothing is asked"); got.code != 0 || done != (i == 1) {
			t.Errorf("run %d: exit %d: %s", i, got.code, got.stderr)
		}
		if strings.Contains(got.stdout+got.stderr, "sesame") {
			t.Errorf("run %d: the password is shown: %s", i, got.stderr)
		}
	}
}
