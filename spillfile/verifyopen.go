package spillfile

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/badgerspill/badgerspill/spillfile/internal/block"
	"github.com/badgerspill/badgerspill/spillfile/internal/pace"
)

// errDropped: nobody needs the rest of a segment.
var errDropped = errors.New("segment is replayed")

// VerifyOpen reads every block of every live segment, and of its index, at bytesPerSecond at most
// (0: no bound), and checks it, while the log is in use. It takes no lock that a reader or a commit
// waits for, keeps nothing in the cache, holds one segment at a time, and goes on after damage.
// What is being written is read as far as it is acknowledged; a segment that is replayed meanwhile
// is left out. A damaged index is made again from its segment, as a read would do.
//
// since > 0 leaves out segments that are still written, and those that were read within that time.
//
// It returns the damage in the order of the log: *CorruptError, each with file and offset. err is
// that of ctx, or of a file that cannot be read; what was found until then is returned with it. It
// blocks for the disk and for the rate.
func (l *Log) VerifyOpen(ctx context.Context, bytesPerSecond int64, since time.Duration) (damage []*CorruptError, err error) {
	p := &pace.Pacer{Rate: bytesPerSecond}
	for id := uint64(0); ; {
		s := l.liveAfter(id)
		if s == nil {
			return damage, nil
		}
		id = s.id()
		if l.dueForVerify(s, since) {
			var found []*CorruptError
			found, err = l.verifySegment(ctx, p, s)
			damage = append(damage, found...)
		}
		l.unref(s)
		if err != nil {
			return damage, err
		}
	}
}

func (l *Log) dueForVerify(s *segment, since time.Duration) bool {
	if since <= 0 {
		return true
	}
	l.w.mu.Lock()
	sealed := s.sealed
	l.w.mu.Unlock()
	at := s.verified.Load()
	return sealed && (at == 0 || time.Since(logStart)-time.Duration(at) >= since)
}

var logStart = time.Now() // for ages that do not depend on the wall clock

// liveAfter returns the first live segment above id with a reference, nil if there is none.
func (l *Log) liveAfter(id uint64) *segment {
	v := l.Acquire()
	if v == nil {
		return nil
	}
	defer v.Release()
	for _, s := range v.segs {
		if s.id() > id {
			s.refs.Add(1) // the view has one
			return s
		}
	}
	return nil
}

// verifySegment reads one segment and its index.
func (l *Log) verifySegment(ctx context.Context, p *pace.Pacer, s *segment) (damage []*CorruptError, err error) {
	found := func(err error) error {
		c := new(CorruptError)
		if errors.As(err, &c) {
			damage = append(damage, c)
			return nil
		}
		return err
	}
	at, err := s.verifyBlocks(ctx, p, found)
	if errors.Is(err, errDropped) {
		return damage, nil
	}
	if err != nil {
		return damage, err
	}
	if x := s.index.Load(); x.file != nil {
		err := x.file.Verify(ctx, p.Read)
		switch {
		case s.dropped():
			return damage, nil
		case errors.Is(err, ErrCorrupt) && len(damage) == 0:
			if _, err = l.heal(s, x.file, err); err != nil {
				err = found(err)
			}
		case errors.Is(err, ErrCorrupt): // it cannot be made again
			err = found(err)
		}
		if err != nil {
			return damage, fmt.Errorf("spill index %s: %w", x.file.Path, err)
		}
	}
	if at > 0 {
		s.verified.Store(int64(time.Since(logStart)) + 1)
	}
	return damage, nil
}

// dropped says whether the log has let go of the segment.
func (s *segment) dropped() bool {
	s.idx.mu.Lock()
	defer s.idx.mu.Unlock()
	return s.idx.dropped
}

// verifyBlocks reads header and blocks up to what is acknowledged, and returns how far that was.
func (s *segment) verifyBlocks(ctx context.Context, p *pace.Pacer, found func(error) error) (at int64, err error) {
	rd := new(block.Reader)
	rd.Reset(s.file, s.path, s.id(), s.aead, s.end.Load())
	var h block.SegmentHeader
	b, err := rd.Bytes(0, block.SegmentHeaderSize)
	if err == nil {
		err = h.Unmarshal(s.path, b)
		if err == nil && h.Checksum() != s.header.Checksum() {
			err = block.Corrupt(s.path, 0, "the header is not the one that was opened")
		}
	}
	if err = found(err); err != nil {
		return 0, block.ReadError(s.path, err)
	}
	entries := func(b *block.Block) error {
		raw, err := rd.Decode(b)
		if err != nil {
			return err
		}
		e := b.Entries(raw)
		for e.Next() { // parsed, and no more
		}
		return e.Err(s.path)
	}
	look := block.NewSearch(rd.Limit)
	for at = block.SegmentHeaderSize; at < rd.Limit; {
		if s.dropped() {
			return at, errDropped
		}
		b, err := rd.Next(at)
		if err == nil {
			err = entries(&b)
		}
		if err != nil {
			if err = found(err); err != nil {
				return at, block.ReadError(s.path, err)
			}
			// The next block that is intact.
			from := at + 1
			if b.Next > at {
				from = b.Next
			}
			_, ok, err := look.Next(rd, from)
			if err != nil && !errors.Is(err, ErrCorrupt) {
				return at, block.ReadError(s.path, err)
			}
			if !ok {
				return rd.Limit, nil
			}
			b.Next = look.At
		}
		n := b.Next - at
		at = b.Next
		if err := p.Read(ctx, n); err != nil {
			return at, err
		}
	}
	return at, nil
}
