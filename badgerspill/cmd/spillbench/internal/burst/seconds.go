package burst

import (
	"time"

	"github.com/badgerspill/badgerspill/badgerspill/cmd/spillbench/internal/engine"
	"github.com/badgerspill/badgerspill/badgerspill/cmd/spillbench/internal/openloop"
)

// Second is a second of a run.
type Second struct {
	openloop.Second
	// Layer is what the layer did meanwhile; nil without a layer, and when nobody came to look.
	Layer *LayerSecond `json:"layer,omitempty"`
}

// LayerSecond is what was seen of the layer in a second, in which it is looked at ten times.
type LayerSecond struct {
	Tier      string `json:"tier"`      // the fullest that was seen
	Spilling  bool   `json:"spilling"`  // commits went to the spill, at one time at least
	Replaying bool   `json:"replaying"` // the spill was being replayed, at one time at least

	SpillBytes   int64 `json:"spill_bytes"`   // the most that was seen, as of SpillPending
	SpillPending int64 `json:"spill_pending"` // commits
	// that waited for room, since the last look of the second before
	Blocked int64 `json:"commits_blocked"`
}

// sample is one look at the layer.
type sample struct {
	at    time.Duration // since the load began
	layer *engine.Layer
}

func (s sample) spilling() bool { return s.layer.State == "spilling" }

func (s sample) replaying() bool { return s.layer.Replay == "replaying" }

// busyUntil returns when the layer was last seen with something to do, 0 if never.
func busyUntil(samples []sample) time.Duration {
	for i := len(samples) - 1; i >= 0; i-- {
		if s := samples[i]; s.layer.SpillPending > 0 || s.spilling() || s.replaying() {
			return s.at
		}
	}
	return 0
}

// seconds adds to each second what was seen in it. Samples after the last one are left out.
func seconds(load []openloop.Second, samples []sample) []Second {
	out := make([]Second, len(load))
	next, blocked := 0, int64(0)
	for i, s := range load {
		out[i].Second = s
		var l *LayerSecond
		rank := -1
		for ; next < len(samples) && samples[next].at < s.End(); next++ {
			if l == nil {
				l = &LayerSecond{}
			}
			x := samples[next]
			if r := tierRank(x.layer); r > rank {
				rank, l.Tier = r, x.layer.Tier
			}
			l.Spilling = l.Spilling || x.spilling()
			l.Replaying = l.Replaying || x.replaying()
			l.SpillBytes = max(l.SpillBytes, x.layer.SpillBytes)
			l.SpillPending = max(l.SpillPending, x.layer.SpillPending)
			l.Blocked += x.layer.CommitsBlocked - blocked
			blocked = x.layer.CommitsBlocked
		}
		out[i].Layer = l
	}
	return out
}

// tierRank orders the tiers by the use of memory.
func tierRank(l *engine.Layer) int {
	for i, t := range l.TiersEntered {
		if t.Tier == l.Tier {
			return i
		}
	}
	return 0
}
