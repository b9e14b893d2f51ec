package sides

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/stretchr/testify/require"
)

func plain(t *testing.T, managed bool) Side {
	t.Helper()
	open := badger.Open
	if managed {
		open = badger.OpenManaged
	}
	db, err := open(badger.DefaultOptions("").WithInMemory(true).WithLogger(nil).WithMetricsEnabled(false).WithMemTableSize(8 << 20).WithValueThreshold(1 << 10))
	require.NoError(t, err)
	t.Cleanup(func() { _ = db.Close() })
	return Plain(db)
}

// versions are all items of an iteration over all versions, and of one over those of key.
func versions(txn Txn, key string) (all, of []string) {
	opt := badger.DefaultIteratorOptions
	opt.AllVersions = true
	for i, it := range []Iterator{txn.Iter(opt), txn.KeyIter([]byte(key), opt)} {
		var out []string
		for it.Rewind(); it.Valid(); it.Next() {
			head := it.Head()
			v, err := head.ValueCopy(nil)
			out = append(out, fmt.Sprintf("%s@%d=%s %d %v %v %v", head.Key(), head.Version(), v, head.UserMeta(),
				head.IsDeletedOrExpired(), head.DiscardEarlierVersions(), err))
		}
		it.Close()
		if i == 0 {
			all = out
		} else {
			of = out
		}
	}
	return all, of
}

func TestWritesOfATransactionAndABatch(t *testing.T) {
	db := plain(t, false)
	require.NoError(t, db.Update(func(txn Txn) error {
		return errors.Join(
			txn.Put(Write{Key: []byte("a"), Value: []byte("1"), UserMeta: 7}),
			txn.Put(Write{Key: []byte("b"), Value: []byte("2"), ExpiresAt: 1}))
	}))
	wb := db.NewBatch()
	require.NoError(t, wb.Put(Write{Key: []byte("a"), Delete: true}))
	require.NoError(t, wb.Put(Write{Key: []byte("c"), Value: []byte("3"), Discard: true}))
	require.NoError(t, wb.Flush())
	require.EqualValues(t, 2, db.MaxVersion())

	require.NoError(t, db.View(func(txn Txn) error {
		item, err := txn.Read([]byte("c"))
		require.NoError(t, err)
		require.Equal(t, "c", string(item.Key()))
		item, err = txn.Read([]byte("a"))
		require.ErrorIs(t, err, badger.ErrKeyNotFound)
		require.Nil(t, item)
		all, of := versions(txn, "a")
		require.Equal(t, []string{"a@2= 0 true false <nil>", "a@1=1 7 false false <nil>", "b@1=2 0 true false <nil>",
			"c@2=3 0 false true <nil>"}, all)
		require.Equal(t, all[:2], of)
		return nil
	}))

	txn := db.Begin(true)
	require.NoError(t, txn.Put(Write{Key: []byte("c"), Delete: true}))
	require.NoError(t, txn.Commit())
	txn = db.Begin(false)
	defer txn.Discard()
	_, err := txn.Read([]byte("c"))
	require.ErrorIs(t, err, badger.ErrKeyNotFound)
}

func TestManagedSide(t *testing.T) {
	db := plain(t, true)
	txn := db.BeginAt(9, true)
	require.NoError(t, txn.Set([]byte("a"), []byte("1")))
	require.NoError(t, txn.CommitAt(5, nil))
	wb := db.NewManagedBatch()
	require.NoError(t, wb.PutAt(Write{Key: []byte("a"), Value: []byte("2")}, 7))
	require.NoError(t, wb.PutAt(Write{Key: []byte("a"), Delete: true}, 8))
	require.NoError(t, wb.Flush())
	wb = db.NewBatchAt(9)
	require.NoError(t, wb.Set([]byte("b"), []byte("3")))
	require.NoError(t, wb.Flush())
	txn = db.BeginAt(100, false)
	defer txn.Discard()
	all, _ := versions(txn, "a")
	require.Equal(t, []string{"a@8= 0 true false <nil>", "a@7=2 0 false false <nil>", "a@5=1 0 false false <nil>",
		"b@9=3 0 false false <nil>"}, all)
}

func TestSequenceAndMergeOfASide(t *testing.T) {
	db := plain(t, false)
	seq, err := db.Sequence([]byte("s"), 10)
	require.NoError(t, err)
	for want := range uint64(3) {
		n, err := seq.Next()
		require.NoError(t, err)
		require.Equal(t, want, n)
	}
	require.NoError(t, seq.Release())
	seq, err = db.Sequence(nil, 10)
	require.Error(t, err)
	require.Nil(t, seq)

	m := db.Merge([]byte("m"), func(existing, added []byte) []byte { return append(existing, added...) }, time.Hour)
	require.NoError(t, m.Add([]byte("a")))
	require.NoError(t, m.Add([]byte("b")))
	v, err := m.Get()
	require.NoError(t, err)
	require.Equal(t, "ab", string(v))
	m.Stop()
	require.NoError(t, db.Close())
	require.True(t, db.IsClosed())
}
