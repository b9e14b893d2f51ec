package layout

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"

	"github.com/badgerspill/badgerspill/spillfile/internal/block"
	"github.com/badgerspill/badgerspill/spillfile/vfs"
)

const (
	manifestMagic = "bspilman"
	// ManifestSize is that of the file, in bytes.
	ManifestSize = 128

	flagClean byte = 1
)

var (
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
	le         = binary.LittleEndian
)

// Manifest is the small file that says what the segments alone can not. Offset, size and field:
//
//	  0  8   magic
//	  8  4   version
//	 12  4   length
//	 16  16  database
//	 32  8   replayed through
//	 40  8   next segment
//	 48  8   first live
//	 56  8   mark: segment
//	 64  8   mark: offset
//	 72  8   mark: sequence
//	 80  8   last sequence
//	 88  1   flags
//	 89  7   zero
//	 96  8   newest segment
//	104  20  zero
//	124  4   checksum
type Manifest struct {
	DatabaseID [16]byte
	Replayed   uint64 // everything up to this sequence is in Badger, and synced there
	Next       uint64 // no segment of this number or above was ever dropped, or had a batch
	FirstLive  uint64 // segments below are dead
	Mark       block.Position
	MarkSeq    uint64 // last sequence before mark
	LastSeq    uint64 // last acknowledged sequence; not necessarily durable
	// the newest segment with acknowledged batches that are not replayed; 0: none, or an older
	// layer has written this
	Newest uint64
	Clean  bool // written by Close: mark is the exact end
}

// Marshal returns the bytes of the file.
func (m *Manifest) Marshal() []byte {
	b := make([]byte, ManifestSize)
	copy(b, manifestMagic)
	le.PutUint32(b[8:], block.Version)
	le.PutUint32(b[12:], ManifestSize)
	copy(b[16:], m.DatabaseID[:])
	le.PutUint64(b[32:], m.Replayed)
	le.PutUint64(b[40:], m.Next)
	le.PutUint64(b[48:], m.FirstLive)
	le.PutUint64(b[56:], m.Mark.Segment)
	le.PutUint64(b[64:], uint64(m.Mark.Offset))
	le.PutUint64(b[72:], m.MarkSeq)
	le.PutUint64(b[80:], m.LastSeq)
	if m.Clean {
		b[88] = flagClean
	}
	le.PutUint64(b[96:], m.Newest)
	le.PutUint32(b[124:], crc32.Checksum(b[:124], castagnoli))
	return b
}

// Unmarshal takes what is in file, a path. What is no manifest, or damaged, is a
// *block.CorruptError, and a newer format a *block.VersionError.
func (m *Manifest) Unmarshal(file string, b []byte) error {
	switch {
	case len(b) < 12 || string(b[:8]) != manifestMagic:
		return block.Corrupt(file, 0, "this is not the manifest of a spill")
	case le.Uint32(b[8:]) != block.Version:
		return &block.VersionError{File: file, Found: le.Uint32(b[8:]), Supported: block.Version}
	case len(b) != ManifestSize || le.Uint32(b[12:]) != ManifestSize:
		return block.Corrupt(file, 0, "manifest has %d bytes, want %d", len(b), ManifestSize)
	case le.Uint32(b[124:]) != crc32.Checksum(b[:124], castagnoli):
		return block.Corrupt(file, 0, "manifest checksum is %08x, want %08x", crc32.Checksum(b[:124], castagnoli), le.Uint32(b[124:]))
	}
	copy(m.DatabaseID[:], b[16:])
	m.Replayed = le.Uint64(b[32:])
	m.Next = le.Uint64(b[40:])
	m.FirstLive = le.Uint64(b[48:])
	m.Mark = block.Position{Segment: le.Uint64(b[56:]), Offset: int64(le.Uint64(b[64:]))}
	m.MarkSeq = le.Uint64(b[72:])
	m.LastSeq = le.Uint64(b[80:])
	m.Clean = b[88]&flagClean != 0
	m.Newest = le.Uint64(b[96:])
	return nil
}

// ReadManifest reads the manifest in dir. It returns the errors of Unmarshal, and an error that
// matches fs.ErrNotExist if there is none.
func ReadManifest(fsys vfs.FS, dir string) (*Manifest, error) {
	path := filepath.Join(dir, ManifestName)
	f, err := fsys.OpenFile(path, os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	buf := make([]byte, ManifestSize+1) // a longer file is refused without reading it
	n, err := f.ReadAt(buf, 0)
	if err != nil && err != io.EOF {
		return nil, fmt.Errorf("spill manifest %s: %w", path, err)
	}
	m := new(Manifest)
	return m, m.Unmarshal(path, buf[:n])
}

// Write replaces the manifest in dir, durably. When it fails, the file may be the old or the new
// one.
func (m *Manifest) Write(fsys vfs.FS, dir string) error { return m.WriteOver(fsys, dir, nil) }

// WriteOver is Write through a file that vfs.CreateTemp has made, unless that is nil.
func (m *Manifest) WriteOver(fsys vfs.FS, dir string, spare vfs.File) (err error) {
	path := filepath.Join(dir, ManifestName)
	if spare == nil {
		err = vfs.WriteFile(fsys, path, m.Marshal())
	} else {
		err = vfs.Replace(fsys, path, spare, m.Marshal())
	}
	if err != nil {
		return fmt.Errorf("spill manifest %s: %w", path, err)
	}
	return nil
}
