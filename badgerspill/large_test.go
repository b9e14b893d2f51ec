package badgerspill

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
)

// A spill of more than 20 times the budget stays within the budget: by its own account, and by the
// heap of the process.
func TestSpillOfTwentyTimesTheMemory(t *testing.T) {
	f := open(t, func(opt *Options) {
		opt.MemoryLimit, opt.ValueThreshold = 6<<20, 64<<10
		opt.SpillPolicy = Always
		opt.Tuning.QuietRate = 1
		opt.BlockCacheSize = 1 << 20
	})
	limit := f.manager.Limit()
	heap := func() int64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	before := heap()
	r := rand.New(rand.NewPCG(1, 2))
	value := make([]byte, 2<<10)
	commits, most := 0, int64(0)
	for f.SpillStats().SpillBytes < 21*limit {
		require.NoError(t, f.Update(func(txn *Txn) error {
			for range 16 {
				for i := 0; i < len(value); i += 8 {
					v := r.Uint64()
					for b := range 8 {
						value[i+b] = byte(v >> (8 * b))
					}
				}
				if err := txn.Set(fmt.Appendf(nil, "%016x", r.Uint64()), append([]byte(nil), value...)); err != nil {
					return err
				}
			}
			return nil
		}))
		most = max(most, f.manager.Usage())
		commits++
	}
	require.Zero(t, f.stub.loads(), "something was replayed")
	require.LessOrEqual(t, most, limit)
	require.EqualValues(t, commits, f.SpillStats().SpillPending)
	held := heap() - before
	t.Logf("%d MiB in the spill, limit %d MiB: counted %d KiB at most, %d KiB of it index now, %d KiB in the heap",
		f.SpillStats().SpillBytes>>20, limit>>20, most>>10, f.SpillStats().MemorySpillIndex>>10, held>>10)
	require.LessOrEqual(t, held, limit)
	require.LessOrEqual(t, f.SpillStats().MemorySpillIndex, limit/8)
	f.DB.opt.KeepSpillOnClose = true
}
