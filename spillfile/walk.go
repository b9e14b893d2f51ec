package spillfile

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"

	"github.com/badgerspill/badgerspill/spillfile/internal/block"
)

// Commit is a batch that Walk found whole and intact.
type Commit struct {
	File        string // path of its segment
	Segment     uint64 // number of that
	Offset, End int64  // its blocks take the bytes from Offset to End of the file
	Seq         uint64 // sequence, which counts the commits of the log from 1
	Ts          uint64 // commit timestamp
	Replayed    bool   // the manifest says that Badger has it
	AfterLoss   bool   // a commit before it is lost, see Findings.Lost
	Count       int    // entries
	// Version is always filled in; valid, with keys and values, until the visit returns
	Entries  []Entry
	RawBytes int64 // encoded size of the entries

	stored        int64  // bytes of its payloads on disk
	directThrough uint64 // of its segment, as far as that is known
}

// FaultKind says what a Fault means for the commits.
type FaultKind int

// The kinds of Fault.
const (
	// Damage: bytes that were once durable are damaged or gone. Open fails, or a read will.
	Damage FaultKind = iota
	// Torn: what follows was never known to be durable. Open cuts it off, as after any power cut or
	// kill.
	Torn
	// IndexDamage: an index file is damaged. It is made again from its segment; nothing is lost.
	IndexDamage
)

// String returns the kind in a word or two.
func (k FaultKind) String() string {
	return [...]string{"damage", "torn tail", "damaged index"}[k]
}

// Fault is a place in a file that does not hold what it should.
type Fault struct {
	Kind   FaultKind // what it means
	File   string    // its path
	Offset int64     // of the first structure that is not intact
	// where intact content goes on; the size of the file, or what should be in it, if it does not
	End    int64
	Reason string // what is wrong, for people
}

// Loss is a run of commits that are acknowledged, not replayed, and not readable any more.
type Loss struct {
	FirstSeq uint64 // sequence of the first of them
	LastSeq  uint64 // of the last; 0: the log ends with them, and how many they are is not known
	AfterTs  uint64 // commit timestamp of the readable commit before them, 0 if there is none
	BeforeTs uint64 // of the one behind them, 0 if there is none
}

// Commits returns how many commits are lost, 0 if that is not known.
func (l Loss) Commits() uint64 {
	if l.LastSeq == 0 {
		return 0
	}
	return l.LastSeq - l.FirstSeq + 1
}

// Findings is what Walk found. Sizes are bytes.
type Findings struct {
	Segments int   // read; those that are wholly replayed are not
	Bytes    int64 // of their files
	Blocks   int64 // intact
	Commits  int64 // whole, intact and not replayed
	Replayed int64 // whole, intact and replayed
	// of Commits, those behind a lost one; without damage Open drops them with the torn tail
	AfterLoss int64
	Entries   int64 // of Commits
	RawBytes  int64 // encoded size of Entries
	Indexes   int   // index files that Verify has compared

	FirstTs, LastTs uint64 // lowest and highest commit timestamp of Commits, 0 if there are none
	// NewestSeq is the highest sequence that is known of, readable or not. A manifest may know of
	// commits that an earlier power cut has taken; with damage they count as lost, too.
	NewestSeq uint64

	// Faults are in the order of the log, those of indexes at the end.
	Faults []Fault
	// Lost is in the order of the log. With the manifest lost, too, what came before the first
	// segment is not counted: whether it was replayed is not known then.
	Lost []Loss
	// ManifestLost: the manifest is missing or damaged, so that nothing says which commits are
	// replayed.
	ManifestLost bool
	// TornBytes are what Open would cut off.
	TornBytes int64
	// OpenError is why Open would refuse the spill, nil if it would not. Damage in a segment with
	// an index does not keep Open from succeeding: it is noticed when the block is read.
	OpenError error
}

// Damaged says whether anything is wrong that Open does not repair: faults of kind Damage.
func (f *Findings) Damaged() bool {
	return slices.ContainsFunc(f.Faults, func(f Fault) bool { return f.Kind == Damage })
}

// Walk reads all blocks of all segments that are not wholly replayed, checks them, and calls visit
// (nil: nobody) with each whole commit in the order of the log. It goes on after damage, with the
// next commit that is intact. It writes nothing and takes no lock: see Source.Lock. It ends with
// the error of visit, of ctx, or of a file that cannot be read at all; ErrKeyMissing or ErrWrongKey
// for what is encrypted under another key; a *VersionError for a newer format. Damage is in the
// findings, not an error.
func Walk(ctx context.Context, src Source, visit func(*Commit) error) (*Findings, error) {
	w, err := newWalker(ctx, src, visit)
	if err != nil {
		return nil, err
	}
	defer w.close()
	return w.run()
}

