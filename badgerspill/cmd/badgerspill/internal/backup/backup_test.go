package backup

import (
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/dgraph-io/badger/v4"
	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/spillfile"
)

func TestBadgerLoadsIt(t *testing.T) {
	path := filepath.Join(t.TempDir(), "backup")
	f, err := Create(path)
	require.NoError(t, err)
	require.NoError(t, f.Add([]spillfile.Entry{{Key: []byte("a"), Value: []byte("1"), Version: 5, UserMeta: 9}, {Key: []byte("b"), Value: []byte("2"), Version: 5}}))
	require.NoError(t, f.Add(nil))
	require.NoError(t, f.Add([]spillfile.Entry{{Key: []byte("a"), Value: []byte("3"), Version: 8, ExpiresAt: 1 << 40},
		{Key: []byte("b"), Version: 8, Meta: spillfile.MetaDelete}}))
	require.NoError(t, f.Close())
	_, err = Create(path)
	require.ErrorContains(t, err, path+" is there already")

	db, err := badger.Open(badger.DefaultOptions(t.TempDir()).WithLogger(nil).WithNumVersionsToKeep(math.MaxInt32))
	require.NoError(t, err)
	defer db.Close()
	r, err := os.Open(path)
	require.NoError(t, err)
	defer r.Close()
	require.NoError(t, db.Load(r, 4))
	require.EqualValues(t, 8, db.MaxVersion())
	require.NoError(t, db.View(func(txn *badger.Txn) error {
		item, err := txn.Get([]byte("a"))
		require.NoError(t, err)
		require.EqualValues(t, 8, item.Version())
		require.EqualValues(t, uint64(1)<<40, item.ExpiresAt())
		_, err = txn.Get([]byte("b"))
		require.ErrorIs(t, err, badger.ErrKeyNotFound)
		opt := badger.DefaultIteratorOptions
		opt.AllVersions = true
		it := txn.NewIterator(opt)
		defer it.Close()
		versions := 0
		for it.Rewind(); it.Valid(); it.Next() {
			if versions++; it.Item().Version() == 5 && string(it.Item().Key()) == "a" {
				require.EqualValues(t, 9, it.Item().UserMeta())
			}
		}
		require.Equal(t, 4, versions)
		return nil
	}))
}

func TestRemove(t *testing.T) {
	path := filepath.Join(t.TempDir(), "backup")
	f, err := Create(path)
	require.NoError(t, err)
	require.NoError(t, f.Remove())
	require.NoFileExists(t, path)
}
