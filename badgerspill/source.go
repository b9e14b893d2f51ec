package badgerspill

import (
	"bytes"
	"math"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/y"

	"github.com/badgerspill/badgerspill/spillfile"
)

// source is one of the sorted inputs of an Iterator. Its order is that of Badger's internal keys: by key, then newest
// version first; in reverse by falling key, then oldest version first.
type source interface {
	rewind()
	// seek goes to the first entry at or after key, whatever its version.
	seek(key []byte)
	valid() bool
	key() []byte
	version() uint64
	deleted() bool // tombstone or expired
	next()
	// fill sets item to the current entry. The item stays right until next is called.
	fill(item *Item) error
	close()
}

// pendingSource is a snapshot of the transaction's own writes. Their version is the read timestamp, as in Badger.
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
func (s *pendingSource) version() uint64 { return s.txn.readTs }
func (s *pendingSource) next()           { s.pos++ }
func (s *pendingSource) close()          {}

func (s *pendingSource) deleted() bool {
	e := s.entries[s.pos]
	return deletedOrExpired(e.meta, e.ExpiresAt)
}

func (s *pendingSource) fill(item *Item) error {
	e := s.entries[s.pos]
	item.setPending(s.txn.readTs, e, e.Key)
	return nil
}

// spillIterator is an iterator of the spill, reading values ahead or not.
type spillIterator interface {
	Rewind()
	Seek(internal []byte)
	Valid() bool
	Next()
	Err() error
	Close() error
}

// spillSource iterates a view of the spill, all versions. Where values are wanted anyway it reads them ahead.
type spillSource struct {
	view    *spillfile.View
	it      spillIterator
	keys    *spillfile.Iterator // it, if it reads keys only
	scan    *spillfile.Scan     // it, if it reads values ahead
	reverse bool
}

func newSpillSource(view *spillfile.View, reverse, values bool) *spillSource {
	s := &spillSource{view: view, reverse: reverse}
	if values {
		s.scan = view.NewScan(reverse)
		s.it = s.scan
	} else {
		s.keys = view.NewIterator(reverse)
		s.it = s.keys
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

func (s *spillSource) valid() bool { return s.it.Valid() }
func (s *spillSource) next()       { s.it.Next() }
func (s *spillSource) close()      { _ = s.it.Close() }

func (s *spillSource) key() []byte {
	if s.scan != nil {
		return s.scan.UserKey()
	}
	return y.ParseKey(s.keys.Key())
}

func (s *spillSource) version() uint64 {
	if s.scan != nil {
		return s.scan.Ref().Version
	}
	return y.ParseTs(s.keys.Key())
}

func (s *spillSource) ref() spillfile.Ref {
	if s.scan != nil {
		return s.scan.Ref()
	}
	return s.view.Ref(s.keys.Value(), y.ParseTs(s.keys.Key()))
}

func (s *spillSource) deleted() bool {
	ref := s.ref()
	return deletedOrExpired(ref.Meta, ref.ExpiresAt)
}

func (s *spillSource) fill(item *Item) error {
	item.setSpilled(s.view, s.key(), s.ref())
	if s.scan == nil {
		return nil
	}
	if value, ok := s.scan.Value(); ok {
		item.own.setValue(value)
	}
	return nil
}

// badgerSource iterates Badger. Unless all versions are asked for it yields the newest visible one of each key and no
// tombstones.
type badgerSource struct {
	txn *Txn
	it  *badger.Iterator
}

func (s *badgerSource) rewind()         { s.it.Rewind() }
func (s *badgerSource) seek(key []byte) { s.it.Seek(key) }
func (s *badgerSource) valid() bool     { return s.it.Valid() }
func (s *badgerSource) key() []byte     { return s.it.Item().Key() }
func (s *badgerSource) version() uint64 { return s.it.Item().Version() }
func (s *badgerSource) deleted() bool   { return s.it.Item().IsDeletedOrExpired() }
func (s *badgerSource) next()           { s.it.Next() }
func (s *badgerSource) close()          { s.it.Close() }

func (s *badgerSource) fill(item *Item) error {
	item.setInner(s.it.Item())
	return nil
}
