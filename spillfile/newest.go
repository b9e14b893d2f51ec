package spillfile

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/badgerspill/badgerspill/spillfile/internal/block"
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
	newestMagic    = "bspilnew"
	newestSlot     = 72
	newestDistance = 512 // a sector for each slot: what tears one leaves the other
)

// newestNote is what a slot says. Offset, size and field:
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
type newestNote struct {
	databaseID [16]byte
	count      uint64 // of notes: the higher one holds
	segment    uint64
	firstSeq   uint64 // first sequence in it
	synced     int64  // where its first group ends, if that was synced; 0: not known
}

func (n *newestNote) marshal() []byte {
	b := make([]byte, newestSlot)
	copy(b, newestMagic)
	le.PutUint32(b[8:], block.Version)
	le.PutUint32(b[12:], newestSlot)
	copy(b[16:], n.databaseID[:])
	le.PutUint64(b[32:], n.count)
	le.PutUint64(b[40:], n.segment)
	le.PutUint64(b[48:], n.firstSeq)
	le.PutUint64(b[56:], uint64(n.synced))
	le.PutUint32(b[68:], crc32.Checksum(b[:68], castagnoli))
	return b
}

// unmarshal returns whether the slot is intact. The error is that of a newer format.
func (n *newestNote) unmarshal(file string, b []byte) (ok bool, err error) {
	if len(b) < newestSlot || string(b[:8]) != newestMagic {
		return false, nil
	}
	if v := le.Uint32(b[8:]); v != block.Version && v != 0 { // 0: torn, only the magic got through
		return false, &VersionError{File: file, Found: v, Supported: block.Version}
	}
	if le.Uint32(b[68:]) != crc32.Checksum(b[:68], castagnoli) || le.Uint32(b[12:]) != newestSlot {
		return false, nil
	}
	copy(n.databaseID[:], b[16:])
	n.count = le.Uint64(b[32:])
	n.segment = le.Uint64(b[40:])
	n.firstSeq = le.Uint64(b[48:])
	n.synced = int64(le.Uint64(b[56:]))
	return n.segment > 0 && n.synced >= 0, nil
}

// readNewest returns the note with the higher count, nil if there is none: without it a loss of the
// newest segment is not noticed, and nothing else is amiss.
func readNewest(fsys FS, dir string) (*newestNote, error) {
	path := filepath.Join(dir, newestName)
	f, err := fsys.OpenFile(path, os.O_RDONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("spill: %w", err)
	}
	defer f.Close()
	b := make([]byte, newestDistance+newestSlot)
	got, err := f.ReadAt(b, 0)
	if err != nil && err != io.EOF {
		return nil, fmt.Errorf("spill %s: %w", path, err)
	}
	var best *newestNote
	for _, at := range []int{0, newestDistance} {
		n := new(newestNote)
		ok, err := n.unmarshal(path, b[min(at, got):got])
		if err != nil {
			return nil, err
		}
		if ok && (best == nil || n.count > best.count) {
			best = n
		}
	}
	return best, nil
}

// newestWriter writes the notes. Guarded by writer.mu, but for the sync of the file.
type newestWriter struct {
	file  File // nil: it could not be opened
	count uint64
	dirty bool
}

// openNewest opens the file, and makes it if it is missing; who calls it syncs the directory.
// Without it there are no notes, which is told and no more: a spill must open on a volume without
// an inode, to free itself. fresh: the spill is new, and what is there is of an older one.
func (d *directory) openNewest(fresh bool, old *newestNote) (w newestWriter, err error) {
	path := filepath.Join(d.o.Dir, newestName)
	f, err := d.fs.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err == nil {
		if err = f.Chmod(0o600); err != nil {
			err = errors.Join(err, f.Close())
		}
	}
	if err != nil {
		if fresh && old != nil {
			return w, fmt.Errorf("spill: %w", err)
		}
		d.o.Logf("spill: it would not be noticed if the newest segment went missing: %v", err)
		return w, nil
	}
	if fresh && old != nil {
		if err := errors.Join(f.Truncate(0), f.Sync()); err != nil {
			return w, fmt.Errorf("spill %s: %w", path, errors.Join(err, f.Close()))
		}
		old = nil
	}
	w.file = f
	if old != nil {
		w.count = old.count
	}
	return w, nil
}

func (w *newestWriter) close() error {
	if w.file == nil {
		return nil
	}
	return w.file.Close()
}

// noteNewestLocked notes s, whose first group of batches ends at end, before that is acknowledged.
// A failure is told, and no more: the group is where it should be.
func (l *Log) noteNewestLocked(s *segment, end int64) {
	w := &l.w.newest
	if w.file == nil {
		return
	}
	n := newestNote{databaseID: l.o.DatabaseID, count: w.count + 1, segment: s.id(), firstSeq: s.header.FirstSeq}
	if l.o.SyncWrites {
		n.synced = end
	}
	b := n.marshal()
	got, err := w.file.WriteAt(b, int64(n.count%2)*newestDistance)
	if err == nil && got < len(b) {
		err = io.ErrShortWrite
	}
	w.count, w.dirty = n.count, true
	if err == nil && l.o.SyncWrites {
		err = w.file.Sync()
		w.dirty = false
	}
	if err != nil {
		l.noteLocked(BackgroundError, s, 0, fmt.Errorf("spill: it would not be noticed if segment %s went missing: %w", s.path, err))
	}
}

// syncNewest makes the last note durable.
func (l *Log) syncNewest() error {
	l.w.mu.Lock()
	f, dirty := l.w.newest.file, l.w.newest.dirty
	l.w.newest.dirty = false
	l.w.mu.Unlock()
	if f == nil || !dirty {
		return nil
	}
	if err := f.Sync(); err != nil {
		return fmt.Errorf("spill %s: sync: %w", filepath.Join(l.o.Dir, newestName), err)
	}
	return nil
}

// closeNewest ends the notes.
func (l *Log) closeNewest() error {
	l.w.mu.Lock()
	w := l.w.newest
	l.w.newest = newestWriter{}
	l.w.mu.Unlock()
	return w.close()
}

// claim is the newest segment that must be there, and the file that says so. The zero claim is that
// of a log which may be empty.
type claim struct {
	segment uint64
	file    string
	note    *newestNote // nil: it is the manifest that says so
}

// claim returns what the manifest and the note say.
func (r *recovery) claim() claim {
	m, n := r.contents.manifest, r.contents.newest
	if n != nil && n.segment >= m.next && n.databaseID == m.databaseID {
		return claim{n.segment, filepath.Join(r.o.Dir, newestName), n}
	}
	if m.newest > 0 {
		return claim{m.newest, filepath.Join(r.o.Dir, manifestName), nil}
	}
	return claim{}
}

// seeClaim returns an error if the newest segment is missing. A later one makes the claim void: the
// chain tells what is missing then.
func (r *recovery) seeClaim() error {
	c := r.claim()
	if c.segment == 0 {
		return nil
	}
	there := slices.Contains(r.ids, c.segment) || slices.ContainsFunc(r.found, func(f *foundSegment) bool { return f.id > c.segment && f.bad == nil })
	if !there {
		return block.Corrupt(r.pathOf(c.segment), 0, "segment %d, the newest one, is missing: %s says that there are commits in it", c.segment, c.file)
	}
	if c.note != nil && c.note.synced > 0 {
		r.seeMark(Position{Segment: c.segment, Offset: c.note.synced}, c.file)
	}
	return nil
}