// walker reads the segments of a look in order.
//
// The order of blocks is judged by scanner, which recovery uses, too; marks are collected as
// recovery does, and tell in the end which faults are damage and which are a torn tail.
type walker struct {
	*look
	ctx     context.Context
	src     Source
	visit   func(*Commit) error
	headers bool // blocks are checked and counted, not decoded: no key is needed

	report Findings
	faults []placedFault
	rd     block.Reader
	pace   pacer
	chunk  Chunk
	commit Commit
	order  scanner
	// the place in a batch, or in the log, is unknown: wait for the beginning of a batch
	resync bool
	// the sequence through which all are accounted for: visited, replayed or lost
	last       uint64
	lastTs     uint64 // of the commit visited last
	direct     uint64 // highest directThrough of the segments so far
	newestGone error  // the newest segment is missing
	// nothing says where the log begins: with the first block that is seen
	lostStart bool
	sound     map[uint64]bool // segments without a fault
	// where in a segment the first commit begins that is not replayed
	liveFrom map[uint64]int64
	read     func(*foundSegment) // is told of each segment that was read, nil: nobody is
}

// placedFault is a fault of which it is not decided whether it is damage.
type placedFault struct {
	Fault
	certain bool     // damage wherever it lies
	tail    Position // the end of the last whole batch before it
}

// damage says whether it is, once the highest mark is known: as in recovery, durable bytes lie
// behind it then.
func (f *placedFault) damage(mark Position) bool { return f.certain || mark.After(f.tail) }

func newWalker(ctx context.Context, src Source, visit func(*Commit) error) (*walker, error) {
	k, err := newLook(src)
	if err != nil {
		return nil, err
	}
	return &walker{look: k, ctx: ctx, src: src, visit: visit, pace: pacer{rate: src.Rate}, sound: map[uint64]bool{}, liveFrom: map[uint64]int64{}}, nil
}

func (w *walker) run() (*Findings, error) {
	if w.manifestErr != nil {
		w.report.ManifestLost = true
		w.addError(filepath.Join(w.src.Dir, manifestName), w.manifestErr)
	}
	m := w.contents.manifest
	w.last = m.replayed
	w.know(m.lastSeq)
	if len(w.chain) > 0 {
		w.tail = Position{Segment: w.chain[0].id, Offset: 0}
	}
	w.seeManifest()
	w.newestGone = w.seeClaim()
	for i, f := range w.chain {
		if err := w.segment(f, i == 0); err != nil {
			return nil, err
		}
		if w.read != nil {
			w.read(f)
		}
	}
	if w.newestGone != nil {
		w.addError("", w.newestGone)
	}
	return &w.report, w.finish()
}

// seeManifest sees the manifest's mark.
func (w *walker) seeManifest() {
	if m := w.contents.manifest; m.markSeq > m.replayed {
		w.seeMark(m.mark, filepath.Join(w.src.Dir, manifestName))
	}
}

// addError adds what is damage whatever the marks say.
func (w *walker) addError(file string, err error) {
	f := Fault{File: file, Reason: err.Error()}
	if c := new(CorruptError); errors.As(err, &c) {
		f.File, f.Offset, f.Reason = c.File, c.Offset, c.Reason
	}
	f.End = f.Offset
	w.faults = append(w.faults, placedFault{Fault: f, certain: true})
}

// addFault adds what a torn tail may be, too.
func (w *walker) addFault(f *foundSegment, at int64, err error) {
	fault := Fault{File: f.path, Offset: at, End: f.limit, Reason: err.Error()}
	if c := new(CorruptError); errors.As(err, &c) {
		fault.Offset, fault.Reason = c.Offset, c.Reason
	}
	w.faults = append(w.faults, placedFault{Fault: fault, tail: w.tail})
}

func (w *walker) know(seq uint64) { w.report.NewestSeq = max(w.report.NewestSeq, seq) }

// lose accounts for the sequences through last, whose commits are not readable.
func (w *walker) lose(last uint64) {
	if last > w.last {
		w.report.Lost = append(w.report.Lost, Loss{FirstSeq: w.last + 1, LastSeq: last, AfterTs: w.lastTs})
		w.last = last
	}
}

