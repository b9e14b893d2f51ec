package badgerspill

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/integration_test/kit"
)

// With several writers there is always a batch in the log's queue, and a hand-over needs it empty.
// A Drain did not end as long as they wrote, commits never went directly again, and what had long
// been replayed stayed on disk.
func TestDrainEndsUnderSteadyWrites(t *testing.T) {
	f := open(t, func(opt *Options) { opt.SyncWrites, opt.StallThreshold = true, time.Second })
	f.spillOne("k", "v")
	// A group is done when somebody has come who is not in it, or when nobody comes for a while.
	f.hooks.set(func(op, path string) error {
		if op == "sync" && isSegment(path) {
			came := func() int64 { return f.pipe.Counters.Spilled.Load() + f.log.State().Queued }
			before, end := came(), f.now()+int64(20*time.Millisecond)
			for came() == before && f.now() < end {
				<-time.After(100 * time.Microsecond)
			}
		}
		return nil
	})
	ctx, stop := context.WithTimeout(t.Context(), waitLimit)
	var wg kit.WaitGroup
	defer wg.Wait()
	defer stop()
	var written atomic.Int64
	for range 32 {
		wg.Go(func() {
			for ctx.Err() == nil {
				if err := put(f.DB, "k", "v"); err != nil {
					t.Error(err)
					return
				}
				written.Add(1)
			}
		})
	}
	eventually(t, "the writers are under way", func() bool { return written.Load() > 100 })
	require.NoError(t, f.Drain(ctx))
	require.Equal(t, int64(1), f.SpillStats().HandOvers)
}
