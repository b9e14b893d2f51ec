package chart

import (
	"image/color"
	"time"

	"gonum.org/v1/plot/vg"

	"github.com/badgerspill/badgerspill/badgerspill/cmd/internal/text"
)

// From top to bottom: title, subtitle and legend, names of the phases, the panel of latencies, the
// strip, the panel of rates, the axis of time, notes.
const (
	width  = 720.0
	margin = 16.0
	left   = 68.0 // where the panels begin: room for the labels of their axes
	right  = width - 20

	titleHeight   = 18.0
	rowHeight     = 16.0 // of a line of text
	headingHeight = 24.0
	phaseHeight   = 16.0
	latencyHeight = 196.0
	rateHeight    = 126.0
	timeHeight    = 36.0
	gap           = 10.0
)

type drawing struct {
	*Figure
	pen
	scheme Scheme
	y      float64 // all above is drawn
	time   axis
}

// height returns how high the figure is.
func (f *Figure) height() float64 {
	h := 2*margin + float64(f.legendRows())*rowHeight + gap +
		headingHeight + phaseHeight + latencyHeight +
		headingHeight + rateHeight + timeHeight + float64(len(f.Notes))*rowHeight
	if f.Title != "" {
		h += titleHeight
	}
	if f.Subtitle != "" {
		h += rowHeight
	}
	if len(f.States) > 0 {
		h += headingHeight + stripHeight + rowHeight + gap/2
	}
	return h
}

// legendRows returns how many rows the legend takes, with two series in a row.
func (f *Figure) legendRows() int { return max(1, (len(f.Series)+1)/2) }

// draw returns the widths of all texts, in the order in which they were drawn.
func (f *Figure) draw(canvas vg.Canvas, scheme Scheme) (textWidths []float64) {
	d := &drawing{Figure: f, pen: pen{canvas: canvas}, scheme: scheme, y: f.height(), time: timeAxis(f.End)}
	d.time.from, d.time.to = left, right
	d.rect(0, 0, width, d.y, scheme.paper)
	d.y -= margin
	d.header()
	d.latencies()
	if len(f.States) > 0 {
		d.strip()
	}
	d.rates()
	for _, note := range f.Notes {
		d.y -= rowHeight
		d.text(margin, d.y+5, d.small(), note)
	}
	return d.widths
}

func (d *drawing) normal() style { return style{size: 10, color: d.scheme.ink} }

func (d *drawing) small() style { return style{size: 9, color: d.scheme.faint} }

func (d *drawing) header() {
	if d.Title != "" {
		d.y -= titleHeight
		d.text(margin, d.y+4, style{size: 15, bold: true, color: d.scheme.ink}, d.Title)
	}
	if d.Subtitle != "" {
		d.y -= rowHeight
		d.text(margin, d.y+4, style{size: 10, color: d.scheme.faint}, d.Subtitle)
	}
	const swatch = 20.0
	x, y := margin, d.y-rowHeight+1
	d.y -= float64(d.legendRows())*rowHeight + gap
	for i, s := range d.Series {
		if i > 0 && i%2 == 0 {
			x, y = margin, y-rowHeight
		}
		d.line(2.4, d.scheme.engines[s.Kind], nil, point(x, y+3.5), point(x+swatch, y+3.5))
		x += swatch + 6
		name := style{size: 10, bold: true, color: d.scheme.ink}
		d.text(x, y, name, s.Name)
		x += name.width(s.Name) + 5
		d.text(x, y, d.small(), s.Remark)
		x += d.small().width(s.Remark) + 22
	}
	d.offeredLine(point(x, y+3.5), point(x+swatch, y+3.5))
	d.text(x+swatch+6, y, d.normal(), "offered load")
}

// panel draws a heading and what is behind the lines of a panel, and sets the place of its axis.
func (d *drawing) panel(heading string, above, height float64, a *axis) {
	d.y -= headingHeight
	d.text(margin, d.y+6, style{size: 10, bold: true, color: d.scheme.ink}, heading)
	d.bands(d.y-above-height, d.y)
	d.y -= above + height
	a.from, a.to = d.y, d.y+height

	for _, t := range a.ticks {
		y := a.pos(t.at)
		if t.label == "" {
			d.line(0.5, d.scheme.faint, nil, point(left-2.5, y), point(left, y))
			continue
		}
		d.line(0.5, d.scheme.grid, nil, point(left, y), point(right, y))
		d.line(0.5, d.scheme.faint, nil, point(left-5, y), point(left, y))
		label := style{size: 10, color: d.scheme.ink, align: 1}
		d.text(left-8, y-label.middle(), label, t.label)
	}
	for _, t := range d.time.ticks {
		x := d.time.pos(t.at)
		d.line(0.5, d.scheme.grid, nil, point(x, a.from), point(x, a.to))
	}
	d.line(0.7, d.scheme.faint, nil, point(left, a.to), point(left, a.from), point(right, a.from))
}

// bands shades the phases.
func (d *drawing) bands(bottom, top float64) {
	for i, p := range d.Phases {
		c := d.scheme.calm
		if i == d.peak() {
			c = d.scheme.burst
		}
		d.rect(d.x(p.Begin), bottom, d.x(p.End), top, c)
	}
}

