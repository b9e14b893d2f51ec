package badgerspill

import (
	"testing"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/pb"
	"github.com/stretchr/testify/require"
)

// levelZeroTable makes one table of level 0 of what each of keys says: a tombstone if the value is empty.
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

// A tombstone in level 0 does not leave it before the value that it covers, though its table has a lower number than that of the value, which was merged within
// level 0 meanwhile, and though a table between them overlaps neither.
func TestLevelZeroIsNotCompactedInTheOrderOfNumbers(t *testing.T) {
	for _, managed := range []bool{false, true} {
		t.Run(map[bool]string{false: "unmanaged", true: "managed"}[managed], func(t *testing.T) {
			bounded(t)
			opt := testOptions(t.TempDir())
			opt.CompactL0OnClose = false
			levelZeroTable(t, opt.Options, 9, setKV("a"), deleteKV("b"))
			levelZeroTable(t, opt.Options, 8, setKV("x"))
			levelZeroTable(t, opt.Options, 3, setKV("b"), setKV("m"))
			opt.NumLevelZeroTables, opt.NumLevelZeroTablesStall, opt.managed = 1, 10, managed
			db, err := Open(opt)
			require.NoError(t, err)
			defer db.Close()
			if managed {
				db.SetDiscardTs(9)
			}
			eventually(t, "level 0 is compacted", func() bool { return levelZeroTables(db.inner) == 0 })
			require.NoError(t, db.View(func(txn *Txn) error {
				_, err = txn.Get([]byte("b"))
				require.ErrorIs(t, err, ErrKeyNotFound)
				_, err = txn.Get([]byte("m"))
				return err
			}))
		})
	}
}
