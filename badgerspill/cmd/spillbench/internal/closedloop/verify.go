package closedloop

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"github.com/badgerspill/badgerspill/badgerspill/cmd/spillbench/internal/openloop"
)

// Verify reads every key that was written, and those of slots 0 to before-1, which held the values
// of their own slots before the run. A key must hold a write that was not followed by another one
// to it. Writes that were under way at the same time may have been committed in either order. One
// that began after another was acknowledged came later. The run must have been recorded and must
// write keys of slots 0 to keys-1. Verify blocks until all was read; the only error is that of the
// context.
func (r *Run) Verify(ctx context.Context, store openloop.Reader, before, keys int64) (openloop.Verification, error) {
	w := r.writesByKey(keys)
	slots := func(yield func(slot int64) bool) {
		for slot := range keys {
			if (slot < before || len(w.of(slot)) > 0) && !yield(slot) {
				return
			}
		}
	}
	return r.cfg.Workload.Verify(ctx, store, slots, func(slot int64, value []byte) string {
		return r.wrong(slot, value, w.of(slot))
	})
}

// wrong says why the key of a slot must not hold the value after those writes to it, "" if it may.
func (r *Run) wrong(slot int64, value []byte, writes []int32) string {
	var want []byte
	is := func(of int64) bool {
		want = r.cfg.Workload.AppendValue(want[:0], of)
		return bytes.Equal(value, want)
	}
	if len(writes) == 0 {
		if is(slot) {
			return ""
		}
		return "not the one from before the run, which wrote none"
	}
	found := time.Duration(-1)
	last := writes[0]
	for _, i := range writes {
		if is(r.cfg.Value(int64(i))) {
			found = r.acked[i]
		}
		if r.began[i] > r.began[last] {
			last = i
		}
	}
	switch {
	case found < 0 && is(slot):
		return fmt.Sprintf("the one from before the run, which made %d writes to the key", len(writes))
	case found < 0:
		return fmt.Sprintf("none of the %d that were written to the key", len(writes))
	case r.began[last] > found:
		return fmt.Sprintf("one that was acknowledged %v before the last write to the key began", r.began[last]-found)
	}
	return ""
}

// byKey holds the numbers of all writes, grouped by the slot of their key.
type byKey struct {
	end    []int32 // where the group of a slot ends, which is where that of the next begins
	writes []int32
}

func (r *Run) writesByKey(keys int64) byKey {
	b := byKey{end: make([]int32, keys), writes: make([]int32, r.cfg.Writes)}
	for i := range r.cfg.Writes {
		b.end[r.cfg.Key(i)]++
	}
	sum := int32(0)
	for slot, n := range b.end {
		b.end[slot] = sum // for now where it begins
		sum += n
	}
	for i := range r.cfg.Writes {
		at := &b.end[r.cfg.Key(i)]
		b.writes[*at] = int32(i)
		*at++
	}
	return b
}

func (b byKey) of(slot int64) []int32 {
	begin := int32(0)
	if slot > 0 {
		begin = b.end[slot-1]
	}
	return b.writes[begin:b.end[slot]]
}
