//go:build go1.25

package feed

import (
	"context"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/replay"
	"github.com/badgerspill/badgerspill/spillfile"
)

// Entries reach Badger in key order over many segments, and superseded versions do not.
func TestChunkIsSortedAndWithoutWhatNobodySees(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		const n, keys = 90, 30
		for i := range n {
			w.put(name(i*7919%keys), value(name(i)))
		}
		w.pipeline.discardable = n
		require.Greater(t, w.log.State().LiveSegments, 3)
		p := w.replay(1 << 20)
		require.True(t, p.Midway)
		// The log's own goroutine may have synced it already. The fake checks that it is synced.
		steps := slices.DeleteFunc(w.steps(), func(step string) bool { return step == "sync spill" })
		require.Equal(t, []string{"seal", "load"}, steps)
		given := w.badger.given(0)
		require.Len(t, given, keys, "one version of each key")
		require.True(t, slices.IsSorted(given))
		require.EqualValues(t, n-keys, w.audience.leftOut)
		for i := range keys {
			require.Greater(t, w.badger.version(name(i)), uint64(n-keys))
		}
		p = w.replay(1 << 20)
		require.True(t, p.Drained)
		require.Positive(t, p.Skipped, "a checkpoint lets go of what was left out, too")
		require.Greater(t, w.log.State().LiveSegments, 3, "before a checkpoint")
		w.drained()
	})
}

// The versions that somebody may still read come oldest first.
func TestChunkGivesOldVersionsFirst(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		for range 3 {
			w.fill(20)
		}
		w.pipeline.discardable = 40
		w.drained()
		versions := map[string][]uint64{}
		for _, load := range w.badger.loads {
			for i := range load {
				versions[string(load[i].Key)] = append(versions[string(load[i].Key)], load[i].Version)
			}
		}
		for i := range 20 {
			require.Equal(t, []uint64{uint64(i + 21), uint64(i + 41)}, versions[name(i)], name(i))
		}
	})
}

// A little is replayed in the order of the log, and seals nothing.
func TestLittleIsReplayedInTheOrderOfTheLog(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.put("b", "1")
		w.put("a", "2")
		p := w.replay(1 << 20)
		require.True(t, p.Drained)
		require.False(t, p.Midway)
		require.Equal(t, []string{"b", "a"}, w.badger.given(0))
		require.NotContains(t, w.steps(), "seal")
	})
}

// Between two batches a chunk goes on where it was. Until it is through its segments stay.
func TestSegmentsOfHalfAChunkStay(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		keys := w.fill(40)
		before := w.log.State().LiveSegments
		for range 5 {
			require.True(t, w.replay(1<<10).Midway)
			w.checkpoint()
		}
		require.Equal(t, before, w.log.State().LiveSegments)
		require.NotContains(t, w.steps(), "manifest")
		require.Equal(t, keys[:len(w.badger.given(0))], w.badger.given(0))
		w.drained()
		require.Equal(t, keys, w.badger.given(0))
	})
}

// How large a chunk may be: a quarter of the capacity; a piece above the high-water mark; what the
// disk has room for.
func TestSizeOfAChunk(t *testing.T) {
	for what, c := range map[string]struct {
		change   func(w *world)
		segments int // that one chunk has, of five that are sealed; 0: all, and what is written
	}{
		"a quarter of the capacity":  {func(w *world) {}, 0},
		"above the high-water mark":  {func(w *world) { w.spill.usage, w.spill.piece = 600<<10, 2*segmentSize }, 2},
		"room for three segments":    {func(w *world) { w.room.chunkRoom = 3 * segmentSize }, 3},
		"a capacity of six segments": {func(w *world) { w.spill.capacity = 6 * segmentSize }, 1},
	} {
		t.Run(what, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				for i := 0; w.log.State().LiveSegments < 6; i++ {
					w.put(name(i), value(name(i)))
				}
				c.change(w)
				require.True(t, w.replay(1<<10).Midway)
				sealed := slices.Contains(w.steps(), "seal")
				require.Equal(t, c.segments == 0, sealed)
				for w.replay(1 << 10).Midway {
				}
				w.checkpoint()
				left := 6 - c.segments
				if c.segments == 0 {
					left = 0
				}
				require.Equal(t, left, w.log.State().LiveSegments)
			})
		})
	}
}

