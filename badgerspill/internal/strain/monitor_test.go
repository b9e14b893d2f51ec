package strain

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// monitored is a monitor with a clock of its own and no probe: wake-ups are told to it.
type monitored struct {
	*Monitor
	clock  int64
	spawns int
}

func Newed(t *testing.T) *monitored {
	m := &monitored{clock: int64(time.Hour)}
	m.Monitor = New(t.Context(), false, func() int64 { return m.clock }, func(func()) { m.spawns++ })
	return m
}

// window lets a quarter of a second pass with a foreground and wake-ups that late, and asks for the
// strain.
func (m *monitored) window(late time.Duration, share float64) float64 {
	for range 50 {
		m.woken(late)
		m.Commit(50 * time.Microsecond)
	}
	return m.idle(share)
}

func (m *monitored) idle(share float64) float64 {
	m.clock += int64(250 * time.Millisecond)
	return m.Strain(share)
}

func TestLatencyQuantiles(t *testing.T) {
	for seed := range uint64(100) {
		r := rand.New(rand.NewPCG(seed, 1))
		n := 1 + r.IntN(1000)
		var samples histogram
		all := make([]time.Duration, n)
		for i := range all {
			all[i] = time.Duration(math.Exp(r.Float64()*math.Log(20e9))) - 1 // up to 20 s
			samples.add(all[i])
		}
		slices.Sort(all)
		var taken counts
		require.EqualValues(t, n, samples.moveTo(&taken))
		require.Zero(t, samples.moveTo(&taken), "taken")
		for _, q := range []float64{0, 0.5, 0.95, 0.99, 1} {
			exact := all[int(q*float64(n-1))]
			got := taken.quantile(q, int64(n))
			require.Greater(t, got, exact, "seed %d", seed)
			require.LessOrEqual(t, got, exact+exact/4+1025, "seed %d", seed)
		}
	}
	for d, want := range map[time.Duration]int{-5: 0, 0: 0, 1023: 0, 1024: 1, time.Hour: bucketCount - 1, math.MaxInt64: bucketCount - 1} {
		require.Equal(t, want, bucketOf(d), "%d", d)
	}
	for i := range bucketCount - 1 {
		require.Equal(t, i, bucketOf(topOf(i)-1))
		require.Equal(t, i+1, bucketOf(topOf(i)))
	}
}

func TestStrainOfWakeUps(t *testing.T) {
	m := Newed(t)
	require.InDelta(t, 1.1/3, m.window(1100*time.Microsecond, 0), 0.1, "an idle machine")
	require.InDelta(t, 2, m.window(6*time.Millisecond, 1), 0.5)
	require.Equal(t, 1, m.spawns)

	for i := range 50 { // 2 % are late: no matter
		late := time.Millisecond
		if i < 1 {
			late = 5 * time.Millisecond
		}
		m.woken(late)
		m.Commit(0)
	}
	require.Less(t, m.idle(1), 0.5)

	// One probe that is 60 ms late stands for those that would have been due meanwhile.
	for range 38 {
		m.woken(time.Millisecond)
	}
	m.woken(60 * time.Millisecond)
	require.InDelta(t, 50.0/3, m.idle(1), 5)
}

func TestStrainOfCommitsAndReads(t *testing.T) {
	m := Newed(t)
	for range 100 {
		m.Commit(8 * time.Millisecond)
	}
	require.InDelta(t, 2, m.idle(1), 0.5)
	synced := New(t.Context(), true, m.now, m.spawn)
	for range 100 {
		synced.Commit(8 * time.Millisecond)
	}
	require.InDelta(t, 0.8, synced.Strain(1), 0.2)
	for range 100 {
		m.Commit(time.Millisecond)
		m.ReadSince(m.clock - int64(16*time.Millisecond))
	}
	require.InDelta(t, 4, m.idle(1), 1)
	require.Less(t, m.window(time.Millisecond, 1), 5.0, "the reads' level holds for a while")
	for range 4 {
		m.window(time.Millisecond, 1)
	}
	require.Less(t, m.window(time.Millisecond, 1), 0.5, "and no longer")
}

