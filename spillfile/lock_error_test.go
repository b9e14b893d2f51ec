package spillfile

import (
	"io/fs"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/spillfile/vfs/vfstest"
)

// A LOCK that cannot be opened says nothing about other processes.
func TestLockThatCannotBeTakenBlamesNoOtherProcess(t *testing.T) {
	o := testOptions(t.TempDir())
	l := mustOpen(t, o)
	_, err := Open(o)
	require.ErrorIs(t, err, ErrLocked)
	require.ErrorContains(t, err, "close the other process")
	require.NoError(t, l.Close())
	o.FS = vfstest.NewFaults(OS, func(op, _ string) error {
		if op == "lock" {
			return fs.ErrPermission
		}
		return nil
	})
	_, err = Open(o)
	require.ErrorIs(t, err, fs.ErrPermission)
	require.ErrorContains(t, err, o.Dir)
	require.ErrorContains(t, err, "must be writable")
	require.NotContains(t, err.Error(), "other process")
}
