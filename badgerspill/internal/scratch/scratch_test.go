package scratch

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestLeftoversAreRemovedByTheNextRun(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	t.Setenv("TMP", os.Getenv("TMPDIR"))
	used, err := Make("x-")
	require.NoError(t, err)
	killed, err := Make("x-")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(killed.Path(), "data"), nil, 0o600))
	require.NoError(t, killed.lock.Close()) // as the end of its process does
	kept, err := Make("x-")
	require.NoError(t, err)
	require.NoError(t, kept.Keep())
	theirs := filepath.Join(os.TempDir(), "x-of-somebody-else")
	require.NoError(t, os.Mkdir(theirs, 0o700))
	other, err := Make("y-")
	require.NoError(t, err)
	require.NoError(t, other.lock.Close())

	next, err := Make("x-")
	require.NoError(t, err)
	require.NoDirExists(t, killed.Path())
	for _, path := range []string{used.Path(), kept.Path(), theirs, other.Path(), next.Path()} {
		require.DirExists(t, path)
	}
	require.NoError(t, used.Remove())
	require.NoError(t, next.Remove())
	require.NoDirExists(t, used.Path())
	require.NoDirExists(t, next.Path())
}

func TestNoTemporaryDirectory(t *testing.T) {
	t.Setenv("TMPDIR", filepath.Join(t.TempDir(), "missing"))
	t.Setenv("TMP", os.Getenv("TMPDIR"))
	_, err := Make("x-")
	require.ErrorContains(t, err, os.TempDir())
}
