package spillfile

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"

	"github.com/dgraph-io/badger/v4/table"
	"github.com/dgraph-io/badger/v4/y"

	"github.com/badgerspill/badgerspill/spillfile/internal/index"
)

// Iterator iterates over the entries of a View in the order of internal keys: key with the inverted
// timestamp appended, as Badger's y.KeyWithTs makes it; or backwards. Of identical internal keys
// only the one in the newest segment shows. It starts unpositioned: call Rewind or Seek. One
// goroutine at a time may use it; Close it before the View is released. It blocks for reads of the
// index files of sealed segments, and of values if it reads them ahead. Then those of the next
// entries are read, in the order of the files, while the caller works on the ones before.
type Iterator struct {
	view    *View
	places  y.Iterator // of all segments, one after the other in key order: no values
	failed  error      // what ended it
	reverse bool
	shown   index.Shown
	scan    bool // values are read ahead; all that follows is for that

	last   []byte  // forward, if not all versions are shown: the key that was; empty for none
	window *window // the entries at hand; nil: not positioned
	pos    int
	ahead  chan *window // those after them; nil: not asked for
	size   int          // entries of the window after that
	ended  bool         // there are no more entries
	key    []byte       // scratch of Key
}

const (
	// A scan may end soon: the first windows are small.
	firstScanWindow  = 4
	scanWindowGrowth = 4
	maxScanWindow    = 512
	// maxScanBytes bounds the values of one window, but for a single larger one.
	maxScanBytes = 512 << 10
)

// NewIterator returns an Iterator over all entries, all versions, that reads no values.
func (v *View) NewIterator(reverse bool) *Iterator { return v.newIterator(reverse, index.AllVersions) }

// NewScan is NewIterator that reads values ahead.
func (v *View) NewScan(reverse bool) *Iterator { return v.newScan(reverse, index.AllVersions) }

// NewScanAt is NewScan that shows of each key only the newest version at or below at, be it a
// tombstone. No other value is read. Its Seek takes an internal key of the highest version, and in
// reverse of version 0.
func (v *View) NewScanAt(reverse bool, at uint64) *Iterator {
	return v.newScan(reverse, index.Shown{Newest: true, At: at})
}

func (v *View) newIterator(reverse bool, what index.Shown) *Iterator {
	it := &Iterator{view: v, reverse: reverse, shown: what}
	iters := make([]y.Iterator, 0, len(v.segs))
	fail := func(err error) { it.failed = errors.Join(it.failed, err) }
	for i := len(v.segs) - 1; i >= 0; i-- {
		iters = append(iters, v.log.iterator(v.segs[i], reverse, what, fail))
	}
	it.places = table.NewMergeIterator(iters, reverse)
	return it
}

func (v *View) newScan(reverse bool, what index.Shown) *Iterator {
	it := v.newIterator(reverse, what)
	it.scan = true
	return it
}

// Rewind goes to the first entry, or to the last in reverse.
func (it *Iterator) Rewind() {
	it.stop()
	it.places.Rewind()
	it.start()
}

// Seek goes to the first entry at or after an internal key, in reverse to the last at or before it.
func (it *Iterator) Seek(key []byte) {
	it.stop()
	it.places.Seek(key)
	it.start()
}

// Next goes to the next entry.
func (it *Iterator) Next() {
	if !it.scan {
		it.places.Next()
		return
	}
	it.pos++
	if it.ahead == nil && !it.ended && it.pos >= len(it.window.entries)/2 {
		it.readAhead()
	}
	if it.pos == len(it.window.entries) && it.ahead != nil {
		it.turn()
	}
}

// Valid says whether the iterator is at an entry. It is false at the end, and where an error has
// ended it: see Err.
func (it *Iterator) Valid() bool {
	if !it.scan {
		return it.more()
	}
	return it.window != nil && it.pos < len(it.window.entries)
}

// more says whether there is a place to take.
func (it *Iterator) more() bool { return it.failed == nil && it.places.Valid() }

// Err returns what ended the iterator early, nil if nothing did: a file could not be read, or index
// and segment are both damaged. Ask it when Valid returns false: what was read ahead before the
// error is still given out.
func (it *Iterator) Err() error {
	if it.scan && it.Valid() {
		return nil
	}
	return it.failed
}

// UserKey returns the key without its version, valid until the next move.
func (it *Iterator) UserKey() []byte {
	if it.scan {
		return it.window.keyAt(it.pos)
	}
	return y.ParseKey(it.places.Key())
}

