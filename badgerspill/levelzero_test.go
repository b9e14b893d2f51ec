package badgerspill

import (
	"math"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/pb"
	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/badgerspill/internal/host"
)

// levelZeroTable makes one table of level 0 of what each of keys says: a tombstone if the value is
// empty.
func levelZeroTable(t *testing.T, opt badger.Options, version uint64, kvs ...*pb.KV) {
	t.Helper()
	opt.NumCompactors, opt.CompactL0OnClose = 0, false
	db, err := badger.OpenManaged(opt)
	require.NoError(t, err)
	loader := db.NewKVLoader(1)
	for _, kv := range kvs {
		kv.Version, kv.UserMeta = version, []byte{0}
		require.NoError(t, loader.Set(kv))
	}
	require.NoError(t, loader.Finish())
	require.NoError(t, db.Close())
}

func setKV(key string) *pb.KV    { return &pb.KV{Key: []byte(key), Value: []byte("v")} }
func deleteKV(key string) *pb.KV { return &pb.KV{Key: []byte(key), Meta: []byte{metaDelete}} }

// A tombstone in level 0 does not leave it before the value that it covers. Its table has a lower
// number than that of the value, which was merged within level 0 meanwhile, and a table between
// them overlaps neither.
func TestLevelZeroIsNotCompactedInTheOrderOfNumbers(t *testing.T) {
	for _, managed := range []bool{false, true} {
		t.Run(map[bool]string{false: "unmanaged", true: "managed"}[managed], func(t *testing.T) {
			bounded(t)
			opt := testOptions(t.TempDir())
			opt.CompactL0OnClose = false
			levelZeroTable(t, opt.Badger(), 9, setKV("a"), deleteKV("b"))
			levelZeroTable(t, opt.Badger(), 8, setKV("x"))
			levelZeroTable(t, opt.Badger(), 3, setKV("b"), setKV("m"))
			opt.NumLevelZeroTables, opt.NumLevelZeroTablesStall, opt.managed = 1, 10, managed
			db, err := Open(opt)
			require.NoError(t, err)
			defer db.Close()
			if managed {
				db.SetDiscardTs(9)
			}
			eventually(t, "level 0 is compacted", func() bool { return host.LevelZeroTables(db.inner) == 0 })
			require.NoError(t, db.View(func(txn *Txn) error {
				_, err = txn.Get([]byte("b"))
				require.ErrorIs(t, err, ErrKeyNotFound)
				_, err = txn.Get([]byte("m"))
				return err
			}))
		})
	}
}

// ageTables makes the tables in dir an hour old, which is what Badger goes by when it merges within
// level 0.
func ageTables(t *testing.T, dir string) {
	t.Helper()
	tables, err := filepath.Glob(filepath.Join(dir, "*.sst"))
	require.NoError(t, err)
	old := time.Now().Add(-time.Hour)
	for _, name := range tables {
		require.NoError(t, os.Chtimes(name, old, old))
	}
}

// While a merge within level 0 could lose a tombstone Badger discards nothing, and from then on it
// does again.
func TestNothingIsDiscardedWhileLevelZeroLiesOnNothing(t *testing.T) {
	for _, managed := range []bool{false, true} {
		t.Run(map[bool]string{false: "unmanaged", true: "managed"}[managed], func(t *testing.T) {
			bounded(t)
			opt := testOptions(t.TempDir())
			opt.CompactL0OnClose = false
			levelZeroTable(t, opt.Badger(), 3, setKV("b"))
			levelZeroTable(t, opt.Badger(), 9, deleteKV("b"))
			levelZeroTable(t, opt.Badger(), 5, setKV("a"), setKV("z"))
			ageTables(t, opt.Dir)
			opt.NumLevelZeroTables, opt.NumLevelZeroTablesStall, opt.NumCompactors, opt.managed = 1, 10, 0, managed
			db, err := Open(opt)
			require.NoError(t, err)
			defer db.Close()
			if managed {
				db.SetDiscardTs(9)
			}
			versions := func() (n int) {
				txn := db.inner.NewTransactionAt(math.MaxUint64, false)
				defer txn.Discard()
				it := txn.NewKeyIterator([]byte("b"), badger.IteratorOptions{AllVersions: true})
				defer it.Close()
				for it.Rewind(); it.Valid(); it.Next() {
					n++
				}
				return n
			}
			require.NoError(t, db.inner.Flatten(1))
			require.Zero(t, host.LevelZeroTables(db.inner))
			require.Equal(t, 2, versions())

			eventually(t, "Badger may discard again", func() bool {
				return !db.pipe.Status().MergeHeld && (managed || db.discarded.Load() == 9)
			})
			loader := db.inner.NewKVLoader(1)
			for _, key := range []string{"a", "z"} {
				require.NoError(t, loader.Set(&pb.KV{Key: []byte(key), Value: []byte("v"), Version: 8, UserMeta: []byte{0}, Meta: []byte{0}}))
			}
			require.NoError(t, loader.Finish())
			require.NoError(t, db.engine.Seal())
			eventually(t, "a table", func() bool { return host.LevelZeroTables(db.inner) == 1 })
			require.NoError(t, db.inner.Flatten(1))
			require.Zero(t, versions())
		})
	}
}
