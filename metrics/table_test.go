package metrics

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

var update = flag.Bool("update", false, "write the table of docs/metrics.md")

const (
	docs  = "../docs/metrics.md"
	begin = "| metric | type | unit | labels | meaning |\n| --- | --- | --- | --- | --- |\n"
)

// The page has a row for each metric that is registered, and no other.
func TestThePageHasEachMetric(t *testing.T) {
	var b strings.Builder
	for _, r := range rows {
		labels := "–"
		if len(r.labels) > 0 {
			labels = "`" + strings.Join(r.labels, "`, `") + "`"
		}
		fmt.Fprintf(&b, "| `%s_%s` | %s | %s | %s | %s |\n", namespace, r.name, r.kind, r.unit, labels, r.meaning)
	}
	data, err := os.ReadFile(docs)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(data), begin)
	table, after, ends := strings.Cut(rest, "\n\n")
	if !ok || !ends {
		t.Fatalf("%s has no table", docs)
	}
	switch {
	case table+"\n" == b.String():
	case *update:
		if err := os.WriteFile(docs, []byte(before+begin+b.String()+"\n"+after), 0o644); err != nil {
			t.Fatal(err)
		}
	default:
		t.Errorf("the table of %s is not that of this package: go test ./metrics -run Page -update", docs)
	}
	if len(rows) > 25 {
		t.Errorf("%d metrics, want at most 25", len(rows))
	}
}

// What is registered is what the rows say.
func TestTheRowsAreWhatIsRegistered(t *testing.T) {
	m, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	described := map[string]bool{}
	ch := make(chan *prometheus.Desc, 100)
	m.Describe(ch)
	close(ch)
	for d := range ch {
		described[d.String()] = true
	}
	for _, r := range rows {
		if !described[r.desc().String()] {
			t.Errorf("%s is not registered as its row says", r.name)
		}
		delete(described, r.desc().String())
	}
	for d := range described {
		t.Errorf("%s is registered, and has no row", d)
	}
}