// peak returns which phase has the highest rate.
func (d *drawing) peak() int {
	peak := 0
	for i, p := range d.Phases {
		if p.Rate > d.Phases[peak].Rate {
			peak = i
		}
	}
	return peak
}

// x returns where a time is, at most the end of the axis.
func (d *drawing) x(t time.Duration) float64 { return d.time.pos(min(t, d.End).Seconds()) }

func (d *drawing) latencies() {
	low, high := d.latencyRange()
	a := latencyAxis(low, high)
	d.panel("Commit latency, p99 of each second (log scale)", phaseHeight, latencyHeight, &a)
	d.phaseNames(a.to + 5)
	for _, s := range d.Series {
		c := d.scheme.engines[s.Kind]
		var run []vg.Point
		flush := func() {
			switch {
			case len(run) == 1:
				d.dot(float64(run[0].X), float64(run[0].Y), 2, c)
			case len(run) > 1:
				d.line(2, c, nil, run...)
			}
			run = run[:0]
		}
		for _, p := range s.Points {
			x := d.time.pos((p.At + p.Length/2).Seconds())
			if x > right {
				break
			}
			if p.Lost {
				d.cross(x, a.to-4, 2.2, c)
			}
			if p.P99 <= 0 {
				flush()
				continue
			}
			run = append(run, point(x, a.pos(float64(p.P99))))
		}
		flush()
	}
}

// latencyRange returns the extremes of what is drawn.
func (d *drawing) latencyRange() (low, high time.Duration) {
	for _, s := range d.Series {
		for _, p := range s.Points {
			if p.P99 > 0 && p.At < d.End {
				if low == 0 || p.P99 < low {
					low = p.P99
				}
				high = max(high, p.P99)
			}
		}
	}
	if low == 0 {
		return time.Millisecond, time.Second
	}
	return low, high
}

// phaseNames writes a name into each band, with the rate where there is room, and one behind the
// last. A name may be wider than its band: the phase with the highest rate comes first, and a name
// that would run into another one is left out.
func (d *drawing) phaseNames(y float64) {
	var taken [][2]float64
	write := func(begin, end time.Duration, color color.Color, names ...string) {
		s := style{size: 9.5, color: color, align: 0.5}
		from, to := d.x(begin), d.x(end)
		name := names[0]
		if s.width(name)+8 > to-from {
			name = names[len(names)-1]
		}
		half := s.width(name) / 2
		x := min(max((from+to)/2, left+half), right-half)
		for _, t := range taken {
			if x-half-4 < t[1] && x+half+4 > t[0] {
				return
			}
		}
		taken = append(taken, [2]float64{x - half, x + half})
		d.text(x, y, s, name)
	}
	phase := func(p Phase) {
		write(p.Begin, p.End, d.scheme.ink, p.Name+", "+text.Rate(p.Rate), p.Name)
	}
	for i, p := range d.Phases {
		if i == d.peak() {
			phase(p)
		}
	}
	for i, p := range d.Phases {
		if i != d.peak() {
			phase(p)
		}
	}
	if n := len(d.Phases); n > 0 && d.Phases[n-1].End < d.End {
		write(d.Phases[n-1].End, d.End, d.scheme.faint, "after the load", "after")
	}
}

func (d *drawing) rates() {
	high := 0.0
	for _, p := range d.Phases {
		high = max(high, p.Rate)
	}
	for _, s := range d.Series {
		for _, p := range s.Points {
			if p.At < d.End {
				high = max(high, p.Rate)
			}
		}
	}
	a := rateAxis(high)
	d.panel("Commits a second", 0, rateHeight, &a)
	for _, s := range d.Series {
		var steps []vg.Point
		for _, p := range s.Points {
			if p.At >= d.End {
				break
			}
			steps = append(steps, point(d.x(p.At), a.pos(p.Rate)), point(d.x(p.At+p.Length), a.pos(p.Rate)))
		}
		if len(steps) > 0 {
			d.line(2, d.scheme.engines[s.Kind], nil, steps...)
		}
	}
	var offered []vg.Point
	for _, p := range d.Phases {
		offered = append(offered, point(d.x(p.Begin), a.pos(p.Rate)), point(d.x(p.End), a.pos(p.Rate)))
	}
	if len(offered) > 0 {
		last := d.x(d.Phases[len(d.Phases)-1].End)
		offered = append(offered, point(last, a.pos(0)))
		d.offeredLine(offered...)
	}

	label := style{size: 10, color: d.scheme.ink, align: 0.5}
	for _, t := range d.time.ticks {
		x := d.time.pos(t.at)
		d.line(0.5, d.scheme.faint, nil, point(x, d.y), point(x, d.y-4))
		d.text(x, d.y-15, label, t.label)
	}
	d.text((left+right)/2, d.y-29, style{size: 9.5, color: d.scheme.faint, align: 0.5}, "seconds since the load began")
	d.y -= timeHeight
}

func (d *drawing) offeredLine(points ...vg.Point) {
	d.line(0.9, d.scheme.ink, []vg.Length{4, 2.5}, points...)
}
