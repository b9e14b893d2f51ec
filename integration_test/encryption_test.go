package integration_test

import (
	"bytes"
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/badgerspill"
	"github.com/badgerspill/badgerspill/spillfile"
)

var (
	secretKey   = []byte("Zq7-secret-in-a-key-0d4b1")
	secretValue = []byte("Xv3-secret-in-a-value-9c2e8")
)

func encrypted(dir string, key []byte) badgerspill.Options {
	o := spilled(layer(dir)).WithSegmentSize(4 << 10).WithDrainOnClose(false)
	o = o.WithIndexCacheSize(1 << 20)
	return o.WithEncryptionKey(key)
}

// writeSecrets spills the secrets into several segments.
func writeSecrets(t *testing.T, db *badgerspill.DB) map[string]string {
	t.Helper()
	want := map[string]string{}
	for i := range 30 {
		k := string(secretKey) + string(key(i))
		v := string(key(i)) + string(secretValue) + string(bytes.Repeat([]byte{byte(i)}, 400))
		set(t, db, k, v)
		want[k] = v
	}
	return want
}

func TestEncryptedSpillHoldsNoPlaintext(t *testing.T) {
	for _, size := range []int{0, 16, 24, 32} {
		var k []byte
		if size > 0 {
			k = bytes.Repeat([]byte{byte(size)}, size)
		}
		o := encrypted(t.TempDir(), k)
		dir := filepath.Join(o.Dir, "spill")
		look := func(when string) {
			t.Helper()
			found := append(filesWith(t, dir, secretKey), filesWith(t, dir, secretValue)...)
			if size == 0 { // the search finds them where they are
				require.NotEmpty(t, found, when)
				return
			}
			require.Empty(t, found, when)
			require.Empty(t, filesWith(t, o.Dir, secretValue), when)
			require.Empty(t, filesWith(t, dir, k), when)
		}
		db := openSpill(t, o)
		want := writeSecrets(t, db)
		look("while it is open")
		requireAll(t, db, want)
		require.NoError(t, db.Close())
		look("after Close")
		db = openSpill(t, o)
		look("after a reopen")
		requireAll(t, db, want)
		more := writeSecrets(t, db)
		look("after more")
		require.NoError(t, db.Drain(context.Background()))
		requireAll(t, db, more)
		require.NoError(t, db.Close())
	}
}

func TestWrongEncryptionKey(t *testing.T) {
	right, wrong := bytes.Repeat([]byte{1}, 32), bytes.Repeat([]byte{2}, 32)
	for _, drained := range []bool{false, true} {
		o := encrypted(t.TempDir(), right).WithDrainOnClose(drained)
		db := openSpill(t, o)
		want := writeSecrets(t, db)
		require.NoError(t, db.Close())
		for _, k := range [][]byte{wrong, nil, right[:16]} {
			before := hashes(t, o.Dir)
			_, err := badgerspill.Open(o.WithEncryptionKey(k))
			require.Error(t, err)
			require.NotErrorIs(t, err, badgerspill.ErrCorrupt, "a wrong key is no damage")
			if !drained {
				name := spillfile.ErrWrongKey
				if k == nil {
					name = spillfile.ErrKeyMissing
				}
				require.ErrorIs(t, err, name)
				require.ErrorContains(t, err, filepath.Join(o.Dir, "spill"))
			}
			// The error of Badger's own, which a program that moves here asks for.
			require.ErrorIs(t, err, badgerspill.ErrEncryptionKeyMismatch)
			require.Equal(t, before, hashes(t, o.Dir))
		}
		requireAll(t, openSpill(t, o), want)
	}
}

func TestKeyForAPlaintextSpill(t *testing.T) {
	o := encrypted(t.TempDir(), nil)
	db := openSpill(t, o)
	want := writeSecrets(t, db)
	require.NoError(t, db.Close())
	before := hashes(t, o.Dir)
	_, err := badgerspill.Open(o.WithEncryptionKey(make([]byte, 32)))
	if err != nil { // Badger decides whether a plaintext database takes a key
		require.Equal(t, before[filepath.Join("spill", "MANIFEST")], hashes(t, o.Dir)[filepath.Join("spill", "MANIFEST")])
	}
	requireAll(t, openSpill(t, o), want)
}

func TestDataKeyRotation(t *testing.T) {
	k := bytes.Repeat([]byte{3}, 32)
	o := encrypted(t.TempDir(), k)
	o = o.WithEncryptionKeyRotationDuration(time.Nanosecond)
	want := map[string]string{}
	for round := range 3 {
		db := openSpill(t, o)
		requireAll(t, db, want)
		set(t, db, string(key(round)), string(secretValue))
		want[string(key(round))] = string(secretValue)
		if round == 1 {
			require.NoError(t, db.Drain(context.Background()))
		}
		set(t, db, string(key(round)), string(secretValue))
		requireAll(t, db, want)
		require.NoError(t, db.Close())
	}
	require.NoError(t, openSpill(t, o.WithDrainOnClose(true)).Close())
	requirePlain(t, o.Badger(), want)
}

