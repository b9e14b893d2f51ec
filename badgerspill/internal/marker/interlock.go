package marker

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/badgerspill/badgerspill/spillfile"
)

// InterlockName is a file in Dir that plain Badger takes for a memtable's log, cannot parse, and
// names in its error. Plain Badger must not open the directory while the spill holds acknowledged
// commits: it would silently serve the past.
const InterlockName = "UNREPLAYED-SPILL--open-with-badgerspill.mem"

const doubted = "was missing, and Badger is not compared with the spill yet"

// Interlock sets and removes that file. It is there, durably, before the first spilled commit is
// acknowledged.
type Interlock struct {
	mu    sync.Mutex // orders Set against Drop
	fs    spillfile.FS
	dir   string
	spill string      // the directory of the spill, written into the file for whoever finds it
	free  func() bool // whether the spill is empty

	trusted bool   // it was there, and not doubted, when Read looked
	there   string // what it holds, durably; empty: it is not known to be there
	kept    bool   // it stays though the spill is empty; see Keep
}

// NewInterlock returns the interlock of the database in dir, whose spill is in the directory spill.
// free reports whether the spill is empty.
func NewInterlock(fsys spillfile.FS, dir, spill string, free func() bool) *Interlock {
	return &Interlock{fs: fsys, dir: dir, spill: spill, free: free}
}

// Path returns the path of the file.
func (l *Interlock) Path() string { return filepath.Join(l.dir, InterlockName) }

// Set creates the file. The log calls it before the first batch, when it is not empty any more; it
// costs nothing then if it was called before.
func (l *Interlock) Set() error { return l.write(l.spill + "\n") }

// SetDoubted is set after the file was missing, until what Badger holds has been compared with the
// spill: an Open that ends in between must not pass for one that found it.
func (l *Interlock) SetDoubted() error { return l.write(l.spill + "\n" + doubted + "\n") }

// Keep sets it for what is unfinished beside the spill: nothing drops it before Release.
func (l *Interlock) Keep() error {
	l.mu.Lock()
	l.kept = true
	l.mu.Unlock()
	err := l.Set()
	if err != nil {
		l.Release()
	}
	return err
}

// Release ends Keep.
func (l *Interlock) Release() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.kept = false
}

func (l *Interlock) write(text string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.there == text {
		return nil
	}
	f, err := l.fs.OpenFile(l.Path(), os.O_RDWR|os.O_CREATE, 0o600)
	if err == nil {
		_, werr := f.WriteAt([]byte(text), 0)
		err = errors.Join(f.Chmod(0o600), f.Truncate(int64(len(text))), werr, f.Sync(), f.Close(), l.fs.SyncDir(l.dir))
	}
	if err != nil {
		return fmt.Errorf("badgerspill: interlock %s: %w", l.Path(), err)
	}
	l.there = text
	return nil
}

// Read returns the directory of the spill that is written in the file, and whether the file is
// there and not doubted, which Trusted says from then on. With an error it is not known to be
// there. Nothing else may be called meanwhile.
func (l *Interlock) Read() (spill string, trusted bool, err error) {
	spill = "an unknown directory"
	text, there, err := ReadFile(l.fs, l.Path(), 8<<10)
	if !there {
		return spill, false, err
	}
	dir, rest, ok := strings.Cut(string(text), "\n")
	if ok && dir != "" {
		spill = dir
	}
	l.trusted = !strings.HasPrefix(rest, doubted)
	return spill, l.trusted, nil
}

// Trusted reports what Read has found: the file was there since the spill was not empty.
func (l *Interlock) Trusted() bool { return l.trusted }

// Drop removes the file if the spill is empty, and it is not kept.
func (l *Interlock) Drop() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.kept || !l.free() {
		return nil
	}
	return l.Remove()
}

// Remove removes the file, whatever the spill holds. Nothing else may be called meanwhile.
func (l *Interlock) Remove() error {
	l.there = ""
	err := l.fs.Remove(l.Path())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = l.fs.SyncDir(l.dir)
	}
	if err != nil {
		return fmt.Errorf("badgerspill: interlock %s: %w", l.Path(), err)
	}
	return nil
}

// Present reports whether the file is there, whatever it holds.
func (l *Interlock) Present() (bool, error) { return Exists(l.fs, l.Path()) }
