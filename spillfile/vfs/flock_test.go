//go:build unix && !aix

package vfs

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestLockOfAFileThatIsRemoved: who waited with the file open while its holder removed it holds
// nothing.
func TestLockOfAFileThatIsRemoved(t *testing.T) {
	name := filepath.Join(t.TempDir(), "LOCK")
	f, err := os.Create(name)
	require.NoError(t, err)
	require.True(t, named(f, name))
	require.NoError(t, os.Remove(name))
	require.False(t, named(f, name))
	require.NoError(t, f.Close())

	held, err := OS.Lock(name, false)
	require.NoError(t, err)
	require.FileExists(t, name)
	_, err = OS.Lock(name, false)
	require.ErrorIs(t, err, ErrLocked)
	require.NoError(t, held.Close())
}
