package check

import (
	"context"
	"errors"
	"io/fs"
	"time"

	"github.com/badgerspill/badgerspill/spillfile/internal/block"
	"github.com/badgerspill/badgerspill/spillfile/internal/recovery"
)

// SegmentInfo describes a segment that may hold commits which are not replayed. Sizes are bytes.
type SegmentInfo struct {
	ID        uint64    // number of the segment
	File      string    // path
	Size      int64     // of the file
	IndexSize int64     // of its index file, 0 if it has none that is intact
	Created   time.Time // zero if its header is not intact
	// sequences of its commits, those that are replayed included; 0 if it has none
	FirstSeq  uint64
	LastSeq   uint64  // likewise
	FirstTs   uint64  // lowest commit timestamp of them
	LastTs    uint64  // the highest
	Commits   int64   // not replayed
	Entries   int64   // of these; of all, where the index tells it
	Encrypted bool    // its blocks are
	Unordered bool    // timestamps say nothing about the order of its commits
	Ratio     float64 // bytes of entries by bytes on disk, of the first blocks; 0 if it has none
	Err       error   // damage that was met, nil if none was
}

// Inspection is what Inspect found. Sizes are bytes.
type Inspection struct {
	Dir        string   // where it looked
	Exists     bool     // there is a spill
	DatabaseID [16]byte // random number of the database it belongs to

	Segments []SegmentInfo // in the order of the log
	Dead     int           // files of segments that are replayed: they are about to be removed
	Prepared int           // empty files for the segments to come

	Commits    int64  // not replayed
	Entries    int64  // of these
	DiskBytes  int64  // of Segments and their index files
	IndexBytes int64  // of these, index files
	RawBytes   int64  // of Entries before compression, about
	FirstTs    uint64 // lowest commit timestamp
	LastTs     uint64 // the highest
	// creation of the first segment with commits that are not replayed, zero if there is none
	Oldest time.Time
	Ratio  float64 // bytes of entries by bytes on disk, about

	ReplayedThrough uint64 // the manifest says that Badger has everything up to this sequence
	CleanClose      bool   // the manifest was written by a close
	ManifestLost    bool   // the manifest is missing or damaged
	TornBytes       int64  // that the next Open cuts off: they were never known to be durable

	// OpenError is why Open would refuse the spill, nil if it would not. spillfile.ErrKeyMissing
	// or ErrWrongKey: the key decides that.
	OpenError error
	// Changing: files came, went or grew while they were looked at. The numbers may not fit each
	// other.
	Changing bool
}

// Inspect tells what a spill holds from its manifest, headers and index files. It reads whole only
// what has no index, takes no lock, writes nothing, and needs no key for anything but OpenError; so
// it may be used on a spill that another process writes to. Damage in what it has read is in the
// inspection; Walk and Verify find all of it. A directory that does not exist is no spill. Errors
// are those of the file system, and *VersionError.
func Inspect(src Source) (*Inspection, error) {
	const tries = 5 // a writer may remove a file between the list and its opening
	for try := 1; ; try++ {
		in, err := inspectOnce(src)
		switch {
		case try == tries:
		case errors.Is(err, fs.ErrNotExist):
			continue
		case err == nil && in.Changing && in.OpenError != nil:
			continue
		}
		return in, err
	}
}

func inspectOnce(src Source) (*Inspection, error) {
	w, err := newWalker(context.Background(), src, nil)
	if err != nil {
		return nil, err
	}
	defer w.Close()
	w.headers = true
	m := w.Contents.Manifest
	in := &Inspection{Dir: src.Dir, Exists: !w.Absent, DatabaseID: m.DatabaseID, Dead: len(w.Contents.IDs) - len(w.Chain),
		ReplayedThrough: m.Replayed, CleanClose: m.Clean, ManifestLost: w.ManifestErr != nil}
	var raw, stored int64
	w.report.ManifestLost = w.ManifestErr != nil
	w.last = m.Replayed
	w.seeManifest()
	for i, f := range w.Chain {
		s, r, st, err := w.inspect(f, i == 0)
		if err != nil {
			return nil, err
		}
		if f.Size == 0 {
			in.Prepared++
			continue
		}
		if s.LastSeq == 0 && s.Err == nil || s.LastSeq != 0 && s.LastSeq <= m.Replayed {
			in.Dead++
			continue
		}
		raw, stored = raw+r, stored+st
		in.add(s)
	}
	if stored > 0 {
		in.Ratio = float64(raw) / float64(stored)
		for _, s := range in.Segments {
			in.RawBytes += int64(s.Ratio * float64(s.Size))
		}
	}
	in.TornBytes, in.OpenError = recovery.Verdict(src.options())
	in.OpenError = in.explain(in.OpenError)
	again, err := recovery.NewLook(src.options())
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, block.ErrCorrupt):
		in.Changing = true
		return in, nil
	case err != nil:
		return nil, err
	}
	defer again.Close()
	in.Changing = !w.Same(again)
	return in, nil
}

