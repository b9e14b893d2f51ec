package index

import (
	"bytes"
	"encoding/binary"
	"io"
	"math"

	"github.com/dgraph-io/badger/v4/y"
)

// Shown is which versions of a key are wanted.
type Shown struct {
	Newest bool   // one, not all
	At     uint64 // namely the newest one that is not above
}

// AllVersions shows every version of every key.
var AllVersions = Shown{}

// fileIterator iterates the index of a sealed segment, forward or backward. It holds one leaf. If
// it meets damage it goes on in an index made again from the segment; only if that fails it ends,
// and tells why. Next passes what is not shown where it can tell from the leaf at hand.
type fileIterator struct {
	x       *File
	heal    func(*File, error) (y.Iterator, error)
	fail    func(error)
	reverse bool
	shown   Shown

	at    int // leaf; len() or -1: past the end
	leaf  leaf
	buf   []byte
	pos   int
	key   []byte
	from  []byte // the key before the move under way
	goal  []byte // scratch of next
	many  bool   // backward: the last key had more than one version
	valid bool

	healed y.Iterator

	inOrder int      // leaves that were taken one after the other
	run     *leafRun // they are read through it; nil: one at a time
}

// Iterator iterates the index, without a position yet. heal is asked for an unpositioned iterator
// that takes over where the file is damaged; fail is told of the error if there is none.
func (x *File) Iterator(reverse bool, what Shown, fail func(error), heal func(bad *File, cause error) (y.Iterator, error)) y.Iterator {
	return &fileIterator{x: x, reverse: reverse, shown: what, fail: fail, heal: heal}
}

const (
	// leavesInOrder is how many leaves one after the other make an iterator read several at once.
	leavesInOrder = 4
	// leafRunSize is how many bytes of leaves it then reads. Each segment of an iteration has so
	// many in memory.
	leafRunSize = 64 << 10
)

// leafRun reads a file in runs, forward or backward.
type leafRun struct {
	io.ReaderAt
	backward bool
	at       int64
	buf      []byte
}

func (r *leafRun) ReadAt(b []byte, at int64) (int, error) {
	if len(b) > leafRunSize {
		return r.ReaderAt.ReadAt(b, at)
	}
	if at < r.at || at+int64(len(b)) > r.at+int64(len(r.buf)) {
		if r.at = at; r.backward {
			r.at = max(0, at+int64(len(b))-leafRunSize)
		}
		if r.buf == nil {
			r.buf = make([]byte, leafRunSize)
		}
		n, err := r.ReaderAt.ReadAt(r.buf[:leafRunSize], r.at)
		if r.buf = r.buf[:n]; at+int64(len(b)) > r.at+int64(n) {
			if err == nil {
				err = io.ErrUnexpectedEOF
			}
			return copy(b, r.buf[min(int64(n), at-r.at):]), err
		}
	}
	return copy(b, r.buf[at-r.at:]), nil
}

// reader returns what leaf at is read through.
func (it *fileIterator) reader(at int) io.ReaderAt {
	if next := at - it.at; next == 1 && !it.reverse || next == -1 && it.reverse {
		it.inOrder++
	} else {
		it.inOrder = 0
	}
	if it.inOrder < leavesInOrder {
		return it.x.file
	}
	if it.run == nil {
		it.run = &leafRun{ReaderAt: it.x.file, backward: it.reverse}
	}
	return it.run
}

// load goes to entry pos of leaf at, or with pos < 0 to its last entry; and on to the neighbouring
// leaf if there is no such entry.
func (it *fileIterator) load(at, pos int) error {
	it.valid = false
	if at < 0 || at >= it.x.table.len() {
		it.at = at
		return nil
	}
	from := it.reader(at)
	it.at = at
	var err error
	if it.leaf, it.buf, err = it.x.leafFrom(from, at, it.buf); err != nil {
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

// next goes to the next entry, and if that is of the same key past those that are not shown.
func (it *fileIterator) next() error {
	step := 1
	if it.reverse {
		step = -1
	}
	err := it.move(it.pos + step)
	switch {
	case err != nil || !it.shown.Newest || !it.valid:
		return err
	case bytes.Equal(y.ParseKey(it.key), y.ParseKey(it.from)):
		it.many = true
		return it.pass()
	case it.reverse && it.many: // so it may be here, too
		return it.skipOlder()
	}
	return nil
}

// skipOlder goes, backward, from the first entry of a key, its oldest version, to the newest that
// may be shown, as far as the leaf at hand tells.
func (it *fileIterator) skipOlder() error {
	was := it.pos
	pos, err := it.search(it.key, it.shown.At)
	if err != nil {
		return err
	}
	it.many = pos != was
	return it.move(min(pos, was))
}

// pass goes from one version of the key in from to the next that may be shown, or past the last, as
// far as the leaf at hand tells.
func (it *fileIterator) pass() error {
	at := it.shown.At
	if !it.reverse {
		if y.ParseTs(it.from) <= at { // all that follow are older
			at = 0
		}
		pos, err := it.search(it.from, at)
		if err != nil {
			return err
		}
		return it.move(pos)
	}
	was := it.pos
	pos, err := it.search(it.from, at)
	if err == nil && pos > was { // it is above, and so are all that follow
		if pos, err = it.search(it.from, math.MaxUint64); err == nil {
			pos--
		}
	}
	if err != nil {
		return err
	}
	return it.move(pos)
}

// search returns the first entry of the leaf at or after a version of the key that an internal key
// has.
func (it *fileIterator) search(internal []byte, version uint64) (pos int, err error) {
	it.goal = binary.BigEndian.AppendUint64(append(it.goal[:0], y.ParseKey(internal)...), math.MaxUint64-version)
	if pos, it.key, err = it.leaf.search(it.goal, it.key[:0]); err != nil {
		err = it.x.damaged(it.at, err)
	}
	return pos, err
}

// seek goes to the first entry at or after key, backward to the last at or before it.
func (it *fileIterator) seek(key []byte) error {
	at := max(it.x.table.find(key), 0)
	if at != it.at || it.leaf.len() == 0 { // else the leaf is at hand
		if err := it.load(at, 0); err != nil {
			return err
		}
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
		return it.next()
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
