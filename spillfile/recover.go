package spillfile

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/badgerspill/badgerspill/spillfile/internal/block"
	"github.com/badgerspill/badgerspill/spillfile/internal/index"
	"github.com/badgerspill/badgerspill/spillfile/vfs"
)

// recovery decides what is live, torn or corrupt (decide: reads only), and then makes it so on disk
// (apply).
//
// The segments form a chain: each header names its predecessor and where the acknowledged part of
// that one ends. A segment that no later one names held nothing acknowledged. The first place that
// does not hold what it should is the cut. If any synced mark, in the manifest or in any intact
// block before or after the cut, lies beyond it, then durable bytes are damaged: corruption. If
// none does, a power cut took bytes that nobody had synced, and everything from the cut on is
// dropped, as a suffix.
type recovery struct {
	directory
	*contents
	found []*foundSegment // ascending; those at or above the manifest's firstLive
	chain []*foundSegment // ascending; live candidates

	live    []*foundSegment
	lastSeq uint64
	tail    Position // the end of the last segment of the chain that is not dropped, dead or live
	mark    Position // the highest synced mark seen
	markIn  string   // the file that says so
	cut     *cut

	ctx      context.Context
	progress RecoveryProgress
	unseen   int64 // bytes since ctx was looked at

	pastGaps bool  // link goes on where a segment is missing: for who only looks
	gaps     []gap // what it went on from, the last of the log first

	fresh       bool        // there was no spill
	adopts      bool        // it is empty, and of another database so far
	newestFound *newestNote // contents.newest; of an older spill, if this one is fresh

	remove       []uint64 // dead, unused or dropped: removed highest first
	truncate     *foundSegment
	droppedBytes int64
	events       []Event
}

// cut is the first place that does not hold what it should.
type cut struct {
	file   string
	offset int64
	reason error
}

// gap is where a segment that is not replayed has a predecessor that is missing.
type gap struct {
	before *foundSegment
	err    error
}

// closeUnused closes the files that are not those of live segments.
func (r *recovery) closeUnused(live []*foundSegment) {
	for _, f := range r.found {
		if slices.Contains(live, f) {
			continue
		}
		f.file.Close()
		if x := f.index.file; x != nil {
			x.Close()
		}
	}
}

// RecoveryProgress is how far Open has come.
type RecoveryProgress struct {
	// of segment files: those that an index file saves reading count as read
	Bytes, TotalBytes int64
	Commits           int64 // found so far that are not replayed
}

// readStep is after how many bytes recovery looks at its context, and tells of its progress.
const readStep = 1 << 20

// read counts n bytes that were read, or need not be. It returns an error once the context has
// ended.
func (r *recovery) read(n int64) error {
	r.progress.Bytes += n
	if r.unseen += n; n > 0 && r.unseen < readStep {
		return nil
	}
	r.unseen = 0
	if err := r.ctx.Err(); err != nil {
		return fmt.Errorf("spill %s: recovery given up, nothing was changed: %w", r.o.Dir, err)
	}
	r.o.OnRecovery(r.progress)
	return nil
}

func (r *recovery) decide() error {
	if err := r.openAll(); err != nil {
		return err
	}
	if err := r.link(); err != nil {
		return err
	}
	m := r.contents.manifest
	if err := r.seeClaim(); err != nil {
		return err
	}
	if m.markSeq > m.replayed {
		r.seeMark(m.mark, filepath.Join(r.o.Dir, manifestName))
		if !slices.ContainsFunc(r.chain, func(f *foundSegment) bool { return f.id == m.mark.Segment }) {
			return block.Corrupt(r.pathOf(m.mark.Segment), 0, "segment %d is missing, the MANIFEST has it with %d bytes", m.mark.Segment, m.mark.Offset)
		}
	}
	if err := r.scanChain(); err != nil {
		return err
	}
	if !r.mark.After(r.tail) {
		return nil
	}
	c := r.cut
	if c == nil {
		c = &cut{file: r.pathOf(r.tail.Segment), offset: r.tail.Offset, reason: errors.New("the log ends here")}
	}
	var what any = c.reason
	if found := new(CorruptError); errors.As(c.reason, &found) {
		c.file, c.offset, what = found.File, found.Offset, found.Reason
	}
	return block.Corrupt(c.file, c.offset, "%v; everything before offset %d of segment %d was durable according to %s",
		what, r.mark.Offset, r.mark.Segment, r.markIn)
}

