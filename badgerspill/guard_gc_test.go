//go:build !race

package badgerspill

import (
	"errors"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/integration_test/kit"
)

// TestValueLogGCOfABadgerWithoutANextMemtable: it reads all the time. In Badger it panics, and
// keeps Badger's lock if it has just begun. It is not for the race detector, which finds a race of
// Badger's own here: value log GC begins with DB.MaxVersion, which reads what memTable.Put writes.
func TestValueLogGCOfABadgerWithoutANextMemtable(t *testing.T) {
	f := open(t, small, noSpill, unguarded, compacting, inValues, func(opt *Options) { opt.ValueLogFileSize = 1 << 20 })
	for round := range 4 {
		for i := range 1500 {
			f.put(key(i), incompressible(2<<10, i+round))
		}
		require.NoError(t, f.feed.Exclusively(f.sealNow))
	}
	eventually(t, "garbage", func() bool { return f.RunValueLogGC(0.01) == nil })
	_, free := f.blockMemtable()
	stop := make(chan struct{})
	var wg kit.WaitGroup
	var held atomic.Int64
	for range 2 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if err := f.RunValueLogGC(0.01); errors.Is(err, ErrBadgerHeld) {
					held.Add(1)
				}
			}
		})
	}
	failed := 0
	for i := 0; failed < 200; i++ {
		if err := put(f.DB, "more/"+key(i), incompressible(900, i)); err != nil {
			require.ErrorContains(t, err, "mem table")
			failed++
		}
	}
	close(stop)
	wg.Wait()
	t.Log(held.Load(), "collections met it")
	free()
	f.put("after", "1")
	require.NoError(t, f.Close())
}
