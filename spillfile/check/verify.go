package check

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/badgerspill/badgerspill/spillfile/internal/block"
	"github.com/badgerspill/badgerspill/spillfile/internal/index"
	"github.com/badgerspill/badgerspill/spillfile/internal/recovery"
)

// Verify is Walk that also reads every block of every index file and compares it with its segment:
// each entry that a read would look for must be there, in its place, and pass the filter. It takes
// the memory of one segment's index. progress (nil: nobody) is told after each segment how many
// bytes of segments are done, and of how many.
func Verify(ctx context.Context, src Source, progress func(done, total int64)) (*Findings, error) {
	w, err := newWalker(ctx, src, nil)
	if err != nil {
		return nil, err
	}
	defer w.Close()
	var done, total int64
	for _, f := range w.Chain {
		total += f.Size
	}
	w.read = func(f *recovery.Segment) {
		if done += f.Size; progress != nil {
			progress(done, total)
		}
	}
	n, err := w.run()
	if err != nil {
		return nil, err
	}
	for _, id := range w.Indexes {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if err := w.index(id); err != nil {
			return nil, err
		}
	}
	return n, nil
}

// index checks the index file of a segment.
func (w *walker) index(id uint64) error {
	var f *recovery.Segment
	for _, c := range w.Chain {
		if c.ID == id {
			f = c
		}
	}
	if f == nil || f.Bad != nil || f.Header.DatabaseID != w.Contents.Manifest.DatabaseID {
		return nil // nobody uses it
	}
	path := w.IndexPath(id)
	file := w.Pool.File(path, os.O_RDONLY)
	if err := file.Keep(); err != nil {
		return fmt.Errorf("spill index %s: %w", path, err)
	}
	v := index.Check(file, path, w.Options.EncryptionKey, func(ft *index.Footer) error {
		switch {
		case !f.HasIndex(ft, w.Contents.Manifest.DatabaseID):
			return fmt.Errorf("this is not the index of %s", f.Path)
		case !f.MayEnd(ft.End):
			return fmt.Errorf("it says that %s ends at %d, want %d", f.Path, ft.End, max(f.Want, f.Limit))
		}
		return nil
	}, func(at int64, err error) { w.indexFault(path, at, err) })
	if v == nil {
		return file.Close()
	}
	defer file.Close()
	if !v.Bad && w.sound[id] {
		if err := w.compare(f, v); err != nil {
			return err
		}
	}
	w.report.Indexes++
	return nil
}

func (w *walker) indexFault(path string, at int64, err error) {
	f := Fault{Kind: IndexDamage, File: path, Offset: at, End: at, Reason: err.Error()}
	if c := new(block.CorruptError); errors.As(err, &c) {
		f.Offset, f.Reason = c.Offset, c.Reason
	}
	w.report.Faults = append(w.report.Faults, f)
}

// compare holds the index of a segment against the one that the segment makes. An index that was
// made when a part of its segment was replayed need not have that part.
func (w *walker) compare(f *recovery.Segment, v *index.Checked) error {
	w.rd.Reset(f.File, f.Path, f.ID, f.AEAD, v.Footer.End)
	mem, _, err := recovery.ReadIndex(&w.rd, f.Header.FirstSeq, v.Footer.LastSeq)
	if errors.Is(err, block.ErrCorrupt) {
		v.Fault(fmt.Errorf("the segment does not end as the index says: %w", err))
		return nil
	}
	if err != nil {
		return err
	}
	v.Compare(mem, w.liveFrom[f.ID])
	return nil
}
