package block

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"time"
)

// docs/format.md has a table for each structure here; a change to one is a change to both.
const (
	// Version is that of the format, of every file.
	Version uint32 = 1

	segmentMagic = "bspilseg"

	SegmentHeaderSize = 192 // bytes before the first block of a segment
	HeaderSize        = 56  // bytes before the payload of a block

	// Target is the raw size above which a block is closed: little to decompress for a point
	// read, and still enough for snappy to find repetitions.
	Target = 8 << 10

	// MaxRatio is how many raw bytes a payload byte makes at most: snappy's densest element is a
	// copy of 64 bytes in 3, and anything that claims more is not snappy's output.
	MaxRatio = 22

	TagSize   = 16 // bytes that AES-GCM adds to what it encrypts
	NonceSize = 12 // bytes of its nonce
	KeySize   = 32 // bytes of a data key

	flagLast byte = 1 // last block of its batch
	// FlagEncrypted is the bit of a header's flags that says so of what follows.
	FlagEncrypted byte = 1
)

var (
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
	le         = binary.LittleEndian
)

// Unordered as the DirectThrough of a segment says that timestamps tell nothing about the order of
// commits.
const Unordered = ^uint64(0)

// SegmentHeader is the first SegmentHeaderSize bytes of a segment. Offset, size and field:
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
type SegmentHeader struct {
	DatabaseID  [16]byte // of the database that the commits belong to
	ID          uint64   // number of the segment
	Prev        uint64   // the segment before, 0 if the log was empty
	PrevEnd     int64    // where the acknowledged part of Prev ends
	PrevLastSeq uint64   // last acknowledged sequence before this segment
	// sequence of the first batch here; greater than PrevLastSeq+1 if batches failed between
	FirstSeq      uint64
	DirectThrough uint64    // see Log.Rotate
	Created       time.Time // by the wall clock
	Encrypted     bool      // its blocks are
	nonce         [NonceSize]byte
	wrapped       [KeySize + TagSize]byte
}

// The part of the header that the wrapped data key is bound to.
const headerAAD = 96

// Marshal writes the first SegmentHeaderSize bytes of b.
func (h *SegmentHeader) Marshal(b []byte) {
	clear(b[:SegmentHeaderSize])
	copy(b, segmentMagic)
	le.PutUint32(b[8:], Version)
	le.PutUint32(b[12:], SegmentHeaderSize)
	copy(b[16:], h.DatabaseID[:])
	le.PutUint64(b[32:], h.ID)
	le.PutUint64(b[40:], h.Prev)
	le.PutUint64(b[48:], uint64(h.PrevEnd))
	le.PutUint64(b[56:], h.PrevLastSeq)
	le.PutUint64(b[64:], h.FirstSeq)
	le.PutUint64(b[72:], h.DirectThrough)
	le.PutUint64(b[80:], uint64(h.Created.UnixNano()))
	if h.Encrypted {
		b[88] = FlagEncrypted
	}
	copy(b[96:], h.nonce[:])
	copy(b[108:], h.wrapped[:])
	le.PutUint32(b[188:], crc32.Checksum(b[:188], castagnoli))
}

// Checksum is the one that is stored with the header.
func (h *SegmentHeader) Checksum() uint32 {
	var b [SegmentHeaderSize]byte
	h.Marshal(b[:])
	return le.Uint32(b[188:])
}

// Unmarshal returns a *VersionError, or a *CorruptError for anything else that is wrong.
func (h *SegmentHeader) Unmarshal(file string, b []byte) error {
	switch {
	case len(b) < 12 || string(b[:8]) != segmentMagic:
		return Corrupt(file, 0, "no segment magic")
	case le.Uint32(b[8:]) != Version && le.Uint32(b[8:]) != 0:
		// 0: torn, only the magic got through
		return &VersionError{File: file, Found: le.Uint32(b[8:]), Supported: Version}
	case len(b) < SegmentHeaderSize:
		return Corrupt(file, 0, "header has %d bytes, want %d", len(b), SegmentHeaderSize)
	case le.Uint32(b[188:]) != crc32.Checksum(b[:188], castagnoli):
		return Corrupt(file, 0, "header checksum is %08x, want %08x", crc32.Checksum(b[:188], castagnoli), le.Uint32(b[188:]))
	case le.Uint32(b[12:]) != SegmentHeaderSize:
		return Corrupt(file, 0, "header length is %d, want %d", le.Uint32(b[12:]), SegmentHeaderSize)
	}
	copy(h.DatabaseID[:], b[16:])
	h.ID = le.Uint64(b[32:])
	h.Prev = le.Uint64(b[40:])
	h.PrevEnd = int64(le.Uint64(b[48:]))
	h.PrevLastSeq = le.Uint64(b[56:])
	h.FirstSeq = le.Uint64(b[64:])
	h.DirectThrough = le.Uint64(b[72:])
	h.Created = time.Unix(0, int64(le.Uint64(b[80:])))
	h.Encrypted = b[88]&FlagEncrypted != 0
	copy(h.nonce[:], b[96:])
	copy(h.wrapped[:], b[108:])
	switch {
	case h.ID == 0 || h.Prev >= h.ID:
		return Corrupt(file, 32, "segment %d follows segment %d", h.ID, h.Prev)
	case h.Prev != 0 && h.PrevEnd < SegmentHeaderSize, h.Prev == 0 && h.PrevEnd != 0:
		return Corrupt(file, 48, "segment %d before this one ends at %d", h.Prev, h.PrevEnd)
	case h.FirstSeq <= h.PrevLastSeq:
		return Corrupt(file, 64, "first sequence is %d after %d", h.FirstSeq, h.PrevLastSeq)
	}
	return nil
}

