package plan

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/badgerspill"
)

// spilled writes a burst through a database whose spill takes all of it and keeps it, and closes
// it. It returns the bytes and the number of its segments, the bytes of its indexes, and what these
// take of the budget in the database that is opened then. That one writes no segment.
func spilled(t *testing.T, b Burst, capacity int64) (segments, indexes, files, memory int64) {
	t.Helper()
	const never = 1000 * time.Hour
	opt := badgerspill.DefaultOptions(filepath.Join(t.TempDir(), "db")).WithSpillPolicy(badgerspill.Always).
		WithKeepSpillOnClose(true).WithSpillCapacity(capacity).WithMemoryLimit(b.MemoryLimit).
		WithQuiet(1, never).WithMaxSpillAge(never).WithReplayHighWater(1)
	opt = opt.WithLogger(nil)
	db, err := badgerspill.Open(opt)
	require.NoError(t, err)
	const seed = 7
	rng, bytes := rand.New(rand.NewPCG(seed, 1)), rand.NewChaCha8([32]byte{seed})
	for left := b.writes(); left > 0; {
		n := min(left, b.Batch)
		require.NoError(t, db.Update(func(txn *badgerspill.Txn) error {
			for range n {
				key, value := make([]byte, b.KeySize), make([]byte, b.ValueSize)
				for i := 0; i < len(key); i += 8 {
					copy(key[i:], binary.BigEndian.AppendUint64(nil, rng.Uint64()))
				}
				// the rest of a value is zeros, which Snappy leaves next to nothing of
				_, _ = bytes.Read(value[:int(float64(len(value))/b.Ratio)])
				if err := txn.Set(key, value); err != nil {
					return err
				}
			}
			return nil
		}))
		left -= n
	}
	require.Zero(t, db.SpillStats().EntriesReplayed)
	require.NoError(t, db.Close())

	size := func(pattern string) (total, count int64) {
		paths, err := filepath.Glob(filepath.Join(opt.Dir, "spill", pattern))
		require.NoError(t, err)
		for _, path := range paths {
			info, err := os.Stat(path)
			require.NoError(t, err)
			total += info.Size()
		}
		return total, int64(len(paths))
	}
	segments, files = size("*.seg")
	indexes, withIndex := size("*.idx")
	require.Greater(t, withIndex, int64(4))
	indexes = indexes * files / withIndex // the last one may have none yet

	db, err = badgerspill.Open(opt)
	require.NoError(t, err)
	memory = db.SpillStats().MemorySpillIndex
	require.NoError(t, db.Close())
	return segments, indexes, files, memory
}

// withinAThird is the promise of docs/capacity.md.
func withinAThird(t *testing.T, what string, planned, measured int64) {
	t.Helper()
	t.Logf("%s: planned %d, measured %d, %.2f", what, planned, measured, float64(planned)/float64(measured))
	require.Greater(t, float64(planned), float64(measured)*2/3, what)
	require.Less(t, float64(planned), float64(measured)*4/3, what)
}

// What the spill takes of the disk, and its index of the budget, is what is planned, within a
// third: for three sizes of values, and for other keys, commits and values.
func TestPlanAgainstTheSpill(t *testing.T) {
	const limit = 64 << 20
	for _, row := range []struct {
		name string
		Burst
	}{
		{"100 B", burst(30_000, 100, 1)},
		{"1 KiB", burst(12_000, 1<<10, 1)},
		{"16 KiB", burst(1_500, 16<<10, 1)},
		{"no values", burst(30_000, 0, 1)},
		{"keys of 200 B", burst(20_000, 100, 1, func(b *Burst) { b.KeySize = 200 })},
		{"100 B, 100 in a commit", burst(200_000, 100, 1, func(b *Burst) { b.Batch = 100 })},
		{"1 KiB, a quarter of it random", burst(12_000, 1<<10, 1, func(b *Burst) { b.Ratio = 4 })},
		{"16 KiB, 3 in a commit", burst(1_500, 16<<10, 1, func(b *Burst) { b.Batch = 3 })},
	} {
		t.Run(row.name, func(t *testing.T) {
			row.MemoryLimit = limit
			p := For(row.Burst)
			segments, indexes, files, memory := spilled(t, row.Burst, p.Options.SpillCapacity)
			withinAThird(t, "spill on disk", p.Spill.DiskBytes, segments+indexes)
			withinAThird(t, "indexes on disk", p.Spill.IndexBytes, indexes)
			withinAThird(t, "segments", p.Spill.Segments, files)
			withinAThird(t, "indexes in memory", p.Spill.MemoryBytes-p.Spill.ArenaBytes, memory)
			require.LessOrEqual(t, 2*(segments+indexes), p.Options.SpillCapacity, fmt.Sprint("no commit is slowed with ", p.Options.SpillCapacity))
		})
	}
}
