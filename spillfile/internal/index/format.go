package index

import (
	"bytes"
	"crypto/cipher"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"strings"

	"github.com/dgraph-io/badger/v4/y"

	"github.com/badgerspill/badgerspill/spillfile/internal/block"
	"github.com/badgerspill/badgerspill/spillfile/vfs"
)

// The file of a sealed segment's index, NNNNNNNNNN.idx: leaves, a Bloom filter, the table of
// leaves, and a footer that is found from the end of the file. docs/format.md has the tables.
// Everything in it can be made again from the segment.
const (
	magic  = "bspilidx"
	suffix = ".idx"
	// TempSuffix ends the name of an index file that is not complete.
	TempSuffix = suffix + vfs.TempSuffix

	footerSize      = 192
	footerAAD       = 120 // bytes of the footer that the data key is bound to
	blockHeaderSize = 12

	flagMixed byte = 2

	// leafTarget is the raw size at which a leaf is closed, so that a point read takes little.
	// leafMax is where it is closed in any case.
	leafTarget = 4 << 10
	leafMax    = 64 << 10
	// tableShare bounds the table of leaves, which stays in memory: where keys are long and differ
	// late, a leaf grows beyond leafTarget until the table has at most so many bytes per entry.
	tableShare = 2
	// leafCost is what one leaf takes in memory besides its lowest key.
	leafCost = 8
)

// The kinds of blocks in an index file.
const (
	kindLeaf byte = iota + 1
	kindFilter
	kindTable
)

var (
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
	le         = binary.LittleEndian
)

var errIndex = errors.New("index does not fit its block")

// Footer is the last footerSize bytes of an index file. Offset, size and field:
//
//	  0  8     magic
//	  8  4     version
//	 12  4     length
//	 16  16    database
//	 32  8     segment
//	 40  4     segment's checksum
//	 44  1     flags
//	 45  3     zero
//	 48  8     end
//	 56  8, 8  first, last sequence
//	 72  8, 8  lowest, highest timestamp
//	 88  8     highest version
//	 96  8     entries
//	104  8, 8  filter, table
//	120  12    nonce
//	132  48    wrapped key
//	180  8     zero
//	188  4     checksum
type Footer struct {
	DatabaseID [16]byte // of the database that the commits belong to
	Segment    uint64   // number of the segment
	// SegmentCRC is the checksum in the segment's header: an index belongs to one file, not to a
	// number.
	SegmentCRC    uint32
	Encrypted     bool   // the blocks of the file are
	Mixed         bool   // some entry of the segment has a version of its own
	End           int64  // of the acknowledged part of the segment
	FirstSeq      uint64 // of the segment's batches
	LastSeq       uint64 // of them
	MinTs, MaxTs  uint64 // lowest and highest commit timestamp of them
	MaxVersion    uint64 // highest version of an entry
	Entries       uint64 // in the file
	filter, table int64  // offsets; the table ends where the footer begins
	nonce         [block.NonceSize]byte
	wrapped       [block.KeySize + block.TagSize]byte
}

func (f *Footer) marshal(b []byte) {
	clear(b[:footerSize])
	copy(b, magic)
	le.PutUint32(b[8:], block.Version)
	le.PutUint32(b[12:], footerSize)
	copy(b[16:], f.DatabaseID[:])
	le.PutUint64(b[32:], f.Segment)
	le.PutUint32(b[40:], f.SegmentCRC)
	if f.Encrypted {
		b[44] = block.FlagEncrypted
	}
	if f.Mixed {
		b[44] |= flagMixed
	}
	for i, v := range [...]uint64{uint64(f.End), f.FirstSeq, f.LastSeq, f.MinTs, f.MaxTs, f.MaxVersion, f.Entries,
		uint64(f.filter), uint64(f.table)} {
		le.PutUint64(b[48+8*i:], v)
	}
	copy(b[120:], f.nonce[:])
	copy(b[132:], f.wrapped[:])
	le.PutUint32(b[188:], crc32.Checksum(b[:188], castagnoli))
}

