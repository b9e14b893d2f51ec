//go:build unix

package badgerspill

import (
	"errors"
	"io/fs"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"syscall"

	"github.com/badgerspill/badgerspill/spillfile"
	"github.com/badgerspill/badgerspill/spillfile/vfs/vfstest"
)

// soakFaults decides what fails, in windows: a disk that fails all the time shows nothing.
type soakFaults struct {
	window atomic.Int64 // one operation in so many fails; 0 = none
	low    atomic.Bool  // volumes are below the floor
	inodes atomic.Bool  // volumes have no inode left
	// so many descriptors the layer gets, and Badger none; 0 = as many as it likes
	few   atomic.Int64
	open  atomic.Int64 // files of the layer
	kinds [len(soakKinds)]atomic.Int64
}

// soakKinds are the kinds of faults as they are counted.
var soakKinds = [...]string{
	"operations", "space", "inodes", "descriptors", "silence", "refusals", "leaks", "subscribers", "drains", "maintenance",
}

const (
	soakOperation   = iota // of a file fails
	soakSpace              // is short
	soakInodes             // are short
	soakDescriptors        // are short
	soakSilence            // of Badger
	soakRefusal            // of a batch of replay, by Badger
	soakLeak               // of a transaction
	soakSubscriber         // does not return
	soakDrain              // is interrupted
	soakMaintenance        // two at once
)

func (f *soakFaults) count(kind int) { f.kinds[kind].Add(1) }

func (f *soakFaults) calm() {
	f.window.Store(0)
	f.low.Store(false)
	f.inodes.Store(false)
	f.few.Store(0)
}

func (f *soakFaults) hit() bool {
	n := f.window.Load()
	if n == 0 || rand.Int64N(n) != 0 {
		return false
	}
	f.count(soakOperation)
	return true
}

// tolerable reports whether a fault that was injected, or a bound that was set, explains err.
func (f *soakFaults) tolerable(err error) bool {
	for _, known := range []error{
		errTest, ErrNoSpace, ErrWriteBlocked, ErrConflict, spillfile.ErrPoisoned, syscall.EMFILE, ErrBadgerHeld, ErrBlockedWrites,
	} {
		if errors.Is(err, known) {
			return true
		}
	}
	return strings.Contains(err.Error(), errTest.Error())
}

// system is that of the process, with few descriptors when that is so.
func (f *soakFaults) system() *system {
	sys := *thisSystem
	sys.descriptorsFree = func(dir string, n int) bool { return f.few.Load() == 0 && thisSystem.descriptorsFree(dir, n) }
	return &sys
}

// soakFS is a file system with faults, short writes among them.
type soakFS struct {
	*vfstest.Faults
	faults *soakFaults
}

type soakFile struct {
	spillfile.File
	faults *soakFaults
}

func newSoakFS(fsys spillfile.FS, faults *soakFaults) *soakFS {
	return &soakFS{vfstest.NewFaults(fsys, func(op, _ string) error {
		switch op {
		case "create", "open", "remove", "rename", "syncdir", "read", "write", "sync":
			if faults.hit() {
				return &vfstest.Torn{Err: errTest, Keep: func(n int) int { return rand.IntN(n + 1) }}
			}
		}
		return nil
	}), faults}
}

func (s *soakFS) OpenFile(name string, flag int, perm fs.FileMode) (spillfile.File, error) {
	if few := s.faults.few.Load(); few > 0 && s.faults.open.Load() >= few {
		s.faults.count(soakDescriptors)
		return nil, &fs.PathError{Op: "open", Path: name, Err: syscall.EMFILE}
	}
	f, err := s.Faults.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	s.faults.open.Add(1)
	return &soakFile{f, s.faults}, nil
}

func (f *soakFile) Close() error {
	f.faults.open.Add(-1)
	return f.File.Close()
}

func (s *soakFS) Free(dir string) (free, total int64, err error) {
	free, total, err = s.FS.Free(dir)
	if s.faults.low.Load() {
		free = 0
	}
	return free, total, err
}

func (s *soakFS) FreeFiles(dir string) (int64, error) {
	if s.faults.inodes.Load() {
		return 0, nil
	}
	return s.FS.FreeFiles(dir)
}
