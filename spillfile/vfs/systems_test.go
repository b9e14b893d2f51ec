package vfs_test

import (
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/spillfile"
	"github.com/badgerspill/badgerspill/spillfile/vfs"
)

// TestSystemsThatAnswerLess: a spill works on a system, or on a file system, that does not answer a
// call as Linux does, and an answer that is a failure stays one.
func TestSystemsThatAnswerLess(t *testing.T) {
	for _, system := range vfs.OddSystems() {
		t.Run(system.Name, func(t *testing.T) {
			o := spillfile.Options{Dir: filepath.Join(t.TempDir(), "spill"), DatabaseID: [16]byte{1}, FS: system.FS}
			if system.Fails != nil {
				_, err := spillfile.Open(o)
				require.ErrorIs(t, err, system.Fails)
				return
			}
			for round := range uint64(2) {
				l, err := spillfile.Open(o)
				require.NoError(t, err)
				_, err = spillfile.Open(o)
				require.ErrorIs(t, err, vfs.ErrLocked, "by this process")
				if round > 0 {
					require.Equal(t, "value", read(t, l, "key"))
				}
				b := spillfile.NewBatch()
				b.Add(&spillfile.Entry{Key: []byte("key"), Value: []byte("value")})
				b.Finish()
				l.Enqueue(b, round+1)
				require.NoError(t, l.Commit(b))
				b.Free()
				require.NoError(t, l.Sync())
				require.NoError(t, l.Close())
			}
			// A link is not followed, whatever flags there are.
			manifest := filepath.Join(o.Dir, "MANIFEST")
			moved := filepath.Join(t.TempDir(), "elsewhere")
			require.NoError(t, os.Rename(manifest, moved))
			if err := os.Symlink(moved, manifest); err != nil {
				t.Skip("no symbolic links here: ", err)
			}
			_, err := spillfile.Open(o)
			require.ErrorIs(t, err, vfs.ErrSymlink)
		})
	}
}

func read(t *testing.T, l *spillfile.Log, key string) string {
	t.Helper()
	v := l.Acquire()
	defer v.Release()
	ref, ok, err := v.Get([]byte(key), math.MaxUint64, false)
	require.NoError(t, err)
	require.True(t, ok)
	value, err := v.Value(ref, nil)
	require.NoError(t, err)
	return string(value)
}
