package chart

import (
	"image/color"
	"time"
)

const (
	laneHeight  = 9.0
	laneGap     = 3.0
	stripHeight = 3*laneHeight + 2*laneGap
)

// key is an entry of the strip's legend.
type key struct {
	name  string
	color color.Color
}

// lane is one line of the strip: what it tells, and in which colour a state is.
type lane struct {
	name  string
	color func(State) color.Color
	keys  []key
}

func (d *drawing) lanes() []lane {
	s := d.scheme
	either := func(on bool, c color.Color) color.Color {
		if on {
			return c
		}
		return s.idle
	}
	return []lane{
		{
			name:  "commits",
			color: func(x State) color.Color { return either(x.Spilling, s.engines[Layered]) },
			keys:  []key{{"direct", s.idle}, {"spilling", s.engines[Layered]}},
		},
		{
			name: "memory",
			color: func(x State) color.Color {
				switch x.Tier {
				case TierFlush:
					return s.flush
				case TierSpill:
					return s.spill
				case TierBlock:
					return s.block
				}
				return s.idle
			},
			keys: []key{{"normal", s.idle}, {"soft limit (flush)", s.flush}, {"spill", s.spill}, {"block", s.block}},
		},
		{
			name:  "replay",
			color: func(x State) color.Color { return either(x.Replaying, s.replay) },
			keys:  []key{{"running", s.replay}},
		},
	}
}

// strip draws what the layer did, and its legend.
func (d *drawing) strip() {
	d.y -= headingHeight
	d.text(margin, d.y+6, style{size: 10, bold: true, color: d.scheme.ink}, "What badgerspill did")
	label := style{size: 9.5, color: d.scheme.ink, align: 1}
	for i, l := range d.lanes() {
		if i > 0 {
			d.y -= laneGap
		}
		d.y -= laneHeight
		d.text(left-8, d.y+laneHeight/2-label.middle(), label, l.name)
		for _, r := range runs(d.States, l.color, d.End) {
			d.rect(d.x(r.from), d.y, d.x(r.to), d.y+laneHeight, r.color)
		}
	}

	d.y -= rowHeight
	x, y, s := left, d.y+3, d.small()
	for _, l := range d.lanes() {
		d.text(x, y, s, l.name+":")
		x += s.width(l.name+":") + 6
		for _, k := range l.keys {
			d.rect(x, y-0.5, x+8, y+7.5, k.color)
			x += 12
			d.text(x, y, s, k.name)
			x += s.width(k.name) + 10
		}
		x += 12
	}
	d.y -= gap / 2
}

// run is a time of one colour.
type run struct {
	from, to time.Duration
	color    color.Color
}

// runs joins neighbours of the same colour and leaves out those that begin at end or later.
func runs(states []State, colorOf func(State) color.Color, end time.Duration) []run {
	var out []run
	for _, s := range states {
		if s.From >= end {
			break
		}
		c := colorOf(s)
		if n := len(out); n > 0 && out[n-1].color == c && out[n-1].to == s.From {
			out[n-1].to = s.To
			continue
		}
		out = append(out, run{s.From, s.To, c})
	}
	return out
}