func (r *recovery) seeMark(p Position, file string) {
	if p.After(r.mark) {
		r.mark, r.markIn = p, file
	}
}

// openAll opens the files that may be live and reads their headers. Versions and keys are judged
// here: a file that is intact but not for us stops Open, whatever the rest looks like.
func (r *recovery) openAll() error {
	flag := os.O_RDWR
	if r.o.ReadOnly {
		flag = os.O_RDONLY
	}
	for _, id := range r.ids {
		if id < r.contents.manifest.firstLive {
			r.remove = append(r.remove, id)
			continue
		}
		f := &foundSegment{id: id, path: r.pathOf(id)}
		file := r.files.file(f.path, flag)
		f.file = file
		r.found = append(r.found, f)
		var err error
		if f.size, err = file.Size(); err != nil {
			return fmt.Errorf("spill segment %s: %w", f.path, err)
		}
		f.limit = f.size
		buf := make([]byte, block.SegmentHeaderSize)
		n, err := file.ReadAt(buf, 0)
		if err != nil && err != io.EOF {
			return fmt.Errorf("spill segment %s: read of the header: %w", f.path, err)
		}
		f.bad = f.header.Unmarshal(f.path, buf[:n])
		if f.bad == nil && f.header.ID != id {
			f.bad = block.Corrupt(f.path, 32, "the header is that of segment %d", f.header.ID)
		}
		if f.bad != nil {
			if errors.Is(f.bad, ErrFormatVersion) {
				return f.bad
			}
			f.header = block.SegmentHeader{}
		}
	}
	return nil
}

// link builds the chain from its end to its beginning.
func (r *recovery) link() error {
	replayed := r.contents.manifest.replayed
	var chain []*foundSegment
	i := len(r.found) - 1
	// Files after the last intact header: their first write was torn, or never happened.
	for ; i >= 0 && r.found[i].bad != nil; i-- {
		chain = append(chain, r.found[i])
	}
	for i >= 0 {
		f := r.found[i]
		chain = append(chain, f)
		if f.bad != nil {
			i-- // what it followed is unknown; the cut comes before it in any case
			for ; i >= 0 && r.found[i].bad != nil; i-- {
				chain = append(chain, r.found[i])
			}
			continue
		}
		h := &f.header
		if h.PrevLastSeq <= replayed {
			break
		}
		j := i - 1
		for ; j >= 0 && r.found[j].id > h.Prev; j-- {
		}
		if h.Prev == 0 || j < 0 || r.found[j].id != h.Prev {
			missing := block.Corrupt(r.pathOf(h.Prev), 0, "segment %d is missing: %s follows its sequence %d, and only %d is replayed",
				h.Prev, block.SegmentName(f.id), h.PrevLastSeq, replayed)
			if !r.pastGaps {
				return missing
			}
			r.gaps = append(r.gaps, gap{f, missing})
			if h.Prev == 0 {
				break // the log was empty before
			}
			i = j
			continue
		}
		p := r.found[j]
		p.known, p.want = true, h.PrevEnd
		p.limit = min(p.size, p.want)
		i = j
	}
	slices.Reverse(chain)
	r.chain = chain
	for _, f := range r.found {
		if !slices.Contains(chain, f) {
			r.remove = append(r.remove, f.id)
		}
	}
	return nil
}

