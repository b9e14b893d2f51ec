package spillfile

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

const (
	manifestName = "MANIFEST"
	manifestTemp = "MANIFEST.tmp"
	lockName     = "LOCK"
)

// manifest is the small file that says what the segments alone can not: see docs/format.md.
type manifest struct {
	databaseID [16]byte
	replayed   uint64 // everything up to this sequence is in Badger, and synced there
	next       uint64 // no segment of this number or above was ever dropped
	firstLive  uint64 // segments below are dead
	mark       Position
	markSeq    uint64 // last sequence before mark
	lastSeq    uint64 // last acknowledged sequence; not necessarily durable
	clean      bool   // written by Close: mark is the exact end
}

func (m *manifest) marshal() []byte {
	b := make([]byte, manifestSize)
	copy(b, manifestMagic)
	le.PutUint32(b[8:], formatVersion)
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
	le.PutUint32(b[124:], crc32.Checksum(b[:124], castagnoli))
	return b
}

func (m *manifest) unmarshal(file string, b []byte) error {
	switch {
	case len(b) < 12 || string(b[:8]) != manifestMagic:
		return corrupt(file, 0, "this is not the manifest of a spill")
	case le.Uint32(b[8:]) != formatVersion:
		return &VersionError{File: file, Found: le.Uint32(b[8:]), Supported: formatVersion}
	case len(b) != manifestSize || le.Uint32(b[12:]) != manifestSize:
		return corrupt(file, 0, "manifest has %d bytes, want %d", len(b), manifestSize)
	case le.Uint32(b[124:]) != crc32.Checksum(b[:124], castagnoli):
		return corrupt(file, 0, "manifest checksum is %08x, want %08x", crc32.Checksum(b[:124], castagnoli), le.Uint32(b[124:]))
	}
	copy(m.databaseID[:], b[16:])
	m.replayed = le.Uint64(b[32:])
	m.next = le.Uint64(b[40:])
	m.firstLive = le.Uint64(b[48:])
	m.mark = Position{le.Uint64(b[56:]), int64(le.Uint64(b[64:]))}
	m.markSeq = le.Uint64(b[72:])
	m.lastSeq = le.Uint64(b[80:])
	m.clean = b[88]&flagClean != 0
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
func (m *manifest) write(fsys FS, dir string) error {
	temp, path := filepath.Join(dir, manifestTemp), filepath.Join(dir, manifestName)
	err := func() error {
		// A temporary file left by a crash is in the way of O_EXCL.
		if err := fsys.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		f, err := fsys.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return err
		}
		if err := errors.Join(writeWhole(f, m.marshal()), f.Close()); err != nil {
			return err
		}
		if err := fsys.Rename(temp, path); err != nil {
			return err
		}
		return fsys.SyncDir(dir)
	}()
	if err != nil {
		return fmt.Errorf("spill manifest %s: %w", path, err)
	}
	return nil
}

func writeWhole(f File, b []byte) error {
	if err := f.Chmod(0o600); err != nil {
		return err
	}
	if n, err := f.WriteAt(b, 0); err != nil {
		return err
	} else if n < len(b) {
		return io.ErrShortWrite
	}
	return f.Sync()
}
