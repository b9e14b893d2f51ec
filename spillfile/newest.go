package spillfile

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/badgerspill/badgerspill/spillfile/internal/layout"
)

// newestWriter writes the notes. Guarded by writer.mu, but for the sync of the file.
type newestWriter struct {
	file  File // nil: it could not be opened
	count uint64
	dirty bool
}

// openNewest opens the file, and makes it if it is missing; who calls it syncs the directory.
// Without it there are no notes, which is told and no more: a spill must open on a volume without
// an inode, to free itself. fresh: the spill is new, and what is there is of an older one.
func openNewest(o *Options, fsys FS, fresh bool, old *layout.Note) (w newestWriter, err error) {
	path := filepath.Join(o.Dir, layout.NewestName)
	f, err := fsys.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err == nil {
		if err = f.Chmod(0o600); err != nil {
			err = errors.Join(err, f.Close())
		}
	}
	if err != nil {
		if fresh && old != nil {
			return w, fmt.Errorf("spill: %w", err)
		}
		o.Logf("spill: it would not be noticed if the newest segment went missing: %v", err)
		return w, nil
	}
	if fresh && old != nil {
		if err := errors.Join(f.Truncate(0), f.Sync()); err != nil {
			return w, fmt.Errorf("spill %s: %w", path, errors.Join(err, f.Close()))
		}
		old = nil
	}
	w.file = f
	if old != nil {
		w.count = old.Count
	}
	return w, nil
}

func (w *newestWriter) close() error {
	if w.file == nil {
		return nil
	}
	return w.file.Close()
}

// noteNewestLocked notes s, whose first group of batches ends at end, before that is acknowledged.
// A failure is told, and no more: the group is where it should be.
func (l *Log) noteNewestLocked(s *segment, end int64) {
	w := &l.w.newest
	if w.file == nil {
		return
	}
	n := layout.Note{DatabaseID: l.o.DatabaseID, Count: w.count + 1, Segment: s.id(), FirstSeq: s.header.FirstSeq}
	if l.o.SyncWrites {
		n.Synced = end
	}
	b := n.Marshal()
	got, err := w.file.WriteAt(b, int64(n.Count%2)*layout.NoteDistance)
	if err == nil && got < len(b) {
		err = io.ErrShortWrite
	}
	w.count, w.dirty = n.Count, true
	if err == nil && l.o.SyncWrites {
		err = w.file.Sync()
		w.dirty = false
	}
	if err != nil {
		l.noteLocked(BackgroundError, s, 0, fmt.Errorf("spill: it would not be noticed if segment %s went missing: %w", s.path, err))
	}
}

// syncNewest makes the last note durable.
func (l *Log) syncNewest() error {
	l.w.mu.Lock()
	f, dirty := l.w.newest.file, l.w.newest.dirty
	l.w.newest.dirty = false
	l.w.mu.Unlock()
	if f == nil || !dirty {
		return nil
	}
	if err := f.Sync(); err != nil {
		return fmt.Errorf("spill %s: sync: %w", filepath.Join(l.o.Dir, layout.NewestName), err)
	}
	return nil
}

// closeNewest ends the notes.
func (l *Log) closeNewest() error {
	l.w.mu.Lock()
	w := l.w.newest
	l.w.newest = newestWriter{}
	l.w.mu.Unlock()
	return w.close()
}
