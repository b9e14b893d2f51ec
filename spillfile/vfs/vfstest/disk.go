package vfstest

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/badgerspill/badgerspill/spillfile/vfs"
)

// Disk is a file system in memory that fails on demand and knows what a power cut would leave. It
// has directories in name only: what is listed is every file, whatever its directory. All methods
// are safe for concurrent use.
type Disk struct {
	// ShortWrite is how many bytes a write that fails has written. Set it before SetFault.
	ShortWrite int

	hook struct { // held while fault runs, so that it need not be safe for concurrent use
		sync.Mutex
		fault Fault
	}
	ops atomic.Int64

	mu      sync.Mutex // after hook
	names   map[string]*node
	durable map[string]*node // names as of the last SyncDir
	locked  map[string]bool
}

// node is the content of a file.
type node struct {
	data    []byte
	durable []byte // as of the last Sync
}

var _ vfs.FS = (*Disk)(nil)

// NewDisk returns an empty Disk.
func NewDisk() *Disk {
	return &Disk{names: map[string]*node{}, durable: map[string]*node{}, locked: map[string]bool{}}
}

// DiskOf returns a Disk that holds these files in dir, durably. They are named without dir.
func DiskOf(dir string, files map[string]string) *Disk {
	d := NewDisk()
	for name, text := range files {
		n := &node{data: []byte(text), durable: []byte(text)}
		d.names[filepath.Join(dir, name)] = n
		d.durable[filepath.Join(dir, name)] = n
	}
	return d
}

// Files returns what a process sees: the content of each file by its name without a directory.
func (d *Disk) Files() map[string]string {
	d.mu.Lock()
	defer d.mu.Unlock()
	out := map[string]string{}
	for name, n := range d.names {
		out[filepath.Base(name)] = string(n.data)
	}
	return out
}

// Alter replaces the content of each file whose path ends with suffix: a disk that damages what it
// holds. It neither counts nor fails. Readers that are under way may see the old content.
func (d *Disk) Alter(suffix string, change func(content string) string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for name, n := range d.names {
		if strings.HasSuffix(name, suffix) {
			n.data = []byte(change(string(n.data)))
		}
	}
}

// SetFault sets what is asked before each operation, nil for nothing, and returns what was asked
// before. One operation at a time asks, and the others wait: for a fault that uses the Disk, or
// waits for who does, there is Faults. It may call Files, Ops and what returns a Disk.
func (d *Disk) SetFault(fault Fault) (before Fault) {
	d.hook.Lock()
	defer d.hook.Unlock()
	before, d.hook.fault = d.hook.fault, fault
	return before
}

// Ops returns how many operations there were, with the one about which a Fault is asked.
func (d *Disk) Ops() int { return int(d.ops.Load()) }

// CountFrom makes n the number of operations that there were.
func (d *Disk) CountFrom(n int) { d.ops.Store(int64(n)) }

// begin counts an operation and asks about it. Called without mu.
func (d *Disk) begin(op, path string) error {
	d.hook.Lock()
	defer d.hook.Unlock()
	d.ops.Add(1)
	return d.hook.fault.ask(op, path)
}

// OpenFile is as in vfs.FS. It asks about "create" with os.O_CREATE, else about "open".
func (d *Disk) OpenFile(name string, flag int, _ fs.FileMode) (vfs.File, error) {
	if err := d.begin(opening(flag), name); err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	n, ok := d.names[name]
	switch {
	case ok && flag&os.O_EXCL != 0:
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrExist}
	case !ok && flag&os.O_CREATE == 0:
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	case !ok:
		n = new(node)
		d.names[name] = n
	}
	return &DiskFile{d, n, name}, nil
}

// Remove is as in vfs.FS. It asks about "remove" if there is such a file.
func (d *Disk) Remove(name string) error {
	d.mu.Lock()
	_, ok := d.names[name]
	d.mu.Unlock()
	if !ok {
		return &fs.PathError{Op: "remove", Path: name, Err: fs.ErrNotExist}
	}
	if err := d.begin("remove", name); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.names, name)
	return nil
}

// Rename is as in vfs.FS. It asks about "rename" of the new name.
func (d *Disk) Rename(from, to string) error {
	if err := d.begin("rename", to); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	n, ok := d.names[from]
	if !ok {
		return &fs.PathError{Op: "rename", Path: from, Err: fs.ErrNotExist}
	}
	d.names[to] = n
	delete(d.names, from)
	return nil
}

type entry string

func (e entry) Name() string               { return string(e) }
func (e entry) IsDir() bool                { return false }
func (e entry) Type() fs.FileMode          { return 0 }
func (e entry) Info() (fs.FileInfo, error) { return nil, errors.ErrUnsupported }

// ReadDir is as in vfs.FS. It asks about "readdir".
func (d *Disk) ReadDir(dir string) ([]fs.DirEntry, error) {
	if err := d.begin("readdir", dir); err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	var out []fs.DirEntry
	for _, name := range slices.Sorted(maps.Keys(d.names)) {
		out = append(out, entry(filepath.Base(name)))
	}
	return out, nil
}

// MkdirAll asks about "mkdir" and does nothing.
func (d *Disk) MkdirAll(dir string, _ fs.FileMode) error { return d.begin("mkdir", dir) }

// Stat is not supported.
func (d *Disk) Stat(string) (fs.FileInfo, error) { return nil, errors.ErrUnsupported }

// SyncDir is as in vfs.FS, for all directories. It asks about "syncdir".
func (d *Disk) SyncDir(dir string) error {
	if err := d.begin("syncdir", dir); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.durable = maps.Clone(d.names)
	return nil
}

type lock struct {
	disk *Disk
	name string
	once sync.Once
}

