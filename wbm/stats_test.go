package wbm

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestHistogramBucketsTile(t *testing.T) {
	all := []int64{0, 1, 2, 3, 4, 5, 7, 8, 9, 10, 11, 12, 100, 1000, 1 << 20, 1<<20 + 1<<18, 1<<62 + 1, 1<<63 - 1}
	for _, bound := range bucketBounds {
		all = append(all, max(0, bound-1), bound, max(bound, bound+1))
	}
	slices.Sort(all)
	previous := -1
	for _, ns := range all {
		i := bucketOf(ns)
		require.GreaterOrEqual(t, i, previous, "at %d", ns)
		require.LessOrEqual(t, ns, bucketTop(i), "at %d", ns)
		if i > 0 {
			require.Greater(t, ns, bucketTop(i-1), "at %d", ns)
		}
		require.LessOrEqual(t, float64(bucketTop(i)), 1.2*float64(ns), "at %d", ns)
		previous = i
	}
	require.Equal(t, latencyCounts-1, previous)
}

// The buckets are those of Prometheus: bucket i ends at 2^(i/4) s. The module
// badgerspill/prometheus compares them with a histogram of its client.
func TestExponentialBuckets(t *testing.T) {
	var h histogram
	for _, d := range []time.Duration{
		0, 1, // -119: above 2^-30 s, which is 0.93 ns
		time.Second,                       // 0
		time.Second + 1,                   // 1
		1953125 * time.Nanosecond,         // -36: 2^-9 s
		1953126 * time.Nanosecond,         // -35
		1 << 62, time.Duration(1<<63 - 1), // 129 and 133
	} {
		h.record(d)
	}
	zero, buckets := h.snapshot().Exponential()
	require.EqualValues(t, 1, zero)
	require.Equal(t, map[int]int64{-119: 1, -36: 1, -35: 1, 0: 1, 1: 1, 129: 1, 133: 1}, buckets)
	zero, buckets = (&histogram{}).snapshot().Exponential()
	require.Zero(t, zero)
	require.Empty(t, buckets)
}

func TestAppendLatency(t *testing.T) {
	m := newManager(t)
	s := NewSpilloverManager(SpilloverOptions{Account: m.Register(Holder{}), Capacity: 1})
	require.Equal(t, Latency{}, s.Stats().AppendLatency)
	for i := range 100 {
		s.RecordAppend(time.Duration(i+1) * time.Millisecond)
	}
	l := s.Stats().AppendLatency
	require.EqualValues(t, 100, l.Count)
	require.Equal(t, 100*time.Millisecond, l.Max)
	require.Equal(t, 50500*time.Microsecond, l.Mean)
	require.InDelta(t, float64(50*time.Millisecond), float64(l.P50), float64(13*time.Millisecond))
	require.GreaterOrEqual(t, l.P50, 50*time.Millisecond)
	require.GreaterOrEqual(t, l.P99, 99*time.Millisecond)
	require.LessOrEqual(t, l.P99, l.Max)
}
