package spillfile

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/badgerspill/badgerspill/spillfile/internal/index"
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
	defer w.close()
	var done, total int64
	for _, f := range w.chain {
		total += f.size
	}
	w.read = func(f *foundSegment) {
		if done += f.size; progress != nil {
			progress(done, total)
		}
	}
	n, err := w.run()
	if err != nil {
		return nil, err
	}
	for _, id := range w.indexes {
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
	var f *foundSegment
	for _, c := range w.chain {
		if c.id == id {
			f = c
		}
	}
	if f == nil || f.bad != nil || f.header.DatabaseID != w.contents.manifest.databaseID {
		return nil // nobody uses it
	}
	path := w.indexPath(id)
	file := w.files.file(path, os.O_RDONLY)
	if err := file.keep(); err != nil {
		return fmt.Errorf("spill index %s: %w", path, err)
	}
	v := index.Check(file, path, w.o.EncryptionKey, func(ft *index.Footer) error {
		switch {
		case !f.hasIndex(ft, w.contents.manifest.databaseID):
			return fmt.Errorf("this is not the index of %s", f.path)
		case !f.mayEnd(ft.End):
			return fmt.Errorf("it says that %s ends at %d, want %d", f.path, ft.End, max(f.want, f.limit))
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
	if c := new(CorruptError); errors.As(err, &c) {
		f.Offset, f.Reason = c.Offset, c.Reason
	}
	w.report.Faults = append(w.report.Faults, f)
}

// compare holds the index of a segment against the one that the segment makes. An index that was
// made when a part of its segment was replayed need not have that part.
func (w *walker) compare(f *foundSegment, v *index.Checked) error {
	w.rd.Reset(f.file, f.path, f.id, f.aead, v.Footer.End)
	mem, _, err := readIndex(&w.rd, f.header.FirstSeq, v.Footer.LastSeq)
	if errors.Is(err, ErrCorrupt) {
		v.Fault(fmt.Errorf("the segment does not end as the index says: %w", err))
		return nil
	}
	if err != nil {
		return err
	}
	v.Compare(mem, w.liveFrom[f.id])
	return nil
}
