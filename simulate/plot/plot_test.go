package plot

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"math"
	"regexp"
	"strings"
	"testing"
	"time"

	"gonum.org/v1/plot/plotter"
	"pgregory.net/rapid"

	"llmcall/simulate"
)

// reportOf returns a report of minutes in buckets of five seconds.
func reportOf(minutes int, at func(i int) simulate.Point) *simulate.Report {
	r := &simulate.Report{Duration: time.Duration(minutes) * time.Minute, End: time.Duration(minutes)*time.Minute + time.Second, Bucket: 5 * time.Second}
	for i := range minutes*12 + 1 {
		p := at(i)
		p.At = time.Duration(i) * r.Bucket
		r.Series = append(r.Series, p)
	}
	return r
}

// outage has an outage in its third and fourth minute.
func outage(i int) simulate.Point {
	if i < 24 || i >= 48 {
		return simulate.Point{Offered: 50 + i%7, Sent: 50 + i%7, Answered: 50 + i%5}
	}
	return simulate.Point{Offered: 50 + i%7, Sent: 300 + 13*i%60, Open: float64(i%10) / 10, Paced: 1, Rate: float64(i % 9)}
}

var phases = &simulate.Scenario{Duration: 10 * time.Minute, Phases: []simulate.Phase{{From: 2 * time.Minute, To: 4 * time.Minute}}}

