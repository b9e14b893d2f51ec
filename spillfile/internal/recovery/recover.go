package recovery

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/badgerspill/badgerspill/spillfile/internal/block"
	"github.com/badgerspill/badgerspill/spillfile/internal/index"
	"github.com/badgerspill/badgerspill/spillfile/internal/layout"
	"github.com/badgerspill/badgerspill/spillfile/vfs"
)

// Recovery is what is known of a directory, and what is to be done about it. It is for one
// goroutine.
type Recovery struct {
	*Directory
	*Contents
	found []*Segment // ascending; those at or above the manifest's firstLive
	Chain []*Segment // ascending; live candidates

	Live    []*Segment // ascending; what Decide has found live
	LastSeq uint64     // of the last batch of these, or the last one that is replayed
	// the end of the last segment of the chain that is not dropped, dead or live
	Tail   block.Position
	Mark   block.Position // the highest synced mark seen
	markIn string         // the file that says so
	cut    *cut

	ctx      context.Context
	progress Progress
	unseen   int64 // bytes since ctx was looked at

	pastGaps bool  // link goes on where a segment is missing: for who only looks
	Gaps     []Gap // what it went on from, the last of the log first

	Fresh     bool         // there was no spill
	adopts    bool         // it is empty, and of another database so far
	NoteFound *layout.Note // Newest of Contents; of an older spill, if this one is fresh

	remove       []uint64 // dead, unused or dropped: removed highest first
	truncate     *Segment
	DroppedBytes int64     // of all in Dropped
	Dropped      []Dropped // what does not count, in the order of the log
}

// Dropped is a tail that was never known to be synced, and is cut off.
type Dropped struct {
	Segment uint64 // its number
	File    string // its path
	Bytes   int64  // of the tail
	Reason  error  // why it does not count
}

// cut is the first place that does not hold what it should.
type cut struct {
	file   string
	offset int64
	reason error
}

// Gap is where a segment that is not replayed has a predecessor that is missing.
type Gap struct {
	Before *Segment // the one behind it
	Err    error    // says what is missing: a *block.CorruptError
}

// CloseUnused closes the files that are not those of live, which the caller keeps.
func (r *Recovery) CloseUnused(live []*Segment) {
	for _, f := range r.found {
		if slices.Contains(live, f) {
			continue
		}
		f.File.Close()
		if x := f.IndexFile; x != nil {
			x.Close()
		}
	}
}

// Progress is how far Decide has come.
type Progress struct {
	// of segment files: those that an index file saves reading count as read
	Bytes, TotalBytes int64
	Commits           int64 // found so far that are not replayed
}

// readStep is after how many bytes recovery looks at its context, and tells of its progress.
const readStep = 1 << 20

// read counts n bytes that were read, or need not be. It returns an error once the context has
// ended.
func (r *Recovery) read(n int64) error {
	r.progress.Bytes += n
	if r.unseen += n; n > 0 && r.unseen < readStep {
		return nil
	}
	r.unseen = 0
	if err := r.ctx.Err(); err != nil {
		return fmt.Errorf("spill %s: recovery given up, nothing was changed: %w", r.Options.Dir, err)
	}
	r.Options.Progress(r.progress)
	return nil
}

