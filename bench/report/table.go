package main

import (
	"bytes"
	_ "embed"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"go.yaml.in/yaml/v4"
)

// note is what a person has to say about a row.
type note struct {
	Same   string `yaml:"same"`   // how the work was made the same for all
	Missed string `yaml:"missed"` // why a target is missed
}

//go:embed notes.yaml
var notesFile []byte

// readNotes reads notes.yaml, and refuses a note on a row that does not exist.
func readNotes() (map[string]note, error) {
	notes := map[string]note{}
	d := yaml.NewDecoder(bytes.NewReader(notesFile))
	d.KnownFields(true)
	if err := d.Decode(&notes); err != nil {
		return nil, fmt.Errorf("notes.yaml: %w", err)
	}
	known := map[string]bool{}
	for _, r := range rows {
		known[r.name] = true
	}
	for name := range notes {
		if !known[name] {
			return nil, fmt.Errorf("notes.yaml: there is no row %q", name)
		}
	}
	return notes, nil
}

func (n note) why() string {
	if n.Missed == "" {
		return "no reason is given in bench/report/notes.yaml"
	}
	return n.Missed
}

var columns = []string{"row", "ours", "best peer", "ours ÷ peer", "floor", "ours ÷ floor", "target"}

// cells returns a result as the cells of the table.
func (r *result) cells() []string {
	f := r.figures
	cells := []string{r.title, quantity(r.value(f.ours), r.unit), "", "", "", ratio(r.value(f.ours), r.value(f.floor)), r.verdict()}
	if f.peer != nil {
		cells[2] = fmt.Sprintf("%s %s", quantity(r.value(f.peer), r.unit), f.peer.name)
		cells[3] = ratio(r.value(f.ours), r.value(f.peer))
	}
	cells[4] = fmt.Sprintf("%s %s", quantity(r.value(f.floor), r.unit), f.floor.name)
	return cells
}

// printTable writes the table for a terminal, and why targets are missed.
func printTable(out io.Writer, results []*result, notes map[string]note) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, strings.Join(columns, "\t"))
	for _, r := range results {
		fmt.Fprintln(w, strings.Join(r.cells(), "\t"))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, r := range results {
		if len(r.missed) > 0 {
			fmt.Fprintf(out, "\n%s: %s\n", r.title, notes[r.name].why())
		}
	}
	return nil
}

// quantity writes a value with three digits and its unit.
func quantity(v float64, unit string) string {
	if unit != seconds {
		return fmt.Sprintf("%s B", digits(v))
	}
	for _, scale := range []struct {
		of   float64
		name string
	}{{1e-9, "ns"}, {1e-6, "µs"}, {1e-3, "ms"}} {
		if v < 999.5*scale.of {
			return digits(v/scale.of) + " " + scale.name
		}
	}
	return digits(v) + " s"
}

// digits writes three digits, and never an exponent.
func digits(v float64) string {
	switch {
	case v >= 99.95:
		return fmt.Sprintf("%.0f", v)
	case v >= 9.995:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}

func ratio(a, b float64) string {
	if b == 0 {
		return ""
	}
	return digits(a / b)
}
