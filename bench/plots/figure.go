package main

import (
	"bytes"
	"fmt"
	"image/color"
	"io"
	"math"
	"os"
	"strconv"
	"text/tabwriter"

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

// figure is panels side by side with the same x axis.
type figure struct {
	x      string
	panels []panel
}

// panel is a plot of some series, with logarithmic axes.
type panel struct {
	y      string
	unit   func(float64) string // writes a power of ten on the y axis
	series []series
}

type series struct {
	name   string
	points plotter.XYs
}

func (s *series) add(x int, y float64) {
	s.points = append(s.points, plotter.XY{X: float64(x), Y: y})
}

func nanoseconds(v float64) string {
	switch {
	case v < 1e3:
		return trim(v) + " ns"
	case v < 1e6:
		return trim(v/1e3) + " µs"
	case v < 1e9:
		return trim(v/1e6) + " ms"
	}
	return trim(v/1e9) + " s"
}

func bytesEach(v float64) string {
	switch {
	case v < 1e3:
		return trim(v) + " B"
	case v < 1e6:
		return trim(v/1e3) + " kB"
	}
	return trim(v/1e6) + " MB"
}

func count(v float64) string { return message.NewPrinter(language.English).Sprintf("%.0f", v) }

func trim(v float64) string { return strconv.FormatFloat(v, 'g', 3, 64) }

// Colors that people with any color vision can tell apart (M. Okabe and K. Ito,
// "Color Universal Design", 2008).
var looks = []struct {
	color color.Color
	glyph draw.GlyphDrawer
}{
	{color.RGBA{R: 0, G: 114, B: 178, A: 255}, draw.CircleGlyph{}},
	{color.RGBA{R: 213, G: 94, B: 0, A: 255}, draw.PyramidGlyph{}},
}

const (
	panelWidth  = 12 * vg.Centimeter
	panelHeight = 8 * vg.Centimeter
	lineHeight  = 5.5 * vg.Millimeter
	gap         = 2 * vg.Millimeter
)

var sans = font.Font{Typeface: "Liberation", Variant: "Sans", Size: 10}

// save draws the figure to an SVG file. The names of the axes are drawn here: on
// a logarithmic axis the library leaves room for its name in the wrong place.
func (f *figure) save(path string) error {
	lines := 1 // above a panel: its name, and its series
	for _, p := range f.panels {
		lines = max(lines, 1+len(p.series))
	}
	top := vg.Length(lines)*lineHeight + gap
	canvas := vgsvg.New(vg.Length(len(f.panels))*panelWidth, panelHeight+top)
	all := draw.New(canvas)
	all.SetColor(color.White)
	all.Fill(all.Rectangle.Path())
	plotted, legends := make([]*plot.Plot, len(f.panels)), make([]plot.Legend, len(f.panels))
	for i, p := range f.panels {
		var err error
		if plotted[i], legends[i], err = p.plot(); err != nil {
			return err
		}
	}
	tiles := draw.Tiles{Rows: 1, Cols: len(f.panels), PadX: 3 * gap, PadRight: 3 * gap, PadLeft: gap}
	middle := draw.Crop(all, 0, 0, lineHeight, -top)
	for i, at := range plot.Align([][]*plot.Plot{plotted}, tiles, middle)[0] {
		plotted[i].Draw(at)
		data := plotted[i].DataCanvas(at)
		name := text.Style{Color: color.Black, Font: sans, Handler: plot.DefaultTextHandler}
		name.Font.Weight = imagefont.WeightBold
		name.XAlign, name.YAlign = text.XLeft, text.YTop
		all.FillText(name, vg.Point{X: data.Min.X, Y: all.Max.Y - gap}, f.panels[i].y)
		legends[i].Draw(draw.Crop(all, data.Min.X-all.Min.X, 0, 0, -lineHeight-gap))
		name.Font.Weight = imagefont.WeightNormal
		name.XAlign, name.YAlign = text.XCenter, text.YBottom
		all.FillText(name, vg.Point{X: (data.Min.X + data.Max.X) / 2, Y: all.Min.Y + gap}, f.x)
	}
	var svg bytes.Buffer
	if _, err := canvas.WriteTo(&svg); err != nil {
		return err
	}
	// The library names one font, which few have.
	return os.WriteFile(path, bytes.ReplaceAll(svg.Bytes(),
		[]byte("font-family:Liberation Sans;"), []byte("font-family:Liberation Sans,Arial,Helvetica,sans-serif;")), 0o644)
}

func (p *panel) plot() (*plot.Plot, plot.Legend, error) {
	drawn, legend := plot.New(), plot.NewLegend()
	legend.Top, legend.Left = true, true
	legend.Padding = vg.Millimeter
	legend.TextStyle.Font = sans
	least, most := math.Inf(1), 0.0
	for i, s := range p.series {
		line, points, err := plotter.NewLinePoints(s.points)
		if err != nil {
			return nil, legend, fmt.Errorf("%s: %w", s.name, err)
		}
		look := looks[i%len(looks)]
		line.Color, line.Width = look.color, vg.Points(1.5)
		points.Color, points.Shape, points.Radius = look.color, look.glyph, vg.Points(2.5)
		drawn.Add(line, points)
		legend.Add(s.name, line, points)
		for _, point := range s.points {
			least, most = min(least, point.Y), max(most, point.Y)
		}
	}
	drawn.Add(plotter.NewGrid())
	for _, axis := range []*plot.Axis{&drawn.X, &drawn.Y} {
		axis.Scale = plot.LogScale{}
		axis.Tick.Label.Font = sans
	}
	drawn.X.Tick.Marker, drawn.Y.Tick.Marker = decades(count), decades(p.unit)
	// Whole decades, so that each axis has at least two labels.
	drawn.Y.Min = math.Pow(10, math.Floor(math.Log10(least)))
	drawn.Y.Max = math.Pow(10, math.Ceil(math.Log10(most)))
	return drawn, legend, nil
}

// decades labels the powers of ten, and marks 2 to 9 times of each.
type decades func(float64) string

func (label decades) Ticks(least, most float64) []plot.Tick {
	var ticks []plot.Tick
	for decade := math.Pow(10, math.Floor(math.Log10(least))); decade <= most*1.001; decade *= 10 {
		for n := 1.0; n < 10; n++ {
			tick := plot.Tick{Value: n * decade}
			if tick.Value < least*0.999 || tick.Value > most*1.001 {
				continue
			}
			if n == 1 {
				tick.Label = label(decade)
			}
			ticks = append(ticks, tick)
		}
	}
	return ticks
}

// print writes the figures as a table.
func (f *figure) print(out io.Writer) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	defer w.Flush()
	for _, p := range f.panels {
		for _, s := range p.series {
			fmt.Fprintf(w, "%s: %s", p.y, s.name)
			for _, point := range s.points {
				fmt.Fprintf(w, "\t%s: %s", count(point.X), p.unit(point.Y))
			}
			fmt.Fprintln(w)
		}
	}
}
