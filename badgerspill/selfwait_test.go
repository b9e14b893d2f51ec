package badgerspill

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestCommitDoesNotWaitForItsOwnSnapshot: what a transaction has read holds all of the spill's files, which are replayed meanwhile and take
// room as long as they are held. Its commit finds the spill full, and only itself could make room.
func TestCommitDoesNotWaitForItsOwnSnapshot(t *testing.T) {
	for _, policy := range []SpillPolicy{Always, Auto} {
		t.Run(policy.String(), func(t *testing.T) {
			f := open(t, eager, func(opt *Options) {
				opt.SpillPolicy, opt.SpillCapacity, opt.SegmentSize, opt.ReplayHighWater = policy, 64<<10, 4<<10, 1
			})
			f.stub.set(func() { f.stub.mu.onLoad = func(int, []entry) error { return errTest } })
			if policy == Auto {
				f.spillOne("first", "v")
			}
			n := 0
			for ; f.spill.Usage() < 60<<10; n++ {
				f.put(fmt.Sprint("k", n), incompressible(1000, n))
			}
			txn := f.NewTransaction(true)
			defer txn.Discard()
			item, err := txn.Get([]byte("k0"))
			require.NoError(t, err)
			require.NoError(t, item.Value(func(v []byte) error { return txn.Set([]byte("k0"), append(v[:0:0], incompressible(30000, -1)...)) }))
			f.stub.set(func() { f.stub.mu.onLoad = nil })
			eventually(t, "all is replayed", func() bool { return f.log.Empty() })
			if policy == Always {
				require.Greater(t, f.spill.Usage(), int64(40<<10), "the snapshot holds its files")
			}
			require.NoError(t, receive(t, "the commit", async(txn.Commit)))
			require.Equal(t, incompressible(30000, -1), f.get("k0"))
			eventually(t, "the room is back", func() bool { return f.log.Empty() && f.spill.Usage() < 8<<10 })
		})
	}
}