// A few samples are not a percentile: they are kept until there are more, or a second has passed.
func TestStrainOfFewSamples(t *testing.T) {
	m := Newed(t)
	for range 4 {
		for range 7 {
			m.Scan()
		}
		m.Commit(20 * time.Millisecond)
		require.Zero(t, m.idle(1))
	}
	m.Scan()
	require.InDelta(t, 5, m.idle(1), 1.3)
}

func TestNoForegroundIsNoStrain(t *testing.T) {
	m := Newed(t)
	for range 50 {
		m.woken(time.Millisecond)
	}
	require.Zero(t, m.idle(0))
	require.NotZero(t, m.wakes.level)
	require.Zero(t, m.wakes.idles, "nothing is learned from it")
	late := func() float64 {
		for range 50 {
			m.woken(100 * time.Millisecond)
		}
		return m.idle(1)
	}
	require.Zero(t, late())
	for range 8 {
		m.Commit(0)
	}
	require.Greater(t, late(), 10.0)
	for range 5 {
		late()
	}
	require.Zero(t, late(), "gone")
	for range 100_000 {
		m.Commit(0)
	}
	require.Greater(t, late(), 10.0)
	for range 8 {
		late()
	}
	require.Zero(t, late(), "gone as soon, however busy it was")
	m.ReadSince(m.clock)
	require.Greater(t, late(), 10.0, "a read stands for those not sampled")
	for range 8 {
		late()
	}
	for range 4 {
		m.Scan()
	}
	require.Greater(t, late(), 10.0)
	for range 5 {
		late()
	}
	require.Zero(t, late(), "iterators are counted once")

	m.window(time.Millisecond, 0)
	m.Commit(0)
	m.idle(0)
	require.Equal(t, 1, m.wakes.idles, "a level is learned once")
}

// A machine that wakes 20 ms late whether replay works or not: that, and twice that, is acceptable
// there. It takes 15 s of hardly any replay to find out, so that a compaction which replay has
// caused does not count.
func TestSlowMachineIsNoStrain(t *testing.T) {
	m := Newed(t)
	for range 100 {
		require.Greater(t, m.window(20*time.Millisecond, 0), 5.0, "without a run nothing can be told")
	}
	for range 100 {
		require.Greater(t, m.window(20*time.Millisecond, 0.5), 5.0, "nor while replay works")
	}
	for range 60 {
		require.Greater(t, m.window(20*time.Millisecond, 0.06), 5.0, "it may be a compaction")
	}
	require.InDelta(t, 0.5, m.window(20*time.Millisecond, 0.06), 0.01)
	require.InDelta(t, 0.75, m.window(30*time.Millisecond, 1), 0.25)
	require.InDelta(t, 2, m.window(80*time.Millisecond, 1), 0.5)

	for range 2 {
		m.window(time.Millisecond, 0.06)
	}
	require.Less(t, m.window(20*time.Millisecond, 1), 1.0, "two good moments")
	m.window(time.Millisecond, 0)
	require.Greater(t, m.window(20*time.Millisecond, 1), 5.0, "it is fast again")
	for range 3 {
		m.window(20*time.Millisecond, 0)
	}
	require.Less(t, m.window(20*time.Millisecond, 1), 1.0, "and slow again, as is known of it")
	m.clock += int64(calmMemory)
	require.Greater(t, m.window(20*time.Millisecond, 1), 5.0, "or was, long ago")
}

func TestLatencyIsRecordedWithoutAllocation(t *testing.T) {
	m := Newed(t)
	require.Zero(t, testing.AllocsPerRun(1000, func() {
		m.Commit(time.Millisecond)
		if m.Sampled() {
			m.ReadSince(m.clock)
		}
		m.Scan()
		m.woken(20 * time.Millisecond)
	}))
	m.Strain(0)
	require.Zero(t, testing.AllocsPerRun(100, func() {
		m.window(time.Millisecond, 0)
	}))
}

func TestReadsAreSampled(t *testing.T) {
	m := Newed(t)
	n := 0
	for range 80_000 {
		if m.Sampled() {
			n++
		}
	}
	require.InDelta(t, 80_000/readSampling, n, 1000)
}
