//go:build go1.25

package feed

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// place reports whether one is noted.
func (w *world) place() bool {
	_, ok := w.log.Place()
	return ok
}

// killed ends the process without a word, and begins the next one.
func (w *world) killed() {
	w.t.Helper()
	disk := w.disk.Killed()
	w.close()
	w.disk = disk
	w.open()
}

// Badger's own flushes make durable what a chunk has given, for the price of one sync of its
// directory: the place follows them. The next process goes on there.
func TestPlaceFollowsBadgersFlushes(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		keys := w.fill(60)
		first := w.replay(1 << 10)
		require.Zero(t, first.Synced)
		require.Zero(t, w.replay(1<<10).Synced, "it lies in the same memtable")
		require.NotContains(t, w.steps(), "place")
		w.badger.flush()
		p := w.replay(1 << 10)
		require.Equal(t, []string{"load", "sync directory", "place"}, w.steps())
		require.EqualValues(t, 2*first.Bytes, p.Synced)
		next := w.replay(1 << 10)
		require.NotContains(t, w.steps(), "place", "nothing was flushed since")
		given := len(w.badger.given(0))
		w.badger.flush()
		require.EqualValues(t, p.Bytes+next.Bytes, w.replay(1<<10).Synced, "each byte counts once")

		w.killed()
		loads := w.badger.countLoads()
		w.replay(1 << 10)
		require.NotContains(t, w.steps(), "void place")
		require.Equal(t, keys[given], w.badger.given(loads)[0], "what lies behind the place comes again, and nothing before it")
		w.drained()
		require.False(t, w.place())
	})
}

// At the end of a run Badger is synced for it.
func TestCheckpointNotesThePlace(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		keys := w.fill(60)
		w.replay(1 << 10)
		w.steps()
		w.checkpoint()
		require.Equal(t, []string{"sync Badger", "place", "interlock"}, w.steps())
		w.checkpoint()
		require.Equal(t, []string{"interlock"}, w.steps())
		given := len(w.badger.given(0))
		w.killed()
		w.drained()
		require.Equal(t, keys[given:], w.badger.given(1))
	})
}

// When no place may be noted, and that it is tried again.
func TestNoPlace(t *testing.T) {
	for why, c := range map[string]struct {
		change func(w *world, err error)
		told   bool // that it could not be written
		noted  bool // it was written, and is void by now
		mended bool // by the next checkpoint
	}{
		"in the value log, which no flush syncs": {change: func(w *world, err error) {
			w.Feed.opt.InValueLog = func(int) bool { return err != nil }
		}, mended: true},
		"the table's name cannot be synced": {change: func(w *world, err error) { w.badger.failDir = err }, mended: true},
		"tables are lost":                   {change: func(w *world, err error) { w.guard.lost = err }},
		"it cannot be written":              {change: func(w *world, err error) { w.log.failNote = err }, told: true},
		"Badger has failed meanwhile":       {change: func(w *world, err error) { w.guard.noticed = err }, noted: true},
	} {
		t.Run(why, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				w.fill(60)
				c.change(w, errFake)
				w.replay(1 << 10)
				w.badger.flush()
				w.steps()
				require.Zero(t, w.replay(1<<10).Synced)
				require.False(t, w.place())
				require.Equal(t, c.told, len(w.audience.notNoted) > 0)
				if steps := w.steps(); c.noted {
					require.Equal(t, []string{"place", "void place"}, steps[len(steps)-2:])
				}
				w.checkpoint()
				require.Equal(t, c.mended, w.place())
				c.change(w, nil)
				w.replay(1 << 10)
				w.checkpoint()
				require.True(t, w.place())
				w.drained()
			})
		})
	}
}

// A place that could not be made void is told of.
func TestPlaceThatStays(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.disk.SetFault(func(op, path string) error {
			if op == "syncdir" {
				return errFake
			}
			return nil
		})
		VoidPlace(w.log, &w.audience)
		require.Len(t, w.audience.notVoided, 1)
		require.ErrorIs(t, w.audience.notVoided[0], errFake)
	})
}

// Who does not go on at a place makes it void first.
func TestReplayBelowAPlace(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		keys := w.fill(60)
		w.replay(1 << 10)
		w.checkpoint()
		w.killed()
		w.Feed.mu.Lock()
		require.NotNil(t, w.Feed.mu.resume)
		w.Feed.mu.resume = nil
		require.NoError(t, w.beginChunk())
		require.False(t, w.place())
		w.endChunk()
		w.Feed.mu.Unlock()
		loads := w.badger.countLoads()
		w.drained()
		require.Equal(t, keys, w.badger.given(loads), "all of it is given again")
	})
}
