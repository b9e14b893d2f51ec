package chart

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Figure is what to draw. Times count from the begin of the load.
type Figure struct {
	Title    string `json:"title,omitempty"` // may be empty, as Subtitle: its line is left out
	Subtitle string `json:"subtitle,omitempty"`
	// End is that of the axis of time, above 0; what lies beyond is not drawn.
	End    time.Duration `json:"end_ns"`
	Phases []Phase       `json:"phases"` // in order
	Series []Series      `json:"series"` // at most one of each kind
	// States are those of the layer, in order, without overlap; none leaves the strip out.
	States []State  `json:"states,omitempty"`
	Notes  []string `json:"notes,omitempty"` // below the figure, each at most a line
	// Source says what the figure was drawn from: the metadata of an SVG. It may be empty.
	Source string `json:"-"`
}

// Phase is a stretch of the load with one rate, shaded and named.
type Phase struct {
	Name  string        `json:"name"`
	Begin time.Duration `json:"begin_ns"`
	End   time.Duration `json:"end_ns"`
	Rate  float64       `json:"rate"` // writes a second
}

// Kind is what a series tells of. It decides on the colour, which is the same in every figure.
type Kind int

// The kinds of series.
const (
	Plain   Kind = iota // Badger by itself
	Layered             // badgerspill
	Floor               // a bare log
	Other               // any other engine
)

var kinds = []string{"plain", "layered", "floor", "other"}

// MarshalText returns the name of the kind.
func (k Kind) MarshalText() ([]byte, error) {
	if k < 0 || int(k) >= len(kinds) {
		return nil, fmt.Errorf("no kind of series has the number %d", int(k))
	}
	return []byte(kinds[k]), nil
}

// UnmarshalText undoes MarshalText.
func (k *Kind) UnmarshalText(name []byte) error {
	i := slices.Index(kinds, string(name))
	if i < 0 {
		return fmt.Errorf("kind %q: must be one of %s", name, strings.Join(kinds, ", "))
	}
	*k = Kind(i)
	return nil
}

// Series is one engine.
type Series struct {
	Kind   Kind    `json:"kind"`
	Name   string  `json:"name"`
	Remark string  `json:"remark,omitempty"` // beside the name in the legend
	Points []Point `json:"points"`
}

// Point is a second of a series.
type Point struct {
	At     time.Duration `json:"at_ns"`
	Length time.Duration `json:"length_ns"`
	// P99 is of the writes that were due in it; 0 = none was acknowledged.
	P99  time.Duration `json:"p99_ns"`
	Rate float64       `json:"rate"` // commits a second
	// Lost tells that writes were due in it that failed or were never sent. They are in no
	// percentile.
	Lost bool `json:"lost,omitempty"`
}

// State is what the layer was doing for a while.
type State struct {
	From     time.Duration `json:"from_ns"`
	To       time.Duration `json:"to_ns"`
	Spilling bool          `json:"spilling"` // commits went to the spill, not to Badger
	// Tier is that of memory: TierFlush, TierSpill, TierBlock; anything else is drawn as normal.
	Tier      string `json:"tier"`
	Replaying bool   `json:"replaying"` // the spill was being replayed
}

// The tiers that are drawn.
const (
	TierFlush = "flush"
	TierSpill = "spill"
	TierBlock = "block"
)

// maxTime bounds the times of a figure: a load lasts hours at most.
const maxTime = 24 * time.Hour

// Check returns an error that names the field if the figure cannot be drawn: one that was read from
// a file may hold anything.
func (f *Figure) Check() error {
	if f.End <= 0 || f.End > maxTime {
		return fmt.Errorf("end_ns %d: must be above 0 and at most %d", f.End, maxTime)
	}
	for i, p := range f.Phases {
		switch {
		case p.Begin < 0 || p.End < p.Begin || p.End > maxTime:
			return fmt.Errorf("phases[%d]: begin_ns %d, end_ns %d: must not go backwards, from 0 to %d", i, p.Begin, p.End, maxTime)
		case i > 0 && p.Begin < f.Phases[i-1].End:
			return fmt.Errorf("phases[%d]: begin_ns %d: must not be before the end of the phase before", i, p.Begin)
		case p.Rate < 0 || p.Rate > maxFigureRate:
			return fmt.Errorf("phases[%d]: rate %g: must be from 0 to %g", i, p.Rate, maxFigureRate)
		}
	}
	seen := map[Kind]bool{}
	for i, s := range f.Series {
		if seen[s.Kind] {
			return fmt.Errorf("series[%d]: kind %s: there is one already", i, kinds[s.Kind])
		}
		seen[s.Kind] = true
		for j, p := range s.Points {
			switch {
			case p.At < 0 || p.At > maxTime:
				return fmt.Errorf("series[%d].points[%d]: at_ns %d: must be from 0 to %d", i, j, p.At, maxTime)
			case p.Length <= 0 || p.Length > maxTime:
				return fmt.Errorf("series[%d].points[%d]: length_ns %d: must be above 0 and at most %d", i, j, p.Length, maxTime)
			case p.P99 < 0 || p.P99 > maxTime:
				return fmt.Errorf("series[%d].points[%d]: p99_ns %d: must be from 0 to %d", i, j, p.P99, maxTime)
			case p.Rate < 0 || p.Rate > maxFigureRate:
				return fmt.Errorf("series[%d].points[%d]: rate %g: must be from 0 to %g", i, j, p.Rate, maxFigureRate)
			}
		}
	}
	for i, s := range f.States {
		if s.From < 0 || s.To < s.From || s.To > maxTime {
			return fmt.Errorf("states[%d]: from_ns %d, to_ns %d: must not go backwards, from 0 to %d", i, s.From, s.To, maxTime)
		}
	}
	return nil
}

// maxFigureRate is more than any engine takes a second.
const maxFigureRate = 1e9
