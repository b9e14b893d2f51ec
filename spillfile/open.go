package spillfile

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"

	"github.com/badgerspill/badgerspill/spillfile/check"
	"github.com/badgerspill/badgerspill/spillfile/internal/layout"
	"github.com/badgerspill/badgerspill/spillfile/internal/recovery"
	"github.com/badgerspill/badgerspill/spillfile/vfs"
)

// Open opens or creates a spill and recovers what it holds. It changes nothing on disk unless it
// succeeds in deciding everything first. It blocks while it reads the last segment, and those whose
// index file is missing. Errors: ErrOptions, ErrLocked, ErrForeignSpill, ErrWrongKey,
// ErrKeyMissing, ErrNoManifest, *VersionError, *CorruptError, or those of the file system.
func Open(o Options) (*Log, error) { return OpenContext(context.Background(), o) }

// OpenContext is Open that gives up when ctx ends while it still reads. The error wraps that of ctx
// then, and nothing that was there is changed. Once it has decided what the spill holds it carries
// that out.
func OpenContext(ctx context.Context, o Options) (*Log, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	o.EncryptionKey = bytes.Clone(o.EncryptionKey)
	d := recovery.NewDirectory(o.recovery())
	if o.Deferred {
		l := newLog(o, d, nil)
		l.prep.next, l.cleanClose, l.w.deferred = 1, true, true
		return l, nil
	}
	if !o.ReadOnly {
		if err := d.FS.MkdirAll(o.Dir, 0o700); err != nil {
			return nil, fmt.Errorf("spill %s: %w", o.Dir, err)
		}
	}
	// Before the lock too: not even a lock file goes into a directory that is not a spill.
	if _, err := d.Inspect(); err != nil {
		return nil, check.Explain(o.source(), err)
	}
	lock, err := d.FS.Lock(filepath.Join(o.Dir, layout.LockName), o.ReadOnly)
	switch {
	case o.ReadOnly && errors.Is(err, fs.ErrNotExist): // nobody ever wrote here, or it is a copy
		lock = nil
	case err != nil:
		return nil, recovery.LockError(o.Dir, err)
	}
	l, err := open(ctx, o, d, lock)
	if err != nil {
		err = check.Explain(o.source(), err)
		if lock != nil {
			err = errors.Join(err, lock.Close())
		}
		return nil, err
	}
	return l, nil
}

// newLog returns the Log of an empty spill. lock is its lock, nil if it has none.
func newLog(o Options, d *recovery.Directory, lock io.Closer) *Log {
	l := &Log{o: o, dir: d, fs: d.FS, files: d.Pool, cache: d.Cache, lock: lock, bg: newBackground()}
	l.sizes.Store(newSizes(o.SegmentSize, o.IndexArena))
	return l
}

// open recovers what the directory holds: it decides, carries that out unless it is read-only, and
// makes a Log of what is live.
func open(ctx context.Context, o Options, d *recovery.Directory, lock io.Closer) (_ *Log, err error) {
	r, err := recovery.Decide(ctx, d, o.Existing)
	if err != nil {
		return nil, err
	}
	var kept []*recovery.Segment
	defer func() { r.CloseUnused(kept) }()
	var newest newestWriter
	if !o.ReadOnly {
		vfs.Sign(lock) // nothing is left to be decided: before, Open changes nothing
		if newest, err = openNewest(&o, d.FS, r.Fresh, r.NoteFound); err == nil {
			err = r.CarryOut()
		}
		if err != nil {
			return nil, errors.Join(err, newest.close())
		}
	}
	kept = r.Live
	l := newLog(o, d, lock)
	l.w.newest = newest
	l.take(r)
	if !o.ReadOnly {
		l.makeSpare()
		l.startBackground()
	}
	if len(kept) > 0 {
		l.wakeBackground() // to make the indexes that are missing
	}
	l.files.Serve()
	for _, t := range r.Dropped {
		l.o.OnEvent(Event{Kind: TailTruncated, Segment: t.Segment, File: t.File, Bytes: t.Bytes, Err: t.Reason})
	}
	return l, nil
}

// take makes what was recovered that of a Log which nobody else knows yet.
func (l *Log) take(r *recovery.Recovery) {
	m := r.Contents.Manifest
	last := max(m.Replayed, r.LastSeq)
	l.replayed.Store(m.Replayed)
	l.lastSeq.Store(last)
	l.queue.mu.lastSeq = last
	l.prep.next = r.NextNumber()
	l.truncated, l.cleanClose = r.DroppedBytes, m.Clean && r.CleanEnd()
	live := make([]*segment, 0, len(r.Live))
	for _, f := range r.Live {
		s := newSegment(f, l.o.Now())
		live = append(live, s)
		x := segmentIndex{mem: f.Memory, file: f.IndexFile}
		l.setIndex(s, &x)
		if x.mem != nil {
			l.expectMore(s, x.mem.Size()) // a node takes more than an entry's share of a file
		}
		l.w.direct = max(l.w.direct, s.header.DirectThrough)
		l.disk.Add(s.size.Load() + s.idx.disk)
	}
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	if n := len(live); n > 0 && !l.o.ReadOnly { // carryOut has synced it
		l.setMarkLocked(Position{Segment: live[n-1].id(), Offset: live[n-1].end.Load()})
	}
	l.w.live = live
	l.publishLocked()
}