// Header precedes every block's payload. Offset, size and field:
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
type Header struct {
	crc    uint32
	Stored uint32 // payload bytes that follow, tag included
	Raw    uint32 // payload bytes before compression
	Count  uint32 // entries
	Ts     uint64 // commit timestamp of the batch
	Seq    uint64 // log sequence of the batch
	Number uint32 // of this block in the batch, from 0
	flags  byte
	Mark   Position // everything before it was known to be synced when the block was written
}

// Last says whether the block is the last of its batch.
func (h *Header) Last() bool { return h.flags&flagLast != 0 }

// SetLast says whether the block is the last of its batch.
func (h *Header) SetLast(last bool) {
	if h.flags = 0; last {
		h.flags = flagLast
	}
}

// Marshal writes the first HeaderSize bytes of b.
func (h *Header) Marshal(b []byte) {
	_ = b[HeaderSize-1]
	le.PutUint32(b, h.crc)
	le.PutUint32(b[4:], h.Stored)
	le.PutUint32(b[8:], h.Raw)
	le.PutUint32(b[12:], h.Count)
	le.PutUint64(b[16:], h.Ts)
	le.PutUint64(b[24:], h.Seq)
	le.PutUint32(b[32:], h.Number)
	le.PutUint32(b[36:], uint32(h.flags))
	le.PutUint64(b[40:], h.Mark.Segment)
	le.PutUint64(b[48:], uint64(h.Mark.Offset))
}

func (h *Header) unmarshal(b []byte) {
	_ = b[HeaderSize-1]
	h.crc = le.Uint32(b)
	h.Stored = le.Uint32(b[4:])
	h.Raw = le.Uint32(b[8:])
	h.Count = le.Uint32(b[12:])
	h.Ts = le.Uint64(b[16:])
	h.Seq = le.Uint64(b[24:])
	h.Number = le.Uint32(b[32:])
	h.flags = b[36]
	h.Mark = Position{Segment: le.Uint64(b[40:]), Offset: int64(le.Uint64(b[48:]))}
}

// plausible bounds every length by what the file can hold, before anything is allocated for it. b
// is the marshalled header, at is where it lies, room is what the file has after it.
func (h *Header) plausible(b []byte, at Position, room int64, encrypted bool) error {
	least := int64(1)
	if encrypted {
		least += TagSize
	}
	stored := int64(h.Stored)
	switch {
	case stored < least || stored > room:
		return fmt.Errorf("payload has %d bytes, want %d to %d", stored, least, room)
	case int64(h.Raw) > stored*MaxRatio:
		return fmt.Errorf("payload of %d bytes claims %d raw bytes", stored, h.Raw)
	case int64(h.Count)*MinEntrySize > int64(h.Raw):
		return fmt.Errorf("%d raw bytes claim %d entries", h.Raw, h.Count)
	case h.flags&^flagLast != 0 || !bytes.Equal(b[37:40], []byte{0, 0, 0}):
		return fmt.Errorf("unknown flags %x", b[36:40])
	case h.Mark.Offset < 0 || h.Mark.After(at):
		return fmt.Errorf("synced mark %d:%d is behind the block itself", h.Mark.Segment, h.Mark.Offset)
	case h.Seq == 0:
		return fmt.Errorf("sequence is 0")
	}
	return nil
}

// crcTail continues a payload's CRC over the header behind the CRC field and over the place of the
// block, which is not stored: a block copied to another place, or left over from another segment,
// does not pass. header must have HeaderSize bytes; scratch 16, from memory that is not the stack
// so that nothing escapes per call.
func crcTail(payload uint32, header, scratch []byte, at Position) uint32 {
	le.PutUint64(scratch, at.Segment)
	le.PutUint64(scratch[8:], uint64(at.Offset))
	return crc32.Update(crc32.Update(payload, castagnoli, header[4:HeaderSize]), castagnoli, scratch[:16])
}
