package wbm

import (
	"math/bits"
	"sync/atomic"
	"time"
)

// SpilloverStats is a snapshot of what a SpilloverManager has seen since it was made.
// The counters are read one by one, not at one instant.
type SpilloverStats struct {
	// BytesRecovered counts bytes that went from the spill to Badger.
	BytesRecovered int64
	// AppendLatency is how long appends to the spill took, one sample an append.
	AppendLatency Latency
	// BlocksAvoided counts commits that the spill took although memory had no room for them
	// below the spill limit.
	BlocksAvoided int64
	// WritersBlocked counts reservations that had to park, BlockTimeouts those that ended
	// with ErrWriteBlocked.
	WritersBlocked, BlockTimeouts int64
	// BlockedTime is the sum of their waits that are over.
	BlockedTime time.Duration
	// Parked is how many are waiting now.
	Parked int64
	// CommitsSlowed counts reservations that had to wait for their turn because the spill was
	// filled beyond HighWater. None of them counts as parked or blocked for it.
	CommitsSlowed int64
	// SlowedTime is the sum of those waits that are over.
	SlowedTime time.Duration
	// Slowed is how many are waiting now.
	Slowed int64
}

type spilloverCounters struct {
	bytesRecovered, blocksAvoided atomic.Int64
	writersBlocked, blockedTime   atomic.Int64
	blockTimeouts, parked         atomic.Int64
	commitsSlowed, slowedTime     atomic.Int64
	appends                       histogram
}

// RecordAppend counts one append to the spill that took d. Safe for concurrent use; does not
// block.
func (s *SpilloverManager) RecordAppend(d time.Duration) { s.stats.appends.record(d) }

// Parked returns how many reservations wait for room now. Safe for concurrent use; does not block.
func (s *SpilloverManager) Parked() int64 { return s.stats.parked.Load() }

// Slowed returns how many commits wait for their turn now, since the spill is filled beyond its
// mark. It does not block and is safe for concurrent use.
func (s *SpilloverManager) Slowed() int64 { return s.throttle.waiting.Load() }

// Stats returns the counters. Safe for concurrent use; does not block.
func (s *SpilloverManager) Stats() SpilloverStats {
	return SpilloverStats{
		BytesRecovered: s.stats.bytesRecovered.Load(),
		AppendLatency:  s.stats.appends.snapshot(),
		BlocksAvoided:  s.stats.blocksAvoided.Load(),
		WritersBlocked: s.stats.writersBlocked.Load(),
		BlockedTime:    time.Duration(s.stats.blockedTime.Load()),
		BlockTimeouts:  s.stats.blockTimeouts.Load(),
		Parked:         s.stats.parked.Load(),
		CommitsSlowed:  s.stats.commitsSlowed.Load(),
		SlowedTime:     time.Duration(s.stats.slowedTime.Load()),
		Slowed:         s.throttle.waiting.Load(),
	}
}

// Latency is a distribution of durations.
type Latency struct {
	// Count is the number of samples.
	Count int64
	// Sum, Mean and Max are exact.
	Sum, Mean, Max time.Duration
	// P50 and P99 are upper bounds of the bucket in which the quantile lies: at most a
	// quarter too high.
	P50, P99 time.Duration
	// Buckets says how many took less than LatencyBound of the index; the rest took longer. The
	// difference of two snapshots gives the quantiles of the time between.
	Buckets [LatencyBuckets]int64
}

// LatencyBuckets is the number of Latency.Buckets.
const LatencyBuckets = 21

// minLatencyBits: the lowest bound of Latency.Buckets is 2^12 ns, less than an append ever takes;
// the highest is 2^32 ns, 4.3 s.
const minLatencyBits = 12

// LatencyBound returns the upper bound of a bucket of Latency, 0 to LatencyBuckets-1: from 4.1 µs
// to 4.3 s, each twice the one before.
func LatencyBound(i int) time.Duration { return 1 << (minLatencyBits + i) }

// subBuckets splits each power of two, so that a bucket is at most a quarter wide.
const (
	subBits    = 2
	subBuckets = 1 << subBits
)

// histogram has one bucket per quarter of a power of two of nanoseconds.
type histogram struct {
	count, sum, max atomic.Int64
	buckets         [64 * subBuckets]atomic.Int64
}

func (h *histogram) record(d time.Duration) {
	ns := max(0, int64(d))
	h.count.Add(1)
	h.sum.Add(ns)
	for {
		top := h.max.Load()
		if ns <= top || h.max.CompareAndSwap(top, ns) {
			break
		}
	}
	h.buckets[bucketOf(ns)].Add(1)
}

func bucketOf(ns int64) int {
	if ns < subBuckets {
		return int(ns)
	}
	exp := bits.Len64(uint64(ns)) - 1
	return (exp-subBits+1)*subBuckets + int(ns>>(exp-subBits))&(subBuckets-1)
}

// bucketTop is the largest value that belongs to the bucket.
func bucketTop(i int) int64 {
	if i < subBuckets {
		return int64(i)
	}
	exp := i/subBuckets - 1 + subBits
	return int64(uint64(subBuckets+i%subBuckets+1)<<(exp-subBits)) - 1
}

func (h *histogram) snapshot() Latency {
	var counts [len(h.buckets)]int64
	var total int64
	for i := range counts {
		counts[i] = h.buckets[i].Load()
		total += counts[i]
	}
	l := Latency{Count: total, Max: time.Duration(h.max.Load())}
	if total == 0 {
		return l
	}
	l.Sum = time.Duration(h.sum.Load())
	l.Mean = l.Sum / time.Duration(max(1, h.count.Load()))
	var n int64
	for b, i := 0, 0; b < len(l.Buckets); b++ {
		for ; i < bucketOf(int64(LatencyBound(b))); i++ {
			n += counts[i]
		}
		l.Buckets[b] = n
	}
	quantile := func(percent int64) time.Duration {
		rank, seen := (total*percent+99)/100, int64(0)
		for i, n := range counts {
			if seen += n; seen >= rank {
				return min(l.Max, time.Duration(bucketTop(i)))
			}
		}
		return l.Max
	}
	l.P50, l.P99 = quantile(50), quantile(99)
	return l
}
