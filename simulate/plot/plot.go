package plot

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"time"

	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"

	"llmcall/simulate"
)

// Named is a report, and the name of what was simulated: that of the configuration.
type Named struct {
	Name   string
	Report *simulate.Report
}

// SVG draws reports of one scenario side by side. The phases of the scenario are shaded;
// nil: nothing is. It is an error if there is no report, and w's errors are returned.
func SVG(w io.Writer, scenario *simulate.Scenario, reports ...Named) error {
	if len(reports) == 0 {
		return errors.New("plot: there must be at least one report")
	}
	f := figureOf(scenario, reports)
	canvas, err := f.draw()
	if err != nil {
		return fmt.Errorf("plot: %w", err)
	}
	picture, err := svg(canvas)
	if err != nil {
		return fmt.Errorf("plot: %w", err)
	}
	_, err = w.Write(picture)
	return err
}

// The widths of curves.
const (
	thin  = vg.Length(1.1)
	thick = vg.Length(1.5)
)

// figureOf returns what is drawn of reports. What shows nothing in any of them is left out.
func figureOf(scenario *simulate.Scenario, reports []Named) *figure {
	f := &figure{length: lengthOf(reports)}
	calls := row{
		name: "a second", unit: number,
		curves: []curve{{"calls offered", grey, thick}, {"requests sent", red, thin}, {"calls answered", blue, thick}},
	}
	open := row{name: "circuits open", most: 1, unit: percent, curves: []curve{{"", purple, thick}}}
	rate := row{name: "requests a second that pacers allow", unit: number, curves: []curve{{"", green, thick}}}
	opens, paces := false, false
	var all [][]point
	for _, r := range reports {
		c := column{name: r.Name, says: says(r.Report)}
		if scenario != nil {
			c.bands = bands(scenario)
		}
		f.columns = append(f.columns, c)
		points := merged(r.Report, f.length)
		all = append(all, points)
		calls.values = append(calls.values, []curveValues{
			whole(points, func(p point) float64 { return p.offered }), whole(points, func(p point) float64 { return p.sent }),
			whole(points, func(p point) float64 { return p.answered }),
		})
		open.values = append(open.values, []curveValues{whole(points, func(p point) float64 { return p.open })})
		opens = opens || slices.ContainsFunc(points, func(p point) bool { return p.open > 0 })
	}
	calls.most = calls.highest() * 1.05
	if calls.bursts() {
		calls.squeezed, rate.squeezed = true, true
		calls.name += " (scale of square roots)"
	}
	rate.most = calls.most
	for _, points := range all {
		held := pieces(points, rate.most)
		rate.values = append(rate.values, []curveValues{held})
		paces = paces || held != nil
	}
	f.rows = append(f.rows, calls)
	if opens {
		f.rows = append(f.rows, open)
	}
	if paces {
		f.rows = append(f.rows, rate)
	}
	return f
}

// lengthOf returns how much time is drawn: until the last call has ended, but not much longer
// than calls arrive.
func lengthOf(reports []Named) time.Duration {
	var arrive, end time.Duration
	for _, r := range reports {
		arrive, end = max(arrive, r.Report.Duration), max(end, r.Report.End)
	}
	if end < arrive+arrive/50 {
		end = arrive // the last calls are no news
	}
	return max(time.Second, arrive, min(end, arrive+arrive/4))
}

// says are the figures of a report below its name.
func says(r *simulate.Report) []string {
	lines := []string{
		percent(r.AnsweredShare()) + " answered",
		strconv.FormatFloat(r.RequestsPerAnswer(), 'f', 2, 64) + " requests an answer",
	}
	switch {
	case r.Collapsed:
		lines = append(lines, "collapses")
	case r.TimeToRecover == simulate.Never:
		lines = append(lines, "does not recover in time")
	case r.TimeToRecover > 0:
		lines = append(lines, "recovers in "+r.TimeToRecover.Round(time.Second/10).String())
	}
	return lines
}

