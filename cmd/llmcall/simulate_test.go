package main

import (
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"llmcall/simulate"

	"github.com/charmbracelet/x/ansi"
	"github.com/creack/pty"
)

// blip is a scenario of a minute with an outage of ten seconds.
const blip = `
name: blip
about: The provider is down for ten seconds.
duration: 60s
clients:
  - {name: web, processes: 5, calls_per_second: 1}
  - {name: batch, workers: 2, pause: 1s}
provider:
  latency: 500ms
  price: {input: 1, output: 2}
phases:
  - {from: 20s, to: 30s, faults: [{kind: status, status: 503}]}
`

func TestSimulateSaysWhatAConfigurationDoes(t *testing.T) {
	scenario := file(t, "blip.yaml", blip)
	impatient := file(t, "impatient.yaml", "max_attempts: 1\n")
	got := command(t, "", "simulate", "--scenario", scenario, "--compare", impatient)
	if got.code != 0 || got.stderr != "" {
		t.Fatalf("exit %d: %s", got.code, got.stderr)
	}
	for _, want := range []string{
		"blip  The provider is down for ten seconds.\n6 processes, ", "in 1 min, seed 1", "defaults  impatient\n", "\nanswered ", "\n  provider_failed ",
		"\nrequests an answer ", "\nrecovers ", "\nmoney ", "\nweb: answered ", "\nbatch: 99 % in ", "\nimpatient\n", "\noffered ", "\nsent ", "█", " a s\n", "1 min\n",
	} {
		if !strings.Contains(got.stdout, want) {
			t.Errorf("no %q in\n%s", want, got.stdout)
		}
	}
	if again := command(t, "", "simulate", "--scenario", scenario, "--compare", impatient); again.stdout != got.stdout {
		t.Errorf("the same seed gives another result:\n%s\n%s", got.stdout, again.stdout)
	}
	if other := command(t, "", "simulate", "--scenario", scenario, "--compare", impatient, "--seed", "2"); other.stdout == got.stdout || !strings.Contains(other.stdout, "seed 2") {
		t.Errorf("another seed gives\n%s", other.stdout)
	}
}

func TestSimulateRunsAllScenarios(t *testing.T) {
	if testing.Short() {
		t.Skip("thirteen scenarios")
	}
	got := command(t, "", "simulate")
	if got.code != 0 {
		t.Fatalf("exit %d: %s", got.code, got.stderr)
	}
	lines := strings.Split(strings.TrimSpace(got.stdout), "\n")
	if len(lines) != 1+len(simulate.Names()) || !strings.Contains(lines[0], "requests an answer") {
		t.Fatalf("\n%s", got.stdout)
	}
	for i, name := range simulate.Names() {
		if fields := strings.Fields(lines[i+1]); fields[0] != name || !strings.Contains(lines[i+1], " %") {
			t.Errorf("%q, want %s", lines[i+1], name)
		}
	}
}

