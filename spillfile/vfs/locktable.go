package vfs

import (
	"io"
	"os"
	"path/filepath"
	"sync"
)

// lockTable keeps the locks of this process apart, for systems whose own locks do not, or that have
// none.
type lockTable struct {
	mu   sync.Mutex
	held map[string]*tableLock
}

type tableLock struct {
	io.Closer
	readers int // 0: it is exclusive
}

// take returns a lock of the file name, which lock takes from the system for the first holder in
// this process. The last one gives it back.
func (t *lockTable) take(name string, shared bool, lock func() (io.Closer, error)) (io.Closer, error) {
	key, err := filepath.Abs(name)
	if err != nil {
		return nil, err
	}
	if dir, err := filepath.EvalSymlinks(filepath.Dir(key)); err == nil {
		key = filepath.Join(dir, filepath.Base(key))
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	have := t.held[key]
	switch {
	case have != nil && (!shared || have.readers == 0):
		return nil, &LockedError{Path: name, PID: os.Getpid()}
	case have == nil:
		taken, err := lock()
		if err != nil {
			return nil, err
		}
		if t.held == nil {
			t.held = map[string]*tableLock{}
		}
		have = &tableLock{Closer: taken}
		t.held[key] = have
	}
	if shared {
		have.readers++
	}
	return &tableHold{table: t, key: key, lock: have}, nil
}

// tableHold is one holder's.
type tableHold struct {
	table *lockTable
	key   string
	lock  *tableLock // nil once closed
}

func (h *tableHold) Close() error {
	h.table.mu.Lock()
	defer h.table.mu.Unlock()
	lock := h.lock
	if h.lock = nil; lock == nil {
		return os.ErrClosed
	}
	if lock.readers--; lock.readers > 0 {
		return nil
	}
	delete(h.table.held, h.key)
	return lock.Close()
}
