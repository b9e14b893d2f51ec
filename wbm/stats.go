package wbm

import (
	"math"
	"math/bits"
	"slices"
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
	// fifth too high.
	P50, P99 time.Duration
	// Buckets says how many took at most LatencyBound of the index; the rest took longer. The
	// difference of two snapshots gives the quantiles of the time between.
	Buckets [LatencyBuckets]int64

	counts [latencyCounts]int64 // see histogram.counts
}

// LatencyBuckets is the number of Latency.Buckets.
const LatencyBuckets = 21

// minLatencyPower: the lowest bound of Latency.Buckets is 2^-18 s, less than an append ever takes;
// the highest is 2^2 s.
const minLatencyPower = -18

// LatencyBound returns the upper bound of a bucket of Latency, 0 to LatencyBuckets-1: from 3.8 µs
// to 4 s, each twice the one before.
func LatencyBound(i int) time.Duration {
	return time.Duration(math.Ldexp(float64(time.Second), minLatencyPower+i))
}

// LatencySchema is the schema of the buckets of Latency.Exponential, as Prometheus numbers those of
// its native histograms: there are 2^LatencySchema of them in each power of two.
const LatencySchema = 2

// Exponential returns the distribution as finely as it was counted, in the buckets of a native
// histogram of Prometheus whose unit is the second. Bucket i has the samples above 2^((i-1)/4) s
// and up to 2^(i/4) s; those without samples are left out. zero is the number of samples that took
// no time at all. It does not block. It is safe for concurrent use.
func (l Latency) Exponential() (zero int64, buckets map[int]int64) {
	buckets = map[int]int64{}
	for i, n := range l.counts[1:] {
		if n > 0 {
			buckets[minBucket+i] = n
		}
	}
	return l.counts[0], buckets
}

// The buckets of a histogram, numbered as in Exponential: a nanosecond is in the lowest, the
// longest time.Duration in the highest.
const (
	minBucket     = -119
	maxBucket     = 133
	latencyCounts = 1 + maxBucket - minBucket + 1
)

// bucketBounds are the upper bounds of the buckets in nanoseconds, from minBucket on.
var bucketBounds = func() (bounds [latencyCounts - 1]int64) {
	for i := range bounds {
		power, fraction := (minBucket+i)>>LatencySchema, (minBucket+i)&(1<<LatencySchema-1)
		// Both factors of a whole power of two are exact, so its bound is, too.
		ns := math.Ldexp(math.Exp2(float64(fraction)/(1<<LatencySchema)), power) * float64(time.Second)
		bounds[i] = math.MaxInt64
		if ns < math.MaxInt64 {
			bounds[i] = int64(ns)
		}
	}
	return bounds
}()

// firstBucket is where to look for a number of so many bits: the bucket, as an index of
// bucketBounds, of the lowest such number.
var firstBucket = func() (first [64]int) {
	for n := 1; n < len(first); n++ {
		first[n], _ = slices.BinarySearch(bucketBounds[:], int64(1)<<(n-1))
	}
	return first
}()

// histogram counts durations in the buckets of Latency.Exponential. counts[0] is for 0.
type histogram struct {
	count, sum, max atomic.Int64
	counts          [latencyCounts]atomic.Int64
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
	h.counts[bucketOf(ns)].Add(1)
}

// bucketOf returns the index of histogram.counts for so many nanoseconds.
func bucketOf(ns int64) int {
	if ns == 0 {
		return 0
	}
	i := firstBucket[bits.Len64(uint64(ns))]
	for ns > bucketBounds[i] { // five times at most
		i++
	}
	return 1 + i
}

// bucketTop is the largest value that belongs to the bucket.
func bucketTop(i int) int64 {
	if i == 0 {
		return 0
	}
	return bucketBounds[i-1]
}

func (h *histogram) snapshot() Latency {
	var l Latency
	for i := range l.counts {
		l.counts[i] = h.counts[i].Load()
		l.Count += l.counts[i]
	}
	l.Max = time.Duration(h.max.Load())
	if l.Count == 0 {
		return l
	}
	l.Sum = time.Duration(h.sum.Load())
	l.Mean = l.Sum / time.Duration(max(1, h.count.Load()))
	var n int64
	for b, i := 0, 0; b < len(l.Buckets); b++ {
		for ; i <= bucketOf(int64(LatencyBound(b))); i++ {
			n += l.counts[i]
		}
		l.Buckets[b] = n
	}
	quantile := func(percent int64) time.Duration {
		rank, seen := (l.Count*percent+99)/100, int64(0)
		for i, n := range l.counts {
			if seen += n; seen >= rank {
				return min(l.Max, time.Duration(bucketTop(i)))
			}
		}
		return l.Max
	}
	l.P50, l.P99 = quantile(50), quantile(99)
	return l
}
