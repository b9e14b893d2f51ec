package chart

import (
	"image/color"
	"math"
	"sync"

	xfont "golang.org/x/image/font"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/font/liberation"
	"gonum.org/v1/plot/vg"
)

// fonts parses the typeface once, when the first figure is drawn.
var fonts = sync.OnceValue(func() *font.Cache { return font.NewCache(liberation.Collection()) })

// pen draws on a canvas with plain numbers.
type pen struct {
	canvas vg.Canvas
	widths []float64 // of the texts so far
}

// style is how a text looks.
type style struct {
	size  float64
	bold  bool
	color color.Color
	align float64 // which part of its width lies left of the given place: 0 none, 0.5 half, 1 all
}

func (s style) face() font.Face {
	f := font.Font{Typeface: "Liberation", Variant: "Sans"}
	if s.bold {
		f.Weight = xfont.WeightBold
	}
	return fonts().Lookup(f, vg.Length(s.size))
}

func (s style) width(text string) float64 {
	face := s.face()
	return float64(face.Width(text))
}

// middle is how far below its middle the baseline of a line of digits and capitals is.
func (s style) middle() float64 { return 0.36 * s.size }

// text writes with the baseline at y.
func (p *pen) text(x, y float64, s style, text string) {
	if text == "" {
		return
	}
	w := s.width(text)
	p.widths = append(p.widths, w)
	p.canvas.SetColor(s.color)
	p.canvas.FillString(s.face(), point(x-s.align*w, y), text)
}

func (p *pen) rect(x0, y0, x1, y1 float64, c color.Color) {
	p.canvas.SetColor(c)
	p.canvas.Fill(vg.Rectangle{Min: point(x0, y0), Max: point(x1, y1)}.Path())
}

// line draws through two or more points.
func (p *pen) line(width float64, c color.Color, dashes []vg.Length, points ...vg.Point) {
	var path vg.Path
	path.Move(points[0])
	for _, at := range points[1:] {
		path.Line(at)
	}
	p.canvas.SetColor(c)
	p.canvas.SetLineWidth(vg.Length(width))
	p.canvas.SetLineDash(dashes, 0)
	p.canvas.Stroke(path)
}

func (p *pen) dot(x, y, radius float64, c color.Color) {
	var path vg.Path
	path.Move(point(x+radius, y))
	path.Arc(point(x, y), vg.Length(radius), 0, 2*math.Pi)
	path.Close()
	p.canvas.SetColor(c)
	p.canvas.Fill(path)
}

func (p *pen) cross(x, y, radius float64, c color.Color) {
	p.line(1.2, c, nil, point(x-radius, y-radius), point(x+radius, y+radius))
	p.line(1.2, c, nil, point(x-radius, y+radius), point(x+radius, y-radius))
}

func point(x, y float64) vg.Point { return vg.Point{X: vg.Length(x), Y: vg.Length(y)} }