func drawn(t *testing.T, sc *simulate.Scenario, reports ...Named) string {
	t.Helper()
	var b bytes.Buffer
	if err := SVG(&b, sc, reports...); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// texts returns what is written in a picture, and fails if it is not XML.
func texts(t interface{ Fatal(...any) }, picture string) []string {
	var all []string
	decoder := xml.NewDecoder(strings.NewReader(picture))
	inText := false
	for {
		token, err := decoder.Token()
		switch {
		case errors.Is(err, io.EOF):
			return all
		case err != nil:
			t.Fatal(err)
		}
		switch token := token.(type) {
		case xml.StartElement:
			inText = token.Name.Local == "text"
		case xml.EndElement:
			inText = false
		case xml.CharData:
			if inText {
				all = append(all, string(token))
			}
		}
	}
}

func TestAPictureSaysWhatItShows(t *testing.T) {
	report := reportOf(10, outage)
	report.Calls, report.Answered, report.Requests, report.TimeToRecover = 1000, 750, 1500, 16400*time.Millisecond
	picture := drawn(t, phases, Named{"a <b> & c", report}, Named{"other", report})
	written := strings.Join(texts(t, picture), "\n")
	for _, want := range []string{"a <b> & c", "other", "75 % answered", "2.00 requests an answer", "recovers in 16.4s", "calls offered", "requests sent", "calls answered", "circuits open", "pacers allow", "10 min", "100 %"} {
		if !strings.Contains(written, want) {
			t.Errorf("no %q in\n%s", want, written)
		}
	}
}

// Of four reports of ten minutes, which is what the pages of docs/ have.
func TestAPictureIsSmall(t *testing.T) {
	r := reportOf(10, outage)
	if picture := drawn(t, phases, Named{"a", r}, Named{"b", r}, Named{"c", r}, Named{"d", r}); len(picture) > 50_000 {
		t.Errorf("%d bytes", len(picture))
	}
}

func TestWhatShowsNothingIsLeftOut(t *testing.T) {
	quiet := reportOf(3, func(int) simulate.Point { return simulate.Point{Offered: 5, Sent: 5, Answered: 5} })
	written := strings.Join(texts(t, drawn(t, nil, Named{"a", quiet})), "\n")
	if strings.Contains(written, "circuits") || strings.Contains(written, "pacers") || !strings.Contains(written, "calls offered") {
		t.Error(written)
	}
	if !strings.Contains(drawn(t, phases, Named{"a", quiet}), shadeInHex) || strings.Contains(drawn(t, nil, Named{"a", quiet}), shadeInHex) {
		t.Error("the phases of the scenario are shaded, and nothing else")
	}
}

const shadeInHex = "#FBF1D9"

// Every colour has one for dark pages, and the two are not mixed up.
func TestThereIsAColourForDarkPages(t *testing.T) {
	light, dark, found := strings.Cut(drawn(t, phases, Named{"a", reportOf(10, outage)}), "@media (prefers-color-scheme: dark) {")
	if !found {
		t.Fatal("there are no colours for dark pages")
	}
	dark, _, _ = strings.Cut(dark, "</style>")
	hex := regexp.MustCompile(`#[0-9A-F]{6}`)
	if n, m := len(hex.FindAllString(light, -1)), len(hex.FindAllString(dark, -1)); n != m {
		t.Errorf("%d colours, and %d for dark pages", n, m)
	}
	for _, c := range hex.FindAllString(light, -1) {
		if onDark[c] == "" {
			t.Errorf("%s has no colour for dark pages", c)
		}
	}
	if strings.Contains(dark, "fill:;") || strings.Contains(dark, "stroke:;") {
		t.Error(dark)
	}
}

func TestPhasesThatAreNextToEachOtherAreOneBand(t *testing.T) {
	minute := func(from, to float64) simulate.Phase {
		return simulate.Phase{From: time.Duration(from * float64(time.Minute)), To: time.Duration(to * float64(time.Minute))}
	}
	for name, c := range map[string]struct {
		phases []simulate.Phase
		want   []band
	}{
		"two":              {[]simulate.Phase{minute(1, 2), minute(3, 4)}, []band{{time.Minute, 2 * time.Minute}, {3 * time.Minute, 4 * time.Minute}}},
		"one in the other": {[]simulate.Phase{minute(1, 4), minute(2, 3)}, []band{{time.Minute, 4 * time.Minute}}},
		"in no order":      {[]simulate.Phase{minute(3, 4), minute(1, 3)}, []band{{time.Minute, 4 * time.Minute}}},
		"to the end":       {[]simulate.Phase{minute(5, 0)}, []band{{5 * time.Minute, 10 * time.Minute}}},
		"of a recording":   {[]simulate.Phase{minute(0, 4), minute(4, 0)}, nil},
		"none":             {nil, nil},
	} {
		got := bands(&simulate.Scenario{Duration: 10 * time.Minute, Phases: c.phases})
		if len(got) != len(c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
			continue
		}
		for i := range got {
			if got[i] != c.want[i] {
				t.Errorf("%s: %v, want %v", name, got, c.want)
			}
		}
	}
}

// A rate is drawn where it holds somebody: on its way over the scale, and not above it.
func TestTheRateIsDrawnWhereItHoldsSomebody(t *testing.T) {
	var points []point
	for i, rate := range []float64{-1, 3, 5, 80, 90, 4, -1, 95, -1} {
		p := point{at: float64(i), rate: rate, paced: 1}
		if rate < 0 {
			p.paced = 0
		}
		points = append(points, p)
	}
	got := pieces(points, 50)
	var xs [][]float64
	for _, piece := range got {
		var x []float64
		for _, p := range piece {
			x = append(x, p.X)
		}
		xs = append(xs, x)
	}
	if len(xs) != 1 || len(xs[0]) != 5 || xs[0][0] != 1 || xs[0][4] != 5 {
		t.Errorf("%v", xs)
	}
}

func TestNoReportIsAnError(t *testing.T) {
	if err := SVG(io.Discard, nil); err == nil || !strings.Contains(err.Error(), "at least one report") {
		t.Error(err)
	}
	full := errors.New("disk full")
	if err := SVG(failing{full}, nil, Named{"a", reportOf(1, outage)}); !errors.Is(err, full) {
		t.Error(err)
	}
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }

// Whatever a report holds, there is a picture, and it is XML without NaN.
func TestAnyReportCanBeDrawn(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := &simulate.Report{
			Duration: time.Duration(rapid.Int64Range(0, int64(24*time.Hour)).Draw(t, "duration")),
			End:      time.Duration(rapid.Int64Range(0, int64(48*time.Hour)).Draw(t, "end")),
			Bucket:   time.Duration(rapid.Int64Range(1, int64(time.Hour)).Draw(t, "bucket")),
		}
		for i := range rapid.IntRange(0, 40).Draw(t, "buckets") {
			n := rapid.IntRange(0, 1_000_000)
			r.Series = append(r.Series, simulate.Point{
				At: time.Duration(i) * r.Bucket, Offered: n.Draw(t, "offered"), Sent: n.Draw(t, "sent"), Answered: n.Draw(t, "answered"),
				Open: rapid.Float64Range(0, 1).Draw(t, "open"), Paced: rapid.Float64Range(0, 1).Draw(t, "paced"), Rate: rapid.Float64Range(0, 1e9).Draw(t, "rate"),
			})
		}
		var b bytes.Buffer
		if err := SVG(&b, nil, Named{"a", r}); err != nil {
			t.Fatal(err)
		}
		texts(t, b.String())
		if strings.Contains(b.String(), "NaN") || strings.Contains(b.String(), "Inf") {
			t.Fatalf("%s", b.String())
		}
	})
}

// What is left out of a curve is on the line between its neighbours.
func TestASimplifiedCurveIsTheSame(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var points plotter.XYs
		for i, y := range rapid.SliceOf(rapid.IntRange(0, 2)).Draw(t, "y") {
			points = append(points, plotter.XY{X: float64(i), Y: float64(y)})
		}
		kept := simplified(points)
		for _, p := range points {
			if got := valueAt(kept, p.X); math.Abs(got-p.Y) > 1e-9 {
				t.Fatalf("%v at %v, want %v: %v", got, p.X, p.Y, kept)
			}
		}
	})
}

func valueAt(curve plotter.XYs, x float64) float64 {
	for i, p := range curve {
		if p.X >= x {
			if i == 0 || p.X == x {
				return p.Y
			}
			before := curve[i-1]
			return before.Y + (p.Y-before.Y)*(x-before.X)/(p.X-before.X)
		}
	}
	return math.NaN()
}
