package spillfile

import (
	"encoding/binary"
	"fmt"
	"sync/atomic"

	"github.com/dgraph-io/badger/v4/skl"
	"github.com/dgraph-io/badger/v4/y"

	"github.com/badgerspill/badgerspill/spillfile/internal/block"
)

const (
	// inlineValue is up to how many bytes a value lies in the index in memory, too, behind its
	// location: reading it takes no file then.
	inlineValue = 64
	// location, at its longest: see appendLocation.
	maxLocation = 2*binary.MaxVarintLen64 + 4*binary.MaxVarintLen32
	// A skiplist entry at its worst: node of full height, alignment, timestamp, meta, user meta,
	// expiry, location.
	indexEntryOverhead = int64(skl.MaxNodeSize) + 7 + 8 + 2 + binary.MaxVarintLen64 + maxLocation

	// The skiplist hands out nodes truncated to their height, through pointers to the full type.
	// Under -race (checkptr) the full type must lie within the arena, so its end stays unused.
	arenaSlack = 1 << 10

	minArena = 1 << 20
	maxArena = 64 << 20
	// The smallest that an option may ask for: room for a few entries.
	leastArena = 16 << 10
	// Arena offsets are 32-bit, and the skiplist exits the process when they overflow.
	arenaLimit = 3 << 30
)

// memIndex is a skiplist in an arena of fixed size. An arena that overflows ends the process (an
// assertion in Badger), therefore room must be asked before put. One goroutine at a time may put,
// any number may read beside it.
type memIndex struct {
	list    *skl.Skiplist
	cap     int64
	entries atomic.Int64
}

// arenaSize is what the index of a segment usually needs. The tiny segments of tests get tiny
// arenas.
func arenaSize(segmentSize int64) int64 {
	return min(max(segmentSize/4, min(minArena, 16*segmentSize)), maxArena)
}

// newMemIndex makes an index with room for at least need bytes, and for usual bytes in all.
func newMemIndex(usual, need int64) *memIndex {
	n := max(usual, need+2*arenaSlack)
	return &memIndex{list: skl.NewSkiplist(n), cap: n}
}

// put stores the place of key (internal: the timestamp is appended).
func (x *memIndex) put(key []byte, vs y.ValueStruct) {
	x.list.Put(key, vs)
	x.entries.Add(1)
}

// get returns the newest version of the user key at or below ts.
func (x *memIndex) get(key []byte, ts uint64) (y.ValueStruct, bool) {
	var stack [128]byte
	internal := append(stack[:0], key...)
	internal = binary.BigEndian.AppendUint64(internal, ^ts)
	vs := x.list.Get(internal)
	return vs, vs.Value != nil
}

func (x *memIndex) iterator(reverse bool) y.Iterator { return x.list.NewUniIterator(reverse) }

// capacity returns the bytes that it takes, in use or not.
func (x *memIndex) capacity() int64 { return x.cap }

// len returns how many entries were put.
func (x *memIndex) len() int64 { return x.entries.Load() }

// size returns the bytes in use, room those that put may still take, in terms of EstimateIndexSize.
func (x *memIndex) size() int64 { return x.list.MemSize() }
func (x *memIndex) room() int64 { return x.cap - arenaSlack - x.list.MemSize() }

// location is what the index stores as the value of an entry.
type location struct {
	segment  uint64
	block    int64  // offset of the block in the segment
	stored   uint32 // payload bytes of the block
	offset   uint32 // of the entry in the raw block
	keyLen   uint32
	valueLen uint32
}

// end is where the block ends in the segment.
func (l *location) end() int64 { return l.block + block.HeaderSize + int64(l.stored) }

// within says whether an intact entry can lie there in a segment that ends at end. It bounds what
// is allocated to read it.
func (l *location) within(segment uint64, end int64) bool {
	stored := int64(l.stored)
	return l.segment == segment && l.block >= block.SegmentHeaderSize && l.block <= end-block.HeaderSize-stored &&
		l.keyLen <= block.MaxKeySize && int64(l.offset)+int64(l.keyLen)+int64(l.valueLen) <= stored*block.MaxRatio
}

func appendLocation(dst []byte, l location) []byte {
	dst = binary.AppendUvarint(dst, l.segment)
	dst = binary.AppendUvarint(dst, uint64(l.block))
	dst = binary.AppendUvarint(dst, uint64(l.stored))
	dst = binary.AppendUvarint(dst, uint64(l.offset))
	dst = binary.AppendUvarint(dst, uint64(l.keyLen))
	return binary.AppendUvarint(dst, uint64(l.valueLen))
}

// parseLocation returns also what follows the location: in memory a short value, in a file nothing.
func parseLocation(b []byte) (at location, value []byte, err error) {
	var f [6]uint64
	for i := range f {
		v, n := binary.Uvarint(b)
		if n <= 0 {
			return location{}, nil, fmt.Errorf("%w: index entry is cut off", block.ErrCorrupt)
		}
		f[i], b = v, b[n:]
	}
	return location{segment: f[0], block: int64(f[1]), stored: uint32(f[2]), offset: uint32(f[3]),
		keyLen: uint32(f[4]), valueLen: uint32(f[5])}, b, nil
}

// withoutValue is a location as it is in a file.
func withoutValue(b []byte) []byte {
	_, value, _ := parseLocation(b) // our own
	return b[:len(b)-len(value)]
}
