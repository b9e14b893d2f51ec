package recovery

import (
	"context"
	"errors"
	"io/fs"
	"slices"

	"github.com/badgerspill/badgerspill/spillfile/internal/block"
	"github.com/badgerspill/badgerspill/spillfile/internal/layout"
)

// Look is what is found in a spill's directory: recovery's own eyes, read-only and without a lock.
// Chain is in order as far as headers say it, and Gaps are what is missing from it.
type Look struct {
	*Recovery
	ManifestErr error // why Manifest is not the one on disk, nil if it is
	Absent      bool  // there is no spill
}

// NewLook opens the segments and puts them in order as far as their headers say it. It is to be
// closed. Damage is no error; a file in a newer format is, and so is one that cannot be read.
func NewLook(o Options) (_ *Look, err error) {
	if err := o.Check(); err != nil {
		return nil, err
	}
	d := NewDirectory(o)
	c, err := d.List()
	if err != nil {
		return nil, err
	}
	if c.Newest, err = layout.ReadNote(d.FS, o.Dir); err != nil {
		return nil, err
	}
	k := &Look{Recovery: &Recovery{Directory: d, Contents: c, ctx: context.Background(), pastGaps: true}}
	m, err := layout.ReadManifest(d.FS, o.Dir)
	switch {
	case err == nil:
	case errors.Is(err, fs.ErrNotExist) && len(c.IDs) == 0:
		m, k.Absent = &layout.Manifest{Next: 1, FirstLive: 1}, true
	case errors.Is(err, fs.ErrNotExist):
		m, k.ManifestErr = &layout.Manifest{}, noManifest(d.FS, o.Dir, c)
	case errors.Is(err, block.ErrCorrupt):
		m, k.ManifestErr = &layout.Manifest{}, err
	default:
		return nil, err
	}
	c.Manifest = m
	defer func() {
		if err != nil {
			k.Close()
		}
	}()
	if err := k.openAll(); err != nil {
		return nil, err
	}
	if k.ManifestErr != nil { // the identity is the last segment's
		for _, f := range k.found {
			if f.Bad == nil {
				m.DatabaseID = f.Header.DatabaseID
			}
		}
	}
	k.Options.DatabaseID = m.DatabaseID
	if err := k.link(); err != nil {
		return nil, err
	}
	// Without a manifest nobody knows whether what came before the first segment is replayed.
	if n := len(k.Gaps); k.ManifestErr != nil && n > 0 && k.Gaps[n-1].Before == k.Chain[0] {
		k.Gaps = k.Gaps[:n-1]
	}
	return k, nil
}

// Close closes the files.
func (k *Look) Close() {
	for _, f := range k.found {
		if f.File != nil {
			f.File.Close()
		}
	}
}

// Verdict is what Open would say: nil, or why it would refuse; and how many bytes it would cut off
// as a torn tail, none if it refuses.
func Verdict(o Options) (dropped int64, err error) {
	if err := o.Check(); err != nil {
		return 0, err
	}
	d := NewDirectory(o)
	c, err := d.Inspect()
	if err != nil || c.Manifest == nil {
		return 0, err
	}
	d.Options.DatabaseID = c.Manifest.DatabaseID
	r := &Recovery{Directory: d, Contents: c, ctx: context.Background()}
	defer r.CloseUnused(nil)
	if err := r.decide(); err != nil {
		return 0, err
	}
	return r.DroppedBytes, nil
}

// Same says whether two looks at a directory saw the same files.
func (k *Look) Same(o *Look) bool {
	return slices.Equal(k.IDs, o.IDs) && slices.Equal(k.Indexes, o.Indexes) && *k.Contents.Manifest == *o.Contents.Manifest &&
		slices.EqualFunc(k.found, o.found, func(a, b *Segment) bool { return a.Size == b.Size })
}