// unmarshal returns a *CorruptError for anything that is not an intact footer of this version: an
// index is made again rather than refused.
func (f *Footer) unmarshal(file string, at int64, b []byte) error {
	switch {
	case len(b) != footerSize || string(b[:8]) != magic:
		return block.Corrupt(file, at, "no index footer")
	case le.Uint32(b[8:]) != block.Version:
		return block.Corrupt(file, at, "index version is %d, want %d", le.Uint32(b[8:]), block.Version)
	case le.Uint32(b[188:]) != crc32.Checksum(b[:188], castagnoli) || le.Uint32(b[12:]) != footerSize:
		return block.Corrupt(file, at, "index footer does not match its checksum")
	}
	copy(f.DatabaseID[:], b[16:])
	f.Segment = le.Uint64(b[32:])
	f.SegmentCRC = le.Uint32(b[40:])
	f.Encrypted, f.Mixed = b[44]&block.FlagEncrypted != 0, b[44]&flagMixed != 0
	var v [9]uint64
	for i := range v {
		v[i] = le.Uint64(b[48+8*i:])
	}
	f.End, f.FirstSeq, f.LastSeq, f.MinTs, f.MaxTs, f.MaxVersion, f.Entries = int64(v[0]), v[1], v[2], v[3], v[4], v[5], v[6]
	f.filter, f.table = int64(v[7]), int64(v[8])
	copy(f.nonce[:], b[120:])
	copy(f.wrapped[:], b[132:])
	if f.filter < 0 || f.table < f.filter || f.table > at {
		return block.Corrupt(file, at, "index parts at %d and %d, the footer is at %d", f.filter, f.table, at)
	}
	return nil
}

// aad is what the data key is bound to: all of the footer before it. So the footer is
// authenticated, too.
func (f *Footer) aad() []byte {
	var b [footerSize]byte
	f.marshal(b[:])
	return b[:footerAAD]
}

// Name returns the name of the index file of a segment.
func Name(segment uint64) string {
	return strings.TrimSuffix(block.SegmentName(segment), block.SegmentSuffix) + suffix
}

// ParseName undoes Name. It is false for a name that Name does not return.
func ParseName(name string) (segment uint64, ok bool) {
	digits, ok := strings.CutSuffix(name, suffix)
	if !ok {
		return 0, false
	}
	return block.ParseSegmentName(digits + block.SegmentSuffix)
}

// sealer seals and opens the blocks of one index file, under a data key of its own: the file may be
// made again, and a nonce, the block's offset, must not be used twice under one key. Offset, size
// and field of a block:
//
//	 0  4       checksum
//	 4  4       stored
//	 8  1       kind
//	 9  3       zero
//	12  stored  payload
type sealer struct {
	segment uint64
	aead    cipher.AEAD // nil: plaintext
}

func (s *sealer) aad(header []byte) []byte {
	return le.AppendUint64(append([]byte(nil), header[4:blockHeaderSize]...), s.segment)
}

func nonceAt(at int64) []byte {
	return append(le.AppendUint64(make([]byte, 0, block.NonceSize), uint64(at)), 0, 0, 0, 0)
}

func (s *sealer) crc(header, stored []byte, at int64) uint32 {
	var place [16]byte
	le.PutUint64(place[:], s.segment)
	le.PutUint64(place[8:], uint64(at))
	crc := crc32.Update(crc32.Checksum(stored, castagnoli), castagnoli, header[4:blockHeaderSize])
	return crc32.Update(crc, castagnoli, place[:])
}

// seal appends a block to dst, whose end lies at offset at of the file.
func (s *sealer) seal(dst []byte, kind byte, raw []byte, at int64) []byte {
	start := len(dst)
	var header [blockHeaderSize]byte
	stored := len(raw)
	if s.aead != nil {
		stored += block.TagSize
	}
	le.PutUint32(header[4:], uint32(stored))
	header[8] = kind
	dst = append(dst, header[:]...)
	if s.aead == nil {
		dst = append(dst, raw...)
	} else {
		dst = s.aead.Seal(dst, nonceAt(at), raw, s.aad(header[:]))
	}
	le.PutUint32(dst[start:], s.crc(header[:], dst[start+blockHeaderSize:], at))
	return dst
}

