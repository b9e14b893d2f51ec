package feed

import (
	"time"

	"github.com/badgerspill/badgerspill/replay"
)

// reliefInterval is how often a replay that waits for memory asks for it at most, in nanoseconds.
const reliefInterval = int64(10 * time.Millisecond)

// Pending implements replay.Log. It takes no lock of the feed.
func (f *Feed) Pending() replay.Pending {
	st, spill := f.env.Log.State(), f.env.Spill
	// A turn to the spill that no commit has followed is to be handed over, too.
	turned := spill.Active() && !spill.Always()
	if st.LiveBatches == 0 && st.Queued == 0 && !turned {
		return replay.Pending{}
	}
	p := replay.Pending{Bytes: max(st.LiveBytes, 1), Left: f.BytesPending(st.LiveBytes), Oldest: st.OldestCreated, Due: st.OldestAhead}
	if c := spill.Capacity(); c > 0 {
		p.Fill = float64(spill.Usage()) / float64(c)
	}
	p.Full, p.Slowed = spill.Full(), spill.Slowed()
	return p
}

// MayReplay implements replay.Log. It takes no lock of the feed, and may look at Badger's files and
// at the disk.
func (f *Feed) MayReplay(full bool) bool {
	if f.env.Room.Low() != nil || f.env.Guard.Pauses() != nil {
		return false
	}
	// Badger has not answered what was sent to it directly, and hedged.
	if f.env.Pipeline.InFlight() {
		return false
	}
	m := f.env.Room.Memory()
	limit := m.SoftLimit
	switch {
	case full && (f.env.Spill.Closing() || f.env.Spill.Full()):
		limit = m.Limit
	case full: // being drained: what is above is for the index of what is spilled meanwhile
		limit = m.Limit - m.Limit/8
	}
	// Only replay frees the index of the spill: it must not wait for that.
	if m.Usage < limit || m.Usage-m.SpillIndex < limit/4 {
		return true
	}
	// Relief wakes the replayer, who asks here again: not in a circle.
	if now := f.now(); now-f.askedRelief >= reliefInterval {
		f.askedRelief = now
		f.env.Room.AskRelief()
	}
	return false
}
