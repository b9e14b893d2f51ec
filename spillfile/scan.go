package spillfile

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
func (r *recovery) scan(f *foundSegment) error {
	replayed := r.contents.manifest.replayed
	sc := newScanner(f.path, f.header.FirstSeq, replayed)
	rd := new(block.Reader)
	rd.Reset(f.file, f.path, f.id, f.aead, f.limit)
	bad, err := sc.scan(rd, func(b *block.Block) error {
		r.seeMark(b.Mark, f.path)
		if b.Last() && b.Seq > replayed {
			r.progress.Commits++
		}
		return r.read(b.Size())
	})
	if err != nil {
		return err
	}
	if bad == nil && (sc.end != f.limit || f.known && sc.end != f.want) {
		bad = block.Corrupt(f.path, sc.end, "the file ends within a batch, or before %d where the next segment says that it ends", f.want)
	}
	r.tail = Position{Segment: f.id, Offset: sc.end}
	if bad != nil {
		r.cut = &cut{file: f.path, offset: sc.end, reason: bad}
	}
	if sc.end > block.SegmentHeaderSize && sc.seq > replayed {
		mem, err := sc.build()
		if err != nil {
			return err
		}
		f.index = segmentIndex{mem: mem}
		f.end, f.lastSeq = sc.end, sc.seq
		f.minTs, f.maxTs, f.maxVersion, f.mixed = sc.minTs, sc.maxTs, sc.maxVersion, sc.mixed
		r.live = append(r.live, f)
		r.lastSeq = sc.seq
		if bad != nil {
			return r.dropFrom(f, sc.end)
		}
		return nil
	}
	// Dead, or without a whole batch: the file goes.
	if bad != nil {
		return r.dropFrom(f, 0)
	}
	r.remove = append(r.remove, f.id)
	return nil
}

// readIndex makes the index of the sealed segment that rd reads by reading all of it. It must end
// with lastSeq, and at the reader's limit. It leaves out nothing: views that were acquired before
// something was replayed hold older segments, whose entries must stay hidden. The scanner has the
// ranges of what was read.
func readIndex(rd *block.Reader, firstSeq, lastSeq uint64) (*index.Memory, *scanner, error) {
	sc := newScanner(rd.Path, firstSeq, 0)
	bad, err := sc.scan(rd, nil)
	switch {
	case err != nil:
		return nil, nil, err
	case bad != nil:
		return nil, nil, bad
	case sc.end != rd.Limit || sc.seq != lastSeq:
		return nil, nil, block.Corrupt(rd.Path, sc.end, "the segment ends with batch %d, want %d at %d", sc.seq, lastSeq, rd.Limit)
	}
	mem, err := sc.build()
	return mem, sc, err
}

// scanner checks the sequence of blocks and gathers entries. It is the way to make an index, at
// Open and later.
type scanner struct {
	path     string
	replayed uint64

	end    int64  // of the last whole batch
	seq    uint64 // of the last whole batch
	open   bool   // a batch is open: header is that of its last block
	header block.Header

	// of whole batches that are not replayed; maxVersion once the index is built
	minTs, maxTs, maxVersion uint64
	mixed                    bool // an entry has a version of its own, be its batch whole or not

	kept    int       // entries of whole batches
	entries []scanned // and those of the open one
	slab    []byte
}

// newScanner returns a scanner of a segment whose first batch has firstSeq, that leaves out batches
// up to replayed.
func newScanner(path string, firstSeq, replayed uint64) *scanner {
	return &scanner{path: path, replayed: replayed, end: block.SegmentHeaderSize, seq: firstSeq - 1}
}

// scan reads the blocks of a segment from its first one on, as far as the reader's limit and as
// they are intact. seen (nil: nobody) is told of each block. bad is the damage that ended it before
// the limit, nil if none did.
func (sc *scanner) scan(rd *block.Reader, seen func(*block.Block) error) (bad, err error) {
	for at := int64(block.SegmentHeaderSize); ; {
		b, err := rd.Next(at)
		switch {
		case err == io.EOF:
			return nil, nil
		case errors.Is(err, ErrCorrupt):
			return err, nil
		case err != nil:
			return nil, readError(sc.path, err)
		}
		if err := sc.take(rd, &b); err != nil {
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

// take adds an intact block. What contradicts the block before it was not written by this package,
// or not in this order: that is corruption wherever it lies.
func (sc *scanner) take(rd *block.Reader, b *block.Block) error {
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
		sc.end, sc.seq, sc.kept = b.Next, b.Seq, len(sc.entries)
		if b.Seq > sc.replayed {
			sc.note(b.Ts)
		}
	}
	return nil
}

// note extends the range of timestamps by a batch.
func (sc *scanner) note(ts uint64) {
	if sc.minTs == 0 || ts < sc.minTs {
		sc.minTs = ts
	}
	sc.maxTs = max(sc.maxTs, ts)
}

func (sc *scanner) decode(rd *block.Reader, b *block.Block) error {
	raw, err := rd.Decode(b)
	if err != nil {
		return err
	}
	e := b.Entries(raw)
	for e.Next() {
		if e.Own {
			sc.mixed = true
		}
		sc.entries = append(sc.entries, scanned{
			key: sc.internal(e.Key, e.Version), expiresAt: e.ExpiresAt, meta: e.Meta, userMeta: e.UserMeta, version: e.Version,
			at: index.Location{Segment: b.At.Segment, Block: b.At.Offset, Stored: b.Stored, Offset: uint32(e.Offset),
				KeyLen: uint32(len(e.Key)), ValueLen: uint32(len(e.Value))},
		})
	}
	return e.Err(rd.Path)
}

func (sc *scanner) internal(key []byte, version uint64) []byte {
	if cap(sc.slab)-len(sc.slab) < len(key)+8 {
		sc.slab = make([]byte, 0, max(slabSize, len(key)+8))
	}
	start := len(sc.slab)
	sc.slab = append(sc.slab, key...)
	sc.slab = binary.BigEndian.AppendUint64(sc.slab, ^version)
	return sc.slab[start:len(sc.slab):len(sc.slab)]
}

// build indexes the entries of whole batches.
func (sc *scanner) build() (*index.Memory, error) {
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
		sc.maxVersion = max(sc.maxVersion, e.version)
	}
	return x, nil
}

// findMarks looks for intact blocks anywhere in f from an offset on, for the synced marks in them.
// The checksum covers the block's place, so what lies in a value and merely looks like a block does
// not count.
func (r *recovery) findMarks(f *foundSegment, from int64) error {
	from = max(from, block.SegmentHeaderSize)
	rd := new(block.Reader)
	rd.Reset(f.file, f.path, f.id, nil, f.size)
	s := block.NewSearch(f.size - from)
	s.Ask = func() error { return r.read(0) }
	for at := from; ; {
		h, found, err := s.Next(rd, at)
		switch {
		case s.Refused:
			return err
		case err != nil:
			return readError(f.path, err)
		}
		if !found {
			return nil
		}
		r.seeMark(h.Mark, f.path)
		at = s.At + block.HeaderSize + int64(h.Stored)
	}
}