func TestAssertions(t *testing.T) {
	scenario := file(t, "blip.yaml", blip)
	impatient := file(t, "impatient.yaml", "max_attempts: 1\n")
	for _, c := range []struct {
		assert string
		code   int
		says   string // on standard error
	}{
		{"answered >= 0.9 && answered > other.answered", 0, ""},
		{"!collapsed && time_to_recover < 60.0 && p99 > p50", 0, ""},
		{"reasons.circuit_open == 0 && reasons.provider_failed < 1", 0, ""},
		{"groups.web.answered > 0.5 && groups['batch'].calls > 3", 0, ""},
		{"cost > 0 && wasted <= cost", 0, ""},
		{"[answered, other.answered].all(x, x > 0)", 0, ""},
		{"requests_per_answer < 1", 3, "does not hold: blip: requests_per_answer < 1: requests_per_answer is 1."},
		{"other.answered >= 0.99 || failed > 1", 3, "other.answered is 0."},
		{"groups['batch'].answered > 1", 3, "groups.batch.answered is "},
		{"false", 3, "does not hold: blip: false"},
		{"answred >= 0.99", 2, `there is no figure answred, did you mean answered? (known: answered, calls,`},
		{"reasons.circuit_opened == 0", 2, "there is no figure reasons.circuit_opened, did you mean circuit_open?"},
		{"groups.wep.answered == 0", 2, "there is no figure groups.wep, did you mean web? (known: batch, web)"},
		{"p99.ms == 0", 2, "p99 is a number: it has no ms"},
		{"answered >=", 2, "such as \"answered >= 0.99\": column 12: "},
		{"answered", 2, "must be true or false, got 1"},
		{"p99 < p50 * 2", 2, "CEL calculates with numbers of one type: write 2.0 instead of 2 beside a figure with decimals"},
		{"p99 < p50 * 2.0 || calls / 2 > 10", 0, ""},
		{"'a'", 2, "its value is of type string"},
	} {
		got := command(t, "", "simulate", "--scenario", scenario, "--compare", impatient, "--assert", c.assert)
		if got.code != c.code || !strings.Contains(got.stderr, c.says) || (got.stdout == "") != (c.code == 2) {
			t.Errorf("%s: exit %d, want %d and %q:\n%s%s", c.assert, got.code, c.code, c.says, got.stderr, got.stdout)
		}
	}
	got := command(t, "", "simulate", "--scenario", scenario, "--assert", "answered > 1", "--assert", "answered > 0", "--assert", "p50 > 9")
	if got.code != 3 || strings.Count(got.stderr, "does not hold: ") != 2 {
		t.Errorf("exit %d: %s", got.code, got.stderr)
	}
	if got := command(t, "", "simulate", "--scenario", scenario, "--assert", "other.answered > 1"); got.code != 2 || !strings.Contains(got.stderr, "other needs --compare") {
		t.Errorf("exit %d: %s", got.code, got.stderr)
	}
	dead := file(t, "dead.yaml", "duration: 5s\nclients: [{calls_per_second: 9}]\nprovider: {faults: [{kind: status, status: 400}]}\n")
	if got := command(t, "", "simulate", "--scenario", dead, "--assert", "p99 < 9.0"); got.code != 3 || !strings.Contains(got.stdout, "99 % of the answers in      none\n") {
		t.Errorf("without an answer: exit %d: %s%s", got.code, got.stderr, got.stdout)
	}
	if got := command(t, "", "simulate", "--assert", "groups.web.answered > 0.0"); got.code != 2 || !strings.Contains(got.stderr, "two_tenants: --assert") {
		t.Errorf("exit %d: %s", got.code, got.stderr)
	}
	unpriced := file(t, "unpriced.yaml", "duration: 5s\nclients: [{calls_per_second: 1}]\n")
	if got := command(t, "", "simulate", "--scenario", unpriced, "--assert", "cost < 1.0"); got.code != 2 || !strings.Contains(got.stderr, "cost is not known") {
		t.Errorf("exit %d: %s", got.code, got.stderr)
	}
}

func TestSimulateSaysWhatIsWrong(t *testing.T) {
	bad := file(t, "bad.yaml", "max_tries: 3\n")
	for _, c := range []struct {
		args []string
		says []string
	}{
		{[]string{"--scenario", "outge"}, []string{"--scenario: must be one of outage, ", `got "outge", did you mean outage?`}},
		{[]string{"--scenario", file(t, "s.yaml", "durations: 3s\n")}, []string{"s.yaml:1", "durations", "duration"}},
		{[]string{"--scenario", file(t, "s.jsonl", `{"a": 1}`)}, []string{"s.jsonl has no request"}},
		{[]string{"--scenario", t.TempDir()}, []string{"holds no recordings"}},
		{[]string{"--config", bad}, []string{"--config: ", "bad.yaml:1", "max_attempts"}},
		{[]string{"--compare", bad}, []string{"--compare: ", "bad.yaml:1"}},
		{[]string{"--config", file(t, "plan.yaml", "steps: [hang]\n")}, []string{"a field of a plan, for llmcall chaos"}},
		{[]string{"--seed", "0", "--scenario", "outage"}, []string{"--seed must be a whole number of at least 1"}},
		{[]string{"--svg", "x.svg"}, []string{"--svg needs --scenario"}},
		{[]string{"--print", "outge"}, []string{"--print: no scenario is called", "outage"}},
		{[]string{"--output", "xml"}, []string{"--output"}},
		{[]string{"outage"}, []string{"simulate takes no arguments"}},
	} {
		got := command(t, "", append([]string{"simulate"}, c.args...)...)
		if got.code != 2 || got.stdout != "" {
			t.Errorf("%q: exit %d: %s", c.args, got.code, got.stdout)
		}
		for _, want := range c.says {
			if !strings.Contains(got.stderr, want) {
				t.Errorf("%q: no %q in %s", c.args, want, got.stderr)
			}
		}
	}
}

// A printed scenario can be read: the round that a user makes.
func TestAPrintedScenarioCanBeRun(t *testing.T) {
	printed := command(t, "", "simulate", "--print", "outage")
	if printed.code != 0 || !strings.HasPrefix(printed.stdout, "# ") {
		t.Fatalf("exit %d:\n%s", printed.code, printed.stdout)
	}
	mine := file(t, "outage.yaml", printed.stdout)
	own, named := command(t, "", "simulate", "--scenario", mine), command(t, "", "simulate", "--scenario", "outage")
	if own.code != 0 || own.stdout != named.stdout {
		t.Errorf("exit %d:\n%s\nwant\n%s", own.code, own.stdout, named.stdout)
	}
	list := command(t, "", "simulate", "--list")
	for _, name := range simulate.Names() {
		if !strings.Contains(list.stdout, "\n"+name+"  ") && !strings.HasPrefix(list.stdout, name+"  ") {
			t.Errorf("no %s in\n%s", name, list.stdout)
		}
	}
}

