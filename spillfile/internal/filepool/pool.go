package filepool

import (
	"errors"
	"io/fs"
	"os"
	"sync"
	"sync/atomic"

	"github.com/badgerspill/badgerspill/spillfile/internal/block"
	"github.com/badgerspill/badgerspill/spillfile/vfs"
)

// How many descriptors a pool, and who works beside it, may take: at least, and if nobody says it.
const (
	Min     = 16
	Default = 64
)

// ErrClosed means that the pool, or the file, is closed.
var ErrClosed = errors.New("spill is closed")

// otherFiles is how many descriptors of that bound are for what is not in the pool: the lock, the
// manifest, an index that is written, and directories that are read or synced; each at most twice.
const otherFiles = 8

// Pool bounds how many files of segments and indexes are open at once. They are opened when
// they are used, and one that has not been used for long is closed for another. Safe for concurrent
// use.
type Pool struct {
	fs    vfs.FS
	limit int

	waiting atomic.Int32 // who waits for a place, or is about to look for one
	serving atomic.Bool  // recovery is done: a file that is missing has been taken away
	closed  atomic.Bool  // nothing is opened any more

	mu   sync.Mutex // after File.mu
	room sync.Cond  // a place is free, or a file not in use
	open int        // places taken: by the files in ring, and by those being opened or closed
	ring []*File
	hand int // in ring: the clock that finds what has not been used for long
}

// New returns a pool of files of a file system. files bounds the descriptors, those beside the pool
// included; 0 is Default.
func New(fsys vfs.FS, files int) *Pool {
	if files == 0 {
		files = Default
	}
	p := &Pool{fs: fsys, limit: files - otherFiles}
	p.room.L = &p.mu
	return p
}

// Serve says that recovery is done: from here on a file that is missing has been taken away, which
// is damage.
func (p *Pool) Serve() { p.serving.Store(true) }

// Close makes every later opening fail with ErrClosed. Files that are open stay so until they are
// closed.
func (p *Pool) Close() { p.closed.Store(true) }

// Closed says whether Close was called.
func (p *Pool) Closed() bool { return p.closed.Load() }

// MostUnsynced is how many sealed segments may wait for their sync, which keeps their files open.
func (p *Pool) MostUnsynced() int { return p.limit / 4 }

// openFile opens a file once there is a place for it.
func (p *Pool) openFile(path string, flag int, perm fs.FileMode) (f vfs.File, err error) {
	p.take()
	err = p.sparing(func() error {
		f, err = p.fs.OpenFile(path, flag, perm)
		return err
	})
	if err != nil {
		p.give()
	}
	return f, err
}

// sparing runs what takes a descriptor. Where there is none left it closes files that are open and
// not in use, and tries again.
func (p *Pool) sparing(do func() error) error {
	for {
		if err := do(); !vfs.OutOfFiles(err) || !p.Shrink() {
			return err
		}
	}
}

// FS returns the file system for what is not in the pool. Where there is no descriptor left it
// closes files of the pool that are not in use.
func (p *Pool) FS() vfs.FS { return sparingFS{p.fs, p} }

// sparingFS is the file system for what is not in the pool.
type sparingFS struct {
	vfs.FS
	files *Pool
}

func (s sparingFS) OpenFile(name string, flag int, perm fs.FileMode) (f vfs.File, err error) {
	err = s.files.sparing(func() error {
		f, err = s.FS.OpenFile(name, flag, perm)
		return err
	})
	return f, err
}

func (s sparingFS) ReadDir(dir string) (entries []fs.DirEntry, err error) {
	err = s.files.sparing(func() error {
		entries, err = s.FS.ReadDir(dir)
		return err
	})
	return entries, err
}

func (s sparingFS) SyncDir(dir string) error {
	return s.files.sparing(func() error { return s.FS.SyncDir(dir) })
}

// take takes a place, and waits for one if all are in use. Nobody who uses a file waits for
// another.
func (p *Pool) take() {
	p.waiting.Add(1) // before looking: who stops using a file after that wakes this one
	defer p.waiting.Add(-1)
	p.mu.Lock()
	for p.open >= p.limit {
		if idle := p.idleLocked(); idle != nil {
			p.mu.Unlock()
			_ = idle.Close() // what is written is synced: see File.Keep
			return
		}
		p.room.Wait()
	}
	p.open++
	p.mu.Unlock()
}

// give gives a place back.
func (p *Pool) give() {
	p.mu.Lock()
	p.open--
	p.room.Signal()
	p.mu.Unlock()
}

// Shrink closes a file that is not in use, and says whether there was one.
func (p *Pool) Shrink() bool {
	p.mu.Lock()
	idle := p.idleLocked()
	p.mu.Unlock()
	if idle == nil {
		return false
	}
	_ = idle.Close()
	p.give()
	return true
}

// idleLocked takes a file out that is not in use. Its place stays taken until it is closed.
func (p *Pool) idleLocked() vfs.File {
	for range 2 * len(p.ring) {
		p.hand = (p.hand + 1) % len(p.ring)
		f := p.ring[p.hand]
		if f.uses.Load() == 0 && !f.recent.Swap(false) && f.uses.CompareAndSwap(0, notOpen) {
			p.removeLocked(f)
			return f.file
		}
	}
	return nil
}

func (p *Pool) add(f *File) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f.at = len(p.ring)
	p.ring = append(p.ring, f)
}