// open checks a whole block that was read from offset at, and returns what is in it. It decrypts in
// place.
func (s *sealer) open(file string, kind byte, whole []byte, at int64) ([]byte, error) {
	if len(whole) < blockHeaderSize {
		return nil, block.Corrupt(file, at, "index block of %d bytes", len(whole))
	}
	header, stored := whole[:blockHeaderSize], whole[blockHeaderSize:]
	switch {
	case int64(le.Uint32(header[4:])) != int64(len(stored)) || header[8] != kind || !bytes.Equal(header[9:12], []byte{0, 0, 0}):
		return nil, block.Corrupt(file, at, "index block header does not describe its %d bytes", len(whole))
	case le.Uint32(header) != s.crc(header, stored, at):
		return nil, block.Corrupt(file, at, "index block checksum does not match its %d bytes", len(whole))
	}
	if s.aead == nil {
		return stored, nil
	}
	raw, err := s.aead.Open(stored[:0], nonceAt(at), stored, s.aad(header))
	if err != nil {
		return nil, block.Corrupt(file, at, "index block does not authenticate under the index's data key")
	}
	return raw, nil
}

// readBlock reads the block that takes exactly the bytes from at to end, into buf if it fits.
func (s *sealer) readBlock(f io.ReaderAt, file string, kind byte, at, end int64, buf []byte) ([]byte, error) {
	if err := block.InOnePiece(file, end-at); err != nil {
		return nil, err
	}
	n := int(end - at)
	if cap(buf) < n {
		buf = make([]byte, n)
	}
	buf = buf[:n]
	if got, err := f.ReadAt(buf, at); got < n {
		if err == nil || err == io.EOF {
			return nil, block.Corrupt(file, at+int64(got), "file ends where %d bytes should follow", n-got)
		}
		return nil, fmt.Errorf("spill index %s: read at %d: %w", file, at, err)
	}
	return s.open(file, kind, buf, at)
}

// leaf is a decoded leaf: entries in the order of their internal keys, without the prefix that all
// keys share.
//
//	prefix length (2) | prefix | entries | offset of each entry (4) | number of entries (4)
//	entry: uvarint length of the rest of the key | rest of the key | y.ValueStruct
type leaf struct {
	prefix  []byte
	body    []byte // entries
	offsets []byte
}

func parseLeaf(raw []byte) (leaf, error) {
	var l leaf
	if len(raw) < 6 {
		return l, errIndex
	}
	n := uint64(le.Uint32(raw[len(raw)-4:]))
	prefix := 2 + uint64(le.Uint16(raw))
	if room := uint64(len(raw)) - 4; n == 0 || prefix > room || 4*n > room-prefix {
		return l, errIndex
	}
	at := uint64(len(raw)) - 4 - 4*n
	l.prefix, l.body, l.offsets = raw[2:prefix], raw[prefix:at], raw[at:len(raw)-4]
	return l, nil
}

func (l *leaf) len() int { return len(l.offsets) / 4 }

// entry returns the rest of the key and the encoded value of entry i.
func (l *leaf) entry(i int) (rest, value []byte, err error) {
	end := uint32(len(l.body))
	if 4*i+4 < len(l.offsets) {
		end = le.Uint32(l.offsets[4*i+4:])
	}
	start := le.Uint32(l.offsets[4*i:])
	if start > end || end > uint32(len(l.body)) {
		return nil, nil, errIndex
	}
	b := l.body[start:end]
	n, used := binary.Uvarint(b)
	if used <= 0 || n > uint64(len(b)-used) || uint64(len(l.prefix))+n < 8 {
		return nil, nil, errIndex
	}
	value = b[used+int(n):]
	if len(value) < 3 {
		return nil, nil, errIndex
	}
	if _, size := binary.Uvarint(value[2:]); size <= 0 {
		return nil, nil, errIndex
	}
	return b[used:][:n], value, nil
}

