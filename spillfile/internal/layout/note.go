package layout

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/badgerspill/badgerspill/spillfile/internal/block"
	"github.com/badgerspill/badgerspill/spillfile/vfs"
)

// The file NEWEST has the number of the newest segment: nothing else would notice that this one is
// gone, for each segment is named by the one behind it.
//
// It has two slots, written in turn, in place: no room, no inode and no directory is needed, and a
// torn write leaves the other slot. The number is written after the first group of a segment,
// before that is acknowledged, and is as durable as this group: with SyncWrites it is synced at
// once, otherwise with the segment. So a file that is named here has been there, and its name is
// durable. It counts only from the manifest's next segment on. What is removed below that is known
// to the manifest, and the newest segment then has its number there.
const (
	newestMagic  = "bspilnew"
	newestSlot   = 72
	NoteDistance = 512 // a sector for each slot: what tears one leaves the other
)

// Note is what a slot says. Offset, size and field:
//
//	 0  8   magic
//	 8  4   version
//	12  4   length
//	16  16  database
//	32  8   count
//	40  8   segment
//	48  8   first sequence
//	56  8   synced
//	64  4   zero
//	68  4   checksum
type Note struct {
	DatabaseID [16]byte
	Count      uint64 // of notes: the higher one holds
	Segment    uint64
	FirstSeq   uint64 // first sequence in it
	Synced     int64  // where its first group ends, if that was synced; 0: not known
}

// Marshal returns the bytes of the slot.
func (n *Note) Marshal() []byte {
	b := make([]byte, newestSlot)
	copy(b, newestMagic)
	le.PutUint32(b[8:], block.Version)
	le.PutUint32(b[12:], newestSlot)
	copy(b[16:], n.DatabaseID[:])
	le.PutUint64(b[32:], n.Count)
	le.PutUint64(b[40:], n.Segment)
	le.PutUint64(b[48:], n.FirstSeq)
	le.PutUint64(b[56:], uint64(n.Synced))
	le.PutUint32(b[68:], crc32.Checksum(b[:68], castagnoli))
	return b
}

// unmarshal returns whether the slot is intact. The error is that of a newer format.
func (n *Note) unmarshal(file string, b []byte) (ok bool, err error) {
	if len(b) < newestSlot || string(b[:8]) != newestMagic {
		return false, nil
	}
	if v := le.Uint32(b[8:]); v != block.Version && v != 0 { // 0: torn, only the magic got through
		return false, &block.VersionError{File: file, Found: v, Supported: block.Version}
	}
	if le.Uint32(b[68:]) != crc32.Checksum(b[:68], castagnoli) || le.Uint32(b[12:]) != newestSlot {
		return false, nil
	}
	copy(n.DatabaseID[:], b[16:])
	n.Count = le.Uint64(b[32:])
	n.Segment = le.Uint64(b[40:])
	n.FirstSeq = le.Uint64(b[48:])
	n.Synced = int64(le.Uint64(b[56:]))
	return n.Segment > 0 && n.Synced >= 0, nil
}

// ReadNote returns the note in dir with the higher count, nil if there is none: without it a loss
// of the newest segment is not noticed, and nothing else is amiss.
func ReadNote(fsys vfs.FS, dir string) (*Note, error) {
	path := filepath.Join(dir, NewestName)
	f, err := fsys.OpenFile(path, os.O_RDONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("spill: %w", err)
	}
	defer f.Close()
	b := make([]byte, NoteDistance+newestSlot)
	got, err := f.ReadAt(b, 0)
	if err != nil && err != io.EOF {
		return nil, fmt.Errorf("spill %s: %w", path, err)
	}
	var best *Note
	for _, at := range []int{0, NoteDistance} {
		n := new(Note)
		ok, err := n.unmarshal(path, b[min(at, got):got])
		if err != nil {
			return nil, err
		}
		if ok && (best == nil || n.Count > best.Count) {
			best = n
		}
	}
	return best, nil
}
