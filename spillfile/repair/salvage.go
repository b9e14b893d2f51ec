package repair

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/badgerspill/badgerspill/spillfile"
	"github.com/badgerspill/badgerspill/spillfile/check"
	"github.com/badgerspill/badgerspill/spillfile/internal/block"
	"github.com/badgerspill/badgerspill/spillfile/internal/filepool"
	"github.com/badgerspill/badgerspill/spillfile/internal/index"
	"github.com/badgerspill/badgerspill/spillfile/internal/layout"
	"github.com/badgerspill/badgerspill/spillfile/internal/recovery"
	"github.com/badgerspill/badgerspill/spillfile/vfs"
)

// ErrChanged means that Salvage met another spill than the check.Walk whose findings it was given.
var ErrChanged = errors.New("spill has changed since it was looked at")

// Salvaged is what Salvage did.
type Salvaged struct {
	Commits int64  // in the new spill
	Aside   string // directory with the old files
	Resumed bool   // an earlier Salvage was interrupted, and this one has only finished it
}

// Salvage replaces a damaged spill by a sound one with the commits that are intact: whole batches,
// with their timestamps, versions, tombstones and expiry, in their order. With prefix it takes none
// that comes after a lost one. found is what check.Walk has found, to be sure that what was looked
// at is what is replaced; if it is not, nothing changes and the error matches ErrChanged.
//
// The new spill is made beside the old one, by a Log, and verified. Then the old files are moved to
// a directory in Dir, not removed, and the new ones take their place. Interrupted before that,
// nothing has changed; interrupted while files are moved, Open refuses the spill
// (spillfile.ErrNoManifest)
// until another Salvage, for which found and prefix then mean nothing, has finished.
//
// It needs as much room as the intact commits take, keeps others away (spillfile.ErrLocked), and
// ends between two commits with the error of ctx.
func Salvage(ctx context.Context, src check.Source, found *check.Findings, prefix bool) (*Salvaged, error) {
	if src.FS == nil {
		src.FS = vfs.OS
	}
	lock, err := src.FS.Lock(filepath.Join(src.Dir, layout.LockName), false)
	if err != nil {
		return nil, recovery.LockError(src.Dir, err)
	}
	defer lock.Close()
	s := salvage{src: src, fs: src.FS, found: found, prefix: prefix,
		temp: filepath.Join(src.Dir, layout.RebuildingName), dir: filepath.Join(src.Dir, layout.RebuiltName)}
	resumed, err := SalvageInterrupted(src)
	if err != nil {
		return nil, err
	}
	var commits int64
	if !resumed {
		err := errors.Join(s.clear(s.temp), s.clear(s.dir))
		if err == nil {
			if commits, err = s.rebuild(ctx); err != nil {
				err = errors.Join(err, s.clear(s.temp))
			}
		}
		if err != nil {
			return nil, err
		}
	}
	aside, err := s.swap()
	if err != nil {
		return nil, fmt.Errorf("spill %s: moving files: %w; salvage it again to finish", src.Dir, err)
	}
	return &Salvaged{Commits: commits, Aside: aside, Resumed: resumed}, nil
}

// SalvageInterrupted says whether a Salvage of the spill was interrupted while it moved files. Then
// the old manifest is away, which goes first, and the new one not yet in its place, which comes
// last.
func SalvageInterrupted(src check.Source) (bool, error) {
	if src.FS == nil {
		src.FS = vfs.OS
	}
	if _, err := layout.ReadManifest(src.FS, src.Dir); !errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	switch _, err := layout.ReadManifest(src.FS, filepath.Join(src.Dir, layout.RebuiltName)); {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	default:
		return err == nil, err
	}
}

// salvage makes a new spill in temp, names it dir, and puts it in the place of the old one.
type salvage struct {
	src       check.Source
	fs        vfs.FS
	temp, dir string
	found     *check.Findings
	prefix    bool
}