// Decide reads what the directory holds and decides what of it is live. It changes nothing, and
// blocks while it reads the last segment, and those whose index file is missing. existing says that
// the database has a spill already, so that an empty one of another database is not adopted. It
// ends with the error of ctx once that is over. Other errors: ErrForeignSpill, ErrNoManifest,
// block.ErrWrongKey, block.ErrKeyMissing, *block.VersionError, *block.CorruptError, or those of the
// file system. Without an error the caller calls CloseUnused.
func Decide(ctx context.Context, d *Directory, existing bool) (_ *Recovery, err error) {
	c, err := d.Inspect()
	if err != nil {
		return nil, err
	}
	r := &Recovery{Directory: d, Contents: c, ctx: ctx, NoteFound: c.Newest}
	if r.Fresh = c.Manifest == nil; r.Fresh {
		c.Newest = nil // of a spill that was here before
		c.Manifest = &layout.Manifest{DatabaseID: d.Options.DatabaseID, Next: 1, FirstLive: 1, Clean: true}
	}
	defer func() {
		if err != nil {
			r.CloseUnused(nil)
		}
	}()
	if err := r.decide(); err != nil {
		return nil, err
	}
	r.progress.Bytes = r.progress.TotalBytes
	if err := r.read(0); err != nil {
		return nil, err
	}
	m := c.Manifest
	r.adopts = m.DatabaseID != d.Options.DatabaseID
	if r.adopts && (len(r.Live) > 0 || existing) {
		return nil, r.foreign()
	}
	m.DatabaseID = d.Options.DatabaseID
	return r, nil
}

func (r *Recovery) decide() error {
	if err := r.openAll(); err != nil {
		return err
	}
	if err := r.link(); err != nil {
		return err
	}
	m := r.Contents.Manifest
	if err := r.SeeClaim(); err != nil {
		return err
	}
	if m.MarkSeq > m.Replayed {
		r.SeeMark(m.Mark, filepath.Join(r.Options.Dir, layout.ManifestName))
		if !slices.ContainsFunc(r.Chain, func(f *Segment) bool { return f.ID == m.Mark.Segment }) {
			return block.Corrupt(r.pathOf(m.Mark.Segment), 0, "segment %d is missing, the MANIFEST has it with %d bytes", m.Mark.Segment, m.Mark.Offset)
		}
	}
	if err := r.scanChain(); err != nil {
		return err
	}
	if !r.Mark.After(r.Tail) {
		return nil
	}
	c := r.cut
	if c == nil {
		c = &cut{file: r.pathOf(r.Tail.Segment), offset: r.Tail.Offset, reason: errors.New("the log ends here")}
	}
	var what any = c.reason
	if found := new(block.CorruptError); errors.As(c.reason, &found) {
		c.file, c.offset, what = found.File, found.Offset, found.Reason
	}
	return block.Corrupt(c.file, c.offset, "%v; everything before offset %d of segment %d was durable according to %s",
		what, r.Mark.Offset, r.Mark.Segment, r.markIn)
}

// SeeMark takes notice of a synced mark that file, a path, has.
func (r *Recovery) SeeMark(p block.Position, file string) {
	if p.After(r.Mark) {
		r.Mark, r.markIn = p, file
	}
}

// openAll opens the files that may be live and reads their headers. Versions and keys are judged
// here: a file that is intact but not for us stops Open, whatever the rest looks like.
func (r *Recovery) openAll() error {
	flag := os.O_RDWR
	if r.Options.ReadOnly {
		flag = os.O_RDONLY
	}
	for _, id := range r.IDs {
		if id < r.Contents.Manifest.FirstLive {
			r.remove = append(r.remove, id)
			continue
		}
		f := &Segment{ID: id, Path: r.pathOf(id)}
		file := r.Pool.File(f.Path, flag)
		f.File = file
		r.found = append(r.found, f)
		var err error
		if f.Size, err = file.Size(); err != nil {
			return fmt.Errorf("spill segment %s: %w", f.Path, err)
		}
		f.Limit = f.Size
		buf := make([]byte, block.SegmentHeaderSize)
		n, err := file.ReadAt(buf, 0)
		if err != nil && err != io.EOF {
			return fmt.Errorf("spill segment %s: read of the header: %w", f.Path, err)
		}
		f.Bad = f.Header.Unmarshal(f.Path, buf[:n])
		if f.Bad == nil && f.Header.ID != id {
			f.Bad = block.Corrupt(f.Path, 32, "the header is that of segment %d", f.Header.ID)
		}
		if f.Bad != nil {
			if errors.Is(f.Bad, block.ErrFormatVersion) {
				return f.Bad
			}
			f.Header = block.SegmentHeader{}
		}
	}
	return nil
}

