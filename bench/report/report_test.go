package main

import (
	"bytes"
	"strings"
	"testing"
)

// Every row of the table is measured, every peer that the page lists is in the
// binary, and whatever a benchmark of a whole run must have is there.
func TestEveryRowIsMeasured(t *testing.T) {
	if testing.Short() {
		t.Skip("builds and runs all benchmarks")
	}
	t.Chdir("..")
	run, err := measure(t.Context(), 1, "1x", ".")
	if err != nil {
		t.Fatal(err)
	}
	measured := map[string]bool{}
	for _, r := range judge(run) {
		measured[r.name] = true
	}
	for _, r := range rows {
		if !measured[r.name] {
			t.Errorf("the row %s lacks its benchmark, its way of ours (%s) or its floor (%s)", r.name, r.ours, r.floor)
		}
	}
	for _, p := range peers {
		if run.versions[p.module] == "" {
			t.Errorf("%s is not among the modules of the benchmarks", p.module)
		}
	}
	for _, f := range run.figures {
		known := false
		for _, p := range peers {
			known = known || strings.Contains(f.name, p.name)
		}
		if f.kind == "peer" && !known {
			t.Errorf("the page does not say which module %q is", f.name)
		}
	}
	if !strings.Contains(string(page(run, judge(run), nil)), "The check of the\nschema is") {
		t.Error("the page does not tell the share of the schema's check")
	}
}

const twoRounds = `goos: linux
cpu: A Processor
BenchmarkOneDelay/floor=random_number-2   	100	 10.0 ns/op	0 B/op	0 allocs/op
BenchmarkOneDelay/ours=Exponential.Delay-2	100	 12.0 ns/op	0 B/op	0 allocs/op
BenchmarkOneDelay/peer=cenkalti-2         	100	 11.0 ns/op	0 B/op	0 allocs/op
BenchmarkOneDelay/peer=avast-2            	100	 30.0 ns/op	0 B/op	0 allocs/op
BenchmarkClosedAllCores/floor=load_and_call	100	 2.0 ns/op	0 B/op	0 allocs/op
BenchmarkClosedAllCores/floor=load_and_call-2	100	 1.0 ns/op	0 B/op	0 allocs/op
BenchmarkClosedAllCores/ours=Do           	100	 8.0 ns/op	0 B/op	0 allocs/op
BenchmarkClosedAllCores/ours=Do-2         	100	 4.0 ns/op	0 B/op	0 allocs/op
BenchmarkClosedAllCores/peer=eapache-2    	100	 5.0 ns/op	0 B/op	0 allocs/op
BenchmarkOneDelay/floor=random_number-2   	100	 11.0 ns/op	0 B/op	0 allocs/op
BenchmarkOneDelay/ours=Exponential.Delay-2	100	 14.0 ns/op	8 B/op	1 allocs/op
BenchmarkOneDelay/peer=cenkalti-2         	100	 10.0 ns/op	0 B/op	0 allocs/op
`

func readTwoRounds(t *testing.T) *run {
	t.Helper()
	r := &run{cores: 2}
	if err := r.read(strings.NewReader(twoRounds)); err != nil {
		t.Fatal(err)
	}
	return r
}

func TestTheLeastTimeAndTheMostAllocationsOfAllRoundsCount(t *testing.T) {
	r := readTwoRounds(t)
	ours := r.find("OneDelay", "ours", "Exponential.Delay", 2)
	if got := quantity(ours.values[seconds], seconds); got != "12.0 ns" {
		t.Errorf("the time is %s", got)
	}
	if got := ours.values[allocs]; got != 1 {
		t.Errorf("there are %v allocations", got)
	}
	if r.cpu != "A Processor" {
		t.Errorf("the processor is %q", r.cpu)
	}
}

func TestTheTableNamesTheBestPeerAndHowFarATargetIsMissed(t *testing.T) {
	results := judge(readTwoRounds(t))
	if len(results) != 2 {
		t.Fatalf("there are %d rows", len(results))
	}
	want := []string{
		"one jittered delay", "12.0 ns", "10.0 ns cenkalti", "1.20", "10.0 ns random number", "1.20",
		"missed: no allocation, by 1",
	}
	if got := results[0].cells(); strings.Join(got, "|") != strings.Join(want, "|") {
		t.Errorf("the row is\n%q, not\n%q", got, want)
	}
	if got := results[1].verdict(); got != "met" {
		t.Errorf("the second row: %q", got)
	}
	var out bytes.Buffer
	if err := printTable(&out, results, map[string]note{"OneDelay": {Missed: "for a reason"}}); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "\none jittered delay: for a reason\n") {
		t.Errorf("the reason is not told:\n%s", out.String())
	}
}

func TestABenchmarkThatSaysNotWhoseItIsIsRefused(t *testing.T) {
	r := &run{cores: 2}
	if err := r.read(strings.NewReader("BenchmarkOneDelay/mine-2 \t100\t 1.0 ns/op\n")); err == nil {
		t.Error("no error")
	}
}

func TestNotesAreOnRowsThatExist(t *testing.T) {
	notes, err := readNotes()
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rows {
		if notes[r.name].Same == "" {
			t.Errorf("notes.yaml does not say how the work of %s is made the same", r.name)
		}
	}
}

func TestQuantitiesHaveThreeDigitsAndAUnit(t *testing.T) {
	for v, want := range map[float64]string{
		0.5e-9: "0.50 ns", 9.994e-9: "9.99 ns", 9.996e-9: "10.0 ns", 99.96e-9: "100 ns", 999.4e-9: "999 ns", 999.6e-9: "1.00 µs",
		4.05e-3: "4.05 ms", 2: "2.00 s",
	} {
		if got := quantity(v, seconds); got != want {
			t.Errorf("%g s is %q, not %q", v, got, want)
		}
	}
}
