package spillfile

import (
	"fmt"
	"io"
	"time"

	"github.com/badgerspill/badgerspill/spillfile/internal/block"
	"github.com/badgerspill/badgerspill/spillfile/internal/index"
)

// activateLocked opens the next segment for a group that needs so much of the index.
func (l *Log) activateLocked(firstSeq uint64, indexed int64) error {
	w := &l.w
	s, err := l.takePrepared()
	if err != nil {
		return err
	}
	if x := s.index.Load(); x == nil || x.mem.Room() < indexed {
		l.setIndex(s, &segmentIndex{mem: index.NewMemory(l.sizes.Load().arena, indexed)})
	}
	h := &s.header
	h.DatabaseID, h.Created = l.o.DatabaseID, l.o.Now()
	s.born = time.Now()
	h.PrevLastSeq, h.FirstSeq, h.DirectThrough = l.lastSeq.Load(), firstSeq, w.direct
	if n := len(w.live); n > 0 {
		h.Prev, h.PrevEnd = w.live[n-1].id(), w.live[n-1].end.Load()
	}
	if len(l.o.EncryptionKey) > 0 {
		if s.aead, err = h.WrapDataKey(l.o.EncryptionKey); err != nil {
			l.abandon(s)
			return err
		}
	}
	var b [block.SegmentHeaderSize]byte
	h.Marshal(b[:])
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
	s.size.Add(block.SegmentHeaderSize)
	l.disk.Add(block.SegmentHeaderSize)
	s.end.Store(block.SegmentHeaderSize)
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
	} else {
		s.file.Unkeep()
	}
	l.wakeBackground() // to sync it, and to make a file of its index
	l.noteLocked(SegmentSealed, s, s.end.Load(), nil)
}

// poisonLocked gives up a segment after a failed write or sync. What was acknowledged before stays;
// what follows it in the file is cut off here if possible, and in any case by the PrevEnd of the
// next segment.
func (l *Log) poisonLocked(s *segment, err error) {
	l.noteLocked(SegmentPoisoned, s, s.end.Load(), err)
	if s.lastSeq.Load() == 0 {
		l.w.active = nil
		if terr := s.file.Truncate(0); terr != nil {
			l.o.Logf("spill segment %s: what a failed write has left could not be cut off, and is ignored: %v", s.path, terr)
			l.measure(s)
		}
		l.abandon(s)
		return
	}
	if terr := s.file.Truncate(s.end.Load()); terr != nil {
		l.o.Logf("spill segment %s: what a failed write has left could not be cut off, and is ignored: %v", s.path, terr)
		l.measure(s)
	}
	l.sealLocked(s)
}

// measure accounts for what a failed write may have left in the file.
func (l *Log) measure(s *segment) {
	if size, err := s.file.Size(); err == nil {
		if grown := size - s.size.Load(); grown > 0 {
			s.size.Add(grown)
			l.disk.Add(grown)
		}
	}
}

// Relieve asks for memory: the active segment is sealed in the background, and its index goes to a
// file, if that is worth a segment. It never blocks.
func (l *Log) Relieve() {
	l.relief.Store(true)
	l.wakeBackground()
}

// relieve is Relieve's work in the background.
func (l *Log) relieve() {
	l.w.mu.Lock()
	defer l.unlockWriter()
	if s := l.w.active; s != nil && l.usableLocked() == nil && s.mem().Size() >= l.sizes.Load().arena/reliefShare {
		l.sealLocked(s)
	}
}

// reliefShare: an index of less than that share of its arena is not worth a segment of its own.
const reliefShare = 8

// Seal ends the active segment, if there is one: it can be replayed and dropped as a whole then,
// and in the background its index goes from memory to a file. It waits for a group that is being
// written, and returns ErrClosed or ErrReadOnly where nothing can be sealed.
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
