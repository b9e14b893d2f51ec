package badgerspill

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dgraph-io/badger/v4"
	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/badgerspill/internal/host"
	"github.com/badgerspill/badgerspill/badgerspill/internal/marker"
	"github.com/badgerspill/badgerspill/spillfile"
)

// TestAsLocked: what Badger or the log says of a lock becomes one error, and nothing else does.
func TestAsLocked(t *testing.T) {
	other := errors.New("something else")
	require.Equal(t, other, asLocked("d", other))
	require.NoError(t, asLocked("d", nil))
	for name, err := range map[string]error{
		"the log's":     fmt.Errorf("spill: %w", &spillfile.LockedError{Path: "d/LOCK", PID: 7}),
		"a file seam's": fmt.Errorf("spill: %w", spillfile.ErrLocked),
		"Badger's":      errors.New("in vain.  Another process is using this Badger database"),
		"made already":  fmt.Errorf("spill: %w", &LockedError{Dir: "d", Err: other}),
		"the layer's":   fmt.Errorf("open: %w", &host.LockedError{Dir: "d", Err: other}),
	} {
		got := asLocked("d", err)
		var locked *LockedError
		require.ErrorAs(t, got, &locked, name)
		require.ErrorIs(t, got, ErrLocked, name)
		require.Equal(t, "d", locked.Dir, name)
		require.Equal(t, strings.HasPrefix(name, "the log's"), locked.PID == 7, name)
	}
}

// TestPIDFile: the LOCK files of an open database name its process, which an Open beside it tells,
// and go with it.
func TestPIDFile(t *testing.T) {
	if !host.PIDFiles {
		t.Skip("Badger writes none here")
	}
	dir, values := t.TempDir(), t.TempDir()
	opt := OptionsFrom(badger.DefaultOptions(dir).WithValueDir(values).WithLogger(nil))
	db, err := Open(opt)
	require.NoError(t, err)
	for _, in := range []string{dir, values} {
		text, err := os.ReadFile(filepath.Join(in, marker.LockName))
		require.NoError(t, err)
		line, _, _ := strings.Cut(string(text), "\n")
		require.Equal(t, fmt.Sprint(os.Getpid()), line)
	}
	_, err = Open(opt)
	var locked *LockedError
	require.ErrorAs(t, err, &locked)
	require.Equal(t, os.Getpid(), locked.PID)
	require.NoError(t, db.Close())
	for _, in := range []string{dir, values} {
		require.NoFileExists(t, filepath.Join(in, marker.LockName))
	}
}

// TestBypassedLocks: with BypassLockGuard nothing of Badger's is locked and no LOCK file is
// written, as in Badger.
func TestBypassedLocks(t *testing.T) {
	dir := t.TempDir()
	opt := OptionsFrom(badger.DefaultOptions(dir).WithLogger(nil)).WithBypassLockGuard(true).WithSpillPolicy(Never)
	db, err := Open(opt)
	require.NoError(t, err)
	require.NoFileExists(t, filepath.Join(dir, marker.LockName))
	held, err := host.LockDirs(badger.DefaultOptions(dir), spillfile.OS, host.SystemLocks)
	require.NoError(t, err)
	require.NoError(t, held.Release())
	require.True(t, db.Opts().BypassLockGuard)
	require.NoError(t, db.Close())
	db, err = Open(opt.WithBypassLockGuard(false))
	require.NoError(t, err)
	require.False(t, db.Opts().BypassLockGuard, "what the layer asks of Badger is its own affair")
	require.NoError(t, db.Close())
}
