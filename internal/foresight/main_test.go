package main

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"llmcall/simulate"
)

const root = "../.."

func TestEachScenarioHasALesson(t *testing.T) {
	for _, name := range simulate.Names() {
		if lessons[name].says == "" {
			t.Errorf("there is no lesson about %s", name)
		}
	}
	for name := range lessons {
		if !slices.Contains(simulate.Names(), name) {
			t.Errorf("there is a lesson about %s, and no scenario", name)
		}
	}
}

// Whoever changes the engine or a scenario sees what that does to thirteen bad days: in the
// page, or here because a sentence is not true any more.
func TestThePageIsWhatIsSimulated(t *testing.T) {
	if testing.Short() {
		t.Skip("104 simulations")
	}
	files, err := generate(t.Context(), root)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range files {
		got, err := os.ReadFile(filepath.Join(root, name))
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s is of another version (%v): run make foresight", name, err)
		}
	}
	pictures, err := filepath.Glob(filepath.Join(root, "docs/foresight/*"))
	if err != nil || len(pictures) != len(simulate.Names()) {
		t.Errorf("%d pictures, %v", len(pictures), err)
	}
	for _, path := range pictures {
		info, err := os.Stat(path)
		if err != nil || info.Size() > 40<<10 {
			t.Errorf("%s has %d bytes (%v): a page has thirteen of them", path, info.Size(), err)
		}
	}
}

// A sentence that is not true is found: that of a scenario is not true of another one.
func TestASentenceThatIsNotTrueIsFound(t *testing.T) {
	r := reports{}
	for _, name := range []string{"defaults", "at-once", "exponential", "count-5"} {
		r[name] = &simulate.Report{Totals: simulate.Totals{Calls: 100, Answered: 100}, Groups: make([]simulate.Group, 2), Series: []simulate.Point{{Offered: 1, Sent: 1}}}
		r[name].Requests, r[name].Cost = 100, 1
	}
	days := map[string]reports{}
	for _, name := range simulate.Names() {
		days[name] = reports{}
		for _, p := range guarded() {
			days[name][p.name] = r["defaults"]
		}
	}
	if breakerHolds(days) {
		t.Error("the text about the breaker holds whatever happens")
	}
	for name, l := range lessons {
		if name != "quota" && l.holds(r) { // on a good day no policy differs
			t.Errorf("%s: the text holds whatever happens", name)
		}
	}
}
