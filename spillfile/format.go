package spillfile

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"time"
)

// docs/format.md has a table for each structure here; a change to one is a change to both.
const (
	formatVersion uint32 = 1

	segmentMagic = "bspilseg"

	segmentHeaderSize = 192
	blockHeaderSize   = 56

	// blockTarget is the raw size above which a block is closed: little to decompress for a point
	// read, and still enough for snappy to find repetitions.
	blockTarget = 8 << 10

	// snappy's densest element is a copy of 64 bytes in 3; anything that claims more is not
	// snappy's output.
	snappyMaxRatio = 22

	tagSize   = 16 // AES-GCM
	nonceSize = 12
	dataKey   = 32

	flagLast      byte = 1 // last block of its batch
	flagEncrypted byte = 1
)

var (
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
	le         = binary.LittleEndian
)

// segmentHeader is the first segmentHeaderSize bytes of a segment. Offset, size and field:
//
//	  0  8   magic
//	  8  4   version
//	 12  4   length
//	 16  16  database
//	 32  8   segment
//	 40  8   previous
//	 48  8   previous end
//	 56  8   previous sequence
//	 64  8   first sequence
//	 72  8   direct through
//	 80  8   created
//	 88  1   flags
//	 89  7   zero
//	 96  12  nonce
//	108  48  wrapped key
//	156  32  zero
//	188  4   checksum
type segmentHeader struct {
	databaseID  [16]byte
	id          uint64
	prev        uint64 // the segment before, 0 if the log was empty
	prevEnd     int64  // where the acknowledged part of prev ends
	prevLastSeq uint64 // last acknowledged sequence before this segment
	// sequence of the first batch here; greater than prevLastSeq+1 if batches failed between
	firstSeq      uint64
	directThrough uint64
	created       time.Time
	encrypted     bool
	nonce         [nonceSize]byte
	wrapped       [dataKey + tagSize]byte
}

// The part of the header that the wrapped data key is bound to.
const headerAAD = 96

func (h *segmentHeader) marshal(b []byte) {
	clear(b[:segmentHeaderSize])
	copy(b, segmentMagic)
	le.PutUint32(b[8:], formatVersion)
	le.PutUint32(b[12:], segmentHeaderSize)
	copy(b[16:], h.databaseID[:])
	le.PutUint64(b[32:], h.id)
	le.PutUint64(b[40:], h.prev)
	le.PutUint64(b[48:], uint64(h.prevEnd))
	le.PutUint64(b[56:], h.prevLastSeq)
	le.PutUint64(b[64:], h.firstSeq)
	le.PutUint64(b[72:], h.directThrough)
	le.PutUint64(b[80:], uint64(h.created.UnixNano()))
	if h.encrypted {
		b[88] = flagEncrypted
	}
	copy(b[96:], h.nonce[:])
	copy(b[108:], h.wrapped[:])
	le.PutUint32(b[188:], crc32.Checksum(b[:188], castagnoli))
}

// checksum is the one that is stored with the header.
func (h *segmentHeader) checksum() uint32 {
	var b [segmentHeaderSize]byte
	h.marshal(b[:])
	return le.Uint32(b[188:])
}

// unmarshal returns a *VersionError, or a *CorruptError for anything else that is wrong.
func (h *segmentHeader) unmarshal(file string, b []byte) error {
	switch {
	case len(b) < 12 || string(b[:8]) != segmentMagic:
		return corrupt(file, 0, "no segment magic")
	case le.Uint32(b[8:]) != formatVersion && le.Uint32(b[8:]) != 0:
		// 0: torn, only the magic got through
		return &VersionError{File: file, Found: le.Uint32(b[8:]), Supported: formatVersion}
	case len(b) < segmentHeaderSize:
		return corrupt(file, 0, "header has %d bytes, want %d", len(b), segmentHeaderSize)
	case le.Uint32(b[188:]) != crc32.Checksum(b[:188], castagnoli):
		return corrupt(file, 0, "header checksum is %08x, want %08x", crc32.Checksum(b[:188], castagnoli), le.Uint32(b[188:]))
	case le.Uint32(b[12:]) != segmentHeaderSize:
		return corrupt(file, 0, "header length is %d, want %d", le.Uint32(b[12:]), segmentHeaderSize)
	}
	copy(h.databaseID[:], b[16:])
	h.id = le.Uint64(b[32:])
	h.prev = le.Uint64(b[40:])
	h.prevEnd = int64(le.Uint64(b[48:]))
	h.prevLastSeq = le.Uint64(b[56:])
	h.firstSeq = le.Uint64(b[64:])
	h.directThrough = le.Uint64(b[72:])
	h.created = time.Unix(0, int64(le.Uint64(b[80:])))
	h.encrypted = b[88]&flagEncrypted != 0
	copy(h.nonce[:], b[96:])
	copy(h.wrapped[:], b[108:])
	switch {
	case h.id == 0 || h.prev >= h.id:
		return corrupt(file, 32, "segment %d follows segment %d", h.id, h.prev)
	case h.prev != 0 && h.prevEnd < segmentHeaderSize, h.prev == 0 && h.prevEnd != 0:
		return corrupt(file, 48, "segment %d before this one ends at %d", h.prev, h.prevEnd)
	case h.firstSeq <= h.prevLastSeq:
		return corrupt(file, 64, "first sequence is %d after %d", h.firstSeq, h.prevLastSeq)
	}
	return nil
}

