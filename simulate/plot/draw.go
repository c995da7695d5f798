package plot

import (
	"image/color"
	"math"
	"slices"
	"strconv"
	"time"

	imagefont "golang.org/x/image/font"
	"golang.org/x/text/language"
	"golang.org/x/text/message"
	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// figure is a grid of panels over time: a column for each report, a row for each thing that
// is shown. The panels of a row have one scale, so that the columns can be compared.
type figure struct {
	length  time.Duration // of the axis of time
	columns []column
	rows    []row
}

// column is what the panels of a report have in common.
type column struct {
	name  string
	says  []string // lines below the name
	bands []band
}

// band is a time in which something is different: it is shaded.
type band struct{ from, to time.Duration }

// row is what is shown of all reports.
type row struct {
	name string
	unit func(float64) string
	most float64 // the end of its scale: what is higher is cut off there
	// squeezed says that the scale is one of square roots.
	squeezed bool
	curves   []curve         // the names and looks, in the order in which they are drawn
	values   [][]curveValues // by column and curve
}

// curveValues are the pieces of a curve; x is in seconds.
type curveValues []plotter.XYs

type curve struct {
	name  string
	color color.Color
	width vg.Length
}

// The colours. Those of curves can be told apart by people with any colour vision (M. Okabe
// and K. Ito, "Color Universal Design", 2008). For each there is one for dark pages.
var (
	paper  = color.RGBA{R: 0xff, G: 0xff, B: 0xff, A: 255}
	ink    = color.RGBA{R: 0x24, G: 0x29, B: 0x2f, A: 255}
	faint  = color.RGBA{R: 0xd8, G: 0xde, B: 0xe4, A: 255}
	shade  = color.RGBA{R: 0xfb, G: 0xf1, B: 0xd9, A: 255}
	grey   = color.RGBA{R: 0x8c, G: 0x95, B: 0x9f, A: 255}
	red    = color.RGBA{R: 0xd5, G: 0x5e, B: 0x00, A: 255}
	blue   = color.RGBA{R: 0x00, G: 0x72, B: 0xb2, A: 255}
	purple = color.RGBA{R: 0xa9, G: 0x4f, B: 0x84, A: 255}
	green  = color.RGBA{R: 0x00, G: 0x9e, B: 0x73, A: 255}
)

// onDark has the colour that a colour has on a dark page.
var onDark = map[string]string{
	"#FFFFFF": "#0D1117", "#24292F": "#D1D7E0", "#D8DEE4": "#30363D", "#FBF1D9": "#2B2412", "#8C959F": "#8B949E",
	"#D55E00": "#F0883E", "#0072B2": "#56B4E9", "#A94F84": "#DB8FBB", "#009E73": "#3FB996",
}

// The sizes of a figure.
const (
	rowHeight  = 2.9 * vg.Centimeter
	lineHeight = 4.4 * vg.Millimeter
	gap        = 2 * vg.Millimeter
)

// columnWidth makes a figure of two to four columns about as wide as a page of text.
func columnWidth(columns int) vg.Length {
	return min(16*vg.Centimeter, max(6*vg.Centimeter, 25*vg.Centimeter/vg.Length(columns)))
}

// widest is how much wider a text may be in the font that a reader has.
const widest = 1.15

var sans = font.Font{Typeface: "Liberation", Variant: "Sans", Size: 9}

func written(bold bool) text.Style {
	style := text.Style{Color: ink, Font: sans, Handler: plot.DefaultTextHandler, XAlign: text.XLeft, YAlign: text.YTop}
	if bold {
		style.Font.Weight = imagefont.WeightBold
	}
	return style
}

// draw draws the figure on a canvas of its own.
func (f *figure) draw() (*vgsvg.Canvas, error) {
	head := 1 // lines above the panels
	for _, c := range f.columns {
		head = max(head, 1+len(c.says))
	}
	top := gap + vg.Length(head+1)*lineHeight + gap // and the legend of the first row
	pad := lineHeight + 2*gap                       // between rows: the legend of the lower one
	width := columnWidth(len(f.columns)) * vg.Length(len(f.columns))
	height := top + vg.Length(len(f.rows))*(rowHeight+pad)
	canvas := vgsvg.New(width, height)
	all := draw.New(canvas)
	all.SetColor(paper)
	all.Fill(all.Rectangle.Path())

	grid := make([][]*plot.Plot, len(f.rows))
	for i := range f.rows {
		for c := range f.columns {
			p, err := f.panel(i, c)
			if err != nil {
				return nil, err
			}
			grid[i] = append(grid[i], p)
		}
	}
	tiles := draw.Tiles{
		Rows: len(f.rows), Cols: len(f.columns), PadX: 3 * gap, PadY: pad,
		PadTop: top, PadBottom: gap, PadLeft: gap, PadRight: 2 * gap,
	}
	for i, areas := range plot.Align(grid, tiles, all) {
		for c, area := range areas {
			grid[i][c].Draw(area)
			data := grid[i][c].DataCanvas(area)
			if i == 0 {
				f.columns[c].draw(all, vg.Point{X: data.Min.X, Y: all.Max.Y - gap})
			}
			if c == 0 {
				f.rows[i].legend(all, vg.Point{X: data.Min.X, Y: data.Max.Y + gap/2 + lineHeight})
			}
		}
	}
	return canvas, nil
}

func (c *column) draw(on draw.Canvas, at vg.Point) {
	on.FillText(written(true), at, c.name)
	for _, line := range c.says {
		at.Y -= lineHeight
		on.FillText(written(false), at, line)
	}
}

// legend writes the name of a row, and the names of its curves, each after a piece of it.
func (r *row) legend(on draw.Canvas, at vg.Point) {
	style := written(true)
	on.FillText(style, at, r.name)
	at.X += widest*style.Width(r.name) + 2*gap
	if len(r.curves) < 2 {
		return
	}
	style = written(false)
	const sample = 5 * vg.Millimeter
	for _, c := range r.curves {
		middle := at.Y - style.Height(c.name)/2
		on.StrokeLine2(c.style(), at.X, middle, at.X+sample, middle)
		at.X += sample + gap/2
		on.FillText(style, at, c.name)
		at.X += widest*style.Width(c.name) + 2*gap
	}
}

func (c *curve) style() draw.LineStyle { return draw.LineStyle{Color: c.color, Width: c.width} }

// panel draws a row of one column.
func (f *figure) panel(i, at int) (*plot.Plot, error) {
	r := &f.rows[i]
	p := plot.New()
	p.BackgroundColor = nil
	p.Add(shades(f.columns[at].bands))
	grid := plotter.NewGrid()
	grid.Horizontal = draw.LineStyle{Color: faint, Width: vg.Points(0.5)}
	grid.Vertical.Color = nil
	p.Add(grid)
	for n, all := range r.values[at] {
		for _, points := range all {
			for i := range points {
				points[i].Y = min(points[i].Y, r.most)
			}
			line, err := plotter.NewLine(points)
			if err != nil {
				return nil, err
			}
			line.LineStyle = r.curves[n].style()
			p.Add(line)
		}
	}
	p.X.Min, p.X.Max = 0, f.length.Seconds()
	p.Y.Min, p.Y.Max = 0, r.most
	unit := r.unit
	if at > 0 { // the scale is that of the first
		unit = func(float64) string { return " " } // without a text it would have no line
	}
	p.X.Tick.Marker, p.Y.Tick.Marker = times{f.length, i == len(f.rows)-1}, steps(unit)
	if r.squeezed {
		p.Y.Scale = squareRoots{}
		p.Y.Tick.Marker = plot.TickerFunc(func(_, most float64) []plot.Tick { return steps(unit).roots(most) })
	}
	for _, axis := range []*plot.Axis{&p.X, &p.Y} {
		axis.LineStyle = draw.LineStyle{Color: grey, Width: vg.Points(0.5)}
		axis.Tick.LineStyle = axis.LineStyle
		axis.Tick.Length = vg.Points(3)
		axis.Tick.Label.Font, axis.Tick.Label.Color = sans, ink
		axis.Padding = 0
	}
	return p, nil
}

// highest returns the highest value of all curves; 1 if they are 0.
func (r *row) highest() float64 {
	most := 0.0
	for _, all := range r.values {
		for _, points := range slices.Concat(all...) {
			for _, p := range points {
				most = max(most, p.Y)
			}
		}
	}
	if most == 0 {
		return 1
	}
	return most
}

// bursts reports whether the highest value is so far above the usual ones that these could not
// be told from 0.
func (r *row) bursts() bool {
	var all []float64
	for _, values := range r.values {
		for _, points := range slices.Concat(values...) {
			for _, p := range points {
				if p.Y > 0 {
					all = append(all, p.Y)
				}
			}
		}
	}
	if len(all) == 0 {
		return false
	}
	slices.Sort(all)
	return all[len(all)-1] > 40*all[len(all)/2]
}

// squareRoots is a scale on which small values next to large ones can be seen.
type squareRoots struct{}

func (squareRoots) Normalize(_, most, v float64) float64 { return math.Sqrt(max(0, v) / most) }

// roots has 0 and 1, 2 and 5 times the powers of ten that are far enough from each other.
func (label steps) roots(most float64) []plot.Tick {
	ticks := []plot.Tick{{Value: 0, Label: label(0)}}
	for power := 1.0; power <= most; power *= 10 {
		for _, factor := range []float64{1, 2, 5} {
			v, last := power*factor, ticks[len(ticks)-1].Value
			if v <= most && math.Sqrt(v/most)-math.Sqrt(last/most) > 0.2 {
				ticks = append(ticks, plot.Tick{Value: v, Label: label(v)})
			}
		}
	}
	return ticks
}

// shades fills the times that are different.
type shades []band

func (s shades) Plot(c draw.Canvas, p *plot.Plot) {
	x, _ := p.Transforms(&c)
	for _, b := range s {
		from, to := x(max(p.X.Min, b.from.Seconds())), x(min(p.X.Max, b.to.Seconds()))
		c.SetColor(shade)
		c.Fill(vg.Rectangle{Min: vg.Point{X: from, Y: c.Min.Y}, Max: vg.Point{X: to, Y: c.Max.Y}}.Path())
	}
}

// nice returns a step of 1, 2 or 5 times a power of ten by which a length has at most n parts.
func nice(length float64, n int) float64 {
	step := math.Pow(10, math.Floor(math.Log10(length/float64(n))))
	for _, factor := range []float64{1, 2, 5, 10} {
		if length/(step*factor) <= float64(n)*1.001 {
			return step * factor
		}
	}
	return step * 10
}

// steps labels the axis of values.
type steps func(float64) string

func (label steps) Ticks(_, most float64) []plot.Tick {
	var ticks []plot.Tick
	step := nice(most, 4)
	for n := 0.0; n*step <= most*1.001; n++ {
		ticks = append(ticks, plot.Tick{Value: n * step, Label: label(n * step)})
	}
	return ticks
}

// times labels the axis of time, in a unit that suits its length.
type times struct {
	length time.Duration
	labels bool
}

func (t times) Ticks(_, _ float64) []plot.Tick {
	unit, name := time.Second, "s"
	for _, u := range []struct {
		unit time.Duration
		name string
	}{{time.Minute, "min"}, {time.Hour, "h"}} {
		if t.length >= 3*u.unit {
			unit, name = u.unit, u.name
		}
	}
	length := float64(t.length) / float64(unit)
	step := nice(length, 6)
	var ticks []plot.Tick
	for n := 0.0; n*step <= length*1.001; n++ {
		tick := plot.Tick{Value: n * step * unit.Seconds()}
		if t.labels {
			tick.Label = number(n * step)
			if (n+1)*step > length*1.001 { // the last
				tick.Label += " " + name
			}
		}
		ticks = append(ticks, tick)
	}
	return ticks
}

func number(v float64) string {
	if v >= 1000 {
		return message.NewPrinter(language.English).Sprintf("%.0f", v)
	}
	return strconv.FormatFloat(v, 'g', 3, 64)
}
