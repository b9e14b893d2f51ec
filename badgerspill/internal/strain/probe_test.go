//go:build go1.25

package strain

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestProbeRunsWhileAskedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		begin := time.Now()
		var wg sync.WaitGroup
		spawned := 0
		m := New(ctx, false, func() int64 { return int64(time.Since(begin)) }, func(f func()) { spawned++; wg.Go(f) })
		counted := func() (n int64) {
			var c counts
			return m.wakes.samples.moveTo(&c)
		}
		for range 10 {
			m.Strain(0)
			require.LessOrEqual(t, counted(), int64(51))
			time.Sleep(250 * time.Millisecond)
		}
		require.InDelta(t, 50, counted(), 1)
		time.Sleep(time.Hour)
		require.InDelta(t, (probeIdle-250*time.Millisecond)/probeInterval, counted(), 2)
		wg.Wait()
		m.Strain(0)
		time.Sleep(time.Second)
		require.Positive(t, counted(), "again")
		cancel()
		wg.Wait()
		m.Strain(0)
		require.Equal(t, 2, spawned, "closed")
	})
}