// bands returns the times of the phases. Those of a recording are one after the other all the
// time, which says nothing.
func bands(s *simulate.Scenario) []band {
	var all []band
	covered := time.Duration(0)
	for _, p := range s.Phases {
		b := band{p.From, p.To}
		if b.to == 0 {
			b.to = s.Duration
		}
		all = append(all, b)
	}
	slices.SortFunc(all, func(a, b band) int { return int(a.from - b.from) })
	var joined []band
	for _, b := range all {
		if n := len(joined) - 1; n >= 0 && b.from <= joined[n].to {
			joined[n].to = max(joined[n].to, b.to)
			continue
		}
		joined = append(joined, b)
	}
	for _, b := range joined {
		covered += b.to - b.from
	}
	if float64(covered) > 0.9*float64(s.Duration) {
		return nil
	}
	return joined
}

// point is what is drawn of a bucket, or of some that are drawn as one.
type point struct {
	at                      float64 // the middle, in seconds
	offered, sent, answered float64 // a second
	open                    float64
	paced                   float64 // the share of pacers that hold requests to a rate
	rate                    float64 // of all of them, a second
}

// maxPoints is how many points a curve has at most, of which each can be seen.
const maxPoints = 125

// merged returns the points of a report, of which each is the mean of as many buckets as
// leaves at most maxPoints.
func merged(r *simulate.Report, length time.Duration) []point {
	n := int(length / max(1, r.Bucket))
	group := max(1, (n+maxPoints-1)/maxPoints)
	var points []point
	for first := 0; first < len(r.Series) && r.Series[first].At < length; first += group {
		buckets := r.Series[first:min(first+group, len(r.Series))]
		seconds := (time.Duration(len(buckets)) * r.Bucket).Seconds()
		p := point{at: buckets[0].At.Seconds() + seconds/2}
		for _, b := range buckets {
			p.offered += float64(b.Offered) / seconds
			p.sent += float64(b.Sent) / seconds
			p.answered += float64(b.Answered) / seconds
			p.open += b.Open / float64(len(buckets))
			p.rate += b.Rate
			p.paced += b.Paced
		}
		if p.paced > 0 {
			p.rate /= p.paced // what all may send, if the others are held as these
		}
		p.paced /= float64(len(buckets))
		points = append(points, p)
	}
	return points
}

// whole returns a curve of all points.
func whole(points []point, y func(point) float64) curveValues {
	var all plotter.XYs
	for _, p := range points {
		all = append(all, plotter.XY{X: p.at, Y: y(p)})
	}
	return curveValues{simplified(all)}
}

// pieces returns the allowed rate while most processes are held to one that is lower than most:
// a higher one holds nobody.
func pieces(points []point, most float64) curveValues {
	holds := func(i int) bool {
		return i >= 0 && i < len(points) && points[i].paced >= 0.5 && points[i].rate < most
	}
	var all curveValues
	var piece plotter.XYs
	for i, p := range points {
		// How it rises above the scale is drawn.
		if holds(i) || p.paced >= 0.5 && (holds(i-1) || holds(i+1)) {
			piece = append(piece, plotter.XY{X: p.at, Y: p.rate})
		} else if piece != nil {
			all, piece = append(all, simplified(piece)), nil
		}
	}
	if piece != nil {
		all = append(all, simplified(piece))
	}
	return all
}

// simplified leaves out the points between two that are as high.
func simplified(points plotter.XYs) plotter.XYs {
	var kept plotter.XYs
	for i, p := range points {
		if i > 0 && i < len(points)-1 && points[i-1].Y == p.Y && p.Y == points[i+1].Y {
			continue
		}
		kept = append(kept, p)
	}
	return kept
}

func percent(share float64) string {
	return strconv.FormatFloat(share*100, 'f', digits(share*100), 64) + " %"
}

// digits is the number of decimals by which 99.9 is not shown as 100.
func digits(v float64) int {
	if v == float64(int(v)) {
		return 0
	}
	return 1
}
