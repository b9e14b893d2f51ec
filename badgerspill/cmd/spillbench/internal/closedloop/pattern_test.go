package closedloop

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestUniformPatternReachesAllKeysAlike(t *testing.T) {
	const keys, writes = 100, 100_000
	p := Pattern{Seed: 1, Keys: keys}
	hits := make([]int, keys)
	for i := range int64(writes) {
		hits[p.Slot(i)]++
	}
	for slot, n := range hits {
		require.InDelta(t, writes/keys, n, 200, "slot %d", slot) // six standard deviations
	}
}

func TestHotPatternSendsNineInTenToOnePercent(t *testing.T) {
	const keys, writes = 10_000, 100_000
	p := Pattern{Seed: 2, Keys: keys, Hot: keys / 100, HotPercent: 90}
	hot, seen := 0, map[int64]bool{}
	for i := range int64(writes) {
		slot := p.Slot(i)
		require.True(t, slot >= 0 && slot < keys)
		seen[slot] = true
		if slot < p.Hot {
			hot++
		}
	}
	require.InDelta(t, 0.901*writes, hot, 0.01*writes, "the rest goes to all keys, the hot ones too")
	require.Greater(t, len(seen), 5000)
}

func TestPatternInOrder(t *testing.T) {
	p := Pattern{Seed: 1, Keys: 100, Hot: 1, HotPercent: 90, InOrder: true, First: 40}
	for i := range int64(60) {
		require.Equal(t, 40+i, p.Slot(i))
	}
}

func TestPatternDependsOnSeedAndNumberOnly(t *testing.T) {
	p, q := Pattern{Seed: 1, Keys: 1 << 40}, Pattern{Seed: 2, Keys: 1 << 40}
	require.Equal(t, p.Slot(7), p.Slot(7))
	require.NotEqual(t, p.Slot(7), p.Slot(8))
	require.NotEqual(t, p.Slot(7), q.Slot(7))
}
