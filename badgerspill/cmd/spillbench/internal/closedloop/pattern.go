package closedloop

import (
	"math/bits"
	"math/rand/v2"
)

// Pattern says which of its keys each of many writes goes to. It is immutable and safe for
// concurrent use.
type Pattern struct {
	Seed uint64
	Keys int64 // slots 0 to Keys-1 of a workload, above 0
	// HotPercent of the writes go to the Hot first slots, the others to all. 0 makes all writes
	// alike. The slots of a workload that is not InOrder are in random order of their keys, so the
	// hot keys lie all over the key space.
	Hot, HotPercent int64
	// InOrder makes write i go to slot First+i. Seed, Hot and HotPercent do not matter then.
	InOrder bool
	First   int64
}

// Slot returns the slot that write i goes to.
func (p Pattern) Slot(i int64) int64 {
	if p.InOrder {
		return p.First + i
	}
	random := rand.NewPCG(p.Seed, uint64(i))
	among := p.Keys
	if p.HotPercent > 0 && below(random, 100) < p.HotPercent {
		among = max(p.Hot, 1)
	}
	return below(random, among)
}

// below returns a number from 0 to n-1. Its bias, n in 2^64, shows in no run.
func below(random *rand.PCG, n int64) int64 {
	high, _ := bits.Mul64(random.Uint64(), uint64(n))
	return int64(high)
}