// A read of the log that fails gives up the chunk. It begins anew at the key that it had come to.
func TestChunkBeginsAnewAfterAnError(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		keys := w.fill(60)
		w.replay(1 << 10)
		w.disk.SetFault(func(op, path string) error {
			if op == "read" && segment(path) {
				return errFake
			}
			return nil
		})
		failures := 0
		for range 3 {
			for {
				if _, err := w.Replay(context.Background(), 1<<10); err != nil {
					require.ErrorIs(t, err, errFake)
					failures++
					break
				}
			}
			w.checkpoint()
		}
		require.Equal(t, 3, failures)
		require.False(t, w.Outdated())
		before := len(w.badger.given(0))
		require.Less(t, before, 40)
		w.disk.SetFault(nil)
		loads := w.badger.countLoads()
		w.replay(1 << 10)
		require.Equal(t, keys[before], w.badger.given(loads)[0])
		w.drained()
		require.Equal(t, keys, w.badger.given(0), "none is left out, and none comes twice")
	})
}

// damage changes a byte in the middle of the second segment.
func (w *world) damage() {
	w.disk.Alter("2.seg", func(content string) string {
		b := []byte(content)
		b[len(b)/2] ^= 1
		return string(b)
	})
}

// replayToError replays, with a checkpoint after each batch, until that fails.
func (w *world) replayToError() (moved []replay.Progress, err error) {
	for range 1000 {
		p, err := w.Replay(context.Background(), 1<<10)
		if err != nil {
			return moved, err
		}
		moved = append(moved, p)
		w.checkpoint()
	}
	return moved, nil
}

// What lies before damage reaches Badger and is let go of, segment by segment. What lies behind it
// waits, since commit order holds.
func TestDamage(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		keys := w.fill(80)
		first, live := w.log.Behind(spillfile.Position{Segment: 2}), w.log.State().LiveSegments
		require.Greater(t, live, 3)
		require.Positive(t, first)
		w.damage()
		moved, err := w.replayToError()
		require.ErrorIs(t, err, spillfile.ErrCorrupt)
		require.NotEmpty(t, moved)
		require.Contains(t, w.steps(), "void place", "chunks end elsewhere now")
		require.Equal(t, live-1, w.log.State().LiveSegments, "the first is let go of")
		require.EqualValues(t, 1, w.badger.version(keys[0]))
		require.Zero(t, w.badger.version(keys[79]))
		require.False(t, w.Outdated())

		// It is the same when it is tried again, and a hand-over does not pass it.
		_, err = w.Replay(context.Background(), 1<<10)
		require.ErrorIs(t, err, spillfile.ErrCorrupt)
		_, err = w.HandOver(context.Background())
		require.Error(t, err)
		require.False(t, w.pipeline.isDirect())

		// The next process meets it, too.
		w.killed()
		_, err = w.replayToError()
		require.ErrorIs(t, err, spillfile.ErrCorrupt)

		// What is damaged is dropped: the error is not of what is there now.
		w.drop()
		require.True(t, w.Outdated())
		w.fill(60)
		for w.replay(1 << 10).Midway {
		}
		w.checkpoint()
		require.True(t, w.log.Empty(), "a chunk has many segments again")
		w.drained()
		require.EqualValues(t, 81, w.badger.version(keys[0]))
	})
}

// A place that cannot be made void keeps replay from beginning below it.
func TestReplayWaitsForAPlaceToBeVoid(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.drop()
		w.fill(40)
		w.disk.SetFault(func(op, path string) error {
			if op == "syncdir" {
				return errFake
			}
			return nil
		})
		_, err := w.Replay(context.Background(), 1<<10)
		require.ErrorIs(t, err, errFake)
		require.Zero(t, w.badger.countLoads())
		w.disk.SetFault(nil)
		w.drained()
	})
}
