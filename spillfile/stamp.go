package spillfile

import "hash/crc32"

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
