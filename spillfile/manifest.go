package spillfile

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"sync"

	"github.com/badgerspill/badgerspill/spillfile/internal/block"
	"github.com/badgerspill/badgerspill/spillfile/vfs"
)

const (
	manifestMagic = "bspilman"
	manifestSize  = 128

	flagClean byte = 1
)

var (
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
	le         = binary.LittleEndian
)

// manifest is the small file that says what the segments alone can not. Offset, size and field:
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
type manifest struct {
	databaseID [16]byte
	replayed   uint64 // everything up to this sequence is in Badger, and synced there
	next       uint64 // no segment of this number or above was ever dropped, or had a batch
	firstLive  uint64 // segments below are dead
	mark       Position
	markSeq    uint64 // last sequence before mark
	lastSeq    uint64 // last acknowledged sequence; not necessarily durable
	// the newest segment with acknowledged batches that are not replayed; 0: none, or an older
	// layer has written this
	newest uint64
	clean  bool // written by Close: mark is the exact end
}

func (m *manifest) marshal() []byte {
	b := make([]byte, manifestSize)
	copy(b, manifestMagic)
	le.PutUint32(b[8:], block.Version)
	le.PutUint32(b[12:], manifestSize)
	copy(b[16:], m.databaseID[:])
	le.PutUint64(b[32:], m.replayed)
	le.PutUint64(b[40:], m.next)
	le.PutUint64(b[48:], m.firstLive)
	le.PutUint64(b[56:], m.mark.Segment)
	le.PutUint64(b[64:], uint64(m.mark.Offset))
	le.PutUint64(b[72:], m.markSeq)
	le.PutUint64(b[80:], m.lastSeq)
	if m.clean {
		b[88] = flagClean
	}
	le.PutUint64(b[96:], m.newest)
	le.PutUint32(b[124:], crc32.Checksum(b[:124], castagnoli))
	return b
}

func (m *manifest) unmarshal(file string, b []byte) error {
	switch {
	case len(b) < 12 || string(b[:8]) != manifestMagic:
		return block.Corrupt(file, 0, "this is not the manifest of a spill")
	case le.Uint32(b[8:]) != block.Version:
		return &VersionError{File: file, Found: le.Uint32(b[8:]), Supported: block.Version}
	case len(b) != manifestSize || le.Uint32(b[12:]) != manifestSize:
		return block.Corrupt(file, 0, "manifest has %d bytes, want %d", len(b), manifestSize)
	case le.Uint32(b[124:]) != crc32.Checksum(b[:124], castagnoli):
		return block.Corrupt(file, 0, "manifest checksum is %08x, want %08x", crc32.Checksum(b[:124], castagnoli), le.Uint32(b[124:]))
	}
	copy(m.databaseID[:], b[16:])
	m.replayed = le.Uint64(b[32:])
	m.next = le.Uint64(b[40:])
	m.firstLive = le.Uint64(b[48:])
	m.mark = Position{Segment: le.Uint64(b[56:]), Offset: int64(le.Uint64(b[64:]))}
	m.markSeq = le.Uint64(b[72:])
	m.lastSeq = le.Uint64(b[80:])
	m.clean = b[88]&flagClean != 0
	m.newest = le.Uint64(b[96:])
	return nil
}

// readManifest returns an error that matches fs.ErrNotExist if there is none.
func readManifest(fsys FS, dir string) (*manifest, error) {
	path := filepath.Join(dir, manifestName)
	f, err := fsys.OpenFile(path, os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	buf := make([]byte, manifestSize+1) // a longer file is refused without reading it
	n, err := f.ReadAt(buf, 0)
	if err != nil && err != io.EOF {
		return nil, fmt.Errorf("spill manifest %s: %w", path, err)
	}
	m := new(manifest)
	return m, m.unmarshal(path, buf[:n])
}

// write replaces the manifest. When it fails, the file may be the old or the new one.
func (m *manifest) write(fsys FS, dir string) error { return m.writeOver(fsys, dir, nil) }

// writeOver is write through a file that vfs.CreateTemp has made, unless that is nil.
func (m *manifest) writeOver(fsys FS, dir string, spare File) (err error) {
	path := filepath.Join(dir, manifestName)
	if spare == nil {
		err = vfs.WriteFile(fsys, path, m.marshal())
	} else {
		err = vfs.Replace(fsys, path, spare, m.marshal())
	}
	if err != nil {
		return fmt.Errorf("spill manifest %s: %w", path, err)
	}
	return nil
}

// spareManifest is the file that the next manifest will be written to. It is made beforehand: where
// a volume has no room for another file, the spill can still say that something is replayed, and so
// make room. It stays open, since a file of that name which this process has not made may be
// anything.
type spareManifest struct {
	mu   sync.Mutex // serializes changes of the manifest, and of Log.replayed
	file File       // nil: there is none
}

// writeManifest replaces the manifest, and makes the file of the one after that. manifest.mu must
// be held.
func (l *Log) writeManifest(m *manifest) error {
	spare := l.manifest.file
	l.manifest.file = nil
	err := m.writeOver(l.fs, l.o.Dir, spare)
	if !l.files.closed.Load() {
		l.makeSpare()
	}
	return err
}

// makeSpare makes the file of the next manifest, if there is room, unless it is there. It has its
// size, so that it has its block. manifest.mu must be held, or nobody else know l.
func (l *Log) makeSpare() {
	if l.manifest.file != nil {
		return
	}
	temp := filepath.Join(l.o.Dir, manifestTemp)
	f, err := vfs.CreateTemp(l.fs, filepath.Join(l.o.Dir, manifestName))
	if err == nil {
		if err = vfs.WriteAll(f, make([]byte, manifestSize)); err != nil {
			err = errors.Join(err, f.Close(), l.fs.Remove(temp))
		}
	}
	if err != nil { // the next manifest needs room for it
		l.note(Event{Kind: BackgroundError, Err: fmt.Errorf("spill manifest %s: the file of the next one cannot be made beforehand: %w", temp, err)})
		l.wakeBackground() // to send it
		return
	}
	l.manifest.file = f
}

// closeSpare closes the file, and removes it unless the spill holds something: then the next Open
// may find no room for another. manifest.mu must be held.
func (l *Log) closeSpare(holds bool) {
	if holds {
		l.makeSpare()
	}
	if l.manifest.file == nil {
		return
	}
	err := l.manifest.file.Close()
	l.manifest.file = nil
	if !holds {
		err = errors.Join(err, l.fs.Remove(filepath.Join(l.o.Dir, manifestTemp)))
	}
	if err != nil { // there is nothing in it, and the next Open removes it
		l.note(Event{Kind: BackgroundError, Err: err})
	}
}
