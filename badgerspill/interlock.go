package badgerspill

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/badgerspill/badgerspill/spillfile"
)

// interlockName is a file in Dir that plain Badger takes for a memtable's log, cannot parse, and names in its error:
// it must not open the directory while the spill holds acknowledged commits, or it would silently serve the past.
const interlockName = "UNREPLAYED-SPILL--open-with-badgerspill.mem"

// interlock sets and removes that file. It is there, durably, before the first spilled commit is acknowledged.
type interlock struct {
	mu   sync.Mutex // orders set against drop
	fs   spillfile.FS
	dir  string
	free func() bool // whether the spill is empty
}

func (l *interlock) path() string { return filepath.Join(l.dir, interlockName) }

// set creates the file. The log calls it before the first batch, when it is not empty any more.
func (l *interlock) set() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	f, err := l.fs.OpenFile(l.path(), os.O_RDWR|os.O_CREATE, 0o600)
	if err == nil {
		err = errors.Join(f.Sync(), f.Close(), l.fs.SyncDir(l.dir))
	}
	if err != nil {
		return fmt.Errorf("badgerspill: interlock %s: %w", l.path(), err)
	}
	return nil
}

// drop removes the file if the spill is empty.
func (l *interlock) drop() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.free() {
		return nil
	}
	return l.remove()
}

func (l *interlock) remove() error {
	err := l.fs.Remove(l.path())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = l.fs.SyncDir(l.dir)
	}
	if err != nil {
		return fmt.Errorf("badgerspill: interlock %s: %w", l.path(), err)
	}
	return nil
}

func (l *interlock) exists() bool {
	_, err := l.fs.Stat(l.path())
	return err == nil
}
