//go:build go1.25

package feed

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/replay"
)

func TestPending(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		require.EqualValues(t, 1, w.Pending().Bytes, "a turn to the spill that no commit has followed is to be handed over")
		w.spill.always = true
		require.Equal(t, replay.Pending{}, w.Pending(), "there is no hand-over")
		b, _ := w.enqueue("queued", "1")
		require.EqualValues(t, 1, w.Pending().Bytes)
		require.NoError(t, w.log.Commit(b))
		w.spill.always = false
		w.drained()
		require.Equal(t, replay.Pending{}, w.Pending())

		w.pipeline.turnToSpill()
		begun := time.Now()
		w.fill(40)
		w.spill.usage, w.spill.slowed = w.spill.capacity/4, true
		live := w.log.State().LiveBytes
		require.Equal(t, replay.Pending{Bytes: live, Left: live, Fill: 0.25, Slowed: true, Oldest: begun}, w.Pending(),
			"what was handed over does not count any more")
		w.spill.full, w.spill.slowed, w.spill.capacity = true, false, 0
		p := w.replay(1 << 10)
		require.True(t, p.Midway)
		pending := w.Pending()
		require.True(t, pending.Full)
		require.Zero(t, pending.Fill)
		require.Equal(t, live, pending.Bytes, "a chunk counts as a whole")
		require.Less(t, pending.Left, live)
		require.Equal(t, pending.Left, w.BytesPending(live))
		for w.replay(1 << 10).Midway {
		}
		require.Zero(t, w.Pending().Left)
		require.Equal(t, live, w.Pending().Bytes, "until a checkpoint")
	})
}

func TestMayReplay(t *testing.T) {
	for what, c := range map[string]struct {
		change    func(w *world)
		may, full bool // as asked with full and without
	}{
		"memory is there":                 {func(*world) {}, true, true},
		"the soft limit is reached":       {func(w *world) { w.room.memory.Usage = 800 }, false, true},
		"what is for the index is left":   {func(w *world) { w.room.memory.Usage = 1400 }, false, false},
		"the spill is full":               {func(w *world) { w.room.memory.Usage, w.spill.full = 1500, true }, false, true},
		"the database is being closed":    {func(w *world) { w.room.memory.Usage, w.spill.closing = 1500, true }, false, true},
		"all memory is taken":             {func(w *world) { w.room.memory.Usage, w.spill.full = 1600, true }, false, false},
		"the index takes nearly all":      {func(w *world) { w.room.memory.Usage, w.room.memory.SpillIndex = 1600, 1401 }, true, true},
		"commits are in flight to Badger": {func(w *world) { w.pipeline.inFlight = true }, false, false},
		"the disk is low":                 {func(w *world) { w.room.low = errFake }, false, false},
		"Badger is held":                  {func(w *world) { w.guard.paused = errFake }, false, false},
	} {
		t.Run(what, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				c.change(w)
				require.Equal(t, c.may, w.MayReplay(false))
				require.Equal(t, c.full, w.MayReplay(true))
			})
		})
	}
}

// Relief wakes the replayer, who asks here again: not in a circle.
func TestReliefIsAskedForNowAndThen(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		time.Sleep(time.Second)
		w.room.memory.Usage = w.room.memory.Limit
		for range 100 {
			require.False(t, w.MayReplay(true))
			time.Sleep(time.Millisecond)
		}
		require.Equal(t, 10, w.room.relief)
	})
}
