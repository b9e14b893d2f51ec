package integration_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dgraph-io/badger/v4"
	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/badgerspill"
	"github.com/badgerspill/badgerspill/integration_test/kit"
	"github.com/badgerspill/badgerspill/spillfile/check"
)

// holder is who has something of the database open when Open is called.
type holder struct {
	name     string
	readOnly bool // others that only read may share with it
	pid      bool // it says who it is
	dir      func(o badgerspill.Options) string
	hold     func(o badgerspill.Options) (io.Closer, error)
}

func openAs(open func(badgerspill.Options) (*badgerspill.DB, error), readOnly bool) func(badgerspill.Options) (io.Closer, error) {
	return func(o badgerspill.Options) (io.Closer, error) {
		db, err := open(o.WithReadOnly(readOnly))
		if err != nil {
			return nil, err // not a nil *DB in an interface
		}
		return db, nil
	}
}

func ofDir(o badgerspill.Options) string    { return o.Dir }
func ofValues(o badgerspill.Options) string { return o.ValueDir }
func ofSpill(o badgerspill.Options) string  { return o.SpillDir }

var holders = []holder{
	{"all of it", false, true, ofDir, openAs(badgerspill.Open, false)},
	{"all of it, read-only", true, false, ofDir, openAs(badgerspill.Open, true)},
	{"Dir, by an Open without a spill", false, true, ofDir, func(o badgerspill.Options) (io.Closer, error) {
		return openAs(badgerspill.Open, false)(o.WithSpillPolicy(badgerspill.Never).WithSpillDir(o.SpillDir + "-none"))
	}},
	{"the value log only", false, true, ofValues, func(o badgerspill.Options) (io.Closer, error) {
		return badger.Open(small(o.ValueDir + "-other").WithValueDir(o.ValueDir))
	}},
	{"the spill only, by another database", false, true, ofSpill, func(o badgerspill.Options) (io.Closer, error) {
		return openAs(badgerspill.Open, false)(spilled(layer(o.Dir + "-other")).WithSpillDir(o.SpillDir))
	}},
	{"the spill only, by who reads its files", true, false, ofSpill, func(o badgerspill.Options) (io.Closer, error) {
		return check.Source{Dir: o.SpillDir}.Lock()
	}},
}

// opener is a second Open.
type opener struct {
	name     string
	readOnly bool
	open     func(o badgerspill.Options) (*badgerspill.DB, error)
}

var openers = []opener{
	{"Open", false, badgerspill.Open},
	{"Open read-only", true, func(o badgerspill.Options) (*badgerspill.DB, error) { return badgerspill.Open(o.WithReadOnly(true)) }},
	{"OpenManaged", false, badgerspill.OpenManaged},
	{"OpenContext", false, func(o badgerspill.Options) (*badgerspill.DB, error) {
		return badgerspill.OpenContext(context.Background(), o)
	}},
}

// TestLocked: an Open beside somebody else fails with Badger's words, names who it is, and leaves
// nothing behind.
func TestLocked(t *testing.T) {
	for _, h := range holders {
		for _, o := range openers {
			t.Run(h.name+"/"+o.name, func(t *testing.T) {
				above := t.TempDir()
				opt := layer(filepath.Join(above, "db")).WithSpillDir(filepath.Join(above, "spill")).WithDrainOnClose(false).
					WithValueDir(filepath.Join(above, "values"))
				made := openSpill(t, spilled(opt).WithDrainOnClose(true))
				set(t, made, "a", "1")
				require.NoError(t, made.Close())
				opt = opt.WithSpillPolicy(badgerspill.Auto)

				held, err := h.hold(opt)
				require.NoError(t, err)
				defer func() { require.NoError(t, held.Close()) }()
				goroutines, files := kit.CurrentGoroutines(), openFiles(t)
				before := tree(t, above)
				db, err := o.open(opt)
				if h.readOnly && o.readOnly {
					require.NoError(t, err)
					requireAll(t, db, map[string]string{"a": "1"})
					require.NoError(t, db.Close())
					return
				}
				require.Nil(t, db)
				requireLocked(t, err, h.dir(opt), os.Getpid(), h.pid)
				require.Equal(t, before, tree(t, above))
				require.Equal(t, files, openFiles(t))
				require.NoError(t, goroutines.Gone())
			})
		}
	}
}

// requireLocked requires an error about dir. pid is who holds it, if it is known.
func requireLocked(t *testing.T, err error, dir string, pid int, known bool) {
	t.Helper()
	var locked *badgerspill.LockedError
	require.ErrorIs(t, err, badgerspill.ErrLocked)
	require.ErrorAs(t, err, &locked)
	require.Equal(t, dir, locked.Dir)
	require.True(t, strings.HasPrefix(err.Error(), plainLocked(t, dir)), "%v\nbegins otherwise than\n%s", err, plainLocked(t, dir))
	if known {
		require.Equal(t, pid, locked.PID)
		require.ErrorContains(t, err, fmt.Sprint("process ", pid))
	} else {
		require.Zero(t, locked.PID)
	}
}

// plainLocked is what Badger says of a directory that is open, as far as it does not depend on how
// it failed.
func plainLocked(t *testing.T, dir string) string {
	t.Helper()
	opt := small(t.TempDir())
	db, err := badger.Open(opt)
	require.NoError(t, err)
	defer func() { require.NoError(t, db.Close()) }()
	_, err = badger.Open(opt)
	require.Error(t, err)
	text, _, _ := strings.Cut(err.Error(), " err: ")
	return strings.ReplaceAll(text, opt.Dir, dir)
}

