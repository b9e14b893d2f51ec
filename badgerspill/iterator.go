package badgerspill

import (
	"bytes"
	"math"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/ristretto/v2/z"

	"github.com/badgerspill/badgerspill/badgerspill/internal/pipeline"
	"github.com/badgerspill/badgerspill/spillfile"
)

// Iterator goes over the keys of a transaction in order: own writes, spill and Badger merged. It
// stands for badger.Iterator, is a snapshot as of its creation, and must be closed. It is not safe
// for concurrent use, but several iterators of one transaction are.
//
// With an empty spill and no own writes it is Badger's iterator and nothing else. Otherwise the
// sources are merged by internal key. Where the layer owns the timestamps a spilled version is
// never older than Badger's of the same key (invariant I1), so Badger needs to give only its newest
// visible version and no tombstones. Where the caller owns them it gives all.
type Iterator struct {
	txn    *Txn
	opt    IteratorOptions
	isKey  bool // NewKeyIterator: the prefix is the whole key
	view   *spillfile.View
	spill  *spillfile.Iterator // over view; nil without one
	closed bool

	direct *badger.Iterator // set if Badger is the only source
	// and the last seek met a key below the prefix that is in the spill by now; see blocked
	ended    bool
	wrappers wrappers // of its items

	sources  []source
	innerAll bool // Badger's iterator gives all versions
	items    itemRing
	current  *Item  // of items; nil when invalid
	given    bool   // the user has current
	last     []byte // the key decided last
	lastVer  uint64 // its version, when all versions are iterated
	started  bool   // last is set
	advance  source // to be moved before the next search: current's item is its head

	// ThreadId can be set to tell iterators of a stream apart.
	ThreadId int
	// Alloc is for users of the stream framework.
	Alloc *z.Allocator
}

// NewIterator returns an iterator over the transaction. The first read of a transaction blocks
// until all commits up to its read timestamp are visible. It panics with ErrDiscardedTxn or
// ErrDBClosed.
func (txn *Txn) NewIterator(opt IteratorOptions) *Iterator {
	return txn.newIterator(opt, false)
}

// NewKeyIterator returns an iterator over all versions of key. It panics if opt has a prefix.
func (txn *Txn) NewKeyIterator(key []byte, opt IteratorOptions) *Iterator {
	if len(opt.Prefix) > 0 {
		panic("opt.Prefix should be nil for NewKeyIterator.")
	}
	opt.Prefix = key
	opt.AllVersions = true
	return txn.newIterator(opt, true)
}

func (txn *Txn) newIterator(opt IteratorOptions, isKey bool) *Iterator {
	if txn.discarded {
		panic(ErrDiscardedTxn)
	}
	if txn.db.IsClosed() {
		panic(ErrDBClosed)
	}
	view, err := txn.view()
	it := &Iterator{txn: txn, opt: opt, isKey: isKey, view: view}
	if err != nil { // it has no items, and the transaction fails
		txn.numIterators.Add(1)
		return it
	}
	if view == nil && (!txn.snap.Update || txn.writes.empty()) {
		it.direct, it.wrappers.most = it.openBadger(opt), keptItems(&opt)
		txn.numIterators.Add(1)
		return it
	}
	if txn.snap.Update && !txn.writes.empty() {
		it.sources = append(it.sources, &pendingSource{txn: txn, entries: txn.writes.sorted(opt.Reverse), reverse: opt.Reverse})
	}
	if view != nil {
		txn.db.strain.Scan()
		var s *spillSource
		if opt.PrefetchValues {
			s = newSpillScan(view, opt.Reverse, opt.AllVersions, txn.snap.ReadTs)
		} else {
			s = newSpillSource(view, opt.Reverse)
		}
		it.spill = s.it
		it.sources = append(it.sources, s)
	}
	it.items.size = keptItems(&opt) + 1
	it.innerAll = opt.AllVersions || txn.db.opt.managed || (view != nil && view.Unordered())
	it.sources = append(it.sources, &badgerSource{it: it.openBadger(it.mergeOptions(opt.Prefix))})
	txn.numIterators.Add(1)
	return it
}