// rebuild makes the new spill, and returns how many commits are in it.
func (s *salvage) rebuild(ctx context.Context) (int64, error) {
	k, err := recovery.NewLook(recovery.Options{Dir: s.src.Dir, FS: s.fs, EncryptionKey: s.src.EncryptionKey, ReadOnly: true, OpenFiles: filepool.Min})
	if err != nil {
		return 0, err
	}
	defer k.Close()
	m := *k.Contents.Manifest
	m.Next = k.NextNumber() // so that old and new files can lie in one directory
	m.FirstLive, m.Mark, m.MarkSeq, m.LastSeq, m.Newest, m.Clean = m.Next, block.Position{}, 0, m.Replayed, 0, true
	o := spillfile.Options{Dir: s.temp, FS: s.fs, DatabaseID: m.DatabaseID, EncryptionKey: s.src.EncryptionKey}
	for _, f := range k.Chain { // as large as the program made them
		o.SegmentSize = max(o.SegmentSize, f.Size)
	}
	o.SegmentSize = min(max(o.SegmentSize, spillfile.MinSegmentSize), spillfile.MaxSegmentSize)
	if err := s.fs.MkdirAll(s.temp, 0o700); err != nil {
		return 0, fmt.Errorf("spill %s: %w", s.temp, err)
	}
	if err := m.Write(s.fs, s.temp); err != nil {
		return 0, err
	}
	l, err := spillfile.Open(o)
	if err != nil {
		return 0, err
	}
	kept, err := s.copyTo(ctx, l)
	if err = errors.Join(err, l.Close()); err != nil {
		return 0, err
	}
	made, err := check.Verify(ctx, check.Source{Dir: s.temp, FS: s.fs, EncryptionKey: s.src.EncryptionKey}, nil)
	if err != nil {
		return 0, err
	}
	if len(made.Faults) > 0 || made.Commits != kept || made.OpenError != nil {
		return 0, fmt.Errorf("spill %s: what was written is not what was read: %d commits of %d, %d faults; is the disk or the memory of this machine sound?",
			s.temp, made.Commits, kept, len(made.Faults))
	}
	if err := s.fs.Rename(s.temp, s.dir); err != nil {
		return 0, fmt.Errorf("spill %s: %w", s.temp, err)
	}
	return kept, s.fs.SyncDir(s.src.Dir)
}

// copyTo appends the commits that Walk finds to l.
func (s *salvage) copyTo(ctx context.Context, l *spillfile.Log) (kept int64, err error) {
	// Of a lost commit Badger may have a part, newer than what is left: timestamps say nothing
	// about what is where any more, and reads and recovery must know that. If it is not known what
	// is replayed, recovery had better compare.
	unordered := len(s.found.Lost) > 0 && !s.found.ManifestLost
	direct := uint64(0)
	if unordered {
		l.Rotate(block.Unordered)
	}
	n, err := check.Walk(ctx, s.src, func(c *check.Commit) error {
		if c.Replayed || s.prefix && c.AfterLoss {
			return nil
		}
		if c.DirectThrough > direct && !unordered {
			direct = c.DirectThrough
			l.Rotate(direct)
		}
		b := spillfile.NewBatch()
		defer b.Free()
		for _, e := range c.Entries {
			if e.Version == c.Ts {
				e.Version = 0
			}
			b.Add(&e)
		}
		l.Enqueue(b, c.Ts)
		kept++
		return l.Commit(b)
	})
	if err != nil {
		return 0, err
	}
	if f := s.found; n.Commits != f.Commits || n.Entries != f.Entries || n.NewestSeq != f.NewestSeq || len(n.Lost) != len(f.Lost) {
		return 0, fmt.Errorf("%w: %s has %d commits, had %d", ErrChanged, s.src.Dir, n.Commits, f.Commits)
	}
	return kept, nil
}

// swap puts the new spill in the place of the old one. Each step may find itself done already.
//
//  1. The old manifest goes aside. From here on Open refuses: there are segments without a
//     manifest.
//  2. The new segments, whose numbers are above all old ones, come in; the old ones go aside; the
//     new indexes come in.
//  3. The new manifest comes in.
func (s *salvage) swap() (aside string, err error) {
	m, err := layout.ReadManifest(s.fs, s.dir)
	if err != nil {
		return "", err
	}
	fresh := func(id uint64) bool { return id >= m.FirstLive }
	aside = filepath.Join(s.src.Dir, fmt.Sprintf("%s%010d", layout.AsidePrefix, m.FirstLive))
	if err := s.fs.MkdirAll(aside, 0o700); err != nil {
		return "", err
	}
	isSegment := func(name string) bool { id, ok := block.ParseSegmentName(name); return ok && fresh(id) }
	isIndex := func(name string) bool { id, ok := index.ParseName(name); return ok && fresh(id) }
	isManifest := func(name string) bool { return name == layout.ManifestName }
	for _, step := range []struct {
		from, to string
		which    func(name string) bool
	}{
		{s.src.Dir, aside, isManifest},
		{s.dir, s.src.Dir, isSegment},
		{s.src.Dir, aside, func(name string) bool { return layout.IsSpillFile(name) && !isSegment(name) && !isIndex(name) }},
		{s.dir, s.src.Dir, isIndex},
		{s.dir, s.src.Dir, isManifest},
	} {
		if err := s.move(step.from, step.to, step.which); err != nil {
			return "", err
		}
	}
	return aside, s.clear(s.dir)
}

// move moves files from one directory to another, durably.
func (s *salvage) move(from, to string, which func(name string) bool) error {
	entries, err := s.fs.ReadDir(from)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.IsDir() || !which(e.Name()) {
			continue
		}
		if err := s.fs.Rename(filepath.Join(from, e.Name()), filepath.Join(to, e.Name())); err != nil {
			return err
		}
	}
	return errors.Join(s.fs.SyncDir(to), s.fs.SyncDir(from))
}

// clear removes a directory of Salvage, and what is in it.
func (s *salvage) clear(dir string) error {
	if err := layout.ClearDir(s.fs, dir); err != nil {
		return fmt.Errorf("spill %s: %w", s.src.Dir, err)
	}
	return nil
}
