package spillfile

import (
	"encoding/binary"
	"fmt"
	"sync"

	"github.com/badgerspill/badgerspill/spillfile/internal/block"
	"github.com/badgerspill/badgerspill/spillfile/internal/index"
)

// Batch is one commit, encoded by the goroutine that commits it, so that whoever writes it spends a
// few bytes per block on it. It is not safe for concurrent use. Life: NewBatch, Add..., Finish,
// Log.Enqueue, Log.Commit, Free.
type Batch struct {
	// Owner is the caller's; Free clears it.
	Owner any
	// Times, if it is set before Enqueue, is filled in before OnCommit is called for the batch;
	// Free clears it.
	Times *Times

	raw    []byte // all entries, one block after the other; the index takes its keys from here
	out    []byte // room for each block's header, followed by its payload
	ents   []batchEntry
	blocks []batchBlock
	open   struct{ raw, ent int } // where the open block begins
	keys   int64                  // bytes of all keys
	inline int64                  // bytes of values that the index in memory takes up
	err    error                  // why the batch can not be written
	sealed bool                   // Finish was called

	ts, seq  uint64
	rotate   bool   // begins a new segment
	direct   uint64 // the segment's DirectThrough, if rotate
	detached bool

	// Guarded by Log.queue.mu from Enqueue until the wake-up is received.
	queued, waiting, lead bool
	result                error
	wake                  chan struct{} // one token: done or lead
}

type batchEntry struct {
	version, expiresAt uint64
	key                int    // in raw
	offset             uint32 // in the raw block
	keyLen             uint16
	meta, userMeta     byte
	valueLen           uint32
}

type batchBlock struct {
	out       int // of the header
	stored    uint32
	raw       uint32
	firstEnt  int
	count     uint32
	crc       uint32 // of the payload
	last      bool
	offset    int64  // in the segment, once written
	storedLen uint32 // on disk, tag included, once written
}

// A batch that grew beyond this is left to the garbage collector instead of the pool.
const maxPooledBatch = 1 << 20

var batchPool = sync.Pool{New: func() any { return &Batch{wake: make(chan struct{}, 1)} }}

// NewBatch returns an empty batch from a pool.
func NewBatch() *Batch { return batchPool.Get().(*Batch) }

// Free gives the batch back to the pool. It must not be called between Enqueue and the return of
// Commit. On a detached batch it does nothing: the Log frees those.
func (b *Batch) Free() {
	if !b.detached {
		b.free()
	}
}

func (b *Batch) free() {
	b.Owner, b.Times = nil, nil
	if cap(b.raw) > maxPooledBatch || cap(b.out) > maxPooledBatch || cap(b.ents) > maxPooledBatch/32 {
		return
	}
	*b = Batch{raw: b.raw[:0], out: b.out[:0], ents: b.ents[:0], blocks: b.blocks[:0], wake: b.wake}
	batchPool.Put(b)
}

// Add appends a copy of e to the batch; the caller may reuse its memory at once. Two entries of one
// key and version: the later wins. A key above MaxKeySize or a value above MaxValueSize makes
// Commit fail with ErrTooLarge; so does a value above 1 GiB in a 32-bit address space.
func (b *Batch) Add(e *Entry) {
	// half of what an int holds, so that it can be encoded
	most := min(MaxValueSize, block.MaxPiece)
	if len(e.Key) > MaxKeySize || int64(len(e.Value)) > most {
		b.err = fmt.Errorf("%w: key of %d bytes, value of %d bytes; the limits are %d and %d",
			ErrTooLarge, len(e.Key), len(e.Value), MaxKeySize, most)
		return
	}
	start := len(b.raw)
	var key int
	b.raw, key = block.AppendEntry(b.raw, e)
	if start > b.open.raw && len(b.raw)-b.open.raw > block.Target {
		b.closeBlock(start, false)
	}
	b.keys += int64(len(e.Key))
	if len(e.Value) <= index.InlineValue {
		b.inline += int64(len(e.Value))
	}
	b.ents = append(b.ents, batchEntry{
		version: e.Version, expiresAt: e.ExpiresAt,
		key: key, offset: uint32(start - b.open.raw), keyLen: uint16(len(e.Key)),
		meta: e.Meta, userMeta: e.UserMeta, valueLen: uint32(len(e.Value)),
	})
}

// Finish compresses what is left. Nothing may be added afterwards. A batch without entries is
// valid.
func (b *Batch) Finish() {
	if b.sealed {
		return
	}
	b.sealed = true
	b.closeBlock(len(b.raw), true)
}

// closeBlock makes a block of raw[open.raw:end]. b.ents must end with the block's last entry.
func (b *Batch) closeBlock(end int, last bool) {
	raw := b.raw[b.open.raw:end]
	at := len(b.out)
	var crc uint32
	b.out, crc = block.AppendBlock(b.out, raw)
	b.blocks = append(b.blocks, batchBlock{
		out: at, stored: uint32(len(b.out) - at - block.HeaderSize), raw: uint32(len(raw)), last: last,
		firstEnt: b.open.ent, count: uint32(len(b.ents) - b.open.ent), crc: crc,
	})
	b.open.raw, b.open.ent = end, len(b.ents)
}

// Len returns the number of entries.
func (b *Batch) Len() int { return len(b.ents) }

// Seq returns the sequence that Enqueue assigned, 0 before.
func (b *Batch) Seq() uint64 { return b.seq }

// Ts returns the commit timestamp given to Enqueue, 0 before.
func (b *Batch) Ts() uint64 { return b.ts }

// Size returns the bytes that the finished batch takes on disk at most: encryption, if the Log has
// it, is included.
func (b *Batch) Size() int64 { return int64(len(b.out)) + int64(len(b.blocks))*block.TagSize }

// IndexSize returns the bytes that the batch takes in the index at most.
func (b *Batch) IndexSize() int64 { return int64(len(b.ents))*index.EntryOverhead + b.keys + b.inline }

// DiskSize is Size with what the batch adds at most to the file of its segment's index.
func (b *Batch) DiskSize() int64 {
	n := b.Size()
	for i := range b.ents {
		n += index.FileEntry(int(b.ents[i].keyLen)+8, 2+binary.MaxVarintLen64+index.MaxLocation)
	}
	return n
}

// EstimateDiskSize returns what DiskSize will be at most, as EstimateSize does for Size. keyBytes
// is the sum of all key lengths.
func EstimateDiskSize(entries int, keyBytes, rawBytes int64) int64 {
	return EstimateSize(entries, rawBytes) + int64(entries)*index.FileEntry(8, 2+binary.MaxVarintLen64+index.MaxLocation) + 3*keyBytes
}

// EstimateSize returns what Size will be at most for a batch of so many entries, before it is
// encoded. rawBytes is the sum of all key and value lengths.
func EstimateSize(entries int, rawBytes int64) int64 {
	raw := rawBytes + int64(entries)*block.MaxEntryHead
	// Two neighbouring blocks hold more than block.Target together, or they would be one.
	blocks := max(1, min(int64(entries), 2*raw/block.Target+1))
	const snappyFixed = 32 // snappy.MaxEncodedLen: 32 + n + n/6
	return raw + raw/6 + blocks*(block.HeaderSize+block.TagSize+snappyFixed)
}

// EstimateIndexSize returns what IndexSize will be at most for a batch of so many entries, before
// it is encoded. keyBytes is the sum of all key lengths, rawBytes with those of values.
func EstimateIndexSize(entries int, keyBytes, rawBytes int64) int64 {
	return int64(entries)*index.EntryOverhead + keyBytes + min(rawBytes-keyBytes, int64(entries)*index.InlineValue)
}
