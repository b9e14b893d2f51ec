package badger

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// A value under a tombstone is moved by GC, above the tombstone. Then a compaction of the tombstone
// and what is left of the value drops both, and the copy is back.
func TestMendGC(t *testing.T) {
	db := mendOpen(t, mendOptions(t.TempDir()).WithValueThreshold(100).WithValueLogFileSize(1<<20))
	require.NoError(t, mendSet(db, 0, 10))
	mendFlush(t, db)
	require.NoError(t, mendCompact(db, 0))
	require.NoError(t, db.Update(func(txn *Txn) error { return txn.Delete(mendKey(3)) }))
	mendFlush(t, db)
	require.NoError(t, mendSet(db, 10, 3000)) // into further files
	mendFlush(t, db)

	first := db.vlog.filesMap[1]
	require.NoError(t, db.vlog.rewrite(first))
	gone := func() {
		t.Helper()
		require.NoError(t, db.View(func(txn *Txn) error {
			_, err := txn.Get(mendKey(3))
			require.Equal(t, ErrKeyNotFound, err)
			return nil
		}))
	}
	gone()
	require.NoError(t, mendCompact(db, 0)) // tombstone and value meet
	gone()
	mendFlush(t, db)
	require.NoError(t, mendCompact(db, 0))
	gone()
	mendHolds(t, db, 0, 3)
	mendHolds(t, db, 4, 3000)
}

// A key that is deleted while GC is at work: its tombstone is in an older memtable than the value
// that GC writes again.
func TestMendGCDeletedMeanwhile(t *testing.T) {
	db := mendOpen(t, mendOptions(t.TempDir()).WithValueThreshold(100).WithValueLogFileSize(1<<20))
	require.NoError(t, mendSet(db, 0, 10))
	mendFlush(t, db)
	require.NoError(t, mendCompact(db, 0))
	require.NoError(t, mendSet(db, 10, 3000)) // into further files
	mendFlush(t, db)
	db.vlogGCPauseHook = func() {
		require.NoError(t, db.Update(func(txn *Txn) error { return txn.Delete(mendKey(3)) }))
		mendFlush(t, db)
	}
	first := db.vlog.filesMap[1]
	require.NoError(t, db.vlog.rewrite(first))
	for i := 0; i < 3; i++ {
		require.NoError(t, db.View(func(txn *Txn) error {
			_, err := txn.Get(mendKey(3))
			require.Equal(t, ErrKeyNotFound, err)
			return nil
		}))
		require.NoError(t, mendCompact(db, 0))
		mendFlush(t, db)
	}
	mendHolds(t, db, 0, 3)
	mendHolds(t, db, 4, 3000)
}

// Many tombstones beside small values: no request of GC is too big.
func TestMendGCManyTombstones(t *testing.T) {
	db := mendOpen(t, mendOptions(t.TempDir()).WithValueThreshold(32).WithValueLogFileSize(1<<20))
	const n = 12_000
	batch := db.NewWriteBatch()
	for i := 0; i < n; i++ {
		require.NoError(t, batch.Set(mendKey(i), mendValue(i)[:100]))
	}
	require.NoError(t, batch.Flush())
	batch = db.NewWriteBatch()
	for i := 0; i < n; i++ {
		require.NoError(t, batch.Delete(mendKey(i)))
	}
	require.NoError(t, batch.Flush())
	require.NoError(t, db.vlog.rewrite(db.vlog.filesMap[1]))
	mendFlush(t, db)
	require.NoError(t, mendCompact(db, 0))
	require.NoError(t, db.View(func(txn *Txn) error {
		it := txn.NewIterator(DefaultIteratorOptions)
		defer it.Close()
		it.Rewind()
		require.False(t, it.Valid())
		return nil
	}))
}