func (in *Inspection) add(s SegmentInfo) {
	in.Segments = append(in.Segments, s)
	in.Commits += s.Commits
	in.Entries += s.Entries
	in.DiskBytes += s.Size + s.IndexSize
	in.IndexBytes += s.IndexSize
	if s.Commits == 0 {
		return
	}
	if in.FirstTs == 0 || s.FirstTs < in.FirstTs {
		in.FirstTs = s.FirstTs
	}
	in.LastTs = max(in.LastTs, s.LastTs)
	if in.Oldest.IsZero() {
		in.Oldest = s.Created
	}
}

// inspect describes a segment of the chain, and returns the bytes of the blocks that it looked at,
// raw and on disk.
func (w *walker) inspect(f *recovery.Segment, first bool) (s SegmentInfo, raw, stored int64, err error) {
	m := w.Contents.Manifest
	s = SegmentInfo{ID: f.ID, File: f.Path, Size: f.Size}
	if f.Bad == nil {
		h := &f.Header
		s.Created, s.Encrypted, s.Unordered = h.Created, h.Encrypted, h.DirectThrough == block.Unordered
	}
	ft, size, _ := w.Footer(f) // without a descriptor it is not known
	if ft != nil {
		s.IndexSize = size
	}
	if ft == nil || f.Bad != nil || ft.End > f.Size || m.Replayed >= ft.FirstSeq && m.Replayed < ft.LastSeq {
		w.visit = func(c *Commit) error {
			s.see(c)
			raw, stored = raw+c.RawBytes, stored+c.stored+block.HeaderSize
			return nil
		}
		before := len(w.faults)
		if err := w.segment(f, first); err != nil {
			return s, 0, 0, err
		}
		for i := range w.faults[before:] {
			if bad := &w.faults[before+i]; s.Err == nil && bad.damage(w.Mark) {
				s.Err = &block.CorruptError{File: bad.File, Offset: bad.Offset, Reason: bad.Reason}
			}
		}
	} else {
		s.FirstSeq, s.LastSeq, s.FirstTs, s.LastTs = ft.FirstSeq, ft.LastSeq, ft.MinTs, ft.MaxTs
		s.Unordered = s.Unordered || ft.Mixed
		s.Commits, s.Entries = int64(ft.LastSeq-ft.FirstSeq)+1, int64(ft.Entries)
		w.last = ft.LastSeq
		raw, stored = w.sample(f, ft.End)
	}
	if stored > 0 {
		s.Ratio = float64(raw) / float64(stored)
	}
	return s, raw, stored, nil
}

func (s *SegmentInfo) see(c *Commit) {
	if s.FirstSeq == 0 {
		s.FirstSeq = c.Seq
	}
	s.LastSeq = c.Seq
	if s.FirstTs == 0 || c.Ts < s.FirstTs {
		s.FirstTs = c.Ts
	}
	s.LastTs = max(s.LastTs, c.Ts)
	if !c.Replayed {
		s.Commits++
		s.Entries += int64(c.Count)
	}
}

// sample measures the first blocks of a segment, as many as one read brings.
func (w *walker) sample(f *recovery.Segment, end int64) (raw, stored int64) {
	w.rd.Reset(f.File, f.Path, f.ID, nil, min(end, block.SegmentHeaderSize+block.ReadWindow))
	for at := int64(block.SegmentHeaderSize); ; {
		b, err := w.rd.Next(at)
		if err != nil { // the end of the sample, or damage, which others report
			return raw, stored
		}
		raw, stored, at = raw+int64(b.Raw), stored+int64(b.Stored)+block.HeaderSize, b.Next
	}
}
