package badgerspill

import (
	"fmt"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/badgerspill/badgerspill/spillfile"
)

// spaceInterval is how often free space is looked at, at most.
const spaceInterval = int64(100 * time.Millisecond)

// diskSpace keeps commits from a full disk: Badger's logs are memory-mapped, and a page that the disk has no room for
// ends the process with SIGBUS.
type diskSpace struct {
	db   *DB
	fs   spillfile.FS
	dirs []string
	last atomic.Int64 // when it was looked at last, in nanoseconds of DB.now
	low  atomic.Pointer[spaceError]
}

type spaceError struct {
	dir         string
	free, floor int64
}

func (e *spaceError) Error() string {
	return fmt.Sprintf("badgerspill: %v: %s has %d bytes free, the floor is %d; make room, or lower MinFreeSpace",
		ErrNoSpace, e.dir, e.free, e.floor)
}

func (e *spaceError) Is(target error) bool { return target == ErrNoSpace }

func newDiskSpace(db *DB) *diskSpace {
	s := &diskSpace{db: db, fs: db.opt.fs()}
	if db.opt.InMemory || db.opt.ReadOnly || db.opt.MinFreeSpace < 0 {
		return s
	}
	for _, dir := range []string{db.opt.Dir, db.opt.ValueDir, db.opt.SpillDir} {
		abs, err := filepath.Abs(dir)
		if err == nil {
			s.dirs = append(s.dirs, abs)
		}
	}
	s.last.Store(-spaceInterval)
	return s
}

// check returns an error matching ErrNoSpace while a volume is below the floor. It looks at the volumes at most every
// spaceInterval.
func (s *diskSpace) check() error {
	if len(s.dirs) == 0 {
		return nil
	}
	now, last := s.db.now(), s.last.Load()
	if now-last >= spaceInterval && s.last.CompareAndSwap(last, now) {
		s.look()
	}
	if low := s.low.Load(); low != nil {
		return low
	}
	return nil
}

func (s *diskSpace) look() {
	for _, dir := range s.dirs {
		free, total, err := s.fs.Free(dir)
		if err != nil {
			continue // not knowable here: writes report what they meet
		}
		floor := s.db.opt.MinFreeSpace
		if floor == 0 {
			floor = min(1<<30, total/100)
		}
		if free < floor {
			if s.low.Swap(&spaceError{dir, free, floor}) == nil {
				s.db.opt.Warningf("badgerspill: %s has %d bytes free, below MinFreeSpace of %d: commits fail with ErrNoSpace until there is room\n",
					dir, free, floor)
			}
			return
		}
	}
	if s.low.Swap(nil) != nil {
		s.db.opt.Infof("badgerspill: free space is above MinFreeSpace again\n")
	}
}
