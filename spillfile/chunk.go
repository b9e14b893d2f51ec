package spillfile

import (
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/badgerspill/badgerspill/spillfile/internal/block"
)

// Chunk is a run of entries read for replay: in log order by Log.ReadChunkInto, in key order by
// Merge.Next, which sets only Entries and RawBytes. Its memory is its own and is reused by the next
// call: keys and values are valid until then.
type Chunk struct {
	Entries  []Entry  // Version is always filled in
	Next     Position // where the next chunk begins
	LastSeq  uint64   // last batch that ends at or before Next; 0 if the chunk has none
	RawBytes int64    // encoded size of Entries
	AtEnd    bool     // nothing was committed after Next when it was read

	slabs  [][]byte // raw blocks lie here
	slab   int      // the one being filled
	reader block.Reader
	window *window // of a Merge: the entries lie there, not in slabs
}

const slabSize = 256 << 10

// Reset empties the chunk and keeps its memory.
func (c *Chunk) Reset() {
	if c.window != nil {
		c.window.free()
		c.window = nil
	}
	clear(c.Entries)
	c.Entries = c.Entries[:0]
	// those of large entries
	c.slabs = slices.DeleteFunc(c.slabs, func(s []byte) bool { return cap(s) > slabSize })
	for i := range c.slabs {
		c.slabs[i] = c.slabs[i][:0]
	}
	c.reader.Trim()
	c.slab = 0
	c.Next, c.LastSeq, c.RawBytes, c.AtEnd = Position{}, 0, 0, false
}

// keep copies a raw block into the chunk.
func (c *Chunk) keep(raw []byte) []byte {
	for ; c.slab < len(c.slabs); c.slab++ {
		s := c.slabs[c.slab]
		if cap(s)-len(s) >= len(raw) {
			c.slabs[c.slab] = append(s, raw...)
			return c.slabs[c.slab][len(s):]
		}
	}
	c.slabs = append(c.slabs, append(make([]byte, 0, max(slabSize, len(raw))), raw...))
	return c.slabs[c.slab]
}

func (c *Chunk) take(path string, b *block.Block, raw []byte) error {
	raw = c.keep(raw)
	c.RawBytes += int64(len(raw))
	e := b.Entries(raw)
	for e.Next() {
		c.Entries = append(c.Entries, e.Entry)
	}
	return e.Err(path)
}

// ReadChunk reads committed entries from a position on (zero: the first live), at least one block
// and then as long as they have at most maxBytes, encoded but not compressed. Batches that are
// replayed already are skipped. A position in a segment that was dropped meanwhile means the first
// live one after it. It blocks for reads of files, not for commits. Damage is a *CorruptError.
func (l *Log) ReadChunk(from Position, maxBytes int64) (*Chunk, error) {
	c := new(Chunk)
	return c, l.ReadChunkInto(c, from, maxBytes)
}

// ReadChunkInto is ReadChunk into a chunk that was used before.
func (l *Log) ReadChunkInto(c *Chunk, from Position, maxBytes int64) error {
	c.Reset()
	c.Next = from
	v := l.Acquire()
	if v == nil {
		c.AtEnd = true
		return nil
	}
	defer v.Release()
	replayed := l.replayed.Load()
	for _, s := range v.segs {
		if s.id() < from.Segment || s.lastSeq.Load() <= replayed {
			continue
		}
		at := max(c.offsetIn(s, from), block.SegmentHeaderSize)
		c.reader.Reset(s.file, s.path, s.id(), s.aead, s.end.Load())
		c.Next = Position{Segment: s.id(), Offset: at}
		for {
			b, err := c.reader.Next(at)
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return readError(s.path, err)
			}
			if b.Seq > replayed {
				if len(c.Entries) > 0 && c.RawBytes+int64(b.Raw) > maxBytes {
					return nil
				}
				raw, err := c.reader.Decode(&b)
				if err == nil {
					err = c.take(s.path, &b, raw)
				}
				if err != nil {
					return readError(s.path, err)
				}
			}
			at = b.Next
			c.Next.Offset = at
			if b.Last() {
				c.LastSeq = b.Seq
			}
		}
	}
	c.AtEnd = true
	return nil
}

func (c *Chunk) offsetIn(s *segment, from Position) int64 {
	if s.id() == from.Segment {
		return from.Offset
	}
	return 0
}

func readError(path string, err error) error {
	if errors.Is(err, ErrCorrupt) {
		return err
	}
	return fmt.Errorf("spill segment %s: read: %w", path, err)
}