func TestSimulateWritesJSONAndAPicture(t *testing.T) {
	picture := filepath.Join(t.TempDir(), "blip.svg")
	got := command(t, "", "simulate", "--scenario", file(t, "blip.yaml", blip), "--svg", picture, "--output", "json", "--assert", "answered > 1")
	var document struct {
		Simulated []struct {
			Scenario string
			Reports  []struct {
				Config string
				Report struct{ Calls, Answered int }
			}
		}
		Broken []string `json:"broken_assertions"`
	}
	if err := json.Unmarshal([]byte(got.stdout), &document); err != nil || got.code != 3 {
		t.Fatalf("exit %d, %v: %s", got.code, err, got.stdout)
	}
	if s := document.Simulated[0]; s.Scenario != "blip" || s.Reports[0].Config != "defaults" || s.Reports[0].Report.Calls < 100 || len(document.Broken) != 1 {
		t.Errorf("%+v", document)
	}
	text, err := os.ReadFile(picture)
	if err != nil {
		t.Fatal(err)
	}
	decoder := xml.NewDecoder(strings.NewReader(string(text)))
	for err == nil {
		_, err = decoder.Token()
	}
	if !errors.Is(err, io.EOF) || !strings.Contains(string(text), "calls offered") {
		t.Errorf("%v: %.300s", err, text)
	}
	if got := command(t, "", "simulate", "--scenario", "outage", "--svg", filepath.Join(picture, "x.svg")); got.code != 1 || !strings.Contains(got.stderr, "--svg") {
		t.Errorf("exit %d: %s", got.code, got.stderr)
	}
}

// A configuration whose checks ask a judge, and whose models need a key, is simulated without
// either, and the command says what is not in the figures.
func TestJudgesAreNotAsked(t *testing.T) {
	config := file(t, "judged.yaml", "models: [openai/gpt-6-luna, anthropic/claude-haiku-5-5]\nchecks:\n  - agent_task: is polite\n  - {type: agent_task, task: is short}\nmcp_servers:\n  memory: {command: does-not-exist}\n")
	got := command(t, "", "simulate", "--config", config, "--scenario", file(t, "blip.yaml", blip))
	if got.code != 0 || !strings.Contains(got.stderr, "the requests of 2 checks that ask a model are not in the figures") {
		t.Errorf("exit %d: %s", got.code, got.stderr)
	}
}

// What the command itself has written is a scenario: recordings, and the JSON of calls.
func TestWhatWasRecordedIsAScenario(t *testing.T) {
	_, args := serve(t, `steps: [{kind: status, status: 503}, right, right]`)
	dir := filepath.Join(t.TempDir(), "calls")
	trace := ""
	for range 2 {
		got := command(t, "", append(args, "--record", dir, "--output", "json", "Say something")...)
		if got.code != 0 {
			t.Fatalf("exit %d: %s", got.code, got.stderr)
		}
		if !strings.Contains(got.stdout, `"started": "`) {
			t.Errorf("no time in %s", got.stdout)
		}
		trace += got.stdout
	}
	for name, path := range map[string]string{"recordings": dir, "a trace": file(t, "calls.jsonl", trace)} {
		got := command(t, "", "simulate", "--scenario", path)
		if got.code != 0 || !strings.Contains(strings.Join(strings.Fields(got.stdout), " "), "2 calls, 3 requests") || strings.Contains(got.stdout, "0001") {
			t.Errorf("%s: exit %d: %s\n%s", name, got.code, got.stderr, got.stdout)
		}
	}
	recordings, err := filepath.Glob(filepath.Join(dir, "*.yaml"))
	if err != nil || len(recordings) != 3 {
		t.Fatal(recordings, err)
	}
	if got := command(t, "", "simulate", "--scenario", recordings[2]); got.code != 0 || !strings.Contains(strings.Join(strings.Fields(got.stdout), " "), "1 call, 1 request.") {
		t.Errorf("exit %d: %s\n%s", got.code, got.stderr, got.stdout)
	}
}

func TestSimulateFitsTheTerminal(t *testing.T) {
	scenario, other := file(t, "blip.yaml", blip), file(t, "a-configuration-with-a-long-name.yaml", "max_attempts: 2\n")
	for _, columns := range []uint16{60, 120} {
		term := openTerminalOf(t, &pty.Winsize{Rows: 24, Cols: columns}, nil, "simulate", "--scenario", scenario, "--config", other, "--compare", other)
		if code := term.exit(); code != 0 {
			t.Fatalf("exit %d:\n%s", code, term.shown())
		}
		if !strings.Contains(term.shown(), "\x1b[34m") {
			t.Errorf("no colour in %q", term.shown())
		}
		widest := 0
		for line := range strings.Lines(term.shown()) {
			widest = max(widest, ansi.StringWidth(strings.TrimRight(line, "\r\n")))
		}
		if widest > int(columns) || widest < int(columns)-20 {
			t.Errorf("%d columns: the widest line has %d:\n%s", columns, widest, ansi.Strip(term.shown()))
		}
	}
}

