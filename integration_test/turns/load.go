package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/dgraph-io/badger/v4"

	"github.com/badgerspill/badgerspill/badgerspill"
)

// The load. Each writer numbers its commits from 1. Commit n of writer w
//
//   - sets last/w to n;
//   - sets a/w/(n mod ring) and b/w/(n mod ring) to n, and deletes those of commit n - living;
//   - every keepEvery commits sets keep/w/n, which stays.
//
// So from the last n alone follows what every key must be. That n is the last acknowledged one, or
// the one after, which was on its way.
const (
	writers   = 4
	ring      = 2000
	living    = 1500
	keepEvery = 40
)

// reader and writer are what the layer and plain Badger have in common.
type (
	reader interface {
		get(key string) (value []byte, err error) // badger.ErrKeyNotFound
		each(visit func(key string, value []byte) error) error
	}
	writer interface {
		Set(key, value []byte) error
		Delete(key []byte) error
	}
	database interface {
		view(fn func(reader) error) error
		update(fn func(writer) error) error
	}
)

type layerDB struct{ *badgerspill.DB }

func (d layerDB) view(fn func(reader) error) error {
	return d.View(func(txn *badgerspill.Txn) error { return fn(layerTxn{txn}) })
}

func (d layerDB) update(fn func(writer) error) error {
	return d.Update(func(txn *badgerspill.Txn) error { return fn(txn) })
}

type layerTxn struct{ *badgerspill.Txn }

func (t layerTxn) get(key string) ([]byte, error) {
	it, err := t.Get([]byte(key))
	if err != nil {
		return nil, err
	}
	return it.ValueCopy(nil)
}

func (t layerTxn) each(visit func(key string, value []byte) error) error {
	it := t.NewIterator(badgerspill.DefaultIteratorOptions)
	defer it.Close()
	for it.Rewind(); it.Valid(); it.Next() {
		key := string(it.Item().Key())
		if err := it.Item().Value(func(v []byte) error { return visit(key, v) }); err != nil {
			return err
		}
	}
	return nil
}

type plainDB struct{ *badger.DB }

func (d plainDB) view(fn func(reader) error) error {
	return d.View(func(txn *badger.Txn) error { return fn(plainTxn{txn}) })
}

func (d plainDB) update(fn func(writer) error) error {
	return d.Update(func(txn *badger.Txn) error { return fn(txn) })
}

type plainTxn struct{ *badger.Txn }

func (t plainTxn) get(key string) ([]byte, error) {
	it, err := t.Get([]byte(key))
	if err != nil {
		return nil, err
	}
	return it.ValueCopy(nil)
}

func (t plainTxn) each(visit func(key string, value []byte) error) error {
	it := t.NewIterator(badger.DefaultIteratorOptions)
	defer it.Close()
	for it.Rewind(); it.Valid(); it.Next() {
		key := string(it.Item().Key())
		if err := it.Item().Value(func(v []byte) error { return visit(key, v) }); err != nil {
			return err
		}
	}
	return nil
}

func value(n uint64) []byte {
	size := 16 + n*7919%600
	if n%101 == 0 {
		size = 2000 // to the value log
	}
	v := make([]byte, size)
	binary.BigEndian.PutUint64(v, n)
	for i := 8; i < len(v); i++ {
		v[i] = byte(n>>(i%3)) + byte(i*i)
	}
	return v
}

func commit(txn writer, w int, n uint64) error {
	v := value(n)
	slot := func(side byte, n uint64) []byte { return fmt.Appendf(nil, "%c/%d/%d", side, w, n%ring) }
	err := errors.Join(
		txn.Set(fmt.Appendf(nil, "last/%d", w), v[:8]),
		txn.Set(slot('a', n), v),
		txn.Set(slot('b', n), v))
	if n > living {
		err = errors.Join(err, txn.Delete(slot('a', n-living)), txn.Delete(slot('b', n-living)))
	}
	if n%keepEvery == 0 {
		err = errors.Join(err, txn.Set(fmt.Appendf(nil, "keep/%d/%d", w, n), v[:16]))
	}
	return err
}

