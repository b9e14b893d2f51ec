package badgerspill

import (
	"math"
	"testing"

	"github.com/dgraph-io/badger/v4"
	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/badgerspill/internal/host"
)

// An iterator keeps the log of its memtable beyond its flush. A value in it must not come back
// after a kill if it was deleted, and compacted away with its tombstone, meanwhile. The iterator
// may have a snapshot that is newer than both, since replay brings Badger what is older than
// snapshots.
func TestFlushedLogIsNotReadAgain(t *testing.T) {
	f := open(t, func(opt *Options) {
		// Flatten alone compacts: a compactor may do so while the discard timestamp still keeps
		// both versions
		opt.NumCompactors = 0
		opt.NumLevelZeroTables, opt.NumLevelZeroTablesStall = 1, 10
	})
	versions := func() (n int) {
		txn := f.inner.NewTransactionAt(math.MaxUint64, false)
		defer txn.Discard()
		it := txn.NewKeyIterator([]byte("k"), badger.IteratorOptions{AllVersions: true})
		defer it.Close()
		for it.Rewind(); it.Valid(); it.Next() {
			n++
		}
		return n
	}
	f.put("k", "v")
	f.put("other", "1")
	require.Equal(t, 1, versions())
	txn := f.inner.NewTransactionAt(math.MaxUint64, false)
	defer txn.Discard()
	it := txn.NewIterator(badger.DefaultIteratorOptions)
	defer it.Close()
	require.NoError(t, f.stub.engine.Seal())
	require.NoError(t, f.Update(func(txn *Txn) error { return txn.Delete([]byte("k")) }))
	require.NoError(t, f.stub.engine.Seal())
	eventually(t, "both memtables are flushed", func() bool {
		numbers, err := host.MemNumbers(f.opt.Dir)
		require.NoError(t, err)
		return len(numbers) == 2 && numbers[1] == numbers[0]+2
	})
	// The watcher tells Badger, too: an older timestamp must not come between this and Flatten.
	eventually(t, "the watcher has told it", func() bool {
		_, discard := f.pipe.Progress()
		return f.discarded.Load() == discard
	})
	f.inner.SetDiscardTs(f.MaxVersion())
	require.NoError(t, f.inner.Flatten(1))
	require.Zero(t, versions(), "value and tombstone are compacted away")
	g := openAt(t, crash(t, f.opt.Dir))
	require.Equal(t, absent, g.get("k"))
	require.Equal(t, "1", g.get("other"))
}
