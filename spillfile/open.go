package spillfile

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"github.com/badgerspill/badgerspill/spillfile/internal/block"
	"github.com/badgerspill/badgerspill/spillfile/internal/index"
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
	d := newDirectory(o)
	if o.Deferred {
		l := newLog(d, nil)
		l.prep.next, l.cleanClose, l.w.deferred = 1, true, true
		return l, nil
	}
	if !o.ReadOnly {
		if err := d.fs.MkdirAll(o.Dir, 0o700); err != nil {
			return nil, fmt.Errorf("spill %s: %w", o.Dir, err)
		}
	}
	// Before the lock too: not even a lock file goes into a directory that is not a spill.
	if _, err := d.inspect(); err != nil {
		return nil, o.explained(err)
	}
	lock, err := d.fs.Lock(filepath.Join(o.Dir, lockName), o.ReadOnly)
	switch {
	case o.ReadOnly && errors.Is(err, fs.ErrNotExist): // nobody ever wrote here, or it is a copy
		lock = nil
	case err != nil:
		return nil, lockError(o.Dir, err)
	}
	l, err := open(ctx, d, lock)
	if err != nil {
		err = o.explained(err)
		if lock != nil {
			err = errors.Join(err, lock.Close())
		}
		return nil, err
	}
	return l, nil
}

// directory is what is known of a spill before there is a Log, and what reads its files.
type directory struct {
	o     Options
	fs    FS
	files *openFiles
	cache *block.Cache
}

// newDirectory takes checked options, and reads nothing.
func newDirectory(o Options) directory {
	files := newOpenFiles(o.FS, o.OpenFiles)
	return directory{o: o, fs: sparingFS{o.FS, files}, files: files, cache: block.NewCache(o.CacheSize)}
}

// newLog returns the Log of an empty spill. lock is its lock, nil if it has none.
func newLog(d directory, lock io.Closer) *Log {
	l := &Log{directory: d, lock: lock, bg: newBackground()}
	l.sizes.Store(newSizes(d.o.SegmentSize, d.o.IndexArena))
	return l
}

// lockError says what to do about a lock that was not taken.
func lockError(dir string, err error) error {
	if errors.Is(err, ErrLocked) {
		return fmt.Errorf("spill %s: %w; close the other process, or give this one another directory", dir, err)
	}
	return fmt.Errorf("spill %s: %w; the directory and LOCK must be writable by this process, or readable if it opens read-only", dir, err)
}

func foreign(dir string, found, want [16]byte) error {
	return fmt.Errorf("%w: %s holds commits of database %x, this one is %x", ErrForeignSpill, dir, found, want)
}

// contents is what the directory holds.
type contents struct {
	ids      []uint64  // segments, ascending
	manifest *manifest // nil: none
	indexes  []uint64  // segments that have an index file
	temp     []string  // files that were being written when the process ended
	salvages []string  // directories of a Salvage that was interrupted
	newest   *newestNote
}

// inspect returns what the directory holds, with its manifest and its note of the newest segment.
func (d *directory) inspect() (*contents, error) {
	c, err := d.list()
	if err != nil {
		return nil, err
	}
	if c.newest, err = readNewest(d.fs, d.o.Dir); err != nil {
		return nil, err
	}
	m, err := readManifest(d.fs, d.o.Dir)
	switch {
	case err == nil:
		c.manifest = m
	case !errors.Is(err, fs.ErrNotExist):
		return nil, err
	case len(c.ids) > 0:
		return nil, noManifest(d.fs, d.o.Dir, c)
	}
	return c, nil
}

func noManifest(fsys FS, dir string, c *contents) error {
	if discardInterrupted(fsys, dir) {
		return fmt.Errorf("%w: %s, first segment %s; a discard was interrupted: discard it again to finish, or put what is in %s back",
			ErrNoManifest, dir, block.SegmentName(c.ids[0]), filepath.Join(dir, discardingName))
	}
	return fmt.Errorf("%w: %s, first segment %s; put %s back, or get out what is intact with \"badgerspill salvage\"",
		ErrNoManifest, dir, block.SegmentName(c.ids[0]), filepath.Join(dir, manifestName))
}

