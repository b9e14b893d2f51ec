package spillfile

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/badgerspill/badgerspill/spillfile/internal/block"
	"github.com/badgerspill/badgerspill/spillfile/internal/index"
)

// background is the one goroutine of a Log: it syncs sealed segments, makes files of their indexes,
// prepares the next segment and removes dead files, so that none of it is in the way of a commit.
type background struct {
	wake chan struct{} // one token
	stop chan struct{}
	done chan struct{}

	retry *time.Timer // of what failed; the goroutine's own
}

// indexRetry is when an index that could not be written is tried again.
const indexRetry = time.Second

func newBackground() background {
	return background{wake: make(chan struct{}, 1), stop: make(chan struct{}), done: make(chan struct{})}
}

func (l *Log) startBackground() {
	l.bg.retry = time.NewTimer(time.Hour)
	l.bg.retry.Stop()
	go func() {
		defer close(l.bg.done)
		defer l.bg.retry.Stop()
		for {
			select {
			case <-l.bg.stop:
				return
			case <-l.bg.wake:
			case <-l.bg.retry.C:
			}
			l.backgroundWork()
		}
	}()
}

func (l *Log) wakeBackground() {
	select {
	case l.bg.wake <- struct{}{}:
	default:
	}
}

func (l *Log) backgroundWork() {
	l.w.mu.Lock()
	prepare := l.w.asked && !l.w.closed
	idle := len(l.w.live) == 0
	l.w.mu.Unlock()
	switch {
	case idle:
		l.prep.mu.Lock()
		s := l.prep.ready
		held := s != nil && s.index.Load() != nil
		if held {
			l.forgetIndexLocked(s) // an empty log keeps no memory
		}
		l.prep.mu.Unlock()
		l.cache.Clear()
		if held {
			l.o.OnIndexed()
		}
	case prepare:
		l.report(l.prepare())
	}
	if l.resized.Swap(false) {
		l.shrinkArenas()
	}
	if l.relief.Swap(false) {
		l.relieve()
	}
	// Its errors are told by syncSegment.
	_ = l.syncAll(false)
	err := l.indexSealed()
	l.report(err)
	if err != nil { // a full disk, say: the index stays in memory until this works
		l.bg.retry.Reset(indexRetry)
	}
	l.report(l.removeDead())
	l.send()
}

func (l *Log) report(err error) {
	if err != nil {
		l.o.OnEvent(Event{Kind: BackgroundError, Err: err})
	}
}

// Sync makes everything that Commit has returned for durable. It blocks for that. A sync that
// failed is not tried again on the same file, for it may falsely succeed: until the commits in it
// are replayed, Sync fails with ErrPoisoned.
func (l *Log) Sync() error {
	if l.o.ReadOnly {
		return ErrReadOnly
	}
	return l.syncAll(true)
}

// syncAll syncs sealed segments, and the active one if asked for.
func (l *Log) syncAll(active bool) error {
	type target struct {
		s   *segment
		end int64
	}
	var targets []target
	l.w.mu.Lock()
	for _, s := range l.w.unsynced {
		if s.doomed {
			continue
		}
		targets = append(targets, target{s, s.end.Load()})
	}
	if s := l.w.active; active && s != nil && s.synced < s.end.Load() {
		targets = append(targets, target{s, s.end.Load()})
	}
	for _, t := range targets {
		t.s.refs.Add(1) // they are live, so the count is not 0
	}
	l.w.mu.Unlock()
	var errs []error
	for _, t := range targets {
		errs = append(errs, l.syncSegment(t.s, t.end))
		l.unref(t.s)
	}
	if err := l.syncNewest(); err != nil { // the commits are durable nevertheless
		l.report(err)
	}
	return errors.Join(errs...)
}

func (l *Log) syncSegment(s *segment, end int64) error {
	defer l.send()
	s.syncing.Lock()
	defer s.syncing.Unlock()
	if s.syncErr != nil {
		return fmt.Errorf("%w: spill segment %s: %w", ErrPoisoned, s.path, s.syncErr)
	}
	l.w.mu.Lock()
	done := s.synced >= end
	l.w.mu.Unlock()
	if done {
		return nil
	}
	err := s.file.Sync()
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	if err != nil {
		err = fmt.Errorf("spill segment %s: sync: %w", s.path, err)
		s.syncErr = err
		l.noteLocked(SegmentPoisoned, s, s.end.Load(), err)
		if s == l.w.active {
			l.sealLocked(s)
		}
		s.file.Unkeep()
		return err
	}
	s.synced = max(s.synced, end)
	l.w.unsynced = slices.DeleteFunc(l.w.unsynced, func(s *segment) bool { return s.synced >= s.end.Load() })
	if s.sealed && s.synced >= s.end.Load() {
		s.file.Unkeep()
	}
	l.advanceLocked()
	return nil
}

// syncOldestLocked syncs the oldest sealed segment if so many wait for that that their files take
// too many descriptors. It releases writer.mu meanwhile.
func (l *Log) syncOldestLocked() {
	var oldest *segment
	kept := 0
	for _, s := range l.w.unsynced {
		if s.file.Kept() {
			if kept++; oldest == nil {
				oldest = s
			}
		}
	}
	if kept < l.files.MostUnsynced() {
		return
	}
	end := oldest.end.Load()
	oldest.refs.Add(1) // it is live, so the count is not 0
	l.unlockWriter()
	_ = l.syncSegment(oldest, end) // it tells of its error, and lets go of the file
	l.unref(oldest)
	l.w.mu.Lock()
}

