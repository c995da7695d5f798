// Command foresight writes docs/foresight.md, and the pictures in docs/foresight: what the
// default policy does in each scenario of package simulate, and what policies do that people
// write by hand. It is run in the root of the repository by `make foresight`. The sentences
// about what a scenario teaches are in lessons.go; figures and pictures are simulated.
package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"llmcall"
	"llmcall/simulate"
	"llmcall/simulate/plot"
)

func main() {
	root := flag.String("root", ".", "the root of the repository")
	flag.Parse()
	if err := write(*root); err != nil {
		fmt.Fprintln(os.Stderr, "foresight:", err)
		os.Exit(1)
	}
}

// write writes the page and its pictures.
func write(root string) error {
	files, err := generate(context.Background(), root)
	if err != nil {
		return err
	}
	for name, content := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, content, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// candidate is a configuration that is tried.
type candidate struct {
	name string
	text string // of its file; "" for the defaults
	cfg  llmcall.RetryConfig
}

// policies are the defaults, and those of examples/policies in the order of the page.
func policies(root string) ([]candidate, error) {
	all := []candidate{{name: "defaults"}}
	for _, name := range []string{"at-once", "exponential", "count-5"} {
		text, err := os.ReadFile(filepath.Join(root, policyFile(name)))
		if err != nil {
			return nil, err
		}
		cfg, _, err := llmcall.ParseConfig(name+".yaml", text)
		if err != nil {
			return nil, err
		}
		all = append(all, candidate{name, string(text), cfg})
	}
	return all, nil
}

// guarded are the defaults, and the same with a circuit breaker.
func guarded() []candidate {
	plain := llmcall.RetryConfig{EnableCircuitBreaker: true}
	waits, twenty := plain, plain
	waits.WaitForCircuit = true
	twenty.CircuitBreakerConfig.FailureThreshold = 20
	return []candidate{
		{name: "defaults"},
		{name: "breaker", cfg: plain},
		{name: "breaker, wait_for_circuit", cfg: waits},
		{name: "breaker, failure_threshold: 20", cfg: twenty},
	}
}

// overview is a table of what configurations make of each day: the share of the calls that
// are answered, and the requests for each answer.
func overview(days map[string]reports, of []candidate) string {
	var b strings.Builder
	head, line := "| scenario |", "| --- |"
	for _, p := range of {
		head += " " + p.name + " |"
		line += " ---: |"
	}
	b.WriteString(head + "\n" + line + "\n")
	for _, name := range simulate.Names() {
		fmt.Fprintf(&b, "| [%s](#%[1]s) |", name)
		for _, p := range of {
			r := days[name][p.name]
			fmt.Fprintf(&b, " %s, %s |", percent(r.AnsweredShare()), ratio(r.RequestsPerAnswer()))
		}
		b.WriteString("\n")
	}
	return b.String()
}

// simulated returns what the configurations make of a day.
func simulated(ctx context.Context, sc *simulate.Scenario, all []candidate) (reports, error) {
	done := reports{}
	for _, p := range all {
		report, err := simulate.Do(ctx, p.cfg, sc)
		if err != nil {
			return nil, fmt.Errorf("%s, %s: %w", sc.Name, p.name, err)
		}
		done[p.name] = report
	}
	return done, nil
}

func policyFile(name string) string { return "examples/policies/" + name + ".yaml" }

// generate returns the contents of the files by their names below the root.
func generate(ctx context.Context, root string) (map[string][]byte, error) {
	tried, err := policies(root)
	if err != nil {
		return nil, err
	}
	guards := guarded()
	files, days := map[string][]byte{}, map[string]reports{}
	var chapters strings.Builder
	for _, name := range simulate.Names() {
		sc, err := simulate.Named(name)
		if err != nil {
			return nil, err
		}
		taught, ok := lessons[name]
		if !ok {
			return nil, fmt.Errorf("lessons.go has nothing about the scenario %s", name)
		}
		day, err := simulated(ctx, sc, slices.Concat(tried, guards[1:])) // the first are the defaults in both
		if err != nil {
			return nil, err
		}
		if day["defaults"].Collapsed {
			return nil, fmt.Errorf("the defaults collapse in the scenario %s: that is a fault of theirs", name)
		}
		days[name] = day
		var drawn []plot.Named
		for _, p := range tried {
			drawn = append(drawn, plot.Named{Name: p.name, Report: day[p.name]})
		}
		if !taught.holds(day) {
			return nil, fmt.Errorf("what lessons.go says about %s is not what the figures say:\n%s%s", name, table(drawn), taught.says)
		}
		var picture bytes.Buffer
		if err := plot.SVG(&picture, sc, drawn...); err != nil {
			return nil, err
		}
		file := "foresight/" + name + ".svg"
		files["docs/"+file] = picture.Bytes()
		fmt.Fprintf(&chapters, "\n## %s\n\n%s\n\n![%s](%s)\n\n", name, strings.TrimSpace(sc.About), "calls and requests over time, for each policy", file)
		chapters.WriteString(table(drawn) + "\n" + strings.TrimSpace(taught.says) + "\n")
	}
	if !breakerHolds(days) {
		return nil, fmt.Errorf("what lessons.go says about the circuit breaker is not what the figures say:\n%s", overview(days, guards))
	}
	var page strings.Builder
	page.WriteString(strings.TrimLeft(introduction, "\n"))
	for _, p := range tried[1:] {
		fmt.Fprintf(&page, "\n**%s**, [%s](../%[2]s):\n\n```yaml\n%s```\n", p.name, policyFile(p.name), p.text)
	}
	page.WriteString(strings.NewReplacer("OVERVIEW", overview(days, tried), "BREAKER", overview(days, guards)).Replace(middle))
	page.WriteString(chapters.String())
	files["docs/foresight.md"] = []byte(page.String())
	return files, nil
}

// table has the figures of a scenario.
func table(all []plot.Named) string {
	var b strings.Builder
	b.WriteString("| | answered | half in | 99 % in | requests an answer | refusals an answer | recovers | money |\n| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n")
	for _, r := range all {
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s | %s | %s |\n", r.Name, percent(r.Report.AnsweredShare()), seconds(r.Report.P50), seconds(r.Report.P99),
			ratio(r.Report.RequestsPerAnswer()), ratio(r.Report.RefusalsPerAnswer()), recovers(r.Report), money(r.Report))
	}
	return b.String()
}

func recovers(r *simulate.Report) string {
	switch {
	case r.Collapsed:
		return "never"
	case r.TimeToRecover == simulate.Never:
		return "not in time"
	case r.TimeToRecover == 0:
		return "at once"
	}
	return "in " + seconds(r.TimeToRecover)
}

// money is what was billed.
func money(r *simulate.Report) string {
	if !r.Priced {
		return "not known"
	}
	return "$" + strconv.FormatFloat(float64(r.Cost)/1e9, 'f', 2, 64)
}

func percent(share float64) string { return strconv.FormatFloat(100*share, 'f', 1, 64) + " %" }

func ratio(v float64) string { return strconv.FormatFloat(v, 'f', 2, 64) }

func seconds(d time.Duration) string { return strconv.FormatFloat(d.Seconds(), 'f', 1, 64) + " s" }
