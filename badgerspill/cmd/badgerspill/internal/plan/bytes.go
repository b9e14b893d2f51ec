package plan

import (
	"encoding/binary"
	"math"
)

// The bytes of the spill, as docs/format.md has them.
const (
	blockHeader = 56
	blockTarget = 8 << 10 // raw bytes of a block, unless one entry is larger
	// snappyFixed is what a block takes that does not compress at all: its length, and the tag of
	// the literal.
	snappyFixed = 6

	segmentHeader = 192
	indexFooter   = 192

	leafTarget = 4 << 10 // bytes of a leaf of an index
	leafHeader = 12
	// leafFile and leafMemory are what a leaf has in the table: size, separator and lengths; and in
	// memory, where slices have room to grow.
	leafFile, leafMemory = 16, 32
	tableMost            = 2 // bytes of the table for each entry at most
	filterEntry          = 2 // bytes of the filter for each key
	indexFixed           = 512
	// of the spill's capacity: a segment is no larger, so a small spill frees its room in parts
	segmentShare = 16

	// inlineValue is up to how many bytes a value lies in the index in memory.
	inlineValue = 64
	// arenaNode is what the skip list of that index takes for an entry of mean height, aligned.
	arenaNode = 29
	arenaLost = 4 << 10 // at the end, where the largest entry might not fit
)

func uvarint(n int64) int64 {
	return int64(len(binary.AppendUvarint(nil, uint64(n))))
}

// payload is what an entry takes in a block before it is compressed.
func (b *Burst) payload() int64 {
	const head = 4 // meta, user meta, no expiry, version of the commit
	return head + uvarint(b.KeySize) + uvarint(b.ValueSize) + b.entryBytes()
}

// blocks is how many blocks a commit of so many entries has.
func (b *Burst) blocks(entries int64) int64 {
	each := max(1, blockTarget/b.payload())
	return (entries + each - 1) / each
}

// commitBytes is what a commit takes in a segment.
func (b *Burst) commitBytes(entries int64) float64 {
	return float64(b.blocks(entries)*(blockHeader+snappyFixed)) + float64(entries*b.payload())/b.Ratio
}

// location is what tells where an entry is: segment, block and its length, place in the block,
// lengths of key and value.
func (b *Burst) location() int64 {
	const segment, offset = 1, 4
	each := max(1, min(b.Batch, blockTarget/b.payload()))
	stored := int64(float64(each*b.payload())/b.Ratio) + snappyFixed
	return segment + offset + uvarint(stored) + uvarint((each-1)*b.payload()/2) + uvarint(b.KeySize) + uvarint(b.ValueSize)
}

// leafEntry is what an entry takes in a leaf. Keys are taken as random: those of a leaf have one
// byte in common.
func (b *Burst) leafEntry() int64 {
	const flags, offset = 3, 4
	rest := b.KeySize + 8 - 1
	return uvarint(rest) + rest + flags + b.location() + offset
}

// leaves is how many leaves there are for each entry.
func (b *Burst) leaves() float64 { return min(1, float64(b.leafEntry())/leafTarget) }

// indexEntry is what an entry takes in an index file.
func (b *Burst) indexEntry() float64 {
	return float64(b.leafEntry()) + filterEntry + b.leaves()*(leafHeader+leafFile)
}

// memoryEntry is what an entry of a sealed segment takes in memory.
func (b *Burst) memoryEntry() float64 {
	return filterEntry + min(tableMost, b.leaves()*leafMemory)
}

// arenaEntry is what an entry of the segment that is being written takes in memory.
func (b *Burst) arenaEntry() int64 {
	n := arenaNode + b.KeySize + 8 + 3 + b.location()
	if b.ValueSize <= inlineValue {
		n += b.ValueSize
	}
	return n
}

func ceil(x float64) int64 { return int64(math.Ceil(x)) }
