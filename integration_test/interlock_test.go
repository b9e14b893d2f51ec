package integration_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/dgraph-io/badger/v4"
	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/badgerspill"
)

const interlockFile = "UNREPLAYED-SPILL--open-with-badgerspill.mem"

// requirePlain opens the directory with plain Badger and requires exactly the pairs.
func requirePlain(t *testing.T, o badger.Options, want map[string]string) {
	t.Helper()
	p, err := badger.Open(o)
	require.NoError(t, err)
	got := map[string]string{}
	require.NoError(t, p.View(func(txn *badger.Txn) error {
		it := txn.NewIterator(badger.DefaultIteratorOptions)
		defer it.Close()
		for it.Rewind(); it.Valid(); it.Next() {
			v, err := it.Item().ValueCopy(nil)
			require.NoError(t, err)
			got[string(it.Item().Key())] = string(v)
		}
		return nil
	}))
	require.NoError(t, p.Close())
	require.Equal(t, want, got)
}

func TestInterlock(t *testing.T) {
	kept := func(t *testing.T) (badgerspill.Options, map[string]string) {
		o := spilled(layer(t.TempDir())).WithDrainOnClose(false)
		db := openSpill(t, o.WithDrainOnClose(true))
		set(t, db, "a", "old")
		require.NoError(t, db.Close())
		require.NoFileExists(t, filepath.Join(o.Dir, interlockFile))
		db = openSpill(t, o)
		require.NoFileExists(t, filepath.Join(o.Dir, interlockFile))
		set(t, db, "a", "new")
		require.FileExists(t, filepath.Join(o.Dir, interlockFile), "before the first acknowledgement")
		set(t, db, "b", "new")
		require.NoError(t, db.Close())
		return o, map[string]string{"a": "new", "b": "new"}
	}
	refused := func(t *testing.T, o badgerspill.Options) {
		t.Helper()
		before := hashes(t, filepath.Join(o.Dir, "spill"))
		for _, readOnly := range []bool{false, true} {
			_, err := badger.Open(o.Badger().WithReadOnly(readOnly))
			require.ErrorContains(t, err, interlockFile)
		}
		require.Equal(t, before, hashes(t, filepath.Join(o.Dir, "spill")))
	}

	t.Run("plain Badger is refused, and what is spilled stays", func(t *testing.T) {
		o, want := kept(t)
		refused(t, o)
		db := openSpill(t, o)
		requireAll(t, db, want)
		require.NoError(t, db.Close())
		refused(t, o)
		db = openSpill(t, o)
		requireAll(t, db, want)
	})

	t.Run("gone after a drain, back with the next spilled commit", func(t *testing.T) {
		o, want := kept(t)
		db := openSpill(t, o)
		require.FileExists(t, filepath.Join(o.Dir, interlockFile))
		require.NoError(t, db.Drain(context.Background()))
		require.NoFileExists(t, filepath.Join(o.Dir, interlockFile))
		require.NoError(t, db.Close())
		requirePlain(t, o.Badger(), want)
		db = openSpill(t, o)
		requireAll(t, db, want)
		set(t, db, "c", "newer")
		want["c"] = "newer"
		require.NoError(t, db.Close())
		refused(t, o)
		requireAll(t, openSpill(t, o), want)
	})

	t.Run("gone after a close that drains", func(t *testing.T) {
		o, want := kept(t)
		require.NoError(t, openSpill(t, o.WithDrainOnClose(true)).Close())
		require.NoFileExists(t, filepath.Join(o.Dir, interlockFile))
		requirePlain(t, o.Badger(), want)
		db := openSpill(t, o)
		requireAll(t, db, want)
	})

	t.Run("removed by hand, nothing written", func(t *testing.T) {
		o, want := kept(t)
		require.NoError(t, os.Remove(filepath.Join(o.Dir, interlockFile)))
		requirePlain(t, o.Badger(), map[string]string{"a": "old"})
		db := openSpill(t, o)
		requireAll(t, db, want)
		require.FileExists(t, filepath.Join(o.Dir, interlockFile), "set again by Open")
		require.NoError(t, db.Close())
		refused(t, o)
	})

	for _, commits := range []int{1, 3, 30} { // the spill holds versions 2 and 3, Badger version 1
		t.Run("removed by hand, written with plain Badger", func(t *testing.T) {
			o, want := kept(t)
			require.NoError(t, os.Remove(filepath.Join(o.Dir, interlockFile)))
			p, err := badger.Open(o.Badger())
			require.NoError(t, err)
			for i := range commits {
				require.NoError(t, p.Update(func(txn *badger.Txn) error { return txn.Set(key(i), []byte("past the layer")) }))
			}
			require.NoError(t, p.Close())
			before := hashes(t, filepath.Join(o.Dir, "spill"))
			db, err := badgerspill.Open(o)
			if err == nil {
				t.Cleanup(func() { _ = db.Close() })
				requireAll(t, db, want)
			}
			require.ErrorIs(t, err, badgerspill.ErrForeignWrites)
			require.ErrorContains(t, err, o.Dir)
			require.Equal(t, before, hashes(t, filepath.Join(o.Dir, "spill")), "nothing is dropped")
			for range 2 { // and it stays so
				_, err = badgerspill.Open(o)
				require.ErrorIs(t, err, badgerspill.ErrForeignWrites)
			}
			_, err = badger.Open(o.Badger())
			require.ErrorContains(t, err, interlockFile)
			// The way out that the error names: give up what the spill holds.
			require.NoError(t, os.Rename(filepath.Join(o.Dir, "spill"), o.Dir+"-given-up"))
			require.NoError(t, os.RemoveAll(filepath.Join(o.Dir, interlockFile)))
			given := map[string]string{"a": "old"}
			for i := range commits {
				given[string(key(i))] = "past the layer"
			}
			requireAll(t, openSpill(t, o), given)
		})
	}
}