// segment reads one segment of the chain.
func (w *walker) segment(f *foundSegment, first bool) error {
	m := w.contents.manifest
	w.report.Segments++
	w.report.Bytes += f.size
	before := len(w.faults)
	for _, g := range w.gaps {
		if g.before == f {
			w.addError(f.path, g.err)
		}
	}
	w.knowIndex(f)
	w.resync = f.bad != nil
	w.lostStart = first && w.report.ManifestLost && f.bad != nil
	if f.bad != nil {
		if f.size > 0 {
			w.addFault(f, 0, f.bad)
			w.faults[len(w.faults)-1].End = min(f.size, block.SegmentHeaderSize)
		}
	} else {
		h := &f.header
		if h.DatabaseID != m.databaseID {
			w.addError(f.path, block.Corrupt(f.path, 16, "segment is of database %x, this one is %x", h.DatabaseID, m.databaseID))
			return nil
		}
		if err := w.openKey(f); err != nil {
			return err
		}
		if m.clean && m.mark.Segment == f.id {
			f.known, f.want = true, m.mark.Offset
			f.limit = min(f.size, f.want)
		}
		if first && w.report.ManifestLost {
			w.last = h.PrevLastSeq
		}
		w.know(h.PrevLastSeq)
		if len(w.faults) == 0 && h.PrevLastSeq > w.last {
			w.addError(f.path, block.Corrupt(f.path, 56, "it follows sequence %d, the segment before ends with %d", h.PrevLastSeq, w.last))
		}
		w.lose(h.PrevLastSeq)
		w.last = max(w.last, h.FirstSeq-1) // those in between have failed
		w.direct = max(w.direct, h.DirectThrough)
	}
	if f.size <= block.SegmentHeaderSize && f.bad != nil {
		w.sound[f.id] = false
		return nil
	}
	w.order = *newScanner(f.path, f.header.FirstSeq, ^uint64(0))
	w.rd.Reset(f.file, f.path, f.id, f.aead, f.limit)
	if err := w.blocks(f); err != nil {
		return err
	}
	w.sound[f.id] = len(w.faults) == before
	return nil
}

func (w *walker) openKey(f *foundSegment) (err error) {
	if w.headers {
		return nil
	}
	f.aead, err = f.header.OpenDataKey(f.path, w.o.EncryptionKey)
	return err
}

// knowIndex learns from the footer of a segment's index which commits there were, that they were
// durable, and where they end if nobody else says it: what a failed write has left may follow.
func (w *walker) knowIndex(f *foundSegment) {
	ft, _, _ := w.footer(f) // without a descriptor it is not known
	if ft == nil {
		return
	}
	w.seeMark(Position{Segment: f.id, Offset: ft.End}, w.indexPath(f.id))
	w.know(ft.LastSeq)
	if !f.known {
		f.known, f.want = true, ft.End
		f.limit = min(f.size, f.want)
	}
}

// blocks reads all blocks of a segment.
func (w *walker) blocks(f *foundSegment) error {
	s := block.NewSearch(f.size)
	at := int64(block.SegmentHeaderSize)
	for {
		if err := w.ctx.Err(); err != nil {
			return err
		}
		b, err := w.rd.Next(at)
		if err == io.EOF {
			break
		}
		if errors.Is(err, ErrTooLarge) { // for this system, and no damage
			return readError(f.path, err)
		}
		if err != nil {
			w.begin(true)
			if !w.pending(f, at) {
				w.addFault(f, at, err)
			}
			if at, err = w.seek(s, at); err != nil {
				return readError(f.path, err)
			}
			if at == f.limit {
				w.tailEnds(f)
				return nil
			}
			w.faults[len(w.faults)-1].End = at
			continue
		}
		w.report.Blocks++
		w.seeMark(b.Mark, f.path)
		if err := w.block(f, &b); err != nil {
			return err
		}
		if err := w.pace.read(w.ctx, b.Next-at); err != nil {
			return err
		}
		at = b.Next
	}
	if !w.resync && (w.order.end != f.limit || f.known && w.order.end != f.want) {
		w.addFault(f, w.order.end, fmt.Errorf("the file ends within a batch, or before %d where it should end", max(f.want, f.limit)))
		w.tailEnds(f)
	}
	return nil
}

// tailEnds says of the fault added last that nothing intact follows it in its file.
func (w *walker) tailEnds(f *foundSegment) { w.faults[len(w.faults)-1].End = max(f.limit, f.want) }

// pending says whether the fault at hand is what the one before has led to: the header of a
// segment.
func (w *walker) pending(f *foundSegment, at int64) bool {
	if len(w.faults) == 0 {
		return false
	}
	last := &w.faults[len(w.faults)-1]
	return last.File == f.path && last.End == at && !last.certain
}

// seek returns the offset of the next intact block after at, the end of what counts if there is
// none. Where the file cannot be read, it goes on with the next page. The error is ErrTooLarge.
func (w *walker) seek(s *block.Search, at int64) (int64, error) {
	const page = 4096
	for at++; at < w.rd.Limit; {
		_, found, err := s.Next(&w.rd, at)
		if found {
			return s.At, nil
		}
		if err == nil {
			break
		}
		if errors.Is(err, ErrTooLarge) {
			return at, err
		}
		at = (s.At/page + 1) * page
	}
	return w.rd.Limit, nil
}

