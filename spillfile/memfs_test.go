package spillfile

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
	"sync"
	"time"
)

// memFS is a file system in memory that fails on demand and knows what a power cut would leave.
type memFS struct {
	mu      sync.Mutex
	names   map[string]*memNode
	durable map[string]*memNode // names as of the last SyncDir
	locked  map[string]int      // -1 exclusive
	ops     int
	// fault is asked before each operation; its error is returned. For "write" shortWrite bytes are
	// written first.
	fault      func(op, name string, n int) error
	shortWrite int
}

type memNode struct {
	data    []byte
	durable []byte
	mode    fs.FileMode
}

func newMemFS() *memFS {
	return &memFS{names: map[string]*memNode{}, durable: map[string]*memNode{}, locked: map[string]int{}}
}

// memDisk is a disk that holds these files, durably.
func memDisk(dir string, files map[string]string) *memFS {
	m := newMemFS()
	for name, b := range files {
		n := &memNode{data: []byte(b), durable: []byte(b), mode: 0o600}
		m.names[filepath.Join(dir, name)] = n
		m.durable[filepath.Join(dir, name)] = n
	}
	return m
}

func (m *memFS) files() map[string]string {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := map[string]string{}
	for name, n := range m.names {
		out[filepath.Base(name)] = string(n.data)
	}
	return out
}

func (m *memFS) setFault(fault func(op, name string, n int) error) {
	m.mu.Lock()
	m.fault = fault
	m.mu.Unlock()
}

// begin counts an operation and asks fault. Called with mu held.
func (m *memFS) begin(op, name string) error {
	m.ops++
	if m.fault != nil {
		if err := m.fault(op, filepath.Base(name), m.ops); err != nil {
			return &fs.PathError{Op: op, Path: name, Err: err}
		}
	}
	return nil
}

func (m *memFS) OpenFile(name string, flag int, perm fs.FileMode) (File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	op := "open"
	if flag&os.O_CREATE != 0 {
		op = "create"
	}
	if err := m.begin(op, name); err != nil {
		return nil, err
	}
	n, ok := m.names[name]
	switch {
	case ok && flag&os.O_EXCL != 0:
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrExist}
	case !ok && flag&os.O_CREATE == 0:
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	case !ok:
		n = &memNode{mode: perm}
		m.names[name] = n
	}
	return &memFile{m, n, name}, nil
}

func (m *memFS) Remove(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.names[name]; !ok {
		return &fs.PathError{Op: "remove", Path: name, Err: fs.ErrNotExist}
	}
	if err := m.begin("remove", name); err != nil {
		return err
	}
	delete(m.names, name)
	return nil
}

func (m *memFS) Rename(from, to string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.begin("rename", to); err != nil {
		return err
	}
	m.names[to] = m.names[from]
	delete(m.names, from)
	return nil
}

type memEntry string

func (e memEntry) Name() string               { return string(e) }
func (e memEntry) IsDir() bool                { return false }
func (e memEntry) Type() fs.FileMode          { return 0 }
func (e memEntry) Info() (fs.FileInfo, error) { return nil, errors.ErrUnsupported }

func (m *memFS) ReadDir(dir string) ([]fs.DirEntry, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.begin("readdir", dir); err != nil {
		return nil, err
	}
	var out []fs.DirEntry
	for _, name := range slices.Sorted(maps.Keys(m.names)) {
		out = append(out, memEntry(filepath.Base(name)))
	}
	return out, nil
}

func (m *memFS) MkdirAll(dir string, perm fs.FileMode) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.begin("mkdir", dir)
}

func (m *memFS) Stat(name string) (fs.FileInfo, error) { return nil, errors.ErrUnsupported }

func (m *memFS) SyncDir(dir string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.begin("syncdir", dir); err != nil {
		return err
	}
	m.durable = maps.Clone(m.names)
	return nil
}

type memLock struct {
	m    *memFS
	name string
	once sync.Once
}

func (l *memLock) Close() error {
	l.once.Do(func() {
		l.m.mu.Lock()
		delete(l.m.locked, l.name)
		l.m.mu.Unlock()
	})
	return nil
}

