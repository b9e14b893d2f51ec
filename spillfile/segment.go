package spillfile

import (
	"crypto/cipher"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
)

// segment is one file of the log.
//
//	prepared ──first batch──► active ──full, rotate, failure──► sealed ──all replayed──► dead ──last view gone──► closed
//	    └──────never used, or its first batch failed──────────────────────────────────────┘
//
// Only an active segment is written to. A failed write or sync poisons it: it is sealed at once.
type segment struct {
	header segmentHeader
	file   File
	path   string
	aead   cipher.AEAD // nil: plaintext
	index  index

	// What is acknowledged. Stored by the leader after the index has it, so that a reader who sees an offset or
	// a sequence also finds the entries.
	end        atomic.Int64
	lastSeq    atomic.Uint64 // 0: no batch yet
	minTs      atomic.Uint64
	maxTs      atomic.Uint64
	maxVersion atomic.Uint64
	mixed      atomic.Bool // some entry has a version of its own

	size atomic.Int64 // of the file, counted in Log.disk
	refs atomic.Int64 // one of the log while live, one of each view, one of each sync under way
	gone atomic.Int32 // 1 unlinked or closed, 2 both: the disk has its bytes back

	syncing sync.Mutex // one sync at a time; before writer.mu
	syncErr error      // guarded by syncing; once set, the file is never synced again

	// Guarded by writer.mu.
	synced int64 // everything before is durable
	sealed bool
}

const segmentSuffix = ".seg"

func segmentName(id uint64) string { return fmt.Sprintf("%010d%s", id, segmentSuffix) }

func parseSegmentName(name string) (id uint64, ok bool) {
	digits, ok := strings.CutSuffix(name, segmentSuffix)
	if !ok {
		return 0, false
	}
	id, err := strconv.ParseUint(digits, 10, 64)
	return id, err == nil && id > 0 && segmentName(id) == name
}

func (s *segment) id() uint64 { return s.header.id }

func (s *segment) unordered() bool { return s.mixed.Load() || s.header.directThrough == Unordered }

// firstLive returns the first sequence in the segment that is not replayed.
func (s *segment) firstLive(replayed uint64) uint64 { return max(s.header.firstSeq, replayed+1) }

// note extends the ranges of timestamps by a batch. Called by one goroutine at a time.
func (s *segment) note(ts, maxVersion uint64) {
	if s.minTs.Load() == 0 || ts < s.minTs.Load() {
		s.minTs.Store(ts)
	}
	s.maxTs.Store(max(s.maxTs.Load(), ts))
	s.maxVersion.Store(max(s.maxVersion.Load(), maxVersion))
}

// value reads the entry at r and appends its value to dst.
func (s *segment) value(r *Ref, dst []byte) ([]byte, error) {
	d := decoders.Get().(*decoder)
	defer d.free()
	n := blockHeaderSize + int(r.at.stored)
	if cap(d.stored) < n {
		d.stored = make([]byte, n)
	}
	whole := d.stored[:n]
	at := Position{s.id(), r.at.block}
	if got, err := s.file.ReadAt(whole, at.Offset); got < n {
		if err == nil || err == io.EOF {
			return dst, corrupt(s.path, at.Offset+int64(got), "file ends where %d bytes should follow", n-got)
		}
		return dst, fmt.Errorf("spill segment %s: read of block at %d: %w", s.path, at.Offset, err)
	}
	header, payload := whole[:blockHeaderSize], whole[blockHeaderSize:]
	var h blockHeader
	h.unmarshal(header)
	switch {
	case h.stored != r.at.stored:
		return dst, corrupt(s.path, at.Offset, "block has %d bytes, the index says %d", h.stored, r.at.stored)
	case !d.intact(h.crc, header, payload, at):
		return dst, corrupt(s.path, at.Offset, "block checksum does not match its %d bytes", n)
	}
	if err := h.plausible(header, at, int64(len(payload)), s.aead != nil); err != nil {
		return dst, corrupt(s.path, at.Offset, "block header: %v", err)
	}
	raw, err := d.decode(s.path, s.aead, &h, header, payload, at)
	if err != nil {
		return dst, err
	}
	var e Entry
	if int64(r.at.offset) > int64(len(raw)) {
		return dst, corrupt(s.path, at.Offset, "block has %d raw bytes, the index says %d", len(raw), r.at.offset)
	}
	if _, err := parseEntry(raw[r.at.offset:], &e); err != nil {
		return dst, corrupt(s.path, at.Offset, "entry at %d: %v", r.at.offset, err)
	}
	if e.Version == 0 {
		e.Version = h.ts
	}
	if len(e.Key) != int(r.at.keyLen) || len(e.Value) != int(r.at.valueLen) || e.Version != r.Version {
		return dst, corrupt(s.path, at.Offset, "entry at %d has key, value and version %d, %d, %d, the index says %d, %d, %d",
			r.at.offset, len(e.Key), len(e.Value), e.Version, r.at.keyLen, r.at.valueLen, r.Version)
	}
	return append(dst, e.Value...), nil
}
