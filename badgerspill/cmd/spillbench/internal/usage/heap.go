package usage

import "runtime/metrics"

// Heap is what the Go heap of this process holds and held, in bytes. Memory beside it, as Badger
// allocates for its memtables and maps of its files, does not count.
type Heap struct {
	InUse     int64 // objects that are alive, and dead ones that are not swept yet
	Allocated int64 // since the process was started, freed or not
}

// InHeap returns the heap of this process now. It does not stop the world.
func InHeap() Heap {
	samples := [2]metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}, {Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(samples[:])
	return Heap{InUse: int64(samples[0].Value.Uint64()), Allocated: int64(samples[1].Value.Uint64())}
}