// begin empties the commit that is being gathered.
func (w *walker) begin(resync bool) {
	w.chunk.Reset()
	w.commit = Commit{}
	w.resync = resync
}

// block takes an intact block.
func (w *walker) block(f *foundSegment, b *block.Block) error {
	w.know(b.Seq)
	if w.lostStart {
		w.last, w.lostStart = b.Seq-1, false
	}
	if !w.resync {
		if err := w.order.take(&w.rd, b); err != nil {
			w.addError(f.path, err)
			w.begin(true)
		}
	}
	if w.resync {
		if b.Number != 0 || b.Seq <= w.last && b.Seq > w.contents.manifest.replayed {
			return nil // the rest of a batch whose beginning is not intact
		}
		w.order.open, w.order.seq = false, b.Seq-1
		w.begin(false)
		if err := w.order.take(&w.rd, b); err != nil {
			return err
		}
	}
	c := &w.commit
	if b.Number == 0 {
		w.begin(false)
		*c = Commit{File: f.path, Segment: f.id, Offset: b.At.Offset, Seq: b.Seq, Ts: b.Ts, Replayed: b.Seq <= w.contents.manifest.replayed}
	}
	if !w.headers {
		raw, err := w.rd.Decode(b)
		if err == nil {
			err = w.chunk.take(f.path, b, raw)
		}
		if err != nil {
			if last := len(w.faults) - 1; f.bad == nil || last < 0 || w.faults[last].File != f.path || w.faults[last].End != b.At.Offset {
				w.addError(f.path, err)
			} // without the header's data key all blocks are like that: one fault
			w.faults[len(w.faults)-1].End = b.Next
			w.begin(true)
			return nil
		}
	}
	c.Count += int(b.Count)
	c.RawBytes += int64(b.Raw)
	c.stored += int64(b.Stored)
	if !b.Last() {
		return nil
	}
	c.End, c.Entries = b.Next, w.chunk.Entries
	w.tail = Position{Segment: f.id, Offset: b.Next}
	return w.whole()
}

// whole takes the commit that is gathered.
func (w *walker) whole() error {
	c, n := &w.commit, &w.report
	if c.Replayed {
		n.Replayed++
	} else {
		if _, seen := w.liveFrom[c.Segment]; !seen {
			w.liveFrom[c.Segment] = c.Offset
		}
		w.lose(c.Seq - 1)
		for i := range n.Lost {
			if l := &n.Lost[i]; l.BeforeTs == 0 {
				l.BeforeTs = c.Ts
			}
		}
		w.last, w.lastTs = c.Seq, c.Ts
		if c.AfterLoss = len(n.Lost) > 0; c.AfterLoss {
			n.AfterLoss++
		}
		n.Commits++
		n.Entries += int64(c.Count)
		n.RawBytes += c.RawBytes
		if n.FirstTs == 0 || c.Ts < n.FirstTs {
			n.FirstTs = c.Ts
		}
		n.LastTs = max(n.LastTs, c.Ts)
	}
	c.directThrough = w.direct
	var err error
	if w.visit != nil {
		err = w.visit(c)
	}
	w.begin(false)
	return err
}

// finish decides what the faults are, and what is lost at the end.
func (w *walker) finish() error {
	n := &w.report
	if !w.headers {
		n.TornBytes, n.OpenError = verdict(w.src)
		o := w.src.options()
		n.OpenError = o.explained(n.OpenError)
	}
	for _, f := range w.faults {
		if !f.damage(w.mark) {
			f.Kind = Torn
		}
		n.Faults = append(n.Faults, f.Fault)
	}
	if c := new(CorruptError); errors.As(n.OpenError, &c) && !n.Damaged() {
		n.Faults = append(n.Faults, Fault{File: c.File, Offset: c.Offset, End: c.Offset, Reason: c.Reason})
	}
	if n.Damaged() {
		w.loseTail()
	} // or else what is missing at the end was never known to be durable
	return nil
}

// loseTail accounts for what the log held behind the last commit that is readable.
func (w *walker) loseTail() {
	n := &w.report
	if w.newestGone != nil {
		n.Lost = append(n.Lost, Loss{FirstSeq: w.last + 1, AfterTs: w.lastTs})
		return
	}
	if n.NewestSeq > w.last {
		w.lose(n.NewestSeq)
		return
	}
	if len(w.faults) == 0 || len(w.chain) == 0 {
		return
	}
	// Damage up to the end, and nothing says how far the log went.
	i, last := len(w.faults)-1, w.chain[len(w.chain)-1]
	if f := &n.Faults[i]; f.Kind == Damage && f.File == last.path && f.End > f.Offset && f.End >= last.limit {
		n.Lost = append(n.Lost, Loss{FirstSeq: w.last + 1, AfterTs: w.lastTs})
	}
}