func (m *memFS) Lock(name string, shared bool) (io.Closer, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.begin("lock", name); err != nil {
		return nil, err
	}
	if m.locked[name] != 0 {
		return nil, fmt.Errorf("%w: %s", ErrLocked, name)
	}
	m.locked[name] = -1
	return &memLock{m: m, name: name}, nil
}

func (m *memFS) FreeFiles(string) (int64, error) { return 0, errors.ErrUnsupported }

func (m *memFS) Free(string) (int64, int64, error) { return 1 << 40, 1 << 40, nil }

type memFile struct {
	m    *memFS
	n    *memNode
	name string
}

func (f *memFile) ReadAt(b []byte, at int64) (int, error) {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if err := f.m.begin("read", f.name); err != nil {
		return 0, err
	}
	if at >= int64(len(f.n.data)) {
		return 0, io.EOF
	}
	n := copy(b, f.n.data[at:])
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

func (f *memFile) WriteAt(b []byte, at int64) (int, error) {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	err := f.m.begin("write", f.name)
	if err != nil {
		b = b[:min(len(b), f.m.shortWrite)]
	}
	if need := int(at) + len(b); need > len(f.n.data) && len(b) > 0 {
		f.n.data = append(f.n.data, make([]byte, need-len(f.n.data))...)
	}
	copy(f.n.data[min(int(at), len(f.n.data)):], b)
	return len(b), err
}

func (f *memFile) Sync() error {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if err := f.m.begin("sync", f.name); err != nil {
		return err
	}
	f.n.durable = slices.Clone(f.n.data)
	return nil
}

func (f *memFile) Truncate(size int64) error {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if err := f.m.begin("truncate", f.name); err != nil {
		return err
	}
	f.n.data = slices.Clone(f.n.data[:min(int(size), len(f.n.data))])
	return nil
}

func (f *memFile) Size() (int64, error) {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	return int64(len(f.n.data)), nil
}

func (f *memFile) Chmod(fs.FileMode) error { return nil }
func (f *memFile) Close() error            { return nil }

// killed returns what another process finds after this one was killed.
func (m *memFS) killed() *memFS {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := newMemFS()
	out.ops = m.ops
	for name, n := range m.names {
		out.names[name] = &memNode{data: slices.Clone(n.data), durable: slices.Clone(n.durable), mode: n.mode}
	}
	for name, n := range m.durable {
		if m.names[name] == n {
			out.durable[name] = out.names[name]
		} else {
			out.durable[name] = &memNode{data: slices.Clone(n.data), durable: slices.Clone(n.durable), mode: n.mode}
		}
	}
	return out
}

// powerCut returns a state that a power cut may leave: names and bytes that were not synced are
// there or not, each 512-byte sector of its own.
func (m *memFS) powerCut(r *rand.Rand) *memFS {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := newMemFS()
	all := maps.Clone(m.durable)
	maps.Copy(all, m.names)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		from := m.durable
		if r.IntN(2) == 0 {
			from = m.names
		}
		n, ok := from[name]
		if !ok {
			continue
		}
		data := slices.Clone(n.durable)
		switch r.IntN(4) {
		case 0: // nothing more
		case 1:
			data = slices.Clone(n.data)
		default:
			size := len(n.durable)
			if len(n.data) > size {
				size += r.IntN(len(n.data) - size + 1)
			} else if len(n.data) < size && r.IntN(2) == 0 {
				size = len(n.data) // a truncation that happened to get through
			}
			data = make([]byte, size)
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
		}
		node := &memNode{data: data, durable: slices.Clone(data), mode: n.mode}
		out.names[name], out.durable[name] = node, node
	}
	return out
}

// onlySynced returns the worst that a power cut may leave.
func (m *memFS) onlySynced() *memFS {
	m.mu.Lock()
	defer m.mu.Unlock()
	files := map[string]string{}
	dir := "/"
	for name, n := range m.durable {
		dir = filepath.Dir(name)
		files[filepath.Base(name)] = string(n.durable)
	}
	return memDisk(dir, files)
}

// waitFor polls a condition that another goroutine brings about, in tests without a fake clock.
func waitFor(cond func() bool) bool {
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); {
		if cond() {
			return true
		}
	}
	return false
}