func (it *Iterator) openBadger(opt IteratorOptions) *badger.Iterator {
	if it.isKey {
		key := opt.Prefix
		opt.Prefix = nil
		return it.txn.badgerKeyIterator(key, opt)
	}
	return it.txn.badgerIterator(opt)
}

// mergeOptions are the options of Badger's iterator as one source of several: values are fetched
// when they are asked for, since those that the spill shadows would be fetched for nothing.
func (it *Iterator) mergeOptions(prefix []byte) IteratorOptions {
	opt := it.opt
	opt.PrefetchValues = false
	opt.AllVersions = it.innerAll
	opt.Prefix = prefix
	return opt
}

// Item returns the current item, and in a read-write transaction counts its key as read. For how
// long it is valid is told at Item.
func (it *Iterator) Item() *Item {
	if it.direct != nil {
		item := it.wrappers.of(it.direct.Item())
		if it.txn.snap.Update {
			it.txn.addRead(item.Key())
		}
		return item
	}
	it.txn.addRead(it.current.Key())
	it.given = true
	return it.current
}

// Valid reports whether the iterator is at an item, and that has the prefix of the options.
func (it *Iterator) Valid() bool {
	if it.direct != nil {
		return !it.ended && it.direct.Valid()
	}
	if it.current == nil {
		return false
	}
	if it.isKey {
		return bytes.Equal(it.current.Key(), it.opt.Prefix)
	}
	return bytes.HasPrefix(it.current.Key(), it.opt.Prefix)
}

// ValidForPrefix reports whether the iterator is at an item with the given prefix.
func (it *Iterator) ValidForPrefix(prefix []byte) bool {
	if it.direct != nil {
		return !it.ended && it.direct.ValidForPrefix(prefix)
	}
	return it.Valid() && bytes.HasPrefix(it.current.Key(), prefix)
}

// Close ends the iterator. It may be called more than once.
func (it *Iterator) Close() {
	if it.closed {
		return
	}
	it.closed = true
	if it.direct != nil {
		it.direct.Close()
	}
	for _, s := range it.sources {
		s.close()
	}
	it.txn.numIterators.Add(-1)
}

// Rewind goes to the first key, or to the prefix of the options; in reverse to the last key.
func (it *Iterator) Rewind() { it.Seek(nil) }

// Seek goes to key or, if it is absent, to the next key in the direction of the iteration. In a
// read-write transaction a non-empty key counts as read. An empty key rewinds.
func (it *Iterator) Seek(key []byte) {
	if it.direct != nil {
		if len(key) > 0 {
			it.txn.addRead(key)
		}
		it.ended = false
		if len(key) > 0 && !it.opt.Reverse && bytes.Compare(key, it.opt.Prefix) < 0 {
			first, known := it.firstSpilled(key) // before Badger, where it may be next
			it.ended = known && first != nil && it.pastPrefix(first)
		}
		it.direct.Seek(key)
		return
	}
	if len(key) > 0 {
		it.txn.addRead(key)
	}
	if it.current != nil {
		it.items.untake(it.given)
	}
	it.started, it.given, it.advance, it.current = false, false, nil, nil
	if len(key) == 0 {
		key = it.opt.Prefix
	} else if below := bytes.Compare(key, it.opt.Prefix) < 0; !it.opt.Reverse && below && it.blocked(key) {
		return
	} else if it.opt.Reverse && !below && !bytes.HasPrefix(key, it.opt.Prefix) {
		it.widen()
	}
	for _, s := range it.sources {
		if len(key) == 0 {
			s.rewind()
		} else {
			s.seek(key)
		}
	}
	it.find()
}