// list returns what the directory holds by the names of its files.
func (d *directory) list() (*contents, error) {
	c := new(contents)
	entries, err := d.fs.ReadDir(d.o.Dir)
	if err != nil && !(d.o.ReadOnly && errors.Is(err, fs.ErrNotExist)) {
		return nil, fmt.Errorf("spill %s: %w", d.o.Dir, err)
	}
	for _, e := range entries {
		if e.IsDir() && (e.Name() == rebuildingName || e.Name() == rebuiltName) {
			c.salvages = append(c.salvages, e.Name())
		}
		if id, ok := block.ParseSegmentName(e.Name()); ok {
			c.ids = append(c.ids, id)
		}
		if id, ok := index.ParseName(e.Name()); ok {
			c.indexes = append(c.indexes, id)
		}
		if stem, ok := strings.CutSuffix(e.Name(), index.TempSuffix); ok {
			_, ok = block.ParseSegmentName(stem + block.SegmentSuffix)
			if ok {
				c.temp = append(c.temp, e.Name())
			}
		}
		if e.Name() == manifestTemp || e.Name() == placeTemp {
			c.temp = append(c.temp, e.Name())
		}
	}
	slices.Sort(c.ids)
	slices.Sort(c.indexes)
	return c, nil
}

// open recovers what the directory holds: it decides, carries that out unless it is read-only, and
// makes a Log of what is live.
func open(ctx context.Context, d directory, lock io.Closer) (_ *Log, err error) {
	c, err := d.inspect()
	if err != nil {
		return nil, err
	}
	r := &recovery{directory: d, contents: c, ctx: ctx, newestFound: c.newest}
	if r.fresh = c.manifest == nil; r.fresh {
		c.newest = nil // of a spill that was here before
		c.manifest = &manifest{databaseID: d.o.DatabaseID, next: 1, firstLive: 1, clean: true}
	}
	var kept []*foundSegment
	defer func() { r.closeUnused(kept) }()
	if err := r.decide(); err != nil {
		return nil, err
	}
	r.progress.Bytes = r.progress.TotalBytes
	if err := r.read(0); err != nil {
		return nil, err
	}
	m := c.manifest
	r.adopts = m.databaseID != d.o.DatabaseID
	if r.adopts && (len(r.live) > 0 || d.o.Existing) {
		return nil, r.foreign()
	}
	m.databaseID = d.o.DatabaseID
	var newest newestWriter
	if !d.o.ReadOnly {
		vfs.Sign(lock) // nothing is left to be decided: before, Open changes nothing
		if newest, err = d.openNewest(r.fresh, r.newestFound); err == nil {
			err = r.carryOut()
		}
		if err != nil {
			return nil, errors.Join(err, newest.close())
		}
	}
	kept = r.live
	l := newLog(d, lock)
	l.w.newest = newest
	l.take(r)
	if !d.o.ReadOnly {
		l.makeSpare()
		l.startBackground()
	}
	if len(kept) > 0 {
		l.wakeBackground() // to make the indexes that are missing
	}
	l.files.serving.Store(true)
	for _, e := range r.events {
		l.o.OnEvent(e)
	}
	return l, nil
}

// take makes what was recovered that of a Log which nobody else knows yet.
func (l *Log) take(r *recovery) {
	m := r.contents.manifest
	last := max(m.replayed, r.lastSeq)
	l.replayed.Store(m.replayed)
	l.lastSeq.Store(last)
	l.queue.mu.lastSeq = last
	l.prep.next = r.nextNumber()
	l.truncated, l.cleanClose = r.droppedBytes, m.clean && r.cleanEnd()
	live := make([]*segment, 0, len(r.live))
	for _, f := range r.live {
		s := f.segment(l.o.Now())
		live = append(live, s)
		x := f.index
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
