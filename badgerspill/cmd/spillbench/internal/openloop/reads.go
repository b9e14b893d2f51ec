package openloop

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
)

// recentKeys is among how many of the keys that were acknowledged last a read picks one.
const recentKeys = 10_000

// recent holds the slots that were acknowledged last. Safe for concurrent use.
type recent struct {
	n     atomic.Int64             // how many were added, or are just being added
	slots [recentKeys]atomic.Int64 // each plus 1
}

func (r *recent) add(slot int64) {
	r.slots[(r.n.Add(1)-1)%recentKeys].Store(slot + 1)
}

// pick returns one of them at random, false if there is none.
func (r *recent) pick() (slot int64, found bool) {
	n := min(r.n.Load(), recentKeys)
	if n == 0 {
		return 0, false
	}
	// What is just being added is not there yet: only in the first round, and then as few as there
	// are writers.
	for at := rand.Int64N(n); at >= 0; at-- {
		if x := r.slots[at].Load(); x > 0 {
			return x - 1, true
		}
	}
	return 0, false
}

// readsSlot decides whether the slot reads, from its number and the seed. Every hundred slots read
// about as often.
func (w *Workload) readsSlot(slot int64, percent int) bool {
	return mix64(w.id(slot))%100 < uint64(percent)
}

// reader reads and checks for one writer.
type reader struct {
	load      *Workload
	store     Reader
	got, want []byte
	key       []byte
}

// read reads the key of an acknowledged slot. Any error is a failure of the store: it gave its
// word.
func (r *reader) read(slot int64) error {
	r.key = r.load.AppendKey(r.key[:0], slot)
	got, err := r.store.Get(r.key, r.got[:0])
	if err != nil {
		return fmt.Errorf("read acknowledged key %s: %w", r.key, err)
	}
	r.got = got
	return nil
}

// check compares what was read last with what was written to the slot.
func (r *reader) check(slot int64) error {
	if r.want = r.load.AppendValue(r.want[:0], slot); !bytes.Equal(r.got, r.want) {
		return fmt.Errorf("read acknowledged key %s: wrong value: %s", r.key, difference(r.got, r.want))
	}
	return nil
}
