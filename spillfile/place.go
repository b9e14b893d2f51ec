package spillfile

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/badgerspill/badgerspill/spillfile/internal/block"
	"github.com/badgerspill/badgerspill/spillfile/internal/layout"
	"github.com/badgerspill/badgerspill/spillfile/vfs"
)

var (
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
	le         = binary.LittleEndian
)

const (
	placeMagic      = "bspilrep"
	placeHeaderSize = 96
	// maxPlace bounds what is read: the longest key, the tag and the checksum.
	maxPlace = placeHeaderSize + 1<<16 + block.TagSize + 4
)

// Place is how far a Merge has reached Badger: of all live segments up to End, whose last batch has
// sequence LastSeq, Badger has durably what is to be kept of every key up to and with Key. That
// stays true until End's segment is dropped, or until a replay begins below the place with chunks
// that end elsewhere: then a tombstone before it may be compacted away in Badger, and what it
// covers given again. So who does that calls VoidPlace first.
type Place struct {
	End     Position // where the last segment of the merge ends
	LastSeq uint64   // of that segment
	Key     []byte   // a user key
	Entries int64    // of the merge that lie before, about
}

// marshal makes the file, which ends with the CRC of all before. Offset, size and field:
//
//	 0  8       magic
//	 8  4       version
//	12  4       length
//	16  16      database
//	32  8       end: segment
//	40  8       end: offset
//	48  8       last sequence
//	56  8       entries
//	64  4       segment's checksum
//	68  1       flags
//	69  3       zero
//	72  4       stored
//	76  12      nonce
//	88  8       zero
//	96  stored  key
func (p *Place) marshal(id [16]byte, header uint32, key []byte) ([]byte, error) {
	b := make([]byte, placeHeaderSize, placeHeaderSize+len(p.Key)+block.TagSize+4)
	copy(b, placeMagic)
	le.PutUint32(b[8:], block.Version)
	le.PutUint32(b[12:], placeHeaderSize)
	copy(b[16:], id[:])
	le.PutUint64(b[32:], p.End.Segment)
	le.PutUint64(b[40:], uint64(p.End.Offset))
	le.PutUint64(b[48:], p.LastSeq)
	le.PutUint64(b[56:], uint64(p.Entries))
	le.PutUint32(b[64:], header)
	if len(key) == 0 {
		le.PutUint32(b[72:], uint32(len(p.Key)))
		b = append(b, p.Key...)
	} else {
		b[68] = block.FlagEncrypted
		le.PutUint32(b[72:], uint32(len(p.Key)+block.TagSize))
		rand.Read(b[76:88])
		aead, err := block.NewAEAD(key)
		if err != nil {
			return nil, err
		}
		b = aead.Seal(b, b[76:88], p.Key, b[:76])
	}
	return le.AppendUint32(b, crc32.Checksum(b, castagnoli)), nil
}

// errNoPlace: there is none that can be used, for whatever reason. It costs time and nothing else.
var errNoPlace = errors.New("no place of replay")

func (p *Place) unmarshal(b []byte, id [16]byte, key []byte) (header uint32, err error) {
	n := len(b) - 4
	if n < placeHeaderSize || string(b[:8]) != placeMagic || le.Uint32(b[8:]) != block.Version || le.Uint32(b[12:]) != placeHeaderSize ||
		le.Uint32(b[n:]) != crc32.Checksum(b[:n], castagnoli) || [16]byte(b[16:32]) != id || int64(le.Uint32(b[72:])) != int64(n-placeHeaderSize) {
		return 0, errNoPlace
	}
	p.End = Position{Segment: le.Uint64(b[32:]), Offset: int64(le.Uint64(b[40:]))}
	p.LastSeq, p.Entries = le.Uint64(b[48:]), int64(le.Uint64(b[56:]))
	p.Key = b[placeHeaderSize:n]
	if b[68]&block.FlagEncrypted != 0 {
		if len(key) == 0 {
			return 0, errNoPlace
		}
		aead, err := block.NewAEAD(key)
		if err != nil {
			return 0, err
		}
		if p.Key, err = aead.Open(nil, b[76:88], p.Key, b[:76]); err != nil {
			return 0, errNoPlace
		}
	}
	return le.Uint32(b[64:]), nil
}

