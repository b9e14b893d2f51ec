package spillfile

import (
	"bytes"
	"encoding/binary"
	"math"

	"github.com/dgraph-io/badger/v4/y"
)

// Scan is an Iterator that reads values ahead: those of the next entries are read, in the order of
// the files, while the caller works on the ones before. One goroutine at a time may use it. Close
// it before the View is released.
type Scan struct {
	view    *View
	it      *Iterator
	reverse bool
	shown   shown
	last    []byte // forward, if not all versions are shown: the key that was; empty for none

	window *window // the entries at hand; nil: not positioned
	pos    int
	ahead  chan *window // those after them; nil: not asked for
	size   int          // entries of the window after that
	ended  bool         // it has no more entries
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

// NewScan returns a Scan of the view; it is unpositioned, as NewIterator's.
func (v *View) NewScan(reverse bool) *Scan { return v.newScan(reverse, allVersions) }

// NewScanAt returns a Scan that shows of each key only the newest version at or below at, be it a
// tombstone. No other value is read. Its Seek takes an internal key of the highest version, and in
// reverse of version 0.
func (v *View) NewScanAt(reverse bool, at uint64) *Scan {
	return v.newScan(reverse, shown{newest: true, at: at})
}

func (v *View) newScan(reverse bool, what shown) *Scan {
	return &Scan{view: v, it: v.newIterator(reverse, what), reverse: reverse, shown: what}
}

// Rewind goes to the first entry, or to the last in reverse.
func (s *Scan) Rewind() {
	s.stop()
	s.it.Rewind()
	s.start()
}

// Seek goes to the first entry at or after an internal key, in reverse to the last at or before it.
func (s *Scan) Seek(key []byte) {
	s.stop()
	s.it.Seek(key)
	s.start()
}

func (s *Scan) start() {
	s.size, s.ended, s.last = firstScanWindow, false, s.last[:0]
	s.readAhead()
	s.turn()
}

// stop gives up what is read ahead.
func (s *Scan) stop() {
	if s.ahead != nil {
		(<-s.ahead).free()
		s.ahead = nil
	}
	if s.window != nil {
		s.window.free()
		s.window = nil
	}
}

// readAhead begins to read the values of the next entries.
func (s *Scan) readAhead() {
	w := windows.Get().(*window)
	w.reset()
	ahead := make(chan *window, 1)
	s.ahead = ahead
	for len(w.entries) < s.size && w.bytes < maxScanBytes && s.it.Valid() {
		s.take(w)
	}
	s.ended = !s.it.Valid()
	s.size = min(s.size*scanWindowGrowth, maxScanWindow)
	if len(w.entries) == 0 {
		ahead <- w
		return
	}
	go func() {
		// Value says so, and who wants the value anyway reads it
		if w.err = w.read(s.view); w.err != nil {
			s.view.log.o.Logf("values of the spill could not be read ahead, an iterator that needs them reads them again: %v", w.err)
		}
		ahead <- w
	}()
}

// take adds the next entry that is shown to w, if there is one, and goes past it.
func (s *Scan) take(w *window) {
	switch {
	case !s.shown.newest:
		s.add(w)
		s.it.Next()
	case s.reverse:
		s.takeBackward(w)
	default:
		s.takeForward(w)
	}
}

func (s *Scan) add(w *window) {
	internal := s.it.Key()
	ref := s.view.Ref(s.it.Value(), y.ParseTs(internal))
	w.add(y.ParseKey(internal), &ref)
}

// takeForward: the newest version comes first.
func (s *Scan) takeForward(w *window) {
	for ; s.it.Valid(); s.it.Next() {
		internal := s.it.Key()
		if key := y.ParseKey(internal); y.ParseTs(internal) <= s.shown.at && !bytes.Equal(key, s.last) {
			s.last = append(s.last[:0], key...)
			s.add(w)
			s.it.Next()
			return
		}
	}
}

// takeBackward: it comes last.
func (s *Scan) takeBackward(w *window) {
	for n := len(w.entries); s.it.Valid(); s.it.Next() {
		internal := s.it.Key()
		if len(w.entries) > n && !bytes.Equal(y.ParseKey(internal), w.keyAt(n)) {
			return
		}
		if y.ParseTs(internal) <= s.shown.at {
			w.cut(n)
			s.add(w)
		}
	}
}

// turn goes to the window that was read ahead.
func (s *Scan) turn() {
	if s.window != nil {
		s.window.free()
	}
	s.window, s.pos = <-s.ahead, 0
	s.ahead = nil
}

// Next goes to the next entry.
func (s *Scan) Next() {
	s.pos++
	if s.ahead == nil && !s.ended && s.pos >= len(s.window.entries)/2 {
		s.readAhead()
	}
	if s.pos == len(s.window.entries) && s.ahead != nil {
		s.turn()
	}
}

// Valid says whether the scan is at an entry. It is false at the end, and where an error has ended
// it: see Err.
func (s *Scan) Valid() bool { return s.window != nil && s.pos < len(s.window.entries) }

// Err is that of Iterator. It is to be asked for when Valid returns false: what was read before the
// error is still given out.
func (s *Scan) Err() error {
	if s.Valid() {
		return nil
	}
	return s.it.Err()
}

// UserKey returns the key without its version, valid until the next move.
func (s *Scan) UserKey() []byte { return s.window.keyAt(s.pos) }

// Key returns the internal key, valid until the next move.
func (s *Scan) Key() []byte {
	s.key = binary.BigEndian.AppendUint64(append(s.key[:0], s.UserKey()...), math.MaxUint64-s.Ref().Version)
	return s.key
}

// Ref returns the place of the entry, and what is known of it without its value.
func (s *Scan) Ref() Ref { return s.window.refs[s.pos] }

// Value returns the value, valid until the next move. It is false if it could not be read ahead:
// View.Value says why.
func (s *Scan) Value() ([]byte, bool) {
	return s.window.entries[s.pos].Value, s.window.err == nil
}

// Close ends the scan. It waits for reads that are under way.
func (s *Scan) Close() error {
	s.stop()
	return s.it.Close()
}