func (p *Pool) removeLocked(f *File) {
	last := len(p.ring) - 1
	p.ring[f.at] = p.ring[last]
	p.ring[f.at].at = f.at
	p.ring[last] = nil
	p.ring = p.ring[:last]
}

// File is a file of a Pool that is open while it is in use, and longer if there is a place. Every
// call opens it if need be, and may wait for a place. After Close that is ErrClosed, and after that
// of the pool, too, where the file has to be opened. Safe for concurrent use.
type File struct {
	pool *Pool
	path string
	flag int

	uses   atomic.Int64 // calls under way, and one if it is kept; notOpen if it is not open
	recent atomic.Bool  // used since the clock came by
	gone   atomic.Bool  // Close was called
	file   vfs.File     // while uses is not notOpen

	mu   sync.Mutex // held while it is opened
	kept bool       // guarded by mu

	at int // in the ring; guarded by pool.mu
}

const notOpen = -1

// File returns the file at path, which is opened with flag when it is used.
func (p *Pool) File(path string, flag int) *File {
	f := &File{pool: p, path: path, flag: flag}
	f.uses.Store(notOpen)
	return f
}

// Create makes a file that must not be there, and keeps it open until Unkeep.
func (p *Pool) Create(path string, perm fs.FileMode) (*File, error) {
	f := p.File(path, os.O_RDWR)
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.openLocked(os.O_CREATE|os.O_EXCL, perm); err != nil {
		return nil, err
	}
	f.kept = true
	return f, nil
}

// openLocked opens the file, in use once. mu must be held.
func (f *File) openLocked(create int, perm fs.FileMode) error {
	if f.gone.Load() || f.pool.closed.Load() {
		return &fs.PathError{Op: "open", Path: f.path, Err: ErrClosed}
	}
	file, err := f.pool.openFile(f.path, f.flag|create, perm)
	if err != nil {
		if f.pool.serving.Load() && errors.Is(err, fs.ErrNotExist) {
			return block.Corrupt(f.path, 0, "the file is gone: it was there when the spill was opened")
		}
		return err
	}
	f.file = file
	f.pool.add(f)
	f.uses.Store(1)
	return nil
}

// begin begins a use, which end ends.
func (f *File) begin() (vfs.File, error) {
	if f.join() {
		return f.file, nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.join() { // somebody else has opened it
		return f.file, nil
	}
	if err := f.openLocked(0, 0); err != nil {
		return nil, err
	}
	return f.file, nil
}

// join begins a use of an open file.
func (f *File) join() bool {
	for n := f.uses.Load(); n != notOpen; n = f.uses.Load() {
		if f.uses.CompareAndSwap(n, n+1) {
			if !f.recent.Load() {
				f.recent.Store(true)
			}
			return true
		}
	}
	return false
}

func (f *File) end() {
	switch {
	case f.uses.Add(-1) > 0:
	case f.gone.Load():
		_ = f.reap()
	case f.pool.waiting.Load() > 0:
		f.pool.mu.Lock()
		f.pool.room.Signal()
		f.pool.mu.Unlock()
	}
}

// reap closes a file that is not in use and will not be.
func (f *File) reap() error {
	f.pool.mu.Lock()
	if !f.uses.CompareAndSwap(0, notOpen) {
		f.pool.mu.Unlock()
		return nil
	}
	f.pool.removeLocked(f)
	file := f.file
	f.pool.mu.Unlock()
	err := file.Close()
	f.pool.give()
	return err
}

// Keep keeps the file open until Unkeep. What is written must be synced through the file that it
// was written through: another one may not hear of it that the system could not write it.
func (f *File) Keep() error {
	if _, err := f.begin(); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.kept {
		f.end()
	}
	f.kept = true
	return nil
}

// Unkeep ends what Keep or Create has begun. It does nothing where that is ended already.
func (f *File) Unkeep() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.kept {
		f.kept = false
		f.end()
	}
}

// Kept says whether the file is kept open.
func (f *File) Kept() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.kept
}

// Close closes the file, once the last use ends, and for good.
func (f *File) Close() error {
	if f.gone.Swap(true) {
		return nil
	}
	f.mu.Lock()
	if f.kept {
		f.kept = false
		f.uses.Add(-1)
	}
	f.mu.Unlock()
	return f.reap()
}

// ReadAt is that of vfs.File.
func (f *File) ReadAt(b []byte, at int64) (int, error) {
	file, err := f.begin()
	if err != nil {
		return 0, err
	}
	defer f.end()
	return file.ReadAt(b, at)
}

// WriteAt is that of vfs.File. The file must be kept open until it is synced.
func (f *File) WriteAt(b []byte, at int64) (int, error) {
	file, err := f.begin()
	if err != nil {
		return 0, err
	}
	defer f.end()
	return file.WriteAt(b, at)
}

// Size is that of vfs.File.
func (f *File) Size() (size int64, err error) {
	file, err := f.begin()
	if err != nil {
		return 0, err
	}
	defer f.end()
	return file.Size()
}

// Sync is that of vfs.File.
func (f *File) Sync() error { return f.use(vfs.File.Sync) }

// Truncate is that of vfs.File.
func (f *File) Truncate(size int64) error {
	return f.use(func(file vfs.File) error { return file.Truncate(size) })
}

// Chmod is that of vfs.File.
func (f *File) Chmod(mode fs.FileMode) error {
	return f.use(func(file vfs.File) error { return file.Chmod(mode) })
}

func (f *File) use(do func(vfs.File) error) error {
	file, err := f.begin()
	if err != nil {
		return err
	}
	defer f.end()
	return do(file)
}
