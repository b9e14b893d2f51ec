package check

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"github.com/badgerspill/badgerspill/spillfile/internal/block"
	"github.com/badgerspill/badgerspill/spillfile/internal/layout"
	"github.com/badgerspill/badgerspill/spillfile/internal/pace"
	"github.com/badgerspill/badgerspill/spillfile/internal/recovery"
)

// Walk reads all blocks of all segments that are not wholly replayed, checks them, and calls visit
// (nil: nobody) with each whole commit in the order of the log. It goes on after damage, with the
// next commit that is intact. It writes nothing and takes no lock: see Source.Lock. It ends with
// the error of visit, of ctx, or of a file that cannot be read at all; spillfile.ErrKeyMissing or
// ErrWrongKey for what is encrypted under another key; a *VersionError for a newer format. Damage
// is in the findings, not an error.
func Walk(ctx context.Context, src Source, visit func(*Commit) error) (*Findings, error) {
	w, err := newWalker(ctx, src, visit)
	if err != nil {
		return nil, err
	}
	defer w.Close()
	return w.run()
}

// walker reads the segments of a look in order.
//
// The order of blocks is judged by a Scanner, which recovery uses, too; marks are collected as
// recovery does, and tell in the end which faults are damage and which are a torn tail.
type walker struct {
	*recovery.Look
	ctx     context.Context
	src     Source
	visit   func(*Commit) error
	headers bool // blocks are checked and counted, not decoded: no key is needed

	report  Findings
	faults  []placedFault
	rd      block.Reader
	pace    pace.Pacer
	slabs   block.Slabs   // the raw blocks of entries
	entries []block.Entry // of the commit that is gathered
	commit  Commit
	order   recovery.Scanner
	// the place in a batch, or in the log, is unknown: wait for the beginning of a batch
	resync bool
	// the sequence through which all are accounted for: visited, replayed or lost
	last       uint64
	lastTs     uint64 // of the commit visited last
	direct     uint64 // highest DirectThrough of the segments so far
	newestGone error  // the newest segment is missing
	// nothing says where the log begins: with the first block that is seen
	lostStart bool
	sound     map[uint64]bool // segments without a fault
	// where in a segment the first commit begins that is not replayed
	liveFrom map[uint64]int64
	read     func(*recovery.Segment) // is told of each segment that was read, nil: nobody is
}

// placedFault is a fault of which it is not decided whether it is damage.
type placedFault struct {
	Fault
	certain bool           // damage wherever it lies
	tail    block.Position // the end of the last whole batch before it
}

// damage says whether it is, once the highest mark is known: as in recovery, durable bytes lie
// behind it then.
func (f *placedFault) damage(mark block.Position) bool { return f.certain || mark.After(f.tail) }

func newWalker(ctx context.Context, src Source, visit func(*Commit) error) (*walker, error) {
	k, err := recovery.NewLook(src.options())
	if err != nil {
		return nil, err
	}
	return &walker{Look: k, ctx: ctx, src: src, visit: visit, pace: pace.Pacer{Rate: src.Rate}, sound: map[uint64]bool{}, liveFrom: map[uint64]int64{}}, nil
}

