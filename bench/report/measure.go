package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/perf/benchfmt"
)

// figure is what was measured of one way to do a row's work.
type figure struct {
	row   string // the benchmark's name, without "Benchmark"
	kind  string // "ours", "peer", "floor" or "part"
	name  string // which of these
	cores int
	// values are by unit, times in seconds: the least of all rounds, but of the
	// allocations the most.
	values map[string]float64
}

const (
	seconds    = "sec/op"
	allocBytes = "B/op"
	allocs     = "allocs/op"

	allCores = "AllCores" // ends the names of the rows that are run on all cores
)

// run is all figures, in the order of the benchmarks, and where they were made.
type run struct {
	figures   []*figure
	rounds    int
	benchtime string
	cpu       string
	cores     int
	date      time.Time
	versions  map[string]string // by module
}

// only returns the figures of a row of one kind, on a number of cores.
func (r *run) only(row, kind string, cores int) []*figure {
	var found []*figure
	for _, f := range r.figures {
		if f.row == row && f.kind == kind && f.cores == cores {
			found = append(found, f)
		}
	}
	return found
}

func (r *run) find(row, kind, name string, cores int) *figure {
	for _, f := range r.only(row, kind, cores) {
		if f.name == name {
			return f
		}
	}
	return nil
}

// measure builds the benchmarks once and runs them round after round, so that a
// disturbance of the machine falls on a round of all and not on all rounds of one.
func measure(ctx context.Context, rounds int, benchtime, only string) (*run, error) {
	dir, err := os.MkdirTemp("", "llmcall-bench-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	binary := filepath.Join(dir, "bench.test")
	if out, err := exec.CommandContext(ctx, "go", "test", "-c", "-o", binary, ".").CombinedOutput(); err != nil {
		return nil, fmt.Errorf("go test -c: %w\n%s", err, out)
	}
	r := &run{rounds: rounds, benchtime: benchtime, cores: runtime.GOMAXPROCS(0), date: time.Now()}
	if r.versions, err = versions(ctx); err != nil {
		return nil, err
	}
	serial, onAllCores, err := rowsOf(ctx, binary, only)
	if err != nil {
		return nil, err
	}
	for i := range rounds {
		fmt.Fprintf(os.Stderr, "round %d of %d\n", i+1, rounds)
		for _, part := range []struct {
			rows  []string
			cores string
		}{{serial, fmt.Sprint(r.cores)}, {onAllCores, fmt.Sprintf("1,%d", r.cores)}} {
			if len(part.rows) == 0 {
				continue
			}
			out, err := exec.CommandContext(ctx, binary,
				"-test.run=^$", "-test.bench=^("+strings.Join(part.rows, "|")+")$", "-test.benchtime="+benchtime, "-test.cpu="+part.cores,
			).CombinedOutput()
			if err != nil {
				return nil, fmt.Errorf("the benchmarks: %w\n%s", err, out)
			}
			if err := r.read(bytes.NewReader(out)); err != nil {
				return nil, err
			}
		}
	}
	return r, nil
}

// versions returns the versions of the peers' modules.
func versions(ctx context.Context) (map[string]string, error) {
	args := []string{"list", "-m", "-f", "{{.Path}} {{.Version}}"}
	for _, p := range peers {
		args = append(args, p.module)
	}
	out, err := exec.CommandContext(ctx, "go", args...).Output()
	if err != nil {
		return nil, fmt.Errorf("go list -m: %w", err)
	}
	byModule := map[string]string{}
	for line := range strings.Lines(string(out)) {
		module, version, _ := strings.Cut(strings.TrimSpace(line), " ")
		byModule[module] = version
	}
	return byModule, nil
}

// rowsOf returns the names of the benchmarks to run: those on one core, and those
// on all. The second are run on one core too, to be compared.
func rowsOf(ctx context.Context, binary, only string) (serial, onAllCores []string, err error) {
	out, err := exec.CommandContext(ctx, binary, "-test.list="+only).Output()
	if err != nil {
		return nil, nil, fmt.Errorf("-bench is %q: %w", only, err)
	}
	for _, name := range strings.Fields(string(out)) {
		switch {
		case strings.HasSuffix(name, allCores):
			onAllCores = append(onAllCores, name)
		case strings.HasPrefix(name, "Benchmark"):
			serial = append(serial, name)
		}
	}
	if len(serial)+len(onAllCores) == 0 {
		return nil, nil, fmt.Errorf("-bench is %q: no benchmark has such a name", only)
	}
	return serial, onAllCores, nil
}

// read adds a round's output.
func (r *run) read(out io.Reader) error {
	reader := benchfmt.NewReader(out, "benchmarks")
	for reader.Scan() {
		switch rec := reader.Result().(type) {
		case *benchfmt.SyntaxError:
			return rec
		case *benchfmt.Result:
			if err := r.add(rec); err != nil {
				return err
			}
		}
	}
	return reader.Err()
}

func (r *run) add(rec *benchfmt.Result) error {
	if cpu := rec.GetConfig("cpu"); cpu != "" {
		r.cpu = cpu
	}
	base, parts := rec.Name.Parts()
	f := &figure{row: string(base), cores: 1, values: map[string]float64{}}
	for _, part := range parts {
		text := string(part)
		if kind, name, ok := strings.Cut(strings.TrimPrefix(text, "/"), "="); ok {
			f.kind, f.name = kind, strings.ReplaceAll(name, "_", " ")
		} else if n, err := strconv.Atoi(strings.TrimPrefix(text, "-")); err == nil {
			f.cores = n
		}
	}
	if f.kind == "" {
		return fmt.Errorf("the benchmark %s says not whose it is", rec.Name)
	}
	if known := r.find(f.row, f.kind, f.name, f.cores); known != nil {
		f = known
	} else {
		r.figures = append(r.figures, f)
	}
	for _, v := range rec.Values {
		old, known := f.values[v.Unit]
		switch {
		case !known:
			f.values[v.Unit] = v.Value
		case v.Unit == allocs:
			f.values[v.Unit] = max(old, v.Value)
		default:
			f.values[v.Unit] = min(old, v.Value)
		}
	}
	return nil
}
