package spillfile

import (
	"errors"
	"io"
	"sync"
	"sync/atomic"

	"github.com/badgerspill/badgerspill/spillfile/internal/block"
	"github.com/badgerspill/badgerspill/spillfile/internal/filepool"
	"github.com/badgerspill/badgerspill/spillfile/internal/recovery"
)

// Log is a spill: an ordered set of segments. All methods are safe for concurrent use.
//
// Locks, in the order in which they are taken: manifest.mu, indexing, segment.syncing or
// segment.idx.healing, writer.mu, then queue.mu, prep.mu, dead.mu or segment.idx.mu, then
// events.mu or quiet.mu. No callback but Logf runs under any of them.
type Log struct {
	o     Options
	dir   *recovery.Directory
	fs    FS // of dir
	files *filepool.Pool
	cache *block.Cache
	lock  io.Closer // nil if read-only without a lock file

	current atomic.Pointer[View] // nil: nothing live
	// batches enqueued and not answered; published views are older than its zero
	pending  atomic.Int64
	quiet    quiet         // who waits until that is 0
	lastSeq  atomic.Uint64 // last acknowledged
	replayed atomic.Uint64
	disk     atomic.Int64
	expected atomic.Int64             // bytes of index files that are still to be made, at most
	memory   atomic.Int64             // of indexes, the cache aside
	synced   atomic.Pointer[Position] // copy of w.mark

	queue    queue
	w        writer
	manifest spareManifest
	place    struct {
		mu      sync.Mutex // one change of the file at a time; the last of all locks
		lastSeq uint64     // of the place in the file, as far as it is known; 0: none
	}
	prep     preparer
	dead     graveyard
	events   eventQueue
	bg       background
	relief   atomic.Bool // somebody asks for memory
	sizes    atomic.Pointer[sizes]
	resized  atomic.Bool // and the background has not seen to it yet
	indexing sync.Mutex  // one indexSealed at a time

	truncated  int64 // set by Open
	cleanClose bool
}

// State describes the log. It does no I/O, and waits for none.
func (l *Log) State() State {
	st := State{
		Queued:          l.pending.Load(),
		LastSeq:         l.lastSeq.Load(),
		ReplayedThrough: l.replayed.Load(),
		DiskBytes:       l.disk.Load(),
		TruncatedBytes:  l.truncated,
		CleanClose:      l.cleanClose,
		IndexBytes:      l.indexBytes(),
	}
	if mark := l.synced.Load(); mark != nil {
		st.Synced = *mark
	}
	st.HeldBytes, st.HeldSince = l.held()
	v := l.Acquire()
	if v == nil {
		return st
	}
	defer v.Release()
	st.LiveSegments = len(v.segs)
	st.OldestCreated, st.OldestAhead = v.segs[0].born, v.segs[0].ahead
	for _, s := range v.segs {
		st.LiveBytes += s.end.Load() - block.SegmentHeaderSize
		st.DirectThrough = max(st.DirectThrough, s.header.DirectThrough)
		last, first := s.lastSeq.Load(), s.firstLive(st.ReplayedThrough)
		if last < first {
			continue
		}
		st.LiveBatches += int64(last - first + 1)
		st.NewestPath, st.NewestEnd = s.path, s.end.Load()
		if lowest := s.minTs.Load(); st.OldestTs == 0 || lowest < st.OldestTs {
			st.OldestTs = lowest
		}
		st.NewestTs = max(st.NewestTs, s.maxTs.Load())
		st.MaxVersion = max(st.MaxVersion, s.maxVersion.Load())
	}
	return st
}

// Behind returns how many bytes of blocks lie behind a position, as far as it is in live segments.
// It does not block.
func (l *Log) Behind(at Position) (bytes int64) {
	v := l.Acquire()
	if v == nil {
		return 0
	}
	defer v.Release()
	for _, s := range v.segs {
		switch {
		case s.id() > at.Segment:
			bytes += s.end.Load() - block.SegmentHeaderSize
		case s.id() == at.Segment:
			bytes += max(0, s.end.Load()-max(at.Offset, block.SegmentHeaderSize))
		}
	}
	return bytes
}

// Usage returns the bytes that all files take on disk, those too that are dropped and still held by
// a View, with what the index files that are still to be made will take at most. It also returns
// the memory that the indexes of live segments and the cache take. It does no I/O, and waits for
// none.
func (l *Log) Usage() (disk, memory int64) {
	expected := l.expected.Load() // first: an index goes from here to disk
	return l.disk.Load() + expected, l.indexBytes()
}

func (l *Log) indexBytes() int64 { return l.memory.Load() + l.cache.Memory() }

// Empty says that nothing is live and nothing is enqueued. Once it is true it stays so until the
// next Enqueue.
func (l *Log) Empty() bool {
	// This order: whoever answers the last batch publishes its segment first.
	return l.pending.Load() == 0 && l.current.Load() == nil
}

// unref gives up a reference to a segment, and with the last one closes its file.
func (l *Log) unref(s *segment) {
	if s.refs.Add(-1) != 0 {
		return
	}
	if err := errors.Join(s.file.Close(), s.closeIndex()); err != nil {
		l.o.Logf("spill segment %s was closed with an error, what is synced is there: %v", s.path, err)
	}
	l.departed(s)
}

// departed is called once when the file is closed and once when its name is gone.
func (l *Log) departed(s *segment) {
	if s.gone.Add(1) == 2 {
		s.idx.mu.Lock()
		l.disk.Add(-s.size.Load() - s.idx.disk)
		s.idx.mu.Unlock()
		if s.lastSeq.Load() > 0 { // else it was prepared, and nobody was told of it
			l.note(Event{Kind: SegmentRemoved, Segment: s.id(), File: s.path, Bytes: s.size.Load()})
		}
	}
	l.wakeBackground() // it sends the event; and some systems remove a file only once it is closed
}
