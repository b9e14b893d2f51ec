package spillfile

import (
	"bytes"
	"crypto/cipher"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/badgerspill/badgerspill/spillfile/internal/block"
	"github.com/badgerspill/badgerspill/spillfile/internal/filepool"
	"github.com/badgerspill/badgerspill/spillfile/internal/index"
	"github.com/badgerspill/badgerspill/spillfile/internal/recovery"
)

// segment is one file of the log.
//
//	prepared ──first batch──► active ──full, rotate, failure──► sealed
//	sealed ──all replayed──► dead ──last view gone──► closed
//	prepared ──never used, or its first batch failed──► dead
//
// Only an active segment is written to. A failed write or sync poisons it: it is sealed at once.
type segment struct {
	header block.SegmentHeader
	file   *filepool.File
	path   string
	aead   cipher.AEAD // nil: plaintext
	index  atomic.Pointer[segmentIndex]
	idx    indexState

	// What is acknowledged. Stored by the leader after the index has it, so that a reader who sees
	// an offset or a sequence also finds the entries.
	end        atomic.Int64
	lastSeq    atomic.Uint64 // 0: no batch yet
	minTs      atomic.Uint64
	maxTs      atomic.Uint64
	maxVersion atomic.Uint64
	mixed      atomic.Bool // some entry has a version of its own

	born time.Time // when it was begun, by the clock that does not jump
	// Open found that it was begun in the future: a clock was ahead then, or is behind now
	ahead bool

	size     atomic.Int64 // of the file, counted in Log.disk
	refs     atomic.Int64 // one of the log while live, one of each view, one of each sync under way
	verified atomic.Int64 // when VerifyOpen has read all of it, after logStart; 0: never
	gone     atomic.Int32 // 1 unlinked or closed, 2 both: the disk has its bytes back

	syncing sync.Mutex // one sync at a time; before writer.mu
	syncErr error      // guarded by syncing; once set, the file is never synced again

	// Guarded by writer.mu.
	synced int64 // everything before is durable
	sealed bool
	// it is about to be dropped: nobody syncs it, or makes a file of its index, meanwhile
	doomed bool

	// When it was dropped from the log, and what its files took then. Guarded by Log.dead.mu.
	died      time.Time
	diedBytes int64

	unindexable bool // its index stays in memory, whatever happens; guarded by Log.indexing
}

// indexState is what is known of a segment's index beside the index itself.
type indexState struct {
	healing sync.Mutex // held while a damaged index is made again; before mu

	mu       sync.Mutex
	counted  int64 // in Log.memory
	dropped  bool  // nothing of it counts any more
	disk     int64 // size of its file, in Log.disk
	expected int64 // what its file will take at most, in Log.expected; 0 once there is one
	unlinked bool  // the file is removed, or will be: it must not get its name any more
}

func (s *segment) id() uint64 { return s.header.ID }

func (s *segment) unordered() bool { return s.mixed.Load() || s.header.DirectThrough == Unordered }

// newSegment makes a segment of the log of one that recovery has found live. now is the time by the
// wall clock.
func newSegment(f *recovery.Segment, now time.Time) *segment {
	s := &segment{header: f.Header, file: f.File, path: f.Path, aead: f.AEAD, synced: f.Synced, sealed: true}
	s.age(now)
	s.end.Store(f.End)
	s.lastSeq.Store(f.LastSeq)
	s.minTs.Store(f.MinTs)
	s.maxTs.Store(f.MaxTs)
	s.maxVersion.Store(f.MaxVersion)
	s.mixed.Store(f.Mixed)
	s.size.Store(f.Size)
	s.refs.Store(1)
	s.idx.disk = f.IndexSize
	return s
}

// age sets when a segment that Open finds was begun. From there on it grows with the process's own
// clock.
func (s *segment) age(now time.Time) {
	age := now.Sub(s.header.Created)
	s.ahead = age < 0
	s.born = time.Now().Add(-max(0, age))
}

// entries returns how many entries the index has.
func (s *segment) entries() int64 {
	x := s.index.Load()
	if x.file != nil {
		return int64(x.file.Footer.Entries)
	}
	return x.mem.Len()
}

// firstLive returns the first sequence in the segment that is not replayed.
func (s *segment) firstLive(replayed uint64) uint64 { return max(s.header.FirstSeq, replayed+1) }

