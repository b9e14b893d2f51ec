package recovery

import (
	"path/filepath"
	"slices"

	"github.com/badgerspill/badgerspill/spillfile/internal/block"
	"github.com/badgerspill/badgerspill/spillfile/internal/layout"
)

// claim is the newest segment that must be there, and the file that says so. The zero claim is that
// of a log which may be empty.
type claim struct {
	segment uint64
	file    string
	note    *layout.Note // nil: it is the manifest that says so
}

// claim returns what the manifest and the note say.
func (r *Recovery) claim() claim {
	m, n := r.Contents.Manifest, r.Contents.Newest
	if n != nil && n.Segment >= m.Next && n.DatabaseID == m.DatabaseID {
		return claim{n.Segment, filepath.Join(r.Options.Dir, layout.NewestName), n}
	}
	if m.Newest > 0 {
		return claim{m.Newest, filepath.Join(r.Options.Dir, layout.ManifestName), nil}
	}
	return claim{}
}

// SeeClaim returns an error if the newest segment is missing. A later one makes the claim void: the
// chain tells what is missing then.
func (r *Recovery) SeeClaim() error {
	c := r.claim()
	if c.segment == 0 {
		return nil
	}
	there := slices.Contains(r.IDs, c.segment) || slices.ContainsFunc(r.found, func(f *Segment) bool { return f.ID > c.segment && f.Bad == nil })
	if !there {
		return block.Corrupt(r.pathOf(c.segment), 0, "segment %d, the newest one, is missing: %s says that there are commits in it", c.segment, c.file)
	}
	if c.note != nil && c.note.Synced > 0 {
		r.SeeMark(block.Position{Segment: c.segment, Offset: c.note.Synced}, c.file)
	}
	return nil
}
