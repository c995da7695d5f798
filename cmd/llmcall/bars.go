package main

import "strings"

// eighths are the heights of a bar within a line.
var eighths = []rune(" ▁▂▃▄▅▆▇█")

// bars draws values as bars, the highest of which is top, in some lines, the uppermost
// first, of a width in columns. Where there are more values than columns, a bar is their
// mean; each that is above 0 can be seen.
func bars(values []float64, top float64, width, height int) []string {
	lines := make([]strings.Builder, height)
	for column := range width {
		from, to := column*len(values)/width, (column+1)*len(values)/width
		if from == to {
			to = min(from+1, len(values))
		}
		sum := 0.0
		for _, v := range values[from:to] {
			sum += v
		}
		full, level := 8*height, 0
		if sum > 0 && top > 0 {
			level = max(1, min(full, int(sum/float64(to-from)/top*float64(full)+0.5)))
		}
		for i := range lines {
			lines[i].WriteRune(eighths[max(0, min(8, level-8*(height-1-i)))])
		}
	}
	var drawn []string
	for i := range lines {
		drawn = append(drawn, lines[i].String())
	}
	return drawn
}
