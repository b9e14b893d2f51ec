package badgerspill

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/badgerspill/internal/host"
	"github.com/badgerspill/badgerspill/badgerspill/internal/marker"
	"github.com/badgerspill/badgerspill/spillfile"
	"github.com/badgerspill/badgerspill/wbm"
)

// as puts another system in place of this one.
func as(change func(*system)) func(*Options) {
	sys := *thisSystem
	sys.name = "some/system"
	change(&sys)
	return func(opt *Options) { opt.seams.system = &sys }
}

// TestSystemThatMapsNoFiles: there a database is in memory only, as plain Badger's, and Open says
// so before it makes anything.
func TestSystemThatMapsNoFiles(t *testing.T) {
	sys := as(func(s *system) { s.maps, s.locks, s.notes = false, false, false })
	dir := filepath.Join(t.TempDir(), "db")
	_, err := tryOpen(t, dir, sys)
	require.ErrorIs(t, err, ErrBadOption)
	require.ErrorContains(t, err, "InMemory")
	require.ErrorContains(t, err, "some/system")
	require.NoFileExists(t, dir)

	f := openAt(t, "", sys, func(opt *Options) { opt.InMemory = true })
	f.put("k", "v")
	require.Equal(t, "v", f.get("k"))
	require.NoError(t, f.DropAll())
	require.Equal(t, absent, f.get("k"))
	require.NoError(t, f.Close())
}

// TestThirtyTwoBitAddressSpace: what does not fit is an error of Open that names the option, and
// what has a default is made to fit.
func TestThirtyTwoBitAddressSpace(t *testing.T) {
	sys := as(func(s *system) { s.maxPiece = math.MaxInt32 })
	large, err := wbm.New(wbm.Options{Limit: 1 << 31})
	require.NoError(t, err)
	for name, row := range map[string]struct {
		change func(*Options)
		field  string
		value  int64
	}{
		"a memtable whose log cannot be mapped":  {func(o *Options) { o.MemTableSize = 1 << 30 }, "MemTableSize", 1 << 30},
		"a value log that cannot be mapped":      {func(o *Options) { o.ValueLogFileSize = 1 << 30 }, "ValueLogFileSize", 1 << 30},
		"a budget beyond the address space":      {func(o *Options) { o.MemoryLimit = 1 << 31 }, "MemoryLimit", 1 << 31},
		"a shared one beyond the address space":  {func(o *Options) { o.WriteBufferManager = large }, "WriteBufferManager", 1 << 31},
		"defaults":                               {func(*Options) {}, "", 0},
		"a value log in memory, which is no log": {func(o *Options) { o.Dir, o.ValueDir, o.InMemory, o.ValueLogFileSize = "", "", true, 1<<31-1 }, "", 0},
		"the largest log that can be mapped": {func(o *Options) {
			o.MemTableSize, o.ValueLogFileSize = 1<<30-1, 1<<30-1
		}, "", 0},
		"more memtables than fit, which need not be full at once": {func(o *Options) { o.NumMemtables = 1000 }, "", 0},
	} {
		t.Run(name, func(t *testing.T) {
			opt := DefaultOptions(t.TempDir())
			row.change(&opt)
			_, err := opt.checked()
			require.NoError(t, err, "in a larger address space")
			sys(&opt)
			got, err := opt.checked()
			if row.field == "" {
				require.NoError(t, err)
				require.Equal(t, opt.MemTableSize, got.MemTableSize, "transactions stay as large")
				require.LessOrEqual(t, got.MemoryLimit, int64(math.MaxInt32))
				require.Positive(t, got.MemoryLimit)
				return
			}
			var bad *OptionError
			require.ErrorAs(t, err, &bad)
			require.Equal(t, row.field, bad.Field)
			require.Equal(t, row.value, bad.Value)
			require.ErrorContains(t, err, "some/system")
		})
	}

	f := open(t, sys)
	require.ErrorIs(t, f.SetMemoryLimit(1<<31), ErrBadOption)
	require.NoError(t, f.SetMemoryLimit(math.MaxInt32))
	require.NoError(t, f.SetMemoryLimit(0))
}

// leftovers makes files in dir that an Open which may touch them removes: an empty log, and one
// that a note says is flushed.
func leftovers(t *testing.T, dir string, opt Options) (empty, flushed, lock string) {
	empty, flushed, lock = host.MemPath(dir, 90), host.MemPath(dir, 5), filepath.Join(dir, marker.LockName)
	require.NoError(t, os.WriteFile(empty, nil, 0o600))
	require.NoError(t, os.WriteFile(flushed, emptyMemLog(t, opt.Badger()), 0o600))
	require.NoError(t, os.WriteFile(lock, fmt.Appendf(nil, "4711\n"+string(marker.Dropped)+"\n", 7), 0o600))
	return empty, flushed, lock
}

