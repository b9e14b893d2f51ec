package spillfile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestSystemsThatAnswerLess: a spill works on a system, or on a file system, that does not answer a
// call as Linux does, and an answer that is a failure stays one.
func TestSystemsThatAnswerLess(t *testing.T) {
	refused := fmt.Errorf("this system: %w", errors.ErrUnsupported)
	for name, row := range map[string]struct {
		answer func(*calls)
		fails  error // of Open
	}{
		"no flag for symbolic links and pipes": {func(c *calls) { c.noFollow, c.nonBlock = 0, 0 }, nil},
		"no sync of directories":               {func(c *calls) { c.syncDir = nil }, nil},
		"sync of a directory is unknown":       {func(c *calls) { c.syncDir = func(*os.File) error { return refused } }, nil},
		"sync of a directory is invalid": {func(c *calls) {
			c.syncDir = func(d *os.File) error { return &fs.PathError{Op: "sync", Path: d.Name(), Err: syscall.EINVAL} }
		}, nil},
		"sync of a directory fails": {func(c *calls) { c.syncDir = func(*os.File) error { return io.ErrShortWrite } }, io.ErrShortWrite},
		"no modes":                  {func(c *calls) { c.chmod = func(string, *os.File, fs.FileMode) error { return refused } }, nil},
		"modes of another user's files": {func(c *calls) {
			c.chmod = func(string, *os.File, fs.FileMode) error { return fs.ErrPermission }
		}, fs.ErrPermission},
		"no free space": {func(c *calls) { c.free = func(string) (int64, int64, error) { return 0, 0, refused } }, nil},
		"no locks of files: a table of the process": {func(c *calls) {
			var table lockTable
			c.lock = func(o *osFS, name string, shared bool) (io.Closer, error) {
				return table.take(name, shared, func() (io.Closer, error) { return o.openNoFollow(name, os.O_RDWR|os.O_CREATE, 0o600) })
			}
		}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			system := thisSystem
			row.answer(&system)
			o := testOptions(filepath.Join(t.TempDir(), "spill"))
			o.FS = &osFS{system}
			if row.fails != nil {
				_, err := Open(o)
				require.ErrorIs(t, err, row.fails)
				return
			}
			for round := range 2 {
				l := mustOpen(t, o)
				_, err := Open(o)
				require.ErrorIs(t, err, ErrLocked, "by this process")
				if round > 0 {
					value, ok := get(t, l, "key")
					require.True(t, ok)
					require.Equal(t, "value", value)
				}
				mustPut(t, l, uint64(round+1), "key", "value")
				require.NoError(t, l.Sync())
				require.NoError(t, l.Close())
			}
			// A link is not followed, whatever flags there are.
			manifest := filepath.Join(o.Dir, manifestName)
			moved := filepath.Join(t.TempDir(), "elsewhere")
			require.NoError(t, os.Rename(manifest, moved))
			if err := os.Symlink(moved, manifest); err != nil {
				t.Skip("no symbolic links here: ", err)
			}
			_, err := Open(o)
			require.ErrorIs(t, err, errSymlink)
		})
	}
}

// TestFreeSpaceThatIsNotKnown: what a system does not tell is told apart from a full volume.
func TestFreeSpaceThatIsNotKnown(t *testing.T) {
	for name, row := range map[string]struct {
		free, total int64
		err         error
		unknown     bool
	}{
		"known":                           {free: 5, total: 10},
		"full":                            {free: 0, total: 10},
		"a file system without a size":    {free: 0, total: 0, unknown: true},
		"a system that does not tell":     {err: errors.ErrUnsupported, unknown: true},
		"a directory that is not there":   {err: fs.ErrNotExist},
		"a file system that fails to say": {err: io.ErrUnexpectedEOF},
	} {
		t.Run(name, func(t *testing.T) {
			system := thisSystem
			system.free = func(string) (int64, int64, error) { return row.free, row.total, row.err }
			free, total, err := (&osFS{system}).Free("somewhere")
			require.Equal(t, row.unknown, errors.Is(err, errors.ErrUnsupported))
			if row.err != nil {
				require.ErrorIs(t, err, row.err)
			}
			if err != nil {
				require.ErrorContains(t, err, "somewhere")
				return
			}
			require.Equal(t, row.free, free)
			require.Equal(t, row.total, total)
		})
	}
}

