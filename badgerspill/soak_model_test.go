//go:build unix

package badgerspill

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"

	"github.com/dgraph-io/badger/v4"
)

// What a writer writes is a function of its number and that of its commit. So what every key must
// be follows from the last commit of each writer, and all keys of a snapshot can be checked at any
// time, by anybody.
//
//	last/W       number of the last commit of writer W
//	hot/W/I      of soakHot keys commit n writes two: n and n*7 modulo soakHot, one in eight as a
//	             tombstone
//	log/W/N      one key of its own; the one of soakLog commits ago is deleted
//	drop/N       written and dropped again by maintenance, which nobody checks
//	shared       incremented by every eighth commit of each writer, which so conflict

const (
	soakWriters = 6
	soakHot     = 257
	soakLog     = 100
)

func soakMix(a, b, c uint64) uint64 {
	x := a*0x9e3779b97f4a7c15 ^ b*0xbf58476d1ce4e5b9 ^ c*0x94d049bb133111eb
	x ^= x >> 31
	x *= 0x9e3779b97f4a7c15
	return x ^ x>>29
}

// soakValue is what commit n of a writer writes to its key number i. Few values are above
// ValueThreshold.
func soakValue(w int, n, i uint64) []byte {
	h := soakMix(uint64(w), n, i)
	size := h % 300
	if h>>32%64 == 0 {
		size = 1<<10 + h%(6<<10)
	}
	v := make([]byte, 0, size+16)
	v = binary.BigEndian.AppendUint64(v, n)
	for x := h; uint64(len(v)) < size+8; x = soakMix(x, n, i) {
		v = binary.LittleEndian.AppendUint64(v, x)
	}
	return v
}

func soakDeletes(w int, n, i uint64) bool { return soakMix(uint64(w)+100, n, i)%8 == 0 }

func soakLastKey(w int) []byte          { return fmt.Appendf(nil, "last/%d", w) }
func soakHotKey(w int, i uint64) []byte { return fmt.Appendf(nil, "hot/%d/%d", w, i) }
func soakLogKey(w int, n uint64) []byte { return fmt.Appendf(nil, "log/%d/%d", w, n) }

var soakShared, soakDropped = []byte("shared"), []byte("drop/")

// soakToucher returns the last commit up to n that wrote hot key i, 0 if none did.
func soakToucher(n, i uint64) uint64 {
	last := func(rest uint64) uint64 { // the last one up to n that is rest modulo soakHot
		back := (n%soakHot + soakHot - rest) % soakHot
		if back >= n {
			return 0
		}
		return n - back
	}
	const inverse = 147 // of 7 modulo soakHot
	return max(last(i), last(i*inverse%soakHot))
}

// soakReads is a snapshot of a database: of the layer, or of plain Badger.
type soakReads interface {
	get(key []byte) ([]byte, error)
	each(fn func(key, value []byte) error) error
}

type soakLayer struct{ *Txn }

func (s soakLayer) get(key []byte) ([]byte, error) {
	item, err := s.Get(key)
	if err != nil {
		return nil, err
	}
	return item.ValueCopy(nil)
}

func (s soakLayer) each(fn func(key, value []byte) error) error {
	opt := DefaultIteratorOptions
	opt.Reverse = rand.IntN(2) == 0
	it := s.NewIterator(opt)
	defer it.Close()
	for it.Rewind(); it.Valid(); it.Next() {
		item := it.Item()
		if err := item.Value(func(v []byte) error { return fn(item.Key(), v) }); err != nil {
			return err
		}
	}
	return s.failed()
}

type soakBadger struct{ *badger.Txn }

func (s soakBadger) get(key []byte) ([]byte, error) {
	item, err := s.Get(key)
	if err != nil {
		return nil, err
	}
	return item.ValueCopy(nil)
}

func (s soakBadger) each(fn func(key, value []byte) error) error {
	it := s.NewIterator(badger.DefaultIteratorOptions)
	defer it.Close()
	for it.Rewind(); it.Valid(); it.Next() {
		item := it.Item()
		if err := item.Value(func(v []byte) error { return fn(item.Key(), v) }); err != nil {
			return err
		}
	}
	return nil
}

