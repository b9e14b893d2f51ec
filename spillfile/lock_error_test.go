package spillfile

import (
	"io"
	"io/fs"
	"testing"

	"github.com/stretchr/testify/require"
)

// deniedFS lets nobody take a lock.
type deniedFS struct{ FS }

func (deniedFS) Lock(name string, _ bool) (io.Closer, error) {
	return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrPermission}
}

// A LOCK that cannot be opened says nothing about other processes.
func TestLockThatCannotBeTakenBlamesNoOtherProcess(t *testing.T) {
	o := testOptions(t.TempDir())
	l := mustOpen(t, o)
	_, err := Open(o)
	require.ErrorIs(t, err, ErrLocked)
	require.ErrorContains(t, err, "close the other process")
	require.NoError(t, l.Close())
	o.FS = deniedFS{OS}
	_, err = Open(o)
	require.ErrorIs(t, err, fs.ErrPermission)
	require.ErrorContains(t, err, o.Dir)
	require.ErrorContains(t, err, "must be writable")
	require.NotContains(t, err.Error(), "other process")
}