// scanChain reads the chain in order, up to the cut and beyond it for marks.
func (r *recovery) scanChain() error {
	m := r.contents.manifest
	r.lastSeq = m.replayed
	var before int64 // bytes of the segments that are done
	if len(r.chain) > 0 {
		r.tail = Position{Segment: r.chain[0].id, Offset: 0} // all below is dead
	}
	for _, f := range r.chain {
		r.progress.TotalBytes += f.size
	}
	for i, f := range r.chain {
		// What is left of the segment before: a tail that does not count.
		if err := r.read(max(0, before-r.progress.Bytes)); err != nil {
			return err
		}
		before += f.size
		if r.cut == nil && f.bad != nil {
			r.cut = &cut{file: f.path, reason: f.bad}
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
		h := &f.header
		if h.DatabaseID != m.databaseID {
			return fmt.Errorf("%w: %s is of database %x, the MANIFEST beside it of %x; put the files back where they belong",
				ErrForeignSpill, f.path, h.DatabaseID, m.databaseID)
		}
		var err error
		if f.aead, err = h.OpenDataKey(f.path, r.o.EncryptionKey); err != nil {
			if m.databaseID != r.o.DatabaseID {
				return r.foreign()
			}
			return err
		}
		if m.clean && m.mark.Segment == f.id {
			f.known, f.want = true, m.mark.Offset
			f.limit = min(f.size, f.want)
		}
		if i > 0 && h.PrevLastSeq != r.lastSeq {
			return block.Corrupt(f.path, 56, "it follows sequence %d, %s ends with %d", h.PrevLastSeq, r.chain[i-1].path, r.lastSeq)
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
func (r *recovery) indexed(f *foundSegment) (bool, error) {
	if _, ok := slices.BinarySearch(r.indexes, f.id); !ok {
		return false, nil
	}
	x, err := index.Open(r.files.file(r.indexPath(f.id), os.O_RDONLY), r.indexPath(f.id), r.o.EncryptionKey, r.cache)
	if vfs.OutOfFiles(err) {
		return false, err
	}
	if err != nil {
		r.o.Logf("spill index of segment %s is made again: %v", f.path, err)
		return false, r.seeIndex(f)
	}
	ft := &x.Footer
	fits := f.hasIndex(ft, r.contents.manifest.databaseID)
	if fits {
		r.seeMark(Position{Segment: f.id, Offset: ft.End}, x.Path)
	}
	if fits = fits && f.mayEnd(ft.End); !fits {
		r.o.Logf("spill index of segment %s is made again: it is not that of this file", f.path)
	}
	if fits { // what lies beyond are the remains of a failed write
		f.known, f.want, f.limit = true, ft.End, ft.End
	}
	if replayed := r.contents.manifest.replayed; !fits || replayed >= ft.FirstSeq && replayed < ft.LastSeq {
		x.Close()
		return false, nil
	}
	r.tail = Position{Segment: f.id, Offset: ft.End}
	r.lastSeq = max(r.lastSeq, ft.LastSeq)
	f.index = segmentIndex{file: x}
	if ft.LastSeq <= r.contents.manifest.replayed {
		r.remove = append(r.remove, f.id)
		return true, nil
	}
	f.indexSize, f.end, f.lastSeq = x.Size, ft.End, ft.LastSeq
	f.minTs, f.maxTs, f.maxVersion, f.mixed = ft.MinTs, ft.MaxTs, ft.MaxVersion, ft.Mixed
	r.live = append(r.live, f)
	r.progress.Commits += int64(ft.LastSeq - max(r.contents.manifest.replayed, ft.FirstSeq-1))
	return true, nil
}

func (r *recovery) foreign() error {
	return foreign(r.o.Dir, r.contents.manifest.databaseID, r.o.DatabaseID)
}

// dropFrom drops the chain's f from offset on, unless a mark in it forbids.
func (r *recovery) dropFrom(f *foundSegment, from int64) error {
	if err := r.findMarks(f, from); err != nil {
		return err
	}
	if from == 0 {
		r.remove = append(r.remove, f.id)
	} else {
		r.truncate = f
		f.limit = from
	}
	if dropped := f.size - from; dropped > 0 {
		r.droppedBytes += dropped
		r.events = append(r.events, Event{Kind: TailTruncated, Segment: f.id, File: f.path, Bytes: dropped, Err: r.cut.reason})
	}
	return nil
}

// cleanEnd says whether the log ends exactly where a Close left it.
func (r *recovery) cleanEnd() bool {
	m := r.contents.manifest
	if r.cut != nil {
		return false
	}
	if m.markSeq <= m.replayed {
		return r.lastSeq <= m.replayed
	}
	return m.mark == r.tail
}

// nextNumber returns the number of the next segment: above all that were ever used.
func (r *recovery) nextNumber() uint64 {
	next := max(r.contents.manifest.next, 1, r.claim().segment+1)
	if n := len(r.ids); n > 0 {
		next = max(next, r.ids[n-1]+1)
	}
	return next
}

// carryOut makes the disk agree with what was decided, and what was found durable.
func (r *recovery) carryOut() error {
	m, last := r.contents.manifest, uint64(0)
	if n := len(r.live); n > 0 {
		last = r.live[n-1].id
	}
	// the numbers of what is dropped are not used again, and nobody counts on it
	if len(r.events) > 0 || r.claim().segment > last {
		m.next, m.newest = r.nextNumber(), last
		if err := m.write(r.fs, r.o.Dir); err != nil {
			return err
		}
		r.temp = slices.DeleteFunc(r.temp, func(name string) bool { return name == manifestTemp })
	}
	if err := r.apply(); err != nil {
		return err
	}
	// This spill goes on. What a Salvage has made of an earlier state must not be put in its place
	// any more.
	for _, name := range r.salvages {
		if err := clearDir(r.fs, filepath.Join(r.o.Dir, name)); err != nil {
			return fmt.Errorf("spill %s: what an interrupted salvage has left: %w", r.o.Dir, err)
		}
	}
	if r.fresh {
		// The name of Dir itself must be durable before anything in it is acknowledged.
		if err := r.fs.SyncDir(filepath.Dir(r.o.Dir)); err != nil {
			return fmt.Errorf("spill %s: %w", r.o.Dir, err)
		}
	}
	if r.fresh || r.adopts {
		return m.write(r.fs, r.o.Dir)
	}
	return nil
}

// apply makes the disk agree with what was decided. Each intermediate state leads to the same
// decision: the files are removed from the end, and only then is the tail cut.
func (r *recovery) apply() error {
	sync := func() error {
		if err := r.fs.SyncDir(r.o.Dir); err != nil {
			return fmt.Errorf("spill %s: %w", r.o.Dir, err)
		}
		return nil
	}
	// Nothing orders unsynced changes of a directory. A killed process may have left the manifest
	// renamed and not synced: it must be durable before anything is done in its name; and each
	// removal before the next one down the chain.
	if err := sync(); err != nil {
		return err
	}
	slices.Sort(r.remove)
	for _, id := range slices.Backward(slices.Compact(r.remove)) {
		if err := r.fs.Remove(r.pathOf(id)); err != nil {
			return fmt.Errorf("spill segment %s: remove: %w", r.pathOf(id), err)
		}
		if err := sync(); err != nil {
			return err
		}
	}
	// What follows means nothing without its segment, or at all: the removals need not be durable.
	useless := slices.Clone(r.temp)
	for _, id := range r.indexes {
		if !slices.ContainsFunc(r.live, func(f *foundSegment) bool { return f.id == id && f.index.file != nil }) {
			useless = append(useless, index.Name(id))
		}
	}
	for _, name := range useless {
		if err := r.fs.Remove(filepath.Join(r.o.Dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("spill %s: remove: %w", filepath.Join(r.o.Dir, name), err)
		}
	}
	if f := r.truncate; f != nil {
		if err := f.file.Truncate(f.limit); err != nil {
			return fmt.Errorf("spill segment %s: truncate to %d: %w", f.path, f.limit, err)
		}
		f.size = f.limit
	}
	// What a killed process left in the page cache counts from now on: it must not be lost from
	// under the commits to come.
	for _, f := range r.live {
		end := Position{Segment: f.id, Offset: f.end}
		if end.After(r.mark) || r.truncate == f {
			from := int64(0)
			if r.mark.Segment == f.id {
				from = r.mark.Offset
			}
			err := f.file.keep()
			if err == nil {
				err = errors.Join(rewrite(f.file, from, end.Offset), f.file.Sync())
				f.file.unkeep()
			}
			if err != nil {
				return fmt.Errorf("spill segment %s: sync: %w", f.path, err)
			}
		}
		f.synced = end.Offset
	}
	return nil
}

// rewrite writes what lies between two offsets once more. A sync of it may have failed before this
// process began; then the system has forgotten that it was not written, and another sync would
// falsely succeed.
func rewrite(f File, from, to int64) error {
	buf := make([]byte, min(to-from, 1<<20))
	for ; from < to; from += int64(len(buf)) {
		buf = buf[:min(int64(len(buf)), to-from)]
		if _, err := f.ReadAt(buf, from); err != nil && err != io.EOF {
			return err
		}
		if _, err := f.WriteAt(buf, from); err != nil {
			return err
		}
	}
	return nil
}