// link builds the chain from its end to its beginning.
func (r *Recovery) link() error {
	replayed := r.Contents.Manifest.Replayed
	var chain []*Segment
	i := len(r.found) - 1
	// Files after the last intact header: their first write was torn, or never happened.
	for ; i >= 0 && r.found[i].Bad != nil; i-- {
		chain = append(chain, r.found[i])
	}
	for i >= 0 {
		f := r.found[i]
		chain = append(chain, f)
		if f.Bad != nil {
			i-- // what it followed is unknown; the cut comes before it in any case
			for ; i >= 0 && r.found[i].Bad != nil; i-- {
				chain = append(chain, r.found[i])
			}
			continue
		}
		h := &f.Header
		if h.PrevLastSeq <= replayed {
			break
		}
		j := i - 1
		for ; j >= 0 && r.found[j].ID > h.Prev; j-- {
		}
		if h.Prev == 0 || j < 0 || r.found[j].ID != h.Prev {
			missing := block.Corrupt(r.pathOf(h.Prev), 0, "segment %d is missing: %s follows its sequence %d, and only %d is replayed",
				h.Prev, block.SegmentName(f.ID), h.PrevLastSeq, replayed)
			if !r.pastGaps {
				return missing
			}
			r.Gaps = append(r.Gaps, Gap{f, missing})
			if h.Prev == 0 {
				break // the log was empty before
			}
			i = j
			continue
		}
		p := r.found[j]
		p.Known, p.Want = true, h.PrevEnd
		p.Limit = min(p.Size, p.Want)
		i = j
	}
	slices.Reverse(chain)
	r.Chain = chain
	for _, f := range r.found {
		if !slices.Contains(chain, f) {
			r.remove = append(r.remove, f.ID)
		}
	}
	return nil
}

// scanChain reads the chain in order, up to the cut and beyond it for marks.
func (r *Recovery) scanChain() error {
	m := r.Contents.Manifest
	r.LastSeq = m.Replayed
	var before int64 // bytes of the segments that are done
	if len(r.Chain) > 0 {
		r.Tail = block.Position{Segment: r.Chain[0].ID, Offset: 0} // all below is dead
	}
	for _, f := range r.Chain {
		r.progress.TotalBytes += f.Size
	}
	for i, f := range r.Chain {
		// What is left of the segment before: a tail that does not count.
		if err := r.read(max(0, before-r.progress.Bytes)); err != nil {
			return err
		}
		before += f.Size
		if r.cut == nil && f.Bad != nil {
			r.cut = &cut{file: f.Path, reason: f.Bad}
		}
		if r.cut != nil {
			if err := r.seeIndex(f); err != nil {
				return err
			}
			if err := r.dropFrom(f, 0); err != nil {
				return err
			}
			continue
		}
		h := &f.Header
		if h.DatabaseID != m.DatabaseID {
			return fmt.Errorf("%w: %s is of database %x, the MANIFEST beside it of %x; put the files back where they belong",
				ErrForeignSpill, f.Path, h.DatabaseID, m.DatabaseID)
		}
		var err error
		if f.AEAD, err = h.OpenDataKey(f.Path, r.Options.EncryptionKey); err != nil {
			if m.DatabaseID != r.Options.DatabaseID {
				return r.foreign()
			}
			return err
		}
		if m.Clean && m.Mark.Segment == f.ID {
			f.Known, f.Want = true, m.Mark.Offset
			f.Limit = min(f.Size, f.Want)
		}
		if i > 0 && h.PrevLastSeq != r.LastSeq {
			return block.Corrupt(f.Path, 56, "it follows sequence %d, %s ends with %d", h.PrevLastSeq, r.Chain[i-1].Path, r.LastSeq)
		}
		if ok, err := r.indexed(f); ok || err != nil {
			if err != nil {
				return err
			}
			continue
		}
		if err := r.scan(f); err != nil {
			return err
		}
	}
	return nil
}

