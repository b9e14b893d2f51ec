package recovery

import (
	"encoding/binary"
	"errors"
	"io"

	"github.com/dgraph-io/badger/v4/y"

	"github.com/badgerspill/badgerspill/spillfile/internal/block"
	"github.com/badgerspill/badgerspill/spillfile/internal/index"
)

// scanned is an entry found in a segment, until its batch is known to be whole.
type scanned struct {
	key            []byte // internal
	version        uint64
	expiresAt      uint64
	meta, userMeta byte
	at             index.Location
}

// scan reads a segment of the chain, indexes its live batches, and sets the cut if it does not end
// as it should.
func (r *Recovery) scan(f *Segment) error {
	replayed := r.Contents.Manifest.Replayed
	sc := NewScanner(f.Path, f.Header.FirstSeq, replayed)
	rd := new(block.Reader)
	rd.Reset(f.File, f.Path, f.ID, f.AEAD, f.Limit)
	bad, err := sc.scan(rd, func(b *block.Block) error {
		r.SeeMark(b.Mark, f.Path)
		if b.Last() && b.Seq > replayed {
			r.progress.Commits++
		}
		return r.read(b.Size())
	})
	if err != nil {
		return err
	}
	if bad == nil && (sc.End != f.Limit || f.Known && sc.End != f.Want) {
		bad = block.Corrupt(f.Path, sc.End, "the file ends within a batch, or before %d where the next segment says that it ends", f.Want)
	}
	r.Tail = block.Position{Segment: f.ID, Offset: sc.End}
	if bad != nil {
		r.cut = &cut{file: f.Path, offset: sc.End, reason: bad}
	}
	if sc.End > block.SegmentHeaderSize && sc.seq > replayed {
		mem, err := sc.build()
		if err != nil {
			return err
		}
		f.Memory = mem
		f.End, f.LastSeq = sc.End, sc.seq
		f.MinTs, f.MaxTs, f.MaxVersion, f.Mixed = sc.MinTs, sc.MaxTs, sc.MaxVersion, sc.Mixed
		r.Live = append(r.Live, f)
		r.LastSeq = sc.seq
		if bad != nil {
			return r.dropFrom(f, sc.End)
		}
		return nil
	}
	// Dead, or without a whole batch: the file goes.
	if bad != nil {
		return r.dropFrom(f, 0)
	}
	r.remove = append(r.remove, f.ID)
	return nil
}

// ReadIndex makes the index of the sealed segment that rd reads by reading all of it. It must end
// with lastSeq, and at the reader's limit. It leaves out nothing: views that were acquired before
// something was replayed hold older segments, whose entries must stay hidden. The Scanner has the
// ranges of what was read. What is damaged, or ends elsewhere, is a *block.CorruptError.
func ReadIndex(rd *block.Reader, firstSeq, lastSeq uint64) (*index.Memory, *Scanner, error) {
	sc := NewScanner(rd.Path, firstSeq, 0)
	bad, err := sc.scan(rd, nil)
	switch {
	case err != nil:
		return nil, nil, err
	case bad != nil:
		return nil, nil, bad
	case sc.End != rd.Limit || sc.seq != lastSeq:
		return nil, nil, block.Corrupt(rd.Path, sc.End, "the segment ends with batch %d, want %d at %d", sc.seq, lastSeq, rd.Limit)
	}
	mem, err := sc.build()
	return mem, sc, err
}

// Scanner checks the sequence of blocks and gathers entries. It is the way to make an index, at
// Open and later. It is for one goroutine.
type Scanner struct {
	path     string
	replayed uint64

	End    int64  // of the last whole batch
	seq    uint64 // of the last whole batch
	open   bool   // a batch is open: header is that of its last block
	header block.Header

	// of whole batches that are not replayed; MaxVersion once the index is built
	MinTs, MaxTs, MaxVersion uint64
	Mixed                    bool // an entry has a version of its own, be its batch whole or not

	kept    int       // entries of whole batches
	entries []scanned // and those of the open one
	slab    []byte
}

// NewScanner returns a Scanner of a segment whose first batch has firstSeq, that leaves out batches
// up to replayed.
func NewScanner(path string, firstSeq, replayed uint64) *Scanner {
	return &Scanner{path: path, replayed: replayed, End: block.SegmentHeaderSize, seq: firstSeq - 1}
}

// scan reads the blocks of a segment from its first one on, as far as the reader's limit and as
// they are intact. seen (nil: nobody) is told of each block. bad is the damage that ended it before
// the limit, nil if none did.
func (sc *Scanner) scan(rd *block.Reader, seen func(*block.Block) error) (bad, err error) {
	for at := int64(block.SegmentHeaderSize); ; {
		b, err := rd.Next(at)
		switch {
		case err == io.EOF:
			return nil, nil
		case errors.Is(err, block.ErrCorrupt):
			return err, nil
		case err != nil:
			return nil, block.ReadError(sc.path, err)
		}
		if err := sc.Take(rd, &b); err != nil {
			return nil, err
		}
		if seen != nil {
			if err := seen(&b); err != nil {
				return nil, err
			}
		}
		at = b.Next
	}
}

