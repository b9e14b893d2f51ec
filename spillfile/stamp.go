package spillfile

import "github.com/badgerspill/badgerspill/spillfile/internal/block"

// stampLocked completes the blocks for their place at offset at of s and returns their bytes: the
// batch's own buffer if that is possible, or else the group buffer.
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
			header := b.out[blk.out:][:block.HeaderSize]
			plain := b.out[blk.out+block.HeaderSize:][:blk.stored]
			buf = w.stamp.Encrypt(buf, header, plain, s.aead, Position{Segment: s.id(), Offset: blk.offset})
		}
	}
	w.buf = buf
	return buf
}

// stampBatchLocked fills in the headers of b. Under encryption the CRC is left out: it covers what
// is stored.
func (l *Log) stampBatchLocked(s *segment, at int64, b *Batch) {
	w := &l.w
	h := block.Header{Ts: b.ts, Seq: b.seq, Mark: w.mark}
	for i := range b.blocks {
		blk := &b.blocks[i]
		blk.offset, blk.storedLen = at, blk.stored
		if s.aead != nil {
			blk.storedLen += block.TagSize
		}
		h.Stored, h.Raw, h.Count, h.Number = blk.storedLen, blk.raw, blk.count, uint32(i)
		h.SetLast(blk.last)
		header := b.out[blk.out:][:block.HeaderSize]
		if s.aead == nil {
			w.stamp.Stamp(header, &h, blk.crc, Position{Segment: s.id(), Offset: at})
		} else {
			h.Marshal(header)
		}
		at += block.HeaderSize + int64(blk.storedLen)
	}
}