func (w *walker) run() (*Findings, error) {
	if w.ManifestErr != nil {
		w.report.ManifestLost = true
		w.addError(filepath.Join(w.src.Dir, layout.ManifestName), w.ManifestErr)
	}
	m := w.Contents.Manifest
	w.last = m.Replayed
	w.know(m.LastSeq)
	if len(w.Chain) > 0 {
		w.Tail = block.Position{Segment: w.Chain[0].ID, Offset: 0}
	}
	w.seeManifest()
	w.newestGone = w.SeeClaim()
	for i, f := range w.Chain {
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
	if m := w.Contents.Manifest; m.MarkSeq > m.Replayed {
		w.SeeMark(m.Mark, filepath.Join(w.src.Dir, layout.ManifestName))
	}
}

// addError adds what is damage whatever the marks say.
func (w *walker) addError(file string, err error) {
	f := Fault{File: file, Reason: err.Error()}
	if c := new(block.CorruptError); errors.As(err, &c) {
		f.File, f.Offset, f.Reason = c.File, c.Offset, c.Reason
	}
	f.End = f.Offset
	w.faults = append(w.faults, placedFault{Fault: f, certain: true})
}

// addFault adds what a torn tail may be, too.
func (w *walker) addFault(f *recovery.Segment, at int64, err error) {
	fault := Fault{File: f.Path, Offset: at, End: f.Limit, Reason: err.Error()}
	if c := new(block.CorruptError); errors.As(err, &c) {
		fault.Offset, fault.Reason = c.Offset, c.Reason
	}
	w.faults = append(w.faults, placedFault{Fault: fault, tail: w.Tail})
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
func (w *walker) segment(f *recovery.Segment, first bool) error {
	m := w.Contents.Manifest
	w.report.Segments++
	w.report.Bytes += f.Size
	before := len(w.faults)
	for _, g := range w.Gaps {
		if g.Before == f {
			w.addError(f.Path, g.Err)
		}
	}
	w.knowIndex(f)
	w.resync = f.Bad != nil
	w.lostStart = first && w.report.ManifestLost && f.Bad != nil
	if f.Bad != nil {
		if f.Size > 0 {
			w.addFault(f, 0, f.Bad)
			w.faults[len(w.faults)-1].End = min(f.Size, block.SegmentHeaderSize)
		}
	} else {
		h := &f.Header
		if h.DatabaseID != m.DatabaseID {
			w.addError(f.Path, block.Corrupt(f.Path, 16, "segment is of database %x, this one is %x", h.DatabaseID, m.DatabaseID))
			return nil
		}
		if err := w.openKey(f); err != nil {
			return err
		}
		if m.Clean && m.Mark.Segment == f.ID {
			f.Known, f.Want = true, m.Mark.Offset
			f.Limit = min(f.Size, f.Want)
		}
		if first && w.report.ManifestLost {
			w.last = h.PrevLastSeq
		}
		w.know(h.PrevLastSeq)
		if len(w.faults) == 0 && h.PrevLastSeq > w.last {
			w.addError(f.Path, block.Corrupt(f.Path, 56, "it follows sequence %d, the segment before ends with %d", h.PrevLastSeq, w.last))
		}
		w.lose(h.PrevLastSeq)
		w.last = max(w.last, h.FirstSeq-1) // those in between have failed
		w.direct = max(w.direct, h.DirectThrough)
	}
	if f.Size <= block.SegmentHeaderSize && f.Bad != nil {
		w.sound[f.ID] = false
		return nil
	}
	w.order = *recovery.NewScanner(f.Path, f.Header.FirstSeq, ^uint64(0))
	w.rd.Reset(f.File, f.Path, f.ID, f.AEAD, f.Limit)
	if err := w.blocks(f); err != nil {
		return err
	}
	w.sound[f.ID] = len(w.faults) == before
	return nil
}

func (w *walker) openKey(f *recovery.Segment) (err error) {
	if w.headers {
		return nil
	}
	f.AEAD, err = f.Header.OpenDataKey(f.Path, w.Options.EncryptionKey)
	return err
}

// knowIndex learns from the footer of a segment's index which commits there were, that they were
// durable, and where they end if nobody else says it: what a failed write has left may follow.
func (w *walker) knowIndex(f *recovery.Segment) {
	ft, _, _ := w.Footer(f) // without a descriptor it is not known
	if ft == nil {
		return
	}
	w.SeeMark(block.Position{Segment: f.ID, Offset: ft.End}, w.IndexPath(f.ID))
	w.know(ft.LastSeq)
	if !f.Known {
		f.Known, f.Want = true, ft.End
		f.Limit = min(f.Size, f.Want)
	}
}

// blocks reads all blocks of a segment.
func (w *walker) blocks(f *recovery.Segment) error {
	s := block.NewSearch(f.Size)
	at := int64(block.SegmentHeaderSize)
	for {
		if err := w.ctx.Err(); err != nil {
			return err
		}
		b, err := w.rd.Next(at)
		if err == io.EOF {
			break
		}
		if errors.Is(err, block.ErrTooLarge) { // for this system, and no damage
			return block.ReadError(f.Path, err)
		}
		if err != nil {
			w.begin(true)
			if !w.pending(f, at) {
				w.addFault(f, at, err)
			}
			if at, err = w.seek(s, at); err != nil {
				return block.ReadError(f.Path, err)
			}
			if at == f.Limit {
				w.tailEnds(f)
				return nil
			}
			w.faults[len(w.faults)-1].End = at
			continue
		}
		w.report.Blocks++
		w.SeeMark(b.Mark, f.Path)
		if err := w.block(f, &b); err != nil {
			return err
		}
		if err := w.pace.Read(w.ctx, b.Next-at); err != nil {
			return err
		}
		at = b.Next
	}
	if !w.resync && (w.order.End != f.Limit || f.Known && w.order.End != f.Want) {
		w.addFault(f, w.order.End, fmt.Errorf("the file ends within a batch, or before %d where it should end", max(f.Want, f.Limit)))
		w.tailEnds(f)
	}
	return nil
}

// tailEnds says of the fault added last that nothing intact follows it in its file.
func (w *walker) tailEnds(f *recovery.Segment) { w.faults[len(w.faults)-1].End = max(f.Limit, f.Want) }

// pending says whether the fault at hand is what the one before has led to: the header of a
// segment.
func (w *walker) pending(f *recovery.Segment, at int64) bool {
	if len(w.faults) == 0 {
		return false
	}
	last := &w.faults[len(w.faults)-1]
	return last.File == f.Path && last.End == at && !last.certain
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
		if errors.Is(err, block.ErrTooLarge) {
			return at, err
		}
		at = (s.At/page + 1) * page
	}
	return w.rd.Limit, nil
}

// begin empties the commit that is being gathered.
func (w *walker) begin(resync bool) {
	w.slabs.Reset()
	clear(w.entries)
	w.entries = w.entries[:0]
	w.commit = Commit{}
	w.resync = resync
}

// take adds the entries of a block to the commit that is being gathered.
func (w *walker) take(path string, b *block.Block, raw []byte) error {
	e := b.Entries(w.slabs.Keep(raw))
	for e.Next() {
		w.entries = append(w.entries, e.Entry)
	}
	return e.Err(path)
}

// block takes an intact block.
func (w *walker) block(f *recovery.Segment, b *block.Block) error {
	w.know(b.Seq)
	if w.lostStart {
		w.last, w.lostStart = b.Seq-1, false
	}
	if !w.resync {
		if err := w.order.Take(&w.rd, b); err != nil {
			w.addError(f.Path, err)
			w.begin(true)
		}
	}
	if w.resync {
		if b.Number != 0 || b.Seq <= w.last && b.Seq > w.Contents.Manifest.Replayed {
			return nil // the rest of a batch whose beginning is not intact
		}
		w.order.Expect(b.Seq)
		w.begin(false)
		if err := w.order.Take(&w.rd, b); err != nil {
			return err
		}
	}
	c := &w.commit
	if b.Number == 0 {
		w.begin(false)
		*c = Commit{File: f.Path, Segment: f.ID, Offset: b.At.Offset, Seq: b.Seq, Ts: b.Ts, Replayed: b.Seq <= w.Contents.Manifest.Replayed}
	}
	if !w.headers {
		raw, err := w.rd.Decode(b)
		if err == nil {
			err = w.take(f.Path, b, raw)
		}
		if err != nil {
			if last := len(w.faults) - 1; f.Bad == nil || last < 0 || w.faults[last].File != f.Path || w.faults[last].End != b.At.Offset {
				w.addError(f.Path, err)
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
	c.End, c.Entries = b.Next, w.entries
	w.Tail = block.Position{Segment: f.ID, Offset: b.Next}
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
	c.DirectThrough = w.direct
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
		n.TornBytes, n.OpenError = recovery.Verdict(w.src.options())
		n.OpenError = Explain(w.src, n.OpenError)
	}
	for _, f := range w.faults {
		if !f.damage(w.Mark) {
			f.Kind = Torn
		}
		n.Faults = append(n.Faults, f.Fault)
	}
	if c := new(block.CorruptError); errors.As(n.OpenError, &c) && !n.Damaged() {
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
	if len(w.faults) == 0 || len(w.Chain) == 0 {
		return
	}
	// Damage up to the end, and nothing says how far the log went.
	i, last := len(w.faults)-1, w.Chain[len(w.Chain)-1]
	if f := &n.Faults[i]; f.Kind == Damage && f.File == last.Path && f.End > f.Offset && f.End >= last.Limit {
		n.Lost = append(n.Lost, Loss{FirstSeq: w.last + 1, AfterTs: w.lastTs})
	}
}