// blocked reports whether a key lies between a seek below the prefix and the first key with the
// prefix. It ends the iteration before it begins, as in Badger, which looks at every version there,
// visible or not, from key at the read timestamp on. So it looks at what has come since the
// snapshot, too.
func (it *Iterator) blocked(key []byte) bool {
	first, known := it.firstSpilled(key)
	if !known {
		return false // head tells, if it concerns the snapshot
	}
	look := func(s source) { first = it.lower(first, s, key) }
	for _, s := range it.sources[:len(it.sources)-1] {
		look(s)
	}
	all := &Txn{db: it.txn.db, snap: pipeline.Snapshot{ReadTs: math.MaxUint64}}
	defer func() { all.reader().Discard() }()
	opt := badger.DefaultIteratorOptions
	opt.AllVersions, opt.PrefetchValues, opt.InternalAccess = true, false, true
	inner := &badgerSource{it: all.badgerIterator(opt)}
	defer inner.close()
	look(inner)
	if it.spill != nil && it.spill.Err() != nil {
		return false // not known; head tells
	}
	return first != nil && it.pastPrefix(first)
}

// lower returns the key of s that comes first from key at the read timestamp on, unless first comes
// before it.
func (it *Iterator) lower(first []byte, s source, key []byte) []byte {
	s.seek(key)
	for s.valid() && s.version() > it.txn.snap.ReadTs && bytes.Equal(s.key(), key) {
		s.next()
	}
	if s.valid() && (first == nil || bytes.Compare(s.key(), first) < 0) {
		return bytes.Clone(s.key())
	}
	return first
}

// firstSpilled returns that key of what the spill holds now, nil for none, and whether it could be
// read.
func (it *Iterator) firstSpilled(key []byte) (first []byte, known bool) {
	view := it.txn.db.acquireView()
	if view == nil {
		return nil, true
	}
	defer view.Release()
	s := newSpillSource(view, false)
	defer s.close()
	first = it.lower(nil, s, key)
	return first, s.it.Err() == nil
}

// widen lets Badger's iterator see keys without the prefix: in reverse, a seek above the prefix
// that meets one first is at an item that is not valid.
func (it *Iterator) widen() {
	last := it.sources[len(it.sources)-1].(*badgerSource)
	last.close()
	last.it = it.txn.badgerIterator(it.mergeOptions(nil))
}

// Next goes to the next item. It panics if the iterator is not valid, as Badger's does.
func (it *Iterator) Next() {
	if it.direct != nil {
		it.direct.Next()
		return
	}
	_ = it.current.Key()
	it.find()
}

// find sets current to the next item, or to nil.
func (it *Iterator) find() {
	it.leave()
	if it.opt.AllVersions {
		it.findVersion()
		return
	}
	for {
		head := it.head()
		if head == nil || it.pastPrefix(head.key()) {
			return
		}
		it.last, it.started = append(it.last[:0], head.key()...), true
		if it.decide() {
			return
		}
	}
}

// leave moves the source that stayed at current, if there is one.
func (it *Iterator) leave() {
	if it.current != nil && !it.given {
		it.items.untake(false)
	}
	if it.advance != nil {
		if it.given {
			it.current.own.detach(it.txn, it.readsLeft(it.current.own))
		}
		it.skip(it.advance)
	}
	it.given, it.advance, it.current = false, nil, nil
}

// skip moves s past an entry, or past all versions of the key unless all are wanted.
func (it *Iterator) skip(s source) {
	s.next()
	if it.innerAll && !it.opt.AllVersions {
		for s.valid() && bytes.Equal(s.key(), it.last) {
			s.next()
		}
	}
}

// readsLeft reports whether a value of Badger that nobody has asked for is read when the iterator
// leaves its item. Without prefetching it is looked up if somebody asks for it later: the newest
// version stays for as long as the transaction, unless it expires. Any other may be dropped
// meanwhile, so its value is taken if it lies beside the key.
func (it *Iterator) readsLeft(own *ownItem) bool {
	return it.opt.PrefetchValues || !own.inValueLog() && (it.innerAll || own.expiresAt > 0)
}

