package spillfile

import (
	"errors"
	"io"

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

	slabs  block.Slabs // raw blocks lie here
	reader block.Reader
	window *window // of a Merge: the entries lie there, not in slabs
}

// Reset empties the chunk and keeps its memory.
func (c *Chunk) Reset() {
	if c.window != nil {
		c.window.free()
		c.window = nil
	}
	clear(c.Entries)
	c.Entries = c.Entries[:0]
	c.slabs.Reset()
	c.reader.Trim()
	c.Next, c.LastSeq, c.RawBytes, c.AtEnd = Position{}, 0, 0, false
}

func (c *Chunk) take(path string, b *block.Block, raw []byte) error {
	raw = c.slabs.Keep(raw)
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
				return block.ReadError(s.path, err)
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
					return block.ReadError(s.path, err)
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
