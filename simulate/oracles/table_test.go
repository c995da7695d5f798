package oracles_test

import (
	"encoding/csv"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// full says that every row of the tables is compared, with as many runs as the
// published tables have, or nearly.
func full() bool { return os.Getenv("LLMCALL_MODEL") == "full" }

// either returns few, or many in the full comparison.
func either[T any](few, many T) T {
	if full() {
		return many
	}
	return few
}

// table prints the rows that a test compares: what was published, what our engine
// does, the difference, and the difference that is allowed.
type table struct {
	t    *testing.T
	rows strings.Builder
}

func newTable(t *testing.T) *table {
	if testing.Short() {
		t.Skip("the tables take 20 s of two cores together")
	}
	tab := &table{t: t}
	fmt.Fprintf(&tab.rows, "\n%-52s %12s %12s %10s %10s\n", "row", "published", "ours", "difference", "allowed")
	t.Cleanup(func() { t.Log(tab.rows.String()) })
	return tab
}

// row compares a number within 5 %, or three standard errors of the difference if
// that is more.
func (tab *table) row(name string, published, ours, standardError float64) {
	tab.t.Helper()
	tab.within(name, published, ours, max(0.05*math.Abs(published), 3*standardError))
}

// share compares a share of n calls as row does, or what it lacks to 1 if that is less:
// 5 % of a share near 1 would allow everything.
func (tab *table) share(name string, published, ours, standardError float64) {
	tab.t.Helper()
	tab.within(name, published, ours, max(0.05*min(published, 1-published), 3*standardError))
}

// within compares a number within what is allowed.
func (tab *table) within(name string, published, ours, allowed float64) {
	tab.t.Helper()
	off := ours - published
	verdict := ""
	if !(math.Abs(off) <= allowed+1e-9) {
		verdict = "  <--"
		tab.t.Errorf("%s: published %.4g, ours %.4g, allowed ±%.3g", name, published, ours, allowed)
	}
	fmt.Fprintf(&tab.rows, "%-52s %12.4f %12.4f %+10.4f %10.4f%s\n", name, published, ours, off, allowed, verdict)
}

// atMost checks a number that the published one bounds.
func (tab *table) atMost(name string, bound, ours float64) {
	tab.t.Helper()
	verdict := ""
	if !(ours <= bound+1e-9) {
		verdict = "  <--"
		tab.t.Errorf("%s: ours %.4g, at most %.4g", name, ours, bound)
	}
	fmt.Fprintf(&tab.rows, "%-52s %12s %12.4f %10s %10.4f%s\n", name, "", ours, "at most", bound, verdict)
}

// record is a line of a table in testdata, by the names of its columns.
type record map[string]string

func (r record) number(t *testing.T, column string) float64 {
	t.Helper()
	v, err := strconv.ParseFloat(r[column], 64)
	if err != nil {
		t.Fatalf("column %s of %v: %v", column, r, err)
	}
	return v
}

// read reads a table of testdata.
func read(t *testing.T, name string) []record {
	t.Helper()
	f, err := os.Open("testdata/" + name + ".csv")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lines := csv.NewReader(f)
	lines.Comment = '#'
	all, err := lines.ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	var records []record
	for _, line := range all[1:] {
		r := record{}
		for i, column := range all[0] {
			r[column] = line[i]
		}
		records = append(records, r)
	}
	return records
}

// sample is a series of numbers.
type sample []float64

func (s sample) mean() float64 {
	sum := 0.0
	for _, v := range s {
		sum += v
	}
	return sum / float64(len(s))
}

// sd returns the standard deviation.
func (s sample) sd() float64 {
	if len(s) < 2 {
		return 0
	}
	m, sum := s.mean(), 0.0
	for _, v := range s {
		sum += (v - m) * (v - m)
	}
	return math.Sqrt(sum / float64(len(s)-1))
}

// errorTo returns the standard error of the difference between the mean of s and
// that of n further runs.
func (s sample) errorTo(n float64) float64 {
	return s.sd() * math.Sqrt(1/float64(len(s))+1/n)
}

// binomial returns the standard error of a share of n independent calls, which is not 0
// for a share of 0 or 1.
func binomial(share, n float64) float64 {
	share = (share*n + 1) / (n + 2)
	return math.Sqrt(share * (1 - share) / n)
}

// source returns a source of chance: the same for the same numbers. They are mixed, since
// the first numbers of two PCGs whose seeds are neighbours are not independent.
func source(seed, stream uint64) *rand.Rand {
	mix := func(v uint64) uint64 { // splitmix64
		v += 0x9e3779b97f4a7c15
		v = (v ^ v>>30) * 0xbf58476d1ce4e5b9
		v = (v ^ v>>27) * 0x94d049bb133111eb
		return v ^ v>>31
	}
	return rand.New(rand.NewPCG(mix(seed), mix(mix(seed)+stream)))
}

// exponential draws a time with an exponential distribution.
func exponential(chance *rand.Rand, mean time.Duration) time.Duration {
	return time.Duration(chance.ExpFloat64() * float64(mean))
}
