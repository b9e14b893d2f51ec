package spillfile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/spillfile/internal/layout"
	"github.com/badgerspill/badgerspill/spillfile/vfs/vfstest"
)

func TestRemove(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "spill")
	l := mustOpen(t, testOptions(dir))
	require.NoError(t, put(l, 1, "k", "v"))
	require.ErrorIs(t, l.Remove(), errNotEmpty)
	require.NoError(t, put(l, 2, "k", "w"), "it is as it was")
	require.NoError(t, l.MarkReplayed(l.State().LastSeq))
	require.NoError(t, l.Remove())
	require.NoDirExists(t, dir)
	require.ErrorIs(t, put(l, 3, "k", "x"), ErrClosed)
	require.NoError(t, l.Close())
	l = mustOpen(t, testOptions(dir)) // the lock is free
	require.NoError(t, put(l, 1, "k", "v"))
	require.NoError(t, l.Close())
}

// What is not ours stays, and with it the directory.
func TestRemoveLeavesWhatIsNotOurs(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "spill")
	l := mustOpen(t, testOptions(dir))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "notes"), nil, 0o600))
	require.NoError(t, l.Remove())
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, entries, 1)
	require.Equal(t, "notes", entries[0].Name())
}

// A log that is not on disk, or may not be changed, is only closed.
func TestRemoveOnlyCloses(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "spill")
	o := testOptions(dir)
	o.Deferred = true
	l := mustOpen(t, o)
	require.False(t, l.Made())
	require.NoError(t, l.Remove())
	require.NoDirExists(t, dir)

	l = mustOpen(t, testOptions(dir))
	require.True(t, l.Made())
	require.NoError(t, l.Close())
	o = testOptions(dir)
	o.ReadOnly = true
	l = mustOpen(t, o)
	require.NoError(t, l.Remove())
	require.FileExists(t, filepath.Join(dir, layout.ManifestName))
}

var errRemoval = errors.New("injected failure")

// failRemoval fails the first removal of a name.
func failRemoval(name string) vfstest.Fault {
	failed := false
	return func(op, path string) error {
		if op != "remove" || filepath.Base(path) != name || failed {
			return nil
		}
		failed = true
		return errRemoval
	}
}

// Whatever is not removed, the next Open finds an empty spill, or none.
func TestRemoveThatFails(t *testing.T) {
	for _, name := range []string{layout.ManifestName, layout.LockName, "spill"} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "spill")
			o := testOptions(dir)
			o.FS = vfstest.NewFaults(OS, failRemoval(name))
			l := mustOpen(t, o)
			require.NoError(t, put(l, 1, "k", "v"))
			require.NoError(t, l.MarkReplayed(1))
			err := l.Remove()
			if name == layout.ManifestName {
				require.ErrorIs(t, err, errRemoval)
			} else { // tried again, or of no harm
				require.NoError(t, err)
			}
			if name == layout.LockName {
				_, err = os.Lstat(dir)
				require.ErrorIs(t, err, fs.ErrNotExist)
			}
			l = mustOpen(t, testOptions(dir))
			require.True(t, l.Empty())
			require.NoError(t, put(l, 2, "k", "w"))
			require.NoError(t, l.Close())
		})
	}
}
