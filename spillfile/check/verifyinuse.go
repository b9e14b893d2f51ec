package check

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/badgerspill/badgerspill/spillfile/internal/block"
	"github.com/badgerspill/badgerspill/spillfile/vfs"
)

// VerifyInUse is Verify for a spill that another process writes to. It takes no lock and writes
// nothing. Files come, go and grow while it reads: only a fault that is found again where it was,
// in a file that is there again, counts. The end of the newest segment is left out, and the numbers
// of commits are those of a moment. It may read all twice.
func VerifyInUse(ctx context.Context, src Source, progress func(done, total int64)) (*Findings, error) {
	var before *Findings
	var gone string // the file that was not there last
	for {
		n, err := Verify(ctx, src, progress)
		// A file may be removed between the list and its opening. Then another list does not have
		// it.
		if at := new(fs.PathError); errors.Is(err, fs.ErrNotExist) && errors.As(err, &at) && at.Path != gone {
			gone = at.Path
			continue
		}
		if err != nil {
			return nil, err
		}
		n.OpenError, n.TornBytes, n.Lost = nil, 0, nil
		n.Faults = slices.DeleteFunc(n.Faults, func(f Fault) bool { return unsteady(src, f, before) })
		for i := range n.Faults {
			// a power cut would explain it, and there was none
			if f := &n.Faults[i]; f.Kind == Torn {
				f.Kind = Damage
			}
		}
		if before != nil || len(n.Faults) == 0 {
			return n, nil
		}
		before = n
	}
}

// unsteady says whether a fault may be that of a file that changes.
func unsteady(src Source, f Fault, before *Findings) bool {
	fsys := src.FS
	if fsys == nil {
		fsys = vfs.OS
	}
	entries, err := fsys.ReadDir(src.Dir)
	if err != nil {
		return false
	}
	id, ok := block.ParseSegmentName(filepath.Base(f.File))
	if ok {
		newest := uint64(0)
		for _, e := range entries {
			if other, ok := block.ParseSegmentName(e.Name()); ok {
				// not one that is prepared
				if size, err := sizeOf(fsys, filepath.Join(src.Dir, e.Name())); err == nil && size > 0 {
					newest = max(newest, other)
				}
			}
		}
		if id >= newest {
			return true
		}
	}
	return before != nil && !slices.ContainsFunc(before.Faults, func(o Fault) bool { return o.File == f.File && o.Offset == f.Offset })
}

func sizeOf(fsys vfs.FS, path string) (int64, error) {
	f, err := fsys.OpenFile(path, os.O_RDONLY, 0)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	return f.Size()
}