// head returns the source whose entry comes first. Of equal entries, which a replay under way
// causes, the first source wins: own writes before the spill before Badger.
//
// If the spill cannot be read there is no head: the iteration ends, as Badger's does when it cannot
// read a table; but the error is not lost, see Txn.fail.
func (it *Iterator) head() source {
	if it.spill != nil && it.spill.Err() != nil {
		it.txn.fail(it.spill.Err())
		return nil
	}
	var head source
	for _, s := range it.sources {
		if s.valid() && (head == nil || it.before(s, head)) {
			head = s
		}
	}
	return head
}

func (it *Iterator) before(a, b source) bool {
	cmp := bytes.Compare(a.key(), b.key())
	if cmp == 0 {
		switch av, bv := a.version(), b.version(); {
		case av > bv:
			cmp = -1
		case av < bv:
			cmp = 1
		}
	}
	if it.opt.Reverse {
		return cmp > 0
	}
	return cmp < 0
}

// pastPrefix: forward, the first key without the prefix ends the iteration; in reverse users append
// to the prefix.
func (it *Iterator) pastPrefix(key []byte) bool {
	return !it.opt.Reverse && len(it.opt.Prefix) > 0 && !bytes.HasPrefix(key, it.opt.Prefix)
}

func (it *Iterator) visible(key []byte, version uint64) bool {
	if version > it.txn.snap.ReadTs || (it.opt.SinceTs > 0 && version <= it.opt.SinceTs) {
		return false
	}
	internal := bytes.HasPrefix(key, internalPrefix)
	if internal {
		return it.opt.InternalAccess
	}
	return !it.txn.db.banned.hides(key)
}

// decide looks at all versions of the key in last, moves every source past them, and sets current
// to the newest visible one unless that is deleted. It returns whether it set current. If Badger
// has that version, its source stays there and is moved by the next find.
func (it *Iterator) decide() bool {
	var (
		item    = it.items.spare()
		found   bool
		newest  uint64
		deleted bool
		spilled bool
		stays   source
	)
	for _, s := range it.sources {
		for s.valid() && bytes.Equal(s.key(), it.last) {
			v := s.version()
			if it.visible(it.last, v) && (!found || v > newest) {
				found, newest, deleted = true, v, s.deleted()
				_, spilled = s.(*spillSource)
				if !deleted {
					s.fill(item.own)
					if _, ok := s.(*badgerSource); ok {
						if !it.innerAll || !it.opt.Reverse { // no newer version follows
							stays = s
							break
						}
						item.own.detach(it.txn, it.readsLeft(item.own))
					}
				}
			}
			s.next()
		}
	}
	if spilled && !it.innerAll && it.view.Unordered() {
		// It has become so since the iterator was made, for which Badger may hide a newer
		// tombstone.
		if newer, err := it.txn.innerNewer(it.last, newest); newer != nil {
			deleted, item.own = false, newer.own
		} else if err != nil {
			deleted = true
		}
	}
	if it.spill != nil && it.spill.Err() != nil {
		found = false // the newest version may be where it ended; head tells
	}
	if !found || deleted {
		if stays != nil {
			it.skip(stays)
		}
		return false
	}
	it.current, it.advance = it.items.take(), stays
	return true
}

// findVersion is find when all versions are wanted, tombstones included.
func (it *Iterator) findVersion() {
	for {
		head := it.head()
		if head == nil || it.pastPrefix(head.key()) {
			return
		}
		key, version := head.key(), head.version()
		if !it.visible(key, version) || (it.started && version == it.lastVer && bytes.Equal(key, it.last)) {
			head.next()
			continue
		}
		it.last, it.lastVer, it.started = append(it.last[:0], key...), version, true
		head.fill(it.items.spare().own)
		it.current, it.advance = it.items.take(), head
		return
	}
}