func soakNumber(from soakReads, key []byte) (uint64, error) {
	v, err := from.get(key)
	if errors.Is(err, ErrKeyNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	if len(v) < 8 {
		return 0, fmt.Errorf("%w: %s has a value of %d bytes", errSoak, key, len(v))
	}
	return binary.BigEndian.Uint64(v), nil
}

// errSoak is a broken promise.
var errSoak = errors.New("violation")

// soakCommit is commit n of writer w.
func soakCommit(txn *Txn, w int, n uint64) error {
	before, err := soakNumber(soakLayer{txn}, soakLastKey(w))
	if err != nil {
		return err
	}
	if before != n-1 { // n if a commit that failed was written nevertheless
		return fmt.Errorf("%w: writer %d is about to make commit %d and reads that it made %d", errSoak, w, n, before)
	}
	if n%8 == 0 {
		sum, err := soakNumber(soakLayer{txn}, soakShared)
		if err != nil {
			return err
		}
		if err := txn.Set(soakShared, binary.BigEndian.AppendUint64(nil, sum+1)); err != nil {
			return err
		}
	}
	for _, i := range []uint64{n % soakHot, n * 7 % soakHot} {
		if soakDeletes(w, n, i) {
			err = txn.Delete(soakHotKey(w, i))
		} else {
			err = txn.Set(soakHotKey(w, i), soakValue(w, n, i))
		}
		if err != nil {
			return err
		}
	}
	if n > soakLog {
		if err := txn.Delete(soakLogKey(w, n-soakLog)); err != nil {
			return err
		}
	}
	return errors.Join(
		txn.Set(soakLogKey(w, n), soakValue(w, n, soakHot)),
		txn.Set(soakLastKey(w), binary.BigEndian.AppendUint64(nil, n)))
}

// soakCheck checks whole snapshots.
type soakCheck struct {
	checks int64
}

// layer checks what the layer has; plain what plain Badger has.
func (c *soakCheck) layer(db *DB) (last [soakWriters]uint64, err error) {
	err = db.View(func(txn *Txn) error {
		last, err = c.all(soakLayer{txn})
		return err
	})
	return last, err
}

func (c *soakCheck) plain(db *badger.DB) (last [soakWriters]uint64, err error) {
	err = db.View(func(txn *badger.Txn) error {
		last, err = c.all(soakBadger{txn})
		return err
	})
	return last, err
}

// all checks every key of every writer in one snapshot, by iteration and by get, and returns the
// last commits.
func (c *soakCheck) all(from soakReads) (last [soakWriters]uint64, err error) {
	var shared uint64
	for w := range soakWriters {
		if last[w], err = soakNumber(from, soakLastKey(w)); err != nil {
			return last, err
		}
		shared += last[w] / 8
	}
	for w, n := range last {
		if err := c.writer(from, w, n); err != nil {
			return last, err
		}
	}
	sum, err := soakNumber(from, soakShared)
	if err == nil && sum != shared {
		err = fmt.Errorf("%w: the shared counter is %d, the commits that are there make it %d: %v", errSoak, sum, shared, last)
	}
	if err != nil {
		return last, err
	}
	return last, c.iterate(from, &last)
}

func (c *soakCheck) writer(from soakReads, w int, n uint64) error {
	for i := range uint64(soakHot) {
		at := soakToucher(n, i)
		if err := c.key(from, soakHotKey(w, i), at > 0 && !soakDeletes(w, at, i), w, at, i); err != nil {
			return err
		}
	}
	for m := max(n, 2*soakLog) - 2*soakLog + 1; m <= n+2; m++ {
		if err := c.key(from, soakLogKey(w, m), m <= n && m+soakLog > n, w, m, soakHot); err != nil {
			return err
		}
	}
	return nil
}

// key checks that a key is there or not, with what commit n has written to it.
func (c *soakCheck) key(from soakReads, key []byte, there bool, w int, n, i uint64) error {
	c.checks++
	v, err := from.get(key)
	switch {
	case errors.Is(err, ErrKeyNotFound):
		if there {
			return fmt.Errorf("%w: %s is missing; commit %d wrote it", errSoak, key, n)
		}
		return nil
	case err != nil:
		return err
	}
	return soakCompare(key, v, there, w, n, i)
}

func soakCompare(key, v []byte, there bool, w int, n, i uint64) error {
	switch {
	case !there:
		return fmt.Errorf("%w: %s is there, with a value of %d bytes %x; it should be deleted, at commit %d", errSoak, key, len(v), v[:min(8, len(v))], n)
	case !bytes.Equal(v, soakValue(w, n, i)):
		return fmt.Errorf("%w: %s has a value of %d bytes %x; commit %d wrote another", errSoak, key, len(v), v[:min(8, len(v))], n)
	}
	return nil
}

// iterate checks that iteration finds what gets do, and nothing else.
func (c *soakCheck) iterate(from soakReads, last *[soakWriters]uint64) error {
	want := 0
	for w, n := range last {
		for i := range uint64(soakHot) {
			if at := soakToucher(n, i); at > 0 && !soakDeletes(w, at, i) {
				want++
			}
		}
		want += int(min(n, soakLog))
		if n > 0 {
			want++
		}
	}
	got := 0
	err := from.each(func(key, value []byte) error {
		if bytes.Equal(key, soakShared) || bytes.HasPrefix(key, soakDropped) {
			return nil
		}
		got++
		part := strings.Split(string(key), "/")
		if len(part) != 3 {
			return nil // last/W, which was read
		}
		w, err1 := strconv.Atoi(part[1])
		i, err2 := strconv.ParseUint(part[2], 10, 64)
		if err1 != nil || err2 != nil || w >= soakWriters {
			return fmt.Errorf("%w: a key %q that nobody wrote", errSoak, key)
		}
		c.checks++
		n := last[w]
		there, at := i <= n && i+soakLog > n, i
		if part[0] == "hot" {
			at = soakToucher(n, i)
			there = at > 0 && !soakDeletes(w, at, i)
		} else {
			i = soakHot
		}
		return soakCompare(key, value, there, w, at, i)
	})
	if err != nil {
		return err
	}
	if got != want {
		return fmt.Errorf("%w: iteration finds %d keys, there must be %d", errSoak, got, want)
	}
	return nil
}
