package spillfile

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

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
	l := newLog(o)
	l.sizes.Store(newSizes(o.SegmentSize, o.IndexArena))
	l.bg = newBackground()
	if o.Deferred {
		l.prep.next, l.cleanClose, l.w.deferred = 1, true, true
		return l, nil
	}
	if !o.ReadOnly {
		if err := l.fs.MkdirAll(o.Dir, 0o700); err != nil {
			return nil, fmt.Errorf("spill %s: %w", o.Dir, err)
		}
	}
	// Before the lock too: not even a lock file goes into a directory that is not a spill.
	if _, err := l.inspect(); err != nil {
		return nil, o.explained(err)
	}
	lock, err := l.fs.Lock(filepath.Join(o.Dir, lockName), o.ReadOnly)
	switch {
	case o.ReadOnly && errors.Is(err, fs.ErrNotExist): // nobody ever wrote here, or it is a copy
	case err != nil:
		return nil, lockError(o.Dir, err)
	default:
		l.lock = lock
	}
	if err := l.open(ctx); err != nil {
		err = errors.Join(o.explained(err), l.closeNewest())
		if l.lock != nil {
			err = errors.Join(err, l.lock.Close())
		}
		return nil, err
	}
	return l, nil
}

// newLog returns a Log of checked options of which nothing is read yet.
func newLog(o Options) *Log {
	files := newOpenFiles(o.FS, o.OpenFiles)
	return &Log{o: o, fs: sparingFS{o.FS, files}, files: files, cache: newBlockCache(o.CacheSize)}
}

// lockError says what to do about a lock that was not taken.
func lockError(dir string, err error) error {
	if errors.Is(err, ErrLocked) {
		return fmt.Errorf("spill %s: %w; close the other process, or give this one another directory", dir, err)
	}
	return fmt.Errorf("spill %s: %w; the directory and LOCK must be writable by this process, or readable if it opens read-only", dir, err)
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

func (l *Log) inspect() (*contents, error) {
	c, err := l.list()
	if err != nil {
		return nil, err
	}
	if c.newest, err = readNewest(l.fs, l.o.Dir); err != nil {
		return nil, err
	}
	m, err := readManifest(l.fs, l.o.Dir)
	switch {
	case err == nil:
		c.manifest = m
	case !errors.Is(err, fs.ErrNotExist):
		return nil, err
	case len(c.ids) > 0:
		return nil, noManifest(l.fs, l.o.Dir, c)
	}
	return c, nil
}

func noManifest(fsys FS, dir string, c *contents) error {
	if discardInterrupted(fsys, dir) {
		return fmt.Errorf("%w: %s, first segment %s; a discard was interrupted: discard it again to finish, or put what is in %s back",
			ErrNoManifest, dir, segmentName(c.ids[0]), filepath.Join(dir, discardingName))
	}
	return fmt.Errorf("%w: %s, first segment %s; put %s back, or get out what is intact with \"badgerspill salvage\"",
		ErrNoManifest, dir, segmentName(c.ids[0]), filepath.Join(dir, manifestName))
}

// list returns what the directory holds by the names of its files.
func (l *Log) list() (*contents, error) {
	c := new(contents)
	entries, err := l.fs.ReadDir(l.o.Dir)
	if err != nil && !(l.o.ReadOnly && errors.Is(err, fs.ErrNotExist)) {
		return nil, fmt.Errorf("spill %s: %w", l.o.Dir, err)
	}
	for _, e := range entries {
		if e.IsDir() && (e.Name() == rebuildingName || e.Name() == rebuiltName) {
			c.salvages = append(c.salvages, e.Name())
		}
		if id, ok := parseSegmentName(e.Name()); ok {
			c.ids = append(c.ids, id)
		}
		if id, ok := parseIndexName(e.Name()); ok {
			c.indexes = append(c.indexes, id)
		}
		if stem, ok := strings.CutSuffix(e.Name(), indexTempSuffix); ok {
			_, ok = parseSegmentName(stem + segmentSuffix)
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

func (l *Log) open(ctx context.Context) error {
	c, err := l.inspect()
	if err != nil {
		return err
	}
	fresh, newest := c.manifest == nil, c.newest
	if fresh {
		c.newest = nil // of a spill that was here before
		c.manifest = &manifest{databaseID: l.o.DatabaseID, next: 1, firstLive: 1, clean: true}
	}
	r := &recovery{l: l, contents: c, ctx: ctx}
	var kept []*segment
	defer func() { r.closeUnused(kept) }()
	if err := r.decide(); err != nil {
		return err
	}
	r.progress.Bytes = r.progress.TotalBytes
	if err := r.read(0); err != nil {
		return err
	}
	m := c.manifest
	adopt := m.databaseID != l.o.DatabaseID
	if adopt && (len(r.live) > 0 || l.o.Existing) {
		return r.foreign()
	}
	m.databaseID = l.o.DatabaseID

	l.replayed.Store(m.replayed)
	last := max(m.replayed, r.lastSeq)
	l.lastSeq.Store(last)
	l.queue.mu.lastSeq = last
	l.prep.next = max(m.next, 1)
	if n := len(c.ids); n > 0 {
		l.prep.next = max(l.prep.next, c.ids[n-1]+1)
	}
	claimed := r.claim().segment
	l.prep.next = max(l.prep.next, claimed+1)
	l.truncated = r.droppedBytes
	l.cleanClose = m.clean && r.cleanEnd()

	if !l.o.ReadOnly {
		vfs.Sign(l.lock) // nothing is left to be decided: before, Open changes nothing
		if err := l.openNewest(fresh, newest); err != nil {
			return err
		}
		last := uint64(0)
		if n := len(r.live); n > 0 {
			last = r.live[n-1].id()
		}
		// the numbers of what is dropped are not used again, and nobody counts on it
		if len(r.events) > 0 || claimed > last {
			m.next, m.newest = l.prep.next, last
			if err := m.write(l.fs, l.o.Dir); err != nil {
				return err
			}
			r.temp = slices.DeleteFunc(r.temp, func(name string) bool { return name == manifestTemp })
		}
		if err := r.apply(); err != nil {
			return err
		}
		// This spill goes on. What a Salvage has made of an earlier state must not be put in its
		// place any more.
		for _, name := range c.salvages {
			if err := clearDir(l.fs, filepath.Join(l.o.Dir, name)); err != nil {
				return fmt.Errorf("spill %s: what an interrupted salvage has left: %w", l.o.Dir, err)
			}
		}
		if fresh {
			// The name of Dir itself must be durable before anything in it is acknowledged.
			if err := l.fs.SyncDir(filepath.Dir(l.o.Dir)); err != nil {
				return fmt.Errorf("spill %s: %w", l.o.Dir, err)
			}
		}
		if fresh || adopt {
			if err := m.write(l.fs, l.o.Dir); err != nil {
				return err
			}
		}
		if len(r.live) > 0 {
			tail := r.live[len(r.live)-1]
			l.setMarkLocked(Position{tail.id(), tail.end.Load()})
		}
		l.makeSpare()
		l.startBackground()
	}
	for _, s := range r.live {
		l.w.direct = max(l.w.direct, s.header.directThrough)
		l.disk.Add(s.size.Load() + s.idx.disk)
	}
	l.w.mu.Lock()
	l.w.live = slices.Clone(r.live)
	l.publishLocked()
	l.w.mu.Unlock()
	kept = r.live
	if len(kept) > 0 {
		l.wakeBackground() // to make the indexes that are missing
	}
	l.files.serving.Store(true)
	for _, e := range r.events {
		l.o.OnEvent(e)
	}
	return nil
}
