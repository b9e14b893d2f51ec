package spillfile

import "github.com/dgraph-io/badger/v4/y"

// fileIterator iterates the index of a sealed segment, forward or backward. It holds one leaf. If it meets damage it goes on in
// an index made again from the segment; only if that fails it ends, and tells why.
type fileIterator struct {
	x       *indexFile
	heal    func(*indexFile, error) (y.Iterator, error) // returns an unpositioned iterator that takes over
	fail    func(error)
	reverse bool

	at    int // leaf; len() or -1: past the end
	leaf  leaf
	buf   []byte
	pos   int
	key   []byte
	from  []byte // the key before the move under way
	valid bool

	healed y.Iterator
}

// load goes to entry pos of leaf at, or with pos < 0 to its last entry; and on to the neighbouring leaf if there is no such
// entry.
func (it *fileIterator) load(at, pos int) error {
	it.valid = false
	it.at = at
	if at < 0 || at >= it.x.table.len() {
		return nil
	}
	var err error
	if it.leaf, it.buf, err = it.x.leafInto(at, it.buf); err != nil {
		return err
	}
	if pos < 0 {
		pos = it.leaf.len() - 1
	}
	return it.move(pos)
}

// move goes to entry pos of the leaf at hand.
func (it *fileIterator) move(pos int) error {
	switch {
	case pos >= it.leaf.len():
		return it.load(it.at+1, 0)
	case pos < 0:
		return it.load(it.at-1, -1)
	}
	key, err := it.leaf.key(it.key[:0], pos)
	if err == nil {
		_, err = it.x.value(&it.leaf, pos)
	}
	if err != nil {
		return it.x.damaged(it.at, err)
	}
	it.key, it.pos, it.valid = key, pos, true
	return nil
}

// seek goes to the first entry at or after key, backward to the last at or before it.
func (it *fileIterator) seek(key []byte) error {
	at := max(it.x.table.find(key), 0)
	if err := it.load(at, 0); err != nil {
		return err
	}
	pos, scratch, err := it.leaf.search(key, it.key[:0])
	if err != nil {
		return it.x.damaged(at, err)
	}
	it.key = scratch
	if err := it.move(pos); err != nil || !it.reverse {
		return err
	}
	switch {
	case it.valid && y.CompareKeys(it.key, key) == 0:
		return nil
	case !it.valid: // all are before key
		return it.load(it.x.table.len()-1, -1)
	default:
		return it.move(it.pos - 1)
	}
}

// try runs a move. If that meets damage, again runs in its place in an iterator that takes over.
func (it *fileIterator) try(move func() error, again func(y.Iterator)) {
	if it.healed == nil {
		err := move()
		if err == nil {
			return
		}
		it.valid = false
		if it.healed, err = it.heal(it.x, err); err != nil {
			it.healed = nil
			it.fail(err)
			return
		}
	}
	again(it.healed)
}

func (it *fileIterator) Next() {
	it.try(func() error {
		it.from = append(it.from[:0], it.key...)
		if it.reverse {
			return it.move(it.pos - 1)
		}
		return it.move(it.pos + 1)
	}, func(h y.Iterator) {
		if it.key != nil { // it takes over in the middle
			it.key = nil
			h.Seek(it.from)
			if !h.Valid() || y.CompareKeys(h.Key(), it.from) != 0 {
				return
			}
		}
		h.Next()
	})
}

func (it *fileIterator) Rewind() {
	it.try(func() error {
		if it.reverse {
			return it.load(it.x.table.len()-1, -1)
		}
		return it.load(0, 0)
	}, func(h y.Iterator) { it.key = nil; h.Rewind() })
}

func (it *fileIterator) Seek(key []byte) {
	it.try(func() error { return it.seek(key) }, func(h y.Iterator) { it.key = nil; h.Seek(key) })
}

func (it *fileIterator) Valid() bool {
	if it.healed != nil {
		return it.healed.Valid()
	}
	return it.valid
}

// Key is valid until the next move.
func (it *fileIterator) Key() []byte {
	if it.healed != nil {
		return it.healed.Key()
	}
	return it.key
}

func (it *fileIterator) Value() y.ValueStruct {
	if it.healed != nil {
		return it.healed.Value()
	}
	vs, _ := it.leaf.value(it.pos) // checked by move
	return vs
}

func (it *fileIterator) Close() error {
	if it.healed != nil {
		return it.healed.Close()
	}
	return nil
}
