package badgerspill

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Badger took 15 ms for a load, as a disk does with SyncWrites, and the hand-over gave up after 5:
// with a trickle of commits the spill never ended.
func TestHandOverWaitsAsLongAsAStall(t *testing.T) {
	f := open(t, eager, func(o *Options) { o.StallThreshold = DefaultSyncStallThreshold })
	f.stub.set(func() {
		f.stub.mu.onLoad = func(int, []entry) error { <-time.After(15 * time.Millisecond); return nil }
	})
	f.spillOne("k", "v")
	ctx, stop := context.WithCancel(t.Context())
	writer := async(func() error {
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for ctx.Err() == nil {
			if err := put(f.DB, "k", "v"); err != nil {
				return err
			}
			<-tick.C
		}
		return nil
	})
	defer stop()
	receive(t, "HandOver", f.events.handOver)
	stop()
	require.NoError(t, receive(t, "the end of the writer", writer))
}
