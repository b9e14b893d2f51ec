package spillfile

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/badgerspill/badgerspill/spillfile/internal/block"
	"github.com/badgerspill/badgerspill/spillfile/internal/index"
	"github.com/badgerspill/badgerspill/spillfile/internal/layout"
	"github.com/badgerspill/badgerspill/spillfile/internal/recovery"
	"github.com/badgerspill/badgerspill/spillfile/vfs"
)

// sizes are those of Options that Resize changes, and what follows from them. They are replaced as
// a whole.
type sizes struct {
	segment, arena         int64
	groupBytes, groupIndex int64 // where a group of batches ends
}

func newSizes(segment, arena int64) *sizes {
	return &sizes{segment: segment, arena: arena,
		groupBytes: min(maxGroup, segment-block.SegmentHeaderSize), groupIndex: arena - 2*index.ArenaSlack}
}

// Resize changes Options.SegmentSize, IndexArena and CacheSize, all in bytes and in the same
// ranges, for what is written and read from here on. In the background a smaller arena seals the
// segment that is being written, so that its index goes to a file, and a cache gives back what is
// too much. A Log that was opened without a cache stays without. The error matches ErrOptions;
// nothing is changed then. It does no I/O and does not wait for any.
func (l *Log) Resize(segmentSize, indexArena, cacheSize int64) error {
	o := Options{Dir: l.o.Dir, SegmentSize: segmentSize, IndexArena: indexArena}
	if err := o.check(); err != nil {
		return err
	}
	l.sizes.Store(newSizes(o.SegmentSize, o.IndexArena))
	l.cache.Resize(cacheSize)
	l.resized.Store(true)
	l.wakeBackground()
	return nil
}

// shrinkArenas is Resize's work in the background: it lets go of arenas that are larger than
// what is asked for now.
func (l *Log) shrinkArenas() {
	l.w.mu.Lock()
	defer l.unlockWriter()
	arena := l.sizes.Load().arena
	if s := l.w.active; s != nil && l.usableLocked() == nil && s.mem().Cap() > arena {
		l.sealLocked(s)
	}
	l.prep.mu.Lock()
	defer l.prep.mu.Unlock()
	if s := l.prep.ready; s != nil {
		if x := s.index.Load(); x != nil && x.mem.Cap() > arena {
			l.forgetIndexLocked(s)
		}
	}
}

// forgetIndexLocked frees the arena of a prepared segment; it gets another one when it is used.
// prep.mu must be held.
func (l *Log) forgetIndexLocked(s *segment) {
	s.index.Store(nil)
	s.idx.mu.Lock()
	l.countLocked(s, 0)
	s.idx.mu.Unlock()
}

// Made reports whether the spill is on disk: whether Make was called where Options.Deferred has put
// it off. It waits for a Make that is under way.
func (l *Log) Made() bool {
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	return !l.w.deferred
}

// Make makes what Options.Deferred has put off, for a database of that identity: the directory, its
// lock and its manifest. Where that is done already it does nothing. It blocks for the disk. After
// an error the Log is as it was, and Make may be called again. Errors: ErrClosed, ErrLocked,
// ErrForeignSpill if a spill has come to be there meanwhile, or those of the file system.
func (l *Log) Make(databaseID [16]byte) error {
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	if l.w.closed {
		return ErrClosed
	}
	if !l.w.deferred {
		return nil
	}
	if err := l.fs.MkdirAll(l.o.Dir, 0o700); err != nil {
		return fmt.Errorf("spill %s: %w", l.o.Dir, err)
	}
	lock, err := l.fs.Lock(filepath.Join(l.o.Dir, layout.LockName), false)
	if err != nil {
		return recovery.LockError(l.o.Dir, err)
	}
	c, err := l.dir.Inspect()
	if err == nil && (c.Manifest != nil || len(c.IDs) > 0) {
		err = fmt.Errorf("%w: %s was empty when the database was opened, and is not any more; open the database again", ErrForeignSpill, l.o.Dir)
	}
	if err == nil {
		err = l.fs.SyncDir(filepath.Dir(l.o.Dir))
	}
	if err == nil {
		l.w.newest, err = openNewest(&l.o, l.fs, true, c.Newest)
	}
	if err == nil {
		m := &layout.Manifest{DatabaseID: databaseID, Next: 1, FirstLive: 1, Clean: true}
		if err = m.Write(l.fs, l.o.Dir); err != nil { // it may be there nevertheless
			if rerr := l.fs.Remove(filepath.Join(l.o.Dir, layout.ManifestName)); !errors.Is(rerr, fs.ErrNotExist) {
				err = errors.Join(err, rerr)
			}
		}
	}
	if err != nil {
		err = errors.Join(err, l.w.newest.close(), lock.Close())
		l.w.newest = newestWriter{}
		return err
	}
	l.files.Serve()
	l.makeSpare()
	l.lock, l.w.deferred, l.o.DatabaseID = lock, false, databaseID
	vfs.Sign(lock)
	l.startBackground()
	return nil
}
