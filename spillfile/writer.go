package spillfile

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/dgraph-io/badger/v4/y"
)

// writer is the leader's side of the log.
type writer struct {
	// Constant, and the leader's own.
	groupBytes, groupIndex int64
	group                  []*Batch

	mu sync.Mutex // held while a group is written, and to change the set of segments

	// Guarded by mu.
	live     []*segment // segments with acknowledged batches, oldest first; the active one is the last
	active   *segment   // nil: the next batch begins a new segment
	rotate   bool       // the same, asked for while active is set
	direct   uint64     // DirectThrough of segments to come
	unsynced []*segment // sealed, not durable up to their end, oldest first
	mark     Position   // everything before is durable
	asked    bool       // a successor of active is being prepared
	closed   bool
	events   []Event // to be sent after unlock
	buf      []byte  // group buffer
	key, loc []byte  // scratch for the index
	crc      [16]byte
	seal     sealer
}

// unlockWriter releases writer.mu and sends the events that were gathered under it. No other lock may be held.
func (l *Log) unlockWriter() {
	events := l.w.events
	l.w.events = nil
	l.w.mu.Unlock()
	for _, e := range events {
		l.o.OnEvent(e)
	}
}

// sendEvents is for those who held another lock besides writer.mu: they defer it before they take the first.
func (l *Log) sendEvents() {
	l.w.mu.Lock()
	l.unlockWriter()
}

func (l *Log) noteLocked(kind EventKind, s *segment, bytes int64, err error) {
	l.w.events = append(l.w.events, Event{Kind: kind, Segment: s.id(), File: s.path, Bytes: bytes, Err: err})
}

// write puts the group on disk and into the index. All of it succeeds or fails.
func (l *Log) write(group []*Batch) error {
	l.w.mu.Lock()
	err := l.writeLocked(group)
	if err != nil {
		// The sequences of the group are never written, and within a segment they have no gaps.
		l.w.rotate = true
	}
	l.pending.Add(-int64(len(group)))
	l.unlockWriter()
	return err
}

func (l *Log) writeLocked(group []*Batch) error {
	w := &l.w
	if group[0].rotate {
		w.rotate = true
		w.direct = max(w.direct, group[0].direct)
	}
	if err := group[0].err; err != nil {
		return err
	}
	if err := l.usableLocked(); err != nil {
		return err
	}
	if len(w.live) == 0 {
		// Nobody can make the log non-empty meanwhile: only the leader writes.
		l.unlockWriter()
		err := l.o.OnFirst()
		w.mu.Lock()
		if err == nil {
			err = l.usableLocked()
		}
		if err != nil {
			return err
		}
	}
	var bytes, indexed int64
	for _, b := range group {
		bytes += b.Size()
		indexed += b.IndexSize()
	}
	if indexed > arenaLimit {
		return fmt.Errorf("%w: the keys of a batch take %d bytes in the index, the limit is %d", ErrTooLarge, indexed, int64(arenaLimit))
	}
	if s := w.active; s != nil && (w.rotate || s.end.Load()+bytes > l.o.SegmentSize || s.index.room() < indexed) {
		l.sealLocked(s)
	}
	if w.active == nil {
		if err := l.activateLocked(group[0].seq, indexed); err != nil {
			return err
		}
	}
	s := w.active
	at := s.end.Load()
	out := l.stampLocked(s, at, group)
	if err := l.appendLocked(s, out, at); err != nil {
		l.poisonLocked(s, err)
		return err
	}
	l.indexLocked(s, group)
	l.acknowledgeLocked(s, group, at+int64(len(out)))
	return nil
}

func (l *Log) usableLocked() error {
	switch {
	case l.w.closed:
		return ErrClosed
	case l.o.ReadOnly:
		return ErrReadOnly
	}
	return nil
}

