//go:build go1.25

package replay

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// Under steady writes every batch reached the end of the log and every hand-over found more: no
// checkpoint was ever taken, and what had long been replayed stayed on disk until the spill was
// full.
func TestCheckpointsGoOnWhileHandOverIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newFakeLog(mib)
		for range 1000 {
			l.late = append(l.late, mib)
		}
		r, _ := newTest(t, l, Options{CheckpointBytes: 8 * mib, BatchBytes: 2 * mib})
		d := startDrain(t.Context(), r)
		time.Sleep(500 * time.Millisecond) // a batch takes 1 ms
		require.False(t, l.isDirect())
		require.Greater(t, l.count("handover"), 100)
		require.Less(t, l.notSynced(), int64(10*mib), "replayed and kept after %d checkpoints", l.count("checkpoint"))
		r.Stop()
		<-d.done
		require.ErrorIs(t, d.err, ErrStopped)
	})
}
