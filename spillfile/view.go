package spillfile

import (
	"cmp"
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/badgerspill/badgerspill/spillfile/internal/index"
)

// View is a counted reference to a set of segments: what they hold stays readable until Release,
// dropped or not. A batch acknowledged after Acquire may or may not be visible: callers read at a
// timestamp. All methods are safe for concurrent use.
type View struct {
	log  *Log
	segs []*segment // oldest first; immutable
	refs atomic.Int64

	// of segs, as far as they were known when the view was made; what a miss looks at lies together
	filters []index.Filter

	unordered bool // of the segments but the last, which may become so
}

// Ref is the place of one entry, found in a View and valid as long as the View is held.
type Ref struct {
	Version        uint64 // the entry's timestamp
	ExpiresAt      uint64 // unix seconds, 0 = never
	Meta, UserMeta byte   // as in Entry
	ValueLen       int64  // bytes of the value
	at             index.Location
	value          []byte // the value, if it lies in the index
	fill           bool   // a point read: its block is worth caching
}

// Acquire returns a View of everything live, or nil if there is nothing: that costs one atomic
// load. It never blocks. The caller must Release the View.
func (l *Log) Acquire() *View {
	for {
		v := l.current.Load()
		if v == nil || v.tryRef() {
			return v
		}
	}
}

// tryRef fails if the last reference is already gone; then the log has published another view.
func (v *View) tryRef() bool {
	for {
		n := v.refs.Load()
		if n == 0 {
			return false
		}
		if v.refs.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// Release gives the View back. Files that nobody else holds are closed here.
func (v *View) Release() {
	if v.refs.Add(-1) == 0 {
		for _, s := range v.segs {
			v.log.unref(s)
		}
	}
}

// newView makes a view of segments that cannot lose their last reference meanwhile.
func newView(l *Log, segs []*segment) *View {
	v := &View{log: l, segs: segs, filters: make([]index.Filter, len(segs))}
	v.refs.Store(1)
	for i, s := range segs {
		s.refs.Add(1)
		if x := s.index.Load(); x.file != nil {
			v.filters[i] = x.file.Filter
		}
		v.unordered = v.unordered || s.unordered()
	}
	return v
}

// publishLocked makes the live segments what Acquire returns. writer.mu must be held.
func (l *Log) publishLocked() {
	var v *View
	if len(l.w.live) > 0 {
		v = newView(l, slices.Clone(l.w.live))
	}
	if old := l.current.Swap(v); old != nil {
		old.Release()
	}
}

// Unordered says that an entry of the View may be older than one of the same key that was committed
// before it, in the View or in Badger: entries carry versions of their own, or Log.Rotate was told
// Unordered. It holds for all that a call of Get or of an iterator has found before.
func (v *View) Unordered() bool { return v.unordered || v.segs[len(v.segs)-1].unordered() }

// Get finds the newest version of key at or below ts. With highest false, and unless the view is
// Unordered, the newest segment that has one decides, which is right where commits arrive in
// timestamp order; otherwise the maximum over all segments does. It reads the index of sealed
// segments that may have the key: at most a block of a file each, mostly one in all. A damaged
// index is made again from its segment; the error is that of reading this, a *CorruptError if it is
// damaged, too.
func (v *View) Get(key []byte, ts uint64, highest bool) (best Ref, found bool, err error) {
	hash := index.Hash(key)
	for i := len(v.segs) - 1; i >= 0; i-- {
		if f := v.filters[i]; f != nil && !f.MayContain(hash) {
			continue
		}
		vs, ok, err := v.log.get(v.segs[i], key, ts, hash)
		if err != nil {
			return Ref{}, false, err
		}
		if !ok || found && vs.Version <= best.Version {
			continue
		}
		best, found = refOf(vs, vs.Version), true
		if !highest && !v.Unordered() {
			break
		}
	}
	best.fill = true
	return best, found, nil
}

// Value appends the value of r to dst. It reads and checks the block: a *CorruptError means that
// the file was damaged since. Blocks for one read of the file, unless the value is of 64 bytes at
// most and its segment is not sealed yet.
func (v *View) Value(r Ref, dst []byte) ([]byte, error) {
	if len(r.value) > 0 {
		return append(dst, r.value...), nil
	}
	s, err := v.segment(r.at.Segment)
	if err != nil || r.ValueLen == 0 {
		return dst, err
	}
	return s.value(&r, dst, v.log.cache)
}

func (v *View) segment(id uint64) (*segment, error) {
	i, ok := slices.BinarySearchFunc(v.segs, id, func(s *segment, id uint64) int { return cmp.Compare(s.id(), id) })
	if !ok {
		return nil, fmt.Errorf("spill segment %d is not in this view: the Ref was found in another one", id)
	}
	return v.segs[i], nil
}