// TestFreeSpaceOfThisSystem: the one that the tests run on tells, or says that it does not.
func TestFreeSpaceOfThisSystem(t *testing.T) {
	free, total, err := OS.Free(t.TempDir())
	if errors.Is(err, errors.ErrUnsupported) {
		t.Skip(err)
	}
	require.NoError(t, err)
	require.Positive(t, total)
	require.GreaterOrEqual(t, free, int64(0))
	require.LessOrEqual(t, free, total)
	_, _, err = OS.Free(filepath.Join(t.TempDir(), "missing"))
	require.ErrorIs(t, err, fs.ErrNotExist)
}

// TestBytesOfBlocks: what systems tell in units of their own, from 32-bit and from signed fields.
func TestBytesOfBlocks(t *testing.T) {
	require.Equal(t, int64(5<<32), bytesOf(uint64(5<<20), uint32(4<<10)), "more than 32 bits")
	require.Equal(t, int64(5<<32), bytesOf(int64(5<<20), int32(4<<10)))
	require.EqualValues(t, 0, bytesOf(int64(-3), uint64(512)), "less than nothing for who is not root")
	require.EqualValues(t, 0, bytesOf(uint64(7), int32(-1)))
	require.EqualValues(t, 0, bytesOf(uint64(0), uint32(512)))
	require.Equal(t, int64(math.MaxInt64), bytesOf(uint64(math.MaxInt64), uint64(1)))
	require.Equal(t, int64(math.MaxInt64), bytesOf(uint64(1<<62), uint64(2)), "a network file system that has no end")
	require.Equal(t, int64(math.MaxInt64), bytesOf(uint64(math.MaxUint64), uint64(math.MaxUint64)))
}

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

// heldFS is a file system that removes and replaces no file that is open.
type heldFS struct {
	FS
	mu   sync.Mutex
	open []string
}

type heldFile struct {
	File
	fs   *heldFS
	name string
}

var errHeld = errors.New("the file is being used by another process")

func (h *heldFS) OpenFile(name string, flag int, perm fs.FileMode) (File, error) {
	f, err := h.FS.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.open = append(h.open, name)
	return &heldFile{f, h, name}, nil
}

func (f *heldFile) Close() error {
	f.fs.mu.Lock()
	f.fs.open = slices.Delete(f.fs.open, slices.Index(f.fs.open, f.name), slices.Index(f.fs.open, f.name)+1)
	f.fs.mu.Unlock()
	return f.File.Close()
}

func (h *heldFS) held(op, name string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if slices.Contains(h.open, name) {
		return &fs.PathError{Op: op, Path: name, Err: errHeld}
	}
	return nil
}

func (h *heldFS) Remove(name string) error {
	if err := h.held("remove", name); err != nil {
		return err
	}
	return h.FS.Remove(name)
}

func (h *heldFS) Rename(oldname, newname string) error {
	if err := errors.Join(h.held("rename", oldname), h.held("rename", newname)); err != nil {
		return err
	}
	return h.FS.Rename(oldname, newname)
}

// TestSystemThatRemovesNoOpenFile: a segment that a reader holds stays, and counts, until the
// reader has let go; then it is removed without being asked.
func TestSystemThatRemovesNoOpenFile(t *testing.T) {
	removed := make(chan uint64, 10)
	o := testOptions(t.TempDir())
	o.FS = &heldFS{FS: OS}
	o.OnEvent = func(ev Event) {
		if ev.Kind == SegmentRemoved {
			removed <- ev.Segment
		}
	}
	l := mustOpen(t, o)
	mustPut(t, l, 1, "key", "value")
	v := l.Acquire()
	ref, ok, err := v.Get([]byte("key"), 1, false)
	require.NoError(t, err)
	require.True(t, ok)
	l.Rotate(0)
	require.NoError(t, l.MarkReplayed(l.State().LastSeq))
	segment := filepath.Join(o.Dir, segmentName(ref.at.segment))
	require.FileExists(t, segment)
	require.Positive(t, l.State().DiskBytes)
	value, err := v.Value(ref, nil)
	require.NoError(t, err)
	require.Equal(t, "value", string(value))
	v.Release()
	require.Equal(t, ref.at.segment, <-removed)
	require.NoFileExists(t, segment)
	mustPut(t, l, 2, "key", "again")
	require.NoError(t, l.Close())
}