// Take adds an intact block. What contradicts the block before it was not written by this package,
// or not in this order: that is corruption wherever it lies.
func (sc *Scanner) Take(rd *block.Reader, b *block.Block) error {
	switch {
	case !sc.open && (b.Seq != sc.seq+1 || b.Number != 0):
		return block.Corrupt(rd.Path, b.At.Offset, "block %d of batch %d follows batch %d", b.Number, b.Seq, sc.seq)
	case sc.open && (b.Seq != sc.header.Seq || b.Number != sc.header.Number+1 || b.Ts != sc.header.Ts):
		return block.Corrupt(rd.Path, b.At.Offset, "block %d of batch %d@%d follows block %d of batch %d@%d",
			b.Number, b.Seq, b.Ts, sc.header.Number, sc.header.Seq, sc.header.Ts)
	}
	sc.open, sc.header = !b.Last(), b.Header
	if b.Seq > sc.replayed {
		if err := sc.decode(rd, b); err != nil {
			return err
		}
	}
	if !sc.open {
		sc.End, sc.seq, sc.kept = b.Next, b.Seq, len(sc.entries)
		if b.Seq > sc.replayed {
			sc.note(b.Ts)
		}
	}
	return nil
}

// Expect makes the next block the first one of the batch with sequence seq, whatever was before.
func (sc *Scanner) Expect(seq uint64) { sc.open, sc.seq = false, seq-1 }

// note extends the range of timestamps by a batch.
func (sc *Scanner) note(ts uint64) {
	if sc.MinTs == 0 || ts < sc.MinTs {
		sc.MinTs = ts
	}
	sc.MaxTs = max(sc.MaxTs, ts)
}

func (sc *Scanner) decode(rd *block.Reader, b *block.Block) error {
	raw, err := rd.Decode(b)
	if err != nil {
		return err
	}
	e := b.Entries(raw)
	for e.Next() {
		if e.Own {
			sc.Mixed = true
		}
		sc.entries = append(sc.entries, scanned{
			key: sc.internal(e.Key, e.Version), expiresAt: e.ExpiresAt, meta: e.Meta, userMeta: e.UserMeta, version: e.Version,
			at: index.Location{Segment: b.At.Segment, Block: b.At.Offset, Stored: b.Stored, Offset: uint32(e.Offset),
				KeyLen: uint32(len(e.Key)), ValueLen: uint32(len(e.Value))},
		})
	}
	return e.Err(rd.Path)
}

func (sc *Scanner) internal(key []byte, version uint64) []byte {
	if cap(sc.slab)-len(sc.slab) < len(key)+8 {
		sc.slab = make([]byte, 0, max(block.SlabSize, len(key)+8))
	}
	start := len(sc.slab)
	sc.slab = append(sc.slab, key...)
	sc.slab = binary.BigEndian.AppendUint64(sc.slab, ^version)
	return sc.slab[start:len(sc.slab):len(sc.slab)]
}

// build indexes the entries of whole batches.
func (sc *Scanner) build() (*index.Memory, error) {
	need := int64(0)
	for _, e := range sc.entries[:sc.kept] {
		need += index.EntryOverhead + int64(len(e.key)-8)
	}
	if err := block.InOnePiece(sc.path, need); err != nil {
		return nil, err
	}
	if need > index.ArenaLimit {
		return nil, block.Corrupt(sc.path, block.SegmentHeaderSize, "the index would take %d bytes, the limit is %d", need, int64(index.ArenaLimit))
	}
	x := index.NewMemory(0, need)
	var loc []byte
	for _, e := range sc.entries[:sc.kept] {
		loc = index.AppendLocation(loc[:0], e.at)
		x.Put(e.key, y.ValueStruct{Meta: e.meta, UserMeta: e.userMeta, ExpiresAt: e.expiresAt, Value: loc})
		sc.MaxVersion = max(sc.MaxVersion, e.version)
	}
	return x, nil
}

// findMarks looks for intact blocks anywhere in f from an offset on, for the synced marks in them.
// The checksum covers the block's place, so what lies in a value and merely looks like a block does
// not count.
func (r *Recovery) findMarks(f *Segment, from int64) error {
	from = max(from, block.SegmentHeaderSize)
	rd := new(block.Reader)
	rd.Reset(f.File, f.Path, f.ID, nil, f.Size)
	s := block.NewSearch(f.Size - from)
	s.Ask = func() error { return r.read(0) }
	for at := from; ; {
		h, found, err := s.Next(rd, at)
		switch {
		case s.Refused:
			return err
		case err != nil:
			return block.ReadError(f.Path, err)
		}
		if !found {
			return nil
		}
		r.SeeMark(h.Mark, f.Path)
		at = s.At + block.HeaderSize + int64(h.Stored)
	}
}
