package vfstest

import (
	"io/fs"
	"math"
	"sync"
	"syscall"

	"github.com/badgerspill/badgerspill/spillfile/vfs"
)

// Descriptors is another file system of which only so many files are open at once, as under
// ulimit -n, and which counts them. All methods are safe for concurrent use.
type Descriptors struct {
	vfs.FS

	mu         sync.Mutex
	limit      int
	open, most int
}

// NewDescriptors returns one without a limit.
func NewDescriptors(fsys vfs.FS) *Descriptors { return &Descriptors{FS: fsys, limit: math.MaxInt} }

// Limit sets how many files may be open from now on. Those that are open stay so.
func (d *Descriptors) Limit(files int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.limit = files
}

// Peak returns the most files that were open at once since it was last asked.
func (d *Descriptors) Peak() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	most := d.most
	d.most = d.open
	return most
}

// Open returns how many files are open.
func (d *Descriptors) Open() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.open
}

// OpenFile returns EMFILE where the limit is reached.
func (d *Descriptors) OpenFile(name string, flag int, perm fs.FileMode) (vfs.File, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.open >= d.limit {
		return nil, &fs.PathError{Op: "open", Path: name, Err: syscall.EMFILE}
	}
	f, err := d.FS.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	d.open++
	d.most = max(d.most, d.open)
	return &descriptor{f, d}, nil
}

type descriptor struct {
	vfs.File
	of *Descriptors
}

func (f *descriptor) Close() error {
	f.of.mu.Lock()
	f.of.open--
	f.of.mu.Unlock()
	return f.File.Close()
}
