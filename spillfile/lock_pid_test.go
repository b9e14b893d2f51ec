//go:build unix

package spillfile

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/spillfile/internal/layout"
)

// TestLockNamesTheProcess: LOCK holds the number of who writes, and nothing when nobody does.
func TestLockNamesTheProcess(t *testing.T) {
	o := testOptions(t.TempDir())
	path := filepath.Join(o.Dir, layout.LockName)
	holds := func(want string) {
		t.Helper()
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Equal(t, want, string(text))
	}
	refused := func(o Options, pid int) {
		t.Helper()
		_, err := Open(o)
		var locked *LockedError
		require.ErrorAs(t, err, &locked)
		require.ErrorIs(t, err, ErrLocked)
		require.Equal(t, LockedError{Path: path, PID: pid}, *locked)
	}
	readOnly := o
	readOnly.ReadOnly = true

	l := mustOpen(t, o)
	holds(fmt.Sprintf("%d\n", os.Getpid()))
	refused(o, os.Getpid())
	refused(readOnly, os.Getpid())
	require.NoError(t, l.Close())
	holds("")

	reader := mustOpen(t, readOnly)
	refused(o, 0)
	// by a kill; above every number
	for _, left := range []string{"999999999\n", "garbage", "-1\n", "0\n"} {
		require.NoError(t, os.WriteFile(path, []byte(left), 0o600))
		refused(o, 0)
	}
	require.NoError(t, reader.Close())

	left := "999999999\n"
	require.NoError(t, os.WriteFile(path, []byte(left), 0o600))
	foreign := o
	foreign.Existing = true
	foreign.DatabaseID[0]++
	_, err := Open(foreign)
	require.ErrorIs(t, err, ErrForeignSpill)
	holds(left)
}