// The user's key itself is changed with Badger's own tool, which knows nothing of the spill; with
// an empty spill that works.
func TestRotationOfTheUsersKey(t *testing.T) {
	before, after := bytes.Repeat([]byte{4}, 32), bytes.Repeat([]byte{5}, 32)
	o := encrypted(t.TempDir(), before).WithDrainOnClose(true)
	db := openSpill(t, o.WithDrainOnClose(false))
	want := writeSecrets(t, db)
	require.NoError(t, db.Close())
	spilledReg, err := badgerspill.OpenKeyRegistry(badgerspill.KeyRegistryOptions{Dir: o.Dir, EncryptionKey: before, EncryptionKeyRotationDuration: time.Hour})
	require.NoError(t, err)
	err = badgerspill.WriteKeyRegistry(spilledReg, badgerspill.KeyRegistryOptions{Dir: o.Dir, EncryptionKey: after})
	require.ErrorContains(t, err, "Drain")
	require.NoError(t, spilledReg.Close())
	require.NoError(t, openSpill(t, o).Close())
	reg, err := badger.OpenKeyRegistry(badger.KeyRegistryOptions{Dir: o.Dir, EncryptionKey: before, EncryptionKeyRotationDuration: time.Hour})
	require.NoError(t, err)
	require.NoError(t, badger.WriteKeyRegistry(reg, badger.KeyRegistryOptions{Dir: o.Dir, EncryptionKey: after}))
	require.NoError(t, reg.Close())
	db = openSpill(t, o.WithEncryptionKey(after))
	requireAll(t, db, want)
	set(t, db, "more", "1")
	want["more"] = "1"
	require.NoError(t, db.Close())
	requireAll(t, openSpill(t, o.WithEncryptionKey(after)), want)
}

// Badger's command-line tool changes the user's key while the spill holds commits under the old
// one. Neither key opens the database then, which is said, with what to do, and nothing is changed;
// once the key is changed back all is there.
func TestRotationPastTheSpill(t *testing.T) {
	before, after := bytes.Repeat([]byte{6}, 32), bytes.Repeat([]byte{7}, 16)
	o := encrypted(t.TempDir(), before)
	rotate := func(from, to []byte) { // as badger rotate does it
		reg, err := badger.OpenKeyRegistry(badger.KeyRegistryOptions{Dir: o.Dir, ReadOnly: true, EncryptionKey: from, EncryptionKeyRotationDuration: 10 * 24 * time.Hour})
		require.NoError(t, err)
		require.NoError(t, badger.WriteKeyRegistry(reg, badger.KeyRegistryOptions{Dir: o.Dir, EncryptionKey: to, EncryptionKeyRotationDuration: 10 * 24 * time.Hour}))
		require.NoError(t, reg.Close())
	}
	db := openSpill(t, o)
	want := writeSecrets(t, db)
	require.NoError(t, db.Close())
	rotate(before, after)
	files := hashes(t, filepath.Join(o.Dir, "spill"))
	_, err := badgerspill.Open(o.WithEncryptionKey(after))
	require.ErrorIs(t, err, badgerspill.ErrEncryptionKeyMismatch)
	require.ErrorIs(t, err, spillfile.ErrWrongKey)
	require.ErrorContains(t, err, "change it back")
	_, err = badgerspill.Open(o)
	require.ErrorIs(t, err, badgerspill.ErrEncryptionKeyMismatch)
	require.NotErrorIs(t, err, spillfile.ErrWrongKey, "this is the key of the spill")
	require.Equal(t, files, hashes(t, filepath.Join(o.Dir, "spill")))
	rotate(after, before)
	db = openSpill(t, o)
	requireAll(t, db, want)
	require.NoError(t, db.Drain(context.Background()))
	require.NoError(t, db.Close())
	rotate(before, after)
	requireAll(t, openSpill(t, o.WithEncryptionKey(after)), want)
}

// The data keys of Badger change every moment while commits are spilled, replayed in chunks and
// read; the spill has keys of its own.
func TestDataKeyRotationWhileReplayRuns(t *testing.T) {
	k := bytes.Repeat([]byte{8}, 32)
	o := encrypted(t.TempDir(), k)
	o = o.WithEncryptionKeyRotationDuration(time.Nanosecond)
	want := map[string]string{}
	for range 4 {
		db := openSpill(t, o)
		requireAll(t, db, want)
		for i := range 60 {
			key, value := string(key(i)), string(secretValue)+string(bytes.Repeat([]byte{byte(i)}, 700))
			set(t, db, key, value)
			want[key] = value
		}
		require.NoError(t, db.Drain(context.Background()))
		requireAll(t, db, want)
		set(t, db, "last", string(secretValue))
		want["last"] = string(secretValue)
		require.Empty(t, filesWith(t, o.Dir, secretValue))
		require.NoError(t, db.Close())
	}
	require.NoError(t, openSpill(t, o.WithDrainOnClose(true)).Close())
	requirePlain(t, o.Badger(), want)
}