// note extends the ranges of timestamps by a batch. Called by one goroutine at a time.
func (s *segment) note(ts, maxVersion uint64) {
	if s.minTs.Load() == 0 || ts < s.minTs.Load() {
		s.minTs.Store(ts)
	}
	s.maxTs.Store(max(s.maxTs.Load(), ts))
	s.maxVersion.Store(max(s.maxVersion.Load(), maxVersion))
}

// readIndex makes the index of a sealed segment from the segment. The ranges of timestamps then
// include what is replayed, as the index does.
func (s *segment) readIndex() (*index.Memory, error) {
	rd := new(block.Reader)
	rd.Reset(s.file, s.path, s.id(), s.aead, s.end.Load())
	mem, sc, err := recovery.ReadIndex(rd, s.header.FirstSeq, s.lastSeq.Load())
	if err != nil {
		return nil, err
	}
	s.note(sc.MaxTs, sc.MaxVersion)
	s.note(sc.MinTs, 0) // the last: it may be 0, which note takes for none
	if sc.Mixed {
		s.mixed.Store(true)
	}
	return mem, nil
}

// mem returns the index in memory, which an active segment has.
func (s *segment) mem() *index.Memory { return s.index.Load().mem }

// value reads the entry at r and appends its value to dst.
func (s *segment) value(r *Ref, dst []byte, cache *block.Cache) ([]byte, error) {
	d := block.NewDecoder()
	defer d.Free()
	e, err := s.entry(r, d, cache)
	return append(dst, e.Value...), err
}

// entry reads the entry at r. It lies in d or in the cache, which takes up the block if r says so.
func (s *segment) entry(r *Ref, d *block.Decoder, cache *block.Cache) (e Entry, err error) {
	at := r.at.Block
	raw, ts := cache.Get(block.CacheBlock, s.id(), at)
	if raw == nil {
		if err := block.InOnePiece(s.path, block.HeaderSize+int64(r.at.Stored)); err != nil {
			return e, err
		}
		n := block.HeaderSize + int(r.at.Stored)
		whole := d.Buffer(n)
		if got, err := s.file.ReadAt(whole, at); got < n {
			if err == nil || err == io.EOF {
				return e, block.Corrupt(s.path, at+int64(got), "file ends where %d bytes should follow", n-got)
			}
			return e, fmt.Errorf("spill segment %s: read of block at %d: %w", s.path, at, err)
		}
		if raw, ts, err = d.Open(s.path, s.aead, whole, r.at.Stored, Position{Segment: s.id(), Offset: at}); err != nil {
			return e, err
		}
		if r.fill {
			cache.Put(block.CacheBlock, s.id(), at, bytes.Clone(raw), ts)
		}
	}
	return s.parse(r, raw, ts)
}

// parse returns the entry at r of its raw block, which belongs to a batch with timestamp ts.
func (s *segment) parse(r *Ref, raw []byte, ts uint64) (e Entry, err error) {
	if int64(r.at.Offset) > int64(len(raw)) {
		return e, block.Corrupt(s.path, r.at.Block, "block has %d raw bytes, the index says %d", len(raw), r.at.Offset)
	}
	if _, err := block.ParseEntry(raw[r.at.Offset:], &e); err != nil {
		return e, block.Corrupt(s.path, r.at.Block, "entry at %d: %v", r.at.Offset, err)
	}
	if e.Version == 0 {
		e.Version = ts
	}
	if len(e.Key) != int(r.at.KeyLen) || len(e.Value) != int(r.at.ValueLen) || e.Version != r.Version {
		return e, block.Corrupt(s.path, r.at.Block, "entry at %d has key, value and version %d, %d, %d, the index says %d, %d, %d",
			r.at.Offset, len(e.Key), len(e.Value), e.Version, r.at.KeyLen, r.at.ValueLen, r.Version)
	}
	if e.Meta != r.Meta || e.UserMeta != r.UserMeta || e.ExpiresAt != r.ExpiresAt {
		return e, block.Corrupt(s.path, r.at.Block, "entry at %d has meta %x, %x and expiry %d, the index says %x, %x, %d",
			r.at.Offset, e.Meta, e.UserMeta, e.ExpiresAt, r.Meta, r.UserMeta, r.ExpiresAt)
	}
	return e, nil
}