// blockHeader precedes every block's payload. Offset, size and field:
//
//	 0  4       checksum
//	 4  4       stored
//	 8  4       raw
//	12  4       entries
//	16  8       timestamp
//	24  8       sequence
//	32  4       number
//	36  1       flags
//	37  3       zero
//	40  8       mark: segment
//	48  8       mark: offset
//	56  stored  payload
type blockHeader struct {
	crc    uint32
	stored uint32 // payload bytes that follow, tag included
	raw    uint32 // payload bytes before compression
	count  uint32 // entries
	ts     uint64 // commit timestamp of the batch
	seq    uint64 // log sequence of the batch
	number uint32 // of this block in the batch, from 0
	flags  byte
	mark   Position // everything before it was known to be synced when the block was written
}

// last says whether the block is the last of its batch.
func (h *blockHeader) last() bool { return h.flags&flagLast != 0 }

func (h *blockHeader) setLast(last bool) {
	if h.flags = 0; last {
		h.flags = flagLast
	}
}

func (h *blockHeader) marshal(b []byte) {
	_ = b[blockHeaderSize-1]
	le.PutUint32(b, h.crc)
	le.PutUint32(b[4:], h.stored)
	le.PutUint32(b[8:], h.raw)
	le.PutUint32(b[12:], h.count)
	le.PutUint64(b[16:], h.ts)
	le.PutUint64(b[24:], h.seq)
	le.PutUint32(b[32:], h.number)
	le.PutUint32(b[36:], uint32(h.flags))
	le.PutUint64(b[40:], h.mark.Segment)
	le.PutUint64(b[48:], uint64(h.mark.Offset))
}

func (h *blockHeader) unmarshal(b []byte) {
	_ = b[blockHeaderSize-1]
	h.crc = le.Uint32(b)
	h.stored = le.Uint32(b[4:])
	h.raw = le.Uint32(b[8:])
	h.count = le.Uint32(b[12:])
	h.ts = le.Uint64(b[16:])
	h.seq = le.Uint64(b[24:])
	h.number = le.Uint32(b[32:])
	h.flags = b[36]
	h.mark = Position{Segment: le.Uint64(b[40:]), Offset: int64(le.Uint64(b[48:]))}
}

// plausible bounds every length by what the file can hold, before anything is allocated for it. b
// is the marshalled header, at is where it lies, room is what the file has after it.
func (h *blockHeader) plausible(b []byte, at Position, room int64, encrypted bool) error {
	least := int64(1)
	if encrypted {
		least += tagSize
	}
	stored := int64(h.stored)
	switch {
	case stored < least || stored > room:
		return fmt.Errorf("payload has %d bytes, want %d to %d", stored, least, room)
	case int64(h.raw) > stored*snappyMaxRatio:
		return fmt.Errorf("payload of %d bytes claims %d raw bytes", stored, h.raw)
	case int64(h.count)*minEntrySize > int64(h.raw):
		return fmt.Errorf("%d raw bytes claim %d entries", h.raw, h.count)
	case h.flags&^flagLast != 0 || !bytes.Equal(b[37:40], []byte{0, 0, 0}):
		return fmt.Errorf("unknown flags %x", b[36:40])
	case h.mark.Offset < 0 || h.mark.After(at):
		return fmt.Errorf("synced mark %d:%d is behind the block itself", h.mark.Segment, h.mark.Offset)
	case h.seq == 0:
		return fmt.Errorf("sequence is 0")
	}
	return nil
}

// crcTail continues a payload's CRC over the header behind the CRC field and over the place of the
// block, which is not stored: a block copied to another place, or left over from another segment,
// does not pass. header must have blockHeaderSize bytes; scratch 16, from memory that is not the
// stack so that nothing escapes per call.
func crcTail(payload uint32, header, scratch []byte, at Position) uint32 {
	le.PutUint64(scratch, at.Segment)
	le.PutUint64(scratch[8:], uint64(at.Offset))
	return crc32.Update(crc32.Update(payload, castagnoli, header[4:blockHeaderSize]), castagnoli, scratch[:16])
}
