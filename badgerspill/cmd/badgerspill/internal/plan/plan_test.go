package plan

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/badgerspill/cmd/internal/flagcheck"
)

func burst(rate float64, size int64, seconds float64, more ...func(*Burst)) Burst {
	b := DefaultBurst()
	b.Rate, b.ValueSize, b.Seconds = rate, size, seconds
	for _, m := range more {
		m(&b)
	}
	return b
}

func TestWayOfTheCommits(t *testing.T) {
	for _, row := range []struct {
		name   string
		burst  Burst
		direct bool
		least  float64 // seconds to Badger
		most   float64
		why    string
	}{
		{"many commits", burst(60_000, 1<<10, 20), false, 0, 0, "from SpillRate on"},
		{"as many writes in few commits", burst(10_000, 100, 20, func(b *Burst) { b.Batch = 100 }), true, 20, 20, "which is enough"},
		{"few commits", burst(900, 1<<10, 20), true, 20, 20, "which is enough"},
		{"few commits, synced", burst(900, 1<<10, 20, func(b *Burst) { b.SyncWrites = true }), false, 0, 0, "from SpillRate on, 20/s"},
		{"few large ones, for long", burst(500, 128<<10, 60), false, 5, 10, "memory is full"},
		{"few large ones, for a moment", burst(500, 128<<10, 5), true, 5, 5, "fits into MemoryLimit"},
		{"few large ones, on a faster machine", burst(500, 128<<10, 60, func(b *Burst) { b.BadgerRate = 100 << 20 }), true, 60, 60, "which is enough"},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := For(row.burst).Way
			require.Equal(t, row.direct, w.Direct, w)
			require.GreaterOrEqual(t, w.DirectSeconds, row.least)
			require.LessOrEqual(t, w.DirectSeconds, row.most)
			require.Contains(t, w.Why, row.why)
		})
	}
}

// What does not change with the load is in proportion.
func TestWhatFollowsFromWhat(t *testing.T) {
	standard := burst(60_000, 1<<10, 20)
	p := For(standard)
	require.EqualValues(t, 1_200_000, p.Writes)
	require.Equal(t, p.Writes, p.Commits)
	require.EqualValues(t, 1_200_000*1040, p.Bytes)
	require.Greater(t, p.Spill.DiskBytes, p.Bytes)
	require.Less(t, p.Spill.DiskBytes, p.Bytes*5/4)
	require.GreaterOrEqual(t, p.Options.SpillCapacity, 2*p.Spill.DiskBytes, "no commit is slowed")
	require.Equal(t, p.Spill.DiskBytes, p.Spill.LeastDiskBytes, "no replay within 20 s")
	require.Equal(t, p.Disk.Spill+p.Disk.Data+p.Disk.Working, p.Disk.Peak)
	require.InDelta(t, 1+float64(p.Bytes)/(16<<20), p.Replay.Seconds, 0.1)
	require.InDelta(t, 1+4*float64(p.Bytes)/(16<<20), p.Replay.BesideForegroundSeconds, 0.1)

	text := standard
	text.Ratio = 3
	require.Less(t, For(text).Spill.DiskBytes, p.Spill.DiskBytes/2)
	require.Equal(t, p.Replay.Bytes, For(text).Replay.Bytes, "replay counts before compression")

	hot := standard
	hot.Overwrites = 0.75
	require.Equal(t, p.Spill.DiskBytes, For(hot).Spill.DiskBytes, "the spill has every write")
	require.Equal(t, p.Replay.Bytes/4, For(hot).Replay.Bytes)
	require.Less(t, For(hot).Disk.Data, p.Disk.Data/3)

	batched := burst(200_000, 100, 20)
	one := For(batched).Spill.DiskBytes
	batched.Batch = 100
	require.Less(t, For(batched).Spill.DiskBytes, one*3/4, "entries of a commit share blocks")
	batched.Batch = 7 // the last commit is smaller
	require.EqualValues(t, (4_000_000+6)/7, For(batched).Commits)
}

func TestMemoryOfTheIndexDecidesOnTheLimit(t *testing.T) {
	p := For(burst(200_000, 100, 60))
	require.Equal(t, p.Burst.MemoryLimit, p.Options.MemoryLimit)
	small := burst(200_000, 100, 60, func(b *Burst) { b.MemoryLimit = 40 << 20 })
	p = For(small)
	require.Greater(t, p.Options.MemoryLimit, small.MemoryLimit)
	small.MemoryLimit = p.Options.MemoryLimit
	require.Equal(t, small.MemoryLimit, For(small).Options.MemoryLimit, "what is recommended does")
}

func TestLongBursts(t *testing.T) {
	// Badger takes a quarter: the rest piles up from MaxSpillAge on.
	p := For(burst(64_000, 1<<10, 600))
	require.Less(t, p.Spill.LeastDiskBytes, p.Spill.DiskBytes)
	require.Greater(t, p.Spill.LeastDiskBytes, p.Spill.DiskBytes*3/5)
	// Badger takes more than comes: what piles up until then, and what comes while it is replayed.
	fast := For(burst(10_000, 1<<10, 600, func(b *Burst) { b.BadgerRate = 64 << 20 }))
	perSecond := fast.Spill.DiskBytes / 600
	require.Greater(t, fast.Spill.LeastDiskBytes, 30*perSecond)
	require.Less(t, fast.Spill.LeastDiskBytes, 60*perSecond)
	require.LessOrEqual(t, fast.Files.Spill, int64(64+5))
}

func TestBounds(t *testing.T) {
	require.NoError(t, (&Burst{Rate: 1, KeySize: 1, Seconds: 0.1, Batch: 1, Ratio: 1, BadgerRate: 1 << 10, MemoryLimit: 1 << 20}).Validate())
	most := Burst{Rate: 10_000_000, KeySize: 65_000, ValueSize: 0, Seconds: 1000, Batch: 1_000_000, Overwrites: 0.999, Ratio: 100, BadgerRate: 1 << 40, MemoryLimit: 1 << 60, SyncWrites: true}
	require.NoError(t, most.Validate())
	for _, b := range []Burst{most, burst(1, 0, 0.1), burst(10_000_000, 0, 30*24*3600), burst(1000, 64<<20, 3600)} {
		require.NoError(t, b.Validate())
		p := For(b)
		for _, n := range []int64{p.Writes, p.Commits, p.Bytes, p.Spill.DiskBytes, p.Spill.IndexBytes, p.Spill.Segments, p.Spill.MemoryBytes,
			p.Spill.LeastDiskBytes, p.Options.SpillCapacity, p.Options.MemoryLimit, p.Disk.Data, p.Disk.Peak, p.Files.Spill, p.Files.Badger, p.Replay.Bytes} {
			require.Positive(t, n, "%+v", p)
		}
	}
	b := burst(10_000_000, 64<<20, 3600)
	var bad *flagcheck.Error
	require.ErrorAs(t, b.Validate(), &bad)
	require.Equal(t, "--seconds", bad.Flag)
}
