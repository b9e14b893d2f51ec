package badgerspill

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestCommitDoesNotWaitForItsOwnSnapshot: what a transaction has read holds all of the spill's
// files, which are replayed meanwhile and take room as long as they are held. Its commit finds the
// spill full, and only itself could make room.
func TestCommitDoesNotWaitForItsOwnSnapshot(t *testing.T) {
	for _, policy := range []SpillPolicy{Always, Auto} {
		t.Run(policy.String(), func(t *testing.T) {
			f := open(t, eager, func(opt *Options) {
				opt.SpillPolicy, opt.SpillCapacity, opt.Tuning.SegmentSize, opt.Tuning.ReplayHighWater = policy, 64<<10, 4<<10, 1
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
				// How much that is depends on how many of the files had an index by then.
				require.Greater(t, f.spill.Usage(), int64(64<<10-30_000), "what the snapshot holds leaves no room for the commit")
			}
			require.NoError(t, receive(t, "the commit", async(txn.Commit)))
			require.Equal(t, incompressible(30000, -1), f.get("k0"))
			eventually(t, "the room is back", func() bool { return f.log.Empty() && f.spill.Usage() < 8<<10 })
		})
	}
}

// TestItemsOutliveARefusedCommit: a commit that is refused before it has begun leaves the
// transaction as it was, in Badger, too.
func TestItemsOutliveARefusedCommit(t *testing.T) {
	f := open(t, func(opt *Options) { opt.managed = true })
	for i := range 2 {
		free := f.occupy(f.share(0.95))
		txn := f.NewTransactionAt(0, true)
		require.NoError(t, txn.Set([]byte(fmt.Sprint("k", i)), []byte(incompressible(1000, i))))
		require.NoError(t, txn.CommitAt(uint64(i+1), nil))
		free()
	}
	txn := f.NewTransactionAt(10, true)
	defer txn.Discard()
	item, err := txn.Get([]byte("k0"))
	require.NoError(t, err)
	require.NoError(t, txn.Set([]byte("k2"), []byte("v")))
	require.ErrorIs(t, txn.Commit(), errZeroCommitTs)
	f.drained()
	v, err := item.ValueCopy(nil)
	require.NoError(t, err)
	require.Equal(t, incompressible(1000, 0), string(v))
}
