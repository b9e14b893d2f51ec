package spillfile

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
			header := b.out[blk.out:][:blockHeaderSize]
			plain := b.out[blk.out+blockHeaderSize:][:blk.stored]
			buf = w.stamp.encrypt(buf, header, plain, s.aead, Position{s.id(), blk.offset})
		}
	}
	w.buf = buf
	return buf
}

// stampBatchLocked fills in the headers of b. Under encryption the CRC is left out: it covers what
// is stored.
func (l *Log) stampBatchLocked(s *segment, at int64, b *Batch) {
	w := &l.w
	h := blockHeader{ts: b.ts, seq: b.seq, mark: w.mark}
	for i := range b.blocks {
		blk := &b.blocks[i]
		blk.offset, blk.storedLen = at, blk.stored
		if s.aead != nil {
			blk.storedLen += tagSize
		}
		h.stored, h.raw, h.count, h.number = blk.storedLen, blk.raw, blk.count, uint32(i)
		h.setLast(blk.last)
		header := b.out[blk.out:][:blockHeaderSize]
		if s.aead == nil {
			w.stamp.stamp(header, &h, blk.crc, Position{s.id(), at})
		} else {
			h.marshal(header)
		}
		at += blockHeaderSize + int64(blk.storedLen)
	}
}
