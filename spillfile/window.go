package spillfile

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/badgerspill/badgerspill/spillfile/internal/block"
)

// window is a run of entries in key order whose values lie anywhere in the merged segments. They
// are read in the order of the files, by several readers at once, so that a disk that can do
// several things at a time does.
type window struct {
	entries []Entry // in key order; values are set by read
	refs    []Ref
	keys    []byte // all keys, one after the other
	keyEnd  []int  // of each in keys
	order   []int  // entries in the order of the files
	slabs   []slab // of the readers: values lie there
	bytes   int64
	whole   []byte // the last key that is done with it, and how many entries of the merge are
	passed  int64
	err     error
}

// slab is the memory of one reader.
type slab struct {
	buf []byte
	dec block.Decoder
}

const (
	// windowReaders is how many reads are under way at once: enough to keep a solid-state disk busy
	// with reads of a block each, few enough that they are no burden when all is in the page cache.
	windowReaders = 16
	// windowRun is the least that one reader takes: below, it is not worth a goroutine.
	windowRun = 64
	// readGap is how much is read in vain between two blocks rather than read twice.
	readGap = 4 << 10
	// readRun bounds what is read at once.
	readRun = 256 << 10
)

var windows = sync.Pool{New: func() any { return new(window) }}

// maxPooledWindow is the memory above which a window is left to the garbage collector.
const maxPooledWindow = 16 << 20

func (w *window) reset() {
	clear(w.entries)
	w.entries, w.refs, w.keys, w.keyEnd, w.order = w.entries[:0], w.refs[:0], w.keys[:0], w.keyEnd[:0], w.order[:0]
	w.bytes, w.err = 0, nil
}

func (w *window) free() {
	clear(w.refs) // their short values lie in the arenas of indexes
	size := cap(w.keys)
	for i := range w.slabs {
		size += cap(w.slabs[i].buf) + w.slabs[i].dec.Memory()
	}
	if size <= maxPooledWindow {
		windows.Put(w)
	}
}

func (w *window) add(key []byte, ref *Ref) {
	w.keys = append(w.keys, key...)
	w.keyEnd = append(w.keyEnd, len(w.keys))
	w.order = append(w.order, len(w.entries))
	w.refs = append(w.refs, *ref)
	w.entries = append(w.entries, Entry{Version: ref.Version, ExpiresAt: ref.ExpiresAt, Meta: ref.Meta, UserMeta: ref.UserMeta})
	w.bytes += int64(len(key)) + ref.ValueLen + block.MinEntrySize
}

// cut leaves the first n entries.
func (w *window) cut(n int) {
	for i := n; i < len(w.entries); i++ {
		w.bytes -= int64(len(w.keyAt(i))) + w.refs[i].ValueLen + block.MinEntrySize
	}
	end := 0
	if n > 0 {
		end = w.keyEnd[n-1]
	}
	w.keys, w.keyEnd, w.order = w.keys[:end], w.keyEnd[:n], w.order[:n]
	w.refs, w.entries = w.refs[:n], w.entries[:n]
}

// keyAt returns the key of entry i.
func (w *window) keyAt(i int) []byte {
	start := 0
	if i > 0 {
		start = w.keyEnd[i-1]
	}
	return w.keys[start:w.keyEnd[i]:w.keyEnd[i]]
}

// read reads all values.
func (w *window) read(v *View) error {
	for i := range w.entries {
		w.entries[i].Key = w.keyAt(i)
	}
	slices.SortFunc(w.order, func(a, b int) int {
		x, y := &w.refs[a].at, &w.refs[b].at
		return cmp.Or(cmp.Compare(x.Segment, y.Segment), cmp.Compare(x.Block, y.Block))
	})
	readers := min(windowReaders, max(1, len(w.order)/windowRun))
	for len(w.slabs) < readers {
		w.slabs = append(w.slabs, slab{})
	}
	if readers == 1 {
		return w.readRuns(v, &w.slabs[0], w.order)
	}
	var wg sync.WaitGroup
	var failed atomic.Pointer[error]
	for i := range readers {
		part := w.order[i*len(w.order)/readers : (i+1)*len(w.order)/readers]
		wg.Add(1)
		go func() {
			defer wg.Done()
			if err := w.readRuns(v, &w.slabs[i], part); err != nil {
				failed.Store(&err)
			}
		}()
	}
	wg.Wait()
	if err := failed.Load(); err != nil {
		return *err
	}
	return nil
}

// readRuns reads the values of some entries, given in the order of the files, into the slab.
func (w *window) readRuns(v *View, s *slab, order []int) error {
	var need int64
	for _, i := range order {
		need += w.refs[i].ValueLen
	}
	if err := block.InOnePiece("a run of values", need); err != nil {
		return err
	}
	if int64(cap(s.buf)) < need {
		s.buf = make([]byte, 0, need)
	}
	s.buf = s.buf[:0]
	for len(order) > 0 {
		first := &w.refs[order[0]].at
		seg, err := v.segment(first.Segment)
		if err != nil {
			return err
		}
		// A run of blocks that lie close together.
		n, end := 1, first.End()
		for ; n < len(order); n++ {
			next := &w.refs[order[n]].at
			if next.Segment != first.Segment || next.Block > end+readGap || next.End()-first.Block > readRun {
				break
			}
			end = max(end, next.End())
		}
		if err := w.readRun(seg, s, order[:n], first.Block, end); err != nil {
			return err
		}
		order = order[n:]
	}
	return nil
}

// readRun reads the bytes from start to end of a segment at once, and the entries in them.
func (w *window) readRun(seg *segment, s *slab, order []int, start, end int64) error {
	if err := block.InOnePiece(seg.path, end-start); err != nil {
		return err
	}
	n := int(end - start)
	whole := s.dec.Buffer(n)
	if got, err := seg.file.ReadAt(whole, start); got < n {
		if err == nil || err == io.EOF {
			return block.Corrupt(seg.path, start+int64(got), "file ends where %d bytes should follow", n-got)
		}
		return fmt.Errorf("spill segment %s: read of %d bytes at %d: %w", seg.path, n, start, err)
	}
	var raw []byte
	var ts uint64
	open := int64(-1) // the block in raw
	for _, i := range order {
		ref := &w.refs[i]
		if ref.at.Block != open {
			var err error
			stored := whole[ref.at.Block-start : ref.at.End()-start]
			if raw, ts, err = s.dec.Open(seg.path, seg.aead, stored, ref.at.Stored, Position{Segment: seg.id(), Offset: ref.at.Block}); err != nil {
				return err
			}
			open = ref.at.Block
		}
		e, err := seg.parse(ref, raw, ts)
		if err != nil {
			return err
		}
		if string(e.Key) != string(w.entries[i].Key) {
			return block.Corrupt(seg.path, ref.at.Block, "entry at %d has another key than the index says", ref.at.Offset)
		}
		at := len(s.buf)
		s.buf = append(s.buf, e.Value...)
		w.entries[i].Value = s.buf[at:len(s.buf):len(s.buf)]
	}
	return nil
}
