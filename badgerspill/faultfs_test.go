package badgerspill

import (
	"io"
	"io/fs"
	"os"
	"sync"
	"syscall"

	"github.com/dgraph-io/badger/v4"

	"github.com/badgerspill/badgerspill/badgerspill/internal/pipeline"
	"github.com/badgerspill/badgerspill/spillfile"
)

// fault says how operations fail. They are counted from 1, only those that the kind of fault knows.
type fault struct {
	name  string
	knows func(op string) bool // nil: every operation
	err   error
	times int // so many operations in a row fail
	// partly: a write that fails has written half of its bytes, a load half of its entries.
	partly bool
}

// takesRoom are the operations that a full disk fails.
func takesRoom(op string) bool {
	switch op {
	case "mkdir", "create", "write", "sync", "rename", "syncdir":
		return true
	}
	return false
}

var fileFaults = []fault{
	{name: "one fails", err: errTest, times: 1},
	{name: "short write", knows: func(op string) bool { return op == "write" }, err: syscall.ENOSPC, partly: true, times: 1},
	{name: "no space for a while", knows: takesRoom, err: syscall.ENOSPC, partly: true, times: 6},
}

var engineFaults = []fault{
	{name: "disk full", err: syscall.ENOSPC, times: 1},
	{name: "disk full after half of a load", knows: func(op string) bool { return op == "load" }, err: syscall.ENOSPC, partly: true, times: 2},
	{name: "writes blocked", knows: func(op string) bool { return op != "sync" }, err: badger.ErrBlockedWrites, times: 3},
	{name: "sync fails", knows: func(op string) bool { return op == "sync" }, err: syscall.EIO, times: 2},
}

// injector counts operations and fails those from number at on.
type injector struct {
	kind fault
	at   int

	mu     sync.Mutex
	off    bool // nothing is counted, nothing fails
	n      int
	failed []string // the operations that failed
}

// set turns counting and failing off or on, and returns what it was.
func (f *injector) set(off bool) (was bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	was, f.off = f.off, off
	return was
}

// hits returns the operations that failed.
func (f *injector) hits() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.failed
}

func (f *injector) ask(op, what string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.off || f.kind.knows != nil && !f.kind.knows(op) {
		return nil
	}
	if f.n++; f.n < f.at || f.n >= f.at+f.kind.times {
		return nil
	}
	f.failed = append(f.failed, op+" "+what)
	return &fs.PathError{Op: op, Path: what, Err: f.kind.err}
}

// faultEngine is Badger behind an injector.
type faultEngine struct {
	engine
	*injector
}

func (e *faultEngine) send(c *pipeline.Commit, answer func(error)) {
	if err := e.ask("send", "commit"); err != nil {
		c.Prepared.Discard()
		c.Prepared = nil
		go answer(err)
		return
	}
	e.engine.send(c, answer)
}

func (e *faultEngine) load(entries []spillfile.Entry) error {
	err := e.ask("load", "entries")
	if err == nil {
		return e.engine.load(entries)
	}
	if e.kind.partly {
		if lerr := e.engine.load(entries[:len(entries)/2]); lerr != nil {
			return lerr
		}
	}
	return err
}

func (e *faultEngine) sync() error {
	if err := e.ask("sync", "Badger"); err != nil {
		return err
	}
	return e.engine.sync()
}

// faultFS is a file system behind an injector, which is asked for all operations but closing files.
type faultFS struct {
	spillfile.FS
	*injector
}

func (f *faultFS) OpenFile(name string, flag int, perm fs.FileMode) (spillfile.File, error) {
	op := "open"
	if flag&os.O_CREATE != 0 {
		op = "create"
	}
	if err := f.ask(op, name); err != nil {
		return nil, err
	}
	file, err := f.FS.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return &faultFile{file, f, name}, nil
}

func (f *faultFS) Remove(name string) error {
	if err := f.ask("remove", name); err != nil {
		return err
	}
	return f.FS.Remove(name)
}

func (f *faultFS) Rename(from, to string) error {
	if err := f.ask("rename", to); err != nil {
		return err
	}
	return f.FS.Rename(from, to)
}

func (f *faultFS) ReadDir(dir string) ([]fs.DirEntry, error) {
	if err := f.ask("readdir", dir); err != nil {
		return nil, err
	}
	return f.FS.ReadDir(dir)
}

func (f *faultFS) MkdirAll(dir string, perm fs.FileMode) error {
	if err := f.ask("mkdir", dir); err != nil {
		return err
	}
	return f.FS.MkdirAll(dir, perm)
}

func (f *faultFS) Stat(name string) (fs.FileInfo, error) {
	if err := f.ask("stat", name); err != nil {
		return nil, err
	}
	return f.FS.Stat(name)
}

func (f *faultFS) SyncDir(dir string) error {
	if err := f.ask("syncdir", dir); err != nil {
		return err
	}
	return f.FS.SyncDir(dir)
}

func (f *faultFS) Lock(name string, shared bool) (io.Closer, error) {
	if err := f.ask("lock", name); err != nil {
		return nil, err
	}
	return f.FS.Lock(name, shared)
}

type faultFile struct {
	spillfile.File
	fs   *faultFS
	path string
}

func (f *faultFile) ReadAt(b []byte, at int64) (int, error) {
	if err := f.fs.ask("read", f.path); err != nil {
		return 0, err
	}
	return f.File.ReadAt(b, at)
}

func (f *faultFile) WriteAt(b []byte, at int64) (int, error) {
	err := f.fs.ask("write", f.path)
	if err == nil {
		return f.File.WriteAt(b, at)
	}
	if !f.fs.kind.partly {
		return 0, err
	}
	n, werr := f.File.WriteAt(b[:len(b)/2], at)
	if werr != nil {
		err = werr
	}
	return n, err
}

func (f *faultFile) Sync() error {
	if err := f.fs.ask("sync", f.path); err != nil {
		return err
	}
	return f.File.Sync()
}

func (f *faultFile) Truncate(size int64) error {
	if err := f.fs.ask("truncate", f.path); err != nil {
		return err
	}
	return f.File.Truncate(size)
}

func (f *faultFile) Size() (int64, error) {
	if err := f.fs.ask("size", f.path); err != nil {
		return 0, err
	}
	return f.File.Size()
}

func (f *faultFile) Chmod(mode fs.FileMode) error {
	if err := f.fs.ask("chmod", f.path); err != nil {
		return err
	}
	return f.File.Chmod(mode)
}
