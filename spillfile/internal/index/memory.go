package index

import (
	"encoding/binary"
	"fmt"
	"sync/atomic"

	"github.com/dgraph-io/badger/v4/skl"
	"github.com/dgraph-io/badger/v4/y"

	"github.com/badgerspill/badgerspill/spillfile/internal/block"
)

const (
	// InlineValue is up to how many bytes a value lies in the index in memory, too, behind its
	// location: reading it takes no file then.
	InlineValue = 64
	// MaxLocation is what a location takes at most: see AppendLocation.
	MaxLocation = 2*binary.MaxVarintLen64 + 4*binary.MaxVarintLen32
	// EntryOverhead is what an entry takes in memory at its worst, beside its key and its value: a
	// node of full height, alignment, timestamp, meta, user meta, expiry, location.
	EntryOverhead = int64(skl.MaxNodeSize) + 7 + 8 + 2 + binary.MaxVarintLen64 + MaxLocation

	// ArenaSlack is the end of an arena that stays unused. The skiplist hands out nodes truncated
	// to their height, through pointers to the full type. Under -race (checkptr) the full type must
	// lie within the arena.
	ArenaSlack = 1 << 10

	minArena = 1 << 20
	// MaxArena is the largest that an option may ask for.
	MaxArena = 64 << 20
	// LeastArena is the smallest that an option may ask for: room for a few entries.
	LeastArena = 16 << 10
	// ArenaLimit is what the entries of an arena may take: its offsets are 32-bit, and the skiplist
	// exits the process when they overflow.
	ArenaLimit = 3 << 30
)

// Memory is an index in memory: a skiplist in an arena of fixed size. An arena that overflows ends
// the process (an assertion in Badger), therefore Room must be asked before Put. One goroutine at a
// time may put, any number may read beside it.
type Memory struct {
	list    *skl.Skiplist
	cap     int64
	entries atomic.Int64
}

// ArenaSize is what the index of a segment usually needs. The tiny segments of tests get tiny
// arenas.
func ArenaSize(segmentSize int64) int64 {
	return min(max(segmentSize/4, min(minArena, 16*segmentSize)), MaxArena)
}

// NewMemory makes an index with room for at least need bytes, and for usual bytes in all.
func NewMemory(usual, need int64) *Memory {
	n := max(usual, need+2*ArenaSlack)
	return &Memory{list: skl.NewSkiplist(n), cap: n}
}

// Put stores the place of key (internal: the timestamp is appended).
func (x *Memory) Put(key []byte, vs y.ValueStruct) {
	x.list.Put(key, vs)
	x.entries.Add(1)
}

// Get returns the newest version of the user key at or below ts.
func (x *Memory) Get(key []byte, ts uint64) (y.ValueStruct, bool) {
	var stack [128]byte
	internal := append(stack[:0], key...)
	internal = binary.BigEndian.AppendUint64(internal, ^ts)
	vs := x.list.Get(internal)
	return vs, vs.Value != nil
}

// Iterator iterates the entries, without a position yet.
func (x *Memory) Iterator(reverse bool) y.Iterator { return x.list.NewUniIterator(reverse) }

// Cap returns the bytes that it takes, in use or not.
func (x *Memory) Cap() int64 { return x.cap }

// Len returns how many entries were put.
func (x *Memory) Len() int64 { return x.entries.Load() }

// Size returns the bytes in use.
func (x *Memory) Size() int64 { return x.list.MemSize() }

// Room returns the bytes that Put may still take, EntryOverhead, key and value an entry.
func (x *Memory) Room() int64 { return x.cap - ArenaSlack - x.list.MemSize() }

// Location is what the index stores as the value of an entry.
type Location struct {
	Segment  uint64 // number of the segment
	Block    int64  // offset of the block in the segment
	Stored   uint32 // payload bytes of the block
	Offset   uint32 // of the entry in the raw block
	KeyLen   uint32 // bytes of the user key
	ValueLen uint32 // bytes of the value
}

// End is where the block ends in the segment.
func (l *Location) End() int64 { return l.Block + block.HeaderSize + int64(l.Stored) }

// within says whether an intact entry can lie there in a segment that ends at end. It bounds what
// is allocated to read it.
func (l *Location) within(segment uint64, end int64) bool {
	stored := int64(l.Stored)
	return l.Segment == segment && l.Block >= block.SegmentHeaderSize && l.Block <= end-block.HeaderSize-stored &&
		l.KeyLen <= block.MaxKeySize && int64(l.Offset)+int64(l.KeyLen)+int64(l.ValueLen) <= stored*block.MaxRatio
}

// AppendLocation encodes l.
func AppendLocation(dst []byte, l Location) []byte {
	dst = binary.AppendUvarint(dst, l.Segment)
	dst = binary.AppendUvarint(dst, uint64(l.Block))
	dst = binary.AppendUvarint(dst, uint64(l.Stored))
	dst = binary.AppendUvarint(dst, uint64(l.Offset))
	dst = binary.AppendUvarint(dst, uint64(l.KeyLen))
	return binary.AppendUvarint(dst, uint64(l.ValueLen))
}

// ParseLocation undoes AppendLocation; its error matches ErrCorrupt. It returns also what follows
// the location: in memory a short value, in a file nothing.
func ParseLocation(b []byte) (at Location, value []byte, err error) {
	var f [6]uint64
	for i := range f {
		v, n := binary.Uvarint(b)
		if n <= 0 {
			return Location{}, nil, fmt.Errorf("%w: index entry is cut off", block.ErrCorrupt)
		}
		f[i], b = v, b[n:]
	}
	return Location{Segment: f[0], Block: int64(f[1]), Stored: uint32(f[2]), Offset: uint32(f[3]),
		KeyLen: uint32(f[4]), ValueLen: uint32(f[5])}, b, nil
}

// withoutValue is a location as it is in a file.
func withoutValue(b []byte) []byte {
	_, value, _ := ParseLocation(b) // our own
	return b[:len(b)-len(value)]
}
