package spillfile

import (
	"crypto/cipher"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/badgerspill/badgerspill/spillfile/internal/block"
	"github.com/badgerspill/badgerspill/spillfile/internal/index"
	"github.com/badgerspill/badgerspill/spillfile/vfs"
)

// foundSegment is a file found at Open, and what recovery makes of it.
type foundSegment struct {
	id    uint64
	path  string
	file  *pooledFile
	size  int64
	bad   error // the header is not intact
	limit int64 // nothing at or beyond counts: the smaller of want and size
	known bool  // want is known, from the successor or from a clean close
	want  int64 // where the acknowledged part ends

	header block.SegmentHeader // zero if bad is not nil
	aead   cipher.AEAD         // nil: plaintext, or the key was not needed yet

	index segmentIndex // taken or made; that of a dead one is only to be closed

	// Of one that is live, as far as its batches are not replayed.
	indexSize    int64 // of the file of the index, 0 if that is in memory
	end          int64 // of the acknowledged part
	lastSeq      uint64
	minTs, maxTs uint64
	maxVersion   uint64
	mixed        bool  // some entry has a version of its own
	synced       int64 // everything before is durable
}

// segment makes a segment of the log of one that is live. now is the time by the wall clock.
func (f *foundSegment) segment(now time.Time) *segment {
	s := &segment{header: f.header, file: f.file, path: f.path, aead: f.aead, synced: f.synced, sealed: true}
	s.age(now)
	s.end.Store(f.end)
	s.lastSeq.Store(f.lastSeq)
	s.minTs.Store(f.minTs)
	s.maxTs.Store(f.maxTs)
	s.maxVersion.Store(f.maxVersion)
	s.mixed.Store(f.mixed)
	s.size.Store(f.size)
	s.refs.Store(1)
	s.idx.disk = f.indexSize
	return s
}

// hasIndex says whether an index is that of this segment: of this file, and not only of one with
// its number. database is the identity in the manifest. Of a segment whose header is not intact
// nothing but that and the number is known.
func (f *foundSegment) hasIndex(x *index.Footer, database [16]byte) bool {
	if x.DatabaseID != database || x.Segment != f.id || x.LastSeq < x.FirstSeq {
		return false
	}
	if f.bad != nil {
		return true
	}
	h := &f.header
	return x.SegmentCRC == h.Checksum() && x.Encrypted == h.Encrypted && x.FirstSeq == h.FirstSeq
}

// mayEnd says whether the acknowledged part of the segment can end there, by what is known of it.
func (f *foundSegment) mayEnd(at int64) bool { return at <= f.size && (!f.known || at == f.want) }

// footer returns what the footer of a segment's index file says, and the size of that file; nil if
// there is no index, or not an intact footer of one that is this segment's. The error is that there
// is no descriptor for it.
func (r *recovery) footer(f *foundSegment) (*index.Footer, int64, error) {
	if _, ok := slices.BinarySearch(r.indexes, f.id); !ok {
		return nil, 0, nil
	}
	path := r.indexPath(f.id)
	file := r.files.file(path, os.O_RDONLY)
	defer file.Close()
	x, size, err := index.ReadFooter(file, path)
	switch {
	case vfs.OutOfFiles(err):
		return nil, 0, err
	case err != nil || !f.hasIndex(&x, r.contents.manifest.databaseID):
		return nil, 0, nil
	}
	return &x, size, nil
}

// seeIndex sees the synced mark that the index file of a segment is, also where the segment or the
// rest of the index is damaged.
func (r *recovery) seeIndex(f *foundSegment) error {
	x, _, err := r.footer(f)
	if x != nil {
		r.seeMark(Position{Segment: f.id, Offset: x.End}, r.indexPath(f.id))
	}
	return err
}

func (r *recovery) pathOf(id uint64) string { return filepath.Join(r.o.Dir, block.SegmentName(id)) }

func (r *recovery) indexPath(id uint64) string { return filepath.Join(r.o.Dir, index.Name(id)) }
