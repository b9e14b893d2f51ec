package badgerspill

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestSeekBelowThePrefixMeetsLaterCommits: a key below the prefix ends the iteration, in Badger
// also if it was committed after the snapshot. It does wherever that commit is, and whether the
// iterator has a spill to look at or not.
func TestSeekBelowThePrefixMeetsLaterCommits(t *testing.T) {
	f := open(t)
	f.put("c1", "v")
	found := func(txn *Txn, seek string) (n int) {
		opt := DefaultIteratorOptions
		opt.Prefix = []byte("c")
		it := txn.NewIterator(opt)
		defer it.Close()
		for it.Seek([]byte(seek)); it.Valid(); it.Next() {
			n++
		}
		return n
	}
	direct := f.NewTransaction(false)
	defer direct.Discard()
	require.Equal(t, 1, found(direct, "b3"))
	f.spillOne("a", "v")
	merged := f.NewTransaction(false)
	defer merged.Discard()
	require.Equal(t, 1, found(merged, "b3"))
	f.put("b5", "later")
	for name, txn := range map[string]*Txn{"direct": direct, "merged": merged} {
		require.Equal(t, 0, found(txn, "b3"), name)
		require.Equal(t, 1, found(txn, "b6"), name)
	}
}