// openFiles lists what this process has open, by name; nil where the system does not tell. The
// event queues and pipes of the runtime are left out.
func openFiles(t *testing.T) map[string]int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	require.NoError(t, err)
	files := map[string]int{}
	for _, e := range entries {
		if name, err := os.Readlink(filepath.Join("/proc/self/fd", e.Name())); err == nil && filepath.IsAbs(name) && !strings.HasPrefix(name, "/proc") {
			files[name]++
		}
	}
	return files
}

// TestLockedText holds what the layer says in a second Open to what Badger says in one.
func TestLockedText(t *testing.T) {
	dir := t.TempDir()
	for _, side := range []string{"plain Badger", "badgerspill"} {
		for _, readOnly := range []bool{false, true} {
			var held io.Closer
			var err error
			if side == "plain Badger" {
				held, err = badger.Open(small(dir))
			} else {
				held, err = badgerspill.Open(layer(dir))
			}
			require.NoError(t, err)
			_, want := badger.Open(small(dir).WithReadOnly(readOnly))
			_, got := badgerspill.Open(layer(dir).WithReadOnly(readOnly))
			require.Error(t, want)
			require.ErrorIs(t, got, badgerspill.ErrLocked)
			require.True(t, strings.HasPrefix(got.Error(), want.Error()), "%v\nbegins otherwise than\n%v", got, want)
			require.NoError(t, held.Close())
		}
	}
}

// TestOneOfManyOpens: of several that open a directory at once one succeeds, as in Badger.
func TestOneOfManyOpens(t *testing.T) {
	for range 5 {
		opt := layer(filepath.Join(t.TempDir(), "db"))
		type outcome struct {
			db  *badgerspill.DB
			err error
		}
		outcomes := make(chan outcome)
		const opens = 8
		for range opens {
			go func() {
				db, err := badgerspill.Open(opt)
				outcomes <- outcome{db, err}
			}()
		}
		var open []*badgerspill.DB
		for range opens {
			o := <-outcomes
			if o.err == nil {
				open = append(open, o.db)
				continue
			}
			require.ErrorIs(t, o.err, badgerspill.ErrLocked)
		}
		require.Len(t, open, 1)
		set(t, open[0], "a", "1")
		require.NoError(t, open[0].Close())
		requireAll(t, openSpill(t, opt), map[string]string{"a": "1"})
	}
}

// TestLockedDirectoriesThatWereMade: an Open that fails takes back the directories that it has
// made.
func TestLockedDirectoriesThatWereMade(t *testing.T) {
	above := t.TempDir()
	used := spilled(layer(filepath.Join(above, "used"))).WithSpillDir(filepath.Join(above, "spill"))
	db := openSpill(t, used)
	set(t, db, "a", "1")
	before := tree(t, above)
	_, err := badgerspill.Open(spilled(layer(filepath.Join(above, "new"))).WithValueDir(filepath.Join(above, "values")).WithSpillDir(used.SpillDir))
	require.ErrorIs(t, err, badgerspill.ErrLocked)
	require.Equal(t, before, tree(t, above))
}

// TestLockedNote: a process that was killed is not named, and its notes for the next Open are kept
// by one that fails.
func TestLockedNote(t *testing.T) {
	opt := layer(t.TempDir())
	db := openSpill(t, opt)
	set(t, db, "a", "1")
	require.NoError(t, db.Close())
	lock := filepath.Join(opt.Dir, "LOCK")
	const text = "999999999\n\nbadgerspill: memtables from 1\n" // above every pid
	require.NoError(t, os.WriteFile(lock, []byte(text), 0o600))
	reader, err := badger.Open(small(opt.Dir).WithReadOnly(true))
	require.NoError(t, err)
	_, err = badgerspill.Open(opt)
	requireLocked(t, err, opt.Dir, 0, false)
	require.NoError(t, reader.Close())
	left, err := os.ReadFile(lock)
	require.NoError(t, err)
	require.Equal(t, text, string(left))
	requireAll(t, openSpill(t, opt), map[string]string{"a": "1"})
}

// TestFailedOpensBesideOthers: an Open that fails takes back the directory that it has made only if
// nobody else has it meanwhile, and one that finds it taken back makes it again.
func TestFailedOpensBesideOthers(t *testing.T) {
	above := t.TempDir()
	good := layer(filepath.Join(above, "db"))
	require.NoError(t, os.WriteFile(filepath.Join(above, "file"), nil, 0o600))
	bad := good.WithSpillDir(filepath.Join(above, "file")) // it fails when the locks are taken
	for range 20 {
		done := make(chan error)
		const failing = 4
		for range failing {
			go func() {
				_, err := badgerspill.Open(bad)
				done <- err
			}()
		}
		db, err := badgerspill.Open(good)
		for range failing {
			require.Error(t, <-done)
		}
		if err == nil {
			set(t, db, "a", "1")
			require.NoError(t, db.Close())
		} else {
			require.ErrorIs(t, err, badgerspill.ErrLocked)
		}
		require.NoError(t, os.RemoveAll(good.Dir))
	}
}
