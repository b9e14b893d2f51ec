package recovery

import (
	"crypto/cipher"
	"os"
	"path/filepath"
	"slices"

	"github.com/badgerspill/badgerspill/spillfile/internal/block"
	"github.com/badgerspill/badgerspill/spillfile/internal/filepool"
	"github.com/badgerspill/badgerspill/spillfile/internal/index"
	"github.com/badgerspill/badgerspill/spillfile/vfs"
)

// Segment is the file of a segment that was found, and what recovery makes of it.
type Segment struct {
	ID    uint64 // by its name
	Path  string
	File  *filepool.File
	Size  int64 // of the file, in bytes
	Bad   error // the header is not intact
	Limit int64 // nothing at or beyond counts: the smaller of Want and Size
	Known bool  // Want is known, from the successor or from a clean close
	Want  int64 // where the acknowledged part ends

	Header block.SegmentHeader // zero if Bad is not nil
	AEAD   cipher.AEAD         // nil: plaintext, or the key was not needed yet

	// The index, taken from its file or made, in one of the two; that of a dead one is only to be
	// closed.
	Memory    *index.Memory
	IndexFile *index.File

	// Of one that is live, as far as its batches are not replayed.
	IndexSize    int64  // of the file of the index, 0 if that is in memory
	End          int64  // of the acknowledged part
	LastSeq      uint64 // of its last batch
	MinTs, MaxTs uint64 // of commits, lowest and highest
	MaxVersion   uint64 // of entries
	Mixed        bool   // some entry has a version of its own
	Synced       int64  // everything before is durable
}

// HasIndex says whether an index is that of this segment: of this file, and not only of one with
// its number. database is the identity in the manifest. Of a segment whose header is not intact
// nothing but that and the number is known.
func (f *Segment) HasIndex(x *index.Footer, database [16]byte) bool {
	if x.DatabaseID != database || x.Segment != f.ID || x.LastSeq < x.FirstSeq {
		return false
	}
	if f.Bad != nil {
		return true
	}
	h := &f.Header
	return x.SegmentCRC == h.Checksum() && x.Encrypted == h.Encrypted && x.FirstSeq == h.FirstSeq
}

// MayEnd says whether the acknowledged part of the segment can end there, by what is known of it.
func (f *Segment) MayEnd(at int64) bool { return at <= f.Size && (!f.Known || at == f.Want) }

// Footer returns what the footer of a segment's index file says, and the size of that file; nil if
// there is no index, or not an intact footer of one that is this segment's. The error is that there
// is no descriptor for it.
func (r *Recovery) Footer(f *Segment) (*index.Footer, int64, error) {
	if _, ok := slices.BinarySearch(r.Indexes, f.ID); !ok {
		return nil, 0, nil
	}
	path := r.IndexPath(f.ID)
	file := r.Pool.File(path, os.O_RDONLY)
	defer file.Close()
	x, size, err := index.ReadFooter(file, path)
	switch {
	case vfs.OutOfFiles(err):
		return nil, 0, err
	case err != nil || !f.HasIndex(&x, r.Contents.Manifest.DatabaseID):
		return nil, 0, nil
	}
	return &x, size, nil
}

// seeIndex sees the synced mark that the index file of a segment is, also where the segment or the
// rest of the index is damaged.
func (r *Recovery) seeIndex(f *Segment) error {
	x, _, err := r.Footer(f)
	if x != nil {
		r.SeeMark(block.Position{Segment: f.ID, Offset: x.End}, r.IndexPath(f.ID))
	}
	return err
}

func (r *Recovery) pathOf(id uint64) string {
	return filepath.Join(r.Options.Dir, block.SegmentName(id))
}

// IndexPath returns the path that the index file of a segment has, whether there is one or not.
func (r *Recovery) IndexPath(id uint64) string { return filepath.Join(r.Options.Dir, index.Name(id)) }