// stampLocked completes the blocks for their place at offset at of s and returns their bytes: the batch's own
// buffer if that is possible, or else the group buffer.
func (l *Log) stampLocked(s *segment, at int64, group []*Batch) []byte {
	w := &l.w
	if len(group) == 1 && s.aead == nil {
		l.stampBatchLocked(s, at, group[0])
		return group[0].out
	}
	if cap(w.buf) > 2*maxGroup {
		w.buf = nil
	}
	buf := w.buf[:0]
	for _, b := range group {
		l.stampBatchLocked(s, at+int64(len(buf)), b)
		if s.aead == nil {
			buf = append(buf, b.out...)
			continue
		}
		for i := range b.blocks {
			blk := &b.blocks[i]
			header := b.out[blk.out:][:blockHeaderSize]
			plain := b.out[blk.out+blockHeaderSize:][:blk.stored]
			nonce, aad := w.seal.prepare(header, Position{s.id(), blk.offset})
			start := len(buf)
			buf = append(buf, header...)
			buf = s.aead.Seal(buf, nonce, plain, aad)
			payload := buf[start+blockHeaderSize:]
			crc := crcTail(crc32.Checksum(payload, castagnoli), header, w.crc[:], Position{s.id(), blk.offset})
			le.PutUint32(buf[start:], crc)
		}
	}
	w.buf = buf
	return buf
}

// stampBatchLocked fills in the headers of b. Under encryption the CRC is left out: it covers what is stored.
func (l *Log) stampBatchLocked(s *segment, at int64, b *Batch) {
	w := &l.w
	h := blockHeader{ts: b.ts, seq: b.seq, mark: w.mark}
	for i := range b.blocks {
		blk := &b.blocks[i]
		blk.offset, blk.storedLen = at, blk.stored
		if s.aead != nil {
			blk.storedLen += tagSize
		}
		h.stored, h.raw, h.count, h.number, h.flags = blk.storedLen, blk.raw, blk.count, uint32(i), 0
		if blk.last {
			h.flags = flagLast
		}
		header := b.out[blk.out:][:blockHeaderSize]
		h.crc = 0
		h.marshal(header)
		if s.aead == nil {
			le.PutUint32(header, crcTail(blk.crc, header, w.crc[:], Position{s.id(), at}))
		}
		at += blockHeaderSize + int64(blk.storedLen)
	}
}

func (l *Log) appendLocked(s *segment, out []byte, at int64) error {
	n, err := s.file.WriteAt(out, at)
	if err == nil && n < len(out) {
		err = io.ErrShortWrite
	}
	if err != nil {
		return fmt.Errorf("spill segment %s: write of %d bytes at %d: %w", s.path, len(out), at, err)
	}
	if grown := at + int64(len(out)) - s.size.Load(); grown > 0 {
		s.size.Add(grown)
		l.disk.Add(grown)
	}
	if !l.o.SyncWrites {
		return nil
	}
	if err := s.file.Sync(); err != nil {
		return fmt.Errorf("spill segment %s: sync: %w", s.path, err)
	}
	s.synced = at + int64(len(out))
	return nil
}

func (l *Log) indexLocked(s *segment, group []*Batch) {
	w := &l.w
	loc := location{segment: s.id()}
	for _, b := range group {
		high := uint64(0)
		for i := range b.blocks {
			blk := &b.blocks[i]
			loc.block, loc.stored = blk.offset, blk.storedLen
			for j := range b.ents[blk.firstEnt : blk.firstEnt+int(blk.count)] {
				e := &b.ents[blk.firstEnt+j]
				version := e.version
				if version == 0 {
					version = b.ts
				}
				high = max(high, version)
				loc.offset, loc.keyLen, loc.valueLen = e.offset, uint32(e.keyLen), e.valueLen
				w.loc = appendLocation(w.loc[:0], loc)
				w.key = append(w.key[:0], b.raw[e.key:e.key+int(e.keyLen)]...)
				w.key = binary.BigEndian.AppendUint64(w.key, ^version)
				s.index.put(w.key, y.ValueStruct{Meta: e.meta, UserMeta: e.userMeta, ExpiresAt: e.expiresAt, Value: w.loc})
			}
		}
		s.note(b.ts, high)
	}
}

