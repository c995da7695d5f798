package page

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"llmcall/breaker"
	"llmcall/endpoint"
)

// The size of a time line, in its own units.
const (
	barWidth    = 8
	stripWidth  = buckets * barWidth
	barsHeight  = 22
	bandTop     = 25
	bandHeight  = 5
	stripHeight = bandTop + bandHeight
)

// stripView is a time line of the last five minutes: a bar for each ten seconds, in which
// the answers are at the bottom, and below them a band that is coloured while a circuit
// was not closed, with a mark at each failure that counts.
type stripView struct {
	Paths  []pathView
	Marks  string // a path
	Words  string // for those who hear the page
	Width  int
	Height int
}

type pathView struct{ Tone, D string }

// newStrip draws a time line. It changes no more often than every ten seconds, unless
// something happens.
func newStrip(s *recent, snapshot endpoint.Snapshot, changes []change, now time.Time) stripView {
	v := stripView{Width: stripWidth, Height: stripHeight}
	words := []string{}
	if s != nil {
		v.Paths = bars(&s.bars)
		for _, part := range []struct {
			n    int
			what string
		}{{s.answered, "answered"}, {s.wrong, "wrong"}, {s.limited, "limited"}, {s.failed, "failed"}, {s.other, "otherwise"}} {
			if part.n > 0 {
				words = append(words, fmt.Sprintf("%d %s", part.n, part.what))
			}
		}
	}
	end := time.Unix((bucketOf(now)+1)*int64(perBucket/time.Second), 0)
	at := func(t time.Time) float64 {
		return min(stripWidth, max(0, stripWidth-float64(end.Sub(t))/float64(perBucket)*barWidth))
	}
	band := map[string]*strings.Builder{"half": {}, "open": {}, "forced": {}}
	for _, p := range periods(snapshot, changes, end) {
		if x, to := at(p.from), at(p.to); to > x {
			fmt.Fprintf(band[p.tone], "M%.1f %dH%.1fv%dH%.1fz", x, bandTop, max(to, x+1), bandHeight, x)
		}
	}
	for _, tone := range []string{"half", "open", "forced"} {
		if d := band[tone].String(); d != "" {
			v.Paths = append(v.Paths, pathView{"band-" + tone, d})
		}
	}
	var marks strings.Builder
	count := 0
	for _, r := range snapshot.Recent {
		for _, f := range r.Failures {
			if end.Sub(f) < span && count < 200 { // more can't be told apart
				fmt.Fprintf(&marks, "M%.1f %dv%d", at(f), bandTop-1, bandHeight+1)
				count++
			}
		}
	}
	v.Marks = marks.String()
	if count > 0 {
		words = append(words, fmt.Sprintf("%d failures count for the circuit", count))
	}
	v.Words = "the last five minutes: " + cmp.Or(strings.Join(words, ", "), "nothing")
	return v
}

// bars draws the bars, one path for each tone.
func bars(all *[buckets]bar) (paths []pathView) {
	most := 0
	for _, b := range all {
		most = max(most, b.total())
	}
	if most == 0 {
		return nil
	}
	drawn := [5]strings.Builder{}
	for i, b := range all {
		y := float64(barsHeight)
		for part, n := range [...]int{b.answered, b.wrong, b.other, b.limited, b.failed} {
			if n == 0 {
				continue
			}
			height := max(1.5, float64(n)/float64(most)*(barsHeight-2)) // one failure among thousands is seen
			fmt.Fprintf(&drawn[part], "M%d %.1fv%.1fh%dv%.1fz", i*barWidth, y, -height, barWidth-2, height)
			y -= height
		}
	}
	for part, tone := range [...]string{"answered", "wrong", "other", "limited", "failed"} {
		if drawn[part].Len() > 0 {
			paths = append(paths, pathView{tone, drawn[part].String()})
		}
	}
	return paths
}

// period is a time in which a circuit was not CLOSED.
type period struct {
	tone     string
	from, to time.Time
}

// periods returns when an endpoint's circuits were not CLOSED, as far as it is known: by
// the changes that were recorded, and by the states of now.
func periods(s endpoint.Snapshot, changes []change, end time.Time) (all []period) {
	var last *change
	until := func(to time.Time) {
		if last != nil && (last.to != breaker.Closed || last.forced) {
			tone := toneOfState(last.to)
			if last.forced {
				tone = "forced"
			}
			all = append(all, period{tone, last.at, to})
		}
	}
	for i := range changes {
		if c := &changes[i]; c.key == s.Key {
			until(c.at)
			last = c
		}
	}
	if last != nil {
		until(end)
		return all
	}
	for _, c := range s.Circuits {
		switch {
		case c.Forced:
			all = append(all, period{"forced", c.Since, end})
		case c.State != breaker.Closed:
			all = append(all, period{toneOfState(c.State), c.Since, end})
		}
	}
	return all
}
