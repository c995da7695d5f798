package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestPointsGoUpToTheMost(t *testing.T) {
	if got, want := upTo(1000), []int{1, 2, 5, 10, 20, 50, 100, 200, 500, 1000}; !slices.Equal(got, want) {
		t.Errorf("the points are %v, not %v", got, want)
	}
}

func TestLabelsHaveTheirUnit(t *testing.T) {
	for _, c := range []struct{ got, want string }{
		{nanoseconds(10), "10 ns"}, {nanoseconds(1e5), "100 µs"}, {nanoseconds(1e6), "1 ms"}, {nanoseconds(1e10), "10 s"},
		{bytesEach(100), "100 B"}, {bytesEach(1e4), "10 kB"}, {bytesEach(1e6), "1 MB"},
		{count(100), "100"}, {count(1e4), "10,000"}, {count(1e6), "1,000,000"},
	} {
		if c.got != c.want {
			t.Errorf("the label is %q, not %q", c.got, c.want)
		}
	}
}

func TestOnlyPowersOfTenAreLabeled(t *testing.T) {
	var labels []string
	marks := decades(count).Ticks(1, 1000)
	for _, tick := range marks {
		if tick.Label != "" {
			labels = append(labels, tick.Label)
		}
	}
	if want := []string{"1", "10", "100", "1,000"}; !slices.Equal(labels, want) {
		t.Errorf("the labels are %q, not %q", labels, want)
	}
	if len(marks) != 28 {
		t.Errorf("there are %d marks", len(marks))
	}
}

func TestAFigureNamesItsAxesAndSeries(t *testing.T) {
	s := series{name: "a series"}
	for i, n := range upTo(100) {
		s.add(n, float64(100*(i+1)))
	}
	f := figure{x: "things", panels: []panel{
		{y: "time", unit: nanoseconds, series: []series{s}}, {y: "memory", unit: bytesEach, series: []series{s, s}},
	}}
	path := filepath.Join(t.TempDir(), "figure.svg")
	if err := f.save(path); err != nil {
		t.Fatal(err)
	}
	svg, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{">things<", ">time<", ">memory<", ">a series<", ">100 ns<", ">1 kB<", "sans-serif"} {
		if !strings.Contains(string(svg), text) {
			t.Errorf("%q is not in the figure", text)
		}
	}
}
