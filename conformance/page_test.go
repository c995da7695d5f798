package conformance_test

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"llmcall/chaos"
	"llmcall/failure"
)

var update = flag.Bool("update", false, "write the page anew")

const page = "../docs/conformance.md"

// large lets one call at a time have a body that is large.
var large sync.Mutex

// atATime is how many cells are made at once: they wait.
const atATime = 256

// place is where a cell stands on the page.
type place struct {
	section, row, provider int
	stream                 bool
}

// TestThePageIsWhatHappens holds docs/conformance.md to what happens. After a
// change that is meant, write it anew:
//
//	go test ./conformance -run TestThePageIsWhatHappens -update
func TestThePageIsWhatHappens(t *testing.T) {
	start := time.Now()
	var refused, limited, places []place
	failures := 0
	for i, s := range sections {
		failures += len(s.rows)
		for j, r := range s.rows {
			for k := range providers {
				if r.at != "" && r.at != providers[k].name {
					continue
				}
				for _, stream := range []bool{false, true} {
					switch at := (place{i, j, k, stream}); {
					case stream && r.only == asWhole, !stream && r.only == asStream:
					case r.refused:
						refused = append(refused, at)
					case r.limit != nil:
						limited = append(limited, at)
					default:
						places = append(places, at)
					}
				}
			}
		}
	}
	cells := make(map[place]cell)
	fill := func(places []place, atATime int) {
		var mu sync.Mutex
		var done sync.WaitGroup
		free := make(chan struct{}, atATime)
		for _, at := range places {
			free <- struct{}{}
			done.Go(func() {
				defer func() { <-free }()
				p, r := providers[at.provider], sections[at.section].rows[at.row]
				c, err := cellOf(p, r, at.stream)
				if err != nil {
					t.Errorf("%s, %s: %v", p.name, r.name, err)
				}
				mu.Lock()
				defer mu.Unlock()
				cells[at] = c
			})
		}
		done.Wait()
	}
	fill(refused, 1)       // their servers' addresses must not become another's
	fill(limited, atATime) // while there is little else to do
	fill(places, atATime)
	if t.Failed() {
		return
	}
	got := render(cells)
	t.Logf("%d cells: %d failures, %d providers, in %v", len(cells), failures, len(providers), time.Since(start).Round(time.Millisecond))
	if *update {
		if err := os.WriteFile(page, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range differ(want, got) {
		t.Error(line)
	}
}

func TestEveryErrorOfChaosHasAMeaning(t *testing.T) {
	for _, name := range chaos.ErrorNames() {
		if meanings[name] == failure.Unknown {
			t.Errorf("%s has none", name)
		}
	}
}

// differ returns the lines that only one of two pages has.
func differ(want, got []byte) (lines []string) {
	only := func(a, b []byte, mark string) {
		has := map[string]int{}
		for line := range strings.Lines(string(b)) {
			has[line]++
		}
		for line := range strings.Lines(string(a)) {
			if has[line]--; has[line] < 0 {
				lines = append(lines, mark+strings.TrimSpace(line))
			}
		}
	}
	only(want, got, "on the page:  ")
	only(got, want, "what happens: ")
	if len(lines) == 0 && !bytes.Equal(want, got) {
		lines = append(lines, page+" has its lines in another order")
	}
	return lines
}

const intro = `# What happens when a provider fails

Each failure, at each provider, as it comes: the adapter on the provider's official SDK, over real HTTP on loopback,
against [chaos](../chaos/chaos.go), which fails as the real ones do. This page is written by a test, which fails where
the page is not what happens:

    go test ./conformance -run TestThePageIsWhatHappens -update

The settings: max_attempts 3; a backoff of 20 ms, doubled each time, without jitter; max_rate_limit_wait %v;
attempt_timeout or idle_timeout %v where a row names it; a circuit breaker that opens after 10 failures; no retry budget;
the rest as it is by default. Nobody else calls the endpoint.

- **by**: a whole answer, a stream (llmcall.Stream), or both.
- **what went wrong**: the kind ([failure](../failure/failure.go)), the HTTP status, and the provider's own code.
  Within a success, the status is that of the success.
- **requests**: how many reached the server, where the failure goes on as long as it is asked; "as fit": as many as
  max_rate_limit_wait has room for.
- **waits**: those decided between them, and why; of as many as fit, the first. No request came earlier: that is
  measured. A wait that is told is not stretched by our own backoff; the first turn after it is spread by a tenth of it.
  "Pace" is our own: the rate that is learned from refusals, or what is left between two requests of one call.
- **circuit**: what the breaker counted. A *limit* counts for nothing there: all calls of the process to that endpoint
  take turns from then on, and none goes before a time that was told.
- **ended**: why there was no further attempt.
- **if once**: what comes of it when the failure happens once, and the next answer is right.

%d failures, %d providers, %d cells. Providers that do the same share a line.
`

// render writes the page.
func render(cells map[place]cell) []byte {
	var b bytes.Buffer
	failures := 0
	for _, s := range sections {
		failures += len(s.rows)
	}
	fmt.Fprintf(&b, intro, maxLimitTime, patience, failures, len(providers), len(cells))
	for i, s := range sections {
		fmt.Fprintf(&b, "\n## %s\n\n", s.title)
		if s.text != "" {
			fmt.Fprintf(&b, "%s\n\n", s.text)
		}
		b.WriteString("| failure | provider | by | what went wrong | requests | waits | circuit | ended | if once |\n")
		b.WriteString("| --- | --- | --- | --- | --- | --- | --- | --- | --- |\n")
		for j, r := range s.rows {
			name := r.name
			for _, l := range lines(i, j, cells) {
				fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s | %s | %s | %s |\n",
					name, l.who, l.by, l.kind, l.requests, l.waits, l.circuit, l.ended, l.once)
				name = ""
			}
		}
	}
	return b.Bytes()
}

// line is a line of a table: a cell, and whose it is.
type line struct {
	who, by string
	cell
}

// lines returns the lines of a row: those of equal cells are one.
func lines(section, row int, cells map[place]cell) []line {
	var out []line
	for _, by := range []string{"both", asWhole, asStream} {
		var group []line
	providers:
		for k, p := range providers {
			whole, isWhole := cells[place{section, row, k, false}]
			stream, isStream := cells[place{section, row, k, true}]
			same := isWhole && isStream && whole == stream
			var c cell
			switch {
			case by == "both" && same, by == asStream && isStream && !same:
				c = stream
			case by == asWhole && isWhole && !same:
				c = whole
			default:
				continue
			}
			for i := range group {
				if group[i].cell == c {
					group[i].who += ", " + p.name
					continue providers
				}
			}
			group = append(group, line{p.name, by, c})
		}
		if len(group) == 1 && strings.Count(group[0].who, ",") == len(providers)-1 {
			group[0].who = "all"
		}
		out = append(out, group...)
	}
	return out
}