// acknowledgeLocked makes the group, which is indexed, part of the log.
func (l *Log) acknowledgeLocked(s *segment, group []*Batch, end int64) {
	w := &l.w
	last := group[len(group)-1].seq
	first := s.lastSeq.Load() == 0
	s.end.Store(end)
	s.lastSeq.Store(last)
	l.lastSeq.Store(last)
	if first {
		w.live = append(w.live, s)
		l.publishLocked()
		l.noteLocked(SegmentCreated, s, end, nil)
	}
	if l.o.SyncWrites {
		l.advanceLocked()
	}
	if !w.asked && (end > l.o.SegmentSize/2 || s.index.room() < s.index.size()) {
		w.asked = true
		l.wakeBackground()
	}
}

// advanceLocked moves the synced mark as far as segments are durable without a gap.
func (l *Log) advanceLocked() {
	w := &l.w
	for _, s := range slices.Backward(w.live) {
		if s.synced > 0 && (len(w.unsynced) == 0 || s.id() <= w.unsynced[0].id()) {
			w.mark = Position{s.id(), s.synced}
			return
		}
	}
}

// activateLocked opens the next segment for a group that needs so much of the index.
func (l *Log) activateLocked(firstSeq uint64, indexed int64) error {
	w := &l.w
	s, err := l.takePrepared()
	if err != nil {
		return err
	}
	if s.index == nil || s.index.room() < indexed {
		s.index = newMemIndex(arenaSize(l.o.SegmentSize), indexed)
	}
	h := &s.header
	h.databaseID, h.created = l.o.DatabaseID, time.Now()
	h.prevLastSeq, h.firstSeq, h.directThrough = l.lastSeq.Load(), firstSeq, w.direct
	if n := len(w.live); n > 0 {
		h.prev, h.prevEnd = w.live[n-1].id(), w.live[n-1].end.Load()
	}
	if len(l.o.EncryptionKey) > 0 {
		if s.aead, err = h.wrapDataKey(l.o.EncryptionKey); err != nil {
			l.abandon(s)
			return err
		}
	}
	var b [segmentHeaderSize]byte
	h.marshal(b[:])
	n, err := s.file.WriteAt(b[:], 0)
	if err == nil && n < len(b) {
		err = io.ErrShortWrite
	}
	if err != nil {
		l.abandon(s)
		err = fmt.Errorf("spill segment %s: write of the header: %w", s.path, err)
		l.noteLocked(SegmentPoisoned, s, 0, err)
		return err
	}
	s.size.Add(segmentHeaderSize)
	l.disk.Add(segmentHeaderSize)
	s.end.Store(segmentHeaderSize)
	w.active, w.rotate, w.asked = s, false, false
	return nil
}

// sealLocked ends an active segment. The sync that makes it durable happens in the background.
func (l *Log) sealLocked(s *segment) {
	w := &l.w
	s.sealed = true
	w.active = nil
	if s.synced < s.end.Load() {
		w.unsynced = append(w.unsynced, s)
		l.wakeBackground()
	}
	l.noteLocked(SegmentSealed, s, s.end.Load(), nil)
}

// poisonLocked gives up a segment after a failed write or sync. What was acknowledged before stays; what follows it
// in the file is cut off here if possible, and in any case by the PrevEnd of the next segment.
func (l *Log) poisonLocked(s *segment, err error) {
	l.noteLocked(SegmentPoisoned, s, s.end.Load(), err)
	if s.lastSeq.Load() == 0 {
		l.w.active = nil
		if terr := s.file.Truncate(0); terr != nil {
			l.o.Logf("spill segment %s: truncate after a failure: %v", s.path, terr)
		}
		l.abandon(s)
		return
	}
	if terr := s.file.Truncate(s.end.Load()); terr != nil {
		l.o.Logf("spill segment %s: truncate after a failure: %v", s.path, terr)
	}
	if s == l.w.active {
		l.sealLocked(s)
	}
}

// Seal ends the active segment, if there is one, so that it can be replayed and dropped as a whole. It waits for a
// group that is being written, and returns ErrClosed or ErrReadOnly where nothing can be sealed.
func (l *Log) Seal() error {
	l.w.mu.Lock()
	defer l.unlockWriter()
	if err := l.usableLocked(); err != nil {
		return err
	}
	if s := l.w.active; s != nil {
		l.sealLocked(s)
	}
	return nil
}
