package providertest

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// Tolerance is something that models, servers or callers do and that an adapter makes good,
// instead of failing the call. Each is tested with each adapter: a row and a column of
// docs/tolerances.md, which [Page] writes.
type Tolerance struct {
	Of    string // what comes
	Does  string // what the adapter does
	Holds func(*testing.T, Adapter)
	// Not says why an adapter has no need of it, by the provider's name. Its cell is not
	// tested.
	Not map[string]string
}

// Tolerances are all of them, in the order of the page.
var Tolerances = slices.Concat(requestTolerances, answerTolerances)

// Columns are the adapters of the page, by the names of their providers.
var Columns = []string{"openai", "openai-responses", "anthropic", "gemini"}

func tolerances(t *testing.T, a Adapter) {
	if !slices.Contains(Columns, a.Provider) {
		t.Fatalf("%s is not a column of docs/tolerances.md: add it to Columns", a.Provider)
	}
	for _, row := range Tolerances {
		if row.Not[a.Provider] == "" {
			t.Run(row.Of, func(t *testing.T) { row.Holds(t, a) })
		}
	}
}

// Page returns the text of docs/tolerances.md.
func Page() string {
	var b strings.Builder
	b.WriteString(`# What the adapters make good

What models, servers and callers do that would fail a call, and what comes of it. Each cell with a check mark is a test of the
contract that all adapters hold (` + "`provider/internal/providertest`" + `), over real HTTP on loopback with the provider's official SDK. A
number is a note: why the adapter has no need of it. A test fails where this page is not what the contract has:

    go test ./provider/internal/providertest -run Page -update

| what comes | what is done | ` + strings.Join(Columns, " | ") + ` |
| --- | --- |` + strings.Repeat(" --- |", len(Columns)) + "\n")
	var notes []string
	for _, row := range Tolerances {
		fmt.Fprintf(&b, "| %s | %s |", row.Of, row.Does)
		for _, name := range Columns {
			why := row.Not[name]
			if why == "" {
				b.WriteString(" ✓ |")
				continue
			}
			at := slices.Index(notes, why)
			if at < 0 {
				at = len(notes)
				notes = append(notes, why)
			}
			fmt.Fprintf(&b, " %d |", at+1)
		}
		b.WriteString("\n")
	}
	b.WriteString("\n")
	for i, note := range notes {
		fmt.Fprintf(&b, "%d. %s\n", i+1, note)
	}
	return b.String()
}