// indexed takes a segment of the chain from its index file instead of reading it. An index is only
// written when its segment, and all before it, is durable; so it is a synced mark, too. One that is
// damaged or does not fit is made again, and so is that of a segment of which a part is replayed:
// what is replayed must not show any more.
func (r *Recovery) indexed(f *Segment) (bool, error) {
	if _, ok := slices.BinarySearch(r.Indexes, f.ID); !ok {
		return false, nil
	}
	x, err := index.Open(r.Pool.File(r.IndexPath(f.ID), os.O_RDONLY), r.IndexPath(f.ID), r.Options.EncryptionKey, r.Cache)
	if vfs.OutOfFiles(err) {
		return false, err
	}
	if err != nil {
		r.Options.Logf("spill index of segment %s is made again: %v", f.Path, err)
		return false, r.seeIndex(f)
	}
	ft := &x.Footer
	fits := f.HasIndex(ft, r.Contents.Manifest.DatabaseID)
	if fits {
		r.SeeMark(block.Position{Segment: f.ID, Offset: ft.End}, x.Path)
	}
	if fits = fits && f.MayEnd(ft.End); !fits {
		r.Options.Logf("spill index of segment %s is made again: it is not that of this file", f.Path)
	}
	if fits { // what lies beyond are the remains of a failed write
		f.Known, f.Want, f.Limit = true, ft.End, ft.End
	}
	if replayed := r.Contents.Manifest.Replayed; !fits || replayed >= ft.FirstSeq && replayed < ft.LastSeq {
		x.Close()
		return false, nil
	}
	r.Tail = block.Position{Segment: f.ID, Offset: ft.End}
	r.LastSeq = max(r.LastSeq, ft.LastSeq)
	f.IndexFile = x
	if ft.LastSeq <= r.Contents.Manifest.Replayed {
		r.remove = append(r.remove, f.ID)
		return true, nil
	}
	f.IndexSize, f.End, f.LastSeq = x.Size, ft.End, ft.LastSeq
	f.MinTs, f.MaxTs, f.MaxVersion, f.Mixed = ft.MinTs, ft.MaxTs, ft.MaxVersion, ft.Mixed
	r.Live = append(r.Live, f)
	r.progress.Commits += int64(ft.LastSeq - max(r.Contents.Manifest.Replayed, ft.FirstSeq-1))
	return true, nil
}

func (r *Recovery) foreign() error {
	return Foreign(r.Options.Dir, r.Contents.Manifest.DatabaseID, r.Options.DatabaseID)
}

// dropFrom drops the chain's f from offset on, unless a mark in it forbids.
func (r *Recovery) dropFrom(f *Segment, from int64) error {
	if err := r.findMarks(f, from); err != nil {
		return err
	}
	if from == 0 {
		r.remove = append(r.remove, f.ID)
	} else {
		r.truncate = f
		f.Limit = from
	}
	if dropped := f.Size - from; dropped > 0 {
		r.DroppedBytes += dropped
		r.Dropped = append(r.Dropped, Dropped{Segment: f.ID, File: f.Path, Bytes: dropped, Reason: r.cut.reason})
	}
	return nil
}

// CleanEnd says whether the log ends exactly where a Close left it.
func (r *Recovery) CleanEnd() bool {
	m := r.Contents.Manifest
	if r.cut != nil {
		return false
	}
	if m.MarkSeq <= m.Replayed {
		return r.LastSeq <= m.Replayed
	}
	return m.Mark == r.Tail
}

// NextNumber returns the number of the next segment: above all that were ever used.
func (r *Recovery) NextNumber() uint64 {
	next := max(r.Contents.Manifest.Next, 1, r.claim().segment+1)
	if n := len(r.IDs); n > 0 {
		next = max(next, r.IDs[n-1]+1)
	}
	return next
}