// TestSystemWithoutDirectoryLocks: where the layer cannot tell whether another process has the
// directory open it leaves that to Badger, and touches none of Badger's files before and beside it.
func TestSystemWithoutDirectoryLocks(t *testing.T) {
	sys := as(func(s *system) { s.locks, s.notes = false, false })
	keep := func(opt *Options) { opt.KeepSpillOnClose = true }
	f := open(t, sys, keep)
	dir := f.opt.Dir
	f.spillOne("k", "v")
	_, err := tryOpen(t, dir, sys)
	require.ErrorIs(t, err, ErrLocked)
	text, err := os.ReadFile(filepath.Join(dir, marker.LockName))
	require.NoError(t, err)
	require.Equal(t, fmt.Sprintf("%d\n", os.Getpid()), string(text), "Badger's, and no notes")
	require.NoError(t, f.Close())

	_, err = tryOpen(t, dir, sys, func(opt *Options) { opt.ReadOnly = true })
	require.ErrorContains(t, err, "nothing keeps writers out")
	require.ErrorContains(t, err, "some/system")
	g := openAt(t, dir, sys, func(opt *Options) { opt.ReadOnly, opt.BypassLockGuard = true, true })
	require.Equal(t, "v", g.get("k"))
	require.NoError(t, g.Close())

	g = openAt(t, dir, sys)
	require.Equal(t, "v", g.get("k"))
	require.NoError(t, g.Close())

	empty, flushed, lock := leftovers(t, dir, f.opt)
	before, err := os.ReadFile(lock)
	require.NoError(t, err)
	require.NoError(t, (&DB{opt: f.opt}).cleanLogs(f.opt.Badger()))
	require.FileExists(t, flushed)
	after, err := os.ReadFile(lock)
	require.NoError(t, err)
	require.Equal(t, before, after)
	_, err = tryOpen(t, dir, sys)
	require.ErrorContains(t, err, "opening fid: 90", "plain Badger's error")
	require.FileExists(t, empty)
	require.NoError(t, os.Remove(empty))
	g = openAt(t, dir, sys)
	require.Equal(t, "v", g.get("k"))
	require.NoError(t, g.Close())
	require.NoFileExists(t, lock)
}

// TestSystemWithoutNotes: where LOCK is the lock nothing is written there or read from it, and no
// log is removed for what it says. Empty ones go, since the lock is held.
func TestSystemWithoutNotes(t *testing.T) {
	sys := as(func(s *system) { s.notes = false })
	f := open(t, sys)
	dir := f.opt.Dir
	f.put("k", "v")
	require.NoError(t, f.View(func(txn *Txn) error {
		it := txn.NewIterator(DefaultIteratorOptions)
		defer it.Close()
		require.NoError(t, f.DropAll())
		f.put("other", "1")
		text, err := os.ReadFile(filepath.Join(dir, marker.LockName))
		require.NoError(t, err)
		require.Equal(t, fmt.Sprintf("%d\n", os.Getpid()), string(text))
		g := openAt(t, crash(t, dir), sys)
		require.Equal(t, "1", g.get("other"))
		require.NoError(t, g.Close())
		return nil
	}))
	require.NoError(t, f.Close())

	empty, flushed, lock := leftovers(t, dir, f.opt)
	require.NoError(t, os.Remove(lock))
	require.NoError(t, os.Mkdir(lock+"-moved", 0o700))
	db := &DB{opt: f.opt}
	require.NoError(t, os.Symlink(lock+"-moved", lock), "who reads or writes it fails")
	require.NoError(t, db.cleanLogs(f.opt.Badger()))
	require.NoFileExists(t, empty)
	require.FileExists(t, flushed)
	db.noteMemtable(marker.Opened)
}

// untold is a file system of which nobody knows the room.
type untold struct{ spillfile.FS }

func (untold) Free(dir string) (free, total int64, err error) {
	return 0, 0, &fs.PathError{Op: "free space", Path: dir, Err: errors.ErrUnsupported}
}

// TestRoomThatNobodyTells: then room counts as unlimited. Commits, the spill, its replay and Open
// go on with the default floor, and with one that is set.
func TestRoomThatNobodyTells(t *testing.T) {
	for name, floor := range map[string]int64{"default floor": 0, "a floor": 1 << 40} {
		t.Run(name, func(t *testing.T) {
			change := func(opt *Options) {
				opt.seams.fs, opt.MinFreeSpace, opt.KeepSpillOnClose = untold{spillfile.OS}, floor, true
			}
			f := open(t, change)
			f.put("a", "1")
			f.spillOne("b", "2")
			f.room.Look()
			require.NoError(t, f.room.Check())
			require.True(t, f.room.SpillUsable())
			require.Equal(t, int64(math.MaxInt64/4), f.room.Status().Room)
			require.NoError(t, f.Close())
			g := openAt(t, f.opt.Dir, change)
			require.NoError(t, g.Drain(t.Context()))
			require.Equal(t, "1", g.get("a"))
			require.Equal(t, "2", g.inBadger("b"))
		})
	}
}

// TestVolumesThatAreNotKnown: a spill whose volume is not known counts as on Badger's, whose floor
// is the higher one.
func TestVolumesThatAreNotKnown(t *testing.T) {
	d := newDisks(1 << 40)
	d.separate = true
	f := open(t, on(d), func(opt *Options) { opt.MinFreeSpace = 0 })
	require.True(t, f.room.Status().Separate)
	f = open(t, on(d), func(opt *Options) {
		opt.MinFreeSpace = 0
		as(func(s *system) { s.volume = func(fs.FileInfo) (uint64, bool) { return 0, false } })(opt)
	})
	require.False(t, f.room.Status().Separate)
	require.True(t, f.room.Status().Shared)
}
