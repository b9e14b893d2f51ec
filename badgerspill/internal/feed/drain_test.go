//go:build go1.25

package feed

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A drain counts from when it begins, in a chunk too, and is told now and then, and at its end.
func TestDrainIsTold(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.fill(80)
		live := w.log.State().LiveBytes
		w.replay(1 << 10)
		w.Progressed()
		require.Empty(t, w.audience.drains, "nobody drains")
		left := w.Pending().Left
		require.Less(t, left, live)

		end := w.BeginDrain()
		endOther := w.BeginDrain() // shares it
		begun := time.Now()
		end()
		for w.replay(1 << 10).Midway {
			time.Sleep(30 * time.Millisecond)
			w.Progressed()
		}
		w.put("meanwhile", "1")
		w.replay(1 << 10)
		require.True(t, w.handOver())
		endOther()

		all := w.audience.drains
		require.Greater(t, len(all), 2)
		for i, d := range all {
			require.LessOrEqual(t, d.Bytes, d.TotalBytes)
			require.LessOrEqual(t, d.Commits, d.TotalCommits)
			if i > 0 {
				require.GreaterOrEqual(t, d.Bytes, all[i-1].Bytes)
				if !d.Done {
					require.GreaterOrEqual(t, d.Duration-all[i-1].Duration, 100*time.Millisecond)
				}
			}
			require.Equal(t, i == len(all)-1, d.Done)
		}
		require.Zero(t, all[0].Commits, "those of a chunk count when it is done")
		require.InDelta(t, left, all[0].TotalBytes, float64(live)/40)
		last := all[len(all)-1]
		require.Equal(t, last.TotalBytes, last.Bytes)
		require.Greater(t, last.TotalBytes, left)
		require.EqualValues(t, 81, last.Commits)
		require.EqualValues(t, 81, last.TotalCommits)
		require.Equal(t, time.Since(begun), last.Duration)

		w.Progressed()
		require.Len(t, w.audience.drains, len(all), "nobody drains any more")
		w.pipeline.turnToSpill()
		w.put("k", "1")
		end = w.BeginDrain()
		w.drained()
		end()
		last = w.audience.drains[len(all)]
		require.EqualValues(t, 1, last.TotalCommits, "the next one begins at 0")
		require.True(t, last.Done)
	})
}

// A chunk that breaks off in a drain, and goes on at its key, counts once.
func TestDrainOverAChunkThatBreaksOff(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.fill(80)
		live := w.log.State().LiveBytes
		defer w.BeginDrain()()
		told := func() Drain {
			time.Sleep(time.Duration(progressInterval))
			w.Progressed()
			return w.audience.drains[len(w.audience.drains)-1]
		}
		require.Zero(t, told().Bytes)
		w.replay(1 << 10)
		before := told().Bytes
		require.Positive(t, before)
		w.disk.SetFault(func(op, path string) error {
			if op == "read" && segment(path) {
				return errFake
			}
			return nil
		})
		for err := error(nil); err == nil; {
			_, err = w.Replay(context.Background(), 1<<10)
		}
		w.disk.SetFault(nil)
		broken := told()
		require.GreaterOrEqual(t, broken.Bytes, before)
		w.replay(1 << 10)
		resumed := told()
		require.Greater(t, resumed.Bytes, broken.Bytes)
		require.InDelta(t, live, resumed.TotalBytes, 1)
		w.drained()
		last := told()
		require.InDelta(t, live, last.Bytes, 1)
		require.Equal(t, last.Bytes, last.TotalBytes)
		require.EqualValues(t, 80, last.Commits)
	})
}
