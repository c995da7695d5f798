package providertest

import (
	"flag"
	"os"
	"slices"
	"testing"
)

var update = flag.Bool("update", false, "write docs/tolerances.md")

func TestThePageIsWhatTheContractHas(t *testing.T) {
	const page = "../../../docs/tolerances.md"
	if *update {
		if err := os.WriteFile(page, []byte(Page()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := os.ReadFile(page); err != nil || string(got) != Page() {
		t.Errorf("%v: docs/tolerances.md is not what the contract has: run go test ./provider/internal/providertest -run Page -update", err)
	}
	seen := map[string]bool{}
	for _, row := range Tolerances {
		if seen[row.Of] || row.Holds == nil || len(row.Not) == len(Columns) {
			t.Errorf("%q: must be one row, with a test of at least one adapter", row.Of)
		}
		seen[row.Of] = true
		for name := range row.Not {
			if !slices.Contains(Columns, name) {
				t.Errorf("%q: %s is not an adapter", row.Of, name)
			}
		}
	}
}
