package badgerspill

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
			require.ErrorIs(t, r.err, ErrLocked)
			require.ErrorIs(t, r.err, r.err.Err)
		})
	}
}

// TestAsLocked: what Badger or the log says of a lock becomes one error, and nothing else does.
func TestAsLocked(t *testing.T) {
	other := errors.New("something else")
	require.Equal(t, other, asLocked("d", other))
	require.NoError(t, asLocked("d", nil))
	for name, err := range map[string]error{
		"the log's":     fmt.Errorf("spill: %w", &spillfile.LockedError{Path: "d/LOCK", PID: 7}),
		"a file seam's": fmt.Errorf("spill: %w", spillfile.ErrLocked),
		"Badger's":      errors.New("in vain.  " + inUse),
		"made already":  fmt.Errorf("spill: %w", &LockedError{Dir: "d", Err: other}),
	} {
		got := asLocked("d", err)
		var locked *LockedError
		require.ErrorAs(t, got, &locked, name)
		require.ErrorIs(t, got, ErrLocked, name)
		require.Equal(t, "d", locked.Dir, name)
		require.Equal(t, strings.HasPrefix(name, "the log's"), locked.PID == 7, name)
	}
}

// TestPIDFile: the LOCK files of an open database are those that Badger writes, and go as its do.
func TestPIDFile(t *testing.T) {
	if !pidFiles {
		t.Skip("Badger writes none here")
	}
	for _, engine := range []string{"badger", "badgerspill"} {
		dir, values := t.TempDir(), t.TempDir()
		opt := badger.DefaultOptions(dir).WithValueDir(values).WithLogger(nil)
		var db interface{ Close() error }
		var err error
		if engine == "badger" {
			db, err = badger.Open(opt)
		} else {
			db, err = Open(OptionsFrom(opt))
		}
		require.NoError(t, err)
		for _, in := range []string{dir, values} {
			text, err := os.ReadFile(filepath.Join(in, marker.LockName))
			require.NoError(t, err, engine)
			line, _, _ := strings.Cut(string(text), "\n")
			require.Equal(t, fmt.Sprint(os.Getpid()), line, engine)
			require.Equal(t, os.Getpid(), holder(in), engine)
		}
		require.NoError(t, db.Close())
		for _, in := range []string{dir, values} {
			require.NoFileExists(t, filepath.Join(in, marker.LockName), engine)
			require.Zero(t, holder(in))
		}
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
	if systemLocks {
		held, err := lockDir(dir, false)
		require.NoError(t, err)
		require.NoError(t, held.Close())
	}
	require.True(t, db.Opts().BypassLockGuard)
	require.NoError(t, db.Close())
	db, err = Open(opt.WithBypassLockGuard(false))
	require.NoError(t, err)
	require.False(t, db.Opts().BypassLockGuard, "what the layer asks of Badger is its own affair")
	require.NoError(t, db.Close())
}