// preparer makes segment files ahead of their use.
type preparer struct {
	// held while a file is made: who needs the next segment then waits for this one
	mu    sync.Mutex
	next  uint64   // number of the next file
	ready *segment // an empty file, and an index
}

// prepare makes the next segment unless there is one.
func (l *Log) prepare() error {
	l.prep.mu.Lock()
	defer l.prep.mu.Unlock()
	s := l.prep.ready
	if s == nil {
		var err error
		if s, err = l.createLocked(); err != nil {
			return err
		}
		l.prep.ready = s
	}
	if s.index.Load() == nil {
		l.setIndex(s, &segmentIndex{mem: index.NewMemory(l.sizes.Load().arena, 0)})
	}
	return nil
}

// takePrepared returns the next segment: an empty file, durable in its directory, and an index if
// it was prepared.
func (l *Log) takePrepared() (*segment, error) {
	l.prep.mu.Lock()
	defer l.prep.mu.Unlock()
	if s := l.prep.ready; s != nil {
		l.prep.ready = nil
		return s, nil
	}
	return l.createLocked()
}

// createLocked makes a new file. prep.mu must be held. A number is used once, failed or not.
func (l *Log) createLocked() (*segment, error) {
	s := &segment{}
	s.header.ID = l.prep.next
	l.prep.next++
	s.path = filepath.Join(l.o.Dir, block.SegmentName(s.header.ID))
	f, err := l.files.Create(s.path, 0o600)
	if err != nil {
		return nil, fmt.Errorf("spill segment %s: create: %w", s.path, err)
	}
	s.file = f
	s.refs.Store(1)
	if err = f.Chmod(0o600); err == nil {
		// The name must be durable before anything in the file is acknowledged.
		err = l.fs.SyncDir(l.o.Dir)
	}
	if err != nil {
		l.abandon(s)
		return nil, fmt.Errorf("spill segment %s: create: %w", s.path, err)
	}
	return s, nil
}

// graveyard holds segments whose files are still to be removed.
type graveyard struct {
	removing sync.Mutex // one removeDead at a time; before mu
	mu       sync.Mutex
	segs     []*segment
}

// bury has the file removed by the next removeDead, and gives up the log's reference.
func (l *Log) bury(s *segment) {
	bytes := s.size.Load() + l.discount(s)
	l.dead.mu.Lock()
	s.died, s.diedBytes = time.Now(), bytes
	l.dead.segs = append(l.dead.segs, s)
	l.dead.mu.Unlock()
	l.unref(s)
}

// abandon is bury for a segment in which nothing was acknowledged.
func (l *Log) abandon(s *segment) {
	l.bury(s)
	l.wakeBackground()
}

// held returns the bytes of the files that nothing but readers keeps, and since when the oldest of
// them has been of no other use.
func (l *Log) held() (bytes int64, since time.Time) {
	l.dead.mu.Lock()
	defer l.dead.mu.Unlock()
	for _, s := range l.dead.segs {
		if s.refs.Load() == 0 {
			continue
		}
		if bytes == 0 {
			since = s.died
		}
		bytes += s.diedBytes
	}
	return bytes, since
}

// removeDead removes the files of dropped segments that no reader holds, or waits until somebody
// else has. What fails is tried again by the next call.
func (l *Log) removeDead() error {
	l.dead.removing.Lock()
	defer l.dead.removing.Unlock()
	l.dead.mu.Lock()
	segs := slices.Clone(l.dead.segs)
	l.dead.mu.Unlock()
	var errs []error
	for _, s := range segs {
		// a reader may have to open it again; the last one wakes the background
		held := s.refs.Load() > 0
		stays := held && !l.files.Closed()
		if !stays {
			if err := l.fs.Remove(s.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
				stays = true
				if !held { // some systems remove no open file
					errs = append(errs, fmt.Errorf("spill segment %s: remove: %w", s.path, err))
				}
			}
		}
		if stays {
			continue
		}
		l.dead.mu.Lock()
		l.dead.segs = slices.DeleteFunc(l.dead.segs, func(dead *segment) bool { return dead == s })
		l.dead.mu.Unlock()
		if err := l.removeIndex(s); err != nil {
			errs = append(errs, err) // nothing reads it any more; the next Open removes it
		}
		l.departed(s)
	}
	return errors.Join(append(errs, l.forgetPlace())...)
}

// removeIndex removes the file of a segment's index, and sees to it that none comes after.
func (l *Log) removeIndex(s *segment) error {
	s.idx.mu.Lock()
	defer s.idx.mu.Unlock()
	s.idx.unlinked = true
	if s.idx.disk == 0 {
		return nil
	}
	path := filepath.Join(l.o.Dir, index.Name(s.id()))
	if err := l.fs.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("spill index %s: remove: %w", path, err)
	}
	return nil
}

// Prepare makes the file of the next segment, and its index in memory, unless that is done already:
// the next Commit that begins a segment does not wait for it then. It blocks for the disk. Errors:
// ErrClosed, ErrReadOnly, and those of the file system.
func (l *Log) Prepare() error {
	l.w.mu.Lock()
	err := l.usableLocked()
	l.w.mu.Unlock()
	if err != nil {
		return err
	}
	return l.prepare()
}
