//go:build go1.25

package feed

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
)

// A power cut must not leave in Badger, whose log is mapped, what the spill has lost. Files go only
// after Badger has synced.
func TestOrderOfSyncs(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.put("a", "1")
		p := w.replay(1 << 20)
		require.EqualValues(t, 1, p.Entries)
		require.True(t, p.Drained)
		require.Equal(t, []string{"sync spill", "load"}, w.steps())
		w.checkpoint()
		require.Equal(t, []string{"sync Badger", "manifest", "account", "interlock"}, w.steps())
		require.EqualValues(t, 1, w.pipeline.replayed)
		require.True(t, w.log.Empty())
		w.checkpoint()
		require.Equal(t, []string{"interlock"}, w.steps(), "an earlier try may have failed")
	})
}

func TestSpillThatIsSyncedIsNotSyncedAgain(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.put("a", "1")
		require.NoError(t, w.log.Log.Sync())
		w.replay(1 << 20)
		require.Equal(t, []string{"load"}, w.steps())
	})
}

// Replay is what ends the trouble of a spill that cannot be synced.
func TestSpillThatCannotBeSyncedIsReplayed(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.put("a", "1")
		w.log.failSync = errFake
		require.True(t, w.replay(1<<20).Drained)
		require.True(t, w.handOver())
		require.True(t, w.pipeline.isDirect())
	})
}

// A load that fails is tried again with the same entries, in a chunk too, and nothing is let go of.
func TestLoadThatFailsIsTriedAgain(t *testing.T) {
	for kind, n := range map[string]int{"in the order of the log": 0, "in a chunk": 40} {
		t.Run(kind, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				keys := w.fill(n)
				w.put("last", "1")
				keys = append(keys, "last")
				w.badger.onLoad = func(n int) error {
					if n <= 3 {
						return errFake
					}
					return nil
				}
				for range 3 {
					_, err := w.Replay(context.Background(), 1<<10)
					require.ErrorIs(t, err, errFake)
					require.False(t, w.Outdated())
					require.Zero(t, w.room.inFlight)
					require.Zero(t, w.room.claimed)
					require.Zero(t, w.audience.entries)
					w.checkpoint()
					require.NotContains(t, w.steps(), "manifest")
				}
				w.replay(1 << 10)
				first := w.badger.loads[0]
				for i := 1; i < 4; i++ {
					require.Equal(t, first, w.badger.loads[i])
				}
				w.drained()
				require.Equal(t, keys, w.badger.given(3), "none is left out, and none comes twice")
				require.EqualValues(t, len(keys), w.audience.entries)
				require.EqualValues(t, w.room.memtable, n*208+5)
			})
		})
	}
}

// Who says no says it before Badger gets anything, and nothing stays accounted for.
func TestNothingIsLoadedAgainstGuardAndRoom(t *testing.T) {
	for what, refuse := range map[string]func(w *world, err error){
		"the guard": func(w *world, err error) { w.guard.paused = err },
		"the disk":  func(w *world, err error) { w.room.full = err },
	} {
		t.Run(what, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				w.put("a", "1")
				refuse(w, errFake)
				_, err := w.Replay(context.Background(), 1<<20)
				require.ErrorIs(t, err, errFake)
				require.Zero(t, w.badger.countLoads())
				require.Zero(t, w.room.inFlight)
				refuse(w, nil)
				require.True(t, w.replay(1<<20).Drained)
				require.EqualValues(t, 1, w.badger.version("a"))
				require.Equal(t, 1, w.audience.loaded)
			})
		})
	}
}

func TestEmptyLogIsDrained(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		p := w.replay(1 << 20)
		require.True(t, p.Drained)
		require.Zero(t, p.Entries)
		require.Empty(t, w.steps())
	})
}

// While a batch is under way nobody else writes to Badger, and while somebody does no batch begins.
func TestOneWritesToBadgerAtATime(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.put("a", "1")
		w.badger.hold()
		batch := async(func() error { _, err := w.Replay(context.Background(), 1<<20); return err })
		synctest.Wait()
		require.Equal(t, 1, w.badger.countLoads())
		entered := make(chan struct{})
		leave := make(chan struct{})
		other := async(func() error {
			return w.Exclusively(func(*Exclusive) error {
				close(entered)
				<-leave
				return errFake
			})
		})
		select {
		case <-entered:
			require.FailNow(t, "beside a batch")
		default:
		}
		w.badger.release()
		<-batch.done
		require.NoError(t, batch.err)
		<-entered
		w.put("b", "2")
		batch = async(func() error { _, err := w.Replay(context.Background(), 1<<20); return err })
		require.False(t, batch.known())
		require.Equal(t, 1, w.badger.countLoads())
		close(leave)
		<-other.done
		require.ErrorIs(t, other.err, errFake)
		<-batch.done
		require.NoError(t, batch.err)
		require.Equal(t, 2, w.badger.countLoads())
	})
}
