package wbm

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestHistogramBucketsTile(t *testing.T) {
	previous := -1
	for _, ns := range []int64{0, 1, 3, 4, 5, 7, 8, 9, 10, 11, 12, 100, 1000, 1 << 20, 1<<20 + 1<<18, 1<<62 + 1, 1<<63 - 1} {
		i := bucketOf(ns)
		require.GreaterOrEqual(t, i, previous, "at %d", ns)
		require.LessOrEqual(t, ns, bucketTop(i), "at %d", ns)
		if i > 0 {
			require.Greater(t, ns, bucketTop(i-1), "at %d", ns)
		}
		require.LessOrEqual(t, float64(bucketTop(i)), 1.25*float64(max(1, ns)), "at %d", ns)
		previous = i
	}
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
