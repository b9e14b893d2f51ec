package chart

import "time"

// Figure is what to draw. Times count from the begin of the load.
type Figure struct {
	Title    string // may be empty, as Subtitle: its line is left out
	Subtitle string
	End      time.Duration // of the axis of time, above 0; what lies beyond is not drawn
	Phases   []Phase       // in order
	Series   []Series      // at most one of each kind
	States   []State       // of the layer, in order, without overlap; none leaves the strip out
	Notes    []string      // below the figure, each at most a line
}

// Phase is a stretch of the load with one rate, shaded and named.
type Phase struct {
	Name       string
	Begin, End time.Duration
	Rate       float64 // writes a second
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

// Series is one engine.
type Series struct {
	Kind   Kind
	Name   string
	Remark string // beside the name in the legend
	Points []Point
}

// Point is a second of a series.
type Point struct {
	At, Length time.Duration
	P99        time.Duration // of the writes that were due in it; 0 = none was acknowledged
	Rate       float64       // commits a second
	// Lost tells that writes were due in it that failed or were never sent. They are in no
	// percentile.
	Lost bool
}

// State is what the layer was doing for a while.
type State struct {
	From, To  time.Duration
	Spilling  bool   // commits went to the spill, not to Badger
	Tier      string // of memory: TierFlush, TierSpill, TierBlock; anything else is drawn as normal
	Replaying bool   // the spill was being replayed
}

// The tiers that are drawn.
const (
	TierFlush = "flush"
	TierSpill = "spill"
	TierBlock = "block"
)
