package host

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/dgraph-io/badger/v4"
	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/badgerspill/internal/marker"
	"github.com/badgerspill/badgerspill/spillfile"
)

// TestLockedTextIsBadgers looks for the words in Badger's source of each system.
func TestLockedTextIsBadgers(t *testing.T) {
	module, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", "github.com/dgraph-io/badger/v4").Output()
	require.NoError(t, err)
	for _, r := range []struct{ goos, file string }{
		{"linux", "dir_unix.go"}, {"darwin", "dir_unix.go"}, {"freebsd", "dir_unix.go"}, {"aix", "dir_aix.go"},
		{"windows", "dir_windows.go"}, {"plan9", "dir_plan9.go"},
	} {
		source, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(module)), r.file))
		require.NoError(t, err)
		text := lockedText(r.goos, "DIR")
		for _, path := range []string{`"DIR"`, fmt.Sprintf("%q", lockPath("DIR"))} {
			text = strings.ReplaceAll(text, path, "%q")
		}
		require.Contains(t, string(source), `"`+text+`"`, r.goos)
	}
}

func TestLockedErrorText(t *testing.T) {
	system := errors.New("the system says so")
	begin := lockedText(runtime.GOOS, "d")
	rows := []struct {
		name string
		err  *LockedError
		want string
	}{
		{"nobody is known", &LockedError{Dir: "d", Err: system}, begin + " err: the system says so"},
		{"another process", &LockedError{Dir: "d", PID: 7, Err: system}, begin + " err: the system says so; it is open in process 7"},
		{"this process", &LockedError{Dir: "d", PID: os.Getpid(), Err: system},
			fmt.Sprintf("%s err: the system says so; it is open in process %d, which is this one", begin, os.Getpid())},
		{"Badger's own error", &LockedError{Dir: "d", Err: errors.New("in vain: " + inUse)}, "in vain: " + inUse},
	}
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			require.EqualError(t, r.err, r.want)
			require.ErrorIs(t, r.err, spillfile.ErrLocked)
			require.ErrorIs(t, r.err, r.err.Err)
		})
	}
}

// lockIn locks dir and values as an open for writing does.
func lockIn(dir, values string) (*DirLocks, badger.Options, error) {
	opt := badger.DefaultOptions(dir).WithValueDir(values).WithLogger(nil)
	l, err := LockDirs(opt, spillfile.OS, SystemLocks)
	return l, opt, err
}

// TestPIDFilesAreBadgers: the LOCK files are those that Badger writes, and go as its do.
func TestPIDFilesAreBadgers(t *testing.T) {
	if !PIDFiles {
		t.Skip("Badger writes none here")
	}
	for name, open := range map[string]func(dir, values string) (end func() error){
		"Badger's": func(dir, values string) func() error {
			db, err := badger.Open(badger.DefaultOptions(dir).WithValueDir(values).WithLogger(nil))
			require.NoError(t, err)
			return db.Close
		},
		"ours": func(dir, values string) func() error {
			l, opt, err := lockIn(dir, values)
			require.NoError(t, err)
			require.Zero(t, LockHolder(dir), "none is written yet")
			require.NoError(t, l.WritePID(opt))
			return l.Release
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir, values := t.TempDir(), t.TempDir()
			end := open(dir, values)
			for _, in := range []string{dir, values} {
				text, err := os.ReadFile(filepath.Join(in, marker.LockName))
				require.NoError(t, err)
				require.Equal(t, fmt.Sprintf("%d\n", os.Getpid()), string(text))
				require.Equal(t, os.Getpid(), LockHolder(in))
			}
			require.NoError(t, end())
			for _, in := range []string{dir, values} {
				require.NoFileExists(t, filepath.Join(in, marker.LockName))
				require.Zero(t, LockHolder(in))
			}
		})
	}
}

// TestLocksKeepOthersOut: another of ours and plain Badger, until they are given back. What was
// taken before one that another has is given back, too.
func TestLocksKeepOthersOut(t *testing.T) {
	if !SystemLocks {
		t.Skip("Badger takes its locks itself here")
	}
	dir, values := t.TempDir(), t.TempDir()
	first, opt, err := lockIn(values, values)
	require.NoError(t, err)
	require.NoError(t, first.WritePID(opt))
	second, _, err := lockIn(dir, values)
	var locked *LockedError
	require.ErrorAs(t, err, &locked)
	require.Equal(t, values, locked.Dir)
	if PIDFiles {
		require.Equal(t, os.Getpid(), locked.PID)
	}
	require.NoError(t, second.Abandon())

	_, err = badger.Open(opt)
	require.True(t, SaysLocked(err), "%v", err)
	require.False(t, SaysLocked(errors.New("something else")))
	require.False(t, SaysLocked(nil))

	db, err := badger.Open(first.Options(opt))
	require.NoError(t, err, "with the options for it Badger takes none")
	require.NoError(t, db.Close())
	require.NoError(t, first.Release())
	require.NoError(t, first.Release(), "again")
	third, _, err := lockIn(dir, values)
	require.NoError(t, err)
	require.NoError(t, third.Release())
}

// TestAbandonedLocksLeaveNothing: directories that were made are gone, but for those in which
// something is, and those that were there.
func TestAbandonedLocksLeaveNothing(t *testing.T) {
	if !SystemLocks {
		t.Skip("Badger takes its locks itself here")
	}
	dir, values := filepath.Join(t.TempDir(), "dir"), filepath.Join(t.TempDir(), "values")
	l, opt, err := lockIn(dir, values)
	require.NoError(t, err)
	require.NoError(t, l.WritePID(opt))
	require.NoError(t, os.WriteFile(filepath.Join(values, "something"), nil, 0o600))
	require.NoError(t, l.Abandon())
	require.NoDirExists(t, dir)
	require.DirExists(t, values)

	l, _, err = lockIn(values, values)
	require.NoError(t, err)
	require.NoError(t, os.Remove(filepath.Join(values, "something")))
	require.NoError(t, l.Abandon())
	require.DirExists(t, values)
	require.NoError(t, (*DirLocks)(nil).Abandon())
	require.NoError(t, (*DirLocks)(nil).Release())
}

// TestNothingIsLocked where Badger locks nothing, or does it itself: no directory is made.
func TestNothingIsLocked(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "dir")
	opt := badger.DefaultOptions(dir)
	for name, row := range map[string]struct {
		opt       badger.Options
		supported bool
	}{
		"in memory":              {badger.DefaultOptions("").WithInMemory(true), SystemLocks},
		"bypassed":               {opt.WithBypassLockGuard(true), SystemLocks},
		"not on this system":     {opt, false},
		"read-only, and missing": {opt.WithReadOnly(true), SystemLocks},
	} {
		l, err := LockDirs(row.opt, spillfile.OS, row.supported)
		require.NoError(t, err, name)
		require.Equal(t, row.opt.BypassLockGuard, l.Options(row.opt).BypassLockGuard, name)
		require.NoError(t, l.WritePID(row.opt), name)
		require.NoError(t, l.Release(), name)
		require.NoDirExists(t, dir, name)
	}
}
