package burst

import (
	"fmt"
	"strings"
	"time"

	"github.com/badgerspill/badgerspill/badgerspill/cmd/internal/text"
	"github.com/badgerspill/badgerspill/badgerspill/cmd/spillbench/internal/chart"
)

// figure returns the first run as a figure.
func (r *Report) figure() *chart.Figure {
	f := &chart.Figure{Title: r.title(), Subtitle: r.settingsText(), End: r.end()}
	at := time.Duration(0)
	for _, p := range r.Config.phases() {
		if p.Duration > 0 {
			f.Phases = append(f.Phases, chart.Phase{Name: p.Name, Begin: at, End: at + p.Duration, Rate: float64(p.Rate)})
			at += p.Duration
		}
	}
	for _, e := range r.first() {
		s := chart.Series{Kind: chart.Plain, Name: engineName(e.Engine)}
		switch e.Engine {
		case Badger:
		case Badgerspill:
			s.Kind = chart.Layered
			f.States = states(e.Seconds)
		case Log:
			s.Kind = chart.Floor
		default:
			s.Kind = chart.Other
		}
		if p := e.phase(PhaseBurst); p != nil && p.Acked > 0 {
			s.Remark = "p99 in the burst " + text.Duration(p.P99)
		}
		lost := int64(0)
		for _, x := range e.Seconds {
			if x.At >= r.Config.schedule().End() && x.At >= e.LastAnswer {
				break // only the layer is still at work
			}
			s.Points = append(s.Points, chart.Point{
				At: x.At, Length: x.Length, P99: x.P99, Rate: x.AckedRate, Lost: x.Unsent+x.Failed > 0,
			})
			lost += x.Unsent + x.Failed
		}
		f.Series = append(f.Series, s)
		if lost > 0 {
			f.Notes = append(f.Notes, fmt.Sprintf("× %s: of the writes that were due in seconds with this mark, %s failed or were never sent; no percentile counts them.",
				engineName(e.Engine), text.Count(lost)))
		}
	}
	return f
}

func (r *Report) title() string {
	var names []string
	for _, e := range r.first() {
		names = append(names, "on "+engineName(e.Engine))
	}
	return "A write burst " + strings.Join(names, " and ")
}

// settingsText says what was asked for, and nothing of the machine.
func (r *Report) settingsText() string {
	c := r.Config
	var rates []string
	for _, p := range c.phases() {
		if p.Duration > 0 {
			rates = append(rates, text.Rate(float64(p.Rate)))
		}
	}
	return fmt.Sprintf("values of %s, %s writers, %s, %s%s; latency counts from when a write was due",
		text.Bytes(int64(c.ValueSize)), text.Count(int64(c.Writers)), strings.Join(rates, " then "), c.readsText(), syncText(c.Sync))
}

// end returns when all was acknowledged and the spill was empty, and no earlier than the end of the
// load.
func (r *Report) end() time.Duration {
	load := r.Config.schedule().End()
	end := load
	for _, e := range r.first() {
		end = max(end, e.LastAnswer)
		for _, s := range e.Seconds {
			if l := s.Layer; l != nil && (l.Spilling || l.Replaying) {
				end = max(end, s.At+s.Length)
			}
		}
	}
	// The last write is acknowledged a moment after the end of the load, which would be seen as a
	// hair behind it.
	if end < load+load/50 {
		return load
	}
	return end
}

func states(seconds []Second) []chart.State {
	var out []chart.State
	for _, s := range seconds {
		if s.Layer != nil {
			out = append(out, chart.State{
				From: s.At, To: s.End(), Spilling: s.Layer.Spilling, Tier: s.Layer.Tier, Replaying: s.Layer.Replaying,
			})
		}
	}
	return out
}

func engineName(engine string) string {
	switch engine {
	case Badger:
		return "plain Badger"
	case Log:
		return "a bare log"
	default:
		return engine
	}
}