func (l *lock) Close() error {
	l.once.Do(func() {
		l.disk.mu.Lock()
		delete(l.disk.locked, l.name)
		l.disk.mu.Unlock()
	})
	return nil
}

// Lock is as in vfs.FS, but a shared lock is exclusive, too. It asks about "lock".
func (d *Disk) Lock(name string, _ bool) (io.Closer, error) {
	if err := d.begin("lock", name); err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.locked[name] {
		return nil, fmt.Errorf("%w: %s", vfs.ErrLocked, name)
	}
	d.locked[name] = true
	return &lock{disk: d, name: name}, nil
}

// FreeFiles is not known.
func (d *Disk) FreeFiles(string) (int64, error) { return 0, errors.ErrUnsupported }

// Free says that there is always room.
func (d *Disk) Free(string) (free, total int64, err error) { return 1 << 40, 1 << 40, nil }

// DiskFile is an open file of a Disk.
type DiskFile struct {
	disk *Disk
	node *node
	name string
}

// ReadAt asks about "read".
func (f *DiskFile) ReadAt(b []byte, at int64) (int, error) {
	if err := f.disk.begin("read", f.name); err != nil {
		return 0, err
	}
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if at >= int64(len(f.node.data)) {
		return 0, io.EOF
	}
	n := copy(b, f.node.data[at:])
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

// WriteAt asks about "write". If that fails it writes Disk.ShortWrite bytes.
func (f *DiskFile) WriteAt(b []byte, at int64) (int, error) {
	err := f.disk.begin("write", f.name)
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if err != nil {
		b = b[:min(len(b), f.disk.ShortWrite)]
	}
	if need := int(at) + len(b); need > len(f.node.data) && len(b) > 0 {
		f.node.data = append(f.node.data, make([]byte, need-len(f.node.data))...)
	}
	copy(f.node.data[min(int(at), len(f.node.data)):], b)
	return len(b), err
}

// Sync asks about "sync".
func (f *DiskFile) Sync() error {
	if err := f.disk.begin("sync", f.name); err != nil {
		return err
	}
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	f.node.durable = slices.Clone(f.node.data)
	return nil
}

// Truncate asks about "truncate". It never makes a file longer.
func (f *DiskFile) Truncate(size int64) error {
	if err := f.disk.begin("truncate", f.name); err != nil {
		return err
	}
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	f.node.data = slices.Clone(f.node.data[:min(int(size), len(f.node.data))])
	return nil
}

// Size returns the length in bytes.
func (f *DiskFile) Size() (int64, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	return int64(len(f.node.data)), nil
}

// Chmod does nothing.
func (f *DiskFile) Chmod(fs.FileMode) error { return nil }

// Close does nothing.
func (f *DiskFile) Close() error { return nil }

// Durable returns how many bytes the last Sync has made durable.
func (f *DiskFile) Durable() int {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	return len(f.node.durable)
}

// SyncOnly makes the first n bytes durable and what lies behind them not, without being asked: a
// system that says that it has synced a file and has not.
func (f *DiskFile) SyncOnly(n int) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	f.node.durable = slices.Clone(f.node.data[:n])
}

// Alter replaces the content, as Disk.Alter does; also that of a file which is removed.
func (f *DiskFile) Alter(change func(content string) string) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	f.node.data = []byte(change(string(f.node.data)))
}

// Killed returns what another process finds after this one was killed. It goes on counting.
func (d *Disk) Killed() *Disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	out := NewDisk()
	out.ops.Store(d.ops.Load())
	for name, n := range d.names {
		out.names[name] = n.clone()
	}
	for name, n := range d.durable {
		if d.names[name] == n {
			out.durable[name] = out.names[name]
		} else {
			out.durable[name] = n.clone()
		}
	}
	return out
}

func (n *node) clone() *node {
	return &node{data: slices.Clone(n.data), durable: slices.Clone(n.durable)}
}

// PowerCut returns a state that a power cut may leave: names and bytes that were not synced are
// there or not, each 512-byte sector of its own.
func (d *Disk) PowerCut(r *rand.Rand) *Disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	out := NewDisk()
	all := maps.Clone(d.durable)
	maps.Copy(all, d.names)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		from := d.durable
		if r.IntN(2) == 0 {
			from = d.names
		}
		n, ok := from[name]
		if !ok {
			continue
		}
		left := n.cut(r)
		left.durable = slices.Clone(left.data)
		out.names[name], out.durable[name] = left, left
	}
	return out
}

// cut returns what a power cut may leave of a file.
func (n *node) cut(r *rand.Rand) *node {
	switch r.IntN(4) {
	case 0: // nothing more
		return &node{data: slices.Clone(n.durable)}
	case 1:
		return &node{data: slices.Clone(n.data)}
	}
	size := len(n.durable)
	if len(n.data) > size {
		size += r.IntN(len(n.data) - size + 1)
	} else if len(n.data) < size && r.IntN(2) == 0 {
		size = len(n.data) // a truncation that happened to get through
	}
	data := make([]byte, size)
	for at := 0; at < size; at += 512 {
		end := min(at+512, size)
		from := n.durable
		if r.IntN(3) > 0 {
			from = n.data
		}
		if at < len(from) {
			copy(data[at:end], from[at:])
		}
	}
	copy(data, n.durable[:min(len(n.durable), len(n.data), size)])
	return &node{data: data}
}

// OnlySynced returns the worst that a power cut may leave.
func (d *Disk) OnlySynced() *Disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	out := NewDisk()
	for name, n := range d.durable {
		left := &node{data: slices.Clone(n.durable), durable: slices.Clone(n.durable)}
		out.names[name], out.durable[name] = left, left
	}
	return out
}