// Key returns the internal key, valid until the next move.
func (it *Iterator) Key() []byte {
	if !it.scan {
		return it.places.Key()
	}
	it.key = binary.BigEndian.AppendUint64(append(it.key[:0], it.UserKey()...), math.MaxUint64-it.Version())
	return it.key
}

// Version returns the timestamp of the entry.
func (it *Iterator) Version() uint64 {
	if it.scan {
		return it.window.refs[it.pos].Version
	}
	return y.ParseTs(it.places.Key())
}

// Ref returns the place of the entry, and what is known of it without its value.
func (it *Iterator) Ref() Ref {
	if it.scan {
		return it.window.refs[it.pos]
	}
	return refOf(it.places.Value(), y.ParseTs(it.places.Key()))
}

// Value returns the value, valid until the next move. It is false if the value was not read ahead:
// it should not be, or could not be. View.Value reads it, or says why not.
func (it *Iterator) Value() ([]byte, bool) {
	if !it.scan {
		return nil, false
	}
	return it.window.entries[it.pos].Value, it.window.err == nil
}

// Close ends the iterator. It waits for reads that are under way.
func (it *Iterator) Close() error {
	it.stop()
	return it.places.Close()
}

// start begins to read ahead, after a move.
func (it *Iterator) start() {
	if !it.scan {
		return
	}
	it.size, it.ended, it.last = firstScanWindow, false, it.last[:0]
	it.readAhead()
	it.turn()
}

// stop gives up what is read ahead.
func (it *Iterator) stop() {
	if it.ahead != nil {
		(<-it.ahead).free()
		it.ahead = nil
	}
	if it.window != nil {
		it.window.free()
		it.window = nil
	}
}

// readAhead begins to read the values of the next entries.
func (it *Iterator) readAhead() {
	w := windows.Get().(*window)
	w.reset()
	ahead := make(chan *window, 1)
	it.ahead = ahead
	for len(w.entries) < it.size && w.bytes < maxScanBytes && it.more() {
		it.take(w)
	}
	it.ended = !it.more()
	it.size = min(it.size*scanWindowGrowth, maxScanWindow)
	if len(w.entries) == 0 {
		ahead <- w
		return
	}
	go func() {
		// Value says so, and who wants the value anyway reads it
		if w.err = w.read(it.view); w.err != nil {
			it.view.log.o.Logf("values of the spill could not be read ahead, an iterator that needs them reads them again: %v", w.err)
		}
		ahead <- w
	}()
}

// turn goes to the window that was read ahead.
func (it *Iterator) turn() {
	if it.window != nil {
		it.window.free()
	}
	it.window, it.pos = <-it.ahead, 0
	it.ahead = nil
}

// take adds the next entry that is shown to w, if there is one, and goes past it.
func (it *Iterator) take(w *window) {
	switch {
	case !it.shown.Newest:
		it.add(w)
		it.places.Next()
	case it.reverse:
		it.takeBackward(w)
	default:
		it.takeForward(w)
	}
}

func (it *Iterator) add(w *window) {
	internal := it.places.Key()
	ref := refOf(it.places.Value(), y.ParseTs(internal))
	w.add(y.ParseKey(internal), &ref)
}

// takeForward: the newest version comes first.
func (it *Iterator) takeForward(w *window) {
	for ; it.more(); it.places.Next() {
		internal := it.places.Key()
		if key := y.ParseKey(internal); y.ParseTs(internal) <= it.shown.At && !bytes.Equal(key, it.last) {
			it.last = append(it.last[:0], key...)
			it.add(w)
			it.places.Next()
			return
		}
	}
}

// takeBackward: it comes last.
func (it *Iterator) takeBackward(w *window) {
	for n := len(w.entries); it.more(); it.places.Next() {
		internal := it.places.Key()
		if len(w.entries) > n && !bytes.Equal(y.ParseKey(internal), w.keyAt(n)) {
			return
		}
		if y.ParseTs(internal) <= it.shown.At {
			w.cut(n)
			it.add(w)
		}
	}
}

// refOf makes a Ref of what an index says of an entry, and of its timestamp.
func refOf(vs y.ValueStruct, version uint64) Ref {
	at, value, err := index.ParseLocation(vs.Value)
	if err != nil { // no segment 0 exists: Value will say so
		at = index.Location{}
	}
	return Ref{Version: version, ExpiresAt: vs.ExpiresAt, Meta: vs.Meta, UserMeta: vs.UserMeta,
		ValueLen: int64(at.ValueLen), at: at, value: value}
}