// NotePlace makes a place durable that Merge.Place has returned. Before it, what lies before the
// place must be durable in Badger. It blocks for the disk. After an error the file may be the old
// or the new one, and the next call may succeed.
func (l *Log) NotePlace(p Place) error {
	if l.o.ReadOnly {
		return ErrReadOnly
	}
	if len(p.Key) == 0 { // nothing is done yet
		return nil
	}
	s := l.segmentOf(p)
	if s == nil {
		return nil // dropped meanwhile
	}
	defer l.unref(s)
	b, err := p.marshal(l.o.DatabaseID, s.header.Checksum(), l.o.EncryptionKey)
	if err != nil {
		return err
	}
	l.place.mu.Lock()
	defer l.place.mu.Unlock()
	l.place.lastSeq = p.LastSeq // of the file as it will be, or may be
	path := filepath.Join(l.o.Dir, layout.PlaceName)
	if err := vfs.WriteFile(l.fs, path, b); err != nil {
		return fmt.Errorf("spill %s: %w", path, err)
	}
	return nil
}

// Place returns the place that NotePlace has made durable last, if it is of what is live now. It
// blocks for one read. What cannot be read or understood counts as none: then replay begins before
// it, which is harmless. A kill can leave such a file, and so can a layer that does not know it: it
// is removed with what is replayed next.
func (l *Log) Place() (Place, bool) {
	f, err := l.fs.OpenFile(filepath.Join(l.o.Dir, layout.PlaceName), os.O_RDONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return Place{}, false
	}
	var p Place
	ok := false
	if err == nil {
		defer f.Close()
		p, ok, err = l.readPlace(f)
	}
	if err != nil {
		l.o.Logf("spill %s: how far replay has come is not known, so it begins anew: %v", filepath.Join(l.o.Dir, layout.PlaceName), err)
	}
	lastSeq := uint64(1) // of no place: whatever is replayed
	if ok {
		lastSeq = p.LastSeq
	}
	l.place.mu.Lock()
	defer l.place.mu.Unlock()
	l.place.lastSeq = max(l.place.lastSeq, lastSeq)
	return p, ok
}

func (l *Log) readPlace(f File) (p Place, ok bool, err error) {
	size, err := f.Size()
	if err != nil || size > maxPlace {
		return Place{}, false, err
	}
	b := make([]byte, size)
	if n, err := f.ReadAt(b, 0); err != nil && err != io.EOF {
		return Place{}, false, err
	} else if n < len(b) {
		return Place{}, false, nil
	}
	header, err := p.unmarshal(b, l.o.DatabaseID, l.o.EncryptionKey)
	if err != nil { // it is as good as none
		return Place{}, false, nil
	}
	s := l.segmentOf(p)
	if s == nil {
		return Place{}, false, nil
	}
	defer l.unref(s)
	return p, s.header.Checksum() == header, nil
}

// segmentOf returns the segment at whose end p is, with a reference to it, nil if that is not live,
// or not what it was.
func (l *Log) segmentOf(p Place) *segment {
	v := l.Acquire()
	if v == nil {
		return nil
	}
	defer v.Release()
	s, err := v.segment(p.End.Segment)
	if err != nil || s.end.Load() != p.End.Offset || s.lastSeq.Load() != p.LastSeq {
		return nil
	}
	s.refs.Add(1)
	return s
}

// forgetPlace removes the file of a place once all before it is replayed: a key must not lie there
// longer than its commits do.
func (l *Log) forgetPlace() error {
	l.place.mu.Lock()
	defer l.place.mu.Unlock()
	if l.place.lastSeq == 0 || l.place.lastSeq > l.replayed.Load() {
		return nil
	}
	if err := l.removePlace(); err != nil {
		return err
	}
	l.place.lastSeq = 0
	return nil
}

// VoidPlace makes sure, durably, that there is no place: replay begins below one, with chunks that
// end elsewhere. It blocks for the disk, also if there is no file: an earlier try, of an earlier
// process even, may have removed it and not synced the directory.
func (l *Log) VoidPlace() error {
	if l.o.ReadOnly {
		return ErrReadOnly
	}
	l.place.mu.Lock()
	defer l.place.mu.Unlock()
	if err := l.removePlace(); err != nil {
		return err
	}
	if err := l.fs.SyncDir(l.o.Dir); err != nil {
		return fmt.Errorf("spill %s: %w", filepath.Join(l.o.Dir, layout.PlaceName), err)
	}
	l.place.lastSeq = 0
	return nil
}

// removePlace removes the file, and one that was being written.
func (l *Log) removePlace() error {
	for _, name := range []string{layout.PlaceTemp, layout.PlaceName} {
		path := filepath.Join(l.o.Dir, name)
		if err := l.fs.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("spill %s: remove: %w", path, err)
		}
	}
	return nil
}
