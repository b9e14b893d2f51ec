package spillfile

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/badgerspill/badgerspill/spillfile/internal/block"
	"github.com/badgerspill/badgerspill/spillfile/internal/index"
	"github.com/badgerspill/badgerspill/spillfile/internal/layout"
)

// Close makes everything durable, records the exact end of the log so that any later damage is
// noticed, and closes the files that no View holds. A View that is still held reads those that are
// open, and fails with ErrClosed for others. Batches that are queued fail with ErrClosed. It
// removes nothing live, and blocks for a group that is being written. Every other call afterwards
// fails with ErrClosed or finds nothing; a second Close returns nil.
func (l *Log) Close() error { return l.close(false) }

// Remove closes a Log that is empty and removes everything of it from disk: its files, and Dir
// unless something else is in it. Nobody may enqueue meanwhile. A crash in between leaves an empty
// spill, or none. It blocks for the disk. A Log that is not empty stays as it is. One that is
// read-only, or that Make has not made, is only closed. After another error the Log is closed, and
// what is left on disk is an empty spill.
func (l *Log) Remove() error {
	if !l.Empty() {
		return errNotEmpty
	}
	return l.close(true)
}

func (l *Log) close(remove bool) error {
	l.w.mu.Lock()
	if l.w.closed {
		l.w.mu.Unlock()
		return nil
	}
	l.w.closed = true
	if s := l.w.active; s != nil {
		l.sealLocked(s)
	}
	l.unlockWriter()
	l.failQueue()
	if l.o.ReadOnly || l.w.deferred { // closed, it stays so
		return l.release()
	}
	close(l.bg.stop)
	<-l.bg.done
	serr := l.syncAll(false)
	if err := l.indexSealed(); err != nil { // the next Open makes them from the segments
		l.report(err)
	}

	defer l.send()
	l.manifest.mu.Lock()
	defer l.manifest.mu.Unlock()
	l.prep.mu.Lock()
	if s := l.prep.ready; s != nil {
		l.prep.ready = nil
		l.bury(s)
	}
	l.prep.mu.Unlock()
	l.files.Close() // so what readers hold is removed, too
	derr := l.removeDead()
	l.w.mu.Lock()
	m, holds := l.manifestLocked(l.replayed.Load()), len(l.w.live) > 0
	l.w.mu.Unlock()
	m.Clean = serr == nil
	merr := l.writeManifest(m)
	l.closeSpare(holds)
	var gerr error
	lockGone := false
	if remove && merr == nil {
		lockGone, gerr = l.removeFiles()
	}
	rerr := l.release()
	if remove && merr == nil && gerr == nil {
		if !lockGone { // such a system removes a file only once it is closed
			_ = l.fs.Remove(filepath.Join(l.o.Dir, layout.LockName))
		}
		_ = l.fs.Remove(l.o.Dir) // it may be a mount, or hold what is not ours
	}
	for _, err := range []error{serr, merr, derr, gerr, rerr} {
		if err != nil {
			return fmt.Errorf("close of spill %s: %w", l.o.Dir, err)
		}
	}
	return nil
}

// failQueue answers what is queued; writer.closed makes each of them fail. If somebody leads, he
// does that.
func (l *Log) failQueue() {
	q := &l.queue.mu
	q.Lock()
	idle := !q.leader && len(q.batches) > 0
	q.leader = q.leader || idle
	q.Unlock()
	if idle {
		l.lead(nil)
	}
}

// release gives up the view, the files and the lock.
func (l *Log) release() error {
	l.files.Close()
	l.w.mu.Lock()
	live := l.w.live
	l.w.live, l.w.unsynced = nil, nil
	l.publishLocked()
	l.w.mu.Unlock()
	for _, s := range live {
		l.unref(s)
	}
	l.cache.Clear()
	err := l.closeNewest()
	if l.lock == nil {
		return err
	}
	return errors.Join(err, l.lock.Close())
}

// removeFiles removes what is on disk, the manifest last: segments without one would be an error of
// the next Open.
func (l *Log) removeFiles() (lockGone bool, err error) {
	c, err := l.dir.List()
	if err = errors.Join(err, l.closeNewest()); err != nil {
		return false, err
	}
	if err := l.removePlace(); err != nil {
		return false, err
	}
	names := append(c.Temp, layout.NewestName)
	for _, id := range c.IDs {
		names = append(names, block.SegmentName(id))
	}
	for _, id := range c.Indexes {
		names = append(names, index.Name(id))
	}
	for _, name := range names {
		if err := l.fs.Remove(filepath.Join(l.o.Dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return false, fmt.Errorf("remove: %w", err)
		}
	}
	for _, name := range c.Salvages {
		if err := layout.ClearDir(l.fs, filepath.Join(l.o.Dir, name)); err != nil {
			return false, err
		}
	}
	err = l.fs.SyncDir(l.o.Dir)
	if err == nil {
		err = l.fs.Remove(filepath.Join(l.o.Dir, layout.ManifestName))
	}
	if err == nil {
		// While it is held: afterwards it may be that of another process.
		lockGone = l.fs.Remove(filepath.Join(l.o.Dir, layout.LockName)) == nil
		err = l.fs.SyncDir(l.o.Dir)
	}
	return lockGone, err
}
