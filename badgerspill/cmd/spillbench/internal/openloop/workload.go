package openloop

import (
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"
)

const (
	// KeySize is the length of every key in bytes: a 64-bit number in hexadecimal.
	KeySize = 16
	// MinValueSize holds the stamp and as many other bytes, so that no value is its stamp alone.
	MinValueSize = 2 * stampSize
	// MaxValueSize keeps values where Badger's default ValueThreshold keeps them, in the LSM tree.
	MaxValueSize = 1 << 20

	stampSize = 8
	// poolSize makes it unlikely that two values in one compressed block share a stretch of the
	// pool.
	poolSize = 4 << 20
)

// Three quarters of a value are random bytes and one quarter is this text; snappy makes 1 KiB
// values a seventh smaller. That is what already encoded records (protobuf, compressed or encrypted
// fields) look like. All-zero values would flatter an engine that compresses, all-random ones would
// punish it.
const filler = `{"type":"measurement","unit":"milliseconds","source":"sensor","status":"ok","tags":["a","b"]}`

// Workload derives key and value of every slot from its number and a seed, so nothing that was
// written needs to be remembered to be checked. It is immutable and safe for concurrent use.
type Workload struct {
	seed      uint64
	valueSize int
	random    int // bytes of a value before the filler, stamp included
	pool      []byte
	tail      []byte
	inOrder   bool // keys have the order of their slots
}

// NewWorkload prepares values of valueSize bytes, between MinValueSize and MaxValueSize.
func NewWorkload(seed uint64, valueSize int) *Workload {
	w := &Workload{seed: seed, valueSize: valueSize, random: valueSize - valueSize/4}
	var key [32]byte
	binary.LittleEndian.PutUint64(key[:], seed)
	w.pool = make([]byte, poolSize+valueSize)
	_, _ = rand.NewChaCha8(key).Read(w.pool) // documented never to fail
	for len(w.tail) < valueSize-w.random {
		w.tail = append(w.tail, filler...)
	}
	w.tail = w.tail[:valueSize-w.random]
	return w
}

// InOrder returns a workload of the same values whose keys have the order of their slots, as those
// of a time series have.
func (w *Workload) InOrder() *Workload {
	ordered := *w
	ordered.inOrder = true
	return &ordered
}

// AppendKey appends the key of the slot. Keys are unique, and in random order over the slots but
// for a workload InOrder.
func (w *Workload) AppendKey(dst []byte, slot int64) []byte {
	var raw [8]byte
	binary.BigEndian.PutUint64(raw[:], w.id(slot))
	return hex.AppendEncode(dst, raw[:])
}

// AppendValue appends the value of the slot. It begins with a stamp made from the key, so the value
// of another key is never taken for the right one.
func (w *Workload) AppendValue(dst []byte, slot int64) []byte {
	id := w.id(slot)
	stamp := mix64(id)
	dst = binary.LittleEndian.AppendUint64(dst, stamp)
	at := int(stamp % poolSize)
	dst = append(dst, w.pool[at:at+w.random-stampSize]...)
	return append(dst, w.tail...)
}

// id is one to one over slots: both steps are.
func (w *Workload) id(slot int64) uint64 {
	if w.inOrder {
		return uint64(slot)
	}
	return mix64(uint64(slot) + w.seed*0x9e3779b97f4a7c15)
}

// mix64 is the finalizer of SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number
// Generators), a bijection on 64-bit numbers.
func mix64(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