func TestAnInterruptEndsASimulation(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var out, errs strings.Builder
	if code := run(ctx, []string{"simulate", "--scenario", "outage"}, strings.NewReader(""), &out, &errs); code != 130 || out.Len() > 0 {
		t.Errorf("exit %d: %s", code, errs.String())
	}
}

func TestTheHelpNamesAllFigures(t *testing.T) {
	help := command(t, "", "simulate", "--help").stdout
	_, figures, _ := strings.Cut(help, "money in dollars:")
	for _, name := range figureNames() {
		if !regexp.MustCompile(`(?m)^  ([a-z0-9_]+, )*` + name + `\b`).MatchString(figures) {
			t.Errorf("no %s in\n%s", name, figures)
		}
	}
}

// Next to a burst the usual bars are seen, since all are square roots then.
func TestABurstDoesNotHideTheRest(t *testing.T) {
	burst := strings.Replace(blip, "{name: batch, workers: 2, pause: 1s}", "{name: jobs, processes: 800, calls: 1, start: 25s}", 1)
	got := command(t, "", "simulate", "--scenario", file(t, "burst.yaml", burst))
	if got.code != 0 || !strings.Contains(got.stdout, "(bars of calls and requests are square roots)") || strings.Contains(command(t, "", "simulate", "--scenario", file(t, "blip.yaml", blip)).stdout, "square roots") {
		t.Errorf("exit %d: %s%s", got.code, got.stderr, got.stdout)
	}
}

func TestBars(t *testing.T) {
	for _, c := range []struct {
		values        []float64
		top           float64
		width, height int
		want          string
	}{
		{[]float64{0, 1, 4, 8}, 8, 4, 1, " ▁▄█"},
		{[]float64{0, 8, 9, 16}, 16, 4, 2, "  ▁█/ ███"},
		{[]float64{0, 8, 8, 16}, 16, 2, 1, "▂▆"}, // means
		{[]float64{8, 0}, 8, 4, 1, "██  "},       // wider than there are values
		{[]float64{0.001, 0}, 8, 2, 1, "▁ "},     // can be seen
		{[]float64{20}, 8, 1, 2, "█/█"},          // above the scale
		{[]float64{0, 0}, 0, 2, 1, "  "},         // no scale
		{nil, 1, 2, 1, "  "},                     // nothing
	} {
		if got := strings.Join(bars(c.values, c.top, c.width, c.height), "/"); got != c.want {
			t.Errorf("%v to %v: %q, want %q", c.values, c.top, got, c.want)
		}
	}
}

func TestAShareIsNotRoundedToAllOrNothing(t *testing.T) {
	for share, want := range map[float64]string{0: "0 %", 1: "100 %", 0.5: "50.0 %", 0.00001: "< 0.1 %", 0.99999: "> 99.9 %", 0.9994: "99.9 %"} {
		if got := percent(share); got != want {
			t.Errorf("%v: %s, want %s", share, got, want)
		}
	}
}

// The scenario with all fields, in docs/command.md, can be run.
func TestTheScenarioOfTheDocsCanBeRun(t *testing.T) {
	page, err := os.ReadFile("../../docs/command.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(page), "```yaml\nname: mine")
	text, _, found := strings.Cut(rest, "```")
	if !found {
		t.Fatal("docs/command.md has no scenario called mine")
	}
	if got := command(t, "", "simulate", "--scenario", file(t, "mine.yaml", "name: mine"+text)); got.code != 0 || !strings.Contains(got.stdout, "jobs: answered") {
		t.Errorf("exit %d: %s", got.code, got.stderr)
	}
}

// Where calls go to several models, the table says how many requests each has had.
func TestTheTableHasTheModels(t *testing.T) {
	config := file(t, "two.yaml", "models: [openai/a, openai/b]\n")
	scenario := file(t, "s.yaml", "duration: 1m\nclients: [{calls_per_second: 5}]\nphases: [{from: 0, models: [openai/a], faults: [{kind: status, error: billing}]}]\n")
	got := command(t, "", "simulate", "--config", config, "--scenario", scenario)
	if got.code != 0 || !strings.Contains(got.stdout, "  to openai/a ") || !strings.Contains(got.stdout, "  to openai/b ") {
		t.Errorf("exit %d: %s%s", got.code, got.stderr, got.stdout)
	}
}
