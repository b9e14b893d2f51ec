package badgerspill

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

// interlockName is a file in Dir that plain Badger takes for a memtable's log, cannot parse, and
// names in its error: it must not open the directory while the spill holds acknowledged commits, or
// it would silently serve the past.
const interlockName = "UNREPLAYED-SPILL--open-with-badgerspill.mem"

const doubted = "was missing, and Badger is not compared with the spill yet"

// interlock sets and removes that file. It is there, durably, before the first spilled commit is
// acknowledged.
type interlock struct {
	mu    sync.Mutex // orders set against drop
	fs    spillfile.FS
	dir   string
	spill string      // the directory of the spill, written into the file for whoever finds it
	free  func() bool // whether the spill is empty

	trusted bool   // it was there when the database was opened
	there   string // what it holds, durably; empty: it is not known to be there
	kept    bool   // it stays though the spill is empty; see keep
}

func (l *interlock) path() string { return filepath.Join(l.dir, interlockName) }

// set creates the file. The log calls it before the first batch, when it is not empty any more; it
// costs nothing then if it was called before.
func (l *interlock) set() error { return l.write(l.spill + "\n") }

// setDoubted is set after the file was missing, until what Badger holds has been compared with the
// spill: an Open that ends in between must not pass for one that found it.
func (l *interlock) setDoubted() error { return l.write(l.spill + "\n" + doubted + "\n") }

// keep sets it for what is unfinished beside the spill: nothing drops it before release.
func (l *interlock) keep() error {
	l.mu.Lock()
	l.kept = true
	l.mu.Unlock()
	err := l.set()
	if err != nil {
		l.release()
	}
	return err
}

func (l *interlock) release() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.kept = false
}

func (l *interlock) write(text string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.there == text {
		return nil
	}
	f, err := l.fs.OpenFile(l.path(), os.O_RDWR|os.O_CREATE, 0o600)
	if err == nil {
		_, werr := f.WriteAt([]byte(text), 0)
		err = errors.Join(f.Chmod(0o600), f.Truncate(int64(len(text))), werr, f.Sync(), f.Close(), l.fs.SyncDir(l.dir))
	}
	if err != nil {
		return fmt.Errorf("badgerspill: interlock %s: %w", l.path(), err)
	}
	l.there = text
	return nil
}

// read returns the directory of the spill that is written in the file, and whether the file is
// there and not doubted. With an error it is not known to be there.
func (l *interlock) read() (spill string, trusted bool, err error) {
	spill = "an unknown directory"
	text, there, err := readFile(l.fs, l.path(), 8<<10)
	if !there {
		return spill, false, err
	}
	dir, rest, ok := strings.Cut(string(text), "\n")
	if ok && dir != "" {
		spill = dir
	}
	return spill, !strings.HasPrefix(rest, doubted), nil
}

// drop removes the file if the spill is empty, and it is not kept.
func (l *interlock) drop() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.kept || !l.free() {
		return nil
	}
	return l.remove()
}

func (l *interlock) remove() error {
	l.there = ""
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

func (l *interlock) present() (bool, error) { return fileExists(l.fs, l.path()) }

// fileExists tells a file that is not there from one of which that is not known.
func fileExists(fsys spillfile.FS, path string) (bool, error) {
	_, err := fsys.Stat(path)
	switch {
	case err == nil:
		return true, nil
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	}
	return false, fmt.Errorf("badgerspill: %w", err)
}
