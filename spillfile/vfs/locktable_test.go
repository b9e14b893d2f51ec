package vfs

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// countedLock counts how often a lock was given back.
type countedLock struct{ closed int }

func (c *countedLock) Close() error { c.closed++; return nil }

// TestLockTable: within one process a table does what flock does between open files.
func TestLockTable(t *testing.T) {
	var table lockTable
	dir := t.TempDir()
	name := filepath.Join(dir, "LOCK")
	system := &countedLock{}
	var taken []bool
	take := func(name string, shared bool) (io.Closer, error) {
		return table.take(name, shared, func() (io.Closer, error) {
			taken = append(taken, shared)
			return system, nil
		})
	}
	writer, err := take(name, false)
	require.NoError(t, err)
	for _, shared := range []bool{false, true} {
		_, err := take(name, shared)
		require.ErrorIs(t, err, ErrLocked)
	}
	other, err := take(name+"2", false)
	require.NoError(t, err)
	require.NoError(t, other.Close())
	require.NoError(t, writer.Close())
	require.ErrorIs(t, writer.Close(), os.ErrClosed)
	require.Equal(t, 2, system.closed)

	one, err := take(name, true)
	require.NoError(t, err)
	two, err := take(name, true)
	require.NoError(t, err)
	_, err = take(name, false)
	require.ErrorIs(t, err, ErrLocked)
	require.NoError(t, one.Close())
	_, err = take(name, false)
	require.ErrorIs(t, err, ErrLocked, "one reader is left")
	require.Equal(t, 2, system.closed)
	require.NoError(t, two.Close())
	require.Equal(t, 3, system.closed)
	require.Equal(t, []bool{false, false, true}, taken, "readers share one lock of the system")

	failed := errors.New("no lock")
	_, err = table.take(name, false, func() (io.Closer, error) { return nil, failed })
	require.ErrorIs(t, err, failed)
	writer, err = take(name, false)
	require.NoError(t, err, "after one that failed")
	link := filepath.Join(t.TempDir(), "link")
	if os.Symlink(dir, link) == nil {
		_, err = take(filepath.Join(link, "LOCK"), false)
		require.ErrorIs(t, err, ErrLocked, "another name of the directory")
	}
	require.NoError(t, writer.Close())
	require.Empty(t, table.held)
}
