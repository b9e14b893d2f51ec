package recovery

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"

	"github.com/badgerspill/badgerspill/spillfile/internal/block"
	"github.com/badgerspill/badgerspill/spillfile/internal/index"
	"github.com/badgerspill/badgerspill/spillfile/internal/layout"
	"github.com/badgerspill/badgerspill/spillfile/vfs"
)

// CarryOut makes the disk agree with what was decided, and what was found durable.
func (r *Recovery) CarryOut() error {
	m, last := r.Contents.Manifest, uint64(0)
	if n := len(r.Live); n > 0 {
		last = r.Live[n-1].ID
	}
	// the numbers of what is dropped are not used again, and nobody counts on it
	if len(r.Dropped) > 0 || r.claim().segment > last {
		m.Next, m.Newest = r.NextNumber(), last
		if err := m.Write(r.FS, r.Options.Dir); err != nil {
			return err
		}
		r.Temp = slices.DeleteFunc(r.Temp, func(name string) bool { return name == layout.ManifestTemp })
	}
	if err := r.apply(); err != nil {
		return err
	}
	// This spill goes on. What a Salvage has made of an earlier state must not be put in its place
	// any more.
	for _, name := range r.Salvages {
		if err := layout.ClearDir(r.FS, filepath.Join(r.Options.Dir, name)); err != nil {
			return fmt.Errorf("spill %s: what an interrupted salvage has left: %w", r.Options.Dir, err)
		}
	}
	if r.Fresh {
		// The name of Dir itself must be durable before anything in it is acknowledged.
		if err := r.FS.SyncDir(filepath.Dir(r.Options.Dir)); err != nil {
			return fmt.Errorf("spill %s: %w", r.Options.Dir, err)
		}
	}
	if r.Fresh || r.adopts {
		return m.Write(r.FS, r.Options.Dir)
	}
	return nil
}

// apply makes the disk agree with what was decided. Each intermediate state leads to the same
// decision: the files are removed from the end, and only then is the tail cut.
func (r *Recovery) apply() error {
	sync := func() error {
		if err := r.FS.SyncDir(r.Options.Dir); err != nil {
			return fmt.Errorf("spill %s: %w", r.Options.Dir, err)
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
		if err := r.FS.Remove(r.pathOf(id)); err != nil {
			return fmt.Errorf("spill segment %s: remove: %w", r.pathOf(id), err)
		}
		if err := sync(); err != nil {
			return err
		}
	}
	// What follows means nothing without its segment, or at all: the removals need not be durable.
	useless := slices.Clone(r.Temp)
	for _, id := range r.Indexes {
		if !slices.ContainsFunc(r.Live, func(f *Segment) bool { return f.ID == id && f.IndexFile != nil }) {
			useless = append(useless, index.Name(id))
		}
	}
	for _, name := range useless {
		if err := r.FS.Remove(filepath.Join(r.Options.Dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("spill %s: remove: %w", filepath.Join(r.Options.Dir, name), err)
		}
	}
	if f := r.truncate; f != nil {
		if err := f.File.Truncate(f.Limit); err != nil {
			return fmt.Errorf("spill segment %s: truncate to %d: %w", f.Path, f.Limit, err)
		}
		f.Size = f.Limit
	}
	// What a killed process left in the page cache counts from now on: it must not be lost from
	// under the commits to come.
	for _, f := range r.Live {
		end := block.Position{Segment: f.ID, Offset: f.End}
		if end.After(r.Mark) || r.truncate == f {
			from := int64(0)
			if r.Mark.Segment == f.ID {
				from = r.Mark.Offset
			}
			err := f.File.Keep()
			if err == nil {
				err = errors.Join(rewrite(f.File, from, end.Offset), f.File.Sync())
				f.File.Unkeep()
			}
			if err != nil {
				return fmt.Errorf("spill segment %s: sync: %w", f.Path, err)
			}
		}
		f.Synced = end.Offset
	}
	return nil
}

// rewrite writes what lies between two offsets once more. A sync of it may have failed before this
// process began; then the system has forgotten that it was not written, and another sync would
// falsely succeed.
func rewrite(f vfs.File, from, to int64) error {
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
