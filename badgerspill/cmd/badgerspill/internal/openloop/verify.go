package openloop

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
)

// ErrNotFound is what the reader given to Verify returns for a key that does not exist.
var ErrNotFound = errors.New("key not found")

// maxExamples bounds how many bad keys a Verification names.
const maxExamples = 5

// Verification compares what a store holds with what it acknowledged.
type Verification struct {
	Checked    int64    `json:"checked"`    // acknowledged keys; all of them are read
	Missing    int64    `json:"missing"`    // not there
	Wrong      int64    `json:"wrong"`      // there with another value
	Unreadable int64    `json:"unreadable"` // reading failed
	Examples   []string `json:"examples,omitempty"`
}

// OK tells whether every acknowledged key was there with its value.
func (v Verification) OK() bool { return v.Missing+v.Wrong+v.Unreadable == 0 }

// Verify reads every acknowledged key back. get appends the value of a key to dst or returns ErrNotFound; it is called
// from several goroutines. Verify blocks until all keys were read; the only error is that of the context.
func (r *Run) Verify(ctx context.Context, get func(key, dst []byte) ([]byte, error)) (Verification, error) {
	load := r.cfg.Workload
	type acked struct {
		id   uint64
		slot int64
	}
	var keys []acked
	for slot := range r.cfg.Schedule.Total() {
		if r.outcome[slot].Load() > 0 {
			keys = append(keys, acked{load.id(slot), slot})
		}
	}
	// In key order neighbours share a block of the store, which makes this several times faster.
	slices.SortFunc(keys, func(a, b acked) int {
		if a.id < b.id {
			return -1
		}
		return 1
	})

	readers := runtime.GOMAXPROCS(0)
	found := make([]Verification, readers)
	var wg sync.WaitGroup
	for n := range readers {
		part := keys[len(keys)*n/readers : len(keys)*(n+1)/readers]
		wg.Go(func() {
			v := &found[n]
			var key, got, want []byte
			for _, k := range part {
				if ctx.Err() != nil {
					return
				}
				key = load.AppendKey(key[:0], k.slot)
				want = load.AppendValue(want[:0], k.slot)
				value, err := get(key, got[:0])
				v.judge(key, value, want, err)
				if err == nil {
					got = value
				}
			}
		})
	}
	wg.Wait()

	var sum Verification
	for _, v := range found {
		sum.Checked += v.Checked
		sum.Missing += v.Missing
		sum.Wrong += v.Wrong
		sum.Unreadable += v.Unreadable
		sum.Examples = append(sum.Examples, v.Examples...)
	}
	sum.Examples = sum.Examples[:min(len(sum.Examples), maxExamples)]
	return sum, ctx.Err()
}

func (v *Verification) judge(key, value, want []byte, err error) {
	v.Checked++
	example := ""
	switch {
	case errors.Is(err, ErrNotFound):
		v.Missing++
		example = fmt.Sprintf("key %s is missing", key)
	case err != nil:
		v.Unreadable++
		example = fmt.Sprintf("key %s cannot be read: %v", key, err)
	case !bytes.Equal(value, want):
		v.Wrong++
		example = fmt.Sprintf("key %s has a wrong value: %s", key, difference(value, want))
	default:
		return
	}
	if len(v.Examples) < maxExamples {
		v.Examples = append(v.Examples, example)
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
