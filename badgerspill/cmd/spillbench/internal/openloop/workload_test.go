package openloop

import (
	"testing"

	"github.com/golang/snappy"
	"github.com/stretchr/testify/require"
)

func TestKeysAreUniqueAndInRandomOrder(t *testing.T) {
	const n = 20_000
	w := NewWorkload(3, 64)
	seen := map[string]bool{}
	ascents, last := 0, ""
	for slot := range int64(n) {
		key := string(w.AppendKey(nil, slot))
		require.Len(t, key, KeySize)
		require.False(t, seen[key], "key %s comes twice", key)
		seen[key] = true
		if key > last {
			ascents++
		}
		last = key
	}
	require.InDelta(t, n/2, ascents, n/20)
}

func TestKeysInOrder(t *testing.T) {
	w := NewWorkload(3, 64)
	ordered := w.InOrder()
	last := ""
	for slot := range int64(1000) {
		key := string(ordered.AppendKey(nil, slot))
		require.Len(t, key, KeySize)
		require.Greater(t, key, last)
		last = key
	}
	require.NotEqual(t, ordered.AppendKey(nil, 1), w.AppendKey(nil, 1), "the first one stays as it was")
}

func TestValuesCanBeRecomputedAndTellKeysApart(t *testing.T) {
	for _, size := range []int{MinValueSize, 17, 1024, MaxValueSize} {
		w, again, other := NewWorkload(1, size), NewWorkload(1, size), NewWorkload(2, size)
		value := w.AppendValue(nil, 5)
		require.Len(t, value, size)
		require.Equal(t, value, again.AppendValue(nil, 5))
		require.NotEqual(t, value, w.AppendValue(nil, 6), "another slot, %d bytes", size)
		require.NotEqual(t, value, other.AppendValue(nil, 5), "another seed, %d bytes", size)
	}
}

func TestValuesAreMostlyIncompressible(t *testing.T) {
	w := NewWorkload(1, 1024)
	var block []byte
	for slot := range int64(8) {
		block = w.AppendValue(block, slot)
	}
	ratio := float64(len(snappy.Encode(nil, block))) / float64(len(block))
	require.InDelta(t, 0.86, ratio, 0.03)
}

func BenchmarkKeyAndValue(b *testing.B) {
	w := NewWorkload(1, 1024)
	key, value := make([]byte, 0, KeySize), make([]byte, 0, 1024)
	b.ReportAllocs()
	slot := int64(0)
	for b.Loop() {
		key = w.AppendKey(key[:0], slot)
		value = w.AppendValue(value[:0], slot)
		slot++
	}
}
