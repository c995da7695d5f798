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

// withBreaker returns the table of what a circuit breaker does on each day.
func withBreaker(ctx context.Context) (string, error) {
	var b strings.Builder
	head, line := "| scenario |", "| --- |"
	for _, p := range guarded() {
		head += " " + p.name + " |"
		line += " ---: |"
	}
	b.WriteString(head + "\n" + line + "\n")
	days := map[string]reports{}
	for _, name := range simulate.Names() {
		days[name] = reports{}
		fmt.Fprintf(&b, "| [%s](#%[1]s) |", name)
		for _, p := range guarded() {
			report, err := simulate.Do(ctx, p.cfg, simulate.Must(simulate.Named(name)))
			if err != nil {
				return "", fmt.Errorf("%s, %s: %w", name, p.name, err)
			}
			days[name][p.name] = report
			fmt.Fprintf(&b, " %s, %s |", percent(report.AnsweredShare()), ratio(report.RequestsPerAnswer()))
		}
		b.WriteString("\n")
	}
	if !breakerHolds(days) {
		return "", fmt.Errorf("what lessons.go says about the circuit breaker is not what the figures say:\n%s", b.String())
	}
	return b.String(), nil
}

func policyFile(name string) string { return "examples/policies/" + name + ".yaml" }

// generate returns the contents of the files by their names below the root.
func generate(ctx context.Context, root string) (map[string][]byte, error) {
	tried, err := policies(root)
	if err != nil {
		return nil, err
	}
	files := map[string][]byte{}
	var overview, chapters strings.Builder
	head, line := "| scenario |", "| --- |"
	for _, p := range tried {
		head += " " + p.name + " |"
		line += " ---: |"
	}
	overview.WriteString(head + "\n" + line + "\n")
	for _, name := range simulate.Names() {
		sc, err := simulate.Named(name)
		if err != nil {
			return nil, err
		}
		taught, ok := lessons[name]
		if !ok {
			return nil, fmt.Errorf("lessons.go has nothing about the scenario %s", name)
		}
		var drawn []plot.Named
		byName := reports{}
		fmt.Fprintf(&overview, "| [%s](#%s) |", name, name)
		for _, p := range tried {
			report, err := simulate.Do(ctx, p.cfg, sc)
			if err != nil {
				return nil, fmt.Errorf("%s, %s: %w", name, p.name, err)
			}
			if p.text == "" && report.Collapsed {
				return nil, fmt.Errorf("the defaults collapse in the scenario %s: that is a fault of theirs", name)
			}
			drawn = append(drawn, plot.Named{Name: p.name, Report: report})
			byName[p.name] = report
			fmt.Fprintf(&overview, " %s, %s |", percent(report.AnsweredShare()), ratio(report.RequestsPerAnswer()))
		}
		overview.WriteString("\n")
		if !taught.holds(byName) {
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
	var page strings.Builder
	page.WriteString(strings.TrimLeft(introduction, "\n"))
	for _, p := range tried[1:] {
		fmt.Fprintf(&page, "\n**%s**, [%s](../%[2]s):\n\n```yaml\n%s```\n", p.name, policyFile(p.name), p.text)
	}
	guards, err := withBreaker(ctx)
	if err != nil {
		return nil, err
	}
	page.WriteString(strings.NewReplacer("OVERVIEW", overview.String(), "BREAKER", guards).Replace(middle))
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
