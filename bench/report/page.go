package main

import (
	"bytes"
	"fmt"
	"runtime"
	"strings"

	"golang.org/x/text/language"
	"golang.org/x/text/message"
)

// peers are the libraries that stand beside ours: how the tables call them,
// their modules, and what is used of them.
var peers = []struct{ name, module, use string }{
	{"failsafe-go", "github.com/failsafe-go/failsafe-go", "circuit breaker (executor, and permits alone), retry"},
	{"gobreaker", "github.com/sony/gobreaker/v2", "circuit breaker, two-step circuit breaker"},
	{"eapache", "github.com/eapache/go-resiliency", "circuit breaker, retrier"},
	{"rubyist", "github.com/rubyist/circuitbreaker", "circuit breaker, panel (the lookup)"},
	{"cenkalti", "github.com/cenkalti/backoff/v7", "delays, retry"},
	{"avast", "github.com/avast/retry-go/v5", "delays, retry"},
	{"sethvargo", "github.com/sethvargo/go-retry", "delays, retry"},
	{"hashicorp", "github.com/hashicorp/go-retryablehttp", "delays, retry of HTTP requests"},
	{"time-rate", "golang.org/x/time", "rate: a limiter without a limit"},
	{"aws", "github.com/aws/aws-sdk-go-v2", "aws/retry: delays, retry decisions, the retry loop"},
}

// page is docs/benchmarks.md.
func page(run *run, results []*result, notes map[string]note) []byte {
	var b bytes.Buffer
	p := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line := func(cells []string) { p("| %s |", strings.Join(cells, " | ")) }
	head := func(cells ...string) {
		line(cells)
		p("|%s", strings.Repeat(" --- |", len(cells)))
	}

	p("<!-- written by bench/report; see the end of the page -->")
	p("# Benchmarks\n")
	p("What the breaker, the retry engine and the delays cost, beside the libraries that do the same work and beside the least that")
	p("the machine can do for it (the floor), all in one run.\n")
	p("Machine: %s, %d cores, %s/%s. Go: %s. Date: %s. Each figure is the least of %d rounds of %s, but",
		run.cpu, run.cores, runtime.GOOS, runtime.GOARCH, runtime.Version(), run.date.Format("2006-01-02"), run.rounds, run.benchtime)
	p("of the allocations the most. Only the ratios hold elsewhere.\n")

	p("## Side by side\n")
	head(columns...)
	for _, r := range results {
		line(r.cells())
	}
	p("")
	p("The targets: in each row but those for memory and validation no allocation, and")
	for _, r := range results {
		var texts []string
		for _, t := range r.targets {
			if t.text != noAllocation.text {
				texts = append(texts, t.text)
			}
		}
		if len(texts) > 0 {
			p("- %s: %s", r.title, strings.Join(texts, "; "))
		}
	}

	var missed []*result
	for _, r := range results {
		if len(r.missed) > 0 {
			missed = append(missed, r)
		}
	}
	if len(missed) > 0 {
		p("\n## Missed, and why\n")
		for _, r := range missed {
			p("- %s (%s): %s", r.title, strings.Join(r.missed, "; "), notes[r.name].why())
		}
	}

	if whole, check := run.find("Validation", "ours", "RetryWithValidation", run.cores), run.find("Validation", "part", "schema check", run.cores); whole != nil && check != nil {
		p("\n## RetryWithValidation\n")
		p("A call with a JSON Schema of ten fields takes %s, %s bytes and %s allocations, beside the model's own time. The check of the",
			quantity(whole.values[seconds], seconds), count(whole.values[allocBytes]), count(whole.values[allocs]))
		p("schema is %.0f %% of the time, %.0f %% of the bytes and %.0f %% of the allocations.",
			percent(check, whole, seconds), percent(check, whole, allocBytes), percent(check, whole, allocs))
	}

	p("\n## How the work is made the same\n")
	p("The functions that are called are the same for all, can't be inlined, and are reached through a variable. Each context is one")
	p("that can be cancelled. What a library's documentation makes once is made once; what it makes for each call is made for each.\n")
	for _, r := range results {
		if same := notes[r.name].Same; same != "" {
			p("- **%s**: %s", r.title, same)
		}
	}

	p("\n## All figures\n")
	head("row", "who", "time", "bytes", "allocations")
	for _, r := range results {
		if r.unit != seconds {
			continue
		}
		for _, f := range run.figures {
			if f.row != r.name {
				continue
			}
			title := r.title
			if strings.HasSuffix(r.name, allCores) && f.cores == 1 {
				title += ": on one"
			}
			line([]string{
				title, f.who(), quantity(f.values[seconds], seconds), count(f.values[allocBytes]), count(f.values[allocs]),
			})
		}
	}
	p("")
	head("memory of a breaker", "bytes", "objects", "goroutines")
	for _, f := range run.figures {
		if f.row == "Memory" {
			line([]string{
				f.who(), digits(f.values["bytes/breaker"]), digits(f.values["objects/breaker"]), digits(f.values["goroutines/breaker"]),
			})
		}
	}

	p("\n## The peers\n")
	head("name", "module", "version", "what is used")
	for _, peer := range peers {
		line([]string{peer.name, peer.module, run.versions[peer.module], peer.use})
	}
	p("\ncep21/circuit/v4 and mercari/go-circuitbreaker belong here too. The module proxy that these figures were made with serves neither")
	p("them nor cep21/circuit/v3, which could have stood in, so they are missing from this run.\n")

	p("## Cost as work grows\n")
	p("Calls are RetryWithValidation as a whole, without the time of the model.\n")
	for _, plot := range []struct{ file, about string }{
		{"calls-in-flight", "Calls in flight, from 1 to 10,000: all are held in the model until the last has come, and then let go at once."},
		{"keys", "Keys in a registry, from 1 to 100,000, looked up in random order, beside a plain map. Where the keys outgrow the processor's cache, both slow down."},
		{"conversation", "Messages in the conversation, from 1 to 1,000."},
		{"schema", "Fields in the JSON Schema, from 1 to 1,000."},
	} {
		p("%s\n", plot.about)
		p("![%s](%s.svg)\n", plot.about, plot.file)
	}

	p("## How to get these figures again\n")
	p("```\nmake bench    # this page; some minutes on a machine that does nothing else\nmake plots    # the plots\n```")
	p("`make bench ROUNDS=2 BENCHTIME=20ms` is quicker and rougher. The benchmarks are in `bench/`, a module of its own, so that no")
	p("peer becomes a dependency of llmcall.")
	return b.Bytes()
}

// who names a figure in the table of all.
func (f *figure) who() string {
	switch f.kind {
	case "ours":
		return "**ours**: " + f.name
	case "peer":
		return f.name
	}
	return f.kind + ": " + f.name
}

func count(v float64) string { return message.NewPrinter(language.English).Sprintf("%.0f", v) }

func percent(part, whole *figure, unit string) float64 {
	return 100 * part.values[unit] / whole.values[unit]
}
