package openloop

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"iter"
	"slices"
)

// ErrNotFound is what Reader.Get returns for a key that does not exist.
var ErrNotFound = errors.New("key not found")

// Reader is a store that Verify reads.
type Reader interface {
	// Scan calls visit with every key and its value in the order of the keys until that returns
	// false. Key and value are valid during the call only.
	Scan(visit func(key, value []byte) bool) error
	// Get appends the value of the key to dst; ErrNotFound if there is none.
	Get(key, dst []byte) ([]byte, error)
}

// getEvery is one in how many acknowledged keys is also read by itself. A scan of everything takes
// a tenth of the time of as many point reads, but both ways to read should be tried.
const getEvery = 100

// maxExamples bounds how many bad keys a Verification names.
const maxExamples = 5

// Verification compares what a store holds with what it acknowledged.
type Verification struct {
	// acknowledged keys; all of them are looked for in a scan
	Checked    int64 `json:"checked"`
	PointReads int64 `json:"point_reads"` // those that were also read one by one
	Missing    int64 `json:"missing"`     // not there
	Wrong      int64 `json:"wrong"`       // there with another value
	// reading failed, or the scan before it came to the key
	Unreadable int64    `json:"unreadable"`
	Examples   []string `json:"examples,omitempty"`
}

// OK tells whether every acknowledged key was there with its value.
func (v Verification) OK() bool { return v.Missing+v.Wrong+v.Unreadable == 0 }

// Verify looks for every acknowledged key, and for those of Config.Base. Keys of writes that were
// not acknowledged may be there or not. Verify blocks until all was read; the only error is that of
// the context.
func (r *Run) Verify(ctx context.Context, store Reader) (Verification, error) {
	return r.cfg.Workload.Verify(ctx, store, func(yield func(slot int64) bool) {
		for slot := range r.cfg.Schedule.Total() {
			if r.outcome[slot].Load() > 0 && !r.reading(slot) && !yield(slot) {
				return
			}
		}
		for slot := range r.cfg.Base {
			if !yield(r.cfg.Schedule.Total() + slot) {
				return
			}
		}
	}, nil)
}

// Verify looks for the key of each slot, each of which comes once. Other keys may be there or not.
// wrong says what is wrong with the value of a slot's key, "" if nothing; nil wants the value of
// the same slot. Verify blocks until all was read; the only error is that of the context.
func (w *Workload) Verify(ctx context.Context, store Reader, slots iter.Seq[int64],
	wrong func(slot int64, value []byte) string,
) (Verification, error) {
	c := &check{load: w, wrong: wrong}
	if wrong == nil {
		c.wrong = c.otherThanItsOwn
	}
	for slot := range slots {
		c.expected = append(c.expected, expectedKey{w.id(slot), slot})
	}
	// As numbers and as keys they have the same order.
	slices.SortFunc(c.expected, func(a, b expectedKey) int { return cmp.Compare(a.id, b.id) })
	c.v.Checked = int64(len(c.expected))

	err := store.Scan(func(key, value []byte) bool {
		c.scanned(key, value)
		return ctx.Err() == nil
	})
	if ctx.Err() != nil {
		return c.v, ctx.Err()
	}
	if err != nil {
		c.v.Unreadable += int64(len(c.expected) - c.at)
		c.example("the scan stopped before key %s: %v", c.key(c.at), err)
	} else {
		c.missingUntil(len(c.expected))
	}
	for i := 0; i < len(c.expected) && ctx.Err() == nil; i += getEvery {
		c.get(i, store)
	}
	return c.v, ctx.Err()
}

type expectedKey struct {
	id   uint64
	slot int64
}

// check walks the scan and the acknowledged keys side by side.
type check struct {
	load     *Workload
	wrong    func(slot int64, value []byte) string
	expected []expectedKey
	at       int // expected keys before it are done
	want     []byte
	got      []byte
	v        Verification
}

func (c *check) scanned(key, value []byte) {
	var raw [8]byte
	if len(key) != KeySize {
		return
	}
	if _, err := hex.Decode(raw[:], key); err != nil {
		return
	}
	id := binary.BigEndian.Uint64(raw[:])
	until := c.at
	for until < len(c.expected) && c.expected[until].id < id {
		until++
	}
	c.missingUntil(until)
	if c.at < len(c.expected) && c.expected[c.at].id == id {
		c.compare(c.at, value)
		c.at++
	}
}

func (c *check) missingUntil(until int) {
	for ; c.at < until; c.at++ {
		c.v.Missing++
		c.example("key %s is missing", c.key(c.at))
	}
}

func (c *check) get(i int, store Reader) {
	c.v.PointReads++
	value, err := store.Get(c.key(i), c.got[:0])
	switch {
	case errors.Is(err, ErrNotFound):
		c.v.Missing++
		c.example("key %s is missing when read by itself", c.key(i))
	case err != nil:
		c.v.Unreadable++
		c.example("key %s cannot be read: %v", c.key(i), err)
	default:
		c.got = value
		c.compare(i, value)
	}
}

func (c *check) compare(i int, value []byte) {
	if reason := c.wrong(c.expected[i].slot, value); reason != "" {
		c.v.Wrong++
		c.example("key %s has a wrong value: %s", c.key(i), reason)
	}
}

func (c *check) otherThanItsOwn(slot int64, value []byte) string {
	c.want = c.load.AppendValue(c.want[:0], slot)
	if bytes.Equal(value, c.want) {
		return ""
	}
	return difference(value, c.want)
}

func (c *check) key(i int) []byte {
	if i >= len(c.expected) {
		return []byte("(none)")
	}
	return c.load.AppendKey(nil, c.expected[i].slot)
}

func (c *check) example(format string, args ...any) {
	if len(c.v.Examples) < maxExamples {
		c.v.Examples = append(c.v.Examples, fmt.Sprintf(format, args...))
	}
}

// difference says where two values that are not equal part.
func difference(got, want []byte) string {
	if len(got) != len(want) {
		return fmt.Sprintf("%d bytes instead of %d", len(got), len(want))
	}
	at := 0
	for got[at] == want[at] {
		at++
	}
	return fmt.Sprintf("byte %d is %#02x instead of %#02x", at, got[at], want[at])
}
