package badgerspill

import (
	"bytes"
	"math"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/y"

	"github.com/badgerspill/badgerspill/spillfile"
)

// source is one of the sorted inputs of an Iterator. Its order is that of Badger's internal keys:
// by key, then newest version first; in reverse by falling key, then oldest version first.
type source interface {
	rewind()
	// seek goes to the first entry at or after key, whatever its version.
	seek(key []byte)
	valid() bool
	key() []byte
	version() uint64
	deleted() bool // tombstone or expired
	next()
	// fill makes own the current entry. What Badger holds is to be detached before next is called.
	fill(own *ownItem)
	close()
}

// pendingSource is a snapshot of the transaction's own writes. Their version is the read timestamp,
// as in Badger.
type pendingSource struct {
	txn     *Txn
	entries []*Entry
	reverse bool
	pos     int
}

func (s *pendingSource) rewind() { s.pos = 0 }

func (s *pendingSource) seek(key []byte) {
	lo, hi := 0, len(s.entries)
	for lo < hi {
		mid := (lo + hi) / 2
		cmp := bytes.Compare(s.entries[mid].Key, key)
		if (!s.reverse && cmp < 0) || (s.reverse && cmp > 0) {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	s.pos = lo
}

func (s *pendingSource) valid() bool     { return s.pos < len(s.entries) }
func (s *pendingSource) key() []byte     { return s.entries[s.pos].Key }
func (s *pendingSource) version() uint64 { return s.txn.snap.ReadTs }
func (s *pendingSource) next()           { s.pos++ }
func (s *pendingSource) close()          {}

func (s *pendingSource) deleted() bool {
	e := s.entries[s.pos]
	return deletedOrExpired(e.meta, e.ExpiresAt)
}

func (s *pendingSource) fill(own *ownItem) {
	e := s.entries[s.pos]
	own.begin(e.Key, s.txn.snap.ReadTs)
	own.describePending(e)
	own.setValue(e.Value)
}

// spillSource iterates a view of the spill. Where values are wanted anyway it reads them ahead.
type spillSource struct {
	view    *spillfile.View
	it      *spillfile.Iterator
	reverse bool
}

// newSpillSource gives all entries of the view, and reads no values ahead.
func newSpillSource(view *spillfile.View, reverse bool) *spillSource {
	return &spillSource{view: view, it: view.NewIterator(reverse), reverse: reverse}
}

// newSpillScan reads values ahead: of all entries, or of the newest version of each key at or below
// at.
func newSpillScan(view *spillfile.View, reverse, all bool, at uint64) *spillSource {
	s := &spillSource{view: view, reverse: reverse}
	if all {
		s.it = view.NewScan(reverse)
	} else {
		s.it = view.NewScanAt(reverse, at)
	}
	return s
}

func (s *spillSource) rewind() { s.it.Rewind() }

func (s *spillSource) seek(key []byte) {
	ts := uint64(math.MaxUint64)
	if s.reverse {
		ts = 0
	}
	s.it.Seek(y.KeyWithTs(key, ts))
}

func (s *spillSource) valid() bool        { return s.it.Valid() }
func (s *spillSource) next()              { s.it.Next() }
func (s *spillSource) close()             { _ = s.it.Close() }
func (s *spillSource) key() []byte        { return s.it.UserKey() }
func (s *spillSource) version() uint64    { return s.it.Version() }
func (s *spillSource) ref() spillfile.Ref { return s.it.Ref() }

func (s *spillSource) deleted() bool {
	ref := s.ref()
	return deletedOrExpired(ref.Meta, ref.ExpiresAt)
}

func (s *spillSource) fill(own *ownItem) {
	ref := s.ref()
	own.begin(s.key(), ref.Version)
	own.setSpilled(s.view, &ref)
	if value, ok := s.it.Value(); ok {
		own.setValue(value)
	}
}

// badgerSource iterates Badger. Unless all versions are asked for it yields the newest visible one
// of each key and no tombstones.
type badgerSource struct {
	it   *badger.Iterator
	item *badger.Item // nil when invalid
}

// arrive takes the item after a move: asking the iterator each time is dear.
func (s *badgerSource) arrive() {
	if s.item = nil; s.it.Valid() {
		s.item = s.it.Item()
	}
}

func (s *badgerSource) rewind() {
	s.it.Rewind()
	s.arrive()
}

func (s *badgerSource) seek(key []byte) {
	s.it.Seek(key)
	s.arrive()
}

func (s *badgerSource) next() {
	s.it.Next()
	s.arrive()
}

func (s *badgerSource) valid() bool       { return s.item != nil }
func (s *badgerSource) key() []byte       { return s.item.Key() }
func (s *badgerSource) version() uint64   { return s.item.Version() }
func (s *badgerSource) deleted() bool     { return s.item.IsDeletedOrExpired() }
func (s *badgerSource) close()            { s.it.Close() }
func (s *badgerSource) fill(own *ownItem) { own.setInner(s.item) }