// write has all writers commit for a time, and notes each acknowledged commit.
func (t *turn) write(d database, length time.Duration) error {
	if length == 0 {
		return nil
	}
	acks, err := os.OpenFile(t.acks(), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer acks.Close()
	var lasts [writers]uint64
	err = d.view(func(r reader) (err error) {
		for w := range writers {
			if lasts[w], err = last(r, w); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	var wg sync.WaitGroup
	errs := make([]error, writers)
	end := time.Now().Add(length)
	for w := range writers {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for n := lasts[w] + 1; time.Now().Before(end) && errs[w] == nil; n++ {
				if errs[w] = d.update(func(txn writer) error { return commit(txn, w, n) }); errs[w] == nil {
					_, errs[w] = acks.WriteAt(binary.BigEndian.AppendUint64(nil, n), int64(8*w))
				}
			}
		}()
	}
	wg.Wait()
	return errors.Join(errs...)
}

// last returns the number of the last commit of w that is there.
func last(r reader, w int) (uint64, error) {
	v, err := r.get(fmt.Sprintf("last/%d", w))
	if errors.Is(err, badger.ErrKeyNotFound) {
		return 0, nil
	}
	if err == nil && len(v) != 8 {
		err = fmt.Errorf("last/%d has %d bytes", w, len(v))
	}
	if err != nil {
		return 0, err
	}
	return binary.BigEndian.Uint64(v), nil
}

// acks is what the file says that was acknowledged.
type acks struct {
	last     [writers]uint64
	dropping bool // a drop of everything was begun, and is not acknowledged
}

const acksSize = 8*writers + 1

func (t *turn) acks() string { return filepath.Join(t.Dir, "acknowledged") }

func (t *turn) readAcks() (a acks, err error) {
	b, err := os.ReadFile(t.acks())
	if err != nil {
		return a, err
	}
	for w := range writers {
		a.last[w] = binary.BigEndian.Uint64(b[8*w:])
	}
	a.dropping = b[8*writers] != 0
	return a, nil
}

func (t *turn) putAcks(b []byte, at int64) error {
	f, err := os.OpenFile(t.acks(), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(b, at)
	return errors.Join(err, f.Close())
}

func (t *turn) beginDrop() error { return t.putAcks([]byte{1}, 8*writers) }
func (t *turn) dropped() error   { return t.putAcks(make([]byte, acksSize), 0) }

// check compares every key with what must be there, one by one and by an iteration, and returns how
// many there are.
func (t *turn) check(d database) (int, error) {
	a, err := t.readAcks()
	if err != nil {
		return 0, err
	}
	want := map[string]uint64{}
	err = d.view(func(r reader) error {
		var lasts [writers]uint64
		for w := range writers {
			if lasts[w], err = last(r, w); err != nil {
				return err
			}
		}
		switch {
		case a.dropping && lasts == [writers]uint64{}:
			return t.dropped() // all of it is gone, as the iteration must show
		case a.dropping: // or none: from here on commits are counted as before
			if err := t.putAcks([]byte{0}, 8*writers); err != nil {
				return err
			}
		}
		for w, n := range lasts {
			if n < a.last[w] || n > a.last[w]+1 {
				return fmt.Errorf("writer %d: commit %d is the last one there, %d the last acknowledged one", w, n, a.last[w])
			}
			if n > 0 {
				want[fmt.Sprintf("last/%d", w)] = n
			}
			for i := max(n, living) - living + 1; i <= n; i++ {
				want[fmt.Sprintf("a/%d/%d", w, i%ring)] = i
				want[fmt.Sprintf("b/%d/%d", w, i%ring)] = i
			}
			for i := uint64(keepEvery); i <= n; i += keepEvery {
				want[fmt.Sprintf("keep/%d/%d", w, i)] = i
			}
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	return len(want), d.view(func(r reader) error {
		for k, n := range want {
			v, err := r.get(k)
			if err == nil {
				err = isValue(k, v, n)
			}
			if err != nil {
				return fmt.Errorf("key %s: %w", k, err)
			}
		}
		for w := range writers {
			for i := range ring {
				for _, side := range []string{"a", "b"} {
					k := strings.Join([]string{side, strconv.Itoa(w), strconv.Itoa(i)}, "/")
					if _, ok := want[k]; ok {
						continue
					}
					if _, err := r.get(k); !errors.Is(err, badger.ErrKeyNotFound) {
						return fmt.Errorf("key %s is back: %w", k, err)
					}
				}
			}
		}
		found := 0
		err := r.each(func(k string, v []byte) error {
			n, ok := want[k]
			if !ok {
				return fmt.Errorf("an iteration finds %s, which must be gone", k)
			}
			found++
			if err := isValue(k, v, n); err != nil {
				return fmt.Errorf("an iteration, key %s: %w", k, err)
			}
			return nil
		})
		if err == nil && found != len(want) {
			err = fmt.Errorf("an iteration finds %d of %d keys", found, len(want))
		}
		return err
	})
}

// isValue compares a value with that of commit n.
func isValue(key string, got []byte, n uint64) error {
	want := value(n)
	switch key[0] {
	case 'l':
		want = want[:8]
	case 'k':
		want = want[:16]
	}
	if string(got) != string(want) {
		found := "none"
		if len(got) >= 8 {
			found = fmt.Sprint(binary.BigEndian.Uint64(got))
		}
		return fmt.Errorf("the value is that of commit %s (%d bytes), not of %d (%d bytes)", found, len(got), n, len(want))
	}
	return nil
}
