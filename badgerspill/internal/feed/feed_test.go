//go:build go1.25

package feed

import (
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
)

// Without a log there is nothing to replay. Others that write to Badger take turns all the same.
func TestFeedWithoutALog(t *testing.T) {
	f := New(Env{}, Options{})
	called := false
	require.ErrorIs(t, f.Exclusively(func(x *Exclusive) error {
		x.AwaitLate()
		called = true
		return errFake
	}), errFake)
	require.True(t, called)
	f.Close()
}

// Close gives up a chunk, which holds its segments.
func TestCloseInTheMiddleOfAChunk(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.fill(40)
		w.replay(1 << 10)
		require.NoError(t, w.log.DiscardAll())
		require.Positive(t, w.log.State().HeldBytes)
		w.Feed.Close()
		synctest.Wait() // the log's own goroutine holds a segment while it makes the index
		require.Zero(t, w.log.State().HeldBytes)
		w.Feed.Close()
	})
}

// A drop in the middle of a chunk: the chunk is given up, and what comes after it is replayed.
func TestStartOverInTheMiddleOfAChunk(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.fill(40)
		w.replay(1 << 10)
		w.checkpoint()
		reached := w.Reached(w.log.State().LastSeq)
		w.drop()
		select {
		case <-reached:
		default:
			require.FailNow(t, "who waits for what was dropped waits for ever")
		}
		synctest.Wait()
		require.Zero(t, w.log.State().HeldBytes)
		require.Zero(t, w.Pending().Left)
		loads := w.badger.countLoads()
		w.put("new", "1")
		w.drained()
		require.Equal(t, []string{"new"}, w.badger.given(loads))
	})
}

// Reached tells when Badger has what was acknowledged.
func TestReached(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		closed := func(c <-chan struct{}) bool {
			select {
			case <-c:
				return true
			default:
				return false
			}
		}
		require.True(t, closed(w.Reached(0)))
		w.fill(40)
		last := w.log.State().LastSeq
		reached, beyond := w.Reached(last), w.Reached(last+1)
		require.Equal(t, reached, w.Reached(last))
		w.replay(1 << 10)
		require.False(t, closed(reached), "those of a chunk count when it is done")
		for w.replay(1 << 10).Midway {
		}
		require.True(t, closed(reached))
		require.False(t, closed(beyond))
		require.True(t, closed(w.Reached(last)))
		w.put("one more", "1")
		w.replay(1 << 10)
		require.True(t, closed(beyond))
	})
}
