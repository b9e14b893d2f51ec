package strain

import (
	"math/bits"
	"sync/atomic"
	"time"
)

// histogram is a histogram of durations with four buckets for each power of two, from a microsecond
// to 30 s. add may be called by many; it does not allocate.
type histogram [bucketCount]atomic.Uint32

type counts [bucketCount]uint32

const (
	unitBits    = 10 // bits of nanoseconds that are not told apart
	bucketCount = 25 * 4
)

func (l *histogram) add(d time.Duration) { l[bucketOf(d)].Add(1) }

// moveTo adds the samples to c, forgets them, and returns how many there were.
func (l *histogram) moveTo(c *counts) (n int64) {
	for i := range l {
		if l[i].Load() > 0 {
			more := l[i].Swap(0)
			c[i] += more
			n += int64(more)
		}
	}
	return n
}

// total returns how many samples there are.
func (l *histogram) total() (n int64) {
	for i := range l {
		n += int64(l[i].Load())
	}
	return n
}

// quantile returns an upper bound, at most a quarter too high, of the q-th quantile of n samples.
func (c *counts) quantile(q float64, n int64) time.Duration {
	rank := int64(q*float64(n-1)) + 1
	for i, k := range c {
		if rank -= int64(k); rank <= 0 {
			return topOf(i)
		}
	}
	return topOf(bucketCount - 1)
}

func bucketOf(d time.Duration) int {
	units := uint64(max(0, d)) >> unitBits
	if units < 4 {
		return int(units)
	}
	exp := bits.Len64(units) - 1
	return min(bucketCount-1, (exp-1)*4+int(units>>(exp-2)&3))
}

// topOf is the upper end of a bucket.
func topOf(i int) time.Duration {
	if i < 4 {
		return time.Duration(i+1) << unitBits
	}
	return time.Duration(4+i%4+1) << (i/4 - 1 + unitBits)
}
