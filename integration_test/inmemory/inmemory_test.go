package inmemory

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	plain "github.com/dgraph-io/badger/v4"
	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/badgerspill"
)

// small keeps both within the memory that WebAssembly has.
func small(opt plain.Options) plain.Options {
	return opt.WithLogger(nil).WithMemTableSize(1 << 20).WithNumMemtables(2).WithValueThreshold(1 << 10).
		WithBlockCacheSize(1 << 20)
}

// TestSameAsPlainBadger: one program, on both. Its writes fill several memtables.
func TestSameAsPlainBadger(t *testing.T) {
	opt := small(plain.DefaultOptions("").WithInMemory(true))
	theirs, err := plain.Open(opt)
	require.NoError(t, err)
	ours, err := badgerspill.Open(badgerspill.OptionsFrom(opt))
	require.NoError(t, err)

	value := bytes.Repeat([]byte("value "), 50)
	const keys = 10_000
	for i := range keys {
		key := fmt.Appendf(nil, "key/%05d", i*7919%keys)
		require.NoError(t, theirs.Update(func(txn *plain.Txn) error { return txn.Set(key, value) }))
		require.NoError(t, ours.Update(func(txn *badgerspill.Txn) error { return txn.Set(key, value) }))
		if i%10 == 0 {
			require.NoError(t, theirs.Update(func(txn *plain.Txn) error { return txn.Delete(key) }))
			require.NoError(t, ours.Update(func(txn *badgerspill.Txn) error { return txn.Delete(key) }))
		}
	}
	wanted := map[string]uint64{}
	require.NoError(t, theirs.View(func(txn *plain.Txn) error {
		it := txn.NewIterator(plain.DefaultIteratorOptions)
		defer it.Close()
		for it.Rewind(); it.Valid(); it.Next() {
			wanted[string(it.Item().Key())] = it.Item().Version()
		}
		return nil
	}))
	require.Len(t, wanted, keys*9/10)
	require.NoError(t, ours.View(func(txn *badgerspill.Txn) error {
		it := txn.NewIterator(badgerspill.DefaultIteratorOptions)
		defer it.Close()
		seen := 0
		for it.Rewind(); it.Valid(); it.Next() {
			seen++
			require.Equal(t, wanted[string(it.Item().Key())], it.Item().Version(), "key %q", it.Item().Key())
			got, err := it.Item().ValueCopy(nil)
			require.NoError(t, err)
			require.Equal(t, value, got)
		}
		require.Equal(t, len(wanted), seen)
		_, err := txn.Get([]byte("key/missing"))
		require.ErrorIs(t, err, badgerspill.ErrKeyNotFound)
		return nil
	}))

	conflict := func(begin func() (read, write, commit func() error)) []bool {
		read, write, commit := begin()
		var met []bool
		for _, step := range []func() error{read, write, commit} {
			met = append(met, errors.Is(step(), plain.ErrConflict))
		}
		return met
	}
	key := []byte("counter")
	require.Equal(t, conflict(func() (read, write, commit func() error) {
		txn := theirs.NewTransaction(true)
		return func() error { _, err := txn.Get(key); return err },
			func() error {
				require.NoError(t, txn.Set(key, value))
				return theirs.Update(func(txn *plain.Txn) error { return txn.Set(key, value) })
			}, txn.Commit
	}), conflict(func() (read, write, commit func() error) {
		txn := ours.NewTransaction(true)
		return func() error { _, err := txn.Get(key); return err },
			func() error {
				require.NoError(t, txn.Set(key, value))
				return ours.Update(func(txn *badgerspill.Txn) error { return txn.Set(key, value) })
			}, txn.Commit
	}))

	require.NoError(t, theirs.DropAll())
	require.NoError(t, ours.DropAll())
	require.ErrorIs(t, ours.View(func(txn *badgerspill.Txn) error {
		_, err := txn.Get([]byte("key/00001"))
		return err
	}), badgerspill.ErrKeyNotFound)
	require.NoError(t, theirs.Close())
	require.NoError(t, ours.Close())
	require.ErrorIs(t, ours.View(func(*badgerspill.Txn) error { return nil }), badgerspill.ErrDBClosed)
}

// TestDirectory: on disk it works where plain Badger does. Where that cannot map files, Open says
// so and makes nothing.
func TestDirectory(t *testing.T) {
	theirs, err := plain.Open(small(plain.DefaultOptions(filepath.Join(t.TempDir(), "plain"))))
	if err == nil {
		require.NoError(t, theirs.Close())
	}
	dir := filepath.Join(t.TempDir(), "ours")
	ours, ourErr := badgerspill.Open(badgerspill.OptionsFrom(small(plain.DefaultOptions(dir))))
	if err == nil {
		require.NoError(t, ourErr)
		require.NoError(t, ours.Close())
		return
	}
	t.Log("plain Badger: ", err)
	require.ErrorIs(t, ourErr, badgerspill.ErrBadOption)
	require.ErrorContains(t, ourErr, "InMemory")
	_, err = os.Stat(dir)
	require.ErrorIs(t, err, os.ErrNotExist)
}