// key appends the internal key of entry i to dst.
func (l *leaf) key(dst []byte, i int) ([]byte, error) {
	rest, _, err := l.entry(i)
	if err != nil {
		return dst, err
	}
	return append(append(dst, l.prefix...), rest...), nil
}

func (l *leaf) value(i int) (vs y.ValueStruct, err error) {
	_, value, err := l.entry(i)
	if err == nil {
		vs.Decode(value)
	}
	return vs, err
}

// search returns the first entry at or after an internal key. scratch is for keys, and is returned.
func (l *leaf) search(key, scratch []byte) (int, []byte, error) {
	lo, hi := 0, l.len()
	for lo < hi {
		mid := int(uint(lo+hi) / 2)
		var err error
		if scratch, err = l.key(scratch[:0], mid); err != nil {
			return 0, scratch, err
		}
		if y.CompareKeys(scratch, key) < 0 {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo, scratch, nil
}

// leafTable finds the leaf for a key. It stays in memory.
type leafTable struct {
	// lowest internal key of each leaf, or something between it and the last key of the leaf before
	lows    []byte
	lowEnd  []uint32 // of each in lows
	offsets []uint32 // of each leaf in the file, and the end of the last one
	biggest []byte   // internal key of the last entry
}

func (t *leafTable) len() int { return len(t.lowEnd) }

func (t *leafTable) low(i int) []byte {
	start := uint32(0)
	if i > 0 {
		start = t.lowEnd[i-1]
	}
	return t.lows[start:t.lowEnd[i]]
}

// find returns the last leaf whose lowest key is at or before key, -1 if there is none.
func (t *leafTable) find(key []byte) int {
	lo, hi := 0, t.len()
	for lo < hi {
		mid := int(uint(lo+hi) / 2)
		if y.CompareKeys(t.low(mid), key) <= 0 {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo - 1
}

func (t *leafTable) memory() int64 {
	return int64(cap(t.lows)+cap(t.biggest)) + 4*int64(cap(t.lowEnd)+cap(t.offsets))
}

// marshal: number of leaves (4), then for each uvarint size of its block, uvarint length of its
// lowest key, that key; then the same two for the biggest key.
func (t *leafTable) marshal() []byte {
	b := le.AppendUint32(nil, uint32(t.len()))
	for i := range t.len() {
		b = binary.AppendUvarint(b, uint64(t.offsets[i+1]-t.offsets[i]))
		b = binary.AppendUvarint(b, uint64(len(t.low(i))))
		b = append(b, t.low(i)...)
	}
	b = binary.AppendUvarint(b, uint64(len(t.biggest)))
	return append(b, t.biggest...)
}

// unmarshal makes sure that every offset lies before end, where the filter begins.
func (t *leafTable) unmarshal(b []byte, end int64) error {
	if len(b) < 4 {
		return errIndex
	}
	n := int64(le.Uint32(b))
	b = b[4:]
	if end > math.MaxUint32 || n == 0 || n*(2+8) > int64(len(b)) {
		return errIndex
	}
	key := func() ([]byte, bool) {
		size, used := binary.Uvarint(b)
		if used <= 0 || size < 8 || size > uint64(len(b)-used) {
			return nil, false
		}
		k := b[used:][:size]
		b = b[used+int(size):]
		return k, true
	}
	t.lows = make([]byte, 0, len(b))
	t.lowEnd, t.offsets = make([]uint32, 0, n), make([]uint32, 1, n+1)
	at := uint64(0)
	for range n {
		size, used := binary.Uvarint(b)
		if used <= 0 || size < blockHeaderSize || size > uint64(end)-at {
			return errIndex
		}
		at, b = at+size, b[used:]
		low, ok := key()
		if !ok {
			return errIndex
		}
		t.lows = append(t.lows, low...)
		t.lowEnd, t.offsets = append(t.lowEnd, uint32(len(t.lows))), append(t.offsets, uint32(at))
	}
	big, ok := key()
	if !ok || len(b) != 0 || at != uint64(end) {
		return errIndex
	}
	t.biggest = bytes.Clone(big)
	t.lows = bytes.Clone(t.lows)
	return nil
}
